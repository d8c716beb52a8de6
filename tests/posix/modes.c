/* The consistency modes against a model of what docs/consistency.md promises: random operations of several
 * processes (connections: what is kept belongs to one) on the same few files.
 *
 * At any time only one of them has written what it has not published, so the changes of a file are a
 * sequence, of which a prefix is published. Each prefix is a state of the file. What a call may see is a
 * range of states:
 *
 *   whoever has written what is not published   the last one
 *   a read of anybody else                      any from what had been published when it last opened, changed
 * or locked the file size, existence                             from what is published by now; under
 * relaxed, from what was published when this process last changed anything opening whether there is such a
 * file at this moment
 *
 * Under strict every change is published when it is made, so all ranges are one state. Usage: posix_modes
 * SERVERS [FIRST-SEED COUNT]. */
#include "check.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#define KIB 1024u
#define PROCESSES 3
#define FILES 2
#define DESCRIPTORS 2 /* of a process on a file */
#define STEPS 300
#define SIZE_MAX_BYTES (3u << 20)
#define READ_MAX (400 * KIB)
#define WINDOW (1024 * KIB)

enum mode { STRICT, CLOSE, RELAXED };
static const char *const modes[] = {"strict", "close", "relaxed"};

struct change {
    uint32_t offset, length; /* written; length 0: truncated to offset */
    uint8_t value;
};

struct process {
    benchfs *fs;
    int descriptors[FILES][DESCRIPTORS]; /* -1: not open */
    uint32_t fresh[FILES];               /* how many changes had been published when it last looked anew */
    uint32_t remembers[FILES];           /* the same, for attributes under relaxed */
    uint32_t names_since;                /* creations and removals of the other name it may not know of */
};

struct file {
    struct change changes[2 * STEPS];
    uint32_t count, published;
    int writer; /* who has written what is not published; -1: nobody */
};

static struct process processes[PROCESSES];
static struct file files[FILES];
static bool exists[STEPS + 1]; /* whether the other name is there, after each creation and removal */
static uint32_t name_changes;
static enum mode mode;
static uint64_t random_state, seed;
static unsigned step;
static uint8_t bytes[READ_MAX], state[READ_MAX];
static bool allowed[READ_MAX];

static uint32_t below(uint32_t bound)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((random_state >> 33) % bound);
}

static const char *path_of(unsigned file)
{
    static const char *const paths[FILES] = {"/a", "/b"};
    return paths[file];
}

#define WRONG(format, ...)                                                                                   \
    fail_msg("%s, seed %llu, step %u: " format, modes[mode], (unsigned long long)seed, step, __VA_ARGS__)

/* ---- the model ---- */

static uint32_t size_after(const struct file *file, uint32_t count)
{
    uint32_t size = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct change *change = &file->changes[i];
        uint32_t end = change->offset + change->length;
        size = change->length == 0 || end > size ? end : size;
    }
    return size;
}

/* What one change does to the bytes [offset, offset + length) of a file. */
static void apply(const struct change *change, uint32_t offset, uint32_t length)
{
    uint32_t end = change->length == 0 ? UINT32_MAX : change->offset + change->length;
    uint32_t from = change->offset > offset ? change->offset - offset : 0;
    uint32_t to = end > offset + length ? length : end > offset ? end - offset : 0;
    if (from < to)
        memset(state + from, change->value, to - from);
}

static void changed(struct process *process, unsigned number, struct change change, bool published)
{
    struct file *file = &files[number];
    file->changes[file->count++] = change;
    file->writer = (int)(process - processes);
    if (published || mode == STRICT) {
        file->published = file->count;
        file->writer = -1;
    }
    process->fresh[number] = file->published;
}

/* It made some change: all attributes that it remembers are forgotten. */
static void forgets(struct process *process)
{
    for (unsigned i = 0; i < FILES; i++)
        process->remembers[i] = files[i].published;
    process->names_since = name_changes;
}

static void published(const struct process *process, unsigned number)
{
    struct file *file = &files[number];
    if (file->writer != (int)(process - processes))
        return;
    file->published = file->count;
    file->writer = -1;
}

static bool is_writer(const struct process *process, unsigned number)
{
    return files[number].writer == (int)(process - processes);
}

static bool others_write(const struct process *process, unsigned number)
{
    return files[number].writer >= 0 && !is_writer(process, number);
}

/* ---- operations ---- */

static void do_open(struct process *process, unsigned number, int *descriptor)
{
    *descriptor = (int)OK(benchfs_open(process->fs, path_of(number), O_RDWR));
    process->fresh[number] = files[number].published;
}

static void do_close(struct process *process, unsigned number, int *descriptor)
{
    OK(benchfs_close(process->fs, *descriptor));
    *descriptor = -1;
    published(process, number);
}

static uint32_t random_offset(unsigned number, uint32_t most)
{
    static const uint32_t edges[] = {0, 4 * KIB, 64 * KIB, 256 * KIB, 1024 * KIB, 2048 * KIB};
    uint32_t size = size_after(&files[number], files[number].count);
    /* Mostly near the beginning, where they meet. */
    uint32_t offset = below(2) == 0   ? below(30 * KIB)
                      : below(3) == 0 ? size
                      : below(2) == 0 ? edges[below(6)] + below(200)
                                      : below(size + 1);
    return offset < most ? offset : most;
}

static uint32_t random_length(void)
{
    static const uint32_t most[] = {200, 5000, 70 * KIB, 256 * KIB, 300 * KIB};
    return 1 + below(most[below(8) < 5 ? below(3) : below(5)]);
}

static void do_write(struct process *process, unsigned number, int descriptor)
{
    struct change change = {.length = random_length(), .value = (uint8_t)(1 + below(255))};
    if (others_write(process, number))
        return;
    change.offset = random_offset(number, SIZE_MAX_BYTES - READ_MAX);
    memset(bytes, change.value, change.length);
    IS(change.length, benchfs_pwrite(process->fs, descriptor, bytes, change.length, change.offset));
    /* A small one that leaves the window of what is kept goes to the servers in two parts. */
    uint32_t left = WINDOW - change.offset % WINDOW;
    if (change.length < 256 * KIB && change.length > left) {
        changed(process, number, (struct change){change.offset, left, change.value}, false);
        change.offset += left;
        change.length -= left;
    }
    changed(process, number, change, change.length >= 256 * KIB);
    forgets(process);
}

static void do_truncate(struct process *process, unsigned number, int descriptor)
{
    struct change change = {.offset = random_offset(number, SIZE_MAX_BYTES)};
    if (others_write(process, number))
        return;
    OK(benchfs_ftruncate(process->fs, descriptor, change.offset));
    changed(process, number, change, true);
    forgets(process);
}

static void do_read(struct process *process, unsigned number, int descriptor, uint32_t *next)
{
    const struct file *file = &files[number];
    uint32_t length = random_length(), offset = below(3) != 0 ? *next : random_offset(number, SIZE_MAX_BYTES);
    uint32_t first = is_writer(process, number) ? file->count : process->fresh[number];
    ssize_t got = OK(benchfs_pread(process->fs, descriptor, bytes, length, offset));
    bool length_right = false;
    *next = below(4) == 0 ? 0 : offset + (uint32_t)got;
    memset(state, 0, length);
    memset(allowed, 0, length);
    for (uint32_t i = 0; i < first; i++)
        apply(&file->changes[i], offset, length);
    for (uint32_t i = first;; i++) {
        uint32_t size = size_after(file, i);
        uint32_t there = size <= offset ? 0 : size - offset < length ? size - offset : length;
        length_right |= got == (ssize_t)there;
        for (ssize_t at = 0; at < got; at++)
            allowed[at] |= at < (ssize_t)there && bytes[at] == state[at];
        if (i == file->count)
            break;
        apply(&file->changes[i], offset, length);
    }
    if (!length_right)
        WRONG("process %d reads %zd of %u bytes at %u of %s", (int)(process - processes), got, length, offset,
              path_of(number));
    for (ssize_t at = 0; at < got; at++)
        if (!allowed[at])
            WRONG("process %d reads %u at %u + %zd of %s", (int)(process - processes), bytes[at], offset, at,
                  path_of(number));
}

static void do_size(struct process *process, unsigned number, int descriptor)
{
    const struct file *file = &files[number];
    struct stat status;
    bool right = false;
    if (descriptor >= 0 && below(2) == 0)
        OK(benchfs_fstat(process->fs, descriptor, &status));
    else
        OK(benchfs_stat(process->fs, path_of(number), &status));
    uint32_t first = is_writer(process, number) ? file->count
                     : mode == RELAXED          ? process->remembers[number]
                                                : file->published;
    for (uint32_t i = first; i <= file->count; i++)
        right |= status.st_size == size_after(file, i);
    if (!right)
        WRONG("process %d finds size %lld of %s", (int)(process - processes), (long long)status.st_size,
              path_of(number));
    published(process, number);
}

/* Taking a lock shows what others have published, and publishes. */
static void do_lock(struct process *process, unsigned number, int descriptor)
{
    OK(benchfs_flock(process->fs, descriptor, LOCK_EX | LOCK_NB));
    published(process, number);
    process->fresh[number] = files[number].published;
    OK(benchfs_flock(process->fs, descriptor, LOCK_UN));
}

static void do_name(struct process *process)
{
    struct stat status;
    bool right = false, there = exists[name_changes];
    int fd;
    switch (below(4)) {
    case 0:
        fd = benchfs_open(process->fs, "/name", O_RDWR | O_CREAT | O_EXCL, 0644);
        if ((fd >= 0) == there)
            WRONG("creating a name that %s: %s", there ? "exists" : "does not exist", strerror(errno));
        if (fd < 0)
            return;
        OK(benchfs_close(process->fs, fd));
        break;
    case 1:
        if ((benchfs_unlink(process->fs, "/name") == 0) != there)
            WRONG("removing a name that %s: %s", there ? "exists" : "does not exist", strerror(errno));
        if (!there)
            return;
        break;
    default:
        right = benchfs_stat(process->fs, "/name", &status) == 0;
        for (uint32_t i = mode == RELAXED ? process->names_since : name_changes; i <= name_changes; i++)
            if (exists[i] == right)
                return;
        WRONG("process %d finds that the name %s", (int)(process - processes), right ? "exists" : "does not");
    }
    exists[++name_changes] = !there;
    forgets(process);
}

static void random_step(void)
{
    static uint32_t next[PROCESSES][FILES];
    unsigned who = below(PROCESSES), number = below(FILES);
    struct process *process = &processes[who];
    int *descriptor = &process->descriptors[number][below(DESCRIPTORS)];
    uint32_t what = below(100);
    if (what < 8)
        do_name(process);
    else if (what < 22)
        do_size(process, number, *descriptor);
    else if (*descriptor < 0)
        do_open(process, number, descriptor);
    else if (what < 45)
        do_write(process, number, *descriptor);
    else if (what < 75)
        do_read(process, number, *descriptor, &next[who][number]);
    else if (what < 85)
        do_close(process, number, descriptor);
    else if (what < 89)
        do_truncate(process, number, *descriptor);
    else if (what < 93)
        do_lock(process, number, *descriptor);
    else if (OK(benchfs_fsync(process->fs, *descriptor)) == 0)
        published(process, number);
}

static void one_seed(void)
{
    random_state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    memset(files, 0, sizeof files);
    name_changes = 0;
    exists[0] = false;
    for (unsigned i = 0; i < FILES; i++) {
        files[i].writer = -1;
        OK(benchfs_close(fs, (int)OK(benchfs_open(fs, path_of(i), O_RDWR | O_CREAT | O_TRUNC, 0644))));
    }
    for (unsigned i = 0; i < PROCESSES; i++) {
        processes[i] = (struct process){.fs = benchfs_connect(NULL)};
        if (processes[i].fs == NULL)
            fail_msg("%s", benchfs_error());
        memset(processes[i].descriptors, -1, sizeof processes[i].descriptors);
    }
    for (step = 0; step < STEPS; step++)
        random_step();
    for (unsigned i = 0; i < PROCESSES; i++)
        benchfs_disconnect(processes[i].fs);
    benchfs_unlink(fs, "/name");
    for (unsigned i = 0; i < FILES; i++)
        OK(benchfs_unlink(fs, path_of(i)));
}

static uint64_t first_seed = 1, seeds = 20;

static void run_mode(enum mode which)
{
    char setting[64];
    const char *const settings[] = {setting, NULL};
    mode = which;
    snprintf(setting, sizeof setting, "cluster.consistency=%s", modes[mode]);
    case_begin(settings);
    /* So long that all that may be remembered is. */
    write_text(case_config, "[client]\nattribute_lifetime = \"1h\"\n", 0644);
    for (seed = first_seed; seed < first_seed + seeds; seed++)
        one_seed();
    case_end(true);
}

static void strict_shows_everything_at_once(void **unused)
{
    (void)unused;
    run_mode(STRICT);
}

static void close_shows_what_was_published_before_the_open(void **unused)
{
    (void)unused;
    run_mode(CLOSE);
}

static void relaxed_remembers_until_it_changes_something(void **unused)
{
    (void)unused;
    run_mode(RELAXED);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(strict_shows_everything_at_once),
        cmocka_unit_test(close_shows_what_was_published_before_the_open),
        cmocka_unit_test(relaxed_remembers_until_it_changes_something),
    };
    case_servers = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
    if (argc > 3) {
        first_seed = strtoull(argv[2], NULL, 0);
        seeds = strtoull(argv[3], NULL, 0);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The phases, each run by all workers at once over files of their own directory:
 *
 *   mkdir    each worker makes its directory (not reported: one operation)
 *   create   open(O_CREAT | O_EXCL), close
 *   stat     of the files that the next worker made, so that nobody asks for what he has just made himself
 *   open     open and close
 *   write    open(O_CREAT | O_EXCL), write 3,901 bytes, close: mdtest-hard's files
 *   read     open, read 3,901 bytes, close
 *   unlink   of all
 *
 * Nothing is counted that was not done: stat must find an empty regular file, read must return the very bytes
 * that were written, and after unlink the directory must be empty, or rmdir fails and with it the run. */
#include "bench/md.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define CONTENT_SIZE 3901u
#define PATH_SIZE (SUITE_DIRECTORY_SIZE + 48u)

enum phase { CREATE, STAT, OPEN, WRITE, READ, UNLINK, PHASES };

static const struct suite_phase phases[] = {{.name = "create"},
                                            {.name = "stat"},
                                            {.name = "open"},
                                            {.name = "write"},
                                            {.name = "read", .reads = true},
                                            {.name = "unlink"},
                                            {0}};

static uint64_t file_count = 10000;

static const struct bench_option options[] = {
    {"files", BENCH_NUMBER, &file_count, 1, 10000000, "N", "files of each worker"},
    {0},
};

struct files {
    const struct suite_member *member;
    struct target *target;
    char own[SUITE_DIRECTORY_SIZE + 16];  /* directory */
    char next[SUITE_DIRECTORY_SIZE + 16]; /* the next worker's */
    char content[CONTENT_SIZE];
};

static void path_of(char *path, size_t size, const char *directory, char kind, uint64_t number)
{
    snprintf(path, size, "%s/%c.%08llu", directory, kind, (unsigned long long)number);
}

static void fill_content(char *content, uint32_t worker, uint64_t number)
{
    for (unsigned i = 0; i < CONTENT_SIZE; i++)
        content[i] = (char)(i * 31 + number * 7 + worker);
}

/* Each returns 0 or -errno; `elapsed` gets the time of the operation alone. */
static int create_file(struct files *files, uint64_t number, uint64_t *elapsed)
{
    char path[PATH_SIZE];
    path_of(path, sizeof(path), files->own, 'f', number);
    uint64_t start = crew_now();
    int fd = files->target->operations->file_open(files->target, path, O_CREAT | O_EXCL | O_WRONLY, 0644);
    int status = fd < 0 ? fd : files->target->operations->file_close(files->target, fd);
    *elapsed = crew_now() - start;
    return status < 0 ? suite_fail(files->member, "create", path, status) : 0;
}

static int stat_file(struct files *files, uint64_t number, uint64_t *elapsed)
{
    char path[PATH_SIZE];
    struct stat found;
    path_of(path, sizeof(path), files->next, 'f', number);
    uint64_t start = crew_now();
    int status = files->target->operations->stat(files->target, path, &found);
    *elapsed = crew_now() - start;
    if (status == 0 && (!S_ISREG(found.st_mode) || found.st_size != 0))
        status = -EBADMSG;
    return status < 0 ? suite_fail(files->member, "stat", path, status) : 0;
}

static int open_file(struct files *files, uint64_t number, uint64_t *elapsed)
{
    char path[PATH_SIZE];
    path_of(path, sizeof(path), files->next, 'f', number);
    uint64_t start = crew_now();
    int fd = files->target->operations->file_open(files->target, path, O_RDONLY, 0);
    int status = fd < 0 ? fd : files->target->operations->file_close(files->target, fd);
    *elapsed = crew_now() - start;
    return status < 0 ? suite_fail(files->member, "open", path, status) : 0;
}

static int write_file(struct files *files, uint64_t number, uint64_t *elapsed)
{
    char path[PATH_SIZE];
    path_of(path, sizeof(path), files->own, 'w', number);
    fill_content(files->content, files->member->number, number);
    const struct target_operations *call = files->target->operations;
    uint64_t start = crew_now();
    int fd = call->file_open(files->target, path, O_CREAT | O_EXCL | O_WRONLY, 0644);
    if (fd < 0)
        return suite_fail(files->member, "create", path, fd);
    ssize_t count = call->write(files->target, fd, files->content, CONTENT_SIZE, 0);
    int status = call->file_close(files->target, fd);
    *elapsed = crew_now() - start;
    if (count != CONTENT_SIZE)
        return suite_fail(files->member, "write", path, count < 0 ? (int)count : -EIO);
    return status < 0 ? suite_fail(files->member, "close", path, status) : 0;
}

static int read_file(struct files *files, uint64_t number, uint64_t *elapsed)
{
    char path[PATH_SIZE];
    char expected[CONTENT_SIZE];
    path_of(path, sizeof(path), files->next, 'w', number);
    const struct target_operations *call = files->target->operations;
    uint64_t start = crew_now();
    int fd = call->file_open(files->target, path, O_RDONLY, 0);
    if (fd < 0)
        return suite_fail(files->member, "open", path, fd);
    ssize_t count = call->read(files->target, fd, files->content, CONTENT_SIZE, 0);
    int status = call->file_close(files->target, fd);
    *elapsed = crew_now() - start;
    fill_content(expected, (files->member->number + 1) % files->member->count, number);
    if (count != CONTENT_SIZE)
        return suite_fail(files->member, "read", path, count < 0 ? (int)count : -EIO);
    if (memcmp(expected, files->content, CONTENT_SIZE) != 0)
        return suite_fail(files->member, "wrong bytes in", path, -EBADMSG);
    return status < 0 ? suite_fail(files->member, "close", path, status) : 0;
}

/* Two files a number: the empty one and the written one. */
static int unlink_file(struct files *files, uint64_t number, uint64_t *elapsed)
{
    char path[PATH_SIZE];
    path_of(path, sizeof(path), files->own, number % 2 == 0 ? 'f' : 'w', number / 2);
    uint64_t start = crew_now();
    int status = files->target->operations->unlink(files->target, path);
    *elapsed = crew_now() - start;
    return status < 0 ? suite_fail(files->member, "unlink", path, status) : 0;
}

static int (*const phase_operations[PHASES])(struct files *, uint64_t, uint64_t *) = {
    create_file, stat_file, open_file, write_file, read_file, unlink_file};

static int run_phases(struct files *files)
{
    struct crew_member *crew = files->member->crew;
    for (uint32_t phase = 0; phase < PHASES; phase++) {
        struct crew_part *part = crew_phase(crew, phase);
        if (part == NULL)
            return -ECANCELED;
        uint64_t count = phase == UNLINK ? 2 * file_count : file_count;
        for (uint64_t i = 0; i < count; i++) {
            uint64_t elapsed;
            int status = phase_operations[phase](files, i, &elapsed);
            if (status < 0 || crew_stopping(crew))
                return status < 0 ? status : -ECANCELED;
            histogram_record(&part->latency, elapsed);
            part->operations++;
            if (phase == WRITE || phase == READ)
                part->bytes += CONTENT_SIZE;
        }
        crew_phase_end(crew, phase);
    }
    return crew_wait(crew);
}

static int run(struct suite_member *member)
{
    struct files files = {.member = member, .target = member->target};
    const struct target_operations *call = member->target->operations;
    snprintf(files.own, sizeof(files.own), "%s/%u", member->directory, member->number);
    snprintf(files.next, sizeof(files.next), "%s/%u", member->directory,
             (member->number + 1) % member->count);
    int status = call->mkdir(files.target, files.own, 0755);
    if (status < 0)
        return suite_fail(member, "mkdir", files.own, status);
    status = run_phases(&files);
    if (status == 0 && (status = call->rmdir(files.target, files.own)) < 0)
        suite_fail(member, "rmdir", files.own, status);
    return status;
}

static uint64_t working_set(uint32_t members)
{
    return file_count * CONTENT_SIZE * members;
}

static void describe(uint32_t phase, const void *shared, struct result *result)
{
    (void)shared;
    if (phase == WRITE || phase == READ)
        result_number(result, "size", CONTENT_SIZE);
}

const struct suite_workload bench_md = {
    .name = "md",
    .help = "Metadata operations: create, stat, open, 3,901-byte files, unlink",
    .options = options,
    .phases = phases,
    .working_set = working_set,
    .describe = describe,
    .run = run,
};

/* Attributes that clients read in the server's memory, between real processes: what one process has done, and
 * said so to another, that one sees, at full speed and from the first moment; and nothing of a server that
 * was killed is believed. */
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define WRITERS 2u
#define READERS 2u
#define FILES 4u /* of each writer */
#define SECONDS 1.0

/* ---- without the server ---- */

/* So often that a file's attributes are on the board and the board is known. */
static void ask_often(const char *path)
{
    struct stat found;
    for (unsigned i = 0; i < 32; i++)
        assert_int_equal(benchfs_stat(fs, path, &found), 0);
}

/* Servers that are stopped answer no message, and change nothing: what they show stays true. */
static void stopped(void **state)
{
    struct stat found, before;
    (void)state;
    case_begin(NULL);
    put_text(fs, "/file", "");
    put_text(fs, "/never asked for", "");
    ask_often("/file");
    int fd = benchfs_open(fs, "/file", O_RDONLY);
    assert_true(fd >= 0);
    for (unsigned i = 0; i < 32; i++)
        assert_int_equal(benchfs_fstat(fs, fd, &before), 0);
    for (unsigned i = 0; i < 32; i++)
        assert_int_equal(benchfs_stat(fs, "/missing", &found), -1);
    case_signal(SIGSTOP);
    assert_int_equal(benchfs_stat(fs, "/file", &found), 0);
    assert_memory_equal(&found, &before, sizeof found);
    assert_int_equal(benchfs_fstat(fs, fd, &found), 0);
    assert_memory_equal(&found, &before, sizeof found);
    assert_int_equal(benchfs_access(fs, "/file", R_OK), 0);
    errno = 0;
    assert_int_equal(benchfs_stat(fs, "/missing", &found), -1);
    assert_int_equal(errno, ENOENT);
    errno = 0;
    assert_int_equal(benchfs_stat(fs, "/never asked for", &found), -1);
    assert_int_equal(errno, ETIMEDOUT);
    case_signal(SIGCONT);
    assert_int_equal(benchfs_close(fs, fd), 0);
    assert_int_equal(benchfs_unlink(fs, "/file"), 0);
    errno = 0;
    assert_int_equal(benchfs_stat(fs, "/file", &found), -1);
    assert_int_equal(errno, ENOENT);
    case_end(true);
}

static void switched_off(void **state)
{
    static const char *const settings[] = {"meta.board=0", NULL};
    struct stat found;
    (void)state;
    case_begin(settings);
    put_text(fs, "/file", "");
    ask_often("/file");
    case_signal(SIGSTOP);
    errno = 0;
    assert_int_equal(benchfs_stat(fs, "/file", &found), -1);
    assert_int_equal(errno, ETIMEDOUT);
    case_signal(SIGCONT);
    case_end(true);
}

/* ---- several processes ---- */

/* What writers tell readers, beside the file system: what has happened before the number was stored. */
struct told {
    _Atomic bool over;
    _Atomic bool killed;
    _Atomic uint64_t wrong;   /* what a reader saw that may not be, the first: a line of this file */
    _Atomic uint64_t looked;  /* stat calls of readers */
    _Atomic uint64_t changed; /* of writers */
    struct {
        _Atomic uint64_t size; /* the file is at least so large */
        /* Counted up before and after each change, so odd while one is under way. */
        _Atomic uint64_t life;  /* the name exists if life / 2 is odd */
        _Atomic uint64_t links; /* the file has links / 2 % 2 + 1 names */
    } files[WRITERS][FILES];
};
static struct told *told;

#define WRONG()                                                                                              \
    do {                                                                                                     \
        uint64_t none = 0;                                                                                   \
        atomic_compare_exchange_strong(&told->wrong, &none, (uint64_t)__LINE__);                             \
        atomic_store(&told->over, true);                                                                     \
    } while (0)

static void writer(benchfs *mine, unsigned number)
{
    char grows[32], comes[32], linked[32], other[32];
    int fds[FILES];
    for (unsigned i = 0; i < FILES; i++) {
        snprintf(grows, sizeof grows, "/grows.%u.%u", number, i);
        snprintf(linked, sizeof linked, "/linked.%u.%u", number, i);
        fds[i] = benchfs_open(mine, grows, O_CREAT | O_WRONLY | O_APPEND, 0644);
        int fd = benchfs_open(mine, linked, O_CREAT | O_WRONLY, 0644);
        if (fds[i] < 0 || fd < 0 || benchfs_close(mine, fd) < 0)
            WRONG();
    }
    for (uint64_t round = 0; !atomic_load(&told->over); round++) {
        unsigned i = (unsigned)(round % FILES);
        snprintf(comes, sizeof comes, "/comes.%u.%u", number, i);
        snprintf(linked, sizeof linked, "/linked.%u.%u", number, i);
        snprintf(other, sizeof other, "/other.%u.%u", number, i);
        if (benchfs_write(mine, fds[i], "x", 1) != 1)
            WRONG();
        atomic_fetch_add(&told->files[number][i].size, 1);
        uint64_t life = atomic_fetch_add(&told->files[number][i].life, 1) + 1; /* from now on it may change */
        int status = life / 2 % 2 == 0 ? benchfs_open(mine, comes, O_CREAT | O_EXCL | O_WRONLY, 0644)
                                       : benchfs_unlink(mine, comes);
        if (status < 0 || (life / 2 % 2 == 0 && benchfs_close(mine, status) < 0))
            WRONG();
        atomic_fetch_add(&told->files[number][i].life, 1);
        uint64_t links = atomic_fetch_add(&told->files[number][i].links, 1) + 1;
        if ((links / 2 % 2 == 0 ? benchfs_link(mine, linked, other) : benchfs_unlink(mine, other)) < 0)
            WRONG();
        atomic_fetch_add(&told->files[number][i].links, 1);
        atomic_fetch_add_explicit(&told->changed, 3, memory_order_relaxed);
    }
    for (unsigned i = 0; i < FILES; i++)
        benchfs_close(mine, fds[i]);
}

/* One look at what belongs to a writer. descriptor: of the growing file, or -1: by its name. */
static void look(benchfs *mine, unsigned number, unsigned i, int descriptor, uint64_t *largest)
{
    char path[32];
    struct stat found;
    uint64_t size = atomic_load(&told->files[number][i].size);
    snprintf(path, sizeof path, "/grows.%u.%u", number, i);
    int status = descriptor >= 0 ? benchfs_fstat(mine, descriptor, &found) : benchfs_stat(mine, path, &found);
    if (status < 0 || (uint64_t)found.st_size < size || (uint64_t)found.st_size < *largest)
        WRONG();
    *largest = (uint64_t)found.st_size;

    uint64_t life = atomic_load(&told->files[number][i].life);
    snprintf(path, sizeof path, "/comes.%u.%u", number, i);
    errno = 0;
    status = benchfs_stat(mine, path, &found);
    if (status < 0 && errno != ENOENT)
        WRONG();
    if (life % 2 == 0 && atomic_load(&told->files[number][i].life) == life &&
        (status == 0) != (life / 2 % 2 == 1))
        WRONG();

    uint64_t links = atomic_load(&told->files[number][i].links);
    snprintf(path, sizeof path, "/linked.%u.%u", number, i);
    if (benchfs_stat(mine, path, &found) < 0)
        WRONG();
    if (links % 2 == 0 && atomic_load(&told->files[number][i].links) == links &&
        found.st_nlink != links / 2 % 2 + 1)
        WRONG();
}

static void reader(benchfs *mine)
{
    uint64_t largest[2][WRITERS][FILES] = {0};
    int fds[WRITERS][FILES];
    for (unsigned w = 0; w < WRITERS; w++)
        for (unsigned i = 0; i < FILES; i++)
            fds[w][i] = -1;
    uint64_t looks = 0;
    for (uint64_t round = 0; !atomic_load(&told->over); round++) {
        unsigned w = (unsigned)(round / 16 % WRITERS), i = (unsigned)(round / 64 % FILES);
        if (atomic_load(&told->files[w][i].size) == 0)
            continue; /* not made yet */
        if (fds[w][i] < 0) {
            char path[32];
            snprintf(path, sizeof path, "/grows.%u.%u", w, i);
            fds[w][i] = benchfs_open(mine, path, O_RDONLY);
        }
        bool by_descriptor = round % 2 == 0;
        look(mine, w, i, by_descriptor ? fds[w][i] : -1, &largest[by_descriptor][w][i]);
        looks += 3;
    }
    atomic_fetch_add(&told->looked, looks);
}

static pid_t start(unsigned number)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    benchfs *mine = benchfs_connect(NULL);
    if (mine == NULL)
        _exit(1);
    if (number < WRITERS)
        writer(mine, number);
    else
        reader(mine);
    benchfs_disconnect(mine);
    _exit(0);
}

static void share(void)
{
    told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(told != MAP_FAILED);
}

static void strict(void **state)
{
    pid_t pids[WRITERS + READERS];
    (void)state;
    case_begin(NULL);
    share();
    for (unsigned i = 0; i < WRITERS + READERS; i++)
        pids[i] = start(i);
    for (double until = seconds() + SECONDS; seconds() < until && !atomic_load(&told->over);)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    atomic_store(&told->over, true);
    for (unsigned i = 0; i < WRITERS + READERS; i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    if (told->wrong != 0)
        fail_msg("a process saw what may not be: line %u", (unsigned)told->wrong);
    assert_true(told->looked > 1000 && told->changed > 100);
    munmap(told, sizeof *told);
    case_end(true);
}

/* ---- kill -9 ---- */

static void read_until_killed(benchfs *mine)
{
    struct stat found;
    uint64_t good = 0;
    for (unsigned i = 0; i < 100; i++)
        if (benchfs_stat(mine, "/file", &found) < 0)
            WRONG();
    for (;;) {
        bool dead = atomic_load(&told->killed);
        errno = 0;
        int status = benchfs_stat(mine, "/file", &found);
        if (status == 0 && dead)
            WRONG();
        if (status < 0)
            break;
        if (++good == 1000)
            atomic_fetch_add(&told->looked, 1); /* in full swing */
    }
    if (errno != EIO && errno != ETIMEDOUT)
        WRONG();
}

static void killed(void **state)
{
    pid_t pids[READERS];
    int status;
    (void)state;
    case_begin(NULL);
    put_text(fs, "/file", "");
    share();
    for (unsigned i = 0; i < READERS; i++) {
        pids[i] = fork();
        if (pids[i] != 0)
            continue;
        benchfs *mine = benchfs_connect(NULL);
        if (mine == NULL)
            _exit(1);
        read_until_killed(mine);
        _exit(0);
    }
    for (double until = seconds() + 10; atomic_load(&told->looked) < READERS && seconds() < until;)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    assert_int_equal(told->looked, READERS);
    for (unsigned i = 0; i < cluster.count; i++)
        cluster_kill(&cluster, i);
    atomic_store(&told->killed, true);
    for (unsigned i = 0; i < READERS; i++) {
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    if (told->wrong != 0)
        fail_msg("a process saw what may not be: line %u", (unsigned)told->wrong);
    munmap(told, sizeof *told);
    case_end(false);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stopped),
        cmocka_unit_test(switched_off),
        cmocka_unit_test(strict),
        cmocka_unit_test(killed),
    };
    if (argc > 1)
        case_servers = (unsigned)atoi(argv[1]);
    return cmocka_run_group_tests_name("posix/board", tests, NULL, NULL);
}

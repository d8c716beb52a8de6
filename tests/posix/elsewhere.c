/* Clients whose processes the servers cannot look at, as on other hosts: all speak TCP, which tells no
 * process id. What a process held is free soon after its end, however it ends, long before its sessions
 * expire. And children made by fork reach the servers, though UCX has a thread that fork does not copy. */
#include "check.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#define MIB (1024 * 1024)
#define SOON 5.0 /* seconds; sessions are kept for 30 */

struct child {
    pid_t pid;
    int to, from;
};

/* Another thread of the child, which has sessions of its own. */
static void *look(void *mine)
{
    struct stat status;
    return benchfs_stat(mine, "/", &status) == 0 ? mine : NULL;
}

/* Holds a lock, and a file without a name; then does what it is told: disconnect and go on, or wait to be
 * killed. */
static int hold(void)
{
    static char bytes[MIB];
    char command = 0;
    pthread_t thread;
    void *looked = NULL;
    benchfs *mine = benchfs_connect(NULL);
    if (mine == NULL)
        return 1;
    int locked = benchfs_open(mine, "/lock", O_RDWR);
    int gone = benchfs_open(mine, "/gone", O_RDWR | O_CREAT, 0644);
    if (locked < 0 || gone < 0 || benchfs_flock(mine, locked, LOCK_EX) != 0 ||
        benchfs_write(mine, gone, bytes, MIB) != MIB || benchfs_unlink(mine, "/gone") != 0)
        return 2;
    if (pthread_create(&thread, NULL, look, mine) != 0 || pthread_join(thread, &looked) != 0 ||
        looked == NULL)
        return 3;
    if (write(STDOUT_FILENO, "r", 1) != 1 || read(STDIN_FILENO, &command, 1) != 1)
        return 4;
    if (command == 'd')
        benchfs_disconnect(mine);
    if (write(STDOUT_FILENO, "d", 1) != 1)
        return 5;
    return read(STDIN_FILENO, &command, 1) < 0; /* until the parent has closed */
}

static void expect_letter(struct child *child, char expected)
{
    char letter = 0;
    assert_int_equal(read(child->from, &letter, 1), 1);
    assert_int_equal(letter, expected);
}

static struct child child_start(void)
{
    int to[2], from[2];
    assert_int_equal(pipe(to) | pipe(from), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(to[0], STDIN_FILENO);
        dup2(from[1], STDOUT_FILENO);
        closefrom(STDERR_FILENO + 1);
        execl("/proc/self/exe", "elsewhere", "hold", NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    struct child child = {pid, to[1], from[0]};
    expect_letter(&child, 'r');
    return child;
}

static uint64_t used(void)
{
    struct statvfs space;
    OK(benchfs_statvfs(fs, &space));
    return space.f_blocks - space.f_bfree;
}

static void how(void (*end)(struct child *child))
{
    uint64_t before = used();
    int fd = (int)OK(benchfs_open(fs, "/lock", O_RDWR | O_CREAT, 0644));
    struct child child = child_start();
    FAILS(EWOULDBLOCK, benchfs_flock(fs, fd, LOCK_EX | LOCK_NB));
    assert_true(used() > before);
    double since = seconds();
    end(&child);
    OK(benchfs_flock(fs, fd, LOCK_EX));
    while (used() > before && seconds() < since + SOON)
        usleep(1000);
    print_message("# free after %.3f s\n", seconds() - since);
    assert_true(seconds() < since + SOON);
    OK(benchfs_close(fs, fd));
    OK(benchfs_unlink(fs, "/lock"));
    close(child.to);
    close(child.from);
    assert_int_equal(waitpid(child.pid, NULL, 0), child.pid);
}

static void by_a_kill(struct child *child)
{
    kill(child->pid, SIGKILL);
}

static void by_saying_goodbye(struct child *child)
{
    assert_int_equal(write(child->to, "d", 1), 1);
    expect_letter(child, 'd'); /* and lives on */
}

static void what_a_killed_process_held_is_free(void **state)
{
    (void)state;
    how(by_a_kill);
}

static void what_a_process_held_that_disconnected_is_free(void **state)
{
    (void)state;
    how(by_saying_goodbye);
}

/* ---- forks ---- */

#define GENERATIONS 3

/* ASan's allocator may be locked by the thread that does not fork, and stays locked in the child. */
#ifdef __SANITIZE_ADDRESS__
#define SANITIZER_LOCKED true
#else
#define SANITIZER_LOCKED false
#endif

/* What a child does: it uses what it inherited and makes something of its own, then forks itself. */
static int live(int fd, int number, int generation)
{
    char name[32], text[16] = "", expected[16];
    snprintf(name, sizeof name, "/forked%d", number);
    int length = snprintf(expected, sizeof expected, "of %d", number);
    int own = benchfs_open(fs, name, O_CREAT | O_RDWR, 0644);
    if (own < 0 || benchfs_write(fs, own, expected, (size_t)length) != length ||
        benchfs_pread(fs, own, text, sizeof text, 0) != length || memcmp(text, expected, (size_t)length) != 0)
        return 1;
    if (benchfs_close(fs, own) != 0 || benchfs_unlink(fs, name) != 0)
        return 2;
    if (benchfs_pwrite(fs, fd, text, 1, number) != 1)
        return 3;
    if (generation == GENERATIONS)
        return 0;
    pid_t child = fork();
    if (child == 0)
        _exit(live(fd, number, generation + 1));
    int status;
    return child > 0 && waitpid(child, &status, 0) == child && status == 0 ? 0 : 4;
}

static void children_reach_servers(void **state)
{
    enum { CHILDREN = 50 };
    struct stat status;
    (void)state;
    int fd = (int)OK(benchfs_open(fs, "/inherited", O_CREAT | O_RDWR, 0644));
    OK(benchfs_unlink(fs, "/inherited"));
    for (int number = 0; number < CHILDREN; number++) {
        /* Every tenth has children and grandchildren. */
        pid_t child = fork();
        if (child == 0)
            _exit(live(fd, number, number % 10 == 0 ? 1 : GENERATIONS));
        int ended;
        assert_int_equal(waitpid(child, &ended, 0), child);
        assert_int_equal(ended, 0);
        OK(benchfs_fstat(fs, fd, &status)); /* the parent's connections are untouched */
        assert_int_equal(status.st_size, number + 1);
    }
    OK(benchfs_close(fs, fd));
}

/* A thread that makes a connection of its own while another forks. */
static void *come_and_go(void *stop)
{
    while (!*(_Atomic bool *)stop) {
        benchfs *mine = benchfs_connect(NULL);
        if (mine == NULL)
            return NULL;
        benchfs_disconnect(mine);
    }
    return stop;
}

static void children_of_busy_parents(void **state)
{
    enum { CHILDREN = 10 };
    _Atomic bool stop = false;
    pthread_t thread;
    void *good;
    (void)state;
    if (SANITIZER_LOCKED)
        skip();
    assert_int_equal(pthread_create(&thread, NULL, come_and_go, &stop), 0);
    int failed = 0;
    for (int number = 0; number < CHILDREN; number++) {
        pid_t child = fork();
        struct stat status;
        if (child == 0)
            _exit(benchfs_stat(fs, "/", &status) != 0);
        int ended = -1;
        failed += waitpid(child, &ended, 0) != child || ended != 0;
    }
    atomic_store(&stop, true);
    assert_int_equal(pthread_join(thread, &good), 0);
    assert_non_null(good);
    assert_int_equal(failed, 0);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "hold") == 0) {
        int failed = hold();
        if (failed != 0)
            fprintf(stderr, "the child failed at step %d: %s\n", failed, strerror(errno));
        return failed;
    }
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_killed_process_held_is_free),
        cmocka_unit_test(what_a_process_held_that_disconnected_is_free),
        cmocka_unit_test(children_reach_servers),
        cmocka_unit_test(children_of_busy_parents),
    };
    static const char *const settings[] = {"server.transports=tcp,self", "server.devices=lo", NULL};
    setenv("UCX_TLS", "tcp,self", 1);
    setenv("UCX_NET_DEVICES", "lo", 1);
    return POSIX_MAIN(argc, argv, settings, tests);
}

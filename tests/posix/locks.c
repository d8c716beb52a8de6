/* File locks - flock, records of processes and of open file descriptions - among descriptors, threads and
 * processes; and descriptors that share one open file description. */
#include "check.h"

#include <pthread.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

static int open_file(const char *path)
{
    return (int)OK(benchfs_open(fs, path, O_RDWR | O_CREAT, 0666));
}

static struct flock record(int type, off_t start, off_t length)
{
    return (struct flock){.l_type = (short)type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
}

static int set(int fd, int command, int type, off_t start, off_t length)
{
    struct flock lock = record(type, start, length);
    return benchfs_fcntl(fs, fd, command, &lock);
}

/* What F_GETLK says is in the way of an exclusive lock of the range: "-", or "r 5 7" (type, start, length).
 */
static const char *in_the_way(int fd, int command, off_t start, off_t length)
{
    static char text[64];
    struct flock lock = record(F_WRLCK, start, length);
    if (benchfs_fcntl(fs, fd, command, &lock) != 0)
        snprintf(text, sizeof text, "%s", strerrorname_np(errno));
    else if (lock.l_type == F_UNLCK)
        snprintf(text, sizeof text, "-");
    else
        snprintf(text, sizeof text, "%c %ld %ld", lock.l_type == F_RDLCK ? 'r' : 'w', (long)lock.l_start,
                 (long)lock.l_len);
    return text;
}

/* ---- another process ---- */

struct child {
    pid_t pid;
    int to, from;
};

/* A process that does what it is told: one letter and a number at a time, answered by a number: 0, or errno.
 */
static int obey(const char *command, int fd)
{
    struct flock lock = record(F_WRLCK, 10, 10);
    switch (*command) {
    case 'x':
        return benchfs_flock(fs, fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
    case 's':
        return benchfs_flock(fs, fd, LOCK_SH | LOCK_NB) == 0 ? 0 : errno;
    case 'X':
        return benchfs_flock(fs, fd, LOCK_EX) == 0 ? 0 : errno;
    case 'u':
        return benchfs_flock(fs, fd, LOCK_UN) == 0 ? 0 : errno;
    case 'w':
        return benchfs_fcntl(fs, fd, F_SETLK, &lock) == 0 ? 0 : errno;
    case 'W':
        return benchfs_fcntl(fs, fd, F_SETLKW, &lock) == 0 ? 0 : errno;
    case 'U':
        lock.l_type = F_UNLCK;
        return benchfs_fcntl(fs, fd, F_SETLK, &lock) == 0 ? 0 : errno;
    case 'c':
        return benchfs_close(fs, fd) == 0 ? 0 : errno;
    case 'g':
        return benchfs_fcntl(fs, fd, F_GETLK, &lock) != 0 ? -1 : lock.l_type == F_UNLCK ? 0 : lock.l_pid;
    default:
        return -1;
    }
}

/* path NULL: it goes on with the parent's descriptor. */
static struct child child_start(const char *path, int fd)
{
    int to[2], from[2];
    assert_int_equal(pipe(to) | pipe(from), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char command;
        close(to[1]);
        close(from[0]);
        if (path != NULL)
            fd = benchfs_open(fs, path, O_RDWR);
        while (read(to[0], &command, 1) == 1) {
            int answer = obey(&command, fd);
            if (write(from[1], &answer, sizeof answer) != sizeof answer)
                break;
        }
        _exit(0);
    }
    close(to[0]);
    close(from[1]);
    return (struct child){.pid = pid, .to = to[1], .from = from[0]};
}

static void child_tell(struct child *child, char command)
{
    assert_int_equal(write(child->to, &command, 1), 1);
}

static int child_answer(struct child *child)
{
    int answer;
    assert_int_equal(read(child->from, &answer, sizeof answer), sizeof answer);
    return answer;
}

static int child_do(struct child *child, char command)
{
    child_tell(child, command);
    return child_answer(child);
}

static bool child_waits(struct child *child)
{
    struct pollfd poll_fd = {.fd = child->from, .events = POLLIN};
    return poll(&poll_fd, 1, 60) == 0;
}

static void child_end(struct child *child, int signal_number)
{
    if (signal_number != 0)
        kill(child->pid, signal_number);
    close(child->to);
    close(child->from);
    assert_int_equal(waitpid(child->pid, NULL, 0), child->pid);
}

/* ---- flock ---- */

static void flock_excludes(void **state)
{
    (void)state;
    int one = open_file("/l"), other = open_file("/l");
    OK(benchfs_flock(fs, one, LOCK_SH));
    OK(benchfs_flock(fs, other, LOCK_SH));
    FAILS(EWOULDBLOCK, benchfs_flock(fs, one, LOCK_EX | LOCK_NB));
    OK(benchfs_flock(fs, other, LOCK_UN));
    OK(benchfs_flock(fs, one, LOCK_EX | LOCK_NB));
    FAILS(EWOULDBLOCK, benchfs_flock(fs, other, LOCK_SH | LOCK_NB));
    OK(benchfs_flock(fs, one, LOCK_SH));
    OK(benchfs_flock(fs, other, LOCK_SH | LOCK_NB));
    OK(benchfs_flock(fs, other, LOCK_UN));
    OK(benchfs_flock(fs, other, LOCK_UN)); /* nothing to unlock is fine */
    OK(benchfs_flock(fs, one, LOCK_EX));
    OK(benchfs_flock(fs, one, LOCK_EX));
    OK(benchfs_close(fs, one));
    OK(benchfs_flock(fs, other, LOCK_EX | LOCK_NB));
    FAILS(EINVAL, benchfs_flock(fs, other, LOCK_SH | LOCK_EX));
    FAILS(EINVAL, benchfs_flock(fs, other, 0));
    FAILS(EBADF, benchfs_flock(fs, 999, LOCK_EX));
    int reader = (int)OK(benchfs_open(fs, "/l", O_RDONLY)), place = (int)OK(benchfs_open(fs, "/l", O_PATH));
    FAILS(EWOULDBLOCK, benchfs_flock(fs, reader, LOCK_EX | LOCK_NB));
    OK(benchfs_flock(fs, other, LOCK_UN));
    OK(benchfs_flock(fs, reader, LOCK_EX | LOCK_NB));
    FAILS(EBADF, benchfs_flock(fs, place, LOCK_EX));
    int directory = (int)OK(benchfs_open(fs, "/", O_RDONLY));
    OK(benchfs_flock(fs, directory, LOCK_EX | LOCK_NB));
    OK(benchfs_close(fs, directory));
    OK(benchfs_close(fs, place));
    OK(benchfs_close(fs, reader));
    OK(benchfs_close(fs, other));
    OK(benchfs_unlink(fs, "/l"));
}

/* The lock is the description's: duplicates share it, and it ends with the last of them. */
static void flock_is_shared_by_duplicates(void **state)
{
    (void)state;
    int one = open_file("/l"), other = open_file("/l");
    int twin = (int)OK(benchfs_dup(fs, one));
    OK(benchfs_flock(fs, one, LOCK_EX));
    OK(benchfs_flock(fs, twin, LOCK_EX | LOCK_NB));
    OK(benchfs_close(fs, one));
    FAILS(EWOULDBLOCK, benchfs_flock(fs, other, LOCK_EX | LOCK_NB));
    OK(benchfs_close(fs, twin));
    OK(benchfs_flock(fs, other, LOCK_EX | LOCK_NB));
    OK(benchfs_close(fs, other));
    OK(benchfs_unlink(fs, "/l"));
}

static void flock_among_processes(void **state)
{
    (void)state;
    int fd = open_file("/l");
    struct child child = child_start("/l", -1);
    IS(0, child_do(&child, 'x'));
    FAILS(EWOULDBLOCK, benchfs_flock(fs, fd, LOCK_SH | LOCK_NB));
    IS(0, child_do(&child, 'u'));
    OK(benchfs_flock(fs, fd, LOCK_EX | LOCK_NB));
    child_tell(&child, 'X');
    assert_true(child_waits(&child));
    OK(benchfs_flock(fs, fd, LOCK_UN));
    IS(0, child_answer(&child));
    /* Killed while it holds the lock. */
    child_end(&child, SIGKILL);
    OK(benchfs_flock(fs, fd, LOCK_EX));
    /* Killed while it waits: it gets it for a moment at most. */
    child = child_start("/l", -1);
    child_tell(&child, 'X');
    assert_true(child_waits(&child));
    child_end(&child, SIGKILL);
    OK(benchfs_flock(fs, fd, LOCK_UN));
    OK(benchfs_flock(fs, fd, LOCK_EX));
    OK(benchfs_close(fs, fd));
    OK(benchfs_unlink(fs, "/l"));
}

/* A child shares the parent's description, and so its lock. */
static void flock_is_inherited(void **state)
{
    (void)state;
    int fd = open_file("/l"), other = open_file("/l");
    OK(benchfs_flock(fs, fd, LOCK_EX));
    struct child child = child_start(NULL, fd);
    IS(0, child_do(&child, 'x')); /* its own lock already */
    OK(benchfs_close(fs, fd));
    FAILS(EWOULDBLOCK, benchfs_flock(fs, other, LOCK_SH | LOCK_NB));
    IS(0, child_do(&child, 'c'));
    OK(benchfs_flock(fs, other, LOCK_EX | LOCK_NB));
    OK(benchfs_flock(fs, other, LOCK_UN));
    child_end(&child, 0);

    /* Unlocking in one unlocks in both; and what a child locks is the parent's too. */
    fd = open_file("/l");
    OK(benchfs_flock(fs, fd, LOCK_EX));
    child = child_start(NULL, fd);
    IS(0, child_do(&child, 'u'));
    OK(benchfs_flock(fs, other, LOCK_EX | LOCK_NB));
    OK(benchfs_flock(fs, other, LOCK_UN));
    child_end(&child, SIGKILL);
    OK(benchfs_close(fs, fd));
    OK(benchfs_close(fs, other));
    OK(benchfs_unlink(fs, "/l"));
}

/* A child locks what its parent never locked, and ends: the parent has it open still. */
static void flock_of_a_child_stays(void **state)
{
    static const int ends[] = {0, SIGKILL};
    (void)state;
    int other = open_file("/l");
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        int fd = open_file("/l");
        struct child child = child_start(NULL, fd);
        IS(0, child_do(&child, 'x'));
        child_end(&child, ends[i]);
        usleep(100000); /* by then the server knows that it has ended */
        FAILS(EWOULDBLOCK, benchfs_flock(fs, other, LOCK_SH | LOCK_NB));
        OK(benchfs_flock(fs, fd, LOCK_SH)); /* it is this process's, too */
        FAILS(EWOULDBLOCK, benchfs_flock(fs, other, LOCK_EX | LOCK_NB));
        OK(benchfs_close(fs, fd));
        OK(benchfs_flock(fs, other, LOCK_EX | LOCK_NB));
        OK(benchfs_flock(fs, other, LOCK_UN));
    }
    /* Unless it has closed it before. */
    int fd = open_file("/l");
    struct child child = child_start(NULL, fd);
    OK(benchfs_close(fs, fd));
    IS(0, child_do(&child, 'x'));
    FAILS(EWOULDBLOCK, benchfs_flock(fs, other, LOCK_SH | LOCK_NB));
    child_end(&child, 0);
    OK(benchfs_flock(fs, other, LOCK_EX));
    OK(benchfs_close(fs, other));
    OK(benchfs_unlink(fs, "/l"));
}

/* ---- records ---- */

/* Ranges are seen by another description; processes do not exclude themselves. */
static void records_split_and_merge(void **state)
{
    (void)state;
    int fd = open_file("/l"), other = open_file("/l");
    OK(set(fd, F_OFD_SETLK, F_WRLCK, 0, 100));
    assert_string_equal(in_the_way(other, F_OFD_GETLK, 0, 0), "w 0 100");
    OK(set(fd, F_OFD_SETLK, F_UNLCK, 40, 20));
    assert_string_equal(in_the_way(other, F_OFD_GETLK, 0, 40), "w 0 40");
    assert_string_equal(in_the_way(other, F_OFD_GETLK, 40, 20), "-");
    assert_string_equal(in_the_way(other, F_OFD_GETLK, 50, 0), "w 60 40");
    OK(set(fd, F_OFD_SETLK, F_RDLCK, 40, 20));
    assert_string_equal(in_the_way(other, F_OFD_GETLK, 40, 20), "r 40 20");
    OK(set(other, F_OFD_SETLK, F_RDLCK, 45, 5));
    FAILS(EAGAIN, set(other, F_OFD_SETLK, F_RDLCK, 35, 10));
    FAILS(EAGAIN, set(fd, F_OFD_SETLK, F_WRLCK, 40, 20));
    OK(set(other, F_OFD_SETLK, F_UNLCK, 0, 0));
    OK(set(fd, F_OFD_SETLK, F_WRLCK, 40, 20));
    assert_string_equal(in_the_way(other, F_OFD_GETLK, 0, 0), "w 0 100");
    OK(set(fd, F_OFD_SETLK, F_WRLCK, 100, 0)); /* touches: one lock to the end of the world */
    assert_string_equal(in_the_way(other, F_OFD_GETLK, 1 << 30, 1), "w 0 0");
    OK(set(fd, F_OFD_SETLK, F_UNLCK, 0, 0));
    assert_string_equal(in_the_way(other, F_OFD_GETLK, 0, 0), "-");
    OK(benchfs_close(fs, other));
    OK(benchfs_close(fs, fd));
    OK(benchfs_unlink(fs, "/l"));
}

static void record_ranges(void **state)
{
    (void)state;
    int fd = open_file("/l"), other = open_file("/l");
    OK(benchfs_ftruncate(fs, fd, 1000));
    IS(500, benchfs_lseek(fs, fd, 500, SEEK_SET));
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_CUR, .l_start = -100, .l_len = 50};
    OK(benchfs_fcntl(fs, fd, F_OFD_SETLK, &lock));
    assert_string_equal(in_the_way(other, F_OFD_GETLK, 0, 0), "w 400 50");
    OK(set(fd, F_OFD_SETLK, F_UNLCK, 0, 0));
    lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_END, .l_start = -10, .l_len = 0};
    OK(benchfs_fcntl(fs, fd, F_OFD_SETLK, &lock));
    assert_string_equal(in_the_way(other, F_OFD_GETLK, 0, 0), "w 990 0");
    OK(set(fd, F_OFD_SETLK, F_UNLCK, 0, 0));
    OK(set(fd, F_OFD_SETLK, F_WRLCK, 100, -30));
    assert_string_equal(in_the_way(other, F_OFD_GETLK, 0, 0), "w 70 30");
    OK(set(fd, F_OFD_SETLK, F_UNLCK, 0, 0));
    OK(set(fd, F_OFD_SETLK, F_WRLCK, INT64_MAX, 1));
    assert_string_equal(in_the_way(other, F_OFD_GETLK, 5, 0), "w 9223372036854775807 0");
    OK(set(fd, F_OFD_SETLK, F_UNLCK, 0, 0));
    FAILS(EINVAL, set(fd, F_OFD_SETLK, F_WRLCK, -1, 1));
    FAILS(EINVAL, set(fd, F_OFD_SETLK, F_WRLCK, 10, -11));
    OK(set(fd, F_OFD_SETLK, F_WRLCK, 10, -10));
    FAILS(EOVERFLOW, set(fd, F_OFD_SETLK, F_WRLCK, INT64_MAX, 2));
    lock = (struct flock){.l_type = F_WRLCK, .l_whence = 7};
    FAILS(EINVAL, benchfs_fcntl(fs, fd, F_SETLK, &lock));
    lock = (struct flock){.l_type = 7};
    FAILS(EINVAL, benchfs_fcntl(fs, fd, F_SETLK, &lock));
    lock = record(F_UNLCK, 0, 0);
    FAILS(EINVAL, benchfs_fcntl(fs, fd, F_GETLK, &lock));
    lock = (struct flock){.l_type = F_WRLCK, .l_pid = 1};
    FAILS(EINVAL, benchfs_fcntl(fs, fd, F_OFD_SETLK, &lock));
    int reader = (int)OK(benchfs_open(fs, "/l", O_RDONLY)),
        writer = (int)OK(benchfs_open(fs, "/l", O_WRONLY));
    FAILS(EBADF, set(reader, F_SETLK, F_WRLCK, 500, 1));
    FAILS(EBADF, set(writer, F_SETLK, F_RDLCK, 500, 1));
    OK(set(reader, F_SETLK, F_RDLCK, 500, 1));
    OK(set(writer, F_SETLK, F_WRLCK, 500, 1));
    FAILS(EBADF, set(999, F_SETLK, F_WRLCK, 500, 1));
    OK(benchfs_close(fs, reader));
    OK(benchfs_close(fs, writer));
    OK(benchfs_close(fs, fd));
    OK(benchfs_close(fs, other));
    OK(benchfs_unlink(fs, "/l"));
}

static void records_are_the_processes(void **state)
{
    (void)state;
    int fd = open_file("/l"), other = open_file("/l");
    OK(set(fd, F_SETLK, F_WRLCK, 10, 10));
    OK(set(other, F_SETLK, F_WRLCK, 12, 2)); /* the same process */
    assert_string_equal(in_the_way(other, F_GETLK, 0, 0), "-");
    assert_string_equal(in_the_way(other, F_OFD_GETLK, 0, 0), "w 10 10"); /* but not the same owner */
    struct child child = child_start("/l", -1);
    IS(EAGAIN, child_do(&child, 'w'));
    IS(getpid(), child_do(&child, 'g'));
    /* A child owns nothing of its parent's; closing any descriptor in the parent ends its locks. */
    IS(0, child_do(&child, 'c'));
    child_end(&child, 0);
    child = child_start("/l", -1);
    IS(EAGAIN, child_do(&child, 'w'));
    OK(benchfs_close(fs, other));
    IS(0, child_do(&child, 'g'));
    IS(0, child_do(&child, 'w'));
    FAILS(EAGAIN, set(fd, F_SETLK, F_RDLCK, 19, 1));
    OK(set(fd, F_SETLK, F_RDLCK, 20, 1));
    struct flock lock = record(F_RDLCK, 0, 0);
    OK(benchfs_fcntl(fs, fd, F_GETLK, &lock));
    IS(child.pid, lock.l_pid);
    IS(F_WRLCK, lock.l_type);
    /* Waiting, until the holder dies. */
    child_end(&child, SIGKILL);
    OK(set(fd, F_SETLKW, F_WRLCK, 0, 0));
    child = child_start("/l", -1);
    child_tell(&child, 'W');
    assert_true(child_waits(&child));
    OK(set(fd, F_SETLK, F_UNLCK, 0, 15));
    assert_true(child_waits(&child));
    OK(set(fd, F_SETLK, F_UNLCK, 15, 0));
    IS(0, child_answer(&child));
    child_end(&child, 0);
    OK(benchfs_close(fs, fd));
    OK(benchfs_unlink(fs, "/l"));
}

static void deadlocks_are_refused(void **state)
{
    int ready[2];
    char byte;
    (void)state;
    assert_int_equal(pipe(ready), 0);
    int fd = open_file("/l");
    OK(set(fd, F_SETLK, F_WRLCK, 0, 1));
    pid_t pid = fork();
    if (pid == 0) {
        int mine = benchfs_open(fs, "/l", O_RDWR);
        if (set(mine, F_SETLK, F_WRLCK, 1, 1) != 0 || write(ready[1], "x", 1) != 1)
            _exit(1);
        _exit(set(mine, F_SETLKW, F_WRLCK, 0, 1) == 0 ? 0 : 2); /* waits for the parent */
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    /* By then it waits; were it slower still, this call would wait and be stopped by the test's time. */
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    FAILS(EDEADLK, set(fd, F_SETLKW, F_WRLCK, 1, 1));
    OK(set(fd, F_SETLK, F_UNLCK, 0, 1));
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close(ready[0]);
    close(ready[1]);
    OK(benchfs_close(fs, fd));
    OK(benchfs_unlink(fs, "/l"));
}

/* ---- waiting ---- */

static void *lock_exclusively(void *argument)
{
    int fd = benchfs_open(fs, argument, O_RDWR);
    if (fd < 0 || benchfs_flock(fs, fd, LOCK_EX) != 0)
        return argument;
    return benchfs_close(fs, fd) == 0 ? NULL : argument;
}

/* The lock outlives the thread that took it, though it had the only connection to the server. */
static void *lock_and_leave(void *argument)
{
    int fd = *(int *)argument;
    struct flock lock = record(F_WRLCK, 0, 10);
    return benchfs_flock(fs, fd, LOCK_EX) == 0 && benchfs_fcntl(fs, fd, F_SETLK, &lock) == 0 ? NULL
                                                                                             : argument;
}

static void threads_wait_for_each_other(void **state)
{
    enum { THREADS = 6 };
    pthread_t threads[THREADS];
    void *failed;
    (void)state;
    static char path[] = "/l";
    int fd = open_file(path);
    OK(benchfs_flock(fs, fd, LOCK_EX));
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, lock_exclusively, path), 0);
    OK(benchfs_flock(fs, fd, LOCK_UN));
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    OK(benchfs_close(fs, fd));
    OK(benchfs_unlink(fs, "/l"));
}

static void locks_outlive_threads(void **state)
{
    pthread_t thread;
    void *failed;
    (void)state;
    for (int i = 0; i < 8; i++) { /* inodes of every server */
        char path[16];
        snprintf(path, sizeof path, "/l%d", i);
        int fd = open_file(path);
        assert_int_equal(pthread_create(&thread, NULL, lock_and_leave, &fd), 0);
        pthread_join(thread, &failed);
        assert_null(failed);
        if (i == 7) {
            struct timespec longer = {.tv_sec = 1, .tv_nsec = 500000000}; /* than an instance may be silent */
            nanosleep(&longer, NULL);
            for (int j = 0; j < 8; j++) {
                snprintf(path, sizeof path, "/l%d", j);
                int other = open_file(path);
                FAILS(EWOULDBLOCK, benchfs_flock(fs, other, LOCK_SH | LOCK_NB));
                assert_string_equal(in_the_way(other, F_OFD_GETLK, 0, 0), "w 0 10");
                OK(benchfs_close(fs, other));
            }
        }
    }
    for (int i = 0; i < 8; i++) {
        char path[16];
        snprintf(path, sizeof path, "/l%d", i);
        int other = open_file(path);
        assert_string_equal(in_the_way(other, F_OFD_GETLK, 0, 0), "-"); /* closed by then */
        OK(benchfs_unlink(fs, path));
    }
}

static volatile sig_atomic_t alarms;
static void on_alarm(int number)
{
    (void)number;
    alarms++;
}

static int never(void *argument)
{
    return ++*(int *)argument > 3;
}

static void waiting_can_be_stopped(void **state)
{
    struct sigaction action = {.sa_handler = on_alarm};
    int asked = 0;
    (void)state;
    int fd = open_file("/l"), other = open_file("/l");
    OK(benchfs_flock(fs, fd, LOCK_EX));
    OK(set(fd, F_OFD_SETLK, F_WRLCK, 0, 1));
    sigaction(SIGALRM, &action, NULL);
    struct itimerval soon = {.it_value.tv_usec = 50000}, off = {0};
    setitimer(ITIMER_REAL, &soon, NULL);
    FAILS(EINTR, benchfs_flock(fs, other, LOCK_EX));
    IS(1, alarms);
    setitimer(ITIMER_REAL, &soon, NULL);
    FAILS(EINTR, set(other, F_OFD_SETLKW, F_WRLCK, 0, 1));
    IS(2, alarms);
    setitimer(ITIMER_REAL, &off, NULL);
    benchfs_set_interrupt(never, &asked);
    FAILS(EINTR, set(other, F_SETLKW, F_WRLCK, 0, 1));
    IS(4, asked);
    benchfs_set_interrupt(NULL, NULL);

    /* A handler that asks for restarting does not stop it. */
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, NULL);
    struct child child = child_start("/l", -1);
    OK(benchfs_flock(fs, fd, LOCK_UN));
    IS(0, child_do(&child, 'x'));
    setitimer(ITIMER_REAL, &soon, NULL);
    pid_t killer = fork();
    if (killer == 0) {
        struct timespec later = {.tv_nsec = 200000000};
        nanosleep(&later, NULL);
        kill(child.pid, SIGKILL);
        _exit(0);
    }
    OK(benchfs_flock(fs, other, LOCK_EX));
    IS(3, alarms);
    assert_int_equal(waitpid(killer, NULL, 0), killer);
    child_end(&child, 0);
    signal(SIGALRM, SIG_DFL);
    OK(benchfs_close(fs, fd));
    OK(benchfs_close(fs, other));
    OK(benchfs_unlink(fs, "/l"));
}

/* ---- mutual exclusion, hard ---- */

enum { PROCESSES = 4, ROUNDS = 150 };

/* Adds one to the number in the file, which several do at a time. */
static int count_up(int fd, bool flocks)
{
    uint64_t number = 0;
    struct flock lock = record(F_WRLCK, 0, 8);
    if (flocks ? benchfs_flock(fs, fd, LOCK_EX) : benchfs_fcntl(fs, fd, F_SETLKW, &lock))
        return -1;
    if (benchfs_pread(fs, fd, &number, 8, 0) != 8)
        return -1;
    number++;
    if (benchfs_pwrite(fs, fd, &number, 8, 0) != 8)
        return -1;
    lock.l_type = F_UNLCK;
    return flocks ? benchfs_flock(fs, fd, LOCK_UN) : benchfs_fcntl(fs, fd, F_SETLK, &lock);
}

/* flock and records do not exclude each other, so all use the one or the other. */
static void one_at_a_time(void **state)
{
    uint64_t number = 0;
    (void)state;
    for (int flocks = 0; flocks < 2; flocks++) {
        pid_t children[PROCESSES];
        int fd = open_file("/l");
        number = 0;
        IS(8, benchfs_pwrite(fs, fd, &number, 8, 0));
        for (int i = 0; i < PROCESSES; i++) {
            children[i] = fork();
            if (children[i] != 0)
                continue;
            int mine = benchfs_open(fs, "/l", O_RDWR);
            for (int round = 0; round < ROUNDS; round++)
                if (count_up(mine, flocks) != 0)
                    _exit(1);
            _exit(0);
        }
        for (int i = 0; i < PROCESSES; i++) {
            int status;
            assert_int_equal(waitpid(children[i], &status, 0), children[i]);
            assert_int_equal(status, 0);
        }
        IS(8, benchfs_pread(fs, fd, &number, 8, 0));
        IS(PROCESSES * ROUNDS, number);
        OK(benchfs_close(fs, fd));
        OK(benchfs_unlink(fs, "/l"));
    }
}

/* ---- duplicates and flags ---- */

static void duplicates_share_the_offset(void **state)
{
    char bytes[4];
    (void)state;
    int fd = open_file("/l");
    IS(6, benchfs_write(fs, fd, "abcdef", 6));
    int twin = (int)OK(benchfs_dup(fs, fd));
    assert_true(twin != fd);
    IS(6, benchfs_lseek(fs, twin, 0, SEEK_CUR));
    IS(2, benchfs_lseek(fs, fd, 2, SEEK_SET));
    IS(2, benchfs_read(fs, twin, bytes, 2));
    assert_memory_equal(bytes, "cd", 2);
    IS(4, benchfs_lseek(fs, fd, 0, SEEK_CUR));
    int high = (int)OK(benchfs_fcntl(fs, fd, F_DUPFD, 300));
    IS(300, high);
    IS(301, benchfs_fcntl(fs, fd, F_DUPFD_CLOEXEC, 300));
    IS(0, benchfs_fcntl(fs, 300, F_GETFD));
    IS(FD_CLOEXEC, benchfs_fcntl(fs, 301, F_GETFD));
    IS(0, benchfs_fcntl(fs, 301, F_SETFD, 0));
    IS(0, benchfs_fcntl(fs, 301, F_GETFD));
    OK(benchfs_close(fs, 301));
    OK(benchfs_close(fs, fd));
    IS(2, benchfs_read(fs, high, bytes, 4));
    /* The number is free at once, and what it names next is another file. */
    int next = open_file("/m");
    IS(fd, next);
    IS(0, benchfs_lseek(fs, next, 0, SEEK_CUR));
    IS(6, benchfs_lseek(fs, twin, 0, SEEK_CUR));
    IS(1, benchfs_write(fs, next, "x", 1));
    IS(6, benchfs_lseek(fs, twin, 0, SEEK_CUR));
    IS(twin, benchfs_dup2(fs, next, twin)); /* closes what it was */
    IS(1, benchfs_lseek(fs, twin, 0, SEEK_CUR));
    IS(400, benchfs_dup3(fs, next, 400, O_CLOEXEC));
    IS(FD_CLOEXEC, benchfs_fcntl(fs, 400, F_GETFD));
    IS(400, benchfs_dup2(fs, 400, 400));
    IS(FD_CLOEXEC, benchfs_fcntl(fs, 400, F_GETFD));
    FAILS(EINVAL, benchfs_dup3(fs, 400, 400, 0));
    FAILS(EINVAL, benchfs_dup3(fs, 400, 401, O_APPEND));
    FAILS(EBADF, benchfs_dup(fs, 999));
    FAILS(EBADF, benchfs_dup2(fs, 999, twin));
    FAILS(EBADF, benchfs_dup2(fs, twin, -1));
    FAILS(EBADF, benchfs_dup2(fs, twin, 1 << 20));
    FAILS(EBADF, benchfs_dup2(fs, 999, 999));
    FAILS(EINVAL, benchfs_fcntl(fs, twin, F_DUPFD, -1));
    FAILS(EINVAL, benchfs_fcntl(fs, twin, F_DUPFD, 1 << 20));
    OK(benchfs_close(fs, 400));
    OK(benchfs_close(fs, twin));
    OK(benchfs_close(fs, next));
    OK(benchfs_close(fs, high));
    FAILS(EBADF, benchfs_close(fs, high));
    OK(benchfs_unlink(fs, "/m"));
    OK(benchfs_unlink(fs, "/l"));
}

static void flags_can_be_changed(void **state)
{
    (void)state;
    int fd = (int)OK(benchfs_open(fs, "/l", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    IS(FD_CLOEXEC, benchfs_fcntl(fs, fd, F_GETFD));
    IS(O_RDWR, benchfs_fcntl(fs, fd, F_GETFL));
    int twin = (int)OK(benchfs_dup(fs, fd));
    IS(0, benchfs_fcntl(fs, twin, F_GETFD));
    IS(3, benchfs_write(fs, fd, "abc", 3));
    OK(benchfs_fcntl(fs, fd, F_SETFL, O_APPEND | O_NONBLOCK | O_WRONLY | O_CREAT));
    IS(O_RDWR | O_APPEND | O_NONBLOCK, benchfs_fcntl(fs, twin, F_GETFL));
    IS(0, benchfs_lseek(fs, fd, 0, SEEK_SET));
    IS(1, benchfs_write(fs, twin, "d", 1));
    OK(benchfs_fcntl(fs, fd, F_SETFL, 0));
    IS(0, benchfs_lseek(fs, fd, 0, SEEK_SET));
    IS(1, benchfs_write(fs, twin, "A", 1));
    expect_text(fs, "/l", "Abcd");
    FAILS(EINVAL, benchfs_fcntl(fs, fd, F_SETOWN, 1));
    int place = (int)OK(benchfs_open(fs, "/l", O_PATH));
    IS(O_PATH, benchfs_fcntl(fs, place, F_GETFL));
    FAILS(EBADF, benchfs_fcntl(fs, place, F_SETFL, O_APPEND));
    OK(benchfs_close(fs, (int)OK(benchfs_dup(fs, place))));
    OK(benchfs_close(fs, place));
    OK(benchfs_close(fs, twin));
    OK(benchfs_close(fs, fd));
    OK(benchfs_unlink(fs, "/l"));
}

/* ---- appending ---- */

enum { APPENDERS = 4, RECORDS = 200 };

struct appender {
    int number;
};

/* Records of different lengths, from 16 bytes to beyond what a file holds inline. */
static size_t record_length(int appender, int index)
{
    return 16 + (size_t)((appender * 131 + index * 37) % 700) + (index % 50 == 49 ? 9000 : 0);
}

static void *append_records(void *argument)
{
    const struct appender *appender = argument;
    unsigned char bytes[16384];
    int fd = benchfs_open(fs, "/log", O_WRONLY | O_APPEND);
    for (int i = 0; i < RECORDS; i++) {
        size_t length = record_length(appender->number, i);
        memset(bytes, 'a' + appender->number, length);
        int header[3] = {0x7ec0, appender->number, i};
        memcpy(bytes, header, sizeof header);
        if (benchfs_write(fs, fd, bytes, length) != (ssize_t)length)
            return argument;
    }
    return benchfs_close(fs, fd) == 0 ? NULL : argument;
}

static void check_log(int appenders)
{
    int next[2 * APPENDERS] = {0}, found = 0;
    struct stat status;
    OK(benchfs_stat(fs, "/log", &status));
    unsigned char *bytes = malloc((size_t)status.st_size);
    int fd = (int)OK(benchfs_open(fs, "/log", O_RDONLY));
    IS(status.st_size, benchfs_read(fs, fd, bytes, (size_t)status.st_size));
    OK(benchfs_close(fs, fd));
    for (off_t at = 0; at < status.st_size; found++) {
        int header[3];
        memcpy(header, bytes + at, sizeof header);
        assert_int_equal(header[0], 0x7ec0);
        assert_in_range(header[1], 0, appenders - 1);
        assert_int_equal(header[2], next[header[1]]++);
        size_t length = record_length(header[1], header[2]);
        for (size_t i = sizeof header; i < length; i++)
            if (bytes[(size_t)at + i] != 'a' + header[1])
                fail_msg("record %d of %d is torn at byte %zu", header[2], header[1], i);
        at += (off_t)length;
    }
    assert_int_equal(found, appenders * RECORDS);
    free(bytes);
}

/* Threads and processes at once: nothing is overwritten, torn or out of order. */
static void appenders_do_not_overwrite(void **state)
{
    struct appender appenders[2 * APPENDERS];
    pthread_t threads[APPENDERS];
    pid_t children[APPENDERS];
    void *failed;
    (void)state;
    OK(benchfs_close(fs, open_file("/log")));
    for (int i = 0; i < APPENDERS; i++) {
        appenders[i] = (struct appender){.number = i};
        children[i] = fork();
        if (children[i] == 0)
            _exit(append_records(&appenders[i]) == NULL ? 0 : 1);
    }
    for (int i = 0; i < APPENDERS; i++) {
        appenders[APPENDERS + i] = (struct appender){.number = APPENDERS + i};
        assert_int_equal(pthread_create(&threads[i], NULL, append_records, &appenders[APPENDERS + i]), 0);
    }
    for (int i = 0; i < APPENDERS; i++) {
        int status;
        pthread_join(threads[i], &failed);
        assert_null(failed);
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    check_log(2 * APPENDERS);
    OK(benchfs_unlink(fs, "/log"));
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(flock_excludes),         cmocka_unit_test(flock_is_shared_by_duplicates),
        cmocka_unit_test(flock_among_processes),  cmocka_unit_test(flock_is_inherited),
        cmocka_unit_test(flock_of_a_child_stays), cmocka_unit_test(records_split_and_merge),
        cmocka_unit_test(record_ranges),          cmocka_unit_test(records_are_the_processes),
        cmocka_unit_test(deadlocks_are_refused),  cmocka_unit_test(threads_wait_for_each_other),
        cmocka_unit_test(locks_outlive_threads),  cmocka_unit_test(waiting_can_be_stopped),
        cmocka_unit_test(one_at_a_time),          cmocka_unit_test(duplicates_share_the_offset),
        cmocka_unit_test(flags_can_be_changed),   cmocka_unit_test(appenders_do_not_overwrite),
    };
    return POSIX_MAIN(argc, argv, NULL, tests);
}

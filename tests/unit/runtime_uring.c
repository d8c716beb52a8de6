/* io_uring requests on files, sockets and pipes: results, errors, depth, cancellation, blocking. */
#include "unit/unit.h"

#include "base/clock.h"
#include "runtime/loop.h"
#include "runtime/sync.h"
#include "runtime/task.h"
#include "runtime/uring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { DEPTH = 8, BLOCK = 4096, BLOCKS = 100 };

static struct loop *loop;
static struct uring *uring; /* NULL where the kernel has no io_uring */
static int file;

static int setup(void **state)
{
    (void)state;
    struct loop_options options = {0};
    if (loop_create(&options, &loop) != 0)
        return -1;
    uring = NULL;
    int status = uring_create(loop, DEPTH, &uring);
    if (status != 0 && status != -ENOSYS)
        return status;
    char path[] = "/tmp/benchfs-uring-XXXXXX";
    file = mkstemp(path);
    unlink(path);
    return file >= 0 ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    close(file);
    if (uring != NULL)
        uring_destroy(uring);
    loop_destroy(loop);
    return 0;
}

#define NEED_URING()                                                                                         \
    do {                                                                                                     \
        if (uring == NULL)                                                                                   \
            skip();                                                                                          \
    } while (0)

static void write_fsync_read(void **state)
{
    (void)state;
    NEED_URING();
    char written[BLOCK];
    char back[BLOCK];
    memset(written, 'w', sizeof(written));
    assert_int_equal(uring_write(uring, file, written, BLOCK, 3 * BLOCK), BLOCK);
    assert_int_equal(uring_fsync(uring, file, true), 0);
    assert_int_equal(uring_fsync(uring, file, false), 0);
    assert_int_equal(pread(file, back, BLOCK, 3 * BLOCK), BLOCK);
    assert_memory_equal(written, back, BLOCK);
    memset(back, 0, sizeof(back));
    assert_int_equal(uring_read(uring, file, back, BLOCK, 3 * BLOCK), BLOCK);
    assert_memory_equal(written, back, BLOCK);
    assert_int_equal(uring_read(uring, file, back, BLOCK, 4 * BLOCK), 0);
    assert_int_equal(uring_read(uring, file, back, BLOCK, 4 * BLOCK - 10), 10);
}

static void vectors(void **state)
{
    (void)state;
    NEED_URING();
    char first[] = "abc";
    char second[] = "defgh";
    struct iovec out[2] = {{first, 3}, {second, 5}};
    assert_int_equal(uring_writev(uring, file, out, 2, 7), 8);
    char left[5];
    char right[3];
    struct iovec in[2] = {{left, 5}, {right, 3}};
    assert_int_equal(uring_readv(uring, file, in, 2, 7), 8);
    assert_memory_equal(left, "abcde", 5);
    assert_memory_equal(right, "fgh", 3);
}

static void errors_are_returned(void **state)
{
    (void)state;
    NEED_URING();
    char byte;
    assert_int_equal(uring_read(uring, -1, &byte, 1, 0), -EBADF);
    assert_int_equal(uring_write(uring, file, (void *)8, 1, 0), -EFAULT);
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(uring_fsync(uring, pipes[1], false), -EINVAL);
    close(pipes[0]);
    close(pipes[1]);
}

struct transfer {
    unsigned index;
    ssize_t written;
    ssize_t read;
    bool equal;
    struct wait_group *group;
};

static void transfer_block(void *argument)
{
    struct transfer *transfer = argument;
    char bytes[BLOCK];
    char back[BLOCK];
    memset(bytes, (int)transfer->index, sizeof(bytes));
    transfer->written = uring_write(uring, file, bytes, BLOCK, (uint64_t)transfer->index * BLOCK);
    transfer->read = uring_read(uring, file, back, BLOCK, (uint64_t)transfer->index * BLOCK);
    transfer->equal = memcmp(bytes, back, BLOCK) == 0;
    wait_group_done(loop, transfer->group);
}

static void more_requests_than_depth(void **state)
{
    (void)state;
    NEED_URING();
    static struct transfer transfers[BLOCKS];
    struct wait_group group;
    wait_group_init(&group);
    wait_group_add(&group, BLOCKS);
    for (unsigned i = 0; i < BLOCKS; i++) {
        transfers[i] = (struct transfer){.index = i, .group = &group};
        assert_int_equal(task_spawn(loop, transfer_block, &transfers[i]), 0);
    }
    assert_int_equal(wait_group_wait(loop, &group, loop_now(loop) + 8 * NSEC_PER_SEC), 0);
    for (unsigned i = 0; i < BLOCKS; i++) {
        assert_int_equal(transfers[i].written, BLOCK);
        assert_int_equal(transfers[i].read, BLOCK);
        assert_true(transfers[i].equal);
    }
}

struct receiver {
    int fd;
    char bytes[16];
    ssize_t result;
    int next; /* result of a sleep afterwards */
    struct completion ended;
};

static void receive(void *argument)
{
    struct receiver *receiver = argument;
    receiver->result = uring_read(uring, receiver->fd, receiver->bytes, sizeof(receiver->bytes), UINT64_MAX);
    receiver->next = task_sleep(loop, 1);
    completion_fire(&receiver->ended, 0);
}

static uint64_t soon(void)
{
    return loop_now(loop) + 5 * NSEC_PER_SEC;
}

static void sockets_wake_the_loop(void **state)
{
    (void)state;
    NEED_URING();
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct receiver receiver = {.fd = pair[0]};
    assert_int_equal(task_spawn(loop, receive, &receiver), 0);
    struct timespec before;
    struct timespec after;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
    /* Nothing comes: the loop blocks, and other requests still go through. */
    assert_int_equal(task_sleep(loop, 100 * NSEC_PER_MSEC), 0);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
    assert_true((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec < 20000000);
    assert_false(receiver.ended.fired);
    assert_int_equal(uring_write(uring, pair[1], "hello", 5, UINT64_MAX), 5);
    assert_int_equal(await_until(loop, &receiver.ended, soon()), 0);
    assert_int_equal(receiver.result, 5);
    assert_memory_equal(receiver.bytes, "hello", 5);
    close(pair[0]);
    close(pair[1]);
}

static void wait_until_asleep(pid_t process)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/stat", process);
    uint64_t end = clock_now() + NSEC_PER_SEC / 2;
    char status = 'R';
    while (status != 'S' && clock_now() < end) {
        FILE *stat = fopen(path, "r");
        if (stat == NULL || fscanf(stat, "%*d (%*[^)]) %c", &status) != 1)
            status = 'R';
        if (stat != NULL)
            fclose(stat);
    }
}

/* The answer comes from another process, so that only the ring can wake the loop. */
static void a_completion_ends_blocking(void **state)
{
    (void)state;
    NEED_URING();
    int there[2];
    int back[2];
    assert_int_equal(pipe(there), 0);
    assert_int_equal(pipe(back), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char byte;
        close(there[1]);
        while (read(there[0], &byte, 1) == 1) {
            wait_until_asleep(getppid());
            if (write(back[1], &byte, 1) != 1)
                break;
        }
        _exit(0);
    }
    for (char i = 0; i < 10; i++) {
        struct receiver receiver = {.fd = back[0]};
        assert_int_equal(task_spawn(loop, receive, &receiver), 0);
        assert_int_equal(write(there[1], &i, 1), 1);
        assert_int_equal(await_until(loop, &receiver.ended, soon()), 0);
        assert_int_equal(receiver.result, 1);
        assert_int_equal(receiver.bytes[0], i);
    }
    struct loop_statistics statistics;
    loop_statistics(loop, &statistics);
    assert_true(statistics.blocks >= 5);
    close(there[1]);
    close(there[0]);
    close(back[0]);
    close(back[1]);
}

static void cancellation_reaches_the_kernel(void **state)
{
    (void)state;
    NEED_URING();
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    struct receiver receivers[DEPTH + 1];
    struct task *tasks[DEPTH + 1];
    for (int i = 0; i <= DEPTH; i++) {
        receivers[i] = (struct receiver){.fd = pipes[0]};
        assert_int_equal(task_spawn_later(loop, receive, &receivers[i], &tasks[i]), 0);
    }
    task_sleep(loop, NSEC_PER_MSEC);
    for (int i = 0; i <= DEPTH; i++)
        task_cancel(tasks[i]);
    for (int i = 0; i <= DEPTH; i++) {
        assert_int_equal(await_until(loop, &receivers[i].ended, soon()), 0);
        assert_int_equal(receivers[i].result, -ECANCELED);
        assert_int_equal(receivers[i].next, 0);
    }
    /* The kernel is no longer interested in the pipe. */
    assert_int_equal(write(pipes[1], "x", 1), 1);
    char byte;
    assert_int_equal(uring_read(uring, pipes[0], &byte, 1, UINT64_MAX), 1);
    close(pipes[0]);
    close(pipes[1]);
}

static void a_result_wins_over_a_cancellation(void **state)
{
    (void)state;
    NEED_URING();
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    struct receiver receiver = {.fd = pipes[0]};
    struct task *task;
    assert_int_equal(write(pipes[1], "x", 1), 1);
    assert_int_equal(task_spawn_later(loop, receive, &receiver, &task), 0);
    assert_int_equal(loop_poll(loop), 1); /* queued; the kernel has not seen it */
    task_cancel(task);
    assert_int_equal(await_until(loop, &receiver.ended, soon()), 0);
    assert_int_equal(receiver.result, 1);
    assert_int_equal(receiver.next, -ECANCELED);
    close(pipes[0]);
    close(pipes[1]);
}

static void not_in_a_simulation(void **state)
{
    (void)state;
    struct loop *simulated;
    struct uring *none;
    struct loop_options options = {.simulated = true};
    assert_int_equal(loop_create(&options, &simulated), 0);
    assert_int_equal(uring_create(simulated, DEPTH, &none), -ENOSYS);
    loop_destroy(simulated);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(write_fsync_read),
        CASE(vectors),
        CASE(errors_are_returned),
        CASE(more_requests_than_depth),
        CASE(sockets_wake_the_loop),
        CASE(a_completion_ends_blocking),
        CASE(cancellation_reaches_the_kernel),
        CASE(a_result_wins_over_a_cancellation),
        CASE(not_in_a_simulation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

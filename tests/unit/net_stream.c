/* TCP streams deliver bytes in both directions, keep deadlines, and tell when the peer is gone. */
#include "unit/unit.h"

#include <errno.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/stream.h"

#define PATIENCE (5 * NSEC_PER_SEC)

struct fixture {
    struct loop *loop;
    struct net net; /* only what streams use of it */
    struct net_listener *listener;
    struct net_stream *accepted;
    struct completion arrival;
};

static uint64_t soon(struct fixture *fixture)
{
    return loop_now(fixture->loop) + PATIENCE;
}

static void keep_stream(void *owner, struct net_stream *stream)
{
    struct fixture *fixture = owner;
    fixture->accepted = stream;
    completion_fire(&fixture->arrival, 0);
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_int_equal(loop_create(&(struct loop_options){0}, &fixture->loop), 0);
    fixture->net.loop = fixture->loop;
    assert_int_equal(net_tcp_listen(&fixture->net, "127.0.0.1:0", keep_stream, fixture, &fixture->listener),
                     0);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    if (fixture->listener != NULL)
        fixture->listener->close(fixture->listener);
    loop_destroy(fixture->loop);
    free(fixture);
    return 0;
}

static struct net_stream *connect_pair(struct fixture *fixture)
{
    struct net_stream *stream;
    fixture->arrival = COMPLETION_INIT;
    assert_int_equal(net_tcp_connect(&fixture->net, fixture->listener->address, soon(fixture), &stream), 0);
    assert_int_equal(await_until(fixture->loop, &fixture->arrival, soon(fixture)), 0);
    return stream;
}

/* ---- bytes ---- */

enum { BULK = 3 << 20 };

struct echo {
    struct fixture *fixture;
    struct completion done;
};

static void echo_task(void *argument)
{
    struct echo *echo = argument;
    struct net_stream *stream = echo->fixture->accepted;
    static uint8_t block[65536];
    int error = 0;
    for (size_t moved = 0; moved < BULK && error == 0; moved += sizeof block) {
        error = net_stream_read(stream, block, sizeof block, soon(echo->fixture));
        if (error == 0)
            error = net_stream_write(stream, block, sizeof block, soon(echo->fixture));
    }
    completion_fire(&echo->done, error);
}

struct writer {
    struct fixture *fixture;
    struct net_stream *stream;
    const uint8_t *bytes;
    struct completion done;
};

static void writer_task(void *argument)
{
    struct writer *writer = argument;
    completion_fire(&writer->done,
                    net_stream_write(writer->stream, writer->bytes, BULK, soon(writer->fixture)));
}

static void bytes_go_round_while_both_ends_write(void **state)
{
    struct fixture *fixture = *state;
    struct net_stream *stream = connect_pair(fixture);
    assert_int_equal(strncmp(stream->peer, "127.0.0.1:", 10), 0);
    assert_string_equal(stream->peer, fixture->listener->address);
    uint8_t *out = malloc(BULK), *in = malloc(BULK);
    for (size_t i = 0; i < BULK; i++)
        out[i] = (uint8_t)(i * 7 + i / 251);
    struct echo echo = {.fixture = fixture};
    struct writer writer = {.fixture = fixture, .stream = stream, .bytes = out};
    assert_int_equal(task_spawn(fixture->loop, echo_task, &echo), 0);
    assert_int_equal(task_spawn(fixture->loop, writer_task, &writer), 0);
    assert_int_equal(net_stream_read(stream, in, BULK, soon(fixture)), 0);
    assert_int_equal(await(fixture->loop, &writer.done), 0);
    assert_int_equal(await(fixture->loop, &echo.done), 0);
    assert_memory_equal(in, out, BULK);
    net_stream_close(stream);
    net_stream_close(fixture->accepted);
    free(out);
    free(in);
}

/* ---- errors ---- */

static void nobody_listening_is_refused(void **state)
{
    struct fixture *fixture = *state;
    char address[64];
    snprintf(address, sizeof address, "%s", fixture->listener->address);
    fixture->listener->close(fixture->listener);
    fixture->listener = NULL;
    struct net_stream *stream;
    assert_int_equal(net_tcp_connect(&fixture->net, address, soon(fixture), &stream), -ECONNREFUSED);
}

static void malformed_addresses_are_invalid(void **state)
{
    struct fixture *fixture = *state;
    char longest[512];
    memset(longest, 'a', sizeof longest);
    strcpy(longest + sizeof longest - 4, ":80");
    const char *addresses[] = {
        "", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:x", "127.0.0.1:-1", ":80", longest};
    struct net_stream *stream;
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++)
        assert_int_equal(net_tcp_connect(&fixture->net, addresses[i], soon(fixture), &stream), -EINVAL);
    struct net_listener *listener;
    assert_int_equal(
        net_tcp_listen(&fixture->net, fixture->listener->address, keep_stream, fixture, &listener),
        -EADDRINUSE);
}

static void a_read_gives_up_at_its_deadline_and_can_be_repeated(void **state)
{
    struct fixture *fixture = *state;
    struct net_stream *stream = connect_pair(fixture);
    uint32_t value = 0;
    uint64_t start = loop_now(fixture->loop);
    assert_int_equal(net_stream_read(stream, &value, sizeof value, start + 20 * NSEC_PER_MSEC), -ETIMEDOUT);
    assert_true(loop_now(fixture->loop) - start >= 20 * NSEC_PER_MSEC);
    assert_int_equal(net_stream_write(fixture->accepted, &(uint32_t){77}, sizeof value, soon(fixture)), 0);
    assert_int_equal(net_stream_read(stream, &value, sizeof value, soon(fixture)), 0);
    assert_int_equal(value, 77);
    net_stream_close(fixture->accepted);
    assert_int_equal(net_stream_read(stream, &value, sizeof value, soon(fixture)), -ECONNRESET);
    net_stream_close(stream);
}

struct reading {
    struct net_stream *stream;
    struct completion done;
};

static void reading_task(void *argument)
{
    struct reading *reading = argument;
    char byte;
    completion_fire(&reading->done, net_stream_read(reading->stream, &byte, 1, 0));
}

static void a_reader_can_be_cancelled_and_is_woken_by_close(void **state)
{
    struct fixture *fixture = *state;
    struct net_stream *stream = connect_pair(fixture);
    struct reading first = {.stream = stream}, second = {.stream = stream};
    struct task *task;
    assert_int_equal(task_spawn_later(fixture->loop, reading_task, &first, &task), 0);
    loop_poll(fixture->loop);
    loop_poll(fixture->loop);
    task_cancel(task);
    assert_int_equal(await_until(fixture->loop, &first.done, soon(fixture)), -ECANCELED);
    assert_int_equal(task_spawn(fixture->loop, reading_task, &second), 0);
    net_stream_close(stream);
    assert_int_equal(await_until(fixture->loop, &second.done, soon(fixture)), -ECONNRESET);
    net_stream_close(fixture->accepted);
}

/* ---- liveness ---- */

struct ending {
    struct completion seen;
    unsigned calls;
};

static void note_end(void *owner)
{
    struct ending *ending = owner;
    if (ending->calls++ == 0)
        completion_fire(&ending->seen, 0);
}

static void the_end_of_the_peer_is_told_once(void **state)
{
    struct fixture *fixture = *state;
    struct net_stream *stream = connect_pair(fixture);
    struct ending replaced = {0}, ending = {0};
    net_stream_on_close(stream, note_end, &replaced);
    net_stream_on_close(stream, note_end, &ending);
    for (int i = 0; i < 100; i++)
        loop_poll(fixture->loop);
    assert_int_equal(ending.calls, 0);
    net_stream_close(fixture->accepted);
    assert_int_equal(await_until(fixture->loop, &ending.seen, soon(fixture)), 0);
    for (int i = 0; i < 100; i++)
        loop_poll(fixture->loop);
    assert_int_equal(ending.calls, 1);
    assert_int_equal(replaced.calls, 0);
    assert_int_equal(net_stream_parting(stream), -EPIPE);
    net_stream_close(stream);
}

/* A byte before the end is told from an end without one, and from a connection that broke. */
static void how_the_other_end_left_is_known(void **state)
{
    struct fixture *fixture = *state;
    struct net_stream *stream = connect_pair(fixture);
    struct ending ending = {0};
    assert_int_equal(net_stream_parting(stream), -EAGAIN);
    net_stream_on_close(stream, note_end, &ending);
    assert_int_equal(net_stream_write(fixture->accepted, "\x07", 1, soon(fixture)), 0);
    net_stream_close(fixture->accepted);
    assert_int_equal(await_until(fixture->loop, &ending.seen, soon(fixture)), 0);
    assert_int_equal(net_stream_parting(stream), 7);
    net_stream_close(stream);

    stream = connect_pair(fixture);
    ending = (struct ending){0};
    net_stream_on_close(stream, note_end, &ending);
    /* What was sent and not read makes the kernel break the connection in place of closing it. */
    assert_int_equal(net_stream_write(stream, "x", 1, soon(fixture)), 0);
    struct ending arrived = {0};
    net_stream_on_close(fixture->accepted, note_end, &arrived);
    assert_int_equal(await_until(fixture->loop, &arrived.seen, soon(fixture)), 0);
    net_stream_close(fixture->accepted);
    assert_int_equal(await_until(fixture->loop, &ending.seen, soon(fixture)), 0);
    assert_int_equal(net_stream_parting(stream), -ECONNRESET);
    net_stream_close(stream);
}

static void unasked_bytes_end_a_watched_stream(void **state)
{
    struct fixture *fixture = *state;
    struct net_stream *stream = connect_pair(fixture);
    struct ending ending = {0};
    net_stream_on_close(stream, note_end, &ending);
    assert_int_equal(net_stream_write(fixture->accepted, "x", 1, soon(fixture)), 0);
    assert_int_equal(await_until(fixture->loop, &ending.seen, soon(fixture)), 0);
    net_stream_close(stream);
    net_stream_close(fixture->accepted);
}

static uint16_t port_of(const struct fixture *fixture)
{
    return (uint16_t)atoi(strrchr(fixture->listener->address, ':') + 1);
}

static int connect_plainly(int fd, uint16_t port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return connect(fd, (struct sockaddr *)&to, sizeof to);
}

static void a_killed_process_ends_its_streams(void **state)
{
    struct fixture *fixture = *state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect_plainly(fd, port_of(fixture)) == 0)
            pause();
        _exit(1);
    }
    assert_int_equal(await_until(fixture->loop, &fixture->arrival, soon(fixture)), 0);
    struct ending ending = {0};
    net_stream_on_close(fixture->accepted, note_end, &ending);
    kill(child, SIGKILL);
    assert_int_equal(await_until(fixture->loop, &ending.seen, soon(fixture)), 0);
    assert_int_equal(net_stream_parting(fixture->accepted), -EPIPE);
    waitpid(child, NULL, 0);
    net_stream_close(fixture->accepted);
}

static void without_descriptors_the_listener_waits_and_recovers(void **state)
{
    struct fixture *fixture = *state;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    struct rlimit before, tight;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    tight = before;
    tight.rlim_cur = (rlim_t)fd + 1;
    /* Fill the gaps below, so that no descriptor is left. */
    int fillers[64], count = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    while (count < 64 && (fillers[count] = dup(0)) >= 0)
        count++;
    connect_plainly(fd, port_of(fixture));
    enum log_level threshold = log_threshold;
    log_threshold = LOG_ERROR;
    struct loop_statistics statistics, later;
    assert_int_equal(
        await_until(fixture->loop, &fixture->arrival, loop_now(fixture->loop) + 20 * NSEC_PER_MSEC),
        -ETIMEDOUT);
    loop_statistics(fixture->loop, &statistics);
    assert_int_equal(
        await_until(fixture->loop, &fixture->arrival, loop_now(fixture->loop) + 30 * NSEC_PER_MSEC),
        -ETIMEDOUT);
    loop_statistics(fixture->loop, &later);
    log_threshold = threshold;
    assert_true(later.blocks - statistics.blocks < 10);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    while (count > 0)
        close(fillers[--count]);
    assert_int_equal(await_until(fixture->loop, &fixture->arrival, soon(fixture)), 0);
    net_stream_close(fixture->accepted);
    close(fd);
}

static void streams_outlive_their_listener(void **state)
{
    struct fixture *fixture = *state;
    struct net_stream *stream = connect_pair(fixture);
    fixture->listener->close(fixture->listener);
    fixture->listener = NULL;
    char byte = 0;
    assert_int_equal(net_stream_write(stream, "y", 1, soon(fixture)), 0);
    assert_int_equal(net_stream_read(fixture->accepted, &byte, 1, soon(fixture)), 0);
    assert_int_equal(byte, 'y');
    net_stream_close(fixture->accepted);
    net_stream_close(stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bytes_go_round_while_both_ends_write, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_listening_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(malformed_addresses_are_invalid, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_read_gives_up_at_its_deadline_and_can_be_repeated, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_reader_can_be_cancelled_and_is_woken_by_close, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_end_of_the_peer_is_told_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(how_the_other_end_left_is_known, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unasked_bytes_end_a_watched_stream, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_killed_process_ends_its_streams, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_descriptors_the_listener_waits_and_recovers, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(streams_outlive_their_listener, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

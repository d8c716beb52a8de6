/* The raw yardstick moves what it says it moves, and neither side outlives the other. */
#include "unit/unit.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/raw.h"

enum { COUNT = 20 };

static pid_t server;

static struct raw_client *start(void)
{
    int sockets[2];
    struct raw_client *client;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    server = fork();
    assert_true(server >= 0);
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(sockets[0]);
        _exit(raw_server_run(sockets[1], NULL) == 0 ? 0 : 1);
    }
    close(sockets[1]);
    assert_int_equal(raw_client_create(sockets[0], NULL, &client), 0);
    return client;
}

static void every_message_is_answered_and_timed(void **state)
{
    (void)state;
    struct raw_client *client = start();
    const uint32_t sizes[][2] = {{8, 8}, {64, 64}, {64, 4096}, {65536, 64}};
    uint64_t latency[COUNT], elapsed = 0;
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        latency[COUNT - 1] = 0;
        assert_int_equal(raw_round_trips(client, sizes[i][0], sizes[i][1], 1, COUNT, latency, NULL), 0);
        assert_true(latency[COUNT - 1] > 0);
    }
    for (uint32_t depth = 1; depth <= RAW_DEPTH_MAX; depth *= 8) {
        latency[COUNT - 1] = 0;
        assert_int_equal(raw_round_trips(client, 64, 4096, depth, COUNT, latency, &elapsed), 0);
        assert_true(latency[COUNT - 1] > 0 && elapsed > latency[COUNT - 1]);
        latency[COUNT - 1] = 0;
        assert_int_equal(raw_write(client, 65536, 65536 * 3, depth, COUNT, latency, &elapsed), 0);
        assert_true(latency[COUNT - 1] > 0 && elapsed > latency[COUNT - 1]);
        latency[COUNT - 1] = 0;
        assert_int_equal(raw_read(client, 300000, 1 << 20, depth, COUNT, latency, &elapsed), 0);
        assert_true(latency[COUNT - 1] > 0 && elapsed > latency[COUNT - 1]);
    }
    assert_int_equal(raw_round_trips(client, 7, 64, 1, 1, NULL, NULL), -EINVAL);
    assert_int_equal(raw_round_trips(client, 64, 65537, 1, 1, NULL, NULL), -EINVAL);
    assert_int_equal(raw_round_trips(client, 64, 64, RAW_DEPTH_MAX + 1, 1, NULL, NULL), -EINVAL);
    assert_int_equal(raw_write(client, 4096, 4095, 1, 1, NULL, &elapsed), -EINVAL);
    assert_int_equal(raw_read(client, 4096, 4096, RAW_DEPTH_MAX + 1, 1, NULL, &elapsed), -EINVAL);
    raw_client_destroy(client);
    int status;
    assert_int_equal(waitpid(server, &status, 0), server);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void a_dead_server_is_an_error(void **state)
{
    (void)state;
    struct raw_client *client = start();
    assert_int_equal(raw_round_trips(client, 64, 64, 1, COUNT, NULL, NULL), 0);
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    uint64_t elapsed;
    assert_int_equal(raw_round_trips(client, 64, 64, 1, COUNT, NULL, NULL), -ECONNRESET);
    assert_int_not_equal(raw_write(client, 65536, 65536, 4, COUNT, NULL, &elapsed), 0);
    raw_client_destroy(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_is_answered_and_timed),
        cmocka_unit_test(a_dead_server_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* One-sided transfers arrive where they should, and neither side outlives the other. */
#include "unit/unit.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/rma.h"

enum { FOOTPRINT = 1 << 20 };

static pid_t server;

static struct rma_client *start(const struct net_ucx_options *options)
{
    int sockets[2];
    struct rma_client *client;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    server = fork();
    assert_true(server >= 0);
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(sockets[0]);
        _exit(rma_server_run(sockets[1], options, FOOTPRINT) == 0 ? 0 : 1);
    }
    close(sockets[1]);
    assert_int_equal(rma_client_create(sockets[0], options, FOOTPRINT, &client), 0);
    return client;
}

static void end(struct rma_client *client)
{
    int status;
    rma_client_destroy(client);
    assert_int_equal(waitpid(server, &status, 0), server);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void fill(uint8_t *memory, uint8_t seed)
{
    for (size_t i = 0; i < FOOTPRINT; i++)
        memory[i] = (uint8_t)(i * 7 + i / 251 + seed);
}

/* What is put is what is got, in every size and depth; the histogram has those that it should. */
static void transfer_all(const struct net_ucx_options *options)
{
    static const size_t sizes[] = {1, 8, 100, 4096, 65536, FOOTPRINT};
    static const uint32_t depths[] = {1, 7, RMA_DEPTH_MAX};
    struct histogram latency;
    struct rma_client *client = start(options);
    uint8_t *memory = rma_client_memory(client), expected[4096];
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (size_t k = 0; k < sizeof(depths) / sizeof(depths[0]); k++) {
            size_t size = sizes[i];
            uint64_t count = FOOTPRINT / size < 500 ? FOOTPRINT / size : 500;
            struct rma_progress progress = {.latency = &latency};
            histogram_init(&latency);
            fill(memory, (uint8_t)(i * 3 + k));
            assert_int_equal(rma_transfer(client, RMA_PUT, size, depths[k], count, &progress), 0);
            assert_int_equal(progress.operations, count);
            assert_int_equal(latency.count, size >= RMA_TIMED ? count : (count + 15) / 16);
            progress.offset = 0;
            memcpy(expected, memory, sizeof(expected));
            memset(memory, 0, FOOTPRINT);
            assert_int_equal(rma_transfer(client, RMA_GET, size, depths[k], count, &progress), 0);
            assert_int_equal(progress.operations, 2 * count);
            assert_int_equal(progress.bytes, 2 * count * size);
            size_t moved = count * size < sizeof(expected) ? count * size : sizeof(expected);
            assert_memory_equal(memory, expected, moved);
            assert_true(count * size == FOOTPRINT || memory[count * size] == 0);
        }
    }
    struct rma_progress progress = {.latency = &latency};
    /* It goes on where it ended, from the start at the end. */
    memset(memory, 0, FOOTPRINT);
    assert_int_equal(rma_transfer(client, RMA_PUT, 65536, 4, FOOTPRINT / 65536, &progress), 0);
    assert_int_equal(progress.offset, 0);
    fill(memory, 1);
    assert_int_equal(rma_transfer(client, RMA_PUT, 65536, 4, 1, &progress), 0);
    assert_int_equal(rma_transfer(client, RMA_PUT, 65536, 4, 1, &progress), 0);
    assert_int_equal(progress.offset, 2 * 65536);
    memcpy(expected, memory + 65536, sizeof(expected));
    memset(memory, 9, FOOTPRINT);
    progress.offset = 0;
    assert_int_equal(rma_transfer(client, RMA_GET, 65536, 4, 3, &progress), 0);
    assert_memory_equal(memory + 65536, expected, sizeof(expected));
    assert_int_equal(memory[2 * 65536], 0);
    assert_int_equal(rma_transfer(client, RMA_PUT, 0, 1, 1, &progress), -EINVAL);
    assert_int_equal(rma_transfer(client, RMA_PUT, FOOTPRINT + 1, 1, 1, &progress), -EINVAL);
    assert_int_equal(rma_transfer(client, RMA_PUT, 8, RMA_DEPTH_MAX + 1, 1, &progress), -EINVAL);
    end(client);
}

static void within_a_host(void **state)
{
    (void)state;
    transfer_all(&(struct net_ucx_options){.one_host = true});
}

static void over_tcp(void **state)
{
    (void)state;
    transfer_all(&(struct net_ucx_options){.transports = "tcp", .devices = "lo"});
}

static void a_dead_server_is_an_error(void **state)
{
    (void)state;
    struct histogram latency;
    struct rma_progress progress = {.latency = &latency};
    struct rma_client *client = start(&(struct net_ucx_options){.one_host = true});
    histogram_init(&latency);
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    assert_int_equal(rma_transfer(client, RMA_PUT, 64, 4, 100000, &progress), -ECONNRESET);
    assert_true(progress.operations < 100000);
    rma_client_destroy(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(within_a_host),
        cmocka_unit_test(over_tcp),
        cmocka_unit_test(a_dead_server_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Two processes over ucx: a server that is killed or stopped in the middle of transfers. No call hangs,
 * whatever the transport holds at that moment. */
#include "unit/unit.h"

#include "unit/rpc_fixture.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CALLS = 24 };

static pid_t server;

/* UCX takes every interface it finds as a rail of one connection unless told otherwise. */
static const char *devices_of(const char *transports)
{
    return strstr(transports, "tcp") != NULL ? "lo" : NULL;
}

/* "shm": rings in shared memory; else what UCX is to use. */
static int create_net(struct loop *loop, const char *transports, struct net **net)
{
    const struct net_shm_options shm = {0};
    const struct net_ucx_options options = {.transports = transports, .devices = devices_of(transports)};
    return strcmp(transports, "shm") == 0 ? net_shm_create(loop, &shm, net)
                                          : net_ucx_create(loop, &options, net);
}

static uint64_t server_busy_ns; /* of a server that is started next: see fixture.busy_ns */

/* The server's process: serves until it is killed, or until its parent is gone. */
static void serve(int address_pipe, const char *transports)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    alarm(30);
    fixture->busy_ns = server_busy_ns;
    if (loop_create(&(struct loop_options){0}, &fixture->loop) != 0 ||
        create_net(fixture->loop, transports, &fixture->server_net) != 0)
        _exit(1);
    fixture_serve(fixture, fixture_key);
    if (rpc_listen(fixture->server, "127.0.0.1:0", fixture->address) != 0 ||
        write(address_pipe, fixture->address, sizeof(fixture->address)) != sizeof(fixture->address))
        _exit(1);
    close(address_pipe);
    loop_run(fixture->loop);
    _exit(0);
}

/* Forks the server. Its address goes to *address. */
static void start_server(const char *transports, char address[64])
{
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    server = fork();
    if (server == 0) {
        close(pipes[0]);
        serve(pipes[1], transports);
    }
    close(pipes[1]);
    assert_int_equal(read(pipes[0], address, 64), 64);
    close(pipes[0]);
}

static struct fixture *connect_client(const char *transports, const char address[64])
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    log_threshold = LOG_ERROR;
    memcpy(fixture->address, address, sizeof(fixture->address));
    if (loop_create(&(struct loop_options){0}, &fixture->loop) != 0 ||
        create_net(fixture->loop, transports, &fixture->client_net) != 0)
        abort();
    fixture_call(fixture, fixture_key, UINT32_MAX);
    return fixture;
}

static struct fixture *start(const char *transports)
{
    char address[64];
    start_server(transports, address);
    return connect_client(transports, address);
}

static void finish(struct fixture *fixture)
{
    rpc_destroy(fixture->client);
    net_destroy(fixture->client_net);
    loop_destroy(fixture->loop);
    free(fixture);
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
}

struct transfer {
    struct rpc_call call;
    struct ping_request request;
    struct ping_reply reply;
    struct iovec vector;
};

/* CALLS pings of size bytes both ways, all at once. */
static struct transfer *start_transfers(struct fixture *fixture, size_t size, uint64_t deadline)
{
    struct transfer *transfers = calloc(CALLS, sizeof(*transfers));
    for (int i = 0; i < CALLS; i++) {
        struct transfer *transfer = &transfers[i];
        transfer->request.reply_bytes = (uint32_t)size;
        transfer->vector = (struct iovec){malloc(size), size};
        memset(transfer->vector.iov_base, i, size);
        transfer->call = (struct rpc_call){.operation = RPC_PING,
                                           .body = &transfer->request,
                                           .body_length = sizeof(transfer->request),
                                           .reply = &transfer->reply,
                                           .reply_size = sizeof(transfer->reply),
                                           .send = &transfer->vector,
                                           .send_count = 1,
                                           .receive = &transfer->vector,
                                           .receive_count = 1,
                                           .deadline = deadline};
        rpc_start(fixture->peer, &transfer->call);
    }
    return transfers;
}

static void free_transfers(struct transfer *transfers)
{
    for (int i = 0; i < CALLS; i++)
        free(transfers[i].vector.iov_base);
    free(transfers);
}

static void killed_with(const char *transports, size_t size)
{
    for (int round = 0; round < 4; round++) {
        struct fixture *fixture = start(transports);
        assert_int_equal(fixture_ping_call(fixture, fixture->peer, size, size), 0);
        if (round == 0)
            kill(server, SIGSTOP); /* so that it is certain that not all of them are done */
        struct transfer *transfers = start_transfers(fixture, size, 0);
        for (int turn = 0; turn < round * 8; turn++)
            loop_poll(fixture->loop);
        uint64_t killed = loop_now(fixture->loop);
        kill(server, SIGKILL);
        int failed = 0;
        for (int i = 0; i < CALLS; i++) {
            int status = rpc_finish(&transfers[i].call);
            assert_true(status == 0 || status == -EHOSTDOWN);
            failed += status != 0;
        }
        uint64_t took = loop_now(fixture->loop) - killed;
        print_message("# %s, %zu bytes, round %d: %d of %d failed after %lu ms\n", transports, size, round,
                      failed, CALLS, took / NSEC_PER_MSEC);
        assert_true(failed > 0 || round > 0);
        assert_true(took < 2 * NSEC_PER_SEC);
        free_transfers(transfers);
        finish(fixture);
    }
}

static void a_server_killed_in_transfers_by_shared_memory(void **state)
{
    (void)state;
    killed_with("self,sm", 1000);
    killed_with("self,sm", 1 << 20);
}

static void a_server_killed_in_transfers_by_tcp(void **state)
{
    (void)state;
    killed_with("self,tcp", 1000);
    killed_with("self,tcp", 1 << 20);
}

static void stopped_with(const char *transports, size_t size)
{
    struct fixture *fixture = start(transports);
    assert_int_equal(fixture_ping_call(fixture, fixture->peer, size, size), 0);
    kill(server, SIGSTOP);
    uint64_t stopped = loop_now(fixture->loop);
    struct transfer *transfers = start_transfers(fixture, size, stopped + 300 * NSEC_PER_MSEC);
    for (int i = 0; i < CALLS; i++)
        assert_int_equal(rpc_finish(&transfers[i].call), -ETIMEDOUT);
    uint64_t took = loop_now(fixture->loop) - stopped;
    print_message("# %s, %zu bytes: given up after %lu ms\n", transports, size, took / NSEC_PER_MSEC);
    assert_true(took < 600 * NSEC_PER_MSEC);
    free_transfers(transfers);
    kill(server, SIGCONT);
    assert_int_equal(fixture_ping_call(fixture, fixture->peer, size, size), 0); /* it is used again */
    finish(fixture);
}

static void a_stopped_server_costs_the_deadline(void **state)
{
    (void)state;
    stopped_with("self,sm", 100);
    stopped_with("self,sm", 1 << 20);
    stopped_with("self,tcp", 100);
    stopped_with("self,tcp", 1 << 20);
}

/* A client that is told when to begin, and dies in the middle of its transfers. */
static pid_t start_doomed_client(const char address[64], int turns, int *begin)
{
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    pid_t client = fork();
    if (client == 0) {
        char byte;
        alarm(30);
        close(pipes[1]);
        if (read(pipes[0], &byte, 1) != 1)
            _exit(1);
        struct fixture *fixture = connect_client("self,sm", address);
        rpc_peer_connect(fixture->peer, 0);
        start_transfers(fixture, 1 << 20, 0);
        for (int turn = 0; turn < turns; turn++)
            loop_poll(fixture->loop);
        kill(getpid(), SIGKILL);
    }
    close(pipes[0]);
    *begin = pipes[1];
    return client;
}

static void a_killed_client_disturbs_nobody(void **state)
{
    (void)state;
    enum { CLIENTS = 3 };
    char address[64];
    pid_t clients[CLIENTS];
    int begin[CLIENTS];
    start_server("self,sm", address);
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = start_doomed_client(address, 30 * i, &begin[i]);
    struct fixture *fixture = connect_client("self,sm", address);
    for (int i = 0; i < CLIENTS; i++) {
        int status;
        assert_int_equal(write(begin[i], "", 1), 1);
        for (int ping = 0; ping < 10; ping++)
            assert_int_equal(fixture_ping_call(fixture, fixture->peer, 1 << 20, 1 << 20), 0);
        assert_int_equal(waitpid(clients[i], &status, 0), clients[i]);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        close(begin[i]);
        for (int ping = 0; ping < 10; ping++)
            assert_int_equal(fixture_ping_call(fixture, fixture->peer, 1 << 20, 1 << 20), 0);
    }
    finish(fixture);
}

/* A client that stops while the server moves bulk to and from it: the handlers are not held up beyond the
 * deadline. */
static void a_stopped_client_holds_no_handler(void **state)
{
    (void)state;
    static const char *const transports[] = {"self,sm", "self,tcp"};
    for (int i = 0; i < 4; i++) {
        int pipes[2];
        char address[64];
        assert_int_equal(pipe(pipes), 0);
        pid_t client = fork();
        if (client == 0) {
            alarm(30);
            close(pipes[1]);
            if (read(pipes[0], address, sizeof(address)) != sizeof(address))
                _exit(1);
            struct fixture *own = connect_client(transports[i % 2], address);
            if (fixture_ping_call(own, own->peer, 100, 100) != 0)
                _exit(1);
            start_transfers(own, 4 << 20, loop_now(own->loop) + 300 * NSEC_PER_MSEC);
            for (int turn = 0; turn < 3 + 10 * (i / 2); turn++)
                loop_poll(own->loop);
            raise(SIGSTOP);
            _exit(0);
        }
        close(pipes[0]);
        struct fixture *fixture = calloc(1, sizeof(*fixture));
        const struct net_ucx_options options = {.transports = transports[i % 2],
                                                .devices = devices_of(transports[i % 2])};
        assert_int_equal(loop_create(&(struct loop_options){0}, &fixture->loop), 0);
        assert_int_equal(net_ucx_create(fixture->loop, &options, &fixture->server_net), 0);
        fixture_serve(fixture, fixture_key);
        assert_int_equal(rpc_listen(fixture->server, "127.0.0.1:0", fixture->address), 0);
        assert_int_equal(write(pipes[1], fixture->address, 64), 64);
        close(pipes[1]);
        fixture_until(fixture, fixture->server->counters.requests > 1);
        uint64_t start = loop_now(fixture->loop);
        fixture_until(fixture, fixture->server->serving == 0);
        print_message("# %s: idle after %lu ms, %lu requests\n", transports[i % 2],
                      (loop_now(fixture->loop) - start) / NSEC_PER_MSEC, fixture->server->counters.requests);
        rpc_destroy(fixture->server);
        net_destroy(fixture->server_net);
        loop_destroy(fixture->loop);
        free(fixture);
        kill(client, SIGKILL);
        waitpid(client, NULL, 0);
    }
}

/* While the server computes for one request others come: their waiting is its queue, not the way. */
/* Within a host replies leave before their handler's time is known; it is told nevertheless. Without
 * postscripts they say it themselves. */
static void handlers_are_told_however_the_reply_leaves(void **state)
{
    enum { PINGS = 1000 };
    static const char *const transports[] = {"shm", "tcp,sm,self"};
    (void)state;
    server_busy_ns = 3000;
    for (int i = 0; i < 2; i++) {
        struct fixture *fixture = start(transports[i]);
        const struct metrics *metrics = loop_metrics(fixture->loop);
        struct fixture_pings pings;
        uint32_t later = 0;
        for (uint32_t sent = 0; sent < PINGS; sent++) {
            fixture_ping_together(fixture, &pings, 1);
            later += pings.calls[0].timing.handler_ns == METRICS_UNTOLD;
        }
        for (uint64_t end = clock_now() + NSEC_PER_SEC; metrics_unfolded(metrics) && clock_now() < end;)
            task_sleep(fixture->loop, NSEC_PER_MSEC);
        rpc_destroy(fixture->client);
        const struct metrics_operation *called = &metrics->operations[METRICS_CALLED + RPC_PING];
        print_message("# %s: of %u replies %u left early; handlers took %lu ns on average\n", transports[i],
                      PINGS, later, called->sums[STAGE_HANDLER] / PINGS);
        assert_int_equal(called->count, PINGS);
        assert_int_equal(metrics->counters[METRIC_UNTOLD], 0);
        assert_true(i == 0 ? later > 0 : later == 0);
        uint64_t told = 0, whole = 0;
        for (uint64_t entry = 0; entry < metrics->head; entry++) {
            const struct metrics_entry *made = &metrics->trace[entry];
            if (made->operation != RPC_PING)
                continue;
            told += made->handler_ns;
            whole += made->handler_ns >= 2900 && made->handler_ns <= made->total_ns;
        }
        assert_int_equal(told, called->sums[STAGE_HANDLER]);
        /* Who is kept from its processor right behind a send finds the answer there when its call starts. */
        assert_true(whole > PINGS / 2);
        net_destroy(fixture->client_net);
        loop_destroy(fixture->loop);
        free(fixture);
        kill(server, SIGKILL);
        waitpid(server, NULL, 0);
    }
    server_busy_ns = 0;
}

static void a_busy_server_is_told_from_the_way(void **state)
{
    static const char *const transports[] = {"shm", "tcp,sm,self"};
    (void)state;
    server_busy_ns = 20 * NSEC_PER_MSEC;
    for (int i = 0; i < 2; i++) {
        struct fixture *fixture = start(transports[i]);
        struct fixture_pings pings;
        fixture_ping_together(fixture, &pings, 1);
        fixture_ping_together(fixture, &pings, 4);
        uint64_t last = pings.calls[3].timing.queue_ns;
        print_message("# %s: queues of %u, %u, %u and %u us of %lu us in all\n", transports[i],
                      pings.calls[0].timing.queue_ns / 1000, pings.calls[1].timing.queue_ns / 1000,
                      pings.calls[2].timing.queue_ns / 1000, pings.calls[3].timing.queue_ns / 1000,
                      pings.calls[3].timing.total_ns / 1000);
        assert_true(last >= 40 * NSEC_PER_MSEC);
        assert_true(last + pings.calls[3].timing.handler_ns <= pings.calls[3].timing.total_ns);
        assert_true(pings.calls[1].timing.queue_ns < last);
        assert_true(pings.calls[1].timing.handler_ns >= 20 * NSEC_PER_MSEC);
        finish(fixture);
    }
    server_busy_ns = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_killed_in_transfers_by_shared_memory),
        cmocka_unit_test(a_server_killed_in_transfers_by_tcp),
        cmocka_unit_test(a_stopped_server_costs_the_deadline),
        cmocka_unit_test(a_killed_client_disturbs_nobody),
        cmocka_unit_test(a_stopped_client_holds_no_handler),
        cmocka_unit_test(handlers_are_told_however_the_reply_leaves),
        cmocka_unit_test(a_busy_server_is_told_from_the_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

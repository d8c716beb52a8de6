/* Calls over the simulated network: lost messages, broken connections, dead peers; everything exactly once
 * and repeatable. */
#include "unit/unit.h"

#include "unit/rpc_fixture.h"

#include "net/sim.h"

static const struct sim_options calm = {.delay_min_ns = 5000, .delay_max_ns = 50000};
static const struct sim_options lossy = {
    .delay_min_ns = 5000, .delay_max_ns = 50000, .loss_per_million = 50000};
static const struct sim_options deaf = {
    .delay_min_ns = 5000, .delay_max_ns = 50000, .loss_per_million = 1000000};

struct world {
    struct fixture fixture;
    struct sim_network *network;
    uint64_t next; /* call number */
    uint64_t calls;
    uint32_t running;
    uint64_t failed;
    bool over;
};

static struct world *world_create(uint64_t seed)
{
    struct world *world = calloc(1, sizeof(*world));
    struct fixture *fixture = &world->fixture;
    log_threshold = LOG_ERROR;
    if (loop_create(&(struct loop_options){.simulated = true, .seed = seed}, &fixture->loop) != 0 ||
        sim_network_create(fixture->loop, &calm, &world->network) != 0 ||
        net_sim_create(world->network, "server", &fixture->server_net) != 0 ||
        net_sim_create(world->network, "client", &fixture->client_net) != 0)
        abort();
    fixture_serve(fixture, fixture_key);
    if (rpc_listen(fixture->server, "server:0", fixture->address) != 0)
        abort();
    fixture_call(fixture, fixture_key, UINT32_MAX);
    return world;
}

static void world_destroy(struct world *world)
{
    struct fixture *fixture = &world->fixture;
    if (fixture->client != NULL)
        rpc_destroy(fixture->client);
    if (fixture->server != NULL)
        rpc_destroy(fixture->server);
    net_destroy(fixture->client_net);
    net_destroy(fixture->server_net);
    sim_network_destroy(world->network);
    loop_destroy(fixture->loop);
    free(world);
}

static int setup(void **state)
{
    *state = world_create(4711);
    return 0;
}

static int teardown(void **state)
{
    world_destroy(*state);
    return 0;
}

/* Runs until simulated time has passed. */
static void pass(struct world *world, uint64_t duration)
{
    struct loop *loop = world->fixture.loop;
    struct completion never = COMPLETION_INIT;
    assert_int_equal(await_until(loop, &never, loop_now(loop) + duration), -ETIMEDOUT);
}

static struct rpc_counters served(const struct world *world)
{
    struct rpc_counters counters;
    rpc_counters(world->fixture.server, &counters);
    return counters;
}

/* ---- many callers ---- */

static void unlink_many(void *argument)
{
    struct world *world = argument;
    while (world->next < world->calls) {
        assert_true(rpc_peer_notice(world->fixture.peer, world->next));
        int status = fixture_unlink_call(world->fixture.peer, world->next++, 0);
        sim_trace(world->network, &status, sizeof(status));
        if (status != 0)
            world->failed++;
    }
    world->running--;
}

static void ping_many(void *argument)
{
    struct world *world = argument;
    struct random *random = loop_random(world->fixture.loop);
    while (world->next < world->calls) {
        world->next++;
        size_t there =
            random_below(random, 3) == 0 ? random_below(random, 100000) : random_below(random, 300);
        size_t back = random_below(random, 3) == 0 ? random_below(random, 100000) : random_below(random, 300);
        if (fixture_ping_call(&world->fixture, world->fixture.peer, there, back) != 0)
            world->failed++;
    }
    world->running--;
}

static void break_connection(void *argument)
{
    struct world *world = argument;
    struct loop *loop = world->fixture.loop;
    while (!world->over) {
        task_sleep(loop, random_below(loop_random(loop), 40 * NSEC_PER_MSEC));
        if (!world->over && world->fixture.peer->up)
            peer_recover(world->fixture.peer);
    }
    world->running--;
}

static void run_callers(struct world *world, void (*caller)(void *argument), uint32_t callers, uint64_t calls,
                        bool breaking)
{
    world->calls = calls;
    world->running = callers;
    for (uint32_t i = 0; i < callers; i++)
        assert_int_equal(task_spawn(world->fixture.loop, caller, world), 0);
    uint32_t others = 0;
    if (breaking) {
        world->running++;
        others++;
        assert_int_equal(task_spawn(world->fixture.loop, break_connection, world), 0);
    }
    for (uint64_t turns = 0; world->running > others && turns < 10000000; turns++)
        loop_poll(world->fixture.loop);
    assert_int_equal(world->running, others);
    world->over = true;
    pass(world, 100 * NSEC_PER_MSEC);
    assert_int_equal(world->running, 0);
}

static void assert_exactly_once(const struct world *world)
{
    assert_int_equal(world->failed, 0);
    assert_int_equal(world->fixture.applied, world->calls);
    for (uint64_t i = 0; i < world->calls; i++)
        assert_int_equal(world->fixture.counted[i], 1);
    assert_int_equal(rpc_peer_notices(world->fixture.peer), 0);
    for (uint64_t i = 0; i < world->calls; i++)
        assert_int_equal(world->fixture.noticed[i], 1);
}

static void lost_messages_apply_once(void **state)
{
    struct world *world = *state;
    sim_network_options(world->network, &lossy);
    run_callers(world, unlink_many, 48, 5000, false);
    assert_exactly_once(world);
    struct rpc_counters counters = served(world);
    print_message("# %lu replayed, %lu duplicates\n", counters.replayed, counters.duplicates);
    assert_true(counters.replayed > 100);
    assert_int_equal(counters.sessions, 1);
}

static void slow_handlers_apply_once(void **state)
{
    struct world *world = *state;
    sim_network_options(world->network, &lossy);
    world->fixture.delay_ns = 120 * NSEC_PER_MSEC; /* repeated while it executes */
    run_callers(world, unlink_many, 48, 500, false);
    assert_exactly_once(world);
    assert_true(served(world).duplicates > 100);
}

static void broken_connections_apply_once(void **state)
{
    struct world *world = *state;
    sim_network_options(world->network, &lossy);
    run_callers(world, unlink_many, 48, 5000, true);
    assert_exactly_once(world);
    assert_int_equal(served(world).sessions, 1); /* the same one, resumed */
}

static void bulk_survives_loss_and_breaks(void **state)
{
    struct world *world = *state;
    sim_network_options(world->network, &lossy);
    run_callers(world, ping_many, 48, 3000, true);
    assert_int_equal(world->failed, 0);
}

static uint64_t trace_of(uint64_t seed)
{
    struct world *world = world_create(seed);
    sim_network_options(world->network, &lossy);
    run_callers(world, unlink_many, 40, 1000, true);
    uint64_t hash = sim_trace_hash(world->network);
    world_destroy(world);
    return hash;
}

static void the_same_seed_gives_the_same_run(void **state)
{
    (void)state;
    uint64_t first = trace_of(1);
    assert_true(trace_of(1) == first);
    assert_true(trace_of(2) != first);
}

/* ---- the dead ---- */

static void a_killed_server_fails_calls_promptly(void **state)
{
    struct world *world = *state;
    struct fixture *fixture = &world->fixture;
    assert_int_equal(rpc_peer_connect(fixture->peer, 0), 0);
    enum { CALLS = 2 * RPC_CREDITS };
    struct fixture_name name = fixture_name(1, "x");
    struct rpc_call *calls = calloc(CALLS, sizeof(*calls));
    fixture->delay_ns = 100 * NSEC_PER_MSEC;
    for (int i = 0; i < CALLS; i++) {
        calls[i] = (struct rpc_call){
            .operation = RPC_REMOVE_DIRECTORY, .body = name.bytes, .body_length = name.length};
        rpc_start(fixture->peer, &calls[i]);
    }
    pass(world, 10 * NSEC_PER_MSEC);
    net_sim_kill(fixture->server_net);
    uint64_t start = loop_now(fixture->loop);
    for (int i = 0; i < CALLS; i++)
        assert_int_equal(rpc_finish(&calls[i]), -EHOSTDOWN);
    assert_true(loop_now(fixture->loop) - start < 100 * NSEC_PER_MSEC);
    start = loop_now(fixture->loop);
    assert_int_equal(fixture_unlink_call(fixture->peer, 0, 0), -EHOSTDOWN);
    assert_true(loop_now(fixture->loop) - start < 100 * NSEC_PER_MSEC);
    free(calls);
}

static void a_session_without_a_connection_is_kept_for_its_grace(void **state)
{
    struct world *world = *state;
    struct fixture *fixture = &world->fixture;
    assert_int_equal(fixture_unlink_call(fixture->peer, 1, 0), 0);
    net_sim_disconnect(fixture->client_net);
    pass(world, RPC_SESSION_GRACE - NSEC_PER_SEC);
    assert_int_equal(served(world).sessions, 1);
    pass(world, 2 * NSEC_PER_SEC);
    assert_int_equal(served(world).sessions, 0);
}

static void an_ended_session_lives_for_its_last_handler(void **state)
{
    struct world *world = *state;
    struct fixture *fixture = &world->fixture;
    assert_int_equal(rpc_peer_connect(fixture->peer, 0), 0);
    struct fixture_name name = fixture_name(1, "x");
    struct rpc_call call = {
        .operation = RPC_REMOVE_DIRECTORY, .body = name.bytes, .body_length = name.length};
    fixture->delay_ns = 2 * RPC_SESSION_GRACE;
    rpc_start(fixture->peer, &call);
    pass(world, NSEC_PER_MSEC);
    assert_int_equal(fixture->executing, 1);
    net_sim_kill(fixture->client_net);
    pass(world, RPC_SESSION_GRACE + NSEC_PER_SEC);
    assert_int_equal(served(world).sessions, 0);
    assert_int_equal(fixture->executing, 1);
    pass(world, RPC_SESSION_GRACE + NSEC_PER_SEC);
    assert_int_equal(fixture->executing, 0);
    assert_int_not_equal(rpc_finish(&call), 0);
}

static void silence_ends_at_the_deadline(void **state)
{
    struct world *world = *state;
    struct fixture *fixture = &world->fixture;
    assert_int_equal(rpc_peer_connect(fixture->peer, 0), 0);
    sim_network_options(world->network, &deaf);
    uint64_t start = loop_now(fixture->loop);
    assert_int_equal(fixture_unlink_call(fixture->peer, 0, start + NSEC_PER_SEC), -ETIMEDOUT);
    assert_in_range(loop_now(fixture->loop) - start, NSEC_PER_SEC, NSEC_PER_SEC + 20 * NSEC_PER_MSEC);
    /* 50, 100, 200, 400 ms after the attempt before. */
    struct rpc_counters counters;
    rpc_counters(fixture->client, &counters);
    assert_int_equal(counters.resent, 4);
    /* Bulk that nobody fetches is not held beyond the deadline either. */
    start = loop_now(fixture->loop);
    uint8_t *bulk = calloc(1, 100000);
    struct iovec vector = {bulk, 100000};
    struct ping_reply reply;
    struct rpc_call call = {.operation = RPC_PING,
                            .body = &(struct ping_request){0},
                            .body_length = sizeof(struct ping_request),
                            .send = &vector,
                            .send_count = 1,
                            .reply = &reply,
                            .reply_size = sizeof(reply),
                            .deadline = start + NSEC_PER_SEC};
    assert_int_equal(rpc_call(fixture->peer, &call), -ETIMEDOUT);
    assert_true(loop_now(fixture->loop) - start < NSEC_PER_SEC + 20 * NSEC_PER_MSEC);
    free(bulk);
    sim_network_options(world->network, &calm);
    assert_int_equal(fixture_unlink_call(fixture->peer, 0, 0), 0);
}

/* Memory of a timed-out call must not be written to any more, however late its reply's bulk comes. */
static void late_bulk_lands_nowhere(void **state)
{
    struct world *world = *state;
    struct fixture *fixture = &world->fixture;
    const struct sim_options slow = {.delay_min_ns = 40 * NSEC_PER_MSEC, .delay_max_ns = 40 * NSEC_PER_MSEC};
    assert_int_equal(rpc_peer_connect(fixture->peer, 0), 0);
    sim_network_options(world->network, &slow);
    uint8_t *landing = calloc(1, 100000);
    struct iovec vector = {landing, 100000};
    for (uint64_t wait = 60; wait <= 130; wait += 10) {
        struct ping_reply reply;
        struct rpc_call call = {.operation = RPC_PING,
                                .body = &(struct ping_request){.reply_bytes = 100000},
                                .body_length = sizeof(struct ping_request),
                                .receive = &vector,
                                .receive_count = 1,
                                .reply = &reply,
                                .reply_size = sizeof(reply),
                                .deadline = loop_now(fixture->loop) + wait * NSEC_PER_MSEC};
        int status = rpc_call(fixture->peer, &call);
        assert_true(status == -ETIMEDOUT || status == 0);
        memset(landing, 0x77, 100000);
        pass(world, 300 * NSEC_PER_MSEC);
        for (int i = 0; i < 100000; i++)
            assert_int_equal(landing[i], 0x77);
    }
    free(landing);
}

/* ---- what is remembered ---- */

static void replies_are_remembered_in_a_window(void **state)
{
    (void)state;
    struct rpc rpc = {0};
    struct rpc_session session = {.rpc = &rpc};
    const uint8_t reply[40] = "reply";
    enum { REPLIES = 3 * RPC_REMEMBERED };
    for (uint64_t generation = 1; generation <= REPLIES; generation++) {
        assert_false(session_forgot(&session, generation << 16));
        memcpy(session_remember(&session, generation << 16 | 5, sizeof(reply)), reply, sizeof(reply));
        assert_non_null(session_recall(&session, generation << 16 | 5));
    }
    for (uint64_t generation = 1; generation <= REPLIES; generation++) {
        bool kept = generation > REPLIES - RPC_REMEMBERED;
        const struct rpc_remembered *remembered = session_recall(&session, generation << 16 | 5);
        assert_true((remembered != NULL) == kept);
        assert_true(session_forgot(&session, generation << 16 | 5) == !kept);
        if (kept)
            assert_memory_equal(remembered->bytes, reply, sizeof(reply));
    }
    assert_null(session_recall(&session, (uint64_t)REPLIES << 16 | 6));
    free(session.remembered);
}

/* Notices wait for a mutating request without bulk, as many as fit, and only so many wait at all. */
static void notices_wait_for_a_request(void **state)
{
    struct world *world = *state;
    struct fixture *fixture = &world->fixture;
    for (uint64_t i = 0; i < RPC_NOTICES_MAX; i++)
        assert_true(rpc_peer_notice(fixture->peer, i));
    assert_false(rpc_peer_notice(fixture->peer, RPC_NOTICES_MAX));
    assert_int_equal(fixture_ping_call(fixture, fixture->peer, 10, 10), 0);
    assert_int_equal(rpc_peer_notices(fixture->peer), RPC_NOTICES_MAX);
    assert_int_equal(fixture_unlink_call(fixture->peer, 1, 0), 0);
    assert_int_equal(rpc_peer_notices(fixture->peer), 0);
    for (uint64_t i = 0; i < RPC_NOTICES_MAX; i++)
        assert_int_equal(fixture->noticed[i], 1);
}

static void expect_events(const struct world *world, uint32_t ended, uint32_t gone)
{
    assert_int_equal(world->fixture.ended, ended);
    assert_int_equal(world->fixture.gone, gone);
}

/* A transport that has a place for small messages, and loses the first that is posted there. */
static struct {
    struct net_operations operations;
    uint8_t place[NET_HEADER_MAX];
    _Atomic uint64_t postscript; /* which never arrives */
    struct completion sent[16];
    unsigned posted;
} placing;

static void *place_room(struct net_connection *connection, uint32_t header_length)
{
    (void)connection;
    return header_length <= sizeof(placing.place) && placing.posted < 16 ? placing.place : NULL;
}

static _Atomic uint64_t *place_post(struct net_connection *connection, uint32_t header_length)
{
    unsigned number = placing.posted++;
    if (number > 0)
        placing.operations.send(connection, placing.place, header_length, NULL, 0, 0, &placing.sent[number]);
    return &placing.postscript;
}

static void place_and_lose(struct world *world, struct net *net, uint64_t number)
{
    struct fixture *fixture = &world->fixture;
    const struct net_operations *operations = net->operations;
    assert_int_equal(fixture_ping_call(fixture, fixture->peer, 10, 10), 0);
    memset(fixture->noticed, 0, sizeof(fixture->noticed));
    memset(&placing, 0, sizeof(placing));
    placing.operations = *operations;
    placing.operations.room = place_room;
    placing.operations.post = place_post;
    net->operations = &placing.operations;
    for (uint64_t i = 0; i < 3; i++)
        assert_true(rpc_peer_notice(fixture->peer, i));
    for (uint64_t i = 0; i < 2; i++) {
        assert_int_equal(fixture_unlink_call(fixture->peer, number + i, 0), 0);
        assert_int_equal(fixture->counted[number + i], 1);
    }
    pass(world, NSEC_PER_SEC);
    net->operations = operations;
    assert_true(placing.posted >= 2);
    for (uint64_t i = 0; i < 3; i++)
        assert_int_equal(fixture->noticed[i], 1);
}

/* What was written in place and is lost is written once more: request, notices, remembered reply. */
static void what_is_written_in_place_can_be_repeated(void **state)
{
    struct world *world = *state;
    struct rpc_counters counters;
    place_and_lose(world, world->fixture.client_net, 1);
    rpc_counters(world->fixture.client, &counters);
    assert_int_equal(counters.resent, 1);
    assert_int_equal(served(world).replayed, 0);
    place_and_lose(world, world->fixture.server_net, 3);
    assert_int_equal(served(world).replayed, 1);
}

/* A short header says what it leaves out by the full one that came before, and nothing without it. */
static void short_headers_are_made_full(void **state)
{
    (void)state;
    struct {
        uint8_t before[NET_HEADER_BEFORE];
        struct rpc_short_header brief;
        uint8_t body[5];
    } sent = {.brief = {.version = RPC_SHORT_VERSION,
                        .flags = 8,
                        .operation = RPC_LOOKUP,
                        .deadline_us = 77,
                        .correlation = UINT64_C(0x1234567890ab)},
              .body = "body"};
    struct rpc_told told = {.token = 11, .session = 12, .map_epoch = 13, .namespace_epoch = 14};
    struct net_message message = {.header = &sent.brief, .header_length = sizeof(sent.brief) + 5};
    assert_false(serve_expand(&message));
    message.sender = &told;
    assert_false(serve_expand(&message));
    told.valid = true;
    message.header_length = sizeof(sent.brief) - 1;
    assert_false(serve_expand(&message));
    message.header_length = sizeof(sent.brief) + 5;
    sent.brief.operation = RPC_LOOKUP + RPC_REPLY_OFFSET;
    assert_false(serve_expand(&message));
    sent.brief.operation = RPC_LOOKUP;
    assert_true(serve_expand(&message));
    const struct rpc_request_header full = {.version = RPC_PROTOCOL_VERSION,
                                            .flags = 8,
                                            .operation = RPC_LOOKUP,
                                            .session = 12,
                                            .token = 11,
                                            .correlation = UINT64_C(0x1234567890ab),
                                            .map_epoch = 13,
                                            .namespace_epoch = 14,
                                            .deadline_us = 77,
                                            .body_length = 5};
    assert_int_equal(message.header_length, sizeof(full) + 5);
    assert_memory_equal(message.header, &full, sizeof(full));
    assert_string_equal((const char *)message.header + sizeof(full), "body");
}

static int connect_nowhere(struct net *net, const void *address, size_t length,
                           struct net_connection **connection)
{
    (void)net, (void)address, (void)length, (void)connection;
    return -EIO;
}

/* A client that the server's transport does not lead to is told so. */
static void who_cannot_be_reached_is_told(void **state)
{
    struct world *world = *state;
    struct fixture *fixture = &world->fixture;
    const struct net_operations *operations = fixture->server_net->operations;
    struct net_operations blind = *operations;
    blind.connect = connect_nowhere;
    fixture->server_net->operations = &blind;
    assert_int_equal(fixture_unlink_call(fixture->peer, 1, 0), -EHOSTUNREACH);
    fixture->server_net->operations = operations;
    assert_int_equal(fixture_unlink_call(fixture->peer, 2, 0), 0);
}

/* Two sessions of one instance: it lives as long as one of them can be resumed. */
static void an_instance_lives_with_its_sessions(void **state)
{
    struct world *world = *state;
    struct fixture *fixture = &world->fixture;
    struct rpc_peer *other;
    assert_int_equal(rpc_peer_create(fixture->client, fixture->address, &other), 0);
    assert_int_equal(fixture_unlink_call(fixture->peer, 1, 0), 0);
    assert_int_equal(fixture_unlink_call(other, 2, 0), 0);
    assert_int_equal(served(world).sessions, 2);
    rpc_peer_destroy(other);
    pass(world, NSEC_PER_SEC);
    assert_int_equal(served(world).sessions, 1);
    expect_events(world, 0, 0);
    rpc_peer_destroy(fixture->peer);
    pass(world, NSEC_PER_SEC);
    assert_int_equal(served(world).sessions, 0);
    expect_events(world, 0, 1);
    assert_int_equal(fixture->last_instance, 77);
    assert_int_equal(rpc_peer_create(fixture->client, fixture->address, &fixture->peer), 0);
}

/* A client that gave up its connection, and one whose connection broke, have not ended, though they say
 * nothing for as long as their sessions are kept. */
static void who_lost_its_connection_has_not_ended(void **state)
{
    struct world *world = *state;
    struct fixture *fixture = &world->fixture;
    assert_int_equal(fixture_unlink_call(fixture->peer, 1, 0), 0);
    peer_recover(fixture->peer);
    pass(world, RPC_SESSION_GRACE - NSEC_PER_SEC);
    expect_events(world, 0, 0);
    assert_int_equal(fixture_unlink_call(fixture->peer, 2, 0), 0);
    net_sim_disconnect(fixture->client_net);
    pass(world, RPC_SESSION_GRACE - NSEC_PER_SEC);
    expect_events(world, 0, 0);
    assert_int_equal(fixture_unlink_call(fixture->peer, 3, 0), 0);
    assert_int_equal(served(world).sessions, 1);
    net_sim_disconnect(fixture->client_net);
    pass(world, RPC_SESSION_GRACE + NSEC_PER_SEC);
    expect_events(world, 0, 1);
}

static void a_process_that_ends_is_gone_at_once(void **state)
{
    struct world *world = *state;
    struct fixture *fixture = &world->fixture;
    struct rpc_peer *other;
    assert_int_equal(rpc_peer_create(fixture->client, fixture->address, &other), 0);
    assert_int_equal(fixture_unlink_call(fixture->peer, 1, 0), 0);
    assert_int_equal(fixture_unlink_call(other, 2, 0), 0);
    peer_recover(other); /* this session has no connection any more, and goes all the same */
    pass(world, NSEC_PER_SEC);
    assert_int_equal(served(world).sessions, 2);
    net_sim_kill(fixture->client_net);
    pass(world, NSEC_PER_SEC / 10);
    expect_events(world, 0, 1);
    assert_int_equal(served(world).sessions, 0);
    rpc_peer_destroy(other);
}

/* Whoever has inherited something may come while the sessions last. */
static void a_process_with_heirs_lingers(void **state)
{
    struct world *world = *state;
    struct fixture *fixture = &world->fixture;
    assert_int_equal(fixture_unlink_call(fixture->peer, 1, 0), 0);
    rpc_instance_linger(fixture->server, rpc_instance_serial(fixture->server, 77));
    net_sim_kill(fixture->client_net);
    pass(world, RPC_INSTANCE_GRACE / 2);
    expect_events(world, 0, 0);
    pass(world, RPC_INSTANCE_GRACE);
    expect_events(world, 1, 0);
    pass(world, RPC_SESSION_GRACE);
    expect_events(world, 1, 1);
}

/* A request that comes while another is served waits for that, and no longer. */
static void a_busy_server_is_told_from_the_way(void **state)
{
    struct world *world = *state;
    struct fixture *fixture = &world->fixture;
    struct fixture_pings pings;
    static const struct sim_options even = {.delay_min_ns = 10000, .delay_max_ns = 10000};
    sim_network_options(world->network, &even);
    fixture_ping_together(fixture, &pings, 1); /* which connects */
    fixture_ping_together(fixture, &pings, 1);
    assert_int_equal(pings.calls[0].timing.queue_ns, 0);
    assert_int_equal(pings.calls[0].timing.total_ns, 20000);

    fixture->busy_ns = 100000;
    fixture_ping_together(fixture, &pings, 4);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(pings.calls[i].timing.queue_ns, i * 100000);
        assert_int_equal(pings.calls[i].timing.handler_ns, 100000);
        assert_int_equal(pings.calls[i].timing.total_ns, 20000 + (i + 1) * 100000);
    }
    /* What waits for something else than the processor keeps nobody waiting. */
    fixture->busy_ns = 0;
    fixture->delay_ns = 100000;
    fixture_ping_together(fixture, &pings, 4);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(pings.calls[i].timing.queue_ns, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lost_messages_apply_once),
        TEST(slow_handlers_apply_once),
        TEST(broken_connections_apply_once),
        TEST(bulk_survives_loss_and_breaks),
        cmocka_unit_test(the_same_seed_gives_the_same_run),
        TEST(a_killed_server_fails_calls_promptly),
        TEST(a_session_without_a_connection_is_kept_for_its_grace),
        TEST(an_ended_session_lives_for_its_last_handler),
        TEST(silence_ends_at_the_deadline),
        TEST(who_cannot_be_reached_is_told),
        TEST(an_instance_lives_with_its_sessions),
        TEST(who_lost_its_connection_has_not_ended),
        TEST(a_process_that_ends_is_gone_at_once),
        TEST(a_process_with_heirs_lingers),
        TEST(notices_wait_for_a_request),
        TEST(short_headers_are_made_full),
        TEST(what_is_written_in_place_can_be_repeated),
        TEST(a_busy_server_is_told_from_the_way),
        TEST(late_bulk_lands_nowhere),
        cmocka_unit_test(replies_are_remembered_in_a_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

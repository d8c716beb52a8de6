/* Calls over the ucx transport: bulk both ways, refusals, bad messages, deadlines, lost connections. */
#include "unit/unit.h"

#include "unit/rpc_fixture.h"

#include "net/stream.h"

static int setup_with(void **state, const uint8_t *client_key, uint32_t client_id)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    const struct net_ucx_options transports = {.transports = "self,sm"};
    log_threshold = LOG_ERROR;
    if (loop_create(&(struct loop_options){0}, &fixture->loop) != 0 ||
        net_ucx_create(fixture->loop, &transports, &fixture->server_net) != 0 ||
        net_ucx_create(fixture->loop, &transports, &fixture->client_net) != 0)
        return -1;
    fixture_serve(fixture, fixture_key);
    if (rpc_listen(fixture->server, "127.0.0.1:0", fixture->address) != 0)
        return -1;
    fixture_call(fixture, client_key, client_id);
    *state = fixture;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, fixture_key, UINT32_MAX);
}

static int setup_server_client(void **state)
{
    return setup_with(state, fixture_key, 9);
}

static int setup_wrong_key(void **state)
{
    static const uint8_t other_key[CLUSTER_KEY_BYTES] = "some other key";
    return setup_with(state, other_key, UINT32_MAX);
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    if (fixture->client != NULL)
        rpc_destroy(fixture->client);
    if (fixture->server != NULL)
        rpc_destroy(fixture->server);
    if (fixture->client_net != NULL)
        net_destroy(fixture->client_net);
    if (fixture->server_net != NULL)
        net_destroy(fixture->server_net);
    loop_destroy(fixture->loop);
    free(fixture);
    return 0;
}

static void bulk_goes_both_ways(void **state)
{
    struct fixture *fixture = *state;
    const size_t sizes[] = {0, 1, 100, 4096, 32767, 32768, 100000, 1 << 20};
    enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };
    for (size_t there = 0; there < SIZES; there++) {
        for (size_t back = 0; back < SIZES; back++)
            assert_int_equal(fixture_ping_call(fixture, fixture->peer, sizes[there], sizes[back]), 0);
    }
    struct rpc_counters counters;
    rpc_counters(fixture->server, &counters);
    assert_int_equal(counters.requests, SIZES * SIZES);
    assert_int_equal(counters.rejected, 0);
    assert_int_equal(counters.sessions, 1);
}

static void bulk_is_held_for_a_handler_that_suspends_first(void **state)
{
    struct fixture *fixture = *state;
    fixture->delay_ns = NSEC_PER_MSEC;
    assert_int_equal(fixture_ping_call(fixture, fixture->peer, 200, 200), 0);
    assert_int_equal(fixture_ping_call(fixture, fixture->peer, 20000, 20000), 0);
    assert_int_equal(fixture_ping_call(fixture, fixture->peer, 1 << 20, 1 << 20), 0);
}

static void bulk_that_is_not_received_is_released(void **state)
{
    struct fixture *fixture = *state;
    fixture->drop_bulk = true;
    assert_int_equal(fixture_ping_call(fixture, fixture->peer, 100, 0), 0);
    assert_int_equal(fixture_ping_call(fixture, fixture->peer, 1 << 20, 0), 0);
    fixture->delay_ns = NSEC_PER_MSEC;
    assert_int_equal(fixture_ping_call(fixture, fixture->peer, 100, 0), 0);
    assert_int_equal(fixture_ping_call(fixture, fixture->peer, 1 << 20, 0), 0);
}

static void a_party_calls_itself(void **state)
{
    struct fixture *fixture = *state;
    struct rpc_peer *self;
    assert_int_equal(rpc_peer_create_self(fixture->server, &self), 0);
    assert_int_equal(fixture_ping_call(fixture, self, 0, 0), 0);
    assert_int_equal(fixture_ping_call(fixture, self, 100000, 100000), 0);
    fixture->delay_ns = NSEC_PER_MSEC;
    assert_int_equal(fixture_ping_call(fixture, self, 3000, 4000), 0);
    /* It is a server of the cluster, to itself as well. */
    struct rpc_call call = {.operation = RPC_DIRECTORY_FINISH,
                            .body = &(struct directory_request){.directory = 1},
                            .body_length = sizeof(struct directory_request)};
    assert_int_equal(rpc_call(self, &call), 0);
    struct rpc_call unknown = {.operation = RPC_STATFS};
    assert_int_equal(rpc_call(self, &unknown), -EOPNOTSUPP);
    rpc_peer_destroy(self);
}

static void a_call_to_oneself_times_out(void **state)
{
    struct fixture *fixture = *state;
    struct rpc_peer *self;
    uint64_t start = loop_now(fixture->loop);
    assert_int_equal(rpc_peer_create_self(fixture->server, &self), 0);
    fixture->delay_ns = 500 * NSEC_PER_MSEC;
    assert_int_equal(fixture_unlink_call(self, 0, start + 30 * NSEC_PER_MSEC), -ETIMEDOUT);
    assert_true(loop_now(fixture->loop) - start < 400 * NSEC_PER_MSEC);
    fixture_until(fixture, fixture->executing == 0);
    rpc_peer_destroy(self);
}

static void credits_bound_what_is_in_flight(void **state)
{
    struct fixture *fixture = *state;
    enum { CALLS = 5 * RPC_CREDITS };
    struct fixture_name name = fixture_name(1, "x");
    struct rpc_call *calls = calloc(CALLS, sizeof(*calls));
    fixture->delay_ns = 2 * NSEC_PER_MSEC;
    for (int i = 0; i < CALLS; i++) {
        calls[i] = (struct rpc_call){
            .operation = RPC_REMOVE_DIRECTORY, .body = name.bytes, .body_length = name.length};
        rpc_start(fixture->peer, &calls[i]);
    }
    for (int i = 0; i < CALLS; i++)
        assert_int_equal(rpc_finish(&calls[i]), 0);
    assert_int_equal(fixture->applied, CALLS);
    assert_int_equal(fixture->executing_most, RPC_CREDITS);
    assert_true(calls[CALLS - 1].timing.client_queue_ns >= 4 * fixture->delay_ns);
    free(calls);
}

/* A call whose time ran out while it waited for a credit is not executed any more. */
static void a_late_credit_starts_nothing(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(rpc_peer_connect(fixture->peer, 0), 0);
    fixture->delay_ns = 3 * NSEC_PER_MSEC;
    struct fixture_name names[RPC_CREDITS + 1];
    struct rpc_call calls[RPC_CREDITS + 1] = {0};
    for (uint32_t i = 0; i <= RPC_CREDITS; i++) {
        names[i] = fixture_name(i, "x");
        calls[i] = (struct rpc_call){
            .operation = RPC_REMOVE_DIRECTORY, .body = names[i].bytes, .body_length = names[i].length};
        if (i == RPC_CREDITS)
            calls[i].deadline = loop_now(fixture->loop) + NSEC_PER_MSEC;
        rpc_start(fixture->peer, &calls[i]);
    }
    for (uint32_t i = 0; i < RPC_CREDITS; i++)
        assert_int_equal(rpc_finish(&calls[i]), 0);
    assert_int_equal(rpc_finish(&calls[RPC_CREDITS]), -ETIMEDOUT);
    fixture->delay_ns = 0;
    assert_int_equal(fixture_unlink_call(fixture->peer, 100, 0), 0); /* comes after it */
    assert_int_equal(fixture->counted[RPC_CREDITS], 0);
}

static void stages_add_up(void **state)
{
    struct fixture *fixture = *state;
    struct ping_reply reply;
    struct ping_request request = {0};
    struct rpc_call call = {.operation = RPC_PING,
                            .body = &request,
                            .body_length = sizeof(request),
                            .reply = &reply,
                            .reply_size = sizeof(reply)};
    assert_int_equal(rpc_peer_connect(fixture->peer, 0), 0);
    fixture->delay_ns = 5 * NSEC_PER_MSEC;
    assert_int_equal(rpc_call(fixture->peer, &call), 0);
    assert_true(call.timing.handler_ns >= fixture->delay_ns);
    assert_true(call.timing.total_ns >= call.timing.handler_ns);
    assert_int_equal(call.timing.client_queue_ns, 0);
    assert_int_equal(call.timing.storage_ns, 0);
}

static void malformed_calls_are_refused_locally(void **state)
{
    struct fixture *fixture = *state;
    struct fixture_name name = fixture_name(1, "a/c");
    struct rpc_call slash = {
        .operation = RPC_REMOVE_DIRECTORY, .body = name.bytes, .body_length = name.length};
    assert_int_equal(rpc_call(fixture->peer, &slash), -EINVAL);
    struct rpc_call unknown = {.operation = 9};
    assert_int_equal(rpc_call(fixture->peer, &unknown), -EINVAL);
    assert_int_equal(fixture->applied, 0);
}

static void an_operation_without_handler_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct statfs_reply reply;
    struct rpc_call call = {.operation = RPC_STATFS, .reply = &reply, .reply_size = sizeof(reply)};
    assert_int_equal(rpc_call(fixture->peer, &call), -EOPNOTSUPP);
    assert_int_equal(fixture_ping_call(fixture, fixture->peer, 0, 0), 0);
}

static void servers_operations_are_for_servers(void **state)
{
    struct fixture *fixture = *state;
    struct directory_request body = {.directory = 1};
    struct rpc_call call = {.operation = RPC_DIRECTORY_FINISH, .body = &body, .body_length = sizeof(body)};
    int status = rpc_call(fixture->peer, &call);
    assert_int_equal(status, fixture->client->server_id == UINT32_MAX ? -EPERM : 0);
    assert_int_equal(fixture->applied, fixture->client->server_id == UINT32_MAX ? 0 : 1);
}

static void a_reply_of_another_size_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct ping_request request = {.reply_bytes = 100};
    struct ping_reply reply;
    uint8_t landed[99];
    struct iovec receive = {landed, sizeof(landed)};
    struct rpc_call call = {.operation = RPC_PING,
                            .body = &request,
                            .body_length = sizeof(request),
                            .reply = &reply,
                            .reply_size = sizeof(reply),
                            .receive = &receive,
                            .receive_count = 1};
    assert_int_equal(rpc_call(fixture->peer, &call), -EPROTO); /* more bulk than room */
    struct rpc_call large = {.operation = RPC_PING,
                             .body = &(struct ping_request){.reply_bytes = 1 << 20},
                             .body_length = sizeof(request),
                             .reply = &reply,
                             .reply_size = sizeof(reply),
                             .receive = &receive,
                             .receive_count = 1};
    assert_int_equal(rpc_call(fixture->peer, &large), -EPROTO); /* by rendezvous */
    struct rpc_call body = {.operation = RPC_PING,
                            .body = &(struct ping_request){0},
                            .body_length = sizeof(request),
                            .reply = &reply,
                            .reply_size = sizeof(reply) - 1};
    assert_int_equal(rpc_call(fixture->peer, &body), -EPROTO);
    assert_int_equal(fixture_ping_call(fixture, fixture->peer, 0, 100), 0);
}

static void less_bulk_than_room_is_fine(void **state)
{
    struct fixture *fixture = *state;
    const uint32_t sizes[] = {10, 5000, 1 << 20};
    for (int i = 0; i < 3; i++) {
        struct ping_request request = {.reply_bytes = sizes[i]};
        struct ping_reply reply;
        uint8_t *landed = malloc(2 << 20);
        struct iovec receive[3] = {{landed, 7}, {landed + 7, 4}, {landed + 11, (2 << 20) - 11}};
        for (uint32_t count = 1; count <= 3; count += 2) {
            struct rpc_call call = {.operation = RPC_PING,
                                    .body = &request,
                                    .body_length = sizeof(request),
                                    .reply = &reply,
                                    .reply_size = sizeof(reply),
                                    .receive = count == 1 ? &(struct iovec){landed, 2 << 20} : receive,
                                    .receive_count = count};
            assert_int_equal(rpc_call(fixture->peer, &call), 0);
            assert_int_equal(call.received, sizes[i]);
        }
        free(landed);
    }
}

static void a_deadline_is_kept(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(rpc_peer_connect(fixture->peer, 0), 0);
    fixture->delay_ns = 200 * NSEC_PER_MSEC;
    uint64_t start = loop_now(fixture->loop);
    assert_int_equal(fixture_unlink_call(fixture->peer, 0, start + 50 * NSEC_PER_MSEC), -ETIMEDOUT);
    uint64_t took = loop_now(fixture->loop) - start;
    assert_in_range(took, 50 * NSEC_PER_MSEC, 75 * NSEC_PER_MSEC);
    fixture->delay_ns = 0;
    assert_int_equal(fixture_unlink_call(fixture->peer, 0, 0), 0); /* the late reply disturbs nobody */
    fixture_until(fixture, fixture->executing == 0);
    assert_int_equal(fixture_unlink_call(fixture->peer, 0, loop_now(fixture->loop) - 1), -ETIMEDOUT);
    assert_int_equal(fixture->applied, 2);
}

static void another_key_is_refused(void **state)
{
    struct fixture *fixture = *state;
    uint64_t start = loop_now(fixture->loop);
    assert_int_equal(fixture_unlink_call(fixture->peer, 0, 0), -EACCES);
    assert_int_equal(rpc_peer_connect(fixture->peer, 0), -EACCES);
    assert_true(loop_now(fixture->loop) - start < NSEC_PER_SEC);
    struct rpc_counters counters;
    rpc_counters(fixture->server, &counters);
    assert_int_equal(counters.sessions, 0);
    assert_int_equal(counters.refused, 2);
}

static void nobody_there_is_host_down(void **state)
{
    struct fixture *fixture = *state;
    rpc_destroy(fixture->server);
    fixture->server = NULL;
    uint64_t start = loop_now(fixture->loop);
    assert_int_equal(fixture_unlink_call(fixture->peer, 0, 0), -EHOSTDOWN);
    assert_true(loop_now(fixture->loop) - start < 500 * NSEC_PER_MSEC);
}

static void a_server_that_goes_fails_its_calls_promptly(void **state)
{
    struct fixture *fixture = *state;
    struct attributes_request body = {.inode = 1};
    struct attributes_reply reply;
    struct rpc_call call = {.operation = RPC_GET_ATTRIBUTES,
                            .body = &body,
                            .body_length = sizeof(body),
                            .reply = &reply,
                            .reply_size = sizeof(reply)};
    rpc_start(fixture->peer, &call);
    fixture_until(fixture, fixture->waiting == 1);
    rpc_destroy(fixture->server); /* cancels the handler */
    fixture->server = NULL;
    assert_int_equal(fixture->waiting, 0);
    uint64_t start = loop_now(fixture->loop);
    assert_int_equal(rpc_finish(&call), -EHOSTDOWN);
    assert_true(loop_now(fixture->loop) - start < 500 * NSEC_PER_MSEC);
}

/* What the client sees when its connection breaks but both processes live: the answer, once. */
static void a_broken_connection_is_resumed(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(rpc_peer_connect(fixture->peer, 0), 0);
    for (uint64_t round = 0; round < 5; round++) {
        struct fixture_name name = fixture_name(round, "x");
        struct rpc_call call = {
            .operation = RPC_REMOVE_DIRECTORY, .body = name.bytes, .body_length = name.length};
        fixture->delay_ns = 20 * NSEC_PER_MSEC;
        uint64_t token = fixture->peer->token;
        rpc_start(fixture->peer, &call);
        fixture_until(fixture, fixture->executing == 1);
        peer_recover(fixture->peer);
        assert_int_equal(rpc_finish(&call), 0);
        assert_int_equal(fixture->counted[round], 1);
        assert_true(fixture->peer->token != token);
    }
    struct rpc_counters counters;
    rpc_counters(fixture->server, &counters);
    assert_int_equal(counters.sessions, 1);
    assert_int_equal(counters.replayed + counters.duplicates, 5);
}

static void take_symlink(void *owner, struct rpc_request *request)
{
    struct fixture *fixture = owner;
    fixture->executing++;
    task_sleep(fixture->loop, fixture->delay_ns);
    int status = rpc_request_receive(request, &(struct iovec){fixture->bulk, request->bulk_length}, 1);
    fixture->executing--;
    fixture->applied += status == 0;
    struct attributes_reply reply = {.attributes.inode = 7};
    rpc_reply(request, status, &reply, status == 0 ? sizeof(reply) : 0, NULL, 0);
}

/* The connection breaks before the server has fetched what is to be written: it is fetched over the next one.
 */
static void bulk_of_a_broken_connection_is_fetched_again(void **state)
{
    struct fixture *fixture = *state;
    static uint8_t landed[256 << 10], bytes[256 << 10];
    memset(bytes, 'b', sizeof(bytes));
    fixture->bulk = landed;
    rpc_register(fixture->server, RPC_CREATE_SYMLINK, take_symlink);
    assert_int_equal(rpc_peer_connect(fixture->peer, 0), 0);
    struct {
        struct create_request request;
        char name[1];
    } body = {.request = {.parent = 1, .name_length = 1}, .name = "x"};
    /* The first execution fails before the repetition comes, or after. */
    for (unsigned round = 0; round < 2; round++) {
        fixture->applied = 0;
        memset(landed, 0, sizeof(landed));
        struct attributes_reply reply;
        struct iovec send = {bytes, sizeof(bytes)};
        struct rpc_call call = {.operation = RPC_CREATE_SYMLINK,
                                .body = &body,
                                .body_length = sizeof(body.request) + 1,
                                .reply = &reply,
                                .reply_size = sizeof(reply),
                                .send = &send,
                                .send_count = 1};
        fixture->delay_ns = round == 0 ? NSEC_PER_MSEC / 10 : 20 * NSEC_PER_MSEC;
        rpc_start(fixture->peer, &call);
        fixture_until(fixture, fixture->executing == 1);
        peer_recover(fixture->peer);
        assert_int_equal(rpc_finish(&call), 0);
        assert_int_equal(fixture->applied, 1);
        assert_memory_equal(landed, bytes, sizeof(bytes));
    }
}

static void a_lost_session_fails_what_may_have_been_applied(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(rpc_peer_connect(fixture->peer, 0), 0);
    struct fixture_name name = fixture_name(1, "x");
    struct rpc_call mutating = {
        .operation = RPC_REMOVE_DIRECTORY, .body = name.bytes, .body_length = name.length};
    struct ping_request ping = {0};
    struct ping_reply reply;
    struct rpc_call idempotent = {.operation = RPC_PING,
                                  .body = &ping,
                                  .body_length = sizeof(ping),
                                  .reply = &reply,
                                  .reply_size = sizeof(reply)};
    fixture->delay_ns = 20 * NSEC_PER_MSEC;
    rpc_start(fixture->peer, &mutating);
    rpc_start(fixture->peer, &idempotent);
    fixture_until(fixture, fixture->executing == 1);
    session_end(fixture->server->sessions[fixture->peer->session]);
    assert_int_equal(rpc_finish(&mutating), -EHOSTDOWN);
    assert_int_equal(rpc_finish(&idempotent), 0);
    assert_int_equal(fixture->counted[1], 1);
}

static void parties_end_with_calls_under_way(void **state)
{
    struct fixture *fixture = *state;
    enum { CALLS = 2 * RPC_CREDITS };
    struct rpc_call *calls = calloc(CALLS, sizeof(*calls));
    struct ping_request request = {.reply_bytes = 1 << 20};
    struct ping_reply reply;
    uint8_t *memory = malloc(1 << 20);
    struct iovec vector = {memory, 1 << 20};
    assert_int_equal(rpc_peer_connect(fixture->peer, 0), 0);
    for (int i = 0; i < CALLS; i++) {
        calls[i] = (struct rpc_call){.operation = RPC_PING,
                                     .body = &request,
                                     .body_length = sizeof(request),
                                     .reply = &reply,
                                     .reply_size = sizeof(reply),
                                     .send = &vector,
                                     .send_count = 1,
                                     .receive = &vector,
                                     .receive_count = 1};
        rpc_start(fixture->peer, &calls[i]);
    }
    for (int turn = 0; turn < 20; turn++)
        loop_poll(fixture->loop);
    rpc_destroy(fixture->client);
    fixture->client = NULL;
    memset(memory, 0, 1 << 20);
    free(memory);
    for (int i = 0; i < CALLS; i++) {
        assert_true(calls[i].done.fired);
        int status = rpc_finish(&calls[i]);
        assert_true(status == 0 || status == -ECANCELED);
    }
    assert_int_equal(calls[CALLS - 1].done.status, -ECANCELED);
    free(calls);
}

static void cancel_me(void *argument)
{
    struct fixture *fixture = argument;
    struct attributes_request body = {.inode = 1};
    struct attributes_reply reply;
    struct rpc_call call = {.operation = RPC_GET_ATTRIBUTES,
                            .body = &body,
                            .body_length = sizeof(body),
                            .reply = &reply,
                            .reply_size = sizeof(reply)};
    int status = rpc_call(fixture->peer, &call);
    fixture->applied = status == -ECANCELED ? 77 : 1;
}

static void a_cancelled_task_gives_up_its_call(void **state)
{
    struct fixture *fixture = *state;
    struct task *task;
    assert_int_equal(rpc_peer_connect(fixture->peer, 0), 0);
    assert_int_equal(task_spawn_later(fixture->loop, cancel_me, fixture, &task), 0);
    fixture_until(fixture, fixture->waiting == 1);
    task_cancel(task);
    fixture_until(fixture, fixture->applied != 0);
    assert_int_equal(fixture->applied, 77);
    completion_fire(&fixture->release, 0);
    fixture_until(fixture, fixture->waiting == 0);
    assert_int_equal(fixture_ping_call(fixture, fixture->peer, 0, 0), 0);
}

/* ---- messages that no client of ours sends ---- */

static uint64_t rejected(const struct fixture *fixture)
{
    struct rpc_counters counters;
    rpc_counters(fixture->server, &counters);
    return counters.rejected;
}

static void send_raw(struct fixture *fixture, const void *bytes, uint32_t length)
{
    struct net_connection *connection;
    uint64_t before = rejected(fixture);
    assert_int_equal(net_connect(fixture->client_net, fixture->server_net->address,
                                 fixture->server_net->address_length, &connection),
                     0);
    struct completion sent = COMPLETION_INIT;
    int status = net_send(connection, bytes, length, NULL, 0, 0, &sent);
    assert_true(status == 0 || status == -EINPROGRESS);
    if (status == -EINPROGRESS)
        await(fixture->loop, &sent);
    fixture_until(fixture, rejected(fixture) == before + 1);
    net_close(connection);
}

/* An UNLINK request of the peer's session. */
struct raw_unlink {
    struct rpc_request_header header;
    uint8_t body[sizeof(struct name_request) + 3];
} __attribute__((packed));

static struct raw_unlink raw_request(const struct fixture *fixture, const char name[3])
{
    struct raw_unlink made = {.header = {.version = RPC_PROTOCOL_VERSION,
                                         .operation = RPC_REMOVE_DIRECTORY,
                                         .session = fixture->peer->session,
                                         .token = fixture->peer->token,
                                         .correlation = 1,
                                         .deadline_us = 1000000,
                                         .body_length = sizeof(made.body)}};
    memcpy(made.body, fixture_name(1, name).bytes, sizeof(made.body));
    return made;
}

static void forged_messages_are_dropped(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(rpc_peer_connect(fixture->peer, 0), 0);
    struct raw_unlink forged = raw_request(fixture, "abc");
    forged.header.token ^= 1;
    send_raw(fixture, &forged, sizeof(forged));
    forged = raw_request(fixture, "abc");
    forged.header.session = 4711;
    send_raw(fixture, &forged, sizeof(forged));
    forged = raw_request(fixture, "abc");
    forged.header.version++;
    send_raw(fixture, &forged, sizeof(forged));
    send_raw(fixture, "garbage", 7);
    uint8_t noise[NET_HEADER_MAX];
    memset(noise, 0x5a, sizeof(noise));
    send_raw(fixture, noise, sizeof(noise));
    assert_int_equal(fixture->applied, 0);
    assert_true(fixture->peer->up);
    assert_int_equal(fixture_unlink_call(fixture->peer, 0, 0), 0);
}

static void a_malformed_request_costs_the_session_only(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(rpc_peer_connect(fixture->peer, 0), 0);
    struct rpc_peer *other;
    assert_int_equal(rpc_peer_create(fixture->client, fixture->address, &other), 0);
    assert_int_equal(rpc_peer_connect(other, 0), 0);
    struct raw_unlink bad = raw_request(fixture, "a/c");
    send_raw(fixture, &bad, sizeof(bad));
    fixture_until(fixture, !fixture->peer->up);
    assert_true(other->up);
    assert_int_equal(fixture_unlink_call(other, 0, 0), 0);
    assert_int_equal(fixture_unlink_call(fixture->peer, 0, 0), 0); /* with a new session */
    struct rpc_counters counters;
    rpc_counters(fixture->server, &counters);
    assert_int_equal(counters.sessions, 2);
    rpc_peer_destroy(other);
}

static void an_expired_request_is_not_executed(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(rpc_peer_connect(fixture->peer, 0), 0);
    struct raw_unlink late = raw_request(fixture, "abc");
    late.header.deadline_us = 0;
    struct completion sent = COMPLETION_INIT;
    assert_int_equal(net_send(fixture->peer->connection, &late, sizeof(late), NULL, 0, 0, &sent), 0);
    assert_int_equal(fixture_ping_call(fixture, fixture->peer, 0, 0), 0);
    struct rpc_counters counters;
    rpc_counters(fixture->server, &counters);
    assert_int_equal(counters.expired, 1);
    assert_int_equal(fixture->applied, 0);
}

/* Runs in a task of its own, so that the server runs meanwhile. */
struct visitor {
    struct fixture *fixture;
    const void *bytes;
    size_t length;
    uint8_t answer[64];
    size_t answer_length; /* expected */
    int status;
    bool done;
};

static void visit(void *argument)
{
    struct visitor *visitor = argument;
    struct fixture *fixture = visitor->fixture;
    uint64_t deadline = loop_now(fixture->loop) + NSEC_PER_SEC;
    struct net_stream *stream;
    visitor->status = net_stream_connect(fixture->client_net, fixture->address, deadline, &stream);
    if (visitor->status == 0) {
        visitor->status = net_stream_write(stream, visitor->bytes, visitor->length, deadline);
        if (visitor->status == 0 && visitor->answer_length > 0)
            visitor->status = net_stream_read(stream, visitor->answer, visitor->answer_length, deadline);
        uint8_t more;
        while (visitor->status == 0)
            visitor->status = net_stream_read(stream, &more, 1, deadline);
        net_stream_close(stream);
    }
    visitor->done = true;
}

static void visit_with(struct fixture *fixture, struct visitor *visitor)
{
    visitor->fixture = fixture;
    assert_int_equal(task_spawn(fixture->loop, visit, visitor), 0);
    fixture_until(fixture, visitor->done);
    assert_int_equal(visitor->status, -ECONNRESET); /* the server hung up */
}

static void garbage_on_the_port_ends_that_stream(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(rpc_peer_connect(fixture->peer, 0), 0);
    struct visitor http = {.bytes = "GET / HTTP/1.1\r\n\r\n", .length = 18}; /* a length far too large */
    visit_with(fixture, &http);
    static const uint8_t frame[] = {9, 0, 0, 0, 1, 'B', 'A', 'D', '!', 1, 0, 0, 0};
    struct visitor magic = {.bytes = frame, .length = sizeof(frame), .answer_length = 9};
    visit_with(fixture, &magic);
    static const uint8_t refused[] = {
        5, 0, 0, 0, HANDSHAKE_REFUSED, HANDSHAKE_MALFORMED, 0, RPC_PROTOCOL_VERSION, 0};
    assert_memory_equal(magic.answer, refused, sizeof(refused));
    assert_true(fixture->peer->up);
    assert_int_equal(fixture_unlink_call(fixture->peer, 0, 0), 0);
    struct rpc_counters counters;
    rpc_counters(fixture->server, &counters);
    assert_int_equal(counters.refused, 2);
    assert_int_equal(counters.sessions, 1);
}

static void another_version_is_told(void **state)
{
    struct fixture *fixture = *state;
    static const uint8_t hello[] = {
        10, 0, 0, 0, HANDSHAKE_HELLO, 'B', 'F', 'S', '1', RPC_PROTOCOL_VERSION + 1, 0, 'x', 'y', 'z'};
    static const uint8_t refused[] = {
        5, 0, 0, 0, HANDSHAKE_REFUSED, HANDSHAKE_BAD_VERSION, 0, RPC_PROTOCOL_VERSION, 0};
    struct visitor visitor = {.bytes = hello, .length = sizeof(hello), .answer_length = 9};
    visit_with(fixture, &visitor);
    assert_memory_equal(visitor.answer, refused, sizeof(refused));
}

/* A server of another version, and something that is no server. */
static const uint8_t *wrong_answer;
static size_t wrong_answer_length;

static void answer_wrongly(void *owner, struct net_stream *stream)
{
    struct fixture *fixture = owner;
    uint8_t hello[5];
    fixture->waiting++;
    uint64_t deadline = loop_now(fixture->loop) + NSEC_PER_SEC;
    net_stream_read(stream, hello, sizeof(hello), deadline);
    net_stream_write(stream, wrong_answer, wrong_answer_length, deadline);
    uint8_t rest;
    while (net_stream_read(stream, &rest, 1, deadline) == 0)
        continue;
    net_stream_close(stream);
    fixture->waiting--;
}

static void servers_of_other_kinds_are_told_apart(void **state)
{
    struct fixture *fixture = *state;
    static const uint8_t version[] = {5, 0, 0, 0, HANDSHAKE_REFUSED, HANDSHAKE_BAD_VERSION, 0, 9, 0};
    static const uint8_t http[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    struct net_listener *listener;
    assert_int_equal(
        net_stream_listen(fixture->server_net, "127.0.0.1:0", answer_wrongly, fixture, &listener), 0);
    struct rpc_peer *peer;
    assert_int_equal(rpc_peer_create(fixture->client, listener->address, &peer), 0);
    wrong_answer = version;
    wrong_answer_length = sizeof(version);
    assert_int_equal(fixture_unlink_call(peer, 0, 0), -EPROTONOSUPPORT);
    wrong_answer = http;
    wrong_answer_length = sizeof(http) - 1;
    assert_int_equal(fixture_unlink_call(peer, 0, 0), -EPROTO);
    /* An impostor without the key: a challenge, then a welcome whose mac it cannot make. */
    static uint8_t impostor[4 + 35 + 4 + 52] = {
        35, 0, 0, 0, HANDSHAKE_CHALLENGE, RPC_PROTOCOL_VERSION, [39] = 52, 0, 0, 0, HANDSHAKE_WELCOME};
    wrong_answer = impostor;
    wrong_answer_length = sizeof(impostor);
    assert_int_equal(fixture_unlink_call(peer, 0, 0), -EACCES);
    listener->close(listener);
    rpc_peer_destroy(peer);
    fixture_until(fixture, fixture->waiting == 0);
}

static void idle_visitors_do_not_lock_others_out(void **state)
{
    struct fixture *fixture = *state;
    enum { VISITORS = RPC_HALF_OPEN_MAX + 20 };
    struct net_stream *streams[VISITORS];
    for (int i = 0; i < VISITORS; i++)
        assert_int_equal(net_stream_connect(fixture->client_net, fixture->address, 0, &streams[i]), 0);
    fixture_until(fixture, fixture->server->half_open == RPC_HALF_OPEN_MAX);
    for (int i = 0; i < VISITORS; i++)
        net_stream_close(streams[i]);
    assert_int_equal(fixture_unlink_call(fixture->peer, 0, 0), 0);
    fixture_until(fixture, fixture->server->half_open == 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bulk_goes_both_ways),
        TEST(bulk_is_held_for_a_handler_that_suspends_first),
        TEST(bulk_that_is_not_received_is_released),
        TEST(a_party_calls_itself),
        TEST(a_call_to_oneself_times_out),
        TEST(credits_bound_what_is_in_flight),
        TEST(a_late_credit_starts_nothing),
        TEST(stages_add_up),
        TEST(malformed_calls_are_refused_locally),
        TEST(an_operation_without_handler_is_refused),
        TEST(servers_operations_are_for_servers),
        cmocka_unit_test_setup_teardown(servers_operations_are_for_servers, setup_server_client, teardown),
        TEST(a_reply_of_another_size_is_refused),
        TEST(less_bulk_than_room_is_fine),
        TEST(a_deadline_is_kept),
        cmocka_unit_test_setup_teardown(another_key_is_refused, setup_wrong_key, teardown),
        TEST(nobody_there_is_host_down),
        TEST(a_server_that_goes_fails_its_calls_promptly),
        TEST(a_broken_connection_is_resumed),
        TEST(bulk_of_a_broken_connection_is_fetched_again),
        TEST(a_lost_session_fails_what_may_have_been_applied),
        TEST(parties_end_with_calls_under_way),
        TEST(a_cancelled_task_gives_up_its_call),
        TEST(forged_messages_are_dropped),
        TEST(a_malformed_request_costs_the_session_only),
        TEST(an_expired_request_is_not_executed),
        TEST(garbage_on_the_port_ends_that_stream),
        TEST(another_version_is_told),
        TEST(servers_of_other_kinds_are_told_apart),
        TEST(idle_visitors_do_not_lock_others_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A serving party and a calling party on one loop, over whatever transport a test gives them. */
#pragma once

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/sim.h"
#include "rpc/party.h"

#define FIXTURE_BULK_MAX (4u << 20)
#define FIXTURE_NAMES 65536u

struct fixture {
    struct loop *loop;
    struct net *server_net;
    struct net *client_net;
    struct rpc *server;
    struct rpc *client;
    struct rpc_peer *peer;
    char address[64];

    /* what the handlers did */
    uint64_t applied;               /* UNLINK executed */
    uint8_t counted[FIXTURE_NAMES]; /* by the parent in the request: how often UNLINK was executed for it */
    uint32_t executing;
    uint32_t executing_most;
    struct completion release; /* GET_ATTRIBUTES replies when it fires */
    uint32_t waiting;
    bool drop_bulk;    /* PING does not receive its bulk */
    uint64_t delay_ns; /* of every handler */
    uint64_t busy_ns;  /* that a PING computes */
    uint8_t *bulk;
    uint32_t ended, gone;   /* events of instances at the server */
    uint64_t last_instance; /* of the latest */
    uint8_t noticed[FIXTURE_NAMES];
};

static inline void fixture_instance_event(void *owner, uint64_t instance, enum rpc_instance_event event)
{
    struct fixture *fixture = owner;
    fixture->ended += event == RPC_INSTANCE_ENDED;
    fixture->gone += event == RPC_INSTANCE_GONE;
    fixture->last_instance = instance;
}

static inline void fixture_notice(void *owner, uint32_t serial, uint64_t notice)
{
    struct fixture *fixture = owner;
    if (serial == 0 || notice >= FIXTURE_NAMES)
        abort();
    fixture->noticed[notice]++;
}

/* Computes: the server does nothing else meanwhile. */
static inline void fixture_compute(struct fixture *fixture)
{
    if (loop_simulated(fixture->loop)) {
        net_sim_busy(fixture->server_net, fixture->busy_ns);
        task_sleep(fixture->loop, fixture->busy_ns);
        return;
    }
    for (uint64_t end = clock_now() + fixture->busy_ns; clock_now() < end;)
        ;
}

static const uint8_t fixture_key[CLUSTER_KEY_BYTES] = "a key that only these tests know";

/* Sends back what came (reply_bytes of it, zeros beyond). */
static inline void fixture_ping(void *owner, struct rpc_request *request)
{
    struct fixture *fixture = owner;
    const struct ping_request *ping = request->body;
    uint8_t *bulk = malloc(FIXTURE_BULK_MAX);
    if (fixture->delay_ns != 0)
        task_sleep(fixture->loop, fixture->delay_ns);
    if (fixture->busy_ns != 0)
        fixture_compute(fixture);
    int status = 0;
    if (request->bulk_length > 0 && !fixture->drop_bulk) {
        struct iovec into[2] = {
            {bulk, request->bulk_length / 3},
            {bulk + request->bulk_length / 3, request->bulk_length - request->bulk_length / 3}};
        status = rpc_request_receive(request, into, 2);
    }
    struct ping_reply reply = {.server_time = 42};
    struct iovec out = {bulk, ping->reply_bytes};
    rpc_reply(request, status, &reply, sizeof(reply), &out, ping->reply_bytes > 0 && status == 0);
    free(bulk);
}

/* Counts how often it is executed; replies at once or after the delay. */
static inline void fixture_unlink(void *owner, struct rpc_request *request)
{
    struct fixture *fixture = owner;
    const struct name_request *body = request->body;
    fixture->applied++;
    if (body->parent < FIXTURE_NAMES)
        fixture->counted[body->parent]++;
    if (++fixture->executing > fixture->executing_most)
        fixture->executing_most = fixture->executing;
    if (fixture->delay_ns != 0)
        task_sleep(fixture->loop, fixture->delay_ns);
    fixture->executing--;
    rpc_reply(request, 0, NULL, 0, NULL, 0);
}

/* Waits to be released. */
static inline void fixture_get_attributes(void *owner, struct rpc_request *request)
{
    struct fixture *fixture = owner;
    struct attributes_reply reply = {.attributes.inode = 7};
    fixture->waiting++;
    int status = await(fixture->loop, &fixture->release);
    fixture->waiting--;
    rpc_reply(request, status, &reply, status == 0 ? sizeof(reply) : 0, NULL, 0);
}

static inline void fixture_serve(struct fixture *fixture, const uint8_t *key)
{
    struct rpc_options options = {.cluster_key = key,
                                  .server_id = 0,
                                  .owner = fixture,
                                  .instance_event = fixture_instance_event,
                                  .notice = fixture_notice};
    if (rpc_create(fixture->server_net, &options, &fixture->server) != 0)
        abort();
    rpc_register(fixture->server, RPC_PING, fixture_ping);
    rpc_register(fixture->server, RPC_REMOVE_DIRECTORY, fixture_unlink);
    rpc_register(fixture->server, RPC_DIRECTORY_FINISH, fixture_unlink);
    rpc_register(fixture->server, RPC_GET_ATTRIBUTES, fixture_get_attributes);
    rpc_set_epochs(fixture->server, 3, 4);
}

static inline void fixture_call(struct fixture *fixture, const uint8_t *key, uint32_t server_id)
{
    struct rpc_options options = {.cluster_key = key, .server_id = server_id, .instance = 77};
    if (rpc_create(fixture->client_net, &options, &fixture->client) != 0 ||
        rpc_peer_create(fixture->client, fixture->address, &fixture->peer) != 0)
        abort();
}

/* A name_request as it goes over the wire. */
struct fixture_name {
    uint8_t bytes[sizeof(struct name_request) + NAME_LENGTH_MAX];
    uint32_t length;
};

static inline struct fixture_name fixture_name(uint64_t parent, const char *name)
{
    struct fixture_name made;
    struct name_request request = {.parent = parent, .name_length = (uint8_t)strlen(name)};
    memcpy(made.bytes, &request, sizeof(request));
    memcpy(made.bytes + sizeof(request), name, request.name_length);
    made.length = (uint32_t)sizeof(request) + request.name_length;
    return made;
}

static inline int fixture_unlink_call(struct rpc_peer *peer, uint64_t parent, uint64_t deadline)
{
    struct fixture_name name = fixture_name(parent, "abc");
    struct rpc_call call = {.operation = RPC_REMOVE_DIRECTORY,
                            .body = name.bytes,
                            .body_length = name.length,
                            .deadline = deadline};
    return rpc_call(peer, &call);
}

/* One PING with send_bytes there and receive_bytes back, checked. Returns its status. */
static inline int fixture_ping_call(struct fixture *fixture, struct rpc_peer *peer, size_t send_bytes,
                                    size_t receive_bytes)
{
    uint8_t *sent = malloc(send_bytes + 1), *landed = calloc(1, receive_bytes + 1);
    for (size_t i = 0; i < send_bytes; i++)
        sent[i] = (uint8_t)random_next(loop_random(fixture->loop));
    struct iovec send[2] = {{sent, send_bytes / 2}, {sent + send_bytes / 2, send_bytes - send_bytes / 2}};
    struct iovec receive[2] = {{landed, receive_bytes / 4},
                               {landed + receive_bytes / 4, receive_bytes - receive_bytes / 4}};
    struct ping_request request = {.reply_bytes = (uint32_t)receive_bytes};
    struct ping_reply reply = {0};
    struct rpc_call call = {
        .operation = RPC_PING,
        .body = &request,
        .body_length = sizeof(request),
        .reply = &reply,
        .reply_size = sizeof(reply),
        .send = send,
        .send_count = send_bytes > 0 ? 2 : 0,
        .receive = receive,
        .receive_count = receive_bytes > 0 ? 2 : 0,
    };
    int status = rpc_call(peer, &call);
    if (status == 0) {
        size_t compare = send_bytes < receive_bytes ? send_bytes : receive_bytes;
        if (call.received != receive_bytes || memcmp(sent, landed, compare) != 0 || reply.server_time != 42 ||
            call.reply_map_epoch != 3 || call.reply_namespace_epoch != 4)
            status = -EILSEQ;
    }
    free(sent);
    free(landed);
    return status;
}

/* Runs the loop until the condition holds, two seconds of its time at most. */
#define fixture_until(fixture, condition)                                                                    \
    do {                                                                                                     \
        uint64_t until_ = loop_now((fixture)->loop) + 2 * NSEC_PER_SEC;                                      \
        while (!(condition) && loop_now((fixture)->loop) < until_) {                                         \
            if (loop_poll((fixture)->loop) == 0 && loop_simulated((fixture)->loop))                          \
                break; /* nothing can happen any more */                                                     \
        }                                                                                                    \
        assert_true(condition);                                                                              \
    } while (0)

/* PINGs without bulk, all under way at once. */
struct fixture_pings {
    struct ping_request request;
    struct ping_reply replies[8];
    struct rpc_call calls[8];
};

static inline void fixture_ping_together(struct fixture *fixture, struct fixture_pings *pings, uint32_t count)
{
    memset(pings, 0, sizeof(*pings));
    for (uint32_t i = 0; i < count; i++) {
        pings->calls[i] = (struct rpc_call){.operation = RPC_PING,
                                            .body = &pings->request,
                                            .body_length = sizeof(pings->request),
                                            .reply = &pings->replies[i],
                                            .reply_size = sizeof(pings->replies[i])};
        rpc_start(fixture->peer, &pings->calls[i]);
    }
    for (uint32_t i = 0; i < count; i++)
        if (rpc_finish(&pings->calls[i]) != 0)
            abort();
}

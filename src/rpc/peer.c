/* Peers: the connection behind the calls.
 *
 * A peer is up when three things are there: a stream that proved the key and whose end tells that the other
 * process died, a transport connection, and a session. Whatever goes wrong with any of them ends in
 * peer_recover: the peer is down at once, and a task gives up the old connection, waits until the transport
 * has let go of everything that it carried, and, if any call waits, connects anew. If the server still has
 * the session, calls in flight are sent again as repetitions; if not (it restarted), those that change
 * something fail, because nobody knows whether they were applied.
 *
 * Connection attempts are repeated with growing pauses for as long as somebody waits, but a refused
 * connection means that no process listens there: the second refusal in a row fails everything with
 * -EHOSTDOWN, about 50 ms after the server died. A wrong key or version fails at once: trying again does not
 * help.
 *
 * The task is the only one that opens or closes a peer's connection, so no callback of the transport or the
 * stream ever destroys what it was called from. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/status.h"
#include "rpc/party.h"

#define ATTEMPT_DEADLINE (5 * NSEC_PER_SEC)
#define PAUSE_FIRST (50 * NSEC_PER_MSEC)
#define PAUSE_MAX (500 * NSEC_PER_MSEC)
#define REFUSALS_MAX 2u
#define RESETS_MAX 6u

/* A caller of rpc_peer_connect. */
struct waiter {
    struct list link;
    struct completion done;
};

static void stream_closed(void *owner)
{
    peer_recover(owner);
}

/* ---- going down ---- */

/* So that the server does not take it for the end of the process. Best effort: a stream that takes no byte at
 * once has broken, which the server sees as something else, too. */
static void stream_leave(struct rpc *rpc, struct net_stream *stream, enum handshake_parting parting)
{
    const uint8_t byte = (uint8_t)parting;
    net_stream_write(stream, &byte, sizeof byte, loop_now(rpc->loop));
    net_stream_close(stream);
}

void peer_release_held(struct rpc_peer *peer)
{
    if (--peer->held == 0 && peer->quiet_wanted) {
        peer->quiet_wanted = false;
        completion_fire(&peer->quiet, 0);
    }
}

/* Suspends until the transport holds nothing of the peer's. */
static void peer_disconnect(struct rpc_peer *peer, enum handshake_parting parting)
{
    struct net_stream *stream = peer->stream;
    struct net_connection *connection = peer->connection;
    peer->up = false;
    peer->stream = NULL;
    peer->connection = NULL;
    peer->told.valid = false;
    if (stream != NULL) {
        net_stream_on_close(stream, NULL, NULL);
        stream_leave(peer->rpc, stream, parting);
    }
    if (connection != NULL)
        net_close(connection);
    if (peer->held > 0) {
        peer->quiet = COMPLETION_INIT;
        peer->quiet_wanted = true;
        await_fired(peer->rpc->loop, &peer->quiet);
    }
}

/* ---- coming up ---- */

/* Proves the key over the stream and connects the transport. hello and welcome are large: the caller's
 * memory. */
static int peer_introduce(struct rpc_peer *peer, struct net_stream *stream, uint64_t deadline,
                          struct handshake_hello *hello, struct handshake_welcome *welcome)
{
    struct rpc *rpc = peer->rpc;
    hello->role = rpc->server_id == UINT32_MAX ? HANDSHAKE_ROLE_CLIENT : HANDSHAKE_ROLE_SERVER;
    hello->server = rpc->server_id;
    hello->uid = (uint32_t)getuid();
    hello->instance = rpc->instance;
    hello->resume = peer->has_session;
    hello->session = peer->session;
    hello->token = peer->token;
    if (rpc->net->address_length > sizeof(hello->address))
        return -EMSGSIZE;
    hello->address_length = (uint16_t)rpc->net->address_length;
    memcpy(hello->address, rpc->net->address, hello->address_length);
    int status = handshake_connect(stream, rpc->key, hello, deadline, welcome);
    if (status == 0)
        status = net_connect(rpc->net, welcome->address, welcome->address_length, &peer->connection);
    return status;
}

/* One attempt. Returns 0 with the peer up and *resumed, or -errno. */
static int peer_attempt(struct rpc_peer *peer, bool *resumed)
{
    struct rpc *rpc = peer->rpc;
    uint64_t deadline = loop_now(rpc->loop) + ATTEMPT_DEADLINE;
    struct {
        struct handshake_hello hello;
        struct handshake_welcome welcome;
    } *said = calloc(1, sizeof(*said));
    if (said == NULL)
        return -ENOMEM;
    struct net_stream *stream;
    int status = net_stream_connect(rpc->net, peer->address, deadline, &stream);
    if (status == 0) {
        status = peer_introduce(peer, stream, deadline, &said->hello, &said->welcome);
        if (status != 0) {
            stream_leave(rpc, stream, HANDSHAKE_AGAIN); /* it may have been welcomed */
        } else {
            peer->stream = stream;
            peer->session = said->welcome.session;
            peer->token = said->welcome.token;
            peer->has_session = true;
            peer->up = true;
            *resumed = said->welcome.resumed;
            net_stream_on_close(stream, stream_closed, peer);
        }
    }
    free(said);
    return status;
}

static bool peer_wanted(const struct rpc_peer *peer)
{
    if (peer->closing)
        return false;
    if (!list_empty(&peer->queue) || !list_empty(&peer->waiters))
        return true;
    return !list_empty(&peer->flights); /* between connections every flight has a call */
}

/* Attempts until one succeeds, none can, or nobody waits any more. Returns 0 or what the calls shall fail
 * with. */
static int peer_reach(struct rpc_peer *peer, bool *resumed)
{
    unsigned refused = 0, reset = 0;
    uint64_t pause = PAUSE_FIRST;
    while (peer_wanted(peer)) {
        int status = peer_attempt(peer, resumed);
        log_debug("%s: connecting: %s", peer->address, status == 0 ? "connected" : status_text(status));
        switch (status) {
        case 0:
            return 0;
        case -ECONNREFUSED:
            if (++refused == REFUSALS_MAX)
                return -EHOSTDOWN;
            break;
        case -ECONNRESET:
        case -EPIPE:
            if (++reset == RESETS_MAX)
                return -EHOSTDOWN;
            break;
        case -ETIMEDOUT:
        case -EAGAIN:
            break;
        case -ENOENT: /* the name does not resolve */
        case -EHOSTUNREACH:
        case -ENETUNREACH:
            return -EHOSTUNREACH;
        default:
            return status;
        }
        status = task_sleep(peer->rpc->loop, pause);
        if (status != 0)
            return status;
        if (refused == 0)
            pause = pause * 2 < PAUSE_MAX ? pause * 2 : PAUSE_MAX;
    }
    return -ETIMEDOUT;
}

static void waiters_wake(struct rpc_peer *peer, int status)
{
    for (struct list *node; (node = list_pop_front(&peer->waiters)) != NULL;)
        completion_fire(&container_of(node, struct waiter, link)->done, status);
}

static void recover(void *argument)
{
    struct rpc_peer *peer = argument;
    peer_disconnect(peer, HANDSHAKE_AGAIN);
    bool resumed = false;
    int status = peer_wanted(peer) ? peer_reach(peer, &resumed) : 0;
    peer->task = NULL;
    if (peer->closing) {
        completion_fire(&peer->task_ended, 0);
    } else if (peer->up) {
        waiters_wake(peer, 0);
        call_resend(peer, resumed);
    } else if (status != 0) {
        peer->has_session = peer->has_session && status != -EHOSTDOWN;
        waiters_wake(peer, status);
        call_fail_all(peer, status);
    } else if (peer_wanted(peer)) {
        peer_recover(peer);
    }
}

void peer_recover(struct rpc_peer *peer)
{
    peer->up = false;
    if (peer->task != NULL || peer->closing)
        return;
    int status = task_spawn_later(peer->rpc->loop, recover, peer, &peer->task);
    if (status != 0) {
        log_warning("%s: cannot reconnect: %s", peer->address, status_text(status));
        waiters_wake(peer, status);
        call_fail_all(peer, status);
    }
}

/* ---- as the caller sees it ---- */

static struct rpc_peer *peer_allocate(struct rpc *rpc)
{
    struct rpc_peer *peer = calloc(1, sizeof(*peer));
    if (peer == NULL)
        return NULL;
    peer->rpc = rpc;
    peer->credits = RPC_CREDITS;
    list_init(&peer->queue);
    list_init(&peer->flights);
    list_init(&peer->mutations);
    list_init(&peer->waiters);
    list_push_back(&rpc->peers, &peer->link);
    return peer;
}

int rpc_peer_create(struct rpc *rpc, const char *address, struct rpc_peer **peer)
{
    size_t length = strlen(address);
    if (length >= sizeof((*peer)->address) || strrchr(address, ':') == NULL)
        return -EINVAL;
    struct rpc_peer *made = peer_allocate(rpc);
    if (made == NULL)
        return -ENOMEM;
    memcpy(made->address, address, length + 1);
    *peer = made;
    return 0;
}

int rpc_peer_create_self(struct rpc *rpc, struct rpc_peer **peer)
{
    struct rpc_peer *made = peer_allocate(rpc);
    if (made == NULL)
        return -ENOMEM;
    made->self = true;
    made->up = true;
    *peer = made;
    return 0;
}

void rpc_peer_destroy(struct rpc_peer *peer)
{
    struct loop *loop = peer->rpc->loop;
    peer->closing = true;
    waiters_wake(peer, -ECANCELED);
    call_fail_all(peer, -ECANCELED);
    if (peer->task != NULL) {
        task_cancel(peer->task);
        await_fired(loop, &peer->task_ended);
    }
    peer_disconnect(peer, HANDSHAKE_GOODBYE);
    list_remove(&peer->link);
    free(peer);
}

bool rpc_peer_notice(struct rpc_peer *peer, uint64_t notice)
{
    if (peer->notice_count == RPC_NOTICES_MAX)
        return false;
    peer->notices[peer->notice_count++] = notice;
    return true;
}

uint32_t rpc_peer_notices(const struct rpc_peer *peer)
{
    return peer->notice_count;
}

uint64_t rpc_peer_session(const struct rpc_peer *peer)
{
    return peer->up ? peer->token : 0;
}

int rpc_peer_connect(struct rpc_peer *peer, uint64_t deadline)
{
    struct rpc *rpc = peer->rpc;
    if (rpc->closing || peer->closing)
        return -ECANCELED;
    if (peer->up)
        return 0;
    struct waiter waiter = {.done = COMPLETION_INIT};
    list_push_back(&peer->waiters, &waiter.link);
    peer_recover(peer);
    int status = await_until(rpc->loop, &waiter.done,
                             deadline != 0 ? deadline : loop_now(rpc->loop) + rpc->deadline_ns);
    list_remove(&waiter.link);
    return waiter.done.fired ? waiter.done.status : status;
}

/* Typed requests and replies over net: sessions, correlation, deadlines, at-most-once, timing stamps.
 *
 * A `struct rpc` is one party on one loop: it can call peers and, when handlers are registered, serve. A
 * session is made by the bootstrap handshake (rpc/handshake.h) over a stream; the stream stays open and its
 * end fails the session's calls at once. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/clock.h"
#include "net/net.h"
#include "net/stream.h"
#include "rpc/operations.h"
#include "runtime/sync.h"

#define CLUSTER_KEY_BYTES 32
#define RPC_CREDITS 32 /* requests in flight per session: bounds replies in a shared-memory FIFO */
#define RPC_BODY_MAX 640u
#define RPC_INSTANCE_GRACE (1 * NSEC_PER_SEC)
#define RPC_NOTICES_MAX 64u     /* of a peer, waiting */
#define RPC_GENERATION_SHIFT 16 /* correlation >> this counts a party's calls up */

struct rpc;
struct rpc_peer;

/* ---- calling ---- */

/* Stage durations of one finished call, nanoseconds; wire = total - the rest. A handler starts in the receive
 * callback, so queue_ns is the time for which a request was there and the server did not look, because it was
 * at work on others: as much of the wire, less what that takes at an idle server, as the server says. */
struct rpc_timing {
    uint64_t started; /* loop_now. A caller that has just read it may fill it in; else, of a call that goes at
                         once, it is when the transport had taken the request */
    uint64_t total_ns;
    uint32_t client_queue_ns; /* waiting for credits and connection */
    uint32_t queue_ns;
    uint32_t handler_ns; /* METRICS_UNTOLD: its trace entry will know */
    uint32_t storage_ns;
};

/* One call. The caller fills the first part (the rest zeroed), keeps it and everything it points to alive
 * until rpc_finish (or rpc_call) has returned. */
struct rpc_call {
    uint16_t operation;
    uint8_t groups; /* the session's set of groups that the caller has: RPC_SET_GROUPS; 0: none */
    uint32_t body_length;
    const void *body;         /* request body, at most RPC_BODY_MAX */
    const struct iovec *send; /* bulk to the server */
    uint32_t send_count;
    uint32_t receive_count;
    const struct iovec *receive; /* where the reply's bulk lands */
    void *reply;                 /* reply body */
    uint32_t reply_size;         /* its size: a reply of another length is -EPROTO */
    uint32_t namespace_epoch;
    uint64_t deadline; /* loop_now ns; 0: now + rpc.deadline */

    /* results */
    uint64_t received; /* bytes of bulk that arrived */
    uint32_t reply_namespace_epoch;
    uint32_t reply_map_epoch;
    struct rpc_timing timing;

    /* private */
    struct completion done;
    struct list link;
    uint64_t correlation;
    uint64_t subject, sent;             /* inode and bytes of bulk, for its trace entry, */
    bool described;                     /* if it was sent */
    const _Atomic uint64_t *postscript; /* of the reply */
    struct loop *loop;
    struct rpc_peer *peer;
    struct rpc_flight *flight; /* while the request is on the wire */
    struct rpc_served *served; /* while this very party serves it */
};

/* Sends the request if the peer is connected and credits are left (no suspension on that path); otherwise
 * hands it to a task that connects first. The result, errors included, is delivered by rpc_finish. */
void rpc_start(struct rpc_peer *peer, struct rpc_call *call);
/* Waits for the call. Returns the server's status (0 or negative), -ETIMEDOUT past the deadline, -EHOSTDOWN
 * when the peer died or refuses connections, -EACCES when the key was refused, -EPROTO for a malformed reply.
 * After return no memory of the call is referenced. */
int rpc_finish(struct rpc_call *call);
static inline int rpc_call(struct rpc_peer *peer, struct rpc_call *call)
{
    rpc_start(peer, call);
    return rpc_finish(call);
}

/* ---- serving ---- */

struct rpc_session; /* server side: slot, token, peer's address, role, remembered replies */

/* An arrived request, valid until its reply was sent. */
struct rpc_request {
    struct rpc *rpc;
    void *owner;                 /* rpc_options.owner */
    struct rpc_session *session; /* NULL: from this very party */
    const struct rpc_request_header
        *header;      /* header->session is the slot; UINT32_MAX: from this very party */
    const void *body; /* header->body_length bytes, checked against the operation's struct */
    uint32_t body_length;
    bool peer_is_server;
    uint8_t flags; /* the operation's: RPC_MUTATES, RPC_SERVERS */
    uint64_t bulk_length;
    uint64_t deadline;        /* loop_now ns */
    uint64_t arrived;         /* loop_now ns when the receive callback began */
    uint64_t storage_ns;      /* spent in storage so far: rpc_storage_begin, rpc_storage_end */
    uint64_t storage_started; /* loop_now ns; 0: not in storage */
};

/* Runs in a task; must call rpc_reply exactly once (rpc_serve answers -EIO and logs if it does not). For
 * structs that end in char name[], rpc has checked that name_length bytes follow and hold no '/' and no NUL.
 */
typedef void (*rpc_handler)(void *owner, struct rpc_request *request);

/* Whether a request is still being executed here that arrived at that time (loop_now ns) or earlier, other
 * than those of one operation. Looks through all sessions. */
bool rpc_executing_since(const struct rpc *rpc, uint64_t arrived, unsigned except);
/* Whether the request's sender has a connection at present. */
bool rpc_request_connected(const struct rpc_request *request);
/* The instance that the request's session belongs to; 0: none. */
uint64_t rpc_request_instance(const struct rpc_request *request);
/* The same as a short number, which this party gives to no other instance; 0: none. Should an instance be
 * gone and come back, it has another one. */
uint32_t rpc_request_serial(const struct rpc_request *request);
/* The serial of an instance that has a session here; 0: none has. */
uint32_t rpc_instance_serial(const struct rpc *rpc, uint64_t instance);
bool rpc_serial_lives(const struct rpc *rpc, uint32_t serial);
/* Processes that the instance has made may yet ask for what it holds: it is not gone before its sessions
 * expire, although its own process may have ended. */
void rpc_instance_linger(struct rpc *rpc, uint32_t serial);

/* Whether the caller of the request has the group among its supplementary ones: 1 or 0, or
 * -STATUS_UNKNOWN_GROUPS when the session does not know its set. */
int rpc_request_in_group(const struct rpc_request *request, uint32_t group);
/* Gives the request's session a set of groups, strictly ascending. 0, -EINVAL or -ENOMEM. */
int rpc_request_set_groups(const struct rpc_request *request, unsigned set, const uint32_t *groups,
                           uint32_t count);

/* A handler says when it is in storage, which includes waiting for the journal. The reply ends it too, with
 * the reading of the clock that it takes anyway. */
void rpc_storage_begin(struct rpc_request *request);
void rpc_storage_end(struct rpc_request *request);

/* Moves the request's bulk into the given memory, bulk_length bytes in all (otherwise -EPROTO). Once;
 * suspends for a rendezvous, until the request's deadline at most. Returns 0 or -errno. */
int rpc_request_receive(struct rpc_request *request, const struct iovec *into, uint32_t count);
/* The request's bulk where it lies, if it came with the request and the handler has not been suspended since;
 * else NULL. Saves the copy that rpc_request_receive would make; valid until the handler suspends or replies.
 */
const void *rpc_request_peek(struct rpc_request *request);

/* Sends the reply; with bulk may suspend until the bulk memory is reusable, until the request's deadline at
 * most. Returns 0 or -errno: the client did not get it. With status 0 body_length is the size of the
 * operation's reply struct. */
int rpc_reply(struct rpc_request *request, int status, const void *body, uint32_t body_length,
              const struct iovec *bulk, uint32_t bulk_count);

/* ---- a party ---- */

/* An instance is a process of clients: all its sessions name the same 64-bit number. What it holds at a
 * server (locks, open files) does not end with one of its sessions, but with the instance. */
enum rpc_instance_event {
    RPC_INSTANCE_ENDED, /* its process has ended, RPC_INSTANCE_GRACE ago, and somebody who has inherited
                           something from it may come while its sessions last */
    RPC_INSTANCE_GONE, /* none of its sessions can be resumed any more; at once when its process has ended and
                          nobody may come */
};

struct rpc_options {
    const uint8_t *cluster_key;    /* CLUSTER_KEY_BYTES */
    uint64_t deadline_ns;          /* of a call without its own; 0: 10 s */
    uint32_t rendezvous_threshold; /* bulk of at least this many bytes goes by rendezvous; 0: 32 KiB */
    uint32_t server_id;            /* UINT32_MAX: a client */
    void *owner;                   /* passed to handlers */
    uint64_t instance;             /* a client's: see enum rpc_instance_event; 0: none */
    /* A server's, may be NULL: what happened to the instance of some of its sessions. From a callback of the
     * loop: must not suspend. Not called any more once rpc_destroy was. */
    void (*instance_event)(void *owner, uint64_t instance, enum rpc_instance_event event);
    /* A server's, may be NULL: a notice came from an instance. Before the handler of the request that brought
     * it; must not suspend. */
    void (*notice)(void *owner, uint32_t serial, uint64_t notice);
};

int rpc_create(struct net *net, const struct rpc_options *options, struct rpc **rpc);
/* Fails calls under way with -ECANCELED, cancels running handlers and waits for them, ends sessions, destroys
 * the peers that are left. Not to be called from a handler. */
void rpc_destroy(struct rpc *rpc);

void rpc_register(struct rpc *rpc, unsigned operation, rpc_handler handler);
/* Epochs put into every reply. */
void rpc_set_epochs(struct rpc *rpc, uint32_t map_epoch, uint32_t namespace_epoch);
struct loop *rpc_loop(struct rpc *rpc);
struct net *rpc_net(struct rpc *rpc);

/* Accepts bootstrap connections at address ("host:port"); *bound (64 bytes) gets the real one. */
int rpc_listen(struct rpc *rpc, const char *address, char *bound);

/* A peer to call, by bootstrap address; connects on first use, again after a loss. Never fails for
 * reachability. */
int rpc_peer_create(struct rpc *rpc, const char *address, struct rpc_peer **peer);
/* The peer that is this very party: calls run the handler directly, without the network. */
int rpc_peer_create_self(struct rpc *rpc, struct rpc_peer **peer);
/* Fails its calls under way with -ECANCELED. Suspends until the transport has let go of them. */
void rpc_peer_destroy(struct rpc_peer *peer);
/* Connects now if not connected. Returns 0 or the errors of rpc_finish. */
int rpc_peer_connect(struct rpc_peer *peer, uint64_t deadline);

/* Notices: small facts that cost no message of their own. One waits at its peer until a mutating request
 * without bulk goes there, and is taken by the server exactly once if that request is executed; it is lost
 * with a request of which nobody knows whether it was. Returns whether there was room: at most
 * RPC_NOTICES_MAX wait. */
bool rpc_peer_notice(struct rpc_peer *peer, uint64_t notice);
uint32_t rpc_peer_notices(const struct rpc_peer *peer);
/* The session with the peer: another number after each connection. 0: there is none at present. */
uint64_t rpc_peer_session(const struct rpc_peer *peer);

/* Correlation >> RPC_GENERATION_SHIFT of the last call that was sent. */
uint64_t rpc_generation(const struct rpc *rpc);

struct rpc_counters {
    uint64_t requests; /* served */
    uint64_t rejected; /* messages with a bad token, version, length or name, and replies nobody waits for */
    uint64_t expired;  /* requests dropped because their deadline had passed */
    uint64_t replayed; /* answered from remembered replies */
    uint64_t duplicates;  /* repeated while still executing: dropped */
    uint64_t resent;      /* requests sent again by this party's calls */
    uint64_t refused;     /* handshakes that failed */
    uint64_t sessions;    /* open now */
    uint64_t dispatch_ns; /* sum over a sample of the requests that did not suspend: receive callback to reply
                             sent */
    uint64_t dispatched;
};
void rpc_counters(const struct rpc *rpc, struct rpc_counters *counters);
/* Brings what the party counts up to date in its loop's metrics. Calls and requests record themselves. */
void rpc_refresh_metrics(const struct rpc *rpc);

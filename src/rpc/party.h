/* The inside of a party: what the files of rpc/ share. Nothing outside rpc/ and its tests includes this.
 *
 *   rpc.c      the party: creation, destruction, telling requests from replies
 *   call.c     calls: flights, credits, replies, deadlines, repetition
 *   peer.c     the connection to a peer: connecting, losing, resuming
 *   session.c  the server's side of connections: handshakes, sessions, remembered replies
 *   groups.c   the groups of callers
 *   serve.c    requests: checking, running handlers, replying */
#pragma once

#include <errno.h>
#include <stdalign.h>

#include "base/map.h"
#include "rpc/handshake.h"
#include "rpc/rpc.h"
#include "rpc/table.h"

#define RPC_MESSAGE_MAX (sizeof(struct rpc_request_header) + RPC_BODY_MAX)
static_assert(sizeof(struct rpc_request_header) == sizeof(struct rpc_reply_header), "one bound for both");
static_assert(RPC_MESSAGE_MAX <= NET_HEADER_MAX, "a request or reply is one transport header");

#define RPC_DEADLINE_DEFAULT (10 * NSEC_PER_SEC)
#define RPC_RENDEZVOUS_DEFAULT (32u << 10)
#define RPC_SWEEP_INTERVAL (10 * NSEC_PER_MSEC)
#define RPC_RESEND_INTERVAL (50 * NSEC_PER_MSEC)
#define RPC_REFETCHES_MAX 3u
#define RPC_HANDSHAKE_DEADLINE (5 * NSEC_PER_SEC)
#define RPC_HALF_OPEN_MAX 128u
#define RPC_SESSIONS_MAX 16384u
#define RPC_SESSION_GRACE (30 * NSEC_PER_SEC)
/* After an instance's last connection ended; then twice as long each time. */
#define RPC_DEATH_LOOK (1 * NSEC_PER_MSEC)
#define RPC_EXECUTING_MAX                                                                                    \
    256u /* requests of one session at a time: far beyond its credits, so it is misbehaving */
#define RPC_REMEMBERED 64u
#define RPC_REMEMBERED_BYTES 256u

/* What the last full header of a connection said, at both its ends: see struct rpc_short_header. */
struct rpc_told {
    uint64_t token;
    uint32_t session;
    uint32_t map_epoch;
    uint32_t namespace_epoch;
    bool valid;
};
static_assert(sizeof(struct rpc_told) <= NET_SENDER_BYTES, "a transport remembers it");

/* Bits of a correlation that are 0 of one in 16, of which more is told. */
#define RPC_SAMPLE (UINT64_C(15) << RPC_GENERATION_SHIFT)
#define RPC_SHORTER (sizeof(struct rpc_request_header) - sizeof(struct rpc_short_header))
static_assert(RPC_SHORTER == NET_HEADER_BEFORE, "a short header is made a full one in place");

struct rpc {
    struct net *net;
    struct loop *loop;
    struct metrics *metrics;
    void *owner;
    uint8_t key[CLUSTER_KEY_BYTES];
    uint64_t deadline_ns;
    uint32_t rendezvous_threshold;
    uint32_t server_id;
    uint64_t instance;
    uint32_t map_epoch;
    uint32_t namespace_epoch;
    bool closing;
    struct rpc_counters counters;

    /* calling */
    struct list peers;
    struct rpc_flight **flights; /* by the low 16 bits of their correlation */
    uint32_t flight_count;
    struct list flights_free;
    uint64_t generation; /* of the last correlation */
    uint64_t active;     /* calls not finished */
    struct timer sweep;
    bool sweeping; /* the timer is set */

    /* serving */
    rpc_handler handlers[RPC_OPERATION_MAX];
    struct list served_free;
    struct list local; /* requests of this party to itself being served */
    uint64_t serving;  /* served objects in use */
    uint64_t serving_peak;
    uint64_t served_count; /* served objects made */
    uint64_t remembering;  /* sessions that have a ring of remembered replies */
    uint8_t secret[CLUSTER_KEY_BYTES];
    struct rpc_session **sessions; /* by slot; NULL: free */
    uint32_t session_slots;
    uint32_t session_generation;
    struct net_listener *listener;
    struct list arrivals; /* handshakes under way */
    uint32_t half_open;
    struct list reaping; /* sessions whose stream and connection are to be closed */
    bool reaper;         /* the task that does it exists */
    struct list lost;    /* resumable sessions, by expiry */
    struct list ending;  /* ended sessions with handlers still running */
    struct timer grace;
    struct map instances; /* by number: struct rpc_instance */
    struct map serials;   /* the same by serial */
    uint32_t serial;      /* the last one given */
    struct list silent;   /* instances without a connection, by the time at which that is told */
    struct timer silence;
    struct timer death;   /* looks whether processes of silent instances have ended */
    uint64_t death_pause; /* until its next look */
    void (*instance_event)(void *owner, uint64_t instance, enum rpc_instance_event event);
    void (*notice)(void *owner, uint32_t serial, uint64_t notice);
    uint64_t slow_since;     /* loop_now: when the second began in which slow requests are counted */
    uint32_t slow_logged;    /* in it */
    uint64_t slow_unlogged;  /* since the last one that was logged */
    struct completion quiet; /* awaited by rpc_destroy */
};

/* A request on the wire and the call that it belongs to. */
struct rpc_flight {
    struct list link;     /* in peer->flights, in order of start, or in rpc->flights_free */
    struct list mutation; /* in peer->mutations */
    struct rpc_peer *peer;
    struct rpc_call *call; /* NULL: only the transport still holds the flight */
    const struct operation *operation;
    uint64_t correlation; /* 0: free */
    uint64_t mutation_number;
    uint64_t resend_at;
    uint64_t resend_after;
    uint64_t bulk_length;
    uint16_t index;
    bool sending;      /* `sent` will fire */
    bool landing;      /* `landed` will fire */
    bool settled;      /* the call's result is known */
    uint8_t refetches; /* how often it was sent again because the server could not fetch its bulk */
    int result;
    struct completion sent;
    struct completion landed;
    struct net_message message; /* the reply, while landing */
    struct iovec *into;         /* allocated, while landing */
    uint32_t length;
    uint16_t notices; /* so many are the end of the message */
    /* The message: header and body if the transport had no place of its own for them or they were sent again,
     * else only its notices are here. */
    uint8_t bytes[RPC_MESSAGE_MAX];
};

struct rpc_peer {
    struct list link; /* in rpc->peers */
    struct rpc *rpc;
    char address[64];
    bool self;
    bool up; /* connection, stream and session are good */
    bool closing;
    uint32_t credits;
    uint32_t held;           /* completions of its flights that the transport will fire */
    struct completion quiet; /* fires when held becomes 0, if wanted */
    bool quiet_wanted;
    struct net_connection *connection;
    struct net_stream *stream;
    bool has_session;
    uint32_t session;
    uint64_t token;
    struct rpc_told told; /* to the connection's other end */
    struct list
        queue; /* calls that wait for the connection or for credits; of a self peer: calls being served */
    struct list flights;
    struct list mutations;
    uint64_t mutation_count;
    struct list waiters; /* rpc_peer_connect */
    uint32_t wire_ns;    /* the least that a request that met an idle server was under way; 0: none did */
    uint32_t notice_count;
    uint64_t notices[RPC_NOTICES_MAX]; /* to go along with the next request that may take them */
    struct task *task;                 /* reconnecting */
    struct completion task_ended;
};

/* A reply to a request that must not be applied twice. */
struct rpc_remembered {
    uint64_t correlation;
    uint32_t length;
    uint8_t bytes[RPC_REMEMBERED_BYTES];
};

/* A set of groups that requests of a session refer to. */
struct rpc_groups {
    uint32_t count;
    uint32_t groups[]; /* ascending */
};

/* The sessions of one process of clients. */
struct rpc_instance {
    struct list link; /* in rpc->silent */
    uint64_t number;
    uint32_t serial;
    uint64_t told_at;   /* while silent */
    uint32_t sessions;  /* in the table */
    uint32_t connected; /* of which have a connection */
    uint32_t process;   /* on this host; 0: not known */
    bool parted;        /* a stream of it ended as when its process ends, and nothing came since */
    bool lingers;       /* rpc_instance_linger */
};

struct rpc_session {
    struct rpc *rpc;
    struct rpc_instance *instance; /* NULL: none */
    uint32_t slot;
    uint32_t server; /* the peer's server id */
    uint32_t uid;
    uint64_t token;
    uint64_t known_token; /* with which it was resumed: the welcome that tells the new one may be lost */
    bool peer_is_server;
    bool ended;     /* no request is accepted any more */
    bool connected; /* counted in its instance */
    bool reaping;
    struct net_connection *connection; /* NULL: lost */
    struct net_stream *stream;
    struct list executing; /* struct rpc_served */
    uint32_t executing_count;
    struct list link; /* in rpc->reaping, rpc->lost or rpc->ending */
    uint64_t expires;
    struct rpc_groups **groups; /* RPC_GROUP_SETS of them, made on first use */
    uint64_t forgotten;         /* highest correlation generation whose reply was remembered and dropped */
    struct rpc_remembered *remembered; /* ring of RPC_REMEMBERED, made on first use */
    uint32_t remembered_count;         /* ever remembered */
    struct metrics_session *load;      /* where its requests are counted; NULL: nowhere */
    char peer[64];
};

/* A request being served. */
struct rpc_served {
    struct rpc_request request; /* first: handlers hold a pointer to it */
    struct list link;           /* in session->executing, rpc->local or rpc->served_free */
    const struct operation *operation;
    struct task *task;
    struct rpc_call *local; /* the caller is this very party; NULL also when it gave up */
    bool is_local;
    uint32_t queue_ns;            /* waited at most so long, while others were served */
    struct net_message *arriving; /* inside the receive callback */
    struct net_message message;   /* afterwards, while held */
    bool nested;                  /* the receive callback has not returned */
    bool finished;                /* the handler has returned */
    bool received;                /* the bulk was asked for */
    bool unfetched;               /* and could not be fetched, so nothing was applied */
    bool replied;
    bool sending;
    uint64_t handler_started;
    struct completion sent;
    alignas(8) uint8_t before[RPC_SHORTER]; /* of a header that was short: the beginning of the full one */
    uint8_t bytes[RPC_MESSAGE_MAX];
    uint8_t reply[RPC_MESSAGE_MAX];
};

static inline uint64_t iovec_bytes(const struct iovec *vector, uint32_t count)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++)
        bytes += vector[i].iov_len;
    return bytes;
}

/* Awaits until fired, whatever cancels the task meanwhile: for completions whose memory the transport holds.
 * A simulated loop says -EDEADLK when that cannot happen any more. */
static inline int await_fired(struct loop *loop, struct completion *completion)
{
    int status = 0;
    while (!completion->fired && status != -EDEADLK)
        status = await(loop, completion);
    return completion->fired ? completion->status : status;
}

/* rpc.c */
/* Wakes rpc_destroy when nothing of the serving side is under way any more. */
void rpc_check_quiet(struct rpc *rpc);

static inline enum metrics_transfer transfer_of(const struct rpc *rpc, uint64_t bytes)
{
    return bytes == 0                           ? METRICS_NO_BULK
           : bytes >= rpc->rendezvous_threshold ? METRICS_RENDEZVOUS
                                                : METRICS_EAGER;
}

/* call.c */
void call_receive_reply(struct rpc *rpc, struct net_message *message);
/* Ends a call that has no flight (any more). */
void call_finish(struct rpc_call *call, int status, uint64_t now);
/* Sends queued calls as far as credits go. */
void call_drain(struct rpc_peer *peer, uint64_t now);
/* After a new connection: sends again what may be sent again, fails the rest. */
void call_resend(struct rpc_peer *peer, bool resumed);
/* Fails all calls of a peer. Those whose memory the transport holds finish when it lets go. */
void call_fail_all(struct rpc_peer *peer, int status);
void call_sweep(struct timer *timer);
void call_free_flights(struct rpc *rpc);

/* peer.c */
/* Gives up the connection, if there is one, and connects anew if anybody waits for it. */
void peer_recover(struct rpc_peer *peer);
void peer_release_held(struct rpc_peer *peer);

/* session.c */
/* Ends a session for good, now. Its stream and connection are closed by a task soon after. */
void session_end(struct rpc_session *session);
/* Gives up the session's stream and connection, soon; it can be resumed within its grace. */
void session_lose(struct rpc_session *session);
/* Frees a session that is over and reaped, for its last request has finished. */
void session_last_finished(struct rpc_session *session);
/* One request of the session has finished. */
static inline void session_request_finished(struct rpc_session *session)
{
    if (__builtin_expect(--session->executing_count == 0 && session->ended && !session->reaping, 0))
        session_last_finished(session);
}
/* Remembers a reply, which the caller writes where this says. NULL: it cannot be remembered. */
void *session_remember(struct rpc_session *session, uint64_t correlation, uint32_t length);
/* Returns the remembered reply or NULL. */
const struct rpc_remembered *session_recall(const struct rpc_session *session, uint64_t correlation);
/* Whether replies this young were remembered and dropped, so that this one may have been among them. */
bool session_forgot(const struct rpc_session *session, uint64_t correlation);
/* handshake_admit, with the party as owner. */
int session_admit(void *owner, const struct handshake_hello *hello, struct handshake_welcome *welcome);
void session_grace_over(struct timer *timer);
void instance_silence_over(struct timer *timer);
void instance_death_look(struct timer *timer);
void session_cancel_all(struct rpc *rpc);
void session_free_all(struct rpc *rpc);

/* groups.c */
void session_free_groups(struct rpc_session *session);

/* serve.c */
/* Makes a short header a full one. Returns whether there was a full one before. */
bool serve_expand(struct net_message *message);
void serve_receive_request(struct rpc *rpc, struct net_message *message);
/* Serves a call of this party to itself. */
void serve_local(struct rpc *rpc, struct rpc_call *call, const struct operation *operation);
void serve_free_all(struct rpc *rpc);

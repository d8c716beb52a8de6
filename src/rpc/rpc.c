/* A party: creation, destruction, and telling requests from replies.
 *
 * Everything that a party knows hangs off its struct rpc and belongs to one loop, so that a program may have
 * any number of parties, one per thread or, in the simulator, all in one.
 *
 * Destruction is the delicate part, because tasks are in the middle of things. First everything that would
 * wait is made to fail: calls under way with -ECANCELED, and no new ones start; then handshakes and handlers
 * are cancelled and awaited, while streams and connections close so that nothing hangs in the transport; only
 * then is memory freed. */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "rpc/party.h"

#define CACHE_LINE 64u
#define EARLY_BULK 4096u

static void drop(void *owner, struct net_message *message)
{
    (void)owner;
    (void)message;
}

/* The message lies in cache lines that the sender's core has just written: they come over while the checks
 * are made. Of long bulk only the first part is asked for; the copy that follows fetches the rest. */
static inline void fetch_early(const struct net_message *message)
{
    const char *header = message->header;
    if (!message->net->copies_headers) {
        for (uint32_t at = CACHE_LINE; at < message->header_length; at += CACHE_LINE)
            __builtin_prefetch(header + at);
        __builtin_prefetch(header + message->header_length - 1);
    }
    if (!message->bulk_here)
        return;
    const char *bulk = message->bulk;
    for (uint64_t at = 0; at < message->bulk_length && at < EARLY_BULK; at += CACHE_LINE)
        __builtin_prefetch(bulk + at);
}

static void receive(void *owner, struct net_message *message)
{
    struct rpc *rpc = owner;
    bool brief = message->header_length >= sizeof(struct rpc_short_header) &&
                 *(const uint8_t *)message->header == RPC_SHORT_VERSION;
    if ((brief && !serve_expand(message)) || message->header_length < sizeof(struct rpc_request_header)) {
        rpc->counters.rejected++;
        return;
    }
    const struct rpc_request_header *header = message->header;
    fetch_early(message);
    static_assert(offsetof(struct rpc_request_header, operation) ==
                      offsetof(struct rpc_reply_header, operation),
                  "requests and replies are told apart before anything else is known");
    if (header->operation >= RPC_REPLY_OFFSET)
        call_receive_reply(rpc, message);
    else
        serve_receive_request(rpc, message);
}

static void forget_postscripts(void *owner)
{
    const struct rpc *rpc = owner;
    metrics_fold_untold(rpc->metrics);
}

int rpc_create(struct net *net, const struct rpc_options *options, struct rpc **rpc)
{
    if (sodium_init() < 0)
        return -ENOSYS;
    struct rpc *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->net = net;
    made->loop = net->loop;
    made->metrics = loop_metrics(net->loop);
    made->owner = options->owner;
    memcpy(made->key, options->cluster_key, sizeof(made->key));
    made->deadline_ns = options->deadline_ns != 0 ? options->deadline_ns : RPC_DEADLINE_DEFAULT;
    made->rendezvous_threshold =
        options->rendezvous_threshold != 0 ? options->rendezvous_threshold : RPC_RENDEZVOUS_DEFAULT;
    made->server_id = options->server_id;
    list_init(&made->peers);
    list_init(&made->flights_free);
    list_init(&made->served_free);
    list_init(&made->local);
    list_init(&made->arrivals);
    list_init(&made->reaping);
    list_init(&made->lost);
    list_init(&made->ending);
    made->sweep.fire = call_sweep;
    made->grace.fire = session_grace_over;
    list_init(&made->silent);
    map_init(&made->instances);
    map_init(&made->serials);
    made->silence.fire = instance_silence_over;
    made->death.fire = instance_death_look;
    made->instance = options->instance;
    made->instance_event = options->instance_event;
    made->notice = options->notice;
    handshake_random(made->loop, made->secret, sizeof(made->secret));
    /* Correlations begin anywhere, so that nobody who cannot read them can forge a reply. */
    handshake_random(made->loop, &made->generation, sizeof(made->generation));
    made->generation &= UINT64_C(0x3fffffffffff);
    net->owner = made;
    net->receiver = receive;
    net->forget = forget_postscripts;
    *rpc = made;
    return 0;
}

static bool is_quiet(const struct rpc *rpc)
{
    return rpc->serving == 0 && rpc->half_open == 0 && !rpc->reaper;
}

void rpc_check_quiet(struct rpc *rpc)
{
    if (rpc->closing && !rpc->quiet.fired && is_quiet(rpc))
        completion_fire(&rpc->quiet, 0);
}

static void cancel_handlers(struct list *handlers)
{
    list_for_each (node, handlers)
        task_cancel(container_of(node, struct rpc_served, link)->task);
}

void rpc_destroy(struct rpc *rpc)
{
    rpc->closing = true;
    if (rpc->listener != NULL) {
        rpc->listener->close(rpc->listener);
        /* Tasks of streams that were accepted but have not begun: they find the party closing. */
        while (task_yield(rpc->loop) != 0)
            continue;
    }
    list_for_each (node, &rpc->peers)
        call_fail_all(container_of(node, struct rpc_peer, link), -ECANCELED);
    for (uint32_t slot = 0; slot < rpc->session_slots; slot++) {
        if (rpc->sessions[slot] != NULL)
            cancel_handlers(&rpc->sessions[slot]->executing);
    }
    list_for_each (node, &rpc->reaping)
        cancel_handlers(&container_of(node, struct rpc_session, link)->executing);
    list_for_each (node, &rpc->ending)
        cancel_handlers(&container_of(node, struct rpc_session, link)->executing);
    cancel_handlers(&rpc->local);
    session_cancel_all(rpc);
    if (!is_quiet(rpc))
        await_fired(rpc->loop, &rpc->quiet);
    while (!list_empty(&rpc->peers))
        rpc_peer_destroy(container_of(rpc->peers.next, struct rpc_peer, link));
    session_free_all(rpc);
    timer_clear(rpc->loop, &rpc->sweep);
    rpc->net->receiver = drop;
    rpc->net->forget = NULL;
    forget_postscripts(rpc);
    serve_free_all(rpc);
    call_free_flights(rpc);
    sodium_memzero(rpc->key, sizeof(rpc->key));
    free(rpc);
}

void rpc_register(struct rpc *rpc, unsigned operation, rpc_handler handler)
{
    assert(operation < RPC_OPERATION_MAX);
    rpc->handlers[operation] = handler;
}

void rpc_set_epochs(struct rpc *rpc, uint32_t map_epoch, uint32_t namespace_epoch)
{
    rpc->map_epoch = map_epoch;
    rpc->namespace_epoch = namespace_epoch;
}

struct loop *rpc_loop(struct rpc *rpc)
{
    return rpc->loop;
}

struct net *rpc_net(struct rpc *rpc)
{
    return rpc->net;
}

/* Sessions' sets of groups and what lies in the transport are not counted. */
static uint64_t rpc_memory(const struct rpc *rpc)
{
    return sizeof(*rpc) + rpc->flight_count * (sizeof(struct rpc_flight) + sizeof(struct rpc_flight *)) +
           rpc->served_count * sizeof(struct rpc_served) + rpc->session_slots * sizeof(struct rpc_session *) +
           rpc->counters.sessions * sizeof(struct rpc_session) +
           rpc->remembering * RPC_REMEMBERED * sizeof(struct rpc_remembered);
}

void rpc_refresh_metrics(const struct rpc *rpc)
{
    const struct rpc_counters *counters = &rpc->counters;
    metrics_set(rpc->metrics, METRIC_RESENT, counters->resent);
    metrics_set(rpc->metrics, METRIC_REJECTED, counters->rejected);
    metrics_set(rpc->metrics, METRIC_EXPIRED, counters->expired);
    metrics_set(rpc->metrics, METRIC_REPLAYED, counters->replayed);
    metrics_set(rpc->metrics, METRIC_SESSIONS, counters->sessions);
    metrics_set(rpc->metrics, METRIC_SERVING, rpc->serving);
    metrics_set(rpc->metrics, METRIC_SERVING_PEAK, rpc->serving_peak);
    metrics_set(rpc->metrics, METRIC_RPC_MEMORY, rpc_memory(rpc));
}

uint64_t rpc_generation(const struct rpc *rpc)
{
    return rpc->generation;
}

void rpc_counters(const struct rpc *rpc, struct rpc_counters *counters)
{
    *counters = rpc->counters;
}

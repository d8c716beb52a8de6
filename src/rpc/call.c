/* Calls: from rpc_start to the reply.
 *
 * A call on the wire has a flight: what makes its request, kept until the reply, and whatever the transport
 * may still write to or read from. Flights are pooled. A flight's index is the low 16 bits of its
 * correlation, so finding the call of a reply is an array index and one comparison; the upper 48 bits count
 * up with every call, so a late or repeated reply matches nothing and is dropped.
 *
 * The fast path - connected, credits left, nobody queued - writes header and body where the transport wants
 * them, or into the flight: no allocation, no suspension, and the clock is read only afterwards, while
 * the request is under way. Should it have to be sent again, it is written anew from the call, which is there
 * until it has finished. Otherwise the call joins the peer's queue, which is strictly first come, first
 * served.
 *
 * Three things bound what may be under way per peer. Credits (RPC_CREDITS) bound the replies that can pile up
 * in a shared-memory queue. The mutation window allows at most RPC_CREDITS mutating calls to be started since
 * the oldest one that is unfinished; with as many in flight before it, at most 2 * RPC_CREDITS =
 * RPC_REMEMBERED replies can have been remembered since the server remembered that one's, so a repetition
 * always finds its reply. And one timer, set only while calls are unfinished, enforces deadlines and repeats
 * what a lossy transport may have lost.
 *
 * Nothing of a call may be referenced after it finished. The transport sees its body in a copy, so that never
 * delays it. Bulk is the caller's: a call with bulk finishes only when the transport has let go of it, and
 * one that is out of time forces that by giving up the connection. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "rpc/party.h"

#define FLIGHT_INDEX_BITS RPC_GENERATION_SHIFT
#define FLIGHTS_MAX (1u << FLIGHT_INDEX_BITS)
#define FLIGHTS_PER_BLOCK 16u

static_assert(2 * RPC_CREDITS <= RPC_REMEMBERED, "the mutation window");

/* ---- the pool of flights ---- */

static void flight_sent(struct completion *completion);
static void flight_landed(struct completion *completion);

static int flights_grow(struct rpc *rpc)
{
    uint32_t count = rpc->flight_count + FLIGHTS_PER_BLOCK;
    if (count > FLIGHTS_MAX)
        return -ENOBUFS;
    struct rpc_flight **table = realloc(rpc->flights, count * sizeof(rpc->flights[0]));
    if (table == NULL)
        return -ENOMEM;
    rpc->flights = table;
    while (rpc->flight_count < count) {
        struct rpc_flight *flight = calloc(1, sizeof(*flight));
        if (flight == NULL)
            return list_empty(&rpc->flights_free) ? -ENOMEM : 0;
        flight->index = (uint16_t)rpc->flight_count;
        flight->sent.notify = flight_sent;
        flight->landed.notify = flight_landed;
        list_init(&flight->mutation);
        list_push_back(&rpc->flights_free, &flight->link);
        rpc->flights[rpc->flight_count++] = flight;
    }
    return 0;
}

void call_free_flights(struct rpc *rpc)
{
    for (uint32_t i = 0; i < rpc->flight_count; i++)
        free(rpc->flights[i]);
    free(rpc->flights);
}

static struct rpc_flight *flight_take(struct rpc *rpc)
{
    if (list_empty(&rpc->flights_free) && flights_grow(rpc) != 0)
        return NULL;
    return container_of(list_pop_front(&rpc->flights_free), struct rpc_flight, link);
}

static void flight_free(struct rpc_flight *flight)
{
    flight->correlation = 0;
    list_remove(&flight->link);
    list_push_front(&flight->peer->rpc->flights_free, &flight->link);
}

/* ---- finishing ---- */

/* What is known of its trace entry as soon as it is sent: while the server has it there is time. */
static void call_describe(struct rpc_call *call, const struct operation *operation, uint64_t sent)
{
    call->subject = operation_subject(operation, call->body);
    call->sent = sent;
    call->described = true;
}

/* A call that was never sent. Returns false if it could not have been. */
static __attribute__((noinline)) bool call_describe_late(struct rpc_call *call)
{
    const struct operation *operation = operation_find(call->operation);
    if (operation == NULL || call->body_length < operation->request_size)
        return false;
    call_describe(call, operation, call->send_count == 0 ? 0 : iovec_bytes(call->send, call->send_count));
    return true;
}

/* total: as a value, because what was stored a moment ago cannot be loaded together with its neighbours
 * without waiting for the store. */
static void call_record(struct rpc_call *call, int status, uint64_t total)
{
    struct rpc *rpc = call->peer->rpc;
    if (metrics_paused(rpc->metrics) || (__builtin_expect(!call->described, 0) && !call_describe_late(call)))
        return;
    uint64_t bytes = call->sent + call->received;
    struct metrics_entry *entry = metrics_begin(rpc->metrics);
    METRICS_PUT(entry, started, call->timing.started);
    METRICS_PUT(entry, correlation, call->correlation);
    METRICS_PUT(entry, subject, call->subject);
    METRICS_PUT(entry, total_ns, metrics_clip(total));
    METRICS_PUT(entry, client_queue_ns, call->timing.client_queue_ns);
    METRICS_PUT(entry, server_queue_ns, call->timing.queue_ns);
    METRICS_PUT(entry, handler_ns, call->timing.handler_ns);
    METRICS_PUT(entry, storage_ns, call->timing.storage_ns);
    METRICS_PUT(entry, reply_ns, 0);
    METRICS_PUT(entry, bytes, metrics_clip(bytes));
    METRICS_PUT(entry, operation, (uint8_t)call->operation);
    METRICS_PUT(entry, status, (int16_t)status);
    METRICS_PUT(entry, about, METRICS_ABOUT(METRICS_CALL, transfer_of(rpc, bytes)));
    metrics_handler_later(rpc->metrics, call->postscript);
    metrics_commit(rpc->metrics, entry);
}

void call_finish(struct rpc_call *call, int status, uint64_t now)
{
    struct rpc *rpc = call->peer->rpc;
    uint64_t total = now - call->timing.started;
    rpc->active--;
    call_record(call, status, total);
    call->timing.total_ns = total;
    completion_fire(&call->done, status);
}

/* Tells the way from the server's queue. The server knows for how long it did not look, but not at which
 * moment of that time the request came. That is settled here: the way takes at least what it took one of 16
 * requests that met an idle server, as TCP Vegas tells queues from distance (L. Brakmo and L. Peterson, IEEE
 * JSAC 13 (8), 1995). What failed here had no handler, and is not looked at. */
static __attribute__((noinline)) void part_queue(struct rpc_peer *peer, struct rpc_timing *timing,
                                                 uint64_t now)
{
    if (timing->handler_ns == METRICS_UNTOLD)
        return;
    uint64_t known = timing->started + timing->client_queue_ns + timing->handler_ns + timing->storage_ns;
    uint32_t way = now > known ? metrics_clip(now - known) : 0;
    if (timing->queue_ns == 0) {
        if (timing->handler_ns != 0 && (way < peer->wire_ns || peer->wire_ns == 0))
            peer->wire_ns = way;
    } else {
        uint32_t rest = way > peer->wire_ns ? way - peer->wire_ns : 0;
        if (timing->queue_ns > rest)
            timing->queue_ns = rest;
    }
}

/* The result is known and the transport holds nothing of the caller's. */
static void flight_finish(struct rpc_flight *flight, uint64_t now)
{
    struct rpc_peer *peer = flight->peer;
    struct rpc_call *call = flight->call;
    int result = flight->result;
    flight->call = NULL;
    call->flight = NULL;
    list_remove(&flight->mutation);
    peer->credits++;
    if (__builtin_expect(call->timing.queue_ns != 0 || (flight->correlation & RPC_SAMPLE) == 0, 0))
        part_queue(peer, &call->timing, now);
    if (flight->sending)
        flight->correlation = 0; /* no reply matches; flight_sent frees it */
    else
        flight_free(flight);
    call_finish(call, result, now);
    if (!list_empty(&peer->queue))
        call_drain(peer, now);
}

static void flight_settle(struct rpc_flight *flight, int result, uint64_t now)
{
    flight->settled = true;
    flight->result = result;
    if (flight->landing || (flight->sending && flight->bulk_length > 0)) {
        flight->call->postscript = NULL; /* its memory may go meanwhile */
        return;
    }
    flight_finish(flight, now);
}

/* ---- sending ---- */

static bool may_fly(const struct rpc_peer *peer, const struct operation *operation)
{
    if (!peer->up || peer->credits == 0)
        return false;
    if ((operation->flags & RPC_MUTATES) == 0 || list_empty(&peer->mutations))
        return true;
    const struct rpc_flight *oldest = container_of(peer->mutations.next, struct rpc_flight, mutation);
    return peer->mutation_count - oldest->mutation_number < RPC_CREDITS;
}

/* A call that waited for a credit or a connection may be out of time before the timer has ended it. */
static uint64_t time_left(const struct rpc_call *call, uint64_t now)
{
    return call->deadline > now ? call->deadline - now : 0;
}

/* How many of the peer's notices go along: as many as fit behind the body. A request with bulk takes none: it
 * may be executed a second time, should the bulk get lost. */
static inline uint32_t notices_taken(const struct rpc_peer *peer, const struct rpc_call *call,
                                     const struct operation *operation)
{
    if (peer->notice_count == 0 || (operation->flags & RPC_MUTATES) == 0 || call->send_count != 0)
        return 0;
    uint32_t room = (RPC_BODY_MAX - call->body_length) / (uint32_t)sizeof(uint64_t);
    return peer->notice_count < room ? peer->notice_count : room;
}

/* Writes header and body of the message, to be answered within so many microseconds. Its notices follow. */
static inline __attribute__((always_inline)) void flight_write(const struct rpc_flight *flight, void *to,
                                                               uint32_t deadline_us)
{
    struct rpc_peer *peer = flight->peer;
    const struct rpc_call *call = flight->call;
    struct rpc_request_header *header = to;
    header->version = RPC_PROTOCOL_VERSION;
    header->flags = (uint8_t)(call->groups << RPC_HEADER_GROUPS_SHIFT);
    header->operation = call->operation;
    header->session = peer->session;
    header->token = peer->token;
    header->correlation = flight->correlation;
    header->map_epoch = peer->rpc->map_epoch;
    header->namespace_epoch = call->namespace_epoch;
    header->deadline_us = deadline_us;
    header->body_length = (uint16_t)call->body_length;
    header->notices = flight->notices;
    if (call->body_length > 0)
        memcpy(header + 1, call->body, call->body_length);
    peer->told.token = peer->token;
    peer->told.session = peer->session;
    peer->told.map_epoch = peer->rpc->map_epoch;
    peer->told.namespace_epoch = call->namespace_epoch;
    peer->told.valid = peer->connection->net->copies_headers;
}

/* Whether a short header says it all. */
static inline bool may_be_short(const struct rpc_peer *peer, const struct rpc_call *call, uint32_t notices)
{
    const struct rpc_told *told = &peer->told;
    return told->valid && notices == 0 && told->namespace_epoch == call->namespace_epoch &&
           told->map_epoch == peer->rpc->map_epoch;
}

/* The same in short. */
static inline __attribute__((always_inline)) void flight_write_short(const struct rpc_flight *flight,
                                                                     void *to, uint32_t deadline_us)
{
    const struct rpc_call *call = flight->call;
    struct rpc_short_header *header = to;
    header->version = RPC_SHORT_VERSION;
    header->flags = (uint8_t)(call->groups << RPC_HEADER_GROUPS_SHIFT);
    header->operation = call->operation;
    header->deadline_us = deadline_us;
    header->correlation = flight->correlation;
    if (call->body_length > 0)
        memcpy(header + 1, call->body, call->body_length);
}

/* Moves the flight's notices from the peer to the end of the kept message, and of the one in room if that is
 * not NULL. */
static __attribute__((noinline)) void flight_take_notices(struct rpc_flight *flight, uint8_t *room)
{
    struct rpc_peer *peer = flight->peer;
    size_t length = flight->notices * sizeof(uint64_t);
    peer->notice_count -= flight->notices;
    memcpy(flight->bytes + flight->length - length, peer->notices + peer->notice_count, length);
    if (room != NULL)
        memcpy(room + flight->length - length, peer->notices + peer->notice_count, length);
}

/* So much time as a header says it. */
static inline uint32_t deadline_told(uint64_t left)
{
    left /= NSEC_PER_USEC;
    return left < UINT32_MAX ? (uint32_t)left : UINT32_MAX;
}

/* Hands the message in the flight to the transport. Returns what net_send says. */
static int flight_post(struct rpc_flight *flight)
{
    const struct rpc_peer *peer = flight->peer;
    const struct rpc_call *call = flight->call;
    unsigned flags = flight->bulk_length >= peer->rpc->rendezvous_threshold ? NET_SEND_RENDEZVOUS : 0;
    return net_send(peer->connection, flight->bytes, flight->length, call->send, call->send_count, flags,
                    &flight->sent);
}

static void flight_posted(struct rpc_flight *flight, int status, uint64_t now)
{
    struct rpc_peer *peer = flight->peer;
    if (__builtin_expect(status == 0, 1))
        return;
    if (status != -EINPROGRESS)
        peer->told.valid = false; /* it did not get there */
    if (status == -EINPROGRESS) {
        flight->sending = true;
        peer->held++;
    } else if (status == -ENOMEM || status == -EINVAL || status == -EMSGSIZE) {
        flight_settle(flight, status, now);
    } else {
        peer_recover(peer);
    }
}

static void sweep_set(struct rpc *rpc, uint64_t now)
{
    if (rpc->sweeping)
        return;
    rpc->sweeping = true;
    timer_set(rpc->loop, &rpc->sweep, now + RPC_SWEEP_INTERVAL);
}

/* Sends the request: made in a place of the transport's, if there is one, else in the flight. Returns what
 * net_send says. */
static inline int flight_send(struct rpc_flight *flight, uint64_t left)
{
    struct rpc_peer *peer = flight->peer;
    const struct rpc_call *call = flight->call;
    uint32_t notices = notices_taken(peer, call, flight->operation);
    bool brief = may_be_short(peer, call, notices);
    flight->notices = (uint16_t)notices;
    flight->length = (uint32_t)(brief ? sizeof(struct rpc_short_header) : sizeof(struct rpc_request_header)) +
                     call->body_length + notices * (uint32_t)sizeof(uint64_t);
    void *room = flight->bulk_length == 0 ? net_room(peer->connection, flight->length) : NULL;
    void *to = room != NULL ? room : flight->bytes;
    if (brief)
        flight_write_short(flight, to, deadline_told(left));
    else
        flight_write(flight, to, deadline_told(left));
    if (notices > 0)
        flight_take_notices(flight, room);
    if (__builtin_expect(room == NULL, 0))
        return flight_post(flight);
    net_post(peer->connection, flight->length);
    return 0;
}

/* now: 0 if the call starts at this moment and has no deadline of its own, so that nothing before the send
 * depends on the time. */
static void flight_start(struct rpc_peer *peer, struct rpc_call *call, const struct operation *operation,
                         uint64_t now)
{
    struct rpc *rpc = peer->rpc;
    struct rpc_flight *flight = flight_take(rpc);
    if (flight == NULL) {
        call_finish(call, -ENOMEM, call->timing.started);
        return;
    }
    flight->peer = peer;
    flight->call = call;
    flight->operation = operation;
    flight->correlation = ++rpc->generation << FLIGHT_INDEX_BITS | flight->index;
    flight->bulk_length = call->send_count == 0 ? 0 : iovec_bytes(call->send, call->send_count);
    int status = flight_send(flight, now == 0 ? rpc->deadline_ns : time_left(call, now));
    if (now == 0) {
        now = loop_now(rpc->loop);
        call->timing.started = now;
        call->deadline = now + rpc->deadline_ns;
    }
    call->timing.client_queue_ns = (uint32_t)(now - call->timing.started);
    call->flight = flight;
    call->correlation = flight->correlation;
    flight->settled = false;
    flight->refetches = 0;
    flight->resend_after = RPC_RESEND_INTERVAL;
    flight->resend_at = now + RPC_RESEND_INTERVAL;
    peer->credits--;
    list_push_back(&peer->flights, &flight->link);
    if ((operation->flags & RPC_MUTATES) != 0) {
        flight->mutation_number = peer->mutation_count++;
        list_push_back(&peer->mutations, &flight->mutation);
    }
    if (!metrics_paused(rpc->metrics))
        call_describe(call, operation, flight->bulk_length);
    sweep_set(rpc, now);
    flight_posted(flight, status, now);
}

void call_drain(struct rpc_peer *peer, uint64_t now)
{
    while (!list_empty(&peer->queue)) {
        struct rpc_call *call = container_of(peer->queue.next, struct rpc_call, link);
        const struct operation *operation = operation_find(call->operation);
        if (!may_fly(peer, operation))
            return;
        list_remove(&call->link);
        flight_start(peer, call, operation, now);
    }
}

/* Sends once more what may have been lost or applied before, in what may be another session. */
static void flight_send_again(struct rpc_flight *flight, uint64_t now)
{
    flight_write(flight, flight->bytes, deadline_told(time_left(flight->call, now)));
    flight->length = (uint32_t)sizeof(struct rpc_request_header) + flight->call->body_length +
                     flight->notices * (uint32_t)sizeof(uint64_t);
    ((struct rpc_request_header *)flight->bytes)->flags |= RPC_HEADER_RETRY;
    flight->resend_at = now + flight->resend_after;
    flight->peer->rpc->counters.resent++;
    flight_posted(flight, flight_post(flight), now);
}

void call_resend(struct rpc_peer *peer, bool resumed)
{
    uint64_t now = loop_now(peer->rpc->loop);
    list_for_each_safe (node, &peer->flights) {
        struct rpc_flight *flight = container_of(node, struct rpc_flight, link);
        if (!peer->up)
            return;
        if (flight->call == NULL || flight->sending || flight->landing)
            continue;
        if (!resumed && (flight->operation->flags & RPC_MUTATES) != 0)
            flight_settle(flight, -EHOSTDOWN, now); /* nobody knows whether it was applied */
        else
            flight_send_again(flight, now);
    }
    call_drain(peer, now);
}

/* ---- starting and finishing, as the caller sees it ---- */

void rpc_start(struct rpc_peer *peer, struct rpc_call *call)
{
    struct rpc *rpc = peer->rpc;
    const struct operation *operation = operation_find(call->operation);
    call->loop = rpc->loop;
    call->peer = peer;
    rpc->active++;
    bool valid = operation != NULL && call->body_length <= RPC_BODY_MAX &&
                 operation_body_valid(operation, call->body, call->body_length);
    bool flies = valid && !rpc->closing && !peer->closing && !peer->self && list_empty(&peer->queue) &&
                 may_fly(peer, operation);
    if (__builtin_expect(flies && call->deadline == 0 && call->timing.started == 0, 1)) {
        flight_start(peer, call, operation, 0);
        return;
    }
    uint64_t now = call->timing.started != 0 ? call->timing.started : loop_now(rpc->loop);
    call->timing.started = now;
    if (call->deadline == 0)
        call->deadline = now + rpc->deadline_ns;
    if (!valid) {
        call_finish(call, -EINVAL, now);
    } else if (rpc->closing || peer->closing) {
        call_finish(call, -ECANCELED, now);
    } else if (call->deadline <= now) {
        call_finish(call, -ETIMEDOUT, now);
    } else if (peer->self) {
        sweep_set(rpc, now);
        list_push_back(&peer->queue, &call->link);
        serve_local(rpc, call, operation);
    } else if (flies) {
        flight_start(peer, call, operation, now);
    } else {
        metrics_add(rpc->metrics, METRIC_CREDIT_WAITS, 1);
        sweep_set(rpc, now);
        list_push_back(&peer->queue, &call->link);
        if (!peer->up)
            peer_recover(peer);
    }
}

/* Ends a call before its reply. It finishes now, or when the transport lets go of its memory. */
static void call_abandon(struct rpc_call *call, int status, uint64_t now)
{
    struct rpc_flight *flight = call->flight;
    if (flight != NULL) {
        struct rpc_peer *peer = flight->peer;
        if (!flight->settled)
            flight_settle(flight, status, now);
        if (call->flight != NULL)
            peer_recover(peer); /* still held */
        return;
    }
    if (call->served != NULL) {
        call->served->local = NULL;
        call->served = NULL;
    }
    list_remove(&call->link);
    call_finish(call, status, now);
}

int rpc_finish(struct rpc_call *call)
{
    if (!call->done.fired) {
        await(call->loop, &call->done);
        if (!call->done.fired) { /* this task was cancelled */
            call_abandon(call, -ECANCELED, loop_now(call->loop));
            await_fired(call->loop, &call->done);
        }
    }
    return call->done.status;
}

void call_fail_all(struct rpc_peer *peer, int status)
{
    uint64_t now = loop_now(peer->rpc->loop);
    list_for_each_safe (node, &peer->flights) {
        struct rpc_flight *flight = container_of(node, struct rpc_flight, link);
        if (flight->call != NULL && !flight->settled)
            flight_settle(flight, status, now);
    }
    /* Whoever is told may at once start a call that joins the queue: it is not part of what fails here. */
    struct list failed;
    list_init(&failed);
    for (struct list *node; (node = list_pop_front(&peer->queue)) != NULL;)
        list_push_back(&failed, node);
    while (!list_empty(&failed))
        call_abandon(container_of(failed.next, struct rpc_call, link), status, now);
}

/* ---- what the transport tells ---- */

static void flight_sent(struct completion *completion)
{
    struct rpc_flight *flight = container_of(completion, struct rpc_flight, sent);
    struct rpc_peer *peer = flight->peer;
    int status = completion->status;
    *completion = (struct completion){.notify = flight_sent};
    flight->sending = false;
    if (flight->call == NULL)
        flight_free(flight);
    else if (flight->settled && !flight->landing)
        flight_finish(flight, loop_now(peer->rpc->loop));
    else if (!flight->settled && status != 0 && peer->up)
        peer_recover(peer);
    peer_release_held(peer);
}

static void landing_end(struct rpc_flight *flight)
{
    free(flight->into);
    flight->into = NULL;
    flight->landing = false;
}

static void flight_landed(struct completion *completion)
{
    struct rpc_flight *flight = container_of(completion, struct rpc_flight, landed);
    struct rpc_peer *peer = flight->peer;
    int status = completion->status;
    *completion = (struct completion){.notify = flight_landed};
    net_release(&flight->message);
    landing_end(flight);
    uint64_t now = loop_now(peer->rpc->loop);
    if (flight->settled) {
        flight_settle(flight, flight->result, now); /* abandoned meanwhile */
    } else if (status == 0) {
        flight->call->received = flight->message.bulk_length;
        flight_settle(flight, 0, now);
    } else if (peer->up) {
        flight_settle(flight, status, now);
    } /* else the connection went: call_resend asks again */
    peer_release_held(peer);
}

/* ---- replies ---- */

/* The server says that the connection over which it was to fetch the bulk is gone: it has applied nothing.
 * Returns whether the request goes, or will go, out once more. */
static bool refetch(struct rpc_flight *flight, uint64_t now)
{
    if (flight->bulk_length == 0 || flight->refetches == RPC_REFETCHES_MAX)
        return false;
    if (!flight->peer->up)
        return true; /* call_resend does it */
    if (flight->sending)
        return false;
    flight->refetches++;
    flight_send_again(flight, now);
    return true;
}

/* The head of the receive space, `length` bytes of it: a transport is given exactly as much as arrives.
 * Returns NULL without memory. */
static struct iovec *space_head(const struct rpc_call *call, uint64_t length, uint32_t *count)
{
    struct iovec *into = malloc(call->receive_count * sizeof(*into));
    if (into == NULL)
        return NULL;
    uint32_t used = 0;
    for (; length > 0; used++) {
        into[used] = call->receive[used];
        if (into[used].iov_len > length)
            into[used].iov_len = (size_t)length;
        length -= into[used].iov_len;
    }
    *count = used;
    return into;
}

/* Lands the reply's bulk in the call's memory. Returns 0 (done), -EINPROGRESS (flight_landed follows) or
 * -errno. */
static int reply_land(struct rpc_flight *flight, struct net_message *message)
{
    struct rpc_call *call = flight->call;
    uint64_t space = call->receive_count == 0 ? 0 : iovec_bytes(call->receive, call->receive_count);
    if (message->bulk_length > space)
        return -EPROTO;
    const struct iovec *into = call->receive;
    uint32_t count = call->receive_count;
    struct iovec single;
    if (message->bulk_length < space) {
        if (message->bulk_here && call->receive_count == 1) {
            single = (struct iovec){.iov_base = into->iov_base, .iov_len = (size_t)message->bulk_length};
            into = &single;
        } else {
            flight->into = space_head(call, message->bulk_length, &count);
            if (flight->into == NULL)
                return -ENOMEM;
            into = flight->into;
        }
    }
    if (!message->bulk_here)
        net_hold(message);
    int status = net_receive(message, into, count, &flight->landed);
    if (status == -EINPROGRESS) {
        flight->message = *message;
        flight->landing = true;
        flight->peer->held++;
        return status;
    }
    if (!message->bulk_here)
        net_release(message);
    landing_end(flight);
    if (status == 0)
        call->received = message->bulk_length;
    return status;
}

/* Checks the reply against its call and takes over what it says. Returns its status or -EPROTO. */
static int reply_take(struct rpc_flight *flight, const struct net_message *message)
{
    struct rpc_call *call = flight->call;
    const struct rpc_reply_header *header = message->header;
    uint32_t length = message->header_length - (uint32_t)sizeof(*header);
    if (header->operation != call->operation + RPC_REPLY_OFFSET || header->body_length != length ||
        header->status > 0)
        return -EPROTO;
    if (length != call->reply_size && (header->status == 0 || length != 0))
        return -EPROTO;
    if (length > 0)
        memcpy(call->reply, header + 1, length);
    call->reply_namespace_epoch = header->namespace_epoch;
    call->reply_map_epoch = header->map_epoch;
    call->postscript = message->postscript;
    call->timing.queue_ns = header->queue_ns;
    call->timing.handler_ns = header->handler_ns;
    call->timing.storage_ns = header->storage_ns;
    return header->status;
}

void call_receive_reply(struct rpc *rpc, struct net_message *message)
{
    const struct rpc_reply_header *header = message->header;
    uint64_t correlation = header->correlation;
    uint32_t index = (uint32_t)(correlation & (FLIGHTS_MAX - 1));
    struct rpc_flight *flight = index < rpc->flight_count ? rpc->flights[index] : NULL;
    if (flight == NULL || flight->correlation != correlation || header->version != RPC_PROTOCOL_VERSION ||
        flight->call == NULL || flight->settled || flight->landing) {
        rpc->counters.rejected++;
        return;
    }
    /* Of a reply without bulk the clock is read first: while it is, the rest of the message is on its way. */
    bool bulk = message->bulk_length > 0;
    uint64_t now = bulk                           ? 0
                   : metrics_paused(rpc->metrics) ? flight->call->timing.started
                                                  : loop_now(rpc->loop);
    int status = reply_take(flight, message);
    if (status == 0 && bulk)
        status = reply_land(flight, message);
    else if (status == -ECONNRESET && refetch(flight, loop_now(rpc->loop)))
        return;
    if (status != -EINPROGRESS)
        flight_settle(flight, status, bulk ? loop_now(rpc->loop) : now);
}

/* ---- time ---- */

static void sweep_peer(struct rpc_peer *peer, uint64_t now)
{
    bool repeat = peer->up && !peer->rpc->net->reliable;
    list_for_each_safe (node, &peer->flights) {
        struct rpc_flight *flight = container_of(node, struct rpc_flight, link);
        if (flight->call == NULL)
            continue;
        if (now >= flight->call->deadline) {
            call_abandon(flight->call, -ETIMEDOUT, now);
        } else if (repeat && now >= flight->resend_at && !flight->sending && !flight->landing &&
                   !flight->settled) {
            flight->resend_after *= 2;
            flight_send_again(flight, now);
        }
    }
    list_for_each_safe (node, &peer->queue) {
        struct rpc_call *call = container_of(node, struct rpc_call, link);
        if (now >= call->deadline)
            call_abandon(call, -ETIMEDOUT, now);
    }
}

void call_sweep(struct timer *timer)
{
    struct rpc *rpc = container_of(timer, struct rpc, sweep);
    uint64_t now = loop_now(rpc->loop);
    rpc->sweeping = false;
    list_for_each_safe (node, &rpc->peers)
        sweep_peer(container_of(node, struct rpc_peer, link), now);
    if (rpc->active > 0)
        sweep_set(rpc, now);
}

/* Serving: from the receive callback to the reply.
 *
 * A request that arrives is checked completely - version, lengths, session and token, operation, names -
 * copied into a pooled object, because the transport's memory is only lent, and handed to its handler in a
 * task that starts at once, nested in the callback. A handler that does not suspend has replied when the
 * callback returns; that path allocates nothing. One that suspends goes on in its task, and the message's
 * bulk is held for it.
 *
 * What is wrong with a message decides who pays. Without a valid token nobody is known to have sent it: it is
 * dropped and counted. With one, a malformed message ends the session. A well-formed request that cannot be
 * served (no handler, not a server's to ask) is answered with an error.
 *
 * A party's calls to itself take the same way from the handler on; request and bulk are memory of this
 * process then. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/status.h"
#include "rpc/party.h"

/* Every reply that must be remembered fits. */
#define OP(id, name, request, reply, flags)                                                                  \
    static_assert(((flags)&RPC_MUTATES) == 0 ||                                                              \
                      sizeof(struct rpc_reply_header) + sizeof(struct reply) <= RPC_REMEMBERED_BYTES,        \
                  "remembered reply");
OPERATION_TABLE(OP)
#undef OP

static struct rpc_served *served_of(struct rpc_request *request)
{
    return container_of(request, struct rpc_served, request);
}

static inline bool is_sampled(const struct rpc_request *request)
{
    return (request->header->correlation & RPC_SAMPLE) == 0;
}

/* ---- the pool ---- */

static void served_sent(struct completion *completion);

static struct rpc_served *served_take(struct rpc *rpc)
{
    struct rpc_served *served;
    if (!list_empty(&rpc->served_free)) {
        served = container_of(list_pop_front(&rpc->served_free), struct rpc_served, link);
        rpc->net->space = 0;
    } else {
        served = calloc(1, sizeof(*served));
        if (served == NULL)
            return NULL;
        rpc->served_count++;
        list_init(&served->link);
    }
    if (++rpc->serving > rpc->serving_peak)
        rpc->serving_peak = rpc->serving;
    served->local = NULL;
    served->is_local = false;
    served->arriving = NULL;
    served->message.held = false;
    served->nested = false;
    served->finished = false;
    served->received = false;
    served->unfetched = false;
    served->replied = false;
    served->sending = false;
    return served;
}

static void served_free(struct rpc_served *served)
{
    struct rpc *rpc = served->request.rpc;
    list_push_front(&rpc->served_free, &served->link);
    /* The next request's header is to come where it will be served. */
    rpc->net->header_space = served->bytes;
    rpc->net->space = RPC_MESSAGE_MAX;
    rpc->serving--;
    if (rpc->closing)
        rpc_check_quiet(rpc);
}

void serve_free_all(struct rpc *rpc)
{
    for (struct list *node; (node = list_pop_front(&rpc->served_free)) != NULL;)
        free(container_of(node, struct rpc_served, link));
    rpc->net->space = 0;
}

/* ---- running a handler ---- */

/* The handler has returned, or there was none, and nothing nests in the callback any more. */
static void served_finish(struct rpc_served *served)
{
    served->finished = true;
    if (!served->sending)
        served_free(served);
}

static void serve_run(void *argument)
{
    struct rpc_served *served = argument;
    struct rpc *rpc = served->request.rpc;
    struct rpc_session *session = served->request.session;
    served->task = task_current();
    task_set_tag(served->request.header->correlation);
    rpc->handlers[served->request.header->operation](rpc->owner, &served->request);
    if (!served->replied) {
        log_error("the handler of %s returned without a reply", served->operation->name);
        rpc_reply(&served->request, -EIO, NULL, 0, NULL, 0);
    }
    if (served->message.held)
        net_release(&served->message);
    list_remove(&served->link);
    if (session != NULL)
        session_request_finished(session);
    served->finished = true;
    if (!served->nested)
        served_finish(served);
}

/* Runs the handler until it suspends or is done. Returns whether it is done; served is then still the
 * caller's. */
static bool serve_nested(struct rpc_served *served)
{
    struct rpc *rpc = served->request.rpc;
    served->nested = true;
    if (task_spawn(rpc->loop, serve_run, served) != 0) {
        rpc_reply(&served->request, -ENOMEM, NULL, 0, NULL, 0);
        list_remove(&served->link);
        if (served->request.session != NULL)
            session_request_finished(served->request.session);
        served->finished = true;
    }
    served->nested = false;
    return served->finished;
}

static void served_fill(struct rpc_served *served, struct rpc *rpc, const struct rpc_request_header *header,
                        const struct operation *operation, uint64_t now)
{
    served->operation = operation;
    served->handler_started = now;
    served->queue_ns = 0;
    served->request = (struct rpc_request){
        .rpc = rpc,
        .owner = rpc->owner,
        .flags = operation->flags,
        .header = header,
        .body = header + 1,
        .body_length = header->body_length,
        .arrived = now,
        .deadline = now + header->deadline_us * NSEC_PER_USEC,
    };
}

static bool any_since(const struct list *executing, uint64_t arrived, unsigned except)
{
    list_for_each (node, executing) {
        const struct rpc_request *request = &container_of(node, struct rpc_served, link)->request;
        if (request->arrived <= arrived && request->header->operation != except)
            return true;
    }
    return false;
}

bool rpc_executing_since(const struct rpc *rpc, uint64_t arrived, unsigned except)
{
    if (any_since(&rpc->local, arrived, except))
        return true;
    for (uint32_t slot = 0; slot < rpc->session_slots; slot++) {
        const struct rpc_session *session = rpc->sessions[slot];
        if (session != NULL && any_since(&session->executing, arrived, except))
            return true;
    }
    list_for_each (node, &rpc->ending)
        if (any_since(&container_of(node, struct rpc_session, link)->executing, arrived, except))
            return true;
    return false;
}

/* ---- requests from the network ---- */

/* Why a well-formed request of the session is not served; 0: it is. */
static int refusal(const struct rpc *rpc, const struct rpc_session *session,
                   const struct operation *operation, unsigned number)
{
    if ((operation->flags & RPC_SERVERS) != 0 && !session->peer_is_server)
        return -EPERM;
    if (rpc->handlers[number] == NULL)
        return -EOPNOTSUPP;
    return 0;
}

static bool is_executing(const struct rpc_session *session, uint64_t correlation)
{
    list_for_each (node, &session->executing) {
        const struct rpc_served *served = container_of(node, struct rpc_served, link);
        if (served->request.header->correlation == correlation)
            return true;
    }
    return false;
}

static void send_remembered(struct rpc *rpc, struct rpc_session *session,
                            const struct rpc_remembered *remembered)
{
    rpc->counters.replayed++;
    struct rpc_served *served = served_take(rpc);
    if (served == NULL)
        return; /* as if it had been lost: it is asked for again */
    served->request.rpc = rpc;
    memcpy(served->reply, remembered->bytes, remembered->length);
    served->sent = (struct completion){.notify = served_sent};
    int status = net_send(session->connection, served->reply, remembered->length, NULL, 0, 0, &served->sent);
    served->sending = status == -EINPROGRESS;
    served_finish(served);
}

/* A mutating request that may have been applied before. Returns whether it is dealt with; otherwise it is to
 * be executed, or refused with *status. */
static bool serve_repetition(struct rpc *rpc, struct rpc_session *session, uint64_t correlation, int *status)
{
    const struct rpc_remembered *remembered = session_recall(session, correlation);
    if (remembered != NULL) {
        send_remembered(rpc, session, remembered);
        return true;
    }
    if (is_executing(session, correlation)) {
        rpc->counters.duplicates++; /* the first execution answers */
        return true;
    }
    if (session_forgot(session, correlation))
        *status = -EIO;
    return false;
}

/* The session that a message belongs to: NULL if there is none. */
static struct rpc_session *session_of(const struct rpc *rpc, const struct rpc_request_header *header)
{
    if (header->session >= rpc->session_slots)
        return NULL;
    struct rpc_session *session = rpc->sessions[header->session];
    if (session == NULL || session->token != header->token || session->connection == NULL)
        return NULL;
    return session;
}

static bool request_valid(const struct operation *operation, const struct rpc_request_header *header,
                          uint32_t length)
{
    uint32_t notices = header->notices * (uint32_t)sizeof(uint64_t);
    return operation != NULL && header->body_length + notices == length - sizeof(*header) &&
           (notices == 0 || (operation->flags & RPC_MUTATES) != 0) &&
           operation_body_valid(operation, header + 1, header->body_length);
}

/* The request will be executed, for the first time. */
static void take_notices(struct rpc *rpc, const struct rpc_served *served)
{
    const struct rpc_request *request = &served->request;
    uint32_t serial = rpc_request_serial(request);
    if (rpc->notice == NULL || serial == 0)
        return;
    const char *notices = (const char *)request->body + request->body_length;
    for (uint32_t i = 0; i < request->header->notices; i++) {
        uint64_t notice;
        memcpy(&notice, notices + i * sizeof(notice), sizeof(notice));
        rpc->notice(rpc->owner, serial, notice);
    }
}

/* Executes a request that has passed every check, or answers it with status. */
static void serve(struct rpc *rpc, struct rpc_session *session, struct net_message *message,
                  const struct operation *operation, int status, uint64_t now)
{
    struct rpc_served *served = served_take(rpc);
    if (served == NULL) {
        log_error("no memory to serve a request");
        return; /* as if it had been lost */
    }
    const void *header = message->header;
    if (__builtin_expect(header != served->before && header != served->bytes, 0))
        header = memcpy(served->bytes, header, message->header_length);
    served_fill(served, rpc, header, operation, now);
    served->request.session = session;
    served->request.peer_is_server = session->peer_is_server;
    served->request.bulk_length = message->bulk_length;
    served->arriving = message;
    if (!metrics_paused(rpc->metrics))
        served->queue_ns = metrics_clip(loop_kept(rpc->loop, message->looked, now));
    session->executing_count++;
    list_push_back(&session->executing, &served->link);
    rpc->counters.requests++;
    if (__builtin_expect(served->request.header->notices != 0, 0) && status == 0)
        take_notices(rpc, served);

    if (status != 0) {
        rpc_reply(&served->request, status, NULL, 0, NULL, 0);
        list_remove(&served->link);
        session_request_finished(session);
        served_finish(served);
    } else if (serve_nested(served)) {
        if (is_sampled(&served->request) && !metrics_paused(rpc->metrics)) {
            rpc->counters.dispatch_ns += loop_now(rpc->loop) - now;
            rpc->counters.dispatched++;
        }
        served_finish(served);
    } else {
        if (message->bulk_length > 0 && !served->received) {
            net_hold(message);
            served->message = *message;
        }
        served->arriving = NULL;
    }
}

/* ---- short headers ---- */

bool serve_expand(struct net_message *message)
{
    const struct rpc_told *told = message->sender;
    if (told == NULL || !told->valid || message->header_length < sizeof(struct rpc_short_header))
        return false;
    struct rpc_short_header brief;
    memcpy(&brief, message->header, sizeof(brief));
    if (brief.operation >= RPC_REPLY_OFFSET)
        return false;
    /* It lies in a copy of the transport's with room in front, and the body where it belongs. */
    struct rpc_request_header *full = (void *)((uintptr_t)message->header - RPC_SHORTER);
    full->version = RPC_PROTOCOL_VERSION;
    full->flags = brief.flags;
    full->operation = brief.operation;
    full->session = told->session;
    full->token = told->token;
    full->correlation = brief.correlation;
    full->map_epoch = told->map_epoch;
    full->namespace_epoch = told->namespace_epoch;
    full->deadline_us = brief.deadline_us;
    full->body_length = (uint16_t)(message->header_length - sizeof(brief));
    full->notices = 0;
    message->header = full;
    message->header_length += (uint32_t)RPC_SHORTER;
    return true;
}

/* Remembers what short headers leave out. It is believed, then as now, as far as its token goes. */
static inline void remember_told(const struct net_message *message, const struct rpc_request_header *header)
{
    struct rpc_told *told = message->sender;
    if (told == NULL)
        return;
    told->token = header->token;
    told->session = header->session;
    told->map_epoch = header->map_epoch;
    told->namespace_epoch = header->namespace_epoch;
    told->valid = true;
}

void serve_receive_request(struct rpc *rpc, struct net_message *message)
{
    uint64_t now = loop_now(rpc->loop);
    const struct rpc_request_header *header = message->header;
    remember_told(message, header);
    struct rpc_session *session = session_of(rpc, header);
    if (session == NULL || header->version != RPC_PROTOCOL_VERSION) {
        rpc->counters.rejected++;
        return;
    }
    const struct operation *operation = operation_find(header->operation);
    if (message->header_length > RPC_MESSAGE_MAX ||
        !request_valid(operation, header, message->header_length) ||
        session->executing_count >= RPC_EXECUTING_MAX) {
        log_warning("%s: session ended: malformed request (operation %u, %u bytes)", session->peer,
                    header->operation, message->header_length);
        rpc->counters.rejected++;
        session_end(session);
        return;
    }
    if (header->deadline_us == 0) {
        rpc->counters.expired++;
        return;
    }
    int status = refusal(rpc, session, operation, header->operation);
    if ((header->flags & RPC_HEADER_RETRY) != 0 && (operation->flags & RPC_MUTATES) != 0 &&
        serve_repetition(rpc, session, header->correlation, &status))
        return;
    serve(rpc, session, message, operation, status, now);
}

/* ---- this party's own requests ---- */

void serve_local(struct rpc *rpc, struct rpc_call *call, const struct operation *operation)
{
    uint64_t now = call->timing.started;
    struct rpc_served *served = rpc->handlers[call->operation] == NULL ? NULL : served_take(rpc);
    if (served == NULL) {
        list_remove(&call->link);
        call_finish(call, rpc->handlers[call->operation] == NULL ? -EOPNOTSUPP : -ENOMEM, now);
        return;
    }
    uint64_t left = (call->deadline - now) / NSEC_PER_USEC;
    call->correlation = ++rpc->generation << RPC_GENERATION_SHIFT;
    *(struct rpc_request_header *)served->bytes = (struct rpc_request_header){
        .version = RPC_PROTOCOL_VERSION,
        .operation = call->operation,
        .session = UINT32_MAX,
        .correlation = call->correlation,
        .map_epoch = rpc->map_epoch,
        .namespace_epoch = call->namespace_epoch,
        .deadline_us = left < UINT32_MAX ? (uint32_t)left : UINT32_MAX,
        .body_length = (uint16_t)call->body_length,
    };
    if (call->body_length > 0)
        memcpy(served->bytes + sizeof(struct rpc_request_header), call->body, call->body_length);
    served_fill(served, rpc, (const struct rpc_request_header *)served->bytes, operation, now);
    served->request.peer_is_server = true;
    served->request.bulk_length = call->send_count == 0 ? 0 : iovec_bytes(call->send, call->send_count);
    served->is_local = true;
    served->local = call;
    call->served = served;
    list_push_back(&rpc->local, &served->link);
    if (serve_nested(served))
        served_finish(served);
}

/* Copies between two vectors until the source or the destination ends. Returns the bytes copied. */
static uint64_t iovec_copy(const struct iovec *to, uint32_t to_count, const struct iovec *from,
                           uint32_t from_count)
{
    uint64_t copied = 0;
    size_t to_offset = 0, from_offset = 0;
    while (to_count > 0 && from_count > 0) {
        size_t to_left = to->iov_len - to_offset, from_left = from->iov_len - from_offset;
        size_t length = to_left < from_left ? to_left : from_left;
        if (length > 0)
            memcpy((char *)to->iov_base + to_offset, (const char *)from->iov_base + from_offset, length);
        copied += length;
        to_offset += length;
        from_offset += length;
        if (to_offset == to->iov_len) {
            to++, to_count--;
            to_offset = 0;
        }
        if (from_offset == from->iov_len) {
            from++, from_count--;
            from_offset = 0;
        }
    }
    return copied;
}

/* What a reply says beside its body. */
struct reply_stamps {
    int status;
    uint32_t queue_ns;
    uint32_t handler_ns;
    uint32_t storage_ns;
};

static int local_reply(struct rpc_served *served, const struct reply_stamps *stamps, const void *body,
                       uint32_t body_length, const struct iovec *bulk, uint32_t bulk_count, uint64_t now)
{
    const struct rpc *rpc = served->request.rpc;
    struct rpc_call *call = served->local;
    if (call == NULL)
        return -ECONNRESET; /* the caller gave up */
    served->local = NULL;
    call->served = NULL;
    list_remove(&call->link);
    int status = stamps->status;
    uint64_t length = bulk_count == 0 ? 0 : iovec_bytes(bulk, bulk_count);
    if (body_length != call->reply_size && (status == 0 || body_length != 0))
        status = -EPROTO;
    else if (body_length > 0)
        memcpy(call->reply, body, body_length);
    if (status == 0 && length > 0) {
        if (length > (call->receive_count == 0 ? 0 : iovec_bytes(call->receive, call->receive_count)))
            status = -EPROTO;
        else
            call->received = iovec_copy(call->receive, call->receive_count, bulk, bulk_count);
    }
    call->reply_namespace_epoch = rpc->namespace_epoch;
    call->reply_map_epoch = rpc->map_epoch;
    call->timing.queue_ns = stamps->queue_ns;
    call->timing.handler_ns = stamps->handler_ns;
    call->timing.storage_ns = stamps->storage_ns;
    call_finish(call, status, now);
    return 0;
}

/* ---- what handlers call ---- */

static int receive_local(struct rpc_served *served, const struct iovec *into, uint32_t count)
{
    const struct rpc_call *call = served->local;
    if (call == NULL)
        return -ETIMEDOUT; /* the caller gave up and its memory is not ours any more */
    iovec_copy(into, count, call->send, call->send_count);
    return 0;
}

/* Awaits the transport's completion, until the request's deadline. Then nobody waits for the reply any more,
 * but the handler may hold locks: the connection is given up, which ends the transfer. The client may come
 * back and resume. */
static int await_transfer(struct rpc_served *served, struct completion *completion)
{
    struct loop *loop = served->request.rpc->loop;
    if (await_until(loop, completion, served->request.deadline) == -ETIMEDOUT && !completion->fired) {
        log_debug("%s: transfer not finished by its deadline", served->request.session->peer);
        session_lose(served->request.session);
    }
    return await_fired(loop, completion);
}

const void *rpc_request_peek(struct rpc_request *request)
{
    const struct net_message *message = served_of(request)->arriving;
    return message != NULL && message->bulk_here ? message->bulk : NULL;
}

int rpc_request_receive(struct rpc_request *request, const struct iovec *into, uint32_t count)
{
    struct rpc_served *served = served_of(request);
    if (request->bulk_length == 0 || iovec_bytes(into, count) != request->bulk_length)
        return -EPROTO;
    if (served->received || served->replied)
        return -EALREADY;
    served->received = true;
    if (served->is_local)
        return receive_local(served, into, count);
    struct net_message *message = served->arriving != NULL ? served->arriving : &served->message;
    struct completion landed = COMPLETION_INIT;
    if (served->arriving != NULL && !message->bulk_here)
        net_hold(message);
    int status = net_receive(message, into, count, &landed);
    if (message->held) {
        served->message = *message; /* serve_run releases it */
        if (status == -EINPROGRESS)
            status = await_transfer(served, &landed);
    }
    served->unfetched = status != 0;
    return status;
}

void rpc_storage_begin(struct rpc_request *request)
{
    if (request->storage_started == 0)
        request->storage_started = loop_now(request->rpc->loop);
}

static void storage_end(struct rpc_request *request, uint64_t now)
{
    if (request->storage_started != 0)
        request->storage_ns += now - request->storage_started;
    request->storage_started = 0;
}

void rpc_storage_end(struct rpc_request *request)
{
    storage_end(request, loop_now(request->rpc->loop));
}

/* So much time as a header says it. */
static uint32_t nanoseconds(uint64_t value)
{
    return value < METRICS_UNTOLD ? (uint32_t)value : METRICS_UNTOLD - 1;
}

static void served_sent(struct completion *completion)
{
    struct rpc_served *served = container_of(completion, struct rpc_served, sent);
    served->sending = false;
    if (served->finished && !served->nested)
        served_free(served);
}

/* All but the durations, which reply_stamp adds. */
static inline __attribute__((always_inline)) void
reply_write(const struct rpc_served *served, void *to, int status, const void *body, uint32_t body_length)
{
    const struct rpc_request_header *asked = served->request.header;
    const struct rpc *rpc = served->request.rpc;
    struct rpc_reply_header *header = to;
    header->version = RPC_PROTOCOL_VERSION;
    header->flags = 0;
    header->operation = (uint16_t)(asked->operation + RPC_REPLY_OFFSET);
    header->status = status;
    header->correlation = asked->correlation;
    header->map_epoch = rpc->map_epoch;
    header->namespace_epoch = rpc->namespace_epoch;
    header->body_length = body_length;
    if (body_length > 0)
        memcpy(header + 1, body, body_length);
}

static inline void reply_stamp(void *reply, const struct reply_stamps *stamps)
{
    struct rpc_reply_header *header = reply;
    header->queue_ns = stamps->queue_ns;
    header->handler_ns = stamps->handler_ns;
    header->storage_ns = stamps->storage_ns;
}

/* Sends the reply that lies in served->reply. */
static __attribute__((noinline)) int send_reply(struct rpc_served *served, uint32_t length,
                                                const struct iovec *bulk, uint32_t bulk_count)
{
    struct rpc *rpc = served->request.rpc;
    struct net_connection *connection = served->request.session->connection;
    if (connection == NULL)
        return -ECONNRESET; /* the client went; it may come back and ask again */
    if (bulk_count == 0) {
        served->sent = (struct completion){.notify = served_sent};
        int status = net_send(connection, served->reply, length, NULL, 0, 0, &served->sent);
        if (status != -EINPROGRESS)
            return status;
        served->sending = true;
        return 0;
    }
    unsigned flags = iovec_bytes(bulk, bulk_count) >= rpc->rendezvous_threshold ? NET_SEND_RENDEZVOUS : 0;
    struct completion sent = COMPLETION_INIT;
    int status = net_send(connection, served->reply, length, bulk, bulk_count, flags, &sent);
    return status == -EINPROGRESS ? await_transfer(served, &sent) : status;
}

#define SLOW_LOGGED_MAX 10u /* in a second */

static __attribute__((noinline)) void log_slow(const struct rpc_served *served,
                                               const struct metrics_entry *entry)
{
    struct rpc *rpc = served->request.rpc;
    uint64_t now = entry->started + entry->total_ns;
    if (now - rpc->slow_since >= NSEC_PER_SEC) {
        rpc->slow_since = now;
        rpc->slow_logged = 0;
    }
    if (rpc->slow_logged++ >= SLOW_LOGGED_MAX) {
        rpc->slow_unlogged++;
        return;
    }
    char more[64] = "";
    if (rpc->slow_unlogged > 0)
        snprintf(more, sizeof(more), " (%" PRIu64 " more were not logged)", rpc->slow_unlogged);
    rpc->slow_unlogged = 0;
    log_warning("slow %s of inode %" PRIx64 " for %s: %.3f ms: queue %.3f, handler %.3f, storage %.3f, reply "
                "%.3f; %" PRIu32 " bytes, %s%s",
                served->operation->name, entry->subject,
                served->is_local ? "itself" : served->request.session->peer, entry->total_ns / 1e6,
                entry->server_queue_ns / 1e6, entry->handler_ns / 1e6, entry->storage_ns / 1e6,
                entry->reply_ns / 1e6, entry->bytes, status_text(entry->status), more);
}

/* replied: when the reply was ready; sent: when it had been sent, 0: not looked at. */
static void served_record(const struct rpc_served *served, const struct reply_stamps *stamps, uint64_t bytes,
                          uint64_t replied, uint64_t sent)
{
    struct rpc *rpc = served->request.rpc;
    const struct rpc_request *request = &served->request;
    uint32_t total = metrics_clip((sent != 0 ? sent : replied) - request->arrived + served->queue_ns);
    struct metrics_entry *entry = metrics_begin(rpc->metrics);
    METRICS_PUT(entry, started, request->arrived - served->queue_ns);
    METRICS_PUT(entry, correlation, request->header->correlation);
    METRICS_PUT(entry, subject, operation_subject(served->operation, request->body));
    METRICS_PUT(entry, total_ns, total);
    METRICS_PUT(entry, client_queue_ns, 0);
    METRICS_PUT(entry, server_queue_ns, stamps->queue_ns);
    METRICS_PUT(entry, handler_ns, stamps->handler_ns);
    METRICS_PUT(entry, storage_ns, stamps->storage_ns);
    METRICS_PUT(entry, reply_ns, sent != 0 ? metrics_clip(sent - replied) : 0);
    METRICS_PUT(entry, bytes, metrics_clip(bytes));
    METRICS_PUT(entry, operation, (uint8_t)request->header->operation);
    METRICS_PUT(entry, status, (int16_t)stamps->status);
    METRICS_PUT(entry, about, METRICS_ABOUT(METRICS_SERVED, transfer_of(rpc, bytes)));
    metrics_commit(rpc->metrics, entry);
    struct metrics_session *load = served->is_local ? NULL : served->request.session->load;
    if (load != NULL) {
        load->requests++;
        if (bytes != 0)
            load->bytes += bytes;
    }
    uint64_t slow = __atomic_load_n(&rpc->metrics->header->slow_ns, __ATOMIC_RELAXED);
    if (__builtin_expect(slow != 0 && total >= slow, 0))
        log_slow(served, entry);
}

/* Remembers what is, or was, sent. */
static inline void reply_remember(const struct rpc_served *served, const struct reply_stamps *stamps,
                                  const void *body, uint32_t body_length)
{
    uint32_t length = (uint32_t)sizeof(struct rpc_reply_header) + body_length;
    void *to = session_remember(served->request.session, served->request.header->correlation, length);
    if (to == NULL)
        return;
    reply_write(served, to, stamps->status, body, body_length);
    reply_stamp(to, stamps);
}

/* The transport's place in which a small reply to another party is made. NULL: there is none. */
static void *reply_room(const struct rpc_served *served, uint32_t body_length, uint32_t bulk_count)
{
    if (served->is_local || bulk_count > 0 || served->request.session->connection == NULL)
        return NULL;
    return net_room(served->request.session->connection,
                    (uint32_t)sizeof(struct rpc_reply_header) + body_length);
}

/* Sends the reply to another party. room: where it lies already but for its durations, or NULL. */
static int reply_send(struct rpc_served *served, void *room, const struct reply_stamps *stamps,
                      const void *body, uint32_t body_length, const struct iovec *bulk, uint32_t bulk_count)
{
    uint32_t length = (uint32_t)sizeof(struct rpc_reply_header) + body_length;
    if (__builtin_expect(room != NULL, 1)) {
        reply_stamp(room, stamps);
        net_post(served->request.session->connection, length);
        return 0;
    }
    reply_write(served, served->reply, stamps->status, body, body_length);
    reply_stamp(served->reply, stamps);
    return send_reply(served, length, bulk, bulk_count);
}

/* Whether the handler's time may follow the reply: the handler has not suspended, so that it is short, there
 * is nothing else to tell, and nobody needs it at once. */
static inline bool may_tell_later(const struct rpc_served *served)
{
    const struct rpc_request *request = &served->request;
    return served->nested && !is_sampled(request) &&
           (request->storage_started | request->storage_ns | request->bulk_length | served->queue_ns) == 0;
}

/* Sends the reply that lies in the transport's place, and then looks at the clock. */
static void reply_ahead(struct rpc_served *served, void *room, int status, const void *body,
                        uint32_t body_length)
{
    const struct rpc_request *request = &served->request;
    struct reply_stamps stamps = {.status = status, .handler_ns = METRICS_UNTOLD};
    reply_stamp(room, &stamps);
    _Atomic uint64_t *postscript =
        net_post(request->session->connection, (uint32_t)sizeof(struct rpc_reply_header) + body_length);
    uint64_t now = loop_now(request->rpc->loop);
    stamps.handler_ns = nanoseconds(now - served->handler_started);
    if ((served->operation->flags & RPC_MUTATES) != 0)
        reply_remember(served, &stamps, body, body_length);
    served_record(served, &stamps, 0, now, 0);
    atomic_store_explicit(postscript, metrics_handler(request->header->correlation, stamps.handler_ns),
                          memory_order_relaxed);
}

int rpc_reply(struct rpc_request *request, int status, const void *body, uint32_t body_length,
              const struct iovec *bulk, uint32_t bulk_count)
{
    struct rpc_served *served = served_of(request);
    struct rpc *rpc = request->rpc;
    assert(!served->replied && body_length <= RPC_BODY_MAX);
    assert(status <= 0 &&
           (body_length == served->operation->reply_size || (body_length == 0 && status != 0)));
    served->replied = true;
    void *room = reply_room(served, body_length, bulk_count);
    bool paused = metrics_paused(rpc->metrics);
    if (__builtin_expect(room != NULL, 1)) {
        reply_write(served, room, status, body, body_length);
        if (!paused && may_tell_later(served)) {
            reply_ahead(served, room, status, body, body_length);
            return 0;
        }
    }
    uint64_t now = paused && request->storage_started == 0 ? request->arrived : loop_now(rpc->loop);
    storage_end(request, now);
    uint64_t elapsed = now - served->handler_started;
    const struct reply_stamps stamps = {
        .status = status,
        .queue_ns = served->queue_ns,
        .handler_ns = nanoseconds(elapsed > request->storage_ns ? elapsed - request->storage_ns : 0),
        .storage_ns = nanoseconds(request->storage_ns),
    };
    uint64_t bytes = request->bulk_length + (bulk_count == 0 ? 0 : iovec_bytes(bulk, bulk_count));
    if (served->is_local) {
        if (!paused)
            served_record(served, &stamps, bytes, now, 0);
        return local_reply(served, &stamps, body, body_length, bulk, bulk_count, now);
    }

    /* A request whose bulk went with its connection was not applied: its repetition brings the bulk anew. */
    bool remembers = (served->operation->flags & RPC_MUTATES) != 0 && (status == 0 || !served->unfetched);
    if (remembers && bulk_count > 0)
        reply_remember(served, &stamps, body, body_length);
    int result = reply_send(served, room, &stamps, body, body_length, bulk, bulk_count);
    /* What is sent without suspending is remembered while it travels. */
    if (remembers && bulk_count == 0)
        reply_remember(served, &stamps, body, body_length);
    if (!paused) {
        bool timed = bytes != 0 || is_sampled(request);
        served_record(served, &stamps, bytes, now, timed ? loop_now(rpc->loop) : 0);
    }
    if (result != 0)
        log_debug("%s: reply to %s not sent: %s", request->session->peer, served->operation->name,
                  status_text(result));
    return result;
}

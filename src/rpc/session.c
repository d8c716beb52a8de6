/* Sessions: the server's side of connections.
 *
 * A session has a slot, an index that every request carries, and a token, a keyed hash that proves that the
 * request's sender went through the handshake; so a request is attributed by an array index and one
 * comparison. A session ends when its stream closes - but not at once: it is kept for RPC_SESSION_GRACE, in
 * which the handshake may resume it, so that a client whose connection broke can ask again for replies that
 * it never got. Resuming changes the token: whatever was still on its way under the old one is refused, so
 * that a request cannot be applied after its repetition was.
 *
 * How a stream closes tells more. A client that means to come again, or not to, says so in a last byte. A
 * stream that is closed without one was closed by the kernel of the client's host, because the process ended;
 * one that breaks (a reset, keepalive probes without an answer) tells nothing. So when the last connection of
 * an instance is gone, and one of them was closed like that since the last one came, the instance has ended,
 * wherever it was. Of a process on this very host the kernel is asked instead: a program may close
 * descriptors that are not its own.
 *
 * Remembered replies are a ring per session, made when the first mutating request arrives. A repeated request
 * whose reply is neither there nor still being made, although younger replies were already dropped, may have
 * been applied and forgotten: it is answered with -EIO. Clients keep within a window in which that cannot
 * happen.
 *
 * A process of several threads has several sessions, which name the same instance in their handshakes. The
 * party's owner is told when an instance has no connection left, and when it has no session left.
 *
 * A session misbehaves at its own cost: session_end takes it out of the table at once. Streams and
 * connections are closed by one task, the reaper, because what ends a session is often a callback of the very
 * thing to be closed. */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/status.h"
#include "rpc/party.h"

#define SLOTS_FIRST 16u

/* A handshake under way. */
struct arrival {
    struct list link;
    struct rpc *rpc;
    struct net_stream *stream;
    struct task *task;
    struct handshake_hello hello;
    struct handshake_welcome welcome;
};

/* ---- remembered replies ---- */

static uint64_t correlation_generation(uint64_t correlation)
{
    return correlation >> 16;
}

void *session_remember(struct rpc_session *session, uint64_t correlation, uint32_t length)
{
    if (length > RPC_REMEMBERED_BYTES)
        return NULL; /* no mutating operation has such a reply: static_assert in serve.c */
    if (session->remembered == NULL) {
        session->remembered = calloc(RPC_REMEMBERED, sizeof(session->remembered[0]));
        if (session->remembered == NULL) {
            session->forgotten = UINT64_MAX; /* refuse every repetition rather than apply one twice */
            return NULL;
        }
        session->rpc->remembering++;
    }
    struct rpc_remembered *entry = &session->remembered[session->remembered_count % RPC_REMEMBERED];
    if (session->remembered_count >= RPC_REMEMBERED &&
        correlation_generation(entry->correlation) > session->forgotten)
        session->forgotten = correlation_generation(entry->correlation);
    session->remembered_count++;
    entry->correlation = correlation;
    entry->length = length;
    return entry->bytes;
}

const struct rpc_remembered *session_recall(const struct rpc_session *session, uint64_t correlation)
{
    uint64_t count = session->remembered_count < RPC_REMEMBERED ? session->remembered_count : RPC_REMEMBERED;
    for (uint64_t i = 0; i < count; i++) {
        if (session->remembered[i].correlation == correlation)
            return &session->remembered[i];
    }
    return NULL;
}

bool session_forgot(const struct rpc_session *session, uint64_t correlation)
{
    return correlation_generation(correlation) <= session->forgotten;
}

/* ---- instances ---- */

static void silence_set(struct rpc *rpc)
{
    if (list_empty(&rpc->silent)) {
        timer_clear(rpc->loop, &rpc->silence);
        return;
    }
    const struct rpc_instance *first = container_of(rpc->silent.next, struct rpc_instance, link);
    timer_set(rpc->loop, &rpc->silence, first->told_at);
}

static void instance_tell(struct rpc *rpc, uint64_t number, enum rpc_instance_event event)
{
    if (rpc->instance_event != NULL && !rpc->closing)
        rpc->instance_event(rpc->owner, number, event);
}

static void session_leave_table(struct rpc_session *session);
static void session_free_or_wait(struct rpc_session *session);
static void grace_set(struct rpc *rpc);

/* Its process has ended: none of its sessions, which have no connection, will be resumed. */
static void instance_end(struct rpc *rpc, struct rpc_instance *instance)
{
    uint32_t left = instance->sessions;
    for (uint32_t slot = 0; slot < rpc->session_slots && left > 0; slot++) {
        struct rpc_session *session = rpc->sessions[slot];
        if (session == NULL || session->instance != instance)
            continue;
        left--;
        session_leave_table(session); /* with the last one the instance goes */
        if (session->reaping)
            continue; /* the reaper frees it */
        list_remove(&session->link);
        session_free_or_wait(session);
    }
    grace_set(rpc);
}

/* Whether its process is known to have ended, once it has no connection. On this host the kernel knows.
 * Elsewhere a stream tells that was closed without a parting word: see enum handshake_parting. */
static bool has_ended(const struct rpc_instance *instance)
{
    return instance->process != 0 ? net_process_ended(instance->process) : instance->parted;
}

/* Whether it is worth looking soon. */
static bool may_have_ended(const struct rpc_instance *instance)
{
    return !instance->lingers && (instance->process != 0 || instance->parted);
}

void instance_silence_over(struct timer *timer)
{
    struct rpc *rpc = container_of(timer, struct rpc, silence);
    uint64_t now = loop_now(rpc->loop);
    while (!list_empty(&rpc->silent)) {
        struct rpc_instance *first = container_of(rpc->silent.next, struct rpc_instance, link);
        if (first->told_at > now)
            break;
        list_remove(&first->link);
        if (!has_ended(first))
            continue; /* or nobody knows: it keeps what it has as long as its sessions */
        if (first->lingers)
            instance_tell(rpc, first->number, RPC_INSTANCE_ENDED);
        else
            instance_end(rpc, first);
    }
    silence_set(rpc);
}

void instance_death_look(struct timer *timer)
{
    struct rpc *rpc = container_of(timer, struct rpc, death);
    bool again = false;
    for (struct list *node = rpc->silent.next, *next; node != &rpc->silent; node = next) {
        struct rpc_instance *instance = container_of(node, struct rpc_instance, link);
        next = node->next;
        if (!may_have_ended(instance))
            continue;
        if (has_ended(instance))
            instance_end(rpc, instance);
        else
            again = true;
    }
    rpc->death_pause *= 2;
    if (again)
        timer_set(rpc->loop, &rpc->death, loop_now(rpc->loop) + rpc->death_pause);
}

void rpc_instance_linger(struct rpc *rpc, uint32_t serial)
{
    struct rpc_instance *instance = map_get(&rpc->serials, serial);
    if (instance != NULL)
        instance->lingers = true;
}

/* The session belongs to the instance from now on. */
static int instance_join(struct rpc *rpc, uint64_t number, struct rpc_session *session)
{
    if (number == 0)
        return 0;
    struct rpc_instance *instance = map_get(&rpc->instances, number);
    if (instance == NULL) {
        instance = calloc(1, sizeof(*instance));
        if (instance == NULL)
            return -ENOMEM;
        instance->number = number;
        instance->serial = ++rpc->serial;
        list_init(&instance->link);
        int status = map_put(&rpc->instances, number, instance);
        if (status == 0)
            status = map_put(&rpc->serials, instance->serial, instance);
        if (status != 0) {
            map_remove(&rpc->instances, number);
            free(instance);
            return status;
        }
    }
    instance->sessions++;
    session->instance = instance;
    return 0;
}

static void instance_connected(struct rpc_session *session)
{
    struct rpc_instance *instance = session->instance;
    if (instance == NULL)
        return;
    instance->parted = false;
    if (session->connected)
        return;
    session->connected = true;
    instance->connected++;
    instance->process = net_peer_process(session->connection);
    list_remove(&instance->link);
    silence_set(session->rpc);
}

static void instance_disconnected(struct rpc_session *session)
{
    struct rpc *rpc = session->rpc;
    struct rpc_instance *instance = session->instance;
    if (instance == NULL || !session->connected)
        return;
    session->connected = false;
    if (--instance->connected > 0)
        return;
    instance->told_at = loop_now(rpc->loop) + RPC_INSTANCE_GRACE;
    list_push_back(&rpc->silent, &instance->link);
    silence_set(rpc);
    if (may_have_ended(instance)) {
        rpc->death_pause = RPC_DEATH_LOOK;
        timer_set(rpc->loop, &rpc->death, loop_now(rpc->loop) + rpc->death_pause);
    }
}

static void instance_leave(struct rpc_session *session)
{
    struct rpc *rpc = session->rpc;
    struct rpc_instance *instance = session->instance;
    if (instance == NULL)
        return;
    instance_disconnected(session);
    session->instance = NULL;
    if (--instance->sessions > 0)
        return;
    uint64_t number = instance->number;
    map_remove(&rpc->instances, number);
    map_remove(&rpc->serials, instance->serial);
    list_remove(&instance->link);
    free(instance);
    silence_set(rpc);
    instance_tell(rpc, number, RPC_INSTANCE_GONE);
}

uint64_t rpc_request_instance(const struct rpc_request *request)
{
    const struct rpc_session *session = request->session;
    return session == NULL || session->instance == NULL ? 0 : session->instance->number;
}

uint32_t rpc_request_serial(const struct rpc_request *request)
{
    const struct rpc_session *session = request->session;
    return session == NULL || session->instance == NULL ? 0 : session->instance->serial;
}

uint32_t rpc_instance_serial(const struct rpc *rpc, uint64_t number)
{
    const struct rpc_instance *instance = map_get(&rpc->instances, number);
    return instance == NULL ? 0 : instance->serial;
}

bool rpc_serial_lives(const struct rpc *rpc, uint32_t serial)
{
    return map_get(&rpc->serials, serial) != NULL;
}

bool rpc_request_connected(const struct rpc_request *request)
{
    const struct rpc_session *session = request->session;
    return session == NULL || (session->connection != NULL && !session->reaping && !session->ended);
}

/* ---- ending ---- */

static void session_free(struct rpc_session *session)
{
    list_remove(&session->link);
    session_free_groups(session);
    if (session->remembered != NULL)
        session->rpc->remembering--;
    free(session->remembered);
    free(session);
}

static void session_leave_table(struct rpc_session *session)
{
    struct rpc *rpc = session->rpc;
    if (session->ended)
        return;
    session->ended = true;
    rpc->sessions[session->slot] = NULL;
    if (session->load != NULL)
        session->load->taken = 0;
    session->load = NULL;
    rpc->counters.sessions--;
    instance_leave(session);
}

/* An ended session goes when its last request has finished. */
static void session_free_or_wait(struct rpc_session *session)
{
    if (session->executing_count == 0)
        session_free(session);
    else
        list_push_back(&session->rpc->ending, &session->link);
}

/* Gives up stream and connection. Not from a callback of either. */
static void session_disconnect(struct rpc_session *session)
{
    struct net_stream *stream = session->stream;
    struct net_connection *connection = session->connection;
    session->stream = NULL;
    session->connection = NULL;
    if (stream != NULL) {
        net_stream_on_close(stream, NULL, NULL);
        net_stream_close(stream);
    }
    if (connection != NULL)
        net_close(connection);
}

static void grace_set(struct rpc *rpc)
{
    if (list_empty(&rpc->lost)) {
        timer_clear(rpc->loop, &rpc->grace);
        return;
    }
    const struct rpc_session *first = container_of(rpc->lost.next, struct rpc_session, link);
    timer_set(rpc->loop, &rpc->grace, first->expires);
}

static void session_reaped(struct rpc_session *session)
{
    session->reaping = false;
    session_disconnect(session);
    if (!session->ended) {
        session->expires = loop_now(session->rpc->loop) + RPC_SESSION_GRACE;
        list_push_back(&session->rpc->lost, &session->link);
        grace_set(session->rpc);
    } else {
        session_free_or_wait(session);
    }
}

static void reap(void *argument)
{
    struct rpc *rpc = argument;
    for (struct list *node; (node = list_pop_front(&rpc->reaping)) != NULL;)
        session_reaped(container_of(node, struct rpc_session, link));
    rpc->reaper = false;
    rpc_check_quiet(rpc);
}

void session_lose(struct rpc_session *session)
{
    struct rpc *rpc = session->rpc;
    if (session->reaping)
        return;
    session->reaping = true;
    instance_disconnected(session);
    list_remove(&session->link);
    list_push_back(&rpc->reaping, &session->link);
    if (rpc->reaper)
        return;
    /* Without memory for a task the next session to end, or rpc_destroy, reaps this one too. */
    rpc->reaper = task_spawn_later(rpc->loop, reap, rpc, NULL) == 0;
}

void session_end(struct rpc_session *session)
{
    session_leave_table(session);
    session_lose(session);
}

static void session_stream_closed(void *owner)
{
    struct rpc_session *session = owner;
    int parting = net_stream_parting(session->stream);
    log_debug("%s: connection of session %u ended: %s", session->peer, session->slot,
              parting == HANDSHAKE_GOODBYE ? "a goodbye"
              : parting == HANDSHAKE_AGAIN ? "it comes again"
              : parting == -EPIPE          ? "closed"
                                           : "broken");
    if (parting == -EPIPE && session->instance != NULL)
        session->instance->parted = true;
    if (parting == HANDSHAKE_GOODBYE)
        session_end(session);
    else
        session_lose(session);
}

void session_last_finished(struct rpc_session *session)
{
    session_free(session);
}

void session_grace_over(struct timer *timer)
{
    struct rpc *rpc = container_of(timer, struct rpc, grace);
    uint64_t now = loop_now(rpc->loop);
    while (!list_empty(&rpc->lost)) {
        struct rpc_session *session = container_of(rpc->lost.next, struct rpc_session, link);
        if (session->expires > now)
            break;
        list_remove(&session->link);
        session_leave_table(session);
        session_free_or_wait(session);
    }
    grace_set(rpc);
}

/* ---- admission ---- */

static int slots_grow(struct rpc *rpc)
{
    uint32_t slots = rpc->session_slots == 0 ? SLOTS_FIRST : 2 * rpc->session_slots;
    if (slots > RPC_SESSIONS_MAX)
        return -EAGAIN;
    struct rpc_session **table = realloc(rpc->sessions, slots * sizeof(rpc->sessions[0]));
    if (table == NULL)
        return -ENOMEM;
    memset(table + rpc->session_slots, 0, (slots - rpc->session_slots) * sizeof(table[0]));
    rpc->sessions = table;
    rpc->session_slots = slots;
    return 0;
}

static int slot_find(struct rpc *rpc, uint32_t *slot)
{
    uint32_t free = 0;
    while (free < rpc->session_slots && rpc->sessions[free] != NULL)
        free++;
    if (free == rpc->session_slots) {
        int status = slots_grow(rpc);
        if (status != 0)
            return status;
    }
    *slot = free;
    return 0;
}

/* The session that the hello wants to resume, if it is there and the hello's to resume. */
static struct rpc_session *session_resumable(struct rpc *rpc, const struct handshake_hello *hello)
{
    if (!hello->resume || hello->session >= rpc->session_slots)
        return NULL;
    struct rpc_session *session = rpc->sessions[hello->session];
    if (session == NULL)
        return NULL;
    if (sodium_memcmp(&session->token, &hello->token, sizeof(hello->token)) != 0 &&
        sodium_memcmp(&session->known_token, &hello->token, sizeof(hello->token)) != 0)
        return NULL;
    bool same = session->server == hello->server && session->uid == hello->uid &&
                (session->instance == NULL ? 0 : session->instance->number) == hello->instance &&
                session->peer_is_server == (hello->role == HANDSHAKE_ROLE_SERVER);
    return same ? session : NULL;
}

static int session_create(struct rpc *rpc, const struct handshake_hello *hello, struct rpc_session **session)
{
    uint32_t slot;
    int status = slot_find(rpc, &slot);
    if (status != 0)
        return status;
    struct rpc_session *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->rpc = rpc;
    made->slot = slot;
    made->server = hello->server;
    made->uid = hello->uid;
    made->peer_is_server = hello->role == HANDSHAKE_ROLE_SERVER;
    list_init(&made->executing);
    list_init(&made->link);
    status = instance_join(rpc, hello->instance, made);
    if (status != 0) {
        free(made);
        return status;
    }
    made->load = metrics_session_begin(rpc->metrics);
    rpc->sessions[slot] = made;
    rpc->counters.sessions++;
    *session = made;
    return 0;
}

int session_admit(void *owner, const struct handshake_hello *hello, struct handshake_welcome *welcome)
{
    struct rpc *rpc = owner;
    if (rpc->closing || rpc->net->address_length > sizeof(welcome->address))
        return -EAGAIN;
    struct net_connection *connection;
    int status = net_connect(rpc->net, hello->address, hello->address_length, &connection);
    if (status != 0)
        return status == -ENOMEM || status == -EINVAL ? status : -EHOSTUNREACH;
    struct rpc_session *session = session_resumable(rpc, hello);
    bool resumed = session != NULL;
    if (resumed) {
        session_disconnect(session);
        list_remove(&session->link); /* from the lost, or from those to be reaped */
        session->reaping = false;
        grace_set(rpc);
    } else {
        status = session_create(rpc, hello, &session);
        if (status != 0) {
            net_close(connection);
            return status;
        }
    }
    session->connection = connection;
    instance_connected(session);
    session->token = handshake_token(rpc->secret, session->slot, ++rpc->session_generation);
    session->known_token = resumed ? hello->token : session->token;

    welcome->resumed = resumed;
    welcome->session = session->slot;
    welcome->token = session->token;
    welcome->server = rpc->server_id;
    welcome->address_length = (uint16_t)rpc->net->address_length;
    memcpy(welcome->address, rpc->net->address, welcome->address_length);
    return 0;
}

/* The session that the welcome spoke of, if it has not been ended or resumed by another handshake meanwhile.
 */
static struct rpc_session *session_welcomed(struct rpc *rpc, const struct handshake_welcome *welcome)
{
    struct rpc_session *session =
        welcome->session < rpc->session_slots ? rpc->sessions[welcome->session] : NULL;
    return session != NULL && session->token == welcome->token ? session : NULL;
}

/* Tells readers who is at the session's other end. */
static void session_show(const struct rpc_session *session)
{
    struct metrics_session *load = session->load;
    if (load == NULL)
        return;
    load->instance = session->instance == NULL ? 0 : session->instance->number;
    load->process = session->instance == NULL ? 0 : session->instance->process;
    load->server = session->peer_is_server ? session->server : UINT32_MAX;
    load->uid = session->uid;
    memcpy(load->peer, session->peer, sizeof(load->peer));
    if (load->since == 0)
        __atomic_store_n(&load->since, loop_now(session->rpc->loop), __ATOMIC_RELEASE);
}

/* Takes the stream over into the session, or closes it. */
static void arrival_finish(struct arrival *arrival, int status, bool admitted)
{
    struct rpc *rpc = arrival->rpc;
    struct rpc_session *session = admitted ? session_welcomed(rpc, &arrival->welcome) : NULL;
    if (status != 0)
        rpc->counters.refused++;
    if (session == NULL) {
        net_stream_close(arrival->stream);
        return;
    }
    session->stream = arrival->stream;
    memcpy(session->peer, arrival->stream->peer, sizeof(session->peer));
    session_show(session);
    if (status != 0)
        session_lose(session); /* the welcome did not get through: as if the connection had been lost */
    else
        net_stream_on_close(arrival->stream, session_stream_closed, session);
}

static int arrival_admit(void *owner, const struct handshake_hello *hello, struct handshake_welcome *welcome)
{
    struct arrival *arrival = owner;
    return session_admit(arrival->rpc, hello, welcome);
}

static void accept_stream(void *owner, struct net_stream *stream)
{
    struct rpc *rpc = owner;
    struct arrival *arrival = NULL;
    if (!rpc->closing && rpc->half_open < RPC_HALF_OPEN_MAX)
        arrival = calloc(1, sizeof(*arrival));
    if (arrival == NULL) {
        rpc->counters.refused++;
        net_stream_close(stream);
        return;
    }
    arrival->rpc = rpc;
    arrival->stream = stream;
    arrival->task = task_current();
    arrival->welcome.session = UINT32_MAX;
    list_push_back(&rpc->arrivals, &arrival->link);
    rpc->half_open++;
    int status = handshake_accept(stream, rpc->key, loop_now(rpc->loop) + RPC_HANDSHAKE_DEADLINE,
                                  arrival_admit, arrival, &arrival->hello, &arrival->welcome);
    arrival_finish(arrival, status, arrival->welcome.session != UINT32_MAX);
    list_remove(&arrival->link);
    rpc->half_open--;
    free(arrival);
    rpc_check_quiet(rpc);
}

int rpc_listen(struct rpc *rpc, const char *address, char *bound)
{
    if (rpc->listener != NULL)
        return -EALREADY;
    int status = net_stream_listen(rpc->net, address, accept_stream, rpc, &rpc->listener);
    if (status != 0)
        return status;
    memcpy(bound, rpc->listener->address, sizeof(rpc->listener->address));
    return 0;
}

/* ---- the end of the party ---- */

void session_cancel_all(struct rpc *rpc)
{
    timer_clear(rpc->loop, &rpc->grace);
    list_for_each (node, &rpc->arrivals)
        task_cancel(container_of(node, struct arrival, link)->task);
    for (uint32_t slot = 0; slot < rpc->session_slots; slot++) {
        if (rpc->sessions[slot] != NULL)
            session_disconnect(rpc->sessions[slot]);
    }
}

void session_free_all(struct rpc *rpc)
{
    for (uint32_t slot = 0; slot < rpc->session_slots; slot++) {
        if (rpc->sessions[slot] != NULL) {
            struct rpc_session *session = rpc->sessions[slot];
            session_disconnect(session);
            session_leave_table(session);
            session_free(session);
        }
    }
    for (struct list *node; (node = list_pop_front(&rpc->reaping)) != NULL;) {
        struct rpc_session *session = container_of(node, struct rpc_session, link);
        session_disconnect(session);
        session_free(session);
    }
    timer_clear(rpc->loop, &rpc->silence);
    timer_clear(rpc->loop, &rpc->death);
    map_free(&rpc->instances);
    map_free(&rpc->serials);
    free(rpc->sessions);
}

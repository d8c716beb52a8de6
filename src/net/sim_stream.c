/* Byte streams of the simulated network.
 *
 * A stream is a pair of ends that know each other. What one end writes travels as a segment with a timer, in
 * order, to the other end's buffer; closing sends a last segment, the end of file. Nothing is lost, and
 * buffers are not bounded: streams carry handshakes. Segments on their way to an end belong to it and die
 * with it.
 *
 * An end that is closed while a task waits in it is freed by that task on its way out (as in tcp.c). */
#include "net/sim_network.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"

struct sim_listener {
    struct net_listener base;
    struct list link; /* in the party's listeners */
    struct sim_party *party;
    uint16_t port;
    void (*accept)(void *owner, struct net_stream *stream);
    void *owner;
};

struct sim_end {
    struct net_stream base;
    struct list link; /* in the party's streams */
    struct sim_party *party;
    struct sim_end *other; /* NULL: closed */
    struct list segments;  /* on their way here */
    uint64_t last_arrival;
    struct buffer arrived;
    size_t taken; /* of arrived */
    bool ended;
    bool broken; /* ended, and not by being closed */
    bool freed_by_waiter;
    struct completion *reader;
    void (*closed)(void *owner);
    void *closed_owner;
    void (*accept)(void *owner, struct net_stream *stream);
    void *accept_owner;
};

struct segment {
    struct list link;
    struct timer timer;
    struct sim_end *to;
    uint64_t from_party;
    bool end;
    bool broken;
    size_t length;
    uint8_t bytes[];
};

static bool waiting(const struct completion *completion)
{
    return completion != NULL && !completion->fired;
}

/* ---- segments ---- */

static void end_notice(struct sim_end *end)
{
    if (end->reader != NULL) {
        if (waiting(end->reader))
            completion_fire(end->reader, 0);
        return;
    }
    void (*closed)(void *owner) = end->closed;
    end->closed = NULL;
    if (closed != NULL)
        closed(end->closed_owner);
}

static void segment_free(struct segment *segment)
{
    timer_clear(segment->to->party->network->loop, &segment->timer);
    list_remove(&segment->link);
    free(segment);
}

static void segment_arrived(struct timer *timer)
{
    struct segment *segment = container_of(timer, struct segment, timer);
    struct sim_end *end = segment->to;
    struct sim_network *network = end->party->network;
    sim_event(network, segment->end ? SIM_END : SIM_BYTES, segment->from_party, end->party->id);
    sim_fold(network, segment->bytes, segment->length);
    if (segment->end) {
        end->ended = true;
        end->broken |= segment->broken;
    } else {
        buffer_append(&end->arrived, segment->bytes, segment->length);
    }
    segment_free(segment);
    end_notice(end);
}

static struct segment *segment_make(struct sim_end *to, uint64_t from_party, size_t length)
{
    struct segment *segment = calloc(1, sizeof *segment + length);
    if (segment == NULL)
        return NULL;
    segment->to = to;
    segment->from_party = from_party;
    segment->length = length;
    segment->timer.fire = segment_arrived;
    list_push_back(&to->segments, &segment->link);
    to->last_arrival = sim_arrival(to->party->network, to->last_arrival);
    timer_set(to->party->network->loop, &segment->timer, to->last_arrival);
    return segment;
}

static int segment_send(struct sim_end *to, uint64_t from_party, const void *bytes, size_t length)
{
    struct segment *segment = segment_make(to, from_party, length);
    if (segment == NULL)
        return -ENOMEM;
    if (length != 0)
        memcpy(segment->bytes, bytes, length);
    return 0;
}

static void end_send(struct sim_end *to, uint64_t from_party, bool broken)
{
    struct segment *segment = segment_make(to, from_party, 0);
    if (segment != NULL) {
        segment->end = true;
        segment->broken = broken;
    } else {
        to->ended = true;
        to->broken |= broken;
    }
}

/* ---- streams ---- */

/* Lets on_close find what arrived before it was registered, or while a reader had precedence. */
static void notice_later(struct sim_end *end)
{
    if (end->closed == NULL)
        return;
    if (end->ended)
        end_send(end, end->party->id, end->broken);
    else if (end->arrived.length != end->taken)
        segment_send(end, end->party->id, NULL, 0);
}

static int wait_arrival(struct sim_end *end, uint64_t deadline)
{
    if (end->reader != NULL)
        return -EBUSY;
    struct completion ready = COMPLETION_INIT;
    end->reader = &ready;
    int error = await_until(end->base.net->loop, &ready, deadline);
    end->reader = NULL;
    if (end->freed_by_waiter) {
        buffer_free(&end->arrived);
        free(end);
        return -ECONNRESET;
    }
    return error;
}

static int stream_read(struct net_stream *base, void *bytes, size_t length, uint64_t deadline)
{
    struct sim_end *end = container_of(base, struct sim_end, base);
    uint8_t *next = bytes;
    while (length != 0) {
        size_t available = end->arrived.length - end->taken;
        if (available != 0) {
            size_t share = available < length ? available : length;
            memcpy(next, end->arrived.bytes + end->taken, share);
            next += share;
            length -= share;
            end->taken += share;
            if (end->taken == end->arrived.length) {
                buffer_clear(&end->arrived);
                end->taken = 0;
            }
        } else if (end->ended || end->arrived.failed) {
            notice_later(end);
            return -ECONNRESET;
        } else {
            int error = wait_arrival(end, deadline);
            if (error != 0)
                return error;
        }
    }
    notice_later(end);
    return 0;
}

static int stream_write(struct net_stream *base, const void *bytes, size_t length, uint64_t deadline)
{
    struct sim_end *end = container_of(base, struct sim_end, base);
    (void)deadline;
    if (end->ended)
        return -ECONNRESET;
    if (end->other == NULL || length == 0)
        return 0; /* the news of its closing is still under way */
    return segment_send(end->other, end->party->id, bytes, length);
}

static void stream_on_close(struct net_stream *base, void (*closed)(void *owner), void *owner)
{
    struct sim_end *end = container_of(base, struct sim_end, base);
    end->closed = closed;
    end->closed_owner = owner;
    notice_later(end);
}

static int stream_parting(struct net_stream *base)
{
    struct sim_end *end = container_of(base, struct sim_end, base);
    if (end->taken < end->arrived.length)
        return end->arrived.bytes[end->taken++];
    return !end->ended ? -EAGAIN : end->broken ? -ECONNRESET : -EPIPE;
}

/* Tells the other end and forgets it. */
static void end_part(struct sim_end *end, bool broken)
{
    struct sim_end *other = end->other;
    if (other == NULL)
        return;
    end->other = NULL;
    other->other = NULL;
    end_send(other, end->party->id, broken);
}

static void stream_close(struct net_stream *base)
{
    struct sim_end *end = container_of(base, struct sim_end, base);
    end_part(end, false);
    while (!list_empty(&end->segments))
        segment_free(container_of(end->segments.next, struct segment, link));
    list_remove(&end->link);
    if (end->reader != NULL) {
        end->freed_by_waiter = true;
        if (waiting(end->reader))
            completion_fire(end->reader, -ECONNRESET);
        return;
    }
    buffer_free(&end->arrived);
    free(end);
}

static const struct net_stream_operations sim_operations = {
    .read = stream_read,
    .write = stream_write,
    .on_close = stream_on_close,
    .parting = stream_parting,
    .close = stream_close,
};

static struct sim_end *end_create(struct sim_party *party, const char *peer)
{
    struct sim_end *end = calloc(1, sizeof *end);
    if (end == NULL)
        return NULL;
    end->base.operations = &sim_operations;
    end->base.net = &party->base;
    snprintf(end->base.peer, sizeof end->base.peer, "%s", peer);
    end->party = party;
    list_init(&end->segments);
    buffer_init(&end->arrived);
    list_push_back(&party->streams, &end->link);
    return end;
}

void sim_streams_end(struct sim_party *party, bool broken)
{
    list_for_each (link, &party->streams) {
        struct sim_end *end = container_of(link, struct sim_end, link);
        end_part(end, broken);
        /* The party's own tasks see the end too, so that its owner can clear up. */
        while (!list_empty(&end->segments))
            segment_free(container_of(end->segments.next, struct segment, link));
        if (!end->ended)
            end_send(end, party->id, true);
    }
}

/* ---- addresses ---- */

static int split(const char *address, size_t *host_length, uint16_t *port)
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL || colon[1] == '\0' || strspn(colon + 1, "0123456789") != strlen(colon + 1))
        return -EINVAL;
    unsigned long value = strtoul(colon + 1, NULL, 10);
    if (value > UINT16_MAX)
        return -EINVAL;
    *host_length = (size_t)(colon - address);
    *port = (uint16_t)value;
    return 0;
}

static struct sim_listener *find_listener(struct sim_party *party, uint16_t port)
{
    list_for_each (link, &party->listeners) {
        struct sim_listener *listener = container_of(link, struct sim_listener, link);
        if (listener->port == port)
            return listener;
    }
    return NULL;
}

static uint16_t free_port(struct sim_party *party)
{
    do
        party->last_port = party->last_port == UINT16_MAX ? 1024 : (uint16_t)(party->last_port + 1);
    while (find_listener(party, party->last_port) != NULL);
    return party->last_port;
}

/* ---- listening ---- */

static void listener_close(struct net_listener *base)
{
    struct sim_listener *listener = container_of(base, struct sim_listener, base);
    list_remove(&listener->link);
    free(listener);
}

int sim_stream_listen(struct net *net, const char *address,
                      void (*accept)(void *owner, struct net_stream *stream), void *owner,
                      struct net_listener **out)
{
    struct sim_party *party = container_of(net, struct sim_party, base);
    size_t host_length;
    uint16_t port;
    int error = split(address, &host_length, &port);
    if (error != 0)
        return error;
    if (host_length != strlen(party->host) || memcmp(address, party->host, host_length) != 0)
        return -EADDRNOTAVAIL;
    if (port == 0)
        port = free_port(party);
    else if (find_listener(party, port) != NULL)
        return -EADDRINUSE;
    struct sim_listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL)
        return -ENOMEM;
    snprintf(listener->base.address, sizeof listener->base.address, "%s:%u", party->host, port);
    listener->base.close = listener_close;
    listener->party = party;
    listener->port = port;
    listener->accept = accept;
    listener->owner = owner;
    list_push_back(&party->listeners, &listener->link);
    *out = &listener->base;
    return 0;
}

/* ---- connecting ---- */

struct pause {
    struct timer timer;
    struct completion over;
};

static void pause_over(struct timer *timer)
{
    completion_fire(&container_of(timer, struct pause, timer)->over, 0);
}

/* Waits as long as a message travels. */
static int travel(struct sim_network *network, uint64_t deadline)
{
    struct pause pause = {.timer.fire = pause_over};
    timer_set(network->loop, &pause.timer, sim_arrival(network, 0));
    int error = await_until(network->loop, &pause.over, deadline);
    timer_clear(network->loop, &pause.timer);
    return error;
}

static void accept_task(void *argument)
{
    struct sim_end *end = argument;
    end->accept(end->accept_owner, &end->base);
}

static int join(struct sim_party *from, struct sim_listener *listener, struct sim_end **out)
{
    struct sim_network *network = from->network;
    char name[64];
    snprintf(name, sizeof name, "%s:%u", from->host, free_port(from));
    struct sim_end *near = end_create(from, listener->base.address);
    struct sim_end *far = end_create(listener->party, name);
    int error = near == NULL || far == NULL ? -ENOMEM : 0;
    if (error == 0) {
        far->accept = listener->accept;
        far->accept_owner = listener->owner;
        error = task_spawn_later(network->loop, accept_task, far, NULL);
    }
    if (error != 0) {
        if (near != NULL)
            stream_close(&near->base);
        if (far != NULL)
            stream_close(&far->base);
        return error;
    }
    near->other = far;
    far->other = near;
    sim_event(network, SIM_CONNECT, from->id, listener->party->id);
    *out = near;
    return 0;
}

int sim_stream_connect(struct net *net, const char *address, uint64_t deadline, struct net_stream **out)
{
    struct sim_party *party = container_of(net, struct sim_party, base);
    struct sim_network *network = party->network;
    size_t host_length;
    uint16_t port;
    int error = split(address, &host_length, &port);
    if (error == 0)
        error = travel(network, deadline);
    if (error != 0)
        return error;
    struct sim_party *to = party->dead ? NULL : sim_party_find(network, address, host_length);
    struct sim_listener *listener = to == NULL ? NULL : find_listener(to, port);
    struct sim_end *end = NULL;
    if (listener != NULL) {
        error = join(party, listener, &end);
        if (error != 0)
            return error;
    }
    error = travel(network, deadline);
    if (error == 0 && listener == NULL)
        error = -ECONNREFUSED;
    if (error != 0) {
        if (end != NULL)
            stream_close(&end->base);
        return error;
    }
    *out = &end->base;
    return 0;
}

/* The simulated network: parties and messages.
 *
 * Everything that happens is a timer of the one simulated loop, and everything random comes from its
 * generator, so a run is a function of the seed. Nothing here depends on addresses in memory or on real time.
 *
 * A message is copied when it is sent, header and bulk, so that what the sender does afterwards cannot change
 * it. It arrives after a random delay, not before the one sent earlier on the same connection, unless it is
 * lost or its receiver is dead by then. One eager send in eight says -EINPROGRESS and completes later,
 * because over UCX it sometimes does and callers must cope.
 *
 * A rendezvous' bulk moves when the receiver asks for it: after a further delay it is copied into the
 * receiver's memory, or, if the sender has been killed meanwhile, the receive fails. The sender's completion
 * fires a delay after the bulk was fetched or the message dropped, lost or released.
 *
 * Two records describe a message: struct sim_message is the receiver's side of it and lives until delivered
 * and no longer held; struct sim_send is the sender's side and lives until its completion fired. Either may
 * end first: the message points to its send, which outlives it.
 *
 * A killed party is not freed: its owner still destroys it. Its tasks run on, in vain: nothing they send
 * arrives. */
#include "net/sim_network.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EAGER_MAX (32u << 10)
#define PENDING_ONE_IN 8
#define ADDRESS_MAGIC UINT64_C(0x4d49532d53464221)
#define PAGE 4096u

struct sim_connection {
    struct net_connection base;
    struct list link;
    struct list sends; /* struct sim_send.connection_link */
    uint64_t to;
    uint64_t last_arrival; /* of any message so far */
};

struct sim_send {
    struct list link; /* in the network's sends */
    struct list connection_link;
    struct completion *completion; /* NULL: already told */
    struct timer timer;
    struct sim_network *network;
};

struct sim_message {
    struct list link;
    struct timer timer; /* its arrival, then that of its bulk */
    struct sim_network *network;
    struct sim_party *receiver; /* set on delivery */
    struct sim_send *send;      /* to be told when the bulk is settled; may be NULL */
    uint64_t from, to;
    uint64_t due; /* when it came, however long its receiver did not look; 0: it has not */
    bool rendezvous;
    bool held;
    bool fetching;
    bool delivering;
    struct completion *received;
    struct iovec *into;
    uint32_t into_count;
    uint32_t header_length;
    uint64_t bulk_length;
    uint8_t bytes[]; /* header, padded to 16, then bulk */
};

/* ---- trace ---- */

void sim_fold(struct sim_network *network, const void *bytes, size_t length)
{
    XXH64_update(network->trace, bytes, length);
}

void sim_event(struct sim_network *network, enum sim_event event, uint64_t from, uint64_t to)
{
    const uint64_t words[] = {loop_now(network->loop), (uint64_t)event, from, to};
    sim_fold(network, words, sizeof words);
}

void sim_trace(struct sim_network *network, const void *bytes, size_t length)
{
    sim_event(network, SIM_NOTE, 0, 0);
    sim_fold(network, bytes, length);
}

uint64_t sim_trace_hash(const struct sim_network *network)
{
    return XXH64_digest(network->trace);
}

uint64_t sim_arrival(struct sim_network *network, uint64_t after)
{
    const struct sim_options *options = &network->options;
    uint64_t spread = options->delay_max_ns - options->delay_min_ns;
    uint64_t arrival = loop_now(network->loop) + options->delay_min_ns +
                       random_below(loop_random(network->loop), spread + 1);
    return arrival > after ? arrival : after;
}

/* ---- parties ---- */

static struct sim_party *party_of(struct net *net)
{
    return container_of(net, struct sim_party, base);
}

static struct sim_party *party_by_id(struct sim_network *network, uint64_t id)
{
    list_for_each (link, &network->parties) {
        struct sim_party *party = container_of(link, struct sim_party, link);
        if (party->id == id)
            return party->dead ? NULL : party;
    }
    return NULL;
}

struct sim_party *sim_party_find(struct sim_network *network, const char *host, size_t length)
{
    list_for_each (link, &network->parties) {
        struct sim_party *party = container_of(link, struct sim_party, link);
        if (!party->dead && strlen(party->host) == length && memcmp(party->host, host, length) == 0)
            return party;
    }
    return NULL;
}

/* ---- the sender's side ---- */

static void send_finish(struct sim_send *send, int status)
{
    struct completion *completion = send->completion;
    timer_clear(send->network->loop, &send->timer);
    list_remove(&send->link);
    list_remove(&send->connection_link);
    free(send);
    if (completion != NULL)
        completion_fire(completion, status);
}

static void send_acknowledged(struct timer *timer)
{
    send_finish(container_of(timer, struct sim_send, timer), 0);
}

static struct sim_send *send_create(struct sim_connection *connection, struct completion *completion)
{
    struct sim_network *network = party_of(connection->base.net)->network;
    struct sim_send *send = calloc(1, sizeof *send);
    if (send == NULL)
        return NULL;
    send->network = network;
    send->completion = completion;
    send->timer.fire = send_acknowledged;
    list_push_back(&network->sends, &send->link);
    list_push_back(&connection->sends, &send->connection_link);
    return send;
}

/* ---- the receiver's side ---- */

static void message_free(struct sim_message *message)
{
    timer_clear(message->network->loop, &message->timer);
    list_remove(&message->link);
    free(message->into);
    free(message);
}

/* The sender's buffers are no longer needed. */
static void message_settle(struct sim_message *message)
{
    struct sim_send *send = message->send;
    message->send = NULL;
    if (send != NULL)
        timer_set(message->network->loop, &send->timer, sim_arrival(message->network, 0));
}

static void message_end_if_unused(struct sim_message *message)
{
    if (message->held || message->fetching || message->delivering)
        return;
    message_settle(message);
    message_free(message);
}

static const uint8_t *message_bulk(const struct sim_message *message)
{
    return message->bytes + (message->header_length + 15) / 16 * 16;
}

static void copy_out(const struct sim_message *message, const struct iovec *into, uint32_t count)
{
    const uint8_t *from = message_bulk(message);
    for (uint32_t i = 0; i < count; i++) {
        if (into[i].iov_len != 0)
            memcpy(into[i].iov_base, from, into[i].iov_len);
        from += into[i].iov_len;
    }
}

static void message_arrived(struct timer *timer)
{
    struct sim_message *message = container_of(timer, struct sim_message, timer);
    struct sim_party *receiver = party_by_id(message->network, message->to);
    if (receiver == NULL) {
        message_end_if_unused(message);
        return;
    }
    uint64_t now = loop_now(message->network->loop);
    bool fresh = message->due == 0;
    if (fresh)
        message->due = now;
    /* What comes at the very end waits, too, behind those that came before it. */
    if (receiver->busy_until > now || (fresh && receiver->busy_until == now)) {
        timer_set(message->network->loop, &message->timer, receiver->busy_until);
        return;
    }
    sim_event(message->network, SIM_MESSAGE, message->from, message->to);
    sim_fold(message->network, message->bytes, message->header_length);
    if (!message->rendezvous) {
        sim_fold(message->network, message_bulk(message), message->bulk_length);
        message_settle(message);
    }
    message->receiver = receiver;
    struct net_message arrived = {
        .net = &receiver->base,
        .header = message->bytes,
        .header_length = message->header_length,
        .bulk_here = !message->rendezvous && message->bulk_length != 0,
        .bulk = !message->rendezvous && message->bulk_length != 0 ? message_bulk(message) : NULL,
        .bulk_length = message->bulk_length,
        .looked = message->due,
        .transport = message,
    };
    message->delivering = true;
    receiver->base.receiver(receiver->base.owner, &arrived);
    message->delivering = false;
    /* The header dies with the callback: whoever keeps a pointer to it shall not find it intact. */
    memset(message->bytes, 0xdd, message->header_length);
    message_end_if_unused(message);
}

static void hold(struct net_message *arrived)
{
    struct sim_message *message = arrived->transport;
    message->held = true;
    arrived->held = true;
}

static void fetch_finish(struct sim_message *message, int status)
{
    struct completion *received = message->received;
    message->fetching = false;
    if (status == 0) {
        sim_event(message->network, SIM_FETCH, message->from, message->to);
        sim_fold(message->network, message_bulk(message), message->bulk_length);
        copy_out(message, message->into, message->into_count);
    }
    message_settle(message);
    message_end_if_unused(message);
    if (received != NULL)
        completion_fire(received, status);
}

static void fetch_arrived(struct timer *timer)
{
    struct sim_message *message = container_of(timer, struct sim_message, timer);
    bool sender_lives = party_by_id(message->network, message->from) != NULL;
    fetch_finish(message, sender_lives ? 0 : -ECONNRESET);
}

static int receive(struct net_message *arrived, const struct iovec *into, uint32_t count,
                   struct completion *received)
{
    struct sim_message *message = arrived->transport;
    uint64_t total = 0;
    for (uint32_t i = 0; i < count; i++)
        total += into[i].iov_len;
    if (total != arrived->bulk_length)
        return -EINVAL;
    if (total == 0)
        return 0;
    if (!message->rendezvous) {
        copy_out(message, into, count);
        return 0;
    }
    if (message->into != NULL)
        return -EALREADY;
    message->into = calloc(count, sizeof *into);
    if (message->into == NULL)
        return -ENOMEM;
    memcpy(message->into, into, count * sizeof *into);
    message->into_count = count;
    message->received = received;
    message->fetching = true;
    message->timer.fire = fetch_arrived;
    timer_set(message->network->loop, &message->timer, sim_arrival(message->network, 0));
    return -EINPROGRESS;
}

static void release(struct net_message *arrived)
{
    struct sim_message *message = arrived->transport;
    if (!arrived->held)
        return;
    arrived->held = false;
    message->held = false;
    message_end_if_unused(message);
}

/* ---- connections ---- */

static int connection_open(struct net *net, const void *address, size_t length, struct net_connection **out)
{
    uint64_t words[2];
    struct sim_party *party = party_of(net);
    if (length != sizeof words)
        return -EINVAL;
    memcpy(words, address, sizeof words);
    if (words[0] != ADDRESS_MAGIC || words[1] == 0 || words[1] > party->network->party_count)
        return -EINVAL;
    struct sim_connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        return -ENOMEM;
    connection->base.net = net;
    connection->to = words[1];
    list_init(&connection->sends);
    list_push_back(&party->connections, &connection->link);
    *out = &connection->base;
    return 0;
}

static void connection_close(struct net_connection *base)
{
    struct sim_connection *connection = container_of(base, struct sim_connection, base);
    struct list *link;
    list_remove(&connection->link);
    /* The records stay for the messages that point to them; nobody waits for them any more. */
    while ((link = list_pop_front(&connection->sends)) != NULL) {
        struct sim_send *send = container_of(link, struct sim_send, connection_link);
        struct completion *completion = send->completion;
        send->completion = NULL;
        if (completion != NULL)
            completion_fire(completion, -ECONNRESET);
    }
    free(connection);
}

static struct sim_message *message_create(struct sim_connection *connection, const void *header,
                                          uint32_t header_length, const struct iovec *bulk,
                                          uint32_t bulk_count)
{
    struct sim_party *party = party_of(connection->base.net);
    uint64_t length = 0;
    for (uint32_t i = 0; i < bulk_count; i++)
        length += bulk[i].iov_len;
    struct sim_message *message = calloc(1, sizeof *message + header_length + 15 + length);
    if (message == NULL)
        return NULL;
    message->network = party->network;
    message->timer.fire = message_arrived;
    message->from = party->id;
    message->to = connection->to;
    message->header_length = header_length;
    message->bulk_length = length;
    memcpy(message->bytes, header, header_length);
    uint8_t *next = message->bytes + (message_bulk(message) - message->bytes);
    for (uint32_t i = 0; i < bulk_count; i++) {
        if (bulk[i].iov_len != 0)
            memcpy(next, bulk[i].iov_base, bulk[i].iov_len);
        next += bulk[i].iov_len;
    }
    list_push_back(&party->network->messages, &message->link);
    return message;
}

static int message_send(struct net_connection *base, const void *header, uint32_t header_length,
                        const struct iovec *bulk, uint32_t bulk_count, unsigned flags,
                        struct completion *sent)
{
    struct sim_connection *connection = container_of(base, struct sim_connection, base);
    struct sim_party *party = party_of(base->net);
    struct random *random = loop_random(base->net->loop);
    if (header_length == 0 || header_length > NET_HEADER_MAX)
        return -EINVAL;
    struct sim_message *message = message_create(connection, header, header_length, bulk, bulk_count);
    if (message == NULL)
        return -ENOMEM;
    message->rendezvous = (flags & NET_SEND_RENDEZVOUS) != 0 && message->bulk_length != 0;
    if (message->rendezvous || random_below(random, PENDING_ONE_IN) == 0) {
        message->send = send_create(connection, sent);
        if (message->send == NULL) {
            message_free(message);
            return -ENOMEM;
        }
    }
    int status = message->send != NULL ? -EINPROGRESS : 0;
    if (random_below(random, 1000000) < party->network->options.loss_per_million) {
        sim_event(party->network, SIM_LOST, message->from, message->to);
        message_end_if_unused(message);
    } else if (party->dead) {
        message_end_if_unused(message);
    } else {
        connection->last_arrival = sim_arrival(party->network, connection->last_arrival);
        timer_set(base->net->loop, &message->timer, connection->last_arrival);
    }
    return status;
}

/* ---- memory ---- */

static int memory_allocate(struct net *net, size_t length, void **memory, void **region)
{
    (void)net;
    size_t rounded = (length + PAGE - 1) / PAGE * PAGE;
    void *allocated = aligned_alloc(PAGE, rounded != 0 ? rounded : PAGE);
    if (allocated == NULL)
        return -ENOMEM;
    memset(allocated, 0, length);
    *memory = allocated;
    *region = allocated;
    return 0;
}

static void memory_free(struct net *net, void *region)
{
    (void)net;
    free(region);
}

/* ---- life and death ---- */

static void drop_message(void *owner, struct net_message *message)
{
    (void)owner, (void)message;
}

static struct sim_message *message_at(struct sim_party *party)
{
    list_for_each (link, &party->network->messages) {
        struct sim_message *message = container_of(link, struct sim_message, link);
        if (message->receiver == party)
            return message;
    }
    return NULL;
}

static void messages_leave(struct sim_party *party)
{
    struct sim_message *message;
    while ((message = message_at(party)) != NULL) {
        message->receiver = NULL;
        message->held = false;
        if (message->fetching)
            fetch_finish(message, -ECONNRESET);
        else
            message_end_if_unused(message);
    }
}

static void destroy(struct net *net)
{
    struct sim_party *party = party_of(net);
    party->base.receiver = drop_message;
    messages_leave(party);
    while (!list_empty(&party->connections))
        connection_close(&container_of(party->connections.next, struct sim_connection, link)->base);
    sim_streams_end(party, false);
    assert(list_empty(&party->streams) && list_empty(&party->listeners));
    list_remove(&party->link);
    free(party);
}

void net_sim_kill(struct net *net)
{
    struct sim_party *party = party_of(net);
    if (party->dead)
        return;
    party->dead = true;
    sim_event(party->network, SIM_KILL, party->id, 0);
    sim_shown_orphan(party);
    sim_streams_end(party, false);
}

void net_sim_busy(struct net *net, uint64_t ns)
{
    struct sim_party *party = party_of(net);
    party->busy_until = loop_now(party->network->loop) + ns;
}

void net_sim_disconnect(struct net *net)
{
    struct sim_party *party = party_of(net);
    sim_event(party->network, SIM_DISCONNECT, party->id, 0);
    sim_streams_end(party, true);
}

static const struct net_operations sim_operations = {
    .destroy = destroy,
    .connect = connection_open,
    .close = connection_close,
    .send = message_send,
    .hold = hold,
    .receive = receive,
    .release = release,
    .memory_allocate = memory_allocate,
    .memory_free = memory_free,
    .show = sim_show,
    .hide = sim_hide,
    .view = sim_view,
    .view_end = sim_view_end,
    .stream_listen = sim_stream_listen,
    .stream_connect = sim_stream_connect,
};

int net_sim_create(struct sim_network *network, const char *host, struct net **out)
{
    size_t length = strlen(host);
    if (length == 0 || length >= sizeof((struct sim_party *)NULL)->host || strchr(host, ':') != NULL)
        return -EINVAL;
    if (sim_party_find(network, host, length) != NULL)
        return -EADDRINUSE;
    struct sim_party *party = calloc(1, sizeof *party);
    if (party == NULL)
        return -ENOMEM;
    party->network = network;
    party->id = ++network->party_count;
    memcpy(party->host, host, length);
    list_init(&party->connections);
    list_init(&party->streams);
    list_init(&party->listeners);
    party->last_port = 1023;
    const uint64_t words[] = {ADDRESS_MAGIC, party->id};
    static_assert(sizeof words == sizeof party->address, "an address is two words");
    memcpy(party->address, words, sizeof words);
    party->base = (struct net){
        .operations = &sim_operations,
        .loop = network->loop,
        .name = "sim",
        .reliable = false,
        .eager_max = EAGER_MAX,
        .address = party->address,
        .address_length = sizeof party->address,
        .receiver = drop_message,
    };
    list_push_back(&network->parties, &party->link);
    *out = &party->base;
    return 0;
}

int sim_network_create(struct loop *loop, const struct sim_options *options, struct sim_network **out)
{
    if (!loop_simulated(loop) || options->delay_min_ns > options->delay_max_ns)
        return -EINVAL;
    struct sim_network *network = calloc(1, sizeof *network);
    if (network == NULL)
        return -ENOMEM;
    network->loop = loop;
    network->options = *options;
    list_init(&network->parties);
    list_init(&network->messages);
    list_init(&network->sends);
    list_init(&network->shown);
    network->trace = XXH64_createState();
    if (network->trace == NULL) {
        free(network);
        return -ENOMEM;
    }
    XXH64_reset(network->trace, 0);
    *out = network;
    return 0;
}

void sim_network_options(struct sim_network *network, const struct sim_options *options)
{
    network->options = *options;
}

void sim_network_destroy(struct sim_network *network)
{
    assert(list_empty(&network->parties));
    list_for_each_safe (link, &network->messages) {
        message_free(container_of(link, struct sim_message, link));
    }
    list_for_each_safe (link, &network->sends) {
        send_finish(container_of(link, struct sim_send, link), -ECONNRESET);
    }
    XXH64_freeState(network->trace);
    free(network);
}

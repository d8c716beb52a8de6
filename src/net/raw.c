/* Raw UCX ping-pong and bulk transfer.
 *
 * The client configures the server with a SETUP message (how large replies are, how much memory to use),
 * waits for its answer, then runs the measurement. Everything happens inside the active message handlers,
 * which is the least that UCX permits: the server answers from within the handler of the request.
 *
 * Messages travel as active message payload, not header, with the message's kind as the active message id:
 * that is UCX's shortest path. The first eight bytes of each carry the client's slot (0..depth-1), which the
 * answer repeats.
 *
 * A side that waits polls without pause, but for a look now and then whether the other is still there. */
#include "net/raw.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/pair.h"

#define HUGE_PAGE (UINT64_C(2) << 20)
#define SMALL_MAX 65536u
#define IN_PLACE_MAX 256u

enum message { RAW_SETUP, RAW_PING, RAW_WRITE, RAW_READ, RAW_ANSWER, RAW_DATA, RAW_MESSAGES };

struct setup {
    uint64_t reply_bytes;
    uint64_t size;
    uint64_t footprint;
};

struct raw_side {
    struct ucx_pair pair;
    uint32_t pending; /* UCX requests under way */
    uint8_t *memory;
    size_t memory_length;
    uint8_t small[SMALL_MAX];   /* sent from */
    uint8_t landing[SMALL_MAX]; /* received into */
};

struct raw_server {
    struct raw_side side;
    struct setup setup;
    size_t next;                   /* offset in memory of the next transfer */
    uint64_t slots[RAW_DEPTH_MAX]; /* of answers, so that pending ones keep their bytes */
};

struct raw_client {
    struct raw_side side;
    size_t size;
    uint64_t slots[RAW_DEPTH_MAX];
    uint64_t started[RAW_DEPTH_MAX];
    /* the measurement under way */
    uint32_t depth;
    enum message request;
    uint64_t issued;
    uint64_t answered;
    uint64_t count;
    uint64_t *latency;
};

/* ---- both sides ---- */

static void sent(void *request, ucs_status_t status, void *user_data)
{
    struct raw_side *side = user_data;
    side->pending--;
    if (status != UCS_OK && side->pair.error == 0)
        side->pair.error = ucx_status(status);
    ucp_request_free(request);
}

static inline void send_message(struct raw_side *side, enum message message, const void *bytes, size_t length,
                                uint32_t flags)
{
    const ucp_request_param_t parameters = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS | UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA,
        .flags = flags,
        .cb.send = sent,
        .user_data = side,
    };
    void *request = ucp_am_send_nbx(side->pair.endpoint, message, NULL, 0, bytes, length, &parameters);
    if (request == NULL)
        return;
    if (UCS_PTR_IS_ERR(request))
        side->pair.error = ucx_status(UCS_PTR_STATUS(request));
    else
        side->pending++;
}

/* For the data of a rendezvous the first eight bytes are data, so the slot goes as the header. */
static inline void send_bulk(struct raw_side *side, enum message message, const uint64_t *slot,
                             const void *bytes, size_t length)
{
    const ucp_request_param_t parameters = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS | UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA,
        .flags = UCP_AM_SEND_FLAG_RNDV,
        .cb.send = sent,
        .user_data = side,
    };
    void *request =
        ucp_am_send_nbx(side->pair.endpoint, message, slot, sizeof *slot, bytes, length, &parameters);
    if (UCS_PTR_IS_ERR(request))
        side->pair.error = ucx_status(UCS_PTR_STATUS(request));
    else if (request != NULL)
        side->pending++;
}

/* A small message is read where UCX has it; a larger one is bulk, which its receiver wants in memory of its
 * own. */
static inline void land(struct raw_side *side, const void *bytes, size_t length)
{
    if (length > IN_PLACE_MAX && length <= SMALL_MAX)
        memcpy(side->landing, bytes, length);
}

static int side_open(struct raw_side *side, int socket, const struct net_ucx_options *options)
{
    int error = ucx_pair_open(&side->pair, socket, options);
    if (error != 0)
        return error;
    error = ucx_pair_meet(&side->pair);
    if (error != 0)
        ucx_pair_close(&side->pair);
    return error;
}

/* At least a huge page: pinning small ones costs a transfer a third of its speed. */
static size_t allocation(size_t length)
{
    return length < HUGE_PAGE ? HUGE_PAGE : length;
}

static void side_close(struct raw_side *side)
{
    ucx_pair_close(&side->pair);
    if (side->memory != NULL)
        ucx_memory_free(side->memory, allocation(side->memory_length));
}

static int use_memory(struct raw_side *side, size_t length)
{
    if (side->memory != NULL && side->memory_length == length)
        return 0;
    if (side->memory != NULL)
        ucx_memory_free(side->memory, allocation(side->memory_length));
    side->memory = ucx_memory_allocate(allocation(length));
    if (side->memory == NULL)
        return -ENOMEM;
    side->memory_length = length;
    memset(side->memory, 0x5a, length);
    return 0;
}

/* ---- server ---- */

static ucs_status_t serve_setup(void *owner, const void *header, size_t header_length, void *bytes,
                                size_t length, const ucp_am_recv_param_t *parameters)
{
    struct raw_server *server = owner;
    (void)header, (void)header_length, (void)parameters;
    if (length != sizeof server->setup)
        return UCS_OK;
    memcpy(&server->setup, bytes, length);
    server->next = 0;
    if (server->setup.footprint != 0)
        server->side.pair.error = use_memory(&server->side, server->setup.footprint);
    send_message(&server->side, RAW_ANSWER, server->side.small, sizeof(uint64_t), UCP_AM_SEND_FLAG_EAGER);
    return UCS_OK;
}

static ucs_status_t serve_ping(void *owner, const void *header, size_t header_length, void *bytes,
                               size_t length, const ucp_am_recv_param_t *parameters)
{
    struct raw_server *server = owner;
    (void)header, (void)header_length, (void)parameters;
    land(&server->side, bytes, length);
    send_message(&server->side, RAW_ANSWER, server->side.small, server->setup.reply_bytes,
                 UCP_AM_SEND_FLAG_EAGER);
    return UCS_OK;
}

static void *next_memory(struct raw_server *server, size_t size)
{
    if (server->next + size > server->side.memory_length)
        server->next = 0;
    uint8_t *memory = server->side.memory + server->next;
    server->next += size;
    return memory;
}

static void landed(void *request, ucs_status_t status, size_t length, void *user_data)
{
    uint64_t *slot = user_data;
    (void)length;
    struct raw_server *server =
        (struct raw_server *)(void *)((char *)(slot - *slot) - offsetof(struct raw_server, slots));
    server->side.pending--;
    if (status != UCS_OK)
        server->side.pair.error = ucx_status(status);
    ucp_request_free(request);
    send_message(&server->side, RAW_ANSWER, slot, sizeof *slot, UCP_AM_SEND_FLAG_EAGER);
}

static ucs_status_t serve_write(void *owner, const void *header, size_t header_length, void *data,
                                size_t length, const ucp_am_recv_param_t *parameters)
{
    struct raw_server *server = owner;
    uint64_t slot;
    if (header_length != sizeof slot || length > server->side.memory_length ||
        (parameters->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) == 0)
        return UCS_OK;
    memcpy(&slot, header, sizeof slot);
    if (slot >= RAW_DEPTH_MAX)
        return UCS_OK;
    const ucp_request_param_t receive = {
        .op_attr_mask =
            UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FLAG_NO_IMM_CMPL,
        .cb.recv_am = landed,
        .user_data = &server->slots[slot],
    };
    server->side.pending++;
    void *request = ucp_am_recv_data_nbx(server->side.pair.ucx.worker, data, next_memory(server, length),
                                         length, &receive);
    if (UCS_PTR_IS_ERR(request))
        server->side.pair.error = ucx_status(UCS_PTR_STATUS(request));
    return UCS_INPROGRESS;
}

static ucs_status_t serve_read(void *owner, const void *header, size_t header_length, void *bytes,
                               size_t length, const ucp_am_recv_param_t *parameters)
{
    struct raw_server *server = owner;
    uint64_t slot;
    (void)header, (void)header_length, (void)parameters;
    if (length != sizeof slot || server->setup.size > server->side.memory_length)
        return UCS_OK;
    memcpy(&slot, bytes, sizeof slot);
    if (slot >= RAW_DEPTH_MAX)
        return UCS_OK;
    send_bulk(&server->side, RAW_DATA, &server->slots[slot], next_memory(server, server->setup.size),
              server->setup.size);
    return UCS_OK;
}

int raw_server_run(int socket, const struct net_ucx_options *options)
{
    struct raw_server *server = calloc(1, sizeof *server);
    if (server == NULL) {
        close(socket);
        return -ENOMEM;
    }
    for (uint64_t slot = 0; slot < RAW_DEPTH_MAX; slot++)
        server->slots[slot] = slot;
    int error = side_open(&server->side, socket, options);
    if (error == 0) {
        error = ucx_handler_set(&server->side.pair.ucx, RAW_SETUP, serve_setup, server);
        if (error == 0)
            error = ucx_handler_set(&server->side.pair.ucx, RAW_PING, serve_ping, server);
        if (error == 0)
            error = ucx_handler_set(&server->side.pair.ucx, RAW_WRITE, serve_write, server);
        if (error == 0)
            error = ucx_handler_set(&server->side.pair.ucx, RAW_READ, serve_read, server);
        const char ready = 1;
        if (error == 0)
            error = ucx_pair_write(&server->side.pair, &ready, 1);
        while (error == 0 && (ucx_pair_progress(&server->side.pair) || !ucx_pair_ended(&server->side.pair)))
            error = server->side.pair.error;
        side_close(&server->side);
    }
    free(server);
    return error;
}

/* ---- client ---- */

static inline void issue(struct raw_client *client, uint64_t slot)
{
    client->issued++;
    client->started[slot] = clock_now();
    if (client->request == RAW_PING)
        send_message(&client->side, RAW_PING, client->side.small, client->size, UCP_AM_SEND_FLAG_EAGER);
    else if (client->request == RAW_WRITE)
        send_bulk(&client->side, RAW_WRITE, &client->slots[slot], client->side.memory + slot * client->size,
                  client->size);
    else
        send_message(&client->side, RAW_READ, &client->slots[slot], sizeof(uint64_t), UCP_AM_SEND_FLAG_EAGER);
}

static inline void answered(struct raw_client *client, uint64_t slot)
{
    if (client->latency != NULL)
        client->latency[client->answered] = clock_now() - client->started[slot];
    client->answered++;
}

static ucs_status_t take_answer(void *owner, const void *header, size_t header_length, void *bytes,
                                size_t length, const ucp_am_recv_param_t *parameters)
{
    struct raw_client *client = owner;
    (void)header, (void)header_length, (void)parameters;
    if (client->request == RAW_SETUP) {
        client->answered++;
        return UCS_OK;
    }
    if (client->request == RAW_PING) { /* answers come in the order of requests */
        uint64_t oldest = client->answered % client->depth;
        land(&client->side, bytes, length);
        answered(client, oldest);
        if (client->issued < client->count && client->depth > 1)
            issue(client, oldest);
        return UCS_OK;
    }
    uint64_t slot;
    if (length < sizeof slot)
        return UCS_OK;
    memcpy(&slot, bytes, sizeof slot);
    if (slot >= RAW_DEPTH_MAX)
        return UCS_OK;
    answered(client, slot);
    if (client->issued < client->count)
        issue(client, slot);
    return UCS_OK;
}

static void fetched(void *request, ucs_status_t status, size_t length, void *user_data)
{
    uint64_t *slot = user_data;
    (void)length;
    struct raw_client *client =
        (struct raw_client *)(void *)((char *)(slot - *slot) - offsetof(struct raw_client, slots));
    client->side.pending--;
    if (status != UCS_OK)
        client->side.pair.error = ucx_status(status);
    ucp_request_free(request);
    answered(client, *slot);
    if (client->issued < client->count)
        issue(client, *slot);
}

static ucs_status_t take_data(void *owner, const void *header, size_t header_length, void *data,
                              size_t length, const ucp_am_recv_param_t *parameters)
{
    struct raw_client *client = owner;
    uint64_t slot;
    if (header_length != sizeof slot || length != client->size ||
        (parameters->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) == 0)
        return UCS_OK;
    memcpy(&slot, header, sizeof slot);
    if (slot >= RAW_DEPTH_MAX || (slot + 1) * length > client->side.memory_length)
        return UCS_OK;
    const ucp_request_param_t receive = {
        .op_attr_mask =
            UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FLAG_NO_IMM_CMPL,
        .cb.recv_am = fetched,
        .user_data = &client->slots[slot],
    };
    client->side.pending++;
    void *request = ucp_am_recv_data_nbx(client->side.pair.ucx.worker, data,
                                         client->side.memory + slot * length, length, &receive);
    if (UCS_PTR_IS_ERR(request))
        client->side.pair.error = ucx_status(UCS_PTR_STATUS(request));
    return UCS_INPROGRESS;
}

static int wait_answers(struct raw_client *client, uint64_t count)
{
    while (client->answered < count && client->side.pair.error == 0)
        if (!ucx_pair_progress(&client->side.pair) && ucx_pair_ended(&client->side.pair))
            return -ECONNRESET;
    return client->side.pair.error;
}

static int wait_sends(struct raw_client *client)
{
    while (client->side.pending != 0 && client->side.pair.error == 0)
        if (!ucx_pair_progress(&client->side.pair) && ucx_pair_ended(&client->side.pair))
            return -ECONNRESET;
    return client->side.pair.error;
}

static int configure(struct raw_client *client, uint64_t reply_bytes, uint64_t size, uint64_t footprint)
{
    const struct setup setup = {.reply_bytes = reply_bytes, .size = size, .footprint = footprint};
    client->request = RAW_SETUP;
    client->answered = 0;
    send_message(&client->side, RAW_SETUP, &setup, sizeof setup, UCP_AM_SEND_FLAG_EAGER);
    int error = wait_answers(client, 1);
    return error == 0 ? wait_sends(client) : error;
}

int raw_client_create(int socket, const struct net_ucx_options *options, struct raw_client **out)
{
    struct raw_client *client = calloc(1, sizeof *client);
    if (client == NULL) {
        close(socket);
        return -ENOMEM;
    }
    for (uint64_t slot = 0; slot < RAW_DEPTH_MAX; slot++)
        client->slots[slot] = slot;
    clock_prepare();
    int error = side_open(&client->side, socket, options);
    if (error != 0)
        goto fail;
    char ready;
    error = ucx_pair_read(&client->side.pair, &ready, 1);
    if (error == 0)
        error = ucx_handler_set(&client->side.pair.ucx, RAW_ANSWER, take_answer, client);
    if (error == 0)
        error = ucx_handler_set(&client->side.pair.ucx, RAW_DATA, take_data, client);
    if (error != 0) {
        side_close(&client->side);
        goto fail;
    }
    *out = client;
    return 0;

fail:
    free(client);
    return error;
}

void raw_client_destroy(struct raw_client *client)
{
    side_close(&client->side);
    free(client);
}

static void begin(struct raw_client *client, enum message request, uint32_t depth, uint64_t count,
                  uint64_t *latency_ns)
{
    client->request = request;
    client->depth = depth;
    client->count = count;
    client->latency = latency_ns;
    client->issued = 0;
    client->answered = 0;
}

/* `depth` at a time: slot by slot, then whenever an answer comes. */
static int measure(struct raw_client *client, uint64_t *elapsed_ns)
{
    uint64_t start = clock_now();
    for (uint64_t slot = 0; slot < client->depth && client->issued < client->count; slot++)
        issue(client, slot);
    int error = wait_answers(client, client->count);
    if (elapsed_ns != NULL)
        *elapsed_ns = clock_now() - start;
    client->latency = NULL;
    return error == 0 ? wait_sends(client) : error;
}

/* One at a time, sent from outside of the handler. */
static int measure_single(struct raw_client *client, uint64_t *elapsed_ns)
{
    uint64_t start = clock_now();
    int error = 0;
    while (client->issued < client->count && error == 0) {
        issue(client, 0);
        error = wait_answers(client, client->issued);
    }
    if (elapsed_ns != NULL)
        *elapsed_ns = clock_now() - start;
    client->latency = NULL;
    return error == 0 ? wait_sends(client) : error;
}

int raw_round_trips(struct raw_client *client, uint32_t request_bytes, uint32_t reply_bytes, uint32_t depth,
                    uint64_t count, uint64_t *latency_ns, uint64_t *elapsed_ns)
{
    if (request_bytes < sizeof(uint64_t) || request_bytes > SMALL_MAX || reply_bytes < sizeof(uint64_t) ||
        reply_bytes > SMALL_MAX || depth == 0 || depth > RAW_DEPTH_MAX)
        return -EINVAL;
    int error = configure(client, reply_bytes, 0, 0);
    if (error != 0)
        return error;
    client->size = request_bytes;
    begin(client, RAW_PING, depth, count, latency_ns);
    return depth == 1 ? measure_single(client, elapsed_ns) : measure(client, elapsed_ns);
}

static int transfer(struct raw_client *client, enum message request, size_t size, size_t footprint,
                    uint32_t depth, uint64_t count, uint64_t *latency_ns, uint64_t *elapsed_ns)
{
    if (depth == 0 || depth > RAW_DEPTH_MAX || size == 0 || footprint < size)
        return -EINVAL;
    int error = use_memory(&client->side, size * depth);
    if (error == 0)
        error = configure(client, 0, size, footprint);
    if (error != 0)
        return error;
    client->size = size;
    begin(client, request, depth, count, latency_ns);
    return measure(client, elapsed_ns);
}

int raw_write(struct raw_client *client, size_t size, size_t footprint, uint32_t depth, uint64_t count,
              uint64_t *latency_ns, uint64_t *elapsed_ns)
{
    return transfer(client, RAW_WRITE, size, footprint, depth, count, latency_ns, elapsed_ns);
}

int raw_read(struct raw_client *client, size_t size, size_t footprint, uint32_t depth, uint64_t count,
             uint64_t *latency_ns, uint64_t *elapsed_ns)
{
    return transfer(client, RAW_READ, size, footprint, depth, count, latency_ns, elapsed_ns);
}

/* One-sided transfers.
 *
 * The server allocates its memory by UCX (ucp_mem_map), which places it where the transport likes it best: on
 * one host in a segment that the client maps, so that a transfer is a copy. It packs the key for it, and
 * sends address and key over the socket after the worker addresses. From then on it only makes progress,
 * which is what transports without remote memory access are emulated by.
 *
 * A transfer that cannot complete at once has a slot until its callback runs. Slots and the histogram are all
 * that is touched for a transfer. */
#include "net/rma.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/ucx_context.h"

#define POLLS_PER_CHECK (1u << 14)
#define ADDRESS_MAX 4096u

struct region {
    ucp_mem_h handle;
    void *address;
};

/* What the server says of its memory; its key follows. */
struct invitation {
    uint64_t address;
    uint64_t footprint;
    uint64_t key_length;
};

struct side {
    struct ucx_context ucx;
    ucp_ep_h endpoint;
    int socket;
    int error;
    struct region memory;
};

struct slot {
    struct rma_client *client;
    uint64_t started; /* 0: nobody times it */
    bool busy;
};

struct rma_client {
    struct side side;
    size_t footprint;
    uint64_t remote;
    ucp_rkey_h key;
    size_t size; /* of the transfers under way */
    uint32_t under_way;
    struct rma_progress *progress;
    struct slot slots[RMA_DEPTH_MAX];
};

/* ---- both sides ---- */

static int read_all(int socket, void *bytes, size_t length)
{
    ssize_t got = recv(socket, bytes, length, MSG_WAITALL);
    return got == (ssize_t)length ? 0 : -ECONNRESET;
}

static int write_all(int socket, const void *bytes, size_t length)
{
    ssize_t put = send(socket, bytes, length, MSG_NOSIGNAL);
    return put == (ssize_t)length ? 0 : -ECONNRESET;
}

static bool peer_ended(const struct side *side)
{
    char byte;
    sched_yield(); /* in case the peer needs this very core */
    ssize_t got = recv(side->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
}

static bool progress_side(struct side *side)
{
    for (uint32_t polls = 0; polls < POLLS_PER_CHECK; polls++)
        if (ucp_worker_progress(side->ucx.worker) != 0)
            return true;
    return false;
}

static void peer_failed(void *owner, ucp_ep_h endpoint, ucs_status_t status)
{
    struct side *side = owner;
    (void)endpoint;
    side->error = ucx_status(status);
}

static int region_create(struct side *side, size_t length)
{
    const ucp_mem_map_params_t parameters = {
        .field_mask = UCP_MEM_MAP_PARAM_FIELD_LENGTH | UCP_MEM_MAP_PARAM_FIELD_FLAGS,
        .length = length,
        .flags = UCP_MEM_MAP_ALLOCATE,
    };
    int error = ucx_status(ucp_mem_map(side->ucx.context, &parameters, &side->memory.handle));
    if (error != 0)
        return error;
    ucp_mem_attr_t attributes = {.field_mask = UCP_MEM_ATTR_FIELD_ADDRESS};
    error = ucx_status(ucp_mem_query(side->memory.handle, &attributes));
    if (error != 0) {
        ucp_mem_unmap(side->ucx.context, side->memory.handle);
        return error;
    }
    side->memory.address = attributes.address;
    memset(attributes.address, 0, length); /* no page fault is measured */
    return 0;
}

/* Both send their address and take the other's. */
static int meet(struct side *side)
{
    uint8_t address[ADDRESS_MAX];
    uint32_t length = (uint32_t)side->ucx.address_length;
    int error = write_all(side->socket, &length, sizeof(length));
    if (error == 0)
        error = write_all(side->socket, side->ucx.address, length);
    if (error == 0)
        error = read_all(side->socket, &length, sizeof(length));
    if (error == 0)
        error = length > sizeof(address) ? -EMSGSIZE : read_all(side->socket, address, length);
    return error != 0 ? error
                      : ucx_endpoint_create(&side->ucx, address, length, peer_failed, side, &side->endpoint);
}

static int side_open(struct side *side, int socket, const struct net_ucx_options *options, size_t footprint)
{
    struct net_ucx_options one_sided = options != NULL ? *options : (struct net_ucx_options){0};
    one_sided.one_sided = true;
    side->socket = socket;
    int error = ucx_context_create(&one_sided, 0, NULL, &side->ucx);
    if (error != 0)
        goto fail_socket;
    error = region_create(side, footprint);
    if (error != 0)
        goto fail_context;
    error = meet(side);
    if (error != 0)
        goto fail_region;
    return 0;

fail_region:
    ucp_mem_unmap(side->ucx.context, side->memory.handle);
fail_context:
    ucx_context_destroy(&side->ucx);
fail_socket:
    close(socket);
    return error;
}

static void side_close(struct side *side)
{
    ucx_endpoint_destroy(side->endpoint);
    ucp_mem_unmap(side->ucx.context, side->memory.handle);
    ucx_context_destroy(&side->ucx);
    close(side->socket);
}

/* ---- server ---- */

static int invite(const struct side *side, size_t footprint)
{
    void *key;
    size_t length;
    int error = ucx_status(ucp_rkey_pack(side->ucx.context, side->memory.handle, &key, &length));
    if (error != 0)
        return error;
    const struct invitation invitation = {
        .address = (uint64_t)(uintptr_t)side->memory.address, .footprint = footprint, .key_length = length};
    error = write_all(side->socket, &invitation, sizeof(invitation));
    if (error == 0)
        error = write_all(side->socket, key, length);
    ucp_rkey_buffer_release(key);
    return error;
}

int rma_server_run(int socket, const struct net_ucx_options *options, size_t footprint)
{
    struct side side = {0};
    int error = side_open(&side, socket, options, footprint);
    if (error != 0)
        return error;
    error = invite(&side, footprint);
    while (error == 0 && (progress_side(&side) || !peer_ended(&side)))
        error = side.error;
    side_close(&side);
    return error == -ECONNRESET ? 0 : error; /* the transport may notice the end before the socket does */
}

/* ---- client ---- */

static int accept_invitation(struct rma_client *client)
{
    struct invitation invitation;
    uint8_t key[ADDRESS_MAX];
    int error = read_all(client->side.socket, &invitation, sizeof(invitation));
    if (error == 0 && (invitation.footprint != client->footprint || invitation.key_length > sizeof(key)))
        error = -EPROTO;
    if (error == 0)
        error = read_all(client->side.socket, key, invitation.key_length);
    if (error == 0)
        error = ucx_status(ucp_ep_rkey_unpack(client->side.endpoint, key, &client->key));
    client->remote = invitation.address;
    return error;
}

int rma_client_create(int socket, const struct net_ucx_options *options, size_t footprint,
                      struct rma_client **out)
{
    struct rma_client *client = calloc(1, sizeof(*client));
    if (client == NULL) {
        close(socket);
        return -ENOMEM;
    }
    client->footprint = footprint;
    for (uint32_t i = 0; i < RMA_DEPTH_MAX; i++)
        client->slots[i].client = client;
    clock_prepare();
    int error = side_open(&client->side, socket, options, footprint);
    if (error == 0) {
        error = accept_invitation(client);
        if (error != 0)
            side_close(&client->side);
    }
    if (error != 0) {
        free(client);
        return error;
    }
    *out = client;
    return 0;
}

void rma_client_destroy(struct rma_client *client)
{
    ucp_rkey_destroy(client->key);
    side_close(&client->side);
    free(client);
}

uint8_t *rma_client_memory(struct rma_client *client)
{
    return client->side.memory.address;
}

static inline void count_transfer(struct rma_client *client, const struct slot *slot)
{
    if (slot->started != 0)
        histogram_record(client->progress->latency, clock_now() - slot->started);
    client->progress->operations++;
    client->progress->bytes += client->size;
}

static void transferred(void *request, ucs_status_t status, void *user_data)
{
    struct slot *slot = user_data;
    struct rma_client *client = slot->client;
    slot->busy = false;
    client->under_way--;
    if (status == UCS_OK)
        count_transfer(client, slot);
    else if (client->side.error == 0)
        client->side.error = ucx_status(status);
    ucp_request_free(request);
}

static inline void issue(struct rma_client *client, enum rma_kind kind, struct slot *slot, size_t offset,
                         bool timed)
{
    const ucp_request_param_t parameters = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_MEMH,
        .cb.send = transferred,
        .user_data = slot,
        .memh = client->side.memory.handle,
    };
    uint8_t *local = (uint8_t *)client->side.memory.address + offset;
    slot->started = timed ? clock_now() : 0;
    void *request = kind == RMA_PUT ? ucp_put_nbx(client->side.endpoint, local, client->size,
                                                  client->remote + offset, client->key, &parameters)
                                    : ucp_get_nbx(client->side.endpoint, local, client->size,
                                                  client->remote + offset, client->key, &parameters);
    if (request == NULL) {
        count_transfer(client, slot);
    } else if (UCS_PTR_IS_ERR(request)) {
        client->side.error = ucx_status(UCS_PTR_STATUS(request));
    } else {
        slot->busy = true;
        client->under_way++;
    }
}

/* Waits until at most `limit` transfers are under way. */
static int wait_below(struct rma_client *client, uint32_t limit)
{
    while (client->under_way > limit && client->side.error == 0)
        if (!progress_side(&client->side) && peer_ended(&client->side))
            return -ECONNRESET;
    return client->side.error;
}

static void flushed(void *request, ucs_status_t status, void *user_data)
{
    struct rma_client *client = user_data;
    client->under_way--;
    if (status != UCS_OK && client->side.error == 0)
        client->side.error = ucx_status(status);
    ucp_request_free(request);
}

/* Until all is complete at the server. */
static int flush(struct rma_client *client)
{
    const ucp_request_param_t parameters = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA,
        .cb.send = flushed,
        .user_data = client,
    };
    void *request = ucp_ep_flush_nbx(client->side.endpoint, &parameters);
    if (UCS_PTR_IS_ERR(request))
        return ucx_status(UCS_PTR_STATUS(request));
    client->under_way += request != NULL;
    return wait_below(client, 0);
}

int rma_transfer(struct rma_client *client, enum rma_kind kind, size_t size, uint32_t depth, uint64_t count,
                 struct rma_progress *progress)
{
    if (size == 0 || size > client->footprint || progress->offset > client->footprint - size || depth == 0 ||
        depth > RMA_DEPTH_MAX)
        return -EINVAL;
    uint32_t next = 0; /* slot */
    int error = client->side.error;
    client->size = size;
    client->progress = progress;
    for (uint64_t i = 0; i < count && error == 0; i++) {
        while (client->slots[next].busy)
            next = next + 1 == depth ? 0 : next + 1;
        issue(client, kind, &client->slots[next], progress->offset, size >= RMA_TIMED || i % 16 == 0);
        progress->offset += size;
        if (progress->offset > client->footprint - size)
            progress->offset = 0;
        error = client->side.error != 0 ? client->side.error : wait_below(client, depth - 1);
        if (error == 0 && i % POLLS_PER_CHECK == POLLS_PER_CHECK - 1 && peer_ended(&client->side))
            error = -ECONNRESET; /* shared memory goes on without it */
    }
    return error == 0 ? flush(client) : error;
}

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
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/pair.h"

#define KEY_MAX 4096u

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
    struct ucx_pair pair;
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

static int region_create(struct side *side, size_t length)
{
    const ucp_mem_map_params_t parameters = {
        .field_mask = UCP_MEM_MAP_PARAM_FIELD_LENGTH | UCP_MEM_MAP_PARAM_FIELD_FLAGS,
        .length = length,
        .flags = UCP_MEM_MAP_ALLOCATE,
    };
    int error = ucx_status(ucp_mem_map(side->pair.ucx.context, &parameters, &side->memory.handle));
    if (error != 0)
        return error;
    ucp_mem_attr_t attributes = {.field_mask = UCP_MEM_ATTR_FIELD_ADDRESS};
    error = ucx_status(ucp_mem_query(side->memory.handle, &attributes));
    if (error != 0) {
        ucp_mem_unmap(side->pair.ucx.context, side->memory.handle);
        return error;
    }
    side->memory.address = attributes.address;
    memset(attributes.address, 0, length); /* no page fault is measured */
    return 0;
}

static int side_open(struct side *side, int socket, const struct net_ucx_options *options, size_t footprint)
{
    struct net_ucx_options one_sided = options != NULL ? *options : (struct net_ucx_options){0};
    one_sided.one_sided = true;
    int error = ucx_pair_open(&side->pair, socket, &one_sided);
    if (error != 0)
        return error;
    error = region_create(side, footprint);
    if (error != 0)
        goto fail_pair;
    error = ucx_pair_meet(&side->pair);
    if (error != 0)
        goto fail_region;
    return 0;

fail_region:
    ucp_mem_unmap(side->pair.ucx.context, side->memory.handle);
fail_pair:
    ucx_pair_close(&side->pair);
    return error;
}

static void side_close(struct side *side)
{
    ucp_mem_unmap(side->pair.ucx.context, side->memory.handle);
    ucx_pair_close(&side->pair);
}

/* ---- server ---- */

static int invite(const struct side *side, size_t footprint)
{
    void *key;
    size_t length;
    int error = ucx_status(ucp_rkey_pack(side->pair.ucx.context, side->memory.handle, &key, &length));
    if (error != 0)
        return error;
    const struct invitation invitation = {
        .address = (uint64_t)(uintptr_t)side->memory.address, .footprint = footprint, .key_length = length};
    error = ucx_pair_write(&side->pair, &invitation, sizeof(invitation));
    if (error == 0)
        error = ucx_pair_write(&side->pair, key, length);
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
    while (error == 0 && (ucx_pair_progress(&side.pair) || !ucx_pair_ended(&side.pair)))
        error = side.pair.error;
    side_close(&side);
    return error == -ECONNRESET ? 0 : error; /* the transport may notice the end before the socket does */
}

/* ---- client ---- */

static int accept_invitation(struct rma_client *client)
{
    struct invitation invitation;
    uint8_t key[KEY_MAX];
    int error = ucx_pair_read(&client->side.pair, &invitation, sizeof(invitation));
    if (error == 0 && (invitation.footprint != client->footprint || invitation.key_length > sizeof(key)))
        error = -EPROTO;
    if (error == 0)
        error = ucx_pair_read(&client->side.pair, key, invitation.key_length);
    if (error == 0)
        error = ucx_status(ucp_ep_rkey_unpack(client->side.pair.endpoint, key, &client->key));
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
    else if (client->side.pair.error == 0)
        client->side.pair.error = ucx_status(status);
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
    void *request = kind == RMA_PUT ? ucp_put_nbx(client->side.pair.endpoint, local, client->size,
                                                  client->remote + offset, client->key, &parameters)
                                    : ucp_get_nbx(client->side.pair.endpoint, local, client->size,
                                                  client->remote + offset, client->key, &parameters);
    if (request == NULL) {
        count_transfer(client, slot);
    } else if (UCS_PTR_IS_ERR(request)) {
        client->side.pair.error = ucx_status(UCS_PTR_STATUS(request));
    } else {
        slot->busy = true;
        client->under_way++;
    }
}

/* Waits until at most `limit` transfers are under way. */
static int wait_below(struct rma_client *client, uint32_t limit)
{
    while (client->under_way > limit && client->side.pair.error == 0)
        if (!ucx_pair_progress(&client->side.pair) && ucx_pair_ended(&client->side.pair))
            return -ECONNRESET;
    return client->side.pair.error;
}

static void flushed(void *request, ucs_status_t status, void *user_data)
{
    struct rma_client *client = user_data;
    client->under_way--;
    if (status != UCS_OK && client->side.pair.error == 0)
        client->side.pair.error = ucx_status(status);
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
    void *request = ucp_ep_flush_nbx(client->side.pair.endpoint, &parameters);
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
    int error = client->side.pair.error;
    client->size = size;
    client->progress = progress;
    for (uint64_t i = 0; i < count && error == 0; i++) {
        while (client->slots[next].busy)
            next = next + 1 == depth ? 0 : next + 1;
        issue(client, kind, &client->slots[next], progress->offset, size >= RMA_TIMED || i % 16 == 0);
        progress->offset += size;
        if (progress->offset > client->footprint - size)
            progress->offset = 0;
        error = client->side.pair.error != 0 ? client->side.pair.error : wait_below(client, depth - 1);
        if (error == 0 && i % UCX_PAIR_POLLS == UCX_PAIR_POLLS - 1 && ucx_pair_ended(&client->side.pair))
            error = -ECONNRESET; /* shared memory goes on without it */
    }
    return error == 0 ? flush(client) : error;
}

/* Files with holes, as a client sees them: reserving and clearing ranges, seeking data and holes, copying.
 *
 * A range is shaped by one request to the inode's server, which has the others do their part. A seek asks all
 * servers at once for what their chunks say and takes the least; the inode's server alone when the file is
 * known to lie there. A server that has looked long enough says from where to ask again.
 *
 * A copy goes from one data of the source to the next. The servers move what is data; of what is a hole the
 * target's bytes are cleared as far as there are any, and its size grows. */
#include "client/core.h"

int client_allocate(struct client *client, struct client_file *file, uint8_t kind, bool keep_size,
                    uint64_t offset, uint64_t length)
{
    if (offset > INT64_MAX || length > INT64_MAX - offset)
        return -EFBIG;
    struct allocate_request request = {
        .inode = file->inode,
        .offset = offset,
        .length = length,
        .kind = kind,
        .flags = (uint8_t)((keep_size ? ALLOCATE_KEEP_SIZE : 0) |
                           (client->caller.uid == 0 ? 0 : ALLOCATE_CLEAR_IDS)),
    };
    struct operation operation;
    struct attributes_reply reply;
    int status;
    lease_revoke(&client->leases, file->inode);
    operation_begin(client, &operation);
    do {
        status = client_request(client, &operation, client_inode_server(client, file->inode), RPC_ALLOCATE,
                                &request, sizeof request, &reply, sizeof reply);
    } while (operation_again(client, &operation, &status));
    lease_revoke(&client->leases, file->inode);
    if (status == 0)
        file_learn(file, reply.attributes.generation, reply.attributes.size);
    return status;
}

/* ---- data and holes ---- */

struct seek {
    struct client *client;
    struct client_file *file;
    struct chunk_seek_request request;
    uint64_t size;
    uint64_t position; /* the least so far */
    bool found;        /* it is what was looked for */
};

static void seek_observe(struct seek *seek, const struct chunk_seek_reply *reply)
{
    if (reply->owner) {
        seek->size = reply->size;
        file_learn(seek->file, reply->generation, reply->size);
    }
    if (reply->position < seek->position || (reply->position == seek->position && reply->found)) {
        seek->position = reply->position;
        seek->found = reply->found != 0;
    }
}

static int seek_again(struct seek *seek, uint32_t server, int status)
{
    struct client *client = seek->client;
    struct operation operation;
    struct chunk_seek_reply reply;
    operation_begin(client, &operation);
    while (operation_again(client, &operation, &status))
        status = client_request(client, &operation, server, RPC_SEEK_CHUNKS, &seek->request,
                                sizeof seek->request, &reply, sizeof reply);
    if (status == 0)
        seek_observe(seek, &reply);
    return status;
}

#define AT_ONCE 16u

/* Asks servers [first, last), all at once in groups of AT_ONCE. */
static int seek_servers(struct seek *seek, uint32_t first, uint32_t last)
{
    struct client *client = seek->client;
    int result = 0;
    for (; first < last; first += AT_ONCE) {
        struct rpc_call calls[AT_ONCE];
        struct chunk_seek_reply replies[AT_ONCE];
        uint32_t count = last - first < AT_ONCE ? last - first : AT_ONCE;
        for (uint32_t i = 0; i < count; i++) {
            calls[i] = (struct rpc_call){
                .operation = RPC_SEEK_CHUNKS,
                .body = &seek->request,
                .body_length = sizeof seek->request,
                .reply = &replies[i],
                .reply_size = sizeof replies[i],
                .namespace_epoch = client->namespace_epoch,
            };
            rpc_start(client->peers[first + i], &calls[i]);
        }
        for (uint32_t i = 0; i < count; i++) {
            int status = rpc_finish(&calls[i]);
            client_observe(client, &calls[i]);
            if (status == 0)
                seek_observe(seek, &replies[i]);
            else
                status = seek_again(seek, first + i, status);
            if (status < 0 && result == 0)
                result = status;
        }
    }
    return result;
}

/* One round: the inode's server alone as long as the file is not known to be larger than a chunk. */
static int seek_round(struct seek *seek)
{
    const struct client *client = seek->client;
    uint32_t owner = client_inode_server(client, seek->file->inode);
    uint64_t chunk = UINT64_C(1) << seek->file->layout.chunk_shift;
    bool all = atomic_load_explicit(&seek->file->size, memory_order_relaxed) > chunk;
    int status = seek_servers(seek, all ? 0 : owner, all ? client->map->server_count : owner + 1);
    if (status == 0 && !all && seek->size > chunk && client->map->server_count > 1)
        status = seek_servers(seek, 0, client->map->server_count);
    return status;
}

int client_seek(struct client *client, struct client_file *file, uint64_t offset, bool hole, uint64_t *result)
{
    if (offset >= INT64_MAX)
        return -ENXIO;
    struct seek seek = {
        .client = client,
        .file = file,
        .request = {.inode = file->inode, .offset = offset, .layout = file->layout, .hole = hole},
    };
    do {
        seek.position = UINT64_MAX;
        seek.found = false;
        int status = seek_round(&seek);
        if (status < 0)
            return status;
        seek.request.offset = seek.position;
    } while (!seek.found && seek.position < seek.size);
    if (offset >= seek.size || (!hole && seek.position >= seek.size))
        return -ENXIO;
    *result = seek.position < seek.size ? seek.position : seek.size;
    return 0;
}

/* ---- copying ---- */

/* Holes are looked for in copies of at least so many bytes. */
#define SPARSE_COPY_MIN 65536u

/* The target of a copied hole. */
static int copy_hole(struct client *client, struct client_file *file, uint64_t offset, uint64_t length)
{
    struct attributes attributes;
    int status = client_file_attributes(client, file->inode, &attributes);
    if (status == 0 && offset < attributes.size)
        status = client_allocate(client, file, ALLOCATE_PUNCH, true, offset, length);
    return status == 0 ? client_extend(client, file, offset + length) : status;
}

/* Copies up to the end of the first data in the range; how far that was. */
static ssize_t copy_step(struct client *client, struct client_file *source, uint64_t source_offset,
                         struct client_file *file, uint64_t offset, uint64_t length)
{
    uint64_t data = source_offset, hole = source_offset + length;
    if (length >= SPARSE_COPY_MIN) {
        int status = client_seek(client, source, source_offset, false, &data);
        if (status == -ENXIO)
            data = source_offset + length;
        else if (status < 0)
            return status;
    }
    if (data > source_offset) {
        uint64_t skipped = data - source_offset < length ? data - source_offset : length;
        int status = copy_hole(client, file, offset, skipped);
        return status < 0 ? status : (ssize_t)skipped;
    }
    if (length >= SPARSE_COPY_MIN) {
        int status = client_seek(client, source, source_offset, true, &hole);
        if (status < 0)
            return status == -ENXIO ? 0 : status; /* cut off meanwhile */
    }
    uint64_t here = hole - source_offset < length ? hole - source_offset : length;
    return here == 0 ? 0 : client_copy_range(client, source, source_offset, file, offset, here);
}

ssize_t client_copy(struct client *client, struct client_file *source, uint64_t source_offset,
                    struct client_file *file, uint64_t offset, uint64_t length)
{
    struct attributes attributes;
    int status = client_file_attributes(client, source->inode, &attributes);
    if (status < 0)
        return status;
    if (offset > INT64_MAX || source_offset > INT64_MAX)
        return -EINVAL;
    if (source_offset >= attributes.size || length == 0)
        return 0;
    if (length > attributes.size - source_offset)
        length = attributes.size - source_offset;
    if (length > INT64_MAX - offset) /* as far as a file can go */
        length = INT64_MAX - offset;
    if (length == 0)
        return -EFBIG;
    bool meet = source_offset < offset + length && offset < source_offset + length;
    if (source->inode == file->inode && meet)
        return -EINVAL;
    uint64_t done = 0;
    while (done < length) {
        ssize_t step = copy_step(client, source, source_offset + done, file, offset + done, length - done);
        if (step <= 0)
            return done > 0 ? (ssize_t)done : step;
        done += (uint64_t)step;
    }
    return (ssize_t)done;
}

/* Bytes: reading and writing chunks, and the fence that keeps overtaken writes out.
 *
 * A chunk's bytes move once: WRITE_CHUNK asks the store for memory, lets the transport land the bulk there,
 * and commits; READ_CHUNK sends from the store's memory. Inline data go the same way: the inode is busy while
 * a reply that carries them waits to be sent.
 *
 * On the inode's server the inode itself says what is allowed: removed, truncated since (generation), busy.
 * On another server a fence does: TRUNCATE_CHUNKS leaves (inode, generation) behind for longer than any
 * request lives (server_fence_life). Either is asked twice, before memory is taken and again before the
 * commit, because a rendezvous suspends in between for as long as the client takes; a client that dies there
 * ends in write_abort.
 *
 * A write with CHUNK_KEEP_SIZE lands beyond the file's size and becomes visible with the EXTEND that follows:
 * reads on the inode's server are cut at the size. */
#include <errno.h>
#include <stdlib.h>

#include "data/placement.h"
#include "server/state.h"

#define CHUNK_BYTES_MAX (1u << CHUNK_SHIFT_MAX)
#define DAY_NS (INT64_C(86400) * 1000000000)

/* ---- fences ---- */

static void fence_drop(struct server *server, struct fence *fence)
{
    map_remove(&server->fences, fence->inode);
    list_remove(&fence->link);
    free(fence);
    server->fence_count--;
}

void fences_clear(struct server *server)
{
    while (!list_empty(&server->fence_ages))
        fence_drop(server, container_of(server->fence_ages.next, struct fence, link));
}

static int fence_set(struct server *server, uint64_t inode, uint32_t generation, bool removed)
{
    uint64_t now = loop_now(server->loop);
    while (!list_empty(&server->fence_ages)) {
        struct fence *oldest = container_of(server->fence_ages.next, struct fence, link);
        if (oldest->until > now && server->fence_count < FENCES_MAX)
            break;
        fence_drop(server, oldest);
    }
    struct fence *fence = map_get(&server->fences, inode);
    if (fence == NULL) {
        fence = calloc(1, sizeof(*fence));
        if (fence == NULL)
            return -ENOMEM;
        fence->inode = inode;
        fence->generation = generation;
        list_init(&fence->link);
        int status = map_put(&server->fences, inode, fence);
        if (status != 0) {
            free(fence);
            return status;
        }
        server->fence_count++;
    }
    if ((int32_t)(generation - fence->generation) > 0)
        fence->generation = generation;
    fence->removed |= removed;
    fence->until = now + server_fence_life(server);
    list_remove(&fence->link);
    list_push_back(&server->fence_ages, &fence->link);
    return 0;
}

int fence_check(struct server *server, uint64_t inode, uint32_t generation)
{
    if (server->fence_count == 0)
        return 0;
    const struct fence *fence = map_get(&server->fences, inode);
    if (fence == NULL || fence->until <= loop_now(server->loop))
        return 0;
    if (fence->removed)
        return -ESTALE;
    return (int32_t)(generation - fence->generation) < 0 ? -STATUS_STALE_GENERATION : 0;
}

/* ---- what comes next ---- */

static const char *end_of(const struct store_io *io)
{
    const struct iovec *last = &io->vector[io->count - 1];
    return (const char *)last->iov_base + last->iov_len;
}

/* ---- reading ---- */

/* relatime: a read is noted when the last one is older than the last change, or than a day. */
/* From when on the next read is noted. */
static int64_t access_due(const struct inode *inode)
{
    bool changed = inode->access_time <= inode->modify_time || inode->access_time <= inode->change_time;
    return changed || inode->access_time > INT64_MAX - DAY_NS ? INT64_MIN : inode->access_time + DAY_NS;
}

void chunk_note_access(struct server *server, struct inode *inode)
{
    int64_t now = loop_realtime(server->loop);
    if (now >= access_due(inode)) {
        inode->access_time = now;
        inode_changed(server, inode);
    }
}

int readable_file(struct server *server, const struct rpc_request *request, uint64_t number,
                  struct inode **inode)
{
    for (;;) {
        int status = gate_inode(server, number, inode);
        if (status != 0)
            return status;
        if (!S_ISREG((*inode)->mode))
            return S_ISDIR((*inode)->mode) ? -EISDIR : -EINVAL;
        if ((*inode)->busy == NULL)
            return 0;
        status = inode_busy_wait(server, *inode, request->deadline);
        if (status != 0)
            return status;
    }
}

uint32_t chunk_below_size(const struct inode *inode, uint64_t index, uint32_t offset, uint32_t length)
{
    unsigned shift = inode->layout.chunk_shift;
    if (index > (uint64_t)INT64_MAX >> shift)
        return 0;
    uint64_t start = (index << shift) + offset;
    if (start >= inode->size)
        return 0;
    return inode->size - start < length ? (uint32_t)(inode->size - start) : length;
}

void chunk_publish(struct server *server, const struct rpc_request *request, struct inode *inode)
{
    int64_t due = access_due(inode);
    if (board_is_watched(server, request) && inode->busy == NULL && S_ISREG(inode->mode) &&
        inode_is_inline(inode) && inode->inline_length > 0 && due > loop_realtime(server->loop))
        meta_publish_content(server->meta, inode, due);
}

static void reply_inline(struct server *server, struct rpc_request *request, struct inode *inode,
                         uint32_t offset, uint32_t length, struct chunk_reply *reply)
{
    struct iovec bulk = {(char *)inode->inline_data + offset, length};
    reply->length = length;
    /* Should the reply have to wait, the bytes stay in place. */
    struct inode_busy busy;
    inode_busy_begin(inode, &busy, false);
    rpc_reply(request, 0, reply, sizeof(*reply), &bulk, 1);
    inode_busy_end(server, inode);
    chunk_publish(server, request, inode);
}

void serve_READ_CHUNK(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct chunk_read_request *body = request->body;
    const struct store_operations *store = server->store->operations;
    struct chunk_reply reply = {0};
    uint32_t length = body->length;
    int status = server->map == NULL ? -EAGAIN : 0;
    if (status == 0 && (body->offset > CHUNK_BYTES_MAX || length > CHUNK_BYTES_MAX - body->offset ||
                        !inode_valid(body->inode)))
        status = -EINVAL;
    if (status == 0 && (body->index == 0 || server_of_inode(server, body->inode) == server->self)) {
        struct inode *inode;
        status = readable_file(server, request, body->inode, &inode);
        if (status == 0) {
            if ((body->flags & CHUNK_NO_ACCESS_TIME) == 0)
                chunk_note_access(server, inode);
            reply.owner = 1;
            reply.size = inode->size;
            reply.generation = inode->generation;
            length = chunk_below_size(inode, body->index, body->offset, length);
            if (inode_is_inline(inode) && length > 0) {
                reply_inline(server, request, inode, body->offset, length, &reply);
                return;
            }
        }
    }
    if (status != 0 || length == 0) {
        answer(request, status, &reply, sizeof(reply));
        return;
    }

    struct store_io io = {
        .inode = body->inode, .index = body->index, .offset = body->offset, .length = length};
    rpc_storage_begin(request);
    status = store->read_begin(server->store, &io);
    if (status != 0) {
        answer(request, status, NULL, 0);
        return;
    }
    reply.length = io.length;
    rpc_reply(request, 0, &reply, sizeof(reply), io.vector, io.length > 0 ? io.count : 0);
    if (io.length > 0 && io.length <= NEXT_BYTES)
        expect_reading(end_of(&io));
    store->read_end(server->store, &io);
}

/* ---- writing ---- */

static int check_write(const struct server *server, const struct chunk_write_request *body,
                       uint64_t bulk_length)
{
    if (server->map == NULL)
        return -EAGAIN;
    if (body->chunk_shift < CHUNK_SHIFT_MIN || body->chunk_shift > CHUNK_SHIFT_MAX || body->length == 0 ||
        body->length != bulk_length || !inode_valid(body->inode) ||
        body->index > (uint64_t)INT64_MAX >> body->chunk_shift)
        return -EINVAL;
    uint32_t chunk_size = 1u << body->chunk_shift;
    return body->offset <= chunk_size && body->length <= chunk_size - body->offset ? 0 : -EINVAL;
}

static int write_inline(struct server *server, struct inode *inode, uint32_t offset, const void *bytes,
                        uint32_t length)
{
    uint32_t end = offset + length;
    if (end > inode->inline_length) {
        int status = server_metadata_room(server, end - inode->inline_length);
        if (status == 0)
            status = offset == 0 ? meta_inline_set(server->meta, inode, bytes, length)
                                 : meta_inline_resize(server->meta, inode, end);
        if (status != 0)
            return status;
        inode->size = end;
        if (offset == 0)
            return 0;
    }
    memcpy((char *)inode->inline_data + offset, bytes, length);
    meta_inline_changed(server->meta, inode);
    return 0;
}

/* The bytes of a request come from the client, or with COPY_CHUNK from another chunk. */
static int bytes_receive(struct server *server, struct rpc_request *request, const struct iovec *into,
                         uint32_t count)
{
    return request->header->operation == RPC_COPY_CHUNK
               ? copy_fetch(server, request, request->body, into, count)
               : rpc_request_receive(request, into, count);
}

/* The bytes where they lie, when they came with the request. */
static const void *bytes_peek(struct rpc_request *request)
{
    return request->header->operation == RPC_COPY_CHUNK ? NULL : rpc_request_peek(request);
}

/* Fetches a write's bytes into the store's memory, or copies them there when they are here already. */
static int land(struct server *server, struct rpc_request *request, struct store_io *io, const char *bytes)
{
    if (bytes == NULL)
        return bytes_receive(server, request, io->vector, io->count);
    for (uint32_t i = 0; i < io->count; i++) {
        memcpy(io->vector[i].iov_base, bytes, io->vector[i].iov_len);
        bytes += io->vector[i].iov_len;
    }
    return 0;
}

/* May the write still be committed? On the inode's server finds the inode anew and makes room for the new
 * size. */
static int check_commit(struct server *server, const struct chunk_write_request *body, uint64_t end,
                        struct inode **inode)
{
    if (*inode == NULL)
        return fence_check(server, body->inode, body->generation);
    int status = gate_inode(server, body->inode, inode);
    if (status == 0 && (*inode)->generation != body->generation)
        status = -STATUS_STALE_GENERATION;
    return status == 0 ? inode_prepare_growth(server, *inode, end) : status;
}

/* inode: NULL on a server that does not hold it. bytes: NULL when they are still to be fetched. */
static int write_chunk(struct server *server, struct rpc_request *request,
                       const struct chunk_write_request *body, uint64_t end, struct inode **inode,
                       const char *bytes)
{
    const struct store_operations *store = server->store->operations;
    struct store_io io = {
        .inode = body->inode, .index = body->index, .offset = body->offset, .length = body->length};
    bool here = bytes != NULL || bytes_peek(request) != NULL;
    rpc_storage_begin(request);
    int status = store->write_begin(server->store, &io, 1u << body->chunk_shift);
    if (status != 0)
        return status;
    if (!here)
        rpc_storage_end(request);
    status = land(server, request, &io, bytes);
    if (status == 0 && (!here || store->persistent))
        status = check_commit(server, body, end, inode);
    if (status != 0) {
        store->write_abort(server->store, &io);
        return status;
    }
    if (!here)
        rpc_storage_begin(request);
    server->next_bytes = io.length <= NEXT_BYTES ? end_of(&io) : NULL;
    if (store->persistent)
        durable_note_write(server, body->inode);
    status = store->write_commit(server->store, &io);
    if (status == 0 && store->persistent && *inode != NULL)
        status = gate_inode(server, body->inode, inode);
    return status;
}

/* inode_prepare_change for a small write, with its bytes at hand: nothing suspends between the return and the
 * change. small: room for them, should they not have come with the request. */
static int prepare_small_write(struct server *server, struct rpc_request *request,
                               const struct chunk_write_request *body, void *small, const char **bytes,
                               struct inode **inode)
{
    uint32_t generation = body->generation;
    const char *here = bytes_peek(request);
    for (;;) {
        if (here == NULL) {
            int status = bytes_receive(server, request, &(struct iovec){small, body->length}, 1);
            if (status != 0)
                return status;
            here = small;
        }
        int status = inode_prepare_change(server, request, body->inode, &generation, inode);
        if (status != 0)
            return status;
        *bytes = here;
        if (here == small || bytes_peek(request) == here)
            return 0;
        here = NULL; /* it was suspended */
    }
}

/* It took memory while it was under way, which attributes tell, and has given it back. */
static void note_failed_write(struct server *server, uint64_t number)
{
    struct inode *inode = meta_inode_find(server->meta, number);
    if (inode != NULL)
        inode_changed(server, inode);
}

/* The inode is here: bytes, size and times change together. */
static int write_owned(struct server *server, struct rpc_request *request,
                       const struct chunk_write_request *body, struct chunk_reply *reply)
{
    uint8_t small[INLINE_DATA_MAX];
    const char *bytes = NULL;
    uint64_t end = (body->index << body->chunk_shift) + body->offset + body->length;
    uint32_t generation = body->generation;
    struct inode *inode;
    bool fits_inline = end <= INLINE_DATA_MAX;
    int status = fits_inline ? prepare_small_write(server, request, body, small, &bytes, &inode)
                             : inode_prepare_change(server, request, body->inode, &generation, &inode);
    if (status == 0 && inode->layout.chunk_shift != body->chunk_shift)
        status = -EINVAL;
    if (status != 0)
        return status;
    if (fits_inline && inode_is_inline(inode)) {
        status = write_inline(server, inode, body->offset, bytes, body->length);
    } else {
        status = inode_prepare_growth(server, inode, end);
        if (status == 0) {
            status = write_chunk(server, request, body, end, &inode, bytes);
            if (status != 0)
                note_failed_write(server, body->inode);
        }
        if (status == 0 && end > inode->size && (fits_inline || (body->flags & CHUNK_KEEP_SIZE) == 0))
            inode->size = end;
    }
    if (status != 0)
        return status;
    if ((body->flags & CHUNK_CLEAR_IDS) != 0)
        inode_clear_ids(inode);
    inode->modify_time = inode->change_time = loop_realtime(server->loop);
    inode_changed(server, inode);
    reply->owner = 1;
    reply->size = inode->size;
    reply->generation = inode->generation;
    return 0;
}

/* body: of a request that passed check_write with `status`. */
static void write_and_answer(struct server *server, struct rpc_request *request,
                             const struct chunk_write_request *body, int status)
{
    struct chunk_reply reply = {.length = body->length};
    server->next_bytes = NULL;
    if (status == 0 && server_of_inode(server, body->inode) == server->self) {
        status = write_owned(server, request, body, &reply);
    } else if (status == 0 && body->index == 0) {
        status = -STATUS_WRONG_EPOCH;
    } else if (status == 0) {
        struct inode *elsewhere = NULL;
        status = fence_check(server, body->inode, body->generation);
        if (status == 0)
            status = write_chunk(server, request, body, 0, &elsewhere, NULL);
    }
    answer(request, status, &reply, sizeof(reply));
    if (status == 0 && reply.owner && reply.size == body->length && reply.size <= INLINE_DATA_MAX)
        meta_inline_expect(server->meta, body->length);
    else if (server->next_bytes != NULL)
        expect_writing(server->next_bytes);
}

void serve_WRITE_CHUNK(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct chunk_write_request *body = request->body;
    write_and_answer(server, request, body, check_write(server, body, request->bulk_length));
}

void serve_COPY_CHUNK(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct copy_request *body = request->body;
    int status = check_write(server, &body->to, body->to.length);
    if (status == 0 && !copy_valid(body))
        status = -EINVAL;
    write_and_answer(server, request, &body->to, status);
}

/* Where nothing lasts that was not asked for, what other servers have cut off an inode of this one has to be,
 * too: a client asks only those that have bytes of it. */
static int sync_cuts(struct server *server, uint64_t number, uint64_t deadline)
{
    const struct inode_request body = {.inode = number};
    struct inode *inode = meta_inode_find(server->meta, number);
    if (inode == NULL || !inode->cut)
        return 0;
    inode->cut = 0;
    int status = server_call_many(server, NULL, RPC_SYNC_CHUNKS, &body, sizeof(body), NULL, 0, deadline);
    inode = meta_inode_find(server->meta, number);
    if (status != 0 && inode != NULL)
        inode->cut = 1;
    return status;
}

void serve_SYNC_CHUNKS(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct inode_request *body = request->body;
    rpc_storage_begin(request);
    int status = server->map == NULL ? -EAGAIN : 0;
    if (status == 0 && server->options.durability == DURABILITY_NONE)
        status = sync_cuts(server, body->inode, request->deadline);
    answer(request, status != 0 ? status : durable_commit(server), NULL, 0);
}

/* ---- truncation and removal ---- */

int chunks_truncate_here(struct server *server, uint64_t inode, uint64_t size, uint8_t chunk_shift)
{
    const struct store_operations *store = server->store->operations;
    uint64_t first = size >> chunk_shift;
    uint32_t rest = (uint32_t)(size & ((UINT64_C(1) << chunk_shift) - 1));
    int status = 0;
    if (rest != 0) {
        status = store->truncate(server->store, inode, first, rest);
        first++;
    }
    int removed = store->remove(server->store, inode, first);
    return status != 0 ? status : removed;
}

void serve_TRUNCATE_CHUNKS(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct chunk_truncate_request *body = request->body;
    int status = server->map == NULL ? -EAGAIN : 0;
    if (status == 0 && (!inode_valid(body->inode) || body->chunk_shift < CHUNK_SHIFT_MIN ||
                        body->chunk_shift > CHUNK_SHIFT_MAX || body->size > (uint64_t)INT64_MAX))
        status = -EINVAL;
    if (status == 0)
        status = fence_set(server, body->inode, body->generation, body->remove != 0);
    if (status == 0)
        status =
            chunks_truncate_here(server, body->inode, body->remove != 0 ? 0 : body->size, body->chunk_shift);
    answer(request, status, NULL, 0);
}

bool chunks_all_here(const struct server *server, const struct inode *inode)
{
    return server_single(server) ||
           ((inode->chunked & INODE_BEYOND) == 0 && inode->size <= UINT64_C(1) << inode->layout.chunk_shift);
}

uint64_t *chunks_elsewhere(const struct server *server, uint64_t inode, const struct layout *layout,
                           uint64_t first, uint64_t last)
{
    uint32_t count = server->map->server_count;
    uint64_t *wanted = calloc((count + 63) / 64, sizeof(*wanted));
    if (wanted == NULL)
        return NULL;
    bool everywhere = last - first >= 4 * (uint64_t)count;
    uint32_t steps = everywhere ? count : (uint32_t)(last - first + 1);
    for (uint32_t i = 0; i < steps; i++) {
        uint32_t index = everywhere ? i : placement_server(server->map, inode, layout, first + i);
        if (index != server->self)
            wanted[index / 64] |= UINT64_C(1) << (index % 64);
    }
    return wanted;
}

int chunks_truncate_elsewhere(struct server *server, const struct inode *inode, uint64_t size,
                              uint64_t old_size, bool remove, uint64_t deadline)
{
    uint8_t shift = inode->layout.chunk_shift;
    uint64_t first = size >> shift;
    uint64_t last = old_size == 0 ? 0 : (old_size - 1) >> shift;
    if (server_single(server) || last == 0)
        return 0;
    if (first == 0)
        first = 1; /* chunk 0 is here */
    uint64_t *wanted = chunks_elsewhere(server, inode->number, &inode->layout, first, last);
    if (wanted == NULL)
        return -ENOMEM;
    struct chunk_truncate_request body = {
        .inode = inode->number,
        .size = size,
        .generation = inode->generation,
        .chunk_shift = shift,
        .remove = remove,
    };
    int status =
        server_call_many(server, wanted, RPC_TRUNCATE_CHUNKS, &body, sizeof(body), NULL, 0, deadline);
    free(wanted);
    return status;
}

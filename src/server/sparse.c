/* Files with holes: reserving, punching and zeroing ranges, finding data and holes, counting what is held.
 *
 * ALLOCATE (fallocate) is a transaction of the inode's server. An inline file that stays inline is changed
 * there and then. Otherwise the inode is busy while the servers of the range shape their chunks
 * (SHAPE_CHUNKS), and size and times change last. A reservation that fails for want of space on one server
 * leaves what others have reserved, as other file systems do: it stays the file's until that is cut or
 * removed. Memory beyond the size is marked (INODE_BEYOND), because truncation and removal otherwise go only
 * where the size says that chunks can be.
 *
 * To writes of others under way punching and zeroing are just another write: each byte is theirs or zero. A
 * reservation that comes late, after a truncation, is kept out by the truncation fence like a late write.
 *
 * SEEK_CHUNKS looks through the chunks that belong to this server by the file's layout, so that a hole is
 * known as one without asking anybody else; the client asks all servers at once and takes the least. A file
 * may have millions of chunks: a search stops after SEEK_STEPS of them and says how far it came. */
#include <errno.h>
#include <stdlib.h>

#include "data/placement.h"
#include "server/state.h"

#define SEEK_STEPS 65536u

/* ---- shaping chunks ---- */

/* Calls step for each of this server's chunks of the range, with the part of it in the chunk, until it
 * returns other than 0. */
static int each_chunk(struct server *server, const struct chunk_shape_request *range,
                      int (*step)(struct server *server, uint64_t inode, uint64_t index, uint32_t offset,
                                  uint32_t length, uint64_t *sum),
                      uint64_t *sum)
{
    unsigned shift = range->layout.chunk_shift;
    uint64_t size = UINT64_C(1) << shift, last = (range->end - 1) >> shift;
    int status = 0;
    for (uint64_t index = range->start >> shift; index <= last && status == 0; index++) {
        bool ours = placement_server(server->map, range->inode, &range->layout, index) == server->self;
        uint64_t at = index << shift;
        uint32_t offset = range->start > at ? (uint32_t)(range->start - at) : 0;
        uint32_t end = (uint32_t)(range->end - at < size ? range->end - at : size);
        if (ours)
            status = step(server, range->inode, index, offset, end - offset, sum);
        else if (range->layout.placement == PLACEMENT_LOCAL && index > 0)
            break; /* all others are where this one is */
    }
    return status;
}

/* Counts what is missing down from what is free. */
static int count_missing(struct server *server, uint64_t inode, uint64_t index, uint32_t offset,
                         uint32_t length, uint64_t *free_bytes)
{
    struct store *store = server->store;
    uint64_t missing = store->operations->missing(store, inode, index, offset, length);
    if (missing > *free_bytes)
        return -ENOSPC;
    *free_bytes -= missing;
    return 0;
}

static int reserve_chunk(struct server *server, uint64_t inode, uint64_t index, uint32_t offset,
                         uint32_t length, uint64_t *unused)
{
    (void)unused;
    return server->store->operations->reserve(server->store, inode, index, offset, length);
}

/* The range [start, end) is not empty and the layout is valid. */
static int shape_here(struct server *server, const struct chunk_shape_request *range)
{
    struct store *store = server->store;
    if (range->kind != ALLOCATE_PUNCH) {
        /* All or nothing here; and a range beyond all measure ends soon. */
        struct store_statistics statistics;
        store->operations->statistics(store, &statistics);
        uint64_t left = statistics.capacity > statistics.used ? statistics.capacity - statistics.used : 0;
        int status = each_chunk(server, range, count_missing, &left);
        if (status == 0)
            status = each_chunk(server, range, reserve_chunk, NULL);
        if (status != 0)
            return status;
    }
    struct store_range bytes = {range->inode, range->start, range->end, range->layout.chunk_shift};
    return range->kind == ALLOCATE_RESERVE
               ? 0
               : store->operations->clear(store, &bytes, range->kind == ALLOCATE_ZERO);
}

void serve_SHAPE_CHUNKS(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct chunk_shape_request *body = request->body;
    int status = server->map == NULL ? -EAGAIN : 0;
    if (status == 0 &&
        (!inode_valid(body->inode) || !layout_valid(&body->layout) || body->kind > ALLOCATE_ZERO ||
         body->start >= body->end || body->end > (uint64_t)INT64_MAX))
        status = -EINVAL;
    if (status == 0)
        status = fence_check(server, body->inode, body->generation);
    if (status == 0)
        status = shape_here(server, body);
    answer(request, status, NULL, 0);
}

static int shape_elsewhere(struct server *server, const struct chunk_shape_request *range, uint64_t deadline)
{
    unsigned shift = range->layout.chunk_shift;
    uint64_t first = range->start >> shift, last = (range->end - 1) >> shift;
    if (server_single(server) || last == 0)
        return 0;
    uint64_t *wanted = chunks_elsewhere(server, range->inode, &range->layout, first == 0 ? 1 : first, last);
    if (wanted == NULL)
        return -ENOMEM;
    int status = server_call_many(server, wanted, RPC_SHAPE_CHUNKS, range, sizeof(*range), NULL, 0, deadline);
    free(wanted);
    return status;
}

/* ---- fallocate ---- */

static bool keep_size(const struct allocate_request *body)
{
    return (body->flags & ALLOCATE_KEEP_SIZE) != 0;
}

/* An inline file that stays one. 1: it cannot. */
static int allocate_inline(struct server *server, struct inode *inode, const struct allocate_request *body)
{
    uint64_t end = body->offset + body->length;
    uint64_t size = inode->size;
    if (body->kind == ALLOCATE_PUNCH) {
        end = end < size ? end : size;
    } else if (end > INLINE_DATA_MAX || (keep_size(body) && end > size)) {
        return 1;
    } else if (end > size) {
        int status = server_metadata_room(server, end - size);
        if (status == 0)
            status = meta_inline_resize(server->meta, inode, (uint32_t)end);
        if (status != 0)
            return status;
        inode->size = end;
    }
    if (body->kind != ALLOCATE_RESERVE && body->offset < end)
        memset((char *)inode->inline_data + body->offset, 0, end - body->offset);
    meta_inline_changed(server->meta, inode);
    return 0;
}

static int allocate_chunks(struct server *server, struct inode *inode, const struct allocate_request *body,
                           uint64_t deadline)
{
    struct chunk_shape_request range = {
        .inode = inode->number,
        .start = body->offset,
        .end = body->offset + body->length,
        .generation = inode->generation,
        .layout = inode->layout,
        .kind = body->kind,
    };
    uint64_t end = range.end;
    if (body->kind == ALLOCATE_PUNCH && (inode->chunked & INODE_BEYOND) == 0 && end > inode->size)
        range.end = inode->size;
    if (range.start >= range.end)
        return 0;
    unsigned before = inode->chunked;
    if (body->kind != ALLOCATE_PUNCH && end > inode->size)
        inode->chunked |= INODE_BEYOND;
    if (!server_single(server))
        inode->elsewhere = HELD_UNKNOWN;
    inode_changed(server, inode);
    struct inode_busy busy;
    inode_busy_begin(inode, &busy, false);
    int status = shape_here(server, &range);
    /* Who removes the file goes to other servers for the mark alone. */
    bool marks = (inode->chunked & INODE_BEYOND) != (before & INODE_BEYOND);
    if (status == 0 && marks && !server_single(server))
        status = intent_lasts(server);
    if (status == 0)
        status = shape_elsewhere(server, &range, deadline);
    if (status == 0 && body->kind != ALLOCATE_PUNCH && !keep_size(body) && end > inode->size) {
        inode->size = end;
        inode->chunked = before & INODE_CHUNKED_BITS;
    }
    inode_changed(server, inode);
    inode_busy_end(server, inode);
    return status;
}

void serve_ALLOCATE(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct allocate_request *body = request->body;
    struct attributes_reply reply;
    struct inode *inode;
    int status = body->kind > ALLOCATE_ZERO || body->length == 0 ? -EINVAL : 0;
    if (status == 0 && (body->offset > (uint64_t)INT64_MAX || body->length > INT64_MAX - body->offset))
        status = -EFBIG;
    if (status == 0)
        status = inode_prepare_change(server, request, body->inode, NULL, &inode);
    if (status == 0) {
        uint64_t size = inode->size;
        status = inode_is_inline(inode) ? allocate_inline(server, inode, body) : 1;
        if (status == 1)
            status = inode_prepare_growth(server, inode, INLINE_DATA_MAX + 1);
        if (status == 0 && !inode_is_inline(inode))
            status = allocate_chunks(server, inode, body, request->deadline);
        if (status == 0) {
            if ((body->flags & ALLOCATE_CLEAR_IDS) != 0)
                inode_clear_ids(inode);
            inode->change_time = loop_realtime(server->loop);
            if (body->kind != ALLOCATE_RESERVE || inode->size != size)
                inode->modify_time = inode->change_time;
            inode_changed(server, inode);
            inode_attributes(server, inode, &reply.attributes);
        }
    }
    answer(request, status, &reply, sizeof(reply));
}

/* ---- data and holes ---- */

/* The first data at or after offset in this server's chunks. */
static void seek_data(struct server *server, uint64_t inode, uint64_t offset, unsigned shift,
                      struct chunk_seek_reply *reply)
{
    struct store *store = server->store;
    uint64_t index = offset >> shift;
    for (uint32_t steps = 0; steps < SEEK_STEPS; steps++) {
        uint64_t next = store->operations->next_chunk(store, inode, index);
        if (next > (uint64_t)INT64_MAX >> shift)
            return;
        uint32_t within = next > offset >> shift ? 0 : (uint32_t)(offset & ((UINT64_C(1) << shift) - 1));
        uint32_t at = store->operations->seek(store, inode, next, within, false);
        if (at != UINT32_MAX) {
            reply->position = (next << shift) + at;
            reply->found = 1;
            return;
        }
        index = next + 1;
    }
    reply->position = index << shift;
}

/* The first hole at or after offset in the chunks that belong here; end: where there is no need to look. */
static void seek_hole(struct server *server, uint64_t inode, uint64_t offset, uint64_t end,
                      const struct layout *layout, struct chunk_seek_reply *reply)
{
    struct store *store = server->store;
    unsigned shift = layout->chunk_shift;
    uint64_t index = offset >> shift, last = (end - 1) >> shift;
    for (uint32_t steps = 0; index <= last; index++) {
        if (placement_server(server->map, inode, layout, index) != server->self) {
            if (layout->placement == PLACEMENT_LOCAL && index > 0)
                return;
            continue;
        }
        if (steps++ == SEEK_STEPS)
            break;
        uint32_t within = index > offset >> shift ? 0 : (uint32_t)(offset & ((UINT64_C(1) << shift) - 1));
        uint32_t at = store->operations->seek(store, inode, index, within, true);
        if (at < UINT32_C(1) << shift) {
            reply->position = (index << shift) + at;
            reply->found = 1;
            return;
        }
    }
    if (index <= last)
        reply->position = index << shift;
}

void serve_SEEK_CHUNKS(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct chunk_seek_request *body = request->body;
    struct chunk_seek_reply reply = {.position = UINT64_MAX};
    struct layout layout = body->layout;
    uint64_t end = INT64_MAX;
    int status = server->map == NULL ? -EAGAIN : 0;
    if (status == 0 && (!inode_valid(body->inode) || body->offset >= (uint64_t)INT64_MAX || body->hole > 1 ||
                        !layout_valid(&layout)))
        status = -EINVAL;
    struct inode *inode = NULL;
    if (status == 0 && server_of_inode(server, body->inode) == server->self) {
        status = readable_file(server, request, body->inode, &inode);
        if (status == 0) {
            layout = inode->layout;
            end = inode->size;
            reply.owner = 1;
            reply.size = inode->size;
            reply.generation = inode->generation;
        }
    }
    if (status == 0 && body->offset < end) {
        if (inode != NULL && inode_is_inline(inode)) {
            reply.position = body->hole ? end : body->offset;
            reply.found = 1;
        } else if (body->hole) {
            seek_hole(server, body->inode, body->offset, end, &layout, &reply);
        } else {
            seek_data(server, body->inode, body->offset, layout.chunk_shift, &reply);
        }
    }
    answer(request, status, &reply, sizeof(reply));
}

void serve_CHUNKS_HELD(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct inode_request *body = request->body;
    int status = server->map == NULL ? -EAGAIN : 0;
    struct chunks_held_reply reply = {.bytes = server->store->operations->held(server->store, body->inode)};
    answer(request, status, &reply, sizeof(reply));
}

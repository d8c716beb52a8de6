/* Reading and writing chunks.
 *
 * A write lands in memory that covers whole blocks. Its commit takes blocks on the device, fills the edges
 * that the write leaves of its first and last block from what these have now, writes, and then, in one step,
 * puts the new blocks into the map. Meanwhile others do the same: writers of different blocks know nothing of
 * one another, and of the same block the later commit wins. But an edge that was filled from a block which
 * has been replaced meanwhile, or cut, or cleared, would bring back what is gone: such an edge is filled and
 * written again, in place, since no record names the new block yet. Each repetition means that somebody else
 * has got through.
 *
 * A read takes down the map as it is when it begins; the blocks that it finds there are not reused before it
 * ends (uring_reading), so it sees old or new blocks, whole ones, and a checksum that does not fit is always
 * the device's fault. Filling edges reads the same way, and goes on to count as a read until its commit, so
 * that a block which has the same number as before is the same block. */
#include "store/uring.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/* ---- transfers ---- */

static struct uring_transfer *transfer_take(struct uring_store *uring)
{
    struct list *node = list_pop_front(&uring->spare);
    if (node != NULL)
        return container_of(node, struct uring_transfer, link);
    struct uring_transfer *transfer = malloc(sizeof(*transfer));
    if (transfer != NULL) {
        *transfer = (struct uring_transfer){0};
        list_init(&transfer->link);
    }
    return transfer;
}

static void transfer_give(struct uring_store *uring, struct uring_transfer *transfer)
{
    if (transfer->blocks != transfer->few)
        free(transfer->blocks);
    transfer->blocks = NULL;
    transfer->zeros.count = 0;
    list_remove(&transfer->link);
    list_push_front(&uring->spare, &transfer->link);
}

/* A transfer with memory for the blocks of [start, end) and so many pages more. May suspend. */
static int transfer_begin(struct uring_store *uring, struct uring_buffers *buffers, uint32_t start,
                          uint32_t end, uint32_t more, struct uring_transfer **begun)
{
    struct uring_transfer *transfer = transfer_take(uring);
    if (transfer == NULL)
        return -ENOMEM;
    transfer->first = start >> PAGE_SHIFT;
    transfer->end = end;
    transfer->count = pages_of(end) - transfer->first;
    transfer->pages = transfer->count + more;
    transfer->chunk = NULL;
    transfer->stale = false;
    transfer->promised = 0;
    transfer->blocks = transfer->few;
    if (transfer->count > URING_FEW)
        transfer->blocks = malloc(transfer->count * sizeof(*transfer->blocks));
    int status =
        transfer->blocks == NULL ? -ENOMEM : uring_buffers_take(buffers, transfer->pages, &transfer->memory);
    if (status != 0) {
        transfer_give(uring, transfer);
        return status;
    }
    *begun = transfer;
    return 0;
}

static void transfer_end(struct uring_store *uring, struct uring_buffers *buffers,
                         struct uring_transfer *transfer)
{
    uring_buffers_give(buffers, transfer->memory, transfer->pages);
    transfer_give(uring, transfer);
}

void uring_transfers_free(struct uring_store *uring)
{
    struct list *node;
    while ((node = list_pop_front(&uring->spare)) != NULL) {
        struct uring_transfer *transfer = container_of(node, struct uring_transfer, link);
        ranges_free(&transfer->zeros);
        free(transfer);
    }
}

/* ---- blocks ---- */

static char *memory_of(const struct uring_transfer *transfer, uint32_t block)
{
    return transfer->memory + ((size_t)(block - transfer->first) << PAGE_SHIFT);
}

/* The longest run on the device that begins with the i-th of these blocks, the first of which is stored. */
static struct uring_run run_at(const struct uring_block *blocks, uint32_t count, uint32_t i)
{
    struct uring_run run = {blocks[i].where, 1};
    while (i + run.count < count && blocks[i + run.count].where == run.first + run.count)
        run.count++;
    return run;
}

/* next: NULL, or the memory of the block that is looked at next. */
static bool block_matches(struct uring_block block, const char *memory, const char *next)
{
    return block.checksum == URING_NO_CHECKSUM || block.checksum == uring_checksum(memory, next);
}

static void report_mismatch(const struct uring_store *uring, uint64_t inode, uint64_t index, uint32_t block,
                            uint32_t where)
{
    char name[32];
    uint64_t offset;
    uring_segments_place(uring->segments, where, name, &offset);
    log_error("uring: inode %" PRIu64 ", chunk %" PRIu64 ", offset %" PRIu64
              ": the block does not match its checksum (%s/%s at %" PRIu64
              "): the device has lost what was written; reading it fails until it is overwritten",
              inode, index, (uint64_t)block << PAGE_SHIFT, disk_path(uring->disk), name, offset);
}

static int verify(const struct uring_store *uring, const struct uring_transfer *transfer, uint64_t inode,
                  uint64_t index)
{
    int status = 0;
    for (uint32_t i = 0; i < transfer->count; i++) {
        struct uring_block block = transfer->blocks[i];
        const char *memory = transfer->memory + ((size_t)i << PAGE_SHIFT);
        const char *next = i + 1 < transfer->count ? memory + PAGE_BYTES : NULL;
        if (!uring_block_stored(block) || block_matches(block, memory, next))
            continue;
        report_mismatch(uring, inode, index, transfer->first + i, block.where);
        status = -EIO;
    }
    return status;
}

static void apply_zeros(const struct ranges *zeros, uint32_t block, char *memory)
{
    struct range part;
    uint32_t start = block << PAGE_SHIFT, end = start + PAGE_BYTES;
    for (uint32_t at = start; ranges_first(zeros, at, end, &part); at = part.end)
        memset(memory + (part.start - start), 0, part.end - part.start);
}

/* ---- writing: begin ---- */

int uring_store_write_begin(struct store *store, struct store_io *io, uint32_t chunk_size)
{
    struct uring_store *uring = uring_of(store);
    if (chunk_size > URING_CHUNK_BLOCKS << PAGE_SHIFT || io->offset > chunk_size ||
        io->length > chunk_size - io->offset)
        return -EINVAL;
    io->engine = NULL;
    io->count = 0;
    if (io->length == 0)
        return 0;
    uint32_t end = io->offset + io->length;
    uint32_t edges = (uint32_t)(io->offset % PAGE_BYTES != 0) + (uint32_t)(end % PAGE_BYTES != 0);
    struct uring_transfer *transfer;
    int status = journal_admit(uring->journal);
    if (status == 0)
        status = transfer_begin(uring, &uring->writes, io->offset, end, edges, &transfer);
    if (status != 0)
        return status;

    struct uring_chunk *chunk = uring_chunk_find(uring, io->inode, io->index);
    if (chunk == NULL && (chunk = uring_chunk_create(uring, io->inode, io->index)) == NULL) {
        transfer_end(uring, &uring->writes, transfer);
        return -ENOMEM;
    }
    uint32_t last = transfer->first + transfer->count;
    uint32_t holes = uring_chunk_holes(chunk, transfer->first, last);
    status = uring_room_for(uring, holes) ? uring_chunk_extend(chunk, last) : -ENOSPC;
    if (status != 0) {
        uring_chunk_settle(uring, chunk);
        transfer_end(uring, &uring->writes, transfer);
        return status;
    }
    transfer->promised = holes;
    uring->promised += holes;
    transfer->chunk = chunk;
    chunk->pins++;
    list_push_back(&chunk->writers, &transfer->link);
    io->engine = transfer;
    io->vector[0] = (struct iovec){transfer->memory + io->offset % PAGE_BYTES, io->length};
    io->count = 1;
    return 0;
}

static void write_end(struct uring_store *uring, struct store_io *io)
{
    struct uring_transfer *transfer = io->engine;
    struct uring_chunk *chunk = transfer->chunk;
    uring->promised -= transfer->promised;
    io->engine = NULL;
    transfer_end(uring, &uring->writes, transfer);
    chunk->pins--;
    uring_chunk_settle(uring, chunk);
}

void uring_store_write_abort(struct store *store, struct store_io *io)
{
    if (io->engine != NULL)
        write_end(uring_of(store), io);
}

/* ---- writing: edges ---- */

/* A block of which the write has only bytes [start, end). */
struct edge {
    uint32_t block;
    uint32_t start;
    uint32_t end;
    /* What it was filled from, and the chunk's state then: */
    struct uring_block old;
    uint32_t edits;
};

struct edges {
    uint32_t count;
    struct edge edge[2];
};

static void edges_find(const struct store_io *io, struct edges *edges)
{
    uint32_t end = io->offset + io->length;
    uint32_t first = io->offset >> PAGE_SHIFT, last = (end - 1) >> PAGE_SHIFT;
    uint32_t start = io->offset % PAGE_BYTES, rest = end - (last << PAGE_SHIFT);
    edges->count = 0;
    if (first == last) {
        if (start != 0 || rest != PAGE_BYTES)
            edges->edge[edges->count++] = (struct edge){.block = first, .start = start, .end = rest};
        return;
    }
    if (start != 0)
        edges->edge[edges->count++] = (struct edge){.block = first, .start = start, .end = PAGE_BYTES};
    if (rest != PAGE_BYTES)
        edges->edge[edges->count++] = (struct edge){.block = last, .start = 0, .end = rest};
}

static bool edge_current(const struct uring_chunk *chunk, const struct edge *edge)
{
    struct uring_block now = uring_chunk_block(chunk, edge->block);
    if (!uring_block_stored(now) || !uring_block_stored(edge->old))
        return !uring_block_stored(now) && !uring_block_stored(edge->old);
    return now.where == edge->old.where && chunk->edits == edge->edits;
}

static bool edges_current(const struct uring_chunk *chunk, const struct edges *edges)
{
    for (uint32_t i = 0; i < edges->count; i++)
        if (!edge_current(chunk, &edges->edge[i]))
            return false;
    return true;
}

/* Notes what the edge is to be filled from. Where the write has all bytes that the chunk has in this block,
 * that is nothing. */
static bool edge_look(const struct uring_chunk *chunk, struct edge *edge)
{
    edge->old = uring_chunk_block(chunk, edge->block);
    edge->edits = chunk->edits;
    return uring_block_stored(edge->old) &&
           (edge->start > 0 || (edge->block << PAGE_SHIFT) + edge->end < chunk->length);
}

/* Puts around the write's bytes what the block has there; old: NULL, zeros. */
static void edge_fill(const struct edge *edge, char *memory, const char *old)
{
    uint32_t rest = PAGE_BYTES - edge->end;
    if (old != NULL) {
        memcpy(memory, old, edge->start);
        memcpy(memory + edge->end, old + edge->end, rest);
    } else {
        memset(memory, 0, edge->start);
        memset(memory + edge->end, 0, rest);
    }
}

/* Fills all edges from what the chunk has now. May suspend. */
static int edges_fill(struct uring_store *uring, struct uring_transfer *transfer, const struct store_io *io,
                      struct edges *edges)
{
    struct uring_chunk *chunk = transfer->chunk;
    struct uring_batch batch;
    bool needed[2];
    uring_batch_begin(&batch, uring->segments);
    for (uint32_t i = 0; i < edges->count; i++) {
        char *old = transfer->memory + ((size_t)(transfer->count + i) << PAGE_SHIFT);
        struct edge *edge = &edges->edge[i];
        needed[i] = edge_look(chunk, edge);
        const char *recent = needed[i] ? uring_recent_find(&uring->recent, edge->old.where) : NULL;
        if (recent != NULL)
            memcpy(old, recent, PAGE_BYTES);
        else if (needed[i])
            uring_batch_add(&batch, DISK_READ, (struct uring_run){edge->old.where, 1}, old);
    }
    int status = uring_batch_end(&batch);
    for (uint32_t i = 0; i < edges->count && status == 0; i++) {
        char *old = transfer->memory + ((size_t)(transfer->count + i) << PAGE_SHIFT);
        const struct edge *edge = &edges->edge[i];
        if (needed[i] && !block_matches(edge->old, old, NULL)) {
            report_mismatch(uring, io->inode, io->index, edge->block, edge->old.where);
            return -EIO;
        }
        if (needed[i])
            apply_zeros(&chunk->zeros, edge->block, old);
        edge_fill(edge, memory_of(transfer, edge->block), needed[i] ? old : NULL);
    }
    return status;
}

/* ---- writing: commit ---- */

static void blocks_give(struct uring_store *uring, const struct uring_transfer *transfer, uint32_t count)
{
    for (uint32_t at = 0; at < count;) {
        struct uring_run run = run_at(transfer->blocks, count, at);
        uring_segments_give(uring->segments, &run);
        at += run.count;
    }
}

/* Takes blocks on the device for all of the transfer's. */
static int blocks_take(struct uring_store *uring, struct uring_transfer *transfer)
{
    uint32_t at = 0;
    while (at < transfer->count) {
        struct uring_run run;
        int status = uring_segments_take(uring->segments, transfer->count - at, &run);
        if (status != 0) {
            blocks_give(uring, transfer, at);
            return status;
        }
        for (; run.count > 0; run.count--) {
            uring_recent_drop(&uring->recent, run.first);
            transfer->blocks[at++].where = run.first++;
        }
    }
    return 0;
}

/* Starts to write blocks [at, at + count) and computes their checksums while the device works. */
static void write_blocks(struct uring_store *uring, struct uring_batch *batch,
                         struct uring_transfer *transfer, uint32_t at, uint32_t count)
{
    uint32_t end = at + count;
    for (uint32_t next = at; next < end;) {
        struct uring_run run = run_at(transfer->blocks, end, next);
        uring_batch_add(batch, DISK_WRITE, run, transfer->memory + ((size_t)next << PAGE_SHIFT));
        next += run.count;
    }
    uring_batch_push(batch);
    for (uint32_t i = at; i < end; i++) {
        const char *memory = transfer->memory + ((size_t)i << PAGE_SHIFT);
        const char *next = i + 1 < end ? memory + PAGE_BYTES : NULL;
        transfer->blocks[i].checksum = uring->checksum ? uring_checksum(memory, next) : URING_NO_CHECKSUM;
    }
}

/* Brings the write to its blocks on the device, until its edges are those of the chunk as it is now. */
static int write_out(struct uring_store *uring, struct uring_transfer *transfer, const struct store_io *io,
                     struct edges *edges)
{
    struct uring_batch batch;
    int status = edges_fill(uring, transfer, io, edges);
    if (status != 0)
        return status;
    uring_batch_begin(&batch, uring->segments);
    write_blocks(uring, &batch, transfer, 0, transfer->count);
    status = uring_batch_end(&batch);
    while (status == 0 && !transfer->stale && !edges_current(transfer->chunk, edges)) {
        status = edges_fill(uring, transfer, io, edges);
        if (status != 0)
            break;
        uring_batch_begin(&batch, uring->segments);
        for (uint32_t i = 0; i < edges->count; i++)
            write_blocks(uring, &batch, transfer, edges->edge[i].block - transfer->first, 1);
        status = uring_batch_end(&batch);
    }
    return status == 0 && transfer->stale ? -ESTALE : status;
}

int uring_store_write_commit(struct store *store, struct store_io *io)
{
    struct uring_store *uring = uring_of(store);
    struct uring_transfer *transfer = io->engine;
    if (transfer == NULL)
        return 0;
    int status = transfer->stale ? -ESTALE : blocks_take(uring, transfer);
    if (status == 0) {
        struct edges edges;
        struct uring_reading reading;
        edges_find(io, &edges);
        if (edges.count > 0)
            uring_segments_read_begin(uring->segments, &reading);
        status = write_out(uring, transfer, io, &edges);
        if (status == 0)
            status = uring_chunk_put(uring, transfer->chunk, transfer);
        for (uint32_t i = 0; status == 0 && i < edges.count; i++)
            uring_recent_put(&uring->recent, transfer->blocks[edges.edge[i].block - transfer->first].where,
                             memory_of(transfer, edges.edge[i].block));
        if (edges.count > 0)
            uring_segments_read_end(uring->segments, &reading);
        if (status != 0)
            blocks_give(uring, transfer, transfer->count);
    }
    write_end(uring, io);
    return status;
}

/* ---- reading ---- */

/* Takes down what the chunk has where the transfer reads. */
static int look(struct uring_transfer *transfer, const struct uring_chunk *chunk)
{
    uint32_t start = transfer->first << PAGE_SHIFT, end = (transfer->first + transfer->count) << PAGE_SHIFT;
    struct range part;
    for (uint32_t i = 0; i < transfer->count; i++)
        transfer->blocks[i] = uring_chunk_block(chunk, transfer->first + i);
    transfer->zeros.count = 0;
    if (chunk->zeros.count == 0)
        return 0;
    int status = ranges_reserve(&transfer->zeros, chunk->zeros.count);
    for (uint32_t at = start; status == 0 && ranges_first(&chunk->zeros, at, end, &part); at = part.end)
        ranges_add(&transfer->zeros, part.start, part.end);
    return status;
}

/* Reads the blocks that were found. */
static int fetch(struct uring_store *uring, struct uring_transfer *transfer)
{
    struct uring_reading reading;
    struct uring_batch batch;
    uring_segments_read_begin(uring->segments, &reading);
    uring_batch_begin(&batch, uring->segments);
    for (uint32_t at = 0; at < transfer->count;) {
        char *memory = transfer->memory + ((size_t)at << PAGE_SHIFT);
        if (!uring_block_stored(transfer->blocks[at])) {
            memset(memory, 0, PAGE_BYTES);
            at++;
            continue;
        }
        struct uring_run run = run_at(transfer->blocks, transfer->count, at);
        uring_batch_add(&batch, DISK_READ, run, memory);
        at += run.count;
    }
    /* A device that answers many reads with one interrupt would stand still until the turn ends that deals
     * with all of them. Writes wait for that end, because neighbours become one transfer. */
    if (batch.started > 0)
        disk_push(uring->disk);
    int status = uring_batch_end(&batch);
    uring_segments_read_end(uring->segments, &reading);
    return status;
}

static void clip(struct store_io *io, const struct uring_chunk *chunk)
{
    uint32_t length = chunk == NULL ? 0 : chunk->length;
    if (io->offset >= length)
        io->length = 0;
    else if (io->length > length - io->offset)
        io->length = length - io->offset;
}

int uring_store_read_begin(struct store *store, struct store_io *io)
{
    struct uring_store *uring = uring_of(store);
    struct uring_transfer *transfer;
    io->engine = NULL;
    io->count = 0;
    clip(io, uring_chunk_find(uring, io->inode, io->index));
    if (io->length == 0)
        return 0;
    int status = transfer_begin(uring, &uring->reads, io->offset, io->offset + io->length, 0, &transfer);
    if (status != 0)
        return status;
    const struct uring_chunk *chunk = uring_chunk_find(uring, io->inode, io->index);
    clip(io, chunk); /* again: it may have waited */
    if (io->length > 0) {
        status = look(transfer, chunk);
        if (status == 0)
            status = fetch(uring, transfer);
        if (status == 0)
            status = verify(uring, transfer, io->inode, io->index);
    }
    if (status != 0 || io->length == 0) {
        transfer_end(uring, &uring->reads, transfer);
        return status;
    }
    for (uint32_t i = 0; transfer->zeros.count > 0 && i < transfer->count; i++)
        apply_zeros(&transfer->zeros, transfer->first + i, transfer->memory + ((size_t)i << PAGE_SHIFT));
    io->engine = transfer;
    io->vector[0] = (struct iovec){transfer->memory + io->offset % PAGE_BYTES, io->length};
    io->count = 1;
    return 0;
}

void uring_store_read_end(struct store *store, struct store_io *io)
{
    struct uring_store *uring = uring_of(store);
    if (io->engine != NULL)
        transfer_end(uring, &uring->reads, io->engine);
    io->engine = NULL;
}

/* ---- scrubbing ---- */

#define SCRUB_BYTES (1u << 18)

/* One block of which the reading of all did not succeed. */
static bool scrub_alone(struct uring_store *uring, struct uring_transfer *transfer, uint32_t i)
{
    struct uring_batch batch;
    uring_batch_begin(&batch, uring->segments);
    uring_batch_add(&batch, DISK_READ, (struct uring_run){transfer->blocks[i].where, 1},
                    transfer->memory + ((size_t)i << PAGE_SHIFT));
    return uring_batch_end(&batch) == 0;
}

static void scrub_count(struct store_scrub *found, uint32_t block, bool sound, uint32_t bytes)
{
    if (sound) {
        found->bytes += bytes;
        return;
    }
    if (found->blocks++ == 0)
        found->offset = block << PAGE_SHIFT;
}

/* Reads the blocks that were found, and counts. */
static void scrub_blocks(struct uring_store *uring, struct uring_transfer *transfer, uint64_t inode,
                         uint64_t index, uint32_t length, struct store_scrub *found)
{
    struct uring_reading reading;
    uring_segments_read_begin(uring->segments, &reading);
    bool whole = fetch(uring, transfer) == 0;
    for (uint32_t i = 0; i < transfer->count; i++) {
        uint32_t block = transfer->first + i, at = block << PAGE_SHIFT;
        if (!uring_block_stored(transfer->blocks[i]))
            continue;
        bool sound = whole || scrub_alone(uring, transfer, i);
        if (sound && !block_matches(transfer->blocks[i], memory_of(transfer, block), NULL)) {
            report_mismatch(uring, inode, index, block, transfer->blocks[i].where);
            sound = false;
        }
        scrub_count(found, block, sound, length - at < PAGE_BYTES ? length - at : PAGE_BYTES);
    }
    uring_segments_read_end(uring->segments, &reading);
}

int uring_store_scrub(struct store *store, uint64_t inode, uint64_t index, struct store_scrub *found)
{
    struct uring_store *uring = uring_of(store);
    *found = (struct store_scrub){0};
    if (uring_chunk_find(uring, inode, index) == NULL)
        return -ENOENT;
    struct uring_transfer *transfer;
    int status = transfer_begin(uring, &uring->reads, 0, SCRUB_BYTES, 0, &transfer);
    if (status != 0)
        return status;
    uint32_t most = transfer->count;
    const struct uring_chunk *chunk;
    for (uint32_t at = 0; (chunk = uring_chunk_find(uring, inode, index)) != NULL; at += most) {
        uint32_t blocks = pages_of(chunk->length);
        if (at >= blocks)
            break;
        transfer->first = at;
        transfer->count = blocks - at < most ? blocks - at : most;
        status = look(transfer, chunk);
        if (status != 0)
            break;
        scrub_blocks(uring, transfer, inode, index, chunk->length, found);
    }
    transfer_end(uring, &uring->reads, transfer);
    return status;
}

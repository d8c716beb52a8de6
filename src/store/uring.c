/* The uring engine: chunks in large files that are written past the page cache, through the queue of the disk
 * (runtime/disk.h), which hands all transfers of a turn to the kernel at once.
 *
 * Segments (uring_segments.c) are files of equal size, made and allocated one after another as the store
 * fills, cut into blocks of 4 KiB. No file is opened or made for a chunk. A chunk (uring_chunk.c) is a map
 * from its blocks to those of the device, with a checksum for each, and lives in memory and in the journal
 * (uring_format.h, uring_recovery.c): 8 bytes for 4 KiB.
 *
 * Nothing is ever written in place. A write lands in registered memory that covers whole blocks
 * (uring_buffers.c), goes from there to free blocks, and then its record goes to the journal
 * (uring_transfer.c). What it replaces is free again when that record is durable. So whatever is lost with
 * the power, the last durable map names whole blocks whose bytes are there; and a write that fails or is
 * aborted has changed nothing.
 *
 * The capacity is hard, counted in blocks of the maps; a write is promised its blocks before its bytes are
 * fetched. Because blocks that are replaced are not free at once, the segments may take some more of the
 * device than the capacity, and when all is in use a write has the journal commit what was replaced; that
 * fails with -ENOSPC only where the device itself is full.
 *
 * Only memory is waited for, in order of arrival, and the device. Removing, cutting, clearing and reserving
 * touch maps alone and never wait. */
#include "store/uring.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define BUFFER_DEFAULT (UINT64_C(64) << 20)
#define BUFFER_LEAST (UINT64_C(256) << 10)
#define BUFFER_MOST (UINT64_C(64) << 30)

/* ---- cutting, removing, reserving, clearing ---- */

static int uring_store_truncate(struct store *store, uint64_t inode, uint64_t index, uint32_t length)
{
    struct uring_store *uring = uring_of(store);
    struct uring_chunk *chunk = uring_chunk_find(uring, inode, index);
    if (chunk == NULL)
        return 0;
    if (length == 0) {
        chunk_index_remove(&uring->index, &chunk->entry);
        uring_chunk_dispose(uring, &chunk->entry);
        return 0;
    }
    int status = uring_chunk_cut(uring, chunk, length);
    if (status != 0)
        return status;
    list_for_each (node, &chunk->writers) {
        struct uring_transfer *transfer = container_of(node, struct uring_transfer, link);
        if (transfer->end > length)
            transfer->stale = true;
    }
    uring_chunk_settle(uring, chunk);
    return 0;
}

static int uring_store_remove(struct store *store, uint64_t inode, uint64_t first)
{
    struct uring_store *uring = uring_of(store);
    chunk_index_remove_from(&uring->index, inode, first, uring_chunk_dispose, uring);
    return 0;
}

static uint64_t uring_store_missing(struct store *store, uint64_t inode, uint64_t index, uint32_t offset,
                                    uint32_t length)
{
    const struct uring_chunk *chunk = uring_chunk_find(uring_of(store), inode, index);
    uint32_t first = offset >> PAGE_SHIFT, last = pages_of(offset + length);
    return (uint64_t)(chunk == NULL ? last - first : uring_chunk_holes(chunk, first, last)) << PAGE_SHIFT;
}

static int uring_store_reserve(struct store *store, uint64_t inode, uint64_t index, uint32_t offset,
                               uint32_t length)
{
    struct uring_store *uring = uring_of(store);
    struct uring_chunk *chunk = uring_chunk_find(uring, inode, index);
    if (chunk == NULL && (chunk = uring_chunk_create(uring, inode, index)) == NULL)
        return -ENOMEM;
    int status = uring_chunk_reserve(uring, chunk, offset >> PAGE_SHIFT, pages_of(offset + length));
    uring_chunk_settle(uring, chunk);
    return status;
}

/* What a clearing needs on its way through the chunks. */
struct clearing {
    struct uring_store *uring;
    const struct store_range *range;
    bool keep;
    int status;
};

static void clear_chunk(void *owner, struct chunk_entry *entry)
{
    struct clearing *clearing = owner;
    const struct store_range *range = clearing->range;
    struct uring_chunk *chunk = container_of(entry, struct uring_chunk, entry);
    uint64_t at = entry->node.index << range->chunk_shift;
    uint64_t size = UINT64_C(1) << range->chunk_shift;
    uint32_t start = range->start > at ? (uint32_t)(range->start - at) : 0;
    uint32_t end = (uint32_t)(range->end - at < size ? range->end - at : size);
    int status = uring_chunk_clear(clearing->uring, chunk, start, end, clearing->keep);
    if (status != 0)
        clearing->status = status;
}

static int uring_store_clear(struct store *store, const struct store_range *range, bool keep)
{
    struct clearing clearing = {uring_of(store), range, keep, 0};
    if (range->start < range->end)
        chunk_index_visit(&uring_of(store)->index, range->inode, range->start >> range->chunk_shift,
                          (range->end - 1) >> range->chunk_shift, clear_chunk, &clearing);
    return clearing.status;
}

/* ---- asking ---- */

static void uring_store_statistics(struct store *store, struct store_statistics *statistics)
{
    const struct uring_store *uring = uring_of(store);
    statistics->used = (uring->used + uring->promised) << PAGE_SHIFT;
    statistics->capacity = uring->capacity << PAGE_SHIFT;
    statistics->chunks = uring->index.chunks.count;
    statistics->memory = uring->reads.region.length + uring->writes.region.length +
                         chunk_index_memory(&uring->index, sizeof(struct uring_chunk));
}

static uint32_t uring_store_chunk_length(struct store *store, uint64_t inode, uint64_t index)
{
    const struct uring_chunk *chunk = uring_chunk_find(uring_of(store), inode, index);
    return chunk == NULL ? 0 : chunk->length;
}

static uint64_t uring_store_next_chunk(struct store *store, uint64_t inode, uint64_t first)
{
    const struct chunk_entry *entry = chunk_index_next(&uring_of(store)->index, inode, first);
    return entry == NULL ? UINT64_MAX : entry->node.index;
}

static uint32_t uring_store_seek(struct store *store, uint64_t inode, uint64_t index, uint32_t offset,
                                 bool hole)
{
    const struct uring_chunk *chunk = uring_chunk_find(uring_of(store), inode, index);
    if (chunk == NULL || offset >= chunk->length)
        return hole ? offset : UINT32_MAX;
    for (uint32_t block = offset >> PAGE_SHIFT; block << PAGE_SHIFT < chunk->length; block++)
        if (uring_block_stored(uring_chunk_block(chunk, block)) != hole)
            return block << PAGE_SHIFT > offset ? block << PAGE_SHIFT : offset;
    return hole ? chunk->length : UINT32_MAX;
}

static uint64_t uring_store_held(struct store *store, uint64_t inode)
{
    const struct chunk_file *file = chunk_index_file(&uring_of(store)->index, inode);
    return file == NULL ? 0 : file->held << PAGE_SHIFT;
}

static bool uring_store_next(struct store *store, struct store_cursor *cursor)
{
    return chunk_index_advance(&uring_of(store)->index, cursor) != NULL;
}

/* ---- the journal ---- */

static int uring_store_flush(struct store *store)
{
    struct uring_store *uring = uring_of(store);
    uring_segments_cut(uring->segments);
    return uring_segments_flush(uring->segments);
}

static void uring_store_committed(struct store *store, uint64_t position)
{
    uring_segments_committed(uring_of(store)->segments, position);
}

/* ---- life ---- */

static void forget_chunk(void *owner, struct chunk_entry *entry)
{
    (void)owner;
    uring_chunk_free(container_of(entry, struct uring_chunk, entry));
}

static void uring_store_destroy(struct store *store)
{
    struct uring_store *uring = uring_of(store);
    chunk_index_free(&uring->index, forget_chunk, NULL);
    uring_transfers_free(uring);
    if (uring->segments != NULL)
        uring_segments_close(uring->segments);
    uring_buffers_free(&uring->reads);
    uring_buffers_free(&uring->writes);
    uring_recent_free(&uring->recent);
    free(uring);
}

static int check_options(const struct store_options *options)
{
    if (options->disk == NULL) {
        log_error("the store engine \"uring\" keeps its segments in a directory: set store.path");
        return -EINVAL;
    }
    uint64_t blocks = options->capacity >> PAGE_SHIFT;
    if (blocks == 0 || blocks >= URING_DEVICE_BLOCKS_MAX - 2 * URING_SEGMENT_BLOCKS_MAX) {
        log_error("store capacity of %" PRIu64
                  " bytes is impossible: set store.capacity between 4 KiB and 15 TiB",
                  options->capacity);
        return -EINVAL;
    }
    return 0;
}

/* Half of the memory is for writes, half for reads: see uring_buffers.c. */
static int buffers_make(struct uring_store *uring, const struct store_options *options)
{
    uint64_t bytes = options->buffer == 0 ? BUFFER_DEFAULT : options->buffer;
    bytes = bytes < BUFFER_LEAST ? BUFFER_LEAST : bytes > BUFFER_MOST ? BUFFER_MOST : bytes;
    uint32_t pages = (uint32_t)(bytes / 2 >> PAGE_SHIFT);
    struct loop *loop = options->loop;
    int status = uring_buffers_init(&uring->writes, loop, options->disk, options->net, pages);
    if (status == 0)
        status = uring_buffers_init(&uring->reads, loop, options->disk, options->net, pages);
    if (status != 0) {
        log_error("cannot reserve %" PRIu64 " bytes of memory for transfers: set store.buffer lower", bytes);
        return status;
    }
    if (options->prefault) {
        memset(uring->writes.region.bytes, 0, (size_t)pages << PAGE_SHIFT);
        memset(uring->reads.region.bytes, 0, (size_t)pages << PAGE_SHIFT);
    }
    return 0;
}

static int uring_store_create(const struct store_options *options, struct store **store)
{
    int status = check_options(options);
    if (status != 0)
        return status;
    struct uring_store *uring = calloc(1, sizeof(*uring));
    if (uring == NULL)
        return -ENOMEM;
    uring->store = (struct store){.operations = &store_uring_operations, .loop = options->loop};
    uring->disk = options->disk;
    uring->capacity = options->capacity >> PAGE_SHIFT;
    uring->checksum = options->checksum;
    list_init(&uring->spare);
    uring_recent_init(&uring->recent);
    status = chunk_index_init(&uring->index);
    if (status != 0) {
        uring_recent_free(&uring->recent);
        free(uring);
        return status;
    }
    status = buffers_make(uring, options);
    if (status != 0) {
        uring_store_destroy(&uring->store);
        return status;
    }
    *store = &uring->store;
    return 0;
}

const struct store_operations store_uring_operations = {
    .name = "uring",
    .persistent = true,
    .create = uring_store_create,
    .destroy = uring_store_destroy,
    .write_begin = uring_store_write_begin,
    .write_commit = uring_store_write_commit,
    .write_abort = uring_store_write_abort,
    .read_begin = uring_store_read_begin,
    .read_end = uring_store_read_end,
    .truncate = uring_store_truncate,
    .remove = uring_store_remove,
    .statistics = uring_store_statistics,
    .chunk_length = uring_store_chunk_length,
    .reserve = uring_store_reserve,
    .missing = uring_store_missing,
    .clear = uring_store_clear,
    .next_chunk = uring_store_next_chunk,
    .seek = uring_store_seek,
    .held = uring_store_held,
    .next = uring_store_next,
    .replay = uring_store_replay,
    .start = uring_store_start,
    .flush = uring_store_flush,
    .committed = uring_store_committed,
    .snapshot = uring_store_snapshot,
    .scrub = uring_store_scrub,
};

/* The engine rocksdb: chunks and the journal's objects in one RocksDB database.
 *
 * A chunk is cut into pieces of 64 KiB, each a value of its own; RocksDB keeps values of that size in blob
 * files, so that compaction moves only their keys. A piece is never overwritten: each write puts a new
 * version under a new key (rocksdb_format.h). Which version holds which 4 KiB block, with what checksum, is
 * what memory knows of a chunk (block_map.h, where a block's "page" is a version and a place in the piece),
 * and what the chunk's record says. So the engine works like those that copy blocks on a device, with keys in
 * place of blocks, and a torn write or a lost group harms nothing that was durable.
 *
 * Durability. The journal has no files here: a group is one batch of puts and deletions, the newest value of
 * each object (rocksdb_journal.c). A commit of a write only hands its pieces to the database, which appends
 * them to its write-ahead log without waiting for the device, and then appends the chunk's record to the
 * journal. So flush has nothing to do: all pieces that the records of a group name were written before the
 * group (one thread calls RocksDB, in order, and a record is appended after its pieces), RocksDB numbers all
 * writes of its one column family and appends them to the log in that order, a synchronised write
 * synchronises every log file that is not yet, before its own, and recovery (point in time) takes the log up
 * to the first gap: if the group is there, so is all that it names. RocksDB removes a log file only when what
 * it holds is in tables and blob files, synchronised.
 *
 * RocksDB's calls block: a thread makes them (rocksdb_database.c). What of the interface may not suspend
 * works on memory alone. In particular cutting and clearing within a block only note the range as zeros,
 * until a write of that piece leaves it out (`zeros`, recorded beside the chunk).
 *
 * The capacity bounds blocks that hold data or are promised, as elsewhere; what RocksDB needs besides (old
 * versions until compaction, the log, index blocks) is not counted. Memory is bounded by options.buffer: a
 * third for transfers, the rest for RocksDB's block cache and write buffers; and 8 bytes a block. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "runtime/disk.h"
#include "store/rocksdb_state.h"

#define DIRECTORY "rocksdb"
#define BUFFER_DEFAULT (UINT64_C(192) << 20)
#define STAGING_MIN (UINT64_C(4) << 20)

/* ---- cutting and removing ---- */

static int rocks_remove(struct store *store, uint64_t inode, uint64_t first)
{
    struct rocks *rocks = rocks_of(store);
    chunk_index_remove_from(&rocks->index, inode, first, rocks_chunk_dispose, rocks);
    return 0;
}

static int rocks_truncate(struct store *store, uint64_t inode, uint64_t index, uint32_t length)
{
    struct rocks *rocks = rocks_of(store);
    struct rocks_chunk *chunk = rocks_chunk_find(rocks, inode, index);
    if (chunk == NULL)
        return 0;
    if (length == 0) {
        chunk_index_remove(&rocks->index, &chunk->entry);
        rocks_chunk_dispose(rocks, &chunk->entry);
        return 0;
    }
    bool changed = chunk->length > length || chunk->map.count > pages_of(length);
    int status = rocks_zeros_reserve(chunk, 4);
    if (status != 0)
        return status;
    list_for_each (node, &chunk->writers) {
        struct store_io *io = container_of(node, struct store_io, link);
        struct rocks_write *write = io->engine;
        write->stale |= io->offset + io->length > length;
    }
    status = rocks_chunk_empty(rocks, chunk, pages_of(length), chunk->map.count, false);
    if (status != 0)
        return status;
    if (chunk->length > length) {
        chunk->length = length;
        rocks_zeros_add(chunk, length, pages_of(length) << PAGE_SHIFT);
    }
    rocks_chunk_settle(rocks, chunk, changed);
    return 0;
}

/* ---- reserving and clearing ---- */

static uint64_t rocks_missing(struct store *store, uint64_t inode, uint64_t index, uint32_t offset,
                              uint32_t length)
{
    const struct rocks_chunk *chunk = rocks_chunk_find(rocks_of(store), inode, index);
    uint32_t first = offset >> PAGE_SHIFT, end = pages_of(offset + length);
    uint32_t missing = chunk == NULL ? end - first : block_map_holes(&chunk->map, first, end);
    return (uint64_t)missing << PAGE_SHIFT;
}

static int rocks_reserve(struct store *store, uint64_t inode, uint64_t index, uint32_t offset,
                         uint32_t length)
{
    struct rocks *rocks = rocks_of(store);
    struct rocks_chunk *chunk = rocks_chunk_find(rocks, inode, index);
    if (chunk == NULL && (chunk = rocks_chunk_create(rocks, inode, index)) == NULL)
        return -ENOMEM;
    uint32_t first = offset >> PAGE_SHIFT, end = pages_of(offset + length);
    uint32_t holes = block_map_holes(&chunk->map, first, end);
    bool room = holes == 0 || rocks->charged + holes <= rocks->capacity;
    int status = room ? block_map_reserve(&chunk->map, end) : -ENOSPC;
    for (uint32_t at = first; status == 0 && at < end; at++)
        if (block_map_get(&chunk->map, at).page == PAGES_NONE)
            block_map_set(&chunk->map, at, (struct block){BLOCK_RESERVED, BLOCK_NO_SUM});
    if (status == 0)
        rocks->charged += holes;
    rocks_chunk_settle(rocks, chunk, status == 0 && holes > 0);
    return status;
}

/* Clears bytes [start, end) of the chunk. */
static int chunk_clear(struct rocks *rocks, struct rocks_chunk *chunk, uint32_t start, uint32_t end,
                       bool keep)
{
    uint32_t first = pages_of(start), last = end >> PAGE_SHIFT; /* whole blocks */
    int status = rocks_zeros_reserve(chunk, 8);
    if (status == 0 && first < last)
        status = rocks_chunk_empty(rocks, chunk, first, last, keep);
    if (status != 0)
        return status;
    if (first > last) {
        rocks_zeros_add(chunk, start, end);
    } else {
        rocks_zeros_add(chunk, start, first << PAGE_SHIFT);
        rocks_zeros_add(chunk, last << PAGE_SHIFT, end);
    }
    return 0;
}

/* Clears a chunk up to its end, from byte `start` on: it is cut there. What is held beyond the range stays
 * promised up to there. */
static int chunk_clear_tail(struct rocks *rocks, struct rocks_chunk *chunk, uint32_t start, uint32_t end)
{
    uint32_t rest = pages_of(end);
    bool promised = chunk->map.count > rest && (end & (PAGE_BYTES - 1)) != 0;
    int status = rocks_zeros_reserve(chunk, 8);
    if (status == 0)
        status = rocks_chunk_empty(rocks, chunk, pages_of(start), promised ? rest - 1 : rest, false);
    if (status == 0 && promised && rest - 1 >= pages_of(start))
        status = rocks_chunk_empty(rocks, chunk, rest - 1, rest, true);
    if (status != 0)
        return status;
    chunk->length = start;
    rocks_zeros_add(chunk, start, pages_of(start) << PAGE_SHIFT);
    return 0;
}

struct clearing {
    struct rocks *rocks;
    const struct store_range *range;
    bool keep;
    int status;
};

static void clear_entry(void *owner, struct chunk_entry *entry)
{
    struct clearing *clearing = owner;
    struct rocks *rocks = clearing->rocks;
    struct rocks_chunk *chunk = container_of(entry, struct rocks_chunk, entry);
    uint64_t at = entry->node.index << clearing->range->chunk_shift;
    uint64_t size = UINT64_C(1) << clearing->range->chunk_shift;
    uint32_t start = clearing->range->start > at ? (uint32_t)(clearing->range->start - at) : 0;
    uint32_t end = (uint32_t)(clearing->range->end - at < size ? clearing->range->end - at : size);
    bool tail =
        !clearing->keep && list_empty(&chunk->writers) && end >= chunk->length && start < chunk->length;
    int status = tail ? chunk_clear_tail(rocks, chunk, start, end)
                      : chunk_clear(rocks, chunk, start, end, clearing->keep);
    if (status != 0)
        clearing->status = status;
    rocks_chunk_settle(rocks, chunk, true);
}

static int rocks_clear(struct store *store, const struct store_range *range, bool keep)
{
    struct clearing clearing = {rocks_of(store), range, keep, 0};
    if (range->start < range->end)
        chunk_index_visit(&rocks_of(store)->index, range->inode, range->start >> range->chunk_shift,
                          (range->end - 1) >> range->chunk_shift, clear_entry, &clearing);
    return clearing.status;
}

/* ---- looking ---- */

static uint64_t rocks_next_chunk(struct store *store, uint64_t inode, uint64_t first)
{
    const struct chunk_entry *entry = chunk_index_next(&rocks_of(store)->index, inode, first);
    return entry == NULL ? UINT64_MAX : entry->node.index;
}

static uint32_t rocks_seek(struct store *store, uint64_t inode, uint64_t index, uint32_t offset, bool hole)
{
    const struct rocks_chunk *chunk = rocks_chunk_find(rocks_of(store), inode, index);
    if (chunk == NULL || offset >= chunk->length)
        return hole ? offset : UINT32_MAX;
    uint32_t block = block_map_seek(&chunk->map, offset >> PAGE_SHIFT, hole);
    uint32_t at = larger(block << PAGE_SHIFT, offset);
    if (block < chunk->map.count && at < chunk->length)
        return at;
    /* Behind the map there are holes only. */
    return !hole ? UINT32_MAX : smaller(at, chunk->length);
}

static uint64_t rocks_held(struct store *store, uint64_t inode)
{
    const struct chunk_file *file = chunk_index_file(&rocks_of(store)->index, inode);
    return file == NULL ? 0 : file->held << PAGE_SHIFT;
}

static void rocks_statistics(struct store *store, struct store_statistics *statistics)
{
    struct rocks *rocks = rocks_of(store);
    statistics->used = rocks->charged << PAGE_SHIFT;
    statistics->capacity = rocks->capacity << PAGE_SHIFT;
    statistics->chunks = rocks->index.chunks.count;
    statistics->memory = staging_bytes(rocks->staging) + database_cached(rocks->database) +
                         chunk_index_memory(&rocks->index, sizeof(struct rocks_chunk));
}

static uint32_t rocks_chunk_length(struct store *store, uint64_t inode, uint64_t index)
{
    const struct rocks_chunk *chunk = rocks_chunk_find(rocks_of(store), inode, index);
    return chunk == NULL ? 0 : chunk->length;
}

static bool rocks_next(struct store *store, struct store_cursor *cursor)
{
    return chunk_index_advance(&rocks_of(store)->index, cursor) != NULL;
}

/* What a group's records made superfluous went with the group. */
static void rocks_committed(struct store *store, uint64_t position)
{
    (void)store;
    (void)position;
}

/* ---- life ---- */

static void chunk_forget(void *owner, struct chunk_entry *entry)
{
    (void)owner;
    rocks_chunk_free(container_of(entry, struct rocks_chunk, entry));
}

static void rocks_destroy(struct store *store)
{
    struct rocks *rocks = rocks_of(store);
    if (rocks->database != NULL)
        database_close(rocks->database);
    rocks_noted_free(&rocks->open);
    rocks_noted_free(&rocks->sealed);
    chunk_index_free(&rocks->index, chunk_forget, rocks);
    if (rocks->staging != NULL)
        staging_destroy(rocks->staging);
    free(rocks);
}

static int options_check(const struct store_options *options)
{
    if (options->loop == NULL || loop_simulated(options->loop)) {
        log_error("the storage engine rocksdb has a thread and files of its own: it cannot be simulated");
        return -EINVAL;
    }
    if (options->disk == NULL) {
        log_error("the storage engine rocksdb needs a directory: set store.path");
        return -EINVAL;
    }
    if (options->capacity >> PAGE_SHIFT == 0) {
        log_error("store capacity of %" PRIu64 " bytes is impossible: set store.capacity to 4 KiB or more",
                  options->capacity);
        return -EINVAL;
    }
    return 0;
}

static int parts_create(struct rocks *rocks, const struct store_options *options)
{
    uint64_t buffer = options->buffer == 0 ? BUFFER_DEFAULT : options->buffer;
    uint64_t staging = buffer / 3 < STAGING_MIN ? STAGING_MIN : buffer / 3;
    char path[4096];
    int length = snprintf(path, sizeof(path), "%s/" DIRECTORY, disk_path(options->disk));
    if (length >= (int)sizeof(path))
        return -ENAMETOOLONG;
    int status = staging_create(options->loop, options->net, staging, &rocks->staging);
    if (status != 0) {
        log_error("cannot reserve %" PRIu64 " bytes of memory for transfers", staging);
        return status;
    }
    return database_open(options->loop, path, buffer - buffer / 3, disk_discards(options->disk),
                         &rocks->database);
}

static int rocks_create(const struct store_options *options, struct store **store)
{
    int status = options_check(options);
    if (status != 0)
        return status;
    struct rocks *rocks = calloc(1, sizeof(*rocks));
    if (rocks == NULL)
        return -ENOMEM;
    rocks->store = (struct store){.operations = &store_rocksdb_operations, .loop = options->loop};
    rocks->capacity = options->capacity >> PAGE_SHIFT;
    rocks->checksum = options->checksum;
    list_init(&rocks->open);
    list_init(&rocks->sealed);
    status = chunk_index_init(&rocks->index);
    if (status != 0) {
        free(rocks);
        return status;
    }
    status = parts_create(rocks, options);
    if (status != 0) {
        rocks_destroy(&rocks->store);
        return status;
    }
    *store = &rocks->store;
    return 0;
}

const struct store_operations store_rocksdb_operations = {
    .name = "rocksdb",
    .persistent = true,
    .create = rocks_create,
    .destroy = rocks_destroy,
    .write_begin = rocks_write_begin,
    .write_commit = rocks_write_commit,
    .write_abort = rocks_write_abort,
    .read_begin = rocks_read_begin,
    .read_end = rocks_read_end,
    .truncate = rocks_truncate,
    .remove = rocks_remove,
    .statistics = rocks_statistics,
    .chunk_length = rocks_chunk_length,
    .reserve = rocks_reserve,
    .missing = rocks_missing,
    .clear = rocks_clear,
    .next_chunk = rocks_next_chunk,
    .seek = rocks_seek,
    .held = rocks_held,
    .next = rocks_next,
    .journal_backend = rocks_journal_backend,
    .replay = rocks_replay,
    .start = rocks_start,
    .flush = rocks_flush,
    .committed = rocks_committed,
    .snapshot = rocks_snapshot,
    .scrub = rocks_scrub,
};

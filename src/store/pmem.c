/* The persistent-memory engine: chunks in one mapped file, so that bulk lands on the device itself and is
 * sent from there, and a write becomes durable without a system call (pmem_device.h; where there is no
 * persistent memory it works on an ordinary file).
 *
 * Copy on write, block by block (4 KiB). A write gets new pages; its bytes land there, and nobody sees them
 * before commit. Commit completes the first and last block with what the chunk holds around the write,
 * checksums the blocks, flushes them towards the device, exchanges them for the old ones in the chunk's map
 * (block_map.h), and appends the chunk's record. The old pages are used again when that record is durable
 * (cow_pages.h). So neither a torn write nor a lost journal group harms what was durable before, an abort has
 * nothing to undo, and removing a chunk never waits for transfers: a read pins its pages, a write owns its
 * own until commit.
 *
 * The capacity is a bound on blocks that hold something or are promised (`charged`); a write is charged in
 * begin for the holes that it will fill. Because replaced pages are not free at once, the file has a spare
 * part beyond the capacity. A write that finds it used up commits the journal, which frees what has been
 * replaced.
 *
 * Bytes beyond a chunk's length in its last block are zero, unless the chunk was cut there (`unclean`): then
 * the next write that reaches beyond leaves them out; if it does not touch that block itself, it brings one
 * more page to replace it. A clearing that begins or ends within a block takes a page for each such edge, out
 * of the last few pages, which writes leave alone.
 *
 * Only write_begin (for room, and while the journal has too much in memory), flush, snapshot and scrub
 * suspend. */
#include "store/pmem_state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cluster/partition.h"

#define FILE_NAME "pmem"
/* Pages beyond the capacity: a sixteenth of it within these bounds. */
#define SPARE_MIN (UINT64_C(4) << (20 - PAGE_SHIFT))
#define SPARE_MAX (UINT64_C(1) << (30 - PAGE_SHIFT))
#define SCRUB_STEP 256u /* blocks between two yields */

/* ---- cutting and removing ---- */

static int pmem_remove(struct store *store, uint64_t inode, uint64_t first)
{
    struct pmem *pmem = pmem_of(store);
    chunk_index_remove_from(&pmem->index, inode, first, pmem_chunk_dispose, pmem);
    return 0;
}

static int pmem_truncate(struct store *store, uint64_t inode, uint64_t index, uint32_t length)
{
    struct pmem *pmem = pmem_of(store);
    struct chunk *chunk = pmem_chunk_find(pmem, inode, index);
    if (chunk == NULL)
        return 0;
    if (length == 0) {
        chunk_index_remove(&pmem->index, &chunk->entry);
        pmem_chunk_dispose(pmem, &chunk->entry);
        return 0;
    }
    list_for_each (node, &chunk->writers) {
        struct store_io *io = container_of(node, struct store_io, link);
        struct flight *flight = io->engine;
        flight->stale |= io->offset + io->length > length;
    }
    bool changed = chunk->length > length || chunk->map.count > pages_of(length);
    for (uint32_t at = chunk->map.count; at > pages_of(length); at--)
        pmem_block_empty(pmem, chunk, at - 1, false);
    if (chunk->length > length) {
        chunk->length = length;
        chunk->unclean = (length & (PAGE_BYTES - 1)) != 0;
    }
    pmem_chunk_settle(pmem, chunk, changed);
    return 0;
}

/* ---- reserving, clearing, seeking ---- */

static uint64_t pmem_missing(struct store *store, uint64_t inode, uint64_t index, uint32_t offset,
                             uint32_t length)
{
    const struct chunk *chunk = pmem_chunk_find(pmem_of(store), inode, index);
    uint32_t first = offset >> PAGE_SHIFT, end = pages_of(offset + length);
    uint32_t missing = chunk == NULL ? end - first : block_map_holes(&chunk->map, first, end);
    return (uint64_t)missing << PAGE_SHIFT;
}

static int pmem_reserve(struct store *store, uint64_t inode, uint64_t index, uint32_t offset, uint32_t length)
{
    struct pmem *pmem = pmem_of(store);
    struct chunk *chunk = pmem_chunk_find(pmem, inode, index);
    if (chunk == NULL && (chunk = pmem_chunk_create(pmem, inode, index)) == NULL)
        return -ENOMEM;
    uint32_t first = offset >> PAGE_SHIFT, end = pages_of(offset + length);
    uint32_t holes = block_map_holes(&chunk->map, first, end);
    bool room = holes == 0 || pmem->charged + holes <= pmem->capacity;
    int status = room ? block_map_reserve(&chunk->map, end) : -ENOSPC;
    for (uint32_t at = first; status == 0 && at < end; at++)
        if (block_map_get(&chunk->map, at).page == PAGES_NONE)
            block_map_set(&chunk->map, at, (struct block){BLOCK_RESERVED, BLOCK_NO_SUM});
    if (status == 0)
        pmem->charged += holes;
    pmem_chunk_settle(pmem, chunk, status == 0 && holes > 0);
    return status;
}

struct clearing {
    struct pmem *pmem;
    const struct store_range *range;
    bool keep;
    int status;
};

/* Zeroes bytes [start, end) of one block, by a new page. */
static int block_clear(struct pmem *pmem, struct chunk *chunk, uint32_t at, uint32_t start, uint32_t end)
{
    if (start >= end || !block_has_page(block_map_get(&chunk->map, at)))
        return 0;
    int status = pmem_block_verify(pmem, chunk, at, 0);
    uint32_t page;
    if (status == 0)
        status = pmem_pages_collect(pmem, &page, 1) == 0 ? 0 : -ENOMEM;
    if (status != 0)
        return status;
    pmem_block_complete(pmem, chunk, at, page, 0, PAGE_BYTES);
    memset(page_at(pmem, page) + start, 0, end - start);
    pmem_device_flush(pmem->device, page_at(pmem, page), PAGE_BYTES);
    pmem_block_replace(pmem, chunk, at, page);
    return 0;
}

/* The block becomes a hole: each write in flight that covers it will need room for it. */
static void writers_charge(struct pmem *pmem, struct chunk *chunk, uint32_t at)
{
    list_for_each (node, &chunk->writers) {
        struct flight *flight = container_of(node, struct store_io, link)->engine;
        if (at >= flight->first && at - flight->first < flight->blocks) {
            flight->growth++;
            pmem->charged++;
        }
    }
}

/* Clears bytes [start, end) of the chunk. */
static int chunk_clear(struct pmem *pmem, struct chunk *chunk, uint32_t start, uint32_t end, bool keep)
{
    uint32_t first = pages_of(start), last = end >> PAGE_SHIFT; /* whole blocks */
    uint32_t head = start & (PAGE_BYTES - 1), rest = end & (PAGE_BYTES - 1);
    int status = 0;
    if (first > last) {
        status = block_clear(pmem, chunk, last, head, rest);
    } else {
        if (head > 0)
            status = block_clear(pmem, chunk, first - 1, head, PAGE_BYTES);
        if (status == 0)
            status = block_clear(pmem, chunk, last, 0, rest);
    }
    for (uint32_t at = first; status == 0 && at < last && at < chunk->map.count; at++) {
        if (!keep && block_map_get(&chunk->map, at).page != PAGES_NONE)
            writers_charge(pmem, chunk, at);
        pmem_block_empty(pmem, chunk, at, keep);
    }
    return status;
}

static void clear_entry(void *owner, struct chunk_entry *entry)
{
    struct clearing *clearing = owner;
    struct pmem *pmem = clearing->pmem;
    struct chunk *chunk = container_of(entry, struct chunk, entry);
    uint64_t at = entry->node.index << clearing->range->chunk_shift;
    uint64_t size = UINT64_C(1) << clearing->range->chunk_shift;
    uint32_t start = clearing->range->start > at ? (uint32_t)(clearing->range->start - at) : 0;
    uint32_t end = (uint32_t)(clearing->range->end - at < size ? clearing->range->end - at : size);
    if (!clearing->keep && list_empty(&chunk->writers) && end >= chunk->length && start < chunk->length) {
        /* A tail is cut off instead, but what is held beyond the range stays promised up to there. */
        bool promised = chunk->map.count > pages_of(end);
        chunk->length = start;
        chunk->unclean = (start & (PAGE_BYTES - 1)) != 0;
        start = pages_of(start) << PAGE_SHIFT;
        if (start < end && (end & (PAGE_BYTES - 1)) != 0)
            pmem_block_empty(pmem, chunk, end >> PAGE_SHIFT, promised);
    }
    int status = start < end ? chunk_clear(pmem, chunk, start, end, clearing->keep) : 0;
    if (status != 0)
        clearing->status = status;
    pmem_chunk_settle(pmem, chunk, true);
}

static int pmem_clear(struct store *store, const struct store_range *range, bool keep)
{
    struct clearing clearing = {pmem_of(store), range, keep, 0};
    if (range->start < range->end)
        chunk_index_visit(&pmem_of(store)->index, range->inode, range->start >> range->chunk_shift,
                          (range->end - 1) >> range->chunk_shift, clear_entry, &clearing);
    return clearing.status;
}

static uint64_t pmem_next_chunk(struct store *store, uint64_t inode, uint64_t first)
{
    const struct chunk_entry *entry = chunk_index_next(&pmem_of(store)->index, inode, first);
    return entry == NULL ? UINT64_MAX : entry->node.index;
}

static uint32_t pmem_seek(struct store *store, uint64_t inode, uint64_t index, uint32_t offset, bool hole)
{
    const struct chunk *chunk = pmem_chunk_find(pmem_of(store), inode, index);
    if (chunk == NULL || offset >= chunk->length)
        return hole ? offset : UINT32_MAX;
    uint32_t block = block_map_seek(&chunk->map, offset >> PAGE_SHIFT, hole);
    uint64_t at = (uint64_t)block << PAGE_SHIFT;
    if (at < offset)
        at = offset;
    if (block < chunk->map.count && at < chunk->length)
        return (uint32_t)at;
    /* Behind the map there are holes only. */
    return !hole ? UINT32_MAX : smaller((uint32_t)at, chunk->length);
}

static uint64_t pmem_held(struct store *store, uint64_t inode)
{
    const struct chunk_file *file = chunk_index_file(&pmem_of(store)->index, inode);
    return file == NULL ? 0 : file->held << PAGE_SHIFT;
}

static void pmem_statistics(struct store *store, struct store_statistics *statistics)
{
    struct pmem *pmem = pmem_of(store);
    statistics->used = pmem->charged << PAGE_SHIFT;
    statistics->capacity = pmem->capacity << PAGE_SHIFT;
    statistics->chunks = pmem->index.chunks.count;
    statistics->memory = (uint64_t)pmem->page_count * PAGES_BOOKKEEPING +
                         chunk_index_memory(&pmem->index, sizeof(struct chunk));
}

static uint32_t pmem_chunk_length(struct store *store, uint64_t inode, uint64_t index)
{
    const struct chunk *chunk = pmem_chunk_find(pmem_of(store), inode, index);
    return chunk == NULL ? 0 : chunk->length;
}

static bool pmem_next(struct store *store, struct store_cursor *cursor)
{
    return chunk_index_advance(&pmem_of(store)->index, cursor) != NULL;
}

/* ---- durability ---- */

static int pmem_flush(struct store *store)
{
    struct pmem *pmem = pmem_of(store);
    if (pmem->journal != NULL)
        cow_pages_seal(pmem->pages, journal_position(pmem->journal));
    return pmem_device_drain(pmem->device);
}

static void pmem_committed(struct store *store, uint64_t position)
{
    cow_pages_committed(pmem_of(store)->pages, position);
}

static int pmem_replay(struct store *store, const struct journal_record *record)
{
    struct pmem *pmem = pmem_of(store);
    uint64_t inode, index;
    if (record->kind != JOURNAL_CHUNK ||
        block_key_decode(record->key, record->key_length, &inode, &index) != 0)
        return -EBADMSG;
    struct chunk *chunk = pmem_chunk_find(pmem, inode, index);
    struct block_map map = {0};
    uint32_t length = 0;
    if (!record->removed) {
        int status =
            block_record_decode(record->value, record->value_length, pmem->page_count, &map, &length);
        if (status != 0)
            return status;
    }
    if (length == 0 && map.held == 0) {
        if (chunk != NULL) {
            chunk_index_remove(&pmem->index, &chunk->entry);
            block_map_free(&chunk->map);
            free(chunk);
        }
        return 0;
    }
    if (chunk == NULL && (chunk = pmem_chunk_create(pmem, inode, index)) == NULL) {
        block_map_free(&map);
        return -ENOMEM;
    }
    block_map_free(&chunk->map);
    chunk->map = map;
    chunk->length = length;
    chunk->unclean = (length & (PAGE_BYTES - 1)) != 0; /* perhaps */
    chunk->recorded = true;
    chunk_entry_hold(&chunk->entry, map.held);
    return 0;
}

/* A bucket of the index: names, since what they name may go while one is recorded. */
struct names {
    struct store_cursor *names;
    uint32_t count;
    uint32_t capacity;
    int status;
};

static void note_name(void *owner, struct chunk_entry *entry)
{
    struct names *names = owner;
    if (names->count == names->capacity) {
        uint32_t capacity = names->capacity == 0 ? 16 : names->capacity * 2;
        struct store_cursor *more = realloc(names->names, capacity * sizeof(*more));
        if (more == NULL) {
            names->status = -ENOMEM;
            return;
        }
        names->names = more;
        names->capacity = capacity;
    }
    names->names[names->count++] = (struct store_cursor){entry->node.inode, entry->node.index};
}

static int snapshot_add(struct pmem *pmem, struct journal_snapshot *snapshot, const struct store_cursor *name)
{
    const struct chunk *chunk = pmem_chunk_find(pmem, name->inode, name->index);
    if (chunk == NULL || !chunk->recorded)
        return 0;
    size_t size = block_record_size(&chunk->map);
    void *value = malloc(size);
    if (value == NULL)
        return -ENOMEM;
    uint8_t key[BLOCK_KEY_BYTES];
    block_key_encode(name->inode, name->index, key);
    block_record_encode(&chunk->map, chunk->length, value);
    struct journal_record record = {.kind = (uint8_t)store_chunk_kind(&pmem->store),
                                    .partition = (uint16_t)inode_partition(name->inode),
                                    .key = key,
                                    .key_length = sizeof(key),
                                    .value = value,
                                    .value_length = (uint32_t)size};
    int status = journal_snapshot_add(snapshot, &record);
    free(value);
    return status;
}

static int pmem_snapshot(struct store *store, struct journal_snapshot *snapshot)
{
    struct pmem *pmem = pmem_of(store);
    struct names names = {0};
    for (uint64_t bucket = 0; bucket < chunk_index_buckets(&pmem->index) && names.status == 0; bucket++) {
        names.count = 0;
        chunk_index_visit_bucket(&pmem->index, bucket, note_name, &names);
        for (uint32_t i = 0; i < names.count && names.status == 0; i++)
            names.status = snapshot_add(pmem, snapshot, &names.names[i]);
    }
    free(names.names);
    return names.status;
}

static int pmem_scrub(struct store *store, uint64_t inode, uint64_t index, struct store_scrub *found)
{
    struct pmem *pmem = pmem_of(store);
    *found = (struct store_scrub){0};
    for (uint32_t at = 0;; at++) {
        const struct chunk *chunk = pmem_chunk_find(pmem, inode, index);
        if (chunk == NULL)
            return -ENOENT;
        if (at >= chunk->map.count)
            return 0;
        if (block_has_page(chunk->map.blocks[at])) {
            found->bytes += PAGE_BYTES;
            if (pmem_block_verify(pmem, chunk, at, chunk->map.count) != 0 && found->blocks++ == 0)
                found->offset = at << PAGE_SHIFT;
        }
        if (at % SCRUB_STEP == SCRUB_STEP - 1 && pmem->store.loop != NULL) {
            int status = task_yield(pmem->store.loop);
            if (status != 0)
                return status;
        }
    }
}

/* ---- life ---- */

/* A page that two chunks have would be overwritten by one of them. */
static bool chunk_claim(struct pmem *pmem, const struct chunk *chunk)
{
    for (uint32_t at = 0, run; at < chunk->map.count; at += run) {
        const struct block *block = &chunk->map.blocks[at];
        for (run = 1;
             block_has_page(*block) && at + run < chunk->map.count && block[run].page == block->page + run;)
            run++;
        if (block_has_page(*block) && !cow_pages_claim(pmem->pages, block->page, run)) {
            log_error("pmem: inode %" PRIu64 ", chunk %" PRIu64
                      ": a page at %u..%u of the file belongs to another "
                      "block as well: the journal is damaged",
                      chunk->entry.node.inode, chunk->entry.node.index, block->page, block->page + run - 1);
            return false;
        }
    }
    return true;
}

struct claiming {
    struct pmem *pmem;
    bool whole;
};

static void claim_entry(void *owner, struct chunk_entry *entry)
{
    struct claiming *claiming = owner;
    const struct chunk *chunk = container_of(entry, struct chunk, entry);
    claiming->whole = claiming->whole && chunk_claim(claiming->pmem, chunk);
    claiming->pmem->charged += chunk->map.held;
}

static int pmem_start(struct store *store, struct journal *journal)
{
    struct pmem *pmem = pmem_of(store);
    struct claiming claiming = {pmem, true};
    for (uint64_t bucket = 0; bucket < chunk_index_buckets(&pmem->index); bucket++)
        chunk_index_visit_bucket(&pmem->index, bucket, claim_entry, &claiming);
    if (!claiming.whole)
        return -EBADMSG;
    pmem->journal = journal;
    return pmem_device_drain(pmem->device);
}

static void chunk_forget(void *owner, struct chunk_entry *entry)
{
    (void)owner;
    struct chunk *chunk = container_of(entry, struct chunk, entry);
    block_map_free(&chunk->map);
    free(chunk);
}

static void pmem_destroy(struct store *store)
{
    struct pmem *pmem = pmem_of(store);
    chunk_index_free(&pmem->index, chunk_forget, pmem);
    if (pmem->pages != NULL)
        cow_pages_destroy(pmem->pages);
    if (pmem->device != NULL)
        pmem_device_close(pmem->device);
    free(pmem);
}

static int pmem_check(const struct store_options *options)
{
    if (options->disk == NULL) {
        log_error("the storage engine pmem needs a directory: set store.path");
        return -EINVAL;
    }
    uint64_t pages = options->capacity >> PAGE_SHIFT;
    if (pages == 0 || pages + SPARE_MAX >= BLOCK_RESERVED) {
        log_error("store capacity of %" PRIu64
                  " bytes is impossible: set store.capacity between 4 KiB and 15 TiB",
                  options->capacity);
        return -EINVAL;
    }
    return 0;
}

static uint64_t spare_pages(uint64_t capacity)
{
    uint64_t spare = capacity / 16;
    return spare < SPARE_MIN ? SPARE_MIN : spare > SPARE_MAX ? SPARE_MAX : spare;
}

static int pmem_create(const struct store_options *options, struct store **store)
{
    int status = pmem_check(options);
    if (status != 0)
        return status;
    struct pmem *pmem = calloc(1, sizeof(*pmem));
    if (pmem == NULL)
        return -ENOMEM;
    pmem->store = (struct store){.operations = &store_pmem_operations, .loop = options->loop};
    pmem->capacity = options->capacity >> PAGE_SHIFT;
    pmem->checksum = options->checksum;
    status = chunk_index_init(&pmem->index);
    if (status != 0) {
        free(pmem);
        return status;
    }
    uint64_t pages = pmem->capacity + spare_pages(pmem->capacity);
    status =
        pmem_device_open(options->disk, FILE_NAME, pages << PAGE_SHIFT, options->prefault, &pmem->device);
    if (status == 0) {
        /* The file may be larger: the capacity was once higher. */
        pages = pmem_device_bytes(pmem->device) >> PAGE_SHIFT;
        pmem->page_count = (uint32_t)(pages < BLOCK_RESERVED ? pages : BLOCK_RESERVED - 1);
        pmem->memory = pmem_device_memory(pmem->device);
        status = cow_pages_create(pmem->page_count, &pmem->pages);
    }
    if (status != 0) {
        pmem_destroy(&pmem->store);
        return status;
    }
    *store = &pmem->store;
    return 0;
}

const struct store_operations store_pmem_operations = {
    .name = "pmem",
    .persistent = true,
    .create = pmem_create,
    .destroy = pmem_destroy,
    .write_begin = pmem_write_begin,
    .write_commit = pmem_write_commit,
    .write_abort = pmem_write_abort,
    .read_begin = pmem_read_begin,
    .read_end = pmem_read_end,
    .truncate = pmem_truncate,
    .remove = pmem_remove,
    .statistics = pmem_statistics,
    .chunk_length = pmem_chunk_length,
    .reserve = pmem_reserve,
    .missing = pmem_missing,
    .clear = pmem_clear,
    .next_chunk = pmem_next_chunk,
    .seek = pmem_seek,
    .held = pmem_held,
    .next = pmem_next,
    .replay = pmem_replay,
    .start = pmem_start,
    .flush = pmem_flush,
    .committed = pmem_committed,
    .snapshot = pmem_snapshot,
    .scrub = pmem_scrub,
};

/* Chunks of the engine rocksdb: what is known of them in memory, and its records. */
#include "store/rocksdb_state.h"

#include <errno.h>
#include <stdlib.h>

#include "cluster/partition.h"

struct rocks_chunk *rocks_chunk_find(struct rocks *rocks, uint64_t inode, uint64_t index)
{
    struct chunk_entry *entry = chunk_index_find(&rocks->index, inode, index);
    return entry == NULL ? NULL : container_of(entry, struct rocks_chunk, entry);
}

struct rocks_chunk *rocks_chunk_create(struct rocks *rocks, uint64_t inode, uint64_t index)
{
    struct rocks_chunk *chunk = calloc(1, sizeof(*chunk));
    if (chunk == NULL)
        return NULL;
    list_init(&chunk->noted.link);
    list_init(&chunk->writers);
    wait_queue_init(&chunk->released);
    if (chunk_index_insert(&rocks->index, &chunk->entry, inode, index) != 0) {
        free(chunk);
        return NULL;
    }
    return chunk;
}

void rocks_chunk_free(struct rocks_chunk *chunk)
{
    block_map_free(&chunk->map);
    ranges_free(&chunk->zeros);
    free(chunk);
}

/* ---- records ---- */

/* of: CHUNK or STORE. */
static void record(struct rocks *rocks, enum journal_kind of, const struct rocks_chunk *chunk, bool removed,
                   size_t size)
{
    enum journal_kind kind =
        of == JOURNAL_CHUNK ? store_chunk_kind(&rocks->store) : store_other_kind(&rocks->store);
    uint64_t inode = chunk->entry.node.inode;
    uint8_t key[BLOCK_KEY_BYTES];
    block_key_encode(inode, chunk->entry.node.index, key);
    if (removed) {
        journal_append_removal(rocks->journal, kind, inode_partition(inode), key, sizeof(key));
        return;
    }
    void *value =
        journal_append(rocks->journal, kind, inode_partition(inode), key, sizeof(key), (uint32_t)size);
    if (of == JOURNAL_CHUNK)
        block_record_encode(&chunk->map, chunk->length, value);
    else
        zeros_encode(&chunk->zeros, value);
}

static void chunk_record(struct rocks *rocks, struct rocks_chunk *chunk)
{
    chunk_entry_hold(&chunk->entry, chunk->map.held);
    record(rocks, JOURNAL_CHUNK, chunk, false, block_record_size(&chunk->map));
    chunk->recorded = true;
    if (chunk->zeros.count > 0)
        record(rocks, JOURNAL_STORE, chunk, false, (size_t)chunk->zeros.count * 8);
    else if (chunk->zeros_recorded)
        record(rocks, JOURNAL_STORE, chunk, true, 0);
    chunk->zeros_recorded = chunk->zeros.count > 0;
}

void rocks_chunk_dispose(void *owner, struct chunk_entry *entry)
{
    struct rocks *rocks = owner;
    struct rocks_chunk *chunk = container_of(entry, struct rocks_chunk, entry);
    list_for_each_safe (node, &chunk->writers) {
        struct rocks_write *write = container_of(node, struct store_io, link)->engine;
        write->chunk = NULL;
        write->stale = true;
        list_remove(node);
    }
    wait_queue_wake_all(rocks->store.loop, &chunk->released);
    rocks->charged -= chunk->map.held;
    if (chunk->recorded)
        record(rocks, JOURNAL_CHUNK, chunk, true, 0);
    if (chunk->zeros_recorded)
        record(rocks, JOURNAL_STORE, chunk, true, 0);
    ranges_free(&chunk->zeros);
    rocks_note(rocks, &chunk->noted, NOTED_CHUNK);
}

void rocks_chunk_settle(struct rocks *rocks, struct rocks_chunk *chunk, bool changed)
{
    if (chunk->length == 0 && chunk->map.held == 0 && list_empty(&chunk->writers)) {
        chunk_index_remove(&rocks->index, &chunk->entry);
        rocks_chunk_dispose(rocks, &chunk->entry);
    } else if (changed) {
        chunk_record(rocks, chunk);
    }
}

/* ---- blocks ---- */

uint32_t rocks_version(struct rocks *rocks, const struct rocks_chunk *chunk, uint32_t piece)
{
    do
        rocks->version = rocks->version >= VERSION_MAX ? VERSION_NONE + 1 : rocks->version + 1;
    while (rocks->version == piece_version(&chunk->map, piece));
    return rocks->version;
}

/* Each write in flight that covers the block, which becomes a hole, will need room for it. */
static void writers_charge(struct rocks *rocks, struct rocks_chunk *chunk, uint32_t at)
{
    list_for_each (node, &chunk->writers) {
        struct rocks_write *write = container_of(node, struct store_io, link)->engine;
        if (!write->stale && at >= write->first && at - write->first < write->blocks) {
            write->growth++;
            rocks->charged++;
        }
    }
}

int rocks_chunk_empty(struct rocks *rocks, struct rocks_chunk *chunk, uint32_t first, uint32_t end, bool keep)
{
    if (end > chunk->map.count)
        end = chunk->map.count;
    if (first >= end)
        return 0;
    uint32_t piece = first >> PIECE_SHIFT, pieces = pieces_of(end) - piece;
    struct rocks_pieces *gone = malloc(sizeof(*gone) + pieces * sizeof(gone->pieces[0]));
    if (gone == NULL)
        return -ENOMEM;
    gone->inode = chunk->entry.node.inode;
    gone->index = chunk->entry.node.index;
    gone->count = 0;
    for (uint32_t i = piece; i < piece + pieces; i++) {
        uint32_t version = piece_version(&chunk->map, i);
        uint32_t from = larger(first, i << PIECE_SHIFT), to = smaller(end, (i + 1) << PIECE_SHIFT);
        for (uint32_t at = from; at < to; at++) {
            if (block_map_get(&chunk->map, at).page == PAGES_NONE)
                continue;
            if (!keep)
                writers_charge(rocks, chunk, at);
            rocks->charged -= !keep;
            block_map_set(&chunk->map, at, (struct block){keep ? BLOCK_RESERVED : PAGES_NONE, BLOCK_NO_SUM});
        }
        if (version != VERSION_NONE && piece_version(&chunk->map, i) == VERSION_NONE) {
            gone->pieces[gone->count].piece = i;
            gone->pieces[gone->count++].version = version;
        }
    }
    ranges_subtract(&chunk->zeros, first << PAGE_SHIFT, end << PAGE_SHIFT);
    chunk->taken++;
    if (gone->count > 0)
        rocks_note(rocks, &gone->noted, NOTED_PIECES);
    else
        free(gone);
    return 0;
}

int rocks_zeros_reserve(struct rocks_chunk *chunk, uint32_t more)
{
    if (chunk->zeros.count + more > ZEROS_MAX)
        return -ENOMEM;
    return ranges_reserve(&chunk->zeros, chunk->zeros.count + more);
}

void rocks_zeros_add(struct rocks_chunk *chunk, uint32_t start, uint32_t end)
{
    if (start >= end || !block_has_page(block_map_get(&chunk->map, start >> PAGE_SHIFT)))
        return;
    ranges_add(&chunk->zeros, start, end);
    chunk->taken++;
}

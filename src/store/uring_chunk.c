/* The map of a chunk: for each block where it is and what its checksum is, in one array that grows with the
 * chunk. Every change here is complete, with its records, before anything else runs; so the journal has all
 * of it or nothing.
 *
 * What would need the device is put off. Cutting or clearing within a block leaves the block as it is and
 * notes which of its bytes read as zeros (`zeros`); the next write into the block writes them out. A block's
 * bytes behind the chunk's length are always zeros, by one means or the other, so that a chunk grows by its
 * length alone.
 *
 * Blocks that are replaced are retired (uring_segments.h). Memory that a change needs is taken before it
 * begins. */
#include "store/uring.h"

#include <errno.h>
#include <stdlib.h>

#include "cluster/partition.h"

/* Blocks whose records have to be renewed. */
struct touched {
    uint32_t first;
    uint32_t last;
};

static void touch(struct touched *touched, uint32_t first, uint32_t last)
{
    if (first >= last)
        return;
    if (touched->first == touched->last)
        *touched = (struct touched){first, last};
    if (first < touched->first)
        touched->first = first;
    if (last > touched->last)
        touched->last = last;
}

/* ---- records ---- */

static void record_piece(struct uring_store *uring, const struct uring_chunk *chunk, uint32_t piece)
{
    const struct index_node *name = &chunk->entry.node;
    struct uring_piece_key key = {name->inode, name->index, piece};
    uint32_t partition = inode_partition(name->inode), at = piece << URING_PIECE_SHIFT;
    const struct uring_table *table = chunk->table;
    uint32_t count = table != NULL && at < table->count ? table->count - at : 0;
    const struct uring_block *blocks = count > 0 ? table->blocks + at : NULL;
    size_t size = uring_piece_record_size(blocks, count, &chunk->zeros, piece);
    if (size == 0) {
        journal_append_removal(uring->journal, store_chunk_kind(&uring->store), partition, &key, sizeof(key));
        return;
    }
    void *value = journal_append(uring->journal, store_chunk_kind(&uring->store), partition, &key,
                                 sizeof(key), (uint32_t)size);
    uring_piece_record_write(blocks, count, &chunk->zeros, piece, value);
}

static void record_pieces(struct uring_store *uring, const struct uring_chunk *chunk,
                          const struct touched *touched)
{
    if (touched->first == touched->last)
        return;
    for (uint32_t piece = touched->first >> URING_PIECE_SHIFT;
         piece <= (touched->last - 1) >> URING_PIECE_SHIFT; piece++)
        record_piece(uring, chunk, piece);
}

/* Records the length, or that there is no such chunk any more. */
static void record_chunk(struct uring_store *uring, struct uring_chunk *chunk)
{
    const struct index_node *name = &chunk->entry.node;
    struct uring_chunk_key key = {name->inode, name->index};
    uint32_t partition = inode_partition(name->inode);
    bool there = !chunk->removed && (chunk->length > 0 || chunk->held > 0);
    if (there) {
        struct uring_chunk_record *record = journal_append(uring->journal, store_chunk_kind(&uring->store),
                                                           partition, &key, sizeof(key), sizeof(*record));
        *record = (struct uring_chunk_record){.length = chunk->length};
    } else if (chunk->recorded) {
        journal_append_removal(uring->journal, store_chunk_kind(&uring->store), partition, &key, sizeof(key));
    }
    chunk->recorded = there;
}

static void record_change(struct uring_store *uring, struct uring_chunk *chunk, const struct touched *touched,
                          uint32_t old_length)
{
    record_pieces(uring, chunk, touched);
    if (!chunk->recorded || chunk->length != old_length || (chunk->length == 0 && chunk->held == 0))
        record_chunk(uring, chunk);
}

/* ---- life ---- */

struct uring_chunk *uring_chunk_find(const struct uring_store *uring, uint64_t inode, uint64_t index)
{
    struct chunk_entry *entry = chunk_index_find(&uring->index, inode, index);
    return entry == NULL ? NULL : container_of(entry, struct uring_chunk, entry);
}

struct uring_chunk *uring_chunk_create(struct uring_store *uring, uint64_t inode, uint64_t index)
{
    struct uring_chunk *chunk = calloc(1, sizeof(*chunk));
    if (chunk == NULL)
        return NULL;
    list_init(&chunk->writers);
    if (chunk_index_insert(&uring->index, &chunk->entry, inode, index) != 0) {
        free(chunk);
        return NULL;
    }
    return chunk;
}

void uring_chunk_free(struct uring_chunk *chunk)
{
    ranges_free(&chunk->zeros);
    free(chunk->table);
    free(chunk);
}

void uring_chunk_settle(struct uring_store *uring, struct uring_chunk *chunk)
{
    if (chunk->pins > 0)
        return;
    if (!chunk->removed) {
        if (chunk->length > 0 || chunk->held > 0)
            return;
        chunk_index_remove(&uring->index, &chunk->entry);
    }
    uring_chunk_free(chunk);
}

void uring_chunk_dispose(void *owner, struct chunk_entry *entry)
{
    struct uring_store *uring = owner;
    struct uring_chunk *chunk = container_of(entry, struct uring_chunk, entry);
    struct uring_table *table = chunk->table;
    ranges_free(&chunk->zeros);
    chunk->table = NULL;
    chunk->removed = true;
    for (uint32_t at = 0; table != NULL && at < table->count; at++)
        if (table->blocks[at].where != URING_HOLE) {
            record_piece(uring, chunk, at >> URING_PIECE_SHIFT);
            at |= URING_PIECE_BLOCKS - 1; /* the next piece */
        }
    record_chunk(uring, chunk);
    if (table != NULL)
        uring_segments_retire_table(uring->segments, table);
    uring->used -= chunk->held;
    chunk->held = 0;
    list_for_each (node, &chunk->writers)
        container_of(node, struct uring_transfer, link)->stale = true;
    uring_chunk_settle(uring, chunk);
}

/* ---- the table ---- */

int uring_chunk_extend(struct uring_chunk *chunk, uint32_t count)
{
    uint32_t before = chunk->table == NULL ? 0 : chunk->table->count;
    if (count <= before)
        return 0;
    uint32_t goal = count <= 4 ? count : 1u << (32 - __builtin_clz(count - 1));
    struct uring_table *table = realloc(chunk->table, sizeof(*table) + goal * sizeof(table->blocks[0]));
    if (table == NULL)
        return -ENOMEM;
    table->count = goal;
    for (uint32_t i = before; i < goal; i++)
        table->blocks[i] = (struct uring_block){URING_HOLE, URING_NO_CHECKSUM};
    chunk->table = table;
    return 0;
}

uint32_t uring_chunk_holes(const struct uring_chunk *chunk, uint32_t first, uint32_t last)
{
    uint32_t count = chunk->table == NULL ? 0 : chunk->table->count;
    uint32_t holes = last > count ? last - (first > count ? first : count) : 0;
    for (uint32_t at = first; at < last && at < count; at++)
        holes += chunk->table->blocks[at].where == URING_HOLE;
    return holes;
}

void uring_chunk_hold(struct uring_store *uring, struct uring_chunk *chunk, uint32_t held)
{
    uring->used += held;
    uring->used -= chunk->held;
    chunk->held = held;
    chunk_entry_hold(&chunk->entry, held);
}

static uint32_t stored_in(const struct uring_chunk *chunk, uint32_t first, uint32_t last)
{
    uint32_t count = 0;
    for (uint32_t at = first; chunk->table != NULL && at < last && at < chunk->table->count; at++)
        count += uring_block_stored(chunk->table->blocks[at]);
    return count;
}

/* Empties blocks; what was no hole becomes `instead`: URING_HOLE or URING_RESERVED. Retiring was prepared. */
static void drop(struct uring_store *uring, struct uring_chunk *chunk, uint32_t first, uint32_t last,
                 uint32_t instead, struct touched *touched)
{
    uint32_t held = chunk->held;
    for (uint32_t at = first; chunk->table != NULL && at < last && at < chunk->table->count; at++) {
        struct uring_block *block = &chunk->table->blocks[at];
        if (block->where == URING_HOLE || block->where == instead)
            continue;
        if (uring_block_stored(*block))
            uring_segments_retire(uring->segments, block->where);
        *block = (struct uring_block){instead, URING_NO_CHECKSUM};
        held -= instead == URING_HOLE;
        touch(touched, at, at + 1);
    }
    ranges_subtract(&chunk->zeros, first << PAGE_SHIFT, last << PAGE_SHIFT);
    uring_chunk_hold(uring, chunk, held);
}

/* What a change of at most so many stored blocks may need; within: it also ends within blocks. Each of its
 * steps adds at most one range. */
static int prepare(struct uring_store *uring, struct uring_chunk *chunk, uint32_t stored, bool within)
{
    int status = within || chunk->zeros.count > 0 ? ranges_reserve(&chunk->zeros, chunk->zeros.count + 5) : 0;
    return status == 0 ? uring_segments_retire_prepare(uring->segments, stored) : status;
}

/* ---- changes ---- */

int uring_chunk_put(struct uring_store *uring, struct uring_chunk *chunk,
                    const struct uring_transfer *transfer)
{
    uint32_t first = transfer->first, last = first + transfer->count;
    uint32_t holes = uring_chunk_holes(chunk, first, last);
    if (holes > transfer->promised && !uring_room_for(uring, holes - transfer->promised))
        return -ENOSPC;
    int status = uring_segments_retire_prepare(uring->segments, transfer->count);
    if (status == 0 && chunk->zeros.count > 0)
        status = ranges_reserve(&chunk->zeros, chunk->zeros.count + 1);
    if (status != 0)
        return status;
    for (uint32_t i = 0; i < transfer->count; i++) {
        struct uring_block *block = &chunk->table->blocks[first + i];
        if (uring_block_stored(*block))
            uring_segments_retire(uring->segments, block->where);
        *block = transfer->blocks[i];
    }
    ranges_subtract(&chunk->zeros, first << PAGE_SHIFT, last << PAGE_SHIFT);
    uring_chunk_hold(uring, chunk, chunk->held + holes);
    uint32_t before = chunk->length;
    if (transfer->end > chunk->length)
        chunk->length = transfer->end;
    record_change(uring, chunk, &(struct touched){first, last}, before);
    return 0;
}

int uring_chunk_cut(struct uring_store *uring, struct uring_chunk *chunk, uint32_t length)
{
    uint32_t keep = pages_of(length), all = chunk->table == NULL ? 0 : chunk->table->count;
    int status = prepare(uring, chunk, stored_in(chunk, keep, all), length % PAGE_BYTES != 0);
    if (status != 0)
        return status;
    struct touched touched = {0};
    uint32_t before = chunk->length;
    drop(uring, chunk, keep, all, URING_HOLE, &touched);
    if (length < before) {
        chunk->length = length;
        if (length % PAGE_BYTES != 0 && uring_block_stored(uring_chunk_block(chunk, keep - 1))) {
            ranges_add(&chunk->zeros, length, keep << PAGE_SHIFT);
            touch(&touched, keep - 1, keep);
        }
    }
    chunk->edits++;
    record_change(uring, chunk, &touched, before);
    return 0;
}

int uring_chunk_reserve(struct uring_store *uring, struct uring_chunk *chunk, uint32_t first, uint32_t last)
{
    uint32_t holes = uring_chunk_holes(chunk, first, last);
    if (holes == 0)
        return 0;
    if (!uring_room_for(uring, holes))
        return -ENOSPC;
    int status = uring_chunk_extend(chunk, last);
    if (status != 0)
        return status;
    for (uint32_t at = first; at < last; at++)
        if (chunk->table->blocks[at].where == URING_HOLE)
            chunk->table->blocks[at].where = URING_RESERVED;
    uring_chunk_hold(uring, chunk, chunk->held + holes);
    record_change(uring, chunk, &(struct touched){first, last}, chunk->length);
    return 0;
}

/* Lets [start, end) of one block read as zeros; a block of which nothing else is left is dropped. */
static void veil(struct uring_store *uring, struct uring_chunk *chunk, uint32_t start, uint32_t end,
                 uint32_t instead, struct touched *touched)
{
    uint32_t block = start >> PAGE_SHIFT, from = block << PAGE_SHIFT;
    if (start >= end || !uring_block_stored(uring_chunk_block(chunk, block)))
        return;
    ranges_add(&chunk->zeros, start, end);
    touch(touched, block, block + 1);
    uint32_t needed = chunk->length < from + PAGE_BYTES ? chunk->length : from + PAGE_BYTES;
    struct range part;
    if (ranges_first(&chunk->zeros, from, needed, &part) && part.start == from && part.end == needed)
        drop(uring, chunk, block, block + 1, instead, touched);
}

int uring_chunk_clear(struct uring_store *uring, struct uring_chunk *chunk, uint32_t start, uint32_t end,
                      bool keep)
{
    uint32_t before = chunk->length, instead = keep ? URING_RESERVED : URING_HOLE;
    uint32_t first = pages_of(start), last = end >> PAGE_SHIFT;
    if (end >= before && last < pages_of(before))
        last = pages_of(before); /* nothing follows in its last block */
    int status = prepare(uring, chunk, 2 + stored_in(chunk, first, last), (start | end) % PAGE_BYTES != 0);
    if (status != 0)
        return status;
    struct touched touched = {0};
    if (first < last)
        drop(uring, chunk, first, last, instead, &touched);
    uint32_t edge = first << PAGE_SHIFT;
    veil(uring, chunk, start, end < edge ? end : edge, instead, &touched);
    if (end > edge && end >> PAGE_SHIFT >= last)
        veil(uring, chunk, end & ~(PAGE_BYTES - 1), end, instead, &touched);
    if (!keep && end >= before && start < before)
        chunk->length = start;
    chunk->edits++;
    record_change(uring, chunk, &touched, before);
    uring_chunk_settle(uring, chunk);
    return 0;
}

/* Index of the chunks that an engine holds: (inode, index) to chunk, and inode to its chunks.
 *
 * Grows one bucket at a time, so no insertion stalls for the rest. The engine owns the chunks and embeds a
 * chunk_entry in each. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "store/store.h"

#define CHUNK_INDEX_SEGMENTS 32

/* Node of a linear hash table; private to the index. */
struct index_node {
    struct index_node *next;
    uint64_t inode;
    uint64_t index;
};

struct index_table {
    struct index_node **segments[CHUNK_INDEX_SEGMENTS];
    uint32_t level;
    uint64_t split;
    uint64_t count;
};

/* What the chunks of one inode have in common; exists while there are any. */
struct chunk_file {
    struct index_node node; /* index 0 */
    struct list chunks;
    uint64_t count;
    uint64_t held; /* sum of chunk_entry.held */
};

struct chunk_entry {
    struct index_node node; /* inode and index */
    struct list siblings;   /* in the list of the inode's chunks */
    struct chunk_file *file;
    uint32_t held; /* what the chunk takes, in the engine's unit: chunk_entry_hold */
};

struct chunk_index {
    struct index_table chunks;
    struct index_table files;
};

/* Returns 0 or -ENOMEM. */
int chunk_index_init(struct chunk_index *index);
/* Hands every entry that is left to dispose, then frees the tables. */
void chunk_index_free(struct chunk_index *index, void (*dispose)(void *owner, struct chunk_entry *entry),
                      void *owner);

/* Returns the entry or NULL. */
struct chunk_entry *chunk_index_find(const struct chunk_index *index, uint64_t inode, uint64_t chunk);
/* Enters chunk number `chunk` of the inode, which must not be there yet. Returns 0 or -ENOMEM. */
int chunk_index_insert(struct chunk_index *index, struct chunk_entry *entry, uint64_t inode, uint64_t chunk);
void chunk_index_remove(struct chunk_index *index, struct chunk_entry *entry);

static inline void chunk_entry_hold(struct chunk_entry *entry, uint32_t held)
{
    if (held == entry->held)
        return;
    entry->file->held += (uint64_t)held - entry->held;
    entry->held = held;
}

/* What is known of an inode's chunks, or NULL: it has none here. */
const struct chunk_file *chunk_index_file(const struct chunk_index *index, uint64_t inode);
/* Calls visit for every chunk of the inode with first <= index <= last, in any order; visit may remove the
 * chunk that it is called with. Costs the file's chunks or the range's indices, whichever are fewer. */
void chunk_index_visit(const struct chunk_index *index, uint64_t inode, uint64_t first, uint64_t last,
                       void (*visit)(void *owner, struct chunk_entry *entry), void *owner);
/* The chunk of the inode with the smallest index >= first, or NULL. */
struct chunk_entry *chunk_index_next(const struct chunk_index *index, uint64_t inode, uint64_t first);

/* Moves the cursor to the chunk that comes next and returns it, or NULL: there is none, and the cursor stays.
 * Zeros: before the first. The order is that of a hash of the inodes, the same in every index and for ever,
 * and within an inode that of its chunks. Chunks that come or go during a walk are found or not. */
struct chunk_entry *chunk_index_advance(struct chunk_index *index, struct store_cursor *cursor);
/* Whether one comes before the other in that order; neither is zeros. */
bool chunk_cursor_precedes(const struct store_cursor *first, const struct store_cursor *second);
/* Memory of the index and of its chunks, which take chunk_bytes each. */
uint64_t chunk_index_memory(const struct chunk_index *index, size_t chunk_bytes);

/* A walk in no order that costs nothing beforehand: every chunk lies in one of so many buckets, and moves, if
 * at all, to a bucket that was not there yet. So who visits bucket after bucket, asking for their number anew
 * each time, misses none that was there all the while. */
uint64_t chunk_index_buckets(const struct chunk_index *index);
/* visit must leave the index as it is. */
void chunk_index_visit_bucket(const struct chunk_index *index, uint64_t bucket,
                              void (*visit)(void *owner, struct chunk_entry *entry), void *owner);

/* Takes every chunk of the inode with index >= first out of the index and hands it to dispose. */
void chunk_index_remove_from(struct chunk_index *index, uint64_t inode, uint64_t first,
                             void (*dispose)(void *owner, struct chunk_entry *entry), void *owner);

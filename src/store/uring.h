/* The parts of the uring engine: what they share, and what each offers the others. The essay is in uring.c.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "store/chunk_index.h"
#include "store/ranges.h"
#include "store/store.h"
#include "store/uring_buffers.h"
#include "store/uring_format.h"
#include "store/uring_recent.h"
#include "store/uring_segments.h"

struct uring_store {
    struct store store;
    struct disk *disk;
    struct journal *journal;         /* from start on */
    struct uring_segments *segments; /* from start on */
    struct uring_buffers reads;
    struct uring_buffers writes;
    struct uring_recent recent;
    struct chunk_index index;
    struct list spare;       /* uring_transfer.link */
    uint64_t capacity;       /* blocks */
    uint64_t used;           /* blocks of all chunks that are no holes */
    uint64_t promised;       /* holes that writes in flight may fill */
    uint32_t segment_blocks; /* as recorded; 0: nothing is */
    bool checksum;
};

struct uring_chunk {
    struct chunk_entry entry;
    struct uring_table *table; /* what lies behind its end is holes */
    struct ranges zeros;       /* bytes of stored blocks that read as zeros */
    struct list writers;       /* uring_transfer.link */
    uint32_t length;
    uint32_t held;  /* blocks that are no holes */
    uint32_t pins;  /* writes in flight */
    uint32_t edits; /* changes other than by writes; counts up */
    bool recorded;  /* the journal knows of it */
    bool removed;
};

/* The engine's part of a store_io: memory for whole blocks. */
#define URING_FEW 258u /* a MiB, wherever it begins, and one more */
struct uring_transfer {
    struct list link;
    struct uring_chunk *chunk; /* of a write; a read needs none */
    char *memory;
    uint32_t pages;
    uint32_t first; /* block of the chunk */
    uint32_t count;
    uint32_t end; /* byte of the chunk */
    uint32_t promised;
    bool stale;
    struct ranges zeros;        /* of a read */
    struct uring_block *blocks; /* that were found, or that are written; URING_FEW and less: `few` */
    struct uring_block few[URING_FEW];
};

static inline struct uring_store *uring_of(struct store *store)
{
    return container_of(store, struct uring_store, store);
}

/* ---- uring_chunk.c: maps of chunks. Nothing here suspends. ---- */

struct uring_chunk *uring_chunk_find(const struct uring_store *uring, uint64_t inode, uint64_t index);
/* An empty one; NULL: no memory. Whoever leaves it without bytes settles it. */
struct uring_chunk *uring_chunk_create(struct uring_store *uring, uint64_t inode, uint64_t index);
/* Removes a chunk that has neither bytes nor blocks, and frees one that is removed, unless it is pinned. */
void uring_chunk_settle(struct uring_store *uring, struct uring_chunk *chunk);
/* Records that it is gone, retires its blocks and makes its writes stale; it has just left the index. */
void uring_chunk_dispose(void *uring, struct chunk_entry *entry);
/* Frees it and its table, but not its blocks. */
void uring_chunk_free(struct uring_chunk *chunk);

static inline struct uring_block uring_chunk_block(const struct uring_chunk *chunk, uint32_t block)
{
    return chunk->table != NULL && block < chunk->table->count
               ? chunk->table->blocks[block]
               : (struct uring_block){URING_HOLE, URING_NO_CHECKSUM};
}
/* Counts so many blocks as no holes. */
void uring_chunk_hold(struct uring_store *uring, struct uring_chunk *chunk, uint32_t held);
/* Makes the table so long. 0 or -ENOMEM. */
int uring_chunk_extend(struct uring_chunk *chunk, uint32_t count);
/* Holes in [first, last). */
uint32_t uring_chunk_holes(const struct uring_chunk *chunk, uint32_t first, uint32_t last);
static inline bool uring_room_for(const struct uring_store *uring, uint64_t blocks)
{
    return uring->used + uring->promised + blocks <= uring->capacity;
}

/* Puts what a write has brought to the device in the place of what was there, and records it. Returns 0, or
 * -ENOMEM or -ENOSPC (unchanged). */
int uring_chunk_put(struct uring_store *uring, struct uring_chunk *chunk,
                    const struct uring_transfer *transfer);
/* These change nothing when they return -ENOMEM or -ENOSPC. */
int uring_chunk_cut(struct uring_store *uring, struct uring_chunk *chunk, uint32_t length);
int uring_chunk_reserve(struct uring_store *uring, struct uring_chunk *chunk, uint32_t first, uint32_t last);
/* keep: blocks become reserved ones. May remove the chunk. */
int uring_chunk_clear(struct uring_store *uring, struct uring_chunk *chunk, uint32_t start, uint32_t end,
                      bool keep);

/* ---- uring_transfer.c: reading and writing. What store.h says of these. ---- */

int uring_store_write_begin(struct store *store, struct store_io *io, uint32_t chunk_size);
int uring_store_write_commit(struct store *store, struct store_io *io);
void uring_store_write_abort(struct store *store, struct store_io *io);
int uring_store_read_begin(struct store *store, struct store_io *io);
void uring_store_read_end(struct store *store, struct store_io *io);
int uring_store_scrub(struct store *store, uint64_t inode, uint64_t index, struct store_scrub *found);
void uring_transfers_free(struct uring_store *uring);

/* ---- uring_recovery.c: the journal's side. ---- */

int uring_store_replay(struct store *store, const struct journal_record *record);
int uring_store_start(struct store *store, struct journal *journal);
int uring_store_snapshot(struct store *store, struct journal_snapshot *snapshot);

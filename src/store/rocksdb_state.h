/* What the modules of the engine rocksdb share; the design is told in rocksdb.c. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "runtime/sync.h"
#include "store/block_map.h"
#include "store/chunk_index.h"
#include "store/ranges.h"
#include "store/rocksdb_database.h"
#include "store/rocksdb_format.h"
#include "store/staging.h"
#include "store/store.h"

#define CHUNK_BYTES_MAX (BLOCK_MAP_MAX << PAGE_SHIFT)

/* Keys that the next group of the journal deletes. */
enum noted_kind { NOTED_WRITE, NOTED_CHUNK, NOTED_PIECES };
struct noted {
    struct list link;
    enum noted_kind kind;
};

struct rocks_chunk {
    struct noted noted; /* once it is removed: all its pieces go */
    struct chunk_entry entry;
    struct block_map map;
    struct ranges zeros; /* read as zeros, whatever the pieces hold */
    struct list writers; /* store_io.link */
    struct wait_queue released;
    uint32_t length;
    uint32_t taken; /* counts what was taken away: cuts and clearings */
    bool busy;      /* a commit is under way */
    bool recorded;  /* the journal knows it */
    bool zeros_recorded;
};

/* One piece of a write. */
struct piece_write {
    uint32_t piece;
    uint32_t version; /* under which it is written */
    uint32_t before;  /* the version whose blocks it carries on, and then the one that it replaced */
    uint16_t carry;   /* bits of blocks */
    uint8_t blocks;   /* it has in all */
    uint32_t sums[PIECE_BLOCKS]; /* of the carried blocks, then of all */
};

/* A write in flight (store_io.engine); once it is over, the keys that it leaves behind. */
struct rocks_write {
    struct noted noted;
    struct rocks_chunk *chunk; /* NULL: it was removed */
    bool stale;
    bool put; /* the database has the pieces */
    uint64_t inode;
    uint64_t index;
    uint32_t first; /* block */
    uint32_t blocks;
    uint32_t growth; /* charged */
    struct staging_memory memory;
    uint32_t count;
    struct piece_write pieces[];
};

/* Pieces that a living chunk no longer has. */
struct rocks_pieces {
    struct noted noted;
    uint64_t inode;
    uint64_t index;
    uint32_t count;
    struct {
        uint32_t piece;
        uint32_t version;
    } pieces[];
};

struct rocks {
    struct store store;
    struct journal *journal; /* NULL before the start */
    struct journal_backend backend;
    struct database *database;
    struct staging *staging;
    struct chunk_index index;
    uint64_t capacity;    /* blocks */
    uint64_t charged;     /* blocks */
    uint32_t version;     /* the last one given out */
    uint32_t recent;      /* the database's 'r' */
    uint32_t next_recent; /* what that becomes when next_since is long enough ago: version at that time */
    uint64_t next_since;  /* loop_now ns */
    bool checksum;
    struct list open;   /* noted.link, of records that are not cut yet */
    struct list sealed; /* of the group that is being written */
};

static inline struct rocks *rocks_of(struct store *store)
{
    return container_of(store, struct rocks, store);
}

static inline uint32_t pieces_of(uint32_t blocks)
{
    return (blocks + PIECE_BLOCKS - 1) >> PIECE_SHIFT;
}

/* ---- rocksdb_chunk.c; nothing here suspends ---- */

struct rocks_chunk *rocks_chunk_find(struct rocks *rocks, uint64_t inode, uint64_t index);
/* NULL: out of memory. */
struct rocks_chunk *rocks_chunk_create(struct rocks *rocks, uint64_t inode, uint64_t index);
/* Before the journal knows it, or after. */
void rocks_chunk_free(struct rocks_chunk *chunk);
/* For a chunk that has just left the index: records that it is gone and notes its pieces. */
void rocks_chunk_dispose(void *rocks, struct chunk_entry *entry);
/* Records what became of the chunk (changed); removes it when nothing is left of it. */
void rocks_chunk_settle(struct rocks *rocks, struct rocks_chunk *chunk, bool changed);
/* The next version for a piece. */
uint32_t rocks_version(struct rocks *rocks, const struct rocks_chunk *chunk, uint32_t piece);

/* Takes the data of blocks [first, end) away; keep: they stay promised. 0 or -ENOMEM (unchanged). */
int rocks_chunk_empty(struct rocks *rocks, struct rocks_chunk *chunk, uint32_t first, uint32_t end,
                      bool keep);
/* Makes bytes [start, end), which lie in one block, read as zeros. Room for it was made by
 * rocks_zeros_reserve. */
void rocks_zeros_add(struct rocks_chunk *chunk, uint32_t start, uint32_t end);
/* Room for so many more. 0 or -ENOMEM. */
int rocks_zeros_reserve(struct rocks_chunk *chunk, uint32_t more);

/* ---- rocksdb_transfer.c: as in store.h ---- */

int rocks_write_begin(struct store *store, struct store_io *io, uint32_t chunk_size);
int rocks_write_commit(struct store *store, struct store_io *io);
void rocks_write_abort(struct store *store, struct store_io *io);
int rocks_read_begin(struct store *store, struct store_io *io);
void rocks_read_end(struct store *store, struct store_io *io);
int rocks_scrub(struct store *store, uint64_t inode, uint64_t index, struct store_scrub *found);

/* ---- rocksdb_journal.c ---- */

void rocks_note(struct rocks *rocks, struct noted *noted, enum noted_kind kind);
void rocks_noted_free(struct list *noted);
int rocks_replay(struct store *store, const struct journal_record *record);
int rocks_start(struct store *store, struct journal *journal);
int rocks_flush(struct store *store);
int rocks_snapshot(struct store *store, struct journal_snapshot *snapshot);
const struct journal_backend *rocks_journal_backend(struct store *store);

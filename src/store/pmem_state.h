/* What the modules of the persistent-memory engine share; the design is told in pmem.c. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "store/block_map.h"
#include "store/chunk_index.h"
#include "store/cow_pages.h"
#include "store/pmem_device.h"
#include "store/store.h"

#define CHUNK_BYTES_MAX (BLOCK_MAP_MAX << PAGE_SHIFT)
#define EDGE_PAGES 64u /* which only clearing takes */

struct chunk {
    struct chunk_entry entry;
    struct block_map map;
    struct list writers; /* store_io.link */
    uint32_t length;
    bool unclean;
    bool recorded; /* the journal knows it */
};

/* A write in flight: store_io.engine. */
struct flight {
    struct chunk *chunk; /* NULL: it was removed */
    bool stale;
    uint32_t first; /* block */
    uint32_t blocks;
    uint32_t growth; /* charged */
    uint32_t tail;   /* page for the block that was cut, or PAGES_NONE */
    char *bounce;    /* where the bytes land when the pages are too scattered; or NULL */
    uint32_t pages[];
};

struct pmem {
    struct store store;
    struct journal *journal; /* NULL: nothing waits for one */
    struct pmem_device *device;
    struct cow_pages *pages;
    struct chunk_index index;
    char *memory;
    uint32_t page_count;
    uint64_t capacity; /* pages */
    uint64_t charged;  /* pages */
    bool checksum;
};

static inline struct pmem *pmem_of(struct store *store)
{
    return container_of(store, struct pmem, store);
}

static inline char *page_at(const struct pmem *pmem, uint32_t page)
{
    return pmem->memory + ((size_t)page << PAGE_SHIFT);
}

/* ---- pmem_chunk.c; nothing here suspends ---- */

struct chunk *pmem_chunk_find(struct pmem *pmem, uint64_t inode, uint64_t index);
/* NULL: out of memory. */
struct chunk *pmem_chunk_create(struct pmem *pmem, uint64_t inode, uint64_t index);
/* For a chunk that has just left the index: gives everything back, records that it is gone. */
void pmem_chunk_dispose(void *pmem, struct chunk_entry *entry);
/* Records what became of the chunk (changed); removes it when nothing is left of it. */
void pmem_chunk_settle(struct pmem *pmem, struct chunk *chunk, bool changed);

/* Pages for so many blocks, in as few runs as possible. Returns 0, or -ENOSPC: none was taken. */
int pmem_pages_collect(struct pmem *pmem, uint32_t *pages, uint32_t count);
/* Pages that follow one another from `at` on. */
uint32_t pmem_pages_run(const uint32_t *pages, uint32_t at, uint32_t count);

/* Replaces a block's page and checksum; the block is charged already. */
void pmem_block_replace(struct pmem *pmem, struct chunk *chunk, uint32_t at, uint32_t page);
/* Takes a block's page from it; keep: it stays promised. */
void pmem_block_empty(struct pmem *pmem, struct chunk *chunk, uint32_t at, bool keep);
/* 0, or -EIO, logged: the block is not what was written. Those behind it are looked at next, up to `end`. */
int pmem_block_verify(const struct pmem *pmem, const struct chunk *chunk, uint32_t at, uint32_t end);
/* Fills bytes [start, end) of a block in `page` with what the chunk holds there. */
void pmem_block_complete(const struct pmem *pmem, const struct chunk *chunk, uint32_t at, uint32_t page,
                         uint32_t start, uint32_t end);

/* ---- pmem_transfer.c: as in store.h ---- */

int pmem_write_begin(struct store *store, struct store_io *io, uint32_t chunk_size);
int pmem_write_commit(struct store *store, struct store_io *io);
void pmem_write_abort(struct store *store, struct store_io *io);
int pmem_read_begin(struct store *store, struct store_io *io);
void pmem_read_end(struct store *store, struct store_io *io);

/* Memory of the metadata engine: size-classed slabs cut from 2 MiB arenas, every byte of them accounted.
 *
 * Small blocks (up to MEMORY_BLOCK_MAX) come from slabs of one size class; freed blocks are reused by their
 * class, and a slab whose last block was freed may serve any class again. Larger blocks come from malloc and
 * are accounted too. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

#define MEMORY_BLOCK_MAX 4608u
#define MEMORY_CLASSES 64u
#define MEMORY_ALIGNMENT 64u /* of blocks whose size is a multiple of it */

struct arena;
struct slab;

struct memory {
    struct list large;                    /* blocks beyond MEMORY_BLOCK_MAX */
    struct slab *partial[MEMORY_CLASSES]; /* slabs of each class with a free block */
    struct arena *arenas;                 /* all */
    struct arena *open;                   /* those with a free slab */
    uint64_t arena_count;
    uint64_t arenas_made; /* ever */
    uint64_t reserved;    /* arenas that stay, used or not */
    uint64_t bytes;       /* slabs in use and large blocks */
    uint64_t large_bytes; /* the latter */
    /* For tests: called before every allocation; true makes it fail. NULL otherwise. */
    bool (*refuse)(void *owner, size_t size);
    void *refuse_owner;
};

void memory_init(struct memory *memory);
/* Returns everything to the system, blocks still in use included. */
void memory_free_all(struct memory *memory);

/* Bytes that it has of the system, in use or not. */
uint64_t memory_taken(const struct memory *memory);
/* Gets arenas for so many bytes, pages and all, from the system and keeps them. 0 or -ENOMEM. */
int memory_reserve(struct memory *memory, uint64_t bytes);
/* Returns uninitialised memory aligned to 16 bytes (MEMORY_ALIGNMENT if size is a multiple of it), or NULL.
 */
void *memory_allocate(struct memory *memory, size_t size);
/* Brings what the next allocation of size will return into the cache, to be written; when there is time for
 * it. */
void memory_expect(const struct memory *memory, size_t size);
/* A small block's place among all, in bytes: two blocks of the same slab, and so of one size class, differ by
 * less than MEMORY_SLAB and share what is left of it divided by that. The same calls give the same places. */
#define MEMORY_SLAB 65536u
uint64_t memory_place(const void *block);
/* The block that lies `distance` bytes behind (or, negative, before) a small one in its slab, whether it is
 * in use or not; NULL: none was ever handed out there. */
void *memory_beside(const void *block, ptrdiff_t distance);
/* size: as it was allocated. */
void memory_release(struct memory *memory, void *block, size_t size);
/* Bytes that an allocation of size really takes. */
size_t memory_rounded(size_t size);

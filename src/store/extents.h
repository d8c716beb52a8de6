/* The memory of one chunk: runs of pages that, one after another, hold its bytes from offset 0 on. A run may
 * be a hole, which has no memory and reads as zeros. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "store/pages.h"

struct extent {
    uint32_t first; /* PAGES_NONE: a hole */
    uint32_t pages;
};

/* A zeroed struct is empty. */
struct extents {
    uint32_t pages; /* in all, holes included */
    uint32_t count;
    uint32_t capacity; /* of many; 0: the only extent, if any, is `one` */
    uint32_t holes;    /* pages of holes */
    union {
        struct extent one;
        struct extent *many;
    };
};

/* Grows to `goal` pages if that is possible in one piece, else to `needed` pages in as few pieces as
 * possible. Returns 0, or -ENOSPC or -ENOMEM (unchanged). */
int extents_grow(struct extents *extents, struct pages *pages, uint32_t needed, uint32_t goal);
/* Adds a hole behind the last page, up to page `end`. Returns 0 or -ENOMEM (unchanged). */
int extents_grow_hole(struct extents *extents, uint32_t end);
/* Makes pages [start, end) a hole. Returns 0 or -ENOMEM (unchanged). */
int extents_punch(struct extents *extents, struct pages *pages, uint32_t start, uint32_t end);
/* Pages of holes in [start, end). */
uint32_t extents_holes(const struct extents *extents, uint32_t start, uint32_t end);
/* The first page at or after `start` that is in a hole (hole) or has memory (!hole); extents.pages if there
 * is none. */
uint32_t extents_seek(const struct extents *extents, uint32_t start, bool hole);
/* Gives the holes in [start, end) memory, zeroed, where they had it before if that is free. Returns 0, or
 * -ENOSPC or -ENOMEM: some may have got theirs, which changes no byte. */
int extents_fill(struct extents *extents, struct pages *pages, char *region, uint32_t start, uint32_t end);
/* Gives back all pages from `keep` on. */
void extents_shrink(struct extents *extents, struct pages *pages, uint32_t keep);

/* Fills vector with the memory of bytes [offset, offset + length), which must lie inside; adjoining runs are
 * one entry. Returns the number of entries, or 0 when max do not suffice or there is a hole. */
uint32_t extents_map(const struct extents *extents, char *region, uint32_t offset, uint32_t length,
                     struct iovec *vector, uint32_t max);
/* These leave holes as they are; extents_write finds none in its range. */
void extents_zero(const struct extents *extents, char *region, uint32_t start, uint32_t end);
void extents_read(const struct extents *extents, char *region, uint32_t offset, uint32_t length, void *into);
void extents_write(const struct extents *extents, char *region, uint32_t offset, uint32_t length,
                   const void *from);

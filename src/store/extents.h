/* The memory of one chunk: runs of pages that, one after another, hold its bytes from offset 0 on. */
#pragma once

#include <stdint.h>
#include <sys/uio.h>

#include "store/pages.h"

struct extent {
    uint32_t first;
    uint32_t pages;
};

/* A zeroed struct is empty. */
struct extents {
    uint32_t pages; /* in all */
    uint32_t count;
    uint32_t capacity; /* of many; 0: the only extent, if any, is `one` */
    union {
        struct extent one;
        struct extent *many;
    };
};

/* Grows to `goal` pages if that is possible in one piece, else to `needed` pages in as few pieces as
 * possible. Returns 0, or -ENOSPC or -ENOMEM (unchanged). */
int extents_grow(struct extents *extents, struct pages *pages, uint32_t needed, uint32_t goal);
/* Gives back all pages from `keep` on. */
void extents_shrink(struct extents *extents, struct pages *pages, uint32_t keep);

/* Fills vector with the memory of bytes [offset, offset + length), which must lie inside; adjoining runs are
 * one entry. Returns the number of entries, or 0 when max do not suffice. */
uint32_t extents_map(const struct extents *extents, char *region, uint32_t offset, uint32_t length,
                     struct iovec *vector, uint32_t max);
void extents_zero(const struct extents *extents, char *region, uint32_t start, uint32_t end);
void extents_read(const struct extents *extents, char *region, uint32_t offset, uint32_t length, void *into);
void extents_write(const struct extents *extents, char *region, uint32_t offset, uint32_t length,
                   const void *from);

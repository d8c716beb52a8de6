/* Pages, and their allocator: runs of 4 KiB pages out of one region, handed out by page number.
 *
 * The region itself is never touched: bookkeeping lies in arrays of its own (9 bytes a page), so that a free
 * page needs no physical memory. Nothing here suspends. */
#pragma once

#include <stdint.h>

#define PAGE_SHIFT 12
#define PAGE_BYTES (1u << PAGE_SHIFT)
#define PAGES_RUN_MAX (1u << 14) /* 64 MiB: the largest chunk */
#define PAGES_NONE UINT32_MAX
#define PAGES_BOOKKEEPING 9u /* bytes of it for each page */

static inline uint32_t pages_of(uint32_t bytes)
{
    return (bytes >> PAGE_SHIFT) + ((bytes & (PAGE_BYTES - 1)) != 0);
}

static inline uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static inline uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

struct pages;

/* An allocator of count pages, all free. Returns 0 or -ENOMEM. */
int pages_create(uint32_t count, struct pages **pages);
void pages_destroy(struct pages *pages);

uint64_t pages_available(const struct pages *pages);

/* Takes a run of exactly count pages (1..PAGES_RUN_MAX). Returns its first page, or PAGES_NONE when no free
 * run is long enough. */
uint32_t pages_take(struct pages *pages, uint32_t count);

/* Takes the longest run there is, but at most count pages. Returns its first page and *taken, or PAGES_NONE
 * when no page is free. */
uint32_t pages_take_some(struct pages *pages, uint32_t count, uint32_t *taken);

/* Takes up to count pages that begin at page `first`, whose predecessor the caller owns. Returns how many. */
uint32_t pages_take_at(struct pages *pages, uint32_t first, uint32_t count);

/* Takes up to count pages that begin at page `first`, wherever that lies. Returns how many; 0: it is taken.
 */
uint32_t pages_take_from(struct pages *pages, uint32_t first, uint32_t count);

/* Gives back any run of pages that the caller owns, also a part of what it took. */
void pages_give(struct pages *pages, uint32_t first, uint32_t count);

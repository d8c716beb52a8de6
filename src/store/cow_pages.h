/* Pages of a persistent device under copy on write: over the allocator of pages.h, the rule for when a page
 * that was replaced may be taken again: when the journal records that no longer name it are durable, and
 * nobody reads it any more. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "store/pages.h"

struct cow_pages;

/* count pages, all free. Returns 0 or -ENOMEM. */
int cow_pages_create(uint32_t count, struct cow_pages **cow);
void cow_pages_destroy(struct cow_pages *cow);

/* Recovery: a record names these pages. false: one of them is taken already. */
bool cow_pages_claim(struct cow_pages *cow, uint32_t first, uint32_t count);

uint64_t cow_pages_available(const struct cow_pages *cow);
/* Pages that wait for a journal group. */
uint64_t cow_pages_retired(const struct cow_pages *cow);

/* Takes the longest run there is, but at most count (1..PAGES_RUN_MAX). Returns its first page and *taken, or
 * PAGES_NONE. */
uint32_t cow_pages_take(struct cow_pages *cow, uint32_t count, uint32_t *taken);
/* Gives back pages that no record ever named and nobody reads. */
void cow_pages_discard(struct cow_pages *cow, uint32_t first, uint32_t count);

/* A record that no longer names the page was appended. Never fails. */
void cow_pages_retire(struct cow_pages *cow, uint32_t page);
/* What was retired so far becomes free when the journal is committed up to `position`. */
void cow_pages_seal(struct cow_pages *cow, uint64_t position);
void cow_pages_committed(struct cow_pages *cow, uint64_t position);

/* While a page is pinned it is not taken again. */
void cow_pages_pin(struct cow_pages *cow, uint32_t first, uint32_t count);
void cow_pages_unpin(struct cow_pages *cow, uint32_t first, uint32_t count);

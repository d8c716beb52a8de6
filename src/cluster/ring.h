/* Consistent-hash ring (Karger et al. 1997): every server owns 150 points, the hashes of "<id>:<replica>". */
#pragma once

#include <stdint.h>

#include "base/hash_function.h"

#define RING_VIRTUAL_NODES 150

struct ring;

/* ids: distinct server ids; count >= 1. Returns 0 or -ENOMEM. */
int ring_create(const uint32_t *ids, uint32_t count, enum hash_function function, struct ring **ring);
void ring_destroy(struct ring *ring);

/* Index into ids of the owner of a hash: the first point at or after it, wrapping. */
uint32_t ring_owner(const struct ring *ring, uint64_t hash);
/* The same among servers whose load, by index into ids, is below the limit (Mirrokni, Thorup and
 * Zadimoghaddam 2016); at least one is. */
uint32_t ring_owner_below(const struct ring *ring, uint64_t hash, const uint32_t *loads, uint32_t limit);

/* Consistent-hash ring (Karger et al. 1997): every server owns 150 points, xxHash64 with seed 0 of
 * "<id>:<replica>". */
#pragma once

#include <stdint.h>

#define RING_VIRTUAL_NODES 150

struct ring;

/* ids: distinct server ids; count >= 1. Returns 0 or -ENOMEM. */
int ring_create(const uint32_t *ids, uint32_t count, struct ring **ring);
void ring_destroy(struct ring *ring);

/* Index into ids of the owner of a hash: the first point at or after it, wrapping. */
uint32_t ring_owner(const struct ring *ring, uint64_t hash);

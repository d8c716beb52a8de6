/* The consistent-hash ring.
 *
 * Every server owns RING_VIRTUAL_NODES points on the circle of 64-bit hashes; a hash belongs to the first
 * point at or after it. A server's points depend on its id alone, so adding or removing a server moves only
 * the arcs that it gains or loses: about 1/n of the circle.
 *
 * The points are one sorted array, searched by bisection. That is fast enough because nothing on a request's
 * path asks the ring: the cluster map asks it once per partition when it is made, and looking up an owner is
 * an array index afterwards. Two points with equal hash are ordered by server id, so the ring does not depend
 * on the order in which servers were named. */
#include "cluster/ring.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct point {
    uint64_t hash;
    uint32_t id;
    uint32_t server; /* index into ids */
};

struct ring {
    uint32_t count;
    struct point points[];
};

static int point_compare(const void *left, const void *right)
{
    const struct point *a = left, *b = right;
    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

int ring_create(const uint32_t *ids, uint32_t count, enum hash_function function, struct ring **ring)
{
    size_t points = (size_t)count * RING_VIRTUAL_NODES;
    struct ring *made = malloc(sizeof(*made) + points * sizeof(made->points[0]));
    if (made == NULL)
        return -ENOMEM;
    made->count = (uint32_t)points;
    struct point *next = made->points;
    for (uint32_t server = 0; server < count; server++) {
        for (unsigned replica = 0; replica < RING_VIRTUAL_NODES; replica++) {
            char text[32];
            int length = snprintf(text, sizeof(text), "%u:%u", ids[server], replica);
            *next++ = (struct point){
                .hash = hash_apply(function, text, (size_t)length),
                .id = ids[server],
                .server = server,
            };
        }
    }
    qsort(made->points, points, sizeof(made->points[0]), point_compare);
    *ring = made;
    return 0;
}

void ring_destroy(struct ring *ring)
{
    free(ring);
}

/* The first point at or after the hash. */
static uint32_t find(const struct ring *ring, uint64_t hash)
{
    uint32_t low = 0, high = ring->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (ring->points[middle].hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    return low == ring->count ? 0 : low;
}

uint32_t ring_owner(const struct ring *ring, uint64_t hash)
{
    return ring->points[find(ring, hash)].server;
}

uint32_t ring_owner_below(const struct ring *ring, uint64_t hash, const uint32_t *loads, uint32_t limit)
{
    uint32_t at = find(ring, hash);
    while (loads[ring->points[at].server] >= limit)
        at = at + 1 == ring->count ? 0 : at + 1;
    return ring->points[at].server;
}

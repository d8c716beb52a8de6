/* The strategies.
 *
 *              evenness                           when a server joins or leaves
 * consistent   standard deviation 8 % of the mean only its partitions move
 * bounded      at most 5/4 of the mean, rounded up a few more than its partitions
 * rendezvous   as if drawn at random              only its partitions move
 * modulo       as if drawn at random; with the    nearly all move
 *              Koyama hash as round_robin
 * round_robin  equal but for one partition        nearly all move
 *
 * The position of a partition on the ring is the first hash that belongs to it. The other strategies hash its
 * number, as decimal text, like the servers' ids. Servers are counted in the order of their ids, so that the
 * order in which they were named changes nothing.
 *
 * The weight of a server for a partition combines a hash of either by mixing, as the paper does, not a hash
 * of the pair: computing a map then takes servers + partitions hashes, and a few instructions for each pair.
 */
#include "cluster/strategy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "cluster/ring.h"

static const char *const names[RING_STRATEGIES] = {
#define RING_STRATEGY(id, name, text) name,
    RING_STRATEGY_TABLE(RING_STRATEGY)
#undef RING_STRATEGY
};

const char *strategy_name(enum ring_strategy strategy)
{
    return names[strategy];
}

int strategy_from_name(const char *name)
{
    for (int i = 0; i < RING_STRATEGIES; i++) {
        if (strcmp(names[i], name) == 0)
            return i;
    }
    return -EINVAL;
}

int strategy_check(enum ring_strategy strategy, enum hash_function function)
{
    bool on_circle = strategy == RING_CONSISTENT || strategy == RING_BOUNDED;
    return on_circle && !hash_function_spreads(function) ? -EINVAL : 0;
}

uint32_t strategy_bound(uint32_t count)
{
    return (5 * PARTITION_COUNT + 4 * count - 1) / (4 * count);
}

static uint64_t number_hash(enum hash_function function, uint32_t number)
{
    char text[16];
    int length = snprintf(text, sizeof(text), "%u", number);
    return hash_apply(function, text, (size_t)length);
}

static uint64_t position(uint32_t partition)
{
    return (uint64_t)partition << (64 - PARTITION_BITS);
}

/* ---- on the circle ---- */

static void assign_consistent(const struct ring *ring, uint16_t *owner)
{
    for (uint32_t partition = 0; partition < PARTITION_COUNT; partition++)
        owner[partition] = (uint16_t)ring_owner(ring, position(partition));
}

/* Partitions come in ascending order, so that who owns them does not depend on who owned them before. */
static int assign_bounded(const struct ring *ring, uint32_t count, uint16_t *owner)
{
    uint32_t *loads = calloc(count, sizeof(*loads));
    if (loads == NULL)
        return -ENOMEM;
    for (uint32_t partition = 0; partition < PARTITION_COUNT; partition++) {
        owner[partition] =
            (uint16_t)ring_owner_below(ring, position(partition), loads, strategy_bound(count));
        loads[owner[partition]]++;
    }
    free(loads);
    return 0;
}

static int assign_on_circle(enum ring_strategy strategy, enum hash_function function, const uint32_t *ids,
                            uint32_t count, uint16_t *owner)
{
    struct ring *ring;
    int status = ring_create(ids, count, function, &ring);
    if (status != 0)
        return status;
    if (strategy == RING_BOUNDED)
        status = assign_bounded(ring, count, owner);
    else
        assign_consistent(ring, owner);
    ring_destroy(ring);
    return status;
}

/* ---- by rank ---- */

struct ranked {
    uint32_t id;
    uint16_t server; /* index into ids */
    uint64_t hash;   /* of the id */
};

static int rank_compare(const void *left, const void *right)
{
    const struct ranked *a = left, *b = right;
    return a->id < b->id ? -1 : a->id > b->id;
}

/* The servers in ascending order of their ids. The caller frees. */
static struct ranked *rank(enum hash_function function, const uint32_t *ids, uint32_t count)
{
    struct ranked *servers = calloc(count, sizeof(*servers));
    if (servers == NULL)
        return NULL;
    for (uint32_t i = 0; i < count; i++)
        servers[i] = (struct ranked){ids[i], (uint16_t)i, number_hash(function, ids[i])};
    qsort(servers, count, sizeof(*servers), rank_compare);
    return servers;
}

static uint16_t heaviest(const struct ranked *servers, uint32_t count, uint64_t partition)
{
    uint64_t most = 0;
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t weight = hash_mix(servers[i].hash ^ partition);
        if (weight > most) {
            most = weight;
            found = i;
        }
    }
    return servers[found].server;
}

static int assign_by_rank(enum ring_strategy strategy, enum hash_function function, const uint32_t *ids,
                          uint32_t count, uint16_t *owner)
{
    struct ranked *servers = rank(function, ids, count);
    if (servers == NULL)
        return -ENOMEM;
    for (uint32_t partition = 0; partition < PARTITION_COUNT; partition++) {
        if (strategy == RING_ROUND_ROBIN)
            owner[partition] = servers[partition % count].server;
        else if (strategy == RING_MODULO)
            owner[partition] = servers[number_hash(function, partition) % count].server;
        else
            owner[partition] = heaviest(servers, count, number_hash(function, partition));
    }
    free(servers);
    return 0;
}

int strategy_assign(enum ring_strategy strategy, enum hash_function function, const uint32_t *ids,
                    uint32_t count, uint16_t owner[PARTITION_COUNT])
{
    if (strategy == RING_CONSISTENT || strategy == RING_BOUNDED)
        return assign_on_circle(strategy, function, ids, count, owner);
    return assign_by_rank(strategy, function, ids, count, owner);
}

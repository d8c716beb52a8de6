/* How the partitions are given to the servers (cluster.ring): five strategies of which each computes all
 * owners at once. Who owns what depends on the strategy, the hash function and the set of server ids, on
 * nothing else. */
#pragma once

#include <stdint.h>

#include "base/hash_function.h"
#include "cluster/partition.h"

/* RING_STRATEGY(id, name, what it is). The order is that of numbers in the encoded cluster map: add at the
 * end.
 */
#define RING_STRATEGY_TABLE(RING_STRATEGY)                                                                   \
    RING_STRATEGY(CONSISTENT, "consistent", "consistent hashing, 150 points a server (Karger et al. 1997)")  \
    RING_STRATEGY(BOUNDED, "bounded", "the same, no server above 5/4 of the mean (Mirrokni et al. 2016)")    \
    RING_STRATEGY(RENDEZVOUS, "rendezvous", "highest random weight (Thaler and Ravishankar 1996)")           \
    RING_STRATEGY(MODULO, "modulo", "hash of the partition modulo the number of servers")                    \
    RING_STRATEGY(ROUND_ROBIN, "round_robin", "partitions in turn")

enum ring_strategy {
#define RING_STRATEGY(id, name, text) RING_##id,
    RING_STRATEGY_TABLE(RING_STRATEGY)
#undef RING_STRATEGY
        RING_STRATEGIES
};

/* 0, or -EINVAL: the strategy needs a hash function that spreads, and this one does not. */
int strategy_check(enum ring_strategy strategy, enum hash_function function);
/* owner[partition]: index into ids. ids: distinct, 1 to 65,535 of them. Returns 0 or -ENOMEM. */
int strategy_assign(enum ring_strategy strategy, enum hash_function function, const uint32_t *ids,
                    uint32_t count, uint16_t owner[PARTITION_COUNT]);
/* What `bounded` gives a server at most. */
uint32_t strategy_bound(uint32_t count);

const char *strategy_name(enum ring_strategy strategy);
/* -EINVAL: no such strategy. */
int strategy_from_name(const char *name);

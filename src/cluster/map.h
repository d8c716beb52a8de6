/* The cluster map: who owns which partition. Versioned by epoch; computed by a strategy (cluster/strategy.h)
 * where it is made; cached by everyone. */
#pragma once

#include <stdint.h>

#include "base/buffer.h"
#include "cluster/partition.h"
#include "cluster/strategy.h"

struct cluster_server {
    uint32_t id;
    char address[64]; /* bootstrap "host:port" */
};

/* What one process's calls promise to others' (docs/consistency.md). */
enum consistency {
    CONSISTENCY_STRICT = 0,
    CONSISTENCY_CLOSE = 1,
    CONSISTENCY_RELAXED = 2,
};
/* "strict", "close", "relaxed"; from_name returns -EINVAL for others. */
const char *consistency_name(enum consistency consistency);
int consistency_from_name(const char *name);

/* What an acknowledged call promises to outlive the servers (docs/durability.md). */
enum durability {
    DURABILITY_NONE = 0,     /* what fsync was called for */
    DURABILITY_INTERVAL = 1, /* and what is older than the interval */
    DURABILITY_CLOSE = 2,    /* and what was closed */
    DURABILITY_WRITE = 3,    /* everything */
};
/* "none", "interval", "close", "write"; from_name returns -EINVAL for others. */
const char *durability_name(enum durability durability);
int durability_from_name(const char *name);

struct cluster_map {
    uint32_t epoch;
    enum consistency consistency; /* cluster_map_create: strict */
    enum durability durability;   /* cluster_map_create: none */
    enum ring_strategy ring;      /* how the owners were found: for those who want to know */
    enum hash_function hash;
    uint32_t server_count;
    struct cluster_server *servers;
    uint16_t owner[PARTITION_COUNT]; /* index into servers */
};

/* Computes the map of these servers (copied) by consistent hashing with xxHash64. Returns 0 or -errno. */
int cluster_map_create(uint32_t epoch, const struct cluster_server *servers, uint32_t count,
                       struct cluster_map **map);
/* Gives the partitions to the servers by another strategy: before anybody has seen the map. 0; -EINVAL
 * (strategy_check), -ENOMEM: the map is as it was. */
int cluster_map_assign(struct cluster_map *map, enum ring_strategy ring, enum hash_function hash);
void cluster_map_destroy(struct cluster_map *map);

void cluster_map_encode(const struct cluster_map *map, struct buffer *out);
/* Bytes from outside. Returns 0 or -EPROTO, -ENOMEM. */
int cluster_map_decode(const void *bytes, size_t length, struct cluster_map **map);

/* Of a single server the table, which no first-level cache holds beside other things, is not looked at. */
static inline uint32_t cluster_map_owner(const struct cluster_map *map, uint32_t partition)
{
    return map->server_count == 1 ? 0 : map->owner[partition];
}

/* The smallest partition that the server (index) owns; placement `local` and `round_robin` use it.
 * UINT32_MAX: it owns none. */
uint32_t cluster_map_first_partition(const struct cluster_map *map, uint32_t server);

/* Placement of chunks: which partition holds chunk `index` of a file. Chunk 0 always lives with its inode. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cluster/map.h"
#include "rpc/operations.h"

enum placement {
    PLACEMENT_HASH = 0,        /* hash of (inode, index) */
    PLACEMENT_ROUND_ROBIN = 1, /* servers in turn, beginning at the inode's */
    PLACEMENT_LOCAL = 2,       /* layout.base: a partition of the creator's nearest server */
};

#define CHUNK_SHIFT_MIN 16 /* 64 KiB */
#define CHUNK_SHIFT_MAX 26 /* 64 MiB */

/* Layouts come from the wire and direct every transfer of a file. */
static inline bool layout_valid(const struct layout *layout)
{
    return layout->chunk_shift >= CHUNK_SHIFT_MIN && layout->chunk_shift <= CHUNK_SHIFT_MAX &&
           layout->placement <= PLACEMENT_LOCAL && layout->base < PARTITION_COUNT;
}

/* Index (into map->servers) of the server that holds the chunk. */
uint32_t placement_server(const struct cluster_map *map, uint64_t inode, const struct layout *layout,
                          uint64_t index);

/* "hash", "round_robin", "local" <-> enum; from_name returns -EINVAL for others. */
const char *placement_name(enum placement placement);
int placement_from_name(const char *name);

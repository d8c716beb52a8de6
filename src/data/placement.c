/* Where the chunks of a file live. Chunk 0 is always with the inode, so that a small file costs one server
 * one transaction. The rest follows the file's layout: hash         the partition of hash(inode, index): even
 * over all servers, whatever the sizes, and independent of the order of creation; round_robin  servers in map
 * order, beginning behind the inode's: consecutive chunks never share a server, so one stream of n chunks
 * uses min(n, servers) of them; local        one partition named in the layout, chosen by the creator on its
 * nearest server. The answer is an index into the map's servers and a pure function of map and layout:
 * clients and servers compute it alike. */
#include "data/placement.h"

#include <errno.h>
#include <string.h>

static const char *const names[] = {
    [PLACEMENT_HASH] = "hash",
    [PLACEMENT_ROUND_ROBIN] = "round_robin",
    [PLACEMENT_LOCAL] = "local",
};

#define PLACEMENTS (sizeof(names) / sizeof(names[0]))

uint32_t placement_server(const struct cluster_map *map, uint64_t inode, const struct layout *layout,
                          uint64_t index)
{
    uint32_t home = cluster_map_owner(map, inode_partition(inode));
    if (index == 0)
        return home;
    switch (layout->placement) {
    case PLACEMENT_ROUND_ROBIN:
        return (uint32_t)((home + index % map->server_count) % map->server_count);
    case PLACEMENT_LOCAL:
        return cluster_map_owner(map, layout->base % PARTITION_COUNT);
    default:
        return cluster_map_owner(map, hash_partition(hash_mix(inode ^ hash_mix(index))));
    }
}

const char *placement_name(enum placement placement)
{
    return (size_t)placement < PLACEMENTS ? names[placement] : "unknown";
}

int placement_from_name(const char *name)
{
    for (size_t i = 0; i < PLACEMENTS; i++)
        if (strcmp(names[i], name) == 0)
            return (int)i;
    return -EINVAL;
}

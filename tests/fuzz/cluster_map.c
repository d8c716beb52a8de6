/* Any bytes as a cluster map: refused, or a map that names only servers it has and that survives encoding. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/map.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void require(int condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct cluster_map *map, *again;
    int status = cluster_map_decode(bytes, length, &map);
    if (status != 0) {
        require(status == -EPROTO);
        return 0;
    }
    for (uint32_t partition = 0; partition < PARTITION_COUNT; partition++)
        require(cluster_map_owner(map, partition) < map->server_count);
    struct buffer out;
    buffer_init(&out);
    cluster_map_encode(map, &out);
    require(cluster_map_decode(out.bytes, out.length, &again) == 0);
    require(memcmp(map->owner, again->owner, sizeof(map->owner)) == 0);
    buffer_free(&out);
    cluster_map_destroy(map);
    cluster_map_destroy(again);
    return 0;
}

/* The cluster map: computing, encoding and decoding it.
 *
 * A partition belongs to one server. On the ring a server's partitions come in runs, one per arc, and the
 * encoded form uses that: after the servers it holds (length, owner) runs that cover all partitions. Two
 * servers take about 1.5 KiB, so a client fetches the map in one eager message; a strategy that leaves no
 * runs makes it up to 64 KiB long. The runs say who owns what explicitly: a receiver never computes a
 * strategy, it only reads which one it was.
 *
 *   u8 format | u32 epoch | u8 consistency | u8 durability | u8 ring | u8 hash | u16 servers |
 *   servers * { u32 id | string address } | u16 runs | runs * { u16 length - 1 | u16 owner }
 *
 * The decoder accepts only what the encoder can produce from a valid map: at least one server, distinct ids,
 * addresses that fit and are not empty, a strategy with a hash function that it works with, runs that cover
 * the partitions exactly and name servers that exist. */
#include "cluster/map.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MAP_FORMAT 3
#define MAP_SERVERS_MAX 65535u

static int id_compare(const void *left, const void *right)
{
    const uint32_t *a = left, *b = right;
    return *a < *b ? -1 : *a > *b;
}

static bool ids_distinct(uint32_t *ids, uint32_t count)
{
    qsort(ids, count, sizeof(*ids), id_compare);
    for (uint32_t i = 1; i < count; i++) {
        if (ids[i] == ids[i - 1])
            return false;
    }
    return true;
}

static int map_allocate(uint32_t epoch, uint32_t count, struct cluster_map **map)
{
    struct cluster_map *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->servers = calloc(count, sizeof(made->servers[0]));
    if (made->servers == NULL) {
        free(made);
        return -ENOMEM;
    }
    made->epoch = epoch;
    made->server_count = count;
    *map = made;
    return 0;
}

void cluster_map_destroy(struct cluster_map *map)
{
    if (map == NULL)
        return;
    free(map->servers);
    free(map);
}

/* The servers' ids in their order. The caller frees. */
static uint32_t *map_ids(const struct cluster_map *map)
{
    uint32_t *ids = malloc(map->server_count * sizeof(*ids));
    if (ids == NULL)
        return NULL;
    for (uint32_t i = 0; i < map->server_count; i++)
        ids[i] = map->servers[i].id;
    return ids;
}

int cluster_map_assign(struct cluster_map *map, enum ring_strategy ring, enum hash_function hash)
{
    if (strategy_check(ring, hash) != 0)
        return -EINVAL;
    uint32_t *ids = map_ids(map);
    if (ids == NULL)
        return -ENOMEM;
    int status = strategy_assign(ring, hash, ids, map->server_count, map->owner);
    free(ids);
    if (status == 0) {
        map->ring = ring;
        map->hash = hash;
    }
    return status;
}

/* Whether all ids differ: 0, or -EINVAL, -ENOMEM. */
static int check_ids(const struct cluster_map *map)
{
    uint32_t *ids = map_ids(map);
    if (ids == NULL)
        return -ENOMEM;
    int status = ids_distinct(ids, map->server_count) ? 0 : -EINVAL;
    free(ids);
    return status;
}

int cluster_map_create(uint32_t epoch, const struct cluster_server *servers, uint32_t count,
                       struct cluster_map **map)
{
    if (count == 0 || count > MAP_SERVERS_MAX)
        return -EINVAL;
    struct cluster_map *made;
    int status = map_allocate(epoch, count, &made);
    if (status != 0)
        return status;
    memcpy(made->servers, servers, count * sizeof(servers[0]));
    status = check_ids(made);
    if (status == 0)
        status = cluster_map_assign(made, RING_CONSISTENT, HASH_XXHASH64);
    if (status != 0) {
        cluster_map_destroy(made);
        return status;
    }
    *map = made;
    return 0;
}

/* The partition after the run of equal owners that begins at first. */
static uint32_t run_end(const struct cluster_map *map, uint32_t first)
{
    uint32_t end = first + 1;
    while (end < PARTITION_COUNT && map->owner[end] == map->owner[first])
        end++;
    return end;
}

void cluster_map_encode(const struct cluster_map *map, struct buffer *out)
{
    buffer_put_u8(out, MAP_FORMAT);
    buffer_put_u32(out, map->epoch);
    buffer_put_u8(out, (uint8_t)map->consistency);
    buffer_put_u8(out, (uint8_t)map->durability);
    buffer_put_u8(out, (uint8_t)map->ring);
    buffer_put_u8(out, (uint8_t)map->hash);
    buffer_put_u16(out, (uint16_t)map->server_count);
    for (uint32_t i = 0; i < map->server_count; i++) {
        buffer_put_u32(out, map->servers[i].id);
        buffer_put_string(out, map->servers[i].address);
    }
    uint32_t runs = 0;
    for (uint32_t first = 0; first < PARTITION_COUNT; first = run_end(map, first))
        runs++;
    buffer_put_u16(out, (uint16_t)runs);
    for (uint32_t first = 0; first < PARTITION_COUNT; first = run_end(map, first)) {
        buffer_put_u16(out, (uint16_t)(run_end(map, first) - first - 1));
        buffer_put_u16(out, map->owner[first]);
    }
}

static void decode_servers(struct reader *reader, struct cluster_map *map)
{
    for (uint32_t i = 0; i < map->server_count; i++) {
        struct cluster_server *server = &map->servers[i];
        server->id = reader_u32(reader);
        reader_string(reader, server->address, sizeof(server->address));
        if (server->address[0] == '\0')
            reader->failed = true;
        if (reader->failed)
            return;
    }
}

static void decode_owners(struct reader *reader, struct cluster_map *map)
{
    uint32_t runs = reader_u16(reader);
    uint32_t partition = 0;
    for (uint32_t run = 0; run < runs && !reader->failed; run++) {
        uint32_t length = reader_u16(reader) + 1u;
        uint16_t owner = reader_u16(reader);
        if (owner >= map->server_count || length > PARTITION_COUNT - partition) {
            reader->failed = true;
            return;
        }
        for (uint32_t end = partition + length; partition < end; partition++)
            map->owner[partition] = owner;
    }
    if (partition != PARTITION_COUNT)
        reader->failed = true;
}

int cluster_map_decode(const void *bytes, size_t length, struct cluster_map **map)
{
    struct reader reader;
    reader_init(&reader, bytes, length);
    uint8_t format = reader_u8(&reader);
    uint32_t epoch = reader_u32(&reader);
    uint8_t consistency = reader_u8(&reader);
    uint8_t durability = reader_u8(&reader);
    uint8_t ring = reader_u8(&reader);
    uint8_t hash = reader_u8(&reader);
    uint32_t count = reader_u16(&reader);
    /* A server takes at least seven bytes: the count cannot make us allocate more than what was sent
     * justifies. */
    if (reader.failed || format != MAP_FORMAT || count == 0 || count > length / 7 ||
        consistency > CONSISTENCY_RELAXED || durability > DURABILITY_WRITE || ring >= RING_STRATEGIES ||
        hash >= HASH_FUNCTIONS || strategy_check(ring, hash) != 0)
        return -EPROTO;
    struct cluster_map *made;
    int status = map_allocate(epoch, count, &made);
    if (status != 0)
        return status;
    made->consistency = (enum consistency)consistency;
    made->durability = (enum durability)durability;
    made->ring = (enum ring_strategy)ring;
    made->hash = (enum hash_function)hash;
    decode_servers(&reader, made);
    if (!reader.failed)
        decode_owners(&reader, made);
    if (reader.failed || reader.offset != length)
        status = -EPROTO;
    if (status == 0)
        status = check_ids(made);
    if (status == -EINVAL)
        status = -EPROTO;
    if (status != 0) {
        cluster_map_destroy(made);
        return status;
    }
    *map = made;
    return 0;
}

uint32_t cluster_map_first_partition(const struct cluster_map *map, uint32_t server)
{
    for (uint32_t partition = 0; partition < PARTITION_COUNT; partition++) {
        if (map->owner[partition] == server)
            return partition;
    }
    return UINT32_MAX;
}

static const char *const consistency_names[] = {"strict", "close", "relaxed"};
static const char *const durability_names[] = {"none", "interval", "close", "write"};

static int name_find(const char *const *names, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -EINVAL;
}

const char *consistency_name(enum consistency consistency)
{
    return consistency_names[consistency];
}

int consistency_from_name(const char *name)
{
    return name_find(consistency_names, CONSISTENCY_RELAXED + 1, name);
}

const char *durability_name(enum durability durability)
{
    return durability_names[durability];
}

int durability_from_name(const char *name)
{
    return name_find(durability_names, DURABILITY_WRITE + 1, name);
}

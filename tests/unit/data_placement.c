/* Placement of chunks: chunk 0 with its inode, even spread, turns, one server. */
#include "unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "data/placement.h"

#define SERVERS 8

static struct cluster_map *map_of(uint32_t count)
{
    struct cluster_server servers[SERVERS];
    memset(servers, 0, sizeof(servers));
    for (uint32_t i = 0; i < count; i++) {
        servers[i].id = i;
        snprintf(servers[i].address, sizeof(servers[i].address), "127.0.0.1:%u", 4000 + i);
    }
    struct cluster_map *map = NULL;
    assert_int_equal(cluster_map_create(1, servers, count, &map), 0);
    return map;
}

static void chunk_0_is_with_its_inode(void **state)
{
    (void)state;
    struct cluster_map *map = map_of(SERVERS);
    for (uint32_t partition = 0; partition < PARTITION_COUNT; partition += 37)
        for (uint8_t placement = 0; placement < 4; placement++) {
            struct layout layout = {.placement = placement, .chunk_shift = 20, .base = 5};
            assert_int_equal(placement_server(map, inode_make(partition, 9), &layout, 0),
                             cluster_map_owner(map, partition));
        }
    cluster_map_destroy(map);
}

static void hash_is_even(void **state)
{
    (void)state;
    struct cluster_map *map = map_of(SERVERS);
    struct layout layout = {.placement = PLACEMENT_HASH, .chunk_shift = 20};
    uint32_t partitions[SERVERS] = {0};
    for (uint32_t i = 0; i < PARTITION_COUNT; i++)
        partitions[cluster_map_owner(map, i)]++;
    uint32_t chunks[SERVERS] = {0};
    const uint32_t total = 100 * 1000;
    for (uint64_t inode = 0; inode < 100; inode++)
        for (uint64_t index = 1; index <= 1000; index++)
            chunks[placement_server(map, inode_make((uint32_t)inode, 1 + inode), &layout, index)]++;
    /* Every server gets its share of the partitions, within 5 %. */
    for (uint32_t i = 0; i < SERVERS; i++) {
        double share = (double)partitions[i] / PARTITION_COUNT * total;
        assert_true(chunks[i] > share * 0.95 && chunks[i] < share * 1.05);
    }
    cluster_map_destroy(map);
}

static void round_robin_takes_turns(void **state)
{
    (void)state;
    struct cluster_map *map = map_of(5);
    struct layout layout = {.placement = PLACEMENT_ROUND_ROBIN, .chunk_shift = 20};
    for (uint32_t partition = 0; partition < PARTITION_COUNT; partition += 999) {
        uint64_t inode = inode_make(partition, 3);
        for (uint64_t index = 0; index < 20; index++)
            assert_int_equal(placement_server(map, inode, &layout, index + 1),
                             (placement_server(map, inode, &layout, index) + 1) % 5);
        assert_true(placement_server(map, inode, &layout, UINT64_MAX) < 5);
    }
    cluster_map_destroy(map);
}

static void local_stays_on_one_server(void **state)
{
    (void)state;
    struct cluster_map *map = map_of(SERVERS);
    for (uint32_t server = 0; server < SERVERS; server++) {
        struct layout layout = {.placement = PLACEMENT_LOCAL,
                                .base = cluster_map_first_partition(map, server)};
        for (uint64_t index = 1; index < 50; index++)
            assert_int_equal(placement_server(map, inode_make(77, 1), &layout, index), server);
    }
    /* A layout comes from the wire: any value must name some server. */
    struct layout odd = {.placement = PLACEMENT_LOCAL, .base = UINT32_MAX};
    assert_true(placement_server(map, inode_make(77, 1), &odd, 1) < SERVERS);
    odd.placement = 200;
    assert_true(placement_server(map, inode_make(77, 1), &odd, 1) < SERVERS);
    cluster_map_destroy(map);
}

static void names(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(placement_from_name(placement_name((enum placement)i)), i);
    assert_int_equal(placement_from_name("round_robin"), PLACEMENT_ROUND_ROBIN);
    assert_int_equal(placement_from_name("near"), -EINVAL);
    assert_string_equal(placement_name((enum placement)9), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunk_0_is_with_its_inode),
        cmocka_unit_test(hash_is_even),
        cmocka_unit_test(round_robin_takes_turns),
        cmocka_unit_test(local_stays_on_one_server),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The map is deterministic, survives encoding, and its decoder rejects everything else. */
#include "unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "cluster/map.h"

static struct cluster_map *map_of(uint32_t count)
{
    struct cluster_server servers[64];
    memset(servers, 0, sizeof(servers));
    for (uint32_t i = 0; i < count; i++) {
        servers[i].id = i;
        snprintf(servers[i].address, sizeof(servers[i].address), "127.0.0.1:%u", 4000 + i);
    }
    struct cluster_map *map;
    assert_int_equal(cluster_map_create(9, servers, count, &map), 0);
    return map;
}

/* Fixed by another implementation (Python): the owners of all partitions among four servers, folded with
 * FNV-1a. */
static void owners_are_fixed(void **state)
{
    (void)state;
    struct cluster_map *map = map_of(4);
    uint64_t fold = UINT64_C(0xcbf29ce484222325);
    uint32_t shares[4] = {0};
    for (uint32_t partition = 0; partition < PARTITION_COUNT; partition++) {
        uint32_t owner = cluster_map_owner(map, partition);
        fold = (fold ^ owner) * UINT64_C(0x100000001b3);
        shares[owner]++;
    }
    assert_true(fold == UINT64_C(0x581565760c3a82f6));
    assert_int_equal(shares[0], 3968);
    assert_int_equal(shares[3], 4220);
    cluster_map_destroy(map);
}

static void first_partition_is_the_smallest(void **state)
{
    (void)state;
    struct cluster_map *map = map_of(5);
    for (uint32_t server = 0; server < 5; server++) {
        uint32_t first = cluster_map_first_partition(map, server);
        assert_true(first < PARTITION_COUNT);
        assert_int_equal(map->owner[first], server);
        for (uint32_t partition = 0; partition < first; partition++)
            assert_int_not_equal(map->owner[partition], server);
    }
    assert_int_equal(cluster_map_first_partition(map, 5), UINT32_MAX);
    cluster_map_destroy(map);
}

static void bad_membership_is_refused(void **state)
{
    (void)state;
    struct cluster_server servers[2] = {{.id = 4, .address = "a:1"}, {.id = 4, .address = "b:1"}};
    struct cluster_map *map = NULL;
    assert_int_equal(cluster_map_create(1, servers, 2, &map), -EINVAL);
    assert_int_equal(cluster_map_create(1, servers, 0, &map), -EINVAL);
    assert_null(map);
}

static void encoding_round_trips(void **state)
{
    (void)state;
    const uint32_t counts[] = {1, 2, 3, 64};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct cluster_map *map = map_of(counts[i]), *copy;
        struct buffer out;
        buffer_init(&out);
        map->consistency = CONSISTENCY_CLOSE;
        cluster_map_encode(map, &out);
        assert_false(out.failed);
        print_message("# %u servers: %zu bytes\n", counts[i], out.length);
        assert_int_equal(cluster_map_decode(out.bytes, out.length, &copy), 0);
        assert_int_equal(copy->consistency, CONSISTENCY_CLOSE);
        assert_int_equal(copy->epoch, 9);
        assert_int_equal(copy->server_count, map->server_count);
        assert_memory_equal(copy->servers, map->servers, counts[i] * sizeof(map->servers[0]));
        assert_memory_equal(copy->owner, map->owner, sizeof(map->owner));
        buffer_free(&out);
        cluster_map_destroy(map);
        cluster_map_destroy(copy);
    }
}

static void the_strategy_is_told(void **state)
{
    (void)state;
    struct cluster_map *map = map_of(5), *copy;
    struct buffer out;
    assert_int_equal(map->ring, RING_CONSISTENT);
    assert_int_equal(map->hash, HASH_XXHASH64);
    assert_int_equal(cluster_map_assign(map, RING_BOUNDED, HASH_KOYAMA), -EINVAL);
    assert_int_equal(map->ring, RING_CONSISTENT);
    for (enum ring_strategy ring = 0; ring < RING_STRATEGIES; ring++) {
        for (enum hash_function hash = 0; hash < HASH_FUNCTIONS; hash++) {
            if (strategy_check(ring, hash) != 0)
                continue;
            assert_int_equal(cluster_map_assign(map, ring, hash), 0);
            buffer_init(&out);
            cluster_map_encode(map, &out);
            assert_int_equal(cluster_map_decode(out.bytes, out.length, &copy), 0);
            assert_int_equal(copy->ring, ring);
            assert_int_equal(copy->hash, hash);
            assert_memory_equal(copy->owner, map->owner, sizeof(map->owner));
            assert_true(out.length < 80 * 1024);
            buffer_free(&out);
            cluster_map_destroy(copy);
        }
    }
    cluster_map_destroy(map);
}

/* Bytes 7 and 8 of the encoded map are strategy and hash function. */
static void unknown_strategies_are_refused(void **state)
{
    (void)state;
    static const uint8_t bad[][2] = {
        {RING_STRATEGIES, 0}, {0, HASH_FUNCTIONS}, {RING_CONSISTENT, HASH_KOYAMA}};
    struct cluster_map *map = map_of(2), *copy = NULL;
    struct buffer out;
    buffer_init(&out);
    cluster_map_encode(map, &out);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        memcpy((uint8_t *)out.bytes + 7, bad[i], 2);
        assert_int_equal(cluster_map_decode(out.bytes, out.length, &copy), -EPROTO);
    }
    assert_null(copy);
    buffer_free(&out);
    cluster_map_destroy(map);
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    struct cluster_map *map = map_of(3), *copy = NULL;
    struct buffer out;
    buffer_init(&out);
    cluster_map_encode(map, &out);
    for (size_t length = 0; length < out.length; length++) {
        /* A fresh block of exactly that size, so that a sanitizer sees a read beyond it. */
        uint8_t *bytes = malloc(length + 1);
        memcpy(bytes + 1, out.bytes, length);
        assert_int_equal(cluster_map_decode(bytes + 1, length, &copy), -EPROTO);
        free(bytes);
    }
    buffer_put_u8(&out, 0);
    assert_int_equal(cluster_map_decode(out.bytes, out.length, &copy), -EPROTO); /* a byte too many */
    assert_null(copy);
    buffer_free(&out);
    cluster_map_destroy(map);
}

static void damaged_bytes_are_refused_or_consistent(void **state)
{
    (void)state;
    struct cluster_map *map = map_of(3);
    struct buffer out;
    struct random random;
    buffer_init(&out);
    cluster_map_encode(map, &out);
    random_seed(&random, 7);
    uint32_t refused = 0;
    for (uint32_t round = 0; round < 3000; round++) {
        uint8_t *damaged = malloc(out.length);
        memcpy(damaged, out.bytes, out.length);
        for (uint32_t flips = 0; flips < 3; flips++)
            damaged[random_below(&random, out.length)] = (uint8_t)random_next(&random);
        struct cluster_map *copy = NULL;
        int status = cluster_map_decode(damaged, out.length, &copy);
        if (status == 0) {
            for (uint32_t partition = 0; partition < PARTITION_COUNT; partition++)
                assert_true(copy->owner[partition] < copy->server_count);
            cluster_map_destroy(copy);
        } else {
            assert_int_equal(status, -EPROTO);
            refused++;
        }
        free(damaged);
    }
    assert_true(refused > 1000);
    buffer_free(&out);
    cluster_map_destroy(map);
}

static void duplicate_ids_are_refused(void **state)
{
    (void)state;
    struct cluster_map *map = map_of(2), *copy = NULL;
    map->servers[1].id = map->servers[0].id;
    struct buffer out;
    buffer_init(&out);
    cluster_map_encode(map, &out);
    assert_int_equal(cluster_map_decode(out.bytes, out.length, &copy), -EPROTO);
    assert_null(copy);
    buffer_free(&out);
    cluster_map_destroy(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(owners_are_fixed),
        cmocka_unit_test(first_partition_is_the_smallest),
        cmocka_unit_test(bad_membership_is_refused),
        cmocka_unit_test(encoding_round_trips),
        cmocka_unit_test(the_strategy_is_told),
        cmocka_unit_test(unknown_strategies_are_refused),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(damaged_bytes_are_refused_or_consistent),
        cmocka_unit_test(duplicate_ids_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

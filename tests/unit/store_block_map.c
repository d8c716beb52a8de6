/* The map of a chunk's blocks, and its record. */
#include "unit/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "store/block_map.h"

static void put(struct block_map *map, uint32_t at, uint32_t page, uint32_t sum)
{
    assert_int_equal(block_map_reserve(map, at + 1), 0);
    block_map_set(map, at, (struct block){page, sum});
}

static void holes_and_what_is_held(void **state)
{
    (void)state;
    struct block_map map = {0};
    assert_int_equal(block_map_get(&map, 7).page, PAGES_NONE);
    block_map_set(&map, 7, (struct block){PAGES_NONE, 0});
    assert_int_equal(map.count, 0);
    put(&map, 3, 30, 1);
    put(&map, 5, BLOCK_RESERVED, 0);
    assert_int_equal(map.count, 6);
    assert_int_equal(map.held, 2);
    assert_int_equal(block_map_holes(&map, 0, 10), 8);
    assert_int_equal(block_map_seek(&map, 0, false), 3);
    assert_int_equal(block_map_seek(&map, 3, true), 4);
    assert_int_equal(block_map_seek(&map, 4, false), 5);
    assert_int_equal(block_map_seek(&map, 5, true), 6);
    assert_int_equal(block_map_seek(&map, 9, false), 6);
    block_map_set(&map, 5, (struct block){PAGES_NONE, 0});
    assert_int_equal(map.count, 4);
    block_map_set(&map, 3, (struct block){PAGES_NONE, 0});
    assert_int_equal(map.count, 0);
    assert_int_equal(map.held, 0);
    block_map_free(&map);
}

/* Any map comes back from its record as it was. */
static void record_round_trip(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 1);
    for (int round = 0; round < 300; round++) {
        struct block_map map = {0}, again = {0};
        uint32_t blocks = (uint32_t)random_below(&random, round % 10 == 0 ? BLOCK_MAP_MAX : 40);
        uint32_t page = 0;
        for (uint32_t at = 0; at < blocks; at++) {
            uint64_t choice = random_below(&random, 10);
            page = choice < 6 ? page + 1 : (uint32_t)random_below(&random, 1000000);
            put(&map, at,
                choice == 8   ? PAGES_NONE
                : choice == 9 ? BLOCK_RESERVED
                              : page,
                choice < 8 ? (uint32_t)random_next(&random) : 0);
        }
        size_t size = block_record_size(&map);
        uint8_t *bytes = malloc(size);
        block_record_encode(&map, 4321, bytes);
        uint32_t length = 0;
        assert_int_equal(block_record_decode(bytes, size, 1100000, &again, &length), 0);
        assert_int_equal(length, 4321);
        assert_int_equal(again.count, map.count);
        assert_int_equal(again.held, map.held);
        if (map.count > 0)
            assert_memory_equal(again.blocks, map.blocks, map.count * sizeof(*map.blocks));
        block_map_free(&again);
        assert_int_equal(block_record_decode(bytes, size - 1, 1100000, &again, &length), -EBADMSG);
        assert_null(again.blocks);
        free(bytes);
        block_map_free(&map);
    }
}

static int decode(struct block_record head, struct block_record_run run)
{
    uint8_t bytes[64] = {0};
    memcpy(bytes, &head, sizeof(head));
    memcpy(bytes + sizeof(head), &run, sizeof(run));
    struct block_map map = {0};
    uint32_t length;
    int status = block_record_decode(bytes, sizeof(head) + 8 * head.runs + 4 * head.sums, 100, &map, &length);
    block_map_free(&map);
    return status;
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    assert_int_equal(decode((struct block_record){1, 8192, 1, 2}, (struct block_record_run){98, 2}), 0);
    assert_int_equal(decode((struct block_record){2, 8192, 1, 2}, (struct block_record_run){98, 2}),
                     -EBADMSG);
    assert_int_equal(
        decode((struct block_record){1, (64u << 20) + 1, 1, 2}, (struct block_record_run){98, 2}), -EBADMSG);
    assert_int_equal(decode((struct block_record){1, 8192, 1, 2}, (struct block_record_run){99, 2}),
                     -EBADMSG);
    assert_int_equal(decode((struct block_record){1, 8192, 1, 2}, (struct block_record_run){98, 1}),
                     -EBADMSG);
    assert_int_equal(decode((struct block_record){1, 8192, 1, 0}, (struct block_record_run){98, 0}),
                     -EBADMSG);
    assert_int_equal(decode((struct block_record){1, 8192, 1, 0}, (struct block_record_run){PAGES_NONE, 2}),
                     -EBADMSG);
    assert_int_equal(
        decode((struct block_record){1, 8192, 1, 0}, (struct block_record_run){BLOCK_RESERVED, 2}), 0);
    assert_int_equal(decode((struct block_record){1, 8192, 1, 0},
                            (struct block_record_run){BLOCK_RESERVED, BLOCK_MAP_MAX + 1}),
                     -EBADMSG);
    uint64_t inode, index;
    assert_int_equal(block_key_decode("0123456789abcde", 15, &inode, &index), -EBADMSG);
}

static void keys(void **state)
{
    (void)state;
    uint8_t key[BLOCK_KEY_BYTES];
    uint64_t inode, index;
    block_key_encode(UINT64_C(0x0102030405060708), 9, key);
    assert_int_equal(key[0], 8);
    assert_int_equal(key[8], 9);
    assert_int_equal(block_key_decode(key, sizeof(key), &inode, &index), 0);
    assert_int_equal(inode, UINT64_C(0x0102030405060708));
    assert_int_equal(index, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holes_and_what_is_held),
        cmocka_unit_test(record_round_trip),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The hash map agrees with a plain array under random insertions and deletions. */
#include "unit/unit.h"

#include "base/hash.h"
#include "base/map.h"
#include "base/random.h"

#include <string.h>

enum { KEYS = 512, STEPS = 200000 };

static char things[KEYS]; /* their addresses are the values */

static void empty_map_answers(void **state)
{
    (void)state;
    struct map map;
    size_t cursor = 0;
    map_init(&map);
    assert_null(map_get(&map, 0));
    assert_null(map_remove(&map, 0));
    assert_null(map_next(&map, &cursor, NULL));
    map_free(&map);
}

static void put_replaces(void **state)
{
    (void)state;
    struct map map;
    map_init(&map);
    assert_int_equal(map_put(&map, 0, &things[0]), 0);
    assert_int_equal(map_put(&map, 0, &things[1]), 0);
    assert_int_equal(map.count, 1);
    assert_ptr_equal(map_get(&map, 0), &things[1]);
    assert_int_equal(map_put(&map, UINT64_MAX, &things[2]), 0);
    assert_ptr_equal(map_remove(&map, UINT64_MAX), &things[2]);
    assert_null(map_get(&map, UINT64_MAX));
    map_free(&map);
}

/* hash_mix is a bijection, so keys that all start in one slot can be made by inverting it. */
static uint64_t unmix(uint64_t value)
{
    value ^= value >> 33;
    value *= UINT64_C(0x9cb4b2f8129337db);
    value ^= value >> 33;
    value *= UINT64_C(0x4f74430c22a54005);
    value ^= value >> 33;
    return value;
}

static void deletion_keeps_colliding_keys_reachable(void **state)
{
    (void)state;
    assert_int_equal(hash_mix(unmix(12345)), 12345);
    /* Homes 14, 14, 15, 14, 0 in a table of 16: the cluster wraps around its end. */
    const uint64_t homes[] = {14, 14 + 16, 15, 14 + 32, 16};
    for (size_t victim = 0; victim < 5; victim++) {
        struct map map;
        map_init(&map);
        for (size_t i = 0; i < 5; i++)
            assert_int_equal(map_put(&map, unmix(homes[i]), &things[i]), 0);
        assert_int_equal(map.mask, 15);
        assert_ptr_equal(map_remove(&map, unmix(homes[victim])), &things[victim]);
        for (size_t i = 0; i < 5; i++)
            assert_ptr_equal(map_get(&map, unmix(homes[i])), i == victim ? NULL : &things[i]);
        map_free(&map);
    }
}

static void agrees_with_an_array(void **state)
{
    (void)state;
    void *model[KEYS] = {0};
    size_t count = 0;
    struct map map;
    struct random random;
    map_init(&map);
    random_seed(&random, 7);

    for (int step = 0; step < STEPS; step++) {
        size_t key = random_below(&random, KEYS);
        /* Phases of growth and of shrinking, so that the table passes through all densities. */
        if (random_below(&random, 100) < (step / 10000 % 2 == 0 ? 60U : 40U)) {
            void *value = &things[random_below(&random, KEYS)];
            assert_int_equal(map_put(&map, key, value), 0);
            count += model[key] == NULL;
            model[key] = value;
        } else {
            assert_ptr_equal(map_remove(&map, key), model[key]);
            count -= model[key] != NULL;
            model[key] = NULL;
        }
        assert_int_equal(map.count, count);
        key = random_below(&random, KEYS);
        assert_ptr_equal(map_get(&map, key), model[key]);
    }

    size_t cursor = 0, seen = 0;
    uint64_t key;
    for (void *value; (value = map_next(&map, &cursor, &key)) != NULL; seen++)
        assert_ptr_equal(value, model[key]);
    assert_int_equal(seen, count);
    assert_true(map.mask < 2048); /* deletions leave nothing behind that would make it grow */
    map_free(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_map_answers),
        cmocka_unit_test(put_replaces),
        cmocka_unit_test(deletion_keeps_colliding_keys_reachable),
        cmocka_unit_test(agrees_with_an_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

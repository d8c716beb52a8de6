/* Seeded numbers repeat exactly, match the published generator, and are uniform. */
#include "unit/unit.h"

#include "base/random.h"

#include <string.h>

static void matches_the_published_generator(void **state)
{
    (void)state;
    /* First outputs of xoshiro256** from the state {1, 2, 3, 4}, worked out from its definition. */
    struct random random = {.state = {1, 2, 3, 4}};
    assert_int_equal(random_next(&random), 11520);
    assert_int_equal(random_next(&random), 0);
    assert_int_equal(random_next(&random), 1509978240);
    assert_int_equal(random_next(&random), UINT64_C(1215971899390074240));
}

static void same_seed_same_numbers(void **state)
{
    (void)state;
    struct random first, second, other;
    int equal = 0;
    random_seed(&first, 42);
    random_seed(&second, 42);
    random_seed(&other, 43);
    for (int i = 0; i < 1000; i++) {
        uint64_t value = random_next(&first);
        assert_int_equal(value, random_next(&second));
        equal += value == random_next(&other);
    }
    assert_int_equal(equal, 0);
}

static void seed_zero_is_usable(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 0);
    uint64_t bits = 0;
    for (int i = 0; i < 16; i++)
        bits |= random_next(&random);
    assert_true(__builtin_popcountll(bits) > 48);
}

static void below_is_bounded_and_uniform(void **state)
{
    (void)state;
    struct random random;
    unsigned counts[10] = {0};
    random_seed(&random, 1);
    for (int i = 0; i < 100000; i++) {
        uint64_t value = random_below(&random, 10);
        assert_true(value < 10);
        counts[value]++;
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(counts[i], 9500, 10500); /* 5 sigma are 475 */
    assert_int_equal(random_below(&random, 1), 0);
}

static void below_is_unbiased_for_huge_bounds(void **state)
{
    (void)state;
    /* With a bound of 3/4 * 2^64, plain multiplication or modulo would hit one third of the values twice as
     * often. */
    const uint64_t bound = UINT64_C(3) << 62;
    struct random random;
    unsigned low = 0;
    random_seed(&random, 2);
    for (int i = 0; i < 30000; i++) {
        uint64_t value = random_below(&random, bound);
        assert_true(value < bound);
        low += value % 3 == 0;
    }
    assert_in_range(low, 9500, 10500);
}

static void secure_bytes_differ_and_stay_inside(void **state)
{
    (void)state;
    uint8_t first[66], second[66];
    memset(first, 0x5a, sizeof first);
    memset(second, 0x5a, sizeof second);
    random_secure(first + 1, 64);
    random_secure(second + 1, 64);
    assert_memory_not_equal(first + 1, second + 1, 64);
    assert_int_equal(first[0], 0x5a);
    assert_int_equal(first[65], 0x5a);
    random_secure(first, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_the_published_generator),
        cmocka_unit_test(same_seed_same_numbers),
        cmocka_unit_test(seed_zero_is_usable),
        cmocka_unit_test(below_is_bounded_and_uniform),
        cmocka_unit_test(below_is_unbiased_for_huge_bounds),
        cmocka_unit_test(secure_bytes_differ_and_stay_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

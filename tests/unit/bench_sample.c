/* Medians and their intervals. */
#include "unit/unit.h"

#include "base/random.h"
#include "bench/sample.h"

static void empty_sample_is_zero(void **state)
{
    (void)state;
    struct sample sample = {0};
    double low = 1, high = 1;
    assert_true(sample_median(&sample) == 0.0);
    assert_true(sample_minimum(&sample) == 0.0 && sample_maximum(&sample) == 0.0);
    sample_interval(&sample, &low, &high);
    assert_true(low == 0.0 && high == 0.0);
}

static void median_of_odd_and_even(void **state)
{
    (void)state;
    struct sample sample = {0};
    sample_add(&sample, 9.0);
    assert_true(sample_median(&sample) == 9.0);
    sample_add(&sample, 1.0);
    assert_true(sample_median(&sample) == 5.0);
    sample_add(&sample, 100.0);
    assert_true(sample_median(&sample) == 9.0);
    assert_true(sample_minimum(&sample) == 1.0 && sample_maximum(&sample) == 100.0);
    assert_true(sample.values[0] == 9.0); /* in the order of the repeats */
    for (int i = 0; i < 1000; i++)
        sample_add(&sample, 3.0);
    assert_int_equal(sample.count, SAMPLE_MAX);
}

static void interval_covers_the_median(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 2);
    unsigned covered = 0;
    for (int trial = 0; trial < 200; trial++) {
        struct sample sample = {0};
        double low, high;
        for (int i = 0; i < 15; i++)
            sample_add(&sample, (double)random_below(&random, 1001)); /* true median 500 */
        sample_interval(&sample, &low, &high);
        assert_true(low <= sample_median(&sample) && sample_median(&sample) <= high);
        assert_true(low >= sample_minimum(&sample) && high <= sample_maximum(&sample));
        covered += low <= 500.0 && 500.0 <= high;
    }
    assert_in_range(covered, 175, 200); /* 95 % of 200 is 190 */
}

static void interval_of_equal_values_is_a_point(void **state)
{
    (void)state;
    struct sample sample = {0};
    double low, high;
    for (int i = 0; i < 5; i++)
        sample_add(&sample, 7.0);
    sample_interval(&sample, &low, &high);
    assert_true(low == 7.0 && high == 7.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_sample_is_zero),
        cmocka_unit_test(median_of_odd_and_even),
        cmocka_unit_test(interval_covers_the_median),
        cmocka_unit_test(interval_of_equal_values_is_a_point),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

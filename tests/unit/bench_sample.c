/* Medians and their intervals. */
#include "unit/unit.h"

#include <math.h>

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

static struct sample sample_of(const double *values, uint32_t count)
{
    struct sample sample = {0};
    for (uint32_t i = 0; i < count; i++)
        sample_add(&sample, values[i]);
    return sample;
}

/* Survival times of treated and untreated mice: Efron and Tibshirani, An Introduction to the Bootstrap
 * (1993), table 2.1; medians 94 and 46 there. Of seven values the bootstrap median is the least with
 * probability 0.010 and one of the two least with 0.108 (binomial), so the 2.5 % quantile is the second, and
 * so at the other end. */
static const double treated[] = {94, 197, 16, 38, 99, 141, 23};
static const double untreated[] = {52, 104, 146, 10, 51, 30, 40, 27, 46};

static void known_samples_have_their_medians_and_intervals(void **state)
{
    (void)state;
    double low, high;
    struct sample mice = sample_of(treated, 7), others = sample_of(untreated, 9);
    assert_true(sample_median(&mice) == 94.0 && sample_median(&others) == 46.0);
    sample_interval(&mice, &low, &high);
    assert_true(low == 23.0 && high == 141.0);
    /* Of three values the median is the least in 7 of 27 resamples: the interval is all there is. */
    struct sample three = sample_of((double[]){5, 9, 6}, 3);
    sample_interval(&three, &low, &high);
    assert_true(low == 5.0 && high == 9.0);
}

static void intervals_of_ratios(void **state)
{
    (void)state;
    double low, high;
    struct sample three = sample_of((double[]){2, 4, 3}, 3), one = sample_of((double[]){2}, 1);
    sample_ratio_interval(&three, &one, &low, &high); /* the interval of the median, halved */
    assert_true(low == 1.0 && high == 2.0);
    sample_ratio_interval(&one, &three, &low, &high);
    assert_true(low == 0.5 && high == 1.0);
    /* Of two samples of three the extremes together come in 49 of 729 resamples: more than 2.5 %. */
    sample_ratio_interval(&three, &three, &low, &high);
    assert_true(low == 0.5 && high == 2.0);
    struct sample none = {0}, zero = sample_of((double[]){0, 1}, 2);
    sample_ratio_interval(&three, &none, &low, &high);
    assert_true(low == 0.0 && high == 0.0);
    sample_ratio_interval(&three, &zero, &low, &high);
    assert_true(low == 0.0 && high == 0.0);
}

static void effect_sizes_counted_by_hand(void **state)
{
    (void)state;
    struct sample mice = sample_of(treated, 7), others = sample_of(untreated, 9), none = {0};
    struct sample low = sample_of((double[]){1, 2, 3}, 3), high = sample_of((double[]){2, 3, 4}, 3);
    assert_true(fabs(sample_delta(&low, &high) - -5.0 / 9.0) < 1e-12);
    assert_true(fabs(sample_delta(&mice, &others) - 9.0 / 63.0) < 1e-12);
    assert_true(fabs(sample_delta(&others, &mice) - -9.0 / 63.0) < 1e-12);
    assert_true(sample_delta(&low, &low) == 0.0);
    assert_true(sample_delta(&low, &none) == 0.0);
    struct sample far = sample_of((double[]){10, 20}, 2);
    assert_true(sample_delta(&far, &low) == 1.0 && sample_delta(&low, &far) == -1.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_sample_is_zero),
        cmocka_unit_test(median_of_odd_and_even),
        cmocka_unit_test(interval_covers_the_median),
        cmocka_unit_test(known_samples_have_their_medians_and_intervals),
        cmocka_unit_test(intervals_of_ratios),
        cmocka_unit_test(effect_sizes_counted_by_hand),
        cmocka_unit_test(interval_of_equal_values_is_a_point),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

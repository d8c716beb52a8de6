/* The histogram's quantiles agree with a sorted array within 1 %, and merging is the same as recording in
 * one. */
#include "unit/unit.h"

#include <math.h>
#include <stdlib.h>

#include "base/random.h"
#include "metrics/histogram.h"

enum { VALUES = 50000 };

static uint64_t values[VALUES];
static struct histogram one, two;

static int by_value(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

static void empty_histogram_tells_zero(void **state)
{
    (void)state;
    histogram_init(&one);
    assert_int_equal(histogram_quantile(&one, 0.5), 0);
    assert_true(histogram_mean(&one) == 0.0);
}

static void buckets_are_narrow_and_ascending(void **state)
{
    (void)state;
    uint32_t last = 0;
    for (uint64_t value = 0; value <= HISTOGRAM_VALUE_MAX; value += value / 500 + 1) {
        uint32_t bucket = histogram_bucket(value);
        assert_true(bucket < HISTOGRAM_BUCKETS);
        assert_true(bucket == last || bucket == last + 1);
        last = bucket;
        histogram_init(&one);
        histogram_record(&one, 0);
        histogram_record(&one, value);
        histogram_record(&one, HISTOGRAM_VALUE_MAX);
        double told = (double)histogram_quantile(&one, 0.5);
        assert_true(fabs(told - (double)value) <= (double)value * 0.01);
    }
    assert_int_equal(histogram_bucket(HISTOGRAM_VALUE_MAX), HISTOGRAM_BUCKETS - 1);
    assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

static void quantiles_agree_with_a_sorted_array(void **state)
{
    (void)state;
    static const double quantiles[] = {0.0001, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0};
    struct random random;
    random_seed(&random, 3);
    for (unsigned spread = 4; spread < 42; spread += 5) {
        histogram_init(&one);
        histogram_init(&two);
        uint64_t sum = 0;
        for (size_t i = 0; i < VALUES; i++) {
            values[i] = random_next(&random) >> (64 - spread + random_below(&random, spread));
            sum += values[i];
            histogram_record(i % 3 == 0 ? &one : &two, values[i]);
        }
        histogram_merge(&one, &two);
        qsort(values, VALUES, sizeof(values[0]), by_value);
        assert_int_equal(one.count, VALUES);
        assert_int_equal(one.sum, sum);
        assert_int_equal(one.minimum, values[0]);
        assert_int_equal(one.maximum, values[VALUES - 1]);
        for (size_t q = 0; q < sizeof(quantiles) / sizeof(quantiles[0]); q++) {
            double exact = (double)values[(size_t)ceil(quantiles[q] * VALUES) - 1];
            double told = (double)histogram_quantile(&one, quantiles[q]);
            assert_true(fabs(told - exact) <= exact * 0.01);
        }
    }
}

static void bounds_are_of_what_is_recorded_there(void **state)
{
    (void)state;
    uint64_t low, high, next = 0;
    for (uint32_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        histogram_bounds(bucket, &low, &high);
        assert_int_equal(low, next);
        assert_int_equal(histogram_bucket(low), bucket);
        assert_int_equal(histogram_bucket(high), bucket);
        next = high + 1;
    }
    assert_int_equal(high, HISTOGRAM_VALUE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_histogram_tells_zero),
        cmocka_unit_test(buckets_are_narrow_and_ascending),
        cmocka_unit_test(bounds_are_of_what_is_recorded_there),
        cmocka_unit_test(quantiles_agree_with_a_sorted_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

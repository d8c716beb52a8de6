/* Clock offsets: whatever the network and the clocks do, the truth lies within the bound that is told. */
#include "unit/unit.h"

#include "base/random.h"
#include "metrics/offset.h"

#define SECOND UINT64_C(1000000000)

static int64_t estimate;
static uint64_t error;

static void nothing_is_known_of_nothing(void **state)
{
    (void)state;
    struct clock_offset offset = {0};
    assert_false(clock_offset_estimate(&offset, 5, &estimate, &error));
    clock_offset_pair(&offset, 100, 50, 40, 200); /* answered before it arrived */
    clock_offset_pair(&offset, 100, 50, 60, 90);
    clock_offset_pair(&offset, 100, 50, 500, 110); /* took longer there than here */
    assert_false(clock_offset_estimate(&offset, 5, &estimate, &error));
}

static void one_pair_bounds_it_by_half_its_round_trip(void **state)
{
    (void)state;
    struct clock_offset offset = {0};
    clock_offset_pair(&offset, 1000, 501000, 501400, 2000);
    assert_true(clock_offset_estimate(&offset, 2000, &estimate, &error));
    assert_int_equal(estimate, -499700);
    assert_int_equal(error, 301);
    clock_offset_estimate(&offset, 2000 + 10 * SECOND, &estimate, &error);
    assert_int_equal(error, 300 + 2000001); /* it is not known any better later */
}

/* Requests over a network of 5 to 200 us a way, with a clock there that runs `ppm` off. */
static void run(int64_t begin, int64_t ppm, uint64_t seconds, uint64_t seed)
{
    struct random random;
    random_seed(&random, seed);
    struct clock_offset offset = {0};
    uint64_t width = UINT64_MAX;
    for (uint64_t now = 3600 * SECOND; now < (3600 + seconds) * SECOND; now += SECOND / 50) {
        uint64_t there = 5000 + random_below(&random, 195000), back = 5000 + random_below(&random, 195000);
        uint64_t took = random_below(&random, 50000);
        int64_t truth = begin - (int64_t)(now - 3600 * SECOND) / 1000000 * ppm;
        uint64_t arrived = now + there - (uint64_t)truth;
        clock_offset_pair(&offset, now, arrived, arrived + took, now + there + took + back);
        assert_true(clock_offset_estimate(&offset, now + there + took + back, &estimate, &error));
        int64_t wrong = estimate - truth;
        assert_true((uint64_t)(wrong < 0 ? -wrong : wrong) <= error);
        if (error < width)
            width = error;
    }
    assert_int_equal(offset.contradictions, 0);
    assert_true(width < 30000); /* far better than the mean round trip */
}

static void the_truth_lies_within_the_bound(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 10; seed++) {
        run(0, 0, 20, seed);
        run(-123456789012, 0, 20, seed);
        run((int64_t)(86400 * SECOND), 0, 20, seed);
    }
}

static void a_drift_moves_it_along(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 10; seed++) {
        run(5000, 100, 60, seed);
        run(5000, -150, 60, seed);
    }
}

static void a_clock_that_is_set_is_noticed(void **state)
{
    (void)state;
    struct clock_offset offset = {0};
    for (uint64_t i = 0; i < 10; i++)
        clock_offset_pair(&offset, 1000 * i, 5000 + 1000 * i, 5000 + 1000 * i, 1000 * i + 100);
    assert_int_equal(offset.contradictions, 0);
    clock_offset_pair(&offset, 20000, 900000, 900010, 20100);
    assert_int_equal(offset.contradictions, 1);
    clock_offset_estimate(&offset, 20100, &estimate, &error);
    assert_int_equal(estimate, -879955);
    assert_int_equal(error, 46);
    assert_int_equal(offset.pairs, 11);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_known_of_nothing),
        cmocka_unit_test(one_pair_bounds_it_by_half_its_round_trip),
        cmocka_unit_test(the_truth_lies_within_the_bound),
        cmocka_unit_test(a_drift_moves_it_along),
        cmocka_unit_test(a_clock_that_is_set_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

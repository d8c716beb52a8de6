/* The calibrated clock follows CLOCK_MONOTONIC and never runs backwards. */
#include "unit/unit.h"

#include "base/clock.h"

#include <stdlib.h>
#include <time.h>

static uint64_t reference(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NSEC_PER_SEC + (uint64_t)now.tv_nsec;
}

/* clock_now must lie between two readings of the reference, give or take what calibration may be off. */
static void assert_agrees(uint64_t tolerance)
{
    uint64_t before = reference();
    uint64_t now = clock_now();
    uint64_t after = reference();
    assert_true(now + tolerance >= before);
    assert_true(now <= after + tolerance);
}

static void works_before_and_after_calibration(void **state)
{
    (void)state;
    assert_agrees(0);
    clock_prepare();
    clock_prepare();
    assert_agrees(100 * NSEC_PER_USEC);
}

static void rate_is_right(void **state)
{
    (void)state;
    struct timespec pause = {.tv_nsec = 200000000};
    clock_prepare();
    nanosleep(&pause, NULL);
    assert_agrees(NSEC_PER_MSEC); /* 5,000 ppm of the pause: wrong scaling is off by far more */
}

static void never_runs_backwards(void **state)
{
    (void)state;
    clock_prepare();
    uint64_t last = clock_now();
    for (int i = 0; i < 1000000; i++) {
        uint64_t now = clock_now();
        assert_true(now >= last);
        last = now;
    }
}

static void realtime_is_now(void **state)
{
    (void)state;
    int64_t difference = clock_realtime() / (int64_t)NSEC_PER_SEC - (int64_t)time(NULL);
    assert_in_range(llabs(difference), 0, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(works_before_and_after_calibration),
        cmocka_unit_test(rate_is_right),
        cmocka_unit_test(never_runs_backwards),
        cmocka_unit_test(realtime_is_now),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

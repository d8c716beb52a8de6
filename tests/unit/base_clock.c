/* The calibrated clock follows CLOCK_MONOTONIC and never runs backwards. */
#include "unit/unit.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

/* The linker puts it in the place of clock_gettime, so that the system's clock can be made to run at another
 * rate, which only clock_follow finds out. */
static _Atomic uint64_t faster_since;
#define FASTER_BY 1000 /* a thousandth */

int __real_clock_gettime(clockid_t id, struct timespec *now);
int __wrap_clock_gettime(clockid_t id, struct timespec *now);

int __wrap_clock_gettime(clockid_t id, struct timespec *now)
{
    uint64_t since = atomic_load_explicit(&faster_since, memory_order_relaxed);
    int status = __real_clock_gettime(id, now);
    if (id != CLOCK_MONOTONIC || since == 0)
        return status;
    uint64_t ns = (uint64_t)now->tv_sec * NSEC_PER_SEC + (uint64_t)now->tv_nsec;
    ns += (ns - since) / FASTER_BY;
    now->tv_sec = (time_t)(ns / NSEC_PER_SEC);
    now->tv_nsec = (long)(ns % NSEC_PER_SEC);
    return status;
}

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

enum { COMPARISONS_MIN = 100, COMPARISONS_MAX = 1000000 };

static int compare_ratios(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* The rate is found out anew each time that twice as much has passed, and what was lost is made good, so the
 * clock is off by a part only of what it would have lost. */
static void follows(void **state)
{
    (void)state;
    double *lost = malloc(COMPARISONS_MAX * sizeof *lost);
    size_t compared = 0;
    assert_non_null(lost);
    clock_prepare();
    uint64_t begin = reference(), last = clock_now(), elapsed = 0;
    atomic_store(&faster_since, begin);
    while (elapsed < 300 * NSEC_PER_MSEC || (compared < COMPARISONS_MIN && elapsed < 20 * NSEC_PER_SEC)) {
        for (int i = 0; i < 1000; i++) {
            uint64_t now = clock_now();
            assert_true(now >= last);
            last = now;
        }
        clock_follow(last);
        uint64_t before = reference(), now = clock_now(), after = reference();
        elapsed = after - begin;
        bool interrupted = after - before > 2 * NSEC_PER_USEC;
        if (elapsed >= 50 * NSEC_PER_MSEC && !interrupted && compared < COMPARISONS_MAX) {
            double off = now < before ? (double)(before - now) : now > after ? (double)(now - after) : 0;
            lost[compared++] = off / ((double)elapsed / FASTER_BY);
        }
    }
    assert_true(compared >= COMPARISONS_MIN);
    qsort(lost, compared, sizeof *lost, compare_ratios);
    assert_true(lost[compared / 2] < 0.3);
    free(lost);
}

static atomic_bool following;

static void *follow_always(void *argument)
{
    (void)argument;
    for (uint64_t now = clock_now(); atomic_load(&following); now += 2 * NSEC_PER_SEC)
        clock_follow(now); /* always due */
    return NULL;
}

static void another_thread_may_follow(void **state)
{
    (void)state;
    pthread_t thread;
    clock_prepare();
    atomic_store(&following, true);
    assert_int_equal(pthread_create(&thread, NULL, follow_always, NULL), 0);
    uint64_t last = clock_now();
    for (int i = 0; i < 10000000; i++) {
        uint64_t now = clock_now();
        assert_true(now >= last);
        last = now;
    }
    atomic_store(&following, false);
    pthread_join(thread, NULL);
    assert_agrees(100 * NSEC_PER_USEC);
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
        cmocka_unit_test(follows), /* early: the clock is compared ever more rarely */
        cmocka_unit_test(rate_is_right),
        cmocka_unit_test(never_runs_backwards),
        cmocka_unit_test(another_thread_may_follow), /* the last: the clock is not due for an age after it */
        cmocka_unit_test(realtime_is_now),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

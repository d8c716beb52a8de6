/* The timer heap agrees with a plain array searched for its minimum, under random sets, moves and clears. */
#include "unit/unit.h"

#include "base/random.h"
#include "runtime/timer.h"

#include <stdbool.h>

enum { TIMERS = 300, STEPS = 30000 };

static struct timer_heap heap;
static struct timer timers[TIMERS];
static uint64_t orders[TIMERS]; /* when set, counting sets; 0: not set */
static uint64_t order;
static uint64_t now;
static int fired;

static int expected_first(void)
{
    int first = -1;
    for (int i = 0; i < TIMERS; i++) {
        if (orders[i] == 0)
            continue;
        if (first < 0 || timers[i].deadline < timers[first].deadline ||
            (timers[i].deadline == timers[first].deadline && orders[i] < orders[first]))
            first = i;
    }
    return first;
}

static void fire(struct timer *timer)
{
    int expected = expected_first();
    assert_ptr_equal(timer, &timers[expected]);
    assert_true(timer->deadline <= now);
    assert_int_equal(timer->sequence, 0);
    orders[expected] = 0;
    fired++;
}

static void random_operations_agree(void **state)
{
    (void)state;
    int reported;
    struct random random;
    random_seed(&random, 1);
    for (int i = 0; i < TIMERS; i++)
        timers[i].fire = fire;
    for (int step = 0; step < STEPS; step++) {
        uint64_t chosen = random_below(&random, TIMERS);
        switch (random_below(&random, 8)) {
        default:
            orders[chosen] = ++order;
            timer_heap_set(&heap, &timers[chosen], now + random_below(&random, 50));
            break;
        case 5:
        case 6:
            timer_heap_clear(&heap, &timers[chosen]);
            orders[chosen] = 0;
            break;
        case 7:
            now += random_below(&random, 4);
            fired = 0;
            reported = timer_heap_fire(&heap, now);
            assert_int_equal(reported, fired);
            break;
        }
        int first = expected_first();
        assert_ptr_equal(heap.first, first < 0 ? NULL : &timers[first]);
    }
    now += 100;
    timer_heap_fire(&heap, now);
    assert_int_equal(expected_first(), -1);
    assert_null(heap.first);
}

static int repeats;

static void fire_again(struct timer *timer)
{
    repeats++;
    timer_heap_set(&heap, timer, 0);
}

static void a_timer_set_by_its_own_callback_fires_next_time(void **state)
{
    (void)state;
    struct timer timer = {.fire = fire_again};
    timer_heap_set(&heap, &timer, 5);
    assert_int_equal(timer_heap_fire(&heap, 10), 1);
    assert_int_equal(timer_heap_fire(&heap, 10), 1);
    assert_int_equal(repeats, 2);
    timer_heap_clear(&heap, &timer);
    timer_heap_clear(&heap, &timer);
    assert_int_equal(timer_heap_fire(&heap, 10), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_operations_agree),
        cmocka_unit_test(a_timer_set_by_its_own_callback_fires_next_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

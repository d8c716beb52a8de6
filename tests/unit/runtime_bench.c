/* The runtime's measurements return plausible figures and leave nothing behind. */
#include "unit/unit.h"

#include "runtime/bench.h"

static void figures_are_plausible(void **state)
{
    (void)state;
    double at_once = 0;
    double yielding = 0;
    assert_int_equal(runtime_bench_spawn(20000, &at_once), 0);
    assert_int_equal(runtime_bench_spawn_yield(20000, &yielding), 0);
    print_message("# spawn and finish %.1f ns, with one suspension %.1f ns\n", at_once, yielding);
    /* Sanitizers slow this down by two orders of magnitude; the target itself is checked by `benchfs bench
     * targets`. */
    assert_true(at_once > 1 && at_once < 100000);
    assert_true(yielding > at_once && yielding < 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(figures_are_plausible)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

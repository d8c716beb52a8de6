/* Moving to another processor leaves the thread's affinity as it was, and respects it. */
#include "unit/unit.h"

#include <sched.h>

#include "runtime/processor.h"

static void stays_where_it_must(void **state)
{
    (void)state;
    cpu_set_t before, one, after;
    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    int here = sched_getcpu();
    assert_true(here >= 0);
    CPU_ZERO(&one);
    CPU_SET((size_t)here, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    assert_int_equal(processor_move(), 0);
    assert_int_equal(sched_getaffinity(0, sizeof(after), &after), 0);
    assert_true(CPU_EQUAL(&after, &one));
    assert_int_equal(sched_getcpu(), here);
    assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
}

static void goes_to_another(void **state)
{
    (void)state;
    cpu_set_t before, after;
    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    if (CPU_COUNT(&before) < 2)
        skip();
    int moved = 0;
    for (int i = 0; i < 1000 && !moved; i++) /* on a busy machine there is nowhere to go */
        moved = processor_move();
    assert_true(moved == 0 || moved == 1);
    assert_int_equal(sched_getaffinity(0, sizeof(after), &after), 0);
    assert_true(CPU_EQUAL(&after, &before));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(stays_where_it_must),
                                       cmocka_unit_test(goes_to_another)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

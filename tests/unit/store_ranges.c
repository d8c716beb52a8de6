/* Range sets against a plain bitmap. */
#include "unit/unit.h"

#include <stdbool.h>
#include <string.h>

#include "base/random.h"
#include "store/ranges.h"

#define SPAN 200u

static void compare(const struct ranges *ranges, const bool *model)
{
    bool seen[SPAN] = {0};
    struct range part;
    for (uint32_t at = 0; ranges_first(ranges, at, SPAN, &part); at = part.end) {
        assert_true(part.start >= at && part.start < part.end && part.end <= SPAN);
        for (uint32_t i = part.start; i < part.end; i++)
            seen[i] = true;
    }
    assert_memory_equal(seen, model, sizeof(seen));
}

static void random_sets(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 7);
    struct ranges ranges = {0};
    bool model[SPAN] = {0};
    for (int step = 0; step < 20000; step++) {
        uint32_t start = (uint32_t)random_below(&random, SPAN);
        uint32_t end = start + (uint32_t)random_below(&random, SPAN - start + 1);
        bool add = random_below(&random, 2) == 0;
        uint32_t before = ranges.count;
        assert_int_equal(ranges_reserve(&ranges, ranges.count + 1), 0);
        if (add)
            ranges_add(&ranges, start, end);
        else
            ranges_subtract(&ranges, start, end);
        assert_true(ranges.count <= before + 1);
        memset(model + start, add, end - start);
        compare(&ranges, model);
        struct range part;
        int found = ranges_first(&ranges, start, end, &part);
        assert_int_equal(found, add && end > start);
    }
    ranges_free(&ranges);
}

static void neighbours_merge(void **state)
{
    (void)state;
    struct ranges ranges = {0};
    assert_int_equal(ranges_reserve(&ranges, 3), 0);
    ranges_add(&ranges, 0, 10);
    ranges_add(&ranges, 20, 30);
    ranges_add(&ranges, 10, 20);
    assert_int_equal(ranges.count, 1);
    ranges_subtract(&ranges, 5, 6);
    assert_int_equal(ranges.count, 2);
    ranges_free(&ranges);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_sets),
        cmocka_unit_test(neighbours_merge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

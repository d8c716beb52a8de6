/* The page allocator: runs never overlap, everything comes back in one piece, growth in place. */
#include "unit/unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "store/pages.h"

#define COUNT 40000u

static void runs_are_exact(void **state)
{
    (void)state;
    struct pages *pages = NULL;
    assert_int_equal(pages_create(100, &pages), 0);
    assert_int_equal(pages_available(pages), 100);
    uint32_t first = pages_take(pages, 33);
    assert_int_not_equal(first, PAGES_NONE);
    assert_int_equal(pages_available(pages), 67);
    assert_int_equal(pages_take(pages, 65), PAGES_NONE);
    uint32_t rest = 0;
    uint32_t taken;
    while (pages_take_some(pages, 1000, &taken) != PAGES_NONE)
        rest += taken;
    assert_int_equal(rest, 67);
    pages_give(pages, 0, 100);
    assert_int_equal(pages_take(pages, 64), 0);
    pages_destroy(pages);
}

static void grows_in_place(void **state)
{
    (void)state;
    struct pages *pages = NULL;
    assert_int_equal(pages_create(1024, &pages), 0);
    assert_int_equal(pages_take(pages, 5), 0);
    assert_int_equal(pages_take_at(pages, 5, 700), 700);
    assert_int_equal(pages_take_at(pages, 705, 700), 319);
    assert_int_equal(pages_available(pages), 0);
    pages_give(pages, 10, 20);
    assert_int_equal(pages_take_at(pages, 10, 30), 20);
    assert_int_equal(pages_take_at(pages, 1024, 30), 0);
    pages_destroy(pages);
}

struct run {
    uint32_t first;
    uint32_t count;
};

/* Against an array of owners. */
static void random_runs(void **state)
{
    (void)state;
    struct pages *pages = NULL;
    assert_int_equal(pages_create(COUNT, &pages), 0);
    uint8_t *owned = calloc(COUNT, 1);
    struct run runs[300] = {0};
    uint64_t free_pages = COUNT;
    struct random random;
    random_seed(&random, 42);
    for (int step = 0; step < 40000; step++) {
        struct run *run = &runs[random_below(&random, 300)];
        uint32_t wanted = 1 + (uint32_t)random_below(&random, random_below(&random, 20) == 0 ? 5000 : 60);
        struct run got = {0};
        if (run->count == 0) {
            got.first = pages_take(pages, wanted);
            got.count = got.first == PAGES_NONE ? 0 : wanted;
            if (got.count == 0)
                got.first = pages_take_some(pages, wanted, &got.count);
            *run = got.first == PAGES_NONE ? (struct run){0} : got;
        } else if (random_below(&random, 3) == 0) {
            got =
                (struct run){run->first + run->count, pages_take_at(pages, run->first + run->count, wanted)};
            run->count += got.count;
        } else {
            uint32_t part = 1 + (uint32_t)random_below(&random, run->count);
            run->count -= part;
            memset(owned + run->first + run->count, 0, part);
            pages_give(pages, run->first + run->count, part);
            free_pages += part;
        }
        for (uint32_t i = 0; i < got.count && got.first != PAGES_NONE; i++) {
            assert_true(got.first + i < COUNT);
            assert_int_equal(owned[got.first + i], 0);
            owned[got.first + i] = 1;
            free_pages--;
        }
        assert_int_equal(pages_available(pages), free_pages);
    }
    for (int i = 0; i < 300; i++)
        pages_give(pages, runs[i].first, runs[i].count);
    assert_int_equal(pages_available(pages), COUNT);
    assert_int_equal(pages_take(pages, PAGES_RUN_MAX) % PAGES_RUN_MAX, 0);
    assert_int_not_equal(pages_take(pages, PAGES_RUN_MAX), PAGES_NONE);
    assert_int_equal(pages_take(pages, PAGES_RUN_MAX / 2), PAGES_NONE);
    free(owned);
    pages_destroy(pages);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_are_exact),
        cmocka_unit_test(grows_in_place),
        cmocka_unit_test(random_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

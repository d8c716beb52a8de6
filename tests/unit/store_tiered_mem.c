/* The engine tiered, with mem over mem: nothing lasts, and nothing suspends. */
#include "unit/store_model.h"

static const struct store_options conformance_options = {.engine = "tiered",
                                                         .fast = "mem",
                                                         .slow = "mem",
                                                         .fast_capacity = 3 * CONFORMANCE_CHUNK,
                                                         .capacity = CONFORMANCE_CAPACITY};

static void random_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct store_options options = conformance_options;
        options.capacity = 300u << 10;
        struct store *store = conformance_open_with(&options);
        model_run(store, seed, 6000);
        conformance_close(store);
    }
}

static void nothing_lasts(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    assert_false(store->operations->persistent);
    assert_null(store->operations->flush);
    conformance_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_CONFORMANCE_CASES,
        STORE_CONFORMANCE_BYTES_CASES,
        cmocka_unit_test(random_model),
        cmocka_unit_test(nothing_lasts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

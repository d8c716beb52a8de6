/* The file engine: conformance and the random model, on a simulated device and in a real directory. */
#define STORE_CONFORMANCE_PERSISTENT
#include "unit/store_model.h"

static const struct store_options conformance_options = {
    .engine = "file", .capacity = CONFORMANCE_CAPACITY, .checksum = true, .buffer = 8u << 20};

static void random_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct store_options options = conformance_options;
        options.capacity = 300u << 10;
        struct store *store = conformance_open_with(&options);
        model_run(store, seed, 3000);
        conformance_close(store);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_CONFORMANCE_CASES,
        STORE_CONFORMANCE_BYTES_CASES,
        STORE_CONFORMANCE_PERSISTENT_CASES,
        cmocka_unit_test(random_model),
    };
    return conformance_run_twice(tests, sizeof(tests) / sizeof(tests[0]));
}

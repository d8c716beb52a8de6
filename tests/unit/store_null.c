/* The null engine: conformance of lengths, and the pattern that reads return. */
#include "unit/store_conformance.h"

static const struct store_options conformance_options = {.engine = "null", .capacity = CONFORMANCE_CAPACITY};

static void reads_return_the_pattern(void **state)
{
    (void)state;
    const uint32_t chunk = 64u << 20;
    struct store *store = conformance_open();
    struct store_io io = conformance_io(1, 0, 0, chunk);
    assert_int_equal(store->operations->write_begin(store, &io, chunk), 0);
    assert_int_equal(store->operations->write_commit(store, &io), 0);
    io = conformance_io(1, 0, 1, chunk);
    assert_int_equal(store->operations->read_begin(store, &io), 0);
    assert_int_equal(io.length, chunk - 1);
    assert_true(io.count <= STORE_VECTOR_MAX);
    uint32_t start = io.offset;
    for (uint32_t i = 0; i < io.count; i++) {
        const uint8_t *bytes = io.vector[i].iov_base;
        for (size_t at = 0; at < io.vector[i].iov_len; at += 4099) {
            uint64_t position = start + at;
            uint64_t word = position / 8 % (1u << 19);
            assert_int_equal(bytes[at], (word >> 8 * (position % 8)) & 0xff);
        }
        start += (uint32_t)io.vector[i].iov_len;
    }
    assert_int_equal(start, chunk);
    store->operations->read_end(store, &io);
    conformance_close(store);
}

static void capacity_is_not_enforced(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    for (uint64_t i = 0; i < 1000; i++)
        assert_int_equal(conformance_write(store, i, 0, 0, CONFORMANCE_CHUNK, 1), 0);
    struct store_statistics statistics;
    store->operations->statistics(store, &statistics);
    assert_int_equal(statistics.used, 1000 * CONFORMANCE_CHUNK);
    conformance_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_CONFORMANCE_CASES,
        cmocka_unit_test(reads_return_the_pattern),
        cmocka_unit_test(capacity_is_not_enforced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

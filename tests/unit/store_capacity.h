/* Cases for engines whose capacity is a bound on blocks that is kept to the last one. Included after
 * store_conformance.h. */
#pragma once

/* What a write in flight covers is cleared: the room stays the write's, and nobody else's. */
static void room_of_a_write_that_was_cleared(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    const struct store_operations *call = store->operations;
    uint64_t chunks = CONFORMANCE_CAPACITY / CONFORMANCE_CHUNK;
    for (uint64_t index = 0; index < chunks; index++)
        assert_int_equal(conformance_write(store, 1, index, 0, CONFORMANCE_CHUNK, 1), 0);
    struct store_io first = conformance_io(1, 0, 0, CONFORMANCE_CHUNK), second = first;
    assert_int_equal(call->write_begin(store, &first, CONFORMANCE_CHUNK), 0);
    assert_int_equal(call->write_begin(store, &second, CONFORMANCE_CHUNK), 0);
    conformance_clear(store, 1, 0, CONFORMANCE_CHUNK);
    assert_int_equal(conformance_write(store, 2, 0, 0, 1, 1), -ENOSPC);
    assert_int_equal(call->write_commit(store, &first), 0);
    call->write_abort(store, &second);
    assert_int_equal(conformance_used(store), CONFORMANCE_CAPACITY);
    assert_int_equal(conformance_write(store, 2, 0, 0, 1, 1), -ENOSPC);
    assert_int_equal(call->remove(store, 1, 0), 0);
    assert_int_equal(conformance_used(store), 0);
    conformance_close(store);
}

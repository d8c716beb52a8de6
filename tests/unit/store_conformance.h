/* What every storage engine must do, as cases over an open store. An engine's own test sets
 * conformance_operations and puts STORE_CONFORMANCE_CASES (and, unless it forgets bytes,
 * STORE_CONFORMANCE_BYTES_CASES) into its list. */
#pragma once

#include "unit/unit.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "store/store.h"

#define CONFORMANCE_CHUNK 65536u
#define CONFORMANCE_CAPACITY (768u << 10)

static const struct store_options conformance_options; /* defined by the including test */

static struct store *conformance_open(void)
{
    struct store *store = NULL;
    assert_int_equal(store_create(&conformance_options, &store), 0);
    return store;
}

/* Copies bytes into the memory of a begun write. */
static inline void conformance_land(const struct store_io *io, const uint8_t *bytes)
{
    uint32_t landed = 0;
    for (uint32_t i = 0; i < io->count; i++) {
        memcpy(io->vector[i].iov_base, bytes + landed, io->vector[i].iov_len);
        landed += (uint32_t)io->vector[i].iov_len;
    }
    assert_int_equal(landed, io->length);
}

static inline void conformance_gather(const struct store_io *io, uint8_t *bytes)
{
    uint32_t taken = 0;
    for (uint32_t i = 0; i < io->count; i++) {
        memcpy(bytes + taken, io->vector[i].iov_base, io->vector[i].iov_len);
        taken += (uint32_t)io->vector[i].iov_len;
    }
    assert_int_equal(taken, io->length);
}

static struct store_io conformance_io(uint64_t inode, uint64_t index, uint32_t offset, uint32_t length)
{
    return (struct store_io){.inode = inode, .index = index, .offset = offset, .length = length};
}

static int conformance_write(struct store *store, uint64_t inode, uint64_t index, uint32_t offset,
                             uint32_t length, uint8_t value)
{
    struct store_io io = conformance_io(inode, index, offset, length);
    int status = store->operations->write_begin(store, &io, CONFORMANCE_CHUNK);
    if (status != 0)
        return status;
    for (uint32_t i = 0; i < io.count; i++)
        memset(io.vector[i].iov_base, value, io.vector[i].iov_len);
    return store->operations->write_commit(store, &io);
}

/* Reads and checks that all bytes have this value; returns how many there were. */
static inline uint32_t conformance_read(struct store *store, uint64_t inode, uint64_t index, uint32_t offset,
                                        uint32_t length, uint8_t value)
{
    struct store_io io = conformance_io(inode, index, offset, length);
    assert_int_equal(store->operations->read_begin(store, &io), 0);
    uint8_t *bytes = malloc(length);
    conformance_gather(&io, bytes);
    for (uint32_t i = 0; i < io.length; i++)
        if (bytes[i] != value)
            fail_msg("byte %u of (%lu, %lu) is %u, not %u", offset + i, (unsigned long)inode,
                     (unsigned long)index, bytes[i], value);
    free(bytes);
    store->operations->read_end(store, &io);
    return io.length;
}

/* ---- lengths ---- */

static void conformance_lengths(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    const struct store_operations *call = store->operations;
    assert_int_equal(call->chunk_length(store, 7, 0), 0);
    assert_int_equal(conformance_write(store, 7, 0, 100, 50, 1), 0);
    assert_int_equal(conformance_write(store, 7, 3, 0, 10, 1), 0);
    assert_int_equal(conformance_write(store, 8, 0, 0, 5, 1), 0);
    assert_int_equal(conformance_write(store, 7, 0, 0, 10, 1), 0);
    assert_int_equal(call->chunk_length(store, 7, 0), 150);
    assert_int_equal(call->chunk_length(store, 7, 1), 0);
    assert_int_equal(call->chunk_length(store, 7, 3), 10);

    struct store_io io = conformance_io(7, 0, 140, 100);
    assert_int_equal(call->read_begin(store, &io), 0);
    assert_int_equal(io.length, 10);
    call->read_end(store, &io);
    io = conformance_io(7, 0, 150, 100);
    assert_int_equal(call->read_begin(store, &io), 0);
    assert_int_equal(io.length, 0);
    io = conformance_io(9, 0, 0, 100);
    assert_int_equal(call->read_begin(store, &io), 0);
    assert_int_equal(io.length, 0);

    assert_int_equal(call->truncate(store, 7, 0, 200), 0);
    assert_int_equal(call->chunk_length(store, 7, 0), 150);
    assert_int_equal(call->truncate(store, 7, 0, 20), 0);
    assert_int_equal(call->chunk_length(store, 7, 0), 20);
    assert_int_equal(call->truncate(store, 7, 0, 0), 0);
    assert_int_equal(call->chunk_length(store, 7, 0), 0);
    assert_int_equal(call->truncate(store, 7, 1, 5), 0);

    struct store_statistics statistics;
    call->statistics(store, &statistics);
    assert_int_equal(statistics.chunks, 2);
    assert_true(statistics.used >= 15);
    assert_int_equal(statistics.capacity, CONFORMANCE_CAPACITY);
    store_destroy(store);
}

static void conformance_bounds(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    struct store_io io = conformance_io(1, 0, CONFORMANCE_CHUNK - 1, 2);
    assert_int_equal(store->operations->write_begin(store, &io, CONFORMANCE_CHUNK), -EINVAL);
    io = conformance_io(1, 0, UINT32_MAX, 2);
    assert_int_equal(store->operations->write_begin(store, &io, CONFORMANCE_CHUNK), -EINVAL);
    assert_int_equal(conformance_write(store, 1, 0, 10, 0, 0), 0);
    assert_int_equal(store->operations->chunk_length(store, 1, 0), 0);
    assert_int_equal(conformance_write(store, 1, 0, CONFORMANCE_CHUNK - 1, 1, 0), 0);
    assert_int_equal(store->operations->chunk_length(store, 1, 0), CONFORMANCE_CHUNK);
    store_destroy(store);
}

static void conformance_abort(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    struct store_io io = conformance_io(1, 0, 0, 5000);
    assert_int_equal(store->operations->write_begin(store, &io, CONFORMANCE_CHUNK), 0);
    assert_int_equal(store->operations->chunk_length(store, 1, 0), 0);
    store->operations->write_abort(store, &io);
    assert_int_equal(store->operations->chunk_length(store, 1, 0), 0);
    struct store_statistics statistics;
    store->operations->statistics(store, &statistics);
    assert_int_equal(statistics.chunks, 0);
    assert_int_equal(statistics.used, 0);
    store_destroy(store);
}

static void conformance_remove(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    for (uint64_t index = 0; index < 10; index++)
        for (uint64_t inode = 1; inode < 4; inode++)
            assert_int_equal(conformance_write(store, inode, index, 0, 100, 1), 0);
    assert_int_equal(store->operations->remove(store, 2, 4), 0);
    assert_int_equal(store->operations->remove(store, 3, 0), 0);
    assert_int_equal(store->operations->remove(store, 99, 0), 0);
    for (uint64_t index = 0; index < 10; index++) {
        assert_int_equal(store->operations->chunk_length(store, 1, index), 100);
        assert_int_equal(store->operations->chunk_length(store, 2, index), index < 4 ? 100 : 0);
        assert_int_equal(store->operations->chunk_length(store, 3, index), 0);
    }
    struct store_statistics statistics;
    store->operations->statistics(store, &statistics);
    assert_int_equal(statistics.chunks, 14);
    store_destroy(store);
}

static void conformance_walk(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    const struct store_operations *call = store->operations;
    struct store_cursor cursor = {0};
    assert_false(call->next(store, &cursor));
    static const uint64_t inodes[] = {7, 300, 2, UINT64_C(1) << 50};
    for (uint64_t i = 0; i < 4; i++)
        for (uint64_t index = 0; index <= 6; index += 3)
            assert_int_equal(conformance_write(store, inodes[i], index, 0, 100, 1), 0);
    struct store_cursor last = {0};
    uint32_t count = 0;
    for (cursor = last; call->next(store, &cursor); last = cursor, count++) {
        assert_true(cursor.inode > last.inode || (cursor.inode == last.inode && cursor.index > last.index));
        assert_int_equal(call->chunk_length(store, cursor.inode, cursor.index), 100);
    }
    assert_int_equal(count, 12);
    /* What a walk stands on may go, and what is behind it, too. */
    cursor = (struct store_cursor){7, 3};
    assert_int_equal(call->remove(store, 7, 0), 0);
    assert_true(call->next(store, &cursor));
    assert_int_equal(cursor.inode, 300);
    assert_int_equal(cursor.index, 0);
    store_destroy(store);
}

/* clang-format off */
#define STORE_CONFORMANCE_CASES                                                                              \
    cmocka_unit_test(conformance_lengths), cmocka_unit_test(conformance_bounds),                             \
    cmocka_unit_test(conformance_abort), cmocka_unit_test(conformance_remove),                               \
    cmocka_unit_test(conformance_walk)
/* clang-format on */

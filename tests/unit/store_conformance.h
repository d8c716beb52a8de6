/* What every storage engine must do, as cases over an open store. An engine's own test defines
 * conformance_options and puts STORE_CONFORMANCE_CASES into its list, and STORE_CONFORMANCE_BYTES_CASES
 * unless the engine forgets bytes.
 *
 * A persistent engine's test defines STORE_CONFORMANCE_PERSISTENT before it includes this, adds
 * STORE_CONFORMANCE_PERSISTENT_CASES, and runs its list by conformance_run_twice (or, in one place only, with
 * conformance_simulated or conformance_real as the group's setup): then conformance_open makes a loop and a
 * disk (a simulated device, or a directory of its own in /tmp), the engine, and a journal that replays into
 * it. One store is open at a time. Calls that suspend drive the loop, for no task runs here. */
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

#ifdef STORE_CONFORMANCE_PERSISTENT
#include "unit/store_persistent.h"
#else

static struct store *conformance_open_with(const struct store_options *options)
{
    struct store *store = NULL;
    assert_int_equal(store_create(options, &store), 0);
    return store;
}

static void conformance_close(struct store *store)
{
    store_destroy(store);
}

#endif

static struct store *conformance_open(void)
{
    return conformance_open_with(&conformance_options);
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

static inline void conformance_lengths(void **state)
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
    conformance_close(store);
}

static inline void conformance_bounds(void **state)
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
    conformance_close(store);
}

static inline void conformance_abort(void **state)
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
    conformance_close(store);
}

static inline void conformance_remove(void **state)
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
    conformance_close(store);
}

/* All chunks, those of an inode in order, while they come and go; and the inodes in the same order each time.
 */
static inline void conformance_walk(void **state)
{
    (void)state;
    static const uint64_t inodes[] = {
        1, 2, 63, 64, 65, 4096, 4097, UINT64_C(3) << 44, (UINT64_C(3) << 44) + 70, UINT64_C(1) << 57};
    static const uint64_t indices[] = {0, 1, 7, UINT64_C(1) << 40};
    const size_t inode_count = sizeof(inodes) / sizeof(inodes[0]);
    const size_t index_count = sizeof(indices) / sizeof(indices[0]);
    struct store *store = conformance_open();
    const struct store_operations *call = store->operations;
    struct store_cursor cursor = {0};
    assert_false(call->next(store, &cursor));
    for (size_t i = inode_count; i-- > 0;)
        for (size_t j = 0; j < index_count; j++)
            assert_int_equal(conformance_write(store, inodes[i], indices[(j + 2) % index_count], 0, 10, 1),
                             0);
    uint64_t order[sizeof(inodes) / sizeof(inodes[0])];
    for (size_t i = 0; i < inode_count; i++)
        for (size_t j = 0; j < index_count; j++) {
            assert_true(call->next(store, &cursor));
            order[i] = j == 0 ? cursor.inode : order[i];
            assert_int_equal(cursor.inode, order[i]);
            assert_int_equal(cursor.index, indices[j]);
        }
    assert_false(call->next(store, &cursor));
    for (size_t i = 0; i < inode_count; i++) {
        size_t times = 0;
        for (size_t k = 0; k < inode_count; k++)
            times += order[k] == inodes[i];
        assert_int_equal(times, 1);
    }

    for (size_t i = 0; i < inode_count; i += 2)
        assert_int_equal(call->remove(store, order[i], i == 0 ? 1 : 0), 0);
    cursor = (struct store_cursor){0};
    assert_true(call->next(store, &cursor));
    assert_int_equal(cursor.inode, order[0]);
    for (size_t i = 1; i < inode_count; i += 2) {
        assert_true(call->next(store, &cursor));
        assert_int_equal(cursor.inode, order[i]);
        assert_int_equal(cursor.index, 0);
        assert_int_equal(call->remove(store, order[i], 0), 0); /* the cursor stands on what is gone */
    }
    assert_false(call->next(store, &cursor));
    conformance_close(store);
}

/* ---- bytes ---- */

static inline void conformance_bytes_come_back(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    assert_int_equal(conformance_write(store, 1, 0, 0, 5000, 11), 0);
    assert_int_equal(conformance_write(store, 1, 0, 40000, 100, 12), 0);
    assert_int_equal(conformance_read(store, 1, 0, 0, 5000, 11), 5000);
    assert_int_equal(conformance_read(store, 1, 0, 5000, 35000, 0), 35000);
    assert_int_equal(conformance_read(store, 1, 0, 40000, 9999, 12), 100);
    conformance_close(store);
}

/* Every page once held 0xff; holes, cuts and aborts must never show it. */
static inline void conformance_recycled_memory_is_never_seen(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    for (uint64_t i = 0; i < CONFORMANCE_CAPACITY / CONFORMANCE_CHUNK; i++)
        assert_int_equal(conformance_write(store, 9, i, 0, CONFORMANCE_CHUNK, 0xff), 0);
    assert_int_equal(store->operations->remove(store, 9, 0), 0);

    assert_int_equal(conformance_write(store, 1, 0, 30000, 1, 0), 0);
    assert_int_equal(conformance_read(store, 1, 0, 0, CONFORMANCE_CHUNK, 0), 30001);

    struct store_io aborted = conformance_io(1, 1, 0, 20000);
    assert_int_equal(store->operations->write_begin(store, &aborted, CONFORMANCE_CHUNK), 0);
    assert_int_equal(conformance_write(store, 1, 1, 25000, 10, 0), 0);
    assert_int_equal(conformance_read(store, 1, 1, 0, CONFORMANCE_CHUNK, 0), 25010);
    store->operations->write_abort(store, &aborted);
    assert_int_equal(conformance_read(store, 1, 1, 0, CONFORMANCE_CHUNK, 0), 25010);

    assert_int_equal(conformance_write(store, 1, 2, 0, 9000, 0xff), 0);
    assert_int_equal(store->operations->truncate(store, 1, 2, 10), 0);
    assert_int_equal(conformance_write(store, 1, 2, 30000, 1, 0), 0);
    assert_int_equal(conformance_read(store, 1, 2, 10, CONFORMANCE_CHUNK, 0), 29991);
    conformance_close(store);
}

/* A write that is acknowledged stays, whatever becomes of an overlapping one that began earlier. */
static inline void conformance_committed_overlap_survives_an_abort(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    struct store_io first = conformance_io(1, 0, 0, 16384);
    assert_int_equal(store->operations->write_begin(store, &first, CONFORMANCE_CHUNK), 0);
    assert_int_equal(conformance_write(store, 1, 0, 4096, 4096, 5), 0);
    assert_int_equal(conformance_read(store, 1, 0, 0, 4096, 0), 4096);
    assert_int_equal(conformance_read(store, 1, 0, 4096, CONFORMANCE_CHUNK, 5), 4096);
    store->operations->write_abort(store, &first);
    assert_int_equal(conformance_read(store, 1, 0, 0, 4096, 0), 4096);
    assert_int_equal(conformance_read(store, 1, 0, 4096, CONFORMANCE_CHUNK, 5), 4096);
    conformance_close(store);
}

static inline void conformance_cut_under_a_write(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    assert_int_equal(conformance_write(store, 1, 0, 0, 100, 3), 0);
    struct store_io beyond = conformance_io(1, 0, 50, 9000);
    struct store_io below = conformance_io(1, 0, 0, 40);
    assert_int_equal(store->operations->write_begin(store, &beyond, CONFORMANCE_CHUNK), 0);
    assert_int_equal(store->operations->write_begin(store, &below, CONFORMANCE_CHUNK), 0);
    assert_int_equal(store->operations->truncate(store, 1, 0, 60), 0);
    memset(beyond.vector[0].iov_base, 9, beyond.vector[0].iov_len);
    memset(below.vector[0].iov_base, 8, below.vector[0].iov_len);
    assert_int_equal(store->operations->write_commit(store, &below), 0);
    assert_int_equal(store->operations->write_commit(store, &beyond), -ESTALE);
    assert_int_equal(store->operations->chunk_length(store, 1, 0), 60);
    assert_int_equal(conformance_read(store, 1, 0, 0, 40, 8), 40);
    assert_int_equal(conformance_write(store, 1, 0, 9000, 1, 0), 0);
    assert_int_equal(conformance_read(store, 1, 0, 60, 8941, 0), 8941);
    conformance_close(store);
}

/* clang-format off */
#define STORE_CONFORMANCE_CASES                                                                              \
    cmocka_unit_test(conformance_lengths), cmocka_unit_test(conformance_bounds),                             \
    cmocka_unit_test(conformance_abort), cmocka_unit_test(conformance_remove),                               \
    cmocka_unit_test(conformance_walk)
#define STORE_CONFORMANCE_BYTES_CASES                                                                        \
    cmocka_unit_test(conformance_bytes_come_back),                                                           \
    cmocka_unit_test(conformance_recycled_memory_is_never_seen),                                             \
    cmocka_unit_test(conformance_committed_overlap_survives_an_abort),                                       \
    cmocka_unit_test(conformance_cut_under_a_write)
/* clang-format on */

#ifdef STORE_CONFORMANCE_PERSISTENT
#include "unit/store_persistent_cases.h"
#endif

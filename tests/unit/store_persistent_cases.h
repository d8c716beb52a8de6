/* What every persistent engine must do besides: after the end and a new start everything committed is there,
 * byte for byte, and after a crash, too. Included by store_conformance.h. */
#pragma once

static inline uint64_t conformance_used(struct store *store)
{
    struct store_statistics statistics;
    store->operations->statistics(store, &statistics);
    return statistics.used;
}

static inline void conformance_clear(struct store *store, uint64_t inode, uint64_t start, uint64_t end)
{
    struct store_range range = {inode, start, end, 16};
    assert_int_equal(store->operations->clear(store, &range, false), 0);
}

/* Several chunks with all that can happen to one: overwritten, cut, cleared, grown beyond a gap, removed and
 * made anew. */
static inline void conformance_fill(struct store *store)
{
    const struct store_operations *call = store->operations;
    assert_int_equal(conformance_write(store, 1, 0, 0, CONFORMANCE_CHUNK, 1), 0);
    assert_int_equal(conformance_write(store, 1, 0, 5000, 9000, 2), 0);
    assert_int_equal(conformance_write(store, 1, 1, 0, 20001, 3), 0);
    assert_int_equal(call->truncate(store, 1, 1, 9999), 0);
    assert_int_equal(conformance_write(store, 1, 1, 30000, 10, 4), 0);
    assert_int_equal(conformance_write(store, 1, 2, 0, CONFORMANCE_CHUNK, 5), 0);
    conformance_clear(store, 1, 2 * CONFORMANCE_CHUNK + 1000, 2 * CONFORMANCE_CHUNK + 21000);
    assert_int_equal(conformance_write(store, 2, 7, 12345, 4321, 6), 0);
    assert_int_equal(conformance_write(store, 3, 0, 0, 50000, 7), 0);
    assert_int_equal(conformance_write(store, 3, 1, 0, 50000, 7), 0);
    assert_int_equal(call->remove(store, 3, 0), 0);
    assert_int_equal(conformance_write(store, 3, 1, 100, 100, 8), 0);
}

static inline void conformance_verify(struct store *store)
{
    const struct store_operations *call = store->operations;
    assert_int_equal(conformance_read(store, 1, 0, 0, 5000, 1), 5000);
    assert_int_equal(conformance_read(store, 1, 0, 5000, 9000, 2), 9000);
    assert_int_equal(conformance_read(store, 1, 0, 14000, CONFORMANCE_CHUNK, 1), CONFORMANCE_CHUNK - 14000);
    assert_int_equal(conformance_read(store, 1, 1, 0, 9999, 3), 9999);
    assert_int_equal(conformance_read(store, 1, 1, 9999, 20001, 0), 20001);
    assert_int_equal(conformance_read(store, 1, 1, 30000, 9999, 4), 10);
    assert_int_equal(conformance_read(store, 1, 2, 0, 1000, 5), 1000);
    assert_int_equal(conformance_read(store, 1, 2, 1000, 20000, 0), 20000);
    assert_int_equal(conformance_read(store, 1, 2, 21000, CONFORMANCE_CHUNK, 5), CONFORMANCE_CHUNK - 21000);
    assert_int_equal(conformance_read(store, 2, 7, 0, 12345, 0), 12345);
    assert_int_equal(conformance_read(store, 2, 7, 12345, 9999, 6), 4321);
    assert_int_equal(call->chunk_length(store, 3, 0), 0);
    assert_int_equal(conformance_read(store, 3, 1, 0, 100, 0), 100);
    assert_int_equal(conformance_read(store, 3, 1, 100, 9999, 8), 100);
    static const struct store_cursor chunks[] = {{1, 0}, {1, 1}, {1, 2}, {2, 7}, {3, 1}};
    struct store_cursor cursor = {0};
    unsigned met = 0;
    for (size_t i = 0; i < sizeof(chunks) / sizeof(chunks[0]); i++) {
        assert_true(call->next(store, &cursor));
        for (size_t k = 0; k < sizeof(chunks) / sizeof(chunks[0]); k++)
            met |= (unsigned)(cursor.inode == chunks[k].inode && cursor.index == chunks[k].index) << k;
        struct store_scrub found = {0};
        assert_int_equal(call->scrub(store, cursor.inode, cursor.index, &found), 0);
        assert_int_equal(found.blocks, 0);
        assert_true(found.bytes > 0);
    }
    assert_int_equal(met, (1u << sizeof(chunks) / sizeof(chunks[0])) - 1);
    assert_false(call->next(store, &cursor));
    struct store_scrub found;
    assert_int_equal(call->scrub(store, 3, 0, &found), -ENOENT);
}

static inline void conformance_reopened(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    conformance_fill(store);
    conformance_verify(store);
    assert_int_equal(conformance_commit(), 0);
    conformance_verify(store);
    uint64_t used = conformance_used(store);
    for (int i = 0; i < 3; i++) {
        store = conformance_reopen();
        conformance_verify(store);
        assert_int_equal(conformance_used(store), used);
    }
    for (uint64_t inode = 1; inode <= 3; inode++)
        assert_int_equal(store->operations->remove(store, inode, 0), 0);
    assert_int_equal(conformance_used(store), 0);
    store = conformance_reopen();
    assert_int_equal(conformance_used(store), 0);
    struct store_cursor cursor = {0};
    assert_false(store->operations->next(store, &cursor));
    conformance_close(store);
}

/* The end alone commits. */
static inline void conformance_closed_uncommitted(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    conformance_fill(store);
    store = conformance_reopen();
    conformance_verify(store);
    conformance_close(store);
}

static inline void conformance_snapshot_taken(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    conformance_fill(store);
    if (store->operations->prepare != NULL)
        assert_int_equal(store->operations->prepare(store), 0);
    assert_int_equal(journal_snapshot_take(conformance.journal), 0);
    conformance_verify(store);
    store = conformance_crash(NULL);
    conformance_verify(store);
    conformance_close(store);
}

/* Killed, with and without a power loss: what was committed is there, and writing goes on. */
static inline void conformance_crashed(void **state)
{
    (void)state;
    struct random random;
    for (uint64_t seed = 1; seed <= (conformance.real ? 2 : 20); seed++) {
        random_seed(&random, seed);
        struct store *store = conformance_open();
        conformance_fill(store);
        assert_int_equal(conformance_commit(), 0);
        store = conformance_crash(conformance.real || seed % 4 == 0 ? NULL : &random);
        conformance_verify(store);
        for (uint64_t inode = 1; inode <= 3; inode++)
            assert_int_equal(store->operations->remove(store, inode, 0), 0);
        conformance_fill(store);
        conformance_verify(store);
        assert_int_equal(conformance_commit(), 0);
        store = conformance_crash(conformance.real ? NULL : &random);
        conformance_verify(store);
        conformance_close(store);
    }
}

/* What was not committed may be lost as a whole or in part, but what is there is what was written: the old
 * bytes, the new ones, or zeros beyond the old length. */
static inline void conformance_lost(void **state)
{
    (void)state;
    struct random random;
    for (uint64_t seed = 1; seed <= (conformance.real ? 2 : 40); seed++) {
        random_seed(&random, seed);
        struct store *store = conformance_open();
        assert_int_equal(conformance_write(store, 1, 0, 0, 30000, 1), 0);
        assert_int_equal(conformance_write(store, 2, 0, 0, 30000, 9), 0);
        assert_int_equal(conformance_commit(), 0);
        assert_int_equal(conformance_write(store, 1, 0, 5000, 10000, 2), 0);
        assert_int_equal(conformance_write(store, 1, 0, 40000, 100, 3), 0);
        assert_int_equal(conformance_write(store, 1, 1, 0, 100, 4), 0);
        store = conformance_crash(conformance.real ? NULL : &random);
        uint32_t length = store->operations->chunk_length(store, 1, 0);
        assert_true(length == 30000 || length == 40100);
        uint8_t bytes[CONFORMANCE_CHUNK];
        struct store_io io = conformance_io(1, 0, 0, CONFORMANCE_CHUNK);
        assert_int_equal(store->operations->read_begin(store, &io), 0);
        assert_int_equal(io.length, length);
        conformance_gather(&io, bytes);
        store->operations->read_end(store, &io);
        for (uint32_t i = 0; i < 30000; i++)
            assert_true(bytes[i] == 1 || (bytes[i] == 2 && i >= 5000 && i < 15000));
        for (uint32_t i = 30000; i < length; i++)
            assert_true(bytes[i] == (i < 40000 ? 0 : 3));
        assert_int_equal(conformance_read(store, 2, 0, 0, CONFORMANCE_CHUNK, 9), 30000);
        conformance_close(store);
    }
}

/* Others have filled the device to the last byte. Everything can be removed, and each removal be durable by
 * itself, though the journal needs a block for each and has a reserve for a third of them: what one gives
 * back is room for the next. */
static inline void conformance_device_is_emptied(void **state)
{
    (void)state;
    enum { REMOVALS = 1600 };
    static const uint8_t bytes[4096];
    if (conformance.real)
        return;
    conformance.device_capacity = 24u << 20;
    struct store_options options = conformance_options;
    options.capacity = 8u << 20;
    struct store *store = conformance_open_with(&options);
    conformance.device_capacity = 0;
    for (uint64_t index = 0; index < REMOVALS; index++) {
        assert_int_equal(conformance_write(store, 1 + index, 0, 0, sizeof(bytes), 7), 0);
        if (index % 100 == 0)
            assert_int_equal(conformance_commit(), 0);
    }
    assert_int_equal(conformance_commit(), 0);
    struct disk_file *hog;
    assert_int_equal(disk_file_open(conformance.disk, "hog", DISK_CREATE, &hog), 0);
    for (uint64_t at = 0; disk_write(hog, bytes, sizeof(bytes), at) > 0; at += sizeof(bytes))
        continue;
    disk_file_close(hog);
    uint64_t refused = 0;
    for (uint64_t index = 0; index < REMOVALS; index++) {
        assert_int_equal(store->operations->remove(store, 1 + index, 0), 0);
        assert_int_equal(conformance_commit(), 0);
        refused += journal_room(conformance.journal) != 0;
    }
    assert_true(refused > 0);
    store = conformance_crash(NULL);
    struct store_cursor cursor = {0};
    assert_false(store->operations->next(store, &cursor));
    assert_int_equal(conformance_write(store, 1, 0, 0, 1, 1), 0);
    assert_int_equal(disk_unlink(conformance.disk, "hog"), 0);
    conformance_close(store);
}

/* clang-format off */
#define STORE_CONFORMANCE_PERSISTENT_CASES                                                                   \
    cmocka_unit_test(conformance_reopened), cmocka_unit_test(conformance_closed_uncommitted),                \
    cmocka_unit_test(conformance_snapshot_taken), cmocka_unit_test(conformance_crashed),                     \
    cmocka_unit_test(conformance_lost)
/* Of engines that leave the device to others. */
#define STORE_EMPTIED_CASES cmocka_unit_test(conformance_device_is_emptied)
/* clang-format on */

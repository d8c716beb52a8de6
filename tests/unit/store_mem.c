/* The in-memory engine: conformance, the random model, capacity to the last page, recycled memory, cut and
 * removed chunks under transfers in flight. */
#include "unit/store_model.h"

static const struct store_options conformance_options = {.engine = "mem", .capacity = CONFORMANCE_CAPACITY};

static uint64_t used(struct store *store)
{
    struct store_statistics statistics;
    store->operations->statistics(store, &statistics);
    return statistics.used;
}

static struct store *open_sized(uint64_t capacity)
{
    struct store_options options = {.engine = "mem", .capacity = capacity};
    return conformance_open_with(&options);
}

static void removed_under_transfers(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    assert_int_equal(conformance_write(store, 1, 0, 0, 8192, 3), 0);
    struct store_io read = conformance_io(1, 0, 0, 8192);
    struct store_io write = conformance_io(1, 0, 0, 4096);
    assert_int_equal(store->operations->read_begin(store, &read), 0);
    assert_int_equal(store->operations->write_begin(store, &write, CONFORMANCE_CHUNK), 0);
    assert_int_equal(store->operations->remove(store, 1, 0), 0);
    assert_int_equal(store->operations->chunk_length(store, 1, 0), 0);
    assert_true(used(store) >= 8192);

    /* A new chunk of the same name, and all other memory, is not theirs. */
    assert_int_equal(conformance_write(store, 1, 0, 0, 100, 4), 0);
    uint64_t index = 0;
    while (conformance_write(store, 2, index, 0, CONFORMANCE_CHUNK, 7) == 0)
        index++;
    uint8_t bytes[8192];
    conformance_gather(&read, bytes);
    for (size_t i = 0; i < sizeof(bytes); i++)
        assert_int_equal(bytes[i], 3);
    memset(write.vector[0].iov_base, 6, write.vector[0].iov_len);
    assert_int_equal(store->operations->write_commit(store, &write), -ESTALE);
    store->operations->read_end(store, &read);
    assert_int_equal(conformance_read(store, 1, 0, 0, 4096, 4), 100);

    assert_int_equal(store->operations->remove(store, 1, 0), 0);
    assert_int_equal(store->operations->remove(store, 2, 0), 0);
    assert_int_equal(used(store), 0);
    conformance_close(store);
}

static void every_page_is_usable(void **state)
{
    (void)state;
    const uint64_t pages = 777;
    struct store *store = open_sized(pages * 4096);
    uint64_t inode = 1;
    while (conformance_write(store, inode, 0, 0, 4096, (uint8_t)inode) == 0)
        inode++;
    assert_int_equal(inode - 1, pages);
    assert_int_equal(used(store), pages * 4096);
    assert_int_equal(store->operations->chunk_length(store, inode, 0), 0);

    /* Only single pages are free now: big chunks have to be put together from them. */
    uint64_t freed = 0;
    for (inode = 2; inode <= pages; inode += 2, freed++)
        assert_int_equal(store->operations->remove(store, inode, 0), 0);
    uint64_t index = 0;
    while (freed >= CONFORMANCE_CHUNK / 4096) {
        assert_int_equal(conformance_write(store, 5000, index, 0, CONFORMANCE_CHUNK, (uint8_t)(100 + index)),
                         0);
        freed -= CONFORMANCE_CHUNK / 4096;
        index++;
    }
    assert_int_equal(conformance_write(store, 5000, index, 0, CONFORMANCE_CHUNK, 1), -ENOSPC);
    assert_int_equal(store->operations->chunk_length(store, 5000, index), 0);
    for (uint64_t i = 0; i < index; i++)
        assert_int_equal(conformance_read(store, 5000, i, 0, CONFORMANCE_CHUNK, (uint8_t)(100 + i)),
                         CONFORMANCE_CHUNK);
    for (inode = 1; inode <= pages; inode += 2)
        assert_int_equal(conformance_read(store, inode, 0, 0, 4096, (uint8_t)inode), 4096);

    for (inode = 1; inode <= 5000; inode++)
        assert_int_equal(store->operations->remove(store, inode, 0), 0);
    assert_int_equal(used(store), 0);
    for (index = 0; index < pages / 16; index++) {
        struct store_io io = conformance_io(1, index, 0, CONFORMANCE_CHUNK);
        assert_int_equal(store->operations->write_begin(store, &io, CONFORMANCE_CHUNK), 0);
        assert_int_equal(io.count, 1);
        assert_int_equal(store->operations->write_commit(store, &io), 0);
    }
    conformance_close(store);
}

/* Room that was taken ahead is given back when others need it. */
static void slack_is_reclaimed(void **state)
{
    (void)state;
    const uint64_t pages = 500;
    struct store *store = open_sized(pages * 4096);
    uint64_t inode = 1;
    while (conformance_write(store, inode, 0, 0, 20000, (uint8_t)inode) == 0)
        inode++;
    assert_int_equal(inode - 1, pages / 5);
    assert_int_equal(used(store), pages * 4096);
    for (uint64_t i = 1; i < inode; i++)
        assert_int_equal(conformance_read(store, i, 0, 0, CONFORMANCE_CHUNK, (uint8_t)i), 20000);
    conformance_close(store);
}

/* A file written in small steps stays in one piece, and its growth refuses to lose what is there. */
static void growth(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    for (uint32_t at = 0; at < CONFORMANCE_CHUNK; at += 1024)
        assert_int_equal(conformance_write(store, 1, 0, at, 1024, (uint8_t)(1 + at / 1024)), 0);
    struct store_io io = conformance_io(1, 0, 0, CONFORMANCE_CHUNK);
    assert_int_equal(store->operations->read_begin(store, &io), 0);
    assert_int_equal(io.count, 1);
    store->operations->read_end(store, &io);
    for (uint32_t at = 0; at < CONFORMANCE_CHUNK; at += 1024)
        assert_int_equal(conformance_read(store, 1, 0, at, 1024, (uint8_t)(1 + at / 1024)), 1024);

    uint64_t index = 1;
    while (conformance_write(store, 1, index, 0, CONFORMANCE_CHUNK, 1) == 0)
        index++;
    assert_int_equal(store->operations->truncate(store, 1, 1, 100), 0);
    assert_int_equal(conformance_write(store, 2, 0, 0, CONFORMANCE_CHUNK - 4096, 2), 0);
    assert_int_equal(conformance_write(store, 1, 1, 5000, 5000, 1), -ENOSPC);
    assert_int_equal(store->operations->chunk_length(store, 1, 1), 100);
    assert_int_equal(conformance_read(store, 1, 1, 0, CONFORMANCE_CHUNK, 1), 100);
    conformance_close(store);
}

static void clear(struct store *store, uint64_t inode, uint64_t start, uint64_t end, bool keep)
{
    struct store_range range = {inode, start, end, 16};
    assert_int_equal(store->operations->clear(store, &range, keep), 0);
}

/* A large gap takes no memory until it is written, and then the chunk is one run again. */
static void gaps(void **state)
{
    (void)state;
    struct store *store = open_sized(64u << 20);
    const struct store_operations *call = store->operations;
    struct store_io io = conformance_io(1, 0, (1u << 20) - 100, 100);
    assert_int_equal(call->write_begin(store, &io, 1u << 20), 0);
    memset(io.vector[0].iov_base, 5, 100);
    assert_int_equal(call->write_commit(store, &io), 0);
    assert_true(call->held(store, 1) <= 65536);
    assert_int_equal(call->held(store, 1), used(store));
    assert_int_equal(call->seek(store, 1, 0, 0, true), 0);
    assert_int_equal(call->seek(store, 1, 0, 0, false), 15 * 65536);
    assert_int_equal(conformance_read(store, 1, 0, 0, (1u << 20) - 100, 0), (1u << 20) - 100);
    assert_int_equal(conformance_read(store, 1, 0, (1u << 20) - 100, 999, 5), 100);
    for (uint32_t at = 14; at < 15; at--) { /* backwards */
        io = conformance_io(1, 0, at * 65536 + 5000, 65536);
        assert_int_equal(call->write_begin(store, &io, 1u << 20), 0);
        assert_int_equal(io.count, 1);
        memset(io.vector[0].iov_base, (int)at + 1, 65536);
        assert_int_equal(call->write_commit(store, &io), 0);
    }
    assert_int_equal(call->held(store, 1), 1u << 20);
    assert_int_equal(conformance_read(store, 1, 0, 0, 5000, 0), 5000);
    assert_int_equal(conformance_read(store, 1, 0, 5000, 65536, 1), 65536);
    io = conformance_io(1, 0, 0, 1u << 20);
    assert_int_equal(call->read_begin(store, &io), 0);
    assert_int_equal(io.count, 1);
    call->read_end(store, &io);
    /* Aborted, the gap is no slack that is not there. */
    io = conformance_io(2, 0, 900000, 10);
    assert_int_equal(call->write_begin(store, &io, 1u << 20), 0);
    call->write_abort(store, &io);
    assert_int_equal(used(store), 1u << 20);
    assert_int_equal(call->held(store, 2), 0);
    conformance_close(store);
}

static void cleared(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    const struct store_operations *call = store->operations;
    for (uint64_t i = 0; i < 4; i++)
        assert_int_equal(conformance_write(store, 1, i, 0, CONFORMANCE_CHUNK, (uint8_t)(i + 1)), 0);
    assert_int_equal(call->held(store, 1), 4 * CONFORMANCE_CHUNK);
    clear(store, 1, 10000, 20000, false); /* pages 3 alone is whole: 12288 to 16384 */
    assert_int_equal(call->held(store, 1), 4 * CONFORMANCE_CHUNK - 4096);
    assert_int_equal(call->seek(store, 1, 0, 0, true), 12288);
    assert_int_equal(call->seek(store, 1, 0, 12288, false), 16384);
    assert_int_equal(call->seek(store, 1, 0, 16384, true), CONFORMANCE_CHUNK);
    assert_int_equal(conformance_read(store, 1, 0, 0, 10000, 1), 10000);
    assert_int_equal(conformance_read(store, 1, 0, 10000, 10000, 0), 10000);
    assert_int_equal(conformance_read(store, 1, 0, 20000, CONFORMANCE_CHUNK, 1), CONFORMANCE_CHUNK - 20000);
    clear(store, 1, 65536 + 100, 3 * 65536, true); /* keeps its memory */
    assert_int_equal(call->held(store, 1), 4 * CONFORMANCE_CHUNK - 4096);
    assert_int_equal(conformance_read(store, 1, 1, 0, 100, 2), 100);
    assert_int_equal(conformance_read(store, 1, 1, 100, CONFORMANCE_CHUNK, 0), CONFORMANCE_CHUNK - 100);
    clear(store, 1, 65536 + 100, 3 * 65536, false);
    assert_int_equal(call->held(store, 1), 2 * CONFORMANCE_CHUNK);
    assert_int_equal(call->next_chunk(store, 1, 2), 3);
    assert_int_equal(call->next_chunk(store, 1, 4), UINT64_MAX);
    assert_int_equal(conformance_read(store, 1, 1, 0, CONFORMANCE_CHUNK, 2), 100);
    assert_int_equal(conformance_read(store, 1, 3, 0, CONFORMANCE_CHUNK, 4), CONFORMANCE_CHUNK);

    /* A reader in flight keeps its memory; its bytes are the new ones or the old ones. */
    struct store_io read = conformance_io(1, 3, 0, CONFORMANCE_CHUNK);
    assert_int_equal(call->read_begin(store, &read), 0);
    clear(store, 1, 3 * 65536, 4 * 65536, false);
    assert_int_equal(call->held(store, 1), 2 * CONFORMANCE_CHUNK);
    call->read_end(store, &read);
    assert_int_equal(conformance_read(store, 1, 3, 0, CONFORMANCE_CHUNK, 0), CONFORMANCE_CHUNK);
    clear(store, 1, 0, UINT64_MAX >> 1, false);
    assert_int_equal(used(store), 0);
    assert_int_equal(call->held(store, 1), 0);
    conformance_close(store);
}

static void reserved(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    const struct store_operations *call = store->operations;
    assert_int_equal(call->missing(store, 1, 0, 5000, 10000), 3 * 4096);
    assert_int_equal(call->reserve(store, 1, 0, 5000, 10000), 0);
    assert_int_equal(call->missing(store, 1, 0, 5000, 10000), 0);
    assert_int_equal(call->chunk_length(store, 1, 0), 0);
    assert_int_equal(call->held(store, 1), 3 * 4096);
    assert_int_equal(call->reserve(store, 1, 1, 0, CONFORMANCE_CHUNK), 0);
    uint64_t index = 0;
    while (conformance_write(store, 2, index, 0, CONFORMANCE_CHUNK, 7) == 0)
        index++;
    while (conformance_write(store, 3, index, 0, 4096, 7) == 0)
        index++;
    assert_int_equal(conformance_write(store, 1, 2, 0, 1, 1), -ENOSPC);
    assert_int_equal(conformance_write(store, 1, 1, 30000, 100, 3), 0);
    assert_int_equal(conformance_write(store, 1, 1, 0, 30000, 3), 0);
    assert_int_equal(conformance_write(store, 1, 0, 5000, 10000, 3), 0);
    assert_int_equal(conformance_read(store, 1, 0, 0, 5000, 0), 5000);
    assert_int_equal(conformance_read(store, 1, 0, 5000, 60000, 3), 10000);
    assert_int_equal(conformance_write(store, 1, 0, 0, 1, 1), -ENOSPC); /* the hole before it */
    assert_int_equal(call->reserve(store, 1, 2, 0, 1), -ENOSPC);
    assert_int_equal(call->next_chunk(store, 1, 2), UINT64_MAX);
    /* Cutting takes it back. */
    assert_int_equal(call->truncate(store, 1, 1, 100), 0);
    assert_int_equal(call->held(store, 1), 4 * 4096);
    assert_int_equal(call->remove(store, 2, 0), 0);
    assert_int_equal(call->remove(store, 3, 0), 0);
    assert_int_equal(call->remove(store, 1, 0), 0);
    assert_int_equal(used(store), 0);
    conformance_close(store);
}

static void random_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct store *store = open_sized(300u << 10);
        model_run(store, seed, 6000);
        conformance_close(store);
    }
}

static void many_chunks(void **state)
{
    (void)state;
    struct store *store = open_sized(UINT64_C(4) << 30);
    for (uint64_t inode = 1; inode <= 20000; inode++)
        for (uint64_t index = 0; index < 5; index++) {
            struct store_io io = conformance_io(inode, index * 1000, 0, 1);
            assert_int_equal(store->operations->write_begin(store, &io, CONFORMANCE_CHUNK), 0);
            assert_int_equal(store->operations->write_commit(store, &io), 0);
        }
    for (uint64_t inode = 1; inode <= 20000; inode += 3)
        assert_int_equal(store->operations->remove(store, inode, 1), 0);
    for (uint64_t inode = 1; inode <= 20000; inode++)
        for (uint64_t index = 0; index < 5; index++)
            assert_int_equal(store->operations->chunk_length(store, inode, index * 1000),
                             index == 0 || inode % 3 != 1 ? 1 : 0);
    conformance_close(store);
}

static void refused_options(void **state)
{
    (void)state;
    struct store *store = NULL;
    struct store_options options = {.engine = "paper", .capacity = 1 << 20};
    assert_int_equal(store_create(&options, &store), -EINVAL);
    options = (struct store_options){.engine = "mem", .capacity = 4095};
    assert_int_equal(store_create(&options, &store), -EINVAL);
    options.capacity = UINT64_MAX;
    assert_int_equal(store_create(&options, &store), -EINVAL);
    assert_null(store);
    options = (struct store_options){.engine = "mem", .capacity = 1 << 20, .prefault = true};
    assert_int_equal(store_create(&options, &store), 0);
    conformance_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_CONFORMANCE_CASES,
        STORE_CONFORMANCE_BYTES_CASES,
        cmocka_unit_test(removed_under_transfers),
        cmocka_unit_test(every_page_is_usable),
        cmocka_unit_test(slack_is_reclaimed),
        cmocka_unit_test(growth),
        cmocka_unit_test(gaps),
        cmocka_unit_test(cleared),
        cmocka_unit_test(reserved),
        cmocka_unit_test(random_model),
        cmocka_unit_test(many_chunks),
        cmocka_unit_test(refused_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The persistent-memory engine on an ordinary file: conformance, the random model, the end of the capacity,
 * damaged blocks, kill -9, and the flushes of persistent memory, which libpmem2 also does where there is none
 * when it is told to. store_pmem_power.c has the power fail. */
#define STORE_CONFORMANCE_PERSISTENT
#include "unit/store_model.h"

#include <fcntl.h>

#include "store/block_map.h"
#include "unit/store_capacity.h"
#include "unit/store_killed.h"

static const struct store_options conformance_options = {
    .engine = "pmem", .capacity = CONFORMANCE_CAPACITY, .checksum = true};

static struct store *open_sized(uint64_t capacity)
{
    struct store_options options = conformance_options;
    options.capacity = capacity;
    return conformance_open_with(&options);
}

static void random_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct store *store = open_sized(200 << 10);
        model_run(store, seed, 6000);
        conformance_close(store);
    }
}

static void random_model_with_cache_lines_flushed(void **state)
{
    (void)state;
    assert_int_equal(setenv("PMEM2_FORCE_GRANULARITY", "CACHE_LINE", 1), 0);
    struct store *store = open_sized(200 << 10);
    model_run(store, 99, 6000);
    conformance_close(store);
    store = conformance_open();
    conformance_fill(store);
    store = conformance_reopen();
    conformance_verify(store);
    conformance_close(store);
    unsetenv("PMEM2_FORCE_GRANULARITY");
}

/* Replaced blocks are not free at once; nobody who overwrites notices. */
static void full_store_can_be_overwritten(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    uint64_t chunks = CONFORMANCE_CAPACITY / CONFORMANCE_CHUNK;
    for (uint64_t index = 0; index < chunks; index++)
        assert_int_equal(conformance_write(store, 1, index, 0, CONFORMANCE_CHUNK, 1), 0);
    assert_int_equal(conformance_used(store), CONFORMANCE_CAPACITY);
    assert_int_equal(conformance_write(store, 1, chunks, 0, 1, 1), -ENOSPC);
    assert_int_equal(store->operations->chunk_length(store, 1, chunks), 0);
    assert_int_equal(store->operations->reserve(store, 2, 0, 0, 1), -ENOSPC);
    for (uint8_t round = 2; round < 30; round++)
        for (uint64_t index = 0; index < chunks; index++)
            assert_int_equal(conformance_write(store, 1, index, 0, CONFORMANCE_CHUNK, round), 0);
    struct journal_statistics statistics;
    journal_statistics(conformance.journal, &statistics);
    assert_true(statistics.groups > 0); /* it had to commit for that */
    for (uint64_t index = 0; index < chunks; index++)
        assert_int_equal(conformance_read(store, 1, index, 0, CONFORMANCE_CHUNK, 29), CONFORMANCE_CHUNK);
    assert_int_equal(store->operations->remove(store, 1, chunks - 1), 0);
    assert_int_equal(conformance_write(store, 3, 0, 0, CONFORMANCE_CHUNK, 5), 0);
    assert_int_equal(conformance_used(store), CONFORMANCE_CAPACITY);
    conformance_close(store);
}

/* A reservation survives a new start, and the writes that it was for find their room. */
static void reservation_is_kept(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    assert_int_equal(store->operations->reserve(store, 1, 0, 0, CONFORMANCE_CHUNK), 0);
    assert_int_equal(store->operations->chunk_length(store, 1, 0), 0);
    store = conformance_reopen();
    assert_int_equal(store->operations->missing(store, 1, 0, 0, CONFORMANCE_CHUNK), 0);
    assert_int_equal(conformance_used(store), CONFORMANCE_CHUNK);
    uint64_t index = 0;
    while (conformance_write(store, 2, index, 0, CONFORMANCE_CHUNK, 1) == 0)
        index++;
    assert_int_equal(conformance_write(store, 1, 0, 0, CONFORMANCE_CHUNK, 2), 0);
    assert_int_equal(conformance_read(store, 1, 0, 0, CONFORMANCE_CHUNK, 2), CONFORMANCE_CHUNK);
    conformance_close(store);
}

/* Inverts one byte that has this value somewhere in the file. */
static void damage(uint8_t value)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/pmem", conformance.directory);
    int file = open(path, O_RDWR);
    assert_true(file >= 0);
    uint8_t block[4096];
    off_t at = 0;
    while (pread(file, block, sizeof(block), at) == sizeof(block) && block[100] != value)
        at += (off_t)sizeof(block);
    assert_int_equal(block[100], value);
    block[100] ^= 0xff;
    assert_int_equal(pwrite(file, block + 100, 1, at + 100), 1);
    close(file);
}

static void damaged_block_is_never_read(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    assert_int_equal(conformance_write(store, 1, 3, 0, 20000, 7), 0);
    assert_int_equal(conformance_write(store, 1, 3, 8192, 4096, 8), 0);
    store = conformance_reopen();
    damage(8);
    struct store_io io = conformance_io(1, 3, 0, 20000);
    assert_int_equal(store->operations->read_begin(store, &io), -EIO);
    io = conformance_io(1, 3, 12287, 1);
    assert_int_equal(store->operations->read_begin(store, &io), -EIO);
    assert_int_equal(conformance_read(store, 1, 3, 0, 8192, 7), 8192);
    assert_int_equal(conformance_read(store, 1, 3, 12288, 20000, 7), 20000 - 12288);

    struct store_scrub found;
    assert_int_equal(store->operations->scrub(store, 1, 3, &found), 0);
    assert_int_equal(found.blocks, 1);
    assert_int_equal(found.offset, 8192);
    assert_int_equal(found.bytes, 20480);

    /* A part cannot be replaced without the rest; the whole can. */
    assert_int_equal(conformance_write(store, 1, 3, 8200, 10, 9), -EIO);
    assert_int_equal(conformance_write(store, 1, 3, 8000, 200, 9), -EIO);
    struct store_range range = {1, 3 * CONFORMANCE_CHUNK + 8200, 3 * CONFORMANCE_CHUNK + 8210, 16};
    assert_int_equal(store->operations->clear(store, &range, false), -EIO);
    assert_int_equal(conformance_write(store, 1, 3, 8192, 4096, 9), 0);
    assert_int_equal(conformance_read(store, 1, 3, 8192, 4096, 9), 4096);
    assert_int_equal(store->operations->scrub(store, 1, 3, &found), 0);
    assert_int_equal(found.blocks, 0);
    conformance_close(store);
}

/* What was written without checksums stays readable with them, and the other way round. */
static void checksums_may_be_switched(void **state)
{
    (void)state;
    struct store_options options = conformance_options;
    options.checksum = false;
    struct store *store = conformance_open_with(&options);
    assert_int_equal(conformance_write(store, 1, 0, 0, 10000, 5), 0);
    conformance.options.checksum = true;
    store = conformance_reopen();
    assert_int_equal(conformance_read(store, 1, 0, 0, 10000, 5), 10000);
    assert_int_equal(conformance_write(store, 1, 0, 4096, 4096, 6), 0);
    conformance.options.checksum = false;
    store = conformance_reopen();
    damage(6);
    struct store_io io = conformance_io(1, 0, 4096, 4096);
    assert_int_equal(store->operations->read_begin(store, &io), 0);
    store->operations->read_end(store, &io);
    conformance.options.checksum = true;
    store = conformance_reopen();
    assert_int_equal(store->operations->read_begin(store, &io), -EIO);
    conformance_close(store);
}

static void other_capacity(void **state)
{
    (void)state;
    struct store *store = open_sized(64 << 20);
    for (uint64_t index = 0; index < 20; index++)
        assert_int_equal(conformance_write(store, 1, index, 0, CONFORMANCE_CHUNK, 3), 0);
    conformance.options.capacity = 1 << 20;
    store = conformance_reopen();
    assert_int_equal(conformance_write(store, 2, 0, 0, 1, 1), -ENOSPC);
    assert_int_equal(conformance_write(store, 1, 5, 0, CONFORMANCE_CHUNK, 4), 0);
    assert_int_equal(store->operations->remove(store, 1, 10), 0);
    assert_int_equal(conformance_write(store, 2, 0, 0, 1, 1), 0);
    conformance.options.capacity = 128 << 20;
    store = conformance_reopen();
    assert_int_equal(conformance_read(store, 1, 5, 0, CONFORMANCE_CHUNK, 4), CONFORMANCE_CHUNK);
    assert_int_equal(conformance_read(store, 1, 9, 0, CONFORMANCE_CHUNK, 3), CONFORMANCE_CHUNK);
    conformance_close(store);
}

/* A record that gives a chunk the pages of another is no journal to go on from. */
static void page_with_two_owners(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    assert_int_equal(conformance_write(store, 1, 0, 0, 4096, 3), 0);
    /* Whichever page it got is among these. */
    uint64_t pages = (CONFORMANCE_CAPACITY + (4u << 20)) / PAGE_BYTES;
    struct block_map map = {0};
    assert_int_equal(block_map_reserve(&map, 1), 0);
    for (uint32_t page = 0; page < pages; page++) {
        uint8_t key[BLOCK_KEY_BYTES], value[64];
        block_map_set(&map, 0, (struct block){page, BLOCK_NO_SUM});
        block_key_encode(2, page, key);
        block_record_encode(&map, 4096, value);
        uint32_t size = (uint32_t)block_record_size(&map);
        memcpy(journal_append(conformance.journal, JOURNAL_CHUNK, 0, key, sizeof(key), size), value, size);
    }
    block_map_free(&map);
    assert_int_equal(conformance_commit(), 0);
    conformance_unmount(true);
    assert_int_equal(conformance_mount(), -EBADMSG);
    conformance_medium_end();
}

/* More than the file system has is refused at once, and nothing is allocated. */
static void file_system_too_small(void **state)
{
    (void)state;
    conformance.options = conformance_options;
    conformance_medium_make();
    conformance.options.capacity = UINT64_C(14) << 40;
    conformance_disk_open();
    uint64_t before, after, total;
    assert_int_equal(disk_space(conformance.disk, &before, &total), 0);
    if (total >= conformance.options.capacity)
        skip();
    disk_close(conformance.disk);
    assert_int_equal(conformance_mount(), -ENOSPC);
    conformance.options.capacity = CONFORMANCE_CAPACITY;
    assert_int_equal(conformance_mount(), 0);
    assert_int_equal(disk_space(conformance.disk, &after, &total), 0);
    assert_true(after + (UINT64_C(10) << 30) > before); /* others use it, too */
    conformance_unmount(false);
    conformance_medium_end();
}

static int fail_synchronisation(void *owner, const char *what, const char *name, uint64_t offset,
                                size_t *length)
{
    (void)offset;
    (void)length;
    uint32_t *failed = owner;
    if (strcmp(what, "sync") != 0 || strcmp(name, "pmem") != 0)
        return 0;
    ++*failed;
    return -EIO;
}

/* Then nothing is durable any more, and everybody is told; what was before is there. */
static void synchronisation_fails(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    assert_int_equal(conformance_write(store, 1, 0, 0, 10000, 5), 0);
    assert_int_equal(conformance_commit(), 0);
    uint32_t failed = 0;
    disk_set_fault(conformance.disk, fail_synchronisation, &failed);
    assert_int_equal(conformance_write(store, 1, 0, 0, 10000, 6), 0);
    assert_int_equal(conformance_commit(), -EIO);
    assert_int_equal(failed, 1);
    assert_int_equal(conformance_write(store, 1, 0, 0, 10000, 7), -EIO);
    assert_int_equal(conformance_read(store, 1, 0, 0, 10000, 6), 10000);
    store = conformance_crash(NULL);
    assert_int_equal(conformance_read(store, 1, 0, 0, 10000, 5), 10000);
    conformance_close(store);
}

static void killed_in_the_middle(void **state)
{
    (void)state;
    killed_rounds(&conformance_options, 20);
}

int main(int argument_count, char **arguments)
{
    if (argument_count > 1)
        return killed_main(argument_count, arguments, &conformance_options);
    const struct CMUnitTest tests[] = {
        STORE_CONFORMANCE_CASES,
        STORE_CONFORMANCE_BYTES_CASES,
        STORE_CONFORMANCE_PERSISTENT_CASES,
        cmocka_unit_test(random_model),
        cmocka_unit_test(random_model_with_cache_lines_flushed),
        cmocka_unit_test(full_store_can_be_overwritten),
        cmocka_unit_test(reservation_is_kept),
        cmocka_unit_test(damaged_block_is_never_read),
        cmocka_unit_test(checksums_may_be_switched),
        cmocka_unit_test(other_capacity),
        cmocka_unit_test(page_with_two_owners),
        cmocka_unit_test(file_system_too_small),
        cmocka_unit_test(room_of_a_write_that_was_cleared),
        cmocka_unit_test(synchronisation_fails),
        cmocka_unit_test(killed_in_the_middle),
    };
    return cmocka_run_group_tests(tests, conformance_real, NULL);
}

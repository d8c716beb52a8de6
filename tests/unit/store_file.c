/* The file engine: conformance and the random model, on a simulated device and in a real directory. */
#define STORE_CONFORMANCE_PERSISTENT
#include "unit/store_faults.h"
#include "unit/store_model.h"
#include "unit/store_tasks.h"

#include "base/hash.h"

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

/* ---- what lies on the disk ---- */

static void path_of(char *path, uint64_t inode, uint64_t index)
{
    snprintf(path, DISK_NAME_MAX, "chunks/%02x/%lu/%lu", (unsigned)hash_mix(inode) & 0xff,
             (unsigned long)inode, (unsigned long)index);
}

static int open_chunk(uint64_t inode, uint64_t index, struct disk_file **file)
{
    char path[DISK_NAME_MAX + 1];
    path_of(path, inode, index);
    return disk_file_open(conformance.disk, path, 0, file);
}

static uint64_t size_of(uint64_t inode, uint64_t index)
{
    struct disk_file *file;
    uint64_t size;
    if (open_chunk(inode, index, &file) != 0)
        return UINT64_MAX;
    assert_int_equal(disk_file_size(file, &size), 0);
    disk_file_close(file);
    return size;
}

static void damage(uint64_t inode, uint64_t index, uint64_t offset)
{
    struct disk_file *file;
    uint8_t byte;
    assert_int_equal(open_chunk(inode, index, &file), 0);
    assert_int_equal(disk_read(file, &byte, 1, offset), 1);
    byte ^= 4;
    assert_int_equal(disk_write(file, &byte, 1, offset), 1);
    disk_file_close(file);
}

static int read_status(struct store *store, uint64_t inode, uint64_t index, uint32_t offset, uint32_t length)
{
    struct store_io io = conformance_io(inode, index, offset, length);
    int status = store->operations->read_begin(store, &io);
    if (status == 0)
        store->operations->read_end(store, &io);
    return status;
}

/* Commits, and lets the background do what was waiting for that. */
static void settle(void)
{
    for (int i = 0; i < 3; i++) {
        assert_int_equal(conformance_commit(), 0);
        assert_int_equal(task_sleep(conformance.loop, 1000000), 0);
    }
}

static void damaged_block(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    const struct store_operations *call = store->operations;
    assert_int_equal(conformance_write(store, 1, 0, 0, CONFORMANCE_CHUNK, 7), 0);
    assert_int_equal(conformance_write(store, 1, 1, 0, 10000, 8), 0);
    assert_int_equal(conformance_commit(), 0);
    for (int round = 0; round < 2; round++) {
        struct store_scrub found;
        assert_int_equal(call->scrub(store, 1, 0, &found), 0);
        assert_int_equal(found.blocks, 0);
        assert_int_equal(found.bytes, CONFORMANCE_CHUNK);
        damage(1, 0, 20000);
        damage(1, 0, 50000);
        damage(1, 1, 9999);
        assert_int_equal(read_status(store, 1, 0, 0, CONFORMANCE_CHUNK), -EIO);
        assert_int_equal(read_status(store, 1, 0, 20000, 1), -EIO);
        assert_int_equal(read_status(store, 1, 0, 16384, 1), -EIO);
        assert_int_equal(conformance_read(store, 1, 0, 0, 16384, 7), 16384);
        assert_int_equal(conformance_read(store, 1, 0, 20480, 20000, 7), 20000);
        assert_int_equal(read_status(store, 1, 1, 0, 10000), -EIO);
        assert_int_equal(conformance_read(store, 1, 1, 0, 8192, 8), 8192);
        assert_int_equal(call->scrub(store, 1, 0, &found), 0);
        assert_int_equal(found.blocks, 2);
        assert_int_equal(found.offset, 16384);
        /* A write that leaves a part of the damaged block in place would give it a checksum that matches. */
        assert_int_equal(conformance_write(store, 1, 0, 20000, 10, 7), -EIO);
        assert_int_equal(conformance_write(store, 1, 1, 10000, 10, 8), -EIO);
        assert_int_equal(call->chunk_length(store, 1, 1), 10000);
        damage(1, 1, 9999); /* back again */
        damage(1, 0, 20000);
        damage(1, 0, 50000);
        store = conformance_reopen();
    }
    /* Overwritten as a whole the block is sound again. */
    damage(1, 0, 20000);
    assert_int_equal(conformance_write(store, 1, 0, 16384, 4096, 9), 0);
    assert_int_equal(conformance_read(store, 1, 0, 16384, 4096, 9), 4096);
    conformance_close(store);
}

static void lost_bytes(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    assert_int_equal(conformance_write(store, 1, 0, 0, 30000, 7), 0);
    assert_int_equal(conformance_write(store, 1, 1, 0, 30000, 8), 0);
    assert_int_equal(conformance_commit(), 0);
    struct disk_file *file;
    assert_int_equal(open_chunk(1, 0, &file), 0);
    assert_int_equal(disk_file_truncate(file, 20000), 0);
    disk_file_close(file);
    assert_int_equal(read_status(store, 1, 0, 20000, 10000), -EIO);
    assert_int_equal(conformance_read(store, 1, 0, 0, 16384, 7), 16384);
    store = conformance_crash(NULL);
    char path[DISK_NAME_MAX + 1];
    path_of(path, 1, 1);
    assert_int_equal(disk_unlink(conformance.disk, path), 0);
    assert_int_equal(read_status(store, 1, 0, 20000, 10000), -EIO);
    assert_int_equal(read_status(store, 1, 1, 0, 1), -EIO);
    struct store_scrub found;
    assert_int_equal(store->operations->scrub(store, 1, 1, &found), 0);
    assert_int_equal(found.blocks, 8);
    assert_int_equal(store->operations->chunk_length(store, 1, 1), 30000);
    conformance_close(store);
}

/* Only what was being overwritten when the server died is taken as it is, once; damage after that is damage.
 */
static void overwritten_in_a_crash(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    assert_int_equal(conformance_write(store, 1, 0, 0, CONFORMANCE_CHUNK, 7), 0);
    assert_int_equal(conformance_write(store, 2, 0, 0, CONFORMANCE_CHUNK, 7), 0);
    assert_int_equal(conformance_commit(), 0);
    assert_int_equal(conformance_write(store, 1, 0, 4096, 4096, 8), 0);
    assert_int_equal(conformance_write(store, 1, 0, 9000, 10, 8), 0);
    conformance_unmount(true);
    conformance_disk_open(); /* damage where nothing was being written */
    damage(2, 0, 5);
    disk_close(conformance.disk);
    assert_int_equal(conformance_mount(), 0);
    store = conformance.store;
    assert_int_equal(conformance_read(store, 1, 0, 4096, 4096, 8), 4096);
    assert_int_equal(conformance_read(store, 1, 0, 9000, 10, 8), 10);
    assert_int_equal(conformance_read(store, 1, 0, 9010, 9999, 7), 9999);
    assert_int_equal(read_status(store, 2, 0, 0, 1), -EIO);
    settle();
    damage(1, 0, 5000);
    damage(1, 0, 30000);
    assert_int_equal(read_status(store, 1, 0, 5000, 1), -EIO);
    assert_int_equal(read_status(store, 1, 0, 30000, 1), -EIO);
    conformance_close(store);
}

/* Bytes that were cleared are still in the file, until a write that extends the chunk within their block puts
 * zeros there. */
static void extended_in_a_crash(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    struct store_range range = {1, 61500, 61600, 16};
    assert_int_equal(conformance_write(store, 1, 0, 0, 62000, 7), 0);
    assert_int_equal(conformance_commit(), 0);
    assert_int_equal(store->operations->clear(store, &range, true), 0);
    assert_int_equal(conformance_commit(), 0);
    assert_int_equal(conformance_write(store, 1, 0, 62100, 1000, 8), 0);
    store = conformance_crash(NULL);
    assert_int_equal(conformance_read(store, 1, 0, 61440, 60, 7), 60);
    assert_int_equal(conformance_read(store, 1, 0, 61500, 100, 0), 100);
    assert_int_equal(conformance_read(store, 1, 0, 61600, 400, 7), 400);
    conformance_close(store);
}

/* A mark that nobody needs any more is withdrawn, so that a later crash hides nothing. */
static void marks_expire(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    assert_int_equal(conformance_write(store, 1, 0, 0, CONFORMANCE_CHUNK, 7), 0);
    assert_int_equal(conformance_commit(), 0);
    assert_int_equal(conformance_write(store, 1, 0, 4096, 4096, 8), 0);
    for (uint64_t i = 0; i < 12; i++) {
        assert_int_equal(conformance_write(store, 2, i, 0, 100, 8), 0);
        assert_int_equal(conformance_commit(), 0);
    }
    damage(1, 0, 5000);
    store = conformance_crash(NULL);
    assert_int_equal(read_status(store, 1, 0, 5000, 1), -EIO);
    conformance_close(store);
}

/* A file holds its chunk's bytes and nothing else, after some time also when the chunk was cut. */
static void files_are_chunks(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    const struct store_operations *call = store->operations;
    assert_int_equal(conformance_write(store, 1, 0, 0, 30000, 7), 0);
    assert_int_equal(size_of(1, 0), 30000);
    assert_int_equal(conformance_write(store, 1, 0, 30000, 10, 7), 0);
    assert_int_equal(size_of(1, 0), 30010);
    settle();
    assert_int_equal(call->truncate(store, 1, 0, 10001), 0);
    assert_int_equal(size_of(1, 0), 30010); /* what is durable names these bytes */
    settle();
    assert_int_equal(size_of(1, 0), 10001);
    assert_int_equal(conformance_read(store, 1, 0, 0, 99999, 7), 10001);
    assert_int_equal(conformance_write(store, 1, 0, 20000, 10, 8), 0);
    assert_int_equal(conformance_read(store, 1, 0, 10001, 9999, 0), 9999);
    settle();
    conformance_clear(store, 1, 0, 8192);
    settle();
    assert_int_equal(conformance_read(store, 1, 0, 0, 8192, 0), 8192);
    struct disk_file *file;
    uint8_t byte;
    assert_int_equal(open_chunk(1, 0, &file), 0);
    assert_int_equal(disk_read(file, &byte, 1, 100), 1);
    assert_int_equal(byte, 0);
    disk_file_close(file);

    assert_int_equal(call->remove(store, 1, 0), 0);
    assert_int_equal(size_of(1, 0), 20010);
    settle();
    assert_int_equal(size_of(1, 0), UINT64_MAX);
    /* Made anew at once, for which the removal has to be durable first. */
    assert_int_equal(conformance_write(store, 1, 0, 0, 30000, 9), 0);
    assert_int_equal(conformance_commit(), 0);
    assert_int_equal(call->remove(store, 1, 0), 0);
    assert_int_equal(conformance_write(store, 1, 0, 5000, 10, 10), 0);
    assert_int_equal(size_of(1, 0), 5010);
    assert_int_equal(conformance_read(store, 1, 0, 0, 5000, 0), 5000);
    store = conformance_reopen();
    assert_int_equal(conformance_read(store, 1, 0, 5000, 99, 10), 10);
    conformance_close(store);
}

/* Files that nothing durable names are removed after the start; what has another name is left alone. */
/* A server is killed before it has made its directories durable, the next one goes on in them, and then the
 * power fails. */
static void killed_then_powerless(void **state)
{
    (void)state;
    if (conformance.real)
        return;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct random power;
        random_seed(&power, seed);
        struct store *store = conformance_open();
        assert_int_equal(conformance_write(store, 1, 0, 0, 5000, 1), 0);
        store = conformance_crash(NULL);
        assert_int_equal(conformance_write(store, 1, 0, 0, 5000, 2), 0);
        assert_int_equal(conformance_commit(), 0);
        store = conformance_crash(&power);
        assert_int_equal(conformance_read(store, 1, 0, 0, 9999, 2), 5000);
        conformance_close(store);
    }
}

static void strays_removed(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    for (uint64_t i = 0; i < 20; i++)
        assert_int_equal(conformance_write(store, i + 1, 0, 0, 100, 8), 0);
    struct disk_file *file;
    assert_int_equal(disk_file_open(conformance.disk, "chunks/note", DISK_CREATE, &file), 0);
    disk_file_close(file);
    store = conformance_crash(NULL);
    struct store_cursor cursor = {0};
    assert_false(store->operations->next(store, &cursor));
    assert_int_equal(conformance_write(store, 5, 0, 0, 50, 9), 0); /* takes over a file that is still there */
    settle();
    for (uint64_t i = 0; i < 20; i++)
        assert_int_equal(size_of(i + 1, 0), i == 4 ? 50 : UINT64_MAX);
    assert_int_equal(conformance_read(store, 5, 0, 0, 100, 9), 50);
    assert_int_equal(disk_file_open(conformance.disk, "chunks/note", 0, &file), 0);
    disk_file_close(file);
    conformance_close(store);
}

/* More chunks than files stay open. */
static void many_chunks(void **state)
{
    (void)state;
    struct store_options options = conformance_options;
    options.capacity = 64u << 20;
    struct store *store = conformance_open_with(&options);
    for (uint64_t i = 0; i < 1500; i++)
        assert_int_equal(
            conformance_write(store, 1 + i / 3, i % 3, 0, 1 + (uint32_t)i, (uint8_t)(1 + i % 31)), 0);
    store = conformance_reopen();
    for (uint64_t i = 0; i < 1500; i++)
        assert_int_equal(
            conformance_read(store, 1 + i / 3, i % 3, 0, CONFORMANCE_CHUNK, (uint8_t)(1 + i % 31)), 1 + i);
    conformance_close(store);
}

/* Checksums are optional, and a store may be opened with and without. */
static void without_checksums(void **state)
{
    (void)state;
    struct store_options options = conformance_options;
    options.checksum = false;
    struct store *store = conformance_open_with(&options);
    conformance_fill(store);
    assert_int_equal(conformance_write(store, 1, 0, 5000, 9000, 2), 0);
    conformance.options.checksum = true;
    store = conformance_reopen();
    conformance_verify(store);
    assert_int_equal(conformance_write(store, 1, 0, 5000, 9000, 2), 0);
    conformance.options.checksum = false;
    store = conformance_reopen();
    conformance_verify(store);
    conformance_close(store);
}

/* Records that make no sense are refused. */
static void refused_records(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    uint8_t key[21] = {0}, value[64] = {0};
    struct journal_record record = {.kind = JOURNAL_CHUNK, .key_length = 16, .key = key, .value = value};
    for (uint32_t length = 0; length < 40; length++) {
        record.value_length = length;
        assert_int_equal(store->operations->replay(store, &record), -EBADMSG);
    }
    record.kind = JOURNAL_STORE;
    for (uint32_t length = 0; length <= 21; length++)
        for (uint8_t what = 0; what < 4; what++) {
            key[0] = what;
            record.key_length = length;
            if (what != 1 || length != 9)
                assert_int_equal(store->operations->replay(store, &record), -EBADMSG);
        }
    record.kind = JOURNAL_INODE;
    assert_int_equal(store->operations->replay(store, &record), -EBADMSG);
    conformance_close(store);
    struct store_options options = {.engine = "file", .capacity = 1u << 20};
    assert_int_equal(store_create(&options, &store), -EINVAL); /* no disk */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_CONFORMANCE_CASES,
        STORE_CONFORMANCE_BYTES_CASES,
        STORE_CONFORMANCE_PERSISTENT_CASES,
        STORE_FAULT_CASES,
        STORE_FULL_CASES,
        STORE_EMPTIED_CASES,
        STORE_TASK_CASES,
        cmocka_unit_test(random_model),
        cmocka_unit_test(damaged_block),
        cmocka_unit_test(lost_bytes),
        cmocka_unit_test(overwritten_in_a_crash),
        cmocka_unit_test(extended_in_a_crash),
        cmocka_unit_test(marks_expire),
        cmocka_unit_test(files_are_chunks),
        cmocka_unit_test(killed_then_powerless),
        cmocka_unit_test(strays_removed),
        cmocka_unit_test(many_chunks),
        cmocka_unit_test(without_checksums),
        cmocka_unit_test(refused_records),
    };
    return conformance_run_twice(tests, sizeof(tests) / sizeof(tests[0]));
}

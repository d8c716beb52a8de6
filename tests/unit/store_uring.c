/* The uring engine: conformance and the random model on a simulated device and on a real one; what a full
 * store and a full device still can do; damaged blocks; what lasts. */
#define STORE_CONFORMANCE_PERSISTENT
#include "unit/store_mirror.h"
#include "unit/store_model.h"

static const struct store_options conformance_options = {
    .engine = "uring", .capacity = CONFORMANCE_CAPACITY, .checksum = true};

static struct store *open_sized(uint64_t capacity)
{
    struct store_options options = conformance_options;
    options.capacity = capacity;
    return conformance_open_with(&options);
}

/* ---- model ---- */

static void random_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= (conformance.real ? 1 : 6); seed++) {
        struct store *store = open_sized(300u << 10);
        model_run(store, seed, conformance.real ? 2000 : 6000);
        conformance_close(store);
    }
}

/* ---- recovery ---- */

/* Whatever is done to chunks is there again after a crash, with and without power, and after a clean end; and
 * no more is held than before. */
static void changes_last(void **state)
{
    (void)state;
    static struct mirror mirror;
    for (uint64_t seed = 1; seed <= (conformance.real ? 1 : 8); seed++) {
        mirror_init(&mirror, open_sized(400u << 10), seed);
        for (uint32_t round = 0; round < 25; round++) {
            for (uint32_t i = 0; i < 40; i++)
                assert_int_equal(mirror_step(&mirror), 0);
            assert_int_equal(mirror_check(&mirror), 0);
            uint64_t used = conformance_used(mirror.store);
            uint64_t held = mirror.store->operations->held(mirror.store, MIRROR_INODE);
            assert_int_equal(used, held);
            if (mirror_below(&mirror, 4) == 0)
                assert_int_equal(journal_snapshot_take(conformance.journal), 0);
            if (mirror_below(&mirror, 3) == 0) {
                mirror.store = conformance_reopen();
            } else {
                assert_int_equal(conformance_commit(), 0);
                bool power = !conformance.real && mirror_below(&mirror, 2) == 0;
                mirror.store = conformance_crash(power ? &mirror.random : NULL);
            }
            assert_int_equal(mirror_check(&mirror), 0);
            assert_int_equal(conformance_used(mirror.store), used);
            assert_int_equal(mirror.store->operations->held(mirror.store, MIRROR_INODE), held);
        }
        conformance_close(mirror.store);
    }
}

/* ---- room ---- */

static uint32_t fill(struct store *store, uint64_t inode)
{
    uint32_t index = 0;
    while (conformance_write(store, inode, index, 0, CONFORMANCE_CHUNK, (uint8_t)(1 + index)) == 0)
        index++;
    return index;
}

/* The capacity can be filled to the last block, and what is full can be overwritten as often as one likes. */
static void full(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    const struct store_operations *call = store->operations;
    uint32_t chunks = fill(store, 1);
    assert_int_equal(chunks, CONFORMANCE_CAPACITY / CONFORMANCE_CHUNK);
    assert_int_equal(conformance_used(store), CONFORMANCE_CAPACITY);
    assert_int_equal(conformance_write(store, 1, chunks, 0, 1, 1), -ENOSPC);
    assert_int_equal(call->reserve(store, 2, 0, 0, 1), -ENOSPC);
    assert_int_equal(call->next_chunk(store, 1, chunks), UINT64_MAX);
    for (uint32_t round = 0; round < 10; round++)
        for (uint32_t i = 0; i < chunks; i++) {
            assert_int_equal(conformance_write(store, 1, i, 0, CONFORMANCE_CHUNK, (uint8_t)(round + i)), 0);
            assert_int_equal(conformance_write(store, 1, i, 5000, 9000, (uint8_t)(round + i + 1)), 0);
        }
    for (uint32_t i = 0; i < chunks; i++) {
        assert_int_equal(conformance_read(store, 1, i, 0, 5000, (uint8_t)(9 + i)), 5000);
        assert_int_equal(conformance_read(store, 1, i, 5000, 9000, (uint8_t)(10 + i)), 9000);
    }
    assert_int_equal(conformance_used(store), CONFORMANCE_CAPACITY);
    assert_int_equal(call->truncate(store, 1, 0, CONFORMANCE_CHUNK / 2), 0);
    assert_int_equal(conformance_write(store, 2, 0, 0, CONFORMANCE_CHUNK / 2, 1), 0);
    assert_int_equal(conformance_write(store, 2, 1, 0, 1, 1), -ENOSPC);
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
    fill(store, 2);
    for (uint32_t i = 0; conformance_write(store, 3, i, 0, 4096, 7) == 0; i++)
        continue;
    assert_int_equal(conformance_commit(), 0);
    store = conformance_reopen();
    assert_int_equal(call->held(store, 1), 3 * 4096);
    assert_int_equal(conformance_write(store, 1, 1, 0, 1, 1), -ENOSPC);
    assert_int_equal(conformance_write(store, 1, 0, 5000, 10000, 3), 0);
    assert_int_equal(conformance_read(store, 1, 0, 0, 5000, 0), 5000);
    assert_int_equal(conformance_read(store, 1, 0, 5000, 60000, 3), 10000);
    assert_int_equal(call->seek(store, 1, 0, 0, false), 4096);
    assert_int_equal(call->seek(store, 1, 0, 4096, true), 15000);
    conformance_clear(store, 1, 0, 1 << 20);
    assert_int_equal(call->held(store, 1), 0);
    conformance_close(store);
}

static int count_segment(void *owner, const char *name, bool is_directory)
{
    (void)is_directory;
    *(uint32_t *)owner += strncmp(name, "segment-", 8) == 0;
    return 0;
}

/* Many times the capacity goes through the store, whole chunks and small pieces, and the files do not grow.
 */
static void space_is_reused(void **state)
{
    (void)state;
    struct store *store = open_sized(4u << 20);
    struct random random;
    random_seed(&random, 3);
    for (uint32_t round = 0; round < (conformance.real ? 300 : 1500); round++) {
        uint64_t inode = 1 + random_below(&random, 12), index = random_below(&random, 4);
        uint32_t length = random_below(&random, 2) == 0 ? CONFORMANCE_CHUNK : 4096;
        uint32_t offset = length == 4096 ? 4096 * (uint32_t)random_below(&random, 16) : 0;
        assert_int_equal(conformance_write(store, inode, index, offset, length, (uint8_t)inode), 0);
        if (random_below(&random, 20) == 0)
            assert_int_equal(store->operations->remove(store, 1 + random_below(&random, 12), 0), 0);
        if (random_below(&random, 50) == 0)
            assert_int_equal(conformance_commit(), 0);
    }
    uint32_t segments = 0;
    assert_int_equal(disk_list(conformance.disk, "", count_segment, &segments), 0);
    /* Of 256 KiB, for twice the capacity at most. */
    assert_true(segments > 0 && segments <= 32);
    for (uint64_t inode = 1; inode <= 12; inode++)
        assert_int_equal(store->operations->remove(store, inode, 0), 0);
    assert_int_equal(conformance_used(store), 0);
    assert_int_equal(fill(store, 1), (4u << 20) / CONFORMANCE_CHUNK);
    conformance_close(store);
}

/* The device is smaller than the store was promised: writes fail as they would on a full store, what is there
 * stays, and removing helps. */
static void device_full(void **state)
{
    (void)state;
    if (conformance.real)
        return;
    conformance.device_capacity = 24u << 20;
    struct store *store = open_sized(256u << 20);
    conformance.device_capacity = 0;
    struct store_io io = conformance_io(1, 0, 0, CONFORMANCE_CHUNK);
    int status;
    while ((status = conformance_write(store, io.inode, io.index, 0, CONFORMANCE_CHUNK, 1)) == 0)
        io.index++;
    assert_int_equal(status, -ENOSPC);
    assert_true(io.index > 16);
    assert_int_equal(conformance_used(store), io.index * CONFORMANCE_CHUNK);
    assert_int_equal(store->operations->chunk_length(store, 1, io.index), 0);
    for (uint64_t i = 0; i < io.index; i++)
        assert_int_equal(conformance_read(store, 1, i, 0, CONFORMANCE_CHUNK, 1), CONFORMANCE_CHUNK);
    assert_int_equal(store->operations->remove(store, 1, io.index - 4), 0);
    for (uint64_t i = 0; i < 4; i++)
        assert_int_equal(conformance_write(store, 2, i, 0, CONFORMANCE_CHUNK, 2), 0);
    assert_int_equal(conformance_write(store, 2, 4, 0, CONFORMANCE_CHUNK, 2), -ENOSPC);
    assert_int_equal(conformance_commit(), 0);
    store = conformance_reopen();
    for (uint64_t i = 0; i < io.index - 4; i++)
        assert_int_equal(conformance_read(store, 1, i, 0, CONFORMANCE_CHUNK, 1), CONFORMANCE_CHUNK);
    conformance_close(store);
}

/* ---- damage ---- */

/* Changes one byte of the only block on the device that begins with this value. */
static void damage(uint8_t value)
{
    static uint8_t block[4096] __attribute__((aligned(4096)));
    struct disk_file *file;
    uint64_t size;
    assert_int_equal(disk_file_open(conformance.disk, "segment-0", DISK_DIRECT, &file), 0);
    assert_int_equal(disk_file_size(file, &size), 0);
    for (uint64_t at = 0; at < size; at += sizeof(block)) {
        assert_int_equal(disk_read(file, block, sizeof(block), at), sizeof(block));
        if (block[0] != value)
            continue;
        block[4000] ^= 0x10;
        assert_int_equal(disk_write(file, block, sizeof(block), at), sizeof(block));
        disk_file_close(file);
        return;
    }
    fail_msg("no block begins with %u", value);
}

static void damaged(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    const struct store_operations *call = store->operations;
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(conformance_write(store, 1, 0, i * 4096, 4096, (uint8_t)(100 + i)), 0);
    assert_int_equal(conformance_commit(), 0);
    damage(103);
    for (int round = 0; round < 2; round++) {
        struct store_io io = conformance_io(1, 0, 0, 32768);
        assert_int_equal(call->read_begin(store, &io), -EIO);
        io = conformance_io(1, 0, 3 * 4096 + 17, 1);
        assert_int_equal(call->read_begin(store, &io), -EIO);
        assert_int_equal(conformance_read(store, 1, 0, 2 * 4096, 4096, 102), 4096);
        assert_int_equal(conformance_read(store, 1, 0, 4 * 4096, 4096, 104), 4096);
        struct store_scrub found;
        assert_int_equal(call->scrub(store, 1, 0, &found), 0);
        assert_int_equal(found.blocks, 1);
        assert_int_equal(found.offset, 3 * 4096);
        assert_int_equal(found.bytes, 7 * 4096);
        /* Its bytes cannot be kept, so nothing is written beside them. */
        assert_int_equal(conformance_write(store, 1, 0, 3 * 4096 + 100, 10, 1), -EIO);
        store = conformance_reopen();
    }
    assert_int_equal(conformance_write(store, 1, 0, 3 * 4096, 4096, 9), 0);
    assert_int_equal(conformance_read(store, 1, 0, 3 * 4096, 4096, 9), 4096);
    struct store_scrub found;
    assert_int_equal(call->scrub(store, 1, 0, &found), 0);
    assert_int_equal(found.blocks, 0);
    conformance_close(store);
}

/* Without checksums what the device says is believed; blocks written so are marked as such, and stay it. */
static void without_checksums(void **state)
{
    (void)state;
    struct store_options options = conformance_options;
    options.checksum = false;
    struct store *store = conformance_open_with(&options);
    assert_int_equal(conformance_write(store, 1, 0, 0, 4096, 100), 0);
    damage(100);
    conformance.options.checksum = true;
    store = conformance_reopen();
    struct store_io io = conformance_io(1, 0, 0, 4096);
    assert_int_equal(store->operations->read_begin(store, &io), 0);
    assert_int_equal(((uint8_t *)io.vector[0].iov_base)[4000], 100 ^ 0x10);
    store->operations->read_end(store, &io);
    assert_int_equal(conformance_write(store, 1, 0, 0, 4096, 101), 0);
    damage(101);
    io = conformance_io(1, 0, 0, 4096);
    assert_int_equal(store->operations->read_begin(store, &io), -EIO);
    conformance_close(store);
}

/* A segment that the journal needs is gone: said at the start, not when somebody reads. */
static void segment_missing(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    assert_int_equal(conformance_write(store, 1, 0, 0, 4096, 1), 0);
    conformance_unmount(false);
    conformance_disk_open();
    assert_int_equal(disk_unlink(conformance.disk, "segment-0"), 0);
    disk_close(conformance.disk);
    assert_int_equal(conformance_mount(), -EBADMSG);
    conformance_medium_end();
}

static void refused_options(void **state)
{
    (void)state;
    struct store *store = NULL;
    struct store_options options = {.engine = "uring", .capacity = 1 << 20};
    assert_int_equal(store_create(&options, &store), -EINVAL);
    conformance_medium_make();
    conformance_disk_open();
    options.loop = conformance.loop;
    options.disk = conformance.disk;
    options.capacity = 4095;
    assert_int_equal(store_create(&options, &store), -EINVAL);
    options.capacity = UINT64_MAX;
    assert_int_equal(store_create(&options, &store), -EINVAL);
    assert_null(store);
    disk_close(conformance.disk);
    conformance_medium_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_CONFORMANCE_CASES,
        STORE_CONFORMANCE_BYTES_CASES,
        STORE_CONFORMANCE_PERSISTENT_CASES,
        STORE_EMPTIED_CASES,
        cmocka_unit_test(random_model),
        cmocka_unit_test(changes_last),
        cmocka_unit_test(full),
        cmocka_unit_test(reserved),
        cmocka_unit_test(space_is_reused),
        cmocka_unit_test(device_full),
        cmocka_unit_test(damaged),
        cmocka_unit_test(without_checksums),
        cmocka_unit_test(segment_missing),
        cmocka_unit_test(refused_options),
    };
    return conformance_run_twice(tests, sizeof(tests) / sizeof(tests[0]));
}

/* The engine rocksdb: conformance, the random model, the end of the capacity, damaged and missing pieces,
 * nothing left behind, tasks at the same time, kill -9. */
#define STORE_CONFORMANCE_PERSISTENT
#include "unit/store_model.h"

#include <dirent.h>
#include <rocksdb/c.h>

#include "store/rocksdb_format.h"
#include "unit/store_capacity.h"
#include "unit/store_killed.h"

static const struct store_options conformance_options = {
    .engine = "rocksdb", .capacity = CONFORMANCE_CAPACITY, .checksum = true, .buffer = 16 << 20};

static struct store *open_sized(uint64_t capacity)
{
    struct store_options options = conformance_options;
    options.capacity = capacity;
    return conformance_open_with(&options);
}

static void random_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct store *store = open_sized(200 << 10);
        model_run(store, seed, 4000);
        conformance_close(store);
    }
}

/* ---- the database itself, while no store has it ---- */

static rocksdb_t *database(rocksdb_options_t **options)
{
    char path[128], *error = NULL;
    snprintf(path, sizeof(path), "%s/rocksdb", conformance.directory);
    *options = rocksdb_options_create();
    rocksdb_options_set_compression(*options, rocksdb_no_compression);
    rocksdb_options_set_enable_blob_files(*options, 1);
    rocksdb_t *opened = rocksdb_open(*options, path, &error);
    assert_null(error);
    return opened;
}

/* Keys of a kind; *name: the last of them. */
static uint32_t keys(char kind, struct piece_name *name)
{
    rocksdb_options_t *options;
    rocksdb_t *opened = database(&options);
    rocksdb_readoptions_t *reading = rocksdb_readoptions_create();
    rocksdb_iterator_t *at = rocksdb_create_iterator(opened, reading);
    uint32_t count = 0;
    for (rocksdb_iter_seek(at, &kind, 1); rocksdb_iter_valid(at); rocksdb_iter_next(at)) {
        size_t length;
        const char *key = rocksdb_iter_key(at, &length);
        if (key[0] != kind)
            break;
        if (name != NULL)
            assert_int_equal(piece_key_decode(key, length, name), 0);
        count++;
    }
    rocksdb_iter_destroy(at);
    rocksdb_readoptions_destroy(reading);
    rocksdb_close(opened);
    rocksdb_options_destroy(options);
    return count;
}

/* Puts a value in place of a piece's, or (NULL) takes the piece away. */
static void replace_piece(const struct piece_name *name, const char *bytes, size_t length)
{
    uint8_t key[PIECE_KEY_BYTES];
    char *error = NULL;
    rocksdb_options_t *options;
    rocksdb_t *opened = database(&options);
    rocksdb_writeoptions_t *writing = rocksdb_writeoptions_create();
    piece_key_encode(ROCKS_KEY_PIECE, name, key);
    if (bytes == NULL)
        rocksdb_delete(opened, writing, (const char *)key, sizeof(key), &error);
    else
        rocksdb_put(opened, writing, (const char *)key, sizeof(key), bytes, length, &error);
    assert_null(error);
    rocksdb_writeoptions_destroy(writing);
    rocksdb_close(opened);
    rocksdb_options_destroy(options);
}

static void damaged_block_is_never_read(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    assert_int_equal(conformance_write(store, 1, 0, 0, 20000, 7), 0);
    conformance_unmount(false);
    struct piece_name name;
    assert_int_equal(keys(ROCKS_KEY_PIECE, &name), 1);
    char bytes[20480];
    memset(bytes, 7, sizeof(bytes));
    bytes[9000] ^= 1;
    replace_piece(&name, bytes, sizeof(bytes));
    assert_int_equal(conformance_mount(), 0);
    store = conformance.store;

    struct store_io io = conformance_io(1, 0, 0, 20000);
    assert_int_equal(store->operations->read_begin(store, &io), -EIO);
    assert_int_equal(conformance_read(store, 1, 0, 0, 8192, 7), 8192);
    struct store_scrub found;
    assert_int_equal(store->operations->scrub(store, 1, 0, &found), 0);
    assert_int_equal(found.blocks, 2); /* the last one, too: it has other bytes beyond the length */
    assert_int_equal(found.offset, 8192);
    assert_int_equal(found.bytes, 20480);
    assert_int_equal(conformance_write(store, 1, 0, 8200, 10, 9), -EIO);
    assert_int_equal(conformance_write(store, 1, 0, 8192, 12288, 9), 0);
    assert_int_equal(conformance_read(store, 1, 0, 8192, 12288, 9), 12288);
    assert_int_equal(store->operations->scrub(store, 1, 0, &found), 0);
    assert_int_equal(found.blocks, 0);
    conformance_unmount(false);

    assert_int_equal(keys(ROCKS_KEY_PIECE, &name), 1);
    replace_piece(&name, NULL, 0);
    assert_int_equal(conformance_mount(), 0);
    store = conformance.store;
    io = conformance_io(1, 0, 5, 1);
    assert_int_equal(store->operations->read_begin(store, &io), -EIO);
    conformance_close(store);
}

/* ---- the start ---- */

#define MANY UINT64_C(30000)

/* More records than the thread of the database hands over at a time; each is taken, and once. */
static void start_takes_all_of_many(void **state)
{
    (void)state;
    struct store *store = open_sized((MANY + 1) << 12);
    for (uint64_t inode = 1; inode <= MANY; inode++)
        assert_int_equal(store->operations->reserve(store, inode, inode % 7, 0, 4096), 0);
    conformance_unmount(false);
    assert_int_equal(conformance_mount(), 0);
    store = conformance.store;
    for (uint64_t inode = 1; inode <= MANY; inode++)
        assert_int_equal(store->operations->missing(store, inode, inode % 7, 0, 4096), 0);
    struct store_statistics statistics = {0};
    store->operations->statistics(store, &statistics);
    assert_int_equal(statistics.used, MANY << 12);
    conformance_close(store);
}

/* Whether RocksDB, by the newest of the files in which it notes its options, compacts by itself. */
static bool compacts(void)
{
    char path[128], newest[512] = "", text[65536];
    snprintf(path, sizeof(path), "%s/rocksdb", conformance.directory);
    DIR *directory = opendir(path);
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        if (strncmp(entry->d_name, "OPTIONS-", 8) == 0 && strstr(entry->d_name, ".dbtmp") == NULL &&
            strcmp(entry->d_name, newest) > 0)
            snprintf(newest, sizeof(newest), "%s", entry->d_name);
    closedir(directory);
    snprintf(text, sizeof(text), "%s/%s", path, newest);
    FILE *file = fopen(text, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = 0;
    fclose(file);
    assert_non_null(strstr(text, "disable_auto_compactions="));
    return strstr(text, "disable_auto_compactions=false") != NULL;
}

static void compacts_after_the_start(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    assert_true(compacts());
    conformance_unmount(false);
    assert_int_equal(conformance_mount(), 0);
    store = conformance.store;
    assert_true(compacts());
    conformance_close(store);
}

/* No piece stays that nobody names, and none is gone that somebody does. */
static void nothing_is_left_behind(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    conformance_fill(store);
    conformance_fill(store);
    conformance_unmount(false);
    assert_int_equal(keys(ROCKS_KEY_PIECE, NULL), 5);
    assert_int_equal(keys(ROCKS_KEY_INTENT, NULL), 0);
    assert_int_equal(conformance_mount(), 0);
    store = conformance.store;

    /* Written, but in no group. */
    for (uint64_t inode = 1; inode <= 4; inode++)
        assert_int_equal(conformance_write(store, inode, 0, 0, 10000, 42), 0);
    conformance_unmount(true);
    assert_int_equal(keys(ROCKS_KEY_PIECE, NULL), 9);
    assert_int_equal(keys(ROCKS_KEY_INTENT, NULL), 4);
    assert_int_equal(conformance_mount(), 0);
    conformance_verify(conformance.store);
    conformance_unmount(false);
    assert_int_equal(keys(ROCKS_KEY_PIECE, NULL), 5);
    assert_int_equal(keys(ROCKS_KEY_INTENT, NULL), 0);

    assert_int_equal(conformance_mount(), 0);
    store = conformance.store;
    for (uint64_t inode = 1; inode <= 3; inode++)
        assert_int_equal(store->operations->remove(store, inode, 0), 0);
    struct store_io io = conformance_io(1, 0, 0, 100);
    assert_int_equal(store->operations->write_begin(store, &io, CONFORMANCE_CHUNK), 0);
    store->operations->write_abort(store, &io);
    conformance_unmount(false);
    assert_int_equal(keys(ROCKS_KEY_PIECE, NULL), 0);
    assert_int_equal(keys(ROCKS_KEY_INTENT, NULL), 0);
    assert_int_equal(keys(ROCKS_KEY_OBJECT, NULL), 0);
    conformance_medium_end();
}

static void capacity_is_hard(void **state)
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
    for (uint64_t index = 0; index < chunks; index++)
        assert_int_equal(conformance_write(store, 1, index, 0, CONFORMANCE_CHUNK, 2), 0);
    assert_int_equal(store->operations->remove(store, 1, chunks - 1), 0);
    assert_int_equal(store->operations->reserve(store, 2, 0, 0, CONFORMANCE_CHUNK), 0);
    assert_int_equal(conformance_write(store, 3, 0, 0, 1, 1), -ENOSPC);
    store = conformance_reopen();
    assert_int_equal(store->operations->missing(store, 2, 0, 0, CONFORMANCE_CHUNK), 0);
    assert_int_equal(conformance_used(store), CONFORMANCE_CAPACITY);
    assert_int_equal(conformance_write(store, 2, 0, 0, CONFORMANCE_CHUNK, 5), 0);
    assert_int_equal(conformance_used(store), CONFORMANCE_CAPACITY);
    conformance_close(store);
}

/* Ranges within blocks that were cleared are zeros after a new start as well, until they are written. */
static void zeros_are_recorded(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    assert_int_equal(conformance_write(store, 1, 0, 0, 30000, 3), 0);
    for (uint32_t at = 100; at < 20000; at += 1000)
        conformance_clear(store, 1, at, at + 10);
    assert_int_equal(store->operations->truncate(store, 1, 0, 25000), 0);
    assert_int_equal(conformance_write(store, 1, 0, 40000, 1, 4), 0);
    for (int round = 0; round < 2; round++) {
        for (uint32_t at = 100; at < 20000; at += 1000) {
            assert_int_equal(conformance_read(store, 1, 0, at - 10, 10, 3), 10);
            assert_int_equal(conformance_read(store, 1, 0, at, 10, 0), 10);
            assert_int_equal(conformance_read(store, 1, 0, at + 10, 10, 3), 10);
        }
        assert_int_equal(conformance_read(store, 1, 0, 25000, 15000, 0), 15000);
        store = conformance_reopen();
    }
    assert_int_equal(conformance_write(store, 1, 0, 105, 1000, 8), 0);
    assert_int_equal(conformance_read(store, 1, 0, 100, 5, 0), 5);
    assert_int_equal(conformance_read(store, 1, 0, 105, 1000, 8), 1000);
    assert_int_equal(conformance_read(store, 1, 0, 1105, 5, 0), 5);
    conformance_close(store);
}

/* Cuts the newest write-ahead log, as when the power fails before it was synchronised. Returns false when it
 * is empty. */
static bool cut_log(struct random *random)
{
    char path[400], newest[300] = "";
    snprintf(path, sizeof(path), "%s/rocksdb", conformance.directory);
    DIR *directory = opendir(path);
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        size_t length = strlen(entry->d_name);
        if (length > 4 && strcmp(entry->d_name + length - 4, ".log") == 0 &&
            strcmp(entry->d_name, newest) > 0)
            snprintf(newest, sizeof(newest), "%s", entry->d_name);
    }
    closedir(directory);
    struct stat status;
    snprintf(path, sizeof(path), "%s/rocksdb/%s", conformance.directory, newest);
    assert_int_equal(stat(path, &status), 0);
    if (status.st_size == 0)
        return false;
    assert_int_equal(truncate(path, (off_t)random_below(random, (uint64_t)status.st_size)), 0);
    return true;
}

/* Whatever the end of the log that is lost, each group that is left finds the pieces that it names. */
static void log_may_end_anywhere(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 3);
    struct store *store = conformance_open();
    int cut = 0;
    for (int round = 0; round < 25; round++) {
        for (int step = 0; step < 30; step++) {
            uint32_t offset = (uint32_t)random_below(&random, CONFORMANCE_CHUNK);
            uint32_t length = 1 + (uint32_t)random_below(&random, CONFORMANCE_CHUNK - offset);
            uint64_t inode = 1 + random_below(&random, 2), index = random_below(&random, 3);
            if (random_below(&random, 6) == 0)
                assert_int_equal(store->operations->truncate(store, inode, index, offset), 0);
            else
                assert_int_equal(conformance_write(store, inode, index, offset, length, 7), 0);
            if (step % 5 == 0)
                assert_int_equal(conformance_commit(), 0);
        }
        conformance_unmount(true);
        cut += cut_log(&random);
        assert_int_equal(conformance_mount(), 0);
        store = conformance.store;
        struct store_cursor cursor = {0};
        while (store->operations->next(store, &cursor)) {
            struct store_scrub found;
            assert_int_equal(store->operations->scrub(store, cursor.inode, cursor.index, &found), 0);
            assert_int_equal(found.blocks, 0);
        }
    }
    assert_true(cut > 20);
    conformance_close(store);
}

/* ---- several tasks ---- */

#define TASKS 8

struct worker {
    struct store *store;
    uint32_t number;
    uint32_t *left;
    int status;
};

/* Parts of the same blocks of one chunk, written at the same time: nobody's are lost. */
static void worker_run(void *argument)
{
    struct worker *worker = argument;
    for (uint32_t round = 0; round < 20 && worker->status == 0; round++)
        worker->status = conformance_write(worker->store, 1, 0, worker->number * 1000 + round * 50, 50,
                                           (uint8_t)(1 + worker->number));
    --*worker->left;
}

static void writers_of_one_chunk(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    struct worker workers[TASKS];
    uint32_t left = TASKS;
    for (uint32_t i = 0; i < TASKS; i++) {
        workers[i] = (struct worker){store, i, &left, 0};
        assert_int_equal(task_spawn(conformance.loop, worker_run, &workers[i]), 0);
    }
    for (uint32_t turns = 0; left > 0 && turns < 100000000; turns++)
        loop_poll(conformance.loop);
    assert_int_equal(left, 0);
    for (uint32_t i = 0; i < TASKS; i++) {
        assert_int_equal(workers[i].status, 0);
        assert_int_equal(conformance_read(store, 1, 0, i * 1000, 1000, (uint8_t)(1 + i)), 1000);
    }
    conformance_close(store);
}

/* What happens to a chunk while the thread has its commit. */
static void commit_task(void *argument)
{
    struct worker *worker = argument;
    struct store_io io = conformance_io(1, 0, 4000, 200);
    assert_int_equal(worker->store->operations->write_begin(worker->store, &io, CONFORMANCE_CHUNK), 0);
    memset(io.vector[0].iov_base, 9, 200);
    worker->status = worker->store->operations->write_commit(worker->store, &io);
    --*worker->left;
}

static void changes_under_a_commit(void **state)
{
    (void)state;
    for (int change = 0; change < 4; change++) {
        struct store *store = conformance_open();
        const struct store_operations *call = store->operations;
        assert_int_equal(conformance_write(store, 1, 0, 0, 20000, 3), 0);
        uint32_t left = 1;
        struct worker worker = {store, 0, &left, 1};
        assert_int_equal(task_spawn(conformance.loop, commit_task, &worker), 0);
        assert_int_equal(left, 1); /* suspended */
        if (change == 0)
            assert_int_equal(call->remove(store, 1, 0), 0);
        else if (change == 1)
            assert_int_equal(call->truncate(store, 1, 0, 4100), 0);
        else if (change == 2)
            conformance_clear(store, 1, 0, 3000);
        else
            conformance_clear(store, 1, 8192, 12288);
        for (uint32_t turns = 0; left > 0 && turns < 100000000; turns++)
            loop_poll(conformance.loop);
        assert_int_equal(worker.status, change < 2 ? -ESTALE : 0);
        for (int round = 0; round < 2; round++) {
            if (change == 0) {
                assert_int_equal(call->chunk_length(store, 1, 0), 0);
            } else if (change == 1) {
                assert_int_equal(conformance_read(store, 1, 0, 0, 20000, 3), 4100);
            } else {
                assert_int_equal(conformance_read(store, 1, 0, 4000, 200, 9), 200);
                assert_int_equal(conformance_read(store, 1, 0, 0, 3000, change == 2 ? 0 : 3), 3000);
                assert_int_equal(conformance_read(store, 1, 0, 8192, 4096, change == 2 ? 3 : 0), 4096);
                assert_int_equal(conformance_read(store, 1, 0, 12288, 20000, 3), 20000 - 12288);
            }
            store = conformance_reopen();
        }
        conformance_unmount(false);
        assert_int_equal(keys(ROCKS_KEY_PIECE, NULL), change == 0 ? 0 : 1);
        assert_int_equal(keys(ROCKS_KEY_INTENT, NULL), 0);
        conformance_medium_end();
    }
}

static void simulated_loop_is_refused(void **state)
{
    (void)state;
    struct loop_options simulated = {.simulated = true};
    struct store_options options = conformance_options;
    struct store *store = NULL;
    assert_int_equal(loop_create(&simulated, &options.loop), 0);
    assert_int_equal(store_create(&options, &store), -EINVAL);
    assert_null(store);
    loop_destroy(options.loop);
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
        cmocka_unit_test(damaged_block_is_never_read),
        cmocka_unit_test(start_takes_all_of_many),
        cmocka_unit_test(compacts_after_the_start),
        cmocka_unit_test(nothing_is_left_behind),
        cmocka_unit_test(capacity_is_hard),
        cmocka_unit_test(zeros_are_recorded),
        cmocka_unit_test(log_may_end_anywhere),
        cmocka_unit_test(writers_of_one_chunk),
        cmocka_unit_test(changes_under_a_commit),
        cmocka_unit_test(room_of_a_write_that_was_cleared),
        cmocka_unit_test(simulated_loop_is_refused),
        cmocka_unit_test(killed_in_the_middle),
    };
    return cmocka_run_group_tests(tests, conformance_real, NULL);
}

/* The engine rocksdb when RocksDB's own files are damaged or missing: a start that would lose something is
 * refused and loses nothing, a damaged blob is -EIO for its blocks alone, and so is a write after a
 * compaction has met damage. */
#define STORE_CONFORMANCE_PERSISTENT
#include "unit/store_conformance.h"

#include <dirent.h>
#include <fcntl.h>
#include <rocksdb/c.h>
#include <sys/stat.h>

#include "store/rocksdb_format.h"

#define CHUNKS 1000u
#define BYTES 4096u /* of each: large enough for a file of blobs */

static void place(char path[256], const char *name)
{
    snprintf(path, 256, "%s/rocksdb/%s", conformance.directory, name);
}

/* The database's file with that end; the first that lists, and whether there is one. */
static bool find(const char *end, char path[256])
{
    char base[256];
    bool found = false;
    place(base, "");
    DIR *directory = opendir(base);
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL && !found;) {
        size_t length = strlen(entry->d_name), tail = strlen(end);
        found = length > tail && strcmp(entry->d_name + length - tail, end) == 0;
        if (found)
            place(path, entry->d_name);
    }
    closedir(directory);
    return found;
}

/* Brings what the log has into tables, while no store has the database. */
static void flush_tables(void)
{
    char path[256], *error = NULL;
    place(path, "");
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_options_set_compression(options, rocksdb_no_compression);
    rocksdb_options_set_enable_blob_files(options, 1);
    rocksdb_options_set_min_blob_size(options, 4096);
    rocksdb_options_set_disable_auto_compactions(options, 1);
    rocksdb_t *opened = rocksdb_open(options, path, &error);
    assert_null(error);
    rocksdb_flushoptions_t *flushing = rocksdb_flushoptions_create();
    rocksdb_flush(opened, flushing, &error);
    assert_null(error);
    rocksdb_flushoptions_destroy(flushing);
    rocksdb_close(opened);
    rocksdb_options_destroy(options);
}

/* Turns bits of the byte at offset (from the end, if it is negative). Twice: as it was. */
static void damage(const char *path, off_t offset)
{
    int fd = open(path, O_RDWR);
    unsigned char byte;
    assert_true(fd >= 0);
    off_t at = lseek(fd, offset, offset < 0 ? SEEK_END : SEEK_SET);
    assert_true(at >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x55;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void write_chunks(void)
{
    for (uint64_t inode = 1; inode <= CHUNKS; inode++)
        assert_int_equal(conformance_write(conformance.store, inode, 0, 0, BYTES, 7), 0);
    assert_int_equal(conformance_commit(), 0);
}

static void expect_all(void)
{
    for (uint64_t inode = 1; inode <= CHUNKS; inode++)
        assert_int_equal(conformance_read(conformance.store, inode, 0, 0, BYTES, 7), BYTES);
}

/* A store with tables and blobs, not mounted. */
static void prepare(void)
{
    static const struct store_options options = {
        .engine = "rocksdb", .capacity = 32u << 20, .checksum = true, .buffer = 16 << 20};
    conformance_open_with(&options);
    write_chunks();
    conformance_unmount(false);
    flush_tables();
}

static void expect_refused(int first, int second)
{
    int status = conformance_mount();
    assert_true(status == first || status == second);
}

static void expect_sound(void)
{
    assert_int_equal(conformance_mount(), 0);
    expect_all();
}

static void finish(void)
{
    conformance_close(conformance.store);
}

/* ---- cases ---- */

static void damaged_table_refuses_the_start(void **state)
{
    (void)state;
    char path[256];
    prepare();
    assert_true(find(".sst", path));
    damage(path, 40); /* in the first block, the format's and objects' */
    expect_refused(-EBADMSG, -EBADMSG);
    damage(path, 40);
    expect_sound();
    finish();
}

static void missing_file_refuses_the_start(void **state)
{
    (void)state;
    static const char *const ends[] = {"CURRENT", ".sst"};
    prepare();
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        char path[256], away[300];
        if (ends[i][0] == '.')
            assert_true(find(ends[i], path));
        else
            place(path, ends[i]);
        snprintf(away, sizeof(away), "%s/away", conformance.directory);
        assert_int_equal(rename(path, away), 0);
        expect_refused(-EBADMSG, -EIO);
        assert_int_equal(rename(away, path), 0);
        expect_sound();
        conformance_unmount(false);
        flush_tables();
    }
    assert_int_equal(conformance_mount(), 0);
    finish();
}

static void damaged_blob_is_an_error_of_its_block(void **state)
{
    (void)state;
    char path[256];
    uint32_t failed = 0;
    prepare();
    assert_true(find(".blob", path));
    struct stat found;
    assert_int_equal(stat(path, &found), 0);
    damage(path, found.st_size / 2);
    assert_int_equal(conformance_mount(), 0);
    struct store *store = conformance.store;
    for (uint64_t inode = 1; inode <= CHUNKS; inode++) {
        struct store_io io = conformance_io(inode, 0, 0, BYTES);
        int status = store->operations->read_begin(store, &io);
        assert_true(status == 0 || status == -EIO);
        failed += status != 0;
        if (status == 0)
            store->operations->read_end(store, &io);
    }
    assert_int_equal(failed, 1);
    finish();
}

/* Damages the table where no start looks: after all objects, where it names pieces. */
static void damage_pieces(const char *path)
{
    struct stat found;
    assert_int_equal(stat(path, &found), 0);
    for (off_t at = found.st_size / 2; at < found.st_size; at += 1024) {
        damage(path, at);
        if (conformance_mount() == 0) {
            conformance_unmount(false);
            return;
        }
        damage(path, at);
    }
    fail();
}

static void damage_that_a_compaction_meets(void **state)
{
    (void)state;
    char path[256];
    prepare();
    assert_true(find(".sst", path));
    damage_pieces(path);
    assert_int_equal(conformance_mount(), 0);
    int status = 0;
    for (uint64_t i = 0; i < 20000 && status == 0; i++) { /* tables enough for a compaction */
        status = conformance_write(conformance.store, CHUNKS + 1 + i % CHUNKS, 0, 0, BYTES, 1);
        if (status == 0 && i % 100 == 0)
            status = conformance_commit();
    }
    assert_int_equal(status, -EIO);
    assert_int_equal(conformance_read(conformance.store, CHUNKS, 0, 0, BYTES, 7), BYTES);
    conformance.store->operations->truncate(conformance.store, CHUNKS, 0, 0);
    assert_int_equal(journal_commit(conformance.journal), -EIO);
    conformance_unmount(true);
    conformance_medium_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_table_refuses_the_start),
        cmocka_unit_test(missing_file_refuses_the_start),
        cmocka_unit_test(damaged_blob_is_an_error_of_its_block),
        cmocka_unit_test(damage_that_a_compaction_meets),
    };
    return cmocka_run_group_tests(tests, conformance_real, NULL);
}

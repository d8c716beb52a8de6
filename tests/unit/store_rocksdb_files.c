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
    snprintf(path, 256, "%s/rocksdb/%.63s", conformance.directory, name);
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
    flush_tables(); /* files that nothing needs any more are removed at the start */
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

/* Each of CHUNKS chunks is as it was written, or an error. */
static uint32_t count_unreadable(uint64_t first, uint8_t value)
{
    struct store *store = conformance.store;
    uint8_t bytes[BYTES];
    uint32_t failed = 0;
    for (uint64_t inode = first; inode < first + CHUNKS; inode++) {
        struct store_io io = conformance_io(inode, 0, 0, BYTES);
        int status = store->operations->read_begin(store, &io);
        assert_true(status == 0 || status == -EIO);
        failed += status != 0;
        if (status != 0)
            continue;
        assert_int_equal(io.length, BYTES);
        conformance_gather(&io, bytes);
        for (uint32_t i = 0; i < BYTES; i++)
            assert_int_equal(bytes[i], value);
        store->operations->read_end(store, &io);
    }
    return failed;
}

/* The names of all files of blobs; their number. */
static uint32_t list_blobs(char names[16][64])
{
    char base[256];
    uint32_t count = 0;
    place(base, "");
    DIR *directory = opendir(base);
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        if (strstr(entry->d_name, ".blob") != NULL && count < 16)
            snprintf(names[count++], 64, "%.63s", entry->d_name);
    closedir(directory);
    return count;
}

/* In the middle of each file of blobs one block is damaged; files that nothing needs any more may still be
 * there. */
static void damaged_blob_is_an_error_of_its_block(void **state)
{
    (void)state;
    char names[16][64];
    prepare();
    uint32_t count = list_blobs(names);
    assert_true(count > 0);
    for (uint32_t i = 0; i < count; i++) {
        char path[256];
        struct stat found;
        place(path, names[i]);
        assert_int_equal(stat(path, &found), 0);
        damage(path, found.st_size / 2 + BYTES / 2); /* between two blobs is the middle */
    }
    assert_int_equal(conformance_mount(), 0);
    assert_in_range(count_unreadable(1, 7), 1, count);
    finish();
}

/* As many chunks again, in files of their own. */
static void prepare_more(void)
{
    prepare();
    assert_int_equal(conformance_mount(), 0);
    for (uint64_t inode = CHUNKS + 1; inode <= 2 * CHUNKS; inode++)
        assert_int_equal(conformance_write(conformance.store, inode, 0, 0, BYTES, 8), 0);
    assert_int_equal(conformance_commit(), 0);
    conformance_unmount(false);
    flush_tables();
}

/* What is in it is -EIO, never zeros; scrub finds it. Returns how many it had. */
static uint32_t without_blobs(void)
{
    struct store *store = conformance.store;
    uint32_t failed = count_unreadable(1, 7) + count_unreadable(CHUNKS + 1, 8), scrubbed = 0;
    for (uint64_t inode = 1; inode <= 2 * CHUNKS; inode++) {
        struct store_scrub found;
        int status = store->operations->scrub(store, inode, 0, &found);
        assert_true(status == 0 || status == -EIO);
        scrubbed += status != 0 || found.blocks > 0;
    }
    assert_int_equal(scrubbed, failed);
    int status = conformance_write(store, 9999, 0, 0, BYTES, 9);
    if (status == 0)
        status = conformance_commit();
    assert_true(status == 0 || status == -EIO); /* a compaction has met it, too */
    return failed;
}

/* RocksDB looks for a file of blobs when it reads something in it. So a start is refused without the one that
 * has the first piece of all, next to the objects, and knows nothing of others. With the file all is back. */
static void missing_blobs_are_errors(void **state)
{
    (void)state;
    char names[16][64];
    uint32_t refused_starts = 0, failed = 0, count = 1;
    for (uint32_t i = 0; i < count; i++) {
        char path[256], away[300];
        prepare_more();
        count = list_blobs(names);
        if (i >= count) { /* how many there are differs from time to time */
            assert_int_equal(conformance_mount(), 0);
            finish();
            break;
        }
        place(path, names[i]);
        snprintf(away, sizeof(away), "%s/away", conformance.directory);
        assert_int_equal(rename(path, away), 0);
        int status = conformance_mount();
        assert_true(status == 0 || status == -EIO || status == -EBADMSG);
        refused_starts += status != 0;
        if (status == 0) {
            failed += without_blobs();
            conformance_unmount(true);
        }
        assert_int_equal(rename(away, path), 0);
        expect_sound();
        assert_int_equal(count_unreadable(CHUNKS + 1, 8), 0);
        finish();
    }
    assert_true(failed > 0 || refused_starts > 0);
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
        cmocka_unit_test(missing_blobs_are_errors),
        cmocka_unit_test(damage_that_a_compaction_meets),
    };
    return cmocka_run_group_tests(tests, conformance_real, NULL);
}

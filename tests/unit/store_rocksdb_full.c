/* The engine rocksdb on a device that is full: by itself, which leaves room for what makes room; by others,
 * so that RocksDB cannot write at all; with an end and a new start in between. Nothing that was durable is
 * lost, everything can be removed, and what was removed is room again. On a small tmpfs; where none may be
 * mounted, the cases are skipped. */
#define STORE_CONFORMANCE_PERSISTENT
#include "unit/store_conformance.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#include "base/clock.h"

#define PATIENCE (30 * NSEC_PER_SEC)
#define CHUNKS_MAX 2000u
#define KEPT 20u
#define BATCH 8u

static const struct store_options conformance_options = {
    .engine = "rocksdb", .capacity = 1 << 30, .checksum = true, .buffer = 16 << 20};

/* In a name space of its own, so that nothing stays mounted, whatever becomes of this process. */
static int mount_privately(void)
{
    if (unshare(CLONE_NEWNS) != 0)
        return -1;
    return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

static struct store *open_on_tmpfs(void)
{
    conformance.real = true;
    conformance.options = conformance_options;
    conformance_medium_make();
    if (mount("none", conformance.directory, "tmpfs", 0, "size=48m") != 0) {
        conformance_medium_end();
        skip();
    }
    assert_int_equal(conformance_mount(), 0);
    return conformance.store;
}

static void close_on_tmpfs(void)
{
    conformance_unmount(false);
    assert_int_equal(umount2(conformance.directory, MNT_DETACH), 0);
    conformance_medium_end();
}

static uint8_t value_of(uint64_t index)
{
    return (uint8_t)(1 + index % 250);
}

static int write_chunk(uint64_t index)
{
    return conformance_write(conformance.store, 1, index, 0, CONFORMANCE_CHUNK, value_of(index));
}

static void check_chunks(uint64_t from, uint64_t end, uint64_t step)
{
    for (uint64_t index = from; index < end; index += step)
        assert_int_equal(conformance_read(conformance.store, 1, index, 0, CONFORMANCE_CHUNK, value_of(index)),
                         CONFORMANCE_CHUNK);
}

/* Writes chunks from there on until the device is full. Returns the first that did not fit. */
static uint64_t write_until_full(uint64_t index)
{
    int status = 0;
    for (; (status = write_chunk(index)) == 0; index++) {
        assert_true(index < CHUNKS_MAX);
        if (index % BATCH == 0)
            assert_int_equal(conformance_commit(), 0);
    }
    assert_int_equal(status, -ENOSPC);
    assert_int_equal(conformance.store->operations->chunk_length(conformance.store, 1, index), 0);
    assert_int_equal(conformance_commit(), 0);
    return index;
}

/* Chunk by chunk: the last one that is left stays `left`. */
static void remove_chunk(uint64_t index)
{
    struct store_range range = {1, index * CONFORMANCE_CHUNK, (index + 1) * CONFORMANCE_CHUNK, 16};
    assert_int_equal(conformance.store->operations->clear(conformance.store, &range, false), 0);
}

static void wait_for_room(void)
{
    uint64_t end = loop_now(conformance.loop) + PATIENCE;
    while (journal_room(conformance.journal) != 0 && loop_now(conformance.loop) < end)
        loop_poll(conformance.loop);
    assert_int_equal(journal_room(conformance.journal), 0);
}

/* Writes chunks from there on, at least up to the second, as room comes. */
static uint64_t write_up_to(uint64_t next, uint64_t wanted)
{
    uint64_t end = loop_now(conformance.loop) + PATIENCE;
    while (next < wanted && loop_now(conformance.loop) < end) {
        wait_for_room();
        next = write_until_full(next);
    }
    assert_true(next >= wanted);
    return next;
}

static void everything_can_be_removed(void **state)
{
    (void)state;
    open_on_tmpfs();
    uint64_t count = write_until_full(0);
    assert_true(count > 200);
    check_chunks(0, count, 1);
    for (uint64_t index = count; index-- > KEPT;) {
        assert_int_equal(conformance.store->operations->remove(conformance.store, 1, index), 0);
        assert_int_equal(conformance_commit(), 0);
    }
    check_chunks(0, KEPT, 1);
    uint64_t again = write_up_to(KEPT, count * 3 / 4);
    conformance_crash(NULL);
    check_chunks(0, again, 1);
    close_on_tmpfs();
}

/* What is left of files of blobs has to move. */
static void every_second_can_be_removed(void **state)
{
    (void)state;
    open_on_tmpfs();
    uint64_t count = write_until_full(0);
    for (uint64_t index = 0; index < count; index += 2)
        remove_chunk(index);
    assert_int_equal(conformance_commit(), 0);
    uint64_t next = write_up_to(count, count + count / 4);
    check_chunks(1, count, 2);
    check_chunks(count, next, 1);
    close_on_tmpfs();
}

/* ---- others fill it to the last byte ---- */

static void hog_path(char path[128])
{
    snprintf(path, 128, "%s/hog", conformance.directory);
}

static void hog(void)
{
    static char bytes[4096];
    char path[128];
    hog_path(path);
    int fd = open(path, O_CREAT | O_WRONLY | O_APPEND, 0600);
    assert_true(fd >= 0);
    for (int i = 0; i < 100000 && write(fd, bytes, sizeof(bytes)) > 0; i++)
        continue;
    close(fd);
}

static void hog_end(void)
{
    char path[128];
    hog_path(path);
    assert_int_equal(unlink(path), 0);
}

/* Writes and commits until RocksDB has no place for another byte. */
static void use_up(uint64_t *next)
{
    int status = 0;
    for (uint64_t i = 0; i < CHUNKS_MAX && status == 0; i++) {
        hog();
        status = write_chunk(*next);
        if (status == 0)
            ++*next;
        if (status == 0)
            status = conformance_commit();
    }
    assert_int_equal(status, -ENOSPC);
    /* What makes room is recorded until nothing can be any more. */
    for (uint64_t i = 0; i < CHUNKS_MAX; i++) {
        hog();
        assert_int_equal(conformance.store->operations->truncate(conformance.store, 1, KEPT + i % 8,
                                                                 CONFORMANCE_CHUNK - 1 - (uint32_t)i),
                         0);
        if ((status = conformance_commit()) != 0)
            break;
    }
    assert_int_equal(status, -ENOSPC);
    assert_int_equal(journal_status(conformance.journal), 0);
}

static void nothing_is_lost_by_others(void **state)
{
    (void)state;
    open_on_tmpfs();
    uint64_t next = 0;
    for (; next < KEPT + 8; next++)
        assert_int_equal(write_chunk(next), 0);
    assert_int_equal(conformance_commit(), 0);
    use_up(&next);
    assert_int_equal(write_chunk(next), -ENOSPC);
    check_chunks(0, KEPT, 1);
    hog(); /* RocksDB may have given back a file meanwhile */
    assert_int_equal(conformance.store->operations->remove(conformance.store, 1, KEPT), 0);
    assert_int_equal(conformance_commit(), -ENOSPC);
    check_chunks(0, KEPT, 1);
    hog_end();
    assert_int_equal(conformance_commit(), 0);
    wait_for_room();
    for (uint64_t index = KEPT; index < 2 * KEPT; index++)
        assert_int_equal(write_chunk(index), 0);
    assert_int_equal(conformance_commit(), 0);
    conformance_crash(NULL);
    check_chunks(0, 2 * KEPT, 1);
    assert_int_equal(write_chunk(2 * KEPT), 0);
    close_on_tmpfs();
}

static void *hog_run(void *argument)
{
    (void)argument;
    hog();
    return NULL;
}

/* While RocksDB writes, so that it is RocksDB which fails, in the middle of anything. */
static void it_fails_in_the_middle(void **state)
{
    (void)state;
    open_on_tmpfs();
    uint64_t next = 0;
    for (unsigned round = 0; round < 6; round++) {
        pthread_t thread;
        uint64_t durable = next;
        int status = pthread_create(&thread, NULL, hog_run, NULL);
        assert_int_equal(status, 0);
        while ((status = write_chunk(next)) == 0 && next < CHUNKS_MAX) {
            next++;
            if ((status = conformance_commit()) != 0)
                break;
            durable = next;
        }
        assert_int_equal(status, -ENOSPC);
        pthread_join(thread, NULL);
        hog_end();
        if (round % 2 == 0) {
            assert_int_equal(conformance_commit(), 0);
            durable = next;
        } else {
            conformance_crash(NULL);
        }
        check_chunks(0, durable, 1);
        for (uint64_t index = durable; index-- > KEPT;)
            assert_int_equal(conformance.store->operations->remove(conformance.store, 1, index), 0);
        assert_int_equal(conformance_commit(), 0);
        wait_for_room();
        next = durable < KEPT ? durable : KEPT;
    }
    close_on_tmpfs();
}

static void a_new_start_recovers(void **state)
{
    (void)state;
    open_on_tmpfs();
    uint64_t next = 0;
    for (; next < KEPT + 8; next++)
        assert_int_equal(write_chunk(next), 0);
    assert_int_equal(conformance_commit(), 0);
    use_up(&next);
    conformance_unmount(true);
    hog_end();
    assert_int_equal(conformance_mount(), 0);
    check_chunks(0, KEPT, 1);
    assert_int_equal(journal_room(conformance.journal), 0);
    assert_int_equal(write_chunk(1), 0);
    assert_int_equal(conformance_commit(), 0);
    close_on_tmpfs();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_can_be_removed), cmocka_unit_test(every_second_can_be_removed),
        cmocka_unit_test(nothing_is_lost_by_others), cmocka_unit_test(it_fails_in_the_middle),
        cmocka_unit_test(a_new_start_recovers),
    };
    if (mount_privately() != 0) {
        puts("1..0 # SKIP no name space for mounts of its own");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

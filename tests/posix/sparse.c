/* Holes, reservations, and what a file takes: SEEK_DATA and SEEK_HOLE, fallocate in all its modes, st_blocks.
 */
#include <pthread.h>
#include <sys/time.h>

#include "check.h"

#define KIB 1024L
#define MIB (1024L * 1024)
#define ROOM (16 * MIB)

static unsigned char *bytes;

static int prepare(void **state)
{
    (void)state;
    bytes = malloc(ROOM);
    return bytes == NULL || benchfs_mkdir(fs, "/s", 0755) < 0;
}

static int make(const char *path)
{
    return (int)OK(benchfs_open(fs, path, O_CREAT | O_TRUNC | O_RDWR, 0644));
}

static void put(int fd, off_t at, size_t length, unsigned seed)
{
    pattern_fill(bytes, length, seed, (uint64_t)at);
    IS(length, benchfs_pwrite(fs, fd, bytes, length, at));
}

static void is_pattern(int fd, off_t at, size_t length, unsigned seed)
{
    IS(length, benchfs_pread(fs, fd, bytes, length, at));
    assert_int_equal(pattern_differs(bytes, length, seed, (uint64_t)at), -1);
}

static void is_zero(int fd, off_t at, size_t length)
{
    memset(bytes, 0xee, length);
    IS(length, benchfs_pread(fs, fd, bytes, length, at));
    for (size_t i = 0; i < length; i++)
        if (bytes[i] != 0)
            fail_msg("byte %zu is %02x, not zero", (size_t)at + i, bytes[i]);
}

static struct stat stat_of(int fd)
{
    struct stat status;
    OK(benchfs_fstat(fs, fd, &status));
    return status;
}

static long held(int fd)
{
    return (long)stat_of(fd).st_blocks * 512;
}

static void end(int fd, const char *path)
{
    OK(benchfs_close(fs, fd));
    OK(benchfs_unlink(fs, path));
}

static void seeking(void **state)
{
    (void)state;
    int fd = make("/s/seek");
    FAILS(ENXIO, benchfs_lseek(fs, fd, 0, SEEK_DATA)); /* an empty file */
    FAILS(ENXIO, benchfs_lseek(fs, fd, 0, SEEK_HOLE));
    put(fd, 0, 1000, 1); /* inline */
    IS(0, benchfs_lseek(fs, fd, 0, SEEK_DATA));
    IS(7, benchfs_lseek(fs, fd, 7, SEEK_DATA));
    IS(1000, benchfs_lseek(fs, fd, 7, SEEK_HOLE));
    FAILS(ENXIO, benchfs_lseek(fs, fd, 1000, SEEK_DATA));
    FAILS(ENXIO, benchfs_lseek(fs, fd, 1000, SEEK_HOLE));
    FAILS(ENXIO, benchfs_lseek(fs, fd, -1, SEEK_HOLE));
    FAILS(ENXIO, benchfs_lseek(fs, fd, INT64_MAX, SEEK_DATA));
    IS(1000, benchfs_lseek(fs, fd, 0, SEEK_CUR)); /* where the last seek that found something went */

    /* Islands in chunks of several servers, small gaps and large ones. */
    put(fd, 3 * MIB, 4096, 2);
    put(fd, 5 * MIB + 512 * KIB, 64 * KIB, 3);
    OK(benchfs_ftruncate(fs, fd, 12 * MIB));
    IS(0, benchfs_lseek(fs, fd, 0, SEEK_DATA));
    IS(1000, benchfs_lseek(fs, fd, 0, SEEK_HOLE));
    IS(3 * MIB, benchfs_lseek(fs, fd, 1000, SEEK_DATA));
    IS(3 * MIB + 5, benchfs_lseek(fs, fd, 3 * MIB + 5, SEEK_DATA));
    IS(3 * MIB + 4096, benchfs_lseek(fs, fd, 3 * MIB, SEEK_HOLE));
    IS(5 * MIB + 512 * KIB, benchfs_lseek(fs, fd, 3 * MIB + 4096, SEEK_DATA));
    IS(5 * MIB + 576 * KIB, benchfs_lseek(fs, fd, 5 * MIB + 512 * KIB, SEEK_HOLE));
    IS(11 * MIB, benchfs_lseek(fs, fd, 11 * MIB, SEEK_HOLE));
    FAILS(ENXIO, benchfs_lseek(fs, fd, 6 * MIB, SEEK_DATA));
    assert_true(held(fd) <= 4096 + 4096 + 64 * KIB);
    assert_true(held(fd) >= 1000 + 4096 + 64 * KIB);
    end(fd, "/s/seek");

    /* Dense: the end is the first hole. */
    fd = make("/s/dense");
    put(fd, 0, 9 * MIB + 123, 4);
    IS(9 * MIB + 123, benchfs_lseek(fs, fd, 0, SEEK_HOLE));
    IS(9 * MIB + 122, benchfs_lseek(fs, fd, 9 * MIB + 122, SEEK_DATA));
    assert_true(held(fd) >= 9 * MIB && held(fd) <= 9 * MIB + 4096);
    end(fd, "/s/dense");
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* 100 GB with a byte here and there takes as many seeks as there are islands, and no time. */
static void huge(void **state)
{
    static const off_t islands[] = {0, 7000000000, 50000000000, 99999999999};
    (void)state;
    int fd = make("/s/huge");
    for (int i = 0; i < 4; i++)
        IS(1, benchfs_pwrite(fs, fd, "x", 1, islands[i]));
    double started = now();
    off_t at = 0;
    int found = 0;
    for (; (at = benchfs_lseek(fs, fd, at, SEEK_DATA)) >= 0; found++) {
        assert_true(at <= islands[found] && at + 64 * KIB > islands[found]);
        at = OK(benchfs_lseek(fs, fd, at, SEEK_HOLE));
        assert_true(at > islands[found] && at <= islands[found] + 4096);
    }
    assert_int_equal(found, 4);
    assert_true(now() - started < 5);
    assert_int_equal(stat_of(fd).st_size, 100000000000);
    assert_true(held(fd) <= 4 * 64 * KIB);
    OK(benchfs_ftruncate(fs, fd, INT64_MAX));
    FAILS(ENXIO, benchfs_lseek(fs, fd, 100000000000, SEEK_DATA));
    IS(INT64_C(1) << 61, benchfs_lseek(fs, fd, INT64_C(1) << 61, SEEK_HOLE));
    OK(benchfs_fallocate(fs, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, INT64_MAX));
    assert_int_equal(held(fd), 0);
    FAILS(ENOSPC, benchfs_fallocate(fs, fd, 0, 0, INT64_MAX));
    end(fd, "/s/huge");
}

static void punching(void **state)
{
    static const struct {
        off_t at;
        off_t length;
    } cases[] = {{0, 1},       {100, 5000},          {4096, 4096},      {MIB - 5000, 10000},
                 {0, 3 * MIB}, {2 * MIB, 100 * MIB}, {MIB, 3 * MIB + 1}};
    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        off_t size = 5 * MIB + 77, from = cases[i].at, to = from + cases[i].length;
        int fd = make("/s/punch");
        put(fd, 0, (size_t)size, i);
        long before = held(fd);
        OK(benchfs_fallocate(fs, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, cases[i].length));
        if (to > size)
            to = size;
        assert_int_equal(stat_of(fd).st_size, size);
        is_pattern(fd, 0, (size_t)from, i);
        is_zero(fd, from, (size_t)(to - from));
        is_pattern(fd, to, (size_t)(size - to), i);
        long pages =
            to == size ? (size + 4095) / 4096 - (from + 4095) / 4096 : to / 4096 - (from + 4095) / 4096;
        assert_int_equal(before - held(fd), pages > 0 ? pages * 4096 : 0);
        if (pages > 0) {
            IS((from + 4095) / 4096 * 4096, benchfs_lseek(fs, fd, (from + 4095) / 4096 * 4096, SEEK_HOLE));
            /* What is written there is there, and the rest still zero. */
            off_t middle = (from + to) / 2;
            put(fd, middle, 100, 50);
            is_pattern(fd, middle, 100, 50);
            is_zero(fd, from, (size_t)(middle - from));
        }
        end(fd, "/s/punch");
    }
    int fd = make("/s/small");
    put(fd, 0, 500, 9);
    OK(benchfs_fallocate(fs, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100, 100));
    OK(benchfs_fallocate(fs, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 400, 5000));
    OK(benchfs_fallocate(fs, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4000, 5000));
    assert_int_equal(stat_of(fd).st_size, 500);
    is_pattern(fd, 0, 100, 9);
    is_zero(fd, 100, 100);
    is_pattern(fd, 200, 200, 9);
    is_zero(fd, 400, 100);
    end(fd, "/s/small");
}

static void zeroing(void **state)
{
    (void)state;
    int fd = make("/s/zero");
    put(fd, 0, 3 * MIB, 1);
    OK(benchfs_fallocate(fs, fd, FALLOC_FL_ZERO_RANGE, 100, 2 * MIB));
    is_pattern(fd, 0, 100, 1);
    is_zero(fd, 100, 2 * MIB);
    is_pattern(fd, 100 + 2 * MIB, MIB - 100, 1);
    assert_true(held(fd) >= 3 * MIB);
    OK(benchfs_fallocate(fs, fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 3 * MIB - 10, MIB));
    assert_int_equal(stat_of(fd).st_size, 3 * MIB);
    is_zero(fd, 3 * MIB - 10, 10);
    OK(benchfs_fallocate(fs, fd, FALLOC_FL_ZERO_RANGE, 3 * MIB, MIB));
    assert_int_equal(stat_of(fd).st_size, 4 * MIB);
    is_zero(fd, 3 * MIB, MIB);
    end(fd, "/s/zero");
    fd = make("/s/zero");
    put(fd, 0, 100, 1);
    OK(benchfs_fallocate(fs, fd, FALLOC_FL_ZERO_RANGE, 50, 100));
    assert_int_equal(stat_of(fd).st_size, 150);
    is_pattern(fd, 0, 50, 1);
    is_zero(fd, 50, 100);
    OK(benchfs_fallocate(fs, fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 40, 1000));
    assert_int_equal(stat_of(fd).st_size, 150);
    is_pattern(fd, 0, 40, 1);
    is_zero(fd, 40, 110);
    end(fd, "/s/zero");
}

/* Fills the file system and returns the descriptor of the file that does it. */
static int fill(const char *path)
{
    int fd = make(path);
    for (off_t chunk = 0; chunk < 400; chunk++) {
        off_t at = chunk * MIB, end = at + MIB;
        while (at < end && benchfs_pwrite(fs, fd, bytes, 65536, at) == 65536)
            at += 65536;
        while (at < end && benchfs_pwrite(fs, fd, bytes, 4096, at) == 4096)
            at += 4096;
    }
    return fd;
}

static void reserving(void **state)
{
    (void)state;
    int fd = make("/s/reserve");
    put(fd, 0, 100, 1);
    OK(benchfs_fallocate(fs, fd, FALLOC_FL_KEEP_SIZE, 0, 4 * MIB));
    assert_int_equal(stat_of(fd).st_size, 100);
    assert_true(held(fd) >= 4 * MIB);
    is_pattern(fd, 0, 100, 1);
    IS(0, benchfs_pread(fs, fd, bytes, 10, 100));
    int grown = make("/s/grown");
    OK(benchfs_fallocate(fs, grown, 0, MIB / 2, 4 * MIB));
    assert_int_equal(stat_of(grown).st_size, 4 * MIB + MIB / 2);
    assert_true(held(grown) >= 4 * MIB);
    is_zero(grown, 0, 4 * MIB + MIB / 2);
    IS(4 * MIB + MIB / 2, benchfs_lseek(fs, grown, 0, SEEK_END));
    int other = fill("/s/fill");
    for (int i = 0; i < 20; i++)
        FAILS(ENOSPC, benchfs_pwrite(fs, fd, bytes, 1, (100 + i) * MIB));
    put(fd, 0, 4 * MIB, 2);
    put(grown, MIB / 2, 4 * MIB, 3);
    is_pattern(fd, 0, 4 * MIB, 2);
    is_pattern(grown, MIB / 2, 4 * MIB, 3);
    FAILS(ENOSPC, benchfs_fallocate(fs, fd, 0, 4 * MIB, 16 * MIB));
    assert_int_equal(stat_of(fd).st_size, 4 * MIB);
    assert_int_equal(benchfs_posix_fallocate(fs, fd, 4 * MIB, 16 * MIB), ENOSPC);
    /* What is punched can be had by others. */
    OK(benchfs_fallocate(fs, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4 * MIB));
    assert_int_equal(held(fd), 0);
    OK(benchfs_unlink(fs, "/s/fill"));
    OK(benchfs_close(fs, other));
    end(grown, "/s/grown");
    end(fd, "/s/reserve");
}

/* Reservations beyond the end go with the file, and with its truncation. */
static void reservations_end(void **state)
{
    struct statvfs before, after;
    (void)state;
    OK(benchfs_statvfs(fs, &before));
    for (int way = 0; way < 3; way++) {
        int fd = make("/s/beyond");
        put(fd, 0, 10, 1);
        OK(benchfs_fallocate(fs, fd, FALLOC_FL_KEEP_SIZE, 0, 8 * MIB));
        OK(benchfs_statvfs(fs, &after));
        assert_true(after.f_bfree + 8 * MIB / 4096 <= before.f_bfree);
        if (way == 1)
            OK(benchfs_ftruncate(fs, fd, 5));
        if (way == 2)
            OK(benchfs_fallocate(fs, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 8 * MIB));
        if (way > 0) {
            assert_true(held(fd) <= 4096);
            OK(benchfs_statvfs(fs, &after));
            assert_true(after.f_bfree + 1 >= before.f_bfree);
        }
        end(fd, "/s/beyond");
        OK(benchfs_statvfs(fs, &after));
        assert_int_equal(after.f_bfree, before.f_bfree);
    }
}

static void refused(void **state)
{
    (void)state;
    int fd = make("/s/refused");
    FAILS(EINVAL, benchfs_fallocate(fs, fd, 0, 0, 0));
    FAILS(EINVAL, benchfs_fallocate(fs, fd, 0, -1, 5));
    FAILS(EINVAL, benchfs_fallocate(fs, fd, 0, 0, -5));
    FAILS(EFBIG, benchfs_fallocate(fs, fd, 0, 5, INT64_MAX));
    FAILS(EOPNOTSUPP, benchfs_fallocate(fs, fd, FALLOC_FL_PUNCH_HOLE, 0, 5));
    FAILS(EOPNOTSUPP, benchfs_fallocate(fs, fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096));
    FAILS(EOPNOTSUPP, benchfs_fallocate(fs, fd, FALLOC_FL_INSERT_RANGE, 0, 4096));
    FAILS(EOPNOTSUPP, benchfs_fallocate(fs, fd, FALLOC_FL_UNSHARE_RANGE, 0, 4096));
    FAILS(EOPNOTSUPP, benchfs_fallocate(fs, fd, 0x4000, 0, 4096));
    FAILS(EOPNOTSUPP,
          benchfs_fallocate(fs, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE | FALLOC_FL_ZERO_RANGE, 0,
                            4096));
    errno = 77;
    assert_int_equal(benchfs_posix_fallocate(fs, fd, 0, 0), EINVAL);
    assert_int_equal(benchfs_posix_fallocate(fs, fd, 100, 10), 0);
    assert_int_equal(errno, 77);
    assert_int_equal(stat_of(fd).st_size, 110);
    OK(benchfs_close(fs, fd));
    FAILS(EBADF, benchfs_fallocate(fs, fd, 0, 0, 5));
    assert_int_equal(benchfs_posix_fallocate(fs, fd, 0, 5), EBADF);
    fd = (int)OK(benchfs_open(fs, "/s/refused", O_RDONLY));
    FAILS(EBADF, benchfs_fallocate(fs, fd, 0, 0, 5));
    OK(benchfs_close(fs, fd));
    fd = (int)OK(benchfs_open(fs, "/s", O_RDONLY));
    FAILS(EBADF, benchfs_fallocate(fs, fd, 0, 0, 5));
    OK(benchfs_close(fs, fd));
    OK(benchfs_unlink(fs, "/s/refused"));
}

static void times(void **state)
{
    (void)state;
    int fd = make("/s/times");
    put(fd, 0, 10000, 1);
    struct timespec old[2] = {{1000, 0}, {1000, 0}};
    OK(benchfs_futimens(fs, fd, old));
    OK(benchfs_fallocate(fs, fd, FALLOC_FL_KEEP_SIZE, 0, 5000)); /* changes no byte */
    assert_int_equal(stat_of(fd).st_mtim.tv_sec, 1000);
    assert_true(stat_of(fd).st_ctim.tv_sec > 1000);
    OK(benchfs_fallocate(fs, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 5000));
    assert_true(stat_of(fd).st_mtim.tv_sec > 1000);
    OK(benchfs_futimens(fs, fd, old));
    OK(benchfs_fallocate(fs, fd, 0, 0, 20000)); /* grows */
    assert_true(stat_of(fd).st_mtim.tv_sec > 1000);
    end(fd, "/s/times");
}

/* ---- at once ---- */

static _Atomic int stop;

static void *keep_cutting(void *argument)
{
    int fd = (int)(intptr_t)argument;
    for (int i = 0; !stop && i < 100000; i++) {
        benchfs_ftruncate(fs, fd, (i % 5) * MIB + 11);
        benchfs_fallocate(fs, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, i % 3 * MIB, 2 * MIB);
        benchfs_fallocate(fs, fd, i % 2 ? FALLOC_FL_KEEP_SIZE : 0, i % 4 * MIB, 3 * MIB);
    }
    return NULL;
}

/* Each byte is zero or what was written there, whatever goes on; and nothing is left in the end. */
static void concurrent(void **state)
{
    struct statvfs before, after;
    pthread_t cutter;
    (void)state;
    OK(benchfs_statvfs(fs, &before));
    int fd = make("/s/concurrent");
    stop = 0;
    assert_int_equal(pthread_create(&cutter, NULL, keep_cutting, (void *)(intptr_t)fd), 0);
    unsigned char *mine = malloc(3 * MIB);
    for (int i = 0; i < 40; i++) {
        off_t at = (i * 7919 % 4096) * 1000;
        pattern_fill(mine, 2 * MIB, 5, (uint64_t)at);
        ssize_t written = benchfs_pwrite(fs, fd, mine, 2 * MIB, at);
        assert_true(written == 2 * MIB || (written < 0 && errno == ENOSPC) || written > 0);
        ssize_t got = OK(benchfs_pread(fs, fd, mine, 3 * MIB, i * 50000));
        for (ssize_t k = 0; k < got; k++)
            if (mine[k] != 0 && mine[k] != pattern(5, (uint64_t)(i * 50000 + k)))
                fail_msg("byte %zd is neither zero nor what was written", i * 50000 + k);
    }
    stop = 1;
    pthread_join(cutter, NULL);
    free(mine);
    end(fd, "/s/concurrent");
    OK(benchfs_statvfs(fs, &after));
    assert_int_equal(after.f_bfree, before.f_bfree);
}

int main(int argc, char **argv)
{
    static const char *const settings[] = {"store.capacity=64MiB", NULL};
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(seeking, prepare),
        cmocka_unit_test(huge),
        cmocka_unit_test(punching),
        cmocka_unit_test(zeroing),
        cmocka_unit_test(reserving),
        cmocka_unit_test(reservations_end),
        cmocka_unit_test(refused),
        cmocka_unit_test(times),
        cmocka_unit_test(concurrent),
    };
    return POSIX_MAIN(argc, argv, settings, tests);
}

/* Reading and writing with memory in several ranges, the flags of the second versions, the ends of the range
 * of offsets, and what the file system says of itself. */
#include <limits.h>
#include <pthread.h>

#include "check.h"

#define MIB (1024L * 1024)
#define ROOM (8 * MIB)

static unsigned char *bytes, *expected;

static int prepare(void **state)
{
    (void)state;
    bytes = malloc(ROOM);
    expected = malloc(ROOM);
    return bytes == NULL || expected == NULL || benchfs_mkdir(fs, "/v", 0755) < 0;
}

/* Cuts memory of that length into `count` ranges of uneven lengths, some of them empty. */
static void cut(struct iovec *vector, int count, unsigned char *memory, size_t length, unsigned seed)
{
    for (int i = 0; i < count; i++) {
        seed = seed * 1103515245u + 12345u;
        size_t part = i == count - 1 ? length : (size_t)(seed >> 8) % (2 * length / (size_t)(count - i) + 1);
        if (seed >> 28 == 0 && i < count - 1)
            part = 0;
        vector[i] = (struct iovec){memory, part};
        memory += part;
        length -= part;
    }
}

static void shapes(void **state)
{
    static const struct {
        int count;
        size_t length;
        off_t at;
    } cases[] = {{1, 1, 0},           {2, 10, 0},           {7, 4096, 1},
                 {16, 3000, 1000},    {17, 70000, 65000},   {IOV_MAX, 200000, 3},
                 {IOV_MAX, 1024, 90}, {3, 3 * MIB + 5, 77}, {40, 5 * MIB, MIB - 9}};
    static struct iovec vector[IOV_MAX];
    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t length = cases[i].length;
        int fd = (int)OK(benchfs_open(fs, "/v/shape", O_CREAT | O_TRUNC | O_RDWR, 0644));
        pattern_fill(expected, length, i, 0);
        cut(vector, cases[i].count, expected, length, i);
        IS(length, benchfs_pwritev(fs, fd, vector, cases[i].count, cases[i].at));
        memset(bytes, 0xee, length);
        IS(length, benchfs_pread(fs, fd, bytes, length + 1, cases[i].at));
        assert_memory_equal(bytes, expected, length);
        memset(bytes, 0xee, length + 100);
        cut(vector, cases[i].count, bytes, length + 100, i + 99);
        IS(length, benchfs_preadv(fs, fd, vector, cases[i].count, cases[i].at)); /* less than asked for */
        assert_memory_equal(bytes, expected, length);
        assert_int_equal(bytes[length + 50], 0xee);
        /* With the hole before it. */
        memset(bytes, 0xee, length + 100);
        cut(vector, cases[i].count, bytes, (size_t)cases[i].at + length, i + 7);
        IS(length + (size_t)cases[i].at, benchfs_readv(fs, fd, vector, cases[i].count));
        for (off_t k = 0; k < cases[i].at; k++)
            assert_int_equal(bytes[k], 0);
        assert_memory_equal(bytes + cases[i].at, expected, length);
        IS((size_t)cases[i].at + length, benchfs_lseek(fs, fd, 0, SEEK_CUR));
        OK(benchfs_close(fs, fd));
    }
    /* A small file's data came with open. */
    put_text(fs, "/v/small", "0123456789");
    int fd = (int)OK(benchfs_open(fs, "/v/small", O_RDONLY));
    struct iovec three[] = {{bytes, 3}, {bytes + 100, 3}, {bytes + 200, 30}};
    IS(10, benchfs_readv(fs, fd, three, 3));
    assert_memory_equal(bytes, "012", 3);
    assert_memory_equal(bytes + 100, "345", 3);
    assert_memory_equal(bytes + 200, "6789", 4);
    IS(0, benchfs_readv(fs, fd, three, 3));
    OK(benchfs_close(fs, fd));
}

static void offsets_and_flags(void **state)
{
    struct iovec two[] = {{"ab", 2}, {"cde", 3}};
    struct iovec into[] = {{bytes, 2}, {bytes + 2, 3}};
    (void)state;
    int fd = (int)OK(benchfs_open(fs, "/v/flags", O_CREAT | O_RDWR, 0644));
    IS(5, benchfs_writev(fs, fd, two, 2));
    IS(5, benchfs_lseek(fs, fd, 0, SEEK_CUR));
    IS(5, benchfs_pwritev2(fs, fd, two, 2, 100, RWF_APPEND));
    IS(5, benchfs_lseek(fs, fd, 0, SEEK_CUR));
    IS(5, benchfs_pwritev2(fs, fd, two, 2, -1, RWF_APPEND | RWF_DSYNC));
    IS(15, benchfs_lseek(fs, fd, 0, SEEK_CUR)); /* at the end, where it went */
    IS(5, benchfs_pwritev2(fs, fd, two, 2, -1, RWF_SYNC | RWF_HIPRI));
    IS(20, benchfs_lseek(fs, fd, 0, SEEK_END));
    IS(5, benchfs_preadv2(fs, fd, into, 2, 7, RWF_HIPRI));
    assert_memory_equal(bytes, "cdeab", 5);
    IS(3, benchfs_lseek(fs, fd, 3, SEEK_SET));
    IS(5, benchfs_preadv2(fs, fd, into, 2, -1, 0));
    IS(8, benchfs_lseek(fs, fd, 0, SEEK_CUR));
    FAILS(EOPNOTSUPP, benchfs_preadv2(fs, fd, into, 2, 0, RWF_NOWAIT));
    FAILS(EOPNOTSUPP, benchfs_pwritev2(fs, fd, two, 2, 0, RWF_NOWAIT));
    FAILS(EOPNOTSUPP, benchfs_pwritev2(fs, fd, two, 2, 0, 0x4000));
    FAILS(EINVAL, benchfs_pwritev2(fs, fd, two, 2, -2, 0));
    FAILS(EINVAL, benchfs_pwritev(fs, fd, two, 2, -1));
    FAILS(EINVAL, benchfs_preadv(fs, fd, into, 2, -1));
    FAILS(EINVAL, benchfs_readv(fs, fd, into, -1));
    FAILS(EINVAL, benchfs_writev(fs, fd, two, IOV_MAX + 1));
    IS(0, benchfs_writev(fs, fd, two, 0));
    IS(0, benchfs_readv(fs, fd, into, 0));
    struct iovec huge[] = {{bytes, SSIZE_MAX}, {bytes, 1}};
    FAILS(EINVAL, benchfs_writev(fs, fd, huge, 2));
    huge[0].iov_len = SIZE_MAX;
    FAILS(EINVAL, benchfs_readv(fs, fd, huge, 1));
    OK(benchfs_close(fs, fd));
    FAILS(EBADF, benchfs_readv(fs, fd, into, 2));
    FAILS(EBADF, benchfs_writev(fs, fd, two, 2));
    fd = (int)OK(benchfs_open(fs, "/v/flags", O_RDONLY));
    FAILS(EBADF, benchfs_pwritev(fs, fd, two, 2, 0));
    OK(benchfs_close(fs, fd));
    fd = (int)OK(benchfs_open(fs, "/v/flags", O_WRONLY | O_APPEND));
    FAILS(EBADF, benchfs_preadv(fs, fd, into, 2, 0));
    IS(5, benchfs_pwritev(fs, fd, two, 2, 0));
    IS(25, benchfs_lseek(fs, fd, 0, SEEK_END));
    OK(benchfs_close(fs, fd));
}

/* The last byte that a file can have is number 2^63 - 2. */
static void last_offsets(void **state)
{
    (void)state;
    int fd = (int)OK(benchfs_open(fs, "/v/far", O_CREAT | O_RDWR, 0644));
    FAILS(EINVAL, benchfs_pwrite(fs, fd, "x", 1, INT64_MAX));
    FAILS(EINVAL, benchfs_pwrite(fs, fd, "xyz", 3, INT64_MAX - 2));
    FAILS(EINVAL, benchfs_pread(fs, fd, bytes, 10, INT64_MAX - 5));
    IS(0, benchfs_pread(fs, fd, bytes, 0, INT64_MAX));
    IS(0, benchfs_pwrite(fs, fd, "", 0, INT64_MAX));
    IS(0, benchfs_pread(fs, fd, bytes, 10, INT64_MAX - 10));
    IS(3, benchfs_pwrite(fs, fd, "xyz", 3, INT64_MAX - 3));
    IS(INT64_MAX, benchfs_lseek(fs, fd, 0, SEEK_END));
    FAILS(EINVAL, benchfs_lseek(fs, fd, 1, SEEK_END));
    FAILS(EINVAL, benchfs_lseek(fs, fd, 1, SEEK_CUR));
    FAILS(EINVAL, benchfs_read(fs, fd, bytes, 1));
    FAILS(EINVAL, benchfs_write(fs, fd, "x", 1));
    IS(3, benchfs_pread(fs, fd, bytes, 3, INT64_MAX - 3));
    assert_memory_equal(bytes, "xyz", 3);
    IS(5, benchfs_pread(fs, fd, bytes, 5, INT64_MAX - 7));
    assert_memory_equal(bytes, "\0\0\0\0x", 5);
    IS(1, benchfs_pread(fs, fd, bytes, 1, UINT64_C(1) << 40));
    assert_int_equal(bytes[0], 0);
    OK(benchfs_ftruncate(fs, fd, 100));
    IS(0, benchfs_pread(fs, fd, bytes, 10, 100));
    IS(0, benchfs_pread(fs, fd, bytes, 10, INT64_MAX - 10));
    OK(benchfs_ftruncate(fs, fd, INT64_MAX));
    IS(1, benchfs_pread(fs, fd, bytes, 1, INT64_MAX - 1));
    OK(benchfs_close(fs, fd));
    OK(benchfs_unlink(fs, "/v/far"));
}

#define RECORD 3000

static void *rewrite(void *argument)
{
    int fd = (int)(intptr_t)argument;
    unsigned char own[RECORD];
    struct iovec vector[IOV_MAX];
    intptr_t wrong = 0;
    for (int i = 0; i < 150; i++) {
        memset(own, i, sizeof own);
        cut(vector, 100, own, RECORD, (unsigned)i);
        wrong += benchfs_pwritev(fs, fd, vector, 100, 100000) != RECORD;
    }
    return (void *)wrong;
}

/* A vector within a chunk is one write: others see all of it or nothing. */
static void atomic(void **state)
{
    (void)state;
    pthread_t writers[2];
    int fd = (int)OK(benchfs_open(fs, "/v/atomic", O_CREAT | O_RDWR, 0644));
    memset(bytes, 0, RECORD);
    IS(RECORD, benchfs_pwrite(fs, fd, bytes, RECORD, 100000));
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&writers[i], NULL, rewrite, (void *)(intptr_t)fd), 0);
    for (int i = 0; i < 300; i++) {
        struct iovec vector[50];
        cut(vector, 50, bytes, RECORD, (unsigned)i);
        IS(RECORD, benchfs_preadv(fs, fd, vector, 50, 100000));
        for (int k = 1; k < RECORD; k++)
            assert_int_equal(bytes[k], bytes[0]);
    }
    for (int i = 0; i < 2; i++) {
        void *wrong;
        pthread_join(writers[i], &wrong);
        assert_null(wrong);
    }
    OK(benchfs_close(fs, fd));
    OK(benchfs_unlink(fs, "/v/atomic"));
}

static void statistics(void **state)
{
    struct statvfs before, after;
    (void)state;
    OK(benchfs_statvfs(fs, &before));
    assert_int_equal(before.f_namemax, 255);
    assert_int_not_equal(before.f_fsid, 0);
    assert_true(before.f_bsize > 0 && before.f_frsize > 0);
    assert_true(before.f_bfree <= before.f_blocks && before.f_bavail <= before.f_bfree);
    assert_true(before.f_ffree > 1000 && before.f_ffree < before.f_files);
    int fd = (int)OK(benchfs_open(fs, "/v/counted", O_CREAT | O_RDWR, 0644));
    memset(bytes, 1, 4 * MIB);
    IS(4 * MIB, benchfs_write(fs, fd, bytes, 4 * MIB));
    OK(benchfs_fstatvfs(fs, fd, &after));
    assert_int_equal(after.f_files - after.f_ffree, before.f_files - before.f_ffree + 1);
    assert_true(after.f_bfree <= before.f_bfree - (fsblkcnt_t)(4 * MIB) / before.f_frsize);
    assert_int_equal(after.f_fsid, before.f_fsid);
    OK(benchfs_close(fs, fd));
    FAILS(EBADF, benchfs_fstatvfs(fs, fd, &after));
    OK(benchfs_unlink(fs, "/v/counted"));
    OK(benchfs_statvfs(fs, &after));
    assert_int_equal(after.f_bfree, before.f_bfree);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(shapes, prepare),
        cmocka_unit_test(offsets_and_flags),
        cmocka_unit_test(last_offsets),
        cmocka_unit_test(atomic),
        cmocka_unit_test(statistics),
    };
    return POSIX_MAIN(argc, argv, NULL, tests);
}

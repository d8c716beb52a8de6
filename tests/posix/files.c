/* Open files: reading, writing, offsets, sizes, holes, appending, removal, and what each flag forbids. */
#include "check.h"

#define KIB 1024L
#define MIB (1024L * 1024)

static unsigned char *buffer, *expected;

static int prepare(void **state)
{
    (void)state;
    buffer = malloc(16 * MIB);
    expected = calloc(1, 16 * MIB);
    return buffer == NULL || expected == NULL || benchfs_mkdir(fs, "/f", 0755) < 0;
}

static off_t size_of(const char *path)
{
    struct stat status;
    OK(benchfs_stat(fs, path, &status));
    return status.st_size;
}

static void expect_same(int fd, size_t length, const char *what)
{
    memset(buffer, 0xee, length + 1);
    if (benchfs_pread(fs, fd, buffer, length + 1, 0) != (ssize_t)length)
        fail_msg("%s: wrong length", what);
    for (size_t i = 0; i < length; i++)
        if (buffer[i] != expected[i])
            fail_msg("%s: byte %zu is %02x, expected %02x", what, i, buffer[i], expected[i]);
}

static void modes(void **state)
{
    (void)state;
    int fd = (int)OK(benchfs_open(fs, "/f/modes", O_CREAT | O_WRONLY, 0644));
    assert_int_equal(fd, 3);
    IS(5, benchfs_write(fs, fd, "hello", 5));
    FAILS(EBADF, benchfs_read(fs, fd, buffer, 1));
    FAILS(EBADF, benchfs_pread(fs, fd, buffer, 1, 0));
    OK(benchfs_close(fs, fd));
    FAILS(EBADF, benchfs_close(fs, fd));
    FAILS(EBADF, benchfs_write(fs, fd, "x", 1));
    FAILS(EBADF, benchfs_fstat(fs, fd, &(struct stat){0}));
    FAILS(EBADF, benchfs_lseek(fs, fd, 0, SEEK_SET));
    FAILS(EBADF, benchfs_fsync(fs, fd));
    FAILS(EBADF, benchfs_ftruncate(fs, fd, 0));
    FAILS(EBADF, benchfs_fchmod(fs, fd, 0600));
    FAILS(EBADF, benchfs_futimens(fs, fd, NULL));
    FAILS(EBADF, benchfs_fdopendir(fs, fd) == NULL ? -1 : 0);
    for (int bad = -2; bad < 3; bad++)
        FAILS(EBADF, benchfs_close(fs, bad));
    FAILS(EBADF, benchfs_read(fs, 2000000000, buffer, 1));

    fd = (int)OK(benchfs_open(fs, "/f/modes", O_RDONLY));
    FAILS(EBADF, benchfs_write(fs, fd, "x", 1));
    FAILS(EBADF, benchfs_pwrite(fs, fd, "x", 1, 0));
    FAILS(EINVAL, benchfs_ftruncate(fs, fd, 0));
    FAILS(EINVAL, benchfs_pread(fs, fd, buffer, 1, -1));
    IS(0, benchfs_read(fs, fd, buffer, 0));
    OK(benchfs_close(fs, fd));

    fd = (int)OK(benchfs_open(fs, "/f/modes", O_RDWR));
    FAILS(EINVAL, benchfs_ftruncate(fs, fd, -1));
    FAILS(EINVAL, benchfs_pwrite(fs, fd, "x", 1, -5));
    FAILS(EINVAL, benchfs_pwrite(fs, fd, "x", 1, INT64_MAX));
    IS(0, benchfs_write(fs, fd, "", 0));
    IS(5, benchfs_read(fs, fd, buffer, 100));
    IS(0, benchfs_read(fs, fd, buffer, 100));
    OK(benchfs_close(fs, fd));

    fd = (int)OK(benchfs_open(fs, "/f/modes", O_PATH));
    FAILS(EBADF, benchfs_read(fs, fd, buffer, 1));
    OK(benchfs_fstat(fs, fd, &(struct stat){0}));
    OK(benchfs_close(fs, fd));

    fd = (int)OK(benchfs_open(fs, "/f", O_RDONLY));
    FAILS(EISDIR, benchfs_read(fs, fd, buffer, 1));
    FAILS(EISDIR, benchfs_pread(fs, fd, buffer, 1, 0));
    FAILS(EBADF, benchfs_write(fs, fd, "x", 1));
    FAILS(EINVAL, benchfs_ftruncate(fs, fd, 0));
    OK(benchfs_fsync(fs, fd));
    OK(benchfs_close(fs, fd));
    FAILS(EISDIR, benchfs_truncate(fs, "/f", 0));
    FAILS(EINVAL, benchfs_truncate(fs, "/f/modes", -1));
    FAILS(ENOENT, benchfs_truncate(fs, "/f/none", 0));
    IS(5, size_of("/f/modes"));
    OK(benchfs_unlink(fs, "/f/modes"));
}

static void descriptors(void **state)
{
    int fds[600];
    (void)state;
    put_text(fs, "/f/many", "many");
    for (int i = 0; i < 600; i++) {
        fds[i] = (int)OK(benchfs_open(fs, "/f/many", O_RDONLY));
        assert_int_equal(fds[i], 3 + i);
    }
    OK(benchfs_close(fs, fds[300]));
    OK(benchfs_close(fs, fds[7]));
    IS(fds[7], benchfs_open(fs, "/f/many", O_RDONLY)); /* the lowest free one */
    IS(fds[300], benchfs_open(fs, "/f/many", O_RDONLY));
    for (int i = 0; i < 600; i++) {
        IS(4, benchfs_pread(fs, fds[i], buffer, 10, 0));
        OK(benchfs_close(fs, fds[i]));
    }
    OK(benchfs_unlink(fs, "/f/many"));
}

static void seeks(void **state)
{
    (void)state;
    put_text(fs, "/f/seek", "0123456789");
    int fd = (int)OK(benchfs_open(fs, "/f/seek", O_RDWR));
    IS(4, benchfs_lseek(fs, fd, 4, SEEK_SET));
    IS(2, benchfs_read(fs, fd, buffer, 2));
    assert_memory_equal(buffer, "45", 2);
    IS(6, benchfs_lseek(fs, fd, 0, SEEK_CUR));
    IS(5, benchfs_lseek(fs, fd, -1, SEEK_CUR));
    IS(8, benchfs_lseek(fs, fd, -2, SEEK_END));
    IS(2, benchfs_read(fs, fd, buffer, 10));
    IS(10, benchfs_lseek(fs, fd, 0, SEEK_CUR));
    FAILS(EINVAL, benchfs_lseek(fs, fd, -1, SEEK_SET));
    FAILS(EINVAL, benchfs_lseek(fs, fd, -11, SEEK_END));
    FAILS(EINVAL, benchfs_lseek(fs, fd, 0, 77));
    FAILS(EINVAL, benchfs_lseek(fs, fd, INT64_MAX, SEEK_END));
    IS(10, benchfs_lseek(fs, fd, 0, SEEK_CUR));
    IS(3, benchfs_lseek(fs, fd, 3, SEEK_DATA));
    IS(10, benchfs_lseek(fs, fd, 3, SEEK_HOLE));
    FAILS(ENXIO, benchfs_lseek(fs, fd, 10, SEEK_DATA));
    IS(20, benchfs_lseek(fs, fd, 20, SEEK_SET));
    IS(0, benchfs_read(fs, fd, buffer, 10));
    IS(1, benchfs_write(fs, fd, "x", 1));
    IS(21, benchfs_lseek(fs, fd, 0, SEEK_END));
    IS(21, benchfs_pread(fs, fd, buffer, 100, 0));
    assert_memory_equal(buffer, "0123456789\0\0\0\0\0\0\0\0\0\0x", 21);
    IS(1, benchfs_pwrite(fs, fd, "y", 1, 0));
    IS(21, benchfs_lseek(fs, fd, 0, SEEK_CUR)); /* pwrite does not move it */
    OK(benchfs_close(fs, fd));
    OK(benchfs_unlink(fs, "/f/seek"));
}

/* Writes of every awkward size at every awkward place, read back whole and in part. */
static void sizes(void **state)
{
    static const long at[] = {0,     1,       4095, 4096,    4097,        65535,
                              65536, MIB - 1, MIB,  MIB + 1, 2 * MIB - 7, 3 * MIB};
    static const long lengths[] = {1, 7, 4095, 4096, 4097, 65536, 65537, MIB - 1, MIB, MIB + 1, 2 * MIB + 13};
    char path[32];
    (void)state;
    for (unsigned i = 0; i < sizeof at / sizeof *at; i++)
        for (unsigned j = 0; j < sizeof lengths / sizeof *lengths; j++) {
            size_t end = (size_t)(at[i] + lengths[j]);
            snprintf(path, sizeof path, "/f/%ld+%ld", at[i], lengths[j]);
            memset(expected, 0, end);
            pattern_fill(expected + at[i], (size_t)lengths[j], i * 100 + j, (uint64_t)at[i]);
            int fd = (int)OK(benchfs_open(fs, path, O_CREAT | O_RDWR, 0644));
            IS(lengths[j], benchfs_pwrite(fs, fd, expected + at[i], (size_t)lengths[j], at[i]));
            expect_same(fd, end, path);
            IS(end, size_of(path));
            size_t middle = end / 2, part = end / 3;
            IS(part, benchfs_pread(fs, fd, buffer, part, (off_t)middle));
            assert_memory_equal(buffer, expected + middle, part);
            IS(0, benchfs_pread(fs, fd, buffer, 10, (off_t)end));
            IS(0, benchfs_pread(fs, fd, buffer, 10, (off_t)end + 5 * MIB));
            OK(benchfs_close(fs, fd));
            OK(benchfs_unlink(fs, path));
        }
}

/* The IOR-hard pattern: 47,008-byte records, every second one first. */
static void strided(void **state)
{
    enum { RECORD = 47008, RECORDS = 120 };
    (void)state;
    int fd = (int)OK(benchfs_open(fs, "/f/strided", O_CREAT | O_RDWR, 0644));
    pattern_fill(expected, (size_t)RECORD * RECORDS, 5, 0);
    for (int first = 1; first >= 0; first--)
        for (int i = first; i < RECORDS; i += 2)
            IS(RECORD, benchfs_pwrite(fs, fd, expected + (size_t)i * RECORD, RECORD, (off_t)i * RECORD));
    expect_same(fd, (size_t)RECORD * RECORDS, "strided");
    for (int i = RECORDS - 1; i >= 0; i--) {
        IS(RECORD, benchfs_pread(fs, fd, buffer, RECORD, (off_t)i * RECORD));
        assert_memory_equal(buffer, expected + (size_t)i * RECORD, RECORD);
    }
    OK(benchfs_close(fs, fd));
    OK(benchfs_unlink(fs, "/f/strided"));
}

static void holes(void **state)
{
    (void)state;
    size_t end = 9 * MIB + 100;
    memset(expected, 0, end);
    int fd = (int)OK(benchfs_open(fs, "/f/holes", O_CREAT | O_RDWR, 0644));
    static const long places[] = {9 * MIB, 100, 5 * MIB + 4000, 3 * MIB - 50, 70000};
    for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
        pattern_fill(expected + places[i], 100, i, 0);
        IS(100, benchfs_pwrite(fs, fd, expected + places[i], 100, places[i]));
        IS(end, size_of("/f/holes"));
        expect_same(fd, end, "holes");
    }
    IS(50, benchfs_pread(fs, fd, buffer, 1000, (off_t)end - 50));
    OK(benchfs_close(fs, fd));
    OK(benchfs_unlink(fs, "/f/holes"));
}

/* What truncation cuts is gone: extension shows zeros, whatever way it happens. */
static void truncation(void **state)
{
    static const long cuts[] = {0,     1,       100, 4095,    4096,  4097,        5000,
                                65536, MIB - 1, MIB, MIB + 1, 70000, 3 * MIB + 5, 5 * MIB};
    (void)state;
    size_t full = 5 * MIB + 12345;
    int fd = (int)OK(benchfs_open(fs, "/f/cut", O_CREAT | O_RDWR, 0644));
    for (unsigned i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        pattern_fill(expected, full, i, 0);
        IS(full, benchfs_pwrite(fs, fd, expected, full, 0));
        OK(benchfs_ftruncate(fs, fd, cuts[i]));
        IS(cuts[i], size_of("/f/cut"));
        expect_same(fd, (size_t)cuts[i], "cut");
        memset(expected + cuts[i], 0, full - (size_t)cuts[i]);
        if (i % 2) {
            OK(benchfs_truncate(fs, "/f/cut", (off_t)full));
        } else {
            expected[full - 1] = 'e';
            IS(1, benchfs_pwrite(fs, fd, "e", 1, (off_t)full - 1));
        }
        expect_same(fd, full, "extended");
    }
    OK(benchfs_ftruncate(fs, fd, 0));
    OK(benchfs_ftruncate(fs, fd, 3000)); /* small files too */
    memset(expected, 0, 5000);
    expect_same(fd, 3000, "small zeros");
    IS(10, benchfs_pwrite(fs, fd, "0123456789", 10, 2995));
    memcpy(expected + 2995, "0123456789", 10);
    expect_same(fd, 3005, "small end");
    OK(benchfs_ftruncate(fs, fd, 2997));
    OK(benchfs_ftruncate(fs, fd, 5000));
    memset(expected + 2997, 0, 2003);
    expect_same(fd, 5000, "small cut");
    OK(benchfs_close(fs, fd));
    fd = (int)OK(benchfs_open(fs, "/f/cut", O_WRONLY | O_TRUNC));
    IS(0, size_of("/f/cut"));
    OK(benchfs_close(fs, fd));
    put_text(fs, "/f/cut", "abc");
    fd = (int)OK(benchfs_open(fs, "/f/cut", O_WRONLY | O_TRUNC | O_CREAT, 0644));
    IS(0, size_of("/f/cut"));
    OK(benchfs_close(fs, fd));
    OK(benchfs_unlink(fs, "/f/cut"));
    /* The largest file there can be. */
    fd = (int)OK(benchfs_open(fs, "/f/huge", O_CREAT | O_RDWR, 0644));
    OK(benchfs_ftruncate(fs, fd, INT64_MAX));
    IS(INT64_MAX, size_of("/f/huge"));
    IS(7, benchfs_pread(fs, fd, buffer, 7, INT64_MAX - 7));
    IS(1, benchfs_pwrite(fs, fd, "z", 1, INT64_MAX - 1));
    OK(benchfs_ftruncate(fs, fd, 10));
    IS(10, benchfs_pread(fs, fd, buffer, 100, 0));
    OK(benchfs_close(fs, fd));
    OK(benchfs_unlink(fs, "/f/huge"));
}

static void appends(void **state)
{
    (void)state;
    int first = (int)OK(benchfs_open(fs, "/f/log", O_CREAT | O_WRONLY | O_APPEND, 0644));
    int second = (int)OK(benchfs_open(fs, "/f/log", O_RDWR | O_APPEND));
    IS(5, benchfs_write(fs, first, "one, ", 5));
    IS(5, benchfs_write(fs, second, "two, ", 5));
    IS(10, benchfs_lseek(fs, second, 0, SEEK_CUR));
    IS(7, benchfs_write(fs, first, "three, ", 7));
    IS(0, benchfs_lseek(fs, second, 0, SEEK_SET));
    IS(4, benchfs_pwrite(fs, second, "four", 4, 0)); /* as Linux: at the end all the same */
    expect_text(fs, "/f/log", "one, two, three, four");
    OK(benchfs_close(fs, first));
    OK(benchfs_close(fs, second));

    /* Across chunks, in odd pieces. */
    size_t length = 0;
    first = (int)OK(benchfs_open(fs, "/f/log", O_CREAT | O_RDWR | O_APPEND | O_TRUNC, 0644));
    for (int i = 0; length < 3 * MIB; i++) {
        size_t part = (size_t)(i % 2 ? 70001 : 12345);
        pattern_fill(expected + length, part, 9, length);
        IS(part, benchfs_write(fs, first, expected + length, part));
        length += part;
    }
    expect_same(first, length, "appended");
    /* One that fails leaves the offset where it was. */
    IS(100, benchfs_lseek(fs, first, 100, SEEK_SET));
    OK(benchfs_ftruncate(fs, first, INT64_MAX));
    FAILS(EFBIG, benchfs_write(fs, first, "x", 1));
    IS(100, benchfs_lseek(fs, first, 0, SEEK_CUR));
    OK(benchfs_close(fs, first));
    OK(benchfs_unlink(fs, "/f/log"));
}

static void removed(void **state)
{
    struct stat status;
    (void)state;
    OK(benchfs_mkdir(fs, "/f/gone", 0755));
    put_text(fs, "/f/gone/x", "x");
    OK(benchfs_unlink(fs, "/f/gone/x"));
    FAILS(ENOENT, benchfs_stat(fs, "/f/gone/x", &status));
    FAILS(ENOENT, benchfs_unlink(fs, "/f/gone/x"));
    put_text(fs, "/f/gone/x", "y");
    expect_text(fs, "/f/gone/x", "y");
    OK(benchfs_unlink(fs, "/f/gone/x"));
    OK(benchfs_rmdir(fs, "/f/gone"));
    FAILS(ENOENT, benchfs_open(fs, "/f/gone/x", O_CREAT | O_RDWR, 0644));
}

static void synchronised(void **state)
{
    (void)state;
    int fd = (int)OK(benchfs_open(fs, "/f/sync", O_CREAT | O_RDWR, 0644));
    OK(benchfs_fsync(fs, fd));
    pattern_fill(buffer, 5 * MIB, 1, 0);
    IS(5 * MIB, benchfs_write(fs, fd, buffer, 5 * MIB));
    OK(benchfs_fsync(fs, fd));
    OK(benchfs_fdatasync(fs, fd));
    OK(benchfs_close(fs, fd));
    OK(benchfs_unlink(fs, "/f/sync"));
}

/* A reader that opened a small file sees its own process's later writes at once, through whatever descriptor.
 */
static void own_writes(void **state)
{
    (void)state;
    put_text(fs, "/f/own", "old");
    int reader = (int)OK(benchfs_open(fs, "/f/own", O_RDONLY));
    IS(3, benchfs_pread(fs, reader, buffer, 10, 0));
    int writer = (int)OK(benchfs_open(fs, "/f/own", O_WRONLY));
    for (int i = 0; i < 200; i++) {
        char text[8];
        int length = snprintf(text, sizeof text, "n%d", i);
        int again = (int)OK(benchfs_open(fs, "/f/own", O_RDONLY));
        IS(length, benchfs_pwrite(fs, writer, text, (size_t)length, 0));
        IS(length, benchfs_pread(fs, reader, buffer, (size_t)length, 0));
        assert_memory_equal(buffer, text, (size_t)length);
        IS(length, benchfs_pread(fs, again, buffer, (size_t)length, 0));
        assert_memory_equal(buffer, text, (size_t)length);
        OK(benchfs_close(fs, again));
        if (i % 10 == 0) {
            again = (int)OK(benchfs_open(fs, "/f/own", O_RDONLY));
            OK(benchfs_ftruncate(fs, writer, 1));
            IS(1, benchfs_pread(fs, again, buffer, 10, 0));
            OK(benchfs_truncate(fs, "/f/own", 5));
            IS(5, benchfs_pread(fs, again, buffer, 10, 0));
            OK(benchfs_close(fs, again));
        }
    }
    OK(benchfs_close(fs, reader));
    OK(benchfs_close(fs, writer));
    OK(benchfs_unlink(fs, "/f/own"));
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(modes, prepare),
        cmocka_unit_test(descriptors),
        cmocka_unit_test(seeks),
        cmocka_unit_test(sizes),
        cmocka_unit_test(strided),
        cmocka_unit_test(holes),
        cmocka_unit_test(truncation),
        cmocka_unit_test(appends),
        cmocka_unit_test(removed),
        cmocka_unit_test(synchronised),
        cmocka_unit_test(own_writes),
    };
    return POSIX_MAIN(argc, argv, NULL, tests);
}

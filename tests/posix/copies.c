/* copy_file_range: bytes that the servers move, in every alignment, with holes, onto data, within a file. */
#include "check.h"

#define KIB 1024L
#define MIB (1024L * 1024)
#define ROOM (12 * MIB)

static unsigned char *bytes, *expected;

static int prepare(void **state)
{
    (void)state;
    bytes = malloc(ROOM);
    expected = malloc(ROOM);
    return bytes == NULL || expected == NULL || benchfs_mkdir(fs, "/c", 0755) < 0;
}

static int make(const char *path, size_t length, unsigned seed)
{
    int fd = (int)OK(benchfs_open(fs, path, O_CREAT | O_TRUNC | O_RDWR, 0644));
    pattern_fill(bytes, length, seed, 0);
    if (length > 0)
        IS(length, benchfs_pwrite(fs, fd, bytes, length, 0));
    return fd;
}

/* Copies all of it, in as many calls as it takes; returns how much that was. */
static size_t copy(int in, off_t from, int out, off_t to, size_t length)
{
    size_t done = 0;
    while (done < length) {
        off_t a = from + (off_t)done, b = to + (off_t)done;
        ssize_t copied = OK(benchfs_copy_file_range(fs, in, &a, out, &b, length - done, 0));
        if (copied == 0)
            break;
        assert_int_equal(a, from + (off_t)done + copied);
        assert_int_equal(b, to + (off_t)done + copied);
        done += (size_t)copied;
    }
    return done;
}

static void everywhere(void **state)
{
    static const struct {
        size_t in_size, out_size;
        off_t from, to;
        size_t length;
    } cases[] = {
        {10, 0, 0, 0, 10},
        {10, 0, 3, 5, 100},
        {4000, 10, 0, 96, 4000},
        {4096, 4096, 1, 0, 4096},
        {5000, 0, 0, 0, 5000},
        {5000, 100000, 77, 1000, 4000},
        {100000, 0, 5, 5, 99000},
        {3 * MIB, 0, 0, 0, 3 * MIB},
        {3 * MIB + 5, 2 * MIB, 1, 7, 3 * MIB},
        {5 * MIB, MIB, MIB - 100, 3 * MIB + 77, 2 * MIB + 500},
        {5 * MIB, 5 * MIB, 100, MIB - 100, 300},
    };
    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t in_size = cases[i].in_size, out_size = cases[i].out_size, length = cases[i].length;
        size_t from = (size_t)cases[i].from, to = (size_t)cases[i].to;
        int in = make("/c/in", in_size, i), out = make("/c/out", out_size, i + 50);
        if (length > in_size - from)
            length = in_size - from;
        assert_int_equal(copy(in, cases[i].from, out, cases[i].to, cases[i].length), length);
        memset(expected, 0, ROOM);
        pattern_fill(expected, out_size, i + 50, 0);
        pattern_fill(expected + to, length, i, from);
        size_t end = to + length > out_size ? to + length : out_size;
        memset(bytes, 0xee, end + 1);
        IS(end, benchfs_pread(fs, out, bytes, end + 1, 0));
        for (size_t k = 0; k < end; k++)
            if (bytes[k] != expected[k])
                fail_msg("case %u: byte %zu is %02x, expected %02x", i, k, bytes[k], expected[k]);
        IS(in_size, benchfs_pread(fs, in, bytes, in_size + 1, 0)); /* the source is as it was */
        assert_int_equal(pattern_differs(bytes, in_size, i, 0), -1);
        OK(benchfs_close(fs, in));
        OK(benchfs_close(fs, out));
    }
}

static void own_offsets(void **state)
{
    (void)state;
    int in = make("/c/in", 3000, 1), out = make("/c/out", 0, 0);
    IS(1000, benchfs_copy_file_range(fs, in, NULL, out, NULL, 1000, 0));
    IS(1000, benchfs_lseek(fs, in, 0, SEEK_CUR));
    IS(1000, benchfs_lseek(fs, out, 0, SEEK_CUR));
    IS(2000, benchfs_copy_file_range(fs, in, NULL, out, NULL, 5000, 0));
    IS(0, benchfs_copy_file_range(fs, in, NULL, out, NULL, 5000, 0));
    off_t at = 100;
    IS(50, benchfs_copy_file_range(fs, in, &at, out, NULL, 50, 0));
    IS(150, at);
    IS(3000, benchfs_lseek(fs, in, 0, SEEK_CUR));
    IS(3050, benchfs_lseek(fs, out, 0, SEEK_CUR));
    IS(3050, benchfs_pread(fs, out, bytes, 4000, 0));
    assert_int_equal(pattern_differs(bytes, 3000, 1, 0), -1);
    assert_int_equal(pattern_differs(bytes + 3000, 50, 1, 100), -1);
    OK(benchfs_close(fs, in));
    OK(benchfs_close(fs, out));
}

static void within_a_file(void **state)
{
    (void)state;
    int fd = make("/c/one", 2 * MIB, 3);
    off_t a = 100, b = 100 + 50;
    FAILS(EINVAL, benchfs_copy_file_range(fs, fd, &a, fd, &b, 51, 0));
    FAILS(EINVAL, benchfs_copy_file_range(fs, fd, &b, fd, &a, 51, 0));
    FAILS(EINVAL, benchfs_copy_file_range(fs, fd, NULL, fd, NULL, 1, 0));
    IS(50, benchfs_copy_file_range(fs, fd, &a, fd, &b, 50, 0));
    IS(50, benchfs_pread(fs, fd, bytes, 50, 150));
    assert_int_equal(pattern_differs(bytes, 50, 3, 100), -1);
    assert_int_equal(copy(fd, 200, fd, 2 * MIB, MIB), MIB);
    IS(MIB, benchfs_pread(fs, fd, bytes, MIB, 2 * MIB));
    assert_int_equal(pattern_differs(bytes, MIB, 3, 200), -1);
    OK(benchfs_close(fs, fd));
}

static void holes(void **state)
{
    struct stat status;
    (void)state;
    int in = make("/c/in", 0, 0), out = make("/c/out", 6 * MIB, 9);
    IS(3, benchfs_pwrite(fs, in, "abc", 3, 0));
    IS(3, benchfs_pwrite(fs, in, "def", 3, 4 * MIB + 9));
    OK(benchfs_ftruncate(fs, in, 9 * MIB));
    assert_int_equal(copy(in, 0, out, 0, 9 * MIB), 9 * MIB);
    IS(9 * MIB, benchfs_pread(fs, out, bytes, ROOM, 0));
    memset(expected, 0, 9 * MIB);
    memcpy(expected, "abc", 3);
    memcpy(expected + 4 * MIB + 9, "def", 3);
    assert_memory_equal(bytes, expected, 9 * MIB);
    OK(benchfs_fstat(fs, out, &status));
    assert_true(status.st_blocks * 512 <= 128 * KIB);
    /* 100 GB of nothing take no time. */
    OK(benchfs_ftruncate(fs, in, 100000000000));
    OK(benchfs_ftruncate(fs, out, 0));
    assert_int_equal(copy(in, 0, out, 5, 100000000000), 100000000000);
    IS(100000000005, benchfs_lseek(fs, out, 0, SEEK_END));
    IS(3, benchfs_pread(fs, out, bytes, 3, 4 * MIB + 14));
    assert_memory_equal(bytes, "def", 3);
    OK(benchfs_close(fs, in));
    OK(benchfs_close(fs, out));
}

static void refused(void **state)
{
    (void)state;
    int in = make("/c/in", 1000, 1), out = make("/c/out", 10, 2);
    int reader = (int)OK(benchfs_open(fs, "/c/in", O_RDONLY));
    int writer = (int)OK(benchfs_open(fs, "/c/out", O_WRONLY));
    int appender = (int)OK(benchfs_open(fs, "/c/out", O_WRONLY | O_APPEND));
    int directory = (int)OK(benchfs_open(fs, "/c", O_RDONLY));
    off_t a = 0, b = 0;
    FAILS(EINVAL, benchfs_copy_file_range(fs, in, &a, out, &b, 10, 1));
    FAILS(EBADF, benchfs_copy_file_range(fs, writer, NULL, in, NULL, 10, 0));
    FAILS(EBADF, benchfs_copy_file_range(fs, out, NULL, reader, NULL, 10, 0));
    FAILS(EBADF, benchfs_copy_file_range(fs, in, NULL, appender, NULL, 10, 0));
    FAILS(EBADF, benchfs_copy_file_range(fs, 9999, NULL, out, NULL, 10, 0));
    FAILS(EISDIR, benchfs_copy_file_range(fs, directory, NULL, out, NULL, 10, 0));
    FAILS(EISDIR, benchfs_copy_file_range(fs, in, &a, directory, &b, 10, 0));
    a = -1;
    FAILS(EOVERFLOW, benchfs_copy_file_range(fs, in, &a, out, &b, 10, 0));
    a = 0;
    b = INT64_MAX;
    FAILS(EFBIG, benchfs_copy_file_range(fs, in, &a, out, &b, 10, 0));
    b = 0;
    IS(0, benchfs_copy_file_range(fs, in, &a, out, &b, 0, 0));
    a = 1000;
    IS(0, benchfs_copy_file_range(fs, in, &a, out, &b, 10, 0));
    IS(1000, a);
    IS(10, benchfs_lseek(fs, out, 0, SEEK_END));
    OK(benchfs_close(fs, in));
    OK(benchfs_close(fs, out));
    OK(benchfs_close(fs, reader));
    OK(benchfs_close(fs, writer));
    OK(benchfs_close(fs, appender));
    OK(benchfs_close(fs, directory));
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(everywhere, prepare),
        cmocka_unit_test(own_offsets),
        cmocka_unit_test(within_a_file),
        cmocka_unit_test(holes),
        cmocka_unit_test(refused),
    };
    return POSIX_MAIN(argc, argv, NULL, tests);
}

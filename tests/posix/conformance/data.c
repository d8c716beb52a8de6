/* What files hold: reading, writing, appending, vectors, offsets up to 2^63-1, truncation, holes, and the
 * calls that move space and bytes. */
#include "conformance.h"

/* Where implementations have edges: inline data, pages, chunks. */
static const off_t edges[] = {0, 1, 511, 4095, 4096, 4097, 65535, 65536, 1048575, 1048576, 1048577, 3145729};

static char *bytes_of(size_t length)
{
    char *bytes = calloc(1, length);
    if (bytes == NULL)
        exit(99);
    return bytes;
}

/* The file has that size; [from, to) is pattern `seed`, what is outside [from, to) is zeros. */
static void expect_content(int fd, off_t size, uint64_t seed, off_t from, off_t to, const char *row)
{
    struct stat status;
    char *bytes = bytes_of((size_t)size + 1);
    EXPECT_ERROR(0, fstat(fd, &status), "%s: fstat", row);
    EXPECT_VALUE(size, status.st_size, "%s: size", row);
    EXPECT_VALUE(size, pread(fd, bytes, (size_t)size + 1, 0), "%s: pread", row);
    from = from < size ? from : size;
    to = to < size ? to : size;
    EXPECT_VALUE(-1, zeros_differ(bytes, (size_t)from), "%s: zeros before", row);
    EXPECT_VALUE(-1, pattern_differs(bytes + from, (size_t)(to - from), seed, (uint64_t)from), "%s: bytes",
                 row);
    EXPECT_VALUE(-1, zeros_differ(bytes + to, (size_t)(size - to)), "%s: zeros behind", row);
    free(bytes);
}

/* Every length at every offset, written and read at once and in pieces. */
static void lengths_at_offsets(void)
{
    static const size_t lengths[] = {1, 3, 4095, 4096, 4097, 65537, 1048577};
    char *bytes = bytes_of(1048577), row[100];
    for (unsigned o = 0; o < COUNT(edges); o++)
        for (unsigned l = 0; l < COUNT(lengths); l++) {
            off_t offset = edges[o], end = offset + (off_t)lengths[l];
            snprintf(row, sizeof row, "%zu at %lld", lengths[l], (long long)offset);
            int fd = open("f", O_RDWR | O_CREAT | O_TRUNC, 0644);
            pattern_fill(bytes, lengths[l], l, (uint64_t)offset);
            EXPECT_VALUE(lengths[l], pwrite(fd, bytes, lengths[l], offset), "%s: pwrite", row);
            expect_content(fd, end, l, offset, end, row);
            EXPECT_VALUE(0, lseek(fd, 0, SEEK_CUR), "%s: offset stays", row);
            EXPECT_VALUE(0, pread(fd, bytes, 10, end), "%s: read at the end", row);
            EXPECT_VALUE(0, pread(fd, bytes, 10, end + 100000), "%s: read beyond the end", row);
            EXPECT_VALUE(1, pread(fd, bytes, 10, end - 1), "%s: read of the last byte", row);
            EXPECT_ERROR(0, close(fd), "%s: close", row);
        }
    free(bytes);
}

/* Overwriting keeps what is around. */
static void overwriting(void)
{
    enum { SIZE = 2 << 20 };
    char *model = bytes_of(SIZE), *bytes = bytes_of(SIZE);
    make_file("f", "");
    int fd = (int)OK(open("f", O_RDWR));
    pattern_fill(model, SIZE, 1, 0);
    IS(SIZE, pwrite(fd, model, SIZE, 0));
    uint64_t state = 88172645463325252u;
    for (int i = 0; i < 150; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        size_t length = 1 + (size_t)(state >> 8) % (i % 3 == 0 ? 300000 : i % 3 == 1 ? 5000 : 20);
        size_t offset = (size_t)(state >> 33) % (SIZE - length);
        pattern_fill(model + offset, length, (uint64_t)i + 2, offset);
        EXPECT_VALUE(length, pwrite(fd, model + offset, length, (off_t)offset), "write %d", i);
        EXPECT_VALUE(SIZE, i % 10 == 0 ? pread(fd, bytes, SIZE, 0) : SIZE, "read %d", i);
        if (i % 10 == 0)
            EXPECT_VALUE(0, memcmp(model, bytes, SIZE), "content after %zu at %zu", length, offset);
    }
    IS(SIZE, pread(fd, bytes, SIZE, 0));
    TRUE(memcmp(model, bytes, SIZE) == 0);
    IS(SIZE, status_of("f").st_size);
    OK(close(fd));
    free(model);
    free(bytes);
}

static void truncating(void)
{
    char *bytes = bytes_of(3145729), row[100];
    for (unsigned a = 0; a < COUNT(edges); a++)
        for (unsigned b = 0; b < COUNT(edges); b++) {
            size_t length = (size_t)edges[a];
            snprintf(row, sizeof row, "%zu cut to %lld", length, (long long)edges[b]);
            int fd = open("f", O_RDWR | O_CREAT | O_TRUNC, 0644);
            pattern_fill(bytes, length, a, 0);
            if (length > 0)
                EXPECT_VALUE(length, write(fd, bytes, length), "%s: write", row);
            EXPECT_ERROR(0, (a + b) % 2 ? ftruncate(fd, edges[b]) : truncate("f", edges[b]), "%s", row);
            expect_content(fd, edges[b], a, 0, edges[a], row);
            /* Growing again shows zeros, not what was cut off. */
            off_t low = edges[a] < edges[b] ? edges[a] : edges[b];
            EXPECT_ERROR(0, ftruncate(fd, edges[b] + 5000), "%s and grown", row);
            expect_content(fd, edges[b] + 5000, a, 0, low, row);
            EXPECT_VALUE(length, lseek(fd, 0, SEEK_CUR), "%s: offset stays", row);
            EXPECT_ERROR(0, close(fd), "%s: close", row);
        }
    free(bytes);
    FAILS(EINVAL, truncate("f", -1));
    int fd = (int)OK(open("f", O_RDWR));
    FAILS(EINVAL, ftruncate(fd, -1));
    OK(close(fd));
    OK(mkdir("d", 0755));
    FAILS(EISDIR, truncate("d", 0));
    fd = (int)OK(open("d", O_RDONLY));
    FAILS(EINVAL, ftruncate(fd, 0));
    OK(close(fd));
}

static void seeking(void)
{
    make_file("f", "0123456789");
    char byte;
    int fd = (int)OK(open("f", O_RDWR));
    static const struct {
        off_t offset;
        int whence;
        off_t result; /* negative: EINVAL */
    } seeks[] = {
        {0, SEEK_SET, 0},          {5, SEEK_SET, 5},   {3, SEEK_CUR, 8},  {-8, SEEK_CUR, 0},
        {-1, SEEK_CUR, -1},        {0, SEEK_END, 10},  {-3, SEEK_END, 7}, {-11, SEEK_END, -1},
        {7, SEEK_END, 17},         {-1, SEEK_SET, -1}, {0, SEEK_CUR, 17}, {1 << 30, SEEK_SET, 1 << 30},
        {INT64_MAX, SEEK_CUR, -1}, {0, 77, -1},
    };
    for (unsigned i = 0; i < COUNT(seeks); i++) {
        off_t before = lseek(fd, 0, SEEK_CUR);
        if (seeks[i].result < 0) {
            off_t got = lseek(fd, seeks[i].offset, seeks[i].whence);
            EXPECT_VALUE(true, got < 0 && (errno == EINVAL || errno == EOVERFLOW), "seek %u", i);
            EXPECT_VALUE(before, lseek(fd, 0, SEEK_CUR), "offset after a failed seek");
        } else {
            EXPECT_VALUE(seeks[i].result, lseek(fd, seeks[i].offset, seeks[i].whence), "seek %u", i);
        }
    }
    IS(1 << 30, lseek(fd, 0, SEEK_CUR));
    IS(0, read(fd, &byte, 1));
    IS(10, status_of("f").st_size); /* seeking does not make a file longer */
    IS(100, lseek(fd, 100, SEEK_SET));
    IS(1, write(fd, "x", 1));
    IS(101, status_of("f").st_size);
    OK(close(fd));
    fd = (int)OK(open("f", O_RDWR | O_APPEND));
    IS(0, lseek(fd, 0, SEEK_CUR));
    IS(1, read(fd, &byte, 1));
    IS('0', byte);
    IS(3, lseek(fd, 3, SEEK_SET));
    IS(1, write(fd, "y", 1));
    IS(102, lseek(fd, 0, SEEK_CUR));
    IS(102, status_of("f").st_size);
    OK(close(fd));
}

/* Sizes and offsets have 63 bits. tmpfs has them, ext4 does not. */
static void far_away(void)
{
    char bytes[16] = "";
    NEED("farfiles");
    int fd = (int)OK(open("f", O_RDWR | O_CREAT, 0644));
    static const off_t far[] = {(off_t)1 << 32, (off_t)1 << 40, ((off_t)1 << 44) + 12345,
                                ((off_t)1 << 52) - 7, INT64_MAX - 4096 * 3};
    for (unsigned i = 0; i < COUNT(far); i++) {
        EXPECT_VALUE(5, pwrite(fd, "hello", 5, far[i]), "write at %lld", (long long)far[i]);
        EXPECT_VALUE(far[i] + 5, status_of("f").st_size, "size");
        EXPECT_VALUE(5, pread(fd, bytes, 16, far[i]), "read at %lld", (long long)far[i]);
        EXPECT_VALUE(0, memcmp(bytes, "hello", 5), "bytes at %lld", (long long)far[i]);
        EXPECT_VALUE(16, pread(fd, bytes, 16, far[i] - 1000), "read before");
        EXPECT_VALUE(-1, zeros_differ(bytes, 16), "zeros before");
        EXPECT_VALUE(far[i] + 5, lseek(fd, 0, SEEK_END), "end");
    }
    OK(ftruncate(fd, (off_t)1 << 50));
    IS((off_t)1 << 50, status_of("f").st_size);
    OK(ftruncate(fd, 3));
    OK(ftruncate(fd, (off_t)1 << 45));
    IS(16, pread(fd, bytes, 16, (off_t)1 << 40));
    IS(-1, zeros_differ(bytes, 16));
    OK(close(fd));
}

static void beyond_the_last_offset(void)
{
    char bytes[16] = "";
    int fd = (int)OK(open("f", O_RDWR | O_CREAT, 0644));
    FAILS(EINVAL, pread(fd, bytes, 1, -1));
    FAILS(EINVAL, pwrite(fd, bytes, 1, -1));
    FAILS(EINVAL, pread(fd, bytes, 1, INT64_MIN));
    TRUE(pwrite(fd, bytes, 16, INT64_MAX) < 0 && (errno == EFBIG || errno == EINVAL));
    IS(0, status_of("f").st_size);
    OK(close(fd));
}

/* Appending ignores offsets, pwrite's too (as on Linux). */
static void appending(void)
{
    make_file("f", "start");
    int one = (int)OK(open("f", O_WRONLY | O_APPEND)), two = (int)OK(open("f", O_RDWR | O_APPEND));
    int plain = (int)OK(open("f", O_WRONLY));
    IS(1, write(one, "1", 1));
    IS(1, write(two, "2", 1));
    IS(0, lseek(one, 0, SEEK_SET));
    IS(1, write(one, "3", 1));
    IS(8, lseek(one, 0, SEEK_CUR));
    IS(7, lseek(two, 0, SEEK_CUR));
    IS(1, pwrite(two, "4", 1, 0));
    EXPECT_TEXT("f", "start1234");
    IS(1, write(plain, "S", 1));
    OK(ftruncate(plain, 3));
    IS(1, write(two, "e", 1));
    EXPECT_TEXT("f", "Stae");
    OK(close(one));
    OK(close(two));
    OK(close(plain));
}

static void nothing_at_all(void)
{
    char byte = 'x';
    make_file("f", "text");
    int fd = (int)OK(open("f", O_RDWR));
    IS(0, write(fd, &byte, 0));
    IS(0, read(fd, &byte, 0));
    IS(0, pwrite(fd, &byte, 0, 100));
    IS(0, pread(fd, &byte, 0, 100));
    IS(4, status_of("f").st_size);
    IS(0, lseek(fd, 0, SEEK_CUR));
    OK(close(fd));
}

/* ---- vectors ---- */

static void vectors(void)
{
    char a[3], b[5000], c[70000], all[80000];
    struct iovec out[4] = {{a, sizeof a}, {NULL, 0}, {b, sizeof b}, {c, sizeof c}};
    size_t total = sizeof a + sizeof b + sizeof c;
    pattern_fill(a, sizeof a, 1, 0);
    pattern_fill(b, sizeof b, 1, sizeof a);
    pattern_fill(c, sizeof c, 1, sizeof a + sizeof b);
    int fd = (int)OK(open("f", O_RDWR | O_CREAT, 0644));
    IS(total, writev(fd, out, 4));
    IS(total, lseek(fd, 0, SEEK_CUR));
    IS(total, pread(fd, all, sizeof all, 0));
    IS(-1, pattern_differs(all, total, 1, 0));
    char x[1], y[4096], z[80000];
    struct iovec in[3] = {{x, sizeof x}, {y, sizeof y}, {z, sizeof z}};
    IS(0, lseek(fd, 0, SEEK_SET));
    IS(total, readv(fd, in, 3));
    IS(-1, pattern_differs(x, sizeof x, 1, 0));
    IS(-1, pattern_differs(y, sizeof y, 1, 1));
    IS(-1, pattern_differs(z, total - 4097, 1, 4097));
    IS(0, readv(fd, in, 3));
    IS(total, pwritev(fd, out, 4, 1000));
    IS(total, lseek(fd, 0, SEEK_CUR)); /* stays */
    IS(1000 + total, status_of("f").st_size);
    IS(total, preadv(fd, in, 3, 1000));
    IS(-1, pattern_differs(y, sizeof y, 1, 1));
    IS(4097, preadv(fd, in, 2, 1000));
    FAILS(EINVAL, preadv(fd, in, 3, -1));
    FAILS(EINVAL, pwritev(fd, out, 3, -1));
    volatile int too_few = -1, too_many = IOV_MAX + 1; /* what compilers warn of */
    FAILS(EINVAL, readv(fd, in, too_few));
    FAILS(EINVAL, writev(fd, out, too_many));
    IS(0, writev(fd, out, 0));
    IS(0, writev(fd, &out[1], 1));
    /* Many small parts. */
    struct iovec *many = calloc(IOV_MAX, sizeof *many);
    for (int i = 0; i < IOV_MAX; i++)
        many[i] = (struct iovec){c + i * 10, 10};
    OK(ftruncate(fd, 0));
    IS(IOV_MAX * 10, pwritev(fd, many, IOV_MAX, 0));
    IS(IOV_MAX * 10, pread(fd, all, sizeof all, 0));
    TRUE(memcmp(all, c, IOV_MAX * 10) == 0);
    memset(c, 0, sizeof c);
    IS(IOV_MAX * 10, preadv(fd, many, IOV_MAX, 0));
    TRUE(memcmp(all, c, IOV_MAX * 10) == 0);
    free(many);
    OK(close(fd));
    fd = (int)OK(open("f", O_RDONLY));
    FAILS(EBADF, writev(fd, out, 1));
    FAILS(EBADF, pwritev(fd, out, 1, 0));
    OK(close(fd));
    fd = (int)OK(open("f", O_WRONLY | O_APPEND));
    FAILS(EBADF, readv(fd, in, 1));
    IS(3, writev(fd, out, 1));
    IS(IOV_MAX * 10 + 3, status_of("f").st_size);
    OK(close(fd));
}

static void vectors_with_flags(void)
{
    char bytes[16] = "0123456789";
    struct iovec part = {bytes, 10};
    int fd = (int)OK(open("f", O_RDWR | O_CREAT, 0644));
    IS(10, pwritev2(fd, &part, 1, 0, 0));
    IS(10, pwritev2(fd, &part, 1, -1, 0)); /* at the offset */
    IS(10, lseek(fd, 0, SEEK_CUR));
    IS(10, pwritev2(fd, &part, 1, 0, RWF_APPEND));
    IS(20, status_of("f").st_size);
    IS(10, pwritev2(fd, &part, 1, 5, RWF_DSYNC));
    IS(10, preadv2(fd, &part, 1, 5, 0));
    TRUE(memcmp(bytes, "0123456789", 10) == 0);
    IS(10, lseek(fd, 0, SEEK_CUR));
    FAILS(EOPNOTSUPP, preadv2(fd, &part, 1, 0, 0x40000000));
    FAILS(EOPNOTSUPP, pwritev2(fd, &part, 1, 0, 0x40000000));
    OK(close(fd));
}

/* ---- holes ---- */

/* SEEK_HOLE and SEEK_DATA may know more or less, but never call data a hole. */
static void holes(void)
{
    enum { MB = 1 << 20 };
    char *bytes = bytes_of(MB);
    pattern_fill(bytes, MB, 1, 0);
    int fd = (int)OK(open("f", O_RDWR | O_CREAT, 0644));
    OK(ftruncate(fd, 8 * MB));
    IS(MB, pwrite(fd, bytes, MB, 4 * MB));
    OK(fsync(fd));
    off_t data = (off_t)OK(lseek(fd, 0, SEEK_DATA));
    TRUE(data <= 4 * MB);
    off_t hole = (off_t)OK(lseek(fd, 4 * MB, SEEK_HOLE));
    TRUE(hole >= 5 * MB && hole <= 8 * MB);
    IS(4 * MB, lseek(fd, 4 * MB, SEEK_DATA));
    IS(5 * MB - 1, lseek(fd, 5 * MB - 1, SEEK_DATA));
    TRUE(lseek(fd, 4 * MB + 1, SEEK_HOLE) >= 5 * MB);
    off_t last = lseek(fd, 6 * MB, SEEK_DATA);
    TRUE(last < 0 ? errno == ENXIO : last >= 6 * MB);
    TRUE(lseek(fd, 8 * MB - 1, SEEK_HOLE) <= 8 * MB);
    FAILS(ENXIO, lseek(fd, 8 * MB, SEEK_DATA));
    FAILS(ENXIO, lseek(fd, 8 * MB, SEEK_HOLE));
    FAILS(ENXIO, lseek(fd, 100 * MB, SEEK_DATA));
    FAILS(ENXIO, lseek(fd, -1, SEEK_DATA));
    OK(ftruncate(fd, 0));
    FAILS(ENXIO, lseek(fd, 0, SEEK_DATA));
    FAILS(ENXIO, lseek(fd, 0, SEEK_HOLE));
    IS(MB, pwrite(fd, bytes, MB, 0));
    IS(0, lseek(fd, 0, SEEK_DATA));
    IS(MB, lseek(fd, 0, SEEK_HOLE)); /* the one at the end */
    IS(MB, lseek(fd, 1000, SEEK_HOLE));
    IS(1000, lseek(fd, 1000, SEEK_DATA));
    IS(1000, lseek(fd, 0, SEEK_CUR));
    OK(close(fd));
    free(bytes);
}

/* A file that is mostly holes takes the space of its data. */
static void sparse_files(void)
{
    NEED("blocks");
    int fd = (int)OK(open("f", O_RDWR | O_CREAT, 0644));
    OK(ftruncate(fd, 64 << 20));
    TRUE(status_of("f").st_blocks < 2048);
    for (int i = 0; i < 16; i++)
        IS(1, pwrite(fd, "x", 1, (off_t)i << 22));
    OK(fsync(fd));
    TRUE(status_of("f").st_blocks >= 16);
    TRUE(status_of("f").st_blocks < 32 << 11); /* a quarter of the whole */
    char byte, zero[8] = "";
    for (int i = 0; i < 16; i++) {
        IS(1, pread(fd, &byte, 1, (off_t)i << 22));
        IS('x', byte);
        IS(8, pread(fd, zero, 8, ((off_t)i << 22) + 100));
        IS(-1, zeros_differ(zero, 8));
    }
    OK(close(fd));
}

static void reserving(void)
{
    NEED("fallocate");
    make_file("f", "content");
    int fd = (int)OK(open("f", O_RDWR));
    OK(fallocate(fd, 0, 0, 5));
    IS(7, status_of("f").st_size);
    OK(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1 << 20));
    IS(7, status_of("f").st_size);
    EXPECT_TEXT("f", "content");
    OK(fallocate(fd, 0, 100000, 50000));
    expect_value(150000, status_of("f").st_size, __FILE__, __LINE__, "size");
    char zero[16];
    IS(16, pread(fd, zero, 16, 149984));
    IS(-1, zeros_differ(zero, 16));
    IS(0, posix_fallocate(fd, 0, 200000));
    IS(200000, status_of("f").st_size);
    IS(0, posix_fallocate(fd, 0, 1000));
    IS(200000, status_of("f").st_size);
    IS(EINVAL, posix_fallocate(fd, 0, 0));
    IS(EINVAL, posix_fallocate(fd, -1, 10));
    IS(EBADF, posix_fallocate(999, 0, 10));
    FAILS(EINVAL, fallocate(fd, 0, 0, 0));
    FAILS(EINVAL, fallocate(fd, 0, -1, 5));
    FAILS(EINVAL, fallocate(fd, 0, 0, -5));
    FAILS(EFBIG, fallocate(fd, 0, INT64_MAX, 5));
    FAILS(EOPNOTSUPP, fallocate(fd, 0x4000, 0, 5));
    OK(close(fd));
    fd = (int)OK(open("f", O_RDONLY));
    FAILS(EBADF, fallocate(fd, 0, 0, 5));
    IS(EBADF, posix_fallocate(fd, 0, 10));
    OK(close(fd));
    OK(mkdir("d", 0755));
    fd = (int)OK(open("d", O_RDONLY));
    FAILS(EBADF, fallocate(fd, 0, 0, 5));
    OK(close(fd));
}

/* A hole is punched, or a range zeroed: bytes outside stay, the size stays. */
static void clear_ranges(int mode, const char *name)
{
    static const struct {
        off_t offset, length;
    } ranges[] = {
        {0, 1},         {0, 4096},          {1, 4095},          {4096, 4096},      {100, 100000},
        {65536, 65536}, {1 << 20, 1 << 20}, {(1 << 20) - 1, 2}, {3000000, 145729}, {3000000, 1000000},
        {0, 3145729},   {5000000, 10},      {1, 3145727},
    };
    enum { SIZE = 3145729 };
    char *model = bytes_of(SIZE), *bytes = bytes_of(SIZE + 1);
    NEED("fallocate");
    int fd = (int)OK(open("f", O_RDWR | O_CREAT, 0644));
    for (unsigned i = 0; i < COUNT(ranges); i++) {
        off_t end = ranges[i].offset + ranges[i].length;
        pattern_fill(model, SIZE, i, 0);
        EXPECT_VALUE(SIZE, pwrite(fd, model, SIZE, 0), "write");
        EXPECT_ERROR(0, fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, ranges[i].offset, ranges[i].length),
                     "%s %u", name, i);
        if (ranges[i].offset < SIZE)
            memset(model + ranges[i].offset, 0, (size_t)((end < SIZE ? end : SIZE) - ranges[i].offset));
        EXPECT_VALUE(SIZE, status_of("f").st_size, "%s %u: size", name, i);
        EXPECT_VALUE(SIZE, pread(fd, bytes, SIZE + 1, 0), "%s %u: read", name, i);
        EXPECT_VALUE(0, memcmp(model, bytes, SIZE), "%s %u: content", name, i);
    }
    /* Small files. */
    for (off_t size = 1; size <= 4100; size += 683) {
        OK(ftruncate(fd, 0));
        pattern_fill(model, (size_t)size, 7, 0);
        IS(size, pwrite(fd, model, (size_t)size, 0));
        EXPECT_ERROR(0, fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, size / 3, size / 3 + 1), "%s in %lld", name,
                     (long long)size);
        memset(model + size / 3, 0, (size_t)(size / 3 + 1));
        IS(size, pread(fd, bytes, SIZE, 0));
        EXPECT_VALUE(0, memcmp(model, bytes, (size_t)size), "%s in %lld: content", name, (long long)size);
    }
    OK(close(fd));
    free(model);
    free(bytes);
}

static void punching(void)
{
    clear_ranges(FALLOC_FL_PUNCH_HOLE, "punch");
    enum { MB = 1 << 20 };
    char *bytes = bytes_of(4 * MB);
    memset(bytes, 'x', 4 * MB);
    int fd = (int)OK(open("f", O_RDWR));
    IS(4 * MB, pwrite(fd, bytes, 4 * MB, 0));
    OK(fsync(fd));
    blkcnt_t before = status_of("f").st_blocks;
    OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, MB, 2 * MB));
    OK(fsync(fd));
    TRUE(status_of("f").st_blocks <= before - 3 * MB / 1024); /* most of the space is free again */
    IS(MB, lseek(fd, 0, SEEK_HOLE));
    IS(3 * MB, lseek(fd, MB, SEEK_DATA));
    FAILS(EOPNOTSUPP, fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 10)); /* needs KEEP_SIZE */
    OK(close(fd));
    free(bytes);
}

static void zeroing(void)
{
    NEED("zerorange");
    clear_ranges(FALLOC_FL_ZERO_RANGE, "zero");
    int fd = (int)OK(open("f", O_RDWR | O_TRUNC));
    IS(4, write(fd, "text", 4));
    OK(fallocate(fd, FALLOC_FL_ZERO_RANGE, 2, 100));
    IS(102, status_of("f").st_size);
    char bytes[128];
    IS(102, pread(fd, bytes, sizeof bytes, 0));
    TRUE(memcmp(bytes, "te", 2) == 0);
    IS(-1, zeros_differ(bytes + 2, 100));
    OK(close(fd));
}

/* ---- copying inside the file system ---- */

static void copying(void)
{
    static const struct {
        off_t from, to;
        size_t length;
    } copies[] = {
        {0, 0, 1},
        {0, 0, 4096},
        {1, 3, 4096},
        {0, 0, 3145729},
        {100, 1 << 20, 1 << 20},
        {1 << 20, 100, 1 << 20},
        {3145728, 0, 1},
        {3145000, 5000000, 100000},
        {3145729, 0, 10},
        {4000000, 0, 10},
        {65536, 65536, 1048577},
    };
    enum { SIZE = 3145729, ROOM = 7 << 20 };
    char *source = bytes_of(SIZE), *model = bytes_of(ROOM), *bytes = bytes_of(ROOM);
    int in = (int)OK(open("in", O_RDWR | O_CREAT, 0644));
    pattern_fill(source, SIZE, 1, 0);
    IS(SIZE, write(in, source, SIZE));
    for (unsigned i = 0; i < COUNT(copies); i++) {
        loff_t from = copies[i].from, to = copies[i].to;
        int out = open("out", O_RDWR | O_CREAT | O_TRUNC, 0644);
        memset(model, 0, ROOM);
        pattern_fill(model, 200000, 2, 0);
        EXPECT_VALUE(200000, write(out, model, 200000), "write");
        size_t left = from < SIZE ? (size_t)(SIZE - from) : 0;
        size_t expected = copies[i].length < left ? copies[i].length : left, done = 0;
        while (done < expected) {
            ssize_t got = copy_file_range(in, &from, out, &to, copies[i].length - done, 0);
            if (!EXPECT_VALUE(true, got > 0, "copy %u after %zu", i, done))
                break;
            done += (size_t)got;
        }
        EXPECT_VALUE(0, copy_file_range(in, &(loff_t){SIZE}, out, &to, 10, 0), "copy %u: at the end", i);
        EXPECT_VALUE(expected, done, "copy %u: length", i);
        EXPECT_VALUE(copies[i].from + (off_t)expected, from, "copy %u: source offset", i);
        EXPECT_VALUE(copies[i].to + (off_t)expected, to, "copy %u: target offset", i);
        if (expected > 0)
            memcpy(model + copies[i].to, source + copies[i].from, expected);
        off_t size =
            expected > 0 && copies[i].to + (off_t)expected > 200000 ? copies[i].to + (off_t)expected : 200000;
        EXPECT_VALUE(size, status_of("out").st_size, "copy %u: size", i);
        EXPECT_VALUE(size, pread(out, bytes, ROOM, 0), "copy %u: read", i);
        EXPECT_VALUE(0, memcmp(model, bytes, (size_t)size), "copy %u: content", i);
        close(out);
    }
    /* By the descriptors' own offsets. */
    int out = (int)OK(open("out", O_RDWR | O_TRUNC));
    IS(10, lseek(in, 10, SEEK_SET));
    IS(100, copy_file_range(in, NULL, out, NULL, 100, 0));
    IS(110, lseek(in, 0, SEEK_CUR));
    IS(100, lseek(out, 0, SEEK_CUR));
    IS(100, pread(out, bytes, ROOM, 0));
    TRUE(memcmp(bytes, source + 10, 100) == 0);
    IS(0, copy_file_range(in, NULL, out, NULL, 0, 0));
    FAILS(EINVAL, copy_file_range(in, NULL, out, NULL, 10, 1));
    /* In one file, but not onto itself. */
    loff_t a = 0, b = 1 << 20;
    IS(4096, copy_file_range(in, &a, in, &b, 4096, 0));
    IS(4096, pread(in, bytes, 4096, 1 << 20));
    TRUE(memcmp(bytes, source, 4096) == 0);
    a = 0, b = 50;
    FAILS(EINVAL, copy_file_range(in, &a, in, &b, 100, 0));
    int reader = (int)OK(open("out", O_RDONLY)), writer = (int)OK(open("in", O_WRONLY));
    FAILS(EBADF, copy_file_range(in, NULL, reader, NULL, 10, 0));
    FAILS(EBADF, copy_file_range(writer, NULL, out, NULL, 10, 0));
    int append = (int)OK(open("out", O_WRONLY | O_APPEND));
    FAILS(EBADF, copy_file_range(in, NULL, append, NULL, 10, 0));
    OK(mkdir("d", 0755));
    int directory = (int)OK(open("d", O_RDONLY));
    FAILS(EISDIR, copy_file_range(directory, NULL, out, NULL, 10, 0));
    OK(close(in));
    OK(close(out));
    OK(close(reader));
    OK(close(writer));
    OK(close(append));
    OK(close(directory));
    free(source);
    free(model);
    free(bytes);
}

/* What statfs says changes as files do. */
static void statistics(void)
{
    struct statvfs before, after;
    OK(statvfs(".", &before));
    TRUE(before.f_bsize >= 512 && before.f_frsize >= 512);
    TRUE(before.f_blocks > 0);
    TRUE(before.f_bfree <= before.f_blocks && before.f_bavail <= before.f_bfree);
    TRUE(before.f_ffree <= before.f_files);
    IS(255, before.f_namemax);
    char *bytes = bytes_of(16 << 20);
    memset(bytes, 'x', 16 << 20);
    int fd = (int)OK(open("f", O_RDWR | O_CREAT, 0644));
    IS(16 << 20, write(fd, bytes, 16 << 20));
    OK(fsync(fd));
    free(bytes);
    OK(statvfs(".", &after));
    IS(before.f_blocks, after.f_blocks);
    NEED("exactspace"); /* others write here meanwhile */
    TRUE(after.f_bfree <= before.f_bfree - (16 << 20) / before.f_frsize);
    OK(close(fd));
    OK(unlink("f"));
    bool back = false;
    for (int i = 0; i < 500 && !back; i++) { /* a mount hears of the close a little later */
        OK(statvfs(".", &after));
        back = after.f_bfree >= before.f_bfree - 16;
        if (!back)
            tick();
    }
    TRUE(back);
    fd = (int)OK(open(".", O_RDONLY));
    OK(fstatvfs(fd, &after));
    IS(before.f_blocks, after.f_blocks);
    OK(close(fd));
}

CASES(CASE(lengths_at_offsets), CASE(overwriting), CASE(truncating), CASE(seeking), CASE(far_away),
      CASE(beyond_the_last_offset), CASE(appending), CASE(nothing_at_all), CASE(vectors),
      CASE(vectors_with_flags), CASE(holes), CASE(sparse_files), CASE(reserving), CASE(punching),
      CASE(zeroing), CASE(copying), CASE(statistics))

/* Many threads at once: descriptors that they share and do not share, and asynchronous transfers. */
#include "check.h"

#include <pthread.h>

#define THREADS 8
#define KIB 1024

static _Atomic int failures;

/* In threads a failed check is counted: cmocka's would jump out of the wrong stack. */
#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, strerror(errno));            \
            failures++;                                                                                      \
            return NULL;                                                                                     \
        }                                                                                                    \
    } while (0)

static void run_threads(void *(*entry)(void *))
{
    pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, entry, (void *)i), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(failures, 0);
}

/* ---- everybody on files of his own, in directories shared and own ---- */

static void *hammer_one(void *argument)
{
    long me = (long)argument;
    char directory[32], path[64], moved[64];
    unsigned char bytes[9000], back[9000];
    struct stat status;
    snprintf(directory, sizeof directory, "/t/%ld", me);
    CHECK(benchfs_mkdir(fs, directory, 0755) == 0);
    for (int i = 0; i < 150; i++) {
        size_t length = (size_t)((i * 97 + me) % 9000);
        snprintf(path, sizeof path, i % 2 ? "/t/%ld/%d" : "/t/shared-%ld-%d", me, i);
        snprintf(moved, sizeof moved, i % 3 ? "/t/moved-%ld-%d" : "/t/%ld/moved%d", me, i);
        pattern_fill(bytes, length, (uint64_t)(me * 1000 + i), 0);
        int fd = benchfs_open(fs, path, O_CREAT | O_EXCL | O_RDWR, 0644);
        CHECK(fd >= 0);
        CHECK(benchfs_write(fs, fd, bytes, length) == (ssize_t)length);
        CHECK(benchfs_fstat(fs, fd, &status) == 0 && status.st_size == (off_t)length);
        CHECK(benchfs_rename(fs, path, moved) == 0);
        CHECK(benchfs_stat(fs, path, &status) < 0 && errno == ENOENT);
        CHECK(benchfs_pread(fs, fd, back, sizeof back, 0) == (ssize_t)length);
        CHECK(memcmp(bytes, back, length) == 0);
        CHECK(benchfs_close(fs, fd) == 0);
        fd = benchfs_open(fs, moved, O_RDONLY);
        CHECK(fd >= 0);
        CHECK(benchfs_read(fs, fd, back, sizeof back) == (ssize_t)length);
        CHECK(memcmp(bytes, back, length) == 0);
        CHECK(benchfs_close(fs, fd) == 0);
        CHECK(benchfs_unlink(fs, moved) == 0);
    }
    CHECK(benchfs_rmdir(fs, directory) == 0);
    return NULL;
}

static void hammer(void **state)
{
    (void)state;
    OK(benchfs_mkdir(fs, "/t", 0755));
    run_threads(hammer_one);
    OK(benchfs_rmdir(fs, "/t")); /* nothing is left */
}

/* ---- one name for all: exactly one creates it each time ---- */

static _Atomic int winners[200];

static void *race_one(void *argument)
{
    char path[32];
    (void)argument;
    for (int i = 0; i < 200; i++) {
        snprintf(path, sizeof path, "/race%d", i);
        int fd = benchfs_open(fs, path, O_CREAT | O_EXCL | O_WRONLY, 0644);
        CHECK(fd >= 0 || errno == EEXIST);
        if (fd >= 0) {
            winners[i]++;
            CHECK(benchfs_close(fs, fd) == 0);
        }
    }
    return NULL;
}

static void *remove_one(void *argument)
{
    char path[32];
    (void)argument;
    for (int i = 0; i < 200; i++) {
        snprintf(path, sizeof path, "/race%d", i);
        int removed = benchfs_unlink(fs, path);
        CHECK(removed == 0 || errno == ENOENT);
        if (removed == 0)
            winners[i]--;
    }
    return NULL;
}

static void races(void **state)
{
    (void)state;
    run_threads(race_one);
    for (int i = 0; i < 200; i++)
        assert_int_equal(winners[i], 1);
    run_threads(remove_one);
    for (int i = 0; i < 200; i++)
        assert_int_equal(winners[i], 0);
}

/* ---- one descriptor for all ---- */

enum { RECORD = 1000, RECORDS = 100 };
static int shared;

static void *append_one(void *argument)
{
    long me = (long)argument;
    unsigned char record[RECORD];
    for (int i = 0; i < RECORDS; i++) {
        memset(record, (int)me, RECORD);
        memcpy(record, &i, sizeof i);
        CHECK(benchfs_write(fs, shared, record, RECORD) == RECORD);
    }
    return NULL;
}

/* Whole records only, each exactly once, each thread's in order. */
static void check_records(const char *path)
{
    int next[THREADS] = {0};
    unsigned char record[RECORD];
    int fd = (int)OK(benchfs_open(fs, path, O_RDONLY));
    for (int i = 0; i < THREADS * RECORDS; i++) {
        IS(RECORD, benchfs_read(fs, fd, record, RECORD));
        int number, who = record[RECORD - 1];
        memcpy(&number, record, sizeof number);
        assert_true(who < THREADS);
        assert_int_equal(number, next[who]++);
        for (int j = sizeof number; j < RECORD; j++)
            assert_int_equal(record[j], who);
    }
    IS(0, benchfs_read(fs, fd, record, RECORD));
    OK(benchfs_close(fs, fd));
    OK(benchfs_unlink(fs, path));
}

static _Atomic int taken[THREADS * RECORDS];

static void *read_one(void *argument)
{
    int value;
    (void)argument;
    for (int i = 0; i < RECORDS; i++) {
        CHECK(benchfs_read(fs, shared, &value, sizeof value) == sizeof value);
        CHECK(value >= 0 && value < THREADS * RECORDS);
        taken[value]++;
    }
    return NULL;
}

static void shared_descriptor(void **state)
{
    static int numbers[THREADS * RECORDS];
    (void)state;
    shared = (int)OK(benchfs_open(fs, "/shared", O_CREAT | O_WRONLY, 0644));
    run_threads(append_one); /* the offset is shared */
    IS(THREADS * RECORDS * RECORD, benchfs_lseek(fs, shared, 0, SEEK_CUR));
    OK(benchfs_close(fs, shared));
    check_records("/shared");
    shared = (int)OK(benchfs_open(fs, "/shared", O_CREAT | O_WRONLY | O_APPEND, 0644));
    run_threads(append_one);
    OK(benchfs_close(fs, shared));
    check_records("/shared");

    for (int i = 0; i < THREADS * RECORDS; i++)
        numbers[i] = i;
    put_file(fs, "/shared", numbers, sizeof numbers);
    shared = (int)OK(benchfs_open(fs, "/shared", O_RDONLY));
    run_threads(read_one);
    OK(benchfs_close(fs, shared));
    for (int i = 0; i < THREADS * RECORDS; i++)
        assert_int_equal(taken[i], 1);
    OK(benchfs_unlink(fs, "/shared"));
}

/* Appends through descriptors of their own, small ones and ones over several chunks. */
static void *append_own(void *argument)
{
    long me = (long)argument;
    int fd = benchfs_open(fs, "/appended", O_WRONLY | O_APPEND);
    CHECK(fd >= 0);
    unsigned char record[RECORD];
    for (int i = 0; i < RECORDS; i++) {
        memset(record, (int)me, RECORD);
        memcpy(record, &i, sizeof i);
        CHECK(benchfs_write(fs, fd, record, RECORD) == RECORD);
    }
    CHECK(benchfs_close(fs, fd) == 0);
    return NULL;
}

static void appending(void **state)
{
    (void)state;
    put_text(fs, "/appended", "");
    run_threads(append_own);
    check_records("/appended");
}

/* Descriptors opened and closed under the eyes of others: every call sees an open file or EBADF. */
static _Atomic bool over;

static void *open_close(void *argument)
{
    if ((long)argument % 2) {
        char byte;
        while (!over)
            for (int fd = 3; fd < 12; fd++) {
                ssize_t got = benchfs_pread(fs, fd, &byte, 1, 0);
                CHECK((got == 1 && byte == 'c') || (got < 0 && errno == EBADF));
            }
        return NULL;
    }
    for (int i = 0; i < 1500; i++) {
        int fd = benchfs_open(fs, "/closing", O_RDONLY);
        CHECK(fd >= 3);
        CHECK(benchfs_close(fs, fd) == 0);
    }
    if ((long)argument == 0)
        over = true;
    return NULL;
}

static void closing(void **state)
{
    (void)state;
    put_text(fs, "/closing", "c");
    run_threads(open_close);
    IS(3, benchfs_open(fs, "/closing", O_RDONLY)); /* all numbers came back */
    OK(benchfs_close(fs, 3));
    OK(benchfs_unlink(fs, "/closing"));
}

/* ---- asynchronous transfers ---- */

enum { DEPTH = 32, TRANSFERS = 600, PIECE_MAX = 150 * KIB };

static size_t piece_length(int i)
{
    static const size_t lengths[] = {47008, 4096, 1, 65536, 3901, PIECE_MAX, 512, 100000};
    return lengths[i % 8];
}

static void *transfer_one(void *argument)
{
    long me = (long)argument;
    struct benchfs_io ios[DEPTH], *done[DEPTH], *ready[DEPTH];
    unsigned char *buffers = malloc((size_t)DEPTH * PIECE_MAX);
    off_t offsets[TRANSFERS + 1] = {0};
    char path[32];
    CHECK(buffers != NULL);
    snprintf(path, sizeof path, "/async%ld", me);
    for (int i = 0; i < TRANSFERS; i++)
        offsets[i + 1] = offsets[i] + (off_t)piece_length(i);
    int fd = benchfs_open(fs, path, O_CREAT | O_RDWR, 0644);
    CHECK(fd >= 0);
    for (int pass = 0; pass < 2; pass++) { /* write all, then read all */
        int next = 0, finished = 0, free_count = DEPTH;
        for (int i = 0; i < DEPTH; i++)
            ready[i] = &ios[i];
        while (finished < TRANSFERS) {
            struct benchfs_io *batch[DEPTH];
            unsigned batched = 0;
            while (free_count > 0 && next < TRANSFERS) {
                struct benchfs_io *io = ready[--free_count];
                unsigned char *buffer = buffers + (size_t)(io - ios) * PIECE_MAX;
                int number = (next * 7) % TRANSFERS; /* in no order */
                next++;
                *io = (struct benchfs_io){
                    .kind = pass == 0 ? BENCHFS_IO_WRITE : BENCHFS_IO_READ,
                    .fd = fd,
                    .buffer = buffer,
                    .count = piece_length(number),
                    .offset = offsets[number],
                    .user = (void *)(long)number,
                };
                if (pass == 0)
                    pattern_fill(buffer, io->count, (uint64_t)me, (uint64_t)io->offset);
                else
                    memset(buffer, 0, io->count);
                batch[batched++] = io;
            }
            CHECK(benchfs_submit(fs, batch, batched) == 0);
            int count = benchfs_wait(fs, done, 1, DEPTH, NULL);
            CHECK(count >= 1);
            for (int i = 0; i < count; i++) {
                CHECK(done[i]->result == (ssize_t)done[i]->count);
                if (pass == 1)
                    CHECK(pattern_differs(done[i]->buffer, done[i]->count, (uint64_t)me,
                                          (uint64_t)done[i]->offset) < 0);
                ready[free_count++] = done[i];
            }
            finished += count;
        }
    }
    CHECK(benchfs_close(fs, fd) == 0);
    CHECK(benchfs_unlink(fs, path) == 0);
    free(buffers);
    return NULL;
}

static void asynchronous(void **state)
{
    (void)state;
    transfer_one((void *)100L);
    assert_int_equal(failures, 0);
    pthread_t threads[2];
    for (long i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, transfer_one, (void *)i);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(failures, 0);
}

static void asynchronous_rules(void **state)
{
    char bytes[3][100];
    struct benchfs_io ios[3], *list[3] = {&ios[0], &ios[1], &ios[2]}, *done[3];
    struct timespec none = {0}, wrong = {.tv_nsec = -1};
    (void)state;
    put_text(fs, "/rules", "0123456789");
    int fd = (int)OK(benchfs_open(fs, "/rules", O_RDWR));
    int reader = (int)OK(benchfs_open(fs, "/rules", O_RDONLY));
    for (int i = 0; i < 3; i++)
        ios[i] = (struct benchfs_io){
            .kind = BENCHFS_IO_READ, .fd = fd, .buffer = bytes[i], .count = 5, .offset = 5L * i};

    IS(0, benchfs_wait(fs, done, 0, 3, &none)); /* nothing under way */
    IS(0, benchfs_wait(fs, done, 1, 3, NULL));
    FAILS(EINVAL, benchfs_wait(fs, done, 4, 3, NULL));
    FAILS(EINVAL, benchfs_wait(fs, done, 0, 0, NULL));
    FAILS(EINVAL, benchfs_wait(fs, done, 1, 3, &wrong));
    OK(benchfs_submit(fs, list, 0));

    ios[2].fd = 77;
    FAILS(EBADF, benchfs_submit(fs, list, 3)); /* none was started */
    IS(0, benchfs_wait(fs, done, 0, 3, &none));
    ios[2].fd = reader;
    ios[2].kind = BENCHFS_IO_WRITE;
    FAILS(EBADF, benchfs_submit(fs, list, 3));
    ios[2].kind = (enum benchfs_io_kind)9;
    FAILS(EINVAL, benchfs_submit(fs, list, 3));
    ios[2].kind = BENCHFS_IO_READ;
    ios[2].offset = -1;
    FAILS(EINVAL, benchfs_submit(fs, list, 3));
    ios[2].offset = 10;

    OK(benchfs_submit(fs, list, 3));
    OK(benchfs_close(fs, reader)); /* a transfer under way keeps its file */
    struct stat status;
    OK(benchfs_stat(fs, "/rules", &status)); /* other calls may come between */
    IS(3, benchfs_wait(fs, done, 3, 3, NULL));
    for (int i = 0; i < 3; i++)
        IS(i == 2 ? 0 : 5, ios[i].result);
    assert_memory_equal(bytes[0], "01234", 5);
    assert_memory_equal(bytes[1], "56789", 5);

    /* A wait for fewer leaves the others. */
    ios[2].fd = fd;
    OK(benchfs_submit(fs, list, 3));
    int got = (int)OK(benchfs_wait(fs, done, 1, 1, NULL));
    assert_int_equal(got, 1);
    IS(2, benchfs_wait(fs, done, 2, 2, NULL));

    /* A failure arrives as a result. */
    OK(benchfs_mkdir(fs, "/rulesdir", 0755));
    int dir = (int)OK(benchfs_open(fs, "/rulesdir", O_RDONLY));
    ios[0].fd = dir;
    OK(benchfs_submit(fs, list, 1));
    IS(1, benchfs_wait(fs, done, 1, 1, NULL));
    assert_int_equal(done[0]->result, -EISDIR);
    OK(benchfs_close(fs, dir));
    OK(benchfs_rmdir(fs, "/rulesdir"));
    OK(benchfs_close(fs, fd));
    OK(benchfs_unlink(fs, "/rules"));
}

/* Names are opened and asked for beside each other; each answer is its own. */
static void asynchronous_names(void **state)
{
    enum { COUNT = 20 };
    struct stat found[COUNT];
    struct benchfs_io ios[COUNT], *list[COUNT], *done[COUNT];
    char paths[COUNT][32];
    (void)state;
    OK(benchfs_mkdir(fs, "/names", 0755));
    for (int i = 0; i < COUNT; i++) {
        list[i] = &ios[i];
        snprintf(paths[i], sizeof paths[i], "/names/%d", i);
        ios[i] = (struct benchfs_io){.kind = BENCHFS_IO_OPEN,
                                     .path = paths[i],
                                     .flags = O_CREAT | O_EXCL | O_WRONLY,
                                     .mode = (mode_t)(0600 | i % 8)};
    }
    ios[3].path = "/nowhere/3";
    mode_t mask = benchfs_umask(fs, 0);
    OK(benchfs_submit(fs, list, COUNT));
    IS(COUNT, benchfs_wait(fs, done, COUNT, COUNT, NULL));
    benchfs_umask(fs, mask);
    for (int i = 0; i < COUNT; i++) {
        if (i == 3)
            continue;
        assert_true(ios[i].result >= 0);
        IS(i, benchfs_write(fs, (int)ios[i].result, "abcdefghijklmnopqrst", (size_t)i));
        OK(benchfs_close(fs, (int)ios[i].result));
    }
    IS(-ENOENT, ios[3].result);

    for (int i = 0; i < COUNT; i++)
        ios[i] = (struct benchfs_io){.kind = BENCHFS_IO_STAT, .path = paths[i], .buffer = &found[i]};
    OK(benchfs_submit(fs, list, COUNT));
    IS(COUNT, benchfs_wait(fs, done, COUNT, COUNT, NULL));
    for (int i = 0; i < COUNT; i++) {
        IS(i == 3 ? -ENOENT : 0, ios[i].result);
        if (i == 3)
            continue;
        IS(i, found[i].st_size);
        IS(0600 | i % 8, found[i].st_mode & 0777);
        OK(benchfs_unlink(fs, paths[i]));
    }
    OK(benchfs_rmdir(fs, "/names"));

    ios[0].path = NULL;
    FAILS(EINVAL, benchfs_submit(fs, list, 1));
    ios[0] = (struct benchfs_io){.kind = BENCHFS_IO_STAT, .path = "/"};
    FAILS(EINVAL, benchfs_submit(fs, list, 1));
    ios[0] = (struct benchfs_io){.kind = BENCHFS_IO_OPEN, .path = "/x", .flags = O_TRUNC | O_WRONLY};
    FAILS(EINVAL, benchfs_submit(fs, list, 1));
}

/* What was written and kept in this process is in the size that is told. */
static void asynchronous_names_see_what_was_written(void **state)
{
    struct stat found;
    struct benchfs_io io = {.kind = BENCHFS_IO_STAT, .path = "/kept", .buffer = &found};
    struct benchfs_io *one = &io, *done;
    (void)state;
    int fd = (int)OK(benchfs_open(fs, "/kept", O_CREAT | O_WRONLY, 0644));
    IS(5, benchfs_write(fs, fd, "12345", 5));
    OK(benchfs_submit(fs, &one, 1));
    IS(1, benchfs_wait(fs, &done, 1, 1, NULL));
    IS(0, io.result);
    IS(5, found.st_size);
    OK(benchfs_close(fs, fd));
    OK(benchfs_unlink(fs, "/kept"));
}

/* Threads that end without waiting for their transfers, and file systems that come and go. */
static void *leave_behind(void *argument)
{
    static char bytes[THREADS][64 * KIB];
    static struct benchfs_io ios[THREADS][4];
    long me = (long)argument;
    int fd = benchfs_open(fs, "/left", O_RDWR);
    CHECK(fd >= 0);
    for (int i = 0; i < 4; i++) {
        struct benchfs_io *io = &ios[me][i];
        *io = (struct benchfs_io){
            .kind = BENCHFS_IO_WRITE, .fd = fd, .buffer = bytes[me], .count = sizeof bytes[me]};
        CHECK(benchfs_submit(fs, &io, 1) == 0);
    }
    CHECK(benchfs_close(fs, fd) == 0);
    benchfs *other = benchfs_connect(NULL);
    struct stat status;
    CHECK(other != NULL && benchfs_stat(other, "/left", &status) == 0);
    CHECK(benchfs_stat(fs, "/left", &status) == 0);
    benchfs_disconnect(other);
    CHECK(benchfs_stat(fs, "/left", &status) == 0);
    return NULL;
}

/* The last to let go of a closed file is a transfer that the thread's end waits for. */
static void *leave_at_once(void *argument)
{
    static char bytes[THREADS][64 * KIB];
    static struct benchfs_io ios[THREADS];
    long me = (long)argument;
    int fd = benchfs_open(fs, "/left", O_RDWR);
    CHECK(fd >= 0);
    struct benchfs_io *io = &ios[me];
    *io = (struct benchfs_io){
        .kind = BENCHFS_IO_WRITE, .fd = fd, .buffer = bytes[me], .count = sizeof bytes[me]};
    CHECK(benchfs_submit(fs, &io, 1) == 0);
    CHECK(benchfs_close(fs, fd) == 0);
    return NULL;
}

static void leaving(void **state)
{
    (void)state;
    put_text(fs, "/left", "");
    run_threads(leave_at_once);
    run_threads(leave_behind);
    OK(benchfs_unlink(fs, "/left"));
    IS(3, benchfs_open(fs, "/", O_RDONLY));
    OK(benchfs_close(fs, 3));
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(hammer),
        cmocka_unit_test(races),
        cmocka_unit_test(shared_descriptor),
        cmocka_unit_test(appending),
        cmocka_unit_test(closing),
        cmocka_unit_test(asynchronous),
        cmocka_unit_test(asynchronous_rules),
        cmocka_unit_test(asynchronous_names),
        cmocka_unit_test(asynchronous_names_see_what_was_written),
        cmocka_unit_test(leaving),
    };
    return POSIX_MAIN(argc, argv, NULL, tests);
}

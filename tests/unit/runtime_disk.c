/* The real disk: in a directory under /tmp, in one under /dev/shm, and without io_uring. */
#include "unit/runtime_disk_cases.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[64];

/* A file system that takes no direct transfers, in place of libc's calls: refused when a file is opened, or
 * only when it is used. */
static enum { GRANT, REFUSE_OPEN, REFUSE_TRANSFER } direct;

int openat(int directory, const char *name, int flags, ...)
{
    int fd = (int)syscall(SYS_openat, directory, name, flags, 0600);
    if (fd >= 0 && direct == REFUSE_OPEN && (flags & O_DIRECT) != 0) {
        close(fd);
        errno = EINVAL;
        return -1;
    }
    return fd;
}

ssize_t pwritev2(int fd, const struct iovec *vector, int count, off_t offset, int flags)
{
    if (direct == REFUSE_TRANSFER && (fcntl(fd, F_GETFL) & O_DIRECT) != 0) {
        errno = EINVAL;
        return -1;
    }
    return syscall(SYS_pwritev2, fd, vector, count, offset, 0l, flags);
}

static int setup_in(const char *parent, uint32_t depth, bool bare)
{
    struct loop_options options = {.simulated = bare}; /* which has no io_uring */
    struct disk_options disk_options = {.depth = depth};
    snprintf(path, sizeof(path), "%s/benchfs-disk-XXXXXX", parent);
    if (mkdtemp(path) == NULL || rmdir(path) != 0 || loop_create(&options, &loop) != 0)
        return -1;
    return disk_open(loop, path, &disk_options, &disk);
}

static int disk_setup(void **state)
{
    (void)state;
    return setup_in("/tmp", 0, false);
}

static int shm_setup(void **state)
{
    (void)state;
    return setup_in("/dev/shm", 0, false);
}

static int shallow_setup(void **state)
{
    (void)state;
    return setup_in("/tmp", 2, false);
}

static int bare_setup(void **state)
{
    (void)state;
    return setup_in("/tmp", 0, true);
}

static int disk_teardown(void **state)
{
    (void)state;
    direct = GRANT;
    if (disk != NULL)
        disk_close(disk);
    disk = NULL;
    loop_destroy(loop);
    char command[96];
    snprintf(command, sizeof(command), "rm -rf %s", path);
    return system(command);
}

static int reopen(const struct disk_options *options)
{
    disk_close(disk);
    disk = NULL;
    return disk_open(loop, path, options, &disk);
}

static const struct disk_options defaults;

static void the_directory_is_made_and_locked(void **state)
{
    (void)state;
    assert_string_equal(disk_path(disk), path);
    struct disk *other = NULL;
    assert_int_equal(disk_open(loop, path, &defaults, &other), -EBUSY);
    assert_null(other);
    char holder[DISK_HOLDER_MAX];
    char expected[32];
    disk_lock_holder(path, holder);
    snprintf(expected, sizeof(expected), "process %d on ", (int)getpid());
    assert_memory_equal(holder, expected, strlen(expected));
    assert_names("", "");

    char deeper[96];
    snprintf(deeper, sizeof(deeper), "%s/no/parent", path);
    assert_int_equal(disk_open(loop, deeper, &defaults, &other), -ENOENT);
    snprintf(deeper, sizeof(deeper), "%s/lock", path);
    assert_int_equal(disk_open(loop, deeper, &defaults, &other), -ENOTDIR);
    disk_lock_holder(deeper, holder);
    assert_string_equal(holder, "another process");
}

static void a_dead_server_holds_no_lock(void **state)
{
    (void)state;
    disk_close(disk);
    disk = NULL;
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct loop_options options = {0};
        char answer = loop_create(&options, &loop) == 0 && disk_open(loop, path, &defaults, &disk) == 0;
        if (write(pipes[1], &answer, 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    char answer = 0;
    assert_int_equal(read(pipes[0], &answer, 1), 1);
    assert_int_equal(answer, 1);
    assert_int_equal(disk_open(loop, path, &defaults, &disk), -EBUSY);
    char holder[DISK_HOLDER_MAX];
    char expected[32];
    disk_lock_holder(path, holder);
    snprintf(expected, sizeof(expected), "process %d on ", (int)child);
    assert_memory_equal(holder, expected, strlen(expected));
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(disk_open(loop, path, &defaults, &disk), 0);
    close(pipes[0]);
    close(pipes[1]);
}

static void read_only(void **state)
{
    (void)state;
    struct disk_file *file = open_file("a", DISK_CREATE);
    assert_int_equal(disk_write(file, "bytes", 5, 0), 5);
    disk_file_close(file);
    struct disk_options options = {.read_only = true};
    assert_int_equal(reopen(&options), 0);
    assert_int_equal(disk_file_open(disk, "a", 0, &file), -EROFS);
    assert_int_equal(disk_file_open(disk, "b", DISK_CREATE | DISK_READ_ONLY, &file), -EROFS);
    assert_int_equal(disk_make_directory(disk, "d"), -EROFS);
    assert_int_equal(disk_unlink(disk, "a"), -EROFS);
    assert_int_equal(disk_rename(disk, "a", "b"), -EROFS);
    assert_int_equal(disk_sync_names(disk, ""), -EROFS);
    file = open_file("a", DISK_READ_ONLY);
    char bytes[5];
    assert_int_equal(disk_read(file, bytes, 5, 0), 5);
    assert_memory_equal(bytes, "bytes", 5);
    disk_file_close(file);
    /* The lock is shared with readers. */
    struct disk *writer;
    assert_int_equal(disk_open(loop, path, &defaults, &writer), -EBUSY);
    assert_int_equal(disk_open(loop, path, &options, &writer), 0);
    disk_close(writer);
    char none[96];
    snprintf(none, sizeof(none), "%s/none", path);
    assert_int_equal(disk_open(loop, none, &options, &writer), -ENOENT);
}

/* Direct files and their bytes are the same as those of the page cache. */
static void direct_and_buffered_agree(void **state)
{
    (void)state;
    enum { LENGTH = 1 << 20 };
    uint8_t *bytes = aligned(LENGTH);
    for (size_t i = 0; i < LENGTH; i++)
        bytes[i] = (uint8_t)(i / 4096 * 7 + i % 251);
    struct disk_file *file = open_file("a", DISK_CREATE | DISK_DIRECT);
    assert_int_equal(disk_write(file, bytes, LENGTH, 0), LENGTH);
    assert_int_equal(disk_file_truncate(file, LENGTH - 1000), 0);
    uint8_t *back = aligned(LENGTH);
    assert_int_equal(disk_read(file, back, LENGTH, 0), LENGTH - 1000);
    assert_memory_equal(bytes, back, LENGTH - 1000);
    disk_file_close(file);
    file = open_file("a", DISK_READ_ONLY);
    memset(back, 0, LENGTH);
    assert_int_equal(disk_read(file, back, LENGTH, 0), LENGTH - 1000);
    assert_memory_equal(bytes, back, LENGTH - 1000);
    disk_file_close(file);
    free(bytes);
    free(back);
}

/* What the page cache does not hold is read without blocking, and whole. */
static void cold_reads(void **state)
{
    (void)state;
    enum { LENGTH = 1 << 20 };
    uint8_t *bytes = aligned(LENGTH);
    for (size_t i = 0; i < LENGTH; i++)
        bytes[i] = (uint8_t)(i / 1000);
    struct disk_file *file = open_file("a", DISK_CREATE);
    assert_int_equal(disk_write(file, bytes, LENGTH, 0), LENGTH);
    assert_int_equal(disk_sync(file), 0);
    char name[96];
    snprintf(name, sizeof(name), "%s/a", path);
    int fd = open(name, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM), 0);
    assert_int_equal(pread(fd, bytes, 20000, 0), 20000); /* these it holds */
    close(fd);
    memset(bytes, 0, LENGTH);
    struct iovec parts[3] = {{bytes, 10000}, {bytes + 10000, 500000}, {bytes + 510000, LENGTH - 510000}};
    struct disk_io io = {.file = file, .call = DISK_READ, .vector = parts, .count = 3};
    disk_start(&io);
    assert_int_equal(disk_finish(&io), LENGTH);
    for (size_t i = 0; i < LENGTH; i++)
        assert_int_equal(bytes[i], (uint8_t)(i / 1000));
    free(bytes);
    disk_file_close(file);
}

static void remembered_memory(void **state)
{
    (void)state;
    enum { COUNT = 100 };
    uint8_t *memory = aligned(COUNT * BLOCK);
    int status = 0;
    for (int i = 0; i < COUNT && status == 0; i++)
        status = disk_remember(disk, memory + (size_t)i * BLOCK, BLOCK);
    assert_true(status == -ENOSPC || status == 0); /* the table is full, or there is none */
    struct disk_file *file = open_file("a", DISK_CREATE | DISK_DIRECT);
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < COUNT; i++) {
            uint8_t *block = memory + (size_t)i * BLOCK;
            memset(block, i + pass, BLOCK);
            assert_int_equal(disk_write(file, block, BLOCK, (uint64_t)i * BLOCK), BLOCK);
        }
        for (int i = 0; i < COUNT; i++) {
            uint8_t *block = memory + (size_t)(COUNT - 1 - i) * BLOCK;
            assert_int_equal(disk_read(file, block, BLOCK, (uint64_t)i * BLOCK), BLOCK);
            assert_int_equal(block[0], i + pass);
            assert_int_equal(block[BLOCK - 1], i + pass);
        }
        for (int i = 0; i < COUNT; i++)
            disk_forget(disk, memory + (size_t)i * BLOCK);
    }
    disk_file_close(file);
    free(memory);
}

static void more_files_than_slots(void **state)
{
    (void)state;
    enum { COUNT = 600 };
    static struct disk_file *files[COUNT];
    uint8_t *block = aligned(BLOCK);
    for (int i = 0; i < COUNT; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%d", i);
        files[i] = open_file(name, DISK_CREATE | DISK_DIRECT);
        for (int j = 0; j < 9; j++)
            assert_int_equal(disk_read(files[i], block, BLOCK, 0), 0);
    }
    for (int i = 0; i < COUNT; i++) {
        memset(block, i, BLOCK);
        assert_int_equal(disk_write(files[i], block, BLOCK, 0), BLOCK);
    }
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(disk_read(files[i], block, BLOCK, 0), BLOCK);
        assert_int_equal(block[7], (uint8_t)i);
        disk_file_close(files[i]);
    }
    free(block);
}

static void direct_transfers_are_a_wish(void **state)
{
    (void)state;
    direct = REFUSE_OPEN;
    struct disk_file *file = open_file("a", DISK_CREATE | DISK_EXCLUSIVE | DISK_DIRECT);
    assert_false(disk_file_is_direct(file));
    assert_int_equal(disk_write(file, "bytes", 5, 1), 5);
    disk_file_close(file);
    assert_int_equal(disk_file_open(disk, "a", DISK_CREATE | DISK_EXCLUSIVE | DISK_DIRECT, &file), -EEXIST);
}

static void direct_transfers_are_refused_late(void **state)
{
    (void)state;
    direct = REFUSE_TRANSFER;
    struct disk_file *file = open_file("a", DISK_CREATE | DISK_DIRECT);
    assert_true(disk_file_is_direct(file));
    assert_int_equal(disk_write(file, "bytes", 5, 1), -EINVAL);
    uint8_t *block = aligned(BLOCK);
    assert_int_equal(disk_write(file, block, BLOCK, 0), BLOCK);
    assert_false(disk_file_is_direct(file));
    assert_int_equal(disk_write(file, "bytes", 5, 1), 5);
    free(block);
    disk_file_close(file);
}

static void kernel_errors_are_told(void **state)
{
    (void)state;
    struct disk_file *file = open_file("a", DISK_CREATE | DISK_DIRECT);
    uint8_t *block = aligned(BLOCK);
    assert_int_equal(disk_write(file, block, BLOCK, 0), BLOCK);
    assert_int_equal(disk_write(file, (void *)DISK_ALIGNMENT, BLOCK, 0), -EFAULT);
    assert_int_equal(disk_read(file, (void *)DISK_ALIGNMENT, BLOCK, 0), -EFAULT);
    free(block);
    disk_file_close(file);
    assert_int_equal(disk_file_open(disk, "a/b", DISK_CREATE, &file), -ENOTDIR);
}

#define ON_DISK(case)                                                                                        \
    {                                                                                                        \
#case, case, disk_setup, disk_teardown, NULL                                                         \
    }
#define ON_SHM(case)                                                                                         \
    {                                                                                                        \
#case " in /dev/shm", case, shm_setup, disk_teardown, NULL                                           \
    }
#define BARE(case)                                                                                           \
    {                                                                                                        \
#case " without io_uring", case, bare_setup, disk_teardown, NULL                                     \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        DISK_CASES(ON_DISK),
        DISK_CASES(ON_SHM),
        DISK_CASES(BARE),
        cmocka_unit_test_setup_teardown(many_in_flight, shallow_setup, disk_teardown),
        cmocka_unit_test_setup_teardown(notifications_of_direct_transfers, shallow_setup, disk_teardown),
        ON_DISK(the_directory_is_made_and_locked),
        ON_DISK(a_dead_server_holds_no_lock),
        ON_DISK(read_only),
        ON_DISK(direct_and_buffered_agree),
        ON_DISK(cold_reads),
        ON_DISK(remembered_memory),
        ON_DISK(more_files_than_slots),
        ON_DISK(kernel_errors_are_told),
        ON_DISK(direct_transfers_are_a_wish),
        BARE(direct_transfers_are_refused_late),
        BARE(direct_and_buffered_agree),
        ON_SHM(direct_and_buffered_agree),
        ON_SHM(cold_reads),
        ON_SHM(remembered_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The timing loop of `bench calls`.
 *
 * Small calls go to a file of 1 MiB whose 4 KiB blocks begin with their own offset; so does each block of the
 * 64 MiB that large transfers go through, front to back. Calls are timed one by one, in turns of SLICE of
 * each kind, so that what disturbs one disturbs all; large transfers are timed as a whole; what reads return
 * is compared. */
#include "bench/caller.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/bench.h"
#include "bench/options.h"
#include "benchfs.h"
#include "metrics/histogram.h"

#define BLOCK 4096u
#define FILE_SIZE (UINT64_C(1) << 20)
#define BIG_BLOCK (UINT64_C(1) << 20)
#define BIG_FILE (UINT64_C(64) << 20)
#define HUGE_PAGE (UINT64_C(2) << 20)
#define SLICE 100u
#define COUNT_MAX 10000000ul
#define PATH_SIZE 512

const char *const caller_names[CALLER_CALLS] = {
#define X(id, name, unit) [CALLER_##id] = name,
    CALLER_TABLE(X)
#undef X
};

static const bool bandwidths[CALLER_CALLS] = {[CALLER_WRITE_BIG] = true, [CALLER_READ_BIG] = true};

static benchfs *fs;

static int library_open(const char *path, int flags)
{
    return benchfs_open(fs, path, flags, 0644);
}

static int library_close(int fd)
{
    return benchfs_close(fs, fd);
}

static int library_stat(const char *path, struct stat *found)
{
    return benchfs_stat(fs, path, found);
}

static ssize_t library_pread(int fd, void *bytes, size_t length, off_t offset)
{
    return benchfs_pread(fs, fd, bytes, length, offset);
}

static ssize_t library_pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
    return benchfs_pwrite(fs, fd, bytes, length, offset);
}

static int libc_open(const char *path, int flags)
{
    return open(path, flags, 0644);
}

static int libc_stat(const char *path, struct stat *found)
{
    return stat(path, found);
}

struct door {
    const char *name;
    int (*open)(const char *path, int flags);
    int (*close)(int fd);
    int (*stat)(const char *path, struct stat *found);
    ssize_t (*pread)(int fd, void *bytes, size_t length, off_t offset);
    ssize_t (*pwrite)(int fd, const void *bytes, size_t length, off_t offset);
};

static const struct door doors[] = {
    {"library", library_open, library_close, library_stat, library_pread, library_pwrite},
    {"libc", libc_open, close, libc_stat, pread, pwrite},
};

struct caller {
    const struct door *door;
    uint64_t count;
    int fd;
    char *buffer; /* BIG_BLOCK */
    char path[PATH_SIZE];
    char big_path[PATH_SIZE];
    /* the C library's own functions, whatever stands before them */
    int (*plain_stat)(const char *path, struct stat *found);
    ssize_t (*plain_pread)(int fd, void *bytes, size_t length, off_t offset);
    struct histogram histograms[CALLER_CALLS];
};

typedef int (*operation)(struct caller *caller, uint64_t number);

static int check_stat(int result, const struct stat *found)
{
    if (result < 0)
        return -errno;
    return S_ISREG(found->st_mode) && found->st_size == (off_t)FILE_SIZE ? 0 : -EBADMSG;
}

static int do_stat(struct caller *caller, uint64_t number)
{
    struct stat found;
    (void)number;
    return check_stat(caller->door->stat(caller->path, &found), &found);
}

static int do_stat_plain(struct caller *caller, uint64_t number)
{
    struct stat found;
    (void)number;
    return check_stat(caller->plain_stat(caller->path, &found), &found);
}

static int do_open(struct caller *caller, uint64_t number)
{
    (void)number;
    int fd = caller->door->open(caller->path, O_RDONLY | O_CLOEXEC);
    return fd < 0 || caller->door->close(fd) < 0 ? -errno : 0;
}

static int check_transfer(const struct caller *caller, ssize_t moved, size_t length, off_t offset)
{
    off_t found;
    memcpy(&found, caller->buffer, sizeof(found));
    if (moved < 0)
        return -errno;
    return moved == (ssize_t)length && found == offset ? 0 : -EBADMSG;
}

static int transfer(struct caller *caller, bool writing, size_t length, off_t offset)
{
    ssize_t moved;
    if (writing) {
        memcpy(caller->buffer, &offset, sizeof(offset));
        moved = caller->door->pwrite(caller->fd, caller->buffer, length, offset);
    } else {
        moved = caller->door->pread(caller->fd, caller->buffer, length, offset);
    }
    return check_transfer(caller, moved, length, offset);
}

static int do_pread(struct caller *caller, uint64_t number)
{
    return transfer(caller, false, BLOCK, (off_t)(number * BLOCK % FILE_SIZE));
}

static int do_pread_plain(struct caller *caller, uint64_t number)
{
    off_t offset = (off_t)(number * BLOCK % FILE_SIZE);
    return check_transfer(caller, caller->plain_pread(caller->fd, caller->buffer, BLOCK, offset), BLOCK,
                          offset);
}

static int do_pwrite(struct caller *caller, uint64_t number)
{
    return transfer(caller, true, BLOCK, (off_t)(number * BLOCK % FILE_SIZE));
}

static int do_write_big(struct caller *caller, uint64_t number)
{
    return transfer(caller, true, BIG_BLOCK, (off_t)(number * BIG_BLOCK % BIG_FILE));
}

static int do_read_big(struct caller *caller, uint64_t number)
{
    return transfer(caller, false, BIG_BLOCK, (off_t)(number * BIG_BLOCK % BIG_FILE));
}

static const operation operations[CALLER_CALLS] = {
    [CALLER_STAT] = do_stat,
    [CALLER_OPEN] = do_open,
    [CALLER_PREAD] = do_pread,
    [CALLER_STAT_PLAIN] = do_stat_plain,
    [CALLER_PREAD_PLAIN] = do_pread_plain,
    [CALLER_PWRITE] = do_pwrite,
    [CALLER_WRITE_BIG] = do_write_big,
    [CALLER_READ_BIG] = do_read_big,
};

static int repeat(struct caller *caller, operation call, uint64_t count)
{
    int status = 0;
    for (uint64_t i = 0; i < count && status == 0; i++)
        status = call(caller, i);
    return status;
}

static int time_slice(struct caller *caller, enum caller_call call, uint64_t first)
{
    int status = 0;
    for (uint64_t i = first; i < first + SLICE && i < caller->count && status == 0; i++) {
        uint64_t start = clock_now();
        status = operations[call](caller, i);
        histogram_record(&caller->histograms[call], clock_now() - start);
    }
    return status;
}

/* Single calls in turns, after some of each that are not counted. On failure *failed is which. */
static int time_calls(struct caller *caller, const enum caller_call *calls, unsigned count,
                      enum caller_call *failed)
{
    int status = 0;
    for (unsigned i = 0; i < count && status == 0; i++) {
        *failed = calls[i];
        histogram_init(&caller->histograms[calls[i]]);
        status = repeat(caller, operations[calls[i]], caller->count / 10);
    }
    for (uint64_t first = 0; first < caller->count; first += SLICE)
        for (unsigned i = 0; i < count && status == 0; i++) {
            /* There and back: none is always the one that finds the data in the cache. */
            *failed = calls[first / SLICE % 2 == 0 ? i : count - 1 - i];
            status = time_slice(caller, *failed, first);
        }
    return status;
}

/* Bytes per ns over a file that is there already. */
static int time_transfers(struct caller *caller, operation call, double *bandwidth)
{
    int status = repeat(caller, do_write_big, BIG_FILE / BIG_BLOCK);
    uint64_t start = clock_now();
    if (status == 0)
        status = repeat(caller, call, caller->count);
    *bandwidth = (double)(caller->count * BIG_BLOCK) / (double)(clock_now() - start);
    return status;
}

/* Medians in ns of all small calls that are wanted. */
static int measure_small(struct caller *caller, const enum caller_call *calls, unsigned count,
                         enum caller_call *failed)
{
    *failed = CALLER_OPEN;
    caller->fd = caller->door->open(caller->path, O_CREAT | O_RDWR);
    int status = caller->fd < 0 ? -errno : repeat(caller, do_pwrite, FILE_SIZE / BLOCK);
    if (status == 0)
        status = time_calls(caller, calls, count, failed);
    if (caller->fd >= 0 && caller->door->close(caller->fd) < 0 && status == 0)
        status = -errno;
    for (unsigned i = 0; i < count && status == 0; i++)
        printf("%s %.6f\n", caller_names[calls[i]],
               (double)histogram_quantile(&caller->histograms[calls[i]], 0.5));
    return status;
}

static int measure_big(struct caller *caller, enum caller_call call)
{
    double value = 0;
    caller->fd = caller->door->open(caller->big_path, O_CREAT | O_RDWR);
    int status = caller->fd < 0 ? -errno : time_transfers(caller, operations[call], &value);
    if (caller->fd >= 0 && caller->door->close(caller->fd) < 0 && status == 0)
        status = -errno;
    if (status == 0)
        printf("%s %.6f\n", caller_names[call], value);
    return status;
}

/* Small calls first. Returns a bench exit status. */
static int measure(struct caller *caller, char **names, int count)
{
    enum caller_call small[CALLER_CALLS], big[CALLER_CALLS], failed = CALLER_CALLS;
    unsigned smalls = 0, bigs = 0;
    for (int i = 0; i < count; i++) {
        unsigned call = 0;
        while (call < CALLER_CALLS && strcmp(names[i], caller_names[call]) != 0)
            call++;
        if (call == CALLER_CALLS || smalls + bigs == CALLER_CALLS) {
            bench_error(call == CALLER_CALLS ? "unknown call \"%s\"" : "too many calls: \"%s\"", names[i]);
            return BENCH_USAGE;
        }
        if (bandwidths[call])
            big[bigs++] = (enum caller_call)call;
        else
            small[smalls++] = (enum caller_call)call;
    }
    int status = smalls > 0 ? measure_small(caller, small, smalls, &failed) : 0;
    for (unsigned i = 0; i < bigs && status == 0; i++)
        status = measure_big(caller, failed = big[i]);
    if (status < 0)
        bench_error("%s in \"%s\": %s", caller_names[failed], caller->path, strerror(-status));
    return status < 0 ? BENCH_FAILED : BENCH_OK;
}

/* What the C library itself has under the name. */
static void *plain(const char *name)
{
    void *library = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
    return library == NULL ? NULL : dlsym(library, name);
}

static bool prepare(struct caller *caller, char **argv)
{
    char *end;
    for (size_t i = 0; i < sizeof(doors) / sizeof(doors[0]); i++) {
        if (strcmp(argv[1], doors[i].name) == 0)
            caller->door = &doors[i];
    }
    unsigned long count = strtoul(argv[3], &end, 10);
    int length = snprintf(caller->path, PATH_SIZE, "%s/calls.data", argv[2]);
    snprintf(caller->big_path, PATH_SIZE, "%s/calls.big", argv[2]);
    caller->count = count;
    return caller->door != NULL && length > 0 && length < PATH_SIZE && end != argv[3] && *end == 0 &&
           count > 0 && count <= COUNT_MAX;
}

int caller_main(int argc, char **argv)
{
    static struct caller caller;
    if (argc < 5 || !prepare(&caller, argv)) {
        bench_error("usage: calls library|libc DIRECTORY COUNT CALL...");
        return BENCH_USAGE;
    }
    *(void **)&caller.plain_stat = plain("stat");
    *(void **)&caller.plain_pread = plain("pread64");
    if (caller.plain_stat == NULL || caller.plain_pread == NULL) {
        bench_error("the C library is not libc.so.6: nothing to compare with");
        return BENCH_FAILED;
    }
    clock_prepare();
    caller.buffer = aligned_alloc(HUGE_PAGE, HUGE_PAGE);
    if (caller.buffer == NULL) {
        bench_error("out of memory");
        return BENCH_FAILED;
    }
    madvise(caller.buffer, HUGE_PAGE, MADV_HUGEPAGE);
    memset(caller.buffer, 1, HUGE_PAGE);
    if (caller.door == &doors[0] && (fs = benchfs_connect(NULL)) == NULL) {
        bench_error("%s", benchfs_error());
        free(caller.buffer);
        return BENCH_FAILED;
    }
    int result = measure(&caller, argv + 4, argc - 4);
    if (fs != NULL)
        benchfs_disconnect(fs);
    free(caller.buffer);
    return result;
}

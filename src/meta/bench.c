/* The benchmark of the engine.
 *
 * Names, their hashes and their order are prepared in batches outside the timed stretches, so that what is
 * timed is the engine: index, record, inode. (A server needs the hash before it asks the engine: it tells the
 * owner of the name.) Seven batches of eight are timed as a whole, for the mean; in one each operation is
 * timed, less what reading the clock takes. Time is the thread's processor time, page faults included, so
 * that what else the machine does counts as little as possible: the engine never waits for anything. The
 * engine's memory is reserved beforehand, as by a server with meta.reserve: else the kernel, and in a virtual
 * machine its host, would be measured. Every answer is checked. */
#include "meta/bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "meta/lookup.h"

#define BATCH 4096u
#define LOOKUPS_MAX UINT64_C(1000000)
#define NAME_LENGTH 19u
#define RESERVE 186u /* bytes a file, as meta_statistics tells */
#define DIRECTORY_FIRST UINT64_C(0x100000)

struct item {
    uint64_t file;
    uint64_t parent;
    uint64_t hash;
    char name[NAME_LENGTH];
    struct inode *inode;
};

struct meta_bench {
    struct meta *meta;
    uint64_t files;
    uint64_t directories;
    uint64_t resident; /* bytes of the process before */
    uint64_t clock_ns; /* what reading the clock takes, which is a system call: not part of an operation */
    uint64_t checksum;
    struct item items[BATCH];
};

typedef int (*operation)(struct meta_bench *run, struct item *item);

static uint64_t processor_time(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_nsec;
}

static uint64_t clock_cost(void)
{
    uint64_t least = UINT64_MAX, before = processor_time();
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t now = processor_time();
        least = now - before < least ? now - before : least;
        before = now;
    }
    return least;
}

static void item_prepare(const struct meta_bench *run, struct item *item, uint64_t file)
{
    item->file = file;
    item->parent = DIRECTORY_FIRST + file % run->directories;
    memcpy(item->name, "file.mdt.", 9);
    for (unsigned i = NAME_LENGTH; i-- > 9; file /= 10)
        item->name[i] = (char)('0' + file % 10);
    item->hash = dentry_hash(item->parent, item->name, NAME_LENGTH);
}

static int create_one(struct meta_bench *run, struct item *item)
{
    struct inode *inode;
    int status = meta_create_entry(run->meta, item->parent, item->hash, item->name, NAME_LENGTH,
                                   S_IFREG | 0644, (int64_t)item->file + 1, &inode);
    if (status == 0)
        inode->size = item->file;
    return status;
}

static int find_one(struct meta_bench *run, struct item *item)
{
    struct dentry dentry;
    int status = meta_lookup(run->meta, item->parent, item->hash, item->name, NAME_LENGTH, &dentry);
    if (status < 0)
        return status;
    if (dentry.local == NULL || dentry.local->size != item->file || !S_ISREG(dentry.local->mode))
        return -EIO;
    run->checksum += (uint64_t)dentry.local->modify_time;
    item->inode = dentry.local;
    return 0;
}

static int inode_one(struct meta_bench *run, struct item *item)
{
    return meta_inode_find(run->meta, item->file) != NULL ? 0 : -EIO;
}

static int remove_one(struct meta_bench *run, struct item *item)
{
    struct dentry dentry;
    int status = meta_lookup(run->meta, item->parent, item->hash, item->name, NAME_LENGTH, &dentry);
    if (status == 0)
        status = meta_dentry_remove(run->meta, item->parent, item->hash, item->name, NAME_LENGTH, 1);
    if (status == 0)
        meta_inode_remove(run->meta, dentry.local);
    return status;
}

/* A permutation of [0, files): a product with an odd number in the next power of two, out-of-range values
 * skipped. */
static uint64_t shuffled(uint64_t files, uint64_t *state)
{
    uint64_t mask = 1;
    while (mask < files)
        mask *= 2;
    mask -= 1;
    for (;;) {
        uint64_t value = *state;
        *state += 1;
        value = (value * UINT64_C(0x9e3779b97f4a7c15)) & mask;
        value ^= value >> 9;
        if (value < files)
            return value;
    }
}

/* Runs one on count files in ascending or random order. Inline, so that the calls in the timed loop are those
 * of the engine. */
static inline __attribute__((always_inline)) int repeat(struct meta_bench *run, operation one, uint64_t count,
                                                        bool in_order, struct meta_bench_timing *timing)
{
    uint64_t total = 0;
    uint64_t measured = 0;
    uint64_t state = 0;
    for (uint64_t done = 0, batch = 0; done < count; batch++) {
        unsigned size = count - done < BATCH ? (unsigned)(count - done) : BATCH;
        for (unsigned i = 0; i < size; i++)
            item_prepare(run, &run->items[i], in_order ? done + i : shuffled(run->files, &state));
        if (one == inode_one) {
            for (unsigned i = 0; i < size; i++) {
                int status = find_one(run, &run->items[i]);
                if (status < 0)
                    return status;
                run->items[i].file = run->items[i].inode->number;
            }
        }
        bool each = batch % 8 == 2;
        uint64_t start = processor_time();
        uint64_t before = start;
        for (unsigned i = 0; i < size; i++) {
            int status = one(run, &run->items[i]);
            if (status < 0)
                return status;
            if (each) {
                uint64_t now = processor_time();
                uint64_t took = now - before > run->clock_ns ? now - before - run->clock_ns : 0;
                if (took > timing->worst_ns)
                    timing->worst_ns = took;
                if (timing->latency != NULL)
                    histogram_record(timing->latency, took);
                before = now;
            }
        }
        if (!each) {
            total += processor_time() - start;
            measured += size;
        }
        done += size;
        if (timing->progress != NULL)
            *timing->progress += size;
    }
    timing->operations += count;
    timing->mean_ns = measured == 0 ? 0.0 : (double)total / (double)measured;
    return 0;
}

static bool list_one(void *owner, uint64_t hash, const char *name, size_t length, uint64_t inode,
                     uint32_t type)
{
    uint64_t *count = owner;
    (void)hash, (void)name, (void)inode;
    *count += length == NAME_LENGTH && S_ISREG(type);
    return true;
}

static int list_all(struct meta_bench *run, struct meta_bench_timing *timing)
{
    uint64_t count = 0, start = processor_time();
    for (uint64_t i = 0; i < run->directories; i++) {
        uint64_t before = count;
        meta_directory_walk(run->meta, DIRECTORY_FIRST + i, 0, list_one, &count);
        if (timing->progress != NULL)
            *timing->progress += count - before;
    }
    timing->operations += count;
    timing->mean_ns = count == 0 ? 0.0 : (double)(processor_time() - start) / (double)count;
    return count == run->files ? 0 : -EIO;
}

/* Whether the engine holds so many. */
static int check_count(struct meta_bench *run, uint64_t files)
{
    struct meta_statistics statistics;
    meta_statistics(run->meta, &statistics);
    return statistics.inodes == files && statistics.dentries == files ? 0 : -EIO;
}

int meta_bench_run(struct meta_bench *run, enum meta_bench_step step, uint64_t count,
                   struct meta_bench_timing *timing)
{
    int status;
    switch (step) {
    case META_BENCH_CREATE:
        status = repeat(run, create_one, count, true, timing);
        return status == 0 ? check_count(run, count) : status;
    case META_BENCH_LOOKUP:
        return repeat(run, find_one, count, false, timing);
    case META_BENCH_STAT:
        return repeat(run, inode_one, count, false, timing);
    case META_BENCH_LIST:
        return list_all(run, timing);
    default:
        status = repeat(run, remove_one, count, false, timing);
        return status == 0 ? check_count(run, run->files - count) : status;
    }
}

static uint64_t resident_bytes(void)
{
    unsigned long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL)
        return 0;
    int fields = fscanf(file, "%lu %lu", &size, &resident);
    fclose(file);
    return fields == 2 ? (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

void meta_bench_memory(const struct meta_bench *run, double *bytes, double *resident)
{
    struct meta_statistics statistics;
    meta_statistics(run->meta, &statistics);
    *bytes = (double)statistics.bytes / (double)run->files - NAME_LENGTH;
    *resident = (double)(resident_bytes() - run->resident) / (double)run->files - NAME_LENGTH;
}

int meta_bench_create(uint64_t files, uint64_t directories, struct meta_bench **bench)
{
    if (files < 1 || directories < 1 || directories > UINT32_MAX)
        return -EINVAL;
    struct meta_bench *run = malloc(sizeof(*run));
    if (run == NULL)
        return -ENOMEM;
    memset(run, 0, sizeof(*run)); /* in memory before that is measured */
    run->resident = resident_bytes();
    run->files = files;
    run->directories = directories;
    run->clock_ns = clock_cost();
    int status = meta_create(&run->meta);
    if (status == 0)
        status = meta_reserve(run->meta, files * RESERVE);
    if (status < 0) {
        meta_bench_destroy(run);
        return status;
    }
    *bench = run;
    return 0;
}

void meta_bench_destroy(struct meta_bench *run)
{
    if (run->meta != NULL)
        meta_destroy(run->meta);
    free(run);
}

int meta_bench(uint64_t files, uint64_t directories, struct meta_bench_result *result)
{
    struct meta_bench *run;
    uint64_t lookups = files < LOOKUPS_MAX ? files : LOOKUPS_MAX;
    struct meta_bench_timing timing = {0};
    struct meta_bench_result measured = {.files = files, .directories = directories};
    const struct {
        enum meta_bench_step step;
        uint64_t count;
        double *mean_ns;
    } steps[] = {
        {META_BENCH_CREATE, files, &measured.create_ns},
        {META_BENCH_LOOKUP, lookups, &measured.lookup_ns},
        {META_BENCH_STAT, lookups, &measured.inode_ns},
        {META_BENCH_REMOVE, files, &measured.remove_ns},
    };
    int status = meta_bench_create(files, directories, &run);
    if (status < 0)
        return status;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && status == 0; i++) {
        status = meta_bench_run(run, steps[i].step, steps[i].count, &timing);
        *steps[i].mean_ns = timing.mean_ns;
        if (steps[i].step == META_BENCH_CREATE)
            meta_bench_memory(run, &measured.bytes_per_file, &measured.resident_bytes_per_file);
    }
    measured.worst_ns = timing.worst_ns;
    meta_bench_destroy(run);
    if (status == 0)
        *result = measured;
    return status;
}

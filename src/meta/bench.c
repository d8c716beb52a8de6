/* The benchmark of the engine.
 *
 * Names, their hashes and their order are prepared in batches outside the timed stretches, so that what is
 * timed is the engine: index, record, inode. (A server needs the hash before it asks the engine: it tells the
 * owner of the name.) Seven batches of eight are timed as a whole, for the mean; in the eighth each operation
 * is timed, for the longest. Time is the thread's processor time, page faults included, so that what else the
 * machine does counts as little as possible: the engine never waits for anything. The engine's memory is
 * reserved beforehand, as by a server with meta.reserve: else the kernel, and in a virtual machine its host,
 * would be measured. Every answer is checked. */
#include "meta/bench.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "meta/meta.h"

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

struct run {
    struct meta *meta;
    uint64_t files;
    uint64_t directories;
    uint64_t worst_ns;
    uint64_t checksum;
    struct item items[BATCH];
};

typedef int (*operation)(struct run *run, struct item *item);

static uint64_t processor_time(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_nsec;
}

static void item_prepare(const struct run *run, struct item *item, uint64_t file)
{
    item->file = file;
    item->parent = DIRECTORY_FIRST + file % run->directories;
    memcpy(item->name, "file.mdt.", 9);
    for (unsigned i = NAME_LENGTH; i-- > 9; file /= 10)
        item->name[i] = (char)('0' + file % 10);
    item->hash = dentry_hash(item->parent, item->name, NAME_LENGTH);
}

static int create_one(struct run *run, struct item *item)
{
    struct inode *inode;
    int status = meta_create_entry(run->meta, item->parent, item->hash, item->name, NAME_LENGTH,
                                   S_IFREG | 0644, (int64_t)item->file + 1, &inode);
    if (status == 0)
        inode->size = item->file;
    return status;
}

static int find_one(struct run *run, struct item *item)
{
    struct dentry dentry;
    int status = meta_dentry_find(run->meta, item->parent, item->hash, item->name, NAME_LENGTH, &dentry);
    if (status < 0)
        return status;
    if (dentry.local == NULL || dentry.local->size != item->file || !S_ISREG(dentry.local->mode))
        return -EIO;
    run->checksum += (uint64_t)dentry.local->modify_time;
    item->inode = dentry.local;
    return 0;
}

static int inode_one(struct run *run, struct item *item)
{
    return meta_inode_find(run->meta, item->file) != NULL ? 0 : -EIO;
}

static int remove_one(struct run *run, struct item *item)
{
    struct dentry dentry;
    int status = meta_dentry_find(run->meta, item->parent, item->hash, item->name, NAME_LENGTH, &dentry);
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

/* Runs one on count files in ascending or random order; *mean_ns gets the mean. Inline, so that the calls in
 * the timed loop are those of the engine. */
static inline __attribute__((always_inline)) int repeat(struct run *run, operation one, uint64_t count,
                                                        bool in_order, double *mean_ns)
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
        bool each = batch % 8 == 7;
        uint64_t start = processor_time();
        uint64_t before = start;
        for (unsigned i = 0; i < size; i++) {
            int status = one(run, &run->items[i]);
            if (status < 0)
                return status;
            if (each) {
                uint64_t now = processor_time();
                if (now - before > run->worst_ns)
                    run->worst_ns = now - before;
                before = now;
            }
        }
        if (!each) {
            total += processor_time() - start;
            measured += size;
        }
        done += size;
    }
    *mean_ns = measured == 0 ? 0.0 : (double)total / (double)measured;
    return 0;
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

int meta_bench(uint64_t files, uint64_t directories, struct meta_bench_result *result)
{
    if (files < 1 || directories < 1 || directories > UINT32_MAX)
        return -EINVAL;
    static _Thread_local struct run run;
    memset(&run, 0, sizeof(run)); /* before RSS is taken */
    struct meta_statistics statistics;
    uint64_t lookups = files < LOOKUPS_MAX ? files : LOOKUPS_MAX;
    struct meta_bench_result measured = {.files = files, .directories = directories};
    uint64_t resident = resident_bytes();
    int status = meta_create(&run.meta);
    if (status < 0)
        return status;
    run.files = files;
    run.directories = directories;
    status = meta_reserve(run.meta, files * RESERVE);
    if (status < 0)
        goto out;

    status = repeat(&run, create_one, files, true, &measured.create_ns);
    if (status < 0)
        goto out;
    meta_statistics(run.meta, &statistics);
    measured.bytes_per_file = (double)statistics.bytes / (double)files - NAME_LENGTH;
    measured.resident_bytes_per_file = (double)(resident_bytes() - resident) / (double)files - NAME_LENGTH;
    if (statistics.inodes != files || statistics.dentries != files) {
        status = -EIO;
        goto out;
    }
    status = repeat(&run, find_one, lookups, false, &measured.lookup_ns);
    if (status == 0)
        status = repeat(&run, inode_one, lookups, false, &measured.inode_ns);
    if (status == 0)
        status = repeat(&run, remove_one, files, false, &measured.remove_ns);
    if (status < 0)
        goto out;
    meta_statistics(run.meta, &statistics);
    status = statistics.inodes == 0 && statistics.dentries == 0 ? 0 : -EIO;
    measured.worst_ns = run.worst_ns;
out:
    meta_destroy(run.meta);
    if (status == 0)
        *result = measured;
    return status;
}

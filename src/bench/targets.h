/* `bench targets`: every figure that an issue demands, measured beside its reference and judged. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/options.h"
#include "bench/sample.h"
#include "benchfs.h"

/* T(id, name, group, bound, required, unit, what). Groups are measured together: they share servers. Bound:
 * AT_MOST or AT_LEAST. unit "x": a ratio to raw UCX measured in the same repeat. Later issues add their rows
 * here. */
#define TARGET_TABLE(T)                                                                                      \
    T(STAT, "stat", SINGLE, AT_MOST, 1.35, "x", "stat of a file / raw 64 B round trip, p50")                 \
    T(STAT_P99, "stat-p99", SINGLE, AT_MOST, 2.0, "x", "stat of a file, p99 / p50")                          \
    T(LOOKUP, "lookup", SINGLE, AT_MOST, 1.35, "x", "lookup of a missing name / raw 64 B round trip, p50")   \
    T(LOOKUP_P99, "lookup-p99", SINGLE, AT_MOST, 2.0, "x", "lookup of a missing name, p99 / p50")            \
    T(CREATE, "create-close", SINGLE, AT_MOST, 2.2, "x", "create and close an empty file / raw 64 B, p50")   \
    T(UNLINK, "unlink", SINGLE, AT_MOST, 1.6, "x", "unlink / raw 64 B, p50")                                 \
    T(CREATE_WRITE, "create-write-close", SINGLE, AT_MOST, 4.5, "x",                                         \
      "create, write 3,901 B, close / raw 64 B, p50")                                                        \
    T(OPEN_READ, "open-read-close", SINGLE, AT_MOST, 3.0, "x", "open, read 3,901 B, close / raw 64 B, p50")  \
    T(WRITE_4K, "write-4KiB", SINGLE, AT_MOST, 1.25, "x", "write 4 KiB / raw 4 KiB there, p50")              \
    T(READ_4K, "read-4KiB", SINGLE, AT_MOST, 1.25, "x", "read 4 KiB / raw 4 KiB back, p50")                  \
    T(WRITE_1M_HOT, "write-1MiB-hot", SINGLE, AT_LEAST, 0.85, "x", "write 1 MiB, cache-hot / raw bandwidth") \
    T(READ_1M_HOT, "read-1MiB-hot", SINGLE, AT_LEAST, 0.85, "x", "read 1 MiB, cache-hot / raw bandwidth")    \
    T(WRITE_4M_HOT, "write-4MiB-hot", SINGLE, AT_LEAST, 0.85, "x", "write 4 MiB, cache-hot / raw bandwidth") \
    T(READ_4M_HOT, "read-4MiB-hot", SINGLE, AT_LEAST, 0.85, "x", "read 4 MiB, cache-hot / raw bandwidth")    \
    T(WRITE_1M, "write-1MiB", SINGLE, AT_LEAST, 0.85, "x", "write 1 MiB over 1 GiB / raw bandwidth")         \
    T(READ_1M, "read-1MiB", SINGLE, AT_LEAST, 0.85, "x", "read 1 MiB over 1 GiB / raw bandwidth")            \
    T(WRITE_4M, "write-4MiB", SINGLE, AT_LEAST, 0.85, "x", "write 4 MiB over 1 GiB / raw bandwidth")         \
    T(READ_4M, "read-4MiB", SINGLE, AT_LEAST, 0.85, "x", "read 4 MiB over 1 GiB / raw bandwidth")            \
    T(STAT_REQUEST, "stat-request", SINGLE, AT_MOST, 1.35, "x",                                              \
      "stat of a file that its server is asked for / raw 64 B, p50")                                         \
    T(OPEN_READ_REQUEST, "open-read-request", SINGLE, AT_MOST, 3.0, "x",                                     \
      "open, read, close of a file that its server is asked for / raw 64 B, p50")                            \
    T(DISPATCH, "dispatch", SINGLE, AT_MOST, 350.0, "ns", "server: stat request's arrival to reply sent")    \
    T(CROWD, "crowd", MANY, AT_LEAST, 0.6, "x", "2 servers + 4 clients / 1 + 1, stat per second in all")     \
    T(CROWD_P99, "crowd-p99", MANY, AT_MOST, 2000.0, "us", "2 servers + 4 clients: worst client's p99")      \
    T(IDLE, "idle", MANY, AT_MOST, 0.5, "%", "processor time of an idle server with a connected client")     \
    T(THREADS, "threads", MANY, AT_LEAST, 1.0, "x",                                                          \
      "one server: 8 client threads / 1 thread, stat per second")                                            \
    T(PRELOAD_STAT, "preload-stat", DOORS, AT_MOST, 150.0, "ns",                                             \
      "stat with the preload library - library, p50")                                                        \
    T(PRELOAD_OPEN, "preload-open-close", DOORS, AT_MOST, 150.0, "ns",                                       \
      "open and close there - library, p50")                                                                 \
    T(PRELOAD_PREAD, "preload-pread", DOORS, AT_MOST, 150.0, "ns", "pread of 4 KiB there - library, p50")    \
    T(PRELOAD_PWRITE, "preload-pwrite", DOORS, AT_MOST, 150.0, "ns", "pwrite of 4 KiB there - library, p50") \
    T(OUTSIDE_PATH, "outside-path", DOORS, AT_MOST, 50.0, "ns",                                              \
      "stat outside the prefix: preloaded - C library, p50")                                                 \
    T(OUTSIDE_FD, "outside-descriptor", DOORS, AT_MOST, 50.0, "ns",                                          \
      "pread outside: preloaded - C library, p50")                                                           \
    T(FUSE_WRITE, "fuse-write-1MiB", DOORS, AT_LEAST, 0.85, "x", "mount: write 1 MiB / FUSE in memory")      \
    T(FUSE_READ, "fuse-read-1MiB", DOORS, AT_LEAST, 0.85, "x", "mount: read 1 MiB / FUSE in memory")         \
    T(FUSE_STAT_STRICT, "fuse-stat-strict", DOORS, AT_MOST, 3000.0, "ns",                                    \
      "strict mount: stat - FUSE in memory, p50")                                                            \
    T(FUSE_STAT_RELAXED, "fuse-stat-relaxed", DOORS, AT_MOST, 2000.0, "ns",                                  \
      "relaxed mount: stat, kept by the kernel, p50")                                                        \
    T(UNTAR_PRELOAD, "untar-preload", DOORS, AT_MOST, 1.5, "x",                                              \
      "untar of 5,000 files with preload / into tmpfs")                                                      \
    T(UNTAR_FUSE, "untar-fuse", DOORS, AT_MOST, 4.0, "x", "untar of 5,000 files into a mount / into tmpfs")  \
    T(UNTAR_FUSE_MEMORY, "untar-fuse-memory", DOORS, AT_MOST, 1.5, "x",                                      \
      "untar of 5,000 files into a mount / into FUSE in memory")                                             \
    T(METRICS_OVERHEAD, "metrics-overhead", METRICS, AT_MOST, 1.02, "x",                                     \
      "stat that asks its server: recorded / not recorded at either end")                                    \
    T(METRICS_COUNTING, "metrics-counting", METRICS, AT_MOST, 1.02, "x",                                     \
      "stat that asks nobody: counted twice / once")                                                         \
    T(SPAWN, "spawn", ALONE, AT_MOST, 100.0, "ns", "task: spawn, switch and finish")                         \
    T(META_CREATE, "meta-create", ALONE, AT_MOST, 400.0, "ns", "metadata engine, 10 M files: create")        \
    T(META_LOOKUP, "meta-lookup", ALONE, AT_MOST, 200.0, "ns", "metadata engine, 10 M files: lookup")        \
    T(META_BYTES, "meta-bytes", ALONE, AT_MOST, 256.0, "B", "metadata engine: bytes a file beyond its name") \
    T(META_CREATE_DIRS, "meta-create-1000", ALONE, AT_MOST, 400.0, "ns",                                     \
      "the same in 1,000 directories: create")                                                               \
    T(META_LOOKUP_DIRS, "meta-lookup-1000", ALONE, AT_MOST, 200.0, "ns",                                     \
      "the same in 1,000 directories: lookup")                                                               \
    T(START, "start", ALONE, AT_MOST, 1000.0, "ms", "start of two servers until the first answered stat")    \
    T(URING_WRITE_1M, "uring-write-1MiB", DEVICE, AT_LEAST, 0.9, "x", "uring: write 1 MiB, depth 8 / fio")   \
    T(URING_READ_1M, "uring-read-1MiB", DEVICE, AT_LEAST, 0.9, "x", "uring: read 1 MiB, depth 8 / fio")      \
    T(URING_WRITE_4M, "uring-write-4MiB", DEVICE, AT_LEAST, 0.9, "x", "uring: write 4 MiB, depth 8 / fio")   \
    T(URING_READ_4M, "uring-read-4MiB", DEVICE, AT_LEAST, 0.9, "x", "uring: read 4 MiB, depth 8 / fio")      \
    T(URING_RANDOM_WRITE, "uring-randwrite", DEVICE, AT_LEAST, 0.85, "x",                                    \
      "uring: 4 KiB random write, 4 clients of depth 8 / fio, depth 32")                                     \
    T(URING_RANDOM_READ, "uring-randread", DEVICE, AT_LEAST, 0.85, "x",                                      \
      "uring: 4 KiB random read, 4 clients of depth 8 / fio, depth 32")                                      \
    T(URING_LATENCY_WRITE, "uring-latency-write", DEVICE, AT_MOST, 1.5, "x",                                 \
      "uring: (4 KiB random write - fio) / raw 4 KiB there, p50")                                            \
    T(URING_LATENCY_READ, "uring-latency-read", DEVICE, AT_MOST, 1.5, "x",                                   \
      "uring: (4 KiB random read - fio) / raw 4 KiB back, p50")                                              \
    T(FILE_WRITE, "file-write-1MiB", DEVICE, AT_LEAST, 0.8, "x", "file, alone: write 1 MiB / pwrite")        \
    T(FILE_READ, "file-read-1MiB", DEVICE, AT_LEAST, 0.8, "x", "file, alone: read 1 MiB / pread")            \
    T(CHECKSUM_WRITE, "checksum-write", DEVICE, AT_MOST, 5.0, "%",                                           \
      "uring: bandwidth lost by checksums, write 1 MiB, depth 8")                                            \
    T(CHECKSUM_READ, "checksum-read", DEVICE, AT_MOST, 5.0, "%",                                             \
      "uring: bandwidth lost by checksums, read 1 MiB, depth 8")                                             \
    T(DURABLE_CREATE, "create-interval", DURABLE, AT_LEAST, 0.7, "x",                                        \
      "uring, durability interval: create and close / in memory")                                            \
    T(DURABLE_CLOSE, "close-durable", DURABLE, AT_LEAST, 0.7, "x",                                           \
      "durability close, 4 clients: files / (fdatasync rate x files a group)")                               \
    T(CLOSE_BATCH, "close-batch", DURABLE, AT_LEAST, 1.0, "x",                                               \
      "durability close, 4 clients: files a group / clients")                                                \
    T(RESTART, "restart", DURABLE, AT_MOST, 3000.0, "ms",                                                    \
      "1 million files, kill -9: start until the first answered stat")                                       \
    T(RECOVERY, "recovery", DURABLE, AT_LEAST, 1000000.0, "/s", "that start: records replayed a second")     \
    T(SERVER_MEMORY, "server-memory", DURABLE, AT_MOST, 1.0, "x",                                            \
      "uring, 1 million files and 1 GiB: resident / (buffers + 256 B a file + 64 MiB)")

enum target_id {
#define T(id, name, group, bound, required, unit, what) TARGET_##id,
    TARGET_TABLE(T)
#undef T
        TARGET_ROWS
};

enum target_group {
    GROUP_SINGLE,
    GROUP_MANY,
    GROUP_DOORS,
    GROUP_METRICS,
    GROUP_ALONE,
    GROUP_DEVICE,
    GROUP_DURABLE
};
enum target_bound { AT_MOST, AT_LEAST };

/* What was measured for one row, one value a repeat. Lies in memory that all processes of the benchmark
 * share. */
struct target_samples {
    struct sample measured;  /* what is judged */
    struct sample own;       /* ours, and */
    struct sample reference; /* what it is compared with, in `detail` units */
    char detail[8];          /* "us", "GB/s" or "" */
    char skipped[48];        /* why nothing was measured, if there is a reason */
};

struct target_run {
    bool wanted[TARGET_ROWS];
    bool quick;
    uint32_t repeats;
    const char *directory; /* what lies on a device lies in one of its own here; NULL: $TMPDIR */
    struct target_samples rows[TARGET_ROWS];
};

/* Each measures the wanted rows of its group. 0, or -errno after one line on standard error. */
int targets_single(struct target_run *run);
int targets_many(struct target_run *run);
int targets_doors(struct target_run *run);
int targets_metrics(struct target_run *run);
int targets_alone(struct target_run *run);
int targets_device(struct target_run *run);
int targets_durable(struct target_run *run);

/* Adds ours / reference. */
void target_ratio(struct target_run *run, enum target_id row, double own, double reference,
                  const char *detail);
/* Adds ours - reference. */
void target_difference(struct target_run *run, enum target_id row, double own, double reference,
                       const char *detail);
void target_value(struct target_run *run, enum target_id row, double value);
/* Adds a value that follows from ours and the reference in another way. */
void target_judged(struct target_run *run, enum target_id row, double value, double own, double reference,
                   const char *detail);
/* The row cannot be measured here: it says so, and does not count as reached. */
void target_skip(struct target_run *run, enum target_id row, const char *why);
/* Whether any row from first to last is wanted and not skipped. */
bool target_wanted(const struct target_run *run, enum target_id first, enum target_id last);

/* Asks server 0 of the cluster. 0 or -errno. */
struct server_status_reply;
int target_server_status(benchfs *fs, struct server_status_reply *reply);

/* Runs work in a child process bound to a processor (-1: any) and waits, at most patience ns (then it is
 * killed: -ETIMEDOUT). Returns what work returned (0 or -errno). */
int target_child(int processor, uint64_t patience, int (*work)(void *argument), void *argument);

extern const struct bench_verb bench_targets;

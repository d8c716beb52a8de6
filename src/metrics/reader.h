/* Reading regions: of this host by their files, of others in whatever way `read` goes. A region comes from
 * outside: its header is checked before anything else of it is believed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "metrics/region.h"

/* What a reader asks of whoever writes a region. */
#define METRICS_LEAVE UINT64_MAX /* as it is */
struct metrics_control {
    uint64_t slow_ns;      /* metrics_header.slow_ns, or METRICS_LEAVE */
    uint64_t detail_until; /* the same; of regions of this host only */
};

struct metrics_source {
    /* Reads exactly `length` bytes of the region from `offset`. 0 or -errno. */
    int (*read)(struct metrics_source *source, uint64_t offset, void *bytes, uint64_t length);
    /* Sets what readers set: see struct metrics_control. 0 or -errno; NULL: not possible. */
    int (*control)(struct metrics_source *source, const struct metrics_control *control);
    void (*close)(struct metrics_source *source);
    struct metrics_header header; /* as it was at metrics_source_check or the last metrics_snapshot_read */
};

/* Reads and checks the header. 0, -EPROTO: no region, or of another version; or what `read` says. To be
 * called once before anything below. */
int metrics_source_check(struct metrics_source *source);
/* Opens a region's file and checks it. 0 or -errno. */
int metrics_source_open(const char *path, struct metrics_source **source);
/* Over memory of this process, which stays. 0 or -errno. */
int metrics_source_memory(const struct metrics_header *region, struct metrics_source **source);
/* 0, -EOPNOTSUPP or why not. */
int metrics_source_control(struct metrics_source *source, const struct metrics_control *control);
/* Frees it. NULL is harmless. */
void metrics_source_close(struct metrics_source *source);

/* The word by which the owner of a region's file is told to record nothing (1) or to record again (0): for
 * measurements of what recording costs. To be closed; the owner goes on as it was told last. 0 or -errno. */
int metrics_switch_open(const char *path, uint32_t **paused);
void metrics_switch_close(uint32_t *paused);

/* Paths of all regions of this user in the directory, in no order, each to be freed, and the array. 0 (none
 * is no error) or -ENOMEM. */
int metrics_list(const char *directory, char ***paths, uint32_t *count);

struct metrics_snapshot {
    uint64_t taken_ns; /* monotonic, of the reader */
    uint64_t counters[METRICS];
    struct metrics_operation operations[METRICS_OPERATIONS];
};

/* 0 or -errno. */
int metrics_snapshot_read(struct metrics_source *source, struct metrics_snapshot *snapshot);
/* later minus earlier, for counters and operations; gauges are later's. */
void metrics_snapshot_subtract(struct metrics_snapshot *later, const struct metrics_snapshot *earlier);
enum metric_kind metric_kind(enum metric metric);
extern const char *const metric_names[METRICS];
extern const char *const metric_units[METRICS];
extern const char *const metric_helps[METRICS];
extern const char *const metrics_stage_names[METRICS_STAGES];

/* The buckets of one operation and stage since the region began: HISTOGRAM_BUCKETS numbers. Values of 0 are
 * not among them, see metrics_histogram_add. 0 or -errno. */
int metrics_buckets_read(struct metrics_source *source, uint32_t operation, enum metrics_stage stage,
                         uint64_t *buckets);
/* Adds to a histogram what buckets gained over earlier (NULL: all), and as many zeros as `operations`, how
 * many operations there were, is more than that. */
void metrics_histogram_add(struct histogram *histogram, const uint64_t *buckets, const uint64_t *earlier,
                           uint64_t operations);

/* Reads trace entries from number *position (from 0) on, at most `most`, and moves *position behind them;
 * *lost grows by those that were overwritten before they could be read. Returns how many, or -errno. */
int metrics_trace_read(struct metrics_source *source, uint64_t *position, struct metrics_entry *entries,
                       uint32_t most, uint64_t *lost);
/* The sessions of a server, as many as there were at the last metrics_snapshot_read: at most
 * METRICS_SESSIONS; since 0: not in use. Returns how many, or -errno. */
int metrics_sessions_read(struct metrics_source *source, struct metrics_session *sessions);
/* The slow requests that are remembered, oldest first: at most METRICS_SLOW. Returns how many, or -errno. */
int metrics_slow_read(struct metrics_source *source, struct metrics_entry *entries);

/* `bench iozone`: a matrix of record sizes by file sizes, as iozone measures it. */
#pragma once

#include "bench/suite.h"
#include "bench/transfers.h"

extern const struct suite_workload bench_iozone;

/* X(id, name, kind of transfer, order of the records) */
#define IOZONE_PHASES(X)                                                                                     \
    X(WRITE, "write", WRITE, FORWARD) /* makes the file */                                                   \
    X(REWRITE, "rewrite", WRITE, FORWARD)                                                                    \
    X(READ, "read", READ, FORWARD)                                                                           \
    X(REREAD, "reread", READ, FORWARD)                                                                       \
    X(RANDOM_READ, "random-read", READ, RANDOM)                                                              \
    X(RANDOM_WRITE, "random-write", WRITE, RANDOM)                                                           \
    X(BACKWARD_READ, "backward-read", READ, BACKWARD)                                                        \
    X(STRIDE_READ, "stride-read", READ, STRIDE)

enum iozone_phase {
#define X(id, name, kind, order) IOZONE_##id,
    IOZONE_PHASES(X)
#undef X
        IOZONE_PHASE_COUNT
};

#define IOZONE_STRIDE 17u /* records from one to the next */

/* The record that is visited as the n-th of `count` in that phase; each is visited once. */
uint64_t iozone_record(enum iozone_phase phase, uint64_t count, uint64_t n);

struct iozone_shape {
    uint64_t record, file; /* bytes */
    uint64_t depth;        /* records under way at once: 1..TARGET_DEPTH_MAX */
    bool sync, verify;
};

/* All phases in their order on a file of each worker's own; it is removed afterwards. 0, or -errno after one
 * line on standard error. */
int iozone_run(struct session *session, const struct iozone_shape *shape);

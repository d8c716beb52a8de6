/* `bench mixed`: reads, writes, stats and creates that arrive at a given rate whether or not earlier ones are
 * done, and what they take then. */
#pragma once

#include <stdatomic.h>

#include "bench/session.h"
#include "bench/suite.h"

extern const struct suite_workload bench_mixed;

/* Phases; the operations come first. */
enum mixed_phase { MIXED_READ, MIXED_WRITE, MIXED_STAT, MIXED_CREATE, MIXED_ALL, MIXED_PHASE_COUNT };

#define MIXED_OPERATIONS MIXED_ALL

struct mixed_shape {
    double rate;  /* operations a second, of all workers together */
    bool poisson; /* or evenly */
    uint64_t shares[MIXED_OPERATIONS];
    uint64_t depth; /* operations under way at once in a worker: 1..TARGET_DEPTH_MAX */
    uint64_t size;  /* of a read and a write */
    uint64_t total; /* bytes of each worker's file to read and of the one to write, multiples of size, `depth`
                       at least */
    uint64_t files; /* of each worker, to be asked for by stat */
    uint64_t duration; /* ns in which requests arrive */
    uint64_t seed;
    bool verify;
};

/* Of all workers. */
struct mixed_outcome {
    _Atomic uint64_t arrived;
    _Atomic uint64_t backlog;  /* had arrived and waited when the time was over */
    _Atomic uint64_t given_up; /* not even begun when as much time again had passed */
};

/* What one worker does. Latencies are from the time at which a request should have begun. Requests that have
 * arrived are done, if need be until as much time again has passed; those then left have the latencies of
 * requests that end at this moment, and are counted as errors, not as operations. 0, or -errno after one line
 * on standard error. */
int mixed_run(struct session *session, const struct mixed_shape *shape, struct mixed_outcome *outcome);

/* `bench replay`: does what a trace recorded, on any target; `bench convert`: what strace printed as a trace.
 */
#pragma once

#include <stdatomic.h>

#include "bench/relay.h"
#include "bench/replay_plan.h"
#include "bench/session.h"
#include "bench/suite.h"

extern const struct suite_workload bench_replay;
extern const struct bench_verb bench_convert;

/* Phases: the operations of traces, and all of them. */
#define REPLAY_ALL TRACE_OPERATION_COUNT
#define REPLAY_PHASE_COUNT (REPLAY_ALL + 1)

/* Of all workers. */
struct replay_outcome {
    _Atomic uint64_t less;     /* reads that gave less than when they were recorded */
    _Atomic uint64_t differed; /* operations that failed then and do not now */
    _Atomic uint64_t lost;     /* operations on a file that its process had from another, and that was gone */
    _Atomic uint64_t late;     /* ns that the operation that began latest was late; with a speed */
};

/* What one worker does: prepares its share of the files, replays the processes that fall to it, each
 * operation in the order of its process and after those that it depends on, and removes everything. speed: 0:
 * as fast as it can, otherwise so many times as fast as recorded. done: a counter for each path of the trace.
 * An operation that fails and did not when it was recorded ends the run; what struct replay_outcome tells is
 * counted as errors. 0, or -errno after one line on standard error. */
int replay_run(struct session *session, const struct replay_plan *plan, double speed, bool verify,
               struct relay *done, struct replay_outcome *outcome);

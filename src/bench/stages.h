/* Where the time of a phase went: what the measurements (metrics/region.h) of the members that work on a
 * target, and of the servers of its cluster, gained between the phase's begin and end.
 *
 * Members are processes: the sums lie in memory that all share, and each adds its own part. Those of the
 * ranks of MPI are put together in the end. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/result.h"
#include "client/sources.h"
#include "metrics/metrics.h"

/* Sums of all phases of one target. */
struct stages;
/* What one member had measured when a phase began. */
struct stages_before;

/* Makes sums of so many phases (at most 32), all empty, for this process and those that it forks from now on.
 * 0 or -ENOMEM. */
int stages_create(uint32_t phases, struct stages **stages);
void stages_free(struct stages *stages); /* NULL is harmless */
/* Empties them. While no member runs. */
void stages_clear(struct stages *stages);

/* Of a member, with what the calling thread measures (up to date). *before is NULL at first; stages_leave
 * frees it and adds what was gained since. Without memory, the phase is not among the sums, and
 * stages_describe says so. */
void stages_come(struct stages *stages, uint32_t phase, const struct metrics *metrics,
                 struct stages_before **before);
void stages_leave(struct stages *stages, uint32_t phase, const struct metrics *metrics,
                  struct stages_before **before);

/* Of one member while the servers have nothing to do: looks at the servers of the cluster, and adds what they
 * gained when the phase ends. sources: the servers, wherever they run, all of them and in the same order each
 * time, brought up to date (sources_refresh); NULL: they could not be found, which stages_describe says. They
 * wait a moment, so that servers have brought their measurements up to date, and for as long as requests
 * take. */
void stages_begin(struct stages *stages, uint32_t phase, struct sources *sources);
void stages_end(struct stages *stages, uint32_t phase, struct sources *sources);

/* After a run without a failure: adds what was seen of servers to the sums. When all runs are done: makes
 * the sums those of all ranks. All ranks call these, after a meeting (bench/ranks.h). 0 or -ECANCELED. */
int stages_settle(struct stages *stages);
int stages_gather(struct stages *stages);

/* Puts the sums of a phase into a result whose bytes are known: stages, operations_by_rpc, servers, counters;
 * nothing where nothing was measured. */
void stages_describe(const struct stages *stages, uint32_t phase, struct result *result);

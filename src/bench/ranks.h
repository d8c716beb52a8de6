/* The ranks of an MPI job, when a benchmark was started as one: every rank runs the same benchmark with the
 * same options, its workers are a share of all, and rank 0 reports. Without MPI there is one rank, 0, and
 * these calls do nothing. For the process that starts the workers; they inherit what it knows. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Whether the environment says that this process is a rank among several. */
bool ranks_expected(void);
/* Says why a benchmark does not run as such, in rank 0. Returns its exit status. */
int ranks_refuse(const char *why);
/* Joins the other ranks if the environment says that there are any, or if forced. From now on ranks other
 * than 0, and their workers, write nothing to standard output and keep their error lines: one line is written
 * when one has failed, that of rank 0 if there is any, else that of the first rank. 0, or -errno after one
 * line.
 */
int ranks_start(bool forced);

uint32_t ranks_number(void);
uint32_t ranks_count(void);
/* Whether all ranks are on this host. */
bool ranks_together(void);

/* All ranks call these in the same order. Once one has failed, the others' next call fails, too, and none
 * waits for another any more. */

/* What a rank brings to a meeting, and what it takes from there. */
struct ranks_meeting {
    uint64_t place;     /* in the program: the same for all who have not failed */
    bool failed;        /* by itself, which bench_error was told */
    uint64_t maxima[3]; /* the greatest of all ranks' */
};

/* Begins a meeting, and asks whether all have come: 1 when they have (then maxima are those of all), 0 not
 * yet, -ECANCELED: one has failed. The meeting stays the caller's until then. */
int ranks_meet(const struct ranks_meeting *meeting);
int ranks_met(struct ranks_meeting *meeting);
/* Whether another rank has failed, wherever it is. */
bool ranks_alarmed(void);

/* Adds up, or finds the greatest of, values of all ranks, in place, after a meeting. 0 or -ECANCELED. */
int ranks_sum(uint64_t *values, uint32_t count);
int ranks_maximum(uint64_t *values, uint32_t count);
/* Rank 0's bytes, a multiple of 8. */
int ranks_broadcast(void *bytes, uint32_t size);
/* A meeting about something that each did for himself: 0 when all have 0, else this rank's status or
 * -ECANCELED. */
int ranks_agree(int status);

/* Words from each rank to all others, outside of meetings: they arrive when those hear them, those of one
 * rank in the order in which they were told. */
#define RANKS_TELL_MAX 256u
/* 0; -EAGAIN: too many are under way, nothing was told; or -EIO. Without other ranks: 0. */
int ranks_tell(const uint64_t *words, uint32_t count);
/* *count of what somebody told at once, at most RANKS_TELL_MAX; 0: nobody did. 0 or -EIO. */
int ranks_hear(uint64_t *words, uint32_t *count);

/* At the end: the benchmark's exit status, no success if another rank has failed. */
int ranks_finish(int status);

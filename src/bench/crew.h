/* Workers: processes and threads that run the same phases at the same time and report what they measured.
 * Under MPI (bench/ranks.h) those of all ranks: number and count of a member are of all, totals too, in every
 * rank. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "metrics/histogram.h"

#define CREW_MAX 64u
#define CREW_PHASES_MAX 16u

/* What one worker did in one phase. A worker adds operations and bytes as they are done, because somebody may
 * look on. */
struct crew_part {
    uint64_t operations;
    uint64_t bytes;
    uint64_t errors;  /* operations that failed and were gone on after; not among `operations` */
    uint64_t started; /* monotonic ns */
    uint64_t ended;
    struct histogram latency; /* ns of single operations */
};

struct crew;

struct crew_member {
    struct crew *crew;
    uint32_t number;
    uint32_t count;
    void *argument;
    void *own; /* of the run function, for whoever watches; NULL at first */
};

/* Runs in each worker; returns 0, or -errno after bench_error. */
typedef int (*crew_run)(struct crew_member *worker);

/* A phase of all workers together. */
struct crew_total {
    uint64_t operations;
    uint64_t bytes;
    uint64_t errors;
    double seconds;     /* first start to last end; of ranks: where that took longest */
    uint64_t worst_p99; /* of the workers, ns */
    struct histogram latency;
};

/* Begins a phase: waits until all workers have come this far. NULL: another worker failed, give up. */
struct crew_part *crew_phase(struct crew_member *worker, uint32_t phase);
/* Ends the worker's part of it. */
void crew_phase_end(struct crew_member *worker, uint32_t phase);
/* The same, as if the part had taken `ns`: for a worker that has prepared things in between, and knows how
 * long what is measured took. */
void crew_phase_took(struct crew_member *worker, uint32_t phase, uint64_t ns);
/* A phase that is a share of another, `outer`, which has begun: operations of one kind where kinds are mixed.
 * It begins and ends with the other, without waiting, and what is looked at when phases begin and end belongs
 * to the other alone. The second is called when the other was ended. */
struct crew_part *crew_phase_within(struct crew_member *worker, uint32_t phase, uint32_t outer);
void crew_phase_end_within(struct crew_member *worker, uint32_t phase, uint32_t outer);
/* Waits for all, without a phase. 0 or -ECANCELED. */
int crew_wait(struct crew_member *worker);
/* Whether it is the first of its rank, for what is to be done once in each. */
bool crew_first(const struct crew_member *worker);
/* Whether another worker failed or the user wants it to end: between operations of a long phase, a worker
 * that has something to clean up asks this, and gives up with -ECANCELED. */
bool crew_stopping(const struct crew_member *worker);

/* Where a phase begins and ends. */
enum crew_edge {
    CREW_COMES,  /* of each worker: it is on its way to the barrier that begins the phase */
    CREW_BEGINS, /* of the last one to come, while all the others stand there */
    CREW_LEAVES, /* of each worker: its part has ended */
    CREW_ENDS,   /* of the last one to leave; the others may be doing other things by now */
};

/* Looks on while the workers work. */
struct crew_watch {
    uint64_t interval; /* ns between looks */
    /* Of the phase under way: seconds since it began, and what is done of it. */
    void (*look)(void *argument, uint32_t phase, double seconds, uint64_t operations, uint64_t bytes);
    void *argument;
    uint64_t grace; /* ns that workers have to clean up after an interrupt before they are killed */
    /* Called by the parent time and again, every 20 us or so, under MPI alone; may be NULL. 0, or -errno: the
     * crew fails. */
    int (*carry)(void *argument);
    /* Called in workers, outside of what is timed; may be NULL. */
    void (*edge)(struct crew_member *worker, uint32_t phase, enum crew_edge edge);
};
/* Waits for all and tells each the greatest of the values that they brought. 0 or -ECANCELED. */
int crew_maximum(struct crew_member *worker, uint64_t value, uint64_t *maximum);
/* The same with their sum (modulo 2^64); as many barriers as there are workers. */
int crew_sum(struct crew_member *worker, uint64_t value, uint64_t *sum);

/* Runs `processes` processes of `threads` threads each. pin[i], if pin is not NULL, is the processor of
 * process i (-1: any). totals: `phases` of them. Returns 0, or -errno when a worker failed; -EINTR, the
 * workers are killed, when interrupt_catch was called and the user wants it to end. */
int crew_execute(uint32_t processes, uint32_t threads, const int *pin, uint32_t phases, crew_run run,
                 void *argument, struct crew_total *totals);

/* The same with somebody who looks on, in the calling process. */
int crew_execute_watched(uint32_t processes, uint32_t threads, const int *pin, uint32_t phases, crew_run run,
                         void *argument, const struct crew_watch *watch, struct crew_total *totals);

/* Monotonic ns. */
uint64_t crew_now(void);
/* Binds the calling thread to one processor out of those that the program might use before anybody was bound
 * (modulo their number). Of several threads one at a time may call it first. */
void crew_pin(unsigned number);

/* What all benchmarks of the suite share. A benchmark is a table: its options, its phases, and what one
 * member of the crew does. The suite does the rest: it parses options, makes the product of those that were
 * given as lists, runs every combination --repeats times on each target in turns (the order of targets
 * alternates, so that a machine whose speed drifts harms all alike), shows progress, warns of results that
 * are not what they look like, prints a table and writes JSON lines (bench/result.h).
 *
 * To add a benchmark:
 *
 *   static uint64_t size = 4096, files = 100;          the options' variables
 *   static const struct bench_option options[] = {{"size", BENCH_SIZE, &size, ...}, ..., {0}};
 *   static const struct suite_phase phases[] = {{.name = "write"}, {.name = "read", .reads = true}, {0}};
 *   const struct suite_workload bench_example = {.name = "example", ..., .run = run};
 *
 * and name it in the table of main.c. Options of kinds BENCH_NUMBER, BENCH_SIZE, BENCH_DURATION and
 * BENCH_TEXT may be given as lists without further ado: while a combination is checked and measured, the
 * variables hold its values. They and the flags are the results' parameters, under the options' names.
 *
 * The suite adds these options: --target and --library (may be repeated), --processes, --threads (both may be
 * lists),
 * --repeats, --warmup, --json, --output, --limits. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/crew.h"
#include "bench/options.h"
#include "bench/result.h"
#include "bench/target.h"

#define SUITE_PHASES_MAX CREW_PHASES_MAX
#define SUITE_DIRECTORY_SIZE 600u

struct suite_phase {
    const char *name; /* as in results */
    bool reads;       /* file contents: what a cache could answer */
};

/* One thread of one process, in one run of a combination on one target. */
struct suite_member {
    struct crew_member *crew; /* for crew_phase, crew_phase_end, crew_wait, crew_maximum, crew_stopping */
    uint32_t number, count;   /* of all members */
    uint32_t run;             /* 0, 1, ...: counts runs of this process, warm-ups included */
    struct target *target;    /* open; NULL if the workload has a subject */
    /* In the target, empty, the same for all members, made by the suite for this run. It must be empty again
     * when run returns 0; after a failure the suite removes what is left. */
    char directory[SUITE_DIRECTORY_SIZE];
    void *shared; /* shared_size bytes, zero before each run, of all members and the suite together */
};

struct json_t;

struct suite_workload {
    const char *name;
    const char *help;                   /* one line */
    const struct bench_option *options; /* its own; ends with name NULL */
    /* Options whose default is a list: name and list in turns, ends with NULL. May be NULL. */
    const char *const *lists;
    const struct suite_phase
        *phases;         /* in the order of results; ends with name NULL. A run may leave some out */
    const char *subject; /* what is measured when that is no target; NULL: targets are */
    /* The option (BENCH_TEXT) whose values are measured in turns in place of targets, under their names, and
     * what values it has when none are given, separated by commas. With a subject; may be NULL. */
    const char *subjects;
    const char *(*all_subjects)(void);
    bool client_only; /* targets have to have a client core (target.h): those of scheme benchfs: */
    bool serial;      /* one member; no --processes and --threads */
    size_t shared_size;
    /* What of it is of all ranks of MPI (bench/ranks.h) after a run: so many uint64_t at its beginning are
     * added up, and of so many behind them the greatest is found. */
    uint32_t shared_sums, shared_maxima;

    /* Whether the combination makes sense: 0, or BENCH_USAGE after bench_error. Called for every combination
     * before anything is measured. May be NULL. */
    int (*check)(void);
    /* Whether it makes sense on a target of which this is known: 0, or BENCH_USAGE after bench_error. Called
     * for every combination and target before anything is measured. May be NULL. */
    int (*suits)(const struct target_facts *facts);
    /* Whether a target with these calls can do the phase of the combination at all. If not, the phase is
     * reported as TARGET_UNSUPPORTED on it, and `run` must leave it out. A target that
     * can do none of them is not run. NULL: any target can. */
    bool (*supports)(const struct target_operations *calls, uint32_t phase);
    /* Bytes of file contents that the combination has at once, of all members, for warnings. NULL: none. */
    uint64_t (*working_set)(uint32_t members);
    /* The life of a member: phases by crew_phase(member->crew, i) ... crew_phase_end, i as in `phases`. Adds
     * operations and bytes to its part as they are done, and latencies to its histogram. 0, or -errno after
     * one line on standard error (suite_fail). */
    int (*run)(struct suite_member *member);
    /* Of the process that starts the members, time and again while they work, under MPI alone: carries
     * between ranks what they tell each other. 0, or -errno: the run fails. May be NULL. */
    int (*carry)(void);
    /* Adds to a result what the suite cannot know: parameters of the phase alone, measures, warnings. Called
     * after the last repeat; shared: as the last run on this target left it. May be NULL. */
    void (*describe)(uint32_t phase, const void *shared, struct result *result);
    /* After all results of a combination on a target: a line of another type for the file, such as a score
     * (a new object; "run", "benchmark", "target" and "parameters" are added to it), and a line of text for
     * people. results[i] is NULL for a phase that did not run. May be NULL, and may return NULL. */
    struct json_t *(*conclude)(struct result *const *results, const void *shared, char *text, size_t size);
};

/* `benchfs bench NAME ...`; argv[0] is the name. Returns a bench_exit. */
int suite_main(const struct suite_workload *workload, int argc, char **argv);

/* Before suite_main: what it measures is to be compared, so that less than two targets are refused. */
void suite_must_compare(void);

/* Members of the combination that is checked or measured. */
uint32_t suite_members(void);

/* "target posix:/x: create /x/...: No space left on device" on standard error, unless status is -ECANCELED.
 * Returns status. */
int suite_fail(const struct suite_member *member, const char *what, const char *path, int status);

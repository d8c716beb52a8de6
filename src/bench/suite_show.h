/* What the suite tells: a table for people, JSON lines for programs, warnings on standard error. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/result.h"
#include "bench/result_output.h"
#include "bench/sweep.h"
#include "bench/target.h"

struct json_t;

#define SUITE_LETTERS 26u /* targets that can have one */

struct suite_output {
    const char *benchmark;
    bool json;                 /* lines on standard output in place of the table */
    struct result_output file; /* lines go there as well, if it is open */
    int target_width, phase_width;
    uint32_t target_count;
    const char *targets[SUITE_LETTERS]; /* borrowed */
    bool letters;                       /* rows call targets A, B, ..., because their names are long */
    uint32_t column_count;
    const struct sweep_axis *columns[SWEEP_AXES_MAX]; /* parameters that have a column of the table */
    int widths[SWEEP_AXES_MAX];
};

/* 0, or -errno after one line on standard error. path: NULL: no file. */
int suite_show_open(struct suite_output *output, const char *benchmark, bool json, const char *path);
/* 0, or -errno: the file is not complete. */
int suite_show_close(struct suite_output *output);

/* Before suite_show_begin: make room for the name in the table. */
void suite_show_target(struct suite_output *output, const char *target);
void suite_show_phase(struct suite_output *output, const char *phase);
/* These return 0, or -errno when lines cannot be written. Lines are taken over. */
int suite_show_begin(struct suite_output *output, struct json_t *run, const struct sweep *sweep);
int suite_show_result(struct suite_output *output, const struct result *result);
/* A phase that its target cannot do: no result, and told as that. */
int suite_show_unsupported(struct suite_output *output, const struct result *result);
/* text: for people; "": none. */
int suite_show_line(struct suite_output *output, struct json_t *line, const char *target, const char *text);

/* Says how much faster one is than other, or that nobody can tell. For people. */
void suite_show_ratio(const struct suite_output *output, const struct result *one,
                      const struct result *other);
/* Adds to a run's line what is known of a target: its configuration, and its transports. */
void suite_show_facts(struct json_t *run, struct json_t *transports, const char *target,
                      const struct target_facts *facts);

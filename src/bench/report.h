/* Results for people (a table) and for programs (JSON lines: bench/result.h), of the benchmarks that run a
 * loop of their own. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/options.h"
#include "bench/sample.h"
#include "metrics/histogram.h"

/* One phase of one target over all repeats. */
struct report_row {
    const char *target;
    const char *phase;
    uint64_t size; /* of a transfer; 0: not one */
    uint64_t depth;
    uint64_t operations;
    struct sample rate;      /* operations per second, one value a repeat */
    struct sample bandwidth; /* bytes per second */
    struct histogram latency;
};

/* Writes the head: columns, or the record of benchmark, options, version, machine and time. */
void report_begin(const struct bench_verb *verb, const struct bench_list *targets, bool json);
void report_row(const struct report_row *row, bool json);
/* Says how much faster each row of one target is than the same row of another, or that the difference is
 * within the noise. For people. */
void report_compare(const struct report_row *one, const struct report_row *other);
/* Prints one JSON object on a line of its own. Takes it over. */
struct json_t;
void report_json(struct json_t *object);
/* The head's JSON object, to which more may be added. */
struct json_t *report_provenance(const struct bench_verb *verb);

/* Results of measurements as JSON lines, written and read: docs/results.md describes the format.
 *
 * A benchmark makes a `struct result` for each target x parameters x phase, fills in samples and latency,
 * calls result_settle and writes it. Whoever reads results gets the same struct back, checked. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/options.h"
#include "bench/sample.h"
#include "metrics/histogram.h"

struct json_t;

#define RESULT_FORMAT 1
#define RESULT_ID_SIZE 17u /* 16 hex digits and the end */
#define RESULT_PARAMETERS_MAX 32u
#define RESULT_MEASURES_MAX 16u
#define RESULT_WARNINGS_MAX 16u
#define RESULT_WARNING_SIZE 256u

enum result_kind { RESULT_NUMBER, RESULT_REAL, RESULT_TEXT, RESULT_FLAG };

/* What was varied or may be: the axes of plots. Sizes in bytes, durations in ns. */
struct result_parameter {
    const char *name;
    enum result_kind kind;
    union {
        uint64_t number;
        double real;
        const char *text;
        bool flag;
    };
};

/* What a benchmark found out that is neither a rate nor a latency, such as a hit rate. */
struct result_measure {
    const char *name;
    double value;
};

/* Median over the repeats, and its 95 % interval. */
struct result_interval {
    double median, low, high;
};

/* What went on in a short while before time t of a phase. */
struct result_moment {
    double t; /* seconds since the phase began */
    double ops_per_s, bytes_per_s;
};

/* Names and texts are borrowed: of a result that was read they belong to its file. */
struct result {
    const char *run; /* id */
    const char *benchmark, *target, *phase;
    uint32_t parameter_count, measure_count;
    struct result_parameter parameters[RESULT_PARAMETERS_MAX];
    struct result_measure measures[RESULT_MEASURES_MAX];
    uint64_t operations, bytes, errors; /* of all repeats together */
    uint32_t repeats;
    struct sample seconds, ops_per_s, bytes_per_s; /* a value a repeat; empty: only the summary is known */
    struct result_interval operation_rate, byte_rate;
    uint64_t p50, p99, p999, maximum; /* ns of an operation; 0: unknown */
    struct histogram *latency;        /* ns; owned; NULL: unknown */
    /* As they are in the file; NULL: none. Owned references. */
    struct json_t *stages, *operations_by_rpc, *servers, *counters;
    uint32_t moment_count;
    struct result_moment *series; /* owned; of the last repeat */
    uint32_t warning_count;
    char warnings[RESULT_WARNINGS_MAX][RESULT_WARNING_SIZE];
};

void result_init(struct result *result);
void result_free(struct result *result);

/* Each adds a parameter, or replaces it. Without effect beyond RESULT_PARAMETERS_MAX. */
void result_number(struct result *result, const char *name, uint64_t value);
void result_real(struct result *result, const char *name, double value);
void result_text(struct result *result, const char *name, const char *value);
void result_flag(struct result *result, const char *name, bool value);
/* Takes a parameter away that the phase does not depend on. Harmless when there is none of the name. */
void result_drop_parameter(struct result *result, const char *name);
/* Adds a measure, or replaces it. Without effect beyond RESULT_MEASURES_MAX. */
void result_measure(struct result *result, const char *name, double value);
/* NULL: there is none of the name. */
const struct result_parameter *result_parameter(const struct result *result, const char *name);
/* The value as text, for tables and messages: sizes as plain numbers. */
void result_parameter_format(const struct result_parameter *parameter, char *text, size_t size);
/* Whether both have the same parameters with the same values, in any order. */
bool result_same_parameters(const struct result *one, const struct result *other);

/* Adds a warning unless it is there already; cut at RESULT_WARNING_SIZE. */
void result_warn(struct result *result, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Adds a repeat: its duration and what was done in it. A repeat of 0 seconds has the rate 0. */
void result_add_repeat(struct result *result, double seconds, uint64_t operations, uint64_t bytes,
                       uint64_t errors);
/* Computes medians, intervals and quantiles from the samples and the latency, as far as there are any. */
void result_settle(struct result *result);

/* A random id for a run. */
void result_make_id(char id[RESULT_ID_SIZE]);
/* The words of the command that measures, which are kept: argv[0] is "bench". Run lines tell it from now on,
 * so that it can be repeated. */
void result_set_command(int argc, char **argv);
/* The first line: benchmark, options, version and machine. A new object, to which more may be added. */
struct json_t *result_run_line(const char *benchmark, const char *id, struct json_t *options);
/* The options of a verb by name with their values; lists as arrays. A new object. */
struct json_t *result_options(const struct bench_verb *verb);

/* The result's parameters by name. A new object. */
struct json_t *result_parameters_json(const struct result *result);
/* A line of its own, handed over to the system before it returns. Takes the object over. Returns 0 or
 * -errno. */
int result_write_line(FILE *out, struct json_t *object);
/* The result as such a line. */
int result_write(FILE *out, const struct result *result);

/* {"count","sum","min","max","buckets":[[low,high,count],...]}: nonempty buckets, ascending; a bucket holds
 * the values from low to high, both included. */
struct json_t *result_latency_json(const struct histogram *histogram);
/* The way back. 0, or -EINVAL: it is none, or its numbers do not agree with each other. Buckets as narrow as
 * ours come back as they were; of wider ones all values count as their middle. */
int result_latency_parse(const struct json_t *json, struct histogram *histogram);

/* ---- reading ---- */

/* Texts are "" and numbers 0 when the file does not tell. */
struct result_run {
    const char *id, *benchmark, *version, *commit, *time, *host, *kernel, *processor;
    uint64_t processors, memory;
    const struct json_t *json; /* the whole line */
};

/* The most that a resource was measured to give. */
struct result_limit {
    const char *run, *name, *unit;
    const char *transport;         /* of networks; "": another resource, or any */
    uint64_t size, depth;          /* 0: it has none */
    uint64_t footprint, processes; /* of memory: bytes that are used in turn, and by how many; 0: not told */
    double value, low, high;
};

/* The limit as a line. A new object. */
struct json_t *result_limit_json(const struct result_limit *limit);

struct result_score {
    const char *run, *benchmark, *target, *note;
    double bandwidth_gib_s, metadata_kiops, score;
    struct sample bandwidths, metadata_rates, scores; /* a value a repeat; empty: not told */
    uint32_t parameter_count;
    struct result_parameter parameters[RESULT_PARAMETERS_MAX];
};

struct result_file {
    uint32_t run_count, result_count, limit_count, score_count;
    struct result_run *runs;
    struct result *results;
    struct result_limit *limits;
    struct result_score *scores;
    struct json_t *lines; /* array of all of them, those of other types as well */
};

/* Reads and checks a file of results: every line is an object, the first is a run's, every other line names
 * a run before it, and what is known of its type has the form that docs/results.md gives it. Lines and
 * members of other names are ignored. Several files may have been put together into one. 0, or -EINVAL or
 * another -errno after one line on standard error that names file and line. */
int result_file_read(const char *path, struct result_file *file);
/* The same without printing: the reason in error, without the path. */
int result_file_load(const char *path, struct result_file *file, char *error, size_t size);
/* The same of bytes; the reason ("line 3: ...") in error. */
int result_file_parse(const char *bytes, size_t length, struct result_file *file, char *error, size_t size);
void result_file_free(struct result_file *file);
#define RESULT_FILE_MAX ((size_t)1 << 30)
/* All of a file's bytes, less than `maximum`, a power of two; it may be a pipe. *bytes is for free. 0 or
 * -errno. */
int result_read_bytes(const char *path, size_t maximum, char **bytes, size_t *length);
/* The run of the id; NULL: none. */
const struct result_run *result_file_run(const struct result_file *file, const char *id);

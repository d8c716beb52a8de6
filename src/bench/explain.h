/* `benchfs explain`: says of each result of some files, or of what a running cluster does, why it is what it
 * is (bench/diagnosis.h). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/result.h"

struct explain {
    uint32_t file_count;
    const char *const *files;   /* of results */
    const char *limits;         /* file of limits; NULL: those among the results, or what is measured now */
    const char *phase, *target; /* only results of these; NULL: all */
    bool json;                  /* lines of type "explanation" in place of text */
};

/* Prints to standard output. 0; -EINVAL: a file is not readable or foreign, or nothing in it fits: the reason
 * in error; -EIO: standard output cannot be written; another -errno. Without limits, and on the host of the
 * results, it measures them first, for some seconds; to be called in a process that has not used UCX. */
int explain(const struct explain *explain, char *error, size_t size);

/* The same of results that are in no file (bench/interval.h), of one run: text, or with json the results
 * themselves and their explanations behind their run's line. explain->limits may be NULL: without limits. */
int explain_results(const struct explain *explain, struct json_t *run, const struct result *results,
                    uint32_t count, char *error, size_t size);

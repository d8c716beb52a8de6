/* Reports: results as one HTML page that holds everything it needs. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/result.h"

/* What goes into one page. */
struct report {
    const char *title; /* NULL: made of the names of the benchmarks */
    uint32_t file_count;
    const char *const *paths; /* of the files, to be named on the page */
    const struct result_file *files;
};

/* Whether two runs have the same id, so that results could not be told apart. Returns 0, or -EEXIST after it
 * has set the numbers of both files, which may be the same. */
int report_check(const struct report *report, uint32_t *one, uint32_t *other);
/* Writes the page. Returns 0, -ENOMEM, or what writing failed with as -errno. */
int report_write(const struct report *report, FILE *out);

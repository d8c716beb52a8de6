/* `benchfs explain`: says of each result of a file why it is what it is (bench/diagnosis.h). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct explain {
    const char *results;        /* file of results */
    const char *limits;         /* file of limits; NULL: those in `results`, or what is measured now */
    const char *phase, *target; /* only results of these; NULL: all */
    bool json;                  /* lines of type "explanation" in place of text */
};

/* Prints to standard output. 0; -EINVAL: a file is not readable or foreign, or nothing in it fits: the reason
 * in error; -EIO: standard output cannot be written; another -errno. Without limits, and on the host of the
 * results, it measures them first, for some seconds; to be called in a process that has not used UCX. */
int explain(const struct explain *explain, char *error, size_t size);

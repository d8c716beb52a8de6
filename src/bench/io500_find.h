/* The search of IO500: through all files of a run for those of 3,901 bytes with "01" in their names. */
#pragma once

#include "bench/ior.h"
#include "bench/mdtest.h"

#define IO500_HARD_FILE 3901u

/* What the other phases have made, in one directory. */
struct io500_files {
    struct ior easy, hard;
    struct mdtest easy_names, hard_names;
    uint64_t hard_matches; /* io500_matches of hard_names */
};

/* How many of the names that all workers made match. Not part of what is measured. */
uint64_t io500_matches(const struct mdtest *test);
/* All workers together, in a phase: looks at every name, and asks for the attributes of those that match.
 * Counts the files it saw, as IO500 does. What is not found, or found and was not made, is an error. 0, or
 * -errno after one line on standard error. */
int io500_find(struct session *session, const struct io500_files *files, struct crew_part *part);

/* The search of IO500: through all files of a run for those of 3,901 bytes with "01" in their names. */
#pragma once

#include "bench/ior.h"
#include "bench/mdtest.h"

#define IO500_HARD_FILE 3901u

/* What the other phases have made, in one directory. */
struct io500_files {
    struct ior easy, hard;
    struct mdtest easy_names, hard_names;
    uint64_t found; /* by this worker, in the tree that all share: io500_find_check */
};

/* All workers together, in a phase: looks at every name, and asks for the attributes of those that match.
 * Counts the files it saw, as IO500 does. What is not found, or found and was not made, is an error, here or
 * in the check. 0, or -errno after one line on standard error. */
int io500_find(struct session *session, struct io500_files *files, struct crew_part *part);
/* All workers together, after the phase: whether they found what they made in the tree that they share, each
 * name once. 0, or -errno after one line on standard error. */
int io500_find_check(struct session *session, const struct io500_files *files);

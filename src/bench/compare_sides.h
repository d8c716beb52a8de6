/* Inside `bench compare`: what is compared with what. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/result.h"

/* All repeats of one benchmark, phase and set of parameters. A score counts as three phases of its benchmark:
 * "score", "bandwidth score" and "metadata score". */
struct cell {
    const struct result *result; /* the first of them: names and parameters */
    struct sample ops_per_s, bytes_per_s;
    const char *unit;    /* of a score, NULL otherwise */
    struct sample score; /* in that unit */
    uint64_t p99;        /* ns; of the slowest; 0: unknown */
};

/* One of those that are compared: the results of a file, or of a target in it, or of a run in it. */
struct side {
    char label[8]; /* "A", "B", ... */
    const char *path;
    const struct result_file *file;
    const char *target;           /* whose results; NULL: everybody's */
    const struct result_run *run; /* whose results; NULL: those of all runs */
    uint32_t count;
    struct cell *cells;    /* owned */
    struct result *scores; /* owned: names and parameters of cells that are scores */
};

/* How cells of two sides are matched, beside benchmark, phase and parameters. A parameter that one of them
 * does not have does not count. */
struct matching {
    bool targets; /* they must be of the same target */
    bool servers; /* the parameter "servers" counts: it varies within a side */
};

/* Collects the side's cells. 0 or -ENOMEM. */
int side_fill(struct side *side, const struct matching *matching);
void side_free(struct side *side);
bool cell_matches(const struct cell *one, const struct cell *other, const struct matching *matching);
/* NULL: there is none. */
const struct cell *side_find(const struct side *side, const struct cell *like,
                             const struct matching *matching);
/* Whether the side's results have several values of "servers". */
bool side_varies_servers(const struct side *side);

/* What to compare: scores, if they are such, or operations, where both sides know them, or else bytes.
 * Returns the unit: "op/s", "B/s" or a score's. */
const char *cell_rates(const struct cell *one, const struct cell *other, const struct sample **one_rate,
                       const struct sample **other_rate);

/* What the ranks of MPI put together of a benchmark's results, beyond what crews do (bench/crew.h). All ranks
 * call these in the same order, after a meeting (bench/ranks.h); with one rank they do nothing. Each returns
 * 0, -ECANCELED when a rank has failed, or -ENOMEM. */
#pragma once

#include <stdint.h>

#include "bench/result.h"

/* Numbers that workers left in the memory that they share: the first are added up, of those behind them the
 * greatest is found. In place. */
int gather_numbers(uint64_t *numbers, uint32_t sums, uint32_t maxima);
/* Each rank has all ranks' warnings, as far as there is room. */
int gather_warnings(struct result *result);
/* A phase of all ranks. */
struct gather_phase {
    double step;    /* seconds between moments */
    double seconds; /* that it took */
    uint64_t operations, bytes;
};
/* The series of a rank's own becomes that of all ranks, up to the phase's end. */
int gather_series(struct result *result, const struct gather_phase *phase);

/* What can be said of two sets of repeats: how much faster one is, how sure that is, and whether it is more
 * than a machine differs from itself. */
#pragma once

#include <stdint.h>

#include "bench/sample.h"

/* With fewer repeats on a side nothing is claimed: two sides of three repeats each that are the same lie
 * completely apart in one of ten comparisons, two of four in one of 35. */
#define COMPARISON_REPEATS_MIN 4u

enum verdict {
    VERDICT_SAME,     /* the interval of the ratio holds 1 */
    VERDICT_IN_NOISE, /* it does not, but two runs of the same differ as much */
    VERDICT_FASTER,
    VERDICT_SLOWER,
    VERDICT_UNKNOWN, /* too few repeats */
};

struct comparison {
    double ratio, low, high; /* median of the other / of the base, and its 95 % interval */
    double delta;            /* Cliff's, of the other against the base */
    double floor;            /* 1 or more: factor by which runs of the same differ; 0: unknown */
    enum verdict verdict;
};

/* Rates, the more the better. floor: as above. */
void comparison_make(const struct sample *base, const struct sample *other, double floor,
                     struct comparison *comparison);
/* How much the first half of the repeats differs from the second: the factor, 1 or more; 0: too few. */
double comparison_floor_of_halves(const struct sample *sample);
/* How much two samples of the same differ: the factor; 0: unknown. */
double comparison_floor(const struct sample *one, const struct sample *other);

/* "no difference found", "inside the noise floor", "faster", "slower", "too few repeats" */
const char *verdict_name(enum verdict verdict);
/* "negligible", "small", "medium", "large" (Romano and others, 2006) */
const char *effect_name(double delta);

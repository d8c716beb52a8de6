/* Statistics over the repeats of a measurement. */
#pragma once

#include <stdint.h>

#define SAMPLE_MAX 64u

struct sample {
    uint32_t count;
    double values[SAMPLE_MAX];
};

/* Ignored beyond SAMPLE_MAX values. */
void sample_add(struct sample *sample, double value);
/* 0 when empty. */
double sample_median(const struct sample *sample);
double sample_minimum(const struct sample *sample);
double sample_maximum(const struct sample *sample);
/* 95 % confidence interval of the median by bootstrap (Efron 1979), 2,000 resamples from a fixed seed. */
void sample_interval(const struct sample *sample, double *low, double *high);
/* The same of the ratio of two medians, one / other; both resampled. 0 and 0 when there is no ratio. */
void sample_ratio_interval(const struct sample *one, const struct sample *other, double *low, double *high);
/* Cliff's delta (1993): the probability that a value of `one` is greater than one of `other`, less that it is
 * smaller: 1: all are greater, -1: all are smaller, 0: neither more often. 0 when either is empty. */
double sample_delta(const struct sample *one, const struct sample *other);

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
/* 95 % confidence interval of the median by bootstrap (Efron 1979), 1,000 resamples from a fixed seed. */
void sample_interval(const struct sample *sample, double *low, double *high);

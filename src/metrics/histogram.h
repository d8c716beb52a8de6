/* Log-linear histograms of durations: constant memory, a few nanoseconds to record, mergeable, and every
 * value they tell is within 1 % of one that was recorded. */
#pragma once

#include <stdint.h>

#define HISTOGRAM_BITS 7u /* 128 steps for each doubling */
#define HISTOGRAM_VALUE_MAX                                                                                  \
    ((UINT64_C(1) << 42) - 1) /* 73 minutes in ns; greater values count as this one                          \
                               */
#define HISTOGRAM_BUCKETS ((42u - HISTOGRAM_BITS + 1) << HISTOGRAM_BITS)

struct histogram {
    uint64_t count;
    uint64_t sum;
    uint64_t minimum; /* exact; UINT64_MAX when empty */
    uint64_t maximum; /* exact */
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_init(struct histogram *histogram);

/* Values below 256 have a bucket each; beyond, the leading 8 bits choose it. */
static inline uint32_t histogram_bucket(uint64_t value)
{
    if (value > HISTOGRAM_VALUE_MAX)
        value = HISTOGRAM_VALUE_MAX;
    uint32_t width = 64u - (uint32_t)__builtin_clzll(value | (UINT64_C(1) << HISTOGRAM_BITS));
    uint32_t shift = width - HISTOGRAM_BITS - 1;
    return (shift << HISTOGRAM_BITS) + (uint32_t)(value >> shift);
}

static inline void histogram_record(struct histogram *histogram, uint64_t value)
{
    histogram->count++;
    histogram->sum += value;
    if (value < histogram->minimum)
        histogram->minimum = value;
    if (value > histogram->maximum)
        histogram->maximum = value;
    histogram->buckets[histogram_bucket(value)]++;
}

/* The least and the greatest value that a bucket holds. */
void histogram_bounds(uint32_t bucket, uint64_t *low, uint64_t *high);

/* Adds `count` values of a bucket, of which no more is known: minimum, maximum and sum are those of its
 * middle. */
void histogram_add_bucket(struct histogram *histogram, uint32_t bucket, uint64_t count);

/* Adds what `other` recorded. */
void histogram_merge(struct histogram *histogram, const struct histogram *other);

/* The value that a share of `quantile` (0..1) of the values does not exceed; 0 when empty. */
uint64_t histogram_quantile(const struct histogram *histogram, double quantile);
double histogram_mean(const struct histogram *histogram); /* 0 when empty */

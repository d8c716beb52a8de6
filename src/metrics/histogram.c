/* Buckets: value v with leading bit at position p >= 8 shares its bucket with all values of the same leading
 * 8 bits, so a bucket is at most 1/128 of its values wide; the middle, which is reported, is off by at most
 * 0.4 %. Quantiles never leave [minimum, maximum], which are kept exactly. */
#include "metrics/histogram.h"

#include <string.h>

void histogram_init(struct histogram *histogram)
{
    memset(histogram, 0, sizeof(*histogram));
    histogram->minimum = UINT64_MAX;
}

void histogram_merge(struct histogram *histogram, const struct histogram *other)
{
    histogram->count += other->count;
    histogram->sum += other->sum;
    if (other->minimum < histogram->minimum)
        histogram->minimum = other->minimum;
    if (other->maximum > histogram->maximum)
        histogram->maximum = other->maximum;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        histogram->buckets[i] += other->buckets[i];
}

void histogram_bounds(uint32_t bucket, uint64_t *low, uint64_t *high)
{
    uint32_t shift = bucket < (2u << HISTOGRAM_BITS) ? 0 : (bucket >> HISTOGRAM_BITS) - 1;
    *low = (uint64_t)(bucket - (shift << HISTOGRAM_BITS)) << shift;
    *high = *low + ((UINT64_C(1) << shift) - 1);
}

static uint64_t bucket_middle(uint32_t bucket)
{
    uint64_t low, high;
    histogram_bounds(bucket, &low, &high);
    return low + (high - low) / 2;
}

void histogram_add_bucket(struct histogram *histogram, uint32_t bucket, uint64_t count)
{
    if (count == 0)
        return;
    uint64_t middle = bucket_middle(bucket);
    histogram->buckets[bucket] += count;
    histogram->count += count;
    histogram->sum += count * middle;
    if (middle < histogram->minimum)
        histogram->minimum = middle;
    if (middle > histogram->maximum)
        histogram->maximum = middle;
}

uint64_t histogram_quantile(const struct histogram *histogram, double quantile)
{
    if (histogram->count == 0)
        return 0;
    double wanted = quantile * (double)histogram->count;
    uint64_t below = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        below += histogram->buckets[i];
        if (histogram->buckets[i] > 0 && (double)below >= wanted) {
            uint64_t value = bucket_middle(i);
            if (value < histogram->minimum)
                return histogram->minimum;
            return value > histogram->maximum ? histogram->maximum : value;
        }
    }
    return histogram->maximum;
}

double histogram_mean(const struct histogram *histogram)
{
    return histogram->count == 0 ? 0.0 : (double)histogram->sum / (double)histogram->count;
}

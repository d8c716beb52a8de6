/* Medians, because a repeat that something else disturbed should not move the result; the bootstrap, because
 * nothing is known about the distribution of disturbances. */
#include "bench/sample.h"

#include <stdlib.h>

#include "base/random.h"

#define RESAMPLES 2000u

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

static double median(double *values, uint32_t count)
{
    if (count == 0)
        return 0.0;
    qsort(values, count, sizeof(values[0]), by_value);
    return count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2.0;
}

void sample_add(struct sample *sample, double value)
{
    if (sample->count < SAMPLE_MAX)
        sample->values[sample->count++] = value;
}

double sample_median(const struct sample *sample)
{
    struct sample copy = *sample;
    return median(copy.values, copy.count);
}

double sample_minimum(const struct sample *sample)
{
    double least = sample->count > 0 ? sample->values[0] : 0.0;
    for (uint32_t i = 1; i < sample->count; i++) {
        if (sample->values[i] < least)
            least = sample->values[i];
    }
    return least;
}

double sample_maximum(const struct sample *sample)
{
    double most = sample->count > 0 ? sample->values[0] : 0.0;
    for (uint32_t i = 1; i < sample->count; i++) {
        if (sample->values[i] > most)
            most = sample->values[i];
    }
    return most;
}

/* The median of as many values as the sample has, drawn from it with replacement. */
static double resample(const struct sample *sample, struct random *random)
{
    double drawn[SAMPLE_MAX];
    for (uint32_t i = 0; i < sample->count; i++)
        drawn[i] = sample->values[random_below(random, sample->count)];
    return median(drawn, sample->count);
}

/* Percentile interval: what lies between the outer 2.5 % on each side. */
static void middle_of(double *values, uint32_t count, double *low, double *high)
{
    qsort(values, count, sizeof(values[0]), by_value);
    *low = values[count / 40];
    *high = values[count - 1 - count / 40];
}

void sample_interval(const struct sample *sample, double *low, double *high)
{
    static _Thread_local double medians[RESAMPLES];
    struct random random;
    *low = *high = sample_median(sample);
    if (sample->count < 2)
        return;
    random_seed(&random, 1979);
    for (uint32_t i = 0; i < RESAMPLES; i++)
        medians[i] = resample(sample, &random);
    middle_of(medians, RESAMPLES, low, high);
}

void sample_ratio_interval(const struct sample *one, const struct sample *other, double *low, double *high)
{
    static _Thread_local double ratios[RESAMPLES];
    struct random random;
    *low = *high = 0.0;
    if (one->count == 0 || other->count == 0 || sample_minimum(other) <= 0.0)
        return;
    random_seed(&random, 1979);
    for (uint32_t i = 0; i < RESAMPLES; i++) {
        double above = resample(one, &random);
        ratios[i] = above / resample(other, &random);
    }
    middle_of(ratios, RESAMPLES, low, high);
}

double sample_delta(const struct sample *one, const struct sample *other)
{
    int64_t balance = 0;
    for (uint32_t i = 0; i < one->count; i++) {
        for (uint32_t k = 0; k < other->count; k++)
            balance += (one->values[i] > other->values[k]) - (one->values[i] < other->values[k]);
    }
    double pairs = (double)one->count * other->count;
    return pairs > 0.0 ? (double)balance / pairs : 0.0;
}

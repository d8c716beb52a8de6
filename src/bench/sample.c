/* Medians, because a repeat that something else disturbed should not move the result; the bootstrap, because
 * nothing is known about the distribution of disturbances. */
#include "bench/sample.h"

#include <stdlib.h>

#include "base/random.h"

#define RESAMPLES 1000u

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

void sample_interval(const struct sample *sample, double *low, double *high)
{
    static _Thread_local double medians[RESAMPLES];
    struct random random;
    *low = *high = sample_median(sample);
    if (sample->count < 2)
        return;
    random_seed(&random, 1979);
    for (uint32_t i = 0; i < RESAMPLES; i++) {
        double drawn[SAMPLE_MAX];
        for (uint32_t k = 0; k < sample->count; k++)
            drawn[k] = sample->values[random_below(&random, sample->count)];
        medians[i] = median(drawn, sample->count);
    }
    qsort(medians, RESAMPLES, sizeof(medians[0]), by_value);
    *low = medians[RESAMPLES / 40];
    *high = medians[RESAMPLES - 1 - RESAMPLES / 40];
}

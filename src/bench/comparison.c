/* Three things must hold before somebody is called faster: there are enough repeats, the bootstrap interval
 * of the ratio of medians does not hold 1 (what the repeats of this comparison say), and the ratio is farther
 * from 1 than runs of the same are from each other (what they cannot say: a run as a whole may have been
 * lucky with its placement, its neighbours and its memory). */
#include "bench/comparison.h"

#include <math.h>
#include <stddef.h>

void comparison_make(const struct sample *base, const struct sample *other, double floor,
                     struct comparison *comparison)
{
    double median = sample_median(base);
    *comparison = (struct comparison){.floor = floor, .delta = sample_delta(other, base)};
    sample_ratio_interval(other, base, &comparison->low, &comparison->high);
    comparison->ratio = median > 0.0 ? sample_median(other) / median : 0.0;
    double away = comparison->ratio > 1.0 ? comparison->ratio : 1.0 / comparison->ratio;
    if (base->count < COMPARISON_REPEATS_MIN || other->count < COMPARISON_REPEATS_MIN ||
        comparison->ratio <= 0.0)
        comparison->verdict = VERDICT_UNKNOWN;
    else if (comparison->low <= 1.0 && comparison->high >= 1.0)
        comparison->verdict = VERDICT_SAME;
    else if (away <= floor)
        comparison->verdict = VERDICT_IN_NOISE;
    else
        comparison->verdict = comparison->ratio > 1.0 ? VERDICT_FASTER : VERDICT_SLOWER;
}

double comparison_floor(const struct sample *one, const struct sample *other)
{
    double a = sample_median(one), b = sample_median(other);
    if (one->count == 0 || other->count == 0 || a <= 0.0 || b <= 0.0)
        return 0.0;
    return a > b ? a / b : b / a;
}

double comparison_floor_of_halves(const struct sample *sample)
{
    struct sample halves[2] = {0};
    if (sample->count < COMPARISON_REPEATS_MIN)
        return 0.0;
    for (uint32_t i = 0; i < sample->count; i++)
        sample_add(&halves[i >= sample->count / 2], sample->values[i]);
    return comparison_floor(&halves[0], &halves[1]);
}

const char *verdict_name(enum verdict verdict)
{
    static const char *const names[] = {"no difference found", "inside the noise floor", "faster", "slower",
                                        "too few repeats"};
    return names[verdict];
}

const char *effect_name(double delta)
{
    static const struct {
        double below;
        const char *name;
    } effects[] = {{0.147, "negligible"}, {0.33, "small"}, {0.474, "medium"}};
    for (size_t i = 0; i < sizeof(effects) / sizeof(effects[0]); i++) {
        if (fabs(delta) < effects[i].below)
            return effects[i].name;
    }
    return "large";
}

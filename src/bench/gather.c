/* Putting together what ranks have found.
 *
 * Warnings: in each round the first rank that has one that was not told yet tells it, as the others add
 * nothing to zeros; it ends when nobody has any. As most warnings are the same in all ranks, there are as
 * many rounds as different ones.
 *
 * Series: ranks look at their workers at times of their own. What a rank did between two looks is taken to
 * have been done evenly, and is shared out over steps that are the same for all; the sum is right to the last
 * operation. */
#include "bench/gather.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "bench/ranks.h"

#define STEPS_MAX 100000u
#define FRACTION 1000u /* steps are added up in parts of an operation */

int gather_numbers(uint64_t *numbers, uint32_t sums, uint32_t maxima)
{
    int status = sums > 0 ? ranks_sum(numbers, sums) : 0;
    return status == 0 && maxima > 0 ? ranks_maximum(numbers + sums, maxima) : status;
}

/* ---- warnings ---- */

static uint32_t first_untold(const struct result *result, const bool *told)
{
    uint32_t first = 0;
    while (first < result->warning_count && told[first])
        first++;
    return first;
}

static void hear(struct result *result, bool *told, const char *text)
{
    result_warn(result, "%s", text);
    for (uint32_t i = 0; i < result->warning_count; i++)
        told[i] = told[i] || strcmp(result->warnings[i], text) == 0;
}

int gather_warnings(struct result *result)
{
    bool told[RESULT_WARNINGS_MAX] = {false};
    int status = 0;
    for (uint32_t round = 0; round < RESULT_WARNINGS_MAX && ranks_count() > 1; round++) {
        uint64_t text[RESULT_WARNING_SIZE / sizeof(uint64_t)] = {0};
        uint32_t own = first_untold(result, told);
        uint64_t self = own < result->warning_count ? ranks_count() - ranks_number() : 0, speaker = self;
        status = ranks_maximum(&speaker, 1);
        if (status < 0 || speaker == 0)
            break;
        if (speaker == self)
            memcpy(text, result->warnings[own], strlen(result->warnings[own]));
        status = ranks_sum(text, sizeof(text) / sizeof(text[0]));
        if (status < 0)
            break;
        hear(result, told, (const char *)text);
    }
    return status;
}

/* ---- series ---- */

struct gained {
    uint64_t operations, bytes; /* times FRACTION, until they are those of all ranks */
};

static double begin_of(const struct gather_phase *phase, uint32_t step)
{
    return step * phase->step;
}

static double end_of(const struct gather_phase *phase, uint32_t step, uint32_t count)
{
    return step + 1 < count ? (step + 1) * phase->step : phase->seconds;
}

/* Shares out what was done from one look to the next. */
static void share_out(struct gained *steps, uint32_t count, const struct gather_phase *phase, double from,
                      const struct result_moment *moment)
{
    for (uint32_t i = 0; i < count; i++) {
        double begin = fmax(from, begin_of(phase, i)), end = fmin(moment->t, end_of(phase, i, count));
        if (end <= begin)
            continue;
        steps[i].operations += (uint64_t)(moment->ops_per_s * (end - begin) * FRACTION + 0.5);
        steps[i].bytes += (uint64_t)(moment->bytes_per_s * (end - begin) * FRACTION + 0.5);
    }
}

/* What was done after the last looks is the last step's. */
static void add_rest(struct gained *steps, uint32_t count, const struct gather_phase *phase)
{
    uint64_t operations = 0, bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        operations += steps[i].operations /= FRACTION;
        bytes += steps[i].bytes /= FRACTION;
    }
    if (phase->operations > operations)
        steps[count - 1].operations += phase->operations - operations;
    if (phase->bytes > bytes)
        steps[count - 1].bytes += phase->bytes - bytes;
}

static void set_series(struct result *result, struct result_moment *series, const struct gained *steps,
                       uint32_t count, const struct gather_phase *phase)
{
    for (uint32_t i = 0; i < count; i++) {
        double end = end_of(phase, i, count), length = end - begin_of(phase, i);
        series[i] = (struct result_moment){.t = end,
                                           .ops_per_s = (double)steps[i].operations / length,
                                           .bytes_per_s = (double)steps[i].bytes / length};
    }
    free(result->series);
    result->series = series;
    result->moment_count = count;
}

int gather_series(struct result *result, const struct gather_phase *phase)
{
    if (ranks_count() == 1)
        return 0;
    if (phase->seconds <= phase->step / 2) {
        result->moment_count = 0;
        return 0;
    }
    double whole = phase->seconds / phase->step;
    uint32_t count = whole < 1.0 ? 1 : whole < STEPS_MAX ? (uint32_t)whole : STEPS_MAX;
    struct gained *steps = calloc(count, sizeof(*steps));
    struct result_moment *series = calloc(count, sizeof(*series));
    uint64_t lacks = steps == NULL || series == NULL;
    int status = ranks_maximum(&lacks, 1);
    if (status == 0 && lacks)
        status = -ENOMEM;
    for (uint32_t i = 0; i < result->moment_count && status == 0; i++)
        share_out(steps, count, phase, i > 0 ? result->series[i - 1].t : 0.0, &result->series[i]);
    if (status == 0)
        status = ranks_sum((uint64_t *)steps, (uint32_t)(count * sizeof(*steps) / sizeof(uint64_t)));
    if (status == 0) {
        add_rest(steps, count, phase);
        set_series(result, series, steps, count, phase);
    } else {
        free(series);
    }
    free(steps);
    return status;
}

/* A combination is a number in the mixed radix that the lengths of the lists are. The options' own variables
 * take the values, so that what is measured need not know that there are lists. */
#include "bench/sweep.h"

#include <stdio.h>
#include <string.h>

#include "base/quantity.h"
#include "bench/options.h"

void sweep_add(struct sweep *sweep, const struct bench_option *option)
{
    if (sweep->axis_count == SWEEP_AXES_MAX)
        return;
    struct sweep_axis *axis = &sweep->axes[sweep->axis_count++];
    axis->option = option;
    axis->count = 1;
    if (option->kind == BENCH_TEXT)
        axis->texts[0] = *(const char *const *)option->value;
    else
        axis->numbers[0] = *(const uint64_t *)option->value;
}

struct sweep_axis *sweep_find(struct sweep *sweep, const struct bench_option *option)
{
    for (uint32_t i = 0; sweep != NULL && i < sweep->axis_count; i++) {
        if (sweep->axes[i].option == option)
            return &sweep->axes[i];
    }
    return NULL;
}

uint32_t sweep_count(const struct sweep *sweep)
{
    uint32_t count = 1;
    for (uint32_t i = 0; i < sweep->axis_count; i++) {
        count *= sweep->axes[i].in_turns ? 1 : sweep->axes[i].count;
        if (count > SWEEP_COMBINATIONS_MAX)
            return 0;
    }
    return count;
}

void sweep_choose(const struct sweep *sweep, uint32_t combination)
{
    for (uint32_t i = sweep->axis_count; i-- > 0;) {
        const struct sweep_axis *axis = &sweep->axes[i];
        if (axis->in_turns)
            continue;
        uint32_t digit = combination % axis->count;
        combination /= axis->count;
        if (axis->option->kind == BENCH_TEXT)
            *(const char **)axis->option->value = axis->texts[digit];
        else
            *(uint64_t *)axis->option->value = axis->numbers[digit];
    }
}

void sweep_format(const struct bench_option *option, uint64_t number, const char *text, char *out,
                  size_t size)
{
    if (option->kind == BENCH_TEXT)
        snprintf(out, size, "%s", text != NULL ? text : "");
    else if (option->kind == BENCH_SIZE || option->kind == BENCH_SIZES)
        quantity_format_size(number, out, size);
    else if (option->kind == BENCH_DURATION)
        quantity_format_duration(number, out, size);
    else
        snprintf(out, size, "%llu", (unsigned long long)number);
}

bool sweep_repeated(const struct sweep_axis *axis, char *text, size_t size)
{
    bool texts = axis->option->kind == BENCH_TEXT;
    for (uint32_t i = 0; i < axis->count; i++) {
        for (uint32_t k = 0; k < i; k++) {
            if (texts ? strcmp(axis->texts[i], axis->texts[k]) != 0 : axis->numbers[i] != axis->numbers[k])
                continue;
            sweep_format(axis->option, texts ? 0 : axis->numbers[i], texts ? axis->texts[i] : NULL, text,
                         size);
            return true;
        }
    }
    return false;
}

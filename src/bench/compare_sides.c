/* Repeats that were measured in several runs are put together, so that a comparison that is not sure yet can
 * be given more of them by measuring again and appending to the file. Files without samples give their
 * summary as one repeat: there is a ratio then, and no claim. */
#include "bench/compare_sides.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool same_value(const struct result_parameter *one, const struct result_parameter *other)
{
    char a[256], b[256];
    result_parameter_format(one, a, sizeof(a));
    result_parameter_format(other, b, sizeof(b));
    return strcmp(a, b) == 0;
}

bool cell_matches(const struct cell *one, const struct cell *other, const struct matching *matching)
{
    const struct result *a = one->result, *b = other->result;
    if (strcmp(a->benchmark, b->benchmark) != 0 || strcmp(a->phase, b->phase) != 0 ||
        (matching->targets && strcmp(a->target, b->target) != 0))
        return false;
    for (uint32_t i = 0; i < a->parameter_count; i++) {
        const struct result_parameter *found = result_parameter(b, a->parameters[i].name);
        if (!matching->servers && strcmp(a->parameters[i].name, "servers") == 0)
            continue;
        if (found != NULL && !same_value(&a->parameters[i], found))
            return false;
    }
    return true;
}

static bool belongs(const struct side *side, const struct result *result)
{
    return (side->target == NULL || strcmp(side->target, result->target) == 0) &&
           (side->run == NULL || strcmp(side->run->id, result->run) == 0);
}

static void add_samples(struct sample *sample, const struct sample *more, double summary)
{
    for (uint32_t i = 0; i < more->count; i++)
        sample_add(sample, more->values[i]);
    if (more->count == 0 && summary > 0.0)
        sample_add(sample, summary);
}

int side_fill(struct side *side, const struct matching *matching)
{
    side->cells = calloc(side->file->result_count + 1, sizeof(*side->cells));
    if (side->cells == NULL)
        return -ENOMEM;
    /* Within a side everything counts. */
    const struct matching exact = {.targets = matching->targets, .servers = true};
    for (uint32_t i = 0; i < side->file->result_count; i++) {
        const struct result *result = &side->file->results[i];
        struct cell key = {.result = result};
        uint32_t at = 0;
        if (!belongs(side, result))
            continue;
        while (at < side->count && !cell_matches(&side->cells[at], &key, &exact))
            at++;
        struct cell *cell = &side->cells[at];
        if (at == side->count) {
            *cell = key;
            side->count++;
        }
        add_samples(&cell->ops_per_s, &result->ops_per_s, result->operation_rate.median);
        add_samples(&cell->bytes_per_s, &result->bytes_per_s, result->byte_rate.median);
        cell->p99 = result->p99 > cell->p99 ? result->p99 : cell->p99;
    }
    return 0;
}

void side_free(struct side *side)
{
    free(side->cells);
    side->cells = NULL;
    side->count = 0;
}

const struct cell *side_find(const struct side *side, const struct cell *like,
                             const struct matching *matching)
{
    for (uint32_t i = 0; i < side->count; i++) {
        if (cell_matches(like, &side->cells[i], matching))
            return &side->cells[i];
    }
    return NULL;
}

bool side_varies_servers(const struct side *side)
{
    const struct result_parameter *first = NULL;
    for (uint32_t i = 0; i < side->file->result_count; i++) {
        const struct result *result = &side->file->results[i];
        const struct result_parameter *servers = result_parameter(result, "servers");
        if (!belongs(side, result) || servers == NULL)
            continue;
        if (first != NULL && !same_value(first, servers))
            return true;
        first = servers;
    }
    return false;
}

void cell_rates(const struct cell *one, const struct cell *other, const struct sample **one_rate,
                const struct sample **other_rate)
{
    bool operations = sample_median(&one->ops_per_s) > 0.0 && sample_median(&other->ops_per_s) > 0.0;
    *one_rate = operations ? &one->ops_per_s : &one->bytes_per_s;
    *other_rate = operations ? &other->ops_per_s : &other->bytes_per_s;
}

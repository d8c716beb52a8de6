/* Repeats that were measured in several runs are put together, so that a comparison that is not sure yet can
 * be given more of them by measuring again and appending to the file. Files without samples give their
 * summary as one repeat: there is a ratio then, and no claim. */
#include "bench/compare_sides.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SCORE_KINDS 3u

static bool same_value(const struct result_parameter *one, const struct result_parameter *other)
{
    char a[256], b[256];
    result_parameter_format(one, a, sizeof(a));
    result_parameter_format(other, b, sizeof(b));
    return strcmp(a, b) == 0;
}

/* Such as the engine of "bench store", which is measured in place of a target. */
static bool names_target(const struct result *result, const struct result_parameter *parameter)
{
    return parameter->kind == RESULT_TEXT && strcmp(parameter->text, result->target) == 0;
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
        if (found == NULL || same_value(&a->parameters[i], found))
            continue;
        if (!names_target(a, &a->parameters[i]) || !names_target(b, found))
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

/* The cell of such a result, made if need be. */
static struct cell *cell_of(struct side *side, const struct result *result, const struct matching *matching)
{
    /* Within a side everything counts. */
    const struct matching exact = {.targets = matching->targets, .servers = true};
    const struct cell key = {.result = result};
    uint32_t at = 0;
    while (at < side->count && !cell_matches(&side->cells[at], &key, &exact))
        at++;
    if (at == side->count)
        side->cells[side->count++] = key;
    return &side->cells[at];
}

static void add_score(struct side *side, const struct result_score *score, struct result *names,
                      const struct matching *matching)
{
    const struct {
        const char *phase, *unit;
        const struct sample *sample;
        double summary;
    } kinds[SCORE_KINDS] = {{"score", "score", &score->scores, score->score},
                            {"bandwidth score", "GiB/s", &score->bandwidths, score->bandwidth_gib_s},
                            {"metadata score", "kIOPS", &score->metadata_rates, score->metadata_kiops}};
    for (uint32_t i = 0; i < SCORE_KINDS; i++) {
        struct result *result = &names[i];
        result_init(result);
        result->run = score->run;
        result->benchmark = score->benchmark;
        result->target = score->target;
        result->phase = kinds[i].phase;
        result->parameter_count = score->parameter_count;
        memcpy(result->parameters, score->parameters, sizeof(result->parameters));
        if (!belongs(side, result))
            continue;
        struct cell *cell = cell_of(side, result, matching);
        cell->unit = kinds[i].unit;
        add_samples(&cell->score, kinds[i].sample, kinds[i].summary);
    }
}

int side_fill(struct side *side, const struct matching *matching)
{
    const struct result_file *file = side->file;
    uint32_t scores = SCORE_KINDS * file->score_count;
    side->cells = calloc(file->result_count + scores + 1, sizeof(*side->cells));
    side->scores = calloc(scores + 1, sizeof(*side->scores));
    if (side->cells == NULL || side->scores == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < file->result_count; i++) {
        const struct result *result = &file->results[i];
        if (!belongs(side, result))
            continue;
        struct cell *cell = cell_of(side, result, matching);
        add_samples(&cell->ops_per_s, &result->ops_per_s, result->operation_rate.median);
        add_samples(&cell->bytes_per_s, &result->bytes_per_s, result->byte_rate.median);
        cell->p99 = result->p99 > cell->p99 ? result->p99 : cell->p99;
    }
    for (uint32_t i = 0; i < file->score_count; i++)
        add_score(side, &file->scores[i], &side->scores[SCORE_KINDS * i], matching);
    return 0;
}

void side_free(struct side *side)
{
    free(side->cells);
    free(side->scores);
    side->cells = NULL;
    side->scores = NULL;
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

const char *cell_rates(const struct cell *one, const struct cell *other, const struct sample **one_rate,
                       const struct sample **other_rate)
{
    if (one->unit != NULL && other->unit != NULL) {
        *one_rate = &one->score;
        *other_rate = &other->score;
        return one->unit;
    }
    bool operations = sample_median(&one->ops_per_s) > 0.0 && sample_median(&other->ops_per_s) > 0.0;
    *one_rate = operations ? &one->ops_per_s : &one->bytes_per_s;
    *other_rate = operations ? &other->ops_per_s : &other->bytes_per_s;
    return operations ? "op/s" : "B/s";
}

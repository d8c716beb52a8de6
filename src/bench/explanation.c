/* Texts are those of the diagnosis; here they get their form. */
#include "bench/explanation.h"

#include <jansson.h>
#include <stdio.h>

#include "bench/limit.h"

/* ---- text ---- */

static void print_parts(const struct diagnosis *diagnosis)
{
    printf("  %-14s %12s %12s %7s %7s %7s\n", diagnosis->per_request ? "of a request" : "of an operation",
           "p50", "p99", "of p50", "of p99", "of all");
    for (uint32_t stage = 0; stage < DIAGNOSIS_STAGES; stage++) {
        const struct diagnosis_part *part = &diagnosis->parts[stage];
        char p50[32], p99[32];
        if (!part->known)
            continue;
        limits_format_value((double)part->p50, "ns", p50, sizeof(p50));
        limits_format_value((double)part->p99, "ns", p99, sizeof(p99));
        printf("  %-14s %12s %12s %5.0f %% %5.0f %% %5.0f %%\n", diagnosis_stage_names[stage], p50, p99,
               part->share50 * 100.0, part->share99 * 100.0, part->share * 100.0);
    }
}

static void print_limit(const struct diagnosis *diagnosis)
{
    char measured[64], limit[64], low[64], high[64];
    if (!diagnosis->held || diagnosis->unit[0] == 0)
        return;
    limits_format_value(diagnosis->measured, diagnosis->unit, measured, sizeof(measured));
    limits_format_value(diagnosis->limit, diagnosis->unit, limit, sizeof(limit));
    limits_format_value(diagnosis->limit_low, diagnosis->unit, low, sizeof(low));
    limits_format_value(diagnosis->limit_high, diagnosis->unit, high, sizeof(high));
    printf("  %s: %s of %s (measured %s..%s)\n", diagnosis_resource_names[diagnosis->resource], measured,
           limit, low, high);
}

void explanation_print(const struct diagnosis *diagnosis, const char *setting)
{
    printf("%s\n", diagnosis->verdict);
    if (setting[0] != 0)
        printf("  with %s\n", setting);
    if (diagnosis->outcome != DIAGNOSIS_NOTHING) {
        print_parts(diagnosis);
        print_limit(diagnosis);
    }
    for (uint32_t i = 0; i < diagnosis->note_count; i++)
        printf("  - %s\n", diagnosis->notes[i]);
    printf("\n");
}

/* ---- JSON ---- */

static json_t *parts_json(const struct diagnosis *diagnosis)
{
    json_t *parts = json_array();
    for (uint32_t stage = 0; stage < DIAGNOSIS_STAGES; stage++) {
        const struct diagnosis_part *part = &diagnosis->parts[stage];
        if (part->known)
            json_array_append_new(
                parts, json_pack("{ss sI sI sf sf sf}", "name", diagnosis_stage_names[stage], "p50_ns",
                                 (json_int_t)part->p50, "p99_ns", (json_int_t)part->p99, "share", part->share,
                                 "share_p50", part->share50, "share_p99", part->share99));
    }
    return parts;
}

static json_t *roofline_json(const struct diagnosis *diagnosis)
{
    json_t *ceilings = json_array();
    for (uint32_t i = 0; i < diagnosis->ceiling_count; i++) {
        const struct diagnosis_ceiling *ceiling = &diagnosis->ceilings[i];
        json_t *json = json_pack("{ss sf}", "name", ceiling->name, "ops_per_s", ceiling->ops_per_s);
        if (ceiling->bytes_per_s > 0.0)
            json_object_set_new(json, "bytes_per_s", json_real(ceiling->bytes_per_s));
        json_array_append_new(ceilings, json);
    }
    return json_pack("{sf sf so}", "bytes_per_op", diagnosis->bytes_per_operation, "ops_per_s",
                     diagnosis->operations_per_s, "ceilings", ceilings);
}

json_t *explanation_json(const struct result *result, const struct diagnosis *diagnosis)
{
    static const char *const outcomes[] = {"unknown", "undecided", "decided"};
    json_t *line = json_pack("{ss ss ss ss ss ss ss}", "type", "explanation", "run", result->run, "benchmark",
                             result->benchmark, "target", result->target, "phase", result->phase, "outcome",
                             outcomes[diagnosis->outcome], "text", diagnosis->verdict);
    json_t *notes = json_array();
    json_object_set_new(line, "parameters", result_parameters_json(result));
    if (diagnosis->outcome != DIAGNOSIS_NOTHING) {
        json_object_set_new(line, "stage", json_string(diagnosis_stage_names[diagnosis->top]));
        json_object_set_new(line, "stage_p99", json_string(diagnosis_stage_names[diagnosis->tail]));
        json_object_set_new(line, "resource", json_string(diagnosis_resource_names[diagnosis->resource]));
        json_object_set_new(line, "stages", parts_json(diagnosis));
        json_object_set_new(line, "of", json_string(diagnosis->per_request ? "request" : "operation"));
    }
    if (diagnosis->outcome != DIAGNOSIS_NOTHING && diagnosis->next != RESOURCE_UNKNOWN)
        json_object_set_new(line, "next",
                            json_pack("{ss ss sf}", "stage", diagnosis_stage_names[diagnosis->next_stage],
                                      "resource", diagnosis_resource_names[diagnosis->next], "gain",
                                      diagnosis->gain));
    if (diagnosis->held)
        json_object_set_new(line, "limit",
                            json_pack("{ss sf sf sf sf sf}", "unit", diagnosis->unit, "measured",
                                      diagnosis->measured, "value", diagnosis->limit, "low",
                                      diagnosis->limit_low, "high", diagnosis->limit_high, "ratio",
                                      diagnosis->ratio));
    json_object_set_new(line, "roofline", roofline_json(diagnosis));
    for (uint32_t i = 0; i < diagnosis->note_count; i++)
        json_array_append_new(notes, json_string(diagnosis->notes[i]));
    json_object_set_new(line, "notes", notes);
    return line;
}

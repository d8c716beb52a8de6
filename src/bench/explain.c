/* Limits come from the file that --limits names; without it from the lines of type "limit" among the results;
 * without those they are measured now, if this is the host of the results. Otherwise explanations go without
 * limits, and say so: a stage is known all the same. */
#include "bench/explain.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/calibrate.h"
#include "bench/diagnosis.h"
#include "bench/interrupt.h"
#include "bench/live.h"

#define MEASURED_MAX 128u
#define DURATION (5 * NSEC_PER_MSEC)
#define REPEATS 5u
#define DEVICE_BYTES (UINT64_C(64) << 20)

struct known {
    struct result_file results, separate;
    struct limits limits;
    const char *source; /* of the limits, for people */
    uint32_t measured_count;
    struct result_limit measured[MEASURED_MAX];
};

/* ---- limits ---- */

static void keep(void *argument, const struct result_limit *limit)
{
    struct known *known = argument;
    if (known->measured_count < MEASURED_MAX)
        known->measured[known->measured_count++] = *limit;
}

/* The directory in which a target of the run kept its data on a device; NULL: none, or not any more. */
static const char *device_directory(const struct known *known)
{
    const char *name;
    json_t *target;
    for (uint32_t i = 0; i < known->results.run_count; i++) {
        json_object_foreach(json_object_get(known->results.runs[i].json, "configuration"), name, target)
        {
            const json_t *store = json_object_get(target, "store");
            const char *engine = json_string_value(json_object_get(store, "engine"));
            const char *path = json_string_value(json_object_get(store, "path"));
            if (engine != NULL && strcmp(engine, "mem") != 0 && strcmp(engine, "null") != 0 && path != NULL &&
                path[0] == '/' && access(path, W_OK) == 0)
                return path;
        }
    }
    return NULL;
}

static bool is_here(const struct known *known)
{
    char host[256] = "";
    gethostname(host, sizeof(host) - 1);
    for (uint32_t i = 0; i < known->results.run_count; i++) {
        if (strcmp(known->results.runs[i].host, host) != 0)
            return false;
    }
    return true;
}

static bool any_stages(const struct known *known)
{
    for (uint32_t i = 0; i < known->results.result_count; i++) {
        if (known->results.results[i].stages != NULL)
            return true;
    }
    return false;
}

static int measure_limits(struct known *known)
{
    const char *device = device_directory(known);
    const struct calibration calibration = {.memory = true,
                                            .network = true,
                                            .device = device != NULL,
                                            .system = true,
                                            .directory = device,
                                            .file_size = DEVICE_BYTES,
                                            .duration = DURATION,
                                            .repeats = REPEATS,
                                            .found = keep,
                                            .argument = known};
    interrupt_catch();
    int status = calibrate(&calibration);
    known->limits = (struct limits){known->measured_count, known->measured};
    known->source = "limits measured just now on this host";
    return status;
}

static int find_limits(const struct explain *explain, struct known *known, char *error, size_t size)
{
    if (explain->limits != NULL) {
        char reason[512];
        if (result_file_load(explain->limits, &known->separate, reason, sizeof(reason)) < 0) {
            snprintf(error, size, "cannot read limits from \"%s\": %s", explain->limits, reason);
            return -EINVAL;
        }
        if (known->separate.limit_count == 0) {
            snprintf(error, size, "\"%s\" holds no limits: \"benchfs bench calibrate --output\" writes some",
                     explain->limits);
            return -EINVAL;
        }
        known->limits = (struct limits){known->separate.limit_count, known->separate.limits};
        known->source = "limits of the file given";
    } else if (known->results.limit_count > 0) {
        known->limits = (struct limits){known->results.limit_count, known->results.limits};
        known->source = "limits among the results";
    } else if (!any_stages(known)) {
        known->source = "no limits: there are no stages to hold against them";
    } else if (!is_here(known)) {
        known->source = "no limits: the results are of another host; measure them there with \"benchfs bench "
                        "calibrate --output FILE\" and give --limits FILE";
    } else {
        int status = measure_limits(known);
        if (status < 0 && status != -EINTR)
            snprintf(error, size, "cannot measure limits: %s", strerror(-status));
        else if (status < 0)
            snprintf(error, size, "interrupted");
        return status;
    }
    return 0;
}

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

static void print_text(const struct result *result, const struct diagnosis *diagnosis)
{
    (void)result;
    printf("%s\n", diagnosis->verdict);
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

static json_t *parameters_json(const struct known *known, const struct result *result)
{
    size_t i;
    json_t *line;
    uint32_t number = (uint32_t)(result - known->results.results), seen = 0;
    json_array_foreach(known->results.lines, i, line)
    {
        const char *type = json_string_value(json_object_get(line, "type"));
        if (type != NULL && strcmp(type, "result") == 0 && seen++ == number)
            return json_incref(json_object_get(line, "parameters"));
    }
    return NULL;
}

static int print_json(const struct known *known, const struct result *result,
                      const struct diagnosis *diagnosis)
{
    static const char *const outcomes[] = {"unknown", "undecided", "decided"};
    json_t *line = json_pack("{ss ss ss ss ss ss ss}", "type", "explanation", "run", result->run, "benchmark",
                             result->benchmark, "target", result->target, "phase", result->phase, "outcome",
                             outcomes[diagnosis->outcome], "text", diagnosis->verdict);
    json_t *parameters = parameters_json(known, result), *notes = json_array();
    if (parameters != NULL)
        json_object_set_new(line, "parameters", parameters);
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
    return result_write_line(stdout, line);
}

/* ---- all ---- */

static bool wanted(const struct explain *explain, const struct result *result)
{
    return (explain->phase == NULL || strcmp(explain->phase, result->phase) == 0) &&
           (explain->target == NULL || strcmp(explain->target, result->target) == 0);
}

static uint32_t count_wanted(const struct explain *explain, const struct known *known)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < known->results.result_count; i++)
        count += wanted(explain, &known->results.results[i]);
    return count;
}

static int explain_all(const struct explain *explain, const struct known *known)
{
    struct diagnosis *diagnosis = malloc(sizeof(*diagnosis));
    int status = diagnosis == NULL ? -ENOMEM : 0;
    for (uint32_t i = 0; i < known->results.result_count && status == 0; i++) {
        const struct result *result = &known->results.results[i];
        if (!wanted(explain, result))
            continue;
        status = diagnose(result, result_file_run(&known->results, result->run), &known->limits, diagnosis);
        if (status == 0 && explain->json)
            status = print_json(known, result, diagnosis);
        else if (status == 0)
            print_text(result, diagnosis);
    }
    if (status == 0 && !explain->json)
        printf("(%s)\n", known->source);
    free(diagnosis);
    if (status == 0 && (fflush(stdout) != 0 || ferror(stdout)))
        status = -EIO;
    return status;
}

static int explain_files(const struct explain *explain, struct known *known, char *error, size_t size)
{
    char reason[512];
    if (result_file_load(explain->results, &known->results, reason, sizeof(reason)) < 0) {
        snprintf(error, size, "cannot read results from \"%s\": %s", explain->results, reason);
        return -EINVAL;
    }
    if (count_wanted(explain, known) == 0) {
        snprintf(error, size, "\"%s\" holds no results%s", explain->results,
                 known->results.result_count > 0 ? " of that phase and target" : "");
        return -EINVAL;
    }
    int status = find_limits(explain, known, error, size);
    if (status < 0)
        return status;
    status = explain_all(explain, known);
    if (status < 0)
        snprintf(error, size, "%s", status == -EIO ? "cannot write to standard output" : strerror(-status));
    return status;
}

int explain(const struct explain *explain, char *error, size_t size)
{
    struct known *known = calloc(1, sizeof(*known));
    if (known == NULL) {
        snprintf(error, size, "%s", strerror(ENOMEM));
        return -ENOMEM;
    }
    int status = explain_files(explain, known, error, size);
    result_file_free(&known->results);
    result_file_free(&known->separate);
    free(known);
    return status;
}

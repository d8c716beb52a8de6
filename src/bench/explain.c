/* Limits come from the file that --limits names; without it from the lines of type "limit" among the results,
 * or of another of the files that is of the same host; without those they are measured now, if this is the
 * host of the results. Otherwise explanations go without limits, and say so: a stage is known all the same.
 *
 * What several files, or runs, measured in the same way is put side by side in the end: so it is seen what
 * makes one of them faster. */
#include "bench/explain.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/calibrate.h"
#include "bench/explanation.h"
#include "bench/interrupt.h"
#include "bench/live.h"

#define MEASURED_MAX 128u
#define DURATION (5 * NSEC_PER_MSEC)
#define REPEATS 5u
#define DEVICE_BYTES (UINT64_C(64) << 20)

struct input {
    const char *path;
    struct result_file results;
    struct limits limits;
    const char *source; /* of the limits, for people */
};

/* What is kept of an explanation, to be put side by side. */
struct summary {
    const struct input *input;
    const struct result *result;
    enum diagnosis_outcome outcome;
    enum diagnosis_stage top;
    enum diagnosis_resource resource;
    double share, ratio; /* of the p50; of the limit, 0: not known */
    uint64_t p50;
    bool told;
};

struct known {
    const struct explain *explain;
    uint32_t input_count;
    struct input *inputs;
    struct result_file separate; /* that --limits names */
    uint32_t measured_count;
    struct result_limit measured[MEASURED_MAX];
    uint32_t summary_count, summary_space;
    struct summary *summaries;
};

/* ---- limits ---- */

static void keep(void *argument, const struct result_limit *limit)
{
    struct known *known = argument;
    if (known->measured_count < MEASURED_MAX)
        known->measured[known->measured_count++] = *limit;
}

/* The directory in which a target of the run kept its data on a device; NULL: none, or not any more. */
static const char *device_directory(const struct input *input)
{
    const char *name;
    json_t *target;
    for (uint32_t i = 0; i < input->results.run_count; i++) {
        json_object_foreach(json_object_get(input->results.runs[i].json, "configuration"), name, target)
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

/* Whether all of its runs are of that host. */
static bool is_of(const struct input *input, const char *host)
{
    for (uint32_t i = 0; i < input->results.run_count; i++) {
        if (strcmp(input->results.runs[i].host, host) != 0)
            return false;
    }
    return true;
}

static bool is_here(const struct input *input)
{
    char host[256] = "";
    gethostname(host, sizeof(host) - 1);
    return is_of(input, host);
}

static bool any_stages(const struct input *input)
{
    for (uint32_t i = 0; i < input->results.result_count; i++) {
        if (input->results.results[i].stages != NULL)
            return true;
    }
    return false;
}

/* Another of the files that holds limits of the same host; NULL: there is none. */
static const struct input *neighbour_with_limits(const struct known *known, const struct input *input)
{
    for (uint32_t i = 0; i < known->input_count && input->results.run_count > 0; i++) {
        const struct input *other = &known->inputs[i];
        if (other->results.limit_count > 0 && is_of(input, other->results.runs[0].host) &&
            is_of(other, other->results.runs[0].host))
            return other;
    }
    return NULL;
}

static int measure_limits(struct known *known, const struct input *input, char *error, size_t size)
{
    const char *device = device_directory(input);
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
    if (status == -EINTR)
        snprintf(error, size, "interrupted");
    else if (status < 0)
        snprintf(error, size, "cannot measure limits: %s", strerror(-status));
    return status;
}

static int load_limits(struct known *known, char *error, size_t size)
{
    char reason[512];
    const char *path = known->explain->limits;
    if (result_file_load(path, &known->separate, reason, sizeof(reason)) < 0) {
        snprintf(error, size, "cannot read limits from \"%s\": %s", path, reason);
        return -EINVAL;
    }
    if (known->separate.limit_count == 0) {
        snprintf(error, size, "\"%s\" holds no limits: \"benchfs bench calibrate --output\" writes some",
                 path);
        return -EINVAL;
    }
    return 0;
}

static int find_limits(struct known *known, struct input *input, char *error, size_t size)
{
    const struct input *neighbour = neighbour_with_limits(known, input);
    int status = 0;
    if (known->explain->limits != NULL) {
        input->limits = (struct limits){known->separate.limit_count, known->separate.limits};
        input->source = "limits of the file given";
    } else if (input->results.limit_count > 0) {
        input->limits = (struct limits){input->results.limit_count, input->results.limits};
        input->source = "limits among the results";
    } else if (!any_stages(input)) {
        input->source = "no limits: there are no stages to hold against them";
    } else if (neighbour != NULL) {
        input->limits = (struct limits){neighbour->results.limit_count, neighbour->results.limits};
        input->source = "limits among the results of another file of the same host";
    } else if (!is_here(input)) {
        input->source = "no limits: the results are of another host; measure them there with \"benchfs bench "
                        "calibrate --output FILE\" and give --limits FILE";
    } else {
        if (known->measured_count == 0)
            status = measure_limits(known, input, error, size);
        input->limits = (struct limits){known->measured_count, known->measured};
        input->source = "limits measured just now on this host";
    }
    return status;
}

/* ---- side by side ---- */

static int summarise(struct known *known, const struct input *input, const struct result *result,
                     const struct diagnosis *diagnosis)
{
    if (known->summary_count == known->summary_space) {
        uint32_t space = 2 * known->summary_space + 16;
        struct summary *grown = reallocarray(known->summaries, space, sizeof(*grown));
        if (grown == NULL)
            return -ENOMEM;
        known->summaries = grown;
        known->summary_space = space;
    }
    known->summaries[known->summary_count++] = (struct summary){
        .input = input,
        .result = result,
        .outcome = diagnosis->outcome,
        .top = diagnosis->top,
        .resource = diagnosis->resource,
        .share = diagnosis->parts[diagnosis->top].share50,
        .ratio = diagnosis->held ? diagnosis->ratio : 0.0,
        .p50 = diagnosis->whole50,
    };
    return 0;
}

static bool is_same_work(const struct result *one, const struct result *other)
{
    return strcmp(one->run, other->run) != 0 && strcmp(one->benchmark, other->benchmark) == 0 &&
           strcmp(one->phase, other->phase) == 0 && strcmp(one->target, other->target) == 0 &&
           result_same_parameters(one, other);
}

static void print_summary(const struct known *known, const struct summary *summary)
{
    const struct result *result = summary->result;
    bool bytes = result->byte_rate.median > 0.0;
    char rate[64], p50[64], ratio[64] = "", name[64];
    limits_format_value(bytes ? result->byte_rate.median : result->operation_rate.median,
                        bytes ? "B/s" : "op/s", rate, sizeof(rate));
    limits_format_value((double)summary->p50, "ns", p50, sizeof(p50));
    if (summary->ratio > 0.0)
        snprintf(ratio, sizeof(ratio), ", %.2f of the limit", summary->ratio);
    snprintf(name, sizeof(name), "%s%.*s", known->input_count > 1 ? "" : "run ",
             known->input_count > 1 ? 40 : 8,
             known->input_count > 1 ? summary->input->path : summary->result->run);
    if (summary->outcome == DIAGNOSIS_NOTHING)
        printf("  %-24s %12s  stages unknown\n", name, rate);
    else
        printf("  %-24s %12s  p50 %s: %s %.0f %%%s; %s%s\n", name, rate, p50,
               diagnosis_stage_names[summary->top], summary->share * 100.0,
               summary->outcome == DIAGNOSIS_UNDECIDED ? " (undecided)" : "",
               diagnosis_resource_names[summary->resource], ratio);
}

/* What was measured in the same way by several runs. */
static void print_together(const struct known *known)
{
    bool any = false;
    for (uint32_t i = 0; i < known->summary_count; i++) {
        struct summary *first = &known->summaries[i];
        bool alone = true;
        for (uint32_t k = i + 1; k < known->summary_count && !first->told; k++) {
            struct summary *other = &known->summaries[k];
            if (other->told || !is_same_work(first->result, other->result))
                continue;
            if (alone) {
                printf("%s%s on %s, in several runs:\n", any ? "\n" : "", first->result->phase,
                       first->result->target);
                print_summary(known, first);
            }
            print_summary(known, other);
            other->told = any = true;
            alone = false;
        }
    }
    if (any)
        printf("\n");
}

/* ---- all ---- */

static bool wanted(const struct explain *explain, const struct result *result)
{
    return (explain->phase == NULL || strcmp(explain->phase, result->phase) == 0) &&
           (explain->target == NULL || strcmp(explain->target, result->target) == 0);
}

static uint32_t count_wanted(const struct explain *explain, const struct result_file *file)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < file->result_count; i++)
        count += wanted(explain, &file->results[i]);
    return count;
}

/* Whether results of the same target and phase have another value of the parameter. */
static bool is_varied(const struct result_file *file, const struct result *result,
                      const struct result_parameter *parameter)
{
    char own[256], other[256];
    result_parameter_format(parameter, own, sizeof(own));
    for (uint32_t i = 0; i < file->result_count; i++) {
        const struct result *like = &file->results[i];
        if (strcmp(like->benchmark, result->benchmark) != 0 || strcmp(like->phase, result->phase) != 0 ||
            strcmp(like->target, result->target) != 0)
            continue;
        const struct result_parameter *theirs = result_parameter(like, parameter->name);
        other[0] = 0;
        if (theirs != NULL)
            result_parameter_format(theirs, other, sizeof(other));
        if (strcmp(own, other) != 0)
            return true;
    }
    return false;
}

/* "processes=2 depth=8": what was swept. Returns text. */
static const char *name_setting(const struct result_file *file, const struct result *result, char *text,
                                size_t size)
{
    size_t length = 0;
    text[0] = 0;
    for (uint32_t i = 0; i < result->parameter_count && length < size; i++) {
        char value[256];
        if (!is_varied(file, result, &result->parameters[i]))
            continue;
        result_parameter_format(&result->parameters[i], value, sizeof(value));
        length += (size_t)snprintf(text + length, size - length, "%s%s=%s", length > 0 ? " " : "",
                                   result->parameters[i].name, value);
    }
    return text;
}

static int explain_input(struct known *known, const struct input *input, struct diagnosis *diagnosis)
{
    const struct explain *explain = known->explain;
    char setting[512];
    int status = 0;
    if (known->input_count > 1 && !explain->json)
        printf("==> %s <==\n", input->path);
    for (uint32_t i = 0; i < input->results.result_count && status == 0; i++) {
        const struct result *result = &input->results.results[i];
        if (!wanted(explain, result))
            continue;
        status = diagnose(result, result_file_run(&input->results, result->run), &input->limits, diagnosis);
        if (status == 0 && explain->json)
            status = result_write_line(stdout, explanation_json(result, diagnosis));
        else if (status == 0)
            explanation_print(diagnosis, name_setting(&input->results, result, setting, sizeof(setting)));
        if (status == 0)
            status = summarise(known, input, result, diagnosis);
    }
    if (status == 0 && !explain->json)
        printf("(%s)\n%s", input->source, known->input_count > 1 ? "\n" : "");
    return status;
}

static int finish(int status, char *error, size_t size)
{
    if (status == 0 && (fflush(stdout) != 0 || ferror(stdout)))
        status = -EIO;
    if (status < 0)
        snprintf(error, size, "%s", status == -EIO ? "cannot write to standard output" : strerror(-status));
    return status;
}

static int explain_all(struct known *known, char *error, size_t size)
{
    struct diagnosis *diagnosis = malloc(sizeof(*diagnosis));
    int status = diagnosis == NULL ? -ENOMEM : 0;
    for (uint32_t i = 0; i < known->input_count && status == 0; i++)
        status = explain_input(known, &known->inputs[i], diagnosis);
    free(diagnosis);
    if (status == 0 && !known->explain->json)
        print_together(known);
    return finish(status, error, size);
}

static int load(const struct explain *explain, struct input *input, char *error, size_t size)
{
    char reason[512];
    if (result_file_load(input->path, &input->results, reason, sizeof(reason)) < 0) {
        snprintf(error, size, "cannot read results from \"%s\": %s", input->path, reason);
        return -EINVAL;
    }
    if (count_wanted(explain, &input->results) == 0) {
        snprintf(error, size, "\"%s\" holds no results%s", input->path,
                 input->results.result_count > 0 ? " of that phase and target" : "");
        return -EINVAL;
    }
    return 0;
}

static int explain_files(struct known *known, char *error, size_t size)
{
    const struct explain *explain = known->explain;
    int status = 0;
    for (uint32_t i = 0; i < explain->file_count && status == 0; i++) {
        known->inputs[i].path = explain->files[i];
        status = load(explain, &known->inputs[i], error, size);
    }
    if (status == 0 && explain->limits != NULL)
        status = load_limits(known, error, size);
    for (uint32_t i = 0; i < explain->file_count && status == 0; i++)
        status = find_limits(known, &known->inputs[i], error, size);
    return status < 0 ? status : explain_all(known, error, size);
}

int explain(const struct explain *explain, char *error, size_t size)
{
    struct known *known = calloc(1, sizeof(*known));
    struct input *inputs = calloc(explain->file_count, sizeof(*inputs));
    int status = -ENOMEM;
    if (known != NULL && inputs != NULL) {
        known->explain = explain;
        known->inputs = inputs;
        known->input_count = explain->file_count;
        status = explain_files(known, error, size);
        result_file_free(&known->separate);
        free(known->summaries);
    } else {
        snprintf(error, size, "%s", strerror(ENOMEM));
    }
    for (uint32_t i = 0; i < explain->file_count && inputs != NULL; i++)
        result_file_free(&inputs[i].results);
    free(inputs);
    free(known);
    return status;
}

int explain_results(const struct explain *explain, json_t *line, const struct result *results, uint32_t count,
                    char *error, size_t size)
{
    struct known known = {.explain = explain};
    const struct result_run run = {.json = line};
    struct diagnosis *diagnosis = malloc(sizeof(*diagnosis));
    int status = diagnosis == NULL ? -ENOMEM : 0;
    if (status == 0 && explain->limits != NULL && load_limits(&known, error, size) < 0) {
        free(diagnosis);
        result_file_free(&known.separate);
        return -EINVAL;
    }
    const struct limits limits = {known.separate.limit_count, known.separate.limits};
    if (status == 0 && explain->json)
        status = result_write_line(stdout, json_incref(line));
    for (uint32_t i = 0; i < count && status == 0; i++) {
        status = diagnose(&results[i], &run, &limits, diagnosis);
        if (status == 0 && explain->json)
            status = result_write(stdout, &results[i]);
        if (status == 0 && explain->json)
            status = result_write_line(stdout, explanation_json(&results[i], diagnosis));
        else if (status == 0)
            explanation_print(diagnosis, "");
    }
    free(diagnosis);
    result_file_free(&known.separate);
    return finish(status, error, size);
}

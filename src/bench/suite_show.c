/* The table has a column for each option that was given as a list, and for size and depth, which everybody
 * looks for; the lines have everything. A warning is told once for each target, however many combinations it
 * is about; in the lines it stands with each result. Several targets with long names are called by letters,
 * which are explained above the table, so that its rows fit a terminal. */
#include "bench/suite_show.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "bench/comparison.h"
#include "bench/live.h"

#define WARNINGS_MAX 256u
#define NAME_WIDTH 20 /* of a target in the table: beyond that, letters */

static char *warned[WARNINGS_MAX]; /* "target: text" */
static uint32_t warned_count;

int suite_show_open(struct suite_output *output, const char *benchmark, bool json, const char *path)
{
    *output =
        (struct suite_output){.benchmark = benchmark, .json = json, .target_width = 8, .phase_width = 5};
    if (path == NULL)
        return 0;
    int status = result_output_open(&output->file, path);
    if (status < 0)
        bench_error("option --output: cannot write \"%s\": %s", path, strerror(-status));
    return status;
}

int suite_show_close(struct suite_output *output)
{
    return result_output_close(&output->file);
}

void suite_show_target(struct suite_output *output, const char *target)
{
    int length = (int)strlen(target);
    if (length > output->target_width)
        output->target_width = length;
    if (output->target_count < SUITE_LETTERS)
        output->targets[output->target_count] = target;
    output->target_count++;
}

void suite_show_phase(struct suite_output *output, const char *phase)
{
    int length = (int)strlen(phase);
    output->phase_width = length > output->phase_width ? length : output->phase_width;
}

/* Whether rows call targets by letters, and what these mean. */
static void choose_letters(struct suite_output *output)
{
    output->letters = output->target_width > NAME_WIDTH && output->target_count > 1 &&
                      output->target_count <= SUITE_LETTERS;
    if (!output->letters)
        return;
    output->target_width = 6;
    for (uint32_t i = 0; i < output->target_count && !output->json; i++)
        printf("%c: %s\n", (int)('A' + i), output->targets[i]);
}

/* What rows call a target. */
static const char *name_of(const struct suite_output *output, const char *target)
{
    static const char letters[SUITE_LETTERS][2] = {"A", "B", "C", "D", "E", "F", "G", "H", "I",
                                                   "J", "K", "L", "M", "N", "O", "P", "Q", "R",
                                                   "S", "T", "U", "V", "W", "X", "Y", "Z"};
    for (uint32_t i = 0; i < output->target_count && output->letters; i++) {
        if (strcmp(output->targets[i], target) == 0)
            return letters[i];
    }
    return target;
}

/* Both places that take lines. */
static int write_line(struct suite_output *output, json_t *line)
{
    int status = line == NULL ? -ENOMEM : 0;
    if (status == 0 && output->file.file != NULL)
        status = result_write_line(result_output_file(&output->file), json_incref(line));
    if (status == 0 && output->json)
        status = result_write_line(stdout, json_incref(line));
    json_decref(line);
    return status;
}

/* ---- the table ---- */

static void format_value(const struct sweep_axis *axis, uint32_t i, char *text, size_t size)
{
    bool is_text = axis->option->kind == BENCH_TEXT;
    sweep_format(axis->option, is_text ? 0 : axis->numbers[i], is_text ? axis->texts[i] : NULL, text, size);
}

static void choose_columns(struct suite_output *output, const struct sweep *sweep)
{
    for (uint32_t i = 0; i < sweep->axis_count; i++) {
        const struct sweep_axis *axis = &sweep->axes[i];
        const char *name = axis->option->name;
        if (axis->in_turns || (axis->count == 1 && strcmp(name, "size") != 0 && strcmp(name, "depth") != 0))
            continue;
        int width = (int)strlen(name);
        for (uint32_t k = 0; k < axis->count; k++) {
            char text[64];
            format_value(axis, k, text, sizeof(text));
            width = (int)strlen(text) > width ? (int)strlen(text) : width;
        }
        output->columns[output->column_count] = axis;
        output->widths[output->column_count++] = width;
    }
}

int suite_show_begin(struct suite_output *output, json_t *run, const struct sweep *sweep)
{
    choose_columns(output, sweep);
    int status = write_line(output, run);
    choose_letters(output);
    if (output->json)
        return status;
    printf("%-*s %-*s", output->target_width, "target", output->phase_width, "phase");
    for (uint32_t i = 0; i < output->column_count; i++)
        printf(" %*s", output->widths[i], output->columns[i]->option->name);
    printf(" %12s %18s %11s %9s %9s %9s\n", "op/s", "interval", "MB/s", "p50 us", "p99 us", "p999 us");
    fflush(stdout);
    return status;
}

static void print_parameter(const struct bench_option *option, int width, const struct result *result)
{
    char text[64] = "";
    const struct result_parameter *parameter = result_parameter(result, option->name);
    if (parameter != NULL && parameter->kind == RESULT_NUMBER)
        sweep_format(option, parameter->number, NULL, text, sizeof(text));
    else if (parameter != NULL)
        result_parameter_format(parameter, text, sizeof(text));
    printf(" %*s", width, text);
}

static void print_row(const struct suite_output *output, const struct result *result)
{
    const struct result_interval *rate = &result->operation_rate;
    char interval[32], bandwidth[32] = "";
    printf("%-*s %-*s", output->target_width, name_of(output, result->target), output->phase_width,
           result->phase);
    for (uint32_t i = 0; i < output->column_count; i++)
        print_parameter(output->columns[i]->option, output->widths[i], result);
    snprintf(interval, sizeof(interval), "%.0f..%.0f", rate->low, rate->high);
    if (result->byte_rate.median > 0.0)
        snprintf(bandwidth, sizeof(bandwidth), "%.1f", result->byte_rate.median / 1e6);
    printf(" %12.0f %18s %11s", rate->median, interval, bandwidth);
    if (result->latency != NULL)
        printf(" %9.2f %9.2f %9.2f", (double)result->p50 / 1e3, (double)result->p99 / 1e3,
               (double)result->p999 / 1e3);
    putchar('\n');
    for (uint32_t i = 0; i < result->measure_count; i++)
        printf("  %s %g\n", result->measures[i].name, result->measures[i].value);
    if (result->errors > 0)
        printf("  %llu operations failed\n", (unsigned long long)result->errors);
    fflush(stdout);
}

static void warn(const struct result *result)
{
    for (uint32_t i = 0; i < result->warning_count; i++) {
        char text[RESULT_WARNING_SIZE + 600];
        size_t length = strlen(result->target);
        const char *colon = length > 0 && result->target[length - 1] == ':' ? "" : ":";
        snprintf(text, sizeof(text), "%s%s %s", result->target, colon, result->warnings[i]);
        uint32_t known = 0;
        while (known < warned_count && strcmp(warned[known], text) != 0)
            known++;
        if (known < warned_count || warned_count == WARNINGS_MAX)
            continue;
        char *copy = strdup(text);
        if (copy != NULL)
            warned[warned_count++] = copy;
        bench_error("warning: %s", text);
    }
}

int suite_show_result(struct suite_output *output, const struct result *result)
{
    live_clear();
    FILE *file = result_output_file(&output->file);
    int status = file != NULL ? result_write(file, result) : 0;
    if (output->json && status == 0)
        status = result_write(stdout, result);
    if (!output->json)
        print_row(output, result);
    warn(result);
    return status;
}

int suite_show_unsupported(struct suite_output *output, const struct result *result)
{
    live_clear();
    if (!output->json) {
        printf("%-*s %-*s", output->target_width, name_of(output, result->target), output->phase_width,
               result->phase);
        for (uint32_t i = 0; i < output->column_count; i++)
            print_parameter(output->columns[i]->option, output->widths[i], result);
        puts(" " TARGET_UNSUPPORTED);
        fflush(stdout);
    }
    json_t *line = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:s}", "type", "unsupported", "run", result->run,
                             "benchmark", result->benchmark, "target", result->target, "phase", result->phase,
                             "parameters", result_parameters_json(result), "reason", TARGET_UNSUPPORTED);
    return line != NULL ? write_line(output, line) : -ENOMEM;
}

int suite_show_line(struct suite_output *output, json_t *line, const char *target, const char *text)
{
    int status = write_line(output, line);
    if (!output->json && text[0] != 0) {
        printf("%-*s %s\n", output->target_width, name_of(output, target), text);
        fflush(stdout);
    }
    return status;
}

void suite_show_ratio(const struct suite_output *output, const struct result *one, const struct result *other)
{
    struct comparison comparison;
    if (output->json || other->operation_rate.median <= 0.0)
        return;
    comparison_make(&other->ops_per_s, &one->ops_per_s, 0.0, &comparison);
    const char *doubt = comparison.verdict == VERDICT_SAME      ? " (within the noise)"
                        : comparison.verdict == VERDICT_UNKNOWN ? " (too few repeats to tell)"
                                                                : "";
    printf("  %-*s %s / %s = %.2f (%.2f..%.2f)%s\n", output->phase_width, one->phase,
           name_of(output, one->target), name_of(output, other->target), comparison.ratio, comparison.low,
           comparison.high, doubt);
    fflush(stdout);
}

/* ---- what is known of targets ---- */

#define JSON_STRING(value) json_string(value)
#define JSON_CHOICE(value) json_string(value)
#define JSON_INTEGER(value) json_integer((json_int_t)(value))
#define JSON_SIZE(value) json_integer((json_int_t)(value))
#define JSON_POWER(value) json_integer((json_int_t)(value))
#define JSON_DURATION(value) json_integer((json_int_t)(value))
#define JSON_BOOLEAN(value) json_boolean(value)

/* Sizes in bytes, durations in ns. */
static json_t *configuration_json(const struct config *config)
{
    json_t *all = json_object(), *table;
#define TABLE_BEGIN(table_name, help)                                                                        \
    table = json_object();                                                                                   \
    json_object_set_new(all, #table_name, table);
#define OPTION(table_name, key, type, initial, minimum, maximum, help)                                       \
    json_object_set_new(table, #key, JSON_##type(config->table_name.key));
#define TABLE_END(table_name)
#include "base/options.h"
#undef TABLE_BEGIN
#undef OPTION
#undef TABLE_END
    return all;
}

static void add_transports(json_t *transports, const struct target_facts *facts)
{
    char copy[sizeof(facts->transports)];
    strcpy(copy, facts->transports);
    char *rest = copy;
    for (char *name; (name = strsep(&rest, ",")) != NULL;) {
        size_t i;
        json_t *known;
        bool new_one = name[0] != 0;
        json_array_foreach(transports, i, known) new_one =
            new_one && strcmp(json_string_value(known), name) != 0;
        if (new_one)
            json_array_append_new(transports, json_string(name));
    }
}

void suite_show_facts(json_t *run, json_t *transports, const char *target, const struct target_facts *facts)
{
    json_t *configuration = json_object_get(run, "configuration");
    if (configuration == NULL) {
        configuration = json_object();
        json_object_set_new(run, "configuration", configuration);
    }
    if (facts->configured)
        json_object_set_new(configuration, target, configuration_json(&facts->configuration));
    add_transports(transports, facts);
}

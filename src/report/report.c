/* The page is a template that was put together at build time (bundle.py), with the data in its middle as JSON
 * in a script element of type application/json; the page's own script does the rest in the reader's browser.
 *
 * Whatever comes out of a result file is text in that JSON: '<', '>' and '&' are written as escapes, so that
 * no text can end the element, and the page's script never makes markup out of text.
 *
 * Results are written smaller than they came. A histogram of a thousand buckets becomes a cumulative curve of
 * the points that a plot can show: a bucket is passed over while it moves the curve by less than a hundredth
 * of all operations, an eighth of those that are still slower, and a small step of time. Time stages become
 * count, mean and three quantiles. Time series are averaged down. What was left out is left out of the plots
 * only: quantiles, medians and intervals are those of the result.
 *
 * A result that nobody has explained yet (a line of type "explanation") is explained here, with the limits of
 * its file, or of another file of its host; nothing is measured for it. */
#include "report/report.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/comparison.h"
#include "bench/explanation.h"
#include "report/page.h"

#define MOMENTS_MAX 600u /* of a time series on the page */
#define MANY_RESULTS 300u
#define STEP 1.01      /* from point to point of a latency curve, */
#define STEP_MANY 1.05 /* and if there are many curves */

/* ---- the page's JSON ---- */

/* The page as far as it is written. After the first failure nothing more is. */
struct page {
    FILE *out;
    int status;
};

static void put_bytes(struct page *page, const void *bytes, size_t length)
{
    errno = 0;
    if (page->status == 0 && fwrite(bytes, 1, length, page->out) != length)
        page->status = errno != 0 ? -errno : -EIO;
}

static void put_text(struct page *page, const char *text)
{
    put_bytes(page, text, strlen(text));
}

static int put_escaped(const char *text, size_t length, void *argument)
{
    struct page *page = argument;
    size_t from = 0;
    for (size_t i = 0; i < length; i++) {
        const char *escape = text[i] == '<'   ? "\\u003c"
                             : text[i] == '>' ? "\\u003e"
                             : text[i] == '&' ? "\\u0026"
                                              : NULL;
        if (escape == NULL)
            continue;
        put_bytes(page, text + from, i - from);
        put_text(page, escape);
        from = i + 1;
    }
    put_bytes(page, text + from, length - from);
    return page->status == 0 ? 0 : -1;
}

/* Takes the value over; NULL stands for memory that was not there. */
static void put_json(struct page *page, json_t *value)
{
    int status = -ENOMEM;
    if (value != NULL && page->status == 0)
        status = json_dump_callback(value, put_escaped, page,
                                    JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(8));
    if (status != 0 && page->status == 0)
        page->status = value == NULL ? -ENOMEM : -EINVAL;
    json_decref(value);
}

/* ---- smaller results ---- */

/* [[ns, operations up to ns], ...], ascending in both, the last being the greatest value and all operations.
 */
static json_t *curve_json(const struct histogram *histogram, double step)
{
    json_t *points = json_array();
    uint64_t sum = 0, sum_before = 0, left_before = histogram->count;
    double before = 0.0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS && sum < histogram->count; i++) {
        uint64_t low, high;
        if (histogram->buckets[i] == 0)
            continue;
        sum += histogram->buckets[i];
        histogram_bounds(i, &low, &high);
        if (high > histogram->maximum || sum == histogram->count)
            high = histogram->maximum;
        uint64_t left = histogram->count - sum;
        if (left != 0 && (double)high < before * step && (sum - sum_before) < histogram->count / 100 &&
            left > left_before - left_before / 8)
            continue;
        json_array_append_new(points, json_pack("[II]", (json_int_t)high, (json_int_t)sum));
        before = (double)high;
        sum_before = sum;
        left_before = left;
    }
    return points;
}

static json_t *latency_json(const struct histogram *histogram, double step)
{
    return json_pack("{sI sI sI sf so}", "count", (json_int_t)histogram->count, "min",
                     (json_int_t)(histogram->count == 0 ? 0 : histogram->minimum), "max",
                     (json_int_t)histogram->maximum, "mean", histogram_mean(histogram), "points",
                     curve_json(histogram, step));
}

static json_t *stages_json(json_t *stages)
{
    static struct histogram histogram; /* too large for a stack */
    json_t *made = json_object();
    const char *name;
    json_t *stage;
    json_object_foreach(stages, name, stage)
    {
        if (result_latency_parse(stage, &histogram) < 0) /* was checked when it was read */
            continue;
        json_object_set_new(made, name,
                            json_pack("{sI sf sI sI sI}", "count", (json_int_t)histogram.count, "mean",
                                      histogram_mean(&histogram), "p50",
                                      (json_int_t)histogram_quantile(&histogram, 0.5), "p99",
                                      (json_int_t)histogram_quantile(&histogram, 0.99), "max",
                                      (json_int_t)histogram.maximum));
    }
    return made;
}

static json_t *requests_json(json_t *operations)
{
    json_t *made = json_object();
    const char *name;
    json_t *operation;
    json_object_foreach(operations, name, operation)
    {
        json_t *stages = json_object_get(operation, "stages");
        json_t *request = json_pack("{sO}", "count", json_object_get(operation, "count"));
        if (stages != NULL)
            json_object_set_new(request, "stages", stages_json(stages));
        json_object_set_new(made, name, request);
    }
    return made;
}

static json_t *series_json(const struct result *result)
{
    json_t *series = json_array();
    uint32_t width = (result->moment_count + MOMENTS_MAX - 1) / MOMENTS_MAX;
    for (uint32_t i = 0; i < result->moment_count; i += width) {
        struct result_moment mean = {0};
        uint32_t count = result->moment_count - i < width ? result->moment_count - i : width;
        for (uint32_t k = 0; k < count; k++) {
            mean.ops_per_s += result->series[i + k].ops_per_s / count;
            mean.bytes_per_s += result->series[i + k].bytes_per_s / count;
        }
        json_array_append_new(series,
                              json_pack("{sf sf sf}", "t", result->series[i + count - 1].t, "ops_per_s",
                                        mean.ops_per_s, "bytes_per_s", mean.bytes_per_s));
    }
    return series;
}

static json_t *parameters_json(const struct result *result)
{
    json_t *parameters = json_object();
    for (uint32_t i = 0; i < result->parameter_count; i++) {
        const struct result_parameter *parameter = &result->parameters[i];
        json_t *value = parameter->kind == RESULT_NUMBER ? json_integer((json_int_t)parameter->number)
                        : parameter->kind == RESULT_REAL ? json_real(parameter->real)
                        : parameter->kind == RESULT_TEXT ? json_string(parameter->text)
                                                         : json_boolean(parameter->flag);
        json_object_set_new(parameters, parameter->name, value);
    }
    return parameters;
}

static void add_rate(json_t *object, const char *name, const struct result_interval *interval)
{
    char low[32], high[32];
    if (interval->median <= 0.0)
        return;
    snprintf(low, sizeof(low), "%s_low", name);
    snprintf(high, sizeof(high), "%s_high", name);
    json_object_set_new(object, name, json_real(interval->median));
    json_object_set_new(object, low, json_real(interval->low));
    json_object_set_new(object, high, json_real(interval->high));
}

static void add_measures(json_t *object, const struct result *result)
{
    json_t *measures = json_object();
    for (uint32_t i = 0; i < result->measure_count; i++)
        json_object_set_new(measures, result->measures[i].name, json_real(result->measures[i].value));
    json_object_set_new(object, "measures", measures);
}

static json_t *sample_json(const struct sample *sample)
{
    json_t *values = json_array();
    for (uint32_t i = 0; i < sample->count; i++)
        json_array_append_new(values, json_real(sample->values[i]));
    return values;
}

/* What each repeat gave; a single one is the median. */
static void add_samples(json_t *object, const struct result *result)
{
    json_t *samples = json_object();
    if (result->ops_per_s.count > 1)
        json_object_set_new(samples, "ops_per_s", sample_json(&result->ops_per_s));
    if (result->bytes_per_s.count > 1)
        json_object_set_new(samples, "bytes_per_s", sample_json(&result->bytes_per_s));
    json_object_set_new(object, "samples", samples);
}

static void add_optional(json_t *object, const struct result *result, double step)
{
    if (result->maximum > 0) {
        json_object_set_new(object, "p50_ns", json_integer((json_int_t)result->p50));
        json_object_set_new(object, "p99_ns", json_integer((json_int_t)result->p99));
        json_object_set_new(object, "p999_ns", json_integer((json_int_t)result->p999));
        json_object_set_new(object, "max_ns", json_integer((json_int_t)result->maximum));
    }
    if (result->latency != NULL && result->latency->count > 0)
        json_object_set_new(object, "latency", latency_json(result->latency, step));
    if (result->stages != NULL)
        json_object_set_new(object, "stages", stages_json(result->stages));
    if (result->operations_by_rpc != NULL)
        json_object_set_new(object, "operations_by_rpc", requests_json(result->operations_by_rpc));
    if (result->servers != NULL)
        json_object_set(object, "servers", result->servers);
    if (result->counters != NULL)
        json_object_set(object, "counters", result->counters);
    if (result->ops_per_s.count > 1 || result->bytes_per_s.count > 1)
        add_samples(object, result);
    if (result->measure_count > 0)
        add_measures(object, result);
    if (result->moment_count > 0)
        json_object_set_new(object, "series", series_json(result));
    if (result->warning_count == 0)
        return;
    json_t *warnings = json_array();
    for (uint32_t i = 0; i < result->warning_count; i++)
        json_array_append_new(warnings, json_string(result->warnings[i]));
    json_object_set_new(object, "warnings", warnings);
}

static json_t *result_json(const struct result *result, uint32_t run, double step)
{
    json_t *object =
        json_pack("{si ss ss ss so sI sI sI si}", "run", (int)run, "benchmark", result->benchmark, "target",
                  result->target, "phase", result->phase, "parameters", parameters_json(result), "operations",
                  (json_int_t)result->operations, "bytes", (json_int_t)result->bytes, "errors",
                  (json_int_t)result->errors, "repeats", (int)result->repeats);
    if (object == NULL)
        return NULL;
    double floor = comparison_floor_of_halves(&result->ops_per_s);
    if (floor > 1.0)
        json_object_set_new(object, "noise_floor", json_real(floor));
    add_rate(object, "ops_per_s", &result->operation_rate);
    add_rate(object, "bytes_per_s", &result->byte_rate);
    add_optional(object, result, step);
    return object;
}

/* ---- the page ---- */

/* The lines of one type, as they are. */
static json_t *lines_json(const struct report *report, const char *type)
{
    json_t *lines = json_array();
    size_t i;
    json_t *line;
    for (uint32_t file = 0; file < report->file_count; file++)
        json_array_foreach(report->files[file].lines, i, line)
        {
            if (strcmp(json_string_value(json_object_get(line, "type")), type) == 0)
                json_array_append(lines, line);
        }
    return lines;
}

/* Limits that hold for the run: of its file, or of another that has some of the same host. */
static struct limits limits_of(const struct report *report, const struct result_file *file,
                               const struct result_run *run)
{
    for (uint32_t i = 0; i <= report->file_count; i++) {
        const struct result_file *from = i == 0 ? file : &report->files[i - 1];
        if (from->limit_count > 0 && run != NULL && strcmp(from->runs[0].host, run->host) == 0)
            return (struct limits){from->limit_count, from->limits};
    }
    return (struct limits){0};
}

static bool is_explained(const json_t *explanations, const struct result *result)
{
    static const char *const names[] = {"run", "benchmark", "target", "phase"};
    const char *values[] = {result->run, result->benchmark, result->target, result->phase};
    json_t *parameters = result_parameters_json(result);
    size_t i;
    json_t *line;
    bool found = false;
    json_array_foreach(explanations, i, line)
    {
        bool same = json_equal(json_object_get(line, "parameters"), parameters) == 1;
        for (size_t k = 0; k < sizeof(names) / sizeof(names[0]) && same; k++) {
            const char *text = json_string_value(json_object_get(line, names[k]));
            same = text != NULL && strcmp(text, values[k]) == 0;
        }
        found = found || same;
    }
    json_decref(parameters);
    return found;
}

/* Those of the files, and one for every other result whose stages are known. NULL: no memory. */
static json_t *explanations_json(const struct report *report)
{
    json_t *given = lines_json(report, "explanation"), *all = json_copy(given);
    struct diagnosis *diagnosis = malloc(sizeof(*diagnosis));
    bool failed = diagnosis == NULL || all == NULL;
    for (uint32_t i = 0; i < report->file_count; i++)
        for (uint32_t k = 0; k < report->files[i].result_count && !failed; k++) {
            const struct result_file *file = &report->files[i];
            const struct result *result = &file->results[k];
            const struct result_run *run = result_file_run(file, result->run);
            const struct limits limits = limits_of(report, file, run);
            if (result->stages == NULL || is_explained(given, result))
                continue;
            failed = diagnose(result, run, &limits, diagnosis) != 0;
            if (!failed)
                json_array_append_new(all, explanation_json(result, diagnosis));
        }
    free(diagnosis);
    json_decref(given);
    if (!failed)
        return all;
    json_decref(all);
    return NULL;
}

static json_t *head_json(const struct report *report, double step)
{
    char made[32];
    struct tm utc;
    time_t now = time(NULL);
    strftime(made, sizeof(made), "%Y-%m-%dT%H:%MZ", gmtime_r(&now, &utc));
    json_t *files = json_array();
    for (uint32_t i = 0; i < report->file_count; i++) {
        json_t *name = json_string(report->paths[i]);
        json_array_append_new(files, name != NULL ? name : json_string("(a name that is not UTF-8)"));
    }
    json_t *title = report->title != NULL ? json_string(report->title) : NULL;
    json_t *head =
        json_pack("{ss ss sf so so so so so so}", "version", BENCHFS_VERSION, "made", made, "curve_step",
                  step - 1.0, "files", files, "runs", lines_json(report, "run"), "limits",
                  lines_json(report, "limit"), "scores", lines_json(report, "score"), "explanations",
                  explanations_json(report), "comparisons", lines_json(report, "comparison"));
    if (title != NULL)
        json_object_set_new(head, "title", title);
    return head;
}

static uint32_t count_results(const struct report *report)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < report->file_count; i++)
        count += report->files[i].result_count;
    return count;
}

static void put_results(const struct report *report, struct page *page, double step)
{
    uint32_t first_run = 0;
    const char *between = "";
    for (uint32_t i = 0; i < report->file_count; i++) {
        const struct result_file *file = &report->files[i];
        for (uint32_t k = 0; k < file->result_count && page->status == 0; k++) {
            const struct result *result = &file->results[k];
            uint32_t run = first_run + (uint32_t)(result_file_run(file, result->run) - file->runs);
            put_text(page, between);
            put_json(page, result_json(result, run, step));
            between = ",\n";
        }
        first_run += file->run_count;
    }
}

int report_check(const struct report *report, uint32_t *one, uint32_t *other)
{
    for (uint32_t i = 0; i < report->file_count; i++)
        for (uint32_t k = 0; k < report->files[i].run_count; k++) {
            const struct result_run *run = &report->files[i].runs[k];
            for (uint32_t before = 0; before <= i; before++) {
                const struct result_run *same = result_file_run(&report->files[before], run->id);
                if (same == NULL || same == run)
                    continue;
                *one = before;
                *other = i;
                return -EEXIST;
            }
        }
    return 0;
}

int report_write(const struct report *report, FILE *out)
{
    struct page page = {.out = out};
    double step = count_results(report) > MANY_RESULTS ? STEP_MANY : STEP;
    put_bytes(&page, report_page_head, report_page_head_length);
    put_text(&page, "{\"head\":");
    put_json(&page, head_json(report, step));
    put_text(&page, ",\n\"results\":[");
    put_results(report, &page, step);
    put_text(&page, "]}");
    put_bytes(&page, report_page_tail, report_page_tail_length);
    if (page.status == 0 && fflush(out) != 0)
        page.status = -errno;
    return page.status;
}

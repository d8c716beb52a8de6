/* Reading results: a file comes from anywhere, so all that is used of it later is checked here, and nowhere
 * else. What is checked is the form: that a count is not negative, that a histogram's buckets ascend and add
 * up, that a text can be printed on a terminal. Texts stay where jansson keeps them; the file holds all lines
 * until it is freed. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "bench/result.h"

#define MOMENTS_MAX 1000000u

/* Where the reader is, and the first thing that was wrong. */
struct reading {
    struct result_file *file;
    unsigned line;
    bool failed;
    char *error;
    size_t size;
};

static void fail(struct reading *reading, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void fail(struct reading *reading, const char *format, ...)
{
    char text[256];
    if (reading->failed)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    for (char *at = text; *at != 0; at++) { /* jansson quotes what it did not understand */
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
    }
    snprintf(reading->error, reading->size, "line %u: %s", reading->line, text);
    reading->failed = true;
}

/* ---- members: each returns 0, 0.0 or "" when there is none, which is an error only if it is needed ---- */

static bool printable(const char *text)
{
    for (; *text != 0; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return false;
    }
    return true;
}

static const char *get_text(struct reading *reading, const json_t *object, const char *name, bool needed)
{
    const json_t *member = json_object_get(object, name);
    if (member == NULL && !needed)
        return "";
    if (!json_is_string(member) || !printable(json_string_value(member))) {
        fail(reading, "\"%s\" must be a text", name);
        return "";
    }
    return json_string_value(member);
}

static uint64_t get_number(struct reading *reading, const json_t *object, const char *name, bool needed)
{
    const json_t *member = json_object_get(object, name);
    if (member == NULL && !needed)
        return 0;
    if (!json_is_integer(member) || json_integer_value(member) < 0) {
        fail(reading, "\"%s\" must be a whole number, 0 or more", name);
        return 0;
    }
    return (uint64_t)json_integer_value(member);
}

static double get_real(struct reading *reading, const json_t *object, const char *name, bool needed)
{
    const json_t *member = json_object_get(object, name);
    if (member == NULL && !needed)
        return 0.0;
    if (!json_is_number(member) || json_number_value(member) < 0.0) {
        fail(reading, "\"%s\" must be a number, 0 or more", name);
        return 0.0;
    }
    return json_number_value(member);
}

/* ---- histograms ---- */

int result_latency_parse(const json_t *json, struct histogram *histogram)
{
    json_int_t count, sum, least, most, low, high, inside;
    json_t *buckets;
    size_t i;
    const json_t *bucket;
    histogram_init(histogram);
    if (json_unpack((json_t *)json, "{sI sI sI sI so}", "count", &count, "sum", &sum, "min", &least, "max",
                    &most, "buckets", &buckets) != 0 ||
        !json_is_array(buckets) || count < 0 || sum < 0 || least < 0 || most < least)
        return -EINVAL;
    json_int_t left = count, last = -1;
    json_array_foreach(buckets, i, bucket)
    {
        if (json_unpack((json_t *)bucket, "[III!]", &low, &high, &inside) != 0 || low <= last || high < low ||
            inside <= 0 || inside > left)
            return -EINVAL;
        histogram->buckets[histogram_bucket((uint64_t)(low + (high - low) / 2))] += (uint64_t)inside;
        left -= inside;
        last = high;
    }
    if (left != 0)
        return -EINVAL;
    histogram->count = (uint64_t)count;
    histogram->sum = (uint64_t)sum;
    histogram->minimum = count == 0 ? UINT64_MAX : (uint64_t)least;
    histogram->maximum = (uint64_t)most;
    return 0;
}

static void check_latency(struct reading *reading, const json_t *json, const char *name)
{
    static struct histogram histogram;
    if (result_latency_parse(json, &histogram) < 0)
        fail(reading, "\"%s\" is not a histogram, or its counts do not add up", name);
}

static void check_stages(struct reading *reading, json_t *stages)
{
    const char *name;
    json_t *stage;
    if (!json_is_object(stages))
        fail(reading, "\"stages\" must be an object");
    json_object_foreach(stages, name, stage)
    {
        if (!printable(name))
            fail(reading, "\"stages\" has a name that cannot be printed");
        else
            check_latency(reading, stage, name);
    }
}

/* ---- results ---- */

static void read_parameters(struct reading *reading, struct result *result, json_t *parameters)
{
    const char *name;
    json_t *value;
    if (!json_is_object(parameters) || json_object_size(parameters) > RESULT_PARAMETERS_MAX) {
        fail(reading, "\"parameters\" must be an object with at most %u members", RESULT_PARAMETERS_MAX);
        return;
    }
    json_object_foreach(parameters, name, value)
    {
        if (!printable(name) || (json_is_string(value) && !printable(json_string_value(value))))
            fail(reading, "\"parameters\" has a text that cannot be printed");
        else if (json_is_integer(value) && json_integer_value(value) >= 0)
            result_number(result, name, (uint64_t)json_integer_value(value));
        else if (json_is_number(value))
            result_real(result, name, json_number_value(value));
        else if (json_is_string(value))
            result_text(result, name, json_string_value(value));
        else if (json_is_boolean(value))
            result_flag(result, name, json_boolean_value(value));
        else if (!json_is_null(value))
            fail(reading, "parameter \"%s\" must be a number, a text, true or false", name);
    }
}

static void read_measures(struct reading *reading, struct result *result, json_t *measures)
{
    const char *name;
    json_t *value;
    if (!json_is_object(measures) || json_object_size(measures) > RESULT_MEASURES_MAX) {
        fail(reading, "\"measures\" must be an object with at most %u members", RESULT_MEASURES_MAX);
        return;
    }
    json_object_foreach(measures, name, value)
    {
        if (!printable(name) || !json_is_number(value))
            fail(reading, "\"measures\" must be numbers with names that can be printed");
        result_measure(result, name, json_number_value(value));
    }
}

static void read_sample(struct reading *reading, const json_t *samples, const char *name,
                        struct sample *sample)
{
    const json_t *array = json_object_get(samples, name);
    if (array == NULL)
        return;
    if (!json_is_array(array) || json_array_size(array) > SAMPLE_MAX) {
        fail(reading, "\"samples\".\"%s\" must be an array of at most %u numbers", name, SAMPLE_MAX);
        return;
    }
    size_t i;
    const json_t *value;
    json_array_foreach(array, i, value)
    {
        if (!json_is_number(value) || json_number_value(value) < 0.0)
            fail(reading, "\"samples\".\"%s\" must be numbers, 0 or more", name);
        sample_add(sample, json_number_value(value));
    }
}

static struct result_interval read_interval(struct reading *reading, const json_t *line, const char *name)
{
    char low[32], high[32];
    snprintf(low, sizeof(low), "%s_low", name);
    snprintf(high, sizeof(high), "%s_high", name);
    struct result_interval interval = {.median = get_real(reading, line, name, false)};
    bool bounded = json_object_get(line, low) != NULL || json_object_get(line, high) != NULL;
    interval.low = bounded ? get_real(reading, line, low, true) : interval.median;
    interval.high = bounded ? get_real(reading, line, high, true) : interval.median;
    if (!reading->failed && (interval.low > interval.median || interval.high < interval.median))
        fail(reading, "\"%s\" lies outside its own interval", name);
    return interval;
}

static void read_latency(struct reading *reading, struct result *result, const json_t *latency)
{
    result->latency = malloc(sizeof(*result->latency));
    if (result->latency == NULL)
        fail(reading, "out of memory");
    else if (result_latency_parse(latency, result->latency) < 0)
        fail(reading, "\"latency\" is not a histogram, or its counts do not add up");
}

static void read_series(struct reading *reading, struct result *result, const json_t *series)
{
    if (!json_is_array(series) || json_array_size(series) > MOMENTS_MAX) {
        fail(reading, "\"series\" must be an array of at most %u objects", MOMENTS_MAX);
        return;
    }
    result->series = calloc(json_array_size(series) + 1, sizeof(*result->series));
    if (result->series == NULL) {
        fail(reading, "out of memory");
        return;
    }
    size_t i;
    const json_t *moment;
    double last = 0.0;
    json_array_foreach(series, i, moment)
    {
        struct result_moment *read = &result->series[result->moment_count++];
        *read = (struct result_moment){.t = get_real(reading, moment, "t", true),
                                       .ops_per_s = get_real(reading, moment, "ops_per_s", false),
                                       .bytes_per_s = get_real(reading, moment, "bytes_per_s", false)};
        if (read->t < last)
            fail(reading, "\"series\" goes back in time");
        last = read->t;
    }
}

static void read_warnings(struct reading *reading, struct result *result, const json_t *warnings)
{
    size_t i;
    const json_t *warning;
    if (!json_is_array(warnings))
        fail(reading, "\"warnings\" must be an array");
    json_array_foreach(warnings, i, warning)
    {
        if (!json_is_string(warning) || !printable(json_string_value(warning)))
            fail(reading, "\"warnings\" must be texts");
        else
            result_warn(result, "%s", json_string_value(warning));
    }
}

static void read_operations(struct reading *reading, json_t *operations)
{
    const char *name;
    json_t *operation;
    if (!json_is_object(operations))
        fail(reading, "\"operations_by_rpc\" must be an object");
    json_object_foreach(operations, name, operation)
    {
        if (!printable(name) || !json_is_object(operation))
            fail(reading, "\"operations_by_rpc\" must be of objects with names that can be printed");
        get_number(reading, operation, "count", true);
        json_t *stages = json_object_get(operation, "stages");
        if (stages != NULL)
            check_stages(reading, stages);
    }
}

static void read_servers(struct reading *reading, const json_t *servers)
{
    size_t i;
    const json_t *server;
    if (!json_is_array(servers))
        fail(reading, "\"servers\" must be an array");
    json_array_foreach(servers, i, server)
    {
        get_number(reading, server, "id", true);
        get_number(reading, server, "requests", false);
        get_number(reading, server, "bytes", false);
        get_real(reading, server, "busy", false);
    }
}

/* {"client": {name: number, ...}, "server": {...}} */
static void check_counters(struct reading *reading, json_t *counters)
{
    const char *side, *name;
    json_t *numbers, *number;
    if (!json_is_object(counters))
        fail(reading, "\"counters\" must be an object");
    json_object_foreach(counters, side, numbers)
    {
        if (!printable(side) || !json_is_object(numbers))
            fail(reading, "\"counters\" must be of objects with names that can be printed");
        json_object_foreach(numbers, name, number)
        {
            if (!printable(name) || !json_is_number(number))
                fail(reading, "\"counters\" must be numbers with names that can be printed");
        }
    }
}

static void read_optional(struct reading *reading, struct result *result, json_t *line)
{
    json_t *member;
    if ((member = json_object_get(line, "measures")) != NULL)
        read_measures(reading, result, member);
    if ((member = json_object_get(line, "latency")) != NULL)
        read_latency(reading, result, member);
    if ((member = json_object_get(line, "series")) != NULL)
        read_series(reading, result, member);
    if ((member = json_object_get(line, "warnings")) != NULL)
        read_warnings(reading, result, member);
    if ((member = json_object_get(line, "stages")) != NULL) {
        check_stages(reading, member);
        result->stages = json_incref(member);
    }
    if ((member = json_object_get(line, "operations_by_rpc")) != NULL) {
        read_operations(reading, member);
        result->operations_by_rpc = json_incref(member);
    }
    if ((member = json_object_get(line, "servers")) != NULL) {
        read_servers(reading, member);
        result->servers = json_incref(member);
    }
    if ((member = json_object_get(line, "counters")) != NULL) {
        check_counters(reading, member);
        result->counters = json_incref(member);
    }
}

static void read_result(struct reading *reading, struct result *result, json_t *line)
{
    result->run = get_text(reading, line, "run", true);
    result->benchmark = get_text(reading, line, "benchmark", true);
    result->target = get_text(reading, line, "target", true);
    result->phase = get_text(reading, line, "phase", true);
    result->operations = get_number(reading, line, "operations", false);
    result->bytes = get_number(reading, line, "bytes", false);
    result->errors = get_number(reading, line, "errors", false);
    uint64_t repeats = get_number(reading, line, "repeats", false);
    result->repeats = repeats > UINT32_MAX ? UINT32_MAX : (uint32_t)repeats;
    json_t *parameters = json_object_get(line, "parameters");
    if (parameters != NULL)
        read_parameters(reading, result, parameters);
    const json_t *samples = json_object_get(line, "samples");
    if (samples != NULL && !json_is_object(samples))
        fail(reading, "\"samples\" must be an object");
    read_sample(reading, samples, "seconds", &result->seconds);
    read_sample(reading, samples, "ops_per_s", &result->ops_per_s);
    read_sample(reading, samples, "bytes_per_s", &result->bytes_per_s);
    result->operation_rate = read_interval(reading, line, "ops_per_s");
    result->byte_rate = read_interval(reading, line, "bytes_per_s");
    result->p50 = get_number(reading, line, "p50_ns", false);
    result->p99 = get_number(reading, line, "p99_ns", false);
    result->p999 = get_number(reading, line, "p999_ns", false);
    result->maximum = get_number(reading, line, "max_ns", false);
    read_optional(reading, result, line);
}

/* ---- other lines ---- */

static void read_run(struct reading *reading, struct result_run *run, json_t *line)
{
    uint64_t format = get_number(reading, line, "format", true);
    if (!reading->failed && format != RESULT_FORMAT)
        fail(reading, "format %llu is not known here, only %d", (unsigned long long)format, RESULT_FORMAT);
    *run = (struct result_run){.id = get_text(reading, line, "id", true),
                               .benchmark = get_text(reading, line, "benchmark", true),
                               .version = get_text(reading, line, "version", false),
                               .commit = get_text(reading, line, "commit", false),
                               .time = get_text(reading, line, "time", false),
                               .host = get_text(reading, line, "host", false),
                               .kernel = get_text(reading, line, "kernel", false),
                               .processor = get_text(reading, line, "processor", false),
                               .processors = get_number(reading, line, "processors", false),
                               .memory = get_number(reading, line, "memory", false),
                               .json = line};
    if (!reading->failed && run->id[0] == 0)
        fail(reading, "\"id\" is empty");
}

static void read_limit(struct reading *reading, struct result_limit *limit, json_t *line)
{
    *limit = (struct result_limit){.run = get_text(reading, line, "run", true),
                                   .name = get_text(reading, line, "name", true),
                                   .unit = get_text(reading, line, "unit", true),
                                   .transport = get_text(reading, line, "transport", false),
                                   .footprint = get_number(reading, line, "footprint", false),
                                   .processes = get_number(reading, line, "processes", false),
                                   .size = get_number(reading, line, "size", false),
                                   .depth = get_number(reading, line, "depth", false),
                                   .value = get_real(reading, line, "value", true),
                                   .low = get_real(reading, line, "low", false),
                                   .high = get_real(reading, line, "high", false)};
}

static void read_score(struct reading *reading, struct result_score *score, json_t *line)
{
    *score = (struct result_score){.run = get_text(reading, line, "run", true),
                                   .benchmark = get_text(reading, line, "benchmark", true),
                                   .target = get_text(reading, line, "target", true),
                                   .note = get_text(reading, line, "note", false),
                                   .bandwidth_gib_s = get_real(reading, line, "bandwidth_gib_s", true),
                                   .metadata_kiops = get_real(reading, line, "metadata_kiops", true),
                                   .score = get_real(reading, line, "score", true)};
    struct result of = {0};
    json_t *parameters = json_object_get(line, "parameters");
    if (parameters != NULL)
        read_parameters(reading, &of, parameters);
    score->parameter_count = of.parameter_count;
    memcpy(score->parameters, of.parameters, sizeof(score->parameters));
    const json_t *samples = json_object_get(line, "samples");
    if (samples != NULL && !json_is_object(samples))
        fail(reading, "\"samples\" must be an object");
    read_sample(reading, samples, "bandwidth_gib_s", &score->bandwidths);
    read_sample(reading, samples, "metadata_kiops", &score->metadata_rates);
    read_sample(reading, samples, "score", &score->scores);
}

const struct result_run *result_file_run(const struct result_file *file, const char *id)
{
    for (uint32_t i = 0; i < file->run_count; i++) {
        if (strcmp(file->runs[i].id, id) == 0)
            return &file->runs[i];
    }
    return NULL;
}

/* Room for one more, zeroed; counts it. */
static void *grow(struct reading *reading, void **array, uint32_t *count, size_t size)
{
    if ((*count & (*count - 1)) == 0) { /* full: 0, 1, 2, 4, 8, ... */
        void *larger = realloc(*array, (*count == 0 ? 1 : 2 * (size_t)*count) * size);
        if (larger == NULL) {
            fail(reading, "out of memory");
            return NULL;
        }
        *array = larger;
    }
    return memset((char *)*array + (size_t)(*count)++ * size, 0, size);
}

static void read_typed(struct reading *reading, json_t *line)
{
    struct result_file *file = reading->file;
    const char *type = get_text(reading, line, "type", true);
    bool is_run = strcmp(type, "run") == 0;
    if (!reading->failed && !is_run && file->run_count == 0)
        fail(reading, "the first line must be of type \"run\", not \"%s\"", type);
    if (!reading->failed && !is_run && json_object_get(line, "run") != NULL &&
        result_file_run(file, get_text(reading, line, "run", true)) == NULL)
        fail(reading, "no run before it has the id \"%s\"", get_text(reading, line, "run", false));
    if (reading->failed)
        return;
    void *made;
    if (is_run) {
        if ((made = grow(reading, (void **)&file->runs, &file->run_count, sizeof(*file->runs))) != NULL)
            read_run(reading, made, line);
    } else if (strcmp(type, "result") == 0) {
        made = grow(reading, (void **)&file->results, &file->result_count, sizeof(*file->results));
        if (made != NULL)
            read_result(reading, made, line);
    } else if (strcmp(type, "limit") == 0) {
        if ((made = grow(reading, (void **)&file->limits, &file->limit_count, sizeof(*file->limits))) != NULL)
            read_limit(reading, made, line);
    } else if (strcmp(type, "score") == 0) {
        if ((made = grow(reading, (void **)&file->scores, &file->score_count, sizeof(*file->scores))) != NULL)
            read_score(reading, made, line);
    }
}

static void read_line(struct reading *reading, const char *bytes, size_t length)
{
    json_error_t error;
    json_t *line = json_loadb(bytes, length, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(line)) {
        fail(reading, "not a result: %s", line == NULL ? error.text : "not an object");
        json_decref(line);
        return;
    }
    json_array_append_new(reading->file->lines, line);
    read_typed(reading, line);
}

int result_file_parse(const char *bytes, size_t length, struct result_file *file, char *error, size_t size)
{
    memset(file, 0, sizeof(*file));
    struct reading reading = {.file = file, .error = error, .size = size};
    file->lines = json_array();
    for (size_t at = 0; at < length && !reading.failed;) {
        const char *end = memchr(bytes + at, '\n', length - at);
        size_t line_length = end != NULL ? (size_t)(end - bytes) - at : length - at;
        reading.line++;
        read_line(&reading, bytes + at, line_length);
        at += line_length + 1;
    }
    if (!reading.failed && file->run_count == 0) {
        reading.line = 1;
        fail(&reading, "the file is empty");
    }
    if (!reading.failed)
        return 0;
    result_file_free(file);
    return -EINVAL;
}

int result_read_bytes(const char *path, size_t maximum, char **bytes, size_t *length)
{
    size_t room = 1 << 16;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return -errno;
    *bytes = NULL;
    *length = 0;
    int status = 0;
    do {
        room *= 2;
        char *larger = room > maximum ? NULL : realloc(*bytes, room);
        if (larger == NULL) {
            status = room > maximum ? -EFBIG : -ENOMEM;
            break;
        }
        *bytes = larger;
        errno = 0;
        *length += fread(*bytes + *length, 1, room - *length, file);
        status = ferror(file) ? -errno : 0;
    } while (status == 0 && *length == room);
    fclose(file);
    if (status < 0)
        free(*bytes);
    return status;
}

int result_file_load(const char *path, struct result_file *file, char *error, size_t size)
{
    char *bytes = NULL;
    size_t length = 0;
    int status = result_read_bytes(path, RESULT_FILE_MAX, &bytes, &length);
    if (status < 0) {
        snprintf(error, size, "%s", strerror(-status));
        return status;
    }
    status = result_file_parse(bytes, length, file, error, size);
    free(bytes);
    return status;
}

int result_file_read(const char *path, struct result_file *file)
{
    char error[512];
    int status = result_file_load(path, file, error, sizeof(error));
    if (status < 0)
        bench_error("cannot read results from \"%s\": %s", path, error);
    return status;
}

void result_file_free(struct result_file *file)
{
    for (uint32_t i = 0; i < file->result_count; i++)
        result_free(&file->results[i]);
    free(file->runs);
    free(file->results);
    free(file->limits);
    free(file->scores);
    json_decref(file->lines);
    memset(file, 0, sizeof(*file));
}

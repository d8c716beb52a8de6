/* Making and writing results.
 *
 * A line is one object, and is handed to the system whole before the next thing is measured: a benchmark that
 * is interrupted, or fails in a later combination, leaves a file that can be read. What a result keeps is
 * what a repeat measured; medians, intervals and quantiles follow from that in result_settle, so that a table
 * and a file can not say different things. Files of foreign benchmarks may know the summary only: then there
 * are no samples, and the summary stands as it was told. */
#include "commit.h"
#include "bench/result.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "bench/sweep.h"

void result_init(struct result *result)
{
    memset(result, 0, sizeof(*result));
}

void result_free(struct result *result)
{
    free(result->latency);
    free(result->series);
    json_decref(result->stages);
    json_decref(result->operations_by_rpc);
    json_decref(result->servers);
    json_decref(result->counters);
    result_init(result);
}

/* ---- parameters and warnings ---- */

static void set_parameter(struct result *result, struct result_parameter parameter)
{
    uint32_t i = 0;
    while (i < result->parameter_count && strcmp(result->parameters[i].name, parameter.name) != 0)
        i++;
    if (i == RESULT_PARAMETERS_MAX)
        return;
    result->parameters[i] = parameter;
    if (i == result->parameter_count)
        result->parameter_count++;
}

void result_number(struct result *result, const char *name, uint64_t value)
{
    set_parameter(result, (struct result_parameter){.name = name, .kind = RESULT_NUMBER, .number = value});
}

void result_real(struct result *result, const char *name, double value)
{
    set_parameter(result, (struct result_parameter){.name = name, .kind = RESULT_REAL, .real = value});
}

void result_text(struct result *result, const char *name, const char *value)
{
    set_parameter(result, (struct result_parameter){.name = name, .kind = RESULT_TEXT, .text = value});
}

void result_flag(struct result *result, const char *name, bool value)
{
    set_parameter(result, (struct result_parameter){.name = name, .kind = RESULT_FLAG, .flag = value});
}

void result_drop_parameter(struct result *result, const char *name)
{
    for (uint32_t i = 0; i < result->parameter_count; i++) {
        if (strcmp(result->parameters[i].name, name) != 0)
            continue;
        result->parameter_count--;
        memmove(&result->parameters[i], &result->parameters[i + 1],
                (result->parameter_count - i) * sizeof(result->parameters[0]));
        return;
    }
}

void result_measure(struct result *result, const char *name, double value)
{
    uint32_t i = 0;
    while (i < result->measure_count && strcmp(result->measures[i].name, name) != 0)
        i++;
    if (i == RESULT_MEASURES_MAX)
        return;
    result->measures[i] = (struct result_measure){.name = name, .value = value};
    if (i == result->measure_count)
        result->measure_count++;
}

const struct result_parameter *result_parameter(const struct result *result, const char *name)
{
    for (uint32_t i = 0; i < result->parameter_count; i++) {
        if (strcmp(result->parameters[i].name, name) == 0)
            return &result->parameters[i];
    }
    return NULL;
}

void result_parameter_format(const struct result_parameter *parameter, char *text, size_t size)
{
    switch (parameter->kind) {
    case RESULT_NUMBER:
        snprintf(text, size, "%llu", (unsigned long long)parameter->number);
        break;
    case RESULT_REAL:
        snprintf(text, size, "%g", parameter->real);
        break;
    case RESULT_TEXT:
        snprintf(text, size, "%s", parameter->text);
        break;
    case RESULT_FLAG:
        snprintf(text, size, "%s", parameter->flag ? "true" : "false");
        break;
    }
}

static bool same_value(const struct result_parameter *one, const struct result_parameter *other)
{
    if (one->kind != other->kind)
        return false;
    switch (one->kind) {
    case RESULT_NUMBER:
        return one->number == other->number;
    case RESULT_REAL:
        return one->real == other->real;
    case RESULT_TEXT:
        return strcmp(one->text, other->text) == 0;
    default:
        return one->flag == other->flag;
    }
}

bool result_same_parameters(const struct result *one, const struct result *other)
{
    if (one->parameter_count != other->parameter_count)
        return false;
    for (uint32_t i = 0; i < one->parameter_count; i++) {
        const struct result_parameter *found = result_parameter(other, one->parameters[i].name);
        if (found == NULL || !same_value(&one->parameters[i], found))
            return false;
    }
    return true;
}

void result_warn(struct result *result, const char *format, ...)
{
    char text[RESULT_WARNING_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    for (uint32_t i = 0; i < result->warning_count; i++) {
        if (strcmp(result->warnings[i], text) == 0)
            return;
    }
    if (result->warning_count < RESULT_WARNINGS_MAX)
        strcpy(result->warnings[result->warning_count++], text);
}

/* ---- repeats ---- */

void result_add_repeat(struct result *result, double seconds, uint64_t operations, uint64_t bytes,
                       uint64_t errors)
{
    result->repeats++;
    result->operations += operations;
    result->bytes += bytes;
    result->errors += errors;
    sample_add(&result->seconds, seconds);
    sample_add(&result->ops_per_s, seconds > 0.0 ? (double)operations / seconds : 0.0);
    sample_add(&result->bytes_per_s, seconds > 0.0 ? (double)bytes / seconds : 0.0);
}

static void settle_interval(struct result_interval *interval, const struct sample *sample)
{
    if (sample->count == 0)
        return;
    interval->median = sample_median(sample);
    sample_interval(sample, &interval->low, &interval->high);
}

void result_settle(struct result *result)
{
    settle_interval(&result->operation_rate, &result->ops_per_s);
    settle_interval(&result->byte_rate, &result->bytes_per_s);
    if (result->latency == NULL || result->latency->count == 0)
        return;
    result->p50 = histogram_quantile(result->latency, 0.5);
    result->p99 = histogram_quantile(result->latency, 0.99);
    result->p999 = histogram_quantile(result->latency, 0.999);
    result->maximum = result->latency->maximum;
}

/* ---- the first line ---- */

void result_make_id(char id[RESULT_ID_SIZE])
{
    uint64_t number = 0;
    if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number))
        number = (uint64_t)time(NULL) << 32 | (uint32_t)getpid();
    snprintf(id, RESULT_ID_SIZE, "%016llx", (unsigned long long)number);
}

/* The first line of a file, or "unknown". */
static void read_word(const char *path, char *text, size_t size)
{
    snprintf(text, size, "unknown");
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return;
    if (fgets(text, (int)size, file) == NULL)
        snprintf(text, size, "unknown");
    text[strcspn(text, "\n")] = 0;
    fclose(file);
}

static void read_processor(char *text, size_t size)
{
    char line[512];
    snprintf(text, size, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "re");
    if (file == NULL)
        return;
    while (fgets(line, sizeof(line), file) != NULL) {
        const char *colon = strchr(line, ':');
        if (colon != NULL && strncmp(line, "model name", 10) == 0) {
            snprintf(text, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
            break;
        }
    }
    fclose(file);
}

static int command_length;
static char **command_words;

void result_set_command(int argc, char **argv)
{
    command_length = argc;
    command_words = argv;
}

/* NULL: unknown, or not to be told in UTF-8. */
static json_t *command_json(void)
{
    json_t *command = json_pack("[s]", "benchfs");
    for (int i = 0; i < command_length; i++) {
        if (json_array_append_new(command, json_string(command_words[i])) != 0) {
            json_decref(command);
            return NULL;
        }
    }
    if (command_length == 0) {
        json_decref(command);
        return NULL;
    }
    return command;
}

json_t *result_run_line(const char *benchmark, const char *id, json_t *options)
{
    struct utsname name = {0};
    struct sysinfo memory = {0};
    char processor[256], governor[64], when[32];
    time_t now = time(NULL);
    struct tm utc;
    uname(&name);
    sysinfo(&memory);
    read_processor(processor, sizeof(processor));
    read_word("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", governor, sizeof(governor));
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    return json_pack("{ss si ss ss ss ss ss ss ss ss si sI ss so* so}", "type", "run", "format",
                     RESULT_FORMAT, "id", id, "benchmark", benchmark, "version", BENCHFS_VERSION, "commit",
                     BENCHFS_COMMIT, "time", when, "host", name.nodename, "kernel", name.release, "processor",
                     processor, "processors", (int)sysconf(_SC_NPROCESSORS_ONLN), "memory",
                     (json_int_t)memory.totalram * memory.mem_unit, "governor", governor, "command",
                     command_json(), "options", options);
}

static json_t *text_value(const char *text)
{
    return text == NULL ? json_null() : json_string(text);
}

static json_t *list_value(bool texts, uint32_t count, const uint64_t *numbers, const char *const *words)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(array, texts ? text_value(words[i]) : json_integer((json_int_t)numbers[i]));
    return array;
}

static json_t *option_value(const struct bench_option *option)
{
    const struct bench_list *list = option->value;
    switch (option->kind) {
    case BENCH_FLAG:
        return json_boolean(*(const bool *)option->value);
    case BENCH_REAL:
        return json_real(*(const double *)option->value);
    case BENCH_TEXT:
    case BENCH_PATH:
        return text_value(*(const char *const *)option->value);
    case BENCH_SIZES:
    case BENCH_NUMBERS:
    case BENCH_TEXTS:
        return list_value(option->kind == BENCH_TEXTS, list->count, list->sizes, list->texts);
    default:
        return json_integer((json_int_t) * (const uint64_t *)option->value);
    }
}

json_t *result_options(const struct bench_verb *verb)
{
    json_t *options = json_object();
    for (const struct bench_option *option = verb->options; option->name != NULL; option++) {
        const struct sweep_axis *axis = sweep_find(verb->sweep, option);
        json_t *value = axis == NULL
                            ? option_value(option)
                            : list_value(option->kind == BENCH_TEXT, axis->count, axis->numbers, axis->texts);
        json_object_set_new(options, option->name, value);
    }
    return options;
}

/* ---- writing ---- */

/* To memory. */
static int put_bytes(FILE *out, const char *bytes, size_t length)
{
    return fwrite(bytes, 1, length, out) == length ? 0 : -ENOMEM;
}

/* Takes back the end of a file that is one. */
static void cut(int fd, size_t length)
{
    off_t end = lseek(fd, 0, SEEK_CUR);
    if (length > 0 && end >= (off_t)length && ftruncate(fd, end - (off_t)length) == 0)
        lseek(fd, end - (off_t)length, SEEK_SET);
}

/* At one go, because a file in which a line ends in the middle could not be read. */
static int write_bytes(FILE *out, const char *bytes, size_t length)
{
    int fd = fileno(out);
    if (fflush(out) != 0)
        return -errno;
    for (size_t done = 0; done < length;) {
        ssize_t count = write(fd, bytes + done, length - done);
        if (count > 0) {
            done += (size_t)count;
        } else if (count == 0 || errno != EINTR) {
            int status = count == 0 ? -EIO : -errno;
            cut(fd, done);
            return status;
        }
    }
    return 0;
}

int result_write_line(FILE *out, json_t *object)
{
    if (object == NULL)
        return -ENOMEM;
    char *line = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(12));
    json_decref(object);
    if (line == NULL)
        return -EINVAL;
    size_t length = strlen(line);
    line[length] = '\n'; /* in place of its end */
    int status = fileno(out) < 0 ? put_bytes(out, line, length + 1) : write_bytes(out, line, length + 1);
    free(line);
    return status;
}

json_t *result_limit_json(const struct result_limit *limit)
{
    json_t *line =
        json_pack("{ss ss ss ss sI sI sf sf sf}", "type", "limit", "run", limit->run, "name", limit->name,
                  "unit", limit->unit, "size", (json_int_t)limit->size, "depth", (json_int_t)limit->depth,
                  "value", limit->value, "low", limit->low, "high", limit->high);
    if (limit->transport[0] != 0)
        json_object_set_new(line, "transport", json_string(limit->transport));
    if (limit->footprint > 0)
        json_object_set_new(line, "footprint", json_integer((json_int_t)limit->footprint));
    if (limit->processes > 0)
        json_object_set_new(line, "processes", json_integer((json_int_t)limit->processes));
    return line;
}

json_t *result_latency_json(const struct histogram *histogram)
{
    json_t *buckets = json_array();
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t low, high;
        if (histogram->buckets[i] == 0)
            continue;
        histogram_bounds(i, &low, &high);
        json_array_append_new(buckets, json_pack("[III]", (json_int_t)low, (json_int_t)high,
                                                 (json_int_t)histogram->buckets[i]));
    }
    return json_pack("{sI sI sI sI so}", "count", (json_int_t)histogram->count, "sum",
                     (json_int_t)histogram->sum, "min",
                     (json_int_t)(histogram->count == 0 ? 0 : histogram->minimum), "max",
                     (json_int_t)histogram->maximum, "buckets", buckets);
}

json_t *result_parameters_json(const struct result *result)
{
    json_t *parameters = json_object();
    for (uint32_t i = 0; i < result->parameter_count; i++) {
        const struct result_parameter *parameter = &result->parameters[i];
        json_t *value = NULL;
        switch (parameter->kind) {
        case RESULT_NUMBER:
            value = json_integer((json_int_t)parameter->number);
            break;
        case RESULT_REAL:
            value = json_real(parameter->real);
            break;
        case RESULT_TEXT:
            value = json_string(parameter->text);
            break;
        case RESULT_FLAG:
            value = json_boolean(parameter->flag);
            break;
        }
        json_object_set_new(parameters, parameter->name, value);
    }
    return parameters;
}

static json_t *sample_json(const struct sample *sample)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < sample->count; i++)
        json_array_append_new(array, json_real(sample->values[i]));
    return array;
}

static void add_interval(json_t *line, const char *name, const struct result_interval *interval)
{
    char low[32], high[32];
    snprintf(low, sizeof(low), "%s_low", name);
    snprintf(high, sizeof(high), "%s_high", name);
    json_object_set_new(line, name, json_real(interval->median));
    json_object_set_new(line, low, json_real(interval->low));
    json_object_set_new(line, high, json_real(interval->high));
}

static void add_latency(json_t *line, const struct result *result)
{
    const struct {
        const char *name;
        uint64_t value;
    } quantiles[] = {{"p50_ns", result->p50},
                     {"p99_ns", result->p99},
                     {"p999_ns", result->p999},
                     {"max_ns", result->maximum}};
    for (size_t i = 0; result->maximum > 0 && i < sizeof(quantiles) / sizeof(quantiles[0]); i++)
        json_object_set_new(line, quantiles[i].name, json_integer((json_int_t)quantiles[i].value));
    if (result->latency != NULL)
        json_object_set_new(line, "latency", result_latency_json(result->latency));
}

static void add_measures(json_t *line, const struct result *result)
{
    json_t *measures = json_object();
    for (uint32_t i = 0; i < result->measure_count; i++)
        json_object_set_new(measures, result->measures[i].name, json_real(result->measures[i].value));
    if (result->measure_count > 0)
        json_object_set(line, "measures", measures);
    json_decref(measures);
}

static void add_optional(json_t *line, const struct result *result)
{
    if (result->stages != NULL)
        json_object_set(line, "stages", result->stages);
    if (result->operations_by_rpc != NULL)
        json_object_set(line, "operations_by_rpc", result->operations_by_rpc);
    if (result->servers != NULL)
        json_object_set(line, "servers", result->servers);
    if (result->counters != NULL)
        json_object_set(line, "counters", result->counters);
    json_t *series = json_array(), *warnings = json_array();
    for (uint32_t i = 0; i < result->moment_count; i++) {
        const struct result_moment *moment = &result->series[i];
        json_array_append_new(series, json_pack("{sf sf sf}", "t", moment->t, "ops_per_s", moment->ops_per_s,
                                                "bytes_per_s", moment->bytes_per_s));
    }
    for (uint32_t i = 0; i < result->warning_count; i++)
        json_array_append_new(warnings, json_string(result->warnings[i]));
    if (result->moment_count > 0)
        json_object_set(line, "series", series);
    if (result->warning_count > 0)
        json_object_set(line, "warnings", warnings);
    json_decref(series);
    json_decref(warnings);
}

int result_write(FILE *out, const struct result *result)
{
    json_t *line = json_pack("{ss ss ss ss ss so sI sI sI si so}", "type", "result", "run", result->run,
                             "benchmark", result->benchmark, "target", result->target, "phase", result->phase,
                             "parameters", result_parameters_json(result), "operations",
                             (json_int_t)result->operations, "bytes", (json_int_t)result->bytes, "errors",
                             (json_int_t)result->errors, "repeats", (int)result->repeats, "samples",
                             json_pack("{so so so}", "seconds", sample_json(&result->seconds), "ops_per_s",
                                       sample_json(&result->ops_per_s), "bytes_per_s",
                                       sample_json(&result->bytes_per_s)));
    if (line == NULL)
        return -ENOMEM;
    add_interval(line, "ops_per_s", &result->operation_rate);
    add_interval(line, "bytes_per_s", &result->byte_rate);
    add_latency(line, result);
    add_measures(line, result);
    add_optional(line, result);
    return result_write_line(out, line);
}

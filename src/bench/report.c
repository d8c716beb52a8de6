/* Reporting. Rates are medians over the repeats with a 95 % interval from the bootstrap; latencies are of all
 * repeats together. Two targets are compared only where their intervals do not touch. */
#include "bench/report.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/quantity.h"

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

static json_t *option_value(const struct bench_option *option)
{
    const struct bench_list *list = option->value;
    json_t *array;
    switch (option->kind) {
    case BENCH_FLAG:
        return json_boolean(*(const bool *)option->value);
    case BENCH_TEXT:
        return *(const char *const *)option->value == NULL ? json_null()
                                                           : json_string(*(const char *const *)option->value);
    case BENCH_SIZES:
    case BENCH_NUMBERS:
        array = json_array();
        for (uint32_t i = 0; i < list->count; i++)
            json_array_append_new(array, json_integer((json_int_t)list->sizes[i]));
        return array;
    case BENCH_TEXTS:
        array = json_array();
        for (uint32_t i = 0; i < list->count; i++)
            json_array_append_new(array, json_string(list->texts[i]));
        return array;
    default:
        return json_integer((json_int_t) * (const uint64_t *)option->value);
    }
}

json_t *report_provenance(const struct bench_verb *verb)
{
    struct utsname name = {0};
    char processor[256], when[32];
    time_t now = time(NULL);
    struct tm utc;
    uname(&name);
    read_processor(processor, sizeof(processor));
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    json_t *options = json_object();
    for (const struct bench_option *option = verb->options; option->name != NULL; option++)
        json_object_set_new(options, option->name, option_value(option));
    return json_pack("{ss ss ss ss ss ss ss si ss so}", "type", "run", "benchmark", verb->name, "version",
                     BENCHFS_VERSION, "commit", BENCHFS_COMMIT, "host", name.nodename, "kernel", name.release,
                     "processor", processor, "processors", (int)sysconf(_SC_NPROCESSORS_ONLN), "time", when,
                     "options", options);
}

void report_json(json_t *object)
{
    json_dumpf(object, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
    json_decref(object);
}

static int target_width = 8; /* of the table's first column */

void report_begin(const struct bench_verb *verb, const struct bench_list *targets, bool json)
{
    for (uint32_t i = 0; targets != NULL && i < targets->count; i++) {
        int length = (int)strlen(targets->texts[i]);
        if (length > target_width)
            target_width = length;
    }
    if (json) {
        report_json(report_provenance(verb));
        return;
    }
    printf("%-*s %-10s %8s %5s %12s %18s %11s %9s %9s %9s\n", target_width, "target", "phase", "size",
           "depth", "op/s", "95 % interval", "MB/s", "p50 us", "p99 us", "p999 us");
}

void report_row(const struct report_row *row, bool json)
{
    double low, high;
    sample_interval(&row->rate, &low, &high);
    double rate = sample_median(&row->rate);
    double bandwidth = sample_median(&row->bandwidth);
    uint64_t p50 = histogram_quantile(&row->latency, 0.5);
    uint64_t p99 = histogram_quantile(&row->latency, 0.99);
    uint64_t p999 = histogram_quantile(&row->latency, 0.999);
    if (json) {
        report_json(json_pack(
            "{ss ss ss sI sI sI si sf sf sf sf sI sI sI sI}", "type", "result", "target", row->target,
            "phase", row->phase, "size", (json_int_t)row->size, "depth", (json_int_t)row->depth, "operations",
            (json_int_t)row->operations, "repeats", (int)row->rate.count, "ops_per_s", rate, "ops_per_s_low",
            low, "ops_per_s_high", high, "bytes_per_s", bandwidth, "p50_ns", (json_int_t)p50, "p99_ns",
            (json_int_t)p99, "p999_ns", (json_int_t)p999, "max_ns", (json_int_t)row->latency.maximum));
        return;
    }
    char size[32] = "", interval[32], megabytes[32] = "";
    if (row->size > 0)
        quantity_format_size(row->size, size, sizeof(size));
    if (bandwidth > 0.0)
        snprintf(megabytes, sizeof(megabytes), "%.1f", bandwidth / 1e6);
    snprintf(interval, sizeof(interval), "%.0f..%.0f", low, high);
    printf("%-*s %-10s %8s %5llu %12.0f %18s %11s %9.2f %9.2f %9.2f\n", target_width, row->target, row->phase,
           size, (unsigned long long)row->depth, rate, interval, megabytes, (double)p50 / 1e3,
           (double)p99 / 1e3, (double)p999 / 1e3);
    fflush(stdout);
}

void report_compare(const struct report_row *one, const struct report_row *other)
{
    double low, high, other_low, other_high;
    sample_interval(&one->rate, &low, &high);
    sample_interval(&other->rate, &other_low, &other_high);
    if (sample_median(&other->rate) <= 0.0)
        return;
    double ratio = sample_median(&one->rate) / sample_median(&other->rate);
    bool apart = one->rate.count >= 3 && (low > other_high || other_low > high);
    printf("  %-10s %s / %s = %.2f%s\n", one->phase, one->target, other->target, ratio,
           apart ? "" : " (within the noise)");
}

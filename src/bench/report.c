/* Reporting. Rates are medians over the repeats with a 95 % interval from the bootstrap; latencies are of all
 * repeats together. Two targets are compared only where their intervals do not touch. */
#include "bench/report.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/quantity.h"
#include "bench/result.h"

static const char *benchmark = "";
static char run[RESULT_ID_SIZE];

json_t *report_provenance(const struct bench_verb *verb)
{
    benchmark = verb->name;
    result_make_id(run);
    return result_run_line(verb->name, run, result_options(verb));
}

void report_json(json_t *object)
{
    result_write_line(stdout, object);
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

static void write_row(const struct report_row *row)
{
    struct result result;
    result_init(&result);
    result.run = run;
    result.benchmark = benchmark;
    result.target = row->target;
    result.phase = row->phase;
    result_number(&result, "size", row->size);
    result_number(&result, "depth", row->depth);
    result.operations = row->operations;
    result.bytes = row->size * row->operations;
    result.repeats = row->rate.count;
    result.ops_per_s = row->rate;
    result.bytes_per_s = row->bandwidth;
    result.latency = malloc(sizeof(row->latency));
    if (result.latency != NULL)
        *result.latency = row->latency;
    result_settle(&result);
    result_write(stdout, &result);
    result_free(&result);
}

void report_row(const struct report_row *row, bool json)
{
    double low, high;
    if (json) {
        write_row(row);
        return;
    }
    sample_interval(&row->rate, &low, &high);
    double rate = sample_median(&row->rate);
    double bandwidth = sample_median(&row->bandwidth);
    uint64_t p50 = histogram_quantile(&row->latency, 0.5);
    uint64_t p99 = histogram_quantile(&row->latency, 0.99);
    uint64_t p999 = histogram_quantile(&row->latency, 0.999);
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

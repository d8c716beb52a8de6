/* Counters get their _total, and nanoseconds become seconds, as Prometheus has it.
 *
 * Of each operation and stage that has taken any time there is a histogram. The region's buckets are far
 * finer than what anybody wants to store for years, so they are added up to three in a decade, from 100 ns to
 * 10 s: a bucket counts where its greatest value lies, so no value is told to be smaller than it was by more
 * than 1 %. Values of 0 are not in the region's buckets; whoever was never queued, waited no longer than a
 * tenth of a microsecond. */
#include "server/exposition.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "rpc/operations.h"

static const struct {
    uint64_t ns;
    const char *text; /* in seconds */
} bounds[] = {
    {100, "1e-07"},
    {200, "2e-07"},
    {500, "5e-07"},
    {1000, "1e-06"},
    {2000, "2e-06"},
    {5000, "5e-06"},
    {10000, "1e-05"},
    {20000, "2e-05"},
    {50000, "5e-05"},
    {100000, "0.0001"},
    {200000, "0.0002"},
    {500000, "0.0005"},
    {1000000, "0.001"},
    {2000000, "0.002"},
    {5000000, "0.005"},
    {10000000, "0.01"},
    {20000000, "0.02"},
    {50000000, "0.05"},
    {100000000, "0.1"},
    {200000000, "0.2"},
    {500000000, "0.5"},
    {1000000000, "1"},
    {2000000000, "2"},
    {UINT64_C(5000000000), "5"},
    {UINT64_C(10000000000), "10"},
};
#define BOUNDS (sizeof(bounds) / sizeof(bounds[0]))

struct exposition {
    struct metrics_source *source;
    struct metrics_snapshot snapshot;
    uint64_t buckets[HISTOGRAM_BUCKETS];
    FILE *out;
    uint32_t server;
};

/* Label values may hold anything but these three as they are. */
static void write_label(FILE *out, const char *name, const char *value)
{
    fprintf(out, "%s=\"", name);
    for (; *value != '\0'; value++) {
        if (*value == '\n')
            fputs("\\n", out);
        else if (*value == '"' || *value == '\\')
            fprintf(out, "\\%c", *value);
        else
            putc(*value, out);
    }
    putc('"', out);
}

static void write_head(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP %s %s.\n# TYPE %s %s\n", name, help, name, type);
}

static void write_seconds(FILE *out, uint64_t ns)
{
    fprintf(out, " %" PRIu64 ".%09" PRIu64 "\n", ns / NSEC_PER_SEC, ns % NSEC_PER_SEC);
}

/* ---- counters ---- */

static void write_metric(const struct exposition *exposition, enum metric metric)
{
    char name[128];
    bool counter = metric_kind(metric) == METRIC_COUNTER;
    bool seconds = strcmp(metric_units[metric], "ns") == 0;
    size_t length = strlen(metric_names[metric]) - (seconds ? strlen("_ns") : 0);
    snprintf(name, sizeof(name), "benchfs_%.*s%s%s", (int)length, metric_names[metric],
             seconds ? "_seconds" : "", counter ? "_total" : "");
    write_head(exposition->out, name, counter ? "counter" : "gauge", metric_helps[metric]);
    fprintf(exposition->out, "%s{server=\"%" PRIu32 "\"}", name, exposition->server);
    uint64_t value = exposition->snapshot.counters[metric];
    if (seconds)
        write_seconds(exposition->out, value);
    else
        fprintf(exposition->out, " %" PRIu64 "\n", value);
}

static void write_server(const struct exposition *exposition)
{
    FILE *out = exposition->out;
    const struct metrics_header *header = &exposition->source->header;
    write_head(out, "benchfs_server_info", "gauge", "Which server this is; always 1");
    fprintf(out, "benchfs_server_info{server=\"%" PRIu32 "\",", exposition->server);
    write_label(out, "host", header->host);
    putc(',', out);
    write_label(out, "cluster", header->cluster);
    putc(',', out);
    write_label(out, "version", BENCHFS_VERSION);
    fputs("} 1\n", out);
    write_head(out, "benchfs_start_time_seconds", "gauge", "When the server started, since 1970");
    fprintf(out, "benchfs_start_time_seconds{server=\"%" PRIu32 "\"}", exposition->server);
    write_seconds(out, header->realtime_ns > 0 ? (uint64_t)header->realtime_ns : 0);
    write_head(out, "benchfs_slow_requests_total", "counter", "Requests that took metrics.slow or longer");
    fprintf(out, "benchfs_slow_requests_total{server=\"%" PRIu32 "\"} %" PRIu64 "\n", exposition->server,
            header->slow_head);
}

/* ---- operations ---- */

static const char *operation_name(uint32_t operation)
{
    switch (operation % METRICS_CALLED) {
    case METRICS_DISK_READ:
        return "DISK_READ";
    case METRICS_DISK_WRITE:
        return "DISK_WRITE";
    case METRICS_DISK_SYNC:
        return "DISK_SYNC";
    default:
        return rpc_operation_name(operation % METRICS_CALLED);
    }
}

static void write_labels(const struct exposition *exposition, uint32_t operation)
{
    fprintf(exposition->out, "{server=\"%" PRIu32 "\",operation=\"%s\",side=\"%s\"", exposition->server,
            operation_name(operation), operation >= METRICS_CALLED ? "called" : "served");
}

static bool is_used(const struct exposition *exposition, uint32_t operation)
{
    return exposition->snapshot.operations[operation].count > 0 && operation_name(operation) != NULL;
}

static void write_sums(const struct exposition *exposition)
{
    static const struct {
        const char *name, *help;
        size_t offset;
    } sums[] = {
        {"benchfs_operations_total", "Requests served, sent to other servers (called), and disk transfers",
         offsetof(struct metrics_operation, count)},
        {"benchfs_operation_errors_total", "Those that failed", offsetof(struct metrics_operation, errors)},
        {"benchfs_operation_bytes_total", "Bytes that they moved", offsetof(struct metrics_operation, bytes)},
    };
    for (size_t k = 0; k < sizeof(sums) / sizeof(sums[0]); k++) {
        write_head(exposition->out, sums[k].name, "counter", sums[k].help);
        for (uint32_t i = 0; i < METRICS_OPERATIONS; i++) {
            if (!is_used(exposition, i))
                continue;
            uint64_t value;
            memcpy(&value, (const char *)&exposition->snapshot.operations[i] + sums[k].offset, sizeof(value));
            fputs(sums[k].name, exposition->out);
            write_labels(exposition, i);
            fprintf(exposition->out, "} %" PRIu64 "\n", value);
        }
    }
}

static void write_value(const struct exposition *exposition, const char *suffix, uint32_t operation,
                        uint32_t stage)
{
    fprintf(exposition->out, "benchfs_operation_seconds_%s", suffix);
    write_labels(exposition, operation);
    fprintf(exposition->out, ",stage=\"%s\"", metrics_stage_names[stage]);
}

static int write_histogram(struct exposition *exposition, uint32_t operation, uint32_t stage)
{
    const struct metrics_operation *sums = &exposition->snapshot.operations[operation];
    int status = metrics_buckets_read(exposition->source, operation, stage, exposition->buckets);
    if (status != 0)
        return status;
    uint64_t all = 0, below = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        all += exposition->buckets[i];
    /* More may have been recorded meanwhile. Replies are measured of some requests only. */
    uint64_t count = sums->count > all && stage != STAGE_REPLY ? sums->count : all;
    below = count - all;
    uint32_t bucket = 0;
    for (size_t i = 0; i < BOUNDS; i++) {
        for (uint64_t low, high; bucket < HISTOGRAM_BUCKETS; bucket++) {
            histogram_bounds(bucket, &low, &high);
            if (high > bounds[i].ns)
                break;
            below += exposition->buckets[bucket];
        }
        write_value(exposition, "bucket", operation, stage);
        fprintf(exposition->out, ",le=\"%s\"} %" PRIu64 "\n", bounds[i].text, below);
    }
    write_value(exposition, "bucket", operation, stage);
    fprintf(exposition->out, ",le=\"+Inf\"} %" PRIu64 "\n", count);
    write_value(exposition, "sum", operation, stage);
    putc('}', exposition->out);
    write_seconds(exposition->out, sums->sums[stage]);
    write_value(exposition, "count", operation, stage);
    fprintf(exposition->out, "} %" PRIu64 "\n", count);
    return 0;
}

static int write_histograms(struct exposition *exposition)
{
    write_head(exposition->out, "benchfs_operation_seconds", "histogram",
               "Time of operations, by stage (reply: of every 16th request, and of all with data)");
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < METRICS_OPERATIONS; i++) {
        if (!is_used(exposition, i))
            continue;
        for (uint32_t stage = 0; status == 0 && stage < METRICS_STAGES; stage++)
            if (exposition->snapshot.operations[i].sums[stage] > 0)
                status = write_histogram(exposition, i, stage);
    }
    return status;
}

int exposition_write(struct metrics_source *source, FILE *out)
{
    struct exposition *exposition = malloc(sizeof(*exposition));
    if (exposition == NULL)
        return -ENOMEM;
    exposition->source = source;
    exposition->out = out;
    int status = metrics_snapshot_read(source, &exposition->snapshot);
    exposition->server = source->header.server;
    if (status == 0) {
        write_server(exposition);
        for (uint32_t i = 0; i < METRICS; i++)
            write_metric(exposition, i);
        write_sums(exposition);
        status = write_histograms(exposition);
    }
    free(exposition);
    return status != 0 ? status : ferror(out) ? -EIO : 0;
}

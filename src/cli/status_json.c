/* What `benchfs status --json` says beyond the state of the servers: all that their regions hold. Everything
 * since each region began; who wants rates asks twice. */
#include "cli/status.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "cli/observe.h"

static json_t *integer(uint64_t value)
{
    return json_integer(value <= INT64_MAX ? (json_int_t)value : INT64_MAX);
}

static void set(json_t *object, const char *name, uint64_t value)
{
    json_object_set_new(object, name, integer(value));
}

/* ---- one region ---- */

static json_t *stage_json(struct source *source, uint32_t operation, enum metrics_stage stage)
{
    static uint64_t buckets[HISTOGRAM_BUCKETS];
    static struct histogram histogram;
    const struct metrics_operation *sums = &watched_of(source)->now.operations[operation];
    if (sums->sums[stage] == 0 || metrics_buckets_read(source->reader, operation, stage, buckets) != 0)
        return NULL;
    histogram_init(&histogram);
    /* What is not in a histogram took no time; but replies are measured of some requests only. */
    metrics_histogram_add(&histogram, buckets, NULL, stage == STAGE_REPLY ? 0 : sums->count);
    json_t *object = json_object();
    set(object, "count", histogram.count);
    set(object, "mean_ns", sums->sums[stage] / (histogram.count != 0 ? histogram.count : 1));
    set(object, "p50_ns", histogram_quantile(&histogram, 0.5));
    set(object, "p99_ns", histogram_quantile(&histogram, 0.99));
    set(object, "p999_ns", histogram_quantile(&histogram, 0.999));
    set(object, "max_ns", histogram.maximum);
    return object;
}

static json_t *operations_json(struct source *source)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < METRICS_OPERATIONS; i++) {
        const struct metrics_operation *sums = &watched_of(source)->now.operations[i];
        if (sums->count == 0 || observed_name(i) == NULL)
            continue;
        json_t *object = json_pack("{s:s, s:b}", "name", observed_name(i), "called", i >= METRICS_CALLED);
        json_t *stages = json_object();
        set(object, "count", sums->count);
        set(object, "errors", sums->errors);
        set(object, "bytes", sums->bytes);
        for (uint32_t stage = 0; stage < METRICS_STAGES; stage++) {
            json_t *one = stage_json(source, i, stage);
            if (one != NULL)
                json_object_set_new(stages, metrics_stage_names[stage], one);
        }
        json_object_set_new(object, "stages", stages);
        json_array_append_new(list, object);
    }
    return list;
}

static json_t *counters_json(const struct watched *watched)
{
    json_t *object = json_object();
    for (uint32_t i = 0; i < METRICS; i++)
        set(object, metric_names[i], watched->now.counters[i]);
    return object;
}

static json_t *memory_json(const struct watched *watched)
{
    static const struct {
        const char *owner;
        enum metric metric;
    } owners[] = {{"store", METRIC_STORE_TAKEN},
                  {"meta", METRIC_META_TAKEN},
                  {"board", METRIC_BOARD_MEMORY},
                  {"rpc", METRIC_RPC_MEMORY},
                  {"metrics", METRIC_METRICS_MEMORY}};
    const uint64_t *counters = watched->now.counters;
    uint64_t rest = counters[METRIC_PROCESS_MEMORY];
    json_t *object = json_object();
    for (size_t i = 0; i < sizeof(owners) / sizeof(owners[0]); i++) {
        uint64_t bytes = counters[owners[i].metric];
        set(object, owners[i].owner, bytes);
        rest -= bytes < rest ? bytes : rest;
    }
    /* Programs, libraries, what the transport keeps, stacks as far as they were touched. */
    set(object, "rest", rest);
    set(object, "process", counters[METRIC_PROCESS_MEMORY]);
    set(object, "stacks_reserved", counters[METRIC_TASK_MEMORY]);
    return object;
}

void status_json_server(const struct observer *observer, uint32_t index, json_t *object)
{
    struct source *source = observer->sources.list[index];
    const struct watched *watched = watched_of(source);
    if (watched == NULL || !watched->fresh) {
        json_object_set_new(object, "counters", json_null());
        return;
    }
    json_object_set_new(object, "measured_by", json_string(source->remote ? "request" : "file"));
    json_object_set_new(object, "busy", json_real(watched_busy(watched)));
    json_object_set_new(object, "waiting_for_processor", json_real(watched_waiting(watched)));
    json_object_set_new(object, "memory", memory_json(watched));
    json_object_set_new(object, "counters", counters_json(watched));
    json_object_set_new(object, "operations", operations_json(source));
    json_object_set_new(object, "exporter", json_string(source->reader->header.exporter));
    set(object, "slow_threshold_ns", source->reader->header.slow_ns);
    set(object, "slow_noted", source->reader->header.slow_head);
    int64_t offset;
    uint64_t error;
    if (source->remote && clock_offset_estimate(&source->clock, observer->taken, &offset, &error))
        json_object_set_new(
            object, "clock",
            json_pack("{s:I, s:I}", "offset_ns", (json_int_t)offset, "error_ns", (json_int_t)error));
}

/* ---- the cluster ---- */

static json_t *balance_json(const struct balance *balance)
{
    return json_pack("{s:f, s:f, s:f, s:f}", "mean", balance->mean, "max", balance->maximum, "max_over_mean",
                     balance->imbalance, "cv", balance->variation);
}

static json_t *clients_json(const struct observer *observer)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < observer->sources.count; i++) {
        struct source *source = observer->sources.list[i];
        const struct watched *watched = watched_of(source);
        if (is_server(source) || watched == NULL || !watched->fresh)
            continue;
        const struct metrics_header *header = &source->reader->header;
        json_t *object = json_pack("{s:i, s:i, s:s}", "process", (int)header->pid, "thread",
                                   (int)header->thread, "program", header->program);
        json_object_set_new(object, "counters", counters_json(watched));
        json_object_set_new(object, "operations", operations_json(source));
        json_array_append_new(list, object);
    }
    return list;
}

static json_t *loads_json(const struct observer *observer)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < observer->load_count; i++) {
        const struct client_load *load = &observer->loads[i];
        char instance[20];
        snprintf(instance, sizeof(instance), "%016" PRIx64, load->instance);
        json_t *object =
            json_pack("{s:s, s:s, s:b, s:i, s:i}", "instance", instance, "host", load->host, "on_this_host",
                      (int)load->here, "uid", (int)load->uid, "sessions", (int)load->sessions);
        set(object, "requests", load->requests);
        set(object, "bytes", load->bytes);
        json_array_append_new(list, object);
    }
    return list;
}

static json_t *slow_json(const struct observer *observer)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < observer->slow_count && i < 16; i++) {
        const struct metrics_entry *entry = &observer->slow[i].entry;
        json_t *object = json_object();
        const char *name = observed_name(entry->operation);
        set(object, "server", observer->slow[i].server);
        json_object_set_new(object, "name", json_string(name != NULL ? name : "?"));
        set(object, "inode", entry->subject);
        set(object, "ago_ns", observer->slow[i].ago);
        set(object, "total_ns", entry->total_ns);
        set(object, "server_queue_ns", entry->server_queue_ns);
        set(object, "handler_ns", entry->handler_ns);
        set(object, "storage_ns", entry->storage_ns);
        set(object, "reply_ns", entry->reply_ns);
        set(object, "bytes", entry->bytes);
        json_object_set_new(object, "result", json_integer(entry->status));
        json_array_append_new(list, object);
    }
    return list;
}

static json_t *hot_json(const struct observer *observer)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < observer->hot_count && i < 16; i++) {
        json_t *object = json_object();
        set(object, "inode", observer->hot[i].inode);
        json_object_set_new(object, "directory", json_boolean(observer->hot[i].directory));
        set(object, "seen", observer->hot[i].requests);
        set(object, "bytes", observer->hot[i].bytes);
        json_array_append_new(list, object);
    }
    return list;
}

void status_json_cluster(const struct observer *observer, json_t *root)
{
    json_t *balance = json_object();
    json_object_set_new(balance, "request_rate", balance_json(&observer->requests));
    json_object_set_new(balance, "busy_share", balance_json(&observer->busy));
    json_object_set_new(balance, "store_bytes", balance_json(&observer->used));
    json_object_set_new(balance, "partitions",
                        json_pack("{s:I, s:i, s:f}", "in_use", (json_int_t)observer->partitions_used,
                                  "hottest", (int)observer->partition_hottest, "hottest_share",
                                  observer->partition_share));
    json_object_set_new(root, "balance", balance);
    json_object_set_new(root, "slowest", slow_json(observer));
    json_object_set_new(root, "hottest", hot_json(observer));
    json_object_set_new(root, "clients", clients_json(observer));
    json_object_set_new(root, "loads", loads_json(observer));
}

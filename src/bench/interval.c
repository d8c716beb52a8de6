/* All numbers of a region only grow, so what happened is what was read in the end less what was read in the
 * beginning. It is added up at once, in arithmetic modulo 2^64: what is read in the beginning is subtracted,
 * what is read in the end is added, and between the two the sums mean nothing. So many clients take no more
 * memory than one. It asks for every region that was read once to be read again: a client's file stays open
 * when its process ends, and a server that was lost, or is another process now, spoils the interval.
 *
 * Requests that read measurements are left out, and so is this process. */
#include "bench/interval.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "metrics/reader.h"
#include "rpc/table.h"

#define MOST_HERE 0.5    /* of all requests, sent from here: then clients tell */
#define SHARE_OF_ONE 0.1 /* of all time, that makes a kind of request worth a result */

struct kind {
    uint64_t count, errors, bytes;
    uint64_t buckets[METRICS_STAGES][HISTOGRAM_BUCKETS];
};

struct interval {
    uint64_t began, ended;                  /* clock_now */
    struct kind *called[RPC_OPERATION_MAX]; /* by clients of this host; NULL: never */
    struct kind *served[RPC_OPERATION_MAX];
    uint64_t client_counters[METRICS], server_counters[METRICS];
    uint64_t between_servers; /* requests that servers sent */
    uint32_t clients;
    uint32_t server_count;
    struct interval_server {
        uint32_t id;
        uint64_t requests, bytes, busy_ns, idle_ns;
    } * servers;
    struct metrics_snapshot snapshot;
};

/* source->own: what was read in the beginning. */
struct begun {
    uint64_t started_ns; /* of the region */
    uint64_t requests;   /* of a client */
};

int interval_create(struct interval **interval)
{
    *interval = calloc(1, sizeof(**interval));
    return *interval != NULL ? 0 : -ENOMEM;
}

void interval_destroy(struct interval *interval)
{
    if (interval == NULL)
        return;
    for (uint32_t i = 0; i < RPC_OPERATION_MAX; i++) {
        free(interval->called[i]);
        free(interval->served[i]);
    }
    free(interval->servers);
    free(interval);
}

/* ---- reading ---- */

static bool is_server(const struct source *source)
{
    return source->server != UINT32_MAX;
}

static bool is_work(uint32_t operation)
{
    return operation_find(operation) != NULL && operation != RPC_READ_METRICS &&
           operation != RPC_SET_METRICS && operation != RPC_SERVER_STATUS;
}

/* What a caller does not know, and a server does not. */
static bool is_known(enum metrics_stage stage, bool server)
{
    return server ? stage != STAGE_CLIENT_QUEUE && stage != STAGE_WIRE : stage != STAGE_REPLY;
}

/* sign: 1 or UINT64_MAX, which is -1. */
static int take_kind(struct kind **place, struct metrics_source *reader, uint32_t number, bool server,
                     const struct metrics_operation *sums, uint64_t sign)
{
    uint64_t buckets[HISTOGRAM_BUCKETS];
    if (*place == NULL)
        *place = calloc(1, sizeof(**place));
    struct kind *kind = *place;
    int status = kind == NULL ? -ENOMEM : 0;
    for (uint32_t stage = 0; stage < METRICS_STAGES && status == 0; stage++) {
        if (!is_known(stage, server))
            continue;
        status = metrics_buckets_read(reader, number, stage, buckets);
        for (uint32_t i = 0; i < HISTOGRAM_BUCKETS && status == 0; i++)
            kind->buckets[stage][i] += sign * buckets[i];
    }
    if (status != 0)
        return status;
    kind->count += sign * sums->count;
    kind->errors += sign * sums->errors;
    kind->bytes += sign * sums->bytes;
    return 0;
}

static struct interval_server *server_of(struct interval *interval, uint32_t id)
{
    for (uint32_t i = 0; i < interval->server_count; i++) {
        if (interval->servers[i].id == id)
            return &interval->servers[i];
    }
    struct interval_server *grown =
        reallocarray(interval->servers, interval->server_count + 1, sizeof(*grown));
    if (grown == NULL)
        return NULL;
    interval->servers = grown;
    grown[interval->server_count] = (struct interval_server){.id = id};
    return &grown[interval->server_count++];
}

static int take_server(struct interval *interval, const struct source *source, uint64_t sign)
{
    const struct metrics_snapshot *snapshot = &interval->snapshot;
    struct interval_server *server = server_of(interval, source->server);
    if (server == NULL)
        return -ENOMEM;
    server->busy_ns += sign * snapshot->counters[METRIC_LOOP_BUSY];
    server->idle_ns += sign * snapshot->counters[METRIC_LOOP_IDLE];
    for (uint32_t i = 0; i < RPC_OPERATION_MAX; i++) {
        const struct metrics_operation *sums = &snapshot->operations[i];
        if (!is_work(i))
            continue;
        interval->between_servers += sign * snapshot->operations[METRICS_CALLED + i].count;
        server->requests += sign * sums->count;
        server->bytes += sign * sums->bytes;
    }
    return 0;
}

/* Adds, or subtracts, all that a region says. *requests: how many of its own it has seen. */
static int take(struct interval *interval, const struct source *source, uint64_t sign, uint64_t *requests)
{
    bool server = is_server(source);
    struct metrics_snapshot *snapshot = &interval->snapshot;
    uint64_t *counters = server ? interval->server_counters : interval->client_counters;
    int status = metrics_snapshot_read(source->reader, snapshot);
    *requests = 0;
    for (uint32_t i = 0; i < RPC_OPERATION_MAX && status == 0; i++) {
        uint32_t number = server ? i : METRICS_CALLED + i;
        if (!is_work(i) || snapshot->operations[number].count == 0)
            continue;
        *requests += snapshot->operations[number].count;
        status = take_kind(server ? &interval->served[i] : &interval->called[i], source->reader, number,
                           server, &snapshot->operations[number], sign);
    }
    if (status != 0)
        return status;
    for (uint32_t i = 0; i < METRICS; i++) {
        if (metric_kind(i) == METRIC_COUNTER)
            counters[i] += sign * snapshot->counters[i];
    }
    return server ? take_server(interval, source, sign) : 0;
}

static bool is_me(const struct source *source)
{
    return !is_server(source) && source->reader->header.pid == (uint32_t)getpid();
}

static int begin_source(struct interval *interval, struct source *source)
{
    struct begun *begun = calloc(1, sizeof(*begun));
    if (begun == NULL)
        return -ENOMEM;
    source->own = begun;
    begun->started_ns = source->reader->header.started_ns;
    return take(interval, source, UINT64_MAX, &begun->requests);
}

int interval_begin(struct interval *interval, struct sources *sources, uint32_t *server)
{
    int status = 0;
    for (uint32_t i = 0; i < sources->count && status == 0; i++) {
        struct source *source = sources->list[i];
        *server = source->server;
        if (source->reader == NULL)
            status = is_server(source) ? -ESTALE : 0;
        else if (!is_me(source) && !source->ended)
            status = begin_source(interval, source);
    }
    interval->began = clock_now();
    return status == 0 || status == -ENOMEM ? status : -ESTALE;
}

static int end_source(struct interval *interval, struct source *source)
{
    const struct begun *begun = source->own;
    uint64_t requests;
    if (source->ended && begun == NULL)
        return 0; /* it had ended before the beginning, or is no client of this cluster */
    if (begun != NULL && begun->started_ns != source->reader->header.started_ns)
        return -ESTALE;
    int status = take(interval, source, 1, &requests);
    if (status == 0 && is_server(source) && begun != NULL &&
        begun->started_ns != source->reader->header.started_ns)
        return -ESTALE; /* it was noticed only by reading */
    if (status == 0 && !is_server(source))
        interval->clients += requests != (begun != NULL ? begun->requests : 0);
    return status;
}

int interval_end(struct interval *interval, struct sources *sources, uint32_t *server)
{
    int status = 0;
    interval->ended = clock_now();
    for (uint32_t i = 0; i < sources->count; i++) {
        struct source *source = sources->list[i];
        if (status == 0) {
            *server = source->server;
            if (source->reader == NULL || (is_server(source) && source->ended))
                status = is_server(source) ? -ESTALE : 0;
            else if (!is_me(source))
                status = end_source(interval, source);
        }
        free(source->own);
        source->own = NULL;
    }
    return status == 0 || status == -ENOMEM ? status : -ESTALE;
}

/* ---- results ---- */

static uint64_t count_all(struct kind *const *kinds)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < RPC_OPERATION_MAX; i++)
        count += kinds[i] != NULL ? kinds[i]->count : 0;
    return count;
}

static double busy_of(const struct interval_server *server)
{
    uint64_t all = server->busy_ns + server->idle_ns;
    return all == 0 ? 0.0 : (double)server->busy_ns / (double)all;
}

void interval_summarise(const struct interval *interval, struct interval_summary *summary)
{
    uint64_t served = count_all(interval->served);
    *summary = (struct interval_summary){
        .seconds = (double)(interval->ended - interval->began) / (double)NSEC_PER_SEC,
        .servers = interval->server_count,
        .clients = interval->clients,
        .requests = served > interval->between_servers ? served - interval->between_servers : 0,
        .called = count_all(interval->called),
    };
    summary->at_servers = (double)summary->called < MOST_HERE * (double)summary->requests;
    for (uint32_t i = 0; i < interval->server_count; i++) {
        double busy = busy_of(&interval->servers[i]);
        summary->busiest = busy > summary->busiest ? busy : summary->busiest;
    }
}

/* Which of both sides tells of a stage; NULL: none. */
static const struct kind *teller(const struct interval *interval, uint32_t operation,
                                 enum metrics_stage stage, bool at_servers)
{
    if (stage == STAGE_REPLY || at_servers)
        return interval->served[operation];
    return interval->called[operation];
}

static json_t *stages_json(const struct interval *interval, const bool chosen[RPC_OPERATION_MAX],
                           bool at_servers)
{
    json_t *stages = json_object();
    struct histogram *histogram = malloc(sizeof(*histogram));
    for (uint32_t stage = 0; stage < METRICS_STAGES && histogram != NULL; stage++) {
        if (!is_known(stage, at_servers) && stage != STAGE_REPLY)
            continue;
        histogram_init(histogram);
        for (uint32_t i = 0; i < RPC_OPERATION_MAX; i++) {
            const struct kind *kind = chosen[i] ? teller(interval, i, stage, at_servers) : NULL;
            if (kind != NULL)
                metrics_histogram_add(histogram, kind->buckets[stage], NULL,
                                      stage == STAGE_REPLY ? 0 : kind->count);
        }
        if (histogram->count > 0)
            json_object_set_new(stages, metrics_stage_names[stage], result_latency_json(histogram));
    }
    free(histogram);
    return stages;
}

/* Servers and counters know nothing of kinds of requests: a kind has as much of them as it has of all
 * requests. */
static json_int_t part_of(uint64_t value, double share)
{
    return (json_int_t)((double)value * share + 0.5);
}

static json_t *servers_json(const struct interval *interval, double share)
{
    json_t *servers = json_array();
    for (uint32_t i = 0; i < interval->server_count; i++) {
        const struct interval_server *server = &interval->servers[i];
        json_array_append_new(servers, json_pack("{sI sI sI sf}", "id", (json_int_t)server->id, "requests",
                                                 part_of(server->requests, share), "bytes",
                                                 part_of(server->bytes, share), "busy", busy_of(server)));
    }
    return servers;
}

static json_t *counters_json(const uint64_t *counters, double share)
{
    json_t *object = json_object();
    for (uint32_t i = 0; i < METRICS; i++) {
        if (metric_kind(i) == METRIC_COUNTER && counters[i] != 0)
            json_object_set_new(object, metric_names[i], json_integer(part_of(counters[i], share)));
    }
    return object;
}

static json_t *calls_json(const struct interval *interval, const bool chosen[RPC_OPERATION_MAX],
                          bool at_servers)
{
    json_t *calls = json_object();
    for (uint32_t i = 0; i < RPC_OPERATION_MAX; i++) {
        const struct kind *kind = at_servers ? interval->served[i] : interval->called[i];
        bool only[RPC_OPERATION_MAX] = {false};
        only[i] = true;
        if (!chosen[i])
            continue;
        json_object_set_new(calls, rpc_operation_name(i),
                            json_pack("{sI sI sI so}", "count", (json_int_t)kind->count, "errors",
                                      (json_int_t)kind->errors, "bytes", (json_int_t)kind->bytes, "stages",
                                      stages_json(interval, only, at_servers)));
    }
    return calls;
}

/* Time in requests of the kind, roughly. */
static double time_in(const struct kind *kind)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t low, high;
        if (kind->buckets[STAGE_TOTAL][i] == 0)
            continue;
        histogram_bounds(i, &low, &high);
        sum += (double)kind->buckets[STAGE_TOTAL][i] * ((double)low + (double)high) / 2.0;
    }
    return sum;
}

static void describe(const struct interval *interval, const struct interval_summary *summary,
                     const bool chosen[RPC_OPERATION_MAX], struct result *result)
{
    uint64_t count = 0, errors = 0, bytes = 0, moving = 0;
    for (uint32_t i = 0; i < RPC_OPERATION_MAX; i++) {
        const struct kind *kind = summary->at_servers ? interval->served[i] : interval->called[i];
        if (!chosen[i])
            continue;
        count += kind->count;
        errors += kind->errors;
        bytes += kind->bytes;
        moving += kind->bytes != 0;
    }
    if (bytes > 0 && moving == 1)
        result_number(result, "size", (bytes + count / 2) / count);
    if (!summary->at_servers)
        result_number(result, "processes", summary->clients > 0 ? summary->clients : 1);
    result_add_repeat(result, summary->seconds, count, bytes, errors);
    result_settle(result);
    result->stages = stages_json(interval, chosen, summary->at_servers);
    result->operations_by_rpc = calls_json(interval, chosen, summary->at_servers);
    double share =
        (double)count / (double)count_all(summary->at_servers ? interval->served : interval->called);
    result->servers = servers_json(interval, share);
    result->counters = json_pack("{so so}", "client", counters_json(interval->client_counters, share),
                                 "server", counters_json(interval->server_counters, share));
    if (summary->at_servers)
        result_warn(result, "most requests came from other hosts: stages are what servers saw, without the "
                            "way there and back");
}

uint32_t interval_results(const struct interval *interval, const char *run, const char *target,
                          struct result *results, uint32_t most)
{
    struct interval_summary summary;
    double times[RPC_OPERATION_MAX] = {0.0}, all = 0.0;
    bool chosen[RPC_OPERATION_MAX] = {false};
    uint32_t count = 0, kinds = 0, longest = 0;
    interval_summarise(interval, &summary);
    for (uint32_t i = 0; i < RPC_OPERATION_MAX; i++) {
        const struct kind *kind = summary.at_servers ? interval->served[i] : interval->called[i];
        if (kind == NULL || kind->count == 0)
            continue;
        chosen[i] = true;
        kinds++;
        all += times[i] = time_in(kind);
    }
    while (kinds > 0 && count < most) {
        struct result *result = &results[count];
        if (count > 0 || kinds == 1) {
            memset(chosen, 0, sizeof(chosen));
            for (uint32_t i = 0; i < RPC_OPERATION_MAX; i++)
                longest = times[i] > times[longest] ? i : longest;
            if (times[longest] < SHARE_OF_ONE * all || times[longest] <= 0.0)
                break;
            chosen[longest] = true;
            times[longest] = -1.0;
        }
        result_init(result);
        result->run = run;
        result->benchmark = "live";
        result->target = target;
        result->phase = count > 0 || kinds == 1 ? rpc_operation_name(longest) : "all requests";
        describe(interval, &summary, chosen, result);
        count++;
    }
    return count;
}

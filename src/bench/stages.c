/* Sums of gains.
 *
 * All numbers of a region only grow, so what happened in a phase is later minus earlier: counts, sums and
 * every bucket of the histograms. A member looks at its own region directly, before and after its part, so
 * the sums are exactly of what was timed. The servers' regions are read through their files by the last
 * member to come and the last to leave; when members leave at different times, what the first ones do next is
 * counted as well. Servers refresh their accounts of busy and idle time before they block, which an idle one
 * does within a fraction of a millisecond: so both looks wait a moment first.
 *
 * Members add with atomic additions and there is no lock, so a member that is killed hinders nobody. The
 * memory is large and almost nowhere touched: a page exists once something was added to it. */
#include "bench/stages.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "metrics/files.h"
#include "metrics/reader.h"
#include "rpc/table.h"

#define SERVERS_MAX 64u
#define SERVER_IDS 65536u /* beyond that it is no server's number */
#define SETTLE_NS 1000000L
#define DATA_SHARE 0.9 /* of all time in requests: then the others are left out of a data phase's stages */

struct sums {
    uint64_t count, errors, bytes;
    uint64_t buckets[METRICS_STAGES][HISTOGRAM_BUCKETS];
};

struct phase_sums {
    uint64_t counters[METRICS];           /* of members */
    uint64_t server_counters[METRICS];    /* of servers */
    struct sums calls[RPC_OPERATION_MAX]; /* of members; REPLY comes from the servers */
    uint64_t missed;                      /* 1: something could not be looked at */
    uint32_t server_count;
    struct {
        uint32_t id;
        uint64_t requests, bytes, busy_ns, idle_ns;
    } servers[SERVERS_MAX];
};

/* A server, when the latest phase began. */
struct server_before {
    uint32_t id, pid;
    uint64_t process_start;
    struct metrics_snapshot snapshot;
    uint64_t replies[RPC_OPERATION_MAX][HISTOGRAM_BUCKETS];
};

struct stages {
    uint32_t phase_count;
    size_t length; /* of the mapping */
    uint32_t before_count;
    struct server_before before[SERVERS_MAX];
    struct phase_sums phases[];
};

/* A member's own. Histograms of what it had not called yet are empty and not copied. */
struct stages_before {
    uint64_t counters[METRICS];
    struct metrics_operation operations[RPC_OPERATION_MAX];
    uint64_t *buckets[RPC_OPERATION_MAX]; /* [stage][bucket] */
};

#define STAGE_BUCKETS ((size_t)METRICS_STAGES * HISTOGRAM_BUCKETS)

/* ---- life ---- */

int stages_create(uint32_t phases, struct stages **created)
{
    size_t length = sizeof(struct stages) + phases * sizeof(struct phase_sums);
    struct stages *stages =
        mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stages == MAP_FAILED)
        return -ENOMEM;
    stages->phase_count = phases;
    stages->length = length;
    *created = stages;
    return 0;
}

void stages_free(struct stages *stages)
{
    if (stages != NULL)
        munmap(stages, stages->length);
}

void stages_clear(struct stages *stages)
{
    for (uint32_t i = 0; i < stages->phase_count; i++) {
        struct phase_sums *phase = &stages->phases[i];
        for (uint32_t call = 0; call < RPC_OPERATION_MAX; call++) {
            if (phase->calls[call].count != 0)
                memset(&phase->calls[call], 0, sizeof(phase->calls[call]));
        }
        memset(phase->counters, 0, sizeof(phase->counters));
        memset(phase->server_counters, 0, sizeof(phase->server_counters));
        memset(phase->servers, 0, sizeof(phase->servers));
        phase->missed = 0;
        phase->server_count = 0;
    }
}

static void add(uint64_t *sum, uint64_t gain)
{
    if (gain != 0)
        __atomic_fetch_add(sum, gain, __ATOMIC_RELAXED);
}

/* ---- members ---- */

static const uint64_t *buckets_of(const struct metrics *metrics, uint32_t call)
{
    return metrics->histograms + (METRICS_CALLED + call) * STAGE_BUCKETS;
}

static void before_free(struct stages_before *before)
{
    for (uint32_t call = 0; before != NULL && call < RPC_OPERATION_MAX; call++)
        free(before->buckets[call]);
    free(before);
}

void stages_come(struct stages *stages, uint32_t phase, const struct metrics *metrics,
                 struct stages_before **before)
{
    before_free(*before);
    *before = calloc(1, sizeof(**before));
    for (uint32_t call = 0; call < RPC_OPERATION_MAX && *before != NULL; call++) {
        (*before)->operations[call] = metrics->operations[METRICS_CALLED + call];
        if ((*before)->operations[call].count == 0)
            continue;
        (*before)->buckets[call] = malloc(STAGE_BUCKETS * sizeof(uint64_t));
        if ((*before)->buckets[call] == NULL) {
            before_free(*before);
            *before = NULL;
        } else {
            memcpy((*before)->buckets[call], buckets_of(metrics, call), STAGE_BUCKETS * sizeof(uint64_t));
        }
    }
    if (*before == NULL)
        stages->phases[phase].missed = 1;
    else
        memcpy((*before)->counters, metrics->counters, sizeof((*before)->counters));
}

void stages_leave(struct stages *stages, uint32_t phase, const struct metrics *metrics,
                  struct stages_before **before)
{
    struct phase_sums *sums = &stages->phases[phase];
    if (*before == NULL)
        return;
    for (uint32_t i = 0; i < METRICS; i++) {
        if (metric_kind(i) == METRIC_COUNTER)
            add(&sums->counters[i], metrics->counters[i] - (*before)->counters[i]);
    }
    for (uint32_t call = 0; call < RPC_OPERATION_MAX; call++) {
        const struct metrics_operation *now = &metrics->operations[METRICS_CALLED + call];
        const struct metrics_operation *then = &(*before)->operations[call];
        const uint64_t *buckets = buckets_of(metrics, call), *earlier = (*before)->buckets[call];
        if (now->count == then->count)
            continue;
        add(&sums->calls[call].count, now->count - then->count);
        add(&sums->calls[call].errors, now->errors - then->errors);
        add(&sums->calls[call].bytes, now->bytes - then->bytes);
        for (size_t i = 0; i < STAGE_BUCKETS; i++)
            add(&sums->calls[call].buckets[i / HISTOGRAM_BUCKETS][i % HISTOGRAM_BUCKETS],
                buckets[i] - (earlier != NULL ? earlier[i] : 0));
    }
    before_free(*before);
    *before = NULL;
}

/* ---- servers ---- */

/* Calls `each` for every server of the cluster that runs on this host. Returns how many there are. */
static uint32_t for_each_server(struct stages *stages, uint32_t phase, const char *directory,
                                const char *cluster,
                                int (*each)(struct stages *stages, uint32_t phase, uint32_t number,
                                            struct metrics_source *source))
{
    char **paths;
    uint32_t count, found = 0;
    nanosleep(&(struct timespec){.tv_nsec = SETTLE_NS}, NULL);
    if (metrics_list(directory, &paths, &count) != 0) {
        stages->phases[phase].missed = 1;
        return 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct metrics_source *source;
        if (metrics_source_open(paths[i], &source) == 0) {
            const struct metrics_header *header = &source->header;
            if (header->role == METRICS_ROLE_SERVER && header->ended == 0 && found < SERVERS_MAX &&
                strcmp(header->cluster, cluster) == 0 && metrics_process_lives(header) &&
                each(stages, phase, found, source) == 0)
                found++;
            metrics_source_close(source);
        }
        free(paths[i]);
    }
    free(paths);
    return found;
}

static int server_begin(struct stages *stages, uint32_t phase, uint32_t number, struct metrics_source *source)
{
    struct server_before *before = &stages->before[number];
    (void)phase;
    before->id = source->header.server;
    before->pid = source->header.pid;
    before->process_start = source->header.process_start;
    int status = metrics_snapshot_read(source, &before->snapshot);
    for (uint32_t i = 0; i < RPC_OPERATION_MAX && status == 0; i++) {
        if (before->snapshot.operations[i].count != 0)
            status = metrics_buckets_read(source, i, STAGE_REPLY, before->replies[i]);
    }
    return status;
}

void stages_begin(struct stages *stages, uint32_t phase, const char *directory, const char *cluster)
{
    stages->before_count = for_each_server(stages, phase, directory, cluster, server_begin);
}

static int add_replies(struct phase_sums *sums, const struct server_before *before,
                       struct metrics_source *source, uint32_t operation)
{
    uint64_t now[HISTOGRAM_BUCKETS];
    int status = metrics_buckets_read(source, operation, STAGE_REPLY, now);
    const uint64_t *then = before->replies[operation];
    bool new = before->snapshot.operations[operation].count == 0; /* then was not read */
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS && status == 0; i++)
        add(&sums->calls[operation].buckets[STAGE_REPLY][i], now[i] - (new ? 0 : then[i]));
    return status;
}

/* The place in the phase's list of the server with this number. */
static uint32_t place_of(struct phase_sums *sums, uint32_t id)
{
    uint32_t place = 0;
    if (id >= SERVER_IDS)
        return SERVERS_MAX;
    while (place < sums->server_count && sums->servers[place].id != id)
        place++;
    if (place == sums->server_count && place < SERVERS_MAX)
        sums->servers[sums->server_count++].id = id;
    return place;
}

static int server_end(struct stages *stages, uint32_t phase, uint32_t number, struct metrics_source *source)
{
    static __thread struct metrics_snapshot now;
    struct phase_sums *sums = &stages->phases[phase];
    const struct server_before *before = NULL;
    (void)number;
    for (uint32_t i = 0; i < stages->before_count; i++) {
        if (stages->before[i].pid == source->header.pid &&
            stages->before[i].process_start == source->header.process_start)
            before = &stages->before[i];
    }
    int status = before != NULL ? metrics_snapshot_read(source, &now) : -ENOENT;
    uint32_t place = status == 0 ? place_of(sums, source->header.server) : SERVERS_MAX;
    if (place == SERVERS_MAX)
        return status < 0 ? status : -E2BIG;
    metrics_snapshot_subtract(&now, &before->snapshot);
    for (uint32_t i = 0; i < METRICS; i++) {
        if (metric_kind(i) == METRIC_COUNTER)
            add(&sums->server_counters[i], now.counters[i]);
    }
    for (uint32_t i = 0; i < RPC_OPERATION_MAX && status == 0; i++) {
        add(&sums->servers[place].requests, now.operations[i].count);
        add(&sums->servers[place].bytes, now.operations[i].bytes);
        if (now.operations[i].count != 0)
            status = add_replies(sums, before, source, i);
    }
    add(&sums->servers[place].busy_ns, now.counters[METRIC_LOOP_BUSY]);
    add(&sums->servers[place].idle_ns, now.counters[METRIC_LOOP_IDLE]);
    return status;
}

void stages_end(struct stages *stages, uint32_t phase, const char *directory, const char *cluster)
{
    if (for_each_server(stages, phase, directory, cluster, server_end) != stages->before_count)
        stages->phases[phase].missed = 1;
}

/* ---- results ---- */

static void add_histogram(struct histogram *histogram, const struct sums *call, enum metrics_stage stage)
{
    metrics_histogram_add(histogram, call->buckets[stage], NULL, stage == STAGE_REPLY ? 0 : call->count);
}

/* Histograms of the calls that are chosen, by stage. */
static json_t *stages_json(const struct phase_sums *sums, const bool chosen[RPC_OPERATION_MAX])
{
    json_t *stages = json_object();
    struct histogram *histogram = malloc(sizeof(*histogram));
    for (uint32_t stage = 0; stage < METRICS_STAGES && histogram != NULL; stage++) {
        histogram_init(histogram);
        for (uint32_t call = 0; call < RPC_OPERATION_MAX; call++) {
            if (chosen[call])
                add_histogram(histogram, &sums->calls[call], stage);
        }
        if (histogram->count > 0)
            json_object_set_new(stages, metrics_stage_names[stage], result_latency_json(histogram));
    }
    free(histogram);
    return stages;
}

/* Time in requests of the kind, roughly. */
static double time_in(const struct sums *call)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t low, high;
        if (call->buckets[STAGE_TOTAL][i] == 0)
            continue;
        histogram_bounds(i, &low, &high);
        sum += (double)call->buckets[STAGE_TOTAL][i] * ((double)low + (double)high) / 2.0;
    }
    return sum;
}

/* A phase that moves data is told by its transfers, unless the rest takes its share of the time. */
static void choose(const struct phase_sums *sums, bool moves, bool chosen[RPC_OPERATION_MAX])
{
    double all = 0.0, data = 0.0;
    for (uint32_t call = 0; call < RPC_OPERATION_MAX; call++) {
        double time = sums->calls[call].count == 0 ? 0.0 : time_in(&sums->calls[call]);
        all += time;
        data += call == RPC_READ_CHUNK || call == RPC_WRITE_CHUNK ? time : 0.0;
        chosen[call] = sums->calls[call].count != 0;
    }
    for (uint32_t call = 0; call < RPC_OPERATION_MAX && moves && data >= DATA_SHARE * all; call++)
        chosen[call] = chosen[call] && (call == RPC_READ_CHUNK || call == RPC_WRITE_CHUNK);
}

static json_t *calls_json(const struct phase_sums *sums)
{
    json_t *calls = json_object();
    for (uint32_t call = 0; call < RPC_OPERATION_MAX; call++) {
        const struct sums *one = &sums->calls[call];
        const struct operation *operation = operation_find(call);
        bool chosen[RPC_OPERATION_MAX] = {false};
        if (one->count == 0 || operation == NULL)
            continue;
        chosen[call] = true;
        json_object_set_new(calls, operation->name,
                            json_pack("{sI sI sI so}", "count", (json_int_t)one->count, "errors",
                                      (json_int_t)one->errors, "bytes", (json_int_t)one->bytes, "stages",
                                      stages_json(sums, chosen)));
    }
    return calls;
}

static json_t *servers_json(const struct phase_sums *sums)
{
    json_t *servers = json_array();
    for (uint32_t id = 0, found = 0; id < SERVER_IDS && found < sums->server_count; id++) { /* ascending */
        for (uint32_t i = 0; i < sums->server_count; i++) {
            if (sums->servers[i].id != id)
                continue;
            uint64_t busy = sums->servers[i].busy_ns, all = busy + sums->servers[i].idle_ns;
            json_array_append_new(servers, json_pack("{sI sI sI sf}", "id", (json_int_t)id, "requests",
                                                     (json_int_t)sums->servers[i].requests, "bytes",
                                                     (json_int_t)sums->servers[i].bytes, "busy",
                                                     all == 0 ? 0.0 : (double)busy / (double)all));
            found++;
        }
    }
    return servers;
}

static json_t *counters_json(const uint64_t *counters)
{
    json_t *object = json_object();
    for (uint32_t i = 0; i < METRICS; i++) {
        if (metric_kind(i) == METRIC_COUNTER && counters[i] != 0)
            json_object_set_new(object, metric_names[i], json_integer((json_int_t)counters[i]));
    }
    return object;
}

void stages_describe(const struct stages *stages, uint32_t phase, struct result *result)
{
    const struct phase_sums *sums = &stages->phases[phase];
    bool chosen[RPC_OPERATION_MAX], any = false;
    choose(sums, result->bytes > 0, chosen);
    for (uint32_t call = 0; call < RPC_OPERATION_MAX; call++)
        any = any || chosen[call];
    if (sums->missed)
        result_warn(result, "the stages do not tell all: measurements of a member or a server were missing");
    if (any) {
        result->stages = stages_json(sums, chosen);
        result->operations_by_rpc = calls_json(sums);
        result->counters = json_pack("{so so}", "client", counters_json(sums->counters), "server",
                                     counters_json(sums->server_counters));
    }
    if (sums->server_count > 0)
        result->servers = servers_json(sums);
}

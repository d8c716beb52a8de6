/* Sums of gains.
 *
 * All numbers of a region only grow, so what happened in a phase is later minus earlier: counts, sums and
 * every bucket of the histograms. A member looks at its own region directly, before and after its part, so
 * the sums are exactly of what was timed. The servers' regions are read by the last
 * member to come and the last to leave, through their files where they run on this host and by requests where
 * they do not; when members leave at different times, what the first ones do next is
 * counted as well. The requests that ask are not counted, neither as calls nor as the servers' work. Servers
 * refresh their accounts of busy and idle time before they block, which an idle one
 * does within a fraction of a millisecond: so both looks wait a moment first.
 *
 * Under MPI each rank looks at all servers: when a phase begins they all see the same, and when it ends the
 * last one to leave sees the most. So what servers did in a run is the greatest that a rank has seen, number
 * by number, and what members did is the sum.
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

#include "bench/ranks.h"
#include "metrics/reader.h"
#include "rpc/table.h"

#define SERVERS_MAX 64u
#define SERVER_NUMBERS (uint32_t)(sizeof(struct server_sums) / sizeof(uint64_t))
#define SETTLE_NS 1000000L
#define DATA_SHARE 0.9 /* of all time in requests: then the others are left out of a data phase's stages */

/* What members measured of a call. REPLY is not among it: only servers know that. */
struct sums {
    uint64_t count, errors, bytes; /* in this order: stages_gather */
    uint64_t buckets[METRICS_STAGES][HISTOGRAM_BUCKETS];
};

struct server_sums {
    uint64_t looks; /* 0: it could never be looked at */
    uint64_t id, requests, bytes, busy_ns, idle_ns;
};

/* What was seen of servers. */
struct served {
    uint64_t counters[METRICS];
    uint64_t requests[RPC_OPERATION_MAX];
    uint64_t replies[RPC_OPERATION_MAX][HISTOGRAM_BUCKETS];
    uint64_t server_count;
    struct server_sums servers[SERVERS_MAX]; /* in the order of sources */
};

struct phase_sums {
    uint64_t missed;                      /* 1: something could not be looked at */
    uint64_t counters[METRICS];           /* of members */
    struct sums calls[RPC_OPERATION_MAX]; /* of members */
    struct served served, latest;         /* of the runs that are settled, and of the one under way */
};

/* A server, when the latest phase began. */
struct server_before {
    bool seen;
    uint32_t pid;
    uint64_t process_start;
    struct metrics_snapshot snapshot;
    uint64_t replies[RPC_OPERATION_MAX][HISTOGRAM_BUCKETS];
};

struct stages {
    uint32_t phase_count;
    size_t length;                            /* of the mapping */
    struct server_before before[SERVERS_MAX]; /* in the order of sources */
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

/* Of what is large, only what is in use. */
static void served_clear(struct served *served)
{
    for (uint32_t i = 0; i < RPC_OPERATION_MAX; i++) {
        if (served->requests[i] != 0)
            memset(served->replies[i], 0, sizeof(served->replies[i]));
    }
    memset(served->requests, 0, sizeof(served->requests));
    memset(served->counters, 0, sizeof(served->counters));
    memset(served->servers, 0, sizeof(served->servers));
    served->server_count = 0;
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
        phase->missed = 0;
        served_clear(&phase->served);
        served_clear(&phase->latest);
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

/* NULL: it cannot be read, or there is no room for it. */
static struct metrics_source *reader_of(const struct sources *sources, uint32_t server)
{
    return server < SERVERS_MAX && sources->list[server]->status == 0 ? sources->list[server]->reader : NULL;
}

static void let_settle(void)
{
    nanosleep(&(struct timespec){.tv_nsec = SETTLE_NS}, NULL);
}

static int server_begin(struct server_before *before, struct metrics_source *reader)
{
    int status = metrics_snapshot_read(reader, &before->snapshot);
    before->pid = reader->header.pid;
    before->process_start = reader->header.process_start;
    for (uint32_t i = 0; i < RPC_OPERATION_MAX && status == 0; i++) {
        if (before->snapshot.operations[i].count != 0)
            status = metrics_buckets_read(reader, i, STAGE_REPLY, before->replies[i]);
    }
    return status;
}

void stages_begin(struct stages *stages, uint32_t phase, struct sources *sources)
{
    let_settle();
    for (uint32_t i = 0; i < SERVERS_MAX; i++)
        stages->before[i].seen = false;
    for (uint32_t i = 0; sources != NULL && i < sources->options.count; i++) {
        struct metrics_source *reader = reader_of(sources, i);
        bool seen = reader != NULL && server_begin(&stages->before[i], reader) == 0;
        if (seen)
            stages->before[i].seen = true;
        else
            stages->phases[phase].missed = 1;
    }
    if (sources == NULL)
        stages->phases[phase].missed = 1;
}

static int add_replies(struct served *served, const struct server_before *before,
                       struct metrics_source *reader, uint32_t operation)
{
    uint64_t now[HISTOGRAM_BUCKETS];
    int status = metrics_buckets_read(reader, operation, STAGE_REPLY, now);
    const uint64_t *then = before->replies[operation];
    bool new = before->snapshot.operations[operation].count == 0; /* then was not read */
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS && status == 0; i++)
        served->replies[operation][i] += now[i] - (new ? 0 : then[i]);
    return status;
}

/* The requests by which servers are looked at. */
static bool is_look(uint32_t operation)
{
    return operation == RPC_READ_METRICS;
}

static int server_end(struct served *served, uint32_t place, const struct server_before *before,
                      struct metrics_source *reader)
{
    static __thread struct metrics_snapshot now;
    struct server_sums *server = &served->servers[place];
    int status = metrics_snapshot_read(reader, &now);
    if (status == 0 && (!before->seen || before->pid != reader->header.pid ||
                        before->process_start != reader->header.process_start))
        status = -ESTALE;
    if (status < 0)
        return status;
    metrics_snapshot_subtract(&now, &before->snapshot);
    for (uint32_t i = 0; i < METRICS; i++) {
        if (metric_kind(i) == METRIC_COUNTER)
            served->counters[i] += now.counters[i];
    }
    for (uint32_t i = 0; i < RPC_OPERATION_MAX && status == 0; i++) {
        if (now.operations[i].count == 0 || is_look(i))
            continue;
        served->requests[i] += now.operations[i].count;
        server->requests += now.operations[i].count;
        server->bytes += now.operations[i].bytes;
        status = add_replies(served, before, reader, i);
    }
    server->busy_ns += now.counters[METRIC_LOOP_BUSY];
    server->idle_ns += now.counters[METRIC_LOOP_IDLE];
    server->looks++;
    return status;
}

void stages_end(struct stages *stages, uint32_t phase, struct sources *sources)
{
    struct served *served = &stages->phases[phase].latest;
    let_settle();
    if (sources == NULL)
        stages->phases[phase].missed = 1;
    for (uint32_t i = 0; sources != NULL && i < sources->options.count; i++) {
        struct metrics_source *reader = reader_of(sources, i);
        if (reader == NULL || server_end(served, i, &stages->before[i], reader) < 0) {
            stages->phases[phase].missed = 1;
            continue;
        }
        served->servers[i].id = sources->list[i]->server;
        if (served->server_count <= i)
            served->server_count = i + 1;
    }
}

/* ---- runs and ranks ---- */

/* The rank that looked last has seen most. */
static int find_latest(struct served *latest)
{
    int status = ranks_maximum(latest->counters, METRICS);
    if (status == 0)
        status = ranks_maximum(latest->requests, RPC_OPERATION_MAX);
    for (uint32_t i = 0; i < RPC_OPERATION_MAX && status == 0; i++) {
        if (latest->requests[i] != 0)
            status = ranks_maximum(latest->replies[i], HISTOGRAM_BUCKETS);
    }
    if (status == 0)
        status = ranks_maximum(&latest->server_count, 1);
    if (status == 0 && latest->server_count > 0)
        status = ranks_maximum((uint64_t *)latest->servers, (uint32_t)latest->server_count * SERVER_NUMBERS);
    return status;
}

static void add_latest(struct served *served, const struct served *latest)
{
    for (uint32_t i = 0; i < METRICS; i++)
        served->counters[i] += latest->counters[i];
    for (uint32_t i = 0; i < RPC_OPERATION_MAX; i++) {
        served->requests[i] += latest->requests[i];
        for (uint32_t k = 0; k < HISTOGRAM_BUCKETS && latest->requests[i] != 0; k++)
            served->replies[i][k] += latest->replies[i][k];
    }
    for (uint32_t i = 0; i < latest->server_count; i++) {
        const struct server_sums *more = &latest->servers[i];
        struct server_sums *server = &served->servers[i];
        if (more->looks > 0)
            server->id = more->id;
        server->looks += more->looks;
        server->requests += more->requests;
        server->bytes += more->bytes;
        server->busy_ns += more->busy_ns;
        server->idle_ns += more->idle_ns;
    }
    if (served->server_count < latest->server_count)
        served->server_count = latest->server_count;
}

int stages_settle(struct stages *stages)
{
    int status = 0;
    for (uint32_t phase = 0; phase < stages->phase_count && status == 0; phase++) {
        struct phase_sums *sums = &stages->phases[phase];
        status = find_latest(&sums->latest);
        if (status == 0)
            add_latest(&sums->served, &sums->latest);
        served_clear(&sums->latest);
    }
    return status;
}

/* Most calls occur in no rank. */
static int gather_calls(struct phase_sums *sums)
{
    uint64_t counts[RPC_OPERATION_MAX];
    for (uint32_t call = 0; call < RPC_OPERATION_MAX; call++)
        counts[call] = sums->calls[call].count;
    int status = ranks_sum(counts, RPC_OPERATION_MAX);
    for (uint32_t call = 0; call < RPC_OPERATION_MAX && status == 0; call++) {
        if (counts[call] == 0)
            continue;
        status = ranks_sum(&sums->calls[call].count, 3);
        for (uint32_t stage = 0; stage < METRICS_STAGES && status == 0; stage++)
            status = ranks_sum(sums->calls[call].buckets[stage], HISTOGRAM_BUCKETS);
    }
    return status;
}

int stages_gather(struct stages *stages)
{
    int status = 0;
    for (uint32_t phase = 0; phase < stages->phase_count && status == 0 && ranks_count() > 1; phase++) {
        status = ranks_sum(stages->phases[phase].counters, METRICS);
        if (status == 0)
            status = gather_calls(&stages->phases[phase]);
        if (status == 0)
            status = ranks_maximum(&stages->phases[phase].missed, 1);
    }
    return status;
}

/* ---- results ---- */

static void add_histogram(struct histogram *histogram, const struct phase_sums *sums, uint32_t call,
                          enum metrics_stage stage)
{
    if (stage == STAGE_REPLY)
        metrics_histogram_add(histogram, sums->served.replies[call], NULL, 0);
    else
        metrics_histogram_add(histogram, sums->calls[call].buckets[stage], NULL, sums->calls[call].count);
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
                add_histogram(histogram, sums, call, stage);
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

static void add_server(json_t *servers, const struct server_sums *server)
{
    uint64_t all = server->busy_ns + server->idle_ns;
    json_array_append_new(servers, json_pack("{sI sI sI sf}", "id", (json_int_t)server->id, "requests",
                                             (json_int_t)server->requests, "bytes", (json_int_t)server->bytes,
                                             "busy", all == 0 ? 0.0 : (double)server->busy_ns / (double)all));
}

/* By ascending number. */
static json_t *servers_json(const struct served *served)
{
    json_t *servers = json_array();
    const struct server_sums *next;
    uint64_t from = 0;
    do {
        next = NULL;
        for (uint32_t i = 0; i < served->server_count; i++) {
            const struct server_sums *server = &served->servers[i];
            if (server->looks > 0 && server->id >= from && (next == NULL || server->id < next->id))
                next = server;
        }
        if (next != NULL) {
            add_server(servers, next);
            from = next->id + 1;
        }
    } while (next != NULL);
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
                                     counters_json(sums->served.counters));
    }
    if (sums->served.server_count > 0)
        result->servers = servers_json(&sums->served);
}

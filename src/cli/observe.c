/* Reading all regions of a cluster, and adding up.
 *
 * Counters, sums and histograms only grow, so what happened in between is a difference; a region that is new,
 * or whose server was started again, is compared with zeros. Which files are hot and which requests were slow
 * is taken from trace entries: a ring that turned faster than it was read shows its last few thousand
 * requests, which is as good a sample as any of the interval's end. */
#include "cli/observe.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/status.h"
#include "cli/cli.h"
#include "rpc/table.h"

#define PATIENCE (2 * NSEC_PER_SEC)
#define SLOW_AGE_MAX (60 * NSEC_PER_SEC)
#define TRACE_BATCH 1024u

/* ---- opening ---- */

static int open_sources(struct observer *observer)
{
    uint32_t count = observer->cluster.file.server_count;
    observer->addresses = calloc(count, sizeof(*observer->addresses));
    observer->ids = calloc(count, sizeof(*observer->ids));
    observer->operations = calloc(METRICS_OPERATIONS, sizeof(*observer->operations));
    if (observer->addresses == NULL || observer->ids == NULL || observer->operations == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++) {
        observer->addresses[i] = observer->cluster.file.servers[i].address;
        observer->ids[i] = observer->cluster.file.servers[i].id;
    }
    const struct sources_options options = {
        .rpc = observer->link.rpc,
        .patience = PATIENCE,
        .addresses = observer->addresses,
        .ids = observer->ids,
        .count = count,
        .clients = true,
    };
    return sources_open(&options, &observer->sources);
}

int observer_open(struct observer *observer)
{
    memset(observer, 0, sizeof(*observer));
    int status = cluster_open(&observer->cluster);
    if (status != 0)
        return status;
    status = cluster_link_open(&observer->cluster, PATIENCE, &observer->link);
    if (status == 0) {
        status = open_sources(observer);
        if (status != 0)
            cli_error("%s", status_text(status));
    }
    if (status != 0)
        observer_close(observer);
    return status;
}

static void watched_forget(struct watched *watched)
{
    for (uint32_t i = 0; i < METRICS_OPERATIONS; i++) {
        free(watched->totals[i]);
        watched->totals[i] = NULL;
    }
    memset(&watched->now, 0, sizeof(watched->now));
    memset(watched->replies, 0, sizeof(watched->replies));
    memset(watched->partitions, 0, sizeof(watched->partitions));
    free(watched->sessions);
    watched->sessions = NULL;
    watched->session_count = 0;
    watched->position = 0;
}

void observer_close(struct observer *observer)
{
    for (uint32_t i = 0; i < observer->sources.count; i++) {
        struct watched *watched = watched_of(observer->sources.list[i]);
        if (watched != NULL)
            watched_forget(watched);
        free(watched);
    }
    sources_close(&observer->sources);
    cluster_link_close(&observer->link);
    cluster_close(&observer->cluster);
    free(observer->addresses);
    free(observer->ids);
    free(observer->operations);
    free(observer->loads);
}

/* ---- what operations are ---- */

const char *observed_name(uint32_t operation)
{
    switch (operation % METRICS_CALLED) {
    case METRICS_DISK_READ:
        return "disk read";
    case METRICS_DISK_WRITE:
        return "disk write";
    case METRICS_DISK_SYNC:
        return "disk sync";
    default:
        return rpc_operation_name(operation % METRICS_CALLED);
    }
}

/* Of its region's own work: what a server serves, what a client calls. */
static bool is_own_request(uint32_t operation, bool server)
{
    return rpc_operation_name(operation % METRICS_CALLED) != NULL && (operation < METRICS_CALLED) == server;
}

/* ---- hot files ---- */

static int by_requests(const void *left, const void *right)
{
    const struct hot *a = left, *b = right;
    return a->requests != b->requests ? (a->requests < b->requests ? 1 : -1)
                                      : (a->inode > b->inode) - (a->inode < b->inode);
}

static int note_hot(struct map *map, const struct metrics_entry *entry)
{
    const struct operation *operation = operation_find(entry->operation);
    if (entry->kind != METRICS_SERVED || entry->subject == 0 || operation == NULL)
        return 0;
    struct hot *hot = map_get(map, entry->subject);
    if (hot == NULL) {
        hot = calloc(1, sizeof(*hot));
        if (hot == NULL || map_put(map, entry->subject, hot) != 0) {
            free(hot);
            return -ENOMEM;
        }
        hot->inode = entry->subject;
    }
    hot->requests++;
    hot->bytes += entry->bytes;
    hot->directory = hot->directory || operation->shape != BODY_FIXED;
    return 0;
}

static void take_hottest(struct observer *observer, struct map *map)
{
    struct hot *all = calloc(map->count + 1, sizeof(*all));
    size_t cursor = 0, count = 0;
    uint64_t key;
    for (struct hot *hot; (hot = map_next(map, &cursor, &key)) != NULL;) {
        if (all != NULL)
            all[count++] = *hot;
        free(hot);
    }
    map_free(map);
    observer->hot_count = count < OBSERVED_HOT ? (uint32_t)count : OBSERVED_HOT;
    if (all != NULL) {
        qsort(all, count, sizeof(*all), by_requests);
        memcpy(observer->hot, all, observer->hot_count * sizeof(*all));
    }
    free(all);
}

/* ---- slow requests ---- */

/* Keeps the slowest, each once. */
static void note_slow(struct observer *observer, const struct source *source,
                      const struct metrics_entry *entry, uint64_t now)
{
    int64_t offset = 0;
    uint64_t error;
    if (source->remote)
        clock_offset_estimate(&source->clock, now, &offset, &error);
    uint64_t started = entry->started + (uint64_t)offset;
    uint64_t ago = now > started ? now - started : 0;
    if (ago > SLOW_AGE_MAX)
        return;
    uint32_t at = observer->slow_count;
    for (uint32_t i = 0; i < observer->slow_count; i++) {
        const struct slow_request *other = &observer->slow[i];
        if (other->server == source->server && other->entry.correlation == entry->correlation &&
            other->entry.started == entry->started)
            return;
        if (at == observer->slow_count && other->entry.total_ns < entry->total_ns)
            at = i;
    }
    if (at == OBSERVED_SLOW)
        return;
    if (observer->slow_count < OBSERVED_SLOW)
        observer->slow_count++;
    memmove(&observer->slow[at + 1], &observer->slow[at],
            (observer->slow_count - at - 1) * sizeof(observer->slow[0]));
    observer->slow[at] = (struct slow_request){*entry, source->server, ago};
}

static void take_slow(struct observer *observer, struct source *source, uint64_t now)
{
    struct metrics_entry entries[METRICS_SLOW];
    observer->slow_noted += source->reader->header.slow_head;
    int count = source->reader->header.slow_head == 0 ? 0 : metrics_slow_read(source->reader, entries);
    for (int i = 0; i < count; i++)
        if (entries[i].kind == METRICS_SERVED)
            note_slow(observer, source, &entries[i], now);
}

static int take_trace(struct observer *observer, struct source *source, struct map *hot, uint64_t now)
{
    static struct metrics_entry entries[TRACE_BATCH];
    struct watched *watched = watched_of(source);
    uint64_t lost = 0;
    for (;;) {
        int count = metrics_trace_read(source->reader, &watched->position, entries, TRACE_BATCH, &lost);
        for (int i = 0; i < count; i++) {
            observer->traced += entries[i].kind == METRICS_SERVED;
            if (entries[i].kind == METRICS_SERVED && observer->slow_count < OBSERVED_SLOW)
                note_slow(observer, source, &entries[i], now);
            else if (entries[i].kind == METRICS_SERVED &&
                     entries[i].total_ns > observer->slow[OBSERVED_SLOW - 1].entry.total_ns)
                note_slow(observer, source, &entries[i], now);
            if (note_hot(hot, &entries[i]) != 0)
                return -ENOMEM;
        }
        if (count < 0)
            return count;
        if (count == 0 || watched->position >= source->reader->header.trace_head)
            return 0;
    }
}

/* ---- one region ---- */

static int read_totals(struct observer *observer, struct source *source, uint32_t operation)
{
    static uint64_t buckets[HISTOGRAM_BUCKETS];
    struct watched *watched = watched_of(source);
    uint64_t count = watched->since.operations[operation].count;
    int status = metrics_buckets_read(source->reader, operation, STAGE_TOTAL, buckets);
    if (status != 0)
        return status;
    uint64_t *earlier = watched->totals[operation];
    metrics_histogram_add(&observer->operations[operation].total, buckets, earlier, count);
    if (is_own_request(operation, is_server(source)))
        metrics_histogram_add(&watched->all, buckets, earlier, count);
    if (earlier == NULL)
        earlier = watched->totals[operation] = malloc(sizeof(buckets));
    if (earlier == NULL)
        return -ENOMEM;
    memcpy(earlier, buckets, sizeof(buckets));
    return 0;
}

/* Replies are measured of some requests only: their mean is of these. */
static int read_replies(struct observer *observer, struct source *source, uint32_t operation)
{
    static uint64_t buckets[HISTOGRAM_BUCKETS];
    struct watched *watched = watched_of(source);
    if (watched->since.operations[operation].sums[STAGE_REPLY] == 0)
        return 0;
    int status = metrics_buckets_read(source->reader, operation, STAGE_REPLY, buckets);
    uint64_t count = 0;
    for (uint32_t i = 0; status == 0 && i < HISTOGRAM_BUCKETS; i++)
        count += buckets[i];
    if (status == 0) {
        observer->operations[operation].replies += count - watched->replies[operation];
        watched->replies[operation] = count;
    }
    return status;
}

static int read_operations(struct observer *observer, struct source *source)
{
    struct watched *watched = watched_of(source);
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < METRICS_OPERATIONS; i++) {
        const struct metrics_operation *since = &watched->since.operations[i];
        struct metrics_operation *sums = &observer->operations[i].sums;
        /* What servers call is not what clients call. */
        if (since->count == 0 || (is_server(source) && i >= METRICS_CALLED))
            continue;
        if (!is_server(source) && i < METRICS_CALLED)
            continue;
        sums->count += since->count;
        sums->errors += since->errors;
        sums->bytes += since->bytes;
        for (uint32_t stage = 0; stage < METRICS_STAGES; stage++)
            sums->sums[stage] += since->sums[stage];
        if (is_own_request(i, is_server(source))) {
            watched->requests += since->count;
            watched->errors += since->errors;
            watched->bytes += since->bytes;
        }
        status = read_totals(observer, source, i);
        if (status == 0)
            status = read_replies(observer, source, i);
    }
    return status;
}

static int read_partitions(struct source *source, uint64_t *since)
{
    static uint64_t now[METRICS_PARTITIONS];
    struct watched *watched = watched_of(source);
    int status = source->reader->read(source->reader, METRICS_PARTITIONS_AT, now, sizeof(now));
    for (uint32_t i = 0; status == 0 && i < METRICS_PARTITIONS; i++) {
        since[i] += now[i] - watched->partitions[i];
        watched->partitions[i] = now[i];
    }
    return status;
}

static int read_source(struct observer *observer, struct source *source, struct map *hot,
                       uint64_t *partitions)
{
    struct watched *watched = watched_of(source);
    struct metrics_snapshot *now = &watched->now;
    watched->before = *now;
    int status = metrics_snapshot_read(source->reader, now);
    if (status != 0) {
        *now = watched->before;
        return status;
    }
    const struct metrics_header *header = &source->reader->header;
    if (watched->started != header->started_ns) {
        struct metrics_snapshot *read = malloc(sizeof(*read));
        if (read == NULL)
            return -ENOMEM;
        *read = *now;
        watched_forget(watched);
        watched->before = watched->now;
        *now = *read;
        free(read);
        watched->started = header->started_ns;
    }
    /* The region's own clock for what happened since it began. */
    uint64_t begin = watched->before.taken_ns;
    uint64_t end = now->taken_ns;
    if (begin == 0) {
        begin = header->started_ns;
        end = source->remote ? header->updated_ns : end;
    }
    watched->seconds = end > begin ? (double)(end - begin) / NSEC_PER_SEC : 0;
    watched->since = *now;
    metrics_snapshot_subtract(&watched->since, &watched->before);
    histogram_init(&watched->all);
    watched->requests = watched->errors = watched->bytes = 0;
    status = read_operations(observer, source);
    if (status == 0 && is_server(source))
        status = read_partitions(source, partitions);
    if (status == 0 && is_server(source))
        status = client_loads_read(observer, source);
    if (status == 0 && is_server(source)) {
        take_slow(observer, source, observer->taken);
        status = take_trace(observer, source, hot, observer->taken);
    }
    return status;
}

/* ---- all of them ---- */

double watched_busy(const struct watched *watched)
{
    double busy = (double)watched->since.counters[METRIC_LOOP_BUSY];
    double idle = (double)watched->since.counters[METRIC_LOOP_IDLE];
    return busy + idle <= 0 ? 0 : busy / (busy + idle);
}

double watched_waiting(const struct watched *watched)
{
    double wait = (double)watched->since.counters[METRIC_PROCESSOR_WAIT] / NSEC_PER_SEC;
    return watched->seconds <= 0 ? 0 : wait / watched->seconds;
}

struct balance balance_of(const double *values, uint32_t count)
{
    struct balance balance = {0};
    for (uint32_t i = 0; i < count; i++) {
        balance.mean += values[i] / count;
        if (values[i] > balance.maximum)
            balance.maximum = values[i];
    }
    double square = 0;
    for (uint32_t i = 0; i < count; i++)
        square += (values[i] - balance.mean) * (values[i] - balance.mean) / count;
    if (balance.mean > 0) {
        balance.imbalance = balance.maximum / balance.mean;
        balance.variation = sqrt(square) / balance.mean;
    }
    return balance;
}

static int weigh_servers(struct observer *observer)
{
    uint32_t servers = observer->sources.options.count, count = 0;
    double *values = calloc(3 * (size_t)servers + 1, sizeof(*values));
    if (values == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < servers; i++) {
        const struct watched *watched = watched_of(observer->sources.list[i]);
        if (watched == NULL || !watched->fresh)
            continue;
        values[count] = watched->seconds > 0 ? (double)watched->requests / watched->seconds : 0;
        values[servers + count] = watched_busy(watched);
        values[2 * servers + count] = (double)watched->now.counters[METRIC_STORE_USED];
        count++;
    }
    observer->requests = balance_of(values, count);
    observer->busy = balance_of(values + servers, count);
    observer->used = balance_of(values + 2 * servers, count);
    free(values);
    return 0;
}

static void weigh_partitions(struct observer *observer, const uint64_t *partitions)
{
    uint64_t sum = 0, most = 0;
    observer->partitions_used = 0;
    for (uint32_t i = 0; i < METRICS_PARTITIONS; i++) {
        sum += partitions[i];
        observer->partitions_used += partitions[i] != 0;
        if (partitions[i] > most) {
            most = partitions[i];
            observer->partition_hottest = i;
        }
    }
    observer->partition_share = sum == 0 ? 0 : (double)most / (double)sum;
}

/* Those of earlier readings stay until they are a minute old. */
static void age_slow(struct observer *observer, uint64_t passed)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < observer->slow_count; i++) {
        struct slow_request *slow = &observer->slow[i];
        slow->ago += passed;
        if (slow->ago <= SLOW_AGE_MAX)
            observer->slow[kept++] = *slow;
    }
    observer->slow_count = kept;
}

static void begin_sample(struct observer *observer)
{
    uint64_t now = clock_now();
    observer->again = observer->taken != 0;
    age_slow(observer, now - observer->taken);
    observer->taken = now;
    observer->traced = 0;
    observer->slow_noted = 0;
    observer->load_count = 0;
    for (uint32_t i = 0; i < METRICS_OPERATIONS; i++) {
        if (observer->operations[i].sums.count == 0 && observer->operations[i].total.minimum != 0)
            continue; /* still empty */
        observer->operations[i].sums = (struct metrics_operation){0};
        observer->operations[i].replies = 0;
        histogram_init(&observer->operations[i].total);
    }
}

/* Whoever looks is not part of the picture. */
static bool is_me(const struct source *source)
{
    return !is_server(source) && source->reader->header.pid == (uint32_t)getpid();
}

int observer_sample(struct observer *observer)
{
    struct map hot;
    uint64_t *partitions = calloc(METRICS_PARTITIONS, sizeof(*partitions));
    map_init(&hot);
    int result = partitions == NULL ? -ENOMEM : sources_refresh(&observer->sources);
    begin_sample(observer);
    for (uint32_t i = 0; result == 0 && i < observer->sources.count; i++) {
        struct source *source = observer->sources.list[i];
        if (source->own == NULL)
            source->own = calloc(1, sizeof(struct watched));
        struct watched *watched = watched_of(source);
        if (watched == NULL) {
            result = -ENOMEM;
            break;
        }
        watched->fresh = false;
        if (source->reader == NULL || source->ended || is_me(source))
            continue;
        source->status = read_source(observer, source, &hot, partitions);
        watched->fresh = source->status == 0;
    }
    take_hottest(observer, &hot);
    client_loads_sort(observer);
    if (result == 0)
        result = weigh_servers(observer);
    if (result == 0)
        weigh_partitions(observer, partitions);
    free(partitions);
    return result;
}

/* The phase `build` computes who owns every partition, again and again: the time of one is that of making a
 * cluster map. Outside of it, what the strategy is like:
 *
 *   max_mean, min_mean, deviation  partitions of a server, as multiples of the mean; idle: servers without
 * any join_moved, leave_moved        share of the partitions that change owner when a server joins or leaves,
 * and join_excess, leave_excess      as a multiple of what must: those of the server map_bytes what a client
 * fetches lookup_ns                      from a name's hash to its owner in the map owner_ns build, for each
 * partition: what an owner costs without a map
 *
 * Of these only times differ between repeats. Where a strategy does not work with a hash function (cluster/
 * strategy.h) there is no result; round_robin hashes nothing and is measured with the first function. */
#include "bench/ring.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "bench/spread.h"
#include "cluster/map.h"

#define SERVERS_MAX 16384u
#define LOOKUPS 4000000u
#define BUILDS_MAX 100000u

static const struct suite_phase phases[] = {{.name = "build"}, {0}};
static const char *const lists[] = {"ring", "consistent,bounded,rendezvous,modulo,round_robin", "servers",
                                    "1,4,16,64,256,1024,4096", NULL};

static const char *strategy_option = "consistent", *function_option = "xxhash64";
static uint64_t servers = 4, duration = UINT64_C(20000000);
static const char *first_function;

static const struct bench_option options[] = {
    {"ring", BENCH_TEXT, &strategy_option, 0, 0, "NAME",
     "consistent, bounded, rendezvous, modulo or round_robin"},
    {"hash", BENCH_TEXT, &function_option, 0, 0, "NAME", "xxhash64, murmur3, md5 or koyama [xxhash64]"},
    {"servers", BENCH_NUMBER, &servers, 1, SERVERS_MAX, "N", "servers"},
    {"time", BENCH_DURATION, &duration, 0, UINT64_C(3600000000000), "TIME",
     "how long to build at least; once, if that takes longer"},
    {0},
};

struct found {
    struct spread spread;                   /* over servers */
    uint32_t join_moved, leave_moved, left; /* partitions; left: those of the server that leaves */
    uint64_t map_bytes;
    double lookup_ns;
};

/* What all steps of a run work on. */
struct trial {
    enum ring_strategy strategy;
    enum hash_function function;
    uint32_t count;
    uint32_t ids[SERVERS_MAX + 1];
    uint16_t owner[PARTITION_COUNT];
};

static int assign(const struct trial *trial, const uint32_t *ids, uint32_t count, uint16_t *owner)
{
    return strategy_assign(trial->strategy, trial->function, ids, count, owner);
}

static int build(struct suite_member *member, struct trial *trial)
{
    struct crew_part *part = crew_phase(member->crew, 0);
    if (part == NULL)
        return -ECANCELED;
    uint64_t begin = crew_now(), before = begin;
    int status = 0;
    while (status == 0 && part->operations < BUILDS_MAX) {
        status = assign(trial, trial->ids, trial->count, trial->owner);
        uint64_t now = crew_now();
        histogram_record(&part->latency, now - before);
        part->operations++;
        if (now - begin >= duration)
            break;
        before = now;
    }
    crew_phase_end(member->crew, 0);
    return status;
}

/* How many partitions have another owner than before. */
static int count_moved(const struct trial *trial, const uint32_t *ids, uint32_t count, uint32_t *moved)
{
    uint16_t after[PARTITION_COUNT];
    int status = assign(trial, ids, count, after);
    *moved = 0;
    for (uint32_t i = 0; i < PARTITION_COUNT && status == 0; i++)
        *moved += trial->ids[trial->owner[i]] != ids[after[i]];
    return status;
}

/* One more server; and without the one in the middle. */
static int measure_movement(const struct trial *trial, struct found *found)
{
    uint32_t *rest = malloc(trial->count * sizeof(*rest)), remaining = 0, leaving = trial->count / 2;
    if (rest == NULL)
        return -ENOMEM;
    int status = count_moved(trial, trial->ids, trial->count + 1, &found->join_moved);
    for (uint32_t i = 0; i < trial->count; i++) {
        if (i != leaving)
            rest[remaining++] = trial->ids[i];
    }
    for (uint32_t i = 0; i < PARTITION_COUNT; i++)
        found->left += trial->owner[i] == leaving;
    if (status == 0 && remaining > 0)
        status = count_moved(trial, rest, remaining, &found->leave_moved);
    free(rest);
    return status;
}

static int measure_spread(const struct trial *trial, struct found *found)
{
    uint32_t *counts = calloc(trial->count + 1, sizeof(*counts));
    if (counts == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < PARTITION_COUNT; i++)
        counts[trial->owner[i]]++;
    spread_measure(counts, trial->count, &found->spread);
    free(counts);
    return 0;
}

static double measure_lookups(const struct cluster_map *map)
{
    enum { POOL = 4096 };
    uint64_t hashes[POOL], sum = 0;
    struct random random;
    random_seed(&random, 1);
    for (uint32_t i = 0; i < POOL; i++)
        hashes[i] = random_next(&random);
    uint64_t begin = crew_now();
    for (uint32_t i = 0; i < LOOKUPS; i++)
        sum += cluster_map_owner(map, hash_partition(hashes[i % POOL]));
    uint64_t elapsed = crew_now() - begin;
    __asm__ volatile("" : : "r"(sum)); /* somebody wants to know */
    return (double)elapsed / LOOKUPS;
}

static int measure_map(const struct trial *trial, struct found *found)
{
    struct cluster_server *members = calloc(trial->count, sizeof(*members));
    struct cluster_map *map = NULL;
    struct buffer encoded;
    if (members == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < trial->count; i++) {
        members[i].id = trial->ids[i];
        snprintf(members[i].address, sizeof(members[i].address), "node%04u:40000", i);
    }
    int status = cluster_map_create(1, members, trial->count, &map);
    free(members);
    if (status == 0)
        status = cluster_map_assign(map, trial->strategy, trial->function);
    if (status == 0) {
        buffer_init(&encoded);
        cluster_map_encode(map, &encoded);
        found->map_bytes = encoded.length;
        status = encoded.failed ? -ENOMEM : 0;
        buffer_free(&encoded);
        found->lookup_ns = measure_lookups(map);
    }
    cluster_map_destroy(map);
    return status;
}

static int run_trial(struct suite_member *member, struct trial *trial)
{
    struct found *found = member->shared;
    int status = build(member, trial);
    if (status == 0)
        status = measure_movement(trial, found);
    if (status == 0)
        status = measure_spread(trial, found);
    if (status == 0)
        status = measure_map(trial, found);
    if (status == -ENOMEM)
        bench_error("out of memory");
    return status;
}

static int run(struct suite_member *member)
{
    enum ring_strategy strategy = (enum ring_strategy)strategy_from_name(strategy_option);
    enum hash_function function = (enum hash_function)hash_function_from_name(function_option);
    if (strategy_check(strategy, function) != 0 ||
        (strategy == RING_ROUND_ROBIN && strcmp(function_option, first_function) != 0))
        return 0;
    struct trial *trial = calloc(1, sizeof(*trial));
    if (trial == NULL)
        return -ENOMEM;
    trial->strategy = strategy;
    trial->function = function;
    trial->count = (uint32_t)servers;
    for (uint32_t i = 0; i <= trial->count; i++)
        trial->ids[i] = i;
    int status = run_trial(member, trial);
    free(trial);
    return status;
}

static int check(void)
{
    int strategy = strategy_from_name(strategy_option), function = hash_function_from_name(function_option);
    if (strategy < 0) {
        bench_error("option --ring takes consistent, bounded, rendezvous, modulo or round_robin, not \"%s\"",
                    strategy_option);
        return BENCH_USAGE;
    }
    if (function < 0) {
        bench_error("option --hash takes xxhash64, murmur3, md5 or koyama, not \"%s\"", function_option);
        return BENCH_USAGE;
    }
    if (first_function == NULL)
        first_function = function_option;
    return 0;
}

static void describe(uint32_t phase, const void *shared, struct result *result)
{
    const struct found *found = shared;
    (void)phase;
    if (strcmp(strategy_option, strategy_name(RING_ROUND_ROBIN)) == 0)
        result_drop_parameter(result, "hash");
    result_measure(result, "max_mean", found->spread.most_of_mean);
    result_measure(result, "min_mean", found->spread.least_of_mean);
    result_measure(result, "deviation", found->spread.deviation);
    result_measure(result, "idle", found->spread.empty);
    result_measure(result, "join_moved", (double)found->join_moved / PARTITION_COUNT);
    result_measure(result, "join_excess",
                   (double)found->join_moved * (double)(servers + 1) / PARTITION_COUNT);
    result_measure(result, "leave_moved", (double)found->leave_moved / PARTITION_COUNT);
    if (found->left > 0 && servers > 1)
        result_measure(result, "leave_excess", (double)found->leave_moved / found->left);
    result_measure(result, "map_bytes", (double)found->map_bytes);
    result_measure(result, "lookup_ns", found->lookup_ns);
    if (result->operation_rate.median > 0.0)
        result_measure(result, "owner_ns", 1e9 / result->operation_rate.median / PARTITION_COUNT);
}

const struct suite_workload bench_ring = {
    .name = "ring",
    .help = "Giving partitions to servers: balance, movement, cost, by strategy",
    .options = options,
    .lists = lists,
    .phases = phases,
    .subject = "ring",
    .serial = true,
    .shared_size = sizeof(struct found),
    .check = check,
    .run = run,
    .describe = describe,
};

/* What each level of durability promises, with several clients on several servers whose power fails.
 *
 * Workload and model are those of the crash matrix (tests/crash/): each client owns files, and names in
 * directories that all share, and logs its calls; what was promised before the failure has to be there
 * afterwards, what was not may be there or not, byte by byte, and nothing else. Here the devices are
 * simulated: what was not synchronised is kept, lost or torn; a failure may come at any write; and what is
 * wrong happens again under the same seed.
 *
 * A run is a history of failures on the same devices, one of five kinds each. At one point of one server, or
 * after some time, the power fails of all servers, or all are killed, or one loses its power and the others
 * are killed, or it alone fails and the others serve on and end in good order; or all end in good order. The
 * servers then start again, and besides the model a check of the whole file system (client/check.h) has to
 * find nothing, or what the level allows for: then it is mended. At last all is removed, and the servers hold
 * nothing. */
#include "library.h"
#include "seeds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "client/check.h"
#include "crash/history.h"
#include "crash/verify.h"
#include "crash/workload.h"

#define ROUNDS 4
#define POINTS_MAX 600u /* of one server in a round; fewer are more likely */
#define DEADLINE SECOND
#define DEVICES 2u /* of a server */
#define CAPACITY (256u << 20)
#define CAPACITY_MAPPED (64u << 20) /* all of it is looked through at every end */
/* The time that a group of changes takes, and the one before it that it waits for. */
#define GROUPS (30 * MILLISECOND)
#define TIERED_LATER (500 * MILLISECOND) /* the engine tiered has bytes in memory alone for so long */

enum ending { ALL_POWERLESS, ALL_KILLED, ONE_POWERLESS, ONE_FAILS, IN_GOOD_ORDER, ENDINGS };

/* What the servers keep their chunks in; of tiered with the two engines that it consists of. */
struct storage {
    const char *engine, *fast, *slow;
    bool apart; /* the upper engine has devices of its own */
};
/* In the order of seeds: those that have found something find it again. */
static const struct storage storages[] = {
    {"file", NULL, NULL, false},        {"uring", NULL, NULL, false},
    {"tiered", "uring", "file", false}, {"tiered", "mem", "file", false},
    {"pmem", NULL, NULL, false},        {"tiered", "mem", "uring", false},
    {"tiered", "file", "uring", false}, {"uring", NULL, NULL, false},
    {"tiered", "uring", "uring", true}, {"tiered", "pmem", "uring", false},
    {"uring", NULL, NULL, false},       {"tiered", "pmem", "file", true},
    {"tiered", "mem", "pmem", false},   {"tiered", "uring", "file", true},
    {"tiered", "uring", "file", false}, {"tiered", "file", "file", true},
    {"tiered", "uring", "pmem", false},
};
#define STORAGES (sizeof storages / sizeof storages[0])

static struct {
    struct disk_sim_device *devices[DEVICES][CLUSTER_SERVERS_MAX]; /* 1: upper engines' */
    struct history *history;
    struct random random;
    uint64_t seed;
    const struct storage *storage;
    enum durability durability;
    uint32_t servers;
    unsigned round;
    enum ending ending;
    uint32_t victim;
    bool stopped;
    uint64_t now; /* virtual time at which the last life ended */
    struct rules rules;
    uint64_t findings[CHECK_KINDS];
} promises;

static bool has_engine(const struct storage *storage, const char *engine)
{
    return strcmp(storage->engine, engine) == 0 ||
           (storage->fast != NULL &&
            (strcmp(storage->fast, engine) == 0 || strcmp(storage->slow, engine) == 0));
}

static uint64_t below(uint64_t bound)
{
    return random_below(&promises.random, bound);
}

static uint64_t interval(void)
{
    return promises.durability == DURABILITY_INTERVAL ? 20 * MILLISECOND : SECOND;
}

/* ---- clients ---- */

static void prepare(struct worker *worker)
{
    library_connect_as(worker);
    if (workload_prepare() != 0)
        cluster_fail(worker->cluster, "the directories");
}

static void work(struct worker *worker)
{
    uint64_t pause = promises.durability == DURABILITY_INTERVAL ? 2 * MILLISECOND : 0;
    library_connect_as(worker);
    if (workload_run(promises.history, worker->number, random_next(&worker->random), pause) != 0)
        cluster_fail(worker->cluster, "a call failed while all servers were well");
}

/* ---- the failure ---- */

static void fail(struct cluster *cluster)
{
    atomic_store(&promises.history->killing, true);
    if (promises.ending == ONE_FAILS)
        cluster_power_off_server(cluster, promises.victim);
    else if (promises.ending != IN_GOOD_ORDER)
        cluster_power_off(cluster);
}

/* Ends the round: at the point where the victim stops, or after some time. */
static void end(struct worker *worker)
{
    struct cluster *cluster = worker->cluster;
    const uint64_t look = 100 * MICROSECOND;
    uint64_t longest = promises.durability == DURABILITY_INTERVAL ? 400 * MILLISECOND : 200 * MILLISECOND;
    if (promises.rules.age_ns > longest && below(2) == 0)
        longest = 2 * promises.rules.age_ns;
    uint64_t until = loop_now(cluster->loop) + below(longest + 100 * cluster->weather.delay_max_ns);
    while (!promises.stopped && loop_now(cluster->loop) < until && !cluster->failed)
        task_sleep(cluster->loop, look);
    promises.rules.crash = loop_now(cluster->loop) - (promises.stopped ? look : 0);
    if (promises.ending == IN_GOOD_ORDER)
        atomic_store(&promises.history->ending, true);
    else if (below(2) == 0)
        task_sleep(cluster->loop, below(below(3) > 0 ? 3 * MILLISECOND : 3 * DEADLINE));
    fail(cluster);
    if (promises.ending == ONE_FAILS)
        task_sleep(cluster->loop, below(below(6) > 0 ? 100 * MILLISECOND : 12 * SECOND));
    atomic_store(&promises.history->ending, true);
}

static struct disk_sim_device *victim_device(void)
{
    return promises.devices[promises.storage->apart ? below(2) : 0][promises.victim];
}

/* At which a change lasts, however little is asked of it; 0: at none. */
static uint64_t lasting_age(void)
{
    bool later = promises.storage->fast != NULL && strcmp(promises.storage->fast, "mem") == 0;
    return promises.durability == DURABILITY_NONE ? 0 : interval() + GROUPS + (later ? TIERED_LATER : 0);
}

static void choose_ending(bool last)
{
    promises.ending = last ? ALL_POWERLESS : (enum ending)below(ENDINGS);
    promises.victim = (uint32_t)below(promises.servers);
    promises.stopped = false;
    promises.rules = (struct rules){
        .level = (enum level)promises.durability,
        .age_ns = lasting_age(),
        .clean = promises.ending == IN_GOOD_ORDER,
        .all = true,
        .seed = random_next(&promises.random),
    };
    atomic_store(&promises.history->killing, false);
    atomic_store(&promises.history->ending, false);
    if (promises.ending != IN_GOOD_ORDER) {
        struct disk_sim_device *device = victim_device();
        disk_sim_stop_at(device, disk_sim_points(device) + below(1 + below(POINTS_MAX)), &promises.stopped);
    }
}

/* ---- afterwards ---- */

/* Between several servers: a new directory that nobody has synchronised may be lost, and names in it not.
 * Without any promise a removal or a truncation may be lost at one server only: at that of the name, or of
 * some chunks. */
static bool is_legal(const struct check_finding *finding)
{
    if (promises.servers == 1)
        return false;
    if (finding->kind == CHECK_NO_DIRECTORY)
        return promises.durability == DURABILITY_INTERVAL;
    return (finding->kind == CHECK_ORPHAN_CHUNKS || finding->kind == CHECK_BYTES_BEYOND) &&
           promises.durability == DURABILITY_NONE;
}

static void report(void *owner, const struct check_finding *finding)
{
    struct cluster *cluster = owner;
    promises.findings[finding->kind]++;
    if (!is_legal(finding))
        cluster_fail(cluster,
                     "check: kind %d of inode %llx, \"%s\" in %llx, path %s, found %llx, expected %llx",
                     (int)finding->kind, (unsigned long long)finding->inode,
                     finding->name_length > 0 ? finding->name : "", (unsigned long long)finding->directory,
                     finding->path != NULL ? finding->path : "unknown", (unsigned long long)finding->found,
                     (unsigned long long)finding->expected);
}

static void mend(struct worker *worker)
{
    struct cluster *cluster = worker->cluster;
    struct check_options options = {.repair = true, .report = report, .owner = cluster};
    struct check_result result = {0};
    int status = client_check(worker->client, &options, &result);
    if (status != 0 || result.left > 0)
        cluster_fail(cluster, "repair: %s, %llu left", status_text(status), (unsigned long long)result.left);
    if (!cluster->failed && result.findings > 0)
        cluster_check_clean(cluster, worker->client, false);
}

static void compare(struct worker *worker)
{
    library_connect_as(worker);
    if (verify(promises.history, &promises.rules) != 0)
        cluster_fail(worker->cluster, "what is there is not what was promised: see above");
}

static void remove_all(struct worker *worker)
{
    library_connect_as(worker);
    if (workload_remove_all(promises.history) != 0)
        cluster_fail(worker->cluster, "not everything can be removed");
    library_forget();
    cluster_remove_lost(worker);
}

/* ---- one life of the servers ---- */

static void phase(struct cluster *cluster, void (*run)(struct worker *worker), uint32_t workers)
{
    for (uint32_t i = 0; i < workers; i++)
        cluster_worker(cluster, i, run, NULL);
    if (!cluster->failed)
        cluster_run(cluster, 3600 * SECOND);
}

static void work_until_failure(struct cluster *cluster)
{
    choose_ending(promises.round + 1 == ROUNDS);
    for (uint32_t i = 0; i < CLIENTS; i++)
        cluster_worker(cluster, i, work, NULL);
    cluster_worker(cluster, CLIENTS, end, NULL);
    cluster_run(cluster, 3600 * SECOND);
    library_forget();
}

static void open_servers(struct cluster *cluster)
{
    struct cluster_options options = {
        .seed = promises.seed + promises.round * UINT64_C(7919),
        .servers = promises.servers,
        .clients = CLIENTS / 2,
        .deadline_ns = DEADLINE,
        .engine = promises.storage->engine,
        .fast = promises.storage->fast,
        .slow = promises.storage->slow,
        .devices = promises.devices[0],
        .fast_devices = promises.storage->apart ? promises.devices[1] : NULL,
        .durability = promises.durability,
        .interval_ns = interval(),
        .start_ns = promises.now,
        .store_capacity = has_engine(promises.storage, "pmem") ? CAPACITY_MAPPED : CAPACITY,
    };
    cluster_open(cluster, &options);
    library_expect(&promises.stopped, &promises.history->killing);
}

static void close_servers(struct cluster *cluster)
{
    promises.now = loop_now(cluster->loop);
    cluster_close(cluster);
    bool lose = promises.ending != ALL_KILLED && promises.ending != IN_GOOD_ORDER;
    for (uint32_t i = 0; i < promises.servers; i++) {
        for (uint32_t j = 0; j < DEVICES; j++)
            disk_sim_stop_at(promises.devices[j][i], UINT64_MAX, NULL);
        for (uint32_t j = 0; j < DEVICES && lose; j++)
            if (promises.ending == ALL_POWERLESS || i == promises.victim)
                disk_sim_power_loss(promises.devices[j][i], &promises.random);
    }
}

static void life(struct cluster *cluster)
{
    open_servers(cluster);
    if (!cluster->failed && promises.round == 0)
        phase(cluster, prepare, 1);
    if (!cluster->failed && promises.round > 0) {
        phase(cluster, compare, 1);
        phase(cluster, mend, 1);
    }
    if (!cluster->failed && promises.round < ROUNDS)
        work_until_failure(cluster);
    if (!cluster->failed && promises.round == ROUNDS) {
        phase(cluster, remove_all, 1);
        if (!cluster->failed)
            cluster_rest(cluster, SECOND);
        if (!cluster->failed)
            cluster_check_empty(cluster);
        promises.ending = IN_GOOD_ORDER;
    }
    close_servers(cluster);
}

static void run_all(uint64_t seed, uint32_t servers, enum durability durability, struct outcome *outcome)
{
    static struct cluster cluster;
    static const char *const endings[] = {"power failure of all", "kill of all",
                                          "power failure of one, kill of others", "power failure of one",
                                          "regular end"};
    memset(&promises, 0, sizeof promises);
    random_seed(&promises.random, seed);
    promises.seed = seed;
    promises.servers = servers;
    promises.durability = durability;
    promises.storage = &storages[seed % STORAGES];
    if (has_engine(promises.storage, "pmem") && store_engine("pmem") == NULL)
        promises.storage = &storages[0]; /* it is not in this build */
    promises.history = history_create();
    if (promises.history == NULL)
        abort();
    /* Without any promise, servers do not wait for each other. */
    promises.history->within_servers = durability == DURABILITY_NONE && servers > 1;
    for (uint32_t i = 0; i < DEVICES * servers; i++)
        if (disk_sim_device_create(
                &(struct disk_sim_options){.latency_ns = 200 * MICROSECOND, .direct = true},
                &promises.devices[i / servers][i % servers]) != 0)
            abort();
    for (promises.round = 0; promises.round <= ROUNDS && !outcome->failed; promises.round++) {
        enum ending before = promises.ending;
        life(&cluster);
        outcome->operations += cluster.operations;
        outcome->failed = cluster.failed;
        if (cluster.failed)
            snprintf(outcome->failure, sizeof outcome->failure,
                     "%s %s%s%s, round %u, after %s (server %u): %.900s", promises.storage->engine,
                     promises.storage->fast != NULL ? promises.storage->fast : "",
                     promises.storage->slow != NULL ? " over " : "",
                     promises.storage->slow != NULL ? promises.storage->slow : "", promises.round,
                     promises.round > 0 ? endings[before] : "the start", promises.victim, cluster.failure);
    }
    outcome->operations += promises.history->acknowledged;
    for (uint32_t i = 0; i < DEVICES * servers; i++)
        disk_sim_device_destroy(promises.devices[i / servers][i % servers]);
    history_destroy(promises.history);
}

static void run_interval(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    run_all(seed, servers, DURABILITY_INTERVAL, outcome);
}

static void run_close(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    run_all(seed, servers, DURABILITY_CLOSE, outcome);
}

static void run_write(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    run_all(seed, servers, DURABILITY_WRITE, outcome);
}

static void run_none(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    run_all(seed, servers, DURABILITY_NONE, outcome);
}

int main(int argc, char **argv)
{
    static const struct sim_case cases[] = {
        {"durability write", run_write, {1, 3}},
        {"durability close", run_close, {1, 3}},
        {"durability interval", run_interval, {1, 3}},
        {"durability none", run_none, {1, 3}},
    };
    static const uint64_t seeds[] = {1, 2, 7, 10, 14, 155, 7000033, 7000093, 7200152};
    return SIM_MAIN(argc, argv, cases, seeds);
}

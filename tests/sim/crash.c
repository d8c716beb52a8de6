/* The power fails: at one write point of a small workload after the other, all servers lose everything that
 * was not synchronised, and torn sectors remain of what was under way. They start again from their devices.
 *
 * Under durability = write, what was acknowledged must be there: the namespace is exactly that after the last
 * operation, or, as to the one that was cut off, as if it had happened; bytes and size of a file that was
 * being written lie between the two. Then everything is removed, and the servers hold nothing: no crash leaks
 * an inode, an entry or a chunk. A clean restart after that finds the same.
 *
 * Or one call on a device fails (a write perhaps after some of its bytes), one call after the other: the
 * operation that meets it may fail, no earlier one is harmed, nothing waits for ever, and after a restart,
 * for which the device is well again, the same must hold.
 *
 * The devices stop one by one: the victim's at the point, the others' when the client sees that an operation
 * fails, as in a cluster whose hosts do not die in the same instant. Every second time it is not the power
 * that fails but the processes that are killed: what they have written stays. */
#include "region.h"
#include "seeds.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "client/check.h"

#define STEPS 40
#define CAPACITY_MAPPED (8u << 20) /* all of it is looked through at every end */
#define POINTS_MAX 25              /* of a case; a workload has some hundreds, which its seeds share */

static struct {
    struct disk_sim_device *devices[CLUSTER_SERVERS_MAX];
    uint64_t points[CLUSTER_SERVERS_MAX]; /* that the workload has */
    uint32_t servers;
    const char *engine, *fast, *slow;
    bool mapped; /* by pmem */
    bool stopped;
    bool faults;    /* calls fail, in place of the power */
    uint64_t calls; /* to go until one fails */
    struct region region;
    struct model before; /* before the last operation */
    bool has_before;
    uint64_t now; /* virtual time at which the last life ended */
} crash;

/* ---- the workload ---- */

static void remember(void)
{
    if (crash.has_before)
        model_destroy(&crash.before);
    model_copy(&crash.region.model, &crash.before, NULL, 0);
    crash.has_before = true;
}

static void begin(struct worker *worker)
{
    struct region *region = &crash.region;
    if (region_create(region, worker, 0) != 0) {
        cluster_fail(worker->cluster, "no memory");
        return;
    }
    region_begin(region);
}

static void work(struct worker *worker)
{
    struct region *region = &crash.region;
    region->worker = worker;
    region->random = &worker->random;
    region->powerless = &crash.stopped;
    for (uint32_t i = 0; i < STEPS && !crash.stopped && !worker->cluster->failed; i++) {
        remember();
        region_step(region);
    }
}

/* ---- afterwards ---- */

/* Whether the file system is like the model of that number: 0 without the last operation, 1 with it. */
static bool is_like(struct worker *worker, unsigned number)
{
    struct cluster *cluster = worker->cluster;
    struct region region;
    if (region_create(&region, worker, 0) != 0) {
        cluster_fail(cluster, "no memory");
        return false;
    }
    model_destroy(&region.model);
    model_copy(number == 0 ? &crash.before : &crash.region.model, &region.model, NULL, 0);
    region.alone = true;
    region.mixed = number == 0 ? &crash.region.model : &crash.before;
    region_verify(&region, worker->client);
    bool same = !cluster->failed;
    if (same) {
        region_remove(&region);
        if (cluster->failed)
            cluster_fail(cluster, "removing");
    }
    region_destroy(&region);
    return same;
}

static void verify(struct worker *worker)
{
    struct cluster *cluster = worker->cluster;
    char first[sizeof cluster->failure];
    if (is_like(worker, 0))
        return;
    memcpy(first, cluster->failure, sizeof first);
    cluster->failed = false;
    if (is_like(worker, 1))
        return;
    char second[400];
    snprintf(second, sizeof second, "%.399s", cluster->failure);
    cluster->failed = false;
    cluster_fail(cluster, "neither as before the last operation (%.400s) nor as after it (%s)", first,
                 second);
}

/* ---- one crash ---- */

static struct cluster_options options_of(uint64_t seed)
{
    return (struct cluster_options){
        .seed = seed,
        .servers = crash.servers,
        .clients = 2,
        .deadline_ns = SECOND,
        .engine = crash.engine,
        .fast = crash.fast,
        .slow = crash.slow,
        .store_capacity = crash.mapped ? CAPACITY_MAPPED : 0,
        .devices = crash.devices,
        .durability = DURABILITY_WRITE,
        .start_ns = crash.now,
    };
}

static void phase(struct cluster *cluster, void (*run)(struct worker *worker))
{
    cluster_worker(cluster, 0, run, NULL);
    cluster_run(cluster, 3600 * SECOND);
}

/* The device fails once. */
static int fault(void *owner, const char *what, const char *name, uint64_t offset, size_t *length)
{
    (void)name;
    (void)offset;
    uint32_t victim = *(const uint32_t *)owner;
    crash.points[victim]++;
    if (crash.calls == 0 || --crash.calls != 0)
        return 0;
    crash.stopped = true;
    if (strcmp(what, "write") == 0 && crash.points[victim] % 2 == 0) {
        *length /= 2;
        return 0;
    }
    return crash.points[victim] % 3 == 0 ? -ENOSPC : -EIO;
}

static void arm(struct cluster *cluster, uint32_t victim, uint64_t point)
{
    static const uint32_t numbers[CLUSTER_SERVERS_MAX] = {0, 1, 2, 3, 4};
    crash.calls = 0;
    if (!crash.faults && point != UINT64_MAX)
        disk_sim_stop_at(crash.devices[victim], disk_sim_points(crash.devices[victim]) + point,
                         &crash.stopped);
    for (uint32_t i = 0; i < crash.servers && crash.faults; i++)
        disk_set_fault(cluster->disks[i], fault, (void *)(uintptr_t)&numbers[i]);
    memset(crash.points, 0, sizeof crash.points);
    if (crash.faults && point != UINT64_MAX)
        crash.calls = point + 1; /* of all devices together */
}

static void first_life(struct cluster *cluster, uint64_t seed, uint32_t victim, uint64_t point)
{
    crash.now = 0;
    crash.stopped = false;
    struct cluster_options options = options_of(seed);
    cluster_open(cluster, &options);
    if (!cluster->failed)
        phase(cluster, begin);
    if (!cluster->failed)
        arm(cluster, victim, point);
    uint64_t before[CLUSTER_SERVERS_MAX];
    for (uint32_t i = 0; i < crash.servers; i++)
        before[i] = disk_sim_points(crash.devices[i]);
    if (!cluster->failed)
        phase(cluster, work);
    for (uint32_t i = 0; i < crash.servers && !crash.faults; i++)
        crash.points[i] = disk_sim_points(crash.devices[i]) - before[i];
    if (point != UINT64_MAX && !crash.faults)
        cluster_power_off(cluster);
    for (uint32_t i = 0; i < crash.servers && crash.faults && cluster->disks[i] != NULL; i++)
        disk_set_fault(cluster->disks[i], NULL, NULL);
    crash.now = loop_now(cluster->loop);
    cluster_close(cluster);
}

static void look(struct worker *worker)
{
    cluster_check_clean(worker->cluster, worker->client, true);
}

/* What a fault on one of several servers leaves: an operation that needs them all was done by some, which
 * serve on, so that nobody goes back. Legal is what nobody can reach: bytes that a write did not come to
 * account for; chunks of a removed file on a server that was not told; an inode that was made for a name
 * which the server that failed did not come to record; and a link count that is higher than the number of
 * names, since it goes up before a name is made and down after one is removed. What can be reached has to fit
 * together. */
static bool is_legal(const struct check_finding *finding)
{
    return finding->kind == CHECK_BYTES_BEYOND;
}

static void report_leftover(void *owner, const struct check_finding *finding)
{
    struct cluster *cluster = owner;
    if (!is_legal(finding))
        cluster_fail(cluster, "check after a fault: finding %d of inode %llx, \"%s\"", (int)finding->kind,
                     (unsigned long long)finding->inode, finding->name_length > 0 ? finding->name : "");
}

/* Mends it; then nothing is left. */
static void mend(struct worker *worker)
{
    struct cluster *cluster = worker->cluster;
    struct check_options options = {.repair = true, .report = report_leftover, .owner = cluster};
    struct check_result result = {0};
    int status = client_check(worker->client, &options, &result);
    if (status != 0 || result.left > 0)
        cluster_fail(cluster, "repair after a fault: %s, %llu left", status_text(status),
                     (unsigned long long)result.left);
    if (!cluster->failed)
        cluster_check_clean(cluster, worker->client, false);
    if (!cluster->failed)
        cluster_remove_lost(worker);
}

static void second_life(struct cluster *cluster, uint64_t seed)
{
    struct cluster_options options = options_of(seed);
    bool mends = crash.faults && crash.servers > 1;
    cluster_open(cluster, &options);
    if (!cluster->failed)
        phase(cluster, mends ? mend : look);
    if (!cluster->failed)
        phase(cluster, verify);
    if (!cluster->failed)
        cluster_rest(cluster, SECOND);
    /* A chunk on a server where the file's layout has none is found once the file is gone. */
    if (!cluster->failed && mends)
        phase(cluster, mend);
    if (!cluster->failed)
        cluster_check_empty(cluster);
    cluster_close(cluster);
}

static void third_life(struct cluster *cluster, uint64_t seed)
{
    struct cluster_options options = options_of(seed);
    cluster_open(cluster, &options);
    if (!cluster->failed)
        cluster_check_empty(cluster);
    cluster_close(cluster);
}

static bool good(const struct cluster *cluster, struct outcome *outcome, const char *when, uint32_t victim,
                 uint64_t point)
{
    outcome->operations += cluster->operations;
    if (cluster->failed && !outcome->failed) {
        outcome->failed = true;
        snprintf(outcome->failure, sizeof outcome->failure,
                 "%s (tiered: %s over %s), %s, server %u stopped at point %lld: %.900s", crash.engine,
                 crash.fast, crash.slow, when, victim, (long long)point, cluster->failure);
    }
    return !cluster->failed;
}

static void run_one(uint64_t seed, uint32_t victim, uint64_t point, struct outcome *outcome)
{
    static struct cluster cluster;
    struct random random;
    random_seed(&random, seed ^ (point * 31 + victim));
    for (uint32_t i = 0; i < crash.servers; i++)
        if (disk_sim_device_create(
                &(struct disk_sim_options){.latency_ns = 200 * MICROSECOND, .direct = true},
                &crash.devices[i]) != 0)
            abort();
    first_life(&cluster, seed, victim, point);
    if (good(&cluster, outcome, "before the crash", victim, point)) {
        bool power = !crash.faults && random_below(&random, 2) == 0;
        for (uint32_t i = 0; i < crash.servers && power; i++)
            disk_sim_power_loss(crash.devices[i], &random);
        second_life(&cluster, seed);
        if (good(&cluster, outcome,
                 crash.faults ? "after a fault"
                 : power      ? "after a power failure"
                              : "after a kill",
                 victim, point)) {
            third_life(&cluster, seed);
            good(&cluster, outcome, "after another restart", victim, point);
        }
    }
    if (crash.has_before)
        model_destroy(&crash.before);
    crash.has_before = false;
    if (crash.region.cluster != NULL)
        region_discard(&crash.region);
    crash.region = (struct region){0};
    for (uint32_t i = 0; i < crash.servers; i++)
        disk_sim_device_destroy(crash.devices[i]);
}

/* By the seed: what the engine tiered consists of, and whose devices fail. Those that have found something
 * find it again. */
struct choice {
    const char *fast, *slow;
    const char *faulty;
};
static const struct choice choices[] = {
    {"mem", "file", "pmem"},     {"uring", "file", "uring"}, {"uring", "file", "tiered"},
    {"uring", "file", "file"},   {"mem", "uring", "tiered"}, {"file", "uring", "tiered"},
    {"pmem", "uring", "pmem"},   {"mem", "pmem", "tiered"},  {"uring", "file", "tiered"},
    {"uring", "pmem", "tiered"}, {"pmem", "file", "tiered"},
};

static const struct choice *choice_of(uint64_t seed)
{
    return &choices[seed % (sizeof choices / sizeof choices[0])];
}

static void run_engine(const char *engine, uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    const struct choice *choice = choice_of(seed);
    crash.engine = engine;
    crash.fast = choice->fast;
    crash.slow = choice->slow;
    crash.mapped = strcmp(engine, "pmem") == 0 ||
                   (strcmp(engine, "tiered") == 0 &&
                    (strcmp(choice->fast, "pmem") == 0 || strcmp(choice->slow, "pmem") == 0));
    if (crash.mapped && store_engine("pmem") == NULL)
        return; /* it is not in this build */
    crash.servers = servers;
    run_one(seed, 0, UINT64_MAX, outcome); /* how many points there are; and without a crash all is well */
    uint64_t points[CLUSTER_SERVERS_MAX], all = 0;
    memcpy(points, crash.points, sizeof points);
    for (uint32_t i = 0; i < servers; i++)
        all += points[i];
    uint64_t step = all / POINTS_MAX + 1;
    for (uint64_t at = seed % step; at < all && !outcome->failed; at += step) {
        uint32_t victim = 0;
        uint64_t point = at;
        while (!crash.faults && point >= points[victim])
            point -= points[victim++];
        run_one(seed, victim, point, outcome);
    }
}

static void run_tiered(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    run_engine("tiered", seed, servers, outcome);
}

static void run_file(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    run_engine("file", seed, servers, outcome);
}

static void run_uring(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    run_engine("uring", seed, servers, outcome);
}

static void run_pmem(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    run_engine("pmem", seed, servers, outcome);
}

static void run_faults(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    crash.faults = true;
    run_engine(choice_of(seed)->faulty, seed, servers, outcome);
    crash.faults = false;
}

int main(int argc, char **argv)
{
    static const struct sim_case cases[] = {
        {"power failures, engine file", run_file, {1, 3}},
        {"power failures, engine uring", run_uring, {1, 3}},
        {"power failures, engine tiered", run_tiered, {1, 3}},
        {"power failures, engine pmem", run_pmem, {1, 3}},
        {"faults", run_faults, {1, 3}},
    };
    static const uint64_t seeds[] = {1, 2, 3, 6, 2021, 70028};
    return SIM_MAIN(argc, argv, cases, seeds);
}

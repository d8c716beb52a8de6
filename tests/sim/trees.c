/* Random operations against the model: several workers on several clients, each in a tree of its own, so that
 * every result is known. At the end another client sees the same, and when everything is removed the servers
 * hold nothing. */
#include "region.h"
#include "seeds.h"

#define CLIENTS 3
#define WORKERS 4 /* two on one client */
#define OPERATIONS 500

static struct region regions[WORKERS];

static bool tight;

static void work(struct worker *worker)
{
    struct region *region = worker->context;
    if (region_create(region, worker, worker->number) != 0) {
        cluster_fail(worker->cluster, "no memory");
        return;
    }
    region->tight = tight;
    region_work(region, OPERATIONS);
}

static void look(struct worker *worker)
{
    task_sleep(worker->cluster->loop, SECOND); /* closes go on their way */
    cluster_check_clean(worker->cluster, worker->client, false);
}

static void verify(struct worker *worker)
{
    struct region *region = worker->context;
    struct cluster *cluster = worker->cluster;
    region_verify(region, cluster->clients[(worker->number + 1) % CLIENTS]);
    region_remove(region);
}

static void body(struct cluster *cluster)
{
    void (*const phases[])(struct worker * worker) = {work, verify};
    for (unsigned phase = 0; phase < 2 && !cluster->failed; phase++) {
        for (uint32_t i = 0; i < WORKERS; i++) {
            struct worker *worker = cluster_worker(cluster, i, phases[phase], &regions[i]);
            regions[i].random = &worker->random;
        }
        cluster_run(cluster, 3600 * SECOND);
        cluster_worker(cluster, 0, look, NULL);
        cluster_run(cluster, 3600 * SECOND);
    }
    for (uint32_t i = 0; i < WORKERS; i++)
        if (regions[i].cluster == cluster)
            region_destroy(&regions[i]);
    cluster_rest(cluster, SECOND); /* closes go on their way */
    cluster_check_empty(cluster);
}

static void run(uint64_t seed, uint32_t servers, uint64_t store_capacity, struct outcome *outcome)
{
    struct cluster_options options = {
        .seed = seed, .servers = servers, .clients = CLIENTS, .store_capacity = store_capacity};
    for (uint32_t i = 0; i < WORKERS; i++)
        regions[i] = (struct region){0};
    tight = store_capacity != 0;
    sim_run(&options, body, outcome);
}

static void run_roomy(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    run(seed, servers, 0, outcome);
}

static void run_tight(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    run(seed, servers, (1u << 20) / servers, outcome);
}

int main(int argc, char **argv)
{
    static const struct sim_case cases[] = {
        {"own trees", run_roomy, {1, 3, 5}},
        {"own trees, full servers", run_tight, {1, 3}},
    };
    static const uint64_t seeds[] = {1, 13, 29, 71, 95};
    return SIM_MAIN(argc, argv, cases, seeds);
}

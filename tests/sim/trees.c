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

/* Among these every strategy and every hash function. */
static const struct {
    enum ring_strategy ring;
    enum hash_function hash;
} rings[] = {{RING_BOUNDED, HASH_MURMUR3},
             {RING_RENDEZVOUS, HASH_MD5},
             {RING_MODULO, HASH_KOYAMA},
             {RING_ROUND_ROBIN, HASH_MD5}};

static void run(struct cluster_options options, struct outcome *outcome)
{
    options.clients = CLIENTS;
    for (uint32_t i = 0; i < WORKERS; i++)
        regions[i] = (struct region){0};
    tight = options.store_capacity != 0;
    sim_run(&options, body, outcome);
}

static void run_roomy(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    run((struct cluster_options){.seed = seed, .servers = servers}, outcome);
}

static void run_tight(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    run((struct cluster_options){.seed = seed, .servers = servers, .store_capacity = (1u << 20) / servers},
        outcome);
}

static void run_other_ring(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    uint64_t chosen = seed / 13 % (sizeof(rings) / sizeof(rings[0])); /* the fixed seeds choose each */
    run(
        (struct cluster_options){
            .seed = seed, .servers = servers, .ring = rings[chosen].ring, .hash = rings[chosen].hash},
        outcome);
}

int main(int argc, char **argv)
{
    static const struct sim_case cases[] = {
        {"own trees", run_roomy, {1, 3, 5}},
        {"own trees, full servers", run_tight, {1, 3}},
        {"own trees, another ring", run_other_ring, {3}},
    };
    static const uint64_t seeds[] = {1, 13, 29, 71, 95};
    return SIM_MAIN(argc, argv, cases, seeds);
}

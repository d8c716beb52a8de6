/* The same seed gives the same run: every message, every byte, every result, bit for bit. Another seed gives
 * another run. The work is that of trees.c, with workers that meet in files of the root besides. */
#include "region.h"
#include "seeds.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define WORKERS 4
#define ROUNDS 30
#define OPERATIONS 250

static struct region regions[WORKERS];

static void trace_result(struct worker *worker, int64_t result)
{
    sim_trace(worker->cluster->network, &result, sizeof result);
    worker->cluster->operations++;
}

/* Everybody writes into the same few files. */
static void meddle(struct worker *worker)
{
    struct client *client = worker->client;
    for (unsigned i = 0; i < ROUNDS; i++) {
        char path[32], bytes[6000];
        struct client_file file;
        snprintf(path, sizeof path, "/shared.%u", (unsigned)random_below(&worker->random, 4));
        memset(bytes, (int)(random_next(&worker->random) & 0xff), sizeof bytes);
        int status = client_open(client, INODE_ROOT, path, O_RDWR | O_CREAT, 0644, &file);
        trace_result(worker, status);
        if (status < 0)
            continue;
        size_t length = (size_t)random_below(&worker->random, sizeof bytes) + 1;
        trace_result(worker,
                     client_write(client, &file, bytes, length, random_below(&worker->random, 70000)));
        ssize_t got = client_read(client, &file, bytes, sizeof bytes, 0);
        trace_result(worker, got);
        if (got > 0)
            sim_trace(worker->cluster->network, bytes, (size_t)got);
        if (random_below(&worker->random, 3) == 0)
            trace_result(worker, client_unlink(client, INODE_ROOT, path));
        client_close(client, &file);
    }
}

static void work(struct worker *worker)
{
    struct region *region = worker->context;
    meddle(worker);
    if (region_create(region, worker, worker->number) != 0) {
        cluster_fail(worker->cluster, "no memory");
        return;
    }
    region_work(region, OPERATIONS);
    region_destroy(region);
}

static void body(struct cluster *cluster)
{
    for (uint32_t i = 0; i < WORKERS; i++)
        cluster_worker(cluster, i, work, &regions[i]);
    cluster_run(cluster, 3600 * SECOND);
}

static void run(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    struct outcome again = {0}, other = {0};
    struct cluster_options options = {.seed = seed, .servers = servers, .clients = WORKERS};
    sim_run(&options, body, outcome);
    sim_run(&options, body, &again);
    options.seed += 1000003;
    sim_run(&options, body, &other);
    if (outcome->failed)
        return;
    if (again.trace != outcome->trace || other.trace == outcome->trace) {
        outcome->failed = true;
        snprintf(outcome->failure, sizeof outcome->failure,
                 "traces %016llx and %016llx of this seed, %016llx of another",
                 (unsigned long long)outcome->trace, (unsigned long long)again.trace,
                 (unsigned long long)other.trace);
    }
}

int main(int argc, char **argv)
{
    static const struct sim_case cases[] = {{"replay", run, {1, 3, 5}}};
    static const uint64_t seeds[] = {1, 2, 3};
    return SIM_MAIN(argc, argv, cases, seeds);
}

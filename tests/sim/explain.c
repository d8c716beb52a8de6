/* A delay that is put into a whole cluster is found and named by what explains results: a slow network, slow
 * devices under the storage engine, a handler that computes for long, and what that does to the requests of
 * others, with the same writes and reads over all. */
#include "seeds.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "bench/diagnosis.h"
#include "bench/stages.h"
#include "rpc/party.h"
#include "runtime/disk.h"
#include "server/state.h"

#define BLOCK 4096u
#define BLOCKS 60u
#define SLOW_NETWORK (2 * MILLISECOND)
#define SLOW_DEVICE (20 * MILLISECOND)
#define SLOW_HANDLER (200 * MICROSECOND)

struct scene {
    const struct sim_options *weather;
    enum diagnosis_stage expected;
};

static struct scene scene;

/* Writes each block, then reads it. */
static void write_and_read(struct worker *worker)
{
    static uint8_t bytes[BLOCK];
    struct client_file file;
    char path[32];
    snprintf(path, sizeof path, "/file%u", worker->number);
    int status = client_open(worker->client, INODE_ROOT, path, O_CREAT | O_RDWR, 0644, &file);
    for (uint32_t i = 0; i < BLOCKS && status == 0; i++) {
        memset(bytes, (int)(i + 1), sizeof bytes);
        ssize_t count = client_write(worker->client, &file, bytes, BLOCK, (uint64_t)i * BLOCK);
        if (count == (ssize_t)BLOCK)
            count = client_read(worker->client, &file, bytes, BLOCK, (uint64_t)i * BLOCK);
        status = count == (ssize_t)BLOCK ? 0 : count < 0 ? (int)count : -EIO;
        worker->cluster->operations += 2;
    }
    if (status == 0)
        client_close(worker->client, &file);
    if (status != 0)
        cluster_fail(worker->cluster, "%s: %s", path, status_text(status));
}

static void explain(struct cluster *cluster)
{
    static struct diagnosis diagnosis;
    static const struct limits none;
    struct metrics *metrics = loop_metrics(cluster->loop); /* of all parties */
    struct stages *stages;
    struct stages_before *before = NULL;
    struct result result;
    if (stages_create(1, &stages) != 0)
        return cluster_fail(cluster, "no memory");
    sim_network_options(cluster->network, scene.weather);
    stages_come(stages, 0, metrics, &before);
    for (uint32_t i = 0; i < cluster->client_count; i++)
        cluster_worker(cluster, i, write_and_read, NULL);
    cluster_run(cluster, 1000 * SECOND);
    metrics_settle(metrics);
    stages_leave(stages, 0, metrics, &before);
    result_init(&result);
    result.target = "benchfs:";
    result.phase = "write";
    result.bytes = result.operations = cluster->operations;
    stages_describe(stages, 0, &result);
    if (diagnose(&result, NULL, &none, &diagnosis) != 0 || diagnosis.outcome != DIAGNOSIS_DECIDED ||
        diagnosis.top != scene.expected)
        cluster_fail(cluster, "not found: %s", diagnosis.verdict);
    result_free(&result);
    stages_free(stages);
}

static void slow_network(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    static const struct sim_options weather = {.delay_min_ns = SLOW_NETWORK / 2,
                                               .delay_max_ns = SLOW_NETWORK};
    const struct cluster_options options = {.seed = seed, .servers = servers, .clients = 1};
    scene = (struct scene){&weather, DIAGNOSIS_WIRE};
    sim_run(&options, explain, outcome);
}

static void slow_devices(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    static const struct sim_options weather = {.delay_min_ns = MICROSECOND, .delay_max_ns = 20 * MICROSECOND};
    const struct disk_sim_options slow = {.latency_ns = SLOW_DEVICE, .direct = true};
    struct disk_sim_device *devices[CLUSTER_SERVERS_MAX];
    for (uint32_t i = 0; i < servers; i++) {
        if (disk_sim_device_create(&slow, &devices[i]) != 0)
            abort();
    }
    const struct cluster_options options = {
        .seed = seed, .servers = servers, .clients = 1, .engine = "file", .devices = devices};
    scene = (struct scene){&weather, DIAGNOSIS_STORAGE};
    sim_run(&options, explain, outcome);
    for (uint32_t i = 0; i < servers; i++)
        disk_sim_device_destroy(devices[i]);
}

/* ---- servers that compute ---- */

static rpc_handler read_chunk, write_chunk;

static void compute(const struct server *server)
{
    net_sim_busy(server->net, SLOW_HANDLER);
    task_sleep(server->loop, SLOW_HANDLER);
}

static void slow_read(void *owner, struct rpc_request *request)
{
    compute(owner);
    read_chunk(owner, request);
}

static void slow_write(void *owner, struct rpc_request *request)
{
    compute(owner);
    write_chunk(owner, request);
}

static void explain_slow_handlers(struct cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->server_count; i++) {
        struct rpc *rpc = cluster->servers[i]->rpc;
        read_chunk = rpc->handlers[RPC_READ_CHUNK];
        write_chunk = rpc->handlers[RPC_WRITE_CHUNK];
        rpc->handlers[RPC_READ_CHUNK] = slow_read;
        rpc->handlers[RPC_WRITE_CHUNK] = slow_write;
    }
    explain(cluster);
}

static const struct sim_options quick = {.delay_min_ns = MICROSECOND, .delay_max_ns = 20 * MICROSECOND};

/* One client waits for its own requests only. */
static void slow_handlers(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    const struct cluster_options options = {.seed = seed, .servers = servers, .clients = 1};
    scene = (struct scene){&quick, DIAGNOSIS_HANDLER};
    sim_run(&options, explain_slow_handlers, outcome);
}

/* Several wait for each other's. */
static void saturated_server(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    const struct cluster_options options = {.seed = seed, .servers = servers, .clients = 6};
    scene = (struct scene){&quick, DIAGNOSIS_SERVER_QUEUE};
    sim_run(&options, explain_slow_handlers, outcome);
}

int main(int argc, char **argv)
{
    static const struct sim_case cases[] = {
        {"slow network", slow_network, {1, 3}},
        {"slow devices", slow_devices, {1, 2}},
        {"slow handlers", slow_handlers, {1, 3}},
        {"saturated server", saturated_server, {1}},
    };
    static const uint64_t seeds[] = {1, 2};
    return SIM_MAIN(argc, argv, cases, seeds);
}

/* The simulated cluster.
 *
 * The seed decides all: the loop's generator draws delays, losses, session keys and back-offs, and from a
 * generator of the test come the weather (how slow and how lossy this run is), what the file system is
 * configured like, and each worker's own generator. So a seed and a number of servers name a run, and the
 * same run happens again bit for bit.
 *
 * A check that fails inside a task must not leave it by a jump to another stack, so failures are recorded
 * here, the workers end, and the test reports when all are done. */
#include "cluster.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "client/check.h"

static const uint8_t key[CLUSTER_KEY_BYTES] = "one key for every simulated run";

void cluster_fail(struct cluster *cluster, const char *format, ...)
{
    if (cluster->failed)
        return;
    cluster->failed = true;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(cluster->failure, sizeof cluster->failure, format, arguments);
    va_end(arguments);
}

static void make_durable(struct server_options *server, const struct cluster_options *options,
                         struct disk *disk, struct disk *fast_disk)
{
    server->store.engine = options->engine;
    server->store.fast = options->fast != NULL ? options->fast : "uring";
    server->store.slow = options->slow != NULL ? options->slow : "file";
    server->store.fast_capacity = 256u << 10; /* few chunks, so that they move */
    server->store.disk = disk;
    server->store.fast_disk = fast_disk;
    server->store.buffer = 1u << 20;
    server->durability = options->durability;
    server->interval_ns = options->interval_ns != 0 ? options->interval_ns : SECOND;
    server->journal_limit = options->journal_limit != 0 ? options->journal_limit : 256u << 10;
}

static void start_servers(struct cluster *cluster, const struct cluster_options *options)
{
    static const uint64_t leases[] = {0, MILLISECOND, 20 * MILLISECOND};
    /* None, one with room for a few answers, one for all. */
    static const uint64_t boards[] = {0, 48 << 10, 1 << 20}, contents[] = {0, 34 << 10, 1 << 20};
    uint64_t lease = leases[random_below(&cluster->random, 3)];
    struct cluster_server members[CLUSTER_SERVERS_MAX] = {0};
    for (uint32_t i = 0; i < options->servers; i++) {
        char host[24], listen[32];
        snprintf(host, sizeof host, "server%u", i);
        snprintf(listen, sizeof listen, "server%u:0", i);
        struct server_options server = {
            .id = i,
            .cluster_key = key,
            .listen = listen,
            .store = {.engine = "mem",
                      .capacity = options->store_capacity != 0 ? options->store_capacity : 64u << 20},
            .lease_ns = lease,
            .rpc_deadline_ns = cluster->deadline_ns,
            .board_bytes = boards[options->seed % 3],
            .content_bytes = contents[options->seed % 3],
        };
        members[i].id = i;
        int status = net_sim_create(cluster->network, host, &cluster->server_nets[i]);
        if (status == 0 && options->engine != NULL) {
            status = disk_sim_open(cluster->loop, options->devices[i], &cluster->disks[i]);
            if (status == 0 && options->fast_devices != NULL)
                status = disk_sim_open(cluster->loop, options->fast_devices[i], &cluster->fast_disks[i]);
            make_durable(&server, options, cluster->disks[i], cluster->fast_disks[i]);
        }
        if (status == 0)
            status =
                server_create(cluster->server_nets[i], &server, &cluster->servers[i], members[i].address);
        if (status != 0) {
            cluster_fail(cluster, "server %u: %s", i, status_text(status));
            return;
        }
        cluster->server_count++;
    }
    for (uint32_t i = 0; i <= options->servers; i++) {
        struct cluster_map *map;
        int status = cluster_map_create(1, members, options->servers, &map);
        if (status == 0)
            status = cluster_map_assign(map, options->ring, options->hash);
        if (status == 0)
            map->durability = options->durability;
        if (status == 0 && i < options->servers) {
            status = server_recover(cluster->servers[i]);
            if (status == 0)
                status = server_set_map(cluster->servers[i], map);
            else
                cluster_map_destroy(map);
        } else {
            cluster->map = map;
        }
        if (status != 0)
            cluster_fail(cluster, "start of server %u: %s", i, status_text(status));
    }
    for (uint32_t i = 0; i < options->servers && !cluster->failed; i++) {
        int status = server_resolve(cluster->servers[i]);
        if (status != 0)
            cluster_fail(cluster, "server %u cannot finish transactions: %s", i, status_text(status));
    }
}

static void start_client(struct cluster *cluster, uint32_t number)
{
    char host[24];
    const char *address = cluster->map->servers[number % cluster->server_count].address;
    snprintf(host, sizeof host, "client%u", number);
    struct client_options client = {
        .cluster_key = key,
        .addresses = &address,
        .address_count = 1,
        .rpc_deadline_ns = cluster->deadline_ns,
        .placement = (uint8_t)random_below(&cluster->random, 3),
        .chunk_shift = CHUNK_SHIFT_MIN,
    };
    int status = net_sim_create(cluster->network, host, &cluster->client_nets[number]);
    if (status == 0)
        status = client_create(cluster->client_nets[number], &client, &cluster->clients[number]);
    if (status != 0)
        cluster_fail(cluster, "client %u: %s", number, status_text(status));
    else
        cluster->client_count++;
}

static void nothing(struct timer *timer)
{
    (void)timer;
}

void cluster_open(struct cluster *cluster, const struct cluster_options *options)
{
    static const uint64_t slowest[] = {20 * MICROSECOND, 300 * MICROSECOND, 5 * MILLISECOND};
    static const uint32_t losses[] = {0, 2000, 20000};
    *cluster = (struct cluster){.seed = options->seed};
    random_seed(&cluster->random, options->seed);
    cluster->weather = (struct sim_options){
        .delay_min_ns = MICROSECOND,
        .delay_max_ns = slowest[random_below(&cluster->random, 3)],
        .loss_per_million = losses[random_below(&cluster->random, 3)],
    };
    cluster->deadline_ns = options->deadline_ns != 0 ? options->deadline_ns : 10 * SECOND;
    /* So slow that much is sent again before the first answer comes. */
    if (options->seed % 16 == 15) {
        cluster->weather.delay_max_ns = 120 * MILLISECOND;
        cluster->deadline_ns *= 10;
    }
    struct loop_options loop = {.simulated = true, .seed = options->seed};
    int status = loop_create(&loop, &cluster->loop);
    struct timer start = {.fire = nothing};
    if (status == 0 && options->start_ns > loop_now(cluster->loop))
        timer_set(cluster->loop, &start, options->start_ns);
    while (status == 0 && start.sequence != 0)
        loop_poll(cluster->loop);
    if (status == 0)
        status = sim_network_create(cluster->loop, &cluster->weather, &cluster->network);
    if (status != 0) {
        cluster_fail(cluster, "network: %s", status_text(status));
        return;
    }
    start_servers(cluster, options);
    for (uint32_t i = 0; i < options->clients && !cluster->failed; i++)
        start_client(cluster, i);
}

void cluster_close(struct cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->client_count; i++) {
        client_destroy(cluster->clients[i]);
        net_destroy(cluster->client_nets[i]);
    }
    for (uint32_t i = 0; i < cluster->server_count; i++) {
        server_destroy(cluster->servers[i]);
        net_destroy(cluster->server_nets[i]);
        if (cluster->fast_disks[i] != NULL)
            disk_close(cluster->fast_disks[i]);
        if (cluster->disks[i] != NULL)
            disk_close(cluster->disks[i]);
    }
    if (cluster->map != NULL)
        cluster_map_destroy(cluster->map);
    sim_network_destroy(cluster->network);
    loop_destroy(cluster->loop);
}

struct worker *cluster_worker(struct cluster *cluster, uint32_t client, void (*run)(struct worker *worker),
                              void *context)
{
    struct worker *worker = &cluster->workers[cluster->worker_count];
    *worker = (struct worker){
        .cluster = cluster,
        .client = cluster->clients[client % cluster->client_count],
        .client_number = client % cluster->client_count,
        .number = cluster->worker_count++,
        .context = context,
        .run = run,
    };
    random_seed(&worker->random, random_next(&cluster->random));
    return worker;
}

static void worker_entry(void *argument)
{
    struct worker *worker = argument;
    worker->run(worker);
    worker->running = false;
}

static bool any_running(const struct cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->worker_count; i++)
        if (cluster->workers[i].running)
            return true;
    return false;
}

void cluster_run(struct cluster *cluster, uint64_t limit)
{
    uint64_t end = loop_now(cluster->loop) + limit;
    for (uint32_t i = 0; i < cluster->worker_count && !cluster->failed; i++) {
        struct worker *worker = &cluster->workers[i];
        worker->running = true;
        int status = task_spawn_later(cluster->loop, worker_entry, worker, NULL);
        if (status != 0) {
            worker->running = false;
            cluster_fail(cluster, "worker %u: %s", i, status_text(status));
        }
    }
    /* A failed run still has a while to end its workers, which all see the failure. */
    while (any_running(cluster)) {
        if (loop_poll(cluster->loop) == 0) {
            cluster_fail(cluster, "workers wait for what never comes");
            break;
        }
        if (loop_now(cluster->loop) > end) {
            cluster_fail(cluster, "workers are not done after %.1f s", (double)limit * 1e-9);
            if (loop_now(cluster->loop) > end + 3600 * SECOND)
                break;
        }
    }
    cluster->worker_count = 0;
}

static void rest(struct worker *worker)
{
    task_sleep(worker->cluster->loop, *(const uint64_t *)worker->context);
}

void cluster_rest(struct cluster *cluster, uint64_t duration)
{
    cluster_worker(cluster, 0, rest, &duration);
    cluster_run(cluster, 2 * duration);
}

void cluster_kill(struct cluster *cluster, uint32_t server)
{
    cluster->dead[server] = true;
    net_sim_kill(cluster->server_nets[server]);
}

void cluster_power_off_server(struct cluster *cluster, uint32_t server)
{
    if (cluster->disks[server] != NULL)
        disk_sim_kill(cluster->disks[server]);
    if (cluster->fast_disks[server] != NULL)
        disk_sim_kill(cluster->fast_disks[server]);
    server_abandon(cluster->servers[server]);
    cluster_kill(cluster, server);
}

void cluster_power_off(struct cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->server_count; i++)
        cluster_power_off_server(cluster, i);
}

void cluster_kill_client(struct cluster *cluster, uint32_t client)
{
    cluster->client_dead[client] = true;
    net_sim_kill(cluster->client_nets[client]);
}

void cluster_disconnect_somebody(struct worker *worker, uint64_t longest)
{
    struct cluster *cluster = worker->cluster;
    uint32_t party = (uint32_t)random_below(&worker->random, cluster->server_count + cluster->client_count);
    task_sleep(cluster->loop, random_below(&worker->random, longest));
    net_sim_disconnect(party < cluster->server_count ? cluster->server_nets[party]
                                                     : cluster->client_nets[party - cluster->server_count]);
}

void cluster_usage(struct cluster *cluster, struct cluster_usage *usage)
{
    *usage = (struct cluster_usage){0};
    for (uint32_t i = 0; i < cluster->server_count; i++) {
        struct server_status_reply status;
        server_status(cluster->servers[i], &status);
        usage->inodes += status.inodes;
        usage->dentries += status.dentries;
        usage->bytes += status.used;
    }
}

struct clean {
    struct cluster *cluster;
    bool remains;
};

static void report_finding(void *owner, const struct check_finding *finding)
{
    const struct clean *clean = owner;
    if (clean->remains && (finding->kind == CHECK_BYTES_BEYOND || finding->kind == CHECK_ORPHAN_CHUNKS))
        return;
    cluster_fail(clean->cluster,
                 "the check finds kind %d of inode %llx, \"%s\" in %llx, path %s, found %llx, expected %llx",
                 (int)finding->kind, (unsigned long long)finding->inode, finding->name,
                 (unsigned long long)finding->directory, finding->path != NULL ? finding->path : "unknown",
                 (unsigned long long)finding->found, (unsigned long long)finding->expected);
}

void cluster_check_clean(struct cluster *cluster, struct client *client, bool remains)
{
    struct clean clean = {cluster, remains};
    struct check_options options = {.report = report_finding, .owner = &clean};
    struct check_result result;
    int status = client_check(client, &options, &result);
    if (status != 0)
        cluster_fail(cluster, "check: %s", status_text(status));
}

void cluster_check_empty(struct cluster *cluster)
{
    struct cluster_usage usage;
    cluster_usage(cluster, &usage);
    if (usage.inodes != 1 || usage.dentries != 0 || usage.bytes != 0)
        cluster_fail(cluster, "all is removed, but there are %llu inodes, %llu dentries, %llu bytes",
                     (unsigned long long)usage.inodes, (unsigned long long)usage.dentries,
                     (unsigned long long)usage.bytes);
}

/* With what is in it. */
static int remove_directory(struct client *client, const char *path)
{
    struct attributes directory;
    struct client_listing *listing;
    struct client_entry entry;
    int status = client_stat(client, INODE_ROOT, path, true, &directory);
    if (status == 0)
        status = client_list_open(client, directory.inode, 0, false, NULL, NULL, &listing);
    if (status != 0)
        return status;
    while ((status = client_list_next(listing, &entry)) == 1) {
        char inner[400];
        snprintf(inner, sizeof inner, "%.100s/%.*s", path, entry.name_length, entry.name);
        status = S_ISDIR(entry.attributes.mode) ? remove_directory(client, inner)
                                                : client_unlink(client, INODE_ROOT, inner);
        if (status != 0)
            break;
    }
    client_list_close(listing);
    return status == 0 ? client_rmdir(client, INODE_ROOT, path) : status;
}

void cluster_remove_lost(struct worker *worker)
{
    int status = remove_directory(worker->client, "/lost+found");
    if (status != 0 && status != -ENOENT)
        cluster_fail(worker->cluster, "cannot empty /lost+found: %s", status_text(status));
}

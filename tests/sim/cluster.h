/* A whole file system in one process: servers and clients on one simulated loop and network, everything that
 * happens drawn from one seed. A test gives each worker (a task with a client) a function to run, then looks
 * at the servers when all have finished. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/random.h"
#include "client/client.h"
#include "net/sim.h"
#include "server/server.h"

#define CLUSTER_SERVERS_MAX 5
#define CLUSTER_CLIENTS_MAX 8
#define CLUSTER_WORKERS_MAX 16

#define MICROSECOND UINT64_C(1000)
#define MILLISECOND UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

struct cluster_options {
    uint64_t seed;
    uint32_t servers;
    uint32_t clients;
    uint64_t store_capacity; /* per server; 0: 64 MiB */
    uint64_t deadline_ns;    /* of a request; 0: 10 s. Ten times that when the network is very slow */
    /* NULL: mem, and nothing lasts. Otherwise the servers recover what the devices, one each, hold. */
    const char *engine;
    const char *fast, *slow; /* of the engine tiered; NULL: uring over file */
    struct disk_sim_device **devices;
    struct disk_sim_device **fast_devices; /* the upper engine's; NULL: it is on the same */
    enum durability durability;
    uint64_t interval_ns;   /* 0: 1 s */
    uint64_t start_ns;      /* virtual time at which it starts: clusters one after another have one clock */
    uint64_t journal_limit; /* 0: 256 KiB, so that there are snapshots */
    enum ring_strategy ring;
    enum hash_function hash;
};

struct worker {
    struct cluster *cluster;
    struct client *client;
    uint32_t client_number;
    uint32_t number;
    struct random random; /* its own: what it asks does not depend on what others do */
    bool running;
    void *context;
    void (*run)(struct worker *worker);
};

struct cluster {
    uint64_t seed;
    struct loop *loop;
    struct sim_network *network;
    struct sim_options weather;
    uint64_t deadline_ns;
    struct random random; /* of set-up and checks */
    uint32_t server_count;
    struct net *server_nets[CLUSTER_SERVERS_MAX];
    struct server *servers[CLUSTER_SERVERS_MAX];
    struct disk *disks[CLUSTER_SERVERS_MAX]; /* NULL: none */
    struct disk *fast_disks[CLUSTER_SERVERS_MAX];
    bool dead[CLUSTER_SERVERS_MAX];
    struct cluster_map *map; /* the test's own */
    uint32_t client_count;
    struct net *client_nets[CLUSTER_CLIENTS_MAX];
    struct client *clients[CLUSTER_CLIENTS_MAX];
    bool client_dead[CLUSTER_CLIENTS_MAX];
    struct worker workers[CLUSTER_WORKERS_MAX];
    uint32_t worker_count;
    uint64_t operations; /* counted by the tests */
    bool failed;
    char failure[1024];
};

/* Draws delays (at most 20 us to 5 ms; with every 16th seed 120 ms), losses (none to 2 %), read leases and
 * placement from the seed; starts the servers and connects the clients. On failure says so in
 * cluster->failure. */
void cluster_open(struct cluster *cluster, const struct cluster_options *options);
void cluster_close(struct cluster *cluster);

/* Adds a task that will run(worker) with client number `client`. */
struct worker *cluster_worker(struct cluster *cluster, uint32_t client, void (*run)(struct worker *worker),
                              void *context);
/* Runs all workers until each has returned; fails when nothing can happen any more or `limit` of virtual time
 * has passed. Afterwards there are no workers. */
void cluster_run(struct cluster *cluster, uint64_t limit);

/* Lets virtual time pass. */
void cluster_rest(struct cluster *cluster, uint64_t duration);
/* Cuts a server off as kill -9 does. */
void cluster_kill(struct cluster *cluster, uint32_t server);
void cluster_kill_client(struct cluster *cluster, uint32_t client);
/* Waits for at most so much virtual time, then breaks all connections of a server or a client, whom the
 * worker's random numbers choose. */
void cluster_disconnect_somebody(struct worker *worker, uint64_t longest);

/* Every server is killed, and nothing of what it has not written yet reaches its device. */
void cluster_power_off(struct cluster *cluster);
/* The same for one. */
void cluster_power_off_server(struct cluster *cluster, uint32_t server);

/* Records the first failure; workers stop when they see it. */
void cluster_fail(struct cluster *cluster, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What all servers hold together. */
struct cluster_usage {
    uint64_t inodes;
    uint64_t dentries;
    uint64_t bytes; /* of chunks */
};
void cluster_usage(struct cluster *cluster, struct cluster_usage *usage);
/* From a worker: fails the run when a check of all servers (client/check.h) finds anything. remains: but what
 * the end of a client in the middle of a write leaves. */
void cluster_check_clean(struct cluster *cluster, struct client *client, bool remains);
/* Unless the run has failed already: fails it when the servers hold anything but the root, which is what
 * nobody can reach any more. */
void cluster_check_empty(struct cluster *cluster);
/* Everything in /lost+found, and it. */
void cluster_remove_lost(struct worker *worker);

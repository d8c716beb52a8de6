/* Real servers for tests: benchfsd processes of this test program, each on a port of its own, that end with
 * it. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#define CLUSTER_SERVERS_MAX 8

struct cluster {
    unsigned count;
    pid_t pids[CLUSTER_SERVERS_MAX];
    int to[CLUSTER_SERVERS_MAX];
    int from[CLUSTER_SERVERS_MAX];
    char addresses[CLUSTER_SERVERS_MAX][64];
    char directory[64]; /* temporary: holds the key */
    char key[96];
    char identity[40];                      /* tells store directories of this cluster from another's */
    char servers[CLUSTER_SERVERS_MAX * 64]; /* as BENCHFS_SERVERS wants it */
};

/* Starts `count` servers with `settings` ("table.key=value", NULL at the end; NULL: none), and points
 * BENCHFS_SERVERS and BENCHFS_KEY at them. The program is $BENCHFSD; the mode $CONSISTENCY, if that is set.
 * Returns 0, or -1 after a message. */
int cluster_start(struct cluster *cluster, unsigned count, const char *const *settings);
/* Sends SIGTERM, waits; returns 0 when every server that was alive ended with status 0. Removes the
 * directory. */
int cluster_stop(struct cluster *cluster);
/* kill -9 of one server. */
void cluster_kill(struct cluster *cluster, unsigned server);
/* Starts all servers again once none runs any more: with a persistent engine, on the same store directories.
 * Results as those of cluster_start; after a failure the cluster is to be stopped. */
int cluster_restart(struct cluster *cluster, const char *const *settings);
/* SIGTERM to every server, waits, and keeps the directory for cluster_restart. As cluster_stop otherwise. */
int cluster_end(struct cluster *cluster);

/* What start, stop and status share: finding the cluster, asking its servers, looking after their processes.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cluster/file.h"

/* Names derived from the cluster file's. */
struct cluster_paths {
    char file[PATH_MAX];      /* absolute */
    char key[PATH_MAX];       /* file + ".key" */
    char directory[PATH_MAX]; /* file + ".d": configuration and logs */
    char fifos[PATH_MAX];     /* file + ".fifos": made by the preload library (preload/fifo.c) */
    char config[PATH_MAX];    /* in it */
};

/* 0, or -errno with the reason printed. */
int cluster_paths_find(struct cluster_paths *paths);

/* A cluster as a file or BENCHFS_SERVERS describes it. */
struct cluster {
    struct cluster_paths paths;
    struct cluster_file file;
    uint8_t key[CLUSTER_KEY_BYTES];
};

/* 0; or -errno with the reason printed (no file: how to start one). Free with cluster_close. */
int cluster_open(struct cluster *cluster);
void cluster_close(struct cluster *cluster);

/* What it takes to send requests to servers without a cluster map. */
struct cluster_link {
    struct config *config; /* what `net` refers to */
    struct loop *loop;
    struct net *net;
    struct rpc *rpc;
};

/* patience: ns that a request may take unless it says otherwise. 0, or -errno with the reason printed. */
int cluster_link_open(const struct cluster *cluster, uint64_t patience, struct cluster_link *link);
void cluster_link_close(struct cluster_link *link);

/* What a server said. status 0: it answered. */
struct server_answer {
    int status;
    struct server_status_reply reply;
};

/* Sends one operation with empty body to all servers at once and waits for the answers, at most `patience`
 * ns. With RPC_SERVER_STATUS the replies are kept. Returns 0, or -errno with the reason printed when nothing
 * could be sent. */
int cluster_ask(const struct cluster *cluster, unsigned operation, uint64_t patience,
                struct server_answer *answers);

/* ---- processes (process.c) ---- */

/* A descriptor of the process if it runs and is a benchfsd with this key file, else -1. */
int process_open(pid_t pid, const char *key_path);
/* Waits at most `patience` ns for the process to end. */
bool process_wait(int pidfd, uint64_t patience);
int process_signal(int pidfd, int signal);

/* Takes the lock of the cluster's directory (made if need be), so that one start or stop runs at a time.
 * Returns a descriptor, or -errno with the reason printed. */
int cluster_lock(const struct cluster_paths *paths);
/* Removes cluster file, key and directory; with keep_logs the directory stays. */
void cluster_remove(const struct cluster_paths *paths, bool keep_logs);

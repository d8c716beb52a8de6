/* A cluster of this benchmark's own: servers in child processes, with a cluster file in a fresh directory. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/config.h"
#include "cluster/map.h"

#define PRIVATE_SERVERS_MAX 64u
#define PRIVATE_PATH_MAX 512

/* What each server keeps its data in. */
struct private_store {
    const char *engine;
    uint64_t capacity;                /* bytes */
    char directory[PRIVATE_PATH_MAX]; /* persistent engines: where the servers' directories are made, and stay
                                       */
    bool no_checksum;                 /* this and the rest: persistent engines */
    enum durability durability;
    uint64_t interval_ns; /* 0: the default configuration's */
    bool no_board;        /* clients are shown nothing: each stat is a request */
};

struct private_server {
    pid_t pid;
    int control; /* the server ends when this is closed */
};

struct private_cluster {
    char directory[PRIVATE_PATH_MAX];
    char file[PRIVATE_PATH_MAX + 32]; /* for benchfs_connect */
    struct config config;
    char store[PRIVATE_PATH_MAX]; /* persistent engines: where the servers' directories are */
    bool store_is_own;            /* and to be removed */
    bool config_is_told;          /* clients read it from a file */
    uint32_t count;
    int pin[PRIVATE_SERVERS_MAX];
    struct private_server servers[PRIVATE_SERVERS_MAX];
};

/* Starts `count` servers with the mem engine and the default configuration but for capacity (bytes each,
 * pre-faulted); server i is bound to processor pin[i] (-1: any). To be called before this process has used
 * UCX. Returns 0 when all serve, or -errno after one line on standard error. */
int private_cluster_start(struct private_cluster *cluster, uint32_t count, const int *pin, uint64_t capacity);
/* The same with another engine. */
int private_cluster_start_on(struct private_cluster *cluster, uint32_t count, const int *pin,
                             const struct private_store *store);
/* config.cluster.server_count servers (at most PRIVATE_SERVERS_MAX) with this configuration, which clients of
 * the cluster file get, too. They listen on loopback, whatever server.listen says, and log warnings to
 * standard error. A persistent engine keeps its data in a fresh directory in store.path, or, if that is
 * empty, in $TMPDIR, which private_cluster_stop removes. Results as those of private_cluster_start. */
int private_cluster_start_configured(struct private_cluster *cluster, const struct config *config);
/* kill -9 of every server. */
void private_cluster_kill(struct private_cluster *cluster);
/* Starts them again on the same directories, with other addresses in the cluster file. Results as those of
 * private_cluster_start. */
int private_cluster_restart(struct private_cluster *cluster);
/* Ends the servers and removes the directories. Harmless when it was not started. */
void private_cluster_stop(struct private_cluster *cluster);

/* A fresh directory in $TMPDIR, mode 0700. 0 or -errno. */
int private_directory_make(char *path, size_t size);
/* The same in top, an absolute path; NULL: $TMPDIR. */
int private_directory_make_in(const char *top, char *path, size_t size);
/* Removes it with the plain files and directories in it. */
void private_directory_remove(const char *path);

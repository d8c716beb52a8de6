/* The cluster file: how a cluster is found again. JSON, written atomically, mode 0600, next to it
 * "<path>.key" with the 32-byte cluster key, mode 0600. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "cluster/map.h"
#include "rpc/rpc.h"

struct cluster_file_server {
    uint32_t id;
    pid_t pid;        /* 0: unknown (another host) */
    char host[64];    /* where it runs; "localhost" for this host */
    char address[64]; /* bootstrap address */
};

struct cluster_file {
    uint64_t cluster_id;
    uint32_t server_count;
    struct cluster_file_server *servers;
    char config[4096]; /* path of the configuration file used, or "" */
    char store[16];    /* engine given on the command line, or "" */
    char ring[16];     /* cluster.ring and cluster.hash, by which the servers have made their map */
    char hash[16];
    char directory[4096]; /* logs of the servers */
};

/* Default path: $BENCHFS_CLUSTER, else $XDG_RUNTIME_DIR/benchfs/cluster.json, else
 * /tmp/benchfs-<uid>/cluster.json (directory made 0700). Returns 0 or -errno. */
int cluster_file_default_path(char *path, size_t size);

int cluster_file_write(const char *path, const struct cluster_file *file);
/* Returns 0; -ENOENT; -EINVAL with the reason in error (size bytes). Free with cluster_file_free. */
int cluster_file_read(const char *path, struct cluster_file *file, char *error, size_t size);
void cluster_file_free(struct cluster_file *file);

/* Makes a fresh random key at path (mode 0600, O_EXCL after removing an old one), or reads one; reading
 * refuses a file that others can read (-EPERM) or of another length (-EINVAL). */
int cluster_key_make(const char *path, uint8_t key[CLUSTER_KEY_BYTES]);
int cluster_key_read(const char *path, uint8_t key[CLUSTER_KEY_BYTES]);

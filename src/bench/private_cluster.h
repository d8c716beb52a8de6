/* A cluster of this benchmark's own: servers in child processes, with a cluster file in a fresh directory. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#define PRIVATE_SERVERS_MAX 8u

struct private_server {
    pid_t pid;
    int control; /* the server ends when this is closed */
};

struct private_cluster {
    char directory[128];
    char file[160]; /* for benchfs_connect */
    uint32_t count;
    struct private_server servers[PRIVATE_SERVERS_MAX];
};

/* Starts `count` servers with the mem engine and the default configuration but for capacity (bytes each,
 * pre-faulted); server i is bound to processor pin[i]. To be called before this process has used UCX. Returns
 * 0 when all serve, or -errno after one line on standard error. */
int private_cluster_start(struct private_cluster *cluster, uint32_t count, const int *pin, uint64_t capacity);
/* Ends the servers and removes the directory. Harmless when it was not started. */
void private_cluster_stop(struct private_cluster *cluster);

#define PRIVATE_PATH_MAX 512

/* A fresh directory in $TMPDIR, mode 0700. 0 or -errno. */
int private_directory_make(char *path, size_t size);
/* The same in top, an absolute path; NULL: $TMPDIR. */
int private_directory_make_in(const char *top, char *path, size_t size);
/* Removes it with the plain files and directories in it. */
void private_directory_remove(const char *path);

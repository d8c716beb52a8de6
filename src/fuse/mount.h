/* A BenchFS mounted as a directory: FUSE's low-level interface over the client core. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "benchfs.h"
#include "cluster/map.h"

struct mount_options {
    /* What the kernel may keep (docs/consistency.md). strict: nothing; close: contents of files, validated
     * when they are opened; relaxed: also names and attributes, for `lifetime` seconds. */
    enum consistency consistency;
    double lifetime;          /* seconds that relaxed keeps names and attributes */
    bool default_permissions; /* the kernel checks permissions too */
    uint32_t threads;         /* at most so many requests are served at once */
    const char *kernel;       /* for mount(2) as "ro,allow_other", or "" */
};

#define MOUNT_THREADS_MAX 64u
#define MOUNT_ERROR_SIZE 512

struct mount;

/* Mounts fs on directory, an absolute path; fs is used by the mount's threads until mount_serve has returned.
 * Returns 0, or -errno with the reason in error. */
int mount_create(benchfs *fs, const char *directory, const struct mount_options *options,
                 struct mount **mount, char error[MOUNT_ERROR_SIZE]);
/* Serves requests until the directory is unmounted by somebody, or SIGINT, SIGTERM or SIGHUP arrives, which
 * unmounts it. The caller has these signals blocked in all threads. Returns 0 or -errno. */
int mount_serve(struct mount *mount);
/* Unmounts if that has not happened. */
void mount_destroy(struct mount *mount);

/* Servers of a store directory for as long as a command needs them: nobody else has their key. */
#pragma once

#include "base/config.h"
#include "cli/launch.h"

struct offline {
    struct cluster_paths paths; /* in a temporary directory */
    char program[PATH_MAX];
    struct launch launch;
    struct config config; /* the caller's, but for what the directory itself says */
};

/* config is filled in. change: what the servers do lasts; otherwise the directories stay as they are, byte
 * for byte, and what recovery would mend is mended in memory. Starts a server for each of store/0, store/1,
 * ..., as what their identity says, and points BENCHFS_CLUSTER to them. 0, or -errno with the reason printed
 * and nothing left. */
int offline_start(struct offline *offline, const char *store, bool change);
/* Ends them in good order. -EIO, with the reason printed: some did not end well. */
int offline_stop(struct offline *offline);

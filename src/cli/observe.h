/* What status and top show of a cluster: readings of all its regions, and what happened between two of them.
 */
#pragma once

#include "base/map.h"
#include "cli/cluster.h"
#include "client/sources.h"

/* One region: source->own. */
struct watched {
    bool fresh;       /* the last reading went well */
    uint64_t started; /* header.started_ns of the region that `now` is of: another one is another process */
    double seconds;   /* from `before` to `now` */
    struct metrics_snapshot before; /* zeros: what happened since the region began is what is told */
    struct metrics_snapshot now;
    struct metrics_snapshot since;        /* now less before; gauges are now's */
    uint64_t *totals[METRICS_OPERATIONS]; /* buckets of STAGE_TOTAL at `now`; NULL: nothing ever happened */
    uint64_t replies[METRICS_OPERATIONS]; /* of which STAGE_REPLY was measured, at `now` */
    struct histogram all;                 /* STAGE_TOTAL since `before`, of all requests served (or called) */
    uint64_t requests;                    /* since `before`: served, or of a client called */
    uint64_t errors;
    uint64_t bytes;
    uint64_t position;                       /* in the trace */
    uint64_t partitions[METRICS_PARTITIONS]; /* requests by partition, at `now` */
    struct metrics_session *sessions;        /* at `now` */
    uint32_t session_count;
};

/* One operation, of all servers or as all clients of this host called it. */
struct observed_operation {
    struct metrics_operation sums;
    uint64_t replies; /* of which STAGE_REPLY was measured */
    struct histogram total;
};

/* A file or directory that requests were about. */
struct hot {
    uint64_t inode;
    uint64_t requests; /* of those that the trace still had */
    uint64_t bytes;
    bool directory; /* requests named an entry of it */
};

struct slow_request {
    struct metrics_entry entry;
    uint32_t server;
    uint64_t ago; /* ns before this reading */
};

#define HOST_TEXT_MAX 64u

/* A process of clients, as the servers see it: client_loads.c. */
struct client_load {
    uint64_t instance;        /* its number; 0: not known */
    char host[HOST_TEXT_MAX]; /* where it came from */
    uint32_t uid;
    bool here;         /* it is on this host */
    uint32_t sessions; /* open, with all servers */
    uint64_t requests; /* since the last reading */
    uint64_t bytes;    /* of bulk */
    double requests_per_s, bytes_per_s;
};

#define OBSERVED_SLOW 64u /* slowest requests that are kept */
#define OBSERVED_HOT 64u

/* How evenly something is spread over servers. */
struct balance {
    double mean, maximum;
    double imbalance; /* maximum / mean; 0: there was nothing */
    double variation; /* standard deviation / mean */
};

struct observer {
    struct cluster cluster;
    struct cluster_link link;
    const char **addresses;
    uint32_t *ids;
    struct sources sources;
    uint64_t taken; /* clock_now of the last reading */
    bool again;     /* it tells what happened since the one before, not since the regions began */

    struct observed_operation *operations; /* [METRICS_OPERATIONS], as numbered in regions */
    struct hot hot[OBSERVED_HOT];          /* most requests first */
    uint32_t hot_count;
    uint64_t traced;                         /* entries of requests that were read for it */
    struct slow_request slow[OBSERVED_SLOW]; /* slowest first, at most a minute old */
    uint32_t slow_count;
    uint64_t slow_noted; /* requests slower than metrics.slow, since the servers started */
    struct balance requests, busy, used;
    uint64_t partitions_used; /* that had requests since the last reading */
    uint32_t partition_hottest;
    double partition_share;    /* of all requests */
    struct client_load *loads; /* most requests first */
    uint32_t load_count;
};

/* Opens the cluster that the environment names. 0, or -errno with the reason printed. */
int observer_open(struct observer *observer);
void observer_close(struct observer *observer);
/* Reads everything. The first time it tells what happened since each region began, then what happened since
 * the last time. 0 or -ENOMEM: servers that do not answer are no failure, their watched.fresh is false. */
int observer_sample(struct observer *observer);

static inline struct watched *watched_of(const struct source *source)
{
    return source->own;
}
static inline bool is_server(const struct source *source)
{
    return source->server != UINT32_MAX;
}
/* Share of the time, 0..1, that the loop was at work since the last reading. */
double watched_busy(const struct watched *watched);
/* ... that its thread could have run, but others had the processor. */
double watched_waiting(const struct watched *watched);

/* Name of an operation of a region, called or served: "LOOKUP", "disk read", or NULL: there is none. */
const char *observed_name(uint32_t operation);
/* What the values of balance.h say of so many values. */
struct balance balance_of(const double *values, uint32_t count);

/* ---- client_loads.c ---- */

/* Adds what the sessions of a server did to observer->loads. 0 or -errno. */
int client_loads_read(struct observer *observer, struct source *source);
void client_loads_sort(struct observer *observer);

/* ---- paths of inodes (inode_names.c) ---- */

/* Remembers what inodes are called. Servers know it of most; the others are looked for by a walk over all
 * names of the file system, which is only done while those are few. */
struct inode_names;

int inode_names_create(struct inode_names **names); /* 0 or -ENOMEM */
void inode_names_destroy(struct inode_names *names);
/* Asks for those of the inodes that are not known yet. dentries: how many names the file system has: whether
 * they may be walked over. */
void inode_names_find(struct inode_names *names, const uint64_t *inodes, uint32_t count, uint64_t dentries);
/* NULL: not known. */
const char *inode_name(const struct inode_names *names, uint64_t inode);

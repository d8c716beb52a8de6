/* The regions of measurements of one cluster: of its servers, wherever they run, and of the clients on this
 * host.
 *
 * A server of this host is read from its file, so that nothing is asked of it and one that hangs can still be
 * looked at; others, and those that share nothing, are asked (READ_METRICS). Clients of other hosts are not
 * seen. */
#pragma once

#include "metrics/offset.h"
#include "metrics/reader.h"
#include "rpc/rpc.h"

struct source {
    struct metrics_source *reader; /* NULL: there was none yet, or it is lost: status says why */
    int status;                    /* of the last attempt to reach it; 0: good */
    uint32_t server;               /* number; UINT32_MAX: a client */
    bool remote;                   /* read by requests */
    bool ended;                    /* its process is gone: what can be read is all there will be */
    const char *address;           /* a server's; of the options */
    struct clock_offset clock;     /* of a remote one: ours minus its */
    void *own;                     /* the user's: NULL at first */
    /* private */
    char *path;
    struct rpc_peer *peer;
    struct sources *sources;
};

struct sources_options {
    const char *directory; /* of regions: NULL: METRICS_DIRECTORY_DEFAULT */
    struct rpc *rpc;       /* to ask servers with; NULL: only files are read */
    uint64_t patience;     /* ns that a request may take */
    /* The servers of the cluster, kept by the caller: bootstrap addresses and numbers. */
    const char *const *addresses;
    const uint32_t *ids;
    uint32_t count;
    bool clients; /* regions of clients, too */
    bool ended;   /* and of processes that are gone, if they left some */
};

struct sources {
    struct sources_options options;
    struct source **list; /* the servers in the order of options.addresses, then the others as they came */
    uint32_t count;
};

/* Finds what there is. A server that cannot be reached is in the list all the same. 0 or -ENOMEM. Suspends
 * for as long as one request may take, when there are servers to be asked. */
int sources_open(const struct sources_options *options, struct sources *sources);
/* Looks again: for clients that have come, for servers that had not been reached or were started again, and
 * for who has ended. Pointers to sources stay. A source whose server became another process has its `own` as
 * before and a reader with another header.started_ns. 0 or -ENOMEM. Suspends. */
int sources_refresh(struct sources *sources);
/* The same without asking servers. 0 or -ENOMEM. Does not suspend. */
int sources_look(struct sources *sources);
/* Closes the readers. `own` is the user's. */
void sources_close(struct sources *sources);

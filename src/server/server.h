/* A server: namespace and chunk handlers over meta/, store/ and rpc/. One per loop; benchfsd runs one, the
 * simulator many in one process. */
#pragma once

#include "cluster/map.h"
#include "rpc/rpc.h"
#include "store/store.h"

struct server;

struct server_options {
    uint32_t id;
    const uint8_t *cluster_key;
    const char *listen;         /* bootstrap "host:port", port 0: any */
    struct store_options store; /* net and loop are filled in */
    uint64_t lease_ns;          /* meta.open_lease; 0: never return data with open */
    uint64_t rpc_deadline_ns;
    uint32_t rendezvous_threshold;
    uint64_t metadata_capacity; /* meta.capacity: bytes of metadata and inline data; beyond: -ENOSPC. 0:
                                   unlimited */
    uint64_t metadata_reserve;  /* meta.reserve: bytes of memory for metadata taken at once; 0: none */
    uint64_t board_bytes;       /* meta.board: size of the attribute board; 0: there is none */
    uint64_t content_bytes;     /* meta.board_contents: of small files' contents there; 0: none */
    enum durability durability; /* this and the rest: for persistent engines */
    uint64_t interval_ns;       /* store.interval */
    uint64_t journal_limit;     /* store.journal_limit: bytes that a recovery may have to replay */
};

/* Creates the server and starts to listen; requests other than GET_MAP, PING and SHUT_DOWN are refused with
 * -EAGAIN until server_set_map. *bound: 64 bytes, the bootstrap address. */
int server_create(struct net *net, const struct server_options *options, struct server **server, char *bound);
/* Takes back what the store's directory holds from earlier; to be called before the map is set, and does
 * nothing with an engine that is not persistent. Reasons for failure are logged. May suspend. */
int server_recover(struct server *server);
/* What that had to do; false: nothing, there is no journal. */
bool server_recovery(const struct server *server, struct journal_recovery *recovery);
/* The membership (fixed at start for now): the server finds itself by id. The owner of partition 0 makes the
 * root. */
int server_set_map(struct server *server, struct cluster_map *map); /* takes ownership of map */
/* From now on nothing is written any more, not even at the end; for tests that kill servers. */
void server_abandon(struct server *server);
/* With the map set and before clients come: finishes what was under way between servers when they went down.
 * May suspend. */
int server_resolve(struct server *server);
/* Finishes: what was acknowledged lasts, if the engine is persistent. */
void server_destroy(struct server *server);
/* What `benchfs status` shows, counted since the start. */
void server_status(struct server *server, struct server_status_reply *status);
/* Called when a client asked for shutdown. */
void server_on_shut_down(struct server *server, void (*callback)(void *owner), void *owner);

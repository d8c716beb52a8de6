/* Looking at servers beside the target.
 *
 * A connection to servers costs milliseconds and a queue at each of them, and where all servers are on this
 * host their files tell the same for nothing: so it is made at the first look that meets a server without a
 * file. It speaks to servers directly, like the tools of the command line, and is no client: it has no
 * session that servers would have to remember. */
#include "bench/target_sources.h"

#include <stdlib.h>

#include "rpc/rpc.h"

#define PATIENCE UINT64_C(2000000000)

struct target_sources {
    struct sources sources;
    struct loop *loop; /* these three: NULL until a server has to be asked */
    struct net *net;
    struct rpc *rpc;
    uint8_t key[CLUSTER_KEY_BYTES];
    char transports[256], devices[256];
    uint32_t count;
    char (*addresses)[64];
    const char **address_pointers;
    uint32_t *ids;
};

static int copy_map(struct target_sources *own, const struct cluster_map *map)
{
    own->count = map->server_count;
    own->addresses = calloc(own->count, sizeof(*own->addresses));
    own->address_pointers = calloc(own->count, sizeof(*own->address_pointers));
    own->ids = calloc(own->count, sizeof(*own->ids));
    if (own->addresses == NULL || own->address_pointers == NULL || own->ids == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < own->count; i++) {
        memcpy(own->addresses[i], map->servers[i].address, sizeof(own->addresses[i]));
        own->address_pointers[i] = own->addresses[i];
        own->ids[i] = map->servers[i].id;
    }
    return 0;
}

int target_sources_open(struct benchfs *fs, struct target_sources **sources)
{
    struct worker *worker = worker_get(fs);
    struct target_sources *own = worker != NULL ? calloc(1, sizeof(*own)) : NULL;
    if (own == NULL)
        return worker == NULL ? -errno : -ENOMEM;
    memcpy(own->key, fs->key, sizeof(own->key));
    memcpy(own->transports, fs->transports, sizeof(own->transports));
    memcpy(own->devices, fs->devices, sizeof(own->devices));
    int status = copy_map(own, client_map(worker->client));
    if (status == 0) {
        const struct sources_options options = {
            .patience = PATIENCE, .addresses = own->address_pointers, .ids = own->ids, .count = own->count};
        status = sources_open(&options, &own->sources);
    }
    if (status < 0) {
        target_sources_close(own);
        return status;
    }
    *sources = own;
    return 0;
}

/* Whether every server has been found among the files of this host. */
static bool all_here(const struct target_sources *own)
{
    for (uint32_t i = 0; i < own->count; i++) {
        if (own->sources.list[i]->reader == NULL)
            return false;
    }
    return true;
}

static int connect_servers(struct target_sources *own)
{
    const struct loop_options loop_options = {0};
    struct net_ucx_options net_options = {
        .transports = own->transports[0] != '\0' ? own->transports : NULL,
        .devices = own->devices[0] != '\0' ? own->devices : NULL,
        .one_host = true,
    };
    for (uint32_t i = 0; i < own->count; i++)
        net_options.one_host &= net_address_is_local(own->addresses[i]);
    const struct rpc_options rpc_options = {
        .cluster_key = own->key, .deadline_ns = PATIENCE, .server_id = UINT32_MAX};
    int status = own->loop == NULL ? loop_create(&loop_options, &own->loop) : 0;
    if (status == 0 && own->net == NULL)
        status = net_create(own->loop, &net_options, &own->net);
    if (status == 0)
        status = rpc_create(own->net, &rpc_options, &own->rpc);
    return status;
}

struct sources *target_sources_refresh(struct target_sources *sources)
{
    sources_look(&sources->sources);
    if (sources->rpc == NULL && !all_here(sources) && connect_servers(sources) == 0)
        sources->sources.options.rpc = sources->rpc;
    sources_refresh(&sources->sources);
    return &sources->sources;
}

void target_sources_close(struct target_sources *sources)
{
    if (sources == NULL)
        return;
    sources_close(&sources->sources);
    if (sources->rpc != NULL)
        rpc_destroy(sources->rpc);
    if (sources->net != NULL)
        net_destroy(sources->net);
    if (sources->loop != NULL)
        loop_destroy(sources->loop);
    free(sources->addresses);
    free(sources->address_pointers);
    free(sources->ids);
    free(sources);
}

/* One place where options of the table become options of a server, so that a benchmark's servers are those
 * that `benchfs start` would have started. */
#include "server/configure.h"

#include <errno.h>

void server_configure(const struct config *config, struct server_options *options)
{
    struct store_options *store = &options->store;
    options->listen = config->server.listen;
    store->engine = config->store.engine;
    store->capacity = config->store.capacity;
    store->prefault = config->store.prefault;
    store->checksum = config->store.checksum;
    store->buffer = config->store.buffer;
    store->fast = config->store.fast;
    store->slow = config->store.slow;
    store->fast_capacity = config->store.fast_capacity;
    options->lease_ns = config->meta.open_lease;
    options->rpc_deadline_ns = config->rpc.deadline;
    options->rendezvous_threshold = (uint32_t)config->rpc.rendezvous_threshold;
    options->metadata_capacity = config->meta.capacity;
    options->metadata_reserve =
        config->meta.reserve < config->meta.capacity ? config->meta.reserve : config->meta.capacity;
    options->board_bytes = config->meta.board;
    options->content_bytes = config->meta.board_contents;
    options->durability = (enum durability)durability_from_name(config->store.durability);
    options->interval_ns = config->store.interval;
    options->journal_limit = config->store.journal_limit;
}

int server_configure_map(const struct config *config, bool persistent, const struct cluster_server *members,
                         uint32_t count, struct cluster_map **map)
{
    int status = cluster_map_create(1, members, count, map);
    if (status != 0)
        return status;
    status = cluster_map_assign(*map, (enum ring_strategy)strategy_from_name(config->cluster.ring),
                                (enum hash_function)hash_function_from_name(config->cluster.hash));
    if (status != 0) {
        cluster_map_destroy(*map);
        return status == -EINVAL ? -ENOTSUP : status;
    }
    (*map)->consistency = (enum consistency)consistency_from_name(config->cluster.consistency);
    if (persistent)
        (*map)->durability = (enum durability)durability_from_name(config->store.durability);
    return 0;
}

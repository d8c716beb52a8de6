/* From the configuration to what a server and its map are made with: for benchfsd and for everybody else who
 * runs servers as benchfsd would. */
#pragma once

#include "base/config.h"
#include "cluster/map.h"
#include "server/server.h"

/* Fills in what the configuration says. Not touched: id, cluster_key and store.disk, net, loop; the texts
 * stay the configuration's. */
void server_configure(const struct config *config, struct server_options *options);
/* The first map of these members (copied). persistent: whether the servers' engine is. Returns 0 or -errno,
 * as cluster_map_create; -ENOTSUP: cluster.ring does not work with cluster.hash. */
int server_configure_map(const struct config *config, bool persistent, const struct cluster_server *members,
                         uint32_t count, struct cluster_map **map);

/* What an inode is called, for those who show people measurements. */
#pragma once

#include <stdint.h>

struct client;

/* *path: one that leads to the inode, to be freed. As many requests as it has components, and some more where
 * names were given by rename or link. 0; -ENOENT: no server knows one; -EINVAL: no inode's number;
 * -ENAMETOOLONG; -EPROTO; -ENOMEM; or a status of rpc_call. Names may change meanwhile. Suspends. */
int client_inode_path(struct client *client, uint64_t inode, char **path);

/* The path of an inode, from its end to its beginning: what it is called in which directory, what that is
 * called, and so on up to the root. The server of an inode's partition knows the name that the inode was made
 * with; one that was given later is known where it stands, so then the others are asked, one by one. */
#include "client/inode_path.h"

#include <stdlib.h>
#include <string.h>

#include "client/core.h"

static int ask_server(struct client *client, uint32_t server, uint64_t inode, struct name_of_reply *reply)
{
    struct inode_request body = {.inode = inode};
    struct rpc_call call = {
        .operation = RPC_NAME_OF,
        .body = &body,
        .body_length = sizeof(body),
        .reply = reply,
        .reply_size = sizeof(*reply),
        .namespace_epoch = client->namespace_epoch,
    };
    int status = rpc_call(client->peers[server], &call);
    client_observe(client, &call);
    if (status != 0)
        return status;
    bool sound = reply->name_length > 0 && inode_valid(reply->parent) &&
                 memchr(reply->name, '/', reply->name_length) == NULL &&
                 memchr(reply->name, '\0', reply->name_length) == NULL;
    return sound ? 0 : -EPROTO;
}

static int ask(struct client *client, uint64_t inode, struct name_of_reply *reply)
{
    uint32_t first = client_inode_server(client, inode), count = client->map->server_count;
    int status = ask_server(client, first, inode, reply);
    for (uint32_t i = 1; i < count && status == -ENOENT && client->map->server_count == count; i++)
        status = ask_server(client, (first + i) % count, inode, reply);
    return status;
}

int client_inode_path(struct client *client, uint64_t inode, char **path)
{
    char room[PATH_LENGTH_MAX + 1];
    char *at = room + PATH_LENGTH_MAX;
    *at = '\0';
    if (!inode_valid(inode))
        return -EINVAL;
    while (inode != INODE_ROOT) {
        struct name_of_reply reply;
        int status = ask(client, inode, &reply);
        if (status != 0)
            return status;
        if ((size_t)(at - room) < reply.name_length + 1u)
            return -ENAMETOOLONG; /* or directories that lead to one another */
        at -= reply.name_length;
        memcpy(at, reply.name, reply.name_length);
        *--at = '/';
        inode = reply.parent;
    }
    char *found = strdup(*at == '\0' ? "/" : at);
    if (found == NULL)
        return -ENOMEM;
    *path = found;
    return 0;
}

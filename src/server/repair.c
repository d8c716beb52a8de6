/* What `benchfs fsck --repair` has a server do. Each request mends one thing and says what it expects to
 * find: an inode with the change time that was seen, a name that leads to the inode. If that is not so any
 * more, somebody has changed it meanwhile and nothing happens (-EAGAIN). Whoever counts links or renames
 * changes an inode's change time, so a count that was found wrong and is set right has not been right in
 * between.
 *
 * A repair is a change like any other: it waits at the gates, and is in the journal before it is answered if
 * store.durability says so. */
#include <errno.h>

#include "server/state.h"

static int drop_chunks(struct server *server, uint64_t number)
{
    if (server->map == NULL)
        return -EAGAIN;
    if (!inode_valid(number))
        return -EINVAL;
    if (server_of_inode(server, number) == server->self && meta_inode_find(server->meta, number) != NULL)
        return -EEXIST;
    return server->store->operations->remove(server->store, number, 0);
}

static int make_directory(struct server *server, const struct repair_inode_request *body)
{
    struct inode *inode;
    int status = gate_inode(server, body->inode, &inode);
    if (status == 0)
        return -EEXIST;
    if (status != -ESTALE)
        return status;
    if (!inode_valid(body->value))
        return -EINVAL;
    if (map_get(&server->directory_marks, body->inode) != NULL)
        return -EBUSY; /* it was removed just now, or is about to be */
    status = server_metadata_room(server, sizeof(*inode));
    if (status == 0)
        status =
            meta_inode_create(server->meta, body->inode, S_IFDIR | 0700, loop_realtime(server->loop), &inode);
    if (status != 0)
        return status;
    inode->links = 2;
    inode->parent = body->value;
    inode_changed(server, inode);
    return 0;
}

/* The inode as it was found, not busy. */
static int expected_inode(struct server *server, const struct rpc_request *request,
                          const struct repair_inode_request *body, struct inode **inode)
{
    for (;;) {
        int status = gate_inode(server, body->inode, inode);
        if (status == 0 && (*inode)->change_time != body->change_time)
            status = -EAGAIN;
        if (status != 0 || (*inode)->busy == NULL)
            return status;
        status = inode_busy_wait(server, *inode, request->deadline);
        if (status != 0)
            return status;
    }
}

static int set_links(struct server *server, struct inode *inode, uint64_t links)
{
    if (links == 0 || links > INODE_LINKS_MAX || (S_ISDIR(inode->mode) && links != 2))
        return -EINVAL;
    if (inode->links == 0)
        orphan_remove(server, inode->number);
    inode->links = (uint32_t)links;
    return 0;
}

static int repair_inode(struct server *server, const struct rpc_request *request,
                        const struct repair_inode_request *body)
{
    struct inode *inode;
    int status = expected_inode(server, request, body, &inode);
    if (status != 0)
        return status;
    switch (body->action) {
    case REPAIR_LINKS:
        status = set_links(server, inode, body->value);
        break;
    case REPAIR_PARENT:
        if (!S_ISDIR(inode->mode) || !inode_valid(body->value))
            return -EINVAL;
        inode->parent = body->value;
        break;
    case REPAIR_SIZE:
        if (!inode_is_inline(inode) || S_ISDIR(inode->mode))
            return -EINVAL;
        inode->size = inode->inline_length;
        inode->generation++;
        break;
    default:
        return -EINVAL;
    }
    if (status != 0)
        return status;
    inode->change_time = loop_realtime(server->loop);
    inode_changed(server, inode);
    /* Clients have cached what ".." was. */
    return body->action == REPAIR_PARENT ? server_bump_namespace(server, request->deadline) : 0;
}

void serve_REPAIR_INODE(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct repair_inode_request *body = request->body;
    int status;
    if (body->action == REPAIR_CHUNKS)
        status = drop_chunks(server, body->inode);
    else if (body->action == REPAIR_MAKE)
        status = make_directory(server, body);
    else
        status = repair_inode(server, request, body);
    answer(request, status, NULL, 0);
}

/* ---- names ---- */

/* A name may stand where it does not belong, so what is to be changed is not asked for its owner. */
static int gate_name(struct server *server, const struct rpc_request *request,
                     const struct repair_name_request *body)
{
    if (body->action == REPAIR_INSERT)
        return gate_dentry(server, request, body->directory, body->hash, GATE_CREATE);
    if (server->map == NULL)
        return -EAGAIN;
    for (;;) {
        int status = gate_epoch(server, request);
        if (status != 0)
            return status;
        status = server->obstacles == 0
                     ? 0
                     : obstacles_pass(server, body->directory, body->hash, GATE_LOOK, request->deadline);
        if (status != LOOK_AGAIN)
            return status;
    }
}

static int repair_name(struct server *server, const struct repair_name_request *body)
{
    struct dentry dentry;
    int64_t now = loop_realtime(server->loop);
    int status =
        meta_dentry_find(server->meta, body->directory, body->hash, body->name, body->name_length, &dentry);
    if (body->action == REPAIR_INSERT) {
        if (status == 0)
            return -EEXIST;
        if (body->hash != dentry_hash(body->directory, body->name, body->name_length) ||
            !inode_valid(body->inode) || !inode_valid(body->directory))
            return -EINVAL;
        status = server_metadata_room(server, body->name_length);
        return status != 0 ? status
                           : meta_dentry_insert(server->meta, body->directory, body->hash, body->name,
                                                body->name_length, body->inode, body->type & S_IFMT, now);
    }
    if (status != 0 || dentry.inode != body->inode)
        return -EAGAIN;
    if (body->action == REPAIR_REMOVE)
        return meta_dentry_remove(server->meta, body->directory, body->hash, body->name, body->name_length,
                                  now);
    if (body->action == REPAIR_TYPE)
        return meta_dentry_set(server->meta, body->directory, body->hash, body->name, body->name_length,
                               body->inode, body->type & S_IFMT, now);
    return -EINVAL;
}

void serve_REPAIR_NAME(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct repair_name_request *body = request->body;
    int status = body->action == REPAIR_INSERT && name_is_dots(body->name, body->name_length) ? -EINVAL : 0;
    if (status == 0)
        status = gate_name(server, request, body);
    if (status == 0)
        status = repair_name(server, body);
    answer(request, status, NULL, 0);
}

/* Hard links: further names of an inode.
 *
 * LINK goes to the server of the new name. If the inode is there too, name and count change in one step. If
 * not, the name is locked, the inode's server counts the link up (INODE_LINK), and the entry comes last; a
 * failure in between counts it down again. So the count is never lower than the number of names: what a
 * failure of several servers at once can leave behind is an inode that outlives its names, never a name
 * without its inode.
 *
 * Counting a link up does not wait for a truncation or conversion under way, for it touches nothing that
 * those change. An inode whose last name has gone is not given another one: -ESTALE, and the client resolves
 * the path anew. */
#include <errno.h>

#include "server/state.h"

/* Whether the inode may have one more name. */
static int may_link(const struct server *server, const struct inode *inode)
{
    if (S_ISDIR(inode->mode))
        return -EPERM;
    if (inode->links == 0 && !orphan_is_linkable(server, inode))
        return -ESTALE;
    return inode->links < INODE_LINKS_MAX ? 0 : -EMLINK;
}

static void count_link(struct server *server, struct inode *inode)
{
    if (inode->links++ == 0)
        orphan_remove(server, inode->number);
    inode->change_time = loop_realtime(server->loop);
    inode_changed(server, inode);
}

void serve_INODE_LINK(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct inode_link_request *body = request->body;
    uint64_t object = applied_object(APPLIED_LINK, body->inode);
    struct attributes_reply reply;
    struct inode *inode;
    int status = gate_inode(server, body->inode, &inode);
    if (status == 0 && !is_applied(server, body->transaction, object)) {
        status = may_link(server, inode);
        if (status == 0)
            status = mark_applied(server, body->transaction, object);
        if (status == 0)
            count_link(server, inode);
    }
    if (status == 0)
        inode_attributes(server, inode, &reply.attributes);
    answer(request, status, &reply, sizeof(reply));
}

static int insert(struct server *server, const struct link_request *body, uint64_t hash, uint32_t mode)
{
    int status = server_metadata_room(server, body->name_length);
    if (status != 0)
        return status;
    return meta_dentry_insert(server->meta, body->parent, hash, body->name, body->name_length, body->inode,
                              mode & S_IFMT, loop_realtime(server->loop));
}

static bool name_exists(struct server *server, const struct link_request *body, uint64_t hash)
{
    struct dentry dentry;
    return meta_dentry_find(server->meta, body->parent, hash, body->name, body->name_length, &dentry) == 0;
}

static int link_here(struct server *server, const struct link_request *body, uint64_t hash,
                     struct attributes *attributes)
{
    struct inode *inode = meta_inode_find(server->meta, body->inode);
    int status = inode == NULL ? -ESTALE : may_link(server, inode);
    if (status == 0)
        status = insert(server, body, hash, inode->mode);
    if (status == 0) {
        count_link(server, inode);
        inode_attributes(server, inode, attributes);
    }
    return status;
}

/* The name is locked. Counts the inode's new link, then makes the entry. -EIO, -ETIMEDOUT: it may be counted
 * all the same. */
static int link_steps(struct server *server, uint64_t transaction, const struct link_request *body,
                      uint64_t hash, uint64_t deadline, struct attributes *attributes)
{
    struct inode_link_request count = {.inode = body->inode, .transaction = transaction};
    struct attributes_reply reply;
    int status = server_call(server, server_of_inode(server, body->inode), RPC_INODE_LINK, &count,
                             sizeof(count), &reply, sizeof(reply), deadline);
    if (status != 0)
        return status == -EAGAIN ? -EIO : status;
    status = insert(server, body, hash, reply.attributes.mode);
    if (status == 0) {
        *attributes = reply.attributes;
        return 0;
    }
    int undone = inode_link_undo(server, transaction, body->inode, reply.attributes.links == 1);
    return undone != 0 ? undone : status;
}

static int link_elsewhere(struct server *server, const struct rpc_request *request,
                          const struct link_request *body, uint64_t hash, struct attributes *attributes)
{
    struct intent intent = {.transaction = server_transaction(server),
                            .kind = INTENT_LINK,
                            .inode = body->inode,
                            .new_parent = body->parent,
                            .new_length = body->name_length};
    int status = key_lock(server, intent.transaction, body->parent, hash, request->deadline);
    if (status != 0)
        return status;
    status = gate_epoch(server, request);
    if (status == 0 && name_exists(server, body, hash))
        status = -EEXIST;
    if (status == 0)
        status = intent_begin(server, &intent, NULL, body->name, true);
    if (status == 0) {
        status = link_steps(server, intent.transaction, body, hash, request->deadline, attributes);
        intent_end_with(server, intent.transaction, status);
    }
    key_unlock(server, intent.transaction, hash);
    return status;
}

int link_redo(struct server *server, const struct intent *intent)
{
    uint8_t bytes[sizeof(struct link_request) + NAME_LENGTH_MAX];
    struct link_request *body = (void *)bytes;
    struct attributes attributes;
    uint64_t deadline = transaction_end(server);
    *body = (struct link_request){
        .inode = intent->inode, .parent = intent->new_parent, .name_length = intent->new_length};
    memcpy(body->name, intent->names, intent->new_length);
    uint64_t hash = dentry_hash(body->parent, body->name, body->name_length);
    if (intent->uncertain != 0) /* the entry would have ended it */
        return inode_link_undo(server, intent->transaction, intent->inode, true);
    int status = key_lock(server, intent->transaction, body->parent, hash, deadline);
    if (status != 0)
        return status;
    if (!name_exists(server, body, hash))
        status = link_steps(server, intent->transaction, body, hash, deadline, &attributes);
    key_unlock(server, intent->transaction, hash);
    bool refused = status == -ESTALE || status == -EPERM || status == -EMLINK || status == -ENOSPC;
    return refused ? 0 : status; /* it did not happen */
}

void serve_LINK(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct link_request *body = request->body;
    struct attributes_reply reply;
    uint64_t hash = dentry_hash(body->parent, body->name, body->name_length);
    int status =
        inode_valid(body->inode) && inode_valid(body->parent) && !name_is_dots(body->name, body->name_length)
            ? 0
            : -EINVAL;
    if (status == 0)
        status = gate_dentry(server, request, body->parent, hash, GATE_CREATE);
    if (status == 0 && name_exists(server, body, hash))
        status = -EEXIST;
    if (status == 0 && server_of_inode(server, body->inode) == server->self)
        status = link_here(server, body, hash, &reply.attributes);
    else if (status == 0)
        status = link_elsewhere(server, request, body, hash, &reply.attributes);
    answer(request, status, &reply, sizeof(reply));
}

/* Directories across servers: counting, freezing, removing.
 *
 * The entries of a directory are spread over all servers, so that it is empty can only be said while nobody
 * adds to it. rmdir is coordinated by the server of the directory's dentry:
 *
 *   lock the dentry's key; freeze the directory on all servers (creations in it wait) and count; if all
 * counts are 0, bury it everywhere (tombstone), drop the inode, drop the dentry, unlock; otherwise thaw and
 * unlock.
 *
 * Freezing never waits: a server on which another transaction holds a key in the directory, or has frozen it,
 * answers BUSY_RETRY; then everything is given back, the dentry's key too, and the coordinator tries again
 * after a random while. So no cycle of waiting transactions can close through a freeze. A burial that did not
 * reach every server leaves the dentry in place and answers -EIO: a later rmdir finds the tombstones and
 * finishes the work. */
#include <errno.h>
#include <stdlib.h>

#include "server/state.h"

int transaction_back_off(struct server *server, unsigned attempt, uint64_t deadline)
{
    uint64_t longest = (20 * NSEC_PER_USEC) << (attempt < 8 ? attempt : 8);
    uint64_t pause = longest / 2 + random_below(loop_random(server->loop), longest);
    if (loop_now(server->loop) + pause >= deadline)
        return -ETIMEDOUT;
    return task_sleep(server->loop, pause);
}

int directory_finish(struct server *server, uint64_t directory, uint64_t transaction, uint8_t action)
{
    struct directory_request body = {.directory = directory, .transaction = transaction, .action = action};
    return server_call_many(server, NULL, RPC_DIRECTORY_FINISH, &body, sizeof(body), NULL, 0,
                            transaction_end(server));
}

int directory_freeze_empty(struct server *server, uint64_t directory, uint64_t transaction, uint64_t deadline)
{
    uint32_t count = server->map->server_count;
    struct directory_reply *replies = calloc(count, sizeof(*replies));
    if (replies == NULL)
        return -ENOMEM;
    struct directory_request body = {.directory = directory, .transaction = transaction};
    int status = server_call_many(server, NULL, RPC_DIRECTORY_FREEZE, &body, sizeof(body), replies,
                                  sizeof(*replies), deadline);
    for (uint32_t i = 0; status == 0 && i < count; i++) {
        if (replies[i].entries != 0)
            status = -ENOTEMPTY;
    }
    free(replies);
    if (status != 0)
        directory_finish(server, directory, transaction, DIRECTORY_THAW);
    return status;
}

void serve_DIRECTORY_STATUS(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct directory_request *body = request->body;
    struct meta_directory_status here;
    meta_directory_status(server->meta, body->directory, &here);
    struct directory_reply reply = {
        .entries = here.entries,
        .subdirectories = here.subdirectories,
        .modify_time = here.modify_time,
    };
    answer(request, server->map == NULL ? -EAGAIN : 0, &reply, sizeof(reply));
}

/* Drops the inode of a buried directory, wherever it is. */
static int drop_inode(struct server *server, uint64_t transaction, uint64_t number, uint64_t deadline)
{
    for (;;) {
        struct inode *inode;
        int status = gate_inode(server, number, &inode);
        if (status == -STATUS_WRONG_EPOCH)
            return inode_unlink_elsewhere(server, transaction, number, deadline, NULL);
        if (status == -ESTALE)
            return 0;
        if (status == 0 && inode->busy != NULL) {
            status = inode_busy_wait(server, inode, deadline);
        } else if (status == 0) {
            inode_drop_link(server, inode, deadline);
            return 0;
        }
        if (status != 0)
            return status;
    }
}

/* The key is locked, the directory frozen and empty. */
static int remove_steps(struct server *server, uint64_t transaction, uint64_t directory)
{
    int status = directory_finish(server, directory, transaction, DIRECTORY_REMOVE);
    if (status == 0)
        status = drop_inode(server, transaction, directory, transaction_end(server));
    return status == 0 ? 0 : -EIO;
}

/* The key is locked. */
static int remove_locked(struct server *server, const struct rpc_request *request,
                         const struct name_request *body, uint64_t hash, uint64_t transaction)
{
    struct dentry dentry;
    int status = gate_epoch(server, request);
    if (status == 0)
        status = meta_dentry_find(server->meta, body->parent, hash, body->name, body->name_length, &dentry);
    if (status == 0 && !S_ISDIR(dentry.type))
        status = -ENOTDIR;
    if (status == 0)
        status = directory_freeze_empty(server, dentry.inode, transaction, request->deadline);
    if (status != 0)
        return status;
    struct intent intent = {.transaction = transaction,
                            .kind = INTENT_REMOVE_DIRECTORY,
                            .inode = dentry.inode,
                            .old_parent = body->parent,
                            .old_length = body->name_length};
    status = intent_begin(server, &intent, body->name, NULL, !server_single(server));
    if (status != 0) {
        directory_finish(server, dentry.inode, transaction, DIRECTORY_THAW);
        return status;
    }
    status = remove_steps(server, transaction, dentry.inode);
    if (status == 0)
        status = meta_dentry_remove(server->meta, body->parent, hash, body->name, body->name_length,
                                    loop_realtime(server->loop));
    intent_end_with(server, transaction, status);
    return status;
}

int remove_directory_redo(struct server *server, const struct intent *intent)
{
    uint64_t hash = dentry_hash(intent->old_parent, intent->names, intent->old_length);
    uint64_t deadline = transaction_end(server);
    struct dentry dentry;
    int status = key_lock(server, intent->transaction, intent->old_parent, hash, deadline);
    if (status != 0)
        return status == -ESTALE ? 0 : status;
    if (meta_dentry_find(server->meta, intent->old_parent, hash, intent->names, intent->old_length,
                         &dentry) == 0 &&
        dentry.inode == intent->inode) {
        status = directory_freeze_empty(server, intent->inode, intent->transaction, deadline);
        if (status == 0)
            status = remove_steps(server, intent->transaction, intent->inode);
        if (status == 0)
            status = meta_dentry_remove(server->meta, intent->old_parent, hash, intent->names,
                                        intent->old_length, loop_realtime(server->loop));
    }
    key_unlock(server, intent->transaction, hash);
    return status == -ENOTEMPTY ? 0 : status; /* it did not happen */
}

void serve_REMOVE_DIRECTORY(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct name_request *body = request->body;
    uint64_t hash = dentry_hash(body->parent, body->name, body->name_length);
    int status;
    for (unsigned attempt = 0;; attempt++) {
        struct dentry dentry;
        status = gate_dentry(server, request, body->parent, hash, GATE_LOOK);
        if (status == 0)
            status =
                meta_dentry_find(server->meta, body->parent, hash, body->name, body->name_length, &dentry);
        if (status == 0 && !S_ISDIR(dentry.type))
            status = -ENOTDIR;
        uint64_t transaction = server_transaction(server);
        if (status == 0)
            status = key_lock(server, transaction, body->parent, hash, request->deadline);
        if (status != 0)
            break;
        status = remove_locked(server, request, body, hash, transaction);
        key_unlock(server, transaction, hash);
        if (status != -STATUS_BUSY_RETRY)
            break;
        status = transaction_back_off(server, attempt, request->deadline);
        if (status != 0)
            break;
    }
    answer(request, status, NULL, 0);
}

/* Names: look up, open, create, unlink. The path that every small operation takes.
 *
 * A dentry and the inode made with it are on one server, so the common case of each handler is one pass
 * through the gate, one dentry probe and a reply, without suspension. After a rename dentry and inode may
 * live apart: then the handler asks the inode's server (attributes_elsewhere) and the answer is as fresh as
 * that server's.
 *
 * Attributes of a directory end up in clients' lookup caches under the namespace epoch of the reply. So a
 * handler never answers with a directory's attributes that it read before the epoch changed. */
#include <errno.h>

#include "data/placement.h"
#include "meta/lookup.h"
#include "server/state.h"

/* Attributes of what a dentry points to, or LOOK_AGAIN. */
static int dentry_attributes(struct server *server, const struct rpc_request *request,
                             const struct dentry *dentry, struct attributes *attributes)
{
    if (__builtin_expect(dentry->local != NULL, 1)) {
        if (__builtin_expect(inode_hides_attributes(dentry->local), 0)) {
            int status = inode_busy_wait(server, dentry->local, request->deadline);
            return status == 0 ? LOOK_AGAIN : status;
        }
        inode_attributes(server, dentry->local, attributes);
        return 0;
    }
    uint32_t epoch = server->namespace_epoch;
    int status = attributes_elsewhere(server, dentry->inode, request->deadline, attributes);
    return status == 0 && epoch != server->namespace_epoch ? LOOK_AGAIN : status;
}

/* Finds (parent, name) and its attributes. *dentry is not valid after a suspension; its numbers are. */
static int find_entry(struct server *server, const struct rpc_request *request, uint64_t parent,
                      uint64_t hash, const char *name, size_t length, struct dentry *dentry,
                      struct attributes *attributes)
{
    uint64_t missing = 0;
    for (;;) {
        int status = gate_dentry(server, request, parent, hash, GATE_LOOK);
        if (status != 0)
            return status;
        status = meta_lookup(server->meta, parent, hash, name, length, dentry);
        if (status != 0)
            return status;
        status = dentry_attributes(server, request, dentry, attributes);
        if (status == -ENOENT) {
            /* Replaced or removed while its server was asked, so the entry has changed. Else it is a
             * remainder of an unlink that could not finish: only another unlink helps. */
            if (dentry->inode == missing)
                return -EIO;
            missing = dentry->inode;
        } else if (status != LOOK_AGAIN) {
            return status;
        }
    }
}

/* A client has been, or is about to be, told this of a name (status 0 or -ENOENT): it may stand on the board.
 */
static void publish_entry(struct server *server, const struct rpc_request *request, uint64_t parent,
                          uint64_t hash, const char *name, size_t length, int status,
                          const struct dentry *dentry, const struct attributes *attributes)
{
    if (!board_is_watched(server, request))
        return;
    if (status == -ENOENT)
        meta_publish_name(server->meta, parent, hash, name, length, NULL, NULL);
    else if (status == 0 && dentry->local != NULL && attributes_keep(server, dentry->local, attributes))
        meta_publish_name(server->meta, parent, hash, name, length, dentry->local, attributes);
}

void serve_LOOKUP(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct name_request *body = request->body;
    struct attributes_reply reply;
    struct dentry dentry;
    uint64_t hash = dentry_hash(body->parent, body->name, body->name_length);
    int status = find_entry(server, request, body->parent, hash, body->name, body->name_length, &dentry,
                            &reply.attributes);
    struct ahead ahead = {0};
    if (status == 0 && dentry.local != NULL)
        ahead = ahead_begin(server, request, dentry.local, true);
    answer(request, status, &reply, sizeof(reply)); /* without suspending: a lookup promises nothing */
    publish_entry(server, request, body->parent, hash, body->name, body->name_length, status, &dentry,
                  &reply.attributes);
    ahead_end(server, request, &ahead);
}

int check_open(const struct rpc_request *request, const struct attributes *attributes, uint32_t uid,
               uint32_t gid, unsigned access)
{
    if (S_ISLNK(attributes->mode))
        return 0;
    if (S_ISDIR(attributes->mode) && (access & 2) != 0)
        return -EISDIR;
    return permission_check(request, uid, gid, attributes->mode, attributes->uid, attributes->gid, access);
}

/* Grants the session a read lease, unless a writer is waiting for leases to end. Returns its length in
 * microseconds. */
static uint32_t grant_lease(struct server *server, const struct rpc_request *request, struct inode *inode)
{
    uint64_t lease = server->options.lease_ns;
    uint64_t now = request->arrived;
    uint32_t session = lease_session_of(request);
    if (lease < NSEC_PER_USEC || inode->busy != NULL)
        return 0;
    if (inode->lease_until > now) {
        if (inode->lease_session == LEASE_REFUSED)
            return 0;
        if (inode->lease_session != session)
            session = 0;
    }
    uint64_t until = now + lease + lease / 4;
    if (inode->lease_until < until)
        inode->lease_until = until;
    inode->lease_session = session;
    return (uint32_t)(lease / NSEC_PER_USEC);
}

static bool has_inline_data(const struct inode *inode)
{
    return S_ISREG(inode->mode) && inode->inline_length != 0;
}

/* Answers to an OPEN. inode: what is held, or NULL. */
static void answer_open(struct server *server, struct rpc_request *request, int status,
                        struct open_reply *reply, struct inode *inode)
{
    const struct open_request *body = request->body;
    bool brings = inode != NULL && (body->flags & OPEN_WANT_INLINE) != 0 && has_inline_data(inode);
    if (brings)
        reply->lease_us = grant_lease(server, request, inode);
    if (reply->lease_us == 0) {
        answer(request, status, reply, sizeof(*reply));
        return;
    }
    chunk_note_access(server, inode); /* for the client reads them without asking */
    struct iovec bulk = {inode->inline_data, inode->inline_length};
    /* Should the reply have to wait, the bytes stay in place. */
    struct inode_busy busy;
    inode_busy_begin(inode, &busy, false);
    rpc_reply(request, 0, reply, sizeof(*reply), &bulk, 1);
    inode_busy_end(server, inode);
    chunk_publish(server, request, inode);
    expect_reading((const char *)bulk.iov_base + bulk.iov_len);
}

void serve_OPEN(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct open_request *body = request->body;
    struct open_reply reply = {0};
    struct dentry dentry;
    uint64_t hash = dentry_hash(body->parent, body->name, body->name_length);
    int status = find_entry(server, request, body->parent, hash, body->name, body->name_length, &dentry,
                            &reply.attributes);
    /* Before the reply, which may have to wait. */
    publish_entry(server, request, body->parent, hash, body->name, body->name_length, status, &dentry,
                  &reply.attributes);
    if (status == 0)
        status = check_open(request, &reply.attributes, body->uid, body->gid, body->access);
    struct inode *inode = status == 0 ? dentry.local : NULL;
    if (inode != NULL && (!S_ISLNK(inode->mode) || (body->flags & OPEN_LINK) != 0)) {
        status = inode_hold(server, inode, rpc_request_serial(request));
        if (status != 0)
            inode = NULL;
    }
    /* Of small files the reply brings the contents, which the board would not. */
    struct ahead ahead = {0};
    if (inode != NULL && (body->access & 2) == 0 && !has_inline_data(inode))
        ahead = ahead_begin(server, request, inode, true);
    answer_open(server, request, status, &reply, inode);
    ahead_end(server, request, &ahead);
}

static int check_create(const struct create_request *body)
{
    if (!inode_valid(body->parent) || name_is_dots(body->name, body->name_length))
        return -EINVAL;
    if (body->placement > PLACEMENT_LOCAL || body->chunk_shift < CHUNK_SHIFT_MIN ||
        body->chunk_shift > CHUNK_SHIFT_MAX || body->layout_base >= PARTITION_COUNT)
        return -EINVAL;
    return 0;
}

/* Makes inode and dentry together. type: S_IFREG, S_IFDIR or S_IFLNK. Never suspends. */
static int create_entry(struct server *server, const struct create_request *body, uint64_t hash,
                        uint32_t type, struct inode **inode)
{
    int status = server_metadata_room(server, sizeof(**inode) + body->name_length);
    if (status != 0)
        return status;
    status = meta_create_entry(server->meta, body->parent, hash, body->name, body->name_length,
                               type | (body->mode & 07777), loop_realtime(server->loop), inode);
    if (status != 0)
        return status;
    (*inode)->uid = body->uid;
    (*inode)->gid = body->group;
    (*inode)->layout = (struct layout){
        .placement = body->placement,
        .chunk_shift = body->chunk_shift,
        .base = body->layout_base,
    };
    inode_changed(server, *inode);
    return 0;
}

/* O_CREAT found an entry: the same checks as an open, and O_TRUNC. What is here is held, but for a symbolic
 * link, which the client follows. What lives elsewhere the client holds and then cuts: cut before, a file
 * that loses its name meanwhile would be emptied for others, and another one opened. */
static int create_existing(struct server *server, const struct rpc_request *request,
                           const struct create_request *body, uint64_t hash, struct attributes *attributes)
{
    struct dentry dentry;
    int status =
        find_entry(server, request, body->parent, hash, body->name, body->name_length, &dentry, attributes);
    if (status != 0)
        return status;
    if ((body->flags & CREATE_EXCLUSIVE) != 0)
        return -EEXIST;
    if (S_ISDIR(attributes->mode))
        return -EISDIR;
    unsigned access =
        ((body->flags & CREATE_READ) != 0 ? 4u : 0) | ((body->flags & CREATE_WRITE) != 0 ? 2u : 0);
    bool truncate = (body->flags & CREATE_TRUNCATE) != 0 && S_ISREG(attributes->mode);
    status = check_open(request, attributes, body->uid, body->gid, truncate ? access | 2u : access);
    if (status != 0 || dentry.local == NULL)
        return status;
    if (!truncate)
        return S_ISLNK(attributes->mode) ? 0 : inode_hold(server, dentry.local, rpc_request_serial(request));
    struct inode *inode;
    status = inode_prepare_change(server, request, dentry.inode, NULL, &inode);
    if (status == 0)
        status = inode_truncate(server, inode, 0, request->deadline);
    if (status == 0 && body->uid != 0)
        inode_clear_ids(inode);
    if (status == 0)
        status = inode_hold(server, inode, rpc_request_serial(request));
    if (status == 0)
        inode_attributes(server, inode, attributes);
    return status == -ESTALE ? LOOK_AGAIN : status;
}

void serve_CREATE_FILE(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct create_request *body = request->body;
    struct attributes_reply reply;
    uint64_t hash = dentry_hash(body->parent, body->name, body->name_length);
    struct inode *inode;
    int status = check_create(body);
    while (status == 0) {
        status = gate_dentry(server, request, body->parent, hash, GATE_CREATE);
        if (status != 0)
            break;
        status = create_entry(server, body, hash, S_IFREG, &inode);
        if (status == 0) {
            status = inode_hold(server, inode, rpc_request_serial(request));
            inode_attributes(server, inode, &reply.attributes);
            break;
        }
        /* A full server still opens what exists. */
        if (status != -EEXIST && status != -ENOSPC && status != -ENOMEM)
            break;
        int existing = create_existing(server, request, body, hash, &reply.attributes);
        if (existing == LOOK_AGAIN || (existing == -ENOENT && status == -EEXIST))
            status = 0; /* it went away meanwhile */
        else if (existing == -ENOENT)
            break;
        else {
            status = existing;
            break;
        }
    }
    answer(request, status, &reply, sizeof(reply));
}

void serve_CREATE_DIRECTORY(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct create_request *body = request->body;
    struct attributes_reply reply;
    struct inode *inode;
    uint64_t hash = dentry_hash(body->parent, body->name, body->name_length);
    int status = check_create(body);
    if (status == 0)
        status = gate_dentry(server, request, body->parent, hash, GATE_CREATE);
    if (status == 0)
        status = create_entry(server, body, hash, S_IFDIR, &inode);
    if (status == 0)
        inode_attributes(server, inode, &reply.attributes);
    answer(request, status, &reply, sizeof(reply));
}

void serve_CREATE_SYMLINK(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct create_request *body = request->body;
    struct attributes_reply reply;
    struct inode *inode;
    char target[SYMLINK_LENGTH_MAX];
    uint32_t length = (uint32_t)request->bulk_length;
    uint64_t hash = dentry_hash(body->parent, body->name, body->name_length);
    int status = check_create(body);
    if (status == 0 && (request->bulk_length == 0 || request->bulk_length > sizeof(target)))
        status = request->bulk_length == 0 ? -ENOENT : -ENAMETOOLONG;
    if (status == 0)
        status = rpc_request_receive(request, &(struct iovec){target, length}, 1);
    if (status == 0 && memchr(target, 0, length) != NULL)
        status = -EINVAL;
    if (status == 0)
        status = gate_dentry(server, request, body->parent, hash, GATE_CREATE);
    if (status == 0)
        status = server_metadata_room(server, length);
    if (status == 0)
        status = create_entry(server, body, hash, S_IFLNK, &inode);
    if (status == 0) {
        status = meta_inline_set(server->meta, inode, target, length);
        if (status != 0) {
            meta_dentry_remove(server->meta, body->parent, hash, body->name, body->name_length,
                               loop_realtime(server->loop));
            meta_inode_remove(server->meta, inode);
        }
    }
    if (status == 0) {
        inode->size = length;
        inode_changed(server, inode);
        inode_attributes(server, inode, &reply.attributes);
    }
    answer(request, status, &reply, sizeof(reply));
}

void serve_MAKE_NODE(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct node_request *body = request->body;
    const struct create_request *create = &body->create;
    struct attributes_reply reply;
    struct inode *inode;
    uint64_t hash = dentry_hash(create->parent, create->name, create->name_length);
    bool device = S_ISCHR(body->type) || S_ISBLK(body->type);
    int status = check_create(create);
    if (status == 0 && !device && body->type != S_IFREG && body->type != S_IFIFO && body->type != S_IFSOCK)
        status = -EINVAL;
    if (status == 0)
        status = gate_dentry(server, request, create->parent, hash, GATE_CREATE);
    if (status == 0)
        status = create_entry(server, create, hash, body->type, &inode);
    if (status == 0) {
        if (device)
            inode->parent = body->device;
        inode_changed(server, inode);
        inode_attributes(server, inode, &reply.attributes);
    }
    answer(request, status, &reply, sizeof(reply));
}

/* Made with an entry that no client can name, which goes before anybody sees it. Neither counts as a change
 * of the directory. */
static int create_unnamed(struct server *server, const struct rpc_request *request,
                          const struct unnamed_request *body, struct inode **inode)
{
    static const char name[] = "/";
    int status = meta_create_entry(server->meta, body->parent, body->hash, name, 1,
                                   S_IFREG | (body->mode & 07777), 0, inode);
    if (status != 0)
        return status;
    meta_dentry_remove(server->meta, body->parent, body->hash, name, 1, 0);
    struct inode *made = *inode;
    made->access_time = made->modify_time = made->change_time = loop_realtime(server->loop);
    made->uid = body->uid;
    made->gid = body->group;
    made->layout = (struct layout){
        .placement = body->placement,
        .chunk_shift = body->chunk_shift,
        .base = body->layout_base,
    };
    status = inode_hold(server, made, rpc_request_serial(request));
    if (status == 0)
        status = orphan_add(server, made, body->linkable != 0);
    if (status != 0)
        inode_free(server, made, 0); /* it has no chunks */
    else
        made->links = 0;
    if (status == 0)
        inode_changed(server, made);
    return status;
}

void serve_CREATE_UNNAMED(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct unnamed_request *body = request->body;
    struct attributes_reply reply;
    struct inode *inode;
    int status = 0;
    if (!inode_valid(body->parent) || rpc_request_serial(request) == 0 || body->placement > PLACEMENT_LOCAL ||
        body->chunk_shift < CHUNK_SHIFT_MIN || body->chunk_shift > CHUNK_SHIFT_MAX ||
        body->layout_base >= PARTITION_COUNT)
        status = -EINVAL;
    if (status == 0)
        status = gate_dentry(server, request, body->parent, body->hash, GATE_CREATE);
    if (status == 0)
        status = server_metadata_room(server, sizeof(*inode));
    if (status == 0)
        status = create_unnamed(server, request, body, &inode);
    if (status == 0)
        inode_attributes(server, inode, &reply.attributes);
    answer(request, status, &reply, sizeof(reply));
}

/* The inode lives elsewhere: it loses its link there before the entry goes, so that no failure leaves an
 * inode without a name. The locked key keeps others away from an entry whose inode may be gone already. */
static int unlink_elsewhere(struct server *server, struct rpc_request *request,
                            const struct name_request *body, uint64_t hash, uint64_t inode, uint64_t *orphan)
{
    struct intent intent = {.transaction = server_transaction(server),
                            .kind = INTENT_UNLINK,
                            .inode = inode,
                            .old_parent = body->parent,
                            .old_length = body->name_length};
    int status = key_lock(server, intent.transaction, body->parent, hash, request->deadline);
    if (status != 0)
        return status;
    struct dentry dentry;
    status = meta_dentry_find(server->meta, body->parent, hash, body->name, body->name_length, &dentry);
    if (status == 0 && dentry.inode != inode)
        status = LOOK_AGAIN;
    /* An earlier attempt may have dropped the link already. */
    uint64_t transaction = intent_find(server, INTENT_UNLINK, body->parent, body->name, body->name_length);
    if (status == 0 && transaction == 0) {
        transaction = intent.transaction;
        status = intent_begin(server, &intent, body->name, NULL, true);
    }
    if (status == 0) {
        status = inode_unlink_elsewhere(server, transaction, inode, request->deadline, orphan);
        if (status == 0)
            status = meta_dentry_remove(server->meta, body->parent, hash, body->name, body->name_length,
                                        loop_realtime(server->loop));
        intent_end_with(server, transaction, status);
    }
    key_unlock(server, intent.transaction, hash);
    return status;
}

int unlink_redo(struct server *server, const struct intent *intent)
{
    uint64_t deadline = transaction_end(server);
    uint64_t hash = dentry_hash(intent->old_parent, intent->names, intent->old_length);
    uint64_t holder = server_transaction(server); /* an unlink that goes on with it is another one */
    struct dentry dentry;
    int status = key_lock(server, holder, intent->old_parent, hash, deadline);
    if (status != 0)
        return status == -ESTALE ? 0 : status;
    /* The entry goes last, with the intent. */
    bool there = meta_dentry_find(server->meta, intent->old_parent, hash, intent->names, intent->old_length,
                                  &dentry) == 0 &&
                 dentry.inode == intent->inode;
    if (there && intent->uncertain != 0)
        status = inode_unlink_ask(server, intent->transaction, intent->inode, deadline);
    if (there && status == 0)
        status = inode_unlink_elsewhere(server, intent->transaction, intent->inode, deadline, NULL);
    if (there && status == 0)
        status = meta_dentry_remove(server->meta, intent->old_parent, hash, intent->names, intent->old_length,
                                    loop_realtime(server->loop));
    key_unlock(server, holder, hash);
    return status == -ENODATA ? 0 : status;
}

void serve_UNLINK(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct name_request *body = request->body;
    uint64_t orphan = 0;
    uint64_t hash = dentry_hash(body->parent, body->name, body->name_length);
    int status;
    do {
        struct dentry dentry;
        status = gate_dentry(server, request, body->parent, hash, GATE_LOOK);
        if (status == 0)
            status = meta_lookup(server->meta, body->parent, hash, body->name, body->name_length, &dentry);
        if (status != 0)
            break;
        if (S_ISDIR(dentry.type)) {
            status = -EISDIR;
        } else if (dentry.local == NULL) {
            status = unlink_elsewhere(server, request, body, hash, dentry.inode, &orphan);
        } else if (dentry.local->busy != NULL) {
            status = inode_busy_wait(server, dentry.local, request->deadline);
            if (status == 0)
                status = LOOK_AGAIN;
        } else {
            status = meta_dentry_remove(server->meta, body->parent, hash, body->name, body->name_length,
                                        loop_realtime(server->loop));
            bool held = status == 0 && inode_is_held(server, dentry.local);
            if (status == 0 && !held && server->journal == NULL && chunks_all_here(server, dentry.local)) {
                /* The rest cannot fail nor suspend, so nobody sees a moment between reply and removal; on the
                 * board they would. */
                inode_changed(server, dentry.local);
                answer(request, 0, &(struct unlink_reply){0}, sizeof(struct unlink_reply));
                inode_drop_link(server, dentry.local, 0);
                return;
            }
            if (status == 0 && inode_drop_link(server, dentry.local, request->deadline))
                orphan = dentry.inode;
        }
    } while (status == LOOK_AGAIN);
    struct unlink_reply reply = {.orphan = orphan};
    answer(request, status, &reply, sizeof(reply));
}

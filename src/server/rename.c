/* The rename transaction. Dentries are at the servers of their hashes, so up to four servers take part: those
 * of the two names, of the moved inode and of the replaced one.
 *
 * Files and symbolic links are coordinated by the source name's server. Directories are coordinated by the
 * namespace coordinator, one at a time: only under that mutex does a walk from the new parent up to the root
 * prove that the new parent is not inside the directory to be moved.
 *
 *   1. lock both names in ascending order of hash (KEY_LOCK tells what they point to)
 *   2. check: types, emptiness of a replaced directory (frozen as for rmdir), no cycle, and that the
 * namespace epoch is still the one under which the client resolved the paths
 *   3. a directory: set its parent, if that changes; then bump the namespace epoch everywhere, so that no
 * cached path survives, and no cached "..": in this order nobody gets the old parent under the new epoch
 *   4. KEY_FINISH(SET) at the destination: this commits
 *   5. KEY_FINISH(REMOVE) at the source, bury a replaced directory, drop the replaced inode's link
 *
 * An exchange is the same with KEY_FINISH(SET) at both names, the destination first, and no name or inode to
 * drop. If either is a directory it is coordinated, and neither may lie in the other.
 *
 * Whoever looks up a locked name waits, so no one sees the destination without the source's removal having
 * been decided, and no one finds neither. Before step 4 every failure gives all locks back and leaves
 * everything as it was. After it the rename has happened and only goes forward; what cannot be reached then
 * is logged. A conflict in freezing, or a name that stays locked for
 * KEY_LOCK_WAIT_NS, gives the locks back and starts again (directory.c and struct server_peers say why). */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "server/state.h"

#define DEPTH_MAX 65536u /* of directories */

/* One of the two names. */
struct name_key {
    uint64_t parent;
    uint64_t hash;
    const char *name;
    uint8_t length;
    uint32_t server;
    uint64_t inode; /* once locked: what it points to, 0: nothing */
    uint32_t type;
    bool applied; /* once locked: this transaction has set or removed it */
};

struct rename {
    struct server *server;
    const struct rpc_request *request;
    uint8_t flags;
    uint64_t transaction;
    struct name_key old;
    struct name_key new;
    bool coordinated;   /* this server is the namespace coordinator and holds the mutex */
    bool directory_met; /* a directory takes part, although old.type did not tell: coordinate */
    uint64_t orphan;    /* what was replaced, if it lives on without a name */
};

static void key_init(const struct server *server, struct name_key *key, uint64_t parent, const char *name,
                     uint8_t length)
{
    *key = (struct name_key){.parent = parent, .name = name, .length = length};
    key->hash = dentry_hash(parent, name, length);
    key->server = server_of_hash(server, key->hash);
}

static int lock_name(struct rename *rename, struct name_key *key)
{
    uint8_t bytes[sizeof(struct key_lock_request) + NAME_LENGTH_MAX];
    struct key_lock_request *body = (void *)bytes;
    *body = (struct key_lock_request){
        .transaction = rename->transaction, .parent = key->parent, .name_length = key->length};
    memcpy(body->name, key->name, key->length);
    struct key_lock_reply reply;
    int status =
        server_call(rename->server, key->server, RPC_KEY_LOCK, body, (uint32_t)sizeof(*body) + key->length,
                    &reply, sizeof(reply), rename->request->deadline);
    if (status == 0) {
        key->inode = reply.inode;
        key->type = reply.type;
        key->applied = reply.applied != 0;
    }
    return status;
}

/* KEY_SET points the name at what `target` points to. */
static int finish_name(struct rename *rename, const struct name_key *key, uint8_t action,
                       const struct name_key *target)
{
    uint8_t bytes[sizeof(struct key_finish_request) + NAME_LENGTH_MAX];
    struct key_finish_request *body = (void *)bytes;
    *body = (struct key_finish_request){
        .transaction = rename->transaction,
        .parent = key->parent,
        .inode = target->inode,
        .type = target->type,
        .action = action,
        .name_length = key->length,
    };
    memcpy(body->name, key->name, key->length);
    return server_call(rename->server, key->server, RPC_KEY_FINISH, body,
                       (uint32_t)sizeof(*body) + key->length, NULL, 0, transaction_end(rename->server));
}

/* -EINVAL when directory is `moved` or lies in it. */
static int check_no_cycle(const struct rename *rename, uint64_t moved, uint64_t directory)
{
    struct server *server = rename->server;
    for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
        if (directory == moved)
            return -EINVAL;
        if (directory == INODE_ROOT)
            return 0;
        struct inode *inode;
        struct attributes attributes;
        int status = gate_inode(server, directory, &inode);
        if (status == 0) {
            directory = inode->parent;
            continue;
        }
        if (status == -STATUS_WRONG_EPOCH)
            status = attributes_elsewhere(server, directory, rename->request->deadline, &attributes);
        if (status != 0)
            return status == -ESTALE ? -ENOENT : status;
        directory = attributes.parent;
    }
    return -ELOOP;
}

static bool is_exchange(const struct rename *rename)
{
    return (rename->flags & RENAME_FLAG_EXCHANGE) != 0;
}

/* Both names are locked. LOOK_AGAIN: whether a directory takes part was not known before. */
static int check_types(struct rename *rename)
{
    const struct name_key *old = &rename->old, *new = &rename->new;
    if (old->inode == 0)
        return -ENOENT;
    if (is_exchange(rename)) {
        rename->directory_met = S_ISDIR(old->type) || S_ISDIR(new->type);
        if (new->inode == 0)
            return -ENOENT;
        return rename->directory_met && !rename->coordinated ? LOOK_AGAIN : 0;
    }
    if (S_ISDIR(old->type) != rename->coordinated)
        return LOOK_AGAIN;
    if (new->inode == 0)
        return 0;
    if ((rename->flags & RENAME_FLAG_NOREPLACE) != 0)
        return -EEXIST;
    if (new->inode == old->inode)
        return 0;
    if (S_ISDIR(old->type) != S_ISDIR(new->type))
        return S_ISDIR(new->type) ? -EISDIR : -ENOTDIR;
    return S_ISDIR(new->type) && old->parent == new->inode ? -ENOTEMPTY : 0;
}

/* Returns whether there is reason to. */
static bool complain(const struct rename *rename, const char *what, int status)
{
    if (status != 0)
        log_error("rename of inode %llx is done, but %s: %s", (unsigned long long)rename->old.inode, what,
                  status_text(status));
    return status != 0;
}

/* A directory that the rename puts under another one. */
static bool changes_parent(const struct rename *rename, const struct name_key *moved)
{
    return moved->inode != 0 && S_ISDIR(moved->type) && rename->old.parent != rename->new.parent;
}

static int set_parent(const struct rename *rename, uint64_t directory, uint64_t parent, uint64_t deadline)
{
    struct server *server = rename->server;
    struct parent_request body = {.directory = directory, .parent = parent};
    return server_call(server, server_of_inode(server, directory), RPC_SET_PARENT, &body, sizeof(body), NULL,
                       0, deadline);
}

/* Sets the parents that change. */
static int set_parents(const struct rename *rename, uint64_t old_parent, uint64_t new_parent,
                       uint64_t deadline)
{
    int status = 0;
    if (changes_parent(rename, &rename->old))
        status = set_parent(rename, rename->old.inode, old_parent, deadline);
    if (is_exchange(rename) && changes_parent(rename, &rename->new)) {
        int other = set_parent(rename, rename->new.inode, new_parent, deadline);
        status = status != 0 ? status : other;
    }
    return status;
}

/* Up to the commit. */
static int commit(struct rename *rename)
{
    struct server *server = rename->server;
    int status = 0;
    if (rename->coordinated)
        status = set_parents(rename, rename->new.parent, rename->old.parent, rename->request->deadline);
    if (status == 0 && rename->coordinated)
        status = server_bump_namespace(server, rename->request->deadline);
    return status != 0 ? status : finish_name(rename, &rename->new, KEY_SET, &rename->old);
}

/* After a commit that failed. */
static void restore_parents(struct rename *rename)
{
    struct server *server = rename->server;
    int status = set_parents(rename, rename->old.parent, rename->new.parent, transaction_end(server));
    if (status == 0)
        status = server_bump_namespace(server, transaction_end(server));
    if (status != 0)
        log_error("rename of inode %llx failed, and its parent may be wrong: %s",
                  (unsigned long long)rename->old.inode, status_text(status));
}

/* An inode that has another name has changed. Its server may be out of reach, so whoever waits for the old
 * name does not wait for this. */
static void touch(const struct rename *rename, uint64_t number)
{
    struct server *server = rename->server;
    struct inode_request body = {.inode = number};
    struct inode *inode;
    if (gate_inode(server, number, &inode) == 0) {
        inode->change_time = loop_realtime(server->loop);
        inode_changed(server, inode);
    } else {
        server_call(server, server_of_inode(server, number), RPC_INODE_TOUCH, &body, sizeof(body), NULL, 0,
                    transaction_end(server));
    }
}

/* After the destination was set: the rest of the transaction. Returns whether all of it was done. */
static bool go_forward(struct rename *rename, bool buries)
{
    struct server *server = rename->server;
    const struct name_key *old = &rename->old, *new = &rename->new;
    if (is_exchange(rename)) {
        bool left = complain(rename, "its old name was not given to the other inode",
                             finish_name(rename, old, KEY_SET, new));
        touch(rename, old->inode);
        touch(rename, new->inode);
        return !left;
    }
    bool left = complain(rename, "its old name stays", finish_name(rename, old, KEY_REMOVE, old));
    touch(rename, old->inode);
    if (buries)
        left |= complain(rename, "the replaced directory is not removed everywhere",
                         directory_finish(server, new->inode, rename->transaction, DIRECTORY_REMOVE));
    if (new->inode != 0)
        left |= complain(rename, "the replaced inode keeps a link",
                         inode_unlink_elsewhere(server, rename->transaction, new->inode,
                                                transaction_end(server), &rename->orphan));
    return !left;
}

/* Neither directory may end up inside itself. */
static int check_cycles(const struct rename *rename)
{
    int status = 0;
    if (S_ISDIR(rename->old.type))
        status = check_no_cycle(rename, rename->old.inode, rename->new.parent);
    if (status == 0 && is_exchange(rename) && S_ISDIR(rename->new.type))
        status = check_no_cycle(rename, rename->new.inode, rename->old.parent);
    return status;
}

static int begin_intent(const struct rename *rename)
{
    const struct server *server = rename->server;
    const struct name_key *old = &rename->old, *new = &rename->new;
    struct intent intent = {
        .transaction = rename->transaction,
        .kind = INTENT_RENAME,
        .inode = old->inode,
        .type = old->type,
        .other = new->inode,
        .other_type = new->type,
        .old_parent = old->parent,
        .new_parent = new->parent,
        .flags = rename->flags,
        .coordinated = rename->coordinated,
        .old_length = old->length,
        .new_length = new->length,
    };
    bool elsewhere = !server_single(server) &&
                     (rename->coordinated || old->server != server->self || new->server != server->self ||
                      (new->inode != 0 && server_of_inode(server, new->inode) != server->self));
    return intent_begin(rename->server, &intent, old->name, new->name, elsewhere);
}

/* Both names are locked; on success they are released. */
static int rename_locked(struct rename *rename)
{
    struct server *server = rename->server;
    struct name_key *new = &rename->new;
    int status = gate_epoch(server, rename->request);
    if (status == 0)
        status = check_types(rename);
    if (status != 0)
        return status;
    if (new->inode == rename->old.inode) {
        finish_name(rename, new, KEY_UNLOCK, new);
        finish_name(rename, &rename->old, KEY_UNLOCK, new);
        return 0;
    }
    if (rename->coordinated)
        status = check_cycles(rename);
    bool buries = status == 0 && rename->coordinated && new->inode != 0 && !is_exchange(rename);
    if (buries)
        status = directory_freeze_empty(server, new->inode, rename->transaction, rename->request->deadline);
    if (status != 0)
        return status;
    status = begin_intent(rename);
    if (status == 0)
        status = commit(rename);
    if (status == 0) {
        bool done = go_forward(rename, buries);
        intent_end_with(server, rename->transaction, done ? 0 : -EIO);
        return 0;
    }
    if (rename->coordinated &&
        (changes_parent(rename, &rename->old) || (is_exchange(rename) && changes_parent(rename, new))))
        restore_parents(rename);
    if (buries)
        directory_finish(server, new->inode, rename->transaction, DIRECTORY_THAW);
    intent_end_with(server, rename->transaction, status);
    return status;
}

/* In which order names are locked. */
static void key_order(struct rename *rename, struct name_key **first, struct name_key **second)
{
    struct name_key *old = &rename->old, *new = &rename->new;
    bool swap = old->hash > new->hash || (old->hash == new->hash && old->parent > new->parent);
    *first = swap ? new : old;
    *second = swap ? old : new;
}

/* ---- once more ---- */

/* A directory that such a name leads to has that parent. */
static int settle_parent(const struct rename *rename, uint64_t directory, uint32_t type,
                         const struct name_key *key)
{
    if (!rename->coordinated || !S_ISDIR(type) || key->inode != directory ||
        rename->old.parent == rename->new.parent)
        return 0;
    return set_parent(rename, directory, key->parent, transaction_end(rename->server));
}

/* It has not happened, and will not. What the names lead to now may be somebody else's doing. */
static int redo_nothing(const struct rename *rename, const struct intent *intent)
{
    int status = settle_parent(rename, intent->inode, intent->type, &rename->old);
    if (status == 0 && is_exchange(rename))
        status = settle_parent(rename, intent->other, intent->other_type, &rename->new);
    return status;
}

/* What the rename replaced. */
static int redo_replaced(struct rename *rename, const struct intent *intent)
{
    struct server *server = rename->server;
    if (intent->other == 0 || is_exchange(rename))
        return 0;
    int status = 0;
    if (rename->coordinated) {
        status = directory_freeze_empty(server, intent->other, intent->transaction, transaction_end(server));
        if (status == 0)
            status = directory_finish(server, intent->other, intent->transaction, DIRECTORY_REMOVE);
        if (status == -ENOTEMPTY)
            return 0; /* its old entries are gone: somebody who had it open has made new ones */
    }
    return status != 0 ? status
                       : inode_unlink_elsewhere(server, intent->transaction, intent->other,
                                                transaction_end(server), NULL);
}

/* The new name is set, or it is certain that it can be. Each step only if nobody has changed what it is
 * about. */
static int redo_steps(struct rename *rename, const struct intent *intent)
{
    struct name_key *old = &rename->old, *new = &rename->new;
    struct name_key moved = {.inode = intent->inode, .type = intent->type};
    struct name_key other = {.inode = intent->other, .type = intent->other_type};
    int status = 0;
    if (!new->applied) {
        new->inode = intent->inode;
        status = settle_parent(rename, intent->inode, intent->type, new);
        if (status == 0 && rename->coordinated)
            status = server_bump_namespace(rename->server, transaction_end(rename->server));
        if (status == 0)
            status = finish_name(rename, new, KEY_SET, &moved);
    } else {
        status = settle_parent(rename, intent->inode, intent->type, new);
        if (status == 0)
            status = finish_name(rename, new, KEY_UNLOCK, new);
    }
    bool mine = old->applied || old->inode == intent->inode;
    uint8_t action = !mine ? KEY_UNLOCK : is_exchange(rename) ? KEY_SET : KEY_REMOVE;
    if (status == 0 && is_exchange(rename) && mine) {
        old->inode = old->applied ? old->inode : intent->other;
        status = settle_parent(rename, intent->other, intent->other_type, old);
    }
    if (status == 0)
        status = finish_name(rename, old, action, &other);
    return status != 0 ? status : redo_replaced(rename, intent);
}

static int redo_locked(struct rename *rename, const struct intent *intent)
{
    struct name_key *old = &rename->old, *new = &rename->new;
    /* The old name goes after the new one is set, which a crash of this server may have taken back if it is
     * here. */
    bool begun = new->applied || old->applied;
    bool fresh = old->inode == intent->inode && new->inode == intent->other && intent->uncertain == 0;
    if (begun || fresh)
        return redo_steps(rename, intent);
    int status = redo_nothing(rename, intent);
    finish_name(rename, new, KEY_UNLOCK, new);
    finish_name(rename, old, KEY_UNLOCK, old);
    return status;
}

static int redo_once(struct rename *rename, const struct intent *intent)
{
    struct name_key *first, *second;
    key_order(rename, &first, &second);
    int status = lock_name(rename, first);
    if (status != 0)
        return status;
    status = lock_name(rename, second);
    if (status == 0)
        status = redo_locked(rename, intent);
    if (status != 0) {
        finish_name(rename, second, KEY_UNLOCK, second);
        finish_name(rename, first, KEY_UNLOCK, first);
    }
    return status;
}

int rename_redo(struct server *server, const struct intent *intent)
{
    struct rpc_request request = {.deadline = transaction_end(server)};
    struct rename rename = {.server = server,
                            .request = &request,
                            .flags = intent->flags,
                            .transaction = intent->transaction,
                            .coordinated = intent->coordinated != 0};
    key_init(server, &rename.old, intent->old_parent, intent->names, intent->old_length);
    key_init(server, &rename.new, intent->new_parent, intent->names + intent->old_length, intent->new_length);
    int status = rename.coordinated ? mutex_lock(server->loop, &server->rename_mutex, request.deadline) : 0;
    if (status != 0)
        return status;
    status = redo_once(&rename, intent);
    if (rename.coordinated)
        mutex_unlock(server->loop, &server->rename_mutex);
    return status == -ESTALE ? 0 : status; /* a directory is gone, and with it what its names were */
}

static int rename_once(struct rename *rename)
{
    struct name_key *first, *second;
    key_order(rename, &first, &second);
    rename->transaction = server_transaction(rename->server);
    int status = lock_name(rename, first);
    if (status == 0) {
        status = lock_name(rename, second);
        if (status == 0)
            status = rename_locked(rename);
        /* A lock whose reply was lost is given back too. */
        if (status != 0)
            finish_name(rename, second, KEY_UNLOCK, second);
    }
    if (status != 0)
        finish_name(rename, first, KEY_UNLOCK, first);
    return status;
}

/* An operation whose path renames of directories make stale each time it has been resolved would go on until
 * its deadline. Its client asks for a turn: the renames that wait already go first, those that come later
 * wait once, until the turn is over. */
#define TURN_SHARE 16u /* of a request's deadline, which a turn takes at most */

void serve_TAKE_TURN(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct turn_request *body = request->body;
    uint64_t longest = server->options.rpc_deadline_ns / TURN_SHARE;
    int status = server->map == NULL ? -EAGAIN
                 : server_coordinator(server) != server->self
                     ? -STATUS_WRONG_EPOCH
                     : mutex_lock(server->loop, &server->rename_mutex, request->deadline);
    if (status == 0) {
        uint64_t until = loop_now(server->loop) + (body->hold_ns < longest ? body->hold_ns : longest);
        if (until > server->turn_until)
            server->turn_until = until;
        mutex_unlock(server->loop, &server->rename_mutex);
    }
    answer(request, status, NULL, 0);
}

/* The mutex, when it is nobody's turn, or after having waited for one. */
static int rename_mutex_lock(const struct rename *rename)
{
    struct server *server = rename->server;
    uint64_t deadline = rename->request->deadline;
    int status = mutex_lock(server->loop, &server->rename_mutex, deadline);
    uint64_t now = loop_now(server->loop);
    if (status != 0 || (rename->flags & RENAME_FLAG_TURN) != 0 || now >= server->turn_until)
        return status;
    uint64_t wait = server->turn_until - now;
    mutex_unlock(server->loop, &server->rename_mutex);
    if (now + wait >= deadline)
        return -ETIMEDOUT;
    status = task_sleep(server->loop, wait);
    return status != 0 ? status : mutex_lock(server->loop, &server->rename_mutex, deadline);
}

static int rename_serialised(struct rename *rename)
{
    struct server *server = rename->server;
    int status = rename_mutex_lock(rename);
    if (status != 0)
        return status;
    status = rename_once(rename);
    mutex_unlock(server->loop, &server->rename_mutex);
    return status;
}

/* Until it has happened, or cannot. coordinated: a directory takes part, and this is the namespace
 * coordinator. */
static int rename_until_done(struct rename *rename, bool coordinated)
{
    struct server *server = rename->server;
    rename->coordinated = coordinated;
    for (unsigned attempt = 0;; attempt++) {
        int status = coordinated ? rename_serialised(rename) : rename_once(rename);
        if (status != -STATUS_BUSY_RETRY)
            return status;
        status = transaction_back_off(server, attempt, rename->request->deadline);
        if (status != 0)
            return status;
    }
}

static int forward_to_coordinator(struct server *server, const struct rpc_request *request,
                                  const struct rename_request *body, uint64_t *orphan)
{
    struct unlink_reply reply = {0};
    uint8_t bytes[sizeof(*body) + 2 * NAME_LENGTH_MAX];
    struct rename_request *forwarded = (void *)bytes;
    memcpy(bytes, body, sizeof(*body) + body->old_length + body->new_length);
    forwarded->flags |= RENAME_FLAG_COORDINATE;
    struct rpc_call call = {
        .operation = RPC_RENAME,
        .body = bytes,
        .body_length = (uint32_t)sizeof(*body) + body->old_length + body->new_length,
        .reply = &reply,
        .reply_size = sizeof(reply),
        .namespace_epoch = request->header->namespace_epoch,
        .deadline = request->deadline,
    };
    int status = rpc_call(server_peer(server, server_coordinator(server), RPC_RENAME), &call);
    server_adopt_epoch(server, call.reply_namespace_epoch);
    *orphan = reply.orphan;
    return status;
}

static int check_rename(struct server *server, const struct rpc_request *request,
                        const struct rename_request *body)
{
    if (server->map == NULL)
        return -EAGAIN;
    if (!inode_valid(body->old_parent) || !inode_valid(body->new_parent))
        return -EINVAL;
    if (name_is_dots(body->names, body->old_length) ||
        name_is_dots(body->names + body->old_length, body->new_length))
        return -EBUSY;
    if ((body->flags & RENAME_FLAG_EXCHANGE) != 0 && (body->flags & RENAME_FLAG_NOREPLACE) != 0)
        return -EINVAL;
    if ((body->flags & RENAME_FLAG_COORDINATE) == 0)
        return 0;
    if (!request->peer_is_server)
        return -EPERM;
    return server_coordinator(server) == server->self ? 0 : -STATUS_WRONG_EPOCH;
}

/* What the new name points to. May suspend. */
static int look_up_new(const struct rename *rename, struct attributes *attributes)
{
    const struct name_key *new = &rename->new;
    uint8_t bytes[sizeof(struct name_request) + NAME_LENGTH_MAX];
    struct name_request *body = (void *)bytes;
    struct attributes_reply reply;
    *body = (struct name_request){.parent = new->parent, .name_length = new->length};
    memcpy(body->name, new->name, new->length);
    int status =
        server_call(rename->server, new->server, RPC_LOOKUP, body, (uint32_t)sizeof(*body) + new->length,
                    &reply, sizeof(reply), rename->request->deadline);
    if (status == 0)
        *attributes = reply.attributes;
    return status;
}

/* A directory that gets another parent is written to: its "..". An exchange moves what the new name points to
 * as well. */
static int may_move(const struct rename *rename, const struct rename_request *body,
                    const struct dentry *dentry)
{
    struct attributes attributes;
    int status = 0;
    if (body->uid == 0 || body->old_parent == body->new_parent)
        return 0;
    if (S_ISDIR(dentry->type)) {
        if (dentry->local != NULL)
            inode_attributes(rename->server, dentry->local, &attributes);
        else
            status =
                attributes_elsewhere(rename->server, dentry->inode, rename->request->deadline, &attributes);
        if (status == 0)
            status = permission(rename->request, body, &attributes, 2);
    }
    if (status == 0 && is_exchange(rename)) {
        status = look_up_new(rename, &attributes);
        if (status == 0 && S_ISDIR(attributes.mode))
            status = permission(rename->request, body, &attributes, 2);
    }
    return status;
}

/* At the source name's server. LOOK_AGAIN: the source changed its type meanwhile. */
static int rename_here(struct rename *rename, const struct rename_request *body)
{
    struct server *server = rename->server;
    struct name_key *old = &rename->old;
    struct dentry dentry;
    int status = gate_dentry(server, rename->request, old->parent, old->hash, GATE_LOOK);
    if (status == 0)
        status = meta_dentry_find(server->meta, old->parent, old->hash, old->name, old->length, &dentry);
    if (status == 0)
        status = may_move(rename, body, &dentry);
    if (status != 0)
        return status;
    bool directory = S_ISDIR(dentry.type) || rename->directory_met;
    if (!directory || server_coordinator(server) == server->self)
        return rename_until_done(rename, directory);
    return forward_to_coordinator(server, rename->request, body, &rename->orphan);
}

void serve_RENAME(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct rename_request *body = request->body;
    int status = check_rename(server, request, body);
    if (status != 0) {
        answer(request, status, NULL, 0);
        return;
    }
    struct rename rename = {.server = server, .request = request, .flags = body->flags};
    key_init(server, &rename.old, body->old_parent, body->names, body->old_length);
    key_init(server, &rename.new, body->new_parent, body->names + body->old_length, body->new_length);
    if ((body->flags & RENAME_FLAG_COORDINATE) != 0) {
        status = rename_until_done(&rename, true);
        /* The source's server asks the client to look at the name once more. */
        if (status == LOOK_AGAIN)
            status = -STATUS_STALE_NAMESPACE;
    } else {
        for (unsigned attempt = 0; (status = rename_here(&rename, body)) == LOOK_AGAIN; attempt++) {
            status = transaction_back_off(server, attempt, request->deadline);
            if (status != 0)
                break;
        }
    }
    struct unlink_reply reply = {.orphan = rename.orphan};
    answer(request, status, &reply, sizeof(reply));
}

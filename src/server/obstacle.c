/* What can stand in the way of a namespace request: a dentry key that a transaction holds, a directory that
 * one has frozen, a directory that was removed.
 *
 * Locks and marks are rare, so the gate looks here only while there are any (server.obstacles). Both free
 * themselves by a timer after server_lock_life, three times the deadline of a request: a coordinator gives up
 * collecting locks within one deadline and finishes its commit within another, so an expiry means that it
 * died.
 *
 * A removed directory leaves a tombstone: clients that have it in their lookup cache would otherwise create
 * entries that nobody can reach. A tombstone is needed only as long as requests with the namespace epoch of
 * the removal are still accepted; when there are many, an epoch bump makes all older ones superfluous.
 *
 * Waiters never keep a pointer to the lock or mark that they waited for: they look everything up again. */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "server/state.h"

/* ---- locked keys ---- */

static void lock_free(struct server *server, struct key_lock *lock)
{
    timer_clear(server->loop, &lock->expiry);
    map_remove(&server->key_locks, lock->hash);
    server->obstacles--;
    wait_queue_wake_all(server->loop, &lock->waiters);
    free(lock);
}

static void lock_expired(struct timer *timer)
{
    struct key_lock *lock = container_of(timer, struct key_lock, expiry);
    log_warning("lock of a name in directory %llx dropped: its transaction %llx did not finish",
                (unsigned long long)lock->parent, (unsigned long long)lock->transaction);
    lock_free(lock->server, lock);
}

int key_lock(struct server *server, uint64_t transaction, uint64_t parent, uint64_t hash, uint64_t deadline)
{
    struct key_lock *lock = map_get(&server->key_locks, hash);
    if (lock != NULL && lock->transaction == transaction) {
        lock->depth++;
        return 0;
    }
    int status;
    do {
        status = obstacles_pass(server, parent, hash, GATE_CREATE, deadline);
    } while (status == LOOK_AGAIN);
    if (status != 0)
        return status;

    lock = calloc(1, sizeof(*lock));
    if (lock == NULL)
        return -ENOMEM;
    lock->hash = hash;
    lock->parent = parent;
    lock->transaction = transaction;
    lock->depth = 1;
    lock->server = server;
    lock->expiry.fire = lock_expired;
    wait_queue_init(&lock->waiters);
    status = map_put(&server->key_locks, hash, lock);
    if (status != 0) {
        free(lock);
        return status;
    }
    server->obstacles++;
    if (server->board != NULL)
        board_changed(server->board, hash); /* who asks for the name has to wait */
    timer_set(server->loop, &lock->expiry, loop_now(server->loop) + server_lock_life(server));
    return 0;
}

bool key_locked_by(struct server *server, uint64_t transaction, uint64_t hash)
{
    struct key_lock *lock = map_get(&server->key_locks, hash);
    return lock != NULL && lock->transaction == transaction;
}

int key_unlock(struct server *server, uint64_t transaction, uint64_t hash)
{
    struct key_lock *lock = map_get(&server->key_locks, hash);
    if (lock == NULL || lock->transaction != transaction)
        return -ESTALE;
    if (--lock->depth == 0)
        lock_free(server, lock);
    return 0;
}

void serve_KEY_LOCK(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct key_lock_request *body = request->body;
    struct key_lock_reply reply = {0};
    uint64_t hash = dentry_hash(body->parent, body->name, body->name_length);
    int status = server->map == NULL ? -EAGAIN : 0;
    if (status == 0 && server_of_hash(server, hash) != server->self)
        status = -STATUS_WRONG_EPOCH;
    if (status == 0) {
        uint64_t patience = loop_now(server->loop) + KEY_LOCK_WAIT_NS;
        uint64_t deadline = request->deadline < patience ? request->deadline : patience;
        status = key_lock(server, body->transaction, body->parent, hash, deadline);
        if (status == -ETIMEDOUT)
            status = -STATUS_BUSY_RETRY;
    }
    struct dentry dentry;
    if (status == 0 &&
        meta_dentry_find(server->meta, body->parent, hash, body->name, body->name_length, &dentry) == 0) {
        reply.inode = dentry.inode;
        reply.type = dentry.type;
    }
    if (status == 0)
        reply.applied =
            is_applied(server, body->transaction, applied_object(APPLIED_KEY, hash ^ body->parent));
    answer(request, status, &reply, sizeof(reply));
}

static int key_change(struct server *server, const struct key_finish_request *body, uint64_t hash)
{
    int64_t now = loop_realtime(server->loop);
    if (body->action == KEY_REMOVE)
        return meta_dentry_remove(server->meta, body->parent, hash, body->name, body->name_length, now);
    return meta_dentry_set(server->meta, body->parent, hash, body->name, body->name_length, body->inode,
                           body->type, now);
}

void serve_KEY_FINISH(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct key_finish_request *body = request->body;
    uint64_t hash = dentry_hash(body->parent, body->name, body->name_length);
    uint64_t object = applied_object(APPLIED_KEY, hash ^ body->parent);
    int status = 0;
    if (!key_locked_by(server, body->transaction, hash)) {
        status = body->action == KEY_UNLOCK ? 0 : -ESTALE;
    } else if (body->action == KEY_REMOVE || body->action == KEY_SET) {
        if (!is_applied(server, body->transaction, object)) {
            status = mark_applied(server, body->transaction, object);
            if (status == 0 && (status = key_change(server, body, hash)) != 0)
                unmark_applied(server, body->transaction, object);
        }
    } else if (body->action != KEY_UNLOCK) {
        status = -EINVAL;
    }
    /* A SET that failed keeps the lock: the coordinator undoes the transaction and unlocks. */
    if (status == 0)
        key_unlock(server, body->transaction, hash);
    answer(request, status, NULL, 0);
}

/* ---- marked directories ---- */

static void mark_free(struct server *server, struct directory_mark *mark)
{
    timer_clear(server->loop, &mark->expiry);
    map_remove(&server->directory_marks, mark->directory);
    server->obstacles--;
    if (mark->transaction == 0) {
        list_remove(&mark->link);
        server->tombstone_count--;
    }
    wait_queue_wake_all(server->loop, &mark->waiters);
    free(mark);
}

static void freeze_expired(struct timer *timer)
{
    struct directory_mark *mark = container_of(timer, struct directory_mark, expiry);
    log_warning("directory %llx thawed: transaction %llx did not finish", (unsigned long long)mark->directory,
                (unsigned long long)mark->transaction);
    mark_free(mark->server, mark);
}

/* A locked key in the directory belongs to a transaction that may add an entry. */
static bool directory_has_locked_key(struct server *server, uint64_t directory)
{
    size_t cursor = 0;
    uint64_t hash;
    for (struct key_lock *lock; (lock = map_next(&server->key_locks, &cursor, &hash)) != NULL;) {
        if (lock->parent == directory)
            return true;
    }
    return false;
}

static int mark_add(struct server *server, uint64_t directory, uint64_t transaction,
                    struct directory_mark **result)
{
    struct directory_mark *mark = calloc(1, sizeof(*mark));
    if (mark == NULL)
        return -ENOMEM;
    mark->directory = directory;
    mark->transaction = transaction;
    mark->server = server;
    mark->expiry.fire = freeze_expired;
    wait_queue_init(&mark->waiters);
    list_init(&mark->link);
    int status = map_put(&server->directory_marks, directory, mark);
    if (status != 0) {
        free(mark);
        return status;
    }
    server->obstacles++;
    *result = mark;
    return 0;
}

void serve_DIRECTORY_FREEZE(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct directory_request *body = request->body;
    struct directory_reply reply = {0};
    struct directory_mark *mark = map_get(&server->directory_marks, body->directory);
    int status = 0;
    if (body->transaction == 0 || !inode_valid(body->directory))
        status = -EINVAL;
    else if (mark != NULL && mark->transaction == 0)
        status = 0; /* an earlier removal got this far: it is empty here and stays so */
    else if (mark != NULL && mark->transaction != body->transaction)
        status = -STATUS_BUSY_RETRY;
    else if (mark == NULL && directory_has_locked_key(server, body->directory))
        status = -STATUS_BUSY_RETRY;
    else if (mark == NULL)
        status = mark_add(server, body->directory, body->transaction, &mark);
    if (status == 0) {
        if (mark->transaction != 0)
            timer_set(server->loop, &mark->expiry, loop_now(server->loop) + server_lock_life(server));
        struct meta_directory_status here;
        meta_directory_status(server->meta, body->directory, &here);
        reply.entries = here.entries;
        reply.subdirectories = here.subdirectories;
        reply.modify_time = here.modify_time;
    }
    answer(request, status, &reply, sizeof(reply));
}

/* Drops tombstones older than a fresh namespace epoch, and only them: those of removals under way stay. */
static void retire_tombstones(void *argument)
{
    struct server *server = argument;
    int status = -ECANCELED;
    if (!server->stopping)
        status = server_bump_namespace(server, loop_now(server->loop) + server->options.rpc_deadline_ns);
    uint32_t epoch = server->namespace_epoch;
    while (status == 0 && !list_empty(&server->tombstones)) {
        struct directory_mark *oldest = container_of(server->tombstones.next, struct directory_mark, link);
        if ((int32_t)(oldest->epoch - epoch) >= 0)
            break;
        mark_free(server, oldest);
    }
    background_end(server, &server->retiring);
}

static void bury(struct server *server, struct directory_mark *mark)
{
    timer_clear(server->loop, &mark->expiry);
    mark->transaction = 0;
    mark->epoch = server->namespace_epoch;
    list_push_back(&server->tombstones, &mark->link);
    wait_queue_wake_all(server->loop, &mark->waiters);
    meta_directory_forget(server->meta, mark->directory);
    if (server->board != NULL)
        board_directory_changed(server->board, mark->directory);
    if (++server->tombstone_count > TOMBSTONES_MAX && !server->retiring && !server->stopping)
        background_begin(server, &server->retiring, retire_tombstones);
}

void serve_DIRECTORY_FINISH(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct directory_request *body = request->body;
    struct directory_mark *mark = map_get(&server->directory_marks, body->directory);
    bool mine = mark != NULL && body->transaction != 0 && mark->transaction == body->transaction;
    int status = 0;
    if (body->action == DIRECTORY_REMOVE) {
        if (mine)
            bury(server, mark);
        else if (mark == NULL || mark->transaction != 0)
            status = -ESTALE;
    } else if (body->action == DIRECTORY_THAW) {
        if (mine)
            mark_free(server, mark);
    } else {
        status = -EINVAL;
    }
    answer(request, status, NULL, 0);
}

/* ---- waiting ---- */

int obstacles_pass(struct server *server, uint64_t parent, uint64_t hash, enum gate_intent intent,
                   uint64_t deadline)
{
    struct wait_queue *queue = NULL;
    struct key_lock *lock = map_get(&server->key_locks, hash);
    struct directory_mark *mark = map_get(&server->directory_marks, parent);
    if (mark != NULL && mark->transaction == 0)
        return -ESTALE;
    if (lock != NULL)
        queue = &lock->waiters;
    else if (mark != NULL && intent == GATE_CREATE)
        queue = &mark->waiters;
    if (queue == NULL)
        return 0;
    if (server->stopping)
        return -ECANCELED;
    int status = wait_queue_wait(server->loop, queue, deadline);
    if (status == 0)
        status = server->stopping ? -ECANCELED : LOOK_AGAIN;
    return status;
}

void obstacles_clear(struct server *server)
{
    while (!list_empty(&server->tombstones))
        mark_free(server, container_of(server->tombstones.next, struct directory_mark, link));
    size_t cursor = 0;
    uint64_t key;
    for (void *value; (value = map_next(&server->key_locks, &cursor, &key)) != NULL; cursor = 0)
        lock_free(server, value);
    cursor = 0;
    for (void *value; (value = map_next(&server->directory_marks, &cursor, &key)) != NULL; cursor = 0)
        mark_free(server, value);
}

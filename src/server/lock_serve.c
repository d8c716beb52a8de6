/* Requests for file locks, over the table of lock.c.
 *
 * A request waits here for wait_ms at most, then its client asks again with the same ticket and finds its
 * place in the queue kept. So a client can stop waiting between two requests - a signal arrived, its program
 * lost interest - and a server holds a request no longer than others. What a wait ends with is told to the
 * request that is attached to the waiter at that moment, and to nobody if none is.
 *
 * Locks belong to the instance that the request's session belongs to, and end with it. */
#include <errno.h>

#include "server/state.h"

#define WAIT_MOST_NS (1 * NSEC_PER_SEC)

static int check_lock(const struct server *server, const struct rpc_request *request, uint64_t inode,
                      uint8_t kind)
{
    if (server->map == NULL)
        return -EAGAIN;
    if (!inode_valid(inode) || kind >= LOCK_KINDS || rpc_request_instance(request) == 0)
        return -EINVAL;
    return server_of_inode(server, inode) == server->self ? 0 : -STATUS_WRONG_EPOCH;
}

static int check_range(const struct lock_request *body)
{
    if (body->type >= LOCK_TYPES || body->start > body->end || body->end > LOCK_OFFSET_MAX)
        return -EINVAL;
    return body->kind == LOCK_FLOCK && (body->start != 0 || body->end != LOCK_OFFSET_MAX) ? -EINVAL : 0;
}

/* Suspends until the lock is the waiter's, or the request has waited long enough. */
static int wait_for(struct server *server, struct rpc_request *request, struct lock_waiter *waiter,
                    uint16_t wait_ms)
{
    uint64_t wait = wait_ms * NSEC_PER_MSEC;
    uint64_t until = loop_now(server->loop) + (wait < WAIT_MOST_NS ? wait : WAIT_MOST_NS);
    struct completion granted = COMPLETION_INIT;
    if (server->stopping)
        return -ECANCELED;
    locks_attach(waiter, request, &granted);
    int status = await_until(server->loop, &granted, until < request->deadline ? until : request->deadline);
    if (granted.fired)
        return granted.status;
    locks_detach(waiter);
    return status == -ETIMEDOUT ? -STATUS_LOCK_WAIT : status;
}

static int lock(struct server *server, struct rpc_request *request, const struct lock_request *body)
{
    struct lock_table *table = &server->locks;
    uint64_t instance = rpc_request_instance(request);
    if (instance == 0)
        return -ECANCELED; /* it ended meanwhile, and nobody would take its locks back */
    struct lock_waiter *waiter = locks_find_waiter(table, instance, body);
    struct lock_reply conflict;
    if ((body->flags & LOCK_GIVE_UP) != 0) {
        if (waiter != NULL)
            locks_give_up(waiter, -EINTR);
        return 0;
    }
    if (!locks_conflict(table, instance, body, &conflict)) {
        if (waiter != NULL)
            locks_give_up(waiter, -ECANCELED);
        return locks_apply(table, instance, body);
    }
    if ((body->flags & LOCK_WAIT) == 0)
        return -EAGAIN;
    int status = waiter == NULL ? locks_wait(table, instance, body, &waiter) : 0;
    return status == 0 ? wait_for(server, request, waiter, body->wait_ms) : status;
}

void serve_LOCK(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct lock_request *body = request->body;
    struct inode *inode;
    int status = check_lock(server, request, body->inode, body->kind);
    if (status == 0)
        status = check_range(body);
    if (status == 0 && body->type != LOCK_NONE)
        status = gate_inode(server, body->inode, &inode);
    if (status == 0)
        status = lock(server, request, body);
    answer(request, status, NULL, 0);
}

void serve_LOCK_TEST(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct lock_request *body = request->body;
    struct lock_reply reply;
    int status = check_lock(server, request, body->inode, body->kind);
    if (status == 0)
        status = check_range(body);
    if (status == 0)
        locks_conflict(&server->locks, rpc_request_instance(request), body, &reply);
    answer(request, status, &reply, sizeof(reply));
}

/* Which instance is meant. One that has the inode open ends here some day, or lets go. */
static int holder_of(struct server *server, struct rpc_request *request,
                     const struct lock_owner_request *body, uint64_t *holder)
{
    struct inode *inode;
    *holder = body->holder != 0 ? body->holder : rpc_request_instance(request);
    if (body->holder == 0)
        return 0;
    uint32_t serial = rpc_instance_serial(server->rpc, body->holder);
    int status = gate_inode(server, body->inode, &inode);
    if (status == 0 && (serial == 0 || !inode_is_held_by(server, inode, serial)))
        status = -ESTALE;
    return status;
}

void serve_LOCK_SHARE(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct lock_owner_request *body = request->body;
    uint64_t holder;
    int status = check_lock(server, request, body->inode, body->kind);
    if (status == 0)
        status = holder_of(server, request, body, &holder);
    if (status == 0)
        status = locks_share(&server->locks, holder, body);
    answer(request, status, NULL, 0);
}

void serve_LOCK_RELEASE(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct lock_owner_request *body = request->body;
    int status = check_lock(server, request, body->inode, body->kind);
    if (status == 0)
        locks_release(&server->locks, body->holder != 0 ? body->holder : rpc_request_instance(request), body);
    answer(request, status, NULL, 0);
}

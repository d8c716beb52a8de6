/* File locks: requests to the inode's server.
 *
 * Waiting for a lock is a series of requests with one ticket, each of which waits at the server for a moment
 * that grows from WAIT_FIRST_MS to WAIT_LAST_MS: whoever waits can stop in between, and the server keeps its
 * place in the queue. The moment is how late a signal is noticed, and costs a waiting client so many
 * messages; the lock itself comes without delay.
 *
 * Changing a shared flock to an exclusive one gives the old one up when it has to wait, as on Linux: two who
 * did it at once and held on would wait for each other for ever. */
#include "client/core.h"

#define WAIT_FIRST_MS 5u
#define WAIT_LAST_MS 40u

static int send(struct client *client, struct operation *operation, uint16_t number, const void *body,
                size_t length, uint64_t inode, void *reply, size_t reply_size)
{
    int status;
    operation_begin(client, operation);
    do {
        status = client_request(client, operation, client_inode_server(client, inode), number, body, length,
                                reply, reply_size);
    } while (operation_again(client, operation, &status));
    return status;
}

static int send_lock(struct client *client, const struct lock_request *request)
{
    struct operation operation;
    return send(client, &operation, RPC_LOCK, request, sizeof *request, request->inode, NULL, 0);
}

static void fill(const struct client_lock *lock, struct lock_request *request)
{
    *request = (struct lock_request){
        .inode = lock->inode,
        .owner = lock->owner,
        .start = lock->start,
        .end = lock->end,
        .pid = lock->pid,
        .kind = lock->kind,
        .type = lock->type,
    };
}

static int wait_for(struct client *client, struct lock_request *request, bool (*give_up)(void *argument),
                    void *argument)
{
    int status;
    request->flags = LOCK_WAIT;
    request->wait_ms = WAIT_FIRST_MS;
    request->ticket = random_next(loop_random(client->loop));
    while ((status = send_lock(client, request)) == -STATUS_LOCK_WAIT) {
        if (give_up != NULL && give_up(argument)) {
            request->flags = LOCK_GIVE_UP;
            send_lock(client, request); /* lost: the place in the queue expires by itself */
            return -EINTR;
        }
        if (request->wait_ms < WAIT_LAST_MS)
            request->wait_ms = (uint16_t)(request->wait_ms * 2);
    }
    return status;
}

int client_lock(struct client *client, const struct client_lock *lock, bool wait,
                bool (*give_up)(void *argument), void *argument)
{
    struct lock_request request;
    fill(lock, &request);
    int status = send_lock(client, &request);
    if (status != -EAGAIN || !wait)
        return status;
    if (lock->kind == LOCK_FLOCK) {
        struct lock_request unlock = request;
        unlock.type = LOCK_NONE;
        status = send_lock(client, &unlock);
        if (status < 0)
            return status;
    }
    return wait_for(client, &request, give_up, argument);
}

int client_lock_test(struct client *client, const struct client_lock *lock, struct lock_reply *found)
{
    struct operation operation;
    struct lock_request request;
    fill(lock, &request);
    return send(client, &operation, RPC_LOCK_TEST, &request, sizeof request, request.inode, found,
                sizeof *found);
}

static int send_owner(struct client *client, uint16_t number, uint64_t inode, uint8_t kind, uint64_t owner,
                      uint64_t holder)
{
    struct operation operation;
    struct lock_owner_request request = {.inode = inode, .owner = owner, .holder = holder, .kind = kind};
    return send(client, &operation, number, &request, sizeof request, inode, NULL, 0);
}

int client_lock_share(struct client *client, uint64_t inode, uint8_t kind, uint64_t owner, uint64_t holder)
{
    return send_owner(client, RPC_LOCK_SHARE, inode, kind, owner, holder);
}

int client_lock_release(struct client *client, uint64_t inode, uint8_t kind, uint64_t owner, uint64_t holder)
{
    return send_owner(client, RPC_LOCK_RELEASE, inode, kind, owner, holder);
}

/* Holding files open, and letting them go.
 *
 * OPEN and CREATE_FILE hold the inode for the client's instance on their way, if it is on the server that
 * they go to; otherwise HOLD follows. A close sends nothing by itself: it leaves a notice at the peer of the
 * inode's server, which goes along with the next open, creation or unlink there. So unlinking a file that
 * this client has just closed finds it let go. A notice that nothing takes along is sent by RELEASE: when the
 * peer has no room for another one, and RELEASE_AFTER_NS after the first that waits - or as soon after as
 * this client is at work again, for its loop turns only inside calls. The close of a file that is known to
 * have no name left waits for RELEASE itself, so that what it took is free when close returns.
 *
 * What was opened without a message (board.c) is held by what the process shows to the server. Its close
 * leaves a notice only if the board says that the inode has changed meanwhile. */
#include "client/core.h"

#include "base/clock.h"

#define RELEASE_AFTER_NS (10 * NSEC_PER_MSEC)
/* How long a client that ends waits for a server that does not answer. */
#define RELEASE_LAST_NS (1 * NSEC_PER_SEC)

/* ---- files without a name ---- */

static _Atomic uint64_t *orphan_word(struct client *client, uint64_t inode, uint64_t *bit)
{
    uint64_t hash = hash_mix(inode);
    *bit = UINT64_C(1) << (hash % 64);
    return &client->orphans->bits[hash / 64 % CLIENT_ORPHAN_WORDS];
}

void client_note_orphan(struct client *client, uint64_t inode)
{
    uint64_t bit;
    _Atomic uint64_t *word = orphan_word(client, inode, &bit);
    atomic_fetch_or_explicit(word, bit, memory_order_relaxed);
}

/* Another inode may have the same bit: then a close waits in vain, or does not wait. */
static bool forget_orphan(struct client *client, uint64_t inode)
{
    uint64_t bit;
    _Atomic uint64_t *word = orphan_word(client, inode, &bit);
    if (__builtin_expect((atomic_load_explicit(word, memory_order_relaxed) & bit) == 0, 1))
        return false;
    atomic_fetch_and_explicit(word, ~bit, memory_order_relaxed);
    return true;
}

/* ---- letting go ---- */

/* Sends what waits at a peer. */
static int send_notices(struct client *client, uint32_t server, uint64_t deadline)
{
    struct rpc_call call = {
        .operation = RPC_RELEASE, .namespace_epoch = client->namespace_epoch, .deadline = deadline};
    int status = rpc_call(client->peers[server], &call);
    client_observe(client, &call);
    return status;
}

int client_announce_heirs(struct client *client, uint32_t server)
{
    while (!rpc_peer_notice(client->peers[server], NOTICE_HEIRS)) {
        int status = send_notices(client, server, 0);
        if (status < 0)
            return status;
    }
    return send_notices(client, server, 0);
}

/* The first notice waits. */
static void release_later(struct client *client)
{
    client->release_due = loop_now(client->loop) + RELEASE_AFTER_NS;
    timer_set(client->loop, &client->release_timer, client->release_due);
}

/* To all servers at once. */
static void release_all(void *argument)
{
    struct client *client = argument;
    uint32_t count = client->map->server_count, started = 0;
    struct rpc_call *calls = calloc(count, sizeof *calls);
    for (uint32_t server = 0; calls != NULL && server < count; server++) {
        if (rpc_peer_notices(client->peers[server]) == 0)
            continue;
        calls[started] =
            (struct rpc_call){.operation = RPC_RELEASE, .namespace_epoch = client->namespace_epoch};
        rpc_start(client->peers[server], &calls[started++]);
    }
    for (uint32_t i = 0; i < started; i++) {
        rpc_finish(&calls[i]);
        client_observe(client, &calls[i]);
    }
    free(calls);
    client->releasing = false;
    if (client->release_again && client->release_due == UINT64_MAX)
        release_later(client);
    client->release_again = false;
    completion_fire(&client->released, 0);
}

void client_release_overdue(struct client *client)
{
    client->release_due = UINT64_MAX;
    timer_clear(client->loop, &client->release_timer);
    if (client->releasing) {
        client->release_again = true; /* it may have passed the server already */
        return;
    }
    bool any = false;
    for (uint32_t server = 0; server < client->map->server_count; server++)
        any |= rpc_peer_notices(client->peers[server]) > 0;
    if (!any)
        return;
    client->released = COMPLETION_INIT;
    client->releasing = true;
    if (task_spawn(client->loop, release_all, client) != 0) {
        client->releasing = false;
        release_later(client);
    }
}

void client_release_timer(struct timer *timer)
{
    client_release_overdue(container_of(timer, struct client, release_timer));
}

void client_release(struct client *client, uint64_t inode, const struct client_hold *hold)
{
    uint32_t server = client_inode_server(client, inode);
    uint64_t notice = inode;
    if (hold->slot != 0) {
        if (__builtin_expect(!client_board_leave(client, inode, hold), 1))
            return;
        notice |= NOTICE_LEFT;
    }
    while (!rpc_peer_notice(client->peers[server], notice))
        if (send_notices(client, server, 0) < 0)
            return; /* a server that is gone has lost the hold, and one that hangs keeps it */
    if (__builtin_expect(forget_orphan(client, inode), 0)) {
        send_notices(client, server, 0);
    } else if (client->release_due == UINT64_MAX) {
        release_later(client);
    }
}

void client_close(struct client *client, struct client_file *file)
{
    if (!file->held)
        return;
    file->held = false;
    client_release(client, file->inode, &file->hold);
}

void client_release_last(struct client *client)
{
    while (client->releasing)
        await(client->loop, &client->released);
    timer_clear(client->loop, &client->release_timer);
    client->release_due = UINT64_MAX;
    for (uint32_t server = 0; server < client->map->server_count; server++)
        if (rpc_peer_notices(client->peers[server]) > 0)
            send_notices(client, server, loop_now(client->loop) + RELEASE_LAST_NS);
}

/* ---- holding ---- */

int client_hold_once(struct client *client, struct operation *operation, uint64_t inode, uint64_t from,
                     struct attributes *attributes)
{
    struct hold_request request = {
        .inode = inode, .from = from, .uid = client->caller.uid, .gid = client->caller.gid};
    struct attributes_reply reply;
    int status = client_request(client, operation, client_inode_server(client, inode), RPC_HOLD, &request,
                                sizeof request, &reply, sizeof reply);
    if (status == -ESTALE)
        operation->missing = inode;
    if (status < 0)
        return status;
    *attributes = reply.attributes;
    operation->held = inode;
    return 0;
}

int client_hold(struct client *client, uint64_t inode, uint64_t from, struct attributes *attributes)
{
    struct operation operation;
    int status;
    operation_begin(client, &operation);
    do {
        status = client_hold_once(client, &operation, inode, from, attributes);
    } while (operation_again(client, &operation, &status));
    return status;
}

/* Open files: which instances hold an inode, and what becomes of it when its last name goes.
 *
 * An open counts one hold of the caller's instance (a process of clients), a close takes one back. Neither
 * costs a message: OPEN and CREATE_FILE count on their way, and a close comes as a notice with a later
 * request (rpc_peer_notice). A hold means something only once the inode has no name any more, so nothing is
 * kept per instance: there are no lists of what it has open. An inode without a name that is still held is an
 * *orphan*: link count 0, found by number only. Whether it is still held is asked when it loses its last
 * name, when a hold is taken back, and when an instance is gone; then all orphans are looked through, and
 * only they.
 *
 * Nearly every inode has one holder, who has it open a few times: inode.holder is serial << 8 | count. What
 * does not fit there - several instances, 255 opens and more, serials of 24 bits and more - is in a list in
 * server.holders, and inode.holder is HOLD_SEVERAL. Holders whose instance is gone are found so when they
 * matter and count as if they were not there: serials are never given again.
 *
 * Clients on this host that read the attribute board open files without a message. What they hold so they
 * show in memory of their own, one per instance (meta/holds.h), which is looked at for inodes that the board
 * has told of (inode.shown), after it has been taken off the board. The memory outlives its process as long
 * as the instance counts as alive. */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "meta/holds.h"
#include "server/state.h"

struct holder {
    uint32_t serial;
    uint32_t count;
};

struct holders {
    uint32_t count;
    uint32_t room;
    struct holder list[];
};

/* What one instance shows. */
struct seen_holds {
    uint64_t instance;
    uint32_t serial;
    uint8_t id[sizeof((struct shown_place *)0)->id];
    struct net_view *view;
    const struct holds *holds;
};

/* Values in server.orphans. */
static char plain, linkable_again;

/* ---- lists ---- */

/* The list of an inode with HOLD_SEVERAL, rid of holders that are gone. */
static struct holders *holders_living(struct server *server, const struct inode *inode)
{
    struct holders *holders = map_get(&server->holders, inode->number);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < holders->count; i++)
        if (rpc_serial_lives(server->rpc, holders->list[i].serial))
            holders->list[kept++] = holders->list[i];
    holders->count = kept;
    return holders;
}

static int holders_replace(struct server *server, struct inode *inode, const struct holder *list,
                           uint32_t count, uint32_t room)
{
    struct holders *holders = malloc(sizeof(*holders) + room * sizeof(holders->list[0]));
    if (holders == NULL)
        return -ENOMEM;
    holders->count = count;
    holders->room = room;
    memcpy(holders->list, list, count * sizeof(*list));
    struct holders *old = map_get(&server->holders, inode->number);
    int status = map_put(&server->holders, inode->number, holders);
    if (status != 0) {
        free(holders);
        return status;
    }
    free(old);
    inode->holder = HOLD_SEVERAL;
    return 0;
}

/* Puts the list back into the inode, if it fits there. */
static void holders_simplify(struct server *server, struct inode *inode, const struct holders *holders)
{
    const struct holder *only = holders->list;
    if (holders->count > 1 || (holders->count == 1 && (only->count > HOLD_COUNT_MAX ||
                                                       only->serial >= HOLD_SEVERAL >> HOLD_COUNT_BITS)))
        return;
    inode->holder = holders->count == 0 ? 0 : only->serial << HOLD_COUNT_BITS | only->count;
    free(map_remove(&server->holders, inode->number));
}

int inode_hold_slow(struct server *server, struct inode *inode, uint32_t serial)
{
    struct holder single = {inode->holder >> HOLD_COUNT_BITS, inode->holder & HOLD_COUNT_MAX};
    if (inode->holder != HOLD_SEVERAL) {
        bool lives = inode->holder != 0 && rpc_serial_lives(server->rpc, single.serial);
        if (!lives && serial < HOLD_SEVERAL >> HOLD_COUNT_BITS) {
            inode->holder = serial << HOLD_COUNT_BITS | 1;
            return 0;
        }
        int status = holders_replace(server, inode, &single, lives, 4);
        if (status != 0)
            return status;
    }
    struct holders *holders = holders_living(server, inode);
    for (uint32_t i = 0; i < holders->count; i++) {
        if (holders->list[i].serial == serial) {
            holders->list[i].count++;
            return 0;
        }
    }
    if (holders->count == holders->room) {
        int status = holders_replace(server, inode, holders->list, holders->count, 2 * holders->room);
        if (status != 0)
            return status;
        holders = map_get(&server->holders, inode->number);
    }
    holders->list[holders->count++] = (struct holder){serial, 1};
    return 0;
}

static void take_back(struct server *server, struct inode *inode, uint32_t serial)
{
    if (inode->holder != HOLD_SEVERAL) {
        if (inode->holder >> HOLD_COUNT_BITS == serial && (--inode->holder & HOLD_COUNT_MAX) == 0)
            inode->holder = 0;
        return;
    }
    struct holders *holders = holders_living(server, inode);
    for (uint32_t i = 0; i < holders->count; i++) {
        if (holders->list[i].serial != serial)
            continue;
        if (--holders->list[i].count == 0)
            holders->list[i] = holders->list[--holders->count];
        break;
    }
    holders_simplify(server, inode, holders);
}

/* serial 0: anybody's. */
static bool is_shown_held(struct server *server, const struct inode *inode, uint32_t serial)
{
    for (uint32_t i = 0; i < server->seen_holds_count; i++)
        if ((serial == 0 || server->seen_holds[i].serial == serial) &&
            holds_have(server->seen_holds[i].holds, inode->number))
            return true;
    return false;
}

bool inode_is_held(struct server *server, struct inode *inode)
{
    if (__builtin_expect(inode->shown, 0) && server->seen_holds_count != 0) {
        meta_withdraw(server->meta, inode);
        if (is_shown_held(server, inode, 0))
            return true;
    }
    if (__builtin_expect(inode->holder == 0, 1))
        return false;
    if (inode->holder != HOLD_SEVERAL)
        return rpc_serial_lives(server->rpc, inode->holder >> HOLD_COUNT_BITS);
    return holders_living(server, inode)->count > 0;
}

bool inode_is_held_by(struct server *server, struct inode *inode, uint32_t serial)
{
    if (serial == 0)
        return false;
    if (inode->shown && is_shown_held(server, inode, serial))
        return true;
    if (inode->holder == 0)
        return false;
    if (inode->holder != HOLD_SEVERAL)
        return inode->holder >> HOLD_COUNT_BITS == serial;
    const struct holders *holders = holders_living(server, inode);
    for (uint32_t i = 0; i < holders->count; i++)
        if (holders->list[i].serial == serial)
            return true;
    return false;
}

/* ---- what instances show ---- */

bool holds_see(struct server *server, const struct rpc_request *request, const struct shown_place *place)
{
    uint64_t instance = rpc_request_instance(request);
    if (instance == 0 || place->length != sizeof(struct holds))
        return false;
    for (uint32_t i = 0; i < server->seen_holds_count; i++)
        if (server->seen_holds[i].instance == instance)
            return memcmp(server->seen_holds[i].id, place->id, sizeof(place->id)) == 0;
    if (server->seen_holds_count == server->seen_holds_room) {
        uint32_t room = server->seen_holds_room == 0 ? 16 : 2 * server->seen_holds_room;
        struct seen_holds *more = realloc(server->seen_holds, room * sizeof(*more));
        if (more == NULL)
            return false;
        server->seen_holds = more;
        server->seen_holds_room = room;
    }
    struct net_place at = shown_place_of(place);
    struct seen_holds *seen = &server->seen_holds[server->seen_holds_count];
    if (net_view(server->net, &at, &seen->view) != 0)
        return false;
    seen->instance = instance;
    seen->serial = rpc_request_serial(request);
    seen->holds = seen->view->memory;
    memcpy(seen->id, place->id, sizeof(seen->id));
    server->seen_holds_count++;
    return true;
}

static void unsee(struct server *server, uint32_t index)
{
    net_view_end(server->seen_holds[index].view);
    server->seen_holds[index] = server->seen_holds[--server->seen_holds_count];
}

void holds_unsee(struct server *server, uint64_t instance)
{
    for (uint32_t i = 0; i < server->seen_holds_count; i++)
        if (server->seen_holds[i].instance == instance) {
            unsee(server, i);
            return;
        }
}

/* ---- an inode, a server ends ---- */

void holds_forget(struct server *server, struct inode *inode)
{
    if (inode->holder == HOLD_SEVERAL)
        free(map_remove(&server->holders, inode->number));
    inode->holder = 0;
    if (inode->links == 0)
        orphan_remove(server, inode->number);
}

void holds_clear(struct server *server)
{
    size_t cursor = 0;
    for (void *holders; (holders = map_next(&server->holders, &cursor, NULL)) != NULL;)
        free(holders);
    map_free(&server->holders);
    map_free(&server->orphans);
    while (server->seen_holds_count > 0)
        unsee(server, server->seen_holds_count - 1);
    free(server->seen_holds);
    server->seen_holds = NULL;
    server->seen_holds_room = 0;
}

/* ---- orphans ---- */

int orphan_add(struct server *server, struct inode *inode, bool linkable)
{
    return map_put(&server->orphans, inode->number, linkable ? &linkable_again : &plain);
}

void orphan_remove(struct server *server, uint64_t number)
{
    map_remove(&server->orphans, number);
}

bool orphan_is_linkable(const struct server *server, const struct inode *inode)
{
    return map_get(&server->orphans, inode->number) == &linkable_again;
}

/* Frees an inode that has no name and no holder. */
static void collect(struct server *server, uint64_t number)
{
    struct inode *inode;
    while (!server->stopping && (inode = meta_inode_find(server->meta, number)) != NULL &&
           inode->links == 0 && !inode_is_held(server, inode)) {
        uint64_t deadline = loop_now(server->loop) + server->options.rpc_deadline_ns;
        if (inode->busy == NULL) {
            inode_free(server, inode, deadline);
            return;
        }
        if (inode_busy_wait(server, inode, deadline) == -ECANCELED)
            return;
    }
}

/* What a notice let go and a task frees. */
struct collection {
    struct list link; /* in server.collections */
    struct server *server;
    uint64_t number;
    uint64_t order;
    uint32_t serial; /* whose notice it was */
};

static void collection_end(struct collection *collection)
{
    struct server *server = collection->server;
    list_remove(&collection->link);
    free(collection);
    wait_queue_wake_all(server->loop, &server->collected);
    wait_group_done(server->loop, &server->background);
}

static void collect_one(void *argument)
{
    struct collection *collection = argument;
    collect(collection->server, collection->number);
    collection_end(collection);
}

/* For what has to suspend. */
static void collect_later(struct server *server, uint64_t number, uint32_t serial)
{
    struct collection *collection = malloc(sizeof(*collection));
    if (collection != NULL) {
        *collection = (struct collection){
            .server = server, .number = number, .order = ++server->collection_count, .serial = serial};
        list_push_back(&server->collections, &collection->link);
        wait_group_add(&server->background, 1);
        if (task_spawn_later(server->loop, collect_one, collection, NULL) == 0)
            return;
        collection_end(collection);
    }
    log_warning("no memory to free file %llx: it stays until another client ends",
                (unsigned long long)number);
}

/* Waits until what this instance's notices have let go so far is free. */
static void collections_wait(struct server *server, uint32_t serial, uint64_t deadline)
{
    uint64_t latest = server->collection_count;
    struct list *link = server->collections.next;
    while (link != &server->collections && !server->stopping) {
        const struct collection *collection = container_of(link, struct collection, link);
        if (collection->order > latest)
            return;
        if (collection->serial != serial) {
            link = link->next;
            continue;
        }
        if (wait_queue_wait(server->loop, &server->collected, deadline) != 0)
            return;
        link = server->collections.next;
    }
}

static void look_through_orphans(struct server *server)
{
    size_t most = server->orphans.count, count = 0, cursor = 0;
    uint64_t *numbers = calloc(most + 1, sizeof(*numbers));
    if (numbers == NULL)
        log_warning("no memory to look for files that nobody holds open any more");
    else
        while (count < most && map_next(&server->orphans, &cursor, &numbers[count]) != NULL)
            count++;
    for (size_t i = 0; i < count && !server->stopping; i++)
        collect(server, numbers[i]);
    free(numbers);
}

static void collect_all(void *argument)
{
    struct server *server = argument;
    do {
        server->collect_again = false;
        look_through_orphans(server);
    } while (server->collect_again && !server->stopping);
    background_end(server, &server->collecting_all);
}

void orphans_collect(struct server *server)
{
    if (server->orphans.count == 0 || server->stopping)
        return;
    /* A thousand instances that end at once are one task: it may have passed what one of them let go. */
    server->collect_again = true;
    if (!server->collecting_all && !background_begin(server, &server->collecting_all, collect_all))
        log_warning("no memory to look for files that nobody holds open any more");
}

static void free_if_let_go(struct server *server, struct inode *inode, uint32_t serial)
{
    if (__builtin_expect(inode->links != 0, 1) || inode_is_held(server, inode))
        return;
    if (inode->busy == NULL && (!S_ISREG(inode->mode) || chunks_all_here(server, inode)))
        inode_free(server, inode, 0); /* does not suspend */
    else
        collect_later(server, inode->number, serial);
}

void inode_release(struct server *server, uint64_t number, uint32_t serial)
{
    struct inode *inode = server->map == NULL ? NULL : meta_inode_find(server->meta, number);
    if (inode == NULL)
        return;
    take_back(server, inode, serial);
    free_if_let_go(server, inode, serial);
}

void inode_left(struct server *server, uint64_t number, uint32_t serial)
{
    struct inode *inode = server->map == NULL ? NULL : meta_inode_find(server->meta, number);
    if (inode != NULL)
        free_if_let_go(server, inode, serial);
}

/* ---- handlers ---- */

void serve_HOLD(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct hold_request *body = request->body;
    struct attributes_reply reply;
    struct inode *inode;
    uint32_t serial = rpc_request_serial(request);
    uint32_t from = body->from == 0 ? 0 : rpc_instance_serial(server->rpc, body->from);
    int status = gate_epoch(server, request);
    if (status == 0)
        status = visible_inode(server, request, body->inode, &inode);
    bool inherits = status == 0 && inode_is_held_by(server, inode, from);
    if (status == 0 && inode->links == 0 && !inherits && !inode_is_held_by(server, inode, serial))
        status = -ESTALE;
    if (status == 0)
        inode_attributes(server, inode, &reply.attributes);
    if (status == 0 && !inherits)
        status = check_open(request, &reply.attributes, body->uid, body->gid, body->access);
    if (status == 0)
        status = inode_hold(server, inode, serial);
    answer(request, status, &reply, sizeof(reply));
}

/* Its notices have been taken already. Whoever sends it wants to know when what they freed is free; what
 * others let go may take as long as a server that does not answer. */
void serve_RELEASE(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    collections_wait(server, rpc_request_serial(request), request->deadline);
    answer(request, 0, NULL, 0);
}

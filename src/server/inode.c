/* Inodes by number: attributes, sizes, links, and the waiting that keeps changes apart.
 *
 * Sizes. A regular file is inline until `chunked`: then inline_length == size, at most INLINE_DATA_MAX, and
 * what chunks there are come from writes that never finished. Once chunked, inline_length is 0 and bytes are
 * in chunks. It turns when a write beyond INLINE_DATA_MAX begins - not when its size says so, which may be
 * much later: else a small write meanwhile would lay inline data over the large one's chunk - and inline data
 * then move to chunk 0, which either happens or leaves all as it was. Cut to size 0, it is inline again.
 *
 * Busy. What has to suspend in the middle of a change marks the inode busy; everyone else who would read or
 * change its data, or remove it, waits. Two changes also hide the attributes: narrowing a directory's
 * permissions, because between the bump of the namespace epoch and the change a lookup would put old
 * permissions under the new epoch; and cutting a file, because whoever learnt the new generation before every
 * server has set its fence could write a chunk that is then cut away behind the back of an acknowledged
 * write.
 *
 * Leases. Data returned with an open may be served by the client for a moment without asking. A writer of
 * another session waits until that moment has passed here too; while it waits no new lease is granted, so it
 * waits once.
 *
 * A directory's times and links are spread over all servers: its inode knows the explicitly set times, every
 * server knows when it last changed an entry of it. GET_ATTRIBUTES puts them together when asked to, and a
 * server that is the only one always does; the modification time set by a caller stands until an entry
 * changes later than that. */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "data/placement.h"
#include "server/state.h"

#define DIRECTORY_SIZE 4096u

static void add_gathered(const struct inode *inode, const struct meta_directory_status *sum,
                         struct attributes *attributes)
{
    attributes->links = inode->links == 0 ? 0 : (uint32_t)(2 + sum->subdirectories);
    if (sum->modify_time > inode->modify_time_since)
        attributes->modify_time = sum->modify_time;
    if (sum->modify_time > attributes->change_time)
        attributes->change_time = sum->modify_time;
}

void inode_attributes(struct server *server, const struct inode *inode, struct attributes *attributes)
{
    bool directory = S_ISDIR(inode->mode);
    uint64_t blocks = S_ISREG(inode->mode) ? (inode->inline_length + 511u) / 512u : 0;
    if (S_ISREG(inode->mode) && inode->chunked != 0)
        blocks =
            inode->elsewhere == HELD_UNKNOWN
                ? BLOCKS_UNKNOWN
                : (server->store->operations->held(server->store, inode->number) + inode->elsewhere) / 512;
    *attributes = (struct attributes){
        .inode = inode->number,
        .size = directory ? DIRECTORY_SIZE : inode->size,
        .access_time = inode->access_time,
        .modify_time = inode->modify_time,
        .change_time = inode->change_time,
        .mode = inode->mode,
        .uid = inode->uid,
        .gid = inode->gid,
        .links = inode->links,
        .generation = inode->generation,
        .layout = inode->layout,
        .blocks = blocks,
        .parent = directory || S_ISCHR(inode->mode) || S_ISBLK(inode->mode) ? inode->parent : 0,
    };
    if (__builtin_expect(directory && server_single(server), 0)) {
        struct meta_directory_status all;
        meta_directory_status(server->meta, inode->number, &all);
        add_gathered(inode, &all, attributes);
    }
}

/* What a persistent engine's chunks take may change without a request: see store/. */
bool attributes_keep(const struct server *server, const struct inode *inode,
                     const struct attributes *attributes)
{
    if (inode->links == 0 || attributes->blocks == BLOCKS_UNKNOWN)
        return false;
    if (S_ISDIR(inode->mode))
        return server_single(server);
    return !S_ISREG(inode->mode) || inode->chunked == 0 ||
           (!server->store->operations->persistent && inode->elsewhere != HELD_UNKNOWN);
}

/* ---- other servers' inodes ---- */

int attributes_elsewhere(struct server *server, uint64_t inode, uint64_t deadline,
                         struct attributes *attributes)
{
    struct attributes_request body = {.inode = inode};
    struct attributes_reply reply;
    uint32_t index = server_of_inode(server, inode);
    if (index == server->self) {
        log_error("inode %llx has a name but does not exist", (unsigned long long)inode);
        return -EIO;
    }
    int status =
        server_call(server, index, RPC_GET_ATTRIBUTES, &body, sizeof(body), &reply, sizeof(reply), deadline);
    if (status == 0)
        *attributes = reply.attributes;
    return status == -ESTALE ? -ENOENT : status == -EAGAIN ? -EIO : status;
}

static int unlink_elsewhere(struct server *server, const struct inode_unlink_request *body, uint64_t deadline,
                            uint64_t *orphan)
{
    uint64_t inode = body->inode;
    struct unlink_reply reply = {0};
    int status = server_call(server, server_of_inode(server, inode), RPC_INODE_UNLINK, body, sizeof(*body),
                             &reply, sizeof(reply), deadline);
    if (orphan != NULL)
        *orphan = status == 0 ? reply.orphan : 0;
    if (status == 0 || status == -ESTALE)
        return 0;
    if (status == -ENODATA)
        return status;
    log_warning("inode %llx keeps a link: its server answers: %s", (unsigned long long)inode,
                status_text(status));
    return -EIO;
}

int inode_unlink_elsewhere(struct server *server, uint64_t transaction, uint64_t inode, uint64_t deadline,
                           uint64_t *orphan)
{
    struct inode_unlink_request body = {.inode = inode, .transaction = transaction};
    return unlink_elsewhere(server, &body, deadline, orphan);
}

int inode_unlink_ask(struct server *server, uint64_t transaction, uint64_t inode, uint64_t deadline)
{
    struct inode_unlink_request body = {.inode = inode, .transaction = transaction, .asks = 1};
    return unlink_elsewhere(server, &body, deadline, NULL);
}

int inode_link_undo(struct server *server, uint64_t transaction, uint64_t inode, bool linkable)
{
    struct inode_unlink_request body = {
        .inode = inode, .transaction = transaction, .undoes = 1, .linkable = linkable};
    return unlink_elsewhere(server, &body, transaction_end(server), NULL);
}

/* ---- busy, lease ---- */

void inode_busy_begin(struct inode *inode, struct inode_busy *busy, bool hides_attributes)
{
    wait_queue_init(&busy->waiters);
    busy->hides_attributes = hides_attributes;
    inode->busy = busy;
}

void inode_busy_end(struct server *server, struct inode *inode)
{
    struct inode_busy *busy = inode->busy;
    inode->busy = NULL;
    wait_queue_wake_all(server->loop, &busy->waiters);
}

int inode_busy_wait(struct server *server, struct inode *inode, uint64_t deadline)
{
    if (server->stopping)
        return -ECANCELED;
    struct inode_busy *busy = inode->busy;
    return wait_queue_wait(server->loop, &busy->waiters, deadline);
}

/* Sleeps until the leases of other sessions have passed. */
static int lease_wait(struct server *server, struct inode *inode, uint64_t now, uint64_t deadline)
{
    if (server->stopping)
        return -ECANCELED;
    if (inode->lease_until >= deadline)
        return -ETIMEDOUT;
    inode->lease_session = LEASE_REFUSED;
    return task_sleep(server->loop, inode->lease_until - now);
}

int inode_prepare_change(struct server *server, const struct rpc_request *request, uint64_t number,
                         const uint32_t *generation, struct inode **result)
{
    for (;;) {
        struct inode *inode;
        int status = gate_inode(server, number, &inode);
        if (status != 0)
            return status;
        if (!S_ISREG(inode->mode))
            return S_ISDIR(inode->mode) ? -EISDIR : -EINVAL;
        if (generation != NULL && *generation != inode->generation)
            return -STATUS_STALE_GENERATION;
        if (inode->busy != NULL) {
            status = inode_busy_wait(server, inode, request->deadline);
        } else if (__builtin_expect(inode->lease_until != 0, 0)) {
            uint64_t now = loop_now(server->loop);
            if (inode->lease_until <= now || inode->lease_session == lease_session_of(request)) {
                *result = inode;
                return 0;
            }
            status = lease_wait(server, inode, now, request->deadline);
        } else {
            *result = inode;
            return 0;
        }
        if (status != 0)
            return status;
    }
}

/* ---- size ---- */

/* Moves inline data to chunk 0. */
static int convert_to_chunk(struct server *server, struct inode *inode)
{
    struct store *store = server->store;
    struct store_io io = {.inode = inode->number, .length = inode->inline_length};
    struct inode_busy busy;
    inode_busy_begin(inode, &busy, false);
    int status = store->operations->write_begin(store, &io, 1u << inode->layout.chunk_shift);
    if (status == 0) {
        const char *from = inode->inline_data;
        for (uint32_t i = 0; i < io.count; i++) {
            memcpy(io.vector[i].iov_base, from, io.vector[i].iov_len);
            from += io.vector[i].iov_len;
        }
        status = store->operations->write_commit(store, &io);
    }
    /* What lasted in the inode must not be in memory alone when the record is written that it has left. */
    if (status == 0 && store->operations->prepare != NULL)
        status = store->operations->prepare(store);
    if (status == 0)
        meta_inline_set(server->meta, inode, NULL, 0);
    inode_busy_end(server, inode);
    return status;
}

int inode_prepare_growth(struct server *server, struct inode *inode, uint64_t end)
{
    if (end > (uint64_t)INT64_MAX)
        return -EFBIG;
    if (inode->chunked != 0 || end <= INLINE_DATA_MAX)
        return 0;
    int status = inode->inline_length != 0 ? convert_to_chunk(server, inode) : 0;
    if (status == 0)
        inode->chunked = INODE_CHUNKED;
    inode_changed(server, inode);
    return status;
}

static int grow(struct server *server, struct inode *inode, uint64_t size)
{
    int status = inode_prepare_growth(server, inode, size);
    if (status == 0 && inode_is_inline(inode) && size <= INLINE_DATA_MAX) {
        status = server_metadata_room(server, size - inode->size);
        if (status == 0)
            status = meta_inline_resize(server->meta, inode, (uint32_t)size);
    }
    if (status == 0)
        inode->size = size;
    inode_changed(server, inode);
    return status;
}

/* Drops what lies at or beyond size; old_size says how far chunks may reach (UINT64_MAX: unknown). */
static int shrink(struct server *server, struct inode *inode, uint64_t size, uint64_t old_size,
                  uint64_t deadline)
{
    struct inode_busy busy;
    inode_busy_begin(inode, &busy, true);
    /* Writes under way see it before they commit. */
    inode->generation++;
    inode_changed(server, inode);
    if ((inode->chunked & INODE_BEYOND) != 0)
        old_size = UINT64_MAX;
    bool is_inline = inode_is_inline(inode);
    /* Once other servers have cut their chunks, the file has to become so short. */
    struct intent intent = {.transaction = server_transaction(server),
                            .kind = INTENT_TRUNCATE,
                            .inode = inode->number,
                            .size = size};
    bool elsewhere = !server_single(server) && old_size > UINT64_C(1) << inode->layout.chunk_shift;
    int status = elsewhere ? intent_begin(server, &intent, NULL, NULL, true) : 0;
    if (elsewhere && server->options.durability == DURABILITY_NONE)
        inode->cut = 1;
    if (status == 0)
        status = chunks_truncate_elsewhere(server, inode, size, old_size, false, deadline);
    /* An inline file has no chunk 0 but what a write that never finished left. */
    if (status == 0)
        status = chunks_truncate_here(server, inode->number, is_inline ? 0 : size, inode->layout.chunk_shift);
    if (status == 0 && is_inline)
        status = meta_inline_resize(server->meta, inode, (uint32_t)size);
    if (status == 0)
        inode->size = size;
    if (status == 0)
        inode->chunked = size == 0 ? 0 : inode->chunked & INODE_CHUNKED;
    if (inode->elsewhere != 0)
        inode->elsewhere = status == 0 && chunks_all_here(server, inode) ? 0 : HELD_UNKNOWN;
    inode_changed(server, inode);
    if (elsewhere)
        intent_end(server, intent.transaction);
    inode_busy_end(server, inode);
    return status;
}

int truncate_redo(struct server *server, const struct intent *intent)
{
    struct inode *inode = meta_inode_find(server->meta, intent->inode);
    if (inode == NULL || !S_ISREG(inode->mode))
        return 0;
    return shrink(server, inode, intent->size < inode->size ? intent->size : inode->size, UINT64_MAX,
                  transaction_end(server));
}

int inode_truncate(struct server *server, struct inode *inode, uint64_t size, uint64_t deadline)
{
    int status = 0;
    if (size > inode->size)
        status = grow(server, inode, size);
    else if (size < inode->size)
        status = shrink(server, inode, size, inode->size, deadline);
    if (status == 0)
        inode->modify_time = inode->change_time = loop_realtime(server->loop);
    inode_changed(server, inode);
    return status;
}

/* Inode numbers are never used again, so this may come at any time. */
static int drop_chunks(struct server *server, uint64_t number, uint64_t deadline)
{
    struct chunk_truncate_request body = {.inode = number, .chunk_shift = CHUNK_SHIFT_MIN, .remove = 1};
    return server_call_many(server, NULL, RPC_TRUNCATE_CHUNKS, &body, sizeof(body), NULL, 0, deadline);
}

int free_redo(struct server *server, const struct intent *intent)
{
    int status = intent_lasts(server);
    return status != 0 ? status : drop_chunks(server, intent->inode, transaction_end(server));
}

/* A write that failed takes back what it left, but the file is gone, and the removal went only where its size
 * said that chunks could be. */
static void drop_remains(struct server *server, uint64_t number, uint64_t deadline)
{
    int status = drop_chunks(server, number, deadline);
    if (status != 0)
        log_warning("chunks of removed file %llx may stay on other servers: %s", (unsigned long long)number,
                    status_text(status));
}

void serve_TRUNCATE(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct truncate_request *body = request->body;
    struct attributes_reply reply;
    struct inode *inode;
    int status = body->size > (uint64_t)INT64_MAX ? -EFBIG : 0;
    if (status == 0)
        status = inode_prepare_change(server, request, body->inode, NULL, &inode);
    if (status == -ESTALE && body->expected != UINT64_MAX)
        drop_remains(server, body->inode, request->deadline);
    if (status == 0 && !body->checked)
        status = permission(request, body, inode, 2);
    if (status == 0 && body->expected != UINT64_MAX && body->expected != inode->size)
        status = -EAGAIN;
    if (status == 0 && body->size == body->expected)
        status = shrink(server, inode, body->size, UINT64_MAX, request->deadline);
    else if (status == 0)
        status = inode_truncate(server, inode, body->size, request->deadline);
    if (status == 0 && body->uid != 0)
        inode_clear_ids(inode);
    if (status == 0) {
        inode_changed(server, inode);
        inode_attributes(server, inode, &reply.attributes);
    }
    answer(request, status, &reply, sizeof(reply));
}

void serve_EXTEND(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct extend_request *body = request->body;
    struct extend_reply reply = {0};
    struct inode *inode;
    uint32_t generation = body->generation;
    int status = inode_prepare_change(server, request, body->inode, &generation, &inode);
    if (status == 0) {
        bool append = (body->flags & EXTEND_APPEND) != 0;
        if (!server_single(server))
            inode->elsewhere = HELD_UNKNOWN;
        inode_changed(server, inode);
        reply.offset = append ? inode->size : 0;
        uint64_t end = body->end;
        if (append && __builtin_add_overflow(inode->size, body->end, &end))
            status = -EFBIG;
        else if (end > inode->size)
            status = grow(server, inode, end);
    }
    if (status == 0) {
        if ((body->flags & EXTEND_CLEAR_IDS) != 0)
            inode_clear_ids(inode);
        inode->modify_time = inode->change_time = loop_realtime(server->loop);
        inode_changed(server, inode);
        reply.size = inode->size;
        reply.generation = inode->generation;
    }
    answer(request, status, &reply, sizeof(reply));
}

/* ---- links ---- */

void inode_free(struct server *server, struct inode *inode, uint64_t deadline)
{
    struct inode gone = *inode;
    bool pinned = pin_exists(server, gone.number);
    holds_forget(server, inode);
    meta_inode_remove(server->meta, inode);
    if (!S_ISREG(gone.mode))
        return;
    if (__builtin_expect(pinned, 0))
        pin_drop(server, gone.number, deadline);
    /* Even an inline file may have chunks: what a write that never finished left. */
    server->store->operations->remove(server->store, gone.number, 0);
    if (chunks_all_here(server, &gone))
        return;
    /* Other servers' chunks go only when it is certain that the file will not be back. */
    struct intent intent = {
        .transaction = server_transaction(server), .kind = INTENT_FREE, .inode = gone.number};
    int status = intent_begin(server, &intent, NULL, NULL, false);
    if (status == 0)
        status = intent_lasts(server);
    uint64_t reach = (gone.chunked & INODE_BEYOND) != 0 ? UINT64_MAX : gone.size;
    if (status == 0)
        status = chunks_truncate_elsewhere(server, &gone, 0, reach, true, deadline);
    if (status == 0) {
        intent_end(server, intent.transaction);
        return;
    }
    intent_retry(server, intent.transaction);
    log_warning("chunks of removed file %llx may stay on other servers: %s", (unsigned long long)gone.number,
                status_text(status));
}

static bool drop_link(struct server *server, struct inode *inode, bool linkable, uint64_t deadline)
{
    if (inode->links == 0)
        return true; /* an earlier attempt got this far */
    inode->change_time = loop_realtime(server->loop);
    inode_changed(server, inode);
    if (!S_ISDIR(inode->mode) && inode->links > 1) {
        inode->links--;
        return false;
    }
    if (inode_is_held(server, inode) && orphan_add(server, inode, linkable) == 0) {
        inode->links = 0;
        return true;
    }
    inode_free(server, inode, deadline);
    return false;
}

bool inode_drop_link(struct server *server, struct inode *inode, uint64_t deadline)
{
    return drop_link(server, inode, false, deadline);
}

/* Whether the link is still to be dropped: not if this very transaction has done so before. */
static int note_unlink(struct server *server, const struct inode_unlink_request *body, bool *wanted)
{
    uint64_t transaction = server->journal == NULL ? 0 : body->transaction;
    uint64_t linked = applied_object(APPLIED_LINK, body->inode);
    uint64_t unlinked = applied_object(APPLIED_UNLINK, body->inode);
    if (transaction == 0) {
        *wanted = true;
    } else if (body->undoes != 0) {
        *wanted = is_applied(server, transaction, linked);
        unmark_applied(server, transaction, linked);
    } else if (!is_applied(server, transaction, unlinked)) {
        int status = mark_applied(server, transaction, unlinked);
        *wanted = status == 0;
        return status;
    }
    return 0;
}

void serve_INODE_UNLINK(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct inode_unlink_request *body = request->body;
    struct unlink_reply reply = {0};
    struct inode *inode;
    int status;
    for (;;) {
        status = gate_inode(server, body->inode, &inode);
        if (status != 0 || inode->busy == NULL)
            break;
        status = inode_busy_wait(server, inode, request->deadline);
        if (status != 0)
            break;
    }
    bool wanted = false;
    if (status == 0 && body->asks != 0)
        status =
            is_applied(server, body->transaction, applied_object(APPLIED_UNLINK, body->inode)) ? 0 : -ENODATA;
    else if (status == 0)
        status = note_unlink(server, body, &wanted);
    if (wanted && drop_link(server, inode, body->linkable == 1, request->deadline))
        reply.orphan = body->inode;
    answer(request, status, &reply, sizeof(reply));
}

void serve_SET_PARENT(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct parent_request *body = request->body;
    struct inode *inode;
    int status = gate_inode(server, body->directory, &inode);
    if (status == 0 && !S_ISDIR(inode->mode))
        status = -ENOTDIR;
    if (status == 0) {
        inode->parent = body->parent;
        inode->change_time = loop_realtime(server->loop);
        inode_changed(server, inode);
    }
    answer(request, status, NULL, 0);
}

void serve_INODE_TOUCH(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct inode_request *body = request->body;
    struct inode *inode;
    int status = gate_inode(server, body->inode, &inode);
    if (status == 0) {
        inode->change_time = loop_realtime(server->loop);
        inode_changed(server, inode);
    }
    answer(request, status, NULL, 0);
}

void serve_READ_LINK(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct inode_request *body = request->body;
    struct inode *inode;
    int status = gate_inode(server, body->inode, &inode);
    if (status == 0 && !S_ISLNK(inode->mode))
        status = -EINVAL;
    if (status != 0) {
        answer(request, status, NULL, 0);
        return;
    }
    chunk_note_access(server, inode);
    char target[SYMLINK_LENGTH_MAX];
    struct iovec bulk = {target, inode->inline_length};
    memcpy(target, inode->inline_data, inode->inline_length);
    rpc_reply(request, 0, NULL, 0, &bulk, 1);
}

/* ---- attributes ---- */

/* Sums a directory's entries over all servers and finds the newest change. */
static int gather_directory(struct server *server, uint64_t directory, uint64_t deadline,
                            struct meta_directory_status *sum)
{
    meta_directory_status(server->meta, directory, sum);
    if (server_single(server))
        return 0;
    uint32_t count = server->map->server_count;
    struct directory_reply *replies = calloc(count, sizeof(*replies));
    uint64_t *wanted = calloc((count + 63) / 64, sizeof(*wanted));
    int status = -ENOMEM;
    if (replies != NULL && wanted != NULL) {
        for (uint32_t i = 0; i < count; i++)
            wanted[i / 64] |= (uint64_t)(i != server->self) << (i % 64);
        struct directory_request body = {.directory = directory};
        status = server_call_many(server, wanted, RPC_DIRECTORY_STATUS, &body, sizeof(body), replies,
                                  sizeof(*replies), deadline);
    }
    for (uint32_t i = 0; status == 0 && i < count; i++) {
        sum->entries += replies[i].entries;
        sum->subdirectories += replies[i].subdirectories;
        if (sum->modify_time < replies[i].modify_time)
            sum->modify_time = replies[i].modify_time;
    }
    free(wanted);
    free(replies);
    return status;
}

int visible_inode(struct server *server, const struct rpc_request *request, uint64_t number,
                  struct inode **inode)
{
    for (;;) {
        int status = gate_inode(server, number, inode);
        if (status != 0 || !inode_hides_attributes(*inode))
            return status;
        status = inode_busy_wait(server, *inode, request->deadline);
        if (status != 0)
            return status;
    }
}

/* Sums what a file's chunks on other servers take, and remembers it in the inode if that has not changed
 * meanwhile. *inode is looked up last. */
static int gather_held(struct server *server, const struct rpc_request *request, uint64_t number,
                       struct inode **inode, uint64_t *elsewhere)
{
    uint32_t count = server->map->server_count;
    int64_t change_time = (*inode)->change_time;
    struct chunks_held_reply *replies = calloc(count, sizeof(*replies));
    uint64_t *wanted = calloc((count + 63) / 64, sizeof(*wanted));
    int status = -ENOMEM;
    if (replies != NULL && wanted != NULL) {
        for (uint32_t i = 0; i < count; i++)
            wanted[i / 64] |= (uint64_t)(i != server->self) << (i % 64);
        struct inode_request body = {.inode = number};
        status = server_call_many(server, wanted, RPC_CHUNKS_HELD, &body, sizeof(body), replies,
                                  sizeof(*replies), request->deadline);
    }
    *elsewhere = 0;
    for (uint32_t i = 0; status == 0 && i < count; i++)
        *elsewhere += replies[i].bytes;
    free(wanted);
    free(replies);
    if (status == 0)
        status = visible_inode(server, request, number, inode);
    if (status == 0 && (*inode)->change_time == change_time)
        (*inode)->elsewhere = *elsewhere;
    return status;
}

void serve_GET_ATTRIBUTES(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct attributes_request *body = request->body;
    struct attributes_reply reply;
    struct inode *inode;
    int status = request->peer_is_server ? 0 : gate_epoch(server, request);
    if (status == 0)
        status = visible_inode(server, request, body->inode, &inode);
    if (status == 0 && S_ISDIR(inode->mode) && (body->flags & ATTRIBUTES_GATHER) != 0) {
        struct meta_directory_status sum;
        status = gather_directory(server, body->inode, request->deadline, &sum);
        if (status == 0)
            status = visible_inode(server, request, body->inode, &inode);
        if (status == 0) {
            inode_attributes(server, inode, &reply.attributes);
            add_gathered(inode, &sum, &reply.attributes);
        }
    } else if (status == 0 && S_ISREG(inode->mode) && (body->flags & ATTRIBUTES_GATHER) != 0 &&
               inode->elsewhere == HELD_UNKNOWN) {
        uint64_t elsewhere;
        status = gather_held(server, request, body->inode, &inode, &elsewhere);
        if (status == 0) {
            inode_attributes(server, inode, &reply.attributes);
            if (reply.attributes.blocks == BLOCKS_UNKNOWN)
                reply.attributes.blocks =
                    (server->store->operations->held(server->store, inode->number) + elsewhere) / 512;
        }
    } else if (status == 0) {
        inode_attributes(server, inode, &reply.attributes);
    }
    struct ahead ahead = {0};
    if (status == 0) /* of directories clients have the names */
        ahead = ahead_begin(server, request, inode, S_ISDIR(inode->mode));
    answer(request, status, &reply, sizeof(reply)); /* without suspending */
    if (status == 0 && board_is_watched(server, request) && attributes_keep(server, inode, &reply.attributes))
        meta_publish_inode(server->meta, inode, &reply.attributes);
    ahead_end(server, request, &ahead);
}

/* Does anybody lose access to what clients have cached? */
static bool narrows(const struct inode *inode, const struct set_attributes_request *set)
{
    if (!S_ISDIR(inode->mode))
        return false;
    /* Sticky and set-group-id bits bind those who create and remove, whether they come or go. */
    uint32_t bits = (inode->mode & ~set->mode & 07777) | ((inode->mode ^ set->mode) & (S_ISVTX | S_ISGID));
    return ((set->fields & SET_MODE) != 0 && bits != 0) ||
           ((set->fields & SET_UID) != 0 && set->uid != inode->uid) ||
           ((set->fields & SET_GID) != 0 && set->gid != inode->gid);
}

static void apply_set(struct inode *inode, const struct set_attributes_request *set, int64_t now)
{
    if ((set->fields & SET_MODE) != 0)
        inode->mode = (inode->mode & S_IFMT) | (set->mode & 07777);
    if ((set->fields & SET_CLEAR_IDS) != 0)
        inode_clear_ids(inode);
    if ((set->fields & SET_UID) != 0)
        inode->uid = set->uid;
    if ((set->fields & SET_GID) != 0)
        inode->gid = set->gid;
    if ((set->fields & SET_ACCESS_TIME) != 0)
        inode->access_time = set->access_time;
    if ((set->fields & SET_MODIFY_TIME) != 0)
        inode->modify_time = set->modify_time;
    if ((set->fields & SET_ACCESS_TIME_NOW) != 0)
        inode->access_time = now;
    if ((set->fields & SET_MODIFY_TIME_NOW) != 0)
        inode->modify_time = now;
    if ((set->fields & (SET_MODIFY_TIME | SET_MODIFY_TIME_NOW)) != 0 && S_ISDIR(inode->mode))
        inode->modify_time_since = now;
    if (set->fields != 0)
        inode->change_time = now;
}

void serve_SET_ATTRIBUTES(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    struct set_attributes_request set = *(const struct set_attributes_request *)request->body;
    struct attributes_reply reply;
    struct inode *inode;
    int status = gate_epoch(server, request);
    while (status == 0) {
        status = gate_inode(server, set.inode, &inode);
        if (status != 0 || inode->busy == NULL)
            break;
        status = inode_busy_wait(server, inode, request->deadline);
    }
    if (status == 0)
        status = permission_set(request, inode, &set);
    if (status == 0 && narrows(inode, &set)) {
        struct inode_busy busy;
        inode_busy_begin(inode, &busy, true);
        inode_changed(server, inode); /* nobody finds it on the board under the new epoch */
        status = server_bump_namespace(server, request->deadline);
        if (status == 0)
            apply_set(inode, &set, loop_realtime(server->loop));
        inode_busy_end(server, inode);
    } else if (status == 0) {
        apply_set(inode, &set, loop_realtime(server->loop));
    }
    if (status == 0) {
        inode_changed(server, inode);
        inode_attributes(server, inode, &reply.attributes);
    }
    answer(request, status, &reply, sizeof(reply));
}

/* What fsck and scrub ask of a server: walks over all inodes, names and chunks, whether everything that was
 * under way has ended, and reading chunks back.
 *
 * Nothing is locked and nothing kept between two pages: a walk is a cursor of the caller's. A page ends after
 * so many steps, so that a walk over ten million files disturbs nobody for more than a fraction of a
 * millisecond. The pages of one walk show different moments; who finds something odd in them looks again, and
 * asks CHECK_SETTLED in between (client/check.c says how that makes sure).
 *
 * What is under way are the handlers that run, and what they leave to tasks of their own: the chunks of a
 * file that a close let go. Each of those gives up at a deadline, so a server that is never without any of
 * them has settled too once that time has passed. */
#include <errno.h>
#include <stdlib.h>

#include "server/state.h"

#define PAGE_BYTES_MAX (1u << 20)
#define PAGE_STEPS_MAX 4096u
#define SETTLE_WAIT_NS (100 * NSEC_PER_MSEC)
#define SETTLE_LOOK_NS (200 * NSEC_PER_USEC)
#define SCRUB_TIME_NS (20 * NSEC_PER_MSEC)
#define SCRUB_DAMAGES_MAX 512u

static void reply_page(struct rpc_request *request, const struct check_reply *reply, const void *bytes,
                       uint32_t length)
{
    struct iovec bulk = {(void *)(uintptr_t)bytes, length};
    rpc_reply(request, 0, reply, sizeof(*reply), &bulk, length > 0 ? 1 : 0);
}

/* ---- inodes ---- */

static void describe_inode(struct server *server, struct inode *inode, struct check_inode *entry)
{
    *entry = (struct check_inode){
        .inode = inode->number,
        .size = inode->size,
        .parent = S_ISDIR(inode->mode) ? inode->parent : 0,
        .change_time = inode->change_time,
        .mode = inode->mode,
        .links = inode->links,
        .layout = inode->layout,
        .inline_length = inode->inline_length,
        .flags = (uint8_t)(((inode->chunked & INODE_CHUNKED) != 0 ? CHECK_CHUNKED : 0) |
                           ((inode->chunked & INODE_BEYOND) != 0 ? CHECK_BEYOND : 0) |
                           (inode_is_held(server, inode) ? CHECK_HELD : 0) |
                           (inode->busy != NULL ? CHECK_BUSY : 0)),
    };
}

void serve_CHECK_INODES(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct check_inodes_request *body = request->body;
    uint32_t most = body->entries_max < PAGE_STEPS_MAX ? body->entries_max : PAGE_STEPS_MAX;
    int status = server->map == NULL ? -EAGAIN : most == 0 ? -EINVAL : 0;
    struct check_inode *entries = status != 0 ? NULL : malloc(most * sizeof(*entries));
    if (status == 0 && entries == NULL)
        status = -ENOMEM;
    if (status != 0) {
        answer(request, status, NULL, 0);
        return;
    }
    struct check_reply reply = {0};
    uint64_t number = body->from == 0 ? 0 : body->from - 1;
    for (struct inode *inode; (inode = meta_inode_next(server->meta, number)) != NULL;) {
        number = inode->number;
        if (reply.entries == most) {
            reply.next[0] = number;
            reply.more = 1;
            break;
        }
        describe_inode(server, inode, &entries[reply.entries++]);
    }
    reply_page(request, &reply, entries, reply.entries * (uint32_t)sizeof(*entries));
    free(entries);
}

/* ---- names ---- */

struct names_page {
    struct check_reply reply;
    char *bytes;
    uint32_t length;
    uint32_t capacity;
    uint32_t steps;
    uint64_t directory;
    uint64_t hash; /* the last one met in the directory; 0: none yet */
    /* where the names of that hash begin */
    uint32_t hash_length;
    uint32_t hash_entries;
    int status;
};

/* The next page begins with this hash of the directory. */
static bool names_end(struct names_page *page, uint64_t hash)
{
    page->reply.next[0] = page->directory;
    page->reply.next[1] = hash;
    page->reply.more = 1;
    return false;
}

/* Space for one record. false: the page ends before the hash at hand, or has failed. */
static bool names_room(struct names_page *page, uint32_t record)
{
    if (page->length + record <= page->capacity)
        return true;
    if (page->hash_length > 0) {
        page->length = page->hash_length;
        page->reply.entries = page->hash_entries;
        return names_end(page, page->hash);
    }
    /* Nothing but this hash: it has to fit. */
    char *bytes = realloc(page->bytes, page->length + record);
    if (bytes == NULL) {
        page->status = -ENOMEM;
        return false;
    }
    page->bytes = bytes;
    page->capacity = page->length + record;
    return true;
}

static bool names_visit(void *owner, uint64_t hash, const char *name, size_t length, uint64_t inode,
                        uint32_t type)
{
    struct names_page *page = owner;
    if (hash != page->hash) {
        if (page->steps >= PAGE_STEPS_MAX)
            return names_end(page, hash);
        page->hash = hash;
        page->hash_length = page->length;
        page->hash_entries = page->reply.entries;
    }
    page->steps++;
    uint32_t record = (uint32_t)(sizeof(struct check_name) + length + 7) & ~7u;
    if (!names_room(page, record))
        return false;
    struct check_name *entry = (void *)(page->bytes + page->length);
    memset(entry, 0, record);
    entry->record_length = (uint16_t)record;
    entry->name_length = (uint8_t)length;
    entry->type = type;
    entry->directory = page->directory;
    entry->hash = hash;
    entry->inode = inode;
    memcpy(entry->name, name, length);
    page->length += record;
    page->reply.entries++;
    return true;
}

void serve_CHECK_NAMES(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct check_names_request *body = request->body;
    struct names_page page = {.capacity =
                                  body->bytes_max < PAGE_BYTES_MAX ? body->bytes_max : PAGE_BYTES_MAX};
    page.status = server->map == NULL ? -EAGAIN : body->bytes_max == 0 ? -EINVAL : 0;
    if (page.status == 0 && (page.bytes = malloc(page.capacity)) == NULL)
        page.status = -ENOMEM;
    uint64_t hash = body->hash;
    page.directory = body->directory != 0 ? body->directory : meta_directory_next(server->meta, 0);
    while (page.status == 0 && page.directory != 0 && page.reply.more == 0) {
        page.hash = 0;
        meta_directory_walk(server->meta, page.directory, hash, names_visit, &page);
        if (page.status != 0 || page.reply.more != 0)
            break;
        hash = 0;
        page.steps++; /* so do directories without names here */
        page.directory = meta_directory_next(server->meta, page.directory);
        if (page.directory != 0 && page.steps >= PAGE_STEPS_MAX)
            names_end(&page, 0);
    }
    if (page.status == 0)
        reply_page(request, &page.reply, page.bytes, page.length);
    else
        answer(request, page.status, NULL, 0);
    free(page.bytes);
}

/* ---- chunks ---- */

/* The first chunk at or behind the place, of that inode alone or of any. */
static bool chunk_from(struct server *server, bool only, struct store_cursor *place)
{
    struct store *store = server->store;
    if (only || place->inode != 0) {
        place->index = store->operations->next_chunk(store, place->inode, place->index);
        if (only || place->index != UINT64_MAX)
            return place->index != UINT64_MAX;
    }
    return store->operations->next(store, place);
}

/* Behind that chunk. */
static void chunk_after(struct store_cursor *place)
{
    place->index++;
}

void serve_CHECK_CHUNKS(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct check_chunks_request *body = request->body;
    const struct store_operations *store = server->store->operations;
    uint32_t most = body->entries_max < PAGE_STEPS_MAX ? body->entries_max : PAGE_STEPS_MAX;
    int status = server->map == NULL ? -EAGAIN : most == 0 ? -EINVAL : 0;
    struct check_chunks *entries = status != 0 ? NULL : malloc(most * sizeof(*entries));
    if (status == 0 && entries == NULL)
        status = -ENOMEM;
    if (status != 0) {
        answer(request, status, NULL, 0);
        return;
    }
    struct check_reply reply = {0};
    struct store_cursor place = {body->inode, body->index};
    struct check_chunks *entry = NULL;
    for (uint32_t steps = 0; chunk_from(server, body->only == 1, &place); steps++, chunk_after(&place)) {
        bool begins = entry == NULL || entry->inode != place.inode;
        if (steps == PAGE_STEPS_MAX || (begins && reply.entries == most)) {
            reply.next[0] = place.inode;
            reply.next[1] = place.index;
            reply.more = 1;
            break;
        }
        if (begins) {
            entry = &entries[reply.entries++];
            *entry = (struct check_chunks){.inode = place.inode};
        }
        uint32_t length = store->chunk_length(server->store, place.inode, place.index);
        entry->chunks++;
        if (length > 0) {
            entry->last = place.index;
            entry->last_length = length;
        }
        if (length > entry->longest)
            entry->longest = length;
    }
    reply_page(request, &reply, entries, reply.entries * (uint32_t)sizeof(*entries));
    free(entries);
}

/* ---- whether all has ended that was under way ---- */

static bool settled(const struct server *server, uint64_t since)
{
    if (rpc_executing_since(server->rpc, since, RPC_CHECK_SETTLED))
        return false;
    return server->background.count == 0 ||
           loop_now(server->loop) - since > 2 * server->options.rpc_deadline_ns;
}

void serve_CHECK_SETTLED(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct check_settled_request *body = request->body;
    uint64_t now = loop_now(server->loop);
    uint64_t until = now + SETTLE_WAIT_NS < request->deadline ? now + SETTLE_WAIT_NS : request->deadline;
    struct check_settled_reply reply = {.since = body->since != 0 ? body->since : now};
    int status = server->map == NULL ? -EAGAIN : reply.since > now ? -EINVAL : 0;
    while (status == 0 && (reply.settled = settled(server, reply.since)) == 0 &&
           loop_now(server->loop) + SETTLE_LOOK_NS < until && !server->stopping)
        status = task_sleep(server->loop, SETTLE_LOOK_NS);
    answer(request, status, &reply, sizeof(reply));
}

/* ---- reading chunks back ---- */

struct scrubbing {
    struct server *server;
    struct scrub_reply reply;
    struct scrub_damage damages[SCRUB_DAMAGES_MAX];
};

static void scrub_chunk(struct scrubbing *scrubbing, const struct store_cursor *place)
{
    struct store *store = scrubbing->server->store;
    struct scrub_reply *reply = &scrubbing->reply;
    struct store_scrub found = {0};
    int status = store->operations->scrub(store, place->inode, place->index, &found);
    if (status == -ENOENT)
        return; /* removed since */
    reply->chunks++;
    reply->bytes += found.bytes;
    if (status == 0 && found.blocks == 0)
        return;
    scrubbing->damages[reply->damaged++] = (struct scrub_damage){.inode = place->inode,
                                                                 .index = place->index,
                                                                 .offset = found.offset,
                                                                 .blocks = found.blocks,
                                                                 .status = status};
}

void serve_SCRUB(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct scrub_request *body = request->body;
    int status = server->map == NULL ? -EAGAIN : server->store->operations->scrub == NULL ? -EOPNOTSUPP : 0;
    struct scrubbing *scrubbing = status != 0 ? NULL : calloc(1, sizeof(*scrubbing));
    if (status == 0 && scrubbing == NULL)
        status = -ENOMEM;
    if (status != 0) {
        answer(request, status, NULL, 0);
        return;
    }
    scrubbing->server = server;
    struct scrub_reply *reply = &scrubbing->reply;
    struct store_cursor place = {body->inode, body->index};
    uint64_t until = loop_now(server->loop) + SCRUB_TIME_NS;
    for (uint32_t steps = 0; chunk_from(server, body->only == 1, &place); steps++) {
        if (steps > 0 && (reply->bytes >= body->bytes_max || loop_now(server->loop) >= until ||
                          reply->damaged == SCRUB_DAMAGES_MAX || server->stopping)) {
            reply->next[0] = place.inode;
            reply->next[1] = place.index;
            reply->more = 1;
            break;
        }
        scrub_chunk(scrubbing, &place);
        chunk_after(&place);
    }
    struct iovec bulk = {scrubbing->damages, reply->damaged * sizeof(scrubbing->damages[0])};
    rpc_reply(request, 0, reply, sizeof(*reply), &bulk, reply->damaged > 0 ? 1 : 0);
    free(scrubbing);
}

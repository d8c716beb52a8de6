/* How the check reads the servers: pages of a walk, from all servers at once, and single questions.
 *
 * Of each server one page is being looked at while the next one is on its way into the other of two buffers.
 * The servers take turns, so all are busy and none gets far ahead. */
#include "client/checking.h"

#define PAGE_BYTES (256u << 10)

struct source {
    struct rpc_call call;
    struct check_reply reply;
    union {
        struct check_inodes_request inodes;
        struct check_names_request names;
        struct check_chunks_request chunks;
    } body;
    struct iovec into;
    uint8_t *pages[2];
    unsigned filling; /* which of them */
    bool asking;
    bool finished;
};

static const struct {
    uint16_t operation;
    uint32_t body_length;
    uint32_t entry_size; /* 0: it varies */
} walks[WALKS] = {
    [WALK_INODES] = {RPC_CHECK_INODES, sizeof(struct check_inodes_request), sizeof(struct check_inode)},
    [WALK_NAMES] = {RPC_CHECK_NAMES, sizeof(struct check_names_request), 0},
    [WALK_CHUNKS] = {RPC_CHECK_CHUNKS, sizeof(struct check_chunks_request), sizeof(struct check_chunks)},
};

static void source_ask(struct client *client, struct source *source, enum check_walk walk, uint32_t server,
                       const uint64_t next[2])
{
    switch (walk) {
    case WALK_INODES:
        source->body.inodes = (struct check_inodes_request){
            .from = next[0], .entries_max = PAGE_BYTES / sizeof(struct check_inode)};
        break;
    case WALK_NAMES:
        source->body.names =
            (struct check_names_request){.directory = next[0], .hash = next[1], .bytes_max = PAGE_BYTES};
        break;
    default:
        source->body.chunks = (struct check_chunks_request){
            .inode = next[0], .index = next[1], .entries_max = PAGE_BYTES / sizeof(struct check_chunks)};
        break;
    }
    source->into = (struct iovec){source->pages[source->filling], PAGE_BYTES};
    source->call = (struct rpc_call){
        .operation = walks[walk].operation,
        .body = &source->body,
        .body_length = walks[walk].body_length,
        .receive = &source->into,
        .receive_count = 1,
        .reply = &source->reply,
        .reply_size = sizeof(source->reply),
        .namespace_epoch = client->namespace_epoch,
    };
    rpc_start(client->peers[server], &source->call);
    source->asking = true;
}

/* Waits for the page under way, asks for the next one, and hands it on. */
static int source_take(struct client *client, struct source *source, enum check_walk walk, uint32_t server,
                       int (*visit)(void *owner, const struct check_page *page), void *owner)
{
    int status = rpc_finish(&source->call);
    source->asking = false;
    client_observe(client, &source->call);
    if (status != 0)
        return status;
    struct check_page page = {
        .server = server,
        .entries = source->reply.entries,
        .bytes = source->pages[source->filling],
        .length = source->call.received,
    };
    uint32_t size = walks[walk].entry_size;
    if (size != 0 && page.length != (size_t)page.entries * size)
        return -EPROTO;
    source->filling ^= 1;
    source->finished = source->reply.more == 0;
    if (!source->finished) {
        const uint64_t next[2] = {source->reply.next[0], source->reply.next[1]};
        source_ask(client, source, walk, server, next);
    }
    return visit(owner, &page);
}

int check_walk_all(struct client *client, enum check_walk walk,
                   int (*visit)(void *owner, const struct check_page *page), void *owner)
{
    static const uint64_t start[2];
    uint32_t count = client->map->server_count, unfinished = count;
    struct source *sources = calloc(count, sizeof(*sources));
    int status = sources == NULL ? -ENOMEM : 0;
    for (uint32_t i = 0; status == 0 && i < count; i++) {
        for (unsigned page = 0; page < 2; page++)
            if ((sources[i].pages[page] = malloc(PAGE_BYTES)) == NULL)
                status = -ENOMEM;
        if (status == 0)
            source_ask(client, &sources[i], walk, i, start);
    }
    while (status == 0 && unfinished > 0) {
        for (uint32_t i = 0; status == 0 && i < count; i++) {
            if (sources[i].finished)
                continue;
            status = source_take(client, &sources[i], walk, i, visit, owner);
            unfinished -= sources[i].finished;
        }
    }
    for (uint32_t i = 0; sources != NULL && i < count; i++) {
        if (sources[i].asking)
            rpc_finish(&sources[i].call);
        free(sources[i].pages[0]);
        free(sources[i].pages[1]);
    }
    free(sources);
    return status;
}

const struct check_name *check_next_name(const struct check_page *page, size_t *offset)
{
    size_t left = page->length - *offset;
    const struct check_name *entry = (const void *)(page->bytes + *offset);
    if (left < sizeof(*entry) || entry->record_length > left || entry->name_length == 0 ||
        entry->record_length < sizeof(*entry) + entry->name_length)
        return NULL;
    *offset += entry->record_length;
    return entry;
}

/* ---- single questions ---- */

static int ask(struct client *client, uint32_t server, uint16_t operation, const void *body,
               uint32_t body_length, struct check_reply *reply, void *bytes, size_t size, size_t *received)
{
    struct iovec into = {bytes, size};
    struct rpc_call call = {
        .operation = operation,
        .body = body,
        .body_length = body_length,
        .receive = &into,
        .receive_count = 1,
        .reply = reply,
        .reply_size = sizeof(*reply),
        .namespace_epoch = client->namespace_epoch,
    };
    int status = rpc_call(client->peers[server], &call);
    client_observe(client, &call);
    *received = call.received;
    return status;
}

int check_ask_inode(struct client *client, uint64_t number, struct check_inode *entry)
{
    if (!inode_valid(number))
        return 0;
    struct check_inodes_request body = {.from = number, .entries_max = 1};
    struct check_reply reply;
    size_t received;
    int status = ask(client, client_inode_server(client, number), RPC_CHECK_INODES, &body, sizeof(body),
                     &reply, entry, sizeof(*entry), &received);
    if (status != 0)
        return status;
    if (received != sizeof(*entry) || entry->inode != number)
        return 0;
    return check_inode_valid(entry) ? 1 : -EPROTO;
}

int check_ask_name(struct client *client, uint32_t server, uint64_t directory, uint64_t hash,
                   const char *name, uint8_t name_length, uint64_t *inode, uint32_t *type)
{
    uint8_t *bytes = malloc(PAGE_BYTES);
    if (bytes == NULL)
        return -ENOMEM;
    struct check_page page = {.bytes = bytes};
    struct check_names_request body = {.directory = directory, .hash = hash, .bytes_max = 1};
    struct check_reply reply;
    int status =
        ask(client, server, RPC_CHECK_NAMES, &body, sizeof(body), &reply, bytes, PAGE_BYTES, &page.length);
    size_t offset = 0;
    for (const struct check_name *entry;
         status == 0 && (entry = check_next_name(&page, &offset)) != NULL && entry->directory == directory;) {
        if (name_length != 0 && (entry->hash != hash || entry->name_length != name_length ||
                                 memcmp(entry->name, name, name_length) != 0))
            continue;
        *inode = entry->inode;
        *type = entry->type;
        status = 1;
    }
    free(bytes);
    return status;
}

int check_ask_chunks(struct client *client, uint32_t server, uint64_t inode, struct check_chunks *sum)
{
    *sum = (struct check_chunks){.inode = inode};
    struct check_chunks_request body = {.inode = inode, .entries_max = 1, .only = 1};
    struct check_reply reply = {.more = 1};
    while (reply.more != 0) {
        struct check_chunks part;
        size_t received;
        int status = ask(client, server, RPC_CHECK_CHUNKS, &body, sizeof(body), &reply, &part, sizeof(part),
                         &received);
        if (status != 0)
            return status;
        body.index = reply.next[1];
        if (received != sizeof(part))
            continue;
        sum->chunks += part.chunks;
        if (part.last_length > 0) {
            sum->last = part.last;
            sum->last_length = part.last_length;
        }
        if (part.longest > sum->longest)
            sum->longest = part.longest;
    }
    return sum->chunks > 0;
}

int check_settle(struct client *client)
{
    uint32_t count = client->map->server_count;
    struct check_settled_reply *replies = calloc(count, sizeof(*replies));
    struct rpc_call *calls = calloc(count, sizeof(*calls));
    struct check_settled_request *bodies = calloc(count, sizeof(*bodies));
    int status = replies == NULL || calls == NULL || bodies == NULL ? -ENOMEM : 0;
    for (bool again = true; status == 0 && again;) {
        again = false;
        for (uint32_t i = 0; i < count; i++) {
            bodies[i].since = replies[i].since;
            calls[i] = (struct rpc_call){
                .operation = RPC_CHECK_SETTLED,
                .body = &bodies[i],
                .body_length = sizeof(bodies[i]),
                .reply = &replies[i],
                .reply_size = sizeof(replies[i]),
                .namespace_epoch = client->namespace_epoch,
            };
            if (replies[i].settled == 0)
                rpc_start(client->peers[i], &calls[i]);
            else
                calls[i].operation = 0;
        }
        for (uint32_t i = 0; i < count; i++) {
            if (calls[i].operation == 0)
                continue;
            int one = rpc_finish(&calls[i]);
            client_observe(client, &calls[i]);
            status = status != 0 ? status : one;
            again |= replies[i].settled == 0;
        }
    }
    free(bodies);
    free(calls);
    free(replies);
    return status;
}

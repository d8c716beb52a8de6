/* A double of rpc for tests of the client core, in place of the real calls: it answers at once from a small
 * file system in memory, in the state of which a test may interfere (`world`), and writes down every request.
 * For one source file of a test. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "client/client.h"
#include "unit/unit.h"

#define SERVERS 3
#define NODES 64
#define CHUNK_SHIFT 16
#define CHUNK (1u << CHUNK_SHIFT)
#define CHUNKS 40
#define FILE_BYTES (CHUNKS * (size_t)CHUNK)

struct rpc {
    int nothing;
};
struct rpc_peer {
    uint32_t server;
    uint32_t notices; /* wait */
};

struct node {
    uint64_t inode; /* 0: free */
    uint64_t parent;
    char name[256];
    struct attributes attributes;
    char target[64];
    int holds;
    uint8_t *bytes;           /* of a file */
    uint32_t lengths[CHUNKS]; /* of its chunks */
    bool gone;
};

static struct {
    struct node nodes[NODES];
    uint64_t counter;
    uint32_t epoch;
    uint32_t map_epoch;
    uint32_t lease_us;
    char log[8192]; /* names of the requests since the last expect() */
    unsigned under_way, most_under_way;
    /* The next `refuse_times` requests of operation `refuse`, but for the first `refuse_not`, are answered
     * with that status. */
    unsigned refuse, refuse_times, refuse_not;
    int refuse_status;
    uint64_t release_ns;  /* how long RELEASE takes */
    int64_t full_at;      /* a write at or behind this byte of a file is refused with -ENOSPC; -1: none */
    uint32_t lie_length;  /* added to the length in chunk replies */
    bool lie_cursor;      /* listings never get on */
    const char *lie_name; /* what every entry is called */
    uint8_t lie_flags;    /* of every entry, with nothing behind it that they promise */
    uint8_t lie_shift;    /* chunk shift of created files */
} world;

static struct loop *loop;
static struct cluster_map *map;
static struct client *client;

static struct node *node_of(uint64_t inode)
{
    for (unsigned i = 0; i < NODES; i++)
        if (world.nodes[i].inode == inode)
            return &world.nodes[i];
    return NULL;
}

static struct node *node_named(uint64_t parent, const char *name, size_t length)
{
    for (unsigned i = 0; i < NODES; i++) {
        struct node *node = &world.nodes[i];
        if (node->inode != 0 && !node->gone && node->parent == parent && strlen(node->name) == length &&
            memcmp(node->name, name, length) == 0)
            return node;
    }
    return NULL;
}

static struct node *node_make(uint64_t parent, const char *name, size_t length, uint32_t mode)
{
    struct node *node = node_of(0);
    assert_non_null(node);
    memset(node, 0, sizeof *node);
    node->inode = parent == 0
                      ? INODE_ROOT
                      : inode_make(hash_partition(dentry_hash(parent, name, length)), ++world.counter + 1);
    node->parent = parent == 0 ? INODE_ROOT : parent;
    memcpy(node->name, name, length);
    node->attributes = (struct attributes){
        .inode = node->inode,
        .mode = mode,
        .links = 1,
        .parent = S_ISDIR(mode) ? node->parent : 0,
        .layout = {.placement = PLACEMENT_ROUND_ROBIN, .chunk_shift = CHUNK_SHIFT},
    };
    if (S_ISREG(mode))
        node->bytes = calloc(1, FILE_BYTES);
    return node;
}

static size_t scatter(const struct rpc_call *call, const void *bytes, size_t length)
{
    assert_true(call->receive_count <= 1);
    assert_true(length == 0 || call->receive[0].iov_len >= length);
    if (length > 0)
        memcpy(call->receive[0].iov_base, bytes, length);
    return length;
}

static int serve_create(const struct create_request *request, uint32_t type, struct attributes_reply *reply)
{
    struct node *parent = node_of(request->parent);
    if (parent == NULL || parent->gone)
        return -ESTALE;
    struct node *node = node_named(request->parent, request->name, request->name_length);
    if (node != NULL && (type != S_IFREG || (request->flags & CREATE_EXCLUSIVE)))
        return -EEXIST;
    if (node == NULL)
        node = node_make(request->parent, request->name, request->name_length, type | request->mode);
    reply->attributes = node->attributes;
    if (world.lie_shift != 0)
        reply->attributes.layout.chunk_shift = world.lie_shift;
    return 0;
}

static int serve_chunk(uint32_t server, struct rpc_call *call)
{
    const struct chunk_read_request *read = call->body; /* a write begins with the same fields */
    struct chunk_reply *reply = call->reply;
    struct node *node = node_of(read->inode);
    bool owner = server == cluster_map_owner(map, inode_partition(read->inode));
    if (node == NULL || node->gone)
        return -ESTALE;
    assert_int_equal(server, placement_server(map, read->inode, &node->attributes.layout, read->index));
    assert_true(read->index < CHUNKS && read->length > 0 && read->offset + read->length <= CHUNK);
    uint8_t *at = node->bytes + read->index * CHUNK + read->offset;
    uint32_t *length = &node->lengths[read->index];
    if (call->operation == RPC_WRITE_CHUNK) {
        const struct chunk_write_request *write = call->body;
        uint64_t end = read->index * CHUNK + read->offset + read->length;
        if (write->generation != node->attributes.generation)
            return -STATUS_STALE_GENERATION;
        if (world.full_at >= 0 && end > (uint64_t)world.full_at)
            return -ENOSPC;
        memcpy(at, call->send[0].iov_base, read->length);
        if (*length < read->offset + read->length)
            *length = read->offset + read->length;
        if (owner && !(write->flags & CHUNK_KEEP_SIZE) && node->attributes.size < end)
            node->attributes.size = end;
        reply->length = read->length;
    } else {
        reply->length = *length <= read->offset ? 0 : *length - read->offset;
        if (reply->length > read->length)
            reply->length = read->length;
        call->received = scatter(call, at, reply->length);
    }
    reply->length += world.lie_length;
    reply->owner = owner;
    reply->size = owner ? node->attributes.size : 0;
    reply->generation = owner ? node->attributes.generation : 0;
    return 0;
}

/* At most three entries at a time, so that listings take several requests. */
static int serve_list(uint32_t server, struct rpc_call *call)
{
    const struct list_request *request = call->body;
    struct list_reply *reply = call->reply;
    uint8_t bytes[1024];
    size_t length = 0;
    uint64_t cursor = request->cursor;
    *reply = (struct list_reply){0};
    for (;;) {
        struct node *first = NULL;
        uint64_t first_hash = 0;
        for (unsigned i = 0; i < NODES; i++) {
            struct node *node = &world.nodes[i];
            if (node->inode == 0 || node->gone || node->parent != request->directory ||
                node->inode == INODE_ROOT)
                continue;
            uint64_t hash = dentry_hash(node->parent, node->name, strlen(node->name));
            if (hash >= cursor && cluster_map_owner(map, hash_partition(hash)) == server &&
                (first == NULL || hash < first_hash)) {
                first = node;
                first_hash = hash;
            }
        }
        if (first == NULL)
            break;
        if (reply->entries == 3) {
            reply->next = world.lie_cursor ? request->cursor : first_hash;
            break;
        }
        const char *name = world.lie_name != NULL ? world.lie_name : first->name;
        struct list_entry *entry = (struct list_entry *)(bytes + length);
        *entry = (struct list_entry){
            .record_length = (uint16_t)((sizeof *entry + strlen(name) + 7) / 8 * 8),
            .name_length = (uint8_t)strlen(name),
            .type = first->attributes.mode & S_IFMT,
            .hash = first_hash,
            .inode = first->inode,
        };
        memcpy(list_entry_name(entry), name, strlen(name));
        entry->flags = world.lie_flags;
        length += entry->record_length;
        cursor = first_hash + 1;
        reply->entries++;
    }
    call->received = scatter(call, bytes, length);
    return 0;
}

static int serve_truncate(const struct truncate_request *request, struct attributes_reply *reply)
{
    struct node *node = node_of(request->inode);
    if (node == NULL || node->gone)
        return -ESTALE;
    if (request->expected != UINT64_MAX && node->attributes.size != request->expected)
        return -EAGAIN;
    if (request->size < node->attributes.size || request->expected != UINT64_MAX) {
        node->attributes.generation++;
        memset(node->bytes + request->size, 0, FILE_BYTES - request->size);
        for (uint64_t i = 0; i < CHUNKS; i++) {
            uint64_t keep = request->size > i * CHUNK ? request->size - i * CHUNK : 0;
            if (node->lengths[i] > keep)
                node->lengths[i] = (uint32_t)keep;
        }
    }
    node->attributes.size = request->size;
    reply->attributes = node->attributes;
    return 0;
}

/* Whether the inode is on the server that its name is on. */
static bool held_with(uint64_t parent, const char *name, uint8_t length, const struct node *node)
{
    return map->owner[hash_partition(dentry_hash(parent, name, length))] ==
           map->owner[inode_partition(node->inode)];
}

static int serve(uint32_t server, struct rpc_call *call)
{
    const struct name_request *name = call->body;
    const struct inode_request *by_inode = call->body;
    struct attributes_reply *attributes = call->reply;
    struct node *node;
    if (call->operation == RPC_GET_MAP) {
        struct buffer encoded;
        buffer_init(&encoded);
        cluster_map_encode(map, &encoded);
        call->received = scatter(call, encoded.bytes, encoded.length);
        buffer_free(&encoded);
        return 0;
    }
    if (call->namespace_epoch < world.epoch)
        return -STATUS_STALE_NAMESPACE;
    switch (call->operation) {
    case RPC_LOOKUP:
        node = node_of(name->parent);
        if (node == NULL || node->gone)
            return -ESTALE;
        node = node_named(name->parent, name->name, name->name_length);
        if (node == NULL)
            return -ENOENT;
        attributes->attributes = node->attributes;
        return 0;
    case RPC_OPEN: {
        const struct open_request *open = call->body;
        struct open_reply *reply = call->reply;
        node = node_named(open->parent, open->name, open->name_length);
        if (node == NULL)
            return -ENOENT;
        *reply = (struct open_reply){.attributes = node->attributes};
        node->holds +=
            !S_ISLNK(node->attributes.mode) && held_with(open->parent, open->name, open->name_length, node);
        if ((open->flags & OPEN_WANT_INLINE) && node->attributes.size > 0 &&
            node->attributes.size <= INLINE_DATA_MAX && world.lease_us > 0) {
            reply->lease_us = world.lease_us;
            call->received = scatter(call, node->bytes, node->attributes.size);
        }
        return 0;
    }
    case RPC_CREATE_FILE:
        if (serve_create(call->body, S_IFREG, attributes) != 0)
            return -EEXIST;
        node_of(attributes->attributes.inode)->holds++;
        return 0;
    case RPC_CREATE_DIRECTORY:
        return serve_create(call->body, S_IFDIR, attributes);
    case RPC_GET_ATTRIBUTES:
        node = node_of(by_inode->inode);
        if (node == NULL || node->gone)
            return -ESTALE;
        attributes->attributes = node->attributes;
        return 0;
    case RPC_HOLD: /* begins like GET_ATTRIBUTES */
        node = node_of(by_inode->inode);
        if (node == NULL || node->gone)
            return -ESTALE;
        node->holds++;
        attributes->attributes = node->attributes;
        return 0;
    case RPC_RELEASE:
        return 0;
    case RPC_UNLINK:
        node = node_named(name->parent, name->name, name->name_length);
        *(struct unlink_reply *)call->reply = (struct unlink_reply){.orphan = node->attributes.inode};
        node->name[0] = '\0';
        node->attributes.links = 0;
        return 0;
    case RPC_READ_LINK:
        node = node_of(by_inode->inode);
        call->received = scatter(call, node->target, strlen(node->target));
        return 0;
    case RPC_READ_CHUNK:
    case RPC_WRITE_CHUNK:
        return serve_chunk(server, call);
    case RPC_LIST:
        return serve_list(server, call);
    case RPC_TRUNCATE:
        return serve_truncate(call->body, attributes);
    case RPC_EXTEND: {
        const struct extend_request *request = call->body;
        struct extend_reply *reply = call->reply;
        node = node_of(request->inode);
        if (request->generation != node->attributes.generation)
            return -STATUS_STALE_GENERATION;
        reply->offset = node->attributes.size;
        uint64_t end = request->flags & EXTEND_APPEND ? node->attributes.size + request->end : request->end;
        if (node->attributes.size < end)
            node->attributes.size = end;
        reply->size = node->attributes.size;
        reply->generation = node->attributes.generation;
        return 0;
    }
    default:
        return -ENOSYS;
    }
}

static const char *operation_name(unsigned operation)
{
    switch (operation) {
#define OP(id, name, request, reply, flags)                                                                  \
    case id:                                                                                                 \
        return #name;
        OPERATION_TABLE(OP)
#undef OP
    default:
        return "?";
    }
}

static unsigned operation_flags(unsigned operation)
{
    switch (operation) {
#define OP(id, name, request, reply, flags)                                                                  \
    case id:                                                                                                 \
        return flags;
        OPERATION_TABLE(OP)
#undef OP
    default:
        return 0;
    }
}

/* Taken at once, but kept for the count. */
bool rpc_peer_notice(struct rpc_peer *peer, uint64_t notice)
{
    if (peer->notices == RPC_NOTICES_MAX)
        return false;
    peer->notices++;
    node_of(notice)->holds--;
    return true;
}

uint64_t rpc_peer_session(const struct rpc_peer *peer)
{
    (void)peer;
    return 1;
}

uint32_t rpc_peer_notices(const struct rpc_peer *peer)
{
    return peer->notices;
}

static bool is_refused(unsigned operation)
{
    if (world.refuse != operation || world.refuse_times == 0)
        return false;
    if (world.refuse_not > 0) {
        world.refuse_not--;
        return false;
    }
    world.refuse_times--;
    return true;
}

void rpc_start(struct rpc_peer *peer, struct rpc_call *call)
{
    size_t used = strlen(world.log);
    snprintf(world.log + used, sizeof world.log - used, "%s%s", used > 0 ? " " : "",
             operation_name(call->operation));
    call->timing.started = loop_now(loop);
    if (++world.under_way > world.most_under_way)
        world.most_under_way = world.under_way;
    int status;
    if (is_refused(call->operation)) {
        status = world.refuse_status;
    } else {
        if ((operation_flags(call->operation) & RPC_MUTATES) != 0 && call->send_count == 0)
            peer->notices = 0;
        status = serve(peer->server, call);
    }
    call->reply_namespace_epoch = world.epoch;
    call->reply_map_epoch = world.map_epoch;
    call->done.status = status;
}

int rpc_finish(struct rpc_call *call)
{
    struct completion never = COMPLETION_INIT;
    if (call->operation == RPC_RELEASE && world.release_ns != 0)
        await_until(loop, &never, loop_now(loop) + world.release_ns);
    world.under_way--;
    return call->done.status;
}

int rpc_create(struct net *net, const struct rpc_options *options, struct rpc **rpc)
{
    static struct rpc only;
    (void)net;
    (void)options;
    *rpc = &only;
    return 0;
}

void rpc_destroy(struct rpc *rpc)
{
    (void)rpc;
}

void rpc_refresh_metrics(const struct rpc *rpc)
{
    (void)rpc;
}

void rpc_set_epochs(struct rpc *rpc, uint32_t map_epoch, uint32_t namespace_epoch)
{
    (void)rpc;
    (void)map_epoch;
    (void)namespace_epoch;
}

int rpc_peer_create(struct rpc *rpc, const char *address, struct rpc_peer **peer)
{
    (void)rpc;
    *peer = malloc(sizeof **peer);
    (*peer)->notices = 0;
    (*peer)->server = (uint32_t)(address[1] - '0'); /* "s0:1" */
    return 0;
}

void rpc_peer_destroy(struct rpc_peer *peer)
{
    free(peer);
}

/* What is asked about the server itself: the cluster map, where its attribute board is, status, measurements,
 * what the inodes in them are called, space, a ping, the request to end.
 *
 * PING moves bulk either way through one buffer of transport memory, made at the first ping that needs it;
 * its contents mean nothing, so pings may share it. */
#include <errno.h>
#include <unistd.h>

#include "server/state.h"

#define PING_BYTES_MAX (64u << 20)

void serve_GET_MAP(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    if (server->map == NULL) {
        answer(request, -EAGAIN, NULL, 0);
        return;
    }
    struct iovec bulk = {server->encoded_map.bytes, server->encoded_map.length};
    rpc_reply(request, 0, NULL, 0, &bulk, 1);
}

/* From now on what clients are told is worth putting there. */
void serve_GET_BOARD(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    struct board_reply reply = {0};
    int status = server->map == NULL ? -EAGAIN : server->board == NULL ? -EOPNOTSUPP : 0;
    if (status == 0) {
        const struct board_request *body = request->body;
        shown_place_fill(&server->board->shown->place, &reply.board);
        reply.holds_seen = holds_see(server, request, &body->holds);
        server->board->watched = true;
    }
    answer(request, status, &reply, sizeof(reply));
}

void serve_PING(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct ping_request *body = request->body;
    bool fetch = body->discard != 0 && request->bulk_length > 0;
    int status = 0;
    if (body->reply_bytes > PING_BYTES_MAX || (fetch && request->bulk_length > PING_BYTES_MAX))
        status = -EINVAL;
    if (status == 0 && (fetch || body->reply_bytes > 0) && server->ping_memory == NULL) {
        void *memory;
        status = net_memory_allocate(server->net, PING_BYTES_MAX, &memory, &server->ping_region);
        if (status == 0)
            server->ping_memory = memory;
    }
    if (status == 0 && fetch) {
        struct iovec into = {server->ping_memory, request->bulk_length};
        status = rpc_request_receive(request, &into, 1);
    }
    struct ping_reply reply = {.server_time = loop_now(server->loop)};
    if (status != 0 || body->reply_bytes == 0) {
        answer(request, status, &reply, sizeof(reply));
        return;
    }
    struct iovec bulk = {server->ping_memory, body->reply_bytes};
    rpc_reply(request, 0, &reply, sizeof(reply), &bulk, 1);
}

void server_status(struct server *server, struct server_status_reply *status)
{
    struct store_statistics store = {0};
    struct meta_statistics meta;
    struct rpc_counters rpc;
    struct loop_statistics loop;
    struct journal_statistics journal = {0};
    if (server->journal != NULL)
        journal_statistics(server->journal, &journal);
    server->store->operations->statistics(server->store, &store);
    meta_statistics(server->meta, &meta);
    rpc_counters(server->rpc, &rpc);
    loop_statistics(server->loop, &loop);
    *status = (struct server_status_reply){
        .server = server->options.id,
        .pid = (uint32_t)getpid(),
        .used = store.used,
        .capacity = store.capacity,
        .inodes = meta.inodes,
        .dentries = meta.dentries,
        .sessions = rpc.sessions,
        .requests = rpc.requests,
        .busy_ns = loop.busy_ns,
        .idle_ns = loop.idle_ns,
        .uptime_ns = loop_now(server->loop) - server->started,
        .metadata_bytes = meta.bytes,
        .dispatched = rpc.dispatched,
        .dispatch_ns = rpc.dispatch_ns,
        .journal_records = journal.records,
        .journal_groups = journal.groups,
        .journal_bytes = journal.bytes,
        .journal_log_bytes = journal.log_bytes,
        .recovered_records = server->recovery.snapshot_records + server->recovery.log_records,
        .recovery_ns = server->recovery.duration_ns,
        .tier_used = store.tiers.used,
        .tier_hits = store.tiers.hits,
        .tier_misses = store.tiers.misses,
        .tier_promotions = store.tiers.promotions,
        .tier_demotions = store.tiers.demotions,
        .tier_spills = store.tiers.spills,
        .tier_write_backs = store.tiers.write_backs,
    };
}

void serve_NAME_OF(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct inode_request *body = request->body;
    struct name_of_reply reply = {0};
    uint64_t parent;
    int status = meta_name_find(server->meta, body->inode, &parent, reply.name, &reply.name_length);
    if (status == 0)
        reply.parent = parent;
    answer(request, status, &reply, sizeof(reply));
}

void serve_SERVER_STATUS(void *owner, struct rpc_request *request)
{
    struct server_status_reply reply;
    server_status(owner, &reply);
    answer(request, 0, &reply, sizeof(reply));
}

void serve_READ_METRICS(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct metrics_request *body = request->body;
    const struct metrics_header *region = server->metrics->header;
    struct metrics_reply reply = {.server_time = loop_now(server->loop)};
    if (body->length == 0 || body->length > METRICS_READ_MAX || body->offset > region->bytes ||
        body->length > region->bytes - body->offset) {
        answer(request, -EINVAL, NULL, 0);
        return;
    }
    if (body->offset == 0)
        metrics_settle(server->metrics);
    struct iovec bulk = {(char *)(uintptr_t)region + body->offset, body->length};
    rpc_reply(request, 0, &reply, sizeof(reply), &bulk, 1);
}

void serve_SET_METRICS(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct metrics_set_request *body = request->body;
    server->metrics->header->slow_ns = body->slow_ns;
    answer(request, 0, NULL, 0);
}

void serve_STATFS(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    struct store_statistics store;
    struct meta_statistics meta;
    server->store->operations->statistics(server->store, &store);
    meta_statistics(server->meta, &meta);
    uint64_t limit = server->options.metadata_capacity;
    struct statfs_reply reply = {
        .used = store.used,
        .capacity = store.capacity,
        .inodes = meta.inodes,
        .metadata_used = meta.bytes,
        .metadata_capacity = limit != 0 ? limit : UINT64_MAX,
    };
    answer(request, server->map == NULL ? -EAGAIN : 0, &reply, sizeof(reply));
}

void serve_SHUT_DOWN(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    answer(request, 0, NULL, 0);
    if (server->shut_down != NULL)
        server->shut_down(server->shut_down_owner);
}

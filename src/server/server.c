/* A server's life: made without a map, given the map once all members are known, then serving until
 * destroyed.
 *
 * Everything runs on one loop. rpc/ starts each request's handler in a task of its own; handlers are found by
 * the operation table, one function `serve_<OPERATION>` each, spread over this folder by what they are about:
 *
 *   namespace.c  names: look up, create, open, unlink        inode.c   attributes, sizes, leases
 *   listing.c    walking a directory, find's filter          chunk.c   bytes, and the truncation fence
 *   directory.c  freezing and removing directories           rename.c  the rename transaction
 *   obstacle.c   locked keys, frozen and removed directories link.c    hard links
 *   admin.c      map, status, ping, shutdown                 hold.c    open files, and those without a name
 *
 * This file also holds the two things that concern all servers at once: calling peers, and the namespace
 * epoch. The epoch only grows. Servers learn a newer one from any request or reply that carries it; a bump is
 * complete only when every server has acknowledged it, and only the owner of partition 0 makes one, so that
 * numbers are never reused. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "metrics/files.h"
#include "server/state.h"

#define MEMORY_INTERVAL NSEC_PER_SEC /* between two looks at the process's memory, a system call or three */

/* ---- epochs ---- */

static void publish_epochs(struct server *server)
{
    uint32_t map_epoch = server->map != NULL ? server->map->epoch : 0;
    if (server->board != NULL)
        board_set_epochs(server->board, map_epoch, server->namespace_epoch);
    rpc_set_epochs(server->rpc, map_epoch, server->namespace_epoch);
}

void server_adopt_epoch(struct server *server, uint32_t epoch)
{
    if ((int32_t)(epoch - server->namespace_epoch) <= 0)
        return;
    server->namespace_epoch = epoch;
    if (!server->stopping)
        publish_epochs(server);
}

int server_bump_namespace(struct server *server, uint64_t deadline)
{
    struct epoch_request body = {.epoch = 0};
    if (server_coordinator(server) != server->self)
        return server_call(server, server_coordinator(server), RPC_NAMESPACE_BUMP, &body, sizeof(body), NULL,
                           0, deadline);

    body.epoch = server->namespace_epoch + 1;
    if (body.epoch == 0)
        body.epoch = 1;
    server_adopt_epoch(server, body.epoch);
    if (server_single(server))
        return 0;
    return server_call_many(server, NULL, RPC_NAMESPACE_BUMP, &body, sizeof(body), NULL, 0, deadline);
}

void serve_NAMESPACE_BUMP(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct epoch_request *body = request->body;
    int status = 0;
    if (server->map == NULL)
        status = -EAGAIN;
    else if (body->epoch != 0)
        server_adopt_epoch(server, body->epoch);
    else if (server_coordinator(server) != server->self)
        status = -STATUS_WRONG_EPOCH;
    else
        status = server_bump_namespace(server, request->deadline);
    answer(request, status, NULL, 0);
}

/* ---- calling peers ---- */

struct rpc_peer *server_peer(const struct server *server, uint32_t index, uint16_t operation)
{
    bool waits = operation == RPC_RENAME || operation == RPC_TRUNCATE || operation == RPC_INODE_UNLINK ||
                 operation == RPC_GET_ATTRIBUTES || operation == RPC_READ_CHUNK || operation == RPC_LOOKUP;
    return waits ? server->peers[index].patient : server->peers[index].prompt;
}

bool background_begin(struct server *server, bool *running, void (*task)(void *server))
{
    *running = true;
    wait_group_add(&server->background, 1);
    if (task_spawn_later(server->loop, task, server, NULL) == 0)
        return true;
    background_end(server, running);
    return false;
}

void background_end(struct server *server, bool *running)
{
    *running = false;
    wait_group_done(server->loop, &server->background);
}

static int finish_call(struct server *server, struct rpc_call *call)
{
    int status = rpc_finish(call);
    server_adopt_epoch(server, call->reply_namespace_epoch);
    return status;
}

int server_call(struct server *server, uint32_t index, uint16_t operation, const void *body,
                uint32_t body_length, void *reply, uint32_t reply_size, uint64_t deadline)
{
    if (server->stopping)
        return -ECANCELED; /* the peers go before the last task in the background */
    struct rpc_call call = {
        .operation = operation,
        .body = body,
        .body_length = body_length,
        .reply = reply,
        .reply_size = reply_size,
        .namespace_epoch = server->namespace_epoch,
        .deadline = deadline,
    };
    rpc_start(server_peer(server, index, operation), &call);
    return finish_call(server, &call);
}

int server_call_many(struct server *server, const uint64_t *wanted, uint16_t operation, const void *body,
                     uint32_t body_length, void *replies, uint32_t reply_size, uint64_t deadline)
{
    uint32_t count = server->map->server_count;
    if (server->stopping)
        return -ECANCELED;
    struct rpc_call *calls = calloc(count, sizeof(*calls));
    if (calls == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++) {
        if (wanted != NULL && (wanted[i / 64] >> (i % 64) & 1) == 0)
            continue;
        calls[i] = (struct rpc_call){
            .operation = operation,
            .body = body,
            .body_length = body_length,
            .reply = replies != NULL ? (char *)replies + (size_t)i * reply_size : NULL,
            .reply_size = reply_size,
            .namespace_epoch = server->namespace_epoch,
            .deadline = deadline,
        };
        rpc_start(server_peer(server, i, operation), &calls[i]);
    }
    int result = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (calls[i].operation == 0)
            continue;
        int status = finish_call(server, &calls[i]);
        if (result == 0)
            result = status;
    }
    free(calls);
    return result;
}

int server_metadata_room(struct server *server, uint64_t extra)
{
    int status = server->journal == NULL ? 0 : journal_room(server->journal);
    if (status != 0 || server->options.metadata_capacity == 0)
        return status;
    struct meta_statistics statistics;
    meta_statistics(server->meta, &statistics);
    return statistics.bytes + extra <= server->options.metadata_capacity ? 0 : -ENOSPC;
}

/* ---- life ---- */

/* What a process of clients held goes with it; open files, whose contents would be lost, when nobody can come
 * any more who has inherited them. */
static void instance_event(void *owner, uint64_t instance, enum rpc_instance_event event)
{
    struct server *server = owner;
    locks_end_instance(&server->locks, instance);
    if (event == RPC_INSTANCE_GONE) {
        holds_unsee(server, instance);
        orphans_collect(owner);
    }
}

static void take_notice(void *owner, uint32_t serial, uint64_t notice)
{
    struct server *server = owner;
    if (notice == NOTICE_HEIRS)
        rpc_instance_linger(server->rpc, serial);
    else if ((notice & NOTICE_LEFT) != 0)
        inode_left(server, notice & ~NOTICE_LEFT, serial);
    else
        inode_release(server, notice, serial);
}

static void refresh_metrics(void *owner)
{
    struct server *server = owner;
    struct store_statistics store = {0};
    struct meta_statistics meta;
    struct journal_statistics journal = {0};
    server->store->operations->statistics(server->store, &store);
    meta_statistics(server->meta, &meta);
    if (server->journal != NULL)
        journal_statistics(server->journal, &journal);
    rpc_refresh_metrics(server->rpc);
    uint64_t now = loop_now(server->loop);
    if (!loop_simulated(server->loop) && now - server->memory_measured >= MEMORY_INTERVAL) {
        server->memory_measured = now;
        metrics_set(server->metrics, METRIC_PROCESS_MEMORY, metrics_process_memory());
        metrics_set(server->metrics, METRIC_METRICS_MEMORY, metrics_memory(server->metrics));
        metrics_set(server->metrics, METRIC_BOARD_MEMORY,
                    server->board == NULL ? 0 : board_memory(server->board));
    }
    metrics_set(server->metrics, METRIC_STORE_USED, store.used);
    metrics_set(server->metrics, METRIC_STORE_CAPACITY, store.capacity);
    metrics_set(server->metrics, METRIC_STORE_MEMORY, store.memory);
    metrics_set(server->metrics, METRIC_STORE_TAKEN, store.taken > store.memory ? store.taken : store.memory);
    metrics_set(server->metrics, METRIC_STORE_FAST_USED, store.tiers.used);
    metrics_set(server->metrics, METRIC_STORE_HITS, store.tiers.hits);
    metrics_set(server->metrics, METRIC_STORE_MISSES, store.tiers.misses);
    metrics_set(server->metrics, METRIC_STORE_PROMOTIONS, store.tiers.promotions);
    metrics_set(server->metrics, METRIC_STORE_DEMOTIONS, store.tiers.demotions);
    metrics_set(server->metrics, METRIC_STORE_SPILLS, store.tiers.spills);
    metrics_set(server->metrics, METRIC_STORE_WRITE_BACKS, store.tiers.write_backs);
    metrics_set(server->metrics, METRIC_JOURNAL_RECORDS, journal.records);
    metrics_set(server->metrics, METRIC_JOURNAL_GROUPS, journal.groups);
    metrics_set(server->metrics, METRIC_JOURNAL_BYTES, journal.bytes);
    metrics_set(server->metrics, METRIC_JOURNAL_LOG, journal.log_bytes);
    metrics_set(server->metrics, METRIC_META_MEMORY, meta.bytes);
    metrics_set(server->metrics, METRIC_META_TAKEN, meta.taken);
    metrics_set(server->metrics, METRIC_META_INODES, meta.inodes);
    metrics_set(server->metrics, METRIC_META_DENTRIES, meta.dentries);
    metrics_set(server->metrics, METRIC_BOARD_ANSWERS, server->board == NULL ? 0 : server->board->entries);
}

int server_create(struct net *net, const struct server_options *options, struct server **result, char *bound)
{
    struct server *server = calloc(1, sizeof(*server));
    if (server == NULL)
        return -ENOMEM;
    server->net = net;
    server->loop = net->loop;
    server->metrics = loop_metrics(net->loop);
    server->options = *options;
    if (server->options.rpc_deadline_ns == 0)
        server->options.rpc_deadline_ns = 10 * NSEC_PER_SEC;
    server->namespace_epoch = 1;
    server->started = loop_now(server->loop);
    map_init(&server->key_locks);
    map_init(&server->directory_marks);
    map_init(&server->fences);
    map_init(&server->holders);
    map_init(&server->orphans);
    map_init(&server->intents);
    map_init(&server->applied);
    map_init(&server->pins);
    map_init(&server->leftovers);
    list_init(&server->applied_ages);
    list_init(&server->tombstones);
    list_init(&server->fence_ages);
    mutex_init(&server->rename_mutex);
    locks_init(&server->locks, server->loop);
    wait_group_init(&server->background);
    list_init(&server->collections);
    wait_queue_init(&server->collected);
    buffer_init(&server->encoded_map);

    int status = meta_create(&server->meta);
    if (status != 0)
        goto fail_meta;
    status = meta_reserve(server->meta, options->metadata_reserve);
    if (status != 0)
        goto fail_store;
    status = options->board_bytes == 0
                 ? 0
                 : board_create(net, options->board_bytes, options->content_bytes, &server->board);
    if (status == -ENOTSUP || status == -EINVAL)
        status = 0; /* this transport shows nothing, or there is no room for an entry */
    if (status != 0)
        goto fail_store;
    struct store_options store = options->store;
    store.net = net;
    store.loop = net->loop;
    status = store_create(&store, &server->store);
    if (status != 0)
        goto fail_store;
    struct rpc_options rpc = {
        .cluster_key = options->cluster_key,
        .deadline_ns = server->options.rpc_deadline_ns,
        .rendezvous_threshold = options->rendezvous_threshold,
        .server_id = options->id,
        .owner = server,
        .instance_event = instance_event,
        .notice = take_notice,
    };
    status = rpc_create(net, &rpc, &server->rpc);
    if (status != 0)
        goto fail_rpc;
#define OP(id, name, request, reply, flags) rpc_register(server->rpc, RPC_##name, serve_##name);
    OPERATION_TABLE(OP)
#undef OP
    publish_epochs(server);
    status = rpc_listen(server->rpc, options->listen, bound);
    if (status != 0)
        goto fail_listen;
    server->metrics->refresh = refresh_metrics;
    server->metrics->owner = server;
    *result = server;
    return 0;

fail_listen:
    rpc_destroy(server->rpc);
fail_rpc:
    store_destroy(server->store);
fail_store:
    board_destroy(server->board);
    meta_destroy(server->meta);
fail_meta:
    free(server);
    return status;
}

static void destroy_peers(struct server *server, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct server_peers *peers = &server->peers[i];
        if (peers->patient != NULL && peers->patient != peers->prompt)
            rpc_peer_destroy(peers->patient);
        if (peers->prompt != NULL)
            rpc_peer_destroy(peers->prompt);
    }
    free(server->peers);
    server->peers = NULL;
}

static int create_peers(struct server *server, const struct cluster_map *map, uint32_t self)
{
    server->peers = calloc(map->server_count, sizeof(*server->peers));
    int status = server->peers == NULL ? -ENOMEM : 0;
    for (uint32_t i = 0; i < map->server_count && status == 0; i++) {
        struct server_peers *peers = &server->peers[i];
        if (i == self) {
            status = rpc_peer_create_self(server->rpc, &peers->prompt);
            peers->patient = peers->prompt;
            continue;
        }
        status = rpc_peer_create(server->rpc, map->servers[i].address, &peers->prompt);
        if (status == 0)
            status = rpc_peer_create(server->rpc, map->servers[i].address, &peers->patient);
    }
    if (status != 0 && server->peers != NULL)
        destroy_peers(server, map->server_count);
    return status;
}

static int make_root(struct server *server)
{
    struct inode *root;
    int status =
        meta_inode_create(server->meta, INODE_ROOT, S_IFDIR | 0755, loop_realtime(server->loop), &root);
    if (status != 0)
        return status;
    root->uid = (uint32_t)geteuid();
    root->gid = (uint32_t)getegid();
    root->links = 2;
    root->parent = INODE_ROOT;
    inode_changed(server, root);
    return 0;
}

/* A crash may have taken inodes whose names or chunks other servers have recorded. So that their numbers are
 * never made again, every start with a directory makes numbers of a range of its own: counters have 44 bits,
 * enough for a million starts that make 16 million inodes in each partition. */
#define START_NUMBERS_SHIFT 24

static void skip_lost_numbers(struct server *server)
{
    if (server->journal == NULL || server->starts <= 1)
        return;
    for (uint32_t partition = 0; partition < PARTITION_COUNT; partition++)
        if (server->map->owner[partition] == server->self)
            meta_skip_numbers(server->meta, partition, server->starts << START_NUMBERS_SHIFT);
}

int server_set_map(struct server *server, struct cluster_map *map)
{
    int status = -EINVAL;
    uint32_t self = 0;
    while (self < map->server_count && map->servers[self].id != server->options.id)
        self++;
    if (server->map == NULL && self < map->server_count) {
        cluster_map_encode(map, &server->encoded_map);
        status = server->encoded_map.failed ? -ENOMEM : 0;
    }
    if (status == 0)
        status = create_peers(server, map, self);
    if (status == 0 && cluster_map_owner(map, inode_partition(INODE_ROOT)) == self &&
        meta_inode_find(server->meta, INODE_ROOT) == NULL) {
        status = make_root(server);
        if (status != 0)
            destroy_peers(server, map->server_count);
    }
    if (status != 0) {
        cluster_map_destroy(map);
        return status;
    }
    server->map = map;
    server->self = self;
    metrics_identify(server->metrics, METRICS_ROLE_SERVER, server->options.id, map->servers[0].address);
    skip_lost_numbers(server);
    meta_board_begin(server->meta, server->board);
    publish_epochs(server);
    return 0;
}

void server_destroy(struct server *server)
{
    server->metrics->refresh = NULL;
    server->stopping = true;
    meta_board_begin(server->meta, NULL);
    board_destroy(server->board); /* from here on nobody believes what it says */
    server->board = NULL;
    rpc_destroy(server->rpc); /* cancels and awaits handlers, destroys peers */
    wait_group_wait(server->loop, &server->background, 0);
    durable_end(server);
    obstacles_clear(server);
    fences_clear(server);
    locks_destroy(&server->locks);
    map_free(&server->key_locks);
    map_free(&server->directory_marks);
    map_free(&server->fences);
    holds_clear(server);
    intents_clear(server);
    map_free(&server->leftovers);
    map_free(&server->pins);
    if (server->ping_region != NULL)
        net_memory_free(server->net, server->ping_region);
    store_destroy(server->store);
    meta_destroy(server->meta);
    if (server->map != NULL)
        cluster_map_destroy(server->map);
    free(server->peers);
    buffer_free(&server->encoded_map);
    free(server);
}

void server_on_shut_down(struct server *server, void (*callback)(void *owner), void *owner)
{
    server->shut_down = callback;
    server->shut_down_owner = owner;
}

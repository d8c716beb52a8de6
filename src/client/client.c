/* The client core: connections, the map, and what happens between two attempts of an operation.
 *
 * A client belongs to one loop. It holds one rpc party, a peer per server (connected at first use), the
 * cluster map, the namespace epoch it has seen and the caches that live under it. An operation runs in
 * attempts: it resolves its path under the epoch that was current when the attempt began and stamps every
 * request with it, so a server can tell that the resolution is out of date. What servers answer decides what
 * happens next:
 *
 * - STATUS_STALE_NAMESPACE: a directory was renamed or narrowed. The reply brought the new epoch: resolve
 * again.
 * - STATUS_WRONG_EPOCH: servers changed. Fetch the map, try again.
 * - STATUS_BUSY_RETRY: a transaction holds what is needed. Wait 50 us, doubling to 5 ms, try again.
 * - STATUS_UNKNOWN_GROUPS: the session is new. Register the caller's groups again, try again.
 * - -ESTALE, on a path: what it led to is gone. Resolve again, for the name may be something else by now;
 * -ENOENT when that happens time and again with the same inode.
 *
 * and everything else is the result. Attempts end at the operation's deadline. Refused attempts had no
 * effect, so trying again is safe for every operation; lost messages are rpc's business. */
#include "client/core.h"

#include <stdio.h>

#include "base/log.h"

#define ATTEMPTS_MAX 1000000u /* the deadline comes first, unless attempts take less than 10 us */
#define GONE_ATTEMPTS_MAX 100u
#define TURN_MIN_NS (100 * UINT64_C(1000))
#define GONE_LOOKUPS_MAX 8u
#define BACKOFF_MIN_NS (50 * UINT64_C(1000))
#define BACKOFF_MAX_NS (5 * UINT64_C(1000000))
/* Waiting for a journal that takes longer than the one, but less than the other, is worth polling for. */
#define COMMIT_QUICK (UINT64_C(5) * 1000)
#define COMMIT_SLOW (UINT64_C(1000) * 1000)
#define MAP_BYTES_MAX (1u << 20)

/* ---- the map ---- */

static struct rpc_peer *peer_find(const struct client *client, const char *address)
{
    for (uint32_t server = 0; client->map != NULL && server < client->map->server_count; server++)
        if (client->peers[server] != NULL && strcmp(client->map->servers[server].address, address) == 0)
            return client->peers[server];
    return NULL;
}

/* Keeps the peers of servers that stay; those of the others are put aside, for calls may be under way on
 * them. */
static int map_adopt(struct client *client, struct cluster_map *map)
{
    uint32_t old_count = client->map == NULL ? 0 : client->map->server_count;
    struct rpc_peer **peers = calloc(map->server_count, sizeof *peers);
    uint32_t *known = calloc(map->server_count, sizeof *known);
    struct client_board *boards = calloc(map->server_count, sizeof *boards);
    struct rpc_peer **retired =
        realloc(client->retired, (client->retired_count + old_count + 1) * sizeof(struct rpc_peer *));
    if (retired != NULL)
        client->retired = retired;
    if (peers == NULL || known == NULL || boards == NULL || retired == NULL) {
        free(boards);
        free(known);
        free(peers);
        return -ENOMEM;
    }
    for (uint32_t server = 0; server < map->server_count; server++) {
        peers[server] = peer_find(client, map->servers[server].address);
        if (peers[server] != NULL)
            continue;
        int status = rpc_peer_create(client->rpc, map->servers[server].address, &peers[server]);
        if (status < 0) {
            for (uint32_t made = 0; made < server; made++)
                if (peer_find(client, map->servers[made].address) == NULL)
                    rpc_peer_destroy(peers[made]);
            free(boards);
            free(known);
            free(peers);
            return status;
        }
    }
    for (uint32_t old = 0; old < old_count; old++) {
        bool stays = false;
        for (uint32_t server = 0; server < map->server_count && !stays; server++)
            stays = peers[server] == client->peers[old];
        if (!stays)
            client->retired[client->retired_count++] = client->peers[old];
    }
    free(client->caller.known);
    client->caller.known = known;
    client_boards_drop(client);
    client->boards = boards;
    free(client->peers);
    cluster_map_destroy(client->map);
    client->peers = peers;
    client->map = map;
    rpc_set_epochs(client->rpc, map->epoch, client->namespace_epoch);
    return 0;
}

static int map_fetch(struct client *client, struct rpc_peer *peer, uint64_t deadline)
{
    void *bytes = malloc(MAP_BYTES_MAX);
    if (bytes == NULL)
        return -ENOMEM;
    struct iovec into = {bytes, MAP_BYTES_MAX};
    struct rpc_call call = {
        .operation = RPC_GET_MAP,
        .receive = &into,
        .receive_count = 1,
        .deadline = deadline,
        .namespace_epoch = client->namespace_epoch,
    };
    int status = rpc_call(peer, &call);
    struct cluster_map *map = NULL;
    if (status == 0)
        status = cluster_map_decode(bytes, call.received, &map);
    free(bytes);
    if (status < 0)
        return status;
    if (client->map != NULL && map->epoch < client->map->epoch) {
        cluster_map_destroy(map);
        return -EAGAIN;
    }
    status = map_adopt(client, map);
    if (status < 0) {
        cluster_map_destroy(map);
        return status;
    }
    metrics_add(client->metrics, METRIC_MAP_FETCHES, 1);
    client_observe(client, &call);
    return 0;
}

/* Waits without a task switch's help: also right outside any task. */
static void pause_for(struct client *client, uint64_t duration)
{
    struct completion never = COMPLETION_INIT;
    await_until(client->loop, &never, loop_now(client->loop) + duration);
}

/* Which failure says most about why no map came. */
static int worse_of(int first, int second)
{
    static const int telling[] = {EACCES, STATUS_BAD_VERSION, EPROTO, EAGAIN, ETIMEDOUT, EHOSTDOWN};
    for (unsigned i = 0; i < sizeof telling / sizeof *telling; i++)
        if (first == -telling[i] || second == -telling[i])
            return -telling[i];
    return first != 0 ? first : second;
}

/* Asks one address after the other; goes round again while servers are there but have no map yet. */
static int map_bootstrap(struct client *client, const struct client_options *options)
{
    uint64_t deadline = loop_now(client->loop) + client->deadline_ns;
    for (;;) {
        int result = 0;
        for (uint32_t i = 0; i < options->address_count; i++) {
            struct rpc_peer *peer;
            int status = rpc_peer_create(client->rpc, options->addresses[i], &peer);
            if (status == 0) {
                status = map_fetch(client, peer, deadline);
                rpc_peer_destroy(peer);
            }
            if (status == 0)
                return 0;
            result = worse_of(result, status);
        }
        if (result == 0)
            return -EINVAL;
        if (result != -EAGAIN)
            return result;
        if (loop_now(client->loop) >= deadline)
            return -ETIMEDOUT;
        pause_for(client, 10 * BACKOFF_MIN_NS);
    }
}

/* One task fetches, the others wait for it. */
static int map_refresh(struct client *client, uint64_t deadline)
{
    if (client->refreshing) {
        if (task_current() != NULL)
            return wait_queue_wait(client->loop, &client->refreshed, deadline);
        pause_for(client, BACKOFF_MIN_NS);
        return 0;
    }
    client->refreshing = true;
    int status = -EHOSTDOWN;
    for (uint32_t server = 0; server < client->map->server_count && status != 0; server++)
        status = map_fetch(client, client->peers[server], deadline);
    client->refreshing = false;
    wait_queue_wake_all(client->loop, &client->refreshed);
    return status;
}

/* ---- attempts ---- */

void client_observe(struct client *client, const struct rpc_call *call)
{
    if (__builtin_expect(call->timing.started > client->release_due, 0))
        client_release_overdue(client);
    if (__builtin_expect(call->reply_namespace_epoch <= client->namespace_epoch, 1))
        return;
    client->namespace_epoch = call->reply_namespace_epoch;
    cache_clear(&client->cache);
    rpc_set_epochs(client->rpc, client->map->epoch, client->namespace_epoch);
}

void client_count_changes(struct client *client, _Atomic uint64_t *changes)
{
    client->changes = changes;
}

void client_expect_commit(struct client *client)
{
    if (client->commit_ns > COMMIT_QUICK && client->commit_ns < COMMIT_SLOW)
        loop_expect(client->loop, 2 * client->commit_ns);
}

int client_call(struct client *client, struct operation *operation, uint32_t server, struct rpc_call *call)
{
    if (__builtin_expect(!credentials_known(client, server), 0)) {
        int registered = credentials_register(client, server, operation->deadline);
        if (registered < 0)
            return registered;
    }
    call->namespace_epoch = operation->epoch;
    call->deadline = operation->deadline;
    call->groups = client->caller.set;
    if (__builtin_expect(client->commit_ns != 0, 0))
        client_expect_commit(client);
    int status = rpc_call(client->peers[server], call);
    client_note_commit(client, call);
    if (operation->deadline == 0)
        operation->deadline = call->timing.started + client->deadline_ns;
    client_observe(client, call);
    if (__builtin_expect(client->changes != NULL, 0) && rpc_operation_mutates(call->operation))
        client_changed(client);
    return status;
}

/* Directories have been renamed each time when the path had been resolved. Asks for as much time as that took
 * and more each time; without an answer the next attempt is as good as the last one. */
static void take_turn(struct client *client, struct operation *operation, uint64_t now)
{
    unsigned turns = operation->attempts / OPERATION_OVERTAKEN;
    struct turn_request body = {.hold_ns = (now - operation->again + TURN_MIN_NS) << (turns < 6 ? turns : 6)};
    client_request(client, operation, client->map->owner[0], RPC_TAKE_TURN, &body, sizeof body, NULL, 0);
}

bool operation_again_slow(struct client *client, struct operation *operation, int *status)
{
    switch (-*status) {
    case STATUS_STALE_NAMESPACE:
        cache_clear(&client->cache);
        break;
    case STATUS_WRONG_EPOCH:
        if (map_refresh(client, operation->deadline) == -ENOMEM) {
            *status = -ENOMEM;
            return false;
        }
        break;
    case STATUS_BUSY_RETRY:
        break;
    case STATUS_UNKNOWN_GROUPS:
        credentials_forget(client);
        break;
    case ESTALE:
        if (!operation->by_path)
            return false;
        if (operation->missing == 0 || operation->missing == operation->missed)
            operation->gone++; /* else the name has led to something new, which is gone again */
        operation->missed = operation->missing;
        operation->missing = 0;
        if (operation->gone >= GONE_LOOKUPS_MAX) {
            *status = -ENOENT;
            return false;
        }
        cache_clear(&client->cache);
        break;
    default:
        return false;
    }
    metrics_add(client->metrics, METRIC_ATTEMPTS_AGAIN, 1);
    uint64_t now = loop_now(client->loop);
    if (operation->deadline == 0)
        operation->deadline = now + client->deadline_ns;
    if (++operation->attempts >= ATTEMPTS_MAX || now >= operation->deadline) {
        *status = -ETIMEDOUT;
        return false;
    }
    /* Once names have moved on waiting gains nothing: the next rename may be as near as this one. */
    bool moved_on = *status == -ESTALE ||
                    (*status == -STATUS_STALE_NAMESPACE && client->namespace_epoch != operation->epoch);
    if (*status == -STATUS_BUSY_RETRY || (operation->attempts > 3 && !moved_on)) {
        unsigned doublings = operation->attempts < 8 ? operation->attempts : 8;
        uint64_t most = BACKOFF_MIN_NS << doublings;
        if (most > BACKOFF_MAX_NS)
            most = BACKOFF_MAX_NS;
        pause_for(client, most / 2 + random_below(loop_random(client->loop), most / 2));
    }
    if (moved_on && operation->attempts % OPERATION_OVERTAKEN == 0)
        take_turn(client, operation, now);
    operation->again = loop_now(client->loop);
    operation->epoch = client->namespace_epoch;
    operation->used_cache = false;
    return true;
}

bool operation_gone_again(unsigned *attempts, int *status)
{
    if (*status != -ESTALE)
        return false;
    if (++*attempts < GONE_ATTEMPTS_MAX)
        return true;
    *status = -ENOENT;
    return false;
}

int client_get_attributes(struct client *client, struct operation *operation, uint64_t inode, uint8_t flags,
                          struct attributes *attributes)
{
    uint32_t server = client_inode_server(client, inode);
    if (client_board_ask(client, operation, server, board_inode_hash(inode), inode, NULL, 0, attributes) ==
        BOARD_FOUND)
        return 0;
    struct attributes_request request = {.inode = inode, .flags = flags};
    struct attributes_reply reply;
    int status = client_request(client, operation, server, RPC_GET_ATTRIBUTES, &request, sizeof request,
                                &reply, sizeof reply);
    if (status == 0)
        *attributes = reply.attributes;
    else if (status == -ESTALE)
        operation->missing = inode;
    client_board_missed(client, operation, server, status);
    return status;
}

/* ---- life ---- */

/* New files with placement `local` keep their chunks where this client entered the cluster. */
static uint32_t nearest_partition(const struct client *client, const struct client_options *options)
{
    for (uint32_t server = 0; server < client->map->server_count; server++) {
        if (strcmp(client->map->servers[server].address, options->addresses[0]) != 0)
            continue;
        uint32_t partition = cluster_map_first_partition(client->map, server);
        return partition == UINT32_MAX ? 0 : partition;
    }
    return 0;
}

static void refresh_metrics(void *owner)
{
    const struct client *client = owner;
    rpc_refresh_metrics(client->rpc);
}

int client_create(struct net *net, const struct client_options *options, struct client **result)
{
    struct client *client = calloc(1, sizeof *client);
    if (client == NULL)
        return -ENOMEM;
    client->net = net;
    client->loop = net->loop;
    client->metrics = loop_metrics(net->loop);
    client->deadline_ns =
        options->rpc_deadline_ns != 0 ? options->rpc_deadline_ns : 10 * UINT64_C(1000000000);
    client->caller.uid = options->uid;
    client->caller.gid = options->gid;
    client->umask = options->umask;
    client->placement = options->placement;
    client->chunk_shift = options->chunk_shift;
    client->orphans = options->orphans != NULL ? options->orphans : &client->own_orphans;
    client->holds = options->holds != NULL ? options->holds : &client->own_holds;
    client->release_timer.fire = client_release_timer;
    client->release_due = UINT64_MAX;
    client->prefix = options->prefix;
    wait_queue_init(&client->refreshed);
    struct rpc_options rpc_options = {
        .cluster_key = options->cluster_key,
        .deadline_ns = client->deadline_ns,
        .rendezvous_threshold = options->rendezvous_threshold,
        .server_id = UINT32_MAX,
        .owner = client,
        .instance = options->instance,
    };
    while (rpc_options.instance == 0)
        rpc_options.instance = random_next(loop_random(client->loop));
    int status = cache_create(&client->cache);
    if (status < 0)
        goto free_client;
    status = lease_create(&client->leases);
    if (status < 0)
        goto free_cache;
    status = rpc_create(net, &rpc_options, &client->rpc);
    if (status < 0)
        goto free_leases;
    status = map_bootstrap(client, options);
    if (status < 0)
        goto free_rpc;
    client->layout_base = nearest_partition(client, options);
    metrics_identify(client->metrics, METRICS_ROLE_CLIENT, UINT32_MAX, client->map->servers[0].address);
    client->metrics->refresh = refresh_metrics;
    client->metrics->owner = client;
    *result = client;
    return 0;

free_rpc:
    rpc_destroy(client->rpc);
free_leases:
    lease_destroy(&client->leases);
free_cache:
    cache_destroy(&client->cache);
free_client:
    credentials_destroy(&client->caller);
    free(client);
    return status;
}

void client_destroy(struct client *client)
{
    client->metrics->refresh = NULL;
    client_release_last(client);
    client_boards_drop(client);
    for (uint32_t server = 0; server < client->map->server_count; server++)
        rpc_peer_destroy(client->peers[server]);
    for (uint32_t i = 0; i < client->retired_count; i++)
        rpc_peer_destroy(client->retired[i]);
    rpc_destroy(client->rpc);
    client_holds_end(&client->own_holds);
    cluster_map_destroy(client->map);
    free(client->peers);
    free(client->retired);
    lease_destroy(&client->leases);
    cache_destroy(&client->cache);
    credentials_destroy(&client->caller);
    free(client->left);
    free(client);
}

const char *client_left(const struct client *client)
{
    return client->left;
}

const struct cluster_map *client_map(const struct client *client)
{
    return client->map;
}

struct rpc_peer *client_peer(struct client *client, uint32_t server)
{
    return client->peers[server];
}

struct loop *client_loop(struct client *client)
{
    return client->loop;
}

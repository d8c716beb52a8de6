/* What lasts: recovery when the server starts, and the promises kept before a request is answered.
 *
 * The journal calls back for everything: when it cuts a group, meta/ records what has changed (meta_collect);
 * the store brings the bytes to the device that the group's records name (flush), and after the group may
 * use again what they replaced (committed). Records are replayed by whoever wrote them.
 *
 * When a group is written does not follow from changes but from promises: a client's fsync (SYNC_CHUNKS), the
 * interval, and here, at the end of each handler, store.durability. Whatever another server's transaction has
 * changed or relies on is committed before it is answered, unless nothing is promised at all: so the servers'
 * journals, which are cut at different times, never contradict each other in what came first (intent.c).
 *
 * A journal that failed stays failed: from then on nothing that changes the file system succeeds, because
 * nobody could rely on it. */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "server/state.h"

/* A handler that ends with so many inodes waiting to be recorded records them: cutting a group then never
 * takes long. */
#define UNCOLLECTED_MAX 1024u

/* ---- promises ---- */

/* Operations that count as changes but leave no record. */
static bool leaves_no_record(uint16_t operation)
{
    switch (operation) {
    case RPC_OPEN:
    case RPC_HOLD:
    case RPC_RELEASE:
    case RPC_LOCK:
    case RPC_LOCK_SHARE:
    case RPC_LOCK_RELEASE:
    case RPC_KEY_LOCK:
    case RPC_DIRECTORY_FREEZE:
        return true;
    default:
        return false;
    }
}

/* Whether all that this request changed must last before it is answered. Under "close" a new directory does:
 * it has no close of its own, and the closed files in it can be reached through it alone. */
static bool is_promised(const struct server *server, uint16_t operation, bool from_server)
{
    switch (server->options.durability) {
    case DURABILITY_NONE:
        return false;
    case DURABILITY_INTERVAL:
        return from_server;
    case DURABILITY_CLOSE:
        return from_server || operation == RPC_CREATE_DIRECTORY;
    case DURABILITY_WRITE:
        return true;
    }
    return true;
}

int durable_answer(struct server *server, struct rpc_request *request, int status)
{
    if ((request->flags & RPC_MUTATES) == 0)
        return status;
    if (meta_uncollected(server->meta) >= UNCOLLECTED_MAX)
        meta_collect(server->meta);
    /* What a server asks of itself is a step of something that is answered for as a whole, and its records
     * come in order. A step that is done must not be told to have failed: nobody would take it back. */
    if (request->session == NULL)
        return status;
    bool from_server = request->peer_is_server;
    /* A refusal is relied on as well: that an inode is gone, for one. */
    bool counts = from_server ? status != -STATUS_BUSY_RETRY
                              : status == 0 && !leaves_no_record(request->header->operation);
    if (!counts)
        return status;
    int kept;
    if (!is_promised(server, request->header->operation, from_server)) {
        kept = journal_throttle(server->journal);
    } else {
        rpc_storage_begin(request);
        if (server->options.durability == DURABILITY_WRITE)
            kept = durable_commit(server);
        else /* what the namespace alone changes needs no bytes */
            kept = journal_commit(server->journal);
    }
    if (kept == 0)
        return status;
    return from_server ? -EIO : kept; /* another server has to know that nobody knows */
}

int durable_commit(struct server *server)
{
    if (server->journal == NULL)
        return 0;
    const struct store_operations *store = server->store->operations;
    int status = store->prepare == NULL ? 0 : store->prepare(server->store);
    return status == 0 ? journal_commit(server->journal) : status;
}

/* ---- what the journal asks for ---- */

static void collect(void *owner)
{
    struct server *server = owner;
    meta_collect(server->meta);
}

static int flush(void *owner)
{
    struct server *server = owner;
    return server->store->operations->flush(server->store);
}

static void committed(void *owner, uint64_t position)
{
    struct server *server = owner;
    server->store->operations->committed(server->store, position);
}

static int snapshot(void *owner, struct journal_snapshot *into)
{
    struct server *server = owner;
    int status = durable_snapshot_recent(server, into);
    if (status == 0)
        status = intents_snapshot(server, into);
    if (status == 0)
        status = pins_snapshot(server, into);
    if (status == 0)
        status = meta_snapshot(server->meta, server->loop, into);
    return status != 0 ? status : server->store->operations->snapshot(server->store, into);
}

/* A chunk that was written shortly before the server went down may belong to a write that never came to an
 * end: the size, which is set last and perhaps elsewhere, does not cover it. */
static int note_leftover(struct server *server, const struct journal_record *record)
{
    uint64_t inode;
    if (!record->logged || record->removed || record->key_length < sizeof(inode))
        return 0;
    memcpy(&inode, record->key, sizeof(inode));
    return map_put(&server->leftovers, inode, server);
}

/* A snapshot hides which of its chunks were written just before it, so it names their inodes. */
void durable_note_write(struct server *server, uint64_t inode)
{
    if (server->recent[server->recent_next % RECENT_MAX] != inode)
        server->recent[++server->recent_next % RECENT_MAX] = inode;
}

int durable_snapshot_recent(struct server *server, struct journal_snapshot *into)
{
    static const uint64_t key = INTENT_KEY_RECENT;
    uint64_t *inodes = malloc(sizeof(server->recent));
    if (inodes == NULL)
        return -ENOMEM;
    memcpy(inodes, server->recent, sizeof(server->recent));
    struct journal_record record = {.kind = JOURNAL_INTENT,
                                    .key = &key,
                                    .key_length = sizeof(key),
                                    .value = inodes,
                                    .value_length = sizeof(server->recent)};
    int status = journal_snapshot_add(into, &record);
    free(inodes);
    return status;
}

int durable_replay_recent(struct server *server, const struct journal_record *record)
{
    if (record->removed || record->value_length % sizeof(uint64_t) != 0)
        return -EBADMSG;
    int status = 0;
    for (uint32_t at = 0; at < record->value_length && status == 0; at += (uint32_t)sizeof(uint64_t)) {
        uint64_t inode;
        memcpy(&inode, (const char *)record->value + at, sizeof(inode));
        if (inode != 0)
            status = map_put(&server->leftovers, inode, server);
    }
    return status;
}

static int replay(void *owner, const struct journal_record *record)
{
    struct server *server = owner;
    int status;
    switch (record->kind) {
    case JOURNAL_CHUNK:
    case JOURNAL_FAST_CHUNK:
        status = note_leftover(server, record);
        return status != 0 ? status : server->store->operations->replay(server->store, record);
    case JOURNAL_STORE:
    case JOURNAL_FAST_STORE:
    case JOURNAL_PROMOTION:
        return server->store->operations->replay(server->store, record);
    case JOURNAL_INTENT:
    case JOURNAL_APPLIED:
        return intents_replay(server, record);
    case JOURNAL_PIN:
        return pins_replay(server, record);
    default:
        return meta_replay(server->meta, record);
    }
}

/* ---- life ---- */

/* The last server did not end by itself. What the engine had not synchronised is seen from now on, and would
 * not be synchronised again when somebody is promised that it lasts. */
static int make_last(const struct server *server)
{
    struct disk *fast = server->options.store.fast_disk;
    int status = disk_sync_all(server->options.store.disk);
    return status == 0 && fast != NULL ? disk_sync_all(fast) : status;
}

int server_recover(struct server *server)
{
    const struct store_operations *store = server->store->operations;
    if (!store->persistent)
        return 0;
    struct journal_options options = {
        .loop = server->loop,
        .disk = server->options.store.disk,
        .backend = store->journal_backend != NULL ? store->journal_backend(server->store) : NULL,
        .source = {.owner = server,
                   .collect = collect,
                   .flush = flush,
                   .committed = committed,
                   .snapshot = snapshot,
                   .replay = replay},
        .interval_ns = server->options.durability == DURABILITY_NONE ? 0 : server->options.interval_ns,
        /* A snapshot would only take memory. */
        .limit = disk_discards(server->options.store.disk) ? INT64_MAX : server->options.journal_limit,
        .synchronise = true,
    };
    struct journal *journal;
    meta_journal_expect(server->meta);
    int status = journal_open(&options, &server->recovery, &journal);
    if (status != 0) {
        log_error("cannot recover \"%s\": %s", disk_path(options.disk), status_text(status));
        return status;
    }
    if (store->in_place && server->recovery.log_records > 0)
        status = make_last(server);
    if (status == 0)
        status = store->start(server->store, journal);
    if (status != 0) {
        log_error("cannot start the store in \"%s\": %s", disk_path(options.disk), status_text(status));
        journal_close(journal, true);
        return status;
    }
    meta_journal_begin(server->meta, journal);
    server->journal = journal;
    status = pins_start(server);
    return status != 0 ? status : intents_start(server);
}

bool server_recovery(const struct server *server, struct journal_recovery *recovery)
{
    *recovery = server->recovery;
    return server->journal != NULL;
}

void server_abandon(struct server *server)
{
    server->abandoned = true;
}

void durable_end(struct server *server)
{
    if (server->journal == NULL)
        return;
    if (server->store->operations->stop != NULL)
        server->store->operations->stop(server->store);
    int status = journal_close(server->journal, server->abandoned);
    if (status != 0 && !server->abandoned)
        log_error("the last changes in \"%s\" may be lost: %s", disk_path(server->options.store.disk),
                  status_text(status));
    server->journal = NULL;
}

/* Cuts this server's chunks of a file to what its size says. */
static int drop_leftover(struct server *server, uint64_t number, uint64_t deadline)
{
    struct attributes attributes = {0};
    struct inode *inode;
    int status = gate_inode(server, number, &inode);
    if (status == 0)
        inode_attributes(server, inode, &attributes);
    else if (status == -STATUS_WRONG_EPOCH)
        status = attributes_elsewhere(server, number, deadline, &attributes);
    if (status == -ESTALE || status == -ENOENT)
        return server->store->operations->remove(server->store, number, 0);
    if (status != 0)
        return status;
    return chunks_truncate_here(server, number, attributes.size, attributes.layout.chunk_shift);
}

/* Has to last before anybody writes there again: should the size of that write last and its bytes not, what
 * was cut off would be in their place. */
static int drop_leftovers(struct server *server)
{
    size_t cursor = 0;
    uint64_t number;
    while (map_next(&server->leftovers, &cursor, &number) != NULL) {
        int status = drop_leftover(server, number, transaction_end(server));
        if (status != 0) {
            log_error("cannot see what belongs to inode %llx: %s", (unsigned long long)number,
                      status_text(status));
            return status;
        }
    }
    if (server->leftovers.count == 0)
        return 0;
    map_free(&server->leftovers);
    map_init(&server->leftovers);
    return journal_commit(server->journal);
}

static void free_nameless(struct server *server)
{
    uint64_t number = 0;
    for (struct inode *inode; (inode = meta_inode_next(server->meta, number)) != NULL;) {
        number = inode->number;
        if (inode->links == 0)
            inode_free(server, inode, transaction_end(server));
    }
}

int durable_clean(struct server *server)
{
    if (meta_has_nameless(server->meta))
        free_nameless(server);
    return drop_leftovers(server);
}

/* Transactions of several steps that survive a crash in the middle.
 *
 * A rename, a removal or a link whose parts lie on several servers, or that takes several steps on one, is
 * written down as an intent in its coordinator's journal before the first step, and removed with the last. A
 * crash may leave any of the steps done, each server's as far as its own journal reached. When the servers
 * start again, before any client can reach them, each goes through the intents that it finds and does all
 * their steps again, under the same transaction number. The locks that kept others away are gone, but so are
 * the others.
 *
 * Two rules make this right:
 * - What a transaction looked at on another server lasts before the coordinator relies on it: requests from
 *   servers are answered only after the journal has committed (durable_answer). So the preconditions that
 * were checked still hold.
 * - A step counts once. Whoever does one notes (transaction, object) in the same journal group
 * (mark_applied); a step that is already noted is answered as done. Notes are kept until the coordinator can
 * no longer come back with the step: its own go with the intent, others after a time that is longer than any
 * transaction takes and any journal waits.
 *
 * If a server takes part and then does not say whether it did its step (its device failed, it went away), the
 * call ends with EIO, and others may change what the transaction was about. Its intent stays, marked as
 * uncertain; the next start completes it only if it finds it half done, and otherwise forgets it.
 *
 * Steps that do no harm when repeated (setting a parent, removing chunks by inode number) need no note.
 * Without a journal all of this is nothing. With store.durability = none servers do not wait for each other's
 * journals, and after a crash benchfs-fsck(1) has to look. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "server/state.h"

/* What one transaction has done on this server. */
struct applied {
    uint64_t transaction;
    uint64_t until;   /* loop_now ns; its own intent's removal comes first */
    struct list link; /* oldest first */
    uint32_t count;
    uint64_t objects[APPLIED_MAX];
};

struct live_intent {
    uint32_t length;
    struct intent image; /* and its names */
};

#define TRANSACTION_START_SHIFT 41
#define TRANSACTION_SERVER_SHIFT 53
#define START_MASK ((UINT64_C(1) << (TRANSACTION_SERVER_SHIFT - TRANSACTION_START_SHIFT)) - 1)
#define OTHERS_PATIENCE_NS (600 * NSEC_PER_SEC) /* for other servers to recover */
#define START_KEY INTENT_KEY_START              /* of the INTENT record that counts the server's starts */

uint64_t server_transaction(struct server *server)
{
    return (uint64_t)(server->self + 1) << TRANSACTION_SERVER_SHIFT |
           (server->starts & START_MASK) << TRANSACTION_START_SHIFT | ++server->transactions;
}

static uint32_t partition_of(const struct server *server)
{
    uint32_t partition = cluster_map_first_partition(server->map, server->self);
    return partition == UINT32_MAX ? 0 : partition;
}

/* ---- notes of steps done ---- */

static uint64_t applied_life(const struct server *server)
{
    return 2 * server_lock_life(server) + 2 * server->options.interval_ns;
}

static void applied_free(struct server *server, struct applied *applied)
{
    map_remove(&server->applied, applied->transaction);
    list_remove(&applied->link);
    free(applied);
}

static void applied_drop(struct server *server, struct applied *applied)
{
    journal_append_removal(server->journal, JOURNAL_APPLIED, partition_of(server), &applied->transaction,
                           sizeof(applied->transaction));
    applied_free(server, applied);
}

static struct applied *applied_make(struct server *server, uint64_t transaction)
{
    struct applied *applied = map_get(&server->applied, transaction);
    if (applied != NULL)
        return applied;
    applied = calloc(1, sizeof(*applied));
    if (applied == NULL || map_put(&server->applied, transaction, applied) != 0) {
        free(applied);
        return NULL;
    }
    applied->transaction = transaction;
    applied->until = loop_now(server->loop) + applied_life(server);
    list_init(&applied->link);
    list_push_back(&server->applied_ages, &applied->link);
    return applied;
}

bool is_applied(const struct server *server, uint64_t transaction, uint64_t object)
{
    const struct applied *applied =
        server->journal == NULL || transaction == 0 ? NULL : map_get(&server->applied, transaction);
    for (uint32_t i = 0; applied != NULL && i < applied->count; i++)
        if (applied->objects[i] == object)
            return true;
    return false;
}

static void applied_record(struct server *server, const struct applied *applied)
{
    uint32_t length = applied->count * (uint32_t)sizeof(applied->objects[0]);
    memcpy(journal_append(server->journal, JOURNAL_APPLIED, partition_of(server), &applied->transaction,
                          sizeof(applied->transaction), length),
           applied->objects, length);
}

int mark_applied(struct server *server, uint64_t transaction, uint64_t object)
{
    if (server->journal == NULL || transaction == 0)
        return 0;
    while (!list_empty(&server->applied_ages)) {
        struct applied *oldest = container_of(server->applied_ages.next, struct applied, link);
        if (oldest->until > loop_now(server->loop))
            break;
        applied_drop(server, oldest);
    }
    struct applied *applied = applied_make(server, transaction);
    if (applied == NULL || applied->count == APPLIED_MAX)
        return -ENOMEM;
    applied->objects[applied->count++] = object;
    applied_record(server, applied);
    return 0;
}

void unmark_applied(struct server *server, uint64_t transaction, uint64_t object)
{
    struct applied *applied =
        server->journal == NULL || transaction == 0 ? NULL : map_get(&server->applied, transaction);
    if (applied == NULL)
        return;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < applied->count; i++)
        if (applied->objects[i] != object)
            applied->objects[kept++] = applied->objects[i];
    applied->count = kept;
    if (kept == 0)
        applied_drop(server, applied);
    else
        applied_record(server, applied);
}

/* ---- intents ---- */

int intent_begin(struct server *server, const struct intent *intent, const char *old_name,
                 const char *new_name, bool elsewhere)
{
    if (server->journal == NULL)
        return 0;
    uint32_t length = (uint32_t)sizeof(*intent) + intent->old_length + intent->new_length;
    struct live_intent *live = malloc(sizeof(*live) + intent->old_length + intent->new_length);
    if (live == NULL)
        return -ENOMEM;
    live->length = length;
    live->image = *intent;
    if (intent->old_length > 0)
        memcpy(live->image.names, old_name, intent->old_length);
    if (intent->new_length > 0)
        memcpy(live->image.names + intent->old_length, new_name, intent->new_length);
    if (map_put(&server->intents, intent->transaction, live) != 0) {
        free(live);
        return -ENOMEM;
    }
    void *value = journal_append(server->journal, JOURNAL_INTENT, partition_of(server), &intent->transaction,
                                 sizeof(intent->transaction), length);
    memcpy(value, &live->image, length);
    bool waits = elsewhere && server->options.durability != DURABILITY_NONE;
    int status = waits ? journal_commit(server->journal) : 0;
    if (status != 0)
        intent_end(server, intent->transaction);
    return status;
}

void intent_end(struct server *server, uint64_t transaction)
{
    if (server->journal == NULL)
        return;
    void *live = map_remove(&server->intents, transaction);
    if (live == NULL)
        return;
    free(live);
    struct applied *applied = map_get(&server->applied, transaction);
    if (applied != NULL)
        applied_drop(server, applied);
    journal_append_removal(server->journal, JOURNAL_INTENT, partition_of(server), &transaction,
                           sizeof(transaction));
}

void intent_end_with(struct server *server, uint64_t transaction, int status)
{
    struct live_intent *live = server->journal == NULL ? NULL : map_get(&server->intents, transaction);
    if (live == NULL || (status != -EIO && status != -ETIMEDOUT)) {
        intent_end(server, transaction);
        return;
    }
    live->image.uncertain = 1;
    memcpy(journal_append(server->journal, JOURNAL_INTENT, partition_of(server), &transaction,
                          sizeof(transaction), live->length),
           &live->image, live->length);
}

/* ---- recovery ---- */

static int replay_start(struct server *server, const struct journal_record *record)
{
    if (record->removed || record->value_length != sizeof(server->starts))
        return -EBADMSG;
    memcpy(&server->starts, record->value, sizeof(server->starts));
    return 0;
}

static int replay_intent(struct server *server, uint64_t transaction, const struct journal_record *record)
{
    free(map_remove(&server->intents, transaction));
    if (record->removed)
        return 0;
    const struct intent *image = record->value;
    if (record->value_length < sizeof(*image) ||
        record->value_length != sizeof(*image) + image->old_length + image->new_length ||
        image->transaction != transaction || image->kind > INTENT_TRUNCATE)
        return -EBADMSG;
    struct live_intent *live = malloc(sizeof(*live) + image->old_length + image->new_length);
    if (live == NULL)
        return -ENOMEM;
    live->length = record->value_length;
    memcpy(&live->image, image, record->value_length);
    if (map_put(&server->intents, transaction, live) != 0) {
        free(live);
        return -ENOMEM;
    }
    return 0;
}

static int replay_applied(struct server *server, uint64_t transaction, const struct journal_record *record)
{
    struct applied *applied = map_get(&server->applied, transaction);
    if (record->removed) {
        if (applied != NULL)
            applied_free(server, applied);
        return 0;
    }
    uint32_t count = record->value_length / (uint32_t)sizeof(uint64_t);
    if (count == 0 || count > APPLIED_MAX || record->value_length != count * sizeof(uint64_t))
        return -EBADMSG;
    applied = applied_make(server, transaction);
    if (applied == NULL)
        return -ENOMEM;
    applied->count = count;
    memcpy(applied->objects, record->value, record->value_length);
    return 0;
}

int intents_replay(struct server *server, const struct journal_record *record)
{
    uint64_t transaction;
    if (record->key_length != sizeof(transaction))
        return -EBADMSG;
    memcpy(&transaction, record->key, sizeof(transaction));
    if (record->kind == JOURNAL_APPLIED)
        return replay_applied(server, transaction, record);
    if (transaction == INTENT_KEY_RECENT)
        return durable_replay_recent(server, record);
    return transaction == START_KEY ? replay_start(server, record)
                                    : replay_intent(server, transaction, record);
}

int intents_start(struct server *server)
{
    static const uint64_t key = START_KEY;
    server->starts++;
    void *value =
        journal_append(server->journal, JOURNAL_INTENT, 0, &key, sizeof(key), sizeof(server->starts));
    memcpy(value, &server->starts, sizeof(server->starts));
    return journal_commit(server->journal);
}

static int add(struct journal_snapshot *snapshot, enum journal_kind kind, const uint64_t *key,
               const void *value, uint32_t length)
{
    struct journal_record record = {.kind = (uint8_t)kind,
                                    .key = key,
                                    .key_length = sizeof(*key),
                                    .value = value,
                                    .value_length = length};
    return journal_snapshot_add(snapshot, &record);
}

/* Adding may suspend, and the maps may change then: so a copy of all of them first. There are few. */
int intents_snapshot(struct server *server, struct journal_snapshot *snapshot)
{
    static const uint64_t start = START_KEY;
    struct buffer copy;
    buffer_init(&copy);
    size_t cursor = 0;
    for (struct live_intent *live; (live = map_next(&server->intents, &cursor, NULL)) != NULL;) {
        buffer_put_u32(&copy, JOURNAL_INTENT);
        buffer_put_u32(&copy, live->length);
        buffer_append(&copy, &live->image.transaction, sizeof(uint64_t));
        buffer_append(&copy, &live->image, live->length);
    }
    list_for_each (node, &server->applied_ages) {
        const struct applied *applied = container_of(node, struct applied, link);
        uint32_t length = applied->count * (uint32_t)sizeof(uint64_t);
        buffer_put_u32(&copy, JOURNAL_APPLIED);
        buffer_put_u32(&copy, length);
        buffer_append(&copy, &applied->transaction, sizeof(uint64_t));
        buffer_append(&copy, applied->objects, length);
    }
    int status = copy.failed ? -ENOMEM
                             : add(snapshot, JOURNAL_INTENT, &start, &server->starts, sizeof(server->starts));
    struct reader reader;
    reader_init(&reader, copy.bytes, copy.length);
    while (status == 0 && reader.offset < copy.length) {
        enum journal_kind kind = (enum journal_kind)reader_u32(&reader);
        uint32_t length = reader_u32(&reader);
        uint64_t key = reader_u64(&reader);
        status = add(snapshot, kind, &key, reader_bytes(&reader, length), length);
    }
    buffer_free(&copy);
    return status;
}

void intents_clear(struct server *server)
{
    size_t cursor = 0;
    for (void *live; (live = map_next(&server->intents, &cursor, NULL)) != NULL;)
        free(live);
    map_free(&server->intents);
    while (!list_empty(&server->applied_ages))
        applied_free(server, container_of(server->applied_ages.next, struct applied, link));
    map_free(&server->applied);
}

/* ---- doing it again ---- */

static int redo(struct server *server, const struct intent *intent)
{
    switch (intent->kind) {
    case INTENT_RENAME:
        return rename_redo(server, intent);
    case INTENT_UNLINK:
        return unlink_redo(server, intent);
    case INTENT_REMOVE_DIRECTORY:
        return remove_directory_redo(server, intent);
    case INTENT_LINK:
        return link_redo(server, intent);
    case INTENT_FREE:
        return free_redo(server, intent);
    case INTENT_TRUNCATE:
        return truncate_redo(server, intent);
    default:
        return -EBADMSG;
    }
}

/* Servers recover and get the map one after another: waits until all have it. */
static int await_others(struct server *server)
{
    uint64_t patience = loop_now(server->loop) + OTHERS_PATIENCE_NS;
    for (;;) {
        struct epoch_request body = {.epoch = server->namespace_epoch};
        int status = server_call_many(server, NULL, RPC_NAMESPACE_BUMP, &body, sizeof(body), NULL, 0,
                                      transaction_end(server));
        if (status == 0 || server->stopping || loop_now(server->loop) >= patience)
            return status;
        status = task_sleep(server->loop, 20 * NSEC_PER_MSEC);
        if (status != 0)
            return status;
    }
}

static const char *const kind_names[] = {"rename", "unlink", "rmdir", "link", "removal", "truncation"};

int server_resolve(struct server *server)
{
    if (server->journal == NULL ||
        (server->intents.count == 0 && server->leftovers.count == 0 && !meta_has_nameless(server->meta)))
        return 0;
    int others = await_others(server);
    if (others != 0) {
        log_error("cannot reach the other servers: %s", status_text(others));
        return others;
    }
    while (server->intents.count > 0) {
        size_t cursor = 0;
        uint64_t transaction;
        const struct live_intent *live = map_next(&server->intents, &cursor, &transaction);
        log_info("finishing the %s of inode %" PRIx64 " that was under way when the server went down",
                 kind_names[live->image.kind], live->image.inode);
        int status = redo(server, &live->image);
        if (status != 0) {
            log_error("cannot finish the %s of inode %" PRIx64 ": %s: start again, and if it stays so, run "
                      "\"benchfs fsck\"",
                      kind_names[live->image.kind], live->image.inode, status_text(status));
            return status;
        }
        intent_end(server, transaction);
    }
    return durable_clean(server);
}

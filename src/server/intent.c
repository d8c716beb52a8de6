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
 * no longer come back with the step: its own go with the intent; of others, it is asked after a while which
 * transactions have ended (OLDEST_INTENT), and while it does not answer its notes stay.
 *
 * If a server takes part and then does not say whether it did its step (its device failed, it went away), the
 * call ends with EIO, or with success if the transaction can only go forward, and others may change what it
 * was about. Its intent stays, marked as uncertain. In the background the coordinator tries again, and so
 * does the next start: by the notes it finds out what was done, completes what others can see a part of, and
 * takes back the rest. Nobody is told EIO for what then happens later.
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
    bool left;           /* to be tried again */
    struct intent image; /* and its names */
};

#define TRANSACTION_START_SHIFT 41
#define TRANSACTION_SERVER_SHIFT 53
#define START_MASK ((UINT64_C(1) << (TRANSACTION_SERVER_SHIFT - TRANSACTION_START_SHIFT)) - 1)
#define OTHERS_PATIENCE_NS (600 * NSEC_PER_SEC) /* for other servers to recover */
#define RETRY_MIN_NS (50 * NSEC_PER_MSEC)
#define START_KEY INTENT_KEY_START /* of the INTENT record that counts the server's starts */

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

static uint32_t coordinator_of(uint64_t transaction)
{
    return (uint32_t)(transaction >> TRANSACTION_SERVER_SHIFT) - 1;
}

/* No intent of this server's has a lower number, nor will have. */
static uint64_t oldest_intent(struct server *server)
{
    uint64_t oldest = (uint64_t)(server->self + 1) << TRANSACTION_SERVER_SHIFT |
                      (server->starts & START_MASK) << TRANSACTION_START_SHIFT | (server->transactions + 1);
    size_t cursor = 0;
    uint64_t transaction;
    while (map_next(&server->intents, &cursor, &transaction) != NULL)
        oldest = transaction < oldest ? transaction : oldest;
    return oldest;
}

void serve_OLDEST_INTENT(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    struct oldest_intent_reply reply = {0};
    int status = server->map == NULL ? -EAGAIN : 0;
    if (status == 0)
        reply.transaction = oldest_intent(server);
    answer(request, status, &reply, sizeof(reply));
}

/* Drops the notes of one coordinator's transactions that were due before `asked` and have ended; those that
 * have not are due again later. */
static void drop_ended(struct server *server, uint32_t coordinator, uint64_t oldest, uint64_t asked)
{
    list_for_each_safe (node, &server->applied_ages) {
        struct applied *applied = container_of(node, struct applied, link);
        if (applied->until > asked)
            break;
        if (coordinator_of(applied->transaction) != coordinator)
            continue;
        if (applied->transaction < oldest) {
            applied_drop(server, applied);
            continue;
        }
        applied->until = loop_now(server->loop) + applied_life(server);
        list_remove(&applied->link);
        list_push_back(&server->applied_ages, &applied->link);
    }
}

static void ask_coordinators(void *argument)
{
    struct server *server = argument;
    uint64_t asked = loop_now(server->loop);
    for (uint32_t i = 0; i < server->map->server_count && !server->stopping; i++) {
        struct oldest_intent_reply reply = {0};
        int status = server_call(server, i, RPC_OLDEST_INTENT, NULL, 0, &reply, sizeof(reply),
                                 transaction_end(server));
        if (server->stopping)
            break;
        drop_ended(server, i, status == 0 ? reply.transaction : 0, asked);
    }
    background_end(server, &server->asking_coordinators);
}

/* The oldest notes are so old that no transaction takes as long, unless its coordinator is in trouble. */
static void look_for_ended(struct server *server)
{
    if (list_empty(&server->applied_ages) || server->asking_coordinators || server->stopping ||
        server->map == NULL ||
        container_of(server->applied_ages.next, struct applied, link)->until > loop_now(server->loop))
        return;
    background_begin(server, &server->asking_coordinators, ask_coordinators);
}

int mark_applied(struct server *server, uint64_t transaction, uint64_t object)
{
    if (server->journal == NULL || transaction == 0)
        return 0;
    look_for_ended(server);
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
    live->left = false;
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
    int status = elsewhere ? intent_lasts(server) : 0;
    if (status != 0)
        intent_end(server, intent->transaction);
    return status;
}

int intent_lasts(struct server *server)
{
    bool waits = server->journal != NULL && server->options.durability != DURABILITY_NONE;
    return waits ? journal_commit(server->journal) : 0;
}

void intent_end(struct server *server, uint64_t transaction)
{
    if (server->journal == NULL)
        return;
    struct live_intent *live = map_remove(&server->intents, transaction);
    if (live == NULL)
        return;
    server->intents_left -= live->left;
    free(live);
    struct applied *applied = map_get(&server->applied, transaction);
    if (applied != NULL)
        applied_drop(server, applied);
    journal_append_removal(server->journal, JOURNAL_INTENT, partition_of(server), &transaction,
                           sizeof(transaction));
}

/* A step that ended so may have been done. */
static bool is_unknown(int status)
{
    return status == -EIO || status == -ETIMEDOUT || status == -EHOSTDOWN || status == -ECANCELED;
}

void intent_end_with(struct server *server, uint64_t transaction, int status)
{
    struct live_intent *live = server->journal == NULL ? NULL : map_get(&server->intents, transaction);
    if (live == NULL || !is_unknown(status)) {
        intent_end(server, transaction);
        return;
    }
    live->image.uncertain = 1;
    memcpy(journal_append(server->journal, JOURNAL_INTENT, partition_of(server), &transaction,
                          sizeof(transaction), live->length),
           &live->image, live->length);
    intent_retry(server, transaction);
}

uint64_t intent_find(const struct server *server, enum intent_kind kind, uint64_t parent, const char *name,
                     uint8_t name_length)
{
    size_t cursor = 0;
    const struct live_intent *live;
    while (server->intents_left > 0 && (live = map_next(&server->intents, &cursor, NULL)) != NULL)
        if (live->left && live->image.kind == kind && live->image.old_parent == parent &&
            live->image.old_length == name_length && memcmp(live->image.names, name, name_length) == 0)
            return live->image.transaction;
    return 0;
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
    free(map_remove(&server->intents, transaction)); /* none is left to be tried again yet */
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
    live->left = false;
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
    timer_clear(server->loop, &server->intent_timer);
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

/* ---- in the background ---- */

/* One of those that are left, of a higher number; NULL: no more. To be freed. */
static struct intent *next_left(const struct server *server, uint64_t after)
{
    size_t cursor = 0;
    const struct live_intent *next = NULL;
    for (const struct live_intent *live; (live = map_next(&server->intents, &cursor, NULL)) != NULL;)
        if (live->left && live->image.transaction > after &&
            (next == NULL || live->image.transaction < next->image.transaction))
            next = live;
    struct intent *copy = next == NULL ? NULL : malloc(next->length);
    if (copy != NULL)
        memcpy(copy, &next->image, next->length);
    return copy;
}

static void set_intent_timer(struct server *server)
{
    if (server->intents_left > 0 && !server->retrying && !server->stopping)
        timer_set(server->loop, &server->intent_timer, loop_now(server->loop) + server->intent_pause);
}

static void retry_intents(void *argument)
{
    struct server *server = argument;
    uint64_t after = 0;
    uint32_t left = server->intents_left;
    for (struct intent *intent; !server->stopping && (intent = next_left(server, after)) != NULL;
         free(intent)) {
        after = intent->transaction;
        if (redo(server, intent) == 0 && !server->stopping)
            intent_end(server, after);
    }
    if (server->intents_left >= left)
        server->intent_pause *= 2;
    if (server->intent_pause > server->options.rpc_deadline_ns)
        server->intent_pause = server->options.rpc_deadline_ns;
    background_end(server, &server->retrying);
    set_intent_timer(server);
}

static void intent_timer_fired(struct timer *timer)
{
    struct server *server = container_of(timer, struct server, intent_timer);
    if (!background_begin(server, &server->retrying, retry_intents))
        set_intent_timer(server);
}

void intent_retry(struct server *server, uint64_t transaction)
{
    struct live_intent *live = server->journal == NULL ? NULL : map_get(&server->intents, transaction);
    if (live == NULL || live->left)
        return;
    live->left = true;
    server->intents_left++;
    server->intent_timer.fire = intent_timer_fired;
    server->intent_pause = RETRY_MIN_NS;
    set_intent_timer(server);
}

/* ---- when the server starts ---- */

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

/* The journal's groups in the database of the engine rocksdb, and the engine's own recovery.
 *
 * A group becomes one batch: its records are put as the objects' newest values, and with them go the keys
 * that these records make superfluous: pieces that were replaced, cut off or removed, and the marks of pieces
 * that are named now. So a piece is deleted together with the last record that names it, and the database
 * holds pieces that nobody names only for writes that no group had recorded when the server ended; these have
 * their marks, by which the start finds and deletes them.
 *
 * A log tells which records are new, a database does not. But versions of pieces count up, so it is enough to
 * note now and then which one was the last some minutes ago: chunks with later pieces were written since. */
#include "store/rocksdb_state.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "cluster/partition.h"

#define SCAN_BYTES (UINT32_C(1) << 20)
#define RECENT_NS (UINT64_C(60) * NSEC_PER_SEC) /* longer than any write takes to come to an end */

/* ---- noted keys ---- */

void rocks_note(struct rocks *rocks, struct noted *noted, enum noted_kind kind)
{
    noted->kind = kind;
    list_push_back(&rocks->open, &noted->link);
}

static void noted_free(struct noted *noted)
{
    switch (noted->kind) {
    case NOTED_WRITE:
        free(container_of(noted, struct rocks_write, noted));
        break;
    case NOTED_CHUNK:
        rocks_chunk_free(container_of(noted, struct rocks_chunk, noted));
        break;
    case NOTED_PIECES:
        free(container_of(noted, struct rocks_pieces, noted));
        break;
    }
}

void rocks_noted_free(struct list *list)
{
    for (struct list *node; (node = list_pop_front(list)) != NULL;)
        noted_free(container_of(node, struct noted, link));
}

static void delete_piece(rocksdb_writebatch_t *batch, uint64_t inode, uint64_t index, uint32_t piece,
                         uint32_t version)
{
    if (version == VERSION_NONE)
        return;
    uint8_t key[PIECE_KEY_BYTES];
    piece_key_encode(ROCKS_KEY_PIECE, &(struct piece_name){inode, index, piece, version}, key);
    rocksdb_writebatch_delete(batch, (const char *)key, sizeof(key));
}

static void delete_write(rocksdb_writebatch_t *batch, const struct rocks_write *write)
{
    for (uint32_t i = 0; i < write->count; i++) {
        const struct piece_write *piece = &write->pieces[i];
        uint8_t key[PIECE_KEY_BYTES];
        struct piece_name name = {write->inode, write->index, piece->piece, piece->version};
        piece_key_encode(ROCKS_KEY_INTENT, &name, key);
        rocksdb_writebatch_delete(batch, (const char *)key, sizeof(key));
        delete_piece(batch, write->inode, write->index, piece->piece,
                     write->stale ? piece->version : piece->before);
    }
}

static void delete_noted(rocksdb_writebatch_t *batch, struct noted *noted)
{
    if (noted->kind == NOTED_WRITE) {
        delete_write(batch, container_of(noted, struct rocks_write, noted));
    } else if (noted->kind == NOTED_CHUNK) {
        const struct rocks_chunk *chunk = container_of(noted, struct rocks_chunk, noted);
        for (uint32_t i = 0; i < pieces_of(chunk->map.count); i++)
            delete_piece(batch, chunk->entry.node.inode, chunk->entry.node.index, i,
                         piece_version(&chunk->map, i));
    } else {
        const struct rocks_pieces *gone = container_of(noted, struct rocks_pieces, noted);
        for (uint32_t i = 0; i < gone->count; i++)
            delete_piece(batch, gone->inode, gone->index, gone->pieces[i].piece, gone->pieces[i].version);
    }
}

/* ---- groups ---- */

struct group_call {
    struct database_call call;
    const void *group;
    size_t length;
    const struct list *noted;
    bool synchronise;
    bool note_recent;
    uint32_t recent;
};

static void batch_record(rocksdb_writebatch_t *batch, const struct journal_record *record)
{
    uint8_t key[OBJECT_KEY_MAX], prefix[OBJECT_PREFIX];
    size_t length = object_encode(record, key, prefix);
    if (record->removed) {
        rocksdb_writebatch_delete(batch, (const char *)key, length);
        return;
    }
    const char *keys[] = {(const char *)key};
    const char *values[] = {(const char *)prefix, record->value};
    const size_t sizes[] = {sizeof(prefix), record->value_length};
    rocksdb_writebatch_putv(batch, 1, keys, &length, 2, values, sizes);
}

static int group_work(struct database_call *call, rocksdb_t *rocksdb)
{
    struct group_call *group = container_of(call, struct group_call, call);
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    struct journal_record record;
    for (size_t at = 0; journal_group_next(group->group, group->length, &at, &record);)
        batch_record(batch, &record);
    list_for_each (node, group->noted)
        delete_noted(batch, container_of(node, struct noted, link));
    if (group->note_recent) {
        const char key = ROCKS_KEY_RECENT;
        const uint32_t recent = htole32(group->recent);
        rocksdb_writebatch_put(batch, &key, 1, (const char *)&recent, sizeof(recent));
    }
    int status = database_write(rocksdb, batch, group->synchronise);
    rocksdb_writebatch_destroy(batch);
    return status;
}

static int group_write(void *owner, const void *group, size_t length, bool synchronise)
{
    struct rocks *rocks = owner;
    struct group_call call = {.call = {.work = group_work,
                                       .writes = true,
                                       .frees = !list_empty(&rocks->sealed),
                                       .measured = synchronise ? METRICS_DISK_SYNC : METRICS_DISK_WRITE,
                                       .bytes = metrics_clip(length)},
                              .group = group,
                              .length = length,
                              .noted = &rocks->sealed,
                              .synchronise = synchronise};
    uint64_t now = loop_now(rocks->store.loop);
    if (now - rocks->next_since >= RECENT_NS) {
        call.note_recent = true;
        call.recent = rocks->next_recent;
        rocks->next_recent = rocks->version;
        rocks->next_since = now;
    }
    int status = database_run(rocks->database, &call.call);
    if (status == 0)
        rocks_noted_free(&rocks->sealed);
    return status;
}

int rocks_flush(struct store *store)
{
    struct rocks *rocks = rocks_of(store);
    for (struct list *node; (node = list_pop_front(&rocks->open)) != NULL;)
        list_push_back(&rocks->sealed, node);
    return 0;
}

/* ---- walking through the database ---- */

/* Reads keys of one kind from where the last call ended, as many as fit into a buffer, one behind the other:
 * lengths of key and value (u32 each), key, value. */
struct scan_call {
    struct database_call call;
    char kind;
    bool more;
    uint8_t last[OBJECT_KEY_MAX]; /* key */
    size_t last_length;           /* 0: from the beginning */
    uint8_t *bytes;
    size_t capacity;
    size_t length;
};

static int scan_add(struct scan_call *scan, const char *key, size_t key_length, const char *value,
                    size_t value_length)
{
    const uint32_t lengths[2] = {(uint32_t)key_length, (uint32_t)value_length};
    size_t needed = scan->length + sizeof(lengths) + key_length + value_length;
    if (needed > scan->capacity) {
        uint8_t *bytes = realloc(scan->bytes, needed + SCAN_BYTES);
        if (bytes == NULL)
            return -ENOMEM;
        scan->bytes = bytes;
        scan->capacity = needed + SCAN_BYTES;
    }
    memcpy(scan->bytes + scan->length, lengths, sizeof(lengths));
    memcpy(scan->bytes + scan->length + sizeof(lengths), key, key_length);
    if (value_length > 0)
        memcpy(scan->bytes + scan->length + sizeof(lengths) + key_length, value, value_length);
    scan->length = needed;
    return 0;
}

static void scan_seek(const struct scan_call *scan, rocksdb_iterator_t *iterator)
{
    if (scan->last_length == 0) {
        rocksdb_iter_seek(iterator, &scan->kind, 1);
        return;
    }
    rocksdb_iter_seek(iterator, (const char *)scan->last, scan->last_length);
    size_t length = 0;
    const char *key = rocksdb_iter_valid(iterator) ? rocksdb_iter_key(iterator, &length) : NULL;
    if (key != NULL && length == scan->last_length && memcmp(key, scan->last, length) == 0)
        rocksdb_iter_next(iterator);
}

static int scan_collect(struct scan_call *scan, rocksdb_iterator_t *iterator)
{
    int status = 0;
    scan->length = 0;
    scan->more = false;
    for (scan_seek(scan, iterator); status == 0 && rocksdb_iter_valid(iterator);
         rocksdb_iter_next(iterator)) {
        size_t key_length, value_length;
        const char *key = rocksdb_iter_key(iterator, &key_length);
        if (key_length == 0 || key[0] != scan->kind)
            return 0;
        if (scan->length >= SCAN_BYTES) {
            scan->more = true;
            return 0;
        }
        if (key_length > OBJECT_KEY_MAX)
            return -EBADMSG;
        const char *value = rocksdb_iter_value(iterator, &value_length);
        status = scan_add(scan, key, key_length, value, value_length);
        memcpy(scan->last, key, key_length);
        scan->last_length = key_length;
    }
    return status;
}

static int scan_work(struct database_call *call, rocksdb_t *rocksdb)
{
    struct scan_call *scan = container_of(call, struct scan_call, call);
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_fill_cache(options, 0);
    rocksdb_iterator_t *iterator = rocksdb_create_iterator(rocksdb, options);
    int status = scan_collect(scan, iterator);
    char *error = NULL;
    rocksdb_iter_get_error(iterator, &error);
    rocksdb_iter_destroy(iterator);
    rocksdb_readoptions_destroy(options);
    int found = database_status(error, "read its database");
    return found != 0 ? found : status;
}

typedef int (*scan_visit)(void *owner, const uint8_t *key, size_t key_length, const uint8_t *value,
                          size_t value_length);

static int scan_visit_all(const struct scan_call *call, scan_visit visit, void *owner)
{
    int status = 0;
    for (size_t at = 0; status == 0 && at < call->length;) {
        uint32_t lengths[2];
        memcpy(lengths, call->bytes + at, sizeof(lengths));
        const uint8_t *key = call->bytes + at + sizeof(lengths);
        status = visit(owner, key, lengths[0], key + lengths[0], lengths[1]);
        at += sizeof(lengths) + lengths[0] + lengths[1];
    }
    return status;
}

/* Begins to read what follows. */
static void scan_go_on(struct rocks *rocks, const struct scan_call *from, struct scan_call *next)
{
    memcpy(next->last, from->last, from->last_length);
    next->last_length = from->last_length;
    database_begin(rocks->database, &next->call);
}

/* Calls visit for every key of the kind; the thread reads the next ones meanwhile. */
static int scan(struct rocks *rocks, char kind, scan_visit visit, void *owner)
{
    struct scan_call *calls = calloc(2, sizeof(*calls));
    if (calls == NULL)
        return -ENOMEM;
    for (int i = 0; i < 2; i++) {
        calls[i].call.work = scan_work;
        calls[i].kind = kind;
    }
    int at = 0;
    int status = database_run(rocks->database, &calls[at].call);
    while (status == 0) {
        struct scan_call *call = &calls[at], *next = &calls[at = !at];
        bool more = call->more;
        if (more)
            scan_go_on(rocks, call, next);
        status = scan_visit_all(call, visit, owner);
        if (!more)
            break;
        int read = database_end(rocks->database, &next->call);
        status = status == 0 ? read : status;
    }
    free(calls[0].bytes);
    free(calls[1].bytes);
    free(calls);
    return status;
}

/* ---- recovery ---- */

struct taking {
    const struct rocks *rocks;
    int (*take)(void *taker, const struct journal_record *record);
    void *taker;
};

static int recent_take(void *owner, const uint8_t *key, size_t key_length, const uint8_t *value,
                       size_t value_length)
{
    struct rocks *rocks = owner;
    uint32_t recent;
    (void)key;
    if (key_length != 1 || value_length != sizeof(recent))
        return -EBADMSG;
    memcpy(&recent, value, sizeof(recent));
    rocks->recent = le32toh(recent);
    return 0;
}

/* Whether a piece of the chunk is. Of the chunks of another engine nobody can tell: all may be. What makes no
 * sense is found by who replays it. */
static bool is_recent(const struct rocks *rocks, const struct journal_record *record)
{
    struct block_map map = {0};
    uint32_t length, latest = VERSION_NONE;
    if (record->kind == (rocks->store.fast ? JOURNAL_CHUNK : JOURNAL_FAST_CHUNK))
        return true;
    if (record->kind != store_chunk_kind(&rocks->store) ||
        block_record_decode(record->value, record->value_length, BLOCK_RESERVED, &map, &length) != 0)
        return false;
    for (uint32_t i = 0; i < pieces_of(map.count); i++)
        latest = larger(latest, piece_version(&map, i));
    block_map_free(&map);
    return latest > rocks->recent;
}

static int object_take(void *owner, const uint8_t *key, size_t key_length, const uint8_t *value,
                       size_t value_length)
{
    const struct taking *taking = owner;
    struct journal_record record;
    int status = object_decode(key, key_length, value, value_length, &record);
    if (status != 0)
        return status;
    record.logged = is_recent(taking->rocks, &record);
    return taking->take(taking->taker, &record);
}

static int backend_replay(void *owner, int (*take)(void *taker, const struct journal_record *record),
                          void *taker)
{
    struct taking taking = {owner, take, taker};
    int status = scan(owner, ROCKS_KEY_RECENT, recent_take, owner);
    return status != 0 ? status : scan(owner, ROCKS_KEY_OBJECT, object_take, &taking);
}

static int backend_room(void *owner)
{
    return database_room(((struct rocks *)owner)->database);
}

const struct journal_backend *rocks_journal_backend(struct store *store)
{
    struct rocks *rocks = rocks_of(store);
    rocks->backend = (struct journal_backend){rocks, backend_replay, group_write, backend_room};
    return &rocks->backend;
}

static void chunk_drop(struct rocks *rocks, struct rocks_chunk *chunk)
{
    if (chunk == NULL)
        return;
    chunk_index_remove(&rocks->index, &chunk->entry);
    rocks_chunk_free(chunk);
}

static int replay_chunk(struct rocks *rocks, uint64_t inode, uint64_t index,
                        const struct journal_record *record)
{
    struct rocks_chunk *chunk = rocks_chunk_find(rocks, inode, index);
    struct block_map map = {0};
    uint32_t length = 0;
    int status = record->removed ? 0
                                 : block_record_decode(record->value, record->value_length, BLOCK_RESERVED,
                                                       &map, &length);
    if (status == 0 && !pieces_make_sense(&map))
        status = -EBADMSG;
    if (status == 0 && length == 0 && map.held == 0) {
        chunk_drop(rocks, chunk);
        return 0;
    }
    if (status == 0 && chunk == NULL && (chunk = rocks_chunk_create(rocks, inode, index)) == NULL)
        status = -ENOMEM;
    if (status != 0) {
        block_map_free(&map);
        return status;
    }
    block_map_free(&chunk->map);
    chunk->map = map;
    chunk->length = length;
    chunk->recorded = true;
    chunk_entry_hold(&chunk->entry, map.held);
    for (uint32_t i = 0; i < pieces_of(map.count); i++)
        rocks->version = larger(rocks->version, piece_version(&map, i));
    return 0;
}

static int replay_zeros(struct rocks *rocks, uint64_t inode, uint64_t index,
                        const struct journal_record *record)
{
    struct rocks_chunk *chunk = rocks_chunk_find(rocks, inode, index);
    if (chunk == NULL)
        return record->removed ? 0 : -EBADMSG;
    struct ranges zeros = {0};
    int status = record->removed ? 0 : zeros_decode(record->value, record->value_length, &zeros);
    if (status != 0)
        return status;
    ranges_free(&chunk->zeros);
    chunk->zeros = zeros;
    chunk->zeros_recorded = zeros.count > 0;
    return 0;
}

int rocks_replay(struct store *store, const struct journal_record *record)
{
    struct rocks *rocks = rocks_of(store);
    uint64_t inode, index;
    if (block_key_decode(record->key, record->key_length, &inode, &index) != 0)
        return -EBADMSG;
    if (record->kind == JOURNAL_CHUNK)
        return replay_chunk(rocks, inode, index, record);
    return record->kind == JOURNAL_STORE ? replay_zeros(rocks, inode, index, record) : -EBADMSG;
}

/* ---- what nothing names ---- */

struct orphans_call {
    struct database_call call;
    struct rocks *rocks;
    rocksdb_writebatch_t *batch;
};

static int intent_visit(void *owner, const uint8_t *key, size_t key_length, const uint8_t *value,
                        size_t value_length)
{
    (void)value;
    struct orphans_call *orphans = owner;
    struct piece_name name;
    if (value_length != 0 || piece_key_decode(key, key_length, &name) != 0)
        return -EBADMSG;
    const struct rocks_chunk *chunk = rocks_chunk_find(orphans->rocks, name.inode, name.index);
    if (chunk == NULL || piece_version(&chunk->map, name.piece) != name.version)
        delete_piece(orphans->batch, name.inode, name.index, name.piece, name.version);
    rocksdb_writebatch_delete(orphans->batch, (const char *)key, key_length);
    return 0;
}

static int orphans_work(struct database_call *call, rocksdb_t *rocksdb)
{
    return database_write(rocksdb, container_of(call, struct orphans_call, call)->batch, true);
}

static void charge_entry(void *owner, struct chunk_entry *entry)
{
    struct rocks *rocks = owner;
    rocks->charged += container_of(entry, struct rocks_chunk, entry)->map.held;
}

int rocks_start(struct store *store, struct journal *journal)
{
    struct rocks *rocks = rocks_of(store);
    for (uint64_t bucket = 0; bucket < chunk_index_buckets(&rocks->index); bucket++)
        chunk_index_visit_bucket(&rocks->index, bucket, charge_entry, rocks);
    struct orphans_call orphans = {
        {.work = orphans_work, .writes = true, .frees = true}, rocks, rocksdb_writebatch_create()};
    int status = scan(rocks, ROCKS_KEY_INTENT, intent_visit, &orphans);
    if (status == 0 && rocksdb_writebatch_count(orphans.batch) > 0)
        status = database_run(rocks->database, &orphans.call);
    rocksdb_writebatch_destroy(orphans.batch);
    database_recovered(rocks->database);
    rocks->journal = journal;
    rocks->next_recent = rocks->version;
    rocks->next_since = loop_now(store->loop);
    return status;
}

/* ---- snapshots: into another journal's; this engine's own has none ---- */

static int snapshot_record(const struct rocks *rocks, struct journal_snapshot *snapshot,
                           const struct rocks_chunk *chunk, enum journal_kind of)
{
    uint8_t key[BLOCK_KEY_BYTES];
    block_key_encode(chunk->entry.node.inode, chunk->entry.node.index, key);
    size_t size = of == JOURNAL_CHUNK ? block_record_size(&chunk->map) : (size_t)chunk->zeros.count * 8;
    void *value = malloc(size);
    if (value == NULL)
        return -ENOMEM;
    if (of == JOURNAL_CHUNK)
        block_record_encode(&chunk->map, chunk->length, value);
    else
        zeros_encode(&chunk->zeros, value);
    enum journal_kind kind =
        of == JOURNAL_CHUNK ? store_chunk_kind(&rocks->store) : store_other_kind(&rocks->store);
    struct journal_record record = {.kind = (uint8_t)kind,
                                    .partition = (uint16_t)inode_partition(chunk->entry.node.inode),
                                    .key = key,
                                    .key_length = sizeof(key),
                                    .value = value,
                                    .value_length = (uint32_t)size};
    int status = journal_snapshot_add(snapshot, &record);
    free(value);
    return status;
}

int rocks_snapshot(struct store *store, struct journal_snapshot *snapshot)
{
    struct rocks *rocks = rocks_of(store);
    struct store_cursor cursor = {0};
    int status = 0;
    while (status == 0) {
        struct chunk_entry *entry = chunk_index_advance(&rocks->index, &cursor);
        if (entry == NULL)
            break;
        struct rocks_chunk *chunk = container_of(entry, struct rocks_chunk, entry);
        if (!chunk->recorded)
            continue;
        status = snapshot_record(rocks, snapshot, chunk, JOURNAL_CHUNK);
        chunk = rocks_chunk_find(rocks, cursor.inode, cursor.index);
        if (status == 0 && chunk != NULL && chunk->zeros.count > 0)
            status = snapshot_record(rocks, snapshot, chunk, JOURNAL_STORE);
    }
    return status;
}

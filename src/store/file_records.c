/* What the file engine records in the journal.
 *
 * CHUNK (inode, index): a head: lengths, and the ranges that read as zeros or are reserved. Its removal
 * removes the pieces, too, and a head that is shorter what is beyond (where records have no order it is said
 * of each piece). STORE (PIECE, inode, index, piece): checksums of 32 blocks (blocks.h); always
 * behind the head, in the same group, so a piece that names blocks which the head does not have is damage.
 * STORE (MARK, inode): the inode's blocks are being overwritten in place.
 *
 * All of it comes back from a device, so everything is checked here. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/log.h"
#include "cluster/partition.h"
#include "store/file_state.h"

#define HEAD_VERSION 1u
#define HEAD_UNCHECKED 1u
#define HEAD_BYTES 20u

enum { KEY_MARK = 1, KEY_PIECE = 2 };

/* ---- keys and values ---- */

static void put_u32(uint8_t *into, uint32_t value)
{
    value = htole32(value);
    memcpy(into, &value, sizeof(value));
}

static void put_u64(uint8_t *into, uint64_t value)
{
    value = htole64(value);
    memcpy(into, &value, sizeof(value));
}

#define CHUNK_KEY_BYTES 16u
#define PIECE_KEY_BYTES 21u
#define MARK_KEY_BYTES 9u

static void chunk_key(const struct file_chunk *chunk, uint8_t *key)
{
    put_u64(key, chunk->entry.node.inode);
    put_u64(key + 8, chunk->entry.node.index);
}

static void piece_key(const struct file_chunk *chunk, uint32_t piece, uint8_t *key)
{
    key[0] = KEY_PIECE;
    chunk_key(chunk, key + 1);
    put_u32(key + 17, piece);
}

static void mark_key(uint64_t inode, uint8_t *key)
{
    key[0] = KEY_MARK;
    put_u64(key + 1, inode);
}

static uint32_t head_length(const struct file_chunk *chunk)
{
    const struct peculiar *peculiar = chunk->peculiar;
    return HEAD_BYTES + (peculiar == NULL ? 0 : (peculiar->zeros.count + peculiar->reserved.count) * 8);
}

static uint8_t *put_ranges(uint8_t *into, const struct ranges *ranges)
{
    for (uint32_t i = 0; i < ranges->count; i++, into += 8) {
        put_u32(into, ranges->items[i].start);
        put_u32(into + 4, ranges->items[i].end);
    }
    return into;
}

static void encode_head(const struct file_chunk *chunk, uint8_t *into)
{
    const struct peculiar *peculiar = chunk->peculiar;
    memset(into, 0, 4);
    into[0] = HEAD_VERSION;
    into[1] = chunk->unchecked ? HEAD_UNCHECKED : 0;
    put_u32(into + 4, chunk->length);
    put_u32(into + 8, chunk->covered);
    put_u32(into + 12, peculiar == NULL ? 0 : peculiar->zeros.count);
    put_u32(into + 16, peculiar == NULL ? 0 : peculiar->reserved.count);
    if (peculiar != NULL)
        put_ranges(put_ranges(into + HEAD_BYTES, &peculiar->zeros), &peculiar->reserved);
}

/* ---- recording ---- */

static uint32_t partition_of(const struct file_chunk *chunk)
{
    return inode_partition(chunk->entry.node.inode);
}

static void record_piece(struct file_store *store, const struct file_chunk *chunk, uint32_t piece)
{
    uint8_t key[PIECE_KEY_BYTES], value[PIECE_BYTES_MAX];
    uint32_t length = blocks_encode(&chunk->blocks, piece, value);
    piece_key(chunk, piece, key);
    memcpy(journal_append(store->journal, store_other_kind(&store->store), partition_of(chunk), key,
                          sizeof(key), length),
           value, length);
}

/* What the pieces have beyond the chunk's last block. */
static void record_cut(struct file_store *store, struct file_chunk *chunk)
{
    uint8_t key[PIECE_KEY_BYTES];
    uint32_t count = chunk->blocks.count, before = chunk->recorded;
    chunk->recorded = count;
    if (count < before && count % PIECE_BLOCKS != 0)
        record_piece(store, chunk, count / PIECE_BLOCKS);
    for (uint32_t at = (count + PIECE_BLOCKS - 1) / PIECE_BLOCKS; at * PIECE_BLOCKS < before; at++) {
        piece_key(chunk, at, key);
        journal_append_removal(store->journal, store_other_kind(&store->store), partition_of(chunk), key,
                               sizeof(key));
    }
}

void file_record(struct file_store *store, struct file_chunk *chunk, uint32_t first, uint32_t last)
{
    uint8_t key[PIECE_KEY_BYTES];
    if (chunk->epoch == 0)
        chunk->epoch = store->epoch;
    chunk_key(chunk, key);
    encode_head(chunk, journal_append(store->journal, store_chunk_kind(&store->store), partition_of(chunk),
                                      key, CHUNK_KEY_BYTES, head_length(chunk)));
    if (last > chunk->blocks.count)
        last = chunk->blocks.count;
    for (uint32_t at = first; at < last; at = (at / PIECE_BLOCKS + 1) * PIECE_BLOCKS)
        record_piece(store, chunk, at / PIECE_BLOCKS);
    if (store->store.keyed)
        record_cut(store, chunk);
}

void file_record_removal(struct file_store *store, struct file_chunk *chunk)
{
    uint8_t key[CHUNK_KEY_BYTES];
    chunk_key(chunk, key);
    journal_append_removal(store->journal, store_chunk_kind(&store->store), partition_of(chunk), key,
                           sizeof(key));
    if (store->store.keyed)
        record_cut(store, chunk);
}

/* ---- marks ---- */

static struct mark *mark_make(struct file_store *store, uint64_t inode)
{
    struct mark *mark = calloc(1, sizeof(*mark));
    if (mark == NULL)
        return NULL;
    mark->inode = inode;
    if (map_put(&store->marked, inode, mark) != 0) {
        free(mark);
        return NULL;
    }
    list_push_back(&store->marks, &mark->link);
    return mark;
}

static void mark_free(struct file_store *store, struct mark *mark)
{
    map_remove(&store->marked, mark->inode);
    list_remove(&mark->link);
    free(mark);
}

int file_mark(struct file_store *store, uint64_t inode, bool fresh, struct mark **result)
{
    struct mark *mark = map_get(&store->marked, inode);
    if (mark == NULL) {
        mark = mark_make(store, inode);
        if (mark == NULL)
            return -ENOMEM;
        uint8_t key[MARK_KEY_BYTES];
        mark_key(inode, key);
        *(uint8_t *)journal_append(store->journal, store_other_kind(&store->store), inode_partition(inode),
                                   key, sizeof(key), 1) = 1;
        mark->position = journal_position(store->journal);
    }
    mark->users++;
    mark->used = store->epoch;
    if (!fresh && mark->position > store->committed) {
        int status = journal_commit(store->journal);
        if (status != 0) {
            file_unmark(store, mark);
            return status;
        }
    }
    *result = mark;
    return 0;
}

void file_unmark(struct file_store *store, struct mark *mark)
{
    mark->users--;
    mark->used = store->epoch;
}

void file_mark_drop(struct file_store *store, struct mark *mark)
{
    uint8_t key[MARK_KEY_BYTES];
    mark_key(mark->inode, key);
    journal_append_removal(store->journal, store_other_kind(&store->store), inode_partition(mark->inode), key,
                           sizeof(key));
    mark_free(store, mark);
}

void file_marks_expire(struct file_store *store, uint32_t epochs)
{
    list_for_each_safe (node, &store->marks) {
        struct mark *mark = container_of(node, struct mark, link);
        if (mark->users == 0 && !mark->recovered && store->epoch - mark->used >= epochs)
            file_mark_drop(store, mark);
    }
}

bool file_is_recovered(const struct file_store *store, uint64_t inode)
{
    const struct mark *mark = map_get(&store->marked, inode);
    return mark != NULL && mark->recovered;
}

void file_marks_free(struct file_store *store)
{
    list_for_each_safe (node, &store->marks)
        mark_free(store, container_of(node, struct mark, link));
    map_free(&store->marked);
}

/* ---- recovery ---- */

/* Sorted, disjoint and inside the chunk, as they are kept. */
static int take_ranges(struct reader *reader, uint32_t count, bool whole_blocks, struct ranges *ranges)
{
    int status = ranges_reserve(ranges, count);
    uint32_t before = 0;
    ranges->count = 0;
    for (uint32_t i = 0; i < count && status == 0; i++) {
        struct range range = {.start = reader_u32(reader)};
        range.end = reader_u32(reader);
        if (reader->failed || range.start >= range.end || (i > 0 && range.start <= before) ||
            range.end > CHUNK_BYTES_MAX ||
            (whole_blocks && ((range.start | range.end) & (BLOCK_BYTES - 1)) != 0))
            return -EBADMSG;
        before = range.end;
        ranges->items[ranges->count++] = range;
    }
    return status;
}

static int take_peculiar(struct file_chunk *chunk, struct reader *reader, uint32_t zeros, uint32_t reserved)
{
    if (zeros == 0 && reserved == 0 && chunk->peculiar == NULL)
        return 0;
    struct peculiar *peculiar = file_peculiar(chunk);
    if (peculiar == NULL)
        return -ENOMEM;
    int status = take_ranges(reader, zeros, false, &peculiar->zeros);
    return status == 0 ? take_ranges(reader, reserved, true, &peculiar->reserved) : status;
}

static int take_lengths(struct file_chunk *chunk, uint32_t length, uint32_t covered)
{
    if (covered > CHUNK_BYTES_MAX || length > covered || block_up(length) < covered)
        return -EBADMSG;
    int status = blocks_reserve(&chunk->blocks, blocks_of(covered));
    if (status != 0)
        return status;
    blocks_cut(&chunk->blocks, blocks_of(covered));
    blocks_extend(&chunk->blocks, blocks_of(covered));
    chunk->length = length;
    chunk->covered = covered;
    chunk->recorded = blocks_of(covered);
    chunk->has_file = covered > 0;
    return 0;
}

static int replay_head(struct file_store *store, uint64_t inode, uint64_t index,
                       const struct journal_record *record)
{
    struct reader reader;
    reader_init(&reader, record->value, record->value_length);
    uint8_t version = reader_u8(&reader), flags = reader_u8(&reader);
    reader_u16(&reader);
    uint32_t length = reader_u32(&reader), covered = reader_u32(&reader);
    uint32_t zeros = reader_u32(&reader), reserved = reader_u32(&reader);
    if (reader.failed || version != HEAD_VERSION || zeros > RANGES_MAX || reserved > RANGES_MAX ||
        record->value_length != HEAD_BYTES + (zeros + reserved) * 8 || (length == 0 && reserved == 0))
        return -EBADMSG;
    struct file_chunk *chunk = file_chunk_make(store, inode, index);
    if (chunk == NULL)
        return -ENOMEM;
    chunk->unchecked = (flags & HEAD_UNCHECKED) != 0;
    int status = take_lengths(chunk, length, covered);
    if (status == 0)
        status = take_peculiar(chunk, &reader, zeros, reserved);
    if (status != 0) { /* recovery ends here */
        chunk->has_file = false;
        file_chunk_settle(store, chunk);
        return status;
    }
    chunk->epoch = UINT32_MAX; /* before all that come */
    file_chunk_measure(store, chunk);
    return 0;
}

static int replay_removal(struct file_store *store, uint64_t inode, uint64_t index)
{
    struct file_chunk *chunk = file_chunk_find(store, inode, index);
    if (chunk == NULL)
        return 0;
    chunk->length = chunk->covered = 0;
    chunk->has_file = false; /* should there be one, it is a stray */
    blocks_cut(&chunk->blocks, 0);
    if (chunk->peculiar != NULL)
        chunk->peculiar->zeros.count = chunk->peculiar->reserved.count = 0;
    file_chunk_measure(store, chunk);
    file_chunk_settle(store, chunk);
    return 0;
}

static int replay_piece(struct file_store *store, struct reader *key, const struct journal_record *record)
{
    uint64_t inode = reader_u64(key), index = reader_u64(key);
    uint32_t piece = reader_u32(key);
    struct file_chunk *chunk = file_chunk_find(store, inode, index);
    if (key->failed || chunk == NULL || record->removed)
        return -EBADMSG;
    int status = blocks_decode(&chunk->blocks, piece, record->value, record->value_length);
    file_chunk_measure(store, chunk);
    return status;
}

static int replay_mark(struct file_store *store, struct reader *key, const struct journal_record *record)
{
    uint64_t inode = reader_u64(key);
    struct mark *mark = map_get(&store->marked, inode);
    if (key->failed)
        return -EBADMSG;
    if (record->removed) {
        if (mark != NULL)
            mark_free(store, mark);
        return 0;
    }
    if (mark == NULL && (mark = mark_make(store, inode)) == NULL)
        return -ENOMEM;
    mark->recovered = true;
    return 0;
}

int file_replay(struct store *base, const struct journal_record *record)
{
    struct file_store *store = file_of(base);
    struct reader key;
    reader_init(&key, record->key, record->key_length);
    if (record->kind == JOURNAL_CHUNK && record->key_length == CHUNK_KEY_BYTES) {
        uint64_t inode = reader_u64(&key), index = reader_u64(&key);
        return record->removed ? replay_removal(store, inode, index)
                               : replay_head(store, inode, index, record);
    }
    uint8_t what = record->kind == JOURNAL_STORE ? reader_u8(&key) : 0;
    if (what == KEY_PIECE && record->key_length == PIECE_KEY_BYTES)
        return replay_piece(store, &key, record);
    if (what == KEY_MARK && record->key_length == MARK_KEY_BYTES)
        return replay_mark(store, &key, record);
    return -EBADMSG;
}

/* ---- snapshots ---- */

/* One chunk's records, so that they are of one moment though adding them may suspend. */
static int add_record(struct journal_snapshot *snapshot, enum journal_kind kind, uint32_t partition,
                      const uint8_t *key, uint32_t key_length, const uint8_t *value, uint32_t length)
{
    struct journal_record record = {.kind = (uint8_t)kind,
                                    .partition = (uint16_t)partition,
                                    .key_length = key_length,
                                    .value_length = length,
                                    .key = key,
                                    .value = value};
    return journal_snapshot_add(snapshot, &record);
}

static int snapshot_chunk(const struct file_store *store, struct file_chunk *chunk,
                          struct journal_snapshot *snapshot)
{
    uint32_t pieces = (chunk->blocks.count + PIECE_BLOCKS - 1) / PIECE_BLOCKS;
    uint32_t head = head_length(chunk), partition = partition_of(chunk);
    uint8_t key[PIECE_KEY_BYTES];
    uint8_t *values = malloc(head + (size_t)pieces * (PIECE_BYTES_MAX + 4));
    if (values == NULL)
        return -ENOMEM;
    encode_head(chunk, values);
    uint8_t *into = values + head;
    for (uint32_t piece = 0; piece < pieces; piece++, into += PIECE_BYTES_MAX + 4) {
        uint32_t length = blocks_encode(&chunk->blocks, piece, into + 4);
        memcpy(into, &length, sizeof(length));
    }
    piece_key(chunk, 0, key);
    uint8_t *piece_number = key + 17;
    int status = add_record(snapshot, store_chunk_kind(&store->store), partition, key + 1, CHUNK_KEY_BYTES,
                            values, head);
    into = values + head;
    for (uint32_t piece = 0; piece < pieces && status == 0; piece++, into += PIECE_BYTES_MAX + 4) {
        uint32_t length;
        memcpy(&length, into, sizeof(length));
        put_u32(piece_number, piece);
        status = add_record(snapshot, store_other_kind(&store->store), partition, key, PIECE_KEY_BYTES,
                            into + 4, length);
    }
    free(values);
    return status;
}

/* The chunks of one bucket of the index, by name: they may go while their records are added. */
struct names {
    struct store_cursor *items;
    size_t count;
    size_t capacity;
    bool failed;
};

static void take_name(void *owner, struct chunk_entry *entry)
{
    struct names *names = owner;
    if (names->count == names->capacity) {
        size_t capacity = names->capacity == 0 ? 16 : names->capacity * 2;
        struct store_cursor *items = realloc(names->items, capacity * sizeof(*items));
        if (items == NULL) {
            names->failed = true;
            return;
        }
        names->items = items;
        names->capacity = capacity;
    }
    names->items[names->count++] = (struct store_cursor){entry->node.inode, entry->node.index};
}

static int snapshot_chunks(struct file_store *store, struct journal_snapshot *snapshot)
{
    struct names names = {0};
    int status = 0;
    for (uint64_t bucket = 0; bucket < chunk_index_buckets(&store->index) && status == 0; bucket++) {
        names.count = 0;
        chunk_index_visit_bucket(&store->index, bucket, take_name, &names);
        if (names.failed)
            status = -ENOMEM;
        for (size_t i = 0; i < names.count && status == 0; i++) {
            struct file_chunk *chunk = file_chunk_find(store, names.items[i].inode, names.items[i].index);
            if (chunk != NULL && chunk_exists(chunk))
                status = snapshot_chunk(store, chunk, snapshot);
        }
    }
    free(names.items);
    return status;
}

static int snapshot_marks(struct file_store *store, struct journal_snapshot *snapshot)
{
    /* Marks come and go meanwhile: those that come are in the log. */
    size_t count = 0, at = 0;
    uint64_t *inodes = malloc((store->marked.count + 1) * sizeof(*inodes));
    if (inodes == NULL)
        return -ENOMEM;
    list_for_each (node, &store->marks)
        inodes[count++] = container_of(node, struct mark, link)->inode;
    int status = 0;
    for (; at < count && status == 0; at++) {
        uint8_t key[MARK_KEY_BYTES], value = 1;
        mark_key(inodes[at], key);
        if (map_get(&store->marked, inodes[at]) != NULL)
            status = add_record(snapshot, store_other_kind(&store->store), inode_partition(inodes[at]), key,
                                sizeof(key), &value, 1);
    }
    free(inodes);
    return status;
}

int file_snapshot(struct store *base, struct journal_snapshot *snapshot)
{
    struct file_store *store = file_of(base);
    int status = snapshot_marks(store, snapshot);
    return status == 0 ? snapshot_chunks(store, snapshot) : status;
}

/* The journal's side of the uring engine: taking back what it recorded, and recording it all for a snapshot.
 *
 * While records are replayed the maps may contradict one another, for a snapshot was taken while they
 * changed: a block may belong to the chunk that had it when the snapshot began and to the one that got it
 * before the snapshot ended. The records that follow resolve that. So who has which block is only looked at
 * in the end, and what no chunk has is free. */
#include "store/uring.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cluster/partition.h"

/* ---- replay ---- */

/* Puts these blocks, and these zeros, in the place of what the piece had. */
static int replace_piece(struct uring_store *uring, struct uring_chunk *chunk, uint32_t piece,
                         const struct uring_block blocks[URING_PIECE_BLOCKS], const char *zeros,
                         uint32_t zeros_count)
{
    uint32_t first = piece << URING_PIECE_SHIFT, start = first << PAGE_SHIFT, last = 0;
    for (uint32_t i = 0; i < URING_PIECE_BLOCKS; i++)
        if (blocks[i].where != URING_HOLE)
            last = i + 1;
    int status = last > 0 ? uring_chunk_extend(chunk, first + last) : 0;
    if (status == 0 && chunk->zeros.count + zeros_count > 0)
        status = ranges_reserve(&chunk->zeros, chunk->zeros.count + zeros_count + 1);
    if (status != 0)
        return status;
    uint32_t held = chunk->held;
    for (uint32_t i = 0; chunk->table != NULL && i < URING_PIECE_BLOCKS && first + i < chunk->table->count;
         i++) {
        held += blocks[i].where != URING_HOLE;
        held -= chunk->table->blocks[first + i].where != URING_HOLE;
        chunk->table->blocks[first + i] = blocks[i];
    }
    uring_chunk_hold(uring, chunk, held);
    ranges_subtract(&chunk->zeros, start, start + URING_PIECE_BYTES);
    for (uint32_t i = 0; i < zeros_count; i++) {
        struct uring_zeros range;
        memcpy(&range, zeros + i * sizeof(range), sizeof(range));
        ranges_add(&chunk->zeros, start + range.start, start + range.end);
    }
    return 0;
}

static int replay_piece(struct uring_store *uring, struct uring_chunk *chunk, uint32_t piece,
                        const struct journal_record *record)
{
    struct uring_block blocks[URING_PIECE_BLOCKS];
    const void *zeros = NULL;
    uint32_t zeros_count = 0;
    for (uint32_t i = 0; i < URING_PIECE_BLOCKS; i++)
        blocks[i] = (struct uring_block){URING_HOLE, URING_NO_CHECKSUM};
    int status = record->removed ? 0
                                 : uring_piece_record_read(record->value, record->value_length, blocks,
                                                           &zeros, &zeros_count);
    return status == 0 ? replace_piece(uring, chunk, piece, blocks, zeros, zeros_count) : status;
}

static int replay_chunk(struct uring_store *uring, const struct journal_record *record)
{
    uint64_t inode, index;
    uint32_t piece;
    int status = uring_key_read(record->key, record->key_length, &inode, &index, &piece);
    if (status != 0)
        return status;
    struct uring_chunk *chunk = uring_chunk_find(uring, inode, index);
    if (chunk == NULL && record->removed)
        return 0;
    if (chunk == NULL && (chunk = uring_chunk_create(uring, inode, index)) == NULL)
        return -ENOMEM;
    if (piece != URING_PIECE_NONE) {
        status = replay_piece(uring, chunk, piece, record);
    } else if (record->removed) {
        chunk->recorded = false;
        chunk->length = 0;
    } else {
        status = uring_chunk_record_read(record->value, record->value_length, &chunk->length);
        chunk->recorded = status == 0;
    }
    if (!chunk->recorded)
        uring_chunk_settle(uring, chunk);
    return status;
}

int uring_store_replay(struct store *store, const struct journal_record *record)
{
    struct uring_store *uring = uring_of(store);
    if (record->kind == JOURNAL_CHUNK)
        return replay_chunk(uring, record);
    struct uring_store_record value;
    if (record->kind != JOURNAL_STORE || record->removed || record->key_length != strlen(URING_STORE_KEY) ||
        memcmp(record->key, URING_STORE_KEY, record->key_length) != 0)
        return -EBADMSG;
    int status = uring_store_record_read(record->value, record->value_length, &value);
    if (status == 0)
        uring->segment_blocks = value.segment_blocks;
    return status;
}

/* ---- start ---- */

struct survey {
    struct uring_store *uring;
    uint32_t blocks; /* of the device, that are needed at least */
    int status;
};

/* Calls visit for every chunk. */
static void each_chunk(struct uring_store *uring, void (*visit)(void *owner, struct chunk_entry *entry),
                       void *owner)
{
    for (uint64_t i = 0; i < chunk_index_buckets(&uring->index); i++)
        chunk_index_visit_bucket(&uring->index, i, visit, owner);
}

static void survey_chunk(void *owner, struct chunk_entry *entry)
{
    struct survey *survey = owner;
    const struct uring_chunk *chunk = container_of(entry, struct uring_chunk, entry);
    if (!chunk->recorded) {
        log_error("uring: the journal has blocks of chunk %" PRIu64 " of inode %" PRIu64
                  ", but not the chunk",
                  entry->node.index, entry->node.inode);
        survey->status = -EBADMSG;
    }
    for (uint32_t i = 0; chunk->table != NULL && i < chunk->table->count; i++)
        if (uring_block_stored(chunk->table->blocks[i]) && chunk->table->blocks[i].where >= survey->blocks)
            survey->blocks = chunk->table->blocks[i].where + 1;
}

static void claim_chunk(void *owner, struct chunk_entry *entry)
{
    struct survey *survey = owner;
    const struct uring_chunk *chunk = container_of(entry, struct uring_chunk, entry);
    for (uint32_t i = 0; chunk->table != NULL && i < chunk->table->count && survey->status == 0;) {
        struct uring_run run = {chunk->table->blocks[i].where, 1};
        if (!uring_block_stored(chunk->table->blocks[i])) {
            i++;
            continue;
        }
        while (i + run.count < chunk->table->count &&
               chunk->table->blocks[i + run.count].where == run.first + run.count)
            run.count++;
        survey->status = uring_segments_claim(survey->uring->segments, &run);
        i += run.count;
    }
}

/* A sixteenth of the capacity, so that no more than that is taken from the device before it is needed. */
static uint32_t segment_size(const struct uring_store *uring)
{
    uint32_t blocks = URING_SEGMENT_BLOCKS_MAX;
    while (blocks > 64 && blocks > uring->capacity / 16)
        blocks /= 2;
    return blocks;
}

static struct uring_store_record store_record(const struct uring_store *uring)
{
    return (struct uring_store_record){.format = URING_FORMAT, .segment_blocks = uring->segment_blocks};
}

int uring_store_start(struct store *store, struct journal *journal)
{
    struct uring_store *uring = uring_of(store);
    struct survey survey = {.uring = uring};
    bool fresh = uring->segment_blocks == 0;
    if (fresh)
        uring->segment_blocks = segment_size(uring);
    each_chunk(uring, survey_chunk, &survey);
    if (survey.status != 0)
        return survey.status;
    /* Beyond its capacity the store needs room for what is being replaced. */
    uint64_t spare = uring->capacity < uring->writes.count ? uring->capacity : uring->writes.count;
    if (spare < uring->capacity / 64)
        spare = uring->capacity / 64;
    uint64_t blocks = uring->capacity + spare;
    if (blocks > URING_DEVICE_BLOCKS_MAX - URING_SEGMENT_BLOCKS_MAX)
        blocks = URING_DEVICE_BLOCKS_MAX - URING_SEGMENT_BLOCKS_MAX;
    if (blocks < survey.blocks)
        blocks = survey.blocks;
    int status = uring_segments_open(uring->store.loop, uring->disk, (uint32_t)blocks, uring->segment_blocks,
                                     &uring->segments);
    if (status != 0)
        return status;
    each_chunk(uring, claim_chunk, &survey);
    if (survey.status != 0)
        return survey.status;
    uring->journal = journal;
    uring_segments_start(uring->segments, journal);
    if (fresh) {
        struct uring_store_record record = store_record(uring);
        void *value = journal_append(journal, store_other_kind(&uring->store), 0, URING_STORE_KEY,
                                     strlen(URING_STORE_KEY), sizeof(record));
        memcpy(value, &record, sizeof(record));
    }
    return 0;
}

/* ---- snapshot ---- */

/* The chunks of one bucket, by name: adding a record may suspend, and then they may go. */
struct names {
    struct store_cursor *items;
    uint32_t count;
    uint32_t capacity;
    int status;
};

static void note_name(void *owner, struct chunk_entry *entry)
{
    struct names *names = owner;
    if (names->count == names->capacity) {
        uint32_t capacity = names->capacity == 0 ? 16 : 2 * names->capacity;
        struct store_cursor *items = realloc(names->items, capacity * sizeof(*items));
        if (items == NULL) {
            names->status = -ENOMEM;
            return;
        }
        names->items = items;
        names->capacity = capacity;
    }
    names->items[names->count++] = (struct store_cursor){entry->node.inode, entry->node.index};
}

/* A record in the making. */
struct draft {
    void *value;
    size_t capacity;
};

static int draft_room(struct draft *draft, size_t size)
{
    if (size <= draft->capacity)
        return 0;
    void *value = realloc(draft->value, size);
    if (value == NULL)
        return -ENOMEM;
    draft->value = value;
    draft->capacity = size;
    return 0;
}

static int add_piece(const struct uring_store *uring, const struct uring_chunk *chunk, uint32_t piece,
                     struct draft *draft, struct journal_snapshot *snapshot)
{
    const struct index_node *name = &chunk->entry.node;
    struct uring_piece_key key = {name->inode, name->index, piece};
    uint32_t at = piece << URING_PIECE_SHIFT, count = chunk->table->count - at;
    const struct uring_block *blocks = chunk->table->blocks + at;
    size_t size = uring_piece_record_size(blocks, count, &chunk->zeros, piece);
    int status = draft_room(draft, size);
    if (status != 0 || size == 0)
        return status;
    uring_piece_record_write(blocks, count, &chunk->zeros, piece, draft->value);
    struct journal_record record = {.kind = (uint8_t)store_chunk_kind(&uring->store),
                                    .partition = (uint16_t)inode_partition(name->inode),
                                    .key = &key,
                                    .key_length = sizeof(key),
                                    .value = draft->value,
                                    .value_length = (uint32_t)size};
    return journal_snapshot_add(snapshot, &record);
}

static const struct uring_chunk *find_recorded(const struct uring_store *uring,
                                               const struct store_cursor *name)
{
    const struct uring_chunk *chunk = uring_chunk_find(uring, name->inode, name->index);
    return chunk != NULL && chunk->recorded ? chunk : NULL;
}

static int add_chunk(const struct uring_store *uring, const struct store_cursor *name, struct draft *draft,
                     struct journal_snapshot *snapshot)
{
    const struct uring_chunk *chunk = find_recorded(uring, name);
    if (chunk == NULL)
        return 0;
    struct uring_chunk_key key = {name->inode, name->index};
    struct uring_chunk_record value = {.length = chunk->length};
    struct journal_record record = {.kind = (uint8_t)store_chunk_kind(&uring->store),
                                    .partition = (uint16_t)inode_partition(name->inode),
                                    .key = &key,
                                    .key_length = sizeof(key),
                                    .value = &value,
                                    .value_length = sizeof(value)};
    int status = journal_snapshot_add(snapshot, &record);
    for (uint32_t piece = 0; status == 0; piece++) {
        chunk = find_recorded(uring, name);
        if (chunk == NULL || chunk->table == NULL || piece << URING_PIECE_SHIFT >= chunk->table->count)
            return 0;
        status = add_piece(uring, chunk, piece, draft, snapshot);
    }
    return status;
}

int uring_store_snapshot(struct store *store, struct journal_snapshot *snapshot)
{
    struct uring_store *uring = uring_of(store);
    struct uring_store_record value = store_record(uring);
    struct journal_record record = {.kind = (uint8_t)store_other_kind(store),
                                    .key = URING_STORE_KEY,
                                    .key_length = strlen(URING_STORE_KEY),
                                    .value = &value,
                                    .value_length = sizeof(value)};
    int status = journal_snapshot_add(snapshot, &record);
    struct names names = {0};
    struct draft draft = {0};
    for (uint64_t bucket = 0; status == 0 && bucket < chunk_index_buckets(&uring->index); bucket++) {
        names.count = 0;
        chunk_index_visit_bucket(&uring->index, bucket, note_name, &names);
        status = names.status;
        for (uint32_t i = 0; status == 0 && i < names.count; i++)
            status = add_chunk(uring, &names.items[i], &draft, snapshot);
    }
    free(names.items);
    free(draft.value);
    return status;
}

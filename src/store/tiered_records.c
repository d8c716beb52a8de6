/* What lasts of the engine tiered.
 *
 * A fast engine that does not last adds nothing: the journal has the slow engine's records, and before it
 * commits on somebody's behalf, what is dirty is written back. If both engines last, both record in the
 * journal; the fast one's records have kinds of their own (FAST_CHUNK, FAST_STORE), by which they are told
 * apart when they are replayed. Where each bytes are after a crash follows from one rule:
 *
 *   a chunk that the fast engine has is what the fast engine has, unless a record says that it is being
 *   promoted (PROMOTION); then, and when the fast engine has nothing of it, it is what the slow engine has.
 *
 * That holds after every group, since records that were appended without suspending in between stand or fall
 * together, and are lost from the end only:
 *
 *   a write goes to the fast engine alone (the slow one may have older bytes, or none), or, of a chunk that
 * is not there, to the slow one alone; what takes something away is done to both in one step; writing back
 * changes the slow engine's older bytes, of which the rule says nothing; a demotion removes the chunk from
 * the fast engine behind the records of all that was written back, and the group that has that removal is
 * written when both engines have flushed; a promotion is announced before the first record of the copy. When
 * the copy is complete the announcement is withdrawn, in the step in which transfers begin to go to the fast
 * engine; when it is given up, in the step that removes what there is of it. A start does the latter for a
 * promotion that it finds.
 *
 * So no crash brings back an older copy or a removed chunk, and none leaves a copy that nobody knows of. How
 * much of a chunk is clean is not recorded: after a start all that is in the fast engine is dirty.
 *
 * One engine may keep the journal itself (rocksdb). Then the other's records have no order among themselves,
 * of which it is told (store.keyed). */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "cluster/partition.h"
#include "store/tiered_state.h"

/* ---- the record of a promotion ---- */

struct promotion_key {
    uint64_t inode;
    uint64_t index;
};
static_assert(sizeof(struct promotion_key) == 16, "on disk");

static struct promotion_key key_of(const struct tier_chunk *chunk)
{
    return (struct promotion_key){htole64(chunk->entry.node.inode), htole64(chunk->entry.node.index)};
}

void tier_rise(struct tiered *tiered, struct tier_chunk *chunk)
{
    if (!tier_fast_lasts(tiered))
        return;
    struct promotion_key key = key_of(chunk);
    journal_append(tiered->journal, JOURNAL_PROMOTION, inode_partition(chunk->entry.node.inode), &key,
                   sizeof(key), 0);
    list_push_back(&tiered->rising, &chunk->rising);
}

void tier_risen(struct tiered *tiered, struct tier_chunk *chunk)
{
    if (list_empty(&chunk->rising))
        return;
    struct promotion_key key = key_of(chunk);
    list_remove(&chunk->rising);
    journal_append_removal(tiered->journal, JOURNAL_PROMOTION, inode_partition(chunk->entry.node.inode), &key,
                           sizeof(key));
}

/* There is at most one while the server runs. */
static int snapshot_promotion(struct tiered *tiered, struct journal_snapshot *snapshot)
{
    if (list_empty(&tiered->rising))
        return 0;
    const struct tier_chunk *chunk = container_of(tiered->rising.next, struct tier_chunk, rising);
    struct promotion_key key = key_of(chunk);
    struct journal_record record = {.kind = JOURNAL_PROMOTION,
                                    .partition = (uint16_t)inode_partition(chunk->entry.node.inode),
                                    .key = &key,
                                    .key_length = sizeof(key)};
    return journal_snapshot_add(snapshot, &record);
}

/* ---- recovery ---- */

static int replay_promotion(struct tiered *tiered, const struct journal_record *record)
{
    struct promotion_key key;
    if (record->key_length != sizeof(key) || record->value_length != 0)
        return -EBADMSG;
    memcpy(&key, record->key, sizeof(key));
    uint64_t inode = le64toh(key.inode), index = le64toh(key.index);
    struct tier_chunk *chunk =
        record->removed ? tier_find(tiered, inode, index) : tier_make(tiered, inode, index);
    if (chunk == NULL)
        return record->removed ? 0 : -ENOMEM;
    list_remove(&chunk->rising);
    if (!record->removed)
        list_push_back(&tiered->rising, &chunk->rising);
    tier_settle(tiered, chunk);
    return 0;
}

int tiered_replay(struct store *base, const struct journal_record *record)
{
    struct tiered *tiered = tiered_of(base);
    struct journal_record fast = *record;
    if (record->kind == JOURNAL_CHUNK || record->kind == JOURNAL_STORE)
        return tiered->slow->operations->replay(tiered->slow, record);
    if (!tier_fast_lasts(tiered))
        return -EBADMSG;
    if (record->kind == JOURNAL_PROMOTION)
        return replay_promotion(tiered, record);
    fast.kind = record->kind == JOURNAL_FAST_CHUNK ? JOURNAL_CHUNK : JOURNAL_STORE;
    return tiered->fast->operations->replay(tiered->fast, &fast);
}

/* Copies that did not become the chunk go. */
static int end_promotions(struct tiered *tiered)
{
    struct store *fast = tiered->fast;
    int status = 0;
    while (!list_empty(&tiered->rising) && status == 0) {
        struct tier_chunk *chunk = container_of(tiered->rising.next, struct tier_chunk, rising);
        status = fast->operations->truncate(fast, chunk->entry.node.inode, chunk->entry.node.index, 0);
        if (status == 0)
            tier_risen(tiered, chunk);
        tier_settle(tiered, chunk);
    }
    return status;
}

static int adopt_all(struct tiered *tiered)
{
    struct store *fast = tiered->fast;
    struct store_cursor cursor = {0};
    while (fast->operations->next(fast, &cursor)) {
        struct tier_chunk *chunk = tier_make(tiered, cursor.inode, cursor.index);
        if (chunk == NULL)
            return -ENOMEM;
        tier_adopt(tiered, chunk);
    }
    return 0;
}

int tiered_start(struct store *base, struct journal *journal)
{
    struct tiered *tiered = tiered_of(base);
    struct store *fast = tiered->fast, *slow = tiered->slow;
    tiered->journal = journal;
    int status = tier_fast_lasts(tiered) ? fast->operations->start(fast, journal) : 0;
    if (status != 0)
        return status;
    tiered->fast_started = tier_fast_lasts(tiered);
    status = slow->operations->start(slow, journal); /* may suspend, and the journal may commit */
    tiered->slow_started = status == 0;
    if (status == 0)
        status = end_promotions(tiered);
    return status == 0 && tier_fast_lasts(tiered) ? adopt_all(tiered) : status;
}

/* ---- the journal's calls ---- */

const struct journal_backend *tiered_journal_backend(struct store *base)
{
    struct tiered *tiered = tiered_of(base);
    struct store *store = tiered->slow->operations->journal_backend != NULL ? tiered->slow : tiered->fast;
    return store->operations->journal_backend(store);
}

int tiered_prepare(struct store *base)
{
    struct tiered *tiered = tiered_of(base);
    struct store *fast = tiered->fast, *slow = tiered->slow;
    int status = 0;
    if (!tier_fast_lasts(tiered))
        status = tier_write_back_all(tiered);
    else if (fast->operations->prepare != NULL)
        status = fast->operations->prepare(fast);
    if (status == 0 && slow->operations->prepare != NULL)
        status = slow->operations->prepare(slow);
    return status;
}

void tiered_stop(struct store *base)
{
    struct tiered *tiered = tiered_of(base);
    struct store *fast = tiered->fast, *slow = tiered->slow;
    tier_stop(tiered);
    if (!tier_fast_lasts(tiered) && tier_write_back_all(tiered) != 0)
        log_error("engine tiered: what is only in the engine %s cannot be written to %s: it is lost",
                  fast->operations->name, slow->operations->name);
    if (fast->operations->stop != NULL)
        fast->operations->stop(fast);
    if (slow->operations->stop != NULL)
        slow->operations->stop(slow);
}

int tiered_flush(struct store *base)
{
    struct tiered *tiered = tiered_of(base);
    struct store *fast = tiered->fast, *slow = tiered->slow;
    int status = tiered->fast_started ? fast->operations->flush(fast) : 0;
    return status == 0 && tiered->slow_started ? slow->operations->flush(slow) : status;
}

void tiered_committed(struct store *base, uint64_t position)
{
    struct tiered *tiered = tiered_of(base);
    struct store *fast = tiered->fast, *slow = tiered->slow;
    if (tiered->fast_started)
        fast->operations->committed(fast, position);
    if (tiered->slow_started)
        slow->operations->committed(slow, position);
}

int tiered_snapshot(struct store *base, struct journal_snapshot *snapshot)
{
    struct tiered *tiered = tiered_of(base);
    struct store *fast = tiered->fast, *slow = tiered->slow;
    int status = snapshot_promotion(tiered, snapshot);
    if (status == 0 && fast->operations->snapshot != NULL)
        status = fast->operations->snapshot(fast, snapshot);
    return status == 0 ? slow->operations->snapshot(slow, snapshot) : status;
}

/* ---- scrub ---- */

/* Every copy on a device counts, since the next demotion may make any of them the chunk. */
static int scrub_both(struct tiered *tiered, uint64_t inode, uint64_t index, struct store_scrub *found)
{
    struct store *fast = tiered->fast, *slow = tiered->slow;
    struct store_scrub below = {0};
    *found = (struct store_scrub){0};
    int above_status = fast->operations->scrub(fast, inode, index, found);
    if (above_status != 0 && above_status != -ENOENT)
        return above_status;
    int status = slow->operations->scrub(slow, inode, index, &below);
    if (status != 0)
        return status == -ENOENT ? above_status : status;
    if (found->blocks == 0)
        found->offset = below.offset;
    found->bytes += below.bytes;
    found->blocks += below.blocks;
    return 0;
}

/* What is on the devices; a chunk that is only in a fast engine without one is brought there first. */
int tiered_scrub(struct store *base, uint64_t inode, uint64_t index, struct store_scrub *found)
{
    struct tiered *tiered = tiered_of(base);
    if (tier_fast_lasts(tiered))
        return scrub_both(tiered, inode, index, found);
    const struct tier_chunk *chunk = tier_find(tiered, inode, index);
    if (chunk != NULL && chunk->alone) {
        int status = tier_write_back_all(tiered);
        if (status != 0)
            return status;
    }
    return tiered->slow->operations->scrub(tiered->slow, inode, index, found);
}

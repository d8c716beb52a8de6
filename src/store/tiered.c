/* The engine "tiered": a fast engine over a slow one, each of them any other of its kind.
 *
 * The slow one has room for everything; the fast one holds some chunks as well. New chunks go to the fast
 * engine while it has room; when it has none they go straight to the slow one (a spill). Chunks that are read
 * again and again from the slow one are promoted, those that are cold are demoted (tiered_move.c). A chunk
 * that is resident, that is, in the fast engine, is served from there.
 *
 * What is promised. A write into the fast engine is accepted only if the slow one will have room for it, so
 * writing back never fails for want of space. Where the slow engine is persistent and the fast one is not,
 * prepare() writes back what is dirty; the server calls it before it has the journal commit, so what fsync
 * (or close, or write, by store.durability) has answered for is in the slow engine, durable. Whatever is
 * dirty for half a second is written back in the background: on durability = interval so much longer may
 * bytes be missing after a crash. Since nothing durable is in the fast engine only, a start finds everything
 * in the slow one. Where both are persistent, what is in the fast one is durable there (tiered_records.c).
 *
 * Taking away (truncate, remove, clear) never waits: it is done to both engines in one step, and raises the
 * chunk's generation, at which a movement under way gives up. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "store/tiered_state.h"

#define PAGE_SHIFT 12
#define SPARE (UINT64_C(8) << 20)

/* A transfer under way: store_io.engine. */
struct tier_io {
    struct store_io inner;
    struct tier_chunk *chunk;
    uint64_t claimed;
    bool fast;
    bool write;
};

/* ---- chunks ---- */

struct tier_chunk *tier_find(struct tiered *tiered, uint64_t inode, uint64_t index)
{
    struct chunk_entry *entry = chunk_index_find(&tiered->index, inode, index);
    return entry == NULL ? NULL : container_of(entry, struct tier_chunk, entry);
}

struct tier_chunk *tier_make(struct tiered *tiered, uint64_t inode, uint64_t index)
{
    struct tier_chunk *chunk = tier_find(tiered, inode, index);
    if (chunk != NULL)
        return chunk;
    chunk = calloc(1, sizeof(*chunk));
    if (chunk == NULL)
        return NULL;
    list_init(&chunk->link);
    list_init(&chunk->dirty);
    list_init(&chunk->wanted);
    list_init(&chunk->rising);
    wait_queue_init(&chunk->released);
    if (chunk_index_insert(&tiered->index, &chunk->entry, inode, index) != 0) {
        free(chunk);
        return NULL;
    }
    return chunk;
}

static uint32_t length_in(struct store *store, const struct tier_chunk *chunk)
{
    return store->operations->chunk_length(store, chunk->entry.node.inode, chunk->entry.node.index);
}

void tier_settle(struct tiered *tiered, struct tier_chunk *chunk)
{
    if (chunk->users > 0 || chunk->moving || !list_empty(&chunk->rising))
        return;
    if (chunk->resident && length_in(tiered->fast, chunk) == 0) { /* no write came to its end */
        chunk->resident = false;
        tier_clean(tiered, chunk);
        tier_queue_set(tiered, chunk, TIER_NONE);
    }
    if (chunk->resident || chunk->queue == TIER_GHOST)
        return;
    if (!list_empty(&chunk->wanted)) {
        list_remove(&chunk->wanted);
        tiered->wanted_count--;
    }
    chunk_index_remove(&tiered->index, &chunk->entry);
    free(chunk);
}

/* The smallest range that contains both; either may be empty. */
static void hull(uint32_t *start, uint32_t *end, uint32_t other_start, uint32_t other_end)
{
    if (other_start >= other_end)
        return;
    bool empty = *start >= *end;
    if (empty || other_start < *start)
        *start = other_start;
    if (empty || other_end > *end)
        *end = other_end;
}

static uint64_t missing(const struct tiered *tiered, const struct tier_chunk *chunk, uint32_t start,
                        uint32_t end)
{
    struct store *slow = tiered->slow;
    return start >= end ? 0
                        : slow->operations->missing(slow, chunk->entry.node.inode, chunk->entry.node.index,
                                                    start, end - start);
}

/* The same, but for what the slow engine has counted already because it is being written. */
static uint64_t uncounted(const struct tiered *tiered, const struct tier_chunk *chunk, uint32_t start,
                          uint32_t end)
{
    uint32_t before = chunk->piece_start < end ? chunk->piece_start : end;
    uint32_t behind = chunk->piece_end > start ? chunk->piece_end : start;
    return chunk->piece_start >= chunk->piece_end
               ? missing(tiered, chunk, start, end)
               : missing(tiered, chunk, start, before) + missing(tiered, chunk, behind, end);
}

void tier_account(struct tiered *tiered, struct tier_chunk *chunk)
{
    struct store *slow = tiered->slow;
    uint32_t start = chunk->dirty_start, end = chunk->dirty_end;
    hull(&start, &end, chunk->copy_start, chunk->copy_end);
    uint64_t promised = uncounted(tiered, chunk, start, end);
    tiered->promised += promised;
    tiered->promised -= chunk->promised;
    chunk->promised = promised;
    chunk_entry_hold(&chunk->entry, (uint32_t)(missing(tiered, chunk, start, end) >> PAGE_SHIFT));
    bool alone = chunk->resident && length_in(slow, chunk) == 0 && length_in(tiered->fast, chunk) > 0;
    tiered->alone += alone;
    tiered->alone -= chunk->alone;
    chunk->alone = alone;
}

static void line_up(struct tiered *tiered, struct tier_chunk *chunk, uint64_t sequence)
{
    struct list *before = tiered->dirty.prev;
    while (before != &tiered->dirty && container_of(before, struct tier_chunk, dirty)->sequence > sequence)
        before = before->prev;
    chunk->sequence = sequence;
    list_push_front(before, &chunk->dirty);
}

void tier_dirty_since(struct tiered *tiered, struct tier_chunk *chunk, uint32_t start, uint32_t end,
                      uint64_t sequence)
{
    hull(&chunk->dirty_start, &chunk->dirty_end, start, end);
    if (list_empty(&chunk->dirty))
        line_up(tiered, chunk, sequence);
    else if (chunk->copying && chunk->again == 0)
        chunk->again = sequence;
    tier_account(tiered, chunk);
    tier_work(tiered);
}

void tier_dirty(struct tiered *tiered, struct tier_chunk *chunk, uint32_t start, uint32_t end)
{
    tier_dirty_since(tiered, chunk, start, end, ++tiered->sequence);
}

void tier_clean(struct tiered *tiered, struct tier_chunk *chunk)
{
    chunk->dirty_start = chunk->dirty_end = 0;
    if (!chunk->copying)
        list_remove(&chunk->dirty);
    tier_account(tiered, chunk);
}

/* ---- beginning and ending transfers ---- */

static void io_end(struct tiered *tiered, struct store_io *io, struct tier_io *tier)
{
    struct tier_chunk *chunk = tier->chunk;
    bool write = tier->write;
    tiered->claimed -= tier->claimed;
    chunk->users--;
    chunk->fast_writers -= write && tier->fast;
    chunk->slow_writers -= write && !tier->fast;
    free(tier);
    io->engine = NULL;
    if (write)
        tier_account(tiered, chunk);
    tier_settle(tiered, chunk);
}

/* The caller's view of what the engine below has begun. */
static void io_show(struct store_io *io, const struct tier_io *tier)
{
    io->length = tier->inner.length;
    io->count = tier->inner.count;
    memcpy(io->vector, tier->inner.vector, tier->inner.count * sizeof(io->vector[0]));
}

/* Counts the caller among the chunk's users; it is not moving then. Who writes goes where others do who are
 * at it. */
static int io_enter(struct tiered *tiered, struct store_io *io, bool write, struct tier_io **result)
{
    struct tier_io *tier = calloc(1, sizeof(*tier));
    struct tier_chunk *chunk = tier == NULL ? NULL : tier_make(tiered, io->inode, io->index);
    if (chunk == NULL) {
        free(tier);
        return -ENOMEM;
    }
    tier->inner =
        (struct store_io){.inode = io->inode, .index = io->index, .offset = io->offset, .length = io->length};
    tier->chunk = chunk;
    tier->write = write;
    chunk->users++;
    int status = tier_wait(tiered, chunk);
    tier->fast = chunk->resident || (write && chunk->fast_writers > 0);
    chunk->fast_writers += write && tier->fast;
    chunk->slow_writers += write && !tier->fast;
    io->engine = tier;
    if (status != 0)
        io_end(tiered, io, tier);
    else
        *result = tier;
    return status;
}

/* ---- writing ---- */

/* Whether the slow engine will have room for what the write makes dirty. */
static int claim(struct tiered *tiered, struct tier_io *tier)
{
    struct tier_chunk *chunk = tier->chunk;
    struct store *slow = tiered->slow;
    uint32_t start = tier->inner.offset, end = start + tier->inner.length;
    hull(&start, &end, chunk->dirty_start, chunk->dirty_end);
    hull(&start, &end, chunk->copy_start, chunk->copy_end);
    uint64_t lacks = uncounted(tiered, chunk, start, end);
    uint64_t more = lacks > chunk->promised ? lacks - chunk->promised : 0;
    struct store_statistics statistics;
    slow->operations->statistics(slow, &statistics);
    if (statistics.used + tiered->promised + tiered->claimed + more > tiered->capacity)
        return -ENOSPC;
    tier->claimed = more;
    tiered->claimed += more;
    return 0;
}

/* The writer goes to the other engine. */
static void turn(struct tier_io *tier, bool fast)
{
    struct tier_chunk *chunk = tier->chunk;
    chunk->fast_writers = chunk->fast_writers + fast - tier->fast;
    chunk->slow_writers = chunk->slow_writers + tier->fast - fast;
    tier->fast = fast;
}

static int begin_slow(struct tiered *tiered, struct tier_io *tier, uint32_t chunk_size)
{
    struct store *slow = tiered->slow;
    turn(tier, false);
    int status = claim(tiered, tier);
    if (status != 0)
        return status;
    tiered->claimed -= tier->claimed; /* the engine itself claims it from here on */
    tier->claimed = 0;
    return slow->operations->write_begin(slow, &tier->inner, chunk_size);
}

/* The fast engine, or its device, is full to the brim: others are demoted, or this chunk if it is in there. A
 * new one goes down. */
static int begin_crowded(struct tiered *tiered, struct tier_io *tier, uint32_t chunk_size)
{
    struct tier_chunk *chunk = tier->chunk;
    int status = -ENOSPC;
    if (tier_make_room(tiered, tier->inner.length))
        status = tiered->fast->operations->write_begin(tiered->fast, &tier->inner, chunk_size);
    if (status != -ENOSPC || chunk->users > 1)
        return status;
    if (length_in(tiered->fast, chunk) > 0) {
        status = tier_demote(tiered, chunk, 1);
    } else {
        chunk->resident = false;
        tiered->counters.spills++;
        status = 0;
    }
    tiered->claimed -= tier->claimed;
    tier->claimed = 0;
    return status == 0 ? begin_slow(tiered, tier, chunk_size) : status == -EBUSY ? -ENOSPC : status;
}

static int begin_fast(struct tiered *tiered, struct tier_io *tier, uint32_t chunk_size)
{
    struct tier_chunk *chunk = tier->chunk;
    turn(tier, true);
    int status = claim(tiered, tier);
    if (status != 0)
        return status;
    status = tiered->fast->operations->write_begin(tiered->fast, &tier->inner, chunk_size);
    if (status == -ENOSPC)
        status = begin_crowded(tiered, tier, chunk_size);
    if (status == 0 && tier->fast) {
        chunk->chunk_size = chunk_size;
        chunk->resident = true; /* until this write is over, at least */
        if (chunk->queue == TIER_NONE || chunk->queue == TIER_GHOST)
            tier_queue_set(tiered, chunk, TIER_PROBATION);
        else
            tier_touch(tiered, chunk);
    }
    return status;
}

static int tiered_write_begin(struct store *base, struct store_io *io, uint32_t chunk_size)
{
    struct tiered *tiered = tiered_of(base);
    struct tier_io *tier;
    io->count = 0;
    if (io->offset > chunk_size || io->length > chunk_size - io->offset)
        return -EINVAL;
    io->engine = NULL;
    if (io->length == 0)
        return 0;
    int status = io_enter(tiered, io, true, &tier);
    if (status != 0)
        return status;
    struct tier_chunk *chunk = tier->chunk;
    bool below = !tier->fast && (chunk->slow_writers > 1 || length_in(tiered->slow, chunk) > 0);
    bool slow = tier_wish(tiered, chunk) == STORE_TIER_SLOW;
    if (!below && (tier->fast || (!slow && tier_make_room(tiered, io->length)))) {
        status = begin_fast(tiered, tier, chunk_size);
    } else {
        tiered->counters.spills += !below && !slow;
        status = begin_slow(tiered, tier, chunk_size);
    }
    if (status != 0)
        io_end(tiered, io, tier);
    else
        io_show(io, tier);
    return status;
}

static struct store *engine_of(struct tiered *tiered, const struct tier_io *tier)
{
    return tier->fast ? tiered->fast : tiered->slow;
}

static int tiered_write_commit(struct store *base, struct store_io *io)
{
    struct tiered *tiered = tiered_of(base);
    struct tier_io *tier = io->engine;
    if (tier == NULL)
        return 0;
    struct store *engine = engine_of(tiered, tier);
    int status = engine->operations->write_commit(engine, &tier->inner);
    if (status == 0 && tier->fast) {
        tier_dirty(tiered, tier->chunk, io->offset, io->offset + io->length);
        if (tiered->journal != NULL && !tier_fast_lasts(tiered))
            journal_touch(tiered->journal);
    }
    io_end(tiered, io, tier);
    return status;
}

static void tiered_write_abort(struct store *base, struct store_io *io)
{
    struct tiered *tiered = tiered_of(base);
    struct tier_io *tier = io->engine;
    if (tier == NULL)
        return;
    struct store *engine = engine_of(tiered, tier);
    engine->operations->write_abort(engine, &tier->inner);
    io_end(tiered, io, tier);
}

/* ---- reading ---- */

static bool overlap(uint32_t start, uint32_t end, uint32_t other_start, uint32_t other_end)
{
    return start < other_end && other_start < end;
}

/* Whether the slow engine has these bytes of a resident chunk as they are. */
static bool is_below(struct tiered *tiered, const struct tier_chunk *chunk, uint32_t start, uint32_t end)
{
    uint32_t length = length_in(tiered->fast, chunk);
    return !overlap(start, end, chunk->dirty_start, chunk->dirty_end) &&
           !overlap(start, end, chunk->copy_start, chunk->copy_end) &&
           length_in(tiered->slow, chunk) >= (end < length ? end : length);
}

/* The fast engine cannot read its copy: the slow one's serves where it is the same. The copy goes if nothing
 * else needs it. -EIO: it is not the same. */
static int read_below(struct tiered *tiered, const struct store_io *io, struct tier_io *tier)
{
    struct tier_chunk *chunk = tier->chunk;
    if (!chunk->resident || !is_below(tiered, chunk, io->offset, io->offset + io->length))
        return -EIO;
    log_warning("engine tiered: inode %" PRIu64 ", chunk %" PRIu64
                " is damaged in the engine %s; the engine %s has these bytes, too",
                io->inode, io->index, tiered->fast->operations->name, tiered->slow->operations->name);
    if (chunk->dirty_start >= chunk->dirty_end)
        tier_demote(tiered, chunk, 1);
    tier->fast = false;
    tier->inner =
        (struct store_io){.inode = io->inode, .index = io->index, .offset = io->offset, .length = io->length};
    return tiered->slow->operations->read_begin(tiered->slow, &tier->inner);
}

static int tiered_read_begin(struct store *base, struct store_io *io)
{
    struct tiered *tiered = tiered_of(base);
    struct tier_io *tier;
    io->count = 0;
    io->engine = NULL;
    if (tier_find(tiered, io->inode, io->index) == NULL &&
        tiered->slow->operations->chunk_length(tiered->slow, io->inode, io->index) == 0) {
        io->length = 0;
        return 0;
    }
    int status = io_enter(tiered, io, false, &tier);
    if (status != 0)
        return status;
    struct store *engine = engine_of(tiered, tier);
    status = engine->operations->read_begin(engine, &tier->inner);
    if (status == -EIO && tier->fast) {
        status = read_below(tiered, io, tier);
        engine = engine_of(tiered, tier);
    }
    if (status != 0) {
        io_end(tiered, io, tier);
        return status;
    }
    io_show(io, tier);
    if (io->length == 0) {
        engine->operations->read_end(engine, &tier->inner);
        io->count = 0;
        io_end(tiered, io, tier);
        return 0;
    }
    if (tier->fast) {
        tiered->counters.hits++;
        tier_touch(tiered, tier->chunk);
    } else {
        tiered->counters.misses++;
        if (!tier->chunk->resident)
            tier_missed(tiered, tier->chunk);
    }
    return 0;
}

static void tiered_read_end(struct store *base, struct store_io *io)
{
    struct tiered *tiered = tiered_of(base);
    struct tier_io *tier = io->engine;
    if (tier == NULL)
        return;
    struct store *engine = engine_of(tiered, tier);
    engine->operations->read_end(engine, &tier->inner);
    io_end(tiered, io, tier);
}

/* ---- taking away ---- */

/* After both engines have done the same to a resident chunk: where one has made it shorter than the other,
 * the fast one is right. */
static void reconcile(struct tiered *tiered, struct tier_chunk *chunk)
{
    struct store *slow = tiered->slow;
    chunk->generation++;
    if (!chunk->resident) {
        tier_account(tiered, chunk);
        return;
    }
    uint32_t above = length_in(tiered->fast, chunk), below = length_in(slow, chunk);
    if (above == 0 && chunk->users == 0 && !chunk->moving && !chunk->copying) {
        chunk->resident = false; /* what is left, if only a reservation, is in the slow one */
        tier_clean(tiered, chunk);
        tier_queue_set(tiered, chunk, TIER_NONE);
        return;
    }
    if (below > above)
        slow->operations->truncate(slow, chunk->entry.node.inode, chunk->entry.node.index, above);
    if (chunk->dirty_end > above)
        chunk->dirty_end = above;
    if (chunk->dirty_start >= chunk->dirty_end)
        tier_clean(tiered, chunk);
    if (below < above)
        tier_dirty(tiered, chunk, below, above);
    tier_account(tiered, chunk);
}

static int tiered_truncate(struct store *base, uint64_t inode, uint64_t index, uint32_t length)
{
    struct tiered *tiered = tiered_of(base);
    int status = tiered->fast->operations->truncate(tiered->fast, inode, index, length);
    int below = tiered->slow->operations->truncate(tiered->slow, inode, index, length);
    struct tier_chunk *chunk = tier_find(tiered, inode, index);
    if (chunk != NULL) {
        reconcile(tiered, chunk);
        tier_settle(tiered, chunk);
    }
    return status == 0 ? below : status;
}

static void forget(void *owner, struct chunk_entry *entry)
{
    struct tiered *tiered = owner;
    struct tier_chunk *chunk = container_of(entry, struct tier_chunk, entry);
    chunk->generation++;
    chunk->resident = false;
    tier_clean(tiered, chunk);
    tier_queue_set(tiered, chunk, TIER_NONE);
    tier_settle(tiered, chunk);
}

static int tiered_remove(struct store *base, uint64_t inode, uint64_t first)
{
    struct tiered *tiered = tiered_of(base);
    int status = tiered->fast->operations->remove(tiered->fast, inode, first);
    int below = tiered->slow->operations->remove(tiered->slow, inode, first);
    chunk_index_visit(&tiered->index, inode, first, UINT64_MAX, forget, tiered);
    return status == 0 ? below : status;
}

static void reconcile_visited(void *owner, struct chunk_entry *entry)
{
    struct tier_chunk *chunk = container_of(entry, struct tier_chunk, entry);
    reconcile(owner, chunk);
    tier_settle(owner, chunk);
}

static int tiered_clear(struct store *base, const struct store_range *range, bool keep)
{
    struct tiered *tiered = tiered_of(base);
    if (range->start >= range->end)
        return 0;
    int status = tiered->fast->operations->clear(tiered->fast, range, keep);
    int below = tiered->slow->operations->clear(tiered->slow, range, keep);
    chunk_index_visit(&tiered->index, range->inode, range->start >> range->chunk_shift,
                      (range->end - 1) >> range->chunk_shift, reconcile_visited, tiered);
    return status == 0 ? below : status;
}

/* ---- reserving, looking ---- */

/* The engine whose bytes are the chunk's. */
static struct store *home(struct tiered *tiered, uint64_t inode, uint64_t index)
{
    const struct tier_chunk *chunk = tier_find(tiered, inode, index);
    return chunk != NULL && chunk->resident ? tiered->fast : tiered->slow;
}

/* Room is what the slow engine has. */
static int tiered_reserve(struct store *base, uint64_t inode, uint64_t index, uint32_t offset,
                          uint32_t length)
{
    struct tiered *tiered = tiered_of(base);
    struct store *slow = tiered->slow;
    struct store_statistics statistics;
    slow->operations->statistics(slow, &statistics);
    struct tier_chunk *chunk = tier_find(tiered, inode, index);
    uint64_t others = tiered->promised + tiered->claimed - (chunk == NULL ? 0 : chunk->promised);
    if (statistics.used + others + slow->operations->missing(slow, inode, index, offset, length) >
        tiered->capacity)
        return -ENOSPC;
    int status = slow->operations->reserve(slow, inode, index, offset, length);
    if (chunk != NULL)
        tier_account(tiered, chunk);
    return status;
}

static uint64_t tiered_missing(struct store *base, uint64_t inode, uint64_t index, uint32_t offset,
                               uint32_t length)
{
    struct store *slow = tiered_of(base)->slow;
    return slow->operations->missing(slow, inode, index, offset, length);
}

static uint64_t tiered_next_chunk(struct store *base, uint64_t inode, uint64_t first)
{
    struct tiered *tiered = tiered_of(base);
    uint64_t above = tiered->fast->operations->next_chunk(tiered->fast, inode, first);
    uint64_t below = tiered->slow->operations->next_chunk(tiered->slow, inode, first);
    return above < below ? above : below;
}

static bool tiered_next(struct store *base, struct store_cursor *cursor)
{
    struct tiered *tiered = tiered_of(base);
    struct store_cursor above = *cursor, below = *cursor;
    bool in_fast = tiered->fast->operations->next(tiered->fast, &above);
    bool in_slow = tiered->slow->operations->next(tiered->slow, &below);
    if (!in_fast && !in_slow)
        return false;
    *cursor = in_fast && (!in_slow || chunk_cursor_precedes(&above, &below)) ? above : below;
    return true;
}

static uint32_t tiered_seek(struct store *base, uint64_t inode, uint64_t index, uint32_t offset, bool hole)
{
    struct store *engine = home(tiered_of(base), inode, index);
    return engine->operations->seek(engine, inode, index, offset, hole);
}

static uint64_t tiered_held(struct store *base, uint64_t inode)
{
    struct tiered *tiered = tiered_of(base);
    const struct chunk_file *file = chunk_index_file(&tiered->index, inode);
    return tiered->slow->operations->held(tiered->slow, inode) +
           (file == NULL ? 0 : file->held << PAGE_SHIFT);
}

static uint32_t tiered_chunk_length(struct store *base, uint64_t inode, uint64_t index)
{
    struct store *engine = home(tiered_of(base), inode, index);
    return engine->operations->chunk_length(engine, inode, index);
}

static void tiered_statistics(struct store *base, struct store_statistics *statistics)
{
    struct tiered *tiered = tiered_of(base);
    struct store_statistics fast;
    tiered->fast->operations->statistics(tiered->fast, &fast);
    tiered->slow->operations->statistics(tiered->slow, statistics);
    statistics->used += tiered->promised;
    statistics->capacity = tiered->capacity;
    statistics->chunks += tiered->alone;
    statistics->taken = (statistics->taken > statistics->memory ? statistics->taken : statistics->memory) +
                        (fast.taken > fast.memory ? fast.taken : fast.memory);
    statistics->memory += fast.memory + chunk_index_memory(&tiered->index, sizeof(struct tier_chunk));
    statistics->tiers = tiered->counters;
    statistics->tiers.used = fast.used;
}

/* ---- pinning ---- */

static int tiered_pin(struct store *base, uint64_t inode, enum store_tier tier)
{
    struct tiered *tiered = tiered_of(base);
    if (tier == STORE_TIER_ANY) {
        map_remove(&tiered->pinned, inode);
        return 0;
    }
    int status = map_put(&tiered->pinned, inode, (void *)(uintptr_t)tier);
    uint64_t at = 0;
    while (status == 0 && (at = tiered_next_chunk(base, inode, at)) != UINT64_MAX) {
        struct tier_chunk *chunk =
            tier == STORE_TIER_FAST ? tier_make(tiered, inode, at) : tier_find(tiered, inode, at);
        if (chunk == NULL && tier == STORE_TIER_FAST)
            status = -ENOMEM;
        else if (chunk != NULL && chunk->resident == (tier == STORE_TIER_SLOW))
            tier_order(tiered, chunk);
        at++;
    }
    tier_work(tiered);
    return status;
}

/* ---- life ---- */

static void dispose(void *owner, struct chunk_entry *entry)
{
    (void)owner;
    free(container_of(entry, struct tier_chunk, entry));
}

static void tiered_destroy(struct store *base)
{
    struct tiered *tiered = tiered_of(base);
    tier_stop(tiered);
    chunk_index_free(&tiered->index, dispose, tiered);
    map_free(&tiered->pinned);
    if (tiered->fast != NULL)
        store_destroy(tiered->fast);
    if (tiered->slow != NULL)
        store_destroy(tiered->slow);
    free(tiered);
}

static int check(const struct store_options *options)
{
    const char *fast = options->fast == NULL ? "" : options->fast;
    const char *slow = options->slow == NULL ? "" : options->slow;
    const struct store_operations *above = store_engine(fast), *below = store_engine(slow);
    if (above == NULL || below == NULL || strcmp(fast, "tiered") == 0 || strcmp(slow, "tiered") == 0 ||
        strcmp(fast, "null") == 0 || strcmp(slow, "null") == 0) {
        log_error(
            "engine tiered: \"%s\" over \"%s\" is impossible: set store.fast and store.slow to engines that "
            "keep what they are given",
            fast, slow);
        return -EINVAL;
    }
    if (above->persistent && !below->persistent) {
        log_error("engine tiered: the engine %s keeps nothing, so %s cannot be over it: set store.slow to a "
                  "persistent engine, or store.fast to mem",
                  slow, fast);
        return -EINVAL;
    }
    bool apart = options->fast_disk != NULL && options->fast_disk != options->disk;
    if (above->persistent && above == below && (!apart || above->journal_backend != NULL)) {
        log_error("engine tiered: %s over %s is impossible%s", fast, slow,
                  above->journal_backend != NULL ? ": each wants to have the journal"
                                                 : " in one directory: set store.fast_path");
        return -EINVAL;
    }
    if (options->fast_capacity == 0 || options->fast_capacity > options->capacity) {
        log_error("engine tiered: a fast engine of %" PRIu64 " bytes over %" PRIu64
                  " is impossible: set store.fast_capacity below store.capacity",
                  options->fast_capacity, options->capacity);
        return -EINVAL;
    }
    return 0;
}

/* Calls that the engines do not have are not there. */
static void choose_operations(struct tiered *tiered)
{
    const struct store_operations *slow = tiered->slow->operations, *fast = tiered->fast->operations;
    struct store_operations *own = &tiered->operations;
    *own = store_tiered_operations;
    own->persistent = slow->persistent;
    own->in_place = slow->in_place || fast->in_place;
    if (slow->journal_backend == NULL && fast->journal_backend == NULL)
        own->journal_backend = NULL;
    tiered->fast->fast = true;
    tiered->fast->keyed = slow->journal_backend != NULL;
    tiered->slow->keyed = fast->journal_backend != NULL;
    if (slow->persistent)
        return;
    own->replay = NULL;
    own->start = NULL;
    own->stop = NULL;
    own->prepare = NULL;
    own->flush = NULL;
    own->committed = NULL;
    own->snapshot = NULL;
    own->scrub = NULL;
}

static int tiered_create(const struct store_options *options, struct store **made)
{
    int status = check(options);
    if (status != 0)
        return status;
    struct tiered *tiered = calloc(1, sizeof(*tiered));
    if (tiered == NULL)
        return -ENOMEM;
    tiered->capacity = options->capacity;
    tiered->fast_capacity = options->fast_capacity;
    for (int i = 0; i < TIER_QUEUES; i++)
        list_init(&tiered->queues[i]);
    list_init(&tiered->dirty);
    list_init(&tiered->wanted);
    list_init(&tiered->rising);
    map_init(&tiered->pinned);
    tiered->store.loop = options->loop;
    status = chunk_index_init(&tiered->index);
    if (status != 0) {
        free(tiered);
        return status;
    }
    struct store_options fast = *options, slow = *options;
    fast.engine = options->fast;
    fast.disk = options->fast_disk != NULL ? options->fast_disk : options->disk;
    fast.capacity = options->fast_capacity + options->fast_capacity / 4 + SPARE;
    slow.engine = options->slow;
    slow.prefault = false;
    status = store_create(&fast, &tiered->fast);
    if (status == 0)
        status = store_create(&slow, &tiered->slow);
    if (status != 0) {
        tiered_destroy(&tiered->store);
        return status;
    }
    choose_operations(tiered);
    tiered->store.operations = &tiered->operations;
    *made = &tiered->store;
    return 0;
}

const struct store_operations store_tiered_operations = {
    .name = "tiered",
    .persistent = true, /* an instance is what its slow engine is */
    .create = tiered_create,
    .destroy = tiered_destroy,
    .write_begin = tiered_write_begin,
    .write_commit = tiered_write_commit,
    .write_abort = tiered_write_abort,
    .read_begin = tiered_read_begin,
    .read_end = tiered_read_end,
    .truncate = tiered_truncate,
    .remove = tiered_remove,
    .statistics = tiered_statistics,
    .chunk_length = tiered_chunk_length,
    .reserve = tiered_reserve,
    .missing = tiered_missing,
    .clear = tiered_clear,
    .next_chunk = tiered_next_chunk,
    .seek = tiered_seek,
    .held = tiered_held,
    .next = tiered_next,
    .pin = tiered_pin,
    .journal_backend = tiered_journal_backend,
    .replay = tiered_replay,
    .start = tiered_start,
    .stop = tiered_stop,
    .prepare = tiered_prepare,
    .flush = tiered_flush,
    .committed = tiered_committed,
    .snapshot = tiered_snapshot,
    .scrub = tiered_scrub,
};

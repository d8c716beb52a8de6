/* Which chunks are in the fast engine, and how they get there and away.
 *
 * The policy is 2Q (Johnson and Shasha, 1994), with chunks for pages. New chunks come into a queue of
 * probation, first in, first out; what is demoted from there leaves its name behind in a list of ghosts. A
 * chunk of the slow engine that is read has its name put there, too. A read of a chunk whose name is there
 * promotes it into the main queue, which is in the order of use, so one pass over much data promotes nothing
 * and displaces nothing. Chunks are demoted from probation while a quarter or more are there, otherwise from
 * the main queue. Of inodes that are pinned, chunks are promoted at once and never demoted, or the other way
 * round.
 *
 * One task moves, one chunk at a time, and lets the loop go on after each: first what waits to be written
 * back, then demotions while the fast engine is more than 15/16 full, then promotions, of which at most 64
 * wait. A chunk that is being promoted or demoted is `moving`: transfers that want to begin wait for that.
 * Demotion takes only chunks that nobody uses, promotion only those that nobody writes. Writing back lets
 * transfers go on; `copying` keeps two of them from doing it at once, and keeps the chunk where it is. What
 * is only in a fast engine that lasts is written back when it is to go, or a little earlier: while the fast
 * engine is more than three quarters full, those that go next are clean, so that there is room at once. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/status.h"
#include "store/tiered_state.h"

#define COPY_BYTES (1u << 20)
#define WANTED_MAX 64u
#define GHOSTS_MIN 1024u
#define CANDIDATES 32u
#define ATTEMPTS 4
#define AGE_NS UINT64_C(500000000)

/* ---- queues ---- */

void tier_queue_set(struct tiered *tiered, struct tier_chunk *chunk, enum tier_queue queue)
{
    list_remove(&chunk->link);
    tiered->counts[chunk->queue]--;
    chunk->queue = queue;
    tiered->counts[queue]++;
    if (queue != TIER_NONE)
        list_push_back(&tiered->queues[queue], &chunk->link);
    uint64_t ghosts = tiered->counts[TIER_PROBATION] + tiered->counts[TIER_MAIN];
    if (tiered->counts[TIER_GHOST] <= (ghosts > GHOSTS_MIN ? ghosts : GHOSTS_MIN))
        return;
    struct tier_chunk *oldest = container_of(tiered->queues[TIER_GHOST].next, struct tier_chunk, link);
    tier_queue_set(tiered, oldest, TIER_NONE);
    tier_settle(tiered, oldest);
}

void tier_touch(struct tiered *tiered, struct tier_chunk *chunk)
{
    if (chunk->queue == TIER_MAIN)
        tier_queue_set(tiered, chunk, TIER_MAIN);
}

enum store_tier tier_wish(const struct tiered *tiered, const struct tier_chunk *chunk)
{
    if (__builtin_expect(tiered->pinned.count == 0, 1))
        return STORE_TIER_ANY;
    return (enum store_tier)(uintptr_t)map_get(&tiered->pinned, chunk->entry.node.inode);
}

void tier_order(struct tiered *tiered, struct tier_chunk *chunk)
{
    if (!list_empty(&chunk->wanted))
        return;
    list_push_back(&tiered->wanted, &chunk->wanted);
    tiered->wanted_count++;
}

void tier_want(struct tiered *tiered, struct tier_chunk *chunk)
{
    if (tiered->wanted_count < WANTED_MAX)
        tier_order(tiered, chunk);
}

void tier_missed(struct tiered *tiered, struct tier_chunk *chunk)
{
    enum store_tier wish = tier_wish(tiered, chunk);
    if (wish == STORE_TIER_SLOW)
        return;
    if (chunk->queue != TIER_GHOST && wish != STORE_TIER_FAST) {
        tier_queue_set(tiered, chunk, TIER_GHOST);
        return;
    }
    tier_want(tiered, chunk);
    tier_work(tiered);
}

/* ---- room ---- */

static uint64_t fast_used(struct tiered *tiered)
{
    struct store_statistics statistics;
    tiered->fast->operations->statistics(tiered->fast, &statistics);
    return statistics.used;
}

static bool is_dirty(const struct tier_chunk *chunk)
{
    return chunk->dirty_start < chunk->dirty_end;
}

enum victim { VICTIM_ANY, VICTIM_CLEAN, VICTIM_DIRTY };

static bool is_victim(const struct tiered *tiered, const struct tier_chunk *chunk, enum victim kind)
{
    if (!chunk->resident || chunk->users > 0 || chunk->moving || chunk->copying ||
        tier_wish(tiered, chunk) == STORE_TIER_FAST)
        return false;
    return kind == VICTIM_ANY || is_dirty(chunk) == (kind == VICTIM_DIRTY);
}

static struct tier_chunk *victim_in(struct tiered *tiered, enum tier_queue queue, enum victim kind)
{
    unsigned left = CANDIDATES;
    list_for_each (node, &tiered->queues[queue]) {
        struct tier_chunk *chunk = container_of(node, struct tier_chunk, link);
        if (left-- == 0)
            return NULL;
        if (is_victim(tiered, chunk, kind))
            return chunk;
    }
    return NULL;
}

static struct tier_chunk *victim(struct tiered *tiered, enum victim kind)
{
    uint64_t probation = tiered->counts[TIER_PROBATION], main_queue = tiered->counts[TIER_MAIN];
    enum tier_queue first = probation * 4 >= probation + main_queue ? TIER_PROBATION : TIER_MAIN;
    struct tier_chunk *chunk = victim_in(tiered, first, kind);
    return chunk != NULL ? chunk : victim_in(tiered, first == TIER_MAIN ? TIER_PROBATION : TIER_MAIN, kind);
}

/* It is clean: the slow engine has all of it. */
static void drop(struct tiered *tiered, struct tier_chunk *chunk)
{
    tiered->fast->operations->truncate(tiered->fast, chunk->entry.node.inode, chunk->entry.node.index, 0);
    chunk->resident = false;
    tier_queue_set(tiered, chunk, chunk->queue == TIER_PROBATION ? TIER_GHOST : TIER_NONE);
    tier_account(tiered, chunk);
    tiered->counters.demotions++;
}

bool tier_make_room(struct tiered *tiered, uint64_t bytes)
{
    struct tier_chunk *chunk;
    while (fast_used(tiered) + bytes > tiered->fast_capacity) {
        chunk = bytes > tiered->fast_capacity ? NULL : victim(tiered, VICTIM_CLEAN);
        if (chunk == NULL) {
            tier_work(tiered);
            return false;
        }
        drop(tiered, chunk);
        tier_settle(tiered, chunk);
    }
    return true;
}

/* ---- copying ---- */

static void move_bytes(const struct store_io *from, const struct store_io *to)
{
    uint32_t i = 0;
    size_t at = 0;
    for (uint32_t j = 0; j < to->count; j++) {
        char *into = to->vector[j].iov_base;
        for (size_t left = to->vector[j].iov_len; left > 0;) {
            size_t here = from->vector[i].iov_len - at;
            if (here > left)
                here = left;
            memcpy(into, (const char *)from->vector[i].iov_base + at, here);
            into += here;
            left -= here;
            at += here;
            if (at == from->vector[i].iov_len) {
                i++;
                at = 0;
            }
        }
    }
}

/* Bytes [start, end) of the chunk, from one engine to the other, in one piece. -EAGAIN: it was cut meanwhile.
 */
static int copy_piece(struct tiered *tiered, struct tier_chunk *chunk, struct store *from, struct store *to,
                      uint32_t start, uint32_t end, uint32_t chunk_size)
{
    struct store_io out = {.inode = chunk->entry.node.inode,
                           .index = chunk->entry.node.index,
                           .offset = start,
                           .length = end - start};
    struct store_io in = out;
    uint32_t generation = chunk->generation;
    int status = to->operations->write_begin(to, &out, chunk_size);
    if (status != 0)
        return status;
    if (to == tiered->slow) {
        chunk->piece_start = start;
        chunk->piece_end = end;
        tier_account(tiered, chunk);
    }
    status = from->operations->read_begin(from, &in);
    if (status == 0) {
        if (in.length == out.length)
            move_bytes(&in, &out);
        else
            status = -EAGAIN;
        from->operations->read_end(from, &in);
    }
    if (status == 0 && generation != chunk->generation)
        status = -EAGAIN;
    if (status != 0) {
        to->operations->write_abort(to, &out);
        return status;
    }
    status = to->operations->write_commit(to, &out);
    if (status == -ESTALE || (status == 0 && generation != chunk->generation))
        status = -EAGAIN;
    return status;
}

/* As copy_piece; leaves holes out. */
static int copy(struct tiered *tiered, struct tier_chunk *chunk, struct store *from, struct store *to,
                uint32_t start, uint32_t end, uint32_t chunk_size)
{
    uint64_t inode = chunk->entry.node.inode, index = chunk->entry.node.index;
    uint32_t at = start;
    int status = 0;
    while (at < end && status == 0) {
        uint32_t data = from->operations->seek(from, inode, index, at, false);
        if (data >= end)
            break;
        uint32_t hole = from->operations->seek(from, inode, index, data, true);
        at = hole < end ? hole : end;
        at = at - data > COPY_BYTES ? data + COPY_BYTES : at;
        status = copy_piece(tiered, chunk, from, to, data, at, chunk_size);
    }
    /* The end of the last byte is the chunk's length. */
    if (status == 0 && at < end && to->operations->chunk_length(to, inode, index) < end)
        status = copy_piece(tiered, chunk, from, to, end - 1, end, chunk_size);
    return status;
}

static void released(struct tiered *tiered, struct tier_chunk *chunk)
{
    wait_queue_wake_all(tiered->store.loop, &chunk->released);
}

int tier_wait(struct tiered *tiered, struct tier_chunk *chunk)
{
    int status = 0;
    while (status == 0 && chunk->moving)
        status = wait_queue_wait(tiered->store.loop, &chunk->released, 0);
    return status;
}

/* ---- down ---- */

/* It stays in the list of dirty chunks until it is clean, so that whoever goes through the list waits for it.
 * What is dirty afterwards is so since before some of them came: it takes its place in the list by that. */
int tier_write_back(struct tiered *tiered, struct tier_chunk *chunk)
{
    uint32_t start = chunk->dirty_start, end = chunk->dirty_end;
    uint64_t sequence = chunk->sequence;
    chunk->again = 0;
    chunk->dirty_start = chunk->dirty_end = 0;
    chunk->copy_start = start;
    chunk->copy_end = end;
    chunk->copying = true;
    int status = copy(tiered, chunk, tiered->fast, tiered->slow, start, end, chunk->chunk_size);
    chunk->copying = false;
    chunk->piece_start = chunk->piece_end = 0;
    chunk->copy_start = chunk->copy_end = 0;
    uint32_t length = tiered->fast->operations->chunk_length(tiered->fast, chunk->entry.node.inode,
                                                             chunk->entry.node.index);
    list_remove(&chunk->dirty);
    if (status != 0 && chunk->resident && start < (end < length ? end : length))
        tier_dirty_since(tiered, chunk, start, end < length ? end : length, sequence);
    else if (is_dirty(chunk))
        tier_dirty_since(tiered, chunk, chunk->dirty_start, chunk->dirty_end, chunk->again);
    tier_account(tiered, chunk);
    tiered->counters.write_backs += status == 0;
    if (status != 0 && status != -EAGAIN && status != -ECANCELED)
        log_error("engine tiered: cannot write inode %" PRIu64 ", chunk %" PRIu64 " to the engine %s: %s",
                  chunk->entry.node.inode, chunk->entry.node.index, tiered->slow->operations->name,
                  status_text(status));
    released(tiered, chunk);
    return status;
}

int tier_demote(struct tiered *tiered, struct tier_chunk *chunk, uint32_t own)
{
    if (chunk->users > own || chunk->moving || chunk->copying || !chunk->resident)
        return -EBUSY;
    int status = 0;
    chunk->moving = true;
    for (int i = 0; i < ATTEMPTS && is_dirty(chunk) && (status == 0 || status == -EAGAIN); i++)
        status = tier_write_back(tiered, chunk);
    if (chunk->resident && !is_dirty(chunk))
        drop(tiered, chunk);
    else if (status == 0 || status == -EAGAIN)
        status = -EBUSY;
    chunk->moving = false;
    released(tiered, chunk);
    if (own == 0)
        tier_settle(tiered, chunk);
    return status == -EAGAIN ? 0 : status;
}

/* Somebody else is copying or moving it. */
static int wait_for_other(struct tiered *tiered, struct tier_chunk *chunk)
{
    chunk->users++;
    int status = wait_queue_wait(tiered->store.loop, &chunk->released, 0);
    chunk->users--;
    tier_settle(tiered, chunk);
    return status;
}

int tier_write_back_all(struct tiered *tiered)
{
    uint64_t last = tiered->sequence;
    int status = 0;
    while (!list_empty(&tiered->dirty) && (status == 0 || status == -EAGAIN)) {
        struct tier_chunk *chunk = container_of(tiered->dirty.next, struct tier_chunk, dirty);
        if (chunk->sequence > last)
            return 0;
        if (chunk->copying || chunk->moving) {
            status = wait_for_other(tiered, chunk);
            continue;
        }
        chunk->users++; /* it is not to go */
        status = tier_write_back(tiered, chunk);
        chunk->users--;
        tier_settle(tiered, chunk);
    }
    return status == -EAGAIN ? 0 : status;
}

/* ---- up ---- */

static uint32_t size_for(uint32_t length)
{
    return length <= 4096 ? 4096 : 1u << (32 - __builtin_clz(length - 1));
}

static bool crowded(struct tiered *tiered)
{
    return fast_used(tiered) > tiered->fast_capacity / 16 * 15;
}

/* One that cannot be written back stands in nobody's way. */
static bool demote_victim(struct tiered *tiered, struct tier_chunk *chunk)
{
    chunk->users++; /* it is not to go */
    int status = tier_demote(tiered, chunk, 1);
    chunk->users--;
    if (status != 0 && chunk->resident)
        tier_queue_set(tiered, chunk, chunk->queue);
    tier_settle(tiered, chunk);
    return status == 0;
}

/* Makes room also by writing back. */
static bool room_for(struct tiered *tiered, uint64_t bytes)
{
    for (int i = 0; i < ATTEMPTS; i++) {
        if (tier_make_room(tiered, bytes))
            return true;
        struct tier_chunk *chunk = victim(tiered, VICTIM_ANY);
        if (chunk == NULL || !demote_victim(tiered, chunk))
            return false;
    }
    return false;
}

static void promote(struct tiered *tiered, struct tier_chunk *chunk)
{
    uint64_t inode = chunk->entry.node.inode, index = chunk->entry.node.index;
    uint32_t length = tiered->slow->operations->chunk_length(tiered->slow, inode, index);
    chunk->users++; /* room_for may suspend */
    bool room = length > 0 && room_for(tiered, length);
    chunk->users--;
    length = tiered->slow->operations->chunk_length(tiered->slow, inode, index);
    if (!room || length == 0 || chunk->resident || chunk->moving || tier_writers(chunk) > 0)
        return;
    uint32_t generation = chunk->generation;
    chunk->moving = true;
    tier_rise(tiered, chunk);
    int status = copy(tiered, chunk, tiered->slow, tiered->fast, 0, length, size_for(length));
    if (status == 0 && generation == chunk->generation) {
        chunk->resident = true;
        chunk->chunk_size = size_for(length);
        tier_queue_set(tiered, chunk, TIER_MAIN);
        tiered->counters.promotions++;
    } else {
        tiered->fast->operations->truncate(tiered->fast, inode, index, 0);
    }
    tier_risen(tiered, chunk);
    chunk->moving = false;
    tier_account(tiered, chunk);
    released(tiered, chunk);
}

static void promote_next(struct tiered *tiered)
{
    struct tier_chunk *chunk = container_of(list_pop_front(&tiered->wanted), struct tier_chunk, wanted);
    tiered->wanted_count--;
    if (tier_wish(tiered, chunk) == STORE_TIER_SLOW && chunk->resident) {
        chunk->users++;                /* it is not to go */
        tier_demote(tiered, chunk, 1); /* one that is in use goes when it is cold */
        chunk->users--;
    } else if (tier_wish(tiered, chunk) != STORE_TIER_SLOW && !chunk->resident && !chunk->moving &&
               tier_writers(chunk) == 0) {
        promote(tiered, chunk);
    }
    tier_settle(tiered, chunk);
}

/* ---- the task ---- */

static bool relieve(struct tiered *tiered)
{
    struct tier_chunk *chunk = crowded(tiered) ? victim(tiered, VICTIM_ANY) : NULL;
    return chunk != NULL && demote_victim(tiered, chunk);
}

/* Age writes back where it has to; where what is in the fast engine lasts, the wish to have room at once
 * does. */
static bool filling(struct tiered *tiered)
{
    return tier_fast_lasts(tiered) && fast_used(tiered) > tiered->fast_capacity / 4 * 3;
}

static bool clean_next(struct tiered *tiered)
{
    struct tier_chunk *chunk = filling(tiered) ? victim(tiered, VICTIM_DIRTY) : NULL;
    if (chunk == NULL)
        return false;
    chunk->users++; /* it is not to go */
    int status = tier_write_back(tiered, chunk);
    chunk->users--;
    tier_settle(tiered, chunk);
    return status == 0 || status == -EAGAIN;
}

static void work(void *argument)
{
    struct tiered *tiered = argument;
    while (!tiered->stopping) {
        if (tiered->due) {
            tiered->due = false;
            tier_write_back_all(tiered);
        } else if (!relieve(tiered) && !clean_next(tiered)) {
            if (list_empty(&tiered->wanted))
                break;
            promote_next(tiered);
        }
        task_yield(tiered->store.loop);
    }
    tiered->working = false;
    if (tiered->ended != NULL)
        completion_fire(tiered->ended, 0);
}

static void grown_old(struct timer *timer)
{
    struct tiered *tiered = container_of(timer, struct tiered, age);
    tiered->due = true;
    tiered->aging = false;
    tier_work(tiered);
}

void tier_work(struct tiered *tiered)
{
    if (tiered->stopping)
        return;
    if (!tiered->aging && tiered->journal != NULL && !tier_fast_lasts(tiered) &&
        !list_empty(&tiered->dirty)) {
        tiered->aging = true;
        tiered->age.fire = grown_old;
        timer_set(tiered->store.loop, &tiered->age, loop_now(tiered->store.loop) + AGE_NS);
    }
    if (!tiered->working && tiered->store.loop != NULL &&
        (tiered->due || !list_empty(&tiered->wanted) || crowded(tiered) || filling(tiered)))
        tiered->working = task_spawn_later(tiered->store.loop, work, tiered, NULL) == 0;
}

void tier_adopt(struct tiered *tiered, struct tier_chunk *chunk)
{
    struct store *fast = tiered->fast;
    uint64_t inode = chunk->entry.node.inode, index = chunk->entry.node.index;
    uint32_t length = fast->operations->chunk_length(fast, inode, index);
    uint32_t start = fast->operations->seek(fast, inode, index, 0, false);
    chunk->resident = true;
    chunk->chunk_size = size_for(length);
    tier_queue_set(tiered, chunk, TIER_PROBATION);
    tier_dirty(tiered, chunk, start < length ? start : length - 1, length);
}

void tier_stop(struct tiered *tiered)
{
    tiered->stopping = true;
    if (tiered->aging)
        timer_clear(tiered->store.loop, &tiered->age);
    tiered->aging = false;
    struct completion ended = COMPLETION_INIT;
    while (tiered->working) {
        tiered->ended = &ended;
        if (await(tiered->store.loop, &ended) == -EDEADLK)
            return; /* a device that has gone: the task never goes on */
    }
}

/* The parts of the tiered engine, private to tiered*.c: tiered.c serves, tiered_move.c moves chunks between
 * the two engines and decides which, tiered_records.c is what lasts. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/map.h"
#include "runtime/sync.h"
#include "store/chunk_index.h"
#include "store/store.h"

/* Where the policy has a chunk: see tiered_move.c. */
enum tier_queue { TIER_NONE, TIER_PROBATION, TIER_MAIN, TIER_GHOST, TIER_QUEUES };

/* A chunk that is in the fast engine, or in use, or remembered. While it is resident the fast engine's bytes
 * are the chunk's, and the slow one may have older ones. dirty_start < dirty_end: the slow one lacks
 * something in between. All changes that take something away are made in both at once. */
struct tier_chunk {
    struct chunk_entry entry; /* holds what the slow engine will need for it, in pages */
    struct list link;         /* in its queue, the next to go first */
    struct list dirty;
    struct list wanted; /* to be promoted */
    struct list rising; /* the journal says that it is being promoted */
    struct wait_queue released;
    enum tier_queue queue;
    uint32_t users;        /* transfers under way, and who waits to begin one */
    uint32_t fast_writers; /* that have begun there, or are about to: the next one follows them */
    uint32_t slow_writers;
    uint32_t chunk_size;
    uint32_t dirty_start;
    uint32_t dirty_end;
    uint32_t copy_start; /* what is being written back */
    uint32_t copy_end;
    uint32_t piece_start; /* of that, what the slow engine has begun to write and counts itself */
    uint32_t piece_end;
    uint32_t generation; /* counts what takes something away */
    uint64_t sequence;   /* of becoming dirty */
    uint64_t again;      /* the same, while what was dirty before is being written back; 0: it is not */
    uint64_t promised;   /* bytes that the slow engine will need to take what is dirty */
    bool resident;
    bool moving;  /* being promoted or demoted */
    bool copying; /* being written back */
    bool alone;   /* the slow engine has none of it */
};

struct tiered {
    struct store store;
    struct store_operations operations; /* some are there only when the slow engine has them */
    struct store *fast;
    struct store *slow;
    struct journal *journal;
    bool fast_started;
    bool slow_started;
    uint64_t capacity;
    uint64_t fast_capacity;
    struct chunk_index index;
    struct list queues[TIER_QUEUES];
    uint64_t counts[TIER_QUEUES];
    struct list dirty; /* in the order of their sequences; with what is being written back */
    struct list wanted;
    struct list rising; /* at most one, but for recovery */
    uint32_t wanted_count;
    uint64_t sequence;
    uint64_t promised;
    uint64_t claimed;  /* by writes under way */
    uint64_t alone;    /* chunks */
    struct map pinned; /* inode -> enum store_tier, as a pointer */
    struct store_tiers counters;
    struct timer age;
    bool aging;   /* the timer is set */
    bool due;     /* what is dirty is to be written back */
    bool working; /* the background task runs */
    bool stopping;
    struct completion *ended;
};

static inline struct tiered *tiered_of(struct store *store)
{
    return container_of(store, struct tiered, store);
}

static inline uint32_t tier_writers(const struct tier_chunk *chunk)
{
    return chunk->fast_writers + chunk->slow_writers;
}

/* What is only in the fast engine lasts all the same. */
static inline bool tier_fast_lasts(const struct tiered *tiered)
{
    return tiered->fast->operations->persistent;
}

/* ---- tiered.c ---- */

struct tier_chunk *tier_find(struct tiered *tiered, uint64_t inode, uint64_t index);
struct tier_chunk *tier_make(struct tiered *tiered, uint64_t inode, uint64_t index);
/* Frees it if nothing keeps it. */
void tier_settle(struct tiered *tiered, struct tier_chunk *chunk);
/* Accounts anew for what the slow engine lacks. */
void tier_account(struct tiered *tiered, struct tier_chunk *chunk);
void tier_dirty(struct tiered *tiered, struct tier_chunk *chunk, uint32_t start, uint32_t end);
/* The same for what has been dirty since that sequence. */
void tier_dirty_since(struct tiered *tiered, struct tier_chunk *chunk, uint32_t start, uint32_t end,
                      uint64_t sequence);
void tier_clean(struct tiered *tiered, struct tier_chunk *chunk);

/* ---- tiered_move.c ---- */

void tier_queue_set(struct tiered *tiered, struct tier_chunk *chunk, enum tier_queue queue);
/* It was used. */
void tier_touch(struct tiered *tiered, struct tier_chunk *chunk);
/* It was read from the slow engine: whether that is reason enough to promote it. */
void tier_missed(struct tiered *tiered, struct tier_chunk *chunk);
void tier_want(struct tiered *tiered, struct tier_chunk *chunk);
/* Lets go of chunks that are clean and unused until so many bytes fit into the fast engine. Never suspends.
 */
bool tier_make_room(struct tiered *tiered, uint64_t bytes);
/* Where it is to be. */
enum store_tier tier_wish(const struct tiered *tiered, const struct tier_chunk *chunk);
/* Has the background task move it there, however many wait. */
void tier_order(struct tiered *tiered, struct tier_chunk *chunk);
/* Copies what is dirty down. 0, -EAGAIN (it was cut meanwhile) or -errno. May suspend. */
int tier_write_back(struct tiered *tiered, struct tier_chunk *chunk);
/* The same, and takes it out of the fast engine; -EBUSY: in use, by others than the caller, who is counted
 * `own` times (0: the chunk may be freed). May suspend. */
int tier_demote(struct tiered *tiered, struct tier_chunk *chunk, uint32_t own);
/* Writes back what is dirty now. May suspend. */
int tier_write_back_all(struct tiered *tiered);
void tier_work(struct tiered *tiered);
/* A chunk of the fast engine, found there at the start, takes its place. */
void tier_adopt(struct tiered *tiered, struct tier_chunk *chunk);
void tier_stop(struct tiered *tiered);
/* Waits until it is not being moved. May suspend. */
int tier_wait(struct tiered *tiered, struct tier_chunk *chunk);

/* ---- tiered_records.c ---- */

/* The fast engine's bytes are not the chunk's until tier_risen; both before anything else runs. */
void tier_rise(struct tiered *tiered, struct tier_chunk *chunk);
void tier_risen(struct tiered *tiered, struct tier_chunk *chunk);
const struct journal_backend *tiered_journal_backend(struct store *store);
int tiered_replay(struct store *store, const struct journal_record *record);
int tiered_start(struct store *store, struct journal *journal);
void tiered_stop(struct store *store);
int tiered_prepare(struct store *store);
int tiered_flush(struct store *store);
void tiered_committed(struct store *store, uint64_t position);
int tiered_snapshot(struct store *store, struct journal_snapshot *snapshot);
int tiered_scrub(struct store *store, uint64_t inode, uint64_t index, struct store_scrub *found);

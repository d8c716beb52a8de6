/* Recording measurements. One `struct metrics` belongs to one thread: a server's, or one that calls the
 * library.
 *
 * What an operation leaves behind is one trace entry, written when it has ended. The histograms are made from
 * the entries later, when the event loop has nothing to do (metrics_fold): so they cost the operation
 * nothing, and a loop that is never idle folds as it goes. An entry may leave open how long the handler of
 * its request took, which whoever served it learns only after the reply has left: folding fetches it. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "metrics/region.h"

/* How long, and how many of, the regions of the dead are kept. */
#define METRICS_LEFT_AGE (UINT64_C(600) * 1000000000)
#define METRICS_LEFT_COUNT 32u
#define METRICS_BACKLOG 64u /* entries not folded yet at which recording folds, too */
#define METRICS_LATE 128u   /* a power of two, more than are not folded yet */
#define METRICS_NOTED 32u   /* requests whose partitions are not counted yet, at most */

struct metrics {
    struct metrics_header *header;
    uint64_t *counters; /* by enum metric */
    struct metrics_operation *operations;
    uint64_t *histograms; /* [operation][stage][bucket] */
    struct metrics_entry *slow;
    uint64_t *partitions;
    struct metrics_session *sessions;
    uint32_t session_turn; /* the place to be tried first */
    struct metrics_entry *trace;
    uint64_t mask; /* trace_count - 1 */
    uint64_t head;
    uint64_t folded;
    const _Atomic uint64_t *late[METRICS_LATE]; /* metrics_handler_later of entries not folded yet */
    uint32_t noted;                             /* of noted_partitions */
    uint16_t noted_partitions[METRICS_NOTED];
    /* Brings gauges up to date; may be NULL. Called now and then by an idle loop, and before somebody reads
     * through this process. */
    void (*refresh)(void *owner);
    void *owner;
    char *path; /* of the file; NULL: memory of this process alone */
    uint32_t pid;
};

/* Makes a region. directory: where its file is made, as DIRECTORY/benchfs-UID/PID-N; NULL: the region is
 * private memory, which nobody else sees. trace_count: a power of two. Should the file not be possible, the
 * region is private and *shared_status, if it is not NULL, tells why (0 or -errno). Returns 0 or -ENOMEM. May
 * block on the file system of the directory, for which memory is meant. */
int metrics_create(const char *directory, uint32_t trace_count, struct metrics **metrics, int *shared_status);
/* Marks the region as ended and removes its file, if this is the process that made it; its memory stays.
 * Harmless when it was done before. */
void metrics_end(struct metrics *metrics);
/* The same, and frees it. NULL is harmless. */
void metrics_destroy(struct metrics *metrics);
/* Who this is, for readers. server: UINT32_MAX for a client. cluster: the bootstrap address of its first
 * server. */
void metrics_identify(struct metrics *metrics, enum metrics_role role, uint32_t server, const char *cluster);
/* Removes files of processes that are gone, of one cluster if it is not NULL: those that have said nothing
 * for at least `age` ns, and all but the `keep` that spoke last. Looks at no more than a few thousand. */
void metrics_prune(const char *directory, const char *cluster, uint64_t age, uint32_t keep);

/* A place for a session, empty: its owner fills it in, `since` last, and sets `taken` to 0 when it is over.
 * NULL: there are too many. */
struct metrics_session *metrics_session_begin(struct metrics *metrics);

/* Bytes of memory that the region's file takes by now; 0: it has none. */
uint64_t metrics_memory(const struct metrics *metrics);

static inline bool metrics_unfolded(const struct metrics *metrics)
{
    return metrics->folded != metrics->head;
}
/* Makes histograms of at most `most` entries, and counts partitions if there are many to count or `most` is
 * UINT32_MAX. Returns how many entries it took. */
uint32_t metrics_fold(struct metrics *metrics, uint32_t most);
/* Words that metrics_handler_later was given are going to be memory no more: all is folded, without them if
 * they have not told yet. */
void metrics_fold_untold(struct metrics *metrics);
/* Folds all that is told, and refreshes the gauges. */
void metrics_settle(struct metrics *metrics);

static inline void metrics_add(struct metrics *metrics, enum metric metric, uint64_t value)
{
    metrics->counters[metric] += value;
}
static inline void metrics_set(struct metrics *metrics, enum metric metric, uint64_t value)
{
    metrics->counters[metric] = value;
}
/* A gauge, and the most it has ever been. */
static inline void metrics_set_peak(struct metrics *metrics, enum metric gauge, enum metric peak,
                                    uint64_t value)
{
    metrics->counters[gauge] = value;
    if (value > metrics->counters[peak])
        metrics->counters[peak] = value;
}

static inline uint32_t metrics_clip(uint64_t value)
{
    return value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
}

/* Whether somebody wants to know what it costs to record: then nothing is, and no clock is read for it. Only
 * what metrics_add counts goes on: to ask would cost more than to count. */
static inline bool metrics_paused(const struct metrics *metrics)
{
    return __builtin_expect(__atomic_load_n(&metrics->header->paused, __ATOMIC_RELAXED) != 0, 0);
}

/* Counts those that were noted. */
void metrics_fold_partitions(struct metrics *metrics);

/* A request for the partition. It is counted when histograms are made: no cache close to the processor holds
 * the counters, and somebody waits for the request. */
static inline void metrics_count_partition(struct metrics *metrics, uint32_t partition)
{
    if (metrics_paused(metrics))
        return;
    if (__builtin_expect(metrics->noted == METRICS_NOTED, 0))
        metrics_fold_partitions(metrics);
    metrics->noted_partitions[metrics->noted++] = (uint16_t)partition;
}

/* Recording what has ended: metrics_begin gives an entry that nobody reads yet, whose fields are all written
 * with METRICS_PUT, and metrics_commit shows it. Of no other entry may anything be done in
 * between.
 *
 * METRICS_PUT stores atomically because others may be reading what the entry was; and so each value goes
 * where it belongs at once: compilers collect plain ones in registers and on the stack to store them
 * together, which takes longer. */
#define METRICS_PUT(entry, field, value) __atomic_store_n(&(entry)->field, (value), __ATOMIC_RELAXED)

static inline struct metrics_entry *metrics_begin(struct metrics *metrics)
{
    struct metrics_entry *entry = &metrics->trace[metrics->head & metrics->mask];
    METRICS_PUT(entry, sequence, 0);
    atomic_thread_fence(memory_order_release);
    return entry;
}

static inline void metrics_commit(struct metrics *metrics, struct metrics_entry *entry)
{
    uint64_t head = metrics->head + 1;
    __builtin_prefetch(&metrics->trace[head & metrics->mask],
                       1); /* the ring is larger than a core's first cache */
    __atomic_store_n(&entry->sequence, head, __ATOMIC_RELEASE);
    __atomic_store_n(&metrics->header->trace_head, head, __ATOMIC_RELAXED);
    metrics->head = head;
    if (__builtin_expect(head - metrics->folded > METRICS_BACKLOG, 0))
        metrics_fold(metrics, 2);
}

/* What is written where metrics_handler_later looks: how long the handler of that request took. */
static inline uint64_t metrics_handler(uint64_t correlation, uint64_t ns)
{
    return correlation << 32 | (ns < METRICS_UNTOLD ? ns : METRICS_UNTOLD - 1);
}

/* Of an entry that is being made: its handler's time, METRICS_UNTOLD by now, will stand in a word of memory,
 * of which nothing is believed but that; it must be there until the entry is folded. */
static inline void metrics_handler_later(struct metrics *metrics, const _Atomic uint64_t *word)
{
    metrics->late[metrics->head % METRICS_LATE] = word;
}

/* The same of an entry that is made elsewhere; its sequence is not looked at. */
static inline void metrics_record(struct metrics *metrics, const struct metrics_entry *made)
{
    struct metrics_entry *entry = metrics_begin(metrics);
    memcpy(&entry->started, &made->started, sizeof(*made) - offsetof(struct metrics_entry, started));
    metrics_commit(metrics, entry);
}

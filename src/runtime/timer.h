/* Set of timers ordered by deadline, then by the order in which they were set: a pairing heap (Fredman,
 * Sedgewick, Sleator, Tarjan 1986) whose links live in the timers, so setting one never allocates. Internal
 * to runtime/. */
#pragma once

#include <stdint.h>

#include "runtime/loop.h"

struct timer_heap {
    struct timer *first; /* earliest, or NULL */
    uint64_t sequence;   /* of the timer set last */
};

/* Adds the timer or moves it to the new deadline. O(1) when it was not set. */
void timer_heap_set(struct timer_heap *heap, struct timer *timer, uint64_t deadline);

/* Removes the timer if it is set. O(log n) amortised; O(1) for one that no later removal has yet ordered. */
void timer_heap_clear(struct timer_heap *heap, struct timer *timer);

/* Removes and fires the timers due at now, except those set meanwhile; returns how many. */
int timer_heap_fire(struct timer_heap *heap, uint64_t now);

/* Counters that workers share while they work: those of a rank in memory, and under MPI those of all ranks
 * (bench/ranks.h), where an addition is seen a little later, 0.1 ms or so. They only grow. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct relay;

/* For this process and those that it forks from now on. 0 or -ENOMEM. */
int relay_create(uint32_t counters, struct relay **relay);
void relay_destroy(struct relay *relay); /* NULL is harmless */

/* Of one worker in each rank, before a barrier of all: all are 0 again. Ranks do so equally often. */
void relay_clear(struct relay *relay);
/* Of workers. May wait until the parent has carried away what was added before, or until `stopping` says that
 * somebody failed: then -ECANCELED, else 0. */
int relay_add(struct relay *relay, uint32_t counter, bool (*stopping)(const void *argument),
              const void *argument);
uint32_t relay_count(const struct relay *relay, uint32_t counter);

/* Of the parent, time and again while workers work: takes what they added to the other ranks, and brings what
 * was added there. 0 or -EIO. Does nothing with one rank. */
int relay_carry(struct relay *relay);

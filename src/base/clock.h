/* Time in nanoseconds. Layers above runtime/ never call these: they ask their loop, whose clock may be
 * simulated. */
#pragma once

#include <stdint.h>

#define NSEC_PER_USEC UINT64_C(1000)
#define NSEC_PER_MSEC UINT64_C(1000000)
#define NSEC_PER_SEC UINT64_C(1000000000)

/* Calibrates the time stamp counter; called once by loop_create, harmless to repeat. Falls back to
 * clock_gettime where the counter is not constant. Thread-safe. */
void clock_prepare(void);

/* Nanoseconds of CLOCK_MONOTONIC, about 10 ns to read; a thread never sees it go back. Within a microsecond
 * of the system's clock, and so of the other processes of this host, as long as somebody calls clock_follow.
 */
uint64_t clock_now(void);

/* Compares clock_now with the system's clock when that is due: 10 ms after clock_prepare, then after ever
 * longer intervals up to a second. now: what clock_now returned last. A load and a comparison otherwise.
 * Never blocks; thread-safe. */
void clock_follow(uint64_t now);

/* Nanoseconds since 1970-01-01 UTC. */
int64_t clock_realtime(void);

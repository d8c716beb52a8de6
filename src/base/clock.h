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

/* Monotonic nanoseconds, about 10 ns to read. */
uint64_t clock_now(void);

/* Nanoseconds since 1970-01-01 UTC. */
int64_t clock_realtime(void);

/* When requests arrive that do not wait for each other, at random or evenly; and waiting for them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/random.h"

struct arrivals {
    struct random random;
    bool poisson;
    double gap;  /* mean, ns */
    double next; /* ns since the start */
};

/* The arrivals of one of `count` sources that together have `rate` a second: exponential gaps (a Poisson
 * process; the sum of such sources is one, too), or gaps all the same with the sources' in turns. */
void arrivals_init(struct arrivals *arrivals, bool poisson, double rate, uint32_t source, uint32_t count,
                   uint64_t seed);
/* ns since the start of the next one. */
uint64_t arrivals_next(struct arrivals *arrivals);

/* Sleeps until crew_now() is `when`, and gives the processor away for the last moments, which a sleep would
 * overrun. */
void arrivals_wait(uint64_t when);

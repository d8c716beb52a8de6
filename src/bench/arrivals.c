/* Arrivals. */
#include "bench/arrivals.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <sys/prctl.h>
#include <time.h>

#include "bench/crew.h"

#define WAKE_EARLY_NS 60000u /* what a sleep may be late */

/* From an exponential distribution with mean 1. */
static double draw(struct arrivals *arrivals)
{
    double uniform =
        ((double)(random_next(&arrivals->random) >> 11) + 1.0) / 9007199254740993.0; /* 0 < u < 1 */
    return -log(uniform);
}

void arrivals_init(struct arrivals *arrivals, bool poisson, double rate, uint32_t source, uint32_t count,
                   uint64_t seed)
{
    random_seed(&arrivals->random, seed + source);
    arrivals->poisson = poisson;
    arrivals->gap = 1e9 * count / rate;
    arrivals->next = poisson ? arrivals->gap * draw(arrivals) : arrivals->gap * source / count;
}

uint64_t arrivals_next(struct arrivals *arrivals)
{
    uint64_t now = (uint64_t)arrivals->next;
    arrivals->next += arrivals->gap * (arrivals->poisson ? draw(arrivals) : 1.0);
    return now;
}

void arrivals_wait(uint64_t when)
{
    if (when > crew_now() + WAKE_EARLY_NS) {
        uint64_t wake = when - WAKE_EARLY_NS;
        struct timespec at = {.tv_sec = (time_t)(wake / 1000000000u), .tv_nsec = (long)(wake % 1000000000u)};
        prctl(PR_SET_TIMERSLACK, 1UL);
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
            ;
    }
    while (crew_now() < when)
        sched_yield();
}

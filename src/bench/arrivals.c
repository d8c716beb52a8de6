/* Arrivals. */
#include "bench/arrivals.h"

#include <math.h>

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

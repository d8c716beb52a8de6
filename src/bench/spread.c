/* A chi-square of d degrees of freedom has mean d and variance 2 d. */
#include "bench/spread.h"

#include <math.h>

void spread_measure(const uint32_t *counts, uint32_t places, struct spread *spread)
{
    uint64_t total = 0;
    uint32_t most = 0, least = UINT32_MAX, empty = 0;
    for (uint32_t i = 0; i < places; i++) {
        total += counts[i];
        most = counts[i] > most ? counts[i] : most;
        least = counts[i] < least ? counts[i] : least;
        empty += counts[i] == 0;
    }
    double mean = (double)total / places, squares = 0.0, freedom = places - 1.0;
    for (uint32_t i = 0; i < places; i++)
        squares += ((double)counts[i] - mean) * ((double)counts[i] - mean);
    *spread = (struct spread){
        .mean = mean,
        .most_of_mean = most / mean,
        .least_of_mean = least / mean,
        .deviation = sqrt(squares / places) / mean,
        .empty = empty,
        .surplus = (squares / mean - freedom) / sqrt(2.0 * freedom),
    };
}

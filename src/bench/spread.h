/* How evenly things lie in places: what is told of counts, one for each place. */
#pragma once

#include <stdint.h>

struct spread {
    double mean;
    double most_of_mean;  /* the fullest place, as a multiple of the mean */
    double least_of_mean; /* the emptiest */
    double deviation;     /* standard deviation, as a multiple of the mean */
    uint32_t empty;       /* places without any */
    /* Chi-square against an even distribution, as the distance from what a random one would give, in its
     * standard deviations: within +-3 the places look drawn at random, far below they are more even than
     * that, far above less (Pearson 1900). */
    double surplus;
};

/* places >= 2, and not all counts are 0. */
void spread_measure(const uint32_t *counts, uint32_t places, struct spread *spread);

/* Calibrated limits, looked up. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "bench/result.h"

struct limits {
    uint32_t count;
    const struct result_limit *limits;
};

/* What is asked for; transport NULL and 0: any. */
struct limit_query {
    const char *name, *transport;
    uint64_t size, depth, footprint, processes;
};

/* The limit for the size, between the two nearest sizes if there is none of just this one (in proportion of
 * the logarithms), of the nearest depth that is not greater, and of the nearest footprint and count of
 * processes. Beyond the sizes that were measured it is that of the last one: exact in *limit is false then,
 * and between sizes, too. Returns false where nothing of the name was measured. */
bool limits_find(const struct limits *limits, const struct limit_query *query, struct result_limit *limit,
                 bool *exact);

/* "1 MiB", "4 KiB", "3901 B" */
void limits_format_size(uint64_t bytes, char *text, size_t size);
/* "12.3 GB/s", "45.6 k/s", "1.23 us", by unit "B/s", "op/s" or "ns". */
void limits_format_value(double value, const char *unit, char *text, size_t size);

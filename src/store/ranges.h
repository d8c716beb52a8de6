/* A small set of bytes, kept as sorted disjoint ranges. */
#pragma once

#include <stdint.h>

struct range {
    uint32_t start;
    uint32_t end; /* exclusive */
};

struct ranges {
    struct range *items;
    uint32_t count;
    uint32_t capacity;
};

/* Room for `capacity` ranges in all. ranges_add and ranges_subtract each make the set at most one range
 * longer and never allocate: the caller reserves beforehand. Returns 0 or -ENOMEM (unchanged). A zeroed
 * struct is the empty set. */
int ranges_reserve(struct ranges *ranges, uint32_t capacity);
void ranges_free(struct ranges *ranges);

void ranges_add(struct ranges *ranges, uint32_t start, uint32_t end);
void ranges_subtract(struct ranges *ranges, uint32_t start, uint32_t end);

/* Finds the first part of the set inside [start, end). Returns 1 and *part, or 0. */
int ranges_first(const struct ranges *ranges, uint32_t start, uint32_t end, struct range *part);

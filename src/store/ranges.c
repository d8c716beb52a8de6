/* Sorted disjoint ranges in one array. The sets here describe what a handful of writes in flight cover, so
 * linear scans and shifts beat any tree. Invariant: items are non-empty, ascending, and do not touch one
 * another. */
#include "store/ranges.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int ranges_reserve(struct ranges *ranges, uint32_t capacity)
{
    if (capacity <= ranges->capacity)
        return 0;
    uint32_t rounded = ranges->capacity < 4 ? 4 : ranges->capacity * 2;
    if (rounded < capacity)
        rounded = capacity;
    struct range *items = realloc(ranges->items, rounded * sizeof(*items));
    if (items == NULL)
        return -ENOMEM;
    ranges->items = items;
    ranges->capacity = rounded;
    return 0;
}

void ranges_free(struct ranges *ranges)
{
    free(ranges->items);
    *ranges = (struct ranges){0};
}

/* Puts replacement (0..2 items) in place of items [first, last). */
static void splice(struct ranges *ranges, uint32_t first, uint32_t last, const struct range *replacement,
                   uint32_t count)
{
    assert(ranges->count - (last - first) + count <= ranges->capacity);
    memmove(ranges->items + first + count, ranges->items + last,
            (ranges->count - last) * sizeof(struct range));
    if (count > 0)
        memcpy(ranges->items + first, replacement, count * sizeof(struct range));
    ranges->count = ranges->count - (last - first) + count;
}

void ranges_add(struct ranges *ranges, uint32_t start, uint32_t end)
{
    if (start >= end)
        return;
    uint32_t first = 0;
    while (first < ranges->count && ranges->items[first].end < start)
        first++;
    uint32_t last = first;
    struct range merged = {start, end};
    for (; last < ranges->count && ranges->items[last].start <= end; last++) {
        if (ranges->items[last].start < merged.start)
            merged.start = ranges->items[last].start;
        if (ranges->items[last].end > merged.end)
            merged.end = ranges->items[last].end;
    }
    splice(ranges, first, last, &merged, 1);
}

void ranges_subtract(struct ranges *ranges, uint32_t start, uint32_t end)
{
    if (start >= end || ranges->count == 0)
        return;
    uint32_t first = 0;
    while (first < ranges->count && ranges->items[first].end <= start)
        first++;
    uint32_t last = first;
    struct range left[2];
    uint32_t count = 0;
    for (; last < ranges->count && ranges->items[last].start < end; last++) {
        struct range item = ranges->items[last];
        if (item.start < start)
            left[count++] = (struct range){item.start, start};
        if (item.end > end)
            left[count++] = (struct range){end, item.end};
    }
    splice(ranges, first, last, left, count);
}

int ranges_first(const struct ranges *ranges, uint32_t start, uint32_t end, struct range *part)
{
    for (uint32_t i = 0; i < ranges->count; i++) {
        uint32_t from = ranges->items[i].start > start ? ranges->items[i].start : start;
        uint32_t to = ranges->items[i].end < end ? ranges->items[i].end : end;
        if (from < to) {
            *part = (struct range){from, to};
            return 1;
        }
    }
    return 0;
}

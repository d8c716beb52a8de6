/* Each block has one place that it can be in, and the newest there stays: what is written one after another
 * lies so on the device, so the blocks of the last writes do not meet. */
#include "store/uring_recent.h"

#include <stdlib.h>
#include <string.h>

#include "store/uring_format.h"

static uint32_t place_of(uint32_t where)
{
    return where & (URING_RECENT - 1);
}

void uring_recent_init(struct uring_recent *recent)
{
    recent->bytes = malloc((size_t)URING_RECENT << PAGE_SHIFT);
    for (uint32_t i = 0; i < URING_RECENT; i++)
        recent->where[i] = URING_HOLE;
}

void uring_recent_free(struct uring_recent *recent)
{
    free(recent->bytes);
}

void uring_recent_put(struct uring_recent *recent, uint32_t where, const char *bytes)
{
    uint32_t place = place_of(where);
    if (recent->bytes == NULL)
        return;
    memcpy(recent->bytes + ((size_t)place << PAGE_SHIFT), bytes, PAGE_BYTES);
    recent->where[place] = where;
}

void uring_recent_drop(struct uring_recent *recent, uint32_t where)
{
    uint32_t place = place_of(where);
    if (recent->where[place] == where)
        recent->where[place] = URING_HOLE;
}

const char *uring_recent_find(const struct uring_recent *recent, uint32_t where)
{
    uint32_t place = place_of(where);
    return recent->where[place] == where ? recent->bytes + ((size_t)place << PAGE_SHIFT) : NULL;
}

/* Memory that transfers of the uring engine land in: one region, registered with the transport and with the
 * disk, handed out in runs of whole pages. Who finds it taken waits, in order of arrival; nobody fails. */
#pragma once

#include <stdint.h>

#include "base/list.h"
#include "runtime/disk.h"
#include "store/pages.h"
#include "store/region.h"

struct uring_buffers {
    struct loop *loop;
    struct disk *disk;
    struct region region;
    uint32_t count;   /* pages */
    uint32_t largest; /* of a run */
    struct pages *pages;
    struct list waiters;
};

/* net: NULL or where the memory comes from. Returns 0 or -ENOMEM; then, too, uring_buffers_free may be
 * called. */
int uring_buffers_init(struct uring_buffers *buffers, struct loop *loop, struct disk *disk, struct net *net,
                       uint32_t pages);
/* All has been given back. */
void uring_buffers_free(struct uring_buffers *buffers);

/* pages: at least one. What no region of this size can hold for sure (more than its largest power of
 * two, or 64 MiB) comes from the system and goes back there.
 * Returns 0 and *memory, -ENOMEM (only such), -ECANCELED. May suspend. */
int uring_buffers_take(struct uring_buffers *buffers, uint32_t pages, char **memory);
void uring_buffers_give(struct uring_buffers *buffers, char *memory, uint32_t pages);

/* Memory that transfers between the network and a device pass through: pages of one region, which is reserved
 * through the transport when there is one. */
#pragma once

#include <stdint.h>

#include "net/net.h"
#include "runtime/loop.h"

struct staging;

struct staging_memory {
    char *bytes; /* begins on a page */
    uint32_t pages;
    uint32_t first; /* PAGES_NONE: it does not come from the region */
};

/* length: bytes, at least 1 MiB. Returns 0, -EINVAL or -ENOMEM. */
int staging_create(struct loop *loop, struct net *net, uint64_t length, struct staging **staging);
/* Bytes of the region. */
uint64_t staging_bytes(const struct staging *staging);
void staging_destroy(struct staging *staging);
/* Memory for length bytes. for_write: it is kept until somebody has filled it from afar; such memory leaves a
 * quarter of the region to others, so that servers that copy from one another never wait in a circle. Waits
 * in order of arrival; 0, -ENOMEM or -ECANCELED. May suspend. */
int staging_take(struct staging *staging, uint64_t length, bool for_write, struct staging_memory *memory);
void staging_give(struct staging *staging, struct staging_memory *memory, bool for_write);

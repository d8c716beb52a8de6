/* One large piece of memory for chunks or transfers: from the transport when there is one, so that the
 * network lands bytes in it, else from the system. Its pages take physical memory when they are first
 * touched. */
#pragma once

#include <stddef.h>

#include "net/net.h"

struct region {
    char *bytes; /* NULL: not there */
    size_t length;
    struct net *net; /* NULL: plain memory */
    void *handle;    /* the transport's */
};

/* net: NULL or where the memory comes from. Returns 0 or -ENOMEM; then region_free may be called, too. */
int region_make(struct region *region, struct net *net, size_t length);
void region_free(struct region *region);

/* Copies of the blocks within which writes have begun or ended last: who writes on from there fills its edge
 * from memory and not from the device. */
#pragma once

#include <stdint.h>

#define URING_RECENT 64u /* blocks; a power of two */

struct uring_recent {
    char *bytes; /* NULL: there was no memory, and nothing is kept */
    uint32_t where[URING_RECENT];
};

void uring_recent_init(struct uring_recent *recent);
void uring_recent_free(struct uring_recent *recent);
/* The block on the device has these bytes. */
void uring_recent_put(struct uring_recent *recent, uint32_t where, const char *bytes);
/* It is about to get others. */
void uring_recent_drop(struct uring_recent *recent, uint32_t where);
/* Its bytes, until the next put; NULL: they are not known. */
const char *uring_recent_find(const struct uring_recent *recent, uint32_t where);

/* Extended attributes of one server's inodes: names and values in memory, no meaning.
 *
 * Few inodes have any, so an inode knows nothing of them: they are found by its number, and as long as nobody
 * has any that costs nothing. Names are bytes without NUL, at most NAME_LENGTH_MAX. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "meta/index.h"

#define XATTR_VALUE_MAX 65536u
#define XATTR_VALUES_MAX 65536u /* of all values of an inode together */
#define XATTR_NAMES_MAX 65536u  /* of all its names, each with a NUL behind it */

struct xattrs {
    struct index index; /* mixed inode number -> struct xattr_block */
    struct memory *memory;
    uint64_t count; /* inodes that have some */
};

void xattrs_init(struct xattrs *xattrs, struct memory *memory);

/* The value, valid until the inode's attributes change. 0 or -ENODATA. */
int xattr_get(const struct xattrs *xattrs, uint64_t inode, const char *name, uint32_t name_length,
              const void **value, uint32_t *length);
/* must_exist: -ENODATA if there is none; must_not_exist: -EEXIST if there is one. -ENOSPC: the inode's
 * attributes would become larger than they may be. -ENOMEM. On failure nothing has changed. */
int xattr_set(struct xattrs *xattrs, uint64_t inode, const char *name, uint32_t name_length,
              const void *value, uint32_t length, bool must_exist, bool must_not_exist);
/* 0, -ENODATA or -ENOMEM (unchanged). */
int xattr_remove(struct xattrs *xattrs, uint64_t inode, const char *name, uint32_t name_length);
/* Calls visit for every name, in the order in which they came. */
void xattr_list(const struct xattrs *xattrs, uint64_t inode,
                void (*visit)(void *owner, const char *name, uint32_t name_length), void *owner);
/* The inode is removed: all go. */
void xattr_drop_slow(struct xattrs *xattrs, uint64_t inode);
static inline void xattr_drop(struct xattrs *xattrs, uint64_t inode)
{
    if (__builtin_expect(xattrs->count != 0, 0))
        xattr_drop_slow(xattrs, inode);
}
/* All attributes of an inode as bytes for xattr_restore; NULL: it has none. */
const void *xattr_bytes(const struct xattrs *xattrs, uint64_t inode, uint32_t *length);
/* Puts such bytes in place of what the inode has. -EBADMSG: they are none; -ENOMEM. */
int xattr_restore(struct xattrs *xattrs, uint64_t inode, const void *bytes, uint32_t length);

/* Partitions: the unit of ownership. A dentry's partition comes from hash(parent, name); an inode's is part
 * of its number and never changes. The partition is the top bits of the hash, so ascending hash is ascending
 * partition. */
#pragma once

#include <stdint.h>

#include "base/hash.h"

#define PARTITION_BITS 14
#define PARTITION_COUNT (1u << PARTITION_BITS) /* 16,384 */

#define INODE_COUNTER_BITS 44
#define INODE_ROOT UINT64_C(1) /* partition 0, counter 1 */

/* Position of a dentry in the hash space; also its listing cursor. Never 0 (0 means the start of a listing).
 */
static inline uint64_t dentry_hash(uint64_t parent, const char *name, size_t length)
{
    uint64_t hash = hash64(name, length, parent);
    return hash == 0 ? 1 : hash;
}

static inline uint32_t hash_partition(uint64_t hash)
{
    return (uint32_t)(hash >> (64 - PARTITION_BITS));
}

static inline uint64_t inode_make(uint32_t partition, uint64_t counter)
{
    return ((uint64_t)partition << INODE_COUNTER_BITS) | counter;
}

/* Bits above the partition's range are never set in a number made here: callers check inode_valid first on
 * numbers from outside. */
static inline uint32_t inode_partition(uint64_t inode)
{
    return (uint32_t)(inode >> INODE_COUNTER_BITS) & (PARTITION_COUNT - 1);
}

static inline uint64_t inode_counter(uint64_t inode)
{
    return inode & ((UINT64_C(1) << INODE_COUNTER_BITS) - 1);
}

static inline int inode_valid(uint64_t inode)
{
    return (inode >> (INODE_COUNTER_BITS + PARTITION_BITS)) == 0 && inode_counter(inode) != 0;
}

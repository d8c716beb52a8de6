/* What the namespace's records hold on disk: little-endian, fixed. Keys are those of JOURNAL_KINDS; for
 * XATTR it is the inode alone, since all attributes of an inode make one record. */
#pragma once

#include <assert.h>
#include <stdint.h>

#include "rpc/operations.h"

struct WIRE dentry_key {
    uint64_t parent;
    uint64_t hash;
    char name[]; /* 1 to NAME_LENGTH_MAX bytes, to the end of the key */
};
static_assert(sizeof(struct dentry_key) == 16, "disk format");

struct WIRE dentry_image {
    uint64_t inode;
    uint32_t type; /* S_IFMT bits */
    uint32_t reserved;
};
static_assert(sizeof(struct dentry_image) == 16, "disk format");

/* A directory as far as this server has entries of it. */
struct WIRE directory_image {
    int64_t modify_time;
};
static_assert(sizeof(struct directory_image) == 8, "disk format");

struct WIRE inode_image {
    uint64_t size;
    int64_t access_time;
    int64_t modify_time;
    int64_t change_time;
    uint32_t mode;
    uint32_t uid;
    uint32_t gid;
    uint32_t links;
    uint32_t generation;
    uint8_t chunked;
    uint8_t reserved[3];
    struct layout layout;
    uint64_t parent;           /* directories and devices; files: whether other servers may hold chunks */
    int64_t modify_time_since; /* directories */
};
static_assert(sizeof(struct inode_image) == 80, "disk format");

struct WIRE counter_image {
    uint64_t counter; /* the greatest that an inode of the partition ever had */
};
static_assert(sizeof(struct counter_image) == 8, "disk format");

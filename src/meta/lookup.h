/* The quick half of a lookup by name.
 *
 * With millions of files a lookup waits for memory twice: for the index's leaf, then for the block that holds
 * dentry and inode. The processor makes up for it by beginning with what follows, the next lookups among it,
 * as far ahead as its buffers reach: some 300 instructions, 90 loads. So what a lookup costs is decided by
 * how few of both it takes, and this is inline: a call, its arguments and the registers that it saves are a
 * fifth of it. Whatever is not as it mostly is, is left to meta_dentry_find. */
#pragma once

#include "meta/index.h"
#include "meta/meta.h"

#define DIRECTORY_CACHE_BITS 10 /* last used directories, by inode number */

enum { DENTRY_ALONE = 0, DENTRY_WITH_INODE = 1 }; /* dentry_record.state */

struct dentry_record {
    uint64_t inode;
    uint16_t type; /* S_IFMT bits */
    uint8_t name_length;
    uint8_t state;
    char name[]; /* DENTRY_WITH_INODE: behind it the directory's number, uint64_t */
};
#define DENTRY_FIXED offsetof(struct dentry_record, name)

struct directory {
    uint64_t number;
    struct index entries;
    uint64_t count;
    uint64_t subdirectories;
    int64_t modify_time;
    bool changed; /* its number is in meta.changed_directories */
    bool shown;   /* the board may tell of its inode, which changes with the entries */
};

/* What struct meta begins with. */
struct meta_recent {
    struct directory *directories[1 << DIRECTORY_CACHE_BITS];
};

static inline struct directory **meta_recent(struct meta *meta, uint64_t number)
{
    struct meta_recent *recent = (struct meta_recent *)(void *)meta;
    return &recent->directories[(number * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - DIRECTORY_CACHE_BITS)];
}

/* The inode in the block of a dentry DENTRY_WITH_INODE; it may be gone, or another one by now. */
static inline struct inode *dentry_beside(struct dentry_record *record)
{
    return (struct inode *)(void *)((char *)record - sizeof(struct inode));
}

/* memcmp() == 0 for names, without the call: their bytes by loads that may overlap. */
static inline bool name_equal(const struct dentry_record *record, const char *name, size_t length)
{
    typedef uint64_t pair __attribute__((vector_size(16), aligned(1), may_alias));
    typedef uint64_t word __attribute__((aligned(1), may_alias));
    typedef uint32_t half __attribute__((aligned(1), may_alias));
    const char *own = record->name;
    if (record->name_length != length)
        return false;
    if (length >= 16) {
        pair differing = *(const pair *)(own + length - 16) ^ *(const pair *)(name + length - 16);
        differing |= *(const pair *)own ^ *(const pair *)name;
        for (size_t at = 16; __builtin_expect(at + 16 < length, 0); at += 16)
            differing |= *(const pair *)(own + at) ^ *(const pair *)(name + at);
        return (differing[0] | differing[1]) == 0;
    }
    if (length >= 8)
        return ((*(const word *)own ^ *(const word *)name) |
                (*(const word *)(own + length - 8) ^ *(const word *)(name + length - 8))) == 0;
    if (length >= 4)
        return ((*(const half *)own ^ *(const half *)name) |
                (*(const half *)(own + length - 4) ^ *(const half *)(name + length - 4))) == 0;
    return own[0] == name[0] && own[length / 2] == name[length / 2] && own[length - 1] == name[length - 1];
}

/* What a lookup that ends with this record tells. */
static inline void dentry_fill(struct meta *meta, struct dentry_record *record, struct dentry *dentry)
{
    dentry->inode = record->inode;
    dentry->type = record->type;
    dentry->local = dentry_beside(record);
    if (__builtin_expect(record->state != DENTRY_WITH_INODE || dentry->local->number != record->inode, 0))
        dentry->local = meta_inode_find(meta, record->inode);
}

/* meta_dentry_find, for those who look up one name after the other. */
static inline int meta_lookup(struct meta *meta, uint64_t parent, uint64_t hash, const char *name,
                              size_t length, struct dentry *dentry)
{
    const struct directory *directory = *meta_recent(meta, parent);
    if (__builtin_expect(directory == NULL || directory->number != parent, 0))
        return meta_dentry_find(meta, parent, hash, name, length, dentry);
    struct dentry_record *record = index_find_near(&directory->entries, hash);
    if (__builtin_expect(record == NULL || !name_equal(record, name, length), 0))
        return meta_dentry_find(meta, parent, hash, name, length, dentry);
    dentry_fill(meta, record, dentry);
    return 0;
}

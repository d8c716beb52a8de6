/* What the files of the metadata engine share: its structures, and the noting of changes (records.c). Nothing
 * outside meta/ includes this. */
#pragma once

#include "meta/index.h"
#include "meta/lookup.h"
#include "meta/meta.h"
#include "meta/table.h"

#define COUNTER_MAX ((UINT64_C(1) << INODE_COUNTER_BITS) - 1)
#define GIVEN_BITS 14 /* last dentries apart from their inodes, by inode number */

/* inode.state: what block the inode lies in. */
enum { INODE_ALONE = 0, INODE_WITH_DENTRY = 1, INODE_DENTRY_GONE = 2, INODE_BLOCK = 3 };
static_assert(sizeof(struct inode) % 8 == 0 && sizeof(struct inode) <= 112,
              "the block of a file stays small");

/* Where an inode got a name otherwise than by its creation. */
struct given_name {
    uint64_t inode; /* 0: unused */
    uint64_t parent;
    uint64_t hash;
};

/* Numbers of what has changed since the last collection. */
struct changed {
    uint64_t *numbers;
    uint32_t count;
    uint32_t capacity;
    bool overflowed; /* no memory: everything has to be looked through */
};

struct meta {
    struct meta_recent recent;
    struct memory memory;
    struct index directories;
    uint64_t inode_count;
    uint64_t dentry_count;
    uint64_t directory_count;
    struct table inodes;
    struct xattrs xattrs;
    struct given_name *given; /* 1 << GIVEN_BITS; NULL: none yet */
    struct board *board;      /* NULL: nobody is shown anything */
    struct journal *journal;  /* NULL: changes are not recorded */
    bool journaled;           /* they are, or will be once recovery is over */
    bool nameless;            /* recovery met inodes without links */
    uint64_t unfilled;        /* inodes that recovery knows by their dentries only */
    struct changed changed_inodes;
    struct changed changed_directories;
};

static_assert(offsetof(struct meta, recent) == 0, "meta_recent() finds it there");

/* The name (parent, hash) has changed. */
static inline void dentry_changed(struct meta *meta, uint64_t hash)
{
    if (meta->board != NULL)
        board_changed(meta->board, hash);
}

/* What the board tells of the inode is wrong from now on. */
static inline void inode_withdraw(struct meta *meta, struct inode *inode)
{
    if (meta->board == NULL || (inode->state & INODE_PUBLISHED) == 0)
        return;
    board_inode_changed(meta->board, inode->number);
    inode->state &= (uint8_t)~INODE_PUBLISHED;
}

/* records.c. Calls for changes; to be left out without a journal. */
void record_dentry(struct meta *meta, uint64_t parent, uint64_t hash, const char *name, size_t length,
                   uint64_t inode, uint32_t type);
void record_dentry_removal(struct meta *meta, uint64_t parent, uint64_t hash, const char *name,
                           size_t length);
void record_inode_removal(struct meta *meta, const struct inode *inode);
void record_directory_change(struct meta *meta, struct directory *directory);
void record_directory_removal(struct meta *meta, uint64_t directory);

/* meta.c, for records.c. */
struct directory *directory_find(struct meta *meta, uint64_t number);
struct directory *directory_make(struct meta *meta, uint64_t number);
/* Makes a dentry and its inode, which is to be filled, in one block. 0, -EEXIST (either is there) or -ENOMEM.
 */
int meta_restore_entry(struct meta *meta, uint64_t parent, uint64_t hash, const char *name, size_t length,
                       uint64_t number, uint32_t mode);

/* The metadata engine of one server: dentries and inodes in memory, and the local rules between them. Every
 * call is local, deterministic, and never suspends; distributed transactions are composed of these by
 * server/.
 *
 * A dentry maps (parent inode, name) to (inode, type). The inode may live on another server. Entries of a
 * directory are kept so that they can be walked in ascending (hash, name) order at any time, under any change
 * between two steps. 10 million entries in one directory or in many: create <= 400 ns, lookup <= 200 ns, <=
 * 256 bytes each beyond the name; no operation stalls for a rehash of everything. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cluster/partition.h"
#include "journal/journal.h"
#include "meta/board.h"
#include "meta/xattr.h"
#include "rpc/operations.h"

struct meta;

/* inode.state: what is to be recorded at the next collection, and what has ever been. */
#define INODE_CHANGED 4u
#define INLINE_CHANGED 8u
#define XATTRS_CHANGED 16u
#define INLINE_RECORDED 32u
#define XATTRS_RECORDED 64u
#define INODE_PUBLISHED                                                                                      \
    128u /* the board may tell of it; until recovery is over the bit means something else */
#define INODE_UNRECORDED (INODE_CHANGED | INLINE_CHANGED | XATTRS_CHANGED) /* nobody records anything */

#define INODE_CHUNKED 1u
#define INODE_BEYOND 2u
#define INODE_CHUNKED_BITS (INODE_CHUNKED | INODE_BEYOND)
#define HELD_UNKNOWN UINT64_MAX

/* An inode of this server. Stable address until removed. What a stat tells stands at the end, next to the
 * dentry that most inodes share their block with (meta.c): a lookup reads both, from as few cache lines as
 * that takes. */
struct inode {
    void *busy;        /* server/: a queue of tasks while a truncation or conversion is under way */
    void *inline_data; /* owned by the engine: meta_inline_set */
    union {
        uint64_t parent;    /* directories: the inode that contains them (root: itself) */
        uint64_t elsewhere; /* files: bytes that other servers' chunks take; HELD_UNKNOWN */
    };
    union {
        uint64_t lease_until;      /* files: loop_now ns until which a reader may serve inline data */
        int64_t modify_time_since; /* directories: when modify_time was set; later changes of entries count */
    };
    uint32_t lease_session; /* its session slot + 1; 0: none or several */
    uint32_t holder;        /* server/hold.c: who has it open */
    uint16_t inline_length; /* of inline_data: file contents (size <= INLINE_DATA_MAX, no chunk 0) or symlink
                               target */
    uint8_t state;          /* the engine's own: INODE_CHANGED ... */
    uint8_t chunked : 2;    /* server/: INODE_CHUNKED once bytes have gone, or are on their way, to chunks;
                               INODE_BEYOND: other servers may hold memory beyond the size; 0: inline */
    uint8_t shown : 1;      /* the board has told of it: clients may hold it without having said so */
    uint8_t cut : 1;        /* server/: other servers have cut chunks of it, and nothing makes that last */
    uint32_t uid;
    uint32_t gid;
    uint32_t generation;
    struct layout layout;
    int64_t access_time;
    int64_t change_time;
    int64_t modify_time;
    uint32_t links;
    uint32_t mode;
    uint64_t size;
    uint64_t number;
};

/* A found dentry. */
struct dentry {
    uint64_t inode;
    uint32_t type;       /* S_IFMT bits */
    struct inode *local; /* the inode when it lives here, else NULL */
};

struct meta_statistics {
    uint64_t inodes;
    uint64_t dentries;
    uint64_t directories; /* with entries here */
    uint64_t bytes; /* memory in use (64 KiB slabs, large blocks), inline data included, without the half MiB
                       of an empty engine */
    uint64_t taken; /* memory that it has of the system: also what is kept for what comes */
};

int meta_create(struct meta **meta); /* 0 or -ENOMEM */
void meta_destroy(struct meta *meta);
/* Where the engine's memory comes from; for tests that make allocations fail. */
struct memory;
struct memory *meta_memory(struct meta *meta);

/* Gets memory from the kernel ahead: until `bytes` are in use, about 200 a file, no call waits for a page to
 * be zeroed (0.2 ms for 2 MiB, and several ms in a virtual machine whose host has to find the memory). It is
 * kept until meta_destroy. 0 or -ENOMEM; then what was got is kept. */
int meta_reserve(struct meta *meta, uint64_t bytes);

/* Dentries. hash = dentry_hash(parent, name). now: realtime ns, recorded as the directory's change time here.
 */
int meta_dentry_find(struct meta *meta, uint64_t parent, uint64_t hash, const char *name, size_t length,
                     struct dentry *dentry); /* 0 or -ENOENT */
int meta_dentry_insert(struct meta *meta, uint64_t parent, uint64_t hash, const char *name, size_t length,
                       uint64_t inode, uint32_t type, int64_t now); /* 0, -EEXIST, -ENOMEM */
int meta_dentry_remove(struct meta *meta, uint64_t parent, uint64_t hash, const char *name, size_t length,
                       int64_t now); /* 0 or -ENOENT */
/* Inserts, or replaces what is there. 0 or -ENOMEM. */
int meta_dentry_set(struct meta *meta, uint64_t parent, uint64_t hash, const char *name, size_t length,
                    uint64_t inode, uint32_t type, int64_t now);

/* A name that leads to the inode, whether that is here or not: not NUL-terminated, and the directory that it
 * is in. Known of inodes made by meta_create_entry that still have that name, and of the last few thousand
 * dentries that were made otherwise. 0; -ENOENT: none that is known here. Touches nothing but those. */
int meta_name_find(struct meta *meta, uint64_t number, uint64_t *parent, char name[NAME_LENGTH_MAX],
                   uint8_t *length);

/* Makes the inode and its dentry in one step (the fast path of create): number is taken from the partition of
 * hash. A new directory's parent is set. Returns 0 and *inode (zeroed but for number, mode, links = 1
 * (directory: 2), times = now), -EEXIST, -ENOMEM, -ENOSPC when the partition's counter is used up. */
int meta_create_entry(struct meta *meta, uint64_t parent, uint64_t hash, const char *name, size_t length,
                      uint32_t mode, int64_t now, struct inode **inode);

/* Inodes made one after the other mostly lie one behind the other in memory. Where one lies: places of one
 * slab (MEMORY_SLAB) differ by bytes. */
uint64_t meta_inode_place(const struct inode *inode);
/* The inode that lives `distance` bytes behind (or before) that one in its slab; NULL: none does. */
struct inode *meta_inode_beside(struct meta *meta, const struct inode *inode, ptrdiff_t distance);

/* Inodes. */
struct inode *meta_inode_find(struct meta *meta, uint64_t number); /* NULL: not here */
/* With a number from outside (the root): numbers up to it are never made again. 0, -EEXIST, -ENOMEM. */
int meta_inode_create(struct meta *meta, uint64_t number, uint32_t mode, int64_t now, struct inode **inode);
void meta_inode_remove(struct meta *meta, struct inode *inode); /* frees inline data too; not its dentries */
/* Sets inline data to length <= INLINE_DATA_MAX bytes (copied; bytes NULL: zeros; length 0 frees). 0 or
 * -ENOMEM (unchanged). bytes may lie in the old inline data. */
int meta_inline_set(struct meta *meta, struct inode *inode, const void *bytes, uint32_t length);
/* Small files come in series: after inline data of this length, gets ready for the next. */
void meta_inline_expect(const struct meta *meta, uint32_t length);
/* The inode of the least number beyond that one (0: of all); NULL: there is none. */
struct inode *meta_inode_next(struct meta *meta, uint64_t number);
/* Grows or cuts inline data, zero-filling. 0 or -ENOMEM (unchanged). */
int meta_inline_resize(struct meta *meta, struct inode *inode, uint32_t length);

/* Extended attributes of inodes that are here; meta_inode_remove drops them. Who changes them says so by
 * meta_xattrs_changed. */
struct xattrs *meta_xattrs(struct meta *meta);

/* ---- the attribute board ----
 *
 * The engine takes from it what its changes make wrong: names in its own calls, what is told of an inode when
 * a change of it is noted (meta_inode_changed) or it is removed. */

/* From now on changes are told to the board (NULL: to none); not before recovery is over. */
void meta_board_begin(struct meta *meta, struct board *board);
/* A client that may read the board has just been told this of a name - attributes NULL: it does not exist;
 * else inode is here - or of an inode's attributes. Never in a later step than it was found in. */
void meta_publish_name(struct meta *meta, uint64_t parent, uint64_t hash, const char *name, size_t length,
                       struct inode *inode, const struct attributes *attributes);
void meta_publish_inode(struct meta *meta, struct inode *inode, const struct attributes *attributes);
/* The same of what is asked for next, as it seems: of the name that the inode was made with, if it still has
 * that, or of the inode. */
void meta_publish_name_ahead(struct meta *meta, struct inode *inode, const struct attributes *attributes);
void meta_publish_inode_ahead(struct meta *meta, struct inode *inode, const struct attributes *attributes);
/* Soon before: brings what these write into the cache. */
void meta_expect_name(const struct meta *meta, const struct inode *inode);
void meta_expect_inode(const struct meta *meta, const struct inode *inode);
/* The same of the bytes of a small file, which reads before `until` leave as it is. */
void meta_publish_content(struct meta *meta, struct inode *inode, int64_t until);
/* Before it is looked who holds the inode without having said so (meta/holds.h): nobody finds it on the board
 * any more. */
void meta_withdraw(struct meta *meta, struct inode *inode);

/* Directories as seen from this server. */
struct meta_directory_status {
    uint64_t entries;
    uint64_t subdirectories;
    int64_t modify_time; /* newest change of entries here; 0: none */
};
void meta_directory_status(struct meta *meta, uint64_t directory, struct meta_directory_status *status);
/* Forgets an empty directory's record. */
void meta_directory_forget(struct meta *meta, uint64_t directory);

/* Walks entries with hash >= cursor in ascending (hash, name) order until visit returns false. visit must not
 * change the directory; between two walks anything may change, and entries that stay are found once. */
typedef bool (*meta_visit)(void *owner, uint64_t hash, const char *name, size_t length, uint64_t inode,
                           uint32_t type);
void meta_directory_walk(struct meta *meta, uint64_t directory, uint64_t cursor, meta_visit visit,
                         void *owner);

/* The directory with a record here that follows `directory` in an order of the engine's own, which no change
 * disturbs, whether that one is (still) here or not; 0: the first. Returns 0 after the last. */
uint64_t meta_directory_next(struct meta *meta, uint64_t directory);

void meta_statistics(struct meta *meta, struct meta_statistics *statistics);

/* ---- what lasts: records for a journal ----
 *
 * The engine appends dentries when they change, and notes which inodes, inline data, extended attributes and
 * directories did; meta_collect then appends these as they are by then. Handlers change inodes directly, so
 * they say so, in the same step (no suspension in between), before or after. */

/* Before anything is replayed or made: changes will be recorded. */
void meta_journal_expect(struct meta *meta);
/* Recovery: takes one record of this engine's kinds back. -EBADMSG: it makes no sense; -ENOMEM. */
int meta_replay(struct meta *meta, const struct journal_record *record);
/* New inodes of the partition get counters beyond this one. */
void meta_skip_numbers(struct meta *meta, uint32_t partition, uint64_t counter);
/* Recovery is over: from now on changes go there. */
void meta_journal_begin(struct meta *meta, struct journal *journal);
/* Records all that changed since the last time: 0.1 us an inode. Never suspends. */
void meta_collect(struct meta *meta);
/* How many inodes are waiting for that. */
uint32_t meta_uncollected(const struct meta *meta);
/* Records everything; changes go on meanwhile. May suspend, and lets others run now and then. */
int meta_snapshot(struct meta *meta, struct loop *loop, struct journal_snapshot *snapshot);

/* Whether recovery found inodes without a name, which some process had open. */
bool meta_has_nameless(const struct meta *meta);

void meta_note(struct meta *meta, struct inode *inode, uint8_t what);

static inline void meta_inode_changed(struct meta *meta, struct inode *inode)
{
    if (__builtin_expect((inode->state & (INODE_CHANGED | INODE_PUBLISHED)) != INODE_CHANGED, 0))
        meta_note(meta, inode, INODE_CHANGED);
}

static inline void meta_inline_changed(struct meta *meta, struct inode *inode)
{
    if (__builtin_expect((inode->state & INLINE_CHANGED) == 0, 0))
        meta_note(meta, inode, INLINE_CHANGED);
}

static inline void meta_xattrs_changed(struct meta *meta, struct inode *inode)
{
    if (__builtin_expect((inode->state & XATTRS_CHANGED) == 0, 0))
        meta_note(meta, inode, XATTRS_CHANGED);
}

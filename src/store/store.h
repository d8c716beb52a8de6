/* The storage engine interface: where chunks live on one server. Engines are chosen at run time.
 *
 * A persistent engine keeps bytes on a device and says where, and with what checksums, by records in the
 * server's journal (journal/journal.h). It appends a write's record in write_commit, once the device has the
 * bytes, so that a record never names bytes that are not there; and it never overwrites, before a new record
 * is durable, what the last durable one names. A block that does not match its checksum reads as -EIO, logged
 * with file, offset and block, never as bytes. A chunk is durable when the journal is committed
 * (journal_commit: flush, then the group).
 *
 * An engine hands out memory to land bytes in (write_begin .. write_commit) and to send from (read_begin ..
 * read_end), so it decides whether a copy happens. Chunks are named (inode, index), at most chunk_size bytes,
 * with a length: the end of what was ever written; bytes below it that were not written read as zeros. Calls
 * that say so may suspend. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/list.h"
#include "journal/journal.h"
#include "net/net.h"

#define STORE_VECTOR_MAX 16

struct store;

struct store_options {
    const char *engine;   /* a name in store.c's table */
    uint64_t capacity;    /* bytes */
    bool prefault;        /* touch all memory at start */
    bool checksum;        /* persistent engines: CRC32C of every block, verified on read */
    uint32_t queue_depth; /* persistent engines: transfers on the device at a time; 0: the engine's choice */
    uint64_t buffer;      /* bytes of memory for transfers in flight; 0: the engine's choice */
    const char *fast;     /* tiered: the engines over and under each other, */
    const char *slow;
    uint64_t fast_capacity; /* and how much the upper one holds, of `capacity` in all */
    struct disk *disk;      /* persistent engines: their directory, open; stays the caller's */
    struct disk *fast_disk; /* tiered: that of a persistent upper engine; NULL: the same */
    struct net *net;        /* memory that bulk lands in is allocated through it; NULL: plain memory */
    struct loop *loop;
};

/* What scrub found of one chunk. */
struct store_scrub {
    uint64_t bytes;  /* verified */
    uint32_t blocks; /* that do not match their checksum, or cannot be read */
    uint32_t offset; /* in the chunk, of the first of them */
};

/* A place in the walk over all chunks. Zeros: before the first. */
struct store_cursor {
    uint64_t inode;
    uint64_t index;
};

/* A chunk range being written or read. */
struct store_io {
    uint64_t inode;
    uint64_t index;
    uint32_t offset;
    uint32_t length; /* asked; read_begin lowers it to what exists */
    struct iovec vector[STORE_VECTOR_MAX];
    uint32_t count;
    void *engine; /* the rest is the engine's own */
    struct list link;
    uint64_t private[2];
};

/* Bytes [start, end) of a file whose chunks have 2^chunk_shift bytes. */
struct store_range {
    uint64_t inode;
    uint64_t start;
    uint64_t end;
    uint8_t chunk_shift;
};

/* Where a file's chunks are to be, of the engine tiered. On disk and on the wire: never renumber. */
enum store_tier { STORE_TIER_ANY = 0, STORE_TIER_FAST = 1, STORE_TIER_SLOW = 2 };

/* What the engine tiered has done. */
struct store_tiers {
    uint64_t used;        /* bytes in the fast engine */
    uint64_t hits;        /* reads that it served */
    uint64_t misses;      /* reads that the slow one served */
    uint64_t promotions;  /* chunks that were copied up */
    uint64_t demotions;   /* chunks that were taken out of the fast engine */
    uint64_t spills;      /* writes of new chunks that went to the slow one because the fast one was full */
    uint64_t write_backs; /* chunks whose changes were copied down */
};

struct store_statistics {
    uint64_t used; /* bytes held, or claimed by writes under way, rounded as the engine allocates, less what
                      it takes back on demand */
    uint64_t capacity;
    uint64_t chunks;
    uint64_t memory; /* bytes that the engine has taken for contents, transfers and what it knows of chunks;
                        not its parts of less than a page, nor what a library keeps beyond its caches */
    uint64_t taken;  /* the same with what is free again but stays with the process; 0: there is none such */
    struct store_tiers tiers; /* the engine tiered's; the others leave it as it is */
};

struct store_operations {
    const char *name;
    bool persistent;
    bool in_place; /* after a kill bytes may be seen that were written over others and not synchronised */
    int (*create)(const struct store_options *options, struct store **store);
    void (*destroy)(struct store *store);
    /* io: inode, index, offset, length set; chunk_size bounds offset + length (-EINVAL). Fills vector. May
     * suspend. The chunk's length does not change before commit. Bytes may land in place: below the length a
     * reader may see them before commit, and after an abort each byte of that range (and of no other) is the
     * old or the new one. Never seen are bytes that nobody wrote to this chunk. -ENOSPC and -ENOMEM leave the
     * chunk as it was. Concurrent writers of one chunk are allowed. The memory in vector stays the writer's
     * until commit or abort, whatever happens to the chunk. */
    int (*write_begin)(struct store *store, struct store_io *io, uint32_t chunk_size);
    /* Returns 0, or -ESTALE: the chunk was removed, or cut below the end of this range, since begin; nothing
     * was written. After any return the io is over. */
    int (*write_commit)(struct store *store, struct store_io *io);
    void (*write_abort)(struct store *store, struct store_io *io);
    /* Lowers io->length to what exists (0: no such chunk or beyond its length; still 0 = success, then
     * read_end may be left out). The memory in vector is never reused before read_end. */
    int (*read_begin)(struct store *store, struct store_io *io);
    void (*read_end)(struct store *store, struct store_io *io);
    /* Cuts the chunk to length bytes; 0 removes it. A later extension reads zeros. */
    int (*truncate)(struct store *store, uint64_t inode, uint64_t index, uint32_t length);
    /* Removes every chunk of the inode with index >= first. */
    int (*remove)(struct store *store, uint64_t inode, uint64_t first);
    void (*statistics)(struct store *store, struct store_statistics *statistics);
    /* Length of one chunk, 0 if absent. */
    uint32_t (*chunk_length)(struct store *store, uint64_t inode, uint64_t index);
    /* Takes the memory that writes into [offset, offset + length) of a chunk need, so that they cannot fail
     * with -ENOSPC; it stays until it is cleared or cut off. No byte changes. -ENOSPC and -ENOMEM change
     * nothing that can be read. */
    int (*reserve)(struct store *store, uint64_t inode, uint64_t index, uint32_t offset, uint32_t length);
    /* Bytes that such a call would have to take. */
    uint64_t (*missing)(struct store *store, uint64_t inode, uint64_t index, uint32_t offset,
                        uint32_t length);
    /* Makes the range read as zeros in the chunks that are here; their memory is given back as far as the
     * engine can, or (keep) stays. To writes in flight this is another write. 0 or -ENOMEM. */
    int (*clear)(struct store *store, const struct store_range *range, bool keep);
    /* Index of the inode's first chunk at or after `first`; UINT64_MAX: there is none. */
    uint64_t (*next_chunk)(struct store *store, uint64_t inode, uint64_t first);
    /* The first byte at or after offset that is data (below the chunk's length and not known to be a hole) or
     * in a hole; UINT32_MAX: there is no more data here. A hole is always found: the length ends the data. */
    uint32_t (*seek)(struct store *store, uint64_t inode, uint64_t index, uint32_t offset, bool hole);
    /* Bytes held for the inode, as the engine allocates them. */
    uint64_t (*held)(struct store *store, uint64_t inode);
    /* Moves the cursor to the next chunk. The order of inodes is any, but the same whatever happens, and that
     * of an inode's chunks ascends; chunks that come or go meanwhile are found or not. false: there is none.
     */
    bool (*next)(struct store *store, struct store_cursor *cursor);

    /* NULL, or (tiered) where the inode's chunks are to be. FAST: they are brought into the fast engine and
     * stay there while it has room. SLOW: those that come do not go there, and those that are there leave it.
     * ANY: as they are used. Forgotten when the server ends. After start, if that is called. 0 or -ENOMEM. */
    int (*pin)(struct store *store, uint64_t inode, enum store_tier tier);

    /* ---- persistent engines only; the others have NULL ---- */

    /* Whether this engine's journal groups go to itself; NULL or the backend. */
    const struct journal_backend *(*journal_backend)(struct store *store);
    /* Recovery, after create and before start: takes back a record (CHUNK, STORE; tiered: their like of the
     * fast engine, PROMOTION) that it once wrote. -EBADMSG: it makes no sense. Never suspends. */
    int (*replay)(struct store *store, const struct journal_record *record);
    /* Recovery is over; from now on records go to this journal. Gives back what no record names. May suspend.
     */
    int (*start)(struct store *store, struct journal *journal);
    /* NULL, or ends what the engine does in the background: no task of it appends records any more, so that
     * the journal can be closed. Only flush, committed, snapshot and destroy follow. May suspend. */
    void (*stop)(struct store *store);
    /* NULL, or brings down what is only in memory that does not last, so that its records are in the next
     * group. To be called before journal_commit by whoever answers for these bytes; it may itself have the
     * journal commit. May suspend. */
    int (*prepare)(struct store *store);
    /* Brings every committed write to the device (its cache, too, if it has one that power loss empties): for
     * the journal, whose next group refers to them. May suspend. */
    int (*flush)(struct store *store);
    /* Records before this journal position are durable: what they replaced may be used again. Never suspends.
     */
    void (*committed)(struct store *store, uint64_t position);
    /* Records every chunk. May suspend. */
    int (*snapshot)(struct store *store, struct journal_snapshot *snapshot);
    /* Reads one chunk from the device and verifies it. -ENOENT: it is gone. May suspend. */
    int (*scrub)(struct store *store, uint64_t inode, uint64_t index, struct store_scrub *found);
};

struct store {
    const struct store_operations *operations;
    struct loop *loop;
    bool fast;  /* the engine tiered's upper one: its records have kinds of their own */
    bool keyed; /* the journal keeps the newest record of each object and no order (journal_backend of another
                   engine): what goes with an object that is gone has to be removed by records, too */
};

/* The kinds of an engine's records. replay() is given all of them as CHUNK and STORE. */
static inline enum journal_kind store_chunk_kind(const struct store *store)
{
    return store->fast ? JOURNAL_FAST_CHUNK : JOURNAL_CHUNK;
}
static inline enum journal_kind store_other_kind(const struct store *store)
{
    return store->fast ? JOURNAL_FAST_STORE : JOURNAL_STORE;
}

/* The engine of that name; NULL: there is none. */
const struct store_operations *store_engine(const char *name);
/* Returns 0; -EINVAL: unknown engine or impossible capacity (logged with the possible ones); -ENOMEM. */
int store_create(const struct store_options *options, struct store **store);
static inline void store_destroy(struct store *store)
{
    store->operations->destroy(store);
}

/* The engines that are built in, by number from 0 on; NULL: no more. */
const struct store_operations *store_engine_at(unsigned number);

extern const struct store_operations store_mem_operations;
extern const struct store_operations store_null_operations;
extern const struct store_operations store_file_operations;
extern const struct store_operations store_tiered_operations;
extern const struct store_operations store_uring_operations;
extern const struct store_operations store_pmem_operations;    /* with -Dpmem */
extern const struct store_operations store_rocksdb_operations; /* with -Drocksdb */

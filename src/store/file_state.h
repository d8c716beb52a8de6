/* The parts of the file engine, private to file*.c.
 *
 * file.c transfers and everything that changes chunks; file_names.c paths, open files, directories;
 * file_records.c the journal; file_care.c what goes on in the background, and scrub. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/crc32c.h"
#include "base/map.h"
#include "runtime/sync.h"
#include "store/blocks.h"
#include "store/chunk_index.h"
#include "store/pages.h"
#include "store/ranges.h"
#include "store/staging.h"
#include "store/store.h"

#define CHUNK_BYTES_MAX (64u << 20)
#define RANGES_MAX (1u << 15) /* in a set */
#define MARK_EPOCHS 8u

/* A chunk's file while it is open. */
struct open_file {
    struct list link; /* least recently used first */
    struct disk_file *file;
    struct file_chunk *chunk; /* NULL: its name is gone, and the last user closes it */
    uint32_t users;
};

/* Bytes [start, end) of a chunk that a task is reading, or (exclusive) changing. */
struct hold {
    struct list link;
    uint32_t start;
    uint32_t end;
    bool exclusive;
};

/* Who is at work in a chunk; exists while somebody is. */
struct activity {
    uint32_t pins;
    uint32_t writer_count;
    struct list writers; /* store_io.link */
    struct list holds;
    struct wait_queue released;
};

/* Byte ranges that few chunks have any of. */
struct peculiar {
    struct ranges zeros;    /* read as zeros, whatever the file holds and its checksums cover */
    struct ranges reserved; /* whole blocks that are accounted for though they may be holes */
};

/* Invariants between two suspensions: length <= covered, and they are in the same block, or both 0;
 * blocks.count is the number of blocks below covered; the checksum of a block is that of the file's bytes in
 * it, below covered. Bytes in [length, covered) are not to be seen. A chunk with length 0 and nothing
 * reserved does not exist for anybody: it stays while somebody is at work in it, or while its file has to be
 * removed. */
struct file_chunk {
    struct chunk_entry entry; /* holds blocks */
    uint32_t length;
    uint32_t covered;
    struct blocks blocks;
    struct peculiar *peculiar;
    struct activity *activity;
    struct open_file *open;
    struct list dirty; /* written since the last flush */
    struct list care;  /* the file is to be brought in line with what is recorded */
    uint64_t
        settled;    /* journal position behind the last record that took something away; 0: it is committed */
    uint32_t epoch; /* in which it was first recorded; 0: it is not */
    uint32_t recorded;   /* blocks that the pieces in the journal have (store.keyed) */
    uint32_t generation; /* counts what takes something away */
    bool has_file;       /* there may be one of its name */
    bool doomed;         /* ... which is that of an earlier life */
    bool exact;          /* the file has no bytes at or beyond covered */
    bool holed;          /* it may have bytes where holes are */
    bool unchecked;      /* some of it was written without checksums */
    bool accepted;       /* the log says that blocks were taken as they were found */
    bool counted;        /* among the store's chunks */
};

/* Says, durably, that blocks of an inode's chunks are overwritten in place: after a crash those that do not
 * match their checksums are taken as they are. */
struct mark {
    struct list link;
    uint64_t inode;
    uint64_t position; /* behind its record */
    uint32_t users;    /* writes under way */
    uint32_t used;     /* epoch of the last */
    bool recovered;    /* from before the last start: its chunks have not all been looked through */
};

struct file_store {
    struct store store;
    struct disk *disk;
    struct journal *journal; /* NULL until the start */
    struct staging *staging;
    struct chunk_index index;
    uint64_t capacity;
    uint64_t blocks;  /* held by chunks */
    uint64_t claimed; /* blocks that writes in flight may need */
    uint64_t chunks;  /* that exist for others */
    bool checksum;
    uint32_t epoch;     /* grows with every cut of the journal */
    uint64_t committed; /* journal position */
    struct list open_files;
    uint32_t open_count;
    struct list dirty;
    struct list care;
    struct map fresh_directories; /* inodes whose directory has names that may not be durable */
    uint32_t fresh_fans[8];       /* bits: the same of the directories above them */
    uint32_t synced_fans[8];      /* that have been synchronised since the start */
    bool fresh_root;              /* and of "chunks", */
    bool fresh_base;              /* and of the disk's own */
    struct list marks;
    struct map marked; /* inode to mark */
    bool stopping;
    bool caring;              /* the background task runs */
    bool strays;              /* it is to look for files that nothing names */
    struct completion *ended; /* of it, when somebody waits for that */
};

static inline struct file_store *file_of(struct store *store)
{
    return container_of(store, struct file_store, store);
}

/* Checksum of the covered bytes of one block. next: as crc32c_block's. */
static inline uint32_t file_block_sum(const char *bytes, uint32_t length, const char *next)
{
    return length == BLOCK_BYTES ? crc32c_block(bytes, next) : crc32c(0, bytes, length);
}

static inline uint32_t blocks_of(uint32_t bytes)
{
    return (bytes + BLOCK_BYTES - 1) >> BLOCK_SHIFT;
}

static inline uint32_t block_down(uint32_t bytes)
{
    return bytes & ~(BLOCK_BYTES - 1);
}

static inline uint32_t block_up(uint32_t bytes)
{
    return (bytes + BLOCK_BYTES - 1) & ~(BLOCK_BYTES - 1);
}

static inline bool chunk_exists(const struct file_chunk *chunk)
{
    return chunk->length > 0 || (chunk->peculiar != NULL && chunk->peculiar->reserved.count > 0);
}

/* ---- file_chunk.c ---- */

struct file_chunk *file_chunk_find(struct file_store *store, uint64_t inode, uint64_t index);
struct file_chunk *file_chunk_make(struct file_store *store, uint64_t inode, uint64_t index);
/* It is out of the index already. */
void file_chunk_free(struct file_store *store, struct file_chunk *chunk);
/* Frees the chunk if nothing keeps it. */
void file_chunk_settle(struct file_store *store, struct file_chunk *chunk);
/* While it is pinned it is not freed. 0 or -ENOMEM. */
int file_chunk_pin(struct file_chunk *chunk);
void file_chunk_unpin(struct file_store *store, struct file_chunk *chunk);
/* Blocks [first, last) that the chunk holds, for bytes or by reservation. */
uint32_t file_held_in(const struct file_chunk *chunk, uint32_t first, uint32_t last);
/* Accounts for what the chunk holds now. */
void file_chunk_measure(struct file_store *store, struct file_chunk *chunk);
/* NULL: no memory. */
struct peculiar *file_peculiar(struct file_chunk *chunk);
/* Waits until nobody holds any of these bytes in a way that excludes this. The chunk is pinned. May suspend.
 */
int file_hold(struct file_store *store, struct file_chunk *chunk, struct hold *hold);
void file_release(struct file_store *store, struct file_chunk *chunk, struct hold *hold);
/* Reads bytes [start, end), which are whole blocks and held, into bytes, holes as zeros, and
 * verifies them. wrong (may be NULL): the block numbers of those that do not match are counted and the first
 * told, in place of an error. 0, -EIO (logged) or -EAGAIN: the chunk has changed meanwhile. May
 * suspend. */
int file_read_blocks(struct file_store *store, struct file_chunk *chunk, uint32_t start, uint32_t end,
                     char *bytes, struct store_scrub *wrong);
/* Zeroes what is not to be seen of bytes [start, end). */
void file_veil(const struct file_chunk *chunk, uint32_t start, uint32_t end, char *bytes);
/* Whether everything that is no longer there is gone from the durable state, too. */
bool file_is_settled(const struct file_store *store, const struct file_chunk *chunk);

/* ---- file_names.c ---- */

/* The chunk's file, made (from nothing) if `make` is set; stays open until file_close. 0, -ENOENT, ... */
int file_open(struct file_store *store, struct file_chunk *chunk, bool make, struct open_file **open);
void file_close(struct file_store *store, struct open_file *open);
/* Removes the chunk's file, and the directories that are empty then. 0, or -errno (logged). */
int file_unlink(struct file_store *store, struct file_chunk *chunk);
/* Closes what is open of it. */
void file_forget(struct file_store *store, struct file_chunk *chunk);
void file_close_all(struct file_store *store);
/* Makes the names of new files and directories durable. May suspend. */
int file_sync_names(struct file_store *store);
/* Looks through all files and removes those that no chunk names, pausing in between. May suspend. */
void file_remove_strays(struct file_store *store);

/* ---- file_records.c ---- */

/* Appends the chunk's head, and the pieces with blocks [first, last). */
void file_record(struct file_store *store, struct file_chunk *chunk, uint32_t first, uint32_t last);
void file_record_removal(struct file_store *store, struct file_chunk *chunk);
/* Makes sure that overwriting in place is known after a crash, and counts a user. fresh: nothing durable
 * names the chunk's blocks, so the mark need not be durable before them. May suspend. */
int file_mark(struct file_store *store, uint64_t inode, bool fresh, struct mark **mark);
void file_unmark(struct file_store *store, struct mark *mark);
/* Withdraws the marks that nobody has needed for so many epochs. The group with that record is written only
 * when what was written under the mark has been synchronised, so waiting spares making the mark again, no
 * more.
 */
void file_marks_expire(struct file_store *store, uint32_t epochs);
void file_mark_drop(struct file_store *store, struct mark *mark);
bool file_is_recovered(const struct file_store *store, uint64_t inode);
void file_marks_free(struct file_store *store);
int file_replay(struct store *store, const struct journal_record *record);
int file_snapshot(struct store *store, struct journal_snapshot *snapshot);

/* ---- file_care.c ---- */

/* The chunk's file no longer matches what is recorded. */
void file_care(struct file_store *store, struct file_chunk *chunk);
/* Does to the files what is recorded and durable. May suspend. */
void file_tend_all(struct file_store *store);
/* Cuts off what the file has at or beyond covered, which is all held and settled. */
int file_cut(struct file_chunk *chunk, struct disk_file *file);
/* Starts the background task if there is work that can be done now. */
void file_care_start(struct file_store *store);
/* Ends it. May suspend. */
void file_care_stop(struct file_store *store);
int file_flush(struct store *store);
int file_scrub(struct store *store, uint64_t inode, uint64_t index, struct store_scrub *found);

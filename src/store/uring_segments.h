/* The device under the uring engine: segment files of equal size, whose blocks are handed out, written, read,
 * and taken back when nothing needs them any more.
 *
 * A block that a new record replaces is retired. It is free for use when that record is durable and when
 * every read has ended that began before. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "journal/journal.h"
#include "runtime/disk.h"
#include "runtime/sync.h"
#include "store/uring_format.h"

struct uring_segments;

/* The blocks of a chunk. Allocated by the engine; retired as a whole when the chunk goes. */
struct uring_table {
    struct uring_table *next; /* among retired ones */
    uint32_t count;
    struct uring_block blocks[];
};

/* blocks: on the device at most; segment_blocks: a power of two. Opens the segments that are there. Returns
 * 0, -ENOMEM, or what the disk says (logged). May suspend. */
int uring_segments_open(struct loop *loop, struct disk *disk, uint32_t blocks, uint32_t segment_blocks,
                        struct uring_segments **segments);
void uring_segments_close(struct uring_segments *segments);
/* Recovery: a record names these blocks. 0; -EBADMSG: they are not there, or another record names them
 * (logged). */
int uring_segments_claim(struct uring_segments *segments, const struct uring_run *run);
void uring_segments_start(struct uring_segments *segments, struct journal *journal);

/* Takes blocks that follow one another: as many as there are in one place, but at most count. Where none are
 * free it makes another segment, or has the journal commit what has been retired. Returns 0 and *run;
 * -ENOSPC: the device is full; other errors of disk and journal. May suspend: the caller must not be reading.
 */
int uring_segments_take(struct uring_segments *segments, uint32_t count, struct uring_run *run);
/* Gives back what no record ever named and nobody reads. */
void uring_segments_give(struct uring_segments *segments, const struct uring_run *run);

/* Makes sure that so many blocks can be retired. 0 or -ENOMEM. */
int uring_segments_retire_prepare(struct uring_segments *segments, uint32_t count);
/* The records that replace it are appended before anything suspends. */
void uring_segments_retire(struct uring_segments *segments, uint32_t block);
/* Takes the table and every block in it that is on the device. */
void uring_segments_retire_table(struct uring_segments *segments, struct uring_table *table);
/* Records before this position of the journal are durable. */
void uring_segments_committed(struct uring_segments *segments, uint64_t position);
/* What has been retired so far waits for the next group, what follows for the one after it. */
void uring_segments_cut(struct uring_segments *segments);

/* A stretch of time in which no block is reused that was in use at its beginning. */
struct uring_reading {
    struct list link;
    uint64_t ticket;
};
void uring_segments_read_begin(struct uring_segments *segments, struct uring_reading *reading);
void uring_segments_read_end(struct uring_segments *segments, struct uring_reading *reading);

/* Transfers that are under way together: begin, add any number, end. */
#define URING_BATCH 16
struct uring_batch {
    struct uring_segments *segments;
    uint32_t started;
    uint32_t finished;
    size_t bytes; /* started */
    int status;
    struct disk_io io[URING_BATCH];
    struct iovec vector[URING_BATCH];
    uint32_t segment[URING_BATCH];
};
static inline void uring_batch_begin(struct uring_batch *batch, struct uring_segments *segments)
{
    batch->segments = segments;
    batch->started = batch->finished = 0;
    batch->bytes = 0;
    batch->status = 0;
}
/* Starts the transfer of a run of blocks (also over the end of a segment) to or from memory. May suspend. */
void uring_batch_add(struct uring_batch *batch, enum disk_call call, struct uring_run run, char *memory);
/* Waits for all. 0 or the first error. May suspend. */
int uring_batch_end(struct uring_batch *batch);
/* A large one reaches the device now, and not at the end of the turn, in which others may compute for as long
 * as the transfer takes. */
void uring_batch_push(struct uring_batch *batch);

/* Synchronises every segment that was written to since. 0 or -errno: they stay to be synchronised. May
 * suspend. */
int uring_segments_flush(struct uring_segments *segments);

/* For messages: name of the block's file, and the offset in it. */
void uring_segments_place(const struct uring_segments *segments, uint32_t block, char name[32],
                          uint64_t *offset);

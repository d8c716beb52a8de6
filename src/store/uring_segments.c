/* Allocation. The buddy allocator of pages.h covers all segments that there may be; those that are not there
 * yet are taken in it. Blocks are handed out from a cursor on, so that what is written one after another lies
 * so on the device, whatever files it belongs to; where the cursor meets blocks in use it goes on in the
 * smallest free run that holds the rest, then in a new segment, and only then piece by piece in what is left.
 *
 * Retired blocks pass three stages, in batches: `open` collects; `closed` waits for its records to be durable
 * (all were appended before `position`); `drain` waits for the reads that began before it got there (tickets
 * below `ticket`). A stage takes over the one before it when it is empty, so a steady flow of records or of
 * reads holds up no batch for longer than one group and one read. A removed chunk is retired by its table, so
 * removing needs no memory; single blocks are collected in an array of runs that is made long enough
 * beforehand. When the device is so full that the journal has to live on its reserve there is a fourth,
 * `punch`: the next flush gives the blocks back to the file system before they are free, so that the group
 * which it precedes, and with it the next removal, finds room.
 *
 * A segment is written to directly, so its bytes are on the device when the write ends; but perhaps in a
 * cache that the device loses with its power. It is dirty until it has been synchronised. */
#include "store/uring_segments.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/* A run of fewer blocks at the cursor is left for small writes, where the cursor's write is longer. */
#define RUN_WORTHWHILE 16u
/* Of the device so much is left to others, above all to the journal, without which nothing can be freed: a
 * sixteenth, and at most this. */
#define LEFT_MOST (UINT64_C(256) << 20)
/* From so much on a transfer takes longer than a system call of its own. */
#define PUSH_BYTES (64u << 10)
/* How long a full device is taken to stay full. */
#define FULL_NS UINT64_C(1000000000)

struct segment {
    struct disk_file *file;
    bool dirty;
    bool synchronising;
};

struct batch {
    struct uring_run *runs;
    uint32_t count;
    uint32_t capacity;
    struct uring_table *tables;
    uint64_t blocks;
    uint64_t position;
};

struct uring_segments {
    struct loop *loop;
    struct disk *disk;
    struct journal *journal;
    struct pages *pages;
    struct segment *segments;
    uint32_t count;
    uint32_t shift; /* 2^shift blocks in each */
    uint32_t cursor;
    uint32_t present;
    struct mutex growing;
    uint64_t full_until; /* the device had no room for another segment; not asked again before */
    bool names_dirty;    /* a segment's name may be lost with the power */
    bool indirect_told;
    struct batch open;
    struct batch closed;
    struct batch drain;
    struct batch punch; /* nobody needs them; to be given back to the file system */
    uint64_t committed;
    uint64_t ticket; /* that `drain` waits for */
    uint64_t next_ticket;
    struct list readings; /* in order of their tickets */
    struct wait_queue freed;
};

static uint32_t segment_blocks(const struct uring_segments *segments)
{
    return 1u << segments->shift;
}

static void segment_name(uint32_t segment, char name[32])
{
    snprintf(name, 32, URING_SEGMENT_NAME, segment);
}

void uring_segments_place(const struct uring_segments *segments, uint32_t block, char name[32],
                          uint64_t *offset)
{
    segment_name(block >> segments->shift, name);
    *offset = (uint64_t)(block & (segment_blocks(segments) - 1)) << PAGE_SHIFT;
}

/* ---- free blocks ---- */

/* Cuts a run at the end of its segment. */
static struct uring_run within_segment(struct uring_segments *segments, uint32_t first, uint32_t count)
{
    uint32_t room = segment_blocks(segments) - (first & (segment_blocks(segments) - 1));
    if (count > room) {
        pages_give(segments->pages, first + room, count - room);
        count = room;
    }
    segments->cursor = first + count;
    return (struct uring_run){first, count};
}

static bool take_at_cursor(struct uring_segments *segments, uint32_t count, struct uring_run *run)
{
    uint32_t taken = pages_take_from(segments->pages, segments->cursor, count);
    if (taken == 0)
        return false;
    if (taken < count && taken < RUN_WORTHWHILE) {
        pages_give(segments->pages, segments->cursor, taken);
        return false;
    }
    *run = within_segment(segments, segments->cursor, taken);
    return true;
}

static bool take_whole(struct uring_segments *segments, uint32_t count, struct uring_run *run)
{
    uint32_t first = pages_take(segments->pages, count);
    if (first == PAGES_NONE)
        return false;
    *run = within_segment(segments, first, count);
    return true;
}

static bool take_some(struct uring_segments *segments, uint32_t count, struct uring_run *run)
{
    uint32_t taken, first = pages_take_some(segments->pages, count, &taken);
    if (first == PAGES_NONE)
        return false;
    *run = within_segment(segments, first, taken);
    return true;
}

void uring_segments_give(struct uring_segments *segments, const struct uring_run *run)
{
    pages_give(segments->pages, run->first, run->count);
    wait_queue_wake_all(segments->loop, &segments->freed);
}

/* ---- retired blocks ---- */

int uring_segments_retire_prepare(struct uring_segments *segments, uint32_t count)
{
    struct batch *open = &segments->open;
    if (count <= open->capacity - open->count)
        return 0;
    uint32_t capacity = open->count + count < 2 * open->capacity ? 2 * open->capacity : open->count + count;
    struct uring_run *runs = realloc(open->runs, capacity * sizeof(*runs));
    if (runs == NULL)
        return -ENOMEM;
    open->runs = runs;
    open->capacity = capacity;
    return 0;
}

void uring_segments_retire(struct uring_segments *segments, uint32_t block)
{
    struct batch *open = &segments->open;
    struct uring_run *last = open->count == 0 ? NULL : &open->runs[open->count - 1];
    if (last != NULL && last->first + last->count == block)
        last->count++;
    else
        open->runs[open->count++] = (struct uring_run){block, 1};
    open->blocks++;
}

void uring_segments_retire_table(struct uring_segments *segments, struct uring_table *table)
{
    uint32_t blocks = 0;
    for (uint32_t i = 0; i < table->count; i++)
        blocks += uring_block_stored(table->blocks[i]);
    table->next = segments->open.tables;
    segments->open.tables = table;
    segments->open.blocks += blocks;
}

typedef void (*run_visit)(struct uring_segments *segments, struct uring_run run);

static void visit_table(struct uring_segments *segments, const struct uring_table *table, run_visit visit)
{
    struct uring_run run = {0};
    for (uint32_t i = 0; i < table->count; i++) {
        uint32_t where = table->blocks[i].where;
        if (!uring_block_stored(table->blocks[i]))
            continue;
        if (run.count > 0 && run.first + run.count == where) {
            run.count++;
            continue;
        }
        if (run.count > 0)
            visit(segments, run);
        run = (struct uring_run){where, 1};
    }
    if (run.count > 0)
        visit(segments, run);
}

static void batch_visit(struct uring_segments *segments, const struct batch *batch, run_visit visit)
{
    for (uint32_t i = 0; i < batch->count; i++)
        visit(segments, batch->runs[i]);
    for (const struct uring_table *table = batch->tables; table != NULL; table = table->next)
        visit_table(segments, table, visit);
}

static void give_run(struct uring_segments *segments, struct uring_run run)
{
    pages_give(segments->pages, run.first, run.count);
}

static void batch_give(struct uring_segments *segments, struct batch *batch)
{
    batch_visit(segments, batch, give_run);
    while (batch->tables != NULL) {
        struct uring_table *table = batch->tables;
        batch->tables = table->next;
        free(table);
    }
    batch->count = 0;
    batch->blocks = 0;
    wait_queue_wake_all(segments->loop, &segments->freed);
}

static bool batch_empty(const struct batch *batch)
{
    return batch->count == 0 && batch->tables == NULL;
}

/* Moves a batch to the next stage, which is empty; its array goes the other way. */
static void batch_move(struct batch *from, struct batch *to)
{
    struct batch empty = {.runs = to->runs, .capacity = to->capacity};
    *to = *from;
    *from = empty;
}

static bool reads_ended(const struct uring_segments *segments)
{
    return list_empty(&segments->readings) ||
           container_of(segments->readings.next, struct uring_reading, link)->ticket >= segments->ticket;
}

/* Moves on what need wait no longer. */
static void advance(struct uring_segments *segments)
{
    for (;;) {
        if (!batch_empty(&segments->drain)) {
            if (!reads_ended(segments))
                return;
            if (!batch_empty(&segments->punch))
                return;
            if (journal_room(segments->journal) != 0)
                batch_move(&segments->drain, &segments->punch);
            else
                batch_give(segments, &segments->drain);
        }
        if (batch_empty(&segments->closed) || segments->closed.position > segments->committed)
            return;
        batch_move(&segments->closed, &segments->drain);
        segments->ticket = segments->next_ticket;
    }
}

void uring_segments_cut(struct uring_segments *segments)
{
    if (!batch_empty(&segments->closed) || batch_empty(&segments->open))
        return;
    batch_move(&segments->open, &segments->closed);
    /* Now, when the records are there that replace them: retiring comes first. */
    segments->closed.position = journal_position(segments->journal);
}

void uring_segments_committed(struct uring_segments *segments, uint64_t position)
{
    if (position > segments->committed)
        segments->committed = position;
    advance(segments);
    uring_segments_cut(segments);
    advance(segments);
}

void uring_segments_read_begin(struct uring_segments *segments, struct uring_reading *reading)
{
    reading->ticket = segments->next_ticket++;
    list_push_back(&segments->readings, &reading->link);
}

void uring_segments_read_end(struct uring_segments *segments, struct uring_reading *reading)
{
    list_remove(&reading->link);
    advance(segments);
}

static uint64_t blocks_retired(const struct uring_segments *segments)
{
    return segments->open.blocks + segments->closed.blocks + segments->drain.blocks + segments->punch.blocks;
}

/* Whether the file system can, and is asked for blocks again when they are written, is its own affair. */
static void punch_run(struct uring_segments *segments, struct uring_run run)
{
    for (uint32_t count; run.count > 0; run.first += count, run.count -= count) {
        uint32_t at = run.first & (segment_blocks(segments) - 1);
        count = smaller(run.count, segment_blocks(segments) - at);
        disk_file_punch(segments->segments[run.first >> segments->shift].file, (uint64_t)at << PAGE_SHIFT,
                        (uint64_t)count << PAGE_SHIFT);
    }
}

static void punch(struct uring_segments *segments)
{
    if (__builtin_expect(batch_empty(&segments->punch), 1))
        return;
    /* The stage may be taken by the next ones meanwhile. */
    struct batch batch = segments->punch;
    segments->punch = (struct batch){0};
    batch_visit(segments, &batch, punch_run);
    batch_give(segments, &batch);
    free(batch.runs);
    advance(segments);
}

/* Has the journal commit, and waits until something retired is free. */
static int reclaim(struct uring_segments *segments)
{
    int status = journal_commit(segments->journal);
    if (status != 0)
        return status;
    uring_segments_committed(segments, journal_committed(segments->journal));
    punch(segments);
    /* What is left waits for reads, or was retired by others meanwhile. */
    if (pages_available(segments->pages) > 0 || batch_empty(&segments->drain))
        return 0;
    return wait_queue_wait(segments->loop, &segments->freed, 0);
}

/* ---- segment files ---- */

static int segment_open(struct uring_segments *segments, uint32_t segment)
{
    char name[32];
    segment_name(segment, name);
    struct disk_file *file;
    int status = disk_file_open(segments->disk, name, DISK_CREATE | DISK_DIRECT, &file);
    if (status != 0)
        return status;
    uint64_t size = 0, whole = (uint64_t)segment_blocks(segments) << PAGE_SHIFT;
    status = disk_file_size(file, &size);
    if (status == 0)
        status = disk_file_allocate(file, 0, whole);
    if (status == -ENOSPC && size == whole) /* it has had blocks punched out */
        status = 0;
    if (status != 0) {
        disk_file_close(file);
        return status;
    }
    if (!disk_file_is_direct(file) && !segments->indirect_told) {
        log_info("%s: this file system has no direct I/O: segments are written through the page cache",
                 disk_path(segments->disk));
        segments->indirect_told = true;
    }
    segments->segments[segment].file = file;
    segments->segments[segment].dirty = true;
    segments->names_dirty = true;
    segments->present++;
    pages_give(segments->pages, segment << segments->shift, segment_blocks(segments));
    return 0;
}

/* Whether the device has room for another segment, and something to spare: 0, -ENOSPC or another error. */
static int device_room(struct uring_segments *segments)
{
    uint64_t available, total;
    int status = disk_space(segments->disk, &available, &total);
    if (status != 0)
        return status;
    uint64_t left = total / 16 < LEFT_MOST ? total / 16 : LEFT_MOST;
    return available < left + ((uint64_t)segment_blocks(segments) << PAGE_SHIFT) ? -ENOSPC : 0;
}

/* Makes the first segment that is missing. -ENOSPC: there are all, or the device is full. */
static int segment_add(struct uring_segments *segments)
{
    if (segments->present == segments->count || loop_now(segments->loop) < segments->full_until)
        return -ENOSPC;
    uint32_t segment = 0;
    while (segments->segments[segment].file != NULL)
        segment++;
    int status = device_room(segments);
    if (status == 0)
        status = segment_open(segments, segment);
    if (status == 0) {
        segments->cursor = segment << segments->shift;
        wait_queue_wake_all(segments->loop, &segments->freed);
        return 0;
    }
    char name[32];
    segment_name(segment, name);
    if (status == -ENOSPC)
        segments->full_until = loop_now(segments->loop) + FULL_NS;
    else
        log_error("cannot make %s/%s of %" PRIu64 " bytes: %s", disk_path(segments->disk), name,
                  (uint64_t)segment_blocks(segments) << PAGE_SHIFT, strerror(-status));
    /* What is left of it would only be in the way of others; it is tried again, if it stays. */
    disk_unlink(segments->disk, name);
    return status;
}

int uring_segments_take(struct uring_segments *segments, uint32_t count, struct uring_run *run)
{
    for (;;) {
        if (take_at_cursor(segments, count, run) || take_whole(segments, count, run))
            return 0;
        int status = mutex_lock(segments->loop, &segments->growing, 0);
        if (status != 0)
            return status;
        /* Somebody else may have made one meanwhile. */
        bool taken = take_at_cursor(segments, count, run) || take_whole(segments, count, run);
        status = taken ? 0 : segment_add(segments);
        mutex_unlock(segments->loop, &segments->growing);
        if (taken)
            return 0;
        if (status == 0)
            continue;
        if (status != -ENOSPC)
            return status;
        if (take_some(segments, count, run))
            return 0;
        if (blocks_retired(segments) == 0)
            return -ENOSPC;
        status = reclaim(segments);
        if (status != 0)
            return status;
    }
}

/* ---- transfers ---- */

static void batch_finish_oldest(struct uring_batch *batch)
{
    uint32_t at = batch->finished++ % URING_BATCH;
    struct disk_io *io = &batch->io[at];
    size_t length = batch->vector[at].iov_len;
    ssize_t done = disk_finish(io);
    /* Now, and not when it began: it may have been synchronised in between. */
    if (io->call == DISK_WRITE)
        batch->segments->segments[batch->segment[at]].dirty = true;
    if (done >= 0 && io->call != DISK_SYNC && (size_t)done != length)
        done = -EIO; /* the file ends before the segment does */
    if (done >= 0 || batch->status != 0)
        return;
    batch->status = (int)done;
    char name[32];
    segment_name(batch->segment[at], name);
    if (done != -ECANCELED)
        log_error("%s/%s: cannot %s %zu bytes at %" PRIu64 ": %s", disk_path(batch->segments->disk), name,
                  io->call == DISK_READ    ? "read"
                  : io->call == DISK_WRITE ? "write"
                                           : "synchronise",
                  length, io->offset, strerror(-(int)done));
}

static void batch_start(struct uring_batch *batch, enum disk_call call, uint32_t segment, struct iovec vector,
                        uint64_t offset)
{
    if (batch->started - batch->finished == URING_BATCH)
        batch_finish_oldest(batch);
    uint32_t at = batch->started++ % URING_BATCH;
    batch->vector[at] = vector;
    batch->segment[at] = segment;
    batch->io[at] = (struct disk_io){.file = batch->segments->segments[segment].file,
                                     .call = call,
                                     .vector = &batch->vector[at],
                                     .count = call == DISK_SYNC ? 0 : 1,
                                     .offset = offset};
    disk_start(&batch->io[at]);
    batch->bytes += vector.iov_len;
}

void uring_batch_push(struct uring_batch *batch)
{
    if (batch->bytes >= PUSH_BYTES)
        disk_push(batch->segments->disk);
}

void uring_batch_add(struct uring_batch *batch, enum disk_call call, struct uring_run run, char *memory)
{
    struct uring_segments *segments = batch->segments;
    while (run.count > 0) {
        uint32_t segment = run.first >> segments->shift;
        uint32_t at = run.first & (segment_blocks(segments) - 1);
        uint32_t part = segment_blocks(segments) - at < run.count ? segment_blocks(segments) - at : run.count;
        size_t bytes = (size_t)part << PAGE_SHIFT;
        batch_start(batch, call, segment, (struct iovec){memory, bytes}, (uint64_t)at << PAGE_SHIFT);
        run = (struct uring_run){run.first + part, run.count - part};
        memory += bytes;
    }
}

int uring_batch_end(struct uring_batch *batch)
{
    while (batch->finished < batch->started)
        batch_finish_oldest(batch);
    return batch->status;
}

static int flush_names(struct uring_segments *segments)
{
    if (!segments->names_dirty)
        return 0;
    segments->names_dirty = false;
    int status = disk_sync_names(segments->disk, "");
    segments->names_dirty |= status != 0;
    return status;
}

int uring_segments_flush(struct uring_segments *segments)
{
    punch(segments);
    int status = flush_names(segments);
    if (status != 0)
        return status;
    struct uring_batch batch;
    uring_batch_begin(&batch, segments);
    for (uint32_t i = 0; i < segments->count; i++) {
        struct segment *segment = &segments->segments[i];
        segment->synchronising = segment->dirty;
        if (!segment->dirty)
            continue;
        segment->dirty = false;
        batch_start(&batch, DISK_SYNC, i, (struct iovec){0}, 0);
    }
    status = uring_batch_end(&batch);
    for (uint32_t i = 0; status != 0 && i < segments->count; i++)
        segments->segments[i].dirty |= segments->segments[i].synchronising;
    return status;
}

/* ---- opening ---- */

int uring_segments_claim(struct uring_segments *segments, const struct uring_run *run)
{
    uint32_t taken = pages_take_from(segments->pages, run->first, run->count);
    if (taken == run->count)
        return 0;
    uint32_t block = run->first + taken;
    char name[32];
    uint64_t offset;
    uring_segments_place(segments, block, name, &offset);
    bool there = block >> segments->shift < segments->count &&
                 segments->segments[block >> segments->shift].file != NULL;
    log_error("%s/%s: the journal names the block at %" PRIu64 ", which %s", disk_path(segments->disk), name,
              offset, there ? "another chunk has, too" : "is not there");
    return -EBADMSG;
}

void uring_segments_start(struct uring_segments *segments, struct journal *journal)
{
    segments->journal = journal;
    segments->committed = journal_committed(journal);
}

static int find_segment(void *owner, const char *name, bool is_directory)
{
    struct uring_segments *segments = owner;
    unsigned segment;
    char expected[32];
    if (is_directory || sscanf(name, URING_SEGMENT_NAME, &segment) != 1 || segment >= segments->count)
        return 0;
    segment_name(segment, expected);
    if (strcmp(name, expected) != 0)
        return 0;
    segments->segments[segment].dirty = true; /* it is there */
    return 0;
}

static int open_present(struct uring_segments *segments)
{
    int status = disk_list(segments->disk, "", find_segment, segments);
    /* The last first: the allocator begins with what it was given last. */
    for (uint32_t i = segments->count; i-- > 0 && status == 0;)
        if (segments->segments[i].dirty)
            status = segment_open(segments, i);
    if (status != 0)
        log_error("cannot open the segments in %s: %s", disk_path(segments->disk), strerror(-status));
    return status;
}

int uring_segments_open(struct loop *loop, struct disk *disk, uint32_t blocks, uint32_t segment_size,
                        struct uring_segments **opened)
{
    struct uring_segments *segments = calloc(1, sizeof(*segments));
    if (segments == NULL)
        return -ENOMEM;
    segments->loop = loop;
    segments->disk = disk;
    segments->shift = (uint32_t)__builtin_ctz(segment_size);
    segments->count = (uint32_t)(((uint64_t)blocks + segment_size - 1) >> segments->shift);
    mutex_init(&segments->growing);
    list_init(&segments->readings);
    wait_queue_init(&segments->freed);
    uint32_t all = segments->count << segments->shift;
    segments->segments = calloc(segments->count, sizeof(*segments->segments));
    int status = segments->segments == NULL ? -ENOMEM : pages_create(all, &segments->pages);
    if (status == 0) {
        uint32_t taken = pages_take_from(segments->pages, 0, all);
        assert(taken == all);
        (void)taken;
        status = open_present(segments);
    }
    if (status != 0) {
        uring_segments_close(segments);
        return status;
    }
    *opened = segments;
    return 0;
}

static void batch_free(struct batch *batch)
{
    free(batch->runs);
    while (batch->tables != NULL) {
        struct uring_table *table = batch->tables;
        batch->tables = table->next;
        free(table);
    }
}

void uring_segments_close(struct uring_segments *segments)
{
    for (uint32_t i = 0; segments->segments != NULL && i < segments->count; i++)
        if (segments->segments[i].file != NULL)
            disk_file_close(segments->segments[i].file);
    free(segments->segments);
    if (segments->pages != NULL)
        pages_destroy(segments->pages);
    batch_free(&segments->open);
    batch_free(&segments->closed);
    batch_free(&segments->drain);
    batch_free(&segments->punch);
    free(segments);
}

/* The engine "file": every chunk is a file of its own, chunks/<fan-out>/<inode>/<index>, that holds the
 * chunk's bytes and nothing else, so that what a server has can be looked at with ls and cmp. Bytes go
 * through the page cache.
 *
 * Memory knows everything but the bytes: length, which blocks are holes, a CRC32C of every other block. That
 * is also what the journal records (file_records.c): a head for each chunk, and the checksums in pieces of 32
 * blocks. flush() synchronises the files that were written since, and the names of new ones; then the group
 * with the records is written. So after a crash each record names bytes that are on the device.
 *
 * Bytes are overwritten in place, though, and the page cache writes them back when it likes: what a durable
 * record says of a block can be outrun by what a later write left of it. Therefore
 * - whatever takes something away (removing, cutting, clearing) is done to the file only after the record of
 * it is durable (`settled`); until then it is done in memory alone. Who needs the place sooner has the
 * journal commit;
 * - the first write that overwrites recorded blocks of an inode in place appends a mark, and waits until it
 * is durable, unless the blocks' own records are still in memory. A mark is withdrawn some groups after the
 * last overwriting write. (The same is done by RAID drivers with a write-intent bitmap.) After a crash,
 * blocks of a marked inode that do not match their checksums are taken as they are, and the log says so: old
 * bytes, new bytes or both, for POSIX promises nothing of what was not synchronised. A block of any other
 * inode that does not match, and any byte that is missing, is -EIO;
 * - appending changes no byte that a record names: a block's checksum is that of its bytes below `covered`.
 * This does not depend on modification times, which may be lost with the power, or be too coarse.
 *
 * A write lands in staging memory that has room for whole blocks. Its commit holds these blocks, reads what
 * it does not cover itself, writes them with one call, and only then changes what memory knows. Readers hold
 * what they read. Cutting and clearing never wait: they change what memory knows and raise the chunk's
 * generation, at which whoever is in the midst of something looks again. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/status.h"
#include "store/file_state.h"

#define STAGING_DEFAULT (64u << 20)
/* Ranges that the end of one write may add to a set. */
#define RANGES_PER_WRITE 8u

/* A write in flight: store_io.engine. */
struct transfer {
    struct file_chunk *chunk;
    struct staging_memory memory;
    uint64_t claimed; /* blocks */
    uint32_t cut;     /* where the chunk was cut meanwhile, at the lowest; UINT32_MAX: nowhere */
    bool stale;       /* ... below the write's end */
};

static const char zeros[BLOCK_BYTES];

/* ---- accounting ---- */

/* Room for what a change of the set, and the ends of all writes in flight, may add to it. */
static int zeros_reserve(struct file_chunk *chunk)
{
    struct peculiar *peculiar = file_peculiar(chunk);
    if (peculiar == NULL)
        return -ENOMEM;
    if (peculiar->zeros.count > RANGES_MAX - 64)
        return -ENOMEM; /* a record has to hold them */
    uint32_t writers = chunk->activity == NULL ? 0 : chunk->activity->writer_count;
    return ranges_reserve(&peculiar->zeros, peculiar->zeros.count + (writers + 1) * RANGES_PER_WRITE);
}

static uint32_t missing_blocks(const struct file_chunk *chunk, uint32_t offset, uint32_t length)
{
    uint32_t first = offset >> BLOCK_SHIFT, last = blocks_of(offset + length);
    return last - first - (chunk == NULL ? 0 : file_held_in(chunk, first, last));
}

static bool has_room(const struct file_store *store, uint64_t blocks)
{
    return store->blocks + store->claimed + blocks <= store->capacity >> BLOCK_SHIFT;
}

/* ---- writing: begin ---- */

static int claim(struct file_store *store, struct transfer *transfer, const struct store_io *io)
{
    uint32_t blocks = missing_blocks(transfer->chunk, io->offset, io->length);
    if (!has_room(store, blocks))
        return -ENOSPC;
    transfer->claimed = blocks;
    store->claimed += blocks;
    return 0;
}

/* The write is over, one way or the other. */
static void transfer_end(struct file_store *store, struct store_io *io, struct transfer *transfer)
{
    struct file_chunk *chunk = transfer->chunk;
    store->claimed -= transfer->claimed;
    list_remove(&io->link);
    chunk->activity->writer_count--;
    if (transfer->memory.bytes != NULL)
        staging_give(store->staging, &transfer->memory, true);
    free(transfer);
    io->engine = NULL;
    file_chunk_unpin(store, chunk);
}

static int file_write_begin(struct store *base, struct store_io *io, uint32_t chunk_size)
{
    struct file_store *store = file_of(base);
    if (chunk_size > CHUNK_BYTES_MAX || io->offset > chunk_size || io->length > chunk_size - io->offset)
        return -EINVAL;
    io->engine = NULL;
    io->count = 0;
    if (io->length == 0)
        return 0;
    int status = journal_admit(store->journal);
    if (status != 0)
        return status;
    struct transfer *transfer = calloc(1, sizeof(*transfer));
    struct file_chunk *chunk = file_chunk_make(store, io->inode, io->index);
    if (transfer == NULL || chunk == NULL || file_chunk_pin(chunk) != 0) {
        free(transfer);
        if (chunk != NULL)
            file_chunk_settle(store, chunk);
        return -ENOMEM;
    }
    transfer->chunk = chunk;
    transfer->cut = UINT32_MAX;
    list_push_back(&chunk->activity->writers, &io->link);
    chunk->activity->writer_count++;
    io->engine = transfer;
    status = claim(store, transfer, io);
    if (status == 0 && chunk->peculiar != NULL)
        status = zeros_reserve(chunk);
    uint32_t start = block_down(io->offset);
    if (status == 0)
        status =
            staging_take(store->staging, block_up(io->offset + io->length) - start, true, &transfer->memory);
    if (status != 0) {
        transfer_end(store, io, transfer);
        return status;
    }
    io->vector[0] = (struct iovec){transfer->memory.bytes + (io->offset - start), io->length};
    io->count = 1;
    return 0;
}

static void file_write_abort(struct store *base, struct store_io *io)
{
    if (io->engine != NULL)
        transfer_end(file_of(base), io, io->engine);
}

/* ---- writing: commit ---- */

/* What a commit has taken hold of. */
struct commit {
    struct file_chunk *chunk;
    struct transfer *transfer;
    struct hold hold;
    bool held;
    struct mark *mark;
    struct open_file *open;
    uint32_t offset, end; /* of the write */
    uint32_t start;       /* of its first block: where the staging memory begins */
    uint32_t generation;  /* when the edges were read */
};

/* The blocks that the write may change: its own, and, if it extends the chunk, the partial block at its end.
 * Bytes beyond the end that do not belong there are cut off first, for which nobody else may be writing
 * there. */
static struct hold wanted_hold(const struct commit *commit)
{
    const struct file_chunk *chunk = commit->chunk;
    struct hold hold = {.start = commit->start, .end = block_up(commit->end), .exclusive = true};
    if (commit->end > chunk->covered) {
        if (!chunk->exact || (chunk->covered & (BLOCK_BYTES - 1)) != 0)
            hold.start = smaller(hold.start, block_down(chunk->covered));
        if (!chunk->exact)
            hold.end = UINT32_MAX;
    }
    return hold;
}

static int take_hold(struct file_store *store, struct commit *commit)
{
    if (commit->held)
        file_release(store, commit->chunk, &commit->hold);
    commit->hold = wanted_hold(commit);
    int status = file_hold(store, commit->chunk, &commit->hold);
    commit->held = status == 0;
    return status;
}

static bool holds_enough(const struct commit *commit)
{
    struct hold wanted = wanted_hold(commit);
    return commit->held && commit->hold.start <= wanted.start && commit->hold.end >= wanted.end;
}

/* Whether the file has other bytes in the range than are read. */
static bool is_veiled(const struct file_chunk *chunk, uint32_t start, uint32_t end)
{
    struct range part;
    return chunk->length < end ||
           (chunk->peculiar != NULL && ranges_first(&chunk->peculiar->zeros, start, end, &part));
}

/* Whether it changes, in place, bytes that a checksum is of: its own, or, if it extends the chunk within a
 * block, those before it in that block, which are written as they are read. */
static bool overwrites(const struct commit *commit)
{
    const struct file_chunk *chunk = commit->chunk;
    uint32_t end = smaller(commit->end, chunk->covered);
    if (commit->offset >= end)
        return commit->start < chunk->covered && is_veiled(chunk, commit->start, chunk->covered) &&
               blocks_is_data(&chunk->blocks, commit->start >> BLOCK_SHIFT);
    return blocks_data_in(&chunk->blocks, commit->offset >> BLOCK_SHIFT, blocks_of(end)) > 0;
}

/* Fills in what the write leaves out of one of its blocks. */
static int fill_edge(struct file_store *store, struct commit *commit, uint32_t at)
{
    struct file_chunk *chunk = commit->chunk;
    uint32_t from = larger(commit->offset, at), to = smaller(commit->end, at + BLOCK_BYTES);
    if (from == at && to == at + BLOCK_BYTES)
        return 0;
    char *block = aligned_alloc(BLOCK_BYTES, BLOCK_BYTES);
    if (block == NULL)
        return -ENOMEM;
    int status = file_read_blocks(store, chunk, at, at + BLOCK_BYTES, block, NULL);
    if (status == 0) {
        file_veil(chunk, at, at + BLOCK_BYTES, block);
        char *into = commit->transfer->memory.bytes + (at - commit->start);
        memcpy(into, block, from - at);
        memcpy(into + (to - at), block + (to - at), at + BLOCK_BYTES - to);
    }
    free(block);
    return status;
}

static int fill_edges(struct file_store *store, struct commit *commit)
{
    commit->generation = commit->chunk->generation;
    uint32_t last = block_down(commit->end - 1);
    int status = fill_edge(store, commit, commit->start);
    if (status == 0 && last != commit->start)
        status = fill_edge(store, commit, last);
    if (status == 0 && commit->generation != commit->chunk->generation)
        status = -EAGAIN;
    return status;
}

/* One thing at a time that has to be so before the bytes are written; each may suspend, after which all is
 * looked at again: -EAGAIN. 0: all is. */
static int prepare_step(struct file_store *store, struct commit *commit)
{
    struct file_chunk *chunk = commit->chunk;
    int status;
    if (commit->transfer->stale)
        return -ESTALE;
    if (!holds_enough(commit)) {
        status = take_hold(store, commit);
    } else if (!file_is_settled(store, chunk)) {
        status = journal_commit(store->journal);
    } else if (chunk->doomed) {
        status = file_unlink(store, chunk);
    } else if (store->checksum && commit->mark == NULL && overwrites(commit)) {
        status = file_mark(store, chunk->entry.node.inode, chunk->epoch == store->epoch, &commit->mark);
    } else if (commit->open == NULL || commit->open->chunk != chunk) {
        if (commit->open != NULL)
            file_close(store, commit->open);
        commit->open = NULL;
        status = file_open(store, chunk, true, &commit->open);
    } else if (!chunk->exact && commit->end > chunk->covered) {
        status = file_cut(chunk, commit->open->file);
    } else {
        uint32_t blocks = blocks_of(commit->end);
        status = blocks_reserve(&chunk->blocks, blocks);
        if (status == 0 && chunk->length < chunk->covered && commit->end > chunk->length)
            status = zeros_reserve(chunk);
        return status == 0 ? fill_edges(store, commit) : status;
    }
    return status == 0 ? -EAGAIN : status;
}

/* Makes the chunk end at `end` at least; what lies in between reads as zeros. */
static uint32_t extend(struct file_chunk *chunk, uint32_t offset, uint32_t end)
{
    uint32_t first = offset >> BLOCK_SHIFT;
    uint32_t covered = chunk->covered, length = chunk->length;
    if (end > covered) {
        uint32_t last = covered >> BLOCK_SHIFT;
        if ((covered & (BLOCK_BYTES - 1)) != 0 && blocks_is_data(&chunk->blocks, last)) {
            uint32_t more = smaller(block_up(covered), end) - covered;
            blocks_set(&chunk->blocks, last, crc32c(blocks_checksum(&chunk->blocks, last), zeros, more));
            first = smaller(first, last);
        }
        chunk->covered = end;
        blocks_extend(&chunk->blocks, blocks_of(end));
    }
    if (end > length) {
        if (length < smaller(offset, covered))
            ranges_add(&chunk->peculiar->zeros, length, smaller(offset, covered));
        chunk->length = end;
    }
    return first;
}

static void zeros_add(struct file_chunk *chunk, uint32_t start, uint32_t end)
{
    if (start < end)
        ranges_add(&chunk->peculiar->zeros, start, end);
}

/* Gives the blocks that were written the checksums of what was. A block that has become a hole in the
 * meantime holds, besides the write's own bytes, what is gone. */
static void set_checksums(struct file_store *store, struct commit *commit)
{
    struct file_chunk *chunk = commit->chunk;
    bool changed = commit->generation != chunk->generation;
    for (uint32_t at = commit->start; at < commit->end; at += BLOCK_BYTES) {
        uint32_t block = at >> BLOCK_SHIFT, end = smaller(at + BLOCK_BYTES, chunk->covered);
        if (changed && !blocks_is_data(&chunk->blocks, block)) {
            zeros_add(chunk, at, smaller(commit->offset, end));
            zeros_add(chunk, larger(commit->end, at), end);
        }
        const char *bytes = commit->transfer->memory.bytes + (at - commit->start);
        const char *next = at + BLOCK_BYTES < commit->end ? bytes + BLOCK_BYTES : NULL;
        blocks_set(&chunk->blocks, block, store->checksum ? file_block_sum(bytes, end - at, next) : 0);
    }
    if (chunk->peculiar != NULL && changed)
        ranges_subtract(&chunk->peculiar->zeros, commit->offset, commit->end);
    else if (chunk->peculiar != NULL)
        ranges_subtract(&chunk->peculiar->zeros, commit->start, block_up(commit->end));
}

static void note_dirty(struct file_store *store, struct file_chunk *chunk)
{
    if (list_empty(&chunk->dirty))
        list_push_back(&store->dirty, &chunk->dirty);
}

static void apply(struct file_store *store, struct commit *commit)
{
    struct file_chunk *chunk = commit->chunk;
    chunk->unchecked |= !store->checksum;
    uint32_t first = extend(chunk, commit->offset, commit->end);
    set_checksums(store, commit);
    note_dirty(store, chunk);
    file_chunk_measure(store, chunk);
    file_record(store, chunk, first, blocks_of(commit->end));
}

/* Gives blocks [start, end) that are still part of the chunk the checksums of these bytes. */
static void take_as_they_are(struct file_store *store, struct commit *commit, const char *bytes, uint32_t end)
{
    struct file_chunk *chunk = commit->chunk;
    for (uint32_t at = commit->start; at < end; at += BLOCK_BYTES)
        if (blocks_is_data(&chunk->blocks, at >> BLOCK_SHIFT))
            blocks_set(&chunk->blocks, at >> BLOCK_SHIFT,
                       store->checksum
                           ? crc32c(0, bytes + (at - commit->start), smaller(at + BLOCK_BYTES, end) - at)
                           : 0);
    note_dirty(store, chunk);
    file_record(store, chunk, commit->start >> BLOCK_SHIFT, blocks_of(end));
}

/* The bytes are in the file, but the chunk was cut below their end: what lies beyond the cut is not to be
 * seen.
 */
static void apply_overtaken(struct file_store *store, struct commit *commit)
{
    struct file_chunk *chunk = commit->chunk;
    uint32_t end = smaller(block_up(commit->end), chunk->covered);
    if (commit->start >= end)
        return;
    if (commit->transfer->cut < end)
        zeros_add(chunk, larger(commit->start, commit->transfer->cut), end);
    take_as_they_are(store, commit, commit->transfer->memory.bytes, end);
}

/* Some of the bytes may be in the file. When they cannot be read back either, reading will tell. */
static void apply_failed(struct file_store *store, struct commit *commit)
{
    struct file_chunk *chunk = commit->chunk;
    uint32_t end = smaller(block_up(commit->end), chunk->covered);
    if (commit->start >= end)
        return;
    char *bytes = malloc(end - commit->start);
    if (bytes == NULL)
        return;
    ssize_t count = disk_read(commit->open->file, bytes, end - commit->start, commit->start);
    end = smaller(end, chunk->covered);
    if (count >= 0 && commit->open->chunk == chunk && commit->start + (uint32_t)count >= end)
        take_as_they_are(store, commit, bytes, end);
    free(bytes);
}

static int write_blocks(struct file_store *store, struct commit *commit)
{
    struct file_chunk *chunk = commit->chunk;
    uint32_t end = smaller(block_up(commit->end), larger(chunk->covered, commit->end));
    ssize_t count =
        disk_write(commit->open->file, commit->transfer->memory.bytes, end - commit->start, commit->start);
    bool stale = commit->transfer->stale;
    if (count >= 0 && !stale) {
        apply(store, commit);
        return 0;
    }
    if (count < 0)
        log_error("engine file: cannot write inode %" PRIu64 ", chunk %" PRIu64 ": %s",
                  chunk->entry.node.inode, chunk->entry.node.index, status_text((int)count));
    if (commit->open->chunk == chunk) { /* or else the file is no longer the chunk's */
        chunk->exact = false;
        if (count < 0)
            apply_failed(store, commit);
        else
            apply_overtaken(store, commit);
    }
    file_care(store, chunk);
    return count < 0 ? (int)count : -ESTALE;
}

static int commit_once(struct file_store *store, struct commit *commit)
{
    int status;
    do
        status = prepare_step(store, commit);
    while (status == -EAGAIN);
    if (status == 0)
        status = write_blocks(store, commit);
    if (commit->open != NULL)
        file_close(store, commit->open);
    commit->open = NULL;
    if (commit->held)
        file_release(store, commit->chunk, &commit->hold);
    commit->held = false;
    return status;
}

/* The device is full, but may hold what was taken away and waits for the journal. */
static bool make_space(struct file_store *store)
{
    if (list_empty(&store->care) || journal_commit(store->journal) != 0)
        return false;
    file_tend_all(store);
    return true;
}

static int file_write_commit(struct store *base, struct store_io *io)
{
    struct file_store *store = file_of(base);
    struct transfer *transfer = io->engine;
    if (transfer == NULL)
        return 0;
    struct commit commit = {.chunk = transfer->chunk,
                            .transfer = transfer,
                            .offset = io->offset,
                            .end = io->offset + io->length,
                            .start = block_down(io->offset)};
    int status = commit_once(store, &commit);
    if (status == -ENOSPC && make_space(store))
        status = commit_once(store, &commit);
    if (commit.mark != NULL)
        file_unmark(store, commit.mark);
    transfer_end(store, io, transfer);
    return status;
}

/* ---- reading ---- */

static void io_keep(struct store_io *io, const struct staging_memory *memory)
{
    io->private[0] = (uint64_t)(uintptr_t)memory->bytes;
    io->private[1] = (uint64_t)memory->pages << 32 | memory->first;
}

static void file_read_end(struct store *base, struct store_io *io)
{
    if (io->engine == NULL)
        return;
    struct staging_memory memory = {.bytes = (char *)(uintptr_t)io->private[0],
                                    .pages = (uint32_t)(io->private[1] >> 32),
                                    .first = (uint32_t)io->private[1]};
    staging_give(file_of(base)->staging, &memory, false);
    io->engine = NULL;
}

/* Lowers length to what exists of the chunk. */
static uint32_t clip(const struct file_chunk *chunk, uint32_t offset, uint32_t length)
{
    if (chunk == NULL || offset >= chunk->length)
        return 0;
    return smaller(length, chunk->length - offset);
}

/* Reads into memory that was taken for these bytes; *length falls when the chunk is cut. */
static int read_held(struct file_store *store, struct file_chunk *chunk, uint32_t offset, uint32_t *length,
                     char *bytes)
{
    uint32_t start = block_down(offset);
    struct hold hold = {.start = start, .end = block_up(offset + *length)};
    int status = file_hold(store, chunk, &hold);
    if (status != 0)
        return status;
    do {
        *length = clip(chunk, offset, *length);
        status =
            *length == 0 ? 0 : file_read_blocks(store, chunk, start, block_up(offset + *length), bytes, NULL);
    } while (status == -EAGAIN);
    if (status == 0 && *length > 0)
        file_veil(chunk, start, offset + *length, bytes);
    file_release(store, chunk, &hold);
    return status;
}

static int file_read_begin(struct store *base, struct store_io *io)
{
    struct file_store *store = file_of(base);
    struct file_chunk *chunk = file_chunk_find(store, io->inode, io->index);
    io->engine = NULL;
    io->count = 0;
    io->length = clip(chunk, io->offset, io->length);
    if (io->length == 0)
        return 0;
    int status = file_chunk_pin(chunk);
    if (status != 0)
        return status;
    uint32_t start = block_down(io->offset);
    struct staging_memory memory;
    status = staging_take(store->staging, block_up(io->offset + io->length) - start, false, &memory);
    if (status == 0) {
        uint32_t length = io->length;
        status = read_held(store, chunk, io->offset, &length, memory.bytes);
        io->length = length;
        if (status != 0 || length == 0)
            staging_give(store->staging, &memory, false);
    }
    if (status == 0 && io->length > 0) {
        io->vector[0] = (struct iovec){memory.bytes + (io->offset - start), io->length};
        io->count = 1;
        io->engine = store;
        io_keep(io, &memory);
    }
    file_chunk_unpin(store, chunk);
    return status;
}

/* ---- taking away ---- */

/* Writes in flight that end beyond `length` have come too late. */
static void make_stale(struct file_chunk *chunk, uint32_t length)
{
    if (chunk->activity == NULL)
        return;
    list_for_each (node, &chunk->activity->writers) {
        struct store_io *io = container_of(node, struct store_io, link);
        struct transfer *transfer = io->engine;
        transfer->stale |= io->offset + io->length > length;
        transfer->cut = smaller(transfer->cut, length);
    }
}

/* What is gone is gone from the file when everything recorded so far is durable. */
static void took_away(struct file_store *store, struct file_chunk *chunk)
{
    chunk->generation++;
    file_chunk_measure(store, chunk);
    chunk->settled = journal_position(store->journal);
    file_care(store, chunk);
}

static void chunk_remove(struct file_store *store, struct file_chunk *chunk)
{
    make_stale(chunk, 0);
    list_remove(&chunk->dirty);
    bool recorded = chunk_exists(chunk);
    chunk->length = chunk->covered = 0;
    blocks_cut(&chunk->blocks, 0);
    if (chunk->peculiar != NULL) {
        chunk->peculiar->zeros.count = 0;
        chunk->peculiar->reserved.count = 0;
    }
    if (recorded)
        file_record_removal(store, chunk);
    chunk->doomed = chunk->has_file;
    chunk->accepted = chunk->unchecked = chunk->holed = false;
    took_away(store, chunk);
    file_chunk_settle(store, chunk);
}

static void remove_visited(void *owner, struct chunk_entry *entry)
{
    chunk_remove(owner, container_of(entry, struct file_chunk, entry));
}

static int file_remove(struct store *base, uint64_t inode, uint64_t first)
{
    struct file_store *store = file_of(base);
    chunk_index_visit(&store->index, inode, first, UINT64_MAX, remove_visited, store);
    return 0;
}

static int file_truncate(struct store *base, uint64_t inode, uint64_t index, uint32_t length)
{
    struct file_store *store = file_of(base);
    struct file_chunk *chunk = file_chunk_find(store, inode, index);
    if (chunk == NULL)
        return 0;
    if (length == 0) {
        chunk_remove(store, chunk);
        return 0;
    }
    if (chunk->activity != NULL && chunk->activity->writer_count > 0 && zeros_reserve(chunk) != 0)
        return -ENOMEM;
    make_stale(chunk, length);
    struct peculiar *peculiar = chunk->peculiar;
    uint32_t end = block_up(length);
    struct range part;
    bool unreserves = peculiar != NULL && ranges_first(&peculiar->reserved, end, UINT32_MAX, &part) != 0;
    if (length >= chunk->length && !unreserves)
        return 0;
    if (unreserves)
        ranges_subtract(&peculiar->reserved, end, UINT32_MAX); /* a tail: the set grows by nothing */
    if (length < chunk->length) {
        if (peculiar != NULL)
            ranges_subtract(&peculiar->zeros, length, UINT32_MAX);
        if (chunk->covered > end) {
            chunk->covered = end;
            blocks_cut(&chunk->blocks, blocks_of(end));
            chunk->exact = false;
        }
        chunk->length = length;
    }
    file_record(store, chunk, 0, 0);
    took_away(store, chunk);
    file_chunk_settle(store, chunk);
    return 0;
}

struct clearing {
    struct file_store *store;
    const struct store_range *range;
    bool keep;
    int status;
};

/* The part of the chunk that a range covers. */
static struct range part_of(const struct file_chunk *chunk, const struct store_range *range)
{
    uint64_t at = chunk->entry.node.index << range->chunk_shift;
    uint64_t size = UINT64_C(1) << range->chunk_shift;
    return (struct range){.start = range->start > at ? (uint32_t)(range->start - at) : 0,
                          .end = (uint32_t)(range->end - at < size ? range->end - at : size)};
}

/* Whole blocks become holes; of the others, and of those that stay, it is noted that they read as zeros. */
static void clear_blocks(struct file_chunk *chunk, struct range part, bool keep)
{
    struct peculiar *peculiar = chunk->peculiar;
    uint32_t first = block_up(part.start), last = block_down(part.end);
    if (!keep)
        ranges_subtract(&peculiar->reserved, first, last);
    if (part.end >= chunk->length)
        last = larger(last, block_up(chunk->covered));
    if (keep || first >= last) {
        zeros_add(chunk, part.start, smaller(part.end, chunk->length));
        return;
    }
    zeros_add(chunk, part.start, smaller(first, chunk->length));
    zeros_add(chunk, last, smaller(part.end, chunk->length));
    ranges_subtract(&peculiar->zeros, first, last);
    for (uint32_t at = first; at < smaller(last, chunk->covered); at += BLOCK_BYTES)
        blocks_clear(&chunk->blocks, at >> BLOCK_SHIFT);
    chunk->holed = true;
}

static void clear_visited(void *owner, struct chunk_entry *entry)
{
    struct clearing *clearing = owner;
    struct file_chunk *chunk = container_of(entry, struct file_chunk, entry);
    if (!chunk_exists(chunk))
        return;
    struct range part = part_of(chunk, clearing->range);
    if (zeros_reserve(chunk) != 0 ||
        ranges_reserve(&chunk->peculiar->reserved, chunk->peculiar->reserved.count + 1) != 0) {
        clearing->status = -ENOMEM;
        return;
    }
    clear_blocks(chunk, part, clearing->keep);
    bool exists = chunk_exists(chunk);
    if (exists)
        file_record(clearing->store, chunk, part.start >> BLOCK_SHIFT, blocks_of(part.end));
    else
        file_record_removal(clearing->store, chunk);
    took_away(clearing->store, chunk);
    file_chunk_settle(clearing->store, chunk);
}

static int file_clear(struct store *base, const struct store_range *range, bool keep)
{
    struct clearing clearing = {file_of(base), range, keep, 0};
    if (range->start < range->end)
        chunk_index_visit(&file_of(base)->index, range->inode, range->start >> range->chunk_shift,
                          (range->end - 1) >> range->chunk_shift, clear_visited, &clearing);
    return clearing.status;
}

/* ---- reserving, looking ---- */

static uint64_t file_missing(struct store *base, uint64_t inode, uint64_t index, uint32_t offset,
                             uint32_t length)
{
    const struct file_chunk *chunk = file_chunk_find(file_of(base), inode, index);
    return (uint64_t)missing_blocks(chunk, offset, length) << BLOCK_SHIFT;
}

static int file_reserve(struct store *base, uint64_t inode, uint64_t index, uint32_t offset, uint32_t length)
{
    struct file_store *store = file_of(base);
    if (length == 0)
        return 0;
    if (!has_room(store, missing_blocks(file_chunk_find(store, inode, index), offset, length)))
        return -ENOSPC;
    struct file_chunk *chunk = file_chunk_make(store, inode, index);
    if (chunk == NULL)
        return -ENOMEM;
    struct peculiar *peculiar = file_peculiar(chunk);
    if (peculiar == NULL || ranges_reserve(&peculiar->reserved, peculiar->reserved.count + 1) != 0) {
        file_chunk_settle(store, chunk);
        return -ENOMEM;
    }
    ranges_add(&peculiar->reserved, block_down(offset), block_up(offset + length));
    file_record(store, chunk, 0, 0);
    file_chunk_measure(store, chunk);
    return 0;
}

static uint64_t file_next_chunk(struct store *base, uint64_t inode, uint64_t first)
{
    for (;; first++) {
        const struct chunk_entry *entry = chunk_index_next(&file_of(base)->index, inode, first);
        if (entry == NULL)
            return UINT64_MAX;
        first = entry->node.index;
        if (chunk_exists(container_of(entry, const struct file_chunk, entry)))
            return first;
    }
}

static bool file_next(struct store *base, struct store_cursor *cursor)
{
    struct store_cursor at = *cursor;
    const struct chunk_entry *entry;
    do {
        entry = chunk_index_advance(&file_of(base)->index, &at);
        if (entry == NULL)
            return false;
    } while (!chunk_exists(container_of(entry, const struct file_chunk, entry)));
    *cursor = at;
    return true;
}

static uint32_t file_seek(struct store *base, uint64_t inode, uint64_t index, uint32_t offset, bool hole)
{
    const struct file_chunk *chunk = file_chunk_find(file_of(base), inode, index);
    if (chunk == NULL || offset >= chunk->length)
        return hole ? offset : UINT32_MAX;
    uint32_t block = blocks_seek(&chunk->blocks, offset >> BLOCK_SHIFT, hole);
    uint32_t at = larger(block << BLOCK_SHIFT, offset);
    if (at < chunk->length)
        return at;
    return hole ? chunk->length : UINT32_MAX;
}

static uint64_t file_held(struct store *base, uint64_t inode)
{
    const struct chunk_file *file = chunk_index_file(&file_of(base)->index, inode);
    return file == NULL ? 0 : file->held << BLOCK_SHIFT;
}

static uint32_t file_chunk_length(struct store *base, uint64_t inode, uint64_t index)
{
    const struct file_chunk *chunk = file_chunk_find(file_of(base), inode, index);
    return chunk == NULL ? 0 : chunk->length;
}

static void file_statistics(struct store *base, struct store_statistics *statistics)
{
    const struct file_store *store = file_of(base);
    statistics->used = (store->blocks + store->claimed) << BLOCK_SHIFT;
    statistics->capacity = store->capacity;
    statistics->chunks = store->chunks;
    statistics->memory =
        staging_bytes(store->staging) + chunk_index_memory(&store->index, sizeof(struct file_chunk));
}

/* ---- life ---- */

static int file_start(struct store *base, struct journal *journal)
{
    struct file_store *store = file_of(base);
    store->journal = journal;
    store->committed = journal_committed(journal);
    store->strays = true;
    /* What a killed server has made is there, and may still go when the power fails. */
    store->fresh_base = store->fresh_root = true;
    file_care_start(store);
    return 0;
}

static void file_committed(struct store *base, uint64_t position)
{
    file_of(base)->committed = position;
    file_care_start(file_of(base));
}

static void file_stop(struct store *base)
{
    file_care_stop(file_of(base));
    file_marks_expire(file_of(base), 0);
}

static void dispose(void *owner, struct chunk_entry *entry)
{
    file_chunk_free(owner, container_of(entry, struct file_chunk, entry));
}

static void file_destroy(struct store *base)
{
    struct file_store *store = file_of(base);
    file_care_stop(store);
    chunk_index_free(&store->index, dispose, store);
    file_close_all(store);
    file_marks_free(store);
    map_free(&store->fresh_directories);
    if (store->staging != NULL)
        staging_destroy(store->staging);
    free(store);
}

static int open_parts(struct file_store *store, const struct store_options *options)
{
    uint64_t buffer = options->buffer == 0 ? STAGING_DEFAULT : options->buffer;
    int status = staging_create(options->loop, options->net, buffer, &store->staging);
    if (status != 0) {
        log_error("engine file: no %" PRIu64 " bytes of memory for transfers: %s; set store.buffer", buffer,
                  status_text(status));
        return status;
    }
    status = disk_make_directory(store->disk, "chunks");
    if (status != 0 && status != -EEXIST) {
        log_error("engine file: cannot make directory \"%s/chunks\": %s", disk_path(store->disk),
                  status_text(status));
        return status;
    }
    return 0;
}

static int file_create(const struct store_options *options, struct store **made)
{
    if (options->disk == NULL || options->capacity < BLOCK_BYTES) {
        log_error("engine file: %s", options->disk == NULL
                                         ? "there is no directory for it: set store.path"
                                         : "there is no room for a block: set store.capacity");
        return -EINVAL;
    }
    struct file_store *store = calloc(1, sizeof(*store));
    if (store == NULL)
        return -ENOMEM;
    store->store = (struct store){.operations = &store_file_operations, .loop = options->loop};
    store->disk = options->disk;
    store->capacity = options->capacity;
    store->checksum = options->checksum;
    store->epoch = 1;
    list_init(&store->open_files);
    list_init(&store->dirty);
    list_init(&store->care);
    list_init(&store->marks);
    map_init(&store->fresh_directories);
    map_init(&store->marked);
    int status = chunk_index_init(&store->index);
    if (status != 0) {
        free(store);
        return status;
    }
    status = open_parts(store, options);
    if (status != 0) {
        file_destroy(&store->store);
        return status;
    }
    *made = &store->store;
    return 0;
}

const struct store_operations store_file_operations = {
    .name = "file",
    .persistent = true,
    .in_place = true,
    .create = file_create,
    .destroy = file_destroy,
    .write_begin = file_write_begin,
    .write_commit = file_write_commit,
    .write_abort = file_write_abort,
    .read_begin = file_read_begin,
    .read_end = file_read_end,
    .truncate = file_truncate,
    .remove = file_remove,
    .statistics = file_statistics,
    .chunk_length = file_chunk_length,
    .reserve = file_reserve,
    .missing = file_missing,
    .clear = file_clear,
    .next_chunk = file_next_chunk,
    .seek = file_seek,
    .held = file_held,
    .next = file_next,
    .replay = file_replay,
    .start = file_start,
    .stop = file_stop,
    .flush = file_flush,
    .committed = file_committed,
    .snapshot = file_snapshot,
    .scrub = file_scrub,
};

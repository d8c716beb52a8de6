/* The in-memory engine: chunks in one region of memory that is reserved at start, through the transport when
 * there is one, so that bulk lands in place and is sent from there without a copy.
 *
 * A chunk is a list of page runs (extents.h) that never move. Room is taken ahead of need, up to the whole
 * chunk at once when a write reaches past a quarter of it, so that nearly every chunk is one run and every
 * transfer one iovec. What a chunk does not need yet is its slack: it is not counted as used, and taken back,
 * oldest chunk first, when pages run out. At the very end any free pages serve, however scattered; a transfer
 * over more than STORE_VECTOR_MAX runs goes through a bounce buffer. So the capacity is hard, and all of it
 * can be filled.
 *
 * Recycled memory holds other files' bytes, and zeroing what a write is about to cover would cost bandwidth.
 * So each chunk knows what is not yet to be seen: everything from `defined` on, and below it the set
 * `undefined`, which covers writes in flight.
 * - begin: zeroes the gap between `defined` and the write; adds the write's part beyond `defined` to
 *   `undefined`;
 * - commit: takes the write's range out of `undefined`, raises `length`;
 * - abort: leaves `undefined` as it is, for another write may be landing in the same place;
 * - read: copies to a bounce buffer if its range meets `undefined`, and zeroes that part there;
 * - quiet, when the last write in flight ends: zeroes what is left undefined below `length`; `defined` falls
 *   to `length`.
 *
 * Between two calls: length <= defined <= bytes of pages; a byte in [length, defined) outside `undefined` is
 * zero, or from a write in flight; without any, length = defined.
 *
 * Holes. A chunk may lack memory in between (extents.h): a range that was cleared, or 64 KiB and more that a
 * write left out. They read as zeros through a bounce buffer; a write gets them their memory back, zeroed,
 * before anything else. So they lie below `defined` like any zeros. Memory under a transfer is never taken
 * from it: there clearing only zeroes. `reserved` keeps pages beyond the length from being slack.
 *
 * Cutting a chunk makes writes in flight beyond the cut stale: they end with -ESTALE. Removing it takes it
 * out of the index at once; its memory lives until the last transfer has ended. No call suspends. */
#include "store/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "store/chunk_index.h"
#include "store/extents.h"
#include "store/pages.h"
#include "store/ranges.h"
#include "store/region.h"

#define CHUNK_BYTES_MAX (PAGES_RUN_MAX << PAGE_SHIFT)

/* Writes in flight of one chunk; exists while there are any. */
struct flight {
    struct list writers; /* store_io.link */
    uint32_t count;
    struct ranges undefined;
    struct flight *next; /* among the spare ones */
};

struct chunk {
    struct chunk_entry entry;
    struct list slack_link;
    struct extents extents;
    struct flight *flight;
    uint32_t length;
    uint32_t defined;
    uint32_t held;     /* no transfer in flight reaches beyond */
    uint32_t pins;     /* transfers in flight */
    uint32_t slack;    /* pages beyond what length, reservation and transfers need */
    uint32_t reserved; /* memory up to this byte stays */
    bool removed;
};

struct mem {
    struct store store;
    struct region region;
    struct pages *pages;
    struct chunk_index index;
    struct list slack_chunks; /* chunk.slack_link, oldest first */
    uint64_t slack;           /* pages */
    uint64_t page_count;
    uint64_t taken; /* the most that statistics.memory ever was */
    struct flight *spare;
};

/* The engine's part of a store_io. */
enum { IO_STALE, IO_BOUNCE };

static struct mem *mem_of(struct store *store)
{
    return container_of(store, struct mem, store);
}

static void *bounce_of(const struct store_io *io)
{
    return (void *)(uintptr_t)io->private[IO_BOUNCE];
}

/* ---- slack ---- */

static void slack_set(struct mem *mem, struct chunk *chunk, uint32_t slack)
{
    if (slack == 0)
        list_remove(&chunk->slack_link);
    else if (chunk->slack == 0)
        list_push_back(&mem->slack_chunks, &chunk->slack_link);
    mem->slack += slack;
    mem->slack -= chunk->slack;
    chunk->slack = slack;
}

static void slack_measure(struct mem *mem, struct chunk *chunk)
{
    struct extents *extents = &chunk->extents;
    uint32_t needed = pages_of(larger(larger(chunk->length, chunk->reserved), chunk->held));
    if (extents->holes > 0 && extents_holes(extents, needed, extents->pages) > 0)
        extents_shrink(extents, mem->pages, needed); /* slack is memory */
    slack_set(mem, chunk, extents->pages - needed);
    chunk_entry_hold(&chunk->entry, needed - extents->holes);
}

/* Takes slack back until count pages are free. */
static void slack_reclaim(struct mem *mem, uint64_t count)
{
    while (pages_available(mem->pages) < count && !list_empty(&mem->slack_chunks)) {
        struct chunk *chunk = container_of(mem->slack_chunks.next, struct chunk, slack_link);
        uint32_t keep = chunk->extents.pages - chunk->slack;
        extents_shrink(&chunk->extents, mem->pages, keep);
        slack_set(mem, chunk, 0);
    }
}

/* Holes begin and end at multiples of so many pages, but where they were cleared: so filling them in small
 * steps does not scatter a chunk. */
#define HOLE_PAGES 16u

static uint32_t hole_up(uint32_t pages)
{
    return (pages + HOLE_PAGES - 1) & ~(HOLE_PAGES - 1);
}

static uint32_t hole_down(uint32_t pages)
{
    return pages & ~(HOLE_PAGES - 1);
}

static bool pages_to_be_had(struct mem *mem, uint64_t count)
{
    if (pages_available(mem->pages) + mem->slack < count)
        return false;
    slack_reclaim(mem, count);
    return true;
}

/* Gives holes in bytes [start, end) their memory back. */
static int fill_holes(struct mem *mem, struct chunk *chunk, uint32_t start, uint32_t end)
{
    uint32_t first = start >> PAGE_SHIFT, last = pages_of(end);
    if (chunk->extents.holes == 0 || extents_holes(&chunk->extents, first, last) == 0)
        return 0;
    slack_set(mem, chunk, 0);
    uint32_t around_first = hole_down(first), around_last = hole_up(last);
    if (pages_to_be_had(mem, extents_holes(&chunk->extents, around_first, around_last))) {
        first = around_first;
        last = around_last;
    } else if (!pages_to_be_had(mem, extents_holes(&chunk->extents, first, last))) {
        return -ENOSPC;
    }
    return extents_fill(&chunk->extents, mem->pages, mem->region.bytes, first, last);
}

/* Gives the chunk memory up to byte `end`. When there is not enough, what lies before `start` and beyond its
 * present end does without. */
static int make_room(struct mem *mem, struct chunk *chunk, uint32_t start, uint32_t end, uint32_t chunk_size)
{
    uint32_t needed = pages_of(end);
    if (needed <= chunk->extents.pages)
        return 0;
    slack_set(mem, chunk, 0);
    if (!pages_to_be_had(mem, needed - chunk->extents.pages)) {
        uint32_t from = hole_down(start >> PAGE_SHIFT);
        if (from <= chunk->extents.pages || !pages_to_be_had(mem, needed - from))
            return -ENOSPC;
        int status = extents_grow_hole(&chunk->extents, from);
        if (status != 0)
            return status;
    }
    uint32_t whole = pages_of(chunk_size);
    uint32_t goal = needed <= 1 ? 1 : 1u << (32 - __builtin_clz(needed - 1));
    if (end > chunk_size / 4 || goal > whole)
        goal = whole;
    return extents_grow(&chunk->extents, mem->pages, needed, goal);
}

/* ---- chunks ---- */

static struct chunk *chunk_find(struct mem *mem, uint64_t inode, uint64_t index)
{
    struct chunk_entry *entry = chunk_index_find(&mem->index, inode, index);
    return entry == NULL ? NULL : container_of(entry, struct chunk, entry);
}

static struct chunk *chunk_create(struct mem *mem, uint64_t inode, uint64_t index)
{
    struct chunk *chunk = calloc(1, sizeof(*chunk));
    if (chunk == NULL)
        return NULL;
    list_init(&chunk->slack_link);
    if (chunk_index_insert(&mem->index, &chunk->entry, inode, index) != 0) {
        free(chunk);
        return NULL;
    }
    return chunk;
}

static void chunk_free(struct mem *mem, struct chunk *chunk)
{
    slack_set(mem, chunk, 0);
    extents_shrink(&chunk->extents, mem->pages, 0);
    free(chunk);
}

/* Called for a chunk that has just left the index. */
static void chunk_dispose(void *owner, struct chunk_entry *entry)
{
    struct mem *mem = owner;
    struct chunk *chunk = container_of(entry, struct chunk, entry);
    if (chunk->pins == 0) {
        chunk_free(mem, chunk);
        return;
    }
    chunk->removed = true;
    slack_set(mem, chunk, 0);
}

static int flight_join(struct mem *mem, struct chunk *chunk)
{
    if (chunk->flight == NULL) {
        struct flight *flight = mem->spare;
        if (flight != NULL)
            mem->spare = flight->next;
        else if ((flight = calloc(1, sizeof(*flight))) == NULL)
            return -ENOMEM;
        list_init(&flight->writers);
        chunk->flight = flight;
    }
    /* One more for this write, one for the commit of each, one for a cut (only the lowest of several counts).
     */
    struct flight *flight = chunk->flight;
    return ranges_reserve(&flight->undefined, flight->undefined.count + flight->count + 3);
}

/* The last write has ended: nothing lands any more, so what nobody wrote can be zeroed now. */
static void flight_end(struct mem *mem, struct chunk *chunk)
{
    struct flight *flight = chunk->flight;
    struct range part;
    for (uint32_t at = 0; ranges_first(&flight->undefined, at, chunk->length, &part); at = part.end)
        extents_zero(&chunk->extents, mem->region.bytes, part.start, part.end);
    flight->undefined.count = 0;
    chunk->defined = chunk->length;
    chunk->flight = NULL;
    flight->next = mem->spare;
    mem->spare = flight;
}

/* Restores what holds between two calls; may free the chunk. */
static void chunk_settle(struct mem *mem, struct chunk *chunk)
{
    if (chunk->flight != NULL && chunk->flight->count == 0)
        flight_end(mem, chunk);
    if (chunk->pins == 0) {
        chunk->held = 0;
        if (!chunk->removed && chunk->length == 0 && chunk->reserved == 0) {
            chunk_index_remove(&mem->index, &chunk->entry);
            chunk->removed = true;
        }
    }
    if (!chunk->removed)
        slack_measure(mem, chunk);
    else if (chunk->pins == 0)
        chunk_free(mem, chunk);
}

/* ---- transfers ---- */

/* Fills vector, with a bounce buffer when the range is too scattered or the caller asks for one. */
static int io_map(struct mem *mem, struct chunk *chunk, struct store_io *io, bool bounce)
{
    io->private[IO_STALE] = 0;
    io->private[IO_BOUNCE] = 0;
    if (!bounce)
        io->count = extents_map(&chunk->extents, mem->region.bytes, io->offset, io->length, io->vector,
                                STORE_VECTOR_MAX);
    if (bounce || io->count == 0) {
        void *buffer = malloc(io->length);
        if (buffer == NULL)
            return -ENOMEM;
        io->private[IO_BOUNCE] = (uint64_t)(uintptr_t)buffer;
        io->vector[0] = (struct iovec){buffer, io->length};
        io->count = 1;
    }
    return 0;
}

static void io_begin(struct chunk *chunk, struct store_io *io)
{
    io->engine = chunk;
    chunk->pins++;
    chunk->held = larger(chunk->held, io->offset + io->length);
}

static void io_end(struct mem *mem, struct chunk *chunk, struct store_io *io)
{
    free(bounce_of(io));
    io->private[IO_BOUNCE] = 0;
    io->engine = NULL;
    chunk->pins--;
    chunk_settle(mem, chunk);
}

/* A write begins at `offset` and leaves out what lies behind `defined`: large parts of that need no memory.
 */
static void leave_gap(struct mem *mem, struct chunk *chunk, uint32_t offset)
{
    uint32_t first = hole_up(pages_of(larger(larger(chunk->defined, chunk->reserved), chunk->held)));
    uint32_t last = hole_down(offset >> PAGE_SHIFT);
    if (first < last) {
        /* Without memory for the bookkeeping it stays as it is, and is zeroed. */
        slack_set(mem, chunk, 0);
        extents_punch(&chunk->extents, mem->pages, first, last);
    }
}

static int mem_write_begin(struct store *store, struct store_io *io, uint32_t chunk_size)
{
    struct mem *mem = mem_of(store);
    if (chunk_size > CHUNK_BYTES_MAX || io->offset > chunk_size || io->length > chunk_size - io->offset)
        return -EINVAL;
    io->engine = NULL;
    io->count = 0;
    if (io->length == 0)
        return 0;
    struct chunk *chunk = chunk_find(mem, io->inode, io->index);
    if (chunk == NULL && (chunk = chunk_create(mem, io->inode, io->index)) == NULL)
        return -ENOMEM;
    uint32_t end = io->offset + io->length;
    int status = flight_join(mem, chunk);
    if (status == 0)
        status = make_room(mem, chunk, io->offset, end, chunk_size);
    if (status == 0)
        status = fill_holes(mem, chunk, io->offset, end);
    if (status == 0)
        status = io_map(mem, chunk, io, false);
    if (status != 0) {
        chunk_settle(mem, chunk);
        return status;
    }
    if (io->offset > chunk->defined) {
        leave_gap(mem, chunk, io->offset);
        extents_zero(&chunk->extents, mem->region.bytes, chunk->defined, io->offset);
    }
    ranges_add(&chunk->flight->undefined, larger(io->offset, chunk->defined), end);
    chunk->defined = larger(chunk->defined, end);
    list_push_back(&chunk->flight->writers, &io->link);
    chunk->flight->count++;
    io_begin(chunk, io);
    slack_measure(mem, chunk);
    return 0;
}

static void leave_flight(struct chunk *chunk, struct store_io *io)
{
    list_remove(&io->link);
    chunk->flight->count--;
}

static int mem_write_commit(struct store *store, struct store_io *io)
{
    struct mem *mem = mem_of(store);
    struct chunk *chunk = io->engine;
    if (chunk == NULL)
        return 0;
    bool stale = chunk->removed || io->private[IO_STALE] != 0;
    if (!stale) {
        uint32_t end = io->offset + io->length;
        if (bounce_of(io) != NULL)
            extents_write(&chunk->extents, mem->region.bytes, io->offset, io->length, bounce_of(io));
        ranges_subtract(&chunk->flight->undefined, io->offset, end);
        chunk->length = larger(chunk->length, end);
    }
    leave_flight(chunk, io);
    io_end(mem, chunk, io);
    return stale ? -ESTALE : 0;
}

static void mem_write_abort(struct store *store, struct store_io *io)
{
    struct chunk *chunk = io->engine;
    if (chunk == NULL)
        return;
    leave_flight(chunk, io);
    io_end(mem_of(store), chunk, io);
}

static int mem_read_begin(struct store *store, struct store_io *io)
{
    struct mem *mem = mem_of(store);
    struct chunk *chunk = chunk_find(mem, io->inode, io->index);
    io->engine = NULL;
    io->count = 0;
    if (chunk == NULL || io->offset >= chunk->length)
        io->length = 0;
    else if (io->length > chunk->length - io->offset)
        io->length = chunk->length - io->offset;
    if (io->length == 0)
        return 0;
    uint32_t end = io->offset + io->length;
    const struct ranges *undefined = chunk->flight == NULL ? NULL : &chunk->flight->undefined;
    struct range part;
    bool veiled = undefined != NULL && ranges_first(undefined, io->offset, end, &part);
    int status = io_map(mem, chunk, io, veiled);
    if (status != 0)
        return status;
    char *bounce = bounce_of(io);
    if (bounce != NULL)
        extents_read(&chunk->extents, mem->region.bytes, io->offset, io->length, bounce);
    for (uint32_t at = io->offset; veiled && ranges_first(undefined, at, end, &part); at = part.end)
        memset(bounce + (part.start - io->offset), 0, part.end - part.start);
    io_begin(chunk, io);
    return 0;
}

static void mem_read_end(struct store *store, struct store_io *io)
{
    if (io->engine != NULL)
        io_end(mem_of(store), io->engine, io);
}

/* ---- cutting and removing ---- */

static int mem_remove(struct store *store, uint64_t inode, uint64_t first)
{
    struct mem *mem = mem_of(store);
    chunk_index_remove_from(&mem->index, inode, first, chunk_dispose, mem);
    return 0;
}

static int mem_truncate(struct store *store, uint64_t inode, uint64_t index, uint32_t length)
{
    struct mem *mem = mem_of(store);
    struct chunk *chunk = chunk_find(mem, inode, index);
    if (chunk == NULL)
        return 0;
    if (length == 0) {
        chunk_index_remove(&mem->index, &chunk->entry);
        chunk_dispose(mem, &chunk->entry);
        return 0;
    }
    bool stale = false;
    if (chunk->flight != NULL)
        list_for_each (node, &chunk->flight->writers) {
            struct store_io *io = container_of(node, struct store_io, link);
            if (io->offset + io->length > length) {
                io->private[IO_STALE] = 1;
                stale = true;
            }
        }
    if (stale) {
        /* Their bytes may still be landing beyond the cut, so it cannot be zeroed yet. */
        ranges_add(&chunk->flight->undefined, length, chunk->defined);
    } else if (chunk->defined > length) {
        if (chunk->flight != NULL)
            ranges_subtract(&chunk->flight->undefined, length, chunk->defined);
        chunk->defined = length;
    }
    if (chunk->length > length)
        chunk->length = length;
    if (chunk->reserved > length)
        chunk->reserved = length;
    chunk_settle(mem, chunk);
    return 0;
}

/* ---- reserving, clearing, seeking ---- */

static uint64_t mem_missing(struct store *store, uint64_t inode, uint64_t index, uint32_t offset,
                            uint32_t length)
{
    const struct chunk *chunk = chunk_find(mem_of(store), inode, index);
    uint32_t first = offset >> PAGE_SHIFT, last = pages_of(offset + length);
    if (chunk == NULL)
        return (uint64_t)(last - first) << PAGE_SHIFT;
    uint32_t there = chunk->extents.pages - chunk->slack;
    uint32_t beyond = last > there ? last - larger(first, there) : 0;
    return (uint64_t)(beyond + extents_holes(&chunk->extents, first, last < there ? last : there))
           << PAGE_SHIFT;
}

static int mem_reserve(struct store *store, uint64_t inode, uint64_t index, uint32_t offset, uint32_t length)
{
    struct mem *mem = mem_of(store);
    uint32_t end = offset + length, last = pages_of(end);
    struct chunk *chunk = chunk_find(mem, inode, index);
    if (chunk == NULL && (chunk = chunk_create(mem, inode, index)) == NULL)
        return -ENOMEM;
    slack_set(mem, chunk, 0);
    int status = 0;
    if (last > chunk->extents.pages)
        status = extents_grow_hole(&chunk->extents, offset >> PAGE_SHIFT);
    if (status == 0 && last > chunk->extents.pages)
        status = pages_to_be_had(mem, last - chunk->extents.pages)
                     ? extents_grow(&chunk->extents, mem->pages, last, last)
                     : -ENOSPC;
    if (status == 0)
        status = fill_holes(mem, chunk, offset, end);
    if (status == 0)
        chunk->reserved = larger(chunk->reserved, end);
    chunk_settle(mem, chunk);
    return status;
}

/* What a clearing needs on its way through the chunks. */
struct clearing {
    struct mem *mem;
    const struct store_range *range;
    bool keep;
    int status;
};

static void clear_chunk(void *owner, struct chunk_entry *entry)
{
    struct clearing *clearing = owner;
    struct mem *mem = clearing->mem;
    struct chunk *chunk = container_of(entry, struct chunk, entry);
    uint64_t at = entry->node.index << clearing->range->chunk_shift;
    uint64_t size = UINT64_C(1) << clearing->range->chunk_shift;
    uint32_t start = clearing->range->start > at ? (uint32_t)(clearing->range->start - at) : 0;
    uint32_t end = (uint32_t)(clearing->range->end - at < size ? clearing->range->end - at : size);
    bool still = chunk->pins == 0; /* nothing is under way */
    if (still && !clearing->keep) {
        /* A tail needs no bookkeeping. */
        if (end >= chunk->length && start < chunk->length)
            chunk->length = chunk->defined = start;
        if (end >= chunk->reserved && start < chunk->reserved)
            chunk->reserved = start;
        if (start < larger(chunk->length, chunk->reserved)) {
            uint32_t first = pages_of(start), last = end >> PAGE_SHIFT;
            slack_set(mem, chunk, 0);
            int status = extents_punch(&chunk->extents, mem->pages, first, last);
            if (status != 0)
                clearing->status = status;
        }
    }
    if (start < chunk->length)
        extents_zero(&chunk->extents, mem->region.bytes, start, end < chunk->length ? end : chunk->length);
    chunk_settle(mem, chunk);
}

static int mem_clear(struct store *store, const struct store_range *range, bool keep)
{
    struct clearing clearing = {mem_of(store), range, keep, 0};
    if (range->start < range->end)
        chunk_index_visit(&mem_of(store)->index, range->inode, range->start >> range->chunk_shift,
                          (range->end - 1) >> range->chunk_shift, clear_chunk, &clearing);
    return clearing.status;
}

static uint64_t mem_next_chunk(struct store *store, uint64_t inode, uint64_t first)
{
    const struct chunk_entry *entry = chunk_index_next(&mem_of(store)->index, inode, first);
    return entry == NULL ? UINT64_MAX : entry->node.index;
}

static bool mem_next(struct store *store, struct store_cursor *cursor)
{
    return chunk_index_advance(&mem_of(store)->index, cursor) != NULL;
}

static uint32_t mem_seek(struct store *store, uint64_t inode, uint64_t index, uint32_t offset, bool hole)
{
    const struct chunk *chunk = chunk_find(mem_of(store), inode, index);
    if (chunk == NULL || offset >= chunk->length)
        return hole ? offset : UINT32_MAX;
    uint32_t page = extents_seek(&chunk->extents, offset >> PAGE_SHIFT, hole);
    uint64_t at = larger(page << PAGE_SHIFT, offset);
    if (at < chunk->length)
        return (uint32_t)at;
    return hole ? chunk->length : UINT32_MAX;
}

static uint64_t mem_held(struct store *store, uint64_t inode)
{
    const struct chunk_file *file = chunk_index_file(&mem_of(store)->index, inode);
    return file == NULL ? 0 : file->held << PAGE_SHIFT;
}

static void mem_statistics(struct store *store, struct store_statistics *statistics)
{
    struct mem *mem = mem_of(store);
    uint64_t free_pages = pages_available(mem->pages) + mem->slack;
    statistics->used = (mem->page_count - free_pages) << PAGE_SHIFT;
    statistics->capacity = mem->page_count << PAGE_SHIFT;
    statistics->chunks = mem->index.chunks.count;
    statistics->memory = ((mem->page_count - pages_available(mem->pages)) << PAGE_SHIFT) +
                         mem->page_count * PAGES_BOOKKEEPING +
                         chunk_index_memory(&mem->index, sizeof(struct chunk));
    /* Pages that were used once stay with the process. Looked at as often as somebody asks. */
    if (statistics->memory > mem->taken)
        mem->taken = statistics->memory;
    statistics->taken = mem->taken;
}

static uint32_t mem_chunk_length(struct store *store, uint64_t inode, uint64_t index)
{
    struct chunk *chunk = chunk_find(mem_of(store), inode, index);
    return chunk == NULL ? 0 : chunk->length;
}

/* ---- life ---- */

/* Kernels before 5.14 do not populate on request; there every page is touched by hand. */
static void region_prefault(struct mem *mem)
{
    if (madvise(mem->region.bytes, mem->region.length, MADV_POPULATE_WRITE) == 0)
        return;
    for (size_t at = 0; at < mem->region.length; at += PAGE_BYTES)
        *(volatile char *)(mem->region.bytes + at) = 0;
}

static void chunk_forget(void *owner, struct chunk_entry *entry)
{
    chunk_free(owner, container_of(entry, struct chunk, entry));
}

static void mem_destroy(struct store *store)
{
    struct mem *mem = mem_of(store);
    chunk_index_free(&mem->index, chunk_forget, mem);
    while (mem->spare != NULL) {
        struct flight *flight = mem->spare;
        mem->spare = flight->next;
        ranges_free(&flight->undefined);
        free(flight);
    }
    if (mem->pages != NULL)
        pages_destroy(mem->pages);
    region_free(&mem->region);
    free(mem);
}

static int mem_create(const struct store_options *options, struct store **store)
{
    uint64_t page_count = options->capacity >> PAGE_SHIFT;
    if (page_count == 0 || page_count >= PAGES_NONE) {
        log_error("store capacity of %" PRIu64
                  " bytes is impossible: set store.capacity between 4 KiB and 16 TiB",
                  options->capacity);
        return -EINVAL;
    }
    struct mem *mem = calloc(1, sizeof(*mem));
    if (mem == NULL)
        return -ENOMEM;
    mem->store = (struct store){.operations = &store_mem_operations, .loop = options->loop};
    mem->page_count = page_count;
    list_init(&mem->slack_chunks);
    int status = chunk_index_init(&mem->index);
    if (status != 0) {
        free(mem);
        return status;
    }
    status = pages_create((uint32_t)page_count, &mem->pages);
    if (status == 0)
        status = region_make(&mem->region, options->net, (size_t)page_count << PAGE_SHIFT);
    if (status != 0) {
        log_error("cannot reserve %" PRIu64 " bytes of memory for the store: set store.capacity lower",
                  page_count << PAGE_SHIFT);
        mem_destroy(&mem->store);
        return status;
    }
    if (options->prefault)
        region_prefault(mem);
    *store = &mem->store;
    return 0;
}

const struct store_operations store_mem_operations = {
    .name = "mem",
    .persistent = false,
    .create = mem_create,
    .destroy = mem_destroy,
    .write_begin = mem_write_begin,
    .write_commit = mem_write_commit,
    .write_abort = mem_write_abort,
    .read_begin = mem_read_begin,
    .read_end = mem_read_end,
    .truncate = mem_truncate,
    .remove = mem_remove,
    .statistics = mem_statistics,
    .chunk_length = mem_chunk_length,
    .reserve = mem_reserve,
    .missing = mem_missing,
    .clear = mem_clear,
    .next_chunk = mem_next_chunk,
    .seek = mem_seek,
    .held = mem_held,
    .next = mem_next,
};

/* Transfers of the persistent-memory engine. */
#include "store/pmem_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_ATTEMPTS 3 /* journal commits of one write in search of pages */

/* ---- writing ---- */

/* Waits until so many pages can be had. */
static int room_wait(struct pmem *pmem, uint32_t count)
{
    for (int attempt = 0; cow_pages_available(pmem->pages) < count + EDGE_PAGES; attempt++) {
        if (pmem->journal == NULL || attempt == ROOM_ATTEMPTS || cow_pages_retired(pmem->pages) == 0)
            return -ENOSPC;
        int status = journal_commit(pmem->journal);
        if (status != 0)
            return status;
    }
    return 0;
}

/* Adds memory to the vector, to its last piece if it adjoins. false: there is no place. */
static bool vector_add(struct store_io *io, char *memory, uint32_t length)
{
    if (io->count > 0) {
        struct iovec *last = &io->vector[io->count - 1];
        if ((char *)last->iov_base + last->iov_len == memory) {
            last->iov_len += length;
            return true;
        }
    }
    if (io->count == STORE_VECTOR_MAX)
        return false;
    io->vector[io->count++] = (struct iovec){memory, length};
    return true;
}

/* Points the vector at the pages; the bounce buffer serves when they are too scattered. */
static int flight_map(struct pmem *pmem, struct flight *flight, struct store_io *io)
{
    uint32_t skip = io->offset & (PAGE_BYTES - 1), left = io->length;
    io->count = 0;
    for (uint32_t i = 0; i < flight->blocks; i++) {
        uint32_t here = smaller(PAGE_BYTES - skip, left);
        char *memory = page_at(pmem, flight->pages[i]) + skip;
        if (!vector_add(io, memory, here))
            break;
        left -= here;
        skip = 0;
    }
    if (left == 0)
        return 0;
    flight->bounce = malloc(io->length);
    if (flight->bounce == NULL)
        return -ENOMEM;
    io->vector[0] = (struct iovec){flight->bounce, io->length};
    io->count = 1;
    return 0;
}

/* Gives back what a write took that has not been committed. */
static void flight_free(struct pmem *pmem, struct flight *flight)
{
    pmem->charged -= flight->growth;
    for (uint32_t i = 0, run; i < flight->blocks; i += run) {
        run = pmem_pages_run(flight->pages, i, flight->blocks);
        cow_pages_discard(pmem->pages, flight->pages[i], run);
    }
    if (flight->tail != PAGES_NONE)
        cow_pages_discard(pmem->pages, flight->tail, 1);
    free(flight->bounce);
    free(flight);
}

/* Whether a write that begins at `offset` leaves out a block whose end has to be zeroed. */
static bool leaves_unclean(const struct chunk *chunk, uint32_t offset)
{
    uint32_t at = chunk->length >> PAGE_SHIFT;
    return chunk->unclean && offset >> PAGE_SHIFT > at && block_has_page(block_map_get(&chunk->map, at));
}

static int flight_begin(struct pmem *pmem, struct chunk *chunk, struct store_io *io)
{
    uint32_t first = io->offset >> PAGE_SHIFT, end = pages_of(io->offset + io->length);
    uint32_t holes = block_map_holes(&chunk->map, first, end);
    if (holes > 0 && pmem->charged + holes > pmem->capacity)
        return -ENOSPC;
    int status = block_map_reserve(&chunk->map, end);
    if (status != 0)
        return status;
    struct flight *flight = malloc(sizeof(*flight) + (end - first) * sizeof(flight->pages[0]));
    if (flight == NULL)
        return -ENOMEM;
    *flight = (struct flight){.chunk = chunk, .first = first, .growth = holes, .tail = PAGES_NONE};
    pmem->charged += holes;
    status = pmem_pages_collect(pmem, flight->pages, end - first);
    if (status == 0) {
        flight->blocks = end - first;
        status = flight_map(pmem, flight, io);
    }
    if (status == 0 && leaves_unclean(chunk, io->offset))
        status = pmem_pages_collect(pmem, &flight->tail, 1);
    if (status != 0) {
        flight_free(pmem, flight);
        return status;
    }
    io->engine = flight;
    list_push_back(&chunk->writers, &io->link);
    return 0;
}

int pmem_write_begin(struct store *store, struct store_io *io, uint32_t chunk_size)
{
    struct pmem *pmem = pmem_of(store);
    if (chunk_size > CHUNK_BYTES_MAX || io->offset > chunk_size || io->length > chunk_size - io->offset)
        return -EINVAL;
    io->engine = NULL;
    io->count = 0;
    if (io->length == 0)
        return 0;
    int status = pmem->journal == NULL ? 0 : journal_admit(pmem->journal);
    if (status == 0)
        status = room_wait(pmem, pages_of(io->offset + io->length) - (io->offset >> PAGE_SHIFT) + 1);
    if (status != 0)
        return status;
    struct chunk *chunk = pmem_chunk_find(pmem, io->inode, io->index);
    if (chunk == NULL && (chunk = pmem_chunk_create(pmem, io->inode, io->index)) == NULL)
        return -ENOMEM;
    status = flight_begin(pmem, chunk, io);
    if (status != 0)
        pmem_chunk_settle(pmem, chunk, false);
    return status;
}

/* Blocks that the write covers in part hold the chunk's bytes in their other part. Before they are copied
 * they must be right: a new checksum would hide that they were not. */
static int flight_complete(struct pmem *pmem, const struct flight *flight, const struct store_io *io)
{
    const struct chunk *chunk = flight->chunk;
    uint32_t head = io->offset & (PAGE_BYTES - 1), end = io->offset + io->length;
    uint32_t rest = end & (PAGE_BYTES - 1), last = flight->blocks - 1;
    int status = 0;
    if (head > 0)
        status = pmem_block_verify(pmem, chunk, flight->first, 0);
    if (status == 0 && rest > 0)
        status = pmem_block_verify(pmem, chunk, flight->first + last, 0);
    if (status == 0 && flight->tail != PAGES_NONE && leaves_unclean(chunk, io->offset))
        status = pmem_block_verify(pmem, chunk, chunk->length >> PAGE_SHIFT, 0);
    if (status != 0)
        return status;
    if (head > 0)
        pmem_block_complete(pmem, chunk, flight->first, flight->pages[0], 0, head);
    if (rest > 0)
        pmem_block_complete(pmem, chunk, flight->first + last, flight->pages[last], rest, PAGE_BYTES);
    return 0;
}

static void flight_unbounce(const struct pmem *pmem, const struct flight *flight, const struct store_io *io)
{
    uint32_t skip = io->offset & (PAGE_BYTES - 1), done = 0;
    for (uint32_t i = 0; i < flight->blocks; i++, skip = 0) {
        uint32_t here = smaller(PAGE_BYTES - skip, io->length - done);
        memcpy(page_at(pmem, flight->pages[i]) + skip, flight->bounce + done, here);
        done += here;
    }
}

/* The pages become the chunk's. */
static void flight_apply(struct pmem *pmem, struct flight *flight, const struct store_io *io)
{
    struct chunk *chunk = flight->chunk;
    uint32_t end = io->offset + io->length, before = chunk->map.held;
    /* Without a page for it the block came after the cut, and is clean. */
    if (flight->tail != PAGES_NONE && leaves_unclean(chunk, io->offset)) {
        uint32_t at = chunk->length >> PAGE_SHIFT;
        pmem_block_complete(pmem, chunk, at, flight->tail, 0, PAGE_BYTES);
        pmem_device_flush(pmem->device, page_at(pmem, flight->tail), PAGE_BYTES);
        pmem_block_replace(pmem, chunk, at, flight->tail);
        flight->tail = PAGES_NONE;
    }
    for (uint32_t i = 0, run; i < flight->blocks; i += run) {
        run = pmem_pages_run(flight->pages, i, flight->blocks);
        pmem_device_flush(pmem->device, page_at(pmem, flight->pages[i]), (size_t)run << PAGE_SHIFT);
    }
    for (uint32_t i = 0; i < flight->blocks; i++)
        pmem_block_replace(pmem, chunk, flight->first + i, flight->pages[i]);
    flight->blocks = 0;
    pmem->charged += chunk->map.held - before;
    if (end > chunk->length) {
        chunk->length = end;
        chunk->unclean = false;
    }
}

int pmem_write_commit(struct store *store, struct store_io *io)
{
    struct pmem *pmem = pmem_of(store);
    struct flight *flight = io->engine;
    if (flight == NULL)
        return 0;
    struct chunk *chunk = flight->chunk;
    int status = flight->stale ? -ESTALE : flight_complete(pmem, flight, io);
    list_remove(&io->link);
    io->engine = NULL;
    if (status == 0) {
        if (flight->bounce != NULL)
            flight_unbounce(pmem, flight, io);
        flight_apply(pmem, flight, io);
    }
    flight_free(pmem, flight);
    if (chunk != NULL)
        pmem_chunk_settle(pmem, chunk, status == 0);
    return status;
}

void pmem_write_abort(struct store *store, struct store_io *io)
{
    struct pmem *pmem = pmem_of(store);
    struct flight *flight = io->engine;
    if (flight == NULL)
        return;
    struct chunk *chunk = flight->chunk;
    list_remove(&io->link);
    io->engine = NULL;
    flight_free(pmem, flight);
    if (chunk != NULL)
        pmem_chunk_settle(pmem, chunk, false);
}

/* ---- reading ---- */

/* Points the vector at the pages. false: there are holes, or the pages are too scattered. */
static bool read_map(const struct pmem *pmem, const struct chunk *chunk, struct store_io *io)
{
    uint32_t skip = io->offset & (PAGE_BYTES - 1), left = io->length;
    io->count = 0;
    for (uint32_t at = io->offset >> PAGE_SHIFT; left > 0; at++, skip = 0) {
        struct block block = block_map_get(&chunk->map, at);
        uint32_t here = smaller(PAGE_BYTES - skip, left);
        if (!block_has_page(block))
            return false;
        char *memory = page_at(pmem, block.page) + skip;
        if (!vector_add(io, memory, here))
            return false;
        left -= here;
    }
    return true;
}

static int read_bounce(const struct pmem *pmem, const struct chunk *chunk, struct store_io *io)
{
    char *bounce = malloc(io->length);
    if (bounce == NULL)
        return -ENOMEM;
    uint32_t skip = io->offset & (PAGE_BYTES - 1), done = 0;
    for (uint32_t at = io->offset >> PAGE_SHIFT; done < io->length; at++, skip = 0) {
        struct block block = block_map_get(&chunk->map, at);
        uint32_t here = smaller(PAGE_BYTES - skip, io->length - done);
        if (block_has_page(block))
            memcpy(bounce + done, page_at(pmem, block.page) + skip, here);
        else
            memset(bounce + done, 0, here);
        done += here;
    }
    io->vector[0] = (struct iovec){bounce, io->length};
    io->count = 1;
    io->engine = bounce;
    return 0;
}

/* The pages that a piece of a read's vector lies on. */
static uint32_t piece_pages(const struct pmem *pmem, const struct iovec *piece, uint32_t *first)
{
    size_t start = (size_t)((char *)piece->iov_base - pmem->memory);
    *first = (uint32_t)(start >> PAGE_SHIFT);
    return (uint32_t)((start + piece->iov_len - 1) >> PAGE_SHIFT) - *first + 1;
}

/* engine: the bounce buffer, or NULL: the vector's pages are pinned. */
int pmem_read_begin(struct store *store, struct store_io *io)
{
    struct pmem *pmem = pmem_of(store);
    const struct chunk *chunk = pmem_chunk_find(pmem, io->inode, io->index);
    io->engine = NULL;
    io->count = 0;
    if (chunk == NULL || io->offset >= chunk->length)
        io->length = 0;
    else
        io->length = smaller(io->length, chunk->length - io->offset);
    if (io->length == 0)
        return 0;
    uint32_t end = pages_of(io->offset + io->length);
    for (uint32_t at = io->offset >> PAGE_SHIFT; at < end; at++) {
        int status = pmem_block_verify(pmem, chunk, at, end);
        if (status != 0)
            return status;
    }
    if (!read_map(pmem, chunk, io))
        return read_bounce(pmem, chunk, io);
    for (uint32_t i = 0, first; i < io->count; i++) {
        uint32_t count = piece_pages(pmem, &io->vector[i], &first);
        cow_pages_pin(pmem->pages, first, count);
    }
    return 0;
}

void pmem_read_end(struct store *store, struct store_io *io)
{
    struct pmem *pmem = pmem_of(store);
    if (io->engine != NULL) {
        free(io->engine);
    } else if (io->length > 0) {
        for (uint32_t i = 0, first; i < io->count; i++) {
            uint32_t count = piece_pages(pmem, &io->vector[i], &first);
            cow_pages_unpin(pmem->pages, first, count);
        }
    }
    io->engine = NULL;
    io->count = 0;
}

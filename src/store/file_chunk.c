/* What the parts of the engine "file" know and do about single chunks: finding, holding, accounting, and
 * reading whole blocks with their checksums. file.c says how it all goes together. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/status.h"
#include "store/file_state.h"

/* ---- chunks ---- */

struct file_chunk *file_chunk_find(struct file_store *store, uint64_t inode, uint64_t index)
{
    struct chunk_entry *entry = chunk_index_find(&store->index, inode, index);
    return entry == NULL ? NULL : container_of(entry, struct file_chunk, entry);
}

struct file_chunk *file_chunk_make(struct file_store *store, uint64_t inode, uint64_t index)
{
    struct file_chunk *chunk = file_chunk_find(store, inode, index);
    if (chunk != NULL)
        return chunk;
    chunk = calloc(1, sizeof(*chunk));
    if (chunk == NULL)
        return NULL;
    list_init(&chunk->dirty);
    list_init(&chunk->care);
    if (chunk_index_insert(&store->index, &chunk->entry, inode, index) != 0) {
        free(chunk);
        return NULL;
    }
    return chunk;
}

/* Out of the index already. */
void file_chunk_free(struct file_store *store, struct file_chunk *chunk)
{
    file_forget(store, chunk);
    list_remove(&chunk->dirty);
    list_remove(&chunk->care);
    blocks_free(&chunk->blocks);
    if (chunk->peculiar != NULL) {
        ranges_free(&chunk->peculiar->zeros);
        ranges_free(&chunk->peculiar->reserved);
        free(chunk->peculiar);
    }
    free(chunk->activity);
    free(chunk);
}

void file_chunk_settle(struct file_store *store, struct file_chunk *chunk)
{
    if (chunk->activity != NULL || chunk->doomed || chunk_exists(chunk))
        return;
    if (chunk->has_file) { /* no write into it came to its end */
        chunk->doomed = true;
        file_care(store, chunk);
        return;
    }
    chunk_index_remove(&store->index, &chunk->entry);
    file_chunk_free(store, chunk);
}

int file_chunk_pin(struct file_chunk *chunk)
{
    if (chunk->activity == NULL) {
        struct activity *activity = calloc(1, sizeof(*activity));
        if (activity == NULL)
            return -ENOMEM;
        list_init(&activity->writers);
        list_init(&activity->holds);
        wait_queue_init(&activity->released);
        chunk->activity = activity;
    }
    chunk->activity->pins++;
    return 0;
}

void file_chunk_unpin(struct file_store *store, struct file_chunk *chunk)
{
    if (--chunk->activity->pins > 0)
        return;
    free(chunk->activity);
    chunk->activity = NULL;
    file_chunk_settle(store, chunk);
}

struct peculiar *file_peculiar(struct file_chunk *chunk)
{
    if (chunk->peculiar == NULL)
        chunk->peculiar = calloc(1, sizeof(*chunk->peculiar));
    return chunk->peculiar;
}

/* ---- accounting ---- */

uint32_t file_held_in(const struct file_chunk *chunk, uint32_t first, uint32_t last)
{
    uint32_t sum = blocks_data_in(&chunk->blocks, first, last);
    if (chunk->peculiar == NULL)
        return sum;
    uint32_t end = last > UINT32_MAX >> BLOCK_SHIFT ? UINT32_MAX : last << BLOCK_SHIFT;
    struct range part;
    for (uint32_t at = first << BLOCK_SHIFT; ranges_first(&chunk->peculiar->reserved, at, end, &part) != 0;
         at = part.end) {
        uint32_t from = part.start >> BLOCK_SHIFT, to = part.end >> BLOCK_SHIFT;
        sum += to - from - blocks_data_in(&chunk->blocks, from, to);
    }
    return sum;
}

void file_chunk_measure(struct file_store *store, struct file_chunk *chunk)
{
    uint32_t held = file_held_in(chunk, 0, UINT32_MAX);
    store->blocks += held;
    store->blocks -= chunk->entry.held;
    chunk_entry_hold(&chunk->entry, held);
    bool exists = chunk_exists(chunk);
    store->chunks += exists;
    store->chunks -= chunk->counted;
    chunk->counted = exists;
}

/* ---- holding ---- */

static bool conflicts(const struct activity *activity, const struct hold *hold)
{
    list_for_each (node, &activity->holds) {
        const struct hold *other = container_of(node, struct hold, link);
        if ((hold->exclusive || other->exclusive) && hold->start < other->end && other->start < hold->end)
            return true;
    }
    return false;
}

int file_hold(struct file_store *store, struct file_chunk *chunk, struct hold *hold)
{
    while (conflicts(chunk->activity, hold)) {
        int status = wait_queue_wait(store->store.loop, &chunk->activity->released, 0);
        if (status != 0)
            return status;
    }
    list_push_back(&chunk->activity->holds, &hold->link);
    return 0;
}

void file_release(struct file_store *store, struct file_chunk *chunk, struct hold *hold)
{
    list_remove(&hold->link);
    wait_queue_wake_all(store->store.loop, &chunk->activity->released);
}

bool file_is_settled(const struct file_store *store, const struct file_chunk *chunk)
{
    return chunk->settled <= store->committed || chunk->epoch == 0 || chunk->epoch == store->epoch;
}

/* ---- reading blocks ---- */

void file_veil(const struct file_chunk *chunk, uint32_t start, uint32_t end, char *bytes)
{
    if (chunk->length < end) {
        uint32_t from = larger(start, chunk->length);
        memset(bytes + (from - start), 0, end - from);
    }
    struct range part;
    if (chunk->peculiar != NULL)
        for (uint32_t at = start; ranges_first(&chunk->peculiar->zeros, at, end, &part) != 0; at = part.end)
            memset(bytes + (part.start - start), 0, part.end - part.start);
}

/* What to say of a block that is not as it was recorded. */
static void complain(const struct file_chunk *chunk, uint32_t block, const char *what)
{
    log_error("engine file: inode %" PRIu64 ", chunk %" PRIu64 ", block %" PRIu32 " (offset %" PRIu32
              " in the chunk) %s",
              chunk->entry.node.inode, chunk->entry.node.index, block, block << BLOCK_SHIFT, what);
}

static void accept(struct file_chunk *chunk, uint32_t block, uint32_t checksum)
{
    if (!chunk->accepted)
        log_info("engine file: inode %" PRIu64 ", chunk %" PRIu64
                 " was being overwritten when the server ended without synchronising it: block %" PRIu32
                 " and any other that differs from its checksum is taken as it is",
                 chunk->entry.node.inode, chunk->entry.node.index, block);
    chunk->accepted = true;
    blocks_set(&chunk->blocks, block, checksum);
}

static void note(struct store_scrub *wrong, uint32_t block)
{
    if (wrong->blocks++ == 0)
        wrong->offset = block << BLOCK_SHIFT;
}

/* Compares blocks [start, end) with what is recorded; the bytes of the file end at `have`. */
static int verify(struct file_store *store, struct file_chunk *chunk, uint32_t start, uint32_t end,
                  uint32_t have, const char *bytes, struct store_scrub *wrong)
{
    uint32_t accepted_first = UINT32_MAX, accepted_last = 0;
    int status = 0;
    for (uint32_t at = start; at < end; at += BLOCK_BYTES) {
        uint32_t block = at >> BLOCK_SHIFT;
        if (!blocks_is_data(&chunk->blocks, block))
            continue;
        uint32_t length = smaller(at + BLOCK_BYTES, chunk->covered) - at;
        const char *what = "is missing: the file is shorter than recorded";
        if (have >= at + length) {
            if (chunk->unchecked || !store->checksum)
                continue;
            const char *block_bytes = bytes + (at - start);
            uint32_t checksum = file_block_sum(block_bytes, length,
                                               at + BLOCK_BYTES < end ? block_bytes + BLOCK_BYTES : NULL);
            if (checksum == blocks_checksum(&chunk->blocks, block))
                continue;
            if (file_is_recovered(store, chunk->entry.node.inode)) {
                accept(chunk, block, checksum);
                accepted_first = smaller(accepted_first, block);
                accepted_last = block + 1;
                continue;
            }
            what = "does not match its checksum";
        }
        complain(chunk, block, what);
        status = -EIO;
        if (wrong == NULL)
            break;
        note(wrong, block);
    }
    if (accepted_first < accepted_last)
        file_record(store, chunk, accepted_first, accepted_last);
    return wrong == NULL ? status : 0;
}

/* Bytes of the file, or -errno. May suspend. */
static ssize_t read_file(struct file_store *store, struct file_chunk *chunk, uint32_t start, uint32_t end,
                         char *bytes)
{
    struct open_file *open;
    int status = file_open(store, chunk, false, &open);
    if (status == -ENOENT)
        return 0; /* every byte is missing */
    if (status != 0)
        return status;
    ssize_t count = disk_read(open->file, bytes, end - start, start);
    file_close(store, open);
    return count;
}

int file_read_blocks(struct file_store *store, struct file_chunk *chunk, uint32_t start, uint32_t end,
                     char *bytes, struct store_scrub *wrong)
{
    uint32_t first = blocks_seek(&chunk->blocks, start >> BLOCK_SHIFT, false) << BLOCK_SHIFT;
    uint32_t bound = smaller(end, chunk->covered);
    if (first >= bound) {
        memset(bytes, 0, end - start);
        return 0;
    }
    uint32_t generation = chunk->generation;
    ssize_t count = read_file(store, chunk, first, bound, bytes + (first - start));
    if (generation != chunk->generation || bound != smaller(end, chunk->covered))
        return -EAGAIN; /* extending the chunk changes its last block, too */
    if (count < 0) {
        log_error("engine file: cannot read inode %" PRIu64 ", chunk %" PRIu64 " at %" PRIu32 ": %s",
                  chunk->entry.node.inode, chunk->entry.node.index, first, status_text((int)count));
        if (wrong == NULL || count == -ECANCELED)
            return (int)count;
        count = 0;
    }
    int status = verify(store, chunk, first, bound, first + (uint32_t)count, bytes + (first - start), wrong);
    if (status != 0)
        return status;
    for (uint32_t at = start; at < end; at += BLOCK_BYTES)
        if (!blocks_is_data(&chunk->blocks, at >> BLOCK_SHIFT))
            memset(bytes + (at - start), 0, smaller(BLOCK_BYTES, end - at));
    return 0;
}

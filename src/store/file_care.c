/* What the file engine does besides serving: synchronising, tidying, looking through.
 *
 * One task in the background, started when there is something to do and at most once, first looks through
 * what a crash has left: the chunks of marked inodes, whose blocks it verifies, taking those that do not
 * match as they are (after that the mark means nothing any more and expires), and files that no chunk names.
 * Then it does what had to wait for the journal: removes the files of removed chunks, cuts and punches others
 * so that they hold their chunk's bytes and nothing else. It does one thing at a time and lets the server go
 * on in between. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "base/status.h"
#include "store/file_state.h"

#define SCRUB_BYTES (256u << 10)
#define SYNCS 32u

/* ---- tidying ---- */

void file_care(struct file_store *store, struct file_chunk *chunk)
{
    if (list_empty(&chunk->care))
        list_push_back(&store->care, &chunk->care);
}

/* A chunk that was cut within a block: its last checksum covers more than there is. Records one that does
 * not, after which the file can be cut. Everything is held. */
static int shorten(struct file_store *store, struct file_chunk *chunk)
{
    uint32_t last = chunk->length >> BLOCK_SHIFT;
    char block[BLOCK_BYTES];
    if (blocks_is_data(&chunk->blocks, last)) {
        uint32_t at = last << BLOCK_SHIFT;
        int status = file_read_blocks(store, chunk, at, at + BLOCK_BYTES, block, NULL);
        if (status != 0)
            return status;
        blocks_set(&chunk->blocks, last, store->checksum ? crc32c(0, block, chunk->length - at) : 0);
    }
    if (chunk->peculiar != NULL)
        ranges_subtract(&chunk->peculiar->zeros, chunk->length, UINT32_MAX);
    chunk->covered = chunk->length;
    chunk->exact = false;
    file_record(store, chunk, last, last + 1);
    chunk->settled = journal_position(store->journal);
    return 0;
}

int file_cut(struct file_chunk *chunk, struct disk_file *file)
{
    uint64_t size;
    int status = disk_file_size(file, &size);
    if (status == 0 && size > chunk->covered)
        status = disk_file_truncate(file, chunk->covered);
    chunk->exact = status == 0;
    return status;
}

/* Gives back the blocks of holes. What is cleared meanwhile has to wait. */
static int punch_holes(struct file_store *store, struct file_chunk *chunk, struct disk_file *file)
{
    uint32_t block = 0;
    int status = 0;
    while (status == 0 && file_is_settled(store, chunk)) {
        uint32_t first = blocks_seek(&chunk->blocks, block, true);
        block = blocks_seek(&chunk->blocks, first, false);
        if (first == block) {
            chunk->holed = false;
            return 0;
        }
        status =
            disk_file_punch(file, (uint64_t)first << BLOCK_SHIFT, (uint64_t)(block - first) << BLOCK_SHIFT);
    }
    if (status == -EOPNOTSUPP) {
        chunk->holed = false; /* they stay */
        return 0;
    }
    return status;
}

static int tidy(struct file_store *store, struct file_chunk *chunk)
{
    struct open_file *open;
    if (chunk->length < chunk->covered && file_is_settled(store, chunk))
        return shorten(store, chunk);
    int status = file_open(store, chunk, false, &open);
    if (status != 0)
        return status == -ENOENT ? 0 : status;
    if (!chunk->exact && file_is_settled(store, chunk))
        status = file_cut(chunk, open->file);
    if (status == 0 && chunk->holed)
        status = punch_holes(store, chunk, open->file);
    file_close(store, open);
    return status;
}

static void tidy_held(struct file_store *store, struct file_chunk *chunk)
{
    struct hold hold = {.start = 0, .end = UINT32_MAX, .exclusive = true};
    if (file_chunk_pin(chunk) != 0)
        return;
    if (file_hold(store, chunk, &hold) == 0) {
        int status = chunk_exists(chunk) ? tidy(store, chunk) : 0;
        if (status != 0 && status != -EAGAIN)
            log_warning("engine file: the file of inode %" PRIu64 ", chunk %" PRIu64
                        " keeps bytes that are no longer needed: %s",
                        chunk->entry.node.inode, chunk->entry.node.index, status_text(status));
        if (status == -EAGAIN || !file_is_settled(store, chunk))
            file_care(store, chunk);
        file_release(store, chunk, &hold);
    }
    file_chunk_unpin(store, chunk);
}

/* One chunk that is not in the list any more; it may be freed. */
static void tend(struct file_store *store, struct file_chunk *chunk)
{
    if (!file_is_settled(store, chunk)) {
        file_care(store, chunk);
    } else if (chunk->doomed) {
        file_unlink(store, chunk);
        file_chunk_settle(store, chunk);
    } else if (chunk->has_file && chunk_exists(chunk)) {
        tidy_held(store, chunk);
    }
}

static size_t list_length(const struct list *head)
{
    size_t length = 0;
    for (const struct list *node = head->next; node != head; node = node->next)
        length++;
    return length;
}

void file_tend_all(struct file_store *store)
{
    uint64_t committed;
    do {
        committed = store->committed;
        for (size_t left = list_length(&store->care); left > 0 && !store->stopping; left--) {
            struct list *node = list_pop_front(&store->care);
            if (node == NULL)
                return;
            tend(store, container_of(node, struct file_chunk, care));
            if (left % 16 == 0)
                task_yield(store->store.loop);
        }
    } while (committed != store->committed && !store->stopping);
}

/* ---- after a crash ---- */

static int look_through(struct file_store *store, uint64_t inode)
{
    struct chunk_entry *entry = chunk_index_next(&store->index, inode, 0);
    while (entry != NULL && !store->stopping) {
        uint64_t index = entry->node.index;
        struct store_scrub found;
        int status = file_scrub(&store->store, inode, index, &found);
        if (status != 0 && status != -ENOENT)
            return status;
        task_yield(store->store.loop);
        entry = index == UINT64_MAX ? NULL : chunk_index_next(&store->index, inode, index + 1);
    }
    return store->stopping ? -ECANCELED : 0;
}

static struct mark *next_recovered(const struct file_store *store)
{
    list_for_each (node, &store->marks) {
        struct mark *mark = container_of(node, struct mark, link);
        if (mark->recovered)
            return mark;
    }
    return NULL;
}

static void look_through_marked(struct file_store *store)
{
    struct mark *mark;
    while (!store->stopping && (mark = next_recovered(store)) != NULL) {
        uint64_t inode = mark->inode;
        if (look_through(store, inode) != 0)
            return; /* the marks stay, also for the next start */
        mark = map_get(&store->marked, inode);
        if (mark != NULL) {
            mark->recovered = false;
            mark->used = store->epoch;
        }
    }
}

/* ---- the task ---- */

static void care_run(void *argument)
{
    struct file_store *store = argument;
    look_through_marked(store);
    if (store->strays && !store->stopping) {
        store->strays = false;
        file_remove_strays(store);
    }
    file_tend_all(store);
    store->caring = false;
    if (store->ended != NULL)
        completion_fire(store->ended, 0);
}

void file_care_start(struct file_store *store)
{
    if (store->caring || store->stopping ||
        (!store->strays && list_empty(&store->care) && next_recovered(store) == NULL))
        return;
    /* Without memory for a task now, there will be some at the next commit. */
    store->caring = task_spawn_later(store->store.loop, care_run, store, NULL) == 0;
}

void file_care_stop(struct file_store *store)
{
    store->stopping = true;
    struct completion ended = COMPLETION_INIT;
    while (store->caring) {
        store->ended = &ended;
        /* In a simulation the device may have gone: then the task never goes on. */
        if (await(store->store.loop, &ended) == -EDEADLK)
            return;
    }
}

/* ---- synchronising ---- */

struct synchronisation {
    struct disk_io io;
    struct open_file *open;
};

/* Takes the next chunk's file, if it still has one: 1, or 0, or -errno. */
static int sync_start(struct file_store *store, struct file_chunk *chunk, struct synchronisation *sync)
{
    if (chunk->doomed || !chunk->has_file)
        return 0;
    int status = file_open(store, chunk, false, &sync->open);
    if (status != 0) {
        log_error("engine file: cannot open inode %" PRIu64 ", chunk %" PRIu64 " to synchronise it: %s",
                  chunk->entry.node.inode, chunk->entry.node.index, status_text(status));
        return status;
    }
    sync->io = (struct disk_io){.file = sync->open->file, .call = DISK_SYNC};
    disk_start(&sync->io);
    return 1;
}

static int sync_some(struct file_store *store, struct list *chunks)
{
    struct synchronisation syncs[SYNCS];
    unsigned count = 0;
    int status = 0;
    while (count < SYNCS && status >= 0 && !list_empty(chunks)) {
        status =
            sync_start(store, container_of(list_pop_front(chunks), struct file_chunk, dirty), &syncs[count]);
        count += status == 1;
    }
    status = status < 0 ? status : 0;
    for (unsigned i = 0; i < count; i++) {
        int done = (int)disk_finish(&syncs[i].io);
        status = status == 0 ? done : status;
        file_close(store, syncs[i].open);
    }
    return status;
}

/* Called at once after the journal's cut, so that the epoch tells which records it took. */
int file_flush(struct store *base)
{
    struct file_store *store = file_of(base);
    store->epoch++;
    file_marks_expire(store, MARK_EPOCHS);
    struct list chunks;
    list_init(&chunks);
    for (struct list *node; (node = list_pop_front(&store->dirty)) != NULL;)
        list_push_back(&chunks, node);
    int status = 0;
    while (status == 0 && !list_empty(&chunks))
        status = sync_some(store, &chunks);
    while (list_pop_front(&chunks) != NULL)
        continue;
    return status == 0 ? file_sync_names(store) : status;
}

/* ---- scrubbing ---- */

static int scrub_part(struct file_store *store, struct file_chunk *chunk, uint32_t at, char *bytes,
                      struct store_scrub *found)
{
    struct hold hold = {.start = at, .end = at + SCRUB_BYTES};
    int status = file_hold(store, chunk, &hold);
    if (status != 0)
        return status;
    uint32_t end;
    do {
        end = smaller(at + SCRUB_BYTES, chunk->covered);
        status = at < end ? file_read_blocks(store, chunk, at, block_up(end), bytes, found) : 0;
    } while (status == -EAGAIN);
    if (status == 0 && at < end)
        found->bytes += end - at;
    file_release(store, chunk, &hold);
    return status;
}

int file_scrub(struct store *base, uint64_t inode, uint64_t index, struct store_scrub *found)
{
    struct file_store *store = file_of(base);
    struct file_chunk *chunk = file_chunk_find(store, inode, index);
    *found = (struct store_scrub){0};
    if (chunk == NULL || !chunk_exists(chunk))
        return -ENOENT;
    struct staging_memory memory;
    int status = file_chunk_pin(chunk);
    if (status != 0)
        return status;
    status = staging_take(store->staging, SCRUB_BYTES, false, &memory);
    if (status == 0) {
        for (uint32_t at = 0; at < chunk->covered && status == 0; at += SCRUB_BYTES)
            status = scrub_part(store, chunk, at, memory.bytes, found);
        staging_give(store->staging, &memory, false);
    }
    if (status == 0 && !chunk_exists(chunk))
        status = -ENOENT;
    file_chunk_unpin(store, chunk);
    return status;
}

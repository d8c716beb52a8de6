/* Chunks of the persistent-memory engine: what every change of one does to its map, to the pages that it
 * gives up, to the account of what is held, and to the journal. */
#include "store/pmem_state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cluster/partition.h"

struct chunk *pmem_chunk_find(struct pmem *pmem, uint64_t inode, uint64_t index)
{
    struct chunk_entry *entry = chunk_index_find(&pmem->index, inode, index);
    return entry == NULL ? NULL : container_of(entry, struct chunk, entry);
}

struct chunk *pmem_chunk_create(struct pmem *pmem, uint64_t inode, uint64_t index)
{
    struct chunk *chunk = calloc(1, sizeof(*chunk));
    if (chunk == NULL)
        return NULL;
    list_init(&chunk->writers);
    if (chunk_index_insert(&pmem->index, &chunk->entry, inode, index) != 0) {
        free(chunk);
        return NULL;
    }
    return chunk;
}

/* Without a journal nothing waits for one. */
static void journal_changed(struct pmem *pmem)
{
    if (pmem->journal == NULL) {
        cow_pages_seal(pmem->pages, 0);
        cow_pages_committed(pmem->pages, 0);
    }
}

static void chunk_record(struct pmem *pmem, struct chunk *chunk)
{
    chunk_entry_hold(&chunk->entry, chunk->map.held);
    chunk->recorded = true;
    if (pmem->journal != NULL) {
        uint8_t key[BLOCK_KEY_BYTES];
        block_key_encode(chunk->entry.node.inode, chunk->entry.node.index, key);
        size_t size = block_record_size(&chunk->map);
        void *value =
            journal_append(pmem->journal, store_chunk_kind(&pmem->store),
                           inode_partition(chunk->entry.node.inode), key, sizeof(key), (uint32_t)size);
        block_record_encode(&chunk->map, chunk->length, value);
    }
    journal_changed(pmem);
}

void pmem_chunk_dispose(void *owner, struct chunk_entry *entry)
{
    struct pmem *pmem = owner;
    struct chunk *chunk = container_of(entry, struct chunk, entry);
    list_for_each_safe (node, &chunk->writers) {
        struct flight *flight = container_of(node, struct store_io, link)->engine;
        flight->chunk = NULL;
        flight->stale = true;
        list_remove(node);
    }
    for (uint32_t at = 0; at < chunk->map.count; at++)
        if (block_has_page(chunk->map.blocks[at]))
            cow_pages_retire(pmem->pages, chunk->map.blocks[at].page);
    pmem->charged -= chunk->map.held;
    if (chunk->recorded && pmem->journal != NULL) {
        uint8_t key[BLOCK_KEY_BYTES];
        block_key_encode(entry->node.inode, entry->node.index, key);
        journal_append_removal(pmem->journal, store_chunk_kind(&pmem->store),
                               inode_partition(entry->node.inode), key, sizeof(key));
    }
    block_map_free(&chunk->map);
    free(chunk);
    journal_changed(pmem);
}

void pmem_chunk_settle(struct pmem *pmem, struct chunk *chunk, bool changed)
{
    if (chunk->length == 0 && chunk->map.held == 0 && list_empty(&chunk->writers)) {
        chunk_index_remove(&pmem->index, &chunk->entry);
        pmem_chunk_dispose(pmem, &chunk->entry);
    } else if (changed) {
        chunk_record(pmem, chunk);
    }
}

void pmem_block_replace(struct pmem *pmem, struct chunk *chunk, uint32_t at, uint32_t page)
{
    struct block old = block_map_get(&chunk->map, at);
    if (block_has_page(old))
        cow_pages_retire(pmem->pages, old.page);
    uint32_t sum = pmem->checksum ? block_sum(page_at(pmem, page), NULL) : BLOCK_NO_SUM;
    block_map_set(&chunk->map, at, (struct block){page, sum});
}

void pmem_block_empty(struct pmem *pmem, struct chunk *chunk, uint32_t at, bool keep)
{
    struct block old = block_map_get(&chunk->map, at);
    if (old.page == PAGES_NONE)
        return;
    if (block_has_page(old))
        cow_pages_retire(pmem->pages, old.page);
    block_map_set(&chunk->map, at, (struct block){keep ? BLOCK_RESERVED : PAGES_NONE, BLOCK_NO_SUM});
    pmem->charged -= !keep;
}

static bool block_matches(const struct pmem *pmem, struct block block, struct block next)
{
    return !pmem->checksum || !block_has_page(block) || block.sum == BLOCK_NO_SUM ||
           block_sum(page_at(pmem, block.page), block_has_page(next) ? page_at(pmem, next.page) : NULL) ==
               block.sum;
}

int pmem_block_verify(const struct pmem *pmem, const struct chunk *chunk, uint32_t at, uint32_t end)
{
    struct block block = block_map_get(&chunk->map, at);
    struct block next = block_map_get(&chunk->map, at + 1 < end ? at + 1 : UINT32_MAX);
    if (block_matches(pmem, block, next))
        return 0;
    log_error("pmem: inode %" PRIu64 ", chunk %" PRIu64 ", offset %" PRIu64
              ": the block does not match its checksum (page %u of the file)",
              chunk->entry.node.inode, chunk->entry.node.index, (uint64_t)at << PAGE_SHIFT, block.page);
    return -EIO;
}

void pmem_block_complete(const struct pmem *pmem, const struct chunk *chunk, uint32_t at, uint32_t page,
                         uint32_t start, uint32_t end)
{
    struct block block = block_map_get(&chunk->map, at);
    uint64_t position = (uint64_t)at << PAGE_SHIFT;
    uint32_t there = chunk->length > position ? smaller((uint32_t)(chunk->length - position), end) : 0;
    if (!block_has_page(block) || there < start)
        there = start;
    if (there > start)
        memcpy(page_at(pmem, page) + start, page_at(pmem, block.page) + start, there - start);
    if (end > there)
        memset(page_at(pmem, page) + there, 0, end - there);
}

int pmem_pages_collect(struct pmem *pmem, uint32_t *pages, uint32_t count)
{
    for (uint32_t done = 0; done < count;) {
        uint32_t taken = 0;
        uint32_t first = cow_pages_take(pmem->pages, count - done, &taken);
        if (first == PAGES_NONE) {
            while (done > 0)
                cow_pages_discard(pmem->pages, pages[--done], 1);
            return -ENOSPC;
        }
        for (uint32_t i = 0; i < taken; i++)
            pages[done++] = first + i;
    }
    return 0;
}

uint32_t pmem_pages_run(const uint32_t *pages, uint32_t at, uint32_t count)
{
    uint32_t run = 1;
    while (at + run < count && pages[at + run] == pages[at] + run)
        run++;
    return run;
}

/* One array per chunk, eight bytes a block: finding, replacing and checksumming a block are each one step,
 * and a write that replaces blocks can never fail for want of memory once its room is reserved. Only the
 * record, of which there is one per write, joins neighbours to runs.
 *
 * Invariants: blocks[count..capacity) are not looked at; held counts what is not a hole below count. */
#include "store/block_map.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "journal/journal.h"

static_assert(sizeof(struct block_record) +
                      BLOCK_MAP_MAX * (sizeof(struct block_record_run) + sizeof(uint32_t)) <=
                  JOURNAL_VALUE_MAX,
              "the largest and most scattered chunk is one record");

int block_map_reserve(struct block_map *map, uint32_t count)
{
    if (count <= map->capacity)
        return 0;
    uint32_t capacity = count <= 1 ? 1 : 1u << (32 - __builtin_clz(count - 1));
    struct block *blocks = realloc(map->blocks, capacity * sizeof(*blocks));
    if (blocks == NULL)
        return -ENOMEM;
    map->blocks = blocks;
    map->capacity = capacity;
    return 0;
}

void block_map_free(struct block_map *map)
{
    free(map->blocks);
    *map = (struct block_map){0};
}

void block_map_set(struct block_map *map, uint32_t at, struct block block)
{
    if (at >= map->count) {
        if (block.page == PAGES_NONE)
            return;
        for (; map->count <= at; map->count++)
            map->blocks[map->count] = (struct block){PAGES_NONE, BLOCK_NO_SUM};
    }
    map->held -= map->blocks[at].page != PAGES_NONE;
    map->held += block.page != PAGES_NONE;
    map->blocks[at] = block;
    while (map->count > 0 && map->blocks[map->count - 1].page == PAGES_NONE)
        map->count--;
}

uint32_t block_map_holes(const struct block_map *map, uint32_t start, uint32_t end)
{
    uint32_t holes = 0;
    for (uint32_t at = start; at < end; at++)
        holes += block_map_get(map, at).page == PAGES_NONE;
    return holes;
}

uint32_t block_map_seek(const struct block_map *map, uint32_t start, bool hole)
{
    for (uint32_t at = start; at < map->count; at++)
        if ((map->blocks[at].page == PAGES_NONE) == hole)
            return at;
    return map->count;
}

uint32_t block_sum(const void *bytes, const void *next)
{
    uint32_t sum = crc32c_block(bytes, next);
    return sum == BLOCK_NO_SUM ? UINT32_MAX : sum;
}

/* ---- the record ---- */

void block_key_encode(uint64_t inode, uint64_t index, uint8_t key[BLOCK_KEY_BYTES])
{
    uint64_t words[2] = {htole64(inode), htole64(index)};
    memcpy(key, words, sizeof(words));
}

int block_key_decode(const void *key, size_t length, uint64_t *inode, uint64_t *index)
{
    uint64_t words[2];
    if (length != sizeof(words))
        return -EBADMSG;
    memcpy(words, key, sizeof(words));
    *inode = le64toh(words[0]);
    *index = le64toh(words[1]);
    return 0;
}

/* The run that begins at block `at`. */
static struct block_record_run run_at(const struct block_map *map, uint32_t at)
{
    struct block_record_run run = {map->blocks[at].page, 1};
    bool pages = block_has_page(map->blocks[at]);
    while (at + run.blocks < map->count &&
           map->blocks[at + run.blocks].page == (pages ? run.page + run.blocks : run.page))
        run.blocks++;
    return run;
}

size_t block_record_size(const struct block_map *map)
{
    size_t size = sizeof(struct block_record);
    struct block_record_run run;
    for (uint32_t at = 0; at < map->count; at += run.blocks) {
        run = run_at(map, at);
        size += sizeof(run) + (run.page < BLOCK_RESERVED ? run.blocks * sizeof(uint32_t) : 0);
    }
    return size;
}

void block_record_encode(const struct block_map *map, uint32_t length, void *bytes)
{
    uint8_t *out = (uint8_t *)bytes + sizeof(struct block_record);
    uint32_t runs = 0, sums = 0;
    struct block_record_run run;
    for (uint32_t at = 0; at < map->count; at += run.blocks, runs++) {
        run = run_at(map, at);
        struct block_record_run stored = {htole32(run.page), htole32(run.blocks)};
        memcpy(out, &stored, sizeof(stored));
        out += sizeof(stored);
    }
    for (uint32_t at = 0; at < map->count; at++)
        if (block_has_page(map->blocks[at])) {
            uint32_t sum = htole32(map->blocks[at].sum);
            memcpy(out, &sum, sizeof(sum));
            out += sizeof(sum);
            sums++;
        }
    struct block_record head = {htole32(BLOCK_RECORD_FORMAT), htole32(length), htole32(runs), htole32(sums)};
    memcpy(bytes, &head, sizeof(head));
}

/* Puts the runs into the map; checks that they lie on the device and hold as many blocks as there are sums.
 */
static int runs_decode(const uint8_t *bytes, const struct block_record *head, uint32_t pages,
                       struct block_map *map)
{
    uint32_t at = 0, with_page = 0;
    for (uint32_t i = 0; i < head->runs; i++) {
        struct block_record_run run;
        memcpy(&run, bytes + i * sizeof(run), sizeof(run));
        run = (struct block_record_run){le32toh(run.page), le32toh(run.blocks)};
        bool has_page = run.page < BLOCK_RESERVED;
        if (run.blocks == 0 || run.blocks > BLOCK_MAP_MAX - at)
            return -EBADMSG;
        if (has_page && (run.page >= pages || run.blocks > pages - run.page))
            return -EBADMSG;
        int status = block_map_reserve(map, at + run.blocks);
        if (status != 0)
            return status;
        for (uint32_t j = 0; j < run.blocks; j++)
            block_map_set(map, at + j, (struct block){has_page ? run.page + j : run.page, BLOCK_NO_SUM});
        at += run.blocks;
        with_page += has_page ? run.blocks : 0;
    }
    /* A hole at the end would not have been written. */
    return at == map->count && with_page == head->sums ? 0 : -EBADMSG;
}

int block_record_decode(const void *bytes, size_t size, uint32_t pages, struct block_map *map,
                        uint32_t *length)
{
    struct block_record head;
    if (size < sizeof(head))
        return -EBADMSG;
    memcpy(&head, bytes, sizeof(head));
    head = (struct block_record){le32toh(head.format), le32toh(head.length), le32toh(head.runs),
                                 le32toh(head.sums)};
    if (head.format != BLOCK_RECORD_FORMAT || head.length > BLOCK_MAP_MAX * PAGE_BYTES ||
        head.runs > BLOCK_MAP_MAX || head.sums > BLOCK_MAP_MAX ||
        size != sizeof(head) + head.runs * sizeof(struct block_record_run) + head.sums * sizeof(uint32_t))
        return -EBADMSG;
    const uint8_t *runs = (const uint8_t *)bytes + sizeof(head);
    int status = runs_decode(runs, &head, pages, map);
    if (status != 0) {
        block_map_free(map);
        return status;
    }
    const uint8_t *sums = runs + head.runs * sizeof(struct block_record_run);
    for (uint32_t at = 0; at < map->count; at++)
        if (block_has_page(map->blocks[at])) {
            uint32_t sum;
            memcpy(&sum, sums, sizeof(sum));
            map->blocks[at].sum = le32toh(sum);
            sums += sizeof(sum);
        }
    *length = head.length;
    return 0;
}

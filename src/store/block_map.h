/* What memory and which checksum each 4 KiB block of a chunk has, and the record that says so in the journal:
 * for engines that put blocks on pages of a device.
 *
 * The record of a chunk, little-endian: struct block_record, then its runs (neighbouring blocks on
 * neighbouring pages, holes, reservations) from block 0 on, then the checksums of all blocks that have a
 * page. Its key is inode and index, each u64. */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/pages.h"

#define BLOCK_RESERVED (PAGES_NONE - 1) /* in place of a page: promised, but not written yet */
#define BLOCK_MAP_MAX PAGES_RUN_MAX     /* blocks: the largest chunk */
#define BLOCK_NO_SUM 0u                 /* written without a checksum */

struct block {
    uint32_t page; /* PAGES_NONE: a hole */
    uint32_t sum;  /* block_sum, or BLOCK_NO_SUM */
};

/* A zeroed struct is a map of holes. */
struct block_map {
    struct block *blocks;
    uint32_t count; /* blocks from here on are holes */
    uint32_t capacity;
    uint32_t held; /* blocks that are not holes */
};

/* Room for so many blocks. Returns 0 or -ENOMEM (unchanged). */
int block_map_reserve(struct block_map *map, uint32_t count);
void block_map_free(struct block_map *map);

static inline struct block block_map_get(const struct block_map *map, uint32_t at)
{
    return at < map->count ? map->blocks[at] : (struct block){PAGES_NONE, BLOCK_NO_SUM};
}

static inline bool block_has_page(struct block block)
{
    return block.page < BLOCK_RESERVED;
}

/* Room must have been reserved, unless block is a hole. */
void block_map_set(struct block_map *map, uint32_t at, struct block block);
/* Holes in [start, end). */
uint32_t block_map_holes(const struct block_map *map, uint32_t start, uint32_t end);
/* The first block at or after `start` that is a hole (hole) or is none (!hole); map->count if there is none
 * before it. */
uint32_t block_map_seek(const struct block_map *map, uint32_t start, bool hole);

/* CRC32C of one block in memory; never BLOCK_NO_SUM, for which another value stands. next: as crc32c_block's.
 */
uint32_t block_sum(const void *bytes, const void *next);

/* ---- the record ---- */

#define BLOCK_RECORD_FORMAT 1u
#define BLOCK_KEY_BYTES 16u

struct block_record {
    uint32_t format;
    uint32_t length; /* of the chunk, bytes */
    uint32_t runs;
    uint32_t sums;
};
struct block_record_run {
    uint32_t page; /* of the first block; PAGES_NONE, BLOCK_RESERVED: of all */
    uint32_t blocks;
};
static_assert(sizeof(struct block_record) == 16 && offsetof(struct block_record, sums) == 12, "on disk");
static_assert(sizeof(struct block_record_run) == 8 && offsetof(struct block_record_run, blocks) == 4,
              "on disk");

void block_key_encode(uint64_t inode, uint64_t index, uint8_t key[BLOCK_KEY_BYTES]);
/* 0 or -EBADMSG. */
int block_key_decode(const void *key, size_t length, uint64_t *inode, uint64_t *index);

size_t block_record_size(const struct block_map *map);
/* Writes block_record_size bytes. */
void block_record_encode(const struct block_map *map, uint32_t length, void *bytes);
/* Fills a zeroed map. pages: how many the device has. Returns 0; -EBADMSG: this is no record of such a chunk;
 * -ENOMEM. */
int block_record_decode(const void *bytes, size_t size, uint32_t pages, struct block_map *map,
                        uint32_t *length);

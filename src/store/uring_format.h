/* What the uring engine writes into the journal, and the names of its files. The only place where these bytes
 * are made and checked.
 *
 * All numbers are little-endian. A block is 4 KiB, of a chunk or on the device; blocks on the device are
 * numbered through all segment files, block n lying in segment n / segment_blocks. Records:
 *
 * STORE, key "uring": struct uring_store_record. There is one, before all others.
 *
 * CHUNK, key struct uring_chunk_key: struct uring_chunk_record. The chunk exists.
 *
 * CHUNK, key struct uring_piece_key: a piece of a chunk, 32 blocks of it, as far as they are on the device or
 * reserved: struct uring_piece_record; its runs, each of which gives the next stored blocks their places, one
 * after another on the device; a checksum for each stored block; its zeros. So the record of a 4 KiB write
 * has 28 to some 400 bytes, however large the chunk, and those of a whole MiB a thousandth of what they
 * describe. */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/pages.h"
#include "store/ranges.h"

#define URING_FORMAT 1u
#define URING_PIECE_SHIFT 5
#define URING_PIECE_BLOCKS (1u << URING_PIECE_SHIFT)
#define URING_PIECE_BYTES (URING_PIECE_BLOCKS << PAGE_SHIFT)
#define URING_CHUNK_BLOCKS PAGES_RUN_MAX /* of the largest chunk */

#define URING_STORE_KEY "uring"
#define URING_SEGMENT_NAME "segment-%u"
#define URING_SEGMENT_BLOCKS_MAX (1u << 16) /* 256 MiB */

/* In place of a block on the device: */
#define URING_HOLE PAGES_NONE
#define URING_RESERVED (PAGES_NONE - 1) /* a hole whose place is kept */
#define URING_DEVICE_BLOCKS_MAX (PAGES_NONE - 1)

/* In place of a checksum: the block was written without. */
#define URING_NO_CHECKSUM 0u

struct uring_store_record {
    uint32_t format;
    uint32_t segment_blocks; /* a power of two */
};
static_assert(sizeof(struct uring_store_record) == 8, "on disk");

struct uring_chunk_key {
    uint64_t inode;
    uint64_t index;
};
static_assert(sizeof(struct uring_chunk_key) == 16, "on disk");

struct uring_chunk_record {
    uint32_t length; /* bytes */
    uint32_t reserved;
};
static_assert(sizeof(struct uring_chunk_record) == 8, "on disk");

struct __attribute__((packed)) uring_piece_key {
    uint64_t inode;
    uint64_t index;
    uint32_t piece;
};
static_assert(sizeof(struct uring_piece_key) == 20 && offsetof(struct uring_piece_key, piece) == 16,
              "on disk");

struct uring_piece_record {
    uint32_t stored;   /* bit i: block i of the piece is on the device */
    uint32_t reserved; /* bit i: it has no bytes, but its place is kept */
    uint32_t runs;
    uint32_t zeros;
};
struct uring_run {
    uint32_t first; /* block on the device */
    uint32_t count;
};
/* Bytes of the piece that read as zeros, whatever the device has there. */
struct uring_zeros {
    uint32_t start;
    uint32_t end;
};
static_assert(sizeof(struct uring_piece_record) == 16 && offsetof(struct uring_piece_record, zeros) == 12 &&
                  sizeof(struct uring_run) == 8 && sizeof(struct uring_zeros) == 8,
              "on disk");

/* Where a block of a chunk is, and its checksum. */
struct uring_block {
    uint32_t where; /* on the device, URING_RESERVED or URING_HOLE */
    uint32_t checksum;
};

static inline bool uring_block_stored(struct uring_block block)
{
    return block.where < URING_DEVICE_BLOCKS_MAX;
}

/* CRC32C of a block in memory; never URING_NO_CHECKSUM, for which another value stands in. next: as
 * crc32c_block's. */
uint32_t uring_checksum(const void *block, const void *next);

int uring_store_record_read(const void *value, size_t length, struct uring_store_record *record);

/* piece: PIECE_NONE for the key of a chunk. 0 or -EBADMSG. */
#define URING_PIECE_NONE UINT32_MAX
int uring_key_read(const void *key, size_t length, uint64_t *inode, uint64_t *index, uint32_t *piece);

int uring_chunk_record_read(const void *value, size_t length, uint32_t *chunk_length);

/* blocks: the piece's, of a chunk of which no more than `count` are known; what lies behind is holes. zeros:
 * of the chunk, by byte; those in the piece are recorded. Returns the bytes of the record; 0: the piece is
 * empty and has none. */
size_t uring_piece_record_size(const struct uring_block *blocks, uint32_t count, const struct ranges *zeros,
                               uint32_t piece);
/* Writes so many bytes. */
void uring_piece_record_write(const struct uring_block *blocks, uint32_t count, const struct ranges *zeros,
                              uint32_t piece, void *value);
/* Fills all blocks of a piece; *zeros points into the value (perhaps not aligned), counting from the piece's
 * beginning, ascending and disjoint. 0 or -EBADMSG. */
int uring_piece_record_read(const void *value, size_t length, struct uring_block blocks[URING_PIECE_BLOCKS],
                            const void **zeros, uint32_t *zeros_count);

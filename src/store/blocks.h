/* What an engine knows of the blocks of one chunk: which of them hold data, and their checksums.
 *
 * A block that holds no data is a hole: it reads as zeros, whatever lies on the device. Blocks are recorded
 * in pieces of 32, so that a small write does not record a whole chunk's checksums. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define BLOCK_SHIFT 12
#define BLOCK_BYTES (1u << BLOCK_SHIFT)
#define PIECE_BLOCKS 32u
#define PIECE_BYTES_MAX (4u + PIECE_BLOCKS * 4u)

/* A zeroed struct is empty. */
struct blocks {
    uint32_t *words; /* for each piece a word of bits, data or hole, and the checksums behind it */
    uint32_t count;
    uint32_t capacity;
    uint32_t data; /* blocks that are no holes */
};

void blocks_free(struct blocks *blocks);
/* Room for count blocks in all. Returns 0 or -ENOMEM (unchanged). */
int blocks_reserve(struct blocks *blocks, uint32_t count);
/* Adds holes up to count; room for them is reserved. No effect when there are more. */
void blocks_extend(struct blocks *blocks, uint32_t count);
/* Forgets all from count on. */
void blocks_cut(struct blocks *blocks, uint32_t count);

/* Beyond the count all are holes. */
bool blocks_is_data(const struct blocks *blocks, uint32_t block);
/* Of a block that holds data. */
uint32_t blocks_checksum(const struct blocks *blocks, uint32_t block);
/* Makes block < count one that holds data. */
void blocks_set(struct blocks *blocks, uint32_t block, uint32_t checksum);
/* Makes it a hole. */
void blocks_clear(struct blocks *blocks, uint32_t block);
/* The first block at or after `block` that is a hole, or (!hole) holds data; the count if there is none. */
uint32_t blocks_seek(const struct blocks *blocks, uint32_t block, bool hole);
/* Blocks of [first, last) that hold data. */
uint32_t blocks_data_in(const struct blocks *blocks, uint32_t first, uint32_t last);

/* Writes blocks [32 piece, 32 piece + 32) as they are recorded; returns the bytes, at most PIECE_BYTES_MAX.
 */
uint32_t blocks_encode(const struct blocks *blocks, uint32_t piece, void *bytes);
/* Takes a piece back. What it says of blocks from the count on must be that they are holes. Returns 0 or
 * -EBADMSG (unchanged). */
int blocks_decode(struct blocks *blocks, uint32_t piece, const void *bytes, uint32_t length);

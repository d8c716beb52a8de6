/* What the engine rocksdb keeps in its database. The first byte of a key says what it is, so that a kind of
 * keys is one range; numbers in keys are big-endian, so that they sort; all others are little-endian.
 *
 *     'f'                                       format of the database, u32
 *     'o' kind key                              an object of the journal: partition u16, then its value
 *     'p' inode chunk piece version             64 KiB of a chunk, cut behind the last block that holds data
 *     'i' inode chunk piece version             that piece is not yet named by a durable record; no value
 *     'r'                                       a version, u32: pieces of the last minutes have later ones
 *
 * Objects of kind CHUNK are block_map.h's records, in which the page of a block is version * 16 plus its
 * place in the piece. Objects of kind STORE, with the same keys, are the ranges of a chunk that read as zeros
 * whatever its pieces hold: start u32, end u32, in order. */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "journal/journal.h"
#include "store/block_map.h"
#include "store/ranges.h"

#define ROCKS_FORMAT 1u
#define ROCKS_KEY_FORMAT 'f'
#define ROCKS_KEY_OBJECT 'o'
#define ROCKS_KEY_PIECE 'p'
#define ROCKS_KEY_INTENT 'i'
#define ROCKS_KEY_RECENT 'r'

#define PIECE_SHIFT 4u /* blocks */
#define PIECE_BLOCKS (1u << PIECE_SHIFT)
#define PIECE_BYTES (PIECE_BLOCKS << PAGE_SHIFT)
#define PIECE_KEY_BYTES 23u
#define PIECES_MAX (BLOCK_MAP_MAX >> PIECE_SHIFT)
#define VERSION_NONE 0u
#define VERSION_MAX ((BLOCK_RESERVED >> PIECE_SHIFT) - 1)
#define ZEROS_MAX 16384u /* ranges of a chunk */
#define OBJECT_KEY_MAX (2u + JOURNAL_KEY_MAX)
#define OBJECT_PREFIX 2u /* bytes before the value */

static_assert(ZEROS_MAX * 8 <= JOURNAL_VALUE_MAX, "they fit into a record");
static_assert((VERSION_MAX << PIECE_SHIFT) + PIECE_BLOCKS - 1 < BLOCK_RESERVED, "every version makes pages");

struct piece_name {
    uint64_t inode;
    uint64_t index;
    uint32_t piece;
    uint32_t version;
};

/* kind: ROCKS_KEY_PIECE or ROCKS_KEY_INTENT. */
void piece_key_encode(char kind, const struct piece_name *name, uint8_t key[PIECE_KEY_BYTES]);
/* 0 or -EBADMSG. */
int piece_key_decode(const void *key, size_t length, struct piece_name *name);

/* Key and beginning of the value of an object. Returns the key's length. */
size_t object_encode(const struct journal_record *record, uint8_t key[OBJECT_KEY_MAX],
                     uint8_t prefix[OBJECT_PREFIX]);
/* The record points into key and value. 0 or -EBADMSG. */
int object_decode(const void *key, size_t key_length, const void *value, size_t value_length,
                  struct journal_record *record);

/* 8 * count bytes. */
void zeros_encode(const struct ranges *zeros, void *bytes);
/* Fills an empty set. 0, -EBADMSG or -ENOMEM. */
int zeros_decode(const void *bytes, size_t length, struct ranges *zeros);

/* Whether the blocks of a map that came from a record have the pages that such maps have. */
bool pieces_make_sense(const struct block_map *map);
/* The version of a piece, or VERSION_NONE: it has no block with data. */
uint32_t piece_version(const struct block_map *map, uint32_t piece);
static inline uint32_t piece_page(uint32_t version, uint32_t block)
{
    return version << PIECE_SHIFT | (block & (PIECE_BLOCKS - 1));
}

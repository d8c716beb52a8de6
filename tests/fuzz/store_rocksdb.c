/* Any bytes as what the engine rocksdb finds in its database: keys of pieces, objects, ranges of zeros, maps.
 * Refused, or something that makes sense and survives encoding. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/rocksdb_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void require(int condition)
{
    if (!condition)
        abort();
}

static void try_piece_key(const uint8_t *bytes, size_t length)
{
    struct piece_name name;
    if (piece_key_decode(bytes, length, &name) != 0)
        return;
    uint8_t key[PIECE_KEY_BYTES];
    require(name.piece < PIECES_MAX && name.version <= VERSION_MAX);
    piece_key_encode((char)bytes[0], &name, key);
    require(memcmp(key, bytes, sizeof(key)) == 0);
}

/* The first byte says how long the key is. */
static void try_object(const uint8_t *bytes, size_t length)
{
    size_t key_length = bytes[0];
    struct journal_record record;
    if (key_length > length - 1)
        return;
    const uint8_t *value = bytes + 1 + key_length;
    size_t value_length = length - 1 - key_length;
    if (object_decode(bytes + 1, key_length, value, value_length, &record) != 0)
        return;
    uint8_t key[OBJECT_KEY_MAX], prefix[OBJECT_PREFIX];
    require(object_encode(&record, key, prefix) == key_length);
    require(memcmp(key, bytes + 1, key_length) == 0 && memcmp(prefix, value, sizeof(prefix)) == 0);
    require(record.value_length == value_length - OBJECT_PREFIX);
}

static void try_zeros(const uint8_t *bytes, size_t length)
{
    struct ranges zeros = {0};
    if (zeros_decode(bytes, length, &zeros) != 0) {
        require(zeros.items == NULL);
        return;
    }
    require(zeros.count == length / 8);
    uint8_t *again = malloc(length + 1);
    require(again != NULL);
    zeros_encode(&zeros, again);
    require(memcmp(again, bytes, length) == 0);
    free(again);
    ranges_free(&zeros);
}

static void try_map(const uint8_t *bytes, size_t length)
{
    struct block_map map = {0};
    uint32_t chunk_length;
    if (block_record_decode(bytes, length, BLOCK_RESERVED, &map, &chunk_length) != 0)
        return;
    if (pieces_make_sense(&map))
        for (uint32_t at = 0; at < map.count; at++)
            require(!block_has_page(map.blocks[at]) ||
                    map.blocks[at].page == piece_page(piece_version(&map, at >> PIECE_SHIFT), at));
    block_map_free(&map);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    if (length == 0)
        return 0;
    try_piece_key(bytes, length);
    try_object(bytes, length);
    try_zeros(bytes, length);
    try_map(bytes, length);
    return 0;
}

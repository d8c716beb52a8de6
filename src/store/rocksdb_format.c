/* The one place where keys and values of the engine rocksdb are encoded and decoded. */
#include "store/rocksdb_format.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

void piece_key_encode(char kind, const struct piece_name *name, uint8_t key[PIECE_KEY_BYTES])
{
    uint64_t inode = htobe64(name->inode), index = htobe64(name->index);
    uint16_t piece = htobe16((uint16_t)name->piece);
    uint32_t version = htobe32(name->version);
    key[0] = (uint8_t)kind;
    memcpy(key + 1, &inode, sizeof(inode));
    memcpy(key + 9, &index, sizeof(index));
    memcpy(key + 17, &piece, sizeof(piece));
    memcpy(key + 19, &version, sizeof(version));
}

int piece_key_decode(const void *bytes, size_t length, struct piece_name *name)
{
    const uint8_t *key = bytes;
    uint64_t inode, index;
    uint16_t piece;
    uint32_t version;
    if (length != PIECE_KEY_BYTES)
        return -EBADMSG;
    memcpy(&inode, key + 1, sizeof(inode));
    memcpy(&index, key + 9, sizeof(index));
    memcpy(&piece, key + 17, sizeof(piece));
    memcpy(&version, key + 19, sizeof(version));
    *name = (struct piece_name){be64toh(inode), be64toh(index), be16toh(piece), be32toh(version)};
    return name->piece < PIECES_MAX && name->version != VERSION_NONE && name->version <= VERSION_MAX
               ? 0
               : -EBADMSG;
}

size_t object_encode(const struct journal_record *record, uint8_t key[OBJECT_KEY_MAX],
                     uint8_t prefix[OBJECT_PREFIX])
{
    uint16_t partition = htole16(record->partition);
    key[0] = ROCKS_KEY_OBJECT;
    key[1] = record->kind;
    memcpy(key + 2, record->key, record->key_length);
    memcpy(prefix, &partition, sizeof(partition));
    return 2 + record->key_length;
}

int object_decode(const void *key, size_t key_length, const void *value, size_t value_length,
                  struct journal_record *record)
{
    const uint8_t *bytes = key;
    uint16_t partition;
    if (key_length < 2 || key_length > OBJECT_KEY_MAX || bytes[0] != ROCKS_KEY_OBJECT ||
        value_length < OBJECT_PREFIX || value_length - OBJECT_PREFIX > JOURNAL_VALUE_MAX)
        return -EBADMSG;
    memcpy(&partition, value, sizeof(partition));
    *record = (struct journal_record){.kind = bytes[1],
                                      .partition = le16toh(partition),
                                      .key = bytes + 2,
                                      .key_length = (uint32_t)key_length - 2,
                                      .value = (const uint8_t *)value + OBJECT_PREFIX,
                                      .value_length = (uint32_t)(value_length - OBJECT_PREFIX)};
    return 0;
}

void zeros_encode(const struct ranges *zeros, void *bytes)
{
    uint8_t *out = bytes;
    for (uint32_t i = 0; i < zeros->count; i++, out += 8) {
        uint32_t pair[2] = {htole32(zeros->items[i].start), htole32(zeros->items[i].end)};
        memcpy(out, pair, sizeof(pair));
    }
}

int zeros_decode(const void *bytes, size_t length, struct ranges *zeros)
{
    if (length % 8 != 0 || length / 8 > ZEROS_MAX)
        return -EBADMSG;
    uint32_t count = (uint32_t)(length / 8), last = 0;
    int status = ranges_reserve(zeros, count);
    for (uint32_t i = 0; status == 0 && i < count; i++) {
        uint32_t pair[2];
        memcpy(pair, (const uint8_t *)bytes + (size_t)8 * i, sizeof(pair));
        struct range range = {le32toh(pair[0]), le32toh(pair[1])};
        if (range.start >= range.end || range.end > BLOCK_MAP_MAX << PAGE_SHIFT ||
            (i > 0 && range.start <= last))
            status = -EBADMSG;
        else
            zeros->items[zeros->count++] = range;
        last = range.end;
    }
    if (status != 0)
        ranges_free(zeros);
    return status;
}

bool pieces_make_sense(const struct block_map *map)
{
    for (uint32_t at = 0; at < map->count; at++) {
        struct block block = map->blocks[at];
        if (!block_has_page(block))
            continue;
        uint32_t version = block.page >> PIECE_SHIFT;
        if (block.page != piece_page(version, at) || version == VERSION_NONE || version > VERSION_MAX ||
            version != piece_version(map, at >> PIECE_SHIFT))
            return false;
    }
    return true;
}

uint32_t piece_version(const struct block_map *map, uint32_t piece)
{
    uint32_t start = piece << PIECE_SHIFT;
    for (uint32_t at = start; at < start + PIECE_BLOCKS && at < map->count; at++)
        if (block_has_page(map->blocks[at]))
            return map->blocks[at].page >> PIECE_SHIFT;
    return VERSION_NONE;
}

/* One array of words: for each piece of 32 blocks the bits that say which hold data, then their checksums.
 * The last piece is only as long as the capacity asks, so a chunk of one block takes eight bytes. Invariant:
 * the bits of blocks from the count on are zero. */
#include "store/blocks.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void put(void *bytes, uint32_t value)
{
    value = htole32(value);
    memcpy(bytes, &value, sizeof(value));
}

static uint32_t get(const void *bytes)
{
    uint32_t value;
    memcpy(&value, bytes, sizeof(value));
    return le32toh(value);
}

static uint32_t words_for(uint32_t count)
{
    uint32_t rest = count % PIECE_BLOCKS;
    return count / PIECE_BLOCKS * (PIECE_BLOCKS + 1) + (rest == 0 ? 0 : rest + 1);
}

static uint32_t *piece_of(const struct blocks *blocks, uint32_t block)
{
    return blocks->words + block / PIECE_BLOCKS * (PIECE_BLOCKS + 1);
}

static uint32_t bit_of(uint32_t block)
{
    return UINT32_C(1) << block % PIECE_BLOCKS;
}

/* Bits [first, last) of a piece, 0 <= first < last <= 32. */
static uint32_t bits_between(uint32_t first, uint32_t last)
{
    uint32_t below = last == PIECE_BLOCKS ? ~UINT32_C(0) : (UINT32_C(1) << last) - 1;
    return below & (~UINT32_C(0) << first);
}

void blocks_free(struct blocks *blocks)
{
    free(blocks->words);
    *blocks = (struct blocks){0};
}

int blocks_reserve(struct blocks *blocks, uint32_t count)
{
    if (count <= blocks->capacity)
        return 0;
    uint32_t capacity = blocks->capacity == 0 ? count : blocks->capacity * 2;
    if (capacity < count)
        capacity = count;
    uint32_t *words = realloc(blocks->words, words_for(capacity) * sizeof(*words));
    if (words == NULL)
        return -ENOMEM;
    uint32_t before = words_for(blocks->capacity);
    memset(words + before, 0, (words_for(capacity) - before) * sizeof(*words));
    blocks->words = words;
    blocks->capacity = capacity;
    return 0;
}

void blocks_extend(struct blocks *blocks, uint32_t count)
{
    if (count > blocks->count)
        blocks->count = count;
}

void blocks_cut(struct blocks *blocks, uint32_t count)
{
    for (uint32_t at = count; at < blocks->count; at = (at / PIECE_BLOCKS + 1) * PIECE_BLOCKS) {
        uint32_t *piece = piece_of(blocks, at);
        uint32_t gone = *piece & bits_between(at % PIECE_BLOCKS, PIECE_BLOCKS);
        blocks->data -= (uint32_t)__builtin_popcount(gone);
        *piece &= ~gone;
    }
    if (count < blocks->count)
        blocks->count = count;
    if (count == 0)
        blocks_free(blocks);
}

bool blocks_is_data(const struct blocks *blocks, uint32_t block)
{
    return block < blocks->count && (*piece_of(blocks, block) & bit_of(block)) != 0;
}

uint32_t blocks_checksum(const struct blocks *blocks, uint32_t block)
{
    return piece_of(blocks, block)[1 + block % PIECE_BLOCKS];
}

void blocks_set(struct blocks *blocks, uint32_t block, uint32_t checksum)
{
    uint32_t *piece = piece_of(blocks, block);
    blocks->data += (*piece & bit_of(block)) == 0;
    *piece |= bit_of(block);
    piece[1 + block % PIECE_BLOCKS] = checksum;
}

void blocks_clear(struct blocks *blocks, uint32_t block)
{
    uint32_t *piece = piece_of(blocks, block);
    blocks->data -= (*piece & bit_of(block)) != 0;
    *piece &= ~bit_of(block);
}

uint32_t blocks_seek(const struct blocks *blocks, uint32_t block, bool hole)
{
    while (block < blocks->count) {
        uint32_t bits = *piece_of(blocks, block);
        bits = (hole ? ~bits : bits) & bits_between(block % PIECE_BLOCKS, PIECE_BLOCKS);
        uint32_t start = block / PIECE_BLOCKS * PIECE_BLOCKS;
        if (bits != 0) {
            block = start + (uint32_t)__builtin_ctz(bits);
            break;
        }
        block = start + PIECE_BLOCKS;
    }
    return block < blocks->count ? block : blocks->count;
}

uint32_t blocks_data_in(const struct blocks *blocks, uint32_t first, uint32_t last)
{
    uint32_t sum = 0;
    if (last > blocks->count)
        last = blocks->count;
    while (first < last) {
        uint32_t start = first / PIECE_BLOCKS * PIECE_BLOCKS;
        uint32_t end = last - start < PIECE_BLOCKS ? last - start : PIECE_BLOCKS;
        sum += (uint32_t)__builtin_popcount(*piece_of(blocks, first) & bits_between(first - start, end));
        first = start + PIECE_BLOCKS;
    }
    return sum;
}

uint32_t blocks_encode(const struct blocks *blocks, uint32_t piece, void *bytes)
{
    uint8_t *into = bytes;
    uint32_t first = piece * PIECE_BLOCKS;
    uint32_t bits = first < blocks->count ? *piece_of(blocks, first) : 0;
    put(into, bits);
    uint32_t length = 4;
    for (; bits != 0; bits &= bits - 1, length += 4)
        put(into + length, blocks_checksum(blocks, first + (uint32_t)__builtin_ctz(bits)));
    return length;
}

int blocks_decode(struct blocks *blocks, uint32_t piece, const void *bytes, uint32_t length)
{
    const uint8_t *from = bytes;
    if (length < 4 || piece > UINT32_MAX / PIECE_BLOCKS - 1)
        return -EBADMSG;
    uint32_t bits = get(from);
    uint32_t first = piece * PIECE_BLOCKS;
    uint32_t here = first >= blocks->count ? 0 : blocks->count - first;
    uint32_t allowed = here == 0 ? 0 : bits_between(0, here < PIECE_BLOCKS ? here : PIECE_BLOCKS);
    if ((bits & ~allowed) != 0 || length != 4 + 4 * (uint32_t)__builtin_popcount(bits))
        return -EBADMSG;
    for (uint32_t i = 0; i < PIECE_BLOCKS && i < here; i++) {
        if ((bits & (UINT32_C(1) << i)) == 0) {
            blocks_clear(blocks, first + i);
        } else {
            from += 4;
            blocks_set(blocks, first + i, get(from));
        }
    }
    return 0;
}

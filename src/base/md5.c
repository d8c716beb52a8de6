/* MD5 in one call: the whole message is there, so there is no state to keep between pieces.
 *
 * The message is taken in blocks of 64 bytes, each as sixteen little-endian words. A block changes the state
 * of four words in four rounds of sixteen steps; a step of round r combines three of them by that round's
 * function, adds a word of the block and a constant, rotates and adds. What is left after the last whole
 * block goes, with a byte 0x80, zeros and the length in bits, into one or two more. */
#include "base/md5.h"

#include <endian.h>
#include <string.h>

#define BLOCK 64u

/* The whole part of 2^32 * |sin(i + 1)|, i in radians. */
static const uint32_t constants[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};

static const uint8_t rotations[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};

static inline uint32_t rotate(uint32_t word, unsigned count)
{
    return word << count | word >> (32 - count);
}

/* The function of a round. */
static inline uint32_t combine(unsigned round, uint32_t b, uint32_t c, uint32_t d)
{
    switch (round) {
    case 0:
        return d ^ (b & (c ^ d));
    case 1:
        return c ^ (d & (b ^ c));
    case 2:
        return b ^ c ^ d;
    default:
        return c ^ (b | ~d);
    }
}

/* The word of the block that a step takes: in each round another step through all of them. */
static inline unsigned word_of(unsigned round, unsigned step)
{
    static const uint8_t first[4] = {0, 1, 5, 0}, stride[4] = {1, 5, 3, 7};
    return (first[round] + stride[round] * step) % 16;
}

/* Inline and unrolled, so that what depends on round and step alone is known when it is compiled. */
static inline __attribute__((always_inline)) void take_round(uint32_t state[4], const uint32_t words[16],
                                                             unsigned round)
{
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
#pragma GCC unroll 16
    for (unsigned step = 0; step < 16; step++) {
        uint32_t sum =
            a + combine(round, b, c, d) + constants[16 * round + step] + words[word_of(round, step)];
        a = d;
        d = c;
        c = b;
        b += rotate(sum, rotations[round][step % 4]);
    }
    state[0] = a;
    state[1] = b;
    state[2] = c;
    state[3] = d;
}

static void take_block(uint32_t state[4], const uint8_t *block)
{
    uint32_t words[16], mixed[4];
    memcpy(words, block, BLOCK);
    for (unsigned i = 0; i < 16; i++)
        words[i] = le32toh(words[i]);
    memcpy(mixed, state, sizeof(mixed));
    take_round(mixed, words, 0);
    take_round(mixed, words, 1);
    take_round(mixed, words, 2);
    take_round(mixed, words, 3);
    for (unsigned i = 0; i < 4; i++)
        state[i] += mixed[i];
}

void md5(const void *bytes, size_t length, uint8_t digest[MD5_BYTES])
{
    uint32_t state[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    const uint8_t *at = bytes;
    size_t left = length;
    for (; left >= BLOCK; at += BLOCK, left -= BLOCK)
        take_block(state, at);

    uint8_t last[2 * BLOCK] = {0};
    if (left > 0)
        memcpy(last, at, left);
    last[left] = 0x80;
    size_t end = left < BLOCK - sizeof(uint64_t) ? BLOCK : 2 * BLOCK;
    uint64_t bits = htole64((uint64_t)length * 8);
    memcpy(last + end - sizeof(bits), &bits, sizeof(bits));
    for (size_t offset = 0; offset < end; offset += BLOCK)
        take_block(state, last + offset);

    for (unsigned i = 0; i < 4; i++)
        state[i] = htole32(state[i]);
    memcpy(digest, state, MD5_BYTES);
}

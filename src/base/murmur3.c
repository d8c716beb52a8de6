/* Two lanes of 64 bits. A block of 16 bytes gives each a word, which is multiplied, rotated and multiplied
 * before it goes in; then the lanes are rotated, added to each other and stretched. The bytes after the last
 * whole block count as words filled up with zeros. At the end the length goes in, and both lanes through a
 * finaliser. */
#include "base/murmur3.h"

#include <endian.h>
#include <string.h>

#include "base/hash.h"

#define MULTIPLIER_1 UINT64_C(0x87c37b91114253d5)
#define MULTIPLIER_2 UINT64_C(0x4cf5ad432745937f)

static inline uint64_t rotate(uint64_t word, unsigned count)
{
    return word << count | word >> (64 - count);
}

static inline uint64_t scramble_1(uint64_t word)
{
    return rotate(word * MULTIPLIER_1, 31) * MULTIPLIER_2;
}

static inline uint64_t scramble_2(uint64_t word)
{
    return rotate(word * MULTIPLIER_2, 33) * MULTIPLIER_1;
}

void murmur3(const void *bytes, size_t length, uint32_t seed, uint64_t hash[2])
{
    const uint8_t *at = bytes;
    size_t left = length;
    uint64_t one = seed, two = seed, words[2];
    for (; left >= sizeof(words); at += sizeof(words), left -= sizeof(words)) {
        memcpy(words, at, sizeof(words));
        one = rotate(one ^ scramble_1(le64toh(words[0])), 27) + two;
        one = one * 5 + 0x52dce729;
        two = rotate(two ^ scramble_2(le64toh(words[1])), 31) + one;
        two = two * 5 + 0x38495ab5;
    }
    if (left > 0) {
        memset(words, 0, sizeof(words));
        memcpy(words, at, left);
        one ^= scramble_1(le64toh(words[0]));
        two ^= scramble_2(le64toh(words[1]));
    }
    one ^= length;
    two ^= length;
    one += two;
    two += one;
    one = hash_mix(one);
    two = hash_mix(two);
    one += two;
    two += one;
    hash[0] = one;
    hash[1] = two;
}

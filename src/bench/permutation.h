/* Random orders that need no memory: the n-th of `count` things, each visited once, in an order that the seed
 * chooses. */
#pragma once

#include <stdint.h>

#include "base/hash.h"

/* n < count. Multiplications and shifts that can be undone permute the numbers below the next power of two;
 * those that fall beyond count go round again (cycle walking, Black and Rogaway 2002). */
static inline uint64_t permutation_at(uint64_t seed, uint64_t count, uint64_t n)
{
    if (count < 2)
        return n;
    unsigned bits = 64u - (unsigned)__builtin_clzll(count - 1);
    uint64_t mask = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
    do {
        for (uint64_t round = 1; round <= 3; round++) {
            uint64_t key = hash_mix(hash_mix(seed + round) + count);
            n = (n * (key << 1 | 1) + (key >> 32)) & mask;
            n ^= n >> (bits / 2 + 1);
        }
    } while (n >= count);
    return n;
}

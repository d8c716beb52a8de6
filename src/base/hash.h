/* Hashes used for placement and tables. xxHash64 (Yann Collet, https://xxhash.com), from libxxhash. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

static inline uint64_t hash64(const void *bytes, size_t length, uint64_t seed)
{
    return XXH64(bytes, length, seed);
}

/* Mixes one 64-bit value (the finaliser of MurmurHash3, Austin Appleby). A bijection. */
static inline uint64_t hash_mix(uint64_t value)
{
    value ^= value >> 33;
    value *= UINT64_C(0xff51afd7ed558ccd);
    value ^= value >> 33;
    value *= UINT64_C(0xc4ceb9fe1a85ec53);
    value ^= value >> 33;
    return value;
}

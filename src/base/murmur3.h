/* MurmurHash3 in its form for 64-bit processors, with a result of 128 bits (Austin Appleby, 2011,
 * https://github.com/aappleby/smhasher). */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The same result on every machine: words are little-endian. */
void murmur3(const void *bytes, size_t length, uint32_t seed, uint64_t hash[2]);

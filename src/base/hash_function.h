/* The hash functions by which a cluster can place its partitions (cluster.hash), and which `benchfs bench
 * hash` compares. Tables and names use xxHash64 (base/hash.h), whatever is chosen here. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* HASH_FUNCTION(id, name, spreads, what it is). The order is that of numbers in the encoded cluster map: add
 * at the end. spreads: any two inputs, however similar, get values that look independent. */
#define HASH_FUNCTION_TABLE(HASH_FUNCTION)                                                                   \
    HASH_FUNCTION(XXHASH64, "xxhash64", true, "xxHash64, seed 0")                                            \
    HASH_FUNCTION(MURMUR3, "murmur3", true, "MurmurHash3 x64, first half of 128 bits, seed 0")               \
    HASH_FUNCTION(MD5, "md5", true, "MD5, first 8 bytes, little-endian")                                     \
    HASH_FUNCTION(KOYAMA, "koyama", false, "Koyama hash, 32 bits")

enum hash_function {
#define HASH_FUNCTION(id, name, spreads, text) HASH_##id,
    HASH_FUNCTION_TABLE(HASH_FUNCTION)
#undef HASH_FUNCTION
        HASH_FUNCTIONS
};

uint64_t hash_apply(enum hash_function function, const void *bytes, size_t length);

const char *hash_function_name(enum hash_function function);
/* -EINVAL: no such function. */
int hash_function_from_name(const char *name);
bool hash_function_spreads(enum hash_function function);

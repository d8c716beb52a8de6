/* A hash function by number. Of those that give more than 64 bits the first 64 are taken, as a little-endian
 * number; the 32 of the Koyama hash are the low ones. */
#include "base/hash_function.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/hash.h"
#include "base/koyama.h"
#include "base/md5.h"
#include "base/murmur3.h"

static const struct {
    const char *name;
    bool spreads;
} functions[HASH_FUNCTIONS] = {
#define HASH_FUNCTION(id, name, spreads, text) {name, spreads},
    HASH_FUNCTION_TABLE(HASH_FUNCTION)
#undef HASH_FUNCTION
};

static uint64_t apply_murmur3(const void *bytes, size_t length)
{
    uint64_t hash[2];
    murmur3(bytes, length, 0, hash);
    return hash[0];
}

static uint64_t apply_md5(const void *bytes, size_t length)
{
    uint8_t digest[MD5_BYTES];
    uint64_t first;
    md5(bytes, length, digest);
    memcpy(&first, digest, sizeof(first));
    return le64toh(first);
}

uint64_t hash_apply(enum hash_function function, const void *bytes, size_t length)
{
    switch (function) {
    case HASH_MURMUR3:
        return apply_murmur3(bytes, length);
    case HASH_MD5:
        return apply_md5(bytes, length);
    case HASH_KOYAMA:
        return koyama_hash(bytes, length);
    default:
        return hash64(bytes, length, 0);
    }
}

const char *hash_function_name(enum hash_function function)
{
    return functions[function].name;
}

int hash_function_from_name(const char *name)
{
    for (int i = 0; i < HASH_FUNCTIONS; i++) {
        if (strcmp(functions[i].name, name) == 0)
            return i;
    }
    return -EINVAL;
}

bool hash_function_spreads(enum hash_function function)
{
    return functions[function].spreads;
}

/* Both ways take and return the register; a checksum is its complement, so that one can go on from another.
 */
#include "base/crc32c.h"

#include <isa-l/crc.h>

#include "base/crc32c_wide.h"

static bool is_wide(void)
{
    static int known; /* 0: not asked yet; every thread finds the same */
    int answer = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (__builtin_expect(answer == 0, 0)) {
        answer = crc32c_wide_possible() ? 1 : -1;
        __atomic_store_n(&known, answer, __ATOMIC_RELAXED);
    }
    return answer > 0;
}

static uint32_t by_library(uint32_t value, const void *bytes, size_t length)
{
    unsigned char *at = (unsigned char *)(uintptr_t)bytes;
    while (length > 0) {
        size_t part = length < (UINT32_C(1) << 30) ? length : UINT32_C(1) << 30;
        value = crc32_iscsi(at, (int)part, value);
        at += part;
        length -= part;
    }
    return value;
}

uint32_t crc32c(uint32_t start, const void *bytes, size_t length)
{
    const char *at = bytes;
    uint32_t value = ~start;
    if (length >= CRC32C_BLOCK_BYTES && is_wide())
        for (; length >= CRC32C_BLOCK_BYTES; length -= CRC32C_BLOCK_BYTES, at += CRC32C_BLOCK_BYTES)
            value =
                crc32c_wide_block(value, at, length < 2 * CRC32C_BLOCK_BYTES ? at : at + CRC32C_BLOCK_BYTES);
    return ~by_library(value, at, length);
}

uint32_t crc32c_block(const void *bytes, const void *next)
{
    if (is_wide())
        return ~crc32c_wide_block(UINT32_MAX, bytes, next == NULL ? bytes : next);
    return ~by_library(UINT32_MAX, bytes, CRC32C_BLOCK_BYTES);
}

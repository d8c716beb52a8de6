/* ISA-L takes and returns the register; a checksum is its complement, so that one can go on from another. */
#include "base/crc32c.h"

#include <isa-l/crc.h>

uint32_t crc32c(uint32_t start, const void *bytes, size_t length)
{
    const unsigned char *at = bytes;
    uint32_t value = ~start;
    while (length > 0) {
        size_t part = length < (UINT32_C(1) << 30) ? length : UINT32_C(1) << 30;
        value = crc32_iscsi((unsigned char *)(uintptr_t)at, (int)part, value);
        at += part;
        length -= part;
    }
    return ~value;
}

/* CRC32C (Castagnoli): the checksum of blocks and journal groups. By ISA-L, which uses the processor's
 * carry-less multiplication: 20 to 30 GB/s on memory that is in the cache. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Of length bytes; start: 0, or the checksum of what came before them. */
uint32_t crc32c(uint32_t start, const void *bytes, size_t length);

/* CRC32C (Castagnoli): the checksum of blocks and journal groups. By the processor's carry-less
 * multiplication (crc32c_wide.h where that is possible, or else ISA-L): 45 to 65 GB/s on memory that is in
 * the cache. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Of length bytes; start: 0, or the checksum of what came before them. */
uint32_t crc32c(uint32_t start, const void *bytes, size_t length);
/* Of a block of 4 KiB. next: the block whose checksum is wanted next, which is fetched from memory meanwhile;
 * NULL: none. */
uint32_t crc32c_block(const void *bytes, const void *next);

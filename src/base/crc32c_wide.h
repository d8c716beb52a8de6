/* CRC32C of a block of 4 KiB by a processor that has carry-less multiplication of 512 bits (VPCLMULQDQ with
 * AVX-512), about a third quicker than ISA-L there: for crc32c.c, which asks first whether it is possible. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CRC32C_BLOCK_BYTES 4096u

/* Whether this processor and this build can. */
bool crc32c_wide_possible(void);
/* The register after the block, from what it was before. The block at `next` is fetched towards the processor
 * meanwhile; `bytes` again: none. Only where it is possible. */
uint32_t crc32c_wide_block(uint32_t before, const void *bytes, const void *next);

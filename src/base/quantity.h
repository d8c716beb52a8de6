/* Sizes and durations as people write them: "64KiB", "1 GiB", "10s", "500us". */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* A whole number and B, KiB, MiB, GiB, TiB or PiB (also K, M, G, T, P: the same powers of 1024), or a plain
 * number of bytes. Returns 0; -EINVAL: not a size; -ERANGE: does not fit 64 bits. *bytes is set only on
 * success. */
int quantity_parse_size(const char *text, uint64_t *bytes);

/* A whole number and ns, us, ms, s, min or h; a lone 0 needs no unit. Same errors. */
int quantity_parse_duration(const char *text, uint64_t *ns);

/* Write the shortest exact form that the parsers above read back. 32 bytes suffice. */
void quantity_format_size(uint64_t bytes, char *text, size_t size);
void quantity_format_duration(uint64_t ns, char *text, size_t size);

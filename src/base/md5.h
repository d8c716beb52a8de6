/* MD5 (Rivest, RFC 1321, 1992). For the placement of data as older file systems do it, and to compare its
 * speed with that of other hashes; it protects nothing from anybody. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define MD5_BYTES 16

void md5(const void *bytes, size_t length, uint8_t digest[MD5_BYTES]);

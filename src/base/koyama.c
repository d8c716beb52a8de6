/* A number that does not fit into 32 bits counts modulo 2^32, like the sum. Bytes beyond 127 count as
 * negative ones: as they do in CHFS on the processors it runs on. */
#include "base/koyama.h"

uint32_t koyama_hash(const void *bytes, size_t length)
{
    const uint8_t *at = bytes, *end = at + length;
    uint32_t sum = 0, number = 0;
    for (; at < end; at++) {
        unsigned digit = *at - (unsigned)'0';
        if (digit <= 9) {
            number = number * 10 + digit;
            continue;
        }
        int32_t value = (int8_t)*at;
        sum += number + (uint32_t)value;
        number = 0;
    }
    return sum + number;
}

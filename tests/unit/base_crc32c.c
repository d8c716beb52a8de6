/* CRC32C: the known answers of RFC 3720, appendix B.4, that a checksum can go on from another, and that
 * blocks, which have a way of their own where the processor allows it, get what a bit at a time gives. */
#include "unit/unit.h"

#include "base/crc32c.h"
#include "base/random.h"

#include <string.h>

static void test_known_answers(void **state)
{
    (void)state;
    uint8_t bytes[32];
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    memset(bytes, 0, sizeof(bytes));
    assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x8a9136aa);
    memset(bytes, 0xff, sizeof(bytes));
    assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x62a8ab43);
    for (uint8_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = i;
    assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x46dd794e);
    assert_int_equal(crc32c(0, NULL, 0), 0);
}

static void test_going_on(void **state)
{
    (void)state;
    static const char text[] = "a checksum of the whole is the checksum of its parts in turn";
    for (size_t cut = 0; cut <= sizeof(text); cut++)
        assert_int_equal(crc32c(crc32c(0, text, cut), text + cut, sizeof(text) - cut),
                         crc32c(0, text, sizeof(text)));
}

static uint32_t bit_by_bit(const uint8_t *bytes, size_t length)
{
    uint32_t value = UINT32_MAX;
    for (size_t i = 0; i < length; i++) {
        value ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            value = value >> 1 ^ ((value & 1) != 0 ? UINT32_C(0x82f63b78) : 0);
    }
    return ~value;
}

#define BLOCK 4096u
#define BLOCKS 3u

/* One bit in each word of an otherwise empty block: no part of it counts twice or at the wrong place. */
static void test_every_word_of_a_block(void **state)
{
    (void)state;
    static uint8_t block[BLOCK];
    for (uint32_t at = 0; at < BLOCK; at += 8) {
        uint32_t byte = at + at / 8 % 8;
        block[byte] = (uint8_t)(1u << at / 64 % 8);
        assert_int_equal(crc32c_block(block, NULL), bit_by_bit(block, BLOCK));
        block[byte] = 0;
    }
}

static void test_blocks_of_any_bytes(void **state)
{
    (void)state;
    static uint8_t bytes[BLOCKS * BLOCK + 64];
    struct random random;
    random_seed(&random, 1);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)random_next(&random);
    for (uint32_t at = 0; at < 64; at += 7) {
        uint32_t expected = bit_by_bit(bytes + at, BLOCK);
        assert_int_equal(crc32c_block(bytes + at, NULL), expected);
        assert_int_equal(crc32c_block(bytes + at, bytes + at + BLOCK), expected);
        for (uint32_t length = BLOCK - 1; length <= BLOCKS * BLOCK; length += BLOCK / 2)
            assert_int_equal(crc32c(0, bytes + at, length), bit_by_bit(bytes + at, length));
        assert_int_equal(crc32c(crc32c(0, bytes, at), bytes + at, 2 * BLOCK),
                         bit_by_bit(bytes, at + 2 * BLOCK));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_going_on),
        cmocka_unit_test(test_every_word_of_a_block),
        cmocka_unit_test(test_blocks_of_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* CRC32C: the known answers of RFC 3720, appendix B.4, and that a checksum can go on from another. */
#include "unit/unit.h"

#include "base/crc32c.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_going_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

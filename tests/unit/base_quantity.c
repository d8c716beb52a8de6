/* Sizes and durations: what is written is exact, what is ambiguous is refused. */
#include "unit/unit.h"

#include "base/quantity.h"

#include <errno.h>

static void assert_size(const char *text, uint64_t expected)
{
    uint64_t value = 0;
    assert_int_equal(quantity_parse_size(text, &value), 0);
    assert_int_equal(value, expected);
}

static void assert_duration(const char *text, uint64_t expected)
{
    uint64_t value = 0;
    assert_int_equal(quantity_parse_duration(text, &value), 0);
    assert_int_equal(value, expected);
}

static void sizes_are_read(void **state)
{
    (void)state;
    assert_size("0", 0);
    assert_size("4096", 4096);
    assert_size("17B", 17);
    assert_size("64KiB", 65536);
    assert_size("64 KiB", 65536);
    assert_size("3M", 3 << 20);
    assert_size("1GiB", UINT64_C(1) << 30);
    assert_size("2TiB", UINT64_C(2) << 40);
    assert_size("18446744073709551615", UINT64_MAX);
}

static void durations_are_read(void **state)
{
    (void)state;
    assert_duration("0", 0);
    assert_duration("7ns", 7);
    assert_duration("500us", 500000);
    assert_duration("1 ms", 1000000);
    assert_duration("10s", UINT64_C(10000000000));
    assert_duration("2min", UINT64_C(120000000000));
    assert_duration("1h", UINT64_C(3600000000000));
}

static void ambiguous_or_malformed_text_is_refused(void **state)
{
    (void)state;
    const char *const sizes[] = {"",    " 1",    "-1",   "+1",     "1GB", "1.5GiB",
                                 "GiB", "1KiBx", "0x10", "1 KiB ", "1k"};
    const char *const durations[] = {"", "10", "s", "1.5s", "-1s", "10 sx", "1d"};
    uint64_t value = 99;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        assert_int_equal(quantity_parse_size(sizes[i], &value), -EINVAL);
    for (size_t i = 0; i < sizeof durations / sizeof durations[0]; i++)
        assert_int_equal(quantity_parse_duration(durations[i], &value), -EINVAL);
    assert_int_equal(value, 99);
}

static void overflow_is_told_from_nonsense(void **state)
{
    (void)state;
    uint64_t value = 99;
    assert_int_equal(quantity_parse_size("18446744073709551616", &value), -ERANGE);
    assert_int_equal(quantity_parse_size("16384PiB", &value), -ERANGE);
    assert_int_equal(quantity_parse_duration("99999999999999h", &value), -ERANGE);
    assert_int_equal(quantity_parse_size("99999999999999999999GB", &value), -EINVAL);
    assert_int_equal(value, 99);
}

static void format_is_short_and_exact(void **state)
{
    (void)state;
    char text[32];
    const uint64_t values[] = {0,     1,          1023,        1024,       65536,         65537,     1 << 20,
                               60000, 1000000000, 60000000000, UINT64_MAX, 3600000000000, 7200000001};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        quantity_format_size(values[i], text, sizeof text);
        assert_size(text, values[i]);
        quantity_format_duration(values[i], text, sizeof text);
        assert_duration(text, values[i]);
    }
    quantity_format_size(UINT64_C(1) << 30, text, sizeof text);
    assert_string_equal(text, "1GiB");
    quantity_format_duration(1500000, text, sizeof text);
    assert_string_equal(text, "1500us");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_read),
        cmocka_unit_test(durations_are_read),
        cmocka_unit_test(ambiguous_or_malformed_text_is_refused),
        cmocka_unit_test(overflow_is_told_from_nonsense),
        cmocka_unit_test(format_is_short_and_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

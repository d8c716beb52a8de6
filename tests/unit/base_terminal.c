/* What of other people's texts a terminal gets to see, and how wide it is. */
#include "unit/unit.h"

#include "base/terminal.h"

static void expect(const char *text, size_t bytes, uint32_t columns, bool shown)
{
    struct terminal_character next = terminal_character(text);
    assert_int_equal(next.bytes, bytes);
    assert_int_equal(next.columns, columns);
    assert_int_equal(next.shown, shown);
}

static void test_characters(void **state)
{
    (void)state;
    expect("", 0, 0, false);
    expect("a", 1, 1, true);
    expect("\xC3\xA4 ", 2, 1, true);        /* a with two dots */
    expect("\xE6\x97\xA5", 3, 2, true);     /* the sun, in Chinese */
    expect("\xF0\x9F\x98\x80", 4, 2, true); /* a face */
    expect("\xCC\x88", 2, 0, true);         /* two dots over what is before */
    expect("\xF4\x8F\xBF\xBD", 4, 1, true); /* the last of all */
}

static void test_what_moves_the_cursor_is_not_shown(void **state)
{
    (void)state;
    expect("\x1B[31m", 1, 1, false);
    expect("\x7F", 1, 1, false);
    expect("\xC2\x9B"
           "31m",
           2, 1, false);                 /* the same in one character */
    expect("\xE2\x80\xAE", 3, 1, false); /* from right to left from here */
}

static void test_what_is_no_utf8_is_one_byte(void **state)
{
    (void)state;
    expect("\x9B"
           "31m",
           1, 1, false);
    expect("\xC3", 1, 1, false);             /* ends too early */
    expect("\xC3(", 1, 1, false);            /* goes on with something else */
    expect("\xC0\xAF", 1, 1, false);         /* '/' in two bytes */
    expect("\xE0\x80\xAF", 1, 1, false);     /* ... in three */
    expect("\xED\xA0\x80", 1, 1, false);     /* half of a pair */
    expect("\xF4\x90\x80\x80", 1, 1, false); /* beyond the last */
    expect("\xFF", 1, 1, false);
}

static void test_columns(void **state)
{
    (void)state;
    assert_int_equal(terminal_columns(""), 0);
    assert_int_equal(terminal_columns("a\xC3\xA4\xE6\x97\xA5\x1B\xFF"), 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_characters),
        cmocka_unit_test(test_what_moves_the_cursor_is_not_shown),
        cmocka_unit_test(test_what_is_no_utf8_is_one_byte),
        cmocka_unit_test(test_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

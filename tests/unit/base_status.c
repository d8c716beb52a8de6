/* Status codes have texts and become errno values that strerror knows. */
#include "unit/unit.h"

#include "base/status.h"

#include <limits.h>
#include <string.h>

static void text_names_errno_and_protocol_conditions(void **state)
{
    (void)state;
    assert_string_equal(status_text(0), "Success");
    assert_string_equal(status_text(-ENOENT), "No such file or directory");
    assert_string_equal(status_text(-STATUS_WRONG_EPOCH), "cluster map out of date");
    for (int code = STATUS_WRONG_EPOCH; code <= STATUS_OUTSIDE; code++)
        assert_string_not_equal(status_text(-code), "unknown status");
}

static void text_survives_any_number(void **state)
{
    (void)state;
    const int strange[] = {INT_MIN, INT_MAX, 1, -100000, -41 /* a gap in Linux' table */};
    for (size_t i = 0; i < sizeof strange / sizeof strange[0]; i++)
        assert_string_equal(status_text(strange[i]), "unknown status");
}

static void errno_is_always_an_errno(void **state)
{
    (void)state;
    assert_int_equal(status_errno(0), 0);
    assert_int_equal(status_errno(-ENOTEMPTY), ENOTEMPTY);
    assert_int_equal(status_errno(-STATUS_BUSY_RETRY), EIO);
    assert_int_equal(status_errno(INT_MIN), EIO);
    assert_int_equal(status_errno(7), EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_names_errno_and_protocol_conditions),
        cmocka_unit_test(text_survives_any_number),
        cmocka_unit_test(errno_is_always_an_errno),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What the kernel may keep of files: the table alone. */
#include "unit.h"

#include "fuse/filesystem.h"

static struct version_table *versions;

static int set_up(void **state)
{
    (void)state;
    return versions_create(&versions);
}

static int tear_down(void **state)
{
    (void)state;
    versions_destroy(versions);
    return 0;
}

static uint64_t noted;

static bool keeps(uint64_t inode, int64_t change_time)
{
    struct attributes attributes = {.inode = inode, .change_time = change_time, .size = 5};
    bool unchanged = versions_unchanged(versions, &attributes, &noted);
    assert_int_equal(unchanged, noted == 0);
    return unchanged;
}

/* Kept is what was read since the last open that found the file as it is now. */
static void one_after_another(void **state)
{
    (void)state;
    for (int64_t change = 1; change < 5; change++) {
        assert_false(keeps(7, change));
        versions_dropped(versions, 7, noted);
        assert_true(keeps(7, change));
        assert_true(keeps(7, change));
        assert_true(change == 1 || keeps(8, 1));
        assert_true(change > 1 || !keeps(8, 1));
        versions_dropped(versions, 8, noted);
    }
    assert_false(keeps(7, 1)); /* the time is another one, be it older */
}

/* Several open at once: none keeps anything before the kernel is known to have dropped what it held. */
static void at_once(void **state)
{
    (void)state;
    assert_false(keeps(7, 1));
    uint64_t first = noted;
    assert_false(keeps(7, 1));
    uint64_t second = noted;
    assert_false(keeps(7, 2));
    uint64_t third = noted;
    versions_dropped(versions, 7, first);
    versions_dropped(versions, 7, second); /* what they dropped was older still */
    assert_false(keeps(7, 2));
    versions_dropped(versions, 7, third);
    assert_true(keeps(7, 2));
    versions_dropped(versions, 7, third);
    versions_dropped(versions, 9, third);
    assert_true(keeps(7, 2));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_after_another, set_up, tear_down),
        cmocka_unit_test_setup_teardown(at_once, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

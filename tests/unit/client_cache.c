/* The directory cache: exact names, bounded, emptied at once. */
#include "unit.h"

#include <stdio.h>

#include "client/core.h"

static struct directory_cache cache;

static int set_up(void **state)
{
    (void)state;
    return cache_create(&cache);
}

static int tear_down(void **state)
{
    (void)state;
    cache_destroy(&cache);
    return 0;
}

static void exact(void **state)
{
    struct directory first = {.inode = 10, .parent = 1, .mode = 0755}, second = {.inode = 11, .parent = 1};
    (void)state;
    assert_null(cache_find(&cache, 1, 77, "name", 4));
    cache_insert(&cache, 1, 77, "name", 4, &first);
    cache_insert(&cache, 1, 77, "mane", 4, &second); /* the same hash: names decide */
    assert_int_equal(cache_find(&cache, 1, 77, "name", 4)->inode, 10);
    assert_int_equal(cache_find(&cache, 1, 77, "mane", 4)->inode, 11);
    assert_null(cache_find(&cache, 1, 77, "nam", 3));
    assert_null(cache_find(&cache, 2, 77, "name", 4));
    assert_null(cache_find(&cache, 1, 78, "name", 4));
    first.mode = 0700;
    cache_insert(&cache, 1, 77, "name", 4, &first); /* replaces itself, not its neighbour */
    assert_int_equal(cache_find(&cache, 1, 77, "name", 4)->mode, 0700);
    assert_int_equal(cache_find(&cache, 1, 77, "mane", 4)->inode, 11);
}

static void bounded(void **state)
{
    char name[32];
    unsigned found = 0;
    (void)state;
    for (uint64_t i = 0; i < 100000; i++) {
        struct directory directory = {.inode = i + 2, .parent = 1};
        int length = snprintf(name, sizeof name, "d%ju", (uintmax_t)i);
        uint64_t hash = dentry_hash(1, name, (size_t)length);
        cache_insert(&cache, 1, hash, name, (uint32_t)length, &directory);
        /* What was used last stays. */
        assert_int_equal(cache_find(&cache, 1, hash, name, (uint32_t)length)->inode, i + 2);
        assert_int_equal(cache_find_inode(&cache, i + 2)->parent, 1);
    }
    for (uint64_t i = 0; i < 100000; i++) {
        int length = snprintf(name, sizeof name, "d%ju", (uintmax_t)i);
        found += cache_find(&cache, 1, dentry_hash(1, name, (size_t)length), name, (uint32_t)length) != NULL;
    }
    assert_true(found > 500 && found <= 1024);
}

static void emptied(void **state)
{
    struct directory directory = {.inode = 10, .parent = 1};
    (void)state;
    for (int i = 0; i < 3; i++) {
        cache_insert(&cache, 1, 77, "name", 4, &directory);
        assert_non_null(cache_find_inode(&cache, 10));
        cache_clear(&cache);
        assert_null(cache_find(&cache, 1, 77, "name", 4));
        assert_null(cache_find_inode(&cache, 10));
    }
    /* The tag comes round after 2^32 clearings and revives nothing. */
    cache_insert(&cache, 1, 77, "name", 4, &directory);
    cache.tag = UINT32_MAX;
    cache_clear(&cache);
    for (uint32_t tag = 1; tag < 10; tag++) {
        assert_null(cache_find(&cache, 1, 77, "name", 4));
        assert_null(cache_find_inode(&cache, 10));
        cache_clear(&cache);
    }
    cache_insert(&cache, 1, 77, "name", 4, &directory);
    cache_forget_inode(&cache, 10);
    assert_null(cache_find_inode(&cache, 10));
    cache_insert(&cache, 1, 77, "name", 4, &directory);
    cache_forget(&cache, 1, 77, "other", 5);
    assert_non_null(cache_find(&cache, 1, 77, "name", 4));
    cache_forget(&cache, 1, 77, "name", 4);
    assert_null(cache_find(&cache, 1, 77, "name", 4));
    assert_null(cache_find_inode(&cache, 10));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(exact, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(emptied, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

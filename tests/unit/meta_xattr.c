/* Extended attributes against a plain table, with limits, and with allocations that fail. */
#include "unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "meta/xattr.h"

enum { INODES = 20, NAMES = 12, STEPS = 20000, LENGTH_MAX = 3000 };

struct entry {
    bool there;
    uint32_t length;
    uint8_t seed;
};

static bool refuse_half(void *owner, size_t size)
{
    (void)size;
    return random_below(owner, 2) == 0;
}

static void count_name(void *owner, const char *name, uint32_t name_length)
{
    assert_true(name_length >= 5 && memcmp(name, "user.", 5) == 0);
    ++*(uint32_t *)owner;
}

static void agrees_with_a_table(void **state)
{
    static struct entry table[INODES][NAMES];
    static uint8_t value[LENGTH_MAX];
    struct memory memory;
    struct xattrs xattrs;
    struct random random, luck;
    (void)state;
    memory_init(&memory);
    random_seed(&random, 7);
    random_seed(&luck, 8);
    memory.refuse_owner = &luck;
    xattrs_init(&xattrs, &memory);
    for (int step = 0; step < STEPS; step++) {
        uint64_t inode = random_below(&random, INODES);
        uint32_t which = (uint32_t)random_below(&random, NAMES);
        struct entry *entry = &table[inode][which];
        char name[32];
        uint32_t name_length = (uint32_t)snprintf(name, sizeof name, "user.%u", which * which * which);
        uint64_t kind = random_below(&random, 100);
        memory.refuse = random_below(&random, 5) == 0 ? refuse_half : NULL;
        if (kind < 50) {
            bool replace = random_below(&random, 4) == 0, create = random_below(&random, 4) == 0;
            uint32_t length = (uint32_t)random_below(&random, LENGTH_MAX);
            memset(value, step & 255, length);
            int status = xattr_set(&xattrs, inode, name, name_length, value, length, replace, create);
            if (status == -ENOMEM && memory.refuse != NULL)
                continue;
            assert_int_equal(status, replace && !entry->there ? -ENODATA
                                     : create && entry->there ? -EEXIST
                                                              : 0);
            if (status == 0)
                *entry = (struct entry){true, length, (uint8_t)(step & 255)};
        } else if (kind < 60) {
            int status = xattr_remove(&xattrs, inode, name, name_length);
            if (status == -ENOMEM && memory.refuse != NULL)
                continue;
            assert_int_equal(status, entry->there ? 0 : -ENODATA);
            entry->there = false;
        } else if (kind < 61) {
            xattr_drop(&xattrs, inode);
            memset(table[inode], 0, sizeof table[inode]);
        } else if (kind < 65) {
            uint32_t listed = 0, there = 0;
            xattr_list(&xattrs, inode, count_name, &listed);
            for (int i = 0; i < NAMES; i++)
                there += table[inode][i].there;
            assert_int_equal(listed, there);
        } else {
            const void *found;
            uint32_t length;
            int status = xattr_get(&xattrs, inode, name, name_length, &found, &length);
            assert_int_equal(status, entry->there ? 0 : -ENODATA);
            if (status != 0)
                continue;
            assert_int_equal(length, entry->length);
            memset(value, entry->seed, length);
            assert_memory_equal(found, value, length);
        }
    }
    for (uint64_t inode = 0; inode < INODES; inode++)
        xattr_drop(&xattrs, inode);
    assert_int_equal(xattrs.count, 0);
    index_clear(&xattrs.index);
    assert_int_equal(memory.bytes, 0);
    memory_free_all(&memory);
}

static void limits(void **state)
{
    static uint8_t value[XATTR_VALUE_MAX];
    struct memory memory;
    struct xattrs xattrs;
    char name[16];
    (void)state;
    memory_init(&memory);
    xattrs_init(&xattrs, &memory);
    assert_int_equal(xattr_set(&xattrs, 1, "a", 1, value, 40000, false, false), 0);
    assert_int_equal(xattr_set(&xattrs, 1, "b", 1, value, 25537, false, false), -ENOSPC);
    assert_int_equal(xattr_set(&xattrs, 1, "b", 1, value, 25536, false, false), 0);
    assert_int_equal(xattr_set(&xattrs, 1, "a", 1, value, 40000, false, false), 0);
    assert_int_equal(xattr_set(&xattrs, 1, "a", 1, value, 40001, false, false), -ENOSPC);
    assert_int_equal(xattr_remove(&xattrs, 1, "a", 1), 0);
    int count = 0;
    while (xattr_set(&xattrs, 2, name, (uint32_t)snprintf(name, sizeof name, "n%06d", count), "", 0, false,
                     false) == 0)
        count++;
    assert_int_equal(count, XATTR_NAMES_MAX / 8);
    memory_free_all(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_a_table), cmocka_unit_test(limits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

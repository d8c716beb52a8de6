/* The inode table agrees with a plain array, in whatever order numbers come and go, and returns all of its
 * memory. */
#include "unit/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "meta/table.h"

enum { PARTITIONS = 3, COUNTERS = 700, STEPS = 60000 };

static char inodes[PARTITIONS][COUNTERS]; /* their addresses are the values */
static bool present[PARTITIONS][COUNTERS];
static const uint32_t partitions[PARTITIONS] = {0, 77, PARTITION_COUNT - 1};

static struct inode *value(size_t p, size_t c)
{
    return (struct inode *)&inodes[p][c];
}

/* Sparse at the far end. */
static uint64_t number_of(size_t p, size_t c)
{
    uint64_t counter = c + 1;
    if (c >= 600)
        counter = (UINT64_C(1) << (20 + (c - 600) / 5)) + c % 5 * 9;
    return inode_make(partitions[p], counter);
}

static void agrees_with_an_array(void **state)
{
    (void)state;
    struct memory memory;
    struct random random;
    struct table *table = calloc(1, sizeof(*table));
    memory_init(&memory);
    table_init(table, &memory);
    random_seed(&random, 5);
    memset(present, 0, sizeof(present));
    for (int step = 0; step < STEPS; step++) {
        size_t p = random_below(&random, PARTITIONS);
        size_t c = random_below(&random, COUNTERS);
        uint64_t number = number_of(p, c);
        assert_ptr_equal(table_find(table, number), present[p][c] ? value(p, c) : NULL);
        /* Mostly full, then mostly empty, and so on. */
        if (random_below(&random, 10) < (step / 10000 % 2 == 0 ? 8u : 2u)) {
            if (!present[p][c])
                assert_int_equal(table_insert(table, number, value(p, c)), 0);
            present[p][c] = true;
        } else {
            if (present[p][c])
                table_remove(table, number);
            present[p][c] = false;
        }
    }
    for (size_t p = 0; p < PARTITIONS; p++) {
        for (size_t c = 0; c < COUNTERS; c++) {
            assert_ptr_equal(table_find(table, number_of(p, c)), present[p][c] ? value(p, c) : NULL);
            if (present[p][c])
                table_remove(table, number_of(p, c));
            assert_null(table_find(table, number_of(p, c)));
        }
    }
    assert_int_equal(memory.bytes, 0);
    memory_free_all(&memory);
    free(table);
}

static void the_first_of_a_partition_needs_no_box(void **state)
{
    (void)state;
    struct memory memory;
    struct table *table = calloc(1, sizeof(*table));
    memory_init(&memory);
    table_init(table, &memory);
    struct inode *first = value(0, 4), *other = value(1, 4), *second = value(0, 20);
    uint64_t partition = inode_partition(number_of(0, 0));
    assert_int_equal(table_insert(table, number_of(0, 4), first), 0);
    assert_int_equal(table_insert(table, number_of(1, 4), other), 0);
    assert_int_equal(memory.bytes, 0);
    assert_ptr_equal(table_find(table, number_of(0, 4)), first);
    assert_null(table_find(table, number_of(0, 5)));
    assert_int_equal(table_counter(table, (uint32_t)partition), 5);
    struct inode *low = partitions[0] < partitions[1] ? first : other, *high = low == first ? other : first;
    uint64_t low_number = low == first ? number_of(0, 4) : number_of(1, 4);
    assert_ptr_equal(table_next(table, 0), low);
    assert_ptr_equal(table_next(table, low_number - 1), low);
    assert_ptr_equal(table_next(table, low_number), high);
    table_remove(table, number_of(1, 4));
    assert_null(table_find(table, number_of(1, 4)));
    assert_ptr_equal(table_next(table, 0), first);
    table_raise(table, number_of(0, 9));
    assert_int_equal(table_counter(table, (uint32_t)partition), 10);
    assert_ptr_equal(table_find(table, number_of(0, 4)), first);

    assert_int_equal(table_insert(table, number_of(0, 20), second), 0);
    assert_true(memory.bytes > 0);
    assert_ptr_equal(table_find(table, number_of(0, 4)), first);
    assert_ptr_equal(table_find(table, number_of(0, 20)), second);
    assert_ptr_equal(table_next(table, number_of(0, 4)), second);
    table_remove(table, number_of(0, 4));
    table_remove(table, number_of(0, 20));
    assert_null(table_next(table, 0));
    assert_int_equal(memory.bytes, 0);
    assert_int_equal(table_insert(table, number_of(0, 2), first),
                     0); /* below what there was: not a new number */
    assert_ptr_equal(table_find(table, number_of(0, 2)), first);
    assert_int_equal(table_counter(table, (uint32_t)partition), 21);
    table_remove(table, number_of(0, 2));
    memory_free_all(&memory);
    free(table);
}

static void numbers_from_outside_are_not_found(void **state)
{
    (void)state;
    struct memory memory;
    struct table *table = calloc(1, sizeof(*table));
    memory_init(&memory);
    table_init(table, &memory);
    assert_int_equal(table_insert(table, number_of(1, 0), value(1, 0)), 0);
    assert_null(table_find(table, 0));
    assert_null(table_find(table, UINT64_MAX));
    assert_null(table_find(table, number_of(1, 0) | UINT64_C(1) << 63));
    assert_null(table_find(table, inode_make(77, (UINT64_C(1) << INODE_COUNTER_BITS) - 1)));
    assert_null(table_find(table, inode_make(78, 1)));
    memory_free_all(&memory);
    free(table);
}

static bool refuse_at(void *owner, size_t size)
{
    (void)size;
    int *left = owner;
    return (*left)-- <= 0;
}

static void failed_allocation_changes_nothing(void **state)
{
    (void)state;
    struct memory memory;
    struct table *table = calloc(1, sizeof(*table));
    int left = 0, failures = 0;
    memory_init(&memory);
    memory.refuse_owner = &left;
    table_init(table, &memory);
    for (size_t c = 0; c < COUNTERS; c++) {
        int status = -ENOMEM;
        for (int allowed = 0; status == -ENOMEM; allowed++) {
            left = allowed;
            memory.refuse = refuse_at;
            status = table_insert(table, number_of(2, c), value(2, c));
            memory.refuse = NULL;
            failures += status == -ENOMEM;
            assert_ptr_equal(table_find(table, number_of(2, c)), status == 0 ? value(2, c) : NULL);
        }
        for (size_t earlier = 0; earlier < c; earlier++)
            assert_ptr_equal(table_find(table, number_of(2, earlier)), value(2, earlier));
    }
    assert_true(failures > 100);
    for (size_t c = 0; c < COUNTERS; c++)
        table_remove(table, number_of(2, c));
    assert_int_equal(memory.bytes, 0);
    memory_free_all(&memory);
    free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_an_array),
        cmocka_unit_test(the_first_of_a_partition_needs_no_box),
        cmocka_unit_test(numbers_from_outside_are_not_found),
        cmocka_unit_test(failed_allocation_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

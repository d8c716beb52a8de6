/* The slab pool: blocks do not overlap, freed ones are reused, and everything is accounted. */
#include "unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "meta/memory.h"

enum { BLOCKS = 4000, STEPS = 60000 };

static void blocks_keep_their_contents(void **state)
{
    (void)state;
    static struct {
        unsigned char *bytes;
        size_t size;
    } blocks[BLOCKS];
    struct memory memory;
    struct random random;
    memory_init(&memory);
    random_seed(&random, 1);
    for (int step = 0; step < STEPS; step++) {
        size_t i = random_below(&random, BLOCKS);
        unsigned char mark = (unsigned char)i;
        if (blocks[i].bytes == NULL) {
            size_t size = 1 + random_below(&random, i % 100 == 0 ? 20000 : 700);
            blocks[i].bytes = memory_allocate(&memory, size);
            assert_non_null(blocks[i].bytes);
            assert_int_equal(
                (uintptr_t)blocks[i].bytes % (size % MEMORY_ALIGNMENT == 0 ? MEMORY_ALIGNMENT : 16), 0);
            blocks[i].size = size;
            memset(blocks[i].bytes, mark, size);
        } else {
            for (size_t k = 0; k < blocks[i].size; k++)
                assert_int_equal(blocks[i].bytes[k], mark);
            memory_release(&memory, blocks[i].bytes, blocks[i].size);
            blocks[i].bytes = NULL;
        }
    }
    assert_true(memory.bytes > 0);
    for (size_t i = 0; i < BLOCKS; i++) {
        if (blocks[i].bytes != NULL)
            memory_release(&memory, blocks[i].bytes, blocks[i].size);
    }
    assert_int_equal(memory.bytes, 0);
    assert_true(memory.arena_count <= 1);
    memory_free_all(&memory);
}

static void freed_blocks_are_reused(void **state)
{
    (void)state;
    struct memory memory;
    memory_init(&memory);
    void *keeper = memory_allocate(&memory, 100);
    void *block = memory_allocate(&memory, 100);
    uint64_t bytes = memory.bytes;
    for (int i = 0; i < 100000; i++) {
        memory_release(&memory, block, 100);
        block = memory_allocate(&memory, 100);
        assert_non_null(block);
    }
    assert_int_equal(memory.bytes, bytes);
    memory_release(&memory, block, 100);
    memory_release(&memory, keeper, 100);
    assert_int_equal(memory.bytes, 0);
    memory_free_all(&memory);
}

static void rounding_is_monotonic(void **state)
{
    (void)state;
    for (size_t size = 1; size < MEMORY_BLOCK_MAX + 1000; size++) {
        assert_true(memory_rounded(size) >= size);
        assert_true(memory_rounded(size + 1) >= memory_rounded(size));
    }
}

static void everything_goes_at_once(void **state)
{
    (void)state;
    struct memory memory;
    memory_init(&memory);
    for (size_t size = 1; size < 100000; size += 997)
        assert_non_null(memory_allocate(&memory, size));
    memory_free_all(&memory);
    assert_int_equal(memory.bytes, 0);
    assert_int_equal(memory.arena_count, 0);
}

static uint64_t resident_pages(void)
{
    unsigned long size, resident;
    FILE *file = fopen("/proc/self/statm", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &size, &resident), 2);
    fclose(file);
    return resident;
}

static void a_reserve_is_there_and_stays(void **state)
{
    (void)state;
    enum { RESERVE = 16 << 20, BLOCK = 4096 };
    static void *blocks[RESERVE / BLOCK * 9 / 10];
    struct memory memory;
    memory_init(&memory);
    uint64_t before = resident_pages();
    assert_int_equal(memory_reserve(&memory, RESERVE), 0);
    assert_true(resident_pages() - before >= RESERVE / 4096);
    assert_int_equal(memory.bytes, 0);
    uint64_t arenas = memory.arena_count;
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
            blocks[i] = memory_allocate(&memory, BLOCK);
            assert_non_null(blocks[i]);
        }
        assert_int_equal(memory.arena_count, arenas);
        for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++)
            memory_release(&memory, blocks[i], BLOCK);
        assert_int_equal(memory.arena_count, arenas);
        assert_int_equal(memory.bytes, 0);
    }
    assert_int_equal(memory_reserve(&memory, RESERVE / 2), 0);
    assert_int_equal(memory.arena_count, arenas);
    memory_free_all(&memory);
    assert_true(resident_pages() - before < RESERVE / 4096 / 2);
}

/* Blocks of one size that are made one after the other lie one behind the other. */
static void blocks_beside_each_other(void **state)
{
    (void)state;
    enum { SIZE = 150, ROUNDED = 160, COUNT = 1000 };
    static char *blocks[COUNT];
    struct memory memory, again;
    memory_init(&memory);
    memory_init(&again);
    assert_int_equal(memory_rounded(SIZE), ROUNDED);
    unsigned beside = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        blocks[i] = memory_allocate(&memory, SIZE);
        assert_int_equal(memory_place(blocks[i]), memory_place(memory_allocate(&again, SIZE)));
        if (i == 0)
            continue;
        uint64_t distance = memory_place(blocks[i]) - memory_place(blocks[i - 1]);
        bool same_slab = (memory_place(blocks[i]) ^ memory_place(blocks[i - 1])) < MEMORY_SLAB;
        assert_ptr_equal(memory_beside(blocks[i - 1], ROUNDED), same_slab ? blocks[i] : NULL);
        assert_ptr_equal(memory_beside(blocks[i], -ROUNDED), same_slab ? blocks[i - 1] : NULL);
        assert_true(distance == ROUNDED || !same_slab);
        beside += same_slab;
    }
    assert_in_range(beside, COUNT - 5, COUNT - 2);
    assert_null(memory_beside(blocks[0], 1));
    assert_null(memory_beside(blocks[0], -16));
    assert_null(memory_beside(blocks[COUNT - 1], ROUNDED)); /* not handed out yet */
    for (unsigned i = 0; i < COUNT; i++)
        assert_null(memory_beside(blocks[i], MEMORY_SLAB));
    memory_free_all(&memory);
    memory_free_all(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_keep_their_contents),   cmocka_unit_test(freed_blocks_are_reused),
        cmocka_unit_test(rounding_is_monotonic),        cmocka_unit_test(everything_goes_at_once),
        cmocka_unit_test(a_reserve_is_there_and_stays), cmocka_unit_test(blocks_beside_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

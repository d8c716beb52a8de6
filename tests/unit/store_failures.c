/* The in-memory engine when memory is refused: the sources are compiled into this test with an allocator that
 * fails on demand. Every single allocation of a scenario is made to fail once; the failure must surface as
 * -ENOMEM, change nothing and leak nothing. */
#include "unit/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static long allocations_left;

static void *failing_malloc(size_t size)
{
    return allocations_left-- > 0 ? malloc(size) : NULL;
}

static void *failing_calloc(size_t count, size_t size)
{
    return allocations_left-- > 0 ? calloc(count, size) : NULL;
}

static void *failing_realloc(void *old, size_t size)
{
    return allocations_left-- > 0 ? realloc(old, size) : NULL;
}

#define malloc failing_malloc
#define calloc failing_calloc
#define realloc failing_realloc
#include "store/chunk_index.c"
#include "store/extents.c"
#include "store/mem.c"
#include "store/pages.c"
#include "store/ranges.c"
#include "store/region.c"
#undef malloc
#undef calloc
#undef realloc

#define CHUNK (1u << 20)

static int transfer(struct store *store, uint64_t inode, uint32_t offset, uint32_t length, uint8_t value)
{
    struct store_io io = {.inode = inode, .offset = offset, .length = length};
    int status = mem_write_begin(store, &io, CHUNK);
    if (status != 0)
        return status;
    for (uint32_t i = 0; i < io.count; i++)
        memset(io.vector[i].iov_base, value, io.vector[i].iov_len);
    return mem_write_commit(store, &io);
}

/* Fragments the store, then writes and reads a chunk of 40 single pages. Stops at the first failure, having
 * checked that nothing changed by it. */
static int scenario(struct store *store)
{
    for (uint64_t inode = 1; inode <= 80; inode++) {
        int status = transfer(store, inode, 0, PAGE_BYTES, 1);
        if (status != 0) {
            assert_int_equal(mem_chunk_length(store, inode, 0), 0);
            return status;
        }
    }
    for (uint64_t inode = 2; inode <= 80; inode += 2)
        mem_remove(store, inode, 0);
    int status = transfer(store, 1, PAGE_BYTES, 39 * PAGE_BYTES, 2);
    if (status != 0) {
        struct store_statistics statistics;
        mem_statistics(store, &statistics);
        assert_int_equal(statistics.used, 40 * PAGE_BYTES);
        assert_int_equal(mem_chunk_length(store, 1, 0), PAGE_BYTES);
        return status;
    }
    struct store_io io = {.inode = 1, .offset = 0, .length = 40 * PAGE_BYTES};
    status = mem_read_begin(store, &io);
    if (status == 0) {
        assert_int_equal(((uint8_t *)io.vector[0].iov_base)[PAGE_BYTES - 1], 1);
        assert_int_equal(((uint8_t *)io.vector[0].iov_base)[PAGE_BYTES], 2);
        mem_read_end(store, &io);
    }
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    struct store_options options = {.engine = "mem", .capacity = 80 * PAGE_BYTES};
    long failures = 0;
    for (;; failures++) {
        assert_true(failures < 1000);
        struct store *store = NULL;
        allocations_left = failures;
        int status = mem_create(&options, &store);
        if (status == 0) {
            status = scenario(store);
            mem_destroy(store);
        } else {
            assert_null(store);
        }
        if (status == 0)
            break;
        assert_int_equal(status, -ENOMEM);
    }
    assert_true(failures > 100);
}

static int refuse(struct net *net, size_t length, void **memory, void **region)
{
    (void)net;
    (void)length;
    (void)memory;
    (void)region;
    return -ENOMEM;
}

static void region_refused(void **state)
{
    (void)state;
    const struct net_operations operations = {.memory_allocate = refuse};
    struct net net = {.operations = &operations};
    struct store_options options = {.engine = "mem", .capacity = 1 << 20, .net = &net};
    struct store *store = NULL;
    allocations_left = 1000;
    assert_int_equal(mem_create(&options, &store), -ENOMEM);
    assert_null(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(region_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

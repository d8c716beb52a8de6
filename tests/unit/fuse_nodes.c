/* Node ids: one for each inode number and back, and different in the bits by which the kernel finds them. */
#include "unit/unit.h"

#include "fuse/filesystem.h"

static void there_and_back(void **state)
{
    static const uint64_t counters[] = {
        1, 2, 255, 1 << 14, (UINT64_C(1) << 30) + 5, (UINT64_C(1) << INODE_COUNTER_BITS) - 1};
    (void)state;
    for (uint32_t partition = 0; partition < PARTITION_COUNT; partition++)
        for (size_t i = 0; i < sizeof counters / sizeof *counters; i++) {
            uint64_t inode = inode_make(partition, counters[i]);
            assert_int_equal(inode_of(node_of(inode)), inode);
            assert_true((node_of(inode) == FUSE_ROOT_ID) == (inode == INODE_ROOT));
        }
    assert_int_equal(node_of(INODE_ROOT), FUSE_ROOT_ID);
    assert_int_equal(inode_of(FUSE_ROOT_ID), INODE_ROOT);
}

/* The first files of all partitions have the same counter. */
static void low_bits_differ(void **state)
{
    static bool seen[PARTITION_COUNT];
    (void)state;
    for (uint32_t partition = 0; partition < PARTITION_COUNT; partition++) {
        uint32_t low = (uint32_t)node_of(inode_make(partition, 2)) & (PARTITION_COUNT - 1);
        assert_false(seen[low]);
        seen[low] = true;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(low_bits_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

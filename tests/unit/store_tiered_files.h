/* What the tests of the tiered engine share: the random model in little room, counters of its tiers, and
 * files of whole chunks. Included after store_conformance.h. */
#pragma once

#include "unit/store_conformance.h"
#include "unit/store_model.h"

static void tiered_model(const struct store_options *common, uint64_t seeds)
{
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        struct store_options options = *common;
        options.capacity = 300u << 10;
        struct store *store = conformance_open_with(&options);
        model_run(store, seed, 3000);
        conformance_close(store);
    }
}

static struct store_tiers tiers_of(struct store *store)
{
    struct store_statistics statistics;
    store->operations->statistics(store, &statistics);
    return statistics.tiers;
}

static void write_whole(struct store *store, uint64_t inode, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        assert_int_equal(conformance_write(store, inode, i, 0, CONFORMANCE_CHUNK, (uint8_t)(1 + i % 200)), 0);
}

static void read_whole(struct store *store, uint64_t inode, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        assert_int_equal(conformance_read(store, inode, i, 0, CONFORMANCE_CHUNK, (uint8_t)(1 + i % 200)),
                         CONFORMANCE_CHUNK);
}

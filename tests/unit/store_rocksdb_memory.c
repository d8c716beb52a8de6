/* The rocksdb engine when memory is refused: store_refusal.h. */
#define STORE_CONFORMANCE_PERSISTENT
#define REFUSALS_MIN 30u
#include "unit/store_refusal.h"

#include "store/block_map.c"
#include "store/chunk_index.c"
#include "store/rocksdb.c"
#include "store/rocksdb_chunk.c"
#include "store/rocksdb_database.c"
#include "store/rocksdb_format.c"
#include "store/rocksdb_journal.c"
#include "store/rocksdb_transfer.c"
#include "store/staging.c"
#include "unit/store_refusal_cases.h"

static const struct store_options conformance_options = {
    .engine = "rocksdb", .capacity = 400u << 10, .checksum = true, .buffer = 16 << 20};

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_fails),
    };
    return cmocka_run_group_tests(tests, conformance_real, NULL);
}

/* The pmem engine when memory is refused: store_refusal.h. */
#define STORE_CONFORMANCE_PERSISTENT
#define REFUSALS_MIN 20u
#include "unit/store_refusal.h"

#include "store/block_map.c"
#include "store/chunk_index.c"
#include "store/cow_pages.c"
#include "store/pages.c"
#include "store/pmem.c"
#include "store/pmem_chunk.c"
#include "store/pmem_device.c"
#include "store/pmem_transfer.c"
#include "unit/store_refusal_cases.h"

static const struct store_options conformance_options = {
    .engine = "pmem", .capacity = 400u << 10, .checksum = true};

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_fails),
    };
    return cmocka_run_group_tests(tests, conformance_real, NULL);
}

/* The uring engine when memory is refused: store_refusal.h. */
#define STORE_CONFORMANCE_PERSISTENT
#define REFUSALS_MIN 30u
#include "unit/store_refusal.h"

#include "store/chunk_index.c"
#include "store/ranges.c"
#include "store/region.c"
#include "store/uring.c"
#include "store/uring_buffers.c"
#include "store/uring_chunk.c"
#include "store/uring_recent.c"
#include "store/uring_recovery.c"
#include "store/uring_segments.c"
#include "store/uring_transfer.c"
#include "unit/store_refusal_cases.h"

static const struct store_options conformance_options = {
    .engine = "uring", .capacity = 400u << 10, .checksum = true};

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_fails),
    };
    return cmocka_run_group_tests(tests, conformance_simulated, NULL);
}

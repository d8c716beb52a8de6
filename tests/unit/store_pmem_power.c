/* The persistent-memory engine on a simulated device: conformance, tasks, and what store_pmem.c cannot have
 * real files do, calls that fail and power that does. */
#define STORE_CONFORMANCE_PERSISTENT
#include "unit/store_faults.h"
#include "unit/store_tasks.h"

static const struct store_options conformance_options = {
    .engine = "pmem", .capacity = CONFORMANCE_CAPACITY, .checksum = true};

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_CONFORMANCE_CASES,
        STORE_CONFORMANCE_BYTES_CASES,
        STORE_CONFORMANCE_PERSISTENT_CASES,
        STORE_FAULT_CASES,
        STORE_TASK_CASES,
    };
    return cmocka_run_group_tests(tests, conformance_simulated, NULL);
}

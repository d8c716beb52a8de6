/* The journal when memory is refused: its sources are compiled into this test with an allocator that fails on
 * demand. Every single allocation of a scenario is made to fail, alone and with all after it: nothing that
 * was durable is lost, nothing hangs and nothing leaks. */
#include "unit/journal_model.h"

#include <limits.h>
#include <sys/mman.h>

static long allocations_left;
static bool for_good; /* all that come after it fail, too */

static bool granted(void)
{
    long left = allocations_left--;
    return for_good ? left > 0 : left != 0;
}

static void *failing_calloc(size_t count, size_t size)
{
    return granted() ? calloc(count, size) : NULL;
}

static void *failing_realloc(void *old, size_t size)
{
    return granted() ? realloc(old, size) : NULL;
}

static void *failing_aligned_alloc(size_t alignment, size_t size)
{
    return granted() ? aligned_alloc(alignment, size) : NULL;
}

static void *failing_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    return granted() ? mmap(address, length, protection, flags, fd, offset) : MAP_FAILED;
}

static void *failing_mremap(void *old, size_t old_length, size_t length, int flags)
{
    return granted() ? mremap(old, old_length, length, flags) : MAP_FAILED;
}

#define calloc failing_calloc
#define realloc failing_realloc
#define aligned_alloc failing_aligned_alloc
#define mmap failing_mmap
#define mremap failing_mremap
#include "journal/files.c"
#include "journal/group.c"
#include "journal/journal.c"
#include "journal/recovery.c"
#include "journal/snapshot.c"
#undef calloc
#undef realloc
#undef aligned_alloc
#undef mmap
#undef mremap

enum { LARGE = 5000 }; /* changes in a group that makes memory grow */

/* A life with a large group and snapshots; whether the journal could be opened. */
static bool live(struct model *model)
{
    if (model_start(model) != 0)
        return false;
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < LARGE; i++)
            model_change(model, (i * 7 + round) % MODEL_OBJECTS, i % 5 == 0);
        int status = journal_commit(model->journal);
        assert_true(status == 0 || status == -ENOMEM);
        status = journal_snapshot_take(model->journal);
        assert_true(status == 0 || status == -ENOMEM);
    }
    return true;
}

static void run_failures(void)
{
    for (long allocation = 0;; allocation++) {
        struct model model;
        assert_true(allocation < 1000);
        allocations_left = LONG_MAX;
        model_create(&model, (uint64_t)allocation);
        model_open(&model);
        for (uint32_t i = 0; i < LARGE; i++) /* recovery meets a group larger than what it reads at a time */
            model_change(&model, i % (MODEL_OBJECTS / 2), false);
        assert_int_equal(journal_commit(model.journal), 0);
        model_kill(&model);
        struct model_world before = model.history[model.durable];

        model_attach(&model);
        allocations_left = allocation;
        bool opened = live(&model);
        if (opened) {
            int status = journal_status(model.journal);
            assert_int_equal(journal_close(model.journal, false), status);
            model_remember(&model);
        }
        bool failed = allocations_left < 0;
        allocations_left = LONG_MAX;
        disk_close(model.disk);
        if (opened) {
            model_reopen(&model);
        } else {
            assert_true(failed);
            model_open(&model);
            assert_memory_equal(&model.world, &before, sizeof(before));
        }
        model_kill(&model);
        model_destroy(&model);
        if (!failed)
            break;
    }
}

static void test_every_allocation_fails_in_turn(void **state)
{
    (void)state;
    for_good = false;
    run_failures();
}

static void test_allocations_fail_for_good(void **state)
{
    (void)state;
    for_good = true;
    run_failures();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation_fails_in_turn),
        cmocka_unit_test(test_allocations_fail_for_good),
    };
    log_open("journal_memory", "/dev/null"); /* every failure says so */
    return cmocka_run_group_tests(tests, NULL, NULL);
}

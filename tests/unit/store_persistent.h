/* A persistent engine under test: loop, disk, engine and journal, opened and closed in the order in which a
 * server does it. Included by store_conformance.h.
 *
 * conformance_reopen is a clean end and a new start; conformance_crash loses what the journal has not
 * committed, and on a simulated device, if asked, the power too. */
#pragma once

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "journal/journal.h"
#include "runtime/disk.h"

static struct conformance {
    bool real;
    uint64_t device_capacity; /* simulated; 0: unlimited */
    const char *place;        /* where real directories are made; NULL: $STORE_DIRECTORY or /tmp */
    struct store_options options;
    struct loop *loop;
    struct disk_sim_device *device;
    char directory[64];
    struct disk *disk;
    struct store *store;
    struct journal *journal;
    uint64_t replayed; /* records, by the last opening */
    disk_fault fault;  /* installed when the disk is opened */
    void *fault_owner;
} conformance;

static inline int conformance_simulated(void **state)
{
    (void)state;
    conformance.real = false;
    return 0;
}

static inline int conformance_real(void **state)
{
    (void)state;
    conformance.real = true;
    return 0;
}

static inline void conformance_on_simulated_device(void **state)
{
    conformance_simulated(state);
}

static inline void conformance_in_real_directory(void **state)
{
    conformance_real(state);
}

/* Runs all cases on a simulated device and then in a real directory, as one group: TAP has one plan. If
 * $STORE_DIRECTORY says where, the latter only. */
static inline int conformance_run_twice(const struct CMUnitTest *tests, size_t count)
{
    if (getenv("STORE_DIRECTORY") != NULL)
        return _cmocka_run_group_tests("store", tests, count, conformance_real, NULL);
    struct CMUnitTest *all = calloc(2 * count + 2, sizeof(*all));
    all[0] = (struct CMUnitTest)cmocka_unit_test(conformance_on_simulated_device);
    memcpy(all + 1, tests, count * sizeof(*all));
    all[count + 1] = (struct CMUnitTest)cmocka_unit_test(conformance_in_real_directory);
    memcpy(all + count + 2, tests, count * sizeof(*all));
    int failed = _cmocka_run_group_tests("store", all, 2 * count + 2, NULL, NULL);
    free(all);
    return failed;
}

/* ---- what the journal asks ---- */

static void conformance_collect(void *owner)
{
    (void)owner;
}

static int conformance_flush(void *owner)
{
    struct conformance *here = owner;
    return here->store->operations->flush(here->store);
}

static void conformance_committed(void *owner, uint64_t position)
{
    struct conformance *here = owner;
    here->store->operations->committed(here->store, position);
}

static int conformance_snapshot(void *owner, struct journal_snapshot *snapshot)
{
    struct conformance *here = owner;
    return here->store->operations->snapshot(here->store, snapshot);
}

static int conformance_replay(void *owner, const struct journal_record *record)
{
    struct conformance *here = owner;
    here->replayed++;
    if (record->kind != JOURNAL_CHUNK && record->kind != JOURNAL_STORE &&
        (record->kind < JOURNAL_FAST_CHUNK || record->kind > JOURNAL_PROMOTION))
        return -EBADMSG;
    return here->store->operations->replay(here->store, record);
}

/* ---- opening and closing ---- */

static void conformance_disk_open(void)
{
    struct disk_options options = {0};
    int status = conformance.real
                     ? disk_open(conformance.loop, conformance.directory, &options, &conformance.disk)
                     : disk_sim_open(conformance.loop, conformance.device, &conformance.disk);
    assert_int_equal(status, 0);
    if (conformance.fault != NULL)
        disk_set_fault(conformance.disk, conformance.fault, conformance.fault_owner);
}

/* Everything above the disk. On failure all is closed again, the disk too. */
static int conformance_mount(void)
{
    conformance_disk_open();
    struct store_options options = conformance.options;
    options.loop = conformance.loop;
    options.disk = conformance.disk;
    conformance.replayed = 0;
    conformance.store = NULL;
    conformance.journal = NULL;
    int status = store_create(&options, &conformance.store);
    if (status == 0) {
        const struct store_operations *call = conformance.store->operations;
        struct journal_options journal = {
            .loop = conformance.loop,
            .disk = conformance.disk,
            .backend = call->journal_backend == NULL ? NULL : call->journal_backend(conformance.store),
            .source = {&conformance, conformance_collect, conformance_flush, conformance_committed,
                       conformance_snapshot, conformance_replay},
            .limit = 16u << 20,
            .synchronise = true};
        struct journal_recovery recovery;
        status = journal_open(&journal, &recovery, &conformance.journal);
        if (status == 0)
            status = call->start(conformance.store, conformance.journal);
        if (status == 0)
            return 0;
        if (conformance.journal != NULL)
            journal_close(conformance.journal, true);
        store_destroy(conformance.store);
    }
    disk_close(conformance.disk);
    return status;
}

/* failed: what is not committed is lost. */
static void conformance_unmount(bool failed)
{
    if (conformance.store->operations->stop != NULL)
        conformance.store->operations->stop(conformance.store);
    int status = journal_close(conformance.journal, failed);
    if (!failed)
        assert_int_equal(status, 0);
    store_destroy(conformance.store);
    disk_close(conformance.disk);
}

static void conformance_medium_make(void)
{
    struct loop_options options = {.simulated = !conformance.real, .seed = 1};
    assert_int_equal(loop_create(&options, &conformance.loop), 0);
    if (conformance.real) {
        const char *given = getenv("STORE_DIRECTORY");
        const char *place = conformance.place != NULL ? conformance.place : given != NULL ? given : "/tmp";
        snprintf(conformance.directory, sizeof(conformance.directory), "%.40s/benchfs-store-XXXXXX", place);
        assert_non_null(mkdtemp(conformance.directory));
    } else {
        struct disk_sim_options device = {
            .capacity = conformance.device_capacity, .latency_ns = 20000, .direct = true};
        assert_int_equal(disk_sim_device_create(&device, &conformance.device), 0);
    }
}

static void conformance_medium_end(void)
{
    loop_destroy(conformance.loop);
    if (conformance.real) {
        char command[128];
        snprintf(command, sizeof(command), "rm -r %s", conformance.directory);
        assert_int_equal(system(command), 0);
    } else {
        disk_sim_device_destroy(conformance.device);
    }
}

static struct store *conformance_open_with(const struct store_options *options)
{
    conformance.options = *options;
    conformance_medium_make();
    assert_int_equal(conformance_mount(), 0);
    return conformance.store;
}

static void conformance_close(struct store *store)
{
    assert_ptr_equal(store, conformance.store);
    conformance_unmount(false);
    conformance_medium_end();
}

/* Makes everything so far durable. */
static inline int conformance_commit(void)
{
    const struct store_operations *call = conformance.store->operations;
    int status = call->prepare == NULL ? 0 : call->prepare(conformance.store);
    return status == 0 ? journal_commit(conformance.journal) : status;
}

static inline struct store *conformance_reopen(void)
{
    conformance_unmount(false);
    assert_int_equal(conformance_mount(), 0);
    return conformance.store;
}

/* As after kill -9, or (power; simulated devices only) when the power fails as well. */
static inline struct store *conformance_crash(struct random *power)
{
    conformance_unmount(true);
    if (power != NULL)
        disk_sim_power_loss(conformance.device, power);
    assert_int_equal(conformance_mount(), 0);
    return conformance.store;
}

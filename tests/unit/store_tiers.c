/* The engine tiered with a persistent engine over a persistent one: conformance, the random model, faults;
 * where bytes are after a crash, at every call on the device while chunks go up and down; full engines;
 * damage. store_tiers_*.c run it with others. TIERS_REAL: one of the two does not go to a simulated device.
 * TIERS_ALLOCATES: one takes all its room at once. */
#define STORE_CONFORMANCE_PERSISTENT
#include "unit/store_faults.h"
#include "unit/store_killed.h"
#include "unit/store_tasks.h"
#include "unit/store_tiered_files.h"

#ifndef TIERS_FAST
#define TIERS_FAST "uring"
#define TIERS_SLOW "file"
#endif

static const struct store_options conformance_options = {.engine = "tiered",
                                                         .fast = TIERS_FAST,
                                                         .slow = TIERS_SLOW,
                                                         .fast_capacity = 3 * CONFORMANCE_CHUNK,
                                                         .capacity = CONFORMANCE_CAPACITY,
                                                         .checksum = true,
                                                         .buffer = 8u << 20};

static void random_model(void **state)
{
    (void)state;
    tiered_model(&conformance_options, conformance.real ? 1 : 4);
}

/* Until the background has nothing to do. */
static void background(struct store *store)
{
    for (int i = 0; i < (conformance.real ? 200 : 20); i++)
        task_sleep(store->loop, 100000);
}

/* Pins the only file there is, and waits until all of it, or some of it, is where it is to be. */
static void until_tier(struct store *store, uint64_t inode, enum store_tier tier)
{
    assert_int_equal(store->operations->pin(store, inode, tier), 0);
    for (int i = 0; i < 5000 && (tiers_of(store).used > 0) == (tier == STORE_TIER_SLOW); i++)
        task_sleep(store->loop, 1000000);
}

static void remove_all(struct store *store)
{
    for (uint64_t inode = 1; inode <= 9; inode++)
        assert_int_equal(store->operations->remove(store, inode, 0), 0);
    /* What was on its way down keeps its pages, and its place there, until it has noticed. */
    for (int i = 0; i < 5000 && tiers_of(store).used + conformance_used(store) > 0; i++)
        task_sleep(store->loop, 1000000);
    assert_int_equal(conformance_used(store), 0);
    assert_int_equal(tiers_of(store).used, 0);
}

/* What was written into the fast engine is there after a start, and lasts without going down. */
static void stays_above(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    write_whole(store, 1, 2);
    assert_int_equal(conformance_commit(), 0);
    assert_int_equal(tiers_of(store).write_backs, 0);
    for (int round = 0; round < 2; round++) {
        store = round == 0 ? conformance_crash(NULL) : conformance_reopen();
        assert_int_equal(tiers_of(store).used, 2 * CONFORMANCE_CHUNK);
        assert_int_equal(conformance_used(store), 2 * CONFORMANCE_CHUNK);
        read_whole(store, 1, 2);
        assert_int_equal(tiers_of(store).hits, 2);
    }
    until_tier(store, 1, STORE_TIER_SLOW);
    assert_int_equal(tiers_of(store).used, 0);
    assert_int_equal(tiers_of(store).demotions, 2);
    store = conformance_reopen();
    read_whole(store, 1, 2);
    assert_int_equal(tiers_of(store).misses, 2);
    remove_all(store);
    conformance_close(store);
}

/* Room below is promised to what is above, until the slow engine counts it itself: never twice, or a write
 * would be refused for which there is room. */
static void counted_once_on_the_way_down(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    write_whole(store, 1, 2);
    assert_int_equal(store->operations->pin(store, 1, STORE_TIER_SLOW), 0);
    for (int i = 0; i < 200000 && tiers_of(store).used > 0; i++) {
        assert_int_equal(conformance_used(store), 2 * CONFORMANCE_CHUNK);
        task_sleep(store->loop, conformance.real ? 20000 : 500);
    }
    assert_int_equal(tiers_of(store).used, 0);
    assert_int_equal(conformance_used(store), 2 * CONFORMANCE_CHUNK);
    read_whole(store, 1, 2);
    remove_all(store);
    conformance_close(store);
}

/* The slow engine keeps its older copy of what is promoted and overwritten: it does not come back. */
static void older_copy_stays_below(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    write_whole(store, 1, 1);
    until_tier(store, 1, STORE_TIER_SLOW);
    until_tier(store, 1, STORE_TIER_FAST);
    assert_int_equal(tiers_of(store).promotions, 1);
    assert_int_equal(conformance_write(store, 1, 0, 100, 5000, 99), 0);
    assert_int_equal(store->operations->truncate(store, 1, 0, 40000), 0);
    assert_int_equal(conformance_commit(), 0);
    for (int round = 0; round < 2; round++) {
        store = conformance_crash(NULL);
        assert_int_equal(conformance_read(store, 1, 0, 100, 5000, 99), 5000);
        assert_int_equal(conformance_read(store, 1, 0, 5100, CONFORMANCE_CHUNK, 1), 40000 - 5100);
        if (round == 0)
            until_tier(store, 1, STORE_TIER_SLOW); /* all of it, since nobody knows what is clean */
        assert_int_equal(conformance_commit(), 0);
    }
    assert_int_equal(tiers_of(store).used, 0);
    assert_int_equal(store->operations->remove(store, 1, 0), 0);
    assert_int_equal(conformance_commit(), 0);
    store = conformance_crash(NULL);
    assert_int_equal(store->operations->chunk_length(store, 1, 0), 0);
    remove_all(store);
    conformance_close(store);
}

/* A write that goes straight down counts from its beginning on: nothing else is accepted in its place. */
static void counted_while_it_spills(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    uint64_t index = 0, all = CONFORMANCE_CAPACITY / CONFORMANCE_CHUNK;
    struct store_io spilling = conformance_io(2, 0, 0, CONFORMANCE_CHUNK);
    while (tiers_of(store).spills == 0)
        assert_int_equal(conformance_write(store, 1, index++, 0, CONFORMANCE_CHUNK, 1), 0);
    assert_int_equal(store->operations->write_begin(store, &spilling, CONFORMANCE_CHUNK), 0);
    while (conformance_write(store, 1, index, 0, CONFORMANCE_CHUNK, 1) == 0)
        index++;
    assert_int_equal(index, all - 1);
    for (uint32_t i = 0; i < spilling.count; i++)
        memset(spilling.vector[i].iov_base, 2, spilling.vector[i].iov_len);
    assert_int_equal(store->operations->write_commit(store, &spilling), 0);
    assert_int_equal(conformance_commit(), 0);
    assert_int_equal(conformance_read(store, 2, 0, 0, CONFORMANCE_CHUNK, 2), CONFORMANCE_CHUNK);
    conformance_close(store);
}

static bool is_seen(struct store *store, uint64_t inode, uint64_t index)
{
    struct store_cursor cursor = {0};
    while (store->operations->next(store, &cursor))
        if (cursor.inode == inode && cursor.index == index)
            return true;
    return false;
}

/* Room is the slow engine's; the fast one spills, then both are full. */
static void full(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    uint64_t index = 0, all = CONFORMANCE_CAPACITY / CONFORMANCE_CHUNK;
    while (conformance_write(store, 1, index, 0, CONFORMANCE_CHUNK, (uint8_t)(1 + index % 200)) == 0)
        index++;
    assert_int_equal(index, all);
    assert_true(tiers_of(store).spills > 0);
    assert_true(tiers_of(store).used <= 3 * CONFORMANCE_CHUNK);
    assert_false(is_seen(store, 1, all));
    assert_int_equal(conformance_write(store, 2, 0, 0, 1, 1), -ENOSPC);
    assert_int_equal(conformance_write(store, 1, 0, 0, CONFORMANCE_CHUNK, 1), 0); /* again needs no more */
    if (strcmp(TIERS_SLOW, "rocksdb") != 0) /* it needs room for what is being replaced */
        assert_int_equal(conformance_write(store, 1, all - 1, 0, CONFORMANCE_CHUNK, (uint8_t)(all % 201)), 0);
    assert_int_equal(conformance_commit(), 0);
    store = conformance_crash(NULL);
    read_whole(store, 1, all);
    assert_int_equal(conformance_write(store, 2, 0, 0, 1, 1), -ENOSPC);
    background(store);
    read_whole(store, 1, all);
    remove_all(store);
    conformance_close(store);
}

/* While the fast engine is nearly full those that go next are clean, so that there is room at once. */
static void cleaned_before_it_is_needed(void **state)
{
    (void)state;
    if (conformance.real)
        return;
    struct store_options options = conformance_options;
    options.fast_capacity = 8 * CONFORMANCE_CHUNK;
    options.capacity = 64 * CONFORMANCE_CHUNK;
    struct store *store = conformance_open_with(&options);
    write_whole(store, 1, 6);
    background(store);
    assert_int_equal(tiers_of(store).write_backs, 0);
    write_whole(store, 1, 7);
    background(store);
    assert_true(tiers_of(store).write_backs > 0);
    uint64_t spills = tiers_of(store).spills;
    write_whole(store, 2, 4);
    assert_int_equal(tiers_of(store).spills, spills);
    read_whole(store, 1, 7);
    read_whole(store, 2, 4);
    remove_all(store);
    conformance_close(store);
}

static const char *upper_files;

static int refuse_reads_above(void *owner, const char *what, const char *name, uint64_t offset,
                              size_t *length)
{
    (void)owner;
    (void)offset;
    (void)length;
    return strcmp(what, "read") == 0 && strncmp(name, upper_files, strlen(upper_files)) == 0 ? -EIO : 0;
}

/* What cannot be read above is read below, if it is the same there. */
static void damaged_above(void **state)
{
    (void)state;
    upper_files = strcmp(TIERS_FAST, "uring") == 0  ? "segment"
                  : strcmp(TIERS_FAST, "file") == 0 ? "chunks"
                                                    : NULL;
    if (conformance.real || upper_files == NULL)
        return;
    struct store_options options = conformance_options;
    options.fast_capacity = 8 * CONFORMANCE_CHUNK;
    options.capacity = 64 * CONFORMANCE_CHUNK;
    struct store *store = conformance_open_with(&options);
    write_whole(store, 1, 7);
    background(store);
    assert_true(tiers_of(store).write_backs >= 7);
    disk_set_fault(conformance.disk, refuse_reads_above, NULL);
    assert_int_equal(conformance_write(store, 1, 0, 8192, 4096, 77), 0); /* is not the same below */
    background(store);
    struct store_io io = conformance_io(1, 0, 8000, 300);
    assert_int_equal(store->operations->read_begin(store, &io), -EIO);
    for (int round = 0; round < 2; round++)
        for (uint64_t i = 0; i < 7; i++)
            assert_int_equal(conformance_read(store, 1, i, 12288, CONFORMANCE_CHUNK, (uint8_t)(1 + i)),
                             CONFORMANCE_CHUNK - 12288);
    assert_true(tiers_of(store).demotions >= 6); /* what is damaged goes */
    assert_true(tiers_of(store).used >= 12288);  /* but for what is nowhere else */
    disk_set_fault(conformance.disk, NULL, NULL);
    assert_int_equal(conformance_read(store, 1, 0, 8192, 4096, 77), 4096);
    assert_int_equal(conformance_read(store, 1, 0, 0, 8192, 1), 8192);
    remove_all(store);
    conformance_close(store);
}

/* ---- moves under faults ---- */

static void move_step(struct fault_model *model, struct store *store, bool failing)
{
    uint64_t choice = random_below(&model->random, 10), inode = 1 + random_below(&model->random, 3);
    if (choice < 3) {
        static const enum store_tier tiers[] = {STORE_TIER_SLOW, STORE_TIER_FAST, STORE_TIER_ANY};
        assert_int_equal(store->operations->pin(store, inode, tiers[choice]), 0);
        task_sleep(store->loop, 1 + random_below(&model->random, 2000000));
    } else {
        fault_step(model, store, failing);
    }
}

static struct store *nothing_leaks(struct store *store)
{
    remove_all(store);
    assert_int_equal(conformance_commit(), 0);
    store = conformance_reopen();
    remove_all(store);
    struct store_cursor cursor = {0};
    assert_false(store->operations->next(store, &cursor));
    return store;
}

/* From some call on nothing reaches the device any more while chunks go up and down, and then the power
 * fails.
 */
static void moves_survive_a_power_failure(void **state)
{
    (void)state;
    if (conformance.real)
        return;
    struct store_options options = conformance_options;
    options.fast_capacity = 5 * CONFORMANCE_CHUNK;
    uint64_t moved = 0;
    bool more = true;
    for (uint64_t at = 0; more; at++) {
        struct fault_plan plan = {.at = at, .for_good = true, .status = -EIO};
        struct random power;
        random_seed(&power, at);
        struct store *store = conformance_open_with(&options);
        struct fault_model *model = fault_model_make(200 + at % 7);
        disk_set_fault(conformance.disk, fault_ask, &plan);
        for (int i = 0; i < FAULT_STEPS && !plan.met; i++)
            move_step(model, store, true);
        more = plan.met || at < 60;
        moved += tiers_of(store).promotions + tiers_of(store).demotions;
        store = conformance_crash(at % 3 == 0 ? NULL : &power);
        fault_verify(model, store, true, false);
        for (int i = 0; i < FAULT_STEPS / 2; i++)
            move_step(model, store, false);
        fault_commit(model);
        store = conformance_crash(&power);
        fault_verify(model, store, false, false);
        conformance_close(nothing_leaks(store));
        free(model);
    }
    if (moved < 100)
        fail_msg("%llu chunks have moved", (unsigned long long)moved);
}

/* One call fails while chunks go up and down. */
static void moves_meet_a_fault(void **state)
{
    (void)state;
    if (conformance.real)
        return;
    static const int statuses[] = {-EIO, -ENOSPC, 0};
    struct store_options options = conformance_options;
    options.fast_capacity = 5 * CONFORMANCE_CHUNK;
    bool more = true;
    for (uint64_t at = 0; more; at += 1 + at % 2) {
        struct fault_plan plan = {.at = at, .status = statuses[at % 3]};
        struct store *store = conformance_open_with(&options);
        struct fault_model *model = fault_model_make(300 + at % 5);
        disk_set_fault(conformance.disk, fault_ask, &plan);
        for (int i = 0; i < FAULT_STEPS; i++)
            move_step(model, store, true);
        disk_set_fault(conformance.disk, NULL, NULL);
        more = plan.met;
        background(store);
        fault_verify(model, store, false, false);
        bool failed = !model->commits || journal_status(conformance.journal) != 0;
        if (!failed)
            fault_commit(model);
        store = conformance_crash(NULL);
        fault_verify(model, store, failed, false);
        conformance_close(nothing_leaks(store));
        free(model);
    }
}

/* A copy on its way up does not count, however much of it there is. */
static void promotion_is_all_or_nothing(void **state)
{
    (void)state;
    if (conformance.real)
        return;
    uint64_t found_above = 0, found_below = 0;
    for (uint64_t at = 0; at < 40; at++) {
        struct store *store = conformance_open();
        struct fault_plan plan = {.at = at, .for_good = true, .status = -EIO};
        assert_int_equal(conformance_write(store, 1, 0, 0, CONFORMANCE_CHUNK, 3), 0);
        conformance_clear(store, 1, 8192, 16384); /* so that it is copied in two pieces */
        until_tier(store, 1, STORE_TIER_SLOW);
        assert_int_equal(conformance_commit(), 0);
        disk_set_fault(conformance.disk, fault_ask, &plan);
        assert_int_equal(store->operations->pin(store, 1, STORE_TIER_FAST), 0);
        for (int i = 0; i < 40; i++) {
            task_sleep(store->loop, 5000);
            journal_commit(conformance.journal); /* whatever is recorded */
        }
        store = conformance_crash(NULL);
        bool above = tiers_of(store).used > 0;
        found_above += above;
        found_below += !above;
        assert_int_equal(conformance_read(store, 1, 0, 0, 8192, 3), 8192);
        assert_int_equal(conformance_read(store, 1, 0, 8192, 8192, 0), 8192);
        assert_int_equal(conformance_read(store, 1, 0, 16384, CONFORMANCE_CHUNK, 3),
                         CONFORMANCE_CHUNK - 16384);
        conformance_close(nothing_leaks(store));
    }
    assert_true(found_above > 0 && found_below > 0);
}

/* A snapshot in the middle of a promotion knows of it. */
static void snapshot_knows_a_promotion(void **state)
{
    (void)state;
    if (conformance.real)
        return;
    for (int delay = 0; delay < 20; delay++) {
        struct store *store = conformance_open();
        assert_int_equal(conformance_write(store, 1, 0, 0, CONFORMANCE_CHUNK, 3), 0);
        for (uint64_t hole = 8192; hole < CONFORMANCE_CHUNK; hole += 16384)
            conformance_clear(store, 1, hole, hole + 8192);
        until_tier(store, 1, STORE_TIER_SLOW);
        assert_int_equal(conformance_commit(), 0);
        assert_int_equal(store->operations->pin(store, 1, STORE_TIER_FAST), 0);
        task_sleep(store->loop, 1 + (uint64_t)delay * 3000);
        assert_int_equal(journal_snapshot_take(conformance.journal), 0);
        store = conformance_crash(NULL);
        for (uint32_t at = 0; at < CONFORMANCE_CHUNK; at += 8192)
            assert_int_equal(conformance_read(store, 1, 0, at, 8192, at % 16384 == 0 ? 3 : 0),
                             at < CONFORMANCE_CHUNK - 8192 ? 8192 : 0);
        conformance_close(nothing_leaks(store));
    }
}

/* ---- others ---- */

static void killed_in_the_middle(void **state)
{
    (void)state;
    if (conformance.real)
        killed_rounds(&conformance_options, 6);
}

/* A fast engine that does not last cannot make sense of what one that does has recorded. */
static void other_fast_engine_is_refused(void **state)
{
    (void)state;
    if (strcmp(TIERS_FAST, "rocksdb") == 0)
        return; /* it has the journal, too */
    struct store *store = conformance_open();
    write_whole(store, 1, 1);
    assert_int_equal(conformance_commit(), 0);
    conformance_unmount(false);
    conformance.options.fast = "mem";
    assert_int_equal(conformance_mount(), -EBADMSG);
    conformance.options.fast = TIERS_FAST;
    assert_int_equal(conformance_mount(), 0);
    read_whole(conformance.store, 1, 1);
    conformance_close(conformance.store);
}

static void refused_options(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"file", "mem"}, {"uring", "mem"}, {"file", "file"}, {"uring", "uring"}, {"tiered", "file"}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct store_options options = {.engine = "tiered",
                                        .capacity = 1u << 20,
                                        .fast = wrong[i][0],
                                        .slow = wrong[i][1],
                                        .fast_capacity = 4096};
        struct store *store = NULL;
        assert_int_equal(store_create(&options, &store), -EINVAL);
    }
}

int main(int argument_count, char **arguments)
{
    if (argument_count > 1)
        return killed_main(argument_count, arguments, &conformance_options);
    const struct CMUnitTest tests[] = {
        STORE_CONFORMANCE_CASES,
        STORE_CONFORMANCE_BYTES_CASES,
        STORE_CONFORMANCE_PERSISTENT_CASES,
        STORE_TASK_CASES,
#ifndef TIERS_ALLOCATES
        STORE_FULL_CASES,
#endif
        cmocka_unit_test(moves_survive_a_power_failure),
        cmocka_unit_test(moves_meet_a_fault),
        cmocka_unit_test(promotion_is_all_or_nothing),
        cmocka_unit_test(snapshot_knows_a_promotion),
        cmocka_unit_test(random_model),
        cmocka_unit_test(stays_above),
        cmocka_unit_test(counted_once_on_the_way_down),
        cmocka_unit_test(counted_while_it_spills),
        cmocka_unit_test(older_copy_stays_below),
        cmocka_unit_test(full),
        cmocka_unit_test(cleaned_before_it_is_needed),
        cmocka_unit_test(damaged_above),
        cmocka_unit_test(killed_in_the_middle),
        cmocka_unit_test(other_fast_engine_is_refused),
        cmocka_unit_test(refused_options),
    };
#ifdef TIERS_REAL
    return cmocka_run_group_tests(tests, conformance_real, NULL);
#else
    return conformance_run_twice(tests, sizeof(tests) / sizeof(tests[0]));
#endif
}

/* The engine tiered, with mem over a persistent engine: conformance, the random model, faults and power loss,
 * tasks; promotion, demotion, spilling, pinning. store_tiered_uring.c runs it over another engine. */
#define STORE_CONFORMANCE_PERSISTENT
#include "unit/store_faults.h"
#include "unit/store_tasks.h"
#include "unit/store_tiered_files.h"

#ifndef TIERED_SLOW
#define TIERED_SLOW "file"
#endif

static const struct store_options conformance_options = {.engine = "tiered",
                                                         .fast = "mem",
                                                         .slow = TIERED_SLOW,
                                                         .fast_capacity = 3 * CONFORMANCE_CHUNK,
                                                         .capacity = CONFORMANCE_CAPACITY,
                                                         .checksum = true,
                                                         .buffer = 8u << 20};

static void random_model(void **state)
{
    (void)state;
    tiered_model(&conformance_options, 4);
}

static void background(struct store *store)
{
    task_sleep(store->loop, 700000000); /* longer than anything may stay dirty */
}

static void spilled(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    write_whole(store, 1, 8); /* three fit, or a few more if the background is quick */
    uint64_t spills = tiers_of(store).spills;
    assert_true(spills >= 2 && spills <= 5);
    assert_true(tiers_of(store).used <= 3 * CONFORMANCE_CHUNK);
    read_whole(store, 1, 8);
    assert_int_equal(tiers_of(store).hits + tiers_of(store).misses, 8);
    assert_true(tiers_of(store).misses >= spills);
    assert_int_equal(conformance_commit(), 0);
    assert_true(tiers_of(store).write_backs >= 3);
    write_whole(store, 2, 2); /* what is clean makes room at once */
    assert_int_equal(tiers_of(store).spills, spills);
    assert_true(tiers_of(store).demotions >= 2);
    assert_true(tiers_of(store).used <= 3 * CONFORMANCE_CHUNK);
    read_whole(store, 2, 2);
    read_whole(store, 1, 8);
    store = conformance_reopen();
    read_whole(store, 1, 8);
    read_whole(store, 2, 2);
    assert_int_equal(tiers_of(store).hits, 0);
    conformance_close(store);
}

/* What is read twice comes up; one pass over everything displaces nothing that is in use. */
static void promoted(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    write_whole(store, 1, 8);
    store = conformance_reopen();
    for (int round = 0; round < 2; round++) {
        assert_int_equal(conformance_read(store, 1, 5, 0, 100, 6), 100);
        background(store);
        assert_int_equal(tiers_of(store).promotions, round);
    }
    assert_int_equal(conformance_read(store, 1, 5, 0, CONFORMANCE_CHUNK, 6), CONFORMANCE_CHUNK);
    assert_int_equal(tiers_of(store).hits, 1);
    read_whole(store, 1, 8);
    background(store);
    assert_int_equal(tiers_of(store).promotions, 1);
    /* Written, it is dirty above; after a crash what was not committed is lost, what was is there. */
    assert_int_equal(conformance_write(store, 1, 5, 10, 10, 99), 0);
    assert_int_equal(conformance_commit(), 0);
    store = conformance_crash(NULL);
    assert_int_equal(conformance_read(store, 1, 5, 10, 10, 99), 10);
    assert_int_equal(conformance_read(store, 1, 5, 20, 1000, 6), 1000);
    conformance_close(store);
}

static void demoted_in_the_background(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    write_whole(store, 1, 3);
    background(store); /* 15/16 are exceeded */
    assert_true(tiers_of(store).demotions >= 1);
    assert_true(tiers_of(store).used < 3 * CONFORMANCE_CHUNK);
    read_whole(store, 1, 3);
    struct store_statistics statistics;
    store->operations->statistics(store, &statistics);
    assert_int_equal(statistics.chunks, 3);
    assert_int_equal(statistics.used, 3 * CONFORMANCE_CHUNK);
    conformance_close(store);
}

/* What has been dirty for a while is written back without being asked for. */
static void written_back_in_time(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    assert_int_equal(conformance_write(store, 1, 0, 0, 1000, 7), 0);
    background(store);
    assert_int_equal(journal_commit(conformance.journal), 0);
    store = conformance_crash(NULL);
    assert_int_equal(conformance_read(store, 1, 0, 0, 9999, 7), 1000);
    conformance_close(store);
}

static void prepare(void *argument)
{
    struct store *store = argument;
    assert_int_equal(store->operations->prepare(store), 0);
}

/* Whoever asks is answered when what he has written is below, whatever somebody else is writing back. */
static void written_while_written_back(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    assert_int_equal(conformance_write(store, 1, 0, 0, 1000, 7), 0);
    assert_int_equal(task_spawn(conformance.loop, prepare, store), 0);
    assert_int_equal(conformance_write(store, 1, 0, 1000, 1000, 8), 0);
    assert_int_equal(conformance_write(store, 1, 1, 0, 1000, 9), 0);
    assert_int_equal(conformance_commit(), 0);
    store = conformance_crash(NULL);
    assert_int_equal(conformance_read(store, 1, 0, 0, 1000, 7), 1000);
    assert_int_equal(conformance_read(store, 1, 0, 1000, 9999, 8), 1000);
    assert_int_equal(conformance_read(store, 1, 1, 0, 9999, 9), 1000);
    conformance_close(store);
}

/* Then it has to be copied once more. */
static void cut_while_written_back(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    assert_int_equal(conformance_write(store, 1, 0, 0, 2000, 7), 0);
    assert_int_equal(task_spawn(conformance.loop, prepare, store), 0);
    assert_int_equal(store->operations->truncate(store, 1, 0, 1500), 0);
    assert_int_equal(conformance_commit(), 0);
    store = conformance_crash(NULL);
    assert_int_equal(conformance_read(store, 1, 0, 0, 9999, 7), 1500);
    conformance_close(store);
}

/* What is pinned to the slow engine goes there, whether it is new, in the fast one, or read again and again.
 */
static void pinned_slow(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    const struct store_operations *call = store->operations;
    assert_int_equal(conformance_write(store, 1, 0, 0, 1000, 7), 0);
    assert_true(tiers_of(store).used > 0);
    assert_int_equal(call->pin(store, 1, STORE_TIER_SLOW), 0);
    background(store);
    assert_int_equal(tiers_of(store).used, 0);
    assert_int_equal(tiers_of(store).demotions, 1);
    assert_int_equal(conformance_write(store, 1, 1, 0, 1000, 8), 0);
    assert_int_equal(conformance_write(store, 1, 0, 500, 1000, 9), 0);
    for (int round = 0; round < 5; round++) {
        assert_int_equal(conformance_read(store, 1, 0, 0, 500, 7), 500);
        assert_int_equal(conformance_read(store, 1, 0, 500, 9999, 9), 1000);
        assert_int_equal(conformance_read(store, 1, 1, 0, 9999, 8), 1000);
        background(store);
    }
    assert_int_equal(tiers_of(store).used, 0);
    assert_int_equal(tiers_of(store).promotions, 0);
    assert_int_equal(tiers_of(store).spills, 0);
    assert_int_equal(call->pin(store, 1, STORE_TIER_ANY), 0);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(conformance_read(store, 1, 1, 0, 9999, 8), 1000);
        background(store);
    }
    assert_int_equal(tiers_of(store).promotions, 1);
    conformance_close(store);
}

static void pinned(void **state)
{
    (void)state;
    struct store *store = conformance_open();
    const struct store_operations *call = store->operations;
    write_whole(store, 1, 4);
    assert_int_equal(conformance_write(store, 2, 0, 0, CONFORMANCE_CHUNK, 77), 0);
    store = conformance_reopen();
    call = store->operations;
    assert_int_equal(call->pin(store, 2, STORE_TIER_FAST), 0);
    background(store);
    assert_int_equal(tiers_of(store).promotions, 1);
    for (int round = 0; round < 3; round++) {
        read_whole(store, 1, 4);
        background(store);
    }
    uint64_t hits = tiers_of(store).hits;
    assert_int_equal(conformance_read(store, 2, 0, 0, CONFORMANCE_CHUNK, 77), CONFORMANCE_CHUNK);
    assert_int_equal(tiers_of(store).hits, hits + 1);
    assert_int_equal(call->pin(store, 2, STORE_TIER_ANY), 0);
    write_whole(store, 3, 3);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(conformance_commit(), 0);
        write_whole(store, 4 + (uint64_t)round, 1);
    }
    conformance_close(store);
}

/* The slow engine's room is promised before a write is accepted: committing never meets ENOSPC. */
static void capacity_is_promised(void **state)
{
    (void)state;
    struct store_options options = conformance_options;
    options.fast_capacity = CONFORMANCE_CAPACITY;
    struct store *store = conformance_open_with(&options);
    uint64_t index = 0;
    while (conformance_write(store, 1, index, 0, CONFORMANCE_CHUNK, (uint8_t)(1 + index)) == 0)
        index++;
    assert_int_equal(index, CONFORMANCE_CAPACITY / CONFORMANCE_CHUNK);
    assert_int_equal(conformance_write(store, 2, 0, 0, 1, 1), -ENOSPC);
    assert_int_equal(conformance_write(store, 1, 0, 0, CONFORMANCE_CHUNK, 1), 0); /* again needs no more */
    assert_int_equal(conformance_commit(), 0);
    read_whole(store, 1, index);
    assert_int_equal(store->operations->remove(store, 1, 0), 0);
    assert_int_equal(conformance_used(store), 0);
    conformance_close(store);
}

static void refused_options(void **state)
{
    (void)state;
    static const struct {
        const char *fast, *slow;
        uint64_t fast_capacity;
    } wrong[] = {
        {"mem", "tiered", 4096}, {"mem", "paper", 4096},   {"paper", "mem", 4096},
        {"null", "mem", 4096},   {"mem", "null", 4096},    {"file", "mem", 4096},
        {"mem", "mem", 0},       {"mem", "mem", 2u << 20}, {NULL, NULL, 4096},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct store_options options = {.engine = "tiered",
                                        .capacity = 1u << 20,
                                        .fast = wrong[i].fast,
                                        .slow = wrong[i].slow,
                                        .fast_capacity = wrong[i].fast_capacity};
        struct store *store = NULL;
        assert_int_equal(store_create(&options, &store), -EINVAL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_CONFORMANCE_CASES,
        STORE_CONFORMANCE_BYTES_CASES,
        STORE_CONFORMANCE_PERSISTENT_CASES,
        STORE_FAULT_CASES,
        STORE_TASK_CASES,
        cmocka_unit_test(random_model),
        cmocka_unit_test(spilled),
        cmocka_unit_test(promoted),
        cmocka_unit_test(demoted_in_the_background),
        cmocka_unit_test(written_back_in_time),
        cmocka_unit_test(written_while_written_back),
        cmocka_unit_test(cut_while_written_back),
        cmocka_unit_test(pinned),
        cmocka_unit_test(pinned_slow),
        cmocka_unit_test(capacity_is_promised),
        cmocka_unit_test(refused_options),
    };
    return conformance_run_twice(tests, sizeof(tests) / sizeof(tests[0]));
}

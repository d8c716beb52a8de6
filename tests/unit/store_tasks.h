/* A storage engine with many tasks at work in few chunks: for engines whose calls suspend. Each task owns
 * bytes of every chunk that no other writes, but that share blocks with the others', and checks them after
 * each change. Included after store_conformance.h; the cases are STORE_TASK_CASES. */
#pragma once

#include "unit/store_conformance.h"

#define TASKS 8
#define TASK_CHUNKS 3
#define TASK_STRIPE 2777u /* bytes, not a multiple of a block */
#define TASK_STEPS 150

struct stripe_task {
    uint32_t number;
    bool cut; /* somebody cuts and clears meanwhile: bytes may be zero, or gone */
    struct store *store;
    struct random random;
    uint8_t values[TASK_CHUNKS]; /* of the stripe, in each chunk; 0: never written */
    uint8_t before[TASK_CHUNKS];
    uint64_t stale;
    uint32_t *running;
};

/* The task's bytes lie at [number + 8 i, number + 8 i + 1) stripes. */
static inline uint32_t stripe_offset(const struct stripe_task *task, uint32_t i)
{
    return (task->number + TASKS * i) * TASK_STRIPE;
}

static inline void stripe_write(struct stripe_task *task, uint32_t chunk, uint32_t i)
{
    struct store_io io = conformance_io(1 + chunk, 0, stripe_offset(task, i), TASK_STRIPE);
    const struct store_operations *call = task->store->operations;
    uint8_t value = (uint8_t)(1 + random_below(&task->random, 250));
    assert_int_equal(call->write_begin(task->store, &io, CONFORMANCE_CHUNK), 0);
    for (uint32_t j = 0; j < io.count; j++)
        memset(io.vector[j].iov_base, value, io.vector[j].iov_len);
    if (random_below(&task->random, 3) == 0)
        task_sleep(task->store->loop, random_below(&task->random, 50000));
    if (random_below(&task->random, 10) == 0) {
        call->write_abort(task->store, &io);
        task->before[chunk] = value; /* each byte may have landed */
        return;
    }
    int status = call->write_commit(task->store, &io);
    assert_true(status == 0 || (task->cut && status == -ESTALE));
    if (status != 0) {
        task->stale++;
        task->before[chunk] = value;
        return;
    }
    task->before[chunk] = task->values[chunk];
    task->values[chunk] = value;
}

static inline void stripe_read(struct stripe_task *task, uint32_t chunk, uint32_t i)
{
    struct store_io io = conformance_io(1 + chunk, 0, stripe_offset(task, i), TASK_STRIPE);
    uint8_t bytes[TASK_STRIPE];
    assert_int_equal(task->store->operations->read_begin(task->store, &io), 0);
    if (io.length == 0)
        return;
    conformance_gather(&io, bytes);
    task->store->operations->read_end(task->store, &io);
    for (uint32_t p = 0; p < io.length; p++)
        if (bytes[p] != task->values[chunk] && bytes[p] != task->before[chunk] &&
            !(task->cut && bytes[p] == 0))
            fail_msg("task %u, chunk %u, byte %u: %u, not %u or %u", task->number, chunk, io.offset + p,
                     bytes[p], task->values[chunk], task->before[chunk]);
}

/* A task keeps to one place of each chunk, so that all its bytes there have one value. */
static void stripe_run(void *argument)
{
    struct stripe_task *task = argument;
    for (int step = 0; step < TASK_STEPS; step++) {
        uint32_t chunk = (uint32_t)random_below(&task->random, TASK_CHUNKS);
        if (random_below(&task->random, 2) == 0)
            stripe_write(task, chunk, chunk % 2);
        else
            stripe_read(task, chunk, chunk % 2);
    }
    --*task->running;
}

struct cutting_task {
    struct store *store;
    struct random random;
    uint32_t *running;
};

static void cutting_run(void *argument)
{
    struct cutting_task *task = argument;
    const struct store_operations *call = task->store->operations;
    for (int step = 0; step < TASK_STEPS; step++) {
        uint64_t inode = 1 + random_below(&task->random, TASK_CHUNKS);
        uint32_t at = (uint32_t)random_below(&task->random, 50000);
        struct store_range range = {inode, at, at + 1 + random_below(&task->random, 20000), 16};
        switch (random_below(&task->random, 8)) {
        case 0:
            assert_int_equal(call->remove(task->store, inode, 0), 0);
            break;
        case 1:
        case 2:
            assert_int_equal(call->truncate(task->store, inode, 0, 1 + at), 0);
            break;
        case 3:
            assert_int_equal(call->clear(task->store, &range, false), 0);
            break;
        case 4:
            assert_int_equal(call->clear(task->store, &range, true), 0);
            break;
#ifdef STORE_CONFORMANCE_PERSISTENT
        case 5:
            assert_int_equal(conformance_commit(), 0);
            break;
#endif
        default:
            task_sleep(task->store->loop, random_below(&task->random, 100000));
        }
    }
    --*task->running;
}

/* Sound, and the same after a new start. */
static inline struct store *stripes_verify(struct store *store)
{
#ifdef STORE_CONFORMANCE_PERSISTENT
    static uint8_t bytes[2][TASK_CHUNKS][CONFORMANCE_CHUNK];
    memset(bytes, 0, sizeof(bytes));
    assert_int_equal(conformance_commit(), 0);
    for (int round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < TASK_CHUNKS; i++) {
            struct store_scrub found;
            int status = store->operations->scrub(store, 1 + i, 0, &found);
            assert_true(status == 0 || status == -ENOENT);
            assert_int_equal(found.blocks, 0);
            struct store_io io = conformance_io(1 + i, 0, 0, CONFORMANCE_CHUNK);
            assert_int_equal(store->operations->read_begin(store, &io), 0);
            conformance_gather(&io, bytes[round][i]);
            if (io.length > 0)
                store->operations->read_end(store, &io);
        }
        store = round == 0 ? conformance_crash(NULL) : store;
    }
    assert_memory_equal(bytes[0], bytes[1], sizeof(bytes[0]));
#endif
    return store;
}

static inline void stripes(uint64_t seed, bool cut)
{
    struct store *store = conformance_open();
    struct stripe_task tasks[TASKS];
    struct cutting_task cutting = {.store = store};
    uint32_t running = TASKS + cut;
    random_seed(&cutting.random, seed);
    cutting.running = &running;
    for (uint32_t i = 0; i < TASKS; i++) {
        tasks[i] = (struct stripe_task){.number = i, .cut = cut, .store = store, .running = &running};
        random_seed(&tasks[i].random, seed * 100 + i);
        assert_int_equal(task_spawn_later(store->loop, stripe_run, &tasks[i], NULL), 0);
    }
    if (cut)
        assert_int_equal(task_spawn_later(store->loop, cutting_run, &cutting, NULL), 0);
    uint64_t turns = 0;
    while (running > 0) {
        assert_true(turns++ < 100000000);
        task_yield(store->loop);
    }
    uint64_t stale = 0;
    for (uint32_t i = 0; i < TASKS; i++) {
        stale += tasks[i].stale;
        for (uint32_t chunk = 0; chunk < TASK_CHUNKS; chunk++)
            stripe_read(&tasks[i], chunk, chunk % 2);
    }
    if (cut && loop_simulated(store->loop)) /* elsewhere it is a matter of luck */
        assert_true(stale > 0);
    conformance_close(stripes_verify(store));
}

static void conformance_shared_blocks(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++)
        stripes(seed, false);
}

static void conformance_shared_blocks_cut(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++)
        stripes(seed, true);
}

/* clang-format off */
#define STORE_TASK_CASES                                                                                     \
    cmocka_unit_test(conformance_shared_blocks), cmocka_unit_test(conformance_shared_blocks_cut)
/* clang-format on */

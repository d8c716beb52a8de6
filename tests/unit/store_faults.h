/* A persistent engine when its device fails, fills up, or loses power: for engines that reach it by
 * runtime/disk.h. A random workload is compared with a model that knows, for every byte, the values that it
 * may have now, and those that it may have after a crash: the ones since the last commit. Included after
 * store_conformance.h, with STORE_CONFORMANCE_PERSISTENT; the cases are STORE_FAULT_CASES. */
#pragma once

#include "unit/store_conformance.h"

#define FAULT_CHUNKS 5
#define FAULT_STEPS 40
#define FAULT_LENGTHS 64

struct fault_lengths {
    uint32_t items[FAULT_LENGTHS];
    uint32_t count;
};

struct fault_chunk {
    uint64_t inode, index;
    uint32_t now[CONFORMANCE_CHUNK]; /* sets of values 0 to 31 */
    uint32_t after[CONFORMANCE_CHUNK];
    struct fault_lengths lengths; /* the last is the most recent */
    struct fault_lengths lengths_after;
};

struct fault_model {
    struct fault_chunk chunks[FAULT_CHUNKS];
    struct random random;
    uint32_t value;
    uint64_t errors; /* that calls have returned */
    bool commits;    /* all commits have succeeded */
};

/* What fails: call number `at`, or all from there on. */
struct fault_plan {
    uint64_t at;
    uint64_t calls;
    bool for_good;
    int status; /* 0: a write is cut short */
    bool met;
};

static inline int fault_ask(void *owner, const char *what, const char *name, uint64_t offset, size_t *length)
{
    struct fault_plan *plan = owner;
    (void)name;
    (void)offset;
    uint64_t call = plan->calls++;
    if (call != plan->at && !(plan->for_good && call > plan->at))
        return 0;
    plan->met = true;
    if (plan->status != 0)
        return plan->status;
    if (strcmp(what, "write") != 0)
        return -EIO;
    *length /= 2;
    return 0;
}

static inline void fault_lengths_add(struct fault_lengths *lengths, uint32_t length)
{
    for (uint32_t i = 0; i < lengths->count; i++)
        if (lengths->items[i] == length) {
            lengths->items[i] = lengths->items[lengths->count - 1];
            lengths->items[lengths->count - 1] = length;
            return;
        }
    assert_true(lengths->count < FAULT_LENGTHS);
    lengths->items[lengths->count++] = length;
}

static inline void fault_length_set(struct fault_chunk *chunk, uint32_t length)
{
    chunk->lengths = (struct fault_lengths){{length}, 1};
    fault_lengths_add(&chunk->lengths_after, length);
}

static inline uint32_t fault_length(const struct fault_chunk *chunk)
{
    return chunk->lengths.items[chunk->lengths.count - 1];
}

static inline struct fault_model *fault_model_make(uint64_t seed)
{
    static const uint64_t names[FAULT_CHUNKS][2] = {{1, 0}, {1, 1}, {2, 0}, {3, 5}, {1, 7}};
    struct fault_model *model = calloc(1, sizeof(*model));
    random_seed(&model->random, seed);
    model->commits = true;
    for (int i = 0; i < FAULT_CHUNKS; i++) {
        struct fault_chunk *chunk = &model->chunks[i];
        chunk->inode = names[i][0];
        chunk->index = names[i][1];
        for (uint32_t p = 0; p < CONFORMANCE_CHUNK; p++)
            chunk->now[p] = chunk->after[p] = 1;
        chunk->lengths.count = chunk->lengths_after.count = 1;
    }
    return model;
}

static inline void fault_write(struct fault_model *model, struct store *store, struct fault_chunk *chunk)
{
    uint32_t offset = (uint32_t)random_below(&model->random, CONFORMANCE_CHUNK);
    uint32_t length = 1 + (uint32_t)random_below(&model->random, CONFORMANCE_CHUNK - offset);
    if (random_below(&model->random, 2) == 0)
        length = 1 + length % 5000;
    uint32_t end = offset + length;
    uint8_t value = (uint8_t)(1 + model->value++ % 31);
    int status = conformance_write(store, chunk->inode, chunk->index, offset, length, value);
    for (uint32_t p = offset; p < end; p++) {
        chunk->now[p] = (status == 0 ? 0 : chunk->now[p]) | 1u << value;
        chunk->after[p] |= 1u << value;
    }
    if (status == 0 && end > fault_length(chunk)) {
        fault_length_set(chunk, end);
    } else if (status != 0) {
        assert_true(status == -EIO || status == -ENOSPC);
        model->errors++;
        /* It failed as a whole as far as the length goes: what lies beyond is not there. */
        for (uint32_t p = fault_length(chunk); p < end; p++)
            chunk->now[p] = 1;
    }
}

static inline void fault_cut(struct fault_chunk *chunk, uint32_t length)
{
    if (length < fault_length(chunk))
        fault_length_set(chunk, length);
    for (uint32_t p = length; p < CONFORMANCE_CHUNK; p++) {
        chunk->now[p] = 1;
        chunk->after[p] |= 1;
    }
}

static inline void fault_clear(struct fault_model *model, struct store *store, struct fault_chunk *chunk)
{
    uint32_t start = (uint32_t)random_below(&model->random, CONFORMANCE_CHUNK);
    uint32_t end = start + 1 + (uint32_t)random_below(&model->random, CONFORMANCE_CHUNK - start);
    uint64_t at = chunk->index * CONFORMANCE_CHUNK;
    struct store_range range = {chunk->inode, at + start, at + end, 16};
    assert_int_equal(store->operations->clear(store, &range, random_below(&model->random, 3) == 0), 0);
    for (uint32_t p = start; p < end; p++) {
        chunk->now[p] = 1;
        chunk->after[p] |= 1;
    }
    uint32_t length = store->operations->chunk_length(store, chunk->inode, chunk->index);
    if (length != fault_length(chunk)) { /* an engine may make it shorter */
        assert_true(length < fault_length(chunk) && length >= start && end >= fault_length(chunk));
        fault_length_set(chunk, length);
    }
}

static inline void fault_commit(struct fault_model *model)
{
    int status = conformance_commit();
    if (status != 0) {
        model->errors++;
        model->commits = false;
        return;
    }
    for (int i = 0; i < FAULT_CHUNKS; i++) {
        struct fault_chunk *chunk = &model->chunks[i];
        memcpy(chunk->after, chunk->now, sizeof(chunk->after));
        chunk->lengths_after = chunk->lengths;
    }
}

/* after: against what may be there after a crash; then that is what is there now. failing: the device still
 * fails, and a read may, too. */
static inline void fault_verify(struct fault_model *model, struct store *store, bool after, bool failing)
{
    static uint8_t bytes[CONFORMANCE_CHUNK];
    for (int i = 0; i < FAULT_CHUNKS; i++) {
        struct fault_chunk *chunk = &model->chunks[i];
        const struct fault_lengths *lengths = after ? &chunk->lengths_after : &chunk->lengths;
        const uint32_t *allowed = after ? chunk->after : chunk->now;
        uint32_t length = store->operations->chunk_length(store, chunk->inode, chunk->index);
        bool known = false;
        for (uint32_t j = 0; j < lengths->count; j++)
            known |= lengths->items[j] == length;
        if (!known)
            fail_msg("chunk (%lu, %lu) has length %u", (unsigned long)chunk->inode,
                     (unsigned long)chunk->index, length);
        struct store_io io = conformance_io(chunk->inode, chunk->index, 0, CONFORMANCE_CHUNK);
        int status = store->operations->read_begin(store, &io);
        if (status != 0 && failing) {
            model->errors++;
            continue;
        }
        assert_int_equal(status, 0);
        assert_int_equal(io.length, length);
        conformance_gather(&io, bytes);
        store->operations->read_end(store, &io);
        for (uint32_t p = 0; p < length; p++)
            if (bytes[p] > 31 || (allowed[p] & 1u << bytes[p]) == 0)
                fail_msg("chunk (%lu, %lu), byte %u is %u, allowed %#x", (unsigned long)chunk->inode,
                         (unsigned long)chunk->index, p, bytes[p], allowed[p]);
        if (!after)
            continue;
        for (uint32_t p = 0; p < CONFORMANCE_CHUNK; p++)
            chunk->now[p] = chunk->after[p] = p < length ? 1u << bytes[p] : 1;
        chunk->lengths = chunk->lengths_after = (struct fault_lengths){{length}, 1};
    }
}

static inline void fault_step(struct fault_model *model, struct store *store, bool failing)
{
    struct fault_chunk *chunk = &model->chunks[random_below(&model->random, FAULT_CHUNKS)];
    const struct store_operations *call = store->operations;
    uint64_t choice = random_below(&model->random, 100);
    if (choice < 60) {
        fault_write(model, store, chunk);
    } else if (choice < 66) {
        uint32_t length = 1 + (uint32_t)random_below(&model->random, CONFORMANCE_CHUNK - 1);
        assert_int_equal(call->truncate(store, chunk->inode, chunk->index, length), 0);
        fault_cut(chunk, length);
    } else if (choice < 72) {
        uint64_t first = random_below(&model->random, 2);
        assert_int_equal(call->remove(store, chunk->inode, first), 0);
        for (int i = 0; i < FAULT_CHUNKS; i++)
            if (model->chunks[i].inode == chunk->inode && model->chunks[i].index >= first)
                fault_cut(&model->chunks[i], 0);
    } else if (choice < 78) {
        fault_clear(model, store, chunk);
    } else if (choice < 85) {
        fault_verify(model, store, false, failing);
    } else {
        fault_commit(model);
    }
}

/* ---- cases ---- */

/* One call fails; everything goes on. A failed synchronisation ends durability for good (the journal says
 * so), and then a crash must leave what was durable. Returns whether there were so many calls. */
static inline bool fault_one(uint64_t seed, uint64_t at, int status)
{
    struct fault_plan plan = {.at = at, .status = status};
    struct store *store = conformance_open();
    struct fault_model *model = fault_model_make(seed);
    disk_set_fault(conformance.disk, fault_ask, &plan);
    for (int i = 0; i < FAULT_STEPS; i++)
        fault_step(model, store, true);
    disk_set_fault(conformance.disk, NULL, NULL);
    fault_verify(model, store, false, false);
    if (model->commits && journal_status(conformance.journal) == 0) {
        fault_commit(model);
        store = conformance_reopen();
        fault_verify(model, store, false, false);
    } else {
        store = conformance_crash(NULL);
    }
    fault_verify(model, store, true, false);
    for (int i = 0; i < FAULT_STEPS; i++)
        fault_step(model, store, false);
    conformance_close(store);
    free(model);
    return plan.met;
}

static inline void conformance_each_call_fails(void **state)
{
    (void)state;
    static const int statuses[] = {-EIO, -ENOSPC, 0};
    uint64_t step = conformance.real ? 29 : 1;
    for (int i = 0; i < 3; i++) {
        uint64_t at = 0;
        while (fault_one(10 + (uint64_t)i, at, statuses[i]))
            at += step;
        assert_true(at > 10);
    }
}

/* From some call on nothing reaches the device any more, and then the power fails. */
static inline void conformance_power_fails_anywhere(void **state)
{
    (void)state;
    if (conformance.real)
        return;
    bool more = true;
    for (uint64_t at = 0; more; at++) {
        uint64_t seed = 100 + at % 7;
        struct fault_plan plan = {.at = at, .for_good = true, .status = -EIO};
        struct random power;
        random_seed(&power, at);
        struct store *store = conformance_open();
        struct fault_model *model = fault_model_make(seed);
        disk_set_fault(conformance.disk, fault_ask, &plan);
        for (int i = 0; i < FAULT_STEPS && !plan.met; i++)
            fault_step(model, store, true);
        more = plan.met || at < 60;
        store = conformance_crash(&power);
        fault_verify(model, store, true, false);
        for (int i = 0; i < FAULT_STEPS; i++)
            fault_step(model, store, false);
        fault_commit(model);
        store = conformance_crash(&power);
        fault_verify(model, store, false, false);
        conformance_close(store);
        free(model);
    }
}

/* A device that fills up: writes fail with ENOSPC and change nothing that is durable; removing makes room. */
static inline void conformance_device_full(void **state)
{
    (void)state;
    if (conformance.real)
        return;
    conformance.device_capacity = 4u << 20;
    struct store_options options = conformance_options;
    options.capacity = 64u << 20;
    struct store *store = conformance_open_with(&options);
    conformance.device_capacity = 0;
    uint64_t index = 0;
    int status = 0;
    while (index < 100 && (status = conformance_write(store, 1, index, 0, CONFORMANCE_CHUNK,
                                                      (uint8_t)(1 + index % 31))) == 0)
        index++;
    assert_int_equal(status, -ENOSPC);
    assert_true(index > 10);
    for (uint64_t i = 0; i < index; i++)
        assert_int_equal(conformance_read(store, 1, i, 0, CONFORMANCE_CHUNK, (uint8_t)(1 + i % 31)),
                         CONFORMANCE_CHUNK);
    assert_int_equal(store->operations->chunk_length(store, 1, index), 0);
    assert_int_equal(store->operations->remove(store, 1, 4), 0);
    assert_int_equal(conformance_write(store, 2, 0, 0, CONFORMANCE_CHUNK, 9), 0);
    assert_int_equal(conformance_commit(), 0);
    store = conformance_crash(NULL);
    for (uint64_t i = 0; i < 4; i++)
        assert_int_equal(conformance_read(store, 1, i, 0, CONFORMANCE_CHUNK, (uint8_t)(1 + i)),
                         CONFORMANCE_CHUNK);
    assert_int_equal(conformance_read(store, 2, 0, 0, CONFORMANCE_CHUNK, 9), CONFORMANCE_CHUNK);
    conformance_close(store);
}

/* clang-format off */
#define STORE_FAULT_CASES                                                                                    \
    cmocka_unit_test(conformance_each_call_fails), cmocka_unit_test(conformance_power_fails_anywhere)
/* Of engines that need little more than the bytes that they hold. */
#define STORE_FULL_CASES cmocka_unit_test(conformance_device_full)
/* clang-format on */

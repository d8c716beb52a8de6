/* A random model test for engines that keep bytes: begun writes and reads interleave with one another, with
 * cuts and with removals, and every read is compared with plain arrays.
 *
 * Between begin and end of a write several values of a byte are right, so the model keeps a set of values for
 * each byte (values are 0..31, a set is 32 bits): a landing adds to the sets of its range, a commit reduces
 * them to the new value and those that overlapped it in time. Memory is recycled all the time, so a byte of
 * another chunk or of an earlier life shows. */
#pragma once

#include "unit/store_conformance.h"

#define MODEL_CHUNKS 9
#define MODEL_FLIGHTS 12

struct model_chunk {
    uint64_t inode;
    uint64_t index;
    uint32_t length;
    uint32_t allowed[CONFORMANCE_CHUNK];
    uint32_t ended[CONFORMANCE_CHUNK]; /* values of writes that have ended since the chunk was last quiet */
    bool written[CONFORMANCE_CHUNK];   /* committed since it was last cut here */
};

struct model_write {
    bool active;
    bool landed;
    bool stale;    /* the chunk was cut below its end */
    bool detached; /* the chunk was removed */
    uint32_t cut;  /* where, at the lowest */
    struct model_chunk *chunk;
    struct store_io io;
    uint32_t seed;
};

struct model_read {
    bool active;
    bool frozen; /* nothing has touched the chunk since */
    struct model_chunk *chunk;
    struct store_io io;
    uint8_t *copy;
};

struct model {
    struct store *store;
    struct random random;
    struct model_chunk *chunks;
    struct model_write writes[MODEL_FLIGHTS];
    struct model_read reads[MODEL_FLIGHTS];
    uint64_t refused;
    uint64_t stale;
};

static uint8_t model_value(const struct model_write *write, uint32_t position)
{
    return (uint8_t)(1 + (write->seed + position / 13) % 31);
}

static void model_thaw(struct model *model, const struct model_chunk *chunk)
{
    for (int i = 0; i < MODEL_FLIGHTS; i++)
        if (model->reads[i].active && model->reads[i].chunk == chunk)
            model->reads[i].frozen = false;
}

static bool model_writing(const struct model *model, const struct model_chunk *chunk)
{
    for (int i = 0; i < MODEL_FLIGHTS; i++)
        if (model->writes[i].active && !model->writes[i].detached && model->writes[i].chunk == chunk)
            return true;
    return false;
}

/* Without writes in flight nothing is uncertain, and what lies beyond the length is gone. */
static void model_quiet(struct model *model, struct model_chunk *chunk)
{
    if (model_writing(model, chunk))
        return;
    memset(chunk->ended, 0, sizeof(chunk->ended));
    for (uint32_t p = chunk->length; p < CONFORMANCE_CHUNK; p++)
        chunk->allowed[p] = 1;
}

static void model_range(struct model *model, struct store_io *io, const struct model_chunk *chunk)
{
    uint32_t most = random_below(&model->random, 3) == 0 ? CONFORMANCE_CHUNK : 9000;
    uint32_t offset = (uint32_t)random_below(&model->random, CONFORMANCE_CHUNK);
    if (random_below(&model->random, 2) == 0)
        offset = chunk->length == CONFORMANCE_CHUNK ? 0 : chunk->length;
    if (most > CONFORMANCE_CHUNK - offset)
        most = CONFORMANCE_CHUNK - offset;
    *io =
        conformance_io(chunk->inode, chunk->index, offset, 1 + (uint32_t)random_below(&model->random, most));
}

static void model_begin_write(struct model *model, struct model_write *write, struct model_chunk *chunk)
{
    model_range(model, &write->io, chunk);
    int status = model->store->operations->write_begin(model->store, &write->io, CONFORMANCE_CHUNK);
    if (status == -ENOSPC) {
        model->refused++;
        return;
    }
    assert_int_equal(status, 0);
    write->active = true;
    write->landed = false;
    write->stale = false;
    write->detached = false;
    write->cut = UINT32_MAX;
    write->chunk = chunk;
    write->seed = (uint32_t)random_below(&model->random, 31);
}

static void model_land(struct model *model, struct model_write *write)
{
    uint8_t *bytes = malloc(write->io.length);
    for (uint32_t i = 0; i < write->io.length; i++) {
        uint32_t position = write->io.offset + i;
        bytes[i] = model_value(write, position);
        if (!write->detached && (position < write->cut || write->chunk->written[position]))
            write->chunk->allowed[position] |= 1u << bytes[i];
    }
    conformance_land(&write->io, bytes);
    free(bytes);
    write->landed = true;
    model_thaw(model, write->chunk);
}

static void model_fail(struct model *model, struct model_write *write)
{
    write->active = false;
    if (write->detached)
        return;
    for (uint32_t i = 0; write->landed && i < write->io.length; i++)
        write->chunk->ended[write->io.offset + i] |= 1u << model_value(write, write->io.offset + i);
    model_quiet(model, write->chunk);
}

static void model_commit(struct model *model, struct model_write *write)
{
    struct model_chunk *chunk = write->chunk;
    uint32_t end = write->io.offset + write->io.length;
    int status = model->store->operations->write_commit(model->store, &write->io);
    model_thaw(model, chunk);
    if (write->stale) {
        assert_int_equal(status, -ESTALE);
        model->stale++;
        model_fail(model, write);
        return;
    }
    assert_int_equal(status, 0);
    write->active = false;
    for (uint32_t p = write->io.offset; p < end; p++) {
        chunk->written[p] = true;
        chunk->ended[p] |= 1u << model_value(write, p);
        chunk->allowed[p] = chunk->ended[p];
        for (int i = 0; i < MODEL_FLIGHTS; i++) {
            const struct model_write *other = &model->writes[i];
            if (other->active && other->landed && !other->detached && other->chunk == chunk &&
                p >= other->io.offset && p - other->io.offset < other->io.length)
                chunk->allowed[p] |= 1u << model_value(other, p);
        }
    }
    if (end > chunk->length)
        chunk->length = end;
    model_quiet(model, chunk);
}

static void model_abort(struct model *model, struct model_write *write)
{
    model->store->operations->write_abort(model->store, &write->io);
    model_thaw(model, write->chunk);
    model_fail(model, write);
}

static void model_begin_read(struct model *model, struct model_read *read, struct model_chunk *chunk)
{
    model_range(model, &read->io, chunk);
    uint32_t asked = read->io.length;
    uint32_t there = read->io.offset >= chunk->length ? 0 : chunk->length - read->io.offset;
    assert_int_equal(model->store->operations->read_begin(model->store, &read->io), 0);
    assert_int_equal(read->io.length, asked < there ? asked : there);
    read->copy = malloc(asked);
    conformance_gather(&read->io, read->copy);
    for (uint32_t i = 0; i < read->io.length; i++) {
        uint32_t p = read->io.offset + i;
        if (read->copy[i] > 31 || (chunk->allowed[p] & (1u << read->copy[i])) == 0)
            fail_msg("chunk (%lu, %lu), byte %u: read %u, allowed %#x", (unsigned long)chunk->inode,
                     (unsigned long)chunk->index, p, read->copy[i], chunk->allowed[p]);
    }
    read->active = true;
    read->frozen = true;
    read->chunk = chunk;
}

static void model_end_read(struct model *model, struct model_read *read)
{
    if (read->frozen) {
        uint8_t *bytes = malloc(read->io.length + 1);
        conformance_gather(&read->io, bytes);
        assert_memory_equal(bytes, read->copy, read->io.length);
        free(bytes);
    }
    model->store->operations->read_end(model->store, &read->io);
    free(read->copy);
    read->active = false;
}

/* The model's side of a cut; with length 0 the chunk's memory lives on, unchanged, for reads in flight. */
static void model_cut(struct model *model, struct model_chunk *chunk, uint32_t length)
{
    if (length > 0 || model_writing(model, chunk))
        model_thaw(model, chunk);
    for (int i = 0; i < MODEL_FLIGHTS; i++) {
        struct model_write *write = &model->writes[i];
        if (write->active && write->chunk == chunk && write->io.offset + write->io.length > length) {
            write->stale = true;
            write->cut = length < write->cut ? length : write->cut;
            write->detached = write->detached || length == 0;
        }
    }
    if (chunk->length > length)
        chunk->length = length;
    for (uint32_t p = length; p < CONFORMANCE_CHUNK; p++) {
        chunk->allowed[p] = 1;
        chunk->written[p] = false;
    }
    model_quiet(model, chunk);
}

/* Clearing is a write of zeros, of which an engine may make a shorter chunk. */
static void model_clear(struct model *model, struct model_chunk *chunk)
{
    struct store_io io;
    model_range(model, &io, chunk);
    uint64_t at = chunk->index * CONFORMANCE_CHUNK;
    struct store_range range = {chunk->inode, at + io.offset, at + io.offset + io.length, 16};
    uint32_t end = io.offset + io.length, before = chunk->length;
    const struct store_operations *call = model->store->operations;
    assert_int_equal(call->clear(model->store, &range, random_below(&model->random, 3) == 0), 0);
    model_thaw(model, chunk);
    for (uint32_t p = io.offset; p < end && p < before; p++) {
        chunk->ended[p] |= 1;
        chunk->allowed[p] |= 1;
    }
    if (!model_writing(model, chunk))
        for (uint32_t p = io.offset; p < end; p++)
            chunk->allowed[p] = 1;
    chunk->length = call->chunk_length(model->store, chunk->inode, chunk->index);
    if (chunk->length != before)
        assert_true(chunk->length >= io.offset && chunk->length < before && end >= before);
    model_quiet(model, chunk);
}

/* What is said to be a hole holds zeros. */
static void model_seek(struct model *model, struct model_chunk *chunk)
{
    const struct store_operations *call = model->store->operations;
    uint32_t at = 0;
    for (bool hole = true; at < chunk->length; hole = !hole) {
        uint32_t next = call->seek(model->store, chunk->inode, chunk->index, at, hole);
        assert_true(next >= at);
        if (hole)
            assert_true(next <= chunk->length);
        uint32_t end = next < chunk->length ? next : chunk->length;
        for (uint32_t p = at; !hole && p < end; p++)
            assert_true((chunk->allowed[p] & 1) != 0);
        at = end;
    }
}

static void model_reserve(struct model *model, struct model_chunk *chunk)
{
    struct store_io io;
    model_range(model, &io, chunk);
    const struct store_operations *call = model->store->operations;
    int status = call->reserve(model->store, chunk->inode, chunk->index, io.offset, io.length);
    if (status == -ENOSPC)
        model->refused++;
    else
        assert_int_equal(status, 0);
    if (status == 0)
        assert_int_equal(call->missing(model->store, chunk->inode, chunk->index, io.offset, io.length), 0);
}

static void model_step(struct model *model)
{
    struct model_chunk *chunk = &model->chunks[random_below(&model->random, MODEL_CHUNKS)];
    struct model_write *write = &model->writes[random_below(&model->random, MODEL_FLIGHTS)];
    struct model_read *read = &model->reads[random_below(&model->random, MODEL_FLIGHTS)];
    uint64_t choice = random_below(&model->random, 100);
    const struct store_operations *call = model->store->operations;
    if (choice < 55) {
        if (!write->active)
            model_begin_write(model, write, chunk);
        else if (!write->landed)
            model_land(model, write);
        else if (random_below(&model->random, 5) == 0)
            model_abort(model, write);
        else
            model_commit(model, write);
    } else if (choice < 60) {
        if (write->active)
            model_abort(model, write);
    } else if (choice < 90) {
        if (read->active)
            model_end_read(model, read);
        else
            model_begin_read(model, read, chunk);
    } else if (choice < 94) {
        model_clear(model, chunk);
        model_seek(model, chunk);
    } else if (choice < 95) {
        model_reserve(model, chunk);
    } else if (choice < 97) {
        uint32_t length = (uint32_t)random_below(&model->random, CONFORMANCE_CHUNK);
        assert_int_equal(call->truncate(model->store, chunk->inode, chunk->index, length), 0);
        model_cut(model, chunk, length);
    } else {
        uint64_t first = random_below(&model->random, 3);
        assert_int_equal(call->remove(model->store, chunk->inode, first), 0);
        for (int i = 0; i < MODEL_CHUNKS; i++)
            if (model->chunks[i].inode == chunk->inode && model->chunks[i].index >= first)
                model_cut(model, &model->chunks[i], 0);
    }
}

/* Runs steps from a seed on a fresh store; everything that was written is removed at the end and must be free
 * again. */
static void model_run(struct store *store, uint64_t seed, uint32_t steps)
{
    struct model *model = calloc(1, sizeof(*model));
    model->store = store;
    random_seed(&model->random, seed);
    model->chunks = calloc(MODEL_CHUNKS, sizeof(*model->chunks));
    for (int i = 0; i < MODEL_CHUNKS; i++) {
        model->chunks[i].inode = 1 + (uint64_t)i / 3;
        model->chunks[i].index = (uint64_t)i % 3;
        model_quiet(model, &model->chunks[i]);
    }
    for (uint32_t i = 0; i < steps; i++)
        model_step(model);
    assert_true(model->refused > 0);
    assert_true(model->stale > 0);
    for (uint64_t inode = 1; inode <= 3; inode++)
        assert_int_equal(store->operations->remove(store, inode, 0), 0);
    for (int i = 0; i < MODEL_FLIGHTS; i++) {
        if (model->writes[i].active)
            store->operations->write_abort(store, &model->writes[i].io);
        if (model->reads[i].active) {
            store->operations->read_end(store, &model->reads[i].io);
            free(model->reads[i].copy);
        }
    }
    struct store_statistics statistics;
    store->operations->statistics(store, &statistics);
    /* What an engine was doing in the background may end first. */
    for (int turns = 0; turns < 1000000 && statistics.used > 0 && store->loop != NULL; turns++) {
        task_yield(store->loop);
        store->operations->statistics(store, &statistics);
    }
    assert_int_equal(statistics.used, 0);
    assert_int_equal(statistics.chunks, 0);
    free(model->chunks);
    free(model);
}

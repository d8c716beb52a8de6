/* Random changes of one file of three chunks, and what it must hold after each. */
#pragma once

#include "base/hash.h"
#include "unit/store_conformance.h"

#define MIRROR_INODE 5

struct mirror {
    struct store *store;
    struct random random;
    uint32_t length[3];
    uint8_t bytes[3][CONFORMANCE_CHUNK];
};

static void mirror_init(struct mirror *mirror, struct store *store, uint64_t seed)
{
    memset(mirror, 0, sizeof(*mirror));
    mirror->store = store;
    random_seed(&mirror->random, seed);
}

/* Reads everything. 0, or the first error of a read. */
static int mirror_check(struct mirror *mirror)
{
    static uint8_t bytes[CONFORMANCE_CHUNK];
    const struct store_operations *call = mirror->store->operations;
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(call->chunk_length(mirror->store, MIRROR_INODE, i), mirror->length[i]);
        struct store_io io = conformance_io(MIRROR_INODE, i, 0, CONFORMANCE_CHUNK);
        int status = call->read_begin(mirror->store, &io);
        if (status != 0)
            return status;
        assert_int_equal(io.length, mirror->length[i]);
        conformance_gather(&io, bytes);
        call->read_end(mirror->store, &io);
        assert_memory_equal(bytes, mirror->bytes[i], mirror->length[i]);
    }
    return 0;
}

static inline uint64_t mirror_hash(const struct mirror *mirror)
{
    uint64_t hash = hash64(mirror->length, sizeof(mirror->length), 0);
    for (uint32_t i = 0; i < 3; i++)
        hash = hash64(mirror->bytes[i], mirror->length[i], hash);
    return hash;
}

/* Makes the mirror what the store holds. */
static inline void mirror_read(struct mirror *mirror)
{
    const struct store_operations *call = mirror->store->operations;
    for (uint32_t i = 0; i < 3; i++) {
        struct store_io io = conformance_io(MIRROR_INODE, i, 0, CONFORMANCE_CHUNK);
        assert_int_equal(call->read_begin(mirror->store, &io), 0);
        mirror->length[i] = io.length;
        memset(mirror->bytes[i], 0, CONFORMANCE_CHUNK);
        conformance_gather(&io, mirror->bytes[i]);
        call->read_end(mirror->store, &io);
        assert_int_equal(mirror->length[i], call->chunk_length(mirror->store, MIRROR_INODE, i));
    }
}

static uint32_t mirror_below(struct mirror *mirror, uint32_t bound)
{
    return (uint32_t)random_below(&mirror->random, bound);
}

/* One change. What fails leaves all as it was; its error is returned. */
static int mirror_step(struct mirror *mirror)
{
    const struct store_operations *call = mirror->store->operations;
    uint32_t chunk = mirror_below(mirror, 3), choice = mirror_below(mirror, 10);
    uint32_t start = mirror_below(mirror, CONFORMANCE_CHUNK), rest = CONFORMANCE_CHUNK - start;
    uint32_t count = 1 + mirror_below(mirror, choice == 0 || rest < 6000 ? rest : 6000);
    uint8_t value = (uint8_t)(1 + mirror_below(mirror, 255)), *bytes = mirror->bytes[chunk];
    uint64_t at = (uint64_t)chunk * CONFORMANCE_CHUNK + start;
    struct store_range range = {MIRROR_INODE, at, at + count, 16};
    int status;
    if (choice < 6) {
        status = conformance_write(mirror->store, MIRROR_INODE, chunk, start, count, value);
        if (status != 0)
            return status;
        memset(bytes + start, value, count);
        if (start + count > mirror->length[chunk])
            mirror->length[chunk] = start + count;
    } else if (choice < 8) {
        status = call->clear(mirror->store, &range, choice == 7);
        if (status != 0)
            return status;
        memset(bytes + start, 0, count);
        if (choice == 6 && start < mirror->length[chunk] && start + count >= mirror->length[chunk])
            mirror->length[chunk] = start;
    } else if (choice == 8) {
        uint32_t length = value < 32 ? 0 : start;
        status = call->truncate(mirror->store, MIRROR_INODE, chunk, length);
        if (status != 0)
            return status;
        memset(bytes + length, 0, CONFORMANCE_CHUNK - length);
        if (length < mirror->length[chunk])
            mirror->length[chunk] = length;
    } else {
        status = call->reserve(mirror->store, MIRROR_INODE, chunk, start, count);
    }
    return status;
}

/* The null engine: writes land in a scratch area and are forgotten, lengths are remembered, reads return a
 * fixed pattern. It measures everything but storage: index, network and protocol are those of the other
 * engines, memory traffic stays in cache.
 *
 * Scratch and pattern are STEP bytes each. A transfer that crosses a multiple of STEP within its chunk takes
 * another entry of the vector; 16 of them make the largest chunk. The pattern of a byte depends only on its
 * offset in the chunk: the 64-bit word number w of a chunk reads as w modulo STEP / 8, little-endian.
 * Capacity is reported but not enforced. */
#include "store/store.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>

#include "store/chunk_index.h"

#define STEP (4u << 20)
#define CHUNK_BYTES_MAX (64u << 20)

static_assert(CHUNK_BYTES_MAX / STEP <= STORE_VECTOR_MAX, "a whole chunk fits into one vector");

struct chunk {
    struct chunk_entry entry;
    uint32_t length;
};

struct null_store {
    struct store store;
    struct net *net;
    void *region; /* the transport's; with net */
    char *memory; /* scratch, then pattern */
    uint64_t capacity;
    uint64_t used;
    struct chunk_index index;
};

static struct null_store *null_of(struct store *store)
{
    return container_of(store, struct null_store, store);
}

static struct chunk *chunk_find(struct null_store *null, uint64_t inode, uint64_t index)
{
    struct chunk_entry *entry = chunk_index_find(&null->index, inode, index);
    return entry == NULL ? NULL : container_of(entry, struct chunk, entry);
}

static void set_length(struct null_store *null, struct chunk *chunk, uint32_t length)
{
    null->used += length;
    null->used -= chunk->length;
    if (chunk->entry.file != NULL)
        chunk_entry_hold(&chunk->entry, length);
    chunk->length = length;
}

static void chunk_dispose(void *owner, struct chunk_entry *entry)
{
    struct chunk *chunk = container_of(entry, struct chunk, entry);
    set_length(owner, chunk, 0);
    free(chunk);
}

static void map(struct store_io *io, char *area)
{
    uint32_t offset = io->offset;
    uint32_t left = io->length;
    for (io->count = 0; left > 0; io->count++) {
        uint32_t here = STEP - offset % STEP;
        if (here > left)
            here = left;
        io->vector[io->count] = (struct iovec){area + offset % STEP, here};
        offset += here;
        left -= here;
    }
}

static int null_write_begin(struct store *store, struct store_io *io, uint32_t chunk_size)
{
    if (chunk_size > CHUNK_BYTES_MAX || io->offset > chunk_size || io->length > chunk_size - io->offset)
        return -EINVAL;
    map(io, null_of(store)->memory);
    return 0;
}

static int null_write_commit(struct store *store, struct store_io *io)
{
    struct null_store *null = null_of(store);
    if (io->length == 0)
        return 0;
    struct chunk *chunk = chunk_find(null, io->inode, io->index);
    if (chunk == NULL) {
        chunk = calloc(1, sizeof(*chunk));
        if (chunk == NULL)
            return -ENOMEM;
        if (chunk_index_insert(&null->index, &chunk->entry, io->inode, io->index) != 0) {
            free(chunk);
            return -ENOMEM;
        }
    }
    if (io->offset + io->length > chunk->length)
        set_length(null, chunk, io->offset + io->length);
    return 0;
}

static void null_write_abort(struct store *store, struct store_io *io)
{
    (void)store;
    (void)io;
}

static int null_read_begin(struct store *store, struct store_io *io)
{
    struct null_store *null = null_of(store);
    const struct chunk *chunk = chunk_find(null, io->inode, io->index);
    if (chunk == NULL || io->offset >= chunk->length)
        io->length = 0;
    else if (io->length > chunk->length - io->offset)
        io->length = chunk->length - io->offset;
    map(io, null->memory + STEP);
    return 0;
}

static void null_read_end(struct store *store, struct store_io *io)
{
    (void)store;
    (void)io;
}

static int null_truncate(struct store *store, uint64_t inode, uint64_t index, uint32_t length)
{
    struct null_store *null = null_of(store);
    struct chunk *chunk = chunk_find(null, inode, index);
    if (chunk == NULL || length >= chunk->length)
        return 0;
    set_length(null, chunk, length);
    if (length == 0) {
        chunk_index_remove(&null->index, &chunk->entry);
        chunk_dispose(null, &chunk->entry);
    }
    return 0;
}

static int null_remove(struct store *store, uint64_t inode, uint64_t first)
{
    struct null_store *null = null_of(store);
    chunk_index_remove_from(&null->index, inode, first, chunk_dispose, null);
    return 0;
}

static void null_statistics(struct store *store, struct store_statistics *statistics)
{
    struct null_store *null = null_of(store);
    statistics->used = null->used;
    statistics->capacity = null->capacity;
    statistics->chunks = null->index.chunks.count;
    statistics->memory = 2 * (uint64_t)STEP + chunk_index_memory(&null->index, sizeof(struct chunk));
}

/* Nothing is ever missing, and there is nothing to clear: what is read is the pattern. */
static int null_reserve(struct store *store, uint64_t inode, uint64_t index, uint32_t offset, uint32_t length)
{
    (void)store;
    (void)inode;
    (void)index;
    (void)offset;
    (void)length;
    return 0;
}

static uint64_t null_missing(struct store *store, uint64_t inode, uint64_t index, uint32_t offset,
                             uint32_t length)
{
    const struct chunk *chunk = chunk_find(null_of(store), inode, index);
    (void)offset;
    return chunk == NULL ? length : 0;
}

static int null_clear(struct store *store, const struct store_range *range, bool keep)
{
    (void)store;
    (void)range;
    (void)keep;
    return 0;
}

static uint64_t null_next_chunk(struct store *store, uint64_t inode, uint64_t first)
{
    const struct chunk_entry *entry = chunk_index_next(&null_of(store)->index, inode, first);
    return entry == NULL ? UINT64_MAX : entry->node.index;
}

static bool null_next(struct store *store, struct store_cursor *cursor)
{
    return chunk_index_advance(&null_of(store)->index, cursor) != NULL;
}

static uint32_t null_seek(struct store *store, uint64_t inode, uint64_t index, uint32_t offset, bool hole)
{
    const struct chunk *chunk = chunk_find(null_of(store), inode, index);
    if (chunk == NULL || offset >= chunk->length)
        return hole ? offset : UINT32_MAX;
    return hole ? chunk->length : offset;
}

static uint64_t null_held(struct store *store, uint64_t inode)
{
    const struct chunk_file *file = chunk_index_file(&null_of(store)->index, inode);
    return file == NULL ? 0 : file->held;
}

static uint32_t null_chunk_length(struct store *store, uint64_t inode, uint64_t index)
{
    const struct chunk *chunk = chunk_find(null_of(store), inode, index);
    return chunk == NULL ? 0 : chunk->length;
}

static void null_destroy(struct store *store)
{
    struct null_store *null = null_of(store);
    chunk_index_free(&null->index, chunk_dispose, null);
    if (null->net != NULL)
        net_memory_free(null->net, null->region);
    else
        free(null->memory);
    free(null);
}

static int null_create(const struct store_options *options, struct store **store)
{
    struct null_store *null = calloc(1, sizeof(*null));
    if (null == NULL)
        return -ENOMEM;
    null->store = (struct store){.operations = &store_null_operations, .loop = options->loop};
    null->net = options->net;
    null->capacity = options->capacity;
    void *memory = NULL;
    int status = 0;
    if (null->net != NULL)
        status = net_memory_allocate(null->net, 2 * (size_t)STEP, &memory, &null->region);
    else if ((memory = aligned_alloc(4096, 2 * (size_t)STEP)) == NULL)
        status = -ENOMEM;
    if (status != 0) {
        free(null);
        return status;
    }
    null->memory = memory;
    status = chunk_index_init(&null->index);
    if (status != 0) {
        null_destroy(&null->store);
        return status;
    }
    uint64_t *words = (uint64_t *)(void *)(null->memory + STEP);
    for (uint64_t i = 0; i < STEP / sizeof(*words); i++)
        words[i] = htole64(i);
    *store = &null->store;
    return 0;
}

const struct store_operations store_null_operations = {
    .name = "null",
    .persistent = false,
    .create = null_create,
    .destroy = null_destroy,
    .write_begin = null_write_begin,
    .write_commit = null_write_commit,
    .write_abort = null_write_abort,
    .read_begin = null_read_begin,
    .read_end = null_read_end,
    .truncate = null_truncate,
    .remove = null_remove,
    .statistics = null_statistics,
    .chunk_length = null_chunk_length,
    .reserve = null_reserve,
    .missing = null_missing,
    .clear = null_clear,
    .next_chunk = null_next_chunk,
    .seek = null_seek,
    .held = null_held,
    .next = null_next,
};

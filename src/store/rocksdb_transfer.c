/* Transfers of the engine rocksdb.
 *
 * A write lands in staging memory that has room for whole blocks. Its commit has the chunk to itself
 * (`busy`): the thread puts together each piece, from what landed and, where the write covers only a part,
 * from the blocks of the piece's present version; it computes the checksums and puts the pieces under new
 * versions. Then, in one step, the map names these, and the record is appended.
 *
 * Meanwhile the chunk may be cut, cleared or removed, which never waits. What was taken away stays away: only
 * blocks that the map still has are carried on in it. Ranges of zeros are put into what is written, and leave
 * the set unless something was added to it meanwhile.
 *
 * A read notes which versions it wants, and the thread fetches them. They cannot be deleted before: deletions
 * go through the same thread, with a group that is written later. */
#include "store/rocksdb_state.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static_assert(PIECE_BLOCKS == 16, "carry has a bit for each block");

static int damaged(uint64_t inode, uint64_t index, uint32_t block)
{
    log_error("rocksdb: inode %" PRIu64 ", chunk %" PRIu64 ", offset %" PRIu64
              ": the block is missing or does not match its checksum",
              inode, index, (uint64_t)block << PAGE_SHIFT);
    return -EIO;
}

/* ---- fetching; on the thread ---- */

/* A version of a piece, fetched. */
struct fetched {
    rocksdb_pinnableslice_t *slice;
    const char *bytes;
    size_t length;
};

static int fetch(rocksdb_t *rocksdb, const struct piece_name *name, struct fetched *fetched)
{
    uint8_t key[PIECE_KEY_BYTES];
    char *error = NULL;
    piece_key_encode(ROCKS_KEY_PIECE, name, key);
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(options, 0); /* blocks have their own */
    *fetched = (struct fetched){0};
    fetched->slice = rocksdb_get_pinned(rocksdb, options, (const char *)key, sizeof(key), &error);
    rocksdb_readoptions_destroy(options);
    int status = database_status(error, "read");
    if (status != 0) /* what is damaged is like what is missing */
        return status == -EBADMSG ? 0 : status;
    if (fetched->slice != NULL)
        fetched->bytes = rocksdb_pinnableslice_value(fetched->slice, &fetched->length);
    return 0;
}

static void fetched_free(struct fetched *fetched)
{
    if (fetched->slice != NULL)
        rocksdb_pinnableslice_destroy(fetched->slice);
}

/* The block's bytes, or NULL: they are not there, or not what was written. */
static const char *fetched_block(const struct fetched *fetched, uint32_t block, uint32_t sum)
{
    size_t start = (size_t)block << PAGE_SHIFT;
    if (fetched->bytes == NULL || start + PAGE_BYTES > fetched->length)
        return NULL;
    if (sum != BLOCK_NO_SUM && block_sum(fetched->bytes + start, NULL) != sum)
        return NULL;
    return fetched->bytes + start;
}

/* ---- writing ---- */

struct commit_call {
    struct database_call call;
    struct rocks_write *write;
    uint32_t start; /* of the write in the chunk */
    uint32_t end;
    struct ranges zeros; /* of the chunk, as they were */
    bool checksum;
    char scratch[PIECE_BYTES];
};

static uint32_t sum_of(const struct commit_call *commit, const char *block)
{
    return commit->checksum ? block_sum(block, NULL) : BLOCK_NO_SUM;
}

/* Fetches into the scratch what the write carries on. */
static int carry_on(struct commit_call *commit, rocksdb_t *rocksdb, const struct piece_write *piece)
{
    const struct rocks_write *write = commit->write;
    struct fetched fetched;
    struct piece_name name = {write->inode, write->index, piece->piece, piece->before};
    int status = fetch(rocksdb, &name, &fetched);
    for (uint32_t block = 0; status == 0 && block < PIECE_BLOCKS; block++) {
        if ((piece->carry >> block & 1) == 0)
            continue;
        const char *bytes =
            fetched_block(&fetched, block, commit->checksum ? piece->sums[block] : BLOCK_NO_SUM);
        if (bytes == NULL)
            status = damaged(write->inode, write->index, (piece->piece << PIECE_SHIFT) + block);
        else
            memcpy(commit->scratch + ((size_t)block << PAGE_SHIFT), bytes, PAGE_BYTES);
    }
    fetched_free(&fetched);
    return status;
}

/* Puts the piece together; returns its bytes. */
static const char *compose(struct commit_call *commit, rocksdb_t *rocksdb, const struct piece_write *piece,
                           int *status)
{
    const struct rocks_write *write = commit->write;
    uint32_t at = piece->piece * PIECE_BYTES; /* in the chunk */
    uint32_t from = larger(commit->start, at), to = smaller(commit->end, at + PIECE_BYTES);
    const char *landed = write->memory.bytes + (from - (write->first << PAGE_SHIFT));
    *status = 0;
    if (from == at && to - from == (uint32_t)piece->blocks << PAGE_SHIFT)
        return landed;
    memset(commit->scratch, 0, (size_t)piece->blocks << PAGE_SHIFT);
    if (piece->carry != 0)
        *status = carry_on(commit, rocksdb, piece);
    struct range part;
    for (uint32_t next = at; ranges_first(&commit->zeros, next, at + PIECE_BYTES, &part); next = part.end)
        memset(commit->scratch + (part.start - at), 0, part.end - part.start);
    memcpy(commit->scratch + (from - at), landed, to - from);
    return commit->scratch;
}

static int commit_piece(struct commit_call *commit, rocksdb_t *rocksdb, rocksdb_writebatch_t *batch,
                        struct piece_write *piece)
{
    int status;
    const char *bytes = compose(commit, rocksdb, piece, &status);
    if (status != 0)
        return status;
    for (uint32_t block = 0; block < piece->blocks; block++)
        piece->sums[block] = sum_of(commit, bytes + ((size_t)block << PAGE_SHIFT));
    uint8_t key[PIECE_KEY_BYTES];
    struct piece_name name = {commit->write->inode, commit->write->index, piece->piece, piece->version};
    piece_key_encode(ROCKS_KEY_INTENT, &name, key);
    rocksdb_writebatch_put(batch, (const char *)key, sizeof(key), "", 0);
    piece_key_encode(ROCKS_KEY_PIECE, &name, key);
    rocksdb_writebatch_put(batch, (const char *)key, sizeof(key), bytes, (size_t)piece->blocks << PAGE_SHIFT);
    return 0;
}

static int commit_work(struct database_call *call, rocksdb_t *rocksdb)
{
    struct commit_call *commit = container_of(call, struct commit_call, call);
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < commit->write->count; i++)
        status = commit_piece(commit, rocksdb, batch, &commit->write->pieces[i]);
    if (status == 0)
        status = database_write(rocksdb, batch, false);
    rocksdb_writebatch_destroy(batch);
    return status;
}

/* What a piece will be made of. */
static void piece_plan(struct rocks *rocks, const struct rocks_chunk *chunk, const struct commit_call *commit,
                       struct piece_write *piece)
{
    uint32_t first = piece->piece << PIECE_SHIFT;
    piece->before = piece_version(&chunk->map, piece->piece);
    piece->version = rocks_version(rocks, chunk, piece->piece);
    piece->carry = 0;
    piece->blocks = 0;
    for (uint32_t i = 0; i < PIECE_BLOCKS; i++) {
        uint32_t start = (first + i) << PAGE_SHIFT, end = start + PAGE_BYTES;
        bool touched = start < commit->end && end > commit->start;
        bool covered = start >= commit->start && end <= commit->end;
        struct block block = block_map_get(&chunk->map, first + i);
        piece->sums[i] = block.sum;
        if (block_has_page(block) && !covered)
            piece->carry |= (uint16_t)(1u << i);
        if (block_has_page(block) || touched)
            piece->blocks = (uint8_t)(i + 1);
    }
}

/* The map names the new versions. */
static void write_install(struct rocks *rocks, struct rocks_write *write)
{
    struct rocks_chunk *chunk = write->chunk;
    uint32_t before = chunk->map.held;
    for (uint32_t i = 0; i < write->count; i++) {
        struct piece_write *piece = &write->pieces[i];
        piece->before = piece_version(&chunk->map, piece->piece);
        for (uint32_t block = 0; block < piece->blocks; block++) {
            uint32_t at = (piece->piece << PIECE_SHIFT) + block;
            if ((at >= write->first && at - write->first < write->blocks) ||
                block_has_page(block_map_get(&chunk->map, at)))
                block_map_set(&chunk->map, at,
                              (struct block){piece_page(piece->version, at), piece->sums[block]});
        }
    }
    rocks->charged += chunk->map.held - before;
}

/* Has the pieces written, and names them. The chunk is busy. */
static int write_put(struct rocks *rocks, struct rocks_write *write, struct store_io *io)
{
    struct rocks_chunk *chunk = write->chunk;
    struct commit_call *commit = malloc(sizeof(*commit));
    if (commit == NULL)
        return -ENOMEM;
    memset(commit, 0, offsetof(struct commit_call, scratch));
    commit->call.work = commit_work;
    commit->call.writes = commit->call.adds = true;
    commit->call.measured = METRICS_DISK_WRITE;
    commit->call.bytes = io->length;
    commit->write = write;
    commit->start = io->offset;
    commit->end = io->offset + io->length;
    commit->checksum = rocks->checksum;
    int status = ranges_reserve(&commit->zeros, chunk->zeros.count);
    if (status == 0) {
        if (chunk->zeros.count > 0)
            memcpy(commit->zeros.items, chunk->zeros.items, chunk->zeros.count * sizeof(struct range));
        commit->zeros.count = chunk->zeros.count;
        for (uint32_t i = 0; i < write->count; i++)
            piece_plan(rocks, chunk, commit, &write->pieces[i]);
        uint32_t taken = chunk->taken;
        status = database_run(rocks->database, &commit->call);
        write->put = status == 0 || status == -ENOSPC; /* what was only not synchronised may be there */
        chunk = write->chunk;
        if (status == 0 && !write->stale)
            status = ranges_reserve(&chunk->zeros, chunk->zeros.count + 2);
        if (status == 0 && !write->stale) {
            uint32_t first = write->pieces[0].piece * PIECE_BYTES;
            bool whole = chunk->taken == taken;
            write_install(rocks, write);
            ranges_subtract(&chunk->zeros, whole ? first : commit->start,
                            whole ? first + write->count * PIECE_BYTES : commit->end);
            chunk->length = larger(chunk->length, commit->end);
        }
    }
    ranges_free(&commit->zeros);
    free(commit);
    return status;
}

/* The write is over: only its keys may be left. */
static void write_end(struct rocks *rocks, struct rocks_write *write, struct store_io *io, bool failed)
{
    rocks->charged -= write->growth;
    staging_give(rocks->staging, &write->memory, true);
    list_remove(&io->link);
    io->engine = NULL;
    write->stale |= failed;
    write->chunk = NULL;
    if (write->put)
        rocks_note(rocks, &write->noted, NOTED_WRITE);
    else
        free(write);
}

int rocks_write_commit(struct store *store, struct store_io *io)
{
    struct rocks *rocks = rocks_of(store);
    struct rocks_write *write = io->engine;
    int status = 0;
    if (write == NULL)
        return 0;
    while (status == 0 && !write->stale && write->chunk->busy)
        status = wait_queue_wait(rocks->store.loop, &write->chunk->released, 0);
    if (status == 0 && !write->stale) {
        write->chunk->busy = true;
        status = write_put(rocks, write, io);
        if (write->chunk != NULL) {
            write->chunk->busy = false;
            wait_queue_wake_all(rocks->store.loop, &write->chunk->released);
        }
    }
    if (status == 0 && write->stale)
        status = -ESTALE;
    struct rocks_chunk *chunk = write->chunk;
    write_end(rocks, write, io, status != 0);
    if (chunk != NULL)
        rocks_chunk_settle(rocks, chunk, status == 0);
    return status;
}

void rocks_write_abort(struct store *store, struct store_io *io)
{
    struct rocks *rocks = rocks_of(store);
    struct rocks_write *write = io->engine;
    if (write == NULL)
        return;
    struct rocks_chunk *chunk = write->chunk;
    write_end(rocks, write, io, true);
    if (chunk != NULL)
        rocks_chunk_settle(rocks, chunk, false);
}

/* memory: taken already. */
static int write_join(struct rocks *rocks, struct rocks_chunk *chunk, struct store_io *io,
                      const struct staging_memory *memory)
{
    uint32_t first = io->offset >> PAGE_SHIFT, end = pages_of(io->offset + io->length);
    uint32_t holes = block_map_holes(&chunk->map, first, end);
    if (holes > 0 && rocks->charged + holes > rocks->capacity)
        return -ENOSPC;
    uint32_t piece = first >> PIECE_SHIFT, pieces = pieces_of(end) - piece;
    int status = block_map_reserve(&chunk->map, pieces_of(end) << PIECE_SHIFT);
    if (status != 0)
        return status;
    struct rocks_write *write = calloc(1, sizeof(*write) + pieces * sizeof(write->pieces[0]));
    if (write == NULL)
        return -ENOMEM;
    write->chunk = chunk;
    write->inode = io->inode;
    write->index = io->index;
    write->first = first;
    write->blocks = end - first;
    write->growth = holes;
    write->memory = *memory;
    write->count = pieces;
    for (uint32_t i = 0; i < pieces; i++)
        write->pieces[i].piece = piece + i;
    rocks->charged += holes;
    io->engine = write;
    io->vector[0] = (struct iovec){memory->bytes + (io->offset & (PAGE_BYTES - 1)), io->length};
    io->count = 1;
    list_push_back(&chunk->writers, &io->link);
    return 0;
}

int rocks_write_begin(struct store *store, struct store_io *io, uint32_t chunk_size)
{
    struct rocks *rocks = rocks_of(store);
    if (chunk_size > CHUNK_BYTES_MAX || io->offset > chunk_size || io->length > chunk_size - io->offset)
        return -EINVAL;
    io->engine = NULL;
    io->count = 0;
    if (io->length == 0)
        return 0;
    int status = journal_admit(rocks->journal);
    if (status != 0)
        return status;
    uint32_t blocks = pages_of(io->offset + io->length) - (io->offset >> PAGE_SHIFT);
    struct staging_memory memory;
    status = staging_take(rocks->staging, (uint64_t)blocks << PAGE_SHIFT, true, &memory);
    if (status != 0)
        return status;
    struct rocks_chunk *chunk = rocks_chunk_find(rocks, io->inode, io->index);
    if (chunk == NULL && (chunk = rocks_chunk_create(rocks, io->inode, io->index)) == NULL)
        status = -ENOMEM;
    if (status == 0)
        status = write_join(rocks, chunk, io, &memory);
    if (status != 0) {
        staging_give(rocks->staging, &memory, true);
        if (chunk != NULL)
            rocks_chunk_settle(rocks, chunk, false);
    }
    return status;
}

/* ---- reading ---- */

/* The part of a piece that a read wants. */
struct piece_read {
    uint32_t piece;
    uint32_t version; /* VERSION_NONE: nothing of it */
    uint16_t wanted;  /* bits of blocks */
    uint16_t bad;     /* the same */
    uint32_t sums[PIECE_BLOCKS];
};

struct read_call {
    struct database_call call;
    uint64_t inode;
    uint64_t index;
    char *memory; /* of block `first`; NULL: only verified */
    uint32_t first;
    struct ranges zeros;
    uint32_t count;
    struct piece_read pieces[];
};

static int read_piece(const struct read_call *read, rocksdb_t *rocksdb, struct piece_read *piece)
{
    struct fetched fetched;
    struct piece_name name = {read->inode, read->index, piece->piece, piece->version};
    int status = fetch(rocksdb, &name, &fetched);
    for (uint32_t block = 0; status == 0 && block < PIECE_BLOCKS; block++) {
        if ((piece->wanted >> block & 1) == 0)
            continue;
        const char *bytes = fetched_block(&fetched, block, piece->sums[block]);
        uint32_t at = (piece->piece << PIECE_SHIFT) + block - read->first;
        if (bytes == NULL)
            piece->bad |= (uint16_t)(1u << block);
        else if (read->memory != NULL)
            memcpy(read->memory + ((size_t)at << PAGE_SHIFT), bytes, PAGE_BYTES);
    }
    fetched_free(&fetched);
    return status;
}

static int read_work(struct database_call *call, rocksdb_t *rocksdb)
{
    struct read_call *read = container_of(call, struct read_call, call);
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < read->count; i++)
        if (read->pieces[i].version != VERSION_NONE)
            status = read_piece(read, rocksdb, &read->pieces[i]);
    return status;
}

/* A read of blocks [first, end) as the chunk is now; *wanted: those that hold data. */
static struct read_call *read_plan(const struct rocks *rocks, const struct rocks_chunk *chunk, uint32_t first,
                                   uint32_t end, uint32_t *wanted)
{
    uint32_t piece = first >> PIECE_SHIFT, pieces = pieces_of(end) - piece;
    struct read_call *read = calloc(1, sizeof(*read) + pieces * sizeof(read->pieces[0]));
    if (read == NULL || ranges_reserve(&read->zeros, chunk->zeros.count) != 0) {
        free(read);
        return NULL;
    }
    read->call.work = read_work;
    read->call.measured = METRICS_DISK_READ;
    read->inode = chunk->entry.node.inode;
    read->index = chunk->entry.node.index;
    read->first = first;
    read->count = pieces;
    if (chunk->zeros.count > 0)
        memcpy(read->zeros.items, chunk->zeros.items, chunk->zeros.count * sizeof(struct range));
    read->zeros.count = chunk->zeros.count;
    *wanted = 0;
    for (uint32_t at = first; at < end; at++) {
        struct piece_read *part = &read->pieces[(at >> PIECE_SHIFT) - piece];
        struct block block = block_map_get(&chunk->map, at);
        part->piece = at >> PIECE_SHIFT;
        if (!block_has_page(block))
            continue;
        part->version = block.page >> PIECE_SHIFT;
        part->wanted |= (uint16_t)(1u << (at & (PIECE_BLOCKS - 1)));
        part->sums[at & (PIECE_BLOCKS - 1)] = rocks->checksum ? block.sum : BLOCK_NO_SUM;
        ++*wanted;
    }
    read->call.bytes = *wanted << PAGE_SHIFT;
    return read;
}

static void read_free(struct read_call *read)
{
    ranges_free(&read->zeros);
    free(read);
}

/* Logs what is wrong with the chunk's blocks: how many, and the first of them. */
static uint32_t read_damage(const struct read_call *read, uint32_t *first)
{
    uint32_t blocks = 0;
    for (uint32_t i = 0; i < read->count; i++)
        for (uint32_t block = 0; block < PIECE_BLOCKS; block++)
            if ((read->pieces[i].bad >> block & 1) != 0) {
                uint32_t at = (read->pieces[i].piece << PIECE_SHIFT) + block;
                damaged(read->inode, read->index, at);
                if (blocks++ == 0)
                    *first = at;
            }
    return blocks;
}

/* Fills memory with the blocks. */
static int read_fill(struct rocks *rocks, const struct rocks_chunk *chunk, uint32_t first, uint32_t end,
                     char *memory)
{
    uint32_t wanted, worst;
    struct read_call *read = read_plan(rocks, chunk, first, end, &wanted);
    if (read == NULL)
        return -ENOMEM;
    read->memory = memory;
    for (uint32_t at = first; wanted < end - first && at < end; at++)
        if (!block_has_page(block_map_get(&chunk->map, at)))
            memset(memory + ((size_t)(at - first) << PAGE_SHIFT), 0, PAGE_BYTES);
    int status = wanted == 0 ? 0 : database_run(rocks->database, &read->call);
    if (status == 0 && read_damage(read, &worst) > 0)
        status = -EIO;
    struct range part;
    uint32_t start = first << PAGE_SHIFT;
    for (uint32_t at = start; ranges_first(&read->zeros, at, end << PAGE_SHIFT, &part); at = part.end)
        memset(memory + (part.start - start), 0, part.end - part.start);
    read_free(read);
    return status;
}

static uint32_t length_there(struct rocks *rocks, const struct store_io *io, struct rocks_chunk **chunk)
{
    *chunk = rocks_chunk_find(rocks, io->inode, io->index);
    if (*chunk == NULL || io->offset >= (*chunk)->length)
        return 0;
    return smaller(io->length, (*chunk)->length - io->offset);
}

int rocks_read_begin(struct store *store, struct store_io *io)
{
    struct rocks *rocks = rocks_of(store);
    struct rocks_chunk *chunk;
    io->engine = NULL;
    io->count = 0;
    io->length = length_there(rocks, io, &chunk);
    if (io->length == 0)
        return 0;
    struct staging_memory *memory = malloc(sizeof(*memory));
    if (memory == NULL)
        return -ENOMEM;
    uint32_t first = io->offset >> PAGE_SHIFT;
    uint64_t most = (uint64_t)(pages_of(io->offset + io->length) - first) << PAGE_SHIFT;
    int status = staging_take(rocks->staging, most, false, memory);
    if (status != 0) {
        free(memory);
        return status;
    }
    io->length = length_there(rocks, io, &chunk); /* as it is now */
    if (io->length > 0)
        status = read_fill(rocks, chunk, first, pages_of(io->offset + io->length), memory->bytes);
    if (status != 0 || io->length == 0) {
        staging_give(rocks->staging, memory, false);
        free(memory);
        return status;
    }
    io->engine = memory;
    io->vector[0] = (struct iovec){memory->bytes + (io->offset & (PAGE_BYTES - 1)), io->length};
    io->count = 1;
    return 0;
}

void rocks_read_end(struct store *store, struct store_io *io)
{
    struct staging_memory *memory = io->engine;
    if (memory == NULL)
        return;
    staging_give(rocks_of(store)->staging, memory, false);
    free(memory);
    io->engine = NULL;
}

int rocks_scrub(struct store *store, uint64_t inode, uint64_t index, struct store_scrub *found)
{
    struct rocks *rocks = rocks_of(store);
    *found = (struct store_scrub){0};
    struct rocks_chunk *chunk = rocks_chunk_find(rocks, inode, index);
    if (chunk == NULL)
        return -ENOENT;
    uint32_t wanted, first = 0;
    struct read_call *read = read_plan(rocks, chunk, 0, chunk->map.count, &wanted);
    if (read == NULL)
        return -ENOMEM;
    int status = wanted == 0 ? 0 : database_run(rocks->database, &read->call);
    if (status == 0) {
        found->bytes = (uint64_t)wanted << PAGE_SHIFT;
        found->blocks = read_damage(read, &first);
        found->offset = first << PAGE_SHIFT;
    }
    read_free(read);
    return status;
}

/* A piece is read in two steps: the header says how long the record must be, to the byte, and then each part
 * is checked against the others. What passed here is taken as it is by the engine, which only checks that the
 * device has such blocks and that no two chunks claim the same. */
#include "store/uring_format.h"

#include <errno.h>
#include <string.h>

#include "base/crc32c.h"

uint32_t uring_checksum(const void *block, const void *next)
{
    uint32_t checksum = crc32c_block(block, next);
    return checksum == URING_NO_CHECKSUM ? ~URING_NO_CHECKSUM : checksum;
}

int uring_store_record_read(const void *value, size_t length, struct uring_store_record *record)
{
    if (length != sizeof(*record))
        return -EBADMSG;
    memcpy(record, value, sizeof(*record));
    if (record->format != URING_FORMAT)
        return -EPROTONOSUPPORT;
    uint32_t blocks = record->segment_blocks;
    return blocks == 0 || blocks > URING_SEGMENT_BLOCKS_MAX || (blocks & (blocks - 1)) != 0 ? -EBADMSG : 0;
}

int uring_key_read(const void *key, size_t length, uint64_t *inode, uint64_t *index, uint32_t *piece)
{
    struct uring_piece_key read = {.piece = URING_PIECE_NONE};
    if (length != sizeof(struct uring_chunk_key) && length != sizeof(struct uring_piece_key))
        return -EBADMSG;
    memcpy(&read, key, length);
    if (read.inode == 0 || (length == sizeof(read) && read.piece >= URING_CHUNK_BLOCKS >> URING_PIECE_SHIFT))
        return -EBADMSG;
    *inode = read.inode;
    *index = read.index;
    *piece = read.piece;
    return 0;
}

int uring_chunk_record_read(const void *value, size_t length, uint32_t *chunk_length)
{
    struct uring_chunk_record record;
    if (length != sizeof(record))
        return -EBADMSG;
    memcpy(&record, value, sizeof(record));
    if (record.length > URING_CHUNK_BLOCKS << PAGE_SHIFT || record.reserved != 0)
        return -EBADMSG;
    *chunk_length = record.length;
    return 0;
}

/* ---- pieces ---- */

/* The header of a piece's record. */
static struct uring_piece_record piece_measure(const struct uring_block *blocks, uint32_t count,
                                               const struct ranges *zeros, uint32_t piece)
{
    struct uring_piece_record record = {0};
    uint32_t next = URING_HOLE;
    for (uint32_t i = 0; i < count && i < URING_PIECE_BLOCKS; i++) {
        bool stored = uring_block_stored(blocks[i]);
        record.stored |= (uint32_t)stored << i;
        record.reserved |= (uint32_t)(blocks[i].where == URING_RESERVED) << i;
        record.runs += stored && blocks[i].where != next;
        if (stored)
            next = blocks[i].where + 1;
    }
    struct range part;
    uint32_t end = (piece + 1) * URING_PIECE_BYTES;
    for (uint32_t at = piece * URING_PIECE_BYTES; ranges_first(zeros, at, end, &part); at = part.end)
        record.zeros++;
    return record;
}

static size_t piece_size(const struct uring_piece_record *record)
{
    return sizeof(*record) + (size_t)record->runs * sizeof(struct uring_run) +
           (size_t)__builtin_popcount(record->stored) * sizeof(uint32_t) +
           (size_t)record->zeros * sizeof(struct uring_zeros);
}

size_t uring_piece_record_size(const struct uring_block *blocks, uint32_t count, const struct ranges *zeros,
                               uint32_t piece)
{
    struct uring_piece_record record = piece_measure(blocks, count, zeros, piece);
    return (record.stored | record.reserved) == 0 ? 0 : piece_size(&record);
}

static char *put(char *at, const void *bytes, size_t length)
{
    memcpy(at, bytes, length);
    return at + length;
}

void uring_piece_record_write(const struct uring_block *blocks, uint32_t count, const struct ranges *zeros,
                              uint32_t piece, void *value)
{
    struct uring_piece_record record = piece_measure(blocks, count, zeros, piece);
    char *at = put(value, &record, sizeof(record));
    struct uring_run run = {0};
    for (uint32_t i = 0; i < count && i < URING_PIECE_BLOCKS; i++) {
        if (!uring_block_stored(blocks[i]))
            continue;
        bool adjoins = run.count > 0 && run.first + run.count == blocks[i].where;
        if (!adjoins && run.count > 0)
            at = put(at, &run, sizeof(run));
        run = adjoins ? (struct uring_run){run.first, run.count + 1} : (struct uring_run){blocks[i].where, 1};
    }
    if (run.count > 0)
        at = put(at, &run, sizeof(run));
    for (uint32_t i = 0; i < count && i < URING_PIECE_BLOCKS; i++)
        if (uring_block_stored(blocks[i]))
            at = put(at, &blocks[i].checksum, sizeof(uint32_t));
    struct range part;
    uint32_t start = piece * URING_PIECE_BYTES;
    for (uint32_t from = start; ranges_first(zeros, from, start + URING_PIECE_BYTES, &part);
         from = part.end) {
        struct uring_zeros range = {part.start - start, part.end - start};
        at = put(at, &range, sizeof(range));
    }
}

/* Gives the stored blocks, in order, their places on the device. */
static int read_runs(const char *at, const struct uring_piece_record *record,
                     struct uring_block blocks[URING_PIECE_BLOCKS])
{
    uint32_t left = record->stored;
    for (uint32_t i = 0; i < record->runs; i++) {
        struct uring_run run;
        memcpy(&run, at + i * sizeof(run), sizeof(run));
        if (run.count == 0 || run.first >= URING_DEVICE_BLOCKS_MAX ||
            run.count > URING_DEVICE_BLOCKS_MAX - run.first)
            return -EBADMSG;
        for (; run.count > 0; run.count--) {
            if (left == 0)
                return -EBADMSG;
            blocks[__builtin_ctz(left)].where = run.first++;
            left &= left - 1;
        }
    }
    return left == 0 ? 0 : -EBADMSG;
}

/* Zeros cover bytes of stored blocks only. */
static int check_zeros(const char *at, const struct uring_piece_record *record)
{
    uint32_t end = 0;
    for (uint32_t i = 0; i < record->zeros; i++) {
        struct uring_zeros range;
        memcpy(&range, at + i * sizeof(range), sizeof(range));
        if ((i > 0 && range.start <= end) || range.end <= range.start || range.end > URING_PIECE_BYTES)
            return -EBADMSG;
        end = range.end;
        for (uint32_t block = range.start >> PAGE_SHIFT; block <= (end - 1) >> PAGE_SHIFT; block++)
            if ((record->stored & 1u << block) == 0)
                return -EBADMSG;
    }
    return 0;
}

int uring_piece_record_read(const void *value, size_t length, struct uring_block blocks[URING_PIECE_BLOCKS],
                            const void **zeros, uint32_t *zeros_count)
{
    struct uring_piece_record record;
    if (length < sizeof(record))
        return -EBADMSG;
    memcpy(&record, value, sizeof(record));
    if ((record.stored & record.reserved) != 0 || (record.stored | record.reserved) == 0 ||
        record.runs > URING_PIECE_BLOCKS || piece_size(&record) != length)
        return -EBADMSG;
    for (uint32_t i = 0; i < URING_PIECE_BLOCKS; i++)
        blocks[i] = (struct uring_block){(record.reserved & 1u << i) != 0 ? URING_RESERVED : URING_HOLE,
                                         URING_NO_CHECKSUM};
    const char *at = (const char *)value + sizeof(record);
    int status = read_runs(at, &record, blocks);
    if (status != 0)
        return status;
    at += record.runs * sizeof(struct uring_run);
    for (uint32_t left = record.stored; left != 0; left &= left - 1) {
        memcpy(&blocks[__builtin_ctz(left)].checksum, at, sizeof(uint32_t));
        at += sizeof(uint32_t);
    }
    *zeros = at;
    *zeros_count = record.zeros;
    return check_zeros(at, &record);
}

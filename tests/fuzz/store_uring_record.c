/* Any bytes as a key and a value from the journal: refused, or a record that says the same again when it is
 * written and read once more. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/uring_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void check_status(int status)
{
    if (status != 0 && status != -EBADMSG && status != -EPROTONOSUPPORT)
        abort();
}

static void check_piece(const uint8_t *value, size_t length)
{
    struct uring_block blocks[URING_PIECE_BLOCKS], again[URING_PIECE_BLOCKS];
    const void *zeros;
    uint32_t count;
    int status = uring_piece_record_read(value, length, blocks, &zeros, &count);
    check_status(status);
    if (status != 0)
        return;
    struct ranges ranges = {0};
    const uint32_t piece = 3;
    if (ranges_reserve(&ranges, count + 1) != 0)
        return;
    for (uint32_t i = 0; i < count; i++) {
        struct uring_zeros range;
        memcpy(&range, (const uint8_t *)zeros + i * sizeof(range), sizeof(range));
        ranges_add(&ranges, piece * URING_PIECE_BYTES + range.start, piece * URING_PIECE_BYTES + range.end);
    }
    size_t size = uring_piece_record_size(blocks, URING_PIECE_BLOCKS, &ranges, piece);
    if (ranges.count != count || size == 0 || size > length)
        abort();
    void *written = malloc(size);
    if (written != NULL) {
        uring_piece_record_write(blocks, URING_PIECE_BLOCKS, &ranges, piece, written);
        uint32_t count_again;
        if (uring_piece_record_read(written, size, again, &zeros, &count_again) != 0 ||
            count_again != count || memcmp(blocks, again, sizeof(blocks)) != 0)
            abort();
    }
    free(written);
    ranges_free(&ranges);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    if (length == 0)
        return 0;
    size_t key_length = bytes[0] % 32;
    if (key_length > length - 1)
        return 0;
    uint64_t inode, index;
    uint32_t piece, chunk_length;
    int status = uring_key_read(bytes + 1, key_length, &inode, &index, &piece);
    check_status(status);
    if (status == 0 &&
        (inode == 0 || (piece != URING_PIECE_NONE && piece >= URING_CHUNK_BLOCKS >> URING_PIECE_SHIFT)))
        abort();
    const uint8_t *value = bytes + 1 + key_length;
    length -= 1 + key_length;
    struct uring_store_record store;
    check_status(uring_store_record_read(value, length, &store));
    status = uring_chunk_record_read(value, length, &chunk_length);
    check_status(status);
    if (status == 0 && chunk_length > URING_CHUNK_BLOCKS << PAGE_SHIFT)
        abort();
    check_piece(value, length);
    return 0;
}

/* Any bytes as a record in a ring: within the ring and the regions, or refused. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/shm_ring.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static uint8_t ring[SHM_RING_BYTES];
    static const uint64_t regions[SHM_REGIONS_MAX] = {1 << 20, 0, UINT64_MAX};
    uint32_t line, mark;
    struct shm_record record;
    if (length < sizeof(line) + sizeof(mark))
        return 0;
    memcpy(&line, bytes, sizeof(line));
    uint32_t at = line % (SHM_RING_BYTES / SHM_LINE) * SHM_LINE;
    size_t put = length - sizeof(line) < SHM_RING_BYTES - at ? length - sizeof(line) : SHM_RING_BYTES - at;
    memset(ring, 0, sizeof(ring));
    memcpy(ring + at, bytes + sizeof(line), put);
    memcpy(&mark, ring + at, sizeof(mark));
    int status = shm_record_read(mark, at, &record);
    struct shm_record small;
    bool is_small = status == 0 && record.kind == SHM_MESSAGE && record.amount == 0;
    if (shm_record_small(mark, at, &small) != is_small)
        abort();
    if (is_small && (small.kind != record.kind || small.header_length != record.header_length ||
                     small.amount != 0 || small.bytes != record.bytes))
        abort();
    if (status != 0 && status != -EPROTO)
        abort();
    if (status != 0)
        return 0;
    if (record.bytes == 0 || record.bytes % SHM_LINE != 0 || record.bytes > SHM_RING_BYTES - at ||
        record.header_length > NET_HEADER_MAX)
        abort();
    if (record.kind == SHM_SKIP)
        return 0;
    if (SHM_MARK_BYTES + record.header_length > record.bytes)
        abort();
    if (record.kind != SHM_BULK) {
        if (record.amount != 0 && record.body + record.amount > record.bytes)
            abort();
        return 0;
    }
    struct shm_transfer transfer;
    struct shm_piece pieces[SHM_PIECES_MAX];
    status = shm_transfer_read(ring + at, &record, regions, &transfer, pieces);
    if (status != 0 && status != -EPROTO && status != -ENOENT)
        abort();
    uint64_t sum = 0;
    for (uint32_t i = 0; i < record.amount && status == 0; i++) {
        sum += pieces[i].length;
        if (pieces[i].region != 0 && (pieces[i].region > SHM_REGIONS_MAX ||
                                      pieces[i].address + pieces[i].length > regions[pieces[i].region - 1]))
            abort();
    }
    if (status == 0 && (transfer.slot >= SHM_SLOTS || (record.amount != 0 && sum != transfer.length)))
        abort();
    return 0;
}

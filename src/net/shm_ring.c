/* Records of a ring: the one place that checks what the other side wrote. */
#include "net/shm_ring.h"

#include <errno.h>
#include <string.h>

#define KIND_MASK 7u
#define HEADER_MASK 0x7ffu

int shm_record_read(uint32_t mark, uint32_t at, struct shm_record *record)
{
    uint32_t kind = mark & KIND_MASK;
    uint32_t header_length = mark >> SHM_MARK_HEADER_SHIFT & HEADER_MASK;
    uint32_t amount = mark >> SHM_MARK_AMOUNT_SHIFT;
    bool valid = false;
    switch (kind) {
    case SHM_MESSAGE:
        valid = header_length != 0 && header_length <= NET_HEADER_MAX && amount <= SHM_INLINE_MAX;
        break;
    case SHM_BULK:
        valid = header_length != 0 && header_length <= NET_HEADER_MAX && amount <= SHM_PIECES_MAX;
        break;
    case SHM_FRAGMENT:
        valid = header_length == sizeof(struct shm_fragment) && amount != 0 && amount <= SHM_INLINE_MAX;
        break;
    case SHM_SKIP:
        valid = header_length == 0 && amount == 0 && at != 0;
        break;
    default:
        break;
    }
    if (!valid)
        return -EPROTO;
    *record = (struct shm_record){
        .kind = (enum shm_kind)kind,
        .header_length = header_length,
        .amount = amount,
        .body = shm_body((enum shm_kind)kind, header_length),
        .bytes = kind == SHM_SKIP ? SHM_RING_BYTES - at
                                  : shm_record_bytes((enum shm_kind)kind, header_length, amount),
    };
    return record->bytes <= SHM_RING_BYTES - at ? 0 : -EPROTO;
}

int shm_transfer_read(const uint8_t *record_begin, const struct shm_record *record,
                      const uint64_t region_lengths[SHM_REGIONS_MAX], struct shm_transfer *transfer,
                      struct shm_piece *pieces)
{
    memcpy(transfer, record_begin + record->body, sizeof(*transfer));
    if (record->amount != 0)
        memcpy(pieces, record_begin + record->body + sizeof(*transfer), record->amount * sizeof(*pieces));
    if (transfer->slot >= SHM_SLOTS || transfer->length == 0 || transfer->length > SHM_BULK_MAX)
        return -EPROTO;
    uint64_t length = 0;
    for (uint32_t i = 0; i < record->amount; i++) {
        const struct shm_piece *piece = &pieces[i];
        if (piece->length > transfer->length - length || piece->region > SHM_REGIONS_MAX)
            return -EPROTO;
        length += piece->length;
        if (piece->region == 0)
            continue;
        uint64_t region = region_lengths[piece->region - 1];
        if (region == 0)
            return -ENOENT;
        if (piece->address > region || piece->length > region - piece->address)
            return -EPROTO;
    }
    return record->amount == 0 || length == transfer->length ? 0 : -EPROTO;
}

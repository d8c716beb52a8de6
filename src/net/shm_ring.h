/* The memory that one shm connection is made of, and the records in it. Internal to net/.
 *
 * A segment belongs to one connection and has one writer of records, the sender, and one reader, the
 * receiver; each may be hostile or die at any instruction without harm to anybody but the other. Whatever the
 * other side wrote is copied once, then checked, then used. */
#pragma once

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/net.h"

#define SHM_LINE 64u
#define SHM_RING_BYTES (64u << 10)
#define SHM_LINES (SHM_RING_BYTES / SHM_LINE)
#define SHM_PUBLISH_BYTES (SHM_RING_BYTES / 4) /* how far the receiver reads before it says so */
#define SHM_SLOTS 64u                          /* bulk transfers under way of one connection */
#define SHM_INLINE_MAX (8u << 10)              /* bulk that travels in the ring */
#define SHM_PIECES_MAX 32u                     /* of a bulk that the receiver fetches itself */
#define SHM_REGIONS_MAX 16u
#define SHM_PATIENCE_PER_BYTE_DIVISOR 4 /* bulk is expected to move at 4 bytes a nanosecond at least */
#define SHM_BULK_MAX (UINT64_C(1) << 40)
#define SHM_SEGMENT_MAGIC 0x32534642u /* "BFS2" */

/* What the receiver does while it does not look at a ring. */
enum shm_armed {
    SHM_POLLING = 0,
    SHM_ARMED = 1, /* a record needs a byte on the socket to be noticed */
};

/* Written by the receiver in a transfer's slot. */
enum shm_slot {
    SHM_SLOT_BUSY = 0,
    SHM_SLOT_DONE = 1, /* fetched or not wanted: the sender may reuse the memory */
    SHM_SLOT_SEND = 2, /* cannot be fetched: send the bulk through the ring */
};

struct shm_segment {
    uint32_t magic; /* constant */

    /* the receiver's */
    alignas(SHM_LINE) _Atomic uint32_t armed; /* enum shm_armed */
    _Atomic uint64_t consumed;                /* bytes of the ring read, ever; published now and then */

    /* the sender's */
    alignas(SHM_LINE) _Atomic uint32_t waiting; /* it sleeps: a slot or consumed that changes needs a byte */
    _Atomic uint32_t closed;                    /* memory named in records may have been reused */

    alignas(SHM_LINE) _Atomic uint32_t slots[SHM_SLOTS]; /* the receiver's; enum shm_slot */

    /* The sender's: for the record that begins in that line. */
    alignas(4096) _Atomic uint64_t postscripts[SHM_LINES];

    alignas(4096) uint8_t ring[SHM_RING_BYTES];
};
static_assert(sizeof(struct shm_segment) == 4096 + SHM_LINES * sizeof(uint64_t) + SHM_RING_BYTES,
              "shared layout");

/* Records begin at multiples of SHM_LINE, are contiguous, and follow each other. The first four bytes are the
 * mark: 0 as long as the record is not there, otherwise what it is and how long. A record's header follows at
 * once; its bulk begins on the next line, a list of pieces on the next multiple of 8. */
enum shm_kind {
    SHM_MESSAGE = 1,  /* header, bulk */
    SHM_BULK = 2,     /* header, struct shm_transfer, pieces: the receiver fetches */
    SHM_FRAGMENT = 3, /* struct shm_fragment as header, bytes of a bulk */
    SHM_SKIP = 4,     /* the rest of the ring is not used */
};

struct shm_transfer {
    uint64_t length; /* of the bulk */
    uint32_t slot;
    uint32_t reserved;
};

struct shm_piece {
    uint64_t address; /* in the sender's memory, or offset in the region */
    uint64_t length;
    uint32_t region; /* 0: none that both map */
    uint32_t reserved;
};

struct shm_fragment {
    uint32_t slot;
    uint32_t reserved;
    uint64_t offset; /* in the bulk */
};

static_assert(sizeof(struct shm_transfer) == 16 && sizeof(struct shm_piece) == 24 &&
                  sizeof(struct shm_fragment) == 16,
              "shared layout");

#define SHM_MARK_BYTES 4u
#define SHM_MARK_HEADER_SHIFT 3
#define SHM_MARK_AMOUNT_SHIFT 14

/* amount: bytes of bulk in the record, or number of pieces. */
static inline uint32_t shm_mark(enum shm_kind kind, uint32_t header_length, uint32_t amount)
{
    return (uint32_t)kind | header_length << SHM_MARK_HEADER_SHIFT | amount << SHM_MARK_AMOUNT_SHIFT;
}

/* A record as it lies in the ring, its lengths checked. */
struct shm_record {
    enum shm_kind kind;
    uint32_t header_length;
    uint32_t amount;
    uint32_t body;  /* offset of bulk or transfer from the record's begin */
    uint32_t bytes; /* of the record, in whole lines */
};

static inline uint32_t shm_lines(uint32_t bytes)
{
    return (bytes + SHM_LINE - 1) & ~(SHM_LINE - 1);
}

static inline uint32_t shm_body(enum shm_kind kind, uint32_t header_length)
{
    uint32_t end = SHM_MARK_BYTES + header_length;
    return kind == SHM_BULK ? (end + 7) & ~7u : shm_lines(end);
}

/* Bytes of a record, in whole lines. */
static inline uint32_t shm_record_bytes(enum shm_kind kind, uint32_t header_length, uint32_t amount)
{
    if (amount == 0 && kind != SHM_BULK)
        return shm_lines(SHM_MARK_BYTES + header_length);
    uint32_t body = shm_body(kind, header_length);
    if (kind == SHM_BULK)
        amount = (uint32_t)sizeof(struct shm_transfer) + amount * (uint32_t)sizeof(struct shm_piece);
    return shm_lines(body + amount);
}

/* Reads what mark says about a record that begins `at` bytes into the ring. Returns 0 or -EPROTO. */
int shm_record_read(uint32_t mark, uint32_t at, struct shm_record *record);

/* The same for what nearly all records are, messages without bulk; false: it is none, or not a valid one. */
static inline bool shm_record_small(uint32_t mark, uint32_t at, struct shm_record *record)
{
    uint32_t header_length = (mark - SHM_MESSAGE) >> SHM_MARK_HEADER_SHIFT;
    uint32_t bytes = shm_lines(SHM_MARK_BYTES + header_length);
    if ((mark & ((1u << SHM_MARK_HEADER_SHIFT) - 1)) != SHM_MESSAGE || header_length - 1 >= NET_HEADER_MAX ||
        bytes > SHM_RING_BYTES - at)
        return false;
    record->kind = SHM_MESSAGE;
    record->header_length = header_length;
    record->amount = 0;
    record->body = bytes;
    record->bytes = bytes;
    return true;
}

/* Copies and checks the transfer of a SHM_BULK record. pieces has room for SHM_PIECES_MAX; region_lengths[i]
 * is that of region i + 1, 0: not known. Returns 0, -ENOENT (a region is not known: read the socket first) or
 * -EPROTO. */
int shm_transfer_read(const uint8_t *record_begin, const struct shm_record *record,
                      const uint64_t region_lengths[SHM_REGIONS_MAX], struct shm_transfer *transfer,
                      struct shm_piece *pieces);

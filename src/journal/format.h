/* What the journal's files look like. All integers are little-endian.
 *
 * In a store directory:
 *   journal-<sequence>        log: groups of records, one after the other
 *   snapshot-<sequence>       records of all objects, taken since the log of that sequence began
 *   journal-<sequence>.tmp    being made; whatever has that ending is removed at the next start
 *   snapshot-<sequence>.tmp
 * Sequences are decimal, from 1. Recovery reads the newest snapshot and the logs from its sequence on, or, if
 * there is none, all logs from the first. The newest log may be one that has been prepared and not been used.
 *
 * A file is made of blocks of JOURNAL_BLOCK bytes. The first holds the file's header, the others groups: a
 * group header, records, and zeros up to the next block. Nothing marks the end of a log: its blocks were
 * written beforehand, with zeros or by the file's earlier life under another sequence. So each life has a
 * random number of its own, its salt, which its groups repeat: a group with another salt or sequence is not
 * there. A log's groups count on from those of the log before. A snapshot's count from 1, and the last is an
 * end mark.
 *
 * A record is a header, the key and the value, the latter two padded with zeros to 8 bytes. */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define JOURNAL_VERSION 1
#define JOURNAL_BLOCK 4096u

#define JOURNAL_LOG_NAME "journal-"
#define JOURNAL_SNAPSHOT_NAME "snapshot-"
#define JOURNAL_TEMPORARY ".tmp"

#define JOURNAL_FILE_MAGIC UINT64_C(0x4c4e524a53464e42) /* "BNFSJRNL" */
#define JOURNAL_GROUP_MAGIC UINT32_C(0x50524742)        /* "BGRP" */

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "on-disk integers are used in place");

enum journal_file_kind { JOURNAL_FILE_LOG = 1, JOURNAL_FILE_SNAPSHOT = 2 };

struct journal_file_header {
    uint64_t magic;
    uint32_t version;
    uint32_t checksum; /* CRC32C of the header, with zero here */
    uint32_t kind;
    uint32_t reserved; /* zero */
    uint64_t sequence; /* as in the name */
    uint64_t salt;
    uint64_t group; /* snapshot: the last group before the log of its sequence; log: zero */
};
static_assert(sizeof(struct journal_file_header) == 48, "on disk");
static_assert(offsetof(struct journal_file_header, sequence) == 24, "on disk");

enum journal_group_kind { JOURNAL_GROUP_RECORDS = 1, JOURNAL_GROUP_END = 2 };

struct journal_group_header {
    uint32_t magic;
    uint32_t checksum; /* CRC32C of the header, with zero here, and the records */
    uint16_t version;
    uint16_t kind;
    uint32_t records;
    uint64_t length;      /* bytes of records */
    uint64_t sequence;    /* of the group */
    uint64_t file;        /* sequence of the file that it was written to */
    uint64_t salt;        /* of that file */
    uint64_t reserved[2]; /* zero */
};
static_assert(sizeof(struct journal_group_header) == 64, "on disk");
static_assert(offsetof(struct journal_group_header, length) == 16, "on disk");

/* What an end mark holds in place of records. */
struct journal_end {
    uint64_t records;
    uint64_t groups;
};
static_assert(sizeof(struct journal_end) == 16, "on disk");

struct journal_record_header {
    uint8_t kind;
    uint8_t removed; /* 0 or 1 */
    uint16_t partition;
    uint32_t lengths; /* of the value: the lower 21 bits; of the key: the next 10 */
};
static_assert(sizeof(struct journal_record_header) == 8, "on disk");
#define JOURNAL_VALUE_BITS 21
#define JOURNAL_KEY_BITS 10

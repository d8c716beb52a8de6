/* Groups and headers of journal files, in memory: where they are written and where they are checked. Internal
 * to journal/. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "journal/format.h"
#include "journal/journal.h"

/* Where a group belongs: a group that says otherwise is not there. */
struct journal_place {
    uint64_t file;
    uint64_t salt;
};

/* ---- writing ---- */

/* A group that grows by records. There is always room for one more of the largest. */
struct journal_group {
    uint8_t *bytes; /* page-aligned; a header, then records */
    size_t length;
    size_t capacity;
    uint32_t records;
};

int journal_group_create(struct journal_group *group); /* -ENOMEM */
void journal_group_destroy(struct journal_group *group);
/* Empties it. A large one gives most of its memory back. */
void journal_group_clear(struct journal_group *group);
/* The records, for journal_group_take, and their bytes. */
const void *journal_group_records(const struct journal_group *group);
size_t journal_group_content(const struct journal_group *group);
/* Appends a record (its value is not looked at) and sets *value: where value_length bytes are to be written,
 * 8-byte aligned, valid until the next call. -ENOMEM: the group is as it was, and *value is memory that may
 * be written and means nothing. */
int journal_group_append(struct journal_group *group, const struct journal_record *record, void **value);
/* Fills the header and the end of the last block. Returns the bytes to be written, whole blocks. */
size_t journal_group_seal(struct journal_group *group, enum journal_group_kind kind,
                          const struct journal_place *place, uint64_t sequence);
/* Makes the group an end mark, in place of what it holds. */
void journal_group_end(struct journal_group *group, const struct journal_end *end);

/* A file's first block, JOURNAL_BLOCK bytes. */
void journal_file_header_encode(const struct journal_file_header *header, void *block);

/* ---- reading ---- */

/* 0; -EBADMSG; -EPROTONOSUPPORT: of another version. kind and sequence are as the file's name says. */
int journal_file_header_decode(const void *block, enum journal_file_kind kind, uint64_t sequence,
                               struct journal_file_header *header);

/* The group that begins with these sizeof(struct journal_group_header) bytes: 0 and its size in blocks as
 * bytes; -ENOENT: none begins here, or none that would end within the `available` bytes of the file. Whether
 * it is whole is not known yet. */
int journal_group_peek(const void *bytes, uint64_t available, const struct journal_place *place,
                       size_t *size);
/* A group of that size. 0 and its header; -EBADMSG: the checksum does not match. */
int journal_group_verify(const void *bytes, size_t size, struct journal_group_header *header);
/* The next of the records, from *at = 0 on. 1; 0: no more; -EBADMSG. */
int journal_group_take(const void *records, size_t length, size_t *at, struct journal_record *record);
/* What an end mark says. 0 or -EBADMSG. */
int journal_group_end_read(const void *bytes, const struct journal_group_header *header,
                           struct journal_end *end);

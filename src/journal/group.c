/* The one place where groups are encoded and decoded.
 *
 * A group is built where it will be written from: a page-aligned mapping that begins with room for the header
 * and grows by moving pages, not bytes. Records follow one another without gaps that are not zeros, so the
 * bytes of a group are a function of its records.
 *
 * Decoding trusts nothing: what it reads may be an earlier life of the file, half a group, or damage. First
 * the header's own fields decide whether a group of this file begins here at all (peek), then the checksum,
 * over all of it, whether it is whole (verify). Records are checked one by one all the same: a checksum says
 * that they are what was written, not that what was written made sense. */
#include "journal/group.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/crc32c.h"

enum {
    HEADER_BYTES = sizeof(struct journal_group_header),
    RECORD_BYTES = sizeof(struct journal_record_header)
};

#define VALUE_MASK ((UINT32_C(1) << JOURNAL_VALUE_BITS) - 1)
#define KEY_MASK ((UINT32_C(1) << JOURNAL_KEY_BITS) - 1)
static_assert(JOURNAL_VALUE_MAX <= VALUE_MASK && JOURNAL_KEY_MAX <= KEY_MASK, "lengths fit their bits");

/* The largest record, and what a group keeps of its memory when it is cleared. */
#define RECORD_MAX ((size_t)RECORD_BYTES + JOURNAL_KEY_MAX + JOURNAL_VALUE_MAX)
#define CAPACITY_MINIMUM ((size_t)2 << 20)
#define CAPACITY_KEPT ((size_t)8 << 20)
static_assert(CAPACITY_MINIMUM >= HEADER_BYTES + RECORD_MAX + JOURNAL_BLOCK, "there is room for a record");

static size_t round_up(size_t length, size_t unit)
{
    return (length + unit - 1) / unit * unit;
}

/* ---- writing ---- */

int journal_group_create(struct journal_group *group)
{
    void *bytes = mmap(NULL, CAPACITY_MINIMUM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED)
        return -ENOMEM;
    *group = (struct journal_group){.bytes = bytes, .length = HEADER_BYTES, .capacity = CAPACITY_MINIMUM};
    return 0;
}

void journal_group_destroy(struct journal_group *group)
{
    if (group->bytes != NULL)
        munmap(group->bytes, group->capacity);
    *group = (struct journal_group){0};
}

static int group_resize(struct journal_group *group, size_t capacity)
{
    void *bytes = mremap(group->bytes, group->capacity, capacity, MREMAP_MAYMOVE);
    if (bytes == MAP_FAILED)
        return -ENOMEM;
    group->bytes = bytes;
    group->capacity = capacity;
    return 0;
}

void journal_group_clear(struct journal_group *group)
{
    if (group->capacity > CAPACITY_KEPT)
        group_resize(group, CAPACITY_KEPT); /* shrinks in place */
    group->length = HEADER_BYTES;
    group->records = 0;
}

const void *journal_group_records(const struct journal_group *group)
{
    return group->bytes + HEADER_BYTES;
}

size_t journal_group_content(const struct journal_group *group)
{
    return group->length - HEADER_BYTES;
}

/* Copies a key to where it is padded with zeros. Returns what follows. */
static uint8_t *put_padded(uint8_t *at, const void *bytes, size_t length)
{
    size_t padded = round_up(length, 8);
    if (padded > 0)
        memset(at + padded - 8, 0, 8);
    if (length > 0)
        memcpy(at, bytes, length);
    return at + padded;
}

int journal_group_append(struct journal_group *group, const struct journal_record *record, void **value)
{
    assert(record->key_length <= JOURNAL_KEY_MAX && record->value_length <= JOURNAL_VALUE_MAX);
    assert(record->kind != 0 && (!record->removed || record->value_length == 0));
    size_t length = RECORD_BYTES + round_up(record->key_length, 8) + round_up(record->value_length, 8);
    /* The last block of the group is padded in place, so capacity counts whole blocks. */
    if (group->length + length > group->capacity - JOURNAL_BLOCK) {
        if (group->records == UINT32_MAX || group_resize(group, 2 * group->capacity) != 0) {
            *value = group->bytes + HEADER_BYTES;
            return -ENOMEM;
        }
    }
    uint8_t *at = group->bytes + group->length;
    const struct journal_record_header header = {
        .kind = record->kind,
        .removed = record->removed,
        .partition = record->partition,
        .lengths = record->key_length << JOURNAL_VALUE_BITS | record->value_length,
    };
    memcpy(at, &header, sizeof(header));
    at = put_padded(at + sizeof(header), record->key, record->key_length);
    if (record->value_length > 0)
        memset(at + round_up(record->value_length, 8) - 8, 0, 8);
    *value = at;
    group->length += length;
    group->records++;
    return 0;
}

size_t journal_group_seal(struct journal_group *group, enum journal_group_kind kind,
                          const struct journal_place *place, uint64_t sequence)
{
    struct journal_group_header *header = (struct journal_group_header *)group->bytes;
    size_t size = round_up(group->length, JOURNAL_BLOCK);
    *header = (struct journal_group_header){
        .magic = JOURNAL_GROUP_MAGIC,
        .version = JOURNAL_VERSION,
        .kind = (uint16_t)kind,
        .records = group->records,
        .length = journal_group_content(group),
        .sequence = sequence,
        .file = place->file,
        .salt = place->salt,
    };
    header->checksum = crc32c(0, group->bytes, group->length);
    memset(group->bytes + group->length, 0, size - group->length);
    return size;
}

void journal_group_end(struct journal_group *group, const struct journal_end *end)
{
    memcpy(group->bytes + HEADER_BYTES, end, sizeof(*end));
    group->length = HEADER_BYTES + sizeof(*end);
    group->records = 0;
}

static uint32_t file_header_checksum(struct journal_file_header header)
{
    header.checksum = 0;
    return crc32c(0, &header, sizeof(header));
}

void journal_file_header_encode(const struct journal_file_header *header, void *block)
{
    struct journal_file_header written = *header;
    written.magic = JOURNAL_FILE_MAGIC;
    written.version = JOURNAL_VERSION;
    written.reserved = 0;
    written.checksum = file_header_checksum(written);
    memset(block, 0, JOURNAL_BLOCK);
    memcpy(block, &written, sizeof(written));
}

/* ---- reading ---- */

int journal_file_header_decode(const void *block, enum journal_file_kind kind, uint64_t sequence,
                               struct journal_file_header *header)
{
    struct journal_file_header read;
    memcpy(&read, block, sizeof(read));
    if (read.magic != JOURNAL_FILE_MAGIC)
        return -EBADMSG;
    if (read.version != JOURNAL_VERSION)
        return -EPROTONOSUPPORT;
    if (read.checksum != file_header_checksum(read) || read.kind != kind || read.sequence != sequence ||
        read.reserved != 0)
        return -EBADMSG;
    *header = read;
    return 0;
}

int journal_group_peek(const void *bytes, uint64_t available, const struct journal_place *place, size_t *size)
{
    struct journal_group_header header;
    memcpy(&header, bytes, sizeof(header));
    if (header.magic != JOURNAL_GROUP_MAGIC || header.file != place->file || header.salt != place->salt ||
        header.version != JOURNAL_VERSION || available < HEADER_BYTES ||
        header.length > available - HEADER_BYTES)
        return -ENOENT;
    uint64_t blocks = (HEADER_BYTES + header.length + JOURNAL_BLOCK - 1) / JOURNAL_BLOCK;
    if (blocks * JOURNAL_BLOCK > available)
        return -ENOENT;
    *size = (size_t)(blocks * JOURNAL_BLOCK);
    return 0;
}

int journal_group_verify(const void *bytes, size_t size, struct journal_group_header *header)
{
    struct journal_group_header read;
    memcpy(&read, bytes, sizeof(read));
    if (read.length > size - HEADER_BYTES)
        return -EBADMSG;
    uint32_t checksum = read.checksum;
    read.checksum = 0;
    uint32_t found = crc32c(0, &read, sizeof(read));
    if (crc32c(found, (const uint8_t *)bytes + sizeof(read), read.length) != checksum)
        return -EBADMSG;
    *header = read;
    return 0;
}

int journal_group_take(const void *records, size_t length, size_t *at, struct journal_record *record)
{
    size_t left = length - *at;
    if (left == 0)
        return 0;
    if (left < RECORD_BYTES)
        return -EBADMSG;
    const uint8_t *bytes = (const uint8_t *)records + *at;
    struct journal_record_header header;
    memcpy(&header, bytes, sizeof(header));
    uint32_t key_length = header.lengths >> JOURNAL_VALUE_BITS & KEY_MASK;
    uint32_t value_length = header.lengths & VALUE_MASK;
    size_t key_bytes = round_up(key_length, 8), value_bytes = round_up(value_length, 8);
    if (header.kind == 0 || header.removed > 1 || (header.removed && value_length != 0) ||
        header.lengths >> (JOURNAL_VALUE_BITS + JOURNAL_KEY_BITS) != 0 || key_length > JOURNAL_KEY_MAX ||
        value_length > JOURNAL_VALUE_MAX || key_bytes + value_bytes > left - RECORD_BYTES)
        return -EBADMSG;
    *record = (struct journal_record){
        .kind = header.kind,
        .removed = header.removed != 0,
        .partition = header.partition,
        .key_length = key_length,
        .value_length = value_length,
        .key = bytes + RECORD_BYTES,
        .value = header.removed ? NULL : bytes + RECORD_BYTES + key_bytes,
    };
    *at += RECORD_BYTES + key_bytes + value_bytes;
    return 1;
}

bool journal_group_next(const void *group, size_t length, size_t *at, struct journal_record *record)
{
    return journal_group_take(group, length, at, record) == 1;
}

int journal_group_end_read(const void *bytes, const struct journal_group_header *header,
                           struct journal_end *end)
{
    if (header->kind != JOURNAL_GROUP_END || header->length != sizeof(*end) || header->records != 0)
        return -EBADMSG;
    memcpy(end, (const uint8_t *)bytes + HEADER_BYTES, sizeof(*end));
    return 0;
}

/* Any bytes as a journal file, read as recovery reads it, and as the records of a group: refused, or records
 * that lie within the bytes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "journal/group.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void require(int condition)
{
    if (!condition)
        abort();
}

static void read_records(const uint8_t *bytes, size_t length)
{
    struct journal_record record;
    size_t at = 0;
    int status;
    while ((status = journal_group_take(bytes, length, &at, &record)) == 1) {
        const uint8_t *key = record.key;
        require(record.kind != 0 && at <= length && at % 8 == 0);
        require(key >= bytes && key + record.key_length <= bytes + at);
        if (record.removed) {
            require(record.value == NULL && record.value_length == 0);
            continue;
        }
        const uint8_t *value = record.value;
        require(value >= key + record.key_length && value + record.value_length <= bytes + at);
    }
    require(status == 0 ? at == length : status == -EBADMSG);
}

/* forge: groups get the checksum that fits, which no mutation would find. */
static void read_groups(uint8_t *file, size_t length, const struct journal_place *place, bool forge)
{
    for (size_t offset = JOURNAL_BLOCK; length - offset >= JOURNAL_BLOCK;) {
        struct journal_group_header header;
        struct journal_end end;
        uint8_t *bytes = file + offset;
        size_t size;
        if (journal_group_peek(bytes, length - offset, place, &size) != 0)
            return;
        require(size % JOURNAL_BLOCK == 0 && size > 0 && size <= length - offset);
        memcpy(&header, bytes, sizeof(header));
        if (forge) {
            header.checksum = 0;
            memcpy(bytes, &header, sizeof(header));
            header.checksum = crc32c(0, bytes, sizeof(header) + header.length);
            memcpy(bytes, &header, sizeof(header));
        }
        if (journal_group_verify(bytes, size, &header) != 0)
            return;
        require(header.length <= size - sizeof(header));
        int status = journal_group_end_read(bytes, &header, &end);
        require(status == -EBADMSG || header.kind == JOURNAL_GROUP_END);
        read_records(bytes + sizeof(header), header.length);
        offset += size;
    }
}

static void read_file(const uint8_t *bytes, size_t length)
{
    struct journal_file_header header;
    struct journal_place place;
    uint8_t *file = malloc(length);
    require(file != NULL);
    memcpy(file, bytes, length);
    memcpy(&header, file, sizeof(header));
    int status = journal_file_header_decode(file, header.kind, header.sequence, &header);
    require(status == 0 || status == -EBADMSG || status == -EPROTONOSUPPORT);
    place = (struct journal_place){.file = header.sequence, .salt = header.salt};
    read_groups(file, length, &place, false);
    read_groups(file, length, &place, true);
    free(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    read_records(bytes, length);
    if (length >= JOURNAL_BLOCK)
        read_file(bytes, length);
    return 0;
}

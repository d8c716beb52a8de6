/* Any records, as a damaged or forged journal might hold them, to the metadata engine: each is taken or
 * refused, and what came of it can be walked and recorded again.
 *
 * A record in the input: kind, flags (1: removal), key length, value length (u16), key, value. */
#include <errno.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "base/log.h"
#include "meta/meta.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static uint64_t space[1 << 14];

/* Where records go: nowhere. */
void *journal_append(struct journal *journal, enum journal_kind kind, uint32_t partition, const void *key,
                     uint32_t key_length, uint32_t value_length)
{
    (void)journal, (void)kind, (void)key;
    if (partition >= PARTITION_COUNT || key_length > JOURNAL_KEY_MAX || value_length > sizeof(space))
        abort();
    return space;
}

void journal_append_removal(struct journal *journal, enum journal_kind kind, uint32_t partition,
                            const void *key, uint32_t key_length)
{
    journal_append(journal, kind, partition, key, key_length, 0);
}

void journal_touch(struct journal *journal)
{
    (void)journal;
}

int journal_snapshot_add(struct journal_snapshot *snapshot, const struct journal_record *record)
{
    (void)snapshot;
    if (record->key_length > JOURNAL_KEY_MAX || record->value_length > JOURNAL_VALUE_MAX)
        abort();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct meta *meta;
    struct reader reader;
    static bool quiet;
    if (!quiet)
        quiet = log_open("fuzz", "/dev/null") == 0;
    if (meta_create(&meta) != 0)
        return 0;
    meta_journal_expect(meta);
    reader_init(&reader, bytes, length);
    while (reader.offset < length) {
        struct journal_record record = {.kind = reader_u8(&reader), .removed = reader_u8(&reader) & 1};
        record.key_length = reader_u8(&reader);
        record.value_length = reader_u16(&reader) % 5000;
        record.key = reader_bytes(&reader, record.key_length);
        record.value = reader_bytes(&reader, record.value_length);
        if (reader.failed)
            break;
        if (record.removed)
            record.value_length = 0;
        int status = meta_replay(meta, &record);
        if (status != 0 && status != -EBADMSG && status != -ENOMEM)
            abort();
    }
    struct loop *loop;
    meta_journal_begin(meta, (struct journal *)space);
    if (loop_create(&(struct loop_options){.simulated = true, .seed = 1}, &loop) == 0) {
        if (meta_snapshot(meta, loop, NULL) != 0)
            abort();
        loop_destroy(loop);
    }
    for (struct inode *inode = meta_inode_next(meta, 0); inode != NULL;
         inode = meta_inode_next(meta, inode->number))
        meta_inode_changed(meta, inode);
    meta_collect(meta);
    meta_destroy(meta);
    return 0;
}

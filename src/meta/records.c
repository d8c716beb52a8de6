/* What makes the namespace last: its changes as records for the journal, and back.
 *
 * Two ways for two kinds of objects. A dentry changes seldom and as a whole, so its record is appended at
 * once. An inode changes often, a file's with every write, and directly in its handler; so only its number is
 * noted, and the collection before a group is cut records what has become of it since the last: one image,
 * however many changes. Both lie in the same group, hence stand or fall together.
 *
 * Inline data and extended attributes are objects of their own, so that a change of times does not write them
 * again. When an inode goes, so do those of them that were ever recorded (INLINE_RECORDED, XATTRS_RECORDED):
 * whoever keeps only the newest record of each object keeps nothing that belongs to nobody.
 *
 * Replay. In a group the dentry of a new file comes before its inode, in a snapshot all dentries come before
 * all inodes. A dentry whose inode would live here and is not there yet makes both in one block, as creation
 * does; the inode's own record fills it. In a snapshot, which is taken while things change, it may be
 * missing: then the log says that it was removed. Should an inode stay unfilled in the end, it goes, and is
 * logged. */
#include "meta/engine.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buffer.h"
#include "base/log.h"
#include "meta/format.h"

#define UNFILLED 128u /* inode.state: made by its dentry's record */
#define SNAPSHOT_BATCH 256u

/* ---- noting ---- */

static void note(struct changed *changed, uint64_t number)
{
    if (changed->count == changed->capacity) {
        uint32_t capacity = changed->capacity == 0 ? 1024 : changed->capacity * 2;
        uint64_t *numbers = realloc(changed->numbers, capacity * sizeof(*numbers));
        if (numbers == NULL) {
            changed->overflowed = true;
            return;
        }
        changed->numbers = numbers;
        changed->capacity = capacity;
    }
    changed->numbers[changed->count++] = number;
}

void meta_note(struct meta *meta, struct inode *inode, uint8_t what)
{
    inode_withdraw(meta, inode);
    if (meta->journal == NULL || (inode->state & what) != 0)
        return;
    if ((inode->state & INODE_UNRECORDED) == 0)
        note(&meta->changed_inodes, inode->number);
    inode->state |= what;
    journal_touch(meta->journal);
}

void record_directory_change(struct meta *meta, struct directory *directory)
{
    directory->changed = true;
    note(&meta->changed_directories, directory->number);
    journal_touch(meta->journal);
}

uint32_t meta_uncollected(const struct meta *meta)
{
    return meta->changed_inodes.count;
}

/* ---- dentries and removals, at once ---- */

/* Returns the key's length. */
static uint32_t dentry_key_fill(struct dentry_key *key, uint64_t parent, uint64_t hash, const char *name,
                                size_t length)
{
    key->parent = parent;
    key->hash = hash;
    memcpy(key->name, name, length);
    return (uint32_t)(sizeof(*key) + length);
}

void record_dentry(struct meta *meta, uint64_t parent, uint64_t hash, const char *name, size_t length,
                   uint64_t inode, uint32_t type)
{
    char space[sizeof(struct dentry_key) + NAME_LENGTH_MAX];
    uint32_t key_length = dentry_key_fill((struct dentry_key *)space, parent, hash, name, length);
    struct dentry_image *image = journal_append(meta->journal, JOURNAL_DENTRY, hash_partition(hash), space,
                                                key_length, sizeof(*image));
    *image = (struct dentry_image){.inode = inode, .type = type & S_IFMT};
}

void record_dentry_removal(struct meta *meta, uint64_t parent, uint64_t hash, const char *name, size_t length)
{
    char space[sizeof(struct dentry_key) + NAME_LENGTH_MAX];
    uint32_t key_length = dentry_key_fill((struct dentry_key *)space, parent, hash, name, length);
    journal_append_removal(meta->journal, JOURNAL_DENTRY, hash_partition(hash), space, key_length);
}

static void record_number_removal(struct meta *meta, enum journal_kind kind, uint64_t number)
{
    journal_append_removal(meta->journal, kind, inode_partition(number), &number, sizeof(number));
}

void record_inode_removal(struct meta *meta, const struct inode *inode)
{
    record_number_removal(meta, JOURNAL_INODE, inode->number);
    if ((inode->state & INLINE_RECORDED) != 0)
        record_number_removal(meta, JOURNAL_INLINE, inode->number);
    if ((inode->state & XATTRS_RECORDED) != 0)
        record_number_removal(meta, JOURNAL_XATTR, inode->number);
}

void record_directory_removal(struct meta *meta, uint64_t directory)
{
    record_number_removal(meta, JOURNAL_DIRECTORY, directory);
}

/* ---- images ---- */

static bool has_parent(uint32_t mode)
{
    return S_ISDIR(mode) || S_ISCHR(mode) || S_ISBLK(mode);
}

static void inode_image_fill(const struct inode *inode, struct inode_image *image)
{
    *image = (struct inode_image){
        .size = inode->size,
        .access_time = inode->access_time,
        .modify_time = inode->modify_time,
        .change_time = inode->change_time,
        .mode = inode->mode,
        .uid = inode->uid,
        .gid = inode->gid,
        .links = inode->links,
        .generation = inode->generation,
        .chunked = inode->chunked,
        .layout = inode->layout,
        .parent = has_parent(inode->mode) ? inode->parent : inode->elsewhere != 0,
        .modify_time_since = S_ISDIR(inode->mode) ? inode->modify_time_since : 0,
    };
}

/* A value of an object that is known by an inode's number. */
static struct journal_record record_of(enum journal_kind kind, const uint64_t *number, const void *value,
                                       uint32_t length)
{
    return (struct journal_record){.kind = (uint8_t)kind,
                                   .partition = (uint16_t)inode_partition(*number),
                                   .key_length = sizeof(*number),
                                   .value_length = length,
                                   .key = number,
                                   .value = value};
}

static void append(struct meta *meta, const struct journal_record *record)
{
    memcpy(journal_append(meta->journal, (enum journal_kind)record->kind, record->partition, record->key,
                          record->key_length, record->value_length),
           record->value, record->value_length);
}

/* Inline data or extended attributes as they are now; length 0: there are none (any more). */
static void collect_part(struct meta *meta, struct inode *inode, enum journal_kind kind, const void *value,
                         uint32_t length, uint8_t recorded)
{
    if (length > 0) {
        struct journal_record record = record_of(kind, &inode->number, value, length);
        append(meta, &record);
        inode->state |= recorded;
    } else if ((inode->state & recorded) != 0) {
        record_number_removal(meta, kind, inode->number);
        inode->state &= (uint8_t)~recorded;
    }
}

static void collect_inode(struct meta *meta, struct inode *inode)
{
    if ((inode->state & INODE_CHANGED) != 0) {
        struct inode_image *image =
            journal_append(meta->journal, JOURNAL_INODE, inode_partition(inode->number), &inode->number,
                           sizeof(inode->number), sizeof(*image));
        inode_image_fill(inode, image);
    }
    if ((inode->state & INLINE_CHANGED) != 0)
        collect_part(meta, inode, JOURNAL_INLINE, inode->inline_data, inode->inline_length, INLINE_RECORDED);
    if ((inode->state & XATTRS_CHANGED) != 0) {
        uint32_t length;
        const void *bytes = xattr_bytes(&meta->xattrs, inode->number, &length);
        collect_part(meta, inode, JOURNAL_XATTR, bytes, length, XATTRS_RECORDED);
    }
    inode->state &= (uint8_t)~INODE_UNRECORDED;
}

static void collect_directory(struct meta *meta, struct directory *directory)
{
    struct directory_image *image =
        journal_append(meta->journal, JOURNAL_DIRECTORY, inode_partition(directory->number),
                       &directory->number, sizeof(directory->number), sizeof(*image));
    image->modify_time = directory->modify_time;
    directory->changed = false;
}

/* The directory (with entries or a time here) of the least mixed number from *cursor on; *cursor moves behind
 * it. */
static struct directory *next_directory(const struct meta *meta, uint64_t *cursor, bool *end)
{
    struct index_path path;
    index_descend(&meta->directories, *cursor, &path);
    index_search(&path, *cursor);
    struct index_slot *element = index_element(&path);
    if (element == NULL)
        return NULL;
    *end = element->key == UINT64_MAX;
    *cursor = element->key + 1;
    return element->value;
}

static void collect_all_inodes(struct meta *meta)
{
    for (struct inode *inode = table_next(&meta->inodes, 0); inode != NULL;
         inode = table_next(&meta->inodes, inode->number)) {
        if ((inode->state & INODE_UNRECORDED) != 0)
            collect_inode(meta, inode);
    }
}

static void collect_all_directories(struct meta *meta)
{
    uint64_t cursor = 0;
    for (bool end = false; !end;) {
        struct directory *directory = next_directory(meta, &cursor, &end);
        if (directory == NULL)
            return;
        if (directory->changed)
            collect_directory(meta, directory);
    }
}

void meta_collect(struct meta *meta)
{
    for (uint32_t i = 0; i < meta->changed_inodes.count; i++) {
        struct inode *inode = table_find(&meta->inodes, meta->changed_inodes.numbers[i]);
        if (inode != NULL && (inode->state & INODE_UNRECORDED) != 0)
            collect_inode(meta, inode);
    }
    if (meta->changed_inodes.overflowed)
        collect_all_inodes(meta);
    for (uint32_t i = 0; i < meta->changed_directories.count; i++) {
        struct directory *directory = directory_find(meta, meta->changed_directories.numbers[i]);
        if (directory != NULL && directory->changed)
            collect_directory(meta, directory);
    }
    if (meta->changed_directories.overflowed)
        collect_all_directories(meta);
    meta->changed_inodes.count = meta->changed_directories.count = 0;
    meta->changed_inodes.overflowed = meta->changed_directories.overflowed = false;
}

/* ---- recovery ---- */

void meta_journal_expect(struct meta *meta)
{
    meta->journaled = true;
}

static int replay_dentry(struct meta *meta, const struct journal_record *record)
{
    const struct dentry_key *key = record->key;
    const struct dentry_image *image = record->value;
    if (record->key_length <= sizeof(*key) || record->key_length > sizeof(*key) + NAME_LENGTH_MAX)
        return -EBADMSG;
    size_t length = record->key_length - sizeof(*key);
    if (record->removed) {
        int status = meta_dentry_remove(meta, key->parent, key->hash, key->name, length, 0);
        return status == -ENOENT ? 0 : status;
    }
    if (record->value_length != sizeof(*image) || !inode_valid(image->inode) || !inode_valid(key->parent))
        return -EBADMSG;
    struct dentry there;
    if (inode_partition(image->inode) == hash_partition(key->hash) &&
        table_find(&meta->inodes, image->inode) == NULL &&
        meta_dentry_find(meta, key->parent, key->hash, key->name, length, &there) != 0) {
        int status =
            meta_restore_entry(meta, key->parent, key->hash, key->name, length, image->inode, image->type);
        if (status == 0) {
            table_find(&meta->inodes, image->inode)->state |= UNFILLED;
            meta->unfilled++;
        }
        return status;
    }
    return meta_dentry_set(meta, key->parent, key->hash, key->name, length, image->inode, image->type, 0);
}

static int replay_directory(struct meta *meta, const struct journal_record *record, uint64_t number)
{
    const struct directory_image *image = record->value;
    if (record->removed) {
        meta_directory_forget(meta, number);
        return 0;
    }
    if (record->value_length != sizeof(*image))
        return -EBADMSG;
    struct directory *directory = directory_make(meta, number);
    if (directory == NULL)
        return -ENOMEM;
    directory->modify_time = image->modify_time;
    return 0;
}

static void remove_inode(struct meta *meta, struct inode *inode)
{
    if ((inode->state & UNFILLED) != 0)
        meta->unfilled--;
    meta_inode_remove(meta, inode);
}

static int replay_inode(struct meta *meta, const struct journal_record *record, uint64_t number)
{
    const struct inode_image *image = record->value;
    struct inode *inode = table_find(&meta->inodes, number);
    if (record->removed) {
        table_raise(&meta->inodes, number);
        if (inode != NULL)
            remove_inode(meta, inode);
        return 0;
    }
    if (record->value_length != sizeof(*image) || image->size > (uint64_t)INT64_MAX)
        return -EBADMSG;
    if (inode == NULL) {
        int status = meta_inode_create(meta, number, image->mode, 0, &inode);
        if (status != 0)
            return status;
    }
    if ((inode->state & UNFILLED) != 0) {
        inode->state &= (uint8_t)~UNFILLED;
        meta->unfilled--;
    }
    inode->size = image->size;
    inode->access_time = image->access_time;
    inode->modify_time = image->modify_time;
    inode->change_time = image->change_time;
    inode->mode = image->mode;
    inode->uid = image->uid;
    inode->gid = image->gid;
    inode->links = image->links;
    meta->nameless = meta->nameless || image->links == 0;
    inode->generation = image->generation;
    inode->chunked = image->chunked & INODE_CHUNKED_BITS;
    inode->layout = image->layout;
    if (has_parent(image->mode))
        inode->parent = image->parent;
    else
        inode->elsewhere = image->parent != 0 ? HELD_UNKNOWN : 0;
    if (S_ISDIR(image->mode))
        inode->modify_time_since = image->modify_time_since;
    return 0;
}

/* What belongs to an inode that is gone has been removed with it, or will be by a later record. */
static int replay_inline(struct meta *meta, const struct journal_record *record, uint64_t number)
{
    struct inode *inode = table_find(&meta->inodes, number);
    uint32_t length = record->removed ? 0 : record->value_length;
    if (length > INLINE_DATA_MAX)
        return -EBADMSG;
    if (inode == NULL)
        return 0;
    int status = meta_inline_set(meta, inode, record->value, length);
    if (status == 0)
        inode->state =
            (uint8_t)(length > 0 ? inode->state | INLINE_RECORDED : inode->state & ~INLINE_RECORDED);
    return status;
}

static int replay_xattrs(struct meta *meta, const struct journal_record *record, uint64_t number)
{
    struct inode *inode = table_find(&meta->inodes, number);
    if (inode == NULL)
        return 0;
    if (record->removed) {
        xattr_drop(&meta->xattrs, number);
        inode->state &= (uint8_t)~XATTRS_RECORDED;
        return 0;
    }
    inode->state |= XATTRS_RECORDED;
    return xattr_restore(&meta->xattrs, number, record->value, record->value_length);
}

static int replay_counter(struct meta *meta, const struct journal_record *record)
{
    uint32_t partition;
    const struct counter_image *image = record->value;
    if (record->key_length != sizeof(partition) || record->removed || record->value_length != sizeof(*image))
        return -EBADMSG;
    memcpy(&partition, record->key, sizeof(partition));
    if (partition >= PARTITION_COUNT || !inode_valid(inode_make(partition, image->counter)))
        return -EBADMSG;
    table_raise(&meta->inodes, inode_make(partition, image->counter));
    return 0;
}

int meta_replay(struct meta *meta, const struct journal_record *record)
{
    assert(meta->journaled && meta->journal == NULL);
    if (record->kind == JOURNAL_DENTRY)
        return replay_dentry(meta, record);
    if (record->kind == JOURNAL_COUNTER)
        return replay_counter(meta, record);
    uint64_t number;
    if (record->key_length != sizeof(number))
        return -EBADMSG;
    memcpy(&number, record->key, sizeof(number));
    if (!inode_valid(number))
        return -EBADMSG;
    switch (record->kind) {
    case JOURNAL_DIRECTORY:
        return replay_directory(meta, record, number);
    case JOURNAL_INODE:
        return replay_inode(meta, record, number);
    case JOURNAL_INLINE:
        return replay_inline(meta, record, number);
    case JOURNAL_XATTR:
        return replay_xattrs(meta, record, number);
    default:
        return -EBADMSG;
    }
}

bool meta_has_nameless(const struct meta *meta)
{
    return meta->nameless;
}

void meta_journal_begin(struct meta *meta, struct journal *journal)
{
    meta->journal = journal;
    if (meta->unfilled == 0)
        return;
    log_error("%" PRIu64 " inodes that have names are missing from the journal: run \"benchfs fsck\"",
              meta->unfilled);
    struct inode *inode = table_next(&meta->inodes, 0);
    while (inode != NULL) {
        uint64_t number = inode->number;
        if ((inode->state & UNFILLED) != 0)
            remove_inode(meta, inode);
        inode = table_next(&meta->inodes, number);
    }
}

/* ---- snapshot ---- */

struct snapshot_writer {
    struct meta *meta;
    struct loop *loop;
    struct journal_snapshot *snapshot;
    struct buffer batch; /* entries of one directory: struct entry, name */
    uint32_t batched;
    uint64_t last; /* hash of the last of them */
    uint32_t added;
};

struct entry {
    uint64_t hash;
    uint64_t inode;
    uint32_t type;
    uint32_t name_length;
};

static int add(struct snapshot_writer *writer, const struct journal_record *record)
{
    int status = journal_snapshot_add(writer->snapshot, record);
    if (status == 0 && ++writer->added % SNAPSHOT_BATCH == 0)
        status = task_yield(writer->loop);
    return status;
}

static bool batch_entry(void *owner, uint64_t hash, const char *name, size_t length, uint64_t inode,
                        uint32_t type)
{
    struct snapshot_writer *writer = owner;
    if (writer->batched >= SNAPSHOT_BATCH && hash != writer->last)
        return false;
    struct entry entry = {.hash = hash, .inode = inode, .type = type, .name_length = (uint32_t)length};
    buffer_append(&writer->batch, &entry, sizeof(entry));
    buffer_append(&writer->batch, name, length);
    writer->batched++;
    writer->last = hash;
    return true;
}

static int add_batch(struct snapshot_writer *writer, uint64_t directory)
{
    if (writer->batch.failed)
        return -ENOMEM;
    const uint8_t *at = writer->batch.bytes;
    for (uint32_t i = 0; i < writer->batched; i++) {
        struct entry entry;
        char space[sizeof(struct dentry_key) + NAME_LENGTH_MAX];
        memcpy(&entry, at, sizeof(entry));
        struct dentry_image image = {.inode = entry.inode, .type = entry.type};
        struct journal_record record = {
            .kind = JOURNAL_DENTRY,
            .partition = (uint16_t)hash_partition(entry.hash),
            .key = space,
            .key_length = dentry_key_fill((struct dentry_key *)space, directory, entry.hash,
                                          (const char *)at + sizeof(entry), entry.name_length),
            .value = &image,
            .value_length = sizeof(image)};
        int status = add(writer, &record);
        if (status != 0)
            return status;
        at += sizeof(entry) + entry.name_length;
    }
    return 0;
}

static int add_directory(struct snapshot_writer *writer, uint64_t number)
{
    struct directory *directory = directory_find(writer->meta, number);
    struct directory_image image = {directory->modify_time};
    struct journal_record record = record_of(JOURNAL_DIRECTORY, &number, &image, sizeof(image));
    int status = add(writer, &record);
    for (uint64_t cursor = 0; status == 0;) {
        buffer_clear(&writer->batch);
        writer->batched = 0;
        meta_directory_walk(writer->meta, number, cursor, batch_entry, writer);
        status = add_batch(writer, number);
        if (writer->batched < SNAPSHOT_BATCH || writer->last == UINT64_MAX)
            break;
        cursor = writer->last + 1;
    }
    return status;
}

static int add_directories(struct snapshot_writer *writer)
{
    uint64_t cursor = 0;
    int status = 0;
    for (bool end = false; !end && status == 0;) {
        const struct directory *directory = next_directory(writer->meta, &cursor, &end);
        if (directory == NULL)
            break;
        status = add_directory(writer, directory->number);
    }
    return status;
}

/* What add needs is copied first: while it waits, the inode may change or go. */
static int add_inode(struct snapshot_writer *writer, struct inode *inode)
{
    uint64_t number = inode->number;
    uint32_t length = inode->inline_length, xattrs_length;
    struct inode_image image;
    inode_image_fill(inode, &image);
    const void *xattrs = xattr_bytes(&writer->meta->xattrs, number, &xattrs_length);
    buffer_clear(&writer->batch);
    buffer_append(&writer->batch, inode->inline_data, length);
    buffer_append(&writer->batch, xattrs, xattrs_length);
    if (writer->batch.failed)
        return -ENOMEM;
    inode->state |= (uint8_t)((length > 0 ? INLINE_RECORDED : 0) | (xattrs_length > 0 ? XATTRS_RECORDED : 0));
    struct journal_record record = record_of(JOURNAL_INODE, &number, &image, sizeof(image));
    int status = add(writer, &record);
    if (status == 0 && length > 0) {
        record = record_of(JOURNAL_INLINE, &number, writer->batch.bytes, length);
        status = add(writer, &record);
    }
    if (status == 0 && xattrs_length > 0) {
        record = record_of(JOURNAL_XATTR, &number, writer->batch.bytes + length, xattrs_length);
        status = add(writer, &record);
    }
    return status;
}

static int add_inodes(struct snapshot_writer *writer)
{
    uint64_t number = 0;
    int status = 0;
    for (struct inode *inode; status == 0 && (inode = table_next(&writer->meta->inodes, number)) != NULL;) {
        number = inode->number;
        status = add_inode(writer, inode);
    }
    return status;
}

static int add_counters(struct snapshot_writer *writer)
{
    int status = 0;
    for (uint32_t partition = 0; partition < PARTITION_COUNT && status == 0; partition++) {
        struct counter_image image = {table_counter(&writer->meta->inodes, partition)};
        if (image.counter == 0)
            continue;
        struct journal_record record = {.kind = JOURNAL_COUNTER,
                                        .partition = (uint16_t)partition,
                                        .key = &partition,
                                        .key_length = sizeof(partition),
                                        .value = &image,
                                        .value_length = sizeof(image)};
        status = add(writer, &record);
    }
    return status;
}

int meta_snapshot(struct meta *meta, struct loop *loop, struct journal_snapshot *snapshot)
{
    struct snapshot_writer writer = {.meta = meta, .loop = loop, .snapshot = snapshot};
    buffer_init(&writer.batch);
    int status = add_counters(&writer);
    if (status == 0)
        status = add_directories(&writer);
    if (status == 0)
        status = add_inodes(&writer);
    buffer_free(&writer.batch);
    return status;
}

/* What the metadata engine records, taken back, is the same namespace again.
 *
 * The journal is this test's own: a list of records. Random changes are made to an engine, with collections
 * in between, and now and then a snapshot, during which changes go on. Then the snapshot and all records
 * since it began are replayed into a fresh engine, which must equal the first in every inode, name, byte,
 * attribute, time and in the numbers that it will give to new inodes. The same from the newest record of each
 * object alone, kind by kind, which is what a key-value store keeps. */
#include "unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buffer.h"
#include "base/random.h"
#include "meta/meta.h"

#define DIRECTORIES 4u
#define NAMES 40u
#define STEPS 600u
#define SEEDS 60u

/* ---- a journal that only remembers ---- */

struct journal {
    struct buffer log;
    uint64_t touched;
};

struct journal_snapshot {
    struct buffer records;
    void (*meanwhile)(void *owner);
    void *owner;
};

struct stored {
    uint32_t kind;
    uint32_t removed;
    uint32_t key_length;
    uint32_t value_length;
};

static void *store(struct buffer *log, uint32_t kind, bool removed, const void *key, uint32_t key_length,
                   uint32_t value_length)
{
    struct stored stored = {kind, removed, key_length, value_length};
    buffer_append(log, &stored, sizeof(stored));
    buffer_append(log, key, key_length);
    return buffer_extend(log, value_length);
}

void *journal_append(struct journal *journal, enum journal_kind kind, uint32_t partition, const void *key,
                     uint32_t key_length, uint32_t value_length)
{
    assert_true(partition < PARTITION_COUNT);
    return store(&journal->log, kind, false, key, key_length, value_length);
}

void journal_append_removal(struct journal *journal, enum journal_kind kind, uint32_t partition,
                            const void *key, uint32_t key_length)
{
    assert_true(partition < PARTITION_COUNT);
    store(&journal->log, kind, true, key, key_length, 0);
}

void journal_touch(struct journal *journal)
{
    journal->touched++;
}

int journal_snapshot_add(struct journal_snapshot *snapshot, const struct journal_record *record)
{
    void *value =
        store(&snapshot->records, record->kind, false, record->key, record->key_length, record->value_length);
    memcpy(value, record->value, record->value_length);
    snapshot->meanwhile(snapshot->owner);
    return 0;
}

/* ---- changes ---- */

struct history {
    struct random random;
    struct loop *loop;
    struct meta *meta;
    struct journal journal;
    uint64_t directories[DIRECTORIES];
    int64_t now;
};

static uint64_t pick(struct history *history, uint64_t below)
{
    return random_below(&history->random, below);
}

static void pick_bytes(struct history *history, void *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        ((uint8_t *)bytes)[i] = (uint8_t)pick(history, 256);
}

static size_t pick_name(struct history *history, char *name)
{
    return (size_t)sprintf(name, "name-%u", (unsigned)pick(history, NAMES));
}

/* Any inode; NULL: there is none behind the place where it looked. */
static struct inode *pick_inode(struct history *history)
{
    return meta_inode_next(history->meta,
                           inode_make((uint32_t)pick(history, PARTITION_COUNT), pick(history, 3)));
}

static void change_attributes(struct history *history, struct inode *inode)
{
    inode->size = pick(history, 1u << 30);
    inode->modify_time = inode->change_time = history->now;
    inode->mode = (inode->mode & S_IFMT) | (uint32_t)pick(history, 07777);
    inode->uid = (uint32_t)pick(history, 100);
    inode->links = (uint32_t)pick(history, 3);
    inode->generation++;
    inode->chunked = pick(history, 4) & INODE_CHUNKED_BITS;
    inode->layout.chunk_shift = (uint8_t)(16 + pick(history, 10));
    if (S_ISDIR(inode->mode)) {
        inode->parent = history->directories[pick(history, DIRECTORIES)];
        inode->modify_time_since = history->now;
    } else {
        inode->elsewhere = pick(history, 2) == 0 ? 0 : HELD_UNKNOWN;
    }
    meta_inode_changed(history->meta, inode);
}

static void change_xattrs(struct history *history, struct inode *inode)
{
    char name[16], value[64];
    uint32_t length = (uint32_t)sprintf(name, "user.%u", (unsigned)pick(history, 3));
    pick_bytes(history, value, sizeof(value));
    struct xattrs *xattrs = meta_xattrs(history->meta);
    if (pick(history, 3) == 0)
        xattr_remove(xattrs, inode->number, name, length);
    else
        xattr_set(xattrs, inode->number, name, length, value, (uint32_t)pick(history, sizeof(value)), false,
                  false);
    meta_xattrs_changed(history->meta, inode);
}

static void change_inline(struct history *history, struct inode *inode)
{
    uint8_t bytes[300];
    pick_bytes(history, bytes, sizeof(bytes));
    if (pick(history, 2) == 0)
        meta_inline_set(history->meta, inode, bytes, (uint32_t)pick(history, sizeof(bytes)));
    else
        meta_inline_resize(history->meta, inode, (uint32_t)pick(history, sizeof(bytes)));
}

static void change_name(struct history *history)
{
    char name[NAME_LENGTH_MAX];
    uint64_t parent = history->directories[pick(history, DIRECTORIES)];
    size_t length = pick_name(history, name);
    uint64_t hash = dentry_hash(parent, name, length);
    struct inode *inode = NULL;
    uint32_t type = pick(history, 6) == 0 ? S_IFDIR : S_IFREG;
    switch (pick(history, 6)) {
    case 0:
    case 1:
        meta_create_entry(history->meta, parent, hash, name, length, type | 0644, history->now, &inode);
        break;
    case 2:
        meta_dentry_remove(history->meta, parent, hash, name, length, history->now);
        break;
    case 3: {
        struct dentry dentry;
        if (meta_dentry_find(history->meta, parent, hash, name, length, &dentry) == 0) {
            meta_dentry_remove(history->meta, parent, hash, name, length, history->now);
            if (dentry.local != NULL)
                meta_inode_remove(history->meta, dentry.local);
        }
        break;
    }
    case 4:
        meta_dentry_set(history->meta, parent, hash, name, length,
                        inode_make((uint32_t)pick(history, PARTITION_COUNT), 1 + pick(history, 3)), type,
                        history->now);
        break;
    default:
        meta_directory_forget(history->meta, parent);
        break;
    }
}

static void change(void *owner)
{
    struct history *history = owner;
    history->now += 1 + (int64_t)pick(history, 1000);
    struct inode *inode = pick_inode(history);
    switch (pick(history, 10)) {
    case 0:
        if (inode != NULL)
            change_attributes(history, inode);
        break;
    case 1:
        if (inode != NULL)
            change_xattrs(history, inode);
        break;
    case 2:
        if (inode != NULL && !S_ISDIR(inode->mode))
            change_inline(history, inode);
        break;
    case 3:
        if (inode != NULL && inode->number != INODE_ROOT && pick(history, 2) == 0)
            meta_inode_remove(history->meta, inode);
        break;
    case 4:
        if (pick(history, 4) == 0)
            meta_collect(history->meta);
        break;
    default:
        change_name(history);
        break;
    }
}

static void change_sometimes(void *owner)
{
    struct history *history = owner;
    while (pick(history, 3) == 0)
        change(history);
}

/* ---- taking back ---- */

static bool next_record(const struct buffer *log, size_t *at, struct journal_record *record)
{
    if (*at >= log->length)
        return false;
    struct stored stored;
    memcpy(&stored, log->bytes + *at, sizeof(stored));
    const uint8_t *key = log->bytes + *at + sizeof(stored);
    *record = (struct journal_record){.kind = (uint8_t)stored.kind,
                                      .removed = stored.removed != 0,
                                      .key = key,
                                      .key_length = stored.key_length,
                                      .value = key + stored.key_length,
                                      .value_length = stored.value_length};
    *at += sizeof(stored) + stored.key_length + stored.value_length;
    return true;
}

static void replay_all(struct meta *meta, const struct buffer *log, size_t from)
{
    struct journal_record record;
    for (size_t at = from; next_record(log, &at, &record);)
        assert_int_equal(meta_replay(meta, &record), 0);
}

static bool superseded(const struct buffer *log, size_t at, const struct journal_record *record)
{
    struct journal_record later;
    while (next_record(log, &at, &later))
        if (later.kind == record->kind && later.key_length == record->key_length &&
            memcmp(later.key, record->key, record->key_length) == 0)
            return true;
    return false;
}

/* Only the newest record of each object, and no removals, in the order of the kinds. */
static void replay_newest(struct meta *meta, const struct buffer *log)
{
    for (uint32_t kind = 1; kind < 10; kind++) {
        struct journal_record record;
        for (size_t at = 0; next_record(log, &at, &record);)
            if (record.kind == kind && !record.removed && !superseded(log, at, &record))
                assert_int_equal(meta_replay(meta, &record), 0);
    }
}

struct sum {
    struct meta *other;
    uint64_t directory;
    uint64_t count;
};

static bool compare_entry(void *owner, uint64_t hash, const char *name, size_t length, uint64_t inode,
                          uint32_t type)
{
    struct sum *sum = owner;
    struct dentry dentry;
    assert_int_equal(meta_dentry_find(sum->other, sum->directory, hash, name, length, &dentry), 0);
    assert_int_equal(dentry.inode, inode);
    assert_int_equal(dentry.type, type);
    sum->count++;
    return true;
}

static void compare_inode(struct meta *meta, const struct inode *inode, struct meta *other_meta)
{
    const struct inode *other = meta_inode_find(other_meta, inode->number);
    assert_non_null(other);
    assert_int_equal(other->size, inode->size);
    assert_int_equal(other->access_time, inode->access_time);
    assert_int_equal(other->modify_time, inode->modify_time);
    assert_int_equal(other->change_time, inode->change_time);
    assert_int_equal(other->mode, inode->mode);
    assert_int_equal(other->uid, inode->uid);
    assert_int_equal(other->gid, inode->gid);
    assert_int_equal(other->links, inode->links);
    assert_int_equal(other->generation, inode->generation);
    assert_int_equal(other->chunked, inode->chunked);
    assert_memory_equal(&other->layout, &inode->layout, sizeof(inode->layout));
    assert_int_equal(other->parent, inode->parent);
    if (S_ISDIR(inode->mode))
        assert_int_equal(other->modify_time_since, inode->modify_time_since);
    assert_int_equal(other->inline_length, inode->inline_length);
    if (inode->inline_length > 0)
        assert_memory_equal(other->inline_data, inode->inline_data, inode->inline_length);
    uint32_t length, other_length;
    const void *bytes = xattr_bytes(meta_xattrs(meta), inode->number, &length);
    const void *other_bytes = xattr_bytes(meta_xattrs(other_meta), inode->number, &other_length);
    assert_int_equal(other_length, length);
    if (length > 0)
        assert_memory_equal(other_bytes, bytes, length);
}

static void compare(struct history *history, struct meta *other)
{
    struct meta *meta = history->meta;
    struct meta_statistics a, b;
    meta_statistics(meta, &a);
    meta_statistics(other, &b);
    assert_int_equal(a.inodes, b.inodes);
    assert_int_equal(a.dentries, b.dentries);
    for (struct inode *inode = meta_inode_next(meta, 0); inode != NULL;
         inode = meta_inode_next(meta, inode->number))
        compare_inode(meta, inode, other);
    for (unsigned i = 0; i < DIRECTORIES; i++) {
        struct meta_directory_status here, there;
        struct sum sum = {.other = other, .directory = history->directories[i]};
        meta_directory_status(meta, sum.directory, &here);
        meta_directory_status(other, sum.directory, &there);
        assert_int_equal(here.entries, there.entries);
        assert_int_equal(here.subdirectories, there.subdirectories);
        assert_int_equal(here.modify_time, there.modify_time);
        meta_directory_walk(meta, sum.directory, 0, compare_entry, &sum);
        assert_int_equal(sum.count, here.entries);
    }
    /* New inodes get the numbers that they would have got. */
    for (unsigned i = 0; i < 200; i++) {
        char name[32];
        size_t length = (size_t)sprintf(name, "new-%u", i);
        uint64_t hash = dentry_hash(99, name, length);
        struct inode *one, *two;
        assert_int_equal(meta_create_entry(meta, 99, hash, name, length, S_IFREG, 1, &one), 0);
        assert_int_equal(meta_create_entry(other, 99, hash, name, length, S_IFREG, 1, &two), 0);
        assert_int_equal(one->number, two->number);
    }
}

/* ---- cases ---- */

static void begin(struct history *history, uint64_t seed)
{
    *history = (struct history){.now = 1000};
    random_seed(&history->random, seed);
    buffer_init(&history->journal.log);
    assert_int_equal(loop_create(&(struct loop_options){.simulated = true, .seed = seed}, &history->loop), 0);
    assert_int_equal(meta_create(&history->meta), 0);
    meta_journal_expect(history->meta);
    meta_journal_begin(history->meta, &history->journal);
    struct inode *root;
    assert_int_equal(meta_inode_create(history->meta, INODE_ROOT, S_IFDIR | 0755, 1, &root), 0);
    for (unsigned i = 0; i < DIRECTORIES; i++)
        history->directories[i] = i == 0 ? INODE_ROOT : inode_make(i * 100, 7);
}

static void end(struct history *history)
{
    meta_destroy(history->meta);
    loop_destroy(history->loop);
    buffer_free(&history->journal.log);
}

static struct meta *fresh(void)
{
    struct meta *meta;
    assert_int_equal(meta_create(&meta), 0);
    meta_journal_expect(meta);
    return meta;
}

/* Ends the recovery. Names whose inodes were removed (which only this test does) lose what their records made
 * for them. */
static void take_over(struct meta *meta)
{
    static struct journal nobody_looks;
    buffer_clear(&nobody_looks.log);
    meta_journal_begin(meta, &nobody_looks);
}

static void test_log(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct history history;
        begin(&history, seed);
        for (unsigned i = 0; i < STEPS; i++)
            change(&history);
        meta_collect(history.meta);
        struct meta *other = fresh();
        replay_all(other, &history.journal.log, 0);
        /* Replaying from any earlier point once more does no harm. */
        replay_all(other, &history.journal.log, 0);
        compare(&history, other);
        meta_destroy(other);
        end(&history);
    }
}

static void test_newest_of_each(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct history history;
        begin(&history, seed);
        for (unsigned i = 0; i < STEPS; i++)
            change(&history);
        meta_collect(history.meta);
        struct meta *other = fresh();
        replay_newest(other, &history.journal.log);
        take_over(other);
        struct meta_statistics a, b;
        meta_statistics(history.meta, &a);
        meta_statistics(other, &b);
        assert_int_equal(a.inodes, b.inodes);
        assert_int_equal(a.dentries, b.dentries);
        for (struct inode *inode = meta_inode_next(history.meta, 0); inode != NULL;
             inode = meta_inode_next(history.meta, inode->number))
            compare_inode(history.meta, inode, other);
        meta_destroy(other);
        end(&history);
    }
}

static void test_snapshot(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct history history;
        begin(&history, seed);
        for (unsigned i = 0; i < STEPS; i++)
            change(&history);
        meta_collect(history.meta);
        size_t from = history.journal.log.length;
        struct journal_snapshot snapshot = {.meanwhile = change_sometimes, .owner = &history};
        buffer_init(&snapshot.records);
        assert_int_equal(meta_snapshot(history.meta, history.loop, &snapshot), 0);
        for (unsigned i = 0; i < pick(&history, STEPS); i++)
            change(&history);
        meta_collect(history.meta);
        struct meta *other = fresh();
        replay_all(other, &snapshot.records, 0);
        replay_all(other, &history.journal.log, from);
        take_over(other);
        compare(&history, other);
        meta_destroy(other);
        buffer_free(&snapshot.records);
        end(&history);
    }
}

/* Nothing is recorded twice without a change, and many changes of an inode are one record. */
static void test_coalescing(void **state)
{
    (void)state;
    struct history history;
    begin(&history, 1);
    meta_collect(history.meta);
    size_t before = history.journal.log.length;
    meta_collect(history.meta);
    assert_int_equal(history.journal.log.length, before);
    struct inode *root = meta_inode_find(history.meta, INODE_ROOT);
    for (unsigned i = 0; i < 100; i++) {
        root->access_time++;
        meta_inode_changed(history.meta, root);
    }
    assert_int_equal(meta_uncollected(history.meta), 1);
    meta_collect(history.meta);
    struct journal_record record;
    size_t at = before;
    assert_true(next_record(&history.journal.log, &at, &record));
    assert_int_equal(record.kind, JOURNAL_INODE);
    assert_false(next_record(&history.journal.log, &at, &record));
    end(&history);
}

static void refuse(struct meta *meta, uint8_t kind, const void *key, uint32_t key_length, const void *value,
                   uint32_t value_length)
{
    struct journal_record record = {
        .kind = kind, .key = key, .key_length = key_length, .value = value, .value_length = value_length};
    assert_int_equal(meta_replay(meta, &record), -EBADMSG);
}

static void test_nonsense(void **state)
{
    (void)state;
    struct meta *meta = fresh();
    uint64_t number = INODE_ROOT, zero = 0;
    uint8_t bytes[5000] = {0};
    refuse(meta, JOURNAL_INODE, &number, 7, bytes, 80);
    refuse(meta, JOURNAL_INODE, &zero, 8, bytes, 80);
    refuse(meta, JOURNAL_INODE, &number, 8, bytes, 79);
    refuse(meta, JOURNAL_DENTRY, bytes, 16, bytes, 16);
    refuse(meta, JOURNAL_DENTRY, bytes, 272, bytes, 16);
    refuse(meta, JOURNAL_DENTRY, bytes, 20, bytes, 16); /* no parent, no inode */
    refuse(meta, JOURNAL_INLINE, &number, 8, bytes, 4097);
    refuse(meta, JOURNAL_COUNTER, &number, 8, &number, 8);
    refuse(meta, JOURNAL_DIRECTORY, &number, 8, bytes, 7);
    refuse(meta, 200, &number, 8, bytes, 8);
    struct inode *root;
    assert_int_equal(meta_inode_create(meta, INODE_ROOT, S_IFDIR, 1, &root), 0);
    refuse(meta, JOURNAL_XATTR, &number, 8, bytes, 3);
    refuse(meta, JOURNAL_XATTR, &number, 8, "\xff\xff\0\0\1a", 6);
    meta_destroy(meta);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log),      cmocka_unit_test(test_newest_of_each),
        cmocka_unit_test(test_snapshot), cmocka_unit_test(test_coalescing),
        cmocka_unit_test(test_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

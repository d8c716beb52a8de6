/* The metadata engine.
 *
 * A table and ordered indices (meta/table.h, meta/index.h), all memory from one slab pool (meta/memory.h):
 *
 *   inodes       inode number -> struct inode: the table
 *   directories  mixed inode number -> struct directory, for those with entries (or a change time) here
 *   entries      one per directory: dentry hash -> struct dentry_record; those of equal hash in order of
 * their names
 *   xattrs       mixed inode number -> extended attributes, for those that have any (meta/xattr.h)
 *
 * An ordered index in place of a hash table, because it never rehashes, costs a small directory 64 bytes, and
 * a walk in hash order from any cursor is a plain step through its leaves.
 *
 * A file that is created gets one block that holds both its inode and its first dentry:
 * [inode][dentry][name][number of the directory]. So a lookup by name, which ends with the attributes,
 * touches one leaf of one index and one block, and an inode leads to its name. The two parts live and die
 * separately - a rename drops the dentry and keeps the inode, KEY_SET points the dentry at another inode - so
 * each has its own sign of life (inode.state, dentry_record.state) and the block is freed with the last of
 * them. Dentries made by insert or set, and inodes made alone, have blocks of their own. From an inode to
 * such a dentry leads a small table of those that were made last (struct given_name); what it says is checked
 * against the directory.
 *
 * Failure: whatever can fail is allocated before anything becomes visible. */
#include "meta/engine.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int meta_create(struct meta **meta)
{
    struct meta *created = calloc(1, sizeof(*created));
    if (created == NULL)
        return -ENOMEM;
    memory_init(&created->memory);
    table_init(&created->inodes, &created->memory);
    index_init(&created->directories, &created->memory);
    xattrs_init(&created->xattrs, &created->memory);
    created->inodes.shelves[inode_partition(INODE_ROOT)].counter = INODE_ROOT;
    *meta = created;
    return 0;
}

void meta_destroy(struct meta *meta)
{
    free(meta->changed_inodes.numbers);
    free(meta->changed_directories.numbers);
    free(meta->given);
    memory_free_all(&meta->memory);
    free(meta);
}

struct memory *meta_memory(struct meta *meta)
{
    return &meta->memory;
}

int meta_reserve(struct meta *meta, uint64_t bytes)
{
    return memory_reserve(&meta->memory, bytes);
}

void meta_board_begin(struct meta *meta, struct board *board)
{
    meta->board = board;
}

/* The dentry in the inode's block, if the inode still has that name; NULL. Behind it the directory's number.
 */
static const struct dentry_record *own_dentry(const struct inode *inode)
{
    const struct dentry_record *record = (const struct dentry_record *)(inode + 1);
    bool own = (inode->state & INODE_BLOCK) == INODE_WITH_DENTRY && record->inode == inode->number;
    return own ? record : NULL;
}

static const struct dentry_record *own_name(const struct inode *inode, uint64_t *parent, uint64_t *hash)
{
    const struct dentry_record *record = own_dentry(inode);
    if (record != NULL) {
        memcpy(parent, record->name + record->name_length, sizeof(*parent));
        *hash = dentry_hash(*parent, record->name, record->name_length);
    }
    return record;
}

static void shown(struct meta *meta, struct inode *inode)
{
    inode->state |= INODE_PUBLISHED;
    inode->shown = 1;
    struct directory *directory = S_ISDIR(inode->mode) ? directory_find(meta, inode->number) : NULL;
    if (directory != NULL)
        directory->shown = true;
}

void meta_publish_name(struct meta *meta, uint64_t parent, uint64_t hash, const char *name, size_t length,
                       struct inode *inode, const struct attributes *attributes)
{
    if (board_answer(meta->board, hash, parent, name, (uint32_t)length, attributes) && attributes != NULL)
        shown(meta, inode);
}

void meta_publish_inode(struct meta *meta, struct inode *inode, const struct attributes *attributes)
{
    if (board_answer(meta->board, board_inode_hash(inode->number), inode->number, NULL, 0, attributes))
        shown(meta, inode);
}

void meta_publish_name_ahead(struct meta *meta, struct inode *inode, const struct attributes *attributes)
{
    uint64_t parent, hash;
    const struct dentry_record *record = own_name(inode, &parent, &hash);
    if (record != NULL && board_put(meta->board, hash, parent, record->name, record->name_length, attributes))
        shown(meta, inode);
}

void meta_publish_inode_ahead(struct meta *meta, struct inode *inode, const struct attributes *attributes)
{
    if (board_put(meta->board, board_inode_hash(inode->number), inode->number, NULL, 0, attributes))
        shown(meta, inode);
}

void meta_expect_name(const struct meta *meta, const struct inode *inode)
{
    uint64_t parent, hash;
    if (own_name(inode, &parent, &hash) != NULL)
        board_expect(meta->board, hash);
}

void meta_expect_inode(const struct meta *meta, const struct inode *inode)
{
    board_expect(meta->board, board_inode_hash(inode->number));
}

void meta_publish_content(struct meta *meta, struct inode *inode, int64_t until)
{
    if (board_content(meta->board, inode->number, inode->inline_data, inode->inline_length, until))
        shown(meta, inode);
}

void meta_withdraw(struct meta *meta, struct inode *inode)
{
    if (meta->board != NULL)
        board_inode_leaves(meta->board, inode->number);
    inode->state &= (uint8_t)~INODE_PUBLISHED;
}

struct xattrs *meta_xattrs(struct meta *meta)
{
    return &meta->xattrs;
}

/* ---- blocks ---- */

/* Of an inode and its dentry. */
static size_t shared_size(size_t name_length)
{
    return sizeof(struct inode) + DENTRY_FIXED + name_length + sizeof(uint64_t);
}

static size_t block_size(const struct dentry_record *record)
{
    return record->state == DENTRY_WITH_INODE ? shared_size(record->name_length)
                                              : DENTRY_FIXED + record->name_length;
}

static void record_fill(struct dentry_record *record, uint64_t inode, uint32_t type, uint8_t state,
                        const char *name, size_t length)
{
    record->inode = inode;
    record->type = (uint16_t)(type & S_IFMT);
    record->state = state;
    record->name_length = (uint8_t)length;
    memcpy(record->name, name, length);
}

static void inode_fill(const struct meta *meta, struct inode *inode, uint64_t number, uint32_t mode,
                       int64_t now, unsigned record)
{
    *inode = (struct inode){.number = number,
                            .access_time = now,
                            .modify_time = now,
                            .change_time = now,
                            .mode = mode,
                            .links = S_ISDIR(mode) ? 2 : 1,
                            .state = (uint8_t)(record | (meta->journaled ? 0 : INODE_UNRECORDED))};
}

static void dentry_record_free(struct meta *meta, struct dentry_record *record)
{
    if (record->state == DENTRY_ALONE) {
        memory_release(&meta->memory, record, block_size(record));
        return;
    }
    struct inode *inode = dentry_beside(record);
    if (inode->number == 0)
        memory_release(&meta->memory, inode, block_size(record));
    else
        inode->state = (uint8_t)((inode->state & ~INODE_BLOCK) | INODE_DENTRY_GONE);
}

static void inode_block_free(struct meta *meta, struct inode *inode)
{
    struct dentry_record *record = (struct dentry_record *)(inode + 1);
    if ((inode->state & INODE_BLOCK) == INODE_ALONE)
        memory_release(&meta->memory, inode, sizeof(*inode));
    else if ((inode->state & INODE_BLOCK) == INODE_DENTRY_GONE)
        memory_release(&meta->memory, inode, block_size(record));
    else
        inode->number = 0;
}

/* ---- directories ---- */

/* Directories are indexed by the mixed number: evenly spread. */
static void *number_find(const struct index *index, uint64_t number, struct index_path *path)
{
    uint64_t key = hash_mix(number);
    index_descend(index, key, path);
    return index_search(path, key) == 0 ? NULL : path->leaf->slots[path->slot].value;
}

static struct directory *directory_search(struct meta *meta, uint64_t number)
{
    struct index_path path;
    struct directory *directory = number_find(&meta->directories, number, &path);
    if (directory != NULL)
        *meta_recent(meta, number) = directory;
    return directory;
}

struct directory *directory_find(struct meta *meta, uint64_t number)
{
    struct directory *cached = *meta_recent(meta, number);
    if (__builtin_expect(cached != NULL && cached->number == number, 1))
        return cached;
    return directory_search(meta, number);
}

struct directory *directory_make(struct meta *meta, uint64_t number)
{
    struct directory *directory = directory_find(meta, number);
    if (directory != NULL)
        return directory;
    directory = memory_allocate(&meta->memory, sizeof(*directory));
    if (directory == NULL)
        return NULL;
    *directory = (struct directory){.number = number};
    index_init(&directory->entries, &meta->memory);
    struct inode *inode = meta->board == NULL ? NULL : meta_inode_find(meta, number);
    if (inode != NULL)
        inode_withdraw(meta, inode); /* it was shown without entries */
    struct index_path path;
    number_find(&meta->directories, number, &path);
    if (index_insert(&meta->directories, &path, hash_mix(number), directory) < 0) {
        memory_release(&meta->memory, directory, sizeof(*directory));
        return NULL;
    }
    *meta_recent(meta, number) = directory;
    return directory;
}

static void directory_drop(struct meta *meta, struct directory *directory)
{
    struct index_path path;
    if (number_find(&meta->directories, directory->number, &path) != NULL)
        index_remove(&meta->directories, &path);
    struct directory **cached = meta_recent(meta, directory->number);
    if (*cached == directory)
        *cached = NULL;
    memory_release(&meta->memory, directory, sizeof(*directory));
}

/* After a failed insertion: a directory that nobody has used yet goes again. */
static void directory_drop_unused(struct meta *meta, struct directory *directory)
{
    if (directory->count == 0 && directory->modify_time == 0)
        directory_drop(meta, directory);
}

/* What the board tells of the directory's inode is wrong from now on. */
static inline void directory_withdraw(struct meta *meta, struct directory *directory)
{
    if (__builtin_expect(!directory->shown, 1))
        return;
    directory->shown = false;
    if (meta->board != NULL)
        board_inode_changed(meta->board, directory->number);
}

static void directory_changed(struct meta *meta, struct directory *directory, int added, uint32_t type,
                              int64_t now)
{
    if (added != 0) {
        directory->count += (uint64_t)(int64_t)added;
        meta->dentry_count += (uint64_t)(int64_t)added;
        if (added > 0 && directory->count == 1)
            meta->directory_count++;
        else if (added < 0 && directory->count == 0)
            meta->directory_count--;
        if (S_ISDIR(type))
            directory->subdirectories += (uint64_t)(int64_t)added;
    }
    if (now > directory->modify_time)
        directory->modify_time = now;
    directory_withdraw(meta, directory);
    if (__builtin_expect(meta->journal != NULL && !directory->changed, 0))
        record_directory_change(meta, directory);
}

/* ---- dentries ---- */

static int name_compare(const struct dentry_record *record, const char *name, size_t length)
{
    size_t shorter = record->name_length < length ? record->name_length : length;
    int order = memcmp(record->name, name, shorter);
    return order != 0 ? order : (int)record->name_length - (int)length;
}

/* Among `count` entries of one hash, which stand in order of their names, the place of name. Mostly there is
 * one. */
static bool name_search(const struct index_slot *slots, uint32_t count, const char *name, size_t length,
                        uint32_t *place)
{
    uint32_t first = 0;
    while (first < count) {
        uint32_t middle = first + (count - first) / 2;
        struct dentry_record *record = slots[middle].value;
        __builtin_prefetch((char *)record - 64); /* the end of its inode */
        int order = name_compare(record, name, length);
        if (order == 0) {
            *place = middle;
            return true;
        }
        if (order < 0)
            first = middle + 1;
        else
            count = middle;
    }
    *place = first;
    return false;
}

/* Second half of a search: moves path to the entry (hash, name), or to where it would stand. Returns it or
 * NULL. */
static struct dentry_record *entry_search(struct index_path *path, uint64_t hash, const char *name,
                                          size_t length)
{
    uint32_t count = index_search(path, hash);
    uint32_t place = 0;
    if (count == 0)
        return NULL;
    bool found = name_search(path->leaf->slots + path->slot, count, name, length, &place);
    path->slot += place;
    return found ? path->leaf->slots[path->slot].value : NULL;
}

static struct dentry_record *entry_find(const struct index *entries, uint64_t hash, const char *name,
                                        size_t length, struct index_path *path)
{
    index_descend(entries, hash, path);
    return entry_search(path, hash, name, length);
}

int meta_dentry_find(struct meta *meta, uint64_t parent, uint64_t hash, const char *name, size_t length,
                     struct dentry *dentry)
{
    struct directory *directory = directory_find(meta, parent);
    if (directory == NULL)
        return -ENOENT;
    struct index_path path;
    struct dentry_record *record = entry_find(&directory->entries, hash, name, length, &path);
    if (record == NULL)
        return -ENOENT;
    dentry_fill(meta, record, dentry);
    return 0;
}

static struct given_name *given_place(const struct meta *meta, uint64_t inode)
{
    return &meta->given[(inode * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - GIVEN_BITS)];
}

static void give_name(struct meta *meta, uint64_t inode, uint64_t parent, uint64_t hash)
{
    if (meta->given == NULL)
        meta->given = calloc(UINT64_C(1) << GIVEN_BITS, sizeof(*meta->given));
    if (meta->given != NULL) /* without memory it is not remembered */
        *given_place(meta, inode) = (struct given_name){inode, parent, hash};
}

/* Adds an entry at path, which comes from entry_find. */
static int entry_add(struct meta *meta, struct directory *directory, struct index_path *path, uint64_t hash,
                     const char *name, size_t length, uint64_t inode, uint32_t type, int64_t now)
{
    assert(length > 0 && length <= NAME_LENGTH_MAX);
    struct dentry_record *record = memory_allocate(&meta->memory, DENTRY_FIXED + length);
    if (record == NULL)
        return -ENOMEM;
    record_fill(record, inode, type, DENTRY_ALONE, name, length);
    int status = index_insert(&directory->entries, path, hash, record);
    if (status < 0) {
        memory_release(&meta->memory, record, block_size(record));
        return status;
    }
    directory_changed(meta, directory, 1, type, now);
    dentry_changed(meta, hash);
    give_name(meta, inode, directory->number, hash);
    if (meta->journal != NULL)
        record_dentry(meta, directory->number, hash, name, length, inode, type);
    return 0;
}

int meta_dentry_insert(struct meta *meta, uint64_t parent, uint64_t hash, const char *name, size_t length,
                       uint64_t inode, uint32_t type, int64_t now)
{
    struct directory *directory = directory_make(meta, parent);
    if (directory == NULL)
        return -ENOMEM;
    struct index_path path;
    if (entry_find(&directory->entries, hash, name, length, &path) != NULL)
        return -EEXIST;
    int status = entry_add(meta, directory, &path, hash, name, length, inode, type, now);
    if (status < 0)
        directory_drop_unused(meta, directory);
    return status;
}

int meta_dentry_set(struct meta *meta, uint64_t parent, uint64_t hash, const char *name, size_t length,
                    uint64_t inode, uint32_t type, int64_t now)
{
    struct directory *directory = directory_make(meta, parent);
    if (directory == NULL)
        return -ENOMEM;
    struct index_path path;
    struct dentry_record *record = entry_find(&directory->entries, hash, name, length, &path);
    if (record == NULL) {
        int status = entry_add(meta, directory, &path, hash, name, length, inode, type, now);
        if (status < 0)
            directory_drop_unused(meta, directory);
        return status;
    }
    directory->subdirectories += (uint64_t)S_ISDIR(type) - (uint64_t)S_ISDIR(record->type);
    record->inode = inode;
    record->type = (uint16_t)(type & S_IFMT);
    directory_changed(meta, directory, 0, type, now);
    dentry_changed(meta, hash);
    give_name(meta, inode, parent, hash);
    if (meta->journal != NULL)
        record_dentry(meta, parent, hash, name, length, inode, type);
    return 0;
}

int meta_dentry_remove(struct meta *meta, uint64_t parent, uint64_t hash, const char *name, size_t length,
                       int64_t now)
{
    table_expect(&meta->inodes, hash_partition(hash)); /* the inode will mostly go, too */
    struct directory *directory = directory_find(meta, parent);
    if (directory == NULL)
        return -ENOENT;
    struct index_path path;
    struct dentry_record *record = entry_find(&directory->entries, hash, name, length, &path);
    if (record == NULL)
        return -ENOENT;
    if (record->state == DENTRY_WITH_INODE)
        table_expect_removal(&meta->inodes, record->inode);
    index_remove(&directory->entries, &path);
    directory_changed(meta, directory, -1, record->type, now);
    dentry_changed(meta, hash);
    dentry_record_free(meta, record);
    if (meta->journal != NULL)
        record_dentry_removal(meta, parent, hash, name, length);
    return 0;
}

/* Makes an inode and its dentry in one block. path: of index_descend for hash. 0, -EEXIST (the name) or
 * -ENOMEM, then nothing changed. */
static inline int block_enter(struct meta *meta, struct directory *directory, struct index_path *path,
                              uint64_t hash, const char *name, size_t length, uint64_t number, uint32_t mode,
                              int64_t now, struct inode **inode)
{
    /* The block is made before it is known that it is needed: meanwhile the index comes into the cache. */
    size_t size = shared_size(length);
    struct inode *made = memory_allocate(&meta->memory, size);
    if (made == NULL)
        return entry_search(path, hash, name, length) != NULL ? -EEXIST : -ENOMEM;
    inode_fill(meta, made, number, mode, now, INODE_WITH_DENTRY);
    if (S_ISDIR(mode))
        made->parent = directory->number;
    struct dentry_record *record = (struct dentry_record *)(made + 1);
    record_fill(record, number, mode, DENTRY_WITH_INODE, name, length);
    memcpy(record->name + length, &directory->number, sizeof(directory->number));
    int status = -EEXIST;
    if (entry_search(path, hash, name, length) != NULL)
        goto no_inode;
    status = table_insert(&meta->inodes, number, made);
    if (status < 0)
        goto no_inode;
    status = index_insert(&directory->entries, path, hash, record);
    if (status < 0)
        goto no_entry;
    meta->inode_count++;
    directory_changed(meta, directory, 1, mode, now);
    dentry_changed(meta, hash);
    *inode = made;
    return 0;

no_entry:
    table_remove(&meta->inodes, number);
no_inode:
    memory_release(&meta->memory, made, size);
    return status;
}

int meta_create_entry(struct meta *meta, uint64_t parent, uint64_t hash, const char *name, size_t length,
                      uint32_t mode, int64_t now, struct inode **inode)
{
    assert(length > 0 && length <= NAME_LENGTH_MAX);
    uint32_t partition = hash_partition(hash);
    table_expect(&meta->inodes, partition);
    struct directory *directory = directory_make(meta, parent);
    if (directory == NULL)
        return -ENOMEM;
    struct index_path path;
    index_descend(&directory->entries, hash, &path);
    uint64_t counter = table_counter(&meta->inodes, partition) + 1;
    int status = -ENOSPC;
    if (counter <= COUNTER_MAX)
        status = block_enter(meta, directory, &path, hash, name, length, inode_make(partition, counter), mode,
                             now, inode);
    if (status < 0) {
        directory_drop_unused(meta, directory);
        return status;
    }
    if (meta->journal != NULL) {
        record_dentry(meta, parent, hash, name, length, (*inode)->number, mode);
        meta_inode_changed(meta, *inode);
    }
    return 0;
}

int meta_restore_entry(struct meta *meta, uint64_t parent, uint64_t hash, const char *name, size_t length,
                       uint64_t number, uint32_t mode)
{
    struct directory *directory = directory_make(meta, parent);
    if (directory == NULL)
        return -ENOMEM;
    struct index_path path;
    struct inode *inode;
    index_descend(&directory->entries, hash, &path);
    int status = table_find(&meta->inodes, number) != NULL
                     ? -EEXIST
                     : block_enter(meta, directory, &path, hash, name, length, number, mode, 0, &inode);
    if (status < 0)
        directory_drop_unused(meta, directory);
    return status;
}

/* The dentry of that hash which names the inode; NULL: there is none (any more). */
static const struct dentry_record *entry_of_inode(struct meta *meta, uint64_t parent, uint64_t hash,
                                                  uint64_t inode)
{
    const struct directory *directory = directory_find(meta, parent);
    struct index_path path;
    if (directory == NULL)
        return NULL;
    index_descend(&directory->entries, hash, &path);
    uint32_t count = index_search(&path, hash);
    for (uint32_t i = 0; i < count; i++) {
        const struct dentry_record *record = path.leaf->slots[path.slot + i].value;
        if (record->inode == inode)
            return record;
    }
    return NULL;
}

int meta_name_find(struct meta *meta, uint64_t number, uint64_t *parent, char name[NAME_LENGTH_MAX],
                   uint8_t *length)
{
    struct inode *inode = table_find(&meta->inodes, number);
    const struct dentry_record *record = inode == NULL ? NULL : own_dentry(inode);
    if (record != NULL)
        memcpy(parent, record->name + record->name_length, sizeof(*parent));
    if (record == NULL && meta->given != NULL) {
        const struct given_name *given = given_place(meta, number);
        record = given->inode == number ? entry_of_inode(meta, given->parent, given->hash, number) : NULL;
        *parent = given->parent;
    }
    if (record == NULL || record->inode != number)
        return -ENOENT;
    *length = record->name_length;
    memcpy(name, record->name, record->name_length);
    return 0;
}

/* ---- inodes ---- */

struct inode *meta_inode_find(struct meta *meta, uint64_t number)
{
    return table_find(&meta->inodes, number);
}

uint64_t meta_inode_place(const struct inode *inode)
{
    return memory_place(inode);
}

/* What lies there may be anything of that size, or free: it is an inode if the table says so. */
struct inode *meta_inode_beside(struct meta *meta, const struct inode *inode, ptrdiff_t distance)
{
    struct inode *beside = memory_beside(inode, distance);
    return beside != NULL && table_find(&meta->inodes, beside->number) == beside ? beside : NULL;
}

struct inode *meta_inode_next(struct meta *meta, uint64_t number)
{
    return table_next(&meta->inodes, number);
}

int meta_inode_create(struct meta *meta, uint64_t number, uint32_t mode, int64_t now, struct inode **inode)
{
    assert(inode_valid(number));
    if (table_find(&meta->inodes, number) != NULL)
        return -EEXIST;
    struct inode *made = memory_allocate(&meta->memory, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    inode_fill(meta, made, number, mode, now, INODE_ALONE);
    int status = table_insert(&meta->inodes, number, made);
    if (status < 0) {
        memory_release(&meta->memory, made, sizeof(*made));
        return status;
    }
    meta->inode_count++;
    meta_inode_changed(meta, made);
    *inode = made;
    return 0;
}

static void inline_release(struct meta *meta, struct inode *inode)
{
    if (inode->inline_data != NULL)
        memory_release(&meta->memory, inode->inline_data, inode->inline_length);
    inode->inline_data = NULL;
    inode->inline_length = 0;
}

void meta_inode_remove(struct meta *meta, struct inode *inode)
{
    assert(table_find(&meta->inodes, inode->number) == inode);
    inode_withdraw(meta, inode);
    if (meta->journal != NULL)
        record_inode_removal(meta, inode);
    table_remove(&meta->inodes, inode->number);
    xattr_drop(&meta->xattrs, inode->number);
    meta->inode_count--;
    inline_release(meta, inode);
    inode_block_free(meta, inode);
}

int meta_inline_set(struct meta *meta, struct inode *inode, const void *bytes, uint32_t length)
{
    assert(length <= INLINE_DATA_MAX);
    if (length == 0) {
        inline_release(meta, inode);
        meta_inline_changed(meta, inode);
        return 0;
    }
    void *data = inode->inline_data;
    if (data == NULL || memory_rounded(inode->inline_length) != memory_rounded(length)) {
        data = memory_allocate(&meta->memory, length);
        if (data == NULL)
            return -ENOMEM;
    }
    if (bytes != NULL)
        memmove(data, bytes, length);
    else
        memset(data, 0, length);
    if (data != inode->inline_data)
        inline_release(meta, inode);
    inode->inline_data = data;
    inode->inline_length = (uint16_t)length;
    meta_inline_changed(meta, inode);
    return 0;
}

void meta_inline_expect(const struct meta *meta, uint32_t length)
{
    memory_expect(&meta->memory, length);
}

int meta_inline_resize(struct meta *meta, struct inode *inode, uint32_t length)
{
    assert(length <= INLINE_DATA_MAX);
    if (length == 0) {
        inline_release(meta, inode);
        meta_inline_changed(meta, inode);
        return 0;
    }
    uint32_t kept = inode->inline_length < length ? inode->inline_length : length;
    char *data = inode->inline_data;
    if (data == NULL || memory_rounded(inode->inline_length) != memory_rounded(length)) {
        data = memory_allocate(&meta->memory, length);
        if (data == NULL)
            return -ENOMEM;
        if (kept > 0)
            memcpy(data, inode->inline_data, kept);
        inline_release(meta, inode);
    }
    memset(data + kept, 0, length - kept);
    inode->inline_data = data;
    inode->inline_length = (uint16_t)length;
    meta_inline_changed(meta, inode);
    return 0;
}

/* ---- whole directories ---- */

void meta_directory_status(struct meta *meta, uint64_t number, struct meta_directory_status *status)
{
    *status = (struct meta_directory_status){0};
    struct directory *directory = directory_find(meta, number);
    if (directory == NULL)
        return;
    status->entries = directory->count;
    status->subdirectories = directory->subdirectories;
    status->modify_time = directory->modify_time;
}

void meta_directory_forget(struct meta *meta, uint64_t number)
{
    struct directory *directory = directory_find(meta, number);
    if (directory == NULL || directory->count != 0)
        return;
    directory_withdraw(meta, directory);
    directory_drop(meta, directory);
    if (meta->journal != NULL)
        record_directory_removal(meta, number);
}

void meta_directory_walk(struct meta *meta, uint64_t number, uint64_t cursor, meta_visit visit, void *owner)
{
    struct directory *directory = directory_find(meta, number);
    if (directory == NULL)
        return;
    struct index_path path;
    index_descend(&directory->entries, cursor, &path);
    index_search(&path, cursor);
    struct index_slot *element;
    for (; (element = index_element(&path)) != NULL; path.slot++) {
        struct dentry_record *record = element->value;
        index_expect(&path);
        if (!visit(owner, element->key, record->name, record->name_length, record->inode, record->type))
            return;
    }
}

void meta_skip_numbers(struct meta *meta, uint32_t partition, uint64_t counter)
{
    table_raise(&meta->inodes, inode_make(partition, counter < COUNTER_MAX ? counter : COUNTER_MAX));
}

/* The mixed number, a bijection, is the order: that of the index. */
uint64_t meta_directory_next(struct meta *meta, uint64_t number)
{
    uint64_t key = number == 0 ? 0 : hash_mix(number) + 1;
    struct index_path path;
    if (number != 0 && key == 0)
        return 0;
    index_descend(&meta->directories, key, &path);
    index_search(&path, key);
    const struct index_slot *element = index_element(&path);
    return element == NULL ? 0 : ((const struct directory *)element->value)->number;
}

void meta_statistics(struct meta *meta, struct meta_statistics *statistics)
{
    *statistics = (struct meta_statistics){
        .inodes = meta->inode_count,
        .dentries = meta->dentry_count,
        .directories = meta->directory_count,
        .bytes = meta->memory.bytes,
        .taken = memory_taken(&meta->memory),
    };
}

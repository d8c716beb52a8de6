/* The attributes of an inode lie in one block, one after another, each with its two lengths in front. A
 * change writes a new block and frees the old one: attributes are small and change seldom, and so nothing is
 * ever half changed. The block is found through an index by inode number, like the inodes of directories.
 *
 * Invariant: an inode without attributes has no block. */
#include "meta/xattr.h"

#include <errno.h>
#include <string.h>

#include "base/hash.h"

struct xattr_block {
    uint64_t inode;
    uint32_t size;   /* of the whole block */
    uint32_t values; /* bytes of all values */
    uint32_t names;  /* bytes of all names, with a NUL each */
    uint32_t reserved;
    uint8_t records[];
};

/* Followed by the name and the value. Packed as bytes: blocks are copied, not addressed. */
struct record {
    uint32_t value_length;
    uint8_t name_length;
};
#define RECORD_FIXED 5u

static uint32_t record_size(const struct record *record)
{
    return RECORD_FIXED + record->name_length + record->value_length;
}

static struct record record_at(const struct xattr_block *block, uint32_t at)
{
    struct record record;
    memcpy(&record.value_length, block->records + at, sizeof record.value_length);
    record.name_length = block->records[at + 4];
    return record;
}

static uint32_t records_end(const struct xattr_block *block)
{
    return block->size - (uint32_t)sizeof(*block);
}

void xattrs_init(struct xattrs *xattrs, struct memory *memory)
{
    index_init(&xattrs->index, memory);
    xattrs->memory = memory;
    xattrs->count = 0;
}

/* The inode's element in the index, or NULL; *path is where it stands or would stand. */
static struct index_slot *block_find(const struct xattrs *xattrs, uint64_t inode, struct index_path *path)
{
    uint64_t key = hash_mix(inode);
    index_descend(&xattrs->index, key, path);
    return index_search(path, key) == 0 ? NULL : &path->leaf->slots[path->slot];
}

static const struct xattr_block *block_of(const struct xattrs *xattrs, uint64_t inode)
{
    struct index_path path;
    const struct index_slot *slot = xattrs->count == 0 ? NULL : block_find(xattrs, inode, &path);
    return slot == NULL ? NULL : slot->value;
}

/* Where the record of that name is, or UINT32_MAX. */
static uint32_t record_find(const struct xattr_block *block, const char *name, uint32_t name_length)
{
    for (uint32_t at = 0; block != NULL && at < records_end(block);) {
        struct record record = record_at(block, at);
        if (record.name_length == name_length &&
            memcmp(block->records + at + RECORD_FIXED, name, name_length) == 0)
            return at;
        at += record_size(&record);
    }
    return UINT32_MAX;
}

int xattr_get(const struct xattrs *xattrs, uint64_t inode, const char *name, uint32_t name_length,
              const void **value, uint32_t *length)
{
    const struct xattr_block *block = block_of(xattrs, inode);
    uint32_t at = record_find(block, name, name_length);
    if (at == UINT32_MAX)
        return -ENODATA;
    struct record record = record_at(block, at);
    *value = block->records + at + RECORD_FIXED + record.name_length;
    *length = record.value_length;
    return 0;
}

/* Puts `block` (NULL: nothing) in place of the inode's old one. 0 or -ENOMEM (unchanged). */
static int block_replace(struct xattrs *xattrs, uint64_t inode, struct xattr_block *block)
{
    struct index_path path;
    struct index_slot *slot = block_find(xattrs, inode, &path);
    struct xattr_block *old = slot == NULL ? NULL : slot->value;
    if (old != NULL && block != NULL) {
        slot->value = block;
    } else if (old != NULL) {
        index_remove(&xattrs->index, &path);
        xattrs->count--;
    } else {
        int status = index_insert(&xattrs->index, &path, hash_mix(inode), block);
        if (status != 0)
            return status;
        xattrs->count++;
    }
    if (old != NULL)
        memory_release(xattrs->memory, old, old->size);
    return 0;
}

/* A block for a copy of old without the record at `without` (UINT32_MAX: with all), and `more` bytes. */
static struct xattr_block *block_copy(struct xattrs *xattrs, const struct xattr_block *old, uint32_t without,
                                      uint32_t more, uint32_t *end)
{
    uint32_t length = old == NULL ? 0 : records_end(old);
    struct record record = {0};
    uint32_t gone = 0;
    if (without != UINT32_MAX) {
        record = record_at(old, without);
        gone = record_size(&record);
    }
    uint32_t size = (uint32_t)sizeof(*old) + length - gone + more;
    struct xattr_block *block = memory_allocate(xattrs->memory, size);
    if (block == NULL)
        return NULL;
    *block = (struct xattr_block){.size = size};
    if (old != NULL) {
        block->values = old->values - record.value_length;
        block->names = old->names - (gone == 0 ? 0 : record.name_length + 1u);
        uint32_t before = gone == 0 ? length : without;
        memcpy(block->records, old->records, before);
        memcpy(block->records + before, old->records + before + gone, length - before - gone);
    }
    *end = length - gone;
    return block;
}

int xattr_set(struct xattrs *xattrs, uint64_t inode, const char *name, uint32_t name_length,
              const void *value, uint32_t length, bool must_exist, bool must_not_exist)
{
    const struct xattr_block *old = block_of(xattrs, inode);
    uint32_t at = record_find(old, name, name_length);
    if (at == UINT32_MAX && must_exist)
        return -ENODATA;
    if (at != UINT32_MAX && must_not_exist)
        return -EEXIST;
    uint32_t values = old == NULL ? 0 : old->values, names = old == NULL ? 0 : old->names;
    if (at != UINT32_MAX) {
        struct record record = record_at(old, at);
        values -= record.value_length;
        names -= record.name_length + 1u;
    }
    if (length > XATTR_VALUES_MAX - values || name_length + 1 > XATTR_NAMES_MAX - names)
        return -ENOSPC;
    uint32_t end;
    struct xattr_block *block = block_copy(xattrs, old, at, RECORD_FIXED + name_length + length, &end);
    if (block == NULL)
        return -ENOMEM;
    block->inode = inode;
    block->values = values + length;
    block->names = names + name_length + 1;
    uint8_t *place = block->records + end;
    memcpy(place, &length, sizeof length);
    place[4] = (uint8_t)name_length;
    memcpy(place + RECORD_FIXED, name, name_length);
    if (length > 0)
        memcpy(place + RECORD_FIXED + name_length, value, length);
    int status = block_replace(xattrs, inode, block);
    if (status != 0)
        memory_release(xattrs->memory, block, block->size);
    return status;
}

int xattr_remove(struct xattrs *xattrs, uint64_t inode, const char *name, uint32_t name_length)
{
    const struct xattr_block *old = block_of(xattrs, inode);
    uint32_t at = record_find(old, name, name_length);
    if (at == UINT32_MAX)
        return -ENODATA;
    struct record record = record_at(old, at);
    if (record_size(&record) == records_end(old))
        return block_replace(xattrs, inode, NULL);
    uint32_t end;
    struct xattr_block *block = block_copy(xattrs, old, at, 0, &end);
    if (block == NULL)
        return -ENOMEM;
    block->inode = inode;
    return block_replace(xattrs, inode, block);
}

void xattr_list(const struct xattrs *xattrs, uint64_t inode,
                void (*visit)(void *owner, const char *name, uint32_t name_length), void *owner)
{
    const struct xattr_block *block = block_of(xattrs, inode);
    for (uint32_t at = 0; block != NULL && at < records_end(block);) {
        struct record record = record_at(block, at);
        visit(owner, (const char *)block->records + at + RECORD_FIXED, record.name_length);
        at += record_size(&record);
    }
}

void xattr_drop_slow(struct xattrs *xattrs, uint64_t inode)
{
    if (block_of(xattrs, inode) != NULL)
        block_replace(xattrs, inode, NULL);
}

/* ---- as bytes ---- */

const void *xattr_bytes(const struct xattrs *xattrs, uint64_t inode, uint32_t *length)
{
    const struct xattr_block *block = block_of(xattrs, inode);
    *length = block == NULL ? 0 : records_end(block);
    return block == NULL ? NULL : block->records;
}

/* Whether the block's records are whole; counts their values and names. */
static bool records_check(struct xattr_block *block)
{
    uint32_t end = records_end(block), at = 0;
    while (at < end) {
        if (end - at < RECORD_FIXED)
            return false;
        struct record record = record_at(block, at);
        if (record.name_length == 0 || record.value_length > XATTR_VALUE_MAX ||
            record_size(&record) > end - at)
            return false;
        block->values += record.value_length;
        block->names += record.name_length + 1u;
        at += record_size(&record);
    }
    return end > 0 && block->values <= XATTR_VALUES_MAX && block->names <= XATTR_NAMES_MAX;
}

int xattr_restore(struct xattrs *xattrs, uint64_t inode, const void *bytes, uint32_t length)
{
    if (length > XATTR_VALUES_MAX + 8 * XATTR_NAMES_MAX)
        return -EBADMSG;
    struct xattr_block *block = memory_allocate(xattrs->memory, sizeof(*block) + length);
    if (block == NULL)
        return -ENOMEM;
    *block = (struct xattr_block){.inode = inode, .size = (uint32_t)sizeof(*block) + length};
    memcpy(block->records, bytes, length);
    int status = records_check(block) ? block_replace(xattrs, inode, block) : -EBADMSG;
    if (status != 0)
        memory_release(xattrs->memory, block, block->size);
    return status;
}

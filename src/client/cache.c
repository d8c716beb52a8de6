/* The directory cache of a client.
 *
 * A walk through "/a/b/c" costs a request per component unless the client remembers that (root, "a") is the
 * directory 17. It may: every request carries the namespace epoch under which its path was resolved, and
 * whatever could make a remembered directory wrong counts the epoch up on all servers first. A removed
 * directory is the exception: it leaves a tombstone that answers -ESTALE, and the client empties the cache
 * and resolves again.
 *
 * Two tables of fixed size. `entries`, two-way associative by dentry hash, keeps the whole name: a 64-bit
 * hash alone would be right only most of the time. `directories`, direct-mapped by inode, serves "..", the
 * root and descriptors. An element is valid when its tag equals the table's, so emptying both is one
 * increment. Every name that is no directory is looked for in vain, and entries are too large for the
 * processor's first cache: `marks`, 16 bits of the hash of each, say where one can be. */
#include "client/core.h"

#include <stdlib.h>

#define ENTRY_SETS 512u
#define DIRECTORY_SLOTS 1024u

struct cached_entry {
    uint64_t parent;
    uint64_t hash;
    struct directory directory;
    uint32_t tag;
    uint8_t used; /* more recently than its neighbour */
    uint8_t length;
    char name[NAME_LENGTH_MAX];
};

struct cached_directory {
    struct directory directory;
    uint32_t tag;
};

int cache_create(struct directory_cache *cache)
{
    cache->tag = 1;
    cache->marks = calloc(ENTRY_SETS, sizeof *cache->marks);
    cache->entries = calloc(ENTRY_SETS * CACHE_WAYS, sizeof *cache->entries);
    cache->directories = calloc(DIRECTORY_SLOTS, sizeof *cache->directories);
    if (cache->marks == NULL || cache->entries == NULL || cache->directories == NULL) {
        cache_destroy(cache);
        return -ENOMEM;
    }
    return 0;
}

void cache_destroy(struct directory_cache *cache)
{
    free(cache->marks);
    free(cache->entries);
    free(cache->directories);
    cache->marks = NULL;
    cache->entries = NULL;
    cache->directories = NULL;
}

void cache_clear(struct directory_cache *cache)
{
    if (++cache->tag != 0)
        return;
    /* After 2^32 clearings old tags would come to life again. */
    memset(cache->entries, 0, ENTRY_SETS * CACHE_WAYS * sizeof *cache->entries);
    memset(cache->directories, 0, DIRECTORY_SLOTS * sizeof *cache->directories);
    cache->walked.tag = 0;
    cache->tag = 1;
}

static uint16_t mark_of(uint64_t hash)
{
    return (uint16_t)(hash >> 48);
}

static struct cached_entry *entry_set(struct directory_cache *cache, uint64_t hash)
{
    return &cache->entries[(hash % ENTRY_SETS) * CACHE_WAYS];
}

static bool entry_is(const struct directory_cache *cache, const struct cached_entry *entry, uint64_t parent,
                     uint64_t hash, const char *name, uint32_t length)
{
    return entry->hash == hash && entry->tag == cache->tag && entry->parent == parent &&
           entry->length == length && memcmp(entry->name, name, length) == 0;
}

const struct directory *cache_find(struct directory_cache *cache, uint64_t parent, uint64_t hash,
                                   const char *name, uint32_t length)
{
    struct cached_entry *set = entry_set(cache, hash);
    const uint16_t *marks = cache->marks[hash % ENTRY_SETS];
    for (unsigned way = 0; way < CACHE_WAYS; way++) {
        if (__builtin_expect(marks[way] != mark_of(hash), 1) ||
            !entry_is(cache, &set[way], parent, hash, name, length))
            continue;
        set[way].used = 1;
        set[way ^ 1].used = 0;
        return &set[way].directory;
    }
    return NULL;
}

void cache_insert(struct directory_cache *cache, uint64_t parent, uint64_t hash, const char *name,
                  uint32_t length, const struct directory *directory)
{
    struct cached_entry *set = entry_set(cache, hash);
    unsigned way = 0;
    if (entry_is(cache, &set[1], parent, hash, name, length))
        way = 1;
    else if (!entry_is(cache, &set[0], parent, hash, name, length) && set[0].tag == cache->tag &&
             (set[1].tag != cache->tag || set[0].used))
        way = 1;
    struct cached_entry *entry = &set[way];
    cache->marks[hash % ENTRY_SETS][way] = mark_of(hash);
    entry->parent = parent;
    entry->hash = hash;
    entry->directory = *directory;
    entry->tag = cache->tag;
    entry->used = 1;
    entry->length = (uint8_t)length;
    memcpy(entry->name, name, length);
    set[way ^ 1].used = 0;
    cache_insert_inode(cache, directory);
}

void cache_forget(struct directory_cache *cache, uint64_t parent, uint64_t hash, const char *name,
                  uint32_t length)
{
    struct cached_entry *set = entry_set(cache, hash);
    for (unsigned way = 0; way < CACHE_WAYS; way++) {
        if (!entry_is(cache, &set[way], parent, hash, name, length))
            continue;
        set[way].tag = cache->tag - 1;
        cache_forget_inode(cache, set[way].directory.inode);
    }
}

static struct cached_directory *directory_slot(struct directory_cache *cache, uint64_t inode)
{
    return &cache->directories[hash_mix(inode) % DIRECTORY_SLOTS];
}

const struct directory *cache_find_inode(struct directory_cache *cache, uint64_t inode)
{
    struct cached_directory *slot = directory_slot(cache, inode);
    return slot->tag == cache->tag && slot->directory.inode == inode ? &slot->directory : NULL;
}

void cache_insert_inode(struct directory_cache *cache, const struct directory *directory)
{
    struct cached_directory *slot = directory_slot(cache, directory->inode);
    slot->directory = *directory;
    slot->tag = cache->tag;
}

void cache_forget_inode(struct directory_cache *cache, uint64_t inode)
{
    struct cached_directory *slot = directory_slot(cache, inode);
    if (slot->directory.inode == inode)
        slot->tag = cache->tag - 1;
    cache->walked.tag = cache->tag - 1;
}

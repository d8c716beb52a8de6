/* An ordered index: 64-bit key to pointer, a radix tree in memory whose leaves are probed like a hash table.
 *
 * Keys may repeat; values of one key stand in the order in which the caller places them, always in one leaf.
 * No operation touches more than a few nodes, except that a leaf full of one single key grows by doubling. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "meta/memory.h"

#define INDEX_LEVELS_MAX 7u
#define INDEX_LEAF_SLOTS 255u /* of a full-sized leaf */
#define INDEX_EXPECTED 8u     /* slots ahead: index_expect */
#define INDEX_LEAF_HOMES 224u /* the slots behind take what is pushed over the end */

/* What the low bits of a pointer to a child say: see index.c. */
#define INDEX_NODE ((uintptr_t)32)
#define INDEX_PACKED ((uintptr_t)16) /* unless it is a node */
#define INDEX_TAGS ((uintptr_t)63)

struct index_node {
    uintptr_t children[0]; /* 8 to 512 */
};

struct index_slot {
    uint64_t key;
    void *value; /* NULL: an empty slot */
};

struct index_leaf {
    uint32_t count;
    uint32_t capacity; /* of slots */
    uint64_t reserved;
    struct index_slot slots[];
};

struct index {
    uintptr_t root; /* a node, a leaf, or nothing; see index.c */
    struct memory *memory;
};

/* A place in the tree. Valid until the index changes. */
struct index_path {
    uintptr_t child;         /* what the lowest node (or the root) points to: a leaf or nothing */
    struct index_leaf *leaf; /* NULL: nothing there */
    uint32_t slot; /* of the first element with a key not below the one looked for, or where it would stand */
    uint32_t level_count;
    struct {
        struct index_node *node;
        uint16_t slot;
        uint8_t bits;  /* of the node */
        uint8_t above; /* bits of the key that the nodes above have used */
    } levels[INDEX_LEVELS_MAX];
};

void index_init(struct index *index, struct memory *memory);
/* Frees the nodes. */
void index_clear(struct index *index);

/* The value of an element with that key, if one stands where a quick look finds it, as nearly all do; else
 * NULL, which says nothing. Inline, because what a lookup costs is decided by how few instructions stand
 * between two accesses to memory. */
static inline void *index_find_near(const struct index *index, uint64_t key)
{
    uintptr_t child = index->root;
    uint64_t rest = key; /* without the bits that nodes above have used, at its upper end */
    for (uintptr_t node = child; child & INDEX_NODE; node = child) {
        child = ((const struct index_node *)(node & ~INDEX_TAGS))->children[rest >> (node & INDEX_TAGS)];
        if (child & INDEX_NODE)
            rest <<= -node & INDEX_TAGS;
    }
    if (__builtin_expect((child & INDEX_PACKED) != 0, 0))
        return NULL;
    uint64_t home =
        ((rest << (child & INDEX_TAGS)) >> 32) * (INDEX_LEAF_HOMES * sizeof(struct index_slot)) >> 32;
    home &= ~(sizeof(struct index_slot) - 1); /* in bytes */
    const char *slots = (const char *)(child & ~INDEX_TAGS) + offsetof(struct index_leaf, slots);
    const struct index_slot *slot = (const struct index_slot *)(slots + home);
    size_t before = slot[0].key < key;
    before += slot[1].key < key;
    before += slot[2].key < key;
    before += slot[3].key < key;
    slot += before;
    /* An empty slot has the greatest key, and no value. */
    return __builtin_expect(slot->key == key, 1) ? slot->value : NULL;
}

/* First half of a search: finds the leaf where key belongs and starts to bring the right place of it into the
 * cache. */
void index_descend(const struct index *index, uint64_t key, struct index_path *path);
/* Second half: sets path->slot. Returns how many elements have this key; they stand in path->slot and after.
 */
uint32_t index_search(struct index_path *path, uint64_t key);
/* Moves to the element at path->slot or the next one after it, into later leaves too. Returns it, or NULL at
 * the end. */
struct index_slot *index_element(struct index_path *path);

/* Begins to bring into the cache what an element a few slots behind path->slot points to. */
static inline void index_expect(const struct index_path *path)
{
    const struct index_leaf *leaf = path->leaf;
    uint32_t limit = path->child & INDEX_PACKED ? leaf->count : INDEX_LEAF_SLOTS;
    if (path->slot + INDEX_EXPECTED < limit)
        __builtin_prefetch(leaf->slots[path->slot + INDEX_EXPECTED].value);
}

/* Inserts before path->slot; path comes from a search for key (slot possibly moved behind equal keys) and is
 * used up. Returns 0 or -ENOMEM, then the elements are unchanged. */
int index_insert(struct index *index, struct index_path *path, uint64_t key, void *value);
/* Removes the element at path->slot; path is used up. */
void index_remove(struct index *index, struct index_path *path);

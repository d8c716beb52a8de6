/* The index: a radix tree with gapped leaves.
 *
 * Memory answers in 100 to 200 ns, so what a lookup costs is the number of cache lines that it waits for one
 * after the other, and whether the processor gets on with the next lookup meanwhile: it looks a few hundred
 * instructions ahead, up to the first branch that it predicted wrongly. Hence few instructions, few branches
 * that depend on data, and one line of one leaf.
 *
 * Nodes: an array of 8 to 512 children, indexed by the next 3 to 9 bits of the key. A child is a node, a leaf
 * or nothing. A leaf of depth d in a node of b bits stands in 2^(b-d) neighbouring places, those that share d
 * bits; splitting it makes two of depth d + 1, for which the node doubles where b = d, and at 9 bits a node
 * below it begins. So 20 million elements are reached through two nodes, all of the same width, and the way
 * down is the same for all keys: nothing to predict wrongly. The nodes are about a hundred times fewer than
 * the elements. (Extendible hashing, Fagin et al. 1979, with its directory cut into a tree: what doubles is
 * at most 4 KiB.)
 *
 * Leaves: keys are hashes, evenly spread most of the time, so the bits after the leaf's own prefix tell where
 * in the leaf a key should stand: its home. A leaf (255 slots, 4 KiB) is a table with linear probing by home,
 * which, as home grows with the key, is sorted at the same time: a lookup reads one or two lines of it, an
 * insertion moves a few neighbours up to the next gap, a walk goes through it from left to right. The prefix
 * is known from the way down, so the leaf's header is not read by lookups.
 *
 * Where keys are not evenly spread (an adversary's), a leaf whose elements would stand more than REACH slots
 * from home is packed instead: a plain sorted array and binary search. Leaves of less than 255 slots are
 * packed, too; the first has 3 slots, for small directories. At level 7, 63 bits deep, leaves are not split
 * any more but double.
 *
 * A leaf that falls below an eighth merges with its buddy (the leaf that shares all but the last bit) when
 * both together are at most 96 elements; a node whose width no child needs any more is halved, and a leaf of
 * depth 0 takes the place of its node. So what was removed leaves nothing behind.
 *
 * Pointers to children carry in their low six bits what the way down needs, so that nodes have no header, as
 * the numbers by which it shifts the key: of a node 64 less its width, which is beyond 31 and so is the sign
 * of a node; of a gapped leaf its depth; of a packed leaf, or of nothing, the depth and a bit that says so.
 * Nodes stand under nodes of the greatest width only, in one place. */
#include "meta/index.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define NODE_BITS_FIRST 3u
#define NODE_BITS_MAX 9u
#define LEAF_FIRST 3u
#define LEAF_SLOTS INDEX_LEAF_SLOTS
#define LEAF_HOMES INDEX_LEAF_HOMES
#define LEAF_LIMIT 190u /* elements of a gapped leaf */
#define REACH 24u       /* the farthest that an element is moved from home or a gap is looked for */
#define MERGE_BELOW 31u
#define MERGE_MAX 96u

static_assert(64 - NODE_BITS_MAX >= INDEX_NODE && NODE_BITS_MAX < INDEX_PACKED, "tags can be told apart");
static_assert(INDEX_LEVELS_MAX * NODE_BITS_MAX < 64, "a leaf's prefix leaves bits for its homes");
static_assert(MEMORY_ALIGNMENT > INDEX_TAGS, "nodes and leaves leave the tags' bits free");
static_assert(sizeof(struct index_leaf) + LEAF_SLOTS * sizeof(struct index_slot) == 4096,
              "a leaf's size class");

static size_t leaf_size(uint32_t capacity)
{
    return sizeof(struct index_leaf) + (size_t)capacity * sizeof(struct index_slot);
}

static size_t node_size(uint32_t bits)
{
    return sizeof(uintptr_t) << bits;
}

static inline struct index_leaf *child_leaf(uintptr_t child)
{
    return (struct index_leaf *)(child & ~INDEX_TAGS);
}

static inline struct index_node *child_node(uintptr_t child)
{
    return (struct index_node *)(child & ~INDEX_TAGS);
}

static inline uint32_t node_bits(uintptr_t child)
{
    return 64 - (uint32_t)(child & INDEX_TAGS);
}

static inline uintptr_t node_tag(uint32_t bits)
{
    return 64 - bits;
}

/* Of a leaf or nothing. */
static inline uint32_t leaf_depth(uintptr_t child)
{
    return (uint32_t)(child & (INDEX_PACKED - 1));
}

static inline uintptr_t nothing(uintptr_t depth)
{
    return INDEX_PACKED | depth;
}

static inline uint32_t child_count(uintptr_t child)
{
    return child_leaf(child) == NULL ? 0 : child_leaf(child)->count;
}

/* Neighbouring places of a node of this width that a child takes. */
static inline uint32_t child_places(uintptr_t child, uint32_t bits)
{
    return child & INDEX_NODE ? 1 : 1u << (bits - leaf_depth(child));
}

/* Bits of the key that all elements of path's leaf share. */
static inline uint32_t path_prefix(const struct index_path *path)
{
    return path->level_count == 0 ? 0 : path->levels[path->level_count - 1].above + leaf_depth(path->child);
}

static inline uint32_t home_of(uint64_t key, uint32_t prefix)
{
    return (uint32_t)((((key << prefix) >> 32) * LEAF_HOMES) >> 32);
}

void index_init(struct index *index, struct memory *memory)
{
    *index = (struct index){.root = nothing(0), .memory = memory};
}

static void leaf_free(struct index *index, struct index_leaf *leaf)
{
    memory_release(index->memory, leaf, leaf_size(leaf->capacity));
}

/* The first place, in a node of this width, after those that the child at slot stands in. */
static uint32_t slot_after(uint32_t slot, uintptr_t child, uint32_t bits)
{
    uint32_t places = child_places(child, bits);
    return (slot & ~(places - 1)) + places;
}

static void clear_child(struct index *index, uintptr_t child)
{
    if (child & INDEX_NODE) {
        struct index_node *node = child_node(child);
        uint32_t bits = node_bits(child);
        for (uint32_t slot = 0; slot < 1u << bits; slot = slot_after(slot, node->children[slot], bits))
            clear_child(index, node->children[slot]);
        memory_release(index->memory, node, node_size(bits));
    } else if (child_leaf(child) != NULL) {
        leaf_free(index, child_leaf(child));
    }
}

void index_clear(struct index *index)
{
    clear_child(index, index->root);
    index->root = nothing(0);
}

/* ---- search ---- */

/* Notes in path that its next level goes through a node to `slot`; sets path->child to what is there. */
static inline void path_enter(struct index_path *path, uintptr_t node, uint32_t slot, uint32_t above)
{
    uint32_t level = path->level_count++;
    path->levels[level].node = child_node(node);
    path->levels[level].slot = (uint16_t)slot;
    path->levels[level].bits = (uint8_t)node_bits(node);
    path->levels[level].above = (uint8_t)above;
    path->child = child_node(node)->children[slot];
}

void index_descend(const struct index *index, uint64_t key, struct index_path *path)
{
    uint32_t above = 0;
    path->level_count = 0;
    path->child = index->root;
    while (path->child & INDEX_NODE) {
        uint32_t bits = node_bits(path->child);
        path_enter(path, path->child, (uint32_t)((key << above) >> (64 - bits)), above);
        above += bits;
    }
    path->leaf = child_leaf(path->child);
    path->slot = home_of(key, path_prefix(path));
    if (path->leaf != NULL) {
        __builtin_prefetch(path->leaf, 1); /* its count, for what follows a search that may change it */
        __builtin_prefetch(&path->leaf->slots[path->slot]);
        __builtin_prefetch(&path->leaf->slots[path->slot + 3]);
    }
}

/* The first element with a key >= key of a sorted leaf. */
static uint32_t packed_search(const struct index_leaf *leaf, uint64_t key)
{
    uint32_t left = 0;
    for (uint32_t right = leaf->count; left < right;) {
        uint32_t middle = left + (right - left) / 2;
        if (leaf->slots[middle].key < key)
            left = middle + 1;
        else
            right = middle;
    }
    return left;
}

static uint32_t packed_find(struct index_path *path, uint64_t key)
{
    const struct index_leaf *leaf = path->leaf;
    uint32_t slot = packed_search(leaf, key);
    path->slot = slot;
    if (slot == leaf->count || leaf->slots[slot].key != key)
        return 0;
    if (slot + 1 == leaf->count || leaf->slots[slot + 1].key != key)
        return 1;
    return (key == UINT64_MAX ? leaf->count : packed_search(leaf, key + 1)) - slot;
}

/* The first element of a gapped leaf with a key >= key, or where it would stand; home is key's. */
static inline struct index_slot *gapped_search(struct index_leaf *leaf, uint64_t key, uint32_t home)
{
    /* Empty slots have the greatest key. The first four comparisons have no branches. */
    struct index_slot *start = leaf->slots + home;
    struct index_slot *slot = start;
    for (uint32_t i = 0; i < 4; i++)
        slot += start[i].key < key;
    if (__builtin_expect(slot == start + 4, 0)) {
        while (slot < leaf->slots + LEAF_SLOTS && slot->key < key)
            slot++;
    }
    return slot;
}

/* How many elements with this key stand at slot and after. */
static inline uint32_t gapped_run(const struct index_leaf *leaf, const struct index_slot *slot, uint64_t key)
{
    const struct index_slot *limit = leaf->slots + LEAF_SLOTS;
    uint32_t count = 0;
    while (slot + count < limit && slot[count].key == key && slot[count].value != NULL)
        count++;
    return count;
}

uint32_t index_search(struct index_path *path, uint64_t key)
{
    if (path->leaf == NULL)
        return 0;
    if (path->child & INDEX_PACKED)
        return packed_find(path, key);
    struct index_slot *slot = gapped_search(path->leaf, key, path->slot);
    path->slot = (uint32_t)(slot - path->leaf->slots);
    return gapped_run(path->leaf, slot, key);
}

/* Moves path to the leaf after its own. */
static bool next_leaf(struct index_path *path)
{
    while (path->level_count > 0) {
        uint32_t level = path->level_count - 1;
        uint32_t bits = path->levels[level].bits;
        uint32_t slot = slot_after(path->levels[level].slot, path->child, bits);
        if (slot == 1u << bits) {
            path->child = (uintptr_t)path->levels[level].node | node_tag(bits);
            path->level_count--;
            continue;
        }
        path->levels[level].slot = (uint16_t)slot;
        path->child = path->levels[level].node->children[slot];
        for (uint32_t above = path->levels[level].above + bits; path->child & INDEX_NODE;) {
            bits = node_bits(path->child);
            path_enter(path, path->child, 0, above);
            above += bits;
        }
        path->leaf = child_leaf(path->child);
        path->slot = 0;
        return true;
    }
    return false;
}

struct index_slot *index_element(struct index_path *path)
{
    do {
        struct index_leaf *leaf = path->leaf;
        uint32_t limit = leaf == NULL ? 0 : path->child & INDEX_PACKED ? leaf->count : LEAF_SLOTS;
        for (; path->slot < limit; path->slot++) {
            if (leaf->slots[path->slot].value != NULL)
                return &leaf->slots[path->slot];
        }
    } while (next_leaf(path));
    return NULL;
}

/* ---- leaves ---- */

static struct index_leaf *leaf_create(struct index *index, uint32_t capacity)
{
    struct index_leaf *leaf = memory_allocate(index->memory, leaf_size(capacity));
    if (leaf != NULL)
        *leaf = (struct index_leaf){.capacity = capacity};
    return leaf;
}

/* Lays out sorted elements in a leaf; they must not lie in it. Returns the pointer to it, without a depth. */
static uintptr_t leaf_fill(struct index_leaf *leaf, const struct index_slot *elements, uint32_t count,
                           uint32_t prefix)
{
    assert(count <= leaf->capacity);
    leaf->count = count;
    uint8_t places[LEAF_LIMIT];
    bool gapped = leaf->capacity == LEAF_SLOTS && count <= LEAF_LIMIT;
    uint32_t next = 0;
    for (uint32_t i = 0; gapped && i < count; i++) {
        uint32_t home = home_of(elements[i].key, prefix);
        uint32_t place = home > next ? home : next;
        gapped = place < LEAF_SLOTS && place - home <= REACH;
        places[i] = (uint8_t)place;
        next = place + 1;
    }
    if (!gapped) {
        memcpy(leaf->slots, elements, count * sizeof(*elements));
        return (uintptr_t)leaf | INDEX_PACKED;
    }
    for (uint32_t slot = 0; slot < LEAF_SLOTS; slot++)
        leaf->slots[slot] = (struct index_slot){.key = UINT64_MAX};
    for (uint32_t i = 0; i < count; i++)
        leaf->slots[places[i]] = elements[i];
    return (uintptr_t)leaf;
}

/* Copies the elements in order; returns how many. */
static uint32_t leaf_gather(uintptr_t child, struct index_slot *elements)
{
    const struct index_leaf *leaf = child_leaf(child);
    if (leaf == NULL)
        return 0;
    if (child & INDEX_PACKED) {
        memcpy(elements, leaf->slots, leaf->count * sizeof(*elements));
        return leaf->count;
    }
    uint32_t count = 0;
    for (uint32_t slot = 0; slot < LEAF_SLOTS; slot++) {
        if (leaf->slots[slot].value != NULL)
            elements[count++] = leaf->slots[slot];
    }
    return count;
}

/* Makes room at path->slot of a gapped leaf by moving what stands there up to the next gap. */
static bool gapped_insert(struct index_path *path, uint64_t key, void *value)
{
    struct index_leaf *leaf = path->leaf;
    uint32_t slot = path->slot;
    uint32_t gap = slot;
    while (gap < LEAF_SLOTS && leaf->slots[gap].value != NULL && gap - slot < REACH)
        gap++;
    if (leaf->count >= LEAF_LIMIT || gap >= LEAF_SLOTS || leaf->slots[gap].value != NULL)
        return false;
    for (; gap > slot; gap--)
        leaf->slots[gap] = leaf->slots[gap - 1];
    leaf->slots[slot] = (struct index_slot){.key = key, .value = value};
    leaf->count++;
    return true;
}

static void packed_insert(struct index_leaf *leaf, uint32_t slot, uint64_t key, void *value)
{
    memmove(leaf->slots + slot + 1, leaf->slots + slot, (leaf->count - slot) * sizeof(struct index_slot));
    leaf->slots[slot] = (struct index_slot){.key = key, .value = value};
    leaf->count++;
}

/* ---- growing ---- */

/* Puts child into all its places in path's last node, slot being one of them. */
static void place_child(struct index_path *path, uint32_t slot, uintptr_t child)
{
    uint32_t places = child_places(child, path->levels[path->level_count - 1].bits);
    uintptr_t *children = path->levels[path->level_count - 1].node->children + (slot & ~(places - 1));
    for (uint32_t i = 0; i < places; i++)
        children[i] = child;
}

/* Puts child where path leads. */
static void set_child(struct index *index, struct index_path *path, uintptr_t child)
{
    path->child = child;
    if (path->level_count == 0)
        index->root = child;
    else
        place_child(path, path->levels[path->level_count - 1].slot, child);
}

/* Puts a node of another width in the place of path's last one, which is freed. */
static void replace_node(struct index *index, struct index_path *path, struct index_node *node, uint32_t bits,
                         uint64_t key)
{
    uint32_t level = --path->level_count;
    memory_release(index->memory, path->levels[level].node, node_size(path->levels[level].bits));
    uintptr_t tagged = (uintptr_t)node | node_tag(bits);
    set_child(index, path, tagged);
    uint32_t above = path->levels[level].above;
    path_enter(path, tagged, (uint32_t)((key << above) >> (64 - bits)), above);
}

/* Makes a leaf as deep as nodes are wide (or the root) the only child, of depth 0, of a new node. */
static int add_node(struct index *index, struct index_path *path, uint64_t key)
{
    struct index_node *node = memory_allocate(index->memory, node_size(NODE_BITS_FIRST));
    if (node == NULL)
        return -ENOMEM;
    uint32_t above = path_prefix(path);
    uintptr_t tagged = (uintptr_t)node | node_tag(NODE_BITS_FIRST);
    for (uint32_t slot = 0; slot < 1u << NODE_BITS_FIRST; slot++)
        node->children[slot] = path->child & ~(INDEX_PACKED - 1);
    set_child(index, path, tagged);
    path_enter(path, tagged, (uint32_t)((key << above) >> (64 - NODE_BITS_FIRST)), above);
    return 0;
}

/* Doubles path's last node. */
static int widen_node(struct index *index, struct index_path *path, uint64_t key)
{
    const struct index_node *old = path->levels[path->level_count - 1].node;
    uint32_t bits = path->levels[path->level_count - 1].bits + 1u;
    struct index_node *node = memory_allocate(index->memory, node_size(bits));
    if (node == NULL)
        return -ENOMEM;
    for (uint32_t slot = 0; slot < 1u << bits; slot++)
        node->children[slot] = old->children[slot / 2];
    replace_node(index, path, node, bits, key);
    return 0;
}

/* Splits path's leaf by one more bit. */
static int leaf_split(struct index *index, struct index_path *path, uint64_t key)
{
    int status = 0;
    if (path->level_count == 0 || leaf_depth(path->child) == NODE_BITS_MAX)
        status = add_node(index, path, key);
    else if (leaf_depth(path->child) == path->levels[path->level_count - 1].bits)
        status = widen_node(index, path, key);
    if (status < 0)
        return status;
    struct index_leaf *leaf = path->leaf;
    struct index_slot elements[LEAF_SLOTS];
    uint32_t count = leaf_gather(path->child, elements);
    uint32_t prefix = path_prefix(path) + 1;
    uint32_t below = 0;
    while (below < count && ((elements[below].key >> (64 - prefix)) & 1) == 0)
        below++;
    struct index_leaf *other = NULL;
    if (below > 0 && below < count) {
        other = leaf_create(index, LEAF_SLOTS);
        if (other == NULL)
            return -ENOMEM;
    }
    uintptr_t depth = leaf_depth(path->child) + 1;
    uintptr_t sides[2] = {nothing(depth), nothing(depth)};
    if (below > 0)
        sides[0] = leaf_fill(leaf, elements, below, prefix) | depth;
    if (below < count)
        sides[1] = leaf_fill(other != NULL ? other : leaf, elements + below, count - below, prefix) | depth;
    uint32_t own = path->levels[path->level_count - 1].slot;
    uint32_t bit = child_places(sides[0], path->levels[path->level_count - 1].bits);
    place_child(path, own & ~bit, sides[0]);
    place_child(path, own | bit, sides[1]);
    return 0;
}

/* Replaces path's packed leaf by one of twice the capacity. */
static int leaf_grow(struct index *index, struct index_path *path)
{
    struct index_leaf *old = path->leaf;
    struct index_leaf *leaf = leaf_create(index, old->capacity * 2 + 1);
    if (leaf == NULL)
        return -ENOMEM;
    uintptr_t filled = leaf_fill(leaf, old->slots, old->count, path_prefix(path));
    set_child(index, path, filled | leaf_depth(path->child));
    leaf_free(index, old);
    return 0;
}

/* One step towards room for key where there is none: a first leaf, a bigger one, a packed one, or a split. */
static int make_room(struct index *index, struct index_path *path, uint64_t key)
{
    struct index_leaf *leaf = path->leaf;
    if (leaf == NULL) {
        leaf = leaf_create(index, LEAF_FIRST);
        if (leaf == NULL)
            return -ENOMEM;
        set_child(index, path, (uintptr_t)leaf | path->child);
        return 0;
    }
    bool packed = path->child & INDEX_PACKED;
    if (packed && leaf->capacity < LEAF_SLOTS)
        return leaf_grow(index, path);
    bool bottom = path->level_count == INDEX_LEVELS_MAX && leaf_depth(path->child) == NODE_BITS_MAX;
    if (packed && (bottom || leaf->capacity > LEAF_SLOTS))
        return leaf_grow(index, path);
    if (packed || (leaf->count >= LEAF_LIMIT / 2 && !bottom))
        return leaf_split(index, path, key);
    struct index_slot elements[LEAF_SLOTS];
    uint32_t count = leaf_gather(path->child, elements);
    memcpy(leaf->slots, elements, count * sizeof(*elements));
    set_child(index, path, path->child | INDEX_PACKED);
    return 0;
}

int index_insert(struct index *index, struct index_path *path, uint64_t key, void *value)
{
    assert(value != NULL);
    /* Among its equals, where the caller wants it: counted from the first of them. */
    for (uint32_t place = UINT32_MAX;;) {
        if (path->leaf != NULL) {
            if (place != UINT32_MAX) {
                index_search(path, key);
                path->slot += place;
            }
            if (path->child & INDEX_PACKED) {
                if (path->leaf->count < path->leaf->capacity) {
                    packed_insert(path->leaf, path->slot, key, value);
                    return 0;
                }
            } else if (gapped_insert(path, key, value)) {
                return 0;
            }
        }
        if (place == UINT32_MAX) {
            uint32_t wanted = path->slot;
            path->slot = home_of(key, path_prefix(path));
            index_search(path, key);
            place = path->leaf == NULL ? 0 : wanted - path->slot;
        }
        int status = make_room(index, path, key);
        if (status < 0)
            return status;
        index_descend(index, key, path);
    }
}

/* ---- shrinking ---- */

/* Halves path's last node if no child needs its width. If memory is short, it stays as it is. */
static void narrow_node(struct index *index, struct index_path *path, uint64_t key)
{
    const struct index_node *old = path->levels[path->level_count - 1].node;
    uint32_t bits = path->levels[path->level_count - 1].bits;
    if (bits == NODE_BITS_FIRST)
        return;
    for (uint32_t slot = 0; slot < 1u << bits; slot = slot_after(slot, old->children[slot], bits)) {
        if (child_places(old->children[slot], bits) == 1)
            return;
    }
    struct index_node *node = memory_allocate(index->memory, node_size(bits - 1));
    if (node == NULL)
        return;
    for (uint32_t slot = 0; slot < 1u << (bits - 1); slot++)
        node->children[slot] = old->children[slot * 2];
    replace_node(index, path, node, bits - 1, key);
}

/* Merges path's leaf (or nothing) with its buddy, as often as that is possible. */
static void merge(struct index *index, struct index_path *path, uint64_t key)
{
    while (path->level_count > 0) {
        struct index_node *node = path->levels[path->level_count - 1].node;
        uint32_t bits = path->levels[path->level_count - 1].bits;
        uint32_t depth = leaf_depth(path->child);
        if (depth == 0) {
            /* The only child takes the node's place. */
            path->level_count--;
            uintptr_t child = path->child | (path->level_count > 0 ? NODE_BITS_MAX : 0);
            set_child(index, path, child);
            memory_release(index->memory, node, node_size(bits));
            continue;
        }
        uint32_t bit = child_places(path->child, bits);
        uint32_t own = path->levels[path->level_count - 1].slot;
        uintptr_t left = node->children[own & ~bit];
        uintptr_t right = node->children[own | bit];
        if ((left | right) & INDEX_NODE || leaf_depth(left) != leaf_depth(right) ||
            child_count(left) + child_count(right) > MERGE_MAX)
            return;
        struct index_slot elements[MERGE_MAX];
        uint32_t count = leaf_gather(left, elements);
        count += leaf_gather(right, elements + count);
        struct index_leaf *kept = child_leaf(left);
        struct index_leaf *freed = child_leaf(right);
        if (kept == NULL || (freed != NULL && freed->capacity > kept->capacity)) {
            kept = child_leaf(right);
            freed = child_leaf(left);
        }
        if (kept != NULL && count > kept->capacity)
            return;
        uintptr_t merged = nothing(depth - 1);
        if (kept != NULL)
            merged = leaf_fill(kept, elements, count, path_prefix(path) - 1) | (depth - 1);
        if (freed != NULL)
            leaf_free(index, freed);
        set_child(index, path, merged);
        if (depth == bits)
            narrow_node(index, path, key);
    }
}

void index_remove(struct index *index, struct index_path *path)
{
    struct index_leaf *leaf = path->leaf;
    uint32_t hole = path->slot;
    uint64_t key = leaf->slots[hole].key;
    leaf->count--;
    if (path->child & INDEX_PACKED) {
        memmove(leaf->slots + hole, leaf->slots + hole + 1, (leaf->count - hole) * sizeof(struct index_slot));
    } else {
        uint32_t prefix = path_prefix(path);
        for (uint32_t next = hole + 1; next < LEAF_SLOTS && leaf->slots[next].value != NULL &&
                                       home_of(leaf->slots[next].key, prefix) <= hole;
             next++) {
            leaf->slots[hole] = leaf->slots[next];
            hole = next;
        }
        leaf->slots[hole] = (struct index_slot){.key = UINT64_MAX};
    }
    if (leaf->count >= MERGE_BELOW)
        return;
    if (leaf->count == 0) {
        set_child(index, path, nothing(leaf_depth(path->child)));
        leaf_free(index, leaf);
    }
    merge(index, path, key);
}

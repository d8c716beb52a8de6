/* Two linear hash tables (Litwin 1980): chunks by (inode, index), and one record per inode that heads the
 * list of its chunks, so that removing a file costs its own chunks and nothing else.
 *
 * A table of 2^level + split buckets addresses a key by its lowest level bits, or by one bit more when that
 * bucket was split already in this round. An insertion beyond one entry a bucket splits exactly one bucket:
 * growth costs every insertion the same. Buckets lie in segments, segment s holding the 2^(s-1) buckets that
 * its round adds; their memory comes zeroed from the kernel and is touched bucket by bucket. When a segment
 * cannot be allocated the table stays as it is and chains grow instead. Tables do not shrink. */
#include "store/chunk_index.h"

#include <errno.h>
#include <stdlib.h>

#include "base/hash.h"

#define FIRST_LEVEL 6

static uint64_t node_hash(uint64_t inode, uint64_t index)
{
    return hash_mix(inode ^ hash_mix(index + UINT64_C(0x9e3779b97f4a7c15)));
}

/* Segment 0 holds the first 2^FIRST_LEVEL buckets, segment s > 0 buckets [2^(FIRST_LEVEL+s-1),
 * 2^(FIRST_LEVEL+s)). */
static struct index_node **bucket_at(const struct index_table *table, uint64_t bucket)
{
    uint64_t first = bucket >> FIRST_LEVEL;
    if (first == 0)
        return &table->segments[0][bucket];
    uint32_t top = 63u - (uint32_t)__builtin_clzll(first);
    return &table->segments[top + 1][bucket - (UINT64_C(1) << (FIRST_LEVEL + top))];
}

static struct index_node **bucket_of(const struct index_table *table, uint64_t hash)
{
    uint64_t bucket = hash & ((UINT64_C(1) << table->level) - 1);
    if (bucket < table->split)
        bucket = hash & ((UINT64_C(1) << (table->level + 1)) - 1);
    return bucket_at(table, bucket);
}

static int table_init(struct index_table *table)
{
    *table = (struct index_table){.level = FIRST_LEVEL};
    table->segments[0] = calloc(1u << FIRST_LEVEL, sizeof(struct index_node *));
    return table->segments[0] == NULL ? -ENOMEM : 0;
}

static void table_free(struct index_table *table)
{
    for (uint32_t i = 0; i < CHUNK_INDEX_SEGMENTS; i++)
        free(table->segments[i]);
    *table = (struct index_table){0};
}

static struct index_node *table_find(const struct index_table *table, uint64_t inode, uint64_t index)
{
    struct index_node *node = *bucket_of(table, node_hash(inode, index));
    while (node != NULL && (node->inode != inode || node->index != index))
        node = node->next;
    return node;
}

static void table_split(struct index_table *table)
{
    uint32_t segment = table->level - FIRST_LEVEL + 1;
    uint64_t size = UINT64_C(1) << table->level;
    if (segment >= CHUNK_INDEX_SEGMENTS)
        return;
    if (table->segments[segment] == NULL) {
        table->segments[segment] = calloc(size, sizeof(struct index_node *));
        if (table->segments[segment] == NULL)
            return;
    }
    struct index_node **from = bucket_at(table, table->split);
    struct index_node **to = bucket_at(table, table->split + size);
    while (*from != NULL) {
        struct index_node *node = *from;
        if ((node_hash(node->inode, node->index) & size) != 0) {
            *from = node->next;
            node->next = *to;
            *to = node;
        } else {
            from = &node->next;
        }
    }
    if (++table->split == size) {
        table->split = 0;
        table->level++;
    }
}

static void table_insert(struct index_table *table, struct index_node *node)
{
    if (table->count++ >= (UINT64_C(1) << table->level) + table->split)
        table_split(table);
    struct index_node **bucket = bucket_of(table, node_hash(node->inode, node->index));
    node->next = *bucket;
    *bucket = node;
}

static void table_remove(struct index_table *table, struct index_node *node)
{
    struct index_node **place = bucket_of(table, node_hash(node->inode, node->index));
    while (*place != node)
        place = &(*place)->next;
    *place = node->next;
    table->count--;
}

static struct chunk_file *find_file(const struct chunk_index *index, uint64_t inode)
{
    struct index_node *node = table_find(&index->files, inode, 0);
    return node == NULL ? NULL : container_of(node, struct chunk_file, node);
}

struct chunk_entry *chunk_index_find(const struct chunk_index *index, uint64_t inode, uint64_t chunk)
{
    struct index_node *node = table_find(&index->chunks, inode, chunk);
    return node == NULL ? NULL : container_of(node, struct chunk_entry, node);
}

int chunk_index_insert(struct chunk_index *index, struct chunk_entry *entry, uint64_t inode, uint64_t chunk)
{
    struct chunk_file *file = find_file(index, inode);
    entry->node = (struct index_node){.inode = inode, .index = chunk};
    list_init(&entry->siblings);
    if (file == NULL) {
        file = malloc(sizeof(*file));
        if (file == NULL)
            return -ENOMEM;
        *file = (struct chunk_file){.node = {.inode = inode}};
        list_init(&file->chunks);
        table_insert(&index->files, &file->node);
    }
    list_push_back(&file->chunks, &entry->siblings);
    file->count++;
    entry->file = file;
    table_insert(&index->chunks, &entry->node);
    return 0;
}

void chunk_index_remove(struct chunk_index *index, struct chunk_entry *entry)
{
    table_remove(&index->chunks, &entry->node);
    list_remove(&entry->siblings);
    struct chunk_file *file = entry->file;
    file->held -= entry->held;
    entry->held = 0;
    entry->file = NULL;
    if (--file->count == 0) {
        table_remove(&index->files, &file->node);
        free(file);
    }
}

const struct chunk_file *chunk_index_file(const struct chunk_index *index, uint64_t inode)
{
    return find_file(index, inode);
}

void chunk_index_visit(const struct chunk_index *index, uint64_t inode, uint64_t first, uint64_t last,
                       void (*visit)(void *owner, struct chunk_entry *entry), void *owner)
{
    struct chunk_file *file = find_file(index, inode);
    if (file == NULL)
        return;
    if (last - first < file->count) {
        for (uint64_t at = first;; at++) {
            struct chunk_entry *entry = chunk_index_find(index, inode, at);
            if (entry != NULL)
                visit(owner, entry);
            if (at == last)
                return;
        }
    }
    struct list *node = file->chunks.next;
    for (uint64_t left = file->count; left > 0; left--) {
        struct chunk_entry *entry = container_of(node, struct chunk_entry, siblings);
        node = node->next;
        if (entry->node.index >= first && entry->node.index <= last)
            visit(owner, entry);
    }
}

/* So many indices are tried one by one first: chunks mostly lie close together. */
#define NEXT_PROBES 256u

struct chunk_entry *chunk_index_next(const struct chunk_index *index, uint64_t inode, uint64_t first)
{
    struct chunk_file *file = find_file(index, inode);
    if (file == NULL)
        return NULL;
    for (uint64_t i = 0; i < NEXT_PROBES && i < file->count && first + i >= first; i++) {
        struct chunk_entry *entry = chunk_index_find(index, inode, first + i);
        if (entry != NULL)
            return entry;
    }
    struct chunk_entry *next = NULL;
    list_for_each (node, &file->chunks) {
        struct chunk_entry *entry = container_of(node, struct chunk_entry, siblings);
        if (entry->node.index >= first && (next == NULL || entry->node.index < next->node.index))
            next = entry;
    }
    return next;
}

void chunk_index_remove_from(struct chunk_index *index, uint64_t inode, uint64_t first,
                             void (*dispose)(void *owner, struct chunk_entry *entry), void *owner)
{
    struct chunk_file *file = find_file(index, inode);
    if (file == NULL)
        return;
    struct list *node = file->chunks.next;
    for (bool last = false; !last;) {
        struct chunk_entry *entry = container_of(node, struct chunk_entry, siblings);
        node = node->next;
        last = node == &file->chunks;
        if (entry->node.index >= first) {
            chunk_index_remove(index, entry);
            dispose(owner, entry);
        }
    }
}

int chunk_index_init(struct chunk_index *index)
{
    *index = (struct chunk_index){0};
    if (table_init(&index->chunks) != 0)
        return -ENOMEM;
    if (table_init(&index->files) != 0) {
        table_free(&index->chunks);
        return -ENOMEM;
    }
    return 0;
}

/* ---- walks ---- */

static uint64_t table_buckets(const struct index_table *table)
{
    return (UINT64_C(1) << table->level) + table->split;
}

uint64_t chunk_index_buckets(const struct chunk_index *index)
{
    return table_buckets(&index->chunks);
}

uint64_t chunk_index_memory(const struct chunk_index *index, size_t chunk_bytes)
{
    return index->chunks.count * chunk_bytes + index->files.count * sizeof(struct chunk_file) +
           (table_buckets(&index->chunks) + table_buckets(&index->files)) * sizeof(struct index_node *);
}

void chunk_index_visit_bucket(const struct chunk_index *index, uint64_t bucket,
                              void (*visit)(void *owner, struct chunk_entry *entry), void *owner)
{
    for (struct index_node *node = *bucket_at(&index->chunks, bucket); node != NULL; node = node->next)
        visit(owner, container_of(node, struct chunk_entry, node));
}

/* ---- walking ---- */

/* Position of an inode in a walk: its hash, read backwards. A bucket is an interval of them, whatever number
 * of bits addresses it, and splitting it cuts that interval in two (Shalev and Shavit, Split-Ordered Lists,
 * 2003). So the order is the same for ever, and known without looking at other inodes. No two have the same.
 */
static uint64_t reversed(uint64_t bits)
{
    bits = __builtin_bswap64(bits);
    bits = (bits & UINT64_C(0x0f0f0f0f0f0f0f0f)) << 4 | (bits >> 4 & UINT64_C(0x0f0f0f0f0f0f0f0f));
    bits = (bits & UINT64_C(0x3333333333333333)) << 2 | (bits >> 2 & UINT64_C(0x3333333333333333));
    return (bits & UINT64_C(0x5555555555555555)) << 1 | (bits >> 1 & UINT64_C(0x5555555555555555));
}

static uint64_t walk_rank(uint64_t inode)
{
    return reversed(node_hash(inode, 0));
}

bool chunk_cursor_precedes(const struct store_cursor *first, const struct store_cursor *second)
{
    if (first->inode == second->inode)
        return first->index < second->index;
    return walk_rank(first->inode) < walk_rank(second->inode);
}

/* The first file at that position or behind it, or NULL. */
static const struct chunk_file *file_from(const struct chunk_index *index, uint64_t rank)
{
    const struct index_table *table = &index->files;
    for (;;) {
        uint64_t hash = reversed(rank), first = UINT64_MAX;
        const struct index_node *found = NULL;
        for (const struct index_node *node = *bucket_of(table, hash); node != NULL; node = node->next) {
            uint64_t at = walk_rank(node->inode);
            if (at < rank || at > first)
                continue;
            first = at;
            found = node;
        }
        if (found != NULL)
            return container_of(found, struct chunk_file, node);
        uint32_t bits =
            (hash & ((UINT64_C(1) << table->level) - 1)) < table->split ? table->level + 1 : table->level;
        uint64_t next = (rank >> (64 - bits)) + 1;
        if (next >> bits != 0)
            return NULL;
        rank = next << (64 - bits);
    }
}

struct chunk_entry *chunk_index_advance(struct chunk_index *index, struct store_cursor *cursor)
{
    struct chunk_entry *entry = NULL;
    uint64_t rank = 0;
    if (cursor->inode != 0) {
        if (cursor->index != UINT64_MAX)
            entry = chunk_index_next(index, cursor->inode, cursor->index + 1);
        rank = walk_rank(cursor->inode);
        if (entry == NULL && ++rank == 0)
            return NULL;
    }
    if (entry == NULL) {
        const struct chunk_file *file = file_from(index, rank);
        if (file == NULL)
            return NULL;
        entry = chunk_index_next(index, file->node.inode, 0);
    }
    *cursor = (struct store_cursor){entry->node.inode, entry->node.index};
    return entry;
}

/* Calls visit for every node; visit may free it. */
static void table_each(struct index_table *table, void (*visit)(void *owner, struct index_node *node),
                       void *owner)
{
    for (uint64_t bucket = 0; bucket < table_buckets(table); bucket++)
        for (struct index_node *node = *bucket_at(table, bucket), *next; node != NULL; node = next) {
            next = node->next;
            visit(owner, node);
        }
}

struct disposal {
    void (*dispose)(void *owner, struct chunk_entry *entry);
    void *owner;
};

static void dispose_chunk(void *owner, struct index_node *node)
{
    struct disposal *disposal = owner;
    disposal->dispose(disposal->owner, container_of(node, struct chunk_entry, node));
}

static void dispose_file(void *owner, struct index_node *node)
{
    (void)owner;
    free(container_of(node, struct chunk_file, node));
}

void chunk_index_free(struct chunk_index *index, void (*dispose)(void *owner, struct chunk_entry *entry),
                      void *owner)
{
    struct disposal disposal = {dispose, owner};
    table_each(&index->chunks, dispose_chunk, &disposal);
    table_each(&index->files, dispose_file, NULL);
    table_free(&index->chunks);
    table_free(&index->files);
}

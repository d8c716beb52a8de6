/* The inode table: inode number to struct inode, by partition and counter. */
#pragma once

#include <stdint.h>

#include "cluster/partition.h"
#include "meta/memory.h"

struct inode;
struct table_box;

/* The inodes of one partition: half a cache line, all that the insertion of a new number touches besides the
 * place of the new pointer itself. */
struct table_shelf {
    union {
        struct table_box *boxes; /* ascending */
        struct inode *only;      /* capacity 0: of the only number that is there; NULL: none */
    };
    union {
        struct inode *
            *open; /* slots of the box where counter stands, if it is there and full-sized; or NULL */
        uint64_t only_counter; /* capacity 0: of `only`; 0: none */
    };
    uint64_t counter; /* the greatest that was ever inserted */
    uint32_t count;
    uint32_t capacity; /* of boxes */
};

struct table {
    struct memory *memory;
    struct table_shelf shelves[PARTITION_COUNT];
};

void table_init(struct table *table, struct memory *memory);
/* The greatest counter that a partition ever had; 0: none. */
static inline uint64_t table_counter(const struct table *table, uint32_t partition)
{
    return table->shelves[partition].counter;
}
/* Begins to bring what the insertion of a partition's next number, or the removal of one, touches first into
 * the cache. */
static inline void table_expect(const struct table *table, uint32_t partition)
{
    __builtin_prefetch(&table->shelves[partition], 1);
}
/* The same for what a removal of this number touches next, when table_expect was called a while ago. */
void table_expect_removal(const struct table *table, uint64_t number);
/* NULL: not there. Any number may be asked for. */
struct inode *table_find(const struct table *table, uint64_t number);
/* number must be valid and not there. 0; -ENOMEM: nothing changed, the counter neither. */
int table_insert(struct table *table, uint64_t number, struct inode *inode);
void table_remove(struct table *table, uint64_t number);
/* Numbers of the partition up to this one are never made again. */
void table_raise(struct table *table, uint64_t number);
/* The inode with the least number beyond `number` (0: of all), in order of partition and counter; NULL: there
 * is none. */
struct inode *table_next(const struct table *table, uint64_t number);

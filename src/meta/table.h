/* The inode table: inode number to struct inode, by partition and counter. */
#pragma once

#include <stdint.h>

#include "cluster/partition.h"
#include "meta/memory.h"

struct inode;
struct table_box;

/* The inodes of one partition. */
struct table_shelf {
    struct table_box *boxes; /* ascending */
    uint32_t count;
    uint32_t capacity;
    uint64_t counter; /* the last number made */
};

struct table {
    struct memory *memory;
    struct table_shelf shelves[PARTITION_COUNT];
};

void table_init(struct table *table, struct memory *memory);
/* NULL: not there. Any number may be asked for. */
struct inode *table_find(const struct table *table, uint64_t number);
/* number must be valid and not there. 0; -ENOMEM: nothing changed. */
int table_insert(struct table *table, uint64_t number, struct inode *inode);
void table_remove(struct table *table, uint64_t number);

/* The inode table.
 *
 * Numbers of a partition are made in ascending order and never again, so a table by number needs no hashing:
 * each partition has a shelf of boxes, each box the pointers of up to 16 consecutive counters, and a new
 * inode goes into the shelf's last box, whose line is still in the cache from the seven before it. (A hash
 * table would wait for memory once more at every create, which is a third of what a create costs.) A dense
 * shelf is indexed directly; where boxes are missing because all of their inodes were removed, by binary
 * search. A box begins with room for two pointers and doubles; it goes with its last inode. The first inode
 * of a partition needs no box: with fewer files than partitions, which is with most servers, a creation or a
 * removal touches nothing but the shelf. Insertion of a number near the greatest does not even look at the
 * shelf's boxes: the shelf knows the slots of the box that they go to. */
#include "meta/table.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define BOX_BITS 4u
#define BOX_SLOTS (1u << BOX_BITS)
#define BOX_FIRST 2u
#define COUNTER_MASK ((UINT64_C(1) << INODE_COUNTER_BITS) - 1)

struct table_box {
    uint64_t place; /* counter >> BOX_BITS, and the number of slots in the top byte */
    struct inode **slots;
};

#define PLACE_MASK ((UINT64_C(1) << 56) - 1)

static inline uint64_t box_place(const struct table_box *box)
{
    return box->place & PLACE_MASK;
}

static inline uint32_t box_capacity(const struct table_box *box)
{
    return (uint32_t)(box->place >> 56);
}

void table_init(struct table *table, struct memory *memory)
{
    table->memory = memory;
}

/* The first box of the shelf at or behind place. */
static uint32_t shelf_search(const struct table_shelf *shelf, uint64_t place)
{
    if (shelf->count == 0 || place < box_place(&shelf->boxes[0]))
        return 0;
    uint64_t direct = place - box_place(&shelf->boxes[0]);
    if (direct < shelf->count && box_place(&shelf->boxes[direct]) == place)
        return (uint32_t)direct;
    uint32_t left = 0;
    for (uint32_t right = shelf->count; left < right;) {
        uint32_t middle = left + (right - left) / 2;
        if (box_place(&shelf->boxes[middle]) < place)
            left = middle + 1;
        else
            right = middle;
    }
    return left;
}

struct inode *table_find(const struct table *table, uint64_t number)
{
    if (!inode_valid(number))
        return NULL;
    const struct table_shelf *shelf = &table->shelves[inode_partition(number)];
    uint64_t counter = number & COUNTER_MASK;
    if (shelf->capacity == 0)
        return shelf->only_counter == counter ? shelf->only : NULL;
    uint32_t found = shelf_search(shelf, counter >> BOX_BITS);
    if (found == shelf->count)
        return NULL;
    const struct table_box *box = &shelf->boxes[found];
    uint32_t slot = (uint32_t)counter & (BOX_SLOTS - 1);
    return box_place(box) == counter >> BOX_BITS && slot < box_capacity(box) ? box->slots[slot] : NULL;
}

/* After the last box or the counter has changed. */
static void shelf_open(struct table_shelf *shelf)
{
    const struct table_box *last = shelf->count > 0 ? &shelf->boxes[shelf->count - 1] : NULL;
    bool open =
        last != NULL && box_place(last) == shelf->counter >> BOX_BITS && box_capacity(last) == BOX_SLOTS;
    shelf->open = open ? last->slots : NULL;
}

/* Gives the box at least `needed` slots. */
static int box_grow(struct table *table, struct table_box *box, uint32_t needed)
{
    uint32_t old = box_capacity(box);
    uint32_t capacity = old > 0 ? old : BOX_FIRST;
    while (capacity < needed)
        capacity *= 2;
    if (capacity == old)
        return 0;
    struct inode **slots = memory_allocate(table->memory, capacity * sizeof(struct inode *));
    if (slots == NULL)
        return -ENOMEM;
    if (old > 0) {
        memcpy(slots, box->slots, old * sizeof(struct inode *));
        memory_release(table->memory, box->slots, old * sizeof(struct inode *));
    }
    memset(slots + old, 0, (capacity - old) * sizeof(struct inode *));
    box->slots = slots;
    box->place = box_place(box) | (uint64_t)capacity << 56;
    return 0;
}

/* Puts a box in at `position`. */
static int shelf_insert(struct table *table, struct table_shelf *shelf, uint32_t position,
                        const struct table_box *box)
{
    if (shelf->count == shelf->capacity) {
        uint32_t capacity = shelf->capacity == 0 ? 1 : shelf->capacity * 2;
        struct table_box *boxes = memory_allocate(table->memory, capacity * sizeof(*boxes));
        if (boxes == NULL)
            return -ENOMEM;
        if (shelf->capacity > 0) {
            memcpy(boxes, shelf->boxes, shelf->count * sizeof(*boxes));
            memory_release(table->memory, shelf->boxes, shelf->capacity * sizeof(*boxes));
        }
        shelf->boxes = boxes;
        shelf->capacity = capacity;
    }
    memmove(shelf->boxes + position + 1, shelf->boxes + position, (shelf->count - position) * sizeof(*box));
    shelf->boxes[position] = *box;
    shelf->count++;
    return 0;
}

/* Puts an inode in, where there may be no place for it yet. */
static int shelf_put(struct table *table, struct table_shelf *shelf, uint64_t counter, struct inode *inode)
{
    uint64_t place = counter >> BOX_BITS;
    uint32_t slot = (uint32_t)counter & (BOX_SLOTS - 1);
    uint32_t position = shelf->count;
    if (position > 0 && box_place(&shelf->boxes[position - 1]) >= place)
        position =
            box_place(&shelf->boxes[position - 1]) == place ? position - 1 : shelf_search(shelf, place);
    if (position < shelf->count && box_place(&shelf->boxes[position]) == place) {
        struct table_box *box = &shelf->boxes[position];
        int status = box_grow(table, box, slot + 1);
        if (status < 0)
            return status;
        assert(box->slots[slot] == NULL);
        box->slots[slot] = inode;
        return 0;
    }
    struct table_box box = {.place = place};
    int status = box_grow(table, &box, slot + 1);
    if (status < 0)
        return status;
    box.slots[slot] = inode;
    status = shelf_insert(table, shelf, position, &box);
    if (status < 0)
        memory_release(table->memory, box.slots, box_capacity(&box) * sizeof(struct inode *));
    return status;
}

/* Gives the only inode, which has none, a box. 0; -ENOMEM: nothing changed. */
static int shelf_furnish(struct table *table, struct table_shelf *shelf)
{
    struct table_shelf furnished = {.counter = shelf->counter};
    int status = shelf_put(table, &furnished, shelf->only_counter, shelf->only);
    if (status < 0)
        return status;
    shelf_open(&furnished);
    *shelf = furnished;
    return 0;
}

int table_insert(struct table *table, uint64_t number, struct inode *inode)
{
    struct table_shelf *shelf = &table->shelves[inode_partition(number)];
    uint64_t counter = number & COUNTER_MASK;
    if (shelf->capacity == 0 && shelf->only == NULL) {
        shelf->only = inode;
        shelf->only_counter = counter;
        if (shelf->counter < counter)
            shelf->counter = counter;
        return 0;
    }
    int status = shelf->capacity == 0 ? shelf_furnish(table, shelf) : 0;
    if (status < 0)
        return status;
    if (__builtin_expect(shelf->open != NULL && counter >> BOX_BITS == shelf->counter >> BOX_BITS, 1)) {
        shelf->open[counter & (BOX_SLOTS - 1)] = inode;
        if (shelf->counter < counter)
            shelf->counter = counter;
        return 0;
    }
    status = shelf_put(table, shelf, counter, inode);
    if (status < 0)
        return status;
    if (shelf->counter < counter)
        shelf->counter = counter;
    shelf_open(shelf);
    return 0;
}

void table_expect_removal(const struct table *table, uint64_t number)
{
    const struct table_shelf *shelf = &table->shelves[inode_partition(number)];
    if (shelf->capacity != 0)
        __builtin_prefetch(&shelf->boxes[(number & COUNTER_MASK) >> BOX_BITS]); /* if no box is missing */
}

void table_remove(struct table *table, uint64_t number)
{
    struct table_shelf *shelf = &table->shelves[inode_partition(number)];
    uint64_t counter = number & COUNTER_MASK;
    if (shelf->capacity == 0) {
        assert(shelf->only != NULL && shelf->only_counter == counter);
        shelf->only = NULL;
        shelf->only_counter = 0;
        return;
    }
    uint32_t position = shelf_search(shelf, counter >> BOX_BITS);
    struct table_box *box = &shelf->boxes[position];
    assert(position < shelf->count && box_place(box) == counter >> BOX_BITS);
    box->slots[counter & (BOX_SLOTS - 1)] = NULL;
    for (uint32_t i = 0; i < box_capacity(box); i++) {
        if (box->slots[i] != NULL)
            return;
    }
    memory_release(table->memory, box->slots, box_capacity(box) * sizeof(struct inode *));
    shelf->count--;
    memmove(box, box + 1, (shelf->count - position) * sizeof(*box));
    if (shelf->count == 0) {
        memory_release(table->memory, shelf->boxes, shelf->capacity * sizeof(*box));
        shelf->boxes = NULL;
        shelf->capacity = 0;
    }
    shelf_open(shelf);
}

void table_raise(struct table *table, uint64_t number)
{
    struct table_shelf *shelf = &table->shelves[inode_partition(number)];
    if (shelf->counter >= (number & COUNTER_MASK))
        return;
    shelf->counter = number & COUNTER_MASK;
    if (shelf->capacity != 0)
        shelf_open(shelf);
}

struct inode *table_next(const struct table *table, uint64_t number)
{
    uint64_t counter = (number & COUNTER_MASK) + 1;
    for (uint32_t partition = inode_partition(number); partition < PARTITION_COUNT;
         partition++, counter = 0) {
        const struct table_shelf *shelf = &table->shelves[partition];
        if (shelf->capacity == 0) {
            if (shelf->only != NULL && shelf->only_counter >= counter)
                return shelf->only;
            continue;
        }
        for (uint32_t i = shelf_search(shelf, counter >> BOX_BITS); i < shelf->count; i++) {
            const struct table_box *box = &shelf->boxes[i];
            uint32_t slot = box_place(box) == counter >> BOX_BITS ? (uint32_t)counter & (BOX_SLOTS - 1) : 0;
            for (; slot < box_capacity(box); slot++) {
                if (box->slots[slot] != NULL)
                    return box->slots[slot];
            }
        }
    }
    return NULL;
}

/* Hash map from 64-bit keys to pointers.
 *
 * Open addressing with linear probing over a power-of-two table of 16-byte slots: a lookup usually touches
 * one cache line. The table grows at three quarters full. Deletion shifts the following entries of the
 * cluster back into the hole, so there are no tombstones and a table that sees many insertions and deletions
 * never degrades. Invariant: between an entry's home slot and the slot where it lies there is no empty slot.
 *
 * The table never shrinks: the maps of BenchFS hold what is open or in flight, whose peak comes back. */
#include "base/map.h"

#include "base/hash.h"

#include <errno.h>
#include <stdlib.h>

enum { SLOTS_MINIMUM = 16 };

void map_init(struct map *map)
{
    *map = (struct map){0};
}

void map_free(struct map *map)
{
    free(map->slots);
    map_init(map);
}

/* Returns the slot that holds key, or the empty slot where it would go. */
static size_t find(const struct map_slot *slots, size_t mask, uint64_t key)
{
    size_t at = (size_t)hash_mix(key) & mask;

    while (slots[at].value != NULL && slots[at].key != key)
        at = (at + 1) & mask;
    return at;
}

void *map_get(const struct map *map, uint64_t key)
{
    return map->slots == NULL ? NULL : map->slots[find(map->slots, map->mask, key)].value;
}

static int grow(struct map *map)
{
    size_t size = map->slots == NULL ? SLOTS_MINIMUM : (map->mask + 1) * 2;
    struct map_slot *slots = calloc(size, sizeof *slots);

    if (slots == NULL)
        return -ENOMEM;
    if (map->slots != NULL) {
        for (size_t i = 0; i <= map->mask; i++) {
            if (map->slots[i].value != NULL)
                slots[find(slots, size - 1, map->slots[i].key)] = map->slots[i];
        }
    }
    free(map->slots);
    map->slots = slots;
    map->mask = size - 1;
    return 0;
}

int map_put(struct map *map, uint64_t key, void *value)
{
    if (map->slots != NULL) {
        struct map_slot *slot = &map->slots[find(map->slots, map->mask, key)];
        if (slot->value != NULL) {
            slot->value = value;
            return 0;
        }
    }
    if (map->slots == NULL || map->count >= (map->mask + 1) / 4 * 3) {
        int status = grow(map);
        if (status != 0)
            return status;
    }
    map->slots[find(map->slots, map->mask, key)] = (struct map_slot){.key = key, .value = value};
    map->count++;
    return 0;
}

void *map_remove(struct map *map, uint64_t key)
{
    if (map->slots == NULL)
        return NULL;
    size_t hole = find(map->slots, map->mask, key);
    void *value = map->slots[hole].value;
    if (value == NULL)
        return NULL;

    /* An entry may move into the hole if the hole is not before its home slot, seen along the probe order. */
    for (size_t at = (hole + 1) & map->mask; map->slots[at].value != NULL; at = (at + 1) & map->mask) {
        size_t home = (size_t)hash_mix(map->slots[at].key) & map->mask;
        if (((at - home) & map->mask) >= ((at - hole) & map->mask)) {
            map->slots[hole] = map->slots[at];
            hole = at;
        }
    }
    map->slots[hole].value = NULL;
    map->count--;
    return value;
}

void *map_next(const struct map *map, size_t *cursor, uint64_t *key)
{
    if (map->slots == NULL)
        return NULL;
    while (*cursor <= map->mask) {
        const struct map_slot *slot = &map->slots[(*cursor)++];
        if (slot->value != NULL) {
            if (key != NULL)
                *key = slot->key;
            return slot->value;
        }
    }
    return NULL;
}

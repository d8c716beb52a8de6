/* Hash map from a 64-bit key to a pointer: open addressing, linear probing, backward-shift deletion.
 * Not for keys chosen by an adversary beyond hash_mix. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct map_slot {
    uint64_t key;
    void *value; /* NULL marks an empty slot */
};

struct map {
    struct map_slot *slots;
    size_t mask; /* slots - 1, or 0 when nothing is allocated */
    size_t count;
};

void map_init(struct map *map);
void map_free(struct map *map); /* frees the table, not the values */

/* Returns the value or NULL. */
void *map_get(const struct map *map, uint64_t key);

/* Inserts or replaces; value must not be NULL. Returns 0 or -ENOMEM (then nothing changed). */
int map_put(struct map *map, uint64_t key, void *value);

/* Removes and returns the value, or NULL. */
void *map_remove(struct map *map, uint64_t key);

/* Iteration in table order: *cursor starts at 0; returns NULL at the end; key may be NULL.
 * The map must not change meanwhile. */
void *map_next(const struct map *map, size_t *cursor, uint64_t *key);

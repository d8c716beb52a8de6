/* Whether the kernel may go on using what it has cached of a file.
 *
 * In the modes close and relaxed the kernel keeps the contents of files. When one is opened it must drop them
 * if they may have changed since it read them, by whomever. The change time tells: every write and truncation
 * sets it, and no call can set it back. So this table holds, by inode, what the file was like when it was
 * opened last; if it is the same now, then so are the contents that the kernel has read since.
 *
 * Two files that share a slot of the table push each other out, which costs a cache and nothing else. */
#include <stdlib.h>

#include "base/hash.h"
#include "fuse/filesystem.h"

#define SLOTS 8192u

struct version {
    uint64_t inode;
    int64_t change_time;
    uint64_t size;
    uint32_t generation;
};

struct version_table {
    pthread_mutex_t mutex;
    struct version slots[SLOTS];
};

int versions_create(struct version_table **result)
{
    struct version_table *versions = calloc(1, sizeof *versions);
    if (versions == NULL)
        return -ENOMEM;
    pthread_mutex_init(&versions->mutex, NULL);
    *result = versions;
    return 0;
}

void versions_destroy(struct version_table *versions)
{
    if (versions == NULL)
        return;
    pthread_mutex_destroy(&versions->mutex);
    free(versions);
}

bool versions_unchanged(struct version_table *versions, const struct attributes *attributes)
{
    struct version now = {
        .inode = attributes->inode,
        .change_time = attributes->change_time,
        .size = attributes->size,
        .generation = attributes->generation,
    };
    struct version *slot = &versions->slots[hash_mix(now.inode) % SLOTS];
    pthread_mutex_lock(&versions->mutex);
    bool same = slot->inode == now.inode && slot->change_time == now.change_time && slot->size == now.size &&
                slot->generation == now.generation;
    *slot = now;
    pthread_mutex_unlock(&versions->mutex);
    return same;
}

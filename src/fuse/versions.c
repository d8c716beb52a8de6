/* Whether the kernel may go on using what it has cached of a file.
 *
 * In the modes close and relaxed the kernel keeps the contents of files. When one is opened it must drop them
 * if they may have changed since it read them, by whomever. The change time tells: every write and truncation
 * sets it, and no call can set it back. So this table holds, by inode, what the file was like when it was
 * opened last; if it is the same now, then so are the contents that the kernel has read since.
 *
 * Since: an open that finds another state is answered with the order to drop the contents, which the kernel
 * carries out some time after the answer. Another open in between must not be told to keep them. So a state
 * counts only once a request has come through the file that was opened then, for the kernel sends none
 * before.
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
    uint64_t number; /* of the open that noted it; 0: the kernel holds nothing older */
};

struct version_table {
    pthread_mutex_t mutex;
    uint64_t opens;
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

static struct version *slot_of(struct version_table *versions, uint64_t inode)
{
    return &versions->slots[hash_mix(inode) % SLOTS];
}

bool versions_unchanged(struct version_table *versions, const struct attributes *attributes, uint64_t *noted)
{
    struct version now = {
        .inode = attributes->inode,
        .change_time = attributes->change_time,
        .size = attributes->size,
        .generation = attributes->generation,
    };
    struct version *slot = slot_of(versions, now.inode);
    pthread_mutex_lock(&versions->mutex);
    bool same = slot->inode == now.inode && slot->change_time == now.change_time && slot->size == now.size &&
                slot->generation == now.generation;
    if (!same) {
        now.number = ++versions->opens;
        *slot = now;
    }
    *noted = slot->number;
    pthread_mutex_unlock(&versions->mutex);
    return *noted == 0;
}

void versions_dropped(struct version_table *versions, uint64_t inode, uint64_t noted)
{
    struct version *slot = slot_of(versions, inode);
    pthread_mutex_lock(&versions->mutex);
    if (slot->inode == inode && slot->number == noted)
        slot->number = 0;
    pthread_mutex_unlock(&versions->mutex);
}

/* Attributes that a thread has seen and goes by for a while, under consistency `relaxed` alone.
 *
 * A table per worker, by a 128-bit hash of who asks, where a path starts and the path (or of an inode), each
 * with the time at which it ends. Nothing in the file system ends an entry early, but this process does:
 * every change that it makes counts fs->changes up, and an entry holds only for the count under which its
 * request was sent. So a process always sees what it did itself; and a process that changes much remembers
 * little. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "client/library.h"

#define REMEMBERED 1024u

struct remembered {
    uint64_t key[2];
    uint64_t changes;
    uint64_t until; /* loop_now ns; 0: empty */
    int status;     /* 0, or -ENOENT: there is no such name */
    struct attributes attributes;
};

/* The entry of that key, or the one to be overwritten. NULL: no memory. */
static struct remembered *entry_of(struct worker *worker, const uint64_t *key)
{
    if (worker->remembered == NULL)
        worker->remembered = calloc(REMEMBERED, sizeof(struct remembered));
    return worker->remembered == NULL ? NULL : &worker->remembered[key[0] % REMEMBERED];
}

void remember_begin(struct worker *worker, struct remember *what, uint64_t directory, const char *path,
                    bool follow)
{
    const struct identity *who = worker->identity != NULL ? worker->identity : &worker->fs->identity;
    uint64_t kind = path == NULL ? 0 : follow ? 1 : 2;
    uint64_t seed = hash_mix((uint64_t)who->uid << 32 | who->gid) + kind;
    size_t length = path == NULL ? 0 : strlen(path);
    what->key[0] = hash64(path == NULL ? "" : path, length, directory ^ seed);
    what->key[1] = hash64(path == NULL ? "" : path, length, hash_mix(directory + seed));
    what->changes = atomic_load(&worker->fs->changes);
}

bool remember_find(struct worker *worker, const struct remember *what, struct attributes *attributes,
                   int *status)
{
    const struct remembered *entry = entry_of(worker, what->key);
    if (entry == NULL || entry->key[0] != what->key[0] || entry->key[1] != what->key[1] ||
        entry->changes != what->changes || entry->until <= loop_now(worker->loop))
        return false;
    *attributes = entry->attributes;
    *status = entry->status;
    atomic_fetch_add_explicit(&worker->fs->counters.cached_attributes, 1, memory_order_relaxed);
    metrics_add(worker->metrics, METRIC_ATTRIBUTE_HITS, 1);
    return true;
}

void remember_set(struct worker *worker, const struct remember *what, const struct attributes *attributes,
                  int status)
{
    struct remembered *entry = entry_of(worker, what->key);
    if (entry == NULL || (status != 0 && status != -ENOENT))
        return;
    *entry = (struct remembered){
        .key = {what->key[0], what->key[1]},
        .changes = what->changes,
        .until = loop_now(worker->loop) + worker->fs->attribute_lifetime_ns,
        .status = status,
    };
    if (status == 0)
        entry->attributes = *attributes;
}

static int stat_strict(struct benchfs *fs, struct client *client, uint64_t directory, const char *path,
                       bool follow, struct attributes *attributes)
{
    int status = client_stat(client, directory, path, follow, attributes);
    if (status == 0 && S_ISREG(attributes->mode) && file_caches_publish(fs, client, attributes->inode) > 0)
        status = client_attributes(client, attributes->inode, attributes);
    return status;
}

int library_stat(struct benchfs *fs, uint64_t directory, const char *path, bool follow,
                 struct attributes *attributes)
{
    struct worker *worker = worker_get(fs);
    struct remember what;
    int status;
    if (worker == NULL)
        return -errno;
    if (__builtin_expect(fs->consistency != CONSISTENCY_RELAXED, 1))
        return stat_strict(fs, worker->client, directory, path, follow, attributes);
    remember_begin(worker, &what, directory, path, follow);
    if (remember_find(worker, &what, attributes, &status))
        return status;
    status = stat_strict(fs, worker->client, directory, path, follow, attributes);
    remember_set(worker, &what, attributes, status);
    return status;
}

int library_attributes(struct benchfs *fs, struct open_file *slot, struct attributes *attributes)
{
    struct worker *worker = worker_get(fs);
    struct remember what;
    if (worker == NULL)
        return -errno;
    int status = file_cache_publish(fs, worker->client, slot, false);
    if (status < 0)
        return status;
    if (__builtin_expect(fs->consistency != CONSISTENCY_RELAXED, 1))
        return client_attributes(worker->client, slot->file.inode, attributes);
    remember_begin(worker, &what, slot->file.inode, NULL, false);
    if (remember_find(worker, &what, attributes, &status))
        return status;
    status = client_attributes(worker->client, slot->file.inode, attributes);
    remember_set(worker, &what, attributes, status);
    return status;
}

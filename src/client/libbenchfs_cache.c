/* What a process keeps of open files under consistency `close` and `relaxed`: small writes on their way to
 * the servers, and bytes read ahead.
 *
 * One struct file_cache per open inode, shared by all descriptors and threads of the process; so they see
 * each other's writes whatever is still here. It holds at most
 *
 *   one dirty range   writes that join it are copied in; it is published - written to the servers - when a
 *                     write does not join, when it reaches the end of its window (DIRTY_WINDOW bytes,
 *                     aligned), and by everything that must see or show the file as it is: close, fsync, a
 *                     read beyond it, truncation (O_TRUNC too), fallocate, copying, stat, seeking the end,
 *                     locking, fork, exit; and by whoever lets go of the file last
 *   one clean range   read ahead of a reader that goes forward; any write to the file by this process makes
 *                     it invalid, and so does every open, since close-to-open promises the reader what had
 *                     been published before it opened
 *
 * Writes of WRITE_DIRECT bytes and more, and appending ones, go straight to the servers, after what is dirty.
 * An error of a delayed write is told by the call that met it, and once more by the next fsync or close.
 *
 * Locks: a descriptor's own, then a cache's. A cache's lock is held while its thread waits for the servers.
 * Asynchronous transfers run as tasks, which must not wait for a lock that their own thread holds: they go
 * past the cache, published before they start; all they do to it is to count `version` up. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "client/library.h"

#define DIRTY_WINDOW (1u << 20)
#define WRITE_DIRECT (256u << 10)
#define AHEAD_FIRST (64u << 10)
#define AHEAD_MAX (1u << 20)
#define READ_DIRECT (256u << 10)

struct file_cache {
    struct list link; /* in fs->caches */
    uint64_t inode;
    uint32_t references;  /* open files; fs->cache_mutex */
    pthread_mutex_t lock; /* of all that follows */
    struct client_file file;
    uint8_t *dirty;
    uint64_t dirty_start;
    _Atomic uint32_t dirty_length; /* other threads look whether there is anything */
    uint8_t *clean;
    uint64_t clean_start;
    uint32_t clean_length;
    bool clean_ends;        /* the file ended there */
    uint64_t clean_version; /* valid while equal to version */
    uint64_t next_read;     /* where a reader that goes forward reads next */
    uint32_t ahead;
    int error;                /* of a delayed write, not yet told by fsync or close */
    _Atomic uint64_t version; /* counts what may have changed the file */
};

static void count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* ---- the table ---- */

static struct list *bucket_of(struct benchfs *fs, uint64_t inode)
{
    return &fs->caches[hash_mix(inode) % CACHE_BUCKETS];
}

/* fs->cache_mutex is held. */
static struct file_cache *cache_find(struct benchfs *fs, uint64_t inode)
{
    list_for_each (node, bucket_of(fs, inode)) {
        struct file_cache *cache = container_of(node, struct file_cache, link);
        if (cache->inode == inode)
            return cache;
    }
    return NULL;
}

void file_caches_init(struct benchfs *fs)
{
    pthread_mutex_init(&fs->cache_mutex, NULL);
    for (unsigned i = 0; i < CACHE_BUCKETS; i++)
        list_init(&fs->caches[i]);
}

static void cache_free(struct file_cache *cache)
{
    list_remove(&cache->link);
    pthread_mutex_destroy(&cache->lock);
    free(cache->dirty);
    free(cache->clean);
    free(cache);
}

void file_caches_destroy(struct benchfs *fs)
{
    for (unsigned i = 0; i < CACHE_BUCKETS; i++)
        while (!list_empty(&fs->caches[i]))
            cache_free(container_of(fs->caches[i].next, struct file_cache, link));
    pthread_mutex_destroy(&fs->cache_mutex);
}

int file_cache_open(struct benchfs *fs, struct open_file *slot)
{
    slot->cache = NULL;
    if (fs->consistency == CONSISTENCY_STRICT || !S_ISREG(slot->file.mode) ||
        (slot->file.flags & O_PATH) != 0)
        return 0;
    pthread_mutex_lock(&fs->cache_mutex);
    struct file_cache *cache = cache_find(fs, slot->file.inode);
    if (cache == NULL && (cache = calloc(1, sizeof *cache)) != NULL) {
        cache->inode = slot->file.inode;
        cache->file.inode = slot->file.inode;
        cache->file.layout = slot->file.layout;
        cache->file.mode = slot->file.mode;
        cache->file.flags = O_RDWR;
        atomic_store(&cache->file.generation, atomic_load(&slot->file.generation));
        atomic_store(&cache->file.size, atomic_load(&slot->file.size));
        pthread_mutex_init(&cache->lock, NULL);
        list_init(&cache->link);
        list_push_back(bucket_of(fs, cache->inode), &cache->link);
    }
    if (cache != NULL)
        cache->references++;
    pthread_mutex_unlock(&fs->cache_mutex);
    if (cache == NULL)
        return -ENOMEM;
    count(&cache->version);
    slot->cache = cache;
    return 0;
}

void file_caches_after_fork(struct benchfs *fs)
{
    /* Whatever is dirty was written by the parent, or by a thread of it while it forked. */
    pthread_mutex_init(&fs->cache_mutex, NULL);
    atomic_store(&fs->dirty_files, 0);
    for (unsigned i = 0; i < CACHE_BUCKETS; i++)
        list_for_each (node, &fs->caches[i]) {
            struct file_cache *cache = container_of(node, struct file_cache, link);
            pthread_mutex_init(&cache->lock, NULL);
            cache->dirty_length = 0;
            count(&cache->version);
        }
}

/* ---- publishing ---- */

/* Writes the dirty range; the cache is locked. 0 or why not all of it: then it is lost. */
static int publish(struct benchfs *fs, struct client *client, struct file_cache *cache)
{
    if (cache->dirty_length == 0)
        return 0;
    ssize_t written = 0;
    uint32_t done = 0;
    while (done < cache->dirty_length && written >= 0) {
        written = client_write(client, &cache->file, cache->dirty + done, cache->dirty_length - done,
                               cache->dirty_start + done);
        if (written > 0)
            done += (uint32_t)written;
    }
    cache->dirty_length = 0;
    atomic_fetch_sub(&fs->dirty_files, 1);
    count(&fs->counters.published);
    if (written < 0)
        cache->error = (int)written;
    return written < 0 ? (int)written : 0;
}

int file_cache_publish(struct benchfs *fs, struct client *client, struct open_file *slot, bool tell)
{
    struct file_cache *cache = slot->cache;
    if (__builtin_expect(cache == NULL, 1))
        return 0;
    pthread_mutex_lock(&cache->lock);
    int status = publish(fs, client, cache);
    if (tell) {
        status = cache->error;
        cache->error = 0;
    }
    pthread_mutex_unlock(&cache->lock);
    return status;
}

/* The last one may find something dirty: a write that close overtook came after what close published. Nobody
 * else can reach the cache by then, so this needs no lock, and may run in a task. */
static void cache_release(struct benchfs *fs, struct file_cache *cache)
{
    pthread_mutex_lock(&fs->cache_mutex);
    bool last = --cache->references == 0;
    if (last)
        list_remove(&cache->link);
    pthread_mutex_unlock(&fs->cache_mutex);
    if (!last)
        return;
    if (cache->dirty_length != 0) {
        struct client *client = client_get(fs);
        int status = client == NULL ? -errno : publish(fs, client, cache);
        if (status < 0 && status != -ESTALE)
            log_error("what was written to file %llx while it was closed is lost: %s",
                      (unsigned long long)cache->inode, status_text(status));
    }
    cache_free(cache);
}

void file_cache_close(struct benchfs *fs, struct open_file *slot)
{
    struct file_cache *cache = slot->cache;
    slot->cache = NULL;
    if (cache != NULL)
        cache_release(fs, cache);
}

void file_cache_changed(struct open_file *slot)
{
    if (slot->cache != NULL)
        count(&slot->cache->version);
}

void file_cache_forget_slow(struct benchfs *fs, uint64_t inode)
{
    pthread_mutex_lock(&fs->cache_mutex);
    struct file_cache *cache = cache_find(fs, inode);
    if (cache != NULL)
        count(&cache->version);
    pthread_mutex_unlock(&fs->cache_mutex);
    count(&fs->changes);
}

void file_caches_forget_slow(struct benchfs *fs)
{
    pthread_mutex_lock(&fs->cache_mutex);
    for (unsigned i = 0; i < CACHE_BUCKETS; i++)
        list_for_each (node, &fs->caches[i])
            count(&container_of(node, struct file_cache, link)->version);
    pthread_mutex_unlock(&fs->cache_mutex);
    count(&fs->changes);
}

/* Takes a reference to a dirty cache of the bucket: the one of the lowest inode from `least` to `most`. */
static struct file_cache *dirty_hold(struct benchfs *fs, const struct list *bucket, uint64_t least,
                                     uint64_t most)
{
    struct file_cache *found = NULL;
    pthread_mutex_lock(&fs->cache_mutex);
    list_for_each (node, bucket) {
        struct file_cache *cache = container_of(node, struct file_cache, link);
        /* Read without the lock: what another thread writes at this moment need not be published. */
        if (atomic_load_explicit(&cache->dirty_length, memory_order_relaxed) != 0 && cache->inode >= least &&
            cache->inode <= most && (found == NULL || cache->inode < found->inode))
            found = cache;
    }
    if (found != NULL)
        found->references++;
    pthread_mutex_unlock(&fs->cache_mutex);
    return found;
}

/* Each file once, in the order of the inodes: one that is written all the time keeps no other waiting. */
static unsigned publish_bucket(struct benchfs *fs, struct client *client, const struct list *bucket,
                               uint64_t least, uint64_t most, int *result)
{
    unsigned published = 0;
    struct file_cache *cache;
    while (least <= most && (cache = dirty_hold(fs, bucket, least, most)) != NULL) {
        least = cache->inode + 1;
        pthread_mutex_lock(&cache->lock);
        int status = publish(fs, client, cache); /* told by fsync or close too */
        pthread_mutex_unlock(&cache->lock);
        if (status < 0 && status != -ESTALE && *result == 0)
            *result = status;
        cache_release(fs, cache);
        published++;
    }
    return published;
}

unsigned file_caches_publish_slow(struct benchfs *fs, struct client *client, uint64_t inode, int *status)
{
    *status = 0;
    if (inode != 0)
        return publish_bucket(fs, client, bucket_of(fs, inode), inode, inode, status);
    unsigned published = 0;
    for (unsigned i = 0; i < CACHE_BUCKETS; i++)
        published += publish_bucket(fs, client, &fs->caches[i], 1, UINT64_MAX - 1, status);
    return published;
}

/* ---- writing ---- */

static uint64_t window_end(uint64_t at)
{
    return (at & ~(uint64_t)(DIRTY_WINDOW - 1)) + DIRTY_WINDOW;
}

/* Copies bytes [skip, skip + length) of the vector. */
static void gather(uint8_t *into, const struct iovec *vector, size_t skip, size_t length)
{
    for (; length > 0; vector++) {
        if (skip >= vector->iov_len) {
            skip -= vector->iov_len;
            continue;
        }
        size_t here = vector->iov_len - skip < length ? vector->iov_len - skip : length;
        memcpy(into, (const uint8_t *)vector->iov_base + skip, here);
        into += here;
        length -= here;
        skip = 0;
    }
}

static void scatter(const struct iovec *vector, const uint8_t *from, size_t length)
{
    for (; length > 0; vector++) {
        size_t here = vector->iov_len < length ? vector->iov_len : length;
        memcpy(vector->iov_base, from, here);
        from += here;
        length -= here;
    }
}

/* Takes the write into the dirty range, publishing windows that get full. */
static ssize_t write_behind(struct benchfs *fs, struct client *client, struct file_cache *cache,
                            const struct memory *memory, uint64_t offset)
{
    size_t done = 0;
    while (done < memory->length) {
        uint64_t at = offset + done;
        bool joins = cache->dirty_length != 0 && at >= cache->dirty_start &&
                     at <= cache->dirty_start + cache->dirty_length && at < window_end(cache->dirty_start);
        if (!joins) {
            int status = publish(fs, client, cache);
            if (status < 0)
                return status;
            cache->dirty_start = at;
            atomic_fetch_add(&fs->dirty_files, 1);
        }
        uint64_t end = window_end(cache->dirty_start);
        uint32_t within = (uint32_t)(at - cache->dirty_start);
        uint32_t here = (uint32_t)(end - at < memory->length - done ? end - at : memory->length - done);
        gather(cache->dirty + within, memory->vector, done, here);
        if (within + here > cache->dirty_length)
            cache->dirty_length = within + here;
        done += here;
        if (cache->dirty_start + cache->dirty_length == end) {
            int status = publish(fs, client, cache);
            if (status < 0)
                return status;
        }
    }
    count(&fs->counters.buffered_writes);
    return (ssize_t)done;
}

ssize_t file_cache_write(struct benchfs *fs, struct client *client, struct open_file *slot,
                         const struct memory *memory, bool append, uint64_t *offset)
{
    struct file_cache *cache = slot->cache;
    pthread_mutex_lock(&cache->lock);
    count(&cache->version);
    if (fs->consistency == CONSISTENCY_RELAXED)
        count(&fs->changes);
    bool direct = append || memory->length >= WRITE_DIRECT || *offset > (uint64_t)INT64_MAX - DIRTY_WINDOW ||
                  (slot->file.flags & (O_SYNC | O_DSYNC)) != 0;
    if (!direct && cache->dirty == NULL && (cache->dirty = malloc(DIRTY_WINDOW)) == NULL)
        direct = true;
    ssize_t written;
    if (direct) {
        written = publish(fs, client, cache);
        if (written == 0 && append)
            written = client_append_vector(client, &slot->file, memory->vector, memory->count, memory->length,
                                           offset);
        else if (written == 0)
            written = client_write_vector(client, &slot->file, memory->vector, memory->count, memory->length,
                                          *offset);
    } else {
        written = write_behind(fs, client, cache, memory, *offset);
    }
    pthread_mutex_unlock(&cache->lock);
    if (written > 0)
        *offset += (uint64_t)written;
    return written;
}

/* ---- reading ---- */

/* What the clean range has of a read; -1: it must be asked for. */
static ssize_t clean_part(const struct file_cache *cache, uint64_t offset, size_t length)
{
    uint64_t end = cache->clean_start + cache->clean_length;
    if (cache->clean == NULL || cache->clean_version != atomic_load(&cache->version) ||
        offset < cache->clean_start || offset > end)
        return -1;
    if (length <= end - offset)
        return (ssize_t)length;
    return cache->clean_ends ? (ssize_t)(end - offset) : -1;
}

/* Fills the clean range from offset on. Returns 0 or a negative status. */
static int read_ahead(struct benchfs *fs, struct client *client, struct file_cache *cache,
                      struct client_file *file, uint64_t offset, size_t length)
{
    if (cache->clean == NULL && (cache->clean = malloc(AHEAD_MAX)) == NULL)
        return -ENOMEM;
    cache->ahead = cache->ahead == 0 ? AHEAD_FIRST : cache->ahead < AHEAD_MAX ? 2 * cache->ahead : AHEAD_MAX;
    size_t asked = cache->ahead > length ? cache->ahead : length;
    if (asked > (uint64_t)INT64_MAX - offset)
        asked = (size_t)((uint64_t)INT64_MAX - offset);
    cache->clean_version = atomic_load(&cache->version);
    cache->clean_start = offset;
    cache->clean_length = 0;
    cache->clean_ends = false;
    ssize_t got = client_read(client, file, cache->clean, asked, offset);
    if (got < 0)
        return (int)got;
    cache->clean_length = (uint32_t)got;
    cache->clean_ends = got == 0; /* a shorter read may have met a failure, which the next one tells */
    count(&fs->counters.read_ahead);
    return 0;
}

static ssize_t read_locked(struct benchfs *fs, struct client *client, struct open_file *slot,
                           const struct memory *memory, uint64_t offset)
{
    struct file_cache *cache = slot->cache;
    size_t length = memory->length;
    if (cache->dirty_length != 0) {
        uint64_t from = offset - cache->dirty_start;
        if (offset >= cache->dirty_start && from < cache->dirty_length &&
            length <= cache->dirty_length - from) {
            scatter(memory->vector, cache->dirty + from, length);
            count(&fs->counters.cached_reads);
            return (ssize_t)length;
        }
        int status = publish(fs, client, cache);
        if (status < 0)
            return status;
    }
    ssize_t there = clean_part(cache, offset, length);
    if (there < 0 && length < READ_DIRECT && offset == cache->next_read &&
        offset <= (uint64_t)INT64_MAX - length) {
        int status = read_ahead(fs, client, cache, &slot->file, offset, length);
        if (status < 0 && status != -ENOMEM)
            return status;
        there = clean_part(cache, offset, length);
    } else if (there >= 0) {
        count(&fs->counters.cached_reads);
    } else {
        cache->ahead = 0;
    }
    if (there < 0)
        return client_read_vector(client, &slot->file, memory->vector, memory->count, length, offset);
    scatter(memory->vector, cache->clean + (offset - cache->clean_start), (size_t)there);
    return there;
}

ssize_t file_cache_read(struct benchfs *fs, struct client *client, struct open_file *slot,
                        const struct memory *memory, uint64_t offset)
{
    struct file_cache *cache = slot->cache;
    if (memory->length == 0)
        return 0;
    pthread_mutex_lock(&cache->lock);
    ssize_t got = read_locked(fs, client, slot, memory, offset);
    if (got > 0)
        cache->next_read = offset + (uint64_t)got;
    pthread_mutex_unlock(&cache->lock);
    return got;
}

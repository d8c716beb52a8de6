/* Descriptors of libbenchfs: the table, and the calls that need nothing else: open, close, lseek.
 *
 * The table is an array of pointers to chunks of slots; chunks are added and slots reused, but neither is
 * freed before disconnect. A slot's state word holds a flag and the number of calls under way, so a call
 * takes and gives back its hold on an open file with one atomic addition each, and close in one thread while
 * another one reads is safe: close clears the flag, and whoever leaves last makes the number available again.
 * A bitmap gives the lowest free number. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/library.h"

static struct open_file *chunk_get(struct benchfs *fs, uint32_t index)
{
    struct open_file *chunk = atomic_load_explicit(&fs->chunks[index], memory_order_acquire);
    if (chunk != NULL)
        return chunk;
    chunk = aligned_alloc(64, FD_CHUNK * sizeof *chunk);
    if (chunk == NULL)
        return NULL;
    memset(chunk, 0, FD_CHUNK * sizeof *chunk);
    for (uint32_t i = 0; i < FD_CHUNK; i++) {
        chunk[i].fd = (int)(index * FD_CHUNK + i);
        pthread_mutex_init(&chunk[i].lock, NULL);
    }
    struct open_file *other = NULL;
    if (!atomic_compare_exchange_strong(&fs->chunks[index], &other, chunk)) {
        free(chunk);
        return other;
    }
    return chunk;
}

static void number_free(struct benchfs *fs, int fd)
{
    atomic_fetch_and_explicit(&fs->used[fd / 64], ~(UINT64_C(1) << (fd % 64)), memory_order_release);
}

static int number_take(struct benchfs *fs)
{
    for (uint32_t word = 0; word < FD_MAX / 64; word++) {
        uint64_t used = atomic_load_explicit(&fs->used[word], memory_order_relaxed);
        if (word == 0)
            used |= (UINT64_C(1) << FD_FIRST) - 1;
        while (used != UINT64_MAX) {
            uint64_t bit = UINT64_C(1) << __builtin_ctzll(~used);
            uint64_t before = atomic_fetch_or_explicit(&fs->used[word], bit, memory_order_acquire);
            if ((before & bit) == 0)
                return (int)(word * 64 + (uint32_t)__builtin_ctzll(bit));
            used |= before | bit;
        }
    }
    return -EMFILE;
}

int open_file_reserve(struct benchfs *fs, struct open_file **slot)
{
    int fd = number_take(fs);
    if (fd < 0)
        return fd;
    struct open_file *chunk = chunk_get(fs, (uint32_t)fd >> FD_CHUNK_BITS);
    if (chunk == NULL) {
        number_free(fs, fd);
        return -ENOMEM;
    }
    *slot = &chunk[(uint32_t)fd % FD_CHUNK];
    (*slot)->offset = 0;
    return 0;
}

void open_file_publish(struct open_file *slot)
{
    atomic_fetch_add_explicit(&slot->state, OPEN_FILE_OPEN, memory_order_release);
}

void open_file_cancel(struct benchfs *fs, struct open_file *slot)
{
    number_free(fs, slot->fd);
}

/* The slot of a number, open or not; NULL when there never was one. */
static inline struct open_file *open_file_find(struct benchfs *fs, int fd)
{
    if (fd < FD_FIRST || (uint32_t)fd >= FD_MAX)
        return NULL;
    struct open_file *chunk =
        atomic_load_explicit(&fs->chunks[(uint32_t)fd >> FD_CHUNK_BITS], memory_order_acquire);
    return chunk == NULL ? NULL : &chunk[(uint32_t)fd % FD_CHUNK];
}

struct open_file *open_file_acquire(struct benchfs *fs, int fd)
{
    struct open_file *slot = open_file_find(fs, fd);
    if (slot != NULL) {
        uint32_t old = atomic_fetch_add_explicit(&slot->state, 1, memory_order_acquire);
        if (__builtin_expect(old & OPEN_FILE_OPEN, OPEN_FILE_OPEN))
            return slot;
        open_file_release(fs, slot);
    }
    errno = EBADF;
    return NULL;
}

void open_file_release_last(struct benchfs *fs, struct open_file *slot)
{
    uint32_t expected = OPEN_FILE_CLOSED;
    if (!atomic_compare_exchange_strong_explicit(&slot->state, &expected, 0, memory_order_acq_rel,
                                                 memory_order_relaxed))
        return;
    struct client_file file = slot->file;
    if (slot->cache != NULL)
        file_cache_close(fs, slot);
    number_free(fs, slot->fd);
    file_let_go(fs, &file);
}

void file_let_go(struct benchfs *fs, struct client_file *file)
{
    int before = errno;
    struct client *client = file->held ? client_get(fs) : NULL;
    if (client != NULL)
        client_close(client, file);
    errno = before;
}

static int close_number(benchfs *fs, int fd)
{
    struct open_file *slot = open_file_find(fs, fd);
    uint32_t idle = OPEN_FILE_OPEN;
    if (slot != NULL && atomic_compare_exchange_strong_explicit(&slot->state, &idle, 0, memory_order_acq_rel,
                                                                memory_order_relaxed)) {
        /* No call under way: the usual case. */
        struct client_file file = slot->file;
        if (slot->cache != NULL)
            file_cache_close(fs, slot);
        number_free(fs, fd);
        file_let_go(fs, &file);
        return 0;
    }
    slot = open_file_acquire(fs, fd);
    if (slot == NULL)
        return -1;
    uint32_t state = atomic_load_explicit(&slot->state, memory_order_relaxed);
    do {
        if ((state & OPEN_FILE_OPEN) == 0) { /* another thread closed it first */
            open_file_release(fs, slot);
            errno = EBADF;
            return -1;
        }
    } while (!atomic_compare_exchange_weak_explicit(&slot->state, &state,
                                                    (state & ~OPEN_FILE_OPEN) | OPEN_FILE_CLOSED,
                                                    memory_order_acq_rel, memory_order_relaxed));
    open_file_release(fs, slot);
    return 0;
}

/* Publishes what was written. A file that is gone took it along. */
static int close_publish(benchfs *fs, int fd)
{
    struct open_file *slot = open_file_acquire(fs, fd);
    if (slot == NULL)
        return 0; /* close_number says why */
    int status = 0;
    if (slot->cache != NULL) {
        struct client *client = client_get(fs);
        status = client == NULL ? -errno : file_cache_publish(fs, client, slot, true);
    }
    open_file_release(fs, slot);
    return status == -ESTALE ? 0 : status;
}

int benchfs_close(benchfs *fs, int fd)
{
    int status = fs->consistency == CONSISTENCY_STRICT ? 0 : close_publish(fs, fd);
    int closed = close_number(fs, fd);
    return closed < 0 ? closed : finish(status);
}

void open_files_after_fork(struct benchfs *fs)
{
    for (uint32_t index = 0; index < FD_CHUNKS; index++) {
        struct open_file *chunk = atomic_load(&fs->chunks[index]);
        for (uint32_t i = 0; chunk != NULL && i < FD_CHUNK; i++) {
            uint32_t state = atomic_load(&chunk[i].state);
            if (state & OPEN_FILE_CLOSED)
                number_free(fs, chunk[i].fd);
            atomic_store(&chunk[i].state, state & OPEN_FILE_OPEN);
            pthread_mutex_init(&chunk[i].lock, NULL);
        }
    }
}

void open_files_destroy(struct benchfs *fs)
{
    for (uint32_t index = 0; index < FD_CHUNKS; index++)
        free(atomic_load(&fs->chunks[index]));
}

int start_directory(struct benchfs *fs, int dirfd, const char *path, uint64_t *inode)
{
    *inode = INODE_ROOT;
    if (dirfd == AT_FDCWD || path[0] == '/' || path[0] == '\0')
        return 0;
    struct open_file *slot = open_file_acquire(fs, dirfd);
    if (slot == NULL)
        return -1;
    bool directory = S_ISDIR(slot->file.mode);
    *inode = slot->file.inode;
    open_file_release(fs, slot);
    if (directory)
        return 0;
    errno = ENOTDIR;
    return -1;
}

/* ---- open ---- */

static int open_at(benchfs *fs, int dirfd, const char *path, int flags, mode_t mode)
{
    uint64_t directory;
    struct open_file *slot;
    struct client *client = client_get(fs);
    if (client == NULL || start_directory(fs, dirfd, path, &directory) < 0)
        return -1;
    int status = open_file_reserve(fs, &slot);
    if (status < 0)
        return finish(status);
    status = client_open(client, directory, path, flags,
                         mode & ~atomic_load_explicit(&fs->umask, memory_order_relaxed), &slot->file);
    if (status < 0) {
        open_file_cancel(fs, slot);
        return finish(status);
    }
    status = file_cache_open(fs, slot);
    if (status < 0) {
        open_file_cancel(fs, slot);
        return finish(status);
    }
    int fd = slot->fd;
    open_file_publish(slot);
    return fd;
}

int benchfs_open(benchfs *fs, const char *path, int flags, ...)
{
    mode_t mode = 0;
    if (flags & O_CREAT) {
        va_list arguments;
        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    return open_at(fs, AT_FDCWD, path, flags, mode);
}

int benchfs_openat(benchfs *fs, int dirfd, const char *path, int flags, ...)
{
    mode_t mode = 0;
    if (flags & O_CREAT) {
        va_list arguments;
        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    return open_at(fs, dirfd, path, flags, mode);
}

/* ---- offsets ---- */

static int size_of(benchfs *fs, const struct open_file *slot, uint64_t *size)
{
    struct attributes attributes;
    struct client *client = client_get(fs);
    if (client == NULL)
        return -errno;
    int status = file_cache_publish(fs, client, (struct open_file *)(uintptr_t)slot, false);
    if (status == 0)
        status = client_file_attributes(client, slot->file.inode, &attributes);
    *size = attributes.size;
    return status;
}

static off_t seek_hole(benchfs *fs, struct open_file *slot, off_t offset, bool hole)
{
    uint64_t found;
    struct client *client = client_get(fs);
    if (client == NULL)
        return -errno;
    if (offset < 0)
        return -ENXIO;
    int published = file_cache_publish(fs, client, slot, false);
    if (published < 0)
        return published;
    if (!S_ISREG(slot->file.mode)) /* a directory is data up to the last offset */
        return hole ? INT64_MAX : offset;
    int status = client_seek(client, &slot->file, (uint64_t)offset, hole, &found);
    return status < 0 ? status : (off_t)found;
}

static off_t seek_locked(benchfs *fs, struct open_file *slot, off_t offset, int whence)
{
    uint64_t size = 0;
    int status = whence == SEEK_END ? size_of(fs, slot, &size) : 0;
    if (status < 0)
        return status;
    off_t from = 0;
    switch (whence) {
    case SEEK_SET:
        break;
    case SEEK_CUR:
        from = (off_t)slot->offset;
        break;
    case SEEK_END:
        from = (off_t)size;
        break;
    case SEEK_DATA:
    case SEEK_HOLE:
        return seek_hole(fs, slot, offset, whence == SEEK_HOLE);
    default:
        return -EINVAL;
    }
    off_t result;
    if (__builtin_add_overflow(from, offset, &result) || result < 0)
        return -EINVAL; /* as Linux says for both */
    return result;
}

off_t benchfs_lseek(benchfs *fs, int fd, off_t offset, int whence)
{
    struct open_file *slot = open_file_acquire_opened(fs, fd);
    if (slot == NULL)
        return -1;
    pthread_mutex_lock(&slot->lock);
    off_t result = seek_locked(fs, slot, offset, whence);
    if (result >= 0)
        slot->offset = (uint64_t)result;
    pthread_mutex_unlock(&slot->lock);
    open_file_release(fs, slot);
    if (result >= 0)
        return result;
    errno = public_errno((int)result);
    return -1;
}

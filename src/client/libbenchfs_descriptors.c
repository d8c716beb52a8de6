/* Descriptors of libbenchfs: the table, and the calls that need nothing else: open, close, lseek.
 *
 * The table is an array of pointers to chunks of slots; chunks are added and slots reused, but neither is
 * freed before disconnect. A slot points to an open file description, which counts the descriptors and the
 * calls under way that hold it. A call adds itself and then looks whether the slot still points there, so
 * closing in one thread while another one reads is safe, and the fast path takes no lock; descriptions are
 * never freed, so adding to one that was closed meanwhile does no harm. Whoever takes away the last hold ends
 * the description: gives back what it has on the servers.
 *
 * A bitmap gives the lowest free number. A description comes with every slot; it is in use by another
 * descriptor only after dup, and then a spare one is taken. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/application.h"
#include "client/library.h"

struct descriptor_chunk {
    struct descriptor descriptors[FD_CHUNK];
    struct open_file files[FD_CHUNK];
};

static struct descriptor_chunk *chunk_get(struct benchfs *fs, uint32_t index)
{
    struct descriptor_chunk *chunk = atomic_load_explicit(&fs->chunks[index], memory_order_acquire);
    if (chunk != NULL)
        return chunk;
    chunk = aligned_alloc(64, sizeof *chunk);
    if (chunk == NULL)
        return NULL;
    memset(chunk, 0, sizeof *chunk);
    for (uint32_t i = 0; i < FD_CHUNK; i++)
        pthread_mutex_init(&chunk->files[i].lock, NULL);
    struct descriptor_chunk *other = NULL;
    if (!atomic_compare_exchange_strong(&fs->chunks[index], &other, chunk)) {
        free(chunk);
        return other;
    }
    return chunk;
}

struct descriptor *descriptor_find(struct benchfs *fs, int fd)
{
    if (fd < FD_FIRST || (uint32_t)fd >= FD_MAX)
        return NULL;
    struct descriptor_chunk *chunk =
        atomic_load_explicit(&fs->chunks[(uint32_t)fd >> FD_CHUNK_BITS], memory_order_acquire);
    return chunk == NULL ? NULL : &chunk->descriptors[(uint32_t)fd % FD_CHUNK];
}

/* ---- numbers ---- */

static void number_free(struct benchfs *fs, int fd)
{
    atomic_fetch_and_explicit(&fs->used[fd / 64], ~(UINT64_C(1) << (fd % 64)), memory_order_release);
}

static bool number_mark(struct benchfs *fs, int fd)
{
    uint64_t bit = UINT64_C(1) << (fd % 64);
    return (atomic_fetch_or_explicit(&fs->used[fd / 64], bit, memory_order_acquire) & bit) == 0;
}

/* The lowest free number from `least` on. */
static int number_take(struct benchfs *fs, int least)
{
    for (uint32_t word = (uint32_t)least / 64; word < FD_MAX / 64; word++) {
        uint64_t used = atomic_load_explicit(&fs->used[word], memory_order_relaxed);
        if (word == (uint32_t)least / 64)
            used |= (UINT64_C(1) << (least % 64)) - 1;
        while (used != UINT64_MAX) {
            int fd = (int)(word * 64 + (uint32_t)__builtin_ctzll(~used));
            if (number_mark(fs, fd)) {
                /* A number that dup2 took while it was being closed looks free, but is not. */
                const struct descriptor *descriptor = descriptor_find(fs, fd);
                if (descriptor == NULL || atomic_load(&descriptor->file) == NULL)
                    return fd;
            }
            used |= UINT64_C(1) << (fd % 64);
        }
    }
    return -EMFILE;
}

/* ---- descriptions ---- */

static struct open_file *spare_take(struct benchfs *fs)
{
    pthread_mutex_lock(&fs->mutex);
    struct open_file *file = fs->free_spares;
    if (file != NULL) {
        fs->free_spares = file->next_free_spare;
    } else if ((file = aligned_alloc(64, sizeof *file)) != NULL) {
        memset(file, 0, sizeof *file);
        pthread_mutex_init(&file->lock, NULL);
        file->spare = true;
        file->next_spare = fs->spares;
        fs->spares = file;
    }
    pthread_mutex_unlock(&fs->mutex);
    return file;
}

static void spare_give_back(struct benchfs *fs, struct open_file *file)
{
    if (!file->spare)
        return;
    pthread_mutex_lock(&fs->mutex);
    file->next_free_spare = fs->free_spares;
    fs->free_spares = file;
    pthread_mutex_unlock(&fs->mutex);
}

int open_file_reserve(struct benchfs *fs, int *fd, struct open_file **result)
{
    int number = number_take(fs, FD_FIRST);
    if (number < 0)
        return number;
    struct descriptor_chunk *chunk = chunk_get(fs, (uint32_t)number >> FD_CHUNK_BITS);
    struct open_file *file = chunk == NULL ? NULL : &chunk->files[(uint32_t)number % FD_CHUNK];
    if (file != NULL &&
        (atomic_load_explicit(&file->state, memory_order_acquire) & (OPEN_FILE_OPEN | OPEN_FILE_ENDING)) != 0)
        file = spare_take(fs);
    if (file == NULL) {
        number_free(fs, number);
        return -ENOMEM;
    }
    file->offset = 0;
    file->cache = NULL;
    file->file.held = false;
    file->file.hold.slot = 0;
    file->inherited = false;
    file->forks = (struct handed_on){0};
    *fd = number;
    *result = file;
    return 0;
}

void open_file_publish(struct benchfs *fs, int fd, struct open_file *file)
{
    struct descriptor *descriptor = descriptor_find(fs, fd);
    atomic_fetch_add_explicit(&file->state, OPEN_FILE_OPEN | 1, memory_order_relaxed);
    atomic_store_explicit(&descriptor->flags, file->file.flags & O_CLOEXEC ? FD_CLOEXEC : 0,
                          memory_order_relaxed);
    atomic_store_explicit(&descriptor->file, file, memory_order_release);
}

void open_file_cancel(struct benchfs *fs, int fd, struct open_file *file)
{
    spare_give_back(fs, file);
    number_free(fs, fd);
}

struct open_file *open_file_acquire(struct benchfs *fs, int fd)
{
    struct descriptor *descriptor = descriptor_find(fs, fd);
    struct open_file *file =
        descriptor == NULL ? NULL : atomic_load_explicit(&descriptor->file, memory_order_acquire);
    if (file != NULL) {
        atomic_fetch_add(&file->state, 1);
        if (__builtin_expect(atomic_load(&descriptor->file) == file, 1))
            return file;
        open_file_release(fs, file);
    }
    errno = EBADF;
    return NULL;
}

void file_let_go(struct benchfs *fs, const struct handed_on *forks, struct client_file *file)
{
    if (!file->held)
        return;
    int before = errno;
    struct client *client = client_get(fs);
    if (client != NULL && atomic_load_explicit(&fs->kept_count, memory_order_relaxed) != 0)
        inherit_tell_kept(fs, client);
    if (client != NULL && (forks == NULL || !inherit_keep_back(fs, file, forks)))
        client_close(client, file);
    errno = before;
}

void open_file_end(struct benchfs *fs, struct open_file *file)
{
    /* A call that comes too late may hold it for a moment, and ends it in our place then. */
    uint32_t idle = OPEN_FILE_OPEN;
    if (!atomic_compare_exchange_strong(&file->state, &idle, OPEN_FILE_ENDING))
        return;
    int before = errno;
    if (file->cache != NULL)
        file_cache_close(fs, file);
    if (file->shared != NULL)
        description_leave(fs, file);
    if (atomic_load_explicit(&file->locked, memory_order_relaxed) != 0)
        description_unlock(fs, file);
    struct handed_on forks = file->forks;
    file_let_go(fs, &forks, &file->file);
    atomic_store_explicit(&file->lock_owner, 0, memory_order_relaxed);
    atomic_fetch_and(&file->state, ~OPEN_FILE_ENDING);
    spare_give_back(fs, file);
    errno = before;
}

/* What closing a descriptor means apart from its number. */
static void descriptor_drop(struct benchfs *fs, struct open_file *file)
{
    if (__builtin_expect(atomic_load_explicit(&fs->locks.records, memory_order_relaxed) != 0, 0))
        records_unlock(fs, file->file.inode);
    open_file_release(fs, file);
}

static int close_number(benchfs *fs, int fd)
{
    struct descriptor *descriptor = descriptor_find(fs, fd);
    struct open_file *file = NULL;
    if (descriptor != NULL && atomic_load_explicit(&descriptor->file, memory_order_relaxed) != NULL)
        file = atomic_exchange(&descriptor->file, NULL);
    if (file == NULL) {
        errno = EBADF;
        return -1;
    }
    number_free(fs, fd);
    descriptor_drop(fs, file);
    return 0;
}

/* Whether close has to do more than to let the file go. */
static bool close_works(const struct benchfs *fs)
{
    return fs->consistency != CONSISTENCY_STRICT || fs->durability == DURABILITY_CLOSE;
}

/* Publishes what was written, and makes it last. A file that is gone took it along. */
static int close_publish(benchfs *fs, int fd)
{
    struct open_file *file = open_file_acquire(fs, fd);
    if (file == NULL)
        return 0; /* close_number says why */
    int status = 0;
    if (file->cache != NULL) {
        struct client *client = client_get(fs);
        status = client == NULL ? -errno : file_cache_publish(fs, client, file, true);
    }
    if (status == 0 && fs->durability == DURABILITY_CLOSE && (file->file.flags & O_ACCMODE) != O_RDONLY &&
        (file->file.flags & O_PATH) == 0) {
        struct client *client = client_get(fs);
        status = client == NULL ? -errno : client_sync(client, &file->file);
    }
    open_file_release(fs, file);
    return status == -ESTALE ? 0 : status;
}

int benchfs_close(benchfs *fs, int fd)
{
    APPLICATION_CALL(CLOSE, fs, fd, NULL);
    int status = close_works(fs) ? close_publish(fs, fd) : 0;
    int closed = close_number(fs, fd);
    return closed < 0 ? closed : finish(status);
}

/* ---- duplicates ---- */

int descriptor_duplicate(struct benchfs *fs, struct open_file *file, int least, int flags)
{
    int fd = number_take(fs, least < FD_FIRST ? FD_FIRST : least);
    if (fd < 0)
        return fd;
    struct descriptor_chunk *chunk = chunk_get(fs, (uint32_t)fd >> FD_CHUNK_BITS);
    if (chunk == NULL) {
        number_free(fs, fd);
        return -ENOMEM;
    }
    struct descriptor *descriptor = &chunk->descriptors[(uint32_t)fd % FD_CHUNK];
    atomic_store_explicit(&descriptor->flags, flags, memory_order_relaxed);
    atomic_store_explicit(&descriptor->file, file, memory_order_release);
    return fd;
}

int descriptor_replace(struct benchfs *fs, struct open_file *file, int fd, int flags)
{
    struct descriptor_chunk *chunk = chunk_get(fs, (uint32_t)fd >> FD_CHUNK_BITS);
    if (chunk == NULL)
        return -ENOMEM;
    struct descriptor *descriptor = &chunk->descriptors[(uint32_t)fd % FD_CHUNK];
    if (close_works(fs))
        close_publish(fs, fd); /* as close, but nobody hears of a failure */
    if (!number_mark(fs, fd) && atomic_load(&descriptor->file) == NULL)
        return -EBUSY;
    struct open_file *old = atomic_exchange(&descriptor->file, file);
    atomic_store_explicit(&descriptor->flags, flags, memory_order_relaxed);
    if (old != NULL)
        descriptor_drop(fs, old);
    return fd;
}

/* ---- fork, disconnect ---- */

/* A description in the child: what other threads of the parent were about is not under way here. */
static void open_file_after_fork(struct open_file *file)
{
    atomic_store(&file->state, 0);
    pthread_mutex_init(&file->lock, NULL);
}

void open_files_after_fork(struct benchfs *fs)
{
    for (struct open_file *spare = fs->spares; spare != NULL; spare = spare->next_spare)
        open_file_after_fork(spare);
    for (uint32_t index = 0; index < FD_CHUNKS; index++) {
        struct descriptor_chunk *chunk = atomic_load(&fs->chunks[index]);
        for (uint32_t i = 0; chunk != NULL && i < FD_CHUNK; i++)
            open_file_after_fork(&chunk->files[i]);
    }
    for (uint32_t index = 0; index < FD_CHUNKS; index++) {
        struct descriptor_chunk *chunk = atomic_load(&fs->chunks[index]);
        for (uint32_t i = 0; chunk != NULL && i < FD_CHUNK; i++) {
            struct open_file *file = atomic_load(&chunk->descriptors[i].file);
            if (file == NULL)
                number_free(fs, (int)(index * FD_CHUNK + i));
            else
                atomic_store(&file->state, (atomic_load(&file->state) | OPEN_FILE_OPEN) + 1);
        }
    }
    fs->free_spares = NULL;
    for (struct open_file *spare = fs->spares; spare != NULL; spare = spare->next_spare)
        if (atomic_load(&spare->state) == 0) {
            spare->next_free_spare = fs->free_spares;
            fs->free_spares = spare;
        }
}

void open_files_each(struct benchfs *fs,
                     void (*visit)(struct benchfs *fs, struct open_file *file, void *context), void *context)
{
    for (uint32_t index = 0; index < FD_CHUNKS; index++) {
        struct descriptor_chunk *chunk = atomic_load(&fs->chunks[index]);
        for (uint32_t i = 0; chunk != NULL && i < FD_CHUNK; i++)
            if (atomic_load(&chunk->files[i].state) & OPEN_FILE_OPEN)
                visit(fs, &chunk->files[i], context);
    }
    for (struct open_file *spare = fs->spares; spare != NULL; spare = spare->next_spare)
        if (atomic_load(&spare->state) & OPEN_FILE_OPEN)
            visit(fs, spare, context);
}

void open_files_destroy(struct benchfs *fs)
{
    while (fs->spares != NULL) {
        struct open_file *spare = fs->spares;
        fs->spares = spare->next_spare;
        free(spare);
    }
    for (uint32_t index = 0; index < FD_CHUNKS; index++)
        free(atomic_load(&fs->chunks[index]));
    free(fs->announced);
    free(fs->kept);
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

int library_open(struct benchfs *fs, uint64_t directory, const char *path, int flags, mode_t mode)
{
    struct open_file *file;
    int fd;
    struct client *client = client_get(fs);
    if (client == NULL)
        return -errno;
    int status = open_file_reserve(fs, &fd, &file);
    if (status < 0)
        return status;
    status = client_open(client, directory, path, flags,
                         mode & ~atomic_load_explicit(&fs->umask, memory_order_relaxed), &file->file);
    if (status < 0) {
        open_file_cancel(fs, fd, file);
        return status;
    }
    status = file_cache_open(fs, file);
    if (status < 0) {
        file_let_go(fs, NULL, &file->file);
        open_file_cancel(fs, fd, file);
        return status;
    }
    open_file_publish(fs, fd, file);
    return fd;
}

static int open_at(benchfs *fs, int dirfd, const char *path, int flags, mode_t mode)
{
    uint64_t directory;
    struct client *client = client_get(fs);
    if (client == NULL || start_directory(fs, dirfd, path, &directory) < 0)
        return -1;
    /* What was written before the file is cut to nothing must not come after. Which file that is only the
     * servers know. */
    if (flags & O_TRUNC)
        file_caches_publish(fs, client, 0);
    return finish(library_open(fs, directory, path, flags, mode));
}

int benchfs_open(benchfs *fs, const char *path, int flags, ...)
{
    APPLICATION_CALL(OPEN, fs, -1, path);
    mode_t mode = 0;
    if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) {
        va_list arguments;
        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    return open_at(fs, AT_FDCWD, path, flags, mode);
}

int benchfs_openat(benchfs *fs, int dirfd, const char *path, int flags, ...)
{
    APPLICATION_CALL(OPENAT, fs, -1, path);
    mode_t mode = 0;
    if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) {
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
    APPLICATION_CALL(LSEEK, fs, fd, NULL);
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

/* Reading, writing, and what else works on an open file's data.
 *
 * read and write take the description's lock for as long as they run, in whatever process, so descriptors
 * that share an offset get consecutive parts; pread and pwrite share nothing. */
#include <linux/fs.h>
#include <sys/file.h>
#include <stdlib.h>

#include "preload/preload.h"

static void description_lock(struct description *description)
{
    if (unlikely(pthread_mutex_lock(&description->lock) == EOWNERDEAD))
        pthread_mutex_consistent(
            &description->lock); /* its holder died between two offsets: either is right */
}

static void description_unlock(struct description *description)
{
    pthread_mutex_unlock(&description->lock);
}

static bool appends(const struct description *description)
{
    return (atomic_load_explicit(&description->flags, memory_order_relaxed) & O_APPEND) != 0;
}

/* ---- one range ---- */

static ssize_t read_next(uint32_t number, void *buffer, size_t count)
{
    struct description *description = &descriptions[number];
    description_lock(description);
    int64_t offset = atomic_load_explicit(&description->offset, memory_order_relaxed);
    ssize_t got = REMOTE(ssize_t, pread(opened[number].remote, buffer, count, offset));
    if (got > 0)
        atomic_store_explicit(&description->offset, offset + got, memory_order_relaxed);
    description_unlock(description);
    return got;
}

static ssize_t write_next(uint32_t number, const void *buffer, size_t count)
{
    struct description *description = &descriptions[number];
    description_lock(description);
    off_t offset = atomic_load_explicit(&description->offset, memory_order_relaxed);
    ssize_t put;
    if (appends(description)) {
        put = REMOTE(ssize_t, append(opened[number].remote, buffer, count, &offset));
    } else {
        put = REMOTE(ssize_t, pwrite(opened[number].remote, buffer, count, offset));
        offset += put > 0 ? put : 0;
    }
    if (put > 0)
        atomic_store_explicit(&description->offset, offset, memory_order_relaxed);
    description_unlock(description);
    return put;
}

EXPORT ssize_t read(int fd, void *buffer, size_t count)
{
    ROUTE_FD(number, fd, -1, real(read)(fd, buffer, count));
    return read_next(number, buffer, count);
}
ALIAS(__read, read);

EXPORT ssize_t write(int fd, const void *buffer, size_t count)
{
    ROUTE_FD(number, fd, -1, real(write)(fd, buffer, count));
    return write_next(number, buffer, count);
}
ALIAS(__write, write);

EXPORT ssize_t pread(int fd, void *buffer, size_t count, off_t offset)
{
    ROUTE_FD(number, fd, -1, real(pread)(fd, buffer, count, offset));
    return REMOTE(ssize_t, pread(opened[number].remote, buffer, count, offset));
}
ALIAS(pread64, pread);
ALIAS(__pread64, pread);

EXPORT ssize_t pwrite(int fd, const void *buffer, size_t count, off_t offset)
{
    ROUTE_FD(number, fd, -1, real(pwrite)(fd, buffer, count, offset));
    return REMOTE(ssize_t, pwrite(opened[number].remote, buffer, count, offset));
}
ALIAS(pwrite64, pwrite);
ALIAS(__pwrite64, pwrite);

EXPORT ssize_t __read_chk(int fd, void *buffer, size_t count, size_t room);
EXPORT ssize_t __read_chk(int fd, void *buffer, size_t count, size_t room)
{
    ROUTE_FD(number, fd, -1, real(__read_chk)(fd, buffer, count, room));
    if (count > room)
        abort();
    return read_next(number, buffer, count);
}

EXPORT ssize_t __pread_chk(int fd, void *buffer, size_t count, off_t offset, size_t room);
EXPORT ssize_t __pread_chk(int fd, void *buffer, size_t count, off_t offset, size_t room)
{
    ROUTE_FD(number, fd, -1, real(__pread_chk)(fd, buffer, count, offset, room));
    if (count > room)
        abort();
    return REMOTE(ssize_t, pread(opened[number].remote, buffer, count, offset));
}
ALIAS(__pread64_chk, __pread_chk);

/* ---- several ranges ---- */

enum { AT_POSITION = -1 };

static ssize_t readv_next(uint32_t number, const struct iovec *vector, int count, int flags)
{
    struct description *description = &descriptions[number];
    description_lock(description);
    int64_t offset = atomic_load_explicit(&description->offset, memory_order_relaxed);
    ssize_t got = REMOTE(ssize_t, preadv(opened[number].remote, vector, count, offset, flags));
    if (got > 0)
        atomic_store_explicit(&description->offset, offset + got, memory_order_relaxed);
    description_unlock(description);
    return got;
}

static ssize_t read_ranges(uint32_t number, const struct iovec *vector, int count, off_t offset, int flags)
{
    if (offset == AT_POSITION)
        return readv_next(number, vector, count, flags);
    return REMOTE(ssize_t, preadv(opened[number].remote, vector, count, offset, flags));
}

/* All ranges in one piece, so that an append finds its place once. */
static ssize_t append_ranges(uint32_t number, const struct iovec *vector, int count)
{
    size_t total = 0, done = 0;
    bool valid = count >= 0 && count <= IOV_MAX;
    for (int i = 0; i < count && valid; i++)
        valid = !__builtin_add_overflow(total, vector[i].iov_len, &total) && total <= SSIZE_MAX;
    if (!valid) {
        errno = EINVAL;
        return -1;
    }
    char *whole = malloc(total > 0 ? total : 1);
    if (whole == NULL)
        return -1;
    for (int i = 0; i < count; i++) {
        if (vector[i].iov_len > 0)
            memcpy(whole + done, vector[i].iov_base, vector[i].iov_len);
        done += vector[i].iov_len;
    }
    ssize_t put = write_next(number, whole, total);
    int error = errno;
    free(whole);
    errno = error;
    return put;
}

static ssize_t write_ranges(uint32_t number, const struct iovec *vector, int count, off_t offset, int flags)
{
    struct description *description = &descriptions[number];
    if (offset != AT_POSITION)
        return REMOTE(ssize_t, pwritev(opened[number].remote, vector, count, offset, flags));
    if (appends(description) && flags == 0)
        return append_ranges(number, vector, count);
    description_lock(description);
    int64_t from = atomic_load_explicit(&description->offset, memory_order_relaxed);
    ssize_t put = REMOTE(ssize_t, pwritev(opened[number].remote, vector, count, from, flags));
    if (put > 0) {
        off_t end = from + put;
        if (flags & RWF_APPEND || appends(description))
            end = REMOTE(off_t, seek(opened[number].remote, 0, SEEK_END));
        atomic_store_explicit(&description->offset, end, memory_order_relaxed);
    }
    description_unlock(description);
    return put;
}

static bool offset_valid(off_t offset)
{
    if (offset >= 0)
        return true;
    errno = EINVAL;
    return false;
}

EXPORT ssize_t readv(int fd, const struct iovec *vector, int count)
{
    ROUTE_FD(number, fd, -1, real(readv)(fd, vector, count));
    return read_ranges(number, vector, count, AT_POSITION, 0);
}

EXPORT ssize_t writev(int fd, const struct iovec *vector, int count)
{
    ROUTE_FD(number, fd, -1, real(writev)(fd, vector, count));
    return write_ranges(number, vector, count, AT_POSITION, 0);
}

EXPORT ssize_t preadv(int fd, const struct iovec *vector, int count, off_t offset)
{
    ROUTE_FD(number, fd, -1, real(preadv)(fd, vector, count, offset));
    return offset_valid(offset) ? read_ranges(number, vector, count, offset, 0) : -1;
}
ALIAS(preadv64, preadv);

EXPORT ssize_t pwritev(int fd, const struct iovec *vector, int count, off_t offset)
{
    ROUTE_FD(number, fd, -1, real(pwritev)(fd, vector, count, offset));
    return offset_valid(offset) ? write_ranges(number, vector, count, offset, 0) : -1;
}
ALIAS(pwritev64, pwritev);

EXPORT ssize_t preadv2(int fd, const struct iovec *vector, int count, off_t offset, int flags)
{
    ROUTE_FD(number, fd, -1, real(preadv2)(fd, vector, count, offset, flags));
    if (offset != AT_POSITION && !offset_valid(offset))
        return -1;
    return read_ranges(number, vector, count, offset, flags);
}
ALIAS(preadv64v2, preadv2);

EXPORT ssize_t pwritev2(int fd, const struct iovec *vector, int count, off_t offset, int flags)
{
    ROUTE_FD(number, fd, -1, real(pwritev2)(fd, vector, count, offset, flags));
    if (offset != AT_POSITION && !offset_valid(offset))
        return -1;
    return write_ranges(number, vector, count, offset, flags);
}
ALIAS(pwritev64v2, pwritev2);

/* ---- offset and size ---- */

static off_t seek(uint32_t number, off_t offset, int whence)
{
    struct description *description = &descriptions[number];
    if (whence != SEEK_SET && whence != SEEK_CUR)
        return REMOTE(off_t, seek(opened[number].remote, offset, whence));
    off_t from = whence == SEEK_CUR ? atomic_load(&description->offset) : 0;
    off_t result;
    if (__builtin_add_overflow(from, offset, &result)) {
        errno = EOVERFLOW;
        return -1;
    }
    return offset_valid(result) ? result : -1;
}

EXPORT off_t lseek(int fd, off_t offset, int whence)
{
    ROUTE_FD(number, fd, -1, real(lseek)(fd, offset, whence));
    struct description *description = &descriptions[number];
    if (atomic_load_explicit(&description->flags, memory_order_relaxed) & O_PATH) {
        errno = EBADF;
        return -1;
    }
    description_lock(description);
    off_t result = seek(number, offset, whence);
    if (result >= 0)
        atomic_store(&description->offset, result);
    description_unlock(description);
    return result;
}
ALIAS(lseek64, lseek);
ALIAS(__lseek, lseek);

EXPORT int ftruncate(int fd, off_t length)
{
    ROUTE_FD(number, fd, -1, real(ftruncate)(fd, length));
    return REMOTE(int, ftruncate(opened[number].remote, length));
}
ALIAS(ftruncate64, ftruncate);

EXPORT int truncate(const char *path, off_t length)
{
    ROUTE(place, AT_FDCWD, path, -1, real(truncate)(path, length));
    return REMOTE_PATH(int, truncateat(place.directory, place.path, length), truncate(left, length));
}
ALIAS(truncate64, truncate);

/* ---- storage ---- */

EXPORT int fsync(int fd)
{
    ROUTE_FD(number, fd, -1, real(fsync)(fd));
    return REMOTE(int, fsync(opened[number].remote));
}

EXPORT int fdatasync(int fd)
{
    ROUTE_FD(number, fd, -1, real(fdatasync)(fd));
    return REMOTE(int, fsync(opened[number].remote));
}

EXPORT int syncfs(int fd)
{
    ROUTE_FD(number, fd, -1, real(syncfs)(fd));
    (void)number;
    return REMOTE(int, sync());
}

EXPORT int sync_file_range(int fd, off64_t offset, off64_t count, unsigned flags)
{
    ROUTE_FD(number, fd, -1, real(sync_file_range)(fd, offset, count, flags));
    if (offset < 0 || count < 0 || flags > 7) {
        errno = EINVAL;
        return -1;
    }
    return REMOTE(int, fsync(opened[number].remote));
}

EXPORT int fallocate(int fd, int mode, off_t offset, off_t length)
{
    ROUTE_FD(number, fd, -1, real(fallocate)(fd, mode, offset, length));
    return REMOTE(int, fallocate(opened[number].remote, mode, offset, length));
}
ALIAS(fallocate64, fallocate);

EXPORT int posix_fallocate(int fd, off_t offset, off_t length)
{
    ROUTE_FD(number, fd, errno, real(posix_fallocate)(fd, offset, length));
    int before = errno; /* the result is the error */
    int error = REMOTE(int, posix_fallocate(opened[number].remote, offset, length));
    errno = before;
    return error;
}
ALIAS(posix_fallocate64, posix_fallocate);

/* Advice may be ignored. */
EXPORT int posix_fadvise(int fd, off_t offset, off_t length, int advice)
{
    ROUTE_FD(number, fd, errno, real(posix_fadvise)(fd, offset, length, advice));
    (void)number;
    return length < 0 || advice < POSIX_FADV_NORMAL || advice > POSIX_FADV_NOREUSE ? EINVAL : 0;
}
ALIAS(posix_fadvise64, posix_fadvise);

EXPORT ssize_t readahead(int fd, off64_t offset, size_t count)
{
    ROUTE_FD(number, fd, -1, real(readahead)(fd, offset, count));
    if ((atomic_load(&descriptions[number].flags) & O_ACCMODE) != O_WRONLY)
        return 0;
    errno = EBADF;
    return -1;
}

/* ---- locks ---- */

EXPORT int flock(int fd, int operation)
{
    ROUTE_FD(number, fd, -1, real(flock)(fd, operation));
    return REMOTE(int, flock(opened[number].remote, operation));
}

EXPORT int lockf(int fd, int command, off_t length)
{
    ROUTE_FD(number, fd, -1, real(lockf)(fd, command, length));
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_CUR, .l_len = length};
    switch (command) {
    case F_ULOCK:
        lock.l_type = F_UNLCK;
        return description_record_lock(number, F_SETLK, &lock);
    case F_LOCK:
        return description_record_lock(number, F_SETLKW, &lock);
    case F_TLOCK:
        return description_record_lock(number, F_SETLK, &lock);
    case F_TEST:
        if (description_record_lock(number, F_GETLK, &lock) < 0)
            return -1;
        if (lock.l_type == F_UNLCK || lock.l_pid == getpid())
            return 0;
        errno = EACCES;
        return -1;
    default:
        errno = EINVAL;
        return -1;
    }
}
ALIAS(lockf64, lockf);

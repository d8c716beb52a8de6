/* Streams of the C library over BenchFS's descriptors.
 *
 * The C library's own streams make system calls that nobody can step in front of, so a stream over a
 * BenchFS descriptor is a cookie stream, whose functions call read, write, lseek and close of this library.
 *
 * Standard input, output and error exist before anyone can choose. When one of the descriptors 0, 1 and 2
 * becomes BenchFS's, by exec or dup2, the variable stdin, stdout or stderr gets a cookie stream over that
 * number; it stays, as it serves any descriptor. What the program had written into the old stream's buffer
 * moves along. */
#include <stdio_ext.h>
#include <stdlib.h>

#include "preload/preload.h"

#define BUFFER_SIZE 32768
#define BUCKETS 64u

struct cookie {
    struct cookie *next; /* in its bucket */
    FILE *stream;
    int fd;
    char buffer[BUFFER_SIZE];
};

static struct cookie *buckets[BUCKETS];
static pthread_mutex_t buckets_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic unsigned cookies;

static struct cookie **bucket_of(const FILE *stream)
{
    return &buckets[((uintptr_t)stream >> 5) % BUCKETS];
}

static struct cookie *cookie_of(FILE *stream)
{
    if (likely(atomic_load_explicit(&cookies, memory_order_relaxed) == 0))
        return NULL;
    pthread_mutex_lock(&buckets_lock);
    struct cookie *cookie = *bucket_of(stream);
    while (cookie != NULL && cookie->stream != stream)
        cookie = cookie->next;
    pthread_mutex_unlock(&buckets_lock);
    return cookie;
}

/* ---- the stream's functions ---- */

static ssize_t cookie_read(void *argument, char *buffer, size_t size)
{
    const struct cookie *cookie = argument;
    return read(cookie->fd, buffer, size);
}

static ssize_t cookie_write(void *argument, const char *buffer, size_t size)
{
    const struct cookie *cookie = argument;
    ssize_t put = write(cookie->fd, buffer, size);
    return put < 0 ? 0 : put; /* 0 is how a cookie stream is told of a failure */
}

static int cookie_seek(void *argument, off64_t *offset, int whence)
{
    const struct cookie *cookie = argument;
    off_t result = lseek(cookie->fd, *offset, whence);
    if (result < 0)
        return -1;
    *offset = result;
    return 0;
}

static int cookie_close(void *argument)
{
    struct cookie *cookie = argument;
    pthread_mutex_lock(&buckets_lock);
    struct cookie **link = bucket_of(cookie->stream);
    while (*link != cookie)
        link = &(*link)->next;
    *link = cookie->next;
    pthread_mutex_unlock(&buckets_lock);
    atomic_fetch_sub(&cookies, 1);
    int fd = cookie->fd;
    /* The stream still points to the buffer, but has no more use for it. */
    free(cookie);
    return close(fd);
}

static FILE *cookie_open(int fd, const char *mode)
{
    static const cookie_io_functions_t functions = {cookie_read, cookie_write, cookie_seek, cookie_close};
    struct cookie *cookie = malloc(sizeof *cookie);
    if (cookie == NULL)
        return NULL;
    FILE *stream = fopencookie(cookie, mode, functions);
    if (stream == NULL) {
        free(cookie);
        return NULL;
    }
    cookie->stream = stream;
    cookie->fd = fd;
    setvbuf(stream, cookie->buffer, _IOFBF, BUFFER_SIZE);
    pthread_mutex_lock(&buckets_lock);
    struct cookie **bucket = bucket_of(stream);
    cookie->next = *bucket;
    *bucket = cookie;
    pthread_mutex_unlock(&buckets_lock);
    atomic_fetch_add(&cookies, 1);
    return stream;
}

/* ---- opening ---- */

/* "r+", "wx", "ae" ... as flags of open; -1: makes no sense. */
static int flags_of(const char *mode)
{
    int flags;
    switch (*mode++) {
    case 'r':
        flags = O_RDONLY;
        break;
    case 'w':
        flags = O_WRONLY | O_CREAT | O_TRUNC;
        break;
    case 'a':
        flags = O_WRONLY | O_CREAT | O_APPEND;
        break;
    default:
        errno = EINVAL;
        return -1;
    }
    for (; *mode != '\0' && *mode != ','; mode++)
        switch (*mode) {
        case '+':
            flags = (flags & ~O_ACCMODE) | O_RDWR;
            break;
        case 'x':
            flags |= O_EXCL;
            break;
        case 'e':
            flags |= O_CLOEXEC;
            break;
        default:
            break;
        }
    return flags;
}

EXPORT FILE *fopen(const char *path, const char *mode)
{
    ROUTE(place, AT_FDCWD, path, NULL, (descriptors_make_room(), real(fopen)(path, mode)));
    int flags = flags_of(mode);
    if (flags < 0)
        return NULL;
    int fd = open(path, flags, 0666);
    if (fd < 0)
        return NULL;
    if (!descriptor_is_remote(fd)) /* a link led out */
        return real(fdopen)(fd, mode);
    FILE *stream = cookie_open(fd, mode);
    if (stream == NULL) {
        int error = errno;
        close(fd);
        errno = error;
    }
    return stream;
}
ALIAS(fopen64, fopen);

EXPORT FILE *fdopen(int fd, const char *mode)
{
    ROUTE_FD(number, fd, NULL, real(fdopen)(fd, mode));
    int flags = flags_of(mode);
    if (flags < 0)
        return NULL;
    int have = atomic_load(&descriptions[number].flags) & O_ACCMODE;
    if (have != O_RDWR && have != (flags & O_ACCMODE)) {
        errno = EINVAL;
        return NULL;
    }
    if (flags & O_APPEND)
        fcntl(fd, F_SETFL, atomic_load(&descriptions[number].flags) | O_APPEND);
    return cookie_open(fd, mode);
}

EXPORT int fileno(FILE *stream)
{
    const struct cookie *cookie = cookie_of(stream);
    return cookie == NULL ? real(fileno)(stream) : cookie->fd;
}
ALIAS(fileno_unlocked, fileno);

/* Lets a cookie stream go on with another file. */
static FILE *cookie_reopen(struct cookie *cookie, const char *path, int flags)
{
    enum { NO_READS = 4, NO_WRITES = 8 }; /* of _flags */
    FILE *stream = cookie->stream;
    fflush(stream);
    int fd = path != NULL ? open(path, flags, 0666) : fcntl(cookie->fd, F_SETFL, flags) < 0 ? -1 : cookie->fd;
    if (fd < 0) {
        int error = errno;
        fclose(stream);
        errno = error;
        return NULL;
    }
    if (fd != cookie->fd && cookie->fd <= STDERR_FILENO) { /* the number is what matters */
        dup2(fd, cookie->fd);
        close(fd);
    } else if (fd != cookie->fd) {
        close(cookie->fd);
        cookie->fd = fd;
    }
    __fpurge(stream);
    clearerr(stream);
    stream->_offset = -1;
    stream->_flags &= ~(NO_READS | NO_WRITES);
    if ((flags & O_ACCMODE) != O_RDWR)
        stream->_flags |= (flags & O_ACCMODE) == O_RDONLY ? NO_WRITES : NO_READS;
    return stream;
}

EXPORT FILE *freopen(const char *path, const char *mode, FILE *stream)
{
    struct place place;
    struct cookie *cookie = cookie_of(stream);
    if (cookie == NULL && (path == NULL || place_of(AT_FDCWD, path, &place) == ROUTE_REAL))
        return real(freopen)(path, mode, stream);
    int flags = flags_of(mode);
    if (flags < 0)
        return NULL;
    if (cookie != NULL)
        return cookie_reopen(cookie, path, flags);
    int standard = real(fileno)(stream);
    fflush(stream);
    if (standard < 0 || standard > STDERR_FILENO) { /* the stream cannot become another kind */
        FILE *other = fopen(path, mode);
        int error = errno;
        fclose(stream);
        errno = error;
        return other;
    }
    int fd = open(path, flags, 0666);
    if (fd < 0)
        return NULL;
    int result = dup2(fd, standard);
    close(fd);
    if (result < 0)
        return NULL;
    return standard == STDIN_FILENO ? stdin : standard == STDOUT_FILENO ? stdout : stderr;
}
ALIAS(freopen64, freopen);

/* ---- standard streams ---- */

/* Written but not flushed yet. */
static void move_pending(FILE *from, FILE *to)
{
    if (from->_IO_write_ptr > from->_IO_write_base) {
        fwrite(from->_IO_write_base, 1, (size_t)(from->_IO_write_ptr - from->_IO_write_base), to);
        from->_IO_write_ptr = from->_IO_write_base;
    }
}

void stdio_descriptor_changed(int fd)
{
    FILE **variable = fd == STDIN_FILENO ? &stdin : fd == STDOUT_FILENO ? &stdout : &stderr;
    if ((descriptor_entry(fd) & ENTRY_OPEN) == 0 || cookie_of(*variable) != NULL)
        return;
    FILE *stream = cookie_open(fd, fd == STDIN_FILENO ? "r" : "w");
    if (stream == NULL)
        return;
    if (fd == STDERR_FILENO)
        setvbuf(stream, NULL, _IONBF, 0);
    if (*variable != NULL && fd != STDIN_FILENO)
        move_pending(*variable, stream);
    *variable = stream;
}

/* open, in all its forms. */
#include <stdlib.h>

#include "preload/preload.h"

static inline bool takes_mode(int flags)
{
    return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
}

static int open_place(const struct place *place, int flags, mode_t mode)
{
    int fd = REMOTE(int, open(place->directory, place->path, flags, mode));
    const char *left;
    if (likely(fd >= 0))
        return descriptor_make(fd, flags);
    if (errno == EXDEV && (left = remote_left()) != NULL)
        return real(open)(left, flags, mode);
    if (errno == EOPNOTSUPP || errno == ENXIO)
        return fifo_open(place, flags);
    return -1;
}

/* "/dev/fd/5", "/proc/self/fd/5", "/dev/stdin": the file that is open as that descriptor, if it is ours,
 * opened again. -2: not such a path. */
static int open_again(const char *path, int flags)
{
    int fd = descriptor_named(path);
    uint32_t number;
    if (fd < 0 || descriptor_of(fd, &number) != ROUTE_REMOTE)
        return -2;
    struct remote_file file;
    if (REMOTE(int, save(opened[number].remote, &file, NULL)) < 0)
        return -1;
    int mode = file.flags & O_ACCMODE, wanted = flags & O_ACCMODE;
    if (mode != O_RDWR && mode != wanted) {
        struct stat status;
        unsigned need = wanted == O_RDONLY ? 0444 : wanted == O_WRONLY ? 0222 : 0666;
        if (REMOTE(int, fstat(opened[number].remote, &status)) < 0)
            return -1;
        if ((status.st_mode & need) == 0) {
            errno = EACCES;
            return -1;
        }
    }
    file.flags = flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_CLOEXEC);
    int again = REMOTE(int, restore(&file, NULL));
    if (again >= 0 && (flags & O_TRUNC) != 0 && wanted != O_RDONLY)
        REMOTE(int, ftruncate(again, 0));
    return again < 0 ? -1 : descriptor_make(again, flags);
}

/* What BenchFS itself opens must not take the program's low numbers. */
static int open_real(int dirfd, const char *path, int flags, mode_t mode)
{
    if (unlikely(descriptor_maybe_named(path)) && inside == 0) {
        int again = open_again(path, flags);
        if (again != -2)
            return again;
    }
    descriptors_make_room();
    int fd = dirfd == AT_FDCWD ? real(open)(path, flags, mode) : real(openat)(dirfd, path, flags, mode);
    return unlikely(inside > 0) ? descriptor_hide(fd) : fd;
}

static inline int open_any(int dirfd, const char *path, int flags, mode_t mode)
{
    ROUTE(place, dirfd, path, -1, open_real(dirfd, path, flags, mode));
    return open_place(&place, flags, mode);
}

#define MODE(flags, last)                                                                                    \
    ({                                                                                                       \
        mode_t mode_ = 0;                                                                                    \
        if (takes_mode(flags)) {                                                                             \
            va_list arguments;                                                                               \
            va_start(arguments, last);                                                                       \
            mode_ = va_arg(arguments, mode_t);                                                               \
            va_end(arguments);                                                                               \
        }                                                                                                    \
        mode_;                                                                                               \
    })

EXPORT int open(const char *path, int flags, ...)
{
    return open_any(AT_FDCWD, path, flags, MODE(flags, flags));
}
ALIAS(open64, open);
ALIAS(__open, open);
ALIAS(__open64, open);

EXPORT int openat(int dirfd, const char *path, int flags, ...)
{
    return open_any(dirfd, path, flags, MODE(flags, flags));
}
ALIAS(openat64, openat);

EXPORT int creat(const char *path, mode_t mode)
{
    return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
ALIAS(creat64, creat);

/* The fortified forms are called when no mode was given. */
EXPORT int __open_2(const char *path, int flags);
EXPORT int __open_2(const char *path, int flags)
{
    if (takes_mode(flags))
        abort();
    return open_any(AT_FDCWD, path, flags, 0);
}
ALIAS(__open64_2, __open_2);

EXPORT int __openat_2(int dirfd, const char *path, int flags);
EXPORT int __openat_2(int dirfd, const char *path, int flags)
{
    if (takes_mode(flags))
        abort();
    return open_any(dirfd, path, flags, 0);
}
ALIAS(__openat64_2, __openat_2);

/* ---- descriptors that BenchFS's own connections make ---- */

#define HIDDEN(name, parameters, arguments)                                                                  \
    EXPORT int name parameters                                                                               \
    {                                                                                                        \
        descriptors_make_room();                                                                             \
        int made = real(name) arguments;                                                                     \
        return unlikely(inside > 0) ? descriptor_hide(made) : made;                                          \
    }
#define HIDDEN_PAIR(name, parameters, arguments, pair)                                                       \
    EXPORT int name parameters                                                                               \
    {                                                                                                        \
        descriptors_make_room();                                                                             \
        int result = real(name) arguments;                                                                   \
        if (unlikely(inside > 0) && result == 0) {                                                           \
            pair[0] = descriptor_hide(pair[0]);                                                              \
            pair[1] = descriptor_hide(pair[1]);                                                              \
        }                                                                                                    \
        return result;                                                                                       \
    }

HIDDEN(socket, (int domain, int type, int protocol), (domain, type, protocol))
HIDDEN(accept, (int fd, struct sockaddr *address, socklen_t *length), (fd, address, length))
HIDDEN(accept4, (int fd, struct sockaddr *address, socklen_t *length, int flags),
       (fd, address, length, flags))
HIDDEN(epoll_create, (int size), (size))
HIDDEN(epoll_create1, (int flags), (flags))
HIDDEN(eventfd, (unsigned value, int flags), (value, flags))
HIDDEN(timerfd_create, (clockid_t clock, int flags), (clock, flags))
HIDDEN(memfd_create, (const char *name, unsigned flags), (name, flags))
HIDDEN(shm_open, (const char *name, int flags, mode_t mode), (name, flags, mode))
HIDDEN_PAIR(socketpair, (int domain, int type, int protocol, int pair[2]), (domain, type, protocol, pair),
            pair)
HIDDEN_PAIR(pipe, (int pair[2]), (pair), pair)
HIDDEN_PAIR(pipe2, (int pair[2], int flags), (pair, flags), pair)

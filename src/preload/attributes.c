/* Attributes set: mode, owner, times; extended attributes; the file mode creation mask. */
#include <sys/time.h>

#include "preload/preload.h"

EXPORT mode_t umask(mode_t mask)
{
    if (remote != NULL && inside == 0) {
        inside++;
        remote->umask(mask);
        inside--;
    }
    return real(umask)(mask);
}

/* ---- mode ---- */

EXPORT int chmod(const char *path, mode_t mode)
{
    ROUTE(place, AT_FDCWD, path, -1, real(chmod)(path, mode));
    return REMOTE_PATH(int, chmodat(place.directory, place.path, mode, 0), real(chmod)(left, mode));
}

/* As on Linux a link has no mode to change. */
static int chmod_no_follow(const struct place *place, mode_t mode)
{
    struct stat status;
    if (REMOTE(int, statat(place->directory, place->path, &status, AT_SYMLINK_NOFOLLOW)) < 0)
        return -1;
    if (S_ISLNK(status.st_mode)) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return REMOTE(int, chmodat(place->directory, place->path, mode, 0));
}

EXPORT int lchmod(const char *path, mode_t mode)
{
    ROUTE(place, AT_FDCWD, path, -1, real(lchmod)(path, mode));
    return chmod_no_follow(&place, mode);
}

EXPORT int fchmod(int fd, mode_t mode)
{
    ROUTE_FD(number, fd, -1, real(fchmod)(fd, mode));
    return REMOTE(int, fchmod(opened[number].remote, mode));
}

EXPORT int fchmodat(int dirfd, const char *path, mode_t mode, int flags)
{
    ROUTE(place, dirfd, path, -1, real(fchmodat)(dirfd, path, mode, flags));
    if (flags & ~AT_SYMLINK_NOFOLLOW) {
        errno = EINVAL;
        return -1;
    }
    if (flags & AT_SYMLINK_NOFOLLOW)
        return chmod_no_follow(&place, mode);
    return REMOTE_PATH(int, chmodat(place.directory, place.path, mode, 0), real(chmod)(left, mode));
}

/* ---- owner ---- */

EXPORT int fchownat(int dirfd, const char *path, uid_t owner, gid_t group, int flags)
{
    ROUTE(place, dirfd, path, -1, real(fchownat)(dirfd, path, owner, group, flags));
    return REMOTE_PATH(int, chownat(place.directory, place.path, owner, group, flags),
                       real(fchownat)(AT_FDCWD, left, owner, group, flags));
}

EXPORT int chown(const char *path, uid_t owner, gid_t group)
{
    ROUTE(place, AT_FDCWD, path, -1, real(chown)(path, owner, group));
    return fchownat(AT_FDCWD, path, owner, group, 0);
}

EXPORT int lchown(const char *path, uid_t owner, gid_t group)
{
    ROUTE(place, AT_FDCWD, path, -1, real(lchown)(path, owner, group));
    return fchownat(AT_FDCWD, path, owner, group, AT_SYMLINK_NOFOLLOW);
}

EXPORT int fchown(int fd, uid_t owner, gid_t group)
{
    ROUTE_FD(number, fd, -1, real(fchown)(fd, owner, group));
    return REMOTE(int, fchown(opened[number].remote, owner, group));
}

/* ---- times ---- */

static int set_times(const struct place *place, const struct timespec times[2], int flags)
{
    return REMOTE_PATH(int, utimensat(place->directory, place->path, times, flags),
                       real(utimensat)(AT_FDCWD, left, times, flags));
}

/* Microseconds to nanoseconds; NULL stays NULL. False: out of range. */
static bool times_of(const struct timeval *microseconds, struct timespec times[2],
                     const struct timespec **result)
{
    *result = NULL;
    if (microseconds == NULL)
        return true;
    for (int i = 0; i < 2; i++) {
        if (microseconds[i].tv_usec < 0 || microseconds[i].tv_usec >= 1000000) {
            errno = EINVAL;
            return false;
        }
        times[i] = (struct timespec){microseconds[i].tv_sec, microseconds[i].tv_usec * 1000};
    }
    *result = times;
    return true;
}

EXPORT int utimensat(int dirfd, const char *path, const struct timespec times[2], int flags)
{
    if (no_path(path) || (path[0] == '\0' && flags & AT_EMPTY_PATH && dirfd != AT_FDCWD)) {
        ROUTE_FD(number, dirfd, -1, real(utimensat)(dirfd, path, times, flags));
        return REMOTE(int, futimens(opened[number].remote, times));
    }
    ROUTE(place, dirfd, path, -1, real(utimensat)(dirfd, path, times, flags));
    return set_times(&place, times, flags);
}

EXPORT int futimens(int fd, const struct timespec times[2])
{
    ROUTE_FD(number, fd, -1, real(futimens)(fd, times));
    return REMOTE(int, futimens(opened[number].remote, times));
}

EXPORT int utime(const char *path, const struct utimbuf *seconds)
{
    ROUTE(place, AT_FDCWD, path, -1, real(utime)(path, seconds));
    struct timespec times[2];
    if (seconds != NULL) {
        times[0] = (struct timespec){.tv_sec = seconds->actime};
        times[1] = (struct timespec){.tv_sec = seconds->modtime};
    }
    return set_times(&place, seconds == NULL ? NULL : times, 0);
}

EXPORT int utimes(const char *path, const struct timeval microseconds[2])
{
    ROUTE(place, AT_FDCWD, path, -1, real(utimes)(path, microseconds));
    struct timespec room[2];
    const struct timespec *times;
    return times_of(microseconds, room, &times) ? set_times(&place, times, 0) : -1;
}

EXPORT int lutimes(const char *path, const struct timeval microseconds[2])
{
    ROUTE(place, AT_FDCWD, path, -1, real(lutimes)(path, microseconds));
    struct timespec room[2];
    const struct timespec *times;
    return times_of(microseconds, room, &times) ? set_times(&place, times, AT_SYMLINK_NOFOLLOW) : -1;
}

EXPORT int futimes(int fd, const struct timeval microseconds[2])
{
    ROUTE_FD(number, fd, -1, real(futimes)(fd, microseconds));
    struct timespec room[2];
    const struct timespec *times;
    return times_of(microseconds, room, &times) ? REMOTE(int, futimens(opened[number].remote, times)) : -1;
}

EXPORT int futimesat(int dirfd, const char *path, const struct timeval microseconds[2])
{
    if (no_path(path))
        return futimes(dirfd, microseconds);
    ROUTE(place, dirfd, path, -1, real(futimesat)(dirfd, path, microseconds));
    struct timespec room[2];
    const struct timespec *times;
    return times_of(microseconds, room, &times) ? set_times(&place, times, 0) : -1;
}

/* ---- extended attributes ---- */

/* The two forms by path, and that by descriptor, of one call. */
#define EXTENDED(type, name, parameters, arguments)                                                          \
    EXPORT type name(const char *path UNPACK parameters)                                                     \
    {                                                                                                        \
        ROUTE(place, AT_FDCWD, path, -1, real(name)(path UNPACK arguments));                                 \
        return REMOTE_PATH(type, name##at(place.directory, place.path, true UNPACK arguments),               \
                           real(name)(left UNPACK arguments));                                               \
    }                                                                                                        \
    EXPORT type l##name(const char *path UNPACK parameters)                                                  \
    {                                                                                                        \
        ROUTE(place, AT_FDCWD, path, -1, real(l##name)(path UNPACK arguments));                              \
        return REMOTE_PATH(type, name##at(place.directory, place.path, false UNPACK arguments),              \
                           real(l##name)(left UNPACK arguments));                                            \
    }                                                                                                        \
    EXPORT type f##name(int fd UNPACK parameters)                                                            \
    {                                                                                                        \
        ROUTE_FD(number, fd, -1, real(f##name)(fd UNPACK arguments));                                        \
        return REMOTE(type, f##name(opened[number].remote UNPACK arguments));                                \
    }
#define UNPACK(...) , __VA_ARGS__

EXTENDED(int, setxattr, (const char *name, const void *value, size_t size, int flags),
         (name, value, size, flags))
EXTENDED(ssize_t, getxattr, (const char *name, void *value, size_t size), (name, value, size))
EXTENDED(ssize_t, listxattr, (char *names, size_t size), (names, size))
EXTENDED(int, removexattr, (const char *name), (name))

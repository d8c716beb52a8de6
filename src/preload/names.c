/* Names made, removed and changed. */
#include "preload/preload.h"

/* ---- directories, files ---- */

EXPORT int mkdirat(int dirfd, const char *path, mode_t mode)
{
    ROUTE(place, dirfd, path, -1, real(mkdirat)(dirfd, path, mode));
    return REMOTE_PATH(int, mkdirat(place.directory, place.path, mode), real(mkdir)(left, mode));
}

EXPORT int mkdir(const char *path, mode_t mode)
{
    ROUTE(place, AT_FDCWD, path, -1, real(mkdir)(path, mode));
    return REMOTE_PATH(int, mkdirat(place.directory, place.path, mode), real(mkdir)(left, mode));
}

EXPORT int unlinkat(int dirfd, const char *path, int flags)
{
    ROUTE(place, dirfd, path, -1, real(unlinkat)(dirfd, path, flags));
    return REMOTE_PATH(int, unlinkat(place.directory, place.path, flags),
                       real(unlinkat)(AT_FDCWD, left, flags));
}

EXPORT int unlink(const char *path)
{
    ROUTE(place, AT_FDCWD, path, -1, real(unlink)(path));
    return REMOTE_PATH(int, unlinkat(place.directory, place.path, 0), real(unlink)(left));
}

EXPORT int rmdir(const char *path)
{
    ROUTE(place, AT_FDCWD, path, -1, real(rmdir)(path));
    return REMOTE_PATH(int, unlinkat(place.directory, place.path, AT_REMOVEDIR), real(rmdir)(left));
}

EXPORT int remove(const char *path)
{
    ROUTE(place, AT_FDCWD, path, -1, real(remove)(path));
    int result = unlink(path);
    return result < 0 && errno == EISDIR ? rmdir(path) : result;
}

/* ---- two names ---- */

/* What the kernel would find wrong with a path outside before it looks where it leads. 0: nothing. */
static int wrong_outside(int dirfd, const char *path)
{
    if (no_path(path))
        return EFAULT;
    if (strnlen(path, PATH_MAX) == PATH_MAX)
        return ENAMETOOLONG;
    if (path[0] == '\0')
        return ENOENT;
    return path[0] != '/' && dirfd != AT_FDCWD && real(fcntl)(dirfd, F_GETFD) < 0 ? EBADF : 0;
}

/* The file that is open as a descriptor of BenchFS's, by the name that /proc has for it. */
static bool open_file_named(const char *path, int flags, struct place *place)
{
    uint32_t number;
    if (likely(!descriptor_maybe_named(path)) || (flags & AT_SYMLINK_FOLLOW) == 0 || inside > 0)
        return false;
    int fd = descriptor_named(path);
    if (fd < 0 || descriptor_of(fd, &number) != ROUTE_REMOTE)
        return false;
    *place = (struct place){.directory = opened[number].remote, .path = ""};
    return true;
}

/* Finds both places. A name inside and one outside are on different file systems. */
static enum route two_places(int old_dirfd, const char *old_path, struct place *old_place, int new_dirfd,
                             const char *new_path, struct place *new_place)
{
    enum route old_route = place_of(old_dirfd, old_path, old_place);
    if (old_route == ROUTE_FAILED)
        return ROUTE_FAILED;
    enum route new_route = place_of(new_dirfd, new_path, new_place);
    if (new_route == ROUTE_FAILED || old_route == new_route)
        return new_route;
    int wrong =
        old_route == ROUTE_REAL ? wrong_outside(old_dirfd, old_path) : wrong_outside(new_dirfd, new_path);
    errno = wrong != 0 ? wrong : EXDEV;
    return ROUTE_FAILED;
}

static int rename_any(int old_dirfd, const char *old_path, int new_dirfd, const char *new_path,
                      unsigned flags)
{
    struct place old_place, new_place;
    switch (two_places(old_dirfd, old_path, &old_place, new_dirfd, new_path, &new_place)) {
    case ROUTE_REAL:
        return flags == 0 ? real(renameat)(old_dirfd, old_path, new_dirfd, new_path)
                          : real(renameat2)(old_dirfd, old_path, new_dirfd, new_path, flags);
    case ROUTE_FAILED:
        return -1;
    case ROUTE_REMOTE:
        break;
    }
    return REMOTE(int,
                  renameat(old_place.directory, old_place.path, new_place.directory, new_place.path, flags));
}

EXPORT int rename(const char *old_path, const char *new_path)
{
    return rename_any(AT_FDCWD, old_path, AT_FDCWD, new_path, 0);
}

EXPORT int renameat(int old_dirfd, const char *old_path, int new_dirfd, const char *new_path)
{
    return rename_any(old_dirfd, old_path, new_dirfd, new_path, 0);
}

EXPORT int renameat2(int old_dirfd, const char *old_path, int new_dirfd, const char *new_path, unsigned flags)
{
    return rename_any(old_dirfd, old_path, new_dirfd, new_path, flags);
}

EXPORT int linkat(int old_dirfd, const char *old_path, int new_dirfd, const char *new_path, int flags)
{
    struct place old_place, new_place;
    if (unlikely(open_file_named(old_path, flags, &old_place))) {
        ROUTE(place, new_dirfd, new_path, -1, (errno = EXDEV, -1));
        return REMOTE(int, linkat(old_place.directory, "", place.directory, place.path, AT_EMPTY_PATH));
    }
    switch (two_places(old_dirfd, old_path, &old_place, new_dirfd, new_path, &new_place)) {
    case ROUTE_REAL:
        return real(linkat)(old_dirfd, old_path, new_dirfd, new_path, flags);
    case ROUTE_FAILED:
        return -1;
    case ROUTE_REMOTE:
        break;
    }
    return REMOTE(int,
                  linkat(old_place.directory, old_place.path, new_place.directory, new_place.path, flags));
}

EXPORT int link(const char *old_path, const char *new_path)
{
    return linkat(AT_FDCWD, old_path, AT_FDCWD, new_path, 0);
}

/* ---- symbolic links ---- */

EXPORT int symlinkat(const char *target, int dirfd, const char *path)
{
    ROUTE(place, dirfd, path, -1, real(symlinkat)(target, dirfd, path));
    return REMOTE_PATH(int, symlinkat(target, place.directory, place.path), real(symlink)(target, left));
}

EXPORT int symlink(const char *target, const char *path)
{
    return symlinkat(target, AT_FDCWD, path);
}

EXPORT ssize_t readlinkat(int dirfd, const char *path, char *buffer, size_t size)
{
    ROUTE(place, dirfd, path, -1, real(readlinkat)(dirfd, path, buffer, size));
    return REMOTE_PATH(ssize_t, readlinkat(place.directory, place.path, buffer, size),
                       real(readlink)(left, buffer, size));
}

EXPORT ssize_t readlink(const char *path, char *buffer, size_t size)
{
    ROUTE(place, AT_FDCWD, path, -1, real(readlink)(path, buffer, size));
    return readlinkat(AT_FDCWD, path, buffer, size);
}

EXPORT ssize_t __readlink_chk(const char *path, char *buffer, size_t size, size_t room);
EXPORT ssize_t __readlink_chk(const char *path, char *buffer, size_t size, size_t room)
{
    return readlink(path, buffer, size < room ? size : room);
}

EXPORT ssize_t __readlinkat_chk(int dirfd, const char *path, char *buffer, size_t size, size_t room);
EXPORT ssize_t __readlinkat_chk(int dirfd, const char *path, char *buffer, size_t size, size_t room)
{
    return readlinkat(dirfd, path, buffer, size < room ? size : room);
}

/* ---- special files ---- */

EXPORT int mknodat(int dirfd, const char *path, mode_t mode, dev_t device)
{
    ROUTE(place, dirfd, path, -1, real(mknodat)(dirfd, path, mode, device));
    return REMOTE_PATH(int, mknodat(place.directory, place.path, mode, device),
                       real(mknod)(left, mode, device));
}

EXPORT int mknod(const char *path, mode_t mode, dev_t device)
{
    return mknodat(AT_FDCWD, path, mode, device);
}

EXPORT int mkfifoat(int dirfd, const char *path, mode_t mode)
{
    ROUTE(place, dirfd, path, -1, real(mkfifoat)(dirfd, path, mode));
    mode_t fifo = S_IFIFO | (mode & 07777);
    return REMOTE_PATH(int, mknodat(place.directory, place.path, fifo, 0), real(mkfifo)(left, fifo));
}

EXPORT int mkfifo(const char *path, mode_t mode)
{
    return mkfifoat(AT_FDCWD, path, mode);
}

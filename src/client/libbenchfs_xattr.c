/* Extended attributes in libbenchfs: by path, by path without following a link at its end, and by
 * descriptor. */
#include <sys/xattr.h>

#include "client/application.h"
#include "client/library.h"

/* Where a call by path goes; false with errno set. */
static bool by_path(benchfs *fs, const char *path, bool follow, struct client **client,
                    struct client_place *place)
{
    *client = client_get(fs);
    *place = (struct client_place){.path = path, .follow = follow};
    return *client != NULL && start_directory(fs, AT_FDCWD, path, &place->inode) == 0;
}

static bool by_descriptor(benchfs *fs, int fd, struct client **client, struct client_place *place,
                          struct open_file **slot)
{
    *client = client_get(fs);
    *slot = *client == NULL ? NULL : open_file_acquire(fs, fd);
    if (*slot == NULL)
        return false;
    *place = (struct client_place){.inode = (*slot)->file.inode};
    if (((*slot)->file.flags & O_PATH) == 0)
        return true;
    open_file_release(fs, *slot);
    errno = EBADF;
    return false;
}

static int set(struct client *client, const struct client_place *place, const char *name, const void *value,
               size_t size, int flags)
{
    if ((flags & ~(XATTR_CREATE | XATTR_REPLACE)) != 0)
        return -EINVAL;
    return client_setxattr(client, place, name, value, size,
                           (uint8_t)((flags & XATTR_CREATE ? XATTR_SET_CREATE : 0) |
                                     (flags & XATTR_REPLACE ? XATTR_SET_REPLACE : 0)));
}

ssize_t benchfs_getxattr(benchfs *fs, const char *path, const char *name, void *value, size_t size)
{
    APPLICATION_CALL(GETXATTR, fs, -1, path);
    struct client *client;
    struct client_place place;
    if (!by_path(fs, path, true, &client, &place))
        return -1;
    return finish_size(client_getxattr(client, &place, name, value, size));
}

ssize_t benchfs_lgetxattr(benchfs *fs, const char *path, const char *name, void *value, size_t size)
{
    APPLICATION_CALL(LGETXATTR, fs, -1, path);
    struct client *client;
    struct client_place place;
    if (!by_path(fs, path, false, &client, &place))
        return -1;
    return finish_size(client_getxattr(client, &place, name, value, size));
}

ssize_t benchfs_fgetxattr(benchfs *fs, int fd, const char *name, void *value, size_t size)
{
    APPLICATION_CALL(FGETXATTR, fs, fd, NULL);
    struct client *client;
    struct client_place place;
    struct open_file *slot;
    if (!by_descriptor(fs, fd, &client, &place, &slot))
        return -1;
    ssize_t result = client_getxattr(client, &place, name, value, size);
    open_file_release(fs, slot);
    return finish_size(result);
}

int benchfs_setxattr(benchfs *fs, const char *path, const char *name, const void *value, size_t size,
                     int flags)
{
    APPLICATION_CALL(SETXATTR, fs, -1, path);
    struct client *client;
    struct client_place place;
    if (!by_path(fs, path, true, &client, &place))
        return -1;
    return finish(set(client, &place, name, value, size, flags));
}

int benchfs_lsetxattr(benchfs *fs, const char *path, const char *name, const void *value, size_t size,
                      int flags)
{
    APPLICATION_CALL(LSETXATTR, fs, -1, path);
    struct client *client;
    struct client_place place;
    if (!by_path(fs, path, false, &client, &place))
        return -1;
    return finish(set(client, &place, name, value, size, flags));
}

int benchfs_fsetxattr(benchfs *fs, int fd, const char *name, const void *value, size_t size, int flags)
{
    APPLICATION_CALL(FSETXATTR, fs, fd, NULL);
    struct client *client;
    struct client_place place;
    struct open_file *slot;
    if (!by_descriptor(fs, fd, &client, &place, &slot))
        return -1;
    int status = set(client, &place, name, value, size, flags);
    open_file_release(fs, slot);
    return finish(status);
}

ssize_t benchfs_listxattr(benchfs *fs, const char *path, char *names, size_t size)
{
    APPLICATION_CALL(LISTXATTR, fs, -1, path);
    struct client *client;
    struct client_place place;
    if (!by_path(fs, path, true, &client, &place))
        return -1;
    return finish_size(client_listxattr(client, &place, names, size));
}

ssize_t benchfs_llistxattr(benchfs *fs, const char *path, char *names, size_t size)
{
    APPLICATION_CALL(LLISTXATTR, fs, -1, path);
    struct client *client;
    struct client_place place;
    if (!by_path(fs, path, false, &client, &place))
        return -1;
    return finish_size(client_listxattr(client, &place, names, size));
}

ssize_t benchfs_flistxattr(benchfs *fs, int fd, char *names, size_t size)
{
    APPLICATION_CALL(FLISTXATTR, fs, fd, NULL);
    struct client *client;
    struct client_place place;
    struct open_file *slot;
    if (!by_descriptor(fs, fd, &client, &place, &slot))
        return -1;
    ssize_t result = client_listxattr(client, &place, names, size);
    open_file_release(fs, slot);
    return finish_size(result);
}

int benchfs_removexattr(benchfs *fs, const char *path, const char *name)
{
    APPLICATION_CALL(REMOVEXATTR, fs, -1, path);
    struct client *client;
    struct client_place place;
    if (!by_path(fs, path, true, &client, &place))
        return -1;
    return finish(client_removexattr(client, &place, name));
}

int benchfs_lremovexattr(benchfs *fs, const char *path, const char *name)
{
    APPLICATION_CALL(LREMOVEXATTR, fs, -1, path);
    struct client *client;
    struct client_place place;
    if (!by_path(fs, path, false, &client, &place))
        return -1;
    return finish(client_removexattr(client, &place, name));
}

int benchfs_fremovexattr(benchfs *fs, int fd, const char *name)
{
    APPLICATION_CALL(FREMOVEXATTR, fs, fd, NULL);
    struct client *client;
    struct client_place place;
    struct open_file *slot;
    if (!by_descriptor(fs, fd, &client, &place, &slot))
        return -1;
    int status = client_removexattr(client, &place, name);
    open_file_release(fs, slot);
    return finish(status);
}

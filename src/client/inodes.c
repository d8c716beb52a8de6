/* Operations for callers that walk paths themselves, component by component, and then name what they found by
 * its inode: the kernel, through FUSE.
 *
 * Every answer comes from a server, even where a path walk would take it from the directory cache: the caller
 * may keep what it is told, and may go on from it much later, so it has to be true when it is told. What the
 * cache is good for here is the directory that a name is looked up in: its permissions. */
#include "client/core.h"

int client_lookup(struct client *client, uint64_t directory, const char *name, struct attributes *attributes)
{
    struct operation operation;
    int status;
    operation_begin(client, &operation);
    do {
        struct walk walk;
        status = walk_path(&walk, client, &operation, directory, name);
        if (status == 0)
            status = walk.last == WALK_NAME ? walk_lookup(&walk, attributes) : -EINVAL;
        walk_end(&walk);
    } while (operation_again(client, &operation, &status));
    return status;
}

int client_open_inode(struct client *client, uint64_t inode, int flags, struct client_file *file,
                      struct attributes *attributes)
{
    if ((flags & O_ACCMODE) == O_ACCMODE)
        return -EINVAL;
    int status = client_hold(client, inode, 0, attributes);
    if (status < 0)
        return status;
    uint32_t access = flags & CLIENT_OPEN_EXECUTE ? MAY_SEARCH : open_access(flags);
    if (is_directory(attributes->mode) && access != MAY_READ)
        status = -EISDIR;
    if (status == 0)
        status = client_permits(client, attributes->mode, attributes->uid, attributes->gid, access);
    if (status == 0 && (flags & O_TRUNC) && S_ISREG(attributes->mode))
        status = client_truncate_checked(client, inode, 0, true, UINT64_MAX, attributes);
    if (status == 0)
        status = client_file_set(file, attributes, flags);
    if (status < 0)
        client_release(client, inode, &(struct client_hold){0});
    return status;
}

int client_access_inode(struct client *client, uint64_t inode, uint32_t access)
{
    struct attributes attributes;
    int status = client_attributes(client, inode, &attributes);
    return status < 0 ? status
                      : client_permits(client, attributes.mode, attributes.uid, attributes.gid, access);
}

ssize_t client_readlink_inode(struct client *client, uint64_t inode, char *target, size_t size)
{
    struct operation operation;
    ssize_t length;
    int status;
    operation_begin(client, &operation);
    do {
        length = client_read_link(client, &operation, inode, target, size);
        status = length < 0 ? (int)length : 0;
    } while (operation_again(client, &operation, &status));
    return status < 0 ? status : length;
}

int client_resize_inode(struct client *client, uint64_t inode, uint64_t size, struct attributes *attributes)
{
    return client_truncate_checked(client, inode, size, false, UINT64_MAX, attributes);
}

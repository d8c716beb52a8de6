/* The BenchFS side of cp, over the client core. Directories on the way are in the client's cache, so a path
 * costs no round trip beyond its own operation. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "cli/tree.h"

static struct tree_status status_of(const struct attributes *attributes)
{
    return (struct tree_status){
        .mode = attributes->mode,
        .size = attributes->size,
        .access_time = attributes->access_time,
        .modify_time = attributes->modify_time,
        .identity = {attributes->inode, 0},
    };
}

static int remote_status(struct tree *tree, const char *path, bool follow, struct tree_status *status)
{
    struct attributes attributes;
    int result = client_stat(tree->client, INODE_ROOT, path, follow, &attributes);
    if (result == 0)
        *status = status_of(&attributes);
    return result;
}

static int remote_list(struct tree *tree, const char *path, struct tree_listing *listing)
{
    struct client_file directory;
    int result = client_open(tree->client, INODE_ROOT, path, O_RDONLY | O_DIRECTORY, 0, &directory);
    if (result != 0)
        return result;
    client_close(tree->client, &directory);
    struct client_listing *entries;
    result = client_list_open(tree->client, directory.inode, 0, true, NULL, NULL, &entries);
    if (result != 0)
        return result;
    struct client_entry *entry = malloc(sizeof(*entry));
    result = entry == NULL ? -ENOMEM : 1;
    while (result > 0 && (result = client_list_next(entries, entry)) > 0) {
        struct tree_status status = status_of(&entry->attributes);
        int added = tree_listing_add(listing, entry->name, &status);
        if (added != 0)
            result = added;
    }
    free(entry);
    client_list_close(entries);
    return result;
}

static int remote_make_directory(struct tree *tree, const char *path)
{
    return client_mkdir(tree->client, INODE_ROOT, path, 0700);
}

static int remote_read_link(struct tree *tree, const char *path, char *target, size_t size)
{
    ssize_t length = client_readlink(tree->client, INODE_ROOT, path, target, size - 1);
    if (length < 0)
        return (int)length;
    target[length] = '\0';
    return 0;
}

static int remote_make_link(struct tree *tree, const char *target, const char *path)
{
    return client_symlink(tree->client, target, INODE_ROOT, path);
}

static int remote_open(struct tree *tree, const char *path, struct tree_file *file)
{
    int status = client_open(tree->client, INODE_ROOT, path, O_RDONLY, 0, &file->remote);
    file->size = file->remote.size;
    return status;
}

static int remote_create(struct tree *tree, const char *path, struct tree_file *file)
{
    return client_open(tree->client, INODE_ROOT, path, O_WRONLY | O_CREAT | O_TRUNC, 0600, &file->remote);
}

static ssize_t remote_read(struct tree *tree, struct tree_file *file, void *bytes, size_t length,
                           uint64_t offset)
{
    return client_read(tree->client, &file->remote, bytes, length, offset);
}

static int remote_write(struct tree *tree, struct tree_file *file, const void *bytes, size_t length,
                        uint64_t offset)
{
    while (length > 0) {
        ssize_t count = client_write(tree->client, &file->remote, bytes, length, offset);
        if (count < 0)
            return (int)count;
        bytes = (const char *)bytes + count;
        length -= (size_t)count;
        offset += (uint64_t)count;
    }
    return 0;
}

static int remote_close(struct tree *tree, struct tree_file *file)
{
    bool lasts = client_map(tree->client)->durability == DURABILITY_CLOSE &&
                 (file->remote.flags & O_ACCMODE) != O_RDONLY;
    int status = lasts ? client_sync(tree->client, &file->remote) : 0;
    client_close(tree->client, &file->remote);
    return status;
}

static int remote_remove(struct tree *tree, const char *path)
{
    return client_unlink(tree->client, INODE_ROOT, path);
}

static int remote_finish(struct tree *tree, const char *path, const struct tree_status *status)
{
    struct set_attributes_request set = {
        .fields = SET_ACCESS_TIME | SET_MODIFY_TIME | (S_ISLNK(status->mode) ? 0 : SET_MODE),
        .mode = status->mode & 07777u,
        .access_time = status->access_time,
        .modify_time = status->modify_time,
    };
    return client_set_attributes(tree->client, INODE_ROOT, path, false, &set);
}

const struct tree_operations tree_remote_operations = {
    .prefix = CLI_PREFIX,
    .status = remote_status,
    .list = remote_list,
    .make_directory = remote_make_directory,
    .read_link = remote_read_link,
    .make_link = remote_make_link,
    .open = remote_open,
    .create = remote_create,
    .read = remote_read,
    .write = remote_write,
    .close = remote_close,
    .remove = remote_remove,
    .finish = remote_finish,
};

/* Operations on names: looking them up, making, removing and renaming them.
 *
 * The kernel walks paths itself and asks for one name in one directory at a time. In strict, and in close, it
 * keeps none of the answers, so every component of every path is looked up anew: one request to the server
 * that has the name. */
#include <linux/fs.h>

#include "fuse/filesystem.h"
#include "rpc/operations.h"

static void lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    const struct filesystem *filesystem = request_filesystem(request);
    struct attributes attributes;
    struct client *client = request_client(request);
    if (client == NULL)
        return;
    int status = retries_noted(request) ? retries_lookup(request, client, inode_of(parent), name, &attributes)
                                        : client_lookup(client, inode_of(parent), name, &attributes);
    /* A directory's times and link count are spread over the servers. They matter only if they are kept: a
     * stat whose answer is not asks for the attributes itself. */
    if (status == 0 && filesystem->lifetime > 0 && S_ISDIR(attributes.mode))
        status = client_attributes(client, attributes.inode, &attributes);
    if (status == 0) {
        reply_entry(request, &attributes);
    } else if (status == -ENOENT && filesystem->lifetime > 0) {
        struct fuse_entry_param nothing = {.entry_timeout = filesystem->lifetime};
        fuse_reply_entry(request, &nothing);
    } else {
        reply_status(request, status);
    }
}

static void forget(fuse_req_t request, fuse_ino_t node, uint64_t count)
{
    (void)node;
    (void)count;
    fuse_reply_none(request);
}

static void forget_multi(fuse_req_t request, size_t count, struct fuse_forget_data *forgets)
{
    (void)count;
    (void)forgets;
    fuse_reply_none(request);
}

static void make_directory(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct attributes attributes;
    struct client *client = request_client(request);
    if (client == NULL)
        return;
    int status = client_create_directory(client, inode_of(parent), name, mode, &attributes);
    if (status == 0)
        reply_entry(request, &attributes);
    else
        reply_status(request, status);
}

static void make_symlink(fuse_req_t request, const char *target, fuse_ino_t parent, const char *name)
{
    struct attributes attributes;
    struct client *client = request_client(request);
    if (client == NULL)
        return;
    int status = client_create_symlink(client, target, inode_of(parent), name, &attributes);
    if (status == 0)
        reply_entry(request, &attributes);
    else
        reply_status(request, status);
}

static void make_node(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode, dev_t device)
{
    struct attributes attributes;
    struct client *client = request_client(request);
    if (client == NULL)
        return;
    int status = client_make_node(client, inode_of(parent), name, mode, device, &attributes);
    if (status == 0)
        reply_entry(request, &attributes);
    else
        reply_status(request, status);
}

static void remove_file(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    struct client *client = request_client(request);
    if (client != NULL)
        reply_status(request, client_unlink(client, inode_of(parent), name));
}

static void remove_directory(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    struct client *client = request_client(request);
    if (client != NULL)
        reply_status(request, client_rmdir(client, inode_of(parent), name));
}

static void rename_entry(fuse_req_t request, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                         const char *new_name, unsigned flags)
{
    static const struct {
        unsigned kernel;
        unsigned ours;
    } known[] = {{RENAME_NOREPLACE, RENAME_FLAG_NOREPLACE}, {RENAME_EXCHANGE, RENAME_FLAG_EXCHANGE}};
    unsigned wanted = 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (flags & known[i].kernel) {
            wanted |= known[i].ours;
            flags &= ~known[i].kernel;
        }
    if (flags != 0) {
        reply_status(request, -EINVAL);
        return;
    }
    struct client *client = request_client(request);
    if (client != NULL)
        reply_status(request,
                     client_rename(client, inode_of(parent), name, inode_of(new_parent), new_name, wanted));
}

static void make_link(fuse_req_t request, fuse_ino_t node, fuse_ino_t parent, const char *name)
{
    struct attributes attributes;
    struct client *client = request_client(request);
    if (client == NULL)
        return;
    int status = client_link_inode(client, inode_of(node), inode_of(parent), name, &attributes);
    if (status == 0)
        reply_entry(request, &attributes);
    else
        reply_status(request, status);
}

static void read_link(fuse_req_t request, fuse_ino_t node)
{
    char target[SYMLINK_LENGTH_MAX + 1];
    struct client *client = request_client(request);
    if (client == NULL)
        return;
    ssize_t length = client_readlink_inode(client, inode_of(node), target, SYMLINK_LENGTH_MAX);
    if (length < 0) {
        reply_status(request, (int)length);
        return;
    }
    target[length] = '\0';
    fuse_reply_readlink(request, target);
}

void names_operations(struct fuse_lowlevel_ops *operations)
{
    operations->lookup = lookup;
    operations->forget = forget;
    operations->forget_multi = forget_multi;
    operations->mkdir = make_directory;
    operations->symlink = make_symlink;
    operations->mknod = make_node;
    operations->unlink = remove_file;
    operations->rmdir = remove_directory;
    operations->rename = rename_entry;
    operations->link = make_link;
    operations->readlink = read_link;
}

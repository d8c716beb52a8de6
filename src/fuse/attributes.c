/* Attributes of inodes, permissions, and those of the file system as a whole. */
#include <linux/fs.h>

#include "fuse/filesystem.h"
#include "rpc/operations.h"

#define NSEC INT64_C(1000000000)

static void get_attributes(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *info)
{
    (void)info;
    struct attributes attributes;
    struct client *client = request_client(request);
    if (client == NULL)
        return;
    int status = client_attributes(client, inode_of(node), &attributes);
    if (status == 0)
        reply_attributes(request, &attributes);
    else
        reply_status(request, status);
}

static int64_t nanoseconds(struct timespec time)
{
    return time.tv_sec * NSEC + time.tv_nsec;
}

/* All but the size. */
static void change_prepare(const struct stat *wanted, int to_set, struct set_attributes_request *change)
{
    static const struct {
        int kernel;
        uint32_t ours;
    } fields[] = {
        {FUSE_SET_ATTR_MODE, SET_MODE},
        {FUSE_SET_ATTR_UID, SET_UID},
        {FUSE_SET_ATTR_GID, SET_GID},
    };
    *change = (struct set_attributes_request){
        .mode = wanted->st_mode & 07777,
        .uid = wanted->st_uid,
        .gid = wanted->st_gid,
        .access_time = nanoseconds(wanted->st_atim),
        .modify_time = nanoseconds(wanted->st_mtim),
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (to_set & fields[i].kernel)
            change->fields |= fields[i].ours;
    /* chown takes set-user-id and set-group-id from a file; one that changes neither owner comes with nothing
     * set. */
    if (to_set == 0 || (to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)))
        change->fields |= SET_CLEAR_IDS;
    if (to_set & FUSE_SET_ATTR_ATIME)
        change->fields |= to_set & FUSE_SET_ATTR_ATIME_NOW ? SET_ACCESS_TIME_NOW : SET_ACCESS_TIME;
    if (to_set & FUSE_SET_ATTR_MTIME)
        change->fields |= to_set & FUSE_SET_ATTR_MTIME_NOW ? SET_MODIFY_TIME_NOW : SET_MODIFY_TIME;
}

static int set_size(struct client *client, uint64_t inode, struct client_file *file, off_t size,
                    struct attributes *attributes)
{
    if (size < 0)
        return -EINVAL;
    if (file == NULL)
        return client_resize_inode(client, inode, (uint64_t)size, attributes);
    int status = client_truncate_file(client, file, (uint64_t)size);
    return status < 0 ? status : client_attributes(client, inode, attributes);
}

static void set_attributes(fuse_req_t request, fuse_ino_t node, struct stat *wanted, int to_set,
                           struct fuse_file_info *info)
{
    struct attributes attributes;
    struct set_attributes_request change;
    struct client *client = request_client(request);
    if (client == NULL)
        return;
    uint64_t inode = inode_of(node);
    int status = 0;
    bool size = to_set & FUSE_SET_ATTR_SIZE;
    if (size)
        status = set_size(client, inode, info != NULL ? &handle_of(info)->file : NULL, wanted->st_size,
                          &attributes);
    if (size) /* which set the times as well */
        to_set &= ~(FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW);
    if (status == 0 && !(size && to_set == 0)) {
        change_prepare(wanted, to_set, &change);
        change.inode = inode;
        status = client_change_inode(client, &change, &attributes);
        /* Nothing set comes before a write through the page cache, too, from whoever writes: to take the
         * set-user-id bits, which the write will do. */
        if (status == -EPERM && to_set == 0 && request_filesystem(request)->consistency != CONSISTENCY_STRICT)
            status = client_attributes(client, inode, &attributes);
    }
    if (status == 0 && S_ISDIR(attributes.mode) && request_filesystem(request)->lifetime > 0)
        status = client_attributes(client, inode, &attributes);
    if (status == 0)
        reply_attributes(request, &attributes);
    else
        reply_status(request, status);
}

static void check_access(fuse_req_t request, fuse_ino_t node, int mask)
{
    struct client *client = request_client(request);
    if (client != NULL)
        reply_status(request, client_access_inode(client, inode_of(node), (uint32_t)mask & 7));
}

static void get_file_system(fuse_req_t request, fuse_ino_t node)
{
    (void)node;
    struct statvfs status;
    if (benchfs_statvfs(request_filesystem(request)->fs, &status) < 0)
        fuse_reply_err(request, errno);
    else
        fuse_reply_statfs(request, &status);
}

void attributes_operations(struct fuse_lowlevel_ops *operations)
{
    operations->getattr = get_attributes;
    operations->setattr = set_attributes;
    operations->access = check_access;
    operations->statfs = get_file_system;
}

/* Extended attributes. The servers decide what names there may be and who may use them. */
#include <stdlib.h>
#include <sys/xattr.h>

#include "fuse/filesystem.h"
#include "rpc/operations.h"

static struct client_place place_of(fuse_ino_t node)
{
    return (struct client_place){.inode = inode_of(node)};
}

/* Ends a request for `size` bytes of a value or of names; size 0: only how many there are. */
static void reply_bytes(fuse_req_t request, ssize_t length, size_t size, const uint8_t *bytes)
{
    if (length < 0)
        reply_status(request, (int)length);
    else if (size == 0)
        fuse_reply_xattr(request, (size_t)length);
    else
        fuse_reply_buf(request, (const char *)bytes, (size_t)length);
}

static void set_xattr(fuse_req_t request, fuse_ino_t node, const char *name, const char *value, size_t size,
                      int flags)
{
    struct client *client = request_client(request);
    if (client == NULL)
        return;
    struct client_place place = place_of(node);
    uint8_t how = (uint8_t)((flags & XATTR_CREATE ? XATTR_SET_CREATE : 0) |
                            (flags & XATTR_REPLACE ? XATTR_SET_REPLACE : 0));
    reply_status(request, client_setxattr(client, &place, name, value, size, how));
}

static void get_xattr(fuse_req_t request, fuse_ino_t node, const char *name, size_t size)
{
    struct client *client = request_client(request);
    if (client == NULL)
        return;
    struct client_place place = place_of(node);
    uint8_t *bytes = request_buffer();
    if (bytes == NULL) {
        reply_status(request, -ENOMEM);
        return;
    }
    size_t room = size < TRANSFER_MAX ? size : TRANSFER_MAX;
    reply_bytes(request, client_getxattr(client, &place, name, bytes, room), size, bytes);
}

static void list_xattrs(fuse_req_t request, fuse_ino_t node, size_t size)
{
    struct client *client = request_client(request);
    if (client == NULL)
        return;
    struct client_place place = place_of(node);
    uint8_t *bytes = request_buffer();
    if (bytes == NULL) {
        reply_status(request, -ENOMEM);
        return;
    }
    size_t room = size < TRANSFER_MAX ? size : TRANSFER_MAX;
    reply_bytes(request, client_listxattr(client, &place, (char *)bytes, room), size, bytes);
}

static void remove_xattr(fuse_req_t request, fuse_ino_t node, const char *name)
{
    struct client *client = request_client(request);
    if (client == NULL)
        return;
    struct client_place place = place_of(node);
    reply_status(request, client_removexattr(client, &place, name));
}

void xattrs_operations(struct fuse_lowlevel_ops *operations)
{
    operations->setxattr = set_xattr;
    operations->getxattr = get_xattr;
    operations->listxattr = list_xattrs;
    operations->removexattr = remove_xattr;
}

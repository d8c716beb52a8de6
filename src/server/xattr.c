/* Extended attributes: what names mean, who may see and change them, as Linux has it.
 *
 *   user.*      files and directories, by the permissions of the file; in a sticky directory only its owner
 *   trusted.*   root alone; for others they do not exist
 *   security.*  everybody reads, root writes; the file system gives them no meaning
 *   others      -EOPNOTSUPP, access control lists (system.posix_acl_*) among them
 *
 * One name has a meaning, with the engine tiered: user.benchfs.tier (pin.c).
 *
 * A value of 32 KiB and more comes and goes by rendezvous, which suspends: a value to be set is fetched
 * before anything is looked at, one to be sent is copied first. */
#include <errno.h>
#include <stdlib.h>

#include "server/state.h"

#define SMALL_VALUE 4096u

enum name_class { CLASS_USER, CLASS_TRUSTED, CLASS_SECURITY, CLASS_NONE };

/* *bare: nothing follows the prefix. */
static enum name_class class_of(const char *name, uint32_t length, bool *bare)
{
    static const struct {
        const char *prefix;
        uint32_t length;
    } classes[] = {{"user.", 5}, {"trusted.", 8}, {"security.", 9}};
    for (uint32_t i = 0; i < CLASS_NONE; i++) {
        if (length >= classes[i].length && memcmp(name, classes[i].prefix, classes[i].length) == 0) {
            *bare = length == classes[i].length;
            return (enum name_class)i;
        }
    }
    return CLASS_NONE;
}

static int check_access(const struct rpc_request *request, const struct inode *inode,
                        const struct xattr_request *body, bool change)
{
    bool bare = false;
    int status = 0;
    switch (class_of(body->name, body->name_length, &bare)) {
    case CLASS_USER:
        if (!S_ISREG(inode->mode) && !S_ISDIR(inode->mode))
            return change ? -EPERM : -ENODATA;
        if (change && S_ISDIR(inode->mode) && (inode->mode & S_ISVTX) != 0 && body->uid != 0 &&
            body->uid != inode->uid)
            return -EPERM;
        status = permission(request, body, inode, change ? 2 : 4);
        break;
    case CLASS_TRUSTED:
        if (body->uid != 0)
            return change ? -EPERM : -ENODATA;
        break;
    case CLASS_SECURITY:
        if (change && body->uid != 0)
            return -EPERM;
        break;
    default:
        return -EOPNOTSUPP;
    }
    return status == 0 && bare ? -EINVAL : status;
}

static int find(struct server *server, const struct rpc_request *request, bool change, struct inode **inode)
{
    const struct xattr_request *body = request->body;
    int status = body->name_length == 0 ? -EINVAL : gate_inode(server, body->inode, inode);
    return status == 0 ? check_access(request, *inode, body, change) : status;
}

/* Sends `length` bytes from memory that may change while it waits. */
static void answer_bytes(struct rpc_request *request, const void *bytes, uint32_t length)
{
    struct xattr_reply reply = {.size = length};
    char small[SMALL_VALUE];
    void *copy = length <= sizeof(small) ? small : malloc(length);
    if (copy == NULL) {
        answer(request, -ENOMEM, NULL, 0);
        return;
    }
    if (length > 0)
        memcpy(copy, bytes, length);
    struct iovec bulk = {copy, length};
    rpc_reply(request, 0, &reply, sizeof(reply), &bulk, length > 0 ? 1 : 0);
    if (copy != small)
        free(copy);
}

void serve_GET_XATTR(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct xattr_request *body = request->body;
    struct inode *inode;
    const void *value = NULL;
    uint32_t length = 0;
    int status = find(server, request, false, &inode);
    if (status == 0)
        status =
            xattr_get(meta_xattrs(server->meta), body->inode, body->name, body->name_length, &value, &length);
    if (status == 0 && body->size != 0 && body->size < length)
        status = -ERANGE;
    struct xattr_reply reply = {.size = length};
    if (status != 0 || body->size == 0)
        answer(request, status, &reply, sizeof(reply));
    else
        answer_bytes(request, value, length);
}

static int set_value(struct server *server, const struct rpc_request *request, const void *value,
                     uint32_t length)
{
    const struct xattr_request *body = request->body;
    struct inode *inode;
    int status = find(server, request, true, &inode);
    bool pins = pin_is_name(body->name, body->name_length);
    if (status == 0 && pins)
        status = pin_check(server, inode, value, length);
    if (status == 0)
        status = server_metadata_room(server, body->name_length + length);
    if (status == 0)
        status =
            xattr_set(meta_xattrs(server->meta), body->inode, body->name, body->name_length, value, length,
                      (body->flags & XATTR_SET_REPLACE) != 0, (body->flags & XATTR_SET_CREATE) != 0);
    if (status == 0) {
        inode->change_time = loop_realtime(server->loop);
        inode_changed(server, inode);
        meta_xattrs_changed(server->meta, inode);
    }
    return status == 0 && pins ? pin_changed(server, body->inode, request->deadline) : status;
}

void serve_SET_XATTR(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct xattr_request *body = request->body;
    uint32_t length = (uint32_t)request->bulk_length;
    char small[SMALL_VALUE];
    void *value = small;
    int status = 0;
    if (request->bulk_length > XATTR_VALUE_MAX || request->bulk_length != body->size ||
        (body->flags & ~(XATTR_SET_CREATE | XATTR_SET_REPLACE)) != 0)
        status = -EINVAL;
    else if (length > sizeof(small) && (value = malloc(length)) == NULL)
        status = -ENOMEM;
    if (status == 0 && length > 0)
        status = rpc_request_receive(request, &(struct iovec){value, length}, 1);
    if (status == 0)
        status = set_value(server, request, value, length);
    if (value != small)
        free(value);
    answer(request, status, NULL, 0);
}

void serve_REMOVE_XATTR(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct xattr_request *body = request->body;
    struct inode *inode;
    int status = find(server, request, true, &inode);
    if (status == 0)
        status = xattr_remove(meta_xattrs(server->meta), body->inode, body->name, body->name_length);
    if (status == 0) {
        inode->change_time = loop_realtime(server->loop);
        inode_changed(server, inode);
        meta_xattrs_changed(server->meta, inode);
    }
    if (status == 0 && pin_is_name(body->name, body->name_length))
        status = pin_changed(server, body->inode, request->deadline);
    answer(request, status, NULL, 0);
}

struct names {
    char *bytes; /* NULL: only count */
    uint32_t length;
    bool root;
};

static void add_name(void *owner, const char *name, uint32_t length)
{
    struct names *names = owner;
    bool bare;
    if (!names->root && class_of(name, length, &bare) == CLASS_TRUSTED)
        return;
    if (names->bytes != NULL) {
        memcpy(names->bytes + names->length, name, length);
        names->bytes[names->length + length] = '\0';
    }
    names->length += length + 1;
}

void serve_LIST_XATTRS(void *owner, struct rpc_request *request)
{
    struct server *server = owner;
    const struct xattr_request *body = request->body;
    struct inode *inode;
    struct names names = {.root = body->uid == 0};
    int status = gate_inode(server, body->inode, &inode);
    if (status == 0)
        xattr_list(meta_xattrs(server->meta), body->inode, add_name, &names);
    if (status == 0 && body->size != 0 && body->size < names.length)
        status = -ERANGE;
    struct xattr_reply reply = {.size = names.length};
    if (status != 0 || body->size == 0 || names.length == 0) {
        answer(request, status, &reply, sizeof(reply));
        return;
    }
    names.bytes = malloc(names.length);
    if (names.bytes == NULL) {
        answer(request, -ENOMEM, NULL, 0);
        return;
    }
    names.length = 0;
    xattr_list(meta_xattrs(server->meta), body->inode, add_name, &names);
    struct iovec bulk = {names.bytes, names.length};
    rpc_reply(request, 0, &reply, sizeof(reply), &bulk, 1);
    free(names.bytes);
}

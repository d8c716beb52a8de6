/* Extended attributes: each call finds the inode and makes one request to its server, which decides. */
#include "client/core.h"

#define VALUE_MAX 65536u

struct xattr_call {
    uint16_t operation;
    uint8_t flags;
    const char *name;
    uint32_t name_length;
    const void *value; /* to be set */
    void *into;        /* where what is got or listed goes */
    size_t size;
};

static ssize_t xattr_inode(struct client *client, uint64_t inode, const struct xattr_call *what)
{
    union {
        struct xattr_request request;
        uint8_t room[sizeof(struct xattr_request) + NAME_LENGTH_MAX];
    } body;
    body.request = (struct xattr_request){
        .inode = inode,
        .uid = client->caller.uid,
        .gid = client->caller.gid,
        .size = (uint32_t)(what->size < VALUE_MAX ? what->size : VALUE_MAX),
        .flags = what->flags,
        .name_length = (uint8_t)what->name_length,
    };
    if (what->name_length > 0)
        memcpy(body.request.name, what->name, what->name_length);
    struct xattr_reply reply = {0};
    struct iovec vector;
    struct operation operation;
    int status;
    uint64_t received;
    operation_begin(client, &operation);
    do {
        bool set = what->operation == RPC_SET_XATTR;
        bool told = set || what->operation == RPC_REMOVE_XATTR;
        struct rpc_call call = {
            .operation = what->operation,
            .body = &body,
            .body_length = (uint32_t)sizeof body.request + what->name_length,
            .reply = told ? NULL : &reply,
            .reply_size = told ? 0 : sizeof reply,
        };
        vector = (struct iovec){set ? (void *)(uintptr_t)what->value : what->into, body.request.size};
        if (set && what->size > 0) {
            call.send = &vector;
            call.send_count = 1;
        } else if (!told && what->size > 0) {
            call.receive = &vector;
            call.receive_count = 1;
        }
        status = client_call(client, &operation, client_inode_server(client, inode), &call);
        received = call.received;
    } while (operation_again(client, &operation, &status));
    if (status < 0)
        return status;
    if (what->into != NULL && what->size > 0 && received != reply.size)
        return -EPROTO;
    return (ssize_t)reply.size;
}

static ssize_t xattr_path(struct client *client, uint64_t directory, const char *path, bool follow,
                          const struct xattr_call *what)
{
    ssize_t result;
    unsigned attempts = 0;
    int status;
    do {
        struct attributes attributes;
        status = client_find(client, directory, path, follow, &attributes);
        if (status < 0)
            return status;
        result = xattr_inode(client, attributes.inode, what);
        status = result < 0 ? (int)result : 0;
    } while (operation_gone_again(&attempts, &status));
    return status < 0 ? status : result;
}

static ssize_t xattr_run(struct client *client, const struct client_place *place,
                         const struct xattr_call *what)
{
    return place->path == NULL ? xattr_inode(client, place->inode, what)
                               : xattr_path(client, place->inode, place->path, place->follow, what);
}

/* What Linux says to a name before anything else. */
static int name_of(struct xattr_call *what, const char *name)
{
    size_t length = strnlen(name, NAME_LENGTH_MAX + 1);
    what->name = name;
    what->name_length = (uint32_t)length;
    return length == 0 || length > NAME_LENGTH_MAX ? -ERANGE : 0;
}

ssize_t client_getxattr(struct client *client, const struct client_place *place, const char *name,
                        void *value, size_t size)
{
    struct xattr_call what = {.operation = RPC_GET_XATTR, .into = value, .size = size};
    int status = name_of(&what, name);
    return status < 0 ? status : xattr_run(client, place, &what);
}

int client_setxattr(struct client *client, const struct client_place *place, const char *name,
                    const void *value, size_t size, uint8_t flags)
{
    struct xattr_call what = {.operation = RPC_SET_XATTR, .flags = flags, .value = value, .size = size};
    int status = name_of(&what, name);
    if (status == 0 && size > VALUE_MAX)
        status = -E2BIG;
    return status < 0 ? status : (int)xattr_run(client, place, &what);
}

ssize_t client_listxattr(struct client *client, const struct client_place *place, char *names, size_t size)
{
    struct xattr_call what = {.operation = RPC_LIST_XATTRS, .into = names, .size = size};
    return xattr_run(client, place, &what);
}

int client_removexattr(struct client *client, const struct client_place *place, const char *name)
{
    struct xattr_call what = {.operation = RPC_REMOVE_XATTR};
    int status = name_of(&what, name);
    return status < 0 ? status : (int)xattr_run(client, place, &what);
}

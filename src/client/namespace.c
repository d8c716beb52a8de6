/* Operations on names and attributes: stat, access, mkdir, rmdir, unlink, rename, links, and setting
 * attributes.
 *
 * Each walks to the last component and does its work there with one request to the server that owns it; the
 * loop around an attempt is the same everywhere (see client.c). Errors for "." and ".." and "/" at the end
 * are decided here, as Linux decides them; what only the owner of the entry can know (exists, not empty,
 * wrong type) comes from it. */
#include "client/core.h"

/* ---- attributes ---- */

static int attributes_of(struct client *client, uint64_t inode, uint8_t flags, struct attributes *attributes)
{
    struct operation operation;
    int status;
    operation_begin(client, &operation);
    do {
        status = client_get_attributes(client, &operation, inode, flags, attributes);
    } while (operation_again(client, &operation, &status));
    if (status == 0 && attributes->links == 0)
        client_note_orphan(client, inode);
    return status;
}

int client_attributes(struct client *client, uint64_t inode, struct attributes *attributes)
{
    return attributes_of(client, inode, ATTRIBUTES_GATHER, attributes);
}

int client_file_attributes(struct client *client, uint64_t inode, struct attributes *attributes)
{
    return attributes_of(client, inode, 0, attributes);
}

/* A directory's times and link count, and what a large file takes, are gathered from all servers by
 * GET_ATTRIBUTES; LOOKUP does not know them, unless there is but one server. */
static int stat_once(struct walk *walk, bool follow, struct attributes *attributes)
{
    struct client *client = walk->client;
    int status = 0;
    if (walk->last == WALK_NAME) {
        const struct directory *known =
            cache_find(&client->cache, walk->here.inode, walk->hash, walk->name, walk->name_length);
        if (known != NULL) {
            walk->operation->used_cache = true;
            if (client_board_ask(client, walk->operation, client_hash_server(client, walk->hash), walk->hash,
                                 walk->here.inode, walk->name, walk->name_length,
                                 attributes) == BOARD_FOUND &&
                is_directory(attributes->mode))
                return 0;
            status =
                client_get_attributes(client, walk->operation, known->inode, ATTRIBUTES_GATHER, attributes);
            bool gone = status == -ENOENT || (status == 0 && attributes->links == 0);
            return gone ? -ESTALE : status;
        }
        status = follow || walk->slash ? walk_lookup_follow(walk, attributes) : walk_lookup(walk, attributes);
        if (status < 0 || (!is_directory(attributes->mode) && attributes->blocks != BLOCKS_UNKNOWN))
            return status;
        if (is_directory(attributes->mode) && walk->last == WALK_NAME &&
            walk->operation->epoch == client->namespace_epoch) {
            struct directory directory;
            directory_of(attributes, &directory);
            cache_insert(&client->cache, walk->here.inode, walk->hash, walk->name, walk->name_length,
                         &directory);
        }
        if (client->map->server_count == 1 && attributes->blocks != BLOCKS_UNKNOWN)
            return 0;
        return client_get_attributes(client, walk->operation, attributes->inode, ATTRIBUTES_GATHER,
                                     attributes);
    }
    status = client_get_attributes(client, walk->operation, walk->here.inode, ATTRIBUTES_GATHER, attributes);
    return status == 0 && walk_is_gone(walk, attributes) ? -ESTALE : status;
}

int client_stat(struct client *client, uint64_t directory, const char *path, bool follow,
                struct attributes *attributes)
{
    return WALK_TO(client, directory, path, walk, stat_once(&walk, follow, attributes));
}

int client_owns(struct client *client, uint64_t inode)
{
    struct attributes attributes;
    int status = client->caller.uid == 0 ? 0 : client_attributes(client, inode, &attributes);
    if (status < 0 || client->caller.uid == 0)
        return status;
    return attributes.uid == client->caller.uid ? 0 : -EPERM;
}

int client_access(struct client *client, uint64_t directory, const char *path, int mode, bool follow)
{
    if (mode & ~(R_OK | W_OK | X_OK))
        return -EINVAL;
    struct attributes attributes;
    int status =
        WALK_TO(client, directory, path, walk,
                follow || walk.last != WALK_NAME || walk.slash ? walk_lookup_follow(&walk, &attributes)
                                                               : walk_lookup(&walk, &attributes));
    return status < 0
               ? status
               : client_permits(client, attributes.mode, attributes.uid, attributes.gid, (uint32_t)mode);
}

int client_change_inode(struct client *client, struct set_attributes_request *set,
                        struct attributes *attributes)
{
    struct operation operation;
    struct attributes_reply reply;
    int status;
    set->caller_uid = client->caller.uid;
    set->caller_gid = client->caller.gid;
    operation_begin(client, &operation);
    do {
        status = client_request(client, &operation, client_inode_server(client, set->inode),
                                RPC_SET_ATTRIBUTES, set, sizeof *set, &reply, sizeof reply);
    } while (operation_again(client, &operation, &status));
    cache_forget_inode(&client->cache, set->inode);
    if (status == 0)
        *attributes = reply.attributes;
    return status;
}

int client_set_attributes_inode(struct client *client, struct set_attributes_request *set)
{
    struct attributes attributes;
    return client_change_inode(client, set, &attributes);
}

/* What the path leads to, for an operation on the inode. */
static int walk_lookup_last(struct walk *walk, bool follow, struct attributes *attributes)
{
    if (walk->last != WALK_NAME) {
        *attributes = (struct attributes){.inode = walk->here.inode, .mode = walk->here.mode};
        return 0;
    }
    return follow || walk->slash ? walk_lookup_follow(walk, attributes) : walk_lookup(walk, attributes);
}

int client_find(struct client *client, uint64_t directory, const char *path, bool follow,
                struct attributes *attributes)
{
    return WALK_TO(client, directory, path, walk, walk_lookup_last(&walk, follow, attributes));
}

int client_set_attributes(struct client *client, uint64_t directory, const char *path, bool follow,
                          struct set_attributes_request *set)
{
    int status;
    unsigned attempts = 0;
    do {
        struct attributes attributes;
        status = client_find(client, directory, path, follow, &attributes);
        if (status < 0)
            return status;
        if ((set->fields & SET_MODE) && is_link(attributes.mode))
            return -EOPNOTSUPP;
        set->inode = attributes.inode;
        status = client_set_attributes_inode(client, set);
    } while (operation_gone_again(&attempts, &status));
    return status;
}

int client_truncate(struct client *client, uint64_t directory, const char *path, uint64_t size)
{
    int status;
    unsigned attempts = 0;
    do {
        struct attributes attributes;
        status = client_find(client, directory, path, true, &attributes);
        if (status < 0)
            return status;
        if (is_directory(attributes.mode))
            return -EISDIR;
        status = client_truncate_checked(client, attributes.inode, size, false, UINT64_MAX, &attributes);
    } while (operation_gone_again(&attempts, &status));
    return status;
}

/* ---- making ---- */

static size_t create_request_fill(const struct walk *walk, mode_t mode, void *room)
{
    const struct client *client = walk->client;
    struct create_request *request = room;
    *request = (struct create_request){
        .parent = walk->here.inode,
        .uid = client->caller.uid,
        .gid = client->caller.gid,
        .group = walk_new_group(walk),
        .mode = mode,
        .flags = CREATE_EXCLUSIVE,
        .chunk_shift = client->chunk_shift,
        .placement = client->placement,
        .layout_base = client->layout_base,
        .name_length = (uint8_t)walk->name_length,
    };
    memcpy(request->name, walk->name, walk->name_length);
    return sizeof *request + walk->name_length;
}

/* mkdir and symlink report what is there before they report that the caller may not write. */
static int may_create(struct walk *walk)
{
    int status = walk_permits(walk, MAY_WRITE | MAY_SEARCH);
    if (status != -EACCES)
        return status;
    struct attributes attributes;
    return walk_lookup(walk, &attributes) == 0 ? -EEXIST : -EACCES;
}

/* The same for what is no directory, whose name may not end in a slash. */
static int may_create_leaf(struct walk *walk)
{
    if (walk->last != WALK_NAME)
        return -EEXIST;
    if (!walk->slash)
        return may_create(walk);
    struct attributes attributes;
    int status = walk_lookup(walk, &attributes);
    return status == 0 ? -EEXIST : status;
}

static int mkdir_once(struct walk *walk, mode_t mode, struct attributes *attributes)
{
    struct client *client = walk->client;
    if (walk->last != WALK_NAME)
        return -EEXIST;
    int status = may_create(walk);
    if (status < 0)
        return status;
    uint8_t body[sizeof(struct create_request) + NAME_LENGTH_MAX];
    struct attributes_reply reply;
    size_t length =
        create_request_fill(walk, (mode & 01777 & ~client->umask) | (walk->here.mode & S_ISGID), body);
    status = client_request(client, walk->operation, client_hash_server(client, walk->hash),
                            RPC_CREATE_DIRECTORY, body, length, &reply, sizeof reply);
    if (status == 0)
        *attributes = reply.attributes;
    if (status == 0 && walk->operation->epoch == client->namespace_epoch) {
        struct directory made;
        directory_of(&reply.attributes, &made);
        cache_insert(&client->cache, walk->here.inode, walk->hash, walk->name, walk->name_length, &made);
    }
    return status;
}

int client_create_directory(struct client *client, uint64_t directory, const char *path, mode_t mode,
                            struct attributes *attributes)
{
    return WALK_TO(client, directory, path, walk, mkdir_once(&walk, mode, attributes));
}

int client_mkdir(struct client *client, uint64_t directory, const char *path, mode_t mode)
{
    struct attributes attributes;
    return client_create_directory(client, directory, path, mode, &attributes);
}

static int make_node_once(struct walk *walk, mode_t mode, uint64_t device, struct attributes *attributes)
{
    struct client *client = walk->client;
    int status = may_create_leaf(walk);
    if (status < 0)
        return status;
    union {
        struct node_request request;
        uint8_t room[sizeof(struct node_request) + NAME_LENGTH_MAX];
    } body;
    body.request.device = device;
    body.request.type = mode & S_IFMT;
    size_t length = offsetof(struct node_request, create) +
                    create_request_fill(walk, mode & 07777 & ~client->umask, &body.request.create);
    struct attributes_reply reply;
    status = client_request(client, walk->operation, client_hash_server(client, walk->hash), RPC_MAKE_NODE,
                            &body, length, &reply, sizeof reply);
    if (status == 0)
        *attributes = reply.attributes;
    return status;
}

int client_make_node(struct client *client, uint64_t directory, const char *path, mode_t mode,
                     uint64_t device, struct attributes *attributes)
{
    if ((mode & S_IFMT) == 0)
        mode |= S_IFREG;
    if (S_ISDIR(mode))
        return -EPERM;
    if (!S_ISREG(mode) && !S_ISFIFO(mode) && !S_ISSOCK(mode) && !S_ISCHR(mode) && !S_ISBLK(mode))
        return -EINVAL;
    if ((S_ISCHR(mode) || S_ISBLK(mode)) && client->caller.uid != 0)
        return -EPERM;
    return WALK_TO(client, directory, path, walk, make_node_once(&walk, mode, device, attributes));
}

static int symlink_once(struct walk *walk, const struct iovec *target, struct attributes *attributes)
{
    struct client *client = walk->client;
    int status = may_create_leaf(walk);
    if (status < 0)
        return status;
    uint8_t body[sizeof(struct create_request) + NAME_LENGTH_MAX];
    struct attributes_reply reply;
    struct rpc_call call = {
        .operation = RPC_CREATE_SYMLINK,
        .body = body,
        .body_length = (uint32_t)create_request_fill(walk, 0777, body),
        .send = target,
        .send_count = 1,
        .reply = &reply,
        .reply_size = sizeof reply,
    };
    status = client_call(client, walk->operation, client_hash_server(client, walk->hash), &call);
    if (status == 0)
        *attributes = reply.attributes;
    return status;
}

int client_create_symlink(struct client *client, const char *target, uint64_t directory, const char *path,
                          struct attributes *attributes)
{
    size_t length = strnlen(target, SYMLINK_LENGTH_MAX + 1);
    if (length == 0)
        return -ENOENT;
    if (length > SYMLINK_LENGTH_MAX)
        return -ENAMETOOLONG;
    struct iovec bulk = {(void *)(uintptr_t)target, length};
    return WALK_TO(client, directory, path, walk, symlink_once(&walk, &bulk, attributes));
}

int client_symlink(struct client *client, const char *target, uint64_t directory, const char *path)
{
    struct attributes attributes;
    return client_create_symlink(client, target, directory, path, &attributes);
}

static int link_once(struct walk *walk, uint64_t inode, struct attributes *attributes)
{
    struct client *client = walk->client;
    int status = may_create_leaf(walk);
    if (status < 0)
        return status;
    union {
        struct link_request request;
        uint8_t room[sizeof(struct link_request) + NAME_LENGTH_MAX];
    } body;
    body.request = (struct link_request){
        .inode = inode,
        .parent = walk->here.inode,
        .uid = client->caller.uid,
        .gid = client->caller.gid,
        .name_length = (uint8_t)walk->name_length,
    };
    memcpy(body.request.name, walk->name, walk->name_length);
    struct attributes_reply reply;
    status = client_request(client, walk->operation, client_hash_server(client, walk->hash), RPC_LINK, &body,
                            sizeof body.request + walk->name_length, &reply, sizeof reply);
    if (status == 0)
        *attributes = reply.attributes;
    return status;
}

int client_link_inode(struct client *client, uint64_t inode, uint64_t directory, const char *path,
                      struct attributes *attributes)
{
    return WALK_TO(client, directory, path, walk, link_once(&walk, inode, attributes));
}

int client_link(struct client *client, uint64_t old_directory, const char *old_path, uint64_t new_directory,
                const char *new_path, bool follow)
{
    struct operation operation;
    int status;
    operation_begin(client, &operation);
    do {
        struct walk old, new = {.storage = NULL};
        struct attributes attributes;
        status = walk_path(&old, client, &operation, old_directory, old_path);
        if (status == 0)
            status = walk_lookup_last(&old, follow, &attributes);
        if (status == 0)
            status = walk_path(&new, client, &operation, new_directory, new_path);
        if (status == 0)
            status = link_once(&new, attributes.inode, &attributes);
        walk_end(&old);
        walk_end(&new);
    } while (operation_again(client, &operation, &status));
    return status;
}

ssize_t client_read_link(struct client *client, struct operation *operation, uint64_t inode, char *target,
                         size_t size)
{
    struct inode_request request = {.inode = inode};
    char whole[SYMLINK_LENGTH_MAX];
    struct iovec into = {whole, sizeof whole};
    struct rpc_call call = {
        .operation = RPC_READ_LINK,
        .body = &request,
        .body_length = sizeof request,
        .receive = &into,
        .receive_count = 1,
    };
    int status = client_call(client, operation, client_inode_server(client, inode), &call);
    if (status < 0)
        return status;
    size_t length = call.received < size ? call.received : size;
    memcpy(target, whole, length);
    return (ssize_t)length;
}

static int readlink_once(struct walk *walk, char *target, size_t size, ssize_t *length)
{
    struct client *client = walk->client;
    struct attributes attributes;
    if (walk->last != WALK_NAME)
        return -EINVAL;
    int status = walk->slash ? walk_lookup_follow(walk, &attributes) : walk_lookup(walk, &attributes);
    if (status < 0)
        return status;
    if (!is_link(attributes.mode))
        return -EINVAL;
    *length = client_read_link(client, walk->operation, attributes.inode, target, size);
    if (*length == -ESTALE)
        return -STATUS_BUSY_RETRY; /* replaced since it was found: look again */
    return *length < 0 ? (int)*length : 0;
}

ssize_t client_readlink(struct client *client, uint64_t directory, const char *path, char *target,
                        size_t size)
{
    ssize_t length = 0;
    int status = WALK_TO(client, directory, path, walk, readlink_once(&walk, target, size, &length));
    return status < 0 ? status : length;
}

/* ---- removing and renaming ---- */

/* Write permission on the directory, and in a sticky one ownership of it or of the entry. */
static int may_remove(struct walk *walk)
{
    struct client *client = walk->client;
    int status = walk_permits(walk, MAY_WRITE | MAY_SEARCH);
    if (status < 0 || client->caller.uid == 0 || !(walk->here.mode & S_ISVTX) ||
        walk->here.uid == client->caller.uid)
        return status;
    struct attributes attributes;
    status = walk_lookup(walk, &attributes);
    if (status < 0)
        return status;
    return attributes.uid == client->caller.uid ? 0 : -EPERM;
}

static int rmdir_once(struct walk *walk)
{
    struct client *client = walk->client;
    static const int refusals[] = {[WALK_ROOT] = -EBUSY, [WALK_DOT] = -EINVAL, [WALK_DOT_DOT] = -ENOTEMPTY};
    if (walk->last != WALK_NAME)
        return refusals[walk->last];
    int status = may_remove(walk);
    if (status < 0)
        return status;
    union named_request named;
    size_t length = walk_named_request(walk, &named);
    status = client_request(client, walk->operation, client_hash_server(client, walk->hash),
                            RPC_REMOVE_DIRECTORY, &named, length, NULL, 0);
    if (status == 0)
        cache_forget(&client->cache, walk->here.inode, walk->hash, walk->name, walk->name_length);
    return status;
}

int client_rmdir(struct client *client, uint64_t directory, const char *path)
{
    return WALK_TO(client, directory, path, walk, rmdir_once(&walk));
}

static int unlink_once(struct walk *walk)
{
    struct client *client = walk->client;
    if (walk->last != WALK_NAME)
        return -EISDIR;
    if (walk->slash) {
        struct attributes attributes;
        int found = walk_lookup(walk, &attributes);
        return found < 0 ? found : is_directory(attributes.mode) ? -EISDIR : -ENOTDIR;
    }
    int status = may_remove(walk);
    if (status < 0)
        return status;
    union named_request named;
    size_t length = walk_named_request(walk, &named);
    struct unlink_reply reply;
    status = client_request(client, walk->operation, client_hash_server(client, walk->hash), RPC_UNLINK,
                            &named, length, &reply, sizeof reply);
    if (status == 0 && reply.orphan != 0)
        client_note_orphan(client, reply.orphan);
    return status;
}

int client_unlink(struct client *client, uint64_t directory, const char *path)
{
    return WALK_TO(client, directory, path, walk, unlink_once(&walk));
}

/* What a slash behind a name of a rename demands: that the source be a directory, and in an exchange each. */
static int check_slashes(struct walk *old, struct walk *new, unsigned flags)
{
    struct attributes attributes;
    int status = 0;
    if (old->slash || (new->slash && (flags & RENAME_FLAG_EXCHANGE) == 0)) {
        status = walk_lookup(old, &attributes);
        uint32_t mode = attributes.mode;
        if (status == 0 && (flags & RENAME_FLAG_NOREPLACE) && walk_lookup(new, &attributes) == 0)
            status = -EEXIST;
        else if (status == 0 && !is_directory(mode))
            status = -ENOTDIR;
    }
    if (status == 0 && new->slash && (flags & RENAME_FLAG_EXCHANGE) != 0) {
        status = walk_lookup(new, &attributes);
        if (status == 0 && !is_directory(attributes.mode))
            status = -ENOTDIR;
    }
    return status;
}

static int rename_once(struct walk *old, struct walk *new, unsigned flags)
{
    struct client *client = old->client;
    if (old->last != WALK_NAME || new->last != WALK_NAME)
        return (flags & RENAME_FLAG_NOREPLACE) && old->last == WALK_NAME ? -EEXIST : -EBUSY;
    int status = check_slashes(old, new, flags);
    if (status < 0)
        return status;
    status = may_remove(old);
    if (status < 0)
        return status;
    status = may_remove(new);
    if (status < 0 && !(status == -ENOENT && (new->here.mode &S_ISVTX)))
        return status;
    union {
        struct rename_request request;
        uint8_t room[sizeof(struct rename_request) + 2 * NAME_LENGTH_MAX];
    } body;
    body.request = (struct rename_request){
        .old_parent = old->here.inode,
        .new_parent = new->here.inode,
        .uid = client->caller.uid,
        .gid = client->caller.gid,
        .flags = (uint8_t)((flags & (RENAME_FLAG_NOREPLACE | RENAME_FLAG_EXCHANGE)) |
                           (old->operation->attempts >= OPERATION_OVERTAKEN ? RENAME_FLAG_TURN : 0)),
        .old_length = (uint8_t)old->name_length,
        .new_length = (uint8_t) new->name_length,
    };
    memcpy(body.request.names, old->name, old->name_length);
    memcpy(body.request.names + old->name_length, new->name, new->name_length);
    struct unlink_reply reply;
    status = client_request(client, old->operation, client_hash_server(client, old->hash), RPC_RENAME, &body,
                            sizeof body.request + old->name_length + new->name_length, &reply, sizeof reply);
    if (status == 0 && reply.orphan != 0)
        client_note_orphan(client, reply.orphan);
    return status;
}

int client_rename(struct client *client, uint64_t old_directory, const char *old_path, uint64_t new_directory,
                  const char *new_path, unsigned flags)
{
    struct operation operation;
    int status;
    operation_begin(client, &operation);
    do {
        struct walk old, new = {.storage = NULL};
        status = walk_path(&old, client, &operation, old_directory, old_path);
        if (status == 0)
            status = walk_path(&new, client, &operation, new_directory, new_path);
        if (status == 0)
            status = rename_once(&old, &new, flags);
        walk_end(&old);
        walk_end(&new);
    } while (operation_again(client, &operation, &status));
    return status;
}

/* ---- the file system ---- */

int client_statfs(struct client *client, struct statfs_reply *total)
{
    *total = (struct statfs_reply){0};
    for (uint32_t server = 0; server < client->map->server_count; server++) {
        struct operation operation;
        struct statfs_reply reply;
        int status;
        operation_begin(client, &operation);
        do {
            status = client_request(client, &operation, server, RPC_STATFS, NULL, 0, &reply, sizeof reply);
        } while (operation_again(client, &operation, &status) && server < client->map->server_count);
        if (status < 0)
            return status;
        total->used += reply.used;
        total->capacity += reply.capacity;
        total->inodes += reply.inodes;
        total->metadata_used += reply.metadata_used;
        uint64_t metadata_capacity;
        total->metadata_capacity =
            __builtin_add_overflow(total->metadata_capacity, reply.metadata_capacity, &metadata_capacity)
                ? UINT64_MAX
                : metadata_capacity;
    }
    return 0;
}

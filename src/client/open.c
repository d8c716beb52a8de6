/* Open, and the leases on what came with it.
 *
 * Opening an existing file is one OPEN; if it is opened for reading only and its data is inline in the inode,
 * the reply brings the data and a lease: until it ends no other session's write or truncation of the file
 * takes effect, so the client may serve reads from its copy. It keeps such copies in a small table by inode,
 * not in the open file: any of its own writes drops the copy, whatever descriptor it comes through. A copy
 * fetched while one of this client's own writes was under way is not kept at all, since it may show the state
 * before it.
 *
 * Creating is one CREATE_FILE, which without O_EXCL opens (and with O_TRUNC cuts) an existing file as well.
 */
#include "client/core.h"

#define LEASE_BYTES INLINE_DATA_MAX

int lease_create(struct lease_table *leases)
{
    leases->memory = malloc((size_t)LEASE_BUFFERS * LEASE_BYTES);
    if (leases->memory == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < LEASE_BUFFERS; i++)
        leases->spare[i] = leases->memory + (size_t)i * LEASE_BYTES;
    leases->spare_count = LEASE_BUFFERS;
    return 0;
}

void lease_destroy(struct lease_table *leases)
{
    free(leases->memory);
    leases->memory = NULL;
}

uint8_t *lease_take_buffer(struct lease_table *leases)
{
    return leases->spare_count == 0 ? NULL : leases->spare[--leases->spare_count];
}

void lease_return_buffer(struct lease_table *leases, uint8_t *buffer)
{
    if (buffer != NULL)
        leases->spare[leases->spare_count++] = buffer;
}

void lease_install(struct lease_table *leases, uint64_t inode, uint8_t *buffer, uint32_t length,
                   uint64_t until)
{
    struct lease *lease = lease_slot(leases, inode);
    lease_return_buffer(leases, lease->bytes);
    *lease = (struct lease){.inode = inode, .until = until, .length = length, .bytes = buffer};
}

/* ---- opening ---- */

int client_file_set(struct client_file *file, const struct attributes *attributes, int flags)
{
    if (S_ISREG(attributes->mode) && !layout_valid(&attributes->layout))
        return -EPROTO;
    file->inode = attributes->inode;
    file->parent = attributes->parent;
    file->layout = attributes->layout;
    file->mode = attributes->mode;
    file->flags = flags;
    atomic_store_explicit(&file->generation, attributes->generation, memory_order_relaxed);
    atomic_store_explicit(&file->size, attributes->size, memory_order_relaxed);
    file->held = true;
    file->hold.slot = 0;
    return 0;
}

/* OPEN or CREATE_FILE of the last component succeeded: what is on the server that was asked is held. */
static void note_held(struct walk *walk, const struct attributes *attributes, bool link)
{
    struct client *client = walk->client;
    if (client_inode_server(client, attributes->inode) == client_hash_server(client, walk->hash) &&
        (!is_link(attributes->mode) || link))
        walk->operation->held = attributes->inode;
}

/* A symbolic link at the end of the path is opened itself. */
static bool opens_link(const struct walk *walk, int flags)
{
    return (flags & O_PATH) && (flags & O_NOFOLLOW) && !walk->slash;
}

/* Opens the last component by what its server's board says: BOARD_SILENT if it does not. Who wants to write
 * asks the server, which hears of it anyway. */
static enum board_answer open_shown(struct walk *walk, int flags, struct attributes *attributes)
{
    struct client *client = walk->client;
    if ((flags & O_PATH) == 0 && (flags & (O_ACCMODE | O_TRUNC)) != O_RDONLY)
        return BOARD_SILENT;
    enum board_answer answer = client_board_open(
        client, walk->operation, client_hash_server(client, walk->hash), walk->hash, walk->here.inode,
        walk->name, walk->name_length, open_access(flags), attributes, &walk->operation->hold);
    if (answer == BOARD_FOUND && walk->operation->hold.slot != 0)
        walk->operation->held = attributes->inode;
    return answer;
}

/* OPEN of the last component, taking a lease when only reading. */
static int open_named(struct walk *walk, int flags, struct attributes *attributes)
{
    struct client *client = walk->client;
    enum board_answer answer = opens_link(walk, flags) ? BOARD_SILENT : open_shown(walk, flags, attributes);
    if (answer != BOARD_SILENT)
        return answer == BOARD_FOUND ? 0 : -ENOENT;
    union {
        struct open_request request;
        uint8_t room[sizeof(struct open_request) + NAME_LENGTH_MAX];
    } body;
    body.request = (struct open_request){
        .parent = walk->here.inode,
        .uid = client->caller.uid,
        .gid = client->caller.gid,
        .access = (uint8_t)open_access(flags),
        .name_length = (uint8_t)walk->name_length,
    };
    memcpy(body.request.name, walk->name, walk->name_length);
    struct open_reply reply;
    struct rpc_call call = {
        .operation = RPC_OPEN,
        .body = &body,
        .body_length = (uint32_t)sizeof body.request + walk->name_length,
        .reply = &reply,
        .reply_size = sizeof reply,
    };
    struct iovec into;
    bool reading = (flags & (O_ACCMODE | O_TRUNC | O_PATH | O_DIRECTORY | O_NOATIME)) == O_RDONLY;
    uint8_t *buffer = reading ? lease_take_buffer(&client->leases) : NULL;
    if (buffer != NULL) {
        body.request.flags = OPEN_WANT_INLINE;
        into = (struct iovec){buffer, LEASE_BYTES};
        call.receive = &into;
        call.receive_count = 1;
    }
    uint64_t mutations = client->leases.mutations;
    if (buffer != NULL)
        call.timing.started = loop_now(client->loop); /* a lease counts from before the request went */
    if (opens_link(walk, flags))
        body.request.flags |= OPEN_LINK;
    uint32_t server = client_hash_server(client, walk->hash);
    int status = client_call(client, walk->operation, server, &call);
    if (status == 0) {
        *attributes = reply.attributes;
        note_held(walk, attributes, opens_link(walk, flags));
    }
    if (buffer == NULL)
        goto asked;
    if (status == 0 && reply.lease_us != 0 && call.received == reply.attributes.size &&
        mutations == client->leases.mutations)
        lease_install(&client->leases, reply.attributes.inode, buffer, (uint32_t)call.received,
                      call.timing.started + reply.lease_us * UINT64_C(1000));
    else
        lease_return_buffer(&client->leases, buffer);

asked:
    client_board_missed(client, walk->operation, server, status);
    return status;
}

/* Reading without a trace is for the owner. */
static int check_no_access_time(const struct client *client, int flags, const struct attributes *attributes)
{
    uint32_t uid = client->caller.uid;
    return (flags & (O_NOATIME | O_PATH)) == O_NOATIME && uid != 0 && uid != attributes->uid ? -EPERM : 0;
}

/* A directory at the end of the path: "/", "..", or an OPEN that found one. */
static int opened_directory(const struct client *client, const struct attributes *attributes, int flags)
{
    if ((flags & O_PATH) == 0 && (flags & (O_ACCMODE | O_TRUNC)) != O_RDONLY)
        return -EISDIR;
    int status =
        client_permits(client, attributes->mode, attributes->uid, attributes->gid, open_access(flags));
    return status < 0 ? status : check_no_access_time(client, flags, attributes);
}

/* What these nodes stand for is not here: there is no device or listener behind them, and data do not flow
 * through a fifo from one process to another. */
static int opened_node(uint32_t mode, int flags)
{
    bool no_reader = (flags & O_ACCMODE) == O_WRONLY && (flags & O_NONBLOCK);
    return S_ISFIFO(mode) && !no_reader ? -EOPNOTSUPP : -ENXIO;
}

/* Judges what OPEN found. 1: a link was followed, go on with the new last component. */
static int opened(struct walk *walk, int flags, const struct attributes *attributes)
{
    if (is_link(attributes->mode)) {
        if ((flags & O_CREAT) && (flags & O_EXCL))
            return -EEXIST;
        if ((flags & O_NOFOLLOW) && !walk->slash) {
            if (flags & O_DIRECTORY)
                return -ENOTDIR;
            return flags & O_PATH ? 0 : -ELOOP;
        }
        int status = walk_follow(walk, attributes);
        return status < 0 ? status : 1;
    }
    if (is_directory(attributes->mode))
        return opened_directory(walk->client, attributes, flags);
    if (walk->slash || (flags & O_DIRECTORY))
        return -ENOTDIR;
    if (!S_ISREG(attributes->mode) && !(flags & O_PATH))
        return opened_node(attributes->mode, flags);
    return check_no_access_time(walk->client, flags, attributes);
}

/* The group and the mode of something new in walk->here: in a set-group-id directory the group is the
 * directory's, and who is not in it makes no set-group-id program for it. */
uint32_t walk_new_group(const struct walk *walk)
{
    return walk->here.mode & S_ISGID ? walk->here.gid : walk->client->caller.gid;
}

uint32_t walk_new_mode(const struct walk *walk, mode_t mode)
{
    const struct credentials *caller = &walk->client->caller;
    mode &= 07777 & ~(mode_t)walk->client->umask;
    if ((mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && (walk->here.mode & S_ISGID) &&
        caller->uid != 0 && !credentials_in_group(caller, walk->here.gid))
        mode &= ~(mode_t)S_ISGID;
    return mode;
}

/* *cut: whether O_TRUNC is done with. */
static int create_named(struct walk *walk, int flags, mode_t mode, struct attributes *attributes, bool *cut)
{
    struct client *client = walk->client;
    int status = walk_permits(walk, MAY_WRITE | MAY_SEARCH);
    if (status < 0)
        return status;
    uint32_t access = open_access(flags);
    bool cuts = (flags & O_TRUNC) && !(flags & O_NOATIME); /* O_NOATIME: not before the owner is known */
    union {
        struct create_request request;
        uint8_t room[sizeof(struct create_request) + NAME_LENGTH_MAX];
    } body;
    body.request = (struct create_request){
        .parent = walk->here.inode,
        .uid = client->caller.uid,
        .gid = client->caller.gid,
        .group = walk_new_group(walk),
        .mode = walk_new_mode(walk, mode),
        .layout_base = client->layout_base,
        .placement = client->placement,
        .chunk_shift = client->chunk_shift,
        .flags = (uint8_t)((flags & O_EXCL ? CREATE_EXCLUSIVE : 0) | (cuts ? CREATE_TRUNCATE : 0) |
                           (access & MAY_READ ? CREATE_READ : 0) | (access & MAY_WRITE ? CREATE_WRITE : 0)),
        .name_length = (uint8_t)walk->name_length,
    };
    memcpy(body.request.name, walk->name, walk->name_length);
    struct attributes_reply reply;
    status = client_request(client, walk->operation, client_hash_server(client, walk->hash), RPC_CREATE_FILE,
                            &body, sizeof body.request + walk->name_length, &reply, sizeof reply);
    if (status < 0)
        return status;
    *attributes = reply.attributes;
    note_held(walk, attributes, false);
    *cut = cuts && walk->operation->held != 0 && attributes->size == 0;
    if (flags & O_TRUNC)
        lease_revoke(&client->leases, attributes->inode);
    return 0;
}

/* O_CREAT on the last component. Returns as opened(). */
static int open_or_create(struct walk *walk, int flags, mode_t mode, struct attributes *attributes, bool *cut)
{
    if (walk->last != WALK_NAME)
        return flags & O_EXCL ? -EEXIST : -EISDIR;
    if (walk->slash)
        return -EISDIR;
    int status = create_named(walk, flags, mode, attributes, cut);
    if (status == -EACCES && !(flags & O_EXCL)) {
        /* Nothing may be made in this directory, but what is there may be opened. */
        status = open_named(walk, flags, attributes);
        if (status == -ENOENT)
            return -EACCES;
        if (status == 0 && is_directory(attributes->mode))
            return -EISDIR;
    }
    return status < 0 ? status : opened(walk, flags, attributes);
}

static int open_once(struct walk *walk, int flags, mode_t mode, struct attributes *attributes, bool *cut,
                     struct client_hold *hold)
{
    int status;
    do {
        *cut = false;
        if (flags & O_CREAT) {
            status = open_or_create(walk, flags, mode, attributes, cut);
        } else if (walk->last == WALK_NAME) {
            status = open_named(walk, flags, attributes);
            if (status == 0)
                status = opened(walk, flags, attributes);
        } else {
            status = client_hold_once(walk->client, walk->operation, walk->here.inode, 0, attributes);
            if (status == 0)
                status = walk_is_gone(walk, attributes) ? -ESTALE
                                                        : opened_directory(walk->client, attributes, flags);
        }
        if (status != 0)
            operation_let_go(walk->client, walk->operation);
    } while (status == 1);
    /* What is opened lives on another server than its name. */
    if (status == 0 && walk->operation->held == 0)
        status = client_hold_once(walk->client, walk->operation, attributes->inode, 0, attributes);
    *hold = walk->operation->hold;
    return status;
}

static int open_path(struct client *client, uint64_t directory, const char *path, int flags, mode_t mode,
                     struct attributes *attributes, bool *cut, struct client_hold *hold)
{
    return WALK_TO(client, directory, path, walk, open_once(&walk, flags, mode, attributes, cut, hold));
}

/* O_TMPFILE: path is that of the directory. */
static int unnamed_once(struct walk *walk, int flags, mode_t mode, struct attributes *attributes)
{
    struct client *client = walk->client;
    struct attributes found;
    if (walk->last == WALK_NAME) {
        int status = walk_lookup_follow(walk, &found);
        if (status < 0)
            return status;
        if (!is_directory(found.mode))
            return -ENOTDIR;
        directory_of(&found, &walk->here);
    }
    int status = walk_permits(walk, MAY_WRITE | MAY_SEARCH);
    if (status < 0)
        return status;
    struct unnamed_request request = {
        .parent = walk->here.inode,
        .hash = random_next(loop_random(client->loop)),
        .uid = client->caller.uid,
        .gid = client->caller.gid,
        .group = walk_new_group(walk),
        .mode = mode & 07777 & ~client->umask,
        .layout_base = client->layout_base,
        .placement = client->placement,
        .chunk_shift = client->chunk_shift,
        .linkable = (flags & O_EXCL) == 0,
    };
    struct attributes_reply reply;
    status = client_request(client, walk->operation, client_hash_server(client, request.hash),
                            RPC_CREATE_UNNAMED, &request, sizeof request, &reply, sizeof reply);
    if (status < 0)
        return status;
    *attributes = reply.attributes;
    client_note_orphan(client, attributes->inode);
    return 0;
}

static int open_unnamed(struct client *client, uint64_t directory, const char *path, int flags, mode_t mode,
                        struct client_file *file, struct attributes *attributes)
{
    if ((flags & O_ACCMODE) == O_RDONLY || (flags & O_CREAT))
        return -EINVAL;
    int status = WALK_TO(client, directory, path, walk, unnamed_once(&walk, flags, mode, attributes));
    if (status == 0)
        status = client_file_set(file, attributes, flags & ~(O_TMPFILE | O_EXCL));
    return status;
}

int client_open_entry(struct client *client, uint64_t directory, const char *path, int flags, mode_t mode,
                      struct client_file *file, struct attributes *attributes)
{
    if ((flags & O_ACCMODE) == O_ACCMODE)
        return -EINVAL;
    if ((flags & O_TMPFILE) == O_TMPFILE)
        return open_unnamed(client, directory, path, flags, mode, file, attributes);
    if ((flags & O_CREAT) && (flags & O_DIRECTORY))
        return -EINVAL;
    int status;
    unsigned attempts = 0;
    do {
        bool cut = false;
        struct client_hold hold = {0};
        status = open_path(client, directory, path, flags, mode, attributes, &cut, &hold);
        if (status < 0)
            return status;
        if ((flags & O_TRUNC) && !cut && (attributes->mode & S_IFMT) == S_IFREG)
            status = client_truncate_checked(client, attributes->inode, 0, true, UINT64_MAX, attributes);
        if (status == 0)
            status = client_file_set(file, attributes, flags);
        if (status < 0)
            client_release(client, attributes->inode, &hold);
        else
            file->hold = hold;
    } while (operation_gone_again(&attempts, &status));
    return status;
}

int client_open(struct client *client, uint64_t directory, const char *path, int flags, mode_t mode,
                struct client_file *file)
{
    struct attributes attributes;
    return client_open_entry(client, directory, path, flags, mode, file, &attributes);
}

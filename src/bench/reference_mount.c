/* The reference of the FUSE rows.
 *
 * A tree of directories and files in memory. A write is copied once, from the request into the file; a read
 * is answered from the file's memory, which the kernel copies from. As in a strict mount of BenchFS nothing
 * is kept by the kernel: direct I/O, and names and attributes valid for no time. The same capabilities are
 * asked for, and requests of the same size; every request that a strict mount gets comes here too, extended
 * attributes and flushes included, so what is compared is what it costs to answer them. A file in the root is
 * for transfers: its memory is of its full size and touched when it is made. Others grow as they are written.
 *
 * Nodes lie in a table, found by number, and by name in chains. One thread serves, which a single caller
 * cannot keep busy; as ours it watches the device for a while before it sleeps there, since otherwise a
 * request takes 7 or 40 us by where the scheduler puts server and caller. */
#define FUSE_USE_VERSION 312
#include "bench/reference_mount.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"

#define NODES 8192u
#define CHAINS 8192u
#define FILE_MAX (UINT64_C(64) << 20)
#define TRANSFER_MAX (UINT32_C(1) << 20)
#define NAME_SIZE 64u

struct node {
    fuse_ino_t parent; /* 0: this place is free */
    char name[NAME_SIZE];
    struct stat status;
    char *bytes; /* of a file */
    uint64_t room;
    struct node *next; /* in its chain, or free */
};

static struct node nodes[NODES + 1]; /* by inode number; [0] is never used, [FUSE_ROOT_ID] is the root */
static struct node *chains[CHAINS];
static struct node *unused;

static void session_init(void *userdata, struct fuse_conn_info *connection)
{
    (void)userdata;
    uint32_t unwanted = FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
                        FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO;
    uint32_t wanted =
        FUSE_CAP_ASYNC_READ | FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS;
    connection->want &= ~unwanted;
    connection->want |= wanted & connection->capable;
    connection->max_write = TRANSFER_MAX;
    connection->max_readahead = TRANSFER_MAX;
    connection->time_gran = 1;
}

/* ---- the tree ---- */

static fuse_ino_t number_of(const struct node *node)
{
    return (fuse_ino_t)(node - nodes);
}

static struct node *node_of(fuse_ino_t inode)
{
    return inode >= FUSE_ROOT_ID && inode <= NODES && nodes[inode].parent != 0 ? &nodes[inode] : NULL;
}

static struct node **chain_of(fuse_ino_t parent, const char *name)
{
    return &chains[hash64(name, strlen(name), parent) % CHAINS];
}

static struct node *node_named(fuse_ino_t parent, const char *name)
{
    struct node *node = *chain_of(parent, name);
    while (node != NULL && (node->parent != parent || strcmp(node->name, name) != 0))
        node = node->next;
    return node;
}

static void status_begin(struct node *node, mode_t mode, uid_t uid, gid_t gid)
{
    node->status = (struct stat){.st_ino = number_of(node),
                                 .st_mode = mode,
                                 .st_nlink = S_ISDIR(mode) ? 2 : 1,
                                 .st_uid = uid,
                                 .st_gid = gid,
                                 .st_blksize = 4096};
    clock_gettime(CLOCK_REALTIME, &node->status.st_mtim);
    node->status.st_atim = node->status.st_ctim = node->status.st_mtim;
}

static void tree_begin(void)
{
    for (fuse_ino_t inode = NODES; inode > FUSE_ROOT_ID; inode--) {
        nodes[inode].next = unused;
        unused = &nodes[inode];
    }
    nodes[FUSE_ROOT_ID].parent = FUSE_ROOT_ID;
    status_begin(&nodes[FUSE_ROOT_ID], S_IFDIR | 0755, getuid(), getgid());
}

/* Makes room for so many bytes. 0 or -errno. */
static int file_grow(struct node *file, uint64_t size)
{
    if (size <= file->room)
        return 0;
    uint64_t room = file->room == 0 ? 8192 : file->room;
    while (room < size)
        room *= 2;
    char *bytes = realloc(file->bytes, room);
    if (bytes == NULL)
        return -ENOMEM;
    memset(bytes + file->room, 0, room - file->room);
    file->bytes = bytes;
    file->room = room;
    return 0;
}

static int file_for_transfers(struct node *file)
{
    char *bytes = aligned_alloc(UINT64_C(2) << 20, FILE_MAX);
    if (bytes == NULL)
        return -ENOMEM;
    madvise(bytes, FILE_MAX, MADV_HUGEPAGE);
    memset(bytes, 0, FILE_MAX);
    file->bytes = bytes;
    file->room = FILE_MAX;
    return 0;
}

/* 0 or -errno. */
static int node_make(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode,
                     struct node **result)
{
    if (node_named(parent, name) != NULL)
        return -EEXIST;
    if (strlen(name) >= NAME_SIZE)
        return -ENAMETOOLONG;
    if (unused == NULL)
        return -ENOSPC;
    struct node *node = unused, **chain = chain_of(parent, name);
    int status = S_ISREG(mode) && parent == FUSE_ROOT_ID ? file_for_transfers(node) : 0;
    if (status < 0)
        return status;
    unused = node->next;
    node->parent = parent;
    strcpy(node->name, name);
    status_begin(node, mode, fuse_req_ctx(request)->uid, fuse_req_ctx(request)->gid);
    node->next = *chain;
    *chain = node;
    *result = node;
    return 0;
}

static void node_remove(struct node *node)
{
    struct node **link = chain_of(node->parent, node->name);
    while (*link != node)
        link = &(*link)->next;
    *link = node->next;
    free(node->bytes);
    *node = (struct node){.next = unused};
    unused = node;
}

/* ---- names ---- */

static struct fuse_entry_param entry_of(const struct node *node)
{
    return (struct fuse_entry_param){.ino = number_of(node), .attr = node->status};
}

static void lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    const struct node *node = node_named(parent, name);
    if (node == NULL) {
        fuse_reply_err(request, ENOENT);
        return;
    }
    struct fuse_entry_param entry = entry_of(node);
    fuse_reply_entry(request, &entry);
}

static void make_directory(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct node *node;
    int status = node_make(request, parent, name, S_IFDIR | mode, &node);
    if (status < 0) {
        fuse_reply_err(request, -status);
        return;
    }
    struct fuse_entry_param entry = entry_of(node);
    fuse_reply_entry(request, &entry);
}

static void create(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode,
                   struct fuse_file_info *info)
{
    struct node *file = node_named(parent, name);
    int status = file != NULL ? 0 : node_make(request, parent, name, S_IFREG | mode, &file);
    if (status < 0) {
        fuse_reply_err(request, -status);
        return;
    }
    info->direct_io = 1;
    struct fuse_entry_param entry = entry_of(file);
    fuse_reply_create(request, &entry, info);
}

/* Of files and, since only `rm -r` is expected here, of directories. Nobody has them open. */
static void remove_name(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    struct node *node = node_named(parent, name);
    if (node != NULL)
        node_remove(node);
    fuse_reply_err(request, node == NULL ? ENOENT : 0);
}

static void read_directory(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                           struct fuse_file_info *info)
{
    char bytes[4096];
    size_t room = size < sizeof(bytes) ? size : sizeof(bytes), length = 0;
    (void)info;
    for (fuse_ino_t next = (fuse_ino_t)offset + FUSE_ROOT_ID + 1; next <= NODES; next++) {
        if (nodes[next].parent != inode)
            continue;
        size_t needed = fuse_add_direntry(request, bytes + length, room - length, nodes[next].name,
                                          &nodes[next].status, (off_t)(next - FUSE_ROOT_ID));
        if (needed > room - length)
            break;
        length += needed;
    }
    fuse_reply_buf(request, bytes, length);
}

/* ---- attributes ---- */

static void get_attributes(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
    const struct node *node = node_of(inode);
    (void)info;
    if (node != NULL)
        fuse_reply_attr(request, &node->status, 0);
    else
        fuse_reply_err(request, ENOENT);
}

static void set_attributes(fuse_req_t request, fuse_ino_t inode, struct stat *wanted, int fields,
                           struct fuse_file_info *info)
{
    struct node *node = node_of(inode);
    (void)info;
    if (node == NULL || (fields & FUSE_SET_ATTR_SIZE)) {
        fuse_reply_err(request, node == NULL ? ENOENT : EOPNOTSUPP);
        return;
    }
    struct stat *status = &node->status;
    clock_gettime(CLOCK_REALTIME, &status->st_ctim);
    if (fields & FUSE_SET_ATTR_MODE)
        status->st_mode = (status->st_mode & (mode_t)S_IFMT) | (wanted->st_mode & 07777);
    if (fields & FUSE_SET_ATTR_UID)
        status->st_uid = wanted->st_uid;
    if (fields & FUSE_SET_ATTR_GID)
        status->st_gid = wanted->st_gid;
    if (fields & FUSE_SET_ATTR_ATIME)
        status->st_atim = fields & FUSE_SET_ATTR_ATIME_NOW ? status->st_ctim : wanted->st_atim;
    if (fields & FUSE_SET_ATTR_MTIME)
        status->st_mtim = fields & FUSE_SET_ATTR_MTIME_NOW ? status->st_ctim : wanted->st_mtim;
    fuse_reply_attr(request, status, 0);
}

static void get_xattr(fuse_req_t request, fuse_ino_t inode, const char *name, size_t size)
{
    (void)inode;
    (void)name;
    (void)size;
    fuse_reply_err(request, ENODATA);
}

/* ---- open files ---- */

static void open_file(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
    info->direct_io = 1;
    if (node_of(inode) == NULL)
        fuse_reply_err(request, ENOENT);
    else
        fuse_reply_open(request, info);
}

static void close_file(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
    (void)inode;
    (void)info;
    fuse_reply_err(request, 0);
}

static void read_file(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                      struct fuse_file_info *info)
{
    const struct node *file = node_of(inode);
    (void)info;
    if (file == NULL) {
        fuse_reply_err(request, ENOENT);
        return;
    }
    uint64_t end = (uint64_t)file->status.st_size, start = (uint64_t)offset < end ? (uint64_t)offset : end;
    fuse_reply_buf(request, file->bytes + start, size < end - start ? size : end - start);
}

static void write_file(fuse_req_t request, fuse_ino_t inode, const char *bytes, size_t size, off_t offset,
                       struct fuse_file_info *info)
{
    struct node *file = node_of(inode);
    (void)info;
    int status = file == NULL                         ? -ENOENT
                 : (uint64_t)offset > FILE_MAX        ? -EFBIG
                 : size > FILE_MAX - (uint64_t)offset ? -EFBIG
                                                      : file_grow(file, (uint64_t)offset + size);
    if (status < 0) {
        fuse_reply_err(request, -status);
        return;
    }
    memcpy(file->bytes + offset, bytes, size);
    if (file->status.st_size < offset + (off_t)size)
        file->status.st_size = offset + (off_t)size;
    fuse_reply_write(request, size);
}

/* ---- the session ---- */

#define WATCH_NS (50 * NSEC_PER_USEC)

static void watch(int device)
{
    struct pollfd next = {.fd = device, .events = POLLIN};
    for (uint64_t start = clock_now(); clock_now() - start < WATCH_NS && poll(&next, 1, 0) == 0;)
        sched_yield();
}

static int serve(struct fuse_session *session)
{
    struct fuse_buf buffer = {0};
    int got = 1;
    while (!fuse_session_exited(session) && (got > 0 || got == -EINTR)) {
        watch(fuse_session_fd(session));
        got = fuse_session_receive_buf(session, &buffer);
        if (got > 0)
            fuse_session_process_buf(session, &buffer);
    }
    free(buffer.mem);
    return got < 0 && got != -EINTR ? got : 0;
}

int reference_mount_serve(const char *directory)
{
    static const struct fuse_lowlevel_ops operations = {.init = session_init,
                                                        .lookup = lookup,
                                                        .mkdir = make_directory,
                                                        .create = create,
                                                        .unlink = remove_name,
                                                        .rmdir = remove_name,
                                                        .readdir = read_directory,
                                                        .getattr = get_attributes,
                                                        .setattr = set_attributes,
                                                        .getxattr = get_xattr,
                                                        .open = open_file,
                                                        .flush = close_file,
                                                        .release = close_file,
                                                        .read = read_file,
                                                        .write = write_file};
    char *arguments[] = {(char[]){"reference"}, (char[]){"-o"},
                         (char[]){"fsname=reference,subtype=reference"}, NULL};
    struct fuse_args list = FUSE_ARGS_INIT(3, arguments);
    struct fuse_session *session = fuse_session_new(&list, &operations, sizeof(operations), NULL);
    if (session == NULL)
        return -EINVAL;
    int status = -EIO;
    tree_begin();
    if (fuse_set_signal_handlers(session) < 0)
        goto destroy;
    if (fuse_session_mount(session, directory) == 0) {
        status = serve(session);
        fuse_session_unmount(session);
    }
    fuse_remove_signal_handlers(session);
destroy:
    fuse_session_destroy(session);
    return status;
}

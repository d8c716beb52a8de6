/* Open files: contents and what goes with them.
 *
 * In strict the kernel passes every read and write on as it comes (direct I/O), so each sees what the servers
 * have, and large ones come in one piece. Memory mappings of such files do go through the page cache; the
 * kernel keeps mappings and calls of this host consistent with each other. In close and relaxed reads are
 * served from the page cache, which is dropped at open if the file has changed; writes go through it at once.
 *
 * A file handle is a struct handle, used by any number of threads. */
#include <stdlib.h>
#include <unistd.h>

#include "fuse/filesystem.h"
#include "rpc/operations.h"

static_assert(CLIENT_OPEN_EXECUTE == 040, "what the kernel calls FMODE_EXEC");

#define COPY_MAX ((size_t)64 << 20)

static struct client_file *file_of(const struct fuse_file_info *info)
{
    return &handle_of(info)->file;
}

/* Tells the kernel how to treat the file that was opened. */
static void open_prepare(const struct filesystem *filesystem, const struct attributes *attributes,
                         struct handle *handle, struct fuse_file_info *info)
{
    uint64_t noted = 0;
    info->fh = (uintptr_t)handle;
    info->direct_io = filesystem->consistency == CONSISTENCY_STRICT;
    info->keep_cache =
        filesystem->versions != NULL && versions_unchanged(filesystem->versions, attributes, &noted);
    atomic_store_explicit(&handle->noted, noted, memory_order_relaxed);
}

/* A request through an open file: the kernel has done what it was told at the open. */
static void opened(fuse_req_t request, struct handle *handle)
{
    if (__builtin_expect(atomic_load_explicit(&handle->noted, memory_order_relaxed) == 0, 1))
        return;
    uint64_t noted = atomic_exchange(&handle->noted, 0);
    if (noted != 0)
        versions_dropped(request_filesystem(request)->versions, handle->file.inode, noted);
}

static void open_file(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *info)
{
    struct attributes attributes;
    struct client *client = request_client(request);
    if (client == NULL)
        return;
    struct handle *handle = calloc(1, sizeof *handle);
    if (handle == NULL) {
        reply_status(request, -ENOMEM);
        return;
    }
    int flags = info->flags & (O_ACCMODE | O_TRUNC | O_APPEND | CLIENT_OPEN_EXECUTE);
    int status = client_open_inode(client, inode_of(node), flags, &handle->file, &attributes);
    if (status < 0) {
        free(handle);
        reply_status(request, status);
        return;
    }
    open_prepare(request_filesystem(request), &attributes, handle, info);
    if (fuse_reply_open(request, info) == -ENOENT) { /* the call was interrupted: nobody will release it */
        client_close(client, &handle->file);
        free(handle);
    }
}

static void create_file(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode,
                        struct fuse_file_info *info)
{
    struct attributes attributes;
    struct client *client = request_client(request);
    if (client == NULL)
        return;
    struct handle *handle = calloc(1, sizeof *handle);
    if (handle == NULL) {
        reply_status(request, -ENOMEM);
        return;
    }
    int flags = (info->flags & (O_ACCMODE | O_TRUNC | O_APPEND | O_EXCL)) | O_CREAT | O_NOFOLLOW;
    int status = client_open_entry(client, inode_of(parent), name, flags, mode, &handle->file, &attributes);
    if (status < 0) {
        free(handle);
        /* A link appeared after the kernel had found nothing: let it look again and follow. */
        reply_status(request, status == -ELOOP ? -ESTALE : status);
        return;
    }
    struct fuse_entry_param entry;
    entry_fill(request_filesystem(request), &attributes, 0, &entry);
    open_prepare(request_filesystem(request), &attributes, handle, info);
    if (fuse_reply_create(request, &entry, info) == -ENOENT) {
        client_close(client, &handle->file);
        free(handle);
    }
}

static void read_file(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset,
                      struct fuse_file_info *info)
{
    (void)node;
    struct client *client = request_client(request);
    if (client == NULL)
        return;
    opened(request, handle_of(info));
    uint8_t *bytes = request_buffer();
    if (bytes == NULL || size > TRANSFER_MAX) {
        reply_status(request, bytes == NULL ? -ENOMEM : -EINVAL);
        return;
    }
    /* To the page cache a short read is the end of the file: it would fill up the rest with zeros. */
    ssize_t got = client_read_whole(client, file_of(info), bytes, size, (uint64_t)offset);
    if (got < 0)
        reply_status(request, (int)got);
    else
        fuse_reply_buf(request, (const char *)bytes, (size_t)got);
}

static void write_file(fuse_req_t request, fuse_ino_t node, const char *bytes, size_t size, off_t offset,
                       struct fuse_file_info *info)
{
    (void)node;
    struct client *client = request_client(request);
    if (client == NULL)
        return;
    /* Where the end of the file is only its server knows: an appending write goes there, whatever the kernel
     * believes. Pages of a mapping have a place of their own. */
    uint64_t at = (uint64_t)offset;
    ssize_t written = (info->flags & O_APPEND) && !info->writepage
                          ? client_append(client, file_of(info), bytes, size, &at)
                          : client_write(client, file_of(info), bytes, size, at);
    if (written > 0 && (info->flags & (O_SYNC | O_DSYNC)) && !info->writepage) {
        int status = client_sync(client, file_of(info));
        written = status < 0 ? status : written;
    }
    if (written < 0)
        reply_status(request, (int)written);
    else
        fuse_reply_write(request, (size_t)written);
}

/* Every close. What was written is at the servers already; under store.durability = close they make it last.
 */
static void flush_file(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *info)
{
    (void)node;
    opened(request, handle_of(info));
    int status = mount_locks_flush(request, handle_of(info), info->lock_owner);
    struct client_file *file = file_of(info);
    if (status == 0 && (file->flags & O_ACCMODE) != O_RDONLY) {
        struct client *client = request_client(request);
        if (client == NULL)
            return;
        if (client_map(client)->durability == DURABILITY_CLOSE)
            status = client_sync(client, file);
        status = status == -ESTALE ? 0 : status;
    }
    reply_status(request, status);
}

static void release_file(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *info)
{
    (void)node;
    struct handle *handle = handle_of(info);
    mount_locks_release(request, handle);
    struct client *client = request_client(request);
    if (client != NULL) {
        client_close(client, &handle->file);
        reply_status(request, 0);
    }
    free(handle);
}

static void sync_file(fuse_req_t request, fuse_ino_t node, int data_only, struct fuse_file_info *info)
{
    (void)node;
    (void)data_only;
    struct client *client = request_client(request);
    if (client != NULL)
        reply_status(request, client_sync(client, file_of(info)));
}

static int allocation_of(int mode)
{
    switch (mode & ~FALLOC_FL_KEEP_SIZE) {
    case 0:
        return ALLOCATE_RESERVE;
    case FALLOC_FL_PUNCH_HOLE:
        return mode & FALLOC_FL_KEEP_SIZE ? ALLOCATE_PUNCH : -EOPNOTSUPP;
    case FALLOC_FL_ZERO_RANGE:
        return ALLOCATE_ZERO;
    default:
        return -EOPNOTSUPP;
    }
}

static void allocate(fuse_req_t request, fuse_ino_t node, int mode, off_t offset, off_t length,
                     struct fuse_file_info *info)
{
    (void)node;
    struct client *client = request_client(request);
    if (client == NULL)
        return;
    int status = offset < 0 || length <= 0 ? -EINVAL : allocation_of(mode);
    if (status >= 0)
        status = client_allocate(client, file_of(info), (uint8_t)status, mode & FALLOC_FL_KEEP_SIZE,
                                 (uint64_t)offset, (uint64_t)length);
    reply_status(request, status);
}

/* The servers copy among themselves. One request does at most COPY_MAX, so that no call keeps its thread for
 * long; the caller sees a short copy and asks for the rest. */
static void copy(fuse_req_t request, fuse_ino_t node, off_t offset, struct fuse_file_info *info,
                 fuse_ino_t to_node, off_t to_offset, struct fuse_file_info *to_info, size_t length,
                 int flags)
{
    (void)node;
    (void)to_node;
    struct client *client = request_client(request);
    if (client == NULL)
        return;
    ssize_t copied = -EINVAL;
    if (flags == 0 && offset >= 0 && to_offset >= 0)
        copied = client_copy(client, file_of(info), (uint64_t)offset, file_of(to_info), (uint64_t)to_offset,
                             length < COPY_MAX ? length : COPY_MAX);
    if (copied < 0)
        reply_status(request, (int)copied);
    else
        fuse_reply_write(request, (size_t)copied);
}

/* SEEK_DATA and SEEK_HOLE; the kernel does the others itself. */
static void seek(fuse_req_t request, fuse_ino_t node, off_t offset, int whence, struct fuse_file_info *info)
{
    (void)node;
    uint64_t found;
    struct client *client = request_client(request);
    if (client == NULL)
        return;
    int status = offset < 0 ? -ENXIO
                 : whence != SEEK_DATA && whence != SEEK_HOLE
                     ? -EINVAL
                     : client_seek(client, file_of(info), (uint64_t)offset, whence == SEEK_HOLE, &found);
    if (status < 0)
        reply_status(request, status);
    else
        fuse_reply_lseek(request, (off_t)found);
}

static void control(fuse_req_t request, fuse_ino_t node, unsigned command, void *argument,
                    struct fuse_file_info *info, unsigned flags, const void *in, size_t in_size,
                    size_t out_size)
{
    (void)node;
    (void)command;
    (void)argument;
    (void)info;
    (void)flags;
    (void)in;
    (void)in_size;
    (void)out_size;
    reply_status(request, -ENOTTY);
}

void files_operations(struct fuse_lowlevel_ops *operations)
{
    operations->open = open_file;
    operations->create = create_file;
    operations->read = read_file;
    operations->write = write_file;
    operations->flush = flush_file;
    operations->release = release_file;
    operations->fsync = sync_file;
    operations->fallocate = allocate;
    operations->lseek = seek;
    operations->copy_file_range = copy;
    operations->ioctl = control;
}

/* The reference of the FUSE rows.
 *
 * One directory, a table of files, each with memory of its full size that is touched when it is made. A write
 * is copied once, from the request into the file; a read is answered from the file's memory, which the kernel
 * copies from. As in a strict mount of BenchFS nothing is kept by the kernel: direct I/O, and names and
 * attributes valid for no time. The same capabilities are asked for, and requests of the same size. One
 * thread serves, which a single caller cannot keep busy; as ours it watches the device for a while before it
 * sleeps there, since otherwise a request takes 7 or 40 us by where the scheduler puts server and caller. */
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

#define FILES 8u
#define FILE_MAX (UINT64_C(64) << 20)
#define TRANSFER_MAX (UINT32_C(1) << 20)
#define NAME_SIZE 64u
#define WATCH_NS (50 * NSEC_PER_USEC)

struct file {
    char name[NAME_SIZE]; /* "": none */
    uint64_t size;
    char *bytes;
};

static struct file files[FILES]; /* inode number - 2 */

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

static struct file *file_of(fuse_ino_t inode)
{
    return inode >= 2 && inode < 2 + FILES && files[inode - 2].bytes != NULL ? &files[inode - 2] : NULL;
}

static bool attributes(fuse_ino_t inode, struct stat *result)
{
    const struct file *file = file_of(inode);
    if (file == NULL && inode != FUSE_ROOT_ID)
        return false;
    *result = (struct stat){.st_ino = inode,
                            .st_mode = file == NULL ? S_IFDIR | 0755 : S_IFREG | 0644,
                            .st_nlink = file == NULL ? 2 : 1,
                            .st_uid = getuid(),
                            .st_gid = getgid(),
                            .st_size = file == NULL ? 0 : (off_t)file->size,
                            .st_blksize = 4096};
    return true;
}

static struct fuse_entry_param entry_of(const struct file *file)
{
    struct fuse_entry_param entry = {.ino = (fuse_ino_t)(file - files) + 2};
    attributes(entry.ino, &entry.attr);
    return entry;
}

static struct file *file_named(const char *name)
{
    for (unsigned i = 0; i < FILES; i++) {
        if (files[i].bytes != NULL && strcmp(files[i].name, name) == 0)
            return &files[i];
    }
    return NULL;
}

static void lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    const struct file *file = file_named(name);
    if (parent != FUSE_ROOT_ID || file == NULL) {
        fuse_reply_err(request, ENOENT);
        return;
    }
    struct fuse_entry_param entry = entry_of(file);
    fuse_reply_entry(request, &entry);
}

static void getattr(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
    struct stat found;
    (void)info;
    if (attributes(inode, &found))
        fuse_reply_attr(request, &found, 0);
    else
        fuse_reply_err(request, ENOENT);
}

static void open_file(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
    info->direct_io = 1;
    if (file_of(inode) == NULL)
        fuse_reply_err(request, ENOENT);
    else
        fuse_reply_open(request, info);
}

static int file_make(struct file *file, const char *name)
{
    if (strlen(name) >= NAME_SIZE)
        return -ENAMETOOLONG;
    file->bytes = mmap(NULL, FILE_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (file->bytes == MAP_FAILED) {
        file->bytes = NULL;
        return -ENOMEM;
    }
    madvise(file->bytes, FILE_MAX, MADV_HUGEPAGE);
    memset(file->bytes, 0, FILE_MAX);
    strcpy(file->name, name);
    file->size = 0;
    return 0;
}

static void create(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode,
                   struct fuse_file_info *info)
{
    (void)mode;
    struct file *file = file_named(name);
    int status = parent == FUSE_ROOT_ID ? 0 : -ENOENT;
    for (unsigned i = 0; i < FILES && file == NULL && status == 0; i++) {
        if (files[i].bytes != NULL)
            continue;
        status = file_make(&files[i], name);
        file = &files[i];
    }
    if (file == NULL || status < 0) {
        fuse_reply_err(request, status < 0 ? -status : ENOSPC);
        return;
    }
    info->direct_io = 1;
    struct fuse_entry_param entry = entry_of(file);
    fuse_reply_create(request, &entry, info);
}

static void read_file(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                      struct fuse_file_info *info)
{
    const struct file *file = file_of(inode);
    (void)info;
    if (file == NULL) {
        fuse_reply_err(request, ENOENT);
        return;
    }
    uint64_t start = (uint64_t)offset < file->size ? (uint64_t)offset : file->size;
    uint64_t length = size < file->size - start ? size : file->size - start;
    fuse_reply_buf(request, file->bytes + start, length);
}

static void write_file(fuse_req_t request, fuse_ino_t inode, const char *bytes, size_t size, off_t offset,
                       struct fuse_file_info *info)
{
    struct file *file = file_of(inode);
    (void)info;
    if (file == NULL || (uint64_t)offset > FILE_MAX || size > FILE_MAX - (uint64_t)offset) {
        fuse_reply_err(request, file == NULL ? ENOENT : EFBIG);
        return;
    }
    memcpy(file->bytes + offset, bytes, size);
    if (file->size < (uint64_t)offset + size)
        file->size = (uint64_t)offset + size;
    fuse_reply_write(request, size);
}

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
                                                        .getattr = getattr,
                                                        .open = open_file,
                                                        .create = create,
                                                        .read = read_file,
                                                        .write = write_file};
    char *arguments[] = {(char[]){"reference"}, (char[]){"-o"},
                         (char[]){"fsname=reference,subtype=reference"}, NULL};
    struct fuse_args list = FUSE_ARGS_INIT(3, arguments);
    struct fuse_session *session = fuse_session_new(&list, &operations, sizeof(operations), NULL);
    if (session == NULL)
        return -EINVAL;
    int status = -EIO;
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

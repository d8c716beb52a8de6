/* The real disk: a directory.
 *
 * Transfers go one of two ways. Direct ones, and all synchronisation, reservation and punching of holes,
 * which may take as long as the device likes, go through io_uring: the loop goes on meanwhile, and what one
 * turn started enters the kernel in one system call, unless somebody is about to compute (disk_push). Memory
 * that disk_remember has registered and files that are often used spare the kernel the look-up of pages and
 * of descriptors. Transfers through the page cache are plain system calls inside disk_start, since there
 * io_uring costs more than the copy. Measured with 4 KiB: ext4 takes 90,000 buffered writes a second by
 * pwrite and 7,000 by io_uring, which hands each to a thread; tmpfs 500,000 and 200,000. A buffered read of
 * what the cache does not hold would wait for the device, so it is asked not to (RWF_NOWAIT), and the rest
 * goes through io_uring. A task that finds every transfer done at once would never let go of the loop; so
 * after AT_ONCE_MAX bytes in a turn the answer comes with the next.
 *
 * Transfers that the kernel leaves short are continued where they stopped, one element of the vector at a
 * time.
 *
 * DISK_DIRECT is a wish. tmpfs has no device under its cache, so its files are never direct; other file
 * systems refuse O_DIRECT when the file is opened or, some, with the first transfer (-EINVAL, though disk.c
 * has checked its alignment). Then the file goes on through the page cache.
 *
 * Without io_uring (uring.c has logged why) everything is done by plain system calls: the loop then stands
 * still while the device works. */
#include "runtime/disk_operations.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

enum {
    DEPTH_DEFAULT = 128,
    BUFFER_SLOTS = 64,
    FILE_SLOTS = 512,
    FILE_USES = 8, /* transfers after which a file is registered */
};

#define BUFFER_MAX (1ul << 30)   /* in one slot: the kernel's limit */
#define AT_ONCE_MAX (4ull << 20) /* see above */
/* A device answers up to so much, and a synchronisation, about so soon: worth polling for. */
#define QUICK_BYTES (64u << 10)
#define QUICK_NS UINT64_C(100000)
#define PUNCH_AT_ONCE_MAX (4ul << 20) /* on tmpfs */

/* Registered memory. A slot of length 0 is free. */
struct buffer {
    char *start;
    size_t length;
    void *owner; /* as it was given to disk_remember, which may take several slots */
};

struct local_disk {
    struct disk disk;
    int directory;
    int lock;
    bool memory;         /* tmpfs: nothing ever waits for a device */
    struct uring *uring; /* NULL: there is none */

    struct buffer buffers[BUFFER_SLOTS];
    uint32_t buffer_count; /* slots used or free below this one */
    bool buffers_ready;    /* the kernel has the table */

    int32_t free_slots[FILE_SLOTS]; /* of the table of files */
    uint32_t free_count;
};

struct local_file {
    struct disk_file file;
    int fd;
    int32_t slot; /* in the table of registered files, -1: none */
    uint32_t uses;
};

static struct local_disk *local_disk(struct disk *disk)
{
    return container_of(disk, struct local_disk, disk);
}

static struct local_file *local_file(struct disk_file *file)
{
    return container_of(file, struct local_file, file);
}

/* ---- registered memory ---- */

static int buffer_register(struct local_disk *disk, uint32_t slot, void *start, size_t length, void *owner)
{
    struct iovec vector = {start, length};
    int status = io_uring_register_buffers_update_tag(uring_ring(disk->uring), slot, &vector, NULL, 1);
    if (status < 0)
        return status;
    disk->buffers[slot] = (struct buffer){start, length, owner};
    if (slot >= disk->buffer_count)
        disk->buffer_count = slot + 1;
    return 0;
}

static void local_forget(struct disk *common, void *memory)
{
    struct local_disk *disk = local_disk(common);
    for (uint32_t i = 0; i < disk->buffer_count; i++) {
        if (disk->buffers[i].length == 0 || disk->buffers[i].owner != memory)
            continue;
        buffer_register(disk, i, NULL, 0, NULL);
        disk->buffers[i].length = 0;
    }
}

static int local_remember(struct disk *common, void *memory, size_t length)
{
    struct local_disk *disk = local_disk(common);
    if (disk->uring == NULL || disk->memory)
        return 0; /* nothing to gain */
    if (!disk->buffers_ready) {
        int status = io_uring_register_buffers_sparse(uring_ring(disk->uring), BUFFER_SLOTS);
        if (status < 0)
            return status;
        disk->buffers_ready = true;
    }
    char *start = memory;
    for (uint32_t slot = 0; length > 0; slot++) {
        size_t part = length < BUFFER_MAX ? length : BUFFER_MAX;
        int status = -ENOSPC;
        if (slot < BUFFER_SLOTS && disk->buffers[slot].length != 0)
            continue;
        if (slot < BUFFER_SLOTS)
            status = buffer_register(disk, slot, start, part, memory);
        if (status != 0) {
            local_forget(common, memory);
            return status;
        }
        start += part;
        length -= part;
    }
    return 0;
}

/* The slot in which the memory wholly lies, or -1. */
static int buffer_slot(const struct local_disk *disk, const char *start, size_t length)
{
    for (uint32_t i = 0; i < disk->buffer_count; i++) {
        const struct buffer *buffer = &disk->buffers[i];
        size_t at = (size_t)(start - buffer->start);
        if (at < buffer->length && length <= buffer->length - at)
            return (int)i;
    }
    return -1;
}

/* ---- registered files ---- */

static void file_slots_create(struct local_disk *disk)
{
    if (io_uring_register_files_sparse(uring_ring(disk->uring), FILE_SLOTS) < 0)
        return; /* files are then looked up each time */
    for (int32_t i = 0; i < FILE_SLOTS; i++)
        disk->free_slots[disk->free_count++] = i;
}

static void file_register(struct local_disk *disk, struct local_file *file)
{
    if (disk->free_count == 0)
        return;
    int32_t slot = disk->free_slots[disk->free_count - 1];
    if (io_uring_register_files_update(uring_ring(disk->uring), (unsigned)slot, &file->fd, 1) < 0)
        return;
    disk->free_count--;
    file->slot = slot;
}

static void file_unregister(struct local_disk *disk, struct local_file *file)
{
    if (file->slot < 0)
        return;
    int none = -1;
    io_uring_register_files_update(uring_ring(disk->uring), (unsigned)file->slot, &none, 1);
    disk->free_slots[disk->free_count++] = file->slot;
}

/* ---- transfers ---- */

/* What is to be told of a transfer that has ended so. */
static int transfer_result(struct disk_io *io, int status)
{
    const struct disk_transfer *transfer = disk_transfer(io);
    return status < 0 ? status : transfer->cut ? -EIO : (int)transfer->done;
}

/* What is left of the transfer, as a vector of at most DISK_VECTOR_MAX elements. Returns their number. */
static int transfer_rest(struct disk_io *io, struct iovec rest[DISK_VECTOR_MAX])
{
    const struct disk_transfer *transfer = disk_transfer(io);
    size_t skip = transfer->done;
    size_t left = transfer->length - transfer->done;
    int count = 0;
    for (uint32_t i = 0; left > 0; i++) {
        size_t length = io->vector[i].iov_len;
        if (skip >= length) {
            skip -= length;
            continue;
        }
        length = length - skip < left ? length - skip : left;
        rest[count++] = (struct iovec){(char *)io->vector[i].iov_base + skip, length};
        left -= length;
        skip = 0;
    }
    return count;
}

/* The file system takes no direct transfers: this file goes on through the page cache. */
static bool file_fall_back(struct local_file *file)
{
    int flags = fcntl(file->fd, F_GETFL);
    if (flags < 0 || fcntl(file->fd, F_SETFL, flags & ~O_DIRECT) != 0)
        return false;
    file->file.direct = false;
    return true;
}

/* Returns whether there is more to transfer; otherwise *result is what is to be told. */
static bool transfer_goes_on(struct disk_io *io, int *result)
{
    struct disk_transfer *transfer = disk_transfer(io);
    struct local_file *file = local_file(io->file);
    if (*result == -EAGAIN || *result == -EINTR)
        return true;
    if (*result == -EINVAL && transfer->direct && io->call != DISK_SYNC)
        return !file->file.direct || file_fall_back(file);
    if (*result < 0 || io->call == DISK_SYNC)
        return false;
    uint32_t bytes = (uint32_t)*result;
    if (io->call == DISK_READ && transfer->direct && bytes % DISK_ALIGNMENT != 0) {
        transfer->done += bytes; /* the end of the file */
        return false;
    }
    if (io->call == DISK_WRITE && transfer->direct)
        bytes -= bytes % DISK_ALIGNMENT;
    transfer->done += bytes;
    if (bytes == 0 && io->call == DISK_WRITE)
        *result = -EIO;
    return bytes != 0 && transfer->done < transfer->length;
}

/* Transfers by plain system calls. flags: 0, or RWF_NOWAIT: then -EAGAIN says that the rest would block. */
static int transfer_now(struct disk_io *io, int flags)
{
    struct disk_transfer *transfer = disk_transfer(io);
    int fd = local_file(io->file)->fd;
    int result;
    do {
        struct iovec rest[DISK_VECTOR_MAX];
        int count = transfer_rest(io, rest);
        off_t offset = (off_t)(io->offset + transfer->done);
        transfer->direct = io->file->direct;
        result = (int)(io->call == DISK_READ ? preadv2(fd, rest, count, offset, flags)
                                             : pwritev2(fd, rest, count, offset, flags));
        if (result < 0)
            result = -errno;
        if (result == -EAGAIN && flags != 0)
            return result;
    } while (transfer_goes_on(io, &result));
    return result;
}

static int sync_now(struct disk_io *io)
{
    int status;
    do {
        status = fdatasync(local_file(io->file)->fd) == 0 ? 0 : -errno;
    } while (status == -EINTR);
    return status;
}

static void transfer_end_now(struct disk_io *io, int status)
{
    struct disk *disk = io->file->disk;
    disk->at_once += disk_transfer(io)->done;
    disk_answer(io, transfer_result(io, status), disk->at_once > AT_ONCE_MAX);
}

static void transfer_prepare(struct uring_request *request, struct io_uring_sqe *entry)
{
    struct disk_transfer *transfer = container_of(request, struct disk_transfer, request);
    struct disk_io *io = disk_transfer_io(transfer);
    struct local_file *file = local_file(io->file);
    int fd = file->slot >= 0 ? file->slot : file->fd;
    uint64_t offset = io->offset + transfer->done;
    transfer->direct = io->file->direct;
    if (io->call == DISK_SYNC) {
        io_uring_prep_fsync(entry, fd, IORING_FSYNC_DATASYNC);
    } else if (io->count > 1 && transfer->done == 0 && !transfer->cut) {
        if (io->call == DISK_READ)
            io_uring_prep_readv(entry, fd, io->vector, io->count, offset);
        else
            io_uring_prep_writev(entry, fd, io->vector, io->count, offset);
    } else {
        struct iovec rest[DISK_VECTOR_MAX];
        transfer_rest(io, rest);
        void *bytes = rest[0].iov_base;
        unsigned length = (unsigned)rest[0].iov_len;
        int slot = buffer_slot(local_disk(io->file->disk), bytes, length);
        if (io->call == DISK_READ && slot >= 0)
            io_uring_prep_read_fixed(entry, fd, bytes, length, offset, slot);
        else if (io->call == DISK_READ)
            io_uring_prep_read(entry, fd, bytes, length, offset);
        else if (slot >= 0)
            io_uring_prep_write_fixed(entry, fd, bytes, length, offset, slot);
        else
            io_uring_prep_write(entry, fd, bytes, length, offset);
    }
    if (file->slot >= 0)
        entry->flags |= IOSQE_FIXED_FILE;
}

static void transfer_told(struct completion *completion);

static void transfer_queue(struct disk_io *io)
{
    struct disk_transfer *transfer = disk_transfer(io);
    transfer->request.prepare = transfer_prepare;
    transfer->request.done = (struct completion){.notify = transfer_told};
    uring_start(local_disk(io->file->disk)->uring, &transfer->request);
}

static void transfer_told(struct completion *completion)
{
    struct uring_request *request = container_of(completion, struct uring_request, done);
    struct disk_io *io = disk_transfer_io(container_of(request, struct disk_transfer, request));
    int result = completion->status;
    if (transfer_goes_on(io, &result)) {
        transfer_queue(io);
        return;
    }
    result = transfer_result(io, result);
    disk_record(io, result);
    completion_fire(&io->done, result);
}

static void local_start(struct disk_io *io)
{
    struct local_disk *disk = local_disk(io->file->disk);
    struct local_file *file = local_file(io->file);
    if (disk->uring == NULL || disk->memory) {
        transfer_end_now(io, io->call == DISK_SYNC ? sync_now(io) : transfer_now(io, 0));
        return;
    }
    if (io->call == DISK_WRITE && !file->file.direct) {
        transfer_end_now(io, transfer_now(io, 0));
        return;
    }
    if (io->call == DISK_READ && !file->file.direct) {
        int status = transfer_now(io, RWF_NOWAIT);
        if (status != -EAGAIN && status != -EOPNOTSUPP) {
            transfer_end_now(io, status);
            return;
        }
    }
    if (++file->uses == FILE_USES)
        file_register(disk, file);
    if (io->call == DISK_SYNC || disk_transfer(io)->length <= QUICK_BYTES)
        loop_expect(disk->disk.loop, QUICK_NS);
    transfer_queue(io);
}

static void local_push(struct disk *disk)
{
    if (local_disk(disk)->uring != NULL)
        uring_push(local_disk(disk)->uring);
}

/* ---- files ---- */

static int open_in(struct local_disk *disk, const char *name, unsigned flags, bool *direct)
{
    int mode = O_CLOEXEC | ((flags & DISK_READ_ONLY) != 0 ? O_RDONLY : O_RDWR);
    if ((flags & DISK_CREATE) != 0)
        mode |= (flags & DISK_EXCLUSIVE) != 0 ? O_CREAT | O_EXCL : O_CREAT;
    *direct = (flags & DISK_DIRECT) != 0 && !disk->memory;
    if (*direct) {
        int fd = openat(disk->directory, name, mode | O_DIRECT, 0600);
        if (fd >= 0 || errno != EINVAL)
            return fd;
        /* Refused after the file was made. */
        *direct = false;
        mode &= ~O_EXCL;
    }
    return openat(disk->directory, name, mode, 0600);
}

static int local_file_open(struct disk *common, const char *name, unsigned flags, struct disk_file **opened)
{
    bool direct;
    int fd = open_in(local_disk(common), name, flags, &direct);
    if (fd < 0)
        return -errno;
    struct stat stat;
    int status = fstat(fd, &stat) != 0 ? -errno : S_ISDIR(stat.st_mode) ? -EISDIR : 0;
    struct local_file *file = status == 0 ? calloc(1, sizeof(*file)) : NULL;
    if (file == NULL) {
        close(fd);
        return status != 0 ? status : -ENOMEM;
    }
    disk_file_init(&file->file, common, name, flags);
    file->file.direct = direct;
    file->fd = fd;
    file->slot = -1;
    *opened = &file->file;
    return 0;
}

static void local_file_close(struct disk_file *common)
{
    struct local_file *file = local_file(common);
    file_unregister(local_disk(common->disk), file);
    close(file->fd);
    free(file);
}

static int local_file_size(struct disk_file *file, uint64_t *size)
{
    struct stat stat;
    if (fstat(local_file(file)->fd, &stat) != 0)
        return -errno;
    *size = (uint64_t)stat.st_size;
    return 0;
}

static int local_file_time(struct disk_file *file, int64_t *time)
{
    struct stat stat;
    if (fstat(local_file(file)->fd, &stat) != 0)
        return -errno;
    *time = (int64_t)stat.st_mtim.tv_sec * 1000000000 + stat.st_mtim.tv_nsec;
    return 0;
}

static int local_file_truncate(struct disk_file *file, uint64_t size)
{
    int status;
    do {
        status = ftruncate(local_file(file)->fd, (off_t)size) == 0 ? 0 : -errno;
    } while (status == -EINTR);
    return status;
}

/* A call of a task that is no transfer. */
struct local_call {
    struct uring_request request;
    int fd;
    bool sync; /* else fallocate: */
    int mode;
    uint64_t offset;
    uint64_t length;
};

static void call_prepare(struct uring_request *request, struct io_uring_sqe *entry)
{
    const struct local_call *call = container_of(request, struct local_call, request);
    if (call->sync)
        io_uring_prep_fsync(entry, call->fd, 0);
    else
        io_uring_prep_fallocate(entry, call->fd, call->mode, (off_t)call->offset, (off_t)call->length);
}

static int call_now(const struct local_call *call)
{
    int status = call->sync ? fsync(call->fd)
                            : fallocate(call->fd, call->mode, (off_t)call->offset, (off_t)call->length);
    return status == 0 ? 0 : -errno;
}

static int call_execute(struct local_disk *disk, struct local_call *call, bool now)
{
    int status;
    do {
        if (disk->uring == NULL || now) {
            status = call_now(call);
        } else {
            call->request = (struct uring_request){.prepare = call_prepare};
            uring_start(disk->uring, &call->request);
            status = disk_await(disk->disk.loop, &call->request.done);
        }
    } while (status == -EINTR || status == -EAGAIN);
    return status;
}

static int local_file_allocate(struct disk_file *file, uint64_t offset, uint64_t length)
{
    struct local_call call = {.fd = local_file(file)->fd, .offset = offset, .length = length};
    int status = call_execute(local_disk(file->disk), &call, false);
    if (status != -EOPNOTSUPP)
        return status;
    uint64_t size = 0;
    status = local_file_size(file, &size);
    return status == 0 && size < offset + length ? local_file_truncate(file, offset + length) : status;
}

static int local_file_punch(struct disk_file *file, uint64_t offset, uint64_t length)
{
    struct local_disk *disk = local_disk(file->disk);
    struct local_call call = {.fd = local_file(file)->fd,
                              .mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                              .offset = offset,
                              .length = length};
    return call_execute(disk, &call, disk->memory && length <= PUNCH_AT_ONCE_MAX);
}

/* ---- names ---- */

static int local_make_directory(struct disk *disk, const char *name)
{
    return mkdirat(local_disk(disk)->directory, name, 0700) == 0 ? 0 : -errno;
}

static int local_unlink(struct disk *disk, const char *name)
{
    int directory = local_disk(disk)->directory;
    if (unlinkat(directory, name, 0) == 0)
        return 0;
    if (errno != EISDIR)
        return -errno;
    if (unlinkat(directory, name, AT_REMOVEDIR) == 0)
        return 0;
    return errno == EEXIST ? -ENOTEMPTY : -errno;
}

static int local_rename(struct disk *disk, const char *from, const char *to)
{
    int directory = local_disk(disk)->directory;
    return renameat(directory, from, directory, to) == 0 ? 0 : -errno;
}

static int open_directory(struct disk *disk, const char *name)
{
    int fd =
        openat(local_disk(disk)->directory, *name == '\0' ? "." : name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 ? fd : -errno;
}

static int local_sync_names(struct disk *common, const char *directory)
{
    struct local_disk *disk = local_disk(common);
    struct local_call call = {.fd = open_directory(common, directory), .sync = true};
    if (call.fd < 0)
        return call.fd;
    int status = call_execute(disk, &call, disk->memory);
    close(call.fd);
    return status;
}

static int local_sync_all(struct disk *disk)
{
    return syncfs(local_disk(disk)->directory) == 0 ? 0 : -errno;
}

static bool entry_is_directory(int directory, const struct dirent *entry)
{
    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type == DT_DIR;
    struct stat stat;
    return fstatat(directory, entry->d_name, &stat, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(stat.st_mode);
}

static int local_list(struct disk *disk, const char *directory,
                      int (*visit)(void *owner, const char *name, bool is_directory), void *owner)
{
    int fd = open_directory(disk, directory);
    if (fd < 0)
        return fd;
    DIR *stream = fdopendir(fd);
    if (stream == NULL) {
        int status = -errno;
        close(fd);
        return status;
    }
    int status = 0;
    while (status == 0) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (entry == NULL) {
            status = -errno;
            break;
        }
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
            (*directory == '\0' && strcmp(name, "lock") == 0))
            continue;
        status = visit(owner, name, entry_is_directory(fd, entry));
    }
    closedir(stream);
    return status;
}

static int local_space(struct disk *disk, uint64_t *available, uint64_t *total)
{
    struct statvfs space;
    if (fstatvfs(local_disk(disk)->directory, &space) != 0)
        return -errno;
    *available = (uint64_t)space.f_bavail * space.f_frsize;
    *total = (uint64_t)space.f_blocks * space.f_frsize;
    return 0;
}

/* ---- the disk ---- */

/* Makes the directory and its name last. */
static int directory_make(const char *path)
{
    if (mkdir(path, 0700) != 0)
        return errno == EEXIST ? 0 : -errno;
    char *parent = NULL;
    if (asprintf(&parent, "%s/..", path) < 0)
        return -ENOMEM;
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(parent);
    if (fd < 0)
        return -errno;
    int status = fsync(fd) == 0 ? 0 : -errno;
    close(fd);
    return status;
}

/* Shares the lock with others that only read. A directory without one is nobody's. */
static int directory_lock_shared(struct local_disk *disk)
{
    int fd = openat(disk->directory, "lock", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    if (flock(fd, LOCK_SH | LOCK_NB) != 0) {
        int status = errno == EWOULDBLOCK ? -EBUSY : -errno;
        close(fd);
        return status;
    }
    disk->lock = fd;
    return 0;
}

/* Takes the lock, which ends with the process. */
static int directory_lock(struct local_disk *disk)
{
    int fd = openat(disk->directory, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int status = errno == EWOULDBLOCK ? -EBUSY : -errno;
        close(fd);
        return status;
    }
    char host[64] = "";
    gethostname(host, sizeof(host) - 1);
    char holder[DISK_HOLDER_MAX];
    int length = snprintf(holder, sizeof(holder), "process %d on %s", (int)getpid(), host);
    /* On a full device the holder stays unknown, but the lock holds. */
    if (ftruncate(fd, 0) != 0 || pwrite(fd, holder, (size_t)length, 0) != length)
        (void)!ftruncate(fd, 0);
    disk->lock = fd;
    return 0;
}

void disk_lock_holder(const char *path, char holder[DISK_HOLDER_MAX])
{
    strcpy(holder, "another process");
    char *name = NULL;
    if (asprintf(&name, "%s/lock", path) < 0)
        return;
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    free(name);
    if (fd < 0)
        return;
    char text[DISK_HOLDER_MAX] = "";
    ssize_t length = read(fd, text, sizeof(text) - 1);
    close(fd);
    for (ssize_t i = 0; i < length; i++) {
        if (text[i] < ' ' || text[i] > '~')
            return;
    }
    if (length > 0)
        strcpy(holder, text);
}

static void local_close(struct disk *common)
{
    struct local_disk *disk = local_disk(common);
    if (disk->uring != NULL)
        uring_destroy(disk->uring);
    if (disk->lock >= 0)
        close(disk->lock);
    close(disk->directory);
    disk_exit(common);
    free(disk);
}

static const struct disk_operations local_operations = {
    .close = local_close,
    .remember = local_remember,
    .forget = local_forget,
    .file_open = local_file_open,
    .file_close = local_file_close,
    .file_size = local_file_size,
    .file_time = local_file_time,
    .file_truncate = local_file_truncate,
    .file_allocate = local_file_allocate,
    .file_punch = local_file_punch,
    .start = local_start,
    .push = local_push,
    .make_directory = local_make_directory,
    .unlink = local_unlink,
    .rename = local_rename,
    .sync_names = local_sync_names,
    .sync_all = local_sync_all,
    .list = local_list,
    .space = local_space,
};

static int directory_open(struct local_disk *disk, const char *path, bool read_only)
{
    int status = read_only ? 0 : directory_make(path);
    if (status != 0)
        return status;
    disk->directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (disk->directory < 0)
        return -errno;
    struct statfs stat;
    disk->memory =
        fstatfs(disk->directory, &stat) == 0 && (stat.f_type == TMPFS_MAGIC || stat.f_type == RAMFS_MAGIC);
    disk->lock = -1;
    status = read_only ? directory_lock_shared(disk) : directory_lock(disk);
    if (status != 0)
        close(disk->directory);
    return status;
}

int disk_open(struct loop *loop, const char *path, const struct disk_options *options, struct disk **opened)
{
    struct local_disk *disk = calloc(1, sizeof(*disk));
    if (disk == NULL)
        return -ENOMEM;
    int status = directory_open(disk, path, options->read_only);
    if (status != 0)
        goto free_disk;
    status = uring_create(loop, options->depth != 0 ? options->depth : DEPTH_DEFAULT, &disk->uring);
    if (status != 0 && status != -ENOSYS)
        goto close_directory;
    if (disk->uring != NULL)
        file_slots_create(disk);
    disk->disk.read_only = options->read_only;
    status = disk_init(&disk->disk, loop, &local_operations, path);
    if (status != 0)
        goto destroy_uring;
    *opened = &disk->disk;
    return 0;

destroy_uring:
    if (disk->uring != NULL)
        uring_destroy(disk->uring);
close_directory:
    if (disk->lock >= 0)
        close(disk->lock);
    close(disk->directory);
free_disk:
    free(disk);
    return status;
}

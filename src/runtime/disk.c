/* Disks: what is the same on every one.
 *
 * A disk is a table of operations (disk_operations.h) behind the calls of disk.h. Here each call is checked
 * (names that leave the directory, transfers that a direct file cannot do, changes on a disk that is only
 * read), offered to the fault that a test has set, and passed on. So an implementation sees sound calls only,
 * and faults look the same on all of them.
 *
 * How a transfer is told. Its completion fires with the result. What was over at once (it failed a check, or
 * the page cache took it) fires inside disk_start, and the task that then waits for it does not suspend. A
 * notified completion would surprise its owner there; it waits in `answered` for the disk's reactor, whose
 * poll tells of it with the next turn. */
#include "runtime/disk_operations.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "runtime/task.h"

/* ---- answers ---- */

static int answers_poll(struct reactor *reactor)
{
    struct disk *disk = container_of(reactor, struct disk, answers);
    disk->at_once = 0;
    if (list_empty(&disk->answered))
        return 0;
    /* Those that are answered meanwhile wait for the next turn. */
    struct list *last = disk->answered.prev;
    int count = 0;
    for (struct list *link = NULL; link != last; count++) {
        link = list_pop_front(&disk->answered);
        struct disk_transfer *transfer = container_of(link, struct disk_transfer, request.link);
        completion_fire(&disk_transfer_io(transfer)->done, transfer->request.done.status);
    }
    return count;
}

static int answers_arm(struct reactor *reactor)
{
    return list_empty(&container_of(reactor, struct disk, answers)->answered) ? 0 : -EBUSY;
}

void disk_record(const struct disk_io *io, int status)
{
    if (io->file->disk->discards)
        return; /* the disk below has */
    struct loop *loop = io->file->disk->loop;
    struct metrics_entry entry = {
        .started = io->started,
        .correlation = io->tag,
        .total_ns = metrics_clip(loop_now(loop) - io->started),
        .bytes = status > 0 ? (uint32_t)status : 0,
        .operation = (uint8_t)(METRICS_DISK_READ + io->call),
        .kind = METRICS_DISK,
        .status = (int16_t)(status < 0 ? status : 0),
    };
    metrics_record(loop_metrics(loop), &entry);
}

void disk_answer(struct disk_io *io, int status, bool later)
{
    struct disk_transfer *transfer = disk_transfer(io);
    disk_record(io, status);
    if (!later && io->done.notify == NULL) {
        completion_fire(&io->done, status);
        return;
    }
    transfer->request.done.status = status;
    list_push_back(&io->file->disk->answered, &transfer->request.link);
}

int disk_await(struct loop *loop, struct completion *done)
{
    bool cancelled = false;
    while (!done->fired) {
        int status = await(loop, done);
        if (done->fired)
            break;
        if (status != -ECANCELED)
            return status; /* -EDEADLK, outside any task */
        cancelled = true;
    }
    if (cancelled)
        task_cancel(task_current());
    return done->status;
}

/* ---- making and ending ---- */

int disk_init(struct disk *disk, struct loop *loop, const struct disk_operations *operations,
              const char *path)
{
    disk->operations = operations;
    disk->loop = loop;
    list_init(&disk->answered);
    disk->path = strdup(path);
    if (disk->path == NULL)
        return -ENOMEM;
    disk->answers = (struct reactor){.name = "disk", .poll = answers_poll, .arm = answers_arm, .fd = -1};
    int status = loop_reactor_add(loop, &disk->answers);
    if (status != 0)
        free(disk->path);
    return status;
}

void disk_exit(struct disk *disk)
{
    loop_reactor_remove(disk->loop, &disk->answers);
    free(disk->path);
}

void disk_close(struct disk *disk)
{
    assert(disk->files == 0 && list_empty(&disk->answered));
    disk->operations->close(disk);
}

const char *disk_path(const struct disk *disk)
{
    return disk->path;
}

int disk_remember(struct disk *disk, void *memory, size_t length)
{
    return disk->operations->remember(disk, memory, length);
}

bool disk_discards(const struct disk *disk)
{
    return disk->discards;
}

void disk_forget(struct disk *disk, void *memory)
{
    disk->operations->forget(disk, memory);
}

/* ---- checks ---- */

void disk_set_fault(struct disk *disk, disk_fault fault, void *owner)
{
    disk->fault = fault;
    disk->fault_owner = owner;
}

static int ask(struct disk *disk, const char *what, const char *name)
{
    size_t length = 0;
    return disk->fault == NULL ? 0 : disk->fault(disk->fault_owner, what, name, 0, &length);
}

static int ask_file(struct disk_file *file, const char *what, uint64_t offset, size_t length)
{
    struct disk *disk = file->disk;
    return disk->fault == NULL ? 0 : disk->fault(disk->fault_owner, what, file->name, offset, &length);
}

static int check_name(const char *name)
{
    size_t length = strlen(name);
    if (length > DISK_NAME_MAX)
        return -ENAMETOOLONG;
    if (strcmp(name, "lock") == 0)
        return -EINVAL;
    for (const char *part = name;;) {
        size_t size = strcspn(part, "/");
        if (size == 0 || (size <= 2 && strspn(part, ".") >= size))
            return -EINVAL;
        if (part[size] == '\0')
            return 0;
        part += size + 1;
    }
}

static int check_directory(const char *name)
{
    return *name == '\0' ? 0 : check_name(name);
}

static int check_change(struct disk *disk, const char *what, const char *name)
{
    int status = check_name(name);
    if (status == 0 && disk->read_only)
        status = -EROFS;
    return status != 0 ? status : ask(disk, what, name);
}

static bool same_directory(const char *left, const char *right)
{
    const char *slash = strrchr(left, '/');
    const char *other = strrchr(right, '/');
    size_t length = slash == NULL ? 0 : (size_t)(slash - left);
    return (slash == NULL) == (other == NULL) &&
           (slash == NULL || ((size_t)(other - right) == length && memcmp(left, right, length) == 0));
}

/* ---- files ---- */

void disk_file_init(struct disk_file *file, struct disk *disk, const char *name, unsigned flags)
{
    file->disk = disk;
    file->flags = flags;
    memcpy(file->name, name, strlen(name) + 1);
}

int disk_file_open(struct disk *disk, const char *name, unsigned flags, struct disk_file **file)
{
    int status = check_name(name);
    if (status == 0 && disk->read_only && ((flags & DISK_READ_ONLY) == 0 || (flags & DISK_CREATE) != 0))
        status = -EROFS;
    if (status == 0)
        status = ask(disk, "open", name);
    if (status == 0)
        status = disk->operations->file_open(disk, name, flags, file);
    if (status == 0)
        disk->files++;
    return status;
}

void disk_file_close(struct disk_file *file)
{
    file->disk->files--;
    file->disk->operations->file_close(file);
}

bool disk_file_is_direct(const struct disk_file *file)
{
    return file->direct;
}

int disk_file_size(struct disk_file *file, uint64_t *size)
{
    int status = ask_file(file, "size", 0, 0);
    return status != 0 ? status : file->disk->operations->file_size(file, size);
}

int disk_file_time(struct disk_file *file, int64_t *time)
{
    int status = ask_file(file, "time", 0, 0);
    return status != 0 ? status : file->disk->operations->file_time(file, time);
}

static int check_range(struct disk_file *file, const char *what, uint64_t offset, uint64_t length)
{
    if ((file->flags & DISK_READ_ONLY) != 0)
        return -EBADF;
    if (offset > INT64_MAX || length > INT64_MAX - offset)
        return -EFBIG;
    return ask_file(file, what, offset, length);
}

int disk_file_truncate(struct disk_file *file, uint64_t size)
{
    int status = check_range(file, "truncate", size, 0);
    return status != 0 ? status : file->disk->operations->file_truncate(file, size);
}

int disk_file_allocate(struct disk_file *file, uint64_t offset, uint64_t length)
{
    int status = check_range(file, "allocate", offset, length);
    return status != 0 || length == 0 ? status : file->disk->operations->file_allocate(file, offset, length);
}

int disk_file_punch(struct disk_file *file, uint64_t offset, uint64_t length)
{
    int status = check_range(file, "punch", offset, length);
    return status != 0 || length == 0 ? status : file->disk->operations->file_punch(file, offset, length);
}

bool disk_maps(const struct disk *disk)
{
    return disk->operations->file_map != NULL;
}

int disk_file_map(struct disk_file *file, uint64_t bytes, void **memory)
{
    return disk_maps(file->disk) ? file->disk->operations->file_map(file, bytes, memory) : -EOPNOTSUPP;
}

void disk_file_stored(struct disk_file *file, uint64_t offset, uint64_t length)
{
    file->disk->operations->file_stored(file, offset, length);
}

/* ---- transfers ---- */

static int check_transfer(const struct disk_io *io, uint32_t *length)
{
    const struct disk_file *file = io->file;
    *length = 0;
    if (io->call == DISK_SYNC)
        return 0;
    if (io->call == DISK_WRITE && (file->flags & DISK_READ_ONLY) != 0)
        return -EBADF;
    if (io->count > DISK_VECTOR_MAX)
        return -EINVAL;
    uintptr_t low = (uintptr_t)io->offset; /* bits below the alignment that anything has set */
    for (uint32_t i = 0; i < io->count; i++) {
        if (io->vector[i].iov_len > DISK_TRANSFER_MAX - *length)
            return -EINVAL;
        *length += (uint32_t)io->vector[i].iov_len;
        low |= (uintptr_t)io->vector[i].iov_base | io->vector[i].iov_len;
    }
    if (io->offset > INT64_MAX - DISK_TRANSFER_MAX)
        return -EFBIG;
    return file->direct && (low & (DISK_ALIGNMENT - 1)) != 0 ? -EINVAL : 0;
}

/* 0 or what the test wants to see; may shorten a write. */
static int ask_transfer(struct disk_io *io, struct disk_transfer *transfer)
{
    static const char *const names[] = {[DISK_READ] = "read", [DISK_WRITE] = "write", [DISK_SYNC] = "sync"};
    struct disk *disk = io->file->disk;
    size_t length = transfer->length;
    int status = disk->fault(disk->fault_owner, names[io->call], io->file->name, io->offset, &length);
    if (status != 0 || io->call != DISK_WRITE || length >= transfer->length)
        return status;
    transfer->cut = true;
    transfer->length = (uint32_t)(io->file->direct ? length & ~(size_t)(DISK_ALIGNMENT - 1) : length);
    return transfer->length == 0 ? -EIO : 0;
}

void disk_start(struct disk_io *io)
{
    struct disk_transfer *transfer = disk_transfer(io);
    transfer->done = 0;
    transfer->cut = false;
    io->started = loop_now(io->file->disk->loop);
    io->tag = task_tag();
    int status = check_transfer(io, &transfer->length);
    if (status == 0 && io->file->disk->fault != NULL)
        status = ask_transfer(io, transfer);
    if (status != 0 || (transfer->length == 0 && io->call != DISK_SYNC))
        disk_answer(io, status, false);
    else
        io->file->disk->operations->start(io);
}

void disk_push(struct disk *disk)
{
    if (disk->operations->push != NULL)
        disk->operations->push(disk);
}

ssize_t disk_finish(struct disk_io *io)
{
    return disk_await(io->file->disk->loop, &io->done);
}

ssize_t disk_read(struct disk_file *file, void *bytes, size_t length, uint64_t offset)
{
    struct iovec vector = {bytes, length};
    struct disk_io io = {.file = file, .call = DISK_READ, .vector = &vector, .count = 1, .offset = offset};
    disk_start(&io);
    return disk_finish(&io);
}

ssize_t disk_write(struct disk_file *file, const void *bytes, size_t length, uint64_t offset)
{
    struct iovec vector = {(void *)(uintptr_t)bytes, length};
    struct disk_io io = {.file = file, .call = DISK_WRITE, .vector = &vector, .count = 1, .offset = offset};
    disk_start(&io);
    return disk_finish(&io);
}

int disk_sync(struct disk_file *file)
{
    struct disk_io io = {.file = file, .call = DISK_SYNC};
    disk_start(&io);
    return (int)disk_finish(&io);
}

/* ---- names ---- */

int disk_make_directory(struct disk *disk, const char *name)
{
    int status = check_change(disk, "directory", name);
    return status != 0 ? status : disk->operations->make_directory(disk, name);
}

int disk_unlink(struct disk *disk, const char *name)
{
    int status = check_change(disk, "unlink", name);
    return status != 0 ? status : disk->operations->unlink(disk, name);
}

int disk_rename(struct disk *disk, const char *from, const char *to)
{
    int status = check_name(to);
    if (status == 0)
        status = check_change(disk, "rename", from);
    if (status == 0 && !same_directory(from, to))
        status = -EXDEV;
    return status != 0 ? status : disk->operations->rename(disk, from, to);
}

int disk_sync_names(struct disk *disk, const char *directory)
{
    int status = check_directory(directory);
    if (status == 0 && disk->read_only)
        status = -EROFS;
    if (status == 0)
        status = ask(disk, "names", directory);
    return status != 0 ? status : disk->operations->sync_names(disk, directory);
}

int disk_sync_all(struct disk *disk)
{
    int status = disk->read_only ? -EROFS : ask(disk, "sync", "");
    return status != 0 ? status : disk->operations->sync_all(disk);
}

int disk_list(struct disk *disk, const char *directory,
              int (*visit)(void *owner, const char *name, bool is_directory), void *owner)
{
    int status = check_directory(directory);
    if (status == 0)
        status = ask(disk, "list", directory);
    return status != 0 ? status : disk->operations->list(disk, directory, visit, owner);
}

int disk_space(struct disk *disk, uint64_t *available, uint64_t *total)
{
    int status = ask(disk, "space", "");
    return status != 0 ? status : disk->operations->space(disk, available, total);
}

/* dup and fcntl of libbenchfs. */
#include <stdarg.h>

#include "client/library.h"

/* What F_SETFL may change, as on Linux. */
#define CHANGEABLE (O_APPEND | O_ASYNC | O_DIRECT | O_NOATIME | O_NONBLOCK)
/* What only mattered while opening. */
#define PASSING (O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC)

/* ---- duplicates ---- */

static int duplicate(benchfs *fs, int fd, int least, int flags)
{
    if (least < 0 || (uint32_t)least >= FD_MAX) {
        errno = EINVAL;
        return -1;
    }
    struct open_file *file = open_file_acquire(fs, fd);
    if (file == NULL)
        return -1;
    int status = descriptor_duplicate(fs, file, least, flags);
    if (status < 0)
        open_file_release(fs, file);
    return finish(status);
}

int benchfs_dup(benchfs *fs, int fd)
{
    return duplicate(fs, fd, 0, 0);
}

static int replace(benchfs *fs, int fd, int target, int flags)
{
    if (target < FD_FIRST || (uint32_t)target >= FD_MAX) {
        errno = EBADF;
        return -1;
    }
    struct open_file *file = open_file_acquire(fs, fd);
    if (file == NULL)
        return -1;
    int status = descriptor_replace(fs, file, target, flags);
    if (status < 0)
        open_file_release(fs, file);
    return finish(status);
}

int benchfs_dup2(benchfs *fs, int fd, int target)
{
    if (fd != target)
        return replace(fs, fd, target, 0);
    struct open_file *file = open_file_acquire(fs, fd);
    if (file == NULL)
        return -1;
    open_file_release(fs, file);
    return fd;
}

int benchfs_dup3(benchfs *fs, int fd, int target, int flags)
{
    if (fd == target || (flags & ~O_CLOEXEC)) {
        errno = EINVAL;
        return -1;
    }
    return replace(fs, fd, target, flags & O_CLOEXEC ? FD_CLOEXEC : 0);
}

/* ---- fcntl ---- */

static int status_flags(const struct open_file *file)
{
    return file->file.flags & ~PASSING;
}

static int set_status_flags(struct worker *worker, struct open_file *file, int flags)
{
    int now = file->file.flags;
    if (flags & O_NOATIME & ~now) {
        int status = client_owns(worker->client, file->file.inode);
        if (status < 0)
            return status;
    }
    file->file.flags = (now & ~CHANGEABLE) | (flags & CHANGEABLE);
    return 0;
}

static int control(benchfs *fs, struct worker *worker, int fd, int command, va_list arguments)
{
    struct open_file *file = open_file_acquire(fs, fd);
    if (file == NULL)
        return -1;
    bool place = (file->file.flags & O_PATH) != 0; /* no open file: few commands apply */
    int result = place ? -EBADF : -EINVAL;
    switch (command) {
    case F_GETFD:
        result = atomic_load(&descriptor_find(fs, fd)->flags);
        break;
    case F_SETFD:
        atomic_store(&descriptor_find(fs, fd)->flags, va_arg(arguments, int) & FD_CLOEXEC);
        result = 0;
        break;
    case F_GETFL:
        result = status_flags(file);
        break;
    case F_SETFL:
        if (!place)
            result = set_status_flags(worker, file, va_arg(arguments, int));
        break;
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
        if (!place)
            result = record_lock(fs, worker, file, command, va_arg(arguments, struct flock *));
        break;
    default:
        break;
    }
    open_file_release(fs, file);
    return finish(result);
}

int benchfs_fcntl(benchfs *fs, int fd, int command, ...)
{
    va_list arguments;
    struct worker *worker = worker_get(fs);
    if (worker == NULL)
        return -1;
    va_start(arguments, command);
    int result;
    if (command == F_DUPFD || command == F_DUPFD_CLOEXEC)
        result = duplicate(fs, fd, va_arg(arguments, int), command == F_DUPFD ? 0 : FD_CLOEXEC);
    else
        result = control(fs, worker, fd, command, arguments);
    va_end(arguments);
    return result;
}

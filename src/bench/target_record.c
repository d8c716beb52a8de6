/* "record:FILE:TARGET": any other target, whose operations are added to a trace in FILE.
 *
 * Each worker has a target of its own and collects lines in a buffer; a full one is appended to the file by
 * one write, so that the lines of workers stay whole. Each begins with a line of its own that says what the
 * file is, so that it does not matter who comes first. Recording is not free: a line is formatted for each
 * operation. What the target was told by path is recorded relative to its directory. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/crew.h"
#include "bench/options.h"
#include "bench/target.h"
#include "bench/trace.h"

#define BUFFER_SIZE (UINT64_C(64) << 10)
#define FDS_BITS 20 /* of an fd in the trace; the process's number is above */

struct record_target {
    struct target target;
    struct target *inner;
    int file;
    uint64_t process;
    int failed; /* -ECANCELED: the trace cannot be written, which has been told */
    size_t used;
    char buffer[BUFFER_SIZE];
};

static struct target *inner_of(struct target *target)
{
    return ((struct record_target *)target)->inner;
}

/* Takes "FILE:TARGET" apart. Returns the target's part, NULL: there is none. */
static const char *split(const char *place, char *file, size_t size)
{
    const char *colon = strchr(place, ':');
    if (colon == NULL || colon == place || (size_t)(colon - place) >= size)
        return NULL;
    memcpy(file, place, (size_t)(colon - place));
    file[colon - place] = 0;
    return colon + 1;
}

const char *target_record_inner(const char *place)
{
    char file[512];
    return split(place, file, sizeof(file));
}

static int check(const char *place)
{
    const char *inner = target_record_inner(place);
    if (inner == NULL || strncmp(inner, target_record.scheme, strlen(target_record.scheme)) == 0) {
        bench_error(
            "option --target record: needs a file and a target, as in record:/tmp/trace:posix:/dev/shm");
        return -EINVAL;
    }
    return target_check(inner);
}

static int flush(struct record_target *record)
{
    size_t done = 0;
    while (done < record->used && record->failed == 0) {
        ssize_t count = write(record->file, record->buffer + done, record->used - done);
        if (count < 0 && errno != EINTR) {
            bench_error("cannot write the trace: %s", strerror(errno));
            record->failed = -ECANCELED;
        } else if (count > 0) {
            done += (size_t)count;
        }
    }
    record->used = 0;
    return record->failed;
}

/* Adds an operation that began at `start` and returned `result`. Returns result, or what went wrong with the
 * trace. */
static ssize_t note(struct target *target, struct trace_event event, uint64_t start, ssize_t result,
                    const char *path, const char *new_path)
{
    struct record_target *record = (struct record_target *)target;
    size_t root = strlen(target->root);
    event.time = start;
    event.process = record->process;
    event.error = result < 0 ? (int)-result : 0;
    event.fd |= record->process << FDS_BITS;
    if (record->used + TRACE_LINE_MAX > BUFFER_SIZE)
        flush(record);
    /* Within the target's directory; "/" ends some of them. */
    if (root > 0 && target->root[root - 1] == '/')
        root--;
    path = path == NULL ? NULL : path + root;
    new_path = new_path == NULL ? NULL : new_path + root;
    if ((path != NULL && strlen(path) >= TRACE_PATH_MAX) ||
        (new_path != NULL && strlen(new_path) >= TRACE_PATH_MAX)) {
        bench_error("a path is too long for a trace: %s", path);
        record->failed = -ECANCELED;
    }
    if (record->failed < 0)
        return record->failed;
    record->used += trace_format(record->buffer + record->used, &event, path, new_path);
    return result;
}

static int open_target(const char *place, struct target **target)
{
    char file[512];
    const char *inner = split(place, file, sizeof(file));
    struct record_target *record = calloc(1, sizeof(*record));
    int status = record == NULL ? -ENOMEM : target_open(inner, &record->inner);
    if (status < 0) {
        free(record);
        return status;
    }
    record->file = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (record->file < 0) {
        status = -errno;
        bench_error("cannot write the trace \"%s\": %s", file, strerror(errno));
        record->inner->operations->close(record->inner);
        free(record);
        return status;
    }
    record->target.operations = &target_record;
    memcpy(record->target.root, record->inner->root, sizeof(record->target.root));
    record->process = (uint64_t)gettid();
    record->used = trace_format_head(record->buffer);
    *target = &record->target;
    return 0;
}

static void close_target(struct target *target)
{
    struct record_target *record = (struct record_target *)target;
    flush(record);
    record->inner->operations->close(record->inner);
    close(record->file);
    free(record);
}

static int prepare(const char *place)
{
    char file[512];
    const char *inner = split(place, file, sizeof(file));
    return inner == NULL ? -EINVAL : target_prepare(inner);
}

static void release(const char *place)
{
    char file[512];
    const char *inner = split(place, file, sizeof(file));
    if (inner != NULL)
        target_release(inner);
}

static int describe(struct target *target, struct target_facts *facts)
{
    struct target *inner = inner_of(target);
    return inner->operations->describe == NULL ? 0 : inner->operations->describe(inner, facts);
}

static int file_open(struct target *target, const char *path, int flags, mode_t mode)
{
    uint64_t start = crew_now();
    int fd = inner_of(target)->operations->file_open(inner_of(target), path, flags, mode);
    struct trace_event event = {.operation = TRACE_OPEN, .flags = flags, .fd = fd < 0 ? 0 : (uint64_t)fd};
    return (int)note(target, event, start, fd, path, NULL);
}

static int file_close(struct target *target, int fd)
{
    uint64_t start = crew_now();
    int status = inner_of(target)->operations->file_close(inner_of(target), fd);
    struct trace_event event = {.operation = TRACE_CLOSE, .fd = (uint64_t)fd};
    return (int)note(target, event, start, status, NULL, NULL);
}

static ssize_t note_transfer(struct target *target, enum trace_operation operation, int fd, size_t length,
                             off_t offset, uint64_t start, ssize_t result)
{
    struct trace_event event = {.operation = operation,
                                .fd = (uint64_t)fd,
                                .offset = (uint64_t)offset,
                                .length = length,
                                .moved = result < 0 ? 0 : (uint64_t)result};
    return note(target, event, start, result, NULL, NULL);
}

static ssize_t file_read(struct target *target, int fd, void *bytes, size_t length, off_t offset)
{
    uint64_t start = crew_now();
    ssize_t result = inner_of(target)->operations->read(inner_of(target), fd, bytes, length, offset);
    return note_transfer(target, TRACE_READ, fd, length, offset, start, result);
}

static ssize_t file_write(struct target *target, int fd, const void *bytes, size_t length, off_t offset)
{
    uint64_t start = crew_now();
    ssize_t result = inner_of(target)->operations->write(inner_of(target), fd, bytes, length, offset);
    return note_transfer(target, TRACE_WRITE, fd, length, offset, start, result);
}

static int file_sync(struct target *target, int fd)
{
    uint64_t start = crew_now();
    int status = inner_of(target)->operations->sync(inner_of(target), fd);
    struct trace_event event = {.operation = TRACE_FSYNC, .fd = (uint64_t)fd};
    return (int)note(target, event, start, status, NULL, NULL);
}

static int path_stat(struct target *target, const char *path, struct stat *found)
{
    uint64_t start = crew_now();
    int status = inner_of(target)->operations->stat(inner_of(target), path, found);
    struct trace_event event = {.operation = TRACE_STAT, .directory = status >= 0 && S_ISDIR(found->st_mode)};
    return (int)note(target, event, start, status, path, NULL);
}

static int path_unlink(struct target *target, const char *path)
{
    uint64_t start = crew_now();
    int status = inner_of(target)->operations->unlink(inner_of(target), path);
    return (int)note(target, (struct trace_event){.operation = TRACE_UNLINK}, start, status, path, NULL);
}

static int path_mkdir(struct target *target, const char *path, mode_t mode)
{
    uint64_t start = crew_now();
    int status = inner_of(target)->operations->mkdir(inner_of(target), path, mode);
    return (int)note(target, (struct trace_event){.operation = TRACE_MKDIR}, start, status, path, NULL);
}

static int path_rmdir(struct target *target, const char *path)
{
    uint64_t start = crew_now();
    int status = inner_of(target)->operations->rmdir(inner_of(target), path);
    return (int)note(target, (struct trace_event){.operation = TRACE_RMDIR}, start, status, path, NULL);
}

static int path_list(struct target *target, const char *path, target_entry each, void *argument)
{
    uint64_t start = crew_now();
    int status = inner_of(target)->operations->list(inner_of(target), path, each, argument);
    bool failed = status == -ENOENT || status == -ENOTDIR || status == -EACCES;
    /* Anything else may be what `each` wanted. */
    int noted = (int)note(target, (struct trace_event){.operation = TRACE_READDIR}, start,
                          failed ? status : 0, path, NULL);
    return noted < 0 ? noted : status;
}

static int path_rename(struct target *target, const char *path, const char *new_path)
{
    uint64_t start = crew_now();
    struct target *inner = inner_of(target);
    int status =
        inner->operations->rename == NULL ? -EOPNOTSUPP : inner->operations->rename(inner, path, new_path);
    return (int)note(target, (struct trace_event){.operation = TRACE_RENAME}, start, status, path, new_path);
}

static int path_link(struct target *target, const char *path, const char *new_path)
{
    uint64_t start = crew_now();
    struct target *inner = inner_of(target);
    int status =
        inner->operations->link == NULL ? -EOPNOTSUPP : inner->operations->link(inner, path, new_path);
    return (int)note(target, (struct trace_event){.operation = TRACE_LINK}, start, status, path, new_path);
}

static int path_truncate(struct target *target, const char *path, off_t length)
{
    uint64_t start = crew_now();
    struct target *inner = inner_of(target);
    int status =
        inner->operations->truncate == NULL ? -EOPNOTSUPP : inner->operations->truncate(inner, path, length);
    struct trace_event event = {.operation = TRACE_TRUNCATE, .offset = (uint64_t)length};
    return (int)note(target, event, start, status, path, NULL);
}

/* Where links lead is recorded like any path. */
static int path_symlink(struct target *target, const char *to, const char *path)
{
    uint64_t start = crew_now();
    struct target *inner = inner_of(target);
    int status =
        inner->operations->symlink == NULL ? -EOPNOTSUPP : inner->operations->symlink(inner, to, path);
    return (int)note(target, (struct trace_event){.operation = TRACE_SYMLINK}, start, status, path, to);
}

static ssize_t path_readlink(struct target *target, const char *path, char *text, size_t size)
{
    char to[PATH_MAX];
    uint64_t start = crew_now();
    struct target *inner = inner_of(target);
    ssize_t length = inner->operations->readlink == NULL
                         ? -EOPNOTSUPP
                         : inner->operations->readlink(inner, path, text, size);
    snprintf(to, sizeof(to), "%.*s", length < 0 ? 0 : (int)length, text);
    bool below = strncmp(to, target->root, strlen(target->root)) == 0;
    return note(target, (struct trace_event){.operation = TRACE_READLINK}, start, length, path,
                below ? to : NULL);
}

static int path_lstat(struct target *target, const char *path, struct stat *found)
{
    uint64_t start = crew_now();
    struct target *inner = inner_of(target);
    int status =
        inner->operations->lstat == NULL ? -EOPNOTSUPP : inner->operations->lstat(inner, path, found);
    struct trace_event event = {.operation = TRACE_STAT,
                                .directory = status >= 0 && S_ISDIR(found->st_mode),
                                .link = status >= 0 && S_ISLNK(found->st_mode)};
    return (int)note(target, event, start, status, path, NULL);
}

static int submit(struct target *target, struct benchfs_io *const *ios, unsigned count)
{
    struct target *inner = inner_of(target);
    return inner->operations->submit == NULL ? -EOPNOTSUPP : inner->operations->submit(inner, ios, count);
}

/* When such a call began is not known here: it is recorded with the time at which it was found done. */
static void note_done(struct target *target, const struct benchfs_io *io)
{
    const struct stat *found = io->buffer;
    uint64_t now = crew_now();
    switch (io->kind) {
    case BENCHFS_IO_READ:
    case BENCHFS_IO_WRITE:
        note_transfer(target, io->kind == BENCHFS_IO_WRITE ? TRACE_WRITE : TRACE_READ, io->fd, io->count,
                      io->offset, now, io->result);
        break;
    case BENCHFS_IO_STAT:
        note(target,
             (struct trace_event){.operation = TRACE_STAT,
                                  .directory = io->result >= 0 && S_ISDIR(found->st_mode)},
             now, io->result, io->path, NULL);
        break;
    case BENCHFS_IO_OPEN:
        note(target,
             (struct trace_event){.operation = TRACE_OPEN,
                                  .flags = io->flags,
                                  .fd = io->result < 0 ? 0 : (uint64_t)io->result},
             now, io->result, io->path, NULL);
        break;
    }
}

static int wait_for(struct target *target, struct benchfs_io **done, unsigned minimum, unsigned maximum,
                    uint64_t patience)
{
    int count = inner_of(target)->operations->wait(inner_of(target), done, minimum, maximum, patience);
    for (int i = 0; i < count; i++)
        note_done(target, done[i]);
    return count;
}

const struct target_operations target_record = {
    .scheme = "record:",
    .help = "another target, whose operations are recorded",
    .check = check,
    .prepare = prepare,
    .release = release,
    .open = open_target,
    .close = close_target,
    .describe = describe,
    .file_open = file_open,
    .file_close = file_close,
    .read = file_read,
    .write = file_write,
    .sync = file_sync,
    .stat = path_stat,
    .unlink = path_unlink,
    .mkdir = path_mkdir,
    .rmdir = path_rmdir,
    .list = path_list,
    .rename = path_rename,
    .link = path_link,
    .truncate = path_truncate,
    .symlink = path_symlink,
    .readlink = path_readlink,
    .lstat = path_lstat,
    .submit = submit,
    .wait = wait_for,
};

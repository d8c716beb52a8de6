/* Any mounted directory, by system calls; what goes beyond depth 1 by io_uring, where the kernel gives
 * opening and stat to threads of its own.
 *
 * With ",direct" files are opened with O_DIRECT. What is not aligned as that demands goes through the page
 * cache: the flag is taken from the descriptor before such a transfer and given back before the next aligned
 * one, so that opening costs what it costs without. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/crew.h"
#include "bench/options.h"
#include "bench/target.h"

struct posix_target {
    struct target target;
    struct io_uring ring;
    bool ring_ready;
    struct statx *statuses; /* of the ring's calls, TARGET_DEPTH_MAX; NULL: none yet */
    uint32_t free_statuses[TARGET_DEPTH_MAX], free_status_count;
    bool direct;
    uint64_t *buffered; /* direct: a bit for each descriptor whose flag is taken away */
    size_t buffered_words;
};

#define DIRECT_SUFFIX ",direct"
#define DIRECT_ALIGNMENT 4096u

static int result(int returned)
{
    return returned < 0 ? -errno : returned;
}

/* The directory, and whether O_DIRECT is wanted. */
static bool split(const char *place, char *root, size_t size)
{
    size_t length = strlen(place), suffix = strlen(DIRECT_SUFFIX);
    bool direct = length > suffix && strcmp(place + length - suffix, DIRECT_SUFFIX) == 0;
    snprintf(root, size, "%.*s", (int)(direct ? length - suffix : length), place);
    return direct;
}

static int check(const char *place)
{
    if (place[0] == 0) {
        bench_error("option --target posix: needs a directory, as in posix:/dev/shm");
        return -EINVAL;
    }
    if (strlen(place) >= sizeof(((struct target *)0)->root)) {
        bench_error("option --target posix: the directory's path is too long");
        return -EINVAL;
    }
    return 0;
}

/* Whether files in the directory can be opened past the page cache. 0 or -errno. */
static int try_direct(const char *root)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/benchfs-bench.XXXXXX", root);
    int fd = mkostemp(path, O_DIRECT | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    close(fd);
    unlink(path);
    return 0;
}

static int open_target(const char *place, struct target **target)
{
    struct stat status;
    struct posix_target *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->target.operations = &target_posix;
    made->direct = split(place, made->target.root, sizeof(made->target.root));
    errno = ENOTDIR;
    if (stat(made->target.root, &status) != 0 || !S_ISDIR(status.st_mode)) {
        int error = errno;
        bench_error("target posix:%s: not a directory that can be used: %s", place, strerror(error));
        free(made);
        return -error;
    }
    int direct = made->direct ? try_direct(made->target.root) : 0;
    if (direct < 0) {
        bench_error("target posix:%s: no files past the page cache there: %s", place, strerror(-direct));
        free(made);
        return direct;
    }
    *target = &made->target;
    return 0;
}

static void close_target(struct target *target)
{
    struct posix_target *posix = (struct posix_target *)target;
    if (posix->ring_ready)
        io_uring_queue_exit(&posix->ring);
    free(posix->statuses);
    free(posix->buffered);
    free(posix);
}

/* Sets or takes O_DIRECT as the transfer needs it. 0 or -errno. */
static int choose_way(struct posix_target *posix, int fd, const void *bytes, size_t length, off_t offset)
{
    if (!posix->direct || fd < 0)
        return 0;
    size_t word = (size_t)fd / 64;
    uint64_t bit = UINT64_C(1) << (fd % 64);
    bool aligned = (((uintptr_t)bytes | length | (uintptr_t)offset) & (DIRECT_ALIGNMENT - 1)) == 0;
    bool buffered = word < posix->buffered_words && (posix->buffered[word] & bit) != 0;
    if (aligned != buffered)
        return 0;
    if (word >= posix->buffered_words) {
        uint64_t *words = reallocarray(posix->buffered, word + 1, sizeof(*words));
        if (words == NULL)
            return -ENOMEM;
        memset(words + posix->buffered_words, 0, (word + 1 - posix->buffered_words) * sizeof(*words));
        posix->buffered = words;
        posix->buffered_words = word + 1;
    }
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, aligned ? flags | O_DIRECT : flags & ~O_DIRECT) != 0)
        return -errno;
    posix->buffered[word] ^= bit;
    return 0;
}

/* What statfs says of file systems that keep contents in memory, and of mounts of FUSE. */
#define MAGIC_TMPFS 0x01021994
#define MAGIC_RAMFS 0x858458f6
#define MAGIC_HUGETLBFS 0x958458f6
#define MAGIC_FUSE 0x65735546

static int describe(struct target *target, struct target_facts *facts)
{
    struct statfs status;
    if (statfs(target->root, &status) != 0) {
        int error = errno;
        bench_error("target posix:%s: %s", target->root, strerror(error));
        return -error;
    }
    uint32_t magic = (uint32_t)status.f_type;
    facts->in_memory = magic == MAGIC_TMPFS || magic == MAGIC_RAMFS || magic == MAGIC_HUGETLBFS;
    facts->page_cache = !facts->in_memory;
    facts->alignment = ((struct posix_target *)target)->direct ? DIRECT_ALIGNMENT : 0;
    facts->through_mount = magic == MAGIC_FUSE;
    return 0;
}

static int file_open(struct target *target, const char *path, int flags, mode_t mode)
{
    int direct = ((struct posix_target *)target)->direct ? O_DIRECT : 0;
    return result(open(path, flags | direct | O_CLOEXEC, mode));
}

static int file_close(struct target *target, int fd)
{
    struct posix_target *posix = (struct posix_target *)target;
    if (fd >= 0 && (size_t)fd / 64 < posix->buffered_words)
        posix->buffered[fd / 64] &= ~(UINT64_C(1) << (fd % 64));
    return result(close(fd));
}

static ssize_t file_read(struct target *target, int fd, void *bytes, size_t length, off_t offset)
{
    int way = choose_way((struct posix_target *)target, fd, bytes, length, offset);
    if (way < 0)
        return way;
    ssize_t count = pread(fd, bytes, length, offset);
    return count < 0 ? -errno : count;
}

static ssize_t file_write(struct target *target, int fd, const void *bytes, size_t length, off_t offset)
{
    int way = choose_way((struct posix_target *)target, fd, bytes, length, offset);
    if (way < 0)
        return way;
    ssize_t count = pwrite(fd, bytes, length, offset);
    return count < 0 ? -errno : count;
}

static int file_sync(struct target *target, int fd)
{
    (void)target;
    return result(fsync(fd));
}

static int path_stat(struct target *target, const char *path, struct stat *status)
{
    (void)target;
    return result(stat(path, status));
}

static int path_unlink(struct target *target, const char *path)
{
    (void)target;
    return result(unlink(path));
}

static int path_mkdir(struct target *target, const char *path, mode_t mode)
{
    (void)target;
    return result(mkdir(path, mode));
}

static int path_rmdir(struct target *target, const char *path)
{
    (void)target;
    return result(rmdir(path));
}

static int path_list(struct target *target, const char *path, target_entry each, void *argument)
{
    (void)target;
    int status = 0;
    DIR *directory = opendir(path);
    if (directory == NULL)
        return -errno;
    while (status == 0) {
        errno = 0;
        const struct dirent *entry = readdir(directory);
        if (entry == NULL) {
            status = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            status = each(argument, entry->d_name, (mode_t)DTTOIF(entry->d_type));
    }
    closedir(directory);
    return status;
}

static int path_link(struct target *target, const char *path, const char *new_path)
{
    (void)target;
    return result(link(path, new_path));
}

static int path_rename(struct target *target, const char *path, const char *new_path)
{
    (void)target;
    return result(rename(path, new_path));
}

static int path_symlink(struct target *target, const char *to, const char *path)
{
    (void)target;
    return result(symlink(to, path));
}

static ssize_t path_readlink(struct target *target, const char *path, char *text, size_t size)
{
    (void)target;
    ssize_t length = readlink(path, text, size);
    return length < 0 ? -errno : length;
}

static int path_lstat(struct target *target, const char *path, struct stat *status)
{
    (void)target;
    return result(lstat(path, status));
}

static int path_truncate(struct target *target, const char *path, off_t length)
{
    (void)target;
    return result(truncate(path, length));
}

static int prepare_ring(struct posix_target *posix)
{
    if (posix->ring_ready)
        return 0;
    posix->statuses = calloc(TARGET_DEPTH_MAX, sizeof(*posix->statuses));
    int status = posix->statuses == NULL ? -ENOMEM : io_uring_queue_init(TARGET_DEPTH_MAX, &posix->ring, 0);
    for (uint32_t i = 0; i < TARGET_DEPTH_MAX && status == 0; i++)
        posix->free_statuses[posix->free_status_count++] = i;
    posix->ring_ready = status == 0;
    return status;
}

/* Where a stat's answer arrives, by number. */
static uint32_t *status_number(struct benchfs_io *io)
{
    return (uint32_t *)(void *)io->reserved;
}

static int prepare_call(struct posix_target *posix, struct io_uring_sqe *sqe, struct benchfs_io *io)
{
    unsigned count = (unsigned)io->count;
    switch (io->kind) {
    case BENCHFS_IO_READ:
        io_uring_prep_read(sqe, io->fd, io->buffer, count, (uint64_t)io->offset);
        break;
    case BENCHFS_IO_WRITE:
        io_uring_prep_write(sqe, io->fd, io->buffer, count, (uint64_t)io->offset);
        break;
    case BENCHFS_IO_OPEN:
        io_uring_prep_openat(sqe, AT_FDCWD, io->path, io->flags | (posix->direct ? O_DIRECT : 0) | O_CLOEXEC,
                             io->mode);
        break;
    case BENCHFS_IO_STAT:
        if (posix->free_status_count == 0)
            return -EBUSY;
        *status_number(io) = posix->free_statuses[--posix->free_status_count];
        io_uring_prep_statx(sqe, AT_FDCWD, io->path, 0, STATX_BASIC_STATS,
                            &posix->statuses[*status_number(io)]);
        break;
    }
    io_uring_sqe_set_data(sqe, io);
    return 0;
}

/* What benchmarks look at. */
static void take_status(struct posix_target *posix, struct benchfs_io *io)
{
    const struct statx *found = &posix->statuses[*status_number(io)];
    *(struct stat *)io->buffer = (struct stat){.st_ino = found->stx_ino,
                                               .st_mode = found->stx_mode,
                                               .st_nlink = found->stx_nlink,
                                               .st_uid = found->stx_uid,
                                               .st_gid = found->stx_gid,
                                               .st_size = (off_t)found->stx_size};
    posix->free_statuses[posix->free_status_count++] = *status_number(io);
}

static int submit(struct target *target, struct benchfs_io *const *ios, unsigned count)
{
    struct posix_target *posix = (struct posix_target *)target;
    int status = prepare_ring(posix);
    for (unsigned i = 0; i < count && status == 0; i++) {
        bool moves = ios[i]->kind == BENCHFS_IO_READ || ios[i]->kind == BENCHFS_IO_WRITE;
        if (moves)
            status = choose_way(posix, ios[i]->fd, ios[i]->buffer, ios[i]->count, ios[i]->offset);
        struct io_uring_sqe *sqe = status == 0 ? io_uring_get_sqe(&posix->ring) : NULL;
        if (status == 0)
            status = sqe == NULL ? -EBUSY : prepare_call(posix, sqe, ios[i]);
    }
    if (status < 0)
        return status;
    int submitted = io_uring_submit(&posix->ring);
    return submitted < 0 ? submitted : 0;
}

/* deadline: crew_now(), or TARGET_FOR_EVER. */
static int next_done(struct io_uring *ring, bool waits, uint64_t deadline, struct io_uring_cqe **cqe)
{
    uint64_t now = deadline == TARGET_FOR_EVER ? 0 : crew_now();
    if (!waits || now >= deadline)
        return io_uring_peek_cqe(ring, cqe);
    if (deadline == TARGET_FOR_EVER)
        return io_uring_wait_cqe(ring, cqe);
    struct __kernel_timespec left = {.tv_sec = (int64_t)((deadline - now) / NSEC_PER_SEC),
                                     .tv_nsec = (long long)((deadline - now) % NSEC_PER_SEC)};
    return io_uring_wait_cqe_timeout(ring, cqe, &left);
}

static int wait_for(struct target *target, struct benchfs_io **done, unsigned minimum, unsigned maximum,
                    uint64_t patience)
{
    struct posix_target *posix = (struct posix_target *)target;
    uint64_t deadline = patience == TARGET_FOR_EVER ? patience : crew_now() + patience;
    unsigned count = 0;
    while (count < maximum) {
        struct io_uring_cqe *cqe;
        int status = next_done(&posix->ring, count < minimum, deadline, &cqe);
        if (status == -EINTR)
            continue;
        if (status == -EAGAIN || status == -ETIME)
            break;
        if (status < 0)
            return status;
        done[count] = io_uring_cqe_get_data(cqe);
        done[count]->result = cqe->res;
        if (done[count]->kind == BENCHFS_IO_STAT)
            take_status(posix, done[count]);
        count++;
        io_uring_cqe_seen(&posix->ring, cqe);
    }
    return (int)count;
}

const struct target_operations target_posix = {
    .scheme = "posix:",
    .help = "a mounted directory",
    .check = check,
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

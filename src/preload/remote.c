/* The module behind remote.h: libbenchfs with one connection per process.
 *
 * Most calls are those of benchfs.h. Those that it does not have go to the client core as libbenchfs's own
 * do. */
#include "preload/remote.h"

#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <ucm/api/ucm.h>
#include <unistd.h>

#include "client/library.h"

static benchfs *fs;

/* To notice unmapping, UCX writes jumps over the first bytes of mmap and its kin, which it looks up by name:
 * it would find those of the preload library, and take the program's calls to the C library's behind its
 * back. */
static void leave_memory_alone(void)
{
    if (getenv("UCX_MEM_EVENTS") == NULL)
        ucm_global_opts.enable_events = 0;
}

static const char *remote_connect(const char *prefix, void (*guard)(bool enter))
{
    leave_memory_alone();
    library_set_guard(guard);
    fs = library_connect(NULL, prefix);
    return fs == NULL ? benchfs_error() : NULL;
}

static void remote_farewell(void)
{
    /* A child that has not called BenchFS since its fork has nothing of its own there. */
    struct client *client = atomic_load(&fs->instance) != 0 ? client_get(fs) : NULL;
    if (client != NULL)
        client_release_last(client);
}

static const char *remote_cluster_file(void)
{
    return fs->cluster_file[0] != '\0' ? fs->cluster_file : NULL;
}

static const char *remote_left(void)
{
    struct client *client = client_get(fs);
    return client == NULL ? NULL : client_left(client);
}

static int remote_set_credentials(uid_t uid, gid_t gid, int count, const gid_t *groups)
{
    return benchfs_set_credentials(fs, uid, gid, count, groups);
}

static mode_t remote_umask(mode_t mask)
{
    return benchfs_umask(fs, mask);
}

/* The thread's client and the directory that a path call starts from; false with errno set. */
static bool begin(int dirfd, const char *path, struct client **client, uint64_t *directory)
{
    *client = client_get(fs);
    return *client != NULL && start_directory(fs, dirfd, path, directory) == 0;
}

/* ---- open files ---- */

static int remote_open(int dirfd, const char *path, int flags, mode_t mode)
{
    return benchfs_openat(fs, dirfd, path, flags, mode);
}

static int remote_close(int fd)
{
    return benchfs_close(fs, fd);
}

static int remote_save(int fd, struct remote_file *file, struct shared_locks *locks)
{
    struct open_file *slot = open_file_acquire(fs, fd);
    if (slot == NULL)
        return -1;
    *file = (struct remote_file){
        .inode = slot->file.inode,
        .instance = file_holder(fs, slot),
        .parent = slot->file.parent,
        .size = atomic_load(&slot->file.size),
        .generation = atomic_load(&slot->file.generation),
        .mode = slot->file.mode,
        .flags = slot->file.flags,
        .layout_base = slot->file.layout.base,
        .layout_placement = slot->file.layout.placement,
        .layout_chunk_shift = slot->file.layout.chunk_shift,
    };
    if (locks != NULL)
        description_share(fs, slot, locks);
    if (file->instance == atomic_load(&fs->instance))
        file->process = getpid();
    open_file_release(fs, slot);
    return 0;
}

/* The process that had it open holds it as long as its sessions last, which is longer than an exec takes. */
static int remote_restore(const struct remote_file *file, struct shared_locks *locks)
{
    struct open_file *slot;
    struct client *client = client_get(fs);
    if (client == NULL)
        return -1;
    int fd, status = open_file_reserve(fs, &fd, &slot);
    if (status < 0)
        return finish(status);
    slot->file.inode = file->inode;
    if ((file->flags & O_PATH) == 0)
        file_take_over(client, &slot->file, file->instance); /* a file that is gone says so when it is used */
    slot->file.parent = file->parent;
    slot->file.mode = file->mode;
    slot->file.flags = file->flags;
    slot->file.layout = (struct layout){
        .base = file->layout_base,
        .placement = file->layout_placement,
        .chunk_shift = file->layout_chunk_shift,
    };
    atomic_store(&slot->file.size, file->size);
    atomic_store(&slot->file.generation, file->generation);
    status = file_cache_open(fs, slot);
    if (status < 0) {
        file_let_go(fs, NULL, &slot->file);
        open_file_cancel(fs, fd, slot);
        return finish(status);
    }
    if (locks != NULL)
        description_adopt(worker_get(fs), slot, locks, file->process == getpid() ? file->instance : 0);
    open_file_publish(fs, fd, slot);
    return fd;
}

static int remote_set_flags(int fd, int flags)
{
    enum { SETTABLE = O_APPEND | O_NONBLOCK | O_NOATIME | O_DIRECT | O_ASYNC };
    struct open_file *slot = open_file_acquire(fs, fd);
    if (slot == NULL)
        return -1;
    slot->file.flags = (slot->file.flags & ~SETTABLE) | (flags & SETTABLE);
    open_file_release(fs, slot);
    return 0;
}

static ssize_t remote_pread(int fd, void *buffer, size_t count, off_t offset)
{
    return benchfs_pread(fs, fd, buffer, count, offset);
}

static ssize_t remote_pwrite(int fd, const void *buffer, size_t count, off_t offset)
{
    return benchfs_pwrite(fs, fd, buffer, count, offset);
}

static ssize_t remote_preadv(int fd, const struct iovec *vector, int count, off_t offset, int flags)
{
    return benchfs_preadv2(fs, fd, vector, count, offset, flags);
}

static ssize_t remote_pwritev(int fd, const struct iovec *vector, int count, off_t offset, int flags)
{
    return benchfs_pwritev2(fs, fd, vector, count, offset, flags);
}

static ssize_t remote_append(int fd, const void *buffer, size_t count, off_t *offset)
{
    /* Whoever shares the description may have set O_APPEND in another process. */
    struct iovec vector = {(void *)(uintptr_t)buffer, count};
    ssize_t written = benchfs_pwritev2(fs, fd, &vector, 1, -1, RWF_APPEND);
    if (written >= 0)
        *offset = benchfs_lseek(fs, fd, 0, SEEK_CUR);
    return written;
}

static int remote_fsync(int fd)
{
    return benchfs_fsync(fs, fd);
}

static int remote_publish(void)
{
    inherit_announce(fs);
    return library_publish(fs);
}

static int remote_before_spawn(void)
{
    library_before_spawn();
    return 0;
}

static int remote_after_spawn(pid_t child)
{
    library_after_spawn(child);
    return 0;
}

static int remote_sync(void)
{
    return benchfs_sync(fs);
}

static int remote_ftruncate(int fd, off_t length)
{
    return benchfs_ftruncate(fs, fd, length);
}

static int remote_fallocate(int fd, int mode, off_t offset, off_t length)
{
    return benchfs_fallocate(fs, fd, mode, offset, length);
}

static int remote_posix_fallocate(int fd, off_t offset, off_t length)
{
    return benchfs_posix_fallocate(fs, fd, offset, length);
}

static ssize_t remote_copy_file_range(int in_fd, off_t *in_offset, int out_fd, off_t *out_offset,
                                      size_t count, unsigned flags)
{
    return benchfs_copy_file_range(fs, in_fd, in_offset, out_fd, out_offset, count, flags);
}

static int remote_truncateat(int dirfd, const char *path, off_t length)
{
    return library_truncate(fs, dirfd, path, length);
}

static off_t remote_seek(int fd, off_t offset, int whence)
{
    return benchfs_lseek(fs, fd, offset, whence);
}

static int remote_lock(int fd, int command, struct flock *lock)
{
    return benchfs_fcntl(fs, fd, command, lock);
}

static int remote_flock(int fd, int operation)
{
    return benchfs_flock(fs, fd, operation);
}

/* ---- attributes ---- */

static int remote_fstat(int fd, struct stat *status)
{
    return benchfs_fstat(fs, fd, status);
}

static int remote_statat(int dirfd, const char *path, struct stat *status, int flags)
{
    return benchfs_fstatat(fs, dirfd, path, status, flags);
}

static int remote_statvfs(struct statvfs *status)
{
    return benchfs_statvfs(fs, status);
}

static int remote_accessat(int dirfd, const char *path, int mode, int flags)
{
    return benchfs_faccessat(fs, dirfd, path, mode, flags);
}

static int remote_chmodat(int dirfd, const char *path, mode_t mode, int flags)
{
    return benchfs_fchmodat(fs, dirfd, path, mode, flags);
}

static int remote_fchmod(int fd, mode_t mode)
{
    return benchfs_fchmod(fs, fd, mode);
}

static int remote_chownat(int dirfd, const char *path, uid_t owner, gid_t group, int flags)
{
    return benchfs_fchownat(fs, dirfd, path, owner, group, flags);
}

static int remote_fchown(int fd, uid_t owner, gid_t group)
{
    return benchfs_fchown(fs, fd, owner, group);
}

static int remote_utimensat(int dirfd, const char *path, const struct timespec times[2], int flags)
{
    return benchfs_utimensat(fs, dirfd, path, times, flags);
}

static int remote_futimens(int fd, const struct timespec times[2])
{
    return benchfs_futimens(fs, fd, times);
}

/* ---- extended attributes ---- */

static bool begin_place(int dirfd, const char *path, bool follow, struct client **client,
                        struct client_place *place)
{
    *place = (struct client_place){.path = path, .follow = follow};
    return begin(dirfd, path, client, &place->inode);
}

static ssize_t remote_getxattrat(int dirfd, const char *path, bool follow, const char *name, void *value,
                                 size_t size)
{
    struct client *client;
    struct client_place place;
    if (!begin_place(dirfd, path, follow, &client, &place))
        return -1;
    return finish_size(client_getxattr(client, &place, name, value, size));
}

static ssize_t remote_fgetxattr(int fd, const char *name, void *value, size_t size)
{
    return benchfs_fgetxattr(fs, fd, name, value, size);
}

static int remote_setxattrat(int dirfd, const char *path, bool follow, const char *name, const void *value,
                             size_t size, int flags)
{
    struct client *client;
    struct client_place place;
    if ((flags & ~(XATTR_CREATE | XATTR_REPLACE)) != 0) {
        errno = EINVAL;
        return -1;
    }
    if (!begin_place(dirfd, path, follow, &client, &place))
        return -1;
    return finish(client_setxattr(client, &place, name, value, size,
                                  (uint8_t)((flags & XATTR_CREATE ? XATTR_SET_CREATE : 0) |
                                            (flags & XATTR_REPLACE ? XATTR_SET_REPLACE : 0))));
}

static int remote_fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)
{
    return benchfs_fsetxattr(fs, fd, name, value, size, flags);
}

static ssize_t remote_listxattrat(int dirfd, const char *path, bool follow, char *names, size_t size)
{
    struct client *client;
    struct client_place place;
    if (!begin_place(dirfd, path, follow, &client, &place))
        return -1;
    return finish_size(client_listxattr(client, &place, names, size));
}

static ssize_t remote_flistxattr(int fd, char *names, size_t size)
{
    return benchfs_flistxattr(fs, fd, names, size);
}

static int remote_removexattrat(int dirfd, const char *path, bool follow, const char *name)
{
    struct client *client;
    struct client_place place;
    if (!begin_place(dirfd, path, follow, &client, &place))
        return -1;
    return finish(client_removexattr(client, &place, name));
}

static int remote_fremovexattr(int fd, const char *name)
{
    return benchfs_fremovexattr(fs, fd, name);
}

/* ---- names ---- */

static int remote_mkdirat(int dirfd, const char *path, mode_t mode)
{
    return benchfs_mkdirat(fs, dirfd, path, mode);
}

static int remote_mknodat(int dirfd, const char *path, mode_t mode, dev_t device)
{
    return benchfs_mknodat(fs, dirfd, path, mode, device);
}

static int remote_unlinkat(int dirfd, const char *path, int flags)
{
    return benchfs_unlinkat(fs, dirfd, path, flags);
}

static int remote_renameat(int old_dirfd, const char *old_path, int new_dirfd, const char *new_path,
                           unsigned flags)
{
    return benchfs_renameat2(fs, old_dirfd, old_path, new_dirfd, new_path, flags);
}

static int remote_linkat(int old_dirfd, const char *old_path, int new_dirfd, const char *new_path, int flags)
{
    return benchfs_linkat(fs, old_dirfd, old_path, new_dirfd, new_path, flags);
}

static int remote_symlinkat(const char *target, int dirfd, const char *path)
{
    return benchfs_symlinkat(fs, target, dirfd, path);
}

static ssize_t remote_readlinkat(int dirfd, const char *path, char *buffer, size_t size)
{
    return benchfs_readlinkat(fs, dirfd, path, buffer, size);
}

/* ---- directories ---- */

static benchfs_dir *remote_fdopendir(int fd)
{
    return benchfs_fdopendir(fs, fd);
}

/* Not by its path or ".", for which the caller may have lost the permission. */
static benchfs_dir *remote_opendir(int fd)
{
    struct open_file *slot = open_file_acquire(fs, fd), *copy;
    if (slot == NULL)
        return NULL;
    int other, status = open_file_reserve(fs, &other, &copy);
    if (status < 0) {
        open_file_release(fs, slot);
        errno = public_errno(status);
        return NULL;
    }
    copy->file = slot->file;
    copy->file.held = false;
    open_file_release(fs, slot);
    open_file_publish(fs, other, copy);
    benchfs_dir *directory = benchfs_fdopendir(fs, other);
    if (directory == NULL) {
        int error = errno;
        benchfs_close(fs, other);
        errno = error;
    }
    return directory;
}

static struct dirent *remote_readdir(benchfs_dir *directory)
{
    return benchfs_readdir(directory);
}

static long remote_telldir(benchfs_dir *directory)
{
    return benchfs_telldir(directory);
}

static void remote_seekdir(benchfs_dir *directory, long position)
{
    benchfs_seekdir(directory, position);
}

static int remote_closedir(benchfs_dir *directory)
{
    return benchfs_closedir(directory);
}

#define REMOTE_ENTRY(type, name, arguments) .name = remote_##name,
__attribute__((visibility("default"))) const struct remote_calls *benchfs_preload_client(void)
{
    static const struct remote_calls calls = {REMOTE_TABLE(REMOTE_ENTRY)};
    return &calls;
}

/* Calls of libbenchfs on names and attributes. Each finds the thread's client and the directory to start
 * from, and hands the work to the client core. */
#include <stdio.h> /* RENAME_NOREPLACE, RENAME_EXCHANGE */
#include <string.h>

#include "client/application.h"
#include "client/library.h"

#define NSEC INT64_C(1000000000)
#define BLOCK_SIZE_MAX (4u << 20)

/* What a path call needs before it begins; false with errno set. */
static bool begin(benchfs *fs, int dirfd, const char *path, struct client **client, uint64_t *directory)
{
    *client = client_get(fs);
    return *client != NULL && start_directory(fs, dirfd, path, directory) == 0;
}

static mode_t masked(benchfs *fs, mode_t mode)
{
    return mode & ~atomic_load_explicit(&fs->umask, memory_order_relaxed);
}

/* ---- stat ---- */

static struct timespec time_of(int64_t nanoseconds)
{
    int64_t seconds = nanoseconds / NSEC, rest = nanoseconds % NSEC;
    if (rest < 0) {
        rest += NSEC;
        seconds--;
    }
    return (struct timespec){.tv_sec = seconds, .tv_nsec = rest};
}

void fill_stat(const struct benchfs *fs, const struct attributes *attributes, struct stat *status)
{
    uint32_t block = UINT32_C(1) << fs->chunk_shift;
    *status = (struct stat){
        .st_dev = fs->device,
        .st_ino = attributes->inode,
        .st_mode = attributes->mode,
        .st_nlink = attributes->links,
        .st_uid = attributes->uid,
        .st_gid = attributes->gid,
        .st_rdev = S_ISCHR(attributes->mode) || S_ISBLK(attributes->mode) ? attributes->parent : 0,
        .st_size = (off_t)attributes->size,
        .st_blksize = block < BLOCK_SIZE_MAX ? block : BLOCK_SIZE_MAX,
        .st_blocks = (blkcnt_t)attributes->blocks,
        .st_atim = time_of(attributes->access_time),
        .st_mtim = time_of(attributes->modify_time),
        .st_ctim = time_of(attributes->change_time),
    };
}

static int stat_path(benchfs *fs, int dirfd, const char *path, bool follow, struct stat *result)
{
    struct client *client;
    uint64_t directory;
    struct attributes attributes;
    if (!begin(fs, dirfd, path, &client, &directory))
        return -1;
    int status = library_stat(fs, directory, path, follow, &attributes);
    if (status == 0)
        fill_stat(fs, &attributes, result);
    return finish(status);
}

int benchfs_stat(benchfs *fs, const char *path, struct stat *status)
{
    APPLICATION_CALL(STAT, fs, -1, path);
    return stat_path(fs, AT_FDCWD, path, true, status);
}

int benchfs_lstat(benchfs *fs, const char *path, struct stat *status)
{
    APPLICATION_CALL(LSTAT, fs, -1, path);
    return stat_path(fs, AT_FDCWD, path, false, status);
}

int benchfs_fstatat(benchfs *fs, int dirfd, const char *path, struct stat *status, int flags)
{
    APPLICATION_CALL(FSTATAT, fs, -1, path);
    if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT)) {
        errno = EINVAL;
        return -1;
    }
    if ((flags & AT_EMPTY_PATH) && path[0] == '\0')
        return dirfd == AT_FDCWD ? benchfs_stat(fs, "/", status) : benchfs_fstat(fs, dirfd, status);
    return stat_path(fs, dirfd, path, (flags & AT_SYMLINK_NOFOLLOW) == 0, status);
}

/* What a small file takes: an inode, a dentry and a name of middling length. */
#define FILE_METADATA_BYTES 256u

int benchfs_statvfs(benchfs *fs, struct statvfs *result)
{
    APPLICATION_CALL(STATVFS, fs, -1, NULL);
    enum { BLOCK = 4096 };
    struct statfs_reply total;
    struct client *client = client_get(fs);
    if (client == NULL)
        return -1;
    int status = client_statfs(client, &total);
    if (status < 0)
        return finish(status);
    uint64_t free_blocks = total.capacity > total.used ? (total.capacity - total.used) / BLOCK : 0;
    uint64_t free_files = total.metadata_capacity > total.metadata_used
                              ? (total.metadata_capacity - total.metadata_used) / FILE_METADATA_BYTES
                              : 0;
    *result = (struct statvfs){
        .f_bsize = BLOCK,
        .f_frsize = BLOCK,
        .f_blocks = total.capacity / BLOCK,
        .f_bfree = free_blocks,
        .f_bavail = free_blocks,
        .f_files = total.inodes + free_files,
        .f_ffree = free_files,
        .f_favail = free_files,
        .f_fsid = fs->device,
        .f_namemax = NAME_LENGTH_MAX,
    };
    return 0;
}

int benchfs_fstatvfs(benchfs *fs, int fd, struct statvfs *result)
{
    APPLICATION_CALL(FSTATVFS, fs, fd, NULL);
    struct open_file *slot = open_file_acquire(fs, fd);
    if (slot == NULL)
        return -1;
    open_file_release(fs, slot);
    return benchfs_statvfs(fs, result);
}

/* ---- making and removing ---- */

int benchfs_mkdirat(benchfs *fs, int dirfd, const char *path, mode_t mode)
{
    APPLICATION_CALL(MKDIRAT, fs, -1, path);
    struct client *client;
    uint64_t directory;
    if (!begin(fs, dirfd, path, &client, &directory))
        return -1;
    return finish(client_mkdir(client, directory, path, masked(fs, mode)));
}

int benchfs_mkdir(benchfs *fs, const char *path, mode_t mode)
{
    return benchfs_mkdirat(fs, AT_FDCWD, path, mode);
}

int benchfs_mknodat(benchfs *fs, int dirfd, const char *path, mode_t mode, dev_t device)
{
    APPLICATION_CALL(MKNODAT, fs, -1, path);
    struct client *client;
    uint64_t directory;
    struct attributes attributes;
    if (!begin(fs, dirfd, path, &client, &directory))
        return -1;
    return finish(client_make_node(client, directory, path, masked(fs, mode), device, &attributes));
}

int benchfs_mknod(benchfs *fs, const char *path, mode_t mode, dev_t device)
{
    return benchfs_mknodat(fs, AT_FDCWD, path, mode, device);
}

int benchfs_mkfifoat(benchfs *fs, int dirfd, const char *path, mode_t mode)
{
    return benchfs_mknodat(fs, dirfd, path, S_IFIFO | (mode & 07777), 0);
}

int benchfs_mkfifo(benchfs *fs, const char *path, mode_t mode)
{
    return benchfs_mkfifoat(fs, AT_FDCWD, path, mode);
}

int benchfs_unlinkat(benchfs *fs, int dirfd, const char *path, int flags)
{
    APPLICATION_CALL(UNLINKAT, fs, -1, path);
    struct client *client;
    uint64_t directory;
    if (flags & ~AT_REMOVEDIR) {
        errno = EINVAL;
        return -1;
    }
    if (!begin(fs, dirfd, path, &client, &directory))
        return -1;
    return finish(flags & AT_REMOVEDIR ? client_rmdir(client, directory, path)
                                       : client_unlink(client, directory, path));
}

int benchfs_unlink(benchfs *fs, const char *path)
{
    return benchfs_unlinkat(fs, AT_FDCWD, path, 0);
}

int benchfs_rmdir(benchfs *fs, const char *path)
{
    return benchfs_unlinkat(fs, AT_FDCWD, path, AT_REMOVEDIR);
}

int benchfs_renameat2(benchfs *fs, int old_dirfd, const char *old_path, int new_dirfd, const char *new_path,
                      unsigned flags)
{
    APPLICATION_CALL(RENAMEAT2, fs, -1, old_path);
    struct client *client;
    uint64_t old_directory, new_directory;
    if ((flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE)) != 0 ||
        (flags & (RENAME_NOREPLACE | RENAME_EXCHANGE)) == (RENAME_NOREPLACE | RENAME_EXCHANGE)) {
        errno = EINVAL;
        return -1;
    }
    if (!begin(fs, old_dirfd, old_path, &client, &old_directory) ||
        !begin(fs, new_dirfd, new_path, &client, &new_directory))
        return -1;
    unsigned wanted = ((flags & RENAME_NOREPLACE) != 0 ? RENAME_FLAG_NOREPLACE : 0) |
                      ((flags & RENAME_EXCHANGE) != 0 ? RENAME_FLAG_EXCHANGE : 0);
    return finish(client_rename(client, old_directory, old_path, new_directory, new_path, wanted));
}

int benchfs_renameat(benchfs *fs, int old_dirfd, const char *old_path, int new_dirfd, const char *new_path)
{
    return benchfs_renameat2(fs, old_dirfd, old_path, new_dirfd, new_path, 0);
}

int benchfs_rename(benchfs *fs, const char *old_path, const char *new_path)
{
    return benchfs_renameat(fs, AT_FDCWD, old_path, AT_FDCWD, new_path);
}

/* ---- links ---- */

static int link_by_descriptor(benchfs *fs, int old_fd, int new_dirfd, const char *new_path)
{
    struct client *client;
    uint64_t directory;
    if (!begin(fs, new_dirfd, new_path, &client, &directory))
        return -1;
    struct open_file *slot = open_file_acquire(fs, old_fd);
    if (slot == NULL)
        return -1;
    struct attributes attributes;
    int status = client_link_inode(client, slot->file.inode, directory, new_path, &attributes);
    open_file_release(fs, slot);
    return finish(status);
}

int benchfs_linkat(benchfs *fs, int old_dirfd, const char *old_path, int new_dirfd, const char *new_path,
                   int flags)
{
    APPLICATION_CALL(LINKAT, fs, -1, old_path);
    struct client *client;
    uint64_t old_directory, new_directory;
    if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) {
        errno = EINVAL;
        return -1;
    }
    if ((flags & AT_EMPTY_PATH) && old_path[0] == '\0' && old_dirfd != AT_FDCWD)
        return link_by_descriptor(fs, old_dirfd, new_dirfd, new_path);
    if (!begin(fs, old_dirfd, old_path, &client, &old_directory) ||
        !begin(fs, new_dirfd, new_path, &client, &new_directory))
        return -1;
    return finish(client_link(client, old_directory, old_path, new_directory, new_path,
                              (flags & AT_SYMLINK_FOLLOW) != 0));
}

int benchfs_link(benchfs *fs, const char *old_path, const char *new_path)
{
    return benchfs_linkat(fs, AT_FDCWD, old_path, AT_FDCWD, new_path, 0);
}

int benchfs_symlinkat(benchfs *fs, const char *target, int dirfd, const char *path)
{
    APPLICATION_CALL(SYMLINKAT, fs, -1, path);
    struct client *client;
    uint64_t directory;
    if (!begin(fs, dirfd, path, &client, &directory))
        return -1;
    return finish(client_symlink(client, target, directory, path));
}

int benchfs_symlink(benchfs *fs, const char *target, const char *path)
{
    return benchfs_symlinkat(fs, target, AT_FDCWD, path);
}

/* An empty path, as Linux has it: of the symbolic link that was opened itself. */
static ssize_t readlink_by_descriptor(benchfs *fs, int fd, char *buffer, size_t size)
{
    struct client *client = client_get(fs);
    if (client == NULL)
        return -1;
    struct open_file *open = open_file_acquire(fs, fd);
    if (open == NULL)
        return -1;
    ssize_t length =
        S_ISLNK(open->file.mode) ? client_readlink_inode(client, open->file.inode, buffer, size) : -ENOENT;
    open_file_release(fs, open);
    return finish_size(length);
}

ssize_t benchfs_readlinkat(benchfs *fs, int dirfd, const char *path, char *buffer, size_t size)
{
    APPLICATION_CALL(READLINKAT, fs, -1, path);
    struct client *client;
    uint64_t directory;
    if (size == 0) {
        errno = EINVAL;
        return -1;
    }
    if (path[0] == '\0' && dirfd != AT_FDCWD)
        return readlink_by_descriptor(fs, dirfd, buffer, size);
    if (!begin(fs, dirfd, path, &client, &directory))
        return -1;
    return finish_size(client_readlink(client, directory, path, buffer, size));
}

ssize_t benchfs_readlink(benchfs *fs, const char *path, char *buffer, size_t size)
{
    return benchfs_readlinkat(fs, AT_FDCWD, path, buffer, size);
}

int library_truncate(struct benchfs *fs, int dirfd, const char *path, off_t length)
{
    struct client *client;
    uint64_t directory;
    if (length < 0) {
        errno = EINVAL;
        return -1;
    }
    if (!begin(fs, dirfd, path, &client, &directory))
        return -1;
    file_caches_publish(fs, client, 0);
    int status = client_truncate(client, directory, path, (uint64_t)length);
    file_caches_forget(fs);
    return finish(status);
}

int benchfs_truncate(benchfs *fs, const char *path, off_t length)
{
    APPLICATION_CALL(TRUNCATE, fs, -1, path);
    return library_truncate(fs, AT_FDCWD, path, length);
}

/* ---- setting attributes ---- */

/* Takes over slot; NULL: errno is set. */
static int set_in_slot(benchfs *fs, struct open_file *slot, struct set_attributes_request *set)
{
    struct client *client = slot == NULL ? NULL : client_get(fs);
    if (slot == NULL)
        return -1;
    set->inode = slot->file.inode;
    open_file_release(fs, slot);
    if (client == NULL)
        return -1;
    file_caches_publish(fs, client, set->inode);
    return finish(client_set_attributes_inode(client, set));
}

static int set_by_descriptor(benchfs *fs, int fd, struct set_attributes_request *set)
{
    return set_in_slot(fs, open_file_acquire_opened(fs, fd), set);
}

static int set_by_path(benchfs *fs, int dirfd, const char *path, int flags,
                       struct set_attributes_request *set)
{
    struct client *client;
    uint64_t directory;
    if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) {
        errno = EINVAL;
        return -1;
    }
    if ((flags & AT_EMPTY_PATH) && path[0] == '\0' && dirfd != AT_FDCWD)
        return set_in_slot(fs, open_file_acquire(fs, dirfd), set);
    if (!begin(fs, dirfd, path, &client, &directory))
        return -1;
    file_caches_publish(fs, client, 0); /* a later write would change the times, and clear the set-id bits */
    return finish(client_set_attributes(client, directory, path, (flags & AT_SYMLINK_NOFOLLOW) == 0, set));
}

int benchfs_fchmodat(benchfs *fs, int dirfd, const char *path, mode_t mode, int flags)
{
    APPLICATION_CALL(FCHMODAT, fs, -1, path);
    struct set_attributes_request set = {.fields = SET_MODE, .mode = mode & 07777};
    return set_by_path(fs, dirfd, path, flags, &set);
}

int benchfs_chmod(benchfs *fs, const char *path, mode_t mode)
{
    return benchfs_fchmodat(fs, AT_FDCWD, path, mode, 0);
}

int benchfs_fchmod(benchfs *fs, int fd, mode_t mode)
{
    APPLICATION_CALL(FCHMOD, fs, fd, NULL);
    struct set_attributes_request set = {.fields = SET_MODE, .mode = mode & 07777};
    return set_by_descriptor(fs, fd, &set);
}

static void set_owner(struct set_attributes_request *set, uid_t owner, gid_t group)
{
    *set = (struct set_attributes_request){
        .fields = SET_CLEAR_IDS | (owner == (uid_t)-1 ? 0 : SET_UID) | (group == (gid_t)-1 ? 0 : SET_GID),
        .uid = owner,
        .gid = group,
    };
}

int benchfs_fchownat(benchfs *fs, int dirfd, const char *path, uid_t owner, gid_t group, int flags)
{
    APPLICATION_CALL(FCHOWNAT, fs, -1, path);
    struct set_attributes_request set;
    set_owner(&set, owner, group);
    return set_by_path(fs, dirfd, path, flags, &set);
}

int benchfs_chown(benchfs *fs, const char *path, uid_t owner, gid_t group)
{
    return benchfs_fchownat(fs, AT_FDCWD, path, owner, group, 0);
}

int benchfs_lchown(benchfs *fs, const char *path, uid_t owner, gid_t group)
{
    return benchfs_fchownat(fs, AT_FDCWD, path, owner, group, AT_SYMLINK_NOFOLLOW);
}

int benchfs_fchown(benchfs *fs, int fd, uid_t owner, gid_t group)
{
    APPLICATION_CALL(FCHOWN, fs, fd, NULL);
    struct set_attributes_request set;
    set_owner(&set, owner, group);
    return set_by_descriptor(fs, fd, &set);
}

static int set_time(const struct timespec *time, uint32_t field, uint32_t field_now, uint32_t *fields,
                    int64_t *nanoseconds)
{
    if (time->tv_nsec == UTIME_OMIT)
        return 0;
    if (time->tv_nsec == UTIME_NOW) {
        *fields |= field_now;
        return 0;
    }
    if (time->tv_nsec < 0 || time->tv_nsec >= NSEC)
        return -1;
    *fields |= field;
    /* What does not fit is as far away as can be told: the years 1677 and 2262. */
    if (time->tv_sec >= INT64_MAX / NSEC)
        *nanoseconds = INT64_MAX / NSEC * NSEC;
    else if (time->tv_sec <= INT64_MIN / NSEC)
        *nanoseconds = INT64_MIN / NSEC * NSEC;
    else
        *nanoseconds = time->tv_sec * NSEC + time->tv_nsec;
    return 0;
}

static int set_times(struct set_attributes_request *set, const struct timespec times[2])
{
    *set = (struct set_attributes_request){0};
    uint32_t fields = 0;
    int64_t access = 0, modify = 0;
    if (times == NULL) {
        fields = SET_ACCESS_TIME_NOW | SET_MODIFY_TIME_NOW;
    } else if (set_time(&times[0], SET_ACCESS_TIME, SET_ACCESS_TIME_NOW, &fields, &access) < 0 ||
               set_time(&times[1], SET_MODIFY_TIME, SET_MODIFY_TIME_NOW, &fields, &modify) < 0) {
        errno = EINVAL;
        return -1;
    }
    set->fields = fields;
    set->access_time = access;
    set->modify_time = modify;
    return 0;
}

int benchfs_utimensat(benchfs *fs, int dirfd, const char *path, const struct timespec times[2], int flags)
{
    APPLICATION_CALL(UTIMENSAT, fs, -1, path);
    struct set_attributes_request set;
    if (set_times(&set, times) < 0)
        return -1;
    return path == NULL ? set_by_descriptor(fs, dirfd, &set) : set_by_path(fs, dirfd, path, flags, &set);
}

int benchfs_futimens(benchfs *fs, int fd, const struct timespec times[2])
{
    APPLICATION_CALL(FUTIMENS, fs, fd, NULL);
    struct set_attributes_request set;
    if (set_times(&set, times) < 0)
        return -1;
    return set_by_descriptor(fs, fd, &set);
}

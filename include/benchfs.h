/* libbenchfs: the BenchFS client library.
 *
 * Calls have the shape and meaning of their POSIX namesakes: they return -1 (or NULL) and set errno on
 * failure. Any number of threads may call at once; each thread gets its own connection to the servers at its
 * first call. Descriptors are small integers of this library's own, from 3 on, valid in every thread; they
 * are not kernel descriptors. AT_FDCWD is the root. A child after fork may go on (libbenchfs(3) says when).
 * Calls block the calling thread until the servers answered or the deadline (client.deadline, 10 s) has
 * passed: then EIO or ETIMEDOUT. */
#ifndef BENCHFS_H
#define BENCHFS_H

#include <dirent.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BENCHFS_API __attribute__((visibility("default")))

typedef struct benchfs benchfs;
typedef struct benchfs_dir benchfs_dir;

/* Connects to a cluster. cluster_file NULL: BENCHFS_SERVERS ("host:port,..." with the key in the file that
 * BENCHFS_KEY names), else BENCHFS_CLUSTER, else the default path. Returns NULL and sets errno (ENOENT: no
 * cluster file; EACCES: key refused; EHOSTDOWN: no server answers; EPROTONOSUPPORT: protocol versions
 * differ); the reason in one sentence is then in benchfs_error(). */
BENCHFS_API benchfs *benchfs_connect(const char *cluster_file);
BENCHFS_API void benchfs_disconnect(benchfs *fs);
/* Text of this thread's last failed benchfs_connect. */
BENCHFS_API const char *benchfs_error(void);
BENCHFS_API const char *benchfs_version(void);

/* On whose behalf this thread calls from now on; other threads are not touched. Without it: the process's
 * effective ids and its groups when it connected, in a child after fork those at its first call. uid and gid
 * -1 (ngroups 0): the process's own again, as they are now. At most 1,024 groups. Sends nothing; costs some
 * ns when nothing changes. Returns 0, or -1 (EINVAL, ENOMEM). */
BENCHFS_API int benchfs_set_credentials(benchfs *fs, uid_t uid, gid_t gid, int ngroups, const gid_t *groups);

/* What this process's calls promise to others' (cluster.consistency): "strict", "close" or "relaxed". */
BENCHFS_API const char *benchfs_consistency(benchfs *fs);
/* As sync(2): brings to the servers what this process has written and not published yet, as close and fsync
 * do for one file, and waits until everything that the servers have outlives them, if their store is
 * persistent. Fails as the first write that does; those of the file tell it once more. Under "close" and
 * "relaxed" to be called before execve. */
BENCHFS_API int benchfs_sync(benchfs *fs);
/* What has been done without, or ahead of, requests since benchfs_connect; all 0 under "strict". */
struct benchfs_counters {
    uint64_t buffered_writes;   /* calls whose bytes stayed in this process for the time being */
    uint64_t published;         /* transfers in which such bytes went to the servers */
    uint64_t cached_reads;      /* calls that were served from this process's memory */
    uint64_t read_ahead;        /* transfers that fetched more than was asked for */
    uint64_t cached_attributes; /* calls that were answered from attributes seen before */
};
BENCHFS_API void benchfs_counters(benchfs *fs, struct benchfs_counters *counters);

BENCHFS_API int benchfs_open(benchfs *fs, const char *path, int flags, ... /* mode_t mode */);
BENCHFS_API int benchfs_openat(benchfs *fs, int dirfd, const char *path, int flags, ... /* mode_t mode */);
BENCHFS_API int benchfs_close(benchfs *fs, int fd);
BENCHFS_API int benchfs_dup(benchfs *fs, int fd);
BENCHFS_API int benchfs_dup2(benchfs *fs, int fd, int target);
BENCHFS_API int benchfs_dup3(benchfs *fs, int fd, int target, int flags);
/* F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_SETLK, F_SETLKW, F_GETLK and F_OFD_*;
 * others are EINVAL. */
BENCHFS_API int benchfs_fcntl(benchfs *fs, int fd, int command, ...);
BENCHFS_API int benchfs_flock(benchfs *fs, int fd, int operation);
/* What a thread that waits for a file lock asks now and then (some 25 times a second): not 0 ends the wait
 * with EINTR. For the calling thread; NULL: nothing but signals ends a wait. */
BENCHFS_API void benchfs_set_interrupt(int (*interrupted)(void *argument), void *argument);
BENCHFS_API ssize_t benchfs_read(benchfs *fs, int fd, void *buffer, size_t count);
BENCHFS_API ssize_t benchfs_write(benchfs *fs, int fd, const void *buffer, size_t count);
BENCHFS_API ssize_t benchfs_pread(benchfs *fs, int fd, void *buffer, size_t count, off_t offset);
BENCHFS_API ssize_t benchfs_pwrite(benchfs *fs, int fd, const void *buffer, size_t count, off_t offset);
BENCHFS_API ssize_t benchfs_readv(benchfs *fs, int fd, const struct iovec *vector, int count);
BENCHFS_API ssize_t benchfs_writev(benchfs *fs, int fd, const struct iovec *vector, int count);
BENCHFS_API ssize_t benchfs_preadv(benchfs *fs, int fd, const struct iovec *vector, int count, off_t offset);
BENCHFS_API ssize_t benchfs_pwritev(benchfs *fs, int fd, const struct iovec *vector, int count, off_t offset);
/* flags: RWF_APPEND, RWF_SYNC, RWF_DSYNC, RWF_HIPRI (ignored); others are EOPNOTSUPP. offset -1: the
 * descriptor's own. */
BENCHFS_API ssize_t benchfs_preadv2(benchfs *fs, int fd, const struct iovec *vector, int count, off_t offset,
                                    int flags);
BENCHFS_API ssize_t benchfs_pwritev2(benchfs *fs, int fd, const struct iovec *vector, int count, off_t offset,
                                     int flags);
/* The servers copy among themselves. flags: 0. */
BENCHFS_API ssize_t benchfs_copy_file_range(benchfs *fs, int in_fd, off_t *in_offset, int out_fd,
                                            off_t *out_offset, size_t count, unsigned flags);
BENCHFS_API off_t benchfs_lseek(benchfs *fs, int fd, off_t offset, int whence);
BENCHFS_API int benchfs_fsync(benchfs *fs, int fd);
BENCHFS_API int benchfs_fdatasync(benchfs *fs, int fd);
BENCHFS_API int benchfs_ftruncate(benchfs *fs, int fd, off_t length);
/* mode: 0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE [|
 * FALLOC_FL_KEEP_SIZE]; others are EOPNOTSUPP. */
BENCHFS_API int benchfs_fallocate(benchfs *fs, int fd, int mode, off_t offset, off_t length);
/* Returns 0 or an errno value; errno is left alone. */
BENCHFS_API int benchfs_posix_fallocate(benchfs *fs, int fd, off_t offset, off_t length);
BENCHFS_API int benchfs_truncate(benchfs *fs, const char *path, off_t length);

BENCHFS_API int benchfs_stat(benchfs *fs, const char *path, struct stat *status);
BENCHFS_API int benchfs_lstat(benchfs *fs, const char *path, struct stat *status);
BENCHFS_API int benchfs_fstat(benchfs *fs, int fd, struct stat *status);
BENCHFS_API int benchfs_fstatat(benchfs *fs, int dirfd, const char *path, struct stat *status, int flags);
BENCHFS_API int benchfs_access(benchfs *fs, const char *path, int mode);
BENCHFS_API int benchfs_euidaccess(benchfs *fs, const char *path, int mode);
BENCHFS_API int benchfs_faccessat(benchfs *fs, int dirfd, const char *path, int mode, int flags);
BENCHFS_API int benchfs_statvfs(benchfs *fs, struct statvfs *status);
BENCHFS_API int benchfs_fstatvfs(benchfs *fs, int fd, struct statvfs *status);

/* Extended attributes: user.* by the file's permissions, trusted.* and security.* for root; access control
 * lists (system.posix_acl_*) and others are EOPNOTSUPP. A value has at most 64 KiB, an inode's values
 * together too. */
BENCHFS_API ssize_t benchfs_getxattr(benchfs *fs, const char *path, const char *name, void *value,
                                     size_t size);
BENCHFS_API ssize_t benchfs_lgetxattr(benchfs *fs, const char *path, const char *name, void *value,
                                      size_t size);
BENCHFS_API ssize_t benchfs_fgetxattr(benchfs *fs, int fd, const char *name, void *value, size_t size);
BENCHFS_API int benchfs_setxattr(benchfs *fs, const char *path, const char *name, const void *value,
                                 size_t size, int flags);
BENCHFS_API int benchfs_lsetxattr(benchfs *fs, const char *path, const char *name, const void *value,
                                  size_t size, int flags);
BENCHFS_API int benchfs_fsetxattr(benchfs *fs, int fd, const char *name, const void *value, size_t size,
                                  int flags);
BENCHFS_API ssize_t benchfs_listxattr(benchfs *fs, const char *path, char *names, size_t size);
BENCHFS_API ssize_t benchfs_llistxattr(benchfs *fs, const char *path, char *names, size_t size);
BENCHFS_API ssize_t benchfs_flistxattr(benchfs *fs, int fd, char *names, size_t size);
BENCHFS_API int benchfs_removexattr(benchfs *fs, const char *path, const char *name);
BENCHFS_API int benchfs_lremovexattr(benchfs *fs, const char *path, const char *name);
BENCHFS_API int benchfs_fremovexattr(benchfs *fs, int fd, const char *name);

BENCHFS_API int benchfs_mkdir(benchfs *fs, const char *path, mode_t mode);
BENCHFS_API int benchfs_mkdirat(benchfs *fs, int dirfd, const char *path, mode_t mode);
/* Fifos, sockets and device nodes are names only: opening one without O_PATH fails. */
BENCHFS_API int benchfs_mknod(benchfs *fs, const char *path, mode_t mode, dev_t device);
BENCHFS_API int benchfs_mknodat(benchfs *fs, int dirfd, const char *path, mode_t mode, dev_t device);
BENCHFS_API int benchfs_mkfifo(benchfs *fs, const char *path, mode_t mode);
BENCHFS_API int benchfs_mkfifoat(benchfs *fs, int dirfd, const char *path, mode_t mode);
BENCHFS_API int benchfs_rmdir(benchfs *fs, const char *path);
BENCHFS_API int benchfs_unlink(benchfs *fs, const char *path);
BENCHFS_API int benchfs_unlinkat(benchfs *fs, int dirfd, const char *path, int flags);
BENCHFS_API int benchfs_rename(benchfs *fs, const char *old_path, const char *new_path);
BENCHFS_API int benchfs_renameat(benchfs *fs, int old_dirfd, const char *old_path, int new_dirfd,
                                 const char *new_path);
/* flags: RENAME_NOREPLACE or RENAME_EXCHANGE of <stdio.h>. */
BENCHFS_API int benchfs_renameat2(benchfs *fs, int old_dirfd, const char *old_path, int new_dirfd,
                                  const char *new_path, unsigned flags);
BENCHFS_API int benchfs_link(benchfs *fs, const char *old_path, const char *new_path);
/* flags: AT_SYMLINK_FOLLOW, and AT_EMPTY_PATH for the file that old_dirfd is. */
BENCHFS_API int benchfs_linkat(benchfs *fs, int old_dirfd, const char *old_path, int new_dirfd,
                               const char *new_path, int flags);
BENCHFS_API int benchfs_symlink(benchfs *fs, const char *target, const char *path);
BENCHFS_API int benchfs_symlinkat(benchfs *fs, const char *target, int dirfd, const char *path);
BENCHFS_API ssize_t benchfs_readlink(benchfs *fs, const char *path, char *buffer, size_t size);
BENCHFS_API ssize_t benchfs_readlinkat(benchfs *fs, int dirfd, const char *path, char *buffer, size_t size);
BENCHFS_API int benchfs_chmod(benchfs *fs, const char *path, mode_t mode);
BENCHFS_API int benchfs_fchmod(benchfs *fs, int fd, mode_t mode);
BENCHFS_API int benchfs_fchmodat(benchfs *fs, int dirfd, const char *path, mode_t mode, int flags);
BENCHFS_API int benchfs_chown(benchfs *fs, const char *path, uid_t owner, gid_t group);
BENCHFS_API int benchfs_lchown(benchfs *fs, const char *path, uid_t owner, gid_t group);
BENCHFS_API int benchfs_fchown(benchfs *fs, int fd, uid_t owner, gid_t group);
BENCHFS_API int benchfs_fchownat(benchfs *fs, int dirfd, const char *path, uid_t owner, gid_t group,
                                 int flags);
BENCHFS_API int benchfs_utimensat(benchfs *fs, int dirfd, const char *path, const struct timespec times[2],
                                  int flags);
BENCHFS_API int benchfs_futimens(benchfs *fs, int fd, const struct timespec times[2]);
BENCHFS_API mode_t benchfs_umask(benchfs *fs, mode_t mask);

BENCHFS_API benchfs_dir *benchfs_opendir(benchfs *fs, const char *path);
BENCHFS_API benchfs_dir *benchfs_fdopendir(benchfs *fs, int fd); /* takes over fd */
/* Returns the next entry ("." and ".." first), valid until the next call on dir; NULL at the end (errno
 * unchanged) or on failure (errno set). With a non-NULL status also fills the entry's attributes
 * (readdirplus). */
BENCHFS_API struct dirent *benchfs_readdir(benchfs_dir *dir);
BENCHFS_API struct dirent *benchfs_readdirplus(benchfs_dir *dir, struct stat *status);
/* Positions: 0 is the beginning, and an entry's d_off the place behind it. Taken as 64 bits without sign they
 * order entries by a hash of the name, which is spread evenly over all of them: so a directory of many
 * entries can be read by several at once, each from one position to the next. */
BENCHFS_API long benchfs_telldir(benchfs_dir *dir);
BENCHFS_API void benchfs_seekdir(benchfs_dir *dir, long position);
BENCHFS_API void benchfs_rewinddir(benchfs_dir *dir);
BENCHFS_API int benchfs_closedir(benchfs_dir *dir);

/* ---- asynchronous calls ---- */

enum benchfs_io_kind {
    BENCHFS_IO_READ,
    BENCHFS_IO_WRITE,
    BENCHFS_IO_STAT, /* path; buffer: a struct stat, filled if result is 0 */
    BENCHFS_IO_OPEN, /* path, flags other than O_TRUNC, mode; result: a descriptor */
};

/* One call. The caller owns it, its buffer and its path until benchfs_wait has returned it, and may not
 * change them. */
struct benchfs_io {
    enum benchfs_io_kind kind;
    int fd; /* of reads and writes, as count and offset */
    void *buffer;
    size_t count;
    off_t offset;
    ssize_t result; /* as the call's namesake, but a negative errno value where that returns -1 */
    void *user;     /* the caller's */
    const char *path;
    int flags;
    mode_t mode;
    void *reserved[6];
};

/* Starts count calls, which run beside each other in no order; they progress while this thread is inside
 * libbenchfs. Returns 0, or -1 (EINVAL, EBADF, ENOMEM): then none was started. */
BENCHFS_API int benchfs_submit(benchfs *fs, struct benchfs_io *const *ios, unsigned count);

/* Waits until at least minimum of this thread's calls are done, or timeout (NULL: for ever) has passed;
 * stores up to maximum finished ones in done. Returns how many. */
BENCHFS_API int benchfs_wait(benchfs *fs, struct benchfs_io **done, unsigned minimum, unsigned maximum,
                             const struct timespec *timeout);

#ifdef __cplusplus
}
#endif

#endif

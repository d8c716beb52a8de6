/* What the preload library asks of BenchFS: one table of calls, implemented by a module of its own.
 *
 * libbenchfs_preload.so is in every process and must be light and carry no library into the program's name
 * space, so client, transport and all that they link are in libbenchfs_preload_client.so, which is loaded
 * privately at the first call that needs it. It exports one symbol, the function that returns this table.
 *
 * Descriptors are libbenchfs's, AT_FDCWD is the root of BenchFS. Results and errno are as in benchfs.h; EXDEV
 * may mean that the path led out of BenchFS: then left() has the path to go on with. */
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "client/shared_locks.h"

struct benchfs_dir;

/* All that an open file needs to be opened again by inode, in another process. */
struct remote_file {
    uint64_t inode;
    uint64_t instance; /* of the process that holds it open */
    uint64_t parent;
    uint64_t size;
    uint32_t generation;
    uint32_t mode;
    int32_t flags;
    uint32_t layout_base;
    int32_t process; /* that is the instance; 0: it is the instance of a parent */
    uint8_t layout_placement;
    uint8_t layout_chunk_shift;
    uint8_t reserved[2];
};

/* X(result type, name, arguments) */
#define REMOTE_TABLE(X)                                                                                      \
    /* Connects; programs see the root at prefix. NULL, or the reason of the failure with errno set. guard   \
     * is called around what the module does on its own: when the process forks, or a thread or it ends. */  \
    X(const char *, connect, (const char *prefix, void (*guard)(bool enter)))                                \
    /* The process ends: tells the servers of what this thread closed. */                                    \
    X(void, farewell, (void))                                                                                \
    /* Its absolute path; NULL: there is none, servers and key were named one by one. */                     \
    X(const char *, cluster_file, (void))                                                                    \
    X(const char *, left, (void))                                                                            \
    X(int, set_credentials, (uid_t uid, gid_t gid, int count, const gid_t *groups))                          \
    X(mode_t, umask, (mode_t mask))                                                                          \
    X(int, open, (int dirfd, const char *path, int flags, mode_t mode))                                      \
    X(int, close, (int fd))                                                                                  \
    /* The file as it is open, and a new descriptor of it. locks: other processes get it, or had it; may     \
       be NULL. */                                                                                           \
    X(int, save, (int fd, struct remote_file *file, struct shared_locks *locks))                             \
    X(int, restore, (const struct remote_file *file, struct shared_locks *locks))                            \
    /* O_APPEND and other status flags. */                                                                   \
    X(int, set_flags, (int fd, int flags))                                                                   \
    X(ssize_t, pread, (int fd, void *buffer, size_t count, off_t offset))                                    \
    X(ssize_t, pwrite, (int fd, const void *buffer, size_t count, off_t offset))                             \
    X(ssize_t, preadv, (int fd, const struct iovec *vector, int count, off_t offset, int flags))             \
    X(ssize_t, pwritev, (int fd, const struct iovec *vector, int count, off_t offset, int flags))            \
    /* Writes at the end; *offset gets the place behind what was written. */                                 \
    X(ssize_t, append, (int fd, const void *buffer, size_t count, off_t *offset))                            \
    X(int, fsync, (int fd))                                                                                  \
    /* Before an exec: what is written is at the servers, of all files, and they know that what is open may  \
       be taken over. */                                                                                     \
    X(int, publish, (void))                                                                                  \
    /* Around a posix_spawn whose child may take over what is open; 0: there is no child. */                 \
    X(int, before_spawn, (void))                                                                             \
    X(int, after_spawn, (pid_t child))                                                                       \
    X(int, sync, (void))                                                                                     \
    X(int, ftruncate, (int fd, off_t length))                                                                \
    X(int, fallocate, (int fd, int mode, off_t offset, off_t length))                                        \
    X(int, posix_fallocate, (int fd, off_t offset, off_t length)) /* an errno value */                       \
    X(ssize_t, copy_file_range,                                                                              \
      (int in_fd, off_t *in_offset, int out_fd, off_t *out_offset, size_t count, unsigned flags))            \
    X(int, truncateat, (int dirfd, const char *path, off_t length))                                          \
    /* SEEK_DATA, SEEK_HOLE and SEEK_END without moving anything. */                                         \
    X(off_t, seek, (int fd, off_t offset, int whence))                                                       \
    /* F_GETLK, F_SETLK, F_SETLKW and F_OFD_*, from the beginning of the file. */                            \
    X(int, lock, (int fd, int command, struct flock *lock))                                                  \
    X(int, flock, (int fd, int operation))                                                                   \
    X(int, fstat, (int fd, struct stat *status))                                                             \
    X(int, statat, (int dirfd, const char *path, struct stat *status, int flags))                            \
    X(int, statvfs, (struct statvfs * status))                                                               \
    X(int, accessat, (int dirfd, const char *path, int mode, int flags))                                     \
    X(int, mkdirat, (int dirfd, const char *path, mode_t mode))                                              \
    X(int, mknodat, (int dirfd, const char *path, mode_t mode, dev_t device))                                \
    X(int, unlinkat, (int dirfd, const char *path, int flags))                                               \
    X(int, renameat,                                                                                         \
      (int old_dirfd, const char *old_path, int new_dirfd, const char *new_path, unsigned flags))            \
    X(int, linkat, (int old_dirfd, const char *old_path, int new_dirfd, const char *new_path, int flags))    \
    X(int, symlinkat, (const char *target, int dirfd, const char *path))                                     \
    X(ssize_t, readlinkat, (int dirfd, const char *path, char *buffer, size_t size))                         \
    X(int, chmodat, (int dirfd, const char *path, mode_t mode, int flags))                                   \
    X(int, fchmod, (int fd, mode_t mode))                                                                    \
    X(int, chownat, (int dirfd, const char *path, uid_t owner, gid_t group, int flags))                      \
    X(int, fchown, (int fd, uid_t owner, gid_t group))                                                       \
    X(int, utimensat, (int dirfd, const char *path, const struct timespec times[2], int flags))              \
    X(int, futimens, (int fd, const struct timespec times[2]))                                               \
    /* Extended attributes; follow: of what a link at the end points to. */                                  \
    X(ssize_t, getxattrat,                                                                                   \
      (int dirfd, const char *path, bool follow, const char *name, void *value, size_t size))                \
    X(ssize_t, fgetxattr, (int fd, const char *name, void *value, size_t size))                              \
    X(int, setxattrat,                                                                                       \
      (int dirfd, const char *path, bool follow, const char *name, const void *value, size_t size,           \
       int flags))                                                                                           \
    X(int, fsetxattr, (int fd, const char *name, const void *value, size_t size, int flags))                 \
    X(ssize_t, listxattrat, (int dirfd, const char *path, bool follow, char *names, size_t size))            \
    X(ssize_t, flistxattr, (int fd, char *names, size_t size))                                               \
    X(int, removexattrat, (int dirfd, const char *path, bool follow, const char *name))                      \
    X(int, fremovexattr, (int fd, const char *name))                                                         \
    /* Lists the directory open as fd, which stays the caller's. */                                          \
    X(struct benchfs_dir *, opendir, (int fd))                                                               \
    X(struct benchfs_dir *, fdopendir, (int fd))                                                             \
    X(struct dirent *, readdir, (struct benchfs_dir * directory))                                            \
    X(long, telldir, (struct benchfs_dir * directory))                                                       \
    X(void, seekdir, (struct benchfs_dir * directory, long position))                                        \
    X(int, closedir, (struct benchfs_dir * directory))

#define REMOTE_MEMBER(type, name, arguments) type(*name) arguments;
struct remote_calls {
    REMOTE_TABLE(REMOTE_MEMBER)
};
#undef REMOTE_MEMBER

#define REMOTE_MODULE "libbenchfs_preload_client.so"
#define REMOTE_SYMBOL "benchfs_preload_client"
const struct remote_calls *benchfs_preload_client(void);

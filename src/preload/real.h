/* The C library's own functions behind those that the preload library puts in front of them, found by name at
 * their first use. */
#pragma once

#include <aio.h>
#include <dirent.h>
#include <fcntl.h>
#include <fts.h>
#include <ftw.h>
#include <glob.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

/* X(result type, name, arguments) */
#define REAL_TABLE(X)                                                                                        \
    X(int, open, (const char *, int, ...))                                                                   \
    X(int, openat, (int, const char *, int, ...))                                                            \
    X(int, close, (int))                                                                                     \
    X(int, close_range, (unsigned, unsigned, int))                                                           \
    X(int, dup, (int))                                                                                       \
    X(int, dup2, (int, int))                                                                                 \
    X(int, dup3, (int, int, int))                                                                            \
    X(int, fcntl, (int, int, ...))                                                                           \
    X(int, ioctl, (int, unsigned long, ...))                                                                 \
    X(long, syscall, (long, ...))                                                                            \
    X(ssize_t, read, (int, void *, size_t))                                                                  \
    X(ssize_t, write, (int, const void *, size_t))                                                           \
    X(ssize_t, pread, (int, void *, size_t, off_t))                                                          \
    X(ssize_t, pwrite, (int, const void *, size_t, off_t))                                                   \
    X(ssize_t, readv, (int, const struct iovec *, int))                                                      \
    X(ssize_t, writev, (int, const struct iovec *, int))                                                     \
    X(ssize_t, preadv, (int, const struct iovec *, int, off_t))                                              \
    X(ssize_t, pwritev, (int, const struct iovec *, int, off_t))                                             \
    X(ssize_t, preadv2, (int, const struct iovec *, int, off_t, int))                                        \
    X(ssize_t, pwritev2, (int, const struct iovec *, int, off_t, int))                                       \
    X(ssize_t, __read_chk, (int, void *, size_t, size_t))                                                    \
    X(ssize_t, __pread_chk, (int, void *, size_t, off_t, size_t))                                            \
    X(off_t, lseek, (int, off_t, int))                                                                       \
    X(int, fsync, (int))                                                                                     \
    X(int, fdatasync, (int))                                                                                 \
    X(int, syncfs, (int))                                                                                    \
    X(int, sync_file_range, (int, off64_t, off64_t, unsigned))                                               \
    X(int, fallocate, (int, int, off_t, off_t))                                                              \
    X(int, posix_fallocate, (int, off_t, off_t))                                                             \
    X(int, posix_fadvise, (int, off_t, off_t, int))                                                          \
    X(ssize_t, readahead, (int, off64_t, size_t))                                                            \
    X(int, ftruncate, (int, off_t))                                                                          \
    X(int, truncate, (const char *, off_t))                                                                  \
    X(ssize_t, copy_file_range, (int, off64_t *, int, off64_t *, size_t, unsigned))                          \
    X(ssize_t, sendfile, (int, int, off_t *, size_t))                                                        \
    X(ssize_t, splice, (int, off64_t *, int, off64_t *, size_t, unsigned))                                   \
    X(int, flock, (int, int))                                                                                \
    X(int, lockf, (int, int, off_t))                                                                         \
    X(void *, mmap, (void *, size_t, int, int, int, off_t))                                                  \
    X(int, stat, (const char *, struct stat *))                                                              \
    X(int, lstat, (const char *, struct stat *))                                                             \
    X(int, fstat, (int, struct stat *))                                                                      \
    X(int, fstatat, (int, const char *, struct stat *, int))                                                 \
    X(int, statx, (int, const char *, int, unsigned, struct statx *))                                        \
    X(int, statfs, (const char *, struct statfs *))                                                          \
    X(int, fstatfs, (int, struct statfs *))                                                                  \
    X(int, statvfs, (const char *, struct statvfs *))                                                        \
    X(int, fstatvfs, (int, struct statvfs *))                                                                \
    X(int, access, (const char *, int))                                                                      \
    X(int, faccessat, (int, const char *, int, int))                                                         \
    X(int, euidaccess, (const char *, int))                                                                  \
    X(long, pathconf, (const char *, int))                                                                   \
    X(long, fpathconf, (int, int))                                                                           \
    X(int, mkdir, (const char *, mode_t))                                                                    \
    X(int, mkdirat, (int, const char *, mode_t))                                                             \
    X(int, rmdir, (const char *))                                                                            \
    X(int, unlink, (const char *))                                                                           \
    X(int, unlinkat, (int, const char *, int))                                                               \
    X(int, remove, (const char *))                                                                           \
    X(int, rename, (const char *, const char *))                                                             \
    X(int, renameat, (int, const char *, int, const char *))                                                 \
    X(int, renameat2, (int, const char *, int, const char *, unsigned))                                      \
    X(int, link, (const char *, const char *))                                                               \
    X(int, linkat, (int, const char *, int, const char *, int))                                              \
    X(int, symlink, (const char *, const char *))                                                            \
    X(int, symlinkat, (const char *, int, const char *))                                                     \
    X(ssize_t, readlink, (const char *, char *, size_t))                                                     \
    X(ssize_t, readlinkat, (int, const char *, char *, size_t))                                              \
    X(int, mknod, (const char *, mode_t, dev_t))                                                             \
    X(int, mknodat, (int, const char *, mode_t, dev_t))                                                      \
    X(int, mkfifo, (const char *, mode_t))                                                                   \
    X(int, mkfifoat, (int, const char *, mode_t))                                                            \
    X(int, chmod, (const char *, mode_t))                                                                    \
    X(int, fchmod, (int, mode_t))                                                                            \
    X(int, lchmod, (const char *, mode_t))                                                                   \
    X(int, fchmodat, (int, const char *, mode_t, int))                                                       \
    X(int, chown, (const char *, uid_t, gid_t))                                                              \
    X(int, lchown, (const char *, uid_t, gid_t))                                                             \
    X(int, fchown, (int, uid_t, gid_t))                                                                      \
    X(int, fchownat, (int, const char *, uid_t, gid_t, int))                                                 \
    X(int, utime, (const char *, const struct utimbuf *))                                                    \
    X(int, utimes, (const char *, const struct timeval *))                                                   \
    X(int, lutimes, (const char *, const struct timeval *))                                                  \
    X(int, futimes, (int, const struct timeval *))                                                           \
    X(int, futimesat, (int, const char *, const struct timeval *))                                           \
    X(int, utimensat, (int, const char *, const struct timespec *, int))                                     \
    X(int, futimens, (int, const struct timespec *))                                                         \
    X(int, setxattr, (const char *, const char *, const void *, size_t, int))                                \
    X(int, lsetxattr, (const char *, const char *, const void *, size_t, int))                               \
    X(int, fsetxattr, (int, const char *, const void *, size_t, int))                                        \
    X(ssize_t, getxattr, (const char *, const char *, void *, size_t))                                       \
    X(ssize_t, lgetxattr, (const char *, const char *, void *, size_t))                                      \
    X(ssize_t, fgetxattr, (int, const char *, void *, size_t))                                               \
    X(ssize_t, listxattr, (const char *, char *, size_t))                                                    \
    X(ssize_t, llistxattr, (const char *, char *, size_t))                                                   \
    X(ssize_t, flistxattr, (int, char *, size_t))                                                            \
    X(int, removexattr, (const char *, const char *))                                                        \
    X(int, lremovexattr, (const char *, const char *))                                                       \
    X(int, fremovexattr, (int, const char *))                                                                \
    X(mode_t, umask, (mode_t))                                                                               \
    X(int, chdir, (const char *))                                                                            \
    X(int, fchdir, (int))                                                                                    \
    X(int, chroot, (const char *))                                                                           \
    X(char *, getcwd, (char *, size_t))                                                                      \
    X(char *, realpath, (const char *, char *))                                                              \
    X(int, mkostemps, (char *, int, int))                                                                    \
    X(char *, mkdtemp, (char *))                                                                             \
    X(char *, mktemp, (char *))                                                                              \
    X(char *, tempnam, (const char *, const char *))                                                         \
    X(DIR *, opendir, (const char *))                                                                        \
    X(DIR *, fdopendir, (int))                                                                               \
    X(struct dirent *, readdir, (DIR *))                                                                     \
    X(int, readdir_r, (DIR *, struct dirent *, struct dirent **))                                            \
    X(long, telldir, (DIR *))                                                                                \
    X(void, seekdir, (DIR *, long))                                                                          \
    X(void, rewinddir, (DIR *))                                                                              \
    X(int, closedir, (DIR *))                                                                                \
    X(int, dirfd, (DIR *))                                                                                   \
    X(int, scandirat,                                                                                        \
      (int, const char *, struct dirent ***, int (*)(const struct dirent *),                                 \
       int (*)(const struct dirent **, const struct dirent **)))                                             \
    X(int, glob, (const char *, int, int (*)(const char *, int), glob_t *))                                  \
    X(int, aio_read, (struct aiocb *))                                                                       \
    X(int, aio_write, (struct aiocb *))                                                                      \
    X(int, aio_fsync, (int, struct aiocb *))                                                                 \
    X(int, aio_cancel, (int, struct aiocb *))                                                                \
    X(int, lio_listio, (int, struct aiocb *const[], int, struct sigevent *))                                 \
    X(int, ftw, (const char *, int (*)(const char *, const struct stat *, int), int))                        \
    X(int, nftw, (const char *, int (*)(const char *, const struct stat *, int, struct FTW *), int, int))    \
    X(FTS *, fts_open, (char *const *, int, int (*)(const FTSENT **, const FTSENT **)))                      \
    X(FTSENT *, fts_read, (FTS *))                                                                           \
    X(FTSENT *, fts_children, (FTS *, int))                                                                  \
    X(int, fts_set, (FTS *, FTSENT *, int))                                                                  \
    X(int, fts_close, (FTS *))                                                                               \
    X(FILE *, fopen, (const char *, const char *))                                                           \
    X(FILE *, freopen, (const char *, const char *, FILE *))                                                 \
    X(FILE *, fdopen, (int, const char *))                                                                   \
    X(int, fclose, (FILE *))                                                                                 \
    X(int, fileno, (FILE *))                                                                                 \
    X(FILE *, popen, (const char *, const char *))                                                           \
    X(int, pclose, (FILE *))                                                                                 \
    X(int, system, (const char *))                                                                           \
    X(int, pthread_create, (pthread_t *, const pthread_attr_t *, void *(*)(void *), void *))                 \
    X(pid_t, fork, (void))                                                                                   \
    X(void, _exit, (int))                                                                                    \
    X(int, execve, (const char *, char *const *, char *const *))                                             \
    X(int, execveat, (int, const char *, char *const *, char *const *, int))                                 \
    X(int, posix_spawn,                                                                                      \
      (pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const *,  \
       char *const *))                                                                                       \
    X(int, posix_spawnp,                                                                                     \
      (pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const *,  \
       char *const *))                                                                                       \
    X(void *, dlopen, (const char *, int))                                                                   \
    X(int, setuid, (uid_t))                                                                                  \
    X(int, seteuid, (uid_t))                                                                                 \
    X(int, setreuid, (uid_t, uid_t))                                                                         \
    X(int, setresuid, (uid_t, uid_t, uid_t))                                                                 \
    X(int, setgid, (gid_t))                                                                                  \
    X(int, setegid, (gid_t))                                                                                 \
    X(int, setregid, (gid_t, gid_t))                                                                         \
    X(int, setresgid, (gid_t, gid_t, gid_t))                                                                 \
    X(int, setgroups, (size_t, const gid_t *))                                                               \
    X(int, initgroups, (const char *, gid_t))                                                                \
    X(int, setfsuid, (uid_t))                                                                                \
    X(int, setfsgid, (gid_t))                                                                                \
    X(int, socket, (int, int, int))                                                                          \
    X(int, socketpair, (int, int, int, int *))                                                               \
    X(int, accept, (int, struct sockaddr *, socklen_t *))                                                    \
    X(int, accept4, (int, struct sockaddr *, socklen_t *, int))                                              \
    X(int, pipe, (int *))                                                                                    \
    X(int, pipe2, (int *, int))                                                                              \
    X(int, epoll_create, (int))                                                                              \
    X(int, epoll_create1, (int))                                                                             \
    X(int, eventfd, (unsigned, int))                                                                         \
    X(int, timerfd_create, (int, int))                                                                       \
    X(int, memfd_create, (const char *, unsigned))                                                           \
    X(int, shm_open, (const char *, int, mode_t))

#define REAL_MEMBER(type, name, arguments) type(*name) arguments;
struct real_calls {
    REAL_TABLE(REAL_MEMBER)
};
#undef REAL_MEMBER

extern struct real_calls real_calls __attribute__((visibility("hidden")));

/* Finds the function and remembers it in *entry. Ends the process with a message if the C library has none.
 */
void *real_find(void *entry, const char *name);

/* real(open)(path, flags): the C library's open. */
#define real(name)                                                                                           \
    (__builtin_expect(real_calls.name != NULL, 1)                                                            \
         ? real_calls.name                                                                                   \
         : (__typeof__(real_calls.name))(uintptr_t)real_find(&real_calls.name, #name))

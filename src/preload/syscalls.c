/* syscall(2): programs that call the kernel by number come to the same functions as those that call by name.
 * Numbers that have nothing to do with files go straight through. */
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "preload/preload.h"

/* X(number, call with arguments a to f) */
#define COMMON_TABLE(X)                                                                                      \
    X(SYS_openat, openat((int)a, (const char *)b, (int)c, (mode_t)d))                                        \
    X(SYS_close, close((int)a))                                                                              \
    X(SYS_read, read((int)a, (void *)b, (size_t)c))                                                          \
    X(SYS_write, write((int)a, (const void *)b, (size_t)c))                                                  \
    X(SYS_pread64, pread((int)a, (void *)b, (size_t)c, d))                                                   \
    X(SYS_pwrite64, pwrite((int)a, (const void *)b, (size_t)c, d))                                           \
    X(SYS_readv, readv((int)a, (const struct iovec *)b, (int)c))                                             \
    X(SYS_writev, writev((int)a, (const struct iovec *)b, (int)c))                                           \
    X(SYS_preadv, preadv((int)a, (const struct iovec *)b, (int)c, d))                                        \
    X(SYS_pwritev, pwritev((int)a, (const struct iovec *)b, (int)c, d))                                      \
    X(SYS_preadv2, preadv2((int)a, (const struct iovec *)b, (int)c, d, (int)f))                              \
    X(SYS_pwritev2, pwritev2((int)a, (const struct iovec *)b, (int)c, d, (int)f))                            \
    X(SYS_lseek, lseek((int)a, b, (int)c))                                                                   \
    X(SYS_fsync, fsync((int)a))                                                                              \
    X(SYS_fdatasync, fdatasync((int)a))                                                                      \
    X(SYS_ftruncate, ftruncate((int)a, b))                                                                   \
    X(SYS_truncate, truncate((const char *)a, b))                                                            \
    X(SYS_fallocate, fallocate((int)a, (int)b, c, d))                                                        \
    X(SYS_dup, dup((int)a))                                                                                  \
    X(SYS_dup3, dup3((int)a, (int)b, (int)c))                                                                \
    X(SYS_fcntl, fcntl((int)a, (int)b, c))                                                                   \
    X(SYS_ioctl, ioctl((int)a, (unsigned long)b, c))                                                         \
    X(SYS_fstat, fstat((int)a, (struct stat *)b))                                                            \
    X(SYS_newfstatat, fstatat((int)a, (const char *)b, (struct stat *)c, (int)d))                            \
    X(SYS_statx, statx((int)a, (const char *)b, (int)c, (unsigned)d, (struct statx *)e))                     \
    X(SYS_statfs, statfs((const char *)a, (struct statfs *)b))                                               \
    X(SYS_fstatfs, fstatfs((int)a, (struct statfs *)b))                                                      \
    X(SYS_faccessat, faccessat((int)a, (const char *)b, (int)c, 0))                                          \
    X(SYS_mkdirat, mkdirat((int)a, (const char *)b, (mode_t)c))                                              \
    X(SYS_unlinkat, unlinkat((int)a, (const char *)b, (int)c))                                               \
    X(SYS_renameat2, renameat2((int)a, (const char *)b, (int)c, (const char *)d, (unsigned)e))               \
    X(SYS_linkat, linkat((int)a, (const char *)b, (int)c, (const char *)d, (int)e))                          \
    X(SYS_symlinkat, symlinkat((const char *)a, (int)b, (const char *)c))                                    \
    X(SYS_readlinkat, readlinkat((int)a, (const char *)b, (char *)c, (size_t)d))                             \
    X(SYS_fchmod, fchmod((int)a, (mode_t)b))                                                                 \
    X(SYS_fchmodat, fchmodat((int)a, (const char *)b, (mode_t)c, 0))                                         \
    X(SYS_fchown, fchown((int)a, (uid_t)b, (gid_t)c))                                                        \
    X(SYS_fchownat, fchownat((int)a, (const char *)b, (uid_t)c, (gid_t)d, (int)e))                           \
    X(SYS_utimensat, utimensat((int)a, (const char *)b, (const struct timespec *)c, (int)d))                 \
    X(SYS_copy_file_range,                                                                                   \
      copy_file_range((int)a, (off64_t *)b, (int)c, (off64_t *)d, (size_t)e, (unsigned)f))                   \
    X(SYS_sendfile, sendfile((int)a, (int)b, (off_t *)c, (size_t)d))                                         \
    X(SYS_chdir, chdir((const char *)a))                                                                     \
    X(SYS_fchdir, fchdir((int)a))                                                                            \
    X(SYS_execve, execve((const char *)a, (char *const *)b, (char *const *)c))

#ifdef SYS_close_range
#define CLOSE_RANGE_TABLE(X) X(SYS_close_range, close_range((unsigned)a, (unsigned)b, (int)c))
#else
#define CLOSE_RANGE_TABLE(X)
#endif

/* Only older architectures have these. */
#ifdef SYS_open
#define OLD_TABLE(X)                                                                                         \
    X(SYS_open, open((const char *)a, (int)b, (mode_t)c))                                                    \
    X(SYS_creat, creat((const char *)a, (mode_t)b))                                                          \
    X(SYS_stat, stat((const char *)a, (struct stat *)b))                                                     \
    X(SYS_lstat, lstat((const char *)a, (struct stat *)b))                                                   \
    X(SYS_access, access((const char *)a, (int)b))                                                           \
    X(SYS_dup2, dup2((int)a, (int)b))                                                                        \
    X(SYS_mkdir, mkdir((const char *)a, (mode_t)b))                                                          \
    X(SYS_rmdir, rmdir((const char *)a))                                                                     \
    X(SYS_unlink, unlink((const char *)a))                                                                   \
    X(SYS_rename, rename((const char *)a, (const char *)b))                                                  \
    X(SYS_renameat, renameat((int)a, (const char *)b, (int)c, (const char *)d))                              \
    X(SYS_readlink, readlink((const char *)a, (char *)b, (size_t)c))                                         \
    X(SYS_symlink, symlink((const char *)a, (const char *)b))                                                \
    X(SYS_link, link((const char *)a, (const char *)b))                                                      \
    X(SYS_chmod, chmod((const char *)a, (mode_t)b))                                                          \
    X(SYS_chown, chown((const char *)a, (uid_t)b, (gid_t)c))
#else
#define OLD_TABLE(X)
#endif

#define CASE(number, call)                                                                                   \
    case number:                                                                                             \
        return call;

EXPORT long syscall(long number, ...)
{
    va_list list;
    va_start(list, number);
    long a = va_arg(list, long), b = va_arg(list, long), c = va_arg(list, long), d = va_arg(list, long),
         e = va_arg(list, long), f = va_arg(list, long);
    va_end(list);
    if (inside == 0)
        switch (number) {
            COMMON_TABLE(CASE)
            CLOSE_RANGE_TABLE(CASE)
            OLD_TABLE(CASE)
        case SYS_setuid:
        case SYS_setreuid:
        case SYS_setresuid:
        case SYS_setfsuid:
        case SYS_setgid:
        case SYS_setregid:
        case SYS_setresgid:
        case SYS_setfsgid:
        case SYS_setgroups: /* of this thread only */
            credentials_changed_here();
            break;
        default:
            break;
        }
    return real(syscall)(number, a, b, c, d, e, f);
}

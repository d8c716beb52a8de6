/* Calls of the library, and requests of the kernel to a mount, as trace entries, recorded while somebody
 * traces (metrics_header.detail_until).
 *
 * Each public call begins with APPLICATION_CALL, which costs a predicted branch as long as nobody does. Its
 * end, on whatever way the function returns, records the entry; what the call returned it knows from finish()
 * and finish_size(), or from errno. */
#pragma once

#include "client/library.h"

/* A(id, name, moves): moves - what it returns is a number of bytes. */
#define APPLICATION_TABLE(A)                                                                                 \
    A(SYNC, "sync", false)                                                                                   \
    A(FACCESSAT, "faccessat", false)                                                                         \
    A(CLOSE, "close", false)                                                                                 \
    A(OPEN, "open", false)                                                                                   \
    A(OPENAT, "openat", false)                                                                               \
    A(LSEEK, "lseek", false)                                                                                 \
    A(OPENDIR, "opendir", false)                                                                             \
    A(PREAD, "pread", true)                                                                                  \
    A(READ, "read", true)                                                                                    \
    A(PWRITE, "pwrite", true)                                                                                \
    A(WRITE, "write", true)                                                                                  \
    A(READV, "readv", true)                                                                                  \
    A(WRITEV, "writev", true)                                                                                \
    A(PREADV, "preadv", true)                                                                                \
    A(PWRITEV, "pwritev", true)                                                                              \
    A(PREADV2, "preadv2", true)                                                                              \
    A(PWRITEV2, "pwritev2", true)                                                                            \
    A(FSYNC, "fsync", false)                                                                                 \
    A(FTRUNCATE, "ftruncate", false)                                                                         \
    A(FALLOCATE, "fallocate", false)                                                                         \
    A(POSIX_FALLOCATE, "posix_fallocate", false)                                                             \
    A(COPY_FILE_RANGE, "copy_file_range", true)                                                              \
    A(FSTAT, "fstat", false)                                                                                 \
    A(SUBMIT, "submit", false)                                                                               \
    A(WAIT, "wait", false)                                                                                   \
    A(FLOCK, "flock", false)                                                                                 \
    A(STAT, "stat", false)                                                                                   \
    A(LSTAT, "lstat", false)                                                                                 \
    A(FSTATAT, "fstatat", false)                                                                             \
    A(STATVFS, "statvfs", false)                                                                             \
    A(FSTATVFS, "fstatvfs", false)                                                                           \
    A(MKDIRAT, "mkdirat", false)                                                                             \
    A(MKNODAT, "mknodat", false)                                                                             \
    A(UNLINKAT, "unlinkat", false)                                                                           \
    A(RENAMEAT2, "renameat2", false)                                                                         \
    A(LINKAT, "linkat", false)                                                                               \
    A(SYMLINKAT, "symlinkat", false)                                                                         \
    A(READLINKAT, "readlinkat", false)                                                                       \
    A(TRUNCATE, "truncate", false)                                                                           \
    A(FCHMODAT, "fchmodat", false)                                                                           \
    A(FCHMOD, "fchmod", false)                                                                               \
    A(FCHOWNAT, "fchownat", false)                                                                           \
    A(FCHOWN, "fchown", false)                                                                               \
    A(UTIMENSAT, "utimensat", false)                                                                         \
    A(FUTIMENS, "futimens", false)                                                                           \
    A(GETXATTR, "getxattr", false)                                                                           \
    A(LGETXATTR, "lgetxattr", false)                                                                         \
    A(FGETXATTR, "fgetxattr", false)                                                                         \
    A(SETXATTR, "setxattr", false)                                                                           \
    A(LSETXATTR, "lsetxattr", false)                                                                         \
    A(FSETXATTR, "fsetxattr", false)                                                                         \
    A(LISTXATTR, "listxattr", false)                                                                         \
    A(LLISTXATTR, "llistxattr", false)                                                                       \
    A(FLISTXATTR, "flistxattr", false)                                                                       \
    A(REMOVEXATTR, "removexattr", false)                                                                     \
    A(LREMOVEXATTR, "lremovexattr", false)                                                                   \
    A(FREMOVEXATTR, "fremovexattr", false)                                                                   \
    A(READDIR, "readdir", false)                                                                             \
    A(IO_READ, "io_read", true)                                                                              \
    A(IO_WRITE, "io_write", true)                                                                            \
    A(IO_STAT, "io_stat", false)                                                                             \
    A(IO_OPEN, "io_open", false)                                                                             \
    /* Requests of the kernel to a mount: fuse/traced.c. */                                                  \
    A(FUSE_LOOKUP, "fuse_lookup", false)                                                                     \
    A(FUSE_GETATTR, "fuse_getattr", false)                                                                   \
    A(FUSE_SETATTR, "fuse_setattr", false)                                                                   \
    A(FUSE_READLINK, "fuse_readlink", false)                                                                 \
    A(FUSE_SYMLINK, "fuse_symlink", false)                                                                   \
    A(FUSE_MKNOD, "fuse_mknod", false)                                                                       \
    A(FUSE_MKDIR, "fuse_mkdir", false)                                                                       \
    A(FUSE_UNLINK, "fuse_unlink", false)                                                                     \
    A(FUSE_RMDIR, "fuse_rmdir", false)                                                                       \
    A(FUSE_RENAME, "fuse_rename", false)                                                                     \
    A(FUSE_LINK, "fuse_link", false)                                                                         \
    A(FUSE_OPEN, "fuse_open", false)                                                                         \
    A(FUSE_READ, "fuse_read", true)                                                                          \
    A(FUSE_WRITE, "fuse_write", true)                                                                        \
    A(FUSE_STATFS, "fuse_statfs", false)                                                                     \
    A(FUSE_RELEASE, "fuse_release", false)                                                                   \
    A(FUSE_FSYNC, "fuse_fsync", false)                                                                       \
    A(FUSE_SETXATTR, "fuse_setxattr", false)                                                                 \
    A(FUSE_GETXATTR, "fuse_getxattr", false)                                                                 \
    A(FUSE_LISTXATTR, "fuse_listxattr", false)                                                               \
    A(FUSE_REMOVEXATTR, "fuse_removexattr", false)                                                           \
    A(FUSE_FLUSH, "fuse_flush", false)                                                                       \
    A(FUSE_OPENDIR, "fuse_opendir", false)                                                                   \
    A(FUSE_READDIR, "fuse_readdir", false)                                                                   \
    A(FUSE_RELEASEDIR, "fuse_releasedir", false)                                                             \
    A(FUSE_FSYNCDIR, "fuse_fsyncdir", false)                                                                 \
    A(FUSE_GETLK, "fuse_getlk", false)                                                                       \
    A(FUSE_SETLK, "fuse_setlk", false)                                                                       \
    A(FUSE_SETLKW, "fuse_setlkw", false)                                                                     \
    A(FUSE_ACCESS, "fuse_access", false)                                                                     \
    A(FUSE_CREATE, "fuse_create", false)                                                                     \
    A(FUSE_FALLOCATE, "fuse_fallocate", false)                                                               \
    A(FUSE_READDIRPLUS, "fuse_readdirplus", false)                                                           \
    A(FUSE_RENAME2, "fuse_rename2", false)                                                                   \
    A(FUSE_LSEEK, "fuse_lseek", false)                                                                       \
    A(FUSE_COPY_FILE_RANGE, "fuse_copy_file_range", true)

enum application {
#define A(id, name, moves) APPLICATION_##id,
    APPLICATION_TABLE(A)
#undef A
        APPLICATIONS
};
static_assert(APPLICATIONS <= UINT8_MAX, "metrics_entry.operation");

/* Name of a call, or NULL. */
const char *application_name(unsigned call);

/* A call under way. */
struct application_call {
    struct worker *worker; /* NULL: it is not recorded */
    enum application call;
    int error; /* errno before */
    uint64_t started;
    uint64_t subject;
    uint64_t generation; /* of the last request sent before it */
};

void application_begin(struct application_call *application, enum application call, struct benchfs *fs,
                       int fd, const char *path);
void application_end_slow(struct application_call *application);
/* Records an asynchronous call that ran beside others from `started` on. inode 0: it is not known. */
void application_transfer(struct worker *worker, enum application call, uint64_t inode, uint64_t started,
                          ssize_t result);

static inline bool application_traced(void)
{
    return __builtin_expect(*worker_current.detail_until != 0, 0);
}

static inline void application_end(struct application_call *application)
{
    if (__builtin_expect(application->worker != NULL, 0))
        application_end_slow(application);
}

/* fd: the descriptor that it is about, or -1; path: or NULL. */
#define APPLICATION_CALL(id, fs, fd, path)                                                                   \
    __attribute__((cleanup(application_end))) struct application_call application;                           \
    application.worker = NULL;                                                                               \
    if (application_traced())                                                                                \
    application_begin(&application, APPLICATION_##id, fs, fd, path)

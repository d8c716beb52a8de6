/* The library door: every call of a case becomes one of libbenchfs. The kernel's own directory is out of
 * reach from here, which is the point.
 *
 * provided.h is made from benchfs.h: HAVE_benchfs_link says that it declares benchfs_link. A call that it
 * does not declare skips the case. */
#pragma once

#include "benchfs.h"
#include "provided.h"

extern benchfs *door;

/* Starts that many servers and connects; -1 after a message. */
int door_open(unsigned servers);
void door_close(void);
/* Ends the servers; -1 when one did not end well. */
int door_end(void);
void door_become(uid_t uid, gid_t gid, const gid_t *groups, unsigned count);

/* Skips the case. */
void door_missing(const char *call) __attribute__((noreturn));
static inline int door_without(const char *call, ...)
{
    door_missing(call);
}

#define DIR benchfs_dir
#define open(...) benchfs_open(door, __VA_ARGS__)
#define openat(...) benchfs_openat(door, __VA_ARGS__)
#define creat(path, mode) benchfs_open(door, path, O_WRONLY | O_CREAT | O_TRUNC, mode)
#define close(fd) benchfs_close(door, fd)
#define read(...) benchfs_read(door, __VA_ARGS__)
#define write(...) benchfs_write(door, __VA_ARGS__)
#define pread(...) benchfs_pread(door, __VA_ARGS__)
#define pwrite(...) benchfs_pwrite(door, __VA_ARGS__)
#define lseek(...) benchfs_lseek(door, __VA_ARGS__)
#define fsync(fd) benchfs_fsync(door, fd)
#define fdatasync(fd) benchfs_fdatasync(door, fd)
#define truncate(...) benchfs_truncate(door, __VA_ARGS__)
#define ftruncate(...) benchfs_ftruncate(door, __VA_ARGS__)
#define stat(...) benchfs_stat(door, __VA_ARGS__)
#define lstat(...) benchfs_lstat(door, __VA_ARGS__)
#define fstat(...) benchfs_fstat(door, __VA_ARGS__)
#define fstatat(...) benchfs_fstatat(door, __VA_ARGS__)
#define access(...) benchfs_access(door, __VA_ARGS__)
#define mkdir(...) benchfs_mkdir(door, __VA_ARGS__)
#define mkdirat(...) benchfs_mkdirat(door, __VA_ARGS__)
#define rmdir(path) benchfs_rmdir(door, path)
#define unlink(path) benchfs_unlink(door, path)
#define unlinkat(...) benchfs_unlinkat(door, __VA_ARGS__)
#define rename(...) benchfs_rename(door, __VA_ARGS__)
#define renameat(...) benchfs_renameat(door, __VA_ARGS__)
#define symlink(...) benchfs_symlink(door, __VA_ARGS__)
#define symlinkat(...) benchfs_symlinkat(door, __VA_ARGS__)
#define readlink(...) benchfs_readlink(door, __VA_ARGS__)
#define readlinkat(...) benchfs_readlinkat(door, __VA_ARGS__)
#define chmod(...) benchfs_chmod(door, __VA_ARGS__)
#define fchmod(...) benchfs_fchmod(door, __VA_ARGS__)
#define fchmodat(...) benchfs_fchmodat(door, __VA_ARGS__)
#define chown(path, uid, gid) benchfs_fchownat(door, AT_FDCWD, path, uid, gid, 0)
#define lchown(path, uid, gid) benchfs_fchownat(door, AT_FDCWD, path, uid, gid, AT_SYMLINK_NOFOLLOW)
#define fchown(...) benchfs_fchown(door, __VA_ARGS__)
#define fchownat(...) benchfs_fchownat(door, __VA_ARGS__)
#define utimensat(...) benchfs_utimensat(door, __VA_ARGS__)
#define futimens(...) benchfs_futimens(door, __VA_ARGS__)
#define umask(mask) benchfs_umask(door, mask)
#define opendir(path) benchfs_opendir(door, path)
#define fdopendir(fd) benchfs_fdopendir(door, fd)
#define readdir(stream) benchfs_readdir(stream)
#define telldir(stream) benchfs_telldir(stream)
#define seekdir(...) benchfs_seekdir(__VA_ARGS__)
#define rewinddir(stream) benchfs_rewinddir(stream)
#define closedir(stream) benchfs_closedir(stream)
#define statvfs(path, status) ((void)(path), benchfs_statvfs(door, status))

#ifdef HAVE_benchfs_link
#define link(...) benchfs_link(door, __VA_ARGS__)
#else
#define link(...) door_without("link", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_linkat
#define linkat(...) benchfs_linkat(door, __VA_ARGS__)
#else
#define linkat(...) door_without("linkat", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_mknod
#define mknod(...) benchfs_mknod(door, __VA_ARGS__)
#else
#define mknod(...) door_without("mknod", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_mknodat
#define mknodat(...) benchfs_mknodat(door, __VA_ARGS__)
#else
#define mknodat(...) door_without("mknodat", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_mkfifo
#define mkfifo(...) benchfs_mkfifo(door, __VA_ARGS__)
#else
#define mkfifo(...) door_without("mkfifo", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_mkfifoat
#define mkfifoat(...) benchfs_mkfifoat(door, __VA_ARGS__)
#else
#define mkfifoat(...) door_without("mkfifoat", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_renameat2
#define renameat2(...) benchfs_renameat2(door, __VA_ARGS__)
#else
#define renameat2(...) door_without("renameat2", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_faccessat
#define faccessat(...) benchfs_faccessat(door, __VA_ARGS__)
#else
#define faccessat(...) door_without("faccessat", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_dup
#define dup(...) benchfs_dup(door, __VA_ARGS__)
#else
#define dup(...) door_without("dup", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_dup2
#define dup2(...) benchfs_dup2(door, __VA_ARGS__)
#else
#define dup2(...) door_without("dup2", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_fallocate
#define fallocate(...) benchfs_fallocate(door, __VA_ARGS__)
#else
#define fallocate(...) door_without("fallocate", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_posix_fallocate
#define posix_fallocate(...) benchfs_posix_fallocate(door, __VA_ARGS__)
#else
#define posix_fallocate(...) door_without("posix_fallocate", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_copy_file_range
#define copy_file_range(...) benchfs_copy_file_range(door, __VA_ARGS__)
#else
#define copy_file_range(...) door_without("copy_file_range", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_readv
#define readv(...) benchfs_readv(door, __VA_ARGS__)
#else
#define readv(...) door_without("readv", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_writev
#define writev(...) benchfs_writev(door, __VA_ARGS__)
#else
#define writev(...) door_without("writev", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_preadv
#define preadv(...) benchfs_preadv(door, __VA_ARGS__)
#else
#define preadv(...) door_without("preadv", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_pwritev
#define pwritev(...) benchfs_pwritev(door, __VA_ARGS__)
#else
#define pwritev(...) door_without("pwritev", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_preadv2
#define preadv2(...) benchfs_preadv2(door, __VA_ARGS__)
#else
#define preadv2(...) door_without("preadv2", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_pwritev2
#define pwritev2(...) benchfs_pwritev2(door, __VA_ARGS__)
#else
#define pwritev2(...) door_without("pwritev2", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_getxattr
#define getxattr(...) benchfs_getxattr(door, __VA_ARGS__)
#else
#define getxattr(...) door_without("getxattr", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_lgetxattr
#define lgetxattr(...) benchfs_lgetxattr(door, __VA_ARGS__)
#else
#define lgetxattr(...) door_without("lgetxattr", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_fgetxattr
#define fgetxattr(...) benchfs_fgetxattr(door, __VA_ARGS__)
#else
#define fgetxattr(...) door_without("fgetxattr", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_setxattr
#define setxattr(...) benchfs_setxattr(door, __VA_ARGS__)
#else
#define setxattr(...) door_without("setxattr", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_lsetxattr
#define lsetxattr(...) benchfs_lsetxattr(door, __VA_ARGS__)
#else
#define lsetxattr(...) door_without("lsetxattr", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_fsetxattr
#define fsetxattr(...) benchfs_fsetxattr(door, __VA_ARGS__)
#else
#define fsetxattr(...) door_without("fsetxattr", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_listxattr
#define listxattr(...) benchfs_listxattr(door, __VA_ARGS__)
#else
#define listxattr(...) door_without("listxattr", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_llistxattr
#define llistxattr(...) benchfs_llistxattr(door, __VA_ARGS__)
#else
#define llistxattr(...) door_without("llistxattr", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_flistxattr
#define flistxattr(...) benchfs_flistxattr(door, __VA_ARGS__)
#else
#define flistxattr(...) door_without("flistxattr", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_removexattr
#define removexattr(...) benchfs_removexattr(door, __VA_ARGS__)
#else
#define removexattr(...) door_without("removexattr", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_lremovexattr
#define lremovexattr(...) benchfs_lremovexattr(door, __VA_ARGS__)
#else
#define lremovexattr(...) door_without("lremovexattr", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_fremovexattr
#define fremovexattr(...) benchfs_fremovexattr(door, __VA_ARGS__)
#else
#define fremovexattr(...) door_without("fremovexattr", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_fstatvfs
#define fstatvfs(...) benchfs_fstatvfs(door, __VA_ARGS__)
#else
#define fstatvfs(...) door_without("fstatvfs", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_flock
#define flock(...) benchfs_flock(door, __VA_ARGS__)
#else
#define flock(...) door_without("flock", __VA_ARGS__)
#endif
#ifdef HAVE_benchfs_fcntl
#define fcntl(...) benchfs_fcntl(door, __VA_ARGS__)
#else
#define fcntl(...) door_without("fcntl", __VA_ARGS__)
#endif

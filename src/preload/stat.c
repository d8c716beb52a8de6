/* Attributes read: the stat family, statfs, access. */
#include <linux/magic.h>
#include <sys/sysmacros.h>

#include "preload/preload.h"

/* ---- stat ---- */

/* Outside: the path may name a descriptor that is BenchFS's. */
static int stat_outside(const char *path, struct stat *status)
{
    if (unlikely(descriptor_maybe_named(path)) && descriptor_is_remote(descriptor_named(path)))
        return fstat(descriptor_named(path), status);
    return real(stat)(path, status);
}

EXPORT int stat(const char *path, struct stat *status)
{
    ROUTE(place, AT_FDCWD, path, -1, stat_outside(path, status));
    return REMOTE_PATH(int, statat(place.directory, place.path, status, 0), real(stat)(left, status));
}

EXPORT int lstat(const char *path, struct stat *status)
{
    ROUTE(place, AT_FDCWD, path, -1, real(lstat)(path, status));
    return REMOTE_PATH(int, statat(place.directory, place.path, status, AT_SYMLINK_NOFOLLOW),
                       real(lstat)(left, status));
}

EXPORT int fstat(int fd, struct stat *status)
{
    ROUTE_FD(number, fd, -1, real(fstat)(fd, status));
    return REMOTE(int, fstat(opened[number].remote, status));
}

/* "" with AT_EMPTY_PATH: dirfd itself, or the current directory. */
static bool names_descriptor(const char *path, int flags)
{
    return (flags & AT_EMPTY_PATH) != 0 && (no_path(path) || path[0] == '\0');
}

EXPORT int fstatat(int dirfd, const char *path, struct stat *status, int flags)
{
    if (unlikely(names_descriptor(path, flags)) && dirfd != AT_FDCWD) {
        ROUTE_FD(number, dirfd, -1, real(fstatat)(dirfd, path, status, flags));
        return REMOTE(int, fstat(opened[number].remote, status));
    }
    if (unlikely(descriptor_maybe_named(path)) && (flags & AT_SYMLINK_NOFOLLOW) == 0)
        return stat(path, status);
    ROUTE(place, dirfd, path, -1, real(fstatat)(dirfd, path, status, flags));
    return REMOTE_PATH(int, statat(place.directory, place.path, status, flags),
                       real(fstatat)(AT_FDCWD, left, status, flags));
}

ALIAS(stat64, stat);
ALIAS(lstat64, lstat);
ALIAS(fstat64, fstat);
ALIAS(fstatat64, fstatat);

/* What programs linked with an older C library call. */
#define VERSIONED(name, parameters, call)                                                                    \
    EXPORT int name parameters;                                                                              \
    EXPORT int name parameters                                                                               \
    {                                                                                                        \
        (void)version;                                                                                       \
        return call;                                                                                         \
    }
VERSIONED(__xstat, (int version, const char *path, struct stat *status), stat(path, status))
VERSIONED(__lxstat, (int version, const char *path, struct stat *status), lstat(path, status))
VERSIONED(__fxstat, (int version, int fd, struct stat *status), fstat(fd, status))
VERSIONED(__fxstatat, (int version, int dirfd, const char *path, struct stat *status, int flags),
          fstatat(dirfd, path, status, flags))
ALIAS(__xstat64, __xstat);
ALIAS(__lxstat64, __lxstat);
ALIAS(__fxstat64, __fxstat);
ALIAS(__fxstatat64, __fxstatat);

static struct statx_timestamp statx_time(const struct timespec *time)
{
    return (struct statx_timestamp){.tv_sec = time->tv_sec, .tv_nsec = (uint32_t)time->tv_nsec};
}

static void statx_fill(const struct stat *status, struct statx *result)
{
    *result = (struct statx){
        .stx_mask = STATX_BASIC_STATS,
        .stx_blksize = (uint32_t)status->st_blksize,
        .stx_nlink = (uint32_t)status->st_nlink,
        .stx_uid = status->st_uid,
        .stx_gid = status->st_gid,
        .stx_mode = (uint16_t)status->st_mode,
        .stx_ino = status->st_ino,
        .stx_size = (uint64_t)status->st_size,
        .stx_blocks = (uint64_t)status->st_blocks,
        .stx_atime = statx_time(&status->st_atim),
        .stx_mtime = statx_time(&status->st_mtim),
        .stx_ctime = statx_time(&status->st_ctim),
        .stx_rdev_major = major(status->st_rdev),
        .stx_rdev_minor = minor(status->st_rdev),
        .stx_dev_major = major(status->st_dev),
        .stx_dev_minor = minor(status->st_dev),
    };
}

EXPORT int statx(int dirfd, const char *path, int flags, unsigned mask, struct statx *result)
{
    struct stat status;
    int failed;
    if (unlikely(names_descriptor(path, flags)) && dirfd != AT_FDCWD) {
        ROUTE_FD(number, dirfd, -1, real(statx)(dirfd, path, flags, mask, result));
        failed = REMOTE(int, fstat(opened[number].remote, &status));
    } else if (unlikely(descriptor_maybe_named(path)) && (flags & AT_SYMLINK_NOFOLLOW) == 0 &&
               descriptor_is_remote(descriptor_named(path))) {
        failed = fstat(descriptor_named(path), &status);
    } else {
        ROUTE(place, dirfd, path, -1, real(statx)(dirfd, path, flags, mask, result));
        failed = REMOTE_PATH(
            int, statat(place.directory, place.path, &status, flags & (AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)),
            real(statx)(AT_FDCWD, left, flags, mask, result) + 1);
        if (failed > 0) /* done outside */
            return 0;
    }
    if (failed == 0)
        statx_fill(&status, result);
    return failed;
}

/* ---- the file system ---- */

static int statfs_remote(struct statfs *result)
{
    struct statvfs status;
    if (REMOTE(int, statvfs(&status)) < 0)
        return -1;
    *result = (struct statfs){
        .f_type = (__fsword_t)0x42464653, /* "SFFB" */
        .f_bsize = (__fsword_t)status.f_bsize,
        .f_blocks = status.f_blocks,
        .f_bfree = status.f_bfree,
        .f_bavail = status.f_bavail,
        .f_files = status.f_files,
        .f_ffree = status.f_ffree,
        .f_namelen = (__fsword_t)status.f_namemax,
        .f_frsize = (__fsword_t)status.f_frsize,
    };
    memcpy(&result->f_fsid, &status.f_fsid, sizeof result->f_fsid);
    return 0;
}

/* The path must lead somewhere. */
#define EXISTS(place, again)                                                                                 \
    ({                                                                                                       \
        struct stat there_;                                                                                  \
        REMOTE_PATH(int, statat((place).directory, (place).path, &there_, 0), (again) + 1);                  \
    })

EXPORT int statfs(const char *path, struct statfs *status)
{
    ROUTE(place, AT_FDCWD, path, -1, real(statfs)(path, status));
    int there = EXISTS(place, real(statfs)(left, status));
    return there == 0 ? statfs_remote(status) : there < 0 ? -1 : 0;
}
ALIAS(statfs64, statfs);
ALIAS(__statfs, statfs);

EXPORT int fstatfs(int fd, struct statfs *status)
{
    ROUTE_FD(number, fd, -1, real(fstatfs)(fd, status));
    (void)number;
    return statfs_remote(status);
}
ALIAS(fstatfs64, fstatfs);

EXPORT int statvfs(const char *path, struct statvfs *status)
{
    ROUTE(place, AT_FDCWD, path, -1, real(statvfs)(path, status));
    int there = EXISTS(place, real(statvfs)(left, status));
    return there == 0 ? REMOTE(int, statvfs(status)) : there < 0 ? -1 : 0;
}
ALIAS(statvfs64, statvfs);

EXPORT int fstatvfs(int fd, struct statvfs *status)
{
    ROUTE_FD(number, fd, -1, real(fstatvfs)(fd, status));
    (void)number;
    return REMOTE(int, statvfs(status));
}
ALIAS(fstatvfs64, fstatvfs);

static long configured(int name)
{
    switch (name) {
    case _PC_LINK_MAX:
        return INT_MAX;
    case _PC_NAME_MAX:
        return NAME_MAX;
    case _PC_PATH_MAX:
        return PATH_MAX;
    case _PC_PIPE_BUF:
        return PIPE_BUF;
    case _PC_CHOWN_RESTRICTED:
    case _PC_NO_TRUNC:
    case _PC_2_SYMLINKS:
        return 1;
    case _PC_FILESIZEBITS:
        return 64;
    case _PC_SYMLINK_MAX:
        return PATH_MAX - 1;
    case _PC_REC_MIN_XFER_SIZE:
    case _PC_REC_XFER_ALIGN:
    case _PC_ALLOC_SIZE_MIN:
        return 4096;
    case _PC_MAX_CANON:
    case _PC_MAX_INPUT:
    case _PC_VDISABLE:
    case _PC_SYNC_IO:
    case _PC_ASYNC_IO:
    case _PC_PRIO_IO:
    case _PC_SOCK_MAXBUF:
    case _PC_REC_INCR_XFER_SIZE:
    case _PC_REC_MAX_XFER_SIZE:
        return -1;
    default:
        errno = EINVAL;
        return -1;
    }
}

EXPORT long pathconf(const char *path, int name)
{
    ROUTE(place, AT_FDCWD, path, -1, real(pathconf)(path, name));
    struct stat status;
    return REMOTE(int, statat(place.directory, place.path, &status, 0)) < 0 ? -1 : configured(name);
}

EXPORT long fpathconf(int fd, int name)
{
    ROUTE_FD(number, fd, -1, real(fpathconf)(fd, name));
    (void)number;
    return configured(name);
}

/* ---- access ---- */

static int accessible(const struct place *place, int mode, int flags)
{
    return REMOTE_PATH(int, accessat(place->directory, place->path, mode, flags),
                       real(faccessat)(AT_FDCWD, left, mode, flags));
}

EXPORT int access(const char *path, int mode)
{
    ROUTE(place, AT_FDCWD, path, -1, real(access)(path, mode));
    return accessible(&place, mode, 0);
}

EXPORT int euidaccess(const char *path, int mode)
{
    ROUTE(place, AT_FDCWD, path, -1, real(euidaccess)(path, mode));
    return accessible(&place, mode, AT_EACCESS);
}
ALIAS(eaccess, euidaccess);

EXPORT int faccessat(int dirfd, const char *path, int mode, int flags)
{
    ROUTE(place, dirfd, path, -1, real(faccessat)(dirfd, path, mode, flags));
    return accessible(&place, mode, flags);
}

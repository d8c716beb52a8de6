/* In place of libfinchfs.so. */
#include "stub.h"

#include <stddef.h>
#include <sys/syscall.h>

STUB int finchfs_init(const char *address_file);
STUB int finchfs_term(void);
STUB int finchfs_create(const char *path, int32_t flags, mode_t mode);
STUB int finchfs_open(const char *path, int32_t flags);
STUB int finchfs_close(int fd);
STUB ssize_t finchfs_pwrite(int fd, const void *bytes, size_t size, off_t offset);
STUB ssize_t finchfs_pread(int fd, void *bytes, size_t size, off_t offset);
STUB int finchfs_fsync(int fd);
STUB int finchfs_unlink(const char *path);
STUB int finchfs_mkdir(const char *path, mode_t mode);
STUB int finchfs_rmdir(const char *path);
STUB int finchfs_stat(const char *path, struct stat *status);
STUB int finchfs_rename(const char *path, const char *new_path);
STUB ssize_t finchfs_getdents(int fd, void *entries, size_t size);

int finchfs_init(const char *address_file)
{
    (void)address_file;
    return stub_init();
}

int finchfs_term(void)
{
    return stub_term();
}

int finchfs_create(const char *path, int32_t flags, mode_t mode)
{
    return open(STUB_PATH(CREATE, path), (flags & ~O_EXCL) | O_CREAT, mode);
}

int finchfs_open(const char *path, int32_t flags)
{
    return open(STUB_PATH(OPEN, path), flags);
}

int finchfs_close(int fd)
{
    STUB_PATH(CLOSE, "");
    return close(fd);
}

ssize_t finchfs_pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    STUB_PATH(WRITE, "");
    return pwrite(fd, bytes, size, offset);
}

ssize_t finchfs_pread(int fd, void *bytes, size_t size, off_t offset)
{
    STUB_PATH(READ, "");
    return pread(fd, bytes, size, offset);
}

int finchfs_fsync(int fd)
{
    STUB_PATH(SYNC, "");
    return fsync(fd);
}

int finchfs_unlink(const char *path)
{
    return unlink(STUB_PATH(UNLINK, path));
}

int finchfs_mkdir(const char *path, mode_t mode)
{
    return mkdir(STUB_PATH(MKDIR, path), mode);
}

int finchfs_rmdir(const char *path)
{
    return rmdir(STUB_PATH(RMDIR, path));
}

int finchfs_stat(const char *path, struct stat *status)
{
    return stat(STUB_PATH(STAT, path), status);
}

int finchfs_rename(const char *path, const char *new_path)
{
    return rename(STUB_PATH(RENAME, path), stub_path(new_path, (char[PATH_MAX]){0}));
}

/* The system's layout is that of the library, but for the type, which the library does not tell. */
ssize_t finchfs_getdents(int fd, void *entries, size_t size)
{
    STUB_PATH(LIST, "");
    return syscall(SYS_getdents64, fd, entries, size);
}

/* In place of libchfs.so. WITHOUT_PREAD leaves one call out. */
#include "stub.h"

typedef int (*filler)(void *, const char *, const struct stat *, off_t);

STUB int chfs_init(const char *server);
STUB int chfs_term(void);
STUB int chfs_size(void);
STUB int chfs_create(const char *path, int32_t flags, mode_t mode);
STUB int chfs_open(const char *path, int32_t flags);
STUB int chfs_close(int fd);
STUB ssize_t chfs_pwrite(int fd, const void *bytes, size_t size, off_t offset);
STUB ssize_t chfs_pread(int fd, void *bytes, size_t size, off_t offset);
STUB int chfs_fsync(int fd);
STUB int chfs_truncate(const char *path, off_t length);
STUB int chfs_unlink(const char *path);
STUB int chfs_mkdir(const char *path, mode_t mode);
STUB int chfs_rmdir(const char *path);
STUB int chfs_stat(const char *path, struct stat *status);
STUB int chfs_readdir(const char *path, void *argument, filler each);

int chfs_init(const char *server)
{
    (void)server;
    return stub_init();
}

int chfs_term(void)
{
    return stub_term();
}

int chfs_size(void)
{
    return 3;
}

int chfs_create(const char *path, int32_t flags, mode_t mode)
{
    return open(STUB_PATH(CREATE, path), (flags & ~O_EXCL) | O_CREAT, mode);
}

int chfs_open(const char *path, int32_t flags)
{
    return open(STUB_PATH(OPEN, path), flags);
}

int chfs_close(int fd)
{
    STUB_PATH(CLOSE, "");
    return close(fd);
}

ssize_t chfs_pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    STUB_PATH(WRITE, "");
    return pwrite(fd, bytes, size, offset);
}

#ifndef WITHOUT_PREAD
ssize_t chfs_pread(int fd, void *bytes, size_t size, off_t offset)
{
    STUB_PATH(READ, "");
    return pread(fd, bytes, size, offset);
}
#endif

int chfs_fsync(int fd)
{
    STUB_PATH(SYNC, "");
    return fsync(fd);
}

int chfs_truncate(const char *path, off_t length)
{
    return truncate(STUB_PATH(TRUNCATE, path), length);
}

/* Of a file with holes between its chunks something is left: CHFS removes them up to the first that is
 * missing. */
int chfs_unlink(const char *path)
{
    struct stat status;
    char *file = STUB_PATH(UNLINK, path), rest[PATH_MAX];
    int fd = open(file, O_RDONLY);
    bool whole = fd >= 0 && fstat(fd, &status) == 0 &&
                 (status.st_size <= 65536 || lseek(fd, 0, SEEK_HOLE) >= status.st_size);
    if (fd >= 0)
        close(fd);
    if (fd < 0 || whole)
        return unlink(file);
    return snprintf(rest, sizeof(rest), "%s:1", file) < PATH_MAX ? rename(file, rest) : -1;
}

int chfs_mkdir(const char *path, mode_t mode)
{
    return mkdir(STUB_PATH(MKDIR, path), mode);
}

/* The first call fails as CHFS does while chunks of unlinked files are still there. */
int chfs_rmdir(const char *path)
{
    static _Atomic int calls; /* of all threads */
    if (calls++ == 0) {
        errno = EPERM;
        return -1;
    }
    return rmdir(STUB_PATH(RMDIR, path));
}

int chfs_stat(const char *path, struct stat *status)
{
    return stat(STUB_PATH(STAT, path), status);
}

int chfs_readdir(const char *path, void *argument, filler each)
{
    DIR *directory = opendir(STUB_PATH(LIST, path));
    if (directory == NULL)
        return -1;
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        struct stat status = {.st_mode = (mode_t)DTTOIF(entry->d_type)};
        if (each(argument, entry->d_name, &status, 0) != 0)
            break;
    }
    return closedir(directory);
}

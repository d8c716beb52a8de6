/* The cluster key: 32 random bytes in a file of mode 0600.
 *
 * Whoever can read the key can use the file system as any user and can pose as a server, so a key file that
 * others can read is refused rather than repaired: it may already have been copied. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/random.h"
#include "cluster/file.h"

int cluster_key_make(const char *path, uint8_t key[CLUSTER_KEY_BYTES])
{
    if (unlink(path) != 0 && errno != ENOENT)
        return -errno;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    uint8_t made[CLUSTER_KEY_BYTES];
    random_secure(made, sizeof(made));
    int status = 0;
    ssize_t written = write(fd, made, sizeof(made));
    if (written < 0)
        status = -errno;
    else if ((size_t)written != sizeof(made))
        status = -ENOSPC;
    if (status == 0 && fsync(fd) != 0)
        status = -errno;
    if (close(fd) != 0 && status == 0)
        status = -errno;
    if (status != 0) {
        unlink(path);
        return status;
    }
    for (size_t i = 0; i < sizeof(made); i++)
        key[i] = made[i];
    return 0;
}

int cluster_key_read(const char *path, uint8_t key[CLUSTER_KEY_BYTES])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    struct stat file;
    int status = 0;
    uint8_t bytes[CLUSTER_KEY_BYTES + 1]; /* one more, to notice a longer file */
    if (fstat(fd, &file) != 0)
        status = -errno;
    else if (!S_ISREG(file.st_mode))
        status = -EINVAL;
    else if ((file.st_mode & 077) != 0)
        status = -EPERM;
    if (status == 0) {
        ssize_t got = read(fd, bytes, sizeof(bytes));
        if (got < 0)
            status = -errno;
        else if (got != CLUSTER_KEY_BYTES)
            status = -EINVAL;
    }
    close(fd);
    if (status != 0)
        return status;
    for (size_t i = 0; i < CLUSTER_KEY_BYTES; i++)
        key[i] = bytes[i];
    return 0;
}

/* Fifos that can be opened.
 *
 * BenchFS knows a fifo by name only; what flows through it the kernel has to move, from one process of this
 * host to another. So each fifo that is opened has one of the kernel's behind it, FILE.fifos/INODE beside the
 * cluster file, and the descriptor is the kernel's: waiting for the other side, ENXIO, poll, EOF and SIGPIPE
 * are then as they have to be. Inode numbers are never used again, so neither are these names, and "benchfs
 * stop" takes the directory away. Programs of other hosts, which cannot share a cluster file's directory but
 * by a network file system, do not meet in a fifo there either. */
#include "preload/preload.h"

/* Whether the directory is one that the cluster's user made, or this process's. */
static bool directory_is_ours(const char *directory, const struct stat *cluster)
{
    struct stat status;
    if (real(lstat)(directory, &status) < 0)
        return false;
    if (S_ISDIR(status.st_mode) && (status.st_uid == geteuid() || status.st_uid == cluster->st_uid) &&
        (status.st_mode & 022) == 0)
        return true;
    errno = EPERM;
    return false;
}

/* FILE.fifos, made if need be for whoever started the cluster. */
static bool directory_make(char *directory)
{
    struct stat cluster;
    const char *file = remote->cluster_file();
    if (file == NULL) { /* BENCHFS_SERVERS says where the servers are, but no place on this host */
        errno = EOPNOTSUPP;
        return false;
    }
    if (snprintf(directory, PATH_MAX, "%s.fifos", file) >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return false;
    }
    if (real(stat)(file, &cluster) < 0)
        return false;
    if (real(mkdir)(directory, 0700) == 0 && geteuid() != cluster.st_uid &&
        real(chown)(directory, cluster.st_uid, cluster.st_gid) < 0)
        return false;
    return directory_is_ours(directory, &cluster);
}

static bool fifo_make(char *path, uint64_t inode)
{
    char directory[PATH_MAX];
    int error = errno;
    if (!directory_make(directory))
        return false;
    if (snprintf(path, PATH_MAX, "%s/%016llx", directory, (unsigned long long)inode) >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return false;
    }
    if (real(mkfifo)(path, 0600) < 0 && errno != EEXIST)
        return false;
    errno = error;
    return true;
}

/* What the open of a file would have checked. */
static int permitted(const struct place *place, int flags)
{
    static const int modes[] = {[O_RDONLY] = R_OK, [O_WRONLY] = W_OK, [O_RDWR] = R_OK | W_OK};
    if ((flags & O_ACCMODE) == O_ACCMODE) {
        errno = EINVAL;
        return -1;
    }
    return REMOTE(int, accessat(place->directory, place->path, modes[flags & O_ACCMODE], AT_EACCESS));
}

int fifo_open(const struct place *place, int flags)
{
    struct stat status;
    char path[PATH_MAX];
    int error = errno;
    int nofollow = flags & O_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0;
    if (REMOTE(int, statat(place->directory, place->path, &status, nofollow)) < 0)
        return -1;
    if (!S_ISFIFO(status.st_mode)) {
        errno = error;
        return -1;
    }
    if (permitted(place, flags) < 0 || !fifo_make(path, status.st_ino))
        return -1;
    return real(open)(path, (flags & ~(O_CREAT | O_EXCL | O_TRUNC)) | O_NOFOLLOW);
}

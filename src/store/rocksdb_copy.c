/* RocksDB writes a table or a file of blobs once, under a new number, and removes it when nobody needs it: a
 * link to it can be removed as well. What it appends to is small: the write-ahead log has at most what the
 * write buffers hold, the manifest names files. */
#include "store/rocksdb_copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

#define SEND_MAX ((size_t)1 << 30)

static bool ends_in(const char *name, const char *end)
{
    size_t length = strlen(name), tail = strlen(end);
    return length > tail && strcmp(name + length - tail, end) == 0;
}

static int copy_bytes(int from, int to)
{
    for (;;) {
        ssize_t sent = sendfile(to, from, NULL, SEND_MAX);
        if (sent == 0)
            return 0;
        if (sent < 0 && errno != EINTR)
            return -errno;
    }
}

static int copy_file(int from, const char *name, int to)
{
    int source = openat(from, name, O_RDONLY | O_CLOEXEC);
    if (source < 0)
        return -errno;
    int target = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int status = target < 0 ? -errno : copy_bytes(source, target);
    if (target >= 0 && close(target) != 0 && status == 0)
        status = -errno;
    close(source);
    return status;
}

static int copy_entry(int from, const char *path, const char *name, int to)
{
    if (name[0] == '.' || strcmp(name, "LOCK") == 0 || strncmp(name, "LOG", 3) == 0)
        return 0;
    if (!ends_in(name, ".sst") && !ends_in(name, ".blob"))
        return copy_file(from, name, to);
    char *target = NULL;
    if (asprintf(&target, "%s/%s", path, name) < 0)
        return -ENOMEM;
    int status = symlinkat(target, to, name) == 0 ? 0 : -errno;
    free(target);
    return status;
}

static int copy_all(const char *path, int to)
{
    DIR *stream = opendir(path);
    if (stream == NULL)
        return -errno;
    int status = 0;
    while (status == 0) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (entry == NULL) {
            status = -errno;
            break;
        }
        status = copy_entry(dirfd(stream), path, entry->d_name, to);
    }
    closedir(stream);
    return status;
}

void rocksdb_copy_remove(char *copy)
{
    DIR *stream = opendir(copy);
    for (const struct dirent *entry; stream != NULL && (entry = readdir(stream)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlinkat(dirfd(stream), entry->d_name, 0);
    }
    if (stream != NULL)
        closedir(stream);
    if (rmdir(copy) != 0)
        log_warning("cannot remove \"%s\": %s", copy, strerror(errno));
    free(copy);
}

int rocksdb_copy_make(const char *path, char **copy)
{
    const char *top = getenv("TMPDIR");
    char *name = NULL;
    if (asprintf(&name, "%s/benchfs-rocksdb.XXXXXX", top != NULL && top[0] == '/' ? top : "/tmp") < 0)
        return -ENOMEM;
    char *real = realpath(path, NULL);
    int status = real == NULL || mkdtemp(name) == NULL ? -errno : 0;
    if (status == 0) {
        int to = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        status = to < 0 ? -errno : copy_all(real, to);
        if (to >= 0)
            close(to);
    }
    if (status != 0) {
        log_error("cannot copy the database \"%s\" to \"%s\": %s", path, name, strerror(-status));
        if (real != NULL && access(name, F_OK) == 0)
            rocksdb_copy_remove(name);
        else
            free(name);
    } else {
        *copy = name;
    }
    free(real);
    return status;
}

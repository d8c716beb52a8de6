/* The local side of cp, by plain system calls. They block the loop for the time of a page cache copy, which
 * the servers use to fetch what was handed to them before. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/tree.h"

int tree_listing_add(struct tree_listing *listing, const char *name, const struct tree_status *status)
{
    if (listing->count == listing->capacity) {
        size_t capacity = listing->capacity == 0 ? 64 : listing->capacity * 2;
        struct tree_entry *entries = realloc(listing->entries, capacity * sizeof(*entries));
        if (entries == NULL)
            return -ENOMEM;
        listing->entries = entries;
        listing->capacity = capacity;
    }
    char *copy = strdup(name);
    if (copy == NULL)
        return -ENOMEM;
    listing->entries[listing->count++] = (struct tree_entry){copy, *status};
    return 0;
}

void tree_listing_free(struct tree_listing *listing)
{
    for (size_t i = 0; i < listing->count; i++)
        free(listing->entries[i].name);
    free(listing->entries);
    *listing = (struct tree_listing){0};
}

static int64_t nanoseconds(struct timespec time)
{
    return (int64_t)time.tv_sec * (int64_t)NSEC_PER_SEC + time.tv_nsec;
}

static struct timespec timespec_of(int64_t ns)
{
    int64_t seconds = ns / (int64_t)NSEC_PER_SEC;
    int64_t rest = ns % (int64_t)NSEC_PER_SEC;
    if (rest < 0) {
        rest += (int64_t)NSEC_PER_SEC;
        seconds--;
    }
    return (struct timespec){.tv_sec = (time_t)seconds, .tv_nsec = (long)rest};
}

static int local_status(struct tree *tree, const char *path, bool follow, struct tree_status *status)
{
    (void)tree;
    struct stat found;
    if (fstatat(AT_FDCWD, path, &found, follow ? 0 : AT_SYMLINK_NOFOLLOW) != 0)
        return -errno;
    *status = (struct tree_status){
        .mode = found.st_mode,
        .size = (uint64_t)found.st_size,
        .access_time = nanoseconds(found.st_atim),
        .modify_time = nanoseconds(found.st_mtim),
        .identity = {found.st_dev, found.st_ino},
    };
    return 0;
}

static int local_list(struct tree *tree, const char *path, struct tree_listing *listing)
{
    DIR *directory = opendir(path);
    if (directory == NULL)
        return -errno;
    char *child = malloc(CLI_PATH_SIZE);
    int result = child == NULL ? -ENOMEM : 0;
    while (result == 0) {
        errno = 0;
        const struct dirent *entry = readdir(directory);
        if (entry == NULL) {
            result = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        struct tree_status status = {0};
        result = path_join(path, entry->d_name, child);
        if (result == 0)
            result = local_status(tree, child, false, &status);
        if (result == -ENOENT) /* gone since readdir */
            result = 0;
        else if (result == 0)
            result = tree_listing_add(listing, entry->d_name, &status);
    }
    free(child);
    closedir(directory);
    return result;
}

static int local_make_directory(struct tree *tree, const char *path)
{
    (void)tree;
    return mkdir(path, 0700) == 0 ? 0 : -errno;
}

static int local_read_link(struct tree *tree, const char *path, char *target, size_t size)
{
    (void)tree;
    ssize_t length = readlink(path, target, size - 1);
    if (length < 0)
        return -errno;
    target[length] = '\0';
    return 0;
}

static int local_make_link(struct tree *tree, const char *target, const char *path)
{
    (void)tree;
    return symlink(target, path) == 0 ? 0 : -errno;
}

static int local_open(struct tree *tree, const char *path, struct tree_file *file)
{
    (void)tree;
    file->fd = open(path, O_RDONLY | O_CLOEXEC);
    file->size = UINT64_MAX; /* files of /proc, for one, do not tell */
    return file->fd >= 0 ? 0 : -errno;
}

static int local_create(struct tree *tree, const char *path, struct tree_file *file)
{
    (void)tree;
    file->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return file->fd >= 0 ? 0 : -errno;
}

static ssize_t local_read(struct tree *tree, struct tree_file *file, void *bytes, size_t length,
                          uint64_t offset)
{
    (void)tree;
    ssize_t count;
    do
        count = pread(file->fd, bytes, length, (off_t)offset);
    while (count < 0 && errno == EINTR);
    return count < 0 ? -errno : count;
}

static int local_write(struct tree *tree, struct tree_file *file, const void *bytes, size_t length,
                       uint64_t offset)
{
    (void)tree;
    while (length > 0) {
        ssize_t count = pwrite(file->fd, bytes, length, (off_t)offset);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return -errno;
        bytes = (const char *)bytes + count;
        length -= (size_t)count;
        offset += (uint64_t)count;
    }
    return 0;
}

static int local_close(struct tree *tree, struct tree_file *file)
{
    (void)tree;
    return close(file->fd) == 0 ? 0 : -errno;
}

static int local_remove(struct tree *tree, const char *path)
{
    (void)tree;
    return unlink(path) == 0 ? 0 : -errno;
}

static int local_finish(struct tree *tree, const char *path, const struct tree_status *status)
{
    (void)tree;
    const struct timespec times[2] = {timespec_of(status->access_time), timespec_of(status->modify_time)};
    if (!S_ISLNK(status->mode) && chmod(path, status->mode & 07777u) != 0)
        return -errno;
    return utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : -errno;
}

const struct tree_operations tree_local_operations = {
    .prefix = "",
    .status = local_status,
    .list = local_list,
    .make_directory = local_make_directory,
    .read_link = local_read_link,
    .make_link = local_make_link,
    .open = local_open,
    .create = local_create,
    .read = local_read,
    .write = local_write,
    .close = local_close,
    .remove = local_remove,
    .finish = local_finish,
};

/* Directory streams, and scandir over them.
 *
 * A stream of ours is told from the C library's by its first word, which there is the descriptor. */
#include <stdlib.h>

#include "preload/preload.h"

#define STREAM_MARK (-0x42465344) /* no descriptor */

struct stream {
    int mark;
    int fd;                      /* the program's */
    struct benchfs_dir *listing; /* over libbenchfs's descriptor of its own */
};

static inline struct stream *stream_of(DIR *directory)
{
    struct stream *stream = (struct stream *)(void *)directory;
    return unlikely(*(const int *)(const void *)directory == STREAM_MARK) ? stream : NULL;
}

/* Takes over fd on success. */
static DIR *stream_open(int fd, uint32_t number)
{
    struct stream *stream = malloc(sizeof *stream);
    if (stream == NULL)
        return NULL;
    inside++;
    struct benchfs_dir *listing = remote->opendir(opened[number].remote);
    inside--;
    if (listing == NULL) {
        int error = errno;
        free(stream);
        errno = error;
        return NULL;
    }
    *stream = (struct stream){.mark = STREAM_MARK, .fd = fd, .listing = listing};
    return (DIR *)(void *)stream;
}

EXPORT DIR *fdopendir(int fd)
{
    ROUTE_FD(number, fd, NULL, real(fdopendir)(fd));
    if (atomic_load(&descriptions[number].flags) & O_PATH) {
        errno = EBADF;
        return NULL;
    }
    return stream_open(fd, number);
}

EXPORT DIR *opendir(const char *path)
{
    ROUTE(place, AT_FDCWD, path, NULL, (descriptors_make_room(), real(opendir)(path)));
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    DIR *directory = fdopendir(fd);
    if (directory == NULL) {
        int error = errno;
        close(fd);
        errno = error;
    }
    return directory;
}

EXPORT struct dirent *readdir(DIR *directory)
{
    struct stream *stream = stream_of(directory);
    if (stream == NULL)
        return real(readdir)(directory);
    inside++;
    struct dirent *entry = remote->readdir(stream->listing);
    inside--;
    return entry;
}
ALIAS(readdir64, readdir);

EXPORT int readdir_r(DIR *directory, struct dirent *entry, struct dirent **result)
{
    struct stream *stream = stream_of(directory);
    if (stream == NULL) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
        return real(readdir_r)(directory, entry, result);
#pragma GCC diagnostic pop
    }
    int before = errno;
    errno = 0;
    const struct dirent *next = readdir(directory);
    int error = next == NULL ? errno : 0;
    errno = before;
    if (next != NULL)
        memcpy(entry, next, sizeof *entry);
    *result = next == NULL ? NULL : entry;
    return error;
}
ALIAS(readdir64_r, readdir_r);

EXPORT long telldir(DIR *directory)
{
    struct stream *stream = stream_of(directory);
    return stream == NULL ? real(telldir)(directory) : remote->telldir(stream->listing);
}

EXPORT void seekdir(DIR *directory, long position)
{
    struct stream *stream = stream_of(directory);
    if (stream == NULL) {
        real(seekdir)(directory, position);
        return;
    }
    inside++;
    remote->seekdir(stream->listing, position);
    inside--;
}

EXPORT void rewinddir(DIR *directory)
{
    if (stream_of(directory) == NULL)
        real(rewinddir)(directory);
    else
        seekdir(directory, 0);
}

EXPORT int closedir(DIR *directory)
{
    struct stream *stream = stream_of(directory);
    if (stream == NULL)
        return real(closedir)(directory);
    inside++;
    remote->closedir(stream->listing);
    inside--;
    int fd = stream->fd;
    free(stream);
    return close(fd);
}

EXPORT int dirfd(DIR *directory)
{
    struct stream *stream = stream_of(directory);
    return stream == NULL ? real(dirfd)(directory) : stream->fd;
}

/* ---- scandir ---- */

struct names {
    struct dirent **entries;
    size_t count;
    size_t capacity;
};

static bool names_add(struct names *names, const struct dirent *entry)
{
    if (names->count == names->capacity) {
        size_t capacity = names->capacity == 0 ? 16 : 2 * names->capacity;
        struct dirent **larger = realloc(names->entries, capacity * sizeof(*larger));
        if (larger == NULL)
            return false;
        names->entries = larger;
        names->capacity = capacity;
    }
    struct dirent *copy = malloc(sizeof *copy);
    if (copy == NULL)
        return false;
    memcpy(copy, entry, sizeof *copy);
    names->entries[names->count++] = copy;
    return true;
}

static int scan(DIR *directory, struct dirent ***list, int (*wanted)(const struct dirent *),
                int (*compare)(const struct dirent **, const struct dirent **))
{
    struct names names = {0};
    int before = errno;
    bool complete = true;
    errno = 0;
    for (const struct dirent *entry; complete && (entry = readdir(directory)) != NULL;)
        if (wanted == NULL || wanted(entry))
            complete = names_add(&names, entry);
    complete = complete && errno == 0;
    int error = errno;
    closedir(directory);
    if (!complete) {
        while (names.count > 0)
            free(names.entries[--names.count]);
        free(names.entries);
        errno = error;
        return -1;
    }
    errno = before;
    if (compare != NULL && names.count > 0)
        qsort(names.entries, names.count, sizeof(*names.entries),
              (int (*)(const void *, const void *))(uintptr_t)compare);
    *list = names.entries;
    return (int)names.count;
}

EXPORT int scandirat(int dirfd, const char *path, struct dirent ***list, int (*wanted)(const struct dirent *),
                     int (*compare)(const struct dirent **, const struct dirent **))
{
    ROUTE(place, dirfd, path, -1, real(scandirat)(dirfd, path, list, wanted, compare));
    int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    DIR *directory = fdopendir(fd);
    if (directory != NULL)
        return scan(directory, list, wanted, compare);
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}
ALIAS(scandirat64, scandirat);

EXPORT int scandir(const char *path, struct dirent ***list, int (*wanted)(const struct dirent *),
                   int (*compare)(const struct dirent **, const struct dirent **))
{
    return scandirat(AT_FDCWD, path, list, wanted, compare);
}
ALIAS(scandir64, scandir);

/* Searches through directories that the C library makes without calling anything that could be stepped in
 * front of: glob, ftw and nftw. */
#include <stdlib.h>

#include "preload/preload.h"

/* ---- glob ---- */

static void *glob_opendir(const char *path)
{
    return opendir(path);
}

static struct dirent *glob_readdir(void *directory)
{
    return readdir(directory);
}

static void glob_closedir(void *directory)
{
    closedir(directory);
}

EXPORT int glob(const char *pattern, int flags, int (*failed)(const char *path, int error), glob_t *result)
{
    struct place place;
    if ((flags & GLOB_ALTDIRFUNC) != 0 || place_of(AT_FDCWD, pattern, &place) == ROUTE_REAL)
        return real(glob)(pattern, flags, failed, result);
    result->gl_opendir = glob_opendir;
    result->gl_readdir = glob_readdir;
    result->gl_closedir = glob_closedir;
    result->gl_stat = stat;
    result->gl_lstat = lstat;
    return real(glob)(pattern, flags | GLOB_ALTDIRFUNC, failed, result);
}
ALIAS(glob64, glob);

/* ---- ftw and nftw ---- */

struct visit {
    int (*simple)(const char *, const struct stat *, int);
    int (*full)(const char *, const struct stat *, int, struct FTW *);
    int flags;
    dev_t device;
    size_t length;
    char path[PATH_MAX];
};

static int call(struct visit *visit, const struct stat *status, int type, int base, int level)
{
    if (visit->full == NULL)
        return visit->simple(visit->path, status, type == FTW_SL ? FTW_NS : type == FTW_DP ? FTW_D : type);
    struct FTW where = {.base = base, .level = level};
    return visit->full(visit->path, status, type, &where);
}

/* The directories on the way, so that a link cannot lead round in a circle. */
struct way {
    const struct way *up;
    ino_t inode;
};

static int visit_path(struct visit *visit, int level, const struct way *up);

static int visit_entries(struct visit *visit, int level, const struct way *way)
{
    DIR *directory = opendir(visit->path);
    if (directory == NULL)
        return -1;
    size_t length = visit->length;
    int result = 0;
    for (const struct dirent *entry; result == 0 && (entry = readdir(directory)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        const char *slash = length > 0 && visit->path[length - 1] == '/' ? "" : "/";
        int added = snprintf(visit->path + length, sizeof visit->path - length, "%s%s", slash, entry->d_name);
        if (length + (size_t)added >= sizeof visit->path) {
            errno = ENAMETOOLONG;
            result = -1;
            break;
        }
        visit->length = length + (size_t)added;
        result = visit_path(visit, level + 1, way);
        if (visit->full != NULL && (visit->flags & FTW_ACTIONRETVAL) != 0) {
            if (result == FTW_SKIP_SUBTREE)
                result = FTW_CONTINUE;
            else if (result == FTW_SKIP_SIBLINGS) {
                result = FTW_CONTINUE;
                break;
            }
        }
    }
    visit->path[length] = '\0';
    visit->length = length;
    int error = errno;
    closedir(directory);
    errno = error;
    return result;
}

static int visit_directory(struct visit *visit, const struct stat *status, int base, int level,
                           const struct way *up)
{
    struct way way = {up, status->st_ino};
    for (; up != NULL; up = up->up)
        if (up->inode == way.inode)
            return 0;
    bool depth = visit->full != NULL && (visit->flags & FTW_DEPTH) != 0;
    if (visit->full != NULL && (visit->flags & FTW_MOUNT) != 0 && status->st_dev != visit->device)
        return 0;
    if (access(visit->path, R_OK) < 0)
        return call(visit, status, FTW_DNR, base, level);
    int result = depth ? 0 : call(visit, status, FTW_D, base, level);
    if (result != 0)
        return result;
    result = visit_entries(visit, level, &way);
    return result == 0 && depth ? call(visit, status, FTW_DP, base, level) : result;
}

static int visit_path(struct visit *visit, int level, const struct way *up)
{
    struct stat status;
    const char *slash = strrchr(visit->path, '/');
    int base = slash == NULL ? 0 : (int)(slash + 1 - visit->path);
    bool physical = visit->full != NULL && (visit->flags & FTW_PHYS) != 0;
    if ((physical ? lstat : stat)(visit->path, &status) < 0) {
        if (level == 0)
            return -1;
        if (physical || lstat(visit->path, &status) < 0)
            return call(visit, &status, FTW_NS, base, level);
        return call(visit, &status, FTW_SLN, base, level);
    }
    if (level == 0)
        visit->device = status.st_dev;
    if (S_ISDIR(status.st_mode))
        return visit_directory(visit, &status, base, level, up);
    return call(visit, &status, S_ISLNK(status.st_mode) ? FTW_SL : FTW_F, base, level);
}

static int walk(const char *path, struct visit *visit)
{
    visit->length = strlen(path);
    if (visit->length == 0 || visit->length >= sizeof visit->path) {
        errno = visit->length == 0 ? ENOENT : ENAMETOOLONG;
        return -1;
    }
    strcpy(visit->path, path);
    while (visit->length > 1 && visit->path[visit->length - 1] == '/')
        visit->path[--visit->length] = '\0';
    return visit_path(visit, 0, NULL);
}

EXPORT int ftw(const char *path, int (*function)(const char *, const struct stat *, int), int descriptors_)
{
    ROUTE(place, AT_FDCWD, path, -1, real(ftw)(path, function, descriptors_));
    struct visit visit = {.simple = function};
    return walk(path, &visit);
}
ALIAS(ftw64, ftw);

EXPORT int nftw(const char *path, int (*function)(const char *, const struct stat *, int, struct FTW *),
                int descriptors_, int flags)
{
    ROUTE(place, AT_FDCWD, path, -1, real(nftw)(path, function, descriptors_, flags));
    if (flags & FTW_CHDIR) {
        errno = EOPNOTSUPP;
        return -1;
    }
    struct visit visit = {.full = function, .flags = flags};
    return walk(path, &visit);
}
ALIAS(nftw64, nftw);

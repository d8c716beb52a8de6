/* Paths: which are BenchFS's, the current directory, and canonical names.
 *
 * The prefix does not exist for the kernel. A process whose current directory is in BenchFS has a directory
 * for the kernel too, one that was removed: so what slips past this library (a statically linked program, the
 * loader) fails with ENOENT there and touches no file of the same name elsewhere.
 *
 * ".." above the root and symbolic links to absolute paths are resolved by the client's walk, which knows
 * the prefix and says where a path leads when it leads out. */
#include <stdlib.h>

#include "preload/preload.h"

struct prefix prefix;
bool current_inside;

/* The current directory while current_inside. */
static struct {
    pthread_mutex_t lock;
    char text[PATH_MAX]; /* with the prefix, canonical when it was entered */
    int descriptor;      /* libbenchfs's; -1: not opened yet */
} current = {.lock = PTHREAD_MUTEX_INITIALIZER, .descriptor = -1};

/* ---- the prefix ---- */

static void prefix_set(const char *text)
{
    size_t length = strlen(text);
    while (length > 1 && text[length - 1] == '/')
        length--;
    if (text[0] != '/' || length < 2 || length >= sizeof prefix.text || text[1] == '/') {
        static const char message[] =
            "libbenchfs_preload.so: BENCHFS_PREFIX is not an absolute path below the root: ignored\n";
        real(write)(STDERR_FILENO, message, sizeof message - 1);
        return;
    }
    memcpy(prefix.text, text, length);
    prefix.text[length] = '\0';
    for (const char *at = strchr(prefix.text, '/'); at != NULL; at = strchr(at + 1, '/'))
        prefix.begins[(unsigned char)at[1]] = true;
    prefix.length = (uint32_t)length;
}

void paths_prepare(void)
{
    const char *text = getenv("BENCHFS_PREFIX");
    prefix_set(text != NULL && *text != '\0' ? text : "/benchfs");
}

const char *path_behind_prefix(const char *path)
{
    while (path[1] == '/')
        path++;
    if (prefix.length == 0 || strncmp(path, prefix.text, prefix.length) != 0)
        return NULL;
    const char *behind = path + prefix.length;
    if (*behind == '/')
        return behind;
    return *behind == '\0' ? "/" : NULL;
}

/* libbenchfs's descriptor of the current directory, or -1 with errno set. */
static int current_descriptor(void)
{
    int fd = __atomic_load_n(&current.descriptor, __ATOMIC_ACQUIRE);
    if (likely(fd >= 0))
        return fd;
    pthread_mutex_lock(&current.lock);
    if (current.descriptor < 0) {
        const char *behind = current.text[prefix.length] == '\0' ? "/" : current.text + prefix.length;
        fd = REMOTE(int, open(AT_FDCWD, behind, O_PATH | O_DIRECTORY, 0));
        __atomic_store_n(&current.descriptor, fd, __ATOMIC_RELEASE);
    }
    fd = current.descriptor;
    pthread_mutex_unlock(&current.lock);
    return fd;
}

/* A relative path may enter BenchFS from a directory above the prefix ("/" and "benchfs/x"). Only one that
 * begins with a component of the prefix can: then it is worth asking the kernel where it starts. */
static const char *behind_from_above(int dirfd, const char *path)
{
    char link[32], above[PATH_MAX];
    size_t length = strcspn(path, "/");
    const char *at = prefix.text;
    while (at != NULL &&
           (strncmp(at + 1, path, length) != 0 || (at[1 + length] != '/' && at[1 + length] != '\0')))
        at = strchr(at + 1, '/');
    if (at == NULL || prefix.length == 0)
        return NULL;
    ssize_t got;
    if (dirfd == AT_FDCWD) {
        got = real(getcwd)(above, sizeof above) != NULL ? (ssize_t)strlen(above) : -1;
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
        got = real(readlink)(link, above, sizeof above - 1);
    }
    if (got == 1)
        got = 0; /* "/" */
    if (got != at - prefix.text || memcmp(above, prefix.text, (size_t)got) != 0)
        return NULL;
    size_t rest = prefix.length - (size_t)got - 1;
    if (strncmp(path, at + 1, rest) != 0 || (path[rest] != '/' && path[rest] != '\0'))
        return NULL;
    return path[rest] == '\0' ? "/" : path + rest;
}

enum route place_find(int dirfd, const char *path, struct place *place)
{
    if (inside > 0)
        return ROUTE_REAL;
    if (path[0] == '/') {
        place->path = path_behind_prefix(path);
        if (place->path == NULL)
            return ROUTE_REAL;
        place->directory = AT_FDCWD;
        return remote_ready() ? ROUTE_REMOTE : ROUTE_FAILED;
    }
    bool from_kernel = dirfd == AT_FDCWD ? !current_inside : descriptor_entry(dirfd) == 0;
    if (unlikely(from_kernel)) {
        int before = errno;
        place->path = prefix.begins[(unsigned char)path[0]] ? behind_from_above(dirfd, path) : NULL;
        errno = before;
        if (place->path == NULL)
            return ROUTE_REAL;
        place->directory = AT_FDCWD;
        return remote_ready() ? ROUTE_REMOTE : ROUTE_FAILED;
    }
    place->path = path;
    if (dirfd == AT_FDCWD) {
        if (!remote_ready())
            return ROUTE_FAILED;
        place->directory = current_descriptor();
        return place->directory >= 0 ? ROUTE_REMOTE : ROUTE_FAILED;
    }
    uint32_t number;
    enum route route = descriptor_of(dirfd, &number);
    if (route == ROUTE_REMOTE)
        place->directory = opened[number].remote;
    return route;
}

/* ---- canonical names ---- */

/* The name of an open directory, found by walking up. */
static int directory_text(int directory, char *result);

bool place_text(const struct place *place, char *result)
{
    char start[PATH_MAX];
    const char *from = prefix.text;
    if (place->path[0] != '/') {
        from = start;
        if (place->directory == AT_FDCWD)
            from = prefix.text;
        else if (place->directory == current.descriptor)
            from = current.text;
        else if (directory_text(place->directory, start) < 0)
            return false;
    }
    const char *slash = place->path[0] == '/' || place->path[0] == '\0' ? "" : "/";
    int length = snprintf(result, PATH_MAX, "%s%s%s", from, slash, place->path);
    if (length < PATH_MAX)
        return true;
    errno = ENAMETOOLONG;
    return false;
}

/* Path and its rest while it is made canonical. */
struct canonical {
    char *result; /* what is resolved, prefix included, no slash at the end */
    size_t length;
    char rest[2 * PATH_MAX]; /* what is not */
    unsigned links;
};

/* Puts a link's target before the rest. 0, 1: it leads out, -1. */
static int canonical_follow(struct canonical *state, const char *target, const char *rest)
{
    char joined[2 * PATH_MAX];
    if (++state->links > 40) {
        errno = ELOOP;
        return -1;
    }
    int length = snprintf(joined, sizeof joined, "%s%s%s", target, *rest != '\0' ? "/" : "", rest);
    if (length >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (target[0] != '/') {
        strcpy(state->rest, joined);
        return 0;
    }
    const char *behind = path_behind_prefix(joined);
    if (behind == NULL) {
        strcpy(state->result, joined);
        return 1;
    }
    strcpy(state->rest, behind);
    state->length = prefix.length;
    state->result[state->length] = '\0';
    return 0;
}

/* One component. 0, 1: the path leads out, -1. */
static int canonical_step(struct canonical *state, const char *name, size_t length, const char *rest,
                          bool missing)
{
    char target[PATH_MAX], parent[PATH_MAX];
    if (length == 1 && name[0] == '.') {
        memmove(state->rest, rest, strlen(rest) + 1);
        return 0;
    }
    if (length == 2 && name[0] == '.' && name[1] == '.') {
        if (state->length == prefix.length) {
            snprintf(parent, sizeof parent, "%.*s/%s", (int)(strrchr(prefix.text, '/') - prefix.text),
                     prefix.text, rest);
            strcpy(state->result, parent);
            return 1;
        }
        while (state->result[--state->length] != '/')
            continue;
        state->result[state->length] = '\0';
        memmove(state->rest, rest, strlen(rest) + 1);
        return 0;
    }
    if (length > NAME_MAX || state->length + 1 + length >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return -1;
    }
    state->result[state->length] = '/';
    memcpy(state->result + state->length + 1, name, length);
    state->result[state->length + 1 + length] = '\0';
    ssize_t size = REMOTE(ssize_t, readlinkat(AT_FDCWD, state->result + prefix.length, target, PATH_MAX - 1));
    if (size < 0 && errno == EINVAL) { /* no link */
        state->length += 1 + length;
        memmove(state->rest, rest, strlen(rest) + 1);
        return 0;
    }
    if (size < 0) {
        if (errno != ENOENT || !missing || rest[strspn(rest, "/")] != '\0')
            return -1;
        state->length += 1 + length;
        state->rest[0] = '\0';
        return 0;
    }
    state->result[state->length] = '\0';
    target[size] = '\0';
    char copy[2 * PATH_MAX];
    strcpy(copy, rest);
    return canonical_follow(state, target, copy);
}

static int canonical_all(struct canonical *state, bool missing)
{
    for (;;) {
        const char *name = state->rest + strspn(state->rest, "/");
        size_t length = strcspn(name, "/");
        if (length == 0)
            return 0;
        const char *rest = name + length;
        int status = canonical_step(state, name, length, rest + strspn(rest, "/"), missing);
        if (status != 0)
            return status;
    }
}

int path_canonical(const struct place *place, bool missing, char *result)
{
    struct canonical *state = malloc(sizeof *state);
    char start[PATH_MAX];
    if (state == NULL)
        return -1;
    int status = -1;
    state->links = 0;
    state->result = result;
    const char *from = prefix.text;
    if (place->path[0] == '\0') {
        errno = ENOENT;
        goto out;
    }
    if (place->path[0] != '/' && place->directory != AT_FDCWD) {
        if (place->directory == current.descriptor)
            from = current_text();
        else if (directory_text(place->directory, start) == 0)
            from = start;
        else
            goto out;
        if (from == NULL)
            goto out;
    }
    if (strlen(place->path) >= PATH_MAX) {
        errno = ENAMETOOLONG;
        goto out;
    }
    strcpy(result, from);
    state->length = strlen(result);
    strcpy(state->rest, place->path);
    status = canonical_all(state, missing);
out:
    free(state);
    return status;
}

/* Puts the name under which parent has the inode before *at. */
static int name_prepend(int parent, const struct stat *child, char *start, char **at)
{
    int fd = REMOTE(int, open(parent, ".", O_RDONLY | O_DIRECTORY, 0));
    if (fd < 0)
        return -1;
    inside++;
    struct benchfs_dir *directory = remote->fdopendir(fd);
    struct dirent *entry = NULL;
    while (directory != NULL && (entry = remote->readdir(directory)) != NULL)
        if (entry->d_ino == child->st_ino && strcmp(entry->d_name, ".") != 0 &&
            strcmp(entry->d_name, "..") != 0)
            break;
    int status = -1;
    if (entry != NULL) {
        size_t length = strlen(entry->d_name);
        if ((size_t)(*at - start) > length + 1) {
            *at -= length;
            memcpy(*at, entry->d_name, length);
            *--*at = '/';
            status = 0;
        }
    }
    if (directory != NULL)
        remote->closedir(directory);
    else
        remote->close(fd);
    inside--;
    errno = status < 0 ? (entry == NULL ? ENOENT : ENAMETOOLONG) : errno;
    return status;
}

static int directory_text(int directory, char *result)
{
    char text[PATH_MAX], *at = text + sizeof text - 1;
    struct stat here, root;
    *at = '\0';
    if (REMOTE(int, statat(AT_FDCWD, "/", &root, 0)) < 0 || REMOTE(int, fstat(directory, &here)) < 0)
        return -1;
    int fd = directory;
    int status = 0;
    while (status == 0 && here.st_ino != root.st_ino) {
        int parent = REMOTE(int, open(fd, "..", O_PATH | O_DIRECTORY, 0));
        status = parent < 0 ? -1 : name_prepend(parent, &here, text + prefix.length, &at);
        if (status == 0)
            status = REMOTE(int, fstat(parent, &here));
        if (fd != directory)
            REMOTE(int, close(fd));
        fd = parent;
    }
    if (fd != directory && fd >= 0)
        REMOTE(int, close(fd));
    if (status < 0)
        return -1;
    memcpy(result, prefix.text, prefix.length);
    strcpy(result + prefix.length, at);
    return 0;
}

/* ---- the current directory ---- */

/* Somewhere for the kernel to be: a directory that no longer exists. */
static void leave_kernel_directory(void)
{
    char path[] = "/tmp/benchfs-nowhere.XXXXXX";
    if (real(mkdtemp)(path) == NULL)
        return; /* stays where it was */
    if (real(chdir)(path) < 0)
        path[0] = '\0';
    char absolute[] = "/tmp/benchfs-nowhere.XXXXXX";
    memcpy(absolute, path, sizeof path);
    if (path[0] != '\0')
        real(rmdir)(absolute);
}

static void current_leave(void)
{
    pthread_mutex_lock(&current.lock);
    current_inside = false;
    if (current.descriptor >= 0)
        REMOTE(int, close(current.descriptor));
    current.descriptor = -1;
    pthread_mutex_unlock(&current.lock);
}

/* Enters the directory open as libbenchfs's fd, which it takes over. */
static void current_enter(int fd, const char *text)
{
    if (!current_inside)
        leave_kernel_directory();
    pthread_mutex_lock(&current.lock);
    if (current.descriptor >= 0)
        REMOTE(int, close(current.descriptor));
    strcpy(current.text, text);
    current.descriptor = fd;
    current_inside = true;
    pthread_mutex_unlock(&current.lock);
}

EXPORT int chdir(const char *path)
{
    if (unlikely(current_inside) && inside == 0) {
        struct place out;
        if (place_of(AT_FDCWD, path, &out) == ROUTE_REAL) {
            int result = real(chdir)(path);
            if (result == 0)
                current_leave();
            return result;
        }
    }
    char text[PATH_MAX];
    ROUTE(place, AT_FDCWD, path, -1, real(chdir)(path));
    int fd = REMOTE_PATH(int, open(place.directory, place.path, O_PATH | O_DIRECTORY, 0), chdir(left) - 2);
    if (fd < -1) /* chdir(left) was done instead */
        return fd + 2;
    if (fd < 0)
        return -1;
    if (REMOTE(int, accessat(fd, ".", X_OK, AT_EACCESS)) < 0 || path_canonical(&place, false, text) != 0) {
        int error = errno;
        REMOTE(int, close(fd));
        errno = error;
        return -1;
    }
    current_enter(fd, text);
    return 0;
}

EXPORT int fchdir(int fd)
{
    char text[PATH_MAX];
    uint32_t number;
    enum route route = descriptor_of(fd, &number);
    if (route == ROUTE_FAILED)
        return -1;
    if (route == ROUTE_REAL) {
        int result = real(fchdir)(fd);
        if (result == 0 && current_inside && inside == 0)
            current_leave();
        return result;
    }
    int directory = REMOTE(int, open(opened[number].remote, ".", O_PATH | O_DIRECTORY, 0));
    if (directory < 0)
        return -1;
    if (REMOTE(int, accessat(directory, ".", X_OK, AT_EACCESS)) < 0 || directory_text(directory, text) < 0) {
        int error = errno;
        REMOTE(int, close(directory));
        errno = error;
        return -1;
    }
    current_enter(directory, text);
    return 0;
}

const char *current_text(void)
{
    struct stat named, here;
    if (!remote_ready())
        return NULL;
    int fd = current_descriptor();
    if (fd < 0 || REMOTE(int, fstat(fd, &here)) < 0)
        return NULL;
    const char *behind = current.text[prefix.length] == '\0' ? "/" : current.text + prefix.length;
    if (REMOTE(int, statat(AT_FDCWD, behind, &named, AT_SYMLINK_NOFOLLOW)) == 0 &&
        named.st_ino == here.st_ino)
        return current.text;
    char text[PATH_MAX]; /* it was renamed */
    if (directory_text(fd, text) < 0)
        return NULL;
    strcpy(current.text, text);
    return current.text;
}

const char *paths_current_saved(void)
{
    return current_inside ? current.text : NULL;
}

void paths_current_restore(const char *text)
{
    if (prefix.length == 0 || path_behind_prefix(text) == NULL || strlen(text) >= sizeof current.text)
        return;
    strcpy(current.text, text);
    current_inside = true;
}

EXPORT char *getcwd(char *buffer, size_t size)
{
    if (likely(!current_inside) || inside > 0)
        return real(getcwd)(buffer, size);
    if (buffer != NULL && size == 0) {
        errno = EINVAL;
        return NULL;
    }
    const char *text = current_text();
    if (text == NULL)
        return NULL;
    size_t length = strlen(text) + 1;
    if ((buffer != NULL || size != 0) && size < length) {
        errno = ERANGE;
        return NULL;
    }
    if (buffer == NULL)
        buffer = malloc(size != 0 ? size : length);
    return buffer == NULL ? NULL : memcpy(buffer, text, length);
}

EXPORT char *__getcwd_chk(char *buffer, size_t size, size_t room);
EXPORT char *__getcwd_chk(char *buffer, size_t size, size_t room)
{
    if (size > room)
        abort();
    return getcwd(buffer, size);
}

EXPORT char *get_current_dir_name(void)
{
    return getcwd(NULL, 0);
}

EXPORT char *getwd(char *buffer)
{
    return getcwd(buffer, PATH_MAX);
}
EXPORT char *__getwd_chk(char *buffer, size_t room);
EXPORT char *__getwd_chk(char *buffer, size_t room)
{
    return getcwd(buffer, room < PATH_MAX ? room : PATH_MAX);
}

/* ---- realpath ---- */

EXPORT char *realpath(const char *path, char *resolved)
{
    ROUTE(place, AT_FDCWD, path, NULL, real(realpath)(path, resolved));
    char text[PATH_MAX];
    int status = path_canonical(&place, false, text);
    if (status < 0)
        return NULL;
    if (status == 1)
        return realpath(text, resolved);
    if (resolved != NULL)
        return strcpy(resolved, text);
    return strdup(text);
}

EXPORT char *__realpath_chk(const char *path, char *resolved, size_t room);
EXPORT char *__realpath_chk(const char *path, char *resolved, size_t room)
{
    if (room < PATH_MAX)
        abort();
    return realpath(path, resolved);
}

EXPORT char *canonicalize_file_name(const char *path)
{
    return realpath(path, NULL);
}

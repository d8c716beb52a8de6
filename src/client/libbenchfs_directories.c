/* Directory streams of libbenchfs.
 *
 * A stream's position is 0 before ".", 1 before "..", and from 2 on the cursor of the listing (2 itself is
 * the beginning: no name has a hash that small but by an accident of 2^-63). A listing runs through the
 * worker of the thread that reads; if another thread goes on with the stream, the listing begins anew there
 * at the same position, and the one left behind is ended by the worker it belongs to, since only its own
 * thread may touch it. */
#include <stdlib.h>
#include <string.h>

#include "client/application.h"
#include "client/library.h"

#define POSITION_FIRST 2u

/* A listing that a worker runs; `dir` is NULL once the stream went elsewhere. */
struct running {
    struct list link; /* in worker->listings, under fs->mutex */
    struct client_listing *listing;
    struct benchfs_dir *dir;
    struct worker *worker;
};

struct benchfs_dir {
    benchfs *fs;
    struct client_file directory; /* held unless fd holds it */
    uint64_t inode;
    uint64_t parent;
    uint64_t position;
    int fd;          /* taken over by fdopendir, or -1 */
    bool attributes; /* the listing brings them */
    uint32_t forks;
    uint32_t made; /* value of library_forks when it was opened */
    struct running *running;
    struct dirent entry;
};

static void running_end(struct running *running)
{
    client_list_close(running->listing);
    list_remove(&running->link);
    free(running);
}

void directory_detach_all(struct worker *worker)
{
    list_for_each_safe (node, &worker->listings) {
        struct running *running = container_of(node, struct running, link);
        if (running->dir != NULL)
            running->dir->running = NULL;
        running_end(running);
    }
}

/* Ends the stream's listing, or leaves it to the thread it belongs to. */
static void listing_drop(struct benchfs_dir *dir)
{
    benchfs *fs = dir->fs;
    if (dir->forks != atomic_load(&library_forks)) { /* the parent's */
        dir->running = NULL;
        return;
    }
    struct worker *mine = worker_get(fs);
    pthread_mutex_lock(&fs->mutex);
    if (dir->running != NULL) {
        dir->running->dir = NULL;
        if (dir->running->worker == mine)
            running_end(dir->running);
        dir->running = NULL;
    }
    pthread_mutex_unlock(&fs->mutex);
}

/* The worker's listings that streams left behind. */
static void reap_left_behind(struct worker *worker)
{
    pthread_mutex_lock(&worker->fs->mutex);
    list_for_each_safe (node, &worker->listings) {
        struct running *running = container_of(node, struct running, link);
        if (running->dir == NULL)
            running_end(running);
    }
    pthread_mutex_unlock(&worker->fs->mutex);
}

/* The stream's listing in this thread, with attributes if wanted; begun at the stream's position if there is
 * none. */
static int listing_get(struct benchfs_dir *dir, bool attributes, struct client_listing **listing)
{
    struct worker *worker = worker_get(dir->fs);
    if (worker == NULL)
        return -errno;
    struct running *running = dir->running;
    if (running != NULL && dir->forks == worker->forks && running->worker == worker &&
        (dir->attributes || !attributes)) {
        *listing = running->listing;
        return 0;
    }
    listing_drop(dir);
    reap_left_behind(worker);
    running = calloc(1, sizeof *running);
    if (running == NULL)
        return -ENOMEM;
    uint64_t cursor = dir->position <= POSITION_FIRST ? 0 : dir->position;
    int status =
        client_list_open(worker->client, dir->inode, cursor, attributes, NULL, NULL, &running->listing);
    if (status < 0) {
        free(running);
        return status;
    }
    running->dir = dir;
    running->worker = worker;
    dir->running = running;
    dir->attributes = attributes;
    dir->forks = worker->forks;
    pthread_mutex_lock(&dir->fs->mutex);
    list_push_back(&worker->listings, &running->link);
    pthread_mutex_unlock(&dir->fs->mutex);
    *listing = running->listing;
    return 0;
}

/* ---- opening and closing ---- */

static benchfs_dir *directory_make(benchfs *fs, const struct client_file *file, int fd)
{
    struct benchfs_dir *dir = calloc(1, sizeof *dir);
    if (dir == NULL)
        return NULL;
    dir->fs = fs;
    dir->directory = *file;
    dir->directory.held = file->held && fd < 0;
    dir->inode = file->inode;
    dir->parent = file->parent;
    dir->fd = fd;
    dir->forks = dir->made = atomic_load(&library_forks);
    return dir;
}

benchfs_dir *benchfs_opendir(benchfs *fs, const char *path)
{
    APPLICATION_CALL(OPENDIR, fs, -1, path);
    struct client_file file;
    struct client *client = client_get(fs);
    if (client == NULL)
        return NULL;
    int status = client_open(client, INODE_ROOT, path, O_RDONLY | O_DIRECTORY, 0, &file);
    if (status < 0) {
        errno = public_errno(status);
        return NULL;
    }
    benchfs_dir *dir = directory_make(fs, &file, -1);
    if (dir == NULL)
        file_let_go(fs, NULL, &file);
    return dir;
}

benchfs_dir *benchfs_fdopendir(benchfs *fs, int fd)
{
    struct open_file *slot = open_file_acquire(fs, fd);
    if (slot == NULL)
        return NULL;
    struct benchfs_dir *dir = NULL;
    if (!S_ISDIR(slot->file.mode))
        errno = ENOTDIR;
    else if (slot->file.flags & O_PATH)
        errno = EBADF;
    else
        dir = directory_make(fs, &slot->file, fd);
    open_file_release(fs, slot);
    return dir;
}

int benchfs_closedir(benchfs_dir *dir)
{
    listing_drop(dir);
    int result = dir->fd < 0 ? 0 : benchfs_close(dir->fs, dir->fd);
    if (dir->made == atomic_load(&library_forks)) /* else it is the parent's */
        file_let_go(dir->fs, NULL, &dir->directory);
    free(dir);
    return result;
}

/* ---- reading ---- */

static void entry_fill(struct benchfs_dir *dir, uint64_t inode, uint32_t mode, const char *name,
                       size_t length)
{
    dir->entry.d_ino = inode;
    dir->entry.d_off = (off_t)dir->position;
    dir->entry.d_type = (unsigned char)IFTODT(mode);
    dir->entry.d_reclen = sizeof dir->entry;
    memcpy(dir->entry.d_name, name, length + 1);
}

/* "." or "..": returns 1 or a negative status. */
static int next_dot(struct benchfs_dir *dir, struct attributes *attributes, bool wanted)
{
    uint64_t inode = dir->position == 0 ? dir->inode : dir->parent;
    const char *name = dir->position == 0 ? "." : "..";
    if (wanted) {
        struct client *client = client_get(dir->fs);
        int status = client == NULL ? -errno : client_attributes(client, inode, attributes);
        if (status < 0)
            return status;
    }
    dir->position++;
    entry_fill(dir, inode, S_IFDIR, name, strlen(name));
    return 1;
}

static int next_listed(struct benchfs_dir *dir, struct attributes *attributes, bool wanted)
{
    struct client_listing *listing = NULL;
    struct client_entry entry;
    int status = listing_get(dir, wanted, &listing);
    if (status < 0)
        return status;
    status = client_list_next(listing, &entry);
    if (status <= 0)
        return status;
    dir->position = entry.hash == UINT64_MAX ? entry.hash : entry.hash + 1;
    entry_fill(dir, entry.attributes.inode, entry.attributes.mode, entry.name, entry.name_length);
    *attributes = entry.attributes;
    return 1;
}

struct dirent *benchfs_readdirplus(benchfs_dir *dir, struct stat *result)
{
    APPLICATION_CALL(READDIR, dir->fs, -1, NULL);
    struct attributes attributes;
    struct client *client =
        result == NULL || atomic_load(&dir->fs->dirty_files) == 0 ? NULL : client_get(dir->fs);
    if (client != NULL)
        file_caches_publish(dir->fs, client, 0);
    int before = errno; /* callers tell the end from a failure by it */
    int status = dir->position < POSITION_FIRST ? next_dot(dir, &attributes, result != NULL)
                                                : next_listed(dir, &attributes, result != NULL);
    if (status == -ESTALE || status == -ENOENT) /* the directory was removed: it has no entries */
        status = 0;
    errno = status < 0 ? public_errno(status) : before;
    if (status <= 0)
        return NULL;
    if (result != NULL)
        fill_stat(dir->fs, &attributes, result);
    return &dir->entry;
}

struct dirent *benchfs_readdir(benchfs_dir *dir)
{
    return benchfs_readdirplus(dir, NULL);
}

long benchfs_telldir(benchfs_dir *dir)
{
    return (long)dir->position;
}

void benchfs_seekdir(benchfs_dir *dir, long position)
{
    listing_drop(dir);
    dir->position = (uint64_t)position;
}

void benchfs_rewinddir(benchfs_dir *dir)
{
    benchfs_seekdir(dir, 0);
}

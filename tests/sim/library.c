/* One struct benchfs is one client's process: it has its descriptors, and shares the simulated cluster's
 * clients, each of which serves several. Nothing is buffered, so what a call does reaches the servers before
 * it returns; what is promised beyond that (close, O_SYNC) is what src/client/libbenchfs_descriptors.c and
 * libbenchfs_io.c do. Only the calls, flags and fields that the crash matrix uses are here. */
#include "library.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/list.h"
#include "benchfs.h"
#include "crash/history.h"

#define DESCRIPTORS 4

struct descriptor {
    bool used;
    uint64_t offset;
    struct client_file file;
};

struct benchfs {
    struct list link;
    struct client *client;
    struct descriptor descriptors[DESCRIPTORS];
};

struct benchfs_dir {
    struct client_listing *listing;
    struct dirent entry;
    unsigned dots; /* of "." and "..", those that are still to come */
};

static struct {
    struct worker *next;
    struct loop *loop;
    const bool *stopped;
    _Atomic bool *killing;
    struct list connections;
} library = {.connections = {&library.connections, &library.connections}};

void library_connect_as(struct worker *worker)
{
    library.next = worker;
    library.loop = worker->cluster->loop;
}

void library_expect(const bool *stopped, _Atomic bool *killing)
{
    library.stopped = stopped;
    library.killing = killing;
}

/* Of a call: -1 and errno for a negative status. */
static ssize_t finish(ssize_t status)
{
    if (*library.stopped)
        atomic_store(library.killing, true);
    if (status >= 0)
        return status;
    errno = (int)-status;
    return -1;
}

/* ---- time ---- */

uint64_t now_ns(void)
{
    return loop_now(library.loop);
}

void pause_ns(uint64_t ns)
{
    task_sleep(library.loop, ns);
}

/* ---- connections ---- */

benchfs *benchfs_connect(const char *cluster_file)
{
    (void)cluster_file;
    benchfs *fs = calloc(1, sizeof *fs);
    if (fs == NULL)
        return NULL;
    fs->client = library.next->client;
    list_push_back(&library.connections, &fs->link);
    return fs;
}

void benchfs_disconnect(benchfs *fs)
{
    for (unsigned i = 0; i < DESCRIPTORS; i++)
        if (fs->descriptors[i].used)
            client_close(fs->client, &fs->descriptors[i].file);
    client_release_last(fs->client);
    list_remove(&fs->link);
    free(fs);
}

void library_forget(void)
{
    for (struct list *link; (link = list_pop_front(&library.connections)) != NULL;)
        free(container_of(link, struct benchfs, link));
}

const char *benchfs_error(void)
{
    return "no memory";
}

/* ---- open files ---- */

int benchfs_open(benchfs *fs, const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    int fd = 0;
    while (fd < DESCRIPTORS && fs->descriptors[fd].used)
        fd++;
    if (fd == DESCRIPTORS)
        return (int)finish(-EMFILE);
    struct descriptor *descriptor = &fs->descriptors[fd];
    int status = client_open(fs->client, INODE_ROOT, path, flags, mode, &descriptor->file);
    if (status != 0)
        return (int)finish(status);
    descriptor->used = true;
    descriptor->offset = 0;
    return fd;
}

int benchfs_close(benchfs *fs, int fd)
{
    struct descriptor *descriptor = &fs->descriptors[fd];
    int status = 0;
    if (client_map(fs->client)->durability == DURABILITY_CLOSE &&
        (descriptor->file.flags & O_ACCMODE) != O_RDONLY)
        status = client_sync(fs->client, &descriptor->file);
    client_close(fs->client, &descriptor->file);
    descriptor->used = false;
    return (int)finish(status == -ESTALE ? 0 : status);
}

static ssize_t written(benchfs *fs, struct descriptor *descriptor, ssize_t count)
{
    if (count > 0 && (descriptor->file.flags & (O_SYNC | O_DSYNC)) != 0) {
        int status = client_sync(fs->client, &descriptor->file);
        count = status < 0 ? status : count;
    }
    return finish(count);
}

ssize_t benchfs_pwrite(benchfs *fs, int fd, const void *buffer, size_t count, off_t offset)
{
    struct descriptor *descriptor = &fs->descriptors[fd];
    return written(fs, descriptor,
                   client_write(fs->client, &descriptor->file, buffer, count, (uint64_t)offset));
}

/* Only of files with O_APPEND. */
ssize_t benchfs_write(benchfs *fs, int fd, const void *buffer, size_t count)
{
    struct descriptor *descriptor = &fs->descriptors[fd];
    return written(fs, descriptor,
                   client_append(fs->client, &descriptor->file, buffer, count, &descriptor->offset));
}

ssize_t benchfs_pread(benchfs *fs, int fd, void *buffer, size_t count, off_t offset)
{
    return finish(client_read(fs->client, &fs->descriptors[fd].file, buffer, count, (uint64_t)offset));
}

int benchfs_ftruncate(benchfs *fs, int fd, off_t length)
{
    return (int)finish(client_truncate_file(fs->client, &fs->descriptors[fd].file, (uint64_t)length));
}

int benchfs_fsync(benchfs *fs, int fd)
{
    return (int)finish(client_sync(fs->client, &fs->descriptors[fd].file));
}

int benchfs_fdatasync(benchfs *fs, int fd)
{
    return benchfs_fsync(fs, fd);
}

/* ---- attributes ---- */

static int told(int result, const struct attributes *attributes, struct stat *status)
{
    if (result == 0)
        *status = (struct stat){
            .st_ino = attributes->inode,
            .st_mode = attributes->mode,
            .st_nlink = attributes->links,
            .st_size = (off_t)attributes->size,
        };
    return (int)finish(result);
}

int benchfs_fstat(benchfs *fs, int fd, struct stat *status)
{
    struct attributes attributes;
    return told(client_attributes(fs->client, fs->descriptors[fd].file.inode, &attributes), &attributes,
                status);
}

int benchfs_lstat(benchfs *fs, const char *path, struct stat *status)
{
    struct attributes attributes;
    return told(client_stat(fs->client, INODE_ROOT, path, false, &attributes), &attributes, status);
}

int benchfs_chmod(benchfs *fs, const char *path, mode_t mode)
{
    struct set_attributes_request set = {.fields = SET_MODE, .mode = mode};
    return (int)finish(client_set_attributes(fs->client, INODE_ROOT, path, true, &set));
}

ssize_t benchfs_getxattr(benchfs *fs, const char *path, const char *name, void *value, size_t size)
{
    struct client_place place = {INODE_ROOT, path, true};
    return finish(client_getxattr(fs->client, &place, name, value, size));
}

int benchfs_setxattr(benchfs *fs, const char *path, const char *name, const void *value, size_t size,
                     int flags)
{
    struct client_place place = {INODE_ROOT, path, true};
    return (int)finish(client_setxattr(fs->client, &place, name, value, size, (uint8_t)flags));
}

int benchfs_removexattr(benchfs *fs, const char *path, const char *name)
{
    struct client_place place = {INODE_ROOT, path, true};
    return (int)finish(client_removexattr(fs->client, &place, name));
}

/* ---- names ---- */

int benchfs_unlink(benchfs *fs, const char *path)
{
    return (int)finish(client_unlink(fs->client, INODE_ROOT, path));
}

int benchfs_link(benchfs *fs, const char *from, const char *to)
{
    return (int)finish(client_link(fs->client, INODE_ROOT, from, INODE_ROOT, to, false));
}

int benchfs_rename(benchfs *fs, const char *from, const char *to)
{
    return (int)finish(client_rename(fs->client, INODE_ROOT, from, INODE_ROOT, to, 0));
}

int benchfs_mkdir(benchfs *fs, const char *path, mode_t mode)
{
    return (int)finish(client_mkdir(fs->client, INODE_ROOT, path, mode));
}

int benchfs_rmdir(benchfs *fs, const char *path)
{
    return (int)finish(client_rmdir(fs->client, INODE_ROOT, path));
}

/* ---- directories ---- */

benchfs_dir *benchfs_opendir(benchfs *fs, const char *path)
{
    struct attributes attributes;
    benchfs_dir *stream = calloc(1, sizeof *stream);
    int status = stream == NULL ? -ENOMEM : client_stat(fs->client, INODE_ROOT, path, true, &attributes);
    if (status == 0)
        status = client_list_open(fs->client, attributes.inode, 0, false, NULL, NULL, &stream->listing);
    if (status == 0)
        return stream;
    free(stream);
    finish(status);
    return NULL;
}

struct dirent *benchfs_readdir(benchfs_dir *stream)
{
    struct client_entry entry;
    if (stream->dots < 2) {
        stream->dots++;
        return &stream->entry;
    }
    int status = client_list_next(stream->listing, &entry);
    finish(status);
    return status == 1 ? &stream->entry : NULL;
}

int benchfs_closedir(benchfs_dir *stream)
{
    client_list_close(stream->listing);
    free(stream);
    return 0;
}

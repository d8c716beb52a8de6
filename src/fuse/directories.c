/* Directory streams.
 *
 * A position in a stream is 0 before ".", 1 before ".." and from 2 on the place of an entry in the order of
 * hashes in which directories are listed; it stays good whatever is created and removed meanwhile. Offsets
 * are signed, and 0 and 1 are taken, so it is the upper 62 bits of the hash; going on at a position that is
 * not the stream's own could miss an entry only where two hashes are equal in them.
 *
 * The kernel asks for a few kilobytes at a time, each time through another thread. A stream therefore fetches
 * BATCH entries at once into memory of its own and serves requests from there. Rewinding fetches anew. */
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

#include "fuse/filesystem.h"

#define BATCH 512u
#define POSITION_DOT_DOT 1
#define POSITION_FIRST 2
#define POSITION_SHIFT 2
#define NEVER UINT64_MAX

struct stream {
    pthread_mutex_t mutex; /* of all below */
    struct client_file directory;
    off_t position;  /* of the next entry to hand out */
    uint64_t cursor; /* where the next batch begins */
    bool exhausted;  /* nothing behind the batch */
    bool attributes; /* the batch has them */
    uint32_t count;
    uint32_t next;
    struct timespec fetched;
    struct client_entry *batch;
};

static off_t position_behind(uint64_t hash)
{
    return (off_t)(hash >> POSITION_SHIFT) + POSITION_FIRST + 1;
}

static uint64_t position_cursor(off_t position)
{
    uint64_t place = (uint64_t)(position - POSITION_FIRST);
    return place >> (64 - POSITION_SHIFT) != 0 ? NEVER : place << POSITION_SHIFT;
}

static double age(const struct stream *stream)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - stream->fetched.tv_sec) +
           (double)(now.tv_nsec - stream->fetched.tv_nsec) / 1e9;
}

/* Makes the stream go on at a position. */
static void stream_seek(struct stream *stream, off_t position)
{
    stream->position = position;
    stream->count = stream->next = 0;
    stream->exhausted = false;
    stream->cursor = position <= POSITION_FIRST ? 0 : position_cursor(position);
}

/* Fetches the next batch; at the end it is empty. */
static int stream_fetch(struct stream *stream, struct client *client, bool attributes)
{
    struct client_listing *listing;
    stream->count = stream->next = 0;
    if (stream->batch == NULL)
        stream->batch = malloc(BATCH * sizeof *stream->batch);
    if (stream->batch == NULL)
        return -ENOMEM;
    clock_gettime(CLOCK_MONOTONIC, &stream->fetched);
    int status =
        client_list_open(client, stream->directory.inode, stream->cursor, attributes, NULL, NULL, &listing);
    if (status < 0)
        return status;
    status = 1;
    while (stream->count < BATCH && (status = client_list_next(listing, &stream->batch[stream->count])) > 0)
        stream->count++;
    client_list_close(listing);
    if (status < 0 && status != -ESTALE && status != -ENOENT) {
        stream->count = 0;
        return status;
    }
    stream->attributes = attributes;
    stream->exhausted = status <= 0; /* a directory that was removed has no entries */
    if (stream->count > 0) {
        uint64_t last = stream->batch[stream->count - 1].hash;
        stream->exhausted |= last == UINT64_MAX;
        stream->cursor = last + 1;
    }
    return 0;
}

/* ---- replies ---- */

struct reply {
    fuse_req_t request;
    bool plus; /* READDIRPLUS */
    char *bytes;
    size_t size;
    size_t length;
};

/* False when there is no room for the entry. */
static bool reply_add(struct reply *reply, const char *name, const struct attributes *attributes, double old,
                      off_t next)
{
    struct fuse_entry_param entry;
    entry_fill(request_filesystem(reply->request), attributes, old, &entry);
    if (name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0')))
        entry.ino = 0; /* the kernel looks nothing up in these */
    char *to = reply->bytes + reply->length;
    size_t room = reply->size - reply->length;
    size_t needed = reply->plus ? fuse_add_direntry_plus(reply->request, to, room, name, &entry, next)
                                : fuse_add_direntry(reply->request, to, room, name, &entry.attr, next);
    if (needed > room)
        return false;
    reply->length += needed;
    return true;
}

static bool add_dots(struct stream *stream, struct reply *reply)
{
    struct attributes attributes = {.inode = stream->directory.inode, .mode = S_IFDIR};
    if (stream->position == 0) {
        if (!reply_add(reply, ".", &attributes, 0, POSITION_DOT_DOT))
            return false;
        stream->position = POSITION_DOT_DOT;
    }
    if (stream->position == POSITION_DOT_DOT) {
        attributes.inode = stream->directory.parent;
        if (!reply_add(reply, "..", &attributes, 0, POSITION_FIRST))
            return false;
        stream->position = POSITION_FIRST;
    }
    return true;
}

static int stream_read(struct stream *stream, struct client *client, off_t offset, struct reply *reply)
{
    if (offset < 0)
        return -EINVAL;
    if (offset == 0 || offset != stream->position || (reply->plus && !stream->attributes && stream->next > 0))
        stream_seek(stream, offset);
    if (!add_dots(stream, reply))
        return 0;
    if (stream->next == stream->count && !stream->exhausted) {
        if (reply->length > 0) /* something is ready: do not wait for more */
            return 0;
        int status = stream->cursor == NEVER ? 0 : stream_fetch(stream, client, reply->plus);
        if (status < 0)
            return status;
    }
    double old = reply->plus ? age(stream) : 0;
    while (stream->next < stream->count) {
        const struct client_entry *entry = &stream->batch[stream->next];
        off_t next = position_behind(entry->hash);
        if (!reply_add(reply, entry->name, &entry->attributes, old, next))
            break;
        stream->position = next;
        stream->next++;
    }
    return 0;
}

/* ---- operations ---- */

static struct stream *stream_of(const struct fuse_file_info *info)
{
    return (struct stream *)(uintptr_t)info->fh;
}

static void stream_free(struct stream *stream)
{
    pthread_mutex_destroy(&stream->mutex);
    free(stream->batch);
    free(stream);
}

static void open_directory(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *info)
{
    struct attributes attributes;
    struct client *client = request_client(request);
    if (client == NULL)
        return;
    struct stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) {
        reply_status(request, -ENOMEM);
        return;
    }
    pthread_mutex_init(&stream->mutex, NULL);
    int status =
        client_open_inode(client, inode_of(node), O_RDONLY | O_DIRECTORY, &stream->directory, &attributes);
    if (status < 0) {
        stream_free(stream);
        reply_status(request, status);
        return;
    }
    info->fh = (uintptr_t)stream;
    if (fuse_reply_open(request, info) == -ENOENT) {
        client_close(client, &stream->directory);
        stream_free(stream);
    }
}

static void read_directory(fuse_req_t request, size_t size, off_t offset, struct fuse_file_info *info,
                           bool plus)
{
    struct stream *stream = stream_of(info);
    struct client *client = request_client(request);
    if (client == NULL)
        return;
    struct reply reply = {.request = request, .plus = plus, .bytes = (char *)request_buffer()};
    if (reply.bytes == NULL) {
        reply_status(request, -ENOMEM);
        return;
    }
    reply.size = MIN(size, TRANSFER_MAX);
    pthread_mutex_lock(&stream->mutex);
    int status = stream_read(stream, client, offset, &reply);
    pthread_mutex_unlock(&stream->mutex);
    if (status < 0)
        reply_status(request, status);
    else
        fuse_reply_buf(request, reply.bytes, reply.length);
}

static void read_names(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset,
                       struct fuse_file_info *info)
{
    (void)node;
    read_directory(request, size, offset, info, false);
}

static void read_entries(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset,
                         struct fuse_file_info *info)
{
    (void)node;
    read_directory(request, size, offset, info, true);
}

static void release_directory(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *info)
{
    (void)node;
    struct client *client = request_client(request);
    if (client != NULL) {
        client_close(client, &stream_of(info)->directory);
        reply_status(request, 0);
    }
    stream_free(stream_of(info));
}

static void sync_directory(fuse_req_t request, fuse_ino_t node, int data_only, struct fuse_file_info *info)
{
    (void)node;
    (void)data_only;
    struct client *client = request_client(request);
    if (client != NULL)
        reply_status(request, client_sync(client, &stream_of(info)->directory));
}

void directories_operations(struct fuse_lowlevel_ops *operations)
{
    operations->opendir = open_directory;
    operations->readdir = read_names;
    operations->readdirplus = read_entries;
    operations->releasedir = release_directory;
    operations->fsyncdir = sync_directory;
}

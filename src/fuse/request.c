/* What every request begins and ends with: whose client serves it and for whom, and how the kernel is told.
 *
 * Each thread that serves requests has a client of its own (a libbenchfs worker), so requests of different
 * threads share nothing. The client acts with the credentials of the process that made the call. When no
 * connection can be made the request fails with EIO, and the next one tries again. */
#include <stdlib.h>

#include "client/core.h"
#include "fuse/filesystem.h"

/* The kernel does not say which other groups the caller is in; its process does, at the price of reading a
 * file of /proc. Root is asked for nothing. One that is gone already, or in too many groups, has those it was
 * told.
 */
static int act_for(struct client *client, fuse_req_t request)
{
    gid_t groups[RPC_GROUPS_MAX];
    const struct fuse_ctx *caller = fuse_req_ctx(request);
    int count = caller->uid == 0 ? 0 : fuse_req_getgroups(request, (int)RPC_GROUPS_MAX, groups);
    bool usable = count > 0 && count <= (int)RPC_GROUPS_MAX;
    return client_set_credentials(client, caller->uid, caller->gid, groups, usable ? (uint32_t)count : 0);
}

struct client *request_client(fuse_req_t request)
{
    struct client *client = client_get(request_filesystem(request)->fs);
    if (client == NULL) {
        fuse_reply_err(request, errno == ENOMEM ? ENOMEM : EIO);
        return NULL;
    }
    int status = act_for(client, request);
    if (status < 0) {
        fuse_reply_err(request, public_errno(status));
        return NULL;
    }
    return client;
}

void reply_status(fuse_req_t request, int status)
{
    fuse_reply_err(request, status < 0 ? public_errno(status) : 0);
}

void entry_fill(const struct filesystem *filesystem, const struct attributes *attributes, double age,
                struct fuse_entry_param *entry)
{
    double left = filesystem->lifetime > age ? filesystem->lifetime - age : 0;
    *entry = (struct fuse_entry_param){.ino = attributes->inode, .attr_timeout = left, .entry_timeout = left};
    fill_stat(filesystem->fs, attributes, &entry->attr);
}

void reply_entry(fuse_req_t request, const struct attributes *attributes)
{
    struct fuse_entry_param entry;
    entry_fill(request_filesystem(request), attributes, 0, &entry);
    fuse_reply_entry(request, &entry);
}

void reply_attributes(fuse_req_t request, const struct attributes *attributes)
{
    const struct filesystem *filesystem = request_filesystem(request);
    struct stat status;
    fill_stat(filesystem->fs, attributes, &status);
    fuse_reply_attr(request, &status, filesystem->lifetime);
}

/* ---- the buffer ---- */

static pthread_key_t buffer_key;
static pthread_once_t buffer_once = PTHREAD_ONCE_INIT;
static bool buffer_freed_at_exit;
static __thread uint8_t *buffer;

static void buffer_prepare(void)
{
    buffer_freed_at_exit = pthread_key_create(&buffer_key, free) == 0;
}

uint8_t *request_buffer(void)
{
    if (buffer != NULL)
        return buffer;
    pthread_once(&buffer_once, buffer_prepare);
    if (!buffer_freed_at_exit)
        return NULL;
    uint8_t *memory = aligned_alloc(4096, TRANSFER_MAX);
    if (memory == NULL || pthread_setspecific(buffer_key, memory) != 0) {
        free(memory);
        return NULL;
    }
    buffer = memory;
    return buffer;
}

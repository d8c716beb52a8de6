/* What every request begins and ends with: whose client serves it and for whom, and how the kernel is told.
 *
 * Each thread that serves requests has a client of its own (a libbenchfs worker), so requests of different
 * threads share nothing. The client acts with the credentials of the process that made the call. When no
 * connection can be made the request fails with EIO, and the next one tries again. */
#include <linux/fuse.h>
#include <stdlib.h>
#include <sys/mman.h>

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
    if (__builtin_expect(status == -ESTALE, 0))
        retries_note(request);
    fuse_reply_err(request, status < 0 ? public_errno(status) : 0);
}

void entry_fill(const struct filesystem *filesystem, const struct attributes *attributes, double age,
                struct fuse_entry_param *entry)
{
    double left = filesystem->lifetime > age ? filesystem->lifetime - age : 0;
    *entry = (struct fuse_entry_param){
        .ino = node_of(attributes->inode), .attr_timeout = left, .entry_timeout = left};
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

/* ---- a thread's memory ---- */

/* One huge page, because the kernel looks up every page that it copies from or to. What is to be sent lies in
 * its second half. Requests are received in front, placed so that the data of a WRITE, which follow two
 * structures, begin on a page, or every page would be copied in two pieces. Only a WRITE reaches into the
 * second half, and it sends nothing from there. */
#define THREAD_MEMORY (UINT32_C(2) << 20)
#define REQUEST_AT (4096 - sizeof(struct fuse_in_header) - sizeof(struct fuse_write_in))
static_assert(REQUEST_AT % 8 == 0, "requests are aligned");
static_assert(REQUEST_AT + REQUEST_MAX <= THREAD_MEMORY, "there is room for a request");

static pthread_key_t memory_key;
static pthread_once_t memory_once = PTHREAD_ONCE_INIT;
static bool memory_freed_at_exit;
static __thread uint8_t *memory;

static void memory_prepare(void)
{
    memory_freed_at_exit = pthread_key_create(&memory_key, free) == 0;
}

static uint8_t *thread_memory(void)
{
    if (memory != NULL)
        return memory;
    pthread_once(&memory_once, memory_prepare);
    if (!memory_freed_at_exit)
        return NULL;
    uint8_t *made = aligned_alloc(THREAD_MEMORY, THREAD_MEMORY);
    if (made == NULL || pthread_setspecific(memory_key, made) != 0) {
        free(made);
        return NULL;
    }
    madvise(made, THREAD_MEMORY, MADV_HUGEPAGE); /* small pages do as well */
    memory = made;
    return memory;
}

uint8_t *request_memory(void)
{
    uint8_t *mine = thread_memory();
    return mine == NULL ? NULL : mine + REQUEST_AT;
}

uint8_t *request_buffer(void)
{
    uint8_t *mine = thread_memory();
    return mine == NULL ? NULL : mine + THREAD_MEMORY - TRANSFER_MAX;
}

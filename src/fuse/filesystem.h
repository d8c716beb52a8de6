/* Inside the FUSE front end: what its modules share.
 *
 * A node id of the kernel is a BenchFS inode number in another order of its bits, so a lookup leaves nothing
 * behind here and forgetting is free. Inode numbers are never used again: the generation is always 0. */
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <pthread.h>

#include "base/list.h"
#include "client/application.h"
#include "client/client.h"
#include "client/library.h"
#include "cluster/partition.h"
#include "fuse/mount.h"

static_assert(sizeof(fuse_ino_t) >= sizeof(uint64_t), "a node id holds an inode number");

/* ---- node ids ----
 *
 * The kernel finds nodes in a hash table by a hash in which the low bits of the id count. In an inode number
 * these are a counter of the partition, which is the same in thousands of inodes. So the partition goes to
 * the low end. The root has a number of its own; it is no other's, for counters begin at 1. */

static inline fuse_ino_t node_of(uint64_t inode)
{
    return inode == INODE_ROOT ? FUSE_ROOT_ID
                               : inode_counter(inode) << PARTITION_BITS | inode_partition(inode);
}

static inline uint64_t inode_of(fuse_ino_t node)
{
    return node == FUSE_ROOT_ID
               ? INODE_ROOT
               : inode_make((uint32_t)node & (PARTITION_COUNT - 1), (uint64_t)node >> PARTITION_BITS);
}

#define TRANSFER_MAX (UINT32_C(1) << 20)            /* bytes of one read or write request: 256 pages */
#define REQUEST_MAX (TRANSFER_MAX + UINT32_C(4096)) /* with what comes before the data */

struct version_table;
struct mount_locks;
struct mount_retries;

struct filesystem {
    struct benchfs *fs;
    enum consistency consistency;
    double lifetime;                /* of entries and attributes in the kernel, s */
    bool default_permissions;       /* the kernel checks */
    struct version_table *versions; /* NULL in strict */
    struct mount_locks *locks;
    struct mount_retries *retries;
};

/* An open file. */
struct handle {
    struct client_file file;
    _Atomic uint64_t flock_owner; /* as whom it locks with flock; 0: not chosen yet */
    _Atomic uint64_t noted;       /* for versions_dropped; 0: nothing to tell */

    /* For locks.c: it holds locks, and this may be its last close; RELEASE is on its way then. */
    struct list closing;    /* of mount_locks */
    uint64_t closing_until; /* clock_now() at which it is no longer expected; 0: not in the list */
};

static inline struct handle *handle_of(const struct fuse_file_info *info)
{
    return (struct handle *)(uintptr_t)info->fh;
}

/* ---- requests (request.c) ---- */

static inline struct filesystem *request_filesystem(fuse_req_t request)
{
    return fuse_req_userdata(request);
}

/* The client of this thread, set up to act for the caller of the request. NULL when the servers cannot be
 * reached: the request has been answered. */
struct client *request_client(fuse_req_t request);
/* Ends a request with a status: 0 or a negative one. */
void reply_status(fuse_req_t request, int status);
void reply_entry(fuse_req_t request, const struct attributes *attributes);
void reply_attributes(fuse_req_t request, const struct attributes *attributes);
/* An entry as reply_entry sends it. */
void entry_fill(const struct filesystem *filesystem, const struct attributes *attributes, double age,
                struct fuse_entry_param *entry);
/* This thread's memory of REQUEST_MAX bytes to receive requests in. NULL: out of memory. */
uint8_t *request_memory(void);
/* Memory of TRANSFER_MAX bytes for the data of the reply to one request other than WRITE, this thread's.
 * NULL: out of memory. */
uint8_t *request_buffer(void);

/* ---- what the kernel was told of files' contents (versions.c) ---- */

/* Remembers the state of a file's contents that the kernel's cache may hold. A small table that forgets. */
int versions_create(struct version_table **versions);
void versions_destroy(struct version_table *versions);
/* Whether the kernel holds nothing that is older than these attributes; notes them. If not, *noted is a
 * number for versions_dropped (else 0), and the answer to this open must have the kernel drop what it holds.
 */
bool versions_unchanged(struct version_table *versions, const struct attributes *attributes, uint64_t *noted);
/* The kernel has: a request came through the file that was opened then. */
void versions_dropped(struct version_table *versions, uint64_t inode, uint64_t noted);

/* ---- walks that the kernel makes once more (retries.c) ---- */

int retries_create(struct mount_retries **retries); /* 0 or -ENOMEM */
/* What is still held ends with the instance. */
void retries_destroy(struct mount_retries *retries);
/* The caller of the request is about to be told ESTALE. */
void retries_note(fuse_req_t request);
/* Whether it was, lately: then what it looks up must not go away. */
bool retries_noted(fuse_req_t request);
/* client_lookup for such a caller, which holds what is found for some time. 0 or a status. */
int retries_lookup(fuse_req_t request, struct client *client, uint64_t directory, const char *name,
                   struct attributes *attributes);
/* Ends what has been noted long enough. Whether there is anything left. */
bool retries_expire(struct filesystem *filesystem);

/* ---- file locks (locks.c) ---- */

int mount_locks_create(struct benchfs *fs, struct mount_locks **locks); /* 0 or -errno */
/* Calls that wait for a lock are answered with EINTR. */
void mount_locks_destroy(struct mount_locks *locks);
/* An owner closes a descriptor of the open file: its record locks on the inode end. 0 or a status. */
int mount_locks_flush(fuse_req_t request, struct handle *handle, uint64_t owner);
/* Nobody has the file open any more. */
void mount_locks_release(fuse_req_t request, struct handle *handle);

/* ---- threads (mount.c) ---- */

/* A thread is about to wait at the device: watches it for a while. */
void mount_before_read(struct filesystem *filesystem, int device);
/* A reply is about to be written to the device: calls another thread if requests wait there. */
void mount_before_reply(struct filesystem *filesystem, int device);

/* ---- capabilities that libfuse does not know (negotiate.c) ---- */

/* Puts itself between libfuse and the device of a mounted session. 0 or -errno. */
int negotiate_begin(struct fuse_session *session);

/* ---- traces (traced.c) ---- */

/* Around the serving of one request, which is recorded if somebody traces: call->worker is NULL before, and
 * application_end follows. */
void traced_begin_slow(struct application_call *call, benchfs *fs, const struct fuse_buf *buffer);
static inline void traced_begin(struct application_call *call, benchfs *fs, const struct fuse_buf *buffer)
{
    if (application_traced())
        traced_begin_slow(call, fs, buffer);
}
/* What this thread is about to reply. */
void traced_reply_slow(const struct iovec *parts, int count);
static inline void traced_reply(const struct iovec *parts, int count)
{
    if (application_traced())
        traced_reply_slow(parts, count);
}

/* ---- the operations, by module ---- */

void names_operations(struct fuse_lowlevel_ops *operations);
void attributes_operations(struct fuse_lowlevel_ops *operations);
void locks_operations(struct fuse_lowlevel_ops *operations);
void xattrs_operations(struct fuse_lowlevel_ops *operations);
void files_operations(struct fuse_lowlevel_ops *operations);
void directories_operations(struct fuse_lowlevel_ops *operations);

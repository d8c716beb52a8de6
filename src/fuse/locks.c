/* File locks: flock, and record locks of processes and of open file descriptions.
 *
 * The servers keep them. The kernel tells who owns a lock by a number: for record locks the process, for
 * those of a description, and for flock, the open file. A process's record locks on a file end when it closes
 * any descriptor of that file: FLUSH comes with the process's number. Locks of an open file end with it:
 * RELEASE. What may have to be given back then is noted in `owners`, by inode; as long as nobody has locked
 * anything a close looks at one number.
 *
 * The kernel does not wait for RELEASE: close returns after FLUSH, and who asks for the lock next may be
 * heard by another thread before the one that still gives it back. The next open file may even get the same
 * number. So a FLUSH through an open file that holds locks says that its RELEASE may follow, and a call that
 * finds the lock taken, or its number in use by another open file, waits for that one before it believes it:
 * CLOSING_MAX for RELEASE to come at all (the file may be open elsewhere still), and as long as it takes once
 * it is here.
 *
 * Whoever has to wait for a lock must not keep a serving thread, or the one who would unlock is never heard.
 * So waiting is a task on the loop of one thread for all, which is started when it is needed first; it asks
 * the server in short turns, and looks in between whether the call was interrupted. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "fuse/filesystem.h"
#include "rpc/operations.h"
#include "runtime/loop.h"

/* An owner that may have record locks on an inode, through the handle `file`. */
struct owner {
    struct list link;
    uint64_t inode;
    uint64_t number;
    const struct handle *file;
};

#define CLOSING_MAX (100 * NSEC_PER_MSEC) /* from FLUSH to RELEASE */
#define LOOKS_MAX 16u                     /* at a lock that others keep giving back */
#define CLOSING_NOW UINT64_MAX            /* RELEASE is here */

struct mount_locks {
    struct benchfs *fs;
    pthread_mutex_t mutex; /* of owners, closing, queue and started */
    struct list owners;
    _Atomic uint32_t count; /* of owners */
    struct list closing;    /* of struct handle: their RELEASE may be on its way */
    pthread_cond_t released;
    _Atomic uint64_t releases; /* of locks, that ever ended */
    struct list queue;         /* of struct waiting, for the waiting thread */
    bool started;              /* the waiting thread takes from the queue */
    bool thread_made;          /* thread is to be joined */
    _Atomic bool ending;
    pthread_t thread;
    int submitted; /* eventfd: something is in the queue, or the thread is to end */

    /* The waiting thread's own. */
    struct client *client;
    uint32_t under_way; /* tasks */
    struct watch watch;
};

/* A call that waits for a lock. */
struct waiting {
    struct list link;
    struct mount_locks *locks;
    fuse_req_t request;
    struct client_lock lock;
};

int mount_locks_create(struct benchfs *fs, struct mount_locks **result)
{
    struct mount_locks *locks = calloc(1, sizeof *locks);
    if (locks == NULL)
        return -ENOMEM;
    locks->fs = fs;
    locks->submitted = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (locks->submitted < 0) {
        int status = -errno;
        free(locks);
        return status;
    }
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&locks->released, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&locks->mutex, NULL);
    list_init(&locks->owners);
    list_init(&locks->closing);
    list_init(&locks->queue);
    *result = locks;
    return 0;
}

/* ---- who has locked what ---- */

static struct owner *owner_find(struct mount_locks *locks, uint64_t inode, uint64_t number)
{
    list_for_each (node, &locks->owners) {
        struct owner *owner = container_of(node, struct owner, link);
        if (owner->inode == inode && owner->number == number)
            return owner;
    }
    return NULL;
}

/* Forgets an owner. Returns whether it was noted. */
static bool owner_drop(struct mount_locks *locks, uint64_t inode, uint64_t number)
{
    pthread_mutex_lock(&locks->mutex);
    struct owner *owner = owner_find(locks, inode, number);
    if (owner != NULL) {
        list_remove(&owner->link);
        free(owner);
        atomic_fetch_sub(&locks->count, 1);
    }
    pthread_mutex_unlock(&locks->mutex);
    return owner != NULL;
}

/* Some owner that has locked through the open file. The mutex is held. */
static struct owner *owner_through(const struct mount_locks *locks, const struct handle *file)
{
    list_for_each (node, &locks->owners) {
        struct owner *owner = container_of(node, struct owner, link);
        if (owner->file == file)
            return owner;
    }
    return NULL;
}

/* Its number; it stays noted. */
static bool owner_number(struct mount_locks *locks, const struct handle *file, uint64_t *number)
{
    pthread_mutex_lock(&locks->mutex);
    const struct owner *owner = owner_through(locks, file);
    if (owner != NULL)
        *number = owner->number;
    pthread_mutex_unlock(&locks->mutex);
    return owner != NULL;
}

/* ---- what is being closed ---- */

static void closing_forget(struct handle *file)
{
    if (file->closing_until != 0)
        list_remove(&file->closing);
    file->closing_until = 0;
}

/* RELEASE is to be awaited, until then, if there is anything to give back. */
static void release_expect(struct mount_locks *locks, struct handle *file, uint64_t until)
{
    if (atomic_load(&locks->count) == 0 && atomic_load(&file->flock_owner) == 0)
        return;
    pthread_mutex_lock(&locks->mutex);
    closing_forget(file);
    if (atomic_load(&file->flock_owner) != 0 || owner_through(locks, file) != NULL) {
        file->closing_until = until;
        list_push_back(&locks->closing, &file->closing);
    }
    pthread_mutex_unlock(&locks->mutex);
}

/* What the open file locked has been given back. */
static void release_done(struct mount_locks *locks, struct handle *file)
{
    if (file->closing_until == 0)
        return; /* there was nothing, and nobody else changes that now */
    pthread_mutex_lock(&locks->mutex);
    closing_forget(file);
    atomic_fetch_add(&locks->releases, 1);
    pthread_cond_broadcast(&locks->released);
    pthread_mutex_unlock(&locks->mutex);
}

static struct handle *closing_find(struct mount_locks *locks, uint64_t inode)
{
    list_for_each (node, &locks->closing) {
        struct handle *file = container_of(node, struct handle, closing);
        if (file->file.inode == inode)
            return file;
    }
    return NULL;
}

/* Waits until no RELEASE of the inode is expected any more. Returns whether there was one. The mutex is held,
 * and given up meanwhile. */
static bool await_release_locked(struct mount_locks *locks, uint64_t inode)
{
    bool waited = false;
    for (struct handle *file; (file = closing_find(locks, inode)) != NULL; waited = true) {
        uint64_t now = clock_now();
        if (file->closing_until <= now) {
            closing_forget(file);
            continue;
        }
        uint64_t left = file->closing_until == CLOSING_NOW ? NSEC_PER_SEC : file->closing_until - now;
        struct timespec end;
        clock_gettime(CLOCK_MONOTONIC, &end);
        uint64_t nanoseconds = (uint64_t)end.tv_nsec + left;
        end.tv_sec += (time_t)(nanoseconds / NSEC_PER_SEC);
        end.tv_nsec = (long)(nanoseconds % NSEC_PER_SEC);
        pthread_cond_timedwait(&locks->released, &locks->mutex, &end);
    }
    return waited;
}

/* Whether what was found locked may be free by now: a RELEASE was under way, which has ended, or one has
 * ended since `seen` of them had. */
static bool may_be_free(struct mount_locks *locks, uint64_t inode, uint64_t *seen)
{
    pthread_mutex_lock(&locks->mutex);
    bool waited = await_release_locked(locks, inode);
    uint64_t ended = atomic_load(&locks->releases);
    bool changed = waited || ended != *seen;
    *seen = ended;
    pthread_mutex_unlock(&locks->mutex);
    return changed;
}

/* Notes an owner that may get a lock through the open file. 0 or -ENOMEM. */
static int owner_note(struct mount_locks *locks, uint64_t inode, uint64_t number, const struct handle *file)
{
    int status = 0;
    pthread_mutex_lock(&locks->mutex);
    struct owner *owner = owner_find(locks, inode, number);
    if (owner != NULL && owner->file != file && owner->file->closing_until != 0) {
        await_release_locked(locks, inode);
        owner = owner_find(locks, inode, number);
    }
    if (owner == NULL) {
        owner = malloc(sizeof *owner);
        if (owner != NULL) {
            *owner = (struct owner){.inode = inode, .number = number, .file = file};
            list_push_back(&locks->owners, &owner->link);
            atomic_fetch_add(&locks->count, 1);
        } else {
            status = -ENOMEM;
        }
    }
    pthread_mutex_unlock(&locks->mutex);
    return status;
}

int mount_locks_flush(fuse_req_t request, struct handle *file, uint64_t number)
{
    struct mount_locks *locks = request_filesystem(request)->locks;
    uint64_t inode = file->file.inode;
    int status = 0;
    if (atomic_load(&locks->count) > 0 && owner_drop(locks, inode, number)) {
        struct client *client = client_get(locks->fs);
        status = client == NULL ? -EIO : client_lock_release(client, inode, LOCK_PROCESS, number, 0);
    }
    release_expect(locks, file, clock_now() + CLOSING_MAX);
    return status;
}

void mount_locks_release(fuse_req_t request, struct handle *file)
{
    struct mount_locks *locks = request_filesystem(request)->locks;
    uint64_t inode = file->file.inode, number;
    struct client *client;
    release_expect(locks, file, CLOSING_NOW);
    while (atomic_load(&locks->count) > 0 && owner_number(locks, file, &number)) {
        if ((client = client_get(locks->fs)) != NULL)
            client_lock_release(client, inode, LOCK_PROCESS, number, 0);
        owner_drop(locks, inode, number);
    }
    if (atomic_load(&file->flock_owner) != 0 && (client = client_get(locks->fs)) != NULL)
        client_lock_release(client, inode, LOCK_FLOCK, file->flock_owner, 0);
    release_done(locks, file);
}

/* ---- waiting ---- */

static bool gives_up(void *argument)
{
    const struct waiting *waiting = argument;
    return atomic_load(&waiting->locks->ending) || fuse_req_interrupted(waiting->request);
}

static void end_if_done(struct mount_locks *locks)
{
    if (locks->under_way == 0 && atomic_load(&locks->ending))
        loop_stop(client_loop(locks->client));
}

static void wait_for_lock(void *argument)
{
    struct waiting *waiting = argument;
    struct mount_locks *locks = waiting->locks;
    reply_status(waiting->request, client_lock(locks->client, &waiting->lock, true, gives_up, waiting));
    free(waiting);
    locks->under_way--;
    end_if_done(locks);
}

static struct waiting *queue_take(struct mount_locks *locks)
{
    struct waiting *waiting = NULL;
    pthread_mutex_lock(&locks->mutex);
    if (!list_empty(&locks->queue))
        waiting = container_of(list_pop_front(&locks->queue), struct waiting, link);
    pthread_mutex_unlock(&locks->mutex);
    return waiting;
}

static void take_submitted(struct watch *watch, uint32_t events)
{
    (void)events;
    struct mount_locks *locks = container_of(watch, struct mount_locks, watch);
    eventfd_t ignored;
    eventfd_read(locks->submitted, &ignored);
    for (struct waiting *waiting; (waiting = queue_take(locks)) != NULL;) {
        locks->under_way++;
        int status = task_spawn_later(client_loop(locks->client), wait_for_lock, waiting, NULL);
        if (status == 0)
            continue;
        locks->under_way--;
        reply_status(waiting->request, status);
        free(waiting);
    }
    end_if_done(locks);
}

static void *run_waiting(void *argument)
{
    struct mount_locks *locks = argument;
    locks->client = client_get(locks->fs);
    locks->watch = (struct watch){.fd = locks->submitted, .ready = take_submitted};
    if (locks->client != NULL && loop_watch_add(client_loop(locks->client), &locks->watch, EPOLLIN) == 0) {
        loop_run(client_loop(locks->client));
        loop_watch_remove(client_loop(locks->client), &locks->watch);
    }
    /* Without a connection nobody waits; the next one who would starts a thread again. He joins this one with
     * the mutex held, so it must not be needed any more. */
    struct list left;
    list_init(&left);
    pthread_mutex_lock(&locks->mutex);
    locks->started = false;
    while (!list_empty(&locks->queue))
        list_push_back(&left, list_pop_front(&locks->queue));
    pthread_mutex_unlock(&locks->mutex);
    while (!list_empty(&left)) {
        struct waiting *waiting = container_of(list_pop_front(&left), struct waiting, link);
        reply_status(waiting->request, -EIO);
        free(waiting);
    }
    return NULL;
}

/* Hands the call to the waiting thread, which will answer it. */
static int submit(struct mount_locks *locks, fuse_req_t request, const struct client_lock *lock)
{
    struct waiting *waiting = malloc(sizeof *waiting);
    if (waiting == NULL)
        return -ENOMEM;
    *waiting = (struct waiting){.locks = locks, .request = request, .lock = *lock};
    int status = 0;
    pthread_mutex_lock(&locks->mutex);
    if (!locks->started) {
        if (locks->thread_made)
            pthread_join(locks->thread, NULL); /* it has ended, or is about to */
        status = -pthread_create(&locks->thread, NULL, run_waiting, locks);
        locks->started = locks->thread_made = status == 0;
    }
    if (status == 0)
        list_push_back(&locks->queue, &waiting->link);
    pthread_mutex_unlock(&locks->mutex);
    if (status == 0)
        eventfd_write(locks->submitted, 1);
    else
        free(waiting);
    return status;
}

void mount_locks_destroy(struct mount_locks *locks)
{
    if (locks == NULL)
        return;
    atomic_store(&locks->ending, true);
    eventfd_write(locks->submitted, 1);
    if (locks->thread_made)
        pthread_join(locks->thread, NULL);
    while (!list_empty(&locks->owners))
        free(container_of(list_pop_front(&locks->owners), struct owner, link));
    close(locks->submitted);
    pthread_cond_destroy(&locks->released);
    pthread_mutex_destroy(&locks->mutex);
    free(locks);
}

/* ---- operations ---- */

static uint8_t lock_type(int type)
{
    return type == F_RDLCK ? LOCK_SHARED : type == F_WRLCK ? LOCK_EXCLUSIVE : LOCK_NONE;
}

static struct client_lock record_lock_of(const struct fuse_file_info *info, const struct flock *lock)
{
    return (struct client_lock){
        .inode = handle_of(info)->file.inode,
        .owner = info->lock_owner,
        .start = (uint64_t)lock->l_start,
        .end = lock->l_len == 0 ? LOCK_OFFSET_MAX : (uint64_t)(lock->l_start + lock->l_len - 1),
        .pid = (uint32_t)lock->l_pid,
        .kind = LOCK_PROCESS,
        .type = lock_type(lock->l_type),
    };
}

static void lock_or_wait(fuse_req_t request, struct client *client, const struct client_lock *lock, bool wait)
{
    struct mount_locks *locks = request_filesystem(request)->locks;
    uint64_t seen = atomic_load(&locks->releases);
    int status = client_lock(client, lock, false, NULL, NULL);
    for (unsigned i = 0;
         i < LOOKS_MAX && status == -EAGAIN && !wait && may_be_free(locks, lock->inode, &seen); i++)
        status = client_lock(client, lock, false, NULL, NULL);
    if (status == -EAGAIN && wait) {
        status = submit(locks, request, lock);
        if (status == 0)
            return; /* the waiting thread answers */
    }
    reply_status(request, status);
}

static void set_lock(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *info, struct flock *lock,
                     int wait)
{
    (void)node;
    struct client *client = request_client(request);
    if (client == NULL)
        return;
    struct client_lock wanted = record_lock_of(info, lock);
    int status = wanted.type == LOCK_NONE ? 0
                                          : owner_note(request_filesystem(request)->locks, wanted.inode,
                                                       info->lock_owner, handle_of(info));
    if (status < 0)
        reply_status(request, status);
    else
        lock_or_wait(request, client, &wanted, wait);
}

static void get_lock(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *info, struct flock *lock)
{
    (void)node;
    struct client *client = request_client(request);
    if (client == NULL)
        return;
    struct client_lock wanted = record_lock_of(info, lock);
    struct lock_reply found;
    struct mount_locks *locks = request_filesystem(request)->locks;
    uint64_t seen = atomic_load(&locks->releases);
    int status = client_lock_test(client, &wanted, &found);
    for (unsigned i = 0;
         i < LOOKS_MAX && status == 0 && found.type != LOCK_NONE && may_be_free(locks, wanted.inode, &seen);
         i++)
        status = client_lock_test(client, &wanted, &found);
    if (status < 0) {
        reply_status(request, status);
        return;
    }
    struct flock answer = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    if (found.type != LOCK_NONE) {
        answer.l_type = found.type == LOCK_SHARED ? F_RDLCK : F_WRLCK;
        answer.l_start = (off_t)found.start;
        answer.l_len = found.end >= LOCK_OFFSET_MAX ? 0 : (off_t)(found.end - found.start + 1);
        answer.l_pid = found.kind == LOCK_PROCESS ? (pid_t)found.pid : -1;
    }
    fuse_reply_lock(request, &answer);
}

static void lock_file(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *info, int operation)
{
    (void)node;
    struct handle *handle = handle_of(info);
    struct client *client = request_client(request);
    if (client == NULL)
        return;
    /* Descriptions of all mounts and processes must differ, so the kernel's number will not do. */
    uint64_t owner = atomic_load(&handle->flock_owner), random;
    if (owner == 0) {
        if (getrandom(&random, sizeof random, 0) != sizeof random) {
            reply_status(request, -ENOLCK);
            return;
        }
        random |= 1;
        owner = atomic_compare_exchange_strong(&handle->flock_owner, &owner, random) ? random : owner;
    }
    struct client_lock wanted = {
        .inode = handle->file.inode,
        .owner = owner,
        .end = LOCK_OFFSET_MAX,
        .kind = LOCK_FLOCK,
        .type = operation & LOCK_SH   ? LOCK_SHARED
                : operation & LOCK_EX ? LOCK_EXCLUSIVE
                                      : LOCK_NONE,
    };
    lock_or_wait(request, client, &wanted, !(operation & LOCK_NB));
}

void locks_operations(struct fuse_lowlevel_ops *operations)
{
    operations->setlk = set_lock;
    operations->getlk = get_lock;
    operations->flock = lock_file;
}

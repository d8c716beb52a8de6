/* File locks: flock, and record locks of processes and of open file descriptions.
 *
 * The servers keep them. The kernel tells who owns a lock by a number: for record locks the process, for
 * those of a description, and for flock, the open file. A process's record locks on a file end when it closes
 * any descriptor of that file: FLUSH comes with the process's number. Locks of an open file end with it:
 * RELEASE. What may have to be given back then is noted in `owners`, by inode; as long as nobody has locked
 * anything a close looks at one number.
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
#include <unistd.h>

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

struct mount_locks {
    struct benchfs *fs;
    pthread_mutex_t mutex; /* of owners, queue and started */
    struct list owners;
    _Atomic uint32_t count; /* of owners */
    struct list queue;      /* of struct waiting, for the waiting thread */
    bool started;           /* the waiting thread takes from the queue */
    bool thread_made;       /* thread is to be joined */
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
    pthread_mutex_init(&locks->mutex, NULL);
    list_init(&locks->owners);
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

static int owner_note(struct mount_locks *locks, uint64_t inode, uint64_t number, const struct handle *file)
{
    int status = 0;
    pthread_mutex_lock(&locks->mutex);
    struct owner *owner = owner_find(locks, inode, number);
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

/* Takes out an owner of an inode: the one with that number, or, with file, any that locked through it. */
static bool owner_take(struct mount_locks *locks, uint64_t inode, const uint64_t *number,
                       const struct handle *file, uint64_t *taken)
{
    bool found = false;
    pthread_mutex_lock(&locks->mutex);
    list_for_each_safe (node, &locks->owners) {
        struct owner *owner = container_of(node, struct owner, link);
        if (owner->inode != inode || (number != NULL ? owner->number != *number : owner->file != file))
            continue;
        *taken = owner->number;
        list_remove(&owner->link);
        free(owner);
        atomic_fetch_sub(&locks->count, 1);
        found = true;
        break;
    }
    pthread_mutex_unlock(&locks->mutex);
    return found;
}

int mount_locks_flush(fuse_req_t request, uint64_t inode, uint64_t number)
{
    struct mount_locks *locks = request_filesystem(request)->locks;
    uint64_t taken;
    if (atomic_load(&locks->count) == 0 || !owner_take(locks, inode, &number, NULL, &taken))
        return 0;
    struct client *client = client_get(locks->fs);
    return client == NULL ? -EIO : client_lock_release(client, inode, LOCK_PROCESS, taken);
}

void mount_locks_release(fuse_req_t request, struct handle *file)
{
    struct mount_locks *locks = request_filesystem(request)->locks;
    uint64_t inode = file->file.inode, taken;
    struct client *client;
    while (atomic_load(&locks->count) > 0 && owner_take(locks, inode, NULL, file, &taken))
        if ((client = client_get(locks->fs)) != NULL)
            client_lock_release(client, inode, LOCK_PROCESS, taken);
    if (atomic_load(&file->flock_owner) != 0 && (client = client_get(locks->fs)) != NULL)
        client_lock_release(client, inode, LOCK_FLOCK, file->flock_owner);
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
    pthread_mutex_destroy(&locks->mutex);
    free(locks);
}

/* ---- operations ---- */

static uint8_t lock_type(int type)
{
    return type == F_RDLCK ? LOCK_SHARED : type == F_WRLCK ? LOCK_EXCLUSIVE : LOCK_NONE;
}

static struct client_lock record_lock_of(fuse_ino_t inode, const struct fuse_file_info *info,
                                         const struct flock *lock)
{
    return (struct client_lock){
        .inode = inode,
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
    int status = client_lock(client, lock, false, NULL, NULL);
    if (status == -EAGAIN && wait) {
        status = submit(request_filesystem(request)->locks, request, lock);
        if (status == 0)
            return; /* the waiting thread answers */
    }
    reply_status(request, status);
}

static void set_lock(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info, struct flock *lock,
                     int wait)
{
    struct client *client = request_client(request);
    if (client == NULL)
        return;
    struct client_lock wanted = record_lock_of(inode, info, lock);
    int status = wanted.type == LOCK_NONE ? 0
                                          : owner_note(request_filesystem(request)->locks, inode,
                                                       info->lock_owner, handle_of(info));
    if (status < 0)
        reply_status(request, status);
    else
        lock_or_wait(request, client, &wanted, wait);
}

static void get_lock(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info, struct flock *lock)
{
    struct client *client = request_client(request);
    if (client == NULL)
        return;
    struct client_lock wanted = record_lock_of(inode, info, lock);
    struct lock_reply found;
    int status = client_lock_test(client, &wanted, &found);
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

static void lock_file(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info, int operation)
{
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
        .inode = inode,
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

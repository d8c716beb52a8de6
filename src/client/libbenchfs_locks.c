/* File locks of libbenchfs: flock, and the record locks of processes and of open file descriptions.
 *
 * The servers keep them; what is kept here is what has to be given back. A description that has locks of its
 * own says so, and whoever lets go of it last tells the server. A process's record locks on a file end with
 * any close of any descriptor of it, so the inodes on which it has some are in a set; as long as it is empty
 * close looks at one number.
 *
 * A thread that waits for a lock holds up signals and looks at them between two requests, some 25 times a
 * second: so none is missed, and it is known which have come. Their handlers run then; the wait ends if one
 * does not ask for system calls to be restarted. */
#include <signal.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include "client/application.h"
#include "client/library.h"

/* Asked by a waiting thread whether to go on. */
static __thread struct {
    int (*interrupted)(void *argument);
    void *argument;
} interrupt;

void benchfs_set_interrupt(int (*interrupted)(void *argument), void *argument)
{
    interrupt.interrupted = interrupted;
    interrupt.argument = argument;
}

/* ---- waiting ---- */

/* Signals of a thread's own doing, which cannot be held up. */
static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};

/* Does one of the pending signals have a handler that system calls are not restarted after? */
static bool one_interrupts(const sigset_t *pending, const sigset_t *blocked)
{
    for (int number = 1; number < NSIG; number++) {
        struct sigaction action;
        if (sigismember(pending, number) == 1 && sigismember(blocked, number) == 0 &&
            sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_DFL &&
            action.sa_handler != SIG_IGN && !(action.sa_flags & SA_RESTART))
            return true;
    }
    return false;
}

static bool gives_up(void *argument)
{
    const sigset_t *mask = argument; /* the thread's own */
    sigset_t pending, blocked;
    if (interrupt.interrupted != NULL && interrupt.interrupted(interrupt.argument))
        return true;
    if (sigpending(&pending) != 0 || sigisemptyset(&pending))
        return false;
    bool interrupts = one_interrupts(&pending, mask);
    pthread_sigmask(SIG_SETMASK, mask, &blocked); /* their handlers run here */
    pthread_sigmask(SIG_SETMASK, &blocked, NULL);
    return interrupts;
}

static int take(struct worker *worker, const struct client_lock *lock, bool wait)
{
    /* Whoever gets the lock next sees what was written under it, and we what they wrote. */
    file_caches_publish(worker->fs, worker->client, lock->inode);
    int status = client_lock(worker->client, lock, false, NULL, NULL);
    if (status != -EAGAIN || !wait) {
        file_cache_forget(worker->fs, lock->inode);
        return status;
    }
    sigset_t all, before;
    sigfillset(&all);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(&all, faults[i]);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    status = client_lock(worker->client, lock, true, gives_up, &before);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    file_cache_forget(worker->fs, lock->inode);
    return status;
}

/* ---- descriptions ---- */

/* As whom the description locks: a number that no other has, in whatever process, for children share it. */
static uint64_t description_owner(struct open_file *file)
{
    uint64_t owner = atomic_load(&file->lock_owner), made;
    while (owner == 0) {
        if (getrandom(&made, sizeof made, 0) != sizeof made || made == 0)
            continue;
        if (atomic_compare_exchange_strong(&file->lock_owner, &owner, made))
            owner = made;
    }
    return owner;
}

static void may_be_locked(struct benchfs *fs, struct open_file *file, uint32_t kinds)
{
    if (atomic_fetch_or(&file->locked, kinds) == 0)
        atomic_fetch_add(&fs->locks.descriptions, 1);
}

static void description_locks(struct benchfs *fs, struct open_file *file, uint8_t kind)
{
    may_be_locked(fs, file, 1u << kind);
    if (file->shared != NULL)
        atomic_fetch_or(&file->shared->locked, 1u << kind);
}

static void release_locks(struct client *client, struct open_file *file, uint32_t locked, uint64_t holder)
{
    for (uint8_t kind = 0; kind < LOCK_KINDS; kind++)
        if (locked >> kind & 1)
            client_lock_release(client, file->file.inode, kind, atomic_load(&file->lock_owner), holder);
}

void description_unlock(struct benchfs *fs, struct open_file *file)
{
    uint32_t locked = atomic_exchange(&file->locked, 0);
    struct client *client = client_get(fs);
    if (client != NULL)
        release_locks(client, file, locked, 0);
    atomic_fetch_sub(&fs->locks.descriptions, 1);
}

static void share_locks(struct client *client, struct open_file *file)
{
    uint32_t locked = atomic_load(&file->locked);
    for (uint8_t kind = 0; kind < LOCK_KINDS; kind++)
        if (locked >> kind & 1)
            client_lock_share(client, file->file.inode, kind, atomic_load(&file->lock_owner), 0);
}

/* It is no more, or was this very process before it executed this program. */
static bool keeper_ended(const struct shared_locks *shared)
{
    int32_t process = atomic_load(&shared->process);
    return process == getpid() || (kill(process, 0) < 0 && errno == ESRCH);
}

void description_share(struct benchfs *fs, struct open_file *file, struct shared_locks *shared)
{
    if (file->shared == NULL) {
        uint64_t chosen = 0, own = description_owner(file);
        if (!atomic_compare_exchange_strong(&shared->owner, &chosen, own))
            atomic_store(&file->lock_owner, chosen);
        atomic_fetch_or(&shared->locked, atomic_load(&file->locked));
        file->shared = shared;
    }
    if (file->file.held && (atomic_load(&file->shared->keeper) == 0 || keeper_ended(file->shared))) {
        atomic_store(&file->shared->process, getpid());
        atomic_store(&file->shared->keeper, atomic_load(&fs->instance));
    }
}

void description_adopt(struct worker *worker, struct open_file *file, struct shared_locks *shared,
                       uint64_t before)
{
    uint64_t keeper = atomic_load(&shared->keeper);
    uint32_t locked = atomic_load(&shared->locked);
    if (atomic_load(&shared->owner) == 0)
        return; /* it was never open in a process that could tell */
    atomic_store(&file->lock_owner, atomic_load(&shared->owner));
    file->shared = shared;
    if (!file->file.held)
        return;
    if (locked != 0) {
        may_be_locked(worker->fs, file, locked);
        share_locks(worker->client, file);
    }
    bool was_keeper = keeper != 0 && atomic_load(&shared->process) == getpid();
    if (keeper == 0 || was_keeper) {
        atomic_store(&shared->process, getpid());
        atomic_compare_exchange_strong(&shared->keeper, &keeper, atomic_load(&worker->fs->instance));
    }
    if (was_keeper)
        release_locks(worker->client, file, locked, keeper);
    if (before != 0 && before != keeper)
        release_locks(worker->client, file, locked, before);
}

void description_leave(struct benchfs *fs, struct open_file *file)
{
    struct shared_locks *shared = file->shared;
    uint64_t own = atomic_load(&fs->instance);
    file->shared = NULL;
    if (own == 0)
        return; /* a child that has made no call holds nothing */
    atomic_compare_exchange_strong(&shared->keeper, &own, 0);
    uint32_t locked = atomic_load(&shared->locked);
    if (locked != 0)
        may_be_locked(fs, file, locked);
}

/* This process has locked. The lock is to stay when it ends, if the keeper still has the file open. */
static void share_with_keeper(struct worker *worker, struct open_file *file, uint8_t kind)
{
    enum { CHANGES_MAX = 8 };
    struct shared_locks *shared = file->shared;
    uint64_t keeper = 0, next, owner = atomic_load(&file->lock_owner);
    for (int changes = 0; shared != NULL && changes < CHANGES_MAX; changes++) {
        next = atomic_load(&shared->keeper);
        if (next == keeper)
            return;
        if (keeper != 0)
            client_lock_release(worker->client, file->file.inode, kind, owner, keeper);
        keeper = next == atomic_load(&worker->fs->instance) ? 0 : next;
        if (keeper == 0)
            return;
        client_lock_share(worker->client, file->file.inode, kind, owner, keeper);
    }
}

void descriptions_share_locks(struct benchfs *fs, struct client *client)
{
    for (int fd = FD_FIRST; fd < (int)FD_MAX && atomic_load(&fs->locks.descriptions) != 0; fd++) {
        struct descriptor *descriptor = descriptor_find(fs, fd);
        if (descriptor == NULL) {
            fd |= (int)FD_CHUNK - 1;
            continue;
        }
        struct open_file *file = atomic_load(&descriptor->file);
        if (file != NULL)
            share_locks(client, file);
    }
}

int benchfs_flock(benchfs *fs, int fd, int operation)
{
    APPLICATION_CALL(FLOCK, fs, fd, NULL);
    static const uint8_t types[] = {
        [LOCK_SH] = LOCK_SHARED, [LOCK_EX] = LOCK_EXCLUSIVE, [LOCK_UN] = LOCK_NONE};
    struct worker *worker = worker_get(fs);
    struct open_file *file = worker == NULL ? NULL : open_file_acquire_opened(fs, fd);
    if (file == NULL)
        return -1;
    int what = operation & ~LOCK_NB;
    int status = -EINVAL;
    if (what == LOCK_SH || what == LOCK_EX || what == LOCK_UN) {
        struct client_lock lock = {
            .inode = file->file.inode,
            .owner = description_owner(file),
            .end = LOCK_OFFSET_MAX,
            .pid = (uint32_t)getpid(),
            .kind = LOCK_FLOCK,
            .type = types[what],
        };
        if (what != LOCK_UN)
            description_locks(fs, file, LOCK_FLOCK);
        status = take(worker, &lock, (operation & LOCK_NB) == 0);
        if (status == 0 && what != LOCK_UN)
            share_with_keeper(worker, file, LOCK_FLOCK);
    }
    open_file_release(fs, file);
    return finish(status); /* EAGAIN is EWOULDBLOCK */
}

/* ---- records ---- */

/* Remembered before the lock is there, so that no close misses it. */
static int records_add(struct benchfs *fs, uint64_t inode)
{
    struct file_locks *locks = &fs->locks;
    int status = 0;
    pthread_mutex_lock(&locks->mutex);
    if (map_get(&locks->inodes, inode) == NULL) {
        status = map_put(&locks->inodes, inode, locks);
        if (status == 0)
            atomic_fetch_add(&locks->records, 1);
    }
    pthread_mutex_unlock(&locks->mutex);
    return status < 0 ? -ENOLCK : 0;
}

void records_unlock(struct benchfs *fs, uint64_t inode)
{
    struct file_locks *locks = &fs->locks;
    pthread_mutex_lock(&locks->mutex);
    bool locked = map_get(&locks->inodes, inode) != NULL;
    if (locked) {
        map_remove(&locks->inodes, inode);
        atomic_fetch_sub(&locks->records, 1);
    }
    pthread_mutex_unlock(&locks->mutex);
    struct client *client = locked ? client_get(fs) : NULL;
    if (client != NULL)
        client_lock_release(client, inode, LOCK_PROCESS, 0, 0);
}

void file_locks_after_fork(struct benchfs *fs)
{
    pthread_mutex_init(&fs->locks.mutex, NULL);
    map_free(&fs->locks.inodes);
    map_init(&fs->locks.inodes);
    atomic_store(&fs->locks.records, 0);
}

/* The bytes that the caller means. */
static int range_of(struct worker *worker, struct open_file *file, const struct flock *lock, uint64_t *start,
                    uint64_t *end)
{
    off_t from = 0;
    struct attributes attributes;
    int status = 0;
    switch (lock->l_whence) {
    case SEEK_SET:
        break;
    case SEEK_CUR:
        pthread_mutex_lock(&file->lock);
        from = (off_t)file->offset;
        pthread_mutex_unlock(&file->lock);
        break;
    case SEEK_END:
        status = file_cache_publish(worker->fs, worker->client, file, false);
        if (status == 0)
            status = client_attributes(worker->client, file->file.inode, &attributes);
        if (status < 0)
            return status;
        from = (off_t)attributes.size;
        break;
    default:
        return -EINVAL;
    }
    off_t first, last = INT64_MAX;
    if (__builtin_add_overflow(from, lock->l_start, &first))
        return -EOVERFLOW;
    if (first < 0)
        return -EINVAL;
    if (lock->l_len > 0 && __builtin_add_overflow(first, lock->l_len - 1, &last))
        return -EOVERFLOW;
    if (lock->l_len < 0) {
        last = first - 1;
        if (__builtin_add_overflow(first, lock->l_len, &first) || first < 0)
            return -EINVAL;
    }
    *start = (uint64_t)first;
    *end = (uint64_t)last;
    return 0;
}

static int record_test(struct worker *worker, const struct client_lock *lock, struct flock *result)
{
    struct lock_reply found;
    if (lock->type == LOCK_NONE)
        return -EINVAL;
    int status = client_lock_test(worker->client, lock, &found);
    if (status < 0)
        return status;
    if (found.type == LOCK_NONE) {
        result->l_type = F_UNLCK;
        return 0;
    }
    result->l_type = found.type == LOCK_SHARED ? F_RDLCK : F_WRLCK;
    result->l_whence = SEEK_SET;
    result->l_start = (off_t)found.start;
    result->l_len = found.end >= LOCK_OFFSET_MAX ? 0 : (off_t)(found.end - found.start + 1);
    result->l_pid = found.kind == LOCK_DESCRIPTION ? -1 : (pid_t)found.pid;
    return 0;
}

static int record_type(const struct open_file *file, const struct flock *lock, bool test, uint8_t *type)
{
    int access = file->file.flags & O_ACCMODE;
    switch (lock->l_type) {
    case F_RDLCK:
        *type = LOCK_SHARED;
        return test || access != O_WRONLY ? 0 : -EBADF;
    case F_WRLCK:
        *type = LOCK_EXCLUSIVE;
        return test || access != O_RDONLY ? 0 : -EBADF;
    case F_UNLCK:
        *type = LOCK_NONE;
        return 0;
    default:
        return -EINVAL;
    }
}

int record_lock(struct benchfs *fs, struct worker *worker, struct open_file *file, int command,
                struct flock *request)
{
    bool description = command == F_OFD_SETLK || command == F_OFD_SETLKW || command == F_OFD_GETLK;
    bool test = command == F_GETLK || command == F_OFD_GETLK;
    struct client_lock lock = {
        .inode = file->file.inode,
        .pid = (uint32_t)getpid(),
        .kind = description ? LOCK_DESCRIPTION : LOCK_PROCESS,
    };
    if (description && request->l_pid != 0)
        return -EINVAL;
    int status = record_type(file, request, test, &lock.type);
    if (status == 0)
        status = range_of(worker, file, request, &lock.start, &lock.end);
    if (status < 0)
        return status;
    if (description)
        lock.owner = description_owner(file);
    if (test)
        return record_test(worker, &lock, request);
    if (lock.type != LOCK_NONE && description)
        description_locks(fs, file, LOCK_DESCRIPTION);
    else if (lock.type != LOCK_NONE)
        status = records_add(fs, lock.inode);
    if (status < 0)
        return status;
    status = take(worker, &lock, command == F_SETLKW || command == F_OFD_SETLKW);
    if (status == 0 && description && lock.type != LOCK_NONE)
        share_with_keeper(worker, file, LOCK_DESCRIPTION);
    return status;
}

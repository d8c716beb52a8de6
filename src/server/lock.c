/* The lock table.
 *
 * A file with locks or waiters has a struct lock_file with two lists of locks - flock's, and records of both
 * kinds - in no order, and a queue of waiters. A new lock replaces its owner's own in its range: they are
 * cut, split or, being of one type and touching, merged, so an owner's locks on a file never overlap and
 * never touch. What a change needs is allocated before anything changes. An owner is gone with its last lock
 * and wait, unless it is a description that several instances share.
 *
 * Whatever frees something looks through the queue from its head and gives to every waiter that is attached
 * and that nothing stands in the way of any more. A waiter that is not attached - its client is between two
 * requests - is passed over, and so is one whose client has lost its connection: most likely it died.
 *
 * A waiter does not stop newcomers: they may take what is free though it waits for more. Otherwise somebody
 * who holds a shared lock and asks for another could wait for a waiter that waits for the first.
 *
 * Deadlocks of processes' record locks are found when a wait begins, by following who waits for whom; the
 * search gives up, and lets the wait begin, after so many steps. */
#include "server/lock.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"

#define DEADLOCK_STEPS 65536u
#define DEADLOCK_DEPTH 64u

struct lock_file {
    uint64_t inode;
    struct list locks[2]; /* flock; records */
    struct list waiters;
};

struct lock {
    struct list in_file;
    struct list in_owner;
    struct lock_file *file;
    struct lock_owner *owner;
    uint64_t start;
    uint64_t end;
    uint32_t pid;
    uint8_t type;
};

struct lock_owner {
    uint64_t key;
    uint64_t number;
    uint64_t instance; /* of a process; 0: a description */
    uint8_t kind;
    bool pinned; /* somebody works on it: it stays though it has nothing */
    struct list locks;
    struct list waits;
    struct list holders;
};

struct lock_instance {
    uint64_t number;
    struct list holders;
};

/* An instance that keeps an owner's locks. */
struct lock_holder {
    struct list in_owner;
    struct list in_instance;
    struct lock_owner *owner;
    struct lock_instance *instance;
};

void locks_init(struct lock_table *table, struct loop *loop)
{
    *table = (struct lock_table){.loop = loop, .most = LOCKS_MAX};
    map_init(&table->files);
    map_init(&table->owners);
    map_init(&table->instances);
}

static void *take(struct lock_table *table, size_t size)
{
    void *made = table->count < table->most ? calloc(1, size) : NULL;
    table->count += made != NULL;
    return made;
}

static void give_back(struct lock_table *table, void *element)
{
    table->count -= element != NULL;
    free(element);
}

static struct list *locks_of(struct lock_file *file, uint8_t kind)
{
    return &file->locks[kind == LOCK_FLOCK ? 0 : 1];
}

/* ---- files, owners, instances: made on first use, gone with their last lock and waiter ---- */

static struct lock_file *file_make(struct lock_table *table, uint64_t inode)
{
    struct lock_file *file = map_get(&table->files, inode);
    if (file != NULL)
        return file;
    file = calloc(1, sizeof(*file));
    if (file == NULL)
        return NULL;
    file->inode = inode;
    list_init(&file->locks[0]);
    list_init(&file->locks[1]);
    list_init(&file->waiters);
    if (map_put(&table->files, inode, file) == 0)
        return file;
    free(file);
    return NULL;
}

static void file_drop_unused(struct lock_table *table, struct lock_file *file)
{
    if (!list_empty(&file->locks[0]) || !list_empty(&file->locks[1]) || !list_empty(&file->waiters))
        return;
    map_remove(&table->files, file->inode);
    free(file);
}

/* Which owner a request speaks of: only a process's number needs the instance to be unique. */
static uint64_t owner_instance(uint8_t kind, uint64_t instance)
{
    return kind == LOCK_PROCESS ? instance : 0;
}

static uint64_t owner_key(uint8_t kind, uint64_t instance, uint64_t number)
{
    const uint64_t identity[3] = {kind, owner_instance(kind, instance), number};
    return hash64(identity, sizeof(identity), 0);
}

static struct lock_owner *owner_find(const struct lock_table *table, uint8_t kind, uint64_t instance,
                                     uint64_t number)
{
    struct lock_owner *owner = map_get(&table->owners, owner_key(kind, instance, number));
    bool same = owner != NULL && owner->kind == kind && owner->number == number &&
                owner->instance == owner_instance(kind, instance);
    return same ? owner : NULL;
}

/* NULL: no memory, or (once in 2^64) another owner has the same key. */
static struct lock_owner *owner_make(struct lock_table *table, uint8_t kind, uint64_t instance,
                                     uint64_t number)
{
    uint64_t key = owner_key(kind, instance, number);
    if (map_get(&table->owners, key) != NULL)
        return owner_find(table, kind, instance, number);
    struct lock_owner *owner = calloc(1, sizeof(*owner));
    if (owner == NULL)
        return NULL;
    owner->key = key;
    owner->number = number;
    owner->instance = owner_instance(kind, instance);
    owner->kind = kind;
    list_init(&owner->locks);
    list_init(&owner->waits);
    list_init(&owner->holders);
    if (map_put(&table->owners, key, owner) == 0)
        return owner;
    free(owner);
    return NULL;
}

static void holder_drop(struct lock_table *table, struct lock_holder *holder)
{
    struct lock_instance *instance = holder->instance;
    list_remove(&holder->in_owner);
    list_remove(&holder->in_instance);
    give_back(table, holder);
    if (list_empty(&instance->holders)) {
        map_remove(&table->instances, instance->number);
        free(instance);
    }
}

/* One that several instances hold stays without locks: what one of them locks next belongs to all. */
static bool is_shared(const struct lock_owner *owner)
{
    return owner->holders.next != owner->holders.prev;
}

static void owner_drop_unused(struct lock_table *table, struct lock_owner *owner)
{
    if (owner->pinned || !list_empty(&owner->locks) || !list_empty(&owner->waits) || is_shared(owner))
        return;
    while (!list_empty(&owner->holders))
        holder_drop(table, container_of(owner->holders.next, struct lock_holder, in_owner));
    map_remove(&table->owners, owner->key);
    free(owner);
}

static struct lock_holder *holder_find(const struct lock_owner *owner, uint64_t instance)
{
    list_for_each (node, &owner->holders) {
        struct lock_holder *holder = container_of(node, struct lock_holder, in_owner);
        if (holder->instance->number == instance)
            return holder;
    }
    return NULL;
}

static int hold(struct lock_table *table, struct lock_owner *owner, uint64_t number)
{
    if (holder_find(owner, number) != NULL)
        return 0;
    struct lock_holder *holder = take(table, sizeof(*holder));
    struct lock_instance *instance = map_get(&table->instances, number);
    if (holder != NULL && instance == NULL) {
        instance = calloc(1, sizeof(*instance));
        if (instance != NULL) {
            instance->number = number;
            list_init(&instance->holders);
            if (map_put(&table->instances, number, instance) != 0) {
                free(instance);
                instance = NULL;
            }
        }
    }
    if (holder == NULL || instance == NULL) {
        give_back(table, holder);
        return -ENOLCK;
    }
    holder->owner = owner;
    holder->instance = instance;
    list_push_back(&owner->holders, &holder->in_owner);
    list_push_back(&instance->holders, &holder->in_instance);
    return 0;
}

/* The request's owner, held by the instance. */
static struct lock_owner *owner_hold(struct lock_table *table, uint64_t instance,
                                     const struct lock_request *request)
{
    struct lock_owner *owner = owner_make(table, request->kind, instance, request->owner);
    if (owner == NULL || hold(table, owner, instance) == 0)
        return owner;
    owner_drop_unused(table, owner);
    return NULL;
}

/* ---- conflicts ---- */

static bool in_the_way(const struct lock *lock, const struct lock_owner *owner,
                       const struct lock_request *request)
{
    return lock->owner != owner && lock->start <= request->end && request->start <= lock->end &&
           (lock->type == LOCK_EXCLUSIVE || request->type == LOCK_EXCLUSIVE);
}

static const struct lock *find_conflict(struct lock_file *file, const struct lock_owner *owner,
                                        const struct lock_request *request)
{
    if (request->type == LOCK_NONE)
        return NULL;
    list_for_each (node, locks_of(file, request->kind)) {
        const struct lock *lock = container_of(node, struct lock, in_file);
        if (in_the_way(lock, owner, request))
            return lock;
    }
    return NULL;
}

bool locks_conflict(const struct lock_table *table, uint64_t instance, const struct lock_request *request,
                    struct lock_reply *conflict)
{
    *conflict = (struct lock_reply){.type = LOCK_NONE};
    struct lock_file *file = map_get(&table->files, request->inode);
    if (file == NULL)
        return false;
    const struct lock_owner *owner = owner_find(table, request->kind, instance, request->owner);
    const struct lock *lock = find_conflict(file, owner, request);
    if (lock == NULL)
        return false;
    *conflict = (struct lock_reply){
        .start = lock->start,
        .end = lock->end,
        .pid = lock->pid,
        .kind = lock->owner->kind,
        .type = lock->type,
    };
    return true;
}

/* ---- locking and unlocking ---- */

static void lock_drop(struct lock_table *table, struct lock *lock)
{
    list_remove(&lock->in_file);
    list_remove(&lock->in_owner);
    give_back(table, lock);
}

static void lock_insert(struct lock_file *file, struct lock_owner *owner, struct lock *lock,
                        const struct lock *like)
{
    *lock = *like;
    lock->file = file;
    lock->owner = owner;
    list_push_back(locks_of(file, owner->kind), &lock->in_file);
    list_push_back(&owner->locks, &lock->in_owner);
}

static bool touches(const struct lock *lock, uint64_t start, uint64_t end)
{
    return lock->start <= end + 1 && start <= lock->end + 1;
}

/* Takes [start, end] out of the owner's locks. tail: for what is left behind when one is cut in two; NULL
 * once it is used. */
static void cut_out(struct lock_table *table, struct lock *lock, uint64_t start, uint64_t end,
                    struct lock **tail)
{
    bool before = lock->start<start, behind = lock->end> end;
    if (before && behind) {
        struct lock rest = *lock;
        rest.start = end + 1;
        lock_insert(lock->file, lock->owner, *tail, &rest);
        *tail = NULL;
    }
    if (before)
        lock->end = start - 1;
    else if (behind)
        lock->start = end + 1;
    else
        lock_drop(table, lock);
}

/* The request's lock takes the place of what its owner has in its range. */
static void replace(struct lock_table *table, struct lock_file *file, struct lock_owner *owner,
                    const struct lock_request *request, struct lock *made, struct lock **tail)
{
    struct lock wanted = {
        .start = request->start, .end = request->end, .pid = request->pid, .type = request->type};
    list_for_each_safe (node, locks_of(file, request->kind)) {
        struct lock *lock = container_of(node, struct lock, in_file);
        if (lock->owner != owner)
            continue;
        if (lock->type == wanted.type && touches(lock, wanted.start, wanted.end)) {
            wanted.start = lock->start < wanted.start ? lock->start : wanted.start;
            wanted.end = lock->end > wanted.end ? lock->end : wanted.end;
            lock_drop(table, lock);
        } else if (lock->start <= wanted.end && wanted.start <= lock->end) {
            cut_out(table, lock, wanted.start, wanted.end, tail);
        }
    }
    if (made != NULL)
        lock_insert(file, owner, made, &wanted);
}

/* Does an unlocking cut one of the owner's locks in two? Only then does it need memory. */
static bool splits(struct lock_file *file, const struct lock_owner *owner, const struct lock_request *request)
{
    list_for_each (node, locks_of(file, request->kind)) {
        const struct lock *lock = container_of(node, struct lock, in_file);
        if (lock->owner == owner && lock->start < request->start && lock->end > request->end)
            return true;
    }
    return false;
}

static int apply(struct lock_table *table, struct lock_file *file, struct lock_owner *owner,
                 const struct lock_request *request)
{
    bool locks = request->type != LOCK_NONE;
    bool cuts = splits(file, owner, request);
    struct lock *made = locks ? take(table, sizeof(*made)) : NULL;
    struct lock *tail = cuts ? take(table, sizeof(*tail)) : NULL;
    if ((locks && made == NULL) || (cuts && tail == NULL)) {
        give_back(table, made);
        give_back(table, tail);
        return -ENOLCK;
    }
    replace(table, file, owner, request, made, &tail);
    give_back(table, tail);
    return 0;
}

/* ---- waiters ---- */

static void waiter_drop(struct lock_waiter *waiter)
{
    struct lock_table *table = waiter->table;
    struct lock_owner *owner = waiter->owner;
    timer_clear(table->loop, &waiter->expiry);
    list_remove(&waiter->in_file);
    list_remove(&waiter->in_owner);
    give_back(table, waiter);
    owner_drop_unused(table, owner);
}

/* Gives to whoever can have what is free now. */
static void wake(struct lock_table *table, struct lock_file *file)
{
    list_for_each_safe (node, &file->waiters) {
        struct lock_waiter *waiter = container_of(node, struct lock_waiter, in_file);
        if (waiter->attached == NULL || !rpc_request_connected(waiter->asking) ||
            find_conflict(file, waiter->owner, &waiter->request) != NULL)
            continue;
        struct completion *attached = waiter->attached;
        int status = apply(table, file, waiter->owner, &waiter->request);
        waiter_drop(waiter);
        completion_fire(attached, status);
    }
}

void locks_give_up(struct lock_waiter *waiter, int status)
{
    struct completion *attached = waiter->attached;
    struct lock_table *table = waiter->table;
    struct lock_file *file = waiter->file;
    waiter_drop(waiter);
    file_drop_unused(table, file);
    if (attached != NULL)
        completion_fire(attached, status);
}

static void waiter_expired(struct timer *timer)
{
    locks_give_up(container_of(timer, struct lock_waiter, expiry), -ECANCELED);
}

void locks_attach(struct lock_waiter *waiter, const struct rpc_request *request,
                  struct completion *completion)
{
    timer_clear(waiter->table->loop, &waiter->expiry);
    if (waiter->attached != NULL)
        completion_fire(waiter->attached, -ECANCELED); /* an older request of the same client */
    waiter->attached = completion;
    waiter->asking = request;
}

void locks_detach(struct lock_waiter *waiter)
{
    struct loop *loop = waiter->table->loop;
    waiter->attached = NULL;
    timer_set(loop, &waiter->expiry, loop_now(loop) + LOCK_PLACE_NS);
}

struct lock_waiter *locks_find_waiter(const struct lock_table *table, uint64_t instance,
                                      const struct lock_request *request)
{
    const struct lock_owner *owner = owner_find(table, request->kind, instance, request->owner);
    if (owner == NULL)
        return NULL;
    list_for_each (node, &owner->waits) {
        struct lock_waiter *waiter = container_of(node, struct lock_waiter, in_owner);
        if (waiter->instance == instance && waiter->request.ticket == request->ticket &&
            waiter->request.inode == request->inode)
            return waiter;
    }
    return NULL;
}

/* Whether the process that holds `lock` waits for `owner`, in the end. */
static bool waits_for(const struct lock *lock, const struct lock_owner *owner, unsigned depth,
                      unsigned *steps)
{
    if (lock->owner == owner)
        return true;
    if (lock->owner->kind != LOCK_PROCESS || depth == 0)
        return false;
    list_for_each (waiting, &lock->owner->waits) {
        const struct lock_waiter *waiter = container_of(waiting, struct lock_waiter, in_owner);
        list_for_each (node, locks_of(waiter->file, LOCK_PROCESS)) {
            const struct lock *next = container_of(node, struct lock, in_file);
            if (*steps == 0)
                return false;
            --*steps;
            if (in_the_way(next, lock->owner, &waiter->request) && waits_for(next, owner, depth - 1, steps))
                return true;
        }
    }
    return false;
}

static bool deadlocks(struct lock_file *file, const struct lock_owner *owner,
                      const struct lock_request *request)
{
    unsigned steps = DEADLOCK_STEPS;
    if (request->kind != LOCK_PROCESS)
        return false;
    list_for_each (node, locks_of(file, LOCK_PROCESS)) {
        const struct lock *lock = container_of(node, struct lock, in_file);
        if (in_the_way(lock, owner, request) && waits_for(lock, owner, DEADLOCK_DEPTH, &steps))
            return true;
    }
    return false;
}

int locks_wait(struct lock_table *table, uint64_t instance, const struct lock_request *request,
               struct lock_waiter **result)
{
    struct lock_file *file = file_make(table, request->inode);
    struct lock_owner *owner = file == NULL ? NULL : owner_hold(table, instance, request);
    int status = owner == NULL ? -ENOLCK : deadlocks(file, owner, request) ? -EDEADLK : 0;
    struct lock_waiter *waiter = status == 0 ? take(table, sizeof(*waiter)) : NULL;
    if (waiter == NULL) {
        if (owner != NULL)
            owner_drop_unused(table, owner);
        if (file != NULL)
            file_drop_unused(table, file);
        return status == 0 ? -ENOLCK : status;
    }
    waiter->table = table;
    waiter->file = file;
    waiter->owner = owner;
    waiter->instance = instance;
    waiter->request = *request;
    waiter->expiry.fire = waiter_expired;
    list_push_back(&file->waiters, &waiter->in_file);
    list_push_back(&owner->waits, &waiter->in_owner);
    *result = waiter;
    return 0;
}

int locks_apply(struct lock_table *table, uint64_t instance, const struct lock_request *request)
{
    bool unlocks = request->type == LOCK_NONE;
    struct lock_file *file =
        unlocks ? map_get(&table->files, request->inode) : file_make(table, request->inode);
    struct lock_owner *owner = file == NULL ? NULL
                               : unlocks    ? owner_find(table, request->kind, instance, request->owner)
                                            : owner_hold(table, instance, request);
    int status = 0;
    if (owner != NULL) {
        status = apply(table, file, owner, request);
        owner_drop_unused(table, owner);
    } else if (!unlocks) {
        status = -ENOLCK;
    }
    if (file != NULL) {
        wake(table, file); /* unlocked, or made shared */
        file_drop_unused(table, file);
    }
    return status;
}

/* ---- letting go ---- */

int locks_share(struct lock_table *table, uint64_t instance, const struct lock_owner_request *request)
{
    struct lock_owner *owner =
        request->kind == LOCK_PROCESS ? NULL : owner_find(table, request->kind, instance, request->owner);
    return owner == NULL ? 0 : hold(table, owner, instance);
}

/* Drops the owner's locks, on one inode or (0) on all, and wakes who waited for them. */
static void owner_unlock(struct lock_table *table, struct lock_owner *owner, uint64_t inode)
{
    while (true) {
        struct lock_file *file = NULL;
        list_for_each_safe (node, &owner->locks) {
            struct lock *lock = container_of(node, struct lock, in_owner);
            if ((inode != 0 && lock->file->inode != inode) || (file != NULL && lock->file != file))
                continue;
            file = lock->file;
            lock_drop(table, lock);
        }
        if (file == NULL)
            return;
        wake(table, file); /* may give to this owner itself: so its locks are looked through anew */
        file_drop_unused(table, file);
        if (inode != 0)
            return;
    }
}

/* What the instance asked for on the owner's behalf it does not want any more. */
static void owner_stop_waiting(struct lock_owner *owner, uint64_t instance)
{
    list_for_each_safe (node, &owner->waits) {
        struct lock_waiter *waiter = container_of(node, struct lock_waiter, in_owner);
        if (waiter->instance == instance)
            locks_give_up(waiter, -ECANCELED);
    }
}

static void owner_let_go(struct lock_table *table, struct lock_owner *owner, uint64_t instance)
{
    struct lock_holder *holder = holder_find(owner, instance);
    if (holder != NULL)
        holder_drop(table, holder);
    if (list_empty(&owner->holders))
        owner_unlock(table, owner, 0);
}

void locks_release(struct lock_table *table, uint64_t instance, const struct lock_owner_request *request)
{
    struct lock_owner *owner = owner_find(table, request->kind, instance, request->owner);
    if (owner == NULL)
        return;
    owner->pinned = true;
    if (request->kind == LOCK_PROCESS)
        owner_unlock(table, owner, request->inode);
    else
        owner_let_go(table, owner, instance);
    owner->pinned = false;
    owner_drop_unused(table, owner);
}

void locks_end_instance(struct lock_table *table, uint64_t number)
{
    struct lock_instance *instance;
    while ((instance = map_get(&table->instances, number)) != NULL) {
        struct lock_owner *owner =
            container_of(instance->holders.next, struct lock_holder, in_instance)->owner;
        owner->pinned = true;
        owner_stop_waiting(owner, number);
        owner_let_go(table, owner, number);
        owner->pinned = false;
        owner_drop_unused(table, owner);
    }
}

void locks_destroy(struct lock_table *table)
{
    while (table->instances.count > 0) {
        size_t slot = 0;
        while (table->instances.slots[slot].value == NULL)
            slot++;
        locks_end_instance(table, table->instances.slots[slot].key);
    }
    map_free(&table->files);
    map_free(&table->owners);
    map_free(&table->instances);
}

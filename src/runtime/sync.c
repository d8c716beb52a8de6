/* Synchronisation between tasks.
 *
 * Every waiter is a struct on the waiting task's stack, linked into a list in order of arrival. Whoever makes
 * progress possible hands it over to the first waiter in person: it takes the units or the item on the
 * waiter's behalf, unlinks the waiter, and fires its completion. So nobody who comes later can overtake, and
 * a waiter whose await returns an error is still linked and owns nothing: unlinking it undoes the wait. A
 * cancellation or a timeout that comes after the hand-over is too late, because the completion has fired by
 * then (see task_cancel).
 *
 * A semaphore's first waiter may ask for more units than are there while later ones would be content: they
 * wait behind it, otherwise large requests would starve. When that first waiter gives up, the others are
 * looked at again. */
#include "runtime/sync.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "runtime/task.h"

struct waiter {
    struct list link;
    struct completion done;
    union {
        uint64_t units; /* asked of a semaphore */
        void *item;     /* sent to or received from a channel */
    };
};

/* Suspends until somebody unlinks the waiter and fires it; on failure the waiter is unlinked. Not inlined,
 * because gcc takes the link that a waiting task leaves behind for one that outlives its function. */
static __attribute__((noinline)) int waiter_wait(struct loop *loop, struct list *waiters,
                                                 struct waiter *waiter, uint64_t deadline)
{
    list_push_back(waiters, &waiter->link);
    int status = await_until(loop, &waiter->done, deadline);
    if (!waiter->done.fired)
        list_remove(&waiter->link);
    return status;
}

/* Ends the wait of the first waiter. */
static struct waiter *waiter_pop(struct list *waiters)
{
    struct list *link = list_pop_front(waiters);
    return link != NULL ? container_of(link, struct waiter, link) : NULL;
}

/* Firing only makes tasks ready: none of them can run, and wait again, before this returns. */
static void waiters_wake_all(struct list *waiters, int status)
{
    for (struct waiter *waiter; (waiter = waiter_pop(waiters)) != NULL;)
        completion_fire(&waiter->done, status);
}

void semaphore_init(struct semaphore *semaphore, uint64_t available)
{
    list_init(&semaphore->waiters);
    semaphore->available = available;
}

bool semaphore_try_acquire(struct semaphore *semaphore, uint64_t units)
{
    if (!list_empty(&semaphore->waiters) || semaphore->available < units)
        return false;
    semaphore->available -= units;
    return true;
}

static void semaphore_grant(struct semaphore *semaphore)
{
    while (!list_empty(&semaphore->waiters)) {
        struct waiter *waiter = container_of(semaphore->waiters.next, struct waiter, link);
        if (waiter->units > semaphore->available)
            return;
        semaphore->available -= waiter->units;
        list_remove(&waiter->link);
        completion_fire(&waiter->done, 0);
    }
}

int semaphore_acquire(struct loop *loop, struct semaphore *semaphore, uint64_t units, uint64_t deadline)
{
    if (semaphore_try_acquire(semaphore, units))
        return 0;
    struct waiter waiter = {.units = units};
    int status = waiter_wait(loop, &semaphore->waiters, &waiter, deadline);
    if (!waiter.done.fired)
        semaphore_grant(semaphore);
    return status;
}

void semaphore_release(struct loop *loop, struct semaphore *semaphore, uint64_t units)
{
    (void)loop;
    semaphore->available += units;
    semaphore_grant(semaphore);
}

void mutex_init(struct mutex *mutex)
{
    semaphore_init(&mutex->semaphore, 1);
}

int mutex_lock(struct loop *loop, struct mutex *mutex, uint64_t deadline)
{
    return semaphore_acquire(loop, &mutex->semaphore, 1, deadline);
}

bool mutex_try_lock(struct mutex *mutex)
{
    return semaphore_try_acquire(&mutex->semaphore, 1);
}

void mutex_unlock(struct loop *loop, struct mutex *mutex)
{
    assert(mutex->semaphore.available == 0);
    semaphore_release(loop, &mutex->semaphore, 1);
}

void wait_group_init(struct wait_group *group)
{
    group->count = 0;
    list_init(&group->waiters);
}

void wait_group_add(struct wait_group *group, uint64_t count)
{
    group->count += count;
}

void wait_group_done(struct loop *loop, struct wait_group *group)
{
    (void)loop;
    assert(group->count > 0);
    if (--group->count == 0)
        waiters_wake_all(&group->waiters, 0);
}

int wait_group_wait(struct loop *loop, struct wait_group *group, uint64_t deadline)
{
    if (group->count == 0)
        return 0;
    struct waiter waiter = {0};
    return waiter_wait(loop, &group->waiters, &waiter, deadline);
}

void wait_queue_init(struct wait_queue *queue)
{
    list_init(&queue->waiters);
}

int wait_queue_wait(struct loop *loop, struct wait_queue *queue, uint64_t deadline)
{
    struct waiter waiter = {0};
    return waiter_wait(loop, &queue->waiters, &waiter, deadline);
}

void wait_queue_wake_all(struct loop *loop, struct wait_queue *queue)
{
    (void)loop;
    waiters_wake_all(&queue->waiters, 0);
}

/* Items in the ring are older than those of waiting senders. Receivers wait only while both are empty,
 * senders only while the ring is full and no receiver waits. */
struct channel {
    struct list senders;
    struct list receivers;
    uint32_t capacity;
    uint32_t count;
    uint32_t first;
    bool closed;
    void *items[];
};

int channel_create(uint32_t capacity, struct channel **created)
{
    struct channel *channel = calloc(1, sizeof(*channel) + capacity * sizeof(void *));
    if (channel == NULL) {
        log_error("no memory for a channel of %u items", capacity);
        return -ENOMEM;
    }
    list_init(&channel->senders);
    list_init(&channel->receivers);
    channel->capacity = capacity;
    *created = channel;
    return 0;
}

void channel_destroy(struct channel *channel)
{
    assert(list_empty(&channel->senders) && list_empty(&channel->receivers));
    free(channel);
}

static void channel_push(struct channel *channel, void *item)
{
    uint64_t position = ((uint64_t)channel->first + channel->count) % channel->capacity;
    channel->items[position] = item;
    channel->count++;
}

static void *channel_pop(struct channel *channel)
{
    void *item = channel->items[channel->first];
    channel->first = (channel->first + 1) % channel->capacity;
    channel->count--;
    return item;
}

int channel_send(struct loop *loop, struct channel *channel, void *item, uint64_t deadline)
{
    if (channel->closed)
        return -EPIPE;
    struct waiter *receiver = waiter_pop(&channel->receivers);
    if (receiver != NULL) {
        receiver->item = item;
        completion_fire(&receiver->done, 0);
        return 0;
    }
    if (channel->count < channel->capacity) {
        channel_push(channel, item);
        return 0;
    }
    struct waiter waiter = {.item = item};
    return waiter_wait(loop, &channel->senders, &waiter, deadline);
}

int channel_receive(struct loop *loop, struct channel *channel, void **item, uint64_t deadline)
{
    if (channel->count > 0) {
        *item = channel_pop(channel);
        struct waiter *sender = waiter_pop(&channel->senders);
        if (sender != NULL) {
            channel_push(channel, sender->item);
            completion_fire(&sender->done, 0);
        }
        return 0;
    }
    struct waiter *sender = waiter_pop(&channel->senders);
    if (sender != NULL) {
        *item = sender->item;
        completion_fire(&sender->done, 0);
        return 0;
    }
    if (channel->closed)
        return -EPIPE;
    struct waiter waiter = {0};
    int status = waiter_wait(loop, &channel->receivers, &waiter, deadline);
    if (status == 0)
        *item = waiter.item;
    return status;
}

void channel_close(struct loop *loop, struct channel *channel)
{
    (void)loop;
    channel->closed = true;
    waiters_wake_all(&channel->receivers, -EPIPE);
    waiters_wake_all(&channel->senders, -EPIPE);
}

/* Synchronisation between tasks of one loop. Everything is FIFO-fair; nothing here is thread-safe.
 * All waiting calls return 0, or -ECANCELED / -ETIMEDOUT with nothing acquired. deadline: loop_now ns, 0 =
 * never. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "runtime/loop.h"

struct semaphore {
    struct list waiters;
    uint64_t available;
};
void semaphore_init(struct semaphore *semaphore, uint64_t available);
int semaphore_acquire(struct loop *loop, struct semaphore *semaphore, uint64_t units, uint64_t deadline);
bool semaphore_try_acquire(struct semaphore *semaphore, uint64_t units);
void semaphore_release(struct loop *loop, struct semaphore *semaphore, uint64_t units);

struct mutex {
    struct semaphore semaphore;
};
void mutex_init(struct mutex *mutex);
int mutex_lock(struct loop *loop, struct mutex *mutex, uint64_t deadline);
bool mutex_try_lock(struct mutex *mutex);
void mutex_unlock(struct loop *loop, struct mutex *mutex);

/* Counts tasks under way; wait returns when the count is zero. */
struct wait_group {
    uint64_t count;
    struct list waiters;
};
void wait_group_init(struct wait_group *group);
void wait_group_add(struct wait_group *group, uint64_t count);
void wait_group_done(struct loop *loop, struct wait_group *group);
int wait_group_wait(struct loop *loop, struct wait_group *group, uint64_t deadline);

/* A queue of waiting tasks; wake_all makes every present waiter ready. */
struct wait_queue {
    struct list waiters;
};
void wait_queue_init(struct wait_queue *queue);
int wait_queue_wait(struct loop *loop, struct wait_queue *queue, uint64_t deadline);
void wait_queue_wake_all(struct loop *loop, struct wait_queue *queue);

/* Bounded FIFO of pointers. receive returns -EPIPE once closed and empty; send returns -EPIPE when closed. */
struct channel;
int channel_create(uint32_t capacity, struct channel **channel);
void channel_destroy(struct channel *channel);
int channel_send(struct loop *loop, struct channel *channel, void *item, uint64_t deadline);
int channel_receive(struct loop *loop, struct channel *channel, void **item, uint64_t deadline);
void channel_close(struct loop *loop, struct channel *channel);

/* The event loop: drives reactors, timers, file descriptors and ready tasks of one thread.
 *
 * Waiting is adaptive: it polls for a bounded time with sched_yield, then arms every reactor and blocks in
 * the kernel; when a sched_yield takes long (somebody computes on this core) it blocks sooner. With a
 * simulated clock it never blocks: when nothing is ready the clock jumps to the next timer. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/random.h"
#include "metrics/metrics.h"
#include "runtime/task.h"

struct loop_options {
    bool simulated;          /* clock starts at 1 s and moves only by timers */
    uint64_t seed;           /* of loop_random; used when simulated, otherwise seeded from the kernel */
    uint64_t spin_ns;        /* how long to poll before blocking; 0: default (50 us) */
    uint32_t stack_size;     /* bytes of a task's stack; 0: default (64 KiB) */
    bool moves;              /* its thread may be moved to a processor that is idle (processor_move) */
    struct metrics *metrics; /* where what happens on it is recorded: the caller's, and outlives the loop;
                                NULL: private memory of the loop's own */
};

/* Work done by one loop_poll or reactor poll is a count of events; 0 means idle. */
struct reactor {
    struct list link;
    const char *name;
    /* Handles what is ready without blocking; returns how many events it handled. */
    int (*poll)(struct reactor *reactor);
    /* Prepares to block: returns 0 when fd will become readable on new work, -EBUSY when work is already
     * there. NULL when fd alone is enough. */
    int (*arm)(struct reactor *reactor);
    int fd; /* polled with epoll while blocked; -1: none */
};

/* Zero-initialise, then set fire. Timers of one deadline fire in the order in which they were set. */
struct timer {
    uint64_t deadline;                 /* loop_now nanoseconds */
    void (*fire)(struct timer *timer); /* may set the timer again; runs on the loop's stack: must not await */
    uint64_t sequence;                 /* 0: not set. This and the links belong to the loop. */
    struct timer *child;
    struct timer *next;
    struct timer *prev;
};

struct loop_statistics {
    uint64_t busy_ns;    /* spent in polls that found work */
    uint64_t idle_ns;    /* spent polling without work, or blocked */
    uint64_t blocked_ns; /* of which blocked in the kernel */
    uint64_t polls;
    uint64_t blocks;
};

struct loop;

/* Returns 0 and *loop, or -errno. */
int loop_create(const struct loop_options *options, struct loop **loop);
/* All tasks must have finished and all reactors be removed. */
void loop_destroy(struct loop *loop);

uint64_t loop_now(struct loop *loop);     /* monotonic nanoseconds; virtual when simulated */
int64_t loop_realtime(struct loop *loop); /* nanoseconds since 1970, in a callback that of the latest
                                             loop_now; derived from the virtual clock when simulated */
/* How long what is found now may have waited only because this thread was at work. Whoever has looked for
 * something and found nothing keeps *loop_latest (read from the same place as long as the loop lives); when
 * it has come, loop_kept tells the time since then, or since the loop last found nothing to do, whichever is
 * less. It may have come at any moment of that time, so this is an upper bound. now: a loop_now. */
const uint64_t *loop_latest(const struct loop *loop);
uint64_t loop_kept(struct loop *loop, uint64_t latest, uint64_t now);
struct random *loop_random(struct loop *loop);
bool loop_simulated(const struct loop *loop);
struct metrics *loop_metrics(const struct loop *loop); /* never NULL */
void loop_settle(struct loop *loop); /* brings them up to date, for whoever reads them now */

int loop_reactor_add(struct loop *loop, struct reactor *reactor); /* 0 or -errno (epoll) */
void loop_reactor_remove(struct loop *loop, struct reactor *reactor);

/* Plain descriptors (sockets, eventfd, signalfd), level-triggered. events: EPOLLIN | EPOLLOUT ... Return 0 or
 * -errno; a simulated loop has none (-ENOSYS). While the loop is busy they are looked at every 50 us or so,
 * every ms when nothing comes of it.
 */
struct watch {
    int fd;
    void (*ready)(struct watch *watch,
                  uint32_t events); /* runs on the loop's stack: must not await, may spawn */
};
int loop_watch_add(struct loop *loop, struct watch *watch, uint32_t events);
int loop_watch_change(struct loop *loop, struct watch *watch, uint32_t events);
void loop_watch_remove(struct loop *loop, struct watch *watch);

/* Something is under way that will take about so many nanoseconds: an idle loop polls for that time more
 * before it blocks. */
void loop_expect(struct loop *loop, uint64_t duration);

void timer_set(struct loop *loop, struct timer *timer, uint64_t deadline);
void timer_clear(struct loop *loop, struct timer *timer); /* harmless when not set */

/* One turn: reactors, due timers, ready tasks. Never blocks. Returns the number of events handled. When a
 * simulated loop has nothing to do, its clock jumps to the next timer; 0 then means that nothing can happen
 * any more. Descriptors and timers are looked at every few turns. Not allowed inside a task or a callback of
 * the loop. */
int loop_poll(struct loop *loop);

/* Runs turns, blocking adaptively when idle, until loop_stop; a simulated loop also returns, and logs it,
 * when nothing can happen any more. */
void loop_run(struct loop *loop);
/* Makes loop_run, or the next one, return after the current turn. Callable from tasks and callbacks of this
 * loop. */
void loop_stop(struct loop *loop);

void loop_statistics(struct loop *loop, struct loop_statistics *statistics);

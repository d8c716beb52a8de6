/* Tasks: stackful coroutines with pooled, guard-paged stacks, and the completions they wait for.
 *
 * A task belongs to the loop that spawned it and runs only on that loop's thread. It runs until it awaits
 * something or returns; nothing preempts it, so state shared by tasks of one loop needs no lock between two
 * awaits. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

struct loop;
struct task;

/* A one-shot event: fired once with a status, awaited by at most one task (or by the thread outside any
 * task). Lives wherever its owner likes (often on the awaiting task's stack); must outlive both fire and
 * await. All zeros is the initial state. */
struct completion {
    struct task *waiter;
    int status;
    bool fired;
    /* Optional: called by completion_fire in place of waking a task. The completion may be reused or freed
     * inside. */
    void (*notify)(struct completion *completion);
};

#define COMPLETION_INIT                                                                                      \
    (struct completion)                                                                                      \
    {                                                                                                        \
        0                                                                                                    \
    }

/* Starts entry(argument) at once on a pooled stack, nested in the caller, until it first suspends or returns;
 * then continues the caller. May be called from inside a task or a reactor's callback. Returns 0 or -ENOMEM.
 */
int task_spawn(struct loop *loop, void (*entry)(void *argument), void *argument);

/* As task_spawn, but first runs when the loop next runs its ready tasks; *task (may be NULL) allows
 * task_cancel. */
int task_spawn_later(struct loop *loop, void (*entry)(void *argument), void *argument, struct task **task);

/* The running task of this thread, or NULL outside any task. */
struct task *task_current(void);

/* A number by which what the running task has others do can be told apart: the correlation of the request
 * that it serves. 0, as at first: none, or no task runs. */
void task_set_tag(uint64_t tag);
uint64_t task_tag(void);

/* Makes the await that task is suspended in return -ECANCELED, or, when it is not suspended or its completion
 * has already fired, the next await that would suspend it. So nothing that was granted is lost. The awaited
 * completion is detached and left to its owner. task is valid until its entry returns. */
void task_cancel(struct task *task);

/* Lets other ready tasks and the reactors run; outside any task, polls the loop once. Returns 0 or
 * -ECANCELED. */
int task_yield(struct loop *loop);

/* As await, whatever the completion's state; for the inline calls below. */
int await_pending(struct loop *loop, struct completion *completion, uint64_t deadline);

/* Suspends the running task until the completion fires; outside any task drives the loop until then (not
 * allowed in callbacks of the loop). Returns the completion's status, -ECANCELED, or, outside any task on a
 * simulated loop in which nothing can happen any more, -EDEADLK. A completion that has fired already neither
 * suspends nor cancels. */
static inline int await(struct loop *loop, struct completion *completion)
{
    return completion->fired ? completion->status : await_pending(loop, completion, 0);
}

/* As await, but gives up at deadline (loop_now nanoseconds; 0: never): returns -ETIMEDOUT. The completion is
 * detached then and its owner must make sure that it is not fired into freed memory. */
static inline int await_until(struct loop *loop, struct completion *completion, uint64_t deadline)
{
    return completion->fired ? completion->status : await_pending(loop, completion, deadline);
}

/* Marks fired and wakes the waiter: a task is made ready, a thread that drives the loop finds it after the
 * current turn. Firing twice is a bug. */
void completion_fire(struct completion *completion, int status);

/* Suspends the task for at least duration nanoseconds. Returns 0 or -ECANCELED. */
int task_sleep(struct loop *loop, uint64_t duration);

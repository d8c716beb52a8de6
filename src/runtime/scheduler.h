/* What the event loop and its tasks share: the queue of ready tasks and the pool of stacks. Internal to
 * runtime/. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "runtime/loop.h"
#include "runtime/task.h"

/* First member of struct loop. */
struct scheduler {
    struct list ready; /* tasks to resume, in the order in which they became ready */
    uint32_t ready_count;
    uint32_t live;    /* tasks spawned and not finished */
    struct list pool; /* finished tasks, whose stacks the next ones take; last finished first */
    uint32_t pooled;
    uint32_t mapped; /* stacks made so far; spreads them over the cache's sets */
    size_t stack_size;
};

static inline struct scheduler *loop_scheduler(struct loop *loop)
{
    return (struct scheduler *)loop;
}

/* stack_size: bytes, 0 for the default. */
void scheduler_init(struct scheduler *scheduler, size_t stack_size);
/* Frees the pool. All tasks must have finished. */
void scheduler_close(struct scheduler *scheduler);

/* Resumes the tasks that are ready now, not those that they make ready; returns how many. Called outside any
 * task. */
int scheduler_run(struct scheduler *scheduler);

/* Drives the loop from outside any task until the completion fires, for await_until. */
int loop_drive(struct loop *loop, struct completion *completion, uint64_t deadline);

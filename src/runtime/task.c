/* Tasks and completions.
 *
 * A task is a struct at the top of its own stack; the rest of the stack grows down from it. When the entry
 * returns, the task goes to its loop's pool, last in first out, and the next spawn runs on a stack that is
 * still in the cache. So a short request handler costs two switches and no allocation.
 *
 * Control is nested: whoever enters a task (a spawn, or the loop running its ready queue) is resumed when
 * that task suspends or finishes, exactly as if a function had returned. task_enter is the only way into a
 * task and the only place where control comes back, which also gives the branch predictor one target for
 * every suspension.
 *
 * States: running (entered and not suspended, though it may have spawned a task that runs at the moment),
 * waiting (in an await), ready (queued in the scheduler), finished (in the pool). A waiting task leaves that
 * state exactly once, by whichever comes first of fire, timeout and cancellation; the loser finds it in
 * another state and does nothing. A cancellation that finds the task not waiting is remembered until an await
 * would suspend it.
 *
 * The body of task_main is a loop that never returns: a pooled task stays suspended just behind the entry it
 * last ran, so that sanitizers see one uninterrupted flow of calls on each stack. */
#include "runtime/task.h"

#include <assert.h>
#include <errno.h>
#include <unistd.h>

#include "base/log.h"
#include "runtime/fiber.h"
#include "runtime/scheduler.h"
#include "runtime/stack.h"

enum {
    STACK_SIZE_DEFAULT = 64 * 1024,
    STACK_SIZE_MINIMUM = 16 * 1024,
    /* Stacks kept for reuse beyond which a finished task's stack is unmapped. */
    POOL_LIMIT = 1024,
    /* Stacks are page-aligned; without these offsets the tops of all of them would compete for the same few
     * sets of the first-level cache. */
    STACK_COLOURS = 16,
    STACK_COLOUR_BYTES = 192,
};

enum task_state { TASK_RUNNING, TASK_WAITING, TASK_READY, TASK_FINISHED };

struct task {
    struct fiber self;   /* where it continues */
    struct fiber caller; /* where whoever entered it continues */
    struct loop *loop;
    void (*entry)(void *argument);
    void *argument;
    struct list link; /* in the ready queue or the pool */
    enum task_state state;
    bool cancelled; /* the next await that would suspend returns -ECANCELED */
    int result;     /* of the await it is in */
    uint64_t tag;
    struct completion *awaiting;
    struct timer timeout;
    char *stack;
};

/* Libraries are loaded at start or by few programs; the initial-exec model makes this one instruction. */
static __thread struct task *running __attribute__((tls_model("initial-exec")));

struct task *task_current(void)
{
    return running;
}

static void task_timed_out(struct timer *timer);

static __attribute__((noreturn)) void task_main(void)
{
    fiber_arrive(&running->caller);
    for (;;) {
        struct task *task = running;
        task->entry(task->argument);
        task->state = TASK_FINISHED;
        fiber_switch(&task->self, &task->caller, true);
    }
}

static struct task *task_create(struct scheduler *scheduler)
{
    char *stack = stack_map(scheduler->stack_size);
    if (stack == NULL) {
        log_error("no memory for the stack of another task (%u under way)", scheduler->live);
        return NULL;
    }
    size_t colour = scheduler->mapped++ % STACK_COLOURS * STACK_COLOUR_BYTES;
    uintptr_t top = (uintptr_t)stack + scheduler->stack_size - colour - sizeof(struct task);
    struct task *task = (struct task *)(top & ~(uintptr_t)63);
    *task = (struct task){.stack = stack, .timeout.fire = task_timed_out};
    fiber_make(&task->self, stack, (char *)task, task_main);
    return task;
}

static void task_destroy(struct scheduler *scheduler, struct task *task)
{
    char *stack = task->stack;
    fiber_discard(&task->self, stack, (char *)task);
    stack_unmap(stack, scheduler->stack_size);
}

static void task_release(struct scheduler *scheduler, struct task *task)
{
    scheduler->live--;
    if (scheduler->pooled >= POOL_LIMIT) {
        task_destroy(scheduler, task);
        return;
    }
    scheduler->pooled++;
    list_push_front(&scheduler->pool, &task->link);
}

/* Runs the task until it suspends or finishes. */
static __attribute__((noinline)) void task_enter(struct task *task)
{
    struct task *caller = running;
    running = task;
    task->state = TASK_RUNNING;
    fiber_switch(&task->caller, &task->self, false);
    running = caller;
    if (task->state == TASK_FINISHED)
        task_release(loop_scheduler(task->loop), task);
}

static void task_suspend(struct task *task)
{
    fiber_switch(&task->self, &task->caller, false);
}

static void task_ready(struct task *task)
{
    struct scheduler *scheduler = loop_scheduler(task->loop);
    task->state = TASK_READY;
    list_push_back(&scheduler->ready, &task->link);
    scheduler->ready_count++;
}

static struct task *task_prepare(struct loop *loop, void (*entry)(void *argument), void *argument)
{
    struct scheduler *scheduler = loop_scheduler(loop);
    struct task *task;
    if (!list_empty(&scheduler->pool)) {
        task = container_of(list_pop_front(&scheduler->pool), struct task, link);
        scheduler->pooled--;
    } else {
        task = task_create(scheduler);
        if (task == NULL)
            return NULL;
    }
    scheduler->live++;
    task->loop = loop;
    task->entry = entry;
    task->argument = argument;
    task->cancelled = false;
    task->tag = 0;
    return task;
}

void task_set_tag(uint64_t tag)
{
    if (running != NULL)
        running->tag = tag;
}

uint64_t task_tag(void)
{
    return running == NULL ? 0 : running->tag;
}

int task_spawn(struct loop *loop, void (*entry)(void *argument), void *argument)
{
    struct task *task = task_prepare(loop, entry, argument);
    if (task == NULL)
        return -ENOMEM;
    task_enter(task);
    return 0;
}

int task_spawn_later(struct loop *loop, void (*entry)(void *argument), void *argument, struct task **spawned)
{
    struct task *task = task_prepare(loop, entry, argument);
    if (task == NULL)
        return -ENOMEM;
    task_ready(task);
    if (spawned != NULL)
        *spawned = task;
    return 0;
}

/* Ends the await that the task is in. */
static void task_wake(struct task *task, int result)
{
    assert(task->state == TASK_WAITING);
    task->awaiting->waiter = NULL;
    task->awaiting = NULL;
    task->result = result;
    task_ready(task);
}

static void task_timed_out(struct timer *timer)
{
    struct task *task = container_of(timer, struct task, timeout);
    if (task->state == TASK_WAITING)
        task_wake(task, -ETIMEDOUT);
}

void task_cancel(struct task *task)
{
    assert(task->state != TASK_FINISHED);
    if (task->state == TASK_WAITING)
        task_wake(task, -ECANCELED);
    else
        task->cancelled = true;
}

static bool task_consume_cancellation(struct task *task)
{
    bool cancelled = task->cancelled;
    task->cancelled = false;
    return cancelled;
}

int task_yield(struct loop *loop)
{
    struct task *task = running;
    if (task == NULL) {
        loop_poll(loop);
        return 0;
    }
    if (task_consume_cancellation(task))
        return -ECANCELED;
    task_ready(task);
    task_suspend(task);
    return task_consume_cancellation(task) ? -ECANCELED : 0;
}

int await_pending(struct loop *loop, struct completion *completion, uint64_t deadline)
{
    assert(completion->notify == NULL && completion->waiter == NULL);
    if (completion->fired)
        return completion->status;
    struct task *task = running;
    if (task == NULL)
        return loop_drive(loop, completion, deadline);
    assert(task->loop == loop);
    if (task_consume_cancellation(task))
        return -ECANCELED;

    completion->waiter = task;
    task->awaiting = completion;
    task->state = TASK_WAITING;
    if (deadline != 0)
        timer_set(loop, &task->timeout, deadline);
    task_suspend(task);
    if (deadline != 0)
        timer_clear(loop, &task->timeout);
    return task->result;
}

void completion_fire(struct completion *completion, int status)
{
    assert(!completion->fired);
    completion->status = status;
    completion->fired = true;
    if (completion->notify != NULL)
        completion->notify(completion);
    else if (completion->waiter != NULL)
        task_wake(completion->waiter, status);
}

int task_sleep(struct loop *loop, uint64_t duration)
{
    struct completion never = COMPLETION_INIT;
    int status = await_pending(loop, &never, loop_now(loop) + duration);
    return status == -ETIMEDOUT ? 0 : status;
}

void scheduler_init(struct scheduler *scheduler, size_t stack_size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (stack_size == 0)
        stack_size = STACK_SIZE_DEFAULT;
    if (stack_size < STACK_SIZE_MINIMUM)
        stack_size = STACK_SIZE_MINIMUM;
#if defined(FIBER_ASAN) || defined(FIBER_TSAN)
    /* Instrumented frames are several times as large. */
    stack_size *= 4;
#endif
    list_init(&scheduler->ready);
    list_init(&scheduler->pool);
    scheduler->stack_size = (stack_size + page - 1) / page * page;
}

void scheduler_close(struct scheduler *scheduler)
{
    assert(scheduler->live == 0);
    for (struct list *link; (link = list_pop_front(&scheduler->pool)) != NULL;)
        task_destroy(scheduler, container_of(link, struct task, link));
}

int scheduler_run(struct scheduler *scheduler)
{
    assert(running == NULL);
    uint32_t count = scheduler->ready_count;
    for (uint32_t i = 0; i < count; i++) {
        struct list *link = list_pop_front(&scheduler->ready);
        scheduler->ready_count--;
        task_enter(container_of(link, struct task, link));
    }
    return (int)count;
}

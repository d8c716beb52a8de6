/* Measurements of the runtime.
 *
 * The work is cut into batches, each timed as a whole so that reading the clock does not count, and the
 * median batch is reported, so that interruptions by other processes do not. A batch of tasks that suspend
 * holds as many at a time as a busy server does; one task at a time would measure the loop's turn instead. */
#include "runtime/bench.h"

#include <stdlib.h>

#include "base/clock.h"
#include "runtime/loop.h"
#include "runtime/task.h"

enum { BATCHES = 101, TASKS_AT_ONCE = 32 };

static void finish_at_once(void *argument)
{
    ++*(unsigned *)argument;
}

struct yielding {
    struct loop *loop;
    unsigned finished;
};

static void yield_and_finish(void *argument)
{
    struct yielding *yielding = argument;
    task_yield(yielding->loop);
    yielding->finished++;
}

static int batch_at_once(struct loop *loop, unsigned count)
{
    unsigned finished = 0;
    for (unsigned i = 0; i < count; i++) {
        int status = task_spawn(loop, finish_at_once, &finished);
        if (status != 0)
            return status;
    }
    return 0;
}

static int batch_yielding(struct loop *loop, unsigned count)
{
    struct yielding yielding = {.loop = loop};
    int status = 0;
    for (unsigned spawned = 0; spawned < count && status == 0;) {
        for (unsigned i = 0; i < TASKS_AT_ONCE && spawned < count && status == 0; i++) {
            status = task_spawn(loop, yield_and_finish, &yielding);
            spawned += status == 0;
        }
        while (yielding.finished < spawned)
            loop_poll(loop);
    }
    return status;
}

static int compare_doubles(const void *left, const void *right)
{
    double difference = *(const double *)left - *(const double *)right;
    return (difference > 0) - (difference < 0);
}

static int measure(int (*batch)(struct loop *loop, unsigned count), unsigned count, double *ns_per_task)
{
    struct loop_options options = {0};
    struct loop *loop;
    int status = loop_create(&options, &loop);
    if (status != 0)
        return status;
    unsigned size = count / BATCHES + 1;
    double times[BATCHES];
    status = batch(loop, size); /* maps the stacks */
    for (unsigned i = 0; i < BATCHES && status == 0; i++) {
        uint64_t start = clock_now();
        status = batch(loop, size);
        times[i] = (double)(clock_now() - start) / size;
    }
    loop_destroy(loop);
    if (status != 0)
        return status;
    qsort(times, BATCHES, sizeof(times[0]), compare_doubles);
    *ns_per_task = times[BATCHES / 2];
    return 0;
}

int runtime_bench_spawn(unsigned count, double *ns_per_task)
{
    return measure(batch_at_once, count, ns_per_task);
}

int runtime_bench_spawn_yield(unsigned count, double *ns_per_task)
{
    return measure(batch_yielding, count, ns_per_task);
}

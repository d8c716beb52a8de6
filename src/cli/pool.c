/* A bounded number of tasks. The one who starts them waits for room, so a walk over a large tree never runs
 * ahead of the work by more than the pool's width. */
#include <errno.h>
#include <stdlib.h>

#include "cli/cli.h"

struct job {
    struct pool *pool;
    void (*run)(void *argument);
    void *argument;
};

void pool_init(struct pool *pool, struct loop *loop, uint32_t width)
{
    pool->loop = loop;
    semaphore_init(&pool->room, width);
    wait_group_init(&pool->running);
}

static void job_run(void *argument)
{
    struct job job = *(struct job *)argument;
    free(argument);
    job.run(job.argument);
    semaphore_release(job.pool->loop, &job.pool->room, 1);
    wait_group_done(job.pool->loop, &job.pool->running);
}

int pool_start(struct pool *pool, void (*run)(void *argument), void *argument)
{
    struct job *job = malloc(sizeof(*job));
    if (job == NULL)
        return -ENOMEM;
    *job = (struct job){pool, run, argument};
    semaphore_acquire(pool->loop, &pool->room, 1, 0);
    wait_group_add(&pool->running, 1);
    if (task_spawn(pool->loop, job_run, job) == 0)
        return 0;
    semaphore_release(pool->loop, &pool->room, 1);
    wait_group_done(pool->loop, &pool->running);
    free(job);
    return -ENOMEM;
}

void pool_wait(struct pool *pool)
{
    wait_group_wait(pool->loop, &pool->running, 0);
}

/* Semaphores, mutexes, wait groups, wait queues and channels are fair, and giving up a wait takes nothing
 * along. */
#include "unit/unit.h"

#include "base/clock.h"
#include "runtime/loop.h"
#include "runtime/sync.h"
#include "runtime/task.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct loop *loop;
static char trace[512];

static void note(const char *format, int value)
{
    size_t length = strlen(trace);
    snprintf(trace + length, sizeof(trace) - length, format, value);
}

static int setup(void **state)
{
    (void)state;
    trace[0] = '\0';
    struct loop_options options = {.simulated = true};
    return loop_create(&options, &loop);
}

static int teardown(void **state)
{
    (void)state;
    loop_destroy(loop);
    return 0;
}

static void settle(void)
{
    while (loop_poll(loop) != 0)
        continue;
}

/* A task that waits for something once. */
struct attempt {
    int id;
    int status;
    uint64_t units;
    uint64_t deadline;
    void *item;
    struct task *task;
    struct semaphore *semaphore;
    struct mutex *mutex;
    struct wait_group *group;
    struct wait_queue *queue;
    struct channel *channel;
};

static void acquire(void *argument)
{
    struct attempt *attempt = argument;
    attempt->status = semaphore_acquire(loop, attempt->semaphore, attempt->units, attempt->deadline);
    note(attempt->status == 0 ? "%d " : "(%d) ", attempt->id);
}

static void semaphore_is_fair(void **state)
{
    (void)state;
    struct semaphore semaphore;
    semaphore_init(&semaphore, 2);
    struct attempt attempts[4];
    const uint64_t units[4] = {2, 3, 1, 1};
    for (int i = 0; i < 4; i++) {
        attempts[i] = (struct attempt){.id = i, .units = units[i], .semaphore = &semaphore};
        task_spawn(loop, acquire, &attempts[i]);
    }
    assert_string_equal(trace, "0 ");
    assert_false(semaphore_try_acquire(&semaphore, 0));
    semaphore_release(loop, &semaphore, 2);
    settle();
    assert_string_equal(trace, "0 "); /* 1 and 2 would be content, but 3 units were asked for first */
    semaphore_release(loop, &semaphore, 2);
    settle();
    assert_string_equal(trace, "0 1 2 ");
    semaphore_release(loop, &semaphore, 1);
    settle();
    assert_string_equal(trace, "0 1 2 3 ");
    assert_int_equal(semaphore.available, 0);
}

static void semaphore_gives_up(void **state)
{
    (void)state;
    struct semaphore semaphore;
    semaphore_init(&semaphore, 1);
    struct attempt large = {.id = 1, .units = 2, .semaphore = &semaphore, .deadline = loop_now(loop) + 10};
    struct attempt small = {.id = 2, .units = 1, .semaphore = &semaphore};
    struct attempt last = {.id = 3, .units = 1, .semaphore = &semaphore};
    task_spawn_later(loop, acquire, &large, &large.task);
    task_spawn_later(loop, acquire, &small, &small.task);
    task_spawn_later(loop, acquire, &last, &last.task);
    loop_poll(loop);
    assert_string_equal(trace, "");
    settle();
    /* Time ran out for the large one, which lets the small one in. */
    assert_string_equal(trace, "(1) 2 ");
    assert_int_equal(large.status, -ETIMEDOUT);
    task_cancel(last.task);
    settle();
    assert_int_equal(last.status, -ECANCELED);
    semaphore_release(loop, &semaphore, 1);
    assert_int_equal(semaphore.available, 1);
    assert_true(semaphore_try_acquire(&semaphore, 1));
}

static void a_grant_wins_over_a_cancellation(void **state)
{
    (void)state;
    struct semaphore semaphore;
    semaphore_init(&semaphore, 0);
    struct attempt attempt = {.units = 1, .semaphore = &semaphore};
    task_spawn_later(loop, acquire, &attempt, &attempt.task);
    loop_poll(loop);
    semaphore_release(loop, &semaphore, 1);
    task_cancel(attempt.task);
    settle();
    assert_int_equal(attempt.status, 0);
    assert_int_equal(semaphore.available, 0);
}

static void acquire_outside_any_task(void **state)
{
    (void)state;
    struct semaphore semaphore;
    semaphore_init(&semaphore, 0);
    uint64_t deadline = loop_now(loop) + NSEC_PER_SEC;
    assert_int_equal(semaphore_acquire(loop, &semaphore, 1, deadline), -ETIMEDOUT);
    assert_int_equal(loop_now(loop), deadline);
    assert_int_equal(semaphore_acquire(loop, &semaphore, 1, 0), -EDEADLK);
    semaphore_release(loop, &semaphore, 1);
    assert_int_equal(semaphore_acquire(loop, &semaphore, 1, 0), 0);
}

static void lock_three_times(void *argument)
{
    struct attempt *attempt = argument;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mutex_lock(loop, attempt->mutex, 0), 0);
        note("%d", attempt->id);
        task_yield(loop);
        note("%d ", attempt->id);
        mutex_unlock(loop, attempt->mutex);
    }
}

static void mutex_excludes_and_rotates(void **state)
{
    (void)state;
    struct mutex mutex;
    mutex_init(&mutex);
    struct attempt attempts[3];
    for (int i = 0; i < 3; i++) {
        attempts[i] = (struct attempt){.id = i, .mutex = &mutex};
        task_spawn(loop, lock_three_times, &attempts[i]);
    }
    assert_false(mutex_try_lock(&mutex));
    settle();
    assert_string_equal(trace, "00 11 22 00 11 22 00 11 22 ");
    assert_true(mutex_try_lock(&mutex));
    mutex_unlock(loop, &mutex);
}

static void work(void *argument)
{
    struct attempt *attempt = argument;
    task_sleep(loop, (uint64_t)attempt->id * NSEC_PER_MSEC);
    wait_group_done(loop, attempt->group);
}

static void wait_for_group(void *argument)
{
    struct attempt *attempt = argument;
    attempt->status = wait_group_wait(loop, attempt->group, attempt->deadline);
    note(attempt->status == 0 ? "%d " : "(%d) ", attempt->id);
}

static void wait_group_waits_for_all(void **state)
{
    (void)state;
    struct wait_group group;
    wait_group_init(&group);
    assert_int_equal(wait_group_wait(loop, &group, 0), 0);
    struct attempt workers[5];
    wait_group_add(&group, 5);
    for (int i = 0; i < 5; i++) {
        workers[i] = (struct attempt){.id = i + 1, .group = &group};
        task_spawn(loop, work, &workers[i]);
    }
    struct attempt impatient = {.id = 1, .group = &group, .deadline = loop_now(loop) + NSEC_PER_MSEC};
    struct attempt cancelled = {.id = 2, .group = &group};
    struct attempt patient = {.id = 3, .group = &group};
    task_spawn(loop, wait_for_group, &impatient);
    task_spawn_later(loop, wait_for_group, &cancelled, &cancelled.task);
    task_spawn(loop, wait_for_group, &patient);
    loop_poll(loop);
    task_cancel(cancelled.task);
    uint64_t start = loop_now(loop);
    assert_int_equal(wait_group_wait(loop, &group, 0), 0);
    assert_int_equal(loop_now(loop) - start, 5 * NSEC_PER_MSEC);
    settle();
    assert_string_equal(trace, "(2) (1) 3 ");
    assert_int_equal(impatient.status, -ETIMEDOUT);
    assert_int_equal(cancelled.status, -ECANCELED);
}

static void wait_in_queue_twice(void *argument)
{
    struct attempt *attempt = argument;
    for (int i = 0; i < 2; i++) {
        attempt->status = wait_queue_wait(loop, attempt->queue, attempt->deadline);
        note(attempt->status == 0 ? "%d " : "(%d) ", attempt->id);
    }
}

static void wait_queue_wakes_those_present(void **state)
{
    (void)state;
    struct wait_queue queue;
    wait_queue_init(&queue);
    wait_queue_wake_all(loop, &queue);
    struct attempt attempts[3];
    for (int i = 0; i < 3; i++) {
        attempts[i] = (struct attempt){.id = i, .queue = &queue};
        task_spawn_later(loop, wait_in_queue_twice, &attempts[i], &attempts[i].task);
    }
    settle();
    wait_queue_wake_all(loop, &queue);
    settle();
    assert_string_equal(trace, "0 1 2 ");
    task_cancel(attempts[1].task);
    settle();
    wait_queue_wake_all(loop, &queue);
    settle();
    assert_string_equal(trace, "0 1 2 (1) 0 2 ");
}

static char items[64];

static void send_item(void *argument)
{
    struct attempt *attempt = argument;
    attempt->status = channel_send(loop, attempt->channel, &items[attempt->id], attempt->deadline);
}

static void receive_item(void *argument)
{
    struct attempt *attempt = argument;
    attempt->status = channel_receive(loop, attempt->channel, &attempt->item, attempt->deadline);
    note(attempt->status == 0 ? "%d " : "(%d) ", attempt->id);
}

static void channel_keeps_order(uint32_t capacity)
{
    struct channel *channel;
    assert_int_equal(channel_create(capacity, &channel), 0);
    struct attempt senders[20];
    for (int i = 0; i < 20; i++) {
        senders[i] = (struct attempt){.id = i, .status = 1, .channel = channel};
        task_spawn(loop, send_item, &senders[i]);
    }
    settle();
    for (int i = 0; i < 20; i++)
        assert_int_equal(senders[i].status, (uint32_t)i < capacity ? 0 : 1);
    for (int i = 0; i < 20; i++) {
        void *item;
        assert_int_equal(channel_receive(loop, channel, &item, 0), 0);
        assert_ptr_equal(item, &items[i]);
    }
    settle();
    for (int i = 0; i < 20; i++)
        assert_int_equal(senders[i].status, 0);

    struct attempt receivers[5];
    for (int i = 0; i < 5; i++) {
        receivers[i] = (struct attempt){.id = i, .channel = channel};
        task_spawn(loop, receive_item, &receivers[i]);
    }
    for (int i = 0; i < 5; i++)
        assert_int_equal(channel_send(loop, channel, &items[i], 0), 0);
    settle();
    for (int i = 0; i < 5; i++)
        assert_ptr_equal(receivers[i].item, &items[i]);
    assert_string_equal(trace, "0 1 2 3 4 ");
    channel_destroy(channel);
}

static void channel_with_room_keeps_order(void **state)
{
    (void)state;
    channel_keeps_order(7);
}

static void channel_without_room_keeps_order(void **state)
{
    (void)state;
    channel_keeps_order(0);
}

static void channel_waits_can_be_given_up(void **state)
{
    (void)state;
    struct channel *channel;
    assert_int_equal(channel_create(1, &channel), 0);
    uint64_t deadline = loop_now(loop) + NSEC_PER_MSEC;
    struct attempt receivers[2] = {{.id = 0, .channel = channel, .deadline = deadline},
                                   {.id = 1, .channel = channel}};
    for (int i = 0; i < 2; i++)
        task_spawn_later(loop, receive_item, &receivers[i], &receivers[i].task);
    loop_poll(loop);
    task_cancel(receivers[1].task);
    settle();
    assert_string_equal(trace, "(1) (0) ");
    assert_int_equal(receivers[0].status, -ETIMEDOUT);
    assert_int_equal(receivers[1].status, -ECANCELED);

    assert_int_equal(channel_send(loop, channel, &items[0], 0), 0);
    struct attempt senders[2] = {{.id = 1, .channel = channel, .deadline = loop_now(loop) + NSEC_PER_MSEC},
                                 {.id = 2, .channel = channel}};
    for (int i = 0; i < 2; i++)
        task_spawn(loop, send_item, &senders[i]);
    assert_int_equal(task_sleep(loop, 2 * NSEC_PER_MSEC), 0);
    assert_int_equal(senders[0].status, -ETIMEDOUT);
    /* The item of the sender that gave up is not delivered. */
    void *item;
    assert_int_equal(channel_receive(loop, channel, &item, 0), 0);
    assert_ptr_equal(item, &items[0]);
    assert_int_equal(channel_receive(loop, channel, &item, 0), 0);
    assert_ptr_equal(item, &items[2]);
    settle();
    assert_int_equal(senders[1].status, 0);
    channel_destroy(channel);
}

static void channel_close_ends_waits(void **state)
{
    (void)state;
    struct channel *channel;
    assert_int_equal(channel_create(1, &channel), 0);
    struct attempt receiver = {.channel = channel};
    task_spawn(loop, receive_item, &receiver);
    channel_close(loop, channel);
    settle();
    assert_int_equal(receiver.status, -EPIPE);
    channel_destroy(channel);

    assert_int_equal(channel_create(1, &channel), 0);
    assert_int_equal(channel_send(loop, channel, &items[5], 0), 0);
    struct attempt sender = {.channel = channel};
    task_spawn(loop, send_item, &sender);
    channel_close(loop, channel);
    settle();
    assert_int_equal(sender.status, -EPIPE);
    assert_int_equal(channel_send(loop, channel, &items[6], 0), -EPIPE);
    /* What was sent before is still delivered. */
    void *item;
    assert_int_equal(channel_receive(loop, channel, &item, 0), 0);
    assert_ptr_equal(item, &items[5]);
    assert_int_equal(channel_receive(loop, channel, &item, 0), -EPIPE);
    channel_destroy(channel);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(semaphore_is_fair),
        CASE(semaphore_gives_up),
        CASE(a_grant_wins_over_a_cancellation),
        CASE(acquire_outside_any_task),
        CASE(mutex_excludes_and_rotates),
        CASE(wait_group_waits_for_all),
        CASE(wait_queue_wakes_those_present),
        CASE(channel_with_room_keeps_order),
        CASE(channel_without_room_keeps_order),
        CASE(channel_waits_can_be_given_up),
        CASE(channel_close_ends_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

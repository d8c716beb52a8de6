/* The event loop: turns, descriptors, blocking, accounts, and the simulated clock. */
#include "unit/unit.h"

#include "base/clock.h"
#include "base/hash.h"
#include "runtime/loop.h"
#include "runtime/sync.h"
#include "runtime/task.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static struct loop *loop;

static int setup(void **state)
{
    (void)state;
    struct loop_options options = {0};
    return loop_create(&options, &loop);
}

static int setup_simulated(void **state)
{
    (void)state;
    struct loop_options options = {.simulated = true, .seed = 1};
    return loop_create(&options, &loop);
}

static int teardown(void **state)
{
    (void)state;
    loop_destroy(loop);
    return 0;
}

/* A reactor that does what a test tells it. */
struct probe {
    struct reactor reactor;
    int work;       /* to report from each poll */
    int arm_status; /* to report from each arm */
    unsigned polls;
    unsigned arms;
    uint64_t spin_ns;           /* to burn in each poll */
    struct probe *remove_first; /* to remove in the next poll */
    struct probe *remove_second;
    bool stop; /* stops the loop in the next poll */
};

static int probe_poll(struct reactor *reactor)
{
    struct probe *probe = container_of(reactor, struct probe, reactor);
    probe->polls++;
    if (probe->remove_first != NULL)
        loop_reactor_remove(loop, &probe->remove_first->reactor);
    if (probe->remove_second != NULL)
        loop_reactor_remove(loop, &probe->remove_second->reactor);
    probe->remove_first = probe->remove_second = NULL;
    if (probe->stop)
        loop_stop(loop);
    uint64_t end = clock_now() + probe->spin_ns;
    while (probe->spin_ns != 0 && clock_now() < end)
        continue;
    return probe->work;
}

static int probe_arm(struct reactor *reactor)
{
    struct probe *probe = container_of(reactor, struct probe, reactor);
    probe->arms++;
    return probe->arm_status;
}

static void probe_add(struct probe *probe)
{
    probe->reactor = (struct reactor){.name = "probe", .poll = probe_poll, .arm = probe_arm, .fd = -1};
    assert_int_equal(loop_reactor_add(loop, &probe->reactor), 0);
}

static uint64_t thread_cpu_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * NSEC_PER_SEC + (uint64_t)time.tv_nsec;
}

static void reactors_are_polled_and_counted(void **state)
{
    (void)state;
    struct probe first = {.work = 2};
    struct probe second = {.work = 3};
    probe_add(&first);
    probe_add(&second);
    assert_int_equal(loop_poll(loop), 5);
    loop_reactor_remove(loop, &first.reactor);
    assert_int_equal(loop_poll(loop), 3);
    assert_int_equal(first.polls, 1);
    assert_int_equal(second.polls, 2);
    loop_reactor_remove(loop, &second.reactor);
}

static void reactors_may_be_removed_by_a_poll(void **state)
{
    (void)state;
    struct probe probes[4] = {{.work = 1}, {.work = 1}, {.work = 1}, {.work = 1}};
    for (int i = 0; i < 4; i++)
        probe_add(&probes[i]);
    probes[1].remove_first = &probes[1];
    probes[1].remove_second = &probes[2];
    assert_int_equal(loop_poll(loop), 3);
    assert_int_equal(probes[2].polls, 0);
    assert_int_equal(probes[3].polls, 1);
    assert_int_equal(loop_poll(loop), 2);
    loop_reactor_remove(loop, &probes[0].reactor);
    loop_reactor_remove(loop, &probes[3].reactor);
}

static void run_returns_after_stop(void **state)
{
    (void)state;
    struct probe probe = {.work = 1, .stop = true};
    probe_add(&probe);
    loop_run(loop);
    assert_int_equal(probe.polls, 1);
    loop_stop(loop);
    loop_run(loop);
    assert_int_equal(probe.polls, 1);
    loop_run(loop);
    assert_int_equal(probe.polls, 2);
    loop_reactor_remove(loop, &probe.reactor);
}

static void idle_waiting_blocks(void **state)
{
    (void)state;
    struct probe probe = {0};
    probe_add(&probe);
    uint64_t cpu = thread_cpu_ns();
    uint64_t start = loop_now(loop);
    assert_int_equal(task_sleep(loop, 300 * NSEC_PER_MSEC), 0);
    cpu = thread_cpu_ns() - cpu;
    uint64_t elapsed = loop_now(loop) - start;
    assert_true(elapsed >= 300 * NSEC_PER_MSEC);
    assert_true(cpu < 30 * NSEC_PER_MSEC);
    assert_true(probe.arms >= 1);
    struct loop_statistics statistics;
    loop_statistics(loop, &statistics);
    assert_true(statistics.blocks >= 1);
    assert_true(statistics.blocked_ns >= 200 * NSEC_PER_MSEC);
    assert_true(statistics.idle_ns >= statistics.blocked_ns);
    loop_reactor_remove(loop, &probe.reactor);
}

static void a_busy_arm_prevents_blocking(void **state)
{
    (void)state;
    struct probe probe = {.arm_status = -EBUSY};
    probe_add(&probe);
    assert_int_equal(task_sleep(loop, 5 * NSEC_PER_MSEC), 0);
    struct loop_statistics statistics;
    loop_statistics(loop, &statistics);
    assert_int_equal(statistics.blocks, 0);
    assert_true(probe.arms >= 2);
    loop_reactor_remove(loop, &probe.reactor);
}

struct watched {
    struct watch watch;
    struct completion seen;
    struct watched *remove;
    unsigned calls;
};

static void watched_ready(struct watch *watch, uint32_t events)
{
    struct watched *watched = container_of(watch, struct watched, watch);
    assert_true((events & EPOLLIN) != 0);
    uint64_t count;
    assert_int_equal(read(watch->fd, &count, sizeof(count)), sizeof(count));
    watched->calls++;
    if (watched->remove != NULL)
        loop_watch_remove(loop, &watched->remove->watch);
    if (!watched->seen.fired)
        completion_fire(&watched->seen, 0);
}

static void watched_add(struct watched *watched)
{
    *watched =
        (struct watched){.watch = {.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), .ready = watched_ready}};
    assert_true(watched->watch.fd >= 0);
    assert_int_equal(loop_watch_add(loop, &watched->watch, EPOLLIN), 0);
}

static void watched_remove(struct watched *watched)
{
    loop_watch_remove(loop, &watched->watch);
    close(watched->watch.fd);
}

static void signal_eventfd(int fd)
{
    uint64_t one = 1;
    assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

struct waker {
    pid_t sleeper;
    int fd;
};

/* Wakes the sleeper once it sleeps in the kernel. */
static void *wake_sleeper(void *argument)
{
    struct waker *waker = argument;
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", waker->sleeper);
    uint64_t end = clock_now() + 5 * NSEC_PER_SEC;
    char status = 'R';
    while (status != 'S' && clock_now() < end) {
        FILE *file = fopen(path, "r");
        if (file == NULL || fscanf(file, "%*d (%*[^)]) %c", &status) != 1)
            status = 'R';
        if (file != NULL)
            fclose(file);
    }
    signal_eventfd(waker->fd);
    return NULL;
}

static void a_descriptor_ends_blocking(void **state)
{
    (void)state;
    struct probe probe = {0};
    probe_add(&probe);
    struct watched watched;
    watched_add(&watched);
    struct waker waker = {.sleeper = (pid_t)syscall(SYS_gettid), .fd = watched.watch.fd};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, wake_sleeper, &waker), 0);
    assert_int_equal(await_until(loop, &watched.seen, loop_now(loop) + 8 * NSEC_PER_SEC), 0);
    pthread_join(thread, NULL);
    assert_int_equal(watched.calls, 1);
    struct loop_statistics statistics;
    loop_statistics(loop, &statistics);
    assert_true(statistics.blocks >= 1);
    watched_remove(&watched);
    loop_reactor_remove(loop, &probe.reactor);
}

static void descriptors_are_seen_while_busy(void **state)
{
    (void)state;
    struct probe probe = {.work = 1};
    probe_add(&probe);
    struct watched watched;
    watched_add(&watched);
    signal_eventfd(watched.watch.fd);
    assert_int_equal(await_until(loop, &watched.seen, loop_now(loop) + 5 * NSEC_PER_SEC), 0);
    watched_remove(&watched);
    loop_reactor_remove(loop, &probe.reactor);
}

static void a_removed_watch_is_not_called(void **state)
{
    (void)state;
    struct watched first;
    struct watched second;
    watched_add(&first);
    watched_add(&second);
    first.remove = &second;
    second.remove = &first;
    signal_eventfd(first.watch.fd);
    signal_eventfd(second.watch.fd);
    uint64_t deadline = loop_now(loop) + 5 * NSEC_PER_SEC;
    while (!first.seen.fired && !second.seen.fired && loop_now(loop) < deadline)
        loop_poll(loop);
    assert_int_equal(first.calls + second.calls, 1);
    loop_watch_remove(loop, first.calls == 1 ? &first.watch : &second.watch);
    close(first.watch.fd);
    close(second.watch.fd);
}

static void a_watch_can_change(void **state)
{
    (void)state;
    struct watched watched;
    watched_add(&watched);
    assert_int_equal(loop_watch_change(loop, &watched.watch, 0), 0);
    signal_eventfd(watched.watch.fd);
    assert_int_equal(await_until(loop, &watched.seen, loop_now(loop) + NSEC_PER_MSEC), -ETIMEDOUT);
    assert_int_equal(loop_watch_change(loop, &watched.watch, EPOLLIN), 0);
    assert_int_equal(await_until(loop, &watched.seen, loop_now(loop) + 5 * NSEC_PER_SEC), 0);
    watched_remove(&watched);
    struct watch closed = {.fd = watched.watch.fd, .ready = watched_ready};
    assert_int_equal(loop_watch_add(loop, &closed, EPOLLIN), -EBADF);
}

struct alarm {
    struct timer timer;
    uint64_t fired_at;
};

static void alarm_fire(struct timer *timer)
{
    struct alarm *alarm = container_of(timer, struct alarm, timer);
    alarm->fired_at = loop_now(loop);
    loop_stop(loop);
}

static void timers_fire_under_load(void **state)
{
    (void)state;
    struct probe probe = {.work = 1, .spin_ns = 2 * NSEC_PER_USEC};
    probe_add(&probe);
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < 20; i++) {
        struct alarm alarm = {.timer.fire = alarm_fire};
        uint64_t deadline = loop_now(loop) + NSEC_PER_MSEC;
        timer_set(loop, &alarm.timer, deadline);
        loop_run(loop);
        assert_true(alarm.fired_at >= deadline);
        if (alarm.fired_at - deadline < least)
            least = alarm.fired_at - deadline;
    }
    /* The machine may be busy at times, but not always. */
    assert_true(least < 100 * NSEC_PER_USEC);
    loop_reactor_remove(loop, &probe.reactor);
}

static void busy_time_is_accounted(void **state)
{
    (void)state;
    struct probe probe = {.work = 1, .spin_ns = NSEC_PER_MSEC};
    probe_add(&probe);
    struct loop_statistics before;
    struct loop_statistics after;
    loop_poll(loop);
    loop_statistics(loop, &before);
    for (int i = 0; i < 5; i++)
        loop_poll(loop);
    loop_statistics(loop, &after);
    assert_true(after.busy_ns - before.busy_ns >= 5 * NSEC_PER_MSEC);
    assert_int_equal(after.polls - before.polls, 5);
    assert_true(after.idle_ns - before.idle_ns < NSEC_PER_MSEC);
    loop_reactor_remove(loop, &probe.reactor);
}

/* In a callback, changes are dated with the moment that it last read, and no other. */
struct dater {
    struct reactor reactor;
    uint64_t now[2];
    int64_t real[3];
    bool done;
};

static int date(struct reactor *reactor)
{
    struct dater *dater = container_of(reactor, struct dater, reactor);
    if (dater->done)
        return 0;
    dater->now[0] = loop_now(loop);
    dater->real[0] = loop_realtime(loop);
    while (clock_now() - dater->now[0] < 100 * NSEC_PER_USEC)
        continue;
    dater->real[1] = loop_realtime(loop);
    dater->now[1] = loop_now(loop);
    dater->real[2] = loop_realtime(loop);
    dater->done = true;
    return 1;
}

static void real_time_follows_the_clock(void **state)
{
    (void)state;
    int64_t before = clock_realtime();
    int64_t told = loop_realtime(loop);
    assert_in_range(told, before - (int64_t)NSEC_PER_USEC, clock_realtime() + (int64_t)NSEC_PER_USEC);
    struct dater dater = {.reactor = {.name = "dater", .poll = date, .fd = -1}};
    assert_int_equal(loop_reactor_add(loop, &dater.reactor), 0);
    before = clock_realtime();
    loop_poll(loop);
    loop_reactor_remove(loop, &dater.reactor);
    assert_in_range(dater.real[0], before - (int64_t)NSEC_PER_USEC, clock_realtime());
    if (dater.now[1] - dater.now[0] < NSEC_PER_MSEC) /* the offset has not been measured in between */
        assert_int_equal(dater.real[1], dater.real[0]);
    assert_in_range(dater.real[2] - dater.real[0], 100 * NSEC_PER_USEC - NSEC_PER_USEC,
                    dater.now[1] - dater.now[0] + NSEC_PER_USEC);
}

static void simulated_clock_jumps_to_timers(void **state)
{
    (void)state;
    assert_true(loop_simulated(loop));
    assert_int_equal(loop_now(loop), NSEC_PER_SEC);
    int64_t real = loop_realtime(loop);
    struct alarm alarm = {.timer.fire = alarm_fire};
    timer_set(loop, &alarm.timer, 3601 * NSEC_PER_SEC);
    uint64_t start = clock_now();
    loop_run(loop);
    assert_true(clock_now() - start < NSEC_PER_SEC);
    assert_int_equal(alarm.fired_at, 3601 * NSEC_PER_SEC);
    assert_int_equal(loop_realtime(loop) - real, 3600 * NSEC_PER_SEC);
    assert_int_equal(loop_poll(loop), 0);
    loop_run(loop); /* returns, since nothing can happen */
}

static void simulated_clock_stands_while_there_is_work(void **state)
{
    (void)state;
    struct probe probe = {.work = 1};
    probe_add(&probe);
    struct alarm alarm = {.timer.fire = alarm_fire};
    timer_set(loop, &alarm.timer, 2 * NSEC_PER_SEC);
    for (int i = 0; i < 100; i++)
        loop_poll(loop);
    assert_int_equal(loop_now(loop), NSEC_PER_SEC);
    probe.work = 0;
    assert_int_equal(loop_poll(loop), 1);
    assert_int_equal(alarm.fired_at, 2 * NSEC_PER_SEC);
    loop_reactor_remove(loop, &probe.reactor);
}

static void a_simulation_has_no_descriptors(void **state)
{
    (void)state;
    struct watch watch = {.fd = 0, .ready = watched_ready};
    assert_int_equal(loop_watch_add(loop, &watch, EPOLLIN), -ENOSYS);
}

/* Many tasks that sleep, contend and signal at random; the hash of what each did when, in order. */
struct simulation {
    struct loop *loop;
    struct semaphore semaphore;
    struct wait_group group;
    uint64_t trace;
    uint64_t spawned;
};

static void simulation_note(struct simulation *simulation, uint64_t what)
{
    simulation->trace = hash_mix(simulation->trace ^ what ^ loop_now(simulation->loop) << 20);
}

static void simulated_worker(void *argument)
{
    struct simulation *simulation = argument;
    uint64_t id = simulation->spawned++;
    struct random *random = loop_random(simulation->loop);
    for (int step = 0; step < 50; step++) {
        /* Short times, so that many deadlines coincide. */
        task_sleep(simulation->loop, random_below(random, 8));
        uint64_t deadline = loop_now(simulation->loop) + 1 + random_below(random, 8);
        int status = semaphore_acquire(simulation->loop, &simulation->semaphore, 1 + id % 3, deadline);
        simulation_note(simulation, id << 8 | (uint64_t)(status == 0));
        if (status != 0)
            continue;
        task_sleep(simulation->loop, random_below(random, 4));
        semaphore_release(simulation->loop, &simulation->semaphore, 1 + id % 3);
    }
    wait_group_done(simulation->loop, &simulation->group);
}

static uint64_t simulate(uint64_t seed)
{
    struct simulation simulation = {0};
    struct loop_options options = {.simulated = true, .seed = seed};
    assert_int_equal(loop_create(&options, &simulation.loop), 0);
    semaphore_init(&simulation.semaphore, 6);
    wait_group_init(&simulation.group);
    wait_group_add(&simulation.group, 40);
    for (int i = 0; i < 40; i++)
        assert_int_equal(task_spawn(simulation.loop, simulated_worker, &simulation), 0);
    assert_int_equal(wait_group_wait(simulation.loop, &simulation.group, 0), 0);
    loop_destroy(simulation.loop);
    return simulation.trace;
}

static void same_seed_same_run(void **state)
{
    (void)state;
    assert_int_equal(simulate(7), simulate(7));
    assert_int_not_equal(simulate(7), simulate(8));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define SIMULATED(name) cmocka_unit_test_setup_teardown(name, setup_simulated, teardown)
    const struct CMUnitTest tests[] = {
        CASE(reactors_are_polled_and_counted),
        CASE(reactors_may_be_removed_by_a_poll),
        CASE(run_returns_after_stop),
        CASE(idle_waiting_blocks),
        CASE(a_busy_arm_prevents_blocking),
        CASE(a_descriptor_ends_blocking),
        CASE(descriptors_are_seen_while_busy),
        CASE(a_removed_watch_is_not_called),
        CASE(a_watch_can_change),
        CASE(timers_fire_under_load),
        CASE(busy_time_is_accounted),
        CASE(real_time_follows_the_clock),
        SIMULATED(simulated_clock_jumps_to_timers),
        SIMULATED(simulated_clock_stands_while_there_is_work),
        SIMULATED(a_simulation_has_no_descriptors),
        cmocka_unit_test(same_seed_same_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

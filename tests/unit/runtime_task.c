/* Tasks run when, where and as often as task.h says: on a simulated loop, so that time costs nothing. */
#include "unit/unit.h"

#include "base/clock.h"
#include "runtime/loop.h"
#include "runtime/task.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

/* ThreadSanitizer knows 8,128 threads and fibers at most; AddressSanitizer's fake stacks take megabytes each.
 */
#ifdef SANITIZED
enum { CROWD = 4000 };
#else
enum { CROWD = 100000 };
#endif

static struct loop *loop;
static char trace[256];

static void note(const char *text)
{
    strncat(trace, text, sizeof(trace) - strlen(trace) - 1);
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

/* One await, for tests to start and interfere with. */
struct waiting {
    struct completion completion;
    uint64_t deadline;
    int status;
    bool ended;
};

static void wait_once(void *argument)
{
    struct waiting *waiting = argument;
    waiting->status = await_until(loop, &waiting->completion, waiting->deadline);
    waiting->ended = true;
}

static void note_and_yield(void *argument)
{
    note(argument);
    task_yield(loop);
    note(argument);
}

static void spawn_runs_at_once_until_it_suspends(void **state)
{
    (void)state;
    assert_null(task_current());
    assert_int_equal(task_spawn(loop, note_and_yield, "a"), 0);
    assert_null(task_current());
    note("|");
    assert_int_equal(task_spawn(loop, note_and_yield, "b"), 0);
    assert_string_equal(trace, "a|b");
    assert_int_equal(loop_poll(loop), 2);
    assert_string_equal(trace, "a|bab");
    assert_int_equal(loop_poll(loop), 0);
}

static void spawn_inner(void *argument)
{
    struct task *self = task_current();
    note("(");
    assert_int_equal(task_spawn(loop, note_and_yield, argument), 0);
    assert_ptr_equal(task_current(), self);
    note(")");
    task_yield(loop);
    note("!");
}

static void spawn_nests(void **state)
{
    (void)state;
    assert_int_equal(task_spawn(loop, spawn_inner, "i"), 0);
    assert_string_equal(trace, "(i)");
    while (loop_poll(loop) != 0)
        continue;
    assert_string_equal(trace, "(i)i!");
}

static void descend(void *argument)
{
    unsigned *depth = argument;
    if (++*depth < 500)
        assert_int_equal(task_spawn(loop, descend, depth), 0);
    task_yield(loop);
    --*depth;
}

static void spawn_nests_deeply(void **state)
{
    (void)state;
    unsigned depth = 0;
    assert_int_equal(task_spawn(loop, descend, &depth), 0);
    assert_int_equal(depth, 500);
    assert_int_equal(loop_poll(loop), 500);
    assert_int_equal(depth, 0);
}

static void spawn_later_waits_for_its_turn(void **state)
{
    (void)state;
    struct task *task = NULL;
    assert_int_equal(task_spawn_later(loop, note_and_yield, "l", &task), 0);
    assert_non_null(task);
    assert_string_equal(trace, "");
    assert_int_equal(loop_poll(loop), 1);
    assert_string_equal(trace, "l");
    assert_int_equal(loop_poll(loop), 1);
    assert_string_equal(trace, "ll");
}

static void await_returns_the_status(void **state)
{
    (void)state;
    struct waiting waiting = {0};
    task_spawn(loop, wait_once, &waiting);
    assert_false(waiting.ended);
    completion_fire(&waiting.completion, -EIO);
    assert_false(waiting.ended);
    loop_poll(loop);
    assert_true(waiting.ended);
    assert_int_equal(waiting.status, -EIO);
}

static void await_of_fired_does_not_suspend(void **state)
{
    (void)state;
    struct waiting waiting = {0};
    completion_fire(&waiting.completion, 7);
    task_spawn(loop, wait_once, &waiting);
    assert_true(waiting.ended);
    assert_int_equal(waiting.status, 7);
    assert_int_equal(await(loop, &waiting.completion), 7);
}

static void notified(struct completion *completion)
{
    note(completion->status == 3 ? "notified" : "wrong");
    memset(completion, 0, sizeof(*completion));
}

static void notify_is_called_instead(void **state)
{
    (void)state;
    struct completion completion = {.notify = notified};
    completion_fire(&completion, 3);
    assert_string_equal(trace, "notified");
    assert_false(completion.fired);
}

static void fire_after_a_while(void *argument)
{
    task_sleep(loop, NSEC_PER_SEC);
    completion_fire(argument, 5);
}

static void await_outside_drives_the_loop(void **state)
{
    (void)state;
    struct completion completion = COMPLETION_INIT;
    task_spawn(loop, fire_after_a_while, &completion);
    uint64_t start = loop_now(loop);
    assert_int_equal(await(loop, &completion), 5);
    assert_int_equal(loop_now(loop) - start, NSEC_PER_SEC);
}

static void await_outside_times_out(void **state)
{
    (void)state;
    struct completion completion = COMPLETION_INIT;
    uint64_t deadline = loop_now(loop) + NSEC_PER_MSEC;
    assert_int_equal(await_until(loop, &completion, deadline), -ETIMEDOUT);
    assert_int_equal(loop_now(loop), deadline);
    assert_int_equal(task_sleep(loop, NSEC_PER_MSEC), 0);
    assert_int_equal(loop_now(loop), deadline + NSEC_PER_MSEC);
}

static void await_of_the_impossible_is_a_deadlock(void **state)
{
    (void)state;
    struct waiting waiting = {0};
    struct completion never = COMPLETION_INIT;
    task_spawn(loop, wait_once, &waiting);
    assert_int_equal(await(loop, &never), -EDEADLK);
    completion_fire(&waiting.completion, 0);
    loop_poll(loop);
    assert_true(waiting.ended);
}

static void await_times_out_and_detaches(void **state)
{
    (void)state;
    struct waiting waiting = {.deadline = loop_now(loop) + NSEC_PER_SEC};
    task_spawn(loop, wait_once, &waiting);
    assert_int_equal(loop_poll(loop), 2); /* the timer and the task */
    assert_true(waiting.ended);
    assert_int_equal(waiting.status, -ETIMEDOUT);
    assert_null(waiting.completion.waiter);
    completion_fire(&waiting.completion, 0);
    assert_int_equal(loop_poll(loop), 0);
}

static void fire_in_time_clears_the_timer(void **state)
{
    (void)state;
    struct waiting waiting = {.deadline = loop_now(loop) + NSEC_PER_SEC};
    uint64_t start = loop_now(loop);
    task_spawn(loop, wait_once, &waiting);
    completion_fire(&waiting.completion, 1);
    loop_poll(loop);
    assert_int_equal(waiting.status, 1);
    assert_int_equal(loop_poll(loop), 0);
    assert_int_equal(loop_now(loop), start);
}

static void wait_twice(void *argument)
{
    struct waiting *waiting = argument;
    wait_once(&waiting[0]);
    wait_once(&waiting[1]);
}

static void cancel_ends_the_await(void **state)
{
    (void)state;
    struct waiting waiting[2] = {{.deadline = loop_now(loop) + NSEC_PER_SEC}};
    struct task *task;
    task_spawn_later(loop, wait_twice, waiting, &task);
    loop_poll(loop);
    task_cancel(task);
    assert_null(waiting[0].completion.waiter);
    loop_poll(loop);
    assert_true(waiting[0].ended);
    assert_int_equal(waiting[0].status, -ECANCELED);
    assert_false(waiting[1].ended);
    completion_fire(&waiting[1].completion, 2);
    loop_poll(loop);
    assert_int_equal(waiting[1].status, 2);
}

static void cancel_before_it_runs_ends_the_first_await(void **state)
{
    (void)state;
    struct waiting waiting[2] = {0};
    struct task *task;
    task_spawn_later(loop, wait_twice, waiting, &task);
    task_cancel(task);
    loop_poll(loop);
    assert_int_equal(waiting[0].status, -ECANCELED);
    assert_null(waiting[0].completion.waiter);
    completion_fire(&waiting[1].completion, 0);
    loop_poll(loop);
    assert_true(waiting[1].ended);
}

static void cancel_after_fire_comes_with_the_next_await(void **state)
{
    (void)state;
    struct waiting waiting[2] = {0};
    struct task *task;
    task_spawn_later(loop, wait_twice, waiting, &task);
    loop_poll(loop);
    completion_fire(&waiting[0].completion, 9);
    task_cancel(task);
    loop_poll(loop);
    assert_int_equal(waiting[0].status, 9);
    assert_int_equal(waiting[1].status, -ECANCELED);
}

static void fire_after_cancel_is_ignored(void **state)
{
    (void)state;
    struct waiting waiting[2] = {0};
    struct task *task;
    task_spawn_later(loop, wait_twice, waiting, &task);
    loop_poll(loop);
    task_cancel(task);
    completion_fire(&waiting[0].completion, 9);
    loop_poll(loop);
    assert_int_equal(waiting[0].status, -ECANCELED);
    completion_fire(&waiting[1].completion, 9);
    loop_poll(loop);
    assert_int_equal(waiting[1].status, 9);
}

static void sleep_then_yield(void *argument)
{
    int *statuses = argument;
    statuses[0] = task_sleep(loop, NSEC_PER_SEC);
    statuses[1] = task_yield(loop);
    statuses[2] = task_yield(loop);
}

static void cancel_ends_sleep_and_yield(void **state)
{
    (void)state;
    int statuses[3] = {1, 1, 1};
    struct task *task;
    uint64_t start = loop_now(loop);
    task_spawn_later(loop, sleep_then_yield, statuses, &task);
    loop_poll(loop);
    task_cancel(task);
    loop_poll(loop);
    assert_int_equal(statuses[0], -ECANCELED);
    task_cancel(task);
    loop_poll(loop);
    assert_int_equal(statuses[1], -ECANCELED);
    loop_poll(loop);
    assert_int_equal(statuses[2], 0);
    assert_int_equal(loop_now(loop), start);
}

static void count_and_wait(void *argument)
{
    struct waiting *waiting = argument;
    char touched[512];
    memset(touched, 1, sizeof(touched));
    waiting->deadline = 0;
    wait_once(waiting);
    if (touched[511] != 1)
        waiting->status = -EIO;
}

/* Without guards inside a mapping (Linux before 6.13), a process has mappings for 32,000 stacks. */
static bool guards_cost_no_mapping(void)
{
    enum { GUARD_INSTALL = 102 };
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *probe = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(probe, MAP_FAILED);
    bool works = madvise(probe, page, GUARD_INSTALL) == 0;
    munmap(probe, page);
    return works;
}

static void a_hundred_thousand_tasks_wait_at_once(void **state)
{
    (void)state;
    const unsigned count = guards_cost_no_mapping() || CROWD < 30000 ? CROWD : 30000;
    struct waiting *waiting = test_calloc(count, sizeof(*waiting));
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(task_spawn(loop, count_and_wait, &waiting[i]), 0);
    for (unsigned i = 0; i < count; i++)
        completion_fire(&waiting[i].completion, (int)i);
    assert_int_equal(loop_poll(loop), count);
    for (unsigned i = 0; i < count; i++) {
        assert_true(waiting[i].ended);
        assert_int_equal(waiting[i].status, i);
    }
    test_free(waiting);
}

static void remember_stack(void *argument)
{
    char here;
    *(uintptr_t *)argument = (uintptr_t)&here;
}

static void stacks_are_reused(void **state)
{
    (void)state;
    uintptr_t first;
    uintptr_t again;
    task_spawn(loop, remember_stack, &first);
    for (unsigned i = 0; i < 1000; i++) {
        task_spawn(loop, remember_stack, &again);
        assert_int_equal(first, again);
    }
}

static void spawn_until_refused(void *argument)
{
    struct completion *gate = argument;
    await(loop, gate);
}

/* In a child, because the limit on address space cannot be raised again. */
static void too_many_tasks_are_refused(void **state)
{
    (void)state;
#ifdef SANITIZED
    skip(); /* sanitizers reserve terabytes of address space */
#endif
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, STDERR_FILENO);
        struct rlimit limit = {.rlim_cur = 256u << 20, .rlim_max = 256u << 20};
        if (setrlimit(RLIMIT_AS, &limit) != 0)
            _exit(2);
        static struct completion gates[10000];
        unsigned count = 0;
        int status = 0;
        while (count < 10000 && (status = task_spawn(loop, spawn_until_refused, &gates[count])) == 0)
            count++;
        if (status != -ENOMEM || count < 100)
            _exit(3);
        /* The others are unharmed. */
        for (unsigned i = 0; i < count; i++)
            completion_fire(&gates[i], 0);
        _exit(loop_poll(loop) == (int)count ? 0 : 4);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* Uses the result of the inner call, so that the calls nest in truth. */
static __attribute__((noinline)) unsigned recurse(volatile unsigned *outer)
{
    volatile unsigned here[1024];
    here[0] = outer[0] - 1;
    return here[0] == 0 ? 0 : recurse(here) + here[0];
}

static void overflow_stack(void *argument)
{
    volatile unsigned depth[1] = {1000};
    *(volatile unsigned *)argument = recurse(depth);
}

static void a_stack_overflow_is_fatal(void **state)
{
    (void)state;
#ifdef SANITIZED
    skip(); /* sanitizers end the process in their own way */
#endif
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit none = {0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGSEGV, SIG_DFL);
        unsigned result;
        task_spawn(loop, overflow_stack, &result);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
}

static void compute(void *argument)
{
    double *value = argument;
    double kept = *value;
    for (int i = 0; i < 10; i++) {
        double before = kept * 1.5;
        task_yield(loop);
        kept = before + 1.0;
    }
    *value = kept;
}

static void registers_survive_a_switch(void **state)
{
    (void)state;
    double values[8];
    double expected[8];
    for (int i = 0; i < 8; i++) {
        values[i] = expected[i] = i;
        for (int step = 0; step < 10; step++)
            expected[i] = expected[i] * 1.5 + 1.0;
    }
    for (int i = 0; i < 8; i++)
        task_spawn(loop, compute, &values[i]);
    while (loop_poll(loop) != 0)
        continue;
    for (int i = 0; i < 8; i++)
        assert_true(values[i] == expected[i]);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(spawn_runs_at_once_until_it_suspends),
        CASE(spawn_nests),
        CASE(spawn_nests_deeply),
        CASE(spawn_later_waits_for_its_turn),
        CASE(await_returns_the_status),
        CASE(await_of_fired_does_not_suspend),
        CASE(notify_is_called_instead),
        CASE(await_outside_drives_the_loop),
        CASE(await_outside_times_out),
        CASE(await_of_the_impossible_is_a_deadlock),
        CASE(await_times_out_and_detaches),
        CASE(fire_in_time_clears_the_timer),
        CASE(cancel_ends_the_await),
        CASE(cancel_before_it_runs_ends_the_first_await),
        CASE(cancel_after_fire_comes_with_the_next_await),
        CASE(fire_after_cancel_is_ignored),
        CASE(cancel_ends_sleep_and_yield),
        CASE(a_hundred_thousand_tasks_wait_at_once),
        CASE(stacks_are_reused),
        CASE(too_many_tasks_are_refused),
        CASE(a_stack_overflow_is_fatal),
        CASE(registers_survive_a_switch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

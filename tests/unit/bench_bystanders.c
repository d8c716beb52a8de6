/* Who else used the processors: a process that spins is found, and one that takes part is not. */
#include "unit/unit.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/bystanders.h"

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Processor time of this thread: what it gets on a busy machine may be little. */
static double used(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Uses a second of a processor and waits to be ended. Returns its process id once that is so. */
static pid_t spin(const char *name)
{
    int done[2];
    char byte;
    assert_int_equal(pipe(done), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_NAME, name);
        double end = now() + 30;
        while (used() < 1 && now() < end)
            ;
        (void)!write(done[1], "x", 1);
        pause();
        _exit(0);
    }
    close(done[1]);
    assert_int_equal(read(done[0], &byte, 1), 1);
    close(done[0]);
    return pid;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void other_work_is_found(void **state)
{
    (void)state;
    struct bystanders sum = {0};
    struct bystanders_look *look = bystanders_begin();
    assert_non_null(look);
    pid_t pid = spin("spin) 9 (\033x");
    bystanders_end(look, NULL, &sum);
    end(pid);
    assert_true(sum.seconds >= 0.9);
    assert_true(sum.others >= 0.9);
    assert_true(sum.most >= 0.9);
    if (sum.pid == pid) /* nobody else used more */
        assert_string_equal(sum.program, "spin) 9 (?x");
}

static void who_takes_part_is_none(void **state)
{
    (void)state;
    struct bystanders sum = {0};
    struct bystanders_look *look = bystanders_begin();
    pid_t pid = spin("peerd");
    bystanders_end(look, "peerd", &sum);
    end(pid);
    assert_true(sum.pid != pid);
    look = bystanders_begin();
    pid = spin("benchfsd");
    bystanders_end(look, NULL, &sum);
    end(pid);
    assert_true(sum.pid != pid);
}

static uint32_t warnings_of(struct bystanders sum, const char *what)
{
    struct result result = {0};
    bystanders_warn(&sum, &result);
    uint32_t count = result.warning_count;
    if (what != NULL) {
        assert_true(count > 0);
        assert_non_null(strstr(result.warnings[count - 1], what));
    }
    result_free(&result);
    return count;
}

static void warns_of_much(void **state)
{
    (void)state;
    struct bystanders sum = {
        .seconds = 2, .others = 0.4, .stolen = 0.08, .most = 0.4, .pid = 7, .program = "other"};
    assert_int_equal(warnings_of(sum, NULL), 0);
    sum.others = 1.9;
    assert_int_equal(warnings_of(sum, "about 1.0 processors meanwhile, most of it other (process 7)"), 1);
    sum.pid = 0;
    assert_int_equal(warnings_of(sum, "about 1.0 processors meanwhile"), 1);
    sum.stolen = 0.2;
    assert_int_equal(warnings_of(sum, "the host of this virtual machine"), 2);
    sum.seconds = 0.9;
    assert_int_equal(warnings_of(sum, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_work_is_found),
        cmocka_unit_test(who_takes_part_is_none),
        cmocka_unit_test(warns_of_much),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Servers of other targets stand still in a turn, go on in their own and afterwards. */
#include "unit/unit.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/suspension.h"

static pid_t start(const char *name)
{
    int named[2];
    char byte;
    assert_int_equal(pipe(named), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_NAME, name);
        (void)!write(named[1], "x", 1);
        for (;;)
            pause();
    }
    close(named[1]);
    assert_int_equal(read(named[0], &byte, 1), 1);
    close(named[0]);
    return pid;
}

static bool stands_still(pid_t pid)
{
    char path[64], line[256] = "";
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof(line), file));
    fclose(file);
    return strrchr(line, ')')[2] == 'T';
}

/* A signal takes effect a little later. */
static bool comes_to(pid_t pid, bool still)
{
    for (int i = 0; i < 100000 && stands_still(pid) != still; i++)
        ;
    return stands_still(pid) == still;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void others_stand_still(void **state)
{
    (void)state;
    pid_t chfs = start("chfsd"), finchfs = start("finchfsd"), other = start("finchfsd2"),
          held = start("chfsd");
    kill(held, SIGSTOP);
    assert_true(comes_to(held, true));
    assert_int_equal(suspension_turn("finchfsd"), 0);
    assert_true(comes_to(chfs, true));
    assert_false(stands_still(finchfs));
    assert_false(stands_still(other));
    assert_int_equal(suspension_turn(NULL), 0);
    assert_true(comes_to(finchfs, true));
    assert_true(comes_to(chfs, true));
    assert_int_equal(suspension_turn("chfsd"), 0);
    assert_true(comes_to(chfs, false));
    assert_true(comes_to(finchfs, true));
    suspension_end();
    assert_true(comes_to(finchfs, false));
    assert_true(stands_still(held)); /* not by us */
    end(chfs);
    end(finchfs);
    end(other);
    end(held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(others_stand_still)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

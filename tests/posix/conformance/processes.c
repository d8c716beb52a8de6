/* Children and turns. Shared memory is anonymous, turns are futexes: nothing of this touches a file system.
 */
#include "processes.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core.h"

void *shared_allocate(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        perror("shared memory");
        exit(99);
    }
    return memory;
}

void turn_set(struct turn *turn, int number)
{
    atomic_store(&turn->number, number);
    syscall(SYS_futex, &turn->number, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void turn_advance(struct turn *turn)
{
    atomic_fetch_add(&turn->number, 1);
    syscall(SYS_futex, &turn->number, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

bool turn_wait(struct turn *turn, int number)
{
    struct timespec now, end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += TURN_SECONDS;
    for (;;) {
        int seen = atomic_load(&turn->number);
        if (seen >= number)
            return true;
        core_leave_if_skipped(); /* whoever was to take its turn may have left */
        struct timespec pause = {.tv_nsec = 100 * 1000 * 1000};
        syscall(SYS_futex, &turn->number, FUTEX_WAIT, seen, &pause, NULL, 0);
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec > end.tv_sec) {
            core_failed(__FILE__, __LINE__, "nobody came to turn %d in %d s", number, TURN_SECONDS);
            return false;
        }
    }
}

#define CHILDREN_MAX 32
static pid_t children[CHILDREN_MAX]; /* that nobody has waited for yet; 0: free */

static void remember(pid_t pid)
{
    for (unsigned i = 0; i < CHILDREN_MAX; i++)
        if (children[i] == 0) {
            children[i] = pid;
            return;
        }
}

static void forget(pid_t pid)
{
    for (unsigned i = 0; i < CHILDREN_MAX; i++)
        if (children[i] == pid)
            children[i] = 0;
}

void core_end_children(void)
{
    for (unsigned i = 0; i < CHILDREN_MAX; i++)
        if (children[i] != 0)
            child_kill(children[i]);
}

pid_t child_start(void (*run)(void *argument), void *argument)
{
    fflush(stdout);
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        memset(children, 0, sizeof children); /* those are the parent's */
        core_child_begin();
        run(argument);
        core_child_end();
        _exit(0);
    }
    if (pid < 0)
        core_failed(__FILE__, __LINE__, "fork: %s", strerror(errno));
    else
        remember(pid);
    return pid;
}

static bool ended_within(pid_t pid, int seconds)
{
    int watch = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd waiting = {.fd = watch, .events = POLLIN};
    int ready = watch < 0 ? 0 : poll(&waiting, 1, seconds * 1000);
    if (watch >= 0)
        syscall(SYS_close, watch); /* close may be the preload library's */
    return ready > 0;
}

void child_end(pid_t pid)
{
    int status;
    if (pid <= 0)
        return;
    if (!ended_within(pid, TURN_SECONDS)) {
        kill(pid, SIGKILL);
        core_failed(__FILE__, __LINE__, "a child did not end in %d s", TURN_SECONDS);
    }
    forget(pid);
    if (waitpid(pid, &status, 0) == pid && status != 0)
        core_failed(__FILE__, __LINE__, "a child ended with status 0x%x", status);
    core_leave_if_skipped();
}

void child_kill(pid_t pid)
{
    if (pid <= 0)
        return;
    forget(pid);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

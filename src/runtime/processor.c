/* A virtual machine's kernel takes a processor that is halted for one that its host has taken away
 * (vcpu_is_preempted), so a process that is woken is put beside the one that wakes it even if another
 * processor is idle. Two that answer each other there take turns on one processor, each yielding to the
 * other, until the scheduler balances them, which is some milliseconds and many requests later. */
#include "runtime/processor.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

/* Threads that run or could; -1: not known. */
static long runnable(void)
{
    long count = -1;
    FILE *file = fopen("/proc/loadavg", "re");
    if (file == NULL)
        return -1;
    if (fscanf(file, "%*s %*s %*s %ld/", &count) != 1)
        count = -1;
    fclose(file);
    return count;
}

static long processors(void)
{
    static _Atomic long known;
    long count = atomic_load_explicit(&known, memory_order_relaxed);
    if (count == 0) {
        count = sysconf(_SC_NPROCESSORS_ONLN);
        atomic_store_explicit(&known, count, memory_order_relaxed);
    }
    return count;
}

int processor_move(void)
{
    cpu_set_t allowed, others;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
        return -errno;
    int here = sched_getcpu();
    others = allowed;
    if (here >= 0)
        CPU_CLR((size_t)here, &others);
    long count = runnable();
    if (here < 0 || CPU_COUNT(&others) == 0 || count < 0 || count > processors())
        return 0;
    if (sched_setaffinity(0, sizeof(others), &others) != 0)
        return -errno;
    return sched_setaffinity(0, sizeof(allowed), &allowed) != 0 ? -errno : 1;
}

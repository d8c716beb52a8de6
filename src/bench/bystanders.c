/* The kernel counts processor time in ticks of 10 ms: of everything since the start in /proc/stat, of each
 * process in /proc/PID/stat. What is neither idle nor ours nor a participant's was somebody else's, including
 * processes that began and ended meanwhile; only those that lived all the time can be named.
 *
 * A look reads a small file for each process, some milliseconds in all, outside of what is timed. */
#include "bench/bystanders.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"

#define PROCESSES_MAX 8192u
#define SHORTEST 1.0     /* seconds: 100 ticks */
#define OTHERS_MUCH 0.25 /* of a processor */
#define STOLEN_MUCH 0.05

struct bystanders_look {
    uint64_t time; /* ns */
    double busy, stolen, own;
    uint32_t count;
    struct process processes[PROCESSES_MAX];
};

/* Of all processors since the start, in seconds. */
static bool read_totals(double *busy, double *stolen)
{
    unsigned long long user, nice, system, idle, wait, interrupts, soft, steal;
    double tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
    FILE *file = fopen("/proc/stat", "re");
    if (file == NULL)
        return false;
    bool read = fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle,
                       &wait, &interrupts, &soft, &steal) == 8;
    fclose(file);
    if (!read)
        return false;
    *busy = (double)(user + nice + system) * tick;
    *stolen = (double)steal * tick;
    return true;
}

static double seconds_of(const struct timeval *time)
{
    return (double)time->tv_sec + (double)time->tv_usec / 1e6;
}

/* Of this process and of children that ended. */
static double own_time(void)
{
    struct rusage self, children;
    getrusage(RUSAGE_SELF, &self);
    getrusage(RUSAGE_CHILDREN, &children);
    return seconds_of(&self.ru_utime) + seconds_of(&self.ru_stime) + seconds_of(&children.ru_utime) +
           seconds_of(&children.ru_stime);
}

static int take(void *argument, const struct process *process)
{
    struct bystanders_look *look = argument;
    if (look->count == PROCESSES_MAX)
        return -E2BIG;
    look->processes[look->count++] = *process;
    return 0;
}

struct bystanders_look *bystanders_begin(void)
{
    struct bystanders_look *look = calloc(1, sizeof(*look));
    int status = look == NULL ? -ENOMEM : process_each(take, look);
    if ((status != 0 && status != -E2BIG) || !read_totals(&look->busy, &look->stolen)) {
        free(look);
        return NULL;
    }
    look->own = own_time();
    look->time = clock_now();
    return look;
}

static const struct process *find(const struct bystanders_look *look, const struct process *process)
{
    for (uint32_t i = 0; i < look->count; i++) {
        if (look->processes[i].pid == process->pid)
            return look->processes[i].started == process->started ? &look->processes[i] : NULL;
    }
    return NULL;
}

static bool takes_part(const struct process *process, const char *own_program, const char *server)
{
    return process->kernel || strncmp(process->program, "benchfsd", PROCESS_PROGRAM - 1) == 0 ||
           strncmp(process->program, own_program, PROCESS_PROGRAM - 1) == 0 ||
           (server != NULL && strncmp(process->program, server, PROCESS_PROGRAM - 1) == 0);
}

void bystanders_end(struct bystanders_look *look, const char *server, struct bystanders *sum)
{
    struct process self;
    struct bystanders_look *now = look == NULL ? NULL : bystanders_begin();
    if (now == NULL || !process_read(getpid(), &self)) {
        free(now);
        free(look);
        return;
    }
    double others = now->busy - look->busy - (now->own - look->own);
    for (uint32_t i = 0; i < now->count; i++) {
        const struct process *process = &now->processes[i], *before = find(look, process);
        double used = process->used - (before == NULL ? 0 : before->used);
        if (process->pid == self.pid)
            continue; /* in own */
        if (takes_part(process, self.program, server)) {
            others -= used;
        } else if (used > sum->most) {
            sum->most = used;
            sum->pid = process->pid;
            memcpy(sum->program, process->program, sizeof(sum->program));
        }
    }
    sum->seconds += (double)(now->time - look->time) / 1e9;
    sum->others += others > 0 ? others : 0;
    sum->stolen += now->stolen - look->stolen;
    free(now);
    free(look);
}

/* To halves: the same warning for results that are alike. */
static double rounded(double value)
{
    return (double)(uint64_t)(2 * value + 0.5) / 2;
}

void bystanders_warn(const struct bystanders *sum, struct result *result)
{
    char most[64] = "";
    if (sum->seconds < SHORTEST)
        return;
    if (sum->pid != 0)
        snprintf(most, sizeof(most), ", most of it %s (process %d)", sum->program, (int)sum->pid);
    if (sum->others > OTHERS_MUCH * sum->seconds)
        result_warn(result, "other processes used about %.1f processors meanwhile%s",
                    rounded(sum->others / sum->seconds), most);
    if (sum->stolen > STOLEN_MUCH * sum->seconds)
        result_warn(result, "the host of this virtual machine took processor time away meanwhile");
}

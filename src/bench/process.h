/* Processes of this host, as the kernel tells of them in /proc. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PROCESS_PROGRAM 16 /* as the kernel keeps names of programs */

struct process {
    pid_t pid;
    uid_t user;
    char program[PROCESS_PROGRAM]; /* printable, cut to size */
    char state;                    /* 'R', 'S', 'T' ... */
    bool kernel;                   /* a thread of the kernel */
    unsigned long long
        started; /* ticks since the host's start: tells processes with one number from each other */
    double used; /* processor time, seconds */
};

/* false: there is none with this number. */
bool process_read(pid_t pid, struct process *process);
/* Calls `each` for every process. Returns 0, -errno when /proc cannot be read, or what `each` returned other
 * than 0, which ends it. */
int process_each(int (*each)(void *argument, const struct process *process), void *argument);

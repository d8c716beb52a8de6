/* Who else used the processors while something was measured: a figure from a machine that was busy with other
 * work says more about that work. Servers that poll, as those of other file systems do when they are not the
 * ones that are measured, count as well.
 */
#pragma once

#include <sys/types.h>

#include "bench/process.h"
#include "bench/result.h"

/* Sums of several looks; zero before the first. */
struct bystanders {
    double seconds; /* that passed */
    double others;  /* processor time of other processes */
    double stolen;  /* time in which the host of this virtual machine ran something else */
    double most;    /* processor time of the process that used most of it in one look */
    pid_t pid;      /* 0: none that still lives */
    char program[PROCESS_PROGRAM];
};

struct bystanders_look;

/* Takes the times of all processes; NULL: they cannot be read, and bystanders_end takes that. */
struct bystanders_look *bystanders_begin(void);
/* Adds what passed since, and frees the look. Not counted are this process, children that it has waited for,
 * processes of the same program, threads of the kernel, BenchFS servers, and the program `server` of the
 * target that is measured (NULL: none). */
void bystanders_end(struct bystanders_look *look, const char *server, struct bystanders *sum);
/* Warns when others used more than a quarter of a processor, or the host more than a twentieth. Silent about
 * times that are too short to tell. */
void bystanders_warn(const struct bystanders *sum, struct result *result);

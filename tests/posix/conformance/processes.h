/* Other processes of a case, and what they share. These work on the host's own calls in every door. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define TURN_SECONDS 20

/* Memory that children share, zeroed; lives until the program ends. */
void *shared_allocate(size_t size);

/* A number that goes up. turn_wait returns true when it is at least `number`, false after TURN_SECONDS (which
 * is a failed assertion of the case). */
struct turn {
    _Atomic int number;
};
void turn_set(struct turn *turn, int number);
void turn_advance(struct turn *turn);
bool turn_wait(struct turn *turn, int number);

/* Runs `run(argument)` in a child process; its assertions count for the case. */
pid_t child_start(void (*run)(void *argument), void *argument);
/* Waits for its end; one that does not end in TURN_SECONDS is killed. Assertion: it ended well. */
void child_end(pid_t pid);
/* kill -9, and waits. */
void child_kill(pid_t pid);

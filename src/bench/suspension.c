/* Which processes serve whom is known by the names of their programs (target_operations.server). They are
 * looked for anew for every turn, since a user may start one meanwhile. Only what was stopped here is told to
 * go on: whoever stopped a server himself has his reasons. */
#include "bench/suspension.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "bench/options.h"
#include "bench/process.h"
#include "bench/target.h"

#define SERVERS_MAX 64u

static pid_t stopped[SERVERS_MAX];
static uint32_t stopped_count;

/* One of this user's. */
static bool is_peer(const struct process *process)
{
    return process->user == geteuid() && (strcmp(process->program, target_chfs.server) == 0 ||
                                          strcmp(process->program, target_finchfs.server) == 0);
}

/* A number may have been given to another process since; that one is left alone. */
static void go_on(const char *server)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < stopped_count; i++) {
        struct process process;
        if (!process_read(stopped[i], &process) || !is_peer(&process))
            continue;
        if (server != NULL && strcmp(process.program, server) != 0)
            stopped[left++] = stopped[i];
        else
            kill(stopped[i], SIGCONT);
    }
    stopped_count = left;
}

/* Unless it is the server whose turn it is (argument: its program, or NULL), or somebody else has stopped it.
 */
static int stop(void *argument, const struct process *process)
{
    const char *server = *(const char **)argument;
    if (process->state == 'T' || !is_peer(process) ||
        (server != NULL && strcmp(process->program, server) == 0))
        return 0;
    if (stopped_count == SERVERS_MAX)
        return -E2BIG;
    if (kill(process->pid, SIGSTOP) == 0)
        stopped[stopped_count++] = process->pid;
    else if (errno != ESRCH)
        return -errno;
    return 0;
}

int suspension_turn(const char *server)
{
    if (server != NULL)
        go_on(server);
    int status = process_each(stop, &server);
    if (status < 0) {
        bench_error("--suspend: cannot stop the servers of other targets: %s", strerror(-status));
        suspension_end();
    }
    return status;
}

void suspension_end(void)
{
    go_on(NULL);
}

/* Phases of benchmarks over a directory of the test's own, with calls that tests can spoil. */
#pragma once

#include "unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/session.h"

static char session_place[64]; /* "posix:/dev/shm/..." */
static struct crew_total session_totals[CREW_PHASES_MAX];

/* Calls of the target, which a test may exchange. */
static struct target_operations session_calls;

static inline int session_setup(void **state)
{
    (void)state;
    strcpy(session_place, "posix:/dev/shm/benchfs-test-XXXXXX");
    assert_non_null(mkdtemp(session_place + 6));
    session_calls = target_posix;
    return 0;
}

/* Nothing may be left. */
static inline int session_teardown(void **state)
{
    (void)state;
    return rmdir(session_place + 6);
}

static inline int session_open_here(struct session *session, struct crew_member *worker)
{
    int status = target_open(session_place, &session->target);
    if (status < 0)
        return status;
    session->worker = worker;
    session->target->operations = &session_calls;
    session->call = &session_calls;
    snprintf(session->directory, sizeof(session->directory), "%s/run", session_place + 6);
    return 0;
}

static inline int session_close(struct session *session, int status)
{
    target_posix.close(session->target);
    return status;
}

/* Runs it in a directory, which must be empty afterwards; returns -ENOTEMPTY otherwise. What a failure leaves
 * is removed. */
static inline int session_run(uint32_t processes, uint32_t threads, uint32_t phases, crew_run run,
                              void *argument)
{
    char directory[128], command[160];
    snprintf(directory, sizeof(directory), "%s/run", session_place + 6);
    assert_int_equal(mkdir(directory, 0755), 0);
    int status = crew_execute(processes, threads, NULL, phases, run, argument, session_totals);
    if (status == 0)
        status = rmdir(directory) == 0 ? 0 : -errno;
    if (status < 0) {
        snprintf(command, sizeof(command), "rm -r %s", directory);
        assert_int_equal(system(command), 0);
    }
    return status;
}

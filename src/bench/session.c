/* Sessions. */
#include "bench/session.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bench/options.h"
#include "bench/suite.h"

static_assert(SESSION_DIRECTORY_MAX >= SUITE_DIRECTORY_SIZE, "a session holds a member's directory");

void session_begin(struct session *session, const struct suite_member *member)
{
    session->worker = member->crew;
    session->target = member->target;
    session->call = member->target->operations;
    snprintf(session->directory, sizeof(session->directory), "%s", member->directory);
}

int session_fail(const struct session *session, const char *what, const char *path, int status)
{
    if (status != -ECANCELED)
        bench_error("target %s%s: %s %s: %s", session->call->scheme, session->target->root, what, path,
                    strerror(-status));
    return status;
}

void session_path(const struct session *session, char path[SESSION_PATH_MAX], const char *format, ...)
{
    va_list arguments;
    int length = snprintf(path, SESSION_PATH_MAX, "%s/", session->directory);
    va_start(arguments, format);
    vsnprintf(path + length, SESSION_PATH_MAX - (size_t)length, format, arguments);
    va_end(arguments);
}

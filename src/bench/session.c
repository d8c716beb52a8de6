/* Sessions. */
#include "bench/session.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bench/options.h"

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

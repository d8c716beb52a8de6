/* Log lines.
 *
 * A line is formatted completely on the stack and handed to the kernel with one write(2) on an O_APPEND
 * descriptor, so lines of several threads and processes never mix, and nothing is lost in a buffer when a
 * process is killed. Text that came from outside may hold line breaks or control characters; they are
 * replaced, so that one event stays one line and nobody can forge another. Lines longer than the buffer are
 * cut.
 *
 * log_open may run while other threads log: the descriptor and the name are replaced, never freed. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_SIZE = 2048, PROGRAM_SIZE = 64 };

enum log_level log_threshold = LOG_INFO;

static char program_name[PROGRAM_SIZE] = "benchfs";
static atomic_int log_descriptor = STDERR_FILENO;

static const char *const level_names[] = {"error", "warning", "info", "debug"};

int log_open(const char *program, const char *path)
{
    int descriptor = STDERR_FILENO;

    if (path != NULL) {
        descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
        if (descriptor < 0)
            return -errno;
    }
    if (program != NULL)
        snprintf(program_name, sizeof program_name, "%s", program);
    int previous = atomic_exchange(&log_descriptor, descriptor);
    if (previous != STDERR_FILENO)
        close(previous);
    return 0;
}

/* snprintf's return value, limited to what the buffer really holds. */
static size_t stored(int printed, size_t size)
{
    if (printed < 0)
        return 0;
    return (size_t)printed < size ? (size_t)printed : size - 1;
}

void log_write(enum log_level level, const char *format, ...)
{
    char line[LINE_SIZE];
    const size_t room = sizeof line - 1; /* the last byte is the line break's */
    int saved_errno = errno;
    struct timespec now;
    struct tm parts;

    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &parts);
    size_t length = strftime(line, room, "%Y-%m-%dT%H:%M:%S", &parts);
    length += stored(snprintf(line + length, room - length, ".%06ld %s %s[%d]: ", now.tv_nsec / 1000,
                              level_names[level], program_name, (int)getpid()),
                     room - length);

    size_t text = length;
    va_list arguments;
    va_start(arguments, format);
    length += stored(vsnprintf(line + length, room - length, format, arguments), room - length);
    va_end(arguments);

    for (size_t i = text; i < length; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    }
    line[length++] = '\n';

    ssize_t written;
    do {
        written = write(atomic_load(&log_descriptor), line, length);
    } while (written < 0 && errno == EINTR);
    errno = saved_errno;
}

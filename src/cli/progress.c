/* The progress line is redrawn at most ten times a second and leaves no trace when the work is done. */
#include "cli/progress.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define BAR_WIDTH 30
#define INTERVAL (100 * NSEC_PER_MSEC)

static struct {
    bool active;
    bool drawn;
    uint64_t started;
    uint64_t last;
    uint64_t total_files, total_bytes;
    uint64_t files, bytes;
} progress;

int progress_visible(void)
{
    return isatty(STDERR_FILENO);
}

void progress_begin(uint64_t total_files, uint64_t total_bytes)
{
    clock_prepare();
    memset(&progress, 0, sizeof(progress));
    progress.active = progress_visible();
    progress.total_files = total_files;
    progress.total_bytes = total_bytes;
    progress.started = clock_now();
    progress.last = progress.started;
}

static void draw(uint64_t now)
{
    char bar[BAR_WIDTH + 1];
    uint64_t total = progress.total_bytes;
    uint64_t part = total == 0 || progress.bytes >= total ? BAR_WIDTH : progress.bytes * BAR_WIDTH / total;
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', part);
    bar[BAR_WIDTH] = '\0';
    uint64_t elapsed = now - progress.started;
    double rate = elapsed == 0 ? 0 : (double)progress.bytes * 1e3 / (double)elapsed;
    fprintf(stderr, "\r\033[K[%s] %" PRIu64 "/%" PRIu64 " files, %.1f of %.1f MB, %.0f MB/s", bar,
            progress.files, progress.total_files, (double)progress.bytes / 1e6, (double)total / 1e6, rate);
    fflush(stderr);
    progress.drawn = true;
}

/* Whether it is time to write something again. */
static bool is_due(void)
{
    uint64_t now = progress.active ? clock_now() : 0;
    if (!progress.active || now - progress.last < INTERVAL)
        return false;
    progress.last = now;
    return true;
}

void progress_add(uint64_t files, uint64_t bytes)
{
    progress.files += files;
    progress.bytes += bytes;
    if (is_due())
        draw(progress.last);
}

void progress_note(const char *format, ...)
{
    if (!is_due())
        return;
    va_list arguments;
    va_start(arguments, format);
    fputs("\r\033[K", stderr);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fflush(stderr);
    progress.drawn = true;
}

void progress_clear(void)
{
    if (!progress.drawn)
        return;
    fputs("\r\033[K", stderr);
    progress.drawn = false;
}

void progress_end(void)
{
    progress_clear();
    progress.active = false;
}

/* Log lines to standard error or a file: time, level, program, text. One line per event, written with one
 * write(2). The first function that knows an error logs it; the others only pass it on. */
#pragma once

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

extern enum log_level log_threshold;

/* Names the program in every line, and sends lines to the file at path (NULL: standard error).
 * Returns 0 or -errno when the file cannot be opened; then nothing changes. */
int log_open(const char *program, const char *path);

void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_at(level, ...)                                                                                   \
    do {                                                                                                     \
        if ((level) <= log_threshold)                                                                        \
            log_write((level), __VA_ARGS__);                                                                 \
    } while (0)
#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_at(LOG_WARNING, __VA_ARGS__)
#define log_info(...) log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)

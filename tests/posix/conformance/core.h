/* Between conformance.c and processes.c. */
#pragma once

void core_failed(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* First and last thing in a child. */
void core_child_begin(void);
void core_child_end(void);

/* Between conformance.c and processes.c. */
#pragma once

void core_failed(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* First and last thing in a child. */
void core_child_begin(void);
void core_child_end(void);
/* Leaves the case when it is skipped, by whatever process. */
void core_leave_if_skipped(void);
/* Kills children that the case has left alone. */
void core_end_children(void);

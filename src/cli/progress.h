/* A progress line on standard error, only where that is a terminal. */
#pragma once

#include <stdint.h>

/* total_bytes 0: unknown. */
void progress_begin(uint64_t total_files, uint64_t total_bytes);
void progress_add(uint64_t files, uint64_t bytes);
/* The line says this in place of files and bytes. */
void progress_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Takes the line off the screen, so that something else can be printed; it comes back with the next step. */
void progress_clear(void);
void progress_end(void);

/* Whether a progress line would be seen. */
int progress_visible(void);

/* A line on standard error that tells how far a benchmark is; only where that is a terminal. */
#pragma once

#include <stdint.h>

/* Draws it, in place of the one before. */
void live_show(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Takes it off the screen, so that something else can be printed. */
void live_clear(void);

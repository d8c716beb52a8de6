/* Ctrl-C and the like: what a benchmark has started and made must be ended and removed first. */
#pragma once

#include <stdbool.h>

/* From now on SIGINT, SIGTERM, SIGHUP and SIGPIPE are only noted. */
void interrupt_catch(void);
/* In a child process: lets them end it again. */
void interrupt_default(void);
/* In a child process whose parent tells it to end: they are nothing to it. */
void interrupt_ignore(void);
/* Whether the user wants it to end; then measurements fail with -EINTR. */
bool interrupted(void);

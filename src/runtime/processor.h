/* Which processor a thread runs on. */
#pragma once

/* Moves the calling thread to another of the processors that it may run on, if fewer threads of this host
 * want to run than it has processors, so that one of them should be idle. Its affinity is the same
 * afterwards. Returns 1 when it was moved, 0 when there was no reason or nowhere to go, or -errno. Takes some
 * ten microseconds; never blocks for longer. */
int processor_move(void);

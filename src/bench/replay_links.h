/* Symbolic links of a trace: what its paths lead to. */
#pragma once

#include "bench/trace.h"

/* Replaces the path of each event that leads through symbolic links by that of what it works on; the path
 * that was called is then event->called (event->new_called), and the last link on the way event->through.
 * Paths may be added to the trace. 0 or -ENOMEM. */
int replay_links_resolve(struct trace *trace);

/* What the clients of the crash matrix do until their servers are gone. */
#pragma once

#include "history.h"

/* One client's thread in a process of its own: calls and logs until a call fails, the log is full or
 * history->ending. pause_ns: between calls. Returns 0, or -1 after a message about a call that failed
 * although no server had been killed. */
int workload_run(struct history *history, unsigned client, uint64_t seed, uint64_t pause_ns);
/* The shared directories, durably. 0 or -1. */
int workload_prepare(void);
/* Removes all that is left; 0 when everything could be removed, else -1 after messages. */
int workload_remove_all(struct history *history);

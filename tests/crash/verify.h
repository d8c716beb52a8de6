/* Compares what is there after a crash with what was promised. */
#pragma once

#include "history.h"

struct rules {
    enum level level;
    uint64_t age_ns; /* what was acknowledged that long before the crash lasts; 0: nothing by its age */
    uint64_t crash;  /* ns: when the first server was killed */
    bool clean;      /* the servers ended in good order: all that was acknowledged lasts */
    bool all;        /* read every file, also those that nobody has touched since they were read last */
    uint64_t seed;
};

/* In a process of its own. Takes what it finds into the model, and empties the logs. Returns 0, or -1 after
 * messages. */
int verify(struct history *history, const struct rules *rules);

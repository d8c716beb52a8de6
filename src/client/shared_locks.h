/* What processes that share an open file description know of its locks, in memory that all of them map.
 *
 * Locks of flock and F_OFD_SETLK are the description's, and last as long as any process has it open. The
 * servers end them with the last instance that holds them, so whoever locks has the servers know of one more:
 * the keeper, the first process that handed the description on and has it open still. Whoever closes the
 * description gives up being its keeper first, and looks for locks then; whoever locks writes that down
 * first, and looks for the keeper then. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

struct shared_locks {
    _Atomic uint64_t owner;  /* as whom all of them lock; 0: not chosen yet */
    _Atomic uint64_t keeper; /* an instance; 0: there is none */
    _Atomic uint32_t locked; /* 1 << LOCK_FLOCK, 1 << LOCK_DESCRIPTION: there may be such locks */
    _Atomic int32_t
        process; /* the keeper's; after an exec it is another instance, and keeper itself no more */
};

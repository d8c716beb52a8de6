/* Holds that a process shows instead of telling them: memory of its own (net_show) that servers on its host
 * read, with the numbers of inodes that it has open.
 *
 * Who opens a file without a message (client/board.c) enters it here first, and then looks at the server's
 * board again: whether the inode's count there is still what it was when the answer was read. The server,
 * before it frees an inode without a name, first moves that count on, then looks here (server/hold.c). Both
 * do so in one total order (memory_order_seq_cst), so one of them sees the other: a file that was entered is
 * kept, or its opening does not succeed. Closing is the same backwards: the entry goes, then the count is
 * looked at; where it has moved on the server may have kept the file for this entry alone, so it is told to
 * look again.
 *
 * One word per open, in a line that the inode's number gives, so that a server looks at one line of each
 * process. A line that is full means that the next open there asks the server. */
#pragma once

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "net/net.h"

#define HOLDS_LINES 512u
#define HOLDS_WAYS 8u

struct holds {
    alignas(64) _Atomic uint64_t words[HOLDS_LINES][HOLDS_WAYS]; /* inodes; 0: free */
};
static_assert(sizeof(struct holds) == 32 << 10, "shared layout");

static inline uint32_t holds_line(uint64_t inode)
{
    return (uint32_t)(hash_mix(inode) >> 32) % HOLDS_LINES;
}

/* Enters one open. Any thread of the process. Returns its slot, or 0: there is no room. */
static inline uint32_t holds_enter(struct holds *holds, uint64_t inode)
{
    uint32_t line = holds_line(inode);
    for (uint32_t way = 0; way < HOLDS_WAYS; way++) {
        uint64_t none = 0;
        if (atomic_load_explicit(&holds->words[line][way], memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong(&holds->words[line][way], &none, inode))
            return line * HOLDS_WAYS + way + 1;
    }
    return 0;
}

/* Takes an entry back. */
static inline void holds_leave(struct holds *holds, uint32_t slot)
{
    slot--;
    atomic_exchange(&holds->words[slot / HOLDS_WAYS][slot % HOLDS_WAYS], 0);
}

static inline bool holds_have(const struct holds *holds, uint64_t inode)
{
    const _Atomic uint64_t *line = holds->words[holds_line(inode)];
    bool found = false;
    for (uint32_t way = 0; way < HOLDS_WAYS; way++)
        found |= atomic_load(&line[way]) == inode;
    return found;
}

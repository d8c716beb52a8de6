/* What libbenchfs_mpi.so gives to this program, which is not linked with MPI itself. One process a rank, one
 * thread of it calls. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RANKS_PLUGIN_VERSION 2u
#define RANKS_PLUGIN_SYMBOL "benchfs_ranks_plugin"

enum ranks_operation { RANKS_MAXIMUM, RANKS_SUM, RANKS_BROADCAST /* from rank 0 */ };

/* Calls return 0 or -EIO, if nothing else is said. */
struct ranks_plugin {
    uint32_t version; /* RANKS_PLUGIN_VERSION */
    /* Joins the others. here: ranks on this host, this one included. */
    int (*start)(uint32_t *number, uint32_t *count, uint32_t *here);
    /* Begins an operation on `count` values in place, which all ranks begin in the same order; one at a time.
     */
    int (*begin)(enum ranks_operation operation, uint64_t *values, uint32_t count);
    /* Whether it is done; also makes it go on. */
    int (*test)(bool *done);
    /* Tells all others, wherever they are, that this rank has failed; and whether another has told so. */
    int (*alarm)(void);
    int (*alarmed)(bool *alarmed);
    /* Tells all others some values, wherever they are; -EAGAIN: earlier ones are still on their way. */
    int (*tell)(const uint64_t *values, uint32_t count);
    /* What another has told, at most `room` values; *count 0: nothing has come. */
    int (*hear)(uint64_t *values, uint32_t room, uint32_t *count);
    /* When all ranks call it. */
    void (*finish)(void);
};

/* What has to be there before a trace can be replayed, and which of its operations must wait for which. */
#pragma once

#include "bench/trace.h"

enum replay_kind { REPLAY_UNKNOWN, REPLAY_ABSENT, REPLAY_FILE, REPLAY_DIRECTORY, REPLAY_LINK };

/* An operation begins when as many operations on the path are done. Path trace->path_count stands for all
 * paths: it counts where directories are renamed, which changes the names of what is below. */
struct replay_ticket {
    uint32_t path;
    uint32_t needs;
};

/* A rename or link: two paths, their directories, symbolic links on the way to both, and all paths together.
 */
#define REPLAY_TICKETS_MAX 7u

struct replay_step {
    const struct trace_event *event;
    uint32_t file;  /* of open, close, read, write, fsync: the plan's open file */
    uint32_t inode; /* whose content is read or written */
    uint8_t ticket_count;
    struct replay_ticket tickets[REPLAY_TICKETS_MAX];
};

struct replay_file {
    uint32_t path;
    uint32_t inode;
    uint32_t opened; /* on its path: operations done when it is open */
    uint32_t origin; /* the path under which it is prepared; UINT32_MAX: it is not */
    bool wrote;
};

struct replay_prepared {
    enum replay_kind kind; /* FILE, DIRECTORY or LINK: make it first; otherwise it is not there at first */
    uint64_t size;         /* of a file: what is read of it */
    uint32_t target;       /* of a symbolic link: the path that it leads to */
    uint32_t inode;
};

struct replay_plan {
    const struct trace *trace;
    uint32_t step_count;
    struct replay_step *steps; /* in the order of time */
    uint32_t file_count;
    struct replay_file *files;
    struct replay_prepared *prepared; /* by path */
    uint32_t *parents;                /* by path; UINT32_MAX: of the root */
    uint32_t process_count;
    uint32_t *processes; /* by step: dense number of the process */
    uint64_t left_out;   /* events that make no sense in this trace, or cannot be done */
    uint64_t left_out_by[TRACE_OPERATION_COUNT];
    uint32_t operations[TRACE_OPERATION_COUNT];
    uint32_t link_stats; /* of operations[TRACE_STAT] those of symbolic links themselves */
};

/* Paths outside `only` (NULL: none is) are left out and not counted. 0 or -ENOMEM. The trace must stay;
 * directories are added to its paths. */
int replay_plan_make(struct replay_plan *plan, struct trace *trace, const char *only);
void replay_plan_free(struct replay_plan *plan);

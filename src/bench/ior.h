/* `bench ior`: large transfers into files of each worker's own or into one that all share, as IOR does. */
#pragma once

#include <stdbool.h>

#include "bench/suite.h"
#include "bench/transfers.h"

extern const struct suite_workload bench_ior;

/* What is written where. A file consists of segments; a segment holds a block of each worker that writes the
 * file, one after the other, and a block is moved in transfers. */
struct ior_shape {
    uint64_t transfer; /* bytes */
    uint64_t block;    /* bytes, a multiple of transfer */
    uint64_t segments;
    uint64_t depth; /* transfers at once */
    uint64_t shift; /* a worker reads what the one `shift` numbers on has written */
    bool shared;    /* one file for all */
    bool random;    /* in random order, each transfer once */
    bool sync;      /* fsync after writing, before the clock stops */
    bool verify;    /* every byte has its own value and is compared */
};

struct ior {
    struct session *session;
    const struct ior_shape *shape;
    const char *name; /* of the files */
    uint64_t seed;
    uint64_t transfers_each; /* of a worker, at most */
    uint64_t written;        /* by each worker */
    struct content content;
    struct transfers transfers;
    uint32_t owner; /* whose blocks are moved */
    int fd;
    char path[SESSION_PATH_MAX];
};

/* Prepares one worker's part; the files will be called after name. 0, or -errno after one line. */
int ior_init(struct ior *ior, struct session *session, const struct ior_shape *shape, const char *name);
void ior_free(struct ior *ior);
/* The phases: each opens its file, moves and checks, closes. To be called by all workers between crew_phase
 * and crew_phase_end. duration, ns: workers begin no transfer when it has passed since the part's start, but
 * then go on until each has written as much as the one that wrote most (0: they write all). *expired, if not
 * NULL: whether it passed before all was written. */
int ior_write(struct ior *ior, struct crew_part *part, uint64_t duration, bool *expired);
int ior_read(struct ior *ior, struct crew_part *part);
/* All workers together, without a phase: checks the files' sizes and removes them. */
int ior_remove(struct ior *ior);

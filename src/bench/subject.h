/* What `bench store` measures: a storage engine alone, or plain system calls on a file beside it, behind the
 * same few calls. A subject holds `blocks` transfers' worth of bytes; passes write or read them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/crew.h"

#define SUBJECT_DEPTH_MAX 256u

struct subject_plan {
    const char *name;      /* an engine's, "pwrite" or "direct" */
    const char *directory; /* empty, for this subject alone */
    uint64_t size;         /* of a transfer, a multiple of 8 */
    uint64_t blocks;       /* transfers in all */
    uint32_t depth;        /* transfers under way at once */
    uint32_t chunk_size;   /* engines: at least size; what is left over at its end is not used */
    uint64_t capacity;     /* engines: bytes */
    bool checksum;         /* persistent engines */
    bool sync;             /* a pass that writes ends by settling; else nothing becomes durable by itself */
    bool verify;           /* every byte that is read is compared, not 8 of each 4 KiB */
    const char *fast;      /* tiered: the engines over and under each other */
    const char *slow;
};

/* One run over the blocks. */
struct subject_pass {
    bool writing;
    bool random;
    uint8_t generation; /* what is written differs by it */
    uint64_t count;     /* transfers */
    const struct crew_member
        *worker;      /* whose pass ends with -ECANCELED when the crew stops; NULL: nobody's */
    uint64_t started; /* the rest is the subject's own */
    int failure;
};

struct subject {
    const struct subject_operations *operations;
    const struct subject_plan *plan;
    uint8_t *generations; /* of each block: what it was last written with; 0: not yet */
};

struct subject_operations {
    /* 0, or -errno after one line on standard error. */
    int (*open)(const struct subject_plan *plan, struct subject **subject);
    void (*close)(struct subject *subject);
    /* Transfers and counts them. 0, or -errno after one line. */
    int (*run)(struct subject *subject, struct subject_pass *pass, struct crew_part *part);
    /* Waits until all that was written is durable. 0, or -errno after one line. */
    int (*settle)(struct subject *subject);
};

extern const struct subject_operations subject_engine, subject_pwrite, subject_direct;

/* The operations for a name; NULL: neither an engine that is built in nor plain calls. */
const struct subject_operations *subject_find(const char *name);
/* Why it cannot be measured with this plan, or NULL. */
const char *subject_impossible(const struct subject_plan *plan);

/* ---- for the implementations ---- */

/* Initialises the common part. 0 or -ENOMEM. */
int subject_init(struct subject *subject, const struct subject_operations *operations,
                 const struct subject_plan *plan);
void subject_end(struct subject *subject);
/* The block of the next transfer; false: no more. */
bool subject_next(const struct subject *subject, struct subject_pass *pass, uint64_t *block);
/* Writes what tells this block and generation from others into length bytes from offset `at` of the transfer
 * on; parts begin and end at multiples of 8. */
void subject_stamp(const struct subject *subject, uint64_t block, uint8_t generation, uint64_t at,
                   void *bytes, uint64_t length);
/* Whether length bytes from offset `at` of the transfer on are those of the block's latest generation. */
bool subject_check(const struct subject *subject, uint64_t block, uint64_t at, const void *bytes,
                   uint64_t length);
/* Says that a transfer failed; wrong bytes are -EBADMSG. Returns status. */
int subject_complain(const struct subject *subject, const char *what, uint64_t block, int status);

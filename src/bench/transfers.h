/* Moving many transfers of one size, one or several at a time, each checked. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/content.h"
#include "bench/session.h"

/* Where one transfer goes. */
struct transfer_place {
    int fd;
    uint64_t offset;
    uint64_t seed;    /* of the file's content */
    const char *path; /* for messages; valid until the transfer is done */
};

/* The place of the n-th transfer. */
typedef void (*transfer_find)(void *argument, uint64_t n, struct transfer_place *place);

struct transfer_slot;

struct transfers {
    struct session *session;
    const struct content *content;
    uint64_t size;  /* bytes of each */
    uint64_t depth; /* at once: 1..TARGET_DEPTH_MAX */
    uint64_t checked;
    struct transfer_slot *slots;
};

/* Allocates the buffers. 0, or -ENOMEM after one line on standard error. */
int transfers_init(struct transfers *transfers, struct session *session, const struct content *content,
                   uint64_t size, uint64_t depth);
void transfers_free(struct transfers *transfers);

/* Does the transfers first, first + 1, ... `count` of them, or those that were begun before `deadline`
 * (crew_now(); 0: none), and waits for all. Each must move its full length, and what was read must be right:
 * every byte when the content is of the kind for that, otherwise the stamps of all and every byte of each
 * 16th. Adds to part's operations, bytes and latency; *moved gets how many were done. Returns 0, or -errno
 * after one line on standard error. */
int transfers_run(struct transfers *transfers, enum benchfs_io_kind kind, uint64_t first, uint64_t count,
                  uint64_t deadline, transfer_find find, void *argument, struct crew_part *part,
                  uint64_t *moved);

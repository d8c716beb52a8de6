/* Transfers. At depth 1 by the target's read and write, beyond by its submit and wait, as a program would.
 * The time of a transfer is from just before the call to just after it (or after the wait that returned it);
 * making and checking bytes is not part of it, but it is of the phase: buffers that held the same place of a
 * period are only stamped anew. */
#include "bench/transfers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/options.h"

#define CHECK_ALL_EVERY 16u

struct transfer_slot {
    struct benchfs_io io;
    struct transfer_place place;
    uint64_t started;
    bool check_all;
    bool filled; /* with content that began at place in_period of a period */
    uint64_t in_period;
    bool holds; /* what was written or read last, with this seed and offset */
    uint64_t seed, offset;
};

int transfers_init(struct transfers *transfers, struct session *session, const struct content *content,
                   uint64_t size, uint64_t depth)
{
    *transfers = (struct transfers){
        .session = session, .content = content, .size = size, .depth = depth, .checked = 0};
    transfers->slots = calloc(depth, sizeof(*transfers->slots));
    for (uint64_t i = 0; transfers->slots != NULL && i < depth; i++) {
        struct benchfs_io *io = &transfers->slots[i].io;
        io->buffer = aligned_alloc(4096, (size + 4095) & ~UINT64_C(4095));
        if (io->buffer == NULL) {
            transfers_free(transfers);
            break;
        }
        memset(io->buffer, (int)i + 1, size);
    }
    if (transfers->slots == NULL) {
        bench_error("out of memory for %llu buffers of %llu bytes", (unsigned long long)depth,
                    (unsigned long long)size);
        return -ENOMEM;
    }
    return 0;
}

void transfers_free(struct transfers *transfers)
{
    for (uint64_t i = 0; transfers->slots != NULL && i < transfers->depth; i++)
        free(transfers->slots[i].io.buffer);
    free(transfers->slots);
    transfers->slots = NULL;
}

/* Whether a read that did nothing would be taken for one that did. */
static bool holds_place(const struct transfer_slot *slot)
{
    return !slot->holds || (slot->seed == slot->place.seed && slot->offset == slot->place.offset);
}

static void prepare(struct transfers *transfers, struct transfer_slot *slot, enum benchfs_io_kind kind)
{
    const struct transfer_place *place = &slot->place;
    const struct content *content = transfers->content;
    void *bytes = slot->io.buffer;
    slot->io.kind = kind;
    slot->io.fd = place->fd;
    slot->io.count = transfers->size;
    slot->io.offset = (off_t)place->offset;
    slot->io.user = slot;
    if (kind == BENCHFS_IO_READ) {
        slot->check_all = content->every_word || transfers->checked++ % CHECK_ALL_EVERY == 0;
        if (slot->check_all || holds_place(slot))
            content_wipe(content, bytes, transfers->size, place->offset, slot->check_all);
    } else if (slot->filled && slot->in_period == place->offset % CONTENT_PERIOD) {
        content_stamp(content, place->seed, bytes, transfers->size, place->offset);
    } else {
        content_fill(content, place->seed, bytes, transfers->size, place->offset);
        slot->filled = true;
        slot->in_period = place->offset % CONTENT_PERIOD;
    }
    slot->holds = true;
    slot->seed = place->seed;
    slot->offset = place->offset;
    slot->started = crew_now();
}

static int finish(struct transfers *transfers, struct transfer_slot *slot, struct crew_part *part)
{
    const struct transfer_place *place = &slot->place;
    bool read = slot->io.kind == BENCHFS_IO_READ;
    histogram_record(&part->latency, crew_now() - slot->started);
    if (slot->io.result != (ssize_t)transfers->size)
        return session_fail(transfers->session, read ? "read" : "write", place->path,
                            slot->io.result < 0 ? (int)slot->io.result : -EIO);
    if (read) {
        slot->filled = false;
        if (!content_check(transfers->content, place->seed, slot->io.buffer, transfers->size, place->offset,
                           slot->check_all))
            return session_fail(transfers->session, "wrong bytes in", place->path, -EBADMSG);
    }
    part->operations++;
    part->bytes += transfers->size;
    return 0;
}

static int run_one_by_one(struct transfers *transfers, enum benchfs_io_kind kind, uint64_t first,
                          uint64_t count, uint64_t deadline, transfer_find find, void *argument,
                          struct crew_part *part, uint64_t *moved)
{
    const struct target_operations *call = transfers->session->call;
    struct target *target = transfers->session->target;
    struct transfer_slot *slot = &transfers->slots[0];
    struct benchfs_io *io = &slot->io;
    for (*moved = 0; *moved < count; ++*moved) {
        if (deadline != 0 && crew_now() >= deadline)
            break;
        if (crew_stopping(transfers->session->worker))
            return -ECANCELED;
        find(argument, first + *moved, &slot->place);
        prepare(transfers, slot, kind);
        io->result = kind == BENCHFS_IO_READ ? call->read(target, io->fd, io->buffer, io->count, io->offset)
                                             : call->write(target, io->fd, io->buffer, io->count, io->offset);
        int status = finish(transfers, slot, part);
        if (status < 0)
            return status;
    }
    return 0;
}

/* Those under way are ended before it returns, whatever happens: their buffers must not be freed earlier. */
static int run_deep(struct transfers *transfers, enum benchfs_io_kind kind, uint64_t first, uint64_t count,
                    uint64_t deadline, transfer_find find, void *argument, struct crew_part *part,
                    uint64_t *moved)
{
    const struct target_operations *call = transfers->session->call;
    struct target *target = transfers->session->target;
    struct benchfs_io *done[TARGET_DEPTH_MAX], *next[TARGET_DEPTH_MAX];
    unsigned under_way = 0, free_slots = 0;
    int failure = 0;
    uint64_t begun = 0;
    for (; free_slots < transfers->depth && free_slots < count; free_slots++)
        done[free_slots] = &transfers->slots[free_slots].io;
    *moved = 0;
    for (;;) {
        unsigned again = 0;
        if (failure == 0 && crew_stopping(transfers->session->worker))
            failure = -ECANCELED;
        while (again < free_slots && failure == 0 && begun < count &&
               (deadline == 0 || crew_now() < deadline)) {
            struct transfer_slot *slot = (struct transfer_slot *)done[again];
            find(argument, first + begun++, &slot->place);
            prepare(transfers, slot, kind);
            next[again++] = &slot->io;
        }
        if (again > 0) {
            int status = call->submit(target, next, again);
            if (status < 0)
                failure = session_fail(transfers->session, "submit to",
                                       ((struct transfer_slot *)next[0])->place.path, status);
            else
                under_way += again;
        }
        if (under_way == 0)
            return failure;
        int ended = call->wait(target, done, 1, under_way, TARGET_FOR_EVER);
        if (ended < 0)
            return session_fail(transfers->session, "wait for transfers in", transfers->session->directory,
                                ended);
        under_way -= (unsigned)ended;
        free_slots = (unsigned)ended;
        for (unsigned i = 0; i < free_slots; i++) {
            int status = finish(transfers, done[i]->user, part);
            failure = failure < 0 ? failure : status;
            *moved += status == 0;
        }
    }
}

int transfers_run(struct transfers *transfers, enum benchfs_io_kind kind, uint64_t first, uint64_t count,
                  uint64_t deadline, transfer_find find, void *argument, struct crew_part *part,
                  uint64_t *moved)
{
    return (transfers->depth == 1 ? run_one_by_one : run_deep)(transfers, kind, first, count, deadline, find,
                                                               argument, part, moved);
}

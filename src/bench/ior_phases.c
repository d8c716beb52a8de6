/* The phases of IOR. The place of a worker's n-th transfer in its file:
 *
 *   own files   | t t t t | t t t t | ...             blocks of one worker, segment by segment
 *   shared      | 0 0 1 1 2 2 | 0 0 1 1 2 2 | ...     in each segment a block of each worker
 *   "hard"      the same with blocks of one transfer: neighbours write next to each other
 *
 * In random order n is permuted first, by the writer's number, so that a reader of another's file can tell
 * which of the transfers were written when writing was ended by the clock. Readers visit those in an order of
 * their own. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "bench/ior.h"
#include "bench/permutation.h"

int ior_init(struct ior *ior, struct session *session, const struct ior_shape *shape, const char *name)
{
    memset(ior, 0, sizeof(*ior));
    ior->session = session;
    ior->shape = shape;
    ior->name = name;
    ior->seed = hash64(session->directory, strlen(session->directory), hash64(name, strlen(name), 0));
    ior->transfers_each = shape->block / shape->transfer * shape->segments;
    ior->fd = -1;
    content_init(&ior->content, shape->verify);
    return transfers_init(&ior->transfers, session, &ior->content, shape->transfer, shape->depth);
}

void ior_free(struct ior *ior)
{
    transfers_free(&ior->transfers);
}

static void name_file(struct ior *ior, uint32_t owner)
{
    ior->owner = owner;
    if (ior->shape->shared)
        session_path(ior->session, ior->path, "%s", ior->name);
    else
        session_path(ior->session, ior->path, "%s.%08u", ior->name, owner);
}

static uint64_t seed_of(const struct ior *ior)
{
    return ior->shape->shared ? ior->seed : ior->seed + 1 + ior->owner;
}

static void place_at(const struct ior *ior, uint64_t n, struct transfer_place *place)
{
    const struct ior_shape *shape = ior->shape;
    uint64_t in_block = shape->block / shape->transfer;
    uint64_t segment = n / in_block;
    uint64_t writers = shape->shared ? ior->session->worker->count : 1;
    uint64_t block = segment * writers + (shape->shared ? ior->owner : 0);
    *place = (struct transfer_place){.fd = ior->fd,
                                     .offset = block * shape->block + n % in_block * shape->transfer,
                                     .seed = seed_of(ior),
                                     .path = ior->path};
}

static uint64_t written_as(const struct ior *ior, uint64_t n)
{
    return ior->shape->random ? permutation_at(ior->owner, ior->transfers_each, n) : n;
}

static void find_written(void *argument, uint64_t n, struct transfer_place *place)
{
    const struct ior *ior = argument;
    place_at(ior, written_as(ior, n), place);
}

static void find_read(void *argument, uint64_t n, struct transfer_place *place)
{
    const struct ior *ior = argument;
    if (ior->shape->random)
        n = permutation_at(UINT64_C(1) << 32 | ior->owner, ior->written, n);
    place_at(ior, written_as(ior, n), place);
}

static int open_file(struct ior *ior, int flags)
{
    ior->fd = ior->session->call->file_open(ior->session->target, ior->path, flags, 0644);
    return ior->fd < 0 ? session_fail(ior->session, "open", ior->path, ior->fd) : 0;
}

static int close_file(struct ior *ior, int status)
{
    int closed = ior->session->call->file_close(ior->session->target, ior->fd);
    return status == 0 && closed < 0 ? session_fail(ior->session, "close", ior->path, closed) : status;
}

int ior_write(struct ior *ior, struct crew_part *part, uint64_t duration, bool *expired)
{
    struct session *session = ior->session;
    uint64_t deadline = duration == 0 ? 0 : part->started + duration;
    name_file(ior, session->worker->number);
    int status = open_file(ior, O_CREAT | O_WRONLY | (ior->shape->shared ? 0 : O_EXCL));
    if (status < 0)
        return status;
    status = transfers_run(&ior->transfers, BENCHFS_IO_WRITE, 0, ior->transfers_each, deadline, find_written,
                           ior, part, &ior->written);
    if (expired != NULL)
        *expired = ior->written < ior->transfers_each;
    if (status == 0 && deadline != 0) {
        uint64_t most, more;
        status = crew_maximum(session->worker, ior->written, &most);
        if (status == 0)
            status = transfers_run(&ior->transfers, BENCHFS_IO_WRITE, ior->written, most - ior->written, 0,
                                   find_written, ior, part, &more);
        if (status == 0)
            ior->written = most;
    }
    if (status == 0 && ior->shape->sync && (status = session->call->sync(session->target, ior->fd)) < 0)
        session_fail(session, "fsync", ior->path, status);
    return close_file(ior, status);
}

int ior_read(struct ior *ior, struct crew_part *part)
{
    const struct crew_member *worker = ior->session->worker;
    uint64_t moved;
    name_file(ior, (uint32_t)((worker->number + ior->shape->shift) % worker->count));
    int status = open_file(ior, O_RDONLY);
    if (status < 0)
        return status;
    status =
        transfers_run(&ior->transfers, BENCHFS_IO_READ, 0, ior->written, 0, find_read, ior, part, &moved);
    return close_file(ior, status);
}

/* The end of the last transfer that was written. */
static uint64_t expected_size(struct ior *ior)
{
    struct transfer_place place;
    uint64_t last = 0;
    if (ior->shape->shared)
        ior->owner = ior->session->worker->count - 1;
    for (uint64_t n = ior->shape->random ? 0 : ior->written - 1; n < ior->written; n++) {
        find_written(ior, n, &place);
        if (place.offset + ior->shape->transfer > last)
            last = place.offset + ior->shape->transfer;
    }
    return last;
}

int ior_remove(struct ior *ior)
{
    struct session *session = ior->session;
    struct stat found;
    int status = crew_wait(session->worker);
    if (status < 0 || (ior->shape->shared && session->worker->number > 0))
        return status;
    name_file(ior, session->worker->number);
    status = session->call->stat(session->target, ior->path, &found);
    /* In random order ended by the clock it depends on the order of each which transfer is the last. */
    bool known = !ior->shape->shared || !ior->shape->random || ior->written == ior->transfers_each;
    if (status == 0 && known && (uint64_t)found.st_size != expected_size(ior))
        status = -EBADMSG;
    if (status < 0)
        return session_fail(session, "wrong size of", ior->path, status);
    status = session->call->unlink(session->target, ior->path);
    return status < 0 ? session_fail(session, "unlink", ior->path, status) : 0;
}

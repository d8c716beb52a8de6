/* Plain system calls on one file, as the reference for storage engines: `pwrite`, pwrite and pread through
 * the page cache, one at a time; `direct`, io_uring past the page cache, `depth` at a time, each turn's
 * submissions together. */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/status.h"
#include "bench/options.h"
#include "bench/subject.h"

#define ALIGNMENT 4096u

struct slot {
    char *bytes;
    uint64_t block;
    uint64_t started;
};

struct plain {
    struct subject subject;
    int fd;
    bool ring_ready;
    struct io_uring ring;
    uint32_t depth;
    struct slot slots[SUBJECT_DEPTH_MAX];
};

static uint64_t offset_of(const struct plain *plain, const struct slot *slot)
{
    return slot->block * plain->subject.plan->size;
}

/* Before the clock of a transfer starts. */
static void prepare(struct plain *plain, const struct subject_pass *pass, struct slot *slot, uint64_t block)
{
    slot->block = block;
    slot->started = clock_now();
    if (pass->writing)
        subject_stamp(&plain->subject, block, pass->generation, 0, slot->bytes, plain->subject.plan->size);
}

/* result: bytes or -errno. */
static void finish(struct plain *plain, struct subject_pass *pass, struct slot *slot, int64_t result,
                   struct crew_part *part)
{
    uint64_t size = plain->subject.plan->size;
    histogram_record(&part->latency, clock_now() - slot->started);
    int status = result < 0 ? (int)result : (uint64_t)result != size ? -EIO : 0;
    if (status == 0 && pass->writing)
        plain->subject.generations[slot->block] = pass->generation;
    else if (status == 0 && !subject_check(&plain->subject, slot->block, 0, slot->bytes, size))
        status = -EBADMSG;
    if (status < 0) {
        pass->failure =
            subject_complain(&plain->subject, pass->writing ? "write" : "read", slot->block, status);
        return;
    }
    part->operations++;
    part->bytes += size;
}

static int settle(struct subject *subject)
{
    struct plain *plain = (struct plain *)subject;
    if (fdatasync(plain->fd) == 0)
        return 0;
    int status = -errno;
    bench_error("%s: fdatasync: %s", subject->plan->name, status_text(status));
    return status;
}

/* The end of a pass. */
static int conclude(struct plain *plain, struct subject_pass *pass)
{
    if (pass->failure == 0 && pass->writing && plain->subject.plan->sync)
        pass->failure = settle(&plain->subject);
    return pass->failure;
}

static int run_buffered(struct subject *subject, struct subject_pass *pass, struct crew_part *part)
{
    struct plain *plain = (struct plain *)subject;
    struct slot *slot = &plain->slots[0];
    uint64_t size = subject->plan->size;
    for (uint64_t block; subject_next(subject, pass, &block);) {
        prepare(plain, pass, slot, block);
        off_t offset = (off_t)offset_of(plain, slot);
        ssize_t count = pass->writing ? pwrite(plain->fd, slot->bytes, size, offset)
                                      : pread(plain->fd, slot->bytes, size, offset);
        finish(plain, pass, slot, count < 0 ? -errno : count, part);
    }
    return conclude(plain, pass);
}

/* Queues the next transfer in the slot; false: there is none. */
static bool queue(struct plain *plain, struct subject_pass *pass, struct slot *slot)
{
    uint64_t block;
    if (!subject_next(&plain->subject, pass, &block))
        return false;
    prepare(plain, pass, slot, block);
    unsigned size = (unsigned)plain->subject.plan->size;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&plain->ring); /* the ring holds `depth` */
    if (pass->writing)
        io_uring_prep_write(sqe, plain->fd, slot->bytes, size, offset_of(plain, slot));
    else
        io_uring_prep_read(sqe, plain->fd, slot->bytes, size, offset_of(plain, slot));
    io_uring_sqe_set_data(sqe, slot);
    return true;
}

static int run_direct(struct subject *subject, struct subject_pass *pass, struct crew_part *part)
{
    struct plain *plain = (struct plain *)subject;
    uint32_t under_way = 0;
    while (under_way < plain->depth && queue(plain, pass, &plain->slots[under_way]))
        under_way++;
    while (under_way > 0) {
        int status = io_uring_submit_and_wait(&plain->ring, 1);
        if (status < 0 && status != -EINTR) {
            bench_error("direct: io_uring: %s", status_text(status));
            return status; /* the ring is given up with all that is in it */
        }
        struct io_uring_cqe *cqe;
        while (io_uring_peek_cqe(&plain->ring, &cqe) == 0) {
            struct slot *slot = io_uring_cqe_get_data(cqe);
            int result = cqe->res;
            io_uring_cqe_seen(&plain->ring, cqe);
            finish(plain, pass, slot, result, part);
            if (!queue(plain, pass, slot))
                under_way--;
        }
    }
    return conclude(plain, pass);
}

static void close_plain(struct subject *subject)
{
    struct plain *plain = (struct plain *)subject;
    if (plain->ring_ready)
        io_uring_queue_exit(&plain->ring);
    if (plain->fd >= 0)
        close(plain->fd);
    for (uint32_t i = 0; i < plain->depth; i++)
        free(plain->slots[i].bytes);
    subject_end(subject);
    free(plain);
}

static int make_slots(struct plain *plain)
{
    uint64_t size = (plain->subject.plan->size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    for (uint32_t i = 0; i < plain->depth; i++) {
        plain->slots[i].bytes = aligned_alloc(ALIGNMENT, size);
        if (plain->slots[i].bytes == NULL)
            return -ENOMEM;
        memset(plain->slots[i].bytes, 'b', size);
    }
    return 0;
}

static int open_plain(const struct subject_plan *plan, const struct subject_operations *operations,
                      struct subject **subject)
{
    bool direct = operations == &subject_direct;
    char path[4200];
    struct plain *plain = calloc(1, sizeof(*plain));
    if (plain == NULL)
        return -ENOMEM;
    plain->fd = -1;
    plain->depth = direct ? plan->depth : 1;
    int status = subject_init(&plain->subject, operations, plan);
    if (status == 0)
        status = make_slots(plain);
    if (status == 0) {
        snprintf(path, sizeof(path), "%s/plain", plan->directory);
        plain->fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | (direct ? O_DIRECT : 0), 0600);
        status = plain->fd < 0 ? -errno : 0;
    }
    if (status == 0 && direct) {
        status = io_uring_queue_init(plain->depth, &plain->ring, 0);
        plain->ring_ready = status == 0;
    }
    if (status < 0) {
        bench_error("%s: cannot make a file in %s: %s", plan->name, plan->directory, status_text(status));
        close_plain(&plain->subject);
        return status;
    }
    *subject = &plain->subject;
    return 0;
}

static int open_buffered(const struct subject_plan *plan, struct subject **subject)
{
    return open_plain(plan, &subject_pwrite, subject);
}

static int open_direct(const struct subject_plan *plan, struct subject **subject)
{
    return open_plain(plan, &subject_direct, subject);
}

const struct subject_operations subject_pwrite = {
    .open = open_buffered, .close = close_plain, .run = run_buffered, .settle = settle};
const struct subject_operations subject_direct = {
    .open = open_direct, .close = close_plain, .run = run_direct, .settle = settle};

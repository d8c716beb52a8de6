/* The open loop.
 *
 * A loop that sends the next request when the last one has been answered measures one late answer where a
 * target stalls for a second. Users who do not know of each other send a second's worth of requests
 * meanwhile, and all of them wait. So every request here has a time at which it is due, which does not depend
 * on the target, and its latency counts from then. A worker has --depth requests of any kind under way at
 * once; what is due beyond that waits for one of them, as it would in the queue of a client. A create is done
 * when its file has been closed again, which the worker does when it sees it open. What is done counts as
 * done when the worker looks, which is no sooner than a program would know. When more arrives than is done,
 * the queue grows for as long as it goes on; that is saturation, and the latencies say only how long the run
 * was.
 *
 * Reads are of a file that the next worker wrote before, writes of the worker's own, which has been written
 * before, too, and whose blocks get another content each time and are compared in the end. No block has two
 * writes under way: nobody could say which was last. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/list.h"
#include "bench/arrivals.h"
#include "bench/content.h"
#include "bench/mixed.h"
#include "bench/options.h"

#define CHECK_ALL_EVERY 16u

/* An operation under way. */
struct slot {
    struct benchfs_io io;
    enum mixed_phase operation;
    uint64_t due;
    char *bytes; /* of a read or write, shape->size of them */
    uint64_t block;
    bool check_all;
    struct stat found;
    char path[SESSION_PATH_MAX]; /* of a stat or create */
};

struct mixed {
    struct session *session;
    const struct mixed_shape *shape;
    struct content content;
    struct random random;
    uint64_t blocks;
    uint32_t *versions; /* of the blocks that are written; 0: as they were in the beginning */
    bool *writing;      /* blocks */
    uint64_t reads, created;
    int read_fd, write_fd;
    struct slot *slots; /* shape->depth of them */
    struct slot **idle; /* those that are not under way: shape->depth - under_way */
    uint64_t under_way;
    struct crew_part *parts[MIXED_PHASE_COUNT]; /* NULL: does not occur */
    char path[SESSION_PATH_MAX];
};

/* ---- the operations: each returns 0 or -errno after one line ---- */

static uint64_t read_seed(uint32_t worker)
{
    return hash_mix(worker + 1);
}

static uint64_t write_seed(const struct mixed *mixed, uint64_t block)
{
    return hash_mix(UINT64_C(1) << 32 | mixed->session->worker->number) + mixed->versions[block];
}

static uint32_t neighbour(const struct mixed *mixed)
{
    return (mixed->session->worker->number + 1) % mixed->session->worker->count;
}

static char *buffer_of(const struct mixed *mixed)
{
    return mixed->slots[0].bytes;
}

/* While nothing is under way. */
static int write_at(struct mixed *mixed, int fd, uint64_t seed, uint64_t block, const char *path)
{
    struct session *session = mixed->session;
    uint64_t size = mixed->shape->size;
    content_fill(&mixed->content, seed, buffer_of(mixed), size, block * size);
    ssize_t count = session->call->write(session->target, fd, buffer_of(mixed), size, (off_t)(block * size));
    if (count != (ssize_t)size)
        return session_fail(session, "write", path, count < 0 ? (int)count : -EIO);
    return 0;
}

static uint64_t choose_block(struct mixed *mixed, enum mixed_phase operation)
{
    uint64_t block = random_below(&mixed->random, mixed->blocks);
    while (operation == MIXED_WRITE && mixed->writing[block])
        block = (block + 1) % mixed->blocks;
    return block;
}

static void prepare_transfer(struct mixed *mixed, struct slot *slot)
{
    uint64_t size = mixed->shape->size, block = choose_block(mixed, slot->operation);
    bool reads = slot->operation == MIXED_READ;
    slot->block = block;
    slot->io = (struct benchfs_io){.kind = reads ? BENCHFS_IO_READ : BENCHFS_IO_WRITE,
                                   .fd = reads ? mixed->read_fd : mixed->write_fd,
                                   .buffer = slot->bytes,
                                   .count = size,
                                   .offset = (off_t)(block * size)};
    if (reads) {
        slot->check_all = mixed->shape->verify || mixed->reads++ % CHECK_ALL_EVERY == 0;
        content_wipe(&mixed->content, slot->bytes, size, block * size, slot->check_all);
    } else {
        mixed->versions[block]++;
        mixed->writing[block] = true;
        content_fill(&mixed->content, write_seed(mixed, block), slot->bytes, size, block * size);
    }
}

static void prepare_stat(struct mixed *mixed, struct slot *slot)
{
    session_path(mixed->session, slot->path, "stat.%u.%llu", neighbour(mixed),
                 (unsigned long long)random_below(&mixed->random, mixed->shape->files));
    slot->io = (struct benchfs_io){.kind = BENCHFS_IO_STAT, .path = slot->path, .buffer = &slot->found};
}

static void prepare_create(struct mixed *mixed, struct slot *slot)
{
    session_path(mixed->session, slot->path, "new.%u.%llu", mixed->session->worker->number,
                 (unsigned long long)mixed->created++);
    slot->io = (struct benchfs_io){
        .kind = BENCHFS_IO_OPEN, .path = slot->path, .flags = O_CREAT | O_EXCL | O_WRONLY, .mode = 0644};
}

static void prepare_operation(struct mixed *mixed, struct slot *slot, enum mixed_phase operation,
                              uint64_t due)
{
    slot->operation = operation;
    slot->due = due;
    if (operation == MIXED_STAT)
        prepare_stat(mixed, slot);
    else if (operation == MIXED_CREATE)
        prepare_create(mixed, slot);
    else
        prepare_transfer(mixed, slot);
}

/* As a call that returns when it is done. */
static void call_now(const struct session *session, struct benchfs_io *io)
{
    const struct target_operations *call = session->call;
    switch (io->kind) {
    case BENCHFS_IO_READ:
        io->result = call->read(session->target, io->fd, io->buffer, io->count, io->offset);
        break;
    case BENCHFS_IO_WRITE:
        io->result = call->write(session->target, io->fd, io->buffer, io->count, io->offset);
        break;
    case BENCHFS_IO_STAT:
        io->result = call->stat(session->target, io->path, io->buffer);
        break;
    case BENCHFS_IO_OPEN:
        io->result = call->file_open(session->target, io->path, io->flags, io->mode);
        break;
    }
}

static int check_transfer(struct mixed *mixed, struct slot *slot)
{
    struct session *session = mixed->session;
    uint64_t size = mixed->shape->size;
    bool reads = slot->operation == MIXED_READ;
    uint32_t owner = reads ? neighbour(mixed) : session->worker->number;
    session_path(session, mixed->path, "%s.%u", reads ? "read" : "write", owner);
    if (!reads)
        mixed->writing[slot->block] = false;
    if (slot->io.result != (ssize_t)size)
        return session_fail(session, reads ? "read" : "write", mixed->path,
                            slot->io.result < 0 ? (int)slot->io.result : -EIO);
    if (reads && !content_check(&mixed->content, read_seed(owner), slot->io.buffer, size, slot->block * size,
                                slot->check_all))
        return session_fail(session, "wrong bytes in", mixed->path, -EBADMSG);
    return 0;
}

static int check_operation(struct mixed *mixed, struct slot *slot)
{
    int status = (int)slot->io.result;
    if (slot->operation <= MIXED_WRITE)
        return check_transfer(mixed, slot);
    if (slot->operation == MIXED_CREATE)
        return status < 0 ? session_fail(mixed->session, "create", slot->path, status) : 0;
    if (status == 0 && (!S_ISREG(slot->found.st_mode) || slot->found.st_size != 0))
        status = -EBADMSG;
    return status < 0 ? session_fail(mixed->session, "stat", slot->path, status) : 0;
}

/* Of what is asked for: before anything is measured. */
static int make_file(struct mixed *mixed, uint64_t number)
{
    struct session *session = mixed->session;
    session_path(session, mixed->path, "stat.%u.%llu", session->worker->number, (unsigned long long)number);
    int fd = session->call->file_open(session->target, mixed->path, O_CREAT | O_EXCL | O_WRONLY, 0644);
    int status = fd < 0 ? fd : session->call->file_close(session->target, fd);
    return status < 0 ? session_fail(session, "create", mixed->path, status) : 0;
}

/* ---- the loop ---- */

static enum mixed_phase choose(struct mixed *mixed)
{
    uint64_t sum = 0;
    for (int i = 0; i < MIXED_OPERATIONS; i++)
        sum += mixed->shape->shares[i];
    uint64_t drawn = random_below(&mixed->random, sum);
    int operation = 0;
    while (drawn >= mixed->shape->shares[operation])
        drawn -= mixed->shape->shares[operation++];
    return (enum mixed_phase)operation;
}

static void record(struct mixed *mixed, enum mixed_phase operation, uint64_t latency, bool done)
{
    enum mixed_phase both[] = {operation, MIXED_ALL};
    for (int i = 0; i < 2; i++) {
        struct crew_part *part = mixed->parts[both[i]];
        histogram_record(&part->latency, latency);
        part->operations += done;
        part->errors += !done;
        if (done && operation <= MIXED_WRITE)
            part->bytes += mixed->shape->size;
    }
}

static int end_operation(struct mixed *mixed, struct slot *slot)
{
    struct session *session = mixed->session;
    if (slot->operation == MIXED_CREATE && slot->io.result >= 0)
        slot->io.result = session->call->file_close(session->target, (int)slot->io.result);
    uint64_t now = crew_now();
    int status = check_operation(mixed, slot);
    if (status == 0)
        record(mixed, slot->operation, now - slot->due, true);
    return status;
}

/* Ends what has been done, after waiting for the first at most so long. */
static int reap(struct mixed *mixed, uint64_t patience)
{
    const struct session *session = mixed->session;
    struct benchfs_io *done[TARGET_DEPTH_MAX];
    int status = 0;
    int count = session->call->wait(session->target, done, 1, (unsigned)mixed->under_way, patience);
    if (count < 0)
        return session_fail(session, "wait for operations in", session->directory, count);
    for (int i = 0; i < count; i++) {
        struct slot *slot = container_of(done[i], struct slot, io);
        int ended = end_operation(mixed, slot);
        status = status < 0 ? status : ended;
        mixed->idle[mixed->shape->depth - mixed->under_way--] = slot;
    }
    return status;
}

/* Until a request is due, and one more can be under way. */
static int await(struct mixed *mixed, uint64_t due)
{
    int status = 0;
    while (status == 0 && mixed->under_way == mixed->shape->depth)
        status = reap(mixed, TARGET_FOR_EVER);
    for (uint64_t now; status == 0 && mixed->under_way > 0 && (now = crew_now()) < due;)
        status = reap(mixed, due - now);
    if (status == 0 && mixed->under_way == 0)
        arrivals_wait(due);
    return status;
}

static int drain(struct mixed *mixed)
{
    int status = 0;
    for (uint64_t before = UINT64_MAX; mixed->under_way > 0 && mixed->under_way < before;) {
        before = mixed->under_way;
        int ended = reap(mixed, TARGET_FOR_EVER);
        status = status < 0 ? status : ended;
    }
    return status;
}

static int begin_operation(struct mixed *mixed, enum mixed_phase operation, uint64_t due)
{
    const struct session *session = mixed->session;
    struct slot *slot = mixed->idle[mixed->shape->depth - mixed->under_way - 1];
    struct benchfs_io *io = &slot->io;
    prepare_operation(mixed, slot, operation, due);
    if (mixed->shape->depth == 1) {
        call_now(session, io);
        return end_operation(mixed, slot);
    }
    int status = session->call->submit(session->target, &io, 1);
    if (status < 0)
        return session_fail(session, "submit to", session->directory, status);
    mixed->under_way++;
    return 0;
}

static int run_loop(struct mixed *mixed, struct mixed_outcome *outcome)
{
    const struct mixed_shape *shape = mixed->shape;
    const struct crew_member *worker = mixed->session->worker;
    uint64_t start = mixed->parts[MIXED_ALL]->started, over = start + shape->duration;
    uint64_t arrived = 0, backlog = 0, given_up = 0, due;
    struct arrivals arrivals;
    int status = 0;
    arrivals_init(&arrivals, shape->poisson, shape->rate, worker->number, worker->count, shape->seed);
    while (status == 0 && (due = start + arrivals_next(&arrivals)) < over) {
        if (crew_stopping(worker)) {
            status = -ECANCELED;
            break;
        }
        arrived++;
        enum mixed_phase operation = choose(mixed);
        status = await(mixed, due);
        uint64_t now = crew_now();
        backlog += now >= over;
        if (now >= over + shape->duration) {
            given_up++;
            record(mixed, operation, now - due, false);
        } else if (status == 0) {
            status = begin_operation(mixed, operation, due);
        }
    }
    int drained = drain(mixed);
    atomic_fetch_add(&outcome->arrived, arrived);
    atomic_fetch_add(&outcome->backlog, backlog);
    atomic_fetch_add(&outcome->given_up, given_up);
    return status < 0 ? status : drained;
}

/* ---- before and after it ---- */

static int open_file(struct mixed *mixed, const char *kind, uint32_t worker, int flags)
{
    struct session *session = mixed->session;
    session_path(session, mixed->path, "%s.%u", kind, worker);
    int fd = session->call->file_open(session->target, mixed->path, flags, 0644);
    return fd < 0 ? session_fail(session, "open", mixed->path, fd) : fd;
}

static int close_file(struct mixed *mixed, const char *kind, uint32_t worker, int fd)
{
    int status = mixed->session->call->file_close(mixed->session->target, fd);
    session_path(mixed->session, mixed->path, "%s.%u", kind, worker);
    return status < 0 ? session_fail(mixed->session, "close", mixed->path, status) : 0;
}

/* Makes what is read, written and asked for, and opens it when all workers have done so. */
static int prepare(struct mixed *mixed)
{
    uint32_t number = mixed->session->worker->number;
    int status = open_file(mixed, "read", number, O_CREAT | O_EXCL | O_WRONLY);
    if (status < 0)
        return status;
    int fd = status;
    status = 0;
    for (uint64_t block = 0; block < mixed->blocks && status == 0; block++)
        status = write_at(mixed, fd, read_seed(number), block, mixed->path);
    int closed = close_file(mixed, "read", number, fd);
    status = status < 0 ? status : closed;
    if (status == 0)
        status = mixed->write_fd = open_file(mixed, "write", number, O_CREAT | O_EXCL | O_RDWR);
    status = status < 0 ? status : 0;
    for (uint64_t block = 0; block < mixed->blocks && status == 0; block++)
        status = write_at(mixed, mixed->write_fd, write_seed(mixed, block), block, mixed->path);
    for (uint64_t i = 0; i < mixed->shape->files && status == 0; i++)
        status = make_file(mixed, i);
    if (status == 0)
        status = crew_wait(mixed->session->worker);
    if (status == 0)
        status = mixed->read_fd = open_file(mixed, "read", neighbour(mixed), O_RDONLY);
    return status < 0 ? status : 0;
}

/* Whether every block holds what was written to it last. */
static int check_written(struct mixed *mixed)
{
    struct session *session = mixed->session;
    uint64_t size = mixed->shape->size;
    session_path(session, mixed->path, "write.%u", session->worker->number);
    for (uint64_t block = 0; block < mixed->blocks; block++) {
        content_wipe(&mixed->content, buffer_of(mixed), size, block * size, true);
        ssize_t count = session->call->read(session->target, mixed->write_fd, buffer_of(mixed), size,
                                            (off_t)(block * size));
        if (count != (ssize_t)size)
            return session_fail(session, "read", mixed->path, count < 0 ? (int)count : -EIO);
        if (!content_check(&mixed->content, write_seed(mixed, block), buffer_of(mixed), size, block * size,
                           true))
            return session_fail(session, "wrong bytes in", mixed->path, -EBADMSG);
    }
    return 0;
}

static int remove_path(struct mixed *mixed)
{
    int status = mixed->session->call->unlink(mixed->session->target, mixed->path);
    return status < 0 ? session_fail(mixed->session, "unlink", mixed->path, status) : 0;
}

static int remove_all(struct mixed *mixed)
{
    struct session *session = mixed->session;
    uint32_t number = session->worker->number;
    const char *const kinds[] = {"stat", "new"};
    const uint64_t counts[] = {mixed->shape->files, mixed->created};
    int status = close_file(mixed, "write", number, mixed->write_fd);
    int closed = close_file(mixed, "read", neighbour(mixed), mixed->read_fd);
    status = status < 0 ? status : closed;
    if (status == 0)
        status = crew_wait(session->worker); /* until nobody reads any more */
    session_path(session, mixed->path, "read.%u", number);
    if (status == 0)
        status = remove_path(mixed);
    session_path(session, mixed->path, "write.%u", number);
    if (status == 0)
        status = remove_path(mixed);
    for (int kind = 0; kind < 2; kind++) {
        for (uint64_t i = 0; i < counts[kind] && status == 0; i++) {
            session_path(session, mixed->path, "%s.%u.%llu", kinds[kind], number, (unsigned long long)i);
            status = remove_path(mixed);
        }
    }
    return status;
}

static int run_phases(struct mixed *mixed, struct mixed_outcome *outcome)
{
    struct crew_member *worker = mixed->session->worker;
    mixed->parts[MIXED_ALL] = crew_phase(worker, MIXED_ALL);
    if (mixed->parts[MIXED_ALL] == NULL)
        return -ECANCELED;
    for (uint32_t phase = 0; phase < MIXED_OPERATIONS; phase++) {
        if (mixed->shape->shares[phase] > 0)
            mixed->parts[phase] = crew_phase_within(worker, phase, MIXED_ALL);
    }
    int status = run_loop(mixed, outcome);
    if (status < 0)
        return status;
    crew_phase_end(worker, MIXED_ALL);
    for (uint32_t phase = 0; phase < MIXED_OPERATIONS; phase++) {
        if (mixed->parts[phase] != NULL)
            crew_phase_end_within(worker, phase, MIXED_ALL);
    }
    return 0;
}

static int allocate(struct mixed *mixed)
{
    uint64_t depth = mixed->shape->depth, room = (mixed->shape->size + 4095) & ~UINT64_C(4095);
    mixed->versions = calloc(mixed->blocks, sizeof(*mixed->versions));
    mixed->writing = calloc(mixed->blocks, sizeof(*mixed->writing));
    mixed->slots = calloc(depth, sizeof(*mixed->slots));
    mixed->idle = calloc(depth, sizeof(struct slot *));
    bool all =
        mixed->versions != NULL && mixed->writing != NULL && mixed->slots != NULL && mixed->idle != NULL;
    for (uint64_t i = 0; i < depth && all; i++) {
        mixed->idle[i] = &mixed->slots[i];
        mixed->slots[i].bytes = aligned_alloc(4096, room);
        all = mixed->slots[i].bytes != NULL;
    }
    if (!all)
        bench_error("out of memory for %llu blocks and %llu buffers", (unsigned long long)mixed->blocks,
                    (unsigned long long)depth);
    return all ? 0 : -ENOMEM;
}

/* Operations that could not be waited for keep their memory: somebody may still write there. */
static void release(struct mixed *mixed)
{
    for (uint64_t i = 0; i < mixed->shape->depth && mixed->slots != NULL && mixed->under_way == 0; i++)
        free(mixed->slots[i].bytes);
    if (mixed->under_way == 0)
        free(mixed->slots);
    free(mixed->idle);
    free(mixed->writing);
    free(mixed->versions);
}

int mixed_run(struct session *session, const struct mixed_shape *shape, struct mixed_outcome *outcome)
{
    struct mixed mixed = {.session = session, .shape = shape, .blocks = shape->total / shape->size};
    content_init(&mixed.content, shape->verify);
    random_seed(&mixed.random, hash_mix(shape->seed + session->worker->number));
    int status = allocate(&mixed);
    if (status == 0)
        status = prepare(&mixed);
    if (status == 0)
        status = run_phases(&mixed, outcome);
    if (status == 0)
        status = check_written(&mixed);
    if (status == 0)
        status = remove_all(&mixed);
    release(&mixed);
    return status;
}

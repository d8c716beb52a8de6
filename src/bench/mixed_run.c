/* The open loop.
 *
 * A loop that sends the next request when the last one has been answered measures one late answer where a
 * target stalls for a second. Users who do not know of each other send a second's worth of requests
 * meanwhile, and all of them wait. So every request here has a time at which it is due, which does not depend
 * on the target, and its latency counts from then. A worker has one request under way: what is due meanwhile
 * waits for it, as it would in the queue of a client. When more arrives than is done, the queue grows for as
 * long as it goes on; that is saturation, and the latencies say only how long the run was.
 *
 * Reads are of a file that the next worker wrote before, writes of the worker's own, whose blocks get another
 * content each time and are compared in the end. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "bench/arrivals.h"
#include "bench/content.h"
#include "bench/mixed.h"
#include "bench/options.h"

#define CHECK_ALL_EVERY 16u

struct mixed {
    struct session *session;
    const struct mixed_shape *shape;
    struct content content;
    struct random random;
    uint64_t blocks;
    uint32_t *versions; /* of the blocks that are written; 0: never */
    uint64_t reads, created;
    int read_fd, write_fd;
    char *bytes;
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

static int read_block(struct mixed *mixed, uint64_t block)
{
    struct session *session = mixed->session;
    uint64_t size = mixed->shape->size;
    bool all = mixed->shape->verify || mixed->reads++ % CHECK_ALL_EVERY == 0;
    content_wipe(&mixed->content, mixed->bytes, size, block * size, all);
    ssize_t count =
        session->call->read(session->target, mixed->read_fd, mixed->bytes, size, (off_t)(block * size));
    session_path(session, mixed->path, "read.%u", neighbour(mixed));
    if (count != (ssize_t)size)
        return session_fail(session, "read", mixed->path, count < 0 ? (int)count : -EIO);
    if (!content_check(&mixed->content, read_seed(neighbour(mixed)), mixed->bytes, size, block * size, all))
        return session_fail(session, "wrong bytes in", mixed->path, -EBADMSG);
    return 0;
}

static int write_at(struct mixed *mixed, int fd, uint64_t seed, uint64_t block, const char *path)
{
    struct session *session = mixed->session;
    uint64_t size = mixed->shape->size;
    content_fill(&mixed->content, seed, mixed->bytes, size, block * size);
    ssize_t count = session->call->write(session->target, fd, mixed->bytes, size, (off_t)(block * size));
    if (count != (ssize_t)size)
        return session_fail(session, "write", path, count < 0 ? (int)count : -EIO);
    return 0;
}

static int write_block(struct mixed *mixed, uint64_t block)
{
    mixed->versions[block]++;
    session_path(mixed->session, mixed->path, "write.%u", mixed->session->worker->number);
    return write_at(mixed, mixed->write_fd, write_seed(mixed, block), block, mixed->path);
}

static int stat_file(struct mixed *mixed, uint64_t number)
{
    struct session *session = mixed->session;
    struct stat found;
    session_path(session, mixed->path, "stat.%u.%llu", neighbour(mixed), (unsigned long long)number);
    int status = session->call->stat(session->target, mixed->path, &found);
    if (status == 0 && (!S_ISREG(found.st_mode) || found.st_size != 0))
        status = -EBADMSG;
    return status < 0 ? session_fail(session, "stat", mixed->path, status) : 0;
}

static int create_file(struct mixed *mixed, const char *kind, uint64_t number)
{
    struct session *session = mixed->session;
    session_path(session, mixed->path, "%s.%u.%llu", kind, session->worker->number,
                 (unsigned long long)number);
    int fd = session->call->file_open(session->target, mixed->path, O_CREAT | O_EXCL | O_WRONLY, 0644);
    int status = fd < 0 ? fd : session->call->file_close(session->target, fd);
    return status < 0 ? session_fail(session, "create", mixed->path, status) : 0;
}

static int do_operation(struct mixed *mixed, enum mixed_phase operation)
{
    switch (operation) {
    case MIXED_READ:
        return read_block(mixed, random_below(&mixed->random, mixed->blocks));
    case MIXED_WRITE:
        return write_block(mixed, random_below(&mixed->random, mixed->blocks));
    case MIXED_STAT:
        return stat_file(mixed, random_below(&mixed->random, mixed->shape->files));
    default:
        return create_file(mixed, "new", mixed->created++);
    }
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

static int run_loop(struct mixed *mixed, struct mixed_outcome *outcome)
{
    const struct mixed_shape *shape = mixed->shape;
    const struct crew_member *worker = mixed->session->worker;
    uint64_t start = mixed->parts[MIXED_ALL]->started, over = start + shape->duration;
    uint64_t arrived = 0, backlog = 0, given_up = 0;
    struct arrivals arrivals;
    int status = 0;
    arrivals_init(&arrivals, shape->poisson, shape->rate, worker->number, worker->count, shape->seed);
    for (;;) {
        uint64_t due = start + arrivals_next(&arrivals);
        if (due >= over || status < 0)
            break;
        if (crew_stopping(worker)) {
            status = -ECANCELED;
            break;
        }
        arrived++;
        enum mixed_phase operation = choose(mixed);
        uint64_t now = crew_now();
        if (now >= over + shape->duration) {
            given_up++;
            backlog++;
            record(mixed, operation, now - due, false);
            continue;
        }
        if (now < due)
            arrivals_wait(due);
        else
            backlog += now >= over;
        status = do_operation(mixed, operation);
        if (status == 0)
            record(mixed, operation, crew_now() - due, true);
    }
    atomic_fetch_add(&outcome->arrived, arrived);
    atomic_fetch_add(&outcome->backlog, backlog);
    atomic_fetch_add(&outcome->given_up, given_up);
    return status;
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
    for (uint64_t i = 0; i < mixed->shape->files && status == 0; i++)
        status = create_file(mixed, "stat", i);
    if (status == 0)
        status = crew_wait(mixed->session->worker);
    if (status == 0)
        status = mixed->read_fd = open_file(mixed, "read", neighbour(mixed), O_RDONLY);
    if (status >= 0)
        status = mixed->write_fd = open_file(mixed, "write", number, O_CREAT | O_EXCL | O_RDWR);
    return status < 0 ? status : 0;
}

/* Whether every block that was written holds what was written to it last. */
static int check_written(struct mixed *mixed)
{
    struct session *session = mixed->session;
    uint64_t size = mixed->shape->size;
    session_path(session, mixed->path, "write.%u", session->worker->number);
    for (uint64_t block = 0; block < mixed->blocks; block++) {
        if (mixed->versions[block] == 0)
            continue;
        content_wipe(&mixed->content, mixed->bytes, size, block * size, true);
        ssize_t count =
            session->call->read(session->target, mixed->write_fd, mixed->bytes, size, (off_t)(block * size));
        if (count != (ssize_t)size)
            return session_fail(session, "read", mixed->path, count < 0 ? (int)count : -EIO);
        if (!content_check(&mixed->content, write_seed(mixed, block), mixed->bytes, size, block * size, true))
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

int mixed_run(struct session *session, const struct mixed_shape *shape, struct mixed_outcome *outcome)
{
    struct mixed mixed = {.session = session, .shape = shape, .blocks = shape->total / shape->size};
    int status = -ENOMEM;
    content_init(&mixed.content, shape->verify);
    random_seed(&mixed.random, hash_mix(shape->seed + session->worker->number));
    mixed.versions = calloc(mixed.blocks, sizeof(*mixed.versions));
    mixed.bytes = aligned_alloc(4096, (shape->size + 4095) & ~UINT64_C(4095));
    if (mixed.versions != NULL && mixed.bytes != NULL)
        status = prepare(&mixed);
    else
        bench_error("out of memory for %llu blocks", (unsigned long long)mixed.blocks);
    if (status == 0)
        status = run_phases(&mixed, outcome);
    if (status == 0)
        status = check_written(&mixed);
    if (status == 0)
        status = remove_all(&mixed);
    free(mixed.bytes);
    free(mixed.versions);
    return status;
}

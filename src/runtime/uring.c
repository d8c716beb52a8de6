/* io_uring on the event loop.
 *
 * A request lives with whoever starts it, mostly on the stack of the task that awaits it; its address is the
 * submission's user data. So there is no table of requests, and a task may not leave before the kernel has
 * answered: a cancelled one asks the kernel to cancel and waits on.
 *
 * Submissions only enter the ring; the reactor's poll hands all that a turn collected to the kernel in one
 * system call. At most `depth` requests are in flight (`room` counts down to 0, later ones are in `waiting`),
 * which the submission ring holds; the completion ring, of twice that size, also holds the answers to one
 * cancellation for each.
 *
 * The ring is set up for one thread that fetches completions itself (SINGLE_ISSUER, DEFER_TASKRUN: the kernel
 * does not interrupt us to deliver them), or without these flags on older kernels. Such a ring's own
 * descriptor does not wake epoll, an eventfd registered with it does. While we poll anyway, its signals would
 * be wasted work, so the eventfd is enabled only by arm. Against a lost wake-up, arm then lets the kernel
 * deliver what it holds and looks at the ring once more: whatever comes later sees the eventfd enabled.
 * Without DEFER_TASKRUN that order is not promised by the kernel, so there the eventfd stays enabled. */
#include "runtime/uring.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "runtime/task.h"

/* What one system call transfers at most (MAX_RW_COUNT). */
#define TRANSFER_LIMIT ((size_t)0x7ffff000)

struct uring {
    struct reactor reactor;
    struct loop *loop;
    struct metrics *metrics; /* the loop's */
    struct io_uring ring;
    uint32_t room;       /* requests that may still start */
    struct list waiting; /* for room */
    uint32_t in_flight;  /* requests and cancellations queued or in the kernel */
    int eventfd;
    bool deferred;     /* DEFER_TASKRUN is in force */
    bool armed;        /* the eventfd is enabled though deferred */
    int submit_status; /* last failure of submission that was logged */
};

static void uring_drain_eventfd(struct uring *uring)
{
    uint64_t count;
    /* Empty is fine: the read only resets what may be there. */
    while (read(uring->eventfd, &count, sizeof(count)) < 0 && errno == EINTR)
        continue;
}

/* Hands the queued submissions to the kernel; returns how many it took. What it did not take stays queued. */
static int uring_submit(struct uring *uring)
{
    int count =
        uring->deferred ? io_uring_submit_and_get_events(&uring->ring) : io_uring_submit(&uring->ring);
    if (count >= 0) {
        metrics_add(uring->metrics, METRIC_URING_SUBMITS, 1);
        metrics_add(uring->metrics, METRIC_URING_ENTRIES, (uint64_t)count);
        metrics_set_peak(uring->metrics, METRIC_URING_FLIGHT, METRIC_URING_FLIGHT_PEAK, uring->in_flight);
        return count;
    }
    if (count != -EAGAIN && count != -EBUSY && count != -EINTR && count != uring->submit_status) {
        log_error("io_uring: submission failed: %s: trying again", strerror(-count));
        uring->submit_status = count;
    }
    return 0;
}

/* Returns a free submission entry, or NULL when the kernel takes none of those queued. */
static struct io_uring_sqe *uring_entry(struct uring *uring)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&uring->ring);
    if (entry == NULL) {
        uring_submit(uring);
        entry = io_uring_get_sqe(&uring->ring);
    }
    return entry;
}

/* Lets waiting requests into the ring. */
static void uring_fill(struct uring *uring)
{
    while (uring->room > 0 && !list_empty(&uring->waiting)) {
        struct io_uring_sqe *entry = uring_entry(uring);
        if (entry == NULL)
            return;
        struct uring_request *request =
            container_of(list_pop_front(&uring->waiting), struct uring_request, link);
        request->prepare(request, entry);
        io_uring_sqe_set_data(entry, &request->done);
        uring->room--;
        uring->in_flight++;
    }
}

void uring_start(struct uring *uring, struct uring_request *request)
{
    list_push_back(&uring->waiting, &request->link);
    uring_fill(uring);
}

void uring_push(struct uring *uring)
{
    if (io_uring_sq_ready(&uring->ring) == 0)
        return;
    int count =
        io_uring_submit(&uring->ring); /* what fails is tried again by the turn's end, which says why */
    if (count <= 0)
        return;
    metrics_add(uring->metrics, METRIC_URING_SUBMITS, 1);
    metrics_add(uring->metrics, METRIC_URING_ENTRIES, (uint64_t)count);
}

static int uring_reap(struct uring *uring)
{
    unsigned head;
    unsigned count = 0;
    struct io_uring_cqe *entry;
    io_uring_for_each_cqe(&uring->ring, head, entry)
    {
        struct completion *done = io_uring_cqe_get_data(entry);
        if (done != NULL) {
            uring->room++;
            completion_fire(done, entry->res);
        }
        count++;
    }
    io_uring_cq_advance(&uring->ring, count);
    uring->in_flight -= count;
    metrics_set(uring->metrics, METRIC_URING_FLIGHT, uring->in_flight);
    uring_fill(uring);
    return (int)count;
}

static int uring_poll(struct reactor *reactor)
{
    struct uring *uring = container_of(reactor, struct uring, reactor);
    if (uring->armed) {
        io_uring_cq_eventfd_toggle(&uring->ring, false);
        uring_drain_eventfd(uring);
        uring->armed = false;
    }
    if (uring->in_flight == 0)
        return 0;
    int work = 0;
    if (io_uring_sq_ready(&uring->ring) != 0)
        work = uring_submit(uring);
    else if ((IO_URING_READ_ONCE(*uring->ring.sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0)
        io_uring_get_events(&uring->ring);
    return work + uring_reap(uring);
}

static int uring_arm(struct reactor *reactor)
{
    struct uring *uring = container_of(reactor, struct uring, reactor);
    if (!uring->deferred)
        uring_drain_eventfd(uring);
    if (uring->in_flight == 0)
        return 0;
    if (io_uring_sq_ready(&uring->ring) != 0)
        return -EBUSY;
    if (uring->deferred) {
        io_uring_cq_eventfd_toggle(&uring->ring, true);
        uring->armed = true;
        io_uring_get_events(&uring->ring);
    }
    return io_uring_cq_ready(&uring->ring) != 0 ? -EBUSY : 0;
}

static int ring_create(struct uring *uring, uint32_t depth)
{
    static const unsigned flags[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        0,
    };
    int status = -EINVAL;
    for (unsigned i = 0; i < sizeof(flags) / sizeof(flags[0]) && status == -EINVAL; i++) {
        struct io_uring_params params = {.flags = flags[i] | IORING_SETUP_CLAMP};
        status = io_uring_queue_init_params(depth, &uring->ring, &params);
        uring->deferred = (flags[i] & IORING_SETUP_DEFER_TASKRUN) != 0;
    }
    if (status == -ENOSYS || status == -EPERM || status == -EACCES) {
        log_warning("io_uring is not available: %s: %s", strerror(-status),
                    status == -ENOSYS
                        ? "the kernel was built without it or is older than 5.1"
                        : "see the sysctl kernel.io_uring_disabled and the container's seccomp profile");
        return -ENOSYS;
    }
    if (status != 0)
        log_error("io_uring: cannot set up a ring of %u entries: %s", depth, strerror(-status));
    return status;
}

int uring_create(struct loop *loop, uint32_t depth, struct uring **created)
{
    if (loop_simulated(loop))
        return -ENOSYS;
    struct uring *uring = calloc(1, sizeof(*uring));
    if (uring == NULL)
        return -ENOMEM;
    uring->loop = loop;
    uring->metrics = loop_metrics(loop);
    int status = ring_create(uring, depth);
    if (status != 0)
        goto free_uring;
    uring->room = uring->ring.sq.ring_entries;
    list_init(&uring->waiting);
    uring->eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (uring->eventfd < 0) {
        status = -errno;
        log_error("io_uring: eventfd: %s", strerror(errno));
        goto exit_ring;
    }
    status = io_uring_register_eventfd(&uring->ring, uring->eventfd);
    if (status != 0) {
        log_error("io_uring: cannot register an eventfd: %s", strerror(-status));
        goto close_eventfd;
    }
    if (uring->deferred)
        io_uring_cq_eventfd_toggle(&uring->ring, false);
    /* Saves a look-up of the descriptor in each system call; kernels before 5.18 do without. */
    io_uring_register_ring_fd(&uring->ring);
    uring->reactor =
        (struct reactor){.name = "io_uring", .poll = uring_poll, .arm = uring_arm, .fd = uring->eventfd};
    status = loop_reactor_add(loop, &uring->reactor);
    if (status != 0)
        goto close_eventfd;
    *created = uring;
    return 0;

close_eventfd:
    close(uring->eventfd);
exit_ring:
    io_uring_queue_exit(&uring->ring);
free_uring:
    free(uring);
    return status;
}

void uring_destroy(struct uring *uring)
{
    assert(uring->in_flight == 0);
    loop_reactor_remove(uring->loop, &uring->reactor);
    io_uring_queue_exit(&uring->ring);
    close(uring->eventfd);
    free(uring);
}

/* Asks the kernel to give the request up. Where that is not possible, it just takes its time. */
static void uring_cancel(struct uring *uring, struct completion *done)
{
    struct io_uring_sqe *entry = uring_entry(uring);
    if (entry == NULL)
        return;
    io_uring_prep_cancel(entry, done, 0);
    io_uring_sqe_set_data(entry, NULL);
    uring->in_flight++;
}

/* A request of a task. */
struct uring_call {
    struct uring_request request;
    const struct io_uring_sqe *prepared;
};

static void uring_copy_prepared(struct uring_request *request, struct io_uring_sqe *entry)
{
    *entry = *container_of(request, struct uring_call, request)->prepared;
}

/* Queues a copy of the prepared submission and waits for its completion. */
static int uring_execute(struct uring *uring, const struct io_uring_sqe *prepared)
{
    struct uring_call call = {.request = {.prepare = uring_copy_prepared}, .prepared = prepared};
    struct completion *done = &call.request.done;
    uring_start(uring, &call.request);

    int status = await(uring->loop, done);
    bool cancelled = status == -ECANCELED;
    if (!done->fired && !list_empty(&call.request.link)) {
        list_remove(&call.request.link);
        return status;
    }
    if (!done->fired)
        uring_cancel(uring, done);
    while (!done->fired)
        await(uring->loop, done);
    status = done->status;
    if (cancelled && status >= 0)
        task_cancel(task_current());
    else if (cancelled && status == -EINTR)
        status = -ECANCELED;
    return status;
}

static unsigned transfer_length(size_t length)
{
    return (unsigned)(length < TRANSFER_LIMIT ? length : TRANSFER_LIMIT);
}

ssize_t uring_read(struct uring *uring, int fd, void *bytes, size_t length, uint64_t offset)
{
    struct io_uring_sqe entry = {0};
    io_uring_prep_read(&entry, fd, bytes, transfer_length(length), offset);
    return uring_execute(uring, &entry);
}

ssize_t uring_write(struct uring *uring, int fd, const void *bytes, size_t length, uint64_t offset)
{
    struct io_uring_sqe entry = {0};
    io_uring_prep_write(&entry, fd, bytes, transfer_length(length), offset);
    return uring_execute(uring, &entry);
}

ssize_t uring_readv(struct uring *uring, int fd, const struct iovec *vector, int count, uint64_t offset)
{
    struct io_uring_sqe entry = {0};
    io_uring_prep_readv(&entry, fd, vector, (unsigned)count, offset);
    return uring_execute(uring, &entry);
}

ssize_t uring_writev(struct uring *uring, int fd, const struct iovec *vector, int count, uint64_t offset)
{
    struct io_uring_sqe entry = {0};
    io_uring_prep_writev(&entry, fd, vector, (unsigned)count, offset);
    return uring_execute(uring, &entry);
}

int uring_fsync(struct uring *uring, int fd, bool data_only)
{
    struct io_uring_sqe entry = {0};
    io_uring_prep_fsync(&entry, fd, data_only ? IORING_FSYNC_DATASYNC : 0);
    return uring_execute(uring, &entry);
}

struct io_uring *uring_ring(struct uring *uring)
{
    return &uring->ring;
}

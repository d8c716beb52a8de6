/* io_uring as a reactor: each call queues one submission and suspends the task until its completion, or, with
 * uring_start, goes on at once. Submissions of one loop turn enter the kernel together. Not available on a
 * simulated loop (-ENOSYS). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/list.h"
#include "runtime/loop.h"

struct uring;
struct io_uring;
struct io_uring_sqe;

/* depth: requests in the kernel at a time (rounded up to a power of two); further callers wait in order of
 * arrival. To be called on the thread that runs the loop; the caller destroys before the loop, when no
 * request is under way. Returns 0, -ENOSYS (logged) where the kernel has no io_uring or forbids it, or
 * -errno. */
int uring_create(struct loop *loop, uint32_t depth, struct uring **uring);
void uring_destroy(struct uring *uring);

/* Each returns the result of the system call of that name (>= 0, which may be short) or -errno. offset
 * UINT64_MAX: the descriptor's own position, as sockets and pipes want it. A cancelled task gets -ECANCELED,
 * but not before the kernel has let go of its memory; if the request succeeds meanwhile, its result is
 * returned and the cancellation comes with the next await. */
ssize_t uring_read(struct uring *uring, int fd, void *bytes, size_t length, uint64_t offset);
ssize_t uring_write(struct uring *uring, int fd, const void *bytes, size_t length, uint64_t offset);
ssize_t uring_readv(struct uring *uring, int fd, const struct iovec *vector, int count, uint64_t offset);
ssize_t uring_writev(struct uring *uring, int fd, const struct iovec *vector, int count, uint64_t offset);
int uring_fsync(struct uring *uring, int fd, bool data_only);

/* A request of any kind that its starter need not wait for. */
struct uring_request {
    struct list link;
    /* Fills the submission, but for its user data; called once, in uring_start or when there is room. */
    void (*prepare)(struct uring_request *request, struct io_uring_sqe *entry);
    struct completion done; /* fires with the result; `notify` may be set, and may start further requests */
};
/* Never suspends; what the ring has no room for waits in order of arrival. Request and memory stay until done
 * has fired, which never happens in this call. */
void uring_start(struct uring *uring, struct uring_request *request);

/* Hands over at once what was started in this turn, for one who is about to compute. */
void uring_push(struct uring *uring);

/* For registering buffers and files, on the thread that runs the loop. */
struct io_uring *uring_ring(struct uring *uring);

/* io_uring as a reactor: each call queues one submission and suspends the task until its completion.
 * Submissions of one loop turn enter the kernel together. Not available on a simulated loop (-ENOSYS). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "runtime/loop.h"

struct uring;

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

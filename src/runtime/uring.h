/* io_uring as a reactor: each call queues one submission and suspends the task until its completion.
 * Submissions of one loop turn enter the kernel together. Not available on a simulated loop (-ENOSYS). */
#pragma once

#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "runtime/loop.h"

struct uring;

/* depth: submission queue entries (power of two). Returns 0 or -errno; the caller destroys before the loop.
 */
int uring_create(struct loop *loop, uint32_t depth, struct uring **uring);
void uring_destroy(struct uring *uring);

/* Each returns the result of the system call of that name (>= 0) or -errno. */
ssize_t uring_read(struct uring *uring, int fd, void *bytes, size_t length, uint64_t offset);
ssize_t uring_write(struct uring *uring, int fd, const void *bytes, size_t length, uint64_t offset);
ssize_t uring_readv(struct uring *uring, int fd, const struct iovec *vector, int count, uint64_t offset);
ssize_t uring_writev(struct uring *uring, int fd, const struct iovec *vector, int count, uint64_t offset);
int uring_fsync(struct uring *uring, int fd, bool data_only);

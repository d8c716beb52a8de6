/* `bench calibrate`: what the resources of this machine give at most. Results are held against these limits,
 * by warnings (bench/guards.h), `benchfs explain` and reports.
 *
 *   name                unit  what                                                      size, depth and more
 *   memcpy              B/s   copies of `size` from one buffer over `footprint` bytes   by `processes` in all
 *   network-latency     ns    round trip, `size` there and 64 bytes back                `transport`
 *   network-bandwidth   B/s   transfers, each of them acknowledged                      `transport`
 *   device-read/-write  B/s   sequential, past the page cache
 *   device-iops-read/-write  op/s  at random places, past the page cache
 *   fsync               ns    4 KiB written and fdatasync
 *   syscall             ns    a system call that does nothing
 *   wakeup              ns    from waking a process that sleeps on another processor until it runs
 *
 * Transports: `ucx` is UCX alone as BenchFS configures it (net/raw.h); `shm` two processes that poll a line
 * of shared memory, of which the receiver copies the bytes out of the sender's memory. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/options.h"
#include "bench/result.h"

struct calibration {
    bool memory, network, device, system; /* what to measure */
    const char *directory;                /* of the device */
    uint64_t file_size;                   /* bytes that are used in it */
    uint64_t duration;                    /* ns of each measurement */
    uint32_t repeats;                     /* of each; at most CREW_PHASES_MAX */
    /* Told of each limit when it is known; limit->run is not set. */
    void (*found)(void *argument, const struct result_limit *limit);
    void *argument;
};

/* Measures. To be called in a process that has not used UCX. 0, or -errno after one line on standard error;
 * -EINTR without one. What was found before an error has been told. */
int calibrate(const struct calibration *calibration);

/* The parts. */
int calibrate_memory(const struct calibration *calibration);
int calibrate_network(const struct calibration *calibration);
int calibrate_device(const struct calibration *calibration);
int calibrate_system(const struct calibration *calibration);

/* Tells the limit of which these values were measured: the best of them; low and high are the least and the
 * greatest. */
void calibrate_tell(const struct calibration *calibration, struct result_limit limit,
                    const struct sample *values);

extern const struct bench_verb bench_calibrate;

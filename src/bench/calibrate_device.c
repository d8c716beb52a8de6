/* The device of a directory, past the page cache: one file that is written once from end to end, so that no
 * measured transfer allocates blocks, and then transferred by io_uring at some depths. Where direct transfers
 * are not possible there is no device to measure, and it says so. */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/random.h"
#include "bench/calibrate.h"
#include "bench/crew.h"
#include "bench/interrupt.h"

#define LARGE (UINT64_C(1) << 20)
#define SMALL UINT64_C(4096)
#define DEPTH_MAX 32u

struct device {
    const struct calibration *calibration;
    int fd;
    uint8_t *buffer; /* DEPTH_MAX * LARGE */
    struct io_uring ring;
    struct random random;
};

struct pattern {
    const char *name, *unit;
    bool writes, random;
    uint64_t size;
    uint32_t depth;
};

static void submit(struct device *device, const struct pattern *pattern, uint32_t slot, uint64_t number)
{
    uint64_t places = device->calibration->file_size / pattern->size;
    uint64_t place = pattern->random ? random_below(&device->random, places) : number % places;
    struct io_uring_sqe *entry = io_uring_get_sqe(&device->ring);
    void *bytes = device->buffer + slot * LARGE;
    if (pattern->writes)
        io_uring_prep_write(entry, device->fd, bytes, (unsigned)pattern->size, place * pattern->size);
    else
        io_uring_prep_read(entry, device->fd, bytes, (unsigned)pattern->size, place * pattern->size);
    io_uring_sqe_set_data64(entry, slot);
}

/* Transfers for the duration. Returns operations a second, or -errno. */
static double transfer(struct device *device, const struct pattern *pattern)
{
    uint64_t started = crew_now(), until = started + device->calibration->duration;
    uint64_t begun = 0, done = 0;
    int status = 0;
    while (begun < pattern->depth)
        submit(device, pattern, (uint32_t)begun, begun), begun++;
    while (done < begun) {
        struct io_uring_cqe *entry;
        int submitted = io_uring_submit_and_wait(&device->ring, 1);
        if (submitted < 0 && submitted != -EINTR)
            return submitted;
        while (io_uring_peek_cqe(&device->ring, &entry) == 0) {
            uint32_t slot = (uint32_t)io_uring_cqe_get_data64(entry);
            if (entry->res != (int)pattern->size && status == 0)
                status = entry->res < 0 ? entry->res : -EIO;
            io_uring_cqe_seen(&device->ring, entry);
            done++;
            if (status == 0 && crew_now() < until)
                submit(device, pattern, slot, begun++);
        }
    }
    return status < 0 ? status : (double)done * 1e9 / (double)(crew_now() - started);
}

static int measure(struct device *device, const struct pattern *pattern)
{
    struct sample values = {0};
    for (uint32_t i = 0; i < device->calibration->repeats; i++) {
        double rate = interrupted() ? -EINTR : transfer(device, pattern);
        if (rate < 0.0)
            return (int)rate;
        sample_add(&values, strcmp(pattern->unit, "B/s") == 0 ? rate * (double)pattern->size : rate);
    }
    calibrate_tell(device->calibration,
                   (struct result_limit){.name = pattern->name,
                                         .unit = pattern->unit,
                                         .size = pattern->size,
                                         .depth = pattern->depth,
                                         .transport = ""},
                   &values);
    return 0;
}

static int measure_sync(struct device *device)
{
    struct sample values = {0};
    for (uint32_t i = 0; i < device->calibration->repeats; i++) {
        uint64_t started = crew_now(), until = started + device->calibration->duration, count = 0;
        for (; count == 0 || crew_now() < until; count++) {
            off_t place =
                (off_t)(random_below(&device->random, device->calibration->file_size / SMALL) * SMALL);
            if (pwrite(device->fd, device->buffer, SMALL, place) != (ssize_t)SMALL ||
                fdatasync(device->fd) != 0)
                return -errno;
        }
        sample_add(&values, (double)(crew_now() - started) / (double)count);
    }
    calibrate_tell(
        device->calibration,
        (struct result_limit){.name = "fsync", .unit = "ns", .size = SMALL, .depth = 1, .transport = ""},
        &values);
    return 0;
}

static int measure_all(struct device *device)
{
    static const struct pattern patterns[] = {
        {"device-write", "B/s", true, false, LARGE, 1},
        {"device-write", "B/s", true, false, LARGE, 8},
        {"device-read", "B/s", false, false, LARGE, 1},
        {"device-read", "B/s", false, false, LARGE, 8},
        {"device-iops-write", "op/s", true, true, SMALL, 1},
        {"device-iops-write", "op/s", true, true, SMALL, 8},
        {"device-iops-write", "op/s", true, true, SMALL, 32},
        {"device-iops-read", "op/s", false, true, SMALL, 1},
        {"device-iops-read", "op/s", false, true, SMALL, 8},
        {"device-iops-read", "op/s", false, true, SMALL, 32},
    };
    int status = 0;
    for (uint64_t at = 0; at < device->calibration->file_size && status == 0; at += LARGE) {
        ssize_t count = pwrite(device->fd, device->buffer, LARGE, (off_t)at);
        if (count != (ssize_t)LARGE)
            status = count < 0 ? -errno : -ENOSPC;
    }
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]) && status == 0; i++)
        status = measure(device, &patterns[i]);
    return status == 0 ? measure_sync(device) : status;
}

int calibrate_device(const struct calibration *calibration)
{
    char path[4096];
    struct calibration rounded = *calibration;
    rounded.file_size -= rounded.file_size % LARGE;
    struct device device = {.calibration = &rounded};
    random_seed(&device.random, 1);
    snprintf(path, sizeof(path), "%s/benchfs-calibrate.%d", calibration->directory, (int)getpid());
    device.fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_DIRECT | O_CLOEXEC, 0600);
    if (device.fd < 0) {
        int status = -errno;
        unlink(path); /* a file system without direct transfers has made it all the same */
        bench_error("cannot measure the device of \"%s\": %s", calibration->directory,
                    status == -EINVAL ? "its file system has no direct transfers" : strerror(-status));
        return status;
    }
    unlink(path);
    device.buffer = aligned_alloc(SMALL, DEPTH_MAX * LARGE);
    int status = device.buffer == NULL ? -ENOMEM : io_uring_queue_init(DEPTH_MAX, &device.ring, 0);
    if (status == 0) {
        memset(device.buffer, 0x5a, DEPTH_MAX * LARGE);
        status = measure_all(&device);
        io_uring_queue_exit(&device.ring);
    }
    if (status < 0 && status != -EINTR)
        bench_error("cannot measure the device of \"%s\": %s", calibration->directory, strerror(-status));
    free(device.buffer);
    close(device.fd);
    return status;
}

/* Clients that transfer through the file system: a file of a cluster is written or read by one or more
 * processes, several transfers at a time each. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct stream {
    const char *cluster;  /* its file */
    const char *path;     /* in it; made if missing */
    uint64_t size;        /* of a transfer: a multiple of 4 KiB */
    uint64_t footprint;   /* of the file: a multiple of size */
    uint32_t depth;       /* transfers under way, of each process; 1: by pread and pwrite */
    uint32_t processes;   /* more than one: in random order only */
    const int *processor; /* of each process; -1: any */
    bool writing;
    bool random;
    uint64_t duration; /* ns; 0: once through the file, in all */
};

struct stream_result {
    uint64_t operations;
    double bytes_per_second;
    double operations_per_second;
    double median_ns; /* of a transfer, from submission to completion */
};

/* What is read must have been written by a stream before: 8 bytes of each 4 KiB are compared. 0, or -errno
 * after one line on standard error (-EINTR without). */
int stream_run(const struct stream *stream, struct stream_result *result);

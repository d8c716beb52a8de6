/* fio, the reference for transfers on a device: one job with io_uring, its result read from its JSON. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fio_job {
    const char *directory;
    const char *file; /* its name there, without colons; made if missing or smaller than `size`, and stays */
    bool writing;
    bool random;
    uint64_t block; /* bytes of a transfer */
    uint64_t size;  /* of the file */
    uint32_t depth;
    uint64_t duration; /* ns; 0: once through the file */
};

struct fio_result {
    uint64_t operations;
    double bytes_per_second;
    double operations_per_second;
    double median_ns; /* from submission to completion */
};

/* Whether fio can be run (it is in PATH). */
bool fio_found(void);
/* Runs the job, past the page cache. 0, or -errno after one line on standard error: -ENOENT no fio; -EIO it
 * failed; -EBADMSG its output is not understood; -ETIMEDOUT after patience ns; -EINTR (without a line) when
 * interrupted. */
int fio_run(const struct fio_job *job, uint64_t patience, struct fio_result *result);

/* Reads the output of one job (--output-format=json --lat_percentiles=1). -EBADMSG: it is not that, or lacks
 * something, or nothing was transferred; -EIO: fio says that the job failed. */
int fio_parse(const char *text, size_t length, bool writing, struct fio_result *result);

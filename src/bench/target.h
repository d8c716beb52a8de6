/* What is measured: a file system behind the same few calls, whichever it is. One target per worker. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "benchfs.h"

struct target;

/* Calls return 0 or more, or a negative errno value. */
struct target_operations {
    const char *scheme; /* "posix:", before the place in --target */
    const char *help;
    int (*open)(const char *place, struct target **target);
    void (*close)(struct target *target);

    int (*file_open)(struct target *target, const char *path, int flags, mode_t mode);
    int (*file_close)(struct target *target, int fd);
    ssize_t (*read)(struct target *target, int fd, void *bytes, size_t length, off_t offset);
    ssize_t (*write)(struct target *target, int fd, const void *bytes, size_t length, off_t offset);
    int (*sync)(struct target *target, int fd);
    int (*stat)(struct target *target, const char *path, struct stat *status);
    int (*unlink)(struct target *target, const char *path);
    int (*mkdir)(struct target *target, const char *path, mode_t mode);
    int (*rmdir)(struct target *target, const char *path);
    /* As benchfs_submit and benchfs_wait. */
    int (*submit)(struct target *target, struct benchfs_io *const *ios, unsigned count);
    int (*wait)(struct target *target, struct benchfs_io **done, unsigned minimum, unsigned maximum);
};

struct target {
    const struct target_operations *operations;
    char root[512]; /* existing directory; paths given to the calls begin with it */
};

#define TARGET_DEPTH_MAX 256u

extern const struct target_operations target_benchfs, target_posix;

/* Checks a --target argument without opening it. 0, or -EINVAL after one line on standard error. */
int target_check(const char *specification);
/* Opens it; 0 or -errno after one line on standard error. */
int target_open(const char *specification, struct target **target);

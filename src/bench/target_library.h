/* Client libraries of other file systems, loaded when they are measured: this program neither needs them to
 * be built nor to run. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/target.h"

/* A call of the library, and where its address goes. */
struct target_symbol {
    const char *name;
    size_t offset; /* in the caller's struct of function pointers */
};

struct target_library {
    const char *scheme;                  /* for messages: "chfs:" */
    const char *file;                    /* "libchfs.so": looked for where the loader looks */
    const char *variable;                /* of the environment: a path that goes before that */
    const char *needed;                  /* a library whose calls it uses without naming it; or NULL */
    const struct target_symbol *symbols; /* all of them are needed; the first tells which library of
                                          * --library is meant; ends with name NULL */
};

/* Loads the library, once, and fills in `calls`. 0, or -errno after one line on standard error: it is missing
 * (-ENOENT) or lacks a call (-ENOSYS). */
int target_library_load(const struct target_library *library, void *calls);

/* Whether `connect` succeeds, tried in a process of its own, because such libraries end the process when no
 * server answers. 0, or -EHOSTDOWN after one line on standard error with what the library said last. */
int target_library_try(const struct target_library *library, bool (*connect)(void));

/* ---- what these libraries have in common ---- */

#define LIBRARY_CALLS(CALL)                                                                                  \
    CALL(int, create, (const char *path, int32_t flags, mode_t mode))                                        \
    CALL(int, open, (const char *path, int32_t flags))                                                       \
    CALL(int, close, (int fd))                                                                               \
    CALL(ssize_t, pwrite, (int fd, const void *bytes, size_t size, off_t offset))                            \
    CALL(ssize_t, pread, (int fd, void *bytes, size_t size, off_t offset))                                   \
    CALL(int, fsync, (int fd))                                                                               \
    CALL(int, unlink, (const char *path))                                                                    \
    CALL(int, mkdir, (const char *path, mode_t mode))                                                        \
    CALL(int, rmdir, (const char *path))                                                                     \
    CALL(int, stat, (const char *path, struct stat *status))

struct library_calls {
#define CALL(result, name, parameters) result(*name) parameters;
    LIBRARY_CALLS(CALL)
#undef CALL
};

/* A target over such a library. */
struct library_target {
    struct target target;
    const struct library_calls *calls;
};

/* What a call returned, or -errno; -EIO where the library did not set errno. */
int library_result(int returned);

/* Operations of struct target_operations that are a call each. */
int library_file_open(struct target *target, const char *path, int flags, mode_t mode);
int library_file_close(struct target *target, int fd);
ssize_t library_read(struct target *target, int fd, void *bytes, size_t length, off_t offset);
ssize_t library_write(struct target *target, int fd, const void *bytes, size_t length, off_t offset);
int library_sync(struct target *target, int fd);
int library_path_stat(struct target *target, const char *path, struct stat *status);
int library_unlink(struct target *target, const char *path);
int library_mkdir(struct target *target, const char *path, mode_t mode);
int library_rmdir(struct target *target, const char *path);

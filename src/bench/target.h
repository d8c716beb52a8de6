/* What is measured: a file system behind the same few calls, whichever it is. One target per worker. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/config.h"
#include "bench/options.h"
#include "benchfs.h"

struct client;
struct metrics;
struct sources;
struct target;

/* One entry of a directory: type is S_IFREG, S_IFDIR, ... or 0, not known. Returns 0 to go on. */
typedef int (*target_entry)(void *argument, const char *name, mode_t type);

/* What is known of a target, for reports and for warnings. Fixed in size: it comes from another process. */
struct target_facts {
    uint32_t servers;     /* 0: unknown, or it has none */
    bool in_memory;       /* contents never leave memory */
    bool page_cache;      /* reads may be answered by this host's kernel */
    uint32_t alignment;   /* page_cache: not those whose size is a multiple of this; 0: all */
    bool client_cache;    /* reads may be answered by the client */
    bool through_mount;   /* of FUSE */
    char transports[256]; /* separated by commas; "": none, or unknown */
    bool configured;      /* configuration is what its servers run with */
    struct config configuration;
};

/* Calls return 0 or more, or a negative errno value. */
struct target_operations {
    const char *scheme; /* "posix:", before the place in --target */
    const char *help;
    const char
        *server; /* the program that serves it, as the kernel names processes; NULL: none, or benchfsd */
    /* Whether the place can be meant, without going there: 0, or -EINVAL after one line on standard error. */
    int (*check)(const char *place);
    /* These two may be NULL: called once for each target, before it is first opened by a worker and after
     * the last has closed it, in the process that starts the workers, which itself never opens it. */
    int (*prepare)(const char *place);
    void (*release)(const char *place);
    int (*open)(const char *place, struct target **target);
    void (*close)(struct target *target);
    /* Of a target that is open; facts are zeroed. All servers must answer: 0, or -errno after one line on
     * standard error. */
    int (*describe)(struct target *target, struct target_facts *facts);

    int (*file_open)(struct target *target, const char *path, int flags, mode_t mode);
    int (*file_close)(struct target *target, int fd);
    ssize_t (*read)(struct target *target, int fd, void *bytes, size_t length, off_t offset);
    ssize_t (*write)(struct target *target, int fd, const void *bytes, size_t length, off_t offset);
    int (*sync)(struct target *target, int fd);
    int (*stat)(struct target *target, const char *path, struct stat *status);
    int (*unlink)(struct target *target, const char *path);
    int (*mkdir)(struct target *target, const char *path, mode_t mode);
    int (*rmdir)(struct target *target, const char *path);
    /* Calls `each` for the entries other than "." and ".."; what it returns other than 0 ends it and is
     * returned. */
    int (*list)(struct target *target, const char *path, target_entry each, void *argument);
    /* The same for one of `parts` parts of the directory, numbered from 0, which together are all of it, each
     * entry once, as long as nothing changes; no more is fetched than that. NULL: it lists directories as a
     * whole. */
    int (*list_part)(struct target *target, const char *path, uint32_t part, uint32_t parts,
                     target_entry each, void *argument);
    /* These, submit and wait may be NULL: a file system without such a call. What needs it is reported as
     * TARGET_UNSUPPORTED, and neither tried in other ways nor counted. */
    int (*rename)(struct target *target, const char *path, const char *new_path);
    int (*link)(struct target *target, const char *path, const char *new_path);
    int (*truncate)(struct target *target, const char *path, off_t length);
    /* Symbolic links: all three or none. `to` is the text, an absolute path. readlink: bytes, without an end.
     */
    int (*symlink)(struct target *target, const char *to, const char *path);
    ssize_t (*readlink)(struct target *target, const char *path, char *text, size_t size);
    int (*lstat)(struct target *target, const char *path, struct stat *status);
    /* As benchfs_submit and benchfs_wait, with all kinds of calls. patience: ns; TARGET_FOR_EVER. */
    int (*submit)(struct target *target, struct benchfs_io *const *ios, unsigned count);
    int (*wait)(struct target *target, struct benchfs_io **done, unsigned minimum, unsigned maximum,
                uint64_t patience);
    /* The client core of the calling thread, for benchmarks of its parts; NULL: there is none. May be NULL.
     */
    struct client *(*client)(struct target *target);
    /* What the calling thread measures about itself, up to date; NULL: it does not. May be NULL. */
    struct metrics *(*metrics)(struct target *target);
    /* What its servers measure about themselves, up to date, until the target is closed; NULL: it cannot be
     * found out. Waits for requests. May be NULL. */
    struct sources *(*servers)(struct target *target);
};

struct target {
    const struct target_operations *operations;
    char root[512]; /* existing directory; paths given to the calls begin with it */
};

#define TARGET_DEPTH_MAX 256u
#define TARGET_FOR_EVER UINT64_MAX
#define TARGET_UNSUPPORTED "not supported by this target"

extern const struct target_operations target_benchfs, target_posix, target_chfs, target_finchfs,
    target_record;

/* Values of --library: paths of client libraries of other file systems. */
extern struct bench_list target_libraries;

/* What --target takes, for help texts. */
#define TARGET_SYNTAX                                                                                        \
    "benchfs:[DIRECTORY], benchfs:KEY=VALUE,..., posix:DIRECTORY[,direct], chfs:[DIRECTORY], "               \
    "finchfs:[DIRECTORY] or record:FILE:TARGET"

/* The calls that a specification's kind of target has, of "record:" those of the target behind it; NULL:
 * there is no such kind. */
const struct target_operations *target_kind(const char *specification);
/* For `check`: a directory's path, or nothing. */
int target_check_directory(const char *scheme, const char *place);

/* Checks a --target argument without opening it. 0, or -EINVAL after one line on standard error. */
int target_check(const char *specification);
/* Whether such a target, which has been checked, has a client core. */
bool target_has_client(const char *specification);
/* The specification of what is measured behind "record:", of other targets their own; NULL: there is none
 * behind it. */
const char *target_unrecorded(const char *specification);
/* The same for what follows "record:". */
const char *target_record_inner(const char *place);
/* Calls prepare or release, if it has them. The first: 0, or -errno after one line on standard error. */
int target_prepare(const char *specification);
void target_release(const char *specification);
/* Opens it; 0 or -errno after one line on standard error. */
int target_open(const char *specification, struct target **target);

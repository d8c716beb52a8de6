/* Inside libbenchfs_preload.so: what its modules share.
 *
 * A call of the program is either the C library's, and then costs one comparison more, or BenchFS's. Paths
 * are BenchFS's below the prefix, or relative ones when the current directory or the directory descriptor
 * is; descriptors are when they are in the table. While a thread is inside BenchFS (its client, transport,
 * the loader), its calls are the C library's. */
#pragma once

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "preload/real.h"
#include "preload/remote.h"

#define EXPORT __attribute__((visibility("default")))
/* A second name of an exported function: the 64-bit forms are the same functions on 64-bit machines. */
#define ALIAS(second, first)                                                                                 \
    __asm__(".globl " #second "\n.type " #second ", %function\n.set " #second ", " #first)
#define THREAD __thread __attribute__((tls_model("initial-exec"), visibility("hidden")))
#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

/* ---- inside BenchFS ---- */

/* Depth of the thread's calls into BenchFS. */
extern THREAD unsigned inside;

extern const struct remote_calls *remote __attribute__((visibility("hidden"))); /* NULL: not connected */

/* Connects if that was not tried yet. False with errno set when there is no BenchFS; the reason was printed
 * once. */
bool remote_connect_slow(void);
static inline bool remote_ready(void)
{
    return likely(remote != NULL) || remote_connect_slow();
}

/* Where the last path led to if it led out of BenchFS, else NULL. */
const char *remote_left(void);

/* ---- credentials (credentials.c) ---- */

/* How often they changed, and at which of it this thread told BenchFS. */
extern _Atomic uint32_t credentials_changes __attribute__((visibility("hidden")));
extern THREAD uint32_t credentials_known;
void credentials_tell(void);
/* This thread's alone have changed. */
void credentials_changed_here(void);

/* REMOTE(int, mkdirat(...)): one call into BenchFS; errno stays as it was unless the call fails. */
#define REMOTE(type, call)                                                                                   \
    ({                                                                                                       \
        int before_ = errno;                                                                                 \
        if (unlikely(credentials_known != atomic_load_explicit(&credentials_changes, memory_order_relaxed))) \
            credentials_tell();                                                                              \
        inside++;                                                                                            \
        type result_ = remote->call;                                                                         \
        inside--;                                                                                            \
        if (likely(result_ >= 0))                                                                            \
            errno = before_;                                                                                 \
        result_;                                                                                             \
    })

/* The same with a path that may lead out: then `again` is done with `left`, an absolute path outside. */
#define REMOTE_PATH(type, call, again)                                                                       \
    ({                                                                                                       \
        type outcome_ = REMOTE(type, call);                                                                  \
        const char *left;                                                                                    \
        if (unlikely(outcome_ < 0) && errno == EXDEV && (left = remote_left()) != NULL)                      \
            outcome_ = again;                                                                                \
        outcome_;                                                                                            \
    })

/* ---- paths (paths.c) ---- */

struct prefix {
    uint32_t length;  /* 0: not known yet, or there is none */
    bool begins[256]; /* first bytes of its components */
    char text[PATH_MAX];
};
extern struct prefix prefix __attribute__((visibility("hidden")));
extern bool current_inside __attribute__((visibility("hidden"))); /* the current directory is in BenchFS */

/* Reads BENCHFS_PREFIX. */
void paths_prepare(void);

enum route { ROUTE_REAL, ROUTE_REMOTE, ROUTE_FAILED };

/* What a remote path call starts from. */
struct place {
    int directory;
    const char *path;
};

/* The absolute path's part behind the prefix ("/" for the prefix itself), or NULL. */
const char *path_behind_prefix(const char *path);

enum route place_find(int dirfd, const char *path, struct place *place);

/* NULL and its neighbours are for the kernel to refuse. */
static inline bool no_path(const char *path)
{
    return (uintptr_t)path < 4096;
}

/* Whose call it is. */
static inline enum route place_of(int dirfd, const char *path, struct place *place)
{
    if (unlikely(no_path(path)))
        return ROUTE_REAL;
    if (likely(path[0] == '/')) {
        if (likely(path[1] != prefix.text[1]) && likely(path[1] != '/'))
            return ROUTE_REAL;
    } else if (likely(dirfd == AT_FDCWD && !current_inside && !prefix.begins[(unsigned char)path[0]])) {
        return ROUTE_REAL;
    }
    return place_find(dirfd, path, place);
}

/* ROUTE(place, dirfd, path, failure, call): goes on with `place` if the path is BenchFS's; otherwise returns
 * what `call`, the C library's function, does. */
#define ROUTE(place, dirfd, path, failure, call)                                                             \
    struct place place;                                                                                      \
    enum route route_##place = place_of(dirfd, path, &place);                                                \
    if (likely(route_##place == ROUTE_REAL))                                                                 \
        return call;                                                                                         \
    if (unlikely(route_##place == ROUTE_FAILED))                                                             \
    return failure

/* The canonical form of a path in BenchFS, as the program sees it (with the prefix), into result (PATH_MAX).
 * missing: the last component need not exist. 0, 1 when the path leads out (result is then where to), -1. */
int path_canonical(const struct place *place, bool missing, char *result);
/* A path that names the place for the C library and for messages: prefix included. False: too long. */
bool place_text(const struct place *place, char *result);
/* Name of the current directory, which is in BenchFS; NULL with errno set. */
const char *current_text(void);
/* The same as last known, NULL when it is not in BenchFS; and that of the program before exec. */
const char *paths_current_saved(void);
void paths_current_restore(const char *text);

/* ---- fifos (fifo.c) ---- */

/* For an open that failed with EOPNOTSUPP or ENXIO: opens the kernel's fifo behind the place if it is one. A
 * descriptor of the kernel's, or -1 with errno as it was or of the new failure. May block. */
int fifo_open(const struct place *place, int flags);

/* ---- descriptors (descriptors.c, family.c) ---- */

#define DESCRIPTORS_MAX (1u << 20)
#define DESCRIPTIONS_MAX (1u << 16)

/* Entries of the table of descriptors. 0: not ours. */
#define ENTRY_OPEN 0x80000000u     /* the rest is the number of its description */
#define ENTRY_RESERVED 0x40000000u /* closed by the program, kept for the next open */
#define ENTRY_INTERNAL 0x20000000u /* belongs to BenchFS's own connections: the program must not see it */
#define ENTRY_NUMBER 0x00ffffffu

extern uint32_t descriptors[DESCRIPTORS_MAX] __attribute__((visibility("hidden")));

/* An open file description, shared by all processes that inherited it. */
struct description {
    pthread_mutex_t lock; /* of offset while a read or write runs */
    _Atomic int64_t offset;
    _Atomic int32_t flags; /* O_* */
    int32_t owner;         /* process that made it */
    bool saved;            /* file is valid */
    struct remote_file file;
    struct shared_locks locks;
};

/* What this process has of a description. */
struct opened {
    int remote;          /* libbenchfs's descriptor; -1: description->file says how to open it */
    uint32_t references; /* descriptors of this process */
    bool close_on_exec;  /* of the descriptor, if there was never another one */
    bool duplicated;     /* there was: each of them has the flag for itself */
    bool shared;         /* other processes may have it too */
    bool locked;         /* this process may have record locks by it */
    int32_t told; /* the description's flags as libbenchfs knows them: whoever shares it may set others */
};
extern struct opened opened[DESCRIPTIONS_MAX] __attribute__((visibility("hidden")));
extern struct description *descriptions __attribute__((visibility("hidden")));

static inline uint32_t descriptor_entry(int fd)
{
    return likely((unsigned)fd < DESCRIPTORS_MAX) ? descriptors[fd] : 0;
}

/* Decides on a descriptor with an entry: number gets that of its description. FAILED with EBADF when the
 * program has no such descriptor. */
enum route descriptor_find(uint32_t entry, uint32_t *number);
static inline enum route descriptor_of(int fd, uint32_t *number)
{
    uint32_t entry = descriptor_entry(fd);
    if (likely(entry == 0))
        return ROUTE_REAL;
    return descriptor_find(entry, number);
}

/* As ROUTE, for a descriptor: `number` is its description, opened[number].remote its file. */
#define ROUTE_FD(number, fd, failure, call)                                                                  \
    uint32_t number;                                                                                         \
    enum route route_##number = descriptor_of(fd, &number);                                                  \
    if (likely(route_##number == ROUTE_REAL))                                                                \
        return call;                                                                                         \
    if (unlikely(route_##number == ROUTE_FAILED))                                                            \
    return failure

/* Makes a descriptor of the program for libbenchfs's descriptor, which it takes over also on failure. The
 * descriptor, or -1 with errno set. */
int descriptor_make(int remote_fd, int flags);
/* F_SETLK and its kin. */
int description_record_lock(uint32_t number, int command, struct flock *lock);
/* The descriptor is BenchFS's, in this thread, now. */
bool descriptor_is_remote(int fd);
/* The descriptor of this process that a path outside names ("/dev/fd/5", "/dev/stdin", "/proc/self/fd/5"), or
 * -1. */
int descriptor_named(const char *path);
static inline bool descriptor_maybe_named(const char *path)
{
    return !no_path(path) && path[0] == '/' &&
           (strncmp(path, "/dev/", 5) == 0 || strncmp(path, "/proc/self/fd/", 14) == 0);
}
/* Gives reserved descriptors back to the kernel. */
void descriptors_drop_reserved(void);
extern int descriptors_reserved_lowest __attribute__((visibility("hidden"))); /* -1: none */
/* The kernel is about to choose a number: it must be free to take the lowest. */
static inline void descriptors_make_room(void)
{
    if (unlikely(descriptors_reserved_lowest >= 0) && inside == 0)
        descriptors_drop_reserved();
}
/* A descriptor made by BenchFS itself moves out of the program's way. Returns its new number. */
int descriptor_hide(int fd);
void descriptor_set_internal(int fd);
/* Writes down for a new program what the open files are. */
void descriptors_save(void);
/* Takes over what the program before exec had open. */
void descriptors_adopt(const char *state);
bool descriptors_any(void);
/* There are some that a program started from here gets. */
bool descriptors_any_kept(void);
/* The process ends: closes what it has open, on the servers only. */
void descriptors_farewell(void);
void descriptors_prepare(void);
/* Kernel descriptors of the family's tables, -1 while there is none. */
extern int family_table __attribute__((visibility("hidden")));
extern int family_anchor __attribute__((visibility("hidden")));

/* ---- standard input, output and error (stdio.c) ---- */

/* fd 0, 1 or 2 became, or ceased to be, BenchFS's. */
void stdio_descriptor_changed(int fd);

/* ---- starting programs (exec.c, spawn.c) ---- */

/* The environment with what a new program must know of this one (BENCHFS_PRELOAD), or `environment` itself
 * when there is nothing. Free with environment_free. NULL: out of memory. */
char **environment_make(char *const *environment);
void environment_free(char **made, char *const *environment);
/* Takes over what the program that started this one handed on. */
void environment_adopt(void);

/* ---- copies of files for the kernel and the loader (exec.c) ---- */

/* A memfd with the contents of the file open as libbenchfs's fd, hidden and closed on exec. -1 with errno. */
int copy_to_memory(int remote_fd, const char *name);

/* Recorded file operations of some processes: read, checked, and written. The format is described in
 * benchfs-workloads(7). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/map.h"

#define TRACE_FORMAT 1
#define TRACE_PATH_MAX 512u                  /* bytes of a path */
#define TRACE_LENGTH_MAX (UINT64_C(1) << 30) /* of a read or write */
#define TRACE_OFFSET_MAX (UINT64_C(1) << 50)
#define TRACE_EVENTS_MAX 10000000u

/* X(id, name) */
#define TRACE_OPERATIONS(X)                                                                                  \
    X(OPEN, "open")                                                                                          \
    X(CLOSE, "close")                                                                                        \
    X(READ, "read")                                                                                          \
    X(WRITE, "write")                                                                                        \
    X(FSYNC, "fsync")                                                                                        \
    X(STAT, "stat")                                                                                          \
    X(MKDIR, "mkdir")                                                                                        \
    X(RMDIR, "rmdir")                                                                                        \
    X(UNLINK, "unlink")                                                                                      \
    X(READDIR, "readdir")                                                                                    \
    X(RENAME, "rename")                                                                                      \
    X(LINK, "link")                                                                                          \
    X(TRUNCATE, "truncate")                                                                                  \
    X(SYMLINK, "symlink")                                                                                    \
    X(READLINK, "readlink")

enum trace_operation {
#define X(id, name) TRACE_##id,
    TRACE_OPERATIONS(X)
#undef X
        TRACE_OPERATION_COUNT
};

extern const char *const trace_operation_names[TRACE_OPERATION_COUNT];

#define TRACE_NO_PATH UINT32_MAX

struct trace_event {
    uint64_t time;     /* ns since the first */
    uint64_t process;  /* as recorded */
    uint64_t fd;       /* of open, close, read, write, fsync: names the open file, in all processes */
    uint64_t offset;   /* of read, write; the length of truncate */
    uint64_t length;   /* asked for by read, write */
    uint64_t moved;    /* bytes that read gave */
    uint32_t line;     /* where it was read */
    uint32_t path;     /* TRACE_NO_PATH: it works on fd */
    uint32_t new_path; /* of rename, link; of symlink and readlink where the link leads, TRACE_NO_PATH: it is
                          not known */
    /* Of replay_links.h; TRACE_NO_PATH: no symbolic link was on the way. */
    uint32_t called, through;
    uint32_t new_called, new_through; /* of new_path */
    enum trace_operation operation;
    int flags;      /* of open: O_* */
    int error;      /* errno value with which it failed; 0: it did not */
    bool directory; /* what stat or rename found at path is one */
    bool link;      /* stat was of a symbolic link itself */
};

struct trace {
    uint32_t event_count, event_room;
    struct trace_event *events; /* by time; of one time as they were read */
    uint32_t path_count, path_room;
    char **paths; /* absolute, without ".", ".." and empty parts; "/" is "" */
    struct map by_path;
    char ignored[256]; /* calls in strace's output that are not replayed, as "mmap 3, fallocate 1" */
};

void trace_init(struct trace *trace);
void trace_free(struct trace *trace);
/* Adds a path, or finds it. 0, -EINVAL: it is not absolute, has a part "..", is too long or no
 * UTF-8; or -ENOMEM. */
int trace_path(struct trace *trace, const char *text, uint32_t *path);
/* Whether it is one of the paths; only then *path is set. */
bool trace_find_path(const struct trace *trace, const char *text, uint32_t *path);
/* Adds an event, which leads through no link. 0, -ENOMEM, or -E2BIG: more than TRACE_EVENTS_MAX. */
int trace_add(struct trace *trace, const struct trace_event *event);
/* Orders events by time and counts time from the first. To be called when all were added. */
void trace_order(struct trace *trace);

/* Reads a trace in our format, or what strace -f -ttt printed, from bytes; the reason ("line 3: ...") is in
 * error. 0, -EINVAL, -E2BIG or -ENOMEM. *ignored: calls in strace's output that are not replayed. */
int trace_parse(const char *bytes, size_t length, struct trace *trace, uint64_t *ignored, char *error,
                size_t size);
/* The same of a file. 0, or -errno after one line on standard error that names it. */
int trace_read(const char *file, struct trace *trace, uint64_t *ignored);
/* Writes it in our format. 0 or -errno. */
int trace_write(const struct trace *trace, FILE *out);
/* One event as a line, and the line that comes first. For those who write events as they happen: the path is
 * given as text of less than TRACE_PATH_MAX bytes. Returns the length. Any line fits: each byte of two paths
 * takes six at most. */
#define TRACE_LINE_MAX (2 * 6 * TRACE_PATH_MAX + 512u)
size_t trace_format(char line[TRACE_LINE_MAX], const struct trace_event *event, const char *path,
                    const char *new_path);
size_t trace_format_head(char line[TRACE_LINE_MAX]);

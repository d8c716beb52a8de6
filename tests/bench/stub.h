/* Libraries with the calls of CHFS's and FINCHFS's client libraries, over a directory ($STUB_ROOT): what the
 * targets call is done to files that a test can look at, and counted (in $STUB_COUNTS, "create 12"). With
 * STUB_DOWN they do what the real ones do when no server answers: complain and end the process. */
#pragma once

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STUB __attribute__((visibility("default")))

enum stub_call {
    CREATE,
    OPEN,
    CLOSE,
    READ,
    WRITE,
    SYNC,
    UNLINK,
    MKDIR,
    RMDIR,
    STAT,
    LIST,
    TRUNCATE,
    RENAME,
    STUB_CALLS
};

static unsigned stub_counts[STUB_CALLS];

static inline char *stub_path(const char *path, char *buffer)
{
    snprintf(buffer, PATH_MAX, "%s/%s", getenv("STUB_ROOT"), path);
    return buffer;
}

/* Counts the call, and gives the path for it. */
#define STUB_PATH(call, path)                                                                                \
    (__atomic_fetch_add(&stub_counts[call], 1, __ATOMIC_RELAXED), stub_path(path, (char[PATH_MAX]){0}))

static inline int stub_init(void)
{
    if (getenv("STUB_DOWN") != NULL) {
        fputs("first line\nsecond line: nobody there\n", stderr);
        exit(2);
    }
    return 0;
}

static inline int stub_term(void)
{
    static const char *const names[] = {"create", "open",  "close", "read", "write",    "sync",  "unlink",
                                        "mkdir",  "rmdir", "stat",  "list", "truncate", "rename"};
    static_assert(sizeof(names) / sizeof(names[0]) == STUB_CALLS, "each has a name");
    const char *path = getenv("STUB_COUNTS");
    int fd = path == NULL ? -1 : open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    for (int i = 0; i < STUB_CALLS && fd >= 0; i++)
        dprintf(fd, "%s %u\n", names[i], stub_counts[i]);
    memset(stub_counts, 0, sizeof(stub_counts));
    return fd < 0 ? 0 : close(fd);
}

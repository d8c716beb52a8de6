/* One process's view of a file system: the same calls, timed by the same loop, through libbenchfs or through
 * the C library (which may be preloaded, and whose path may lead into a mount). For `bench targets`, which
 * runs it as `benchfs bench calls`, because a library is preloaded when a program starts. */
#pragma once

#define CALLER_VERB "calls"

/* X(id, name, unit of the result) */
#define CALLER_TABLE(X)                                                                                      \
    X(STAT, "stat", "ns")                                                                                    \
    X(OPEN, "open", "ns") /* and close */                                                                    \
    X(PREAD, "pread", "ns")                                                                                  \
    X(PWRITE, "pwrite", "ns")                                                                                \
    X(STAT_PLAIN, "stat-plain", "ns") /* past whatever is preloaded */                                       \
    X(PREAD_PLAIN, "pread-plain", "ns")                                                                      \
    X(WRITE_BIG, "write-big", "GB/s")                                                                        \
    X(READ_BIG, "read-big", "GB/s")

enum caller_call {
#define X(id, name, unit) CALLER_##id,
    CALLER_TABLE(X)
#undef X
        CALLER_CALLS
};

extern const char *const caller_names[CALLER_CALLS];

/* calls library|libc DIRECTORY COUNT NAME...: makes files of its own in DIRECTORY, does each of the named
 * calls and prints a line "NAME VALUE": the median of COUNT single calls in ns (4 KiB where bytes are moved),
 * which are made in turns, or the bandwidth of COUNT transfers of 1 MiB. Every answer is checked. library:
 * DIRECTORY is one of the file system that BENCHFS_CLUSTER names. Returns a bench exit status. */
int caller_main(int argc, char **argv);

/* What the tests through libbenchfs share: a cluster of as many servers as the command line says, and checks
 * that name what failed. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "benchfs.h"
#include "cluster.h"

extern struct cluster cluster;
extern benchfs *fs;

static inline long long expect_success(long long result, const char *call, const char *file, int line)
{
    if (result < 0) {
        print_error("%s: %s\n", call, strerror(errno));
        _fail(file, line);
    }
    return result;
}
static inline void expect_failure(long long result, int error, const char *call, const char *file, int line)
{
    if (result < 0 && errno == error)
        return;
    print_error("%s: %s, expected %s\n", call, result < 0 ? strerrorname_np(errno) : "succeeded",
                strerrorname_np(error));
    _fail(file, line);
}
static inline void expect_result(long long result, long long expected, const char *call, const char *file,
                                 int line)
{
    if (result == expected)
        return;
    print_error("%s: %lld (%s), expected %lld\n", call, result, strerror(errno), expected);
    _fail(file, line);
}

/* The call succeeds (result >= 0); its result is the value. */
#define OK(call) expect_success((long long)(call), #call, __FILE__, __LINE__)
/* The call fails with that errno. */
#define FAILS(error, call) (errno = 0, expect_failure((long long)(call), error, #call, __FILE__, __LINE__))
/* The call returns that value. */
#define IS(expected, call)                                                                                   \
    (errno = 0, expect_result((long long)(call), (long long)(expected), #call, __FILE__, __LINE__))

/* The pattern of byte `at` of file number `seed`. */
static inline unsigned char pattern(uint64_t seed, uint64_t at)
{
    uint64_t x = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) + at / 8;
    x ^= x >> 31;
    x *= UINT64_C(0xd6e8feb86659fd93);
    return (unsigned char)(x >> (8 * (at % 8)));
}
static inline void pattern_fill(void *bytes, size_t length, uint64_t seed, uint64_t at)
{
    for (size_t i = 0; i < length; i++)
        ((unsigned char *)bytes)[i] = pattern(seed, at + i);
}
/* Index of the first byte that differs, or -1. */
static inline long pattern_differs(const void *bytes, size_t length, uint64_t seed, uint64_t at)
{
    for (size_t i = 0; i < length; i++)
        if (((const unsigned char *)bytes)[i] != pattern(seed, at + i))
            return (long)i;
    return -1;
}

/* Makes a file of that content. */
static inline void put_file(benchfs *where, const char *path, const void *bytes, size_t length)
{
    int fd = (int)OK(benchfs_open(where, path, O_WRONLY | O_CREAT | O_TRUNC, 0644));
    if (length > 0)
        IS(length, benchfs_write(where, fd, bytes, length));
    OK(benchfs_close(where, fd));
}
static inline void put_text(benchfs *where, const char *path, const char *text)
{
    put_file(where, path, text, strlen(text));
}

/* Expects a file of exactly that content. */
static inline void expect_text(benchfs *where, const char *path, const char *text)
{
    char bytes[256];
    int fd = (int)OK(benchfs_open(where, path, O_RDONLY));
    IS(strlen(text), benchfs_read(where, fd, bytes, sizeof bytes));
    assert_memory_equal(bytes, text, strlen(text));
    IS(0, benchfs_read(where, fd, bytes, sizeof bytes));
    OK(benchfs_close(where, fd));
}

/* CLOCK_MONOTONIC. */
static inline double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* ---- cases that each have a cluster, because they do something to its servers ---- */

/* Of how many servers it is: 1, or what the program makes of its arguments. */
extern unsigned case_servers;
/* The configuration of its clients, while there is one: they wait at most a second. */
extern char case_config[128];
/* Starts `cluster` and connects `fs`; settings as for cluster_start. */
void case_begin(const char *const *settings);
/* Sends it to every server. */
void case_signal(int signal);
/* clean: every server that is alive has to end well. */
void case_end(bool clean);
/* Makes or replaces a file beside the servers. */
void write_text(const char *path, const char *text, mode_t mode);

/* main of a test program: argv[1] servers, 1 by default; settings as for cluster_start. */
int posix_main(int argc, char **argv, const char *const *settings, const struct CMUnitTest *tests,
               size_t count);
#define POSIX_MAIN(argc, argv, settings, tests)                                                              \
    posix_main(argc, argv, settings, tests, sizeof(tests) / sizeof *(tests))

/* The POSIX conformance suite: what a program may rely on, as cases that run through every door.
 *
 * A case is plain C over the POSIX calls: open, rename, fcntl. It works on relative paths in an empty
 * directory of its own, as root with umask 022. The same source is compiled twice:
 *
 *     as it is                     for any directory: tmpfs or ext4 (which tests the suite itself), a FUSE
 *                                  mount, a path below the prefix of the preload library
 *     with DOOR_LIBRARY defined    door_library.h maps the calls to benchfs_*; the program starts servers of
 * its own; the case's directory is the root of the file system
 *
 * One program is one theme, one TAP line is one case; behind each the number of its assertions. To add a
 * case, write a function and name it in the CASES of its file:
 *
 *     static void removes_a_file(void)
 *     {
 *         make_file("f", "text");
 *         OK(unlink("f"));                 // the call succeeds (result >= 0); its result is the value
 *         FAILS(ENOENT, unlink("f"));      // the call fails with that errno
 *         IS(1, status.st_nlink);          // these are equal
 *         TRUE(S_ISREG(status.st_mode));
 *     }
 *
 * An assertion that fails is printed as a TAP comment with its line, and the case goes on. What is regular is
 * a table: for its rows there is expect_error, which takes a text that says where the row is. Rules are those
 * of POSIX as Linux has them; a case must hold on tmpfs and ext4 before it may say anything about BenchFS.
 * Where a door cannot have something by its nature, the case says NEED("it") and the door is run with
 * CONFORMANCE_WITHOUT="it ...": the case is skipped and says why. In the library door, calls that
 * libbenchfs.so does not have skip their case in the same way.
 *
 * By hand, one door, perhaps one case:
 *
 *     build/tests/posix/conformance/posix_names /dev/shm [CASE]                        any directory
 *     BENCHFSD=build/src/server/benchfsd build/.../library_names 3 [CASE]              library, three servers
 *     tests/posix/conformance/door.sh fuse 3 build/src/cli:build/src/server build/.../posix_names [CASE]
 *
 * Other users: become(&identity) makes this process, or the library's thread, one of them; become(NULL) root
 * again. Other processes: child_start runs a function in a child, whose assertions count too; turn_set and
 * turn_wait order the two. Nothing waits for longer than 20 seconds, and nothing waits for time to pass but
 * where a clock's tick is the point (tick). */
#pragma once

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "processes.h"

#ifdef DOOR_LIBRARY
#include "door_library.h"
#endif

/* ---- cases ---- */

struct conformance_case {
    const char *name;
    void (*run)(void);
};

/* The main of a theme: CASES(CASE(one), CASE(two)) */
#define CASE(function)                                                                                       \
    {                                                                                                        \
#function, function                                                                                  \
    }
#define CASES(...)                                                                                           \
    int main(int argc, char **argv)                                                                          \
    {                                                                                                        \
        static const struct conformance_case cases[] = {__VA_ARGS__};                                        \
        return conformance_main(argc, argv, cases, sizeof cases / sizeof *cases);                            \
    }
int conformance_main(int argc, char **argv, const struct conformance_case *cases, size_t count);

/* Leaves the case; it counts as skipped, with this reason. */
void skip_case(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Skips the case where the door does without `what` (a word of CONFORMANCE_WITHOUT). */
void need(const char *what);
#define NEED(what) need(what)
/* Skips the case for who is not root: cannot become others, cannot make devices. */
void need_root(void);
/* True in the library door. */
bool door_is_library(void);

/* ---- assertions ---- */

/* Count one assertion; a failed one prints what `text` says with `format`. They return whether it held. */
bool expect(bool good, const char *file, int line, const char *text, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

static inline long long expect_success(long long result, const char *call, const char *file, int line)
{
    expect(result >= 0, file, line, call, "%s", strerrorname_np(errno));
    return result;
}
static inline void expect_failure(long long result, int error, const char *call, const char *file, int line)
{
    expect(result < 0 && errno == error, file, line, call, "%s, expected %s",
           result < 0 ? strerrorname_np(errno) : "succeeded", strerrorname_np(error));
}
static inline void expect_equal(long long expected, long long result, const char *call, const char *file,
                                int line)
{
    expect(result == expected, file, line, call, "%lld (%s), expected %lld", result, strerrorname_np(errno),
           expected);
}

#define OK(call) expect_success((errno = 0, (long long)(call)), #call, __FILE__, __LINE__)
#define FAILS(error, call) expect_failure((errno = 0, (long long)(call)), error, #call, __FILE__, __LINE__)
#define IS(expected, call)                                                                                   \
    expect_equal((long long)(expected), (errno = 0, (long long)(call)), #call, __FILE__, __LINE__)
#define TRUE(condition) expect((condition), __FILE__, __LINE__, #condition, "is false")
#define SAME_TEXT(expected, text)                                                                            \
    expect(strcmp(expected, text) == 0, __FILE__, __LINE__, #text, "\"%s\", expected \"%s\"", text, expected)
/* For rows of tables: the result is a success (error 0) or fails with `error`; then a text of which row. */
#define EXPECT_ERROR(error, result, ...)                                                                     \
    expect_error(error, (long long)(result), __FILE__, __LINE__, __VA_ARGS__)
bool expect_error(int error, long long result, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
#define EXPECT_VALUE(expected, value, ...)                                                                   \
    expect_value((long long)(expected), (long long)(value), __FILE__, __LINE__, __VA_ARGS__)
bool expect_value(long long expected, long long value, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- what cases are made of ---- */

/* "/.../path": absolute, in the case's directory. One of four static buffers, taken in turn. */
const char *absolute(const char *path);
/* A text of `length` letters; one of four static buffers of 5,000 bytes, taken in turn. */
const char *letters(char letter, size_t length);
/* Makes a file, mode 0644, of that text; the calls are assertions. */
void make_file(const char *path, const char *text);
void make_file_of(const char *path, mode_t mode);
/* The file holds exactly that text. */
void expect_text_at(const char *path, const char *text, const char *file, int line);
#define EXPECT_TEXT(path, text) expect_text_at(path, text, __FILE__, __LINE__)
/* lstat of what must exist. */
struct stat status_of(const char *path);
/* errno of lstat, 0 if it is there. */
int absent(const char *path);
/* Removes a tree if it is there; no assertion. */
void remove_tree(const char *path);
/* Number of entries but "." and ".."; -1: cannot be listed. */
int entry_count(const char *path);

/* Bytes that tell where they belong: of file number `seed`, from offset `at`. */
void pattern_fill(void *bytes, size_t length, uint64_t seed, uint64_t at);
/* Index of the first byte that differs, -1 if none does. */
long pattern_differs(const void *bytes, size_t length, uint64_t seed, uint64_t at);
/* Index of the first byte that is not zero, -1 if none. */
long zeros_differ(const void *bytes, size_t length);

/* Returns when the file system's clock has certainly moved on since the last change. */
void tick(void);
/* Nanoseconds of a time stamp. */
static inline int64_t nanoseconds(struct timespec time)
{
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* ---- others ---- */

struct identity {
    const char *name;
    uid_t uid;
    gid_t gid;
    unsigned group_count;
    gid_t groups[4];
};
/* Real and effective ids and groups of whatever follows; NULL: root again. */
void become(const struct identity *identity);

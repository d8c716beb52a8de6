/* Which calls move which times of what, and how far times go. */
#include "check.h"

#include <time.h>

static const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};

static int64_t ns(struct timespec time)
{
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

/* Times that have nothing to do with now, and a change time that is over. */
static struct stat make_old(const char *path)
{
    struct stat status;
    OK(benchfs_utimensat(fs, AT_FDCWD, path, old, AT_SYMLINK_NOFOLLOW));
    OK(benchfs_lstat(fs, path, &status));
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    return status;
}

/* Which times have moved since: of "amc". */
static const char *moved(const char *path, const struct stat *before)
{
    static char text[4];
    struct stat now;
    char *end = text;
    OK(benchfs_lstat(fs, path, &now));
    if (ns(now.st_atim) != ns(before->st_atim))
        *end++ = 'a';
    if (ns(now.st_mtim) != ns(before->st_mtim))
        *end++ = 'm';
    if (ns(now.st_ctim) != ns(before->st_ctim))
        *end++ = 'c';
    *end = '\0';
    return text;
}

#define MOVES(expected, path, call)                                                                          \
    do {                                                                                                     \
        struct stat before_ = make_old(path);                                                                \
        call;                                                                                                \
        assert_string_equal(moved(path, &before_), expected);                                                \
    } while (0)

static void of_files(void **state)
{
    char bytes[8];
    (void)state;
    OK(benchfs_mkdir(fs, "/t", 0755));
    for (int i = 0; i < 9; i++) { /* names and inodes on every server */
        char path[32], other[32];
        snprintf(path, sizeof path, "/t/f%d", i);
        snprintf(other, sizeof other, "/t/g%d", i);
        put_text(fs, path, "text");
        int fd = (int)OK(benchfs_open(fs, path, O_RDWR));
        MOVES("a", path, IS(4, benchfs_pread(fs, fd, bytes, 4, 0)));
        MOVES("mc", path, IS(1, benchfs_pwrite(fs, fd, "x", 1, 0)));
        MOVES("mc", path, IS(1, benchfs_pwrite(fs, fd, "x", 1, 9 << 20)));
        MOVES("mc", path, OK(benchfs_ftruncate(fs, fd, 4)));
        MOVES("mc", path, OK(benchfs_ftruncate(fs, fd, 4)));
        MOVES("mc", path, OK(benchfs_truncate(fs, path, 4)));
        MOVES("", path, IS(0, benchfs_pwrite(fs, fd, "x", 0, 0)));
        MOVES("c", path, OK(benchfs_fchmod(fs, fd, 0600)));
        MOVES("c", path, OK(benchfs_fchown(fs, fd, getuid(), getgid())));
        OK(benchfs_close(fs, fd));
        MOVES("", path, {
            fd = (int)OK(benchfs_open(fs, path, O_RDONLY | O_NOATIME));
            IS(4, benchfs_read(fs, fd, bytes, 4));
            OK(benchfs_close(fs, fd));
        });
        MOVES("a", path, {
            fd = (int)OK(benchfs_open(fs, path, O_RDONLY));
            IS(4, benchfs_read(fs, fd, bytes, 4));
            OK(benchfs_close(fs, fd));
        });
        MOVES("mc", path, OK(benchfs_close(fs, (int)OK(benchfs_open(fs, path, O_WRONLY | O_TRUNC)))));
        MOVES("mc", path,
              OK(benchfs_close(fs, (int)OK(benchfs_open(fs, path, O_WRONLY | O_TRUNC | O_CREAT, 0644)))));
        struct stat before = make_old(path);
        OK(benchfs_rename(fs, path, other));
        assert_string_equal(moved(other, &before), "c");
        before = make_old(other);
        OK(benchfs_link(fs, other, path));
        assert_string_equal(moved(other, &before), "c");
        MOVES("c", other, OK(benchfs_unlink(fs, path)));
        OK(benchfs_symlink(fs, "x", path));
        MOVES("a", path, IS(1, benchfs_readlink(fs, path, bytes, sizeof bytes)));
        OK(benchfs_unlink(fs, path));
        OK(benchfs_unlink(fs, other));
    }
    OK(benchfs_rmdir(fs, "/t"));
}

/* relatime: a second read of what has not changed does not move the access time. */
static void of_repeated_reads(void **state)
{
    char byte;
    (void)state;
    put_text(fs, "/f", "text");
    int fd = (int)OK(benchfs_open(fs, "/f", O_RDWR));
    struct stat before = make_old("/f");
    IS(1, benchfs_pread(fs, fd, &byte, 1, 0));
    assert_string_equal(moved("/f", &before), "a");
    OK(benchfs_stat(fs, "/f", &before));
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    IS(1, benchfs_pread(fs, fd, &byte, 1, 0));
    assert_string_equal(moved("/f", &before), "");
    OK(benchfs_close(fs, fd));
    OK(benchfs_unlink(fs, "/f"));
}

static void of_directories(void **state)
{
    (void)state;
    OK(benchfs_mkdir(fs, "/t", 0755));
    OK(benchfs_mkdir(fs, "/u", 0755));
    for (int i = 0; i < 9; i++) {
        char path[32], other[32];
        snprintf(path, sizeof path, "/t/f%d", i);
        snprintf(other, sizeof other, "/u/g%d", i);
        MOVES("mc", "/t", put_text(fs, path, ""));
        MOVES("", "/t", put_text(fs, path, "again"));
        make_old("/u");
        struct stat before;
        OK(benchfs_stat(fs, "/u", &before));
        MOVES("mc", "/t", OK(benchfs_rename(fs, path, other)));
        assert_string_equal(moved("/u", &before), "mc");
        MOVES("mc", "/t", OK(benchfs_link(fs, other, path)));
        MOVES("mc", "/t", OK(benchfs_unlink(fs, path)));
        MOVES("mc", "/t", OK(benchfs_symlink(fs, "x", path)));
        OK(benchfs_unlink(fs, path));
        MOVES("mc", "/t", OK(benchfs_mkdir(fs, path, 0755)));
        MOVES("mc", "/t", OK(benchfs_rmdir(fs, path)));
        MOVES("mc", "/u", OK(benchfs_unlink(fs, other)));
    }
    MOVES("a", "/t", {
        benchfs_dir *dir = benchfs_opendir(fs, "/t");
        assert_non_null(dir);
        while (benchfs_readdir(dir) != NULL)
            continue;
        OK(benchfs_closedir(dir));
    });
    OK(benchfs_rmdir(fs, "/t"));
    OK(benchfs_rmdir(fs, "/u"));
}

static void far_away(void **state)
{
    struct stat status;
    (void)state;
    put_text(fs, "/f", "");
    const struct {
        struct timespec set, got;
    } cases[] = {
        {{.tv_sec = -1, .tv_nsec = 999999999}, {.tv_sec = -1, .tv_nsec = 999999999}},
        {{.tv_sec = -5000000000, .tv_nsec = 1}, {.tv_sec = -5000000000, .tv_nsec = 1}},
        {{.tv_sec = 0, .tv_nsec = 0}, {.tv_sec = 0, .tv_nsec = 0}},
        {{.tv_sec = 4294967296, .tv_nsec = 123456789}, {.tv_sec = 4294967296, .tv_nsec = 123456789}},
        {{.tv_sec = 9000000000, .tv_nsec = 999999999}, {.tv_sec = 9000000000, .tv_nsec = 999999999}},
        {{.tv_sec = INT64_MAX, .tv_nsec = 5}, {.tv_sec = 9223372036, .tv_nsec = 0}},
        {{.tv_sec = INT64_MIN, .tv_nsec = 5}, {.tv_sec = -9223372036, .tv_nsec = 0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct timespec both[2] = {cases[i].set, cases[i].set};
        OK(benchfs_utimensat(fs, AT_FDCWD, "/f", both, 0));
        OK(benchfs_stat(fs, "/f", &status));
        IS(cases[i].got.tv_sec, status.st_mtim.tv_sec);
        IS(cases[i].got.tv_nsec, status.st_mtim.tv_nsec);
        IS(cases[i].got.tv_sec, status.st_atim.tv_sec);
    }
    OK(benchfs_unlink(fs, "/f"));
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_files),
        cmocka_unit_test(of_repeated_reads),
        cmocka_unit_test(of_directories),
        cmocka_unit_test(far_away),
    };
    return POSIX_MAIN(argc, argv, NULL, tests);
}

/* The three times: what each call does to those of the object and of the directory it is in, setting them,
 * and what they can hold. Reading's access time is not asked for: file systems are mounted with relatime or
 * noatime. */
#include "conformance.h"

/* Which of the times a call moves: M and C of the object, and of its directory; and those it must leave. */
enum {
    M = 1,
    C = 2,
    A = 4,
    PARENT = 8, /* M and C of the directory */
    OTHER = 16, /* M and C of the other directory */
    GONE = 32,  /* the object's name is gone: not looked at */
    MAY_C = 64, /* C of the object moves or not: POSIX leaves it open */
};

struct call_times {
    const char *name;
    unsigned moves;
    int (*call)(int fd);
};

static int call_write(int fd)
{
    return (int)pwrite(fd, "new", 3, 0);
}
static int call_append(int fd)
{
    return (int)pwrite(fd, "new", 3, 100);
}
static int call_write_nothing(int fd)
{
    return (int)pwrite(fd, "", 0, 0);
}
static int call_large_write(int fd)
{
    char *bytes = calloc(1, 3 << 20);
    int result = pwrite(fd, bytes, 3 << 20, 0) == 3 << 20 ? 0 : -1;
    free(bytes);
    return result;
}
static int call_read(int fd)
{
    char byte;
    return (int)pread(fd, &byte, 1, 0);
}
static int call_grow(int fd)
{
    return ftruncate(fd, 5000);
}
static int call_shrink(int fd)
{
    return ftruncate(fd, 1);
}
static int call_same_size(int fd)
{
    return ftruncate(fd, 7);
}
static int call_truncate(int fd)
{
    (void)fd;
    return truncate("d/f", 3);
}
static int call_open_truncate(int fd)
{
    (void)fd;
    return close(open("d/f", O_WRONLY | O_TRUNC));
}
static int call_open_read(int fd)
{
    (void)fd;
    return close(open("d/f", O_RDONLY));
}
static int call_open_create(int fd)
{
    (void)fd;
    return close(open("d/f", O_WRONLY | O_CREAT, 0644));
}
static int call_stat(int fd)
{
    (void)fd;
    return stat("d/f", &(struct stat){0});
}
static int call_access(int fd)
{
    (void)fd;
    return access("d/f", R_OK);
}
static int call_fsync(int fd)
{
    return fsync(fd);
}
static int call_lseek(int fd)
{
    return (int)lseek(fd, 3, SEEK_SET);
}
static int call_chmod(int fd)
{
    (void)fd;
    return chmod("d/f", 0600);
}
static int call_fchmod(int fd)
{
    return fchmod(fd, 0644); /* as it is */
}
static int call_chown(int fd)
{
    (void)fd;
    return chown("d/f", geteuid(), (gid_t)-1);
}
static int call_fchown(int fd)
{
    return fchown(fd, (uid_t)-1, getegid());
}
static int call_utimens(int fd)
{
    struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 2}};
    return futimens(fd, times);
}
static int call_utimens_now(int fd)
{
    (void)fd;
    return utimensat(AT_FDCWD, "d/f", NULL, 0);
}
static int call_utimens_omit(int fd)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_OMIT}};
    return futimens(fd, times);
}
static int call_utimens_access(int fd)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_OMIT}};
    return futimens(fd, times);
}
static int call_utimens_modify(int fd)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_NOW}};
    return futimens(fd, times);
}
static int call_rename(int fd)
{
    (void)fd;
    return rename("d/f", "d/g");
}
static int call_rename_away(int fd)
{
    (void)fd;
    return rename("d/f", "e/g");
}
static int call_rename_same(int fd)
{
    (void)fd;
    return rename("d/f", "d/f");
}
static int call_unlink(int fd)
{
    (void)fd;
    return unlink("d/f");
}
static int call_create_beside(int fd)
{
    (void)fd;
    return close(open("d/new", O_WRONLY | O_CREAT | O_EXCL, 0644));
}
static int call_mkdir_beside(int fd)
{
    (void)fd;
    return mkdir("d/new", 0755);
}
static int call_symlink_beside(int fd)
{
    (void)fd;
    return symlink("x", "d/new");
}
static int call_rmdir_beside(int fd)
{
    (void)fd;
    return rmdir("d/sub");
}
static int call_list(int fd)
{
    (void)fd;
    return entry_count("d");
}
static int call_failing_create(int fd)
{
    (void)fd;
    return open("d/f", O_WRONLY | O_CREAT | O_EXCL, 0644) < 0 && errno == EEXIST ? 0 : -1;
}
static int call_failing_mkdir(int fd)
{
    (void)fd;
    return mkdir("d/f", 0755) < 0 && errno == EEXIST ? 0 : -1;
}
static int call_failing_unlink(int fd)
{
    (void)fd;
    return unlink("d/none") < 0 && errno == ENOENT ? 0 : -1;
}
static int call_failing_rmdir(int fd)
{
    (void)fd;
    return rmdir("d/f") < 0 && errno == ENOTDIR ? 0 : -1;
}
static int call_link(int fd)
{
    (void)fd;
    return link("d/f", "e/g");
}
static int call_link_beside(int fd)
{
    (void)fd;
    return link("d/f", "d/g");
}
static int call_exchange(int fd)
{
    (void)fd;
    return renameat2(AT_FDCWD, "d/f", AT_FDCWD, "e/other", RENAME_EXCHANGE);
}
static int call_mknod(int fd)
{
    (void)fd;
    return mknod("d/new", S_IFREG | 0644, 0);
}
static int call_setxattr(int fd)
{
    return fsetxattr(fd, "user.name", "value", 5, 0);
}
static int call_getxattr(int fd)
{
    char bytes[8];
    return fgetxattr(fd, "user.none", bytes, sizeof bytes) < 0 && errno == ENODATA ? 0 : -1;
}
static int call_fallocate(int fd)
{
    return fallocate(fd, 0, 0, 20000);
}
static int call_punch(int fd)
{
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4);
}
static int call_zero(int fd)
{
    return fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, 4);
}

static const struct call_times calls[] = {
    {"write", M | C, call_write},
    {"write beyond the end", M | C, call_append},
    {"large write", M | C, call_large_write},
    {"write of nothing", 0, call_write_nothing},
    {"read", 0, call_read},
    {"ftruncate to grow", M | C, call_grow},
    {"ftruncate to shrink", M | C, call_shrink},
    {"ftruncate to the same", M | C, call_same_size},
    {"truncate", M | C, call_truncate},
    {"open with O_TRUNC", M | C, call_open_truncate},
    {"open", 0, call_open_read},
    {"open with O_CREAT", 0, call_open_create},
    {"stat", 0, call_stat},
    {"access", 0, call_access},
    {"fsync", 0, call_fsync},
    {"lseek", 0, call_lseek},
    {"chmod", C, call_chmod},
    {"fchmod", C, call_fchmod},
    {"chown", C, call_chown},
    {"fchown", C, call_fchown},
    {"futimens", A | M | C, call_utimens},
    {"utimensat to now", A | M | C, call_utimens_now},
    {"futimens of nothing", 0, call_utimens_omit},
    {"futimens of access", A | C, call_utimens_access},
    {"futimens of modification", M | C, call_utimens_modify},
    {"rename", MAY_C | PARENT | GONE, call_rename},
    {"rename away", MAY_C | PARENT | OTHER | GONE, call_rename_away},
    {"rename onto itself", 0, call_rename_same},
    {"unlink", PARENT | GONE, call_unlink},
    {"create beside", PARENT, call_create_beside},
    {"mkdir beside", PARENT, call_mkdir_beside},
    {"symlink beside", PARENT, call_symlink_beside},
    {"rmdir beside", PARENT, call_rmdir_beside},
    {"listing", 0, call_list},
    {"create of what exists", 0, call_failing_create},
    {"mkdir of what exists", 0, call_failing_mkdir},
    {"unlink of nothing", 0, call_failing_unlink},
    {"rmdir of a file", 0, call_failing_rmdir},
};
static const struct call_times link_calls[] = {
    {"link", C | OTHER, call_link},
    {"link beside", C | PARENT, call_link_beside},
    {"exchange", MAY_C | PARENT | OTHER | GONE, call_exchange},
    {"mknod beside", PARENT, call_mknod},
};
static const struct call_times xattr_calls[] = {
    {"fsetxattr", C, call_setxattr},
    {"fgetxattr", 0, call_getxattr},
};
static const struct call_times space_calls[] = {
    {"fallocate", M | C, call_fallocate},
    {"punching a hole", M | C, call_punch},
};
static const struct call_times zero_calls[] = {
    {"zeroing a range", M | C, call_zero},
};

static void check_moved(bool moves, struct timespec before, struct timespec after, const char *call,
                        const char *what)
{
    if (moves)
        EXPECT_VALUE(true, nanoseconds(after) > nanoseconds(before), "%s: %s moves", call, what);
    else
        EXPECT_VALUE(nanoseconds(before), nanoseconds(after), "%s: %s stays", call, what);
}

static void what_calls_do(const struct call_times *table, size_t count)
{
    static const struct timespec old[2] = {{.tv_sec = 1000, .tv_nsec = 1}, {.tv_sec = 2000, .tv_nsec = 2}};
    for (size_t i = 0; i < count; i++) {
        unsigned moves = table[i].moves;
        const char *name = table[i].name;
        OK(mkdir("d", 0755));
        OK(mkdir("d/sub", 0755));
        OK(mkdir("e", 0755));
        make_file("e/other", "x");
        make_file("d/f", "content");
        int fd = (int)OK(open("d/f", O_RDWR));
        OK(utimensat(AT_FDCWD, "d/f", old, 0));
        OK(utimensat(AT_FDCWD, "d", old, 0));
        OK(utimensat(AT_FDCWD, "e", old, 0));
        struct stat file, directory = status_of("d"), other = status_of("e");
        OK(fstat(fd, &file));
        tick();
        EXPECT_ERROR(0, table[i].call(fd), "%s", name);
        if (!(moves & GONE)) {
            struct stat after = {0};
            EXPECT_ERROR(0, fstat(fd, &after), "%s: fstat", name);
            bool set = strcmp(name, "futimens") == 0; /* to the past */
            if (!set)
                check_moved(moves & M, file.st_mtim, after.st_mtim, name, "modification time");
            if (!set && (moves & A))
                check_moved(true, file.st_atim, after.st_atim, name, "access time");
            if (!(moves & MAY_C))
                check_moved(moves & C, file.st_ctim, after.st_ctim, name, "change time");
        }
        struct stat after = status_of("d");
        check_moved(moves & PARENT, directory.st_mtim, after.st_mtim, name,
                    "modification time of the directory");
        check_moved(moves & PARENT, directory.st_ctim, after.st_ctim, name, "change time of the directory");
        after = status_of("e");
        check_moved(moves & OTHER, other.st_mtim, after.st_mtim, name,
                    "modification time of the other directory");
        check_moved(moves & OTHER, other.st_ctim, after.st_ctim, name, "change time of the other directory");
        OK(close(fd));
        remove_tree("d");
        remove_tree("e");
    }
}

static void calls_and_times(void)
{
    what_calls_do(calls, COUNT(calls));
}
static void links_and_times(void)
{
    what_calls_do(link_calls, COUNT(link_calls));
}
static void xattrs_and_times(void)
{
    NEED("xattrs");
    what_calls_do(xattr_calls, COUNT(xattr_calls));
}
static void space_and_times(void)
{
    NEED("fallocate");
    what_calls_do(space_calls, COUNT(space_calls));
}

static void zeroing_and_times(void)
{
    NEED("fallocate");
    NEED("zerorange");
    what_calls_do(zero_calls, COUNT(zero_calls));
}

/* Unlinking one of several names changes the file. */
static void unlink_of_a_link(void)
{
    make_file("f", "x");
    OK(link("f", "g"));
    struct stat before = status_of("f");
    tick();
    OK(unlink("g"));
    struct stat after = status_of("f");
    TRUE(nanoseconds(after.st_ctim) > nanoseconds(before.st_ctim));
    IS(nanoseconds(before.st_mtim), nanoseconds(after.st_mtim));
    OK(link("f", "h"));
    make_file("other", "o");
    before = status_of("f");
    tick();
    OK(rename("other", "h")); /* takes a name from it too */
    after = status_of("f");
    TRUE(nanoseconds(after.st_ctim) > nanoseconds(before.st_ctim));
    IS(1, after.st_nlink);
}

/* New objects have the time they were made at, in all three. */
static void new_objects(void)
{
    struct timespec before, after;
    clock_gettime(CLOCK_REALTIME, &before);
    make_file("f", "");
    OK(mkdir("d", 0755));
    OK(symlink("x", "l"));
    clock_gettime(CLOCK_REALTIME, &after);
    static const char *const names[] = {"f", "d", "l"};
    for (unsigned i = 0; i < COUNT(names); i++) {
        struct stat status = status_of(names[i]);
        struct timespec times[3] = {status.st_atim, status.st_mtim, status.st_ctim};
        for (unsigned k = 0; k < 3; k++) {
            EXPECT_VALUE(true, nanoseconds(times[k]) >= nanoseconds(before) - 20000000, "%s not too old",
                         names[i]);
            EXPECT_VALUE(true, nanoseconds(times[k]) <= nanoseconds(after), "%s not from the future",
                         names[i]);
        }
    }
}

/* What utimensat sets is what stat tells, to the nanosecond and far from today. */
static void setting(void)
{
    static const struct timespec values[] = {{0, 0},
                                             {0, 1},
                                             {0, 999999999},
                                             {1, 0},
                                             {1000000000, 123456789},
                                             {2147483647, 0},
                                             {2147483648, 5},
                                             {4294967296, 6},
                                             {8589934592, 999999999},
                                             {-1, 0},
                                             {-1, 999999999},
                                             {-1000000, 5},
                                             {-2147483648, 0}};
    make_file("f", "x");
    OK(mkdir("d", 0755));
    OK(symlink("f", "l"));
    int fd = (int)OK(open("f", O_RDWR));
    for (unsigned i = 0; i < COUNT(values); i++)
        for (unsigned k = 0; k < COUNT(values); k++) {
            struct timespec times[2] = {values[i], values[k]};
            EXPECT_ERROR(0, utimensat(AT_FDCWD, (i + k) % 2 ? "f" : "l", times, 0), "utimensat");
            struct stat status = status_of("f");
            EXPECT_VALUE(nanoseconds(values[i]), nanoseconds(status.st_atim), "access time");
            EXPECT_VALUE(nanoseconds(values[k]), nanoseconds(status.st_mtim), "modification time");
            times[0].tv_nsec = UTIME_OMIT;
            times[1] = values[i];
            EXPECT_ERROR(0, futimens(fd, times), "futimens");
            status = status_of("f");
            EXPECT_VALUE(nanoseconds(values[i]), nanoseconds(status.st_atim), "omitted access time");
            EXPECT_VALUE(nanoseconds(values[i]), nanoseconds(status.st_mtim), "modification time");
            times[0] = values[k];
            times[1].tv_nsec = UTIME_OMIT;
            EXPECT_ERROR(0, utimensat(AT_FDCWD, "d", times, 0), "utimensat");
            EXPECT_VALUE(nanoseconds(values[k]), nanoseconds(status_of("d").st_atim),
                         "access time of a directory");
            EXPECT_ERROR(
                0, utimensat(AT_FDCWD, "l", (struct timespec[]){values[k], values[i]}, AT_SYMLINK_NOFOLLOW),
                "utimensat of a link");
            EXPECT_VALUE(nanoseconds(values[k]), nanoseconds(status_of("l").st_atim),
                         "access time of a link");
            EXPECT_VALUE(nanoseconds(values[i]), nanoseconds(status_of("l").st_mtim),
                         "modification time of a link");
        }
    FAILS(EINVAL, futimens(fd, (struct timespec[]){{0, 1000000000}, {0, 0}}));
    FAILS(EINVAL, futimens(fd, (struct timespec[]){{0, 0}, {0, -1}}));
    FAILS(EINVAL, utimensat(AT_FDCWD, "f", (struct timespec[]){{0, 0}, {0, 2000000000}}, 0));
    FAILS(ENOENT, utimensat(AT_FDCWD, "none", NULL, 0));
    OK(close(fd));
}

/* Writes never take time back, and now is not before what was. */
static void time_goes_on(void)
{
    make_file("f", "x");
    int fd = (int)OK(open("f", O_RDWR));
    struct stat last = status_of("f");
    for (int i = 0; i < 200; i++) {
        struct stat now;
        IS(1, pwrite(fd, "y", 1, i % 7));
        EXPECT_ERROR(0, fstat(fd, &now), "fstat");
        EXPECT_VALUE(true, nanoseconds(now.st_mtim) >= nanoseconds(last.st_mtim), "modification time");
        EXPECT_VALUE(true, nanoseconds(now.st_ctim) >= nanoseconds(last.st_ctim), "change time");
        last = now;
    }
    OK(close(fd));
    /* The times of a directory are those of its last change, on whatever server. */
    OK(mkdir("d", 0755));
    last = status_of("d");
    for (int i = 0; i < 50; i++) {
        char path[32];
        snprintf(path, sizeof path, "d/%d", i);
        make_file(path, "");
        struct stat now = status_of("d"), made = status_of(path);
        EXPECT_VALUE(true, nanoseconds(now.st_mtim) >= nanoseconds(last.st_mtim), "modification time");
        EXPECT_VALUE(true, nanoseconds(now.st_mtim) + 20000000 >= nanoseconds(made.st_ctim),
                     "as new as its files");
        last = now;
    }
}

CASES(CASE(calls_and_times), CASE(links_and_times), CASE(xattrs_and_times), CASE(space_and_times),
      CASE(zeroing_and_times), CASE(unlink_of_a_link), CASE(new_objects), CASE(setting), CASE(time_goes_on))

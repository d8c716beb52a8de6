/* Files that are open and have no name any more: they go on until the last descriptor anywhere is closed. */
#include "conformance.h"

static const size_t sizes[] = {0, 5, 4096, 100000, 3 << 20};

static char *bytes_of(size_t length)
{
    char *bytes = calloc(1, length + 1);
    if (bytes == NULL)
        exit(99);
    return bytes;
}

enum end { UNLINK, REPLACE, ENDS };

static void take_the_name(enum end end)
{
    if (end == UNLINK) {
        OK(unlink("f"));
    } else {
        make_file("other", "other");
        OK(rename("other", "f"));
    }
}

/* Whatever can be done with an open file can still be done. */
static void everything_goes_on(enum end end)
{
    NEED("unlinked");
    for (unsigned i = 0; i < COUNT(sizes); i++) {
        size_t size = sizes[i];
        char *bytes = bytes_of(size + 200000), *back = bytes_of(size + 200000);
        struct stat status;
        pattern_fill(bytes, size + 200000, i, 0);
        int fd = (int)OK(open("f", O_RDWR | O_CREAT | O_EXCL, 0644));
        EXPECT_VALUE(size, write(fd, bytes, size), "write %zu", size);
        int second = (int)OK(open("f", O_RDONLY));
        ino_t inode = status_of("f").st_ino;
        take_the_name(end);
        EXPECT_ERROR(0, fstat(fd, &status), "fstat");
        EXPECT_VALUE(0, status.st_nlink, "%zu: links", size);
        EXPECT_VALUE(inode, status.st_ino, "%zu: inode number", size);
        EXPECT_VALUE(size, status.st_size, "%zu: size", size);
        EXPECT_VALUE(size, pread(fd, back, size + 1, 0), "%zu: read", size);
        EXPECT_VALUE(-1, pattern_differs(back, size, i, 0), "%zu: content", size);
        EXPECT_VALUE(size, pread(second, back, size + 1, 0), "%zu: read through the other", size);
        EXPECT_VALUE(200000, pwrite(fd, bytes + size, 200000, (off_t)size), "%zu: write", size);
        EXPECT_VALUE(size + 200000, pread(second, back, size + 200000, 0), "%zu: read what was written",
                     size);
        EXPECT_VALUE(-1, pattern_differs(back, size + 200000, i, 0), "%zu: content", size);
        EXPECT_ERROR(0, ftruncate(fd, 3), "%zu: ftruncate", size);
        EXPECT_VALUE(3, pread(second, back, 10, 0), "%zu: read after it", size);
        EXPECT_ERROR(0, fchmod(fd, 0600), "%zu: fchmod", size);
        EXPECT_ERROR(0, fchown(fd, 3, 4), "%zu: fchown", size);
        EXPECT_ERROR(0, futimens(fd, NULL), "%zu: futimens", size);
        EXPECT_ERROR(0, fsync(fd), "%zu: fsync", size);
        EXPECT_ERROR(0, fstat(second, &status), "%zu: fstat", size);
        EXPECT_VALUE(S_IFREG | 0600, status.st_mode, "%zu: mode", size);
        EXPECT_VALUE(3, status.st_uid, "%zu: owner", size);
        OK(close(fd));
        EXPECT_VALUE(3, pread(second, back, 10, 0), "%zu: read after one close", size);
        OK(close(second));
        if (end == REPLACE) {
            EXPECT_TEXT("f", "other");
            OK(unlink("f"));
        }
        EXPECT_VALUE(ENOENT, absent("f"), "name");
        free(bytes);
        free(back);
    }
}

static void after_unlink(void)
{
    everything_goes_on(UNLINK);
}
static void after_being_replaced(void)
{
    everything_goes_on(REPLACE);
}

/* The name can be used again at once, for another file. */
static void the_name_is_free(void)
{
    int fds[20];
    char byte;
    NEED("unlinked");
    for (int i = 0; i < 20; i++) {
        fds[i] = (int)OK(open("f", O_RDWR | O_CREAT | O_EXCL, 0644));
        IS(1, write(fds[i], &(char){(char)('a' + i)}, 1));
        OK(unlink("f"));
    }
    for (int i = 0; i < 20; i++) {
        IS(1, pread(fds[i], &byte, 1, 0));
        IS('a' + i, byte);
    }
    for (int i = 0; i < 20; i++)
        OK(close(fds[i]));
    IS(0, entry_count("."));
}

/* The last of several names. */
static void the_last_link(void)
{
    struct stat status;
    char byte;
    NEED("unlinked");
    make_file("f", "x");
    OK(link("f", "g"));
    int fd = (int)OK(open("f", O_RDWR));
    OK(unlink("f"));
    OK(fstat(fd, &status));
    IS(1, status.st_nlink);
    OK(unlink("g"));
    OK(fstat(fd, &status));
    IS(0, status.st_nlink);
    IS(1, pread(fd, &byte, 1, 0));
    FAILS(ENOENT, linkat(fd, "", AT_FDCWD, "back", AT_EMPTY_PATH)); /* not even so */
    OK(close(fd));
}

/* The space comes back with the last close. */
static void space(void)
{
    struct statvfs before, held, after;
    NEED("unlinked");
    NEED("exactspace");
    char *bytes = bytes_of(16 << 20);
    memset(bytes, 'x', 16 << 20);
    OK(statvfs(".", &before));
    int fd = (int)OK(open("f", O_RDWR | O_CREAT, 0644));
    IS(16 << 20, write(fd, bytes, 16 << 20));
    OK(unlink("f"));
    OK(statvfs(".", &held));
    TRUE((before.f_bfree - held.f_bfree) * before.f_frsize >= 15 << 20);
    OK(close(fd));
    bool back = false;
    for (int i = 0; i < 500 && !back; i++) { /* nobody promises when; here within 6 s */
        OK(statvfs(".", &after));
        back =
            (before.f_bfree - after.f_bfree) * before.f_frsize < 1 << 20 || after.f_bfree >= before.f_bfree;
        if (!back)
            tick();
    }
    TRUE(back);
    free(bytes);
}

/* ---- other processes ---- */

struct sharing {
    struct turn turn;
};

static void hold(void *argument)
{
    struct sharing *sharing = argument;
    char bytes[8] = "";
    int fd = (int)OK(open("f", O_RDWR));
    turn_set(&sharing->turn, 1);
    turn_wait(&sharing->turn, 2);
    IS(7, pread(fd, bytes, sizeof bytes, 0));
    IS(3, pwrite(fd, "new", 3, 7));
    IS(3, pread(fd, bytes, 3, 7));
    TRUE(memcmp(bytes, "new", 3) == 0);
    struct stat status;
    OK(fstat(fd, &status));
    IS(0, status.st_nlink);
    IS(10, status.st_size);
    OK(close(fd));
}

static void held_by_another(void)
{
    struct sharing *sharing = shared_allocate(sizeof *sharing);
    NEED("unlinked");
    for (int i = 0; i < 2; i++) {
        make_file("f", "content");
        turn_set(&sharing->turn, 0);
        pid_t child = child_start(hold, sharing);
        turn_wait(&sharing->turn, 1);
        if (i == 0) {
            OK(unlink("f"));
        } else {
            make_file("g", "other");
            OK(rename("g", "f"));
        }
        turn_set(&sharing->turn, 2);
        child_end(child);
    }
    OK(unlink("f"));
}

/* A child shares what its parent had open, and keeps it when the parent closes. */
static void use_inherited(void *argument)
{
    int fd = *(int *)argument;
    char bytes[8] = "";
    IS(7, pread(fd, bytes, sizeof bytes, 0));
    TRUE(memcmp(bytes, "content", 7) == 0);
    OK(close(fd));
}

static void inherited(void)
{
    char bytes[8];
    NEED("unlinked");
    make_file("f", "content");
    int fd = (int)OK(open("f", O_RDWR));
    OK(unlink("f"));
    pid_t child = child_start(use_inherited, &fd);
    child_end(child);
    IS(7, pread(fd, bytes, sizeof bytes, 0)); /* its close was not ours */
    OK(close(fd));
}

static void hold_for_ever(void *argument)
{
    struct sharing *sharing = argument;
    int fd = (int)OK(open("f", O_RDWR));
    char *bytes = bytes_of(8 << 20);
    memset(bytes, 'x', 8 << 20);
    IS(8 << 20, pwrite(fd, bytes, 8 << 20, 0));
    OK(unlink("f"));
    turn_set(&sharing->turn, 1);
    turn_wait(&sharing->turn, 1000);
}

/* Who dies holds nothing. */
static void held_by_the_dead(void)
{
    struct sharing *sharing = shared_allocate(sizeof *sharing);
    struct statvfs before, after;
    NEED("unlinked");
    NEED("exactspace");
    make_file("f", "");
    OK(statvfs(".", &before));
    pid_t child = child_start(hold_for_ever, sharing);
    turn_wait(&sharing->turn, 1);
    OK(statvfs(".", &after));
    TRUE((before.f_bfree - after.f_bfree) * before.f_frsize >= 7 << 20);
    child_kill(child);
    bool back = false;
    for (int i = 0; i < 1000 && !back; i++) {
        OK(statvfs(".", &after));
        back =
            after.f_bfree >= before.f_bfree || (before.f_bfree - after.f_bfree) * before.f_frsize < 1 << 20;
        if (!back)
            tick();
    }
    TRUE(back);
}

/* A directory that was removed while open is empty for ever. */
static void directories(void)
{
    struct stat status;
    OK(mkdir("d", 0755));
    int fd = (int)OK(open("d", O_RDONLY | O_DIRECTORY));
    OK(rmdir("d"));
    FAILS(ENOENT, openat(fd, "x", O_RDWR | O_CREAT, 0644));
    FAILS(ENOENT, mkdirat(fd, "x", 0755));
    FAILS(ENOENT, symlinkat("x", fd, "x"));
    FAILS(ENOENT, fstatat(fd, "x", &status, 0));
    NEED("unlinked");
    OK(fstat(fd, &status));
    TRUE(S_ISDIR(status.st_mode));
    IS(0, status.st_nlink);
    OK(close(fd));
}

CASES(CASE(after_unlink), CASE(after_being_replaced), CASE(the_name_is_free), CASE(the_last_link),
      CASE(space), CASE(held_by_another), CASE(inherited), CASE(held_by_the_dead), CASE(directories))

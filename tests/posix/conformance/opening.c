/* open: every combination of flags on every kind of target, what the descriptor may do, modes and umask. */
#include "conformance.h"

enum target { NONE, FILE_, DIRECTORY, LINK_TO_FILE, LINK_TO_DIRECTORY, DANGLING, LOOP, TARGETS };
static const char *const target_names[TARGETS] = {
    "none", "file", "dir", "link_to_file", "link_to_dir", "dangling", "loop",
};

static void make_targets(void)
{
    make_file("file", "content");
    OK(mkdir("dir", 0755));
    OK(symlink("file", "link_to_file"));
    OK(symlink("dir", "link_to_dir"));
    OK(symlink("nowhere", "dangling"));
    OK(symlink("loop", "loop"));
}

/* Brings back what a successful open may have changed. */
static void restore_targets(void)
{
    unlink("none");
    unlink("nowhere");
    int fd = open("file", O_WRONLY | O_TRUNC);
    if (fd >= 0 && write(fd, "content", 7) != 7)
        expect(false, __FILE__, __LINE__, "write", "the file could not be restored");
    close(fd);
}

static int expected_error(enum target target, int flags)
{
    bool creates = flags & O_CREAT, exclusive = creates && (flags & O_EXCL);
    bool directory = flags & O_DIRECTORY, follows = !(flags & O_NOFOLLOW);
    bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
    if (creates && directory)
        return EINVAL;
    if (exclusive)
        return target == NONE ? 0 : EEXIST;
    if (target >= LINK_TO_FILE && !follows)
        return directory ? ENOTDIR : ELOOP;
    if (target == LOOP)
        return ELOOP;
    if (target == NONE || target == DANGLING)
        return creates ? 0 : ENOENT;
    if (target == DIRECTORY || target == LINK_TO_DIRECTORY)
        return creates || writes ? EISDIR : 0;
    return directory ? ENOTDIR : 0;
}

/* What an open descriptor allows follows from its flags. */
static void check_descriptor(int fd, enum target target, int flags, const char *row)
{
    char byte;
    int access = flags & O_ACCMODE;
    struct stat status;
    EXPECT_ERROR(0, fstat(fd, &status), "%s: fstat", row);
    if (target == DIRECTORY || target == LINK_TO_DIRECTORY) {
        EXPECT_VALUE(S_IFDIR, status.st_mode & S_IFMT, "%s: type", row);
        EXPECT_ERROR(EISDIR, read(fd, &byte, 1), "%s: read", row);
        EXPECT_ERROR(EBADF, write(fd, "x", 1), "%s: write", row);
        return;
    }
    long long size = target == FILE_ || target == LINK_TO_FILE ? (flags & O_TRUNC ? 0 : 7) : 0;
    EXPECT_VALUE(S_IFREG, status.st_mode & S_IFMT, "%s: type", row);
    EXPECT_VALUE(size, status.st_size, "%s: size", row);
    if (access == O_WRONLY)
        EXPECT_ERROR(EBADF, read(fd, &byte, 1), "%s: read", row);
    else
        EXPECT_VALUE(size > 0, read(fd, &byte, 1), "%s: read", row);
    if (access == O_RDONLY) {
        EXPECT_ERROR(EBADF, write(fd, "x", 1), "%s: write", row);
        EXPECT_ERROR(EINVAL, ftruncate(fd, 0), "%s: ftruncate", row);
        return;
    }
    long long at = access == O_RDWR && size > 0 ? 1 : 0;
    EXPECT_VALUE(2, write(fd, "xy", 2), "%s: write", row);
    long long end = flags & O_APPEND ? size + 2 : at + 2;
    EXPECT_VALUE(end, lseek(fd, 0, SEEK_CUR), "%s: offset", row);
    EXPECT_ERROR(0, fstat(fd, &status), "%s: fstat", row);
    EXPECT_VALUE(end > size ? end : size, status.st_size, "%s: size after write", row);
}

static void flags_on(enum target target)
{
    static const int accesses[] = {O_RDONLY, O_WRONLY, O_RDWR};
    static const int bits[] = {O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY, O_NOFOLLOW};
    make_targets();
    for (unsigned i = 0; i < 3 << 6; i++) {
        int flags = accesses[i % 3];
        char row[100];
        for (unsigned bit = 0; bit < 6; bit++)
            flags |= (i / 3) >> bit & 1 ? bits[bit] : 0;
        if ((flags & O_EXCL) && !(flags & O_CREAT))
            continue; /* undefined */
        snprintf(row, sizeof row, "open %s %s%s%s%s%s%s%s", target_names[target],
                 &"RDONLY\0WRONLY\0RDWR\0"[7 * (i % 3)], flags & O_CREAT ? "|CREAT" : "",
                 flags & O_EXCL ? "|EXCL" : "", flags & O_TRUNC ? "|TRUNC" : "",
                 flags & O_APPEND ? "|APPEND" : "", flags & O_DIRECTORY ? "|DIRECTORY" : "",
                 flags & O_NOFOLLOW ? "|NOFOLLOW" : "");
        int error = expected_error(target, flags);
        errno = 0;
        int fd = open(target_names[target], flags, 0644);
        expect_error(error, fd, __FILE__, __LINE__, "%s", row);
        if (fd < 0) {
            EXPECT_VALUE(7, status_of("file").st_size, "%s: size of the file after a failure", row);
            EXPECT_VALUE(ENOENT, absent("none"), "%s: made something and failed", row);
            EXPECT_VALUE(ENOENT, absent("nowhere"), "%s: made something and failed", row);
            continue;
        }
        check_descriptor(fd, target, flags, row);
        EXPECT_ERROR(0, close(fd), "%s: close", row);
        restore_targets();
    }
}

static void flags_on_nothing(void)
{
    flags_on(NONE);
}
static void flags_on_a_file(void)
{
    flags_on(FILE_);
}
static void flags_on_a_directory(void)
{
    flags_on(DIRECTORY);
}
static void flags_on_a_link_to_a_file(void)
{
    flags_on(LINK_TO_FILE);
}
static void flags_on_a_link_to_a_directory(void)
{
    flags_on(LINK_TO_DIRECTORY);
}
static void flags_on_a_dangling_link(void)
{
    flags_on(DANGLING);
}
static void flags_on_a_loop(void)
{
    flags_on(LOOP);
}

/* Every permission, with every umask that matters. */
static void modes_and_umask(void)
{
    static const mode_t masks[] = {0, 022, 027, 077, 0177, 0777};
    static const mode_t modes[] = {0, 0400, 0644, 0640, 0666, 0755, 0777, 01777, 02755, 04755, 07777};
    for (unsigned m = 0; m < COUNT(masks); m++) {
        for (unsigned i = 0; i < COUNT(modes); i++) {
            umask(masks[m]);
            int fd = open("f", O_RDWR | O_CREAT | O_EXCL, modes[i]);
            EXPECT_ERROR(0, fd, "open mode %o umask %o", modes[i], masks[m]);
            EXPECT_VALUE(modes[i] & ~masks[m], status_of("f").st_mode & 07777, "open mode %o umask %o",
                         modes[i], masks[m]);
            /* The mode binds later opens, not the one that makes the file. */
            EXPECT_VALUE(1, write(fd, "x", 1), "write to a new file of mode %o", modes[i]);
            EXPECT_ERROR(0, close(fd), "close");
            EXPECT_ERROR(0, unlink("f"), "unlink");
            EXPECT_ERROR(0, mkdir("d", modes[i]), "mkdir mode %o umask %o", modes[i], masks[m]);
            EXPECT_VALUE(modes[i] & ~masks[m] & 01777, status_of("d").st_mode & 07777,
                         "mkdir mode %o umask %o", modes[i], masks[m]);
            EXPECT_ERROR(0, rmdir("d"), "rmdir");
        }
        /* umask returns what was set. */
        EXPECT_VALUE(masks[m], umask(022), "umask");
    }
    umask(0);
    OK(close((int)OK(open("file", O_CREAT | O_WRONLY, 0600))));
    OK(close((int)OK(open("file", O_CREAT | O_WRONLY, 0644))));
    IS(0600, status_of("file").st_mode & 07777); /* it was there already */
    OK(close((int)OK(creat("other", 0604))));
    IS(0604, status_of("other").st_mode & 07777);
    OK(symlink("x", "s"));
    IS(0777, status_of("s").st_mode & 07777); /* no umask for symbolic links */
}

static void creat_truncates(void)
{
    char byte;
    make_file("f", "text");
    int fd = (int)OK(creat("f", 0600));
    FAILS(EBADF, read(fd, &byte, 1));
    IS(2, write(fd, "ab", 2));
    OK(close(fd));
    EXPECT_TEXT("f", "ab");
    IS(0644, status_of("f").st_mode & 07777);
    OK(mkdir("d", 0755));
    FAILS(EISDIR, creat("d", 0600));
}

static void slashes_and_dots(void)
{
    OK(mkdir("d", 0755));
    make_file("f", "x");
    FAILS(EISDIR, open("new/", O_CREAT | O_WRONLY, 0644));
    FAILS(EISDIR, open("d/", O_CREAT | O_WRONLY, 0644));
    FAILS(EISDIR, open("d/.", O_CREAT | O_RDONLY, 0644));
    FAILS(EISDIR, open("d/..", O_CREAT | O_RDONLY, 0644));
    FAILS(EISDIR, open(".", O_CREAT | O_RDONLY, 0644));
    FAILS(EISDIR, open(".", O_WRONLY));
    FAILS(EISDIR, open("..", O_RDWR));
    FAILS(EISDIR, open("f/", O_CREAT | O_RDONLY, 0644));
    FAILS(ENOTDIR, open("f/", O_RDONLY));
    FAILS(ENOTDIR, open("f/.", O_RDONLY));
    FAILS(ENOENT, open("new/", O_RDONLY));
    OK(close((int)OK(open("d/", O_RDONLY))));
    OK(close((int)OK(open("d//./", O_RDONLY | O_DIRECTORY))));
    OK(close((int)OK(open(".", O_RDONLY))));
    OK(close((int)OK(open("d/../d", O_RDONLY))));
    IS(ENOENT, absent("new"));
}

/* A link in the middle of a path is followed whatever O_NOFOLLOW says. */
static void nofollow_is_for_the_last_name(void)
{
    OK(mkdir("d", 0755));
    make_file("d/f", "x");
    OK(symlink("d", "l"));
    OK(close((int)OK(open("l/f", O_RDONLY | O_NOFOLLOW))));
    OK(close((int)OK(open("l/.", O_RDONLY | O_NOFOLLOW))));
    OK(close((int)OK(open("l/new", O_RDWR | O_CREAT | O_NOFOLLOW, 0644))));
    OK(close((int)OK(open("l/", O_RDONLY | O_NOFOLLOW | O_DIRECTORY))));
    FAILS(ELOOP, open("l", O_RDONLY | O_NOFOLLOW));
    FAILS(ENOTDIR, open("l", O_RDONLY | O_NOFOLLOW | O_DIRECTORY));
}

/* Each open has an offset of its own; descriptors go on when the name is gone. */
static void descriptions_are_separate(void)
{
    char bytes[8];
    make_file("f", "abcdef");
    int one = (int)OK(open("f", O_RDONLY)), two = (int)OK(open("f", O_RDWR));
    TRUE(one != two);
    IS(2, read(one, bytes, 2));
    IS(3, read(two, bytes, 3));
    IS(2, lseek(one, 0, SEEK_CUR));
    IS(3, lseek(two, 0, SEEK_CUR));
    IS(1, write(two, "X", 1));
    IS(4, read(one, bytes, 8));
    TRUE(memcmp(bytes, "cXef", 4) == 0);
    OK(close(one));
    FAILS(EBADF, read(one, bytes, 1));
    FAILS(EBADF, close(one));
    IS(2, read(two, bytes, 8));
    OK(close(two));
}

static void bad_descriptors(void)
{
    static const int wrong[] = {-1, -7, 999, INT_MAX};
    char byte = 0;
    struct stat status;
    for (unsigned i = 0; i < COUNT(wrong); i++) {
        int fd = wrong[i];
        EXPECT_ERROR(EBADF, read(fd, &byte, 1), "read %d", fd);
        EXPECT_ERROR(EBADF, write(fd, &byte, 1), "write %d", fd);
        EXPECT_ERROR(EBADF, pread(fd, &byte, 1, 0), "pread %d", fd);
        EXPECT_ERROR(EBADF, pwrite(fd, &byte, 1, 0), "pwrite %d", fd);
        EXPECT_ERROR(EBADF, lseek(fd, 0, SEEK_SET), "lseek %d", fd);
        EXPECT_ERROR(EBADF, fstat(fd, &status), "fstat %d", fd);
        EXPECT_ERROR(EBADF, ftruncate(fd, 0), "ftruncate %d", fd);
        EXPECT_ERROR(EBADF, fsync(fd), "fsync %d", fd);
        EXPECT_ERROR(EBADF, fdatasync(fd), "fdatasync %d", fd);
        EXPECT_ERROR(EBADF, fchmod(fd, 0644), "fchmod %d", fd);
        EXPECT_ERROR(EBADF, fchown(fd, 0, 0), "fchown %d", fd);
        EXPECT_ERROR(EBADF, futimens(fd, NULL), "futimens %d", fd);
        EXPECT_ERROR(EBADF, close(fd), "close %d", fd);
        EXPECT_ERROR(EBADF, fdopendir(fd) == NULL ? -1 : 0, "fdopendir %d", fd);
        if (fd == AT_FDCWD)
            continue;
        EXPECT_ERROR(EBADF, openat(fd, "x", O_RDONLY), "openat %d", fd);
        EXPECT_ERROR(EBADF, mkdirat(fd, "x", 0755), "mkdirat %d", fd);
        EXPECT_ERROR(EBADF, unlinkat(fd, "x", 0), "unlinkat %d", fd);
        EXPECT_ERROR(EBADF, fstatat(fd, "x", &status, 0), "fstatat %d", fd);
        EXPECT_ERROR(EBADF, symlinkat("x", fd, "x"), "symlinkat %d", fd);
        EXPECT_ERROR(EBADF, readlinkat(fd, "x", &byte, 1), "readlinkat %d", fd);
        EXPECT_ERROR(EBADF, renameat(fd, "x", AT_FDCWD, "y"), "renameat %d", fd);
        EXPECT_ERROR(EBADF, fchmodat(fd, "x", 0644, 0), "fchmodat %d", fd);
        EXPECT_ERROR(EBADF, fchownat(fd, "x", 0, 0, 0), "fchownat %d", fd);
        EXPECT_ERROR(EBADF, utimensat(fd, "x", NULL, 0), "utimensat %d", fd);
    }
}

/* O_PATH: a place in the tree, nothing else. */
static void places(void)
{
    char byte = 0;
    struct stat status;
    make_file("f", "x");
    OK(mkdir("d", 0755));
    make_file("d/in", "y");
    OK(symlink("f", "l"));
    int file = (int)OK(open("f", O_PATH)), directory = (int)OK(open("d", O_PATH));
    int link_ = (int)OK(open("l", O_PATH | O_NOFOLLOW)), through = (int)OK(open("l", O_PATH));
    FAILS(EBADF, read(file, &byte, 1));
    FAILS(EBADF, write(file, &byte, 1));
    FAILS(EBADF, ftruncate(file, 0));
    FAILS(EBADF, lseek(file, 0, SEEK_SET));
    FAILS(EBADF, fsync(file));
    FAILS(EBADF, fchmod(file, 0600));
    FAILS(EBADF, fchown(file, 0, 0));
    FAILS(EBADF, futimens(file, NULL));
    OK(fstat(file, &status));
    TRUE(S_ISREG(status.st_mode));
    OK(fstat(link_, &status));
    TRUE(S_ISLNK(status.st_mode));
    OK(fstat(through, &status));
    TRUE(S_ISREG(status.st_mode));
    OK(fstatat(directory, "in", &status, 0));
    OK(close((int)OK(openat(directory, "in", O_RDONLY))));
    FAILS(ENOTDIR, fstatat(file, "x", &status, 0));
    FAILS(ENOENT, open("none", O_PATH));
    FAILS(ENOTDIR, open("f", O_PATH | O_DIRECTORY));
    OK(close(file));
    OK(close(directory));
    OK(close(link_));
    OK(close(through));
}

static void temporary_files(void)
{
    char byte;
    struct stat status;
    NEED("tmpfile");
    OK(mkdir("d", 0755));
    make_file("f", "x");
    FAILS(EINVAL, open("d", O_TMPFILE | O_RDONLY, 0600));
    FAILS(ENOTDIR, open("f", O_TMPFILE | O_RDWR, 0600));
    FAILS(ENOENT, open("none", O_TMPFILE | O_RDWR, 0600));
    int fd = open("d", O_TMPFILE | O_RDWR, 0640);
    if (fd < 0 && errno == EOPNOTSUPP)
        skip_case("O_TMPFILE is not supported");
    OK(fd);
    IS(0, entry_count("d"));
    OK(fstat(fd, &status));
    IS(0, status.st_nlink);
    IS(0640, status.st_mode & 07777);
    IS(4, write(fd, "text", 4));
    IS(1, pread(fd, &byte, 1, 3));
    IS('t', byte);
    OK(close(fd));
    IS(0, entry_count("d"));
    OK(rmdir("d"));
}

CASES(CASE(flags_on_nothing), CASE(flags_on_a_file), CASE(flags_on_a_directory),
      CASE(flags_on_a_link_to_a_file), CASE(flags_on_a_link_to_a_directory), CASE(flags_on_a_dangling_link),
      CASE(flags_on_a_loop), CASE(modes_and_umask), CASE(creat_truncates), CASE(slashes_and_dots),
      CASE(nofollow_is_for_the_last_name), CASE(descriptions_are_separate), CASE(bad_descriptors),
      CASE(places), CASE(temporary_files))

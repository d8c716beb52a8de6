/* Names: making and removing them, hard and symbolic links, special files, and the counts that go with them.
 */
#include "conformance.h"

enum kind { FILE_, EMPTY, FULL, LINK, DANGLING, FIFO, KINDS };
static const char *const kinds[KINDS] = {"file", "empty", "full", "link", "dangling", "fifo"};

/* Fifos are made by the cases that can. */
static void make_kinds(void)
{
    make_file("file", "file");
    OK(mkdir("empty", 0755));
    OK(mkdir("full", 0755));
    make_file("full/in", "in");
    OK(symlink("file", "link"));
    OK(symlink("nowhere", "dangling"));
}

static void removes(void)
{
    static const int unlink_errors[] = {0, EISDIR, EISDIR, 0, 0, 0};
    static const int rmdir_errors[] = {ENOTDIR, 0, ENOTEMPTY, ENOTDIR, ENOTDIR, ENOTDIR};
    make_kinds();
    for (enum kind kind = FILE_; kind < FIFO; kind++) {
        struct stat before = status_of(kinds[kind]);
        if (unlink_errors[kind] != 0)
            EXPECT_ERROR(unlink_errors[kind], unlink(kinds[kind]), "unlink %s", kinds[kind]);
        if (rmdir_errors[kind] != 0)
            EXPECT_ERROR(rmdir_errors[kind], rmdir(kinds[kind]), "rmdir %s", kinds[kind]);
        EXPECT_VALUE(before.st_ino, status_of(kinds[kind]).st_ino, "%s is still there", kinds[kind]);
        if (unlink_errors[kind] == 0)
            EXPECT_ERROR(0, unlink(kinds[kind]), "unlink %s", kinds[kind]);
        else if (rmdir_errors[kind] == 0)
            EXPECT_ERROR(0, rmdir(kinds[kind]), "rmdir %s", kinds[kind]);
        else
            continue;
        EXPECT_VALUE(ENOENT, absent(kinds[kind]), "%s is gone", kinds[kind]);
        EXPECT_ERROR(ENOENT, unlink(kinds[kind]), "unlink %s", kinds[kind]);
        EXPECT_ERROR(ENOENT, rmdir(kinds[kind]), "rmdir %s", kinds[kind]);
        /* And the name is free for anything. */
        EXPECT_ERROR(0, mkdir(kinds[kind], 0755), "mkdir %s", kinds[kind]);
        EXPECT_ERROR(0, rmdir(kinds[kind]), "rmdir %s", kinds[kind]);
        EXPECT_ERROR(0, symlink("x", kinds[kind]), "symlink %s", kinds[kind]);
        EXPECT_ERROR(0, unlink(kinds[kind]), "unlink %s", kinds[kind]);
    }
}

/* Whoever makes a name finds it free, or leaves everything as it is. */
static void makes_nothing_twice(void)
{
    make_kinds();
    for (enum kind kind = FILE_; kind < FIFO; kind++) {
        struct stat before = status_of(kinds[kind]);
        EXPECT_ERROR(EEXIST, mkdir(kinds[kind], 0755), "mkdir %s", kinds[kind]);
        EXPECT_ERROR(EEXIST, symlink("y", kinds[kind]), "symlink %s", kinds[kind]);
        EXPECT_ERROR(EEXIST, open(kinds[kind], O_CREAT | O_EXCL | O_RDWR, 0644), "create %s", kinds[kind]);
        struct stat after = status_of(kinds[kind]);
        EXPECT_VALUE(before.st_ino, after.st_ino, "%s", kinds[kind]);
        EXPECT_VALUE(before.st_mode, after.st_mode, "%s", kinds[kind]);
        EXPECT_VALUE(nanoseconds(before.st_ctim), nanoseconds(after.st_ctim), "%s", kinds[kind]);
    }
    EXPECT_TEXT("file", "file");
    IS(ENOENT, absent("nowhere"));
}

static void counts_of_directories(void)
{
    char path[32];
    OK(mkdir("d", 0755));
    for (int i = 0; i < 20; i++) {
        EXPECT_VALUE(2 + i, status_of("d").st_nlink, "%d directories", i);
        snprintf(path, sizeof path, "d/%d", i);
        EXPECT_ERROR(0, mkdir(path, 0755), "mkdir");
        EXPECT_VALUE(2, status_of(path).st_nlink, "a new directory");
        snprintf(path, sizeof path, "d/f%d", i);
        make_file(path, "x"); /* files do not count */
    }
    IS(40, entry_count("d"));
    OK(rename("d/3", "moved"));
    IS(21, status_of("d").st_nlink);
    OK(rename("moved", "d/3"));
    IS(22, status_of("d").st_nlink);
    OK(mkdir("d/new", 0755));
    OK(rename("d/new", "d/4")); /* replaces an empty one */
    IS(22, status_of("d").st_nlink);
    for (int i = 0; i < 20; i++) {
        snprintf(path, sizeof path, "d/%d", i);
        EXPECT_ERROR(0, rmdir(path), "rmdir");
        EXPECT_VALUE(21 - i, status_of("d").st_nlink, "%d directories", 19 - i);
    }
    IS(20, entry_count("d"));
    FAILS(ENOTEMPTY, rmdir("d"));
}

static void rmdir_needs_emptiness(void)
{
    OK(mkdir("d", 0755));
    OK(mkdir("d/e", 0755));
    FAILS(ENOTEMPTY, rmdir("d"));
    OK(rmdir("d/e"));
    OK(symlink("x", "d/l"));
    FAILS(ENOTEMPTY, rmdir("d"));
    OK(unlink("d/l"));
    make_file("d/f", "x");
    FAILS(ENOTEMPTY, rmdir("d"));
    OK(rename("d/f", "f"));
    FAILS(EINVAL, rmdir("d/."));
    FAILS(ENOTEMPTY, rmdir("d/.."));
    FAILS(EINVAL, rmdir("."));
    OK(symlink("d", "l"));
    FAILS(ENOTDIR, rmdir("l"));
    FAILS(ENOTDIR, rmdir("l/"));
    OK(rmdir("d/"));
    FAILS(ENOENT, rmdir("d"));
}

/* ---- hard links ---- */

static void links_are_one_file(void)
{
    struct stat one, two;
    make_file("a", "text");
    OK(mkdir("d", 0755));
    OK(link("a", "b"));
    OK(link("b", "d/c"));
    one = status_of("a");
    two = status_of("d/c");
    IS(one.st_ino, two.st_ino);
    IS(3, one.st_nlink);
    IS(3, two.st_nlink);
    EXPECT_TEXT("d/c", "text");
    int fd = (int)OK(open("b", O_WRONLY));
    IS(4, write(fd, "TEXT", 4));
    EXPECT_TEXT("a", "TEXT");
    OK(ftruncate(fd, 2));
    EXPECT_TEXT("d/c", "TE");
    OK(close(fd));
    OK(chmod("a", 0601));
    IS(0601, status_of("b").st_mode & 07777);
    OK(chown("b", 5, 6));
    IS(5, status_of("d/c").st_uid);
    IS(6, status_of("a").st_gid);
    struct timespec times[2] = {{.tv_sec = 11}, {.tv_sec = 22}};
    OK(utimensat(AT_FDCWD, "d/c", times, 0));
    IS(22, status_of("a").st_mtim.tv_sec);
    OK(unlink("a"));
    IS(2, status_of("b").st_nlink);
    EXPECT_TEXT("b", "TE");
    OK(unlink("d/c"));
    IS(1, status_of("b").st_nlink);
    OK(link("b", "a"));
    IS(2, status_of("a").st_nlink);
    OK(unlink("b"));
    EXPECT_TEXT("a", "TE");
    OK(rename("a", "b"));
    IS(1, status_of("b").st_nlink);
}

static void many_links(void)
{
    char path[32];
    make_file("f", "x");
    OK(mkdir("d", 0755));
    for (int i = 0; i < 300; i++) {
        snprintf(path, sizeof path, "d/%d", i);
        EXPECT_ERROR(0, link("f", path), "link %d", i);
    }
    IS(301, status_of("f").st_nlink);
    IS(300, entry_count("d"));
    OK(unlink("f"));
    for (int i = 0; i < 300; i++) {
        snprintf(path, sizeof path, "d/%d", i);
        EXPECT_VALUE(300 - i, status_of(path).st_nlink, "links");
        EXPECT_ERROR(0, unlink(path), "unlink %d", i);
    }
    OK(rmdir("d"));
}

static void links_to_everything(void)
{
    make_kinds();
    FAILS(EPERM, link("empty", "x"));
    FAILS(EPERM, link("full", "x"));
    FAILS(EPERM, link(".", "x"));
    OK(link("link", "link2")); /* the link, not what it leads to */
    TRUE(S_ISLNK(status_of("link2").st_mode));
    IS(2, status_of("link").st_nlink);
    IS(1, status_of("file").st_nlink);
    OK(link("dangling", "dangling2"));
    OK(linkat(AT_FDCWD, "link", AT_FDCWD, "followed", AT_SYMLINK_FOLLOW));
    IS(status_of("file").st_ino, status_of("followed").st_ino);
    FAILS(ENOENT, linkat(AT_FDCWD, "dangling", AT_FDCWD, "x", AT_SYMLINK_FOLLOW));
    FAILS(EINVAL, linkat(AT_FDCWD, "file", AT_FDCWD, "x", 0x40000000));
    for (enum kind kind = FILE_; kind < FIFO; kind++)
        EXPECT_ERROR(EEXIST, link("file", kinds[kind]), "link to %s", kinds[kind]);
    FAILS(EEXIST, link("file", "file"));
    FAILS(EEXIST, link("file", "."));
    FAILS(ENOENT, link("file", "new/"));
    FAILS(ENOTDIR, link("file/", "x"));
    int directory = (int)OK(open("full", O_RDONLY | O_DIRECTORY));
    OK(linkat(directory, "in", AT_FDCWD, "out", 0));
    OK(linkat(AT_FDCWD, "file", directory, "file", 0));
    IS(status_of("full/file").st_ino, status_of("file").st_ino);
    OK(close(directory));
    IS(ENOENT, absent("x"));
}

/* ---- symbolic links ---- */

static void symbolic_links(void)
{
    static const size_t lengths[] = {1,   2,   7,   8,    59,   60,   61,   127,
                                     128, 255, 256, 1000, 2048, 4000, 4094, 4095};
    char *target = malloc(5000), buffer[16];
    for (unsigned i = 0; i < COUNT(lengths); i++) {
        const char *text = letters('t', lengths[i]);
        EXPECT_ERROR(0, symlink(text, "l"), "symlink of %zu", lengths[i]);
        struct stat status = status_of("l");
        EXPECT_VALUE(lengths[i], status.st_size, "size of a link of %zu", lengths[i]);
        EXPECT_VALUE(S_IFLNK | 0777, status.st_mode, "mode of a link");
        EXPECT_VALUE(1, status.st_nlink, "links of a link");
        EXPECT_VALUE(lengths[i], readlink("l", target, 5000), "readlink of %zu", lengths[i]);
        EXPECT_VALUE(0, memcmp(target, text, lengths[i]), "text of a link of %zu", lengths[i]);
        EXPECT_VALUE(1, readlink("l", target, 1), "readlink of %zu into 1", lengths[i]);
        EXPECT_ERROR(0, unlink("l"), "unlink");
    }
    free(target);
    FAILS(ENOENT, symlink("", "l"));
    FAILS(ENAMETOOLONG, symlink(letters('t', 4096), "l"));
    OK(symlink("/absolute/nowhere/./..//", "l")); /* as it is written */
    IS(10, readlink("l", buffer, 10));
    TRUE(memcmp(buffer, "/absolute/", 10) == 0);
    IS(24, status_of("l").st_size);
    FAILS(EINVAL, readlink("l", buffer, 0));
    make_file("f", "x");
    FAILS(EINVAL, readlink("f", buffer, sizeof buffer));
    FAILS(EINVAL, readlink(".", buffer, sizeof buffer));
    /* A file made through one, and removing one. */
    OK(symlink("made", "to_made"));
    OK(close((int)OK(open("to_made", O_WRONLY | O_CREAT, 0640))));
    IS(0640, status_of("made").st_mode & 07777);
    OK(unlink("to_made"));
    OK(unlink("made"));
    OK(mkdir("d", 0755));
    OK(symlink("../made", "d/to_made"));
    OK(close((int)OK(open("d/to_made", O_WRONLY | O_CREAT, 0640))));
    OK(lstat("made", &(struct stat){0}));
    FAILS(EEXIST, mkdir("d/to_made", 0755));
}

/* ---- special files: here they are names with a type ---- */

static void special_files(void)
{
    const struct {
        mode_t mode;
        dev_t device;
        const char *name;
    } files[] = {
        {S_IFIFO | 0640, 0, "fifo"},
        {S_IFSOCK | 0600, 0, "socket"},
        {S_IFCHR | 0666, makedev(1, 3), "character"},
        {S_IFBLK | 0660, makedev(8, 17), "block"},
        {S_IFCHR | 0600, makedev(200, 70000), "large numbers"},
        {S_IFREG | 0644, 0, "regular"},
        {0604, 0, "no type is regular"},
    };
    need_root();
    NEED("special");
    umask(0);
    OK(mkdir("d", 0755));
    int directory = (int)OK(open("d", O_RDONLY | O_DIRECTORY));
    for (unsigned i = 0; i < COUNT(files); i++) {
        char path[64];
        struct stat status;
        mode_t mode = files[i].mode & S_IFMT ? files[i].mode : files[i].mode | S_IFREG;
        snprintf(path, sizeof path, "d/%s", files[i].name);
        EXPECT_ERROR(0, mknod(path, files[i].mode, files[i].device), "mknod %s", path);
        EXPECT_ERROR(EEXIST, mknod(path, files[i].mode, files[i].device), "mknod %s", path);
        EXPECT_ERROR(EEXIST, mkdir(path, 0755), "mkdir %s", path);
        status = status_of(path);
        EXPECT_VALUE(mode, status.st_mode, "mode of %s", path);
        if (S_ISCHR(mode) || S_ISBLK(mode))
            EXPECT_VALUE(files[i].device, status.st_rdev, "device of %s", path);
        EXPECT_VALUE(1, status.st_nlink, "links of %s", path);
        EXPECT_VALUE(0, status.st_size, "size of %s", path);
        EXPECT_ERROR(0, chmod(path, 0604), "chmod %s", path);
        EXPECT_VALUE((mode & S_IFMT) | 0604, status_of(path).st_mode, "mode of %s", path);
        EXPECT_ERROR(0, chown(path, 3, 4), "chown %s", path);
        EXPECT_VALUE(3, status_of(path).st_uid, "owner of %s", path);
        EXPECT_ERROR(0, link(path, "linked"), "link %s", path);
        EXPECT_VALUE(2, status_of("linked").st_nlink, "links of %s", path);
        EXPECT_ERROR(0, unlink("linked"), "unlink of %s", path);
        EXPECT_ERROR(0, rename(path, "moved"), "rename %s", path);
        EXPECT_VALUE((mode & S_IFMT) | 0604, status_of("moved").st_mode, "mode of %s", path);
        EXPECT_ERROR(0, rename("moved", path), "rename %s", path);
        EXPECT_ERROR(ENOTDIR, rmdir(path), "rmdir %s", path);
        EXPECT_ERROR(ENOTDIR, openat(directory, files[i].name, O_RDONLY | O_DIRECTORY), "openat %s", path);
    }
    /* Listed with their types. */
    DIR *stream = opendir("d");
    if (TRUE(stream != NULL)) {
        for (struct dirent *entry; (entry = readdir(stream)) != NULL;)
            for (unsigned i = 0; i < COUNT(files); i++)
                if (strcmp(files[i].name, entry->d_name) == 0) {
                    mode_t mode = files[i].mode & S_IFMT ? files[i].mode : S_IFREG;
                    EXPECT_VALUE(IFTODT(mode), entry->d_type, "type of %s", entry->d_name);
                }
        OK(closedir(stream));
    }
    for (unsigned i = 0; i < COUNT(files); i++)
        EXPECT_ERROR(0, unlinkat(directory, files[i].name, 0), "unlink %s", files[i].name);
    OK(close(directory));
    umask(027);
    OK(mkfifo("f", 0666));
    IS(0640, status_of("f").st_mode & 07777);
    OK(mknod("g", S_IFREG | 0777, 0));
    IS(0750, status_of("g").st_mode & 07777);
    FAILS(EPERM, mknod("h", S_IFDIR | 0755, 0));
    FAILS(EINVAL, mknod("h", S_IFLNK | 0755, 0));
    FAILS(EINVAL, mknod("h", 0150000, 0));
}

/* A fifo joins two processes. The library has no other processes to join. */
static void write_to_fifo(void *argument)
{
    (void)argument;
    int fd = (int)OK(open("fifo", O_WRONLY));
    IS(5, write(fd, "hello", 5));
    OK(close(fd));
}

static void fifos(void)
{
    char bytes[8] = "";
    NEED("fifos"); /* that is, to open them */
    if (door_is_library())
        skip_case("the library keeps fifos as names only");
    OK(mkfifo("fifo", 0644));
    FAILS(ENXIO, open("fifo", O_WRONLY | O_NONBLOCK));
    OK(close((int)OK(open("fifo", O_RDONLY | O_NONBLOCK))));
    pid_t writer = child_start(write_to_fifo, NULL);
    int fd = (int)OK(open("fifo", O_RDONLY));
    IS(5, read(fd, bytes, sizeof bytes));
    TRUE(memcmp(bytes, "hello", 5) == 0);
    IS(0, read(fd, bytes, sizeof bytes));
    FAILS(ESPIPE, lseek(fd, 0, SEEK_SET));
    OK(close(fd));
    child_end(writer);
    IS(0, status_of("fifo").st_size);
}

CASES(CASE(removes), CASE(makes_nothing_twice), CASE(counts_of_directories), CASE(rmdir_needs_emptiness),
      CASE(links_are_one_file), CASE(many_links), CASE(links_to_everything), CASE(symbolic_links),
      CASE(special_files), CASE(fifos))

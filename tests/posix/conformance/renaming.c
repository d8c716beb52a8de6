/* rename and renameat2: every kind of source on every kind of target, in one directory and between two, with
 * what is there afterwards. */
#include "conformance.h"

enum kind { NONE, FILE_, EMPTY, FULL, LINK, DANGLING, FIFO, KINDS };
static const char *const kind_names[KINDS] = {
    "nothing", "file", "empty directory", "full directory", "link", "dangling link", "fifo",
};
static bool is_dir(enum kind kind)
{
    return kind == EMPTY || kind == FULL;
}

static void make_kind(const char *path, enum kind kind)
{
    char inner[64];
    switch (kind) {
    case FILE_:
        make_file(path, path);
        break;
    case FULL:
    case EMPTY:
        OK(mkdir(path, 0755));
        snprintf(inner, sizeof inner, "%s/inner", path);
        if (kind == FULL)
            make_file(inner, "inner");
        break;
    case LINK:
        OK(symlink("../file", path));
        break;
    case DANGLING:
        OK(symlink("nowhere", path));
        break;
    case FIFO:
        OK(mkfifo(path, 0644));
        break;
    default:
        break;
    }
}

/* inode number of what is there, 0: nothing. */
static ino_t inode_at(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0 ? status.st_ino : 0;
}

static int expected_error(enum kind source, enum kind target, unsigned flags)
{
    if (source == NONE)
        return ENOENT;
    if (flags == RENAME_EXCHANGE)
        return target == NONE ? ENOENT : 0;
    if (target == NONE)
        return 0;
    if (flags == RENAME_NOREPLACE)
        return EEXIST;
    if (is_dir(source))
        return !is_dir(target) ? ENOTDIR : target == FULL ? ENOTEMPTY : 0;
    return is_dir(target) ? EISDIR : 0;
}

static int rename_with(const char *from, const char *to, unsigned flags)
{
    return flags == 0 ? rename(from, to) : renameat2(AT_FDCWD, from, AT_FDCWD, to, flags);
}

/* The link count of a directory is 2 and one for each directory in it. */
static void check_links(const char *path, const char *row)
{
    struct stat status;
    int directories = 0;
    DIR *stream = opendir(path);
    if (!TRUE(stream != NULL))
        return;
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        char inner[300];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        directories += lstat(inner, &status) == 0 && S_ISDIR(status.st_mode);
    }
    OK(closedir(stream));
    EXPECT_ERROR(0, lstat(path, &status), "%s: %s", row, path);
    EXPECT_VALUE(2 + directories, status.st_nlink, "%s: links of %s", row, path);
}

/* One pair of kinds: rename, and look. */
static void rename_pair(enum kind source, enum kind target, unsigned flags, const char *from, const char *to)
{
    char row[200], inner[64];
    snprintf(row, sizeof row, "%s %s over %s %s flags %u", kind_names[source], from, kind_names[target], to,
             flags);
    OK(mkdir("a", 0755));
    OK(mkdir("b", 0755));
    make_file("file", "file");
    make_kind(from, source);
    make_kind(to, target);
    ino_t from_inode = inode_at(from), to_inode = inode_at(to);
    int error = expected_error(source, target, flags);
    EXPECT_ERROR(error, rename_with(from, to, flags), "%s", row);
    if (error != 0) {
        EXPECT_VALUE(from_inode, inode_at(from), "%s: source afterwards", row);
        EXPECT_VALUE(to_inode, inode_at(to), "%s: target afterwards", row);
    } else {
        EXPECT_VALUE(flags == RENAME_EXCHANGE ? to_inode : 0, inode_at(from), "%s: source afterwards", row);
        EXPECT_VALUE(from_inode, inode_at(to), "%s: target afterwards", row);
        if (source == FILE_)
            EXPECT_TEXT(to, from);
        snprintf(inner, sizeof inner, "%s/inner", to);
        if (source == FULL)
            EXPECT_TEXT(inner, "inner");
        /* A directory knows where it is. */
        struct stat parent, above;
        snprintf(inner, sizeof inner, "%s/..", to);
        if (is_dir(source)) {
            EXPECT_ERROR(0, stat(inner, &above), "%s: ..", row);
            EXPECT_ERROR(0, fstatat(AT_FDCWD, to[0] == 'a' ? "a" : "b", &parent, 0), "%s: parent", row);
            EXPECT_VALUE(parent.st_ino, above.st_ino, "%s: ..", row);
        }
        snprintf(inner, sizeof inner, "%s/..", from);
        if (flags == RENAME_EXCHANGE && is_dir(target)) {
            EXPECT_ERROR(0, stat(inner, &above), "%s: ..", row);
            EXPECT_ERROR(0, fstatat(AT_FDCWD, from[0] == 'a' ? "a" : "b", &parent, 0), "%s: parent", row);
            EXPECT_VALUE(parent.st_ino, above.st_ino, "%s: ..", row);
        }
    }
    check_links("a", row);
    check_links("b", row);
    remove_tree("a");
    remove_tree("b");
    OK(unlink("file"));
}

static void all_pairs(unsigned flags, enum kind kinds)
{
    for (enum kind source = NONE; source < kinds; source++)
        for (enum kind target = NONE; target < kinds; target++) {
            rename_pair(source, target, flags, "a/s", "a/t");
            rename_pair(source, target, flags, "a/s", "b/t");
        }
}

static void replaces(void)
{
    all_pairs(0, FIFO);
}
static void replaces_nothing(void)
{
    all_pairs(RENAME_NOREPLACE, FIFO);
}
static void exchanges(void)
{
    all_pairs(RENAME_EXCHANGE, FIFO);
}
static void special_files(void)
{
    static const unsigned flags[] = {0, RENAME_NOREPLACE, RENAME_EXCHANGE};
    NEED("special");
    for (unsigned i = 0; i < COUNT(flags); i++)
        for (enum kind other = NONE; other < KINDS; other++) {
            rename_pair(FIFO, other, flags[i], "a/s", "b/t");
            rename_pair(other, FIFO, flags[i], "a/s", "b/t");
        }
}

static void wrong_flags(void)
{
    make_file("a", "a");
    make_file("b", "b");
    FAILS(EINVAL, renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE | RENAME_EXCHANGE));
    FAILS(EINVAL, renameat2(AT_FDCWD, "a", AT_FDCWD, "b", 0x40000000));
    FAILS(EINVAL, renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_WHITEOUT | RENAME_EXCHANGE));
    EXPECT_TEXT("a", "a");
    EXPECT_TEXT("b", "b");
    OK(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", 0));
    EXPECT_TEXT("b", "a");
}

/* A name onto itself, or onto another name of the same file: nothing happens. */
static void same_file(void)
{
    make_file("f", "f");
    OK(mkdir("d", 0755));
    make_file("d/x", "x");
    OK(symlink("f", "l"));
    OK(rename("f", "f"));
    EXPECT_TEXT("f", "f");
    OK(rename("d", "d"));
    EXPECT_TEXT("d/x", "x");
    OK(rename("l", "l"));
    OK(rename("f", "./f"));
    OK(rename("f", "d/../f"));
    OK(rename("d/x", "d/../d/x"));
    OK(rename("d", "d/"));
    IS(1, status_of("f").st_nlink);
    EXPECT_TEXT("l", "f");
    /* A link is not what it leads to. */
    OK(rename("l", "f"));
    TRUE(S_ISLNK(status_of("f").st_mode));
}

static void hard_links(void)
{
    make_file("f", "f");
    OK(mkdir("d", 0755));
    OK(link("f", "g"));
    OK(link("f", "d/h"));
    OK(rename("f", "g"));
    OK(rename("f", "d/h"));
    IS(3, status_of("f").st_nlink);
    EXPECT_TEXT("f", "f");
    EXPECT_TEXT("g", "f");
    EXPECT_TEXT("d/h", "f");
    make_file("other", "o");
    OK(rename("other", "g"));
    IS(2, status_of("f").st_nlink);
    IS(1, status_of("g").st_nlink);
    OK(rename("d/h", "moved"));
    IS(status_of("f").st_ino, status_of("moved").st_ino);
    IS(2, status_of("moved").st_nlink);
    /* A file with other names is replaced in this one only. */
    OK(rename("g", "f"));
    EXPECT_TEXT("f", "o");
    EXPECT_TEXT("moved", "f");
    IS(1, status_of("moved").st_nlink);
    OK(link("moved", "again"));
    FAILS(EEXIST, renameat2(AT_FDCWD, "moved", AT_FDCWD, "again", RENAME_NOREPLACE));
    OK(renameat2(AT_FDCWD, "moved", AT_FDCWD, "again", RENAME_EXCHANGE));
    IS(2, status_of("moved").st_nlink);
    FAILS(EEXIST, renameat2(AT_FDCWD, "moved", AT_FDCWD, "moved", RENAME_NOREPLACE));
    OK(renameat2(AT_FDCWD, "moved", AT_FDCWD, "moved", RENAME_EXCHANGE));
}

/* No directory can become part of itself. */
static void into_itself(void)
{
    OK(mkdir("d", 0755));
    OK(mkdir("d/e", 0755));
    OK(mkdir("d/e/f", 0755));
    OK(symlink("d/e", "l"));
    FAILS(EINVAL, rename("d", "d/x"));
    FAILS(EINVAL, rename("d", "d/e/x"));
    FAILS(EINVAL, rename("d", "d/e/f/x"));
    FAILS(EINVAL, rename("d", "l/x"));
    FAILS(EINVAL, rename("d", "d/e/../x"));
    FAILS(EINVAL, rename("d", "d/e")); /* whatever is there */
    FAILS(EINVAL, rename("d/e", "d/e/f"));
    FAILS(ENOTEMPTY, rename("d/e/f", "d"));
    FAILS(ENOTEMPTY, rename("d/e/f", "d/e"));
    FAILS(ENOTEMPTY, rename("d/e", "d"));
    OK(rename("d/e/f", "d/f"));
    OK(rename("d/e", "d/f/e"));
    FAILS(EINVAL, rename("d/f", "d/f/e"));
    OK(lstat("d/f/e", &(struct stat){0}));
    IS(3, status_of("d/f").st_nlink);
}

static void exchange_with_what_is_inside(void)
{
    OK(mkdir("d", 0755));
    OK(mkdir("d/e", 0755));
    make_file("d/e/f", "x");
    FAILS(EINVAL, renameat2(AT_FDCWD, "d", AT_FDCWD, "d/e", RENAME_EXCHANGE));
    FAILS(EINVAL, renameat2(AT_FDCWD, "d", AT_FDCWD, "d/e/f", RENAME_EXCHANGE));
    int error = renameat2(AT_FDCWD, "d/e", AT_FDCWD, "d", RENAME_EXCHANGE) < 0 ? errno : 0;
    TRUE(error == EINVAL ||
         error == ENOTEMPTY); /* Linux notices that "d" is above before it looks at flags */
    EXPECT_TEXT("d/e/f", "x");
}

static void dots_and_slashes(void)
{
    OK(mkdir("d", 0755));
    OK(mkdir("d/e", 0755));
    make_file("f", "f");
    FAILS(EBUSY, rename(".", "x"));
    FAILS(EBUSY, rename("..", "x"));
    FAILS(EBUSY, rename("d/.", "x"));
    FAILS(EBUSY, rename("d/..", "x"));
    FAILS(EBUSY, rename("f", "."));
    FAILS(EBUSY, rename("f", "d/."));
    FAILS(EBUSY, rename("d/e", ".."));
    FAILS(EBUSY, rename("d/e", "d/e/.."));
    FAILS(ENOTDIR, rename("f/", "x"));
    FAILS(ENOTDIR, rename("f", "x/"));
    FAILS(ENOTDIR, rename("f", "d/"));
    FAILS(ENOENT, rename("none/", "x"));
    FAILS(ENOENT, rename("none", "x/"));
    FAILS(ENOENT, rename("d", "none/x"));
    FAILS(ENOTDIR, rename("d", "f/x"));
    FAILS(ENOTDIR, rename("d/", "f"));
    OK(rename("d/e/", "moved"));
    OK(rename("moved", "d/e/"));
    OK(rename("d/e//", "d/moved//"));
    OK(lstat("d/moved", &(struct stat){0}));
    OK(symlink("d", "l"));
    FAILS(ENOTDIR, rename("l/", "x"));
    OK(rename("l/moved", "l/e"));
    OK(lstat("d/e", &(struct stat){0}));
}

/* What is open stays open, wherever the name goes. */
static void open_files(void)
{
    char bytes[8];
    make_file("f", "old");
    make_file("g", "new");
    OK(mkdir("d", 0755));
    make_file("d/in", "in");
    int fd = (int)OK(open("f", O_RDWR));
    int directory = (int)OK(open("d", O_RDONLY | O_DIRECTORY));
    OK(rename("f", "moved"));
    IS(3, pwrite(fd, "OLD", 3, 0));
    EXPECT_TEXT("moved", "OLD");
    OK(rename("d", "e"));
    OK(close((int)OK(openat(directory, "in", O_RDONLY))));
    OK(close((int)OK(openat(directory, "new", O_RDWR | O_CREAT, 0644))));
    OK(lstat("e/new", &(struct stat){0}));
    OK(mkdir("d", 0755));
    FAILS(ENOENT, lstat("d/new", &(struct stat){0}));
    OK(renameat(directory, "new", AT_FDCWD, "d/new"));
    OK(lstat("d/new", &(struct stat){0}));
    NEED("unlinked");
    OK(rename("g", "moved"));
    IS(3, pread(fd, bytes, 8, 0));
    TRUE(memcmp(bytes, "OLD", 3) == 0);
    EXPECT_TEXT("moved", "new");
    OK(close(fd));
    OK(close(directory));
}

/* Trees move as they are, however deep. */
static void whole_trees(void)
{
    char path[400] = "top";
    OK(mkdir(path, 0755));
    for (int i = 0; i < 30; i++) {
        char file[420];
        snprintf(path + strlen(path), sizeof path - strlen(path), "/%d", i);
        OK(mkdir(path, 0755));
        snprintf(file, sizeof file, "%s/f", path);
        make_file(file, "text");
    }
    OK(mkdir("other", 0755));
    OK(rename("top/0/1/2", "other/two"));
    FAILS(ENOENT, lstat("top/0/1/2", &(struct stat){0}));
    memmove(path, "other/two/", 10);
    memmove(path + 10, strstr(path, "/3/") + 1, strlen(strstr(path, "/3/")));
    strcat(path, "/f");
    EXPECT_TEXT(path, "text");
    EXPECT_TEXT("other/two/3/4/../../3/f", "text");
    OK(rename("top", "other/two/3/top"));
    EXPECT_TEXT("other/two/3/top/0/1/f", "text");
    FAILS(EINVAL, rename("other/two", "other/two/3/top/0/1/x"));
    OK(rename("other", "top"));
    EXPECT_TEXT("top/two/3/top/0/1/f", "text");
    IS(3, status_of("top/two/3/top/0/1/..").st_nlink);
}

/* Names change in large directories too, and each is listed once. */
static void many(void)
{
    char from[32], to[32];
    OK(mkdir("d", 0755));
    for (int i = 0; i < 200; i++) {
        snprintf(from, sizeof from, "d/%d", i);
        make_file(from, "x");
    }
    for (int i = 0; i < 200; i++) {
        snprintf(from, sizeof from, "d/%d", i);
        snprintf(to, sizeof to, "d/renamed-%d", (i + 100) % 200);
        EXPECT_ERROR(0, rename(from, to), "rename %s %s", from, to);
    }
    IS(200, entry_count("d"));
    for (int i = 0; i < 200; i++) {
        snprintf(to, sizeof to, "d/renamed-%d", i);
        EXPECT_ERROR(0, rename(to, "d/one"), "rename %s", to);
        EXPECT_VALUE(ENOENT, absent(to), "%s", to);
    }
    IS(1, entry_count("d"));
}

CASES(CASE(replaces), CASE(replaces_nothing), CASE(exchanges), CASE(special_files), CASE(wrong_flags),
      CASE(same_file), CASE(hard_links), CASE(into_itself), CASE(exchange_with_what_is_inside),
      CASE(dots_and_slashes), CASE(open_files), CASE(whole_trees), CASE(many))

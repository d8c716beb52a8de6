/* Paths: how they are resolved, and which error each wrong one gives with every call that takes one. */
#include "conformance.h"

#include "calls.h"

PATH_CALLS(PATH_CALL_DEFINE)
PATH_CALLS_LINKS(PATH_CALL_DEFINE)
PATH_CALLS_XATTRS(PATH_CALL_DEFINE)

static const struct path_call calls[] = {PATH_CALLS(PATH_CALL_ROW)};
static const struct path_call link_calls[] = {PATH_CALLS_LINKS(PATH_CALL_ROW)};
static const struct path_call xattr_calls[] = {PATH_CALLS_XATTRS(PATH_CALL_ROW)};

/* A path that is wrong before its last name: every call must say the same. */
struct wrong_path {
    int error;
    const char *path;
};

static const char *long_name, *long_path, *name_of_255;

static void make_places(void)
{
    long_name = strdup(letters('n', 256));
    name_of_255 = strdup(letters('m', 255));
    char *path = strdup(letters('/', 4096));
    for (size_t i = 1; i < 4096; i += 2)
        path[i] = '.';
    long_path = path;
    OK(mkdir("dir", 0755));
    make_file("dir/file", "inner");
    make_file("file", "content");
    make_file("source", "source");
    OK(symlink("file", "to_file"));
    OK(symlink("dir", "to_dir"));
    OK(symlink("nowhere", "dangling"));
    OK(symlink("nowhere/x", "dangling_deep"));
    OK(symlink("loop2", "loop1"));
    OK(symlink("loop1", "loop2"));
    OK(symlink("self/self", "self"));
    OK(symlink(long_name, "to_long"));
    OK(symlink("file/x", "through_file"));
}

static void free_places(void)
{
    free((void *)long_name);
    free((void *)long_path);
    free((void *)name_of_255);
}

static void wrong_prefixes(const struct path_call *table, size_t count)
{
    make_places();
    char long_in_dir[300], long_then_x[300], long_target_then[300], deep[4200];
    snprintf(long_in_dir, sizeof long_in_dir, "dir/%s", long_name);
    snprintf(long_then_x, sizeof long_then_x, "%s/x", long_name);
    snprintf(long_target_then, sizeof long_target_then, "to_long/x");
    /* "dir/../dir/../...x": 4,096 bytes of what exists. */
    for (size_t i = 0; i < 4096; i += 7)
        memcpy(deep + i, "dir/../", 7);
    deep[4096] = '\0';
    deep[4095] = 'x';
    const struct wrong_path paths[] = {
        {ENOENT, ""},
        {ENOENT, "none/x"},
        {ENOENT, "none/x/y"},
        {ENOENT, "none/../file"},
        {ENOENT, "none/./x"},
        {ENOENT, "dir/none/x"},
        {ENOENT, "dangling/x"},
        {ENOENT, "dangling/../file"},
        {ENOENT, "dangling_deep/x"},
        {ENOTDIR, "file/x"},
        {ENOTDIR, "file/x/y"},
        {ENOTDIR, "file/../file"},
        {ENOTDIR, "file/./x"},
        {ENOTDIR, "dir/file/x"},
        {ENOTDIR, "to_file/x"},
        {ENOTDIR, "to_file/../file"},
        {ENOTDIR, "to_dir/file/x"},
        {ENOTDIR, "through_file/x"},
        {ELOOP, "loop1/x"},
        {ENAMETOOLONG, long_name},
        {ENAMETOOLONG, long_in_dir},
        {ENAMETOOLONG, long_then_x},
        {ENAMETOOLONG, long_target_then},
        {ENAMETOOLONG, long_path},
        {ENAMETOOLONG, deep},
    };
    OK(mkdir("elsewhere", 0755));
    int elsewhere = (int)OK(open("elsewhere", O_RDONLY | O_DIRECTORY));
    int here = (int)OK(open(".", O_RDONLY | O_DIRECTORY));
    for (size_t call = 0; call < count; call++) {
        for (size_t i = 0; i < COUNT(paths); i++) {
            call_directory = AT_FDCWD;
            EXPECT_ERROR(paths[i].error, table[call].run(paths[i].path), "%s %.40s", table[call].name,
                         paths[i].path);
            if (!(table[call].kind & AT) || paths[i].error == ELOOP) /* a loop is 40 steps, each a request */
                continue;
            call_directory = here;
            EXPECT_ERROR(paths[i].error, table[call].run(paths[i].path), "%s here:%.40s", table[call].name,
                         paths[i].path);
        }
        if (!(table[call].kind & AT))
            continue;
        /* Where a call starts from. */
        int file = (int)OK(open("file", O_RDONLY));
        call_directory = file;
        EXPECT_ERROR(ENOTDIR, table[call].run("x"), "%s from a file", table[call].name);
        EXPECT_ERROR(ENOTDIR, table[call].run("./x"), "%s from a file", table[call].name);
        call_directory = 4711;
        EXPECT_ERROR(EBADF, table[call].run("x"), "%s from no descriptor", table[call].name);
        call_directory = -1;
        EXPECT_ERROR(EBADF, table[call].run("x"), "%s from -1", table[call].name);
        EXPECT_ERROR(ENOTDIR, table[call].run(absolute("file/x")), "%s absolute, from -1", table[call].name);
        call_directory = elsewhere;
        EXPECT_ERROR(ENOTDIR, table[call].run("../file/x"), "%s elsewhere/..", table[call].name);
        EXPECT_ERROR(ENOENT, table[call].run("file/x"), "%s elsewhere", table[call].name);
        OK(close(file));
    }
    call_directory = AT_FDCWD;
    OK(close(here));
    OK(close(elsewhere));
    /* Nothing of all that left a trace. */
    IS(0, entry_count("elsewhere"));
    IS(1, entry_count("dir"));
    EXPECT_TEXT("file", "content");
    EXPECT_TEXT("source", "source");
    IS(ENOENT, absent("target"));
    free_places();
}

static void wrong_prefixes_of_all_calls(void)
{
    wrong_prefixes(calls, COUNT(calls));
}
static void wrong_prefixes_of_links(void)
{
    NEED("special");
    wrong_prefixes(link_calls, COUNT(link_calls));
}
static void wrong_prefixes_of_xattrs(void)
{
    NEED("xattrs");
    wrong_prefixes(xattr_calls, COUNT(xattr_calls));
}

/* ---- the last name ---- */

/* Columns: what the last name of the path is. */
#define LAST_COLUMNS(X)                                                                                      \
    X("none")                                                                                                \
    X("none/")                                                                                               \
    X("file/")                                                                                               \
    X("file/.")                                                                                              \
    X("dir")                                                                                                 \
    X("dir/")                                                                                                \
    X("to_file/")                                                                                            \
    X("to_dir/")                                                                                             \
    X("dangling")                                                                                            \
    X("dangling/") X("loop1") X("loop1/") X("to_long") X("through_file") X("dir/.") X("dir/none/..")
#define LAST_TEXT(text) text,
static const char *const last_columns[] = {LAST_COLUMNS(LAST_TEXT)};
#define LAST_COUNT COUNT(last_columns)

/* The calls that treat a last name alike, and the error (0: success) for each column. */
struct last_row {
    const char *calls;
    int errors[16];
};
static_assert(sizeof last_columns / sizeof *last_columns == 16, "as many as errors of a row");

static const struct last_row last_rows[] = {
    {" stat fstatat access open_read open_directory open_path openat_read opendir chmod fchmodat chown "
     "fchownat utimensat ",
     {ENOENT, ENOENT, ENOTDIR, ENOTDIR, 0, 0, ENOTDIR, 0, ENOENT, ENOENT, ELOOP, ELOOP, ENAMETOOLONG, ENOTDIR,
      0, ENOENT}},
    {" lstat fstatat_nofollow lchown fchownat_nofollow utimensat_nofollow ",
     {ENOENT, ENOENT, ENOTDIR, ENOTDIR, 0, 0, ENOTDIR, 0, 0, ENOENT, 0, ELOOP, 0, 0, 0, ENOENT}},
    {" open_write open_truncate truncate ",
     {ENOENT, ENOENT, ENOTDIR, ENOTDIR, EISDIR, EISDIR, ENOTDIR, EISDIR, ENOENT, ENOENT, ELOOP, ELOOP,
      ENAMETOOLONG, ENOTDIR, EISDIR, ENOENT}},
    {" open_create ",
     {0, EISDIR, EISDIR, ENOTDIR, EISDIR, EISDIR, EISDIR, EISDIR, 0, EISDIR, ELOOP, EISDIR, ENAMETOOLONG,
      ENOTDIR, EISDIR, ENOENT}},
    {" open_exclusive openat_exclusive ",
     {0, EISDIR, EISDIR, ENOTDIR, EEXIST, EISDIR, EISDIR, EISDIR, EEXIST, EISDIR, EEXIST, EISDIR, EEXIST,
      EEXIST, EEXIST, ENOENT}},
    {" mkdir mkdirat ",
     {0, 0, EEXIST, ENOTDIR, EEXIST, EEXIST, EEXIST, EEXIST, EEXIST, EEXIST, EEXIST, EEXIST, EEXIST, EEXIST,
      EEXIST, ENOENT}},
    {" rmdir unlinkat_directory ",
     {ENOENT, ENOENT, ENOTDIR, ENOTDIR, ENOTEMPTY, ENOTEMPTY, ENOTDIR, ENOTDIR, ENOTDIR, ENOTDIR, ENOTDIR,
      ENOTDIR, ENOTDIR, ENOTDIR, EINVAL, ENOENT}},
    {" unlink unlinkat ",
     {ENOENT, ENOENT, ENOTDIR, ENOTDIR, EISDIR, EISDIR, ENOTDIR, ENOTDIR, 0, ENOTDIR, 0, ENOTDIR, 0, 0,
      EISDIR, ENOENT}},
    {" rename_from renameat_from renameat2_exchange ",
     {ENOENT, ENOENT, ENOTDIR, ENOTDIR, 0, 0, ENOTDIR, ENOTDIR, 0, ENOTDIR, 0, ENOTDIR, 0, 0, EBUSY, ENOENT}},
    {" rename_to renameat_to ",
     {0, ENOTDIR, ENOTDIR, ENOTDIR, EISDIR, ENOTDIR, ENOTDIR, ENOTDIR, 0, ENOTDIR, 0, ENOTDIR, 0, 0, EBUSY,
      ENOENT}},
    {" symlink symlinkat link_to linkat_to mknod_file mknodat mkfifo ",
     {0, ENOENT, EEXIST, ENOTDIR, EEXIST, EEXIST, EEXIST, EEXIST, EEXIST, EEXIST, EEXIST, EEXIST, EEXIST,
      EEXIST, EEXIST, ENOENT}},
    {" readlink readlinkat ",
     {ENOENT, ENOENT, ENOTDIR, ENOTDIR, EINVAL, EINVAL, ENOTDIR, EINVAL, 0, ENOENT, 0, ELOOP, 0, 0, EINVAL,
      ENOENT}},
    {" link_from linkat_from ",
     {ENOENT, ENOENT, ENOTDIR, ENOTDIR, EPERM, EPERM, ENOTDIR, EPERM, 0, ENOENT, 0, ELOOP, 0, 0, EPERM,
      ENOENT}},
    {" linkat_from_follow ",
     {ENOENT, ENOENT, ENOTDIR, ENOTDIR, EPERM, EPERM, ENOTDIR, EPERM, ENOENT, ENOENT, ELOOP, ELOOP,
      ENAMETOOLONG, ENOTDIR, EPERM, ENOENT}},
    {" renameat2_noreplace ",
     {0, ENOTDIR, EEXIST, ENOTDIR, EEXIST, EEXIST, EEXIST, EEXIST, EEXIST, EEXIST, EEXIST, EEXIST, EEXIST,
      EEXIST, EEXIST, ENOENT}},
};

static const struct last_row *last_row_of(const char *call)
{
    char word[64];
    snprintf(word, sizeof word, " %s ", call);
    for (size_t i = 0; i < COUNT(last_rows); i++)
        if (strstr(last_rows[i].calls, word) != NULL)
            return &last_rows[i];
    return NULL;
}

static void remove_places(void)
{
    static const char *const places[] = {"dir",      "file",    "source",        "to_file", "to_dir",
                                         "dangling", "nowhere", "dangling_deep", "loop1",   "loop2",
                                         "self",     "to_long", "through_file",  "none",    "target"};
    for (size_t i = 0; i < COUNT(places); i++)
        if (unlink(places[i]) < 0)
            remove_tree(places[i]);
    IS(0, entry_count("."));
    free_places();
}

static void last_names(const struct path_call *table, size_t count)
{
    make_places();
    for (size_t call = 0; call < count; call++) {
        const struct last_row *row = last_row_of(table[call].name);
        if (!TRUE(row != NULL))
            continue;
        for (size_t i = 0; i < LAST_COUNT; i++) {
            int result = -1;
            EXPECT_ERROR(row->errors[i], result = table[call].run(last_columns[i]), "%s %s", table[call].name,
                         last_columns[i]);
            if (result < 0)
                continue;
            /* Each in places as they were: what succeeds may change them. */
            remove_places();
            make_places();
        }
    }
    remove_places();
}

static void last_names_of_all_calls(void)
{
    last_names(calls, COUNT(calls));
}
static void last_names_of_links(void)
{
    NEED("special");
    last_names(link_calls, COUNT(link_calls));
}

/* ---- resolution ---- */

static void resolves(void)
{
    static const char *const same[][2] = {{"file", "./file"},
                                          {"file", ".//file"},
                                          {"file", "././file"},
                                          {"file", "d/../file"},
                                          {"file", "d/sub/../../file"},
                                          {"file", "to_file"},
                                          {"file", "to_to_file"},
                                          {"file", "d/up/file"},
                                          {"file", "d/up/d/up/file"},
                                          {"d", "d/"},
                                          {"d", "d//"},
                                          {"d", "d/."},
                                          {"d", "d/./"},
                                          {"d", "d/sub/.."},
                                          {"d", "d/sub/../"},
                                          {"d", "to_d"},
                                          {"d", "to_d/"},
                                          {"d", "to_d/."},
                                          {"d", "slashed"},
                                          {"d", "slashed/"},
                                          {"d", "slashed/."},
                                          {".", "d/.."},
                                          {".", "to_d/.."},
                                          {".", "d/up"},
                                          {".", "./."},
                                          {".", "d/up/."},
                                          {"d/sub", "nested"},
                                          {"d/sub", "nested/"},
                                          {"d/sub/f", "nested/f"},
                                          {"d/inner", "nested/../inner"},
                                          {"d/sub/f", "deep/f"},
                                          {"d", "deep/.."},
                                          {"d/inner", "to_d/inner"},
                                          {"d/inner", "to_inner"},
                                          {"d/sub/f", "d/sub/to_f"},
                                          {"d/inner", "d/sub/to_inner"},
                                          {"file", "d/sub/to_file"}};
    struct stat one, other;
    OK(mkdir("d", 0755));
    OK(mkdir("d/sub", 0755));
    make_file("file", "file");
    make_file("d/inner", "inner");
    make_file("d/sub/f", "f");
    OK(symlink("file", "to_file"));
    OK(symlink("./to_file", "to_to_file"));
    OK(symlink("d", "to_d"));
    OK(symlink("d/", "slashed"));
    OK(symlink("..", "d/up"));
    OK(symlink("to_d/sub", "nested"));
    OK(symlink(absolute("d/sub"), "deep"));
    OK(symlink("to_d/../d/inner", "to_inner"));
    OK(symlink("f", "d/sub/to_f"));
    OK(symlink("../inner", "d/sub/to_inner"));
    OK(symlink("../../to_file", "d/sub/to_file"));
    int here = (int)OK(open(".", O_RDONLY | O_DIRECTORY));
    for (unsigned i = 0; i < COUNT(same); i++) {
        EXPECT_ERROR(0, stat(same[i][0], &one), "stat %s", same[i][0]);
        EXPECT_ERROR(0, stat(same[i][1], &other), "stat %s", same[i][1]);
        EXPECT_VALUE(one.st_ino, other.st_ino, "%s is %s", same[i][1], same[i][0]);
        EXPECT_ERROR(0, fstatat(here, same[i][1], &other, 0), "fstatat %s", same[i][1]);
        EXPECT_VALUE(one.st_ino, other.st_ino, "%s is %s", same[i][1], same[i][0]);
        EXPECT_ERROR(0, stat(absolute(same[i][1]), &other), "stat absolute %s", same[i][1]);
        EXPECT_VALUE(one.st_ino, other.st_ino, "absolute %s is %s", same[i][1], same[i][0]);
        int fd = (int)open(same[i][1], O_RDONLY);
        EXPECT_ERROR(0, fd, "open %s", same[i][1]);
        EXPECT_ERROR(0, fstat(fd, &other), "fstat %s", same[i][1]);
        EXPECT_VALUE(one.st_ino, other.st_ino, "open %s is %s", same[i][1], same[i][0]);
        close(fd);
    }
    OK(close(here));
}

/* The root has no parent, and slashes before it do not count. */
static void the_root(void)
{
    struct stat one, other;
    static const char *const roots[] = {"/..", "/.", "//", "///", "/../..", "/./../."};
    OK(stat("/", &one));
    TRUE(S_ISDIR(one.st_mode));
    for (unsigned i = 0; i < COUNT(roots); i++) {
        EXPECT_ERROR(0, stat(roots[i], &other), "stat %s", roots[i]);
        EXPECT_VALUE(one.st_ino, other.st_ino, "%s is /", roots[i]);
    }
    FAILS(EEXIST, mkdir("/", 0755));
    FAILS(EBUSY, rmdir("/"));
    FAILS(EISDIR, unlink("/"));
    FAILS(EISDIR, open("/", O_WRONLY));
    FAILS(EINVAL, readlink("/", call_bytes, 1));
    TRUE(rename("/", "x") < 0 && (errno == EBUSY || errno == EXDEV)); /* another file system's root */
}

/* 40 links on the way are followed, 41 are too many. */
static void chains_of_links(void)
{
    char name[32], target[32];
    struct stat status;
    make_file("chain0", "end");
    for (int i = 1; i <= 41; i++) {
        snprintf(target, sizeof target, "chain%d", i - 1);
        snprintf(name, sizeof name, "chain%d", i);
        OK(symlink(target, name));
    }
    for (int i = 1; i <= 40; i++) {
        snprintf(name, sizeof name, "chain%d", i);
        EXPECT_ERROR(0, stat(name, &status), "%d links", i);
    }
    EXPECT_TEXT("chain40", "end");
    FAILS(ELOOP, stat("chain41", &status));
    FAILS(ELOOP, open("chain41", O_RDONLY));
    FAILS(ELOOP, open("chain41", O_RDWR | O_CREAT, 0644));
    OK(lstat("chain41", &status));
    /* They count along the whole path. */
    OK(mkdir("d", 0755));
    make_file("d/f", "x");
    OK(symlink(".", "d/l"));
    char path[200] = "d";
    for (int i = 0; i < 40; i++)
        strcat(path, "/l");
    OK(lstat(path, &status));
    TRUE(S_ISLNK(status.st_mode));
    strcat(path, "/f");
    OK(stat(path, &status));
    memmove(path + strlen(path) - 1, "l/f", 4);
    FAILS(ELOOP, stat(path, &status));
}

static void names_of_every_byte(void)
{
    char name[8];
    struct stat status;
    OK(mkdir("d", 0755));
    int count = 0;
    for (int byte = 1; byte < 256; byte++) {
        if (byte == '/')
            continue;
        snprintf(name, sizeof name, "d/%c", byte);
        if (byte == '.')
            continue;
        EXPECT_ERROR(0, call_close(open(name, O_RDWR | O_CREAT | O_EXCL, 0644)), "create byte %d", byte);
        count++;
    }
    IS(253, count);
    IS(count, entry_count("d"));
    bool seen[256] = {false};
    DIR *stream = opendir("d");
    if (!TRUE(stream != NULL))
        return;
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            EXPECT_VALUE(1, strlen(entry->d_name), "length of a name");
            seen[(unsigned char)entry->d_name[0]] = true;
        }
    OK(closedir(stream));
    for (int byte = 1; byte < 256; byte++) {
        if (byte == '/' || byte == '.')
            continue;
        snprintf(name, sizeof name, "d/%c", byte);
        EXPECT_VALUE(true, seen[byte], "listed byte %d", byte);
        EXPECT_ERROR(0, stat(name, &status), "stat byte %d", byte);
        EXPECT_ERROR(0, unlink(name), "unlink byte %d", byte);
    }
    static const char *const odd[] = {"...", "..x", ".x", "x.", " ", "  ", "\n", "-", "*", "\\", "a b", "~"};
    for (unsigned i = 0; i < COUNT(odd); i++) {
        EXPECT_ERROR(0, mkdir(odd[i], 0755), "mkdir \"%s\"", odd[i]);
        EXPECT_ERROR(EEXIST, mkdir(odd[i], 0755), "mkdir \"%s\"", odd[i]);
        EXPECT_ERROR(0, stat(odd[i], &status), "stat \"%s\"", odd[i]);
        EXPECT_ERROR(0, rmdir(odd[i]), "rmdir \"%s\"", odd[i]);
    }
}

/* Names up to 255 bytes, and case counts. */
static void lengths_of_names(void)
{
    struct stat status;
    for (size_t length = 1; length <= 255; length += length < 250 ? 12 : 1) {
        EXPECT_ERROR(0, mkdir(letters('a', length), 0755), "mkdir of %zu", length);
        EXPECT_ERROR(0, stat(letters('a', length), &status), "stat of %zu", length);
        EXPECT_ERROR(ENOENT, stat(letters('A', length), &status), "stat of %zu capitals", length);
        EXPECT_ERROR(0, rename(letters('a', length), letters('b', length)), "rename of %zu", length);
        EXPECT_ERROR(0, rmdir(letters('b', length)), "rmdir of %zu", length);
    }
    EXPECT_ERROR(ENAMETOOLONG, mkdir(letters('a', 256), 0755), "mkdir of 256");
    EXPECT_ERROR(ENAMETOOLONG, mkdir(letters('a', 1000), 0755), "mkdir of 1000");
    make_file("f", "x");
    FAILS(ENAMETOOLONG, rename("f", letters('a', 256)));
    FAILS(ENAMETOOLONG, rename(letters('a', 256), "f"));
    FAILS(ENAMETOOLONG, symlink("f", letters('a', 256)));
    OK(symlink(letters('t', 4095), "longest"));
    FAILS(ENAMETOOLONG, symlink(letters('t', 4096), "longer"));
    FAILS(ENAMETOOLONG, stat("longest", &status));
    char *target = malloc(5000);
    IS(4095, readlink("longest", target, 5000));
    TRUE(memcmp(target, letters('t', 4095), 4095) == 0);
    free(target);
}

/* A path of 4,095 bytes is the longest that a call takes; deeper places are reached step by step. */
static void lengths_of_paths(void)
{
    char path[5200];
    struct stat status;
    OK(mkdir("d", 0755));
    make_file("d/f", "x");
    for (size_t length = 4090; length <= 4100; length++) {
        size_t at = 0;
        while (at + 2 <= length - 3)
            at += (size_t)sprintf(path + at, "./");
        if ((length - 3 - at) % 2 == 1)
            path[at++] = '/';
        strcpy(path + at, "d/f");
        EXPECT_VALUE(length, strlen(path), "length");
        EXPECT_ERROR(length <= 4095 ? 0 : ENAMETOOLONG, stat(path, &status), "stat of %zu bytes", length);
        EXPECT_ERROR(length <= 4095 ? 0 : ENAMETOOLONG, call_close(open(path, O_RDWR)), "open of %zu bytes",
                     length);
        EXPECT_ERROR(length <= 4095 ? EEXIST : ENAMETOOLONG, mkdir(path, 0755), "mkdir of %zu bytes", length);
    }
    /* 40 directories with names of 200 bytes: 8 KiB of path. */
    int directory = (int)OK(open("d", O_RDONLY | O_DIRECTORY));
    for (int i = 0; i < 40; i++) {
        const char *name = letters((char)('a' + i % 26), 200);
        OK(mkdirat(directory, name, 0755));
        int next = (int)OK(openat(directory, name, O_RDONLY | O_DIRECTORY));
        OK(close(directory));
        directory = next;
    }
    int fd = (int)OK(openat(directory, "deepest", O_RDWR | O_CREAT | O_EXCL, 0644));
    IS(3, write(fd, "end", 3));
    OK(close(fd));
    OK(fstatat(directory, "deepest", &status, 0));
    IS(3, status.st_size);
    OK(fstatat(directory, "../../..", &status, 0));
    TRUE(S_ISDIR(status.st_mode));
    OK(close(directory));
}

/* What the *at forms start from may be renamed or opened through a link. */
static void directories_as_starting_points(void)
{
    struct stat status;
    OK(mkdir("a", 0755));
    OK(mkdir("a/b", 0755));
    make_file("a/b/f", "x");
    make_file("a/g", "y");
    OK(symlink("a/b", "l"));
    int a = (int)OK(open("a", O_RDONLY | O_DIRECTORY)), b = (int)OK(open("l", O_RDONLY | O_DIRECTORY));
    OK(fstatat(a, "b/f", &status, 0));
    OK(fstatat(b, "f", &status, 0));
    OK(fstatat(b, "../g", &status, 0));
    OK(rename("a", "moved"));
    OK(fstatat(a, "b/f", &status, 0));
    OK(fstatat(b, "../g", &status, 0));
    FAILS(ENOENT, fstatat(AT_FDCWD, "a/g", &status, 0));
    OK(mkdir("other", 0755));
    OK(rename("moved/b", "other/b"));
    OK(fstatat(b, "f", &status, 0));
    FAILS(ENOENT, fstatat(b, "../g", &status, 0));
    FAILS(ENOENT, fstatat(a, "b/f", &status, 0));
    OK(mkdirat(b, "made", 0755));
    OK(lstat("other/b/made", &status));
    OK(renameat(a, "g", b, "g"));
    OK(lstat("other/b/g", &status));
    OK(unlinkat(b, "g", 0));
    OK(unlinkat(b, "made", AT_REMOVEDIR));
    OK(unlinkat(b, "f", 0));
    /* A removed directory is a place without names. */
    OK(rmdir("other/b"));
    FAILS(ENOENT, fstatat(b, "f", &status, 0));
    FAILS(ENOENT, mkdirat(b, "x", 0755));
    FAILS(ENOENT, openat(b, "x", O_CREAT | O_RDWR, 0644));
    FAILS(ENOENT, symlinkat("x", b, "x"));
    FAILS(ENOENT, renameat(AT_FDCWD, "other", b, "x"));
    OK(close(a));
    OK(close(b));
}

static void flags_that_do_not_exist(void)
{
    struct stat status;
    make_file("f", "x");
    OK(mkdir("d", 0755));
    FAILS(EINVAL, fstatat(AT_FDCWD, "f", &status, 0x40000000));
    FAILS(EINVAL, unlinkat(AT_FDCWD, "f", 0x40000000));
    FAILS(EINVAL, unlinkat(AT_FDCWD, "f", AT_SYMLINK_NOFOLLOW));
    FAILS(EINVAL, fchownat(AT_FDCWD, "f", 0, 0, 0x40000000));
    FAILS(EINVAL, utimensat(AT_FDCWD, "f", NULL, 0x40000000));
    FAILS(EINVAL, access("f", 8));
    FAILS(EINVAL, access("f", -1));
    FAILS(EISDIR, unlinkat(AT_FDCWD, "d", 0));
    FAILS(ENOTDIR, unlinkat(AT_FDCWD, "f", AT_REMOVEDIR));
    OK(unlinkat(AT_FDCWD, "d", AT_REMOVEDIR));
    OK(unlinkat(AT_FDCWD, "f", 0));
}

static void empty_paths(void)
{
    struct stat status;
    NEED("emptypath");
    make_file("f", "x");
    OK(mkdir("d", 0755));
    OK(symlink("f", "l"));
    int file = (int)OK(open("f", O_RDONLY)), directory = (int)OK(open("d", O_RDONLY));
    int place = (int)OK(open("l", O_PATH | O_NOFOLLOW));
    char byte = 0;
    OK(fstatat(file, "", &status, AT_EMPTY_PATH));
    TRUE(S_ISREG(status.st_mode));
    OK(fstatat(directory, "", &status, AT_EMPTY_PATH));
    TRUE(S_ISDIR(status.st_mode));
    OK(fstatat(place, "", &status, AT_EMPTY_PATH));
    TRUE(S_ISLNK(status.st_mode));
    OK(fstatat(AT_FDCWD, "", &status, AT_EMPTY_PATH));
    TRUE(S_ISDIR(status.st_mode));
    FAILS(ENOENT, fstatat(file, "", &status, 0));
    OK(fchownat(file, "", 1, 2, AT_EMPTY_PATH));
    IS(1, status_of("f").st_uid);
    OK(fchownat(place, "", 3, 4, AT_EMPTY_PATH));
    IS(3, status_of("l").st_uid);
    IS(1, status_of("f").st_uid);
    IS(1, readlinkat(place, "", &byte, 1));
    IS('f', byte);
    OK(linkat(file, "", AT_FDCWD, "linked", AT_EMPTY_PATH));
    IS(status_of("f").st_ino, status_of("linked").st_ino);
    IS(2, status_of("f").st_nlink);
    OK(close(file));
    OK(close(directory));
    OK(close(place));
}

CASES(CASE(wrong_prefixes_of_all_calls), CASE(wrong_prefixes_of_links), CASE(wrong_prefixes_of_xattrs),
      CASE(last_names_of_all_calls), CASE(last_names_of_links), CASE(resolves), CASE(the_root),
      CASE(chains_of_links), CASE(names_of_every_byte), CASE(lengths_of_names), CASE(lengths_of_paths),
      CASE(directories_as_starting_points), CASE(flags_that_do_not_exist), CASE(empty_paths))

/* Paths: how they are resolved, and which errno each wrong one gives, as on Linux. */
#include "check.h"

static char long_name[300];
static char long_path[5000];

/* "/paths" with a file, directories and links of every kind. */
static int make_tree(void **state)
{
    (void)state;
    if (benchfs_mkdir(fs, "/p", 0755) < 0)
        return -1;
    benchfs_mkdir(fs, "/p/dir", 0755);
    benchfs_mkdir(fs, "/p/dir/sub", 0755);
    put_text(fs, "/p/file", "file");
    put_text(fs, "/p/dir/inner", "inner");
    put_text(fs, "/p/dir/sub/deep", "deep");
    benchfs_symlink(fs, "file", "/p/to_file");
    benchfs_symlink(fs, "dir", "/p/to_dir");
    benchfs_symlink(fs, "/p/dir/sub", "/p/absolute");
    benchfs_symlink(fs, "dir/", "/p/slashed");
    benchfs_symlink(fs, "nowhere", "/p/dangling");
    benchfs_symlink(fs, "loop2", "/p/loop1");
    benchfs_symlink(fs, "loop1", "/p/loop2");
    benchfs_symlink(fs, "to_dir/sub", "/p/nested");
    benchfs_symlink(fs, "..", "/p/dir/sub/up");
    memset(long_name, 'n', 256);
    for (unsigned i = 0; i < sizeof long_path - 1; i += 2)
        memcpy(long_path + i, "/.", 2);
    return 0;
}

static ino_t inode_of(const char *path)
{
    struct stat status;
    OK(benchfs_stat(fs, path, &status));
    return status.st_ino;
}

static void resolves(void **state)
{
    static const char *const same[][2] = {
        {"/p/file", "/p//file"},
        {"/p/file", "//p///file"},
        {"/p/file", "/p/./file"},
        {"/p/file", "/./p/././file"},
        {"/p/file", "/p/dir/../file"},
        {"/p/file", "/p/dir/sub/../../file"},
        {"/p/file", "/../p/file"},
        {"/p/file", "/../../../p/file"},
        {"/p/file", "p/file"},
        {"/p/file", "/p/to_file"},
        {"/p/dir", "/p/dir/"},
        {"/p/dir", "/p/dir//"},
        {"/p/dir", "/p/dir/."},
        {"/p/dir", "/p/dir/sub/.."},
        {"/p/dir", "/p/to_dir"},
        {"/p/dir", "/p/to_dir/"},
        {"/p/dir", "/p/to_dir/."},
        {"/p/dir", "/p/slashed"},
        {"/p/dir", "/p/slashed/"},
        {"/p", "/p/to_dir/.."},
        {"/p/dir", "/p/absolute/.."}, /* what precedes it in the text is /p */
        {"/p/dir/inner", "/p/absolute/../inner"},
        {"/p/dir/sub/deep", "/p/absolute/deep"},
        {"/p/dir/sub/deep", "/p/nested/deep"},
        {"/p/dir/inner", "/p/nested/../inner"},
        {"/p/dir", "/p/dir/sub/up"},
        {"/p/dir/sub", "/p/dir/sub/up/sub/up/sub"},
        {"/p/dir/inner", "/p/to_dir/inner"},
        {"/", "/."},
        {"/", "/.."},
        {"/", "//"},
        {"/", "/p/.."},
        {"/", "."},
        {"/", ".."},
    };
    (void)state;
    for (unsigned i = 0; i < sizeof same / sizeof *same; i++)
        if (inode_of(same[i][0]) != inode_of(same[i][1]))
            fail_msg("%s and %s are not the same", same[i][0], same[i][1]);
}

static void refuses(void **state)
{
    static const struct {
        int error;
        const char *path;
    } wrong[] = {
        {ENOENT, ""},
        {ENOENT, "/p/none"},
        {ENOENT, "/none/file"},
        {ENOENT, "/p/none/.."},
        {ENOENT, "/p/none/."},
        {ENOENT, "/p/dangling"},
        {ENOENT, "/p/dangling/x"},
        {ENOENT, "/p/dangling/"},
        {ENOTDIR, "/p/file/"},
        {ENOTDIR, "/p/file/."},
        {ENOTDIR, "/p/file/.."},
        {ENOTDIR, "/p/file/x"},
        {ENOTDIR, "/p/file/x/y"},
        {ENOTDIR, "/p/to_file/"},
        {ENOTDIR, "/p/to_file/x"},
        {ELOOP, "/p/loop1"},
        {ELOOP, "/p/loop2/x"},
        {ELOOP, "/p/loop1/"},
        {ENAMETOOLONG, long_name},
        {ENAMETOOLONG, long_path},
    };
    char path[600];
    struct stat status;
    (void)state;
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        errno = 0;
        if (benchfs_stat(fs, wrong[i].path, &status) == 0 || errno != wrong[i].error)
            fail_msg("stat %.40s: %s, expected %s", wrong[i].path, strerrorname_np(errno),
                     strerrorname_np(wrong[i].error));
        errno = 0;
        if (benchfs_open(fs, wrong[i].path, O_RDONLY) >= 0 || errno != wrong[i].error)
            fail_msg("open %.40s: %s, expected %s", wrong[i].path, strerrorname_np(errno),
                     strerrorname_np(wrong[i].error));
        errno = 0;
        if (benchfs_access(fs, wrong[i].path, F_OK) == 0 || errno != wrong[i].error)
            fail_msg("access %.40s: %s, expected %s", wrong[i].path, strerrorname_np(errno),
                     strerrorname_np(wrong[i].error));
        errno = 0;
        if (benchfs_truncate(fs, wrong[i].path, 0) == 0 || errno != wrong[i].error)
            fail_msg("truncate %.40s: %s, expected %s", wrong[i].path, strerrorname_np(errno),
                     strerrorname_np(wrong[i].error));
        errno = 0;
        if (benchfs_chmod(fs, wrong[i].path, 0644) == 0 || errno != wrong[i].error)
            fail_msg("chmod %.40s: %s, expected %s", wrong[i].path, strerrorname_np(errno),
                     strerrorname_np(wrong[i].error));
        errno = 0;
        if (benchfs_opendir(fs, wrong[i].path) != NULL || errno != wrong[i].error)
            fail_msg("opendir %.40s: %s, expected %s", wrong[i].path, strerrorname_np(errno),
                     strerrorname_np(wrong[i].error));
    }
    snprintf(path, sizeof path, "/p/%s", long_name);
    FAILS(ENAMETOOLONG, benchfs_mkdir(fs, path, 0755));
    FAILS(ENAMETOOLONG, benchfs_unlink(fs, path));
    FAILS(ENAMETOOLONG, benchfs_rmdir(fs, path));
    FAILS(ENAMETOOLONG, benchfs_rename(fs, "/p/file", path));
    FAILS(ENAMETOOLONG, benchfs_rename(fs, path, "/p/file"));
    FAILS(ENAMETOOLONG, benchfs_symlink(fs, "x", path));
    FAILS(ENAMETOOLONG, benchfs_open(fs, path, O_CREAT | O_RDWR, 0644));
    FAILS(ENAMETOOLONG, benchfs_readlink(fs, path, path, sizeof path));
    snprintf(path, sizeof path, "/p/%s/x", long_name);
    FAILS(ENAMETOOLONG, benchfs_stat(fs, path, &status));
}

static void longest(void **state)
{
    char path[5000], part[260];
    struct stat status;
    (void)state;
    /* A name of 255 bytes works, and so does a path of 4,095. */
    memset(part, 'm', 255);
    part[255] = '\0';
    snprintf(path, sizeof path, "/p/%s", part);
    put_text(fs, path, "long");
    expect_text(fs, path, "long");
    OK(benchfs_unlink(fs, path));
    strcpy(path, "/p");
    while (strlen(path) + 256 < 4095 - 10) {
        strcat(path, "/");
        strcat(path, part);
        OK(benchfs_mkdir(fs, path, 0755));
    }
    size_t left = 4095 - strlen(path) - 1;
    memset(part, 'l', left);
    part[left] = '\0';
    strcat(strcat(path, "/"), part);
    assert_int_equal(strlen(path), 4095);
    put_text(fs, path, "deepest");
    OK(benchfs_stat(fs, path, &status));
    IS(7, status.st_size);
    strcat(path, "x");
    FAILS(ENAMETOOLONG, benchfs_stat(fs, path, &status));
    path[4095] = '\0';
    OK(benchfs_unlink(fs, path));
    for (char *end = strrchr(path, '/'); end > path + 2; end = strrchr(path, '/')) {
        *end = '\0';
        if (strlen(path) > 2)
            OK(benchfs_rmdir(fs, path));
    }
    /* Bytes are bytes. */
    OK(benchfs_mkdir(fs, "/p/\xff\xfe tab\t nl\n", 0755));
    OK(benchfs_stat(fs, "/p/\xff\xfe tab\t nl\n", &status));
    OK(benchfs_rmdir(fs, "/p/\xff\xfe tab\t nl\n"));
    put_text(fs, "/p/...", "dots");
    expect_text(fs, "/p/...", "dots");
    OK(benchfs_unlink(fs, "/p/..."));
}

static void last_components(void **state)
{
    (void)state;
    FAILS(EEXIST, benchfs_mkdir(fs, "/", 0755));
    FAILS(EEXIST, benchfs_mkdir(fs, "/p", 0755));
    FAILS(EEXIST, benchfs_mkdir(fs, "/p/", 0755));
    FAILS(EEXIST, benchfs_mkdir(fs, "/p/.", 0755));
    FAILS(EEXIST, benchfs_mkdir(fs, "/p/..", 0755));
    FAILS(EEXIST, benchfs_mkdir(fs, "/p/file", 0755));
    FAILS(EEXIST, benchfs_mkdir(fs, "/p/to_dir", 0755));
    FAILS(EEXIST, benchfs_mkdir(fs, "/p/dangling", 0755));
    FAILS(ENOTDIR, benchfs_mkdir(fs, "/p/file/x", 0755));
    FAILS(ENOENT, benchfs_mkdir(fs, "/p/none/x", 0755));
    FAILS(ENOENT, benchfs_mkdir(fs, "", 0755));
    OK(benchfs_mkdir(fs, "/p/slash/", 0755));

    FAILS(EBUSY, benchfs_rmdir(fs, "/"));
    FAILS(EINVAL, benchfs_rmdir(fs, "/p/slash/."));
    FAILS(ENOTEMPTY, benchfs_rmdir(fs, "/p/slash/.."));
    FAILS(ENOTEMPTY, benchfs_rmdir(fs, "/p/dir"));
    FAILS(ENOTDIR, benchfs_rmdir(fs, "/p/file"));
    FAILS(ENOTDIR, benchfs_rmdir(fs, "/p/to_dir"));
    FAILS(ENOTDIR, benchfs_rmdir(fs, "/p/file/x"));
    FAILS(ENOENT, benchfs_rmdir(fs, "/p/none"));
    FAILS(ENOENT, benchfs_rmdir(fs, ""));
    OK(benchfs_rmdir(fs, "/p/slash/"));
    FAILS(ENOENT, benchfs_rmdir(fs, "/p/slash"));

    FAILS(EISDIR, benchfs_unlink(fs, "/"));
    FAILS(EISDIR, benchfs_unlink(fs, "/p/dir"));
    FAILS(EISDIR, benchfs_unlink(fs, "/p/dir/"));
    FAILS(EISDIR, benchfs_unlink(fs, "/p/."));
    FAILS(EISDIR, benchfs_unlink(fs, "/p/.."));
    FAILS(ENOTDIR, benchfs_unlink(fs, "/p/file/"));
    FAILS(ENOTDIR, benchfs_unlink(fs, "/p/file/x"));
    FAILS(ENOENT, benchfs_unlink(fs, "/p/none"));
    FAILS(ENOENT, benchfs_unlink(fs, "/p/none/x"));
    FAILS(ENOENT, benchfs_unlink(fs, ""));

    FAILS(EISDIR, benchfs_open(fs, "/p/new/", O_CREAT | O_WRONLY, 0644));
    FAILS(EISDIR, benchfs_open(fs, "/p/dir", O_CREAT | O_RDONLY, 0644));
    FAILS(EISDIR, benchfs_open(fs, "/p/dir", O_WRONLY));
    FAILS(EISDIR, benchfs_open(fs, "/p/dir", O_RDWR));
    FAILS(EISDIR, benchfs_open(fs, "/", O_WRONLY));
    FAILS(EISDIR, benchfs_open(fs, "/p/dir", O_RDONLY | O_TRUNC));
    FAILS(ENOTDIR, benchfs_open(fs, "/p/file", O_RDONLY | O_DIRECTORY));
    FAILS(ENOTDIR, benchfs_open(fs, "/p/to_file", O_RDONLY | O_DIRECTORY));
    FAILS(ELOOP, benchfs_open(fs, "/p/to_file", O_RDONLY | O_NOFOLLOW));
    FAILS(ELOOP, benchfs_open(fs, "/p/to_file", O_RDWR | O_CREAT | O_NOFOLLOW, 0644));
    FAILS(EEXIST, benchfs_open(fs, "/p/file", O_RDWR | O_CREAT | O_EXCL, 0644));
    FAILS(EEXIST, benchfs_open(fs, "/p/dir", O_RDWR | O_CREAT | O_EXCL, 0644));
    FAILS(EEXIST, benchfs_open(fs, "/p/to_file", O_RDWR | O_CREAT | O_EXCL, 0644));
    FAILS(EEXIST, benchfs_open(fs, "/p/dangling", O_RDWR | O_CREAT | O_EXCL, 0644));
    FAILS(ENOENT, benchfs_open(fs, "/p/none", O_RDWR));
    FAILS(ENOENT, benchfs_open(fs, "/p/none/x", O_RDWR | O_CREAT, 0644));
    FAILS(ENOTDIR, benchfs_open(fs, "/p/file/x", O_RDWR | O_CREAT, 0644));
    FAILS(EINVAL, benchfs_open(fs, "/p/file", O_ACCMODE));
    FAILS(EINVAL, benchfs_open(fs, "/p/new", O_CREAT | O_DIRECTORY | O_RDWR, 0644));
    OK(benchfs_close(fs, (int)OK(benchfs_open(fs, "/p/to_dir", O_RDONLY | O_DIRECTORY))));
    OK(benchfs_close(fs, (int)OK(benchfs_open(fs, "/p/to_file", O_PATH | O_NOFOLLOW))));
    OK(benchfs_close(fs, (int)OK(benchfs_open(fs, "/", O_RDONLY))));
}

static void links(void **state)
{
    char target[5000], buffer[5000];
    struct stat status;
    (void)state;
    IS(4, benchfs_readlink(fs, "/p/to_file", buffer, sizeof buffer));
    assert_memory_equal(buffer, "file", 4);
    IS(2, benchfs_readlink(fs, "/p/to_file", buffer, 2));
    FAILS(EINVAL, benchfs_readlink(fs, "/p/to_file", buffer, 0));
    FAILS(EINVAL, benchfs_readlink(fs, "/p/file", buffer, sizeof buffer));
    FAILS(EINVAL, benchfs_readlink(fs, "/p/dir", buffer, sizeof buffer));
    FAILS(EINVAL, benchfs_readlink(fs, "/", buffer, sizeof buffer));
    FAILS(EINVAL, benchfs_readlink(fs, "/p/to_dir/", buffer, sizeof buffer));
    FAILS(ENOENT, benchfs_readlink(fs, "/p/none", buffer, sizeof buffer));
    FAILS(ENOENT, benchfs_readlink(fs, "", buffer, sizeof buffer));

    OK(benchfs_lstat(fs, "/p/to_file", &status));
    assert_true(S_ISLNK(status.st_mode));
    IS(4, status.st_size);
    IS(0777, status.st_mode & 07777);
    OK(benchfs_stat(fs, "/p/to_file", &status));
    assert_true(S_ISREG(status.st_mode));
    OK(benchfs_lstat(fs, "/p/to_dir/", &status));
    assert_true(S_ISDIR(status.st_mode));
    OK(benchfs_lstat(fs, "/p/dangling", &status));

    FAILS(EEXIST, benchfs_symlink(fs, "x", "/p/file"));
    FAILS(EEXIST, benchfs_symlink(fs, "x", "/p/dangling"));
    FAILS(EEXIST, benchfs_symlink(fs, "x", "/p/dir/"));
    FAILS(EEXIST, benchfs_symlink(fs, "x", "/"));
    FAILS(ENOENT, benchfs_symlink(fs, "x", "/p/new/"));
    FAILS(ENOENT, benchfs_symlink(fs, "", "/p/new"));
    FAILS(ENOENT, benchfs_symlink(fs, "x", "/p/none/new"));
    FAILS(ENOTDIR, benchfs_symlink(fs, "x", "/p/file/new"));
    memset(target, 't', 4096);
    target[4096] = '\0';
    FAILS(ENAMETOOLONG, benchfs_symlink(fs, target, "/p/new"));
    target[4095] = '\0';
    OK(benchfs_symlink(fs, target, "/p/new"));
    IS(4095, benchfs_readlink(fs, "/p/new", buffer, sizeof buffer));
    assert_memory_equal(buffer, target, 4095);
    FAILS(ENAMETOOLONG, benchfs_stat(fs, "/p/new", &status));
    OK(benchfs_unlink(fs, "/p/new"));

    /* Creating through a dangling link makes its target; removing a link leaves it. */
    int fd = (int)OK(benchfs_open(fs, "/p/dangling", O_CREAT | O_WRONLY, 0644));
    IS(3, benchfs_write(fs, fd, "new", 3));
    OK(benchfs_close(fs, fd));
    expect_text(fs, "/p/nowhere", "new");
    expect_text(fs, "/p/dangling", "new");
    OK(benchfs_unlink(fs, "/p/dangling"));
    expect_text(fs, "/p/nowhere", "new");
    OK(benchfs_unlink(fs, "/p/nowhere"));
    OK(benchfs_symlink(fs, "nowhere", "/p/dangling"));
    OK(benchfs_truncate(fs, "/p/to_file", 2));
    expect_text(fs, "/p/file", "fi");
    put_text(fs, "/p/to_file", "file");
    expect_text(fs, "/p/file", "file");

    /* 40 links in a row are followed, 41 are a loop. */
    char name[32];
    put_text(fs, "/p/chain0", "end");
    for (int i = 1; i <= 41; i++) {
        snprintf(target, sizeof target, "chain%d", i - 1);
        snprintf(name, sizeof name, "/p/chain%d", i);
        OK(benchfs_symlink(fs, target, name));
    }
    expect_text(fs, "/p/chain40", "end");
    FAILS(ELOOP, benchfs_open(fs, "/p/chain41", O_RDONLY));
    for (int i = 0; i <= 41; i++) {
        snprintf(name, sizeof name, "/p/chain%d", i);
        OK(benchfs_unlink(fs, name));
    }
}

/* Paths that differ in their last component only are walked once: what changes on the way must be seen. */
static void prefixes(void **state)
{
    struct stat status;
    (void)state;
    OK(benchfs_mkdir(fs, "/w", 0755));
    OK(benchfs_mkdir(fs, "/w/one", 0755));
    OK(benchfs_mkdir(fs, "/w/two", 0755));
    put_text(fs, "/w/one/f", "one");
    put_text(fs, "/w/one/g", "one");
    put_text(fs, "/w/two/f", "two!");
    OK(benchfs_symlink(fs, "one", "/w/link"));
    expect_text(fs, "/w/link/f", "one");
    OK(benchfs_unlink(fs, "/w/link"));
    OK(benchfs_symlink(fs, "two", "/w/link"));
    expect_text(fs, "/w/link/f", "two!");
    FAILS(ENOENT, benchfs_stat(fs, "/w/link/g", &status));

    expect_text(fs, "/w/one/f", "one");
    FAILS(ENOENT, benchfs_stat(fs, "/w/one/none", &status));
    FAILS(ENOTDIR, benchfs_stat(fs, "/w/one/f/x", &status));
    OK(benchfs_stat(fs, "/w/one/.", &status));
    assert_true(S_ISDIR(status.st_mode));
    OK(benchfs_stat(fs, "/w/one/..", &status));
    OK(benchfs_stat(fs, "/w/one/", &status));
    assert_true(S_ISDIR(status.st_mode));
    OK(benchfs_stat(fs, "/w/one//f", &status));
    OK(benchfs_stat(fs, "/w/one/../two/f", &status));
    IS(4, status.st_size);
    OK(benchfs_rename(fs, "/w/one", "/w/three"));
    FAILS(ENOENT, benchfs_stat(fs, "/w/one/g", &status));
    OK(benchfs_rename(fs, "/w/two", "/w/one"));
    expect_text(fs, "/w/one/f", "two!");
    FAILS(ENOENT, benchfs_stat(fs, "/w/one/g", &status));
    OK(benchfs_unlink(fs, "/w/one/f"));
    OK(benchfs_rmdir(fs, "/w/one"));
    FAILS(ENOENT, benchfs_open(fs, "/w/one/f", O_CREAT | O_WRONLY, 0644));
    OK(benchfs_unlink(fs, "/w/three/f"));
    OK(benchfs_unlink(fs, "/w/three/g"));
    OK(benchfs_rmdir(fs, "/w/three"));
    OK(benchfs_unlink(fs, "/w/link"));
    OK(benchfs_rmdir(fs, "/w"));
}

static void relative(void **state)
{
    struct stat status;
    char buffer[32];
    (void)state;
    int root = (int)OK(benchfs_open(fs, "/", O_RDONLY));
    int dir = (int)OK(benchfs_open(fs, "/p/dir", O_RDONLY | O_DIRECTORY));
    int sub = (int)OK(benchfs_open(fs, "/p/absolute", O_RDONLY | O_DIRECTORY));
    int file = (int)OK(benchfs_open(fs, "/p/file", O_RDONLY));
    OK(benchfs_fstatat(fs, dir, "inner", &status, 0));
    OK(benchfs_fstatat(fs, dir, "sub/deep", &status, 0));
    OK(benchfs_fstatat(fs, dir, "../file", &status, 0));
    OK(benchfs_fstatat(fs, sub, "../../file", &status, 0));
    OK(benchfs_fstatat(fs, sub, "../../../p/file", &status, 0));
    OK(benchfs_fstatat(fs, root, "p", &status, 0));
    OK(benchfs_fstatat(fs, file, "/p", &status, 0));
    OK(benchfs_fstatat(fs, -7, "/p", &status, 0));
    OK(benchfs_fstatat(fs, AT_FDCWD, "p", &status, 0));
    OK(benchfs_fstatat(fs, file, "", &status, AT_EMPTY_PATH));
    assert_true(S_ISREG(status.st_mode));
    OK(benchfs_fstatat(fs, AT_FDCWD, "p/to_file", &status, AT_SYMLINK_NOFOLLOW));
    assert_true(S_ISLNK(status.st_mode));
    FAILS(ENOENT, benchfs_fstatat(fs, file, "", &status, 0));
    FAILS(ENOTDIR, benchfs_fstatat(fs, file, "x", &status, 0));
    FAILS(EBADF, benchfs_fstatat(fs, 999, "x", &status, 0));
    FAILS(EBADF, benchfs_fstatat(fs, -1, "x", &status, 0));
    FAILS(EINVAL, benchfs_fstatat(fs, dir, "inner", &status, 0x40000000));
    FAILS(ENOENT, benchfs_fstatat(fs, dir, "none", &status, 0));

    OK(benchfs_mkdirat(fs, dir, "made", 0755));
    FAILS(EEXIST, benchfs_mkdirat(fs, dir, "made", 0755));
    OK(benchfs_symlinkat(fs, "made", dir, "link"));
    IS(4, benchfs_readlinkat(fs, dir, "link", buffer, sizeof buffer));
    int fd = (int)OK(benchfs_openat(fs, dir, "link/file", O_CREAT | O_RDWR, 0644));
    OK(benchfs_close(fs, fd));
    OK(benchfs_renameat(fs, dir, "made/file", sub, "moved"));
    OK(benchfs_stat(fs, "/p/dir/sub/moved", &status));
    OK(benchfs_unlinkat(fs, sub, "moved", 0));
    OK(benchfs_unlinkat(fs, dir, "link", 0));
    FAILS(EISDIR, benchfs_unlinkat(fs, dir, "made", 0));
    FAILS(ENOTDIR, benchfs_unlinkat(fs, dir, "inner", AT_REMOVEDIR));
    FAILS(EINVAL, benchfs_unlinkat(fs, dir, "made", 0x1000));
    OK(benchfs_unlinkat(fs, dir, "made", AT_REMOVEDIR));
    OK(benchfs_fchmodat(fs, dir, "inner", 0600, 0));
    OK(benchfs_fstatat(fs, dir, "inner", &status, 0));
    IS(0600, status.st_mode & 07777);
    FAILS(EOPNOTSUPP, benchfs_fchmodat(fs, AT_FDCWD, "p/to_file", 0600, AT_SYMLINK_NOFOLLOW));

    /* A descriptor follows its directory when that is renamed. */
    OK(benchfs_rename(fs, "/p/dir", "/p/renamed"));
    OK(benchfs_fstatat(fs, dir, "inner", &status, 0));
    OK(benchfs_fstatat(fs, sub, "../inner", &status, 0));
    FAILS(ENOENT, benchfs_stat(fs, "/p/dir/inner", &status));
    OK(benchfs_rename(fs, "/p/renamed", "/p/dir"));
    OK(benchfs_close(fs, root));
    OK(benchfs_close(fs, dir));
    OK(benchfs_close(fs, sub));
    OK(benchfs_close(fs, file));
}

/* A directory that was removed and made again under the same name is another one, whoever remembers the old.
 */
static void remade(void **state)
{
    struct stat status;
    (void)state;
    OK(benchfs_mkdir(fs, "/p/again", 0755));
    put_text(fs, "/p/again/x", "1");
    benchfs *other = benchfs_connect(NULL);
    assert_non_null(other);
    OK(benchfs_stat(other, "/p/again/x", &status));
    OK(benchfs_stat(other, "/p/again/../file", &status));
    OK(benchfs_stat(other, "/p/again/../file", &status));
    OK(benchfs_unlink(fs, "/p/again/x"));
    int old = (int)OK(benchfs_open(fs, "/p/again", O_RDONLY | O_DIRECTORY));
    benchfs_dir *stream = benchfs_opendir(fs, "/p/again");
    OK(benchfs_rmdir(fs, "/p/again"));
    assert_non_null(benchfs_readdir(stream));
    assert_non_null(benchfs_readdir(stream));
    errno = 0;
    assert_null(benchfs_readdir(stream));
    assert_int_equal(errno, 0);
    OK(benchfs_closedir(stream));
    FAILS(ENOENT, benchfs_openat(fs, old, "y", O_CREAT | O_RDWR, 0644));
    FAILS(ENOENT, benchfs_stat(other, "/p/again/../file", &status));
    FAILS(ENOENT, benchfs_stat(other, "/p/again/x", &status));
    OK(benchfs_mkdir(fs, "/p/again", 0755));
    put_text(fs, "/p/again/x", "2");
    expect_text(other, "/p/again/x", "2");
    OK(benchfs_unlink(other, "/p/again/x"));
    OK(benchfs_rmdir(other, "/p/again"));
    put_text(other, "/p/again", "a file now");
    FAILS(ENOTDIR, benchfs_stat(fs, "/p/again/x", &status));
    OK(benchfs_unlink(fs, "/p/again"));
    OK(benchfs_close(fs, old));
    benchfs_disconnect(other);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(resolves, make_tree),
        cmocka_unit_test(refuses),
        cmocka_unit_test(longest),
        cmocka_unit_test(last_components),
        cmocka_unit_test(links),
        cmocka_unit_test(prefixes),
        cmocka_unit_test(relative),
        cmocka_unit_test(remade),
    };
    return POSIX_MAIN(argc, argv, NULL, tests);
}

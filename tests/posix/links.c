/* Hard links, and renaming with flags. */
#include "check.h"

#include <sys/time.h>

static struct stat stat_of(const char *path)
{
    struct stat status;
    OK(benchfs_lstat(fs, path, &status));
    return status;
}

static bool exists(const char *path)
{
    struct stat status;
    return benchfs_lstat(fs, path, &status) == 0;
}

static void expect_same(const char *one, const char *other, nlink_t links)
{
    struct stat first = stat_of(one), second = stat_of(other);
    IS(first.st_ino, second.st_ino);
    IS(links, first.st_nlink);
    IS(links, second.st_nlink);
}

static bool later(struct timespec one, struct timespec other)
{
    return one.tv_sec > other.tv_sec || (one.tv_sec == other.tv_sec && one.tv_nsec > other.tv_nsec);
}

static void link_gives_another_name(void **state)
{
    (void)state;
    OK(benchfs_mkdir(fs, "/l", 0755));
    put_text(fs, "/l/file", "contents");
    /* Enough names to have the inode's and the entry's server be any pair of servers. */
    char name[32];
    for (unsigned i = 0; i < 24; i++) {
        struct stat before = stat_of("/l/file");
        snprintf(name, sizeof name, "/l/name%u", i);
        OK(benchfs_link(fs, "/l/file", name));
        expect_same("/l/file", name, i + 2);
        assert_true(later(stat_of(name).st_ctim, before.st_ctim));
        IS(before.st_mtim.tv_nsec, stat_of(name).st_mtim.tv_nsec);
        expect_text(fs, name, "contents");
    }
    put_text(fs, "/l/name3", "changed");
    expect_text(fs, "/l/file", "changed");
    OK(benchfs_unlink(fs, "/l/file"));
    FAILS(ENOENT, benchfs_stat(fs, "/l/file", &(struct stat){0}));
    for (unsigned i = 0; i < 24; i++) {
        snprintf(name, sizeof name, "/l/name%u", i);
        IS(24 - i, stat_of(name).st_nlink);
        expect_text(fs, name, "changed");
        OK(benchfs_unlink(fs, name));
    }
    OK(benchfs_rmdir(fs, "/l"));
}

static void link_fails_as_posix_says(void **state)
{
    (void)state;
    char longest[300];
    memset(longest, 'n', sizeof longest);
    memcpy(longest, "/e/", 3);
    longest[3 + 256] = '\0';
    OK(benchfs_mkdir(fs, "/e", 0755));
    OK(benchfs_mkdir(fs, "/e/dir", 0755));
    put_text(fs, "/e/file", "");
    put_text(fs, "/e/other", "");
    OK(benchfs_symlink(fs, "file", "/e/symlink"));
    OK(benchfs_symlink(fs, "nowhere", "/e/dangling"));
    FAILS(ENOENT, benchfs_link(fs, "/e/absent", "/e/new"));
    FAILS(ENOENT, benchfs_link(fs, "/e/file", "/e/absent/new"));
    FAILS(ENOENT, benchfs_link(fs, "", "/e/new"));
    FAILS(ENOENT, benchfs_link(fs, "/e/file", ""));
    FAILS(ENOTDIR, benchfs_link(fs, "/e/file/x", "/e/new"));
    FAILS(ENOTDIR, benchfs_link(fs, "/e/file", "/e/other/new"));
    FAILS(ENOTDIR, benchfs_link(fs, "/e/file/", "/e/new"));
    FAILS(ENOENT, benchfs_link(fs, "/e/file", "/e/new/"));
    FAILS(EEXIST, benchfs_link(fs, "/e/file", "/e/other"));
    FAILS(EEXIST, benchfs_link(fs, "/e/file", "/e/file"));
    FAILS(EEXIST, benchfs_link(fs, "/e/file", "/e/dir"));
    FAILS(EEXIST, benchfs_link(fs, "/e/file", "/e/dir/"));
    FAILS(EEXIST, benchfs_link(fs, "/e/file", "/e/dangling"));
    FAILS(EEXIST, benchfs_link(fs, "/e/file", "/e/."));
    FAILS(EEXIST, benchfs_link(fs, "/e/file", "/"));
    FAILS(EEXIST, benchfs_link(fs, "/e/dir", "/e/other"));
    FAILS(EPERM, benchfs_link(fs, "/e/dir", "/e/new"));
    FAILS(EPERM, benchfs_link(fs, "/", "/e/new"));
    FAILS(EPERM, benchfs_link(fs, "/e/dir/..", "/e/new"));
    FAILS(ENAMETOOLONG, benchfs_link(fs, "/e/file", longest));
    FAILS(EINVAL, benchfs_linkat(fs, AT_FDCWD, "/e/file", AT_FDCWD, "/e/new", AT_REMOVEDIR));
    FAILS(EBADF, benchfs_linkat(fs, 99, "file", AT_FDCWD, "/e/new", 0));
    FAILS(EBADF, benchfs_linkat(fs, 99, "", AT_FDCWD, "/e/new", AT_EMPTY_PATH));
    IS(1, stat_of("/e/file").st_nlink);

    /* The symbolic link itself, or what it leads to. */
    OK(benchfs_link(fs, "/e/symlink", "/e/one"));
    expect_same("/e/symlink", "/e/one", 2);
    assert_true(S_ISLNK(stat_of("/e/one").st_mode));
    OK(benchfs_linkat(fs, AT_FDCWD, "/e/symlink", AT_FDCWD, "/e/two", AT_SYMLINK_FOLLOW));
    expect_same("/e/file", "/e/two", 2);
    FAILS(ENOENT, benchfs_linkat(fs, AT_FDCWD, "/e/dangling", AT_FDCWD, "/e/three", AT_SYMLINK_FOLLOW));

    /* By descriptors. */
    int directory = (int)OK(benchfs_open(fs, "/e", O_RDONLY | O_DIRECTORY));
    int file = (int)OK(benchfs_open(fs, "/e/file", O_RDONLY));
    OK(benchfs_linkat(fs, directory, "file", directory, "four", 0));
    OK(benchfs_linkat(fs, file, "", directory, "five", AT_EMPTY_PATH));
    FAILS(ENOENT, benchfs_linkat(fs, file, "", directory, "six", 0));
    FAILS(EPERM, benchfs_linkat(fs, directory, "", directory, "six", AT_EMPTY_PATH));
    FAILS(ENOTDIR, benchfs_linkat(fs, file, "x", directory, "six", 0));
    expect_same("/e/five", "/e/four", 4);
    OK(benchfs_close(fs, file));
    OK(benchfs_close(fs, directory));
}

/* Two names of one inode: rename does nothing, whatever server they are on. */
static void rename_onto_another_name(void **state)
{
    (void)state;
    OK(benchfs_mkdir(fs, "/r", 0755));
    put_text(fs, "/r/file", "same");
    for (unsigned i = 0; i < 12; i++) {
        char name[32];
        snprintf(name, sizeof name, "/r/name%u", i);
        OK(benchfs_link(fs, "/r/file", name));
        OK(benchfs_rename(fs, "/r/file", name));
        expect_same("/r/file", name, i + 2);
        OK(benchfs_rename(fs, name, "/r/file"));
        expect_same("/r/file", name, i + 2);
        FAILS(EEXIST, benchfs_renameat2(fs, AT_FDCWD, name, AT_FDCWD, "/r/file", RENAME_NOREPLACE));
        OK(benchfs_renameat2(fs, AT_FDCWD, name, AT_FDCWD, "/r/file", RENAME_EXCHANGE));
    }
    /* One of several names is replaced: the others stay. */
    put_text(fs, "/r/new", "new");
    OK(benchfs_rename(fs, "/r/new", "/r/name5"));
    expect_text(fs, "/r/name5", "new");
    expect_text(fs, "/r/name6", "same");
    IS(12, stat_of("/r/file").st_nlink);
}

static void rename_without_replacing(void **state)
{
    (void)state;
    OK(benchfs_mkdir(fs, "/n", 0755));
    for (unsigned i = 0; i < 12; i++) {
        char name[32], other[32];
        snprintf(name, sizeof name, "/n/name%u", i);
        snprintf(other, sizeof other, "/n/other%u", i);
        put_text(fs, name, "one");
        OK(benchfs_renameat2(fs, AT_FDCWD, name, AT_FDCWD, other, RENAME_NOREPLACE));
        put_text(fs, name, "two");
        FAILS(EEXIST, benchfs_renameat2(fs, AT_FDCWD, name, AT_FDCWD, other, RENAME_NOREPLACE));
        expect_text(fs, name, "two");
        expect_text(fs, other, "one");
    }
    OK(benchfs_mkdir(fs, "/n/dir", 0755));
    FAILS(EEXIST, benchfs_renameat2(fs, AT_FDCWD, "/n/name1", AT_FDCWD, "/n/dir", RENAME_NOREPLACE));
    FAILS(EEXIST, benchfs_renameat2(fs, AT_FDCWD, "/n/dir", AT_FDCWD, "/n/name1", RENAME_NOREPLACE));
    FAILS(ENOENT, benchfs_renameat2(fs, AT_FDCWD, "/n/absent", AT_FDCWD, "/n/x", RENAME_NOREPLACE));
    OK(benchfs_renameat2(fs, AT_FDCWD, "/n/dir", AT_FDCWD, "/n/moved", RENAME_NOREPLACE));
    FAILS(EINVAL,
          benchfs_renameat2(fs, AT_FDCWD, "/n/moved", AT_FDCWD, "/n/x", RENAME_NOREPLACE | RENAME_EXCHANGE));
    FAILS(EINVAL, benchfs_renameat2(fs, AT_FDCWD, "/n/moved", AT_FDCWD, "/n/x", RENAME_WHITEOUT));
}

static void exchange(void **state)
{
    (void)state;
    struct stat status;
    OK(benchfs_mkdir(fs, "/x", 0755));
    OK(benchfs_mkdir(fs, "/x/a", 0755));
    OK(benchfs_mkdir(fs, "/x/b", 0755));
    /* Files, on any pair of servers, within a directory and across two. */
    for (unsigned i = 0; i < 12; i++) {
        char one[32], two[32];
        snprintf(one, sizeof one, "/x/a/one%u", i);
        snprintf(two, sizeof two, i % 2 ? "/x/a/two%u" : "/x/b/two%u", i);
        put_text(fs, one, "one");
        put_text(fs, two, "two");
        OK(benchfs_renameat2(fs, AT_FDCWD, one, AT_FDCWD, two, RENAME_EXCHANGE));
        expect_text(fs, one, "two");
        expect_text(fs, two, "one");
        IS(1, stat_of(one).st_nlink);
    }
    /* Directories, with what is in them and "..". */
    OK(benchfs_mkdir(fs, "/x/a/sub", 0755));
    OK(benchfs_mkdir(fs, "/x/b/other", 0755));
    put_text(fs, "/x/a/sub/inner", "from sub");
    put_text(fs, "/x/b/other/inner", "from other");
    OK(benchfs_renameat2(fs, AT_FDCWD, "/x/a/sub", AT_FDCWD, "/x/b/other/", RENAME_EXCHANGE));
    expect_text(fs, "/x/a/sub/inner", "from other");
    expect_text(fs, "/x/b/other/inner", "from sub");
    OK(benchfs_stat(fs, "/x/a/sub/..", &status));
    IS(stat_of("/x/a").st_ino, status.st_ino);
    OK(benchfs_stat(fs, "/x/b/other/..", &status));
    IS(stat_of("/x/b").st_ino, status.st_ino);
    /* A file and a directory, either way round: also the parents' link counts change. */
    IS(3, stat_of("/x/a").st_nlink);
    IS(3, stat_of("/x/b").st_nlink);
    OK(benchfs_renameat2(fs, AT_FDCWD, "/x/a/one1", AT_FDCWD, "/x/b/other", RENAME_EXCHANGE));
    expect_text(fs, "/x/b/other", "two");
    expect_text(fs, "/x/a/one1/inner", "from sub");
    OK(benchfs_stat(fs, "/x/a/one1/..", &status));
    IS(stat_of("/x/a").st_ino, status.st_ino);
    IS(4, stat_of("/x/a").st_nlink);
    IS(2, stat_of("/x/b").st_nlink);
    OK(benchfs_renameat2(fs, AT_FDCWD, "/x/a/one1", AT_FDCWD, "/x/b/other", RENAME_EXCHANGE));
    expect_text(fs, "/x/b/other/inner", "from sub");
    IS(3, stat_of("/x/b").st_nlink);

    FAILS(ENOENT, benchfs_renameat2(fs, AT_FDCWD, "/x/a", AT_FDCWD, "/x/absent", RENAME_EXCHANGE));
    FAILS(ENOENT, benchfs_renameat2(fs, AT_FDCWD, "/x/absent", AT_FDCWD, "/x/a", RENAME_EXCHANGE));
    FAILS(ENOTDIR, benchfs_renameat2(fs, AT_FDCWD, "/x/a/one1/", AT_FDCWD, "/x/b/other", RENAME_EXCHANGE));
    FAILS(ENOTDIR, benchfs_renameat2(fs, AT_FDCWD, "/x/b/other", AT_FDCWD, "/x/a/one1/", RENAME_EXCHANGE));
    FAILS(EINVAL, benchfs_renameat2(fs, AT_FDCWD, "/x/a", AT_FDCWD, "/x/a/sub", RENAME_EXCHANGE));
    FAILS(EINVAL, benchfs_renameat2(fs, AT_FDCWD, "/x/a/sub", AT_FDCWD, "/x/a", RENAME_EXCHANGE));
    FAILS(EINVAL, benchfs_renameat2(fs, AT_FDCWD, "/x/a/sub/inner", AT_FDCWD, "/x/a", RENAME_EXCHANGE));
    FAILS(EINVAL, benchfs_renameat2(fs, AT_FDCWD, "/x", AT_FDCWD, "/x/a/sub/inner", RENAME_EXCHANGE));
    FAILS(EBUSY, benchfs_renameat2(fs, AT_FDCWD, "/", AT_FDCWD, "/x/a", RENAME_EXCHANGE));
    FAILS(EBUSY, benchfs_renameat2(fs, AT_FDCWD, "/x/a", AT_FDCWD, "/", RENAME_EXCHANGE));
    FAILS(EBUSY, benchfs_renameat2(fs, AT_FDCWD, "/x/a/.", AT_FDCWD, "/x/b", RENAME_EXCHANGE));
    assert_false(exists("/x/absent"));
    expect_text(fs, "/x/a/sub/inner", "from other");
}

static void rename_fails_as_posix_says(void **state)
{
    (void)state;
    OK(benchfs_mkdir(fs, "/f", 0755));
    OK(benchfs_mkdir(fs, "/f/dir", 0755));
    OK(benchfs_mkdir(fs, "/f/dir/sub", 0755));
    OK(benchfs_mkdir(fs, "/f/dir/sub/deep", 0755));
    OK(benchfs_mkdir(fs, "/f/empty", 0755));
    put_text(fs, "/f/file", "file");
    put_text(fs, "/f/other", "other");
    FAILS(ENOENT, benchfs_rename(fs, "/f/absent", "/f/x"));
    FAILS(ENOENT, benchfs_rename(fs, "/f/file", "/f/absent/x"));
    FAILS(ENOTDIR, benchfs_rename(fs, "/f/file", "/f/other/x"));
    FAILS(ENOTDIR, benchfs_rename(fs, "/f/file/", "/f/x"));
    FAILS(ENOTDIR, benchfs_rename(fs, "/f/file", "/f/x/"));
    FAILS(ENOTDIR, benchfs_rename(fs, "/f/file", "/f/empty/"));
    FAILS(EISDIR, benchfs_rename(fs, "/f/file", "/f/empty"));
    FAILS(ENOTDIR, benchfs_rename(fs, "/f/empty", "/f/file"));
    FAILS(ENOTEMPTY, benchfs_rename(fs, "/f/empty", "/f/dir"));
    FAILS(ENOTEMPTY, benchfs_rename(fs, "/f/dir/sub", "/f/dir"));
    FAILS(ENOTEMPTY, benchfs_rename(fs, "/f/dir/sub/deep", "/f/dir"));
    FAILS(EINVAL, benchfs_rename(fs, "/f/dir", "/f/dir/x"));
    FAILS(EINVAL, benchfs_rename(fs, "/f/dir", "/f/dir/sub/x"));
    FAILS(EINVAL, benchfs_rename(fs, "/f/dir", "/f/dir/sub/deep/x"));
    FAILS(EINVAL, benchfs_rename(fs, "/f/dir", "/f/dir/sub"));
    FAILS(EBUSY, benchfs_rename(fs, "/", "/f/x"));
    FAILS(EBUSY, benchfs_rename(fs, "/f/dir", "/"));
    FAILS(EBUSY, benchfs_rename(fs, "/f/dir/.", "/f/x"));
    FAILS(EBUSY, benchfs_rename(fs, "/f/dir/..", "/f/x"));
    FAILS(EBUSY, benchfs_rename(fs, "/f/dir", "/f/dir/.."));
    OK(benchfs_rename(fs, "/f/empty", "/f/moved/"));
    OK(benchfs_rename(fs, "/f/moved/", "/f/empty"));
    OK(benchfs_rename(fs, "/f/dir", "/f/dir"));
    OK(benchfs_rename(fs, "/f/dir", "/f/empty"));
    assert_true(exists("/f/empty/sub/deep"));
    OK(benchfs_rename(fs, "/f/file", "/f/other"));
    expect_text(fs, "/f/other", "file");
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(link_gives_another_name),
        cmocka_unit_test(link_fails_as_posix_says),
        cmocka_unit_test(rename_onto_another_name),
        cmocka_unit_test(rename_without_replacing),
        cmocka_unit_test(exchange),
        cmocka_unit_test(rename_fails_as_posix_says),
    };
    return POSIX_MAIN(argc, argv, NULL, tests);
}

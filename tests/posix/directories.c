/* Directories: listing, renaming, removing, and listing while others create and remove. */
#include "check.h"

#include <pthread.h>

static int prepare(void **state)
{
    (void)state;
    return benchfs_mkdir(fs, "/d", 0755);
}

static void listing(void **state)
{
    struct dirent *entry;
    struct stat status;
    bool seen[50] = {false};
    int others = 0, dots = 0;
    (void)state;
    OK(benchfs_mkdir(fs, "/d/list", 0755));
    for (int i = 0; i < 50; i++) {
        char path[32];
        snprintf(path, sizeof path, "/d/list/%d", i);
        if (i % 3 == 0)
            OK(benchfs_mkdir(fs, path, 0750));
        else if (i % 3 == 1)
            put_file(fs, path, "0123456789012345678901234567890123456789012345678901234567890", (size_t)i);
        else
            OK(benchfs_symlink(fs, "target", path));
    }
    benchfs_dir *dir = benchfs_opendir(fs, "/d/list");
    assert_non_null(dir);
    errno = 0;
    for (int i = 0; (entry = benchfs_readdirplus(dir, &status)) != NULL; i++) {
        if (entry->d_name[0] == '.') {
            assert_string_equal(entry->d_name, i == 0 ? "." : "..");
            assert_true(S_ISDIR(status.st_mode));
            assert_int_equal(entry->d_ino, status.st_ino);
            dots++;
            continue;
        }
        int number = atoi(entry->d_name);
        static const unsigned char types[] = {DT_DIR, DT_REG, DT_LNK};
        if (number < 0 || number >= 50 || seen[number]) {
            others++;
            continue;
        }
        seen[number] = true;
        assert_int_equal(entry->d_type, types[number % 3]);
        assert_int_equal(entry->d_ino, status.st_ino);
        assert_int_equal(IFTODT(status.st_mode), entry->d_type);
        if (number % 3 == 1)
            assert_int_equal(status.st_size, number);
        if (number % 3 == 0)
            assert_int_equal(status.st_nlink, 2);
    }
    assert_int_equal(errno, 0);
    assert_int_equal(dots, 2);
    assert_int_equal(others, 0);
    for (int i = 0; i < 50; i++)
        assert_true(seen[i]);

    /* Positions come back, also those taken in the middle. */
    long positions[60];
    char names[60][8];
    int count = 0;
    benchfs_rewinddir(dir);
    for (;;) {
        positions[count] = benchfs_telldir(dir);
        entry = benchfs_readdir(dir);
        if (entry == NULL)
            break;
        snprintf(names[count++], sizeof names[0], "%.7s", entry->d_name);
    }
    assert_int_equal(count, 52);
    for (int i = 51; i >= 0; i -= 3) {
        benchfs_seekdir(dir, positions[i]);
        for (int j = i; j < i + 3 && j < 52; j++)
            assert_string_equal(benchfs_readdir(dir)->d_name, names[j]);
    }
    benchfs_seekdir(dir, positions[52]);
    assert_null(benchfs_readdir(dir));
    OK(benchfs_closedir(dir));

    OK(benchfs_stat(fs, "/d/list", &status));
    IS(2 + 17, status.st_nlink);
    int fd = (int)OK(benchfs_open(fs, "/d/list", O_RDONLY | O_DIRECTORY));
    dir = benchfs_fdopendir(fs, fd);
    assert_non_null(dir);
    assert_non_null(benchfs_readdir(dir));
    OK(benchfs_closedir(dir));
    FAILS(EBADF, benchfs_close(fs, fd));
    int file = (int)OK(benchfs_open(fs, "/d/list/1", O_RDONLY));
    FAILS(ENOTDIR, benchfs_fdopendir(fs, file) == NULL ? -1 : 0);
    OK(benchfs_close(fs, file));
    for (int i = 0; i < 50; i++) {
        char path[32];
        snprintf(path, sizeof path, "/d/list/%d", i);
        OK(i % 3 == 0 ? benchfs_rmdir(fs, path) : benchfs_unlink(fs, path));
    }
    OK(benchfs_rmdir(fs, "/d/list"));
}

static void renames(void **state)
{
    struct stat before, after;
    (void)state;
    OK(benchfs_mkdir(fs, "/d/r", 0755));
    OK(benchfs_mkdir(fs, "/d/r/a", 0755));
    OK(benchfs_mkdir(fs, "/d/r/b", 0755));
    OK(benchfs_mkdir(fs, "/d/r/a/sub", 0755));
    put_text(fs, "/d/r/file", "file");
    put_text(fs, "/d/r/other", "other");
    put_text(fs, "/d/r/a/inner", "inner");

    OK(benchfs_stat(fs, "/d/r/file", &before));
    OK(benchfs_rename(fs, "/d/r/file", "/d/r/moved"));
    OK(benchfs_stat(fs, "/d/r/moved", &after));
    assert_int_equal(before.st_ino, after.st_ino);
    FAILS(ENOENT, benchfs_stat(fs, "/d/r/file", &after));
    expect_text(fs, "/d/r/moved", "file");
    OK(benchfs_rename(fs, "/d/r/moved", "/d/r/other")); /* replaces */
    expect_text(fs, "/d/r/other", "file");
    FAILS(ENOENT, benchfs_stat(fs, "/d/r/moved", &after));
    OK(benchfs_rename(fs, "/d/r/other", "/d/r/other")); /* onto itself: nothing */
    expect_text(fs, "/d/r/other", "file");
    OK(benchfs_rename(fs, "/d/r/other", "/d/r/b/other"));
    expect_text(fs, "/d/r/b/other", "file");
    put_file(fs, "/d/r/b/other", "rewritten where the entry is elsewhere", 38);
    OK(benchfs_chmod(fs, "/d/r/b/other", 0600));
    OK(benchfs_truncate(fs, "/d/r/b/other", 9));
    expect_text(fs, "/d/r/b/other", "rewritten");
    OK(benchfs_stat(fs, "/d/r/b/other", &after));
    assert_int_equal(before.st_ino, after.st_ino);
    IS(0600, after.st_mode & 07777);

    FAILS(ENOENT, benchfs_rename(fs, "/d/r/none", "/d/r/x"));
    FAILS(ENOENT, benchfs_rename(fs, "/d/r/none", "/d/r/none"));
    FAILS(ENOENT, benchfs_rename(fs, "/d/r/a", "/d/none/x"));
    FAILS(ENOENT, benchfs_rename(fs, "", "/d/r/x"));
    FAILS(ENOENT, benchfs_rename(fs, "/d/r/a", ""));
    FAILS(ENOTDIR, benchfs_rename(fs, "/d/r/b/other/x", "/d/r/x"));
    FAILS(ENOTDIR, benchfs_rename(fs, "/d/r/a", "/d/r/b/other/x"));
    FAILS(ENOTDIR, benchfs_rename(fs, "/d/r/b/other/", "/d/r/x"));
    FAILS(ENOTDIR, benchfs_rename(fs, "/d/r/b/other", "/d/r/x/"));
    FAILS(ENOTDIR, benchfs_rename(fs, "/d/r/a", "/d/r/b/other"));
    FAILS(EISDIR, benchfs_rename(fs, "/d/r/b/other", "/d/r/a"));
    FAILS(ENOTEMPTY, benchfs_rename(fs, "/d/r/b", "/d/r/a"));
    FAILS(EINVAL, benchfs_rename(fs, "/d/r/a", "/d/r/a/x"));
    FAILS(EINVAL, benchfs_rename(fs, "/d/r/a", "/d/r/a/sub/x"));
    FAILS(EINVAL, benchfs_rename(fs, "/d/r", "/d/r/a/sub/x"));
    FAILS(ENOTEMPTY, benchfs_rename(fs, "/d/r/a/sub", "/d/r/a"));
    FAILS(EBUSY, benchfs_rename(fs, "/", "/d/r/x"));
    FAILS(EBUSY, benchfs_rename(fs, "/d/r/a", "/"));
    FAILS(EBUSY, benchfs_rename(fs, "/d/r/a/.", "/d/r/x"));
    FAILS(EBUSY, benchfs_rename(fs, "/d/r/a/..", "/d/r/x"));
    FAILS(EBUSY, benchfs_rename(fs, "/d/r/a", "/d/r/b/.."));

    OK(benchfs_stat(fs, "/d/r/a", &before));
    OK(benchfs_rename(fs, "/d/r/a", "/d/r/c"));
    expect_text(fs, "/d/r/c/inner", "inner");
    FAILS(ENOENT, benchfs_open(fs, "/d/r/a/inner", O_RDONLY));
    OK(benchfs_rename(fs, "/d/r/c/", "/d/r/b/c/"));
    expect_text(fs, "/d/r/b/c/inner", "inner");
    OK(benchfs_stat(fs, "/d/r/b/c", &after));
    assert_int_equal(before.st_ino, after.st_ino);
    OK(benchfs_stat(fs, "/d/r/b/c/..", &after));
    OK(benchfs_stat(fs, "/d/r/b", &before));
    assert_int_equal(before.st_ino, after.st_ino);
    IS(3, before.st_nlink);
    OK(benchfs_mkdir(fs, "/d/r/empty", 0755));
    OK(benchfs_rename(fs, "/d/r/b/c", "/d/r/empty")); /* replaces an empty directory */
    expect_text(fs, "/d/r/empty/inner", "inner");
    OK(benchfs_symlink(fs, "b", "/d/r/link"));
    OK(benchfs_rename(fs, "/d/r/link", "/d/r/link2"));
    OK(benchfs_lstat(fs, "/d/r/link2", &after));
    assert_true(S_ISLNK(after.st_mode));
    OK(benchfs_rename(fs, "/d/r/link2", "/d/r/b/other"));
    OK(benchfs_lstat(fs, "/d/r/b/other", &after));
    assert_true(S_ISLNK(after.st_mode));

    OK(benchfs_unlink(fs, "/d/r/b/other"));
    OK(benchfs_unlink(fs, "/d/r/empty/inner"));
    OK(benchfs_rmdir(fs, "/d/r/empty/sub"));
    OK(benchfs_rmdir(fs, "/d/r/empty"));
    OK(benchfs_rmdir(fs, "/d/r/b"));
    OK(benchfs_rmdir(fs, "/d/r"));
}

/* ---- a big directory, while another thread creates and removes ---- */

enum { STABLE = 20000, CHURN = 400 };
static _Atomic bool stop;

static void *churn(void *argument)
{
    char path[64];
    long rounds = 0;
    (void)argument;
    while (!stop) {
        for (int i = 0; i < CHURN && !stop; i++) {
            snprintf(path, sizeof path, "/d/big/churn%d", i);
            int fd = benchfs_open(fs, path, O_CREAT | O_WRONLY | O_EXCL, 0644);
            if (fd < 0 || benchfs_close(fs, fd) < 0)
                return (void *)-1L;
        }
        for (int i = 0; i < CHURN; i++) {
            snprintf(path, sizeof path, "/d/big/churn%d", i);
            if (benchfs_unlink(fs, path) < 0 && !(stop && errno == ENOENT))
                return (void *)-1L;
        }
        rounds++;
    }
    return (void *)rounds;
}

static void big(void **state)
{
    static unsigned char seen[STABLE];
    char path[64];
    pthread_t thread;
    (void)state;
    OK(benchfs_mkdir(fs, "/d/big", 0755));
    for (int i = 0; i < STABLE; i++) {
        snprintf(path, sizeof path, "/d/big/file%d", i);
        OK(benchfs_close(fs, (int)OK(benchfs_open(fs, path, O_CREAT | O_WRONLY, 0644))));
    }
    assert_int_equal(pthread_create(&thread, NULL, churn, NULL), 0);
    for (int round = 0; round < 5; round++) {
        struct dirent *entry;
        memset(seen, 0, sizeof seen);
        benchfs_dir *dir = benchfs_opendir(fs, "/d/big");
        assert_non_null(dir);
        int count = 0;
        while ((entry = benchfs_readdir(dir)) != NULL) {
            int number;
            if (sscanf(entry->d_name, "file%d", &number) == 1)
                assert_int_equal(seen[number]++, 0);
            /* Half of the rounds go on from a position once in a while. */
            if (++count % 1000 == 0 && round % 2)
                benchfs_seekdir(dir, benchfs_telldir(dir));
        }
        OK(benchfs_closedir(dir));
        for (int i = 0; i < STABLE; i++)
            assert_int_equal(seen[i], 1);
    }
    stop = true;
    void *result;
    pthread_join(thread, &result);
    assert_true((long)result > 0);
    for (int i = 0; i < STABLE; i++) {
        snprintf(path, sizeof path, "/d/big/file%d", i);
        OK(benchfs_unlink(fs, path));
    }
    OK(benchfs_rmdir(fs, "/d/big"));
}

/* A stream that one thread began goes on in another. */
static void *read_one(void *argument)
{
    return benchfs_readdir(argument);
}

static void wandering(void **state)
{
    char path[64];
    unsigned char seen[200] = {0};
    (void)state;
    OK(benchfs_mkdir(fs, "/d/wander", 0755));
    for (int i = 0; i < 200; i++) {
        snprintf(path, sizeof path, "/d/wander/%d", i);
        OK(benchfs_close(fs, (int)OK(benchfs_open(fs, path, O_CREAT | O_WRONLY, 0644))));
    }
    benchfs_dir *dir = benchfs_opendir(fs, "/d/wander");
    for (int i = 0;; i++) {
        struct dirent *entry;
        if (i % 50 == 25) {
            pthread_t thread;
            void *result;
            assert_int_equal(pthread_create(&thread, NULL, read_one, dir), 0);
            pthread_join(thread, &result);
            entry = result;
        } else {
            entry = benchfs_readdir(dir);
        }
        if (entry == NULL)
            break;
        if (entry->d_name[0] != '.')
            assert_int_equal(seen[atoi(entry->d_name)]++, 0);
    }
    OK(benchfs_closedir(dir));
    for (int i = 0; i < 200; i++) {
        assert_int_equal(seen[i], 1);
        snprintf(path, sizeof path, "/d/wander/%d", i);
        OK(benchfs_unlink(fs, path));
    }
    OK(benchfs_rmdir(fs, "/d/wander"));
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(listing, prepare),
        cmocka_unit_test(renames),
        cmocka_unit_test(big),
        cmocka_unit_test(wandering),
    };
    return POSIX_MAIN(argc, argv, NULL, tests);
}

/* Attributes: modes, owners, times, link counts, the file system's totals, and permissions of an ordinary
 * user. */
#include "check.h"

#include <sys/wait.h>

static int prepare(void **state)
{
    (void)state;
    return benchfs_mkdir(fs, "/a", 0755);
}

static int64_t ns(struct timespec time)
{
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static void modes(void **state)
{
    struct stat status;
    (void)state;
    IS(022, benchfs_umask(fs, 027));
    int fd = (int)OK(benchfs_open(fs, "/a/masked", O_CREAT | O_RDWR, 0666));
    OK(benchfs_fstat(fs, fd, &status));
    IS(S_IFREG | 0640, status.st_mode);
    OK(benchfs_mkdir(fs, "/a/maskeddir", 0777));
    OK(benchfs_stat(fs, "/a/maskeddir", &status));
    IS(S_IFDIR | 0750, status.st_mode);
    IS(027, benchfs_umask(fs, 022));
    OK(benchfs_fchmod(fs, fd, 04711));
    OK(benchfs_fstat(fs, fd, &status));
    IS(S_IFREG | 04711, status.st_mode);
    OK(benchfs_chmod(fs, "/a/maskeddir", 01777));
    OK(benchfs_stat(fs, "/a/maskeddir", &status));
    IS(S_IFDIR | 01777, status.st_mode);
    OK(benchfs_chmod(fs, "/a/maskeddir", 02755));
    OK(benchfs_fchownat(fs, AT_FDCWD, "/a/maskeddir", 17, 18, 0));
    OK(benchfs_mkdir(fs, "/a/maskeddir/inherits", 0755));
    OK(benchfs_stat(fs, "/a/maskeddir/inherits", &status));
    IS(S_IFDIR | 02755, status.st_mode);
    IS(18, status.st_gid);
    OK(benchfs_rmdir(fs, "/a/maskeddir/inherits"));
    OK(benchfs_fchown(fs, fd, 5, (gid_t)-1));
    OK(benchfs_fstat(fs, fd, &status));
    IS(5, status.st_uid);
    IS(getegid(), status.st_gid);
    OK(benchfs_close(fs, fd));
    OK(benchfs_symlink(fs, "masked", "/a/link"));
    OK(benchfs_fchownat(fs, AT_FDCWD, "/a/link", 9, 9, AT_SYMLINK_NOFOLLOW));
    OK(benchfs_lstat(fs, "/a/link", &status));
    IS(9, status.st_uid);
    OK(benchfs_stat(fs, "/a/link", &status));
    IS(5, status.st_uid);
    OK(benchfs_unlink(fs, "/a/link"));
    OK(benchfs_unlink(fs, "/a/masked"));
    OK(benchfs_rmdir(fs, "/a/maskeddir"));
}

static void times(void **state)
{
    struct timespec now,
        set[2] = {{.tv_sec = 1000000000, .tv_nsec = 123456789}, {.tv_sec = -5, .tv_nsec = 7}};
    struct stat status, later;
    (void)state;
    clock_gettime(CLOCK_REALTIME, &now);
    put_text(fs, "/a/times", "x");
    OK(benchfs_stat(fs, "/a/times", &status));
    assert_true(llabs(ns(status.st_mtim) - ns(now)) < INT64_C(5000000000));
    assert_true(llabs(ns(status.st_ctim) - ns(now)) < INT64_C(5000000000));
    OK(benchfs_utimensat(fs, AT_FDCWD, "/a/times", set, 0));
    OK(benchfs_stat(fs, "/a/times", &later));
    IS(ns(set[0]), ns(later.st_atim));
    IS(ns(set[1]), ns(later.st_mtim));
    assert_true(ns(later.st_ctim) >= ns(status.st_ctim));
    set[0].tv_nsec = UTIME_OMIT;
    set[1].tv_nsec = UTIME_NOW;
    int fd = (int)OK(benchfs_open(fs, "/a/times", O_RDWR));
    OK(benchfs_futimens(fs, fd, set));
    OK(benchfs_fstat(fs, fd, &status));
    IS(ns(later.st_atim), ns(status.st_atim));
    assert_true(ns(status.st_mtim) >= ns(now));
    OK(benchfs_utimensat(fs, fd, NULL, NULL, 0));
    OK(benchfs_fstat(fs, fd, &status));
    assert_true(ns(status.st_atim) >= ns(now));
    set[0].tv_nsec = 1000000000;
    FAILS(EINVAL, benchfs_futimens(fs, fd, set));
    FAILS(ENOENT, benchfs_utimensat(fs, AT_FDCWD, "/a/none", NULL, 0));
    FAILS(EINVAL, benchfs_utimensat(fs, AT_FDCWD, "/a/times", NULL, 0x4000000));

    /* Writing and cutting move the modification time. */
    struct timespec old[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    OK(benchfs_futimens(fs, fd, old));
    IS(1, benchfs_pwrite(fs, fd, "y", 1, 0));
    OK(benchfs_fstat(fs, fd, &status));
    assert_true(ns(status.st_mtim) >= ns(now));
    OK(benchfs_futimens(fs, fd, old));
    OK(benchfs_ftruncate(fs, fd, 0));
    OK(benchfs_fstat(fs, fd, &status));
    assert_true(ns(status.st_mtim) >= ns(now));
    IS(1, benchfs_pwrite(fs, fd, "z", 1, 3 << 20)); /* a chunk that may be elsewhere */
    OK(benchfs_futimens(fs, fd, old));
    IS(1, benchfs_pwrite(fs, fd, "z", 1, 3 << 20));
    OK(benchfs_fstat(fs, fd, &status));
    assert_true(ns(status.st_mtim) >= ns(now));
    OK(benchfs_close(fs, fd));
    OK(benchfs_unlink(fs, "/a/times"));

    /* So do changes of a directory's entries, wherever they are. */
    OK(benchfs_mkdir(fs, "/a/dir", 0755));
    for (int i = 0; i < 12; i++) {
        char path[32];
        snprintf(path, sizeof path, "/a/dir/%d", i);
        OK(benchfs_utimensat(fs, AT_FDCWD, "/a/dir", old, 0));
        OK(benchfs_stat(fs, "/a/dir", &status));
        IS(1000000000, ns(status.st_mtim));
        put_text(fs, path, "");
        OK(benchfs_stat(fs, "/a/dir", &status));
        assert_true(ns(status.st_mtim) >= ns(now));
        OK(benchfs_utimensat(fs, AT_FDCWD, "/a/dir", old, 0));
        OK(benchfs_unlink(fs, path));
        OK(benchfs_stat(fs, "/a/dir", &status));
        assert_true(ns(status.st_mtim) >= ns(now));
    }
    OK(benchfs_rmdir(fs, "/a/dir"));
}

static void counts(void **state)
{
    struct stat status, root;
    struct statvfs before, after;
    (void)state;
    OK(benchfs_mkdir(fs, "/a/n", 0755));
    for (int i = 0; i < 9; i++) {
        char path[32];
        snprintf(path, sizeof path, "/a/n/%d", i);
        OK(benchfs_stat(fs, "/a/n", &status));
        IS(2 + i, status.st_nlink);
        OK(benchfs_mkdir(fs, path, 0755));
    }
    for (int i = 8; i >= 0; i--) {
        char path[32];
        snprintf(path, sizeof path, "/a/n/%d", i);
        OK(benchfs_rmdir(fs, path));
        OK(benchfs_stat(fs, "/a/n", &status));
        IS(2 + i, status.st_nlink);
    }
    OK(benchfs_stat(fs, "/", &root));
    assert_true(S_ISDIR(root.st_mode));
    assert_true(root.st_dev == status.st_dev && root.st_dev != 0);
    OK(benchfs_statvfs(fs, &before));
    assert_true(before.f_blocks > 0 && before.f_bfree <= before.f_blocks);
    assert_int_equal(before.f_namemax, 255);
    char *bytes = calloc(1, 8 << 20);
    put_file(fs, "/a/n/f", bytes, 8 << 20);
    free(bytes);
    OK(benchfs_statvfs(fs, &after));
    assert_true(before.f_bfree - after.f_bfree >= (8 << 20) / after.f_frsize);
    OK(benchfs_stat(fs, "/a/n/f", &status));
    IS(1, status.st_nlink);
    assert_true(status.st_blksize >= 4096);
    OK(benchfs_unlink(fs, "/a/n/f"));
    OK(benchfs_statvfs(fs, &after));
    IS(before.f_bfree, after.f_bfree);
    OK(benchfs_rmdir(fs, "/a/n"));
}

/* ---- an ordinary user ---- */

enum { USER = 65534 };

/* What the other user tries, in a process that belongs to it. cmocka's checks would not reach the parent. */
#define EXPECT(error, call)                                                                                  \
    do {                                                                                                     \
        errno = 0;                                                                                           \
        long result_ = (long)(call);                                                                         \
        if (result_ < 0 ? errno != (error) : (error) != 0) {                                                 \
            fprintf(stderr, "%s: %s, expected %s\n", #call, strerrorname_np(errno), strerrorname_np(error)); \
            return 1;                                                                                        \
        }                                                                                                    \
    } while (0)

static int as_user(benchfs *mine)
{
    struct stat status;
    char buffer[16];
    int fd;
    EXPECT(0, benchfs_stat(mine, "/a/u", &status));
    EXPECT(EACCES, benchfs_stat(mine, "/a/u/closed/x", &status));
    EXPECT(EACCES, benchfs_stat(mine, "/a/u/closed/none", &status));
    EXPECT(EACCES, benchfs_open(mine, "/a/u/closed", O_RDONLY));
    EXPECT(EACCES, benchfs_opendir(mine, "/a/u/closed") == NULL ? -1 : 0);
    EXPECT(0, benchfs_stat(mine, "/a/u/search/x", &status));
    EXPECT(EACCES, benchfs_opendir(mine, "/a/u/search") == NULL ? -1 : 0);
    EXPECT(EACCES, benchfs_open(mine, "/a/u/secret", O_RDONLY));
    EXPECT(EACCES, benchfs_open(mine, "/a/u/secret", O_WRONLY));
    EXPECT(EACCES, benchfs_open(mine, "/a/u/secret", O_RDWR | O_CREAT, 0666));
    EXPECT(0, fd = benchfs_open(mine, "/a/u/readable", O_RDONLY));
    EXPECT(0, benchfs_read(mine, fd, buffer, 4));
    EXPECT(EPERM, benchfs_fchmod(mine, fd, 0777));
    EXPECT(0, benchfs_close(mine, fd));
    EXPECT(EACCES, benchfs_open(mine, "/a/u/readable", O_RDWR));
    EXPECT(EACCES, benchfs_open(mine, "/a/u/readable", O_RDONLY | O_TRUNC));
    EXPECT(EACCES, benchfs_open(mine, "/a/u/readable", O_WRONLY | O_CREAT | O_TRUNC, 0644));
    EXPECT(0,
           fd = benchfs_open(mine, "/a/u/readable", O_RDONLY | O_CREAT, 0644)); /* exists: need not be made */
    EXPECT(0, benchfs_close(mine, fd));
    EXPECT(EACCES, benchfs_truncate(mine, "/a/u/readable", 0));
    EXPECT(0, benchfs_access(mine, "/a/u/readable", R_OK));
    EXPECT(EACCES, benchfs_access(mine, "/a/u/readable", W_OK));
    EXPECT(EACCES, benchfs_access(mine, "/a/u/readable", X_OK));
    EXPECT(EPERM, benchfs_chmod(mine, "/a/u/readable", 0777));
    EXPECT(EPERM, benchfs_fchownat(mine, AT_FDCWD, "/a/u/readable", USER, USER, 0));
    EXPECT(EACCES, benchfs_open(mine, "/a/u/new", O_CREAT | O_RDWR, 0644));
    EXPECT(EACCES, benchfs_mkdir(mine, "/a/u/new", 0755));
    EXPECT(EEXIST, benchfs_mkdir(mine, "/a/u/closed", 0755));
    EXPECT(EACCES, benchfs_symlink(mine, "x", "/a/u/new"));
    EXPECT(EACCES, benchfs_unlink(mine, "/a/u/readable"));
    EXPECT(EACCES, benchfs_rmdir(mine, "/a/u/search"));
    EXPECT(EACCES, benchfs_rename(mine, "/a/u/readable", "/a/u/x"));
    EXPECT(EACCES, benchfs_rename(mine, "/a/u/readable", "/a/u/sticky/x"));
    /* A sticky directory: everybody may add, only owners remove. */
    EXPECT(0, fd = benchfs_open(mine, "/a/u/sticky/mine", O_CREAT | O_RDWR | O_EXCL, 0400));
    EXPECT(0, benchfs_write(mine, fd, "mine", 4)); /* its mode binds later opens, not this one */
    EXPECT(0, benchfs_close(mine, fd));
    EXPECT(EACCES, benchfs_open(mine, "/a/u/sticky/mine", O_RDWR));
    EXPECT(EACCES, benchfs_open(mine, "/a/u/sticky/mine", O_RDWR | O_CREAT, 0400));
    EXPECT(0, benchfs_chmod(mine, "/a/u/sticky/mine", 0600));
    EXPECT(0, benchfs_stat(mine, "/a/u/sticky/mine", &status));
    EXPECT(0, status.st_uid == USER ? 0 : -1);
    EXPECT(EPERM, benchfs_unlink(mine, "/a/u/sticky/root"));
    EXPECT(EPERM, benchfs_rename(mine, "/a/u/sticky/root", "/a/u/sticky/x"));
    EXPECT(EPERM, benchfs_rename(mine, "/a/u/sticky/mine", "/a/u/sticky/root"));
    EXPECT(0, benchfs_rename(mine, "/a/u/sticky/mine", "/a/u/sticky/mine2"));
    EXPECT(0, benchfs_unlink(mine, "/a/u/sticky/mine2"));
    /* Times: now is for those who may write, others are for the owner. */
    struct timespec set[2] = {{.tv_sec = 5}, {.tv_sec = 5}};
    EXPECT(EPERM, benchfs_utimensat(mine, AT_FDCWD, "/a/u/writable", set, 0));
    EXPECT(0, benchfs_utimensat(mine, AT_FDCWD, "/a/u/writable", NULL, 0));
    EXPECT(EACCES, benchfs_utimensat(mine, AT_FDCWD, "/a/u/readable", NULL, 0));
    return 0;
}

static void permissions(void **state)
{
    int go[2], wait[2];
    char byte;
    (void)state;
    if (geteuid() != 0)
        skip();
    OK(benchfs_mkdir(fs, "/a/u", 0755));
    OK(benchfs_mkdir(fs, "/a/u/closed", 0700));
    OK(benchfs_mkdir(fs, "/a/u/search", 0711));
    OK(benchfs_mkdir(fs, "/a/u/sticky", 0755));
    OK(benchfs_chmod(fs, "/a/u/sticky", 01777));
    put_text(fs, "/a/u/closed/x", "x");
    put_text(fs, "/a/u/search/x", "x");
    put_text(fs, "/a/u/sticky/root", "x");
    put_text(fs, "/a/u/secret", "x");
    put_text(fs, "/a/u/readable", "read");
    put_text(fs, "/a/u/writable", "x");
    OK(benchfs_chmod(fs, "/a/u/secret", 0600));
    OK(benchfs_chmod(fs, "/a/u/writable", 0666));
    assert_int_equal(chown(cluster.key, USER, USER), 0);
    assert_int_equal(chmod(cluster.directory, 0755), 0);
    assert_int_equal(pipe(go) | pipe(wait), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(wait[0], STDIN_FILENO);
        dup2(go[1], STDOUT_FILENO);
        if (setresgid(USER, USER, USER) != 0 || setresuid(USER, USER, USER) != 0)
            _exit(2);
        execl("/proc/self/exe", "posix_attributes", "user", (char *)NULL);
        _exit(3);
    }
    close(go[1]);
    if (read(go[0], &byte, 1) == 1) {
        OK(benchfs_chmod(fs, "/a/u/search", 0700));
        IS(1, write(wait[1], "x", 1));
    }
    if (read(go[0], &byte, 1) == 1) {
        OK(benchfs_chmod(fs, "/a/u/search", 0711));
        IS(1, write(wait[1], "x", 1));
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(go[0]);
    close(wait[0]);
    close(wait[1]);
    assert_int_equal(chown(cluster.key, 0, 0), 0);
}

/* The other user's process: does its checks, then says and hears when "/a/u/search" is closed and opened
 * again. */
static int user_main(void)
{
    char byte;
    struct stat status;
    benchfs *mine = benchfs_connect(NULL);
    if (mine == NULL) {
        fprintf(stderr, "%s\n", benchfs_error());
        return 3;
    }
    int result = as_user(mine);
    for (int i = 0; i < 2 && result == 0; i++) {
        if (write(STDOUT_FILENO, "x", 1) != 1 || read(STDIN_FILENO, &byte, 1) != 1)
            return 4;
        errno = 0;
        int found = benchfs_stat(mine, "/a/u/search/x", &status);
        if (i == 0 ? found == 0 || errno != EACCES : found != 0)
            result = 5;
    }
    benchfs_disconnect(mine);
    return result;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "user") == 0)
        return user_main();
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(modes, prepare),
        cmocka_unit_test(times),
        cmocka_unit_test(counts),
        cmocka_unit_test(permissions),
    };
    return POSIX_MAIN(argc, argv, NULL, tests);
}

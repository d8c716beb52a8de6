/* Extended attributes: values and sizes, names and limits, who may what, and that they go with their file. */
#include <sys/wait.h>
#include <sys/xattr.h>

#include "check.h"

#define VALUE_MAX 65536

static unsigned char value[VALUE_MAX + 16], wanted[VALUE_MAX + 16];

static int prepare(void **state)
{
    (void)state;
    pattern_fill(wanted, sizeof wanted, 3, 0);
    put_text(fs, "/x", "text");
    return benchfs_mkdir(fs, "/dir", 0755) < 0 || benchfs_symlink(fs, "/x", "/link") < 0;
}

static void values(void **state)
{
    static const size_t sizes[] = {0, 1, 100, 4096, 4097, 32767, 32768, 65000, VALUE_MAX};
    (void)state;
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t size = sizes[i];
        OK(benchfs_setxattr(fs, "/x", "user.value", wanted, size, 0));
        IS(size, benchfs_getxattr(fs, "/x", "user.value", NULL, 0));
        memset(value, 0xee, sizeof value);
        IS(size, benchfs_getxattr(fs, "/x", "user.value", value, sizeof value));
        assert_memory_equal(value, wanted, size);
        assert_int_equal(value[size], 0xee);
        if (size > 1) {
            FAILS(ERANGE, benchfs_getxattr(fs, "/x", "user.value", value, size - 1));
            IS(size, benchfs_getxattr(fs, "/x", "user.value", value, size));
        }
    }
    FAILS(E2BIG, benchfs_setxattr(fs, "/x", "user.value", wanted, VALUE_MAX + 1, 0));
    FAILS(ENOSPC, benchfs_setxattr(fs, "/x", "user.other", wanted, 1, 0)); /* the file has all it may have */
    OK(benchfs_setxattr(fs, "/x", "user.value", "v", 1, 0));
    FAILS(ENODATA, benchfs_getxattr(fs, "/x", "user.other", value, 10));
    FAILS(ENODATA, benchfs_removexattr(fs, "/x", "user.other"));
    FAILS(ENOENT, benchfs_getxattr(fs, "/none", "user.value", value, 10));
    FAILS(EEXIST, benchfs_setxattr(fs, "/x", "user.value", "w", 1, XATTR_CREATE));
    FAILS(ENODATA, benchfs_setxattr(fs, "/x", "user.other", "w", 1, XATTR_REPLACE));
    FAILS(EINVAL, benchfs_setxattr(fs, "/x", "user.other", "w", 1, 4));
    OK(benchfs_setxattr(fs, "/x", "user.other", "", 0, XATTR_CREATE));
    OK(benchfs_setxattr(fs, "/x", "user.value", "longer", 6, XATTR_REPLACE));
    IS(6, benchfs_getxattr(fs, "/x", "user.value", value, 10));
    assert_memory_equal(value, "longer", 6);
    IS(0, benchfs_getxattr(fs, "/x", "user.other", value, 10));
    OK(benchfs_removexattr(fs, "/x", "user.value"));
    OK(benchfs_removexattr(fs, "/x", "user.other"));
    IS(0, benchfs_listxattr(fs, "/x", NULL, 0));
}

static void names(void **state)
{
    char name[300], list[400];
    (void)state;
    memset(name, 'n', sizeof name);
    memcpy(name, "user.", 5);
    name[255] = '\0';
    OK(benchfs_setxattr(fs, "/x", name, "1", 1, 0));
    IS(256, benchfs_listxattr(fs, "/x", NULL, 0));
    FAILS(ERANGE, benchfs_listxattr(fs, "/x", list, 255));
    IS(256, benchfs_listxattr(fs, "/x", list, sizeof list));
    assert_string_equal(list, name);
    OK(benchfs_removexattr(fs, "/x", name));
    name[255] = 'n';
    name[256] = '\0';
    FAILS(ERANGE, benchfs_setxattr(fs, "/x", name, "1", 1, 0));
    FAILS(ERANGE, benchfs_getxattr(fs, "/x", name, value, 1));
    FAILS(ERANGE, benchfs_setxattr(fs, "/x", "", "1", 1, 0));
    FAILS(EINVAL, benchfs_setxattr(fs, "/x", "user.", "1", 1, 0));
    FAILS(EOPNOTSUPP, benchfs_setxattr(fs, "/x", "user", "1", 1, 0));
    FAILS(EOPNOTSUPP, benchfs_setxattr(fs, "/x", "other.name", "1", 1, 0));
    FAILS(EOPNOTSUPP, benchfs_getxattr(fs, "/x", "other.name", value, 1));
    FAILS(EOPNOTSUPP, benchfs_setxattr(fs, "/x", "system.posix_acl_access", "1", 1, 0));
    FAILS(EOPNOTSUPP, benchfs_getxattr(fs, "/x", "system.posix_acl_access", value, 1));
    FAILS(EOPNOTSUPP, benchfs_getxattr(fs, "/dir", "system.posix_acl_default", value, 1));
    FAILS(EOPNOTSUPP, benchfs_removexattr(fs, "/dir", "system.posix_acl_default"));
    OK(benchfs_setxattr(fs, "/x", "user.a/b c", "slash", 5, 0));
    IS(5, benchfs_getxattr(fs, "/x", "user.a/b c", value, 10));
    OK(benchfs_setxattr(fs, "/x", "user.2", "2", 1, 0));
    OK(benchfs_setxattr(fs, "/x", "trusted.3", "3", 1, 0));
    OK(benchfs_setxattr(fs, "/x", "security.4", "4", 1, 0));
    IS(39, benchfs_listxattr(fs, "/x", list, sizeof list));
    assert_memory_equal(list, "user.a/b c\0user.2\0trusted.3\0security.4", 39);
    OK(benchfs_setxattr(fs, "/x", "user.2", "two", 3, 0));
    IS(1, benchfs_getxattr(fs, "/x", "trusted.3", value, 10));
    assert_int_equal(value[0], '3');
    OK(benchfs_removexattr(fs, "/x", "user.a/b c"));
    OK(benchfs_removexattr(fs, "/x", "user.2"));
    OK(benchfs_removexattr(fs, "/x", "security.4"));
    IS(10, benchfs_listxattr(fs, "/x", list, sizeof list));
    OK(benchfs_removexattr(fs, "/x", "trusted.3"));
}

static void kinds(void **state)
{
    char list[100];
    struct stat before, after;
    (void)state;
    OK(benchfs_setxattr(fs, "/dir", "user.d", "dir", 3, 0));
    OK(benchfs_setxattr(fs, "/", "user.root", "root", 4, 0));
    IS(4, benchfs_getxattr(fs, "/", "user.root", value, 10));
    OK(benchfs_removexattr(fs, "/", "user.root"));
    OK(benchfs_setxattr(fs, "/link", "user.l", "through", 7, 0));
    IS(7, benchfs_getxattr(fs, "/x", "user.l", value, 10));
    FAILS(EPERM, benchfs_lsetxattr(fs, "/link", "user.l", "1", 1, 0));
    FAILS(ENODATA, benchfs_lgetxattr(fs, "/link", "user.l", value, 10));
    FAILS(EPERM, benchfs_lremovexattr(fs, "/link", "user.l"));
    IS(0, benchfs_llistxattr(fs, "/link", list, sizeof list));
    OK(benchfs_lsetxattr(fs, "/link", "trusted.l", "own", 3, 0));
    IS(3, benchfs_lgetxattr(fs, "/link", "trusted.l", value, 10));
    FAILS(ENODATA, benchfs_getxattr(fs, "/link", "trusted.l", value, 10));

    int fd = (int)OK(benchfs_open(fs, "/x", O_RDONLY));
    OK(benchfs_fstat(fs, fd, &before));
    OK(benchfs_fsetxattr(fs, fd, "user.f", "file", 4, 0));
    OK(benchfs_fstat(fs, fd, &after));
    assert_true(after.st_ctim.tv_sec > before.st_ctim.tv_sec ||
                after.st_ctim.tv_nsec > before.st_ctim.tv_nsec);
    assert_int_equal(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
    IS(4, benchfs_fgetxattr(fs, fd, "user.f", value, 10));
    IS(14, benchfs_flistxattr(fs, fd, list, sizeof list));
    assert_memory_equal(list, "user.l\0user.f", 14);
    OK(benchfs_fremovexattr(fs, fd, "user.f"));
    OK(benchfs_close(fs, fd));
    FAILS(EBADF, benchfs_fgetxattr(fs, fd, "user.f", value, 10));
    fd = (int)OK(benchfs_open(fs, "/x", O_PATH));
    FAILS(EBADF, benchfs_fgetxattr(fs, fd, "user.l", value, 10));
    OK(benchfs_close(fs, fd));

    /* They stay through a rename and go with the file. */
    OK(benchfs_rename(fs, "/x", "/dir/renamed"));
    IS(7, benchfs_getxattr(fs, "/dir/renamed", "user.l", value, 10));
    OK(benchfs_unlink(fs, "/dir/renamed"));
    put_text(fs, "/x", "new");
    IS(0, benchfs_listxattr(fs, "/x", list, sizeof list));
    IS(3, benchfs_getxattr(fs, "/dir", "user.d", value, 10));
}

#define USER 4711

/* What a user who is not root is told. */
static void as_user(void **state)
{
    char list[100];
    (void)state;
    FAILS(EACCES, benchfs_setxattr(fs, "/open", "user.u", "1", 1, 0));
    IS(1, benchfs_getxattr(fs, "/open", "user.r", value, 10));
    FAILS(EACCES, benchfs_getxattr(fs, "/closed", "user.r", value, 10));
    FAILS(EPERM, benchfs_setxattr(fs, "/open", "trusted.t", "1", 1, 0));
    FAILS(ENODATA, benchfs_getxattr(fs, "/open", "trusted.t", value, 10));
    FAILS(EPERM, benchfs_setxattr(fs, "/open", "security.s", "1", 1, 0));
    IS(1, benchfs_getxattr(fs, "/open", "security.s", value, 10));
    IS(18, benchfs_listxattr(fs, "/open", list, sizeof list));
    assert_memory_equal(list, "user.r\0security.s", 18);
    FAILS(EPERM, benchfs_setxattr(fs, "/sticky", "user.u", "1", 1, 0));
    OK(benchfs_setxattr(fs, "/wide", "user.u", "1", 1, 0));
}

static void users(void **state)
{
    int status;
    (void)state;
    if (getuid() != 0)
        skip();
    put_text(fs, "/open", "");
    put_text(fs, "/closed", "");
    OK(benchfs_chmod(fs, "/closed", 0600));
    OK(benchfs_mkdir(fs, "/sticky", 0755));
    OK(benchfs_chmod(fs, "/sticky", 01777));
    OK(benchfs_mkdir(fs, "/wide", 0755));
    OK(benchfs_chmod(fs, "/wide", 0777));
    for (int i = 0; i < 2; i++) {
        const char *path = i == 0 ? "/open" : "/closed";
        OK(benchfs_setxattr(fs, path, "user.r", "r", 1, 0));
        OK(benchfs_setxattr(fs, path, "trusted.t", "t", 1, 0));
        OK(benchfs_setxattr(fs, path, "security.s", "s", 1, 0));
    }
    OK(chmod(cluster.directory, 0755));
    OK(chown(cluster.key, USER, USER));
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        if (setresgid(USER, USER, USER) != 0 || setresuid(USER, USER, USER) != 0)
            _exit(2);
        execl("/proc/self/exe", "posix_xattrs", "user", (char *)NULL);
        _exit(3);
    }
    IS(child, waitpid(child, &status, 0));
    OK(chown(cluster.key, 0, 0));
    assert_int_equal(status, 0);
}

/* Many on many files, and the memory comes back. */
static void many(void **state)
{
    struct statvfs before, after;
    char path[32], name[32];
    (void)state;
    for (int round = 0; round < 2; round++) {
        if (round == 1)
            OK(benchfs_statvfs(fs, &before));
        for (int file = 0; file < 100; file++) {
            snprintf(path, sizeof path, "/m%d", file);
            put_text(fs, path, "");
            for (int i = 0; i < 30; i++) {
                snprintf(name, sizeof name, "user.number%d", i);
                OK(benchfs_setxattr(fs, path, name, wanted + i, (size_t)(i * 20), 0));
            }
            for (int i = 29; i >= 0; i--) {
                snprintf(name, sizeof name, "user.number%d", i);
                IS(i * 20, benchfs_getxattr(fs, path, name, value, 1000));
                assert_memory_equal(value, wanted + i, (size_t)(i * 20));
            }
        }
        for (int file = 0; file < 100; file++) {
            snprintf(path, sizeof path, "/m%d", file);
            OK(benchfs_unlink(fs, path));
        }
    }
    OK(benchfs_statvfs(fs, &after));
    assert_int_equal(after.f_ffree, before.f_ffree);
}

/* The other user's process. */
static int user_main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(as_user)};
    fs = benchfs_connect(NULL);
    if (fs == NULL)
        return 4;
    if (freopen("/dev/null", "w", stdout) == NULL)
        return 5;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    benchfs_disconnect(fs);
    return failed;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "user") == 0)
        return user_main();
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(values, prepare),
        cmocka_unit_test(names),
        cmocka_unit_test(kinds),
        cmocka_unit_test(users),
        cmocka_unit_test(many),
    };
    /* Another user's processes cannot share this one's memory: everybody uses the network. */
    static const char *const settings[] = {"server.transports=tcp,self", "server.devices=lo", NULL};
    setenv("UCX_TLS", "tcp,self", 1);
    setenv("UCX_NET_DEVICES", "lo", 1);
    return POSIX_MAIN(argc, argv, settings, tests);
}

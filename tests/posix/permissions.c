/* Who may do what: users, groups and supplementary groups chosen by the calling thread, set-id bits, sticky
 * directories, and who a process is when it has not chosen. */
#include "check.h"

#include <grp.h>
#include <pthread.h>
#include <sys/wait.h>

enum { ALICE = 1000, BOB = 1001, STAFF = 2000, GUESTS = 2001, OTHERS = 2002 };

static void as(uid_t uid, gid_t gid)
{
    OK(benchfs_set_credentials(fs, uid, gid, 0, NULL));
}

static void as_member(uid_t uid, gid_t gid, gid_t group)
{
    OK(benchfs_set_credentials(fs, uid, gid, 1, &group));
}

static void as_root(void)
{
    as(0, 0);
}

static mode_t mode_of(const char *path)
{
    struct stat status;
    OK(benchfs_lstat(fs, path, &status));
    return status.st_mode & 07777;
}

static gid_t group_of(const char *path)
{
    struct stat status;
    OK(benchfs_lstat(fs, path, &status));
    return status.st_gid;
}

/* A file of root's with this group and mode. */
static void put_for(const char *path, uid_t owner, gid_t group, mode_t mode)
{
    put_text(fs, path, "text");
    OK(benchfs_chown(fs, path, owner, group));
    OK(benchfs_chmod(fs, path, mode));
}

static int open_close(const char *path, int flags)
{
    int fd = benchfs_open(fs, path, flags, 0644);
    return fd < 0 ? -1 : benchfs_close(fs, fd);
}

static int prepare(void **state)
{
    (void)state;
    as_root();
    benchfs_umask(fs, 0);
    OK(benchfs_mkdir(fs, "/p", 0777));
    return 0;
}

static int finish(void **state)
{
    (void)state;
    as_root();
    OK(benchfs_rmdir(fs, "/p"));
    return 0;
}

static void supplementary_groups(void **state)
{
    (void)state;
    /* Names on every server, inodes on other servers than their names. */
    for (int i = 0; i < 12; i++) {
        char path[32], moved[32];
        snprintf(path, sizeof path, "/p/f%d", i);
        snprintf(moved, sizeof moved, "/p/m%d", i);
        put_for(path, 0, STAFF, 0060);
        put_for(moved, 0, STAFF, 0060);
        as(ALICE, ALICE);
        FAILS(EACCES, open_close(path, O_RDWR));
        FAILS(EACCES, open_close(path, O_RDWR | O_CREAT));
        FAILS(EACCES, benchfs_truncate(fs, path, 1));
        FAILS(EACCES, benchfs_access(fs, path, R_OK));
        FAILS(EACCES, benchfs_utimensat(fs, AT_FDCWD, path, NULL, 0));
        as_member(ALICE, ALICE, STAFF);
        OK(open_close(path, O_RDWR));
        OK(open_close(path, O_RDWR | O_CREAT));
        OK(benchfs_truncate(fs, path, 1));
        OK(benchfs_access(fs, path, R_OK | W_OK));
        FAILS(EACCES, benchfs_access(fs, path, X_OK));
        OK(benchfs_utimensat(fs, AT_FDCWD, path, NULL, 0));
        as_member(ALICE, ALICE, GUESTS);
        FAILS(EACCES, open_close(path, O_RDONLY));
        as(ALICE, STAFF);
        OK(open_close(path, O_RDONLY));
        as_root();
        OK(benchfs_rename(fs, moved, path));
        as_member(BOB, BOB, STAFF);
        OK(open_close(path, O_RDWR | O_TRUNC));
        as_root();
        OK(benchfs_unlink(fs, path));
    }
    /* Being in the group denies as well as it grants. */
    put_for("/p/denied", 0, STAFF, 0607);
    as_member(ALICE, ALICE, STAFF);
    FAILS(EACCES, open_close("/p/denied", O_RDONLY));
    as(ALICE, ALICE);
    OK(open_close("/p/denied", O_RDONLY));
    as_root();
    OK(benchfs_unlink(fs, "/p/denied"));
}

/* More sets of groups than a session keeps, and large ones. */
static void many_groups(void **state)
{
    enum { SETS = 80, MANY = 1024 };
    static gid_t groups[MANY + 1];
    (void)state;
    put_for("/p/f", 0, 5000, 0040);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < SETS; i++) {
            gid_t pair[3] = {(gid_t)(7000 + i), i % 2 == 0 ? 5000 : 6000, 7000};
            OK(benchfs_set_credentials(fs, ALICE, ALICE, 3, pair));
            if (i % 2 == 0)
                OK(open_close("/p/f", O_RDONLY));
            else
                FAILS(EACCES, open_close("/p/f", O_RDONLY));
        }
    }
    for (int i = 0; i <= MANY; i++)
        groups[i] = (gid_t)(10000 - i);
    OK(benchfs_set_credentials(fs, ALICE, ALICE, MANY, groups));
    FAILS(EACCES, open_close("/p/f", O_RDONLY));
    groups[517] = 5000;
    OK(benchfs_set_credentials(fs, ALICE, ALICE, MANY, groups));
    OK(open_close("/p/f", O_RDONLY));
    FAILS(EINVAL, benchfs_set_credentials(fs, ALICE, ALICE, MANY + 1, groups));
    FAILS(EINVAL, benchfs_set_credentials(fs, ALICE, ALICE, -1, NULL));
    FAILS(EINVAL, benchfs_set_credentials(fs, ALICE, (gid_t)-1, 0, NULL));
    OK(open_close("/p/f", O_RDONLY)); /* as before */
    OK(benchfs_set_credentials(fs, (uid_t)-1, (gid_t)-1, 0, NULL));
    OK(open_close("/p/f", O_RDWR));
    OK(benchfs_unlink(fs, "/p/f"));
}

static void directories_ask_for_groups(void **state)
{
    struct stat status;
    (void)state;
    OK(benchfs_mkdir(fs, "/p/d", 0770));
    OK(benchfs_chown(fs, "/p/d", 0, STAFF));
    OK(benchfs_mkdir(fs, "/p/d/sub", 0777));
    put_text(fs, "/p/d/sub/file", "");
    as_member(ALICE, ALICE, STAFF);
    OK(benchfs_stat(fs, "/p/d/sub/file", &status));
    OK(benchfs_mkdir(fs, "/p/d/mine", 0700));
    /* The path walked last was allowed to another user. */
    as(BOB, BOB);
    FAILS(EACCES, benchfs_stat(fs, "/p/d/sub/file", &status));
    FAILS(EACCES, benchfs_mkdir(fs, "/p/d/mine2", 0700));
    FAILS(EACCES, benchfs_unlink(fs, "/p/d/sub/file"));
    as_member(ALICE, ALICE, STAFF);
    OK(benchfs_stat(fs, "/p/d/sub/file", &status));
    OK(benchfs_unlink(fs, "/p/d/sub/file"));
    OK(benchfs_rmdir(fs, "/p/d/mine"));
    OK(benchfs_rmdir(fs, "/p/d/sub"));
    as_root();
    OK(benchfs_rmdir(fs, "/p/d"));
}

static void changing_mode_and_owner(void **state)
{
    gid_t both[2] = {STAFF, GUESTS};
    (void)state;
    put_for("/p/f", ALICE, STAFF, 0644);
    as(BOB, STAFF);
    FAILS(EPERM, benchfs_chmod(fs, "/p/f", 0600));
    FAILS(EPERM, benchfs_chown(fs, "/p/f", BOB, (gid_t)-1));
    FAILS(EPERM, benchfs_chown(fs, "/p/f", (uid_t)-1, STAFF));
    OK(benchfs_chown(fs, "/p/f", (uid_t)-1, (gid_t)-1));
    as(ALICE, ALICE);
    OK(benchfs_chmod(fs, "/p/f", 0640));
    OK(benchfs_chown(fs, "/p/f", ALICE, STAFF)); /* nothing changes */
    FAILS(EPERM, benchfs_chown(fs, "/p/f", BOB, (gid_t)-1));
    FAILS(EPERM, benchfs_chown(fs, "/p/f", 0, (gid_t)-1));
    FAILS(EPERM, benchfs_chown(fs, "/p/f", (uid_t)-1, GUESTS));
    OK(benchfs_set_credentials(fs, ALICE, ALICE, 2, both));
    OK(benchfs_chown(fs, "/p/f", (uid_t)-1, GUESTS));
    IS(GUESTS, group_of("/p/f"));
    FAILS(EPERM, benchfs_chown(fs, "/p/f", BOB, STAFF));
    IS(GUESTS, group_of("/p/f"));
    OK(benchfs_chown(fs, "/p/f", (uid_t)-1, ALICE));
    IS(ALICE, group_of("/p/f"));
    as_root();
    OK(benchfs_unlink(fs, "/p/f"));
}

static void set_id_bits(void **state)
{
    (void)state;
    put_for("/p/f", ALICE, STAFF, 0777);
    /* chmod sets them, but set-group-id only for a group that one is in. */
    as_member(ALICE, ALICE, STAFF);
    OK(benchfs_chmod(fs, "/p/f", 06777));
    IS(06777, mode_of("/p/f"));
    as(ALICE, ALICE);
    OK(benchfs_chmod(fs, "/p/f", 06777));
    IS(04777, mode_of("/p/f"));
    as_root();
    OK(benchfs_chmod(fs, "/p/f", 06777));
    IS(06777, mode_of("/p/f"));

    /* Root's writes keep them, others' do not. */
    int fd = (int)OK(benchfs_open(fs, "/p/f", O_RDWR));
    IS(1, benchfs_write(fs, fd, "x", 1));
    OK(benchfs_ftruncate(fs, fd, 2));
    IS(06777, mode_of("/p/f"));
    as(BOB, BOB);
    IS(1, benchfs_write(fs, fd, "x", 1));
    IS(0777, mode_of("/p/f"));
    struct {
        const char *what;
        mode_t before, after;
    } cases[] = {
        {"truncate", 06777, 0777},   {"truncate", 02767, 02767}, {"ftruncate", 06777, 0777},
        {"far", 06777, 0777},        {"append", 06777, 0777},    {"O_TRUNC", 06777, 0777},
        {"create", 06777, 0777},     {"chown", 06777, 0777},     {"chown", 02767, 02767},
        {"chown none", 06777, 0777},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *what = cases[i].what;
        as_root();
        OK(benchfs_chmod(fs, "/p/f", cases[i].before));
        as(BOB, BOB);
        if (strcmp(what, "truncate") == 0)
            OK(benchfs_truncate(fs, "/p/f", 1));
        else if (strcmp(what, "ftruncate") == 0)
            OK(benchfs_ftruncate(fs, fd, 3));
        else if (strcmp(what, "far") == 0)
            IS(1, benchfs_pwrite(fs, fd, "x", 1, 7 << 20));
        else if (strcmp(what, "O_TRUNC") == 0)
            OK(open_close("/p/f", O_WRONLY | O_TRUNC));
        else if (strcmp(what, "create") == 0)
            OK(open_close("/p/f", O_WRONLY | O_TRUNC | O_CREAT));
        else if (strcmp(what, "append") == 0) {
            int end = (int)OK(benchfs_open(fs, "/p/f", O_WRONLY | O_APPEND));
            IS(1, benchfs_write(fs, end, "x", 1));
            OK(benchfs_close(fs, end));
        } else {
            as_member(ALICE, ALICE, STAFF);
            OK(benchfs_chown(fs, "/p/f", (uid_t)-1, strcmp(what, "chown") == 0 ? STAFF : (gid_t)-1));
        }
        if (mode_of("/p/f") != cases[i].after)
            fail_msg("%s of %o: %o, expected %o", what, cases[i].before, mode_of("/p/f"), cases[i].after);
    }
    /* Who may not, does not. */
    as_root();
    OK(benchfs_chmod(fs, "/p/f", 06755));
    as(BOB, BOB);
    FAILS(EPERM, benchfs_chown(fs, "/p/f", (uid_t)-1, (gid_t)-1));
    FAILS(EACCES, benchfs_truncate(fs, "/p/f", 0));
    IS(06755, mode_of("/p/f"));
    as_root();
    OK(benchfs_chown(fs, "/p/f", BOB, (gid_t)-1)); /* root's chown clears them as well */
    IS(0755, mode_of("/p/f"));
    OK(benchfs_close(fs, fd));
    OK(benchfs_unlink(fs, "/p/f"));
}

static void set_group_id_directories(void **state)
{
    (void)state;
    OK(benchfs_mkdir(fs, "/p/d", 0777));
    OK(benchfs_chown(fs, "/p/d", 0, STAFF));
    as(ALICE, ALICE);
    put_text(fs, "/p/d/before", "");
    IS(ALICE, group_of("/p/d/before"));
    as_root();
    OK(benchfs_chmod(fs, "/p/d", 02777)); /* known as it was to everybody who has been there */
    as(ALICE, ALICE);
    put_text(fs, "/p/d/f", "");
    IS(STAFF, group_of("/p/d/f"));
    IS(0644, mode_of("/p/d/f"));
    OK(benchfs_mkdir(fs, "/p/d/sub", 0755));
    IS(STAFF, group_of("/p/d/sub"));
    IS(02755, mode_of("/p/d/sub"));
    OK(benchfs_symlink(fs, "x", "/p/d/link"));
    IS(STAFF, group_of("/p/d/link"));
    /* A program for a group that its maker is not in. */
    OK(benchfs_close(fs, (int)OK(benchfs_open(fs, "/p/d/g", O_CREAT | O_EXCL | O_RDWR, 02775))));
    IS(0775, mode_of("/p/d/g"));
    OK(benchfs_unlink(fs, "/p/d/g"));
    as_member(ALICE, ALICE, STAFF);
    OK(benchfs_close(fs, (int)OK(benchfs_open(fs, "/p/d/g", O_CREAT | O_EXCL | O_RDWR, 02775))));
    IS(02775, mode_of("/p/d/g"));
    OK(benchfs_unlink(fs, "/p/d/g"));
    /* The directory's group makes nobody a member of it. */
    as_root();
    OK(benchfs_chmod(fs, "/p/d/f", 0660));
    as(BOB, BOB);
    FAILS(EACCES, open_close("/p/d/f", O_RDWR | O_CREAT));
    as_root();
    OK(benchfs_chown(fs, "/p/d/f", ALICE, BOB));
    as(BOB, BOB);
    OK(open_close("/p/d/f", O_RDWR | O_CREAT));
    as_root();
    OK(benchfs_unlink(fs, "/p/d/f"));
    OK(benchfs_unlink(fs, "/p/d/before"));
    OK(benchfs_unlink(fs, "/p/d/link"));
    OK(benchfs_rmdir(fs, "/p/d/sub"));
    OK(benchfs_rmdir(fs, "/p/d"));
}

static void sticky_directories(void **state)
{
    struct stat status;
    (void)state;
    OK(benchfs_mkdir(fs, "/p/s", 0777));
    OK(benchfs_chown(fs, "/p/s", BOB, BOB));
    as(ALICE, ALICE);
    OK(benchfs_stat(fs, "/p/s", &status)); /* known without the bit */
    put_text(fs, "/p/s/alice", "");
    OK(benchfs_mkdir(fs, "/p/s/alices", 0777));
    as(ALICE + 7, ALICE);
    put_text(fs, "/p/s/eve", "");
    put_text(fs, "/p/eves", "");
    as_root();
    OK(benchfs_chmod(fs, "/p/s", 01777));
    as(ALICE + 7, ALICE);
    FAILS(EPERM, benchfs_unlink(fs, "/p/s/alice"));
    FAILS(EPERM, benchfs_rmdir(fs, "/p/s/alices"));
    FAILS(EPERM, benchfs_rename(fs, "/p/s/alice", "/p/s/stolen"));
    FAILS(EPERM, benchfs_rename(fs, "/p/s/alice", "/p/stolen"));
    FAILS(EPERM, benchfs_rename(fs, "/p/s/eve", "/p/s/alice"));
    FAILS(EPERM, benchfs_rename(fs, "/p/eves", "/p/s/alice"));
    OK(benchfs_rename(fs, "/p/s/eve", "/p/s/eve2"));
    OK(benchfs_unlink(fs, "/p/s/eve2"));
    as(ALICE, ALICE);
    OK(benchfs_unlink(fs, "/p/s/alice"));
    as(BOB, GUESTS); /* the directory's owner */
    OK(benchfs_rmdir(fs, "/p/s/alices"));
    as_root();
    OK(benchfs_unlink(fs, "/p/eves"));
    OK(benchfs_rmdir(fs, "/p/s"));
}

/* A directory that moves changes its "..". */
static void moving_a_directory_writes_to_it(void **state)
{
    (void)state;
    OK(benchfs_mkdir(fs, "/p/from", 0777));
    OK(benchfs_mkdir(fs, "/p/to", 0777));
    OK(benchfs_mkdir(fs, "/p/from/d", 0755));
    OK(benchfs_chown(fs, "/p/from/d", BOB, STAFF));
    as(ALICE, ALICE);
    FAILS(EACCES, benchfs_rename(fs, "/p/from/d", "/p/to/d"));
    OK(benchfs_rename(fs, "/p/from/d", "/p/from/e"));
    as_root();
    OK(benchfs_chmod(fs, "/p/from/e", 0775));
    as_member(ALICE, ALICE, STAFF);
    OK(benchfs_rename(fs, "/p/from/e", "/p/to/d"));
    as_root();
    OK(benchfs_rmdir(fs, "/p/to/d"));
    OK(benchfs_rmdir(fs, "/p/to"));
    OK(benchfs_rmdir(fs, "/p/from"));
}

static void setting_times(void **state)
{
    struct timespec set[2] = {{.tv_sec = 5}, {.tv_sec = 5}},
                    now[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};
    struct timespec mixed[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_OMIT}};
    struct timespec omit[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_OMIT}};
    (void)state;
    put_for("/p/f", ALICE, STAFF, 0060);
    as(ALICE, ALICE); /* the owner, who may not write */
    OK(benchfs_utimensat(fs, AT_FDCWD, "/p/f", set, 0));
    OK(benchfs_utimensat(fs, AT_FDCWD, "/p/f", now, 0));
    OK(benchfs_utimensat(fs, AT_FDCWD, "/p/f", mixed, 0));
    as_member(BOB, BOB, STAFF); /* may write */
    OK(benchfs_utimensat(fs, AT_FDCWD, "/p/f", NULL, 0));
    OK(benchfs_utimensat(fs, AT_FDCWD, "/p/f", now, 0));
    OK(benchfs_utimensat(fs, AT_FDCWD, "/p/f", omit, 0));
    FAILS(EPERM, benchfs_utimensat(fs, AT_FDCWD, "/p/f", set, 0));
    FAILS(EPERM, benchfs_utimensat(fs, AT_FDCWD, "/p/f", mixed, 0));
    as(BOB, BOB);
    FAILS(EACCES, benchfs_utimensat(fs, AT_FDCWD, "/p/f", NULL, 0));
    FAILS(EACCES, benchfs_utimensat(fs, AT_FDCWD, "/p/f", now, 0));
    FAILS(EPERM, benchfs_utimensat(fs, AT_FDCWD, "/p/f", set, 0));
    OK(benchfs_utimensat(fs, AT_FDCWD, "/p/f", omit, 0));
    as_root();
    OK(benchfs_unlink(fs, "/p/f"));
}

static void opening_without_access_times(void **state)
{
    (void)state;
    put_for("/p/f", ALICE, STAFF, 0666);
    as(BOB, BOB);
    FAILS(EPERM, open_close("/p/f", O_RDONLY | O_NOATIME));
    FAILS(EPERM, open_close("/p/f", O_RDWR | O_NOATIME | O_CREAT | O_TRUNC));
    as(ALICE, ALICE);
    expect_text(fs, "/p/f", "text"); /* not cut */
    OK(open_close("/p/f", O_RDONLY | O_NOATIME));
    as_root();
    OK(open_close("/p/f", O_RDONLY | O_NOATIME));
    OK(benchfs_unlink(fs, "/p/f"));
}

static void asking_for_access(void **state)
{
    (void)state;
    put_for("/p/f", ALICE, STAFF, 0604);
    OK(benchfs_symlink(fs, "f", "/p/link"));
    OK(benchfs_access(fs, "/p/f", R_OK | W_OK));
    FAILS(EACCES, benchfs_access(fs, "/p/f", X_OK)); /* even root: nobody may execute it */
    OK(benchfs_chmod(fs, "/p/f", 0614));
    OK(benchfs_access(fs, "/p/f", X_OK));
    OK(benchfs_access(fs, "/p", R_OK | W_OK | X_OK));
    as(ALICE, ALICE);
    OK(benchfs_faccessat(fs, AT_FDCWD, "/p/f", R_OK | W_OK, AT_EACCESS));
    FAILS(EACCES, benchfs_faccessat(fs, AT_FDCWD, "/p/f", X_OK, AT_EACCESS));
    OK(benchfs_euidaccess(fs, "/p/f", R_OK));
    as(BOB, STAFF);
    FAILS(EACCES, benchfs_access(fs, "/p/link", R_OK));
    OK(benchfs_access(fs, "/p/link", X_OK));
    OK(benchfs_faccessat(fs, AT_FDCWD, "/p/link", R_OK, AT_SYMLINK_NOFOLLOW));
    int fd = (int)OK(benchfs_open(fs, "/p/f", O_PATH));
    FAILS(EACCES, benchfs_faccessat(fs, fd, "", R_OK, AT_EMPTY_PATH));
    OK(benchfs_faccessat(fs, fd, "", X_OK, AT_EMPTY_PATH));
    OK(benchfs_close(fs, fd));
    FAILS(EINVAL, benchfs_access(fs, "/p/f", 8));
    FAILS(EINVAL, benchfs_faccessat(fs, AT_FDCWD, "/p/f", R_OK, 0x4000000));
    FAILS(ENOENT, benchfs_access(fs, "/p/none", F_OK));
    as_root();
    OK(benchfs_unlink(fs, "/p/f"));
    OK(benchfs_unlink(fs, "/p/link"));
}

/* ---- who a thread and a process are ---- */

static void *opens_as_before(void *argument)
{
    (void)argument;
    int fd = benchfs_open(fs, "/p/f", O_RDONLY);
    return fd < 0 || benchfs_close(fs, fd) != 0 ? fs : NULL;
}

static void threads_choose_for_themselves(void **state)
{
    pthread_t thread;
    void *failed;
    (void)state;
    put_for("/p/f", 0, 0, 0600);
    as(ALICE, ALICE);
    FAILS(EACCES, open_close("/p/f", O_RDONLY));
    assert_int_equal(pthread_create(&thread, NULL, opens_as_before, NULL), 0);
    pthread_join(thread, &failed);
    assert_null(failed);
    as_root();
    OK(benchfs_unlink(fs, "/p/f"));
}

/* In the child: -1 as errno says. */
static int child_opens(int error)
{
    errno = 0;
    int fd = benchfs_open(fs, "/p/f", O_RDONLY);
    if (fd >= 0)
        return error == 0 ? 0 : 10;
    if (errno != error)
        fprintf(stderr, "open: %s\n", strerror(errno));
    return errno == error ? 0 : 11;
}

static int ends_with(pid_t child)
{
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static void children_are_who_they_become(void **state)
{
    gid_t staff = STAFF;
    (void)state;
    if (geteuid() != 0)
        skip();
    put_for("/p/f", 0, STAFF, 0040);
    OK(benchfs_set_credentials(fs, (uid_t)-1, (gid_t)-1, 0, NULL));
    for (int member = 0; member < 2; member++) {
        pid_t child = fork();
        if (child == 0) {
            /* The servers' shared memory is root's: connect before becoming somebody else. */
            if (child_opens(0) != 0)
                _exit(3);
            if (setgroups((size_t)member, &staff) != 0 || setresgid(ALICE, ALICE, ALICE) != 0 ||
                setresuid(ALICE, ALICE, ALICE) != 0)
                _exit(2);
            if (child_opens(0) != 0 || benchfs_set_credentials(fs, (uid_t)-1, (gid_t)-1, 0, NULL) != 0)
                _exit(4);
            _exit(child_opens(member ? 0 : EACCES));
        }
        assert_int_equal(ends_with(child), 0);
    }
    /* A set-user-id program: access asks for the real user. */
    OK(benchfs_chmod(fs, "/p/f", 0400));
    pid_t child = fork();
    if (child == 0) {
        if (setresuid(ALICE, 0, 0) != 0)
            _exit(2);
        if (child_opens(0) != 0)
            _exit(3);
        if (benchfs_access(fs, "/p/f", R_OK) == 0 || errno != EACCES)
            _exit(4);
        if (benchfs_euidaccess(fs, "/p/f", R_OK) != 0)
            _exit(5);
        _exit(child_opens(0));
    }
    assert_int_equal(ends_with(child), 0);
    /* What the thread has chosen stays chosen in its child. */
    as(ALICE, ALICE);
    child = fork();
    if (child == 0)
        _exit(child_opens(EACCES));
    assert_int_equal(ends_with(child), 0);
    as_root();
    OK(benchfs_unlink(fs, "/p/f"));
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(supplementary_groups, prepare, finish),
        cmocka_unit_test_setup_teardown(many_groups, prepare, finish),
        cmocka_unit_test_setup_teardown(directories_ask_for_groups, prepare, finish),
        cmocka_unit_test_setup_teardown(changing_mode_and_owner, prepare, finish),
        cmocka_unit_test_setup_teardown(set_id_bits, prepare, finish),
        cmocka_unit_test_setup_teardown(set_group_id_directories, prepare, finish),
        cmocka_unit_test_setup_teardown(sticky_directories, prepare, finish),
        cmocka_unit_test_setup_teardown(moving_a_directory_writes_to_it, prepare, finish),
        cmocka_unit_test_setup_teardown(setting_times, prepare, finish),
        cmocka_unit_test_setup_teardown(opening_without_access_times, prepare, finish),
        cmocka_unit_test_setup_teardown(asking_for_access, prepare, finish),
        cmocka_unit_test_setup_teardown(threads_choose_for_themselves, prepare, finish),
        cmocka_unit_test_setup_teardown(children_are_who_they_become, prepare, finish),
    };
    return POSIX_MAIN(argc, argv, NULL, tests);
}

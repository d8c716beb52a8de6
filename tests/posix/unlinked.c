/* Files and directories that lose their last name while they are open. */
#include "check.h"
#include "peer.h"

#include <pthread.h>
#include <time.h>

#define BIG (5u << 20)

static char bytes[BIG], got[BIG];

static uint64_t used(benchfs *where)
{
    struct statvfs status;
    OK(benchfs_statvfs(where, &status));
    return status.f_blocks - status.f_bfree;
}

/* Waits until the servers use no more than so many blocks: what another process or thread closed is told with
 * one of its next calls, and memory that a transfer has just sent from is free a moment later. */
static bool falls_to(benchfs *where, uint64_t blocks)
{
    for (unsigned i = 0; i < 2000 && used(where) > blocks; i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    return used(where) <= blocks;
}

/* Everything that one may do with an open file; it has no name. */
static void use_file(benchfs *where, int fd, uint64_t seed)
{
    struct stat status;
    pattern_fill(bytes, BIG, seed, 0);
    OK(benchfs_ftruncate(where, fd, 0));
    IS(100, benchfs_pwrite(where, fd, bytes, 100, 0));
    IS(100, benchfs_pread(where, fd, got, BIG, 0));
    IS(BIG - 100, benchfs_pwrite(where, fd, bytes + 100, BIG - 100, 100));
    IS(BIG, benchfs_pread(where, fd, got, BIG, 0));
    IS(-1, pattern_differs(got, BIG, seed, 0));
    OK(benchfs_fsync(where, fd));
    OK(benchfs_fstat(where, fd, &status));
    IS(BIG, status.st_size);
    IS(0, status.st_nlink);
    OK(benchfs_fchmod(where, fd, 0640));
    OK(benchfs_futimens(where, fd, (struct timespec[2]){{.tv_sec = 5}, {.tv_sec = 6}}));
    OK(benchfs_fstat(where, fd, &status));
    IS(0640, status.st_mode & 07777);
    IS(6, status.st_mtim.tv_sec);
    OK(benchfs_ftruncate(where, fd, 70000));
    IS(70000, benchfs_pread(where, fd, got, BIG, 0));
    IS(-1, pattern_differs(got, 70000, seed, 0));
    OK(benchfs_ftruncate(where, fd, 3));
    IS(3, benchfs_lseek(where, fd, 0, SEEK_END));
}

static void a_file_lives_until_it_is_closed(void **state)
{
    (void)state;
    struct stat status;
    uint64_t before = used(fs);
    for (unsigned i = 0; i < 8; i++) { /* on any server */
        char path[32];
        snprintf(path, sizeof path, "/file%u", i);
        int fd = (int)OK(benchfs_open(fs, path, O_RDWR | O_CREAT | O_EXCL, 0600));
        int other = (int)OK(benchfs_open(fs, path, O_RDWR));
        IS(5, benchfs_write(fs, fd, "hello", 5));
        OK(benchfs_unlink(fs, path));
        FAILS(ENOENT, benchfs_stat(fs, path, &status));
        FAILS(ENOENT, benchfs_open(fs, path, O_RDWR));
        IS(5, benchfs_pread(fs, other, got, 10, 0));
        use_file(fs, fd, i);
        IS(BIG, benchfs_pwrite(fs, fd, bytes, BIG, 0));
        /* Another file of that name is another file. */
        put_text(fs, path, "another");
        OK(benchfs_close(fs, fd));
        IS(BIG, benchfs_pread(fs, other, got, BIG, 0));
        use_file(fs, other, i);
        expect_text(fs, path, "another");
        OK(benchfs_unlink(fs, path));
        OK(benchfs_close(fs, other));
        assert_true(falls_to(fs, before));
    }
}

/* Inline data, a symbolic link's inode, a replaced file, one of several names. */
static void what_rename_replaces_lives_too(void **state)
{
    (void)state;
    struct stat status, after;
    OK(benchfs_mkdir(fs, "/r", 0755));
    for (unsigned i = 0; i < 12; i++) {
        char old[32], new[32], link[32];
        snprintf(old, sizeof old, "/r/old%u", i);
        snprintf(new, sizeof new, "/r/new%u", i);
        snprintf(link, sizeof link, "/r/link%u", i);
        put_text(fs, new, "replaced");
        put_text(fs, old, "replacing");
        int fd = (int)OK(benchfs_open(fs, new, O_RDWR));
        OK(benchfs_fstat(fs, fd, &status));
        OK(benchfs_link(fs, new, link));
        OK(benchfs_rename(fs, old, new));
        OK(benchfs_fstat(fs, fd, &after));
        IS(1, after.st_nlink);
        OK(benchfs_rename(fs, new, link));
        OK(benchfs_fstat(fs, fd, &after));
        IS(0, after.st_nlink);
        IS(status.st_ino, after.st_ino);
        IS(8, benchfs_pread(fs, fd, got, 100, 0));
        assert_memory_equal(got, "replaced", 8);
        use_file(fs, fd, i);
        OK(benchfs_close(fs, fd));
        expect_text(fs, link, "replacing");
        /* After the rename the entry and its inode may be on different servers. */
        fd = (int)OK(benchfs_open(fs, link, O_RDWR));
        int created = (int)OK(benchfs_open(fs, link, O_RDWR | O_CREAT, 0644));
        OK(benchfs_unlink(fs, link));
        use_file(fs, fd, i);
        OK(benchfs_close(fs, fd));
        use_file(fs, created, i);
        OK(benchfs_close(fs, created));
    }
    OK(benchfs_rmdir(fs, "/r"));
}

static void a_directory_that_is_open(void **state)
{
    (void)state;
    struct stat status;
    OK(benchfs_mkdir(fs, "/parent", 0755));
    for (unsigned i = 0; i < 6; i++) {
        char path[32], other[40];
        snprintf(path, sizeof path, "/parent/d%u", i);
        snprintf(other, sizeof other, "%s_other", path);
        OK(benchfs_mkdir(fs, path, 0755));
        int fd = (int)OK(benchfs_open(fs, path, O_RDONLY | O_DIRECTORY));
        benchfs_dir *stream = benchfs_opendir(fs, path);
        assert_non_null(stream);
        if (i % 2 == 0) {
            OK(benchfs_rmdir(fs, path));
        } else {
            OK(benchfs_mkdir(fs, other, 0755));
            OK(benchfs_rename(fs, other, path));
        }
        OK(benchfs_fstat(fs, fd, &status));
        assert_true(S_ISDIR(status.st_mode));
        IS(0, status.st_nlink);
        OK(benchfs_fstatat(fs, fd, "", &status, AT_EMPTY_PATH));
        OK(benchfs_fchmod(fs, fd, 0700));
        FAILS(ENOENT, benchfs_openat(fs, fd, "x", O_RDWR | O_CREAT, 0644));
        FAILS(ENOENT, benchfs_mkdirat(fs, fd, "x", 0755));
        FAILS(ENOENT, benchfs_symlinkat(fs, "x", fd, "x"));
        FAILS(ENOENT, benchfs_fstatat(fs, fd, "x", &status, 0));
        FAILS(ENOENT, benchfs_linkat(fs, AT_FDCWD, "/parent", fd, "x", 0));
        FAILS(ENOENT, benchfs_renameat(fs, AT_FDCWD, "/parent", fd, "x"));
        for (struct dirent *entry; (entry = benchfs_readdir(stream)) != NULL;)
            assert_int_equal(entry->d_name[0], '.');
        if (i % 2 == 0) {
            FAILS(ENOENT, benchfs_stat(fs, path, &status));
            snprintf(other, sizeof other, "%s/..", path);
            FAILS(ENOENT, benchfs_stat(fs, other, &status));
            snprintf(other, sizeof other, "%s/.", path);
            FAILS(ENOENT, benchfs_stat(fs, other, &status));
            FAILS(ENOENT, benchfs_open(fs, other, O_RDONLY));
        } else {
            OK(benchfs_rmdir(fs, path));
        }
        OK(benchfs_closedir(stream));
        OK(benchfs_fstat(fs, fd, &status));
        OK(benchfs_close(fs, fd));
    }
    IS(2, (OK(benchfs_stat(fs, "/parent", &status)), status.st_nlink));
    OK(benchfs_rmdir(fs, "/parent"));
}

/* ---- several processes ---- */

static int peer_fd = -1;

static int peer_open(benchfs *mine, int number)
{
    struct stat status;
    char text[8];
    switch (number) {
    case 0:
        MUST((peer_fd = benchfs_open(mine, "/shared", O_RDWR)) >= 0);
        return 0;
    case 1: /* it was unlinked, and closed by whoever made it */
        MUST(benchfs_pread(mine, peer_fd, text, sizeof text, 0) == 4 && memcmp(text, "text", 4) == 0);
        MUST(benchfs_fstat(mine, peer_fd, &status) == 0 && status.st_nlink == 0);
        pattern_fill(bytes, BIG, 9, 0);
        MUST(benchfs_pwrite(mine, peer_fd, bytes, BIG, 0) == BIG);
        MUST(benchfs_pread(mine, peer_fd, got, BIG, 0) == BIG);
        MUST(pattern_differs(got, BIG, 9, 0) == -1);
        return 0;
    case 2:
        MUST(benchfs_close(mine, peer_fd) == 0);
        return 0;
    case 3: /* a file that somebody closed but whose client has said nothing since */
        MUST((peer_fd = benchfs_open(mine, "/quiet", O_RDWR)) >= 0);
        MUST(benchfs_close(mine, peer_fd) == 0);
        return 0;
    case 4:
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        MUST(benchfs_stat(mine, "/", &status) == 0);
        return 0;
    case 5: /* unlinks what the other has open */
        MUST(benchfs_unlink(mine, "/theirs") == 0);
        return 0;
    default:
        return 1;
    }
}

static void another_process_has_it_open(void **state)
{
    (void)state;
    struct peer peer;
    uint64_t before = used(fs);
    peer_start(&peer, peer_open);
    int fd = (int)OK(benchfs_open(fs, "/shared", O_RDWR | O_CREAT | O_EXCL, 0644));
    IS(4, benchfs_write(fs, fd, "text", 4));
    peer_turn(&peer, 0);
    OK(benchfs_unlink(fs, "/shared"));
    OK(benchfs_close(fs, fd));
    peer_turn(&peer, 1);
    assert_true(used(fs) >= before + BIG / 4096);
    peer_turn(&peer, 2);
    assert_true(falls_to(fs, before));

    pattern_fill(bytes, BIG, 1, 0);
    put_file(fs, "/quiet", bytes, BIG);
    peer_turn(&peer, 3);
    OK(benchfs_unlink(fs, "/quiet"));
    peer_turn(&peer, 4);
    assert_true(falls_to(fs, before));

    fd = (int)OK(benchfs_open(fs, "/theirs", O_RDWR | O_CREAT | O_EXCL, 0644));
    IS(BIG, benchfs_write(fs, fd, bytes, BIG));
    peer_turn(&peer, 5);
    IS(BIG, benchfs_pread(fs, fd, got, BIG, 0));
    IS(-1, pattern_differs(got, BIG, 1, 0));
    use_file(fs, fd, 4);
    OK(benchfs_close(fs, fd));
    assert_true(falls_to(fs, before));
    peer_stop(&peer);
}

/* ---- threads ---- */

static void *open_and_end(void *argument)
{
    (void)argument;
    return (void *)(intptr_t)benchfs_open(fs, "/threaded", O_RDWR | O_CREAT, 0644);
}

static void *unlink_it(void *argument)
{
    return (void *)(intptr_t)benchfs_unlink(fs, argument);
}

static void *close_it(void *argument)
{
    return (void *)(intptr_t)benchfs_close(fs, (int)(intptr_t)argument);
}

static void *in_thread(void *(*run)(void *argument), void *argument)
{
    pthread_t thread;
    void *result;
    IS(0, pthread_create(&thread, NULL, run, argument));
    IS(0, pthread_join(thread, &result));
    return result;
}

/* The thread that opened it, the one that unlinks it and the one that closes it are different, and gone. */
static void threads_come_and_go(void **state)
{
    (void)state;
    uint64_t before = used(fs);
    for (unsigned i = 0; i < 20; i++) {
        int fd = (int)(intptr_t)in_thread(open_and_end, NULL);
        assert_true(fd >= 0);
        IS(0, (intptr_t)in_thread(unlink_it, (char *)"/threaded"));
        use_file(fs, fd, i);
        IS(0, (intptr_t)in_thread(close_it, (void *)(intptr_t)fd));
    }
    assert_true(falls_to(fs, before));
}

/* ---- fork ---- */

/* Exits with 0 if the file is there and works as it should. */
static _Noreturn void child_uses(int fd, int after)
{
    char byte;
    bool good = read(after, &byte, 1) >= 0; /* until told, or until nobody is left to tell */
    good = good && benchfs_pread(fs, fd, got, 10, 0) == 4 && memcmp(got, "text", 4) == 0;
    good = good && benchfs_pwrite(fs, fd, bytes, BIG, 4) == BIG && benchfs_pread(fs, fd, got, BIG, 4) == BIG;
    good = good && memcmp(bytes, got, BIG) == 0 && benchfs_close(fs, fd) == 0;
    _exit(good ? 0 : 1);
}

static int make_unlinked(void)
{
    int fd = (int)OK(benchfs_open(fs, "/forked", O_RDWR | O_CREAT | O_EXCL, 0644));
    IS(4, benchfs_write(fs, fd, "text", 4));
    OK(benchfs_unlink(fs, "/forked"));
    pattern_fill(bytes, BIG, 3, 0);
    return fd;
}

static void expect_exit(pid_t pid)
{
    int status = -1;
    IS(pid, waitpid(pid, &status, 0));
    IS(0, status);
}

/* Something that this process does with another file; closes kept back are told on such occasions. */
static bool falls_to_after_calls(uint64_t blocks)
{
    for (unsigned i = 0; i < 2000 && used(fs) > blocks; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        OK(benchfs_close(fs, (int)OK(benchfs_open(fs, "/", O_RDONLY))));
    }
    return used(fs) <= blocks;
}

/* The parent closes before the child has said anything. */
static void a_child_keeps_it(void **state)
{
    (void)state;
    uint64_t before = used(fs);
    for (unsigned i = 0; i < 3; i++) {
        int tell[2], fd = make_unlinked();
        IS(0, pipe(tell));
        pid_t child = fork();
        if (child == 0) {
            close(tell[1]);
            child_uses(fd, tell[0]);
        }
        close(tell[0]);
        OK(benchfs_close(fs, fd));
        OK(benchfs_mkdir(fs, "/between", 0755));
        OK(benchfs_rmdir(fs, "/between"));
        close(tell[1]);
        expect_exit(child);
        assert_true(falls_to_after_calls(before));
    }
}

/* Both have it; whoever closes last frees it. */
static void parent_and_child_have_it(void **state)
{
    (void)state;
    uint64_t before = used(fs);
    int tell[2], fd = make_unlinked();
    IS(0, pipe(tell));
    close(tell[1]);
    pid_t child = fork();
    if (child == 0)
        child_uses(fd, tell[0]);
    close(tell[0]);
    expect_exit(child);
    IS(BIG, benchfs_pread(fs, fd, got, BIG, 4));
    assert_memory_equal(bytes, got, BIG);
    assert_true(used(fs) >= before + BIG / 4096);
    OK(benchfs_close(fs, fd));
    assert_true(falls_to_after_calls(before));
}

/* The child ends without a call: nothing is kept back for ever. */
static void a_child_that_does_nothing(void **state)
{
    (void)state;
    uint64_t before = used(fs);
    int tell[2], fd = make_unlinked();
    char byte;
    IS(BIG, benchfs_pwrite(fs, fd, bytes, BIG, 0));
    IS(0, pipe(tell));
    pid_t child = fork();
    if (child == 0) {
        close(tell[1]);
        benchfs_close(fs, fd);
        _exit(read(tell[0], &byte, 1) != 0);
    }
    OK(benchfs_close(fs, fd));
    close(tell[0]);
    close(tell[1]);
    expect_exit(child);
    assert_true(falls_to_after_calls(before));
}

/* A child that only forks, and a parent that ends first. */
static void a_grandchild_keeps_it(void **state)
{
    (void)state;
    int told[2], ended[2], fd = make_unlinked();
    char byte = 0;
    IS(0, pipe(told));
    IS(0, pipe(ended));
    pid_t child = fork();
    if (child == 0) {
        close(told[1]);
        close(ended[0]);
        pid_t grandchild = fork();
        if (grandchild == 0) {
            child_uses(fd, told[0]); /* `ended` closes with it */
        }
        int status = -1;
        close(told[0]);
        close(ended[1]);
        _exit(grandchild < 0 || waitpid(grandchild, &status, 0) != grandchild || status != 0);
    }
    close(told[0]);
    close(ended[1]);
    OK(benchfs_close(fs, fd));
    OK(benchfs_mkdir(fs, "/between", 0755));
    OK(benchfs_rmdir(fs, "/between"));
    close(told[1]);
    IS(0, read(ended[0], &byte, 1));
    close(ended[0]);
    expect_exit(child);

    /* The one that had opened it is dead by the time. */
    IS(0, pipe(told));
    IS(0, pipe(ended));
    child = fork();
    if (child == 0) {
        close(told[1]);
        fd = benchfs_open(fs, "/orphaned", O_RDWR | O_CREAT, 0644);
        if (fd < 0 || benchfs_write(fs, fd, "text", 4) != 4 || benchfs_unlink(fs, "/orphaned") < 0)
            _exit(1);
        if (fork() == 0) {
            byte = 'x';
            close(ended[0]);
            /* When this one's parent has ended, it tells how it went by a byte. */
            pid_t uses = fork();
            if (uses == 0)
                child_uses(fd, told[0]);
            int status = -1;
            if (waitpid(uses, &status, 0) != uses || status != 0 || write(ended[1], &byte, 1) != 1)
                _exit(1);
        }
        _exit(0);
    }
    close(told[0]);
    close(ended[1]);
    expect_exit(child);
    close(told[1]);
    IS(1, read(ended[0], &byte, 1));
    close(ended[0]);
}

int main(int argc, char **argv)
{
    static const char *const settings[] = {"cluster.chunk_size=64KiB", NULL};
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_lives_until_it_is_closed),
        cmocka_unit_test(what_rename_replaces_lives_too),
        cmocka_unit_test(a_directory_that_is_open),
        cmocka_unit_test(another_process_has_it_open),
        cmocka_unit_test(threads_come_and_go),
        cmocka_unit_test(a_child_keeps_it),
        cmocka_unit_test(parent_and_child_have_it),
        cmocka_unit_test(a_child_that_does_nothing),
        cmocka_unit_test(a_grandchild_keeps_it),
    };
    return POSIX_MAIN(argc, argv, settings, tests);
}

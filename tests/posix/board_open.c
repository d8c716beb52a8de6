/* Files that are opened by what the server shows, without a message: they are open like any other. Nobody
 * loses one that another process removes, and what nobody has open any more is free. */
#include "peer.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define TEXT "what is in it"
#define ROUNDS 1500u /* of unlinking under an opener's hands */

static uint64_t file_count(void)
{
    struct statvfs totals;
    assert_int_equal(benchfs_statvfs(fs, &totals), 0);
    return totals.f_files - totals.f_ffree;
}

/* A close is told within 10 ms, a death is noticed soon. */
static void wait_for_count(uint64_t wanted)
{
    for (double until = seconds() + 10; file_count() != wanted && seconds() < until;)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    assert_int_equal(file_count(), wanted);
}

/* So often that it is on the board, and the server looks at what we hold. */
static int open_often(benchfs *mine, const char *path)
{
    for (unsigned i = 0; i < 32; i++) {
        int fd = benchfs_open(mine, path, O_RDONLY);
        char text[64];
        if (fd < 0 || benchfs_read(mine, fd, text, sizeof text) < 0 || benchfs_close(mine, fd) < 0)
            return -1;
    }
    return 0;
}

static bool has_text(benchfs *mine, int fd)
{
    char text[64];
    return benchfs_pread(mine, fd, text, sizeof text, 0) == (ssize_t)strlen(TEXT) &&
           memcmp(text, TEXT, strlen(TEXT)) == 0;
}

/* In several ranges, and from an odd offset, and beyond the end. */
static bool has_text_in_parts(benchfs *mine, int fd)
{
    char first[3], second[4], third[64];
    struct iovec parts[] = {{first, sizeof first}, {second, sizeof second}, {third, sizeof third}};
    return benchfs_preadv(mine, fd, parts, 3, 0) == (ssize_t)strlen(TEXT) &&
           memcmp(first, TEXT, sizeof first) == 0 &&
           memcmp(second, &TEXT[sizeof first], sizeof second) == 0 &&
           memcmp(third, &TEXT[sizeof first + sizeof second], strlen(TEXT) - sizeof first - sizeof second) ==
               0 &&
           benchfs_pread(mine, fd, third, 6, 3) == 6 && memcmp(third, &TEXT[3], 6) == 0 &&
           benchfs_pread(mine, fd, third, sizeof third, (off_t)strlen(TEXT)) == 0 &&
           benchfs_pread(mine, fd, third, sizeof third, 1000000) == 0;
}

static void permitted(void **state)
{
    (void)state;
    case_begin(NULL);
    put_text(fs, "/file", TEXT);
    put_text(fs, "/mine", TEXT);
    assert_int_equal(benchfs_chmod(fs, "/mine", 0600), 0);
    assert_int_equal(open_often(fs, "/file"), 0);
    assert_int_equal(open_often(fs, "/mine"), 0);
    case_signal(SIGSTOP);
    int fd = benchfs_open(fs, "/file", O_RDONLY);
    assert_true(fd >= 0);
    assert_true(has_text(fs, fd) && has_text_in_parts(fs, fd));
    assert_int_equal(benchfs_close(fs, fd), 0);
    int path = benchfs_open(fs, "/file", O_PATH);
    assert_true(path >= 0);
    assert_int_equal(benchfs_close(fs, path), 0);
    errno = 0;
    assert_int_equal(benchfs_open(fs, "/file", O_RDONLY | O_DIRECTORY), -1);
    assert_int_equal(errno, ENOTDIR);
    case_signal(SIGCONT);
    assert_int_equal(benchfs_set_credentials(fs, 1000, 1000, 0, NULL), 0);
    fd = benchfs_open(fs, "/file", O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(benchfs_close(fs, fd), 0);
    errno = 0;
    assert_int_equal(benchfs_open(fs, "/mine", O_RDONLY), -1);
    assert_int_equal(errno, EACCES);
    assert_int_equal(benchfs_set_credentials(fs, 0, 0, 0, NULL), 0);
    case_end(true);
}

/* What another process writes, cuts or writes over is read so at once. */
static int write_turn(benchfs *mine, int number)
{
    static int fd;
    if (number == 0)
        MUST((fd = benchfs_open(mine, "/file", O_RDWR)) >= 0);
    if (number == 1)
        MUST(benchfs_pwrite(mine, fd, "W", 1, 0) == 1);
    if (number == 2)
        MUST(benchfs_ftruncate(mine, fd, 1) == 0);
    if (number == 3)
        MUST(benchfs_pwrite(mine, fd, TEXT, strlen(TEXT), 5000) == (ssize_t)strlen(TEXT));
    return 0;
}

static void written(void **state)
{
    struct peer peer;
    char bytes[6000];
    (void)state;
    case_begin(NULL);
    peer_start(&peer, write_turn);
    put_text(fs, "/file", TEXT);
    int fd = benchfs_open(fs, "/file", O_RDONLY);
    peer_turn(&peer, 0);
    for (int turn = 1; turn <= 3; turn++) {
        assert_int_equal(open_often(fs, "/file"), 0);
        peer_turn(&peer, turn);
        ssize_t got = benchfs_pread(fs, fd, bytes, sizeof bytes, 0);
        assert_int_equal(got, turn == 1   ? (ssize_t)strlen(TEXT)
                              : turn == 2 ? 1
                                          : 5000 + (ssize_t)strlen(TEXT));
        assert_int_equal(bytes[0], 'W');
    }
    assert_memory_equal(bytes + 5000, TEXT, strlen(TEXT));
    assert_int_equal(benchfs_close(fs, fd), 0);
    peer_stop(&peer);
    case_end(true);
}

static int remove_turn(benchfs *mine, int number)
{
    if (number == 0)
        MUST(benchfs_unlink(mine, "/file") == 0);
    if (number == 1)
        MUST(benchfs_rename(mine, "/other", "/file") == 0);
    return 0;
}

/* More descriptors than a line has room for: some of them asked. */
#define DESCRIPTORS 12

static void removed(int turn)
{
    struct peer peer;
    struct stat found;
    int fds[DESCRIPTORS];
    case_begin(NULL);
    peer_start(&peer, remove_turn);
    put_text(fs, "/other", "another");
    uint64_t before = file_count();
    put_text(fs, "/file", TEXT);
    assert_int_equal(open_often(fs, "/file"), 0);
    case_signal(SIGSTOP);
    fds[0] = benchfs_open(fs, "/file", O_RDONLY);
    case_signal(SIGCONT);
    for (unsigned i = 1; i < DESCRIPTORS; i++)
        fds[i] = benchfs_open(fs, "/file", O_RDONLY);
    peer_turn(&peer, turn);
    for (unsigned i = 0; i < DESCRIPTORS; i++) {
        assert_true(fds[i] >= 0);
        assert_true(has_text(fs, fds[i]));
        assert_int_equal(benchfs_fstat(fs, fds[i], &found), 0);
        assert_int_equal(found.st_nlink, 0);
        assert_int_equal(file_count(), before + 1);
        assert_int_equal(benchfs_close(fs, fds[i]), 0);
    }
    wait_for_count(before);
    peer_stop(&peer);
    case_end(true);
}

static void unlinked(void **state)
{
    (void)state;
    removed(0);
}

/* The file that was renamed stays, the one that it took the place of goes. */
static void replaced(void **state)
{
    (void)state;
    removed(1);
}

/* Dup and fork: the last one who has it open matters. */
static void handed_on(void **state)
{
    (void)state;
    case_begin(NULL);
    put_text(fs, "/file", TEXT);
    uint64_t before = file_count() - 1;
    assert_int_equal(open_often(fs, "/file"), 0);
    int go[2], status;
    char byte;
    assert_int_equal(pipe(go), 0);
    int fd = benchfs_open(fs, "/file", O_RDONLY);
    int copy = benchfs_dup(fs, fd);
    assert_int_equal(benchfs_close(fs, fd), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(go[1]);
        bool good = read(go[0], &byte, 1) == 0 && has_text(fs, copy) && has_text(fs, copy);
        _exit(good && open_often(fs, "/other") == 0 && benchfs_close(fs, copy) == 0 ? 0 : 1);
    }
    close(go[0]);
    put_text(fs, "/other", TEXT);
    assert_true(has_text(fs, copy));
    assert_int_equal(benchfs_unlink(fs, "/file"), 0);
    assert_true(has_text(fs, copy));
    assert_int_equal(benchfs_close(fs, copy), 0);
    assert_int_equal(file_count(), before + 2);
    close(go[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(open_often(fs, "/other"), 0); /* with which the close that was kept back is told */
    wait_for_count(before + 1);
    case_end(true);
}

static int hold_turn(benchfs *mine, int number)
{
    if (number == 0)
        MUST(open_often(mine, "/file") == 0);
    if (number == 1)
        MUST(benchfs_open(mine, "/file", O_RDONLY) >= 0);
    return 0;
}

static void holder_killed(void **state)
{
    struct peer peer;
    (void)state;
    case_begin(NULL);
    put_text(fs, "/file", TEXT);
    uint64_t before = file_count() - 1;
    peer_start(&peer, hold_turn);
    peer_turn(&peer, 0);
    peer_turn(&peer, 1);
    assert_int_equal(benchfs_unlink(fs, "/file"), 0);
    assert_int_equal(file_count(), before + 1);
    assert_int_equal(kill(peer.pid, SIGKILL), 0);
    assert_int_equal(waitpid(peer.pid, NULL, 0), peer.pid);
    close(peer.to);
    close(peer.from);
    wait_for_count(before);
    case_end(true);
}

/* ---- at full speed ---- */

static struct {
    _Atomic bool over;
    _Atomic uint64_t opened, wrong;
} * shared;

static void opener(benchfs *mine)
{
    while (!atomic_load(&shared->over)) {
        struct stat found;
        int fd = benchfs_open(mine, "/race", O_RDONLY);
        if (fd < 0)
            continue;
        atomic_fetch_add(&shared->opened, 1);
        if (benchfs_fstat(mine, fd, &found) < 0 || found.st_nlink > 1 || !has_text(mine, fd) ||
            benchfs_close(mine, fd) < 0)
            atomic_store(&shared->wrong, 1);
    }
}

/* The name comes and goes while another process opens it as often as it can: whenever that has succeeded the
 * file is there, whole; and in the end nothing is left. */
static void at_any_moment(void **state)
{
    int status;
    (void)state;
    case_begin(NULL);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    put_text(fs, "/other", TEXT);
    uint64_t before = file_count();
    pid_t pid = fork();
    if (pid == 0) {
        benchfs *mine = benchfs_connect(NULL);
        if (mine == NULL)
            _exit(1);
        opener(mine);
        benchfs_disconnect(mine);
        _exit(0);
    }
    for (unsigned round = 0; round < ROUNDS && atomic_load(&shared->wrong) == 0; round++) {
        put_text(fs, "/new", TEXT);
        assert_int_equal(benchfs_rename(fs, "/new", "/race"),
                         0); /* the first of them and every other: over one */
        uint64_t opened = atomic_load(&shared->opened);
        for (double until = seconds() + 1; atomic_load(&shared->opened) < opened + 8 && seconds() < until;)
            sched_yield();
        if (round % 2 == 0)
            assert_int_equal(benchfs_unlink(fs, "/race"), 0);
    }
    atomic_store(&shared->over, true);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(shared->wrong, 0);
    assert_true(shared->opened > ROUNDS);
    wait_for_count(before + (ROUNDS % 2 == 0));
    munmap(shared, sizeof *shared);
    case_end(true);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(permitted),     cmocka_unit_test(written),   cmocka_unit_test(unlinked),
        cmocka_unit_test(replaced),      cmocka_unit_test(handed_on), cmocka_unit_test(holder_killed),
        cmocka_unit_test(at_any_moment),
    };
    if (argc > 1)
        case_servers = (unsigned)atoi(argv[1]);
    return cmocka_run_group_tests_name("posix/board_open", tests, NULL, NULL);
}

/* What goes wrong outside: keys, addresses, configuration, servers that die or stop, servers that are full.
 */
#include "check.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

static void refused(int error, const char *file, const char *says)
{
    double start = seconds();
    errno = 0;
    benchfs *none = benchfs_connect(file);
    if (none != NULL)
        fail_msg("connected, expected %s", strerrorname_np(error));
    if (errno != error)
        fail_msg("%s (%s), expected %s", strerrorname_np(errno), benchfs_error(), strerrorname_np(error));
    if (strstr(benchfs_error(), says) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", benchfs_error(), says);
    assert_true(seconds() - start < 3);
}

static void connecting(void **state)
{
    char other[128], file[128];
    (void)state;
    case_begin(NULL);
    snprintf(other, sizeof other, "%s/other.key", cluster.directory);
    write_text(other, "0123456789abcdef0123456789abcdef", 0600);
    setenv("BENCHFS_KEY", other, 1);
    refused(EACCES, NULL, "key");
    chmod(other, 0644);
    refused(EACCES, NULL, other);
    write_text(other, "short", 0600);
    refused(EACCES, NULL, "32 bytes");
    unlink(other);
    refused(ENOENT, NULL, other);
    unsetenv("BENCHFS_KEY");
    refused(ENOENT, NULL, "BENCHFS_KEY");
    setenv("BENCHFS_KEY", cluster.key, 1);

    setenv("BENCHFS_SERVERS", "127.0.0.1:1", 1);
    refused(EHOSTDOWN, NULL, "127.0.0.1:1");
    setenv("BENCHFS_SERVERS", "nonsense", 1);
    refused(EINVAL, NULL, "nonsense");
    setenv("BENCHFS_SERVERS", ",", 1);
    refused(EINVAL, NULL, "BENCHFS_SERVERS");
    char mixed[600];
    snprintf(mixed, sizeof mixed, "127.0.0.1:1,%s", cluster.servers); /* one that answers is enough */
    setenv("BENCHFS_SERVERS", mixed, 1);
    benchfs *good = benchfs_connect(NULL);
    assert_non_null(good);
    benchfs_disconnect(good);
    unsetenv("BENCHFS_SERVERS");

    snprintf(file, sizeof file, "%s/cluster.json", cluster.directory);
    refused(ENOENT, file, file);
    setenv("BENCHFS_CLUSTER", file, 1);
    refused(ENOENT, NULL, file);
    write_text(file, "{ not json", 0600);
    refused(EINVAL, NULL, file);
    write_text(file, "{}", 0600);
    refused(EINVAL, NULL, file);
    unlink(file);
    unsetenv("BENCHFS_CLUSTER");
    setenv("BENCHFS_SERVERS", cluster.servers, 1);

    write_text(case_config, "[client]\ndeadlin = \"1s\"\n", 0644);
    refused(EINVAL, NULL, "deadlin");
    write_text(case_config, "[client]\ndeadline = \"fast\"\n", 0644);
    refused(EINVAL, NULL, "client.toml:2");
    write_text(case_config, "[client]\ndeadline = \"1s\"\n", 0644);
    good = benchfs_connect(NULL);
    assert_non_null(good);
    benchfs_disconnect(good);
    case_end(true);
}

/* Every call fails with EIO or ETIMEDOUT, and in time. */
static int fails_in_time(long long result, double start, const char *call)
{
    double took = seconds() - start;
    if (result >= 0)
        return 0;
    if (errno != EIO && errno != ETIMEDOUT)
        fail_msg("%s: %s", call, strerror(errno));
    if (took > 2.5)
        fail_msg("%s took %.1f s", call, took);
    return 1;
}
#define TRY(call) (start_ = seconds(), fails_in_time((long long)(call), start_, #call))

static void killed(void **state)
{
    char path[32], buffer[64];
    double start_;
    struct stat status;
    struct statvfs totals;
    (void)state;
    case_begin(NULL);
    int fds[12], failed = 0, kept = 0;
    for (int i = 0; i < 12; i++) {
        snprintf(path, sizeof path, "/k%d", i);
        put_text(fs, path, "kept");
        fds[i] = (int)OK(benchfs_open(fs, path, O_RDWR));
    }
    unsigned victim = case_servers - 1;
    cluster_kill(&cluster, victim);
    for (int i = 0; i < 12; i++) {
        snprintf(path, sizeof path, "/k%d", i);
        int lost = TRY(benchfs_stat(fs, path, &status));
        assert_int_equal(TRY(benchfs_fstat(fs, fds[i], &status)), lost);
        assert_int_equal(TRY(benchfs_pread(fs, fds[i], buffer, 4, 0)), lost);
        assert_int_equal(TRY(benchfs_pwrite(fs, fds[i], "KEPT", 4, 0)), lost);
        assert_int_equal(TRY(benchfs_fsync(fs, fds[i])), lost);
        if (!lost) {
            expect_text(fs, path, "KEPT");
            OK(benchfs_unlink(fs, path));
        }
        OK(benchfs_close(fs, fds[i]));
        failed += lost;
        kept += !lost;
    }
    assert_true(failed > 0);
    assert_true(case_servers == 1 || kept > 0);
    assert_int_equal(TRY(benchfs_statvfs(fs, &totals)), 1);
    benchfs_dir *dir = benchfs_opendir(fs, "/");
    if (dir != NULL) {
        int entries = 0;
        errno = 0;
        while (benchfs_readdir(dir) != NULL)
            entries++;
        assert_true(errno == EIO || errno == ETIMEDOUT); /* not a listing that merely looks complete */
        benchfs_closedir(dir);
    }
    if (case_servers == 1)
        refused(EHOSTDOWN, NULL, "no server answers");
    case_end(false);
}

static void *write_for_ever(void *argument)
{
    static char bytes[1 << 20];
    int fd = benchfs_open(fs, "/busy", O_CREAT | O_RDWR, 0644);
    double last;
    (void)argument;
    do {
        last = seconds();
    } while (fd >= 0 && benchfs_pwrite(fs, fd, bytes, sizeof bytes, 0) == sizeof bytes);
    return (void *)(long)(seconds() - last > 2.5 ? 1 : errno == EIO || errno == ETIMEDOUT ? 0 : 2);
}

/* Killed in the middle of large transfers. */
static void killed_while_busy(void **state)
{
    pthread_t thread;
    void *result;
    struct stat status;
    (void)state;
    case_begin(NULL);
    pthread_create(&thread, NULL, write_for_ever, NULL);
    do {
        status.st_size = 0;
        if (benchfs_stat(fs, "/busy", &status) < 0)
            assert_int_equal(errno, ENOENT);
    } while (status.st_size == 0);
    for (unsigned i = 0; i < case_servers; i++)
        cluster_kill(&cluster, i);
    pthread_join(thread, &result);
    assert_int_equal((long)result, 0);
    case_end(false);
}

/* A server that hangs is not dead: calls give up at their deadline, and work again when it goes on. */
static void stopped(void **state)
{
    struct stat status;
    double start = 0;
    (void)state;
    case_begin(NULL);
    put_text(fs, "/s", "before");
    case_signal(SIGSTOP);
    start = seconds();
    int made = benchfs_mkdir(fs, "/made", 0755);
    assert_true(made < 0 && (errno == ETIMEDOUT || errno == EIO));
    assert_true(seconds() - start < 2.5 && seconds() - start > 0.5);
    case_signal(SIGCONT);
    expect_text(fs, "/s", "before");
    OK(benchfs_unlink(fs, "/s"));
    if (benchfs_stat(fs, "/made", &status) ==
        0) /* its request may have been carried out late, but only once */
        OK(benchfs_rmdir(fs, "/made"));
    case_end(true);
}

/* ---- full servers ---- */

#define MIB (1L << 20)

/* The file holds exactly the pattern of that seed, `size` bytes. */
static void expect_pattern(const char *path, uint64_t seed, off_t size)
{
    static char bytes[1 << 20];
    struct stat status;
    int fd = (int)OK(benchfs_open(fs, path, O_RDONLY));
    OK(benchfs_fstat(fs, fd, &status));
    IS(size, status.st_size);
    for (off_t at = 0; at < size; at += (off_t)sizeof bytes) {
        size_t part = size - at < (off_t)sizeof bytes ? (size_t)(size - at) : sizeof bytes;
        IS(part, benchfs_pread(fs, fd, bytes, sizeof bytes, at));
        if (pattern_differs(bytes, part, seed, (uint64_t)at) >= 0)
            fail_msg("%s differs after %jd", path, (intmax_t)at);
    }
    IS(0, benchfs_pread(fs, fd, bytes, 1, size));
    OK(benchfs_close(fs, fd));
}

/* Writes pieces until one fails; returns what was acknowledged. */
static off_t fill(const char *path, int flags, size_t piece, uint64_t seed)
{
    char *bytes = malloc(piece);
    int fd = (int)OK(benchfs_open(fs, path, O_CREAT | O_WRONLY | O_TRUNC | flags, 0644));
    off_t done = 0;
    for (;;) {
        pattern_fill(bytes, piece, seed, (uint64_t)done);
        ssize_t written = benchfs_write(fs, fd, bytes, piece);
        if (written < 0)
            break;
        done += written;
        assert_true(written > 0 && done < 200 * MIB);
    }
    assert_int_equal(errno, ENOSPC);
    free(bytes);
    OK(benchfs_close(fs, fd));
    return done;
}

static void full(void **state)
{
    static const struct {
        size_t piece;
        int flags;
    } ways[] = {{100000, 0},        {64 << 10, 0},           {7 * MIB, 0}, {20 * MIB, 0}, {5 * MIB + 17, 0},
                {100000, O_APPEND}, {5 * MIB + 17, O_APPEND}};
    static const char *const settings[] = {"store.capacity=8704KiB", NULL};
    struct statvfs before, after;
    char byte;
    (void)state;
    case_begin(settings);
    OK(benchfs_statvfs(fs, &before));
    for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++) {
        off_t size = fill("/full", ways[i].flags, ways[i].piece, i);
        expect_pattern("/full", i, size);
        /* Nothing lies behind the end: extended, it reads as zeros. */
        OK(benchfs_truncate(fs, "/full", size + 30 * MIB));
        int fd = (int)OK(benchfs_open(fs, "/full", O_RDONLY));
        for (off_t at = size; at < size + 30 * MIB; at += 4093) {
            IS(1, benchfs_pread(fs, fd, &byte, 1, at));
            assert_int_equal(byte, 0);
        }
        OK(benchfs_close(fs, fd));
        OK(benchfs_unlink(fs, "/full"));
        OK(benchfs_statvfs(fs, &after));
        IS(before.f_bfree, after.f_bfree);
    }
    /* Overwriting needs no room. */
    off_t size = fill("/full", 0, 64 << 10, 1);
    int fd = (int)OK(benchfs_open(fs, "/full", O_WRONLY));
    IS(1, benchfs_pwrite(fs, fd, "x", 1, size / 2));
    OK(benchfs_close(fs, fd));
    OK(benchfs_unlink(fs, "/full"));
    case_end(true);
}

static void full_of_names(void **state)
{
    static const char *const settings[] = {"meta.capacity=1MiB", NULL};
    char path[64];
    struct stat status;
    int made[2] = {0};
    (void)state;
    case_begin(settings);
    for (int round = 0; round < 2; round++) {
        for (;; made[round]++) {
            snprintf(path, sizeof path, "/a-file-of-some-length-%d", made[round]);
            int fd = benchfs_open(fs, path, O_CREAT | O_WRONLY | O_EXCL, 0644);
            if (fd < 0)
                break;
            OK(benchfs_close(fs, fd));
            assert_true(made[round] < 1000000);
        }
        assert_int_equal(errno, ENOSPC);
        FAILS(ENOENT, benchfs_stat(fs, path, &status));
        assert_true(made[round] > 500);
        for (int i = 0; i < made[round]; i++) {
            snprintf(path, sizeof path, "/a-file-of-some-length-%d", i);
            OK(benchfs_stat(fs, path, &status));
            OK(benchfs_unlink(fs, path));
        }
    }
    /* Removing gave the room back, but for what later inode numbers take more in half-empty tables. */
    assert_true(made[1] >= made[0] * 4 / 5);
    case_end(true);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(connecting), cmocka_unit_test(killed), cmocka_unit_test(killed_while_busy),
        cmocka_unit_test(stopped),    cmocka_unit_test(full),   cmocka_unit_test(full_of_names),
    };
    case_servers = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Several processes: what a call returned in one, every later call in another sees. And a process that forks.
 */
#include "check.h"
#include "peer.h"

#include <sched.h>
#include <sys/mman.h>
#include <time.h>

/* ---- names ---- */

/* Turn by turn: looks at what the first process did, and undoes it. */
static int names_turn(benchfs *mine, int number)
{
    struct stat status;
    char path[64], target[16];
    int i = number / 8;
    snprintf(path, sizeof path, "/names/d%d/f", i % 3);
    switch (number % 8) {
    case 0: /* created */
        MUST(benchfs_stat(mine, path, &status) == 0);
        MUST(benchfs_unlink(mine, path) == 0);
        return 0;
    case 1: /* the directory was renamed */
        MUST(benchfs_stat(mine, path, &status) < 0 && errno == ENOENT);
        MUST(benchfs_stat(mine, "/names/moved/g", &status) == 0);
        MUST(benchfs_rename(mine, "/names/moved", "/names/back") == 0);
        return 0;
    case 2: /* a directory was made in place of the one renamed */
        MUST(benchfs_stat(mine, path, &status) == 0 && S_ISLNK(status.st_mode) == 0);
        MUST(benchfs_readlink(mine, "/names/link", target, sizeof target) == 4);
        MUST(benchfs_unlink(mine, path) == 0);
        return 0;
    case 3: /* removed and made again: another directory of the same name */
        MUST(benchfs_stat(mine, path, &status) == 0);
        MUST(benchfs_unlink(mine, path) == 0);
        return 0;
    case 4: /* mode */
        MUST(benchfs_stat(mine, "/names/moded", &status) == 0);
        MUST((status.st_mode & 0777) == (mode_t)(0600 | i % 8));
        return 0;
    default:
        return 0;
    }
}

static void names(void **state)
{
    struct peer peer;
    char directory[32], path[64];
    struct stat status;
    (void)state;
    OK(benchfs_mkdir(fs, "/names", 0755));
    put_text(fs, "/names/moded", "");
    peer_start(&peer, names_turn);
    for (int i = 0; i < 30; i++) {
        snprintf(directory, sizeof directory, "/names/d%d", i % 3);
        snprintf(path, sizeof path, "%s/f", directory);
        OK(benchfs_mkdir(fs, directory, 0755));
        put_text(fs, path, "x");
        peer_turn(&peer, i * 8);
        FAILS(ENOENT, benchfs_stat(fs, path, &status));

        char inner[80];
        snprintf(inner, sizeof inner, "%s/g", directory);
        put_text(fs, inner, "g");
        OK(benchfs_rename(fs, directory, "/names/moved"));
        peer_turn(&peer, i * 8 + 1);
        FAILS(ENOENT, benchfs_stat(fs, "/names/moved/g", &status));
        expect_text(fs, "/names/back/g", "g");
        OK(benchfs_unlink(fs, "/names/back/g"));
        OK(benchfs_rmdir(fs, "/names/back"));

        OK(benchfs_mkdir(fs, directory, 0755));
        put_text(fs, path, "y");
        OK(benchfs_symlink(fs, "some", "/names/link"));
        peer_turn(&peer, i * 8 + 2);
        OK(benchfs_unlink(fs, "/names/link"));

        OK(benchfs_rmdir(fs, directory));
        OK(benchfs_mkdir(fs, directory, 0755));
        put_text(fs, path, "z");
        peer_turn(&peer, i * 8 + 3);
        OK(benchfs_rmdir(fs, directory));
        OK(benchfs_chmod(fs, "/names/moded", 0600 | (mode_t)(i % 8)));
        peer_turn(&peer, i * 8 + 4);
    }
    peer_stop(&peer);
    OK(benchfs_unlink(fs, "/names/moded"));
    OK(benchfs_rmdir(fs, "/names"));
}

/* ---- contents ---- */

#define FAR (5L << 20)

static int contents_turn(benchfs *mine, int number)
{
    static int kept = -1, written;
    char text[64];
    struct stat status;
    int i = number / 4;
    if (kept < 0)
        MUST((kept = benchfs_open(mine, "/contents", O_RDONLY)) >= 0 &&
             (written = benchfs_open(mine, "/contents", O_WRONLY)) >= 0);
    switch (number % 4) {
    case 0: /* small write, seen through a kept and a new descriptor */ {
        int value = -1, fd = benchfs_open(mine, "/contents", O_RDONLY);
        MUST(fd >= 0 && benchfs_read(mine, fd, &value, sizeof value) == sizeof value && value == i);
        MUST(benchfs_pread(mine, kept, &value, sizeof value, 0) == sizeof value && value == i);
        MUST(benchfs_close(mine, fd) == 0);
        value = -i;
        MUST(benchfs_pwrite(mine, written, &value, sizeof value, 0) == sizeof value);
        return 0;
    }
    case 1: /* cut and extended */
        MUST(benchfs_stat(mine, "/contents", &status) == 0 && status.st_size == 50);
        memset(text, 'x', sizeof text);
        MUST(benchfs_pread(mine, kept, text, sizeof text, 0) == 50 && text[0] == 0 && text[49] == 0);
        return 0;
    case 2: /* written far out */
        MUST(benchfs_pread(mine, kept, text, 64, FAR) == 8);
        snprintf(text + 20, 20, "%08d", i);
        MUST(memcmp(text, text + 20, 8) == 0);
        MUST(benchfs_fstat(mine, kept, &status) == 0 && status.st_size == FAR + 8);
        MUST(benchfs_ftruncate(mine, written, FAR - 100) == 0);
        return 0;
    default:
        return 0;
    }
}

static void contents(void **state)
{
    struct peer peer;
    int value;
    char text[16];
    struct stat status;
    (void)state;
    put_text(fs, "/contents", "");
    int fd = (int)OK(benchfs_open(fs, "/contents", O_RDWR));
    peer_start(&peer, contents_turn);
    for (int i = 1; i < 40; i++) {
        IS(sizeof i, benchfs_pwrite(fs, fd, &i, sizeof i, 0));
        peer_turn(&peer, i * 4);
        IS(sizeof value, benchfs_pread(fs, fd, &value, sizeof value, 0));
        assert_int_equal(value, -i);
        OK(benchfs_ftruncate(fs, fd, 0));
        OK(benchfs_ftruncate(fs, fd, 50));
        peer_turn(&peer, i * 4 + 1);
        snprintf(text, sizeof text, "%08d", i);
        IS(8, benchfs_pwrite(fs, fd, text, 8, FAR));
        peer_turn(&peer, i * 4 + 2);
        OK(benchfs_fstat(fs, fd, &status));
        IS(FAR - 100, status.st_size);
        IS(0, benchfs_pread(fs, fd, text, 8, FAR));
        OK(benchfs_truncate(fs, "/contents", 0));
    }
    peer_stop(&peer);
    OK(benchfs_close(fs, fd));
    OK(benchfs_unlink(fs, "/contents"));
}

/* ---- leases: open and read in one request, and still never an old value ---- */

struct board {
    _Atomic uint64_t written; /* what a finished write has put there */
    _Atomic bool stop;
    _Atomic uint64_t reads;
    _Atomic uint64_t renames;
};
static struct board *board;

static int read_leased(void)
{
    benchfs *mine = benchfs_connect(NULL);
    if (mine == NULL)
        return 1;
    while (!board->stop) {
        uint64_t least = board->written, value;
        int fd = benchfs_open(mine, "/leased", O_RDONLY);
        for (int i = 0; i < 3; i++) {
            if (fd < 0 || benchfs_pread(mine, fd, &value, sizeof value, 0) != sizeof value)
                return 2;
            if (value < least) {
                fprintf(stderr, "read %ju after %ju was written\n", (uintmax_t)value, (uintmax_t)least);
                return 3;
            }
            least = board->written;
        }
        if (benchfs_close(mine, fd) < 0)
            return 4;
        board->reads++;
    }
    benchfs_disconnect(mine);
    return 0;
}

static void leases(void **state)
{
    uint64_t value = 0;
    int status;
    (void)state;
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(board != MAP_FAILED);
    put_file(fs, "/leased", &value, sizeof value);
    int fd = (int)OK(benchfs_open(fs, "/leased", O_WRONLY));
    pid_t reader = fork();
    if (reader == 0)
        _exit(read_leased());
    /* Long enough to meet, however slow the machine. */
    double begin = seconds(), now = begin;
    for (; now < begin + 0.7 || ((board->reads <= 100 || value <= 50) && now < begin + 20); now = seconds()) {
        value++;
        IS(sizeof value, benchfs_pwrite(fs, fd, &value, sizeof value, 0));
        board->written = value;
    }
    board->stop = true;
    assert_int_equal(waitpid(reader, &status, 0), reader);
    assert_int_equal(status, 0);
    assert_true(board->reads > 100 && value > 50);
    munmap(board, sizeof *board);
    OK(benchfs_close(fs, fd));
    OK(benchfs_unlink(fs, "/leased"));
}

/* ---- a directory renamed to and fro while another process creates in it ---- */

static int create_inside(void)
{
    char path[64];
    benchfs *mine = benchfs_connect(NULL);
    if (mine == NULL)
        return 1;
    for (int i = 0; i < 400; i++) {
        /* Not faster than the directories move. */
        while (!board->stop && board->renames * 16 < (uint64_t)i)
            sched_yield();
        for (int tries = 0;; tries++) {
            snprintf(path, sizeof path, tries % 2 ? "/here/dir/%d" : "/there/sub/%d", i);
            int fd = benchfs_open(mine, path, O_CREAT | O_EXCL | O_WRONLY, 0644);
            if (fd >= 0) {
                if (benchfs_close(mine, fd) < 0)
                    return 2;
                break;
            }
            if (errno != ENOENT || tries > 100000) {
                perror(path);
                return 3;
            }
        }
    }
    benchfs_disconnect(mine);
    return 0;
}

static void rename_around(void **state)
{
    char path[64];
    int status, renames = 0;
    (void)state;
    OK(benchfs_mkdir(fs, "/here", 0755));
    OK(benchfs_mkdir(fs, "/there", 0755));
    OK(benchfs_mkdir(fs, "/here/dir", 0755));
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(board != MAP_FAILED);
    pid_t child = fork();
    if (child == 0)
        _exit(create_inside());
    /* The other process makes headway while directories move under it; should it be slow, it ends in peace.
     */
    pid_t ended = 0;
    double end = seconds() + 4;
    while (ended == 0 && seconds() < end) {
        OK(benchfs_rename(fs, renames % 2 ? "/there/sub" : "/here/dir",
                          renames % 2 ? "/here/dir" : "/there/sub"));
        board->renames = (uint64_t)++renames;
        ended = waitpid(child, &status, WNOHANG);
    }
    board->stop = true;
    if (ended == 0)
        ended = waitpid(child, &status, 0);
    assert_int_equal(ended, child);
    assert_int_equal(status, 0);
    assert_true(renames > 20);
    munmap(board, sizeof *board);
    const char *now = renames % 2 ? "/there/sub" : "/here/dir";
    for (int i = 0; i < 400; i++) {
        snprintf(path, sizeof path, "%s/%d", now, i);
        OK(benchfs_unlink(fs, path));
    }
    OK(benchfs_rmdir(fs, now));
    OK(benchfs_rmdir(fs, "/here"));
    OK(benchfs_rmdir(fs, "/there"));
}

/* ---- fork ---- */

static int use_after_fork(int fd)
{
    char text[16];
    struct stat status;
    int number = 0;
    /* The parent's file system, descriptors and offsets are there; connections are made anew. */
    MUST(benchfs_read(fs, fd, text, 4) == 4 && memcmp(text, "4567", 4) == 0);
    MUST(benchfs_stat(fs, "/forked", &status) == 0);
    int made = benchfs_open(fs, "/by_child", O_CREAT | O_RDWR, 0644);
    MUST(made == fd + 1);
    MUST(benchfs_write(fs, made, "child", 5) == 5);
    MUST(benchfs_close(fs, made) == 0);
    benchfs *other = benchfs_connect(NULL);
    MUST(other != NULL && benchfs_stat(other, "/by_child", &status) == 0);
    benchfs_disconnect(other);
    pid_t grandchild = fork();
    if (grandchild == 0)
        _exit(benchfs_stat(fs, "/by_child", &status) == 0 ? 0 : 1);
    int ended;
    MUST(waitpid(grandchild, &ended, 0) == grandchild && ended == 0);
    benchfs_disconnect(fs);
    return 0;
}

static void forking(void **state)
{
    char text[16];
    int status;
    (void)state;
    put_text(fs, "/forked", "0123456789");
    int fd = (int)OK(benchfs_open(fs, "/forked", O_RDWR));
    IS(4, benchfs_read(fs, fd, text, 4));
    for (int i = 0; i < 3; i++) {
        pid_t child = fork();
        if (child == 0)
            _exit(use_after_fork(fd));
        IS(4, benchfs_pread(fs, fd, text, 4, 0)); /* the parent goes on */
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        expect_text(fs, "/by_child", "child");
        OK(benchfs_unlink(fs, "/by_child"));
    }
    IS(4, benchfs_read(fs, fd, text, 4));
    assert_memory_equal(text, "4567", 4);
    OK(benchfs_close(fs, fd));
    OK(benchfs_unlink(fs, "/forked"));
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),         cmocka_unit_test(contents), cmocka_unit_test(leases),
        cmocka_unit_test(rename_around), cmocka_unit_test(forking),
    };
    return POSIX_MAIN(argc, argv, NULL, tests);
}

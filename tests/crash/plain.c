/* What a persistent engine keeps through kill -9 in cases of their own:
 *
 *     crash_plain ENGINE FILES
 *
 * a sparse file of 100 GB, and FILES small ones, with the time that the restart takes. Two servers. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "benchfs.h"
#include "cluster.h"
#include "history.h"

#define SERVERS 2u
#define SPARSE_SIZE UINT64_C(100000000000)
#define PIECE 47008u
#define PIECES 3u
#define DIRECTORIES 16u
#define CHILD_SECONDS 3600u
#define READ_EVERY 97u

static unsigned files;
static const uint64_t piece_offsets[PIECES] = {0, UINT64_C(50000000123), SPARSE_SIZE - PIECE};

static int complain(const char *what)
{
    fprintf(stderr, "# %s: %s\n", what, strerror(errno));
    return -1;
}

/* ---- the sparse file ---- */

static int sparse_make(benchfs *fs)
{
    unsigned char bytes[PIECE];
    int fd = benchfs_open(fs, "/sparse", O_CREAT | O_RDWR, 0644);
    if (fd < 0)
        return complain("create /sparse");
    for (unsigned i = 0; i < PIECES; i++) {
        contents_fill(bytes, PIECE, i, 1, piece_offsets[i]);
        if (benchfs_pwrite(fs, fd, bytes, PIECE, (off_t)piece_offsets[i]) != PIECE)
            return complain("write /sparse");
    }
    return benchfs_fsync(fs, fd) == 0 ? 0 : complain("fsync /sparse");
}

static int sparse_compare(benchfs *fs, int fd)
{
    unsigned char bytes[PIECE], wanted[PIECE], zeros[PIECE] = {0};
    for (unsigned i = 0; i < PIECES; i++) {
        contents_fill(wanted, PIECE, i, 1, piece_offsets[i]);
        if (benchfs_pread(fs, fd, bytes, PIECE, (off_t)piece_offsets[i]) != PIECE ||
            memcmp(bytes, wanted, PIECE) != 0)
            return complain("what was written to /sparse");
        off_t data = benchfs_lseek(fs, fd, (off_t)piece_offsets[i], SEEK_DATA);
        if (data != (off_t)piece_offsets[i])
            return complain("SEEK_DATA in /sparse");
        uint64_t end = piece_offsets[i] + PIECE;
        off_t hole = benchfs_lseek(fs, fd, data, SEEK_HOLE);
        if (hole < (off_t)end || (uint64_t)hole > end + 4096)
            return complain("SEEK_HOLE in /sparse");
        if (i + 1 < PIECES && (benchfs_pread(fs, fd, bytes, PIECE, (off_t)(end + 12345678)) != PIECE ||
                               memcmp(bytes, zeros, PIECE) != 0))
            return complain("a hole of /sparse");
    }
    return 0;
}

static int sparse_check(benchfs *fs)
{
    struct stat status;
    int fd = benchfs_open(fs, "/sparse", O_RDONLY);
    if (fd < 0 || benchfs_fstat(fs, fd, &status) != 0)
        return complain("open /sparse");
    if ((uint64_t)status.st_size != SPARSE_SIZE || (uint64_t)status.st_blocks * 512 > (PIECES + 1) * 65536) {
        fprintf(stderr, "# /sparse has %lld bytes in %lld blocks\n", (long long)status.st_size,
                (long long)status.st_blocks);
        return -1;
    }
    return sparse_compare(fs, fd);
}

/* ---- many small files ---- */

static size_t small_length(unsigned number)
{
    return number % 200;
}

static void small_path(unsigned number, char path[64])
{
    snprintf(path, 64, "/d%u/%u", number % DIRECTORIES, number);
}

static int small_make(benchfs *fs)
{
    unsigned char bytes[200];
    char path[64];
    for (unsigned i = 0; i < DIRECTORIES; i++) {
        snprintf(path, sizeof path, "/d%u", i);
        if (benchfs_mkdir(fs, path, 0755) != 0)
            return complain(path);
    }
    for (unsigned i = 0; i < files; i++) {
        small_path(i, path);
        contents_fill(bytes, small_length(i), i, 1, 0);
        int fd = benchfs_open(fs, path, O_CREAT | O_EXCL | O_WRONLY, 0644);
        if (fd < 0 || benchfs_write(fs, fd, bytes, small_length(i)) != (ssize_t)small_length(i) ||
            benchfs_close(fs, fd) != 0)
            return complain(path);
    }
    return benchfs_sync(fs) == 0 ? 0 : complain("sync");
}

static int small_read(benchfs *fs, unsigned number)
{
    unsigned char bytes[201], wanted[200];
    char path[64];
    small_path(number, path);
    contents_fill(wanted, small_length(number), number, 1, 0);
    int fd = benchfs_open(fs, path, O_RDONLY);
    ssize_t length = fd < 0 ? -1 : benchfs_read(fs, fd, bytes, sizeof bytes);
    if (length != (ssize_t)small_length(number) || memcmp(bytes, wanted, (size_t)length) != 0)
        return complain(path);
    return benchfs_close(fs, fd);
}

static int small_check(benchfs *fs)
{
    char path[64];
    unsigned found = 0;
    for (unsigned i = 0; i < DIRECTORIES; i++) {
        snprintf(path, sizeof path, "/d%u", i);
        benchfs_dir *directory = benchfs_opendir(fs, path);
        if (directory == NULL)
            return complain(path);
        for (const struct dirent *entry; (entry = benchfs_readdir(directory)) != NULL;)
            found += entry->d_name[0] != '.';
        benchfs_closedir(directory);
    }
    if (found != files) {
        fprintf(stderr, "# %u of %u files are listed\n", found, files);
        return -1;
    }
    for (unsigned i = 0; i < files; i += READ_EVERY)
        if (small_read(fs, i) != 0)
            return -1;
    return 0;
}

/* ---- the frame ---- */

/* In a process of its own, since this one's servers change. */
static int in_child(int (*run)(benchfs *fs))
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(CHILD_SECONDS);
        benchfs *fs = benchfs_connect(NULL);
        if (fs == NULL) {
            fprintf(stderr, "# %s\n", benchfs_error());
            _exit(1);
        }
        int result = run(fs);
        benchfs_disconnect(fs);
        _exit(result == 0 ? 0 : 1);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0
                                                                                                       : -1;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

/* Makes it, kills the servers, starts them, looks. */
static int run_case(const char *name, int (*make)(benchfs *), int (*check)(benchfs *),
                    struct cluster *cluster, const char *const *settings)
{
    static int number;
    uint64_t began = now_ns();
    int status = in_child(make);
    uint64_t made = now_ns();
    if (status == 0)
        status = in_child(check);
    for (unsigned i = 0; i < SERVERS; i++)
        cluster_kill(cluster, i);
    uint64_t killed = now_ns();
    if (status == 0)
        status = cluster_restart(cluster, settings);
    uint64_t started = now_ns();
    if (status == 0)
        status = in_child(check);
    printf("%sok %d - %s\n# made in %.1f s; restart %.3f s\n", status == 0 ? "" : "not ", ++number, name,
           (double)(made - began) / 1e9, (double)(started - killed) / 1e9);
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s ENGINE FILES\n", argv[0]);
        return 2;
    }
    files = (unsigned)atoi(argv[2]);
    dup2(STDOUT_FILENO, STDERR_FILENO);
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct cluster cluster;
    char directory[] = "/tmp/benchfs-crash-XXXXXX", engine[64], path[64], name[64];
    if (mkdtemp(directory) == NULL)
        return 99;
    snprintf(engine, sizeof engine, "store.engine=%s", argv[1]);
    snprintf(path, sizeof path, "store.path=%s", directory);
    const char *settings[] = {engine, path, "store.capacity=256MiB", "server.log_level=warning", NULL};
    if (cluster_start(&cluster, SERVERS, settings) < 0)
        return 99;
    puts("1..2");
    snprintf(name, sizeof name, "%s: a sparse file of 100 GB", argv[1]);
    int status = run_case(name, sparse_make, sparse_check, &cluster, settings);
    snprintf(name, sizeof name, "%s: %u small files", argv[1], files);
    if (status == 0)
        status = run_case(name, small_make, small_check, &cluster, settings);
    status |= cluster_stop(&cluster);
    nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return status == 0 ? 0 : 1;
}

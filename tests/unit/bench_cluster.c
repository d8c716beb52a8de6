/* A private cluster: the benchmarks run against it, nothing is left of it, and it ends with the one that
 * started it. */
#include "unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/private_cluster.h"
#include "bench/target.h"
#include "benchfs.h"

#define CAPACITY (UINT64_C(32) << 20)

static int run(char *const *argv)
{
    int argc = 0;
    while (argv[argc] != NULL)
        argc++;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
        _exit(bench_main(argc, (char **)argv));
    }
    int state;
    assert_int_equal(waitpid(pid, &state, 0), pid);
    assert_true(WIFEXITED(state));
    return WEXITSTATUS(state);
}

static void benchmarks_run_on_it(void **state)
{
    (void)state;
    struct private_cluster cluster;
    const int pin[] = {-1, -1};
    assert_int_equal(private_cluster_start(&cluster, 2, pin, CAPACITY), 0);
    setenv("BENCHFS_CLUSTER", cluster.file, 1);
    unsetenv("BENCHFS_SERVERS");
    char *const md[] = {"bench", "md", "--files", "20", "--processes", "2", "--repeats", "1", NULL};
    char *const io[] = {"bench", "io",        "--size", "3000,65536,1MiB", "--total",  "3MiB", "--depth",
                        "4",     "--repeats", "1",      "--verify",        "--random", NULL};
    char *const rpc[] = {"bench", "rpc", "--count", "100", "--repeats", "1", "--size", "0,100,70000", NULL};
    char *const absent[] = {"bench", "rpc", "--server", "2", NULL};
    assert_int_equal(run(md), 0);
    assert_int_equal(run(io), 0);
    assert_int_equal(run(rpc), 0);
    assert_int_equal(run(absent), 2);
    char directory[sizeof(cluster.directory)];
    strcpy(directory, cluster.directory);
    pid_t server = cluster.servers[0].pid;
    private_cluster_stop(&cluster);
    struct stat found;
    assert_int_equal(stat(directory, &found), -1);
    assert_int_equal(kill(server, 0), -1);
    private_cluster_stop(&cluster);
}

/* In a process of its own: makes a file that lasts, or looks whether it is there. */
static int visit(const char *file, bool making)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char byte = 'x';
        benchfs *fs = benchfs_connect(file);
        int fd = fs == NULL ? -1 : benchfs_open(fs, "/lasting", making ? O_CREAT | O_RDWR : O_RDONLY, 0600);
        if (fd < 0)
            _exit(1);
        if (making)
            _exit(benchfs_write(fs, fd, &byte, 1) == 1 && benchfs_fsync(fs, fd) == 0 ? 0 : 2);
        _exit(benchfs_read(fs, fd, &byte, 1) == 1 && byte == 'x' ? 0 : 3);
    }
    int state;
    assert_int_equal(waitpid(pid, &state, 0), pid);
    assert_true(WIFEXITED(state));
    return WEXITSTATUS(state);
}

static void killed_servers_are_started_again(void **state)
{
    (void)state;
    struct private_cluster cluster;
    char directory[128];
    const int pin[] = {-1, -1};
    assert_int_equal(private_directory_make(directory, sizeof(directory)), 0);
    struct private_store store = {.engine = "file", .capacity = CAPACITY, .durability = DURABILITY_NONE};
    snprintf(store.directory, sizeof(store.directory), "%s", directory);
    assert_int_equal(private_cluster_start_on(&cluster, 2, pin, &store), 0);
    assert_int_equal(visit(cluster.file, true), 0);
    pid_t server = cluster.servers[0].pid;
    private_cluster_kill(&cluster);
    assert_int_equal(kill(server, 0), -1);
    assert_int_equal(private_cluster_restart(&cluster), 0);
    assert_int_equal(visit(cluster.file, false), 0);
    private_cluster_kill(&cluster);
    private_cluster_stop(&cluster); /* of what was killed, too */
    assert_int_equal(fcntl(STDIN_FILENO, F_GETFD) < 0, 0);
    private_directory_remove(directory);
    assert_int_equal(access(directory, F_OK), -1);
}

/* Servers and clients get the whole configuration, and the data's directory goes, too. */
static void a_configuration_is_followed(void **state)
{
    (void)state;
    struct private_cluster cluster;
    struct config config;
    struct stat found;
    char directory[128], file[sizeof(cluster.file)];
    assert_int_equal(private_directory_make(directory, sizeof(directory)), 0);
    config_defaults(&config);
    config.cluster.server_count = 2;
    config.cluster.chunk_size = 64 << 10;
    strcpy(config.cluster.consistency, "close");
    strcpy(config.store.engine, "file");
    strcpy(config.store.path, directory);
    config.store.capacity = CAPACITY;
    assert_int_equal(private_cluster_start_configured(&cluster, &config), 0);
    assert_int_equal(cluster.count, 2);
    strcpy(file, cluster.file);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        benchfs *fs = benchfs_connect(file);
        int fd = fs == NULL ? -1 : benchfs_open(fs, "/file", O_CREAT | O_RDWR, 0600);
        if (fd < 0 || benchfs_fstat(fs, fd, &found) != 0)
            _exit(1);
        _exit(found.st_blksize == 64 << 10 && strcmp(benchfs_consistency(fs), "close") == 0 ? 0 : 2);
    }
    int ended;
    assert_int_equal(waitpid(pid, &ended, 0), pid);
    assert_int_equal(ended, 0);
    assert_int_equal(rmdir(directory), -1); /* the data lies there */
    private_cluster_stop(&cluster);
    assert_int_equal(rmdir(directory), 0);
    assert_int_equal(access(file, F_OK), -1);
}

#define NAMES 3000u

struct names {
    uint32_t count;            /* of one part */
    unsigned char seen[NAMES]; /* by all */
};

static int note_name(void *argument, const char *name, mode_t type)
{
    struct names *names = argument;
    unsigned number;
    if (!S_ISREG(type) || sscanf(name, "file.%u", &number) != 1 || number >= NAMES)
        return -EBADMSG;
    names->count++;
    names->seen[number]++;
    return 0;
}

/* Exit status: 0, or which step went wrong. */
static int list_in_parts(const char *file)
{
    char path[64];
    struct target *target;
    setenv("BENCHFS_CLUSTER", file, 1);
    unsetenv("BENCHFS_SERVERS");
    if (target_open("benchfs:", &target) < 0 || target->operations->mkdir(target, "/big", 0755) < 0)
        return 1;
    for (unsigned i = 0; i < NAMES; i++) {
        snprintf(path, sizeof(path), "/big/file.%u", i);
        int fd = target->operations->file_open(target, path, O_CREAT | O_WRONLY, 0644);
        if (fd < 0 || target->operations->file_close(target, fd) < 0)
            return 2;
    }
    for (uint32_t parts = 1; parts <= 7; parts += 2) {
        struct names names = {0};
        for (uint32_t part = 0; part < parts; part++) {
            names.count = 0;
            if (target->operations->list_part(target, "/big", part, parts, note_name, &names) < 0)
                return 3;
            if (names.count < NAMES / parts * 8 / 10 || names.count > NAMES / parts * 12 / 10)
                return 4;
        }
        for (unsigned i = 0; i < NAMES; i++) {
            if (names.seen[i] != 1)
                return 5;
        }
    }
    target->operations->close(target);
    return 0;
}

/* Parts have about as many entries each, which is what they are for. */
static void a_directory_is_listed_in_parts(void **state)
{
    (void)state;
    struct private_cluster cluster;
    const int pin[] = {-1, -1};
    assert_int_equal(private_cluster_start(&cluster, 2, pin, CAPACITY), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(list_in_parts(cluster.file));
    int ended;
    assert_int_equal(waitpid(pid, &ended, 0), pid);
    private_cluster_stop(&cluster);
    assert_true(WIFEXITED(ended));
    assert_int_equal(WEXITSTATUS(ended), 0);
}

/* The servers see the end of their sockets when the process that started them is killed. */
static void servers_end_with_their_starter(void **state)
{
    (void)state;
    int ends[2];
    struct private_cluster cluster;
    assert_int_equal(pipe(ends), 0);
    pid_t starter = fork();
    assert_true(starter >= 0);
    if (starter == 0) {
        const int pin[] = {-1};
        close(ends[0]);
        int status = private_cluster_start(&cluster, 1, pin, CAPACITY);
        if (status != 0 || write(ends[1], &cluster, sizeof(cluster)) != (ssize_t)sizeof(cluster))
            _exit(1);
        pause();
        _exit(0);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &cluster, sizeof(cluster)), sizeof(cluster));
    kill(starter, SIGKILL);
    waitpid(starter, NULL, 0);
    /* The server holds the pipe's writing end, too: its end of file is the server's end. */
    char byte;
    assert_int_equal(read(ends[0], &byte, 1), 0);
    close(ends[0]);
    private_directory_remove(cluster.directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(benchmarks_run_on_it),           cmocka_unit_test(killed_servers_are_started_again),
        cmocka_unit_test(a_configuration_is_followed),    cmocka_unit_test(a_directory_is_listed_in_parts),
        cmocka_unit_test(servers_end_with_their_starter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The frames of a test program over a cluster of its own, and of cases that each have one. */
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

struct cluster cluster;
benchfs *fs;
unsigned case_servers = 1;
char case_config[128];

void write_text(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    chmod(path, mode);
}

void case_begin(const char *const *settings)
{
    assert_int_equal(cluster_start(&cluster, case_servers, settings), 0);
    snprintf(case_config, sizeof case_config, "%s/client.toml", cluster.directory);
    write_text(case_config, "[client]\ndeadline = \"1s\"\n", 0644);
    setenv("BENCHFS_CONFIG", case_config, 1);
    fs = benchfs_connect(NULL);
    if (fs == NULL)
        fail_msg("%s", benchfs_error());
    benchfs_umask(fs, 022);
}

void case_signal(int signal)
{
    for (unsigned i = 0; i < cluster.count; i++)
        kill(cluster.pids[i], signal);
}

void case_end(bool clean)
{
    benchfs_disconnect(fs);
    unlink(case_config);
    int ended = cluster_stop(&cluster);
    if (clean)
        assert_int_equal(ended, 0);
}

int posix_main(int argc, char **argv, const char *const *settings, const struct CMUnitTest *tests,
               size_t count)
{
    unsigned servers = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
    if (cluster_start(&cluster, servers, settings) < 0)
        return 99;
    fs = benchfs_connect(NULL);
    if (fs == NULL) {
        fprintf(stderr, "benchfs_connect: %s\n", benchfs_error());
        cluster_stop(&cluster);
        return 99;
    }
    benchfs_umask(fs, 022);
    int failed = _cmocka_run_group_tests(argc > 1 && servers > 1 ? "servers>1" : "servers=1", tests, count,
                                         NULL, NULL);
    benchfs_disconnect(fs);
    int ended = cluster_stop(&cluster);
    return failed != 0 || ended != 0;
}

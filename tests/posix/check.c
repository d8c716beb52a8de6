/* The frame of a test program over a cluster of its own. */
#include "check.h"

struct cluster cluster;
benchfs *fs;

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

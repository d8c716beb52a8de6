/* What it costs that everything is measured always: the smallest operation, a stat, with and without
 * recording at the client and at its server. Both are the same two processes: regions are told to pause and
 * to go on, so neither memory nor processors nor names are others. Short blocks of calls take turns, and the
 * medians of their means are compared: a disturbance spoils some blocks, and drift both sides alike. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/status.h"
#include "bench/crew.h"
#include "bench/interrupt.h"
#include "bench/private_cluster.h"
#include "bench/targets.h"
#include "client/library.h"
#include "metrics/files.h"
#include "metrics/reader.h"

#define SERVER_PROCESSOR 0
#define CLIENT_PROCESSOR 1
#define PATIENCE (120 * NSEC_PER_SEC)
#define CAPACITY (UINT64_C(64) << 20)
#define FILES 100u
#define BLOCKS 60u       /* of each kind, in a repeat */
#define CALLS 400u       /* in each */
#define CALLS_BEFORE 40u /* not timed: until the other end has folded what is left of the block before */

struct overhead {
    struct target_run *run;
    struct private_cluster cluster;
    benchfs *fs;
    struct metrics *client;
    char *server; /* path of its region */
};

/* The region of the server of this client's cluster. */
static int find_server(struct overhead *overhead)
{
    char **paths;
    uint32_t count;
    int status = metrics_list(METRICS_DIRECTORY_DEFAULT, &paths, &count);
    if (status < 0)
        return status;
    for (uint32_t i = 0; i < count; i++) {
        struct metrics_source *source;
        bool found = false;
        if (overhead->server == NULL && metrics_source_open(paths[i], &source) == 0) {
            const struct metrics_header *header = &source->header;
            found = header->role == METRICS_ROLE_SERVER &&
                    header->pid == (uint32_t)overhead->cluster.servers[0].pid &&
                    metrics_process_lives(header);
            metrics_source_close(source);
        }
        if (found)
            overhead->server = paths[i];
        else
            free(paths[i]);
    }
    free(paths);
    return overhead->server != NULL ? 0 : -ENOENT;
}

static int stat_files(struct overhead *overhead, uint32_t calls)
{
    char path[32];
    struct stat found;
    for (uint32_t i = 0; i < calls; i++) {
        snprintf(path, sizeof(path), "/overhead.%u", i % FILES);
        if (benchfs_stat(overhead->fs, path, &found) < 0)
            return -errno;
        if (!S_ISREG(found.st_mode))
            return -EBADMSG;
    }
    return 0;
}

/* Adds the mean of a block, ns. */
static int time_block(struct overhead *overhead, bool paused, double *mean)
{
    int status = metrics_pause(overhead->server, paused);
    __atomic_store_n(&overhead->client->header->paused, paused, __ATOMIC_RELAXED);
    if (status == 0)
        status = stat_files(overhead, CALLS_BEFORE);
    uint64_t started = clock_now();
    if (status == 0)
        status = stat_files(overhead, CALLS);
    *mean = (double)(clock_now() - started) / CALLS;
    return status;
}

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

static int measure_repeat(struct overhead *overhead)
{
    static double means[2][BLOCKS];
    int status = 0;
    for (uint32_t i = 0; i < 2 * BLOCKS && status == 0; i++) {
        bool paused = (i + i / 2) % 2 != 0; /* first one, then the other first: drift falls on both */
        status = interrupted() ? -EINTR : time_block(overhead, paused, &means[paused][i / 2]);
    }
    if (status < 0)
        return status;
    for (int paused = 0; paused < 2; paused++)
        qsort(means[paused], BLOCKS, sizeof(means[paused][0]), by_value);
    target_ratio(overhead->run, TARGET_METRICS_OVERHEAD, means[0][BLOCKS / 2] / 1e3,
                 means[1][BLOCKS / 2] / 1e3, "us");
    return 0;
}

static int measure(struct overhead *overhead)
{
    char path[32];
    struct worker *worker = worker_get(overhead->fs);
    if (worker == NULL)
        return -errno;
    overhead->client = worker->metrics;
    for (uint32_t i = 0; i < FILES; i++) {
        snprintf(path, sizeof(path), "/overhead.%u", i);
        int fd = benchfs_open(overhead->fs, path, O_CREAT | O_EXCL | O_WRONLY, 0644);
        if (fd < 0 || benchfs_close(overhead->fs, fd) < 0)
            return -errno;
    }
    int status = find_server(overhead);
    for (uint32_t i = 0; i < overhead->run->repeats && status == 0; i++)
        status = measure_repeat(overhead);
    free(overhead->server);
    return status;
}

static int work(void *argument)
{
    struct overhead *overhead = argument;
    clock_prepare();
    overhead->fs = benchfs_connect(overhead->cluster.file);
    if (overhead->fs == NULL) {
        bench_error("%s", benchfs_error());
        return -EIO;
    }
    int status = measure(overhead);
    if (status < 0 && status != -EINTR)
        bench_error("what measurement costs: %s", status_text(status));
    benchfs_disconnect(overhead->fs);
    return status;
}

int targets_metrics(struct target_run *run)
{
    static const int pin[] = {SERVER_PROCESSOR};
    struct overhead overhead = {.run = run};
    const struct private_store store = {.engine = "mem", .capacity = CAPACITY, .no_board = true};
    int status = private_cluster_start_on(&overhead.cluster, 1, pin, &store);
    if (status == 0)
        status = target_child(CLIENT_PROCESSOR, PATIENCE, work, &overhead);
    private_cluster_stop(&overhead.cluster);
    return status;
}

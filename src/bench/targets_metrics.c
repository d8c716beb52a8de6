/* What it costs that everything is measured always, at the smallest operations there are.
 *
 * A stat that asks its server, recorded and not recorded: both are the same two processes, whose regions are
 * told to pause and to go on, so neither memory nor processors nor names are others. Not recorded means that
 * neither end writes entries, folds them, counts by partition, tells the queue from the way, nor reads a
 * clock that nothing but measurement needs.
 *
 * A stat that the board answers asks nobody and is a tenth as long. It is counted and not timed, since two
 * readings of the clock would be a quarter of it. To ask whether to count costs as much as to count, so
 * nothing is left out there: all that is done for measurement's sake is done twice in every other block.
 *
 * Blocks are short and take turns, and the medians of their means are compared: a disturbance spoils some
 * blocks, and drift falls on both sides alike. */
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
#include "client/application.h"
#include "metrics/files.h"
#include "metrics/reader.h"

#define SERVER_PROCESSOR 0
#define CLIENT_PROCESSOR 1
#define PATIENCE (120 * NSEC_PER_SEC)
#define CAPACITY (UINT64_C(64) << 20)
#define FILES 100u
#define BLOCKS 1000u        /* of each kind, in a repeat */
#define REQUESTS 50u        /* in each */
#define REQUESTS_BEFORE 10u /* not timed: until the other end has folded what is left of the block before */
#define ANSWERS 200u
#define ANSWERS_BEFORE (20 * FILES) /* until all that is asked for is on the board */

struct overhead {
    struct target_run *run;
    enum target_id row;
    struct private_cluster cluster;
    benchfs *fs;
    struct worker *worker;
    uint32_t *server_paused; /* its region's switch */
    char paths[FILES][32];
};

/* The path of the region of the server of this client's cluster. */
static int find_server(const struct overhead *overhead, char **found)
{
    char **paths;
    uint32_t count;
    int status = metrics_list(METRICS_DIRECTORY_DEFAULT, &paths, &count);
    if (status < 0)
        return status;
    for (uint32_t i = 0; i < count; i++) {
        struct metrics_source *source;
        bool is_it = false;
        if (*found == NULL && metrics_source_open(paths[i], &source) == 0) {
            const struct metrics_header *header = &source->header;
            is_it = header->role == METRICS_ROLE_SERVER &&
                    header->pid == (uint32_t)overhead->cluster.servers[0].pid &&
                    metrics_process_lives(header);
            metrics_source_close(source);
        }
        if (is_it)
            *found = paths[i];
        else
            free(paths[i]);
    }
    free(paths);
    return *found != NULL ? 0 : -ENOENT;
}

/* What a stat that is answered from the board does for measurement's sake (client/board.c, client/walk.c,
 * client/application.h), once more. Returns whether anybody traces. */
static inline bool count_again(struct worker *worker)
{
    metrics_add(worker->metrics, METRIC_DIRECTORY_HITS, 1);
    metrics_add(worker->metrics, METRIC_BOARD_HITS, 1);
    return application_traced();
}

/* again: each is counted twice. */
static inline int stat_files(struct overhead *overhead, uint32_t calls, bool again)
{
    struct stat found;
    for (uint32_t i = 0; i < calls; i++) {
        if (benchfs_stat(overhead->fs, overhead->paths[i % FILES], &found) < 0)
            return -errno;
        if (!S_ISREG(found.st_mode))
            return -EBADMSG;
        if (again && count_again(overhead->worker))
            return -EBUSY;
    }
    return 0;
}

/* The mean of a block of requests, ns. */
static int time_requests(struct overhead *overhead, bool recorded, double *mean)
{
    __atomic_store_n(overhead->server_paused, !recorded, __ATOMIC_RELAXED);
    __atomic_store_n(&overhead->worker->metrics->header->paused, !recorded, __ATOMIC_RELAXED);
    int status = stat_files(overhead, REQUESTS_BEFORE, false);
    uint64_t started = clock_now();
    if (status == 0)
        status = stat_files(overhead, REQUESTS, false);
    *mean = (double)(clock_now() - started) / REQUESTS;
    return status;
}

/* The mean of a block of answers off the board, ns. */
static int time_answers(struct overhead *overhead, bool twice, double *mean)
{
    uint64_t started = clock_now();
    int status = twice ? stat_files(overhead, ANSWERS, true) : stat_files(overhead, ANSWERS, false);
    *mean = (double)(clock_now() - started) / ANSWERS;
    return status;
}

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

/* One repeat: blocks of either kind in turns, first one, then the other first, so that drift falls on both.
 */
static int measure_repeat(struct overhead *overhead,
                          int (*time_block)(struct overhead *overhead, bool more, double *mean))
{
    static double means[2][BLOCKS];
    int status = 0;
    for (uint32_t i = 0; i < 2 * BLOCKS && status == 0; i++) {
        bool more = (i + i / 2) % 2 == 0;
        status = interrupted() ? -EINTR : time_block(overhead, more, &means[more][i / 2]);
    }
    if (status < 0)
        return status;
    for (int more = 0; more < 2; more++)
        qsort(means[more], BLOCKS, sizeof(means[more][0]), by_value);
    target_ratio(overhead->run, overhead->row, means[1][BLOCKS / 2] / 1e3, means[0][BLOCKS / 2] / 1e3, "us");
    return 0;
}

static int make_files(struct overhead *overhead)
{
    for (uint32_t i = 0; i < FILES; i++) {
        snprintf(overhead->paths[i], sizeof(overhead->paths[i]), "/overhead.%u", i);
        int fd = benchfs_open(overhead->fs, overhead->paths[i], O_CREAT | O_EXCL | O_WRONLY, 0644);
        if (fd < 0 || benchfs_close(overhead->fs, fd) < 0)
            return -errno;
    }
    return 0;
}

static int measure_requests(struct overhead *overhead)
{
    char *path = NULL;
    int status = find_server(overhead, &path);
    if (status == 0)
        status = metrics_switch_open(path, &overhead->server_paused);
    free(path);
    if (status < 0)
        return status;
    for (uint32_t i = 0; i < overhead->run->repeats && status == 0; i++)
        status = measure_repeat(overhead, time_requests);
    metrics_switch_close(overhead->server_paused);
    return status;
}

static int measure_answers(struct overhead *overhead)
{
    uint64_t *hits = &overhead->worker->metrics->counters[METRIC_BOARD_HITS];
    int status = stat_files(overhead, ANSWERS_BEFORE, false);
    uint64_t before = *hits;
    if (status == 0)
        status = stat_files(overhead, FILES, false);
    if (status == 0 && *hits - before != FILES)
        return -ENOTSUP; /* it is not the board that answers */
    for (uint32_t i = 0; i < overhead->run->repeats && status == 0; i++)
        status = measure_repeat(overhead, time_answers);
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
    overhead->worker = worker_get(overhead->fs);
    int status = overhead->worker == NULL ? -errno : make_files(overhead);
    if (status == 0)
        status =
            overhead->row == TARGET_METRICS_COUNTING ? measure_answers(overhead) : measure_requests(overhead);
    if (status < 0 && status != -EINTR)
        bench_error("what measurement costs: %s", status_text(status));
    benchfs_disconnect(overhead->fs);
    return status;
}

/* A pair of processes, for all repeats of a row. */
static int measure_row(struct target_run *run, enum target_id row)
{
    static const int pin[] = {SERVER_PROCESSOR};
    struct overhead overhead = {.run = run, .row = row};
    const struct private_store store = {
        .engine = "mem", .capacity = CAPACITY, .no_board = row != TARGET_METRICS_COUNTING};
    if (!target_wanted(run, row, row))
        return 0;
    int status = private_cluster_start_on(&overhead.cluster, 1, pin, &store);
    if (status == 0)
        status = target_child(CLIENT_PROCESSOR, PATIENCE, work, &overhead);
    private_cluster_stop(&overhead.cluster);
    return status;
}

int targets_metrics(struct target_run *run)
{
    int status = measure_row(run, TARGET_METRICS_OVERHEAD);
    return status == 0 ? measure_row(run, TARGET_METRICS_COUNTING) : status;
}

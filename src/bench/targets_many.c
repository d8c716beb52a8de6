/* More processes than processors: two servers and four clients against one and one, a process with eight
 * threads against one with one, and what a server costs that nobody asks.
 *
 * Every client stats files of its own for a fixed time; what counts is the sum over the clients. On two
 * processors the four clients and two servers have to share, so a server or client that polls without giving
 * way ruins it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/status.h"
#include "bench/crew.h"
#include "bench/interrupt.h"
#include "bench/private_cluster.h"
#include "bench/targets.h"
#include "benchfs.h"

#define FILES 200u
#define CLIENTS 4u
#define THREADS 8u
#define CAPACITY (UINT64_C(64) << 20)
#define PATIENCE (60 * NSEC_PER_SEC)
#define BATCH 32u /* stats between two looks at the clock */

struct crowd {
    const struct private_cluster *cluster;
    uint64_t duration;
    uint32_t repeat;
};

static int stat_for_a_while(struct crew_member *member, const struct crowd *crowd, benchfs *fs)
{
    char paths[FILES][48];
    for (uint32_t i = 0; i < FILES; i++) {
        snprintf(paths[i], sizeof(paths[i]), "/crowd.%u.%u.%u", crowd->repeat, member->number, i);
        int fd = benchfs_open(fs, paths[i], O_CREAT | O_EXCL | O_WRONLY, 0644);
        if (fd < 0 || benchfs_close(fs, fd) < 0)
            return -errno;
    }
    struct crew_part *part = crew_phase(member, 0);
    if (part == NULL)
        return -ECANCELED;
    uint64_t before = clock_now();
    for (uint64_t end = before + crowd->duration; before < end;) {
        for (uint32_t i = 0; i < BATCH; i++) {
            struct stat found;
            if (benchfs_stat(fs, paths[part->operations++ % FILES], &found) < 0)
                return -errno;
            if (!S_ISREG(found.st_mode))
                return -EBADMSG;
            uint64_t now = clock_now();
            histogram_record(&part->latency, now - before);
            before = now;
        }
    }
    crew_phase_end(member, 0);
    for (uint32_t i = 0; i < FILES; i++) {
        if (benchfs_unlink(fs, paths[i]) < 0)
            return -errno;
    }
    return 0;
}

/* The connection that the threads of a process share; the last one closes it. */
static pthread_mutex_t shared_mutex = PTHREAD_MUTEX_INITIALIZER;
static benchfs *shared;
static unsigned sharers;

static benchfs *shared_get(const struct crowd *crowd)
{
    pthread_mutex_lock(&shared_mutex);
    if (shared == NULL) {
        clock_prepare();
        shared = benchfs_connect(crowd->cluster->file);
        if (shared == NULL)
            bench_error("%s", benchfs_error());
    }
    benchfs *fs = shared;
    sharers += fs != NULL;
    pthread_mutex_unlock(&shared_mutex);
    return fs;
}

static void shared_put(void)
{
    pthread_mutex_lock(&shared_mutex);
    if (--sharers == 0) {
        benchfs_disconnect(shared);
        shared = NULL;
    }
    pthread_mutex_unlock(&shared_mutex);
}

static int work(struct crew_member *member)
{
    const struct crowd *crowd = member->argument;
    benchfs *fs = shared_get(crowd);
    if (fs == NULL)
        return -EIO;
    int status = stat_for_a_while(member, crowd, fs);
    if (status < 0 && status != -ECANCELED)
        bench_error("client %u: %s", member->number, status_text(status));
    shared_put();
    return status;
}

static int measure_crowd(struct target_run *run, const struct private_cluster *pair,
                         const struct private_cluster *two)
{
    static struct crew_total alone, together;
    const int one_pin[] = {1};
    for (uint32_t repeat = 0; repeat < run->repeats; repeat++) {
        struct crowd crowd = {
            .cluster = pair, .duration = NSEC_PER_SEC / (run->quick ? 5 : 2), .repeat = repeat};
        int status = crew_execute(1, 1, one_pin, 1, work, &crowd, &alone);
        if (status < 0 || interrupted())
            return status < 0 ? status : -EINTR;
        crowd.cluster = two;
        status = crew_execute(CLIENTS, 1, NULL, 1, work, &crowd, &together);
        if (status < 0)
            return status;
        target_ratio(run, TARGET_CROWD, (double)together.operations / together.seconds / 1e3,
                     (double)alone.operations / alone.seconds / 1e3, "kop/s");
        target_value(run, TARGET_CROWD_P99, (double)together.worst_p99 / 1e3);
    }
    return 0;
}

/* Eight threads of one process, on both processors as one thread may be, against that one. */
static int measure_threads(struct target_run *run, const struct private_cluster *one)
{
    static struct crew_total alone, together;
    for (uint32_t repeat = 0; repeat < run->repeats; repeat++) {
        struct crowd crowd = {
            .cluster = one, .duration = NSEC_PER_SEC / (run->quick ? 5 : 2), .repeat = repeat};
        int status = crew_execute(1, 1, NULL, 1, work, &crowd, &alone);
        if (status == 0 && !interrupted())
            status = crew_execute(1, THREADS, NULL, 1, work, &crowd, &together);
        if (status < 0 || interrupted())
            return status < 0 ? status : -EINTR;
        target_ratio(run, TARGET_THREADS, (double)together.operations / together.seconds / 1e3,
                     (double)alone.operations / alone.seconds / 1e3, "kop/s");
    }
    return 0;
}

/* Nanoseconds that a process has run, or -errno. */
static int64_t process_time(pid_t pid)
{
    char path[64];
    uint64_t ran;
    snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return -errno;
    int fields = fscanf(file, "%" SCNu64, &ran);
    fclose(file);
    return fields == 1 ? (int64_t)ran : -EIO;
}

struct idle {
    struct target_run *run;
    const struct private_cluster *cluster;
};

/* A client that has asked once and then is silent; the servers' processor time meanwhile. */
static int watch_idle(void *argument)
{
    const struct idle *idle = argument;
    struct stat found;
    benchfs *fs = benchfs_connect(idle->cluster->file);
    if (fs == NULL || benchfs_stat(fs, "/", &found) < 0) {
        bench_error("idle client: %s", fs == NULL ? benchfs_error() : strerror(errno));
        return -EIO;
    }
    struct timespec settle = {.tv_nsec = 200000000}, period = {.tv_sec = idle->run->quick ? 1 : 3};
    nanosleep(&settle, NULL);
    int64_t before[PRIVATE_SERVERS_MAX];
    uint64_t start = crew_now();
    for (uint32_t i = 0; i < idle->cluster->count; i++)
        before[i] = process_time(idle->cluster->servers[i].pid);
    nanosleep(&period, NULL);
    int status = 0;
    double worst = 0.0;
    for (uint32_t i = 0; i < idle->cluster->count; i++) {
        int64_t after = process_time(idle->cluster->servers[i].pid);
        if (before[i] < 0 || after < 0)
            status = -ESRCH;
        double share = 100.0 * (double)(after - before[i]) / (double)(crew_now() - start);
        worst = share > worst ? share : worst;
    }
    benchfs_disconnect(fs);
    if (status < 0)
        bench_error("cannot read a server's processor time");
    else
        target_value(idle->run, TARGET_IDLE, worst);
    return status;
}

int targets_many(struct target_run *run)
{
    static struct private_cluster pair, two;
    const int pin[] = {0, 1};
    struct idle idle = {.run = run, .cluster = &two};
    int status = private_cluster_start(&pair, 1, pin, CAPACITY);
    if (status < 0)
        return status;
    status = private_cluster_start(&two, 2, pin, CAPACITY);
    if (status == 0 && (run->wanted[TARGET_CROWD] || run->wanted[TARGET_CROWD_P99]))
        status = measure_crowd(run, &pair, &two);
    if (status == 0 && run->wanted[TARGET_THREADS])
        status = measure_threads(run, &pair);
    if (status == 0 && run->wanted[TARGET_IDLE])
        status = target_child(-1, PATIENCE, watch_idle, &idle);
    private_cluster_stop(&two);
    private_cluster_stop(&pair);
    return status;
}

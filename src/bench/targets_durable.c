/* What it costs that things last, and how quickly a server is back: servers with the uring engine on a
 * directory of their own, killed in the end.
 *
 * create-interval: one client creates and closes files for a while, on a server in memory and on one that
 * keeps a journal, in turns. close-durable: several clients create, write and close small files while
 * every close waits for the journal; the reference is how often this device can make a block of the same file
 * durable. restart: a server that has made a million files is killed and started again; the clock runs until
 * a new client has its first answer. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/status.h"
#include "bench/crew.h"
#include "bench/interrupt.h"
#include "bench/private_cluster.h"
#include "bench/stream.h"
#include "bench/targets.h"
#include "benchfs.h"
#include "rpc/operations.h"
#include "runtime/disk.h"

#define REPEATS_MAX 5u
#define RESTARTS_MAX 3u
#define PATIENCE (60 * NSEC_PER_SEC)
#define MIB (UINT64_C(1) << 20)
#define CLIENTS 4u
#define CONTENT_SIZE 3901u
#define SYNC_BLOCK 4096u
#define SYNC_FILE (16 * MIB)
#define FILES 1000000u
#define DIRECTORIES 100u
#define DATA (1024 * MIB)
#define BUFFERS (64 * MIB) /* of the engine, as it chooses them */
#define SPARE (64 * MIB)
#define BYTES_A_FILE 256u

static const int server_processor[] = {0};
static const int client_processor[] = {1};

/* What child processes tell; lies in shared memory. */
struct told {
    struct server_status_reply before, after;
    uint64_t answered; /* crew_now of the first answer */
};

struct durable {
    struct target_run *run;
    char directory[PRIVATE_PATH_MAX];
    struct private_cluster cluster;
    struct told *told;
    uint64_t duration;
    bool writing; /* the clients of create_for_a_while write */
};

static int complain(const char *what, int status)
{
    bench_error("%s: %s", what, status_text(status));
    return status;
}

static benchfs *connect_to(const struct durable *durable)
{
    benchfs *fs = benchfs_connect(durable->cluster.file);
    if (fs == NULL)
        bench_error("%s", benchfs_error());
    return fs;
}

/* ---- clusters ---- */

/* A server of the given kind, in a directory that did not exist. */
static int start(struct durable *durable, const char *engine, enum durability durability, uint64_t capacity)
{
    struct private_store store = {.engine = engine, .capacity = capacity, .durability = durability};
    snprintf(store.directory, sizeof(store.directory), "%.400s/server", durable->directory);
    if (mkdir(store.directory, 0700) < 0)
        return complain(store.directory, -errno);
    int status = private_cluster_start_on(&durable->cluster, 1, server_processor, &store);
    if (status < 0)
        private_directory_remove(store.directory);
    return status;
}

static void stop(struct durable *durable)
{
    char directory[PRIVATE_PATH_MAX];
    snprintf(directory, sizeof(directory), "%.400s/server", durable->directory);
    private_cluster_kill(&durable->cluster); /* what it holds is removed: it need not end in good order */
    private_cluster_stop(&durable->cluster);
    private_directory_remove(directory);
}

/* ---- creating ---- */

static int create_one(const struct durable *durable, benchfs *fs, const char *path)
{
    char content[CONTENT_SIZE];
    int fd = benchfs_open(fs, path, O_CREAT | O_EXCL | O_WRONLY, 0644);
    if (fd < 0)
        return -errno;
    if (durable->writing) {
        memset(content, 'b', sizeof(content));
        if (benchfs_write(fs, fd, content, sizeof(content)) != sizeof(content))
            return -EIO;
    }
    return benchfs_close(fs, fd) < 0 ? -errno : 0;
}

/* The client: creates files in a directory of its own until the time is over. */
static int create_for_a_while(const struct durable *durable, benchfs *fs, struct crew_member *member)
{
    char path[64];
    snprintf(path, sizeof(path), "/client.%u", member->number);
    int status = benchfs_mkdir(fs, path, 0755) < 0 ? -errno : 0;
    struct crew_part *part = crew_phase(member, 0);
    if (part == NULL)
        return -ECANCELED;
    uint64_t now = crew_now();
    for (uint64_t end = now + durable->duration; status == 0 && now < end;) {
        snprintf(path, sizeof(path), "/client.%u/%" PRIu64, member->number, part->operations);
        status = create_one(durable, fs, path);
        part->operations += status == 0;
        uint64_t then = now;
        now = crew_now();
        histogram_record(&part->latency, now - then);
    }
    crew_phase_end(member, 0);
    return status;
}

static void sleep_for(uint64_t duration)
{
    struct timespec time = {.tv_sec = (time_t)(duration / NSEC_PER_SEC),
                            .tv_nsec = (long)(duration % NSEC_PER_SEC)};
    nanosleep(&time, NULL);
}

/* The last member creates nothing: it asks the server near the beginning and the end, when all are at work.
 */
static int observe(const struct durable *durable, benchfs *fs, struct crew_member *member)
{
    if (crew_phase(member, 0) == NULL)
        return -ECANCELED;
    sleep_for(durable->duration / 10);
    int status = target_server_status(fs, &durable->told->before);
    sleep_for(durable->duration * 7 / 10);
    if (status == 0)
        status = target_server_status(fs, &durable->told->after);
    crew_phase_end(member, 0);
    return status;
}

static int take_part(struct crew_member *member)
{
    const struct durable *durable = member->argument;
    benchfs *fs = connect_to(durable);
    if (fs == NULL)
        return -EIO;
    bool observer = member->number + 1 == member->count;
    int status = observer ? observe(durable, fs, member) : create_for_a_while(durable, fs, member);
    if (status < 0 && status != -ECANCELED)
        complain(observer ? "server status" : "create", status);
    if (status == 0)
        status = crew_wait(member); /* nobody disconnects while others measure */
    benchfs_disconnect(fs);
    return status;
}

/* Files a second of `clients`, or -errno. */
static double create(struct durable *durable, uint32_t clients)
{
    static struct crew_total total;
    const int single[] = {client_processor[0], -1};
    int status = crew_execute(clients + 1, 1, clients == 1 ? single : NULL, 1, take_part, durable, &total);
    if (status < 0)
        return status;
    return total.operations == 0 ? -EIO : (double)total.operations / total.seconds;
}

static int measure_interval(struct durable *durable)
{
    double rates[2];
    durable->writing = false;
    for (unsigned kept = 0; kept < 2; kept++) {
        int status =
            start(durable, kept ? "uring" : "mem", kept ? DURABILITY_INTERVAL : DURABILITY_NONE, 64 * MIB);
        if (status < 0)
            return status;
        rates[kept] = create(durable, 1);
        stop(durable);
        if (rates[kept] < 0)
            return (int)rates[kept];
        if (kept && durable->told->after.journal_groups == 0)
            return complain("no journal group was written meanwhile", -EIO);
    }
    target_ratio(durable->run, TARGET_DURABLE_CREATE, rates[1] / 1e3, rates[0] / 1e3, "kop/s");
    return 0;
}

/* Writes block `number` of the file, again and again from its start. */
static int write_block(struct disk_file *file, uint64_t number)
{
    static _Alignas(SYNC_BLOCK) char block[SYNC_BLOCK];
    memcpy(block, &number, sizeof(number));
    ssize_t written = disk_write(file, block, SYNC_BLOCK, number * SYNC_BLOCK % SYNC_FILE);
    return written < 0 ? (int)written : 0;
}

/* How often a second a block of a file that exists can be made durable, or -errno. By a loop that waits as
 * the server's does: a process that sleeps for each block would measure its wake-ups, too. */
static double synchronise(const struct durable *durable, struct loop *loop, struct disk *disk)
{
    struct disk_file *file;
    int status = disk_file_open(disk, "block", DISK_CREATE | DISK_DIRECT, &file);
    if (status < 0)
        return status;
    uint64_t count = 0;
    for (; count * SYNC_BLOCK < SYNC_FILE && status == 0; count++)
        status = write_block(file, count);
    if (status == 0)
        status = disk_sync(file);
    count = 0;
    uint64_t begin = loop_now(loop), now = begin;
    for (; status == 0 && now - begin < durable->duration / 2; now = loop_now(loop), count++) {
        status = write_block(file, count);
        if (status == 0)
            status = disk_sync(file);
    }
    disk_file_close(file);
    return status < 0 ? status : (double)count * 1e9 / (double)(now - begin);
}

static double synchronisations(const struct durable *durable)
{
    char path[PRIVATE_PATH_MAX];
    struct loop *loop;
    struct disk *disk;
    snprintf(path, sizeof(path), "%.400s/synchronised", durable->directory);
    int status = loop_create(&(struct loop_options){0}, &loop);
    if (status < 0)
        return complain("cannot make a loop", status);
    status = disk_open(loop, path, &(struct disk_options){0}, &disk);
    double rate = status;
    if (status == 0) {
        rate = synchronise(durable, loop, disk);
        disk_close(disk);
    }
    loop_destroy(loop);
    return rate < 0 ? complain(path, (int)rate) : rate;
}

static int measure_close(struct durable *durable)
{
    durable->writing = true;
    double device = synchronisations(durable);
    if (device < 0)
        return (int)device;
    int status = start(durable, "uring", DURABILITY_CLOSE, 64 * MIB);
    if (status < 0)
        return status;
    double rate = create(durable, CLIENTS);
    stop(durable);
    if (rate < 0)
        return (int)rate;
    const struct server_status_reply *before = &durable->told->before, *after = &durable->told->after;
    uint64_t groups = after->journal_groups - before->journal_groups;
    if (groups == 0)
        return 0; /* the device stood still for so long: that is no figure of ours */
    double batch = (double)(after->inodes - before->inodes) / (double)groups;
    target_ratio(durable->run, TARGET_DURABLE_CLOSE, rate, device * batch, "op/s");
    /* Clients that wait for every close are at most all in a group: one that misses a group in a thousand is
     * no failure of batching. */
    target_judged(durable->run, TARGET_CLOSE_BATCH, (double)(uint64_t)(batch / CLIENTS * 100.0 + 0.5) / 100.0,
                  batch, CLIENTS, "");
    return 0;
}

/* ---- restarting ---- */

static void file_path(char *path, size_t size, uint32_t number)
{
    snprintf(path, size, "/dir.%02u/file.%07u", number % DIRECTORIES, number);
}

/* In a process of its own: the files, and what the server then says. */
static int make_files(void *argument)
{
    struct durable *durable = argument;
    char path[64];
    benchfs *fs = connect_to(durable);
    if (fs == NULL)
        return -EIO;
    int status = 0;
    for (uint32_t i = 0; i < DIRECTORIES && status == 0; i++) {
        snprintf(path, sizeof(path), "/dir.%02u", i);
        status = benchfs_mkdir(fs, path, 0755) < 0 ? -errno : 0;
    }
    for (uint32_t i = 0; i < FILES && status == 0; i++) {
        file_path(path, sizeof(path), i);
        status = create_one(durable, fs, path);
    }
    if (status == 0 && benchfs_sync(fs) < 0)
        status = -errno;
    if (status == 0)
        status = target_server_status(fs, &durable->told->before);
    benchfs_disconnect(fs);
    return status < 0 ? complain("create", status) : 0;
}

/* In a process of its own: the first answer, and then whether all is there. */
static int look_again(void *argument)
{
    struct durable *durable = argument;
    char path[64];
    struct stat found;
    benchfs *fs = connect_to(durable);
    if (fs == NULL)
        return -EIO;
    file_path(path, sizeof(path), FILES - 1);
    int status = benchfs_stat(fs, path, &found) < 0 ? -errno : 0;
    durable->told->answered = crew_now();
    for (uint32_t i = 0; i < FILES && status == 0; i += 997) {
        file_path(path, sizeof(path), i);
        status = benchfs_stat(fs, path, &found) < 0 ? -errno : S_ISREG(found.st_mode) ? 0 : -EBADMSG;
    }
    if (status == 0)
        status = target_server_status(fs, &durable->told->after);
    benchfs_disconnect(fs);
    return status < 0 ? complain("stat after the restart", status) : 0;
}

/* Resident bytes of a process, or -errno. */
static int64_t resident(pid_t pid)
{
    char path[64], line[256];
    int64_t kib = -ENOENT;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return -errno;
    while (fgets(line, sizeof(line), file) != NULL)
        sscanf(line, "VmRSS: %" SCNd64, &kib);
    fclose(file);
    return kib < 0 ? kib : kib << 10;
}

static int write_data(const struct durable *durable)
{
    struct stream_result ignored;
    struct stream stream = {.cluster = durable->cluster.file,
                            .path = "/data",
                            .size = MIB,
                            .footprint = DATA,
                            .depth = 8,
                            .processes = 1,
                            .processor = client_processor,
                            .writing = true};
    return stream_run(&stream, &ignored);
}

static int add_memory(struct durable *durable)
{
    int64_t bytes = resident(durable->cluster.servers[0].pid);
    if (bytes < 0)
        return complain("resident memory of the server", (int)bytes);
    double allowed = (double)(BUFFERS + SPARE) + (double)durable->told->before.inodes * BYTES_A_FILE;
    target_ratio(durable->run, TARGET_SERVER_MEMORY, (double)bytes / MIB, allowed / MIB, "MiB");
    return 0;
}

static int restart(struct durable *durable)
{
    private_cluster_kill(&durable->cluster);
    uint64_t begin = crew_now();
    int status = private_cluster_restart(&durable->cluster);
    if (status == 0)
        status = target_child(client_processor[0], PATIENCE, look_again, durable);
    if (status < 0)
        return status;
    const struct server_status_reply *after = &durable->told->after;
    if (after->recovery_ns == 0 || after->inodes < FILES)
        return complain("what the server recovered", -EBADMSG);
    target_value(durable->run, TARGET_RESTART, (double)(durable->told->answered - begin) / 1e6);
    target_value(durable->run, TARGET_RECOVERY,
                 (double)after->recovered_records * 1e9 / (double)after->recovery_ns);
    return 0;
}

static int measure_restart(struct durable *durable)
{
    const struct target_run *run = durable->run;
    durable->writing = false;
    int status = start(durable, "uring", DURABILITY_INTERVAL, 2 * DATA);
    if (status < 0)
        return status;
    status = target_child(client_processor[0], PATIENCE, make_files, durable);
    if (status == 0 && run->wanted[TARGET_SERVER_MEMORY]) {
        status = write_data(durable);
        if (status == 0)
            status = add_memory(durable);
    }
    if (status == 0 && target_wanted(run, TARGET_RESTART, TARGET_RECOVERY))
        status = restart(durable);
    stop(durable);
    return status;
}

/* ---- all ---- */

static int measure_once(struct durable *durable, uint32_t repeat)
{
    const struct target_run *run = durable->run;
    int status = run->wanted[TARGET_DURABLE_CREATE] ? measure_interval(durable) : 0;
    if (status == 0 && target_wanted(run, TARGET_DURABLE_CLOSE, TARGET_CLOSE_BATCH))
        status = measure_close(durable);
    if (status == 0 && repeat < RESTARTS_MAX && target_wanted(run, TARGET_RESTART, TARGET_SERVER_MEMORY))
        status = measure_restart(durable);
    return status;
}

int targets_durable(struct target_run *run)
{
    static struct durable durable;
    durable =
        (struct durable){.run = run, .duration = run->quick ? 3 * NSEC_PER_SEC / 2 : 5 * NSEC_PER_SEC / 2};
    uint32_t repeats = run->repeats < REPEATS_MAX ? run->repeats : REPEATS_MAX;
    durable.told =
        mmap(NULL, sizeof(*durable.told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (durable.told == MAP_FAILED)
        return complain("shared memory", -errno);
    int status = private_directory_make_in(run->directory, durable.directory, sizeof(durable.directory));
    if (status < 0)
        complain("cannot make a directory", status);
    for (uint32_t repeat = 0; repeat < repeats && status == 0; repeat++)
        status = interrupted() ? -EINTR : measure_once(&durable, repeat);
    if (durable.directory[0] != 0)
        private_directory_remove(durable.directory);
    munmap(durable.told, sizeof(*durable.told));
    return status;
}

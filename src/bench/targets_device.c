/* What lies on a device: servers with the uring and the file engine beside fio and plain system calls on
 * files of the same file system.
 *
 * The servers run bound to processor 0, single clients to processor 1; fio and several clients run where they
 * like. Files are filled once before anything is measured, on both sides: what is measured is overwriting and
 * reading of what exists. In each repeat fio and we take turns for each row. Neither side waits for the
 * device's cache: fio does not synchronise, and the server's journal does so for what it has recorded, once
 * in store.interval, as in the default configuration. The row of `file` compares with pwrite and pread
 * through the page cache, so there the server promises nothing but fsync (durability none). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/status.h"
#include "bench/crew.h"
#include "bench/fio.h"
#include "bench/interrupt.h"
#include "bench/private_cluster.h"
#include "bench/raw_peer.h"
#include "bench/stream.h"
#include "bench/subject.h"
#include "bench/targets.h"

#define REPEATS_MAX 5u
#define MIB (UINT64_C(1) << 20)
#define SMALL 64u
#define BLOCK 4096u
#define DEPTH 8u
#define CLIENTS 4u
#define SPACE 3u /* capacity of a server, in footprints */
#define RAW_CALLS 5000u
#define BUFFERED_BLOCKS 256u /* of a MiB: in the page cache */
#define PATIENCE (120 * NSEC_PER_SEC)

static const int server_processor[] = {0};
static const int client_processor[] = {1};

struct device {
    struct target_run *run;
    char directory[PRIVATE_PATH_MAX];
    uint64_t footprint;                /* of the files past the page cache */
    uint64_t duration;                 /* of what is measured by time */
    struct private_cluster sequential; /* all three: uring */
    struct private_cluster random;
    struct private_cluster checksum; /* with and without */
    struct subject_plan file_plan;
    struct subject_plan plain_plan;
    struct subject *file;  /* the engine */
    struct subject *plain; /* pwrite and pread */
};

/* ---- what is measured ---- */

/* Sequential, one client; or (random) 4 KiB by several clients, or (depth 1) by one. */
static struct stream stream_on(const struct device *device, const struct private_cluster *cluster,
                               uint64_t size, bool writing)
{
    return (struct stream){.cluster = cluster->file,
                           .path = "/data",
                           .size = size,
                           .footprint = device->footprint,
                           .depth = DEPTH,
                           .processes = 1,
                           .processor = client_processor,
                           .writing = writing};
}

static int run_fio(const struct device *device, uint64_t size, uint32_t depth, bool writing, bool random,
                   struct fio_result *result)
{
    struct fio_job job = {.directory = device->directory,
                          .file = "reference",
                          .writing = writing,
                          .random = random,
                          .block = size,
                          .size = device->footprint,
                          .depth = depth,
                          .duration = random ? device->duration : 0};
    return fio_run(&job, PATIENCE, result);
}

static int compare_sequential(struct device *device, enum target_id row, uint64_t size, bool writing)
{
    struct fio_result fio;
    struct stream_result own;
    struct stream stream = stream_on(device, &device->sequential, size, writing);
    int status = run_fio(device, size, DEPTH, writing, false, &fio);
    if (status == 0)
        status = stream_run(&stream, &own);
    if (status == 0)
        target_ratio(device->run, row, own.bytes_per_second / 1e9, fio.bytes_per_second / 1e9, "GB/s");
    return status;
}

/* write_row; the read's row follows it. What is read was written in transfers of this size. */
static int compare_size(struct device *device, enum target_id write_row, uint64_t size)
{
    if (!target_wanted(device->run, write_row, write_row + 1))
        return 0;
    int status = compare_sequential(device, write_row, size, true);
    return status == 0 ? compare_sequential(device, write_row + 1, size, false) : status;
}

/* 4 KiB in random order by several clients. */
static int run_random(const struct device *device, bool writing, struct stream_result *result)
{
    struct stream stream = stream_on(device, &device->random, BLOCK, writing);
    stream.random = true;
    stream.processes = CLIENTS;
    stream.processor = NULL;
    stream.duration = device->duration;
    return stream_run(&stream, result);
}

static int compare_random(struct device *device, enum target_id row, bool writing)
{
    struct fio_result fio;
    struct stream_result own;
    if (!target_wanted(device->run, row, row))
        return 0;
    int status = run_fio(device, BLOCK, CLIENTS * DEPTH, writing, true, &fio);
    if (status == 0)
        status = run_random(device, writing, &own);
    if (status == 0)
        target_ratio(device->run, row, own.operations_per_second / 1e3, fio.operations_per_second / 1e3,
                     "kop/s");
    return status;
}

struct raw_work {
    struct raw_peer peer;
    bool writing;
};

static int raw_work(struct crew_member *member)
{
    struct raw_work *work = member->argument;
    static uint64_t latency[RAW_CALLS];
    int status = raw_peer_connect(&work->peer);
    if (status < 0)
        return status;
    struct crew_part *part = crew_phase(member, 0);
    status = part == NULL ? -ECANCELED
                          : raw_round_trips(work->peer.client, work->writing ? BLOCK : SMALL,
                                            work->writing ? SMALL : BLOCK, 1, RAW_CALLS, latency, NULL);
    crew_phase_end(member, 0);
    for (uint32_t i = 0; i < RAW_CALLS && status == 0; i++)
        histogram_record(&part->latency, latency[i]);
    raw_client_destroy(work->peer.client);
    return status;
}

/* Median of raw round trips in ns, or -errno. */
static double raw_median(bool writing)
{
    static struct crew_total total;
    struct raw_work work = {.writing = writing};
    int status = raw_peer_start(&work.peer, server_processor[0]);
    if (status == 0)
        status = crew_execute(1, 1, client_processor, 1, raw_work, &work, &total);
    raw_peer_stop(&work.peer);
    if (status == -EINTR)
        return status;
    if (status < 0)
        bench_error("raw UCX: %s", status_text(status));
    return status < 0 ? status : (double)histogram_quantile(&total.latency, 0.5);
}

static int compare_latency(struct device *device, enum target_id row, bool writing)
{
    struct fio_result fio;
    struct stream_result own;
    struct stream stream = stream_on(device, &device->random, BLOCK, writing);
    stream.random = true;
    stream.depth = 1;
    stream.duration = device->duration;
    if (!target_wanted(device->run, row, row))
        return 0;
    double raw = raw_median(writing);
    int status = raw < 0 ? (int)raw : run_fio(device, BLOCK, 1, writing, true, &fio);
    if (status == 0)
        status = stream_run(&stream, &own);
    if (status == 0)
        target_judged(device->run, row, (own.median_ns - fio.median_ns) / raw, own.median_ns / 1e3,
                      fio.median_ns / 1e3, "us");
    return status;
}

/* Bytes per second of one pass over the file, or -errno. Leaves nothing that is not durable to the next. */
static double run_pass(struct subject *subject, bool writing)
{
    static struct crew_part part;
    struct subject_pass pass = {.writing = writing, .generation = 1, .count = subject->plan->blocks};
    histogram_init(&part.latency);
    part.operations = part.bytes = 0;
    uint64_t start = crew_now();
    int status = subject->operations->run(subject, &pass, &part);
    double rate = (double)part.bytes * 1e9 / (double)(crew_now() - start);
    if (status == 0)
        status = subject->operations->settle(subject);
    return status < 0 ? status : rate;
}

static int compare_buffered(struct device *device, enum target_id row, bool writing)
{
    double plain = run_pass(device->plain, writing);
    double own = plain < 0 ? plain : run_pass(device->file, writing);
    if (own < 0)
        return (int)own;
    target_ratio(device->run, row, own / 1e9, plain / 1e9, "GB/s");
    return 0;
}

/* The same server once more, with or without checksums, on the same directory: what else it is that makes one
 * part of a device quicker than another is the same for both. Adds the seconds that a byte takes. */
static int run_checksum(struct device *device, bool checksum, double *writing, double *reading)
{
    struct stream_result result;
    private_cluster_kill(&device->checksum);
    device->checksum.config.store.checksum = checksum;
    int status = private_cluster_restart(&device->checksum);
    struct stream stream = stream_on(device, &device->checksum, MIB, true);
    if (status == 0)
        status = stream_run(&stream, &result);
    if (status < 0)
        return status;
    *writing += 1.0 / result.bytes_per_second;
    stream.writing = false;
    status = stream_run(&stream, &result);
    if (status == 0)
        *reading += 1.0 / result.bytes_per_second;
    return status;
}

static void add_loss(struct device *device, enum target_id row, double without, double with)
{
    target_judged(device->run, row, 100.0 * (1.0 - without / with), 2.0 / with / 1e9, 2.0 / without / 1e9,
                  "GB/s");
}

/* Without, with, with, without: whether the device becomes slower or faster meanwhile harms both alike. */
static int compare_checksum(struct device *device)
{
    static const unsigned order[] = {0, 1, 1, 0};
    double writing[2] = {0.0, 0.0}, reading[2] = {0.0, 0.0};
    for (unsigned i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        int status = run_checksum(device, order[i] == 1, &writing[order[i]], &reading[order[i]]);
        if (status < 0)
            return status;
    }
    add_loss(device, TARGET_CHECKSUM_WRITE, writing[0], writing[1]);
    add_loss(device, TARGET_CHECKSUM_READ, reading[0], reading[1]);
    return 0;
}

static int measure_once(struct device *device)
{
    const struct target_run *run = device->run;
    int status = compare_size(device, TARGET_URING_WRITE_1M, MIB);
    if (status == 0)
        status = compare_size(device, TARGET_URING_WRITE_4M, 4 * MIB);
    if (status == 0)
        status = compare_random(device, TARGET_URING_RANDOM_WRITE, true);
    if (status == 0)
        status = compare_random(device, TARGET_URING_RANDOM_READ, false);
    if (status == 0)
        status = compare_latency(device, TARGET_URING_LATENCY_WRITE, true);
    if (status == 0)
        status = compare_latency(device, TARGET_URING_LATENCY_READ, false);
    if (status == 0 && target_wanted(run, TARGET_FILE_WRITE, TARGET_FILE_READ)) {
        status = compare_buffered(device, TARGET_FILE_WRITE, true);
        if (status == 0)
            status = compare_buffered(device, TARGET_FILE_READ, false);
    }
    if (status == 0 && target_wanted(run, TARGET_CHECKSUM_WRITE, TARGET_CHECKSUM_READ))
        status = compare_checksum(device);
    return status;
}

/* ---- before and after ---- */

/* A uring server with a file of the footprint, whose blocks have all been in use before: the first write to a
 * block costs the file system more than the next ones, on fio's side, too. */
static int start(const struct device *device, struct private_cluster *cluster, const char *name)
{
    struct private_store store = {
        .engine = "uring", .capacity = SPACE * device->footprint, .durability = DURABILITY_INTERVAL};
    struct stream_result ignored;
    snprintf(store.directory, sizeof(store.directory), "%.400s/%s", device->directory, name);
    if (mkdir(store.directory, 0700) < 0) {
        int status = -errno;
        bench_error("cannot make %s: %s", store.directory, status_text(status));
        return status;
    }
    int status = private_cluster_start_on(cluster, 1, server_processor, &store);
    struct stream stream = stream_on(device, cluster, MIB, true);
    for (uint32_t pass = 0; pass <= SPACE && status == 0; pass++)
        status = stream_run(&stream, &ignored);
    return status;
}

/* The blocks where the cursor of the store stands now may be new; small writes use them up. */
static int start_random(struct device *device)
{
    struct stream_result ignored;
    int status = start(device, &device->random, "random");
    return status == 0 ? run_random(device, true, &ignored) : status;
}

static int prepare_uring(struct device *device)
{
    const struct target_run *run = device->run;
    bool fio = target_wanted(run, TARGET_URING_WRITE_1M, TARGET_URING_LATENCY_READ);
    struct fio_result ignored;
    int status = fio ? run_fio(device, MIB, DEPTH, true, false, &ignored) : 0;
    if (status == 0 && target_wanted(run, TARGET_URING_WRITE_1M, TARGET_URING_READ_4M))
        status = start(device, &device->sequential, "sequential");
    if (status == 0 && target_wanted(run, TARGET_URING_RANDOM_WRITE, TARGET_URING_LATENCY_READ))
        status = start_random(device);
    if (status == 0 && target_wanted(run, TARGET_CHECKSUM_WRITE, TARGET_CHECKSUM_READ))
        status = start(device, &device->checksum, "checksum");
    return status;
}

/* With every block written once. */
static int open_filled(const struct subject_operations *operations, const struct subject_plan *plan,
                       struct subject **subject)
{
    int status = operations->open(plan, subject);
    double filled = status == 0 ? run_pass(*subject, true) : status;
    return filled < 0 ? (int)filled : 0;
}

static int prepare_file(struct device *device)
{
    static char directory[PRIVATE_PATH_MAX];
    if (!target_wanted(device->run, TARGET_FILE_WRITE, TARGET_FILE_READ))
        return 0;
    snprintf(directory, sizeof(directory), "%.400s/file", device->directory);
    device->plain_plan = (struct subject_plan){
        .name = "pwrite", .directory = device->directory, .size = MIB, .blocks = BUFFERED_BLOCKS, .depth = 1};
    device->file_plan = device->plain_plan;
    device->file_plan.name = "file";
    device->file_plan.directory = directory;
    device->file_plan.chunk_size = MIB;
    device->file_plan.capacity = 3 * BUFFERED_BLOCKS * MIB;
    device->file_plan.checksum = true;
    int status = open_filled(&subject_pwrite, &device->plain_plan, &device->plain);
    return status == 0 ? open_filled(&subject_engine, &device->file_plan, &device->file) : status;
}

static void close_subject(struct subject *subject)
{
    if (subject != NULL)
        subject->operations->close(subject);
}

/* Without fio its rows cannot be measured. */
static void look_for_fio(struct target_run *run)
{
    if (fio_found())
        return;
    for (unsigned row = TARGET_URING_WRITE_1M; row <= TARGET_URING_LATENCY_READ; row++) {
        if (run->wanted[row])
            target_skip(run, row, "fio is not installed");
    }
}

int targets_device(struct target_run *run)
{
    static struct device device;
    device = (struct device){.run = run,
                             .footprint = run->quick ? 256 * MIB : 1024 * MIB,
                             .duration = run->quick ? NSEC_PER_SEC / 2 : NSEC_PER_SEC};
    uint32_t repeats = run->repeats < REPEATS_MAX ? run->repeats : REPEATS_MAX;
    look_for_fio(run);
    int status = private_directory_make_in(run->directory, device.directory, sizeof(device.directory));
    if (status < 0) {
        bench_error("cannot make a directory: %s", status_text(status));
        return status;
    }
    status = prepare_uring(&device);
    if (status == 0)
        status = prepare_file(&device);
    for (uint32_t repeat = 0; repeat < repeats && status == 0; repeat++)
        status = interrupted() ? -EINTR : measure_once(&device);
    close_subject(device.plain);
    close_subject(device.file);
    private_cluster_stop(&device.sequential);
    private_cluster_stop(&device.random);
    private_cluster_stop(&device.checksum);
    private_directory_remove(device.directory);
    return status;
}

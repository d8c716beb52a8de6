/* One server on one processor, one client on another, beside raw UCX between the same processors.
 *
 * The client process holds both a connection by libbenchfs and a raw one and uses them in turns; the raw
 * reference is taken anew before each of our measurements. Latencies are medians of single calls. Bandwidth
 * is bytes by elapsed time, over server memory of the same footprint on both sides: one block again and again
 * (cache-hot), or 1 GiB front to back. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/status.h"
#include "bench/private_cluster.h"
#include "bench/raw_peer.h"
#include "bench/targets.h"
#include "client/library.h"
#include "metrics/histogram.h"

#define SERVER_PROCESSOR 0
#define CLIENT_PROCESSOR 1
#define PATIENCE (120 * NSEC_PER_SEC)
#define SMALL 64u
#define BLOCK 4096u
#define CONTENT_SIZE 3901u
#define FILES 1000u
/* Calls that come first, unmeasured, on as many other names: raw messages have just been in the processors'
 * caches, and are medians of 20 times as many. */
#define WARM_UP FILES
#define NAMES (WARM_UP + FILES)
/* Asked for twice, a name is on the server's board; read there once, it is in this processor's cache. */
#define BOARD_ROUNDS 3u
#define FOOTPRINT (UINT64_C(1) << 30)
#define BLOCK_FILE (UINT64_C(16) << 20)
#define BUFFER_SIZE (UINT64_C(4) << 20)
#define HUGE_PAGE (UINT64_C(2) << 20)

struct single {
    struct target_run *run;
    struct private_cluster cluster;
    struct raw_peer raw;
    benchfs *fs;
    uint64_t calls; /* of a latency measurement */
    int (*measure)(struct single *single);
    uint64_t unmeasured; /* calls that come first */
    uint64_t names;      /* that calls go through: so many of paths */
    int fd;
    char *buffer;
    uint64_t *raw_latency;
    char (*paths)[32];
    char content[CONTENT_SIZE];
    struct histogram histogram;
};

typedef int (*operation)(struct single *single, uint64_t number);

static int complain(const char *what, int status)
{
    bench_error("%s: %s", what, status_text(status));
    return status;
}

/* ---- raw ---- */

/* Median of raw round trips in ns, or -errno. */
static double raw_median(struct single *single, uint32_t there, uint32_t back)
{
    raw_peer_resume(&single->raw);
    int status =
        raw_round_trips(single->raw.client, there, back, 1, single->calls, single->raw_latency, NULL);
    raw_peer_pause(&single->raw);
    if (status < 0)
        return complain("raw UCX", status);
    histogram_init(&single->histogram);
    for (uint64_t i = 0; i < single->calls; i++)
        histogram_record(&single->histogram, single->raw_latency[i]);
    return (double)histogram_quantile(&single->histogram, 0.5);
}

/* Bytes per second, or -errno. */
static double raw_bandwidth(struct single *single, bool writing, uint64_t size, uint64_t footprint,
                            uint64_t count)
{
    uint64_t elapsed = 0;
    raw_peer_resume(&single->raw);
    int status =
        (writing ? raw_write : raw_read)(single->raw.client, size, footprint, 1, count, NULL, &elapsed);
    raw_peer_pause(&single->raw);
    if (status < 0 || elapsed == 0)
        return complain("raw UCX", status < 0 ? status : -EIO);
    return (double)(count * size) * 1e9 / (double)elapsed;
}

/* ---- operations ---- */

static void make_paths(struct single *single, char kind, uint64_t names)
{
    single->names = names;
    for (uint64_t i = 0; i < names; i++)
        snprintf(single->paths[i], sizeof(single->paths[i]), "/targets/%c.%06llu", kind,
                 (unsigned long long)i);
}

static int do_stat(struct single *single, uint64_t number)
{
    struct stat found;
    if (benchfs_stat(single->fs, single->paths[number % single->names], &found) < 0)
        return -errno;
    return S_ISREG(found.st_mode) && found.st_size == 0 ? 0 : -EBADMSG;
}

static int do_lookup(struct single *single, uint64_t number)
{
    struct stat found;
    if (benchfs_stat(single->fs, single->paths[number % single->names], &found) == 0)
        return -EEXIST;
    return errno == ENOENT ? 0 : -errno;
}

static int do_create(struct single *single, uint64_t number)
{
    int fd =
        benchfs_open(single->fs, single->paths[number % single->names], O_CREAT | O_EXCL | O_WRONLY, 0644);
    return fd < 0 || benchfs_close(single->fs, fd) < 0 ? -errno : 0;
}

static int do_create_write(struct single *single, uint64_t number)
{
    int fd =
        benchfs_open(single->fs, single->paths[number % single->names], O_CREAT | O_EXCL | O_WRONLY, 0644);
    if (fd < 0)
        return -errno;
    ssize_t count = benchfs_write(single->fs, fd, single->content, CONTENT_SIZE);
    int status = benchfs_close(single->fs, fd) < 0 ? -errno : 0;
    return count == CONTENT_SIZE ? status : -EIO;
}

static int do_open_read(struct single *single, uint64_t number)
{
    int fd = benchfs_open(single->fs, single->paths[number % single->names], O_RDONLY);
    if (fd < 0)
        return -errno;
    single->buffer[CONTENT_SIZE - 1] = 0;
    ssize_t count = benchfs_read(single->fs, fd, single->buffer, CONTENT_SIZE);
    int status = benchfs_close(single->fs, fd) < 0 ? -errno : 0;
    if (count != CONTENT_SIZE || single->buffer[CONTENT_SIZE - 1] != single->content[CONTENT_SIZE - 1])
        return -EIO;
    return status;
}

static int do_unlink(struct single *single, uint64_t number)
{
    return benchfs_unlink(single->fs, single->paths[number % single->names]) < 0 ? -errno : 0;
}

static int do_write_block(struct single *single, uint64_t number)
{
    off_t offset = (off_t)(number * BLOCK % BLOCK_FILE);
    memcpy(single->buffer, &offset, sizeof(offset));
    return benchfs_pwrite(single->fs, single->fd, single->buffer, BLOCK, offset) == BLOCK ? 0 : -EIO;
}

static int do_read_block(struct single *single, uint64_t number)
{
    off_t offset = (off_t)(number * BLOCK % BLOCK_FILE), found;
    if (benchfs_pread(single->fs, single->fd, single->buffer, BLOCK, offset) != BLOCK)
        return -EIO;
    memcpy(&found, single->buffer, sizeof(found));
    return found == offset ? 0 : -EBADMSG;
}

/* Times count calls one by one, from number `first` on. */
static int time_calls(struct single *single, const char *what, operation call, uint64_t first, uint64_t count)
{
    histogram_init(&single->histogram);
    for (uint64_t i = first; i < first + count; i++) {
        uint64_t start = clock_now();
        int status = call(single, i);
        histogram_record(&single->histogram, clock_now() - start);
        if (status < 0)
            return complain(what, status);
    }
    return 0;
}

static int run_calls(struct single *single, const char *what, operation call, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        int status = call(single, i);
        if (status < 0)
            return complain(what, status);
    }
    return 0;
}

/* ---- rows ---- */

/* Measures raw and then `call`; adds the ratio of medians. Names are worn out by some calls, hence count. */
static int compare_calls(struct single *single, enum target_id row, const char *what, operation call,
                         uint64_t count, uint32_t there, uint32_t back)
{
    double raw = raw_median(single, there, back);
    if (raw < 0)
        return (int)raw;
    int status = run_calls(single, what, call, single->unmeasured);
    if (status == 0)
        status = time_calls(single, what, call, single->unmeasured, count);
    if (status < 0)
        return status;
    double own = (double)histogram_quantile(&single->histogram, 0.5);
    target_ratio(single->run, row, own / 1e3, raw / 1e3, "us");
    return 0;
}

static void add_p99(struct single *single, enum target_id row)
{
    target_ratio(single->run, row, (double)histogram_quantile(&single->histogram, 0.99) / 1e3,
                 (double)histogram_quantile(&single->histogram, 0.5) / 1e3, "us");
}

static int lookups(struct single *single)
{
    make_paths(single, 's', FILES);
    single->unmeasured = BOARD_ROUNDS * FILES;
    int status = compare_calls(single, TARGET_STAT, "stat", do_stat, single->calls, SMALL, SMALL);
    if (status < 0)
        return status;
    add_p99(single, TARGET_STAT_P99);
    make_paths(single, 'm', FILES);
    status = compare_calls(single, TARGET_LOOKUP, "lookup of a missing name", do_lookup, single->calls, SMALL,
                           SMALL);
    single->unmeasured = 0;
    if (status == 0)
        add_p99(single, TARGET_LOOKUP_P99);
    return status;
}

static int empty_files(struct single *single)
{
    make_paths(single, 'c', NAMES);
    single->unmeasured = WARM_UP;
    int status = compare_calls(single, TARGET_CREATE, "create", do_create, FILES, SMALL, SMALL);
    if (status == 0)
        status = compare_calls(single, TARGET_UNLINK, "unlink", do_unlink, FILES, SMALL, SMALL);
    single->unmeasured = 0;
    return status;
}

static int small_files(struct single *single)
{
    make_paths(single, 'w', NAMES);
    single->unmeasured = WARM_UP;
    int status = compare_calls(single, TARGET_CREATE_WRITE, "create, write, close", do_create_write, FILES,
                               SMALL, SMALL);
    single->unmeasured = BOARD_ROUNDS * FILES;
    single->names = FILES;
    if (status == 0)
        status =
            compare_calls(single, TARGET_OPEN_READ, "open, read, close", do_open_read, FILES, SMALL, SMALL);
    single->unmeasured = 0;
    single->names = NAMES;
    return status == 0 ? run_calls(single, "unlink", do_unlink, NAMES) : status;
}

static int blocks(struct single *single)
{
    single->fd = benchfs_open(single->fs, "/targets/blocks", O_CREAT | O_RDWR, 0644);
    if (single->fd < 0)
        return complain("create", -errno);
    int status = run_calls(single, "write", do_write_block, BLOCK_FILE / BLOCK);
    if (status == 0)
        status = compare_calls(single, TARGET_WRITE_4K, "write 4 KiB", do_write_block, single->calls, BLOCK,
                               SMALL);
    if (status == 0)
        status =
            compare_calls(single, TARGET_READ_4K, "read 4 KiB", do_read_block, single->calls, SMALL, BLOCK);
    benchfs_close(single->fs, single->fd);
    return status;
}

/* Bytes per second of count transfers through footprint bytes of the open file, or -errno. */
static double bandwidth(struct single *single, bool writing, uint64_t size, uint64_t footprint,
                        uint64_t count)
{
    uint64_t start = clock_now();
    uint64_t offset = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t found = offset;
        ssize_t moved;
        if (writing) {
            memcpy(single->buffer, &offset, sizeof(offset));
            moved = benchfs_pwrite(single->fs, single->fd, single->buffer, size, (off_t)offset);
        } else {
            moved = benchfs_pread(single->fs, single->fd, single->buffer, size, (off_t)offset);
            memcpy(&found, single->buffer, sizeof(found));
        }
        if (moved != (ssize_t)size || found != offset)
            return complain(writing ? "write" : "read", moved < 0 ? -errno : -EIO);
        offset = offset + 2 * size > footprint ? 0 : offset + size;
    }
    return (double)(count * size) * 1e9 / (double)(clock_now() - start);
}

static int compare_bandwidth(struct single *single, enum target_id row, bool writing, uint64_t size,
                             uint64_t footprint, uint64_t count)
{
    if (!single->run->wanted[row])
        return 0;
    double raw = raw_bandwidth(single, writing, size, footprint, count);
    if (raw < 0)
        return (int)raw;
    double own = bandwidth(single, writing, size, footprint, count);
    if (own < 0)
        return (int)own;
    target_ratio(single->run, row, own / 1e9, raw / 1e9, "GB/s");
    return 0;
}

/* write_row; the read's row follows it. The file's footprint is written once before the clock starts. */
static int transfers(struct single *single, enum target_id write_row, uint64_t size, uint64_t footprint,
                     uint64_t total)
{
    enum target_id read_row = write_row + 1;
    if (!target_wanted(single->run, write_row, read_row))
        return 0;
    char path[64];
    snprintf(path, sizeof(path), "/targets/big.%llu", (unsigned long long)footprint);
    single->fd = benchfs_open(single->fs, path, O_CREAT | O_RDWR, 0644);
    if (single->fd < 0)
        return complain("create", -errno);
    struct stat found;
    int status = benchfs_fstat(single->fs, single->fd, &found) < 0 ? -errno : 0;
    if (status == 0 && (uint64_t)found.st_size < footprint)
        status = bandwidth(single, true, size, footprint, footprint / size) < 0 ? -EIO : 0;
    if (status == 0)
        status = compare_bandwidth(single, write_row, true, size, footprint, total / size);
    /* What is read was written in blocks of this size, also if the write's row is not wanted. */
    if (status == 0 && !single->run->wanted[write_row])
        status = bandwidth(single, true, size, footprint, footprint / size) < 0 ? -EIO : 0;
    if (status == 0)
        status = compare_bandwidth(single, read_row, false, size, footprint, total / size);
    benchfs_close(single->fs, single->fd);
    return status;
}

static int dispatch(struct single *single)
{
    struct server_status_reply before, after;
    make_paths(single, 's', FILES);
    int status = target_server_status(single->fs, &before);
    if (status == 0)
        status = run_calls(single, "stat", do_stat, 2 * single->calls);
    if (status == 0)
        status = target_server_status(single->fs, &after);
    if (status < 0)
        return complain("server status", status);
    uint64_t requests = after.dispatched - before.dispatched;
    if (requests < 10) /* the server times a sample */
        return complain("server counters of dispatch", -EIO);
    target_value(single->run, TARGET_DISPATCH,
                 (double)(after.dispatch_ns - before.dispatch_ns) / (double)requests);
    return 0;
}

static int measure_all(struct single *single)
{
    uint64_t hot = single->run->quick ? UINT64_C(128) << 20 : UINT64_C(512) << 20;
    int status = 0;
    if (target_wanted(single->run, TARGET_STAT, TARGET_LOOKUP_P99))
        status = lookups(single);
    if (status == 0 && target_wanted(single->run, TARGET_CREATE, TARGET_UNLINK))
        status = empty_files(single);
    if (status == 0 && target_wanted(single->run, TARGET_CREATE_WRITE, TARGET_OPEN_READ))
        status = small_files(single);
    if (status == 0 && target_wanted(single->run, TARGET_WRITE_4K, TARGET_READ_4K))
        status = blocks(single);
    if (status == 0)
        status = transfers(single, TARGET_WRITE_1M_HOT, UINT64_C(1) << 20, UINT64_C(1) << 20, hot);
    if (status == 0)
        status = transfers(single, TARGET_WRITE_4M_HOT, UINT64_C(4) << 20, UINT64_C(4) << 20, hot);
    if (status == 0)
        status = transfers(single, TARGET_WRITE_1M, UINT64_C(1) << 20, FOOTPRINT, FOOTPRINT);
    if (status == 0)
        status = transfers(single, TARGET_WRITE_4M, UINT64_C(4) << 20, FOOTPRINT, FOOTPRINT);
    return status;
}

static int open_requests(struct single *single)
{
    make_paths(single, 'w', FILES);
    int status = run_calls(single, "create, write, close", do_create_write, FILES);
    if (status == 0)
        status = compare_calls(single, TARGET_OPEN_READ_REQUEST, "open, read, close", do_open_read, FILES,
                               SMALL, SMALL);
    return status;
}

/* On a server that shows its clients nothing, so that each stat and each open is a request. */
static int measure_requests(struct single *single)
{
    int status = 0;
    make_paths(single, 's', FILES);
    if (single->run->wanted[TARGET_STAT_REQUEST])
        status = compare_calls(single, TARGET_STAT_REQUEST, "stat", do_stat, single->calls, SMALL, SMALL);
    if (status == 0 && single->run->wanted[TARGET_OPEN_READ_REQUEST])
        status = open_requests(single);
    return status == 0 && single->run->wanted[TARGET_DISPATCH] ? dispatch(single) : status;
}

/* The client process. */
static int client(void *argument)
{
    struct single *single = argument;
    clock_prepare();
    int status = raw_peer_connect(&single->raw);
    if (status < 0)
        return complain("raw UCX", status);
    raw_peer_pause(&single->raw);
    single->buffer = aligned_alloc(HUGE_PAGE, BUFFER_SIZE);
    single->raw_latency = calloc(single->calls, sizeof(uint64_t));
    single->paths = calloc(NAMES, sizeof(single->paths[0]));
    if (single->buffer == NULL || single->raw_latency == NULL || single->paths == NULL) {
        status = complain("buffers", -ENOMEM);
        goto out;
    }
    madvise(single->buffer, BUFFER_SIZE,
            MADV_HUGEPAGE); /* as the raw client's: pinning small pages costs a third */
    memset(single->buffer, 1, BUFFER_SIZE);
    memset(single->content, 'b', sizeof(single->content));
    single->fs = benchfs_connect(single->cluster.file);
    if (single->fs == NULL) {
        status = -errno;
        bench_error("%s", benchfs_error());
        goto out;
    }
    if (benchfs_mkdir(single->fs, "/targets", 0755) < 0) {
        status = complain("mkdir", -errno);
        goto out;
    }
    make_paths(single, 's', FILES);
    status = run_calls(single, "create", do_create, FILES);
    if (status == 0)
        status = single->measure(single);
out:
    if (single->fs != NULL)
        benchfs_disconnect(single->fs);
    raw_client_destroy(single->raw.client);
    free(single->buffer);
    free(single->raw_latency);
    free(single->paths);
    return status;
}

static int measure_on(struct single *single, const struct private_store *store,
                      int (*measure)(struct single *single))
{
    const int pin[] = {SERVER_PROCESSOR};
    single->measure = measure;
    int status = raw_peer_start(&single->raw, SERVER_PROCESSOR); /* for one client in its life */
    if (status < 0)
        return complain("raw UCX", status);
    status = private_cluster_start_on(&single->cluster, 1, pin, store);
    if (status == 0)
        status = target_child(CLIENT_PROCESSOR, PATIENCE, client, single);
    private_cluster_stop(&single->cluster);
    raw_peer_stop(&single->raw);
    return status;
}

static bool any_wanted(const struct target_run *run, enum target_id first, enum target_id last)
{
    for (unsigned row = first; row <= last; row++)
        if (run->wanted[row])
            return true;
    return false;
}

static int measure_once(struct target_run *run, uint64_t capacity)
{
    static struct single single;
    single = (struct single){.run = run, .calls = run->quick ? 5000 : 20000};
    int status = 0;
    struct private_store store = {.engine = "mem", .capacity = capacity};
    if (any_wanted(run, TARGET_STAT, TARGET_READ_4M))
        status = measure_on(&single, &store, measure_all);
    store = (struct private_store){.engine = "mem", .capacity = UINT64_C(128) << 20, .no_board = true};
    if (status == 0 && any_wanted(run, TARGET_STAT_REQUEST, TARGET_DISPATCH))
        status = measure_on(&single, &store, measure_requests);
    return status;
}

int targets_single(struct target_run *run)
{
    bool big = false;
    for (unsigned row = TARGET_WRITE_1M; row <= TARGET_READ_4M; row++)
        big = big || run->wanted[row];
    uint64_t capacity = big ? FOOTPRINT + (FOOTPRINT >> 2) : UINT64_C(128) << 20;
    int status = 0;
    for (uint32_t repeat = 0; repeat < run->repeats && status == 0; repeat++)
        status = measure_once(run, capacity);
    return status;
}

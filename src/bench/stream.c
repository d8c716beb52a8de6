/* Every process has a connection and buffers of its own, connects and opens before the clock starts, and
 * keeps its depth until the time is over or the file has been gone through. Bytes are recognised by their
 * offset in the file, whatever the size of the transfers that wrote them. */
#include "bench/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/hash.h"
#include "base/status.h"
#include "bench/crew.h"
#include "bench/interrupt.h"
#include "bench/options.h"
#include "bench/target.h"
#include "benchfs.h"

#define STAMP_STEP 4096u
#define HUGE_PAGE (UINT64_C(2) << 20)

struct slot {
    struct benchfs_io io;
    uint64_t started;
};

struct worker {
    const struct stream *stream;
    struct crew_part *part;
    benchfs *fs;
    int fd;
    char *memory;      /* of all slots */
    uint64_t end;      /* of the time, if that ends it */
    uint64_t count;    /* of transfers, if that does */
    uint64_t drawn;    /* transfers begun */
    uint64_t sequence; /* where this process's random order begins */
    struct slot slots[TARGET_DEPTH_MAX];
};

static void stamp(char *bytes, uint64_t offset, uint64_t size)
{
    for (uint64_t at = 0; at < size; at += STAMP_STEP) {
        uint64_t word = hash_mix(offset + at + 1);
        memcpy(bytes + at, &word, sizeof(word));
    }
}

static bool check(const char *bytes, uint64_t offset, uint64_t size)
{
    for (uint64_t at = 0; at < size; at += STAMP_STEP) {
        uint64_t word = hash_mix(offset + at + 1);
        if (memcmp(bytes + at, &word, sizeof(word)) != 0)
            return false;
    }
    return true;
}

/* Chooses the slot's next transfer; false: it is over. */
static bool prepare(struct worker *worker, struct slot *slot)
{
    const struct stream *stream = worker->stream;
    slot->started = crew_now();
    if (worker->count > 0 ? worker->drawn == worker->count : slot->started >= worker->end)
        return false;
    uint64_t blocks = stream->footprint / stream->size;
    uint64_t n = worker->drawn++;
    uint64_t block = (stream->random ? hash_mix(worker->sequence + n) : n) % blocks;
    slot->io.kind = stream->writing ? BENCHFS_IO_WRITE : BENCHFS_IO_READ;
    slot->io.fd = worker->fd;
    slot->io.count = stream->size;
    slot->io.offset = (off_t)(block * stream->size);
    slot->io.user = slot;
    if (stream->writing)
        stamp(slot->io.buffer, block * stream->size, stream->size);
    else
        memset(slot->io.buffer, 0, sizeof(uint64_t));
    return true;
}

static int finish(struct worker *worker, struct slot *slot)
{
    const struct stream *stream = worker->stream;
    histogram_record(&worker->part->latency, crew_now() - slot->started);
    int status = slot->io.result < 0                        ? (int)slot->io.result
                 : slot->io.result != (ssize_t)stream->size ? -EIO
                                                            : 0;
    if (status == 0 && !stream->writing && !check(slot->io.buffer, (uint64_t)slot->io.offset, stream->size)) {
        bench_error("read %s at %lld: wrong bytes", stream->path, (long long)slot->io.offset);
        return -EBADMSG;
    }
    if (status < 0) {
        bench_error("%s %s at %lld: %s", stream->writing ? "write" : "read", stream->path,
                    (long long)slot->io.offset, status_text(status));
        return status;
    }
    worker->part->operations++;
    worker->part->bytes += stream->size;
    return 0;
}

static int transfer_one_by_one(struct worker *worker)
{
    struct slot *slot = &worker->slots[0];
    int status = 0;
    while (status == 0 && prepare(worker, slot)) {
        ssize_t count =
            worker->stream->writing
                ? benchfs_pwrite(worker->fs, worker->fd, slot->io.buffer, slot->io.count, slot->io.offset)
                : benchfs_pread(worker->fs, worker->fd, slot->io.buffer, slot->io.count, slot->io.offset);
        slot->io.result = count < 0 ? -errno : count;
        status = finish(worker, slot);
    }
    return status;
}

/* Starts the transfers of these slots. */
static int submit(struct worker *worker, struct benchfs_io *const *ios, unsigned count)
{
    if (count == 0 || benchfs_submit(worker->fs, ios, count) == 0)
        return 0;
    int status = -errno;
    bench_error("submit: %s", status_text(status));
    return status;
}

static int transfer_deep(struct worker *worker)
{
    struct benchfs_io *ios[TARGET_DEPTH_MAX] = {0};
    unsigned under_way = 0;
    while (under_way < worker->stream->depth && prepare(worker, &worker->slots[under_way])) {
        ios[under_way] = &worker->slots[under_way].io;
        under_way++;
    }
    int status = submit(worker, ios, under_way);
    if (status < 0)
        return status;
    while (under_way > 0) {
        int done = benchfs_wait(worker->fs, ios, 1, under_way, NULL);
        if (done < 0)
            return -errno;
        under_way -= (unsigned)done;
        unsigned again = 0;
        for (int i = 0; i < done; i++) {
            struct slot *slot = ios[i]->user;
            int finished = finish(worker, slot);
            status = status < 0 ? status : finished;
            if (status == 0 && prepare(worker, slot))
                ios[again++] = &slot->io;
        }
        int submitted = submit(worker, ios, again);
        if (submitted < 0)
            return submitted;
        under_way += again;
    }
    return status;
}

/* Memory for all slots, in huge pages where there are any. */
static int make_buffers(struct worker *worker)
{
    const struct stream *stream = worker->stream;
    size_t length = (stream->depth * stream->size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    worker->memory = aligned_alloc(HUGE_PAGE, length);
    if (worker->memory == NULL)
        return -ENOMEM;
    madvise(worker->memory, length, MADV_HUGEPAGE);
    memset(worker->memory, 'b', length);
    for (uint32_t i = 0; i < stream->depth; i++)
        worker->slots[i].io.buffer = worker->memory + i * stream->size;
    return 0;
}

static int open_file(struct worker *worker)
{
    worker->fs = benchfs_connect(worker->stream->cluster);
    if (worker->fs == NULL) {
        int status = -errno;
        bench_error("%s", benchfs_error());
        return status;
    }
    worker->fd = benchfs_open(worker->fs, worker->stream->path, O_CREAT | O_RDWR, 0600);
    if (worker->fd < 0) {
        int status = -errno;
        bench_error("open %s: %s", worker->stream->path, status_text(status));
        return status;
    }
    return 0;
}

static int measure(struct worker *worker, struct crew_member *member)
{
    const struct stream *stream = worker->stream;
    worker->part = crew_phase(member, 0);
    if (worker->part == NULL)
        return -ECANCELED;
    worker->end = crew_now() + stream->duration;
    worker->count = stream->duration == 0 ? stream->footprint / stream->size / stream->processes : 0;
    worker->sequence = worker->end ^ (uint64_t)member->number << 56;
    int status = stream->depth == 1 ? transfer_one_by_one(worker) : transfer_deep(worker);
    crew_phase_end(member, 0);
    return status < 0 ? status : crew_wait(member); /* nobody disconnects while others measure */
}

static int work(struct crew_member *member)
{
    struct worker *worker = calloc(1, sizeof(*worker));
    if (worker == NULL)
        return -ENOMEM;
    worker->stream = member->argument;
    worker->fd = -1;
    int status = make_buffers(worker);
    if (status == 0)
        status = open_file(worker);
    if (status == 0)
        status = measure(worker, member);
    if (worker->fd >= 0)
        benchfs_close(worker->fs, worker->fd);
    if (worker->fs != NULL)
        benchfs_disconnect(worker->fs);
    free(worker->memory);
    free(worker);
    return status;
}

int stream_run(const struct stream *stream, struct stream_result *result)
{
    static struct crew_total total;
    if (stream->depth == 0 || stream->depth > TARGET_DEPTH_MAX)
        return -EINVAL;
    int status =
        crew_execute(stream->processes, 1, stream->processor, 1, work, (void *)(uintptr_t)stream, &total);
    if (status < 0)
        return status;
    if (total.operations == 0 || total.seconds <= 0.0)
        return -EIO;
    *result = (struct stream_result){
        .operations = total.operations,
        .bytes_per_second = (double)total.bytes / total.seconds,
        .operations_per_second = (double)total.operations / total.seconds,
        .median_ns = (double)histogram_quantile(&total.latency, 0.5),
    };
    return 0;
}

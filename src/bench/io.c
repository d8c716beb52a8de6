/* Each worker writes and then reads a file of its own of `--total` bytes, in transfers of each `--size`,
 * `--depth` of them at a time, front to back or in a random order that visits every block once. The file is
 * written once before the clock starts, so that what is measured is overwriting and reading of what exists
 * (first allocation is a phase of its own: "fill").
 *
 * Every transfer must return its full length; with --verify the bytes of each block carry its offset and the
 * worker's number, are checked after each read, and the phase counts only what was right. */
#include "bench/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/quantity.h"
#include "bench/crew.h"
#include "bench/report.h"
#include "bench/target.h"

enum phase { FILL, WRITE, READ, PHASES };

static const char *const phase_names[PHASES] = {"fill", "write", "read"};

static struct bench_list targets;
static struct bench_list sizes = {.count = 3, .sizes = {4096, 65536, 1048576}};
static uint64_t total_size = UINT64_C(64) << 20, depth = 1, passes = 1, processes = 1, threads = 1,
                repeats = 3;
static bool random_order, verify, json;

static const struct bench_option options[] = {
    {"target", BENCH_TEXTS, &targets, 0, 0, "TARGET",
     "benchfs:[DIR] or posix:DIR; may be repeated [benchfs:]"},
    {"size", BENCH_SIZES, &sizes, 1, UINT64_C(64) << 20, "SIZE,...", "bytes of a transfer"},
    {"total", BENCH_SIZE, &total_size, 1, UINT64_C(1) << 40, "SIZE", "bytes of each worker's file"},
    {"depth", BENCH_NUMBER, &depth, 1, TARGET_DEPTH_MAX, "N", "transfers under way at once"},
    {"passes", BENCH_NUMBER, &passes, 1, 1000000, "N", "times through the file in each phase"},
    {"random", BENCH_FLAG, &random_order, 0, 0, NULL, "in random order"},
    {"verify", BENCH_FLAG, &verify, 0, 0, NULL, "check every byte that is read"},
    {"processes", BENCH_NUMBER, &processes, 1, CREW_MAX, "N", "processes"},
    {"threads", BENCH_NUMBER, &threads, 1, CREW_MAX, "N", "threads in each"},
    {"repeats", BENCH_NUMBER, &repeats, 1, SAMPLE_MAX, "N", "how often; the targets take turns"},
    {"json", BENCH_FLAG, &json, 0, 0, NULL, "JSON lines in place of a table"},
    {0},
};

struct plan {
    const char *specification;
    uint64_t size;
    uint64_t tag;
};

struct slot {
    struct benchfs_io io;
    uint64_t started;
};

struct stream {
    struct crew_member *worker;
    struct target *target;
    int fd;
    char path[600];
    uint64_t size;
    uint64_t blocks;
    uint64_t mask; /* for random order: blocks rounded up to a power of two, less one */
    uint64_t drawn;
    struct slot slots[TARGET_DEPTH_MAX];
};

static int fail(const struct stream *stream, const char *what, int status)
{
    bench_error("target %s%s: %s %s: %s", stream->target->operations->scheme, stream->target->root, what,
                stream->path, strerror(-status));
    return status;
}

/* The block to visit as the n-th: every block once in a pass. */
static uint64_t next_block(struct stream *stream, uint64_t n)
{
    if (!random_order)
        return n % stream->blocks;
    for (;;) {
        uint64_t block = (stream->drawn++ * UINT64_C(0x9e3779b97f4a7c15) + 12345) & stream->mask;
        block ^= block >> 7;
        if (block < stream->blocks)
            return block;
    }
}

static uint64_t pattern(const struct stream *stream, uint64_t offset)
{
    return hash_mix(offset + 1) + stream->worker->number;
}

static void fill_block(const struct stream *stream, char *bytes, uint64_t offset)
{
    for (uint64_t i = 0; i < stream->size; i += 8) {
        uint64_t word = pattern(stream, offset + i);
        memcpy(bytes + i, &word, stream->size - i < 8 ? stream->size - i : 8);
    }
}

static bool check_block(const struct stream *stream, const char *bytes, uint64_t offset)
{
    for (uint64_t i = 0; i < stream->size; i += 8) {
        uint64_t word = pattern(stream, offset + i);
        if (memcmp(bytes + i, &word, stream->size - i < 8 ? stream->size - i : 8) != 0)
            return false;
    }
    return true;
}

static void prepare(struct stream *stream, struct slot *slot, uint32_t phase, uint64_t n)
{
    uint64_t offset = next_block(stream, n) * stream->size;
    slot->io.kind = phase == READ ? BENCHFS_IO_READ : BENCHFS_IO_WRITE;
    slot->io.fd = stream->fd;
    slot->io.count = stream->size;
    slot->io.offset = (off_t)offset;
    slot->io.user = slot;
    if (phase == READ && verify)
        memset(slot->io.buffer, 0, stream->size);
    else if (phase != READ && verify)
        fill_block(stream, slot->io.buffer, offset);
    slot->started = crew_now();
}

static int finish(struct stream *stream, struct slot *slot, struct crew_part *part)
{
    histogram_record(&part->latency, crew_now() - slot->started);
    if (slot->io.result != (ssize_t)stream->size)
        return fail(stream, slot->io.kind == BENCHFS_IO_READ ? "read" : "write",
                    slot->io.result < 0 ? (int)slot->io.result : -EIO);
    if (verify && slot->io.kind == BENCHFS_IO_READ &&
        !check_block(stream, slot->io.buffer, (uint64_t)slot->io.offset))
        return fail(stream, "wrong bytes in", -EBADMSG);
    part->operations++;
    part->bytes += stream->size;
    return 0;
}

static int transfer_one_by_one(struct stream *stream, uint32_t phase, uint64_t count, struct crew_part *part)
{
    struct slot *slot = &stream->slots[0];
    const struct target_operations *call = stream->target->operations;
    for (uint64_t n = 0; n < count; n++) {
        prepare(stream, slot, phase, n);
        slot->io.result =
            phase == READ
                ? call->read(stream->target, stream->fd, slot->io.buffer, slot->io.count, slot->io.offset)
                : call->write(stream->target, stream->fd, slot->io.buffer, slot->io.count, slot->io.offset);
        int status = finish(stream, slot, part);
        if (status < 0)
            return status;
    }
    return 0;
}

static int transfer_deep(struct stream *stream, uint32_t phase, uint64_t count, struct crew_part *part)
{
    struct benchfs_io *ios[TARGET_DEPTH_MAX] = {0};
    const struct target_operations *call = stream->target->operations;
    uint64_t started = 0;
    unsigned under_way = 0;
    int failure = 0;
    for (; started < count && started < depth; started++) {
        prepare(stream, &stream->slots[started], phase, started);
        ios[started] = &stream->slots[started].io;
    }
    int status = call->submit(stream->target, ios, (unsigned)started);
    if (status < 0)
        return fail(stream, "submit to", status);
    under_way = (unsigned)started;
    while (under_way > 0) {
        int done = call->wait(stream->target, ios, 1, under_way);
        if (done < 0)
            return fail(stream, "wait for", done);
        under_way -= (unsigned)done;
        unsigned again = 0;
        for (int i = 0; i < done; i++) {
            struct slot *slot = ios[i]->user;
            status = finish(stream, slot, part);
            if (status < 0)
                failure = status;
            if (failure < 0 || started == count)
                continue;
            prepare(stream, slot, phase, started++);
            ios[again++] = &slot->io;
        }
        if (again > 0 && (status = call->submit(stream->target, ios, again)) < 0)
            failure = fail(stream, "submit to", status);
        else
            under_way += again;
    }
    return failure;
}

static int run_phases(struct stream *stream)
{
    for (uint32_t phase = 0; phase < PHASES; phase++) {
        struct crew_part *part = crew_phase(stream->worker, phase);
        if (part == NULL)
            return -ECANCELED;
        uint64_t count = stream->blocks * (phase == FILL ? 1 : passes);
        stream->drawn = 0;
        int status = depth == 1 ? transfer_one_by_one(stream, phase, count, part)
                                : transfer_deep(stream, phase, count, part);
        if (status < 0)
            return status;
        crew_phase_end(stream->worker, phase);
    }
    struct stat found;
    int status = stream->target->operations->stat(stream->target, stream->path, &found);
    if (status == 0 && (uint64_t)found.st_size != stream->blocks * stream->size)
        status = -EBADMSG;
    if (status < 0)
        return fail(stream, "size of", status);
    return crew_wait(stream->worker);
}

static int work(struct crew_member *worker)
{
    const struct plan *plan = worker->argument;
    struct stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL)
        return -ENOMEM;
    stream->worker = worker;
    stream->size = plan->size;
    stream->blocks = total_size / plan->size;
    while (stream->mask < stream->blocks)
        stream->mask = stream->mask * 2 + 1;
    int status = -ENOMEM;
    for (uint64_t i = 0; i < depth; i++) {
        stream->slots[i].io.buffer = aligned_alloc(4096, (plan->size + 4095) & ~UINT64_C(4095));
        if (stream->slots[i].io.buffer == NULL) {
            bench_error("out of memory for %llu buffers", (unsigned long long)depth);
            goto free_buffers;
        }
        memset(stream->slots[i].io.buffer, (int)i + 1, plan->size);
    }
    status = target_open(plan->specification, &stream->target);
    if (status < 0)
        goto free_buffers;
    const char *slash = stream->target->root[strlen(stream->target->root) - 1] == '/' ? "" : "/";
    snprintf(stream->path, sizeof(stream->path), "%s%sbench-io.%llx.%u", stream->target->root, slash,
             (unsigned long long)plan->tag, worker->number);
    const struct target_operations *call = stream->target->operations;
    stream->fd = call->file_open(stream->target, stream->path, O_CREAT | O_EXCL | O_RDWR, 0644);
    if (stream->fd < 0) {
        status = fail(stream, "create", stream->fd);
        goto close_target;
    }
    status = run_phases(stream);
    call->file_close(stream->target, stream->fd);
    int removed = call->unlink(stream->target, stream->path);
    if (status == 0 && removed < 0)
        status = fail(stream, "unlink", removed);
close_target:
    stream->target->operations->close(stream->target);
free_buffers:
    for (uint64_t i = 0; i < depth; i++)
        free(stream->slots[i].io.buffer);
    free(stream);
    return status;
}

static int measure_size(uint64_t size)
{
    static struct report_row rows[BENCH_LIST_MAX][PHASES];
    static struct crew_total totals[PHASES];
    for (uint32_t t = 0; t < targets.count; t++) {
        for (uint32_t phase = 0; phase < PHASES; phase++) {
            rows[t][phase] = (struct report_row){
                .target = targets.texts[t], .phase = phase_names[phase], .size = size, .depth = depth};
            histogram_init(&rows[t][phase].latency);
        }
    }
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        for (uint32_t t = 0; t < targets.count; t++) {
            struct plan plan = {.specification = targets.texts[t],
                                .size = size,
                                .tag = (uint64_t)getpid() << 16 | repeat << 4 | t};
            if (crew_execute((uint32_t)processes, (uint32_t)threads, NULL, PHASES, work, &plan, totals) < 0)
                return BENCH_FAILED;
            for (uint32_t phase = 0; phase < PHASES; phase++) {
                struct report_row *row = &rows[t][phase];
                row->operations += totals[phase].operations;
                sample_add(&row->rate, (double)totals[phase].operations / totals[phase].seconds);
                sample_add(&row->bandwidth, (double)totals[phase].bytes / totals[phase].seconds);
                histogram_merge(&row->latency, &totals[phase].latency);
            }
        }
    }
    for (uint32_t phase = 0; phase < PHASES; phase++) {
        for (uint32_t t = 0; t < targets.count; t++)
            report_row(&rows[t][phase], json);
        for (uint32_t t = 1; t < targets.count && !json; t++)
            report_compare(&rows[0][phase], &rows[t][phase]);
    }
    return BENCH_OK;
}

static int run(void)
{
    if (processes * threads > CREW_MAX) {
        bench_error("--processes times --threads is more than %u", CREW_MAX);
        return BENCH_USAGE;
    }
    if (targets.count == 0)
        targets.texts[targets.count++] = "benchfs:";
    for (uint32_t t = 0; t < targets.count; t++) {
        if (target_check(targets.texts[t]) < 0)
            return BENCH_USAGE;
    }
    for (uint32_t i = 0; i < sizes.count; i++) {
        if (sizes.sizes[i] > total_size) {
            bench_error("--total is less than one transfer of --size %llu",
                        (unsigned long long)sizes.sizes[i]);
            return BENCH_USAGE;
        }
    }
    report_begin(&bench_io, &targets, json);
    int status = BENCH_OK;
    for (uint32_t i = 0; i < sizes.count && status == BENCH_OK; i++)
        status = measure_size(sizes.sizes[i]);
    return status;
}

const struct bench_verb bench_io = {
    .name = "io",
    .help = "Write and read: bandwidth and latency by transfer size",
    .options = options,
    .run = run,
};

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

#include "base/hash.h"

enum phase { FILL, WRITE, READ, PHASES };

static const struct suite_phase phases[] = {
    {.name = "fill"}, {.name = "write"}, {.name = "read", .reads = true}, {0}};
static const char *const lists[] = {"size", "4KiB,64KiB,1MiB", NULL};

static uint64_t size = 4096, total_size = UINT64_C(64) << 20, depth = 1, passes = 1;
static bool random_order, verify;

static const struct bench_option options[] = {
    {"size", BENCH_SIZE, &size, 1, UINT64_C(64) << 20, "SIZE", "bytes of a transfer"},
    {"total", BENCH_SIZE, &total_size, 1, UINT64_C(1) << 40, "SIZE", "bytes of each worker's file"},
    {"depth", BENCH_NUMBER, &depth, 1, TARGET_DEPTH_MAX, "N", "transfers under way at once"},
    {"passes", BENCH_NUMBER, &passes, 1, 1000000, "N", "times through the file in each phase"},
    {"random", BENCH_FLAG, &random_order, 0, 0, NULL, "in random order"},
    {"verify", BENCH_FLAG, &verify, 0, 0, NULL, "check every byte that is read"},
    {0},
};

struct slot {
    struct benchfs_io io;
    uint64_t started;
};

struct stream {
    const struct suite_member *member;
    struct target *target;
    int fd;
    char path[SUITE_DIRECTORY_SIZE + 16];
    uint64_t size;
    uint64_t blocks;
    uint64_t mask; /* for random order: blocks rounded up to a power of two, less one */
    uint64_t drawn;
    struct slot slots[TARGET_DEPTH_MAX];
};

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
    return hash_mix(offset + 1) + stream->member->number;
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
        return suite_fail(stream->member, slot->io.kind == BENCHFS_IO_READ ? "read" : "write", stream->path,
                          slot->io.result < 0 ? (int)slot->io.result : -EIO);
    if (verify && slot->io.kind == BENCHFS_IO_READ &&
        !check_block(stream, slot->io.buffer, (uint64_t)slot->io.offset))
        return suite_fail(stream->member, "wrong bytes in", stream->path, -EBADMSG);
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
        if (crew_stopping(stream->member->crew))
            return -ECANCELED;
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
        return suite_fail(stream->member, "submit to", stream->path, status);
    under_way = (unsigned)started;
    while (under_way > 0) {
        int done = call->wait(stream->target, ios, 1, under_way, TARGET_FOR_EVER);
        if (done < 0)
            return suite_fail(stream->member, "wait for", stream->path, done);
        under_way -= (unsigned)done;
        if (failure == 0 && crew_stopping(stream->member->crew))
            failure = -ECANCELED;
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
            failure = suite_fail(stream->member, "submit to", stream->path, status);
        else
            under_way += again;
    }
    return failure;
}

static int run_phases(struct stream *stream)
{
    struct crew_member *crew = stream->member->crew;
    for (uint32_t phase = 0; phase < PHASES; phase++) {
        struct crew_part *part = crew_phase(crew, phase);
        if (part == NULL)
            return -ECANCELED;
        uint64_t count = stream->blocks * (phase == FILL ? 1 : passes);
        stream->drawn = 0;
        int status = depth == 1 ? transfer_one_by_one(stream, phase, count, part)
                                : transfer_deep(stream, phase, count, part);
        if (status < 0)
            return status;
        crew_phase_end(crew, phase);
    }
    return crew_wait(crew);
}

/* Of the closed file: there are file systems that tell a size only then. */
static int check_size(const struct stream *stream)
{
    struct stat found;
    int status = stream->target->operations->stat(stream->target, stream->path, &found);
    if (status == 0 && (uint64_t)found.st_size != stream->blocks * stream->size)
        status = -EBADMSG;
    return status < 0 ? suite_fail(stream->member, "size of", stream->path, status) : 0;
}

static int run_on_file(struct stream *stream)
{
    const struct target_operations *call = stream->target->operations;
    snprintf(stream->path, sizeof(stream->path), "%s/%u", stream->member->directory, stream->member->number);
    stream->fd = call->file_open(stream->target, stream->path, O_CREAT | O_EXCL | O_RDWR, 0644);
    if (stream->fd < 0)
        return suite_fail(stream->member, "create", stream->path, stream->fd);
    int status = run_phases(stream);
    int closed = call->file_close(stream->target, stream->fd);
    if (status == 0)
        status = closed < 0 ? suite_fail(stream->member, "close", stream->path, closed) : check_size(stream);
    int removed = call->unlink(stream->target, stream->path);
    return status == 0 && removed < 0 ? suite_fail(stream->member, "unlink", stream->path, removed) : status;
}

static int run(struct suite_member *member)
{
    struct stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL)
        return -ENOMEM;
    stream->member = member;
    stream->target = member->target;
    stream->size = size;
    stream->blocks = total_size / size;
    while (stream->mask < stream->blocks)
        stream->mask = stream->mask * 2 + 1;
    int status = 0;
    for (uint64_t i = 0; i < depth && status == 0; i++) {
        stream->slots[i].io.buffer = aligned_alloc(4096, (size + 4095) & ~UINT64_C(4095));
        if (stream->slots[i].io.buffer == NULL) {
            bench_error("out of memory for %llu buffers", (unsigned long long)depth);
            status = -ENOMEM;
        } else {
            memset(stream->slots[i].io.buffer, (int)i + 1, size);
        }
    }
    if (status == 0)
        status = run_on_file(stream);
    for (uint64_t i = 0; i < depth; i++)
        free(stream->slots[i].io.buffer);
    free(stream);
    return status;
}

static int check(void)
{
    if (size <= total_size)
        return 0;
    bench_error("--total is less than one transfer of --size %llu", (unsigned long long)size);
    return BENCH_USAGE;
}

static bool supports(const struct target_operations *calls, uint32_t phase)
{
    (void)phase;
    return depth == 1 || calls->submit != NULL;
}

static uint64_t working_set(uint32_t members)
{
    return total_size * members;
}

const struct suite_workload bench_io = {
    .name = "io",
    .help = "Write and read: bandwidth and latency by transfer size",
    .options = options,
    .lists = lists,
    .phases = phases,
    .check = check,
    .supports = supports,
    .working_set = working_set,
    .run = run,
};

/* `bench ior`. Three modes give what IO500's phases of these names do; every number of theirs can be
 * exchanged:
 *
 *   easy     own files, transfers of 1 MiB, front to back
 *   hard     one shared file, transfers of 47,008 bytes, in turns: no transfer begins where a page does
 *   random   own files, transfers of 4 KiB in random order
 *
 * Phase `write` makes the files: opening, writing, with --fsync also syncing, and closing are timed together.
 * Phase `read` opens the files that another worker wrote, reads them and closes. */
#include "bench/ior.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

static const char *mode = "easy";
static uint64_t size, block, segments, depth = 1, shift = 1, duration;
static bool shared_file, random_order, sync_file, verify;

static const struct bench_option options[] = {
    {"mode", BENCH_TEXT, &mode, 0, 0, "MODE", "easy, hard or random: what is not given otherwise [easy]"},
    {"size", BENCH_SIZE, &size, 0, UINT64_C(1) << 30, "SIZE", "bytes of a transfer; 0: as the mode has it"},
    {"block", BENCH_SIZE, &block, 0, UINT64_C(1) << 50, "SIZE",
     "bytes that a worker writes in one place; 0: as the mode has it"},
    {"segments", BENCH_NUMBER, &segments, 0, UINT64_C(1) << 40, "N",
     "blocks of each worker in its file; 0: as the mode has it"},
    {"shared", BENCH_FLAG, &shared_file, 0, 0, NULL, "one file for all workers (hard: always)"},
    {"random", BENCH_FLAG, &random_order, 0, 0, NULL, "in random order (random: always)"},
    {"depth", BENCH_NUMBER, &depth, 1, TARGET_DEPTH_MAX, "N", "transfers under way at once"},
    {"reorder", BENCH_NUMBER, &shift, 0, CREW_MAX, "N", "read what the worker N numbers on has written"},
    {"fsync", BENCH_FLAG, &sync_file, 0, 0, NULL, "bring the bytes to the device before the clock stops"},
    {"time", BENCH_DURATION, &duration, 0, UINT64_C(86400000000000), "TIME",
     "begin no more writes then; 0: write all"},
    {"verify", BENCH_FLAG, &verify, 0, 0, NULL, "check every byte, not a sample"},
    {0},
};

enum phase { WRITE, READ, PHASES };

static const struct suite_phase phases[] = {{.name = "write"}, {.name = "read", .reads = true}, {0}};

/* Of all members. */
struct outcome {
    _Atomic uint64_t early; /* wrote all before the time was over */
};

/* 64 MiB of each worker. */
#define DEFAULT_BYTES (UINT64_C(64) << 20)

static struct ior_shape shape_of_options(void)
{
    bool hard = strcmp(mode, "hard") == 0, small = strcmp(mode, "random") == 0;
    struct ior_shape shape = {.depth = depth, .shift = shift, .sync = sync_file, .verify = verify};
    shape.transfer = size > 0 ? size : hard ? 47008 : small ? 4096 : 1048576;
    shape.shared = shared_file || hard;
    shape.random = random_order || small;
    shape.block = block > 0 ? block : hard ? shape.transfer : DEFAULT_BYTES / shape.transfer * shape.transfer;
    if (shape.block == 0)
        shape.block = shape.transfer;
    shape.segments = segments > 0 ? segments : 1;
    if (segments == 0 && hard && shape.block < DEFAULT_BYTES)
        shape.segments = DEFAULT_BYTES / shape.block;
    return shape;
}

static int check(void)
{
    if (strcmp(mode, "easy") != 0 && strcmp(mode, "hard") != 0 && strcmp(mode, "random") != 0) {
        bench_error("option --mode takes easy, hard or random, not \"%s\"", mode);
        return BENCH_USAGE;
    }
    struct ior_shape shape = shape_of_options();
    if (shape.block % shape.transfer != 0) {
        bench_error("--block %llu is no multiple of the transfers of %llu bytes",
                    (unsigned long long)shape.block, (unsigned long long)shape.transfer);
        return BENCH_USAGE;
    }
    if (shape.segments > (UINT64_C(1) << 62) / CREW_MAX / shape.block) {
        bench_error("--segments %llu are too many for a file", (unsigned long long)shape.segments);
        return BENCH_USAGE;
    }
    return BENCH_OK;
}

static uint64_t working_set(uint32_t members)
{
    struct ior_shape shape = shape_of_options();
    return shape.block * shape.segments * members;
}

static int run(struct suite_member *member)
{
    struct ior_shape shape = shape_of_options();
    struct outcome *outcome = member->shared;
    struct session session;
    struct ior ior;
    session_begin(&session, member);
    int status = ior_init(&ior, &session, &shape, "data");
    if (status < 0)
        return status;
    for (uint32_t phase = 0; phase < PHASES && status == 0; phase++) {
        struct crew_part *part = crew_phase(member->crew, phase);
        bool expired = true;
        if (part == NULL)
            status = -ECANCELED;
        else if (phase == WRITE)
            status = ior_write(&ior, part, duration, &expired);
        else
            status = ior_read(&ior, part);
        if (status == 0)
            crew_phase_end(member->crew, phase);
        if (!expired)
            atomic_fetch_add(&outcome->early, 1);
    }
    if (status == 0)
        status = ior_remove(&ior);
    ior_free(&ior);
    return status;
}

static void describe(uint32_t phase, const void *shared, struct result *result)
{
    const struct outcome *outcome = shared;
    struct ior_shape shape = shape_of_options();
    result_number(result, "size", shape.transfer);
    result_number(result, "block", shape.block);
    result_number(result, "segments", shape.segments);
    result_flag(result, "shared", shape.shared);
    result_flag(result, "random", shape.random);
    if (phase == WRITE && duration > 0 && atomic_load(&outcome->early) > 0)
        result_warn(result, "all was written before --time was over: give a greater --block or --segments");
    if (phase == READ && shape.shift % suite_members() == 0)
        result_warn(result,
                    "workers read what they wrote themselves: start several and leave --reorder at 1");
}

static bool supports(const struct target_operations *calls, uint32_t phase)
{
    (void)phase;
    return depth == 1 || calls->submit != NULL;
}

const struct suite_workload bench_ior = {
    .name = "ior",
    .help = "Bandwidth as IOR measures it: easy, hard and random transfers, checked",
    .options = options,
    .phases = phases,
    .shared_size = sizeof(struct outcome),
    .shared_sums = 1,
    .check = check,
    .supports = supports,
    .working_set = working_set,
    .run = run,
    .describe = describe,
};

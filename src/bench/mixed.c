/* `bench mixed`: the command around the open loop of mixed_run.c. */
#include "bench/mixed.h"

#include <string.h>

static uint64_t rate = 1000, depth = 1, size = 4096, total = UINT64_C(16) << 20, files = 100,
                duration = UINT64_C(2000000000), seed = 1;
static uint64_t shares[MIXED_OPERATIONS] = {70, 20, 5, 5};
static const char *arrivals = "poisson";
static bool verify;

static const struct bench_option options[] = {
    {"rate", BENCH_NUMBER, &rate, 1, 1000000000, "N", "operations a second of all workers together"},
    {"arrivals", BENCH_TEXT, &arrivals, 0, 0, "KIND", "poisson (at random) or fixed (evenly) [poisson]"},
    {"time", BENCH_DURATION, &duration, 1000000, UINT64_C(3600000000000), "TIME",
     "how long operations arrive"},
    {"read", BENCH_NUMBER, &shares[MIXED_READ], 0, 1000000, "SHARE", "how many of them read"},
    {"write", BENCH_NUMBER, &shares[MIXED_WRITE], 0, 1000000, "SHARE", "how many write"},
    {"stat", BENCH_NUMBER, &shares[MIXED_STAT], 0, 1000000, "SHARE", "how many ask for attributes"},
    {"create", BENCH_NUMBER, &shares[MIXED_CREATE], 0, 1000000, "SHARE", "how many make a file"},
    {"depth", BENCH_NUMBER, &depth, 1, TARGET_DEPTH_MAX, "N",
     "operations under way at once in each worker; what arrives beyond that waits"},
    {"size", BENCH_SIZE, &size, 1, UINT64_C(1) << 30, "SIZE", "bytes of a read and of a write"},
    {"total", BENCH_SIZE, &total, 1, UINT64_C(1) << 50, "SIZE",
     "bytes of each worker's file to read, and of the one to write"},
    {"files", BENCH_NUMBER, &files, 1, 10000000, "N", "of each worker, to ask for"},
    {"seed", BENCH_NUMBER, &seed, 0, UINT64_MAX, "N", "of what is random"},
    {"verify", BENCH_FLAG, &verify, 0, 0, NULL, "check every byte, not a sample"},
    {0},
};

static const struct suite_phase phases[] = {{.name = "read", .reads = true},
                                            {.name = "write"},
                                            {.name = "stat"},
                                            {.name = "create"},
                                            {.name = "all"},
                                            {0}};

static int check(void)
{
    if (strcmp(arrivals, "poisson") != 0 && strcmp(arrivals, "fixed") != 0) {
        bench_error("option --arrivals takes poisson or fixed, not \"%s\"", arrivals);
        return BENCH_USAGE;
    }
    if (total < size) {
        bench_error("--total is less than one transfer of --size %llu", (unsigned long long)size);
        return BENCH_USAGE;
    }
    if (total / size < depth) {
        bench_error("--total has fewer blocks of --size than --depth %llu", (unsigned long long)depth);
        return BENCH_USAGE;
    }
    for (int i = 0; i < MIXED_OPERATIONS; i++) {
        if (shares[i] > 0)
            return BENCH_OK;
    }
    bench_error("one of --read, --write, --stat and --create must be more than 0");
    return BENCH_USAGE;
}

static uint64_t working_set(uint32_t members)
{
    return 2 * total * members;
}

static bool supports(const struct target_operations *calls, uint32_t phase)
{
    (void)phase;
    return depth == 1 || calls->submit != NULL;
}

static int run(struct suite_member *member)
{
    struct mixed_shape shape = {.rate = (double)rate,
                                .poisson = strcmp(arrivals, "poisson") == 0,
                                .depth = depth,
                                .size = size,
                                .total = total,
                                .files = files,
                                .duration = duration,
                                .seed = seed + member->run,
                                .verify = verify};
    struct session session;
    memcpy(shape.shares, shares, sizeof(shape.shares));
    session_begin(&session, member);
    return mixed_run(&session, &shape, member->shared);
}

/* A queue of some requests comes and goes; one in which a hundredth of all ends up has grown. */
static void describe(uint32_t phase, const void *shared, struct result *result)
{
    const struct mixed_outcome *outcome = shared;
    uint64_t arrived = atomic_load(&outcome->arrived), backlog = atomic_load(&outcome->backlog);
    uint64_t given_up = atomic_load(&outcome->given_up);
    if (phase == MIXED_ALL && backlog > 10 && backlog > arrived / 100)
        result_warn(result,
                    "saturated: %llu of %llu requests were waiting when the time was over, %.0f op/s were "
                    "done; latencies grow with --time",
                    (unsigned long long)backlog, (unsigned long long)arrived, result->operation_rate.median);
    if (given_up > 0)
        result_warn(result, "%llu requests were given up", (unsigned long long)given_up);
    if (phase == MIXED_READ && suite_members() == 1)
        result_warn(result, "one worker reads what it wrote itself: start several");
}

const struct suite_workload bench_mixed = {
    .name = "mixed",
    .help = "Latency of reads, writes, stats and creates under a given load (open loop)",
    .options = options,
    .phases = phases,
    .shared_size = sizeof(struct mixed_outcome),
    .shared_sums = 3,
    .check = check,
    .supports = supports,
    .working_set = working_set,
    .run = run,
    .describe = describe,
};

/* Each run makes an engine, fills it with --files files in --directories directories, finds --lookups of them
 * by name and by number, lists all, and removes all. Time is processor time within the engine (meta/bench.h),
 * so other processes count little and the making of names not at all. Every answer is checked. */
#include "bench/meta.h"

#include <errno.h>
#include <string.h>

#include "meta/bench.h"

enum phase { CREATE, LOOKUP, STAT, LIST, REMOVE, PHASES };

static const enum meta_bench_step steps[PHASES] = {
    [CREATE] = META_BENCH_CREATE, [LOOKUP] = META_BENCH_LOOKUP, [STAT] = META_BENCH_STAT,
    [LIST] = META_BENCH_LIST,     [REMOVE] = META_BENCH_REMOVE,
};

static const struct suite_phase phases[] = {{.name = "create"}, {.name = "lookup"}, {.name = "stat"},
                                            {.name = "list"},   {.name = "remove"}, {0}};
static const char *const lists[] = {"files", "10000,100000,1000000", NULL};

static uint64_t files = 1000000, directories = 1, lookups = 1000000;

static const struct bench_option options[] = {
    {"files", BENCH_NUMBER, &files, 1, UINT64_C(1000000000), "N",
     "files in the engine; 10000000 take about 2 GB of memory"},
    {"directories", BENCH_NUMBER, &directories, 1, UINT64_C(100000000), "N", "directories that hold them"},
    {"lookups", BENCH_NUMBER, &lookups, 1, UINT64_C(1000000000), "N",
     "how many to find by name and by number; at most all"},
    {0},
};

struct found {
    double bytes, resident; /* of a file */
    uint64_t worst_ns[PHASES];
};

static int run_step(struct suite_member *member, struct meta_bench *bench, enum phase phase)
{
    struct found *found = member->shared;
    bool finds = phase == LOOKUP || phase == STAT;
    struct crew_part *part = crew_phase(member->crew, phase);
    if (part == NULL)
        return -ECANCELED;
    struct meta_bench_timing timing = {.progress = &part->operations, .latency = &part->latency};
    int status = meta_bench_run(bench, steps[phase], finds && lookups < files ? lookups : files, &timing);
    crew_phase_took(member->crew, phase, (uint64_t)(timing.mean_ns * (double)timing.operations));
    found->worst_ns[phase] = timing.worst_ns;
    return status;
}

static int run(struct suite_member *member)
{
    struct found *found = member->shared;
    struct meta_bench *bench;
    int status = meta_bench_create(files, directories, &bench);
    if (status < 0) {
        bench_error("no memory for %llu files", (unsigned long long)files);
        return status;
    }
    for (enum phase phase = CREATE; phase < PHASES && status == 0; phase++) {
        status = crew_stopping(member->crew) ? -ECANCELED : run_step(member, bench, phase);
        if (status == -EIO)
            bench_error("the engine gave a wrong answer in phase %s", phases[phase].name);
        else if (status == -ENOMEM)
            bench_error("no memory for %llu files", (unsigned long long)files);
        if (phase == CREATE)
            meta_bench_memory(bench, &found->bytes, &found->resident);
    }
    meta_bench_destroy(bench);
    return status;
}

static int check(void)
{
    if (directories <= files)
        return 0;
    bench_error("--directories is more than --files %llu", (unsigned long long)files);
    return BENCH_USAGE;
}

static void describe(uint32_t phase, const void *shared, struct result *result)
{
    const struct found *found = shared;
    if (result->operation_rate.median > 0.0)
        result_measure(result, "ns_per_operation", 1e9 / result->operation_rate.median);
    if (found->worst_ns[phase] > 0)
        result_measure(result, "worst_ns", (double)found->worst_ns[phase]);
    if (phase != CREATE)
        return;
    result_measure(result, "bytes_per_file", found->bytes);
    result_measure(result, "resident_bytes_per_file", found->resident);
}

const struct suite_workload bench_meta = {
    .name = "meta",
    .help = "The metadata engine alone: time and memory by number of files",
    .options = options,
    .lists = lists,
    .phases = phases,
    .subject = "meta",
    .serial = true,
    .shared_size = sizeof(struct found),
    .check = check,
    .run = run,
    .describe = describe,
};

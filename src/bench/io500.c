/* `bench io500`. The phases of ior and mdtest, in the order in which IO500 runs them, so that what is read
 * was written some phases ago and by another worker. Writing ends by the clock (--time; IO500: 300 s) and
 * then goes on until all workers have written as much as the one that wrote most; the phases after it read,
 * stat and delete all of that. --total and --files bound what a fast target takes in that time.
 *
 * IO500 (https://io500.org): the score is the geometric mean of a bandwidth in GiB/s and a rate in 1,000
 * operations a second, which are the geometric means of four bandwidths and eight rates. */
#include "bench/io500.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/io500_find.h"

#define GIB 1073741824.0
#define IO500_HARD_TRANSFER 47008u

static uint64_t duration = UINT64_C(2000000000), size = UINT64_C(2) << 20, total = UINT64_C(1) << 30,
                files = 100000, depth = 1;
static bool verify;

static const struct bench_option options[] = {
    {"time", BENCH_DURATION, &duration, 1000000, UINT64_C(86400000000000), "TIME",
     "how long each phase writes"},
    {"size", BENCH_SIZE, &size, 1, UINT64_C(1) << 30, "SIZE", "bytes of a transfer of ior-easy"},
    {"total", BENCH_SIZE, &total, 1, UINT64_C(1) << 50, "SIZE",
     "at most so many bytes of each worker in ior-easy, and in ior-hard"},
    {"files", BENCH_NUMBER, &files, 1, 100000000, "N",
     "at most so many files of each worker in mdtest-easy, and in mdtest-hard"},
    {"depth", BENCH_NUMBER, &depth, 1, TARGET_DEPTH_MAX, "N", "transfers under way at once"},
    {"verify", BENCH_FLAG, &verify, 0, 0, NULL, "check every byte, not a sample"},
    {0},
};

const char *const io500_phase_names[IO500_PHASE_COUNT] = {
#define X(id, name, kind) name,
    IO500_PHASES(X)
#undef X
};

static const struct suite_phase phases[] = {
#define X(id, phase_name, kind)                                                                              \
    {.name = (phase_name),                                                                                   \
     .reads = IO500_##id == IO500_IOR_EASY_READ || IO500_##id == IO500_IOR_HARD_READ ||                      \
              IO500_##id == IO500_MDTEST_HARD_READ},
    IO500_PHASES(X)
#undef X
        {0}};

enum kind { BANDWIDTH, RATE };

static const enum kind kinds[IO500_PHASE_COUNT] = {
#define X(id, name, kind) kind,
    IO500_PHASES(X)
#undef X
};

/* ---- the score ---- */

struct io500_score io500_score(const double values[IO500_PHASE_COUNT])
{
    double sums[2] = {0.0, 0.0};
    unsigned counts[2] = {0, 0};
    for (int phase = 0; phase < IO500_PHASE_COUNT; phase++) {
        if (!(values[phase] > 0.0))
            return (struct io500_score){0};
        sums[kinds[phase]] += log(values[phase]);
        counts[kinds[phase]]++;
    }
    struct io500_score score = {.bandwidth = exp(sums[BANDWIDTH] / counts[BANDWIDTH]),
                                .metadata = exp(sums[RATE] / counts[RATE])};
    score.score = sqrt(score.bandwidth * score.metadata);
    return score;
}

static struct io500_score score_of_medians(struct result *const *results)
{
    double values[IO500_PHASE_COUNT];
    for (int phase = 0; phase < IO500_PHASE_COUNT; phase++)
        values[phase] = kinds[phase] == BANDWIDTH ? results[phase]->byte_rate.median / GIB
                                                  : results[phase]->operation_rate.median / 1000.0;
    return io500_score(values);
}

static struct io500_score score_of_repeat(struct result *const *results, uint32_t repeat)
{
    double values[IO500_PHASE_COUNT];
    for (int phase = 0; phase < IO500_PHASE_COUNT; phase++)
        values[phase] = kinds[phase] == BANDWIDTH ? results[phase]->bytes_per_s.values[repeat] / GIB
                                                  : results[phase]->ops_per_s.values[repeat] / 1000.0;
    return io500_score(values);
}

/* The scores of the repeats, for comparisons. */
static json_t *samples_json(struct result *const *results)
{
    json_t *bandwidths = json_array(), *rates = json_array(), *scores = json_array();
    for (uint32_t i = 0; i < results[0]->ops_per_s.count; i++) {
        struct io500_score score = score_of_repeat(results, i);
        json_array_append_new(bandwidths, json_real(score.bandwidth));
        json_array_append_new(rates, json_real(score.metadata));
        json_array_append_new(scores, json_real(score.score));
    }
    return json_pack("{so so so}", "bandwidth_gib_s", bandwidths, "metadata_kiops", rates, "score", scores);
}

static json_t *conclude(struct result *const *results, const void *shared, char *text, size_t text_size)
{
    (void)shared;
    for (int phase = 0; phase < IO500_PHASE_COUNT; phase++) {
        if (results[phase] == NULL)
            return NULL;
    }
    struct io500_score score = score_of_medians(results);
    snprintf(text, text_size,
             "score %.6f: bandwidth %.6f GiB/s, metadata %.6f kIOPS (by IO500's formula; not a submission)",
             score.score, score.bandwidth, score.metadata);
    return json_pack("{ss sf sf sf so ss}", "type", "score", "bandwidth_gib_s", score.bandwidth,
                     "metadata_kiops", score.metadata, "score", score.score, "samples", samples_json(results),
                     "note", "not a submission");
}

/* ---- a member's run ---- */

/* Of all members. */
struct outcome {
    _Atomic uint64_t early[IO500_PHASE_COUNT]; /* had no more to write before the time was over */
};

static int run_phase(struct session *session, struct io500_files *made, enum io500_phase phase,
                     struct crew_part *part, bool *expired)
{
    switch (phase) {
    case IO500_IOR_EASY_WRITE:
        return ior_write(&made->easy, part, duration, expired);
    case IO500_IOR_EASY_READ:
        return ior_read(&made->easy, part);
    case IO500_IOR_HARD_WRITE:
        return ior_write(&made->hard, part, duration, expired);
    case IO500_IOR_HARD_READ:
        return ior_read(&made->hard, part);
    case IO500_MDTEST_EASY_WRITE:
        return mdtest_make_files(&made->easy_names, part, duration, expired);
    case IO500_MDTEST_EASY_STAT:
        return mdtest_stat_files(&made->easy_names, part);
    case IO500_MDTEST_EASY_DELETE:
        return mdtest_remove_files(&made->easy_names, part);
    case IO500_MDTEST_HARD_WRITE:
        return mdtest_make_files(&made->hard_names, part, duration, expired);
    case IO500_MDTEST_HARD_STAT:
        return mdtest_stat_files(&made->hard_names, part);
    case IO500_MDTEST_HARD_READ:
        return mdtest_read_files(&made->hard_names, part);
    case IO500_MDTEST_HARD_DELETE:
        return mdtest_remove_files(&made->hard_names, part);
    default:
        return io500_find(session, made, part);
    }
}

static int run_phases(struct session *session, struct io500_files *made, struct outcome *outcome)
{
    for (uint32_t phase = 0; phase < IO500_PHASE_COUNT; phase++) {
        bool expired = true;
        struct crew_part *part = crew_phase(session->worker, phase);
        int status = part == NULL ? -ECANCELED : run_phase(session, made, phase, part, &expired);
        if (status < 0)
            return status;
        crew_phase_end(session->worker, phase);
        if (phase == IO500_FIND && (status = io500_find_check(session, made)) < 0)
            return status;
        if (!expired)
            atomic_fetch_add(&outcome->early[phase], 1);
    }
    return 0;
}

static uint64_t at_least_one(uint64_t count)
{
    return count > 0 ? count : 1;
}

/* Sets everything up, runs, and takes it down. scratch: for what is not measured. */
static int run_in(struct session *session, struct io500_files *made, struct crew_part *scratch,
                  struct outcome *outcome)
{
    const struct ior_shape easy = {.transfer = size,
                                   .block = at_least_one(total / size) * size,
                                   .segments = 1,
                                   .depth = depth,
                                   .shift = 1,
                                   .sync = true,
                                   .verify = verify};
    const struct ior_shape hard = {.transfer = IO500_HARD_TRANSFER,
                                   .block = IO500_HARD_TRANSFER,
                                   .segments = at_least_one(total / IO500_HARD_TRANSFER),
                                   .depth = depth,
                                   .shift = 1,
                                   .shared = true,
                                   .sync = true,
                                   .verify = verify};
    const struct mdtest_shape easy_names = {.files = files, .branch = 1, .shift = 1};
    const struct mdtest_shape hard_names = {
        .files = files, .size = IO500_HARD_FILE, .branch = 1, .shift = 1, .shared = true, .verify = verify};
    int status = ior_init(&made->easy, session, &easy, "ior-easy");
    if (status == 0)
        status = ior_init(&made->hard, session, &hard, "ior-hard");
    if (status == 0)
        status = mdtest_init(&made->easy_names, session, &easy_names, "mdtest-easy");
    if (status == 0)
        status = mdtest_init(&made->hard_names, session, &hard_names, "mdtest-hard");
    if (status == 0)
        status = mdtest_make_tree(&made->easy_names, scratch);
    if (status == 0)
        status = mdtest_make_tree(&made->hard_names, scratch);
    if (status == 0)
        status = run_phases(session, made, outcome);
    if (status == 0)
        status = ior_remove(&made->easy);
    if (status == 0)
        status = ior_remove(&made->hard);
    if (status == 0)
        status = mdtest_remove_tree(&made->easy_names, scratch);
    if (status == 0)
        status = mdtest_remove_tree(&made->hard_names, scratch);
    ior_free(&made->easy);
    ior_free(&made->hard);
    mdtest_free(&made->easy_names);
    mdtest_free(&made->hard_names);
    return status;
}

static int run(struct suite_member *member)
{
    struct session session;
    struct io500_files *made = calloc(1, sizeof(*made));
    struct crew_part *scratch = calloc(1, sizeof(*scratch));
    int status = -ENOMEM;
    session_begin(&session, member);
    if (made != NULL && scratch != NULL)
        status = run_in(&session, made, scratch, member->shared);
    else
        bench_error("out of memory");
    free(scratch);
    free(made);
    return status;
}

/* ---- around it ---- */

static int check(void)
{
    if (total >= size)
        return BENCH_OK;
    bench_error("--total is less than one transfer of --size %llu", (unsigned long long)size);
    return BENCH_USAGE;
}

static uint64_t working_set(uint32_t members)
{
    return (2 * total + files * IO500_HARD_FILE) * members;
}

static void describe(uint32_t phase, const void *shared, struct result *result)
{
    const struct outcome *outcome = shared;
    const char *name = io500_phase_names[phase];
    if (strncmp(name, "ior-hard", 8) == 0)
        result_number(result, "size", IO500_HARD_TRANSFER);
    else if (strncmp(name, "ior", 3) != 0)
        result_number(result, "size", strncmp(name, "mdtest-hard", 11) == 0 ? IO500_HARD_FILE : 0);
    if (atomic_load(&outcome->early[phase]) > 0)
        result_warn(result, "all of --%s was written before --time was over",
                    kinds[phase] == BANDWIDTH ? "total" : "files");
    if (suite_members() == 1 && phase > IO500_FIND)
        result_warn(result, "one worker reads what it wrote itself: start several");
}

static bool supports(const struct target_operations *calls, uint32_t phase)
{
    (void)phase;
    return depth == 1 || calls->submit != NULL;
}

const struct suite_workload bench_io500 = {
    .name = "io500",
    .help = "IO500's phases in order and the score by its formula (never a submission)",
    .options = options,
    .phases = phases,
    .shared_size = sizeof(struct outcome),
    .shared_sums = IO500_PHASE_COUNT,
    .check = check,
    .supports = supports,
    .working_set = working_set,
    .run = run,
    .describe = describe,
    .conclude = conclude,
};

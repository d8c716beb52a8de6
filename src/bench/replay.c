/* `bench replay` and `bench convert`. Traces are read and planned once, before anything is measured; the
 * workers, which are forked from this process, have them from there. */
#include "bench/replay.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/relay.h"

static const char *trace_file, *only, *speed = "0";
static bool verify;

static const struct bench_option options[] = {
    {"trace", BENCH_TEXT, &trace_file, 0, 0, "FILE",
     "what to replay: a trace, or what strace -f -ttt -o FILE printed"},
    {"only", BENCH_TEXT, &only, 0, 0, "DIRECTORY", "leave out all that is not below it"},
    {"speed", BENCH_TEXT, &speed, 0, 0, "FACTOR",
     "so many times as fast as it was recorded; 0: as fast as possible [0]"},
    {"verify", BENCH_FLAG, &verify, 0, 0, NULL, "check the bytes of every read, not of a sample"},
    {0},
};

static const struct suite_phase phases[] = {
#define X(id, phase_name) {.name = (phase_name), .reads = TRACE_##id == TRACE_READ},
    TRACE_OPERATIONS(X)
#undef X
        {.name = "all"},
    {0}};

/* Traces that were read. */
#define PLANS_MAX 16u

struct loaded {
    const char *file, *only; /* of the command line */
    struct trace trace;
    struct replay_plan plan;
    struct relay *done; /* operations by path */
    uint64_t ignored;
};

static struct loaded plans[PLANS_MAX];
static uint32_t plan_count;

static bool same(const char *one, const char *other)
{
    return one == other || (one != NULL && other != NULL && strcmp(one, other) == 0);
}

static struct loaded *find_plan(void)
{
    for (uint32_t i = 0; i < plan_count; i++) {
        if (same(plans[i].file, trace_file) && same(plans[i].only, only))
            return &plans[i];
    }
    return NULL;
}

static int load_plan(void)
{
    struct loaded *loaded = &plans[plan_count];
    if (find_plan() != NULL)
        return BENCH_OK;
    if (plan_count == PLANS_MAX) {
        bench_error("more than %u traces", PLANS_MAX);
        return BENCH_USAGE;
    }
    *loaded = (struct loaded){.file = trace_file, .only = only};
    if (trace_read(trace_file, &loaded->trace, &loaded->ignored) < 0)
        return BENCH_USAGE;
    int status = replay_plan_make(&loaded->plan, &loaded->trace, only);
    if (status == 0)
        status = relay_create(loaded->trace.path_count + 1u, &loaded->done);
    if (status < 0) {
        bench_error("trace \"%s\": %s", trace_file, strerror(-status));
        return BENCH_USAGE;
    }
    if (loaded->plan.step_count == 0) {
        bench_error("trace \"%s\" has nothing to replay%s%s", trace_file, only != NULL ? " below " : "",
                    only != NULL ? only : "");
        return BENCH_USAGE;
    }
    plan_count++;
    return BENCH_OK;
}

static bool parse_speed(double *factor)
{
    char *end;
    *factor = strtod(speed, &end);
    return end != speed && *end == 0 && isfinite(*factor) && *factor >= 0.0 && *factor <= 1e6;
}

static int check(void)
{
    double factor;
    if (trace_file == NULL) {
        bench_error("which trace? give --trace FILE");
        return BENCH_USAGE;
    }
    if (!parse_speed(&factor)) {
        bench_error("option --speed takes a factor such as 1 or 0.5, or 0, not \"%s\"", speed);
        return BENCH_USAGE;
    }
    return load_plan();
}

/* A target has all calls for symbolic links or none. */
static bool has_links(const struct replay_plan *plan)
{
    return plan->operations[TRACE_SYMLINK] + plan->operations[TRACE_READLINK] + plan->link_stats > 0;
}

/* A trace cannot be replayed in part: what follows builds on what is left out. */
static bool supports(const struct target_operations *calls, uint32_t phase)
{
    (void)phase;
    const struct replay_plan *plan = &find_plan()->plan;
    return (plan->operations[TRACE_RENAME] == 0 || calls->rename != NULL) &&
           (plan->operations[TRACE_LINK] == 0 || calls->link != NULL) &&
           (plan->operations[TRACE_TRUNCATE] == 0 || calls->truncate != NULL) &&
           (!has_links(plan) || calls->symlink != NULL);
}

static uint64_t working_set(uint32_t members)
{
    (void)members;
    const struct loaded *loaded = find_plan();
    uint64_t sum = 0;
    for (uint32_t i = 0; loaded != NULL && i < loaded->plan.trace->path_count; i++)
        sum += loaded->plan.prepared[i].size;
    for (uint32_t i = 0; loaded != NULL && i < loaded->plan.step_count; i++) {
        const struct trace_event *event = loaded->plan.steps[i].event;
        sum += event->operation == TRACE_WRITE ? event->length : 0;
    }
    return sum;
}

static int run(struct suite_member *member)
{
    const struct loaded *loaded = find_plan();
    struct session session;
    double factor = 0.0;
    parse_speed(&factor);
    session_begin(&session, member);
    return replay_run(&session, &loaded->plan, factor, verify, loaded->done, member->shared);
}

static int carry(void)
{
    return relay_carry(find_plan()->done);
}

/* "stat 10, rename 2" */
static const char *name_left_out(const struct replay_plan *plan)
{
    static char text[256];
    size_t length = 0;
    for (int i = 0; i < TRACE_OPERATION_COUNT && length < sizeof(text); i++) {
        if (plan->left_out_by[i] > 0)
            length +=
                (size_t)snprintf(text + length, sizeof(text) - length, "%s%s %llu", length > 0 ? ", " : "",
                                 trace_operation_names[i], (unsigned long long)plan->left_out_by[i]);
    }
    return text;
}

static void describe_all(const struct loaded *loaded, const struct replay_outcome *outcome,
                         struct result *result)
{
    uint64_t less = atomic_load(&outcome->less), differed = atomic_load(&outcome->differed);
    uint64_t lost = atomic_load(&outcome->lost), late = atomic_load(&outcome->late);
    if (loaded->plan.left_out > 0)
        result_warn(
            result,
            "%llu operations of the trace were left out, because they contradict what it did before: %s",
            (unsigned long long)loaded->plan.left_out, name_left_out(&loaded->plan));
    if (loaded->ignored > 0)
        result_warn(result, "%llu calls that strace saw have no like in a trace and were left out: %s",
                    (unsigned long long)loaded->ignored, loaded->trace.ignored);
    if (loaded->plan.process_count > suite_members())
        result_warn(result, "%u processes of the trace share %u: give --processes %u",
                    loaded->plan.process_count, suite_members(), loaded->plan.process_count);
    if (less > 0)
        result_warn(result, "%llu reads gave less than when they were recorded", (unsigned long long)less);
    if (differed > 0)
        result_warn(result, "%llu operations failed when they were recorded, and did not now",
                    (unsigned long long)differed);
    if (lost > 0)
        result_warn(result, "%llu operations were on files of another process that were gone",
                    (unsigned long long)lost);
    if (late > 10000000)
        result_warn(result, "up to %.1f ms behind the times of the trace", (double)late / 1e6);
}

static void describe(uint32_t phase, const void *shared, struct result *result)
{
    const struct loaded *loaded = find_plan();
    result_number(result, "recorded_processes", loaded->plan.process_count);
    if (phase == REPLAY_ALL)
        describe_all(loaded, shared, result);
}

const struct suite_workload bench_replay = {
    .name = "replay",
    .help = "What programs did, from a recorded trace",
    .options = options,
    .phases = phases,
    .shared_size = sizeof(struct replay_outcome),
    .shared_sums = 3,
    .shared_maxima = 1,
    .check = check,
    .supports = supports,
    .working_set = working_set,
    .run = run,
    .carry = carry,
    .describe = describe,
};

/* ---- convert ---- */

static const char *to_file;

static const struct bench_option convert_options[] = {
    {"trace", BENCH_TEXT, &trace_file, 0, 0, "FILE", "what strace -f -ttt -o FILE printed, or a trace"},
    {"output", BENCH_TEXT, &to_file, 0, 0, "FILE", "where the trace goes [standard output]"},
    {0},
};

static int run_convert(void)
{
    struct trace trace;
    uint64_t ignored;
    if (trace_file == NULL) {
        bench_error("which one? give --trace FILE");
        return BENCH_USAGE;
    }
    if (trace_read(trace_file, &trace, &ignored) < 0)
        return BENCH_USAGE;
    FILE *out = to_file == NULL ? stdout : fopen(to_file, "wxe");
    int status = out == NULL ? -errno : trace_write(&trace, out);
    if (out != NULL && out != stdout && fclose(out) != 0 && status == 0)
        status = -errno;
    if (status < 0)
        bench_error("cannot write \"%s\": %s", to_file == NULL ? "standard output" : to_file,
                    strerror(-status));
    else if (ignored > 0)
        bench_error("%llu calls have no like in a trace and were left out: %s", (unsigned long long)ignored,
                    trace.ignored);
    trace_free(&trace);
    return status < 0 ? BENCH_FAILED : BENCH_OK;
}

const struct bench_verb bench_convert = {
    .name = "convert",
    .help = "Make a trace for replay from what strace printed",
    .options = convert_options,
    .run = run_convert,
};

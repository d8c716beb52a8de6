/* The loop around a workload.
 *
 * A combination is measured on all targets before the next one begins: repeat by repeat, all targets in each,
 * forwards and backwards in turns. Results are written when their combination is complete, each as a line
 * that is whole; when the user interrupts, or a target fails, the repeats that are complete are written with
 * a warning, and nothing after them is tried.
 *
 * Members live in processes of their own, forked anew for each run, so that nothing that one run has cached
 * or connected helps the next. This process opens no target: what must be known of one (struct target_facts)
 * is found out in a process of its own, which is also how a target that is down is found before anything has
 * been measured. The time series comes from looking at the members' counters while they work. */
#include "bench/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/bystanders.h"
#include "bench/gather.h"
#include "bench/guards.h"
#include "bench/interrupt.h"
#include "bench/live.h"
#include "bench/ranks.h"
#include "bench/stages.h"
#include "bench/suite_show.h"
#include "bench/suspension.h"
#include "bench/sweep.h"

#define OPTIONS_MAX 64u
#define MOMENTS_MAX 100000u
#define LOOK_INTERVAL UINT64_C(100000000)
#define GRACE UINT64_C(5000000000)
#define REMOVE_GRACE UINT64_C(60000000000) /* removing many files takes about as long as making them did */
#define REMOVE_DEPTH 64u
#define TRIAL_TAG 0xffffffu /* in place of a run's number */

static const struct suite_workload *workload;
static struct sweep sweep;
static struct sweep_axis *subjects; /* what is measured in turns in place of targets; NULL: targets are */
static struct bench_list targets;
static uint64_t processes, threads, repeats, warmup;
static const char *output_path, *limits_path;
static bool json, suspends;

static struct result_file limits;
static struct suite_output output;
static char run_id[RESULT_ID_SIZE];
static uint32_t phase_count;
static uint64_t run_tag; /* makes names of directories unique; the same in all ranks */
static bool mpi;         /* read by main.c, which must know it earlier */
static bool compares;    /* there must be two targets */

static const struct bench_option target_option = {"target",
                                                  BENCH_TEXTS,
                                                  &targets,
                                                  0,
                                                  0,
                                                  "TARGET",
                                                  TARGET_SYNTAX
                                                  "; may be repeated, then they take turns [benchfs:]"};
static const struct bench_option library_option = {"library",
                                                   BENCH_TEXTS,
                                                   &target_libraries,
                                                   0,
                                                   0,
                                                   "FILE",
                                                   "client library for chfs: or finchfs:; may be repeated"};
static const struct bench_option suspend_option = {
    "suspend",
    BENCH_FLAG,
    &suspends,
    0,
    0,
    NULL,
    "stop the servers of other chfs: and finchfs: targets in each turn"};
static const struct bench_option crew_options[] = {
    {"processes", BENCH_NUMBER, &processes, 1, CREW_MAX, "N", "processes"},
    {"threads", BENCH_NUMBER, &threads, 1, CREW_MAX, "N", "threads in each"},
    {"mpi", BENCH_FLAG, &mpi, 0, 0, NULL, "as a rank of MPI, even if the environment does not tell so"},
};
static const struct bench_option common_options[] = {
    {"repeats", BENCH_NUMBER, &repeats, 1, SAMPLE_MAX, "N", "how often"},
    {"warmup", BENCH_NUMBER, &warmup, 0, SAMPLE_MAX, "N", "how often before that, not counted"},
    {"json", BENCH_FLAG, &json, 0, 0, NULL, "JSON lines in place of a table"},
    {"output", BENCH_PATH, &output_path, 0, 0, "FILE", "JSON lines into FILE as well"},
    {"limits", BENCH_PATH, &limits_path, 0, 0, "FILE", "warn of results that calibrated limits do not allow"},
};

/* A target and the results of the combination that is measured. */
struct lane {
    const char *specification;
    bool prepared;
    struct target_facts *facts; /* shared with the process that finds them out */
    void *shared;               /* workload->shared_size bytes */
    struct stages *stages;      /* NULL: the workload has a subject */
    struct bystanders bystanders;
    struct result results[SUITE_PHASES_MAX];
    bool seen[SUITE_PHASES_MAX];        /* the phase did run */
    bool unsupported[SUITE_PHASES_MAX]; /* the target cannot do it */
};

static struct lane lanes[BENCH_LIST_MAX];
static uint32_t lane_count;

/* What a run's members need to know; they inherit it by fork. */
struct plan {
    struct lane *lane;
    uint64_t tag; /* makes the directory's name unique */
    uint32_t run;
    bool counts; /* no warm-up */
};

/* What belongs to a member. */
struct own {
    struct suite_member member;
    struct stages_before *before[SUITE_PHASES_MAX];
};

uint32_t suite_members(void)
{
    return (uint32_t)(processes * threads) * ranks_count();
}

/* ---- members ---- */

int suite_fail(const struct suite_member *member, const char *what, const char *path, int status)
{
    if (status == -ECANCELED) /* by what has told already why */
        return status;
    bench_error("target %s%s: %s %s: %s", member->target->operations->scheme, member->target->root, what,
                path, strerror(-status));
    return status;
}

static bool supports(const char *specification, uint32_t phase)
{
    return workload->subject != NULL || workload->supports == NULL ||
           workload->supports(target_kind(specification), phase);
}

static void name_directory(struct suite_member *member, uint64_t tag)
{
    const char *root = member->target->root;
    const char *slash = root[strlen(root) - 1] == '/' ? "" : "/";
    snprintf(member->directory, sizeof(member->directory), "%s%sbench-%s.%llx", root, slash, workload->name,
             (unsigned long long)tag);
}

/* From the directory's making to its removal. */
static int run_in_directory(struct suite_member *member)
{
    const struct target_operations *call = member->target->operations;
    int status = member->number == 0 ? call->mkdir(member->target, member->directory, 0755) : 0;
    if (status < 0)
        return suite_fail(member, "mkdir", member->directory, status);
    status = crew_wait(member->crew);
    if (status == 0)
        status = workload->run(member);
    if (status == 0)
        status = crew_wait(member->crew);
    if (status == 0 && member->number == 0 && (status = call->rmdir(member->target, member->directory)) < 0)
        suite_fail(member, "rmdir", member->directory, status);
    return status;
}

static int be_member(struct crew_member *crew)
{
    const struct plan *plan = crew->argument;
    struct own own = {.member = {.crew = crew,
                                 .number = crew->number,
                                 .count = crew->count,
                                 .run = plan->run,
                                 .shared = plan->lane->shared}};
    struct suite_member *member = &own.member;
    if (workload->subject != NULL)
        return workload->run(member);
    int status = target_open(plan->lane->specification, &member->target);
    if (status < 0)
        return status;
    name_directory(member, plan->tag);
    crew->own = &own;
    status = run_in_directory(member);
    member->target->operations->close(member->target);
    return status;
}

static struct sources *look_at_servers(struct target *target)
{
    return target->operations->servers != NULL ? target->operations->servers(target) : NULL;
}

/* Collects what the target measures about itself. */
static void collect_stages(struct crew_member *crew, uint32_t phase, enum crew_edge edge)
{
    const struct plan *plan = crew->argument;
    struct own *own = crew->own;
    if (!plan->counts || own == NULL || own->member.target->operations->metrics == NULL)
        return;
    struct metrics *metrics = own->member.target->operations->metrics(own->member.target);
    struct stages *stages = plan->lane->stages;
    if (metrics == NULL)
        return;
    switch (edge) {
    case CREW_COMES:
        stages_come(stages, phase, metrics, &own->before[phase]);
        break;
    case CREW_BEGINS:
        stages_begin(stages, phase, look_at_servers(own->member.target));
        break;
    case CREW_LEAVES:
        stages_leave(stages, phase, metrics, &own->before[phase]);
        break;
    case CREW_ENDS:
        stages_end(stages, phase, look_at_servers(own->member.target));
        break;
    }
}

/* ---- after a failure: what is left of a run ---- */

struct removal {
    struct target *target;
    const char *path;
    unsigned depth;
};

static int remove_tree(struct target *target, const char *path, unsigned depth);

static int remove_entry(void *argument, const char *name, mode_t type)
{
    const struct removal *removal = argument;
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", removal->path, name);
    if (type != S_IFDIR && removal->target->operations->unlink(removal->target, path) == 0)
        return 0;
    return removal->depth < REMOVE_DEPTH ? remove_tree(removal->target, path, removal->depth + 1) : -ELOOP;
}

static int remove_tree(struct target *target, const char *path, unsigned depth)
{
    struct removal removal = {.target = target, .path = path, .depth = depth};
    int status = target->operations->list(target, path, remove_entry, &removal);
    return status < 0 ? status : target->operations->rmdir(target, path);
}

/* Says what has become of the target, if that is why the run failed; to the failure itself, which has been
 * told, and to an interrupt nothing is added. */
static int remove_left(struct crew_member *crew)
{
    const struct plan *plan = crew->argument;
    struct suite_member member = {0};
    static struct target_facts unused;
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null >= 0 && interrupted())
        dup2(null, STDERR_FILENO);
    if (target_open(target_unrecorded(plan->lane->specification), &member.target) < 0)
        return 0;
    member.target->operations->describe(member.target, &unused);
    if (null >= 0)
        dup2(null, STDERR_FILENO);
    name_directory(&member, plan->tag);
    remove_tree(member.target, member.directory, 0);
    member.target->operations->close(member.target);
    return 0;
}

/* ---- looking on ---- */

struct looking {
    struct lane *lane;
    const char *where; /* what is measured, for the line on the terminal */
    bool counts;       /* no warm-up */
    uint32_t phase;
    struct {
        double seconds;
        uint64_t operations, bytes;
    } last[SUITE_PHASES_MAX];
};

static void add_moment(struct looking *looking, uint32_t phase, double seconds, uint64_t operations,
                       uint64_t bytes)
{
    struct result *result = &looking->lane->results[phase];
    double elapsed = seconds - looking->last[phase].seconds;
    if (elapsed <= 0.0 || operations < looking->last[phase].operations || bytes < looking->last[phase].bytes)
        return;
    if ((result->moment_count & (result->moment_count - 1)) == 0) { /* full: 0, 1, 2, 4, 8, ... */
        size_t room = result->moment_count == 0 ? 1 : 2 * (size_t)result->moment_count;
        struct result_moment *larger = realloc(result->series, room * sizeof(*larger));
        if (larger == NULL)
            return;
        result->series = larger;
    }
    if (result->moment_count < MOMENTS_MAX)
        result->series[result->moment_count++] = (struct result_moment){
            .t = seconds,
            .ops_per_s = (double)(operations - looking->last[phase].operations) / elapsed,
            .bytes_per_s = (double)(bytes - looking->last[phase].bytes) / elapsed};
    looking->last[phase].seconds = seconds;
    looking->last[phase].operations = operations;
    looking->last[phase].bytes = bytes;
}

static void look(void *argument, uint32_t phase, double seconds, uint64_t operations, uint64_t bytes)
{
    struct looking *looking = argument;
    double elapsed = seconds - looking->last[phase].seconds;
    double rate = elapsed > 0.0 ? (double)(operations - looking->last[phase].operations) / elapsed : 0.0;
    double bandwidth = elapsed > 0.0 ? (double)(bytes - looking->last[phase].bytes) / elapsed : 0.0;
    live_show("%s %s: %.1f s, %.0f op/s, %.1f MB/s", looking->where, workload->phases[phase].name, seconds,
              rate, bandwidth / 1e6);
    add_moment(looking, phase, seconds, operations, bytes);
}

static int carry(void *argument)
{
    (void)argument;
    return workload->carry();
}

/* ---- results ---- */

static void name_parameters(struct result *result)
{
    if (ranks_count() > 1)
        result_number(result, "ranks", ranks_count());
    for (uint32_t i = 0; i < sweep.axis_count; i++) {
        const struct bench_option *option = sweep.axes[i].option;
        if (option->kind != BENCH_TEXT)
            result_number(result, option->name, *(const uint64_t *)option->value);
        else if (*(const char *const *)option->value != NULL)
            result_text(result, option->name, *(const char *const *)option->value);
    }
    for (const struct bench_option *option = workload->options; option->name != NULL; option++) {
        if (option->kind == BENCH_FLAG)
            result_flag(result, option->name, *(const bool *)option->value);
    }
}

/* The option that names the subject has the lane's. */
static void choose_subject(const char *name)
{
    if (subjects != NULL)
        *(const char **)subjects->option->value = name;
}

static void begin_results(struct lane *lane)
{
    choose_subject(lane->specification);
    memset(lane->seen, 0, sizeof(lane->seen));
    lane->bystanders = (struct bystanders){0};
    if (lane->stages != NULL)
        stages_clear(lane->stages);
    for (uint32_t phase = 0; phase < phase_count; phase++) {
        struct result *result = &lane->results[phase];
        result_free(result);
        result->run = run_id;
        result->benchmark = workload->name;
        result->target = lane->specification;
        result->phase = workload->phases[phase].name;
        lane->unsupported[phase] = !supports(lane->specification, phase);
        if (lane->facts->servers > 0)
            result_number(result, "servers", lane->facts->servers);
        name_parameters(result);
    }
}

/* What was done after the last look in too short a time for a rate of its own joins the moment before. */
static void stretch_moment(const struct looking *looking, uint32_t phase, const struct crew_total *total)
{
    struct result *result = &looking->lane->results[phase];
    uint32_t count = result->moment_count;
    if (count == 0 || count == MOMENTS_MAX)
        return;
    struct result_moment *moment = &result->series[count - 1];
    double began = count > 1 ? result->series[count - 2].t : 0.0;
    double length = moment->t - began, longer = total->seconds - began;
    uint64_t operations = total->operations - looking->last[phase].operations,
             bytes = total->bytes - looking->last[phase].bytes;
    if (longer < length)
        return;
    *moment = (struct result_moment){.t = total->seconds,
                                     .ops_per_s = (moment->ops_per_s * length + (double)operations) / longer,
                                     .bytes_per_s = (moment->bytes_per_s * length + (double)bytes) / longer};
}

/* Adds what was done after the last look. */
static int end_series(struct looking *looking, uint32_t phase, const struct crew_total *total)
{
    const struct gather_phase of_all = {.step = (double)LOOK_INTERVAL / 1e9,
                                        .seconds = total->seconds,
                                        .operations = total->operations,
                                        .bytes = total->bytes};
    if (ranks_count() > 1)
        return gather_series(&looking->lane->results[phase], &of_all);
    if (total->seconds - looking->last[phase].seconds > of_all.step / 2)
        add_moment(looking, phase, total->seconds, total->operations, total->bytes);
    else
        stretch_moment(looking, phase, total);
    return 0;
}

/* Adds what a run measured. */
static int add_run(struct lane *lane, struct looking *looking, const struct crew_total *totals)
{
    for (uint32_t phase = 0; phase < phase_count; phase++) {
        const struct crew_total *total = &totals[phase];
        struct result *result = &lane->results[phase];
        if (total->seconds <= 0.0)
            continue;
        if (result->latency == NULL) {
            result->latency = malloc(sizeof(*result->latency));
            if (result->latency == NULL)
                return -ENOMEM;
            histogram_init(result->latency);
        }
        int status = end_series(looking, phase, total);
        if (status < 0)
            return status;
        lane->seen[phase] = true;
        result_add_repeat(result, total->seconds, total->operations, total->bytes, total->errors);
        histogram_merge(result->latency, &total->latency);
    }
    return 0;
}

static void settle(struct lane *lane, bool whole)
{
    uint32_t members = suite_members();
    uint64_t working_set = workload->working_set != NULL ? workload->working_set(members) : 0;
    for (uint32_t phase = 0; phase < phase_count; phase++) {
        struct result *result = &lane->results[phase];
        bool reads = workload->phases[phase].reads;
        if (!lane->seen[phase])
            continue;
        result_settle(result);
        if (result->latency->count == 0) { /* the workload times no single operations */
            free(result->latency);
            result->latency = NULL;
        }
        if (lane->stages != NULL)
            stages_describe(lane->stages, phase, result);
        if (workload->describe != NULL)
            workload->describe(phase, lane->shared, result);
        if (workload->subject == NULL)
            guards_of_target(result, lane->facts, working_set, reads);
        if (limits_path != NULL)
            guards_of_limits(result, lane->facts, &limits, members, reads);
        if (whole)
            bystanders_warn(&lane->bystanders, result);
        if (result->repeats < repeats)
            result_warn(result, "the run ended early: %u of %llu repeats", result->repeats,
                        (unsigned long long)repeats);
    }
}

/* Of the combination: those that are the same in all phases. */
static json_t *parameters_of(const struct lane *lane)
{
    struct result whole;
    result_init(&whole);
    if (lane->facts->servers > 0)
        result_number(&whole, "servers", lane->facts->servers);
    name_parameters(&whole);
    json_t *parameters = result_parameters_json(&whole);
    result_free(&whole);
    return parameters;
}

static int conclude(struct lane *lane)
{
    struct result *results[SUITE_PHASES_MAX];
    char text[512] = "";
    for (uint32_t phase = 0; phase < phase_count; phase++)
        results[phase] = lane->seen[phase] ? &lane->results[phase] : NULL;
    json_t *line = workload->conclude(results, lane->shared, text, sizeof(text));
    if (line == NULL)
        return 0;
    json_object_set_new(line, "run", json_string(run_id));
    json_object_set_new(line, "benchmark", json_string(workload->name));
    json_object_set_new(line, "target", json_string(lane->specification));
    json_object_set_new(line, "parameters", parameters_of(lane));
    return suite_show_line(&output, line, lane->specification, text);
}

/* What is known so far becomes that of all ranks. */
static int gather_stages(void)
{
    int status = 0;
    for (uint32_t i = 0; i < lane_count && status == 0; i++) {
        if (lanes[i].stages != NULL)
            status = stages_gather(lanes[i].stages);
    }
    return status;
}

static int gather_all_warnings(void)
{
    int status = 0;
    for (uint32_t i = 0; i < lane_count; i++) {
        for (uint32_t phase = 0; phase < phase_count && status == 0; phase++) {
            if (lanes[i].seen[phase])
                status = gather_warnings(&lanes[i].results[phase]);
        }
    }
    return status;
}

/* Shows and writes what the lanes have of a combination. Once a rank has failed, that is this one's. */
static int finish_results(bool whole)
{
    int status = 0, gathered = ranks_agree(whole ? 0 : -EIO);
    if (gathered == 0)
        gathered = gather_stages();
    for (uint32_t i = 0; i < lane_count; i++)
        settle(&lanes[i], gathered == 0);
    if (gathered == 0)
        gathered = gather_all_warnings();
    whole = whole && gathered == 0;
    for (uint32_t phase = 0; phase < phase_count && status == 0; phase++) {
        const struct result *first = NULL;
        for (uint32_t i = 0; i < lane_count && status == 0; i++) {
            const struct result *result = &lanes[i].results[phase];
            if (lanes[i].unsupported[phase])
                status = suite_show_unsupported(&output, result);
            if (!lanes[i].seen[phase])
                continue;
            status = suite_show_result(&output, result);
            if (first != NULL)
                suite_show_ratio(&output, first, result);
            first = first == NULL ? result : first;
        }
    }
    for (uint32_t i = 0; i < lane_count && whole && workload->conclude != NULL && status == 0; i++)
        status = conclude(&lanes[i]);
    if (status < 0)
        bench_error("cannot write results: %s", strerror(-status));
    return status < 0 ? status : gathered;
}

/* ---- runs ---- */

static void describe_where(char *text, size_t size, uint32_t combination, uint32_t combinations, uint32_t run,
                           const struct lane *lane)
{
    size_t length = (size_t)snprintf(text, size, "[%u/%u] %s", combination + 1, combinations, workload->name);
    for (uint32_t i = 0; i < sweep.axis_count && length < size; i++) {
        const struct bench_option *option = sweep.axes[i].option;
        char value[64];
        if (sweep.axes[i].count == 1 || sweep.axes[i].in_turns)
            continue;
        bool is_text = option->kind == BENCH_TEXT;
        sweep_format(option, is_text ? 0 : *(const uint64_t *)option->value,
                     is_text ? *(const char *const *)option->value : NULL, value, sizeof(value));
        length += (size_t)snprintf(text + length, size - length, " %s=%s", option->name, value);
    }
    if (length < size && run < warmup)
        snprintf(text + length, size - length, " %s, warming up:", lane->specification);
    else if (length < size)
        snprintf(text + length, size - length, " %s, repeat %u of %llu:", lane->specification,
                 run - (uint32_t)warmup + 1, (unsigned long long)repeats);
}

static int run_once(struct lane *lane, uint32_t run, const char *where)
{
    static struct crew_total totals[SUITE_PHASES_MAX];
    static uint64_t count;
    static struct looking looking;
    struct plan plan = {.lane = lane, .run = run, .tag = run_tag << 24 | count++, .counts = run >= warmup};
    looking = (struct looking){.lane = lane, .where = where, .counts = run >= warmup};
    const struct crew_watch watch = {.interval = LOOK_INTERVAL,
                                     .look = look,
                                     .argument = &looking,
                                     .grace = GRACE,
                                     .carry = workload->carry != NULL ? carry : NULL,
                                     .edge = lane->stages != NULL ? collect_stages : NULL};
    for (uint32_t phase = 0; phase < phase_count; phase++)
        lane->results[phase].moment_count = 0;
    if (workload->shared_size > 0)
        memset(lane->shared, 0, workload->shared_size);
    live_show("%s", where);
    choose_subject(lane->specification);
    struct bystanders_look *before = bystanders_begin();
    int status = crew_execute_watched((uint32_t)processes, (uint32_t)threads, NULL, phase_count, be_member,
                                      &plan, &watch, totals);
    bystanders_end(before, workload->subject == NULL ? target_kind(lane->specification)->server : NULL,
                   &lane->bystanders);
    live_clear();
    if (status < 0 && workload->subject == NULL) {
        struct crew_watch removing = watch;
        removing.grace = REMOVE_GRACE;
        crew_execute_watched(1, 1, NULL, 0, remove_left, &plan, &removing, NULL);
    }
    if (status == 0)
        status = gather_numbers(lane->shared, workload->shared_sums, workload->shared_maxima);
    if (status == 0 && lane->stages != NULL)
        status = stages_settle(lane->stages);
    if (status < 0 || run < warmup)
        return status;
    return add_run(lane, &looking, totals);
}

/* Whether there is anything that the target can do. */
static bool can_run(const struct lane *lane)
{
    for (uint32_t phase = 0; phase < phase_count; phase++) {
        if (!lane->unsupported[phase])
            return true;
    }
    return false;
}

static int measure(uint32_t combination, uint32_t combinations)
{
    int status = 0;
    char where[256];
    sweep_choose(&sweep, combination);
    for (uint32_t i = 0; i < lane_count; i++)
        begin_results(&lanes[i]);
    for (uint32_t run = 0; run < warmup + repeats && status == 0; run++) {
        for (uint32_t i = 0; i < lane_count && status == 0; i++) {
            struct lane *lane = &lanes[run % 2 == 0 ? i : lane_count - 1 - i];
            if (!can_run(lane))
                continue;
            describe_where(where, sizeof(where), combination, combinations, run, lane);
            if (suspends)
                status = suspension_turn(target_kind(lane->specification)->server);
            if (status == 0)
                status = interrupted() ? -EINTR : run_once(lane, run, where);
        }
    }
    suspension_end();
    int written = finish_results(status == 0);
    return status < 0 ? status : written;
}

/* ---- before and after all ---- */

/* Whether runs will be able to make their directories: that one must not be found out by the first of them,
 * after the table's head and, of several targets, measuring the others. Not where it would be recorded. */
static int try_directory(struct target *target)
{
    struct suite_member member = {.target = target};
    if (target->operations == &target_record)
        return 0;
    name_directory(&member, run_tag << 24 | TRIAL_TAG);
    int status = target->operations->mkdir(target, member.directory, 0755);
    if (status < 0)
        return suite_fail(&member, "mkdir", member.directory, status);
    status = target->operations->rmdir(target, member.directory);
    return status < 0 ? suite_fail(&member, "rmdir", member.directory, status) : 0;
}

static int find_out(struct crew_member *crew)
{
    const struct lane *lane = crew->argument;
    struct target *target;
    int status = target_open(lane->specification, &target);
    if (status < 0)
        return status;
    status = target->operations->describe(target, lane->facts);
    if (status == 0 && ranks_number() == 0)
        status = try_directory(target);
    target->operations->close(target);
    return status;
}

static void *share(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static int open_lanes(void)
{
    lane_count = subjects != NULL ? subjects->count : workload->subject != NULL ? 1 : targets.count;
    for (uint32_t i = 0; i < lane_count; i++) {
        struct lane *lane = &lanes[i];
        lane->specification = subjects != NULL            ? subjects->texts[i]
                              : workload->subject != NULL ? workload->subject
                                                          : targets.texts[i];
        lane->facts = share(sizeof(*lane->facts));
        lane->shared = share(workload->shared_size + 1);
        if (lane->facts == NULL || lane->shared == NULL) {
            bench_error("out of memory");
            return -ENOMEM;
        }
        if (workload->subject != NULL)
            continue;
        if (stages_create(phase_count, &lane->stages) < 0) {
            bench_error("out of memory");
            return -ENOMEM;
        }
        int status = target_prepare(lane->specification);
        lane->prepared = status == 0;
        status = ranks_agree(status);
        if (status < 0)
            return status;
        const struct crew_watch watch = {.interval = GRACE, .look = look, .grace = 0};
        status = crew_execute_watched(1, 1, NULL, 0, find_out, lane, &watch, NULL);
        if (status < 0)
            return status;
    }
    return 0;
}

static void close_lanes(void)
{
    for (uint32_t i = 0; i < lane_count; i++) {
        struct lane *lane = &lanes[i];
        for (uint32_t phase = 0; phase < phase_count; phase++)
            result_free(&lane->results[phase]);
        if (lane->prepared)
            target_release(lane->specification);
        if (lane->facts != NULL)
            munmap(lane->facts, sizeof(*lane->facts));
        if (lane->shared != NULL)
            munmap(lane->shared, workload->shared_size + 1);
        stages_free(lane->stages);
    }
    result_file_free(&limits);
}

/* Every combination must make sense before the first is measured. Returns how many there are; 0: after one
 * line on standard error. */
static uint32_t check_combinations(void)
{
    uint32_t count = sweep_count(&sweep);
    if (count == 0)
        bench_error("the sweep has more than %u combinations: give shorter lists", SWEEP_COMBINATIONS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        sweep_choose(&sweep, i);
        if (processes * threads > CREW_MAX) {
            bench_error("--processes times --threads is more than %u", CREW_MAX);
            return 0;
        }
        for (uint32_t k = 0; k < (subjects != NULL ? subjects->count : 1); k++) {
            choose_subject(subjects != NULL ? subjects->texts[k] : NULL);
            if (workload->check != NULL && workload->check() != 0)
                return 0;
        }
    }
    return count;
}

static bool check_targets(void)
{
    if (targets.count == 0)
        targets.texts[targets.count++] = "benchfs:";
    for (uint32_t i = 0; i < targets.count; i++) {
        if (target_check(targets.texts[i]) < 0)
            return false;
        if (workload->client_only && !target_has_client(targets.texts[i])) {
            bench_error("target %s: %s measures BenchFS itself: give a target benchfs:", targets.texts[i],
                        workload->name);
            return false;
        }
        for (uint32_t k = 0; k < i; k++) {
            if (strcmp(targets.texts[i], targets.texts[k]) != 0)
                continue;
            bench_error("option --target has %s twice", targets.texts[i]);
            return false;
        }
    }
    return true;
}

/* What has to do with the targets is known only now. */
static bool check_facts(uint32_t combinations)
{
    for (uint32_t i = 0; i < combinations && workload->suits != NULL; i++) {
        sweep_choose(&sweep, i);
        for (uint32_t k = 0; k < lane_count; k++) {
            if (workload->suits(lanes[k].facts) != 0)
                return false;
        }
    }
    return true;
}

void suite_must_compare(void)
{
    compares = true;
}

static bool check_sides(void)
{
    uint32_t count = subjects != NULL ? subjects->count : workload->subject != NULL ? 0 : targets.count;
    if (!compares || count > 1)
        return true;
    if (workload->subject == NULL)
        bench_error("compare needs two targets: give --target twice");
    else if (subjects != NULL)
        bench_error("compare needs two of --%s", subjects->option->name);
    else
        bench_error("compare needs files of its results: there are no targets to measure in turns");
    return false;
}

static json_t *run_line(const struct bench_verb *verb)
{
    result_make_id(run_id);
    json_t *line = result_run_line(workload->name, run_id, result_options(verb));
    json_t *transports = json_array();
    for (uint32_t i = 0; i < lane_count; i++)
        suite_show_facts(line, transports, lanes[i].specification, lanes[i].facts);
    json_object_set_new(line, "transports", transports);
    return line;
}

static int run_all(const struct bench_verb *verb, uint32_t combinations)
{
    sweep_choose(&sweep, 0);
    if (open_lanes() < 0 || ranks_agree(check_facts(combinations) ? 0 : -EINVAL) < 0) {
        close_lanes();
        if (interrupted())
            bench_error("interrupted");
        return interrupted() ? BENCH_FAILED : BENCH_USAGE;
    }
    for (uint32_t i = 0; i < lane_count; i++)
        suite_show_target(&output, lanes[i].specification);
    for (uint32_t phase = 0; phase < phase_count; phase++)
        suite_show_phase(&output, workload->phases[phase].name);
    int status = suite_show_begin(&output, run_line(verb), &sweep);
    if (status < 0)
        bench_error("cannot write results: %s", strerror(-status));
    for (uint32_t i = 0; i < combinations && status == 0; i++)
        status = measure(i, combinations);
    close_lanes();
    if (interrupted())
        bench_error("interrupted");
    return status == 0 ? BENCH_OK : BENCH_FAILED;
}

/* ---- options ---- */

static void add_option(struct bench_option *all, const struct bench_option *option, bool may_be_list)
{
    uint32_t count = 0;
    while (all[count].name != NULL)
        count++;
    all[count] = *option;
    bool scalar = option->kind == BENCH_NUMBER || option->kind == BENCH_SIZE ||
                  option->kind == BENCH_DURATION || option->kind == BENCH_TEXT;
    if (may_be_list && scalar)
        sweep_add(&sweep, &all[count]);
}

static void collect_options(struct bench_option *all)
{
    processes = threads = 1;
    repeats = 5;
    if (workload->subject == NULL) {
        add_option(all, &target_option, false);
        add_option(all, &library_option, false);
        add_option(all, &suspend_option, false);
    }
    for (const struct bench_option *option = workload->options; option->name != NULL; option++)
        add_option(all, option, true);
    for (size_t i = 0; i < sizeof(crew_options) / sizeof(crew_options[0]) && !workload->serial; i++)
        add_option(all, &crew_options[i], true);
    for (size_t i = 0; i < sizeof(common_options) / sizeof(common_options[0]); i++)
        add_option(all, &common_options[i], false);
}

static void find_subjects(const struct bench_verb *verb)
{
    for (uint32_t i = 0; i < sweep.axis_count && workload->subjects != NULL; i++) {
        if (strcmp(sweep.axes[i].option->name, workload->subjects) != 0)
            continue;
        bench_options_default(verb, workload->subjects, workload->all_subjects());
        subjects = &sweep.axes[i];
        subjects->in_turns = true;
    }
}

int suite_main(const struct suite_workload *chosen, int argc, char **argv)
{
    static struct bench_option all[OPTIONS_MAX];
    workload = chosen;
    for (phase_count = 0; workload->phases[phase_count].name != NULL;)
        phase_count++;
    collect_options(all);
    const struct bench_verb verb = {
        .name = workload->name, .help = workload->help, .options = all, .sweep = &sweep};
    for (const char *const *list = workload->lists; list != NULL && *list != NULL; list += 2)
        bench_options_default(&verb, list[0], list[1]);
    find_subjects(&verb);
    int status = bench_options_parse(&verb, argc, argv);
    if (ranks_number() > 0)
        output_path = NULL; /* rank 0 writes */
    if (status >= 0)
        return status;
    uint32_t combinations = check_combinations();
    bool right = combinations > 0 && (workload->subject != NULL || check_targets()) && check_sides() &&
                 (limits_path == NULL || result_file_read(limits_path, &limits) == 0) &&
                 suite_show_open(&output, workload->name, json, output_path) == 0;
    if (ranks_agree(right ? 0 : -EINVAL) < 0)
        return BENCH_USAGE;
    interrupt_catch();
    run_tag = (uint64_t)getpid();
    if (ranks_broadcast(&run_tag, sizeof(run_tag)) < 0)
        return BENCH_FAILED;
    status = run_all(&verb, combinations);
    int closed = suite_show_close(&output);
    if (closed < 0)
        bench_error("cannot write \"%s\": %s", output_path, strerror(-closed));
    return closed < 0 ? BENCH_FAILED : status;
}

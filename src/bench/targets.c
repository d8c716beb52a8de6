/* The table of targets and the verdicts.
 *
 * Rules: what is compared is measured in the same run, in turns, several times; the judged figure is the
 * median over the repeats of the ratios of one repeat, so that a machine whose speed drifts does not decide.
 * Each measurement runs in a process of its own, bound as the row says, and hands its samples back through
 * shared memory. */
#include "bench/targets.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/status.h"
#include "bench/crew.h"
#include "bench/interrupt.h"
#include "bench/result.h"
#include "client/library.h"

struct target_row {
    const char *name;
    enum target_group group;
    enum target_bound bound;
    double required;
    const char *unit;
    const char *what;
};

static const struct target_row table[TARGET_ROWS] = {
#define T(id, row_name, row_group, row_bound, row_required, row_unit, row_what)                              \
    [TARGET_##id] = {.name = row_name,                                                                       \
                     .group = GROUP_##row_group,                                                             \
                     .bound = row_bound,                                                                     \
                     .required = row_required,                                                               \
                     .unit = row_unit,                                                                       \
                     .what = row_what},
    TARGET_TABLE(T)
#undef T
};

static struct bench_list row_names;
static uint64_t repeats = 11;
static bool quick, list_only, json;
static const char *directory;

static const struct bench_option options[] = {
    {"row", BENCH_TEXTS, &row_names, 0, 0, "NAME", "only this row; may be repeated"},
    {"repeats", BENCH_NUMBER, &repeats, 1, SAMPLE_MAX, "N", "how often everything is measured"},
    {"dir", BENCH_TEXT, &directory, 0, 0, "DIR", "where the rows of storage put their data [$TMPDIR]"},
    {"quick", BENCH_FLAG, &quick, 0, 0, NULL, "3 repeats, a tenth of the metadata: a first impression"},
    {"list", BENCH_FLAG, &list_only, 0, 0, NULL, "list the rows and what they demand"},
    {"json", BENCH_FLAG, &json, 0, 0, NULL, "JSON lines in place of a table"},
    {0},
};

void target_judged(struct target_run *run, enum target_id row, double value, double own, double reference,
                   const char *detail)
{
    struct target_samples *samples = &run->rows[row];
    sample_add(&samples->measured, value);
    sample_add(&samples->own, own);
    sample_add(&samples->reference, reference);
    snprintf(samples->detail, sizeof(samples->detail), "%s", detail);
}

void target_ratio(struct target_run *run, enum target_id row, double own, double reference,
                  const char *detail)
{
    if (reference > 0.0)
        target_judged(run, row, own / reference, own, reference, detail);
}

void target_difference(struct target_run *run, enum target_id row, double own, double reference,
                       const char *detail)
{
    target_judged(run, row, own - reference, own, reference, detail);
}

void target_value(struct target_run *run, enum target_id row, double value)
{
    sample_add(&run->rows[row].measured, value);
}

void target_skip(struct target_run *run, enum target_id row, const char *why)
{
    snprintf(run->rows[row].skipped, sizeof(run->rows[row].skipped), "%s", why);
}

bool target_wanted(const struct target_run *run, enum target_id first, enum target_id last)
{
    for (unsigned row = first; row <= last; row++) {
        if (run->wanted[row] && run->rows[row].skipped[0] == 0)
            return true;
    }
    return false;
}

int target_server_status(benchfs *fs, struct server_status_reply *reply)
{
    struct client *client = client_get(fs);
    if (client == NULL)
        return -errno;
    struct rpc_call call = {.operation = RPC_SERVER_STATUS, .reply = reply, .reply_size = sizeof(*reply)};
    return rpc_call(client_peer(client, 0), &call);
}

int target_child(int processor, uint64_t patience, int (*work)(void *argument), void *argument)
{
    fflush(NULL);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        int status = -errno;
        bench_error("cannot start a process: %s", strerror(errno));
        return status;
    }
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        interrupt_default();
        if (processor >= 0)
            crew_pin((unsigned)processor);
        int status = work(argument);
        fflush(NULL);
        _exit(status == 0 ? 0 : status < 0 && status > -256 ? -status : 255);
    }
    int state;
    for (uint64_t deadline = crew_now() + patience; waitpid(pid, &state, WNOHANG) == 0; usleep(2000)) {
        if (crew_now() < deadline && !interrupted())
            continue;
        kill(pid, SIGKILL);
        waitpid(pid, &state, 0);
        if (interrupted())
            return -EINTR;
        bench_error("a measurement did not end in time");
        return -ETIMEDOUT;
    }
    if (WIFEXITED(state))
        return -WEXITSTATUS(state);
    if (interrupted())
        return -EINTR;
    bench_error("a measurement was ended by signal %d", WTERMSIG(state));
    return -EIO;
}

static bool judge(const struct target_row *row, const struct target_samples *samples)
{
    if (samples->measured.count == 0)
        return false;
    double measured = sample_median(&samples->measured);
    return row->bound == AT_MOST ? measured <= row->required : measured >= row->required;
}

static json_t *sample_values(const struct sample *sample)
{
    json_t *values = json_array();
    for (uint32_t i = 0; i < sample->count; i++)
        json_array_append_new(values, json_real(sample->values[i]));
    return values;
}

static void print_row(const struct target_row *row, const struct target_samples *samples, bool ok)
{
    double low, high;
    double measured = sample_median(&samples->measured);
    sample_interval(&samples->measured, &low, &high);
    if (json) {
        json_t *object = json_pack(
            "{ss ss ss ss sf sf sf si ss sf sb ss ss so so so}", "type", "target", "row", row->name, "what",
            row->what, "unit", row->unit, "measured", measured, "low", low, "high", high, "repeats",
            (int)samples->measured.count, "bound", row->bound == AT_MOST ? "at most" : "at least", "required",
            row->required, "ok", ok, "skipped", samples->skipped, "detail_unit", samples->detail, "samples",
            sample_values(&samples->measured), "own", sample_values(&samples->own), "reference",
            sample_values(&samples->reference));
        result_write_line(stdout, object);
        return;
    }
    int digits = strcmp(row->unit, "x") == 0 || strcmp(row->unit, "%") == 0 ? 2 : 0;
    bool skipped = samples->skipped[0] != 0;
    char detail[64] = "";
    char interval[48];
    if (samples->own.count > 0)
        snprintf(detail, sizeof(detail), "(%.2f / %.2f %s)", sample_median(&samples->own),
                 sample_median(&samples->reference), samples->detail);
    snprintf(interval, sizeof(interval), "%.*f..%.*f", digits, low, digits, high);
    if (samples->measured.count == 0)
        printf("%-19s %9s %-2s %14s  %s %7.*f  %-6s  %s\n", row->name, "-", row->unit, "",
               row->bound == AT_MOST ? "<=" : ">=", digits, row->required, skipped ? "SKIPPED" : "MISSED",
               skipped ? samples->skipped : "not measured");
    else
        printf("%-19s %9.*f %-2s %14s  %s %7.*f  %-6s  %s%s%s\n", row->name, digits, measured, row->unit,
               interval, row->bound == AT_MOST ? "<=" : ">=", digits, row->required, ok ? "ok" : "MISSED",
               row->what, detail[0] != 0 ? " " : "", detail);
    fflush(stdout);
}

static void print_list(void)
{
    for (unsigned i = 0; i < TARGET_ROWS; i++)
        printf("%-19s %s %7.2f %-2s  %s\n", table[i].name,
               table[i].bound == AT_MOST ? "<=" : ">=", table[i].required, table[i].unit, table[i].what);
}

static int choose_rows(struct target_run *target_run)
{
    for (unsigned i = 0; i < TARGET_ROWS; i++)
        target_run->wanted[i] = row_names.count == 0;
    for (uint32_t n = 0; n < row_names.count; n++) {
        unsigned i = 0;
        while (i < TARGET_ROWS && strcmp(table[i].name, row_names.texts[n]) != 0)
            i++;
        if (i == TARGET_ROWS) {
            bench_error("unknown row \"%s\": \"benchfs bench targets --list\" lists them",
                        row_names.texts[n]);
            return -EINVAL;
        }
        target_run->wanted[i] = true;
    }
    return 0;
}

static bool group_wanted(const struct target_run *target_run, enum target_group group)
{
    for (unsigned i = 0; i < TARGET_ROWS; i++) {
        if (table[i].group == group && target_run->wanted[i])
            return true;
    }
    return false;
}

static int measure_groups(struct target_run *target_run)
{
    static int (*const groups[])(struct target_run *) = {
        [GROUP_SINGLE] = targets_single,   [GROUP_MANY] = targets_many,   [GROUP_DOORS] = targets_doors,
        [GROUP_METRICS] = targets_metrics, [GROUP_ALONE] = targets_alone, [GROUP_DEVICE] = targets_device,
        [GROUP_DURABLE] = targets_durable};
    unsigned missed = 0, judged = 0, skipped = 0;
    int failure = 0;
    for (unsigned group = 0; group < sizeof(groups) / sizeof(groups[0]); group++) {
        if (!group_wanted(target_run, group))
            continue;
        int status = groups[group](target_run);
        if (status < 0)
            failure = status;
        if (interrupted()) {
            bench_error("interrupted");
            return BENCH_FAILED;
        }
        for (unsigned i = 0; i < TARGET_ROWS; i++) {
            if (table[i].group != group || !target_run->wanted[i])
                continue;
            bool ok = judge(&table[i], &target_run->rows[i]);
            judged++;
            missed += !ok;
            skipped += target_run->rows[i].skipped[0] != 0;
            print_row(&table[i], &target_run->rows[i], ok);
        }
    }
    if (!json)
        printf("%u of %u targets reached%s\n", judged - missed, judged,
               skipped > 0 ? ", some could not be measured" : "");
    return missed > 0 || failure < 0 ? BENCH_FAILED : BENCH_OK;
}

static void write_head(void)
{
    char id[RESULT_ID_SIZE];
    result_make_id(id);
    result_write_line(stdout, result_run_line(bench_targets.name, id, result_options(&bench_targets)));
}

static int run(void)
{
    if (list_only) {
        print_list();
        return BENCH_OK;
    }
    struct target_run *target_run =
        mmap(NULL, sizeof(*target_run), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (target_run == MAP_FAILED) {
        bench_error("out of memory");
        return BENCH_FAILED;
    }
    static char place[PATH_MAX];
    int result = BENCH_USAGE;
    if (directory != NULL && realpath(directory, place) == NULL) {
        bench_error("option --dir: %s: %s", directory, strerror(errno));
    } else if (choose_rows(target_run) == 0) {
        target_run->directory = directory != NULL ? place : NULL;
        target_run->quick = quick;
        target_run->repeats = quick ? 3 : (uint32_t)repeats;
        if (json)
            write_head();
        interrupt_catch();
        result = measure_groups(target_run);
    }
    munmap(target_run, sizeof(*target_run));
    return result;
}

const struct bench_verb bench_targets = {
    .name = "targets",
    .help = "Measure every target beside its reference; exit status 1 if one is missed",
    .options = options,
    .run = run,
};

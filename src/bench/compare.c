/* Results beside each other, and whether one side is faster.
 *
 * What is compared: two or more files, the first of which is the base (by target, unless each has one
 * target); or one file, in which the first target is the base of the others. Or a benchmark is named in place
 * of files: it is run here with its targets in turns, and the file it writes is compared; that is the fairest
 * way, because what the machine does meanwhile harms all targets.
 *
 * Each pair of the same benchmark, phase and parameters is compared by comparison.h; so are scores. The noise
 * floor comes from --noise, a file with two runs of the same (or one, whose halves are taken): a pair's own,
 * or if the file does not have it, the greatest there is. Without --noise the halves of both sides' own
 * repeats stand in for it. */
#include "bench/compare.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/compare_sides.h"
#include "bench/comparison.h"
#include "bench/result.h"
#include "bench/suite.h"

#define SIDES_MAX 16u

static struct bench_operands operands = {.ends = bench_is_workload};
static const char *noise_path;
static double fail_below;
static bool json;

static const struct bench_option options[] = {
    {"noise", BENCH_PATH, &noise_path, 0, 0, "FILE",
     "two runs of the same: how much a run differs from itself [halves of the repeats]"},
    {"fail-below", BENCH_REAL, &fail_below, 0, 1, "RATIO",
     "exit with 1 if something is slower than RATIO of the base, and not by noise"},
    {"json", BENCH_FLAG, &json, 0, 0, NULL, "JSON lines in place of a table"},
    {0},
};

static struct result_file files[BENCH_LIST_MAX], noise_file;
static uint32_t file_count;
static struct side sides[SIDES_MAX];
static uint32_t side_count;
static struct side noise[2]; /* runs of the same */
static struct matching matching;
static char run_id[RESULT_ID_SIZE];

static struct {
    unsigned compared, by_verdict[VERDICT_UNKNOWN + 1], regressions;
} tally;

/* ---- sides ---- */

/* The targets of a file in the order of their first results; returns how many. */
static uint32_t targets_of(const struct result_file *file, const char **names, uint32_t maximum)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < file->result_count; i++) {
        uint32_t at = 0;
        while (at < count && strcmp(names[at], file->results[i].target) != 0)
            at++;
        if (at == count && count < maximum)
            names[count++] = file->results[i].target;
    }
    return count;
}

static int add_side(const char *path, const struct result_file *file, const char *target)
{
    if (side_count == SIDES_MAX) {
        bench_error("more than %u to compare", SIDES_MAX);
        return -EINVAL;
    }
    struct side *side = &sides[side_count];
    *side = (struct side){.path = path, .file = file, .target = target};
    side->label[0] = (char)('A' + side_count++);
    return 0;
}

/* The targets of one file. */
static int split_file(const char *path)
{
    const char *names[SIDES_MAX + 1];
    uint32_t count = targets_of(&files[0], names, SIDES_MAX + 1);
    if (count < 2) {
        bench_error("%s has results of %s: name a second file, or measure two targets", path,
                    count == 0 ? "no target" : "one target");
        return -EINVAL;
    }
    int status = 0;
    for (uint32_t i = 0; i < count && status == 0; i++)
        status = add_side(path, &files[0], names[i]);
    return status;
}

static int make_sides(char *const *paths, uint32_t count)
{
    const char *names[2];
    int status = 0;
    for (; file_count < count; file_count++) {
        status = result_file_read(paths[file_count], &files[file_count]);
        if (status < 0)
            return status;
    }
    if (count == 1)
        status = split_file(paths[0]);
    for (uint32_t i = 0; i < count && count > 1 && status == 0; i++) {
        matching.targets = matching.targets || targets_of(&files[i], names, 2) > 1;
        status = add_side(paths[i], &files[i], NULL);
    }
    for (uint32_t i = 0; i < side_count; i++)
        matching.servers = matching.servers || side_varies_servers(&sides[i]);
    for (uint32_t i = 0; i < side_count && status == 0; i++)
        status = side_fill(&sides[i], &matching);
    return status;
}

static int read_noise(void)
{
    int status = result_file_read(noise_path, &noise_file);
    for (uint32_t i = 0; i < 2 && i < noise_file.run_count && status == 0; i++) {
        noise[i] = (struct side){.path = noise_path, .file = &noise_file, .run = &noise_file.runs[i]};
        status = side_fill(&noise[i], &(const struct matching){.targets = true, .servers = true});
    }
    return status;
}

/* ---- the noise floor ---- */

/* Of a cell of the noise file: its two runs, or the halves of its one. */
static double floor_of(const struct cell *cell)
{
    const struct matching exact = {.targets = true, .servers = true};
    const struct sample *one, *other;
    const struct cell *again = noise[1].file != NULL ? side_find(&noise[1], cell, &exact) : NULL;
    cell_rates(cell, again != NULL ? again : cell, &one, &other);
    return again != NULL ? comparison_floor(one, other) : comparison_floor_of_halves(one);
}

static double floor_from_file(const struct cell *like)
{
    double own = 0.0, greatest = 0.0;
    for (uint32_t i = 0; i < noise[0].count; i++) {
        double floor = floor_of(&noise[0].cells[i]);
        greatest = fmax(greatest, floor);
        if (cell_matches(&noise[0].cells[i], like, &(const struct matching){0}))
            own = fmax(own, floor);
    }
    return own > 0.0 ? own : greatest;
}

/* ---- the report ---- */

/* A parameter is shown when results differ in it. */
static bool varies(const char *name)
{
    char first[256] = "", text[256];
    bool seen = false;
    for (uint32_t i = 0; i < sides[0].count; i++) {
        const struct result_parameter *parameter = result_parameter(sides[0].cells[i].result, name);
        snprintf(text, sizeof(text), "%s", "");
        if (parameter != NULL)
            result_parameter_format(parameter, text, sizeof(text));
        if (seen && strcmp(first, text) != 0)
            return true;
        seen = true;
        strcpy(first, text);
    }
    return false;
}

/* "io write size=4096 depth=1" */
static void describe(const struct result *result, char *text, size_t size)
{
    int length = snprintf(text, size, "%s%s%s %s", matching.targets ? result->target : "",
                          matching.targets ? " " : "", result->benchmark, result->phase);
    for (uint32_t i = 0; i < result->parameter_count && (size_t)length < size; i++) {
        char value[64];
        if (!varies(result->parameters[i].name))
            continue;
        result_parameter_format(&result->parameters[i], value, sizeof(value));
        length += snprintf(text + length, size - (size_t)length, " %s=%s", result->parameters[i].name, value);
    }
}

static json_t *side_json(const struct side *side, const struct cell *cell, const struct sample *rate)
{
    return json_pack("{ss ss sf si sI}", "file", side->path, "target", cell->result->target, "rate",
                     sample_median(rate), "repeats", (int)rate->count, "p99_ns", (json_int_t)cell->p99);
}

static int write_pair(const struct side *other_side, const struct cell *base, const struct cell *other,
                      const struct comparison *comparison, bool regression)
{
    const struct sample *base_rate, *other_rate;
    const char *unit = cell_rates(base, other, &base_rate, &other_rate);
    json_t *line = json_pack(
        "{ss ss ss ss ss so so so sf sf sf sf ss ss sb}", "type", "comparison", "run", run_id, "benchmark",
        base->result->benchmark, "phase", base->result->phase, "unit", unit, "parameters",
        result_parameters_json(base->result), "base", side_json(&sides[0], base, base_rate), "other",
        side_json(other_side, other, other_rate), "ratio", comparison->ratio, "ratio_low", comparison->low,
        "ratio_high", comparison->high, "delta", comparison->delta, "effect", effect_name(comparison->delta),
        "verdict", verdict_name(comparison->verdict), "regression", (int)regression);
    if (line != NULL && comparison->floor > 0.0)
        json_object_set_new(line, "noise_floor", json_real(comparison->floor));
    return result_write_line(stdout, line);
}

static int name_width; /* of the table's first column */

static void print_pair(const struct side *other_side, const struct cell *base, const struct cell *other,
                       const struct comparison *comparison, bool regression)
{
    const struct sample *base_rate, *other_rate;
    char what[256], interval[32], floor[16] = "?";
    const char *unit = cell_rates(base, other, &base_rate, &other_rate);
    bool bytes = base_rate == &base->bytes_per_s;
    double scale = bytes ? 1e6 : 1.0;
    int digits = base->unit != NULL ? 3 : bytes ? 1 : 0;
    describe(base->result, what, sizeof(what));
    snprintf(interval, sizeof(interval), "%.3f..%.3f", comparison->low, comparison->high);
    if (comparison->floor > 0.0)
        snprintf(floor, sizeof(floor), "%.1f %%", (comparison->floor - 1.0) * 100.0);
    printf("%-*s %s/A %12.*f %12.*f %-5s %7.3f %14s %+5.2f %8s  %s%s\n", name_width, what, other_side->label,
           digits, sample_median(base_rate) / scale, digits, sample_median(other_rate) / scale,
           bytes ? "MB/s" : unit, comparison->ratio, interval, comparison->delta, floor,
           verdict_name(comparison->verdict), regression ? ": REGRESSION" : "");
}

static int compare_pair(const struct side *other_side, const struct cell *base, const struct cell *other)
{
    const struct sample *base_rate, *other_rate;
    struct comparison comparison;
    cell_rates(base, other, &base_rate, &other_rate);
    double floor = noise_path != NULL
                       ? floor_from_file(base)
                       : fmax(comparison_floor_of_halves(base_rate), comparison_floor_of_halves(other_rate));
    comparison_make(base_rate, other_rate, floor, &comparison);
    bool regression = comparison.verdict == VERDICT_SLOWER && comparison.ratio < fail_below;
    tally.compared++;
    tally.by_verdict[comparison.verdict]++;
    tally.regressions += regression;
    if (json)
        return write_pair(other_side, base, other, &comparison, regression);
    print_pair(other_side, base, other, &comparison, regression);
    return 0;
}

/* ---- where the sides come from ---- */

static const char *text_of(const json_t *json_run, const char *name)
{
    const char *text = json_string_value(json_object_get(json_run, name));
    return text != NULL ? text : "";
}

/* Sides that were measured on machines that differ are compared, but not in silence. What one does not tell,
 * such as what was imported, is no difference. */
static void warn_of_machines(const struct side *base, const struct side *other)
{
    static const char *const names[] = {"host", "kernel", "processor", "governor"};
    const json_t *a = base->file->runs[0].json, *b = other->file->runs[0].json;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && base->file != other->file; i++) {
        const char *one = text_of(a, names[i]), *two = text_of(b, names[i]);
        if (one[0] != 0 && two[0] != 0 && strcmp(one, two) != 0)
            bench_error("warning: A and %s differ in %s: \"%s\" and \"%s\"", other->label, names[i], one,
                        two);
    }
}

static void print_head(void)
{
    for (uint32_t i = 0; i < side_count; i++) {
        const struct result_run *run = &sides[i].file->runs[0];
        printf("%s: %s%s%s (%s %s, %s, %s)\n", sides[i].label, sides[i].path,
               sides[i].target != NULL ? " " : "", sides[i].target != NULL ? sides[i].target : "",
               run->version, run->commit, run->host, run->time);
    }
    for (uint32_t i = 0; i < sides[0].count; i++) {
        char what[256];
        describe(sides[0].cells[i].result, what, sizeof(what));
        name_width = (int)strlen(what) > name_width ? (int)strlen(what) : name_width;
    }
    printf("\n%-*s %3s %12s %12s %-5s %7s %14s %5s %8s  %s\n", name_width, "", "", "A", "other", "", "ratio",
           "95 % interval", "delta", "noise", "verdict");
}

static int conclude(void)
{
    unsigned same = tally.by_verdict[VERDICT_SAME] + tally.by_verdict[VERDICT_IN_NOISE];
    if (json)
        return result_write_line(
            stdout, json_pack("{ss ss si si si si si sf si}", "type", "conclusion", "run", run_id, "compared",
                              (int)tally.compared, "faster", (int)tally.by_verdict[VERDICT_FASTER], "slower",
                              (int)tally.by_verdict[VERDICT_SLOWER], "same", (int)same, "too_few_repeats",
                              (int)tally.by_verdict[VERDICT_UNKNOWN], "fail_below", fail_below, "regressions",
                              (int)tally.regressions));
    printf("\n%u compared: %u faster, %u slower, %u the same as far as one can tell", tally.compared,
           tally.by_verdict[VERDICT_FASTER], tally.by_verdict[VERDICT_SLOWER], same);
    if (tally.by_verdict[VERDICT_UNKNOWN] > 0)
        printf(", %u with too few repeats to tell (%u are needed)", tally.by_verdict[VERDICT_UNKNOWN],
               COMPARISON_REPEATS_MIN);
    putchar('\n');
    if (fail_below > 0.0)
        printf("%u regression%s below %g\n", tally.regressions, tally.regressions == 1 ? "" : "s",
               fail_below);
    return 0;
}

/* ---- running ---- */

static int compare_all(void)
{
    int status = 0;
    for (uint32_t i = 1; i < side_count; i++)
        warn_of_machines(&sides[0], &sides[i]);
    if (json) {
        result_make_id(run_id);
        status =
            result_write_line(stdout, result_run_line("compare", run_id, result_options(&bench_compare)));
    } else {
        print_head();
    }
    for (uint32_t k = 0; k < sides[0].count; k++) {
        for (uint32_t i = 1; i < side_count && status == 0; i++) {
            const struct cell *other = side_find(&sides[i], &sides[0].cells[k], &matching);
            if (other != NULL)
                status = compare_pair(&sides[i], &sides[0].cells[k], other);
        }
    }
    if (status == 0)
        status = conclude();
    if (status < 0)
        bench_error("cannot write: %s", strerror(-status));
    return status < 0 ? BENCH_FAILED : BENCH_OK;
}

/* Whether there is something to compare, so that nothing is written when there is not. */
static bool any_pair(void)
{
    for (uint32_t k = 0; k < sides[0].count; k++) {
        for (uint32_t i = 1; i < side_count; i++) {
            if (side_find(&sides[i], &sides[0].cells[k], &matching) != NULL)
                return true;
        }
    }
    bench_error("nothing to compare: no two results have the same benchmark, phase and parameters");
    return false;
}

/* A gate that nothing can fail is no gate. */
static int pass_gate(void)
{
    if (fail_below <= 0.0 || tally.regressions > 0)
        return tally.regressions > 0 ? BENCH_FAILED : BENCH_OK;
    if (tally.by_verdict[VERDICT_UNKNOWN] == 0)
        return BENCH_OK;
    bench_error("--fail-below: %u of %u have too few repeats to judge: %u are needed on each side",
                tally.by_verdict[VERDICT_UNKNOWN], tally.compared, COMPARISON_REPEATS_MIN);
    return BENCH_USAGE;
}

static int compare_files(char *const *paths, uint32_t count)
{
    int status = BENCH_USAGE;
    if (make_sides(paths, count) == 0 && (noise_path == NULL || read_noise() == 0) && any_pair()) {
        status = compare_all();
        status = status == BENCH_OK ? pass_gate() : status;
    }
    for (uint32_t i = 0; i < side_count; i++)
        side_free(&sides[i]);
    for (uint32_t i = 0; i < 2; i++)
        side_free(&noise[i]);
    for (uint32_t i = 0; i < file_count; i++)
        result_file_free(&files[i]);
    result_file_free(&noise_file);
    return status;
}

/* ---- measuring first ---- */

/* In a process of its own, because a benchmark's options are its own variables. Returns its exit status. */
static int run_benchmark(int argc, char **argv, const char *path)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) {
        bench_error("cannot start a process: %s", strerror(errno));
        return BENCH_FAILED;
    }
    if (pid == 0) {
        char **all = calloc((size_t)argc + 4, sizeof(*all));
        if (all == NULL)
            _exit(BENCH_FAILED);
        all[0] = (char[]){"bench"};
        memcpy(all + 1, argv, (size_t)argc * sizeof(*argv));
        all[argc + 1] = (char[]){"--output"};
        all[argc + 2] = (char *)path;
        if (json && freopen("/dev/null", "w", stdout) == NULL)
            _exit(BENCH_FAILED);
        suite_must_compare();
        int status = bench_main(argc + 3, all);
        fflush(NULL);
        _exit(status);
    }
    int state;
    while (waitpid(pid, &state, 0) < 0 && errno == EINTR)
        continue;
    return WIFEXITED(state) ? WEXITSTATUS(state) : BENCH_FAILED;
}

/* The file that the benchmark was told to write; NULL: none. */
static const char *own_output(int argc, char **argv)
{
    const char *path = NULL;
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--output=", 9) == 0)
            path = argv[i] + 9;
        else if (strcmp(argv[i], "--output") == 0 && i + 1 < argc)
            path = argv[i + 1];
    }
    return path;
}

static int run_and_compare(int argc, char **argv, const char *path)
{
    int status = run_benchmark(argc, argv, path);
    if (status == BENCH_OK && !json)
        putchar('\n');
    return status == BENCH_OK ? compare_files((char *[]){(char *)path}, 1) : status;
}

static int measure_and_compare(int argc, char **argv)
{
    char path[512];
    if (own_output(argc, argv) != NULL)
        return run_and_compare(argc, argv, own_output(argc, argv));
    const char *top = getenv("TMPDIR");
    snprintf(path, sizeof(path), "%s/benchfs-compare-XXXXXX", top != NULL && top[0] != 0 ? top : "/tmp");
    int fd = mkstemp(path);
    if (fd < 0) {
        bench_error("cannot make a file in %s: %s", top != NULL ? top : "/tmp", strerror(errno));
        return BENCH_FAILED;
    }
    close(fd);
    int status = run_and_compare(argc, argv, path);
    unlink(path);
    return status;
}

static int run(int argc, char **argv)
{
    if (operands.rest > 0 && operands.count > 0) {
        bench_error("either files or a benchmark: \"%s\" and \"%s\" (a file of that name is ./%s)",
                    operands.texts[0], argv[operands.rest], argv[operands.rest]);
        return BENCH_USAGE;
    }
    if (operands.rest > 0)
        return measure_and_compare(argc - operands.rest, argv + operands.rest);
    if (operands.count == 0) {
        bench_error("which files? try \"benchfs bench compare --help\"");
        return BENCH_USAGE;
    }
    return compare_files((char *const *)operands.texts, operands.count);
}

const struct bench_verb bench_compare = {
    .name = "compare",
    .help =
        "Results beside each other: of FILEs, of the targets in one FILE, or of a BENCHMARK that is run now",
    .options = options,
    .operands = &operands,
    .usage = "FILE... | BENCHMARK --target A --target B [OPTION...]",
    .run_with = run,
};

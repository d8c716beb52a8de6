/* The suite around a workload made for the test: which combinations it measures and in which order, what it
 * writes, and what is left when something goes wrong. */
#include "unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/private_cluster.h"
#include "bench/suite.h"

static char top[128];    /* directory of the test */
static char output[256]; /* results */
static struct result_file file;

/* ---- the workload ---- */

static uint64_t number = 1, operations = 10;
static const char *word = "plain", *mode;
static bool flag;

/* What runs did, in a file, one word each. */
static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void note(const char *format, ...)
{
    char path[256], text[128];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    snprintf(path, sizeof(path), "%s/notes", top);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);
    assert_true(fd >= 0 && write(fd, text, (size_t)length) == length);
    close(fd);
}

static const struct bench_option options[] = {
    {"number", BENCH_NUMBER, &number, 1, 100, "N", "a number"},
    {"word", BENCH_TEXT, &word, 0, 0, "WORD", "a text"},
    {"operations", BENCH_NUMBER, &operations, 1, 100000, "N", "operations of each member"},
    {"mode", BENCH_TEXT, &mode, 0, 0, "MODE", "what goes wrong"},
    {"flag", BENCH_FLAG, &flag, 0, 0, NULL, "a flag"},
    {0},
};
static const struct suite_phase phases[] = {
    {.name = "first"}, {.name = "never"}, {.name = "second", .reads = true}, {0}};

static int check(void)
{
    if (number < 50)
        return 0;
    bench_error("--number is too great");
    return BENCH_USAGE;
}

static int leave_a_file(const struct suite_member *member)
{
    char path[SUITE_DIRECTORY_SIZE + 16];
    snprintf(path, sizeof(path), "%s/tree", member->directory);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/tree/file", member->directory);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    close(fd);
    return fd < 0 ? -EIO : 0;
}

static int work(const struct suite_member *member, struct crew_part *part)
{
    bool slow = mode != NULL && strcmp(mode, "slow") == 0;
    for (uint64_t i = 0; i < operations; i++) {
        if (slow)
            nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        if (crew_stopping(member->crew))
            return -ECANCELED;
        histogram_record(&part->latency, 1000);
        part->operations++;
        part->bytes += 100;
    }
    return 0;
}

static int run(struct suite_member *member)
{
    struct stat status;
    char letter = member->target->root[strlen(member->target->root) - 1];
    bool fails = mode != NULL && strncmp(mode, "fail-", 5) == 0 && mode[5] == letter && number == 3 &&
                 member->run == 1;
    uint64_t *shared = member->shared;
    assert_int_equal(stat(member->directory, &status), 0);
    if (member->number == 0) {
        note("%llu:%s:%u:%c ", (unsigned long long)number, word, member->run, letter);
        assert_int_equal(*shared, 0);
        *shared = number;
        if (fails)
            return leave_a_file(member) < 0 ? -EIO : suite_fail(member, "poke", "/x", -EDOM);
    }
    for (uint32_t phase = 0; phase < 3; phase += 2) {
        struct crew_part *part = crew_phase(member->crew, phase);
        if (part == NULL)
            return -ECANCELED;
        if (mode != NULL && strcmp(mode, "interrupt") == 0 && number == 2 && member->number == 0)
            kill(getppid(), SIGINT);
        int worked = work(member, part);
        if (worked < 0)
            return worked;
        crew_phase_end(member->crew, phase);
        while (mode != NULL && strcmp(mode, "interrupt") == 0 && number == 2 && !crew_stopping(member->crew))
            usleep(1000);
    }
    return 0;
}

static void describe(uint32_t phase, const void *shared, struct result *result)
{
    result_measure(result, "shared", (double)*(const uint64_t *)shared);
    result_number(result, "phase-number", phase);
}

static json_t *conclude(struct result *const *results, const void *shared, char *text, size_t size)
{
    assert_null(results[1]);
    snprintf(text, size, "scored");
    return json_pack("{ss sf sf sf}", "type", "score", "bandwidth_gib_s",
                     results[0]->byte_rate.median / 1073741824.0, "metadata_kiops", 1.0, "score",
                     (double)*(const uint64_t *)shared);
}

static const struct suite_workload workload = {.name = "example",
                                               .help = "For the test",
                                               .options = options,
                                               .lists = (const char *const[]){"number", "1,2", NULL},
                                               .phases = phases,
                                               .shared_size = sizeof(uint64_t),
                                               .check = check,
                                               .run = run,
                                               .describe = describe,
                                               .conclude = conclude};

/* ---- running it ---- */

static char said[65536]; /* standard output and standard error */

/* terminal: standard error is one. Returns the exit status. */
static int suite_on(const char *arguments, bool terminal)
{
    char text[1024];
    char *argv[40] = {"example"};
    int argc = 1, ends[2], pty[2];
    snprintf(text, sizeof(text), "%s --target posix:%s/a --target posix:%s/b --output %s", arguments, top,
             top, output);
    for (char *rest = text, *item; (item = strsep(&rest, " ")) != NULL;) {
        if (item[0] != 0)
            argv[argc++] = item;
    }
    assert_int_equal(pipe(ends), 0);
    struct winsize window = {.ws_row = 24, .ws_col = 200};
    if (terminal)
        assert_int_equal(openpty(&pty[0], &pty[1], NULL, NULL, &window), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        dup2(terminal ? pty[1] : ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        int status = suite_main(&workload, argc, argv);
        fflush(NULL);
        _exit(status);
    }
    close(ends[1]);
    if (terminal)
        close(pty[1]);
    size_t length = 0;
    int from = terminal ? pty[0] : ends[0];
    for (ssize_t count;
         length < sizeof(said) - 1 && (count = read(from, said + length, sizeof(said) - 1 - length)) > 0;)
        length += (size_t)count;
    said[length] = 0;
    close(ends[0]);
    if (terminal)
        close(pty[0]);
    int state;
    assert_int_equal(waitpid(pid, &state, 0), pid);
    assert_true(WIFEXITED(state));
    return WEXITSTATUS(state);
}

static int suite(const char *arguments)
{
    return suite_on(arguments, false);
}

static const char *notes(void)
{
    static char text[4096];
    char path[256];
    snprintf(path, sizeof(path), "%s/notes", top);
    FILE *from = fopen(path, "r");
    size_t length = from == NULL ? 0 : fread(text, 1, sizeof(text) - 1, from);
    text[length] = 0;
    if (from != NULL)
        fclose(from);
    unlink(path);
    return text;
}

static bool nothing_left(void)
{
    char path[256];
    for (char name = 'a'; name <= 'b'; name++) {
        snprintf(path, sizeof(path), "%s/%c", top, name);
        if (rmdir(path) != 0 || mkdir(path, 0700) != 0)
            return false;
    }
    return true;
}

static const struct result *find(const char *target_end, const char *phase, uint64_t value)
{
    for (uint32_t i = 0; i < file.result_count; i++) {
        const struct result *result = &file.results[i];
        if (result->target[strlen(result->target) - 1] == target_end[0] &&
            strcmp(result->phase, phase) == 0 && result_parameter(result, "number")->number == value)
            return result;
    }
    return NULL;
}

/* ---- tests ---- */

static void targets_take_turns_over_the_product(void **state)
{
    (void)state;
    assert_int_equal(suite("--number 1,2 --word x,y --repeats 2 --warmup 1"), 0);
    assert_string_equal(notes(), "1:x:0:a 1:x:0:b 1:x:1:b 1:x:1:a 1:x:2:a 1:x:2:b "
                                 "1:y:0:a 1:y:0:b 1:y:1:b 1:y:1:a 1:y:2:a 1:y:2:b "
                                 "2:x:0:a 2:x:0:b 2:x:1:b 2:x:1:a 2:x:2:a 2:x:2:b "
                                 "2:y:0:a 2:y:0:b 2:y:1:b 2:y:1:a 2:y:2:a 2:y:2:b ");
    assert_true(nothing_left());
    assert_int_equal(result_file_read(output, &file), 0);
    assert_int_equal(file.result_count, 2 * 2 * 2 * 2);
    result_file_free(&file);
}

static void results_are_complete(void **state)
{
    (void)state;
    assert_int_equal(suite("--processes 2 --threads 2 --repeats 3 --warmup 1 --flag"), 0);
    notes();
    assert_int_equal(result_file_read(output, &file), 0);
    assert_int_equal(file.run_count, 1);
    assert_string_equal(file.runs[0].benchmark, "example");
    assert_int_equal(file.result_count, 2 * 2 * 2); /* the default is a list of two numbers */
    assert_int_equal(file.score_count, 4);
    assert_true(file.scores[0].score == 1.0 && file.scores[3].score == 2.0);
    const struct result *result = find("b", "second", 2);
    assert_non_null(result);
    assert_int_equal(result->operations, 3 * 4 * 10); /* not the warm-up's */
    assert_int_equal(result->bytes, 3 * 4 * 1000);
    assert_int_equal(result->repeats, 3);
    assert_int_equal(result->latency->count, 120);
    assert_int_equal(result_parameter(result, "processes")->number, 2);
    assert_int_equal(result_parameter(result, "threads")->number, 2);
    assert_int_equal(result_parameter(result, "phase-number")->number, 2);
    assert_string_equal(result_parameter(result, "word")->text, "plain");
    assert_null(result_parameter(result, "mode"));
    assert_true(result_parameter(result, "flag")->flag);
    assert_int_equal(result->measure_count, 1);
    assert_true(result->measures[0].value == 2.0);
    assert_non_null(strstr(said, "scored"));
    result_file_free(&file);
}

static void json_is_in_place_of_the_table(void **state)
{
    (void)state;
    assert_int_equal(suite("--json --number 1 --repeats 1"), 0);
    notes();
    assert_int_equal(result_file_parse(said, strlen(said), &file, output + 200, 50), 0);
    assert_int_equal(file.result_count, 4);
    result_file_free(&file);
}

/* Whether its last moment is long enough to be one of its own or not. */
static void the_series_adds_up(void **state)
{
    (void)state;
    assert_int_equal(suite("--mode slow --operations 13,17 --number 1 --repeats 1"), 0);
    notes();
    assert_int_equal(result_file_read(output, &file), 0);
    for (uint32_t k = 0; k < file.result_count; k++) {
        const struct result *result = &file.results[k];
        double operations_done = 0.0, bytes_done = 0.0, last = 0.0;
        assert_true(result->moment_count >= 1);
        for (uint32_t i = 0; i < result->moment_count; i++) {
            operations_done += result->series[i].ops_per_s * (result->series[i].t - last);
            bytes_done += result->series[i].bytes_per_s * (result->series[i].t - last);
            last = result->series[i].t;
        }
        assert_true(fabs(operations_done - (double)result->operations) < 0.01);
        assert_true(fabs(bytes_done - (double)result->bytes) < 1.0);
    }
    result_file_free(&file);
}

static void what_finished_is_kept_when_a_run_fails(void **state)
{
    (void)state;
    assert_int_equal(suite("--mode fail-a --number 1,3,4 --repeats 2"), 1);
    assert_string_equal(notes(), "1:plain:0:a 1:plain:0:b 1:plain:1:b 1:plain:1:a "
                                 "3:plain:0:a 3:plain:0:b 3:plain:1:b 3:plain:1:a ");
    assert_non_null(strstr(said, "poke /x: Numerical argument out of domain"));
    assert_true(nothing_left());
    assert_int_equal(result_file_read(output, &file), 0);
    assert_int_equal(file.result_count, 2 * 2 * 2);
    assert_int_equal(find("a", "first", 1)->repeats, 2);
    assert_int_equal(find("a", "first", 1)->warning_count, 0);
    assert_int_equal(find("a", "first", 3)->repeats, 1);
    assert_string_equal(find("a", "first", 3)->warnings[0], "the run ended early: 1 of 2 repeats");
    assert_int_equal(find("b", "first", 3)->repeats, 2); /* it had its turn first */
    assert_int_equal(find("b", "first", 3)->warning_count, 0);
    assert_null(find("b", "first", 4));
    result_file_free(&file);
}

static void what_finished_is_kept_when_it_is_interrupted(void **state)
{
    (void)state;
    assert_int_equal(suite("--mode interrupt --number 1,2,3 --repeats 1"), 1);
    assert_string_equal(notes(), "1:plain:0:a 1:plain:0:b 2:plain:0:a ");
    assert_non_null(strstr(said, "interrupted"));
    assert_true(nothing_left());
    assert_int_equal(result_file_read(output, &file), 0);
    assert_int_equal(file.result_count, 2 * 2);
    result_file_free(&file);
}

static void nonsense_is_refused_before_anything_is_measured(void **state)
{
    (void)state;
    assert_int_equal(suite("--number 1,2,50"), 2);
    assert_non_null(strstr(said, "--number is too great"));
    assert_int_equal(suite("--number 1,2,1"), 2);
    assert_int_equal(suite("--word x,,y"), 2);
    assert_int_equal(suite("--word x,x"), 2);
    assert_int_equal(suite("--target posix:/nonexistent"), 2);
    assert_int_equal(suite("--target posix:/proc"), 2); /* nothing can be made there */
    assert_non_null(strstr(said, "target posix:/proc: mkdir /proc/bench-example."));
    assert_null(strstr(said, "interval"));
    assert_string_equal(notes(), "");
}

static void progress_is_shown_on_a_terminal_alone(void **state)
{
    (void)state;
    assert_int_equal(suite_on("--mode slow --operations 15 --number 1,2 --repeats 1", true), 0);
    notes();
    assert_non_null(strstr(said, "[2/2] example number=2"));
    assert_non_null(strstr(said, "repeat 1 of 1: second: 0.1 s"));
    assert_int_equal(suite("--mode slow --operations 15 --number 1 --repeats 1"), 0);
    notes();
    assert_null(strstr(said, "\r"));
    assert_null(strstr(said, "repeat 1 of 1"));
}

static int make_directory(void **state)
{
    (void)state;
    char path[256];
    if (private_directory_make(top, sizeof(top)) < 0)
        return -1;
    snprintf(output, sizeof(output), "%s/results", top);
    snprintf(path, sizeof(path), "%s/a", top);
    int status = mkdir(path, 0700);
    snprintf(path, sizeof(path), "%s/b", top);
    return status == 0 ? mkdir(path, 0700) : -1;
}

static int remove_directory(void **state)
{
    (void)state;
    private_directory_remove(top);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_take_turns_over_the_product),
        cmocka_unit_test(results_are_complete),
        cmocka_unit_test(json_is_in_place_of_the_table),
        cmocka_unit_test(the_series_adds_up),
        cmocka_unit_test(what_finished_is_kept_when_a_run_fails),
        cmocka_unit_test(what_finished_is_kept_when_it_is_interrupted),
        cmocka_unit_test(nonsense_is_refused_before_anything_is_measured),
        cmocka_unit_test(progress_is_shown_on_a_terminal_alone),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}

/* `bench compare`: which results it puts beside each other, its exit status, and what it says. */
#include "unit/unit.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/private_cluster.h"
#include "bench/result.h"
#include "unit/bench_run.h"

static char top[128];

/* $ in arguments stands for the test's directory. Returns the exit status. */
static int compare(const char *arguments)
{
    char text[2048] = "compare ";
    for (const char *at = arguments; *at != 0; at++) {
        size_t length = strlen(text);
        if (*at == '$')
            snprintf(text + length, sizeof(text) - length, "%s", top);
        else
            snprintf(text + length, sizeof(text) - length, "%c", *at);
    }
    return bench_run(text);
}

static FILE *begin(const char *name, const char *id, const char *mode)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", top, name);
    FILE *file = fopen(path, mode);
    assert_non_null(file);
    fprintf(file,
            "{\"type\":\"run\",\"format\":1,\"id\":\"%s\",\"benchmark\":\"io\",\"host\":\"h\",\"kernel\":\"%"
            "s\"}\n",
            id, name);
    return file;
}

/* Five repeats around `rate`, within 1 %. */
static void add(FILE *file, const char *id, const char *target, const char *phase, uint64_t size,
                uint64_t servers, double rate)
{
    static const double spread[] = {1.0, 1.01, 0.99, 1.005, 0.995};
    struct result result;
    result_init(&result);
    result.run = id;
    result.benchmark = "io";
    result.target = target;
    result.phase = phase;
    result_number(&result, "size", size);
    if (servers > 0)
        result_number(&result, "servers", servers);
    for (size_t i = 0; i < 5; i++)
        result_add_repeat(&result, 100.0 / (rate * spread[i]), 100, 100 * size, 0);
    result_settle(&result);
    assert_int_equal(result_write(file, &result), 0);
    result_free(&result);
}

static unsigned count_said(const char *what)
{
    unsigned count = 0;
    for (const char *at = bench_output; (at = strstr(at, what)) != NULL; at++)
        count++;
    return count;
}

static void files_are_compared(void **state)
{
    (void)state;
    FILE *file = begin("a", "aa", "w");
    add(file, "aa", "benchfs:", "write", 4096, 1, 1000);
    add(file, "aa", "benchfs:", "read", 4096, 1, 1000);
    add(file, "aa", "benchfs:", "read", 8192, 1, 1000);
    fclose(file);
    file = begin("b", "bb", "w");
    add(file, "bb", "posix:/x", "read", 8192, 0, 1002);
    add(file, "bb", "posix:/x", "read", 4096, 0, 2000);
    add(file, "bb", "posix:/x", "write", 4096, 0, 800);
    add(file, "bb", "posix:/x", "write", 65536, 0, 1);
    fclose(file);
    assert_int_equal(compare("$/a $/b"), 0);
    assert_int_equal(count_said("B/A"), 3); /* by parameters, not by order; 65536 has no partner */
    assert_non_null(strstr(bench_output, "io write"));
    assert_int_equal(count_said("  faster\n"), 1);
    assert_int_equal(count_said("  slower\n"), 1);
    assert_int_equal(count_said("no difference found\n"), 1);
    assert_non_null(strstr(bench_output, "warning: A and B differ in kernel: \"a\" and \"b\""));
    assert_int_equal(compare("$/a $/b --fail-below 0.95"), 1);
    assert_int_equal(count_said("REGRESSION"), 1);
    assert_int_equal(compare("$/a $/b --fail-below 0.75"), 0); /* slower, but not so much */
    assert_int_equal(compare("$/b $/a --fail-below 0.45"), 0);
    assert_int_equal(compare("$/b $/a --fail-below=0.55"), 1);
    assert_int_equal(compare("$/a $/b $/a"), 0);
    assert_int_equal(count_said("C/A"), 3);
}

/* Engines are parameters and targets at once. */
static void add_engine(FILE *file, const char *name, double rate)
{
    struct result result;
    result_init(&result);
    result.run = "ee";
    result.benchmark = "store";
    result.target = name;
    result.phase = "read";
    result_text(&result, "store", name);
    result_text(&result, "slow", "uring");
    for (size_t i = 0; i < 5; i++)
        result_add_repeat(&result, 100.0 / rate, 100, 100, 0);
    result_settle(&result);
    assert_int_equal(result_write(file, &result), 0);
    result_free(&result);
}

static void engines_are_compared(void **state)
{
    (void)state;
    FILE *file = begin("engines", "ee", "w");
    add_engine(file, "mem", 100);
    add_engine(file, "null", 200);
    fclose(file);
    assert_int_equal(compare("$/engines"), 0);
    assert_int_equal(count_said("  faster\n"), 1);
    file = begin("null", "ee", "w");
    add_engine(file, "null", 300);
    fclose(file);
    assert_int_equal(compare("$/null $/engines"), 0);
    assert_int_equal(count_said("B/A"), 1); /* each with itself, as one file has several */
    bench_fails("compare store --store mem", 2, "compare needs two of --store");
    bench_fails("compare io --target posix:/tmp", 2, "compare needs two targets");
    bench_fails("replay --trace /tmp --target posix:/tmp", 2, "cannot read trace \"/tmp\": Is a directory");
    bench_fails("compare hash", 2, "compare needs files of its results");
}

static void the_gate_can_be_read_by_programs(void **state)
{
    (void)state;
    struct result_file file;
    char error[256];
    assert_int_equal(compare("$/a $/b --json --fail-below 0.95 --noise $/a"), 1);
    char *lines = strchr(bench_output, '{'); /* after the warning */
    assert_int_equal(result_file_parse(lines, strlen(lines), &file, error, sizeof(error)), 0);
    assert_int_equal(json_array_size(file.lines), 1 + 3 + 1);
    const json_t *write = json_array_get(file.lines, 1), *all = json_array_get(file.lines, 4);
    assert_string_equal(json_string_value(json_object_get(write, "verdict")), "slower");
    assert_true(json_is_true(json_object_get(write, "regression")));
    assert_true(json_real_value(json_object_get(write, "ratio")) == 0.8);
    assert_true(json_real_value(json_object_get(write, "ratio_high")) < 0.95);
    assert_true(json_real_value(json_object_get(write, "delta")) == -1.0);
    assert_true(json_real_value(json_object_get(write, "noise_floor")) < 1.02);
    assert_int_equal(json_integer_value(json_object_get(all, "regressions")), 1);
    assert_int_equal(json_integer_value(json_object_get(all, "faster")), 1);
    result_file_free(&file);
}

/* A score of five repeats around `score`, and what other versions wrote, which is one without repeats. */
static void add_score(FILE *file, const char *id, uint64_t depth, double score)
{
    fprintf(file,
            "{\"type\":\"score\",\"run\":\"%s\",\"benchmark\":\"io500\",\"target\":\"t\",\"parameters\":{"
            "\"depth\":%u},"
            "\"bandwidth_gib_s\":2,\"metadata_kiops\":%f,\"score\":%f,\"samples\":{\"bandwidth_gib_s\":[2,2,"
            "2,2,2],"
            "\"score\":[%f,%f,%f,%f,%f]}}\n",
            id, (unsigned)depth, score * score / 2, score, score, score * 1.01, score * 0.99, score * 1.005,
            score * 0.995);
}

static void scores_are_compared(void **state)
{
    (void)state;
    FILE *file = begin("s1", "aa", "w");
    add_score(file, "aa", 1, 2.0);
    add_score(file, "aa", 4, 3.0);
    fclose(file);
    file = begin("s2", "bb", "w");
    add_score(file, "bb", 4, 3.0);
    add_score(file, "bb", 1, 1.0);
    add_score(file, "bb", 16, 7.0);
    fclose(file);
    assert_int_equal(compare("$/s1 $/s2"), 0);
    assert_int_equal(count_said("B/A"), 6);
    assert_int_equal(count_said("io500 score depth="), 2);
    assert_int_equal(count_said("  slower\n"), 1);
    assert_int_equal(count_said("no difference found\n"), 3);
    assert_int_equal(count_said("too few repeats\n"), 2); /* metadata, whose samples are not told */
    assert_int_equal(count_said(" 2.000        1.000 score"), 1);
    assert_int_equal(compare("$/s1 $/s2 --fail-below 0.9"), 1);
    assert_int_equal(count_said("REGRESSION"), 1);
    assert_int_equal(compare("$/s1 $/s2 --json"), 0);
    assert_int_equal(count_said("\"unit\":\"GiB/s\""), 2);
}

static void targets_of_one_file_are_compared(void **state)
{
    (void)state;
    FILE *file = begin("two", "aa", "w");
    add(file, "aa", "benchfs:", "read", 4096, 1, 1000);
    add(file, "aa", "posix:/x", "read", 4096, 0, 500);
    fclose(file);
    assert_int_equal(compare("$/two"), 0);
    assert_int_equal(count_said("B/A"), 1);
    assert_int_equal(count_said("  slower\n"), 1);
    file = begin("two-more", "bb", "w");
    add(file, "bb", "posix:/x", "read", 4096, 0, 500);
    add(file, "bb", "benchfs:", "read", 4096, 1, 500);
    fclose(file);
    assert_int_equal(compare("$/two $/two-more"), 0); /* each target with itself */
    assert_int_equal(count_said("B/A"), 2);
    assert_int_equal(count_said("  slower\n"), 1);
}

static void servers_count_when_they_vary(void **state)
{
    (void)state;
    FILE *file = begin("one", "aa", "w");
    add(file, "aa", "benchfs:", "read", 4096, 1, 1000);
    fclose(file);
    file = begin("other", "bb", "w");
    add(file, "bb", "benchfs:", "read", 4096, 2, 1500);
    fclose(file);
    assert_int_equal(compare("$/one $/other"), 0); /* how it scales */
    assert_int_equal(count_said("  faster\n"), 1);
    file = begin("both", "cc", "w");
    add(file, "cc", "benchfs:", "read", 4096, 1, 1000);
    add(file, "cc", "benchfs:", "read", 4096, 2, 1500);
    fclose(file);
    assert_int_equal(compare("$/both $/other"), 0);
    assert_int_equal(count_said("B/A"), 1);
    assert_int_equal(count_said("no difference found\n"), 1);
}

/* Two runs of the same that differ by 30 % allow nothing less to be called a difference. */
static void the_noise_floor_is_kept_to(void **state)
{
    (void)state;
    FILE *file = begin("noise", "aa", "w");
    add(file, "aa", "benchfs:", "write", 4096, 1, 1000);
    fclose(file);
    file = begin("noise", "bb", "a");
    add(file, "bb", "benchfs:", "write", 4096, 1, 1300);
    fclose(file);
    assert_int_equal(compare("$/a $/b --noise $/noise --fail-below 0.95"), 0);
    assert_int_equal(count_said("inside the noise floor"), 1);
    assert_non_null(strstr(bench_output, "30.0 %"));
    assert_int_equal(count_said("  faster\n"), 1); /* twice as fast is more */
}

static void runs_of_one_file_are_put_together(void **state)
{
    (void)state;
    FILE *file = begin("again", "aa", "w");
    add(file, "aa", "benchfs:", "write", 4096, 1, 1000);
    fclose(file);
    file = begin("again", "bb", "a");
    add(file, "bb", "benchfs:", "write", 4096, 1, 1000);
    fclose(file);
    assert_int_equal(compare("$/again $/a --json"), 0);
    assert_non_null(strstr(bench_output, "\"repeats\":10"));
}

static void a_gate_that_cannot_fail_is_refused(void **state)
{
    (void)state;
    FILE *file = begin("summary", "aa", "w");
    fputs("{\"type\":\"result\",\"run\":\"aa\",\"benchmark\":\"io\",\"target\":\"t\",\"phase\":\"write\","
          "\"parameters\":{\"size\":4096},\"bytes_per_s\":2048000}\n",
          file);
    fclose(file);
    assert_int_equal(compare("$/a $/summary"), 0);
    assert_non_null(strstr(bench_output, "0.500"));
    assert_non_null(strstr(bench_output, "too few repeats"));
    assert_int_equal(compare("$/a $/summary --fail-below 0.9"), 2);
    assert_non_null(strstr(bench_output, "--fail-below: 1 of 1 have too few repeats to judge: 4 are needed"));
}

static void bad_input_is_one_line(void **state)
{
    (void)state;
    static const struct {
        const char *arguments;
        const char *reason;
    } cases[] = {
        {"", "which files?"},
        {"$/a", "has results of one target"},
        {"$/a $/nothing", "No such file"},
        {"$/a /proc/self/status", "\"/proc/self/status\": line 1: not a result"},
        {"$/a $/b --noise /proc/self/status", "line 1: not a result"},
        {"$/one $/b", "nothing to compare: no two results"},
        {"$/a $/b --fail-below 2", "option --fail-below takes a number from 0 to 1"},
        {"$/a $/b --fail-below x", "option --fail-below takes a number"},
        {"$/a $/b --what", "unknown option --what"},
        {"$/a md --files 1", "either files or a benchmark"},
        {"md --files 0", "option --files takes numbers"},
    };
    FILE *file = begin("one", "aa", "w");
    add(file, "aa", "benchfs:", "trim", 4096, 1, 1000);
    fclose(file);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int status = compare(cases[i].arguments);
        if (status != 2 || strstr(bench_output, cases[i].reason) == NULL || count_said("\n") != 1)
            fail_msg("\"%s\": %d, said \"%s\"", cases[i].arguments, status, bench_output);
    }
}

static void a_benchmark_is_run_and_compared(void **state)
{
    (void)state;
    setenv("TMPDIR", top, 1);
    assert_int_equal(compare("--json md --target posix:$/left --target posix:$/right --files 3 --repeats 4"),
                     0);
    assert_int_equal(count_said("\"type\":\"comparison\""), 6);
    assert_int_equal(count_said("\"type\":\"result\""), 0);
    assert_int_equal(
        compare("md --target posix:$/left --target posix:$/right --files 3 --repeats 1 --output $/kept"), 0);
    assert_non_null(strstr(bench_output, "95 % interval"));
    struct result_file file;
    char path[256];
    snprintf(path, sizeof(path), "%s/kept", top);
    assert_int_equal(result_file_read(path, &file), 0);
    assert_int_equal(file.result_count, 12);
    result_file_free(&file);
    assert_int_equal(compare("md --target posix:$/nowhere --files 3"), 2);
}

static int make_directory(void **state)
{
    (void)state;
    char path[256];
    if (private_directory_make(top, sizeof(top)) < 0)
        return -1;
    snprintf(path, sizeof(path), "%s/left", top);
    int status = mkdir(path, 0700);
    snprintf(path, sizeof(path), "%s/right", top);
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
        cmocka_unit_test(files_are_compared),
        cmocka_unit_test(engines_are_compared),
        cmocka_unit_test(the_gate_can_be_read_by_programs),
        cmocka_unit_test(scores_are_compared),
        cmocka_unit_test(targets_of_one_file_are_compared),
        cmocka_unit_test(servers_count_when_they_vary),
        cmocka_unit_test(the_noise_floor_is_kept_to),
        cmocka_unit_test(runs_of_one_file_are_put_together),
        cmocka_unit_test(a_gate_that_cannot_fail_is_refused),
        cmocka_unit_test(bad_input_is_one_line),
        cmocka_unit_test(a_benchmark_is_run_and_compared),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}

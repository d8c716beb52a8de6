/* `bench import` takes from the outputs of IOR and mdtest what they say, and no more. */
#include "unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/import_parse.h"
#include "bench/private_cluster.h"

static struct result_file file;
static char top[128];

/* Runs `bench import --output $top/results ARGUMENTS`; what it said on standard error in `said`. */
static char said[4096];

static int import(const char *const *arguments)
{
    char output[160];
    char *argv[16] = {"bench", "import", "--output", output};
    int argc = 4, ends[2];
    snprintf(output, sizeof(output), "%s/results", top);
    for (; *arguments != NULL; arguments++)
        argv[argc++] = (char *)*arguments;
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        _exit(bench_main(argc, argv));
    }
    close(ends[1]);
    ssize_t length = read(ends[0], said, sizeof(said) - 1);
    said[length > 0 ? length : 0] = 0;
    close(ends[0]);
    int state;
    assert_int_equal(waitpid(pid, &state, 0), pid);
    assert_true(WIFEXITED(state));
    return WEXITSTATUS(state);
}

/* The text as a file that is imported, and the results read again. */
static void take(const char *text)
{
    char path[160], output[160];
    snprintf(path, sizeof(path), "%s/foreign", top);
    snprintf(output, sizeof(output), "%s/results", top);
    FILE *out = fopen(path, "w");
    assert_true(fputs(text, out) >= 0 && fclose(out) == 0);
    assert_int_equal(import((const char *const[]){path, NULL}), 0);
    assert_int_equal(result_file_read(output, &file), 0);
}

static const struct result *find(const char *phase)
{
    for (uint32_t i = 0; i < file.result_count; i++) {
        if (strcmp(file.results[i].phase, phase) == 0)
            return &file.results[i];
    }
    fail_msg("no phase %s", phase);
    return NULL;
}

static uint64_t number(const struct result *result, const char *name)
{
    return result_parameter(result, name)->number;
}

#define IOR4_HEAD                                                                                            \
    "IOR-4.0.0: MPI Coordinated Test of Parallel I/O\n"                                                      \
    "Began               : Mon Mar  2 10:11:12 2026\n"                                                       \
    "Command line        : ior -t 1m -b 4m -i 2 -o /scratch/sample\n"                                        \
    "Machine             : Linux n01\n"
#define IOR4_OPTIONS                                                                                         \
    "Options: \n"                                                                                            \
    "api                 : POSIX\n"                                                                          \
    "apiVersion          : \n"                                                                               \
    "test filename       : /scratch/sample\n"                                                                \
    "access              : single-shared-file\n"                                                             \
    "segments            : 1\n"                                                                              \
    "ordering in a file  : sequential\n"                                                                     \
    "tasks               : 4\n"                                                                              \
    "clients per node    : 2\n\n"
#define IOR4_TABLE                                                                                           \
    "access    bw(MiB/s)  IOPS  Latency(s)  block(KiB) xfer(KiB)  open(s)  wr/rd(s)  close(s)  total(s)  "   \
    "iter\n"                                                                                                 \
    "------    ---------  ----  ----------  ---------- ---------  -------  --------  --------  --------  "   \
    "----\n"

static void ior_of_today(void **state)
{
    (void)state;
    take("a line of the job system\n" IOR4_HEAD IOR4_OPTIONS IOR4_TABLE
         "write     400.00  410.00  0.0024  4096.00  1024.00  0.001  0.038  0.001  0.040000  0\n"
         "read      800.00  820.00  0.0012  4096.00  1024.00  0.001  0.018  0.001  0.020000  0\n"
         "WARNING: something in between\n"
         "write     320.00  330.00  0.0030  4096.00  1024.00  0.001  0.048  0.001  0.050000  1\n"
         "read      1600    1650    0.0006  4096.00  1024.00  0.001  0.008  0.001  0.010000  1\n"
         "\nSummary of all tests:\nOperation Max(MiB)\nwrite 400.00 320.00 360.00 40.00\n"
         "Finished            : Mon Mar  2 10:11:13 2026\n");
    assert_int_equal(file.run_count, 1);
    assert_string_equal(file.runs[0].benchmark, "ior");
    assert_string_equal(file.runs[0].version, "IOR-4.0.0");
    assert_string_equal(file.runs[0].time, "2026-03-02T10:11:12");
    assert_string_equal(file.runs[0].host, "n01");
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(file.runs[0].json, "options"), "command")),
        "ior -t 1m -b 4m -i 2 -o /scratch/sample");
    assert_int_equal(file.result_count, 2);
    const struct result *write = find("write");
    assert_string_equal(write->target, "posix:/scratch/sample");
    assert_int_equal(write->repeats, 2);
    assert_true(write->bytes_per_s.values[0] == 400.0 * 1048576 &&
                write->bytes_per_s.values[1] == 320.0 * 1048576);
    assert_true(write->ops_per_s.values[0] == 400.0); /* transfers of 1 MiB */
    assert_true(write->seconds.values[1] == 0.05);
    assert_int_equal(write->bytes, 2 * 16777216);
    assert_int_equal(write->operations, 32);
    assert_int_equal(number(write, "size"), 1048576);
    assert_int_equal(number(write, "block"), 4194304);
    assert_int_equal(number(write, "processes"), 4);
    assert_true(result_parameter(write, "shared")->flag);
    assert_true(find("read")->byte_rate.median == 1200.0 * 1048576);
    result_file_free(&file);
}

static void ior_of_old(void **state)
{
    (void)state;
    take("IOR-3.0.1: MPI Coordinated Test of Parallel I/O\n\n"
         "Began: Mon Mar  2 10:11:12 2026\n"
         "Command line used: ior -F -t 64k -b 1m -o /lustre/x\n"
         "Machine: Linux n02\n\n"
         "Test 0 started: Mon Mar  2 10:11:12 2026\n"
         "Summary:\n"
         "\tapi                = POSIX\n"
         "\ttest filename      = /lustre/x\n"
         "\taccess             = file-per-process\n"
         "\tordering in a file = random offsets\n"
         "\tclients            = 8 (4 per node)\n\n"
         "access    bw(MiB/s)  block(KiB) xfer(KiB)  open(s)    wr/rd(s)   close(s)   total(s)   iter\n"
         "------    ---------  ---------- ---------  --------   --------   --------   --------   ----\n"
         "write     100.00     1024.00    64.00      0.001000   0.078000   0.001000   0.080000   0\n"
         "read      inf        1024.00    64.00      0.001000   0.000000   0.001000   0.000000   0\n"
         "remove    -          -          -          -          -          -          0.001000   0\n\n"
         "Max Write: 100.00 MiB/sec (104.86 MB/sec)\n");
    const struct result *write = find("write");
    assert_int_equal(number(write, "processes"), 8);
    assert_int_equal(number(write, "size"), 65536);
    assert_false(result_parameter(write, "shared")->flag);
    assert_true(result_parameter(write, "random")->flag);
    assert_int_equal(write->bytes, 8 << 20);
    assert_int_equal(find("read")->repeats, 0);
    assert_string_equal(find("read")->warnings[0], "a repetition without a bandwidth was left out");
    assert_int_equal(file.result_count, 2);
    result_file_free(&file);
}

static void several_tests_and_runs_in_a_file(void **state)
{
    (void)state;
    take(IOR4_HEAD "TestID              : 0\n" IOR4_OPTIONS IOR4_TABLE
                   "write  400.00  410.00  0.0024  4096.00  1024.00  0.001  0.038  0.001  0.040000  0\n"
                   "TestID              : 1\n" IOR4_OPTIONS "tasks               : 16\n" IOR4_TABLE
                   "write  100.00  110.00  0.0024  4096.00  1024.00  0.001  0.038  0.001  0.640000  0\n"
                   "Summary of all tests:\n" IOR4_HEAD IOR4_OPTIONS IOR4_TABLE
                   "read  50.00  51.00  0.0024  4096.00  1024.00  0.001  0.038  0.001  0.320000  0\n");
    assert_int_equal(file.run_count, 2);
    assert_int_equal(file.result_count, 3);
    assert_int_equal(number(&file.results[0], "processes"), 4);
    assert_int_equal(number(&file.results[1], "processes"), 16);
    assert_int_equal(file.results[1].repeats, 1);
    assert_string_equal(file.results[2].run, file.runs[1].id);
    result_file_free(&file);
}

/* A test that a stonewall ended early did not write what was planned. */
static void bytes_that_were_not_written_do_not_count(void **state)
{
    (void)state;
    take(IOR4_HEAD IOR4_OPTIONS IOR4_TABLE
         "write  10.00  10.00  0.0024  4096.00  1024.00  0.001  0.038  0.001  0.500000  0\n");
    assert_int_equal(find("write")->bytes, 5 << 20); /* of 16 MiB */
    result_file_free(&file);
}

static void ior_json(void **state)
{
    (void)state;
    static const char *const rows =
        "{\"access\":\"write\",\"bwMiB\":64.0,\"blockKiB\":1024.0,\"xferKiB\":256.0,\"totalTime\":0.125}";
    char text[2048];
    for (int nested = 0; nested < 2; nested++) {
        snprintf(
            text, sizeof(text),
            "\n{\"Version\":\"4.0.0\",\"Began\":\"Mon Mar  2 10:11:12 2026\",\"Machine\":\"Linux n03\","
            "\"Command line\":\"ior\",\"tests\":[{\"Options\":{\"api\":\"MPIIO\",\"test filename\":\"/y\","
            "\"access\":\"file-per-process\",\"segments\":2,\"tasks\":4},\"Results\":[%s%s%s,%s%s%s]}]}",
            nested ? "[" : "", rows, nested ? "]" : "", nested ? "[" : "", rows, nested ? "]" : "");
        take(text);
        const struct result *write = find("write");
        assert_string_equal(write->target, "mpiio:/y");
        assert_string_equal(file.runs[0].version, "IOR-4.0.0");
        assert_string_equal(file.runs[0].host, "n03");
        assert_int_equal(write->repeats, 2);
        assert_int_equal(write->bytes, 2 * 8 << 20);
        assert_true(write->ops_per_s.values[1] == 256.0);
        result_file_free(&file);
    }
}

/* Rows are rounded to two digits of a KiB, times of JSON to four. */
static void sizes_and_times_are_what_was_rounded(void **state)
{
    (void)state;
    take(IOR4_HEAD
         "api                 : POSIX\ntest filename       : /s/f\nsegments            : 20\ntasks           "
         "    : 2\n"
         "xfersize            : 47008 bytes\nblocksize           : 47008 bytes\n" IOR4_TABLE
         "write     5289      124184     0.000016    45.91      45.91      0.000023   0.000322   0.000027   "
         "0.000339   0\n");
    assert_int_equal(number(find("write"), "size"), 47008);
    assert_int_equal(number(find("write"), "block"), 47008);
    assert_int_equal(find("write")->bytes, 2 * 20 * 47008);
    assert_int_equal(find("write")->operations, 40);
    result_file_free(&file);
    take("{\"Version\":\"4.1.0\",\"tests\":[{\"Options\":{\"api\":\"POSIX\",\"segments\":20,\"tasks\":2},"
         "\"Parameters\":{\"transferSize\":47008,\"blockSize\":47008},\"Results\":[{\"access\":\"read\","
         "\"bwMiB\":22000.0,\"blockKiB\":45.9062,\"xferKiB\":45.9062,\"totalTime\":0.0001}]}]}");
    const struct result *read = find("read");
    assert_int_equal(number(read, "size"), 47008);
    assert_int_equal(read->bytes, 2 * 20 * 47008);
    assert_true(read->seconds.values[0] > 0.0000815 && read->seconds.values[0] < 0.0000816);
    result_file_free(&file);
}

#define MDTEST_HEAD                                                                                          \
    "-- started at 03/02/2026 10:11:12 --\n\n"                                                               \
    "mdtest-4.0.0 was launched with 4 total task(s) on 2 node(s)\n"                                          \
    "Command line used: mdtest '-n' '100' '-i' '3' '-w' '3901' '-d' '/scratch/md'\n"                         \
    "Path                : /scratch/md\n"                                                                    \
    "4 tasks, 400 files/directories\n\n"

static void mdtest_of_today(void **state)
{
    (void)state;
    take(MDTEST_HEAD "SUMMARY rate (in ops/sec): (of 3 iterations)\n"
                     "   Operation           Max            Min           Mean        Std Dev\n"
                     "   ---------           ---            ---           ----        -------\n"
                     "   Directory creation  900.000        300.000        500.000        282.843\n"
                     "   File creation      2000.000       1000.000       1600.000        432.049\n"
                     "   File removal       1000.000       1000.000       1000.000          0.000\n"
                     "   Tree creation        50.000         10.000         30.000         16.330\n"
                     "-- finished at 03/02/2026 10:11:19 --\n");
    assert_string_equal(file.runs[0].benchmark, "mdtest");
    assert_string_equal(file.runs[0].version, "mdtest-4.0.0");
    assert_string_equal(file.runs[0].time, "2026-03-02T10:11:12");
    const struct result *create = find("file-create");
    assert_string_equal(create->target, "posix:/scratch/md");
    assert_int_equal(create->repeats, 3);
    assert_int_equal(create->operations, 1200);
    assert_int_equal(number(create, "files"), 100);
    assert_int_equal(number(create, "size"), 3901);
    assert_int_equal(number(create, "processes"), 4);
    assert_true(create->operation_rate.median == 1800.0); /* 3 * 1600 - 2000 - 1000 */
    assert_true(find("directory-create")->operation_rate.median == 300.0);
    assert_true(find("file-remove")->operation_rate.median == 1000.0);
    assert_int_equal(find("tree-create")->operations, 0);
    assert_int_equal(file.result_count, 4);
    result_file_free(&file);
}

static void mdtest_of_old_and_of_single_ranks(void **state)
{
    (void)state;
    take("mdtest-1.9.3 was launched with 2 total task(s) on 1 node(s)\n"
         "Command line used: mdtest -n 10 -i 5 -d /old -w 1k\n"
         "Path: /old\n"
         "2 tasks, 20 files/directories\n\n"
         "SUMMARY: (of 5 iterations)\n"
         "   Operation               Max            Min           Mean        Std Dev\n"
         "   File creation     :     800.000        700.000        750.000         40.000\n"
         "   File stat         :     1.0 2.0 3.0    90.000         70.000         80.000          4.000\n\n"
         "-- finished at 03/02/2026 10:11:19 --\n");
    const struct result *create = find("file-create");
    assert_int_equal(create->repeats, 5);
    assert_int_equal(create->ops_per_s.count, 0);
    assert_true(create->operation_rate.median == 750.0 && create->operation_rate.low == 700.0);
    assert_non_null(strstr(create->warnings[0], "the mean of 5 iterations"));
    assert_int_equal(number(create, "size"), 1024);
    assert_true(find("file-stat")->operation_rate.median == 80.0);
    result_file_free(&file);
}

static void foreign_files_are_refused_in_one_line(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *reason;
    } cases[] = {
        {"", "neither IOR nor mdtest"},
        {"access,bw\nwrite,5\n", "neither IOR nor mdtest"},
        {IOR4_HEAD, "neither IOR nor mdtest"},
        {IOR4_HEAD IOR4_OPTIONS IOR4_TABLE "write 1.0 2.0\n",
         "line 17: a row of 3 columns under a head of 11"},
        {IOR4_HEAD IOR4_OPTIONS IOR4_TABLE "write 1 2 3 a b 6 7 8 9 0\n", "no block and transfer size"},
        {MDTEST_HEAD "SUMMARY time (in ms/op): (of 3 iterations)\n", "line 8: a summary of times"},
        {MDTEST_HEAD "SUMMARY rate: (of 0 iterations)\n", "of no iterations"},
        {MDTEST_HEAD "SUMMARY rate: (of 2 iterations)\n   File creation  1.0 2.0 3.0 4.0\n",
         "line 9: the mean of \"File creation\" lies outside"},
        {"{\"a\":1}", "it has no \"tests\""},
        {"{\"tests\":", "not JSON"},
        {"{\"tests\":[]}", "no results"},
        {"{\"tests\":[{\"Results\":[{\"access\":\"write\",\"bwMiB\":1}]}]}", "without blockKiB and xferKiB"},
    };
    char path[160];
    snprintf(path, sizeof(path), "%s/foreign", top);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        FILE *out = fopen(path, "w");
        assert_true(fputs(cases[i].text, out) >= 0 && fclose(out) == 0);
        int status = import((const char *const[]){path, NULL});
        if (status != 2 || strstr(said, cases[i].reason) == NULL || strchr(said, '\n')[1] != 0)
            fail_msg("\"%s\": %d, said \"%s\"", cases[i].text, status, said);
    }
    assert_int_equal(import((const char *const[]){NULL}), 2);
    assert_non_null(strstr(said, "which files?"));
    assert_int_equal(import((const char *const[]){"/nonexistent", NULL}), 2);
    assert_non_null(strstr(said, "No such file"));
}

/* What could be read before the file that cannot is kept. */
static void files_before_a_bad_one_are_kept(void **state)
{
    (void)state;
    char good[160], output[160];
    snprintf(good, sizeof(good), "%s/good", top);
    snprintf(output, sizeof(output), "%s/results", top);
    FILE *out = fopen(good, "w");
    fputs(MDTEST_HEAD "SUMMARY rate: (of 1 iterations)\n   File stat  1.0 1.0 1.0 0.0\n", out);
    fclose(out);
    assert_int_equal(
        import((const char *const[]){"--target", "lustre:/fs", good, "/proc/self/status", good, NULL}), 2);
    assert_int_equal(result_file_read(output, &file), 0);
    assert_int_equal(file.result_count, 1);
    assert_string_equal(file.results[0].target, "lustre:/fs");
    result_file_free(&file);
}

static int make_directory(void **state)
{
    (void)state;
    return private_directory_make(top, sizeof(top));
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
        cmocka_unit_test(ior_of_today),
        cmocka_unit_test(ior_of_old),
        cmocka_unit_test(several_tests_and_runs_in_a_file),
        cmocka_unit_test(bytes_that_were_not_written_do_not_count),
        cmocka_unit_test(sizes_and_times_are_what_was_rounded),
        cmocka_unit_test(ior_json),
        cmocka_unit_test(mdtest_of_today),
        cmocka_unit_test(mdtest_of_old_and_of_single_ranks),
        cmocka_unit_test(foreign_files_are_refused_in_one_line),
        cmocka_unit_test(files_before_a_bad_one_are_kept),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}

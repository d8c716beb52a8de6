/* The command line of the benchmarks, and whole runs of md and io over a directory. */
#include "unit/unit.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/private_cluster.h"
#include "unit/bench_run.h"

static char directory[128];

static size_t lines(void)
{
    size_t count = 0;
    for (const char *at = bench_output; (at = strchr(at, '\n')) != NULL; at++)
        count++;
    return count;
}

static void wrong_usage_is_one_line(void **state)
{
    (void)state;
    static const struct {
        const char *arguments;
        const char *said;
    } cases[] = {
        {"", "which benchmark"},
        {"nonsense", "unknown benchmark \"nonsense\""},
        {"io --foo", "unknown option --foo"},
        {"io --foo=3", "unknown option --foo"},
        {"io extra", "unexpected argument \"extra\""},
        {"io --size", "option --size needs a value"},
        {"io --size 12q", "option --size takes sizes"},
        {"io --size 4KiB,,8KiB", "option --size takes sizes"},
        {"io --size 0", "option --size takes sizes"},
        {"io --size 4KiB,4096", "option --size has 4KiB twice"},
        {"io --depth 0", "option --depth takes numbers, separated by commas, from 1"},
        {"io --depth -1", "option --depth takes numbers, separated by commas, from 1"},
        {"io --depth 3x", "option --depth takes numbers, separated by commas, from 1"},
        {"io --depth 99999999999999999999999", "option --depth takes numbers"},
        {"io --depth 1,2,", "option --depth takes numbers"},
        {"io --repeats 1,2", "option --repeats takes a number from 1"},
        {"io --size 1,2,3,4,5,6,7,8,9 --depth 1,2,3,4,5,6,7,8,9 --passes 1,2,3,4,5,6,7,8,9 --threads "
         "1,2,3,4,5,6,7,8",
         "the sweep has more than 4096 combinations"},
        {"io --target posix:/tmp --target posix:/tmp", "option --target has posix:/tmp twice"},
        {"io --output /nonexistent/file",
         "option --output: cannot write \"/nonexistent/file\": No such file"},
        {"io --limits /nonexistent/file", "cannot read results from \"/nonexistent/file\": No such file"},
        {"io --limits /proc/self/status", "\"/proc/self/status\": line 1: not a result"},
        {"io --target posix:/nonexistent/directory", "No such file"},
        {"io --json=yes", "option --json takes no value"},
        {"io --target nfs:/x", "option --target takes benchfs:[DIRECTORY], benchfs:KEY=VALUE,..., posix:"},
        {"io --target posix:", "needs a directory"},
        {"io --total 1KiB --size 4KiB", "--total is less than one transfer"},
        {"md --processes 64 --threads 2", "--processes times --threads is more than 64"},
        {"md --processes 1,64 --threads 1,2", "--processes times --threads is more than 64"},
        {"md --files 0", "option --files takes numbers, separated by commas, from 1"},
        {"rpc --reply 1TiB", "option --reply takes sizes, separated by commas, from 0"},
        {"store --store mem,foo", "option --store takes of mem, null"},
        {"store --store ", "option --store needs a value"},
        {"store --size 12", "option --size takes multiples of 8, not 12"},
        {"store --size 4", "option --size takes sizes"},
        {"store --depth 0", "option --depth takes numbers, separated by commas, from 1 to 256"},
        {"store --depth 1,,2", "option --depth takes numbers"},
        {"store --depth 1,4KiB", "option --depth takes numbers"},
        {"store --chunk 100000", "option --chunk takes a power of two"},
        {"store --total 4KiB --size 8KiB", "--total is less than one transfer"},
        {"targets --row nothing", "unknown row \"nothing\""},
        {"targets --repeats 1000", "option --repeats takes a number from 1 to 64"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(bench_run(cases[i].arguments), 2);
        assert_int_equal(lines(), 1);
        assert_non_null(strstr(bench_output, "benchfs bench"));
        if (strstr(bench_output, cases[i].said) == NULL)
            fail_msg("\"%s\": said \"%s\"", cases[i].arguments, bench_output);
    }
}

static void help_lists_every_option(void **state)
{
    (void)state;
    assert_int_equal(bench_run("--help"), 0);
    assert_non_null(strstr(bench_output, "targets"));
    static const char *const verbs[] = {"rpc --help", "io --help", "md --help", "store --help",
                                        "targets --help"};
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        assert_int_equal(bench_run(verbs[i]), 0);
        assert_non_null(strstr(bench_output, "--repeats"));
        assert_non_null(strstr(bench_output, "--json"));
        for (const char *line = bench_output; *line != 0; line += strcspn(line, "\n") + 1)
            assert_in_range(strcspn(line, "\n"), 0, 100);
    }
    assert_int_equal(bench_run("ring --help"), 0);
    assert_non_null(strstr(bench_output, "[consistent,bounded,rendezvous,modulo,round_robin]"));
    assert_int_equal(bench_run("targets --list"), 0);
    assert_int_equal(bench_run("targets --list --row nothing"), 0);
    assert_non_null(strstr(bench_output, "open-read-close"));
}

static void missing_directory_fails(void **state)
{
    (void)state;
    assert_int_equal(bench_run("md --target posix:/nonexistent/directory --files 1 --repeats 1"), 2);
    assert_non_null(strstr(bench_output, "No such file"));
    assert_int_equal(bench_run("io --target posix:/dev/null --total 4KiB --size 4KiB --repeats 1"), 2);
    assert_non_null(strstr(bench_output, "Not a directory"));
    assert_int_equal(bench_run("store --dir /nonexistent/directory"), 2);
    assert_non_null(strstr(bench_output, "No such file"));
    assert_int_equal(bench_run("store --store pwrite --dir /dev/null --total 4KiB --size 4KiB --repeats 1"),
                     1);
    assert_non_null(strstr(bench_output, "Not a directory"));
}

/* The results' member `name` for the phase; fails if there is none. */
static double result_of(const char *phase, const char *name)
{
    char copy[sizeof(bench_output)];
    strcpy(copy, bench_output);
    double value = -1.0;
    bool head = false;
    for (char *rest = copy, *line; (line = strsep(&rest, "\n")) != NULL;) {
        json_t *object = json_loads(line, 0, NULL);
        if (object == NULL)
            continue;
        const char *type = json_string_value(json_object_get(object, "type"));
        const char *found = json_string_value(json_object_get(object, "phase"));
        head =
            head || (type != NULL && strcmp(type, "run") == 0 && json_object_get(object, "options") != NULL);
        if (found != NULL && strcmp(found, phase) == 0)
            value = json_number_value(json_object_get(object, name));
        json_decref(object);
    }
    assert_true(head);
    assert_true(value >= 0.0);
    return value;
}

static void md_counts_what_it_did(void **state)
{
    (void)state;
    char arguments[256];
    snprintf(arguments, sizeof(arguments),
             "md --json --target posix:%s --files 50 --repeats 2 --processes 2 --threads 2", directory);
    assert_int_equal(bench_run(arguments), 0);
    static const char *const phases[] = {"create", "stat", "open", "write", "read"};
    for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
        assert_true(result_of(phases[i], "operations") == 50 * 4 * 2);
        assert_true(result_of(phases[i], "ops_per_s") > 0);
        assert_true(result_of(phases[i], "p99_ns") >= result_of(phases[i], "p50_ns"));
    }
    assert_true(result_of("unlink", "operations") == 100 * 4 * 2);
    assert_int_equal(rmdir(directory), 0); /* nothing is left */
    assert_int_equal(mkdir(directory, 0700), 0);
}

static void io_counts_what_it_did(void **state)
{
    (void)state;
    static const char *const ways[] = {"", "--random", "--verify --random", "--depth 7 --verify --passes 2",
                                       "--depth 3 --processes 2"};
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        char arguments[256];
        snprintf(arguments, sizeof(arguments),
                 "io --json --target posix:%s --size 3000 --total 100KB --repeats 1 %s", directory, ways[i]);
        assert_int_equal(bench_run(arguments), 2); /* KB is not a size */
        snprintf(arguments, sizeof(arguments),
                 "io --json --target posix:%s --size 3000 --total 100000 --repeats 1 %s", directory, ways[i]);
        assert_int_equal(bench_run(arguments), 0);
        double workers = i == 4 ? 2 : 1;
        double passes = i == 3 ? 2 : 1;
        assert_true(result_of("fill", "operations") == 33 * workers);
        assert_true(result_of("write", "operations") == 33 * workers * passes);
        assert_true(result_of("read", "operations") == 33 * workers * passes);
        assert_true(result_of("read", "bytes_per_s") > 0);
        assert_int_equal(rmdir(directory), 0);
        assert_int_equal(mkdir(directory, 0700), 0);
    }
}

static void store_counts_what_it_did(void **state)
{
    (void)state;
    static const char *const ways[] = {"mem --depth 3",    "null --depth 3",   "file --depth 3 --no-checksum",
                                       "file --depth 1,3", "pwrite --depth 1", "pwrite --depth 1 --no-sync"};
    static const char *const phases[] = {"fill", "write", "read", "randread", "randwrite"};
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        char arguments[256];
        snprintf(arguments, sizeof(arguments),
                 "store --json --verify --dir %s --size 3000 --total 100000 --repeats 2 --store %s",
                 directory, ways[i]);
        assert_int_equal(bench_run(arguments), 0);
        for (size_t k = 0; k < sizeof(phases) / sizeof(phases[0]); k++) {
            assert_true(result_of(phases[k], "operations") == 33 * 2);
            assert_true(result_of(phases[k], "bytes_per_s") > 0);
        }
        assert_int_equal(rmdir(directory), 0);
        assert_int_equal(mkdir(directory, 0700), 0);
    }
    /* An engine that is full says so. */
    char arguments[256];
    snprintf(arguments, sizeof(arguments),
             "store --dir %s --store mem --capacity 1MiB --total 4MiB --size 64KiB --repeats 1", directory);
    assert_int_equal(bench_run(arguments), 1);
    assert_non_null(strstr(bench_output, "No space left"));
}

/* What `targets` runs in processes with and without the preload library. */
static void calls_are_timed(void **state)
{
    (void)state;
    static const char *const names[] = {"stat", "open", "pread", "pwrite", "write-big", "read-big"};
    char arguments[256];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char name[32];
        double value = 0;
        snprintf(arguments, sizeof(arguments), "calls libc %s 20 %s", directory, names[i]);
        assert_int_equal(bench_run(arguments), 0);
        assert_int_equal(lines(), 1);
        assert_int_equal(sscanf(bench_output, "%31s %lf", name, &value), 2);
        assert_string_equal(name, names[i]);
        assert_true(value > 0);
    }
    assert_int_equal(bench_run("calls libc /nonexistent 20 stat"), 1);
    assert_int_equal(lines(), 1);
    /* It looks at what it gets. */
    snprintf(arguments, sizeof(arguments), "%s/calls.data", directory);
    assert_int_equal(truncate(arguments, 12345678), 0);
    snprintf(arguments, sizeof(arguments), "calls libc %s 20 stat", directory);
    assert_int_equal(bench_run(arguments), 1);
    static const char *const wrong[] = {"calls", "calls libc /tmp 0 stat", "calls door /tmp 20 stat",
                                        "calls libc /tmp 20 nothing"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(bench_run(wrong[i]), 2);
}

static void targets_judge(void **state)
{
    (void)state;
    int status = bench_run("targets --quick --row spawn --json");
    assert_true(status == 0 || status == 1); /* slow under a sanitizer */
    json_t *object = json_loads(strchr(bench_output, '\n') + 1, 0, NULL);
    assert_non_null(object);
    assert_string_equal(json_string_value(json_object_get(object, "row")), "spawn");
    assert_true(json_number_value(json_object_get(object, "measured")) > 0.0);
    bool reached = json_number_value(json_object_get(object, "measured")) <= 100.0;
    assert_int_equal(json_boolean_value(json_object_get(object, "ok")), reached);
    assert_int_equal(status, reached ? 0 : 1);
    json_decref(object);
}

/* Without fio its rows are skipped, which is not success. */
static void rows_without_their_reference_are_skipped(void **state)
{
    (void)state;
    char path[4096];
    snprintf(path, sizeof(path), "%s", getenv("PATH"));
    setenv("PATH", "/nonexistent", 1);
    assert_int_equal(bench_run("targets --quick --row uring-write-1MiB --row uring-latency-read --json"), 1);
    json_t *object = json_loads(strchr(bench_output, '\n') + 1, JSON_DISABLE_EOF_CHECK, NULL);
    assert_non_null(object);
    assert_string_equal(json_string_value(json_object_get(object, "row")), "uring-write-1MiB");
    assert_string_equal(json_string_value(json_object_get(object, "skipped")), "fio is not installed");
    assert_false(json_boolean_value(json_object_get(object, "ok")));
    json_decref(object);
    assert_int_equal(bench_run("targets --quick --row uring-read-4MiB"), 1);
    assert_non_null(strstr(bench_output, "SKIPPED  fio is not installed"));
    assert_non_null(strstr(bench_output, "0 of 1 targets reached"));
    setenv("PATH", path, 1);
    assert_int_equal(bench_run("targets --dir /nonexistent --row uring-read-4MiB"), 2);
    assert_non_null(strstr(bench_output, "option --dir: /nonexistent: No such file"));
}

/* A row of the engine alone beside pwrite: no server, and nothing is left. */
static void storage_rows_lie_where_they_are_told(void **state)
{
    (void)state;
    char arguments[256], place[160];
    snprintf(place, sizeof(place), "%s/storage", directory);
    assert_int_equal(mkdir(place, 0700), 0);
    snprintf(arguments, sizeof(arguments), "targets --repeats 1 --row file-read-1MiB --json --dir %s", place);
    int status = bench_run(arguments);
    assert_true(status == 0 || status == 1);
    json_t *object = json_loads(strchr(bench_output, '\n') + 1, 0, NULL);
    assert_true(json_number_value(json_object_get(object, "measured")) > 0.0);
    json_decref(object);
    assert_int_equal(rmdir(place), 0);
}

static int make_directory(void **state)
{
    (void)state;
    return private_directory_make(directory, sizeof(directory));
}

static int remove_directory(void **state)
{
    (void)state;
    private_directory_remove(directory);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_usage_is_one_line),
        cmocka_unit_test(help_lists_every_option),
        cmocka_unit_test(missing_directory_fails),
        cmocka_unit_test(md_counts_what_it_did),
        cmocka_unit_test(io_counts_what_it_did),
        cmocka_unit_test(store_counts_what_it_did),
        cmocka_unit_test(calls_are_timed),
        cmocka_unit_test(targets_judge),
        cmocka_unit_test(rows_without_their_reference_are_skipped),
        cmocka_unit_test(storage_rows_lie_where_they_are_told),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}

/* Results survive being written and read, histograms and all, and what is wrong with a file is told by its
 * line. */
#include "unit/unit.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench/result.h"

#define RUN "{\"type\":\"run\",\"format\":1,\"id\":\"aa\",\"benchmark\":\"io\"}\n"

static struct result_file file;
static char error[512];

static int parse(const char *text)
{
    error[0] = 0;
    return result_file_parse(text, strlen(text), &file, error, sizeof(error));
}

static void make(struct result *result)
{
    result_init(result);
    result->run = "aa";
    result->benchmark = "io";
    result->target = "posix:/tmp";
    result->phase = "write";
    result_number(result, "size", 1);
    result_number(result, "size", 4096);
    result_real(result, "rate", 0.25);
    result_text(result, "order", "random \"walk\"");
    result_flag(result, "verify", true);
    result_add_repeat(result, 2.0, 10, 40960, 1);
    result_add_repeat(result, 1.0, 10, 40960, 0);
    result_add_repeat(result, 4.0, 10, 40960, 0);
    result->latency = malloc(sizeof(*result->latency));
    histogram_init(result->latency);
    for (uint64_t value = 1; value < HISTOGRAM_VALUE_MAX; value = value * 3 + 1)
        histogram_record(result->latency, value);
    histogram_record(result->latency, HISTOGRAM_VALUE_MAX + 5);
    result->series = calloc(1, sizeof(*result->series));
    result->series[result->moment_count++] =
        (struct result_moment){.t = 0.1, .ops_per_s = 100.0, .bytes_per_s = 409600.0};
    result_warn(result, "the %s is warm", "cache");
    result_warn(result, "the cache is warm");
    result_settle(result);
}

static void what_was_written_is_read(void **state)
{
    (void)state;
    char *text = NULL;
    size_t length = 0;
    struct result made;
    make(&made);
    FILE *out = open_memstream(&text, &length);
    assert_int_equal(result_write_line(out, result_run_line("io", "aa", json_pack("{si}", "depth", 3))), 0);
    assert_int_equal(result_write(out, &made), 0);
    fclose(out);
    assert_int_equal(result_file_parse(text, length, &file, error, sizeof(error)), 0);
    assert_int_equal(file.run_count, 1);
    assert_int_equal(file.result_count, 1);
    assert_string_equal(file.runs[0].version, BENCHFS_VERSION);
    assert_true(file.runs[0].processors > 0 && file.runs[0].memory > 0);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(file.runs[0].json, "options"), "depth")), 3);
    assert_non_null(json_object_get(file.runs[0].json, "governor"));
    const struct result *read = &file.results[0];
    assert_ptr_equal(result_file_run(&file, read->run), &file.runs[0]);
    assert_string_equal(read->target, made.target);
    assert_true(result_same_parameters(read, &made));
    assert_int_equal(read->parameter_count, 4);
    assert_int_equal(result_parameter(read, "size")->number, 4096);
    assert_string_equal(result_parameter(read, "order")->text, "random \"walk\"");
    assert_null(result_parameter(read, "depth"));
    assert_int_equal(read->operations, 30);
    assert_int_equal(read->bytes, 3 * 40960);
    assert_int_equal(read->errors, 1);
    assert_int_equal(read->repeats, 3);
    assert_true(read->operation_rate.median == 5.0 && read->byte_rate.median == 20480.0);
    assert_true(read->operation_rate.low == made.operation_rate.low);
    assert_true(read->seconds.values[2] == 4.0 && read->ops_per_s.values[1] == 10.0);
    assert_memory_equal(read->latency, made.latency, sizeof(*made.latency));
    assert_int_equal(read->p50, made.p50);
    assert_int_equal(read->maximum, HISTOGRAM_VALUE_MAX + 5);
    assert_int_equal(read->moment_count, 1);
    assert_true(read->series[0].bytes_per_s == 409600.0);
    assert_int_equal(read->warning_count, 1);
    assert_string_equal(read->warnings[0], "the cache is warm");
    result_file_free(&file);
    result_free(&made);
    free(text);
}

/* A line that does not fit is taken back, so that the file can be read up to there. */
static void a_full_device_cuts_no_line(void **state)
{
    (void)state;
    struct result made;
    struct rlimit limit;
    make(&made);
    FILE *out = tmpfile();
    assert_non_null(out);
    assert_int_equal(result_write_line(out, result_run_line("io", "aa", json_object())), 0);
    assert_int_equal(result_write(out, &made), 0);
    off_t end = lseek(fileno(out), 0, SEEK_CUR);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    const struct rlimit less = {.rlim_cur = (rlim_t)end + 1000, .rlim_max = limit.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &less), 0);
    assert_int_equal(result_write(out, &made), -EFBIG);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(lseek(fileno(out), 0, SEEK_END), end);
    assert_int_equal(result_write(out, &made), 0);
    assert_int_equal(lseek(fileno(out), 0, SEEK_END) > end + 1000, 1);
    fclose(out);
    result_free(&made);
}

static void a_run_tells_its_command(void **state)
{
    (void)state;
    char *words[] = {"bench", "io", "--size", "4KiB"}, *foreign[] = {"bench", "\xff"};
    json_t *line = result_run_line("io", "aa", json_object());
    assert_null(json_object_get(line, "command"));
    json_decref(line);
    result_set_command(4, words);
    line = result_run_line("io", "aa", json_object());
    const json_t *command = json_object_get(line, "command");
    assert_int_equal(json_array_size(command), 5);
    assert_string_equal(json_string_value(json_array_get(command, 0)), "benchfs");
    assert_string_equal(json_string_value(json_array_get(command, 4)), "4KiB");
    json_decref(line);
    result_set_command(2, foreign);
    line = result_run_line("io", "aa", json_object());
    assert_non_null(line);
    assert_null(json_object_get(line, "command"));
    json_decref(line);
}

static void a_repeat_of_no_time_has_no_rate(void **state)
{
    (void)state;
    struct result result;
    result_init(&result);
    result_add_repeat(&result, 0.0, 10, 10, 0);
    result_settle(&result);
    assert_true(result.operation_rate.median == 0.0 && result.byte_rate.high == 0.0);
    result_free(&result);
}

static void a_summary_without_samples_stands(void **state)
{
    (void)state;
    assert_int_equal(parse(RUN "{\"type\":\"result\",\"run\":\"aa\",\"benchmark\":\"ior\",\"target\":\"t\","
                               "\"phase\":\"read\",\"bytes_per_s\":7.5,\"foreign\":[1,{}]}\n"
                               "{\"type\":\"of-tomorrow\",\"value\":-1}\n"),
                     0);
    assert_true(file.results[0].byte_rate.median == 7.5 && file.results[0].byte_rate.low == 7.5);
    result_settle(&file.results[0]);
    assert_true(file.results[0].byte_rate.high == 7.5);
    assert_null(file.results[0].latency);
    assert_int_equal(json_array_size(file.lines), 3);
    result_file_free(&file);
}

static void wider_buckets_count_as_their_middle(void **state)
{
    (void)state;
    struct histogram histogram;
    json_t *json =
        json_loads("{\"count\":3,\"sum\":9000,\"min\":1000,\"max\":4000,\"buckets\":[[1000,1999,1],"
                   "[2000,4999,2]]}",
                   0, NULL);
    assert_int_equal(result_latency_parse(json, &histogram), 0);
    json_decref(json);
    assert_int_equal(histogram.buckets[histogram_bucket(1499)], 1);
    assert_int_equal(histogram.buckets[histogram_bucket(3499)], 2);
    assert_true(fabs((double)histogram_quantile(&histogram, 0.9) - 3499.0) < 35.0);
}

#define RESULT "{\"type\":\"result\",\"run\":\"aa\",\"benchmark\":\"b\",\"target\":\"t\",\"phase\":\"p\","

static void what_is_wrong_is_told_by_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *said;
    } cases[] = {
        {"", "line 1: the file is empty"},
        {"access,bw(MiB/s)\n", "line 1: not a result"},
        {"[1]\n", "line 1: not a result: not an object"},
        {"{}\n", "line 1: \"type\" must be a text"},
        {"{\"type\":3}\n", "line 1: \"type\" must be a text"},
        {"{\"type\":\"result\"}\n", "line 1: the first line must be of type \"run\""},
        {"{\"type\":\"run\",\"format\":2,\"id\":\"a\",\"benchmark\":\"b\"}\n", "format 2 is not known"},
        {"{\"type\":\"run\",\"id\":\"a\",\"benchmark\":\"b\"}\n", "\"format\" must be a whole number"},
        {"{\"type\":\"run\",\"format\":1,\"id\":\"\",\"benchmark\":\"b\"}\n", "\"id\" is empty"},
        {RUN "\n", "line 2: not a result"},
        {RUN "{\"type\":\"result\",\"run\":\"bb\"}", "line 2: no run before it has the id \"bb\""},
        {RUN "{\"type\":\"result\",\"run\":\"aa\"}", "line 2: \"benchmark\" must be a text"},
        {RUN RESULT "\"operations\":-1}", "\"operations\" must be a whole number"},
        {RUN RESULT "\"operations\":1.5}", "\"operations\" must be a whole number"},
        {RUN RESULT "\"operations\":1,\"operations\":2}", "duplicate"},
        {RUN RESULT "\"ops_per_s\":\"fast\"}", "\"ops_per_s\" must be a number"},
        {RUN RESULT "\"ops_per_s\":5,\"ops_per_s_low\":6,\"ops_per_s_high\":7}", "outside its own interval"},
        {RUN RESULT "\"parameters\":[]}", "\"parameters\" must be an object"},
        {RUN RESULT "\"parameters\":{\"size\":[1]}}", "parameter \"size\" must be"},
        {RUN RESULT "\"samples\":{\"seconds\":[-1]}}", "\"samples\".\"seconds\" must be numbers"},
        {RUN RESULT "\"latency\":{}}", "\"latency\" is not a histogram"},
        {RUN RESULT "\"latency\":{\"count\":2,\"sum\":1,\"min\":1,\"max\":1,\"buckets\":[[1,1,1]]}}",
         "\"latency\" is not a histogram, or its counts do not add up"},
        {RUN RESULT "\"latency\":{\"count\":2,\"sum\":1,\"min\":1,\"max\":9,\"buckets\":[[9,9,1],[1,1,1]]}}",
         "\"latency\" is not a histogram"},
        {RUN RESULT "\"stages\":{\"wire\":7}}", "\"wire\" is not a histogram"},
        {RUN RESULT "\"servers\":[{\"id\":\"x\"}]}", "\"id\" must be a whole number"},
        {RUN RESULT "\"series\":[{\"t\":1},{\"t\":0.5}]}", "\"series\" goes back in time"},
        {RUN RESULT "\"warnings\":[1]}", "\"warnings\" must be texts"},
        {RUN RESULT "\"warnings\":[\"\\u001b[2J\"]}", "\"warnings\" must be texts"},
        {RUN "{\"type\":\"limit\",\"run\":\"aa\",\"name\":\"memcpy\",\"unit\":\"B/s\"}", "\"value\" must be"},
        {RUN "{\"type\":\"score\",\"run\":\"aa\",\"benchmark\":\"io500\"}", "\"target\" must be a text"},
        {RUN RESULT "\"phase\":", "line 2: not a result"},
        {RUN "\x1b[31m", "line 2: not a result"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(parse(cases[i].text), -EINVAL);
        if (strstr(error, cases[i].said) == NULL)
            fail_msg("\"%s\": said \"%s\"", cases[i].text, error);
        assert_null(strchr(error, '\n'));
        assert_null(strchr(error, '\x1b'));
    }
}

static void files_may_be_put_together(void **state)
{
    (void)state;
    assert_int_equal(parse(RUN RESULT
                           "\"operations\":1}\n"
                           "{\"type\":\"run\",\"format\":1,\"id\":\"bb\",\"benchmark\":\"io500\"}\n"
                           "{\"type\":\"score\",\"run\":\"bb\",\"benchmark\":\"io500\",\"target\":\"t\","
                           "\"bandwidth_gib_s\":2,\"metadata_kiops\":8,\"score\":4}\n" RESULT
                           "\"operations\":2}\n"
                           "{\"type\":\"limit\",\"run\":\"bb\",\"name\":\"memcpy\",\"unit\":\"B/s\","
                           "\"size\":4096,\"value\":1e10}\n"),
                     0);
    assert_int_equal(file.run_count, 2);
    assert_int_equal(file.result_count, 2);
    assert_true(file.scores[0].score == 4.0);
    assert_string_equal(file.limits[0].name, "memcpy");
    assert_int_equal(file.limits[0].size, 4096);
    result_file_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(a_full_device_cuts_no_line),
        cmocka_unit_test(a_run_tells_its_command),
        cmocka_unit_test(a_repeat_of_no_time_has_no_rate),
        cmocka_unit_test(a_summary_without_samples_stands),
        cmocka_unit_test(wider_buckets_count_as_their_middle),
        cmocka_unit_test(what_is_wrong_is_told_by_its_line),
        cmocka_unit_test(files_may_be_put_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

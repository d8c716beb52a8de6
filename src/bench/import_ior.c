/* IOR prints, for each test: its options, a table of all repetitions and a summary. The repetitions are
 * taken, because a median and its interval need them; the summary is left, which has only their mean. What
 * columns the table has depends on the version; `access` and `bw(MiB/s)` are always there.
 *
 * Bandwidth is IOR's own: bytes by the time from the first open to the last close. Operations per second are
 * made from it and the transfer size, as IOR's summary does; its column IOPS leaves opening and closing out.
 *
 * Rows have sizes in KiB with two digits and, in JSON, times with four: what they are rounded from is taken
 * from the options where these agree, because results are matched by size. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/import_parse.h"

#define MIB 1048576.0
#define KIB 1024.0
#define ROUNDED_KIB 0.00501 /* sizes of rows */
#define ROUNDED_S 0.0000005 /* times of rows, and in JSON */
#define ROUNDED_JSON_S 0.00005
#define WORDS_MAX 16
#define KINDS 2

static const char *const kinds[KINDS] = {"write", "read"};

/* One test: its options and the repetitions of its two phases. */
struct test {
    char api[32], path[256];
    uint64_t size, block, segments, tasks;
    uint64_t told_size, told_block; /* of the options; 0: not told */
    bool shared, random;
    bool some[KINDS];
    struct result results[KINDS];
};

/* A row of the table. */
struct row {
    const char *access;
    double bandwidth;   /* MiB/s; negative: none was printed */
    double block, size; /* KiB */
    double total;       /* seconds */
    double rounded;     /* by how much that can be wrong */
};

bool import_is_ior(const char *line)
{
    return strncmp(line, "IOR-", 4) == 0 && strstr(line, "MPI Coordinated Test of Parallel I/O") != NULL;
}

static void begin_test(struct test *test)
{
    for (int i = 0; i < KINDS; i++)
        result_free(&test->results[i]);
    *test = (struct test){.segments = 1, .tasks = 1, .shared = true};
}

static int end_test(struct import_text *text, struct test *test)
{
    char target[IMPORT_TEXT_SIZE];
    int status = 0;
    import_target(test->api[0] != 0 ? test->api : "unknown", test->path, target, sizeof(target));
    for (int i = 0; i < KINDS && status == 0; i++) {
        struct result *result = &test->results[i];
        if (!test->some[i])
            continue;
        result->phase = kinds[i];
        result_number(result, "size", test->size);
        result_number(result, "block", test->block);
        result_number(result, "segments", test->segments);
        result_number(result, "processes", test->tasks);
        result_number(result, "threads", 1);
        result_flag(result, "shared", test->shared);
        result_flag(result, "random", test->random);
        result_settle(result);
        text->results++;
        status = text->sink->result(text->sink->argument, result, target);
    }
    begin_test(test);
    return status;
}

static uint64_t exact_size(double kib, uint64_t told)
{
    return fabs(kib - (double)told / KIB) <= ROUNDED_KIB ? told : (uint64_t)llround(kib * KIB);
}

static uint64_t bytes_of(const struct test *test, const struct row *row)
{
    double rate = row->bandwidth * MIB, told = rate * row->total;
    double planned = (double)test->block * (double)test->segments * (double)test->tasks;
    double inexact = planned * 0.01 + rate * row->rounded;
    double bytes = fabs(told - planned) <= inexact ? planned : told; /* a stonewall ends tests early */
    return bytes >= 0.0 && bytes < 0x1p62 ? (uint64_t)llround(bytes) : 0;
}

static int add_row(struct import_text *text, struct test *test, const struct row *row)
{
    int kind = strcmp(row->access, kinds[0]) == 0 ? 0 : strcmp(row->access, kinds[1]) == 0 ? 1 : -1;
    if (kind < 0)
        return 0; /* removal has no figures */
    struct result *result = &test->results[kind];
    test->some[kind] = true;
    if (row->bandwidth < 0.0) {
        result_warn(result, "a repetition without a bandwidth was left out");
        return 0;
    }
    if (row->block > 0x1p50 || row->size > 0x1p50 || row->bandwidth > 0x1p60)
        return import_fail(text, "figures beyond reason");
    test->block = exact_size(row->block, test->told_block);
    test->size = exact_size(row->size, test->told_size);
    if (result->repeats == SAMPLE_MAX)
        result_warn(result, "only the first %u repetitions were taken", SAMPLE_MAX);
    if (result->repeats == SAMPLE_MAX)
        return 0;
    uint64_t bytes = bytes_of(test, row);
    double rate = row->bandwidth * MIB;
    sample_add(&result->seconds,
               row->total > 1000 * row->rounded || rate <= 0.0 ? row->total : (double)bytes / rate);
    sample_add(&result->bytes_per_s, rate);
    sample_add(&result->ops_per_s, test->size > 0 ? rate / (double)test->size : 0.0);
    result->repeats++;
    result->bytes += bytes;
    result->operations += test->size > 0 ? bytes / test->size : 0;
    return 0;
}

/* ---- what it prints ---- */

static void read_option(struct test *test, const char *line)
{
    char value[256];
    if (import_value(line, "api", value, sizeof(value)))
        snprintf(test->api, sizeof(test->api), "%.*s", (int)strcspn(value, " "), value);
    else if (import_value(line, "test filename", value, sizeof(value)))
        snprintf(test->path, sizeof(test->path), "%s", value);
    else if (import_value(line, "access", value, sizeof(value)))
        test->shared = strncmp(value, "file-per-process", 16) != 0;
    else if (import_value(line, "xfersize", value, sizeof(value)))
        test->told_size = import_size(value);
    else if (import_value(line, "blocksize", value, sizeof(value)))
        test->told_block = import_size(value);
    else if (import_value(line, "segments", value, sizeof(value)))
        test->segments = strtoull(value, NULL, 10);
    else if (import_value(line, "tasks", value, sizeof(value)) ||
             import_value(line, "clients", value, sizeof(value))) /* older: "4 (2 per node)" */
        test->tasks = strtoull(value, NULL, 10);
    else if (import_value(line, "ordering in a file", value, sizeof(value)))
        test->random = strncmp(value, "random", 6) == 0;
}

static int split(char *line, const char **words)
{
    int count = 0;
    for (char *rest = line, *word; (word = strsep(&rest, " ")) != NULL && count < WORDS_MAX;) {
        if (word[0] != 0)
            words[count++] = word;
    }
    return count;
}

/* The columns that are used, by their place in a row; -1: not there. */
struct columns {
    int access, bandwidth, block, size, total, count;
};

static int column(const char *const *words, int count, const char *name)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(words[i], name) == 0)
            return i;
    }
    return -1;
}

static bool read_head(const char *line, struct columns *columns)
{
    char copy[IMPORT_LINE_SIZE];
    const char *words[WORDS_MAX];
    snprintf(copy, sizeof(copy), "%s", line);
    int count = split(copy, words);
    *columns = (struct columns){.access = column(words, count, "access"),
                                .bandwidth = column(words, count, "bw(MiB/s)"),
                                .block = column(words, count, "block(KiB)"),
                                .size = column(words, count, "xfer(KiB)"),
                                .total = column(words, count, "total(s)"),
                                .count = count};
    return columns->access == 0 && columns->bandwidth > 0 && columns->block > 0 && columns->size > 0 &&
           columns->total > 0;
}

static int read_row(struct import_text *text, struct test *test, const struct columns *columns,
                    const char *line)
{
    char copy[IMPORT_LINE_SIZE];
    const char *words[WORDS_MAX];
    struct row row = {.bandwidth = -1.0, .rounded = ROUNDED_S};
    snprintf(copy, sizeof(copy), "%s", line);
    int count = split(copy, words);
    if (count == 0 || (strcmp(words[0], "write") != 0 && strcmp(words[0], "read") != 0))
        return 0;
    if (count != columns->count)
        return import_fail(text, "a row of %d columns under a head of %d", count, columns->count);
    row.access = words[0];
    if (!import_number(words[columns->block], &row.block) || !import_number(words[columns->size], &row.size))
        return import_fail(text, "no block and transfer size in \"%.60s\"", line);
    if (!import_number(words[columns->bandwidth], &row.bandwidth) ||
        !import_number(words[columns->total], &row.total))
        row.bandwidth = -1.0;
    return add_row(text, test, &row);
}

static const char *after_blank(const char *text)
{
    const char *blank = strchr(text, ' ');
    return blank != NULL ? blank + 1 : text;
}

static void read_head_of_run(struct import_run *run, const char *line)
{
    char value[IMPORT_TEXT_SIZE];
    if (import_value(line, "Began", value, sizeof(value)) ||
        import_value(line, "Run began", value, sizeof(value)))
        import_time(value, run->time, sizeof(run->time));
    else if (import_value(line, "Command line", value, sizeof(value)) ||
             import_value(line, "Command line used", value, sizeof(value)))
        snprintf(run->command, sizeof(run->command), "%s", value);
    else if (import_value(line, "Machine", value, sizeof(value))) /* "Linux node" */
        snprintf(run->host, sizeof(run->host), "%.63s", after_blank(value));
}

/* A summary of all tests follows, or the next test. */
static bool ends_table(const char *line)
{
    static const char *const heads[] = {"Summary", "Max ", "TestID", "Test ", "Options"};
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        if (strncmp(line, heads[i], strlen(heads[i])) == 0)
            return true;
    }
    return false;
}

int import_ior(struct import_text *text, const char *first)
{
    char line[IMPORT_LINE_SIZE];
    struct import_run run = {.benchmark = "ior"};
    struct test test = {0};
    struct columns columns = {.count = 0};
    bool begun = false, in_table = false;
    int status = 0;
    begin_test(&test);
    snprintf(run.version, sizeof(run.version), "%.*s", (int)strcspn(first, ": "), first);
    for (;;) {
        size_t at = text->at;
        unsigned number = text->line;
        bool more = import_line(text, line, sizeof(line));
        if (!more || import_is_ior(line) || import_is_mdtest(line)) {
            if (more) { /* the next run's head is for whoever reads that */
                text->at = at;
                text->line = number;
            }
            break;
        }
        struct columns found;
        if (read_head(line, &found)) {
            columns = found;
            in_table = true;
            if (!begun && (status = text->sink->begin(text->sink->argument, &run)) < 0)
                break;
            begun = true;
        } else if (in_table && !ends_table(line)) {
            if ((status = read_row(text, &test, &columns, line)) < 0)
                break;
        } else if (in_table) {
            in_table = false;
            if ((status = end_test(text, &test)) < 0)
                break;
        } else {
            read_head_of_run(&run, line);
            read_option(&test, line);
        }
    }
    if (status == 0)
        status = end_test(text, &test);
    begin_test(&test);
    return status;
}

/* ---- its JSON ---- */

static const char *text_of(const json_t *object, const char *name)
{
    const char *found = json_string_value(json_object_get(object, name));
    return found != NULL ? found : "";
}

static void copy_text(char *text, size_t size, const char *from)
{
    snprintf(text, size, "%s", from);
    for (; *text != 0; text++) {
        if ((unsigned char)*text < 0x20 || (unsigned char)*text > 0x7e)
            *text = '?';
    }
}

static double real_of(const json_t *object, const char *name)
{
    const json_t *found = json_object_get(object, name);
    return json_is_number(found) && json_number_value(found) >= 0.0 ? json_number_value(found) : -1.0;
}

static uint64_t number_of(const json_t *object, const char *name, uint64_t otherwise)
{
    const json_t *found = json_object_get(object, name);
    return json_is_integer(found) && json_integer_value(found) >= 0 ? (uint64_t)json_integer_value(found)
                                                                    : otherwise;
}

/* "Results" is an array of rows; in some versions of arrays of them. */
static int read_json_rows(struct import_text *text, struct test *test, const json_t *rows, unsigned depth)
{
    size_t i;
    const json_t *value;
    int status = 0;
    json_array_foreach(rows, i, value)
    {
        if (json_is_array(value) && depth < 4) {
            status = read_json_rows(text, test, value, depth + 1);
        } else {
            struct row row = {.access = text_of(value, "access"),
                              .bandwidth = real_of(value, "bwMiB"),
                              .block = real_of(value, "blockKiB"),
                              .size = real_of(value, "xferKiB"),
                              .total = real_of(value, "totalTime"),
                              .rounded = ROUNDED_JSON_S};
            if (row.block < 0.0 || row.size < 0.0)
                return import_fail(text, "a result without blockKiB and xferKiB");
            row.bandwidth = row.total < 0.0 ? -1.0 : row.bandwidth;
            status = add_row(text, test, &row);
        }
        if (status < 0)
            return status;
    }
    return 0;
}

static int read_json_test(struct import_text *text, const json_t *object)
{
    struct test test = {0};
    const json_t *options = json_object_get(object, "Options");
    begin_test(&test);
    copy_text(test.api, sizeof(test.api), text_of(options, "api"));
    copy_text(test.path, sizeof(test.path), text_of(options, "test filename"));
    test.shared = strcmp(text_of(options, "access"), "file-per-process") != 0;
    test.random = strcmp(text_of(options, "ordering in a file"), "random") == 0;
    test.told_size = number_of(json_object_get(object, "Parameters"), "transferSize", 0);
    test.told_block = number_of(json_object_get(object, "Parameters"), "blockSize", 0);
    test.segments = number_of(options, "segments", 1);
    test.tasks = number_of(options, "tasks", 1);
    int status = read_json_rows(text, &test, json_object_get(object, "Results"), 0);
    if (status == 0)
        status = end_test(text, &test);
    begin_test(&test);
    return status;
}

int import_ior_json(struct import_text *text)
{
    json_error_t error;
    struct import_run run = {.benchmark = "ior"};
    json_t *root = json_loadb(text->bytes, text->length, 0, &error);
    const json_t *tests = json_object_get(root, "tests"), *test;
    size_t i;
    text->line = root == NULL && error.line > 0 ? (unsigned)error.line : 1;
    if (!json_is_array(tests)) {
        json_decref(root);
        return import_fail(text, "not a summary of IOR: %s",
                           root == NULL ? "not JSON" : "it has no \"tests\"");
    }
    snprintf(run.version, sizeof(run.version), "IOR-");
    copy_text(run.version + 4, sizeof(run.version) - 4, text_of(root, "Version"));
    import_time(text_of(root, "Began"), run.time, sizeof(run.time));
    copy_text(run.command, sizeof(run.command), text_of(root, "Command line"));
    copy_text(run.host, sizeof(run.host), after_blank(text_of(root, "Machine")));
    int status = text->sink->begin(text->sink->argument, &run);
    json_array_foreach(tests, i, test)
    {
        if (status == 0)
            status = read_json_test(text, test);
    }
    json_decref(root);
    if (status == 0 && text->results == 0)
        return import_fail(text, "the summary has no results");
    return status;
}

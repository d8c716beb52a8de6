/* Each run that a file has becomes a run of results with what is known of where it came from: the version is
 * that of the program which measured, there is no commit, and `imported` names the file. Runs are written
 * when their file has been read to its end, so that a file that cannot be understood leaves nothing of
 * itself. */
#include "bench/import.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "bench/import_parse.h"
#include "bench/result.h"
#include "bench/result_output.h"

static struct bench_operands operands;
static const char *output_path, *target_name;

static const struct bench_option options[] = {
    {"output", BENCH_PATH, &output_path, 0, 0, "FILE", "where to [standard output]"},
    {"target", BENCH_PATH, &target_name, 0, 0, "NAME", "what was measured [API:PATH, as the file has it]"},
    {0},
};

/* What a file gives. */
struct importing {
    FILE *out;
    const char *path;
    const char *benchmark;
    char run[RESULT_ID_SIZE];
};

static int begin(void *argument, const struct import_run *found)
{
    struct importing *importing = argument;
    importing->benchmark = found->benchmark;
    result_make_id(importing->run);
    json_t *line = json_pack("{ss si ss ss ss ss s{ss} ss}", "type", "run", "format", RESULT_FORMAT, "id",
                             importing->run, "benchmark", found->benchmark, "version", found->version, "host",
                             found->host, "options", "command", found->command, "imported", importing->path);
    if (line != NULL && found->time[0] != 0)
        json_object_set_new(line, "time", json_string(found->time));
    return result_write_line(importing->out, line);
}

static int take(void *argument, struct result *result, const char *target)
{
    struct importing *importing = argument;
    result->run = importing->run;
    result->benchmark = importing->benchmark;
    result->target = target_name != NULL ? target_name : target;
    return result_write(importing->out, result);
}

/* All of it into lines. 0, or a negative status after one line on standard error. */
static int import_file(const char *path, char **lines, size_t *length)
{
    char error[512];
    char *bytes;
    size_t size;
    struct importing importing = {.path = path};
    int status = result_read_bytes(path, RESULT_FILE_MAX, &bytes, &size);
    if (status < 0) {
        bench_error("cannot read \"%s\": %s", path, strerror(-status));
        return status;
    }
    *lines = NULL;
    importing.out = open_memstream(lines, length);
    if (importing.out == NULL) {
        free(bytes);
        return -ENOMEM;
    }
    error[0] = 0;
    const struct import_sink sink = {.begin = begin, .result = take, .argument = &importing};
    status = import_parse(bytes, size, &sink, error, sizeof(error));
    fclose(importing.out);
    free(bytes);
    if (status < 0)
        bench_error("%s: %s", path, error[0] != 0 ? error : "it has a text that is not UTF-8");
    return status;
}

static int run(void)
{
    struct result_output output = {0};
    int status = BENCH_OK;
    if (operands.count == 0) {
        bench_error("which files? try \"benchfs bench import --help\"");
        return BENCH_USAGE;
    }
    int opened = output_path != NULL ? result_output_open(&output, output_path) : 0;
    if (opened < 0) {
        bench_error("option --output: cannot write \"%s\": %s", output_path, strerror(-opened));
        return BENCH_USAGE;
    }
    for (uint32_t i = 0; i < operands.count && status == BENCH_OK; i++) {
        char *lines = NULL;
        size_t length = 0;
        if (import_file(operands.texts[i], &lines, &length) < 0) {
            status = BENCH_USAGE;
        } else {
            FILE *out = output_path != NULL ? result_output_file(&output) : stdout;
            if (fwrite(lines, 1, length, out) != length || fflush(out) != 0) {
                bench_error("cannot write: %s", strerror(errno));
                status = BENCH_FAILED;
            }
        }
        free(lines);
    }
    int closed = result_output_close(&output);
    if (closed < 0 && status == BENCH_OK) {
        bench_error("cannot write \"%s\": %s", output_path, strerror(-closed));
        status = BENCH_FAILED;
    }
    return status;
}

const struct bench_verb bench_import = {
    .name = "import",
    .help = "What IOR and mdtest printed as results of ours, for comparisons and reports",
    .options = options,
    .run = run,
    .operands = &operands,
    .usage = "FILE...",
};

/* Any bytes as the output of IOR or mdtest: refused with a reason, or results that our own reader takes. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/import_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void require(int condition)
{
    if (!condition)
        abort();
}

static int begin(void *argument, const struct import_run *run)
{
    require(strcmp(run->benchmark, "ior") == 0 || strcmp(run->benchmark, "mdtest") == 0);
    return result_write_line(argument,
                             json_pack("{ss si ss ss ss ss ss ss}", "type", "run", "format", RESULT_FORMAT,
                                       "id", "x", "benchmark", run->benchmark, "version", run->version,
                                       "host", run->host, "time", run->time, "command", run->command));
}

static int take(void *argument, struct result *result, const char *target)
{
    result->run = "x";
    result->benchmark = "";
    result->target = target;
    return result_write(argument, result);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    char *text = NULL, error[512] = "";
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    const struct import_sink sink = {.begin = begin, .result = take, .argument = out};
    int status = import_parse((const char *)bytes, length, &sink, error, sizeof(error));
    fclose(out);
    require(status == 0 || (status == -EINVAL && error[0] != 0));
    if (status == 0) {
        struct result_file file;
        require(result_file_parse(text, size, &file, error, sizeof(error)) == 0);
        require(file.result_count > 0);
        result_file_free(&file);
    }
    free(text);
    return 0;
}

/* Any bytes as a file of results: refused with a reason, or results that agree with themselves and that are
 * read again as they were after they have been written. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/result.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void require(int condition)
{
    if (!condition)
        abort();
}

static void check(const struct result *result)
{
    char *text = NULL;
    size_t size = 0;
    struct result_file again;
    char error[512];
    static const char head[] = "{\"type\":\"run\",\"format\":1,\"id\":\"x\",\"benchmark\":\"\"}\n";
    FILE *out = open_memstream(&text, &size);
    struct result copy = *result;
    copy.run = "x";
    require(out != NULL && fputs(head, out) >= 0 && result_write(out, &copy) == 0 && fclose(out) == 0);
    require(result_file_parse(text, size, &again, error, sizeof(error)) == 0);
    require(again.result_count == 1 && result_same_parameters(result, &again.results[0]));
    require(strcmp(again.results[0].phase, result->phase) == 0);
    require(again.results[0].ops_per_s.count == result->ops_per_s.count);
    require(again.results[0].moment_count == result->moment_count);
    require(again.results[0].warning_count == result->warning_count);
    require((again.results[0].latency == NULL) == (result->latency == NULL));
    if (result->latency != NULL)
        require(memcmp(result->latency, again.results[0].latency, sizeof(*result->latency)) == 0);
    result_file_free(&again);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct result_file file;
    char error[512] = "";
    int status = result_file_parse((const char *)bytes, length, &file, error, sizeof(error));
    if (status != 0) {
        require(status == -EINVAL && strncmp(error, "line ", 5) == 0 && file.lines == NULL);
        return 0;
    }
    require(file.run_count > 0);
    for (uint32_t i = 0; i < file.result_count; i++) {
        require(result_file_run(&file, file.results[i].run) != NULL);
        check(&file.results[i]);
    }
    result_file_free(&file);
    return 0;
}

/* Any bytes as a configuration file: accepted, they survive printing and reading; refused, there is one error
 * line and nothing has changed. */
#include "base/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void require(bool condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct config config, before;
    char error[256];

    config_defaults(&config);
    before = config;
    int status = config_read_text(&config, "fuzz", (const char *)bytes, length, error, sizeof error);
    if (status != 0) {
        require(status == -EINVAL);
        require(strncmp(error, "fuzz:", 5) == 0 && strchr(error, '\n') == NULL);
        require(memcmp(&before, &config, sizeof config) == 0);
        return 0;
    }

    char *text = NULL;
    size_t printed = 0;
    FILE *out = open_memstream(&text, &printed);
    require(out != NULL);
    config_print(&config, out);
    fclose(out);
    require(config_read_text(&before, "printed", text, printed, error, sizeof error) == 0);
    require(memcmp(&before, &config, sizeof config) == 0);
    free(text);
    return 0;
}

/* Prints what is generated from the option table; used by the build only.
 *
 * Usage: print_options help | example | man TEMPLATE
 *
 * man copies TEMPLATE and puts the options in place of its line "@OPTIONS@". */
#include "base/config.h"

#include <string.h>

static int print_manual(const char *path)
{
    char line[4096];
    FILE *template = fopen(path, "r");

    if (template == NULL) {
        perror(path);
        return 1;
    }
    while (fgets(line, sizeof line, template) != NULL) {
        if (strcmp(line, "@OPTIONS@\n") == 0)
            config_print_man(stdout);
        else
            fputs(line, stdout);
    }
    fclose(template);
    return 0;
}

int main(int count, char **arguments)
{
    const char *what = count > 1 ? arguments[1] : "";

    if (strcmp(what, "man") == 0 && count == 3)
        return print_manual(arguments[2]);
    if (strcmp(what, "help") == 0) {
        config_print_help(stdout);
    } else if (strcmp(what, "example") == 0) {
        config_print_example(stdout);
    } else {
        fputs("usage: print_options help | example | man TEMPLATE\n", stderr);
        return 2;
    }
    return 0;
}

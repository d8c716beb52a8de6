/* Messages and option parsing: one line for one error, always with the verb's name in front, so that a
 * script's log tells where it came from. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/progress.h"

const struct verb *cli_verb;

__attribute__((format(printf, 1, 0), nonnull(1))) static void print_error(const char *format,
                                                                          va_list arguments, const char *tail)
{
    progress_clear();
    fprintf(stderr, "benchfs %s: ", cli_verb->name);
    vfprintf(stderr, format, arguments);
    fputs(tail, stderr);
}

void cli_error(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_error(format, arguments, "\n");
    va_end(arguments);
}

int cli_usage(const char *format, ...)
{
    char tail[64];
    snprintf(tail, sizeof(tail), ": see \"benchfs %s --help\"\n", cli_verb->name);
    va_list arguments;
    va_start(arguments, format);
    print_error(format, arguments, tail);
    va_end(arguments);
    return CLI_USAGE;
}

int cli_number(const char *option, const char *text, uint64_t most, uint64_t *number)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || value > most)
        return cli_usage("%s \"%s\" is not a number up to %" PRIu64, option, text, most);
    *number = value;
    return CLI_OK;
}

void cli_print_help(const struct verb *verb)
{
    printf("usage: benchfs %s %s\n%s.\n", verb->name, verb->usage, verb->help);
    if (verb->text[0] != '\0')
        printf("\n%s", verb->text);
}

/* getopt has moved past the argument when it was the last option in it, so the word is found from optind. */
int cli_option(int argc, char **argv, const char *short_options, const struct option *long_options,
               int *result)
{
    opterr = 0;
    int option = getopt_long(argc, argv, short_options, long_options, NULL);
    switch (option) {
    case CLI_OPTION_HELP:
        cli_print_help(cli_verb);
        *result = CLI_OK;
        return '?';
    case ':':
        *result = cli_usage("option \"%s\" needs an argument", argv[optind - 1]);
        return '?';
    case '?':
        if (optopt != 0 && optopt < 256)
            *result = cli_usage("unknown option \"-%c\"", optopt);
        else
            *result = cli_usage("unknown option \"%s\"", argv[optind - 1]);
        return '?';
    default:
        return option;
    }
}

int cli_finish_output(int result)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return result;
    fprintf(stderr, "benchfs: cannot write to standard output: %s\n", strerror(errno));
    return CLI_FAILED;
}

/* report: turns files of results into one page of HTML. The page is written beside its name and takes the
 * name when it is whole, so that neither bad input nor a full disk costs the page that was there. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/quantity.h"
#include "base/status.h"
#include "cli/cli.h"

#ifdef BENCHFS_REPORT
#include "report/report.h"

/* Where the page goes: to standard output, into what is no regular file (a pipe, /dev/null), or into a new
 * file that takes the name at the end. */
struct destination {
    const char *path;
    FILE *file;
    char temporary[PATH_MAX]; /* empty: written in place */
};

static int open_temporary(struct destination *destination)
{
    int length =
        snprintf(destination->temporary, sizeof(destination->temporary), "%s.XXXXXX", destination->path);
    if (length >= (int)sizeof(destination->temporary))
        return -ENAMETOOLONG;
    int fd = mkostemp(destination->temporary, O_CLOEXEC);
    if (fd < 0) {
        int status = -errno;
        destination->temporary[0] = 0;
        return status;
    }
    mode_t mask = umask(0);
    umask(mask);
    fchmod(fd, 0666 & ~mask);
    destination->file = fdopen(fd, "w");
    return destination->file != NULL ? 0 : -errno;
}

static int open_destination(struct destination *destination)
{
    struct stat status;
    destination->temporary[0] = 0;
    if (strcmp(destination->path, "-") == 0) {
        destination->file = stdout;
        return 0;
    }
    if (stat(destination->path, &status) != 0 || S_ISREG(status.st_mode))
        return open_temporary(destination);
    if (S_ISDIR(status.st_mode))
        return -EISDIR;
    destination->file = fopen(destination->path, "we");
    return destination->file != NULL ? 0 : -errno;
}

/* Ends the page, which takes its name if all went well so far. */
static int close_destination(struct destination *destination, int status)
{
    if (destination->file == stdout)
        return status;
    if (destination->file != NULL && fclose(destination->file) != 0 && status == 0)
        status = -errno;
    if (destination->temporary[0] == 0)
        return status;
    if (status == 0 && rename(destination->temporary, destination->path) != 0)
        status = -errno;
    if (status != 0)
        unlink(destination->temporary);
    return status;
}

static int write_page(const struct report *report, const char *path)
{
    struct destination destination = {.path = path};
    int status = open_destination(&destination);
    if (status == 0)
        status = report_write(report, destination.file);
    struct stat written = {0};
    if (status == 0)
        fstat(fileno(destination.file), &written);
    status = close_destination(&destination, status);
    if (status != 0) {
        cli_error("cannot write the page to \"%s\": %s", path, status_text(status));
        return CLI_FAILED;
    }
    if (destination.file == stdout)
        return CLI_OK;
    uint32_t results = 0, runs = 0;
    for (uint32_t i = 0; i < report->file_count; i++) {
        results += report->files[i].result_count;
        runs += report->files[i].run_count;
    }
    char size[32];
    quantity_format_size((uint64_t)written.st_size / 1024 * 1024, size, sizeof(size));
    printf("%s: %u result%s of %u run%s, %s\n", path, results, results == 1 ? "" : "s", runs,
           runs == 1 ? "" : "s", size);
    return CLI_OK;
}

/* Whether the page would take the place of a file that it is made of. */
static bool is_input(const struct report *report, const char *path)
{
    struct stat output, input;
    if (strcmp(path, "-") == 0 || stat(path, &output) != 0 || !S_ISREG(output.st_mode))
        return false;
    for (uint32_t i = 0; i < report->file_count; i++)
        if (stat(report->paths[i], &input) == 0 && input.st_dev == output.st_dev &&
            input.st_ino == output.st_ino)
            return true;
    return false;
}

/* Returns a cli_exit. */
static int make_page(const struct report *report, const char *path)
{
    uint32_t one, other;
    if (report_check(report, &one, &other) != 0) {
        if (one == other)
            cli_error("\"%s\" holds the same run twice", report->paths[one]);
        else
            cli_error("\"%s\" and \"%s\" hold the same run: give each only once", report->paths[one],
                      report->paths[other]);
        return CLI_USAGE;
    }
    return write_page(report, path);
}

static int report_files(uint32_t count, char **paths, const char *title, const char *output)
{
    char error[1024];
    struct result_file *files = calloc(count, sizeof(*files));
    if (files == NULL) {
        cli_error("%s", status_text(-ENOMEM));
        return CLI_FAILED;
    }
    struct report report = {
        .title = title, .file_count = count, .paths = (const char *const *)paths, .files = files};
    int result = is_input(&report, output)
                     ? cli_usage("\"%s\" is a file of results: -o would replace it", output)
                     : CLI_OK;
    for (uint32_t i = 0; i < count && result == CLI_OK; i++) {
        if (result_file_load(paths[i], &files[i], error, sizeof(error)) != 0) {
            cli_error("cannot read results from \"%s\": %s", paths[i], error);
            result = CLI_USAGE;
        }
    }
    if (result == CLI_OK)
        result = make_page(&report, output);
    for (uint32_t i = 0; i < count; i++)
        result_file_free(&files[i]);
    free(files);
    return result;
}
#else
static int report_files(uint32_t count, char **paths, const char *title, const char *output)
{
    (void)count, (void)paths, (void)title, (void)output;
    cli_error("this benchfs was built without reports (-Dreport=disabled)");
    return CLI_FAILED;
}
#endif

static int run_report(int argc, char **argv)
{
    static const struct option options[] = {
        {"output", required_argument, NULL, 'o'}, {"title", required_argument, NULL, 't'}, CLI_HELP, {0}};
    const char *title = NULL, *output = "report.html";
    int option, result = CLI_OK;
    while ((option = cli_option(argc, argv, ":o:", options, &result)) != -1) {
        if (option == '?')
            return result;
        if (option == 'o')
            output = optarg;
        if (option == 't')
            title = optarg;
    }
    if (optind == argc)
        return cli_usage("no file of results given");
    if (output[0] == 0)
        return cli_usage("-o needs the name of a file");
    return report_files((uint32_t)(argc - optind), argv + optind, title, output);
}

const struct verb verb_report = {
    .name = "report",
    .usage = "[-o FILE] [--title TEXT] RESULTS...",
    .help = "Make a page of plots and tables from the results of benchmarks",
    .text = "  -o, --output FILE  the page [report.html]; \"-\": standard output\n"
            "      --title TEXT   its title\n\n"
            "RESULTS are files that \"benchfs bench ... --output\" or \"benchfs bench import\" wrote; "
            "several are\n"
            "compared with each other. The page needs nothing but a browser, and no network.\n",
    .run = run_report,
};

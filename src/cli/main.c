/* The benchfs command: finds the verb in one table and runs it. Each verb is a file of its own and parses its
 * own options; what they share is in cli.h. Exit codes are the same for all: 0 done, 1 something failed (and
 * was reported on standard error), 2 the command line makes no sense; but for fsck, which has those of
 * fsck(8).
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cli/cli.h"

static const struct verb *const verbs[] = {
    &verb_start, &verb_stop, &verb_status, &verb_top,   &verb_trace, &verb_ls,     &verb_find,
    &verb_stat,  &verb_cat,  &verb_cp,     &verb_mkdir, &verb_rmdir, &verb_rm,     &verb_pin,
    &verb_mount, &verb_run,  &verb_fsck,   &verb_scrub, &verb_bench, &verb_report, &verb_explain,
};

#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

static void print_overview(FILE *out)
{
    fputs("usage: benchfs VERB [ARGUMENT...]\n"
          "An ad hoc parallel file system: start it, use it, measure it, stop it.\n\n",
          out);
    for (size_t i = 0; i < VERBS; i++)
        fprintf(out, "  %-8s %s\n", verbs[i]->name, verbs[i]->help);
    fputs(
        "\nPaths inside BenchFS are absolute; a leading \"benchfs:\" marks them where local paths are "
        "possible too.\n"
        "BENCHFS_CLUSTER names the cluster file (default: in $XDG_RUNTIME_DIR/benchfs or /tmp/benchfs-UID);\n"
        "BENCHFS_SERVERS=HOST:PORT,... with BENCHFS_KEY=FILE finds a cluster without one.\n"
        "\"benchfs VERB --help\" says more. Exit code: 0 done, 1 failed, 2 wrong usage; fsck has its own.\n",
        out);
}

int main(int argc, char **argv)
{
    log_open("benchfs", NULL);
    log_threshold = LOG_ERROR;
    if (argc < 2) {
        print_overview(stderr);
        return CLI_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_overview(stdout);
        return cli_finish_output(CLI_OK);
    }
    if (strcmp(name, "--version") == 0) {
        printf("benchfs %s\n", BENCHFS_VERSION);
        return cli_finish_output(CLI_OK);
    }
    for (size_t i = 0; i < VERBS; i++)
        if (strcmp(name, verbs[i]->name) == 0) {
            cli_verb = verbs[i];
            return cli_finish_output(verbs[i]->run(argc - 1, argv + 1));
        }
    fprintf(stderr, "benchfs: unknown %s \"%s\": \"benchfs --help\" lists the verbs\n",
            name[0] == '-' ? "option" : "verb", name);
    return CLI_USAGE;
}

/* fsck: has the client core compare what the servers hold (client/check.h), and tells what is wrong, a line a
 * finding. Of a running cluster, or of store directories, for which servers are started that only this
 * command can reach (offline.c). Exit codes are those of fsck(8), because scripts know them. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/status.h"
#include "cli/cli.h"
#include "cli/offline.h"
#include "cli/progress.h"
#include "client/check.h"

enum { FSCK_CLEAN = 0, FSCK_REPAIRED = 1, FSCK_LEFT = 4, FSCK_ERROR = 8, FSCK_USAGE = 16 };

struct fsck {
    bool repair;
    const char *store; /* directory of server directories; NULL: the running cluster */
    const struct cluster_map *map;
    struct offline offline;
};

static const char *type_name(uint32_t type)
{
    switch (type & S_IFMT) {
    case S_IFREG:
        return "file";
    case S_IFDIR:
        return "directory";
    case S_IFLNK:
        return "symbolic link";
    case S_IFIFO:
        return "fifo";
    case S_IFSOCK:
        return "socket";
    case S_IFCHR:
    case S_IFBLK:
        return "device";
    default:
        return "thing of no known type";
    }
}

static void print_number(const char *text, uint64_t value)
{
    printf("%s%" PRIu64, text, value);
}

/* Whom the finding is about: a path, or what there is of one. */
static void print_subject(const struct check_finding *finding)
{
    if (finding->path != NULL)
        printf("%s", finding->path);
    else if (finding->name_length > 0)
        printf("\"%s\" in directory %" PRIu64, finding->name, finding->directory);
    else
        print_number("inode ", finding->inode);
    fputs(": ", stdout);
}

/* What is wrong, and how it is mended. */
static const char *print_finding(const struct fsck *fsck, const struct check_finding *finding)
{
    uint32_t server = fsck->map->servers[finding->server].id;
    switch (finding->kind) {
    case CHECK_NO_DIRECTORY:
        fputs("there are names in this directory, but it does not exist", stdout);
        return "made again";
    case CHECK_CYCLE:
        print_number("directory ", finding->inode);
        fputs(" and those above it only lead to one another", stdout);
        return "put into /lost+found";
    case CHECK_UNREACHABLE:
        printf("a %s without a name", type_name(finding->mode));
        return "put into /lost+found";
    case CHECK_SEVERAL_NAMES:
        printf("one of %" PRIu64 " names of directory %" PRIu64, finding->found, finding->inode);
        return "name removed";
    case CHECK_DANGLING:
        printf("leads to inode %" PRIu64 ", which does not exist", finding->inode);
        return finding->outcome == CHECK_REPAIRED && S_ISDIR(finding->type) ? "mended" : "name removed";
    case CHECK_TYPE:
        printf("a %s by name, but a %s", type_name((uint32_t)finding->found), type_name(finding->mode));
        return "set right";
    case CHECK_PLACE:
        printf("stands on server %u where nobody looks for it", server);
        return "moved";
    case CHECK_PARENT:
        printf("\"..\" leads to directory %" PRIu64 ", not %" PRIu64, finding->found, finding->expected);
        return "set right";
    case CHECK_LINKS:
        printf("link count %" PRIu64 ", not %" PRIu64, finding->found, finding->expected);
        return "set right";
    case CHECK_SIZE:
        printf("size %" PRIu64 ", but %" PRIu64 " bytes of data", finding->found, finding->expected);
        return "set right";
    case CHECK_BYTES_BEYOND:
        printf("chunks on server %u up to byte %" PRIu64 ", beyond the size %" PRIu64, server, finding->found,
               finding->expected);
        return "cut";
    case CHECK_ORPHAN_CHUNKS:
        printf("does not exist, but has %" PRIu64 " chunks on server %u", finding->found, server);
        return "dropped";
    default:
        return "unknown";
    }
}

static void report(void *owner, const struct check_finding *finding)
{
    progress_clear();
    print_subject(finding);
    const char *mended = print_finding(owner, finding);
    if (finding->outcome == CHECK_REPAIRED)
        printf(": %s", mended);
    else if (finding->outcome == CHECK_LEFT)
        printf(": not repaired: %s", status_text(finding->status));
    putchar('\n');
}

static void show_progress(void *owner, const char *walk, uint64_t records)
{
    (void)owner;
    progress_note("%s: %" PRIu64, walk, records);
}

static void print_summary(const struct fsck *fsck, const struct check_result *result)
{
    printf("%" PRIu64 " inodes, %" PRIu64 " names, %" PRIu64 " chunks on %u server%s: ", result->inodes,
           result->names, result->chunks, fsck->map->server_count, fsck->map->server_count == 1 ? "" : "s");
    if (result->findings == 0)
        fputs("clean", stdout);
    else if (!fsck->repair)
        printf("%" PRIu64 " wrong; --repair mends", result->findings);
    else
        printf("%" PRIu64 " wrong, %" PRIu64 " repaired, %" PRIu64 " left", result->findings,
               result->repaired, result->left);
    if (result->undecided > 0)
        printf(" (%" PRIu64 " inodes changed all the time and could not be judged)", result->undecided);
    putchar('\n');
}

static int check(struct fsck *fsck)
{
    struct session session;
    struct check_result result;
    if (session_open(&session) != 0)
        return FSCK_ERROR;
    fsck->map = client_map(session.client);
    struct check_options options = {
        .repair = fsck->repair, .report = report, .progress = show_progress, .owner = fsck};
    int status = client_check(session.client, &options, &result);
    progress_end();
    if (status != 0)
        cli_error("cannot look through the servers: %s", status_text(status));
    else
        print_summary(fsck, &result);
    session_close(&session);
    if (status != 0)
        return FSCK_ERROR;
    if (fsck->repair ? result.left > 0 : result.findings > 0)
        return FSCK_LEFT;
    return result.findings > 0 ? FSCK_REPAIRED : FSCK_CLEAN;
}

static int check_store(struct fsck *fsck)
{
    if (offline_start(&fsck->offline, fsck->store, fsck->repair) != 0)
        return FSCK_ERROR;
    int result = check(fsck);
    if (offline_stop(&fsck->offline) != 0)
        result |= FSCK_ERROR;
    return result;
}

/* ---- the command line ---- */

/* 0, or -EINVAL with the reason printed. */
static int set_option(struct config *config, const char *text)
{
    char table[64], key[64], error[512];
    if (sscanf(text, "%63[^.=].%63[^=]=", table, key) != 2 || strchr(text, '=') == NULL) {
        cli_usage("\"%s\" is not TABLE.KEY=VALUE", text);
        return -EINVAL;
    }
    int status = config_set(config, table, key, strchr(text, '=') + 1, error, sizeof(error));
    if (status != 0)
        cli_usage("%s", error);
    return status;
}

static int take_option(struct fsck *fsck, int option, const char *value)
{
    char error[512];
    int status = 0;
    switch (option) {
    case 'r':
        fsck->repair = true;
        break;
    case 's':
        fsck->store = value;
        break;
    case 'c':
        status = config_read_file(&fsck->offline.config, value, error, sizeof(error));
        if (status != 0)
            cli_usage("%s", error);
        break;
    default:
        status = set_option(&fsck->offline.config, value);
        break;
    }
    return status;
}

static int run_fsck(int argc, char **argv)
{
    static const struct option options[] = {{"repair", no_argument, NULL, 'r'},
                                            {"store", required_argument, NULL, 's'},
                                            {"config", required_argument, NULL, 'c'},
                                            {"set", required_argument, NULL, 'S'},
                                            CLI_HELP,
                                            {0}};
    static struct fsck fsck;
    int result = CLI_OK;
    bool configured = false;
    config_defaults(&fsck.offline.config);
    for (int option; (option = cli_option(argc, argv, ":c:", options, &result)) != -1;) {
        if (option == '?')
            return result == CLI_OK ? FSCK_CLEAN : FSCK_USAGE;
        configured |= option == 'c' || option == 'S';
        if (take_option(&fsck, option, optarg) != 0)
            return FSCK_USAGE;
    }
    if (optind < argc) {
        cli_usage("unexpected argument \"%s\"", argv[optind]);
        return FSCK_USAGE;
    }
    if (configured && fsck.store == NULL) {
        cli_usage("a configuration is for --store: the running cluster has one");
        return FSCK_USAGE;
    }
    clock_prepare();
    progress_begin(0, 0);
    return fsck.store != NULL ? check_store(&fsck) : check(&fsck);
}

const struct verb verb_fsck = {
    .name = "fsck",
    .usage = "[--repair] [--store DIRECTORY [-c CONFIG] [--set TABLE.KEY=VALUE]...]",
    .help = "Check that names, inodes and data of all servers belong together",
    .text = "      --repair     mend what is wrong; without it nothing is changed\n"
            "      --store DIR  of servers that do not run: their directories DIR/0, DIR/1, ...\n"
            "                   Without --repair not a byte of them is changed\n"
            "  -c, --config FILE  for --store: the cluster's configuration, if it was not the default\n"
            "      --set TABLE.KEY=VALUE  the same, one option\n"
            "The cluster may be in use. Exit code: 0 clean, 1 repaired, 4 something wrong is left,\n"
            "8 it could not be checked, 16 wrong usage.\n",
    .run = run_fsck,
};

/* ls: one directory after another, sorted by name; -U prints in the servers' order as it arrives, for
 * directories too large to hold. With -R the subdirectories of a directory are listed after it, depth first,
 * as ls(1) does. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/status.h"
#include "base/terminal.h"
#include "cli/cli.h"

struct ls {
    struct client *client;
    bool all;
    bool details;
    bool recursive;
    bool directory_itself;
    bool unsorted;
    bool failed;
    bool printed; /* something, so that the next heading wants an empty line before it */
    bool terminal;
};

struct row {
    struct attributes attributes;
    char *name;
};

struct rows {
    struct row *items;
    size_t count;
    size_t capacity;
};

static void rows_free(struct rows *rows)
{
    for (size_t i = 0; i < rows->count; i++)
        free(rows->items[i].name);
    free(rows->items);
}

static int rows_add(struct rows *rows, const struct client_entry *entry)
{
    if (rows->count == rows->capacity) {
        size_t capacity = rows->capacity == 0 ? 64 : rows->capacity * 2;
        struct row *items = realloc(rows->items, capacity * sizeof(*items));
        if (items == NULL)
            return -ENOMEM;
        rows->items = items;
        rows->capacity = capacity;
    }
    char *name = strdup(entry->name);
    if (name == NULL)
        return -ENOMEM;
    rows->items[rows->count++] = (struct row){entry->attributes, name};
    return 0;
}

static int compare_rows(const void *a, const void *b)
{
    return strcmp(((const struct row *)a)->name, ((const struct row *)b)->name);
}

/* A name may hold anything; what would move a terminal's cursor is shown as "?". */
static void print_name(const struct ls *ls, const char *name)
{
    if (!ls->terminal) {
        fputs(name, stdout);
        return;
    }
    for (struct terminal_character next; (next = terminal_character(name)).bytes != 0; name += next.bytes)
        fwrite(next.shown ? name : "?", next.shown ? next.bytes : 1, 1, stdout);
}

static void print_owner(uint32_t uid, uint32_t gid)
{
    const struct passwd *user = getpwuid(uid);
    if (user != NULL)
        printf(" %-8s", user->pw_name);
    else
        printf(" %-8u", uid);
    const struct group *group = getgrgid(gid);
    if (group != NULL)
        printf(" %-8s", group->gr_name);
    else
        printf(" %-8u", gid);
}

/* Not inlined: its buffers must not add to each level of the recursion; nor those of collect. */
__attribute__((noinline)) static void print_row(const struct ls *ls, const char *directory, const char *name,
                                                const struct attributes *attributes)
{
    if (!ls->details) {
        print_name(ls, name);
        putchar('\n');
        return;
    }
    char mode[11];
    mode_text(attributes->mode, mode);
    printf("%s %3u", mode, attributes->links);
    print_owner(attributes->uid, attributes->gid);
    char when[32] = "?";
    time_t seconds = (time_t)(attributes->modify_time / (int64_t)NSEC_PER_SEC);
    struct tm local;
    if (localtime_r(&seconds, &local) != NULL)
        strftime(when, sizeof(when), "%Y-%m-%d %H:%M", &local);
    printf(" %10" PRIu64 " %s ", attributes->size, when);
    print_name(ls, name);
    if (S_ISLNK(attributes->mode)) {
        char path[CLI_PATH_SIZE];
        char target[SYMLINK_LENGTH_MAX + 1];
        ssize_t length = -ENAMETOOLONG;
        if (directory == NULL || path_join(directory, name, path) == 0)
            length = client_readlink(ls->client, INODE_ROOT, directory == NULL ? name : path, target,
                                     sizeof(target) - 1);
        if (length >= 0) {
            target[length] = '\0';
            fputs(" -> ", stdout);
            print_name(ls, target);
        }
    }
    putchar('\n');
}

static void report(struct ls *ls, const char *path, int status)
{
    cli_error("cannot list \"%s\": %s", path, status_text(status));
    ls->failed = true;
}

/* Collects the entries that are shown. Prints them at once when unsorted; then only directories are kept, for
 * -R. */
__attribute__((noinline)) static int collect(struct ls *ls, const char *path, struct rows *rows)
{
    struct client_file directory;
    int status = client_open(ls->client, INODE_ROOT, path, O_RDONLY | O_DIRECTORY, 0, &directory);
    if (status != 0)
        return status;
    client_close(ls->client, &directory);
    struct client_listing *listing;
    status = client_list_open(ls->client, directory.inode, 0, ls->details, NULL, NULL, &listing);
    if (status != 0)
        return status;
    struct client_entry entry;
    while ((status = client_list_next(listing, &entry)) > 0) {
        if (!ls->all && entry.name[0] == '.')
            continue;
        if (ls->unsorted)
            print_row(ls, path, entry.name, &entry.attributes);
        if ((!ls->unsorted || (ls->recursive && S_ISDIR(entry.attributes.mode))) &&
            (status = rows_add(rows, &entry)) != 0)
            break;
    }
    client_list_close(listing);
    return status;
}

static void list_directory(struct ls *ls, const char *path, bool heading)
{
    if (heading) {
        if (ls->printed)
            putchar('\n');
        print_name(ls, path);
        fputs(":\n", stdout);
    }
    ls->printed = true;
    struct rows rows = {0};
    int status = collect(ls, path, &rows);
    if (status != 0)
        report(ls, path, status);
    if (rows.count > 0)
        qsort(rows.items, rows.count, sizeof(*rows.items), compare_rows);
    for (size_t i = 0; i < rows.count && !ls->unsorted; i++)
        print_row(ls, path, rows.items[i].name, &rows.items[i].attributes);
    if (ls->recursive) {
        char *child = malloc(CLI_PATH_SIZE);
        for (size_t i = 0; i < rows.count; i++) {
            if (!S_ISDIR(rows.items[i].attributes.mode))
                continue;
            status = child == NULL ? -ENOMEM : path_join(path, rows.items[i].name, child);
            if (status == 0)
                list_directory(ls, child, true);
            else
                report(ls, path, status);
        }
        free(child);
    }
    rows_free(&rows);
}

static void list_path(struct ls *ls, const char *path, bool heading)
{
    struct attributes attributes;
    /* As with ls(1), a link to a directory names the directory unless details are asked for. */
    int status =
        client_stat(ls->client, INODE_ROOT, path, !ls->details && !ls->directory_itself, &attributes);
    if (status == -ENOENT)
        status = client_stat(ls->client, INODE_ROOT, path, false, &attributes);
    if (status != 0) {
        report(ls, path, status);
    } else if (S_ISDIR(attributes.mode) && !ls->directory_itself) {
        list_directory(ls, path, heading || ls->recursive);
    } else {
        print_row(ls, NULL, path, &attributes);
        ls->printed = true;
    }
}

static int run_ls(int argc, char **argv)
{
    static const struct option options[] = {{"all", no_argument, NULL, 'a'},
                                            {"recursive", no_argument, NULL, 'R'},
                                            {"directory", no_argument, NULL, 'd'},
                                            CLI_HELP,
                                            {0}};
    struct ls ls = {.terminal = isatty(STDOUT_FILENO)};
    int result = CLI_OK;
    for (int option; (option = cli_option(argc, argv, ":alRdU1", options, &result)) != -1;)
        switch (option) {
        case 'a':
            ls.all = true;
            break;
        case 'l':
            ls.details = true;
            break;
        case 'R':
            ls.recursive = true;
            break;
        case 'd':
            ls.directory_itself = true;
            break;
        case 'U':
            ls.unsorted = true;
            break;
        case '1':
            break;
        default:
            return result;
        }
    for (int i = optind; i < argc; i++)
        if (path_parse(argv[i]) == NULL)
            return CLI_USAGE;
    struct session session;
    if (session_open(&session) != 0)
        return CLI_FAILED;
    ls.client = session.client;
    if (optind == argc)
        list_path(&ls, "/", false);
    for (int i = optind; i < argc; i++)
        list_path(&ls, path_parse(argv[i]), argc - optind > 1);
    session_close(&session);
    return ls.failed ? CLI_FAILED : CLI_OK;
}

const struct verb verb_ls = {
    .name = "ls",
    .usage = "[-a] [-l] [-R] [-d] [-U] [PATH...]",
    .help = "List directories",
    .text = "Without PATH the root is listed. One name a line, sorted by bytes.\n"
            "  -a, --all        names that begin with \".\" too\n"
            "  -l               mode, links, owner, group, size, time of modification, target of a link\n"
            "  -R, --recursive  all directories below, too\n"
            "  -d, --directory  the directory itself, not what is in it\n"
            "  -U               do not sort: print entries as they arrive\n",
    .run = run_ls,
};

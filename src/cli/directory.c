/* mkdir and rmdir. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/status.h"
#include "cli/cli.h"

/* umask(2) can only be read by changing it; this program has one thread. */
static mode_t current_umask(void)
{
    mode_t mask = umask(0);
    umask(mask);
    return mask;
}

/* Makes the directories above path's last component as far as they are missing; with write and search
 * permission for the owner whatever the umask, as mkdir(1) does. */
static int make_parents(struct client *client, const char *path, mode_t mask)
{
    char parent[CLI_PATH_SIZE];
    if (strlen(path) >= sizeof(parent))
        return -ENAMETOOLONG;
    strcpy(parent, path);
    for (char *at = parent + 1; *at != '\0'; at++) {
        if (*at != '/' || at[1] == '/' || at[1] == '\0')
            continue;
        *at = '\0';
        int status = client_mkdir(client, INODE_ROOT, parent, (0777 & ~mask) | 0300);
        if (status != 0 && status != -EEXIST)
            return status;
        *at = '/';
    }
    return 0;
}

struct making {
    bool parents;
    mode_t mode, mask;
};

static int make(struct client *client, const char *path, const struct making *making)
{
    int status = client_mkdir(client, INODE_ROOT, path, making->mode);
    if (!making->parents)
        return status;
    if (status == -ENOENT) {
        status = make_parents(client, path, making->mask);
        if (status == 0)
            status = client_mkdir(client, INODE_ROOT, path, making->mode);
    }
    if (status == -EEXIST) {
        struct attributes attributes;
        int found = client_stat(client, INODE_ROOT, path, true, &attributes);
        return found == 0 && !S_ISDIR(attributes.mode) ? -EEXIST : found;
    }
    return status;
}

static int make_directory(const struct session *session, const char *path, void *argument)
{
    int status = make(session->client, path, argument);
    if (status == 0)
        return CLI_OK;
    cli_error("cannot make directory \"%s\": %s", path, status_text(status));
    return CLI_FAILED;
}

static int run_mkdir(int argc, char **argv)
{
    static const struct option options[] = {
        {"parents", no_argument, NULL, 'p'}, {"mode", required_argument, NULL, 'm'}, CLI_HELP, {0}};
    struct making making = {.mask = current_umask()};
    making.mode = 0777 & ~making.mask;
    int result = CLI_OK;
    for (int option; (option = cli_option(argc, argv, ":pm:", options, &result)) != -1;)
        switch (option) {
        case 'p':
            making.parents = true;
            break;
        case 'm': {
            char *end;
            unsigned long value = strtoul(optarg, &end, 8);
            if (*optarg == '\0' || *end != '\0' || value > 07777)
                return cli_usage("mode \"%s\" is not an octal number up to 7777", optarg);
            making.mode = (mode_t)value;
            break;
        }
        default:
            return result;
        }
    return session_for_each(argc, argv, "directory", make_directory, &making);
}

static int remove_directory(const struct session *session, const char *path, void *argument)
{
    (void)argument;
    int status = client_rmdir(session->client, INODE_ROOT, path);
    if (status == 0)
        return CLI_OK;
    cli_error("cannot remove directory \"%s\": %s", path, status_text(status));
    return CLI_FAILED;
}

static int run_rmdir(int argc, char **argv)
{
    static const struct option options[] = {CLI_HELP, {0}};
    int result = CLI_OK;
    if (cli_option(argc, argv, ":", options, &result) != -1)
        return result;
    return session_for_each(argc, argv, "directory", remove_directory, NULL);
}

const struct verb verb_mkdir = {
    .name = "mkdir",
    .usage = "[-p] [-m MODE] DIRECTORY...",
    .help = "Make directories",
    .text = "  -p, --parents    make missing parents too; an existing directory is no error\n"
            "  -m, --mode MODE  octal permissions in place of 0777 less the umask\n",
    .run = run_mkdir,
};

const struct verb verb_rmdir = {
    .name = "rmdir",
    .usage = "DIRECTORY...",
    .help = "Remove empty directories",
    .text = "",
    .run = run_rmdir,
};

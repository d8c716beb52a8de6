/* pin: where a file's contents are to be, with the engine tiered. Sets, removes or shows the extended
 * attribute user.benchfs.tier, which setfattr(1) does as well where there is a mount. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "cli/cli.h"

#define ATTRIBUTE "user.benchfs.tier"

static int show(struct client *client, const struct client_place *place)
{
    char value[16];
    ssize_t length = client_getxattr(client, place, ATTRIBUTE, value, sizeof(value));
    if (length == -ENODATA)
        length = (ssize_t)strlen(strcpy(value, "any"));
    if (length < 0)
        return (int)length;
    printf("%.*s\t%s\n", (int)length, value, place->path);
    return 0;
}

/* tier NULL: show; "": remove. */
static int pin(struct client *client, const char *path, const char *tier)
{
    const struct client_place place = {.inode = INODE_ROOT, .path = path, .follow = true};
    if (tier == NULL)
        return show(client, &place);
    if (*tier != '\0')
        return client_setxattr(client, &place, ATTRIBUTE, tier, strlen(tier), 0);
    int status = client_removexattr(client, &place, ATTRIBUTE);
    return status == -ENODATA ? 0 : status;
}

static int pin_path(const struct session *session, const char *path, void *argument)
{
    const char *tier = *(const char **)argument;
    int status = pin(session->client, path, tier);
    if (status == 0)
        return CLI_OK;
    cli_error("cannot %s \"%s\": %s%s", tier == NULL ? "show" : "pin", path, status_text(status),
              status == -EINVAL ? " (only regular files can be pinned)" : "");
    return CLI_FAILED;
}

static int run_pin(int argc, char **argv)
{
    static const struct option options[] = {{"fast", no_argument, NULL, 'f'},
                                            {"slow", no_argument, NULL, 's'},
                                            {"any", no_argument, NULL, 'a'},
                                            CLI_HELP,
                                            {0}};
    const char *tier = NULL;
    int result = CLI_OK;
    for (int option; (option = cli_option(argc, argv, ":", options, &result)) != -1;) {
        if (option == '?')
            return result;
        if (tier != NULL)
            return cli_usage("only one of --fast, --slow and --any is possible");
        tier = option == 'f' ? "fast" : option == 's' ? "slow" : "";
    }
    return cli_finish_output(session_for_each(argc, argv, "file", pin_path, &tier));
}

const struct verb verb_pin = {
    .name = "pin",
    .usage = "[--fast | --slow | --any] FILE...",
    .help = "Say in which tier files are to be (store.engine = tiered)",
    .text = "      --fast  in store.fast, as long as it has room\n"
            "      --slow  in store.slow only\n"
            "      --any   as they are used, which is the default\n"
            "Without an option, shows it. It is the extended attribute user.benchfs.tier and lasts as\n"
            "long as the file; contents move in the background.\n",
    .run = run_pin,
};

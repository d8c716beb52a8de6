/* rm: files at once, directories when the last thing in them is gone.
 *
 * The tree is walked depth first on the main thread while a pool of tasks removes files. Every directory
 * counts what is still in it, plus one for its walk; whoever takes the count to zero removes the directory,
 * and so on upwards. A failure below leaves the directories above alone: they are not empty anyway, and one
 * line says why. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/status.h"
#include "cli/cli.h"

#define WIDTH 32

struct removal {
    struct client *client;
    struct pool pool;
    bool force;
    bool failed;
};

struct directory {
    struct removal *removal;
    struct directory *parent;
    uint32_t pending;
    bool failed; /* something in it could not be removed */
    char path[]; /* absolute */
};

struct victim {
    struct directory *directory;
    char name[];
};

static void report(struct removal *removal, const char *path, int status)
{
    cli_error("cannot remove \"%s\": %s", path, status_text(status));
    removal->failed = true;
}

static struct directory *directory_create(struct removal *removal, struct directory *parent, const char *path)
{
    struct directory *directory = malloc(sizeof(*directory) + strlen(path) + 1);
    if (directory == NULL)
        return NULL;
    *directory = (struct directory){.removal = removal, .parent = parent, .pending = 1};
    strcpy(directory->path, path);
    if (parent != NULL)
        parent->pending++;
    return directory;
}

/* One thing less in the directory; runs upwards as long as that was the last one. */
static void directory_done(struct directory *directory)
{
    while (directory != NULL && --directory->pending == 0) {
        struct directory *parent = directory->parent;
        if (!directory->failed) {
            int status = client_rmdir(directory->removal->client, INODE_ROOT, directory->path);
            if (status != 0) {
                report(directory->removal, directory->path, status);
                directory->failed = true;
            }
        }
        if (parent != NULL && directory->failed)
            parent->failed = true;
        free(directory);
        directory = parent;
    }
}

static void remove_file(void *argument)
{
    struct victim *victim = argument;
    struct directory *directory = victim->directory;
    char path[CLI_PATH_SIZE];
    int status = path_join(directory->path, victim->name, path);
    if (status == 0)
        status = client_unlink(directory->removal->client, INODE_ROOT, path);
    if (status != 0) {
        report(directory->removal, path, status);
        directory->failed = true;
    }
    free(victim);
    directory_done(directory);
}

static int start_removal(struct directory *directory, const char *name)
{
    struct victim *victim = malloc(sizeof(*victim) + strlen(name) + 1);
    if (victim == NULL)
        return -ENOMEM;
    victim->directory = directory;
    strcpy(victim->name, name);
    directory->pending++;
    int status = pool_start(&directory->removal->pool, remove_file, victim);
    if (status != 0) {
        directory->pending--;
        free(victim);
    }
    return status;
}

/* Names of subdirectories, kept until the listing is done so that only one listing is open at a time. */
struct names {
    char **items;
    size_t count;
    size_t capacity;
};

static int names_add(struct names *names, const char *name)
{
    if (names->count == names->capacity) {
        size_t capacity = names->capacity == 0 ? 16 : names->capacity * 2;
        char **items = realloc(names->items, capacity * sizeof(*items));
        if (items == NULL)
            return -ENOMEM;
        names->items = items;
        names->capacity = capacity;
    }
    names->items[names->count] = strdup(name);
    return names->items[names->count++] == NULL ? -ENOMEM : 0;
}

static int list_directory(struct directory *directory, struct names *subdirectories)
{
    struct client *client = directory->removal->client;
    struct client_file opened;
    int status =
        client_open(client, INODE_ROOT, directory->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &opened);
    if (status != 0)
        return status;
    client_close(client, &opened);
    struct client_listing *listing;
    status = client_list_open(client, opened.inode, 0, false, NULL, NULL, &listing);
    if (status != 0)
        return status;
    struct client_entry *entry = malloc(sizeof(*entry));
    status = entry == NULL ? -ENOMEM : 1;
    while (status > 0 && (status = client_list_next(listing, entry)) > 0) {
        int step = S_ISDIR(entry->attributes.mode) ? names_add(subdirectories, entry->name)
                                                   : start_removal(directory, entry->name);
        if (step != 0)
            status = step;
    }
    free(entry);
    client_list_close(listing);
    return status;
}

static void remove_tree(struct removal *removal, struct directory *parent, const char *path)
{
    struct directory *directory = directory_create(removal, parent, path);
    if (directory == NULL) {
        report(removal, path, -ENOMEM);
        if (parent != NULL)
            parent->failed = true;
        return;
    }
    struct names subdirectories = {0};
    int status = list_directory(directory, &subdirectories);
    if (status != 0) {
        report(removal, path, status);
        directory->failed = true;
    }
    char *child = malloc(CLI_PATH_SIZE);
    for (size_t i = 0; i < subdirectories.count; i++) {
        status = child == NULL || subdirectories.items[i] == NULL
                     ? -ENOMEM
                     : path_join(path, subdirectories.items[i], child);
        if (status == 0) {
            remove_tree(removal, directory, child);
        } else {
            report(removal, path, status);
            directory->failed = true;
        }
        free(subdirectories.items[i]);
    }
    free(child);
    free(subdirectories.items);
    directory_done(directory);
}

static void remove_path(struct removal *removal, const char *path, bool recursive)
{
    struct attributes attributes;
    int status = client_stat(removal->client, INODE_ROOT, path, false, &attributes);
    if (status == -ENOENT && removal->force)
        return;
    if (status == 0 && S_ISDIR(attributes.mode)) {
        if (!recursive) {
            cli_error("\"%s\" is a directory: use -r to remove it and all in it", path);
            removal->failed = true;
        } else if (attributes.inode == INODE_ROOT) {
            cli_error("will not remove \"/\": name what is in it");
            removal->failed = true;
        } else {
            remove_tree(removal, NULL, path);
            pool_wait(&removal->pool);
        }
        return;
    }
    if (status == 0)
        status = client_unlink(removal->client, INODE_ROOT, path);
    if (status != 0)
        report(removal, path, status);
}

static int run_rm(int argc, char **argv)
{
    static const struct option options[] = {
        {"recursive", no_argument, NULL, 'r'}, {"force", no_argument, NULL, 'f'}, CLI_HELP, {0}};
    struct removal removal = {0};
    bool recursive = false;
    int result = CLI_OK;
    for (int option; (option = cli_option(argc, argv, ":rRf", options, &result)) != -1;)
        switch (option) {
        case 'r':
        case 'R':
            recursive = true;
            break;
        case 'f':
            removal.force = true;
            break;
        default:
            return result;
        }
    if (optind == argc)
        return removal.force ? CLI_OK : cli_usage("no path given");
    for (int i = optind; i < argc; i++)
        if (path_parse(argv[i]) == NULL)
            return CLI_USAGE;
    struct session session;
    if (session_open(&session) != 0)
        return CLI_FAILED;
    removal.client = session.client;
    pool_init(&removal.pool, session.loop, WIDTH);
    for (int i = optind; i < argc; i++)
        remove_path(&removal, path_parse(argv[i]), recursive);
    session_close(&session);
    return removal.failed ? CLI_FAILED : CLI_OK;
}

const struct verb verb_rm = {
    .name = "rm",
    .usage = "[-r] [-f] PATH...",
    .help = "Remove files, or whole directories with -r",
    .text = "  -r, --recursive  remove directories with all that is in them\n"
            "  -f, --force      a path that does not exist is no error\n",
    .run = run_rm,
};

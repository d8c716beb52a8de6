/* find: the servers evaluate the predicate, the client walks.
 *
 * A listing with a filter asks all servers for one directory at once; each returns the entries that match and
 * all directories. Several directories are listed at the same time, so the order of the output is not that of
 * the tree. What a filter on the wire cannot say (files of exactly no bytes) is checked here. */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/status.h"
#include "cli/cli.h"

#define WIDTH 8

struct find {
    struct client *client;
    struct loop *loop;
    struct list_filter filter;
    const char *pattern;
    const char *newer; /* path, until it was looked up */
    bool empty_only;   /* size must be 0 */
    bool nothing;      /* no size can match */
    bool failed;
    struct list queue; /* directories to list */
    struct semaphore queued;
    uint32_t unlisted; /* queued or being listed */
    bool done;
};

struct directory {
    struct list link;
    char path[];
};

static void report(struct find *find, const char *path, int status)
{
    cli_error("cannot search \"%s\": %s", path, status_text(status));
    find->failed = true;
}

static int enqueue(struct find *find, const char *path)
{
    struct directory *directory = malloc(sizeof(*directory) + strlen(path) + 1);
    if (directory == NULL)
        return -ENOMEM;
    strcpy(directory->path, path);
    list_push_front(&find->queue, &directory->link);
    find->unlisted++;
    semaphore_release(find->loop, &find->queued, 1);
    return 0;
}

/* The predicate, for starting points and for what the servers' filter leaves open. */
static bool matches(const struct find *find, const char *path, const struct attributes *attributes)
{
    const struct list_filter *filter = &find->filter;
    if (find->nothing || (find->empty_only && attributes->size != 0))
        return false;
    if (attributes->size < filter->size_min || (filter->size_max != 0 && attributes->size > filter->size_max))
        return false;
    if (filter->newer != INT64_MIN && attributes->modify_time <= filter->newer)
        return false;
    if (filter->type != 0 && (attributes->mode & S_IFMT) != filter->type)
        return false;
    if (filter->pattern_length == 0)
        return true;
    const char *base;
    char name[NAME_LENGTH_MAX + 1];
    size_t length = path_base(path, &base);
    if (length > NAME_LENGTH_MAX)
        return false;
    memcpy(name, base, length);
    name[length] = '\0';
    return fnmatch(find->pattern, name, 0) == 0;
}

static void visit(struct find *find, const char *path, const struct client_entry *entry)
{
    if (entry->matches && !find->nothing && (!find->empty_only || entry->attributes.size == 0))
        puts(path);
    if (S_ISDIR(entry->attributes.mode)) {
        int status = enqueue(find, path);
        if (status != 0)
            report(find, path, status);
    }
}

static int list_directory(struct find *find, const char *path, struct client_entry *entry, char *child)
{
    struct client_file directory;
    int status =
        client_open(find->client, INODE_ROOT, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &directory);
    if (status != 0)
        return status;
    client_close(find->client, &directory);
    struct client_listing *listing;
    status = client_list_open(find->client, directory.inode, 0, find->empty_only, &find->filter,
                              find->pattern, &listing);
    if (status != 0)
        return status;
    while ((status = client_list_next(listing, entry)) > 0) {
        status = path_join(path, entry->name, child);
        if (status != 0)
            break;
        visit(find, child, entry);
    }
    client_list_close(listing);
    return status;
}

/* One of WIDTH tasks. The last directory's worker wakes the others to end. */
static void list_directories(void *argument)
{
    struct find *find = argument;
    struct client_entry *entry = malloc(sizeof(*entry));
    char *child = malloc(CLI_PATH_SIZE);
    for (;;) {
        semaphore_acquire(find->loop, &find->queued, 1, 0);
        if (find->done)
            break;
        struct directory *directory = container_of(list_pop_front(&find->queue), struct directory, link);
        int status =
            entry == NULL || child == NULL ? -ENOMEM : list_directory(find, directory->path, entry, child);
        if (status != 0)
            report(find, directory->path, status);
        free(directory);
        if (--find->unlisted == 0) {
            find->done = true;
            semaphore_release(find->loop, &find->queued, WIDTH);
        }
    }
    free(entry);
    free(child);
}

static void start_at(struct find *find, const char *path)
{
    struct attributes attributes;
    int status = client_stat(find->client, INODE_ROOT, path, false, &attributes);
    if (status != 0) {
        report(find, path, status);
        return;
    }
    if (matches(find, path, &attributes))
        puts(path);
    if (!S_ISDIR(attributes.mode))
        return;
    list_init(&find->queue);
    semaphore_init(&find->queued, 0);
    find->unlisted = 0;
    find->done = false;
    struct pool pool;
    pool_init(&pool, find->loop, WIDTH);
    status = enqueue(find, path);
    uint32_t workers = 0;
    while (status == 0 && workers < WIDTH && (status = pool_start(&pool, list_directories, find)) == 0)
        workers++;
    if (workers == 0)
        report(find, path, status);
    pool_wait(&pool);
    for (struct list *node; (node = list_pop_front(&find->queue)) != NULL;)
        free(container_of(node, struct directory, link));
}

/* ---- the command line ---- */

/* [+-]N[cwbkMG] as in find(1): N units, sizes rounded up to whole units. */
static bool parse_size(struct find *find, const char *text)
{
    static const struct {
        char letter;
        uint64_t bytes;
    } units[] = {{'c', 1}, {'w', 2}, {'b', 512}, {'\0', 512}, {'k', 1024}, {'M', 1 << 20}, {'G', 1 << 30}};
    char sign = *text == '+' || *text == '-' ? *text++ : '=';
    if (*text < '0' || *text > '9')
        return false;
    char *end;
    errno = 0;
    uint64_t count = strtoull(text, &end, 10);
    uint64_t unit = 0;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (*end == units[i].letter)
            unit = units[i].bytes;
    if (errno != 0 || unit == 0 || (*end != '\0' && end[1] != '\0') || count > (UINT64_MAX >> 1) / unit)
        return false;
    uint64_t least = 0, most = UINT64_MAX;
    if (sign == '+')
        least = count * unit + 1;
    else if (count == 0 && sign == '-')
        find->nothing = true;
    else if (sign == '-')
        most = (count - 1) * unit;
    else {
        least = count == 0 ? 0 : (count - 1) * unit + 1;
        most = count * unit;
    }
    if (least > find->filter.size_min)
        find->filter.size_min = least;
    if (most == 0)
        find->empty_only = true;
    else if (most != UINT64_MAX && (find->filter.size_max == 0 || most < find->filter.size_max))
        find->filter.size_max = most;
    return true;
}

static bool parse_type(struct find *find, const char *text)
{
    static const struct {
        char letter;
        uint32_t type;
    } types[] = {{'f', S_IFREG}, {'d', S_IFDIR}, {'l', S_IFLNK}};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (text[0] == types[i].letter && text[1] == '\0') {
            find->filter.type = types[i].type;
            return true;
        }
    return false;
}

/* Predicates begin with one "-" and are words, so getopt is of no use. Returns CLI_OK or CLI_USAGE. */
static int parse_predicates(struct find *find, int argc, char **argv, int at)
{
    for (; at < argc; at += 2) {
        const char *name = argv[at];
        const char *value = argv[at + 1];
        if (strcmp(name, "-name") != 0 && strcmp(name, "-type") != 0 && strcmp(name, "-size") != 0 &&
            strcmp(name, "-newer") != 0)
            return cli_usage(name[0] == '-' ? "unknown option \"%s\"" : "path \"%s\" after the predicates",
                             name);
        if (value == NULL)
            return cli_usage("option \"%s\" needs an argument", name);
        for (int other = at + 2; other < argc; other += 2)
            if (strcmp(argv[other], name) == 0 && strcmp(name, "-size") != 0)
                return cli_usage("option \"%s\" is given twice", name);
        if (strcmp(name, "-name") == 0) {
            if (strlen(value) > UINT8_MAX)
                return cli_usage("pattern of -name is longer than 255 bytes");
            find->pattern = value;
            find->filter.pattern_length = (uint8_t)strlen(value);
            if (value[0] == '\0')
                find->nothing = true;
        } else if (strcmp(name, "-type") == 0) {
            if (!parse_type(find, value))
                return cli_usage("type \"%s\" is not one of f, d, l", value);
        } else if (strcmp(name, "-size") == 0) {
            if (!parse_size(find, value))
                return cli_usage("size \"%s\" is not [+-]N or that with one of c, w, b, k, M, G behind it",
                                 value);
        } else if ((find->newer = path_parse(value)) == NULL) {
            return CLI_USAGE;
        }
    }
    return CLI_OK;
}

static int run_find(int argc, char **argv)
{
    struct find find = {.filter.newer = INT64_MIN};
    int paths = 1;
    while (paths < argc && argv[paths][0] != '-')
        paths++;
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0) {
            cli_print_help(cli_verb);
            return CLI_OK;
        }
    for (int i = 1; i < paths; i++)
        if (path_parse(argv[i]) == NULL)
            return CLI_USAGE;
    int result = parse_predicates(&find, argc, argv, paths);
    if (result != CLI_OK)
        return result;
    struct session session;
    if (session_open(&session) != 0)
        return CLI_FAILED;
    find.client = session.client;
    find.loop = session.loop;
    if (find.newer != NULL) {
        struct attributes attributes;
        int status = client_stat(find.client, INODE_ROOT, find.newer, true, &attributes);
        if (status != 0) {
            cli_error("cannot stat \"%s\": %s", find.newer, status_text(status));
            session_close(&session);
            return CLI_FAILED;
        }
        find.filter.newer = attributes.modify_time;
    }
    if (paths == 1)
        start_at(&find, "/");
    for (int i = 1; i < paths; i++)
        start_at(&find, path_parse(argv[i]));
    session_close(&session);
    return find.failed ? CLI_FAILED : CLI_OK;
}

const struct verb verb_find = {
    .name = "find",
    .usage = "[PATH...] [-name PATTERN] [-type f|d|l] [-size [+-]N[cwbkMG]] [-newer PATH]",
    .help = "Search directories; the servers evaluate the conditions in parallel",
    .text = "All conditions must hold. Prints paths, one a line, in no order.\n"
            "  -name PATTERN  the name matches, as in a shell: *, ?, [...]\n"
            "  -type T        f file, d directory, l symbolic link\n"
            "  -size N        N units (512 bytes; c bytes, w 2, k 1024, M 1024k, G 1024M), rounded up;\n"
            "                 +N more, -N less\n"
            "  -newer PATH    modified later than PATH (inside BenchFS)\n",
    .run = run_find,
};

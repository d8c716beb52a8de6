/* Several workers on the same few names.
 *
 * They work in rounds: each does a few random operations at once with the others, then all rest, and one
 * client looks at everything. The round must be explained by an order of its operations (history.h) that ends
 * in what was seen. A list and a write to several chunks are no single steps, by POSIX neither, so they are
 * not among them. */
#include "history.h"
#include "seeds.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"

#define CLIENTS 3
#define ROUNDS 60
#define EVENTS_EACH 3
#define FAILURE_SIZE 8192

struct scene {
    struct history history;
    struct event pending[HISTORY_WORKERS];
    struct snapshot snapshot;
    struct state state;
    uint64_t steps; /* orders beginnings and ends */
    struct client_file files[HISTORY_WORKERS];
    bool open[HISTORY_WORKERS];
    struct client *clients[HISTORY_WORKERS]; /* that opened them */
};

static uint32_t below(struct worker *worker, uint32_t bound)
{
    return (uint32_t)random_below(&worker->random, bound);
}

/* Two directories, two other names, at most three levels. */
static void random_path(struct worker *worker, char *path)
{
    static const char *const names[] = {"p", "q", "a", "b"};
    uint32_t depth = below(worker, 10);
    path[0] = '\0';
    for (depth = depth < 3 ? 0 : depth < 8 ? 1 : 2; depth > 0; depth--) {
        strcat(path, "/");
        strcat(path, names[below(worker, 2)]);
    }
    strcat(path, "/");
    strcat(path, names[below(worker, 4)]);
}

static enum event_kind random_kind(struct worker *worker, bool has_file)
{
    static const uint8_t weights[] = {
        [EVENT_OPEN] = 24,   [EVENT_READ] = 12,    [EVENT_WRITE] = 14,   [EVENT_TRUNCATE_FILE] = 4,
        [EVENT_FSTAT] = 4,   [EVENT_STAT] = 12,    [EVENT_TRUNCATE] = 5, [EVENT_CHMOD] = 4,
        [EVENT_MKDIR] = 14,  [EVENT_RMDIR] = 8,    [EVENT_UNLINK] = 9,   [EVENT_RENAME] = 20,
        [EVENT_SYMLINK] = 2, [EVENT_READLINK] = 2, [EVENT_LINK] = 14,
    };
    for (;;) {
        uint32_t drawn = below(worker, 148);
        uint32_t kind = 0;
        while (kind + 1 < sizeof weights && drawn >= weights[kind])
            drawn -= weights[kind++];
        if (has_file || kind < EVENT_READ || kind > EVENT_FSTAT)
            return (enum event_kind)kind;
    }
}

static void choose(struct worker *worker, struct event *event, bool has_file)
{
    static const int opens[] = {O_RDONLY,
                                O_RDWR,
                                O_RDWR | O_CREAT,
                                O_RDWR | O_CREAT,
                                O_RDWR | O_CREAT | O_EXCL,
                                O_RDONLY | O_CREAT,
                                O_WRONLY | O_CREAT | O_TRUNC,
                                O_RDWR | O_TRUNC};
    *event = (struct event){.kind = random_kind(worker, has_file), .worker = worker->number};
    random_path(worker, event->path);
    event->mode = below(worker, 01000);
    switch (event->kind) {
    case EVENT_OPEN:
        event->flags = opens[below(worker, 8)] | O_NOFOLLOW;
        break;
    case EVENT_READ:
    case EVENT_WRITE:
        event->length = 1 + below(worker, below(worker, 3) == 0 ? 9000 : 300);
        event->offset = below(worker, 3) == 0 ? below(worker, 3000) : 0;
        if (event->kind == EVENT_WRITE)
            memset(event->bytes, (int)(1 + below(worker, 255)), event->length);
        break;
    case EVENT_TRUNCATE_FILE:
    case EVENT_TRUNCATE:
        event->offset = below(worker, 6000);
        break;
    case EVENT_RENAME:
        random_path(worker, event->path2);
        event->flags = below(worker, 5) == 0 ? (int)RENAME_FLAG_NOREPLACE : 0;
        break;
    case EVENT_LINK:
        random_path(worker, event->path2);
        break;
    case EVENT_SYMLINK:
        snprintf(event->path2, sizeof event->path2, "nowhere%u", below(worker, 100));
        break;
    default:
        break;
    }
}

static void perform(struct worker *worker, struct scene *scene, struct event *event)
{
    struct client *client = worker->client;
    struct client_file *file = &scene->files[worker->number];
    struct client_file opened;
    struct set_attributes_request set = {.fields = SET_MODE, .mode = event->mode};
    switch (event->kind) {
    case EVENT_OPEN:
        event->status = client_open(client, INODE_ROOT, event->path, event->flags, event->mode, &opened);
        if (event->status != 0)
            break;
        event->attributes.inode = opened.inode;
        event->attributes.size = opened.size;
        if (!S_ISREG(opened.mode)) {
            client_close(client, &opened);
            break;
        }
        event->opened = true;
        if (scene->open[worker->number])
            client_close(client, file);
        *file = opened;
        scene->open[worker->number] = true;
        scene->clients[worker->number] = client;
        break;
    case EVENT_READ:
        event->status = client_read(client, file, event->bytes, event->length, event->offset);
        break;
    case EVENT_WRITE:
        event->status = client_write(client, file, event->bytes, event->length, event->offset);
        break;
    case EVENT_TRUNCATE_FILE:
        event->status = client_truncate_file(client, file, event->offset);
        break;
    case EVENT_FSTAT:
        event->status = client_attributes(client, file->inode, &event->attributes);
        break;
    case EVENT_STAT:
        event->status = client_stat(client, INODE_ROOT, event->path, false, &event->attributes);
        break;
    case EVENT_TRUNCATE:
        event->status = client_truncate(client, INODE_ROOT, event->path, event->offset);
        break;
    case EVENT_CHMOD:
        event->status = client_set_attributes(client, INODE_ROOT, event->path, false, &set);
        break;
    case EVENT_MKDIR:
        event->status = client_mkdir(client, INODE_ROOT, event->path, event->mode);
        break;
    case EVENT_RMDIR:
        event->status = client_rmdir(client, INODE_ROOT, event->path);
        break;
    case EVENT_UNLINK:
        event->status = client_unlink(client, INODE_ROOT, event->path);
        break;
    case EVENT_RENAME:
        event->status =
            client_rename(client, INODE_ROOT, event->path, INODE_ROOT, event->path2, (unsigned)event->flags);
        break;
    case EVENT_SYMLINK:
        event->status = client_symlink(client, event->path2, INODE_ROOT, event->path);
        break;
    case EVENT_READLINK:
        event->status =
            client_readlink(client, INODE_ROOT, event->path, (char *)event->bytes, sizeof event->bytes);
        break;
    case EVENT_LINK:
        event->status = client_link(client, INODE_ROOT, event->path, INODE_ROOT, event->path2, false);
        break;
    case EVENT_TRUNCATE_FOUND:
    case EVENT_CHMOD_FOUND:
    case EVENT_LINK_FOUND:
    case EVENT_SIZE_FOUND:
        break; /* halves that history_split makes */
    }
}

static void take_part(struct worker *worker)
{
    struct scene *scene = worker->context;
    struct cluster *cluster = worker->cluster;
    struct event *event = &scene->pending[worker->number];
    for (unsigned i = 0; i < EVENTS_EACH; i++) {
        choose(worker, event, scene->open[worker->number]);
        event->file = scene->files[worker->number].inode;
        event->began = ++scene->steps;
        event->before = loop_realtime(cluster->loop);
        perform(worker, scene, event);
        event->after = loop_realtime(cluster->loop);
        event->ended = ++scene->steps;
        scene->history.events[scene->history.count++] = *event;
        history_split(&scene->history);
        sim_trace(cluster->network, &event->status, sizeof event->status);
        cluster->operations++;
        if (below(worker, 3) == 0)
            task_sleep(cluster->loop, random_below(&worker->random, 200 * MICROSECOND));
    }
}

/* ---- looking at everything ---- */

static void look_at(struct worker *worker, struct scene *scene, const char *path)
{
    struct cluster *cluster = worker->cluster;
    if (scene->snapshot.count == SNAPSHOT_MAX) {
        cluster_fail(cluster, "the tree has more than %u names", SNAPSHOT_MAX);
        return;
    }
    struct found *found = &scene->snapshot.found[scene->snapshot.count++];
    *found = (struct found){0};
    snprintf(found->path, sizeof found->path, "%s", path);
    int status = client_stat(worker->client, INODE_ROOT, path, false, &found->attributes);
    if (status != 0) {
        cluster_fail(cluster, "\"%s\" is listed, but stat says: %s", path, status_text(status));
        return;
    }
    ssize_t length = 0, wanted = 0;
    if (S_ISREG(found->attributes.mode)) {
        struct client_file file;
        wanted = (ssize_t)found->attributes.size;
        found->bytes = malloc((size_t)wanted + 1);
        status = client_open(worker->client, INODE_ROOT, path, O_RDONLY, 0, &file);
        length =
            status == 0 ? client_read(worker->client, &file, found->bytes, (size_t)wanted + 1, 0) : status;
        if (status == 0)
            client_close(worker->client, &file);
    } else if (S_ISLNK(found->attributes.mode)) {
        wanted = (ssize_t)found->attributes.size;
        length = client_readlink(worker->client, INODE_ROOT, path, found->target, sizeof found->target - 1);
    }
    if (length != wanted)
        cluster_fail(cluster, "reading \"%s\" at rest: %zd, expected %zd", path, length, wanted);
}

static void look_around(struct worker *worker, struct scene *scene, uint64_t directory, const char *path)
{
    struct client_listing *listing;
    struct client_entry entry;
    uint32_t first = scene->snapshot.count;
    int status = client_list_open(worker->client, directory, 0, false, NULL, NULL, &listing);
    if (status == 0) {
        while ((status = client_list_next(listing, &entry)) == 1) {
            char below_path[HISTORY_PATH];
            snprintf(below_path, sizeof below_path, "%.50s/%.8s", path, entry.name);
            look_at(worker, scene, below_path);
        }
        client_list_close(listing);
    }
    if (status < 0)
        cluster_fail(worker->cluster, "list \"%s\" at rest: %s", path, status_text(status));
    uint32_t end = scene->snapshot.count;
    for (uint32_t i = first; i < end && !worker->cluster->failed; i++) {
        const struct found *found = &scene->snapshot.found[i];
        if (S_ISDIR(found->attributes.mode))
            look_around(worker, scene, found->attributes.inode, found->path);
    }
}

/* What an order leaves in a file without a name is to be known too: the next round goes on from there. */
static void look_at_open(struct worker *worker, struct scene *scene, uint32_t number)
{
    struct found *found = &scene->snapshot.open[number];
    struct client_file *file = &scene->files[number];
    ssize_t length = client_attributes(scene->clients[number], file->inode, &found->attributes);
    size_t size = length == 0 ? (size_t)found->attributes.size : 0;
    found->bytes = malloc(size + 1);
    if (length == 0)
        length = client_read(scene->clients[number], file, found->bytes, size + 1, 0);
    if (length != (ssize_t)size)
        cluster_fail(worker->cluster, "reading worker %u's open file at rest: %zd, expected %zu", number,
                     length, size);
}

static void observe(struct worker *worker)
{
    struct scene *scene = worker->context;
    snapshot_clear(&scene->snapshot);
    look_around(worker, scene, INODE_ROOT, "");
    for (uint32_t i = 0; i < HISTORY_WORKERS; i++)
        if (scene->open[i])
            look_at_open(worker, scene, i);
}

/* Deepest first. */
static void clear(struct worker *worker)
{
    struct scene *scene = worker->context;
    observe(worker);
    for (uint32_t i = scene->snapshot.count; i > 0 && !worker->cluster->failed; i--) {
        const struct found *found = &scene->snapshot.found[i - 1];
        int status = S_ISDIR(found->attributes.mode) ? client_rmdir(worker->client, INODE_ROOT, found->path)
                                                     : client_unlink(worker->client, INODE_ROOT, found->path);
        if (status != 0)
            cluster_fail(worker->cluster, "removing \"%s\" at rest: %s", found->path, status_text(status));
    }
    for (uint32_t i = 0; i < HISTORY_WORKERS; i++)
        if (scene->open[i])
            client_close(scene->clients[i], &scene->files[i]);
}

/* ---- the whole ---- */

static void report(struct cluster *cluster, struct scene *scene, unsigned round, int status)
{
    char *text = malloc(FAILURE_SIZE);
    if (text == NULL)
        return;
    history_print(&scene->history, text, FAILURE_SIZE);
    fprintf(stderr, "round %u:%s\nfound afterwards:\n", round, text);
    for (uint32_t i = 0; i < scene->snapshot.count; i++) {
        const struct found *found = &scene->snapshot.found[i];
        fprintf(stderr, "  %s inode %llx mode %o size %llu links %u\n", found->path,
                (unsigned long long)found->attributes.inode, found->attributes.mode,
                (unsigned long long)found->attributes.size, found->attributes.links);
    }
    free(text);
    cluster_fail(cluster, "round %u: %s", round,
                 status == -EAGAIN ? "too many possible orders" : "no order explains it");
}

/* Breaks somebody's connections while the others work. */
static void disconnect(struct worker *worker)
{
    cluster_disconnect_somebody(worker, 6 * worker->cluster->weather.delay_max_ns);
}

static void body_with(struct cluster *cluster, bool breaks)
{
    struct scene *scene = calloc(1, sizeof *scene);
    if (scene == NULL || state_create(&scene->state) != 0) {
        cluster_fail(cluster, "no memory");
        return;
    }
    for (unsigned round = 0; round < ROUNDS && !cluster->failed; round++) {
        scene->history.count = 0;
        for (uint32_t i = 0; i < HISTORY_WORKERS; i++)
            cluster_worker(cluster, i, take_part, scene);
        if (breaks)
            cluster_worker(cluster, 0, disconnect, scene);
        cluster_run(cluster, 3600 * SECOND);
        cluster_worker(cluster, round, observe, scene);
        cluster_run(cluster, 3600 * SECOND);
        if (cluster->failed)
            break;
        int status = history_explain(&scene->history, &scene->snapshot, &scene->state);
        if (status != 0)
            report(cluster, scene, round, status);
    }
    if (!cluster->failed) {
        cluster_worker(cluster, 0, clear, scene);
        cluster_run(cluster, 3600 * SECOND);
    }
    cluster_rest(cluster, SECOND); /* closes go on their way */
    cluster_check_empty(cluster);
    snapshot_clear(&scene->snapshot);
    state_destroy(&scene->state);
    free(scene);
}

/* ---- replacing ---- */

/* Whoever replaces a file or link by renaming another one onto it never shows a moment without it. */
static void replace(struct worker *worker)
{
    struct cluster *cluster = worker->cluster;
    for (unsigned i = 0; i < 60 && !cluster->failed; i++) {
        struct client_file file;
        int status = client_symlink(worker->client, i % 2 ? "target" : "./target", INODE_ROOT, "/new");
        if (status == 0)
            status = client_rename(worker->client, INODE_ROOT, "/new", INODE_ROOT, "/link", 0);
        if (status == 0)
            status = client_open(worker->client, INODE_ROOT, "/next", O_RDWR | O_CREAT | O_EXCL, 0644, &file);
        if (status == 0)
            status = client_rename(worker->client, INODE_ROOT, "/next", INODE_ROOT, "/target", 0);
        if (status == 0)
            client_close(worker->client, &file);
        if (status != 0)
            cluster_fail(cluster, "replacing: %s", status_text(status));
    }
}

static void look_through(struct worker *worker)
{
    struct cluster *cluster = worker->cluster;
    bool *started = worker->context;
    for (unsigned i = 0; i < 120 && !cluster->failed; i++) {
        struct client_file file;
        struct attributes attributes;
        char target[16];
        ssize_t got = client_readlink(worker->client, INODE_ROOT, "/link", target, sizeof target);
        int found = client_stat(worker->client, INODE_ROOT, "/link", true, &attributes);
        int opened = client_open(worker->client, INODE_ROOT, "/link", O_RDONLY, 0, &file);
        *started = *started || (got > 0 && found == 0 && opened == 0);
        cluster->operations += 3;
        if (*started && (got < 6 || found != 0 || opened != 0))
            cluster_fail(cluster, "a link that is replaced: readlink %zd, stat %s, open %s", got,
                         status_text(found), status_text(opened));
        if (opened == 0)
            client_close(worker->client, &file);
    }
}

static void replacing_body(struct cluster *cluster)
{
    bool started[HISTORY_WORKERS] = {false};
    cluster_worker(cluster, 0, replace, NULL);
    for (uint32_t i = 1; i < HISTORY_WORKERS; i++)
        cluster_worker(cluster, i, look_through, &started[i]);
    cluster_run(cluster, 3600 * SECOND);
}

static void run_replacing(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    struct cluster_options options = {.seed = seed, .servers = servers, .clients = CLIENTS};
    sim_run(&options, replacing_body, outcome);
}

/* ---- the cases ---- */

static void body(struct cluster *cluster)
{
    body_with(cluster, false);
}

static void breaking_body(struct cluster *cluster)
{
    body_with(cluster, true);
}

static void run(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    struct cluster_options options = {.seed = seed, .servers = servers, .clients = CLIENTS};
    sim_run(&options, body, outcome);
}

static void run_breaking(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    struct cluster_options options = {.seed = seed, .servers = servers, .clients = CLIENTS};
    sim_run(&options, breaking_body, outcome);
}

int main(int argc, char **argv)
{
    static const struct sim_case cases[] = {
        {"shared names", run, {1, 3, 5}},
        {"shared names, connections break", run_breaking, {1, 3}},
        {"a replaced link", run_replacing, {1, 3}},
    };
    static const uint64_t seeds[] = {1, 2, 27, 104, 1193, 60129, 7100026, 1795651745};
    return SIM_MAIN(argc, argv, cases, seeds);
}

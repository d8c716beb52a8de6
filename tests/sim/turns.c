/* A client that renames a directory to and fro without a pause makes every path stale that others have just
 * resolved. They get their turn all the same: an operation of theirs is overtaken a bounded number of times,
 * however long its path, and neither do they keep the renames from going on. */
#include "seeds.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"

#define DEPTH 24
#define OTHERS 3u
#define OPERATIONS 6u
#define ROUNDS 4u
#define ROUNDS_MAX                                                                                           \
    200u /* while there were too few renames: a message of one may be lost, and takes its time */
#define RENAMES_MIN 10u
/* In 16 attempts, some turns that were too short, and others' turns. An attempt may meet several renames. */
#define OVERTAKEN_MAX 1000u

struct scene {
    uint64_t renames;
    uint32_t busy; /* others that are not done */
    char path[DEPTH * 8 + 64];
};

static void wrong(struct worker *worker, const char *what, int status)
{
    if (status != 0)
        cluster_fail(worker->cluster, "%s: %s", what, status_text(status));
}

static void make_tree(struct worker *worker)
{
    struct scene *scene = worker->context;
    scene->path[0] = '\0';
    for (unsigned i = 0; i < DEPTH; i++) {
        size_t length = strlen(scene->path);
        snprintf(scene->path + length, sizeof scene->path - length, "/d%u", i);
        wrong(worker, "mkdir", client_mkdir(worker->client, INODE_ROOT, scene->path, 0755));
    }
    wrong(worker, "mkdir", client_mkdir(worker->client, INODE_ROOT, "/here", 0755));
}

static void rename_on(struct worker *worker)
{
    struct scene *scene = worker->context;
    while (scene->busy > 0 && !worker->cluster->failed) {
        bool there = scene->renames % 2 == 1;
        wrong(worker, "rename to and fro",
              client_rename(worker->client, INODE_ROOT, there ? "/there" : "/here", INODE_ROOT,
                            there ? "/here" : "/there", 0));
        scene->renames++;
    }
}

/* A file, a look at it, a directory that is renamed and removed, at the end of the long path. */
static int one_operation(struct worker *worker, unsigned number, const char *path, const char *other)
{
    struct client_file file;
    struct attributes attributes;
    switch (number % OPERATIONS) {
    case 0: {
        int status = client_open(worker->client, INODE_ROOT, path, O_CREAT | O_EXCL | O_WRONLY, 0644, &file);
        if (status == 0)
            client_close(worker->client, &file);
        return status;
    }
    case 1:
        return client_stat(worker->client, INODE_ROOT, path, true, &attributes);
    case 2:
        return client_unlink(worker->client, INODE_ROOT, path);
    case 3:
        return client_mkdir(worker->client, INODE_ROOT, path, 0755);
    case 4:
        return client_rename(worker->client, INODE_ROOT, path, INODE_ROOT, other, 0);
    default:
        return client_rmdir(worker->client, INODE_ROOT, other);
    }
}

static void go_far(struct worker *worker)
{
    struct scene *scene = worker->context;
    struct cluster *cluster = worker->cluster;
    char path[sizeof scene->path + 16], other[sizeof scene->path + 16];
    snprintf(path, sizeof path, "%s/a%u", scene->path, worker->number);
    snprintf(other, sizeof other, "%s/b%u", scene->path, worker->number);
    for (unsigned i = 0; i < ROUNDS_MAX * OPERATIONS && !cluster->failed; i++) {
        if (i >= ROUNDS * OPERATIONS && scene->renames >= RENAMES_MIN && i % OPERATIONS == 0)
            break;
        uint64_t before = scene->renames;
        wrong(worker, "an operation far down", one_operation(worker, i, path, other));
        cluster->operations++;
        if (scene->renames - before > OVERTAKEN_MAX)
            cluster_fail(cluster, "operation %u was overtaken by %llu renames", i,
                         (unsigned long long)(scene->renames - before));
    }
    scene->busy--;
}

static void body(struct cluster *cluster)
{
    struct scene scene = {.busy = OTHERS};
    cluster_worker(cluster, 0, make_tree, &scene);
    cluster_run(cluster, 3600 * SECOND);
    cluster_worker(cluster, 0, rename_on, &scene);
    for (uint32_t i = 1; i <= OTHERS; i++)
        cluster_worker(cluster, i, go_far, &scene);
    if (!cluster->failed)
        cluster_run(cluster, 3600 * SECOND);
    if (!cluster->failed && scene.renames < RENAMES_MIN)
        cluster_fail(cluster, "only %llu renames", (unsigned long long)scene.renames);
}

static void run(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    struct cluster_options options = {
        .seed = seed, .servers = servers, .clients = OTHERS + 1, .deadline_ns = 20 * SECOND};
    sim_run(&options, body, outcome);
}

int main(int argc, char **argv)
{
    static const struct sim_case cases[] = {{"directories renamed all the time", run, {1, 3, 5}}};
    static const uint64_t seeds[] = {1, 2, 3};
    return SIM_MAIN(argc, argv, cases, seeds);
}

/* A server is killed while clients are busy.
 *
 * Before: every worker makes files that it then leaves alone. During: all work on the same names while one
 * server dies; whatever becomes of a call, it ends in time. After: what lies on the other servers is there,
 * byte for byte, what does not is an error and never other bytes, and once the locks of transactions that
 * died have run out, no call waits for them any more. */
#include "seeds.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "data/placement.h"

#define CLIENTS 3
#define WORKERS 4
#define FILES 24
#define DEADLINE (2 * SECOND)
/* In deadlines: a call may have to ask several servers one after the other. */
#define PATIENCE 3
#define CALLS 80
#define BYTES_MAX 200000u

struct kept {
    struct client_file file;
    char name[32];
    uint32_t size;
};

struct scene {
    uint32_t victim;
    bool dead;
    bool settled; /* locks of the dead have run out */
    struct kept files[WORKERS][FILES];
};

static uint8_t bytes[WORKERS][BYTES_MAX];

static uint8_t pattern(uint32_t worker, uint32_t file, uint32_t at)
{
    return (uint8_t)(1 + (worker * 31 + file * 7 + at / 5) % 251);
}

static uint32_t below(struct worker *worker, uint32_t bound)
{
    return (uint32_t)random_below(&worker->random, bound);
}

static void make_files(struct worker *worker)
{
    struct scene *scene = worker->context;
    static const uint32_t sizes[] = {100, 4096, 5000, 65536, 70000, BYTES_MAX};
    uint32_t me = worker->number;
    char path[40];
    snprintf(path, sizeof path, "/home%u", me);
    int status = client_mkdir(worker->client, INODE_ROOT, path, 0755);
    for (uint32_t i = 0; i < FILES && status == 0; i++) {
        struct kept *kept = &scene->files[me][i];
        snprintf(kept->name, sizeof kept->name, "/home%u/file%u", me, i);
        kept->size = sizes[below(worker, 6)];
        for (uint32_t at = 0; at < kept->size; at++)
            bytes[me][at] = pattern(me, i, at);
        status =
            client_open(worker->client, INODE_ROOT, kept->name, O_RDWR | O_CREAT | O_EXCL, 0644, &kept->file);
        if (status == 0 &&
            client_write(worker->client, &kept->file, bytes[me], kept->size, 0) != (ssize_t)kept->size)
            status = -EIO;
    }
    if (status != 0)
        cluster_fail(worker->cluster, "making files: %s", status_text(status));
}

/* ---- during ---- */

static void check_call(struct worker *worker, const char *what, const char *path, int64_t status,
                       uint64_t began)
{
    static const int fine[] = {ENOENT, EEXIST,    ENOTDIR,   EISDIR,     ENOTEMPTY, EINVAL,
                               ESTALE, EHOSTDOWN, ETIMEDOUT, ECONNRESET, EIO,       EPERM};
    struct scene *scene = worker->context;
    uint64_t took = loop_now(worker->cluster->loop) - began;
    worker->cluster->operations++;
    sim_trace(worker->cluster->network, &status, sizeof status);
    if (getenv("BENCHFS_SIM_SHOW") != NULL)
        fprintf(stderr, "%.6f worker %u: %s %s = %lld after %.6f s\n", (double)began * 1e-9, worker->number,
                what, path, (long long)status, (double)took * 1e-9);
    if (took > PATIENCE * worker->cluster->deadline_ns)
        cluster_fail(worker->cluster, "worker %u: %s %s took %.3f s (%s)", worker->number, what, path,
                     (double)took * 1e-9, status < 0 ? status_text((int)status) : "success");
    /* With all servers up a deadline of seconds is far away; with one dead, a lock that it held runs out. */
    if (status == -ETIMEDOUT && (!scene->dead || scene->settled))
        cluster_fail(worker->cluster, "worker %u: %s %s timed out %s", worker->number, what, path,
                     scene->settled ? "long after the server's death" : "before the server's death");
    if (status >= 0)
        return;
    for (unsigned i = 0; i < sizeof fine / sizeof *fine; i++)
        if (status == -fine[i] && (scene->dead || fine[i] != EHOSTDOWN))
            return;
    cluster_fail(worker->cluster, "worker %u: %s %s: %s", worker->number, what, path,
                 status_text((int)status));
}

static void busy_path(struct worker *worker, char *path)
{
    if (below(worker, 3) == 0)
        sprintf(path, "/%c", 'a' + (char)below(worker, 5));
    else
        sprintf(path, "/%c/%c", 'a' + (char)below(worker, 5), 'a' + (char)below(worker, 5));
}

static void call_once(struct worker *worker)
{
    struct client *client = worker->client;
    struct client_file file;
    struct attributes attributes;
    char path[16], path2[16];
    const char *what;
    int64_t status;
    uint8_t *mine = bytes[worker->number];
    uint64_t began = loop_now(worker->cluster->loop);
    busy_path(worker, path);
    busy_path(worker, path2);
    switch (below(worker, 11)) {
    case 0:
        what = "mkdir";
        status = client_mkdir(client, INODE_ROOT, path, 0755);
        break;
    case 1:
        what = "rmdir";
        status = client_rmdir(client, INODE_ROOT, path);
        break;
    case 2:
        what = "unlink";
        status = client_unlink(client, INODE_ROOT, path);
        break;
    case 3:
    case 4:
        what = "rename";
        status = client_rename(client, INODE_ROOT, path, INODE_ROOT, path2, 0);
        break;
    case 5:
        what = "stat";
        status = client_stat(client, INODE_ROOT, path, true, &attributes);
        break;
    case 6:
        what = "truncate";
        status = client_truncate(client, INODE_ROOT, path, below(worker, BYTES_MAX));
        break;
    case 7:
        what = "link";
        status = client_link(client, INODE_ROOT, path, INODE_ROOT, path2, false);
        break;
    case 8:
        what = "exchange";
        status = client_rename(client, INODE_ROOT, path, INODE_ROOT, path2, RENAME_FLAG_EXCHANGE);
        break;
    default:
        what = "open";
        status = client_open(client, INODE_ROOT, path, O_RDWR | O_CREAT, 0644, &file);
        check_call(worker, what, path, status, began);
        if (status < 0)
            return;
        began = loop_now(worker->cluster->loop);
        if (below(worker, 2) == 0) {
            what = "write";
            status = client_write(client, &file, mine, 1 + below(worker, BYTES_MAX), below(worker, 100000));
        } else {
            what = "read";
            status = client_read(client, &file, mine, 1 + below(worker, BYTES_MAX), below(worker, 100000));
        }
        check_call(worker, what, path, status, began);
        client_close(client, &file);
        return;
    }
    check_call(worker, what, path, status, began);
}

static void be_busy(struct worker *worker)
{
    for (unsigned i = 0; i < CALLS && !worker->cluster->failed; i++)
        call_once(worker);
}

static void kill_one(struct worker *worker)
{
    struct scene *scene = worker->context;
    task_sleep(worker->cluster->loop,
               random_below(&worker->random, 20 * worker->cluster->weather.delay_max_ns));
    cluster_kill(worker->cluster, scene->victim);
    scene->dead = true;
}

/* ---- after ---- */

static bool alive(const struct cluster *cluster, uint32_t server)
{
    return !cluster->dead[server];
}

/* Are inode and all chunks on servers that live? */
static bool whole(const struct cluster *cluster, const struct kept *kept)
{
    if (!alive(cluster, cluster_map_owner(cluster->map, inode_partition(kept->file.inode))))
        return false;
    for (uint32_t index = 1; (uint64_t)index << kept->file.layout.chunk_shift < kept->size; index++)
        if (!alive(cluster, placement_server(cluster->map, kept->file.inode, &kept->file.layout, index)))
            return false;
    return true;
}

static void read_kept(struct worker *worker, uint32_t owner, uint32_t number)
{
    struct scene *scene = worker->context;
    struct kept *kept = &scene->files[owner][number];
    uint8_t *mine = bytes[worker->number];
    uint64_t began = loop_now(worker->cluster->loop);
    memset(mine, 0, kept->size);
    ssize_t got = client_read(worker->client, &kept->file, mine, kept->size, 0);
    check_call(worker, "read", kept->name, got, began);
    if (whole(worker->cluster, kept) && got != (ssize_t)kept->size) {
        cluster_fail(worker->cluster, "read %s of %u bytes, all on servers that live: %zd", kept->name,
                     kept->size, got);
        return;
    }
    for (ssize_t at = 0; at < got; at++) {
        if (mine[at] != pattern(owner, number, (uint32_t)at)) {
            cluster_fail(worker->cluster, "read %s: byte %zd of %zd is wrong", kept->name, at, got);
            return;
        }
    }
}

/* Names on servers that live can be made, found and removed, unless the root is lost, where paths begin. */
static void use_names(struct worker *worker)
{
    struct cluster *cluster = worker->cluster;
    if (!alive(cluster, cluster_map_owner(cluster->map, inode_partition(INODE_ROOT))))
        return;
    for (uint32_t i = 0; i < 20 && !cluster->failed; i++) {
        char path[32];
        struct client_file file;
        struct attributes attributes;
        snprintf(path, sizeof path, "/new%u.%u", worker->number, i);
        uint64_t hash = dentry_hash(INODE_ROOT, path + 1, strlen(path + 1));
        if (!alive(cluster, cluster_map_owner(cluster->map, hash_partition(hash))))
            continue;
        int status = client_open(worker->client, INODE_ROOT, path, O_RDWR | O_CREAT | O_EXCL, 0644, &file);
        if (status == 0)
            client_close(worker->client, &file);
        if (status == 0)
            status = client_stat(worker->client, INODE_ROOT, path, true, &attributes);
        if (status == 0)
            status = client_unlink(worker->client, INODE_ROOT, path);
        if (status != 0)
            cluster_fail(cluster, "%s is on a server that lives: %s", path, status_text(status));
    }
}

static void look_after(struct worker *worker)
{
    for (uint32_t owner = 0; owner < WORKERS; owner++)
        for (uint32_t i = 0; i < FILES && !worker->cluster->failed; i++)
            read_kept(worker, owner, i);
    use_names(worker);
}

static void body(struct cluster *cluster)
{
    static struct scene scene;
    scene = (struct scene){.victim = (uint32_t)random_below(&cluster->random, cluster->server_count)};
    for (uint32_t i = 0; i < WORKERS; i++)
        cluster_worker(cluster, i, make_files, &scene);
    cluster_run(cluster, 3600 * SECOND);
    for (uint32_t i = 0; i < WORKERS; i++)
        cluster_worker(cluster, i, be_busy, &scene);
    cluster_worker(cluster, 0, kill_one, &scene);
    cluster_run(cluster, 3600 * SECOND);
    for (uint32_t i = 0; i < WORKERS; i++)
        cluster_worker(cluster, i, look_after, &scene);
    cluster_run(cluster, 3600 * SECOND);
    /* Three deadlines are the life of a lock; the transactions themselves end within two. */
    scene.settled = true;
    cluster_rest(cluster, 6 * cluster->deadline_ns);
    for (uint32_t i = 0; i < WORKERS; i++)
        cluster_worker(cluster, i, be_busy, &scene);
    cluster_run(cluster, 3600 * SECOND);
    for (uint32_t i = 0; i < WORKERS; i++)
        cluster_worker(cluster, i, look_after, &scene);
    cluster_run(cluster, 3600 * SECOND);
}

static void run(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    struct cluster_options options = {
        .seed = seed, .servers = servers, .clients = CLIENTS, .deadline_ns = DEADLINE};
    sim_run(&options, body, outcome);
}

int main(int argc, char **argv)
{
    static const struct sim_case cases[] = {{"one server is killed", run, {2, 3, 5}}};
    static const uint64_t seeds[] = {1, 2, 3, 4, 1146};
    return SIM_MAIN(argc, argv, cases, seeds);
}

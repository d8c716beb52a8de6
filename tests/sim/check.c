/* The check of a file system (client/check.h). Every kind of damage is done to a tree by going behind the
 * servers' backs; the check finds that and nothing else, a repair mends it, and afterwards nothing is found
 * and nothing that had a name is gone. */
#include "seeds.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "client/check.h"
#include "client/inode_path.h"
#include "server/state.h"

#define FILES 12
#define LARGE (5 * 65536 + 100)

/* What a run damages. */
struct damage {
    const char *name;
    void (*harm)(struct worker *worker);
    enum check_kind kind;
    uint32_t findings; /* of it; 0: at least one */
    enum check_kind also;
    uint32_t also_findings;
};

static bool used_meanwhile, used_enough; /* by others */
static uint64_t numbers[3];              /* of /d, /d/e and /d/e/g */

static struct server *server_at(struct worker *worker, uint32_t partition)
{
    struct cluster *cluster = worker->cluster;
    return cluster->servers[cluster_map_owner(cluster->map, partition)];
}

static struct server *server_of(struct worker *worker, uint64_t inode)
{
    return server_at(worker, inode_partition(inode));
}

static uint64_t inode_at(struct worker *worker, const char *path)
{
    struct attributes attributes = {0};
    int status = client_stat(worker->client, INODE_ROOT, path, false, &attributes);
    if (status != 0)
        cluster_fail(worker->cluster, "%s: %s", path, status_text(status));
    return attributes.inode;
}

static struct inode *find_inode(struct worker *worker, const char *path)
{
    uint64_t number = inode_at(worker, path);
    return meta_inode_find(server_of(worker, number)->meta, number);
}

static void put_name(struct worker *worker, uint64_t directory, const char *name, uint64_t inode,
                     uint32_t type)
{
    uint64_t hash = dentry_hash(directory, name, strlen(name));
    meta_dentry_set(server_at(worker, hash_partition(hash))->meta, directory, hash, name, strlen(name), inode,
                    type, 1);
}

static void drop_name(struct worker *worker, uint64_t directory, const char *name)
{
    uint64_t hash = dentry_hash(directory, name, strlen(name));
    meta_dentry_remove(server_at(worker, hash_partition(hash))->meta, directory, hash, name, strlen(name), 1);
}

static void put_chunk(struct worker *worker, uint32_t server, uint64_t inode, uint64_t index)
{
    struct store *store = worker->cluster->servers[server % worker->cluster->server_count]->store;
    struct store_io io = {.inode = inode, .index = index, .offset = 0, .length = 100};
    if (store->operations->write_begin(store, &io, 65536) != 0 ||
        store->operations->write_commit(store, &io) != 0)
        cluster_fail(worker->cluster, "cannot lay down a chunk");
}

/* ---- damage ---- */

static void harm_dangling(struct worker *worker)
{
    put_name(worker, numbers[0], "nothing", inode_make(77, 12345), S_IFREG);
}

static void harm_type(struct worker *worker)
{
    put_name(worker, numbers[1], "f3", inode_at(worker, "/d/e/f3"), S_IFLNK);
}

static void harm_links(struct worker *worker)
{
    find_inode(worker, "/d/f1")->links = 5;
    find_inode(worker, "/d/f2")->links = 1; /* it has two names */
}

static void harm_parent(struct worker *worker)
{
    find_inode(worker, "/d/e")->parent = INODE_ROOT;
}

static void harm_name_of_file(struct worker *worker)
{
    drop_name(worker, numbers[0], "f1");
}

static void harm_name_of_directory(struct worker *worker)
{
    drop_name(worker, numbers[0], "e");
}

static void harm_several_names(struct worker *worker)
{
    put_name(worker, INODE_ROOT, "second", numbers[2], S_IFDIR);
    put_name(worker, numbers[0], "third", numbers[2], S_IFDIR);
}

static void harm_cycle(struct worker *worker)
{
    drop_name(worker, INODE_ROOT, "d");
    put_name(worker, numbers[2], "round", numbers[0], S_IFDIR);
    meta_inode_find(server_of(worker, numbers[0])->meta, numbers[0])->parent = numbers[2];
}

static void harm_directory(struct worker *worker)
{
    struct meta *meta = server_of(worker, numbers[1])->meta;
    drop_name(worker, numbers[0], "e");
    meta_inode_remove(meta, meta_inode_find(meta, numbers[1]));
}

/* Its name is still there. */
static void harm_directory_inode(struct worker *worker)
{
    struct meta *meta = server_of(worker, numbers[1])->meta;
    meta_inode_remove(meta, meta_inode_find(meta, numbers[1]));
}

static void harm_size(struct worker *worker)
{
    find_inode(worker, "/d/small")->size = 5000;
}

static void harm_end(struct worker *worker)
{
    find_inode(worker, "/d/large")->size = 65536 + 7;
    put_chunk(worker, 1, inode_at(worker, "/d/small"), 4);
}

static void harm_chunks(struct worker *worker)
{
    put_chunk(worker, 0, inode_make(99, 5), 0);
    put_chunk(worker, 1, inode_make(99, 6), 3);
    put_chunk(worker, 1, inode_make(99, 6), 4);
}

static void harm_place(struct worker *worker)
{
    uint64_t hash = dentry_hash(numbers[0], "f1", 2);
    uint64_t inode = inode_at(worker, "/d/f1");
    drop_name(worker, numbers[0], "f1");
    meta_dentry_set(server_at(worker, hash_partition(hash))->meta, numbers[0], hash ^ 1, "f1", 2, inode,
                    S_IFREG, 1);
}

static void harm_nothing(struct worker *worker)
{
    (void)worker;
}

static const struct damage damages[] = {
    {"nothing", harm_nothing, CHECK_KINDS, 0, CHECK_KINDS, 0},
    {"a name without inode", harm_dangling, CHECK_DANGLING, 1, CHECK_KINDS, 0},
    {"a name's type", harm_type, CHECK_TYPE, 1, CHECK_KINDS, 0},
    {"link counts", harm_links, CHECK_LINKS, 2, CHECK_KINDS, 0},
    {"a parent", harm_parent, CHECK_PARENT, 1, CHECK_KINDS, 0},
    {"a file without name", harm_name_of_file, CHECK_UNREACHABLE, 1, CHECK_KINDS, 0},
    {"a directory without name", harm_name_of_directory, CHECK_UNREACHABLE, 1, CHECK_KINDS, 0},
    {"three names of a directory", harm_several_names, CHECK_SEVERAL_NAMES, 2, CHECK_KINDS, 0},
    {"a circle", harm_cycle, CHECK_CYCLE, 1, CHECK_KINDS, 0},
    {"a directory that is gone", harm_directory, CHECK_NO_DIRECTORY, 1, CHECK_KINDS, 0},
    {"a directory without inode", harm_directory_inode, CHECK_NO_DIRECTORY, 1, CHECK_DANGLING, 1},
    {"an inline size", harm_size, CHECK_SIZE, 1, CHECK_KINDS, 0},
    {"bytes beyond the end", harm_end, CHECK_BYTES_BEYOND, 2, CHECK_KINDS, 0},
    {"chunks of no file", harm_chunks, CHECK_ORPHAN_CHUNKS, 0, CHECK_KINDS, 0},
    {"a name out of place", harm_place, CHECK_PLACE, 1, CHECK_KINDS, 0},
};

/* ---- the tree ---- */

static void require(struct worker *worker, const char *what, int64_t status)
{
    worker->cluster->operations++;
    if (status < 0)
        cluster_fail(worker->cluster, "%s: %s", what, status_text((int)status));
}

static void make_file(struct worker *worker, const char *path, size_t length)
{
    static char bytes[LARGE];
    struct client_file file;
    memset(bytes, 'x', sizeof(bytes));
    int status = client_open(worker->client, INODE_ROOT, path, O_CREAT | O_RDWR, 0644, &file);
    require(worker, path, status);
    if (status != 0)
        return;
    require(worker, "write", client_write(worker->client, &file, bytes, length, 0));
    client_close(worker->client, &file);
}

/* Also moves and links names, so that some of them are on other servers than their inodes. */
static void make_tree(struct worker *worker)
{
    struct client *client = worker->client;
    require(worker, "mkdir", client_mkdir(client, INODE_ROOT, "/d", 0755));
    require(worker, "mkdir", client_mkdir(client, INODE_ROOT, "/d/e0", 0755));
    require(worker, "rename", client_rename(client, INODE_ROOT, "/d/e0", INODE_ROOT, "/d/e", 0));
    require(worker, "mkdir", client_mkdir(client, INODE_ROOT, "/g0", 0755));
    require(worker, "rename", client_rename(client, INODE_ROOT, "/g0", INODE_ROOT, "/d/e/g", 0));
    for (unsigned i = 0; i < FILES; i++) {
        char path[64], other[64];
        snprintf(path, sizeof path, "/d/%sf%u", i % 3 == 0 ? "e/" : "", i);
        make_file(worker, path, 10 * i);
        if (i % 4 == 2) {
            snprintf(other, sizeof other, "/d/e/g/l%u", i);
            require(worker, "link", client_link(client, INODE_ROOT, path, INODE_ROOT, other, false));
        }
    }
    require(worker, "symlink", client_symlink(client, "e/g", INODE_ROOT, "/d/s"));
    make_file(worker, "/d/small", 3000);
    make_file(worker, "/d/large", LARGE);
    numbers[0] = inode_at(worker, "/d");
    numbers[1] = inode_at(worker, "/d/e");
    numbers[2] = inode_at(worker, "/d/e/g");
    client_release_last(client);
    task_sleep(worker->cluster->loop, SECOND);
}

static uint64_t names_in_all(struct cluster *cluster)
{
    struct cluster_usage usage;
    cluster_usage(cluster, &usage);
    return usage.inodes;
}

/* ---- checking ---- */

struct expectation {
    struct cluster *cluster;
    const struct damage *damage;
    uint32_t found, also;
    bool repair;
};

static void take_finding(void *owner, const struct check_finding *finding)
{
    struct expectation *expectation = owner;
    const struct damage *damage = expectation->damage;
    if (finding->kind == damage->kind)
        expectation->found++;
    else if (finding->kind == damage->also)
        expectation->also++;
    else
        cluster_fail(expectation->cluster, "%s: finding of kind %d, inode %llx, name \"%s\"", damage->name,
                     (int)finding->kind, (unsigned long long)finding->inode, finding->name);
    if (finding->outcome != (expectation->repair ? CHECK_REPAIRED : CHECK_FOUND))
        cluster_fail(expectation->cluster, "%s: not repaired: %s", damage->name,
                     status_text(finding->status));
}

static void run_check(struct worker *worker, const struct damage *damage, bool repair)
{
    struct expectation expectation = {worker->cluster, damage, 0, 0, repair};
    struct check_options options = {.repair = repair, .report = take_finding, .owner = &expectation};
    struct check_result result;
    int status = client_check(worker->client, &options, &result);
    if (status != 0)
        cluster_fail(worker->cluster, "%s: check: %s", damage->name, status_text(status));
    else if (damage->findings != 0 ? expectation.found != damage->findings
                                   : (expectation.found == 0) != (damage->kind == CHECK_KINDS))
        cluster_fail(worker->cluster, "%s: %u findings in place of %u", damage->name, expectation.found,
                     damage->findings);
    else if (expectation.also != damage->also_findings || (result.undecided != 0 && !used_meanwhile))
        cluster_fail(worker->cluster, "%s: %u further findings, %llu undecided", damage->name,
                     expectation.also, (unsigned long long)result.undecided);
}

static const struct damage *damage_of_run;

/* Others, in a directory of their own, until the damage is mended. */
static void use(struct worker *worker)
{
    struct client *client = worker->client;
    client_mkdir(client, INODE_ROOT, "/w", 0755);
    while (!used_enough && !worker->cluster->failed) {
        char path[32], other[32];
        snprintf(path, sizeof path, "/w/%c", (int)('a' + random_below(&worker->random, 8)));
        snprintf(other, sizeof other, "/w/%c", (int)('a' + random_below(&worker->random, 8)));
        switch (random_below(&worker->random, 6)) {
        case 0:
            client_unlink(client, INODE_ROOT, path);
            client_rmdir(client, INODE_ROOT, path);
            break;
        case 1:
            client_rename(client, INODE_ROOT, path, INODE_ROOT, other, 0);
            break;
        case 2:
            client_link(client, INODE_ROOT, path, INODE_ROOT, other, false);
            break;
        case 3:
            client_mkdir(client, INODE_ROOT, path, 0755);
            break;
        default: {
            static char bytes[100000];
            struct client_file file;
            if (client_open(client, INODE_ROOT, path, O_CREAT | O_RDWR, 0644, &file) != 0)
                break;
            client_write(client, &file, bytes, 1 + random_below(&worker->random, sizeof bytes), 0);
            client_close(client, &file);
        }
        }
        worker->cluster->operations++;
        task_sleep(worker->cluster->loop, random_below(&worker->random, MILLISECOND));
    }
}

static void spoil_and_mend(struct worker *worker)
{
    struct cluster *cluster = worker->cluster;
    make_tree(worker);
    if (cluster->failed)
        return;
    cluster_check_clean(cluster, worker->client, false);
    uint64_t before = names_in_all(cluster);
    damage_of_run->harm(worker);
    if (cluster->failed)
        return;
    run_check(worker, damage_of_run, false);
    run_check(worker, damage_of_run, true);
    cluster_check_clean(cluster, worker->client, false);
    /* One more, if there had to be a /lost+found. */
    uint64_t after = names_in_all(cluster);
    if (!used_meanwhile && after != before && after != before + 1)
        cluster_fail(cluster, "%s: %llu inodes before, %llu after the repair", damage_of_run->name,
                     (unsigned long long)before, (unsigned long long)after);
    if (damage_of_run->harm == harm_size && find_inode(worker, "/d/small")->size != 3000)
        cluster_fail(cluster, "the size is not that of the data");
}

static void spoil(struct worker *worker)
{
    spoil_and_mend(worker);
    used_enough = true;
}

static void body(struct cluster *cluster)
{
    used_enough = false;
    cluster_worker(cluster, 0, spoil, NULL);
    for (uint32_t i = 1; i < cluster->client_count; i++)
        cluster_worker(cluster, i, use, NULL);
    cluster_run(cluster, 3600 * SECOND);
}

static void run_with(uint64_t seed, uint32_t servers, uint32_t clients, struct outcome *outcome)
{
    struct cluster_options options = {
        .seed = seed, .servers = servers, .clients = clients, .store_capacity = 8u << 20};
    used_meanwhile = clients > 1;
    for (size_t i = 0; i < sizeof damages / sizeof *damages && !outcome->failed; i++) {
        uint64_t operations = outcome->operations;
        damage_of_run = &damages[i];
        sim_run(&options, body, outcome);
        outcome->operations += operations;
    }
}

static void run(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    run_with(seed, servers, 1, outcome);
}

static void run_used(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    run_with(seed, servers, 4, outcome);
}

/* ---- numbers ---- */

static uint64_t number_made;

static void make_and_lose(struct worker *worker)
{
    make_file(worker, "/kept", 10);
    require(worker, "sync", client_sync_all(worker->client));
    make_file(worker, "/b", 10);
    number_made = inode_at(worker, "/b");
}

static void make_again(struct worker *worker)
{
    struct attributes attributes;
    inode_at(worker, "/kept");
    if (client_stat(worker->client, INODE_ROOT, "/b", false, &attributes) != -ENOENT)
        cluster_fail(worker->cluster, "what was not synchronised is still there");
    make_file(worker, "/b", 10);
    if (inode_at(worker, "/b") == number_made)
        cluster_fail(worker->cluster, "a lost inode's number is made again");
    number_made = inode_at(worker, "/b");
}

/* Other servers may have names or chunks of what a crash took: nobody else may get its number. Time and
 * again, for what a crash takes does not say which numbers there were. */
static void run_numbers(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    static struct cluster cluster;
    struct disk_sim_device *devices[CLUSTER_SERVERS_MAX];
    struct random random;
    struct cluster_options options = {.seed = seed,
                                      .servers = servers,
                                      .clients = 1,
                                      .engine = "file",
                                      .devices = devices,
                                      .durability = DURABILITY_INTERVAL,
                                      .interval_ns = 3600 * SECOND};
    random_seed(&random, seed);
    for (uint32_t i = 0; i < servers; i++)
        if (disk_sim_device_create(&(struct disk_sim_options){.latency_ns = 20 * MICROSECOND, .direct = true},
                                   &devices[i]) != 0)
            abort();
    for (unsigned life = 0; life < 4 && !outcome->failed; life++) {
        cluster_open(&cluster, &options);
        if (!cluster.failed) {
            cluster_worker(&cluster, 0, life == 0 ? make_and_lose : make_again, NULL);
            cluster_run(&cluster, 3600 * SECOND);
        }
        cluster_power_off(&cluster);
        options.start_ns = loop_now(cluster.loop);
        cluster_close(&cluster);
        for (uint32_t i = 0; i < servers; i++)
            disk_sim_power_loss(devices[i], &random);
        outcome->operations += cluster.operations;
        outcome->failed = cluster.failed;
        memcpy(outcome->failure, cluster.failure, sizeof outcome->failure);
    }
    for (uint32_t i = 0; i < servers; i++)
        disk_sim_device_destroy(devices[i]);
}

/* ---- paths ---- */

static void require_path(struct worker *worker, const char *path, const char *other)
{
    char *found = NULL;
    int status = client_inode_path(worker->client, inode_at(worker, path), &found);
    require(worker, path, status);
    if (found != NULL && strcmp(found, path) != 0 && (other == NULL || strcmp(found, other) != 0))
        cluster_fail(worker->cluster, "%s is said to be %s", path, found);
    free(found);
}

/* Servers know what inodes are called, after renames and links and across servers. */
static void tell_paths(struct worker *worker)
{
    make_tree(worker);
    for (unsigned i = 0; i < FILES; i++) {
        char path[64], other[64];
        snprintf(path, sizeof path, "/d/%sf%u", i % 3 == 0 ? "e/" : "", i);
        snprintf(other, sizeof other, "/d/e/g/l%u", i);
        require_path(worker, path, i % 4 == 2 ? other : NULL);
    }
    require(worker, "rename", client_rename(worker->client, INODE_ROOT, "/d", INODE_ROOT, "/moved", 0));
    require(worker, "rename",
            client_rename(worker->client, INODE_ROOT, "/moved/large", INODE_ROOT, "/moved/e/g/big", 0));
    require_path(worker, "/", NULL);
    require_path(worker, "/moved/e/g", NULL);
    require_path(worker, "/moved/e/g/big", NULL);
    require_path(worker, "/moved/small", NULL);
    uint64_t small = inode_at(worker, "/moved/small");
    require(worker, "unlink", client_unlink(worker->client, INODE_ROOT, "/moved/small"));
    char *found = NULL;
    if (client_inode_path(worker->client, small, &found) != -ENOENT)
        cluster_fail(worker->cluster, "what was removed is said to be %s", found);
    free(found);
}

static void tell_paths_body(struct cluster *cluster)
{
    cluster_worker(cluster, 0, tell_paths, NULL);
    cluster_run(cluster, 3600 * SECOND);
}

static void run_paths(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    struct cluster_options options = {
        .seed = seed, .servers = servers, .clients = 1, .store_capacity = 8u << 20};
    sim_run(&options, tell_paths_body, outcome);
}

int main(int argc, char **argv)
{
    static const struct sim_case cases[] = {{"damage", run, {1, 2, 3, 5}},
                                            {"damage, in use", run_used, {1, 3}},
                                            {"paths", run_paths, {1, 2, 5}},
                                            {"lost numbers", run_numbers, {1, 3}}};
    static const uint64_t seeds[] = {1, 2, 3, 4};
    return SIM_MAIN(argc, argv, cases, seeds);
}

/* Many clients change one small tree at once: every operation races with every other. No order of events is
 * prescribed; what is checked is what must hold in any: calls fail only with what a race can explain, in the
 * end the servers hold exactly what can be reached from the root, and when that is removed nothing is left,
 * neither an inode nor a byte. */
#include "seeds.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"

#define ROUNDS 120
#define NAMES 4 /* per directory: few, so that workers meet */
#define CLIENTS 8
#define CHECKS 6 /* while all that goes on */
#define VICTIM (CLIENTS - 1)

static void path_of(struct worker *worker, char *path, size_t size)
{
    size_t length = 0;
    uint64_t depth = 1 + random_below(&worker->random, 3);
    path[0] = 0;
    for (uint64_t i = 0; i < depth; i++)
        length += (size_t)snprintf(path + length, size - length, "/%c",
                                   (int)('a' + random_below(&worker->random, NAMES)));
}

/* Everything that a race between these operations can lead to. */
static void expect(struct worker *worker, const char *what, const char *path, int64_t status)
{
    static const int fine[] = {ENOENT, EEXIST, ENOTDIR, EISDIR, ENOTEMPTY, EINVAL, ELOOP, EOPNOTSUPP, EPERM};
    worker->cluster->operations++;
    sim_trace(worker->cluster->network, &status, sizeof status);
    if (status >= 0 || worker->cluster->client_dead[worker->client_number])
        return;
    for (unsigned i = 0; i < sizeof fine / sizeof *fine; i++)
        if (status == -fine[i])
            return;
    cluster_fail(worker->cluster, "worker %u: %s %s: %s", worker->number, what, path,
                 status_text((int)status));
}

static void use_file(struct worker *worker, const char *path)
{
    static char bytes[200000];
    struct client *client = worker->client;
    struct client_file file;
    int flags = O_RDWR | (random_below(&worker->random, 2) ? O_CREAT : 0) |
                (random_below(&worker->random, 6) == 0 ? O_TRUNC : 0);
    int status = client_open(client, INODE_ROOT, path, flags, 0644, &file);
    expect(worker, "open", path, status);
    if (status < 0)
        return;
    static const size_t lengths[] = {10, 3000, 5000, 70000, 200000};
    size_t length = lengths[random_below(&worker->random, 5)];
    uint64_t offset = random_below(&worker->random, 100000);
    uint64_t place;
    switch (random_below(&worker->random, 5)) {
    case 0:
        expect(worker, "file: truncate", path, client_truncate_file(client, &file, offset));
        break;
    case 1:
        expect(worker, "file: append", path, client_append(client, &file, bytes, length, &place));
        break;
    case 2:
        expect(worker, "file: read", path, client_read(client, &file, bytes, length, offset));
        break;
    default:
        expect(worker, "file: write", path, client_write(client, &file, bytes, length, offset));
        break;
    }
    client_close(client, &file);
}

/* A file without a name is its opener's alone, whoever dies meanwhile: its bytes stay what they were. */
static void use_unlinked(struct worker *worker)
{
    struct client *client = worker->client;
    const bool *dead = &worker->cluster->client_dead[worker->client_number];
    struct client_file file;
    uint8_t written[5000], read[sizeof written + 1];
    char path[32];
    size_t length = 1 + random_below(&worker->random, sizeof written);
    uint64_t offset = random_below(&worker->random, 3) * 40000;
    snprintf(path, sizeof path, "/private%u", worker->number);
    memset(written, (int)(1 + random_below(&worker->random, 255)), length);
    int status = client_open(client, INODE_ROOT, path, O_RDWR | O_CREAT | O_EXCL, 0600, &file);
    expect(worker, "unlinked: create", path, status);
    if (status < 0)
        return;
    ssize_t got = random_below(&worker->random, 2) ? client_write(client, &file, written, length, offset) : 0;
    expect(worker, "unlinked: write", path, got);
    status = client_unlink(client, INODE_ROOT, path);
    expect(worker, "unlinked: unlink", path, status);
    if (got == 0)
        got = client_write(client, &file, written, length, offset);
    task_sleep(worker->cluster->loop,
               random_below(&worker->random, 30 * worker->cluster->weather.delay_max_ns));
    if (got == (ssize_t)length && status == 0 && !*dead)
        got = client_read(client, &file, read, sizeof read, offset);
    if (!*dead && (got != (ssize_t)length || memcmp(read, written, length) != 0))
        cluster_fail(worker->cluster,
                     "worker %u: a file without a name has %zd bytes, expected %zu, or others",
                     worker->number, got, length);
    client_close(client, &file);
}

static void meddle(struct worker *worker)
{
    struct client *client = worker->client;
    const bool *dead = &worker->cluster->client_dead[worker->client_number];
    for (unsigned i = 0; i < ROUNDS && !worker->cluster->failed && !*dead; i++) {
        char path[64], other[64];
        struct attributes attributes;
        path_of(worker, path, sizeof path);
        path_of(worker, other, sizeof other);
        switch (random_below(&worker->random, 16)) {
        case 0:
        case 1:
        case 2:
            expect(worker, "mkdir", path, client_mkdir(client, INODE_ROOT, path, 0755));
            break;
        case 3:
            expect(worker, "rmdir", path, client_rmdir(client, INODE_ROOT, path));
            break;
        case 4:
            expect(worker, "unlink", path, client_unlink(client, INODE_ROOT, path));
            break;
        case 5:
        case 6:
            expect(worker, "rename", path, client_rename(client, INODE_ROOT, path, INODE_ROOT, other, 0));
            break;
        case 7:
            expect(worker, "symlink", path, client_symlink(client, other, INODE_ROOT, path));
            break;
        case 8:
            expect(worker, "stat", path, client_stat(client, INODE_ROOT, path, true, &attributes));
            break;
        case 9: {
            struct set_attributes_request set = {.fields = SET_MODE,
                                                 .mode = random_below(&worker->random, 2) ? 0755 : 0700};
            expect(worker, "chmod", path, client_set_attributes(client, INODE_ROOT, path, false, &set));
            break;
        }
        case 10:
            expect(worker, "link", path, client_link(client, INODE_ROOT, path, INODE_ROOT, other, false));
            break;
        case 11:
            expect(worker, "exchange", path,
                   client_rename(client, INODE_ROOT, path, INODE_ROOT, other, RENAME_FLAG_EXCHANGE));
            break;
        case 12:
            use_unlinked(worker);
            break;
        default:
            use_file(worker, path);
            break;
        }
    }
}

#define ENTRIES_MAX 256u /* of a tree of NAMES names and three levels */

/* What can be reached. */
struct tree {
    uint64_t entries;
    uint32_t inodes;
    struct {
        uint64_t inode;
        uint32_t links; /* as its attributes say */
        uint32_t names; /* found */
    } found[ENTRIES_MAX];
};

static void count_entry(struct cluster *cluster, struct tree *tree, const struct attributes *attributes)
{
    uint32_t at = 0;
    tree->entries++;
    while (at < tree->inodes && tree->found[at].inode != attributes->inode)
        at++;
    if (at == ENTRIES_MAX) {
        cluster_fail(cluster, "the tree has more than %u inodes", ENTRIES_MAX);
        return;
    }
    if (at == tree->inodes) {
        tree->found[at].inode = attributes->inode;
        tree->found[at].links = S_ISDIR(attributes->mode) ? 1 : attributes->links;
        tree->inodes++;
    }
    tree->found[at].names++;
}

/* Counts what can be reached and checks that a listing and a lookup agree. */
static void count_tree(struct worker *worker, uint64_t directory, const char *path, struct tree *tree)
{
    struct cluster *cluster = worker->cluster;
    struct client_listing *listing;
    struct client_entry entry;
    int status = client_list_open(worker->client, directory, 0, true, NULL, NULL, &listing);
    if (status < 0) {
        cluster_fail(cluster, "listing %s: %s", path, status_text(status));
        return;
    }
    while ((status = client_list_next(listing, &entry)) > 0 && !cluster->failed) {
        char below[1024];
        struct attributes attributes;
        snprintf(below, sizeof below, "%.700s/%s", path, entry.name);
        int found = client_stat(worker->client, directory, entry.name, false, &attributes);
        if (found < 0 || attributes.inode != entry.attributes.inode ||
            attributes.mode != entry.attributes.mode)
            cluster_fail(cluster, "%s is listed as inode %llx mode %o, but stat says %s, %llx %o", below,
                         (unsigned long long)entry.attributes.inode, entry.attributes.mode,
                         status_text(found), (unsigned long long)attributes.inode, attributes.mode);
        else
            count_entry(cluster, tree, &attributes);
        if (S_ISDIR(entry.attributes.mode)) {
            if (entry.attributes.parent != directory)
                cluster_fail(cluster, "%s does not know its parent", below);
            count_tree(worker, entry.attributes.inode, below, tree);
        }
    }
    if (status < 0)
        cluster_fail(cluster, "listing %s: %s", path, status_text(status));
    client_list_close(listing);
}

static void remove_tree(struct worker *worker, const char *path)
{
    struct cluster *cluster = worker->cluster;
    struct client_listing *listing;
    struct client_entry entry;
    struct attributes attributes;
    int status = client_stat(worker->client, INODE_ROOT, path, true, &attributes);
    if (status == 0)
        status = client_list_open(worker->client, attributes.inode, 0, true, NULL, NULL, &listing);
    if (status < 0) {
        cluster_fail(cluster, "%s: %s", path, status_text(status));
        return;
    }
    while ((status = client_list_next(listing, &entry)) > 0 && !cluster->failed) {
        char below[1024];
        snprintf(below, sizeof below, "%.700s/%s", path[1] == 0 ? "" : path, entry.name);
        int removed;
        if (S_ISDIR(entry.attributes.mode)) {
            remove_tree(worker, below);
            removed = client_rmdir(worker->client, INODE_ROOT, below);
        } else {
            removed = client_unlink(worker->client, INODE_ROOT, below);
        }
        if (removed < 0)
            cluster_fail(cluster, "removing %s: %s", below, status_text(removed));
    }
    client_list_close(listing);
}

static void check(struct worker *worker)
{
    struct cluster *cluster = worker->cluster;
    struct cluster_usage usage;
    static struct tree tree;
    tree = (struct tree){0};
    /* Closes go on their way; what a dead client had open goes when servers see that it is. */
    task_sleep(cluster->loop, cluster->client_dead[VICTIM] ? 10 * SECOND : SECOND);
    count_tree(worker, INODE_ROOT, "", &tree);
    if (!cluster->failed)
        cluster_check_clean(cluster, worker->client, cluster->client_dead[VICTIM]);
    cluster_usage(cluster, &usage);
    for (uint32_t i = 0; i < tree.inodes; i++)
        if (tree.found[i].names != tree.found[i].links)
            cluster_fail(cluster, "inode %llx has %u names and a link count of %u",
                         (unsigned long long)tree.found[i].inode, tree.found[i].names, tree.found[i].links);
    if (usage.inodes != tree.inodes + 1 || usage.dentries != tree.entries)
        cluster_fail(
            cluster,
            "%llu entries of %u inodes can be reached, but servers hold %llu inodes and %llu entries",
            (unsigned long long)tree.entries, tree.inodes, (unsigned long long)usage.inodes,
            (unsigned long long)usage.dentries);
    if (!cluster->failed)
        remove_tree(worker, "/");
    cluster_usage(cluster, &usage);
    /* A client that died in a growing write may have left chunks that no file ever covered. */
    if (usage.inodes != 1 || usage.dentries != 0 || (usage.bytes != 0 && !cluster->client_dead[VICTIM]))
        cluster_fail(cluster, "all is removed, but servers hold %llu inodes, %llu entries, %llu bytes",
                     (unsigned long long)usage.inodes, (unsigned long long)usage.dentries,
                     (unsigned long long)usage.bytes);
}

/* Whatever is under way, nothing is ever found to be wrong. */
static void look_on(struct worker *worker)
{
    for (unsigned i = 0; i < CHECKS && !worker->cluster->failed; i++) {
        task_sleep(worker->cluster->loop,
                   random_below(&worker->random, 20 * worker->cluster->weather.delay_max_ns));
        cluster_check_clean(worker->cluster, worker->client, false);
    }
}

static void kill_client(struct worker *worker)
{
    task_sleep(worker->cluster->loop,
               random_below(&worker->random, 100 * worker->cluster->weather.delay_max_ns));
    cluster_kill_client(worker->cluster, VICTIM);
}

/* Everybody's connections break now and then; sessions go on over new ones. */
static void disconnect(struct worker *worker)
{
    for (unsigned i = 0; i < 40; i++)
        cluster_disconnect_somebody(worker, 40 * worker->cluster->weather.delay_max_ns);
}

static void body_with(struct cluster *cluster, void (*misfortune)(struct worker *worker))
{
    for (uint32_t i = 0; i < CLIENTS; i++)
        cluster_worker(cluster, i, meddle, NULL);
    if (misfortune != NULL)
        cluster_worker(cluster, 0, misfortune, NULL);
    cluster_run(cluster, 3600 * SECOND);
    if (cluster->failed)
        return;
    cluster_worker(cluster, 0, check, NULL);
    cluster_run(cluster, 3600 * SECOND);
}

static void body(struct cluster *cluster)
{
    body_with(cluster, NULL);
}

static void checked_body(struct cluster *cluster)
{
    body_with(cluster, look_on);
}

static void killing_body(struct cluster *cluster)
{
    body_with(cluster, kill_client);
}

static void breaking_body(struct cluster *cluster)
{
    body_with(cluster, disconnect);
}

static void run(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    struct cluster_options options = {.seed = seed, .servers = servers, .clients = CLIENTS};
    sim_run(&options, body, outcome);
}

static void run_checked(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    struct cluster_options options = {.seed = seed, .servers = servers, .clients = CLIENTS};
    sim_run(&options, checked_body, outcome);
}

static void run_killing(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    struct cluster_options options = {.seed = seed, .servers = servers, .clients = CLIENTS};
    sim_run(&options, killing_body, outcome);
}

static void run_breaking(uint64_t seed, uint32_t servers, struct outcome *outcome)
{
    struct cluster_options options = {.seed = seed, .servers = servers, .clients = CLIENTS};
    sim_run(&options, breaking_body, outcome);
}

int main(int argc, char **argv)
{
    static const struct sim_case cases[] = {
        {"chaos", run, {1, 2, 3, 5}},
        {"chaos, checked meanwhile", run_checked, {1, 2, 5}},
        {"chaos, a client dies", run_killing, {1, 3}},
        {"chaos, connections break", run_breaking, {1, 3}},
    };
    static const uint64_t seeds[] = {156, 174, 181, 50044};
    return SIM_MAIN(argc, argv, cases, seeds);
}

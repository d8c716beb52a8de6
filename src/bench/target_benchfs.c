/* The cluster of BENCHFS_CLUSTER or BENCHFS_SERVERS, or one that was started with the options behind
 * "benchfs:", by the public calls of libbenchfs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/status.h"
#include "bench/options.h"
#include "bench/target.h"
#include "bench/target_private.h"
#include "bench/target_sources.h"
#include "client/library.h"
#include "cluster/file.h"
#include "net/stream.h"

struct benchfs_target {
    struct target target;
    benchfs *fs;
    const char *place;              /* as in the specification */
    const char *file;               /* of a cluster of the benchmark's own; else NULL */
    struct target_sources *sources; /* NULL until they are asked for */
};

static benchfs *fs_of(struct target *target)
{
    return ((struct benchfs_target *)target)->fs;
}

/* What ends the target's name in a line: it may end with its own. */
static const char *colon(const char *place)
{
    return place[0] != 0 ? ":" : "";
}

static int result(int returned)
{
    return returned < 0 ? -errno : returned;
}

static int check(const char *place)
{
    static struct config config;
    return target_private_is(place) ? target_private_parse(place, &config)
                                    : target_check_directory("benchfs:", place);
}

static int prepare(const char *place)
{
    return target_private_is(place) ? target_private_start(place) : 0;
}

static void release(const char *place)
{
    if (target_private_is(place))
        target_private_stop(place);
}

static int open_target(const char *place, struct target **target)
{
    struct benchfs_target *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->target.operations = &target_benchfs;
    made->place = place;
    bool private = target_private_is(place);
    made->file = private ? target_private_file(place) : NULL;
    if (private && made->file == NULL) {
        bench_error("target benchfs:%s: this benchmark starts no servers", place);
        free(made);
        return -EINVAL;
    }
    snprintf(made->target.root, sizeof(made->target.root), "%s", private || place[0] == 0 ? "/" : place);
    made->fs = benchfs_connect(made->file);
    if (made->fs == NULL) {
        int status = -errno;
        bench_error("target benchfs:%s%s %s", place, colon(place), benchfs_error());
        free(made);
        return status;
    }
    *target = &made->target;
    return 0;
}

static void close_target(struct target *target)
{
    target_sources_close(((struct benchfs_target *)target)->sources);
    benchfs_disconnect(fs_of(target));
    free(target);
}

/* The configuration that the cluster's servers were started with; there is none where BENCHFS_SERVERS alone
 * says where they are. */
static void read_configuration(const char *own, struct target_facts *facts)
{
    char path[4096], error[512];
    struct cluster_file file;
    if (own == NULL &&
        (getenv("BENCHFS_SERVERS") != NULL || cluster_file_default_path(path, sizeof(path)) != 0))
        return;
    if (cluster_file_read(own != NULL ? own : path, &file, error, sizeof(error)) != 0)
        return;
    config_defaults(&facts->configuration);
    facts->configured = file.config[0] != 0 &&
                        config_read_file(&facts->configuration, file.config, error, sizeof(error)) == 0;
    facts->configuration.cluster.server_count =
        file.server_count; /* what --servers said is not in the configuration */
    cluster_file_free(&file);
}

static void name_transports(struct benchfs *fs, const char *transport, struct target_facts *facts)
{
    bool far = false;
    for (uint32_t i = 0; i < fs->address_count; i++)
        far = far || !net_address_is_local(fs->addresses[i]);
    const char *chosen = fs->transports[0] != 0 ? fs->transports : getenv("UCX_TLS");
    if (strcmp(transport, "ucx") == 0)
        snprintf(facts->transports, sizeof(facts->transports), "%s", chosen != NULL ? chosen : "ucx");
    else
        snprintf(facts->transports, sizeof(facts->transports), "%s%s", transport, far ? ",ucx" : "");
}

/* Connecting takes one server that answers; measuring takes all. */
static int ask_all(const struct benchfs_target *own, struct client *client)
{
    const struct cluster_map *map = client_map(client);
    const struct ping_request request = {.discard = 1};
    for (uint32_t i = 0; i < map->server_count; i++) {
        struct ping_reply reply;
        struct rpc_call call = {.operation = RPC_PING,
                                .body = &request,
                                .body_length = sizeof(request),
                                .reply = &reply,
                                .reply_size = sizeof(reply)};
        int status = rpc_call(client_peer(client, i), &call);
        if (status < 0) {
            bench_error("target benchfs:%s%s server %u at %s does not answer: %s (benchfs status)",
                        own->place, colon(own->place), map->servers[i].id, map->servers[i].address,
                        status_text(status));
            return status;
        }
    }
    return 0;
}

static int describe(struct target *target, struct target_facts *facts)
{
    struct benchfs *fs = fs_of(target);
    struct benchfs_target *own = (struct benchfs_target *)target;
    struct worker *worker = worker_get(fs);
    int status = worker != NULL ? ask_all(own, worker->client) : -errno;
    if (status < 0) {
        if (worker == NULL)
            bench_error("target benchfs:%s%s %s", own->place, colon(own->place), status_text(status));
        return status;
    }
    facts->servers = client_map(worker->client)->server_count;
    facts->client_cache = fs->consistency == CONSISTENCY_RELAXED;
    read_configuration(own->file, facts);
    facts->in_memory = facts->configured && (strcmp(facts->configuration.store.engine, "mem") == 0 ||
                                             strcmp(facts->configuration.store.engine, "null") == 0);
    name_transports(fs, worker->net->name, facts);
    return 0;
}

static int file_open(struct target *target, const char *path, int flags, mode_t mode)
{
    return result(benchfs_open(fs_of(target), path, flags, mode));
}

static int file_close(struct target *target, int fd)
{
    return result(benchfs_close(fs_of(target), fd));
}

static ssize_t file_read(struct target *target, int fd, void *bytes, size_t length, off_t offset)
{
    ssize_t count = benchfs_pread(fs_of(target), fd, bytes, length, offset);
    return count < 0 ? -errno : count;
}

static ssize_t file_write(struct target *target, int fd, const void *bytes, size_t length, off_t offset)
{
    ssize_t count = benchfs_pwrite(fs_of(target), fd, bytes, length, offset);
    return count < 0 ? -errno : count;
}

static int file_sync(struct target *target, int fd)
{
    return result(benchfs_fsync(fs_of(target), fd));
}

static int path_stat(struct target *target, const char *path, struct stat *status)
{
    return result(benchfs_stat(fs_of(target), path, status));
}

static int path_unlink(struct target *target, const char *path)
{
    return result(benchfs_unlink(fs_of(target), path));
}

static int path_mkdir(struct target *target, const char *path, mode_t mode)
{
    return result(benchfs_mkdir(fs_of(target), path, mode));
}

static int path_rmdir(struct target *target, const char *path)
{
    return result(benchfs_rmdir(fs_of(target), path));
}

/* Entries from one position to before another; last 0: to the end. */
static int list_range(struct target *target, const char *path, uint64_t first, uint64_t last,
                      target_entry each, void *argument)
{
    int status = 0;
    benchfs_dir *directory = benchfs_opendir(fs_of(target), path);
    if (directory == NULL)
        return -errno;
    if (first > 0)
        benchfs_seekdir(directory, (long)first);
    while (status == 0) {
        errno = 0;
        const struct dirent *entry = benchfs_readdir(directory);
        if (entry == NULL) {
            status = -errno;
            break;
        }
        if (last > 0 && (uint64_t)entry->d_off > last)
            break;
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            status = each(argument, entry->d_name, (mode_t)DTTOIF(entry->d_type));
    }
    benchfs_closedir(directory);
    return status;
}

static int path_list(struct target *target, const char *path, target_entry each, void *argument)
{
    return list_range(target, path, 0, 0, each, argument);
}

/* An entry's d_off is one more than its position, which is spread evenly over 64 bits. */
static int path_list_part(struct target *target, const char *path, uint32_t part, uint32_t parts,
                          target_entry each, void *argument)
{
    uint64_t step = UINT64_MAX / parts;
    return list_range(target, path, part * step, part + 1 == parts ? 0 : (part + 1) * step, each, argument);
}

static int path_link(struct target *target, const char *path, const char *new_path)
{
    return result(benchfs_link(fs_of(target), path, new_path));
}

static int path_rename(struct target *target, const char *path, const char *new_path)
{
    return result(benchfs_rename(fs_of(target), path, new_path));
}

static int path_symlink(struct target *target, const char *to, const char *path)
{
    return result(benchfs_symlink(fs_of(target), to, path));
}

static ssize_t path_readlink(struct target *target, const char *path, char *text, size_t size)
{
    ssize_t length = benchfs_readlink(fs_of(target), path, text, size);
    return length < 0 ? -errno : length;
}

static int path_lstat(struct target *target, const char *path, struct stat *status)
{
    return result(benchfs_lstat(fs_of(target), path, status));
}

static int path_truncate(struct target *target, const char *path, off_t length)
{
    return result(benchfs_truncate(fs_of(target), path, length));
}

static int submit(struct target *target, struct benchfs_io *const *ios, unsigned count)
{
    return result(benchfs_submit(fs_of(target), ios, count));
}

static int wait_for(struct target *target, struct benchfs_io **done, unsigned minimum, unsigned maximum,
                    uint64_t patience)
{
    const struct timespec timeout = {.tv_sec = (time_t)(patience / NSEC_PER_SEC),
                                     .tv_nsec = (long)(patience % NSEC_PER_SEC)};
    return result(
        benchfs_wait(fs_of(target), done, minimum, maximum, patience == TARGET_FOR_EVER ? NULL : &timeout));
}

static struct client *core(struct target *target)
{
    return client_get(fs_of(target));
}

static struct metrics *measured(struct target *target)
{
    struct worker *worker = worker_get(fs_of(target));
    if (worker == NULL)
        return NULL;
    loop_settle(worker->loop);
    return worker->metrics;
}

static struct sources *servers(struct target *target)
{
    struct benchfs_target *own = (struct benchfs_target *)target;
    if (own->sources == NULL && target_sources_open(own->fs, &own->sources) < 0)
        return NULL;
    return target_sources_refresh(own->sources);
}

const struct target_operations target_benchfs = {
    .scheme = "benchfs:",
    .help = "the current cluster, or one with these options",
    .check = check,
    .prepare = prepare,
    .release = release,
    .open = open_target,
    .close = close_target,
    .describe = describe,
    .file_open = file_open,
    .file_close = file_close,
    .read = file_read,
    .write = file_write,
    .sync = file_sync,
    .stat = path_stat,
    .unlink = path_unlink,
    .mkdir = path_mkdir,
    .rmdir = path_rmdir,
    .list = path_list,
    .list_part = path_list_part,
    .rename = path_rename,
    .link = path_link,
    .truncate = path_truncate,
    .symlink = path_symlink,
    .readlink = path_readlink,
    .lstat = path_lstat,
    .submit = submit,
    .wait = wait_for,
    .client = core,
    .metrics = measured,
    .servers = servers,
};

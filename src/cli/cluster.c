/* Finding a cluster and asking all its servers one question. The question goes to each bootstrap address
 * directly, without a cluster map, so that it also works on what is left of a cluster. */
#include "cli/cluster.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config.h"
#include "base/status.h"
#include "cli/cli.h"

int cluster_paths_find(struct cluster_paths *paths)
{
    char path[PATH_MAX];
    int status = cluster_file_default_path(path, sizeof(path));
    if (status == -EPERM)
        cli_error("the directory for the cluster file belongs to somebody else or is open to others: set "
                  "BENCHFS_CLUSTER to a file in a directory of your own");
    else if (status != 0)
        cli_error("cannot tell where the cluster file is: %s: set BENCHFS_CLUSTER", status_text(status));
    if (status != 0)
        return status;
    char here[PATH_MAX] = "";
    if (path[0] != '/' && getcwd(here, sizeof(here)) == NULL) {
        status = -errno;
        cli_error("cannot tell the current directory: %s", status_text(status));
        return status;
    }
    /* Room for the longest of the derived names. */
    if ((size_t)snprintf(paths->file, sizeof(paths->file) - 32, "%s%s%s", here, path[0] == '/' ? "" : "/",
                         path) >= sizeof(paths->file) - 32) {
        cli_error("cluster file \"%s\": %s", path, status_text(-ENAMETOOLONG));
        return -ENAMETOOLONG;
    }
    int length = (int)strlen(paths->file);
    snprintf(paths->key, sizeof(paths->key), "%.*s.key", length, paths->file);
    snprintf(paths->directory, sizeof(paths->directory), "%.*s.d", length, paths->file);
    snprintf(paths->fifos, sizeof(paths->fifos), "%.*s.fifos", length, paths->file);
    snprintf(paths->config, sizeof(paths->config), "%.*s.d/benchfs.toml", length, paths->file);
    return 0;
}

/* ---- opening ---- */

static int add_server(struct cluster_file *file, const char *address, size_t length)
{
    struct cluster_file_server *servers = realloc(file->servers, (file->server_count + 1) * sizeof(*servers));
    if (servers == NULL)
        return -ENOMEM;
    file->servers = servers;
    struct cluster_file_server *server = &servers[file->server_count];
    *server = (struct cluster_file_server){.id = file->server_count};
    if (length == 0 || length >= sizeof(server->address) || memchr(address, ':', length) == NULL)
        return -EINVAL;
    memcpy(server->address, address, length);
    file->server_count++;
    return 0;
}

static int read_key(struct cluster *cluster, const char *path)
{
    int status = cluster_key_read(path, cluster->key);
    if (status == -EPERM)
        cli_error("key file \"%s\" can be read by others: chmod 600 it", path);
    else if (status != 0)
        cli_error("cannot read key file \"%s\": %s", path, status_text(status));
    return status;
}

static int open_environment(struct cluster *cluster, const char *servers)
{
    const char *key = getenv("BENCHFS_KEY");
    if (key == NULL) {
        cli_error("BENCHFS_SERVERS is set, but not BENCHFS_KEY, the name of the cluster's key file");
        return -ENOENT;
    }
    for (const char *at = servers;; at++) {
        size_t length = strcspn(at, ",");
        int status = add_server(&cluster->file, at, length);
        if (status == -EINVAL)
            cli_error("BENCHFS_SERVERS: \"%.*s\" is not HOST:PORT", (int)length, at);
        if (status != 0)
            return status;
        at += length;
        if (*at == '\0')
            break;
    }
    return read_key(cluster, key);
}

static int open_file(struct cluster *cluster)
{
    char error[512];
    int status = cluster_paths_find(&cluster->paths);
    if (status != 0)
        return status;
    status = cluster_file_read(cluster->paths.file, &cluster->file, error, sizeof(error));
    if (status == -ENOENT)
        cli_error("no cluster file \"%s\": start a cluster with \"benchfs start\", or set BENCHFS_CLUSTER",
                  cluster->paths.file);
    else if (status != 0)
        cli_error("%s", error);
    return status != 0 ? status : read_key(cluster, cluster->paths.key);
}

int cluster_open(struct cluster *cluster)
{
    memset(cluster, 0, sizeof(*cluster));
    const char *servers = getenv("BENCHFS_SERVERS");
    int status =
        servers != NULL && servers[0] != '\0' ? open_environment(cluster, servers) : open_file(cluster);
    if (status != 0)
        cluster_file_free(&cluster->file);
    return status;
}

void cluster_close(struct cluster *cluster)
{
    cluster_file_free(&cluster->file);
}

/* ---- asking ---- */

struct question {
    struct rpc_peer *peer;
    struct rpc_call call;
};

/* The transports of the configuration that the cluster was started with. */
static void transport_options(const struct cluster *cluster, struct config *config,
                              struct net_ucx_options *options)
{
    char error[512];
    config_defaults(config);
    if (cluster->file.config[0] != '\0')
        config_read_file(config, cluster->file.config, error, sizeof(error));
    options->transports = config->server.transports[0] != '\0' ? config->server.transports : NULL;
    options->devices = config->server.devices[0] != '\0' ? config->server.devices : NULL;
    options->one_host = true;
    for (uint32_t i = 0; i < cluster->file.server_count; i++)
        options->one_host &= net_address_is_local(cluster->file.servers[i].address);
}

static void ask_all(struct rpc *rpc, struct loop *loop, const struct cluster *cluster, unsigned operation,
                    uint64_t patience, struct question *questions, struct server_answer *answers)
{
    uint32_t count = cluster->file.server_count;
    uint64_t deadline = loop_now(loop) + patience;
    for (uint32_t i = 0; i < count; i++) {
        struct question *question = &questions[i];
        answers[i].status = rpc_peer_create(rpc, cluster->file.servers[i].address, &question->peer);
        if (answers[i].status != 0)
            continue;
        question->call = (struct rpc_call){.operation = (uint16_t)operation, .deadline = deadline};
        if (operation == RPC_SERVER_STATUS) {
            question->call.reply = &answers[i].reply;
            question->call.reply_size = sizeof(answers[i].reply);
        }
        rpc_start(question->peer, &question->call);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (questions[i].peer == NULL)
            continue;
        answers[i].status = rpc_finish(&questions[i].call);
        rpc_peer_destroy(questions[i].peer);
    }
}

int cluster_link_open(const struct cluster *cluster, uint64_t patience, struct cluster_link *link)
{
    struct config *config = malloc(sizeof(*config));
    struct loop_options loop_options = {0};
    struct net_ucx_options net_options = {0};
    struct rpc_options rpc_options = {
        .cluster_key = cluster->key, .deadline_ns = patience, .server_id = UINT32_MAX};
    *link = (struct cluster_link){.config = config};
    int status = config == NULL ? -ENOMEM : 0;
    if (status == 0) {
        transport_options(cluster, config, &net_options);
        status = loop_create(&loop_options, &link->loop);
    }
    if (status == 0)
        status = net_create(link->loop, &net_options, &link->net);
    if (status == 0)
        status = rpc_create(link->net, &rpc_options, &link->rpc);
    if (status != 0) {
        cli_error("cannot reach the network: %s", status_text(status));
        cluster_link_close(link);
    }
    return status;
}

void cluster_link_close(struct cluster_link *link)
{
    if (link->rpc != NULL)
        rpc_destroy(link->rpc);
    if (link->net != NULL)
        net_destroy(link->net);
    if (link->loop != NULL)
        loop_destroy(link->loop);
    free(link->config);
    *link = (struct cluster_link){0};
}

int cluster_ask(const struct cluster *cluster, unsigned operation, uint64_t patience,
                struct server_answer *answers)
{
    struct question *questions = calloc(cluster->file.server_count, sizeof(*questions));
    struct cluster_link link;
    if (questions == NULL) {
        cli_error("%s", status_text(-ENOMEM));
        return -ENOMEM;
    }
    int status = cluster_link_open(cluster, patience, &link);
    if (status == 0) {
        ask_all(link.rpc, link.loop, cluster, operation, patience, questions, answers);
        cluster_link_close(&link);
    }
    free(questions);
    return status;
}

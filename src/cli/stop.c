/* stop: asks all servers to end, waits for their processes, and insists by signals where asking does not
 * help. Cluster file, key and directory go last; the logs stay when a server did not end on request, because
 * then somebody will want to read them. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/status.h"
#include "cli/cli.h"
#include "cli/cluster.h"
#include "store/store.h"

#define ASK_PATIENCE (3 * NSEC_PER_SEC)
#define END_PATIENCE (3 * NSEC_PER_SEC)
#define SAVE_PATIENCE (600 * NSEC_PER_SEC) /* a persistent store is written to its device first */

/* Waits for one process, with ever more force. Returns whether it ended without any. */
static bool end_process(const struct cluster_file_server *server, int pidfd, bool asked, uint64_t patience)
{
    if (asked && process_wait(pidfd, patience))
        return true;
    static const struct {
        int signal;
        const char *name;
    } steps[] = {{SIGTERM, "SIGTERM"}, {SIGKILL, "SIGKILL"}};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        cli_error("server %u (pid %d) does not end: sending %s", server->id, (int)server->pid, steps[i].name);
        process_signal(pidfd, steps[i].signal);
        if (process_wait(pidfd, END_PATIENCE))
            return false;
    }
    cli_error("server %u (pid %d) survives SIGKILL", server->id, (int)server->pid);
    return false;
}

static int stop(const struct cluster *cluster)
{
    uint32_t count = cluster->file.server_count;
    struct server_answer *answers = calloc(count, sizeof(*answers));
    int *processes = calloc(count, sizeof(*processes));
    int result = CLI_FAILED;
    if (answers == NULL || processes == NULL)
        goto out;
    /* Opened before they are asked to end: afterwards the pid might already be another's. */
    for (uint32_t i = 0; i < count; i++)
        processes[i] = process_open(cluster->file.servers[i].pid, cluster->paths.key);
    if (cluster_ask(cluster, RPC_SHUT_DOWN, ASK_PATIENCE, answers) != 0)
        for (uint32_t i = 0; i < count; i++)
            answers[i].status = -EHOSTDOWN;
    const struct store_operations *engine = store_engine(cluster->file.store);
    uint64_t patience = engine != NULL && engine->persistent ? SAVE_PATIENCE : END_PATIENCE;
    bool clean = true;
    uint32_t dead = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct cluster_file_server *server = &cluster->file.servers[i];
        if (processes[i] >= 0) {
            clean = end_process(server, processes[i], answers[i].status == 0, patience) && clean;
            close(processes[i]);
        } else if (answers[i].status != 0) {
            cli_error("server %u on %s was down already", server->id, server->host);
            dead++;
        }
    }
    cluster_remove(&cluster->paths, !clean || dead > 0);
    if (!clean || dead > 0)
        cli_error("logs are kept in \"%s\"", cluster->paths.directory);
    printf("stopped %u server%s\n", count - dead, count - dead == 1 ? "" : "s");
    result = CLI_OK;
out:
    free(answers);
    free(processes);
    return result;
}

static int run_stop(int argc, char **argv)
{
    static const struct option options[] = {CLI_HELP, {0}};
    int result = CLI_OK;
    if (cli_option(argc, argv, ":", options, &result) != -1)
        return result;
    if (optind < argc)
        return cli_usage("unexpected argument \"%s\"", argv[optind]);
    clock_prepare();
    unsetenv("BENCHFS_SERVERS"); /* only a cluster file tells which processes to end */
    struct cluster *cluster = calloc(1, sizeof(*cluster));
    if (cluster == NULL || cluster_open(cluster) != 0) {
        free(cluster);
        return CLI_FAILED;
    }
    int lock = cluster_lock(&cluster->paths);
    result = lock < 0 ? CLI_FAILED : stop(cluster);
    if (lock >= 0)
        close(lock);
    cluster_close(cluster);
    free(cluster);
    return result;
}

const struct verb verb_stop = {
    .name = "stop",
    .usage = "",
    .help = "Stop the cluster; only what is on disks stays",
    .text = "Servers that do not end when asked get SIGTERM, then SIGKILL.\n",
    .run = run_stop,
};

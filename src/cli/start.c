/* start: makes a cluster out of processes.
 *
 * What belongs to a cluster lies beside its cluster file: the key (FILE.key), and in FILE.d the configuration
 * that it runs with, written out in full, and the servers' logs. The cluster file itself is written last, in
 * one step, so whoever finds it finds servers that answer.
 *
 * A cluster file that is already there belongs either to a running cluster, then nothing is touched; or to
 * one that has died, then the new one is started with that one's configuration, unless the command line says
 * otherwise. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/quantity.h"
#include "base/random.h"
#include "base/status.h"
#include "cli/cli.h"
#include "cli/cluster.h"
#include "cli/launch.h"
#include "store/store.h"

#define PATIENCE (15 * NSEC_PER_SEC)
#define RECOVERY_PATIENCE                                                                                    \
    (3600 * NSEC_PER_SEC) /* with a persistent store; a server that fails says so at once */
#define SERVERS_MAX 1024u

struct start {
    struct cluster_paths paths;
    struct config config;
    const char *config_path; /* -c */
    const char *store;       /* --store */
    const char *hosts_path;  /* --hosts */
    uint32_t count;          /* -n; 0: not given */
    char **sets;             /* --set: table.key=value */
    uint32_t set_count;
    struct launch launch;
    char program[PATH_MAX];
};

/* ---- what is there already ---- */

/* Lists the servers that still run, as "0 (pid 17), 1 (pid 18)". Returns how many. */
static uint32_t living_servers(const struct cluster *old, char *text, size_t size)
{
    uint32_t living = 0;
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < old->file.server_count; i++) {
        const struct cluster_file_server *server = &old->file.servers[i];
        int fd = process_open(server->pid, old->paths.key);
        if (fd < 0)
            continue;
        close(fd);
        if (used < size)
            used += (size_t)snprintf(text + used, size - used, "%s%u (pid %d)", living == 0 ? "" : ", ",
                                     server->id, (int)server->pid);
        living++;
    }
    return living;
}

/* Servers on other hosts can only be asked. */
static uint32_t answering_servers(const struct cluster *old)
{
    bool elsewhere = false;
    for (uint32_t i = 0; i < old->file.server_count; i++)
        elsewhere = elsewhere || old->file.servers[i].pid == 0;
    struct server_answer *answers = calloc(old->file.server_count, sizeof(*answers));
    uint32_t answering = 0;
    if (elsewhere && answers != NULL && cluster_ask(old, RPC_SERVER_STATUS, 2 * NSEC_PER_SEC, answers) == 0)
        for (uint32_t i = 0; i < old->file.server_count; i++)
            answering += answers[i].status == 0;
    free(answers);
    return answering;
}

/* Takes over what the dead cluster ran with. */
static int inherit(struct start *start, const struct cluster_file *old)
{
    char error[512];
    if (start->config_path == NULL && old->config[0] != '\0') {
        int status = config_read_file(&start->config, old->config, error, sizeof(error));
        if (status != 0) {
            cli_error("cannot read the dead cluster's configuration: %s: give another with -c", error);
            return status;
        }
    }
    if (start->count == 0 && start->hosts_path == NULL) {
        start->launch.servers = calloc(old->server_count, sizeof(*start->launch.servers));
        if (start->launch.servers == NULL)
            return -ENOMEM;
        start->launch.count = old->server_count;
        for (uint32_t i = 0; i < old->server_count; i++) {
            start->launch.servers[i].id = i;
            memcpy(start->launch.servers[i].host, old->servers[i].host, sizeof(old->servers[i].host));
        }
    }
    return 0;
}

static int look_at_old(struct start *start)
{
    char text[1024];
    struct cluster old = {.paths = start->paths};
    int status = cluster_file_read(start->paths.file, &old.file, text, sizeof(text));
    if (status == -ENOENT)
        return 0;
    if (status != 0) {
        cli_error("%s: remove it if no cluster runs", text);
        return status;
    }
    bool answers = cluster_key_read(start->paths.key, old.key) == 0 && answering_servers(&old) > 0;
    if (living_servers(&old, text, sizeof(text)) > 0) {
        cli_error("a cluster is running already on cluster file \"%s\": server %s: stop it with \"benchfs "
                  "stop\", or "
                  "set BENCHFS_CLUSTER to another file",
                  start->paths.file, text);
        status = -EEXIST;
    } else if (answers) {
        cli_error("a cluster is running already on other hosts, by cluster file \"%s\": stop it with "
                  "\"benchfs stop\"",
                  start->paths.file);
        status = -EEXIST;
    } else {
        cli_error(
            "cluster file \"%s\" is of a cluster that has died: starting anew from the same configuration",
            start->paths.file);
        status = inherit(start, &old.file);
    }
    cluster_file_free(&old.file);
    return status;
}

/* ---- configuration ---- */

static int apply_set(struct start *start, const char *text)
{
    char table[64], key[64], error[512];
    if (sscanf(text, "%63[^.=].%63[^=]=", table, key) != 2 || strchr(text, '=') == NULL)
        return cli_usage("\"%s\" is not TABLE.KEY=VALUE", text);
    if (config_set(&start->config, table, key, strchr(text, '=') + 1, error, sizeof(error)) == 0)
        return CLI_OK;
    return cli_usage("%s", error);
}

static int check_ring(const struct config *config)
{
    const char *ring = config->cluster.ring, *hash = config->cluster.hash;
    if (strategy_check((enum ring_strategy)strategy_from_name(ring),
                       (enum hash_function)hash_function_from_name(hash)) == 0)
        return CLI_OK;
    return cli_usage("cluster.ring = %s does not work with cluster.hash = %s, by which one server would own "
                     "nearly everything: choose another hash, or the ring modulo",
                     ring, hash);
}

/* Defaults, dead cluster (if any), file, command line: each over the one before. */
static int configure(struct start *start)
{
    char error[512];
    if (start->config_path != NULL &&
        config_read_file(&start->config, start->config_path, error, sizeof(error)) != 0) {
        cli_error("%s", error);
        return CLI_FAILED;
    }
    if (start->store != NULL &&
        config_set(&start->config, "store", "engine", start->store, error, sizeof(error)) != 0)
        return cli_usage("%s", error);
    for (uint32_t i = 0; i < start->set_count; i++) {
        int result = apply_set(start, start->sets[i]);
        if (result != CLI_OK)
            return result;
    }
    return check_ring(&start->config);
}

static int write_config(const struct start *start)
{
    FILE *out = fopen(start->paths.config, "we");
    int status = out == NULL ? -errno : 0;
    if (out != NULL) {
        config_print(&start->config, out);
        if (fclose(out) != 0)
            status = -errno;
    }
    if (status != 0)
        cli_error("cannot write \"%s\": %s", start->paths.config, status_text(status));
    return status;
}

/* ---- which servers ---- */

static int add_servers(struct launch *launch, const char *host, uint32_t count)
{
    struct launch_server *servers = realloc(launch->servers, (launch->count + count) * sizeof(*servers));
    if (servers == NULL)
        return -ENOMEM;
    launch->servers = servers;
    for (uint32_t i = 0; i < count; i++) {
        struct launch_server *server = &servers[launch->count];
        *server = (struct launch_server){.id = launch->count++};
        snprintf(server->host, sizeof(server->host), "%s", host);
    }
    return 0;
}

/* Names that ssh and a shell take literally. */
static bool valid_host(const char *host)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    return host[0] != '\0' && host[0] != '-' && strlen(host) < 64 && host[strspn(host, letters)] == '\0';
}

/* "HOST [slots=N]" a line, # begins a comment. */
static int read_hosts(struct start *start)
{
    FILE *file = fopen(start->hosts_path, "re");
    if (file == NULL) {
        int status = -errno;
        cli_error("cannot read hosts file \"%s\": %s", start->hosts_path, status_text(status));
        return status;
    }
    char line[512];
    int status = 0;
    for (unsigned number = 1; status == 0 && fgets(line, sizeof(line), file) != NULL; number++) {
        char *rest = line;
        line[strcspn(line, "#\n")] = '\0';
        const char *host = strtok_r(line, " \t\r", &rest);
        if (host == NULL)
            continue;
        const char *slots = strtok_r(NULL, " \t\r", &rest);
        unsigned count = 1;
        char beyond;
        if (!valid_host(host) || (slots != NULL && sscanf(slots, "slots=%u%c", &count, &beyond) != 1) ||
            count == 0 || start->launch.count + count > SERVERS_MAX) {
            cli_error("%s:%u: not \"HOST\" or \"HOST slots=N\", at most %u servers in all", start->hosts_path,
                      number, SERVERS_MAX);
            status = -EINVAL;
        } else {
            status = add_servers(&start->launch, host, count);
        }
    }
    fclose(file);
    if (status == 0 && start->launch.count == 0) {
        cli_error("hosts file \"%s\" names no host", start->hosts_path);
        status = -EINVAL;
    }
    return status;
}

static int choose_servers(struct start *start)
{
    if (start->hosts_path != NULL)
        return read_hosts(start);
    if (start->launch.count > 0) /* those of the dead cluster */
        return 0;
    return add_servers(&start->launch, "localhost",
                       start->count > 0 ? start->count : (uint32_t)start->config.cluster.server_count);
}

/* ---- starting ---- */

/* A cluster without its file cannot be found: it must not go on. */
static void end_servers(const struct start *start)
{
    for (uint32_t i = 0; i < start->launch.count; i++) {
        int fd = process_open(start->launch.servers[i].pid, start->paths.key);
        if (fd < 0)
            continue;
        process_signal(fd, SIGKILL);
        process_wait(fd, NSEC_PER_SEC);
        close(fd);
    }
}

static int start_servers(struct start *start)
{
    uint8_t key[CLUSTER_KEY_BYTES];
    int status = write_config(start);
    if (status != 0)
        return status;
    status = cluster_key_make(start->paths.key, key);
    if (status != 0) {
        cli_error("cannot make key file \"%s\": %s", start->paths.key, status_text(status));
        return status;
    }
    start->launch.paths = &start->paths;
    start->launch.program = start->program;
    start->launch.listen = start->config.server.listen;
    const struct store_operations *engine = store_engine(start->config.store.engine);
    bool recovers = engine != NULL && engine->persistent;
    status = launch_all(&start->launch, recovers ? RECOVERY_PATIENCE : PATIENCE);
    if (status != 0)
        return status;
    launch_release(&start->launch);
    status = launch_write_file(&start->launch, &start->config);
    if (status != 0) {
        cli_error("cannot write cluster file \"%s\": %s", start->paths.file, status_text(status));
        end_servers(start);
    }
    return status;
}

static int run_locked(struct start *start)
{
    int status = look_at_old(start);
    if (status != 0)
        return CLI_FAILED;
    int result = configure(start);
    if (result != CLI_OK)
        return result;
    if (choose_servers(start) != 0 || launch_find_program(start->program, sizeof(start->program)) != 0)
        return CLI_FAILED;
    if (start_servers(start) != 0) {
        if (access(start->paths.file, F_OK) != 0) { /* a dead cluster's file still names its configuration */
            unlink(start->paths.config);
            unlink(start->paths.key);
        }
        return CLI_FAILED;
    }
    char capacity[32];
    quantity_format_size(start->config.store.capacity, capacity, sizeof(capacity));
    printf("started %u server%s (store %s, %s each), cluster file %s\n", start->launch.count,
           start->launch.count == 1 ? "" : "s", start->config.store.engine, capacity, start->paths.file);
    return CLI_OK;
}

static int run_start(int argc, char **argv)
{
    static const struct option options[] = {
        {"servers", required_argument, NULL, 'n'},
        {"store", required_argument, NULL, 's'},
        {"hosts", required_argument, NULL, 'H'},
        {"config", required_argument, NULL, 'c'},
        {"set", required_argument, NULL, 'S'},
        CLI_HELP,
        {0},
    };
    struct start *start = calloc(1, sizeof(*start));
    char **sets = calloc((size_t)argc + 1, sizeof(*sets));
    int result = CLI_OK;
    if (start == NULL || sets == NULL)
        goto out;
    start->sets = sets;
    for (int option; (option = cli_option(argc, argv, ":n:c:", options, &result)) != -1;)
        switch (option) {
        case 'n': {
            char *end;
            unsigned long count = strtoul(optarg, &end, 10);
            if (*end != '\0' || count == 0 || count > SERVERS_MAX) {
                result = cli_usage("number of servers \"%s\" is not 1 to %u", optarg, SERVERS_MAX);
                goto out;
            }
            start->count = (uint32_t)count;
            break;
        }
        case 's':
            start->store = optarg;
            break;
        case 'H':
            start->hosts_path = optarg;
            break;
        case 'S':
            sets[start->set_count++] = optarg;
            break;
        case 'c':
            start->config_path = optarg;
            break;
        default:
            goto out;
        }
    if (optind < argc) {
        result = cli_usage("unexpected argument \"%s\"", argv[optind]);
        goto out;
    }
    if (start->count > 0 && start->hosts_path != NULL) {
        result = cli_usage("-n and --hosts exclude each other: a host's line may say slots=N");
        goto out;
    }
    clock_prepare();
    config_defaults(&start->config);
    result = CLI_FAILED;
    if (cluster_paths_find(&start->paths) != 0)
        goto out;
    int lock = cluster_lock(&start->paths);
    if (lock < 0)
        goto out;
    result = run_locked(start);
    if (result != CLI_OK)
        rmdir(start->paths.directory); /* goes only if it is empty: logs stay */
    close(lock);
out:
    if (start != NULL)
        free(start->launch.servers);
    free(start);
    free(sets);
    return result;
}

const struct verb verb_start = {
    .name = "start",
    .usage = "[-n SERVERS] [--store ENGINE] [--hosts FILE] [-c CONFIG] [--set TABLE.KEY=VALUE]...",
    .help = "Start a cluster and return when its servers answer",
    .text = "  -n, --servers N      number of servers on this host\n"
            "      --store ENGINE   mem, file, uring, pmem, rocksdb or tiered (benchfs.toml(5));\n"
            "                       null: measure everything but storage\n"
            "      --hosts FILE     \"HOST [slots=N]\" a line: start servers there through ssh\n"
            "  -c, --config FILE    configuration in TOML, see benchfs.toml(5)\n"
            "      --set TABLE.KEY=VALUE  one option of the configuration, for example store.capacity=4GiB\n"
            "The cluster file goes to BENCHFS_CLUSTER, its key, configuration and logs beside it.\n",
    .run = run_start,
};

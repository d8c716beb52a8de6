/* Servers for a store directory that nobody serves. They are children of this process and end with it, listen
 * on this host only, and have a key that was made for them and goes with them; cluster file, key and logs are
 * in a temporary directory.
 *
 * What a server needs to know is in its directory's identity: the engine and how many servers there are. The
 * rest is configuration, which matters little for reading. A server that another process runs refuses to
 * start: its directory is locked. */
#include "cli/offline.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/status.h"
#include "cli/cli.h"
#include "journal/identity.h"

#define START_PATIENCE (600 * NSEC_PER_SEC) /* they recover */
#define SERVERS_MAX 1024u

/* ---- whose directory it is ---- */

static int read_identity(const char *store, uint32_t server, struct identity *identity)
{
    char path[PATH_MAX], bytes[IDENTITY_BYTES_MAX];
    if ((size_t)snprintf(path, sizeof(path), "%s/%u/identity", store, server) >= sizeof(path))
        return -ENAMETOOLONG;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, bytes, sizeof(bytes));
    int status = length < 0 ? -errno : identity_decode(bytes, (size_t)length, identity);
    if (fd >= 0)
        close(fd);
    if (status != 0)
        cli_error("cannot read \"%s\": %s%s", path, status_text(status),
                  status == -ENOENT ? ": all server directories of the cluster have to be in one place" : "");
    return status;
}

/* An engine as identities name it (server/store_directory.h), taken apart. */
struct engine_name {
    const char *engine;
    const char *fast; /* of tiered; NULL: one that does not last */
    const char *slow;
    bool apart;
};

static struct engine_name take_apart(char *text)
{
    struct engine_name name = {.engine = text};
    char *part[3] = {NULL};
    for (int i = 0; i < 3 && (text = strchr(text, ':')) != NULL; i++) {
        *text++ = '\0';
        part[i] = text;
    }
    name.fast = part[1] != NULL ? part[0] : NULL;
    name.slow = part[1] != NULL ? part[1] : part[0];
    name.apart = part[2] != NULL;
    return name;
}

/* What the directories say, as configuration. */
static int configure(struct config *config, struct identity *identity, const char *path, bool change)
{
    const struct engine_name name = take_apart(identity->engine);
    if (name.apart && config->store.fast_path[0] == 0) {
        cli_error(
            "\"%s\" has its upper engine's files elsewhere: say where by --set store.fast_path=DIRECTORY",
            path);
        return -EINVAL;
    }
    const struct {
        const char *table, *key, *value; /* NULL: as it is */
    } options[] = {
        {"store", "engine", name.engine},
        {"store", "fast", name.slow == NULL || name.fast != NULL ? name.fast : "mem"},
        {"store", "slow", name.slow},
        {"store", "fast_path", name.apart ? NULL : ""},
        {"store", "discard", change ? "false" : "true"},
        {"store", "path", path},
        {"cluster", "ring", identity->ring},
        {"cluster", "hash", identity->hash},
        {"server", "listen", "127.0.0.1:0"},
    };
    char error[512];
    int status = 0;
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]) && status == 0; i++) {
        if (options[i].value != NULL)
            status =
                config_set(config, options[i].table, options[i].key, options[i].value, error, sizeof(error));
    }
    if (status != 0)
        cli_error("%s", error);
    return status;
}

/* What the directories say; the servers themselves check more. */
static int find_servers(struct offline *offline, const char *store, bool change)
{
    struct identity first, other;
    char path[PATH_MAX];
    int status = read_identity(store, 0, &first);
    if (status != 0)
        return status;
    if (first.servers == 0 || first.servers > SERVERS_MAX)
        return -EINVAL;
    for (uint32_t i = 1; i < first.servers; i++) {
        status = read_identity(store, i, &other);
        if (status != 0)
            return status;
    }
    offline->launch.servers = calloc(first.servers, sizeof(*offline->launch.servers));
    if (offline->launch.servers == NULL)
        return -ENOMEM;
    offline->launch.count = first.servers;
    for (uint32_t i = 0; i < first.servers; i++) {
        offline->launch.servers[i].id = i;
        strcpy(offline->launch.servers[i].host, "localhost");
    }
    if (realpath(store, path) == NULL)
        return -errno;
    return configure(&offline->config, &first, path, change);
}

/* ---- files ---- */

static int make_files(struct offline *offline)
{
    uint8_t key[CLUSTER_KEY_BYTES];
    char directory[PATH_MAX - 64], file[PATH_MAX - 32];
    const char *top = getenv("TMPDIR");
    snprintf(directory, sizeof(directory), "%s/benchfs-fsck.XXXXXX",
             top != NULL && top[0] == '/' ? top : "/tmp");
    if (mkdtemp(directory) == NULL) {
        int status = -errno;
        cli_error("cannot make a temporary directory: %s", status_text(status));
        return status;
    }
    snprintf(file, sizeof(file), "%s/cluster.json", directory);
    setenv("BENCHFS_CLUSTER", file, 1);
    unsetenv("BENCHFS_SERVERS");
    int status = cluster_paths_find(&offline->paths);
    if (status == 0 && mkdir(offline->paths.directory, 0700) != 0)
        status = -errno;
    FILE *out = status == 0 ? fopen(offline->paths.config, "we") : NULL;
    if (status == 0 && out == NULL)
        status = -errno;
    if (out != NULL) {
        config_print(&offline->config, out);
        if (fclose(out) != 0)
            status = -errno;
    }
    if (status == 0)
        status = cluster_key_make(offline->paths.key, key);
    explicit_bzero(key, sizeof(key));
    if (status != 0)
        cli_error("cannot prepare \"%s\": %s", directory, status_text(status));
    return status;
}

static void remove_files(struct offline *offline)
{
    char *slash = strrchr(offline->paths.file, '/');
    if (slash == NULL)
        return;
    cluster_remove(&offline->paths, false);
    *slash = '\0';
    rmdir(offline->paths.file);
    *slash = '/';
}

/* ---- life ---- */

int offline_start(struct offline *offline, const char *store, bool change)
{
    int status = find_servers(offline, store, change);
    if (status == 0)
        status = launch_find_program(offline->program, sizeof(offline->program));
    if (status == 0)
        status = make_files(offline);
    if (status == 0) {
        offline->launch.paths = &offline->paths;
        offline->launch.program = offline->program;
        offline->launch.listen = offline->config.server.listen;
        offline->launch.bound = true;
        status = launch_all(&offline->launch, START_PATIENCE);
        if (status == 0) {
            launch_release(&offline->launch);
            status = launch_write_file(&offline->launch, &offline->config);
            if (status != 0)
                offline_stop(offline);
        }
    }
    if (status != 0) {
        remove_files(offline);
        free(offline->launch.servers);
        offline->launch.servers = NULL;
    }
    return status;
}

int offline_stop(struct offline *offline)
{
    int status = 0;
    for (uint32_t i = 0; i < offline->launch.count; i++)
        kill(offline->launch.servers[i].pid, SIGTERM);
    for (uint32_t i = 0; i < offline->launch.count; i++) {
        int ended = 0;
        pid_t pid;
        while ((pid = waitpid(offline->launch.servers[i].pid, &ended, 0)) < 0 && errno == EINTR)
            continue;
        if (pid < 0 || !WIFEXITED(ended) || WEXITSTATUS(ended) != 0) {
            cli_error("server %u did not end well", offline->launch.servers[i].id);
            status = -EIO;
        }
    }
    remove_files(offline);
    free(offline->launch.servers);
    offline->launch.servers = NULL;
    return status;
}

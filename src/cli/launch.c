/* Starting servers.
 *
 * Every server is a child with pipes at standard input and output, in a session of its own, its standard
 * error in a log file. The dialogue, line by line:
 *
 *   server: ready HOST:PORT [STORE]   it listens there, on a port of its choice
 *   start:  cluster UUID              if there are STOREs
 *           server ID HOST:PORT       for every server of the cluster
 *           go
 *   server: serving                   it knows the map and answers
 *
 * STORE says whose a persistent store's directory is: a cluster's, by its uuid, or nobody's yet ("new"). All
 * must say the same, so that no server meets the files of another cluster, or its own without the others'.
 *
 * All servers are started before any is waited for, so the time it takes is that of the slowest. A server
 * that ends early is reported with the last line of its log.
 *
 * On another host the child is ssh, and a shell there receives key and configuration on its standard input
 * before it becomes the server; nothing needs to be shared between the hosts but the installed program. The
 * server there has a session of its own, so it outlives the ssh, which is ended when all serve. */
#include "base/descriptor.h"
#include "cli/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/status.h"
#include "cli/cli.h"

static bool is_local(const struct launch_server *server)
{
    return strcmp(server->host, "localhost") == 0;
}

static void log_path(const struct launch *launch, const struct launch_server *server, char *path)
{
    snprintf(path, PATH_MAX, "%.*s/server-%u.log", PATH_MAX - 32, launch->paths->directory, server->id);
}

/* ---- children ---- */

/* In the child, between fork and exec: only async-signal-safe calls. */
static void become(char *const argv[], int in, int out, int err, pid_t bound_to)
{
    setsid();
    if (bound_to != 0 && (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != bound_to))
        _exit(126);
    if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0 ||
        chdir("/") != 0)
        _exit(126);
    execvp(argv[0], argv);
    static const char text[] = "cannot execute the server program\n";
    if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
        _exit(126);
    _exit(127);
}

static int spawn(const struct launch *launch, struct launch_server *server, char *const argv[])
{
    char path[PATH_MAX];
    int in[2] = {-1, -1}, out[2] = {-1, -1};
    log_path(launch, server, path);
    int log = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int status = log < 0 || pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 ? -errno : 0;
    pid_t self = getpid();
    pid_t pid = status == 0 ? fork() : -1;
    if (pid == 0)
        become(argv, in[0], out[1], log, launch->bound ? self : 0);
    if (status == 0 && pid < 0)
        status = -errno;
    if (status == 0) {
        server->pid = pid;
        server->to = in[1];
        server->from = out[0];
        in[1] = out[0] = -1;
    }
    const int rest[] = {log, in[0], in[1], out[0], out[1]};
    for (size_t i = 0; i < sizeof(rest) / sizeof(rest[0]); i++)
        if (rest[i] >= 0)
            close(rest[i]);
    return status;
}

static int spawn_local(const struct launch *launch, struct launch_server *server)
{
    char id[16];
    snprintf(id, sizeof(id), "%u", server->id);
    const char *argv[] = {launch->program,
                          "--id",
                          id,
                          "--listen",
                          launch->listen,
                          "--key-file",
                          launch->paths->key,
                          "--config",
                          launch->paths->config,
                          NULL};
    return spawn(launch, server, (char *const *)argv);
}

/* ---- other hosts ---- */

static int copy_file(const char *path, size_t size, int to)
{
    char bytes[4096];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int status = 0;
    while (status == 0 && size > 0) {
        ssize_t count = read(fd, bytes, size < sizeof(bytes) ? size : sizeof(bytes));
        status = count < 0 ? -errno : count == 0 ? -EIO : descriptor_write(to, bytes, (size_t)count);
        size -= count > 0 ? (size_t)count : 0;
    }
    close(fd);
    return status;
}

/* dd reads single bytes, so that it leaves what follows in the pipe to the server. The shell stays until the
 * server has ended, to clean up. */
static int spawn_remote(const struct launch *launch, struct launch_server *server)
{
    char command[2048];
    struct stat key, config;
    if (stat(launch->paths->key, &key) != 0 || stat(launch->paths->config, &config) != 0)
        return -errno;
    snprintf(command, sizeof(command),
             "umask 077; d=$(mktemp -d \"${TMPDIR:-/tmp}/benchfs-server.XXXXXX\") || exit 1; "
             "dd bs=1 count=%lld of=$d/key 2>/dev/null; dd bs=1 count=%lld of=$d/benchfs.toml 2>/dev/null; "
             "exec setsid sh -c 'benchfsd --id %u --listen \"$1\" --key-file \"$0/key\" --config "
             "\"$0/benchfs.toml\" "
             "2>\"$0/log\" || tail -n 1 \"$0/log\" >&2; rm -rf \"$0\"' \"$d\" '%s:0'",
             (long long)key.st_size, (long long)config.st_size, server->id, server->host);
    const char *argv[] = {"ssh",        "-T",    "-o", "BatchMode=yes", "-o", "ConnectTimeout=5",
                          server->host, command, NULL};
    int status = spawn(launch, server, (char *const *)argv);
    if (status == 0)
        status = copy_file(launch->paths->key, (size_t)key.st_size, server->to);
    if (status == 0)
        status = copy_file(launch->paths->config, (size_t)config.st_size, server->to);
    return status;
}

/* ---- the dialogue ---- */

/* The last line of the server's log, or "". */
static void last_words(const struct launch *launch, const struct launch_server *server, char *text,
                       size_t size)
{
    char path[PATH_MAX];
    log_path(launch, server, path);
    text[0] = '\0';
    FILE *log = fopen(path, "re");
    if (log == NULL)
        return;
    char line[512];
    while (fgets(line, sizeof(line), log) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] != '\0')
            snprintf(text, size, ": %s", line);
    }
    fclose(log);
}

static int report_end(const struct launch *launch, struct launch_server *server)
{
    char words[600];
    int ended = 0;
    waitpid(server->pid, &ended, 0); /* it has closed its standard output: it is ending */
    server->pid = 0;
    last_words(launch, server, words, sizeof(words));
    if (WIFSIGNALED(ended))
        cli_error("server %u on %s was ended by signal %d%s", server->id, server->host, WTERMSIG(ended),
                  words);
    else
        cli_error("server %u on %s did not start (exit code %d)%s", server->id, server->host,
                  WEXITSTATUS(ended), words);
    return -ECHILD;
}

/* One complete line from a server. */
static int on_line(struct launch_server *server)
{
    static const char ready[] = "ready ";
    if (strncmp(server->line, ready, strlen(ready)) == 0 && server->address[0] == '\0') {
        char beyond;
        int words =
            sscanf(server->line + strlen(ready), "%63s %32s %c", server->address, server->store, &beyond);
        if ((words == 1 || words == 2) && strchr(server->address, ':') != NULL)
            return 0;
    } else if (strcmp(server->line, "serving") == 0 && server->address[0] != '\0') {
        server->serving = true;
        return 0;
    }
    cli_error("server %u on %s said \"%s\", which is not what a benchfsd of this version says", server->id,
              server->host, server->line);
    return -EPROTO;
}

/* Reads what there is. */
static int on_readable(const struct launch *launch, struct launch_server *server)
{
    ssize_t count = read(server->from, server->line + server->line_length,
                         sizeof(server->line) - 1 - server->line_length);
    if (count < 0)
        return errno == EINTR || errno == EAGAIN ? 0 : -errno;
    if (count == 0)
        return report_end(launch, server);
    server->line_length += (size_t)count;
    server->line[server->line_length] = '\0';
    int status = 0;
    for (char *end; status == 0 && (end = strchr(server->line, '\n')) != NULL;) {
        *end = '\0';
        status = on_line(server);
        server->line_length -= (size_t)(end + 1 - server->line);
        memmove(server->line, end + 1, server->line_length + 1);
    }
    if (status == 0 && server->line_length == sizeof(server->line) - 1)
        status = -EPROTO;
    return status;
}

static bool is_ready(const struct launch_server *server)
{
    return server->address[0] != '\0';
}

static bool is_serving(const struct launch_server *server)
{
    return server->serving;
}

static int report_late(const struct launch *launch, bool (*reached)(const struct launch_server *server))
{
    for (uint32_t i = 0; i < launch->count; i++)
        if (!reached(&launch->servers[i]))
            cli_error("server %u on %s did not get ready in time: see its log in \"%s\"",
                      launch->servers[i].id, launch->servers[i].host, launch->paths->directory);
    return -ETIMEDOUT;
}

/* Listens to all servers until each has reached the given state. */
static int wait_for(struct launch *launch, bool (*reached)(const struct launch_server *server),
                    uint64_t deadline)
{
    struct pollfd *polled = calloc(launch->count, sizeof(*polled));
    int status = polled == NULL ? -ENOMEM : 0;
    while (status == 0) {
        uint32_t missing = 0;
        for (uint32_t i = 0; i < launch->count; i++) {
            missing += !reached(&launch->servers[i]);
            polled[i] = (struct pollfd){.fd = launch->servers[i].from, .events = POLLIN};
        }
        if (missing == 0)
            break;
        uint64_t now = clock_now();
        if (now >= deadline) {
            status = report_late(launch, reached);
            break;
        }
        if (poll(polled, launch->count, (int)((deadline - now) / NSEC_PER_MSEC) + 1) < 0 && errno != EINTR)
            status = -errno;
        for (uint32_t i = 0; i < launch->count && status == 0; i++)
            if (polled[i].revents != 0)
                status = on_readable(launch, &launch->servers[i]);
    }
    free(polled);
    return status;
}

static bool is_new(const struct launch_server *server)
{
    return strcmp(server->store, "new") == 0;
}

/* Which cluster the stores belong to: all to the same, or all to none yet, then it gets a new uuid. */
static int find_cluster(const struct launch *launch, char *uuid, size_t size)
{
    const struct launch_server *first = &launch->servers[0];
    for (uint32_t i = 1; i < launch->count; i++) {
        const struct launch_server *other = &launch->servers[i];
        if (strcmp(first->store, other->store) == 0)
            continue;
        cli_error(
            "the store directories do not belong together: that of server %u on %s is %s%s, that of server "
            "%u on %s %s%s: set store.path to the directories of one cluster, or to new ones",
            first->id, first->host, is_new(first) ? "" : "of cluster ", first->store, other->id, other->host,
            is_new(other) ? "" : "of cluster ", other->store);
        return -EEXIST;
    }
    snprintf(uuid, size, "%s", first->store);
    if (is_new(first)) {
        uint8_t bytes[16];
        random_secure(bytes, sizeof(bytes));
        for (size_t i = 0; i < sizeof(bytes); i++)
            snprintf(uuid + 2 * i, size - 2 * i, "%02x", bytes[i]);
    }
    return 0;
}

static int tell_members(const struct launch *launch)
{
    char uuid[33];
    int found = find_cluster(launch, uuid, sizeof(uuid));
    if (found != 0)
        return found;
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (out == NULL)
        return -ENOMEM;
    if (uuid[0] != '\0')
        fprintf(out, "cluster %s\n", uuid);
    for (uint32_t i = 0; i < launch->count; i++)
        fprintf(out, "server %u %s\n", launch->servers[i].id, launch->servers[i].address);
    fputs("go\n", out);
    int status = fclose(out) == 0 ? 0 : -ENOMEM;
    for (uint32_t i = 0; i < launch->count && status == 0; i++)
        status = descriptor_write(launch->servers[i].to, text, length);
    free(text);
    return status;
}

/* ---- all together ---- */

static void close_pipes(struct launch_server *server)
{
    if (server->to >= 0)
        close(server->to);
    if (server->from >= 0)
        close(server->from);
    server->to = server->from = -1;
}

/* Ends and reaps a child of ours: no identity check is needed before wait. */
static void end_child(pid_t pid)
{
    if (pid <= 0)
        return;
    kill(pid, SIGTERM);
    for (int i = 0; i < 200; i++) {
        if (waitpid(pid, NULL, WNOHANG) != 0)
            return;
        struct timespec pause = {.tv_nsec = 10 * (long)NSEC_PER_MSEC};
        nanosleep(&pause, NULL);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* Closing its standard input before "go" ends a server on another host. */
static void abandon(struct launch *launch)
{
    for (uint32_t i = 0; i < launch->count; i++)
        close_pipes(&launch->servers[i]);
    for (uint32_t i = 0; i < launch->count; i++)
        end_child(launch->servers[i].pid);
}

/* Until "go" the servers end with us; from then on they stay, so they must not be left without a cluster
 * file. */
static void hold_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

int launch_all(struct launch *launch, uint64_t patience)
{
    uint64_t deadline = clock_now() + patience;
    int status = 0;
    signal(SIGPIPE, SIG_IGN); /* a server that ends early is noticed on its standard output */
    for (uint32_t i = 0; i < launch->count; i++) {
        launch->servers[i].to = launch->servers[i].from = -1;
        launch->servers[i].pid = 0;
    }
    for (uint32_t i = 0; i < launch->count && status == 0; i++) {
        struct launch_server *server = &launch->servers[i];
        status = is_local(server) ? spawn_local(launch, server) : spawn_remote(launch, server);
        if (status == -EPIPE)
            status = 0;
        else if (status != 0)
            cli_error("cannot start server %u on %s: %s", server->id, server->host, status_text(status));
    }
    if (status == 0)
        status = wait_for(launch, is_ready, deadline);
    if (status == 0) {
        if (!launch->bound)
            hold_signals();
        status = tell_members(launch);
    }
    if (status == 0 || status == -EPIPE)
        status = wait_for(launch, is_serving, deadline);
    if (status != 0)
        abandon(launch);
    return status;
}

void launch_release(struct launch *launch)
{
    for (uint32_t i = 0; i < launch->count; i++) {
        struct launch_server *server = &launch->servers[i];
        close_pipes(server);
        if (!is_local(server)) {
            end_child(server->pid);
            server->pid = 0;
        }
    }
}

/* ---- around it ---- */

int launch_find_program(char *program, size_t size)
{
    static const char *const places[] = {"benchfsd", "../server/benchfsd"};
    char self[PATH_MAX - 32];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    for (size_t i = 0; length > 0 && i < sizeof(places) / sizeof(places[0]); i++) {
        self[length] = '\0';
        char *slash = strrchr(self, '/');
        snprintf(program, size, "%.*s/%s", (int)(slash - self), self, places[i]);
        if (access(program, X_OK) == 0)
            return 0;
    }
    const char *at = getenv("PATH");
    while (at != NULL && *at != '\0') {
        size_t part = strcspn(at, ":");
        snprintf(program, size, "%.*s/benchfsd", (int)part, at);
        if (part > 0 && at[0] == '/' && access(program, X_OK) == 0)
            return 0;
        at += part + (at[part] == ':');
    }
    cli_error("cannot find benchfsd beside benchfs or in PATH: install it");
    return -ENOENT;
}

int launch_write_file(const struct launch *launch, const struct config *config)
{
    const struct cluster_paths *paths = launch->paths;
    struct cluster_file file = {.server_count = launch->count};
    random_secure(&file.cluster_id, sizeof(file.cluster_id));
    file.servers = calloc(launch->count, sizeof(*file.servers));
    if (file.servers == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < launch->count; i++) {
        const struct launch_server *server = &launch->servers[i];
        file.servers[i].id = server->id;
        file.servers[i].pid = server->pid;
        memcpy(file.servers[i].host, server->host, sizeof(server->host));
        memcpy(file.servers[i].address, server->address, sizeof(server->address));
    }
    memcpy(file.config, paths->config, strlen(paths->config) + 1);
    memcpy(file.directory, paths->directory, strlen(paths->directory) + 1);
    snprintf(file.store, sizeof(file.store), "%.15s", config->store.engine);
    snprintf(file.ring, sizeof(file.ring), "%.15s", config->cluster.ring);
    snprintf(file.hash, sizeof(file.hash), "%.15s", config->cluster.hash);
    int status = cluster_file_write(paths->file, &file);
    free(file.servers);
    return status;
}

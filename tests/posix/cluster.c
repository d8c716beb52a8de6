/* Starts benchfsd processes by their contract: read "ready HOST:PORT" from each, tell each about all, "go",
 * "serving". */
#include "cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_MS 8000
#define SETTINGS_MAX 16

static int make_key(const char *path)
{
    unsigned char key[32];
    int random = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool good = random >= 0 && file >= 0 && read(random, key, sizeof key) == sizeof key &&
                write(file, key, sizeof key) == sizeof key;
    close(random);
    close(file);
    return good ? 0 : -1;
}

static int spawn(struct cluster *cluster, unsigned server, const char *const *settings)
{
    int in[2], out[2];
    char id[16];
    const char *arguments[10 + 2 * SETTINGS_MAX] = {getenv("BENCHFSD"), "--id",       id,          "--listen",
                                                    "127.0.0.1:0",      "--key-file", cluster->key};
    unsigned count = 7;
    snprintf(id, sizeof id, "%u", server);
    for (unsigned i = 0; settings != NULL && settings[i] != NULL && i < SETTINGS_MAX; i++) {
        arguments[count++] = "--set";
        arguments[count++] = settings[i];
    }
    char consistency[64];
    if (getenv("CONSISTENCY") != NULL) {
        snprintf(consistency, sizeof consistency, "cluster.consistency=%s", getenv("CONSISTENCY"));
        arguments[count++] = "--set";
        arguments[count++] = consistency;
    }
    if (arguments[0] == NULL || pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0) {
        fprintf(stderr, "cannot start a server: %s\n",
                arguments[0] == NULL ? "BENCHFSD is not set" : strerror(errno));
        return -1;
    }
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(127);
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        execv(arguments[0], (char *const *)arguments);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    cluster->pids[server] = pid;
    cluster->to[server] = in[1];
    cluster->from[server] = out[0];
    return pid < 0 ? -1 : 0;
}

/* One line from a server, without its end; -1 when none comes in time. */
static int read_line(int fd, char *line, size_t size)
{
    size_t length = 0;
    while (length + 1 < size) {
        struct pollfd waiting = {.fd = fd, .events = POLLIN};
        if (poll(&waiting, 1, START_MS) <= 0 || read(fd, line + length, 1) != 1)
            return -1;
        if (line[length] == '\n') {
            line[length] = '\0';
            return 0;
        }
        length++;
    }
    return -1;
}

static int introduce(struct cluster *cluster)
{
    char line[256], store[64];
    size_t length = 0;
    bool persistent = false;
    for (unsigned i = 0; i < cluster->count; i++) {
        int words = read_line(cluster->from[i], line, sizeof line) < 0
                        ? 0
                        : sscanf(line, "ready %63s %63s", cluster->addresses[i], store);
        if (words < 1)
            return -1;
        persistent = words == 2;
        length += (size_t)snprintf(cluster->servers + length, sizeof cluster->servers - length, "%s%s",
                                   i > 0 ? "," : "", cluster->addresses[i]);
    }
    for (unsigned i = 0; i < cluster->count; i++) {
        for (unsigned member = 0; member < cluster->count; member++)
            dprintf(cluster->to[i], "server %u %s\n", member, cluster->addresses[member]);
        if (persistent)
            dprintf(cluster->to[i], "cluster %s\n", cluster->identity);
        dprintf(cluster->to[i], "go\n");
    }
    for (unsigned i = 0; i < cluster->count; i++)
        if (read_line(cluster->from[i], line, sizeof line) < 0 || strcmp(line, "serving") != 0)
            return -1;
    return 0;
}

/* Of servers none of which runs. */
static int start_all(struct cluster *cluster, const char *const *settings)
{
    unsigned started = 0;
    int status = 0;
    for (; started < cluster->count && status == 0; started += status == 0)
        status = spawn(cluster, started, settings);
    if (status == 0)
        status = introduce(cluster);
    if (status < 0) {
        fprintf(stderr, "the servers did not start\n");
        for (unsigned i = 0; i < started; i++)
            cluster_kill(cluster, i);
        return -1;
    }
    setenv("BENCHFS_SERVERS", cluster->servers, 1);
    setenv("BENCHFS_KEY", cluster->key, 1);
    unsetenv("BENCHFS_CONFIG");
    return 0;
}

int cluster_start(struct cluster *cluster, unsigned count, const char *const *settings)
{
    unsigned char identity[16];
    memset(cluster, 0, sizeof *cluster);
    signal(SIGPIPE, SIG_IGN);
    strcpy(cluster->directory, "/tmp/benchfs-test-XXXXXX");
    if (mkdtemp(cluster->directory) == NULL)
        return -1;
    snprintf(cluster->key, sizeof cluster->key, "%s/key", cluster->directory);
    int status = getrandom(identity, sizeof identity, 0) == sizeof identity ? make_key(cluster->key) : -1;
    for (unsigned i = 0; i < sizeof identity; i++)
        sprintf(cluster->identity + 2 * i, "%02x", identity[i]);
    cluster->count = count;
    if (status == 0)
        status = start_all(cluster, settings);
    if (status < 0)
        cluster_stop(cluster);
    return status;
}

int cluster_restart(struct cluster *cluster, const char *const *settings)
{
    return start_all(cluster, settings);
}

static void forget(struct cluster *cluster, unsigned server)
{
    close(cluster->to[server]);
    close(cluster->from[server]);
    cluster->pids[server] = 0;
}

void cluster_kill(struct cluster *cluster, unsigned server)
{
    if (cluster->pids[server] <= 0)
        return;
    kill(cluster->pids[server], SIGKILL);
    waitpid(cluster->pids[server], NULL, 0);
    forget(cluster, server);
}

int cluster_end(struct cluster *cluster)
{
    int result = 0;
    for (unsigned i = 0; i < cluster->count; i++)
        if (cluster->pids[i] > 0)
            kill(cluster->pids[i], SIGTERM);
    for (unsigned i = 0; i < cluster->count; i++) {
        int status;
        if (cluster->pids[i] <= 0)
            continue;
        if (waitpid(cluster->pids[i], &status, 0) != cluster->pids[i] || !WIFEXITED(status) ||
            WEXITSTATUS(status) != 0) {
            fprintf(stderr, "server %u ended with status 0x%x\n", i, status);
            result = -1;
        }
        forget(cluster, i);
    }
    return result;
}

int cluster_stop(struct cluster *cluster)
{
    int result = cluster_end(cluster);
    unlink(cluster->key);
    rmdir(cluster->directory);
    return result;
}

/* Servers by fork rather than by running benchfsd: the same code, without having to find the program. Parent
 * and server talk over a socket: the server says where it listens, the parent says who the members are, the
 * server says that it serves; later the end of the socket is the server's sign to end in good order, also
 * when the parent dies. */
#include "bench/private_cluster.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/status.h"
#include "bench/crew.h"
#include "bench/options.h"
#include "cluster/file.h"
#include "metrics/files.h"
#include "server/configure.h"
#include "server/server.h"

#define START_PATIENCE_MS 30000
#define DEPTH_MAX 8 /* of directories below a private one */
#define STOP_PATIENCE_NS UINT64_C(5000000000)

/* ---- in the server's process ---- */

struct control {
    struct watch watch;
    struct loop *loop;
};

static void control_ended(struct watch *watch, uint32_t events)
{
    char byte;
    (void)events;
    if (recv(watch->fd, &byte, 1, MSG_DONTWAIT) <= 0)
        loop_stop(container_of(watch, struct control, watch)->loop);
}

static int receive_map(int control, const struct config *config, bool persistent, struct cluster_map **map)
{
    struct cluster_server members[PRIVATE_SERVERS_MAX];
    ssize_t length = recv(control, members, sizeof(members), 0);
    if (length <= 0 || (size_t)length % sizeof(members[0]) != 0)
        return -ECONNRESET;
    return server_configure_map(config, persistent, members, (uint32_t)((size_t)length / sizeof(members[0])),
                                map);
}

/* A server and what it stands on. */
struct host {
    struct control control; /* with the loop */
    struct net *net;
    struct disk *disk; /* NULL: the engine is not persistent */
    struct server *server;
    struct metrics *metrics;
};

static int open_disk(struct host *host, uint32_t id, const struct private_cluster *cluster)
{
    char path[PRIVATE_PATH_MAX + 16];
    const struct store_operations *engine = store_engine(cluster->config.store.engine);
    if (engine == NULL)
        return -EINVAL;
    if (!engine->persistent)
        return 0;
    snprintf(path, sizeof(path), "%s/%u", cluster->store, id);
    const struct disk_options options = {.depth = (uint32_t)cluster->config.store.queue_depth};
    return disk_open(host->control.loop, path, &options, &host->disk);
}

static int create_server(struct host *host, uint32_t id, const uint8_t *key,
                         const struct private_cluster *cluster, char *address)
{
    const struct config *config = &cluster->config;
    const char *place = config->metrics.shared ? METRICS_DIRECTORY_DEFAULT : NULL;
    if (place != NULL)
        metrics_prune(place, NULL, METRICS_LEFT_AGE,
                      METRICS_LEFT_COUNT); /* servers of ours are killed at times */
    int status = metrics_create(place, (uint32_t)config->metrics.trace_entries, &host->metrics, NULL);
    struct loop_options loop_options = {
        .spin_ns = config->server.spin, .metrics = host->metrics, .moves = true};
    struct net_ucx_options ucx = {.transports =
                                      config->server.transports[0] != 0 ? config->server.transports : NULL,
                                  .devices = config->server.devices[0] != 0 ? config->server.devices : NULL,
                                  .one_host = true};
    if (status == 0)
        status = loop_create(&loop_options, &host->control.loop);
    if (status == 0)
        status = net_create(host->control.loop, &ucx, &host->net);
    if (status == 0)
        status = open_disk(host, id, cluster);
    if (status < 0)
        return status;
    struct server_options options = {.id = id, .cluster_key = key, .store = {.disk = host->disk}};
    server_configure(config, &options);
    options.listen = "127.0.0.1:0";
    return server_create(host->net, &options, &host->server, address);
}

static void destroy_host(struct host *host)
{
    if (host->server != NULL)
        server_destroy(host->server);
    if (host->disk != NULL)
        disk_close(host->disk);
    if (host->net != NULL)
        net_destroy(host->net);
    if (host->control.loop != NULL)
        loop_destroy(host->control.loop);
    metrics_destroy(host->metrics);
}

/* Says where the server listens, and becomes a member. */
static int join(struct host *host, const struct config *config, const char address[64])
{
    struct cluster_map *map;
    int control = host->control.watch.fd;
    if (send(control, address, 64, MSG_NOSIGNAL) != 64 ||
        receive_map(control, config, host->disk != NULL, &map) < 0)
        return -ECONNRESET;
    int status = server_recover(host->server);
    if (status == 0)
        status = server_set_map(host->server, map);
    else
        cluster_map_destroy(map);
    return status == 0 ? server_resolve(host->server) : status;
}

static int serve(uint32_t id, int control, const uint8_t *key, const struct private_cluster *cluster)
{
    struct host host = {.control.watch = {.fd = control, .ready = control_ended}};
    char address[64] = "";
    log_threshold = LOG_WARNING;
    int status = create_server(&host, id, key, cluster, address);
    if (status == 0)
        status = join(&host, &cluster->config, address);
    if (status == 0)
        status = loop_watch_add(host.control.loop, &host.control.watch, EPOLLIN | EPOLLRDHUP);
    if (status == 0) {
        if (send(control, "", 1, MSG_NOSIGNAL) == 1)
            loop_run(host.control.loop);
        loop_watch_remove(host.control.loop, &host.control.watch);
    }
    destroy_host(&host);
    return status;
}

/* ---- in the parent ---- */

static int start_server(struct private_cluster *cluster, uint32_t id, const uint8_t *key)
{
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
        return -errno;
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) {
        int status = -errno;
        close(sockets[0]);
        close(sockets[1]);
        return status;
    }
    if (pid == 0) {
        /* Ends by the socket alone; an interrupt is for the parent to handle. */
        signal(SIGINT, SIG_IGN);
        close(sockets[0]);
        for (uint32_t i = 0; i < id; i++)
            close(cluster->servers[i].control);
        if (cluster->pin[id] >= 0)
            crew_pin((unsigned)cluster->pin[id]);
        int status = serve(id, sockets[1], key, cluster);
        if (status < 0)
            bench_error("server %u: %s", id, status_text(status));
        _exit(status == 0 ? 0 : 1);
    }
    close(sockets[1]);
    cluster->servers[id] = (struct private_server){.pid = pid, .control = sockets[0]};
    return 0;
}

/* One message from the server in time. */
static int hear(const struct private_server *server, void *bytes, size_t length)
{
    struct pollfd ready = {.fd = server->control, .events = POLLIN};
    int count;
    while ((count = poll(&ready, 1, START_PATIENCE_MS)) < 0 && errno == EINTR)
        continue;
    if (count == 0)
        return -ETIMEDOUT;
    return recv(server->control, bytes, length, 0) == (ssize_t)length ? 0 : -ECONNRESET;
}

static void config_path(const struct private_cluster *cluster, char *path, size_t size)
{
    snprintf(path, size, "%s.toml", cluster->file);
}

static int introduce(struct private_cluster *cluster)
{
    struct cluster_server members[PRIVATE_SERVERS_MAX];
    struct cluster_file_server listed[PRIVATE_SERVERS_MAX];
    static struct cluster_file file;
    memset(members, 0, sizeof(members));
    memset(listed, 0, sizeof(listed));
    for (uint32_t i = 0; i < cluster->count; i++) {
        int status = hear(&cluster->servers[i], members[i].address, sizeof(members[i].address));
        if (status < 0)
            return status;
        members[i].id = listed[i].id = i;
        listed[i].pid = cluster->servers[i].pid;
        strcpy(listed[i].host, "localhost");
        memcpy(listed[i].address, members[i].address, sizeof(listed[i].address));
    }
    for (uint32_t i = 0; i < cluster->count; i++) {
        size_t length = cluster->count * sizeof(members[0]);
        char byte;
        if (send(cluster->servers[i].control, members, length, MSG_NOSIGNAL) != (ssize_t)length)
            return -ECONNRESET;
        int status = hear(&cluster->servers[i], &byte, 1);
        if (status < 0)
            return status;
    }
    file = (struct cluster_file){
        .cluster_id = (uint64_t)getpid(), .server_count = cluster->count, .servers = listed};
    snprintf(file.store, sizeof(file.store), "%.15s", cluster->config.store.engine);
    snprintf(file.ring, sizeof(file.ring), "%.15s", cluster->config.cluster.ring);
    snprintf(file.hash, sizeof(file.hash), "%.15s", cluster->config.cluster.hash);
    if (cluster->config_is_told)
        config_path(cluster, file.config, sizeof(file.config));
    return cluster_file_write(cluster->file, &file);
}

/* All `count` of them, of which none runs. */
static int start_all(struct private_cluster *cluster, const uint8_t *key)
{
    uint32_t started = 0;
    int status = 0;
    for (; started < cluster->count && status == 0; started += status == 0)
        status = start_server(cluster, started, key);
    if (status == 0)
        status = introduce(cluster);
    if (status < 0) {
        bench_error("cannot start servers: %s", status_text(status));
        cluster->count = started;
    }
    return status;
}

static void key_path(const struct private_cluster *cluster, char *path, size_t size)
{
    snprintf(path, size, "%s.key", cluster->file);
}

/* Starts all servers with the key that `provide` makes or reads; what it does, for messages. */
static int start_with_key(struct private_cluster *cluster, int (*provide)(const char *path, uint8_t *key),
                          const char *what)
{
    uint8_t key[CLUSTER_KEY_BYTES];
    char path[sizeof(cluster->file) + 8];
    key_path(cluster, path, sizeof(path));
    int status = provide(path, key);
    if (status < 0) {
        bench_error("cannot %s: %s", what, status_text(status));
        cluster->count = 0;
    } else {
        status = start_all(cluster, key);
    }
    explicit_bzero(key, sizeof(key));
    if (status < 0)
        private_cluster_stop(cluster);
    return status;
}

static int make_directories(struct private_cluster *cluster)
{
    const struct store_operations *engine = store_engine(cluster->config.store.engine);
    int status = private_directory_make(cluster->directory, sizeof(cluster->directory));
    if (status < 0) {
        bench_error("cannot make a temporary directory: %s", status_text(status));
        return status;
    }
    snprintf(cluster->file, sizeof(cluster->file), "%s/cluster.json", cluster->directory);
    if (!cluster->store_is_own || engine == NULL || !engine->persistent)
        return 0;
    const char *top = cluster->config.store.path[0] != 0 ? cluster->config.store.path : NULL;
    status = private_directory_make_in(top, cluster->store, sizeof(cluster->store));
    if (status < 0)
        bench_error("cannot make a directory for the servers' data in \"%s\": %s",
                    top != NULL ? top : "$TMPDIR", status_text(status));
    return status;
}

static int tell_config(const struct private_cluster *cluster)
{
    char path[sizeof(cluster->file) + 8];
    config_path(cluster, path, sizeof(path));
    FILE *out = fopen(path, "wxe");
    if (out != NULL)
        config_print(&cluster->config, out);
    if (out == NULL || fclose(out) != 0) {
        int status = -errno;
        bench_error("cannot write \"%s\": %s", path, status_text(status));
        return status;
    }
    return 0;
}

/* With configuration, pins and what is to be told filled in. */
static int start(struct private_cluster *cluster)
{
    int status = make_directories(cluster);
    if (status == 0 && cluster->config_is_told)
        status = tell_config(cluster);
    if (status == 0)
        return start_with_key(cluster, cluster_key_make, "make a cluster key");
    cluster->count = 0;
    private_cluster_stop(cluster);
    return status;
}

int private_cluster_start_on(struct private_cluster *cluster, uint32_t count, const int *pin,
                             const struct private_store *store)
{
    const struct store_operations *engine = store_engine(store->engine);
    *cluster = (struct private_cluster){.count = count};
    memcpy(cluster->pin, pin, count * sizeof(pin[0]));
    memcpy(cluster->store, store->directory, sizeof(cluster->store));
    struct config *config = &cluster->config;
    config_defaults(config);
    snprintf(config->store.engine, sizeof(config->store.engine), "%s", store->engine);
    snprintf(config->store.durability, sizeof(config->store.durability), "%s",
             durability_name(store->durability));
    config->store.capacity = store->capacity;
    config->store.prefault = engine != NULL && !engine->persistent;
    config->store.checksum = !store->no_checksum;
    if (store->no_board)
        config->meta.board = 0;
    if (store->interval_ns > 0)
        config->store.interval = store->interval_ns;
    return start(cluster);
}

int private_cluster_start(struct private_cluster *cluster, uint32_t count, const int *pin, uint64_t capacity)
{
    struct private_store store = {.engine = "mem", .capacity = capacity};
    return private_cluster_start_on(cluster, count, pin, &store);
}

int private_cluster_start_configured(struct private_cluster *cluster, const struct config *config)
{
    if (config->cluster.server_count > PRIVATE_SERVERS_MAX)
        return -EINVAL;
    *cluster = (struct private_cluster){.config = *config,
                                        .count = (uint32_t)config->cluster.server_count,
                                        .store_is_own = true,
                                        .config_is_told = true};
    for (uint32_t i = 0; i < cluster->count; i++)
        cluster->pin[i] = config->server.pin ? (int)i : -1;
    return start(cluster);
}

/* Harmless when it was ended before. */
static void end_server(struct private_server *server, uint64_t deadline)
{
    if (server->pid <= 0)
        return;
    close(server->control);
    while (waitpid(server->pid, NULL, WNOHANG) == 0) {
        if (crew_now() > deadline) {
            kill(server->pid, SIGKILL);
            waitpid(server->pid, NULL, 0);
            break;
        }
        usleep(1000);
    }
    *server = (struct private_server){0};
}

void private_cluster_kill(struct private_cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->count; i++) {
        if (cluster->servers[i].pid > 0)
            kill(cluster->servers[i].pid, SIGKILL);
    }
    for (uint32_t i = 0; i < cluster->count; i++)
        end_server(&cluster->servers[i], 0);
}

int private_cluster_restart(struct private_cluster *cluster)
{
    return start_with_key(cluster, cluster_key_read, "read the cluster key");
}

void private_cluster_stop(struct private_cluster *cluster)
{
    uint64_t deadline = crew_now() + STOP_PATIENCE_NS;
    for (uint32_t i = 0; i < cluster->count; i++) {
        if (cluster->servers[i].pid > 0)
            shutdown(cluster->servers[i].control, SHUT_RDWR); /* all begin to end before one is waited for */
    }
    for (uint32_t i = 0; i < cluster->count; i++)
        end_server(&cluster->servers[i], deadline);
    if (cluster->store_is_own && cluster->store[0] != 0)
        private_directory_remove(cluster->store);
    if (cluster->directory[0] != 0)
        private_directory_remove(cluster->directory);
    *cluster = (struct private_cluster){0};
}

int private_directory_make(char *path, size_t size)
{
    return private_directory_make_in(NULL, path, size);
}

int private_directory_make_in(const char *top, char *path, size_t size)
{
    if (top == NULL)
        top = getenv("TMPDIR");
    int length = snprintf(path, size, "%s/benchfs-bench.XXXXXX", top != NULL && top[0] == '/' ? top : "/tmp");
    if (length < 0 || (size_t)length >= size)
        return -ENAMETOOLONG;
    if (mkdtemp(path) != NULL)
        return 0;
    int status = -errno;
    path[0] = 0;
    return status;
}

static void remove_below(int parent, const char *name, int depth)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory == NULL) {
        if (fd >= 0)
            close(fd);
        return;
    }
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(fd, entry->d_name, 0) != 0 && depth > 0)
            remove_below(fd, entry->d_name, depth - 1);
    }
    closedir(directory);
    unlinkat(parent, name, AT_REMOVEDIR);
}

void private_directory_remove(const char *path)
{
    remove_below(AT_FDCWD, path, DEPTH_MAX);
}

/* benchfsd: one server process.
 *
 * Whoever starts it (`benchfs start`, a job script) talks to it through its standard input and output,
 * because the addresses of a cluster are known only when every member listens:
 *
 *   benchfsd prints   ready HOST:PORT [STORE]
 *   the starter says  cluster UUID           if there is a STORE
 *                     server ID HOST:PORT    once for every member, this one included
 *                     go
 *   benchfsd prints   serving                and no longer needs either
 *
 * STORE is there with a persistent engine: the uuid (32 hexadecimal digits) of the cluster that the store's
 * directory belongs to, or "new".
 *
 * The end of standard input before `go` means that the start was given up; the server then ends too. Later it
 * ends on SIGTERM, SIGINT or a client's SHUT_DOWN. Exit status: 0 ended as asked, 1 could not serve, 2 wrong
 * usage. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/config.h"
#include "base/log.h"
#include "base/signals.h"
#include "base/status.h"
#include "cluster/file.h"
#include "metrics/files.h"
#include "server/configure.h"
#include "server/exporter.h"
#include "server/server.h"
#include "server/store_directory.h"

enum { EXIT_USAGE = 2 };

struct daemon {
    uint32_t id;
    bool id_given;
    const char *key_file;
    struct config config;
    struct metrics *metrics;
    struct exporter *exporter; /* NULL: there is none */
    struct loop *loop;
    struct net *net;
    struct server *server;
    char address[64];
    struct store_directory directory;
    bool cluster_known; /* directory.identity.cluster is what the starter said */

    struct watch input;
    bool input_watched;
    char line[256];
    size_t line_length;
    struct cluster_server *members;
    uint32_t member_count;
    bool serving;   /* "go" was said */
    bool beginning; /* a task is on its way from "go" to "serving" */

    struct watch signals;
    struct timer log_timer;
    struct server_status_reply logged; /* at the last log line */
    int status;                        /* of exit */
};

/* ---- the command line ---- */

static void print_usage(FILE *out)
{
    fputs("Usage: benchfsd --id N --key-file FILE [OPTION...]\n"
          "One BenchFS server process; normally started by \"benchfs start\".\n"
          "\n"
          "  --id N                 number of this server in the cluster\n"
          "  --key-file FILE        the cluster key (32 bytes, readable by its owner only)\n"
          "  --listen HOST:PORT     bootstrap address; short for --set server.listen=\n"
          "  --store ENGINE         storage engine; short for --set store.engine=\n"
          "  -c, --config FILE      read options from a TOML file\n"
          "  --set TABLE.KEY=VALUE  set one option\n"
          "  --help                 print this text\n"
          "  --version              print the version\n"
          "\n",
          out);
    config_print_help(out);
}

static int usage_error(const char *format, const char *what)
{
    fputs("benchfsd: ", stderr);
    fprintf(stderr, format, what);
    fputs(": try \"benchfsd --help\"\n", stderr);
    return EXIT_USAGE;
}

static int config_error(const char *error)
{
    fprintf(stderr, "benchfsd: %s\n", error);
    return EXIT_USAGE;
}

/* "table.key=value" */
static int set_option(struct config *config, const char *text)
{
    char table[64];
    char key[64];
    char error[512];
    const char *equals = strchr(text, '=');
    const char *dot = strchr(text, '.');
    if (equals == NULL || dot == NULL || dot > equals || (size_t)(dot - text) >= sizeof(table) ||
        (size_t)(equals - dot) > sizeof(key))
        return usage_error("--set needs TABLE.KEY=VALUE, not \"%s\"", text);
    snprintf(table, sizeof(table), "%.*s", (int)(dot - text), text);
    snprintf(key, sizeof(key), "%.*s", (int)(equals - dot - 1), dot + 1);
    return config_set(config, table, key, equals + 1, error, sizeof(error)) == 0 ? 0 : config_error(error);
}

static int set_named(struct config *config, const char *table, const char *key, const char *value)
{
    char error[512];
    return config_set(config, table, key, value, error, sizeof(error)) == 0 ? 0 : config_error(error);
}

static int parse_id(struct daemon *daemon, const char *text)
{
    char *end;
    errno = 0;
    unsigned long id = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != 0 || text[0] == '-' || id >= UINT32_MAX)
        return usage_error("--id needs a number below 4294967295, not \"%s\"", text);
    daemon->id = (uint32_t)id;
    daemon->id_given = true;
    return 0;
}

enum {
    OPTION_ID = 256,
    OPTION_KEY_FILE,
    OPTION_LISTEN,
    OPTION_STORE,
    OPTION_SET,
    OPTION_HELP,
    OPTION_VERSION
};

static const struct option long_options[] = {
    {"id", required_argument, NULL, OPTION_ID},
    {"key-file", required_argument, NULL, OPTION_KEY_FILE},
    {"listen", required_argument, NULL, OPTION_LISTEN},
    {"store", required_argument, NULL, OPTION_STORE},
    {"config", required_argument, NULL, 'c'},
    {"set", required_argument, NULL, OPTION_SET},
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

static int apply_option(struct daemon *daemon, int option, const char *value)
{
    char error[512];
    switch (option) {
    case OPTION_ID:
        return parse_id(daemon, value);
    case OPTION_KEY_FILE:
        daemon->key_file = value;
        return 0;
    case OPTION_LISTEN:
        return set_named(&daemon->config, "server", "listen", value);
    case OPTION_STORE:
        return set_named(&daemon->config, "store", "engine", value);
    case OPTION_SET:
        return set_option(&daemon->config, value);
    case 'c':
        return config_read_file(&daemon->config, value, error, sizeof(error)) == 0 ? 0 : config_error(error);
    default:
        return EXIT_USAGE;
    }
}

/* Returns -1 to go on, else the exit status. The file is read first: what the command line says wins. */
static int parse_arguments(struct daemon *daemon, int argc, char **argv)
{
    config_defaults(&daemon->config);
    for (int pass = 0; pass < 2; pass++) {
        optind = 1;
        opterr = 0;
        for (int option; (option = getopt_long(argc, argv, ":c:", long_options, NULL)) != -1;) {
            const char *given = argv[optind - 1];
            if (option == ':')
                return usage_error("option %s needs a value", given);
            if (option == '?')
                return usage_error("unknown option %s", given);
            if (option == OPTION_HELP) {
                print_usage(stdout);
                return 0;
            }
            if (option == OPTION_VERSION) {
                puts("benchfsd " BENCHFS_VERSION);
                return 0;
            }
            int status = (option == 'c') == (pass == 0) ? apply_option(daemon, option, optarg) : 0;
            if (status != 0)
                return status;
        }
    }
    if (optind < argc)
        return usage_error("unexpected argument %s", argv[optind]);
    if (!daemon->id_given)
        return usage_error("%s is missing", "--id");
    if (daemon->key_file == NULL)
        return usage_error("%s is missing", "--key-file");
    return -1;
}

/* ---- members and map, from standard input ---- */

static void give_up(struct daemon *daemon, const char *reason)
{
    log_error("%s", reason);
    daemon->status = EXIT_FAILURE;
    loop_stop(daemon->loop);
}

static void say(const char *format, const char *what)
{
    char line[128];
    int length = snprintf(line, sizeof(line), format, what);
    /* The starter may have gone; the server serves all the same. */
    if (write(STDOUT_FILENO, line, (size_t)length) != length)
        log_debug("nobody reads standard output");
}

static void add_member(struct daemon *daemon, const char *line)
{
    struct cluster_server member = {0};
    char end;
    if (sscanf(line, "server %" SCNu32 " %63s %c", &member.id, member.address, &end) != 2) {
        give_up(daemon, "standard input: expected \"server ID HOST:PORT\" or \"go\"");
        return;
    }
    for (uint32_t i = 0; i < daemon->member_count; i++) {
        if (daemon->members[i].id == member.id) {
            give_up(daemon, "standard input: two servers have the same id");
            return;
        }
    }
    struct cluster_server *members =
        reallocarray(daemon->members, daemon->member_count + 1, sizeof(*members));
    if (members == NULL) {
        give_up(daemon, "out of memory");
        return;
    }
    daemon->members = members;
    members[daemon->member_count++] = member;
}

/* The cluster's uuid, as 32 hexadecimal digits. */
static void set_cluster(struct daemon *daemon, const char *digits)
{
    size_t length = 0;
    if (sodium_hex2bin(daemon->directory.identity.cluster, sizeof(daemon->directory.identity.cluster), digits,
                       strlen(digits), NULL, &length, NULL) != 0 ||
        length != sizeof(daemon->directory.identity.cluster))
        give_up(daemon, "standard input: expected \"cluster\" and 32 hexadecimal digits");
    else
        daemon->cluster_known = true;
}

/* The store's directory becomes, or is, that of this server of this cluster. */
static int settle_identity(struct daemon *daemon)
{
    if (daemon->directory.disk == NULL)
        return 0;
    if (!daemon->cluster_known) {
        log_error("standard input: a persistent store needs \"cluster UUID\" before \"go\"");
        return -EINVAL;
    }
    return store_directory_settle(&daemon->directory, &daemon->config, daemon->member_count,
                                  loop_realtime(daemon->loop));
}

static int set_map(struct daemon *daemon)
{
    struct cluster_map *map;
    int status = server_configure_map(&daemon->config, daemon->directory.disk != NULL, daemon->members,
                                      daemon->member_count, &map);
    if (status == 0)
        status = server_set_map(daemon->server, map);
    if (status == -EINVAL)
        log_error("standard input: this server's id is not among the members");
    else if (status == -ENOTSUP)
        log_error("cluster.ring = %s does not work with cluster.hash = %s: choose another hash",
                  daemon->config.cluster.ring, daemon->config.cluster.hash);
    else if (status != 0)
        log_error("cannot take the cluster map: %s", status_text(status));
    return status;
}

static void log_recovery(struct daemon *daemon)
{
    struct journal_recovery recovery;
    if (!server_recovery(daemon->server, &recovery))
        return;
    log_info("recovered %" PRIu64 " records of a snapshot and %" PRIu64 " of the log in %.3f s%s",
             recovery.snapshot_records, recovery.log_records, (double)recovery.duration_ns / NSEC_PER_SEC,
             recovery.torn ? "; an incomplete group at the end was cut off" : "");
}

/* Once the server knows who it is. Who cannot be scraped serves all the same. */
static void start_exporter(struct daemon *daemon)
{
    const char *listen = daemon->config.metrics.listen;
    char *bound = daemon->metrics->header->exporter;
    if (listen[0] == '\0')
        return;
    int status = exporter_start(listen, daemon->id, daemon->metrics, bound, &daemon->exporter);
    if (status != 0)
        log_error("cannot answer Prometheus at %s (metrics.listen; server %" PRIu32 " adds its number to the "
                  "port): %s",
                  listen, daemon->id, status_text(status));
    else
        log_info("metrics at http://%s/metrics", bound);
}

/* A task: everything between "go" and "serving". */
static void begin_to_serve(void *argument)
{
    struct daemon *daemon = argument;
    int status = settle_identity(daemon);
    if (status == 0)
        status = server_recover(daemon->server);
    if (status == 0)
        status = set_map(daemon);
    if (status == 0)
        status = server_resolve(daemon->server);
    daemon->beginning = false;
    if (status != 0) {
        daemon->status = EXIT_FAILURE;
        loop_stop(daemon->loop);
        return;
    }
    log_recovery(daemon);
    start_exporter(daemon);
    say("%s\n", "serving");
}

static void take_line(struct daemon *daemon, const char *line)
{
    static const char cluster[] = "cluster ";
    if (strcmp(line, "go") == 0) {
        daemon->serving = daemon->beginning = true;
        if (task_spawn_later(daemon->loop, begin_to_serve, daemon, NULL) != 0) {
            daemon->beginning = false;
            give_up(daemon, "out of memory");
        }
    } else if (strncmp(line, cluster, strlen(cluster)) == 0) {
        set_cluster(daemon, line + strlen(cluster));
    } else {
        add_member(daemon, line);
    }
}

/* One read; true while more is wanted. */
static bool read_input(struct daemon *daemon)
{
    char bytes[512];
    ssize_t count = read(STDIN_FILENO, bytes, sizeof(bytes));
    if (count < 0 && (errno == EINTR || errno == EAGAIN))
        return true;
    if (count <= 0) {
        give_up(daemon, "standard input ended before \"go\": the start was given up");
        return false;
    }
    for (ssize_t i = 0; i < count && !daemon->serving && daemon->status == 0; i++) {
        if (bytes[i] == '\n') {
            daemon->line[daemon->line_length] = 0;
            daemon->line_length = 0;
            take_line(daemon, daemon->line);
        } else if (daemon->line_length + 1 < sizeof(daemon->line)) {
            daemon->line[daemon->line_length++] = bytes[i];
        } else {
            give_up(daemon, "standard input: line too long");
        }
    }
    return !daemon->serving && daemon->status == 0;
}

static void input_ready(struct watch *watch, uint32_t events)
{
    struct daemon *daemon = container_of(watch, struct daemon, input);
    (void)events;
    if (!read_input(daemon)) {
        loop_watch_remove(daemon->loop, watch);
        daemon->input_watched = false;
    }
}

/* A plain file cannot be watched, and need not be: it never makes anyone wait. */
static int listen_to_starter(struct daemon *daemon)
{
    daemon->input = (struct watch){.fd = STDIN_FILENO, .ready = input_ready};
    int status = loop_watch_add(daemon->loop, &daemon->input, EPOLLIN);
    if (status == 0) {
        daemon->input_watched = true;
        return 0;
    }
    if (status != -EPERM)
        return status;
    while (read_input(daemon))
        continue;
    return daemon->status == 0 ? 0 : -ECANCELED;
}

/* ---- life ---- */

static void shut_down(void *owner)
{
    struct daemon *daemon = owner;
    loop_stop(daemon->loop);
}

static void signal_ready(struct watch *watch, uint32_t events)
{
    struct daemon *daemon = container_of(watch, struct daemon, signals);
    struct signalfd_siginfo info;
    (void)events;
    if (read(watch->fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        log_info("signal %u: ending", info.ssi_signo);
        loop_stop(daemon->loop);
    }
}

static void log_statistics(struct timer *timer)
{
    struct daemon *daemon = container_of(timer, struct daemon, log_timer);
    struct server_status_reply now;
    server_status(daemon->server, &now);
    uint64_t busy = now.busy_ns - daemon->logged.busy_ns;
    uint64_t elapsed = busy + now.idle_ns - daemon->logged.idle_ns;
    log_info("%" PRIu64 " requests, busy %.1f %%, %" PRIu64 " sessions, %" PRIu64 " inodes, %" PRIu64
             " of %" PRIu64 " MiB used",
             now.requests - daemon->logged.requests,
             elapsed > 0 ? 100.0 * (double)busy / (double)elapsed : 0.0, now.sessions, now.inodes,
             now.used >> 20, now.capacity >> 20);
    daemon->logged = now;
    timer_set(daemon->loop, timer, loop_now(daemon->loop) + daemon->config.metrics.log_interval);
}

static void pin_process(uint32_t number)
{
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
        return;
    unsigned skip = number % (unsigned)CPU_COUNT(&allowed);
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed) || skip-- > 0)
            continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        if (sched_setaffinity(0, sizeof(one), &one) != 0)
            log_warning("cannot bind to processor %u: %s", cpu, strerror(errno));
        return;
    }
}

static void open_log(const struct config *config)
{
    static const char *const levels[] = {"error", "warning", "info", "debug"};
    for (unsigned i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        if (strcmp(config->server.log_level, levels[i]) == 0)
            log_threshold = (enum log_level)i;
    }
    const char *path = config->server.log_file[0] != 0 ? config->server.log_file : NULL;
    int status = log_open("benchfsd", path);
    if (status != 0) {
        log_open("benchfsd", NULL);
        log_warning("cannot open log file \"%s\": %s: logging to standard error", path, status_text(status));
    }
}

/* ---- beginning and ending ---- */

static void say_ready(struct daemon *daemon)
{
    char line[160], digits[2 * sizeof(daemon->directory.identity.cluster) + 1];
    sodium_bin2hex(digits, sizeof(digits), daemon->directory.identity.cluster,
                   sizeof(daemon->directory.identity.cluster));
    snprintf(line, sizeof(line), "%s%s%s", daemon->address, daemon->directory.disk != NULL ? " " : "",
             daemon->directory.disk == NULL ? ""
             : daemon->directory.is_new     ? "new"
                                            : digits);
    say("ready %s\n", line);
}

static int create_server(struct daemon *daemon, const uint8_t *key)
{
    const struct config *config = &daemon->config;
    struct server_options options = {
        .id = daemon->id,
        .cluster_key = key,
        .store = {.disk = daemon->directory.disk, .fast_disk = daemon->directory.fast_disk}};
    server_configure(config, &options);
    int status = server_create(daemon->net, &options, &daemon->server, daemon->address);
    if (status != 0)
        log_error("cannot serve at %s: %s", config->server.listen, status_text(status));
    return status;
}

/* Without shared memory the server does its work, but nobody can watch it. */
static int create_metrics(struct daemon *daemon)
{
    const struct config *config = &daemon->config;
    const char *directory = config->metrics.shared ? METRICS_DIRECTORY_DEFAULT : NULL;
    int shared = 0;
    if (directory != NULL)
        metrics_prune(directory, NULL, METRICS_LEFT_AGE, METRICS_LEFT_COUNT);
    int status =
        metrics_create(directory, (uint32_t)config->metrics.trace_entries, &daemon->metrics, &shared);
    if (status == 0)
        daemon->metrics->header->slow_ns = config->metrics.slow;
    if (shared != 0)
        log_warning("cannot share measurements in %s: %s", directory, status_text(shared));
    return status;
}

/* Everything from an empty process to a listening server; what was made is in *daemon. */
static int begin(struct daemon *daemon, int signals)
{
    uint8_t key[CLUSTER_KEY_BYTES];
    const struct config *config = &daemon->config;
    int status = cluster_key_read(daemon->key_file, key);
    if (status != 0) {
        log_error("cannot use key file \"%s\": %s: it must hold %d bytes and be readable by its owner only",
                  daemon->key_file, status_text(status), CLUSTER_KEY_BYTES);
        return status;
    }
    status = create_metrics(daemon);
    struct loop_options loop = {.spin_ns = config->server.spin, .metrics = daemon->metrics, .moves = true};
    if (status == 0)
        status = loop_create(&loop, &daemon->loop);
    if (status == 0) {
        struct net_ucx_options ucx = {
            .transports = config->server.transports[0] != 0 ? config->server.transports : NULL,
            .devices = config->server.devices[0] != 0 ? config->server.devices : NULL,
            .one_host = net_address_is_local(config->server.listen)};
        status = net_create(daemon->loop, &ucx, &daemon->net);
    }
    if (status != 0) {
        log_error("cannot start the transport: %s", status_text(status));
        return status;
    }
    daemon->signals = (struct watch){.fd = signals, .ready = signal_ready};
    status = loop_watch_add(daemon->loop, &daemon->signals, EPOLLIN);
    if (status == 0)
        status = store_directory_open(&daemon->directory, daemon->loop, config, daemon->id);
    if (status == 0)
        status = create_server(daemon, key);
    if (status == 0) {
        log_info("server %" PRIu32 " listens at %s: store %s, %" PRIu64 " MiB, durability %s", daemon->id,
                 daemon->address, config->store.engine, config->store.capacity >> 20,
                 daemon->directory.disk == NULL ? "none" : config->store.durability);
        server_on_shut_down(daemon->server, shut_down, daemon);
        daemon->log_timer.fire = log_statistics;
        if (config->metrics.log_interval > 0)
            timer_set(daemon->loop, &daemon->log_timer,
                      loop_now(daemon->loop) + config->metrics.log_interval);
        say_ready(daemon);
        status = listen_to_starter(daemon);
    }
    explicit_bzero(key, sizeof(key));
    return status;
}

static void end(struct daemon *daemon)
{
    if (daemon->input_watched)
        loop_watch_remove(daemon->loop, &daemon->input);
    while (daemon->beginning)
        loop_poll(daemon->loop);
    exporter_stop(daemon->exporter);
    if (daemon->server != NULL) {
        timer_clear(daemon->loop, &daemon->log_timer);
        if (daemon->directory.disk != NULL && disk_discards(daemon->directory.disk))
            server_abandon(daemon->server);
        server_destroy(daemon->server);
    }
    store_directory_close(&daemon->directory);
    if (daemon->signals.ready != NULL)
        loop_watch_remove(daemon->loop, &daemon->signals);
    if (daemon->net != NULL)
        net_destroy(daemon->net);
    if (daemon->loop != NULL)
        loop_destroy(daemon->loop);
    metrics_destroy(daemon->metrics);
    free(daemon->members);
}

int main(int argc, char **argv)
{
    static struct daemon daemon;
    int status = parse_arguments(&daemon, argc, argv);
    if (status >= 0)
        return status;
    open_log(&daemon.config);
    signal(SIGPIPE, SIG_IGN);
    /* before any library starts a thread */
    int signals = signals_open((const int[]){SIGTERM, SIGINT, 0});
    if (signals < 0) {
        log_error("cannot watch signals: %s", strerror(errno));
        return EXIT_FAILURE;
    }
    if (daemon.config.server.pin)
        pin_process(daemon.id);
    if (begin(&daemon, signals) != 0)
        daemon.status = EXIT_FAILURE;
    if (daemon.status == 0)
        loop_run(daemon.loop);
    end(&daemon);
    close(signals);
    return daemon.status;
}

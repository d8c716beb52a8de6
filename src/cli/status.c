/* status: asks every server of the cluster file, for people as a table, for programs as JSON. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/status.h"
#include "cli/cli.h"
#include "cli/cluster.h"
#include "cli/status.h"

#define PATIENCE (2 * NSEC_PER_SEC)

static const char *state_of(const struct server_answer *answer)
{
    return answer->status == 0 ? "up" : "down";
}

static pid_t pid_of(const struct cluster_file_server *server, const struct server_answer *answer)
{
    return answer->status == 0 ? (pid_t)answer->reply.pid : server->pid;
}

/* "1.5 GiB": three significant digits are enough to read. */
static void size_text(uint64_t bytes, char *text, size_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1023.5 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1024;
        unit++;
    }
    snprintf(text, size, unit == 0 || value >= 99.5 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

static void print_table(const struct cluster *cluster, const struct server_answer *answers)
{
    printf("%-4s %-8s %-22s %-6s %10s %10s %10s\n", "ID", "PID", "ADDRESS", "STATE", "USED", "CAPACITY",
           "INODES");
    for (uint32_t i = 0; i < cluster->file.server_count; i++) {
        const struct cluster_file_server *server = &cluster->file.servers[i];
        const struct server_answer *answer = &answers[i];
        printf("%-4u %-8d %-22s %-6s", server->id, (int)pid_of(server, answer), server->address,
               state_of(answer));
        if (answer->status == 0) {
            char used[32], capacity[32];
            size_text(answer->reply.used, used, sizeof(used));
            size_text(answer->reply.capacity, capacity, sizeof(capacity));
            printf(" %10s %10s %10" PRIu64 "\n", used, capacity, answer->reply.inodes);
        } else {
            printf("   %s\n", status_text(answer->status));
        }
    }
}

static bool has_tiers(const struct server_answer *answer)
{
    const struct server_status_reply *reply = &answer->reply;
    return answer->status == 0 &&
           (reply->tier_used | reply->tier_hits | reply->tier_misses | reply->tier_spills) != 0;
}

/* What the engine tiered has done, if that is the one. */
static void print_tiers(const struct cluster *cluster, const struct server_answer *answers)
{
    bool headed = false;
    for (uint32_t i = 0; i < cluster->file.server_count; i++) {
        const struct server_status_reply *reply = &answers[i].reply;
        char used[32];
        if (!has_tiers(&answers[i]))
            continue;
        if (!headed)
            printf("\n%-4s %10s %12s %12s %12s %12s %12s %12s\n", "ID", "FAST", "HITS", "MISSES",
                   "PROMOTIONS", "DEMOTIONS", "SPILLS", "WRITE-BACKS");
        headed = true;
        size_text(reply->tier_used, used, sizeof(used));
        printf("%-4u %10s %12" PRIu64 " %12" PRIu64 " %12" PRIu64 " %12" PRIu64 " %12" PRIu64 " %12" PRIu64
               "\n",
               cluster->file.servers[i].id, used, reply->tier_hits, reply->tier_misses,
               reply->tier_promotions, reply->tier_demotions, reply->tier_spills, reply->tier_write_backs);
    }
}

static int print_json(const struct cluster *cluster, const struct server_answer *answers,
                      const struct observer *observer)
{
    json_t *servers = json_array();
    for (uint32_t i = 0; i < cluster->file.server_count; i++) {
        const struct cluster_file_server *server = &cluster->file.servers[i];
        const struct server_answer *answer = &answers[i];
        json_t *object = json_pack("{s:I, s:I, s:s, s:s, s:s}", "id", (json_int_t)server->id, "pid",
                                   (json_int_t)pid_of(server, answer), "host", server->host, "address",
                                   server->address, "state", state_of(answer));
        const struct server_status_reply *reply = &answer->reply;
        const struct {
            const char *name;
            uint64_t value;
        } counts[] = {
            {"used", reply->used},
            {"capacity", reply->capacity},
            {"inodes", reply->inodes},
            {"dentries", reply->dentries},
            {"metadata_bytes", reply->metadata_bytes},
            {"sessions", reply->sessions},
            {"requests", reply->requests},
            {"busy_ns", reply->busy_ns},
            {"idle_ns", reply->idle_ns},
            {"uptime_ns", reply->uptime_ns},
            {"journal_records", reply->journal_records},
            {"journal_groups", reply->journal_groups},
            {"journal_bytes", reply->journal_bytes},
            {"journal_log_bytes", reply->journal_log_bytes},
            {"recovered_records", reply->recovered_records},
            {"recovery_ns", reply->recovery_ns},
            {"tier_used", reply->tier_used},
            {"tier_hits", reply->tier_hits},
            {"tier_misses", reply->tier_misses},
            {"tier_promotions", reply->tier_promotions},
            {"tier_demotions", reply->tier_demotions},
            {"tier_spills", reply->tier_spills},
            {"tier_write_backs", reply->tier_write_backs},
        };
        for (size_t k = 0; k < sizeof(counts) / sizeof(counts[0]); k++)
            json_object_set_new(object, counts[k].name,
                                answer->status == 0 ? json_integer((json_int_t)counts[k].value)
                                                    : json_null());
        if (answer->status != 0)
            json_object_set_new(object, "error", json_string(status_text(answer->status)));
        status_json_server(observer, i, object);
        json_array_append_new(servers, object);
    }
    json_t *root = json_pack("{s:o}", "servers", servers);
    if (root != NULL)
        status_json_cluster(observer, root);
    char *text = root == NULL ? NULL : json_dumps(root, JSON_INDENT(2));
    json_decref(root);
    if (text == NULL) {
        cli_error("%s", status_text(-ENOMEM));
        return CLI_FAILED;
    }
    puts(text);
    free(text);
    return CLI_OK;
}

static int show_json(const struct cluster *cluster, const struct server_answer *answers)
{
    struct observer *observer = calloc(1, sizeof(*observer));
    if (observer == NULL || observer_open(observer) != 0) {
        free(observer);
        return CLI_FAILED;
    }
    int status = observer_sample(observer);
    int result = CLI_FAILED;
    if (status == 0)
        result = print_json(cluster, answers, observer);
    else
        cli_error("%s", status_text(status));
    observer_close(observer);
    free(observer);
    return result;
}

static int show(const struct cluster *cluster, bool json)
{
    struct server_answer *answers = calloc(cluster->file.server_count, sizeof(*answers));
    if (answers == NULL || cluster_ask(cluster, RPC_SERVER_STATUS, PATIENCE, answers) != 0) {
        free(answers);
        return CLI_FAILED;
    }
    int result = json ? show_json(cluster, answers) : CLI_OK;
    if (!json) {
        print_table(cluster, answers);
        print_tiers(cluster, answers);
    }
    for (uint32_t i = 0; i < cluster->file.server_count; i++)
        if (answers[i].status != 0)
            result = CLI_FAILED;
    free(answers);
    return result;
}

static int run_status(int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'}, CLI_HELP, {0}};
    bool json = false;
    int result = CLI_OK;
    for (int option; (option = cli_option(argc, argv, ":", options, &result)) != -1;) {
        if (option != 'j')
            return result;
        json = true;
    }
    if (optind < argc)
        return cli_usage("unexpected argument \"%s\"", argv[optind]);
    struct cluster *cluster = calloc(1, sizeof(*cluster));
    if (cluster == NULL || cluster_open(cluster) != 0) {
        free(cluster);
        return CLI_FAILED;
    }
    result = show(cluster, json);
    cluster_close(cluster);
    free(cluster);
    return result;
}

const struct verb verb_status = {
    .name = "status",
    .usage = "[--json]",
    .help = "Show the servers of the cluster",
    .text =
        "Exit code 0 when all servers are up, 1 otherwise.\n"
        "      --json  everything that servers and the clients of this host measure, since they started:\n"
        "              servers, their counters, operations by stage, memory by owner; balance; clients\n",
    .run = run_status,
};

/* explain: why the results of a benchmark are what they are, or what a running cluster does now.
 *
 * Live, it reads all regions, waits, and reads them again; so nothing is asked of clients, nor of servers on
 * this host. Clients that come meanwhile are looked for, so that those which end again are not missed. */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/signals.h"
#include "base/status.h"
#include "bench/bench.h"
#include "bench/explain.h"
#include "bench/interval.h"
#include "bench/options.h"
#include "cli/cli.h"
#include "cli/observe.h"
#include "net/stream.h"

#define SECONDS_DEFAULT 5u
#define SECONDS_MAX 86400u
#define LOOK_INTERVAL_MS 20 /* for new clients */
#define RESULTS_MAX 8u
#define TARGET "benchfs:"

struct live {
    struct observer observer;
    struct interval *interval;
    int signals;
    uint32_t server; /* that spoiled the interval */
    uint64_t seconds;
    char id[RESULT_ID_SIZE];
};

/* ---- the interval ---- */

/* Until the time is over or a signal comes. */
static int observe(struct live *live)
{
    struct sources *sources = &live->observer.sources;
    struct pollfd signals = {.fd = live->signals, .events = POLLIN};
    int status = interval_begin(live->interval, sources, &live->server);
    for (uint64_t end = clock_now() + live->seconds * NSEC_PER_SEC; status == 0 && clock_now() < end;) {
        if (poll(&signals, 1, LOOK_INTERVAL_MS) > 0)
            break;
        status = sources_look(sources);
    }
    return status == 0 ? interval_end(live->interval, sources, &live->server) : status;
}

/* ---- what is known of the cluster ---- */

static bool is_far(const struct live *live)
{
    const struct cluster_file *file = &live->observer.cluster.file;
    for (uint32_t i = 0; i < file->server_count; i++) {
        if (!net_address_is_local(file->servers[i].address))
            return true;
    }
    return false;
}

/* The line of a run, with the engine and the transport if the configuration is at hand. */
static json_t *run_line(const struct live *live)
{
    char error[512];
    const char *path = live->observer.cluster.file.config;
    struct config *config = malloc(sizeof(*config));
    json_t *run = result_run_line("live", live->id, json_pack("{sI}", "seconds", (json_int_t)live->seconds));
    if (config != NULL)
        config_defaults(config);
    if (config != NULL && path[0] != 0 && config_read_file(config, path, error, sizeof(error)) == 0) {
        const char *transport = is_far(live) || config->server.transports[0] != 0 ? "ucx" : "shm";
        json_object_set_new(run, "configuration",
                            json_pack("{s{s{ss}}}", TARGET, "store", "engine", config->store.engine));
        json_object_set_new(run, "transports", json_pack("[s]", transport));
    }
    free(config);
    return run;
}

static void print_summary(const struct interval_summary *summary)
{
    printf(
        "%.1f s: %llu requests of clients, %.0f a second, at %u server%s (the busiest at work %.0f %% of the "
        "time); %u client%s on this host sent %.0f %% of them\n\n",
        summary->seconds, (unsigned long long)summary->requests,
        summary->seconds > 0.0 ? (double)summary->requests / summary->seconds : 0.0, summary->servers,
        summary->servers == 1 ? "" : "s", summary->busiest * 100.0, summary->clients,
        summary->clients == 1 ? "" : "s",
        summary->requests == 0                 ? 0.0
        : summary->called >= summary->requests ? 100.0
                                               : 100.0 * (double)summary->called / (double)summary->requests);
}

/* Returns a cli_exit. */
static int tell(const struct live *live, struct explain *request)
{
    struct result results[RESULTS_MAX];
    struct interval_summary summary;
    char error[1024];
    interval_summarise(live->interval, &summary);
    uint32_t count = interval_results(live->interval, live->id, TARGET, results, RESULTS_MAX);
    if (count == 0) {
        cli_error("nobody sent a request in %.1f s", summary.seconds);
        return CLI_FAILED;
    }
    if (!request->json)
        print_summary(&summary);
    json_t *run = run_line(live);
    int status = explain_results(request, run, results, count, error, sizeof(error));
    if (status < 0)
        cli_error("%s", error);
    else if (!request->json && summary.at_servers)
        printf("(most requests came from other hosts: stages are what servers saw, without the way there and "
               "back)\n");
    else if (!request->json && request->limits == NULL)
        printf("(no limits: \"benchfs bench calibrate --output FILE\" measures some while nothing else "
               "happens, --limits FILE takes them)\n");
    for (uint32_t i = 0; i < count; i++)
        result_free(&results[i]);
    json_decref(run);
    return status == 0 ? cli_finish_output(CLI_OK) : status == -EINVAL ? CLI_USAGE : CLI_FAILED;
}

static int explain_live(struct explain *request, uint64_t seconds)
{
    struct live *live = calloc(1, sizeof(*live));
    if (live == NULL) {
        cli_error("%s", status_text(-ENOMEM));
        return CLI_FAILED;
    }
    live->seconds = seconds;
    result_make_id(live->id);
    int result = CLI_FAILED;
    if (observer_open(&live->observer) == 0) {
        live->signals = signals_open((const int[]){SIGINT, SIGTERM, 0});
        int status = live->signals < 0 ? -errno : interval_create(&live->interval);
        if (status == 0)
            status = observe(live);
        if (status == -ESTALE)
            cli_error(
                "server %u cannot be read, or was started again meanwhile: \"benchfs status\" tells more",
                live->server);
        else if (status != 0)
            cli_error("%s", status_text(status));
        else
            result = tell(live, request);
        if (live->signals >= 0)
            close(live->signals);
        interval_destroy(live->interval);
        observer_close(&live->observer);
    }
    free(live);
    return result;
}

/* ---- the verb ---- */

enum { OPTION_LIMITS = 1, OPTION_PHASE, OPTION_TARGET, OPTION_JSON, OPTION_LIVE, OPTION_SECONDS };

static int explain_files(struct explain *request)
{
    char error[1024];
    bench_error_name("calibrate");
    int status = explain(request, error, sizeof(error));
    if (status < 0)
        cli_error("%s", error);
    return status == 0 ? CLI_OK : status == -EINVAL ? CLI_USAGE : CLI_FAILED;
}

static int run_explain(int argc, char **argv)
{
    static const struct option options[] = {{"limits", required_argument, NULL, OPTION_LIMITS},
                                            {"phase", required_argument, NULL, OPTION_PHASE},
                                            {"target", required_argument, NULL, OPTION_TARGET},
                                            {"json", no_argument, NULL, OPTION_JSON},
                                            {"live", no_argument, NULL, OPTION_LIVE},
                                            {"seconds", required_argument, NULL, OPTION_SECONDS},
                                            CLI_HELP,
                                            {0}};
    struct explain request = {0};
    uint64_t seconds = 0;
    bool live = false;
    int option, result = CLI_OK;
    while ((option = cli_option(argc, argv, ":", options, &result)) != -1) {
        if (option == '?')
            return result;
        if (option == OPTION_LIMITS)
            request.limits = optarg;
        else if (option == OPTION_PHASE)
            request.phase = optarg;
        else if (option == OPTION_TARGET)
            request.target = optarg;
        else if (option == OPTION_JSON)
            request.json = true;
        else if (option == OPTION_LIVE)
            live = true;
        else if (cli_number("--seconds", optarg, SECONDS_MAX, &seconds) != CLI_OK)
            return CLI_USAGE;
        else if (seconds == 0)
            return cli_usage("--seconds 0 is no time to look at");
    }
    request.files = (const char *const *)argv + optind;
    request.file_count = (uint32_t)(argc - optind);
    if (!live && seconds != 0)
        return cli_usage("--seconds is for --live");
    if (live && request.file_count > 0)
        return cli_usage("--live looks at the cluster, not at a file of results");
    if (live && (request.phase != NULL || request.target != NULL))
        return cli_usage("--phase and --target choose among results of files, not with --live");
    if (!live && request.file_count == 0)
        return cli_usage("no file of results given; --live explains the running cluster");
    return live ? explain_live(&request, seconds != 0 ? seconds : SECONDS_DEFAULT) : explain_files(&request);
}

const struct verb verb_explain = {
    .name = "explain",
    .usage = "[--limits FILE] [--phase NAME] [--target NAME] [--json] RESULTS...\n"
             "       benchfs explain --live [--seconds N] [--limits FILE] [--json]",
    .help = "Say what limits the results of a benchmark, or the running cluster",
    .text =
        "      --limits FILE  limits that \"benchfs bench calibrate --output FILE\" wrote; without it those "
        "among\n"
        "                     the results, or they are measured now, if this is the host of the results\n"
        "      --phase NAME   only results of this phase\n"
        "      --target NAME  only results on this target\n"
        "      --live         look at the running cluster in place of results, for\n"
        "      --seconds N    so long (5), or until interrupted\n"
        "      --json         lines of JSON, which \"benchfs report\" reads when they follow the results; "
        "live: with\n"
        "                     the results\n\n"
        "RESULTS are files that \"benchfs bench ... --output\" wrote. Each result gets a sentence that names "
        "the\n"
        "stage that takes most time, the resource behind it, how far that is from its measured limit, and "
        "the\n"
        "figures. What several of them measured in the same way is put side by side in the end.\n",
    .run = run_explain,
};

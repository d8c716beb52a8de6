/* trace: what every request did, as a file for Perfetto.
 *
 * While it runs it reads the rings of all regions often enough, and has clients record the calls of the
 * library as well: each of their regions says until when somebody wants that, and is told again as long as
 * this goes on; so should this process be killed, they stop by themselves. New threads of clients are looked
 * for all the time. What a ring lost because it turned too fast is told.
 *
 * What a killed process left behind is read from its file in the same way, all of it. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/quantity.h"
#include "base/signals.h"
#include "base/status.h"
#include "cli/cli.h"
#include "cli/observe.h"
#include "cli/trace_export.h"
#include "metrics/files.h"

#define SECONDS_DEFAULT 5u
#define POLL_INTERVAL (2 * NSEC_PER_MSEC)    /* of the rings of this host */
#define REMOTE_INTERVAL (20 * NSEC_PER_MSEC) /* of others */
#define LOOK_INTERVAL (20 * NSEC_PER_MSEC)   /* for new regions */
#define DETAIL (2 * NSEC_PER_SEC)            /* how long one word to a client counts */
#define DETAIL_INTERVAL (NSEC_PER_SEC / 2)
#define BATCH 4096u

struct tracing {
    struct observer observer;
    struct trace trace;
    struct metrics_entry *entries; /* BATCH */
    int signals;
    uint64_t seconds; /* 0: nothing is traced */
    uint64_t slow_ns; /* METRICS_LEAVE: as it is */
    uint32_t dead;    /* process whose region is wanted */
    bool left;        /* those of all that are gone */
    const char *output;
};

/* source->own */
struct reading {
    uint32_t track;
    uint64_t position;
    uint64_t read_at; /* clock_now */
    uint64_t told_at; /* detail_until was set */
};

/* ---- reading ---- */

static int read_ring(struct tracing *tracing, struct metrics_source *reader, uint32_t track,
                     uint64_t *position)
{
    for (;;) {
        uint64_t lost = 0;
        int count = metrics_trace_read(reader, position, tracing->entries, BATCH, &lost);
        if (count < 0)
            return count;
        tracing->trace.tracks[track].lost += lost;
        int status = trace_export_add(&tracing->trace, track, tracing->entries, (uint32_t)count);
        if (status != 0)
            return status;
        if (count < (int)BATCH / 2)
            return 0;
    }
}

/* From now on: what the ring holds already is of before. A region that came while this runs is read from its
 * beginning. */
static int begin_reading(struct tracing *tracing, struct source *source, bool from_now)
{
    struct reading *reading = calloc(1, sizeof(*reading));
    if (reading == NULL)
        return -ENOMEM;
    int status = trace_export_track(&tracing->trace, &source->reader->header, &reading->track);
    if (status != 0) {
        free(reading);
        return status;
    }
    tracing->trace.tracks[reading->track].remote = source->remote;
    if (from_now)
        reading->position = source->reader->header.trace_head;
    source->own = reading;
    return 0;
}

static int visit(struct tracing *tracing, struct source *source, uint64_t now, bool from_now, bool last)
{
    if (source->reader == NULL)
        return 0;
    if (!is_server(source) && source->reader->header.pid == (uint32_t)getpid())
        return 0; /* this process */
    int status = source->own == NULL ? begin_reading(tracing, source, from_now) : 0;
    struct reading *reading = source->own;
    if (status != 0)
        return status;
    if (!last && !is_server(source) && !source->ended && now - reading->told_at >= DETAIL_INTERVAL) {
        const struct metrics_control control = {.slow_ns = METRICS_LEAVE, .detail_until = now + DETAIL};
        metrics_source_control(source->reader, &control); /* it may have ended just now */
        reading->told_at = now;
    }
    if (!last && source->remote && now - reading->read_at < REMOTE_INTERVAL)
        return 0;
    reading->read_at = now;
    status = read_ring(tracing, source->reader, reading->track, &reading->position);
    return status == -ENOMEM ? status : 0; /* a server that went down has said what it could */
}

static int visit_all(struct tracing *tracing, uint64_t now, bool from_now, bool last)
{
    struct sources *sources = &tracing->observer.sources;
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < sources->count; i++)
        status = visit(tracing, sources->list[i], now, from_now, last);
    return status;
}

static void tell_all(struct tracing *tracing, const struct metrics_control *control, bool servers)
{
    struct sources *sources = &tracing->observer.sources;
    for (uint32_t i = 0; i < sources->count; i++) {
        struct source *source = sources->list[i];
        if (source->reader == NULL || source->ended || (!servers && is_server(source)))
            continue;
        int status = metrics_source_control(source->reader, control);
        if (status != 0 && is_server(source))
            cli_error("server %u: cannot set what is slow: %s", source->server, status_text(status));
    }
}

static void take_clocks(struct tracing *tracing)
{
    struct sources *sources = &tracing->observer.sources;
    for (uint32_t i = 0; i < sources->count; i++) {
        const struct source *source = sources->list[i];
        const struct reading *reading = source->own;
        if (reading == NULL || !source->remote)
            continue;
        struct trace_track *track = &tracing->trace.tracks[reading->track];
        clock_offset_estimate(&source->clock, clock_now(), &track->offset, &track->offset_error);
        track->pairs = source->clock.pairs;
        track->contradictions = source->clock.contradictions;
    }
}

/* Until the time is over or a signal comes. */
static int record(struct tracing *tracing)
{
    struct sources *sources = &tracing->observer.sources;
    uint64_t now = clock_now(), end = now + tracing->seconds * NSEC_PER_SEC, looked = now;
    int status = visit_all(tracing, now, true, false);
    struct pollfd signals = {.fd = tracing->signals, .events = POLLIN};
    while (status == 0 && now < end) {
        if (poll(&signals, 1, (int)(POLL_INTERVAL / NSEC_PER_MSEC)) > 0)
            break;
        now = clock_now();
        if (now - looked >= LOOK_INTERVAL) {
            status = sources_look(sources);
            looked = now;
        }
        if (status == 0)
            status = visit_all(tracing, now, false, false);
    }
    const struct metrics_control off = {.slow_ns = METRICS_LEAVE, .detail_until = 0};
    tell_all(tracing, &off, false);
    if (status == 0)
        status = visit_all(tracing, clock_now(), false, true);
    take_clocks(tracing);
    return status;
}

/* ---- what is left of the dead ---- */

static int read_left(struct tracing *tracing)
{
    char **paths;
    uint32_t count, found = 0;
    int status = metrics_list(METRICS_DIRECTORY_DEFAULT, &paths, &count);
    for (uint32_t i = 0; i < count; i++) {
        struct metrics_source *reader = NULL;
        if (status == 0 && metrics_source_open(paths[i], &reader) == 0 &&
            !metrics_process_lives(&reader->header) &&
            (tracing->left || reader->header.pid == tracing->dead)) {
            uint32_t track;
            uint64_t position = 0;
            status = trace_export_track(&tracing->trace, &reader->header, &track);
            if (status == 0)
                status = read_ring(tracing, reader, track, &position);
            found++;
        }
        metrics_source_close(reader);
        free(paths[i]);
    }
    free(paths);
    if (status != 0)
        cli_error("%s", status_text(status));
    else if (found == 0 && tracing->left)
        cli_error("no process that is gone has left anything in " METRICS_DIRECTORY_DEFAULT "/benchfs-%u",
                  (unsigned)geteuid());
    else if (found == 0)
        cli_error("process %u has left nothing, or still runs", tracing->dead);
    /* What fell out of the ring before is no loss of this reading. */
    for (uint32_t i = 0; i < tracing->trace.track_count; i++)
        tracing->trace.tracks[i].lost = 0;
    return status != 0 ? status : found == 0 ? -ENOENT : 0;
}

/* ---- output ---- */

static void print_summary(const struct tracing *tracing, const struct trace_summary *summary)
{
    FILE *out = strcmp(tracing->output, "-") == 0 ? stderr : stdout;
    fprintf(out,
            "%" PRIu64 " calls of the library, %" PRIu64 " requests (%" PRIu64
            " of them in such calls), %" PRIu64 " served (%" PRIu64 " joined), %" PRIu64
            " disk transfers (%" PRIu64 " joined)\n",
            summary->applications, summary->calls, summary->joined[0], summary->served, summary->joined[1],
            summary->disk, summary->joined[2]);
    for (uint32_t i = 0; i < tracing->trace.track_count; i++) {
        const struct trace_track *track = &tracing->trace.tracks[i];
        if (track->remote)
            fprintf(out,
                    "server %u on %s: clock offset %+.1f us, within %.1f us, of %" PRIu64 " requests%s\n",
                    track->header.server, track->header.host, (double)track->offset / 1000,
                    (double)track->offset_error / 1000, track->pairs,
                    track->contradictions > 0 ? "; the clock was set meanwhile" : "");
    }
    if (summary->lost > 0)
        fprintf(out, "%" PRIu64 " entries were lost: a larger metrics.trace_entries keeps more\n",
                summary->lost);
    if (strcmp(tracing->output, "-") != 0)
        fprintf(out, "%s: open it in https://ui.perfetto.dev\n", tracing->output);
}

static int write_trace(struct tracing *tracing)
{
    bool standard = strcmp(tracing->output, "-") == 0;
    FILE *out = standard ? stdout : fopen(tracing->output, "we");
    struct trace_summary summary;
    int status = out == NULL ? -errno : trace_export_write(&tracing->trace, out, &summary);
    if (out != NULL && !standard && fclose(out) != 0 && status == 0)
        status = -errno;
    if (status != 0) {
        cli_error("cannot write \"%s\": %s", tracing->output, status_text(status));
        return CLI_FAILED;
    }
    print_summary(tracing, &summary);
    return CLI_OK;
}

/* ---- the verb ---- */

static int trace_living(struct tracing *tracing)
{
    if (observer_open(&tracing->observer) != 0)
        return -EIO;
    const struct metrics_control control = {.slow_ns = tracing->slow_ns, .detail_until = METRICS_LEAVE};
    if (tracing->slow_ns != METRICS_LEAVE)
        tell_all(tracing, &control, true);
    tracing->signals = signals_open((const int[]){SIGINT, SIGTERM, 0});
    int status = tracing->signals < 0 ? -errno : tracing->seconds == 0 ? 0 : record(tracing);
    if (status != 0)
        cli_error("%s", status_text(status));
    if (tracing->signals >= 0)
        close(tracing->signals);
    return status;
}

static void close_sources(struct tracing *tracing)
{
    struct sources *sources = &tracing->observer.sources;
    for (uint32_t i = 0; i < sources->count; i++) {
        free(sources->list[i]->own);
        sources->list[i]->own = NULL;
    }
    observer_close(&tracing->observer);
}

static int run(struct tracing *tracing)
{
    bool dead = tracing->left || tracing->dead != 0;
    tracing->entries = calloc(BATCH, sizeof(*tracing->entries));
    int status = tracing->entries == NULL ? -ENOMEM : dead ? read_left(tracing) : trace_living(tracing);
    int result = status == 0 ? CLI_OK : CLI_FAILED;
    if (status == 0 && (dead || tracing->seconds > 0))
        result = write_trace(tracing);
    if (!dead)
        close_sources(tracing);
    trace_export_free(&tracing->trace);
    free(tracing->entries);
    return result;
}

static int take_option(struct tracing *tracing, int option)
{
    uint64_t number = 0;
    int result;
    switch (option) {
    case 's':
        return cli_number("--seconds", optarg, 86400, &tracing->seconds);
    case 'o':
        tracing->output = optarg;
        return CLI_OK;
    case 'S':
        if (quantity_parse_duration(optarg, &tracing->slow_ns) != 0 || tracing->slow_ns == METRICS_LEAVE)
            return cli_usage("--slow \"%s\" is not a duration, such as 5ms", optarg);
        return CLI_OK;
    case 'd':
        result = cli_number("--dead", optarg, INT32_MAX, &number);
        tracing->dead = (uint32_t)number;
        return result == CLI_OK && number == 0 ? cli_usage("--dead needs the number of a process") : result;
    default:
        tracing->left = true;
        return CLI_OK;
    }
}

static int run_trace(int argc, char **argv)
{
    static const struct option options[] = {{"seconds", required_argument, NULL, 's'},
                                            {"output", required_argument, NULL, 'o'},
                                            {"slow", required_argument, NULL, 'S'},
                                            {"dead", required_argument, NULL, 'd'},
                                            {"left", no_argument, NULL, 'l'},
                                            CLI_HELP,
                                            {0}};
    struct tracing *tracing = calloc(1, sizeof(*tracing));
    if (tracing == NULL)
        return CLI_FAILED;
    tracing->seconds = SECONDS_DEFAULT;
    tracing->slow_ns = METRICS_LEAVE;
    tracing->output = "trace.json";
    int result = CLI_OK;
    for (int option; result == CLI_OK && (option = cli_option(argc, argv, ":o:", options, &result)) != -1;) {
        if (option == '?') {
            free(tracing);
            return result;
        }
        result = take_option(tracing, option);
    }
    if (result == CLI_OK && optind < argc)
        result = cli_usage("unexpected argument \"%s\"", argv[optind]);
    if (result == CLI_OK)
        result = run(tracing);
    free(tracing);
    return result;
}

const struct verb verb_trace = {
    .name = "trace",
    .usage = "[--seconds N] [-o FILE] [--slow DURATION] [--dead PID | --left]",
    .help = "Record what every request does, for Perfetto",
    .text = "      --seconds N      for so long (5), or until interrupted; 0: only do what --slow says\n"
            "  -o, --output FILE    where to (trace.json); \"-\": standard output\n"
            "      --slow DURATION  from now on servers note and log requests that take so long; 0: none\n"
            "      --dead PID       what a process left that was killed: its last operations\n"
            "      --left           the same of all processes that are gone\n",
    .run = run_trace,
};

/* The verb, and what its parts share. A limit is the median over some short measurements, with the interval
 * of that median; the order of the lines has the most generous ones last, because warnings take the last one
 * that fits. */
#include "bench/calibrate.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/crew.h"
#include "bench/interrupt.h"
#include "bench/limit.h"
#include "bench/live.h"
#include "bench/result_output.h"

static const char *directory, *output_path;
static uint64_t duration = 20 * NSEC_PER_MSEC, repeats = 5, file_size = UINT64_C(128) << 20;
static bool json;

static const struct bench_option options[] = {
    {"dir", BENCH_PATH, &directory, 0, 0, "DIR", "measure the device of this directory, too"},
    {"file-size", BENCH_SIZE, &file_size, UINT64_C(16) << 20, UINT64_C(1) << 40, "SIZE",
     "bytes to use in it"},
    {"time", BENCH_DURATION, &duration, NSEC_PER_MSEC, 60 * NSEC_PER_SEC, "TIME", "of each measurement"},
    {"repeats", BENCH_NUMBER, &repeats, 1, CREW_PHASES_MAX, "N", "of each measurement"},
    {"json", BENCH_FLAG, &json, 0, 0, NULL, "JSON lines in place of a table"},
    {"output", BENCH_PATH, &output_path, 0, 0, "FILE", "JSON lines into FILE as well: for --limits"},
    {0},
};

void calibrate_tell(const struct calibration *calibration, struct result_limit limit,
                    const struct sample *values)
{
    limit.low = sample_minimum(values);
    limit.high = sample_maximum(values);
    limit.value = strcmp(limit.unit, "ns") == 0 ? limit.low : limit.high;
    calibration->found(calibration->argument, &limit);
}

int calibrate(const struct calibration *calibration)
{
    static const struct {
        const char *name;
        size_t wanted; /* offset of the flag */
        int (*measure)(const struct calibration *calibration);
    } parts[] = {
        {"memory", offsetof(struct calibration, memory), calibrate_memory},
        {"network", offsetof(struct calibration, network), calibrate_network},
        {"device", offsetof(struct calibration, device), calibrate_device},
        {"system", offsetof(struct calibration, system), calibrate_system},
    };
    int status = 0;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && status == 0; i++) {
        if (!*(const bool *)((const char *)calibration + parts[i].wanted))
            continue;
        live_show("calibrating: %s", parts[i].name);
        status = interrupted() ? -EINTR : parts[i].measure(calibration);
        live_clear();
    }
    return status;
}

/* ---- the verb ---- */

struct writing {
    struct result_output output;
    char run[RESULT_ID_SIZE];
    int status; /* 0 or the first -errno */
};

static void write_line(struct writing *writing, json_t *line)
{
    if (json && writing->status == 0)
        writing->status = result_write_line(stdout, json_incref(line));
    if (writing->output.file != NULL && writing->status == 0)
        writing->status = result_write_line(result_output_file(&writing->output), json_incref(line));
    json_decref(line);
}

static void show(const struct result_limit *limit)
{
    char size[32] = "", value[64], low[64], high[64], more[96] = "";
    if (limit->size > 0)
        limits_format_size(limit->size, size, sizeof(size));
    limits_format_value(limit->value, limit->unit, value, sizeof(value));
    limits_format_value(limit->low, limit->unit, low, sizeof(low));
    limits_format_value(limit->high, limit->unit, high, sizeof(high));
    if (limit->transport[0] != 0)
        snprintf(more, sizeof(more), "%s", limit->transport);
    else if (limit->footprint > 0) {
        char footprint[32];
        limits_format_size(limit->footprint, footprint, sizeof(footprint));
        snprintf(more, sizeof(more), "over %s by %llu", footprint, (unsigned long long)limit->processes);
    }
    printf("%-18s %8s %6llu %14s  %s..%s  %s\n", limit->name, size, (unsigned long long)limit->depth, value,
           low, high, more);
    fflush(stdout);
}

static void found(void *argument, const struct result_limit *limit)
{
    struct writing *writing = argument;
    struct result_limit own = *limit;
    own.run = writing->run;
    live_clear();
    if (!json)
        show(&own);
    write_line(writing, result_limit_json(&own));
}

static int run(void)
{
    struct writing writing = {0};
    if (directory != NULL && access(directory, R_OK | W_OK | X_OK) != 0) {
        bench_error("option --dir: cannot use \"%s\": %s", directory, strerror(errno));
        return BENCH_USAGE;
    }
    int opened = output_path != NULL ? result_output_open(&writing.output, output_path) : 0;
    if (opened < 0) {
        bench_error("option --output: cannot write \"%s\": %s", output_path, strerror(-opened));
        return BENCH_USAGE;
    }
    const struct calibration calibration = {.memory = true,
                                            .network = true,
                                            .device = directory != NULL,
                                            .system = true,
                                            .directory = directory,
                                            .file_size = file_size,
                                            .duration = duration,
                                            .repeats = (uint32_t)repeats,
                                            .found = found,
                                            .argument = &writing};
    interrupt_catch();
    result_make_id(writing.run);
    json_t *line = result_run_line("calibrate", writing.run, result_options(&bench_calibrate));
    json_object_set_new(line, "configuration", json_object());
    json_object_set_new(line, "transports", json_array());
    write_line(&writing, line);
    if (!json)
        printf("%-18s %8s %6s %14s  of all\n", "limit", "size", "depth", "value");
    int status = calibrate(&calibration);
    if (status == -EINTR)
        bench_error("interrupted");
    int closed = result_output_close(&writing.output);
    writing.status = writing.status != 0 ? writing.status : closed;
    if (writing.status != 0)
        bench_error("cannot write limits: %s", strerror(-writing.status));
    return status == 0 && writing.status == 0 ? BENCH_OK : BENCH_FAILED;
}

const struct bench_verb bench_calibrate = {
    .name = "calibrate",
    .help = "Measure the limits of this machine: memory, network, device, system calls",
    .options = options,
    .run = run,
};

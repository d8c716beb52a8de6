/* Each engine and each reference fills a place of `--total` bytes, overwrites it front to back, reads it
 * front to back and in random order, and overwrites it in random order; for every size and depth. Each such
 * run has a process and a directory of its own; runs of one size and depth follow each other, engine by
 * engine, as often as --repeats says, so that a machine whose speed drifts harms all alike.
 *
 * A pass that writes ends when what it wrote is durable (journal_commit; fdatasync), within the measured
 * time, unless --no-sync is given. Bytes are checked wherever they are read (subject.c). */
#include "bench/store.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/status.h"
#include "bench/interrupt.h"
#include "bench/private_cluster.h"
#include "bench/report.h"
#include "bench/subject.h"
#include "store/store.h"

#define CHUNK_MAX (UINT64_C(64) << 20)
#define CAPACITY_SPARE (UINT64_C(64) << 20)

enum phase { FILL, WRITE, READ, RANDOM_READ, RANDOM_WRITE, PHASES };

static const struct {
    const char *name;
    bool writing;
    bool random;
    uint8_t generation;
} phases[PHASES] = {
    [FILL] = {"fill", true, false, 1},
    [WRITE] = {"write", true, false, 2},
    [READ] = {"read", false, false, 0},
    [RANDOM_READ] = {"randread", false, true, 0},
    [RANDOM_WRITE] = {"randwrite", true, true, 3},
};

static const char *stores, *directory, *fast = "mem", *slow = "uring";
static struct bench_list sizes = {.count = 3, .sizes = {4096, 65536, 1048576}};
static struct bench_list depths = {.count = 2, .sizes = {1, 8}};
static uint64_t total_size = UINT64_C(64) << 20, chunk_size = UINT64_C(1) << 20, capacity, repeats = 3;
static bool no_checksum, no_sync, verify, json;

static const struct bench_option options[] = {
    {"store", BENCH_TEXT, &stores, 0, 0, "NAME,...",
     "engines, and of the references pwrite (through the page cache) and direct (io_uring past it) [all]"},
    {"dir", BENCH_TEXT, &directory, 0, 0, "DIR", "where persistent engines and references lie [$TMPDIR]"},
    {"size", BENCH_SIZES, &sizes, 8, CHUNK_MAX, "SIZE,...", "bytes of a transfer, multiples of 8"},
    {"depth", BENCH_NUMBERS, &depths, 1, SUBJECT_DEPTH_MAX, "N,...", "transfers under way at once"},
    {"total", BENCH_SIZE, &total_size, 4096, UINT64_C(1) << 40, "SIZE", "bytes written and read by a pass"},
    {"chunk", BENCH_SIZE, &chunk_size, 65536, CHUNK_MAX, "SIZE",
     "of engines, a power of two; greater for transfers that do not fit"},
    {"capacity", BENCH_SIZE, &capacity, 0, UINT64_C(1) << 50, "SIZE",
     "of engines; 0: three times what is written and a little"},
    {"fast", BENCH_TEXT, &fast, 0, 0, "NAME", "engine above, of the store tiered [mem]"},
    {"slow", BENCH_TEXT, &slow, 0, 0, "NAME", "engine below, of the store tiered [uring]"},
    {"no-checksum", BENCH_FLAG, &no_checksum, 0, 0, NULL, "persistent engines: no CRC32C of blocks"},
    {"no-sync", BENCH_FLAG, &no_sync, 0, 0, NULL, "what is written need not be durable at the end"},
    {"verify", BENCH_FLAG, &verify, 0, 0, NULL, "check every byte that is read, not 8 of each 4 KiB"},
    {"repeats", BENCH_NUMBER, &repeats, 1, SAMPLE_MAX, "N", "how often; the stores take turns"},
    {"json", BENCH_FLAG, &json, 0, 0, NULL, "JSON lines in place of a table"},
    {0},
};

/* ---- one run ---- */

static int measure(struct crew_member *worker)
{
    const struct subject_plan *plan = worker->argument;
    const struct subject_operations *call = subject_find(plan->name);
    struct subject *subject;
    log_threshold = LOG_WARNING;
    int status = call->open(plan, &subject);
    if (status < 0)
        return status;
    for (uint32_t phase = 0; phase < PHASES && status == 0; phase++) {
        struct crew_part *part = crew_phase(worker, phase);
        struct subject_pass pass = {.writing = phases[phase].writing,
                                    .random = phases[phase].random,
                                    .generation = phases[phase].generation,
                                    .count = plan->blocks};
        if (part == NULL)
            return -ECANCELED;
        status = call->run(subject, &pass, part);
        crew_phase_end(worker, phase);
    }
    /* What the last pass wrote is looked at, too. */
    static struct crew_part unused;
    histogram_init(&unused.latency);
    struct subject_pass last = {.count = plan->blocks};
    if (status == 0)
        status = call->run(subject, &last, &unused);
    call->close(subject);
    return status;
}

static int run_once(struct subject_plan *plan, struct crew_total *totals)
{
    char path[PRIVATE_PATH_MAX];
    int status = private_directory_make_in(directory, path, sizeof(path));
    if (status < 0) {
        bench_error("cannot make a directory in %s: %s", directory != NULL ? directory : "the temporary one",
                    status_text(status));
        return status;
    }
    plan->directory = path;
    status = crew_execute(1, 1, NULL, PHASES, measure, plan, totals);
    private_directory_remove(path);
    return interrupted() ? -EINTR : status;
}

/* ---- all runs of one size and depth ---- */

static uint64_t chunk_for(uint64_t size)
{
    uint64_t chunk = chunk_size;
    while (chunk < size)
        chunk *= 2;
    return chunk;
}

static struct subject_plan plan_for(const char *name, uint64_t size, uint64_t depth)
{
    uint64_t chunk = chunk_for(size);
    uint64_t blocks = total_size / size;
    uint64_t chunks = (blocks + chunk / size - 1) / (chunk / size);
    return (struct subject_plan){
        .name = name,
        .size = size,
        .blocks = blocks,
        .depth = (uint32_t)depth,
        .chunk_size = (uint32_t)chunk,
        .capacity = capacity > 0 ? capacity : 3 * chunks * chunk + CAPACITY_SPARE,
        .checksum = !no_checksum,
        .sync = !no_sync,
        .verify = verify,
        .fast = fast,
        .slow = slow,
    };
}

static void add_totals(struct report_row *rows, const struct crew_total *totals)
{
    for (uint32_t phase = 0; phase < PHASES; phase++) {
        rows[phase].operations += totals[phase].operations;
        sample_add(&rows[phase].rate, (double)totals[phase].operations / totals[phase].seconds);
        sample_add(&rows[phase].bandwidth, (double)totals[phase].bytes / totals[phase].seconds);
        histogram_merge(&rows[phase].latency, &totals[phase].latency);
    }
}

static int measure_all(const struct bench_list *names, uint64_t size, uint64_t depth)
{
    static struct report_row rows[BENCH_LIST_MAX][PHASES];
    static struct crew_total totals[PHASES];
    for (uint32_t i = 0; i < names->count; i++) {
        for (uint32_t phase = 0; phase < PHASES; phase++) {
            rows[i][phase] = (struct report_row){
                .target = names->texts[i], .phase = phases[phase].name, .size = size, .depth = depth};
            histogram_init(&rows[i][phase].latency);
        }
    }
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        for (uint32_t i = 0; i < names->count; i++) {
            struct subject_plan plan = plan_for(names->texts[i], size, depth);
            if (subject_impossible(&plan) != NULL)
                continue;
            int status = run_once(&plan, totals);
            if (status < 0)
                return status;
            add_totals(rows[i], totals);
        }
    }
    for (uint32_t phase = 0; phase < PHASES; phase++) {
        for (uint32_t i = 0; i < names->count; i++) {
            if (rows[i][phase].rate.count > 0)
                report_row(&rows[i][phase], json);
        }
    }
    return 0;
}

/* ---- options ---- */

/* Splits --store; text holds the names. False after one line on standard error. */
static bool choose_stores(char *text, size_t size, struct bench_list *names)
{
    const struct store_operations *engine;
    for (unsigned i = 0; stores == NULL && (engine = store_engine_at(i)) != NULL; i++)
        names->texts[names->count++] = engine->name;
    if (stores == NULL) {
        names->texts[names->count++] = "pwrite";
        names->texts[names->count++] = "direct";
        return true;
    }
    if (strlen(stores) >= size) {
        bench_error("option --store: too long");
        return false;
    }
    strcpy(text, stores);
    char *rest = text;
    for (char *name; (name = strsep(&rest, ",")) != NULL;) {
        if (subject_find(name) == NULL) {
            char known[256] = "";
            for (unsigned i = 0; (engine = store_engine_at(i)) != NULL; i++) {
                strncat(known, i == 0 ? "" : ", ", sizeof(known) - strlen(known) - 1);
                strncat(known, engine->name, sizeof(known) - strlen(known) - 1);
            }
            bench_error("option --store takes of %s, pwrite and direct, separated by commas, not \"%s\"",
                        known, name);
            return false;
        }
        if (names->count == BENCH_LIST_MAX) {
            bench_error("option --store takes at most %d names", BENCH_LIST_MAX);
            return false;
        }
        names->texts[names->count++] = name;
    }
    return true;
}

static bool check_sizes(void)
{
    if ((chunk_size & (chunk_size - 1)) != 0) {
        bench_error("option --chunk takes a power of two");
        return false;
    }
    for (uint32_t i = 0; i < sizes.count; i++) {
        if (sizes.sizes[i] % 8 != 0) {
            bench_error("option --size takes multiples of 8, not %llu", (unsigned long long)sizes.sizes[i]);
            return false;
        }
        if (sizes.sizes[i] > total_size) {
            bench_error("--total is less than one transfer of --size %llu",
                        (unsigned long long)sizes.sizes[i]);
            return false;
        }
    }
    return true;
}

static int run(void)
{
    char text[1024];
    static char place[PATH_MAX];
    struct bench_list names = {0};
    if (!choose_stores(text, sizeof(text), &names) || !check_sizes())
        return BENCH_USAGE;
    if (directory != NULL && realpath(directory, place) == NULL) {
        bench_error("option --dir: %s: %s", directory, strerror(errno));
        return BENCH_FAILED;
    }
    directory = directory != NULL ? place : NULL;
    report_begin(&bench_store, &names, json);
    interrupt_catch();
    int status = 0;
    for (uint32_t i = 0; i < sizes.count && status == 0; i++) {
        for (uint32_t k = 0; k < depths.count && status == 0; k++)
            status = measure_all(&names, sizes.sizes[i], depths.sizes[k]);
    }
    if (interrupted())
        bench_error("interrupted");
    return status == 0 ? BENCH_OK : BENCH_FAILED;
}

const struct bench_verb bench_store = {
    .name = "store",
    .help = "Write and read storage engines alone, beside plain system calls",
    .options = options,
    .run = run,
};

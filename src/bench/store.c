/* Each engine and each reference fills a place of `--total` bytes, overwrites it front to back, reads it
 * front to back and in random order, and overwrites it in random order. Each such run has a process and a
 * directory of its own; engines and references take turns.
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
#include "bench/private_cluster.h"
#include "bench/subject.h"
#include "store/store.h"

#define CHUNK_MAX (UINT64_C(64) << 20)
#define CAPACITY_SPARE (UINT64_C(64) << 20)

enum phase { FILL, WRITE, READ, RANDOM_READ, RANDOM_WRITE, PHASES };

static const struct {
    bool writing;
    bool random;
    uint8_t generation;
} passes[PHASES] = {
    [FILL] = {true, false, 1},        [WRITE] = {true, false, 2},       [READ] = {false, false, 0},
    [RANDOM_READ] = {false, true, 0}, [RANDOM_WRITE] = {true, true, 3},
};
static const struct suite_phase phases[] = {
    [FILL] = {.name = "fill"},
    [WRITE] = {.name = "write"},
    [READ] = {.name = "read"},
    [RANDOM_READ] = {.name = "randread"},
    [RANDOM_WRITE] = {.name = "randwrite"},
    [PHASES] = {0},
};
static const char *const lists[] = {"size", "4KiB,64KiB,1MiB", "depth", "1,8", NULL};

static const char *store, *directory, *fast = "mem", *slow = "uring";
static uint64_t size = 4096, depth = 1, total_size = UINT64_C(64) << 20, chunk_size = UINT64_C(1) << 20,
                capacity;
static bool no_checksum, no_sync, verify;

static const struct bench_option options[] = {
    {"store", BENCH_TEXT, &store, 0, 0, "NAME",
     "engines, and of the references pwrite (through the page cache) and direct (io_uring past it) [all]"},
    {"dir", BENCH_PATH, &directory, 0, 0, "DIR", "where persistent engines and references lie [$TMPDIR]"},
    {"size", BENCH_SIZE, &size, 8, CHUNK_MAX, "SIZE", "bytes of a transfer, multiples of 8"},
    {"depth", BENCH_NUMBER, &depth, 1, SUBJECT_DEPTH_MAX, "N", "transfers under way at once"},
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
    {0},
};

/* ---- one run ---- */

static uint64_t chunk_for_size(void)
{
    uint64_t chunk = chunk_size;
    while (chunk < size)
        chunk *= 2;
    return chunk;
}

static struct subject_plan make_plan(const char *place)
{
    uint64_t chunk = chunk_for_size();
    uint64_t blocks = total_size / size;
    uint64_t chunks = (blocks + chunk / size - 1) / (chunk / size);
    return (struct subject_plan){
        .name = store,
        .directory = place,
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

static int run_passes(struct subject *subject, struct crew_member *crew)
{
    const struct subject_operations *call = subject->operations;
    uint64_t blocks = subject->plan->blocks;
    int status = 0;
    for (uint32_t phase = 0; phase < PHASES && status == 0; phase++) {
        struct crew_part *part = crew_phase(crew, phase);
        struct subject_pass pass = {.writing = passes[phase].writing,
                                    .random = passes[phase].random,
                                    .generation = passes[phase].generation,
                                    .count = blocks,
                                    .worker = crew};
        if (part == NULL)
            return -ECANCELED;
        status = call->run(subject, &pass, part);
        crew_phase_end(crew, phase);
    }
    /* What the last pass wrote is looked at, too. */
    static struct crew_part unused;
    histogram_init(&unused.latency);
    struct subject_pass last = {.count = blocks, .worker = crew};
    return status == 0 ? call->run(subject, &last, &unused) : status;
}

static int run(struct suite_member *member)
{
    char path[PRIVATE_PATH_MAX] = "";
    struct subject *subject;
    struct subject_plan plan = make_plan(path);
    if (subject_impossible(&plan) != NULL)
        return 0; /* no phase: there is no result */
    log_threshold = LOG_WARNING;
    int status = private_directory_make_in(directory, path, sizeof(path));
    if (status < 0) {
        bench_error("cannot make a directory in %s: %s", directory != NULL ? directory : "the temporary one",
                    status_text(status));
        return status;
    }
    status = subject_find(store)->open(&plan, &subject);
    if (status == 0) {
        status = run_passes(subject, member->crew);
        subject->operations->close(subject);
    }
    private_directory_remove(path);
    return status;
}

/* ---- options ---- */

static void add_name(char *names, size_t room, const char *name, const char *between)
{
    size_t length = strlen(names);
    snprintf(names + length, room - length, "%s%s", length > 0 ? between : "", name);
}

static const char *all_stores(void)
{
    static char names[256];
    const struct store_operations *engine;
    names[0] = 0;
    for (unsigned i = 0; (engine = store_engine_at(i)) != NULL; i++)
        add_name(names, sizeof(names), engine->name, ",");
    add_name(names, sizeof(names), "pwrite,direct", ",");
    return names;
}

static int complain_of_store(void)
{
    char known[256] = "";
    const struct store_operations *engine;
    for (unsigned i = 0; (engine = store_engine_at(i)) != NULL; i++)
        add_name(known, sizeof(known), engine->name, ", ");
    bench_error("option --store takes of %s, pwrite and direct, separated by commas, not \"%s\"", known,
                store);
    return BENCH_USAGE;
}

/* The directory as an absolute path, because servers and engines may have another current one. */
static int resolve_directory(void)
{
    static char place[PATH_MAX];
    if (directory == NULL || directory == place)
        return BENCH_OK;
    if (realpath(directory, place) == NULL) {
        bench_error("option --dir: %s: %s", directory, strerror(errno));
        return BENCH_USAGE;
    }
    directory = place;
    return BENCH_OK;
}

static int check(void)
{
    if (subject_find(store) == NULL)
        return complain_of_store();
    if ((chunk_size & (chunk_size - 1)) != 0) {
        bench_error("option --chunk takes a power of two");
        return BENCH_USAGE;
    }
    if (size % 8 != 0) {
        bench_error("option --size takes multiples of 8, not %llu", (unsigned long long)size);
        return BENCH_USAGE;
    }
    if (size > total_size) {
        bench_error("--total is less than one transfer of --size %llu", (unsigned long long)size);
        return BENCH_USAGE;
    }
    return resolve_directory();
}

/* Whoever sees 250 GB/s must be told what they are. */
static void describe(uint32_t phase, const void *shared, struct result *result)
{
    (void)phase, (void)shared;
    if (strcmp(result->target, "null") == 0)
        result_warn(result, "keeps no contents: no bytes are moved");
    else if (strcmp(result->target, "mem") == 0 ||
             (strcmp(result->target, "tiered") == 0 && strcmp(fast, "mem") == 0))
        result_warn(
            result,
            "lends its memory for transfers to go to and come from: bytes are handed out, not copied");
}

const struct suite_workload bench_store = {
    .name = "store",
    .help = "Write and read storage engines alone, beside plain system calls",
    .options = options,
    .lists = lists,
    .phases = phases,
    .subject = "store",
    .subjects = "store",
    .all_subjects = all_stores,
    .serial = true,
    .check = check,
    .run = run,
    .describe = describe,
};

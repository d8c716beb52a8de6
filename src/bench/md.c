/* The phases, each run by all workers at once over files of their own directory:
 *
 *   mkdir    each worker makes its directory (not reported: one operation)
 *   create   open(O_CREAT | O_EXCL), close
 *   stat     of the files that the next worker made, so that nobody asks for what he has just made himself
 *   open     open and close
 *   write    open(O_CREAT | O_EXCL), write 3,901 bytes, close: mdtest-hard's files
 *   read     open, read 3,901 bytes, close
 *   unlink   of all
 *
 * Nothing is counted that was not done: stat must find an empty regular file, read must return the very bytes
 * that were written, and after unlink the directory must be empty, or rmdir fails and with it the run. */
#include "bench/md.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/crew.h"
#include "bench/report.h"
#include "bench/target.h"

#define CONTENT_SIZE 3901u

enum phase { CREATE, STAT, OPEN, WRITE, READ, UNLINK, PHASES };

static const char *const phase_names[PHASES] = {"create", "stat", "open", "write", "read", "unlink"};

static struct bench_list targets;
static uint64_t file_count = 10000, processes = 1, threads = 1, repeats = 3;
static bool json;

static const struct bench_option options[] = {
    {"target", BENCH_TEXTS, &targets, 0, 0, "TARGET",
     "benchfs:[DIR] or posix:DIR; may be repeated [benchfs:]"},
    {"files", BENCH_NUMBER, &file_count, 1, 10000000, "N", "files of each worker"},
    {"processes", BENCH_NUMBER, &processes, 1, CREW_MAX, "N", "processes"},
    {"threads", BENCH_NUMBER, &threads, 1, CREW_MAX, "N", "threads in each"},
    {"repeats", BENCH_NUMBER, &repeats, 1, SAMPLE_MAX, "N", "how often; the targets take turns"},
    {"json", BENCH_FLAG, &json, 0, 0, NULL, "JSON lines in place of a table"},
    {0},
};

struct plan {
    const char *specification;
    uint64_t tag; /* makes directory names unique */
};

struct files {
    struct crew_member *worker;
    struct target *target;
    char own[600];  /* directory */
    char next[600]; /* the next worker's */
    char content[CONTENT_SIZE];
};

static void path_of(char *path, size_t size, const char *directory, char kind, uint64_t number)
{
    snprintf(path, size, "%s/%c.%08llu", directory, kind, (unsigned long long)number);
}

static int fail(const struct files *files, const char *what, const char *path, int status)
{
    bench_error("target %s%s: %s %s: %s", files->target->operations->scheme, files->target->root, what, path,
                strerror(-status));
    return status;
}

static void fill_content(char *content, uint32_t worker, uint64_t number)
{
    for (unsigned i = 0; i < CONTENT_SIZE; i++)
        content[i] = (char)(i * 31 + number * 7 + worker);
}

/* Each returns 0 or -errno; `elapsed` gets the time of the operation alone. */
static int create_file(struct files *files, uint64_t number, uint64_t *elapsed)
{
    char path[640];
    path_of(path, sizeof(path), files->own, 'f', number);
    uint64_t start = crew_now();
    int fd = files->target->operations->file_open(files->target, path, O_CREAT | O_EXCL | O_WRONLY, 0644);
    int status = fd < 0 ? fd : files->target->operations->file_close(files->target, fd);
    *elapsed = crew_now() - start;
    return status < 0 ? fail(files, "create", path, status) : 0;
}

static int stat_file(struct files *files, uint64_t number, uint64_t *elapsed)
{
    char path[640];
    struct stat found;
    path_of(path, sizeof(path), files->next, 'f', number);
    uint64_t start = crew_now();
    int status = files->target->operations->stat(files->target, path, &found);
    *elapsed = crew_now() - start;
    if (status == 0 && (!S_ISREG(found.st_mode) || found.st_size != 0))
        status = -EBADMSG;
    return status < 0 ? fail(files, "stat", path, status) : 0;
}

static int open_file(struct files *files, uint64_t number, uint64_t *elapsed)
{
    char path[640];
    path_of(path, sizeof(path), files->next, 'f', number);
    uint64_t start = crew_now();
    int fd = files->target->operations->file_open(files->target, path, O_RDONLY, 0);
    int status = fd < 0 ? fd : files->target->operations->file_close(files->target, fd);
    *elapsed = crew_now() - start;
    return status < 0 ? fail(files, "open", path, status) : 0;
}

static int write_file(struct files *files, uint64_t number, uint64_t *elapsed)
{
    char path[640];
    path_of(path, sizeof(path), files->own, 'w', number);
    fill_content(files->content, files->worker->number, number);
    const struct target_operations *call = files->target->operations;
    uint64_t start = crew_now();
    int fd = call->file_open(files->target, path, O_CREAT | O_EXCL | O_WRONLY, 0644);
    if (fd < 0)
        return fail(files, "create", path, fd);
    ssize_t count = call->write(files->target, fd, files->content, CONTENT_SIZE, 0);
    int status = call->file_close(files->target, fd);
    *elapsed = crew_now() - start;
    if (count != CONTENT_SIZE)
        return fail(files, "write", path, count < 0 ? (int)count : -EIO);
    return status < 0 ? fail(files, "close", path, status) : 0;
}

static int read_file(struct files *files, uint64_t number, uint64_t *elapsed)
{
    char path[640];
    char expected[CONTENT_SIZE];
    path_of(path, sizeof(path), files->next, 'w', number);
    const struct target_operations *call = files->target->operations;
    uint64_t start = crew_now();
    int fd = call->file_open(files->target, path, O_RDONLY, 0);
    if (fd < 0)
        return fail(files, "open", path, fd);
    ssize_t count = call->read(files->target, fd, files->content, CONTENT_SIZE, 0);
    int status = call->file_close(files->target, fd);
    *elapsed = crew_now() - start;
    fill_content(expected, (files->worker->number + 1) % files->worker->count, number);
    if (count != CONTENT_SIZE)
        return fail(files, "read", path, count < 0 ? (int)count : -EIO);
    if (memcmp(expected, files->content, CONTENT_SIZE) != 0)
        return fail(files, "wrong bytes in", path, -EBADMSG);
    return status < 0 ? fail(files, "close", path, status) : 0;
}

/* Two files a number: the empty one and the written one. */
static int unlink_file(struct files *files, uint64_t number, uint64_t *elapsed)
{
    char path[640];
    path_of(path, sizeof(path), files->own, number % 2 == 0 ? 'f' : 'w', number / 2);
    uint64_t start = crew_now();
    int status = files->target->operations->unlink(files->target, path);
    *elapsed = crew_now() - start;
    return status < 0 ? fail(files, "unlink", path, status) : 0;
}

static int (*const phase_operations[PHASES])(struct files *, uint64_t, uint64_t *) = {
    create_file, stat_file, open_file, write_file, read_file, unlink_file};

static int run_phases(struct files *files)
{
    for (uint32_t phase = 0; phase < PHASES; phase++) {
        struct crew_part *part = crew_phase(files->worker, phase);
        if (part == NULL)
            return -ECANCELED;
        uint64_t count = phase == UNLINK ? 2 * file_count : file_count;
        for (uint64_t i = 0; i < count; i++) {
            uint64_t elapsed;
            int status = phase_operations[phase](files, i, &elapsed);
            if (status < 0)
                return status;
            histogram_record(&part->latency, elapsed);
        }
        part->operations = count;
        if (phase == WRITE || phase == READ)
            part->bytes = count * CONTENT_SIZE;
        crew_phase_end(files->worker, phase);
    }
    return crew_wait(files->worker);
}

/* After a failure: takes away what may be left, as far as it can. */
static void clean_up(struct files *left)
{
    char path[640];
    for (uint64_t i = 0; i < 2 * file_count; i++) {
        path_of(path, sizeof(path), left->own, i % 2 == 0 ? 'f' : 'w', i / 2);
        int status = left->target->operations->unlink(left->target, path);
        if (status < 0 && status != -ENOENT)
            return;
    }
}

static int work(struct crew_member *worker)
{
    const struct plan *plan = worker->argument;
    struct files own = {.worker = worker};
    char top[560];
    int status = target_open(plan->specification, &own.target);
    if (status < 0)
        return status;
    const struct target_operations *call = own.target->operations;
    const char *slash = own.target->root[strlen(own.target->root) - 1] == '/' ? "" : "/";
    snprintf(top, sizeof(top), "%s%sbench-md.%llx", own.target->root, slash, (unsigned long long)plan->tag);
    snprintf(own.own, sizeof(own.own), "%s/%u", top, worker->number);
    snprintf(own.next, sizeof(own.next), "%s/%u", top, (worker->number + 1) % worker->count);
    if (worker->number == 0)
        status = call->mkdir(own.target, top, 0755);
    if (status < 0) {
        fail(&own, "mkdir", top, status);
        goto close;
    }
    status = crew_wait(worker);
    if (status == 0 && (status = call->mkdir(own.target, own.own, 0755)) < 0)
        fail(&own, "mkdir", own.own, status);
    if (status == 0)
        status = run_phases(&own);
    if (status < 0)
        clean_up(&own);
    int removed = call->rmdir(own.target, own.own);
    if (status == 0 && removed < 0)
        status = fail(&own, "rmdir", own.own, removed);
    if (status == 0)
        status = crew_wait(worker);
    if (worker->number == 0 && status == 0 && (status = call->rmdir(own.target, top)) < 0)
        fail(&own, "rmdir", top, status);
    else if (status < 0)
        call->rmdir(own.target, top);
close:
    call->close(own.target);
    return status;
}

static int run(void)
{
    if (processes * threads > CREW_MAX) {
        bench_error("--processes times --threads is more than %u", CREW_MAX);
        return BENCH_USAGE;
    }
    if (targets.count == 0)
        targets.texts[targets.count++] = "benchfs:";
    for (uint32_t t = 0; t < targets.count; t++) {
        if (target_check(targets.texts[t]) < 0)
            return BENCH_USAGE;
    }
    static struct report_row rows[BENCH_LIST_MAX][PHASES];
    static struct crew_total totals[PHASES];
    for (uint32_t t = 0; t < targets.count; t++) {
        for (uint32_t phase = 0; phase < PHASES; phase++) {
            rows[t][phase] = (struct report_row){.target = targets.texts[t],
                                                 .phase = phase_names[phase],
                                                 .size = phase == WRITE || phase == READ ? CONTENT_SIZE : 0,
                                                 .depth = 1};
            histogram_init(&rows[t][phase].latency);
        }
    }
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        for (uint32_t t = 0; t < targets.count; t++) {
            struct plan plan = {.specification = targets.texts[t],
                                .tag = (uint64_t)getpid() << 16 | repeat << 4 | t};
            if (crew_execute((uint32_t)processes, (uint32_t)threads, NULL, PHASES, work, &plan, totals) < 0)
                return BENCH_FAILED;
            for (uint32_t phase = 0; phase < PHASES; phase++) {
                struct report_row *row = &rows[t][phase];
                row->operations += totals[phase].operations;
                sample_add(&row->rate, (double)totals[phase].operations / totals[phase].seconds);
                sample_add(&row->bandwidth, (double)totals[phase].bytes / totals[phase].seconds);
                histogram_merge(&row->latency, &totals[phase].latency);
            }
        }
    }
    report_begin(&bench_md, &targets, json);
    for (uint32_t phase = 0; phase < PHASES; phase++) {
        for (uint32_t t = 0; t < targets.count; t++)
            report_row(&rows[t][phase], json);
    }
    for (uint32_t t = 1; t < targets.count && !json; t++) {
        for (uint32_t phase = 0; phase < PHASES; phase++)
            report_compare(&rows[0][phase], &rows[t][phase]);
    }
    return BENCH_OK;
}

const struct bench_verb bench_md = {
    .name = "md",
    .help = "Metadata operations: create, stat, open, 3,901-byte files, unlink",
    .options = options,
    .run = run,
};

/* What needs no cluster of ours: the runtime, the metadata engine, and `benchfs start` as a user runs it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/status.h"
#include "bench/crew.h"
#include "bench/interrupt.h"
#include "bench/private_cluster.h"
#include "bench/targets.h"
#include "benchfs.h"
#include "meta/bench.h"
#include "runtime/bench.h"

#define PROCESSOR 1
#define PATIENCE (180 * NSEC_PER_SEC)
#define TASKS 200000u
#define FILES UINT64_C(10000000)
#define ENGINE_REPEATS 3u

static int measure_spawn(void *argument)
{
    struct target_run *run = argument;
    for (uint32_t repeat = 0; repeat < run->repeats; repeat++) {
        double ns;
        int status = runtime_bench_spawn(TASKS, &ns);
        if (status < 0) {
            bench_error("spawning tasks: %s", status_text(status));
            return status;
        }
        target_value(run, TARGET_SPAWN, ns);
    }
    return 0;
}

struct engine {
    struct target_run *run;
    uint64_t directories;
};

static int measure_engine(void *argument)
{
    const struct engine *engine = argument;
    struct meta_bench_result result;
    int status = meta_bench(engine->run->quick ? FILES / 10 : FILES, engine->directories, &result);
    if (status < 0) {
        bench_error("metadata engine: %s", status_text(status));
        return status;
    }
    bool one = engine->directories == 1;
    target_value(engine->run, one ? TARGET_META_CREATE : TARGET_META_CREATE_DIRS, result.create_ns);
    target_value(engine->run, one ? TARGET_META_LOOKUP : TARGET_META_LOOKUP_DIRS, result.lookup_ns);
    double bytes = result.bytes_per_file > result.resident_bytes_per_file ? result.bytes_per_file
                                                                          : result.resident_bytes_per_file;
    target_value(engine->run, TARGET_META_BYTES, bytes);
    return 0;
}

static int measure_engines(struct target_run *run)
{
    bool one =
        run->wanted[TARGET_META_CREATE] || run->wanted[TARGET_META_LOOKUP] || run->wanted[TARGET_META_BYTES];
    bool many = run->wanted[TARGET_META_CREATE_DIRS] || run->wanted[TARGET_META_LOOKUP_DIRS];
    uint32_t repeats = run->repeats < ENGINE_REPEATS ? run->repeats : ENGINE_REPEATS;
    int status = 0;
    for (uint32_t repeat = 0; repeat < repeats && status == 0; repeat++) {
        struct engine engine = {.run = run, .directories = 1};
        if (one)
            status = target_child(PROCESSOR, PATIENCE, measure_engine, &engine);
        engine.directories = 1000;
        if (many && status == 0)
            status = target_child(PROCESSOR, PATIENCE, measure_engine, &engine);
    }
    return status;
}

/* ---- benchfs start ---- */

struct starter {
    struct target_run *run;
    char directory[128];
    char file[160];
    uint64_t began;
};

/* Runs this very program with the given verb, silently. 0, or -EIO. */
static int run_benchfs(const char *file, const char *verb, const char *option, const char *value)
{
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0) {
        int nothing = open("/dev/null", O_WRONLY);
        setenv("BENCHFS_CLUSTER", file, 1);
        unsetenv("BENCHFS_SERVERS");
        dup2(nothing, STDOUT_FILENO);
        execl("/proc/self/exe", "benchfs", verb, option, value, NULL);
        _exit(127);
    }
    int state;
    while (waitpid(pid, &state, 0) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    return WIFEXITED(state) && WEXITSTATUS(state) == 0 ? 0 : -EIO;
}

static int first_stat(void *argument)
{
    struct starter *starter = argument;
    struct stat found;
    benchfs *fs = benchfs_connect(starter->file);
    if (fs == NULL || benchfs_stat(fs, "/", &found) < 0) {
        bench_error("first stat: %s", fs == NULL ? benchfs_error() : strerror(errno));
        return -EIO;
    }
    target_value(starter->run, TARGET_START, (double)(crew_now() - starter->began) / 1e6);
    benchfs_disconnect(fs);
    return 0;
}

static int start_and_stop(struct starter *starter)
{
    starter->began = crew_now();
    int status = run_benchfs(starter->file, "start", "-n", "2");
    if (status < 0) {
        bench_error("\"benchfs start -n 2\" failed");
        return status;
    }
    status = target_child(-1, PATIENCE, first_stat, starter);
    if (run_benchfs(starter->file, "stop", NULL, NULL) < 0) {
        bench_error("\"benchfs stop\" failed");
        return -EIO;
    }
    return status;
}

static int measure_start(struct target_run *run)
{
    static struct starter starter;
    starter.run = run;
    int status = private_directory_make(starter.directory, sizeof(starter.directory));
    if (status < 0) {
        bench_error("cannot make a temporary directory: %s", status_text(status));
        return status;
    }
    snprintf(starter.file, sizeof(starter.file), "%s/cluster.json", starter.directory);
    for (uint32_t repeat = 0; repeat < run->repeats && status == 0 && !interrupted(); repeat++)
        status = start_and_stop(&starter);
    private_directory_remove(starter.directory);
    return status;
}

int targets_alone(struct target_run *run)
{
    int status = 0, failed;
    if (run->wanted[TARGET_SPAWN])
        status = target_child(PROCESSOR, PATIENCE, measure_spawn, run);
    failed = interrupted() ? -EINTR : measure_engines(run);
    status = status < 0 ? status : failed;
    failed = run->wanted[TARGET_START] && !interrupted() ? measure_start(run) : 0;
    return status < 0 ? status : failed;
}

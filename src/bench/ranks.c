/* Where ranks meet.
 *
 * All that ranks do together begins with a meeting: a reduction of who failed and of where in the program
 * each rank is, which is a barrier at the same time. A rank that has failed comes to one more meeting,
 * whichever the others come to next, and says so; from then on nobody waits for anybody, and every rank
 * cleans up and ends by itself. So that the others do not first work to their next meeting, it also raises an
 * alarm, which they look for now and then.
 *
 * An error line is told once: rank 0 writes at once; the others keep theirs, and the first of those that have
 * failed writes it unless rank 0 has failed, too. */
#include "bench/ranks.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/options.h"
#include "bench/ranks_plugin.h"

#define LIBRARY "libbenchfs_mpi.so"
#define STEP_NS 20000L
#define AGREEMENT (UINT64_C(1) << 63) /* places of ranks_agree */

static const struct ranks_plugin *plugin; /* NULL: no MPI */
static uint32_t own_number, rank_count = 1, ranks_here = 1;
static bool apart; /* one has failed: nobody waits any more */
static uint64_t agreements;

enum { FIRST_FAILED, PLACE, PLACE_COMPLEMENT, MAXIMA, MEETING_VALUES = MAXIMA + 3 };
static uint64_t values[MEETING_VALUES]; /* of the meeting under way */
static uint64_t place;

/* ---- finding them ---- */

/* How many ranks the environment tells of; 0: that this is one, but not of how many; -1: none. */
static long expected(void)
{
    static const char *const counts[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"};
    static const char *const numbers[] = {"PMI_RANK", "PMIX_RANK"};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        const char *text = getenv(counts[i]);
        if (text != NULL && atol(text) > 0)
            return atol(text);
    }
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        const char *tasks = getenv("SLURM_STEP_NUM_TASKS");
        if (getenv(numbers[i]) != NULL)
            return tasks != NULL && atol(tasks) > 0 ? atol(tasks) : 0;
    }
    return -1;
}

bool ranks_expected(void)
{
    long count = expected();
    return count == 0 || count > 1;
}

/* srun starts as many processes as it is asked for, and unless it is told to help MPI they know nothing of
 * each other: each would measure alone, beside the others. */
static bool strangers(void)
{
    const char *tasks = getenv("SLURM_STEP_NUM_TASKS");
    return expected() < 0 && tasks != NULL && atol(tasks) > 1;
}

int ranks_refuse(const char *why)
{
    static const char *const numbers[] = {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID"};
    const char *number = NULL;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]) && number == NULL; i++)
        number = getenv(numbers[i]);
    if (number == NULL || atol(number) == 0)
        bench_error("%s", why);
    return BENCH_USAGE;
}

/* The library lies in lib beside bin, or in bench beside cli in a build directory; or the loader finds it. */
static void *open_library(void)
{
    static const char *const places[] = {"../lib/" LIBRARY, "../bench/" LIBRARY};
    char program[PATH_MAX], path[2 * PATH_MAX];
    const char *named = getenv("BENCHFS_MPI_LIBRARY");
    if (named != NULL && named[0] != 0)
        return dlopen(named, RTLD_NOW | RTLD_GLOBAL);
    ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
    program[length > 0 ? length : 0] = 0;
    const char *slash = strrchr(program, '/');
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]) && slash != NULL; i++) {
        snprintf(path, sizeof(path), "%.*s/%s", (int)(slash - program), program, places[i]);
        if (access(path, R_OK) == 0)
            return dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    }
    return dlopen(LIBRARY, RTLD_NOW | RTLD_GLOBAL);
}

int ranks_start(bool forced)
{
    if (!forced && strangers()) {
        ranks_refuse(
            "srun started several tasks that do not know each other: use srun --mpi=pmix, or as it is called "
            "here (srun --mpi=list)");
        return -EINVAL;
    }
    if (!forced && !ranks_expected())
        return 0;
    void *library = open_library();
    const struct ranks_plugin *found = library != NULL ? dlsym(library, RANKS_PLUGIN_SYMBOL) : NULL;
    if (found == NULL || found->version != RANKS_PLUGIN_VERSION) {
        bench_error("started as a rank of MPI, but cannot load " LIBRARY ": %s",
                    found != NULL ? "it is of another version" : dlerror());
        return -ENOENT;
    }
    if (found->start(&own_number, &rank_count, &ranks_here) < 0) {
        bench_error("MPI cannot be started");
        return -EIO;
    }
    plugin = found;
    if (own_number == 0)
        return 0;
    bench_error_keep();
    if (freopen("/dev/null", "w", stdout) == NULL) {
        bench_error("/dev/null: %s", strerror(errno));
        return -errno;
    }
    return 0;
}

uint32_t ranks_number(void)
{
    return own_number;
}

uint32_t ranks_count(void)
{
    return rank_count;
}

bool ranks_together(void)
{
    return ranks_here == rank_count;
}

/* ---- meetings ---- */

/* This rank goes on, and ends, by itself. */
static int leave(void)
{
    apart = true;
    return -ECANCELED;
}

static int wait_for_plugin(void)
{
    bool done = false;
    int status = 0;
    while ((status = plugin->test(&done)) == 0 && !done)
        nanosleep(&(struct timespec){.tv_nsec = STEP_NS}, NULL);
    return status < 0 ? leave() : 0;
}

int ranks_meet(const struct ranks_meeting *meeting)
{
    if (plugin == NULL || apart)
        return 0;
    place = meeting->place;
    values[FIRST_FAILED] = meeting->failed ? rank_count - own_number : 0;
    values[PLACE] = place;
    values[PLACE_COMPLEMENT] = ~place;
    memcpy(&values[MAXIMA], meeting->maxima, sizeof(meeting->maxima));
    if (meeting->failed)
        plugin->alarm();
    return plugin->begin(RANKS_MAXIMUM, values, MEETING_VALUES);
}

/* All have come: are all well, and at the same place? */
static int look_around(struct ranks_meeting *meeting)
{
    if (values[FIRST_FAILED] != 0) {
        if (values[FIRST_FAILED] == rank_count - own_number)
            bench_error_tell();
        return leave();
    }
    if (values[PLACE] != ~values[PLACE_COMPLEMENT]) {
        if (own_number == 0)
            bench_error("the ranks do not do the same: were they started with the same options?");
        return leave();
    }
    memcpy(meeting->maxima, &values[MAXIMA], sizeof(meeting->maxima));
    return 1;
}

int ranks_met(struct ranks_meeting *meeting)
{
    bool done = false;
    if (apart)
        return meeting->failed ? -ECANCELED : 1;
    if (plugin == NULL)
        return 1;
    if (plugin->test(&done) < 0)
        return leave();
    return done ? look_around(meeting) : 0;
}

bool ranks_alarmed(void)
{
    bool heard = false;
    return plugin != NULL && !apart && plugin->alarmed(&heard) == 0 && heard;
}

static int together(enum ranks_operation operation, uint64_t *numbers, uint32_t count)
{
    if (plugin == NULL)
        return 0;
    if (apart || plugin->begin(operation, numbers, count) < 0)
        return -ECANCELED;
    return wait_for_plugin();
}

int ranks_sum(uint64_t *numbers, uint32_t count)
{
    return together(RANKS_SUM, numbers, count);
}

int ranks_maximum(uint64_t *numbers, uint32_t count)
{
    return together(RANKS_MAXIMUM, numbers, count);
}

int ranks_broadcast(void *bytes, uint32_t size)
{
    return together(RANKS_BROADCAST, bytes, size / sizeof(uint64_t));
}

int ranks_agree(int status)
{
    struct ranks_meeting meeting = {.place = AGREEMENT | agreements++, .failed = status != 0};
    if (plugin == NULL || apart)
        return status;
    int met = ranks_meet(&meeting) < 0 ? leave() : 0;
    while (met == 0 && (met = ranks_met(&meeting)) == 0)
        nanosleep(&(struct timespec){.tv_nsec = STEP_NS}, NULL);
    return met > 0 ? 0 : status != 0 ? status : -ECANCELED;
}

int ranks_tell(const uint64_t *words, uint32_t count)
{
    return plugin == NULL ? 0 : plugin->tell(words, count);
}

int ranks_hear(uint64_t *words, uint32_t *count)
{
    *count = 0;
    return plugin == NULL ? 0 : plugin->hear(words, RANKS_TELL_MAX, count);
}

int ranks_finish(int status)
{
    if (plugin == NULL)
        return status;
    if (ranks_agree(status == BENCH_OK ? 0 : -EIO) < 0 && status == BENCH_OK)
        status = BENCH_FAILED;
    plugin->finish();
    plugin = NULL;
    return status;
}

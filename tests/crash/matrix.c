/* The crash matrix: for an engine, every level of durability, a number of servers, one growing history of
 * crashes on the same store directories.
 *
 *     crash_matrix ENGINE SERVERS CRASHES [LEVEL]
 *
 * "tiered:LOWER" is the engine tiered, mem over that one, "tiered:UPPER:LOWER" one persistent engine over
 * another.
 *
 * A round: clients work; after a random while all servers are killed, in random order; they are started
 * again; what is there is compared with what was promised (verify.h). One round in eight ends the servers in
 * good order instead. At last all is removed, and the servers must hold nothing. One TAP test for each level.
 *
 * $CRASH_SEED repeats the choices, not the moments. $CRASH_DIRECTORY instead of /tmp: where the stores lie.
 * When something is wrong the directories stay, and their place and the seed are printed; servers write their
 * logs beside them. */
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "benchfs.h"
#include "cluster.h"
#include "history.h"
#include "verify.h"
#include "workload.h"

#define MILLISECOND UINT64_C(1000000)
#define CHILD_SECONDS 120u /* after which a process of ours has hung */
#define PROCESSES 2u
#define CLEAN_EVERY 8u
#define TIERED_LATER (500 * MILLISECOND) /* the engine tiered has bytes in memory alone for so long */
#define INTERVAL (20 * MILLISECOND)      /* store.interval where age decides */

static const char *const level_names[] = {"none", "interval", "close", "write"};

struct combination {
    const char *engine;
    unsigned servers;
    enum level level;
    uint64_t random;
    char directory[64];
    char settings_text[13][160];
    const char *settings[14];
    struct cluster cluster;
    struct history *history;
    uint64_t restart_ns; /* all restarts */
};

static bool is_tiered(const struct combination *combination)
{
    return strncmp(combination->engine, "tiered:", strlen("tiered:")) == 0;
}

/* Nothing is in memory alone. */
static bool upper_lasts(const struct combination *combination)
{
    return is_tiered(combination) && strchr(combination->engine + strlen("tiered:"), ':') != NULL;
}

static void configure(struct combination *combination)
{
    unsigned count = 0;
    char(*text)[160] = combination->settings_text;
    if (is_tiered(combination)) {
        const char *upper = combination->engine + strlen("tiered:"), *lower = strchr(upper, ':');
        snprintf(text[count++], sizeof *text, "store.engine=tiered");
        snprintf(text[count++], sizeof *text, "store.slow=%s", lower == NULL ? upper : lower + 1);
        if (lower != NULL)
            snprintf(text[count++], sizeof *text, "store.fast=%.*s", (int)(lower - upper), upper);
        snprintf(text[count++], sizeof *text, "store.fast_capacity=2MiB"); /* much less than the files */
    } else {
        snprintf(text[count++], sizeof *text, "store.engine=%s", combination->engine);
    }
    snprintf(text[count++], sizeof *text, "store.path=%s", combination->directory);
    snprintf(text[count++], sizeof *text, "store.durability=%s", level_names[combination->level]);
    snprintf(text[count++], sizeof *text, "store.interval=%s",
             combination->level == LEVEL_INTERVAL ? "20ms" : "1h");
    snprintf(text[count++], sizeof *text, "store.journal_limit=1MiB"); /* snapshots, too */
    snprintf(text[count++], sizeof *text, "store.capacity=128MiB");
    snprintf(text[count++], sizeof *text, "server.log_file=%s/log", combination->directory);
    for (unsigned i = 0; i < count; i++)
        combination->settings[i] = text[i];
    combination->settings[count] = NULL;
}

/* ---- processes ---- */

/* The chunk size is the clients' choice. */
static int write_client_configuration(const struct combination *combination)
{
    char path[96];
    snprintf(path, sizeof path, "%s/client.toml", combination->directory);
    FILE *file = fopen(path, "w");
    if (file == NULL || fputs("[cluster]\nchunk_size = \"64KiB\"\n", file) < 0 || fclose(file) != 0)
        return -1;
    return 0;
}

/* Runs it in a child, which has its own connection. */
static pid_t child(int (*run)(struct combination *combination, unsigned number),
                   struct combination *combination, unsigned number)
{
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(CHILD_SECONDS);
        char path[96];
        snprintf(path, sizeof path, "%s/client.toml", combination->directory);
        setenv("BENCHFS_CONFIG", path, 1);
        _exit(run(combination, number) == 0 ? 0 : 1);
    }
    return pid;
}

/* 0 when it returned 0. */
static int child_end(pid_t pid, const char *what)
{
    int status;
    if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (pid > 0 && WIFSIGNALED(status))
        fprintf(stderr, "# %s ended by signal %d\n", what, WTERMSIG(status));
    return -1;
}

struct thread {
    struct combination *combination;
    unsigned client;
    int status;
};

static uint64_t pause_of(const struct combination *combination)
{
    /* There, age decides, so rounds are long; the log must hold them. */
    return combination->level == LEVEL_INTERVAL ? 2 * MILLISECOND : 0;
}

static void *thread_run(void *argument)
{
    struct thread *thread = argument;
    struct combination *combination = thread->combination;
    thread->status = workload_run(combination->history, thread->client,
                                  combination->random ^ (thread->client * UINT64_C(0x5851f42d4c957f2d)),
                                  pause_of(combination));
    return NULL;
}

static int run_clients(struct combination *combination, unsigned process)
{
    enum { THREADS = CLIENTS / PROCESSES };
    pthread_t ids[THREADS];
    struct thread threads[THREADS];
    int status = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        threads[i] =
            (struct thread){.combination = combination, .client = process * THREADS + i, .status = -1};
        if (pthread_create(&ids[i], NULL, thread_run, &threads[i]) != 0)
            return -1;
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(ids[i], NULL);
        status |= threads[i].status;
    }
    return status;
}

static int run_prepare(struct combination *combination, unsigned number)
{
    (void)combination;
    (void)number;
    return workload_prepare();
}

static int run_remove(struct combination *combination, unsigned number)
{
    (void)number;
    return workload_remove_all(combination->history);
}

static struct rules rules;

static int run_verify(struct combination *combination, unsigned number)
{
    (void)number;
    return verify(combination->history, &rules);
}

/* Nothing but the root is left. Chunks of removed files may be on their way for a moment. */
static int run_empty(struct combination *combination, unsigned number)
{
    (void)number;
    struct statvfs status;
    benchfs *fs = benchfs_connect(NULL);
    uint64_t used = UINT64_MAX, inodes = UINT64_MAX;
    for (unsigned i = 0; fs != NULL && i < 200 && (used > 0 || inodes > 1); i++) {
        if (benchfs_statvfs(fs, &status) != 0)
            break;
        used = (status.f_blocks - status.f_bfree) * status.f_frsize;
        inodes = status.f_files - status.f_ffree;
        nanosleep(&(struct timespec){.tv_nsec = 10 * (long)MILLISECOND}, NULL);
    }
    if (fs != NULL)
        benchfs_disconnect(fs);
    /* Without any promise a removal may be lost at one server only; fsck finds the chunks. Where age decides,
     * so may one of the two records of a name and an inode on different servers, of the last moment before
     * each crash: fsck finds the inode that has no name. */
    uint64_t nameless = combination->level == LEVEL_INTERVAL && combination->servers > 1 ? 4 : 0;
    if ((used == 0 || combination->history->within_servers) && inodes <= 1 + nameless)
        return 0;
    fprintf(stderr, "# after everything was removed: %llu bytes and %llu inodes\n", (unsigned long long)used,
            (unsigned long long)inodes);
    return -1;
}

/* ---- a round ---- */

/* What the machine does while a round goes on: how late it wakes a sleeper, how long a synchronised write
 * takes. Ages are judged by that. */
struct weather {
    int fd;
    uint64_t late_ns;
    uint64_t write_ns;
};

static void weather_begin(struct weather *weather, const struct combination *combination)
{
    char path[96];
    snprintf(path, sizeof path, "%s/weather", combination->directory);
    *weather = (struct weather){.fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)};
}

/* Sleeps, looking. */
static void weather_watch(struct weather *weather, uint64_t ns)
{
    static const char block[4096];
    uint64_t end = now_ns() + ns;
    for (uint64_t now = now_ns(); now < end; now = now_ns()) {
        uint64_t part = end - now < 10 * MILLISECOND ? end - now : 10 * MILLISECOND;
        pause_ns(part);
        uint64_t woken = now_ns(), late = woken - now - part;
        if (pwrite(weather->fd, block, sizeof block, 0) == sizeof block)
            fdatasync(weather->fd);
        uint64_t took = now_ns() - woken;
        weather->late_ns = late > weather->late_ns ? late : weather->late_ns;
        weather->write_ns = took > weather->write_ns ? took : weather->write_ns;
    }
}

/* The age at which a change lasts: its group is cut after the interval, behind one that is being written, and
 * takes some synchronised writes itself. */
static uint64_t weather_age(struct weather *weather)
{
    close(weather->fd);
    return INTERVAL + 150 * MILLISECOND + 8 * weather->write_ns + 4 * weather->late_ns;
}

static bool any_began(const struct history *history)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        if (atomic_load(&history->log[i].count) > 0)
            return true;
    return false;
}

static void kill_all(struct combination *combination)
{
    unsigned order[CLUSTER_SERVERS_MAX], count = combination->servers;
    for (unsigned i = 0; i < count; i++)
        order[i] = i;
    for (unsigned i = count; i > 1; i--) {
        unsigned j = (unsigned)draw_below(&combination->random, i), swap = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swap;
    }
    atomic_store(&combination->history->killing, true);
    rules.crash = now_ns();
    for (unsigned i = 0; i < count; i++) {
        cluster_kill(&combination->cluster, order[i]);
        if (draw_below(&combination->random, 2) == 0)
            pause_ns(draw_below(&combination->random, 3 * MILLISECOND));
    }
}

static int work_and_crash(struct combination *combination)
{
    pid_t clients[PROCESSES];
    struct history *history = combination->history;
    int status = 0;
    atomic_store(&history->killing, false);
    atomic_store(&history->ending, false);
    for (unsigned i = 0; i < PROCESSES; i++)
        clients[i] = child(run_clients, combination, i);
    for (unsigned i = 0; i < 5000 && !any_began(history); i++)
        pause_ns(MILLISECOND);
    uint64_t least = combination->level == LEVEL_INTERVAL ? 100 : 10;
    uint64_t most = combination->level == LEVEL_INTERVAL ? 800 : 150;
    uint64_t length = (least + draw_below(&combination->random, most - least)) * MILLISECOND;
    if (combination->level == LEVEL_INTERVAL) {
        struct weather weather;
        weather_begin(&weather, combination);
        weather_watch(&weather, length);
        rules.age_ns = weather_age(&weather);
        if (is_tiered(combination) && !upper_lasts(combination))
            rules.age_ns += TIERED_LATER;
    } else {
        pause_ns(length);
    }
    if (!rules.clean)
        kill_all(combination);
    atomic_store(&history->ending, true);
    for (unsigned i = 0; i < PROCESSES; i++)
        status |= child_end(clients[i], "a client");
    if (rules.clean)
        status |= cluster_end(&combination->cluster);
    return status;
}

static int restart_and_verify(struct combination *combination)
{
    uint64_t began = now_ns();
    if (cluster_restart(&combination->cluster, combination->settings) < 0)
        return -1;
    combination->restart_ns += now_ns() - began;
    rules.seed = draw(&combination->random);
    return child_end(child(run_verify, combination, 0), "the comparison");
}

static int round_run(struct combination *combination, unsigned round, unsigned rounds)
{
    rules = (struct rules){.level = combination->level,
                           .clean = round % CLEAN_EVERY == CLEAN_EVERY - 1,
                           .all = round + 1 == rounds};
    int status = work_and_crash(combination);
    if (status == 0)
        status = restart_and_verify(combination);
    if (status != 0)
        fprintf(stderr, "# in round %u of %u%s\n", round, rounds,
                rules.clean ? ", which ended in good order" : "");
    return status;
}

/* ---- a combination ---- */

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

/* Servers end, start once more, and still hold nothing. */
static int remove_all(struct combination *combination)
{
    int status = child_end(child(run_remove, combination, 0), "the removal");
    if (status == 0)
        status = child_end(child(run_empty, combination, 0), "the look at what is left");
    status |= cluster_end(&combination->cluster);
    if (status == 0)
        status = cluster_restart(&combination->cluster, combination->settings);
    if (status == 0)
        status = child_end(child(run_empty, combination, 0), "the look at what is left after a restart");
    return status;
}

static int combination_run(struct combination *combination, unsigned rounds)
{
    const char *top = getenv("CRASH_DIRECTORY");
    snprintf(combination->directory, sizeof combination->directory, "%.40s/benchfs-crash-XXXXXX",
             top != NULL && top[0] == '/' ? top : "/tmp");
    combination->history = history_create();
    if (combination->history == NULL || mkdtemp(combination->directory) == NULL)
        return -1;
    configure(combination);
    /* Without any promise, servers do not wait for each other. */
    combination->history->within_servers = combination->level == LEVEL_NONE && combination->servers > 1;
    if (write_client_configuration(combination) < 0 ||
        cluster_start(&combination->cluster, combination->servers, combination->settings) < 0)
        return -1;
    int status = child_end(child(run_prepare, combination, 0), "the preparation");
    for (unsigned round = 0; round < rounds && status == 0; round++)
        status = round_run(combination, round, rounds);
    if (status == 0)
        status = remove_all(combination);
    status |= cluster_stop(&combination->cluster);
    if (status == 0)
        nftw(combination->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return status;
}

int main(int argc, char **argv)
{
    if (argc < 4 || argc > 5) {
        fprintf(stderr, "usage: %s ENGINE SERVERS CRASHES [LEVEL]\n", argv[0]);
        return 2;
    }
    unsigned rounds = (unsigned)atoi(argv[3]), wrong = 0;
    dup2(STDOUT_FILENO, STDERR_FILENO); /* complaints stand before the line that they explain */
    const char *given = getenv("CRASH_SEED");
    uint64_t seed = given != NULL && given[0] != '\0' ? strtoull(given, NULL, 10) : now_ns() % 1000000000;
    printf("1..%d\n", argc == 5 ? 1 : 4);
    for (int level = LEVEL_NONE, number = 1; level <= LEVEL_WRITE; level++) {
        if (argc == 5 && strcmp(argv[4], level_names[level]) != 0)
            continue;
        static struct combination combination;
        combination = (struct combination){.engine = argv[1],
                                           .servers = (unsigned)atoi(argv[2]),
                                           .level = (enum level)level,
                                           .random = seed + (unsigned)level};
        uint64_t began = now_ns();
        int status = combination_run(&combination, rounds);
        const struct history *history = combination.history;
        printf("%sok %d - %s, durability %s, %u servers: %u crashes\n", status == 0 ? "" : "not ", number++,
               combination.engine, level_names[level], combination.servers, rounds);
        if (history != NULL)
            printf("# %.1f s, %.0f ms a restart, %llu calls acknowledged, %llu of them promised, %llu files "
                   "read, "
                   "%llu MiB compared\n",
                   (double)(now_ns() - began) / 1e9,
                   (double)combination.restart_ns / (rounds + 1) / (double)MILLISECOND,
                   (unsigned long long)history->acknowledged, (unsigned long long)history->promised,
                   (unsigned long long)history->files_read,
                   (unsigned long long)history->bytes_compared >> 20);
        if (status != 0)
            printf("# CRASH_SEED=%llu; %s stays\n", (unsigned long long)seed, combination.directory);
        fflush(stdout);
        wrong += status != 0;
    }
    return wrong > 0;
}

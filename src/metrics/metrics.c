/* A region's life, and the folding of trace entries into histograms.
 *
 * An operation counts once in `operations` and once in each stage's histogram, except that a stage of 0 ns is
 * left out: most requests never queue, and whoever reads knows how many operations there were. Several values
 * of a histogram and the sums lie in few cache lines, and all of it happens while the loop would only poll.
 *
 * Files. A region is a sparse file in memory (tmpfs), so that it outlives a process that dies, and is found
 * by its name. A process that ends in order removes its own; what others left is removed by the next server
 * that starts, once it is old. The directory belongs to one user and only that user can look inside. */
#include "metrics/metrics.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "metrics/files.h"

#define SESSIONS_IN_TURNS 256u
#define PRUNE_MAX 4096u

/* ---- life ---- */

static void header_fill(struct metrics_header *header, uint32_t trace_count)
{
    *header = (struct metrics_header){
        .version = METRICS_VERSION,
        .header_bytes = sizeof(*header),
        .bytes = METRICS_BYTES(trace_count),
        .server = UINT32_MAX,
        .pid = (uint32_t)getpid(),
        .thread = (uint32_t)syscall(SYS_gettid),
        .process_start = metrics_process_start((uint32_t)getpid()),
        .started_ns = clock_now(),
        .realtime_ns = clock_realtime(),
        .metric_count = METRICS,
        .operation_count = METRICS_OPERATIONS,
        .stage_count = METRICS_STAGES,
        .bucket_count = HISTOGRAM_BUCKETS,
        .slow_count = METRICS_SLOW,
        .partition_count = METRICS_PARTITIONS,
        .trace_count = trace_count,
        .session_count = METRICS_SESSIONS,
        .counters_at = METRICS_COUNTERS_AT,
        .operations_at = METRICS_OPERATIONS_AT,
        .histograms_at = METRICS_HISTOGRAMS_AT(trace_count),
        .slow_at = METRICS_SLOW_AT,
        .partitions_at = METRICS_PARTITIONS_AT,
        .sessions_at = METRICS_SESSIONS_AT,
        .trace_at = METRICS_TRACE_AT,
    };
    gethostname(header->host, sizeof(header->host) - 1);
    snprintf(header->program, sizeof(header->program), "%s", program_invocation_short_name);
    /* Last: a reader takes nothing for a region that has no magic. */
    __atomic_store_n(&header->magic, METRICS_MAGIC, __ATOMIC_RELEASE);
}

/* Maps a new file of the region's size. */
static int region_map_shared(const char *directory, uint64_t bytes, char **path, void **memory)
{
    int fd = metrics_file_make(directory, path);
    if (fd < 0)
        return fd;
    int status = 0;
    if (ftruncate(fd, (off_t)bytes) != 0) {
        status = -errno;
    } else {
        *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
        status = *memory == MAP_FAILED ? -errno : 0;
    }
    close(fd);
    if (status != 0) {
        metrics_file_remove(*path);
        free(*path);
        *path = NULL;
    }
    return status;
}

int metrics_create(const char *directory, uint32_t trace_count, struct metrics **created, int *shared_status)
{
    struct metrics *metrics = calloc(1, sizeof(*metrics));
    if (metrics == NULL)
        return -ENOMEM;
    uint64_t bytes = METRICS_BYTES(trace_count);
    void *memory = MAP_FAILED;
    int status = directory == NULL ? 0 : region_map_shared(directory, bytes, &metrics->path, &memory);
    if (shared_status != NULL)
        *shared_status = status;
    if (metrics->path == NULL)
        memory =
            mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        free(metrics);
        return -ENOMEM;
    }
    char *base = memory;
    metrics->header = memory;
    metrics->counters = (uint64_t *)(base + METRICS_COUNTERS_AT);
    metrics->operations = (struct metrics_operation *)(base + METRICS_OPERATIONS_AT);
    metrics->histograms = (uint64_t *)(base + METRICS_HISTOGRAMS_AT(trace_count));
    metrics->slow = (struct metrics_entry *)(base + METRICS_SLOW_AT);
    metrics->partitions = (uint64_t *)(base + METRICS_PARTITIONS_AT);
    metrics->sessions = (struct metrics_session *)(base + METRICS_SESSIONS_AT);
    metrics->trace = (struct metrics_entry *)(base + METRICS_TRACE_AT);
    metrics->mask = trace_count - 1;
    metrics->pid = (uint32_t)getpid();
    header_fill(metrics->header, trace_count);
    *created = metrics;
    return 0;
}

void metrics_end(struct metrics *metrics)
{
    if (metrics->pid != (uint32_t)getpid() || metrics->header->ended != 0)
        return;
    metrics_fold(metrics, UINT32_MAX);
    metrics->header->ended = 1;
    if (metrics->path != NULL)
        metrics_file_remove(metrics->path);
}

void metrics_destroy(struct metrics *metrics)
{
    if (metrics == NULL)
        return;
    metrics_end(metrics);
    munmap(metrics->header, METRICS_BYTES(metrics->mask + 1));
    free(metrics->path);
    free(metrics);
}

void metrics_identify(struct metrics *metrics, enum metrics_role role, uint32_t server, const char *cluster)
{
    struct metrics_header *header = metrics->header;
    header->role = role;
    header->server = server;
    snprintf(header->cluster, sizeof(header->cluster), "%s", cluster);
}

/* Those that are over stay for as long as possible, to be told of: among the first places the one that was
 * left longest ago, as places are taken in turns, is taken next. */
static struct metrics_session *session_place(struct metrics *metrics, uint32_t *place)
{
    for (uint32_t i = 0; i < METRICS_SESSIONS; i++) {
        *place = i < SESSIONS_IN_TURNS ? (metrics->session_turn + i) % SESSIONS_IN_TURNS : i;
        struct metrics_session *session = &metrics->sessions[*place];
        if (session->taken == 0)
            return session;
    }
    return NULL;
}

struct metrics_session *metrics_session_begin(struct metrics *metrics)
{
    struct metrics_header *header = metrics->header;
    uint32_t place;
    struct metrics_session *session = session_place(metrics, &place);
    if (session == NULL)
        return NULL;
    *session = (struct metrics_session){.taken = 1};
    metrics->session_turn = place + 1;
    if (header->sessions_used <= place)
        __atomic_store_n(&header->sessions_used, place + 1, __ATOMIC_RELEASE);
    return session;
}

uint64_t metrics_memory(const struct metrics *metrics)
{
    struct stat status;
    return metrics->path != NULL && stat(metrics->path, &status) == 0 ? (uint64_t)status.st_blocks * 512 : 0;
}

/* ---- folding ---- */

/* sums and buckets are the operation's. */
static inline void stage_add(struct metrics_operation *sums, uint64_t *buckets, enum metrics_stage stage,
                             uint64_t value)
{
    if (value == 0)
        return;
    sums->sums[stage] += value;
    buckets[stage * HISTOGRAM_BUCKETS + histogram_bucket(value)]++;
}

static __attribute__((noinline)) void note_slow(struct metrics *metrics, const struct metrics_entry *entry)
{
    struct metrics_header *header = metrics->header;
    metrics->slow[header->slow_head % METRICS_SLOW] = *entry;
    __atomic_store_n(&header->slow_head, header->slow_head + 1, __ATOMIC_RELEASE);
}

/* Whether the handler's time of an entry that was made without has been told. */
static __attribute__((noinline)) bool fill_in(struct metrics_entry *entry, const _Atomic uint64_t *word)
{
    uint64_t told = word == NULL ? 0 : atomic_load_explicit(word, memory_order_relaxed);
    if (told >> 32 != (uint32_t)entry->correlation)
        return false;
    uint32_t handler = (uint32_t)told;
    METRICS_PUT(entry, handler_ns, handler < entry->total_ns ? handler : entry->total_ns);
    return true;
}

/* slow: the total from which on it is noted. */
static inline void fold_entry(struct metrics *metrics, const struct metrics_entry *entry, uint64_t slow)
{
    uint32_t operation =
        entry->kind == METRICS_APPLICATION_CALL ? METRICS_APPLICATION : entry->operation % METRICS_CALLED;
    operation += entry->kind == METRICS_CALL ? METRICS_CALLED : 0;
    struct metrics_operation *sums = &metrics->operations[operation];
    uint64_t *buckets = &metrics->histograms[(size_t)operation * METRICS_STAGES * HISTOGRAM_BUCKETS];
    uint64_t total = entry->total_ns, handler = entry->handler_ns, others = 0;
    bool told = handler != METRICS_UNTOLD;
    sums->count++;
    if (entry->bytes != 0)
        sums->bytes += entry->bytes;
    if (entry->status < 0)
        sums->errors++;
    stage_add(sums, buckets, STAGE_TOTAL, total);
    if (__builtin_expect(told, 1))
        stage_add(sums, buckets, STAGE_HANDLER, handler);
    else
        metrics->counters[METRIC_UNTOLD]++;
    if (entry->transfer != METRICS_NO_BULK)
        metrics->counters[entry->transfer == METRICS_EAGER ? METRIC_BULK_EAGER : METRIC_BULK_RENDEZVOUS]++;
    /* Few requests have any of these. */
    if ((entry->client_queue_ns | entry->server_queue_ns | entry->storage_ns | entry->reply_ns) != 0) {
        others = (uint64_t)entry->client_queue_ns + entry->server_queue_ns + entry->storage_ns;
        stage_add(sums, buckets, STAGE_CLIENT_QUEUE, entry->client_queue_ns);
        stage_add(sums, buckets, STAGE_SERVER_QUEUE, entry->server_queue_ns);
        stage_add(sums, buckets, STAGE_STORAGE, entry->storage_ns);
        stage_add(sums, buckets, STAGE_REPLY, entry->reply_ns);
    }
    if (entry->kind == METRICS_CALL && told && total > handler + others)
        stage_add(sums, buckets, STAGE_WIRE, total - handler - others);
    if (__builtin_expect(total >= slow, 0))
        note_slow(metrics, entry);
}

void metrics_fold_partitions(struct metrics *metrics)
{
    for (uint32_t i = 0; i < metrics->noted; i++)
        metrics->partitions[metrics->noted_partitions[i]]++;
    metrics->noted = 0;
}

/* patient: entries whose handler has not told yet are left, and those behind them. */
static inline uint32_t fold(struct metrics *metrics, uint32_t most, bool patient)
{
    /* Many at a time wait for memory together. */
    if (metrics->noted >= METRICS_NOTED / 2 || most == UINT32_MAX)
        metrics_fold_partitions(metrics);
    uint64_t from = metrics->folded, end = metrics->head;
    if (end - from > most)
        end = from + most;
    uint64_t slow = __atomic_load_n(&metrics->header->slow_ns, __ATOMIC_RELAXED);
    uint64_t i = from;
    for (; i != end; i++) {
        struct metrics_entry *entry = &metrics->trace[i & metrics->mask];
        if (entry->handler_ns == METRICS_UNTOLD && !fill_in(entry, metrics->late[i % METRICS_LATE]) &&
            patient && metrics->head - i <= METRICS_BACKLOG)
            break;
        fold_entry(metrics, entry, slow == 0 ? UINT64_MAX : slow);
    }
    metrics->folded = i;
    return (uint32_t)(i - from);
}

uint32_t metrics_fold(struct metrics *metrics, uint32_t most)
{
    return fold(metrics, most, true);
}

void metrics_fold_untold(struct metrics *metrics)
{
    fold(metrics, UINT32_MAX, false);
}

void metrics_settle(struct metrics *metrics)
{
    metrics_fold(metrics, UINT32_MAX);
    if (metrics->refresh != NULL)
        metrics->refresh(metrics->owner);
    metrics->header->updated_ns = clock_now();
}

/* ---- what others left behind ---- */

/* When a process that is gone said something last; 0: it lives, or the file is no region of the cluster. */
static uint64_t last_of_dead(const char *path, const char *cluster)
{
    struct metrics_header header;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return 0;
    bool whole = pread(fd, &header, sizeof(header), 0) == (ssize_t)sizeof(header);
    close(fd);
    if (!whole || header.magic != METRICS_MAGIC || metrics_process_lives(&header))
        return 0;
    header.cluster[sizeof(header.cluster) - 1] = '\0';
    if (cluster != NULL && strcmp(header.cluster, cluster) != 0)
        return 0;
    return header.updated_ns > header.started_ns ? header.updated_ns : header.started_ns;
}

struct left {
    uint64_t last;
    char name[64];
};

static int by_last(const void *left, const void *right)
{
    uint64_t a = ((const struct left *)left)->last, b = ((const struct left *)right)->last;
    return a > b ? -1 : a < b;
}

void metrics_prune(const char *directory, const char *cluster, uint64_t age, uint32_t keep)
{
    char place[METRICS_PATH_MAX], path[METRICS_PATH_MAX + 256];
    metrics_directory(directory, place);
    DIR *stream = opendir(place);
    struct left *dead = stream == NULL ? NULL : malloc(PRUNE_MAX * sizeof(*dead));
    uint32_t count = 0;
    struct dirent *entry;
    for (uint32_t seen = 0; dead != NULL && seen < PRUNE_MAX && (entry = readdir(stream)) != NULL; seen++) {
        snprintf(path, sizeof(path), "%s/%s", place, entry->d_name);
        uint64_t last = entry->d_name[0] == '.' || strlen(entry->d_name) >= sizeof(dead->name)
                            ? 0
                            : last_of_dead(path, cluster);
        if (last == 0)
            continue;
        dead[count].last = last;
        strcpy(dead[count++].name, entry->d_name);
    }
    if (stream != NULL)
        closedir(stream);
    if (dead == NULL)
        return;
    qsort(dead, count, sizeof(*dead), by_last);
    uint64_t now = clock_now();
    for (uint32_t i = 0; i < count; i++) {
        if (i < keep && (now < dead[i].last || now - dead[i].last < age))
            continue;
        snprintf(path, sizeof(path), "%s/%s", place, dead[i].name);
        metrics_file_remove(path);
    }
    free(dead);
}

/* What is read of a file is read with pread, never through a mapping: a mapping would make pages of the holes
 * of a sparse file. The ring may turn while it is read: an entry counts only if it has the sequence that its
 * place has at that number, and if the head, looked at again after the copy, says that nobody can have begun
 * to write over it before the copy was made. */
#include "metrics/reader.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "metrics/files.h"

#define LIST_MAX 65536u
#define TRACE_COUNT_MAX (UINT32_C(1) << 24)

#define M(id, name, kind, unit, help) name,
const char *const metric_names[METRICS] = {METRIC_TABLE(M)};
#undef M
#define M(id, name, kind, unit, help) unit,
const char *const metric_units[METRICS] = {METRIC_TABLE(M)};
#undef M
#define M(id, name, kind, unit, help) help,
const char *const metric_helps[METRICS] = {METRIC_TABLE(M)};
#undef M
#define S(id, name) name,
const char *const metrics_stage_names[METRICS_STAGES] = {METRICS_STAGE_TABLE(S)};
#undef S

enum metric_kind metric_kind(enum metric metric)
{
#define M(id, name, kind, unit, help) METRIC_##kind,
    static const uint8_t kinds[METRICS] = {METRIC_TABLE(M)};
#undef M
    return (enum metric_kind)kinds[metric];
}

/* ---- sources ---- */

/* A region of this version has one layout, but for the length of its trace. */
static bool header_is_valid(const struct metrics_header *header)
{
    uint32_t trace = header->trace_count;
    return header->magic == METRICS_MAGIC && header->version == METRICS_VERSION &&
           header->header_bytes == sizeof(*header) && header->metric_count == METRICS &&
           header->operation_count == METRICS_OPERATIONS && header->stage_count == METRICS_STAGES &&
           header->bucket_count == HISTOGRAM_BUCKETS && header->slow_count == METRICS_SLOW &&
           header->partition_count == METRICS_PARTITIONS && header->session_count == METRICS_SESSIONS &&
           trace != 0 && trace <= TRACE_COUNT_MAX && (trace & (trace - 1)) == 0 &&
           header->bytes == METRICS_BYTES(trace) && header->counters_at == METRICS_COUNTERS_AT &&
           header->operations_at == METRICS_OPERATIONS_AT && header->slow_at == METRICS_SLOW_AT &&
           header->partitions_at == METRICS_PARTITIONS_AT && header->sessions_at == METRICS_SESSIONS_AT &&
           header->trace_at == METRICS_TRACE_AT && header->histograms_at == METRICS_HISTOGRAMS_AT(trace);
}

int metrics_source_check(struct metrics_source *source)
{
    struct metrics_header *header = &source->header;
    int status = source->read(source, 0, header, sizeof(*header));
    if (status != 0)
        return status;
    header->host[sizeof(header->host) - 1] = '\0';
    header->program[sizeof(header->program) - 1] = '\0';
    header->cluster[sizeof(header->cluster) - 1] = '\0';
    header->exporter[sizeof(header->exporter) - 1] = '\0';
    return header_is_valid(header) ? 0 : -EPROTO;
}

struct file_source {
    struct metrics_source source;
    int fd;
    char path[]; /* to open it for writing, should somebody want to */
};

static int file_read(struct metrics_source *source, uint64_t offset, void *bytes, uint64_t length)
{
    const struct file_source *file = (const struct file_source *)source;
    for (char *to = bytes; length > 0;) {
        ssize_t count = pread(file->fd, to, length, (off_t)offset);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return count < 0 ? -errno : -EPROTO; /* shorter than it says */
        to += count;
        offset += (uint64_t)count;
        length -= (uint64_t)count;
    }
    return 0;
}

static int write_word(int fd, uint64_t value, size_t offset)
{
    if (value == METRICS_LEAVE)
        return 0;
    ssize_t count = pwrite(fd, &value, sizeof(value), (off_t)offset);
    return count == (ssize_t)sizeof(value) ? 0 : count < 0 ? -errno : -EIO;
}

static int file_control(struct metrics_source *source, const struct metrics_control *control)
{
    const struct file_source *file = (const struct file_source *)source;
    struct stat now, then;
    int fd = open(file->path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    /* The name may have gone to another process's region. */
    int status = fstat(fd, &now) == 0 && fstat(file->fd, &then) == 0 ? 0 : -errno;
    if (status == 0 && (now.st_ino != then.st_ino || now.st_dev != then.st_dev))
        status = -ENOENT;
    if (status == 0)
        status = write_word(fd, control->slow_ns, offsetof(struct metrics_header, slow_ns));
    if (status == 0)
        status = write_word(fd, control->detail_until, offsetof(struct metrics_header, detail_until));
    close(fd);
    return status;
}

static void file_close(struct metrics_source *source)
{
    close(((struct file_source *)source)->fd);
    free(source);
}

int metrics_source_open(const char *path, struct metrics_source **source)
{
    struct file_source *file = calloc(1, sizeof(*file) + strlen(path) + 1);
    if (file == NULL)
        return -ENOMEM;
    strcpy(file->path, path);
    file->source.read = file_read;
    file->source.control = file_control;
    file->source.close = file_close;
    file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int status = file->fd < 0 ? -errno : metrics_source_check(&file->source);
    if (status != 0) {
        if (file->fd >= 0)
            close(file->fd);
        free(file);
        return status;
    }
    *source = &file->source;
    return 0;
}

struct memory_source {
    struct metrics_source source;
    const char *region;
};

static int memory_read(struct metrics_source *source, uint64_t offset, void *bytes, uint64_t length)
{
    const struct memory_source *memory = (const struct memory_source *)source;
    memcpy(bytes, memory->region + offset, length);
    return 0;
}

static void memory_close(struct metrics_source *source)
{
    free(source);
}

int metrics_source_memory(const struct metrics_header *region, struct metrics_source **source)
{
    struct memory_source *memory = calloc(1, sizeof(*memory));
    if (memory == NULL)
        return -ENOMEM;
    memory->region = (const char *)region;
    memory->source.read = memory_read;
    memory->source.close = memory_close;
    int status = metrics_source_check(&memory->source);
    if (status != 0) {
        free(memory);
        return status;
    }
    *source = &memory->source;
    return 0;
}

int metrics_source_control(struct metrics_source *source, const struct metrics_control *control)
{
    return source->control == NULL ? -EOPNOTSUPP : source->control(source, control);
}

void metrics_source_close(struct metrics_source *source)
{
    if (source != NULL)
        source->close(source);
}

int metrics_switch_open(const char *path, uint32_t **paused)
{
    struct metrics_source *source;
    int status = metrics_source_open(path, &source);
    if (status != 0)
        return status;
    metrics_source_close(source);
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    struct metrics_header *header =
        mmap(NULL, METRICS_COUNTERS_AT, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    status = header == MAP_FAILED ? -errno : 0;
    close(fd);
    if (status == 0)
        *paused = &header->paused;
    return status;
}

void metrics_switch_close(uint32_t *paused)
{
    munmap((char *)paused - offsetof(struct metrics_header, paused), METRICS_COUNTERS_AT);
}

int metrics_sessions_read(struct metrics_source *source, struct metrics_session *sessions)
{
    uint64_t used = source->header.sessions_used;
    uint32_t count = used < METRICS_SESSIONS ? (uint32_t)used : METRICS_SESSIONS;
    int status =
        count == 0 ? 0 : source->read(source, METRICS_SESSIONS_AT, sessions, count * sizeof(*sessions));
    for (uint32_t i = 0; i < count && status == 0; i++)
        sessions[i].peer[sizeof(sessions[i].peer) - 1] = '\0';
    return status == 0 ? (int)count : status;
}

int metrics_list(const char *directory, char ***paths, uint32_t *count)
{
    char place[METRICS_PATH_MAX];
    char **list = NULL;
    uint32_t length = 0;
    *paths = NULL;
    *count = 0;
    metrics_directory(directory, place);
    DIR *stream = opendir(place);
    if (stream == NULL)
        return 0; /* nobody measures */
    int status = 0;
    struct dirent *entry;
    while (length < LIST_MAX && (entry = readdir(stream)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        char **grown = realloc(list, (length + 1) * sizeof(*list));
        if (grown != NULL)
            list = grown;
        if (grown == NULL || asprintf(&list[length], "%s/%s", place, entry->d_name) < 0) {
            status = -ENOMEM;
            break;
        }
        length++;
    }
    closedir(stream);
    if (status != 0) {
        while (length > 0)
            free(list[--length]);
        free(list);
        return status;
    }
    *paths = list;
    *count = length;
    return 0;
}

/* ---- numbers ---- */

int metrics_snapshot_read(struct metrics_source *source, struct metrics_snapshot *snapshot)
{
    snapshot->taken_ns = clock_now();
    int status = metrics_source_check(source);
    if (status == 0)
        status = source->read(source, METRICS_COUNTERS_AT, snapshot->counters, sizeof(snapshot->counters));
    if (status == 0)
        status =
            source->read(source, METRICS_OPERATIONS_AT, snapshot->operations, sizeof(snapshot->operations));
    return status;
}

void metrics_snapshot_subtract(struct metrics_snapshot *later, const struct metrics_snapshot *earlier)
{
    for (uint32_t i = 0; i < METRICS; i++)
        if (metric_kind(i) == METRIC_COUNTER)
            later->counters[i] -= earlier->counters[i];
    for (uint32_t i = 0; i < METRICS_OPERATIONS; i++) {
        struct metrics_operation *to = &later->operations[i];
        const struct metrics_operation *from = &earlier->operations[i];
        to->count -= from->count;
        to->errors -= from->errors;
        to->bytes -= from->bytes;
        for (uint32_t stage = 0; stage < METRICS_STAGES; stage++)
            to->sums[stage] -= from->sums[stage];
    }
}

int metrics_buckets_read(struct metrics_source *source, uint32_t operation, enum metrics_stage stage,
                         uint64_t *buckets)
{
    if (operation >= METRICS_OPERATIONS)
        return -EINVAL;
    uint64_t at = source->header.histograms_at +
                  ((uint64_t)operation * METRICS_STAGES + stage) * METRICS_HISTOGRAM_BYTES;
    return source->read(source, at, buckets, METRICS_HISTOGRAM_BYTES);
}

void metrics_histogram_add(struct histogram *histogram, const uint64_t *buckets, const uint64_t *earlier,
                           uint64_t operations)
{
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t count = buckets[i] - (earlier != NULL ? earlier[i] : 0);
        histogram_add_bucket(histogram, i, count);
        seen += count;
    }
    if (operations > seen)
        histogram_add_bucket(histogram, 0, operations - seen);
}

/* ---- rings ---- */

/* Keeps of `count` entries read from number `first` on those that are what they were to be. */
static uint32_t keep_whole(struct metrics_entry *entries, uint32_t count, uint64_t first, uint64_t oldest)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++)
        if (first + i >= oldest && entries[i].sequence == first + i + 1)
            entries[kept++] = entries[i];
    return kept;
}

int metrics_trace_read(struct metrics_source *source, uint64_t *position, struct metrics_entry *entries,
                       uint32_t most, uint64_t *lost)
{
    uint64_t size = source->header.trace_count, head, after;
    uint64_t head_at = offsetof(struct metrics_header, trace_head);
    int status = source->read(source, head_at, &head, sizeof(head));
    if (status != 0)
        return status;
    if (*position > head)
        *position = head; /* another life of the region */
    uint64_t first = head - *position > size ? head - size : *position;
    uint64_t count = head - first < most ? head - first : most;
    if (count > INT32_MAX)
        count = INT32_MAX;
    for (uint64_t done = 0; done < count;) {
        uint64_t place = (first + done) & (size - 1);
        uint64_t part = size - place < count - done ? size - place : count - done;
        status = source->read(source, METRICS_TRACE_AT + place * sizeof(*entries), entries + done,
                              part * sizeof(*entries));
        if (status != 0)
            return status;
        done += part;
    }
    /* The one being written when the head is looked at again may have hit the oldest of these. */
    status = source->read(source, head_at, &after, sizeof(after));
    if (status != 0)
        return status;
    uint64_t oldest = after + 1 > size ? after + 1 - size : 0;
    uint32_t kept = keep_whole(entries, (uint32_t)count, first, oldest);
    *lost += first - *position + count - kept;
    *position = first + count;
    return (int)kept;
}

int metrics_slow_read(struct metrics_source *source, struct metrics_entry *entries)
{
    uint64_t head;
    struct metrics_entry ring[METRICS_SLOW];
    int status = source->read(source, offsetof(struct metrics_header, slow_head), &head, sizeof(head));
    if (status == 0)
        status = source->read(source, METRICS_SLOW_AT, ring, sizeof(ring));
    if (status != 0)
        return status;
    uint64_t count = head < METRICS_SLOW ? head : METRICS_SLOW;
    for (uint64_t i = 0; i < count; i++)
        entries[i] = ring[(head - count + i) % METRICS_SLOW];
    return (int)count;
}

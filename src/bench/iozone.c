/* `bench iozone`. Each phase opens the file, visits every record once and closes; all of it is timed.
 * Whatever the order, the whole file is moved, so that the phases can be compared.
 *
 * Each phase that writes gives the file other bytes than it had, and the reads that follow want those of the
 * last: a write that was lost is found even where the file had been written before. Before the file is
 * written again it is read once that is not timed. */
#include "bench/iozone.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/hash.h"
#include "bench/permutation.h"

static uint64_t record = 65536, file = UINT64_C(16) << 20, depth = 1;
static bool sync_file, verify;

static const struct bench_option options[] = {
    {"size", BENCH_SIZE, &record, 1, UINT64_C(1) << 30, "SIZE", "bytes of a record"},
    {"total", BENCH_SIZE, &file, 1, UINT64_C(1) << 50, "SIZE",
     "bytes of each worker's file, at least a record"},
    {"depth", BENCH_NUMBER, &depth, 1, TARGET_DEPTH_MAX, "N", "records under way at once"},
    {"fsync", BENCH_FLAG, &sync_file, 0, 0, NULL,
     "bring what was written to the device before the clock stops"},
    {"verify", BENCH_FLAG, &verify, 0, 0, NULL, "check every byte, not a sample"},
    {0},
};

static const char *const lists[] = {"size", "4KiB,64KiB,1MiB", "total", "1MiB,16MiB", NULL};

enum order { FORWARD, BACKWARD, RANDOM, STRIDE };

static const struct {
    enum benchfs_io_kind kind;
    enum order order;
} kinds[] = {
#define X(id, name, kind, order) {BENCHFS_IO_##kind, order},
    IOZONE_PHASES(X)
#undef X
};

static const struct suite_phase phases[] = {
#define X(id, phase_name, kind, order) {.name = (phase_name), .reads = BENCHFS_IO_##kind == BENCHFS_IO_READ},
    IOZONE_PHASES(X)
#undef X
        {0}};

/* With a stride: 0, 17, 34, ... then 1, 18, 35, ... The first count % 17 of these columns are one longer. */
static uint64_t strided(uint64_t count, uint64_t n)
{
    uint64_t longer = count % IOZONE_STRIDE, length = count / IOZONE_STRIDE;
    uint64_t in_longer = longer * (length + 1);
    if (n < in_longer)
        return n / (length + 1) + n % (length + 1) * IOZONE_STRIDE;
    n -= in_longer;
    return longer + n / length + n % length * IOZONE_STRIDE;
}

uint64_t iozone_record(enum iozone_phase phase, uint64_t count, uint64_t n)
{
    switch (kinds[phase].order) {
    case BACKWARD:
        return count - 1 - n;
    case RANDOM:
        return permutation_at(phase, count, n);
    case STRIDE:
        return strided(count, n);
    default:
        return n;
    }
}

struct matrix_file {
    struct session *session;
    enum iozone_phase phase;
    uint64_t record, records;
    uint64_t seed; /* of what it holds */
    int fd;
    char path[SESSION_PATH_MAX];
};

static void find_record(void *argument, uint64_t n, struct transfer_place *place)
{
    const struct matrix_file *matrix = argument;
    *place =
        (struct transfer_place){.fd = matrix->fd,
                                .offset = iozone_record(matrix->phase, matrix->records, n) * matrix->record,
                                .seed = matrix->seed,
                                .path = matrix->path};
}

static int run_phase(struct matrix_file *matrix, struct transfers *transfers, struct crew_part *part,
                     bool sync)
{
    struct session *session = matrix->session;
    enum benchfs_io_kind kind = kinds[matrix->phase].kind;
    int flags = matrix->phase == IOZONE_WRITE ? O_CREAT | O_EXCL | O_WRONLY
                : kind == BENCHFS_IO_WRITE    ? O_WRONLY
                                              : O_RDONLY;
    uint64_t moved;
    matrix->fd = session->call->file_open(session->target, matrix->path, flags, 0644);
    if (matrix->fd < 0)
        return session_fail(session, "open", matrix->path, matrix->fd);
    if (kind == BENCHFS_IO_WRITE)
        matrix->seed++;
    int status = transfers_run(transfers, kind, 0, matrix->records, 0, find_record, matrix, part, &moved);
    if (status == 0 && sync && kind == BENCHFS_IO_WRITE &&
        (status = session->call->sync(session->target, matrix->fd)) < 0)
        session_fail(session, "fsync", matrix->path, status);
    int closed = session->call->file_close(session->target, matrix->fd);
    return status == 0 && closed < 0 ? session_fail(session, "close", matrix->path, closed) : status;
}

/* What the first phase has written, before the next one writes over it. */
static int check_written(struct matrix_file *matrix, struct transfers *transfers)
{
    struct crew_part *unused = calloc(1, sizeof(*unused));
    if (unused == NULL)
        return -ENOMEM;
    matrix->phase = IOZONE_READ;
    int status = run_phase(matrix, transfers, unused, false);
    free(unused);
    return status;
}

static int remove_file(struct matrix_file *matrix)
{
    struct session *session = matrix->session;
    struct stat found;
    int status = session->call->stat(session->target, matrix->path, &found);
    if (status == 0 && (uint64_t)found.st_size != matrix->records * matrix->record)
        status = -EBADMSG;
    if (status < 0)
        return session_fail(session, "wrong size of", matrix->path, status);
    status = session->call->unlink(session->target, matrix->path);
    return status < 0 ? session_fail(session, "unlink", matrix->path, status) : 0;
}

int iozone_run(struct session *session, const struct iozone_shape *shape)
{
    struct matrix_file matrix = {
        .session = session, .record = shape->record, .records = shape->file / shape->record};
    struct content content;
    struct transfers transfers;
    uint32_t number = session->worker->number;
    matrix.seed = hash_mix(number + 1);
    session_path(session, matrix.path, "data.%u", number);
    content_init(&content, shape->verify);
    int status = transfers_init(&transfers, session, &content, shape->record, shape->depth);
    if (status < 0)
        return status;
    for (uint32_t phase = 0; phase < IOZONE_PHASE_COUNT && status == 0; phase++) {
        struct crew_part *part = crew_phase(session->worker, phase);
        matrix.phase = phase;
        status = part == NULL ? -ECANCELED : run_phase(&matrix, &transfers, part, shape->sync);
        if (status == 0)
            crew_phase_end(session->worker, phase);
        if (status == 0 && phase == IOZONE_WRITE)
            status = check_written(&matrix, &transfers);
    }
    transfers_free(&transfers);
    return status < 0 ? status : remove_file(&matrix);
}

static int run(struct suite_member *member)
{
    struct session session;
    session_begin(&session, member);
    const struct iozone_shape shape = {
        .record = record, .file = file, .depth = depth, .sync = sync_file, .verify = verify};
    return iozone_run(&session, &shape);
}

static uint64_t working_set(uint32_t members)
{
    return file * members;
}

static int check(void)
{
    if (file >= record)
        return BENCH_OK;
    bench_error("--total is less than one record of --size %llu", (unsigned long long)record);
    return BENCH_USAGE;
}

static bool supports(const struct target_operations *calls, uint32_t phase)
{
    (void)phase;
    return depth == 1 || calls->submit != NULL;
}

const struct suite_workload bench_iozone = {
    .name = "iozone",
    .help = "Record sizes by file sizes: write, rewrite, read, random, backward and stride",
    .options = options,
    .lists = lists,
    .phases = phases,
    .check = check,
    .supports = supports,
    .working_set = working_set,
    .run = run,
};

/* Which requests a call has made is told by the generation of correlations before and after it: the requests
 * of one thread count up, and a thread makes one call at a time. Transfers that run beside others overlap in
 * that; for them the reader looks at the inode, too. */
#include "client/application.h"

#include <string.h>

#include "base/hash.h"
#include "client/core.h"

#define NOTHING_TOLD INT64_MIN

const uint64_t application_untraced = 0;

const char *application_name(unsigned call)
{
    static const char *const names[APPLICATIONS] = {
#define A(id, name, moves) name,
        APPLICATION_TABLE(A)
#undef A
    };
    return call < APPLICATIONS ? names[call] : NULL;
}

static bool moves_bytes(enum application call)
{
    static const bool moves[APPLICATIONS] = {
#define A(id, name, moves) moves,
        APPLICATION_TABLE(A)
#undef A
    };
    return moves[call];
}

static uint64_t subject_of(struct benchfs *fs, int fd, const char *path)
{
    if (path != NULL)
        return hash64(path, strlen(path), 0);
    const struct descriptor *descriptor = fd < 0 ? NULL : descriptor_find(fs, fd);
    const struct open_file *file = descriptor == NULL ? NULL : atomic_load(&descriptor->file);
    return file == NULL ? 0 : file->file.inode;
}

/* The worker that the thread has for this file system, if it has made one. */
static struct worker *traced_worker(const struct benchfs *fs)
{
    struct worker *worker = worker_current.worker;
    if (worker == NULL || worker_current.fs_id != fs->id || worker->client == NULL ||
        worker_current.forks != atomic_load_explicit(&library_forks, memory_order_relaxed))
        return NULL;
    return worker;
}

void application_begin(struct application_call *application, enum application call, struct benchfs *fs,
                       int fd, const char *path)
{
    struct worker *worker = traced_worker(fs);
    uint64_t now = worker == NULL ? 0 : loop_now(worker->loop);
    if (worker == NULL || now >= *worker_current.detail_until)
        return;
    application->worker = worker;
    application->call = call;
    application->started = now;
    application->subject = subject_of(fs, fd, path);
    application->generation = rpc_generation(worker->client->rpc);
    application->error = errno;
    errno = 0;
    worker_current.told = NOTHING_TOLD;
}

static void record(struct worker *worker, struct metrics_entry *entry, int64_t result)
{
    if (result > 0 && moves_bytes(entry->operation))
        entry->bytes = metrics_clip((uint64_t)result);
    entry->total_ns = metrics_clip(loop_now(worker->loop) - entry->started);
    entry->status = (int16_t)(result < 0 ? result : 0);
    entry->kind = METRICS_APPLICATION_CALL;
    metrics_record(worker->metrics, entry);
}

void application_end_slow(struct application_call *application)
{
    struct worker *worker = application->worker;
    int error = errno;
    int64_t result = worker_current.told != NOTHING_TOLD ? worker_current.told : -error;
    if (error == 0)
        errno = application->error;
    if (worker->client == NULL)
        return; /* disconnected meanwhile */
    uint64_t sent = rpc_generation(worker->client->rpc) - application->generation;
    struct metrics_entry entry = {
        .started = application->started,
        .correlation = application->generation << RPC_GENERATION_SHIFT |
                       (sent < METRICS_CALLS_MAX ? sent : METRICS_CALLS_MAX),
        .subject = application->subject,
        .operation = (uint8_t)application->call,
    };
    record(worker, &entry, result);
}

void application_transfer(struct worker *worker, enum application call, uint64_t inode, uint64_t started,
                          ssize_t result)
{
    struct metrics_entry entry = {
        .started = started,
        .subject = inode,
        .operation = (uint8_t)call,
    };
    record(worker, &entry, result);
}

/* A storage engine alone in this process: loop, disk, engine and journal as a server puts them together, and
 * no network. `depth` tasks take turns: each stamps the memory that write_begin gives (where the transport
 * would land bytes) or looks at the memory that read_begin gives (from which the transport would send).
 * Nothing is copied: what the engine does is measured, and all bytes but the stamps are those that were
 * there.
 *
 * Blocks lie in chunks of one file, as many in each as fit. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/status.h"
#include "bench/options.h"
#include "bench/subject.h"
#include "journal/journal.h"
#include "runtime/disk.h"
#include "runtime/sync.h"
#include "store/store.h"

#define INODE 2u
#define JOURNAL_LIMIT (UINT64_C(256) << 20)

struct engine {
    struct subject subject;
    struct loop *loop;
    struct disk *disk; /* these two: persistent engines only */
    struct journal *journal;
    struct store *store;
    uint64_t chunk_blocks; /* in a chunk */
    bool keeps;            /* what it was given: not the null engine */
    struct subject_pass *pass;
    struct crew_part *part;
    struct wait_group running;
};

/* ---- transfers ---- */

static struct store_io io_of(const struct engine *engine, uint64_t block)
{
    uint64_t size = engine->subject.plan->size;
    return (struct store_io){.inode = INODE,
                             .index = block / engine->chunk_blocks,
                             .offset = (uint32_t)(block % engine->chunk_blocks * size),
                             .length = (uint32_t)size};
}

static int write_block(struct engine *engine, uint64_t block)
{
    const struct store_operations *call = engine->store->operations;
    struct store_io io = io_of(engine, block);
    int status = call->write_begin(engine->store, &io, engine->subject.plan->chunk_size);
    if (status < 0)
        return status;
    uint64_t at = 0;
    for (uint32_t i = 0; i < io.count; i++) {
        subject_stamp(&engine->subject, block, engine->pass->generation, at, io.vector[i].iov_base,
                      io.vector[i].iov_len);
        at += io.vector[i].iov_len;
    }
    status = call->write_commit(engine->store, &io);
    if (status == 0)
        engine->subject.generations[block] = engine->pass->generation;
    return status == 0 && engine->journal != NULL ? journal_throttle(engine->journal) : status;
}

static int read_block(struct engine *engine, uint64_t block)
{
    const struct store_operations *call = engine->store->operations;
    struct store_io io = io_of(engine, block);
    int status = call->read_begin(engine->store, &io);
    if (status < 0)
        return status;
    uint64_t at = 0;
    for (uint32_t i = 0; i < io.count && at < io.length; i++) {
        if (engine->keeps &&
            !subject_check(&engine->subject, block, at, io.vector[i].iov_base, io.vector[i].iov_len))
            status = -EBADMSG;
        at += io.vector[i].iov_len;
    }
    if (at != engine->subject.plan->size)
        status = -EBADMSG;
    if (io.length > 0)
        call->read_end(engine->store, &io);
    return status;
}

/* A task: transfers until the pass is over. */
static void transfer(void *argument)
{
    struct engine *engine = argument;
    struct subject_pass *pass = engine->pass;
    for (uint64_t block; subject_next(&engine->subject, pass, &block);) {
        uint64_t start = clock_now();
        int status = pass->writing ? write_block(engine, block) : read_block(engine, block);
        histogram_record(&engine->part->latency, clock_now() - start);
        if (status < 0) {
            pass->failure =
                subject_complain(&engine->subject, pass->writing ? "write" : "read", block, status);
            break;
        }
        engine->part->operations++;
        engine->part->bytes += engine->subject.plan->size;
    }
    wait_group_done(engine->loop, &engine->running);
}

static int settle(struct subject *subject)
{
    struct engine *engine = (struct engine *)subject;
    const struct store_operations *call = engine->store->operations;
    int status = call->prepare != NULL ? call->prepare(engine->store) : 0;
    if (status == 0 && engine->journal != NULL)
        status = journal_commit(engine->journal);
    if (status < 0)
        bench_error("%s: commit: %s", subject->plan->name, status_text(status));
    return status;
}

static int run(struct subject *subject, struct subject_pass *pass, struct crew_part *part)
{
    struct engine *engine = (struct engine *)subject;
    engine->pass = pass;
    engine->part = part;
    for (uint32_t i = 0; i < subject->plan->depth && pass->failure == 0; i++) {
        wait_group_add(&engine->running, 1);
        int status = task_spawn_later(engine->loop, transfer, engine, NULL);
        if (status < 0) {
            wait_group_done(engine->loop, &engine->running);
            pass->failure = subject_complain(subject, "start", i, status);
        }
    }
    wait_group_wait(engine->loop, &engine->running, 0);
    if (pass->failure == 0 && pass->writing && subject->plan->sync)
        pass->failure = settle(subject);
    return pass->failure;
}

/* ---- what the journal asks ---- */

static void collect(void *owner)
{
    (void)owner;
}

static int flush(void *owner)
{
    struct engine *engine = owner;
    return engine->store->operations->flush(engine->store);
}

static void committed(void *owner, uint64_t position)
{
    struct engine *engine = owner;
    engine->store->operations->committed(engine->store, position);
}

static int snapshot(void *owner, struct journal_snapshot *into)
{
    struct engine *engine = owner;
    return engine->store->operations->snapshot(engine->store, into);
}

static int replay(void *owner, const struct journal_record *record)
{
    struct engine *engine = owner;
    return engine->store->operations->replay(engine->store, record);
}

/* ---- its life ---- */

static int open_journal(struct engine *engine)
{
    const struct store_operations *call = engine->store->operations;
    struct journal_recovery recovery;
    struct journal_options options = {
        .loop = engine->loop,
        .disk = engine->disk,
        .backend = call->journal_backend != NULL ? call->journal_backend(engine->store) : NULL,
        .source = {engine, collect, flush, committed, snapshot, replay},
        .interval_ns = engine->subject.plan->sync ? NSEC_PER_SEC : 0,
        .limit = JOURNAL_LIMIT,
        .synchronise = true,
    };
    int status = journal_open(&options, &recovery, &engine->journal);
    return status == 0 ? call->start(engine->store, engine->journal) : status;
}

static int open_store(struct engine *engine)
{
    const struct subject_plan *plan = engine->subject.plan;
    int status = loop_create(&(struct loop_options){0}, &engine->loop);
    if (status == 0 && store_engine(plan->name)->persistent)
        status = disk_open(engine->loop, plan->directory, &(struct disk_options){0}, &engine->disk);
    if (status < 0)
        return status;
    struct store_options options = {
        .engine = plan->name,
        .capacity = plan->capacity,
        .checksum = plan->checksum,
        .fast = plan->fast,
        .slow = plan->slow,
        .fast_capacity = plan->capacity / 2,
        .disk = engine->disk,
        .loop = engine->loop,
    };
    status = store_create(&options, &engine->store);
    return status == 0 && engine->disk != NULL ? open_journal(engine) : status;
}

static void close_engine(struct subject *subject)
{
    struct engine *engine = (struct engine *)subject;
    if (engine->journal != NULL)
        journal_close(engine->journal, true); /* the directory is removed: nothing needs to last */
    if (engine->store != NULL)
        store_destroy(engine->store);
    if (engine->disk != NULL)
        disk_close(engine->disk);
    if (engine->loop != NULL)
        loop_destroy(engine->loop);
    subject_end(subject);
    free(engine);
}

static int open_engine(const struct subject_plan *plan, struct subject **subject)
{
    struct engine *engine = calloc(1, sizeof(*engine));
    if (engine == NULL)
        return -ENOMEM;
    wait_group_init(&engine->running);
    int status = subject_init(&engine->subject, &subject_engine, plan);
    engine->chunk_blocks = plan->chunk_size / plan->size;
    engine->keeps = strcmp(plan->name, "null") != 0;
    if (status == 0)
        status = open_store(engine);
    if (status < 0) {
        bench_error("%s: cannot open it in %s: %s", plan->name, plan->directory, status_text(status));
        close_engine(&engine->subject);
        return status;
    }
    *subject = &engine->subject;
    return 0;
}

const struct subject_operations subject_engine = {
    .open = open_engine, .close = close_engine, .run = run, .settle = settle};

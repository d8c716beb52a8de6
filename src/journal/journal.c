/* Appending and committing.
 *
 * Two groups take turns. Records are appended to the open one, which costs a copy of the key and no
 * allocation. The committer cuts: it lets the source append what it has only noted so far, swaps the groups,
 * has the engine flush what the records refer to, and writes and synchronises the group that was open. While
 * it does, the other one fills, and whoever wants that to be durable waits for the next cut. So the slower
 * the device, the more share one synchronisation, and nobody sets a batch size.
 *
 * Left alone, many clients would fall into two halves, each of which waits while the other's group is
 * written, and the device would be asked twice as often as need be. So after a group those that it has woken
 * are expected to come again soon, and if somebody waits already, the committer gives the others a fraction
 * of the time that a group takes. Where they do not come in time, it stops trying for a while.
 *
 * A position is a count of changes. A commit waits until the committed position has reached what the position
 * was when it asked; waiters are in the order of their positions, because positions only grow.
 *
 * A group that finds the device full stays where it is. Records go on into the other one, and with each
 * attempt to commit, and once in RETRY_NS, it is tried again; whoever waits is told each time.
 *
 * Any other failure is final: what the failed group held is neither durable nor known to be lost, and a later
 * group that succeeded would hide that. Appending goes on, into memory that is thrown away, so that callers
 * need to look at a status in one place only, when they commit. */
#include "journal/journal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/status.h"
#include "journal/state.h"

#define BUFFER_DEFAULT ((uint64_t)64 << 20)

/* The committer waits for more commits for at most 1/GATHER_SHARE of a group's time. */
enum { GATHER_SHARE = 2, GATHER_MISSED_MAX = 63 };
#define GATHER_MAX_NS UINT64_C(1000000)

/* How often a full device is asked whether it has room again. */
#define RETRY_NS (200 * NSEC_PER_MSEC)

/* A task in journal_commit. */
struct waiter {
    struct list link;
    struct completion done;
    uint64_t position;
};

/* ---- failing ---- */

static void journal_fail(struct journal *journal, int status)
{
    if (journal->status == 0)
        journal->status = status;
}

int journal_status(const struct journal *journal)
{
    return journal->status;
}

/* ---- appending ---- */

void journal_wake(struct journal *journal)
{
    if (journal->idle != NULL && !journal->idle->fired)
        completion_fire(journal->idle, 0);
}

static void want_group(struct journal *journal)
{
    journal->wanted = true;
    journal_wake(journal);
}

static void interval_over(struct timer *timer)
{
    want_group(container_of(timer, struct journal, interval));
}

static void retry_due(struct timer *timer)
{
    want_group(container_of(timer, struct journal, retry));
}

void journal_touch(struct journal *journal)
{
    journal->position++;
    if (journal->counting || journal->options.interval_ns == 0 || journal->status != 0)
        return;
    journal->counting = true;
    timer_set(journal->loop, &journal->interval, loop_now(journal->loop) + journal->options.interval_ns);
}

static void *append(struct journal *journal, const struct journal_record *record)
{
    void *value;
    if (journal->status != 0)
        journal_group_clear(journal->open); /* nobody will write it */
    int status = journal_group_append(journal->open, record, &value);
    if (status != 0) {
        log_error(
            "no memory for more than %zu bytes of journal records; nothing can be made durable any more",
            journal_group_content(journal->open));
        journal_fail(journal, status);
    }
    journal->statistics.records++;
    journal_touch(journal);
    return value;
}

void *journal_append(struct journal *journal, enum journal_kind kind, uint32_t partition, const void *key,
                     uint32_t key_length, uint32_t value_length)
{
    const struct journal_record record = {
        .kind = (uint8_t)kind,
        .partition = (uint16_t)partition,
        .key_length = key_length,
        .value_length = value_length,
        .key = key,
    };
    return append(journal, &record);
}

void journal_append_removal(struct journal *journal, enum journal_kind kind, uint32_t partition,
                            const void *key, uint32_t key_length)
{
    const struct journal_record record = {
        .kind = (uint8_t)kind,
        .removed = true,
        .partition = (uint16_t)partition,
        .key_length = key_length,
        .key = key,
    };
    append(journal, &record);
}

uint64_t journal_position(const struct journal *journal)
{
    return journal->position;
}

uint64_t journal_committed(const struct journal *journal)
{
    return journal->committed;
}

/* ---- waiting ---- */

/* Not inlined: gcc takes the link that a waiting task leaves behind for one that outlives its function. */
static __attribute__((noinline)) int wait_committed(struct journal *journal, struct waiter *waiter)
{
    list_push_back(&journal->waiters, &waiter->link);
    journal->waiting++;
    if (journal->gathering != NULL && journal->waiting >= journal->expected && !journal->gathering->fired)
        completion_fire(journal->gathering, 0);
    int status = await(journal->loop, &waiter->done);
    if (!waiter->done.fired) {
        list_remove(&waiter->link);
        journal->waiting--;
    }
    return status;
}

int journal_commit(struct journal *journal)
{
    if (journal->status != 0)
        return journal->status;
    struct waiter waiter = {.position = journal->position};
    if (journal->committed >= waiter.position)
        return 0;
    /* What has been cut is on its way. */
    if (waiter.position > journal->cut || journal->stuck) {
        if (journal->wanted)
            journal->statistics.waiters++;
        want_group(journal);
    } else {
        journal->statistics.waiters++;
    }
    return wait_committed(journal, &waiter);
}

static bool buffer_full(const struct journal *journal)
{
    return journal_group_content(journal->open) + journal_group_content(journal->writing) >
           journal->options.buffer;
}

int journal_throttle(struct journal *journal)
{
    while (journal->status == 0 && buffer_full(journal)) {
        if (journal->stuck)
            return -ENOSPC;
        want_group(journal);
        int status = wait_queue_wait(journal->loop, &journal->room, 0);
        if (status != 0)
            return status;
    }
    return journal->status;
}

int journal_room(struct journal *journal)
{
    const struct journal_backend *backend = journal->options.backend;
    if (backend != NULL)
        return backend->room == NULL ? 0 : backend->room(backend->owner);
    if (__builtin_expect(!journal->tight, 1))
        return 0;
    uint64_t now = loop_now(journal->loop);
    if (now - journal->tried >= RETRY_NS) {
        journal->tried = now;
        want_group(journal);
    }
    return -ENOSPC;
}

int journal_admit(struct journal *journal)
{
    int status = journal_room(journal);
    return status != 0 ? status : journal_throttle(journal);
}

/* Tells those who wait for what is now durable, or, if nothing will be any more or for now, all. */
static void wake_waiters(struct journal *journal)
{
    int status = journal->stuck ? -ENOSPC : journal->status;
    journal->expected = journal->waiting;
    while (!list_empty(&journal->waiters)) {
        struct waiter *waiter = container_of(journal->waiters.next, struct waiter, link);
        if (status == 0 && waiter->position > journal->committed)
            break;
        list_remove(&waiter->link);
        journal->waiting--;
        completion_fire(&waiter->done, status);
    }
    wait_queue_wake_all(journal->loop, &journal->room);
}

/* ---- the committer ---- */

/* Takes what was appended so far out of the way of what comes next. */
static void cut(struct journal *journal)
{
    journal->options.source.collect(journal->options.source.owner);
    timer_clear(journal->loop, &journal->interval);
    journal->counting = false;
    journal->wanted = false;
    journal->cut = journal->position;
    struct journal_group *group = journal->open;
    journal->open = journal->writing;
    journal->writing = group;
}

static int flush(struct journal *journal)
{
    int status = journal->options.source.flush(journal->options.source.owner);
    if (status != 0 && !journal->closing)
        log_error("the storage engine cannot flush: %s; nothing can be made durable any more",
                  status_text(status));
    return status;
}

static int write_to_backend(struct journal *journal)
{
    const struct journal_backend *backend = journal->options.backend;
    size_t length = journal_group_content(journal->writing);
    int status = backend->write(backend->owner, journal_group_records(journal->writing), length,
                                journal->options.synchronise);
    if (status != 0 && status != -ENOSPC && !journal->closing)
        log_error("the storage engine cannot write %zu bytes of records: %s; nothing can be made durable any "
                  "more",
                  length, status_text(status));
    journal->statistics.bytes += status == 0 ? length : 0;
    return status;
}

static int write_to_log(struct journal *journal)
{
    size_t size =
        journal_group_seal(journal->writing, JOURNAL_GROUP_RECORDS, &journal->log.place, journal->group + 1);
    int status = journal_log_write(journal, journal->writing->bytes, size);
    if (status != 0)
        return status;
    journal->group++;
    journal->log_bytes += size;
    journal->statistics.bytes += size;
    return 0;
}

static int write_group(struct journal *journal)
{
    if (journal_group_content(journal->writing) == 0) {
        if (journal->tight)
            journal_log_extend(journal);
        return 0;
    }
    int status = journal->options.backend != NULL ? write_to_backend(journal) : write_to_log(journal);
    journal->statistics.groups += status == 0;
    return status;
}

/* Gives those that the last group woke the time to be in the next one. */
static void gather(struct journal *journal)
{
    if (journal->waiting == 0 || journal->waiting >= journal->expected)
        return;
    if (journal->skip > 0) {
        journal->skip--;
        return;
    }
    uint64_t patience = journal->duration / GATHER_SHARE;
    if (patience > GATHER_MAX_NS)
        patience = GATHER_MAX_NS;
    struct completion enough = COMPLETION_INIT;
    journal->gathering = &enough;
    int status = await_until(journal->loop, &enough, loop_now(journal->loop) + patience);
    journal->gathering = NULL;
    journal->missed = status == 0 ? 0 : 2 * journal->missed + 1;
    if (journal->missed > GATHER_MISSED_MAX)
        journal->missed = GATHER_MISSED_MAX;
    journal->skip = journal->missed;
}

/* The group that was cut is durable, or never will be. */
static void group_over(struct journal *journal)
{
    journal_group_clear(journal->writing);
    if (journal->status != 0)
        return;
    journal->committed = journal->cut;
    journal->options.source.committed(journal->options.source.owner, journal->committed);
}

/* What was cut goes to the device. */
static void bring_down(struct journal *journal)
{
    bool again = journal->stuck;
    journal->stuck = false;
    if (journal->status == 0 && !again)
        journal_fail(journal, flush(journal));
    if (journal->status == 0) {
        int status = write_group(journal);
        journal->stuck = status == -ENOSPC;
        if (journal->stuck)
            timer_set(journal->loop, &journal->retry, loop_now(journal->loop) + RETRY_NS);
        else
            journal_fail(journal, status);
    }
    if (!journal->stuck)
        group_over(journal);
    /* What came meanwhile is still to be cut. */
    if (again && !journal->stuck && journal->position > journal->cut)
        journal->wanted = true;
}

static void commit_group(struct journal *journal)
{
    gather(journal);
    uint64_t start = loop_now(journal->loop);
    if (journal->stuck)
        journal->wanted = false;
    else
        cut(journal);
    bring_down(journal);
    journal->duration = loop_now(journal->loop) - start;
    wake_waiters(journal);
}

/* Waits for something to do. false: there will be nothing any more, from a snapshot either. */
static bool committer_wait(struct journal *journal)
{
    while (!journal->wanted && journal->switching == NULL) {
        if (journal->closing && journal->snapshot_task == NULL)
            return false;
        struct completion idle = COMPLETION_INIT;
        journal->idle = &idle;
        await(journal->loop, &idle);
        journal->idle = NULL;
    }
    return true;
}

static void committer_run(void *argument)
{
    struct journal *journal = argument;
    while (committer_wait(journal)) {
        if (journal->switching != NULL)
            journal_switch(journal);
        if (journal->wanted)
            commit_group(journal);
        journal_snapshot_consider(journal);
    }
    journal->committer = NULL;
    wait_group_done(journal->loop, &journal->tasks);
}

/* ---- opening and closing ---- */

static void journal_free(struct journal *journal)
{
    timer_clear(journal->loop, &journal->interval);
    timer_clear(journal->loop, &journal->retry);
    journal_log_close(&journal->log);
    journal_log_close(&journal->spare);
    journal_group_destroy(&journal->groups[0]);
    journal_group_destroy(&journal->groups[1]);
    free(journal);
}

static int journal_allocate(const struct journal_options *options, struct journal **allocated)
{
    struct journal *journal = calloc(1, sizeof(*journal));
    if (journal == NULL)
        return -ENOMEM;
    journal->options = *options;
    if (journal->options.buffer == 0)
        journal->options.buffer = BUFFER_DEFAULT;
    journal->loop = options->loop;
    journal->disk = options->disk;
    journal->open = &journal->groups[0];
    journal->writing = &journal->groups[1];
    journal->interval.fire = interval_over;
    journal->retry.fire = retry_due;
    list_init(&journal->waiters);
    wait_queue_init(&journal->room);
    wait_group_init(&journal->tasks);
    mutex_init(&journal->snapshot_lock);
    int status = journal_group_create(journal->open);
    if (status == 0)
        status = journal_group_create(journal->writing);
    if (status != 0) {
        journal_free(journal);
        return status;
    }
    *allocated = journal;
    return 0;
}

struct backend_recovery {
    struct journal *journal;
    struct journal_recovery *recovery;
};

static int take_from_backend(void *taker, const struct journal_record *record)
{
    struct backend_recovery *recovering = taker;
    const struct journal_source *source = &recovering->journal->options.source;
    recovering->recovery->log_records++;
    recovering->recovery->bytes += record->key_length + record->value_length;
    return source->replay(source->owner, record);
}

static int recover_from_backend(struct journal *journal, struct journal_recovery *recovery)
{
    struct backend_recovery recovering = {.journal = journal, .recovery = recovery};
    const struct journal_backend *backend = journal->options.backend;
    return backend->replay(backend->owner, take_from_backend, &recovering);
}

static int journal_start(struct journal *journal)
{
    wait_group_add(&journal->tasks, 1);
    int status = task_spawn_later(journal->loop, committer_run, journal, &journal->committer);
    if (status != 0)
        wait_group_done(journal->loop, &journal->tasks);
    return status;
}

int journal_open(const struct journal_options *options, struct journal_recovery *recovery,
                 struct journal **opened)
{
    struct journal *journal;
    int status = journal_allocate(options, &journal);
    if (status != 0)
        return status;
    struct journal_recovery found = {0};
    uint64_t start = loop_now(journal->loop);
    status =
        options->backend != NULL ? recover_from_backend(journal, &found) : journal_recover(journal, &found);
    found.duration_ns = loop_now(journal->loop) - start;
    if (status == 0)
        status = journal_start(journal);
    if (status != 0) {
        journal_free(journal);
        return status;
    }
    *recovery = found;
    *opened = journal;
    return 0;
}

int journal_close(struct journal *journal, bool failed)
{
    int status = 0;
    if (!failed) {
        status = journal_commit(journal);
        if (status == 0 && journal->log_bytes > 0)
            journal_snapshot_take(journal); /* one that failed has been logged, and nothing is lost */
    }
    journal->closing = true;
    if (failed && journal->committer != NULL)
        task_cancel(journal->committer);
    if (failed && journal->snapshot_task != NULL)
        task_cancel(journal->snapshot_task);
    journal_wake(journal);
    wait_group_wait(journal->loop, &journal->tasks, 0);
    journal_fail(journal, -ECANCELED);
    wake_waiters(journal);
    journal_free(journal);
    return status;
}

void journal_statistics(const struct journal *journal, struct journal_statistics *statistics)
{
    *statistics = journal->statistics;
    statistics->log_bytes = journal->log_bytes;
}

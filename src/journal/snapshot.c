/* Snapshots.
 *
 * A snapshot begins with a new log: the committer switches to it between two groups. From then on the source
 * goes through its objects, at its own pace, while they change. An object that has not changed since the
 * switch is recorded as it was then; one that has is recorded as it is at some later time, and every change
 * of it is in the new log, too. Replaying the snapshot and then the whole log from the switch on therefore
 * ends in the state at the log's last group, whatever the snapshot caught in between.
 *
 * That holds only if the log does contain all changes that the snapshot caught. So before the snapshot gets
 * its name everything is committed once more.
 *
 *   1. switch: the log of sequence N is empty, and becomes the current one
 *   2. snapshot-N.tmp: header, groups of records, end mark; synchronised
 *   3. commit
 *   4. renamed to snapshot-N; the name is synchronised: recovery now starts here
 *   5. older snapshots are removed; one older log is recycled as the log N + 1, the others are removed
 *
 * A crash before 4 leaves the older snapshot with all logs since, among them N; after it, files that nobody
 * reads. A snapshot that fails is given up: the log goes on, and the next attempt comes when it has grown by
 * another limit.
 *
 * Two groups take turns here, too: one is filled while the other is being written. So a snapshot takes memory
 * for two groups of a fixed size, and is no slower than the device or the source. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/status.h"
#include "journal/state.h"

#define GROUP_BYTES ((size_t)1 << 20)

struct journal_snapshot {
    struct journal *journal;
    struct disk_file *file;
    struct journal_place place;
    char name[JOURNAL_NAME_MAX];
    char temporary[JOURNAL_NAME_MAX];
    uint64_t before;  /* the last group before the switch */
    uint64_t earlier; /* bytes of groups before the switch */
    uint64_t offset;
    int status; /* 0, or the first error */
    struct journal_end written;
    struct journal_group groups[2];
    struct journal_group *open;
    struct journal_group *writing;
    struct iovec vector;
    struct disk_io io;
    bool transferring; /* io is under way, with the bytes of `writing` */
};

/* ---- writing ---- */

static void snapshot_fail(struct journal_snapshot *snapshot, int status)
{
    if (snapshot->status == 0)
        snapshot->status = status;
}

static int snapshot_wait(struct journal_snapshot *snapshot)
{
    if (snapshot->transferring) {
        snapshot->transferring = false;
        ssize_t written = disk_finish(&snapshot->io);
        if (written < 0)
            snapshot_fail(snapshot, (int)written);
        journal_group_clear(snapshot->writing);
    }
    return snapshot->status;
}

/* Sends the open group on its way, after the one before it. */
static int snapshot_send(struct journal_snapshot *snapshot, enum journal_group_kind kind)
{
    if (snapshot_wait(snapshot) != 0)
        return snapshot->status;
    struct journal_group *group = snapshot->open;
    snapshot->open = snapshot->writing;
    snapshot->writing = group;
    snapshot->written.groups += kind == JOURNAL_GROUP_RECORDS;
    uint64_t sequence = snapshot->written.groups + (kind == JOURNAL_GROUP_END);
    snapshot->vector.iov_base = group->bytes;
    snapshot->vector.iov_len = journal_group_seal(group, kind, &snapshot->place, sequence);
    snapshot->io = (struct disk_io){
        .file = snapshot->file,
        .call = DISK_WRITE,
        .vector = &snapshot->vector,
        .count = 1,
        .offset = snapshot->offset,
    };
    snapshot->offset += snapshot->vector.iov_len;
    snapshot->transferring = true;
    disk_start(&snapshot->io);
    return 0;
}

int journal_snapshot_add(struct journal_snapshot *snapshot, const struct journal_record *record)
{
    void *value;
    if (snapshot->status != 0)
        return snapshot->status;
    int status = journal_group_append(snapshot->open, record, &value);
    if (status != 0) {
        snapshot_fail(snapshot, status);
        return status;
    }
    if (record->value_length > 0)
        memcpy(value, record->value, record->value_length);
    snapshot->written.records++;
    if (journal_group_content(snapshot->open) < GROUP_BYTES)
        return 0;
    return snapshot_send(snapshot, JOURNAL_GROUP_RECORDS);
}

static int snapshot_write_header(struct journal_snapshot *snapshot)
{
    const struct journal_file_header header = {
        .kind = JOURNAL_FILE_SNAPSHOT,
        .sequence = snapshot->place.file,
        .salt = snapshot->place.salt,
        .group = snapshot->before,
    };
    /* The first block of a group's memory serves: it is empty. */
    journal_file_header_encode(&header, snapshot->writing->bytes);
    ssize_t written = disk_write(snapshot->file, snapshot->writing->bytes, JOURNAL_BLOCK, 0);
    return written < 0 ? (int)written : 0;
}

static int snapshot_write_records(struct journal_snapshot *snapshot)
{
    const struct journal_source *source = &snapshot->journal->options.source;
    int status = source->snapshot(source->owner, snapshot);
    if (status == 0 && journal_group_content(snapshot->open) > 0)
        status = snapshot_send(snapshot, JOURNAL_GROUP_RECORDS);
    if (status == 0) {
        journal_group_end(snapshot->open, &snapshot->written);
        status = snapshot_send(snapshot, JOURNAL_GROUP_END);
    }
    int last = snapshot_wait(snapshot); /* in any case: nothing may be under way when the memory goes */
    return status != 0 ? status : last;
}

static int snapshot_write(struct journal_snapshot *snapshot)
{
    struct disk *disk = snapshot->journal->disk;
    int status = disk_file_open(disk, snapshot->temporary, DISK_CREATE | DISK_DIRECT, &snapshot->file);
    if (status != 0)
        return status;
    status = disk_file_truncate(snapshot->file, 0);
    if (status == 0)
        status = snapshot_write_header(snapshot);
    if (status == 0)
        status = snapshot_write_records(snapshot);
    if (status == 0)
        status = disk_sync(snapshot->file);
    disk_file_close(snapshot->file);
    return status;
}

static int snapshot_publish(struct journal_snapshot *snapshot)
{
    int status = journal_commit(snapshot->journal);
    if (status == 0)
        status = disk_rename(snapshot->journal->disk, snapshot->temporary, snapshot->name);
    if (status == 0)
        status = disk_sync_names(snapshot->journal->disk, "");
    return status;
}

/* ---- the log ---- */

/* The current log, if nothing was written to it, the spare one, or a new one. */
static int switch_log(struct journal *journal)
{
    if (journal_log_empty(&journal->log))
        return 0;
    struct journal_log next = journal->spare;
    journal->spare = (struct journal_log){0};
    if (next.file == NULL) {
        int status = journal_log_create(journal, journal->log.place.file + 1, 0, &next);
        if (status != 0)
            return status;
    }
    journal_log_close(&journal->log);
    journal->log = next;
    return 0;
}

void journal_switch(struct journal *journal)
{
    int status = journal->status == 0 ? switch_log(journal) : journal->status;
    struct journal_switch *switching = journal->switching;
    if (switching == NULL)
        return; /* its task was cancelled meanwhile */
    journal->switching = NULL;
    switching->sequence = journal->log.place.file;
    switching->group = journal->group;
    switching->bytes = journal->log_bytes;
    completion_fire(&switching->done, status);
}

/* Has the committer switch logs. */
static int snapshot_begin(struct journal_snapshot *snapshot)
{
    struct journal *journal = snapshot->journal;
    struct journal_switch switching = {0};
    if (journal->status != 0)
        return journal->status;
    journal->switching = &switching;
    journal_wake(journal);
    int status = await(journal->loop, &switching.done);
    journal->switching = NULL;
    if (status != 0)
        return status;
    uint64_t sequence = switching.sequence;
    snapshot->place =
        (struct journal_place){.file = sequence, .salt = random_next(loop_random(journal->loop))};
    snapshot->before = switching.group;
    snapshot->earlier = switching.bytes;
    journal_name(snapshot->name, JOURNAL_SNAPSHOT_NAME, sequence, "");
    journal_name(snapshot->temporary, JOURNAL_SNAPSHOT_NAME, sequence, JOURNAL_TEMPORARY);
    return 0;
}

/* Removes what lies before the newest snapshot; the newest of the older logs becomes the next one. */
static void remove_older(struct journal *journal)
{
    char name[JOURNAL_NAME_MAX];
    struct journal_listing listing;
    uint64_t recycled = 0;
    if (journal_list(journal, &listing) != 0) {
        journal_listing_free(&listing);
        return;
    }
    for (size_t i = 0; i < listing.snapshot_count && listing.snapshots[i] < journal->base; i++) {
        journal_name(name, JOURNAL_SNAPSHOT_NAME, listing.snapshots[i], "");
        journal_remove(journal, name);
    }
    for (size_t i = 0; i < listing.log_count && listing.logs[i] < journal->base; i++) {
        bool last = i + 1 == listing.log_count || listing.logs[i + 1] >= journal->base;
        if (last && journal->spare.file == NULL) {
            recycled = listing.logs[i];
            break;
        }
        journal_name(name, JOURNAL_LOG_NAME, listing.logs[i], "");
        journal_remove(journal, name);
    }
    journal_listing_free(&listing);
    if (recycled == 0)
        return;
    uint64_t sequence = journal->log.place.file + 1;
    int status = journal_log_create(journal, sequence, recycled, &journal->spare);
    if (status != 0 && !journal->closing)
        log_warning("journal \"%s\": cannot recycle " JOURNAL_LOG_NAME "%" PRIu64 ": %s",
                    disk_path(journal->disk), recycled, status_text(status));
}

/* ---- taking one ---- */

void journal_snapshot_done(struct journal *journal)
{
    uint64_t growth = journal->options.limit;
    /* Recovery reads the snapshot in any case: a log of half its size makes it half as long again, and limits
     * what is written over and over. */
    if (growth < journal->snapshot_bytes / 2)
        growth = journal->snapshot_bytes / 2;
    journal->snapshot_next = growth;
}

static int snapshot_run(struct journal_snapshot *snapshot)
{
    struct journal *journal = snapshot->journal;
    int status = snapshot_begin(snapshot);
    if (status != 0)
        return status;
    status = snapshot_write(snapshot);
    if (status == 0)
        status = snapshot_publish(snapshot);
    if (status != 0) {
        if (!journal->closing)
            journal_remove(journal, snapshot->temporary);
        return status;
    }
    journal->base = snapshot->place.file;
    journal->log_bytes -= snapshot->earlier;
    journal->snapshot_bytes = snapshot->offset;
    journal->statistics.snapshots++;
    journal_snapshot_done(journal);
    remove_older(journal);
    return 0;
}

static int snapshot_take(struct journal *journal)
{
    struct journal_snapshot snapshot = {.journal = journal, .offset = JOURNAL_BLOCK};
    journal->snapshotting = true;
    snapshot.open = &snapshot.groups[0];
    snapshot.writing = &snapshot.groups[1];
    int status = journal_group_create(snapshot.open);
    if (status == 0)
        status = journal_group_create(snapshot.writing);
    if (status == 0)
        status = snapshot_run(&snapshot);
    journal_group_destroy(&snapshot.groups[0]);
    journal_group_destroy(&snapshot.groups[1]);
    journal->snapshotting = false;
    if (status != 0 && journal->status == 0 && !journal->closing) {
        log_warning("journal \"%s\": no snapshot could be taken: %s. The log grows until one can",
                    disk_path(journal->disk), status_text(status));
        journal->snapshot_next = journal->log_bytes + journal->options.limit;
    }
    return status;
}

int journal_snapshot_take(struct journal *journal)
{
    if (journal->options.backend != NULL)
        return journal_commit(journal); /* it has nothing but the newest values */
    int status = mutex_lock(journal->loop, &journal->snapshot_lock, 0);
    if (status != 0)
        return status;
    status = snapshot_take(journal);
    mutex_unlock(journal->loop, &journal->snapshot_lock);
    return status;
}

static void snapshot_entry(void *argument)
{
    struct journal *journal = argument;
    journal_snapshot_take(journal);
    journal->snapshot_task = NULL;
    journal_wake(journal);
    wait_group_done(journal->loop, &journal->tasks);
}

void journal_snapshot_consider(struct journal *journal)
{
    if (journal->options.backend != NULL || journal->snapshot_task != NULL || journal->status != 0 ||
        journal->closing || journal->snapshotting || journal->log_bytes <= journal->snapshot_next)
        return;
    wait_group_add(&journal->tasks, 1);
    int status = task_spawn_later(journal->loop, snapshot_entry, journal, &journal->snapshot_task);
    if (status != 0)
        wait_group_done(journal->loop, &journal->tasks);
}

/* Recovery: from the files back to records.
 *
 * Files are read once, in large pieces, in the order in which they were written: the newest snapshot, then
 * the logs from the one on that was begun with it. A group is replayed after its checksum has been verified,
 * so the memory it takes is a piece, or the largest group.
 *
 * Where no whole group follows, the log ends. Three things can be the reason. The log ended there: what
 * follows is zeros or of an earlier life. Or the group was being written when the server died: it is cut off,
 * which loses nobody anything, because nobody had been told that it is durable. Or it was damaged later. What
 * tells damage from an end is what comes after it: groups are written one at a time, each after the one
 * before it was durable, so a whole group of this life further on in the file, or in the next one, proves
 * that there was one here. Then recovery refuses to go on and leaves everything as it is: a state without
 * that group was never there. (Damage to the very last group looks like its being cut off.)
 *
 * Only after everything has been replayed does anything change. What has been read may have been written and
 * not be durable yet, the log's last group as well as the name of a snapshot; so both are synchronised before
 * anybody acts on them, and before leftovers are removed. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/status.h"
#include "journal/state.h"

#define PIECE ((size_t)4 << 20)
#define TRANSFER_MAX ((size_t)256 << 20)

/* A file being read. */
struct scan {
    struct journal *journal;
    struct journal_recovery *recovery;
    char name[JOURNAL_NAME_MAX];
    struct disk_file *file;
    struct journal_file_header header;
    struct journal_place place;
    uint64_t size;     /* whole blocks */
    uint64_t offset;   /* of the next group */
    uint64_t expected; /* its sequence */
    bool torn;         /* a group of this file begins there and is not whole */
    /* What has been read: */
    uint8_t *bytes; /* block-aligned */
    size_t capacity;
    uint64_t start; /* offset in the file */
    size_t filled;
};

/* ---- reading ---- */

static int scan_reserve(struct scan *scan, size_t capacity)
{
    if (capacity <= scan->capacity)
        return 0;
    uint8_t *bytes = aligned_alloc(JOURNAL_BLOCK, capacity);
    if (bytes == NULL) {
        log_error("journal \"%s\": no memory for a group of %zu bytes in %s", disk_path(scan->journal->disk),
                  capacity, scan->name);
        return -ENOMEM;
    }
    if (scan->filled > 0)
        memcpy(bytes, scan->bytes, scan->filled);
    free(scan->bytes);
    scan->bytes = bytes;
    scan->capacity = capacity;
    return 0;
}

/* Reads on behind what is there, as much as there is room for. */
static int scan_fill(struct scan *scan)
{
    uint64_t offset = scan->start + scan->filled;
    size_t left = scan->capacity - scan->filled;
    if (left > scan->size - offset)
        left = (size_t)(scan->size - offset);
    while (left > 0) {
        size_t part = left < TRANSFER_MAX ? left : TRANSFER_MAX;
        ssize_t got = disk_read(scan->file, scan->bytes + scan->filled, part, offset);
        if (got >= 0 && (size_t)got < part)
            got = -EIO; /* the file has become shorter */
        if (got < 0) {
            log_error("journal \"%s\": cannot read %zu bytes at offset %" PRIu64 " of %s: %s",
                      disk_path(scan->journal->disk), part, offset, scan->name, status_text((int)got));
            return (int)got;
        }
        scan->filled += part;
        offset += part;
        left -= part;
    }
    return 0;
}

/* Sets *bytes to the file's [offset, offset + length), which it has: whole blocks. Offsets never fall. */
static int scan_get(struct scan *scan, uint64_t offset, size_t length, const uint8_t **bytes)
{
    uint64_t end = scan->start + scan->filled;
    if (offset + length > end) {
        size_t kept = offset < end ? (size_t)(end - offset) : 0;
        if (kept > 0)
            memmove(scan->bytes, scan->bytes + (offset - scan->start), kept);
        scan->start = offset;
        scan->filled = kept;
        int status = scan_reserve(scan, length > PIECE ? length : PIECE);
        if (status == 0)
            status = scan_fill(scan);
        if (status != 0)
            return status;
    }
    *bytes = scan->bytes + (offset - scan->start);
    return 0;
}

static int scan_damaged(const struct scan *scan, uint64_t offset, const char *what)
{
    log_error("journal \"%s\": %s is damaged at offset %" PRIu64
              ": %s. Nothing has been changed. Restore the directory from a copy",
              disk_path(scan->journal->disk), scan->name, offset, what);
    return -EBADMSG;
}

static int scan_header(struct scan *scan, enum journal_file_kind kind, uint64_t sequence)
{
    const uint8_t *block;
    if (scan->size < JOURNAL_BLOCK)
        return scan_damaged(scan, 0, "it is too short for a header");
    int status = scan_get(scan, 0, JOURNAL_BLOCK, &block);
    if (status != 0)
        return status;
    status = journal_file_header_decode(block, kind, sequence, &scan->header);
    if (status == -EPROTONOSUPPORT)
        log_error("journal \"%s\": %s is of another version than this program's, %d: use the program that "
                  "wrote it",
                  disk_path(scan->journal->disk), scan->name, JOURNAL_VERSION);
    else if (status != 0)
        return scan_damaged(scan, 0, "its header makes no sense");
    scan->place = (struct journal_place){.file = sequence, .salt = scan->header.salt};
    return status;
}

static int scan_open(struct scan *scan, enum journal_file_kind kind, uint64_t sequence)
{
    journal_name(scan->name, kind == JOURNAL_FILE_LOG ? JOURNAL_LOG_NAME : JOURNAL_SNAPSHOT_NAME, sequence,
                 "");
    scan->start = 0;
    scan->filled = 0;
    scan->torn = false;
    scan->offset = JOURNAL_BLOCK;
    int status = disk_file_open(scan->journal->disk, scan->name, DISK_DIRECT, &scan->file);
    if (status == 0)
        status = disk_file_size(scan->file, &scan->size);
    if (status != 0) {
        log_error("journal \"%s\": cannot open %s: %s", disk_path(scan->journal->disk), scan->name,
                  status_text(status));
        return status;
    }
    scan->size -= scan->size % JOURNAL_BLOCK;
    return scan_header(scan, kind, sequence);
}

static void scan_close(struct scan *scan)
{
    if (scan->file != NULL)
        disk_file_close(scan->file);
    scan->file = NULL;
}

/* ---- groups ---- */

/* The whole group at offset: 0, its header, bytes and size; -ENOENT: there is none (*torn: one begins);
 * -errno. */
static int scan_group(struct scan *scan, uint64_t offset, const uint8_t **bytes, size_t *size,
                      struct journal_group_header *header, bool *torn)
{
    *torn = false;
    if (scan->size - offset < JOURNAL_BLOCK)
        return -ENOENT;
    int status = scan_get(scan, offset, JOURNAL_BLOCK, bytes);
    if (status == 0)
        status = journal_group_peek(*bytes, scan->size - offset, &scan->place, size);
    if (status == 0)
        status = scan_get(scan, offset, *size, bytes);
    if (status != 0)
        return status;
    *torn = journal_group_verify(*bytes, *size, header) != 0;
    return *torn ? -ENOENT : 0;
}

static int replay_records(struct scan *scan, const uint8_t *bytes, const struct journal_group_header *header,
                          uint64_t *records)
{
    const struct journal_source *source = &scan->journal->options.source;
    const uint8_t *first = bytes + sizeof(*header);
    struct journal_record record;
    size_t at = 0;
    uint32_t count = 0;
    int status;
    while ((status = journal_group_take(first, header->length, &at, &record)) == 1) {
        count++;
        record.logged = records == &scan->recovery->log_records;
        status = source->replay(source->owner, &record);
        if (status != 0)
            break;
    }
    *records += count;
    if (status == -EBADMSG)
        return scan_damaged(scan, scan->offset, "a record makes no sense");
    if (status == 0 && count != header->records)
        return scan_damaged(scan, scan->offset, "a group has another number of records than it says");
    return status;
}

/* The last of a log's groups has been read: whether what follows was never there, or is damaged. */
static int check_end(struct scan *scan)
{
    for (uint64_t offset = scan->offset + JOURNAL_BLOCK; offset < scan->size; offset += JOURNAL_BLOCK) {
        const uint8_t *bytes;
        struct journal_group_header header;
        size_t size;
        bool torn;
        int status = scan_group(scan, offset, &bytes, &size, &header, &torn);
        if (status == 0)
            return scan_damaged(scan, scan->offset, "a group is missing, and there are later ones");
        if (status != -ENOENT)
            return status;
    }
    return 0;
}

/* Replays a log's groups, as far as they go. */
static int replay_log(struct scan *scan)
{
    for (;;) {
        const uint8_t *bytes;
        struct journal_group_header header;
        size_t size;
        int status = scan_group(scan, scan->offset, &bytes, &size, &header, &scan->torn);
        if (status == -ENOENT)
            return check_end(scan);
        if (status != 0)
            return status;
        if (header.sequence != scan->expected)
            return scan_damaged(scan, scan->offset, "groups before this one are missing");
        if (header.kind != JOURNAL_GROUP_RECORDS)
            return scan_damaged(scan, scan->offset, "an end mark in a log");
        status = replay_records(scan, bytes, &header, &scan->recovery->log_records);
        if (status != 0)
            return status;
        scan->expected++;
        scan->offset += size;
        scan->recovery->groups++;
    }
}

static int replay_snapshot(struct scan *scan)
{
    uint64_t records = 0;
    struct journal_end end;
    for (scan->expected = 1;; scan->expected++) {
        const uint8_t *bytes;
        struct journal_group_header header;
        size_t size;
        int status = scan_group(scan, scan->offset, &bytes, &size, &header, &scan->torn);
        if (status == -ENOENT)
            return scan_damaged(scan, scan->offset, "the snapshot ends before its end mark");
        if (status != 0)
            return status;
        if (header.sequence != scan->expected)
            return scan_damaged(scan, scan->offset, "groups before this one are missing");
        if (header.kind != JOURNAL_GROUP_RECORDS) {
            if (journal_group_end_read(bytes, &header, &end) != 0)
                return scan_damaged(scan, scan->offset, "the end mark makes no sense");
            break;
        }
        status = replay_records(scan, bytes, &header, &records);
        if (status != 0)
            return status;
        scan->offset += size;
    }
    if (end.records != records || end.groups != scan->expected - 1)
        return scan_damaged(scan, scan->offset, "the end mark counts other records than there are");
    scan->recovery->snapshot_records = records;
    scan->recovery->bytes += scan->offset;
    return 0;
}

/* ---- files ---- */

/* Reads the newest snapshot, if there is one. */
static int recover_snapshot(struct scan *scan, const struct journal_listing *listing)
{
    struct journal *journal = scan->journal;
    journal->base = 1;
    if (listing->snapshot_count == 0)
        return 0;
    journal->base = listing->snapshots[listing->snapshot_count - 1];
    int status = scan_open(scan, JOURNAL_FILE_SNAPSHOT, journal->base);
    if (status == 0)
        status = replay_snapshot(scan);
    if (status == 0) {
        journal->group = scan->header.group;
        journal->snapshot_bytes = scan->offset;
    }
    scan_close(scan);
    return status;
}

/* What has been read of a log: it becomes the current one, or, if nothing was ever written to it, the one
 * that is prepared. */
static void log_read(struct scan *scan)
{
    struct journal *journal = scan->journal;
    const struct journal_log log = {
        .file = scan->file, .place = scan->place, .offset = scan->offset, .size = scan->size};
    if (journal->log.file != NULL && journal_log_empty(&log)) {
        if (journal->spare.file == NULL) {
            journal->spare = log;
            scan->file = NULL;
        }
        scan_close(scan);
        return;
    }
    scan->file = NULL;
    journal_log_close(&journal->spare);
    journal_log_close(&journal->log);
    journal->log = log;
    journal->group = scan->expected - 1;
    scan->recovery->torn = scan->torn;
}

static int recover_logs(struct scan *scan, const struct journal_listing *listing)
{
    struct journal *journal = scan->journal;
    size_t first = 0;
    while (first < listing->log_count && listing->logs[first] < journal->base)
        first++;
    uint64_t sequence = journal->base;
    scan->expected = journal->group + 1;
    for (size_t i = first; i < listing->log_count || i == first; i++, sequence++) {
        if (i == listing->log_count || listing->logs[i] != sequence) {
            log_error("journal \"%s\": " JOURNAL_LOG_NAME "%" PRIu64
                      " is missing. Nothing has been changed. Restore the directory from a copy",
                      disk_path(journal->disk), sequence);
            return -EBADMSG;
        }
        int status = scan_open(scan, JOURNAL_FILE_LOG, sequence);
        if (status == 0)
            status = replay_log(scan);
        if (status != 0) {
            scan_close(scan);
            return status;
        }
        journal->log_bytes += scan->offset - JOURNAL_BLOCK;
        log_read(scan);
    }
    scan->recovery->bytes += journal->log_bytes;
    return 0;
}

/* Removes what nobody needs: leftovers of what was being made, and what lies before the snapshot or behind
 * the newest log. */
static void remove_leftovers(struct journal *journal, const struct journal_listing *listing)
{
    char name[JOURNAL_NAME_MAX];
    uint64_t last = journal->spare.file != NULL ? journal->spare.place.file : journal->log.place.file;
    for (size_t i = 0; i < listing->temporary_count; i++)
        journal_remove(journal, listing->temporary[i]);
    for (size_t i = 0; i < listing->snapshot_count; i++) {
        journal_name(name, JOURNAL_SNAPSHOT_NAME, listing->snapshots[i], "");
        if (listing->snapshots[i] < journal->base)
            journal_remove(journal, name);
    }
    for (size_t i = 0; i < listing->log_count; i++) {
        journal_name(name, JOURNAL_LOG_NAME, listing->logs[i], "");
        if (listing->logs[i] < journal->base || listing->logs[i] > last)
            journal_remove(journal, name);
    }
}

/* Everything has been replayed. What was read lasts from now on, also the names: only then may files go that
 * they made superfluous. */
static int recover_finish(struct journal *journal, const struct journal_listing *listing)
{
    bool new = journal->log.file == NULL;
    int status = new ? 0 : disk_sync(journal->log.file);
    if (status == 0)
        status = disk_sync_names(journal->disk, "");
    if (status == 0)
        remove_leftovers(journal, listing);
    if (status == 0 && new)
        status = journal_log_create(journal, 1, 0, &journal->log);
    if (status != 0)
        log_error("journal \"%s\": cannot %s " JOURNAL_LOG_NAME "%" PRIu64 ": %s", disk_path(journal->disk),
                  new ? "make" : "synchronise", new ? 1 : journal->log.place.file, status_text(status));
    return status;
}

int journal_recover(struct journal *journal, struct journal_recovery *recovery)
{
    struct journal_listing listing;
    struct scan scan = {.journal = journal, .recovery = recovery};
    int status = journal_list(journal, &listing);
    if (status == 0)
        status = recover_snapshot(&scan, &listing);
    if (status == 0 && listing.log_count + listing.snapshot_count > 0)
        status = recover_logs(&scan, &listing);
    free(scan.bytes);
    journal_snapshot_done(journal);
    if (status == 0)
        status = recover_finish(journal, &listing);
    journal_listing_free(&listing);
    return status;
}

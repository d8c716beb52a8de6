/* Log files.
 *
 * A group is to cost one write and one synchronisation that has nothing to do but to empty the device's
 * cache. For that the blocks must be there and have been written: on most file systems, writing to blocks
 * that are only reserved changes the file's metadata, which costs another write, to the file system's own
 * journal. So a log is extended by many blocks of zeros at a time, together with a group, and logs that
 * are no longer needed are recycled: they become the next log under another name, with their size and blocks.
 *
 * A log is always one extension longer than what was written to it. When the device is full, that much can
 * still be recorded: above all what is removed, which is how room comes about. Only then may a group not be
 * written, and as nothing of it counts before it is whole, it can be written later (journal.c).
 *
 * A log is made under a temporary name, and gets its own once its header is durable. So a log with a proper
 * name always has a header. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/status.h"
#include "journal/state.h"

enum { ZEROS_BYTES = 256 * 1024, VECTOR_MAX = 64 };
#define TRANSFER_MAX ((size_t)256 << 20)
#define EXTENSION_MIN ((uint64_t)64 << 10)
#define EXTENSION_MAX ((uint64_t)4 << 20)
static_assert(2 * EXTENSION_MAX / ZEROS_BYTES < VECTOR_MAX - 2, "an extension and the reserve are one write");

static uint8_t zeros[ZEROS_BYTES] __attribute__((aligned(JOURNAL_BLOCK)));

/* ---- names ---- */

void journal_name(char name[JOURNAL_NAME_MAX], const char *prefix, uint64_t sequence, const char *suffix)
{
    snprintf(name, JOURNAL_NAME_MAX, "%s%" PRIu64 "%s", prefix, sequence, suffix);
}

/* "journal-12" or "journal-12.tmp": the sequence; 0: the name is not of that form. */
static uint64_t name_sequence(const char *name, const char *prefix, bool *temporary)
{
    size_t length = strlen(prefix);
    char again[JOURNAL_NAME_MAX];
    if (strncmp(name, prefix, length) != 0)
        return 0;
    uint64_t sequence = strtoull(name + length, NULL, 10);
    journal_name(again, prefix, sequence, "");
    *temporary = false;
    if (strcmp(name, again) == 0)
        return sequence;
    journal_name(again, prefix, sequence, JOURNAL_TEMPORARY);
    *temporary = true;
    return strcmp(name, again) == 0 ? sequence : 0;
}

/* ---- listing ---- */

/* Room for one more element of an array that has a power of two of them, or a little less. */
static int array_grow(void **array, size_t count, size_t size)
{
    if ((count & (count - 1)) != 0)
        return 0;
    void *grown = realloc(*array, (count == 0 ? 1 : 2 * count) * size);
    if (grown == NULL)
        return -ENOMEM;
    *array = grown;
    return 0;
}

static int listing_add(uint64_t **array, size_t *count, uint64_t sequence)
{
    int status = array_grow((void **)array, *count, sizeof(**array));
    if (status == 0)
        (*array)[(*count)++] = sequence;
    return status;
}

static int listing_visit(void *owner, const char *name, bool is_directory)
{
    struct journal_listing *listing = owner;
    bool temporary = false;
    if (is_directory)
        return 0;
    uint64_t log = name_sequence(name, JOURNAL_LOG_NAME, &temporary);
    uint64_t snapshot = log == 0 ? name_sequence(name, JOURNAL_SNAPSHOT_NAME, &temporary) : 0;
    if (log == 0 && snapshot == 0)
        return 0;
    if (!temporary)
        return log != 0 ? listing_add(&listing->logs, &listing->log_count, log)
                        : listing_add(&listing->snapshots, &listing->snapshot_count, snapshot);
    int status =
        array_grow((void **)&listing->temporary, listing->temporary_count, sizeof(listing->temporary[0]));
    if (status == 0)
        strcpy(listing->temporary[listing->temporary_count++], name);
    return status;
}

static int compare_sequences(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

int journal_list(struct journal *journal, struct journal_listing *listing)
{
    *listing = (struct journal_listing){0};
    int status = disk_list(journal->disk, "", listing_visit, listing);
    if (status != 0) {
        log_error("journal \"%s\": cannot list: %s", disk_path(journal->disk), status_text(status));
        return status;
    }
    if (listing->log_count > 0)
        qsort(listing->logs, listing->log_count, sizeof(uint64_t), compare_sequences);
    if (listing->snapshot_count > 0)
        qsort(listing->snapshots, listing->snapshot_count, sizeof(uint64_t), compare_sequences);
    return 0;
}

void journal_listing_free(struct journal_listing *listing)
{
    free(listing->logs);
    free(listing->snapshots);
    free(listing->temporary);
    *listing = (struct journal_listing){0};
}

void journal_remove(struct journal *journal, const char *name)
{
    int status = disk_unlink(journal->disk, name);
    if (status != 0 && status != -ENOENT)
        log_warning("journal \"%s\": cannot remove %s, which is no longer needed: %s",
                    disk_path(journal->disk), name, status_text(status));
}

/* ---- logs ---- */

/* By how much a log grows at a time: little where logs are meant to stay small. */
static uint64_t log_extension(const struct journal *journal)
{
    uint64_t extension = journal->options.limit / 16 / EXTENSION_MIN * EXTENSION_MIN;
    if (extension < EXTENSION_MIN)
        return EXTENSION_MIN;
    return extension < EXTENSION_MAX ? extension : EXTENSION_MAX;
}

/* What a recycled log keeps of its size: one that has grown beyond its limit did so for once. */
static uint64_t log_size_kept(const struct journal *journal)
{
    return (journal->options.limit / JOURNAL_BLOCK + 2) * JOURNAL_BLOCK + 2 * log_extension(journal);
}

/* The size to which the log is to be extended so that it has a reserve behind `end`. */
static uint64_t log_size_wanted(const struct journal *journal, const struct journal_log *log, uint64_t end)
{
    uint64_t extension = log_extension(journal);
    return end + extension <= log->size ? log->size : (end + 2 * extension - 1) / extension * extension;
}

/* Adds zeros to a vector of `count` elements. */
static uint32_t zeros_add(struct iovec *vector, uint32_t count, uint64_t bytes)
{
    for (; bytes > 0; count++) {
        size_t part = bytes < ZEROS_BYTES ? (size_t)bytes : ZEROS_BYTES;
        vector[count] = (struct iovec){.iov_base = zeros, .iov_len = part};
        bytes -= part;
    }
    return count;
}

/* Writes at offset, and zeros behind it up to size, which is the log's or more. */
static int log_transfer(struct journal_log *log, const void *bytes, size_t length, uint64_t offset,
                        uint64_t size)
{
    for (; length > TRANSFER_MAX; length -= TRANSFER_MAX, offset += TRANSFER_MAX) {
        ssize_t written = disk_write(log->file, bytes, TRANSFER_MAX, offset);
        if (written < 0)
            return (int)written;
        bytes = (const uint8_t *)bytes + TRANSFER_MAX;
    }
    struct iovec vector[VECTOR_MAX] = {{.iov_base = (void *)(uintptr_t)bytes, .iov_len = length}};
    uint32_t count = zeros_add(vector, 1, size > log->size ? size - (offset + length) : 0);
    struct disk_io io = {
        .file = log->file, .call = DISK_WRITE, .vector = vector, .count = count, .offset = offset};
    disk_start(&io);
    ssize_t written = disk_finish(&io);
    if (written < 0)
        return (int)written;
    log->size = size;
    return 0;
}

/* Writes within the log, and at the same time zeros from its end up to size. The first failure; -ENOSPC where
 * only the zeros found no room: `written` tells. */
static int log_transfer_both(struct journal_log *log, const void *bytes, size_t length, uint64_t size,
                             bool *written)
{
    struct iovec one = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = length}, more[VECTOR_MAX];
    struct disk_io group = {
        .file = log->file, .call = DISK_WRITE, .vector = &one, .count = 1, .offset = log->offset};
    struct disk_io extension = {.file = log->file,
                                .call = DISK_WRITE,
                                .vector = more,
                                .count = zeros_add(more, 0, size - log->size),
                                .offset = log->size};
    disk_start(&group);
    disk_start(&extension);
    ssize_t status = disk_finish(&group), extended = disk_finish(&extension);
    *written = status >= 0;
    if (status >= 0)
        status = extended;
    if (status >= 0)
        log->size = size;
    return status < 0 ? (int)status : 0;
}

/* There is no room for a reserve behind the log, or there is again. */
static void set_tight(struct journal *journal, bool tight)
{
    if (tight && !journal->tight)
        log_warning("journal \"%s\": the device is full: room for %" PRIu64
                    " more bytes of records is kept for what is removed, what adds something fails",
                    disk_path(journal->disk), journal->log.size - journal->log.offset);
    else if (!tight && journal->tight)
        log_info("journal \"%s\": the device has room again", disk_path(journal->disk));
    journal->tight = tight;
}

/* So much of that as there is room for, where the reserve has been touched: whatever a removal has given back
 * to the device is room for the next one. */
static uint64_t log_size_possible(const struct journal *journal, uint64_t wanted)
{
    const struct journal_log *log = &journal->log;
    uint64_t available, total;
    if (!journal->tight || disk_space(journal->disk, &available, &total) != 0)
        return wanted;
    uint64_t more = available / JOURNAL_BLOCK * JOURNAL_BLOCK;
    return wanted - log->size < more ? wanted : log->size + more;
}

/* Writes at the log's end and keeps the reserve; into the reserve, if there is no room for more. */
static int log_append(struct journal *journal, const void *bytes, size_t length)
{
    struct journal_log *log = &journal->log;
    uint64_t end = log->offset + length, wanted = log_size_wanted(journal, log, end);
    uint64_t size = log_size_possible(journal, wanted);
    bool written = false;
    if (size < end)
        return -ENOSPC;
    int status = size > log->size && end <= log->size && length <= TRANSFER_MAX
                     ? log_transfer_both(log, bytes, length, size, &written)
                     : log_transfer(log, bytes, length, log->offset, size);
    if (status == 0 || status == -ENOSPC)
        set_tight(journal, status != 0 || size < wanted);
    return written && status == -ENOSPC ? 0 : status;
}

void journal_log_extend(struct journal *journal)
{
    /* Behind the last group there is nothing: no group, and so are zeros. What fails will fail again. */
    log_append(journal, zeros, JOURNAL_BLOCK);
}

int journal_log_write(struct journal *journal, const void *bytes, size_t size)
{
    struct journal_log *log = &journal->log;
    const char *what = "write";
    int status = log_append(journal, bytes, size);
    if (status == -ENOSPC)
        return status;
    if (status == 0 && journal->options.synchronise) {
        what = "synchronise";
        status = disk_sync(log->file);
    }
    if (status != 0) {
        if (!journal->closing)
            log_error("journal \"%s\": cannot %s %zu bytes at offset %" PRIu64 " of " JOURNAL_LOG_NAME
                      "%" PRIu64 ": %s; nothing can be made durable any more",
                      disk_path(journal->disk), what, size, log->offset, log->place.file,
                      status_text(status));
        return status;
    }
    log->offset += size;
    return 0;
}

/* Fills the header of a file that still has its temporary name, and gives it its own. */
static int log_prepare(struct journal *journal, const char *temporary, struct journal_log *log)
{
    static const uint8_t none[JOURNAL_BLOCK];
    uint8_t *block = aligned_alloc(JOURNAL_BLOCK, JOURNAL_BLOCK);
    if (block == NULL)
        return -ENOMEM;
    memcpy(block, none, sizeof(none));
    const struct journal_file_header header = {
        .kind = JOURNAL_FILE_LOG, .sequence = log->place.file, .salt = log->place.salt};
    journal_file_header_encode(&header, block);
    uint64_t size = log_size_wanted(journal, log, JOURNAL_BLOCK);
    int status = log_transfer(log, block, JOURNAL_BLOCK, 0, size);
    if (status == -ENOSPC && log->size >= JOURNAL_BLOCK) /* a recycled one needs no more for now */
        status = log_transfer(log, block, JOURNAL_BLOCK, 0, log->size);
    free(block);
    if (status == 0)
        status = disk_sync(log->file);
    char name[JOURNAL_NAME_MAX];
    journal_name(name, JOURNAL_LOG_NAME, log->place.file, "");
    if (status == 0)
        status = disk_rename(journal->disk, temporary, name);
    if (status == 0)
        status = disk_sync_names(journal->disk, "");
    return status;
}

int journal_log_create(struct journal *journal, uint64_t sequence, uint64_t recycled, struct journal_log *log)
{
    char old[JOURNAL_NAME_MAX], temporary[JOURNAL_NAME_MAX];
    struct journal_log made = {
        .place = {.file = sequence, .salt = random_next(loop_random(journal->loop))},
        .offset = JOURNAL_BLOCK,
    };
    journal_name(old, JOURNAL_LOG_NAME, recycled, "");
    journal_name(temporary, JOURNAL_LOG_NAME, sequence, JOURNAL_TEMPORARY);
    int status = recycled != 0 ? disk_rename(journal->disk, old, temporary) : 0;
    if (status == 0)
        status = disk_file_open(journal->disk, temporary, DISK_CREATE | DISK_DIRECT, &made.file);
    if (status == 0)
        status = disk_file_size(made.file, &made.size);
    if (status == 0 && made.size > log_size_kept(journal)) {
        made.size = log_size_kept(journal);
        status = disk_file_truncate(made.file, made.size);
    }
    made.size -= made.size % JOURNAL_BLOCK;
    if (status == 0)
        status = log_prepare(journal, temporary, &made);
    if (status == 0)
        *log = made;
    else
        journal_log_close(&made);
    return status;
}

void journal_log_close(struct journal_log *log)
{
    if (log->file != NULL)
        disk_file_close(log->file);
    *log = (struct journal_log){0};
}

/* The journal of one server: what makes its namespace and chunk maps last.
 *
 * A record says what became of one object: (kind, key) now has this value, or is gone. A later record of the
 * same object supersedes the earlier one, so replaying records twice, or from any earlier point, does no
 * harm. The journal does not know what the objects mean.
 *
 * Records are appended in memory. The committer, a task of the journal's own, from time to time cuts: all
 * records so far become one group, which is written with a checksum in one piece and synchronised. After a
 * crash a group is there as a whole or not at all. So records that are appended without suspending in between
 * stand or fall together, and groups are lost from the end only.
 *
 * When the log has grown to its limit, a snapshot is written beside it: records of all objects, taken while
 * changes go on. Recovery replays the newest whole snapshot and then every group since that snapshot began;
 * because of the rule above the result is the state at the last group. Then the log before it is recycled.
 *
 * A full device does not end it. The log has a reserve of a few MiB; once that is touched, journal_room says
 * -ENOSPC to all who would add something, while removals are still recorded. If the reserve is used up as
 * well, commits answer -ENOSPC and their records stay in memory until the device has room. A backend keeps a
 * reserve of its own (room), and its -ENOSPC means the same: the group is handed to it again.
 *
 * File formats, names and versions: journal/format.h. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "runtime/disk.h"

/* Kinds of objects, with their keys. Values belong to whoever records them. On disk: never renumber.
 * KIND(number, NAME, key) */
#define JOURNAL_KINDS(KIND)                                                                                  \
    KIND(1, DENTRY, "parent u64, hash u64, name")                                                            \
    KIND(2, DIRECTORY, "inode u64")                                                                          \
    KIND(3, INODE, "inode u64")                                                                              \
    KIND(4, INLINE, "inode u64")                                                                             \
    KIND(5, XATTR, "inode u64, name")                                                                        \
    KIND(6, COUNTER, "partition u32")                                                                        \
    KIND(7, CHUNK, "inode u64, index u64")                                                                   \
    KIND(8, STORE, "the engine's own")                                                                       \
    KIND(9, INTENT, "transaction u64")                                                                       \
    KIND(10, APPLIED, "transaction u64")                                                                     \
    KIND(11, PIN, "inode u64")                                                                               \
    KIND(12, FAST_CHUNK, "as CHUNK, of the engine tiered's fast one")                                        \
    KIND(13, FAST_STORE, "as STORE, of the engine tiered's fast one")                                        \
    KIND(14, PROMOTION, "inode u64, index u64")

enum journal_kind {
#define KIND(number, name, key) JOURNAL_##name = (number),
    JOURNAL_KINDS(KIND)
#undef KIND
};

#define JOURNAL_KEY_MAX 512u
#define JOURNAL_VALUE_MAX (1u << 20)

struct journal_record {
    uint8_t kind;
    bool removed;       /* the object is gone; there is no value */
    bool logged;        /* in recovery: newer than the snapshot; from a backend: of the last minutes */
    uint16_t partition; /* of the object: so that a partition can be extracted by its records */
    uint32_t key_length;
    uint32_t value_length;
    const void *key;
    const void *value;
};

struct journal;
struct journal_snapshot;

/* What the journal asks of the server. */
struct journal_source {
    void *owner;
    /* Appends records of all that has changed without being recorded yet; called when a group is cut. Never
     * suspends. */
    void (*collect)(void *owner);
    /* Brings to the device what the group's records refer to; called between cut and write. May suspend. */
    int (*flush)(void *owner);
    /* Every record before that position is durable. Never suspends. */
    void (*committed)(void *owner, uint64_t position);
    /* Records every object by journal_snapshot_add; changes go on meanwhile. May suspend. */
    int (*snapshot)(void *owner, struct journal_snapshot *snapshot);
    /* Recovery: one record. < 0 ends it: -EBADMSG for a record that makes no sense. Never suspends. */
    int (*replay)(void *owner, const struct journal_record *record);
};

/* Where groups go instead of the journal's own files: a storage engine that is a key-value store can keep the
 * newest value of each object itself, and then there are no snapshots. */
struct journal_backend {
    void *owner;
    /* Calls take for every object. May suspend. */
    int (*replay)(void *owner, int (*take)(void *taker, const struct journal_record *record), void *taker);
    /* Makes all records of a group durable (synchronise: or only written) as one. They are read by
     * journal_group_next. May suspend. */
    int (*write)(void *owner, const void *group, size_t length, bool synchronise);
    /* 0, or -ENOSPC: what room there is left is for records that make room. NULL: nobody can tell. Never
     * suspends. */
    int (*room)(void *owner);
};
/* The records of a group in memory, from *at = 0 on; false: no more. */
bool journal_group_next(const void *group, size_t length, size_t *at, struct journal_record *record);

struct journal_options {
    struct loop *loop;
    struct disk *disk;
    const struct journal_backend *backend; /* NULL: files on the disk */
    struct journal_source source;
    uint64_t interval_ns; /* a group is cut so long after its first record at the latest; 0: only on demand */
    uint64_t limit;   /* bytes of log after which a snapshot is taken, or half the bytes of the last one if
                         that is more: bounds recovery */
    uint64_t buffer;  /* bytes of records in memory after which journal_throttle waits; 0: 64 MiB */
    bool synchronise; /* false: groups are written and not synchronised (for measuring) */
};

struct journal_recovery {
    uint64_t snapshot_records;
    uint64_t log_records;
    uint64_t groups;
    uint64_t bytes;
    uint64_t duration_ns;
    bool torn; /* an incomplete group at the end was cut off: the server had not ended by itself */
};

struct journal_statistics {
    uint64_t records;
    uint64_t groups;
    uint64_t bytes;     /* of groups, since the start */
    uint64_t log_bytes; /* that a recovery now would replay */
    uint64_t snapshots;
    uint64_t waiters; /* journal_commit calls that found their group by others' cut: records / groups tells
                         the batch */
};

/* Opens what the disk holds (nothing: an empty journal), replaying it into the source. Checks every checksum.
 * -EBADMSG: damaged in the middle, not at the end (logged, with file and offset); -EPROTONOSUPPORT: another
 * version of the format; -EIO and others from the disk; what replay returned. Then nothing has been changed
 * on the disk, unless it was the disk that failed. May suspend. */
int journal_open(const struct journal_options *options, struct journal_recovery *recovery,
                 struct journal **journal);
/* Commits everything, takes a snapshot so that the next start is quick, and frees; returns as journal_commit
 * (a snapshot that fails loses nothing, and is logged). failed: frees only, and cancels what is under way.
 * May suspend. */
int journal_close(struct journal *journal, bool failed);

/* Appends one record and returns where its value is to be written (value_length bytes, until the next call of
 * the journal; 8-byte aligned), NULL for a removal. Out of memory the journal fails: later commits answer
 * -ENOMEM, and the returned memory is a dummy. Never suspends. */
void *journal_append(struct journal *journal, enum journal_kind kind, uint32_t partition, const void *key,
                     uint32_t key_length, uint32_t value_length);
void journal_append_removal(struct journal *journal, enum journal_kind kind, uint32_t partition,
                            const void *key, uint32_t key_length);
/* Something has changed that collect will record: so the interval begins to run. */
void journal_touch(struct journal *journal);

/* Position behind all that was appended or touched so far. */
uint64_t journal_position(const struct journal *journal);
/* All before this position are durable. */
uint64_t journal_committed(const struct journal *journal);
/* Waits until everything appended or touched so far is durable; many waiters share a group. 0, or the first
 * error that the journal met: it stays failed from then on, since what was lost in between could be missed by
 * nobody; -ENOSPC: the device is full, what was appended is not lost, a later commit may succeed;
 * -ECANCELED: the task was cancelled, the group is written all the same. May suspend. */
int journal_commit(struct journal *journal);
/* Waits while too much is in memory. -ENOSPC: it cannot be written at the time. May suspend. */
int journal_throttle(struct journal *journal);
/* 0, or -ENOSPC: the device is full, and what room the log has is for records that make room. To be asked by
 * whoever is about to add something, before anything changes. Never suspends. */
int journal_room(struct journal *journal);
/* journal_room, then journal_throttle. May suspend. */
int journal_admit(struct journal *journal);
/* 0, or why nothing can be made durable any more. */
int journal_status(const struct journal *journal);

/* Takes a snapshot now. May suspend. */
int journal_snapshot_take(struct journal *journal);
/* Adds a record; as journal_append, but may suspend. 0 or -errno. */
int journal_snapshot_add(struct journal_snapshot *snapshot, const struct journal_record *record);

void journal_statistics(const struct journal *journal, struct journal_statistics *statistics);

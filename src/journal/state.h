/* The journal's state, and what its parts call of each other. Internal to journal/.
 *
 *   group.c     groups and headers in memory
 *   files.c     names; a log's life: made, written, recycled
 *   journal.c   appending, the committer, waiting for it
 *   recovery.c  from files back to records
 *   snapshot.c  snapshots, and what becomes of the files before them
 *
 * While the server runs, the committer alone writes to logs, and only between two of its groups does another
 * log become the current one. */
#pragma once

#include "base/list.h"
#include "journal/group.h"
#include "journal/journal.h"
#include "runtime/sync.h"

/* A log file that is open. */
struct journal_log {
    struct disk_file *file; /* NULL: there is none */
    struct journal_place place;
    uint64_t offset; /* where the next group goes */
    uint64_t size;   /* below it blocks have been written before, so that writing them changes nothing of the
                        file but its bytes */
};

/* A snapshot's wish for a new log; where the old one ended. */
struct journal_switch {
    struct completion done;
    uint64_t sequence; /* of the new log */
    uint64_t group;    /* the last one before it */
    uint64_t bytes;    /* of the groups before it that a recovery would replay */
};

struct journal {
    struct journal_options options;
    struct loop *loop;
    struct disk *disk;
    int status; /* 0, or the first error */
    bool closing;

    /* Appending: one group grows while the other is being written. */
    struct journal_group groups[2];
    struct journal_group *open;
    struct journal_group *writing;
    uint64_t position; /* counts what was appended or touched */
    uint64_t cut;      /* of the last group that was cut */
    uint64_t committed;

    /* The committer. */
    bool wanted;             /* a group is to be cut */
    struct completion *idle; /* it waits for something to do */
    bool counting;           /* the interval is running: */
    struct timer interval;   /* since the first change after a cut */
    struct list waiters;     /* of journal_commit, in the order of their positions */
    struct wait_queue room;  /* of journal_throttle */

    /* Gathering commits before a cut. */
    struct completion *gathering; /* the committer waits for more of them */
    uint32_t waiting;             /* tasks in journal_commit */
    uint32_t expected;            /* that will probably be there soon */
    uint32_t missed;              /* after they were not: groups to be cut without waiting, next time */
    uint32_t skip;                /* and this time still */
    uint64_t duration;            /* of the last group, ns */

    struct wait_group tasks; /* of the journal's own */
    struct task *committer;

    /* Files; unused with a backend. */
    struct journal_log log;   /* groups go there */
    struct journal_log spare; /* the next one, prepared */
    uint64_t group;           /* sequence of the last group */
    uint64_t base;            /* recovery starts at the log of this sequence, and its snapshot if base > 1 */
    uint64_t log_bytes;       /* of groups from base on */

    /* A full device. */
    bool tight;         /* behind the log there is less than its reserve */
    bool stuck;         /* `writing` could not be written for that reason: it is tried again */
    struct timer retry; /* then */
    uint64_t tried;     /* when the reserve was last asked for by journal_room */

    /* Snapshots. */
    struct mutex snapshot_lock; /* one at a time */
    bool snapshotting;
    struct task *snapshot_task;       /* one that the journal began by itself */
    struct journal_switch *switching; /* the running one waits for a new log */
    uint64_t snapshot_bytes;          /* of the last */
    uint64_t snapshot_next;           /* log_bytes at which the next is taken */

    struct journal_statistics statistics;
};

/* ---- files.c ---- */

enum { JOURNAL_NAME_MAX = 40 };
void journal_name(char name[JOURNAL_NAME_MAX], const char *prefix, uint64_t sequence, const char *suffix);

/* Makes the log of a sequence, ready to be written; it takes the place of one that nobody needs any more
 * (recycled: its sequence; 0: none). May suspend. */
int journal_log_create(struct journal *journal, uint64_t sequence, uint64_t recycled,
                       struct journal_log *log);
void journal_log_close(struct journal_log *log);
/* Writes a sealed group at the log's end and synchronises. -ENOSPC: the device is full and so is the log's
 * reserve; nothing has changed. Other errors are logged. May suspend. */
int journal_log_write(struct journal *journal, const void *bytes, size_t size);
/* Tries to give the log its reserve again. May suspend. */
void journal_log_extend(struct journal *journal);
static inline bool journal_log_empty(const struct journal_log *log)
{
    return log->offset == JOURNAL_BLOCK;
}

/* Sequences of the files there are, ascending; and names that end in .tmp. */
struct journal_listing {
    uint64_t *logs;
    uint64_t *snapshots;
    char (*temporary)[JOURNAL_NAME_MAX];
    size_t log_count;
    size_t snapshot_count;
    size_t temporary_count;
};
/* Errors are logged. Free it afterwards, also after an error. */
int journal_list(struct journal *journal, struct journal_listing *listing);
void journal_listing_free(struct journal_listing *listing);
/* Removes a file that nobody needs; if that fails, a warning is logged, and the next start tries again. */
void journal_remove(struct journal *journal, const char *name);

/* ---- journal.c ---- */

void journal_wake(struct journal *journal);

/* ---- recovery.c ---- */

/* Replays the files into the source and sets log, spare, group, base and log_bytes. On an error nothing has
 * been changed on the disk. */
int journal_recover(struct journal *journal, struct journal_recovery *recovery);

/* ---- snapshot.c ---- */

/* Called by the committer, between groups. */
void journal_switch(struct journal *journal);
/* Decides at which length of the log the next one is taken. */
void journal_snapshot_done(struct journal *journal);
/* Begins a snapshot by itself if the log has grown to its limit. */
void journal_snapshot_consider(struct journal *journal);
